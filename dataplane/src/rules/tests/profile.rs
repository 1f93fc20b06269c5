//! The device profile node with each of its labels: messages one after the other, each seeing what the ones before have left.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use schemas::alarm::Alarm;
use schemas::alarm_rule::AlarmRules;
use schemas::chain::{MessageType, Owner, Target};
use schemas::id::{ChainId, EntityId};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::nodes::{chain, telemetry};
use super::{message, readings};
use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::limits;
use crate::message::{Body, Message, Reading, Readings, Scope, Value};
use crate::progress::Progress;
use crate::query::{Point, Series};
use crate::rules::{Absent, Fact, Plan, Running, World, elapse, evaluate};

const LABELS: [&str; 6] = ["Success", "Failure", "Alarm Created", "Alarm Updated", "Alarm Severity Updated", "Alarm Cleared"];

/// A device with its profile's rules, and all that it remembers.
struct Device {
    rules: Option<Arc<AlarmRules>>,
    running: Rc<Running>,
    progress: HashMap<Uuid, Progress>,
    alarms: Vec<Alarm>,
    latest: HashMap<&'static str, Value<'static>>,
    attributes: HashMap<(Scope, &'static str), Value<'static>>,
    /// The tenant's server attribute `limit`.
    tenant_limit: Result<i64, Absent>,
    room: usize,
}

impl World for Device {
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)> {
        let found = self.attributes.iter().find(|((of, name), _)| (*of, *name) == (scope, key));
        found.map(|(_, value)| (Timestamp(0), value.clone()))
    }

    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)> {
        self.latest.get(key).map(|value| (Timestamp(0), value.clone()))
    }

    fn alarm_rules(&self) -> Option<Arc<AlarmRules>> {
        self.rules.clone()
    }

    fn progress(&mut self, node: Uuid) -> Option<Progress> {
        self.progress.get(&node).cloned()
    }

    fn active_alarm(&mut self, kind: &str) -> Option<Alarm> {
        self.alarms.iter().find(|alarm| alarm.kind == kind && !alarm.is_cleared()).cloned()
    }

    fn alarm_room(&mut self) -> usize {
        self.room
    }

    fn new_id(&mut self) -> Uuid {
        Uuid::from_u128(100 + self.alarms.len() as u128)
    }

    fn owner(&self, of: Owner) -> Option<EntityId> {
        (of == Owner::Tenant).then_some(EntityId(Uuid::from_u128(50)))
    }

    fn fact(&self, fact: &Fact) -> Result<&[Series], Absent> {
        assert_eq!(fact.entity(), self.owner(Owner::Tenant));
        let limit = self.tenant_limit.clone()?;
        let points = vec![Point { ts: Timestamp(0), value: Value::Long(limit) }];
        Ok(Box::leak(Box::new([Series { key: "limit".to_owned(), points }])))
    }

    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        (target == Target::Chain(self.running.chain())).then(|| Rc::clone(&self.running))
    }
}

impl Device {
    /// Of a profile with these `alarms`.
    fn with(alarms: &Json) -> Self {
        let shown = "$[type] $[severity] $[status] ${isNewAlarm}${isExistingAlarm}${isSeverityUpdated}${isClearedAlarm} \
                     ${alarmConditionRepeats} ${alarmConditionDuration} $[details.data]";
        let probe = |label: &&str| {
            let keys = if LABELS[2..].contains(label) { format!("{label}: {shown}") } else { (*label).to_owned() };
            ("telemetry.TbMsgDeleteAttributesNode", json!({ "scope": "SERVER_SCOPE", "keys": [keys] }))
        };
        let node =
            ("profile.TbDeviceProfileNode", json!({ "persistAlarmRulesState": true, "fetchAlarmRulesStateOnStart": true }));
        let nodes: Vec<_> = std::iter::once(node).chain(LABELS.iter().map(probe)).collect();
        let edges: Vec<_> = LABELS.iter().enumerate().map(|(place, label)| (0, *label, place + 1)).collect();
        let mut chain = chain(&nodes, &edges);
        chain.nodes[0].id = Some(NODE);
        let running = Rc::new(Running::new(Arc::new(Plan::compile(&chain))).of(ChainId(Uuid::from_u128(8))));
        let rules = AlarmRules::parse(alarms).unwrap();
        let (progress, alarms, latest, attributes) = Default::default();
        Self { rules, running, progress, alarms, latest, attributes, tenant_limit: Err(Absent::NotYet), room: 64 }
    }

