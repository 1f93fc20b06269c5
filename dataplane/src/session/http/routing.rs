//! Paths of the device API to operations (reference 1.3). Never answers anything itself and never looks into a body.

use std::borrow::Cow;
use std::str::FromStr;

use super::answering;
use crate::codec::http::{Method, Request, Response, WebSocketOffer, decoded, parameter};
use crate::codec::websocket;
use crate::limits;
use crate::session::{Format, Operation, Outcome, Package};

/// Where a request leads.
pub(super) enum Route<'a> {
    /// `token` is empty where none is needed.
    Device { token: Cow<'a, str>, asked: Asked<'a> },
    /// WebSocket was agreed on.
    Upgrade { accept: String, protocol: &'static str },
    /// No device is needed to answer it.
    Response(Response<'static>),
}

/// An operation that has not got its payload yet.
pub(super) enum Asked<'a> {
    Telemetry,
    Attributes,
    RpcRequest,
    RpcResponse {
        id: u32,
    },
    Claim,
    Provision,
    /// Everything is in the target.
    Query(Operation<'a>),
}

impl<'a> Asked<'a> {
    /// Its answer may be longer than what a connection may have in memory.
    pub(super) fn is_download(&self) -> bool {
        matches!(self, Self::Query(Operation::Download { .. }))
    }

    pub(super) fn operation(self, payload: &'a [u8]) -> Operation<'a> {
        let format = Format::Profile;
        match self {
            Self::Telemetry => Operation::Telemetry { payload, format },
            Self::Attributes => Operation::Attributes { payload, format },
            // The connection is the only one that waits for this answer; no number is needed.
            Self::RpcRequest => Operation::RpcRequest { id: 0, payload, format },
            Self::RpcResponse { id } => Operation::RpcResponse { id, payload, format },
            Self::Claim => Operation::Claim { payload },
            Self::Provision => Operation::Provision { payload },
            Self::Query(operation) => operation,
        }
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource<'a> {
    Telemetry,
    Attributes,
    AttributesUpdates,
    Rpc,
    RpcResponse {
        id: &'a str,
    },
    Claim,
    Package(Package),
    Provision,
    WebSocket,
    /// `*`: the server itself.
    Server,
}

impl<'a> Resource<'a> {
    /// The resource and the token of its device, still escaped.
    fn named(path: &'a str) -> Option<(Self, &'a str)> {
        match path {
            "*" => return Some((Self::Server, "")),
            "/mqtt" => return Some((Self::WebSocket, "")),
            "/api/v1/provision" => return Some((Self::Provision, "")),
            _ => {}
        }
        let (token, name) = path.strip_prefix("/api/v1/")?.split_once('/')?;
        let resource = match name {
            "telemetry" => Self::Telemetry,
            "attributes" => Self::Attributes,
            "attributes/updates" => Self::AttributesUpdates,
            "rpc" => Self::Rpc,
            "claim" => Self::Claim,
            "firmware" => Self::Package(Package::Firmware),
            "software" => Self::Package(Package::Software),
            name => Self::RpcResponse { id: name.strip_prefix("rpc/").filter(|id| !id.is_empty() && !id.contains('/'))? },
        };
        (!token.is_empty()).then_some((resource, token))
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Telemetry | Self::RpcResponse { .. } | Self::Claim | Self::Provision => "POST, OPTIONS",
            Self::Attributes => "GET, HEAD, POST, OPTIONS",
            Self::Package(_) => "GET, HEAD, OPTIONS",
            Self::Rpc => "GET, POST, OPTIONS",
            // Looking would take what it shows, so there is no HEAD.
            Self::AttributesUpdates | Self::WebSocket => "GET, OPTIONS",
            Self::Server => "GET, HEAD, POST, OPTIONS",
        }
    }
}

pub(super) fn route<'a>(request: &Request<'a>) -> Route<'a> {
    let Some((resource, token)) = Resource::named(request.head.target.path) else {
        return Route::Response(answering::not_found());
    };
    if request.head.method == Method::Options {
        return Route::Response(answering::options(resource.methods()));
    }
    if (resource, request.head.method) == (Resource::WebSocket, Method::Get) {
        return upgrade(request);
    }
    let asked = match asked(resource, request.head.method, request.head.target.query) {
        Ok(asked) => asked,
        Err(response) => return Route::Response(response),
    };
    // What is not text or longer than any token is nobody's.
    match decoded(token).filter(|token| token.len() <= limits::TOKEN_BYTES_MAX) {
        Some(token) => Route::Device { token, asked },
        None => Route::Response(answering::of_outcome(Outcome::Unauthorized)),
    }
}

