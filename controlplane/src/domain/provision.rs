//! How devices come into a tenant by themselves: what a profile allows, what a device asks, what it is answered (reference
//! 1.1). Never looks at what is stored, never says which of key and secret was wrong.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use regex_automata::meta::Regex;
use serde_json::{Value, json};

use crate::domain::{ACCESS_TOKEN, Certificate, Credential, CredentialDraft, Invalid, MQTT_BASIC, Shown, X509_CERTIFICATE, name};

/// The longest provisioning key or secret that is not a certificate, in bytes.
const KEY_BYTES_MAX: usize = 255;
const PATTERN_BYTES_MAX: usize = 1_024;
/// A compiled pattern, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// ThingsBoard's `provisionType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvisionType {
    #[default]
    Disabled,
    /// Whoever knows the secret makes a device.
    CreateNew,
    /// Whoever knows the secret is given the credentials of a device that an administrator made; once.
    PreProvisioned,
    /// Whose certificate the profile's authority signed.
    CertificateChain,
}

impl ProvisionType {
    pub const ALL: [Self; 4] = [Self::Disabled, Self::CreateNew, Self::PreProvisioned, Self::CertificateChain];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::CreateNew => "ALLOW_CREATE_NEW_DEVICES",
            Self::PreProvisioned => "CHECK_PRE_PROVISIONED_DEVICES",
            Self::CertificateChain => "X509_CERTIFICATE_CHAIN",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a key and a secret are shown, rather than a certificate.
    #[must_use]
    pub fn by_secret(self) -> bool {
        matches!(self, Self::CreateNew | Self::PreProvisioned)
    }
}

/// A provisioning key or secret.
pub(super) fn key(field: &'static str, text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.len() > KEY_BYTES_MAX || text.chars().any(char::is_control) {
        let rule = format!("must have 1 to {KEY_BYTES_MAX} bytes and no control characters, has {}", text.len());
        return Err(Invalid::new(field, "***", rule));
    }
    Ok(text.to_owned())
}

/// `certificateRegExPattern`: its first group is the device's name in the common name.
pub(super) fn pattern(field: &'static str, text: &str) -> Result<Regex, Invalid> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(Invalid::new(field, text, format!("must have at most {PATTERN_BYTES_MAX} bytes, has {}", text.len())));
    }
    let limits = Regex::config().nfa_size_limit(Some(PATTERN_SIZE_MAX)).onepass_size_limit(Some(PATTERN_SIZE_MAX));
    let compiled = Regex::builder().configure(limits).build(text);
    let compiled = compiled.map_err(|_| Invalid::new(field, text, "must be a regular expression without look-around"))?;
    if compiled.captures_len() < 2 {
        return Err(Invalid::new(field, text, "must hold a group, such as (.*): what it matches is the device's name"));
    }
    Ok(compiled)
}

/// The part of a common name that is the device's name.
#[must_use]
pub fn name_in(pattern: &str, common_name: &str) -> Option<String> {
    let pattern = self::pattern("certificateRegExPattern", pattern).ok()?;
    let mut groups = pattern.create_captures();
    pattern.captures(common_name, &mut groups);
    let found = common_name.get(groups.get_group(1)?.range())?;
    name("name", found).ok()
}

/// Whether two secrets are the same; takes as long whatever differs.
#[must_use]
pub fn same_secret(known: &str, shown: &str) -> bool {
    // Digests have one length, so that the comparison tells nothing about that of the secret.
    let digest_of = |text: &str| digest(&SHA256, text.as_bytes());
    verify_slices_are_equal(digest_of(known).as_ref(), digest_of(shown).as_ref()).is_ok()
}

/// What a device asks.
#[derive(Clone, PartialEq)]
pub struct ProvisionRequest {
    /// `None`: one is made up.
    pub device_name: Option<String>,
    pub key: String,
    pub secret: String,
    /// What it would show; `None`: an access token is made up.
    pub credentials: Option<CredentialDraft>,
    pub gateway: bool,
}

impl std::fmt::Debug for ProvisionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProvisionRequest({:?})", self.device_name)
    }
}

