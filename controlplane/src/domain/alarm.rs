//! Alarms as people ask for them and change them. What an alarm is, both planes share; its originator's shard has it (DESIGN 8.6, 23).
//! Never decides when one begins or ends.

use std::sync::Arc;

use schemas::alarm::{Alarm, Propagation, RELATION_TYPES_MAX, Severity, Status};
use schemas::id::{EntityId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{EntityRef, Invalid, User};

/// ThingsBoard's bound of a type.
const TYPE_BYTES_MAX: usize = 255;
/// The details of one alarm, in bytes of JSON, as shards have it.
const DETAILS_BYTES_MAX: usize = 8 << 10;

/// What somebody does with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmChange {
    /// The alarm of its originator and type that is not cleared becomes like this, or begins.
    Save,
    Acknowledge,
    Clear,
    /// To nobody, too.
    Assign(Option<Uuid>),
    Delete,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedAlarm {
    pub alarm: Alarm,
    /// False: it was like this already.
    pub changed: bool,
}

/// An alarm with what only the control plane knows.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmInfo {
    pub alarm: Alarm,
    /// The originator's.
    pub customer: Option<Uuid>,
    pub originator_name: String,
    pub originator_label: Option<String>,
    pub assignee: Option<User>,
}

/// Which alarms a list shows. An empty list of something means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// ThingsBoard's entity type and the id.
    pub originator: Option<(String, Uuid)>,
    /// Only of these originators.
    pub among: Option<Arc<[Uuid]>>,
    /// And those that are propagated to them along relations.
    pub propagated: bool,
    pub cleared: Option<bool>,
    pub acknowledged: Option<bool>,
    pub severities: Vec<Severity>,
    pub kinds: Vec<String>,
    pub assignee: Option<Uuid>,
    /// Created in these milliseconds since the Unix epoch, both inclusive.
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
}

impl AlarmFilter {
    /// Only alarms of this status.
    ///
    /// # Errors
    /// [`Invalid`] for another word.
    pub fn with_status(&mut self, name: &str) -> Result<(), Invalid> {
        let rule = || format!("must be one of {}", Status::ALL.iter().map(|status| status.name()).collect::<Vec<_>>().join(", "));
        let status = Status::parse(name).ok_or_else(|| Invalid::new("status", name, rule()))?;
        self.cleared = Some(matches!(status, Status::ClearedUnack | Status::ClearedAck));
        self.acknowledged = Some(matches!(status, Status::ActiveAck | Status::ClearedAck));
        Ok(())
    }

    /// Only alarms of such statuses, as ThingsBoard reads them: what says both of a pair says nothing of it.
    ///
    /// # Errors
    /// [`Invalid`] for another word.
    pub fn with_search_statuses<'s>(&mut self, names: impl Iterator<Item = &'s str>) -> Result<(), Invalid> {
        let (mut active, mut cleared, mut acknowledged, mut unacknowledged) = (false, false, false, false);
        for name in names {
            match name {
                "ANY" => {}
                "ACTIVE" => active = true,
                "CLEARED" => cleared = true,
                "ACK" => acknowledged = true,
                "UNACK" => unacknowledged = true,
                other => return Err(Invalid::new("statusList", other, "must be ANY, ACTIVE, CLEARED, ACK or UNACK")),
            }
        }
        let one = |yes: bool, no: bool| (yes != no).then_some(yes);
        self.cleared = one(cleared, active).or(self.cleared);
        self.acknowledged = one(acknowledged, unacknowledged).or(self.acknowledged);
        Ok(())
    }
}

/// What a client sends to begin an alarm, or to change the one of its originator and type that is not cleared.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmDraft {
    pub kind: String,
    pub severity: String,
    pub details: Value,
    pub propagation: Propagation,
    pub start_ts: Option<i64>,
    pub end_ts: Option<i64>,
    pub acknowledged: bool,
    pub cleared: bool,
    pub assignee: Option<Uuid>,
}

