//! Messages that wait for time on whole shards: acknowledged when they are stored, they go on once, after a crash, too, and on whatever
//! shard their originator is then (DESIGN 8.1, 2).

use std::ops::ControlFlow;
use std::sync::Arc;

use schemas::chain::Chain;
use schemas::id::{ChainId, EntityId, Partition};
use schemas::telemetry::{Scope, Value};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines, merged};
use crate::clock::Timestamp;
use crate::device::waiting::Due;
use crate::limits::WAITING_PER_TENANT_MAX;
use crate::metric::Counter;
use crate::owed::Waits;
use crate::query::{Query, QueryError, Target};
use crate::rules::Plan;
use crate::shard::Event;
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;
use crate::store::{Engine, Family, Range, key, record};

/// A node, and what becomes of its messages: the client attribute "n".
fn chain(class: &str, configuration: &Json, label: &str) -> ShardChange {
    let node = |id: u128, class: &str, configuration: Json| {
        let (id, class) = (Uuid::from_u128(id), format!("org.thingsboard.rule.engine.{class}"));
        json!({ "id": { "entityType": "RULE_NODE", "id": id }, "type": class, "name": class, "configuration": configuration })
    };
    let script = "return {msg: msg.length ? {n: msg.length} : msg, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        node(11, class, configuration.clone()),
        node(12, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(13, "telemetry.TbMsgAttributesNode", json!({ "scope": "CLIENT_SCOPE" })),
    ];
    let edges =
        [(0, label, 1), (1, "Success", 2)].map(|(from, label, to)| json!({ "fromIndex": from, "toIndex": to, "type": label }));
    let chain = Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid");
    ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan: Arc::new(Plan::compile(&chain)) }
}

const DELAY: &str = "delay.TbMsgDelayNode";
const DEDUPLICATE: &str = "deduplication.TbMsgDeduplicationNode";

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32, chain: &ShardChange) -> Fleet {
    let mut fleet = Fleet::start(engines, epoch);
    fleet.apply(std::slice::from_ref(chain));
    fleet
}

/// An operator says something of "A", which enters the chain.
fn say(fleet: &mut Fleet, n: i64) -> oneshot::Receiver<Result<(), QueryError>> {
    say_of(fleet, "A", n)
}

fn say_of(fleet: &mut Fleet, name: &str, n: i64) -> oneshot::Receiver<Result<(), QueryError>> {
    let (reply, answer) = oneshot::channel();
    let (target, payload) = (Target { entity: device(name).into(), tenant: TENANT }, json!({ "n": n }).to_string().into_bytes());
    fleet.shards[usize::from(name != "A")]
        .take_event(Event::Query { target, query: Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply } });
    answer
}

fn stored(fleet: &mut Fleet, said: &mut oneshot::Receiver<Result<(), QueryError>>) {
    fleet.turn_until("what was said stored", |_| said.try_recv().is_ok_and(|said| said.is_ok()));
}

/// What lies on disk of that which waits of "A": its times and its messages.
fn waiting(fleet: &Fleet) -> usize {
    let (from, to) = key::kind_range(Partition::of(device("A").into()), key::Kind::Waiting);
    let mut found = 0;
    let each = &mut |_: &[u8], _: &[u8]| {
        found += 1;
        ControlFlow::Continue(())
    };
    fleet.engines[0].scan(Range::new(Family::State, &from, &to), each).unwrap();
    found
}

fn durable(fleet: &mut Fleet) {
    fleet.turn_until("all of it durable", |fleet| fleet.shards[0].ledger.pause_us(fleet.clock.now().instant) == 0);
}

