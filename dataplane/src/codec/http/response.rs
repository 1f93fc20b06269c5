//! What a server answers. Never decides what: it writes what it is told.

use std::fmt::Write as _;
use std::io::Write as _;

use super::{Head, Method};

/// Status codes (RFC 9110, 15; RFC 6585) that this server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    Ok = 200,
    NoContent = 204,
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    ContentTooLarge = 413,
    UriTooLong = 414,
    ExpectationFailed = 417,
    UpgradeRequired = 426,
    TooManyRequests = 429,
    HeaderFieldsTooLarge = 431,
    InternalServerError = 500,
    NotImplemented = 501,
    ServiceUnavailable = 503,
    VersionNotSupported = 505,
}

impl Status {
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NoContent => "No Content",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::ExpectationFailed => "Expectation Failed",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// What becomes of the connection after a response (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as the client takes for granted.
    Implied,
    /// It stays open, and a client of HTTP/1.0 is told so.
    KeepAlive,
    Close,
}

/// The content of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    Empty,
    /// application/json
    Json(&'a [u8]),
    /// application/octet-stream; of its `length` bytes these, and the others later.
    Download {
        length: u64,
        bytes: &'a [u8],
    },
    /// ThingsBoard's error body.
    Failure {
        message: &'a str,
        error_code: u16,
    },
}

/// One final response, whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub status: Status,
    pub retry_after_s: Option<u32>,
    /// The methods of the target, for 405 and OPTIONS.
    pub allow: Option<&'static str>,
    pub content: Content<'a>,
}

impl Response<'_> {
    /// No less than its length once it is encoded.
    #[must_use]
    pub fn bytes_estimated(&self) -> usize {
        HEAD_BYTES_MAX
            + match self.content {
                Content::Empty => 0,
                Content::Json(bytes) | Content::Download { bytes, .. } => bytes.len(),
                // Every character may have to be escaped.
                Content::Failure { message, .. } => 96 + 6 * message.len(),
            }
    }

    /// Bytes that have to follow once it is encoded; `None`: it is whole.
    #[must_use]
    pub fn owed_bytes(&self, manner: Manner) -> Option<u64> {
        match self.content {
            Content::Download { length, bytes } if !manner.head_only => Some(length.saturating_sub(bytes.len() as u64)),
            _ => None,
        }
    }
}

/// All headers at once are shorter.
const HEAD_BYTES_MAX: usize = 320;

/// How a response must be written for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub persistence: Persistence,
    /// The request was HEAD: the content is announced and left out (RFC 9110, 9.3.2).
    pub head_only: bool,
}

impl Manner {
    /// For the request with this head.
    #[must_use]
    pub fn of(head: &Head<'_>) -> Self {
        let persistence = match (head.keep_alive, head.old) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Implied,
        };
        Self { persistence, head_only: head.method == Method::Head }
    }

    /// For a request that could not be read, and the last that is answered.
    pub const LAST: Self = Self { persistence: Persistence::Close, head_only: false };
}

/// Appends a response; `now_ms`, since the Unix epoch, is when it failed, if it did.
pub fn encode_response(response: &Response<'_>, manner: Manner, now_ms: i64, into: &mut Vec<u8>) {
    let status = response.status;
    let failure;
    let mut announced = None;
    let (content_type, content): (Option<&str>, &[u8]) = match response.content {
        Content::Empty => (None, &[]),
        Content::Json(json) => (Some("application/json"), json),
        Content::Download { length, bytes } => {
            announced = Some(length);
            (Some("application/octet-stream"), bytes)
        }
        Content::Failure { message, error_code } => {
            failure = failure_json(status, message, error_code, now_ms);
            (Some("application/json"), failure.as_bytes())
        }
    };
    // Writing to a Vec cannot fail.
    let _ = write!(into, "HTTP/1.1 {} {}\r\n", status.code(), status.reason());
    if let Some(content_type) = content_type {
        header(into, "Content-Type", content_type);
    }
    // RFC 9110, 8.6: 204 has none.
    if status != Status::NoContent {
        let _ = write!(into, "Content-Length: {}\r\n", announced.unwrap_or(content.len() as u64));
    }
    if let Some(seconds) = response.retry_after_s {
        let _ = write!(into, "Retry-After: {seconds}\r\n");
    }
    if let Some(methods) = response.allow {
        header(into, "Allow", methods);
    }
    let persistence = match manner.persistence {
        Persistence::Implied => None,
        Persistence::KeepAlive => Some("keep-alive"),
        Persistence::Close => Some("close"),
    };
    if let Some(persistence) = persistence {
        header(into, "Connection", persistence);
    }
    if status == Status::UpgradeRequired {
        // RFC 9110, 15.5.22 and RFC 6455, 4.2.2: to what.
        header(into, "Connection", "Upgrade");
        header(into, "Upgrade", "websocket");
        header(into, "Sec-WebSocket-Version", "13");
    }
    into.extend_from_slice(b"\r\n");
    if !manner.head_only {
        into.extend_from_slice(content);
    }
}

/// Appends the answer to `Expect: 100-continue` (RFC 9110, 10.1.1).
pub fn encode_continue(into: &mut Vec<u8>) {
    into.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends the answer that begins a WebSocket (RFC 6455, 4.2.2).
pub fn encode_upgrade(accept: &str, protocol: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    header(into, "Upgrade", "websocket");
    header(into, "Connection", "Upgrade");
    header(into, "Sec-WebSocket-Accept", accept);
    header(into, "Sec-WebSocket-Protocol", protocol);
    into.extend_from_slice(b"\r\n");
}

fn header(into: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        into.extend_from_slice(part.as_bytes());
    }
}

fn failure_json(status: Status, message: &str, error_code: u16, now_ms: i64) -> String {
    let mut json = format!("{{\"status\":{},\"message\":\"", status.code());
    for character in message.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            // Writing to a String cannot fail.
            character if character.is_control() => drop(write!(json, "\\u{:04x}", u32::from(character))),
            character => json.push(character),
        }
    }
    let _ = write!(json, "\",\"errorCode\":{error_code},\"timestamp\":{now_ms}}}");
    json
}
