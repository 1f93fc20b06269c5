//! A device profile: what devices of one type share. Never knows its devices.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{
    Certificate, Invalid, MqttTransport, PackageKind, ProvisionType, name, optional_name,
    provision::{key, pattern},
    transport::{DEFAULT_TRANSPORT, MQTT_TRANSPORT, transport_type},
};

pub(super) const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// The largest image, in bytes: a data URL of a small picture.
pub(super) const IMAGE_BYTES_MAX: usize = 524_288;
/// The largest `profileData`, in bytes: four schemas with room to spare. It must fit one message of the push.
const DATA_BYTES_MAX: usize = 524_288;

#[derive(Clone, Debug, PartialEq)]
pub struct DeviceProfile {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    /// Unique within the tenant, whatever its case.
    pub name: String,
    pub description: Option<String>,
    pub image: Option<String>,
    /// The one devices get when nothing is said. Exactly one per tenant.
    pub is_default: bool,
    /// Where this profile's messages enter; `None` is the tenant's root chain.
    pub chain: Option<Uuid>,
    /// ThingsBoard's `transportType`; one this version does not know is kept as data.
    pub transport: String,
    pub provision: ProvisionType,
    /// Unique on the whole installation: devices show it to say which profile they mean. Of a certificate chain, the
    /// authority's fingerprint.
    pub provision_key: Option<String>,
    /// Shown again, used by nobody yet: ThingsBoard's queue, dashboard and edge rule chain.
    pub queue: Option<String>,
    pub dashboard: Option<Uuid>,
    pub edge_chain: Option<Uuid>,
    /// The packages devices of this profile are to run, unless a device says otherwise.
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    /// ThingsBoard's `profileData`; null when nothing was ever said.
    pub profile_data: Value,
}

impl DeviceProfile {
    /// The package of its devices that have none of their own.
    #[must_use]
    pub fn package(&self, kind: PackageKind) -> Option<Uuid> {
        match kind {
            PackageKind::Firmware => self.firmware,
            PackageKind::Software => self.software,
        }
    }

    /// What devices show together with the key, or the authority's certificate.
    #[must_use]
    pub fn provision_secret(&self) -> Option<&str> {
        self.provisioning().get("provisionDeviceSecret")?.as_str()
    }

    /// ThingsBoard's `provisionConfiguration`.
    #[must_use]
    pub fn provisioning(&self) -> &Value {
        self.profile_data.get("provisionConfiguration").unwrap_or(&Value::Null)
    }

    /// The authority whose devices it takes.
    #[must_use]
    pub fn authority(&self) -> Option<Certificate> {
        let chain = self.provision == ProvisionType::CertificateChain;
        chain.then(|| Certificate::read_first("provisionDeviceSecret", self.provision_secret()?).ok()).flatten()
    }

    /// Topics and payloads of its devices, if it says any.
    #[must_use]
    pub fn mqtt(&self) -> Option<MqttTransport> {
        mqtt_of(&self.transport, &self.profile_data)
    }
}

/// The MQTT part of a stored `profileData`, which was checked when it was stored.
pub(crate) fn mqtt_of(transport: &str, profile_data: &Value) -> Option<MqttTransport> {
    let of_mqtt = transport == MQTT_TRANSPORT;
    of_mqtt.then(|| MqttTransport::read(profile_data.get("transportConfiguration")?).ok()).flatten()
}

/// What a client sends to create (`id: None`) or replace a profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    pub description: Option<String>,
    pub image: Option<String>,
    pub chain: Option<Uuid>,
    /// ThingsBoard's `transportType`; `None` is what `profile_data` says, or `DEFAULT`.
    pub transport: Option<String>,
    /// ThingsBoard's `provisionType`; `None` is what `profile_data` says, or `DISABLED`.
    pub provision: Option<String>,
    pub provision_key: Option<String>,
    pub queue: Option<String>,
    pub dashboard: Option<Uuid>,
    pub edge_chain: Option<Uuid>,
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    pub profile_data: Value,
}

