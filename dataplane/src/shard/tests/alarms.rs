//! Alarms on a whole shard: what changes is told to the control plane at least once, in its newest version, whatever fails.

use std::sync::Arc;

use schemas::alarm::{Alarm, Propagation, Severity};
use schemas::chain::Chain;
use schemas::id::ChainId;
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines, merged};
use crate::device::alarms::{Cursor, unconfirmed};
use crate::limits;
use crate::query::{AlarmChange, ChangedAlarm, Query, QueryError, Target};
use crate::registry::{Ask, Question, Told};
use crate::rules::Plan;
use crate::shard::Event;
use crate::snapshot::ShardChange;

fn wanted(name: &str, kind: &str, severity: Severity) -> Alarm {
    Alarm {
        id: Uuid::nil(),
        version: 0,
        tenant: TENANT,
        originator: device(name).into(),
        originator_type: "DEVICE".to_owned(),
        kind: kind.to_owned(),
        severity,
        created_ts: 0,
        start_ts: 0,
        end_ts: 0,
        ack_ts: None,
        clear_ts: None,
        assign_ts: None,
        assignee: None,
        details: String::new(),
        propagation: Propagation::default(),
        deleted: false,
    }
}

/// Somebody does this with an alarm.
fn change(fleet: &mut Fleet, alarm: Alarm, change: AlarmChange) -> Result<ChangedAlarm, QueryError> {
    let (reply, mut answer) = oneshot::channel();
    let target = Target { entity: alarm.originator, tenant: TENANT };
    let owner = fleet.shards[0].placement.shard_of(schemas::id::Partition::of(target.entity));
    let query = Query::ChangeAlarm { alarm: Box::new(alarm), change, reply };
    fleet.shards[usize::from(owner)].take_event(Event::Query { target, query });
    let mut answered = None;
    fleet.turn_until("an answer", |_| {
        answered = answer.try_recv().ok();
        answered.is_some()
    });
    answered.expect("it was waited for")
}

/// So many shards that have looked for changes on their disks.
fn start(shards: u16) -> Fleet {
    let mut fleet = Fleet::start(engines(shards), 1);
    fleet.turn_until("the disks are read", |fleet| fleet.shards.iter().all(|shard| shard.alarm_feed.is_caught_up()));
    fleet
}

/// The next thing that a shard tells of alarms.
fn told(fleet: &mut Fleet) -> (Question, Vec<Alarm>) {
    let mut question = None;
    fleet.turn_until("a shard tells", |fleet| {
        question = fleet.questions.try_recv().ok();
        question.is_some()
    });
    let question = question.expect("it was waited for");
    let Ask::Alarms { alarms } = &question.ask else { panic!("{question:?}") };
    let alarms = alarms.iter().map(|alarm| Alarm::decode(alarm).expect("an alarm")).collect();
    (question, alarms)
}

fn answer(fleet: &mut Fleet, question: &Question, told: Told) {
    fleet.shards[usize::from(question.shard)].take_event(Event::Told { number: question.number, told });
}

/// What the disks say that the control plane does not know.
fn feed(fleet: &Fleet) -> Vec<Alarm> {
    fleet.engines.iter().flat_map(|engine| unconfirmed(&**engine, Cursor::default()).expect("read").0).collect()
}

/// Lets the pause after a failure pass.
fn pass(fleet: &mut Fleet) {
    for shard in &mut fleet.shards {
        shard.alarm_feed.resume();
    }
}

fn take(fleet: &mut Fleet) -> Vec<Alarm> {
    let (question, alarms) = told(fleet);
    answer(fleet, &question, Told::Taken);
    alarms
}

