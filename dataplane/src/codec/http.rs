//! HTTP/1.0 and 1.1 as a server of small requests reads and writes it (RFC 9110 "HTTP Semantics", RFC 9112 "HTTP/1.1").
//!
//! [`Incoming`] finds where a request ends and reads it in place; `encode_*` append what a server sends. Where the
//! specification lets a server guess what a sloppy client meant, this one refuses: two parties that guess differently are how
//! requests are smuggled (RFC 9112, 11.2). Total on any bytes; allocates nothing while reading. Never decides what a path means.

mod chunked;
pub mod harness;
mod head;
mod incoming;
mod response;
mod target;
#[cfg(test)]
mod tests;

pub use head::{Forwarded, Head, Method, Proof, WebSocketOffer};
pub use incoming::{Body, Incoming, Request};
pub use response::{Content, Manner, Persistence, Response, Status, encode_continue, encode_response, encode_upgrade};
pub use target::{Target, decoded, parameter};

/// Why bytes are no request that this server reads. The connection ends with the answer: where the next request would begin is
/// not known, or not worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the request line or a header is malformed")]
    Malformed,
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    #[error("the request target has no known form")]
    Target,
    #[error("the request has not exactly one Host")]
    Host,
    #[error("Content-Length is no number, is given twice or contradicts Transfer-Encoding")]
    ContentLength,
    #[error("the transfer encoding does not say where the body ends")]
    TransferEncoding,
    #[error("a chunk of the body is malformed")]
    Chunk,
    #[error("the request line is too long")]
    RequestLineTooLong,
    #[error("the headers are too large or too many")]
    HeadTooLarge,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("only Expect: 100-continue is understood")]
    Expectation,
    #[error("the transfer encoding is not understood")]
    TransferCoding,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken")]
    Version,
}

impl HttpError {
    /// What the client is told.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Malformed
            | Self::BareLineFeed
            | Self::Target
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Chunk => Status::BadRequest,
            Self::RequestLineTooLong => Status::UriTooLong,
            Self::HeadTooLarge => Status::HeaderFieldsTooLarge,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::Expectation => Status::ExpectationFailed,
            Self::TransferCoding => Status::NotImplemented,
            Self::Version => Status::VersionNotSupported,
        }
    }
}
