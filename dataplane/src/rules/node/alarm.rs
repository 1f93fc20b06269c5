//! Create alarm, clear alarm, alarm status filter. An originator has one alarm of a type that is not cleared; what these nodes make of
//! it is staged, and nodes behind them see it. Never reads or writes a store.

use std::sync::Arc;

use schemas::alarm::{Alarm, Propagation, RELATION_TYPES_MAX, Severity, Status};
use schemas::chain::{AlarmSeverity, ClearAlarm, CreateAlarm, MessageType, NewAlarm};
use schemas::script::Script;
use serde_json::Value;
use uuid::Uuid;

use crate::effect::Effect;
use crate::limits;
use crate::rules::carried::{Carried, Changed, Kind, name};
use crate::rules::node::{Next, Scene, decide};
use crate::rules::template::fill;
use crate::script::{Answer, Subject};

/// Outcomes of a node that creates.
const CREATED: usize = 0;
const UPDATED: usize = 1;
/// Outcomes of a node that clears.
const CLEARED: usize = 0;
const NOT_CLEARED: usize = 1;

/// What an alarm is to be.
struct Wanted {
    kind: String,
    severity: Severity,
    propagation: Propagation,
    /// Of a message that is the alarm.
    details: Option<Value>,
}

pub(super) fn create(create: &CreateAlarm, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let wanted = match &create.new {
        NewAlarm::OfMessage => read(&carried.data()),
        NewAlarm::Of { kind, severity, propagation } => {
            let severity = match severity {
                AlarmSeverity::Fixed(severity) => Ok(*severity),
                AlarmSeverity::Template(template) => parse_severity(&fill(template, carried)),
            };
            let kind = fill(kind, carried).into_owned();
            severity.map(|severity| Wanted { kind, severity, propagation: propagation.clone(), details: None })
        }
    };
    let made = wanted.and_then(|wanted| begin_or_go_on(create, wanted, carried, scene));
    match made {
        Ok((alarm, grown)) => {
            let flags: &[&str] = match grown {
                None => &[name::IS_NEW_ALARM],
                Some(false) => &[name::IS_EXISTING_ALARM],
                Some(true) => &[name::IS_EXISTING_ALARM, name::IS_SEVERITY_UPDATED],
            };
            let outcome = if grown.is_none() { CREATED } else { UPDATED };
            Next::As(outcome, told(scene, alarm, flags, carried))
        }
        Err(reason) => Next::Fail(reason),
    }
}

/// The alarm, and, of one that there was, whether its severity has changed.
fn begin_or_go_on(
    create: &CreateAlarm,
    wanted: Wanted,
    carried: &Carried<'_>,
    scene: &mut Scene<'_, '_>,
) -> Result<(Alarm, Option<bool>), String> {
    if wanted.kind.is_empty() || wanted.kind.len() > limits::NAME_BYTES_MAX {
        return Err(format!("alarm type: {} bytes, expected 1 to {}", wanted.kind.len(), limits::NAME_BYTES_MAX));
    }
    // Not every database takes them, and what one alarm says must not keep others from being told.
    if wanted.kind.contains(char::is_control) {
        return Err(format!("alarm type {:?}: control characters are not allowed", wanted.kind));
    }
    let now = scene.message.received.0;
    let Wanted { kind, severity, propagation, details } = wanted;
    let before = scene.active_alarm(&kind);
    let previous = before.as_ref().map(|alarm| alarm.details.clone());
    let built = create.details.as_ref().map(|script| build(script, previous.as_deref(), carried, scene)).transpose()?;
    let Some(mut alarm) = before else {
        if scene.alarm_room() == 0 {
            return Err(format!("the originator has {} alarms that are not over", limits::ALARMS_PER_ENTITY_MAX));
        }
        let start_ts = carried.metadata(name::TS).and_then(|ts| ts.parse().ok()).unwrap_or(now);
        let mut alarm = begin(scene, (kind, severity, propagation), start_ts);
        with_details(&mut alarm, built.or(details).as_ref())?;
        return Ok((alarm, None));
    };
    let grown = alarm.severity != severity;
    (alarm.severity, alarm.propagation) = (severity, propagation);
    alarm.end_ts = alarm.end_ts.max(now);
    alarm.version += 1;
    with_details(&mut alarm, built.or(details).as_ref())?;
    Ok((alarm, Some(grown)))
}

pub(super) fn begin(
    scene: &mut Scene<'_, '_>,
    (kind, severity, propagation): (String, Severity, Propagation),
    start_ts: i64,
) -> Alarm {
    Alarm {
        id: scene.world.new_id(),
        version: 1,
        tenant: scene.message.tenant,
        originator: scene.message.originator,
        originator_type: scene.message.originator_type.name().to_owned(),
        kind,
        severity,
        created_ts: scene.message.received.0,
        start_ts,
        end_ts: start_ts,
        ack_ts: None,
        clear_ts: None,
        assign_ts: None,
        assignee: None,
        details: String::new(),
        propagation,
        deleted: false,
    }
}

