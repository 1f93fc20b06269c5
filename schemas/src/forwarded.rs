//! For whom the control plane passes a device's request on to a data plane. Both planes must agree on it byte for byte; the hashing
//! is theirs. Never says whom to believe.
//!
//! Devices' listeners may be plain HTTP across a network, so the join token itself must not be sent to them (DESIGN 8.7, 27): what
//! is sent is an HMAC under it, which vouches for one address and tells nothing about the token.

use std::net::IpAddr;

/// Whose request it is, as proxies say it: one address. Worth nothing without [`PROOF`].
pub const FOR: &str = "x-forwarded-for";
/// HMAC-SHA-256 of [`form`] of that address under the join token, in hexadecimal.
pub const PROOF: &str = "tidegate-forwarded-proof";
/// Length of what [`PROOF`] says, in bytes.
pub const PROOF_BYTES: usize = 64;

/// The bytes whose HMAC-SHA-256 under the join token proves that the control plane saw this address. No two different addresses
/// have the same, and nothing else is signed with such a beginning.
#[must_use]
pub fn form(address: IpAddr) -> Vec<u8> {
    let mut form = b"tidegate forwarded 1".to_vec();
    match address {
        IpAddr::V4(address) => form.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => form.extend_from_slice(&address.octets()),
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_addresses_have_different_forms() {
        let addresses = ["127.0.0.1", "127.0.0.2", "::1", "::", "0.0.0.0", "::ffff:127.0.0.1"];
        let mut forms = addresses.map(|address| form(address.parse().unwrap()));
        forms.sort();
        assert!(forms.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