    /// Takes in what an evaluation brought about; what it shows.
    fn take(&mut self, effects: Vec<Effect<'_>>) -> Vec<String> {
        let mut shown = Vec::new();
        for effect in effects {
            match effect {
                Effect::Alarm(alarm) => {
                    self.alarms.retain(|known| known.id != alarm.id);
                    self.alarms.push(*alarm);
                }
                Effect::KeepProgress(progress) => drop(self.progress.insert(progress.node(), *progress)),
                Effect::DeleteAttributes { keys, .. } => {
                    // What the message does not say is left as it was written.
                    let words = keys[0].split(' ').filter(|word| !word.starts_with("$["));
                    let words =
                        words.map(|word| word.split("${").map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)));
                    let text = words.map(|parts| parts.collect::<String>()).filter(|word| !word.is_empty());
                    shown.push(text.collect::<Vec<_>>().join(" "));
                }
                other => panic!("{other:?}"),
            }
        }
        shown
    }

    fn hear(&mut self, message: &Message<'_>) -> Vec<String> {
        let (running, mut effects) = (Rc::clone(&self.running), Vec::new());
        let evaluation = evaluate(&running, message, self, &mut effects);
        assert_eq!((evaluation.failed, evaluation.needs), (None, None));
        self.take(effects)
    }

    /// A reading `t`, measured at a time.
    #[track_caller]
    fn reads(&mut self, t: i64, ts: i64, expected: &[&str]) {
        let mut said = readings(&["t"]);
        (said.readings[0].value, said.entries[0].ts) = (Value::Long(t), Some(Timestamp(ts)));
        let post = message(MessageType::PostTelemetryRequest, Body::Telemetry(said));
        assert_eq!(self.hear(&Message { received: Timestamp(ts), ..post }), expected, "{t} at {ts}");
        self.latest.insert("t", Value::Long(t));
    }

    /// The clock says this.
    #[track_caller]
    fn waits(&mut self, ts: i64, expected: &[&str]) {
        let path = vec![(self.running.chain(), NODE)];
        let now = Message { received: Timestamp(ts), ..message(MessageType::Alarm, Body::Lifecycle) };
        let mut effects = Vec::new();
        let evaluation = elapse(&path, &now, self, &mut effects).expect("the node is there");
        assert_eq!((evaluation.failed, evaluation.needs), (None, None));
        assert_eq!(self.take(effects), expected, "at {ts}");
    }

    fn due(&self) -> Option<i64> {
        self.progress.get(&NODE).and_then(Progress::due).map(|due| due.0)
    }
}

const NODE: Uuid = Uuid::from_u128(9);

fn filter(kind: &str, key: &str, value_type: &str, operation: &str, value: &Json) -> Json {
    let predicate = if value_type == "BOOLEAN" { "BOOLEAN" } else { "NUMERIC" };
    json!({ "key": { "type": kind, "key": key }, "valueType": value_type, "predicate":
        { "type": predicate, "operation": operation, "value": { "defaultValue": value } } })
}

fn t(operation: &str, value: i64) -> Json {
    filter("TIME_SERIES", "t", "NUMERIC", operation, &json!(value))
}

fn rule(filter: &Json, spec: &Json) -> Json {
    json!({ "condition": { "condition": [filter], "spec": spec }, "alarmDetails": "t=${t}" })
}

fn hot(create: &Json, clear: &Json) -> Json {
    json!([{ "id": "hot", "alarmType": "Hot", "createRules": create, "clearRule": clear, "propagateToTenant": true }])
}