impl AlarmDraft {
    /// The alarm that is wanted, of this originator.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(&self, originator: EntityRef) -> Result<Alarm, Invalid> {
        if self.kind.is_empty() || self.kind.len() > TYPE_BYTES_MAX {
            let rule = format!("must have 1 to {TYPE_BYTES_MAX} bytes, has {}", self.kind.len());
            return Err(Invalid::new("type", &self.kind, rule));
        }
        if self.kind.contains(char::is_control) {
            return Err(Invalid::new("type", &format!("{:?}", self.kind), "must have no control characters"));
        }
        let severity = severity(&self.severity)?;
        let relations = &self.propagation.relation_types;
        if relations.len() > RELATION_TYPES_MAX || relations.iter().any(|kind| kind.len() > TYPE_BYTES_MAX) {
            let rule = format!("must be at most {RELATION_TYPES_MAX} types of at most {TYPE_BYTES_MAX} bytes");
            return Err(Invalid::new("propagateRelationTypes", &relations.len().to_string(), rule));
        }
        let mut alarm = Alarm {
            id: Uuid::nil(),
            version: 0,
            tenant: TenantId(originator.tenant),
            originator: EntityId(originator.id),
            originator_type: originator.kind.name().to_owned(),
            kind: self.kind.clone(),
            severity,
            created_ts: 0,
            start_ts: self.start_ts.unwrap_or(0),
            end_ts: self.end_ts.unwrap_or(0),
            ack_ts: None,
            clear_ts: None,
            assign_ts: None,
            assignee: None,
            details: String::new(),
            propagation: self.propagation.clone(),
            deleted: false,
        };
        alarm.set_details(&self.details);
        if alarm.details.len() > DETAILS_BYTES_MAX {
            let rule = format!("must have at most {DETAILS_BYTES_MAX} bytes");
            return Err(Invalid::new("details", &format!("{} bytes", alarm.details.len()), rule));
        }
        Ok(alarm)
    }
}

/// # Errors
/// [`Invalid`] for another word.
pub fn severity(name: &str) -> Result<Severity, Invalid> {
    let names = || Severity::ALL.iter().map(|severity| severity.name()).collect::<Vec<_>>().join(", ");
    Severity::parse(name).ok_or_else(|| Invalid::new("severity", name, format!("must be one of {}", names())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::EntityKind;

    #[test]
    fn statuses_are_read_as_thingsboard_reads_them() {
        let check = |names: &[&str], cleared: Option<bool>, acknowledged: Option<bool>| {
            let mut filter = AlarmFilter::default();
            filter.with_search_statuses(names.iter().copied()).unwrap();
            assert_eq!((filter.cleared, filter.acknowledged), (cleared, acknowledged), "{names:?}");
        };
        check(&[], None, None);
        check(&["ANY"], None, None);
        check(&["ACTIVE"], Some(false), None);
        check(&["CLEARED", "UNACK"], Some(true), Some(false));
        check(&["ACTIVE", "CLEARED", "ACK"], None, Some(true));
        assert!(AlarmFilter::default().with_search_statuses(["GONE"].into_iter()).is_err());
        let mut filter = AlarmFilter::default();
        filter.with_status("CLEARED_ACK").unwrap();
        assert_eq!((filter.cleared, filter.acknowledged), (Some(true), Some(true)));
        assert!(filter.with_status("ACTIVE").is_err());
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let draft = || AlarmDraft {
            kind: "hot".to_owned(),
            severity: "MAJOR".to_owned(),
            details: Value::Null,
            propagation: Propagation::default(),
            start_ts: Some(5),
            end_ts: None,
            acknowledged: false,
            cleared: false,
            assignee: None,
        };
        let (id, tenant) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of = EntityRef { kind: EntityKind::Device, id, tenant };
        let alarm = draft().checked(of).unwrap();
        assert_eq!((alarm.kind.as_str(), alarm.start_ts, alarm.details.as_str()), ("hot", 5, ""));
        let check = |draft: AlarmDraft, field: &str| assert_eq!(draft.checked(of).unwrap_err().field, field);
        check(AlarmDraft { kind: String::new(), ..draft() }, "type");
        check(AlarmDraft { severity: "BAD".to_owned(), ..draft() }, "severity");
        check(AlarmDraft { details: json!("x".repeat(DETAILS_BYTES_MAX)), ..draft() }, "details");
        let relation_types = vec![String::new(); RELATION_TYPES_MAX + 1];
        let propagation = Propagation { relation_types, ..Propagation::default() };
        check(AlarmDraft { propagation, ..draft() }, "propagateRelationTypes");
    }
}
