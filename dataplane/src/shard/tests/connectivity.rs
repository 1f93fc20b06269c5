//! What chains say of devices that are connected elsewhere, on whole shards: what is known of the device and what its chain is told of it
//! are one, whatever dies meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::chain::{Chain, EntityType};
use schemas::config::End;
use schemas::id::Partition;
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::entering::{edge, node};
use super::fleet::{Fleet, TENANT, device, engines, merged};
use crate::clock::Timestamp;
use crate::limits;
use crate::message::{Scope, Value};
use crate::query::{Entering, QueryError};
use crate::shard::Event;
use crate::shard::saving::writing;
use crate::store::memory::MemoryEngine;

const EVENTS: [&str; 4] = ["CONNECT_EVENT", "DISCONNECT_EVENT", "ACTIVITY_EVENT", "INACTIVITY_EVENT"];

/// A node says a thing of a device once a second, so there are several that say the same.
const NODES: usize = 3;

/// "0 CONNECT_EVENT" goes to the first node that says it; what that leads to is saved as a reading, after a question to perhaps another
/// shard: 1 for CONNECT_EVENT and so on.
fn chain() -> Chain {
    let node = |place: usize, class: &str, configuration: Json| node(place as u128 + 10, class, configuration);
    let switch = json!({ "scriptLang": "JS", "jsScript": "return [msgType];" });
    let mut nodes = vec![node(0, "filter.TbJsSwitchNode", switch), node(1, "telemetry.TbMsgTimeseriesNode", json!({}))];
    let mut edges = Vec::new();
    for (n, event) in (1..).zip(EVENTS) {
        let asks = nodes.len();
        nodes.push(node(asks, "metadata.TbGetTenantAttributeNode", json!({ "dataMapping": { "a": "b" } })));
        edges.extend([edge(0, event, asks), edge(asks, "Success", asks + 1), edge(asks, "Failure", asks + 1)]);
        let saves = nodes.len();
        let script = format!("return {{msg: {{n: {n}}}, metadata: {{}}, msgType: 'POST_TELEMETRY_REQUEST'}};");
        nodes.push(node(saves, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })));
        edges.push(edge(saves, "Success", 1));
        for place in 0..NODES {
            let says = nodes.len();
            nodes.push(node(says, "action.TbDeviceStateNode", json!({ "event": event })));
            edges.push(edge(0, &format!("{place} {event}"), says));
        }
    }
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Fleet {
    Fleet::drawn(engines, epoch, &chain())
}

fn owner(fleet: &Fleet) -> usize {
    fleet.shards[0].placement.shard_of(Partition::of(device("A").into())).into()
}

/// Has a chain say this of a device, at this time if it is told one, as the message of this number.
fn say(fleet: &mut Fleet, number: u64, kind: &str, ts: Option<i64>) -> oneshot::Receiver<Result<u64, QueryError>> {
    let metadata = ts.map(|ts| ("ts".to_owned(), ts.to_string())).into_iter().collect();
    hears(fleet, number, (kind, metadata, "{}"))
}

/// Has a device's chain hear a message of this type, metadata and data, as the one of this number.
pub(super) fn hears(
    fleet: &mut Fleet,
    number: u64,
    (kind, metadata, data): (&str, BTreeMap<String, String>, &str),
) -> oneshot::Receiver<Result<u64, QueryError>> {
    let (reply, answer) = oneshot::channel();
    let originator = End { kind: EntityType::Device, id: device("A").into() };
    let said = Entering { tenant: TENANT, originator, kind: kind.to_owned(), metadata, data: data.to_owned(), chain: None };
    let (to, messages) = (Partition::of(originator.id), vec![(number, said)]);
    let owner = owner(fleet);
    fleet.shards[owner].take_event(Event::Announcements { to, messages, reply });
    answer
}

pub(super) fn taken(fleet: &mut Fleet, mut answer: oneshot::Receiver<Result<u64, QueryError>>) {
    fleet.turn_until("it is taken", |_| answer.try_recv().is_ok());
}

/// What the device's chain was told.
pub(super) fn in_order(fleet: &Fleet) -> Vec<i64> {
    let each = |(n, times): (i64, Vec<Timestamp>)| times.into_iter().map(move |ts| (ts, n));
    let rows: BTreeSet<(Timestamp, i64)> = fleet.rows("A").into_iter().flat_map(each).collect();
    rows.into_iter().map(|(_, n)| n).collect()
}

/// Turns until nothing is under way any more.
pub(super) fn heard(fleet: &mut Fleet) {
    (0..5).for_each(|_| fleet.turn());
    fleet.turn_until("nothing is under way", |fleet| fleet.shards.iter().all(|shard| shard.passages.len() == 0));
    (0..5).for_each(|_| fleet.turn());
}

/// A server attribute that tells about connectivity.
pub(super) fn known(fleet: &mut Fleet, key: &str) -> Option<Value<'static>> {
    let owner = owner(fleet);
    let shard = &mut fleet.shards[owner];
    let state = shard.residents.get_mut(device("A").into(), shard.now.instant)?;
    state.attributes(Some(Scope::Server), &[key.to_owned()]).pop().map(|attribute| attribute.value)
}