fn asked<'a>(resource: Resource<'a>, method: Method, query: &'a str) -> Result<Asked<'a>, Response<'static>> {
    Ok(match (resource, method) {
        (Resource::Telemetry, Method::Post) => Asked::Telemetry,
        (Resource::Attributes, Method::Post) => Asked::Attributes,
        (Resource::Attributes, Method::Get | Method::Head) => {
            Asked::Query(Operation::AttributesOf { client: text(query, "clientKeys")?, shared: text(query, "sharedKeys")? })
        }
        (Resource::AttributesUpdates, Method::Get) => Asked::Query(Operation::AwaitAttributes { timeout_ms: timeout_ms(query)? }),
        (Resource::Rpc, Method::Get) => Asked::Query(Operation::AwaitRpc { timeout_ms: timeout_ms(query)? }),
        (Resource::Rpc, Method::Post) => Asked::RpcRequest,
        (Resource::RpcResponse { id }, Method::Post) => Asked::RpcResponse { id: number(id)? },
        (Resource::Claim, Method::Post) => Asked::Claim,
        (Resource::Provision, Method::Post) => Asked::Provision,
        (Resource::Package(package), Method::Get | Method::Head) => Asked::Query(download(package, query)?),
        (resource, _) => return Err(answering::method_not_allowed(resource.methods())),
    })
}

fn download(package: Package, query: &str) -> Result<Operation<'_>, Response<'static>> {
    let missing = || answering::bad_request("title and version are needed");
    let title = text(query, "title")?.ok_or_else(missing)?;
    let version = text(query, "version")?.ok_or_else(missing)?;
    let size = text(query, "size")?.map_or(Ok(0), |size| number(&size))?;
    let chunk = text(query, "chunk")?.map_or(Ok(0), |chunk| number(&chunk))?;
    Ok(Operation::Download { package, title, version, size, chunk })
}

/// ThingsBoard takes 0 for the default.
fn timeout_ms(query: &str) -> Result<u64, Response<'static>> {
    match text(query, "timeout")?.map_or(Ok(0), |timeout| number::<u64>(&timeout))? {
        0 => Ok(limits::LONG_POLL_MS),
        timeout => Ok(timeout.min(limits::LONG_POLL_MS_MAX)),
    }
}

/// A parameter; an empty one is as good as none.
fn text<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Response<'static>> {
    match parameter(query, name) {
        Some(None) => Err(answering::bad_request("a parameter is not UTF-8")),
        Some(Some(value)) if !value.is_empty() => Ok(Some(value)),
        Some(Some(_)) | None => Ok(None),
    }
}

/// A decimal number; `parse` alone would also take a sign.
fn number<N: FromStr>(text: &str) -> Result<N, Response<'static>> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| answering::bad_request("a number is none, or too large"))
}

/// RFC 6455, 4.2.1 and [MQTT-6.0.0-3]. A body would be taken for the first frames by some.
fn upgrade<'a>(request: &Request<'a>) -> Route<'a> {
    let Some(WebSocketOffer { key, version_known: true, protocol }) = request.head.web_socket else {
        return Route::Response(answering::upgrade_required());
    };
    let refused = |message| Route::Response(answering::bad_request(message));
    let Some(accept) = key.and_then(websocket::accept) else { return refused("Sec-WebSocket-Key is not 16 bytes in base64") };
    let Some(protocol) = protocol else { return refused("Sec-WebSocket-Protocol must offer mqtt") };
    if !request.body.is_empty() {
        return refused("an upgrade has no body");
    }
    Route::Upgrade { accept, protocol }
}
