//! The head of a request: its first line and what of its headers matters here. Never looks beyond the head.

use std::fmt;

use schemas::forwarded;

use super::{HttpError, Target};
use crate::limits;

/// What is done to the target; methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    Other,
}

/// What a request says of itself before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub method: Method,
    pub target: Target<'a>,
    /// HTTP/1.0: a connection that stays open must be told so.
    pub old: bool,
    /// The client will send more on this connection (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// `Connection: upgrade` and `Upgrade: websocket`.
    pub web_socket: Option<WebSocketOffer<'a>>,
    /// Whose request it is, if whoever sends it is to be believed.
    pub forwarded: Option<Forwarded<'a>>,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
}

/// What a client offers for the change to WebSocket (RFC 6455, 4.1). Not judged here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebSocketOffer<'a> {
    /// `Sec-WebSocket-Key`
    pub key: Option<&'a [u8]>,
    /// `Sec-WebSocket-Version` is 13.
    pub version_known: bool,
    /// The first subprotocol offered that is MQTT.
    pub protocol: Option<&'static str>,
}

/// What a proxy says of whose request it passes on (schemas/src/forwarded.rs). Not judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    pub address: &'a [u8],
    pub proof: Proof<'a>,
}

/// What vouches for it; never shown to people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof<'a>(pub &'a [u8]);

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// How the end of the body is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// The subprotocols of MQTT [MQTT-6.0.0-3]; the second is what clients of MQTT 3.1 say.
const MQTT_PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

impl<'a> Head<'a> {
    /// Reads a whole head with the empty line that ends it.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes).map_err(refused)? {
            httparse::Status::Complete(end) if end == bytes.len() => {}
            _ => return Err(HttpError::Malformed),
        }
        let (Some(method), Some(path), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HttpError::Malformed);
        };
        let old = version == 0;
        let mut said = Said::default();
        for header in parsed.headers.iter() {
            said.hear(header.name, header.value)?;
        }
        // RFC 9112, 3.2: a request of HTTP/1.1 has exactly one Host.
        if said.hosts > 1 || (said.hosts == 0 && !old) {
            return Err(HttpError::Host);
        }
        Ok(Self {
            method: method_named(method),
            target: Target::of(path).ok_or(HttpError::Target)?,
            old,
            keep_alive: !said.close && (!old || said.keep_alive),
            web_socket: (said.upgrade && said.to_web_socket && !old).then_some(said.offer),
            forwarded: said.forwarded(),
            framing: said.framing(old)?,
            // RFC 9110, 10.1.1: an expectation of HTTP/1.0 is ignored.
            expects_continue: said.expects_continue && !old,
        })
    }
}

fn refused(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => HttpError::HeadTooLarge,
        httparse::Error::Version => HttpError::Version,
        _ => HttpError::Malformed,
    }
}

fn method_named(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// What the headers said so far.
#[derive(Debug, Default)]
struct Said<'a> {
    hosts: usize,
    length: Option<usize>,
    coding: Option<Coding>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    upgrade: bool,
    to_web_socket: bool,
    offer: WebSocketOffer<'a>,
    /// Of the one address and of what vouches for it; the second of either makes both worthless.
    address: Option<&'a [u8]>,
    proof: Option<&'a [u8]>,
    confused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// Something else below the chunks.
    More,
    /// The end of the body cannot be found.
    Endless,
}

impl<'a> Said<'a> {
    fn hear(&mut self, name: &str, value: &'a [u8]) -> Result<(), HttpError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("host") {
            self.hosts += 1;
        } else if is("content-length") {
            // RFC 9112, 6.3 lets equal ones pass; who sends two is not trusted with either.
            if self.length.replace(length(value)?).is_some() {
                return Err(HttpError::ContentLength);
            }
        } else if is("transfer-encoding") {
            let coding = if self.coding.is_some() { Coding::Endless } else { coding(value) };
            self.coding = Some(coding);
        } else if is("connection") {
            for option in elements(value) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("expect") {
            // RFC 9110, 10.1.1: anything else may be answered with 417.
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpError::Expectation);
            }
            self.expects_continue = true;
        } else if is("upgrade") {
            self.to_web_socket |= elements(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        } else if is("sec-websocket-key") {
            self.offer.key = Some(value);
        } else if is("sec-websocket-version") {
            self.offer.version_known |= elements(value).any(|version| version == b"13");
        } else if is("sec-websocket-protocol") {
            let known = |offered: &[u8]| MQTT_PROTOCOLS.into_iter().find(|protocol| protocol.as_bytes() == offered);
            self.offer.protocol = self.offer.protocol.or_else(|| elements(value).find_map(known));
        } else if is(forwarded::FOR) {
            self.confused |= self.address.replace(value).is_some();
        } else if is(forwarded::PROOF) {
            self.confused |= self.proof.replace(value).is_some();
        }
        Ok(())
    }

    fn forwarded(&self) -> Option<Forwarded<'a>> {
        let forwarded = Forwarded { address: self.address?, proof: Proof(self.proof?) };
        (!self.confused).then_some(forwarded)
    }

    /// RFC 9112, 6.1 and 6.3. Both ways at once are an attempt at smuggling, or near enough.
    fn framing(&self, old: bool) -> Result<Framing, HttpError> {
        match (self.coding, self.length) {
            (Some(_), _) if old => Err(HttpError::TransferEncoding),
            (Some(_), Some(_)) => Err(HttpError::ContentLength),
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
            (Some(Coding::More), None) => Err(HttpError::TransferCoding),
            (Some(Coding::Endless), None) => Err(HttpError::TransferEncoding),
            (None, Some(length)) if length > limits::PAYLOAD_BYTES_MAX => Err(HttpError::BodyTooLarge),
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// Decimal digits and nothing else; what does not fit is as good as too large.
fn length(value: &[u8]) -> Result<usize, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLength);
    }
    Ok(value.iter().fold(0, |sum: usize, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'))))
}

fn coding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let mut codings = elements(value).map(|element| element.eq_ignore_ascii_case(b"chunked"));
    // Chunks inside chunks have two ends.
    let (last, before) = (codings.next_back(), codings.any(|chunked| chunked));
    if last == Some(true) && !before { Coding::More } else { Coding::Endless }
}

/// The elements of a list (RFC 9110, 5.6.1), without the space around them.
fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
