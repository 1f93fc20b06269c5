//! What a device shows to be let in, by ThingsBoard's kinds. A token is kept as it is, since ThingsBoard shows it again; of a
//! password only the HMAC that data planes find it by (DESIGN 8.7, 27). Never says a secret in an error.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA3_256, SHA256, digest},
    hmac,
};
use schemas::credential::Basic as BasicForm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{Certificate, Invalid, hex, token};

/// The longest client id, user name or password, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// What is shown in the place of a password, which nobody can be shown. Sent back it means the same password as before.
const MASK: &str = "********";

pub const ACCESS_TOKEN: &str = "ACCESS_TOKEN";
pub const MQTT_BASIC: &str = "MQTT_BASIC";
pub const X509_CERTIFICATE: &str = "X509_CERTIFICATE";

/// A device's credentials: it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub device: Uuid,
    /// No two devices of the whole installation show the same.
    pub shown: Shown,
}

/// What is shown, as far as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Shown {
    Token(String),
    Basic(Basic),
    Certificate(Certificate),
}

/// MQTT client id, user name and password: those that are set must all be shown.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "what it holds is nobody's to print")]
pub struct Basic {
    pub client_id: Option<String>,
    pub user_name: Option<String>,
    pub has_password: bool,
    /// HMAC-SHA-256 of all three under the installation's key.
    pub lookup: Vec<u8>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Shown {
    /// ThingsBoard's `credentialsType`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => ACCESS_TOKEN,
            Self::Basic(_) => MQTT_BASIC,
            Self::Certificate(_) => X509_CERTIFICATE,
        }
    }

    /// ThingsBoard's `credentialsId` (reference 1.1).
    #[must_use]
    pub fn id(&self) -> String {
        let sha3 = |text: &str| hex(digest(&SHA3_256, text.as_bytes()).as_ref());
        match self {
            Self::Token(token) => token.clone(),
            Self::Certificate(certificate) => certificate.fingerprint(),
            Self::Basic(basic) => match (&basic.client_id, &basic.user_name) {
                (Some(client), Some(user)) => sha3(&format!("{client}|{user}")),
                (Some(client), None) => sha3(client),
                (None, user) => user.clone().unwrap_or_default(),
            },
        }
    }

    /// ThingsBoard's `credentialsValue`; a password is [`MASK`].
    #[must_use]
    pub fn value(&self) -> Option<String> {
        match self {
            Self::Token(_) => None,
            Self::Basic(basic) => Some(basic.value(basic.has_password.then_some(MASK)).to_string()),
            Self::Certificate(certificate) => Some(certificate.body()),
        }
    }

    /// The hash data planes find the device by.
    #[must_use]
    pub fn lookup(&self) -> Vec<u8> {
        match self {
            Self::Token(token) => digest(&SHA256, token.as_bytes()).as_ref().to_vec(),
            Self::Basic(basic) => basic.lookup.clone(),
            Self::Certificate(certificate) => certificate.lookup(),
        }
    }
}

impl Basic {
    /// ThingsBoard's `BasicMqttCredentials`, with what is to be said of the password.
    #[must_use]
    pub fn value(&self, password: Option<&str>) -> Value {
        json!({"clientId": self.client_id, "userName": self.user_name, "password": password})
    }
}

/// Credentials to set.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialDraft {
    Token(String),
    Basic { client_id: Option<String>, user_name: Option<String>, password: Option<String> },
    Certificate(Certificate),
}

impl fmt::Debug for CredentialDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => ACCESS_TOKEN,
            Self::Basic { .. } => MQTT_BASIC,
            Self::Certificate(_) => X509_CERTIFICATE,
        })
    }
}

impl CredentialDraft {
    /// An access token of `field`.
    ///
    /// # Errors
    /// [`Invalid`], never with the token.
    pub fn token(field: &'static str, text: &str) -> Result<Self, Invalid> {
        token(field, text).map(Self::Token)
    }

    /// MQTT basic; what is empty is not set.
    ///
    /// # Errors
    /// [`Invalid`]: neither client id nor user name, or a password without user name (reference 1.1), or one too long.
    pub fn basic(client_id: Option<&str>, user_name: Option<&str>, password: Option<&str>) -> Result<Self, Invalid> {
        let client_id = text("clientId", client_id)?;
        let user_name = text("userName", user_name)?;
        let password = text("password", password)?;
        match (&client_id, &user_name, &password) {
            (None, None, _) => Err(Invalid::new("clientId", "", "must be given, or userName, or both")),
            (Some(_), None, Some(_)) => {
                Err(Invalid::new("password", "***", "must not be given with a clientId and without a userName"))
            }
            _ => Ok(Self::Basic { client_id, user_name, password }),
        }
    }

