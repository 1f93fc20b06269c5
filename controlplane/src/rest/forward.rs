//! Devices that speak HTTP to this listener, as they may in ThingsBoard: `/api/v1/…` is passed on to a data plane and its
//! answer passed back, as it streams. Never looks into a body, knows no device.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    RequestExt, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
        header::{CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use http_body_util::LengthLimitError;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use schemas::forwarded;

use crate::{
    app::App,
    error::Error,
    rest::extract::{Peer, refuse},
};

/// The largest body a device may send, in bytes: more than any data plane takes, which then says so itself.
const BODY_BYTES_MAX: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// From the end of a request to the head of its answer: a device may poll for 300 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(330);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_MAX: usize = 64;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// For whom we ask, and what makes the data plane believe us: limits by address are those of the device.
const FORWARDED_FOR: HeaderName = HeaderName::from_static(forwarded::FOR);
const PROOF: HeaderName = HeaderName::from_static(forwarded::PROOF);

#[derive(Clone, Debug)]
struct Line {
    app: Arc<App>,
    client: Client<HttpConnector, Body>,
}

/// The device API of the data planes. Needs no sign-in: every path holds a device's own token.
pub(in crate::rest) fn routes(app: Arc<App>) -> Router {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(connector);
    Router::new()
        .route("/api/v1/{*rest}", any(forward))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Line { app, client })
}

async fn forward(State(line): State<Line>, peer: Peer, request: Request) -> Response {
    match pass_on(&line, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refusal,
    }
}

async fn pass_on(line: &Line, Peer(address): Peer, request: Request) -> Result<Response, Response> {
    let endpoint = line.app.device_endpoint().map_err(IntoResponse::into_response)?;
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let target: Uri = format!("{}{asked}", endpoint.trim_end_matches('/'))
        .parse()
        .map_err(|_| Error::Internal(format!("device endpoint {endpoint:?} is no URL")).into_response())?;
    let (mut parts, body) = request.with_limited_body().into_parts();
    drop_hops(&mut parts.headers);
    // The client writes the data plane's.
    parts.headers.remove(HOST);
    vouch(line, address, &mut parts.headers);
    let mut onward = Request::new(body);
    (*onward.method_mut(), *onward.uri_mut(), *onward.version_mut()) = (parts.method, target, Version::HTTP_11);
    *onward.headers_mut() = parts.headers;
    match tokio::time::timeout(ANSWER_TIMEOUT, line.client.request(onward)).await {
        Ok(Ok(response)) => {
            let (mut parts, body) = response.into_parts();
            drop_hops(&mut parts.headers);
            Ok(Response::from_parts(parts, Body::new(body)))
        }
        Ok(Err(error)) if is_too_long(&error) => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("request body: at most {BODY_BYTES_MAX} bytes")))
        }
        Ok(Err(error)) => {
            tracing::info!(%error, endpoint, "a device's request was not passed on");
            Err(Error::Unavailable("the data plane does not answer".to_owned()).into_response())
        }
        Err(_) => Err(refuse(StatusCode::GATEWAY_TIMEOUT, "the data plane took too long".to_owned())),
    }
}

/// Says whose request it is; whatever the sender says of that goes.
fn vouch(line: &Line, address: IpAddr, headers: &mut HeaderMap) {
    headers.remove(FORWARDED_FOR);
    headers.remove(PROOF);
    if address.is_unspecified() {
        return;
    }
    // A listener for both families sees 127.0.0.1 as ::ffff:127.0.0.1.
    let address = address.to_canonical();
    if let (Ok(name), Ok(mut proof)) =
        (HeaderValue::from_str(&address.to_string()), HeaderValue::from_str(&line.app.vouch(address)))
    {
        proof.set_sensitive(true);
        headers.insert(FORWARDED_FOR, name);
        headers.insert(PROOF, proof);
    }
}

/// Removes what concerns one connection only (RFC 9110, 7.6.1).
fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let hops = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(hops) {
        headers.remove(name);
    }
}

/// Whether the request ended because its body was longer than we let pass.
fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return true;
        }
        cause = inner.source();
    }
    false
}