#[test]
fn each_change_is_told_until_it_is_confirmed_and_the_newest_wins() {
    let mut fleet = start(1);
    let begun = change(&mut fleet, wanted("A", "hot", Severity::Minor), AlarmChange::Save).expect("begun");
    assert!(begun.created && begun.changed && begun.alarm.version == 1 && begun.alarm.start_ts > 0, "{begun:?}");
    let (question, alarms) = told(&mut fleet);
    assert_eq!(alarms, std::slice::from_ref(&begun.alarm));
    // While the first change is told there are others.
    let grown = change(&mut fleet, wanted("A", "hot", Severity::Critical), AlarmChange::Save).expect("grown");
    assert!(!grown.created && grown.alarm.version == 2 && grown.alarm.id == begun.alarm.id);
    let acked = change(&mut fleet, begun.alarm.clone(), AlarmChange::Acknowledge).expect("acknowledged");
    assert_eq!((acked.alarm.version, acked.alarm.severity), (3, Severity::Critical), "the shard knows better");
    assert!(fleet.questions.try_recv().is_err(), "one question at a time");
    answer(&mut fleet, &question, Told::Taken);
    fleet.turn();
    assert_eq!(feed(&fleet), std::slice::from_ref(&acked.alarm), "what was confirmed was not the newest");
    assert_eq!(take(&mut fleet), std::slice::from_ref(&acked.alarm), "two changes are told as one");
    fleet.turn_until("confirmed", |fleet| feed(fleet).is_empty());
    // Twice is once.
    let twice = change(&mut fleet, begun.alarm.clone(), AlarmChange::Acknowledge).expect("answered");
    assert_eq!((twice.changed, &twice.alarm), (false, &acked.alarm));

    let cleared = change(&mut fleet, begun.alarm.clone(), AlarmChange::Clear).expect("cleared");
    assert_eq!(take(&mut fleet), std::slice::from_ref(&cleared.alarm));
    fleet.turn_until("confirmed", |fleet| feed(fleet).is_empty());
    // The shard has forgotten it; who knows it says so.
    let user = Uuid::from_u128(5);
    let assigned = change(&mut fleet, cleared.alarm.clone(), AlarmChange::Assign(Some(user))).expect("assigned");
    assert_eq!(
        (assigned.alarm.version, assigned.alarm.assignee, assigned.alarm.clear_ts),
        (5, Some(user), cleared.alarm.clear_ts)
    );
    let another = change(&mut fleet, wanted("A", "hot", Severity::Major), AlarmChange::Save).expect("begun");
    assert!(another.created && another.alarm.id != begun.alarm.id);
    let deleted = change(&mut fleet, another.alarm.clone(), AlarmChange::Delete).expect("deleted");
    assert!(deleted.alarm.deleted && deleted.alarm.version == 2);
    let gone = change(&mut fleet, another.alarm, AlarmChange::Clear).expect("answered");
    assert!(!gone.changed && gone.alarm.deleted);
}

#[test]
fn what_was_not_confirmed_is_told_again_after_failures_and_crashes_wherever_it_lies() {
    let mut fleet = start(2);
    let mut all = Vec::new();
    for name in ["A", "B", "C"] {
        all.push(change(&mut fleet, wanted(name, "hot", Severity::Minor), AlarmChange::Save).expect("begun").alarm);
    }
    let (question, alarms) = told(&mut fleet);
    answer(&mut fleet, &question, Told::Unavailable("away".to_owned()));
    // What was taken out to be told is on the disk.
    pass(&mut fleet);
    let mut again = Vec::new();
    while !alarms.iter().all(|alarm| again.contains(alarm)) {
        let (question, alarms) = told(&mut fleet);
        again.extend(alarms);
        answer(&mut fleet, &question, Told::Unavailable("away".to_owned()));
        pass(&mut fleet);
    }
    let left = fleet.crash(&[0]);
    drop(fleet);
    let mut fleet = Fleet::start(merged(&left), 2);
    let mut found = Vec::new();
    while found.len() < all.len() {
        found.extend(take(&mut fleet));
    }
    found.sort_by_key(|alarm| alarm.id);
    all.sort_by_key(|alarm| alarm.id);
    assert_eq!(found, all);
    fleet.turn_until("confirmed", |fleet| feed(fleet).is_empty());
    assert!(change(&mut fleet, wanted("B", "hot", Severity::Major), AlarmChange::Save).is_ok_and(|changed| !changed.created));
}