fn simple(operation: &str, value: i64) -> Json {
    rule(&t(operation, value), &json!({ "type": "SIMPLE" }))
}

#[test]
fn alarms_begin_get_worse_and_end() {
    let mut device =
        Device::with(&hot(&json!({ "CRITICAL": simple("GREATER", 30), "WARNING": simple("GREATER", 20) }), &simple("LESS", 10)));
    device.reads(20, 1, &["Success"]);
    device.reads(21, 2, &["Success", "Alarm Created: Hot WARNING ACTIVE_UNACK true t=21"]);
    device.reads(22, 3, &["Success", "Alarm Updated: Hot WARNING ACTIVE_UNACK true t=22"]);
    device.reads(31, 4, &["Success", "Alarm Severity Updated: Hot CRITICAL ACTIVE_UNACK truetrue t=31"]);
    // It does not get better before it is over.
    device.reads(25, 5, &["Success"]);
    device.reads(15, 6, &["Success"]);
    device.reads(9, 7, &["Success", "Alarm Cleared: Hot CRITICAL CLEARED_UNACK true t=9"]);
    device.reads(8, 8, &["Success"]);
    let over = &device.alarms[0];
    assert_eq!((over.version, over.start_ts, over.end_ts, over.clear_ts), (4, 2, 4, Some(7)));
    assert!(over.propagation.to_tenant && device.progress.is_empty());
    device.reads(40, 9, &["Success", "Alarm Created: Hot CRITICAL ACTIVE_UNACK true t=40"]);
    // Without room for another alarm, what the message says goes on all the same.
    let mut full = Device { room: 0, ..device };
    full.alarms.clear();
    full.reads(41, 10, &["Failure"]);
    full.rules = None;
    full.reads(41, 11, &["Success"]);
}