#[test]
fn a_message_goes_on_when_its_time_has_come() {
    let delay = chain(DELAY, &json!({ "periodInSeconds": 1 }), "Success");
    let mut fleet = start(engines(1), 1, &delay);
    for n in 1..=3 {
        let mut said = say(&mut fleet, n);
        stored(&mut fleet, &mut said);
    }
    assert_eq!((fleet.attribute("A"), waiting(&fleet)), (None, 6), "acknowledged, and nothing more yet");
    let mut seen = Vec::new();
    fleet.turn_until("all have gone on", |fleet| {
        seen.extend(fleet.attribute("A"));
        fleet.count(Counter::WaitsOver) == 3 && waiting(fleet) == 0
    });
    seen.extend(fleet.attribute("A"));
    assert!(seen.is_sorted(), "in the order in which they came: {seen:?}");
    assert_eq!((seen.last(), fleet.count(Counter::WaitsLost)), (Some(&3), 0));
}

#[test]
fn a_crash_delays_a_message_and_does_not_repeat_it() {
    let delay = chain(DELAY, &json!({ "periodInSeconds": 1 }), "Success");
    // Another number of shards changes nothing.
    for (shards, after) in [(1, 1), (2, 1)] {
        let mut fleet = start(engines(shards), 1, &delay);
        let mut said = say(&mut fleet, 7);
        stored(&mut fleet, &mut said);
        let left = fleet.crash(&[0]);
        let left = if after == shards { left } else { merged(&left) };
        let mut fleet = start(left, 2, &delay);
        assert_eq!((fleet.attribute("A"), waiting(&fleet)), (None, 2));
        fleet.turn_until("the message saved", |fleet| fleet.attribute("A") == Some(7) && waiting(fleet) == 0);
        durable(&mut fleet);
        let mut fleet = start(fleet.crash(&[0]), 3, &delay);
        (0..200).for_each(|_| fleet.turn());
        assert_eq!((fleet.attribute("A"), fleet.count(Counter::WaitsOver)), (Some(7), 0));
    }
}

#[test]
fn what_waits_outlasts_a_start_that_does_not_know_its_node_yet() {
    for class in [DELAY, DEDUPLICATE] {
        let timed = chain(class, &json!({ "periodInSeconds": 1, "interval": 1 }), "Success");
        let mut fleet = start(engines(1), 1, &timed);
        let mut said = say(&mut fleet, 7);
        stored(&mut fleet, &mut said);
        // The cache was behind: another chain is the root.
        let mut fleet = Fleet::start(fleet.crash(&[0]), 2);
        let begin = fleet.clock.now().instant;
        fleet.turn_until("it overdue", |fleet| fleet.clock.now().instant.ms_since(begin) > 1_500);
        assert_eq!((fleet.count(Counter::WaitsLost), waiting(&fleet)), (0, 2), "{class}");
        fleet.apply(std::slice::from_ref(&timed));
        fleet.turn_until("it saved", |fleet| fleet.attribute("A").is_some() && waiting(fleet) == 0);
        assert_eq!(fleet.count(Counter::WaitsLost), 0, "{class}");
    }
}

#[test]
fn who_finds_the_node_full_takes_failure_at_once() {
    let delay = chain(DELAY, &json!({ "periodInSeconds": 3600, "maxPendingMsgs": 1 }), "Failure");
    let mut fleet = start(engines(1), 1, &delay);
    drop(say(&mut fleet, 1));
    drop(say(&mut fleet, 2));
    fleet.turn_until("the second saved", |fleet| fleet.attribute("A") == Some(2));
    assert_eq!(waiting(&fleet), 2);
}

#[test]
fn an_originator_that_is_deleted_takes_with_it_what_waits() {
    let delay = chain(DELAY, &json!({ "periodInSeconds": 3600 }), "Success");
    let mut fleet = start(engines(1), 1, &delay);
    let mut said = say(&mut fleet, 1);
    stored(&mut fleet, &mut said);
    fleet.apply(&[ShardChange::DeviceDeleted(device("A"))]);
    fleet.turn_until("nothing waits", |fleet| waiting(fleet) == 0);
    assert_eq!(fleet.shards[0].dues.len(), 0);
}