#[test]
fn what_memory_has_no_room_for_is_read_from_the_disk() {
    let mut fleet = start(1);
    let begun = change(&mut fleet, wanted("B", "first", Severity::Minor), AlarmChange::Save).expect("begun");
    let (question, _) = told(&mut fleet);
    let (mut count, details) = (0, format!("\"{}\"", "x".repeat(limits::ALARM_DETAILS_BYTES_MAX - 2)));
    for name in ["A", "B", "C"] {
        for n in 0..limits::ALARMS_PER_ENTITY_MAX - 1 {
            let alarm = Alarm { details: details.clone(), ..wanted(name, &format!("k{n}"), Severity::Minor) };
            change(&mut fleet, alarm, AlarmChange::Save).expect("begun");
            count += 1;
        }
    }
    assert!(count * limits::ALARM_DETAILS_BYTES_MAX > limits::ALARMS_WAITING_BYTES_MAX, "more than there is room for");
    answer(&mut fleet, &question, Told::Taken);
    let mut seen = std::collections::BTreeSet::new();
    while !feed(&fleet).is_empty() {
        fleet.turn();
        if let Ok(question) = fleet.questions.try_recv() {
            let Ask::Alarms { alarms } = &question.ask else { panic!("{question:?}") };
            let bytes: usize = alarms.iter().map(Vec::len).sum();
            assert!(bytes < limits::ALARMS_AT_ONCE_BYTES_MAX + 2 * limits::ALARM_DETAILS_BYTES_MAX, "{bytes} bytes at once");
            seen.extend(alarms.iter().map(|alarm| Alarm::decode(alarm).expect("an alarm").id));
            answer(&mut fleet, &question, Told::Taken);
        }
    }
    // What is told and not answered yet may be told again.
    seen.remove(&begun.alarm.id);
    assert_eq!(seen.len(), count);
    let full = change(&mut fleet, wanted("A", "one", Severity::Minor), AlarmChange::Save);
    assert!(full.is_ok());
    let full = change(&mut fleet, wanted("A", "one more", Severity::Minor), AlarmChange::Save);
    assert_eq!(full, Err(QueryError::Invalid(format!("the device has {} alarms already", limits::ALARMS_PER_ENTITY_MAX))));
}

#[test]
fn a_chain_makes_alarms_of_readings_and_a_deleted_device_has_none() {
    let mut fleet = start(1);
    let node = |class: &str, name: &str, configuration: serde_json::Value| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": name, "configuration": configuration });
    let details = json!("return {n: msg.n};");
    let create = json!({ "alarmType": "high", "severity": "MAJOR", "alarmDetailsBuildJs": details });
    let clear = json!({ "alarmType": "high", "alarmDetailsBuildJs": details });
    let nodes = [
        node("filter.TbJsFilterNode", "high?", json!({ "jsScript": "return msg.n > 5;" })),
        node("action.TbCreateAlarmNode", "create", create),
        node("action.TbClearAlarmNode", "clear", clear),
    ];
    let edges =
        [json!({ "fromIndex": 0, "toIndex": 1, "type": "True" }), json!({ "fromIndex": 0, "toIndex": 2, "type": "False" })];
    let chain = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    let plan = Arc::new(Plan::compile(&Chain::parse(&chain.to_string()).expect("valid")));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    let say = |fleet: &mut Fleet, n: u32| {
        let (reply, _answer) = oneshot::channel();
        let target = Target { entity: device("A").into(), tenant: TENANT };
        let payload = format!(r#"{{"n":{n}}}"#).into_bytes();
        let query = Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply };
        fleet.shards[0].take_event(Event::Query { target, query });
    };
    say(&mut fleet, 9);
    let begun = take(&mut fleet);
    let shown = |alarm: &Alarm| format!("{} {} {} {}", alarm.kind, alarm.version, alarm.status().name(), alarm.details);
    assert_eq!(begun.iter().map(shown).collect::<Vec<_>>(), [r#"high 1 ACTIVE_UNACK {"n":9}"#]);
    say(&mut fleet, 1);
    let over = take(&mut fleet);
    assert_eq!(over.iter().map(shown).collect::<Vec<_>>(), [r#"high 2 CLEARED_UNACK {"n":1}"#]);
    assert_eq!(over[0].id, begun[0].id);
    say(&mut fleet, 7);
    let (question, _) = told(&mut fleet);
    fleet.apply(&[ShardChange::DeviceDeleted(device("A"))]);
    fleet.turn_until("it is gone", |fleet| feed(fleet).is_empty());
    answer(&mut fleet, &question, Told::Taken);
    (0..20).for_each(|_| fleet.turn());
    assert!(feed(&fleet).is_empty() && fleet.questions.try_recv().is_err());
}
