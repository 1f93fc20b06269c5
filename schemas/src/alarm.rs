//! An alarm as both planes speak of it: its severity, its status, ThingsBoard's JSON of it, and its record (`kept.proto`).
//! Never decides when one begins or ends: rules and people do.

use prost::Message;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    generated::kept::{self as wire, alarm::Severity as WireSeverity},
    id::{EntityId, InvalidId, TenantId, uuid},
};

macro_rules! severities {
    ($($variant:ident => $name:literal;)+) => {
        /// ThingsBoard's, the worst first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Severity { $($variant,)+ }

        impl Severity {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// As a record has it.
            #[must_use]
            pub fn to_wire(self) -> WireSeverity {
                match self { $(Self::$variant => WireSeverity::$variant,)+ }
            }

            /// What a record has; `None` for a number that is none.
            #[must_use]
            pub fn from_wire(number: i32) -> Option<Self> {
                match WireSeverity::try_from(number) {
                    $(Ok(WireSeverity::$variant) => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

severities! {
    Critical => "CRITICAL";
    Major => "MAJOR";
    Minor => "MINOR";
    Warning => "WARNING";
    Indeterminate => "INDETERMINATE";
}

impl Severity {
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|severity| severity.name() == name)
    }
}

/// Whether it goes on, and whether somebody has taken notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    ActiveUnack,
    ActiveAck,
    ClearedUnack,
    ClearedAck,
}

impl Status {
    pub const ALL: &[Self] = &[Self::ActiveUnack, Self::ActiveAck, Self::ClearedUnack, Self::ClearedAck];

    #[must_use]
    pub fn of(cleared: bool, acknowledged: bool) -> Self {
        match (cleared, acknowledged) {
            (false, false) => Self::ActiveUnack,
            (false, true) => Self::ActiveAck,
            (true, false) => Self::ClearedUnack,
            (true, true) => Self::ClearedAck,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ActiveUnack => "ACTIVE_UNACK",
            Self::ActiveAck => "ACTIVE_ACK",
            Self::ClearedUnack => "CLEARED_UNACK",
            Self::ClearedAck => "CLEARED_ACK",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.name() == name)
    }
}

/// Relation types of one alarm.
pub const RELATION_TYPES_MAX: usize = 32;

/// Who else is to see an alarm besides those who look at its originator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    pub along_relations: bool,
    pub to_owner: bool,
    pub to_tenant: bool,
    /// Along these only; none are all.
    pub relation_types: Vec<String>,
}

/// Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub id: Uuid,
    /// Grows with each change, from 1.
    pub version: u64,
    pub tenant: TenantId,
    pub originator: EntityId,
    /// ThingsBoard's entity type.
    pub originator_type: String,
    pub kind: String,
    pub severity: Severity,
    pub created_ts: i64,
    pub start_ts: i64,
    pub end_ts: i64,
    /// When somebody took notice.
    pub ack_ts: Option<i64>,
    pub clear_ts: Option<i64>,
    pub assign_ts: Option<i64>,
    pub assignee: Option<Uuid>,
    /// JSON text; empty when there are none.
    pub details: String,
    pub propagation: Propagation,
    /// Kept only until the control plane has been told.
    pub deleted: bool,
}

/// Why bytes are no alarm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAlarm {
    #[error("alarm: {0}")]
    Record(String),
    #[error("alarm.{0}")]
    Id(#[from] InvalidId),
    #[error("alarm.severity: unknown number {0}")]
    Severity(i32),
}

impl Alarm {
    #[must_use]
    pub fn is_cleared(&self) -> bool {
        self.clear_ts.is_some()
    }

    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.is_cleared(), self.ack_ts.is_some())
    }

    /// Takes a details value; null is none.
    pub fn set_details(&mut self, details: &Value) {
        self.details = if details.is_null() { String::new() } else { details.to_string() };
    }

    /// About what it takes in memory beyond its own size, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let relations: usize = self.propagation.relation_types.iter().map(|kind| kind.len() + 24).sum();
        self.kind.len() + self.originator_type.len() + self.details.len() + relations
    }

    /// As ThingsBoard writes it. Whose its originator is, it does not know.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let id = |kind: &str, id: Uuid| json!({ "entityType": kind, "id": id });
        // Text that was JSON when it came in; a broken record must not take the reader down.
        let details: Value = serde_json::from_str(&self.details).unwrap_or(Value::Null);
        json!({
            "id": id("ALARM", self.id),
            "createdTime": self.created_ts,
            "tenantId": id("TENANT", self.tenant.0),
            "customerId": null,
            "type": self.kind,
            "originator": id(&self.originator_type, self.originator.0),
            "severity": self.severity.name(),
            "acknowledged": self.ack_ts.is_some(),
            "cleared": self.is_cleared(),
            "assigneeId": self.assignee.map(|user| id("USER", user)),
            "startTs": self.start_ts,
            "endTs": self.end_ts,
            "ackTs": self.ack_ts.unwrap_or(0),
            "clearTs": self.clear_ts.unwrap_or(0),
            "assignTs": self.assign_ts.unwrap_or(0),
            "details": details,
            "propagate": self.propagation.along_relations,
            "propagateToOwner": self.propagation.to_owner,
            "propagateToTenant": self.propagation.to_tenant,
            "propagateRelationTypes": self.propagation.relation_types,
            "name": self.kind,
            "status": self.status().name(),
        })
    }

    /// Its record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::Alarm {
            id: self.id.as_bytes().to_vec(),
            version: self.version,
            tenant_id: self.tenant.0.as_bytes().to_vec(),
            originator_id: self.originator.0.as_bytes().to_vec(),
            originator_type: self.originator_type.clone(),
            r#type: self.kind.clone(),
            severity: self.severity.to_wire().into(),
            created_ts: self.created_ts,
            start_ts: self.start_ts,
            end_ts: self.end_ts,
            ack_ts: self.ack_ts.unwrap_or(0),
            clear_ts: self.clear_ts.unwrap_or(0),
            assign_ts: self.assign_ts.unwrap_or(0),
            assignee_id: self.assignee.map(|user| user.as_bytes().to_vec()).unwrap_or_default(),
            details: self.details.clone(),
            propagate: self.propagation.along_relations,
            propagate_to_owner: self.propagation.to_owner,
            propagate_to_tenant: self.propagation.to_tenant,
            relation_types: self.propagation.relation_types.clone(),
            deleted: self.deleted,
        }
        .encode_to_vec()
    }

    /// Reads its record.
    ///
    /// # Errors
    /// [`InvalidAlarm`].
    pub fn decode(record: &[u8]) -> Result<Self, InvalidAlarm> {
        let read = wire::Alarm::decode(record).map_err(|error| InvalidAlarm::Record(error.to_string()))?;
        let when = |ts: i64| (ts != 0).then_some(ts);
        let assignee = if read.assignee_id.is_empty() { None } else { Some(uuid("assignee_id", &read.assignee_id)?) };
        Ok(Self {
            id: uuid("id", &read.id)?,
            version: read.version,
            tenant: TenantId(uuid("tenant_id", &read.tenant_id)?),
            originator: EntityId(uuid("originator_id", &read.originator_id)?),
            originator_type: read.originator_type,
            kind: read.r#type,
            severity: Severity::from_wire(read.severity).ok_or(InvalidAlarm::Severity(read.severity))?,
            created_ts: read.created_ts,
            start_ts: read.start_ts,
            end_ts: read.end_ts,
            ack_ts: when(read.ack_ts),
            clear_ts: when(read.clear_ts),
            assign_ts: when(read.assign_ts),
            assignee,
            details: read.details,
            propagation: Propagation {
                along_relations: read.propagate,
                to_owner: read.propagate_to_owner,
                to_tenant: read.propagate_to_tenant,
                relation_types: read.relation_types,
            },
            deleted: read.deleted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm() -> Alarm {
        Alarm {
            id: Uuid::from_u128(1),
            version: 3,
            tenant: TenantId(Uuid::from_u128(2)),
            originator: EntityId(Uuid::from_u128(3)),
            originator_type: "DEVICE".to_owned(),
            kind: "Too hot".to_owned(),
            severity: Severity::Major,
            created_ts: 10,
            start_ts: 11,
            end_ts: 12,
            ack_ts: None,
            clear_ts: Some(13),
            assign_ts: None,
            assignee: Some(Uuid::from_u128(4)),
            details: r#"{"t":[1,"x"]}"#.to_owned(),
            propagation: Propagation {
                along_relations: true,
                relation_types: vec!["Contains".to_owned()],
                ..Propagation::default()
            },
            deleted: false,
        }
    }

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        let severities = Severity::ALL.iter().map(|severity| Alarm { severity: *severity, ..alarm() });
        let deleted = Alarm { deleted: true, assignee: None, ack_ts: Some(1), details: String::new(), ..alarm() };
        for alarm in severities.chain([deleted]) {
            assert_eq!(Alarm::decode(&alarm.encode()), Ok(alarm.clone()));
            assert_eq!(Severity::parse(alarm.severity.name()), Some(alarm.severity));
        }
        assert!(matches!(Alarm::decode(&[0xFF]), Err(InvalidAlarm::Record(_))));
        assert!(matches!(Alarm::decode(&[]), Err(InvalidAlarm::Id(_))));
    }

    #[test]
    fn its_json_is_thingsboards() {
        let shown = alarm().to_json();
        let id = |kind: &str, id: u128| json!({ "entityType": kind, "id": Uuid::from_u128(id) });
        let expected = json!({
            "id": id("ALARM", 1), "createdTime": 10, "tenantId": id("TENANT", 2), "customerId": null, "type": "Too hot",
            "originator": id("DEVICE", 3), "severity": "MAJOR", "acknowledged": false, "cleared": true,
            "assigneeId": id("USER", 4), "startTs": 11, "endTs": 12, "ackTs": 0, "clearTs": 13, "assignTs": 0,
            "details": {"t": [1, "x"]}, "propagate": true, "propagateToOwner": false, "propagateToTenant": false,
            "propagateRelationTypes": ["Contains"], "name": "Too hot", "status": "CLEARED_UNACK",
        });
        assert_eq!(shown, expected);
        assert_eq!(Status::ALL.iter().map(|status| Status::parse(status.name())).collect::<Vec<_>>().len(), 4);
        assert_eq!(Status::of(false, true), Status::ActiveAck);
    }
}
