//! Calls to the outside on a whole shard, which the test answers: made when their message is durable, one after the other, again after
//! a crash, and gone with the batch of what follows from the answer (DESIGN 8.6, 22).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemas::chain::Chain;
use schemas::id::{ChainId, TenantId};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines};
use crate::clock::Timestamp;
use crate::limits;
use crate::metric::Counter;
use crate::owed::{Answer, Answered, Call, Due};
use crate::query::{DeadLetters, DeadLettersAsk, EndedDeadLetters, Query, QueryError, Target};
use crate::rules::Plan;
use crate::shard::{Applied, Event};
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;
use crate::store::{Engine, Family, Range, key};

/// A REST call, and what becomes of its answer: the client attribute "n".
fn chain(label: &str) -> Chain {
    let node = |id: u128, class: &str, configuration: Json| {
        let class = format!("org.thingsboard.rule.engine.{class}");
        json!({ "id": { "entityType": "RULE_NODE", "id": Uuid::from_u128(id) }, "type": class, "name": class, "configuration": configuration })
    };
    let rest = json!({ "restEndpointUrlPattern": "http://outside/$[n]", "requestMethod": "POST", "headers": {} });
    let save = json!({ "scope": "CLIENT_SCOPE" });
    let script = "return {msg: msg, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        node(11, "rest.TbRestApiCallNode", rest),
        node(12, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(13, "telemetry.TbMsgAttributesNode", save),
    ];
    let edges =
        [(0, label, 1), (1, "Success", 2)].map(|(from, label, to)| json!({ "fromIndex": from, "toIndex": to, "type": label }));
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Fleet {
    let mut fleet = Fleet::start(engines, epoch);
    let plan = Arc::new(Plan::compile(&chain("Success")));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
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

fn made(fleet: &mut Fleet) -> Due {
    let mut made = None;
    fleet.turn_until("a call", |fleet| {
        made = fleet.calls.try_recv().ok();
        made.is_some()
    });
    made.expect("it was waited for")
}

fn url(due: &Due) -> &str {
    match &due.call {
        Call::Http(call) => &call.url,
        other => panic!("{other:?}"),
    }
}

fn answer(fleet: &mut Fleet, due: &Due, answered: Answered) {
    fleet.shards[0].take_event(Event::CameOf { flight: due.flight, answered: Box::new(answered) });
}

fn done(n: i64) -> Answered {
    Answered::Done(Answer { metadata: Vec::new(), data: Some(json!({ "n": n }).to_string()) })
}

fn owed(fleet: &Fleet) -> usize {
    count(fleet, key::Kind::Owed)
}

fn count(fleet: &Fleet, kind: key::Kind) -> usize {
    let entity = device("A").into();
    let (from, to) = (key::entity(kind, entity), key::entity_end(kind, entity));
    let mut found = 0;
    let each = &mut |_: &[u8], _: &[u8]| {
        found += 1;
        std::ops::ControlFlow::Continue(())
    };
    fleet.engines[0].scan(Range::new(Family::State, &from, &to), each).unwrap();
    found
}

#[test]
fn a_call_is_made_and_its_answer_goes_on() {
    let mut fleet = start(engines(1), 1);
    let mut said = say(&mut fleet, 7);
    let due = made(&mut fleet);
    assert!(
        said.try_recv().is_ok_and(|said| said.is_ok()),
        "what is owed is stored with what was said, before anybody is called"
    );
    assert_eq!((url(&due), due.private, owed(&fleet)), ("http://outside/7", false, 1));
    answer(&mut fleet, &due, done(70));
    fleet.turn_until("the answer saved", |fleet| fleet.attribute("A") == Some(70));
    assert_eq!((owed(&fleet), fleet.count(Counter::CallsAnswered)), (0, 1));
}

#[test]
fn a_crash_makes_the_call_again_under_the_same_key_until_its_answer_is_stored() {
    let mut fleet = start(engines(1), 1);
    drop(say(&mut fleet, 7));
    let first = made(&mut fleet);
    let mut fleet = start(fleet.crash(&[0]), 2);
    let again = made(&mut fleet);
    assert_eq!((url(&again), &again.key), (url(&first), &first.key));
    answer(&mut fleet, &again, done(70));
    fleet.turn_until("the answer saved", |fleet| fleet.attribute("A") == Some(70) && owed(fleet) == 0);
    fleet.turn_until("the answer durable", |fleet| fleet.shards[0].ledger.pause_us(fleet.clock.now().instant) == 0);
    let mut fleet = start(fleet.crash(&[0]), 3);
    (0..200).for_each(|_| fleet.turn());
    assert!(fleet.calls.try_recv().is_err());
    assert_eq!(fleet.attribute("A"), Some(70));
}

/// Deletes "A". The link was told when this is true.
fn delete(fleet: &mut Fleet) -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    let applied = Applied::new(1, move || tell.store(true, Ordering::SeqCst)).pop().expect("of one shard");
    let changes = Arc::new(vec![ShardChange::DeviceDeleted(device("A"))]);
    fleet.shards[0].take_event(Event::Config { changes, applied });
    told
}

#[test]
fn a_device_counts_as_deleted_when_that_is_durable() {
    let mut fleet = start(engines(1), 1);
    drop(say(&mut fleet, 7));
    drop(made(&mut fleet));
    let told = delete(&mut fleet);
    assert!(!told.load(Ordering::SeqCst));
    fleet.turn_until("the link was told", |_| told.load(Ordering::SeqCst));
    let fleet = start(fleet.crash(&[0]), 2);
    assert_eq!(owed(&fleet), 0);
}

#[test]
fn a_device_that_is_deleted_while_the_store_is_lost_stays_deleted() {
    for closed in [false, true] {
        let mut fleet = start(engines(1), 1);
        drop(say(&mut fleet, 7));
        drop(made(&mut fleet));
        fleet.engines[0].fail_writes(true);
        if closed {
            drop(say(&mut fleet, 8));
            fleet.turn_until("the generation ended", |fleet| fleet.count(Counter::StoreGenerationsEnded) == 1);
        }
        let told = delete(&mut fleet);
        assert_eq!(told.load(Ordering::SeqCst), closed, "nobody waits for a store that is closed");
        fleet.turn_until("the generation ended", |fleet| fleet.count(Counter::StoreGenerationsEnded) == 1);
        fleet.engines[0].fail_writes(false);
        fleet.turn_until("the store is open", |fleet| fleet.shards[0].ledger.is_open());
        (0..200).for_each(|_| fleet.turn());
        assert!(fleet.calls.try_recv().is_err(), "closed: {closed}");
        assert_eq!(owed(&fleet), 0, "closed: {closed}");
    }
}

#[test]
fn a_call_outlasts_a_start_that_does_not_know_its_node_yet() {
    let mut fleet = start(engines(1), 1);
    drop(say(&mut fleet, 7));
    drop(made(&mut fleet));
    // The cache was behind: another chain is the root.
    let mut fleet = Fleet::start(fleet.crash(&[0]), 2);
    (0..200).for_each(|_| fleet.turn());
    assert_eq!((owed(&fleet), count(&fleet, key::Kind::DeadLetter), fleet.count(Counter::CallsFailed)), (1, 0, 0));
    let plan = Arc::new(Plan::compile(&chain("Success")));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    let later = fleet.clock.now().instant.after_ms(limits::CALL_PAUSE_MS.1);
    fleet.shards[0].outbox.tend(later);
    let again = made(&mut fleet);
    assert_eq!(url(&again), "http://outside/7");
    answer(&mut fleet, &again, done(70));
    fleet.turn_until("the answer saved", |fleet| fleet.attribute("A") == Some(70) && owed(fleet) == 0);
}

#[test]
fn calls_of_a_device_are_made_in_order_however_often_the_first_fails() {
    let mut fleet = start(engines(1), 1);
    (1..=3).for_each(|n| drop(say(&mut fleet, n)));
    let first = made(&mut fleet);
    answer(&mut fleet, &first, Answered::Unreachable("nobody is there".into()));
    let again = made(&mut fleet);
    assert_eq!((url(&again), &again.key), ("http://outside/1", &first.key));
    answer(&mut fleet, &again, Answered::Failed("busy".into(), Answer::default()));
    let again = made(&mut fleet);
    assert_eq!(url(&again), "http://outside/1");
    answer(&mut fleet, &again, done(10));
    for n in [2, 3] {
        let next = made(&mut fleet);
        assert_eq!(url(&next), format!("http://outside/{n}"));
        answer(&mut fleet, &next, done(n * 10));
    }
    fleet.turn_until("all answers saved", |fleet| fleet.attribute("A") == Some(30) && owed(fleet) == 0);
    assert_eq!(fleet.count(Counter::CallsRetried), 2);
}

#[test]
fn what_nobody_heeds_is_kept_as_a_dead_letter() {
    let mut fleet = start(engines(1), 1);
    drop(say(&mut fleet, 1));
    let due = made(&mut fleet);
    answer(&mut fleet, &due, Answered::Refused("no such thing".into(), Answer::default()));
    fleet.turn_until("the call gone", |fleet| owed(fleet) == 0);
    assert_eq!(count(&fleet, key::Kind::DeadLetter), 1);
    // With a way on from its failure the message goes on.
    let plan = Arc::new(Plan::compile(&chain("Failure")));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    drop(say(&mut fleet, 2));
    let due = made(&mut fleet);
    answer(&mut fleet, &due, Answered::Refused("no such thing".into(), Answer::default()));
    fleet.turn_until("the message saved", |fleet| fleet.attribute("A") == Some(2));
    assert_eq!(count(&fleet, key::Kind::DeadLetter), 1);
    // A node that is gone loses its calls, and says so.
    drop(say(&mut fleet, 3));
    let due = made(&mut fleet);
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan: Arc::default() }]);
    answer(&mut fleet, &due, done(30));
    fleet.turn_until("the call gone", |fleet| owed(fleet) == 0);
    assert_eq!((count(&fleet, key::Kind::DeadLetter), fleet.count(Counter::CallsLost)), (2, 1));
}

