//! A tenant profile: how much a tenant may have and how fast its devices may speak, as ThingsBoard's `profileData`. Kept as it
//! was sent; what this version obeys is checked. Never knows its tenants.

use schemas::rate::RateLimit;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{EntityKind, Invalid, name};

/// The profile every installation begins with (`migration::m0002_identity`).
pub const DEFAULT_TENANT_PROFILE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

const DESCRIPTION_BYTES_MAX: usize = 4_096;
const DATA_BYTES_MAX: usize = 65_536;
/// Where the profile says nothing else; as in ThingsBoard.
const DEBUG_MINUTES_MAX: u64 = 15;

/// Whom a rate limit binds, and what of theirs, as ThingsBoard's names are put together (reference 1.8).
const SPEAKERS: [&str; 4] = ["Tenant", "Device", "Gateway", "GatewayDevice"];
const SPOKEN: [&str; 3] = ["Msg", "TelemetryMsg", "TelemetryDataPoints"];
/// Not ThingsBoard's: connections of the tenant's devices to one data plane.
const CONNECTIONS_MAX: &str = "maxTransportConnections";
/// Not ThingsBoard's: whether the tenant's rule nodes may call loopback, private and link-local addresses.
const PRIVATE_TARGETS: &str = "privateTargetsAllowed";
/// Rate limits that are checked and shown, and that nothing obeys yet.
const OTHER_RATES: [&str; 16] = [
    "tenantEntityExportRateLimit",
    "tenantEntityImportRateLimit",
    "tenantNotificationRequestsRateLimit",
    "tenantNotificationRequestsPerRuleRateLimit",
    "tenantServerRestLimitsConfiguration",
    "customerServerRestLimitsConfiguration",
    "wsUpdatesPerSessionRateLimit",
    "cassandraQueryTenantRateLimitsConfiguration",
    "cassandraReadQueryTenantCoreRateLimits",
    "cassandraWriteQueryTenantCoreRateLimits",
    "cassandraReadQueryTenantRuleEngineRateLimits",
    "cassandraWriteQueryTenantRuleEngineRateLimits",
    "edgeEventRateLimits",
    "edgeEventRateLimitsPerEdge",
    "edgeUplinkMessagesRateLimits",
    "edgeUplinkMessagesRateLimitsPerEdge",
];

#[derive(Clone, Debug, PartialEq)]
pub struct TenantProfile {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    /// Unique, whatever its case.
    pub name: String,
    pub description: Option<String>,
    /// The one tenants get when nothing is said. Exactly one.
    pub is_default: bool,
    /// ThingsBoard's `isolatedTbRuleEngine`, which means nothing here: every tenant has its share of every shard.
    pub isolated: bool,
    pub profile_data: Value,
}

/// What a data plane is told of a tenant's limits: `rates[speaker][spoken]` in the order of [`SPEAKERS`] and [`SPOKEN`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportLimits {
    pub rates: [[String; 3]; 4],
    /// 0 = no limit.
    pub connections_max: u32,
    /// Rule nodes may call what is not on the public internet.
    pub private_targets: bool,
}

impl TransportLimits {
    /// Out of a stored `profileData`, which was checked when it was stored.
    #[must_use]
    pub fn of(profile_data: &Value) -> Self {
        let configuration = &profile_data["configuration"];
        let text = |name: &str| configuration[name].as_str().unwrap_or_default().trim().to_owned();
        let rates = SPEAKERS.map(|speaker| SPOKEN.map(|spoken| text(&rate_name(speaker, spoken))));
        let connections_max = configuration[CONNECTIONS_MAX].as_u64().unwrap_or(0);
        let private_targets = configuration[PRIVATE_TARGETS].as_bool().unwrap_or(false);
        Self { rates, connections_max: u32::try_from(connections_max).unwrap_or(u32::MAX), private_targets }
    }
}

fn rate_name(speaker: &str, spoken: &str) -> String {
    format!("transport{speaker}{spoken}RateLimit")
}

impl TenantProfile {
    /// How many entities of a kind a tenant may have; `None` = as many as it likes.
    #[must_use]
    pub fn most(&self, kind: EntityKind) -> Option<u64> {
        let name = match kind {
            EntityKind::Device => "maxDevices",
            EntityKind::Asset => "maxAssets",
            EntityKind::Customer => "maxCustomers",
            EntityKind::User => "maxUsers",
            EntityKind::RuleChain => "maxRuleChains",
            _ => return None,
        };
        self.number(name)
    }

    /// How many bytes the OTA packages of a tenant may have together; `None` = as many as it likes.
    #[must_use]
    pub fn package_bytes_max(&self) -> Option<u64> {
        self.number("maxOtaPackagesInBytes")
    }

    /// For how many minutes a rule node may show all its messages.
    #[must_use]
    pub fn debug_minutes_max(&self) -> u64 {
        self.number("maxDebugModeDurationMinutes").map_or(DEBUG_MINUTES_MAX, |minutes| minutes.min(DEBUG_MINUTES_MAX))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.profile_data["configuration"][name].as_u64().filter(|most| *most > 0)
    }
}

/// What a client sends to create (`id: None`) or replace a tenant profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantProfileDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    pub description: Option<String>,
    pub isolated: bool,
    pub profile_data: Value,
}