impl ProfileDraft {
    /// Also completes `transport`, `provision` and `profile_data`. Where devices show a secret, key and secret may still be
    /// missing: see [`ProfileDraft::give_secret`].
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        self.name = name("name", &self.name)?;
        self.queue = optional_name("defaultQueueName", self.queue.as_deref())?;
        self.description = text("description", self.description.take(), DESCRIPTION_BYTES_MAX)?;
        self.image = text("image", self.image.take(), IMAGE_BYTES_MAX)?;
        let mut parts = match std::mem::take(&mut self.profile_data) {
            Value::Null => Map::new(),
            Value::Object(parts) => parts,
            other => return Err(Invalid::new("profileData", &other.to_string(), "must be an object")),
        };
        typed_part(&mut parts, "configuration", DEFAULT_TRANSPORT)?;
        let said = self.transport.take().or_else(|| type_of(&parts, "transportConfiguration"));
        let transport = transport_type(said.as_deref().unwrap_or(DEFAULT_TRANSPORT))?;
        typed_part(&mut parts, "transportConfiguration", &transport)?;
        if transport == MQTT_TRANSPORT {
            MqttTransport::read(&parts["transportConfiguration"])?;
        }
        let said = self.provision.take().or_else(|| type_of(&parts, "provisionConfiguration"));
        let said = said.as_deref().unwrap_or_else(|| ProvisionType::Disabled.name());
        let names = ProvisionType::ALL.map(ProvisionType::name).join(", ");
        let unknown = || Invalid::new("provisionType", said, format!("must be one of {names}"));
        let provision = ProvisionType::parse(said).ok_or_else(unknown)?;
        typed_part(&mut parts, "provisionConfiguration", provision.name())?;
        self.provision_key = provision_key(&mut parts["provisionConfiguration"], provision, self.provision_key.take())?;
        match parts.entry("alarms").or_insert(Value::Null) {
            Value::Null | Value::Array(_) => {}
            other => return Err(Invalid::new("alarms", &other.to_string(), "must be an array")),
        }
        self.transport = Some(transport);
        self.provision = Some(provision.name().to_owned());
        self.profile_data = Value::Object(parts);
        let bytes = self.profile_data.to_string().len();
        if bytes > DATA_BYTES_MAX {
            return Err(Invalid::new("profileData", "", format!("must have at most {DATA_BYTES_MAX} bytes, has {bytes}")));
        }
        Ok(self)
    }

    /// Fills in the key and the secret that a checked draft of such a strategy does not say: those `stored` has, or new ones.
    pub fn give_secret(&mut self, stored: Option<&DeviceProfile>, mut new: impl FnMut() -> String) {
        if !self.provision_type().by_secret() {
            return;
        }
        let stored = stored.filter(|stored| stored.provision.by_secret());
        if self.provision_key.is_none() {
            self.provision_key = Some(stored.and_then(|stored| stored.provision_key.clone()).unwrap_or_else(&mut new));
        }
        let secret = &mut self.profile_data["provisionConfiguration"]["provisionDeviceSecret"];
        if secret.is_null() {
            let known = stored.and_then(|stored| stored.provision_secret()).map(str::to_owned);
            *secret = json!(known.unwrap_or_else(new));
        }
    }

    #[must_use]
    pub fn provision_type(&self) -> ProvisionType {
        self.provision.as_deref().and_then(ProvisionType::parse).unwrap_or_default()
    }
}

pub(super) fn text(field: &'static str, text: Option<String>, bytes_max: usize) -> Result<Option<String>, Invalid> {
    let text = text.filter(|text| !text.is_empty());
    match &text {
        Some(long) if long.len() > bytes_max => {
            Err(Invalid::new(field, long, format!("must have at most {bytes_max} bytes, has {}", long.len())))
        }
        _ => Ok(text),
    }
}

fn type_of(parts: &Map<String, Value>, part: &str) -> Option<String> {
    parts.get(part)?.get("type")?.as_str().map(str::to_owned)
}