fn dead_letters(fleet: &mut Fleet, chain: Option<u128>) -> (u64, Vec<String>) {
    let (reply, mut answer) = oneshot::channel();
    let ask = DeadLettersAsk::Find { most: 10, with_message: true, reply };
    fleet.shards[0].take_event(Event::DeadLetters { sought: sought(TENANT, chain), ask });
    let mut found = None;
    fleet.turn_until("an answer", |_| {
        found = answer.try_recv().ok();
        found.is_some()
    });
    let found = found.unwrap().unwrap();
    (found.total, found.letters.into_iter().map(|(_, letter)| letter.delivery.unwrap().data).collect())
}

fn sought(tenant: TenantId, chain: Option<u128>) -> DeadLetters {
    let chain = chain.map(|id| ChainId(Uuid::from_u128(id)));
    DeadLetters { tenant, originator: None, chain, number: None, until: Timestamp(i64::MAX) }
}

fn ask_end(fleet: &mut Fleet, tenant: TenantId, again: bool) -> oneshot::Receiver<Result<EndedDeadLetters, QueryError>> {
    let (reply, answer) = oneshot::channel();
    let ask = DeadLettersAsk::End { again, reply };
    fleet.shards[0].take_event(Event::DeadLetters { sought: sought(tenant, None), ask });
    answer
}