pub(super) fn clear(clear: &ClearAlarm, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let kind = fill(&clear.kind, carried);
    let Some(mut alarm) = scene.active_alarm(&kind) else { return Next::By(NOT_CLEARED) };
    let details = match build(&clear.details, Some(&alarm.details), carried, scene) {
        Ok(details) => details,
        Err(reason) => return Next::Fail(reason),
    };
    if let Err(reason) = with_details(&mut alarm, Some(&details)) {
        return Next::Fail(reason);
    }
    alarm.version += 1;
    alarm.clear_ts = Some(scene.message.received.0);
    Next::As(CLEARED, told(scene, alarm, &[name::IS_CLEARED_ALARM], carried))
}

/// What is known of an alarm now; of one that is forgotten here, what the message says.
pub(super) fn status(statuses: &[Status], carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let data = carried.data();
    let id = data.get("id").and_then(|id| id.get("id").unwrap_or(id).as_str()).and_then(|id| Uuid::parse_str(id).ok());
    let Some(id) = id else { return Next::Fail("the message is no alarm".to_owned()) };
    let status = match scene.alarm(id) {
        Some(alarm) => Some(alarm.status()),
        None => data.get("status").and_then(Value::as_str).and_then(Status::parse),
    };
    match status {
        Some(status) => decide(statuses.contains(&status)),
        None => Next::Fail("there is no such alarm".to_owned()),
    }
}

/// Stages an alarm; the message that goes on says it.
pub(super) fn told(scene: &mut Scene<'_, '_>, alarm: Alarm, flags: &[&str], carried: &Carried<'_>) -> Changed {
    let mut changed = carried.change();
    changed.kind = Kind::Standard(MessageType::Alarm);
    changed.data = alarm.to_json();
    for flag in flags {
        changed.metadata.insert((*flag).to_owned(), "true".to_owned());
    }
    scene.into.push(Effect::Alarm(Box::new(alarm)));
    changed
}

/// Runs the script that makes details. It finds those that there were in the metadata.
fn build(
    script: &Arc<Script>,
    previous: Option<&str>,
    carried: &Carried<'_>,
    scene: &mut Scene<'_, '_>,
) -> Result<Value, String> {
    let mut whole = carried.change();
    if let Some(previous) = previous.filter(|details| !details.is_empty()) {
        whole.metadata.insert(name::PREVIOUS_DETAILS.to_owned(), previous.to_owned());
    }
    let subject = Subject { data: &whole.data, metadata: &whole.metadata, kind: whole.kind.name() };
    match scene.world.run(script, subject) {
        Ok(Answer::Details(details)) => Ok(details),
        Ok(_) => Err("the script answered no details".to_owned()),
        Err(failure) => Err(failure.to_string()),
    }
}

pub(super) fn with_details(alarm: &mut Alarm, details: Option<&Value>) -> Result<(), String> {
    let Some(details) = details else { return Ok(()) };
    alarm.set_details(details);
    if alarm.details.len() > limits::ALARM_DETAILS_BYTES_MAX {
        let most = limits::ALARM_DETAILS_BYTES_MAX;
        return Err(format!("alarm details: {} bytes, at most {most}", alarm.details.len()));
    }
    Ok(())
}

fn parse_severity(name: &str) -> Result<Severity, String> {
    Severity::parse(name).ok_or_else(|| format!("{name} is no severity"))
}

/// The alarm that a message's data is.
fn read(data: &Value) -> Result<Wanted, String> {
    let text = |field: &str| data.get(field).and_then(Value::as_str);
    let flag = |field: &str| data.get(field).and_then(Value::as_bool).unwrap_or(false);
    let kind = text("type").ok_or("the message is no alarm: it has no type")?.to_owned();
    let severity = parse_severity(text("severity").unwrap_or_default())?;
    let relations = data.get("propagateRelationTypes").and_then(Value::as_array);
    let relation_types: Vec<String> =
        relations.into_iter().flatten().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
    if relation_types.len() > RELATION_TYPES_MAX || relation_types.iter().any(|kind| kind.len() > limits::NAME_BYTES_MAX) {
        return Err(format!("expected at most {RELATION_TYPES_MAX} relation types of at most {} bytes", limits::NAME_BYTES_MAX));
    }
    let propagation = Propagation {
        along_relations: flag("propagate"),
        to_owner: flag("propagateToOwner"),
        to_tenant: flag("propagateToTenant"),
        relation_types,
    };
    Ok(Wanted { kind, severity, propagation, details: Some(data.get("details").cloned().unwrap_or_default()) })
}

impl Scene<'_, '_> {
    /// The originator's alarm of a type that is not cleared, with what this message has made of it already.
    pub(super) fn active_alarm(&mut self, kind: &str) -> Option<Alarm> {
        let staged = self.staged_alarms().find(|alarm| alarm.kind == kind).cloned();
        match staged {
            Some(staged) => Some(staged).filter(|alarm| !alarm.is_cleared()),
            None => self.world.active_alarm(kind),
        }
    }

    fn alarm(&mut self, id: Uuid) -> Option<Alarm> {
        let staged = self.staged_alarms().find(|alarm| alarm.id == id).cloned();
        staged.or_else(|| self.world.alarm(id))
    }

    pub(super) fn alarm_room(&mut self) -> usize {
        let begun = self.staged_alarms().filter(|alarm| alarm.version == 1).count();
        self.world.alarm_room().saturating_sub(begun)
    }

    /// The newest first.
    fn staged_alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.into.iter().rev().filter_map(|effect| if let Effect::Alarm(alarm) = effect { Some(&**alarm) } else { None })
    }
}
