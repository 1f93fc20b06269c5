//! Who a device is: what it shows, looked up in the directory by its hash (schemas/src/credential.rs). Never stores a secret, never
//! keeps a session, never does slow hashing on a shard.

mod forwarding;

pub use forwarding::Forwarders;

use aws_lc_rs::{digest, hmac};
use schemas::credential::{Basic, certificate_form};

use crate::limits;
use crate::snapshot::Directory;
use crate::snapshot::directory::Entry;

/// Everything a connection shows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    pub user_name: Option<&'a str>,
    pub client_id: &'a str,
    pub password: Option<&'a [u8]>,
    /// The certificate whose key it has proved to hold, in DER.
    pub certificate: Option<&'a [u8]>,
}

/// Why what is shown opens no session. The peer is told the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("nothing was shown")]
    Missing,
    #[error("the user name is longer than {} bytes", limits::TOKEN_BYTES_MAX)]
    TooLong,
    #[error("no device has this credential")]
    Unknown,
}

/// The form in which the directory knows a token.
#[must_use]
pub fn token_sha256(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// The device that shows an access token. Hashing first also means that the time taken tells nothing about known tokens.
///
/// # Errors
/// [`Refused`].
pub fn by_token(directory: &Directory, token: &str) -> Result<Entry, Refused> {
    if token.is_empty() {
        return Err(Refused::Missing);
    }
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    directory.find(&token_sha256(token)).ok_or(Refused::Unknown)
}

/// The device that shows all this: by its certificate, by an access token as the user name, by MQTT basic credentials (reference
/// 1.1: a stored credential without a password takes any). `key`: the installation's; without it nobody has a password.
///
/// # Errors
/// [`Refused`].
pub fn admit(directory: &Directory, key: Option<&hmac::Key>, shown: &Shown<'_>) -> Result<Entry, Refused> {
    if let Some(der) = shown.certificate
        && let Some(entry) = directory.find(&sha256(&certificate_form(der)))
    {
        return Ok(entry);
    }
    let user_name = shown.user_name.filter(|name| !name.is_empty());
    if let Some(name) = user_name {
        match by_token(directory, name) {
            Err(Refused::Unknown) => {}
            found_or_refused => return found_or_refused,
        }
    } else if shown.client_id.is_empty() {
        return Err(Refused::Missing);
    }
    let key = key.ok_or(Refused::Unknown)?;
    let found = |basic: Basic<'_>| directory.find(&hmac_sha256(key, &basic.form()));
    let client_id = (!shown.client_id.is_empty()).then_some(shown.client_id);
    let password = shown.password.filter(|password| !password.is_empty());
    let named = [client_id, None].into_iter().filter(|id| user_name.is_some() || id.is_some());
    for client_id in named {
        let basic = Basic { client_id, user_name, password: None };
        // A client id alone never has a password.
        let with = password.filter(|_| user_name.is_some());
        if let Some(entry) = with.and_then(|password| found(Basic { password: Some(password), ..basic })).or_else(|| found(basic))
        {
            return Ok(entry);
        }
    }
    Err(Refused::Unknown)
}

fn hmac_sha256(key: &hmac::Key, bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(hmac::sign(key, bytes).as_ref());
    hash
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
        let admitted = |token: &str| by_token(&directory, token).map(|entry| entry.device);
        assert_eq!(admitted("A1_TEST_TOKEN"), Ok(device));
        assert_eq!(admitted("A1_TEST_TOKE"), Err(Refused::Unknown));
        assert_eq!(admitted(""), Err(Refused::Missing));
        assert_eq!(admitted(&"x".repeat(limits::TOKEN_BYTES_MAX)), Err(Refused::Unknown));
        assert_eq!(admitted(&"x".repeat(limits::TOKEN_BYTES_MAX + 1)), Err(Refused::TooLong));
        writer.remove(CredentialId(Uuid::from_u128(1)));
        assert_eq!(admitted("A1_TEST_TOKEN"), Err(Refused::Unknown), "a revoked token opens nothing");
    }

    #[test]
    fn every_combination_of_basic_credentials_opens_its_device_only() {
        let directory = Directory::new();
        let mut writer = DirectoryWriter::new(Arc::clone(&directory));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        // (client id, user name, password) as stored: device 1, 2, …
        let stored = [
            (Some("c"), None, None),
            (None, Some("u"), None),
            (None, Some("v"), Some("p")),
            (Some("c"), Some("w"), Some("q")),
            (Some("d"), Some("w"), None),
        ];
        for (number, (client_id, user_name, password)) in (1..).zip(stored) {
            let basic = Basic { client_id, user_name, password: password.map(str::as_bytes) };
            let id = Uuid::from_u128(number);
            writer.insert(CredentialId(id), DeviceId(id), &hmac_sha256(&key, &basic.form()));
        }
        let check = |client_id: &str, user_name: Option<&str>, password: Option<&str>, expected: Option<u128>| {
            let shown = Shown { user_name, client_id, password: password.map(str::as_bytes), certificate: None };
            let found = admit(&directory, Some(&key), &shown).ok().map(|entry| entry.device.0.as_u128());
            assert_eq!(found, expected, "{client_id:?} {user_name:?} {password:?}");
        };
        check("c", None, None, Some(1));
        check("c", Some(""), Some("any"), Some(1));
        check("x", None, None, None);
        check("anything", Some("u"), None, Some(2));
        check("", Some("u"), Some("any"), Some(2));
        check("anything", Some("v"), Some("p"), Some(3));
        check("anything", Some("v"), Some("P"), None);
        check("anything", Some("v"), None, None);
        check("c", Some("w"), Some("q"), Some(4));
        check("c", Some("w"), None, None);
        check("e", Some("w"), Some("q"), None);
        check("d", Some("w"), Some("any"), Some(5));
        check("", None, None, None);
    }

    #[test]
    fn a_certificate_comes_first() {
        let directory = Directory::new();
        let mut writer = DirectoryWriter::new(Arc::clone(&directory));
        let (by_certificate, by_name) = (Uuid::from_u128(1), Uuid::from_u128(2));
        writer.insert(CredentialId(by_certificate), DeviceId(by_certificate), &sha256(&certificate_form(b"der")));
        writer.insert(CredentialId(by_name), DeviceId(by_name), &token_sha256("token"));
        let check = |certificate, user_name, expected| {
            let shown = Shown { user_name, client_id: "", password: None, certificate };
            assert_eq!(admit(&directory, None, &shown).ok().map(|entry| entry.device.0), expected);
        };
        check(Some(&b"der"[..]), Some("token"), Some(by_certificate));
        check(Some(&b"other"[..]), Some("token"), Some(by_name));
        check(Some(&b"other"[..]), None, None);
        check(None, None, None);
    }
}
