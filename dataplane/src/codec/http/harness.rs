//! What must hold for any bytes at all: called by the property tests and by the fuzz target. Panics when it does not hold, so the
//! server never calls it.

use super::{Head, HttpError, Incoming, Method};
use crate::limits;

/// A request in its own memory, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub keep_alive: bool,
    pub content: Vec<u8>,
}

/// Reads `bytes` as requests, whole and in pieces cut where the bytes themselves say; the requests and the error that ends them
/// must be the same, and within the bounds.
///
/// # Panics
/// When one of these does not hold.
pub fn any(bytes: &[u8]) {
    let whole = read([bytes]);
    for request in &whole.0 {
        assert!(request.path.starts_with('/') || request.path == "*", "a path is absolute");
        assert!(request.path.len() + request.query.len() < limits::HTTP_REQUEST_LINE_BYTES_MAX, "the target is bounded");
        assert!(request.content.len() <= limits::PAYLOAD_BYTES_MAX, "the body is bounded");
    }
    if let Some(error) = whole.1 {
        assert!(error.status().code() >= 400, "an error has a status that says so");
    }
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    let mut seed = bytes.iter().fold(bytes.len(), |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let mut rest = bytes;
    let pieces = std::iter::from_fn(|| {
        seed = seed.wrapping_mul(25_214_903_917).wrapping_add(11);
        let (piece, later) = rest.split_at((seed >> 16) % 97 % (rest.len() + 1));
        rest = later;
        (!piece.is_empty() || !rest.is_empty()).then_some(piece)
    });
    assert_eq!(read(pieces), whole, "in pieces");
}

/// The requests that come in these pieces, and the error that ends them.
///
/// # Panics
/// When bytes that were not taken are asked for in another way than they came.
pub fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Option<HttpError>) {
    let (mut incoming, mut requests, mut unread) = (Incoming::default(), Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        let mut input = unread.as_slice();
        loop {
            match incoming.next(&mut input) {
                Ok(Some(request)) => {
                    let Head { method, target, keep_alive, .. } = request.head;
                    let content = request.body.content(&mut Vec::new()).to_vec();
                    requests.push(Seen {
                        method,
                        path: target.path.to_owned(),
                        query: target.query.to_owned(),
                        keep_alive,
                        content,
                    });
                    assert!(!incoming.has_begun(), "a request that was taken leaves nothing behind");
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
        assert!(input.len() < limits::READ_BUFFER_BYTES, "a request that is not whole fits the read buffer");
        unread = input.to_vec();
    }
    (requests, None)
}