/// Why a device is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprovisioned {
    /// No profile knows this key and this secret.
    NotFound,
    Failure,
}

impl ProvisionRequest {
    /// # Errors
    /// [`Unprovisioned::NotFound`] without key or secret, [`Unprovisioned::Failure`] for what cannot be read.
    pub fn read(payload: &[u8]) -> Result<Self, Unprovisioned> {
        let value: Value = serde_json::from_slice(payload).map_err(|_| Unprovisioned::Failure)?;
        let fields = value.as_object().ok_or(Unprovisioned::Failure)?;
        let text = |field: &str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(Unprovisioned::Failure),
        };
        let (Some(key), Some(secret)) = (text("provisionDeviceKey")?, text("provisionDeviceSecret")?) else {
            return Err(Unprovisioned::NotFound);
        };
        let device_name = text("deviceName")?.map(|text| name("deviceName", text)).transpose();
        let (token, hash) = (text("token")?, text("hash")?);
        let (client, user, password) = (text("clientId")?, text("username")?, text("password")?);
        let nothing = [token, hash, client, user, password].iter().all(Option::is_none);
        let credentials = match text("credentialsType")?.unwrap_or(ACCESS_TOKEN) {
            ACCESS_TOKEN if nothing => Ok(None),
            ACCESS_TOKEN => CredentialDraft::token("token", token.unwrap_or_default()).map(Some),
            MQTT_BASIC => CredentialDraft::basic(client, user, password).map(Some),
            // Named so for history's sake: it is the certificate itself.
            X509_CERTIFICATE => Certificate::read("hash", hash.unwrap_or_default()).map(CredentialDraft::Certificate).map(Some),
            other => Err(Invalid::new("credentialsType", other, "must be ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE")),
        };
        Ok(Self {
            device_name: device_name.map_err(|_| Unprovisioned::Failure)?,
            key: key.to_owned(),
            secret: secret.to_owned(),
            credentials: credentials.map_err(|_| Unprovisioned::Failure)?,
            gateway: matches!(fields.get("gateway"), Some(Value::Bool(true))),
        })
    }
}

/// The answer to a device that was let in: what it is to show. `password` is its own, if it said one just now: a stored one
/// is not known.
#[must_use]
pub fn provisioned(credential: &Credential, password: Option<&str>) -> Value {
    let value = match &credential.shown {
        Shown::Token(token) => json!(token),
        Shown::Basic(basic) => basic.value(password),
        Shown::Certificate(certificate) => json!(certificate.body()),
    };
    json!({"credentialsType": credential.shown.kind(), "credentialsValue": value, "status": "SUCCESS"})
}