#[test]
fn what_says_nothing_of_a_rules_keys_leaves_it_alone() {
    let both =
        json!({ "condition": { "condition": [t("GREATER", 20), filter("ATTRIBUTE", "on", "BOOLEAN", "EQUAL", &json!(true))] } });
    let off = rule(&filter("ATTRIBUTE", "active", "BOOLEAN", "EQUAL", &json!(false)), &Json::Null);
    let mut alarms = hot(&json!({ "MAJOR": both }), &Json::Null);
    alarms.as_array_mut().unwrap().push(json!({ "alarmType": "Silent", "createRules": { "MINOR": off } }));
    let mut device = Device::with(&alarms);
    let attributes = |kind: MessageType, scope: Scope| {
        let value = Reading { key: "on".into(), value: Value::Bool(true) };
        message(kind, Body::Attributes { scope, readings: Readings { readings: vec![value], ..readings(&["on"]) } })
    };
    // Missing data: no value, no alarm.
    device.reads(30, 1, &["Success"]);
    device.attributes.insert((Scope::Shared, "on"), Value::Bool(true));
    assert_eq!(device.hear(&attributes(MessageType::AttributesUpdated, Scope::Shared)), ["Success"]);
    assert_eq!(device.hear(&telemetry(r#"{"other":1}"#)), ["Success"]);
    device.reads(30, 2, &["Success", "Alarm Created: Hot MAJOR ACTIVE_UNACK true"]);
    // The server's attribute hides the others'.
    device.attributes.insert((Scope::Server, "on"), Value::Bool(false));
    device.reads(30, 3, &["Success"]);
    device.attributes.insert((Scope::Server, "active"), Value::Bool(false));
    let inactive = message(MessageType::InactivityEvent, Body::Lifecycle);
    let silent = "Alarm Created: Silent MINOR ACTIVE_UNACK true t=${t}";
    assert_eq!(device.hear(&inactive).len(), 2, "{silent}");
    assert_eq!(device.hear(&message(MessageType::ConnectEvent, Body::Lifecycle)), ["Success"]);
    let deleted = message(MessageType::AttributesDeleted, Body::Deleted { keys: vec!["active".into()] });
    device.attributes.clear();
    assert_eq!(device.hear(&deleted), ["Success"]);
    let tenant = Message { originator_type: schemas::chain::EntityType::Tenant, ..inactive };
    assert_eq!(device.hear(&tenant), ["Success"]);
}

#[test]
fn a_condition_repeats_in_messages_in_a_row() {
    let thrice = json!({ "type": "REPEATING", "predicate": { "defaultValue": 3 } });
    let mut device = Device::with(&hot(&json!({ "MAJOR": rule(&t("GREATER", 20), &thrice) }), &Json::Null));
    for ts in 1..=2 {
        device.reads(30, ts, &["Success"]);
    }
    assert_eq!((device.progress[&NODE].rules[0].times, device.due()), (2, None));
    device.reads(10, 3, &["Success"]);
    for ts in 4..=5 {
        device.reads(30, ts, &["Success"]);
    }
    device.reads(30, 6, &["Success", "Alarm Created: Hot MAJOR ACTIVE_UNACK true 3 t=30"]);
    device.reads(30, 7, &["Success", "Alarm Updated: Hot MAJOR ACTIVE_UNACK true 4 t=30"]);
    // Who ends the alarm has it counted anew.
    let mut ended = device.alarms[0].clone();
    ended.clear_ts = Some(8);
    device.alarms = vec![ended.clone()];
    let cleared = message(MessageType::AlarmClear, Body::Alarm(Box::new(ended)));
    assert_eq!(device.hear(&cleared), ["Success"]);
    assert!(device.progress[&NODE].rules.is_empty());
    device.reads(30, 9, &["Success"]);
}

#[test]
fn a_condition_lasts_also_when_no_message_comes() {
    let lasting = |seconds: i64| json!({ "type": "DURATION", "unit": "SECONDS", "predicate": { "defaultValue": seconds } });
    let create = json!({ "CRITICAL": rule(&t("GREATER", 30), &lasting(20)), "WARNING": rule(&t("GREATER", 20), &lasting(10)) });
    let mut device = Device::with(&hot(&create, &rule(&t("LESS", 5), &lasting(1))));
    device.reads(40, 1_000, &["Success"]);
    assert_eq!(device.due(), Some(11_001));
    device.reads(40, 5_000, &["Success"]);
    assert_eq!(device.due(), Some(11_001), "what lasts is not put off");
    device.waits(11_000, &[]);
    device.waits(11_001, &["Alarm Created: Hot WARNING ACTIVE_UNACK true 10001 t=40"]);
    assert_eq!((device.due(), device.alarms[0].start_ts), (Some(21_001), 5_000));
    device.waits(21_001, &["Alarm Severity Updated: Hot CRITICAL ACTIVE_UNACK truetrue 20001 t=40"]);
    assert_eq!(device.due(), None);
    device.reads(41, 22_000, &["Success", "Alarm Updated: Hot CRITICAL ACTIVE_UNACK true 21000 t=41"]);
    // The end has to last, too, and begins anew when it is interrupted.
    device.reads(4, 23_000, &["Success"]);
    assert_eq!(device.due(), Some(24_001));
    device.reads(10, 23_500, &["Success"]);
    assert_eq!(device.due(), None);
    device.reads(3, 30_000, &["Success"]);
    device.waits(31_001, &["Alarm Cleared: Hot CRITICAL CLEARED_UNACK true 1001 t=3"]);
    assert_eq!((device.due(), device.progress[&NODE].rules.len()), (None, 0));
    // A message that comes late does what the time would have done.
    device.reads(40, 40_000, &["Success"]);
    device.reads(40, 70_000, &["Success", "Alarm Created: Hot CRITICAL ACTIVE_UNACK true 30000 t=40"]);
    // Of two that have lasted long enough at once the worse counts, and the other is not told again.
    device.alarms.clear();
    device.reads(0, 70_500, &["Success"]);
    device.reads(40, 80_000, &["Success"]);
    device.waits(110_000, &["Alarm Created: Hot CRITICAL ACTIVE_UNACK true 30000 t=40"]);
    assert_eq!(device.due(), None);
    // A rule that is gone waits for nothing.
    device.alarms.clear();
    device.reads(0, 111_000, &["Success"]);
    device.reads(25, 112_000, &["Success"]);
    device.rules = None;
    device.waits(130_000, &[]);
    assert_eq!(device.due(), None);
}

#[test]
fn a_condition_outside_of_its_schedule_is_none() {
    let lasting = json!({ "type": "DURATION", "unit": "HOURS", "predicate": { "defaultValue": 1 } });
    let mut create = json!({ "MAJOR": rule(&t("GREATER", 20), &lasting) });
    create["MAJOR"]["schedule"] = json!({ "type": "SPECIFIC_TIME", "timezone": "UTC", "daysOfWeek": [1, 2, 3, 4, 5, 6, 7], "startsOn": 0, "endsOn": 7_200_000 });
    let mut device = Device::with(&hot(&create, &Json::Null));
    device.reads(30, 7_200_000, &["Success"]);
    assert_eq!(device.due(), None);
    device.reads(30, 7_000_000, &["Success"]);
    assert_eq!(device.due(), Some(10_600_001));
    device.waits(10_600_001, &[]);
    assert_eq!((device.due(), device.alarms.len()), (None, 0));
}

#[test]
fn operands_are_the_devices_or_its_tenants() {
    let limit = |source: &str, inherit: bool| {
        let mut rule = simple("GREATER", 100);
        rule["condition"]["condition"][0]["predicate"]["value"]["dynamicValue"] =
            json!({ "sourceType": source, "sourceAttribute": "limit", "inherit": inherit });
        hot(&json!({ "MAJOR": rule }), &Json::Null)
    };
    let created = ["Success", "Alarm Created: Hot MAJOR ACTIVE_UNACK true t=50"];
    let mut device = Device::with(&limit("CURRENT_DEVICE", false));
    device.reads(50, 1, &["Success"]);
    device.attributes.insert((Scope::Server, "limit"), Value::Text("40".into()));
    device.reads(50, 2, &created);
    // Nobody has the customer's: the tenant's stands for it only if it is inherited.
    Device::with(&limit("CURRENT_CUSTOMER", false)).reads(50, 1, &["Success"]);
    let mut device = Device::with(&limit("CURRENT_CUSTOMER", true));
    let post = telemetry(r#"{"t":50}"#);
    let (running, mut effects) = (Rc::clone(&device.running), Vec::new());
    let evaluation = evaluate(&running, &post, &mut device, &mut effects);
    assert!(evaluation.needs.is_some() && effects.is_empty());
    device.tenant_limit = Ok(40);
    device.reads(50, 2, &created);
    let mut device = Device::with(&limit("CURRENT_TENANT", false));
    device.tenant_limit = Err(Absent::Never("late".to_owned()));
    device.reads(50, 1, &["Failure"]);
}

#[test]
fn details_are_bounded_and_one_alarm_does_not_hinder_another() {
    // Ten figures each.
    let long = "${t}".repeat(limits::ALARM_DETAILS_BYTES_MAX / 10 + 1);
    let mut alarms = hot(&json!({ "MAJOR": simple("GREATER", 1) }), &Json::Null);
    alarms[0]["createRules"]["MAJOR"]["alarmDetails"] = json!(long);
    let dashboard = json!({ "entityType": "DASHBOARD", "id": Uuid::from_u128(3) });
    let mut second = simple("GREATER", 1);
    (second["alarmDetails"], second["dashboardId"]) = (Json::Null, dashboard);
    alarms.as_array_mut().unwrap().push(json!({ "alarmType": "Warm", "createRules": { "MINOR": second } }));
    let mut device = Device::with(&alarms);
    device.reads(1_000_000_000, 1, &["Failure", "Alarm Created: Warm MINOR ACTIVE_UNACK true"]);
    assert_eq!(device.alarms[0].details, json!({ "dashboardId": Uuid::from_u128(3) }).to_string());
}
