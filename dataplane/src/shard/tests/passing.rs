//! Messages whose originator a node changes, on whole shards (DESIGN 8.3, 8): they go on where the new originator lives, once and in order,
//! whatever is lost on the way, on two shards, on one, and on one after two.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::chain::{Chain, EntityType};
use schemas::config::{End, Relation};
use schemas::id::{ChainId, Partition, RelationId};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines, merged, own_device};
use crate::clock::Timestamp;
use crate::device::passage::{self, Pair};
use crate::limits::FORWARD_PAUSE_MS;
use crate::metric::Counter;
use crate::query::{Query, QueryError, Target};
use crate::rules::Plan;
use crate::shard::Event;
use crate::shard::letter::Passing;
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;

/// What is said of "A" goes to the device that it manages, is told something of the tenant there, which is a fact of perhaps another
/// shard, and is saved.
fn chain() -> Chain {
    let node = |id: u128, class: &str, configuration: Json| {
        let class = format!("org.thingsboard.rule.engine.{class}");
        json!({ "id": { "entityType": "RULE_NODE", "id": Uuid::from_u128(id) }, "type": class, "name": class, "configuration": configuration })
    };
    let managed = json!({ "direction": "FROM", "filters": [{ "relationType": "Manages", "entityTypes": ["DEVICE"] }] });
    let script = "return {msg: msg, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};";
    let nodes = [
        node(11, "transform.TbChangeOriginatorNode", json!({ "originatorSource": "RELATED", "relationsQuery": managed })),
        node(12, "metadata.TbGetTenantAttributeNode", json!({ "dataMapping": { "a": "b" } })),
        node(13, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(14, "telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
    ];
    let edges: Vec<Json> = (0..3).map(|from| json!({ "fromIndex": from, "toIndex": from + 1, "type": "Success" })).collect();
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn manages(id: u128, to: &str) -> ShardChange {
    let end = |name: &str| End { kind: EntityType::Device, id: device(name).into() };
    let id = RelationId(Uuid::from_u128(id));
    ShardChange::Relation(Relation { id, from: end("A"), to: end(to), kind: "Manages".to_owned() })
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Fleet {
    let mut fleet = Fleet::start(engines, epoch);
    let plan = Arc::new(Plan::compile(&chain()));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }, manages(1, "B")]);
    fleet
}

/// An operator says something of "A", which enters the chain.
fn say(fleet: &mut Fleet, n: i64) -> oneshot::Receiver<Result<(), QueryError>> {
    let (reply, answer) = oneshot::channel();
    let (target, payload) = (Target { entity: device("A").into(), tenant: TENANT }, json!({ "n": n }).to_string().into_bytes());
    fleet.shards[0]
        .take_event(Event::Query { target, query: Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply } });
    answer
}

fn under_way(engines: &[Arc<MemoryEngine>]) -> usize {
    let mut found = 0;
    for engine in engines {
        passage::pending(&**engine, |each| {
            each.unwrap();
            found += 1;
        })
        .unwrap();
    }
    found
}

/// Each was saved once, in this order.
#[track_caller]
fn saved_once(rows: &BTreeMap<i64, Vec<Timestamp>>, expected: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = expected.into_iter().collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), expected, "{rows:?}");
    assert!(rows.values().all(|times| times.len() == 1), "once: {rows:?}");
    assert!(rows.values().is_sorted(), "in order: {rows:?}");
}

#[test]
fn a_message_goes_on_where_its_new_originator_lives() {
    for shards in [2, 1] {
        let mut fleet = start(engines(shards), 1);
        let mut said: Vec<_> = (1..=200).map(|n| say(&mut fleet, n)).collect();
        fleet.turn_until("all of them saved", |fleet| fleet.rows("B").len() == 200 && under_way(&fleet.engines) == 0);
        assert!(said.iter_mut().all(|said| said.try_recv().is_ok_and(|said| said.is_ok())));
        saved_once(&fleet.rows("B"), 1..=200);
        assert_eq!((fleet.count(Counter::MessagesPassed), fleet.count(Counter::MessagesLost)), (200, 0));
        assert_eq!(fleet.count(Counter::NodesFailed), 0);
    }
}

#[test]
fn a_crash_anywhere_neither_loses_nor_repeats_one() {
    for turns in 0..24 {
        for keeping in [&[0][..], &[1, 0], &[0, 1], &[9]] {
            let mut fleet = start(engines(2), 1);
            let mut said: Vec<_> = (1..=3).map(|n| (n, say(&mut fleet, n))).collect();
            (0..turns).for_each(|_| fleet.turn());
            let is_stored = |(n, said): &mut (i64, oneshot::Receiver<Result<(), QueryError>>)| {
                said.try_recv().is_ok_and(|said| said.is_ok()).then_some(*n)
            };
            let stored: Vec<i64> = said.iter_mut().filter_map(is_stored).collect();
            let after = fleet.crash(keeping);
            let mut fleet = if turns % 2 == 0 { start(after, 2) } else { start(merged(&after), 2) };
            drop(say(&mut fleet, 9));
            fleet.turn_until("everything taken", |fleet| fleet.rows("B").contains_key(&9) && under_way(&fleet.engines) == 0);
            let rows = fleet.rows("B");
            assert!(stored.iter().all(|n| rows.contains_key(n)), "{turns} {keeping:?}: {stored:?} were acknowledged: {rows:?}");
            saved_once(&rows, rows.keys().copied());
        }
    }
}

