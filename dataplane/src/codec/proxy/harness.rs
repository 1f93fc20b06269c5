//! What must hold for any bytes at all: called by the property tests and by the fuzz target. Panics when it does not hold, so the
//! server never calls it.

use super::{ProxyError, decode};
use crate::limits;

/// A header ends inside `bytes` and within the bounds; it is found as soon as its last byte is there and not before; an error is
/// never taken back, and comes before the bounds are exceeded.
///
/// # Panics
/// When one of these does not hold.
pub fn any(bytes: &[u8]) {
    for start in [&b""[..], b"PROXY ", b"PROXY TCP4 ", super::SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"] {
        check(&[start, bytes].concat());
    }
}

fn check(bytes: &[u8]) {
    let whole = decode(bytes);
    if let Ok(Some(header)) = whole {
        assert!(header.bytes <= bytes.len() && header.bytes <= limits::PROXY_HEADER_BYTES_MAX, "a header has its bounds");
        for length in 0..header.bytes {
            assert_eq!(decode(&bytes[..length]), Ok(None), "a prefix of a header is only incomplete");
        }
        assert_eq!(decode(&bytes[..header.bytes]), whole, "what follows a header does not change it");
        return;
    }
    // From the first error on it stays the same.
    let mut found: Option<ProxyError> = None;
    for length in 0..=bytes.len() {
        let now = decode(&bytes[..length]);
        assert!(found.is_none_or(|error| now == Err(error)), "an error stays");
        found = now.err();
        assert!(length < limits::PROXY_HEADER_BYTES_MAX || found.is_some(), "so many bytes are a header or none");
    }
}