impl TenantProfileDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        self.name = name("name", &self.name)?;
        self.description = self.description.filter(|text| !text.is_empty());
        if let Some(text) = self.description.as_ref().filter(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            let rule = format!("must have at most {DESCRIPTION_BYTES_MAX} bytes, has {}", text.len());
            return Err(Invalid::new("description", text, rule));
        }
        if self.profile_data.is_null() {
            self.profile_data = json!({});
        }
        let bytes = self.profile_data.to_string().len();
        if bytes > DATA_BYTES_MAX {
            return Err(Invalid::new("profileData", "", format!("must have at most {DATA_BYTES_MAX} bytes, has {bytes}")));
        }
        let Value::Object(parts) = &mut self.profile_data else {
            return Err(Invalid::new("profileData", &self.profile_data.to_string(), "must be an object"));
        };
        let configuration = parts.entry("configuration").or_insert(Value::Null);
        if configuration.is_null() {
            *configuration = json!({"type": "DEFAULT"});
        }
        let Value::Object(fields) = configuration else {
            return Err(Invalid::new("configuration", &configuration.to_string(), "must be an object"));
        };
        let kind = fields.entry("type").or_insert_with(|| json!("DEFAULT"));
        if kind.as_str() != Some("DEFAULT") {
            return Err(Invalid::new("configuration.type", &kind.to_string(), "must be DEFAULT"));
        }
        for (field, value) in fields.iter() {
            check(field, value)?;
        }
        Ok(self)
    }
}

/// A field of the configuration. One that nobody knows is kept whatever it is.
fn check(field: &str, value: &Value) -> Result<(), Invalid> {
    let wrong = |rule: String| Err(Invalid::new("profileData.configuration", &format!("{field} = {value}"), rule));
    let is_rate = OTHER_RATES.contains(&field)
        || SPEAKERS.iter().any(|speaker| SPOKEN.iter().any(|spoken| field == rate_name(speaker, spoken)));
    if value.is_null() {
        return Ok(());
    }
    if is_rate {
        let Some(text) = value.as_str() else { return wrong("must be text such as 100:1,2000:60".to_owned()) };
        return RateLimit::parse(text).map(|_| ()).or_else(|invalid| wrong(invalid.to_string()));
    }
    let counts = field.starts_with("max") || field.ends_with("TtlDays") || field == "wsMsgQueueLimitPerSession";
    if field == CONNECTIONS_MAX && value.as_u64().is_none_or(|most| u32::try_from(most).is_err()) {
        return wrong(format!("must be a whole number, 0 to {}", u32::MAX));
    }
    if counts && value.as_u64().is_none() {
        return wrong("must be a whole number, 0 or more; 0 = no limit".to_owned());
    }
    if field == "warnThreshold" && !value.as_f64().is_some_and(|part| (0.0..=1.0).contains(&part)) {
        return wrong("must be a number from 0 to 1".to_owned());
    }
    if (field == "smsEnabled" || field == PRIVATE_TARGETS) && !value.is_boolean() {
        return wrong("must be true or false".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: Value, expected: Result<Value, &str>) {
        let draft = TenantProfileDraft { name: "p".to_owned(), profile_data: data, ..TenantProfileDraft::default() };
        match (draft.checked(), expected) {
            (Ok(draft), Ok(expected)) => assert_eq!(draft.profile_data, expected),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error} does not say {says}"),
            (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
        }
    }

    fn of(field: &str, value: Value) -> Value {
        json!({"configuration": {"type": "DEFAULT", field: value}})
    }

    #[test]
    fn what_is_obeyed_is_checked_and_the_rest_kept() {
        check(json!(null), Ok(json!({"configuration": {"type": "DEFAULT"}})));
        let full = json!({
            "configuration": {
                "type": "DEFAULT", "maxDevices": 10, "transportDeviceMsgRateLimit": "10:1,100:60", "warnThreshold": 0.8,
                "tenantServerRestLimitsConfiguration": "", "smsEnabled": true, "novel": {"a": 1}, "maxUsers": null,
            },
            "queueConfiguration": [],
        });
        check(full.clone(), Ok(full));
        check(json!([]), Err("profileData"));
        check(json!({"configuration": 7}), Err("configuration: \"7\" must be an object"));
        check(of("type", json!("OTHER")), Err("configuration.type"));
        check(of("maxDevices", json!(-1)), Err("maxDevices = -1\" must be a whole number"));
        check(of("maxDevices", json!("10")), Err("must be a whole number"));
        check(of("defaultStorageTtlDays", json!(1.5)), Err("must be a whole number"));
        check(of("maxTransportConnections", json!(5_000_000_000_u64)), Err("0 to 4294967295"));
        check(of("transportGatewayDeviceTelemetryDataPointsRateLimit", json!("10")), Err("expected capacity:seconds"));
        check(of("transportTenantMsgRateLimit", json!(10)), Err("must be text"));
        check(of("edgeEventRateLimits", json!("0:1")), Err("expected capacity:seconds"));
        check(of("warnThreshold", json!(2)), Err("0 to 1"));
        check(of("smsEnabled", json!(1)), Err("true or false"));
        check(json!({"novel": "x".repeat(DATA_BYTES_MAX)}), Err("profileData"));
    }

    #[test]
    fn limits_are_found_by_speaker_and_kind() {
        let data = json!({"configuration": {
            "transportTenantMsgRateLimit": "1:1", "transportDeviceTelemetryMsgRateLimit": " 2:2 ",
            "transportGatewayTelemetryDataPointsRateLimit": "3:3", "transportGatewayDeviceMsgRateLimit": "4:4",
            "maxTransportConnections": 5, "privateTargetsAllowed": true,
        }});
        let limits = TransportLimits::of(&data);
        let said: Vec<_> = limits.rates.iter().flatten().map(String::as_str).collect();
        assert_eq!(said, ["1:1", "", "", "", "2:2", "", "", "", "3:3", "4:4", "", ""]);
        assert_eq!((limits.connections_max, limits.private_targets), (5, true));
        assert!(!TransportLimits::of(&json!({})).private_targets);
        assert_eq!(TransportLimits::of(&json!(null)), TransportLimits::default());
    }
}
