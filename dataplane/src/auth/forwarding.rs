//! Whose request it is that the control plane passes on: an address that whoever holds the join token vouches for. Anybody else's
//! word counts for nothing, or every guess would come from an address of its own.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use schemas::forwarded;

/// Who may say whose request it passes on: holders of the join token.
#[derive(Clone)]
pub struct Forwarders {
    key: hmac::Key,
}

impl Forwarders {
    #[must_use]
    pub fn new(join_token: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, join_token.as_bytes()) }
    }

    /// The address, if `proof` vouches for it; both as they came.
    #[must_use]
    pub fn address(&self, address: &[u8], proof: &[u8]) -> Option<IpAddr> {
        let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
        let proof = unhex(proof)?;
        // Compares in constant time.
        hmac::verify(&self.key, &forwarded::form(address), &proof).ok()?;
        Some(address)
    }
}

impl std::fmt::Debug for Forwarders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarders(..)")
    }
}

fn unhex(text: &[u8]) -> Option<[u8; forwarded::PROOF_BYTES / 2]> {
    let mut bytes = [0; forwarded::PROOF_BYTES / 2];
    if text.len() != forwarded::PROOF_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |sum, digit| Some(sum << 4 | nibble(*digit)?))?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_holds_the_join_token_is_believed() {
        let forwarders = Forwarders::new("0123456789abcdef");
        // From another implementation: printf 'tidegate forwarded 1\x0a\x01\x02\x03' | openssl dgst -sha256 -hmac 0123456789abcdef
        let proof = b"393188f0d05f4eacaf6a35e69c587a355b8d4e514f8c1fd05b9c5b553568fb96";
        let check = |address: &str, proof: &[u8], expected: Option<&str>| {
            assert_eq!(
                forwarders.address(address.as_bytes(), proof),
                expected.map(|address| address.parse().unwrap()),
                "{address}"
            );
        };
        check("10.1.2.3", proof, Some("10.1.2.3"));
        check("10.1.2.4", proof, None);
        check("::ffff:10.1.2.3", proof, None);
        check("10.1.2.3, 10.1.2.3", proof, None);
        check("", proof, None);
        check("10.1.2.3", b"", None);
        check("10.1.2.3", &proof[..62], None);
        check("10.1.2.3", &proof.to_ascii_uppercase(), None);
        check("10.1.2.3", &[b'0'; 64], None);
        assert_eq!(Forwarders::new("0123456789abcdeg").address(b"10.1.2.3", proof), None);
    }
}