    /// As ThingsBoard's REST says it.
    ///
    /// # Errors
    /// [`Invalid`] naming the field that breaks a rule.
    pub fn read(kind: Option<&str>, id: Option<&str>, value: Option<&str>) -> Result<Self, Invalid> {
        match kind.unwrap_or(ACCESS_TOKEN) {
            ACCESS_TOKEN => {
                let id = id.filter(|id| !id.is_empty());
                Self::token("credentialsId", id.ok_or_else(|| Invalid::new("credentialsId", "", "must be given"))?)
            }
            MQTT_BASIC => {
                let rule = r#"must be the text of a JSON object such as {"clientId":"c","userName":"u","password":"p"}"#;
                let wrong = || Invalid::new("credentialsValue", "***", rule);
                let value: Value = serde_json::from_str(value.unwrap_or_default()).map_err(|_| wrong())?;
                if !value.is_object() {
                    return Err(wrong());
                }
                let field = |name: &str| match value.get(name) {
                    None | Some(Value::Null) => Ok(None),
                    Some(Value::String(text)) => Ok(Some(text.as_str())),
                    Some(_) => Err(wrong()),
                };
                Self::basic(field("clientId")?, field("userName")?, field("password")?)
            }
            X509_CERTIFICATE => {
                let value = value.filter(|value| !value.trim().is_empty());
                let value = value.ok_or_else(|| Invalid::new("credentialsValue", "", "must be the device's certificate"))?;
                Certificate::read("credentialsValue", value).map(Self::Certificate)
            }
            "LWM2M_CREDENTIALS" => {
                let rule = "is not offered: this version has no LwM2M";
                Err(Invalid::new("credentialsType", "LWM2M_CREDENTIALS", rule))
            }
            other => {
                let rule = "must be ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE";
                Err(Invalid::new("credentialsType", other, rule))
            }
        }
    }

    /// As it will be kept; `key` is the installation's. A password that is [`MASK`] is the one `stored` has.
    ///
    /// # Errors
    /// [`Invalid`] for the mask where client id and user name are not those stored: of the password nothing but a hash of all
    /// three is known.
    pub fn kept(self, key: &[u8], stored: Option<&Shown>) -> Result<Shown, Invalid> {
        match self {
            Self::Token(token) => Ok(Shown::Token(token)),
            Self::Certificate(certificate) => Ok(Shown::Certificate(certificate)),
            Self::Basic { client_id, user_name, password } if password.as_deref() == Some(MASK) => match stored {
                Some(Shown::Basic(basic))
                    if basic.has_password && basic.client_id == client_id && basic.user_name == user_name =>
                {
                    Ok(Shown::Basic(basic.clone()))
                }
                _ => Err(Invalid::new("password", MASK, "must be given again when clientId or userName change")),
            },
            Self::Basic { client_id, user_name, password } => {
                let form = BasicForm {
                    client_id: client_id.as_deref(),
                    user_name: user_name.as_deref(),
                    password: password.as_deref().map(str::as_bytes),
                };
                let lookup = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &form.form()).as_ref().to_vec();
                Ok(Shown::Basic(Basic { has_password: password.is_some(), client_id, user_name, lookup }))
            }
        }
    }
}

