//! Who a device is: its access token, looked up in the directory by its SHA-256. Never stores a token, never keeps a session,
//! never does slow hashing on a shard.

use aws_lc_rs::digest;

use crate::limits;
use crate::snapshot::Directory;
use crate::snapshot::directory::Entry;

/// Why a token opens no session. The peer is told the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error("no access token was given")]
    Missing,
    #[error("the access token is longer than {} bytes", limits::TOKEN_BYTES_MAX)]
    TooLong,
    #[error("no device has this access token")]
    Unknown,
}

/// The form in which the directory knows a token.
#[must_use]
pub fn token_sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// The device that shows `token`. Hashing first also means that the time taken tells nothing about known tokens.
pub fn admit(directory: &Directory, token: &str) -> Result<Entry, TokenRefused> {
    if token.is_empty() {
        return Err(TokenRefused::Missing);
    }
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(TokenRefused::TooLong);
    }
    directory.find(&token_sha256(token)).ok_or(TokenRefused::Unknown)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::id::{CredentialId, DeviceId};
    use uuid::Uuid;

    use super::*;
    use crate::snapshot::directory::DirectoryWriter;

    #[test]
    fn hashes_like_sha256() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = token_sha256("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn admits_known_tokens_only() {
        let directory = Directory::new();
        let mut writer = DirectoryWriter::new(Arc::clone(&directory));
        let device = DeviceId(Uuid::from_u128(7));
        writer.insert(CredentialId(Uuid::from_u128(1)), device, &token_sha256("A1_TEST_TOKEN"));
        let admitted = |token: &str| admit(&directory, token).map(|entry| entry.device);
        assert_eq!(admitted("A1_TEST_TOKEN"), Ok(device));
        assert_eq!(admitted("A1_TEST_TOKE"), Err(TokenRefused::Unknown));
        assert_eq!(admitted(""), Err(TokenRefused::Missing));
        assert_eq!(admitted(&"x".repeat(limits::TOKEN_BYTES_MAX)), Err(TokenRefused::Unknown));
        assert_eq!(admitted(&"x".repeat(limits::TOKEN_BYTES_MAX + 1)), Err(TokenRefused::TooLong));
        writer.remove(CredentialId(Uuid::from_u128(1)));
        assert_eq!(admitted("A1_TEST_TOKEN"), Err(TokenRefused::Unknown), "a revoked token opens nothing");
    }
}