impl Unprovisioned {
    /// ThingsBoard's words.
    #[must_use]
    pub fn answer(self) -> Value {
        match self {
            Self::NotFound => json!({"errorMsg": "Provision data was not found!", "status": "NOT_FOUND"}),
            Self::Failure => json!({"errorMsg": "Failed to provision device!", "status": "FAILURE"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests of the right shape with any values: bytes alone seldom get past the reader of JSON.
    fn any_request() -> impl Strategy<Value = Value> {
        const FIELDS: [&str; 10] = [
            "provisionDeviceKey",
            "provisionDeviceSecret",
            "deviceName",
            "token",
            "hash",
            "clientId",
            "username",
            "password",
            "credentialsType",
            "gateway",
        ];
        let kinds = prop::sample::select(vec![ACCESS_TOKEN, MQTT_BASIC, X509_CERTIFICATE, "OTHER"]);
        let value = prop_oneof![
            4 => "[a-zA-Z0-9 ]{0,40}".prop_map(Value::from),
            1 => any::<String>().prop_map(Value::from),
            1 => "a{200,400}".prop_map(Value::from),
            2 => kinds.prop_map(Value::from),
            1 => prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from)],
        ];
        prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), value, 0..=FIELDS.len())
            .prop_map(|fields| fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ProvisionRequest::read(&bytes);
        }

        #[test]
        fn any_fields_are_a_request_within_the_bounds_or_a_refusal(value in any_request()) {
            let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
            match ProvisionRequest::read(value.to_string().as_bytes()) {
                Ok(request) => {
                    prop_assert_eq!(&request.key, text("provisionDeviceKey"));
                    prop_assert_eq!(&request.secret, text("provisionDeviceSecret"));
                    let name = request.device_name.unwrap_or_else(|| "made up".into());
                    prop_assert!(!name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control), "{name:?}");
                }
                Err(Unprovisioned::NotFound) => {
                    prop_assert!(text("provisionDeviceKey").is_empty() || text("provisionDeviceSecret").is_empty());
                }
                Err(Unprovisioned::Failure) => {}
            }
        }
    }

    #[track_caller]
    fn check(payload: &str, expected: Result<(Option<&str>, Option<&str>), Unprovisioned>) {
        let read = ProvisionRequest::read(payload.as_bytes());
        let found = read
            .as_ref()
            .map(|request| (request.device_name.as_deref(), request.credentials.as_ref().map(|one| format!("{one:?}"))));
        let expected = expected.map(|(name, kind)| (name, kind.map(str::to_owned)));
        assert_eq!(found.map_err(|why| *why), expected, "{payload}");
    }

    fn with(more: &str) -> String {
        format!(r#"{{"provisionDeviceKey":"k","provisionDeviceSecret":"s"{more}}}"#)
    }

    #[test]
    fn requests_are_read_as_thingsboard_does() {
        check(&with(""), Ok((None, None)));
        check(&with(r#","deviceName":" D ","gateway":true,"unknown":1"#), Ok((Some("D"), None)));
        check(&with(r#","credentialsType":"ACCESS_TOKEN","token":"T""#), Ok((None, Some("ACCESS_TOKEN"))));
        check(&with(r#","credentialsType":"MQTT_BASIC","username":"u","password":"p""#), Ok((None, Some("MQTT_BASIC"))));
        assert!(ProvisionRequest::read(with(r#","gateway":true"#).as_bytes()).unwrap().gateway);
        assert!(!ProvisionRequest::read(with(r#","gateway":"true""#).as_bytes()).unwrap().gateway);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for payload in ["", "{", "[]", "7", "\"x\"", "null"] {
            check(payload, Err(Unprovisioned::Failure));
        }
        for payload in ["{}", r#"{"provisionDeviceKey":"k"}"#, r#"{"provisionDeviceKey":"","provisionDeviceSecret":"s"}"#] {
            check(payload, Err(Unprovisioned::NotFound));
        }
        for more in [
            r#","deviceName":"  ""#,
            r#","deviceName":7"#,
            r#","deviceName":"a\nb""#,
            r#","credentialsType":"MQTT_BASIC""#,
            r#","credentialsType":"MQTT_BASIC","clientId":"c","password":"p""#,
            r#","credentialsType":"X509_CERTIFICATE""#,
            r#","credentialsType":"X509_CERTIFICATE","hash":"abc""#,
            r#","credentialsType":"LWM2M_CREDENTIALS""#,
            r#","credentialsType":"ACCESS_TOKEN","token":"white space""#,
            r#","credentialsType":"ACCESS_TOKEN","username":"u""#,
        ] {
            check(&with(more), Err(Unprovisioned::Failure));
        }
    }

    #[test]
    fn the_first_group_is_the_name() {
        let check = |text: &str, common: &str, expected: Option<&str>| {
            assert_eq!(name_in(text, common).as_deref(), expected, "{text} in {common}");
        };
        check(r"(.*)\.company\.com", "DeviceA.company.com", Some("DeviceA"));
        check(r"prefix(.*)suffix@company\.com", "prefixDeviceAsuffix@company.com", Some("DeviceA"));
        check("(.+)", "meter 1", Some("meter 1"));
        check("(x)", "meter 1", None);
        check("( *)", " ", None);
        check("(a)|b", "b", None);
        check("no group", "no group", None);
        for bad in ["(", "(?=a)(b)", "(a){999999}{999999}", "no group"] {
            assert!(pattern("p", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("secret", "secret"));
        for other in ["", "secre", "secrets", "Secret"] {
            assert!(!same_secret("secret", other), "{other}");
        }
    }
}