fn ended(fleet: &mut Fleet, mut answer: oneshot::Receiver<Result<EndedDeadLetters, QueryError>>) -> EndedDeadLetters {
    let mut ended = None;
    fleet.turn_until("an answer", |_| {
        ended = answer.try_recv().ok();
        ended.is_some()
    });
    ended.unwrap().unwrap()
}

fn refuse_next(fleet: &mut Fleet) -> String {
    let due = made(fleet);
    answer(fleet, &due, Answered::Refused("no such thing".into(), Answer::default()));
    due.key
}

#[test]
fn dead_letters_are_shown_made_once_more_and_forgotten() {
    let mut fleet = start(engines(1), 1);
    let mut keys = Vec::new();
    for n in [1, 2] {
        drop(say(&mut fleet, n));
        keys.push(refuse_next(&mut fleet));
    }
    fleet.turn_until("both given up", |fleet| owed(fleet) == 0 && count(fleet, key::Kind::DeadLetter) == 2);
    let last_first = (2, vec![r#"{"n":2}"#.to_owned(), r#"{"n":1}"#.to_owned()]);
    assert_eq!(dead_letters(&mut fleet, None), last_first);
    assert_eq!((dead_letters(&mut fleet, Some(3)), dead_letters(&mut fleet, Some(4)).0), (last_first, 0));
    // Another tenant's are not there.
    let asked = ask_end(&mut fleet, TenantId(Uuid::nil()), false);
    assert_eq!(ended(&mut fleet, asked), EndedDeadLetters::default());
    // Two who ask at once do not make a call twice.
    let (one, other) = (ask_end(&mut fleet, TENANT, true), ask_end(&mut fleet, TENANT, true));
    let told = [ended(&mut fleet, one), ended(&mut fleet, other)];
    assert_eq!(told.map(|told| told.ended), [2, 0], "{told:?}");
    let first = made(&mut fleet);
    answer(&mut fleet, &first, done(10));
    let mut again = [first.key, refuse_next(&mut fleet)];
    again.sort();
    keys.sort();
    assert_eq!(keys, again, "the same calls, by their keys");
    fleet.turn_until("one given up again", |fleet| owed(fleet) == 0 && count(fleet, key::Kind::DeadLetter) == 1);
    assert_eq!(dead_letters(&mut fleet, None).0, 1);
    let asked = ask_end(&mut fleet, TENANT, false);
    assert_eq!(ended(&mut fleet, asked).ended, 1);
    assert_eq!(count(&fleet, key::Kind::DeadLetter), 0);
}

#[test]
fn a_call_that_is_owed_again_survives_a_crash_and_its_letter_does_not() {
    let mut fleet = start(engines(1), 1);
    drop(say(&mut fleet, 1));
    let key = refuse_next(&mut fleet);
    fleet.turn_until("given up", |fleet| count(fleet, key::Kind::DeadLetter) == 1);
    let asked = ask_end(&mut fleet, TENANT, true);
    assert_eq!(ended(&mut fleet, asked).ended, 1);
    let mut fleet = start(fleet.crash(&[0]), 2);
    assert_eq!((made(&mut fleet).key, count(&fleet, key::Kind::DeadLetter)), (key, 0));
}

/// Each ts is a message of its own, and together they are one that somebody said.
#[test]
fn what_all_entries_of_a_message_leave_is_bounded_together() {
    let mut fleet = Fleet::start(engines(1), 1);
    let node = |at: u128, class: &str| {
        let configuration = json!({ "restEndpointUrlPattern": "http://outside", "requestMethod": "POST", "headers": {} });
        let (id, class) = (Uuid::from_u128(100 + at), format!("org.thingsboard.rule.engine.{class}"));
        json!({ "id": { "entityType": "RULE_NODE", "id": id }, "type": class, "name": class, "configuration": configuration })
    };
    let nodes: Vec<_> =
        (0..101).map(|at| node(at, if at == 0 { "action.TbLogNode" } else { "rest.TbRestApiCallNode" })).collect();
    let edges: Vec<_> = (1..101).map(|to| json!({ "fromIndex": 0, "toIndex": to, "type": "Success" })).collect();
    let chain = Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid");
    let plan = Arc::new(Plan::compile(&chain));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    let entry = |ts: u64| json!({ "ts": ts, "values": { "n": "x".repeat(3_000) } });
    let payload = (1..=20).map(entry).collect::<Json>().to_string().into_bytes();
    let (reply, mut answer) = oneshot::channel();
    let target = Target { entity: device("A").into(), tenant: TENANT };
    fleet.shards[0]
        .take_event(Event::Query { target, query: Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply } });
    fleet.turn_until("all said", |_| answer.try_recv().is_ok_and(|said| said == Ok(())));
    let owed = fleet.shards[0].outbox.len();
    assert!((1_250..1_350).contains(&owed), "{owed} of 2000");
    assert!(fleet.count(Counter::NodesFailed) >= 6, "of the other entries");
}
