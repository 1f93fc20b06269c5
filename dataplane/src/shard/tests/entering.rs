//! What the control plane has to say of entities, on whole shards: taken once and in order, whatever dies meanwhile; and requests that a
//! chain answers, wherever it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::chain::{Chain, EntityType};
use schemas::config::{End, Profile};
use schemas::id::{ChainId, EntityId, Partition, ProfileId};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines, merged};
use crate::clock::Timestamp;
use crate::metric::Counter;
use crate::query::{Entering, Query, QueryError, Target};
use crate::rules::Plan;
use crate::shard::Event;
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;

pub(super) fn node(id: u128, class: &str, configuration: Json) -> Json {
    let class = format!("org.thingsboard.rule.engine.{class}");
    let id = json!({ "entityType": "RULE_NODE", "id": Uuid::from_u128(id) });
    json!({ "id": id, "type": class, "name": class, "configuration": configuration })
}

pub(super) fn edge(from: usize, label: &str, to: usize) -> Json {
    json!({ "fromIndex": from, "toIndex": to, "type": label })
}

/// What is said of an entity is saved as its readings, after a question to perhaps another shard; requests are answered from the tenant.
fn chain() -> Chain {
    let script = "return {msg: msg, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};";
    let nodes = [
        node(10, "filter.TbMsgTypeSwitchNode", json!({})),
        node(11, "metadata.TbGetTenantAttributeNode", json!({ "dataMapping": { "a": "b" } })),
        node(12, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(13, "telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        node(14, "transform.TbChangeOriginatorNode", json!({ "originatorSource": "TENANT" })),
        node(15, "rest.TbSendRestApiCallReplyNode", json!({})),
    ];
    let edges = [
        edge(0, "Entity Updated", 1),
        edge(1, "Success", 2),
        edge(1, "Failure", 2),
        edge(2, "Success", 3),
        edge(0, "REST API request", 4),
        edge(4, "Success", 5),
    ];
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Fleet {
    Fleet::drawn(engines, epoch, &chain())
}

fn shard_of(fleet: &Fleet, id: EntityId) -> usize {
    fleet.shards[0].placement.shard_of(Partition::of(id)).into()
}

fn entering(kind: &str, id: EntityId, data: &Json, request: Uuid) -> Entering {
    let metadata = BTreeMap::from([("serviceId".to_owned(), "here".to_owned()), ("requestUUID".to_owned(), request.to_string())]);
    let originator = End { kind: EntityType::Device, id };
    Entering { tenant: TENANT, originator, kind: kind.to_owned(), metadata, data: data.to_string(), chain: None }
}

/// Has these numbers taken, of which each says itself.
fn say(fleet: &mut Fleet, numbers: impl IntoIterator<Item = u64>) -> oneshot::Receiver<Result<u64, QueryError>> {
    let (reply, answer) = oneshot::channel();
    let (id, to) = (device("A").into(), Partition::of(device("A").into()));
    let said = |n: u64| (n, entering("ENTITY_UPDATED", id, &json!({ "n": n }), Uuid::nil()));
    let messages = numbers.into_iter().map(said).collect();
    let owner = shard_of(fleet, id);
    fleet.shards[owner].take_event(Event::Announcements { to, messages, reply });
    answer
}

/// Each was saved once, in this order.
#[track_caller]
fn saved_once(rows: &BTreeMap<i64, Vec<Timestamp>>, expected: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = expected.into_iter().collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), expected, "{rows:?}");
    assert!(rows.values().all(|times| times.len() == 1), "once: {rows:?}");
    assert!(rows.values().is_sorted(), "in order: {rows:?}");
}

fn turns_until<T>(fleet: &mut Fleet, mut answer: oneshot::Receiver<T>) -> T {
    let mut found = None;
    fleet.turn_until("the answer", |_| {
        found = answer.try_recv().ok();
        found.is_some()
    });
    found.expect("it came")
}

#[test]
fn announcements_are_taken_in_order_and_those_that_come_again_are_passed_over() {
    for shards in [2, 1] {
        let mut fleet = start(engines(shards), 1);
        let first = say(&mut fleet, 1..=40);
        let meanwhile = say(&mut fleet, 1..=40);
        assert_eq!(turns_until(&mut fleet, meanwhile).ok(), None, "one after the other");
        assert_eq!(turns_until(&mut fleet, first), Ok(40));
        let again = say(&mut fleet, 30..=50);
        assert_eq!(turns_until(&mut fleet, again), Ok(50));
        saved_once(&fleet.rows("A"), 1..=50);
        assert_eq!(fleet.count(Counter::MessagesPassed), 50);
    }
}

#[test]
fn a_crash_anywhere_neither_loses_nor_repeats_an_announcement() {
    for turns in 0..16 {
        for keeping in [&[0][..], &[1, 0], &[0, 1], &[9]] {
            let mut fleet = start(engines(2), 1);
            let mut answer = say(&mut fleet, 1..=3);
            (0..turns).for_each(|_| fleet.turn());
            let taken = answer.try_recv().ok().and_then(Result::ok).unwrap_or(0);
            let after = fleet.crash(keeping);
            let mut fleet = if turns % 2 == 0 { start(after, 2) } else { start(merged(&after), 2) };
            let rest = say(&mut fleet, taken + 1..=5);
            assert_eq!(turns_until(&mut fleet, rest), Ok(5), "{turns} {keeping:?}");
            saved_once(&fleet.rows("A"), 1..=5);
        }
    }
}

/// Of what is gone nothing is kept.
#[test]
fn what_is_said_of_an_entity_that_is_gone_enters_its_chain_and_leaves_nothing() {
    let mut fleet = start(engines(1), 1);
    let gone = EntityId(Uuid::from_u128(77));
    let (reply, answer) = oneshot::channel();
    let messages = vec![(1, entering("ENTITY_UPDATED", gone, &json!({ "n": 1 }), Uuid::nil()))];
    fleet.shards[0].take_event(Event::Announcements { to: Partition::of(gone), messages, reply });
    assert_eq!(turns_until(&mut fleet, answer), Ok(1));
    assert_eq!((fleet.count(Counter::RowsStored), fleet.count(Counter::MessagesPassed)), (0, 1));
}

/// The answer comes from the tenant's shard, to the shard that the request's id names.
#[test]
fn a_request_is_answered_wherever_its_chain_comes_to_that() {
    for (shards, number) in [(1, 1), (2, 1), (2, 2), (2, 3), (2, 4)] {
        let mut fleet = start(engines(shards), 1);
        let request = Uuid::from_u128(number);
        let ask = |fleet: &mut Fleet, tenant| {
            let (reply, answer) = oneshot::channel();
            let owner = shard_of(fleet, EntityId(request));
            fleet.shards[owner].take_event(Event::Await { tenant, request, reply });
            let entering = Box::new(entering("REST_API_REQUEST", device("A").into(), &json!({ "q": 1 }), request));
            let (reply, entered) = oneshot::channel();
            let target = Target { entity: device("A").into(), tenant: TENANT };
            let owner = shard_of(fleet, target.entity);
            fleet.shards[owner].take_event(Event::Query { target, query: Query::Enter { entering, reply } });
            assert_eq!(turns_until(fleet, entered), Ok(()));
            answer
        };
        let answer = ask(&mut fleet, TENANT);
        assert_eq!(turns_until(&mut fleet, answer), Ok(json!({ "q": 1 }).to_string()));
        // Another tenant's chain answers nobody.
        let mut silent = ask(&mut fleet, schemas::id::TenantId(Uuid::from_u128(99)));
        (0..50).for_each(|_| fleet.turn());
        assert!(silent.try_recv().is_err());
    }
}

/// Whoever is answered finds what the chain wrote, whatever dies then (DESIGN 8.1, 3).
#[test]
fn an_answer_is_not_given_before_what_the_chain_wrote_is_durable() {
    let script = "return {msg: msg, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};";
    let nodes = [
        node(12, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(13, "telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        node(15, "rest.TbSendRestApiCallReplyNode", json!({})),
    ];
    let edges = [edge(0, "Success", 1), edge(1, "Success", 2)];
    let drawn = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string();
    let chain = Chain::parse(&drawn).expect("valid");
    for n in 1..=20 {
        let mut fleet = Fleet::start(engines(1), 1);
        fleet.draw(&chain);
        let request = Uuid::from_u128(n);
        let (reply, mut answer) = oneshot::channel();
        fleet.shards[0].take_event(Event::Await { tenant: TENANT, request, reply });
        let entering = Box::new(entering("REST_API_REQUEST", device("A").into(), &json!({ "n": 1 }), request));
        let target = Target { entity: device("A").into(), tenant: TENANT };
        let (reply, _entered) = oneshot::channel();
        fleet.shards[0].take_event(Event::Query { target, query: Query::Enter { entering, reply } });
        // Without a pause, so that an answer that does not wait for the disk comes before it has anything.
        let answered = (0..1_000_000).any(|_| {
            fleet.shards[0].turn();
            answer.try_recv().is_ok()
        });
        assert!(answered);
        let after = Fleet::start(fleet.crash(&[0]), 2);
        assert_eq!(after.rows("A").len(), 1, "{n}");
    }
}

/// A node that forwards to the originator's default chain enters that of its profile, and if there is none the one that it names.
#[test]
fn a_profile_chain_is_entered_or_the_one_that_is_written() {
    let number = |number: u128| ChainId(Uuid::from_u128(number));
    let plan = |nodes: &[Json], edges: &[Json]| {
        let drawn = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string();
        Arc::new(Plan::compile(&Chain::parse(&drawn).expect("valid")))
    };
    let js = |script: &str| json!({ "scriptLang": "JS", "jsScript": script });
    // Enters the root chain, which leads back to a profile's chain, and saves what comes from there.
    let saves = |n: u128| {
        let change = |id, what: &str| {
            node(id, "transform.TbTransformMsgNode", js(&format!("return {{msg: {{n: {n}}}, metadata: {{}}, {what}}};")))
        };
        let nodes = [
            node(20, "filter.TbJsFilterNode", js("return msgType == 'MINE';")),
            change(21, "msgType: 'YOURS'"),
            node(22, "flow.TbRuleChainInputNode", json!({ "ruleChainId": number(3).0 })),
            change(23, "msgType: 'POST_TELEMETRY_REQUEST'"),
            node(24, "telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        ];
        let edges = match n {
            5 => vec![edge(0, "True", 1), edge(1, "Success", 2), edge(0, "False", 3), edge(3, "Success", 4)],
            _ => vec![edge(0, "True", 3), edge(3, "Success", 4)],
        };
        ShardChange::Chain { id: number(n), tenant: TENANT, root: false, plan: plan(&nodes, &edges) }
    };
    let forwards = |otherwise: u128| {
        let to = json!({ "forwardMsgToDefaultRuleChain": true, "ruleChainId": number(otherwise).0 });
        let plan = plan(&[node(10, "flow.TbRuleChainInputNode", to)], &[]);
        ShardChange::Chain { id: number(3), tenant: TENANT, root: true, plan }
    };
    let profile = |chain: Option<ChainId>| {
        let (id, name) = (ProfileId(Uuid::from_u128(2)), "default".to_owned());
        ShardChange::Profile(Profile { id, tenant: TENANT, name, chain, mqtt: None, alarms: None })
    };
    for (own, otherwise, entered) in [(None, 4, Some(4)), (Some(5), 4, Some(5)), (None, 9, None), (Some(9), 4, Some(4))] {
        let mut fleet = Fleet::start(engines(1), 1);
        fleet.apply(&[saves(4), saves(5), forwards(otherwise), profile(own.map(number))]);
        let (reply, answer) = oneshot::channel();
        let target = Target { entity: device("A").into(), tenant: TENANT };
        let entering = Box::new(entering("MINE", target.entity, &json!({}), Uuid::nil()));
        fleet.shards[0].take_event(Event::Query { target, query: Query::Enter { entering, reply } });
        assert_eq!(turns_until(&mut fleet, answer), Ok(()));
        (0..5).for_each(|_| fleet.turn());
        assert_eq!(fleet.rows("A").into_keys().next(), entered, "{own:?}, else {otherwise}");
    }
}
