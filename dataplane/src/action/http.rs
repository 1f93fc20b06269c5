//! Calls over HTTP. Follows no redirect and uses no proxy: both would lead past the guard.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};

use crate::action::guard::{NotPublic, is_public, resolve};
use crate::action::tls;
use crate::limits;
use crate::owed::{Answer, Answered, HttpCall};

/// Headers of an answer that become metadata, and their bytes.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 1_024;

/// What makes calls; cheap to clone, and its connections are shared.
#[derive(Clone, Debug)]
pub(super) struct Client {
    public: reqwest::Client,
    private: reqwest::Client,
}

impl Client {
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { public: builder(false).build()?, private: builder(true).build()? })
    }

    /// Makes one call. `key` tells the target that it has heard it before.
    pub(super) async fn call(&self, call: HttpCall, key: &str, private: bool) -> Answered {
        let refused = |reason: String| Answered::Refused(reason, Answer::default());
        let url = match Url::parse(&call.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            Ok(_) => return refused(format!("{}: expected http:// or https://", call.url)),
            Err(error) => return refused(format!("{}: {error}", call.url)),
        };
        if !private && let Some(host) = literal(&url).filter(|address| !is_public(*address)) {
            return refused(NotPublic(host.to_string()).to_string());
        }
        let headers = match headers(&call, key) {
            Ok(headers) => headers,
            Err(reason) => return refused(reason),
        };
        let method = reqwest::Method::from_bytes(call.method.name().as_bytes()).unwrap_or_default();
        let client = match &call.certificates {
            None if private => self.private.clone(),
            None => self.public.clone(),
            // Connections that show who a node is are nobody else's, so this one has a connection of its own.
            Some(certificates) => {
                let built = tls::config(certificates).and_then(|config| {
                    builder(private).tls_backend_preconfigured(config).build().map_err(|error| error.to_string())
                });
                match built {
                    Ok(client) => client,
                    Err(reason) => return refused(reason),
                }
            }
        };
        let mut request = client.request(method, url).headers(headers).timeout(Duration::from_millis(call.timeout_ms.into()));
        if let Some((user, password)) = &call.basic {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = call.body {
            request = request.body(body);
        }
        match request.send().await {
            Ok(response) => answered(response, call.answer_bytes_max).await,
            Err(error) => failed(&error),
        }
    }
}

fn builder(private: bool) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(std::sync::Arc::new(Guarded { private }))
        .connect_timeout(Duration::from_millis(limits::CALL_CONNECT_MS))
        .user_agent(concat!("Tidegate/", env!("CARGO_PKG_VERSION")))
}

fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn headers(call: &HttpCall, key: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if call.body.is_some() {
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert("idempotency-key", HeaderValue::from_str(key).map_err(|error| error.to_string())?);
    for (name, value) in &call.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("header {name}: {error}"))?;
        let value = HeaderValue::from_str(value).map_err(|error| format!("header {name}: {error}"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn answered(mut response: Response, bytes_max: u32) -> Answered {
    let status = response.status();
    let mut metadata = vec![
        ("status".to_owned(), status.canonical_reason().unwrap_or_default().to_uppercase().replace([' ', '-'], "_")),
        ("statusCode".to_owned(), status.as_u16().to_string()),
        ("statusReason".to_owned(), status.canonical_reason().unwrap_or_default().to_owned()),
    ];
    let most = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(limits::CALL_ANSWER_BYTES_MAX);
    for (name, value) in response.headers().iter().take(HEADERS_MAX) {
        if let Ok(value) = value.to_str()
            && value.len() <= HEADER_BYTES_MAX
        {
            metadata.push((name.to_string(), value.to_owned()));
        }
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() <= most => body.extend_from_slice(&bytes),
            Ok(Some(_)) => return Answered::Refused(format!("the answer is longer than {most} bytes"), answer(metadata)),
            Ok(None) => break,
            Err(error) => return failed(&error),
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Answered::Done(Answer { metadata, data: Some(data(text)) });
    }
    metadata.push(("error_body".to_owned(), text));
    let reason = format!("the answer is {status}");
    let again = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if again { Answered::Failed(reason, answer(metadata)) } else { Answered::Refused(reason, answer(metadata)) }
}

fn answer(metadata: Vec<(String, String)>) -> Answer {
    Answer { metadata, data: None }
}

/// JSON as it came; a text that is none as a JSON string, and nothing as an object without fields, as in ThingsBoard.
fn data(text: String) -> String {
    if text.trim().is_empty() {
        return "{}".to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => text,
        Err(_) => serde_json::Value::String(text).to_string(),
    }
}

fn failed(error: &reqwest::Error) -> Answered {
    let mut reason = error.to_string();
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(not_public) = inner.downcast_ref::<NotPublic>() {
            return Answered::Refused(not_public.to_string(), Answer::default());
        }
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    if error.is_builder() {
        return Answered::Refused(reason, Answer::default());
    }
    if error.is_connect() { Answered::Unreachable(reason) } else { Answered::Failed(reason, Answer::default()) }
}

/// Looks names up as the guard says.
#[derive(Clone, Copy, Debug)]
struct Guarded {
    private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            match resolve(name.as_str(), 0, private).await {
                Ok(addresses) => {
                    Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>) as Result<Addrs, _>
                }
                Err(crate::action::guard::Unresolved::NotPublic(not_public)) => Err(not_public.into()),
                Err(unknown) => Err(unknown.to_string().into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use schemas::chain::external::Method;

    use super::*;

    /// What comes of a call to a server that answers so, with this behind its URL.
    async fn answered_with(answer: String, behind: &str) -> Answered {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let call = HttpCall {
            method: Method::Get,
            url: format!("http://{}/{behind}", server.local_addr().unwrap()),
            headers: Vec::new(),
            basic: None,
            certificates: None,
            body: None,
            timeout_ms: 10_000,
            answer_bytes_max: u32::MAX,
        };
        std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _heard = stream.read(&mut [0; 1_024]).unwrap();
            // A client that has heard enough hangs up.
            drop(stream.write_all(answer.as_bytes()));
        });
        Client::new().unwrap().call(call, "key", true).await
    }

    fn of_length(bytes: usize) -> String {
        let text = "t".repeat(bytes - 2);
        format!("HTTP/1.1 200 OK\r\nX-Two: 2\r\nContent-Length: {bytes}\r\n\r\n\"{text}\"")
    }

    #[tokio::test]
    async fn an_answer_is_taken_to_its_last_byte_and_headers_in_lower_case() {
        let most = limits::CALL_ANSWER_BYTES_MAX;
        let Answered::Done(answer) = answered_with(of_length(most), "").await else { panic!("it fits") };
        assert_eq!(answer.data.map(|data| data.len()), Some(most));
        assert!(answer.metadata.contains(&("x-two".to_owned(), "2".to_owned())), "{:?}", answer.metadata);
        let long = answered_with(of_length(most + 1), "").await;
        assert!(matches!(&long, Answered::Refused(reason, _) if reason.contains("longer than 65536 bytes")), "{long:?}");
    }

    #[tokio::test]
    async fn a_url_that_no_request_can_hold_is_refused() {
        let answered = answered_with(of_length(2), &"u".repeat(70_000)).await;
        assert!(matches!(answered, Answered::Refused(..)), "{answered:?}");
    }
}