#[test]
fn what_waits_at_a_node_that_is_gone_is_lost_and_counted() {
    for class in [DELAY, DEDUPLICATE] {
        let timed = chain(class, &json!({ "periodInSeconds": 1, "interval": 1 }), "Success");
        let mut fleet = start(engines(1), 1, &timed);
        drop(say(&mut fleet, 1));
        fleet.turn_until("it waits", |fleet| waiting(fleet) == 2);
        fleet.apply(&[
            ShardChange::Whole,
            ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan: Arc::default() },
        ]);
        fleet.turn_until("it is gone", |fleet| waiting(fleet) == 0);
        assert_eq!((fleet.count(Counter::WaitsLost), fleet.attribute("A")), (1, None), "{class}");
    }
}

#[test]
fn of_several_one_goes_on_after_a_crash_too() {
    for (strategy, expected) in [("FIRST", 4), ("LAST", 6), ("ALL", 3)] {
        let configuration = json!({ "interval": 1, "strategy": strategy, "outMsgType": "POST_TELEMETRY_REQUEST" });
        let one = chain(DEDUPLICATE, &configuration, "Success");
        let mut fleet = start(engines(1), 1, &one);
        for n in 4..=6 {
            let mut said = say(&mut fleet, n);
            stored(&mut fleet, &mut said);
            // Each has a ts of its own.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let mut fleet = start(fleet.crash(&[0]), 2, &one);
        fleet.turn_until("one has gone on", |fleet| fleet.attribute("A").is_some() && waiting(fleet) == 0);
        assert_eq!((fleet.attribute("A"), fleet.count(Counter::WaitsOver)), (Some(expected), 3), "{strategy}");
    }
}

/// A client attribute of whatever entity.
fn attribute(fleet: &Fleet, entity: EntityId, name: &str) -> Option<Value<'static>> {
    let key = key::attribute(entity, Scope::Client, name);
    let record = fleet.engines.iter().find_map(|engine| engine.get(Family::State, &key).unwrap())?;
    record::read_attribute(&key, &record).ok().map(|attribute| attribute.value)
}

const GENERATE: &str = "debug.TbMsgGeneratorNode";

/// Makes 1, 2, 3 and so on, as client attribute "n" of "A".
fn generator(most: u64) -> ShardChange {
    let script = "return {msg: {n: (prevMsg.n || 0) + 1}, metadata: prevMetadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let configuration = json!({ "msgCount": most, "periodInSeconds": 1, "originatorType": "DEVICE", "originatorId": device("A").0,
        "scriptLang": "JS", "jsScript": script });
    chain(GENERATE, &configuration, "Success")
}

/// The next message that the generator has kept on disk.
fn made(fleet: &Fleet) -> Option<u64> {
    fleet.shards[0].dues.makers().next().map(|due| due.number)
}

#[test]
fn a_generator_goes_on_after_a_crash_until_it_has_made_all() {
    // Only the owner of "A" makes anything.
    let mut fleet = start(engines(2), 1, &generator(3));
    fleet.turn_until("the first message", |fleet| fleet.attribute("A") == Some(1));
    assert_eq!((made(&fleet), fleet.shards[1].dues.len()), (Some(1), 0));
    durable(&mut fleet);
    let mut fleet = start(fleet.crash(&[0]), 2, &generator(3));
    fleet.turn_until("the last message", |fleet| fleet.attribute("A") == Some(3));
    durable(&mut fleet);
    // That it has made all is remembered; another configuration begins anew.
    let mut fleet = start(fleet.crash(&[0]), 3, &generator(3));
    (0..2_000).for_each(|_| fleet.turn());
    assert_eq!((fleet.attribute("A"), made(&fleet)), (Some(3), Some(3)));
    fleet.apply(&[generator(4)]);
    fleet.turn_until("the first message of the new one", |fleet| fleet.attribute("A") == Some(1));
    fleet.apply(&[ShardChange::ChainDeleted(ChainId(Uuid::from_u128(3)))]);
    fleet.turn_until("it has stopped", |fleet| waiting(fleet) == 0);
}