#[test]
fn what_is_sent_twice_is_taken_once() {
    let mut fleet = start(engines(2), 1);
    drop(say(&mut fleet, 1));
    fleet.turn_until("it under way", |fleet| under_way(&fleet.engines) == 1);
    let pair = Pair { from: Partition::of(device("A").into()), to: Partition::of(device("B").into()) };
    let read = || passage::read(&*fleet.engines[0], pair, 0).unwrap().into_iter().map(|(n, found)| (n, found.unwrap())).collect();
    let (once, twice) = (Passing { from: 0, pair, messages: read() }, Passing { from: 0, pair, messages: read() });
    fleet.turn_until("it taken", |fleet| fleet.rows("B").len() == 1 && under_way(&fleet.engines) == 0);
    fleet.shards[1].take_passages(once);
    (0..50).for_each(|_| fleet.turn());
    let mut fleet = start(fleet.crash(&[9]), 2);
    fleet.shards[1].take_passages(twice);
    (0..50).for_each(|_| fleet.turn());
    saved_once(&fleet.rows("B"), [1]);
}

#[test]
fn an_originator_that_is_gone_is_passed_over() {
    let mut fleet = start(engines(2), 1);
    fleet.apply(&[ShardChange::Whole, ShardChange::DeviceDeleted(device("B"))]);
    drop(say(&mut fleet, 1));
    fleet.turn_until("it given up", |fleet| fleet.count(Counter::MessagesLost) == 1 && under_way(&fleet.engines) == 0);
    // The other one is the oldest when that one's relation is gone.
    fleet.apply(&[ShardChange::RelationDeleted(RelationId(Uuid::from_u128(1))), manages(2, "C")]);
    drop(say(&mut fleet, 2));
    fleet.turn_until("it saved", |fleet| fleet.rows("C").len() == 1);
    saved_once(&fleet.rows("C"), [2]);
    assert!(fleet.rows("B").is_empty());
}

#[test]
fn an_originator_or_a_node_that_a_start_does_not_know_yet_is_waited_for() {
    let mut fleet = start(engines(2), 1);
    drop(say(&mut fleet, 1));
    fleet.turn_until("it under way", |fleet| under_way(&fleet.engines) == 1);
    // The cache was behind: it knows neither the chain nor "B".
    let mut fleet = Fleet::start(fleet.crash(&[9]), 2);
    fleet.apply(&[ShardChange::DeviceDeleted(device("B"))]);
    let waits = |fleet: &mut Fleet| {
        let begin = fleet.clock.now().instant;
        fleet.turn_until("time passed", |fleet| fleet.clock.now().instant.ms_since(begin) > FORWARD_PAUSE_MS + 200);
        assert_eq!(
            (fleet.count(Counter::MessagesLost), fleet.count(Counter::MessagesPassed), under_way(&fleet.engines)),
            (0, 0, 1)
        );
    };
    waits(&mut fleet);
    let plan = Arc::new(Plan::compile(&chain()));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }, manages(1, "B")]);
    waits(&mut fleet);
    fleet.apply(&[ShardChange::Device(own_device("B"))]);
    fleet.turn_until("it taken", |fleet| fleet.rows("B").len() == 1 && under_way(&fleet.engines) == 0);
    saved_once(&fleet.rows("B"), [1]);
}

#[test]
fn a_chain_that_sends_a_message_in_circles_ends() {
    let mut fleet = start(engines(2), 1);
    let node = |id: u128, class: &str, configuration: Json| {
        let class = format!("org.thingsboard.rule.engine.{class}");
        json!({ "id": { "entityType": "RULE_NODE", "id": Uuid::from_u128(id) }, "type": class, "name": class, "configuration": configuration })
    };
    let other = json!({ "direction": "FROM", "filters": [] });
    // Each enters the other one.
    let half = |id: u128, enters: u128| {
        let change = json!({ "originatorSource": "RELATED", "relationsQuery": other });
        let nodes = [
            node(11, "transform.TbChangeOriginatorNode", change),
            node(12, "flow.TbRuleChainInputNode", json!({ "ruleChainId": Uuid::from_u128(enters) })),
        ];
        let edge = json!({ "fromIndex": 0, "toIndex": 1, "type": "Success" });
        let chain = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": [edge] }).to_string();
        let plan = Arc::new(Plan::compile(&Chain::parse(&chain).expect("valid")));
        ShardChange::Chain { id: ChainId(Uuid::from_u128(id)), tenant: TENANT, root: id == 3, plan }
    };
    let back = End { kind: EntityType::Device, id: device("A").into() };
    let from = End { kind: EntityType::Device, id: device("B").into() };
    let back = Relation { id: RelationId(Uuid::from_u128(2)), from, to: back, kind: "Manages".to_owned() };
    fleet.apply(&[half(3, 4), half(4, 3), ShardChange::Relation(back)]);
    drop(say(&mut fleet, 1));
    fleet.turn_until("its end", |fleet| fleet.count(Counter::NodesFailed) == 1 && under_way(&fleet.engines) == 0);
    assert_eq!(fleet.count(Counter::MessagesPassed), u64::from(crate::limits::DEPARTURES_PER_MESSAGE_MAX));
}