fn text(field: &'static str, value: Option<&str>) -> Result<Option<String>, Invalid> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    // Of a password not even a part is repeated.
    let shown = if field == "password" { "***" } else { value };
    if value.len() > TEXT_BYTES_MAX {
        return Err(Invalid::new(field, shown, format!("must have at most {TEXT_BYTES_MAX} bytes, has {}", value.len())));
    }
    // MQTT 1.5.4: a string never holds U+0000, and should hold no other control character.
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(field, shown, "must not contain control characters"));
    }
    Ok(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[track_caller]
    fn check(read: Result<CredentialDraft, Invalid>, expected: Result<(&str, &str), &str>) {
        match (read.and_then(|draft| draft.kept(&KEY, None)), expected) {
            (Ok(shown), Ok((id, value))) => {
                assert_eq!((shown.id().as_str(), shown.value().unwrap_or_default().as_str()), (id, value));
            }
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error} does not say {says}"),
            (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
        }
    }

    fn basic(value: &str) -> Result<CredentialDraft, Invalid> {
        CredentialDraft::read(Some(MQTT_BASIC), None, Some(value))
    }

    /// Reference 1.1, "CONNECT validation order", 3.
    #[test]
    fn every_combination_of_basic_has_its_id() {
        // SHA3-256 of "c" and of "c|u", by another implementation (openssl dgst -sha3-256).
        check(basic(r#"{"userName":"u"}"#), Ok(("u", r#"{"clientId":null,"password":null,"userName":"u"}"#)));
        let masked = r#"{"clientId":null,"password":"********","userName":"u"}"#;
        check(basic(r#"{"userName":"u","password":"p"}"#), Ok(("u", masked)));
        let client = "263ab762270d3b73d3e2cddf9acc893bb6bd41110347e5d5e4bd1d3c128ea90a";
        check(
            basic(r#"{"clientId":"c","userName":"","password":""}"#),
            Ok((client, r#"{"clientId":"c","password":null,"userName":null}"#)),
        );
        let both = "29cd886b96af386fd43e35097f8228b97209711642b8b65ebf118b288accb0ea";
        check(basic(r#"{"clientId":"c","userName":"u"}"#), Ok((both, r#"{"clientId":"c","password":null,"userName":"u"}"#)));
        check(
            basic(r#"{"clientId":"c","userName":"u","password":"p"}"#),
            Ok((both, r#"{"clientId":"c","password":"********","userName":"u"}"#)),
        );
        check(basic(r#"{"clientId":"c","password":"p"}"#), Err("password: \"***\" must not be given with a clientId"));
        check(basic(r#"{"password":"p"}"#), Err("clientId: \"\" must be given, or userName"));
        check(basic("{}"), Err("clientId: \"\" must be given"));
    }

    #[test]
    fn what_is_no_credential_is_named_and_no_secret_repeated() {
        check(CredentialDraft::read(None, Some("T"), None), Ok(("T", "")));
        check(CredentialDraft::read(None, None, None), Err("credentialsId: \"\" must be given"));
        check(CredentialDraft::read(Some("LWM2M_CREDENTIALS"), None, Some("{}")), Err("no LwM2M"));
        check(CredentialDraft::read(Some("PASSWORD"), None, None), Err("\"PASSWORD\" must be ACCESS_TOKEN, MQTT_BASIC or X509"));
        check(CredentialDraft::read(Some(X509_CERTIFICATE), None, None), Err("must be the device's certificate"));
        check(CredentialDraft::read(Some(X509_CERTIFICATE), None, Some("%")), Err("must be a PEM certificate"));
        check(CredentialDraft::read(Some(X509_CERTIFICATE), None, Some("AAAA")), Err("must be an X.509 certificate"));
        for value in ["", "7", "[]", r#"{"clientId":7}"#, r#"{"userName":"u","password":["s3cret"]}"#, r#""s3cret""#] {
            let refused = basic(value).unwrap_err().to_string();
            assert!(refused.contains("must be the text of a JSON object") && !refused.contains("s3cret"), "{value}: {refused}");
        }
        let long = format!(r#"{{"userName":"u","password":"{}"}}"#, "s3cret".repeat(200));
        let refused = basic(&long).unwrap_err().to_string();
        assert!(refused.contains("at most 1024 bytes") && !refused.contains("s3cret"), "{refused}");
        check(basic(r#"{"userName":"a\u0000b"}"#), Err("control characters"));
    }

    #[test]
    fn passwords_are_known_by_an_hmac_of_all_three() {
        let kept = |text: &str, key: &[u8]| basic(text).unwrap().kept(key, None).unwrap();
        let first = kept(r#"{"userName":"u","password":"p"}"#, &KEY);
        let form = BasicForm { client_id: None, user_name: Some("u"), password: Some(b"p") }.form();
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), &form);
        assert_eq!(first.lookup(), expected.as_ref());
        for other in [r#"{"userName":"u","password":"q"}"#, r#"{"userName":"v","password":"p"}"#, r#"{"userName":"u"}"#] {
            assert_ne!(kept(other, &KEY).lookup(), first.lookup(), "{other}");
        }
        assert_ne!(kept(r#"{"userName":"u","password":"p"}"#, &[8; 32]).lookup(), first.lookup(), "another key");
        assert!(!format!("{first:?}").contains('u'), "nothing of it is printed");
    }

    #[test]
    fn the_mask_keeps_the_password_it_stands_for() {
        let stored = basic(r#"{"userName":"u","password":"p"}"#).unwrap().kept(&KEY, None).unwrap();
        let again = |text: &str| basic(text).unwrap().kept(&KEY, Some(&stored));
        assert_eq!(again(&stored.value().unwrap()), Ok(stored.clone()), "what is shown can be sent back");
        for changed in [r#"{"userName":"v","password":"********"}"#, r#"{"clientId":"c","userName":"u","password":"********"}"#] {
            assert!(again(changed).unwrap_err().to_string().contains("must be given again"), "{changed}");
        }
        // Without a password there is none, as in ThingsBoard.
        assert_ne!(again(r#"{"userName":"u"}"#).unwrap().lookup(), stored.lookup());
        let open = basic(r#"{"userName":"u"}"#).unwrap().kept(&KEY, None).unwrap();
        assert!(basic(r#"{"userName":"u","password":"********"}"#).unwrap().kept(&KEY, Some(&open)).is_err());
    }
}