#[test]
fn what_a_chain_says_of_a_device_is_known_and_told() {
    let mut fleet = start(engines(2), 1);
    let now = fleet.clock.now().timestamp.0;
    let mut told = Vec::new();
    // How long ago it happened, and whether the chain is told of it.
    let steps = [
        ("0 CONNECT_EVENT", 9_000, true),
        ("0 ACTIVITY_EVENT", 8_000, true),
        ("1 CONNECT_EVENT", 9_500, false),
        ("1 ACTIVITY_EVENT", 7_000, false),
        ("0 INACTIVITY_EVENT", 7_500, false),
        ("1 INACTIVITY_EVENT", 6_000, true),
        ("0 DISCONNECT_EVENT", 5_000, true),
        ("0 DISCONNECT_EVENT", 4_000, false),
        ("1 DISCONNECT_EVENT", 3_000, true),
    ];
    for (number, (event, ago, is_told)) in (1..).zip(steps) {
        let answer = say(&mut fleet, number, event, Some(now - ago));
        taken(&mut fleet, answer);
        if is_told {
            told.push((1..).zip(EVENTS).find(|(_, one)| event.ends_with(&format!(" {one}"))).expect("one of them").0);
        }
        heard(&mut fleet);
        assert_eq!(in_order(&fleet), told, "behind {event} {ago}");
    }
    let expected =
        [("lastConnectTime", 9_000), ("lastActivityTime", 7_000), ("inactivityAlarmTime", 6_000), ("lastDisconnectTime", 3_000)];
    for (key, ago) in expected {
        assert_eq!(known(&mut fleet, key), Some(Value::Long(now - ago)), "{key}");
    }
    assert_eq!(known(&mut fleet, "active"), Some(Value::Bool(false)));
}

#[test]
fn a_device_that_is_said_to_be_active_is_inactive_when_its_time_is_over() {
    let mut fleet = start(engines(2), 1);
    let last = fleet.clock.now().timestamp.0 - limits::INACTIVITY_TIMEOUT_MS + 500;
    let answer = say(&mut fleet, 1, "0 ACTIVITY_EVENT", Some(last));
    taken(&mut fleet, answer);
    heard(&mut fleet);
    assert_eq!(in_order(&fleet), [3]);
    fleet.turn_until("it is told", |fleet| fleet.rows("A").contains_key(&4));
    assert_eq!(known(&mut fleet, "active"), Some(Value::Bool(false)));
}

#[test]
fn a_crash_anywhere_leaves_both_or_neither() {
    for turns in 0..24 {
        for keeping in [&[0][..], &[9]] {
            let mut fleet = start(engines(2), 1);
            let mut answer = say(&mut fleet, 1, "0 CONNECT_EVENT", None);
            (0..turns).for_each(|_| fleet.turn());
            let was_taken = answer.try_recv().is_ok_and(|taken| taken.is_ok());
            let after = fleet.crash(keeping);
            let mut fleet = if turns % 2 == 0 { start(after, 2) } else { start(merged(&after), 2) };
            // Something that loads its state and changes nothing of it.
            let answer = say(&mut fleet, 2, "NOTHING", None);
            taken(&mut fleet, answer);
            heard(&mut fleet);
            let told: Vec<i64> = known(&mut fleet, "lastConnectTime").map(|_| 1).into_iter().collect();
            assert_eq!(in_order(&fleet), told, "{turns} {keeping:?}: once");
            assert!(!told.is_empty() || !was_taken, "{turns} {keeping:?}");
        }
    }
}

/// A node that cannot remember that it said so says nothing: CONNECT_EVENT that leads to itself would never end.
#[test]
fn a_node_that_cannot_remember_says_nothing() {
    let mut fleet = start(engines(1), 1);
    let answer = say(&mut fleet, 1, "NOTHING", None);
    taken(&mut fleet, answer);
    let shard = &mut fleet.shards[0];
    let stage = shard.stage(device("A").into()).expect("its state is there");
    for node in 0..limits::NODE_STATES_PER_DEVICE_MAX {
        let kept =
            stage.state.keep_node_state(&mut writing(stage.ledger, stage.now), Uuid::from_u128(1_000 + node as u128), [].into());
        assert_eq!(kept, Ok(()));
    }
    let answer = say(&mut fleet, 2, "0 CONNECT_EVENT", None);
    taken(&mut fleet, answer);
    heard(&mut fleet);
    assert_eq!((in_order(&fleet), known(&mut fleet, "lastConnectTime")), (vec![], None));
    // What no chain has any more is forgotten when the state is loaded the next time, and there is room again.
    let mut fleet = start(fleet.crash(&[0]), 2);
    for (number, kind) in [(3, "NOTHING"), (4, "0 CONNECT_EVENT")] {
        let answer = say(&mut fleet, number, kind, None);
        taken(&mut fleet, answer);
    }
    heard(&mut fleet);
    assert_eq!(in_order(&fleet), [1]);
}