/// Makes sure that a part of `profileData` is an object of this `type`; one that says no type gets it.
fn typed_part(parts: &mut Map<String, Value>, part: &'static str, kind: &str) -> Result<(), Invalid> {
    let value = parts.entry(part).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    let Value::Object(fields) = value else {
        return Err(Invalid::new(part, &value.to_string(), "must be an object"));
    };
    let said = fields.entry("type").or_insert(Value::Null);
    if said.is_null() {
        *said = json!(kind);
    }
    if *said != json!(kind) {
        return Err(Invalid::new(part, &said.to_string(), format!("must have the type {kind}")));
    }
    Ok(())
}

/// Checks what a strategy needs, and finds its key.
fn provision_key(part: &mut Value, provision: ProvisionType, said: Option<String>) -> Result<Option<String>, Invalid> {
    let secret = match &part["provisionDeviceSecret"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => return Err(Invalid::new("provisionDeviceSecret", "***", "must be text")),
    };
    match provision {
        ProvisionType::Disabled => {
            part["provisionDeviceSecret"] = Value::Null;
            Ok(None)
        }
        ProvisionType::CreateNew | ProvisionType::PreProvisioned => {
            let secret = secret.map(|text| key("provisionDeviceSecret", &text)).transpose()?;
            part["provisionDeviceSecret"] = json!(secret);
            said.filter(|text| !text.is_empty()).map(|text| key("provisionDeviceKey", &text)).transpose()
        }
        ProvisionType::CertificateChain => {
            let authority = Certificate::read_first("provisionDeviceSecret", secret.as_deref().unwrap_or_default())?;
            match &part["certificateRegExPattern"] {
                Value::Null => {}
                Value::String(text) => drop(pattern("certificateRegExPattern", text)?),
                other => return Err(Invalid::new("certificateRegExPattern", &other.to_string(), "must be text")),
            }
            match &part["allowCreateNewDevicesByX509Certificate"] {
                Value::Null | Value::Bool(_) => {}
                other => {
                    let rule = "must be true or false";
                    return Err(Invalid::new("allowCreateNewDevicesByX509Certificate", &other.to_string(), rule));
                }
            }
            Ok(Some(authority.fingerprint()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(draft: ProfileDraft, expected: Result<Value, &str>) {
        match (ProfileDraft { name: "p".to_owned(), ..draft }.checked(), expected) {
            (Ok(draft), Ok(expected)) => {
                let ProfileDraft { transport, provision, provision_key, profile_data, .. } = draft;
                assert_eq!(json!([transport, provision, provision_key, profile_data]), expected);
            }
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error} does not say {says}"),
            (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
        }
    }

    fn draft(transport: Option<&str>, provision: Option<&str>, data: Value) -> ProfileDraft {
        let (transport, provision) = (transport.map(str::to_owned), provision.map(str::to_owned));
        ProfileDraft { transport, provision, profile_data: data, ..ProfileDraft::default() }
    }

    #[test]
    fn what_is_not_said_is_completed() {
        let plain = json!({
            "configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"},
            "provisionConfiguration": {"type": "DISABLED", "provisionDeviceSecret": null}, "alarms": null,
        });
        check(ProfileDraft::default(), Ok(json!(["DEFAULT", "DISABLED", null, plain])));
        let said = json!({
            "transportConfiguration": {"type": "SNMP", "timeoutMs": 500}, "alarms": [{"id": "a"}], "novel": 1,
            "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": "s"},
        });
        let mut full = said.clone();
        full["configuration"] = json!({"type": "DEFAULT"});
        check(draft(None, None, said), Ok(json!(["SNMP", "ALLOW_CREATE_NEW_DEVICES", null, full])));
    }

    #[test]
    fn each_bad_part_is_named() {
        check(draft(None, None, json!([])), Err("profileData"));
        check(draft(None, None, json!({"alarms": {}})), Err("alarms"));
        check(draft(None, None, json!({"configuration": 7})), Err("configuration: \"7\" must be an object"));
        check(draft(Some("mqtt"), None, json!(null)), Err("transportType: \"mqtt\""));
        let other = json!({"transportConfiguration": {"type": "COAP"}});
        check(draft(Some("MQTT"), None, other), Err("transportConfiguration: \"\"COAP\"\" must have the type MQTT"));
        let topic = json!({"transportConfiguration": {"deviceTelemetryTopic": "a#"}});
        check(draft(Some("MQTT"), None, topic), Err("deviceTelemetryTopic"));
        check(draft(None, Some("SOMETIMES"), json!(null)), Err("provisionType: \"SOMETIMES\" must be one of DISABLED"));
        let part = |field: &str, value: Value| json!({"provisionConfiguration": {field: value}});
        let create = Some("ALLOW_CREATE_NEW_DEVICES");
        check(draft(None, create, part("provisionDeviceSecret", json!(7))), Err("provisionDeviceSecret: \"***\" must be text"));
        check(draft(None, create, part("provisionDeviceSecret", json!("x".repeat(256)))), Err("has 256"));
        check(draft(None, create, part("type", json!("DISABLED"))), Err("must have the type ALLOW_CREATE_NEW_DEVICES"));
        let chain = Some("X509_CERTIFICATE_CHAIN");
        check(draft(None, chain, json!(null)), Err("provisionDeviceSecret"));
        check(draft(None, chain, part("provisionDeviceSecret", json!("AAAA"))), Err("cannot be an authority"));
        check(draft(None, None, json!({"novel": "x".repeat(DATA_BYTES_MAX)})), Err("profileData: \"\" must have at most"));
        let image = ProfileDraft { image: Some("x".repeat(IMAGE_BYTES_MAX + 1)), ..ProfileDraft::default() };
        check(image, Err("image"));
    }

    #[test]
    fn secrets_are_made_once_and_kept() {
        let made = |mut draft: ProfileDraft, stored: Option<&DeviceProfile>| {
            let mut count = 0;
            draft.give_secret(stored, || {
                count += 1;
                format!("new {count}")
            });
            let secret = draft.profile_data["provisionConfiguration"]["provisionDeviceSecret"].clone();
            (draft.provision_key.unwrap_or_default(), secret)
        };
        let of = |provision: &str, key: Option<&str>, data: Value| {
            let draft = draft(None, Some(provision), data);
            ProfileDraft { name: "p".to_owned(), provision_key: key.map(str::to_owned), ..draft }.checked().unwrap()
        };
        let create = "ALLOW_CREATE_NEW_DEVICES";
        assert_eq!(made(of(create, None, json!(null)), None), ("new 1".to_owned(), json!("new 2")));
        let said = json!({"provisionConfiguration": {"provisionDeviceSecret": "s"}});
        assert_eq!(made(of(create, Some("k"), said.clone()), None), ("k".to_owned(), json!("s")));
        assert_eq!(made(of("DISABLED", Some("k"), said), None), (String::new(), json!(null)), "it opens nothing");
        let stored = stored(&json!("old secret"));
        assert_eq!(made(of(create, None, json!(null)), Some(&stored)), ("old key".to_owned(), json!("old secret")));
    }

    fn stored(secret: &Value) -> DeviceProfile {
        DeviceProfile {
            id: Uuid::nil(),
            created_ms: 0,
            version: 1,
            tenant: Uuid::nil(),
            name: "p".to_owned(),
            description: None,
            image: None,
            is_default: false,
            chain: None,
            transport: DEFAULT_TRANSPORT.to_owned(),
            provision: ProvisionType::PreProvisioned,
            provision_key: Some("old key".to_owned()),
            queue: None,
            dashboard: None,
            edge_chain: None,
            firmware: None,
            software: None,
            profile_data: json!({"provisionConfiguration": {"provisionDeviceSecret": secret}}),
        }
    }
}