#[test]
fn one_shard_makes_what_a_node_or_the_tenant_says() {
    let script = "return {msg: {n: 1}, metadata: {}, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    for (maker, entity) in [("RULE_NODE", EntityId(Uuid::from_u128(11))), ("TENANT", TENANT.into())] {
        let configuration = json!({ "msgCount": 1, "periodInSeconds": 1, "originatorType": maker, "originatorId": Uuid::nil(),
            "scriptLang": "JS", "jsScript": script });
        let mut fleet = start(engines(2), 1, &chain(GENERATE, &configuration, "Success"));
        fleet.turn_until("it has spoken", |fleet| attribute(fleet, entity, "n") == Some(Value::Long(1)));
        let makers: usize = fleet.shards.iter().map(|shard| shard.dues.makers().count()).sum();
        assert_eq!(makers, 1, "{maker}");
    }
}

#[test]
fn a_generator_whose_script_fails_says_so_each_time() {
    let configuration = json!({ "msgCount": 2, "periodInSeconds": 1, "originatorType": "DEVICE", "originatorId": device("A").0,
        "scriptLang": "JS", "jsScript": "throw 'no';" });
    let mut fleet = start(engines(1), 1, &chain(GENERATE, &configuration, "Success"));
    fleet.turn_until("two failures", |fleet| fleet.count(Counter::NodesFailed) == 2);
    fleet.turn_until("it has stopped", |fleet| made(fleet) == Some(2));
}

#[test]
fn a_generator_has_no_place_beyond_its_tenants() {
    let mut fleet = start(engines(1), 1, &chain(DELAY, &json!({}), "Success"));
    let now = fleet.clock.now();
    let later = Timestamp(now.timestamp.0 + 3_600_000);
    let due = |number: u64| {
        let originator = EntityId(Uuid::from_u128(u128::from(number) << 64));
        Due::new(originator, Uuid::from_u128(99), number, (TENANT, Waits::Alone, later))
    };
    for number in 1..=WAITING_PER_TENANT_MAX as u64 {
        fleet.shards[0].dues.add(due(number), now);
    }
    fleet.apply(&[generator(1)]);
    fleet.turn_until("it was refused", |fleet| fleet.count(Counter::NodesFailed) == 1);
    assert_eq!((made(&fleet), fleet.shards[0].dues.len()), (None, WAITING_PER_TENANT_MAX));
    let gone = due(1);
    assert!(fleet.shards[0].dues.finish(gone.originator, gone.node, gone.number).is_some());
    fleet.apply(&[generator(2)]);
    fleet.turn_until("there is a place", |fleet| made(fleet) == Some(0));
    // What others take meanwhile does not end it: it says that it failed, and tries again.
    for number in [1, WAITING_PER_TENANT_MAX as u64 + 1] {
        fleet.shards[0].dues.add(due(number), now);
    }
    fleet.turn_until("it failed twice", |fleet| fleet.count(Counter::NodesFailed) == 3 && made(fleet) == Some(2));
    assert_eq!(fleet.attribute("A"), None);
}

#[test]
fn messages_of_all_shards_are_counted_together() {
    // What is counted is said by the tenant: its first shard or its second owns it.
    let count = chain("action.TbMsgCountNode", &json!({ "telemetryPrefix": "seen", "interval": 2 }), "Success");
    let mut fleet = start(engines(2), 1, &count);
    for (name, n) in [("A", 3), ("B", 4)] {
        for _ in 0..n {
            drop(say_of(&mut fleet, name, 1));
        }
    }
    // With the interval's end, and not before the other shard has told what it has.
    let told = |fleet: &Fleet| attribute(fleet, TENANT.into(), "seen_here");
    fleet.turn_until("all are counted", |fleet| told(fleet) == Some(Value::Long(7)));
    fleet.turn_until("none has come since", |fleet| told(fleet) == Some(Value::Long(0)));
}
