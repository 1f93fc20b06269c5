//! Nodes at which messages wait for time: how long, what a full node does, and what goes on when the time has come.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::{EntityType, MessageType, Target};
use schemas::id::ChainId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::external::parsed;
use super::nodes::telemetry;
use super::{describe, message};
use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::message::{Body, Message};
use crate::owed::{Departed, Waiting, Waits};
use crate::rules::{Pack, Pending, Plan, Running, World, evaluate, resume, together};

const DELAY: &str = "delay.TbMsgDelayNode";
const DEDUPLICATE: &str = "deduplication.TbMsgDeduplicationNode";

/// A chain of one node whose Success and Failure lead to a node that shows the data; so many wait there.
struct Timed {
    running: Rc<Running>,
    waiting: Cell<Option<(usize, usize)>>,
}

impl Timed {
    fn new(class: &str, configuration: Json) -> Self {
        let shows = json!({ "requestIdMetaDataAttribute": "ts" });
        let nodes = [(class, configuration), ("rpc.TbSendRPCReplyNode", shows), ("action.TbLogNode", json!({}))];
        let chain = parsed(1, &nodes, &[(0, "Success", 1), (0, "Failure", 2)]);
        let running = Running::new(Arc::new(Plan::compile(&chain))).of(ChainId(Uuid::from_u128(1)));
        Self { running: Rc::new(running), waiting: Cell::new(Some((0, 0))) }
    }

    /// What waits behind a message, and what else it does.
    fn takes(&mut self, message: &Message<'_>) -> (Option<Waiting>, Vec<String>) {
        let running = Rc::clone(&self.running);
        let mut effects = Vec::new();
        let evaluation = evaluate(&running, message, self, &mut effects);
        assert_eq!(evaluation.failed, None, "a failure has an edge");
        let mut shown: Vec<String> = effects.iter().filter(|effect| !matches!(effect, Effect::Wait(_))).map(describe).collect();
        shown.sort_unstable();
        let waiting = effects.into_iter().find_map(|effect| match effect {
            Effect::Wait(waiting) => Some(*waiting),
            _ => None,
        });
        (waiting, shown)
    }

    fn goes_on(&mut self, departed: &Departed) -> Vec<String> {
        let message = message(MessageType::PostTelemetryRequest, Body::Lifecycle);
        let mut effects = Vec::new();
        resume((departed, Ok(None)), &message, self, &mut effects, 0).expect("the node is there");
        effects.iter().map(describe).collect()
    }
}

impl World for Timed {
    fn running(&mut self, _: Target) -> Option<Rc<Running>> {
        Some(Rc::clone(&self.running))
    }

    fn waiting(&self, _: Uuid) -> Result<(usize, usize), String> {
        self.waiting.get().ok_or_else(|| "too many".to_owned())
    }
}

#[test]
fn a_message_waits_as_long_as_it_or_the_node_says() {
    for (configuration, due_ms) in [
        (json!({}), Some(60_000)),
        (json!({ "periodInSeconds": 5, "maxPendingMsgs": 1 }), Some(5_000)),
        (json!({ "periodInSecondsPattern": "$[t]", "useMetadataPeriodInSecondsPatterns": true }), Some(7_000)),
        (json!({ "periodInSecondsPattern": "${ts}s", "useMetadataPeriodInSecondsPatterns": true }), None),
        (json!({ "periodValue": 2, "periodTimeUnit": "MINUTES" }), Some(120_000)),
        (json!({ "periodValuePattern": "$[t]", "usePeriodValuePattern": true, "periodTimeUnit": "HOURS" }), Some(25_200_000)),
        (json!({ "periodValue": 2, "periodTimeUnitPattern": "$[unit]", "usePeriodTimeUnitPattern": true }), Some(2_000)),
        (json!({ "periodValue": 2, "periodTimeUnitPattern": "$[t]", "usePeriodTimeUnitPattern": true }), None),
    ] {
        let mut timed = Timed::new(DELAY, configuration.clone());
        let (waiting, shown) = timed.takes(&telemetry(r#"{"t":7,"unit":"SECONDS"}"#));
        // The message was taken at 1.
        let due = waiting.as_ref().map(|waiting| (waiting.how, waiting.due.0 - 1));
        assert_eq!(due, due_ms.map(|ms| (Waits::Alone, ms)), "{configuration}");
        match waiting {
            Some(waiting) => assert_eq!(timed.goes_on(&waiting.departed), [r#"answer 1 {"t":7,"unit":"SECONDS"}"#]),
            None => assert_eq!(shown, ["log TbLogNode2"], "Failure"),
        }
    }
}

#[test]
fn who_finds_no_room_fails_at_once() {
    let check = |class: &str, waiting: Option<(usize, usize)>, fits: bool| {
        let mut timed = Timed::new(class, json!({ "maxPendingMsgs": 3 }));
        timed.waiting.set(waiting);
        let (waits, shown) = timed.takes(&telemetry(r#"{"t":7}"#));
        let failed = ["log TbLogNode2".to_owned()];
        assert_eq!((waits.is_some(), &*shown), (fits, if fits { &[][..] } else { &failed[..] }), "{class} {waiting:?}");
    };
    // A node that delays counts everybody's, one that deduplicates the originator's.
    check(DELAY, Some((2, 2)), true);
    check(DELAY, Some((3, 0)), false);
    check(DEDUPLICATE, Some((9, 2)), true);
    check(DEDUPLICATE, Some((3, 3)), false);
    for class in [DELAY, DEDUPLICATE] {
        check(class, None, false);
    }
    // Those of one message count, too.
    let split = ("transform.TbSplitArrayMsgNode", json!({}));
    let nodes = [split, (DELAY, json!({ "maxPendingMsgs": 2 })), ("action.TbLogNode", json!({}))];
    let chain = parsed(1, &nodes, &[(0, "Success", 1), (1, "Failure", 2)]);
    let running = Running::new(Arc::new(Plan::compile(&chain)));
    let mut world = Timed::new(DELAY, json!({}));
    let mut effects = Vec::new();
    let said = message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[1,2,3]".into(), id: None });
    evaluate(&running, &said, &mut world, &mut effects);
    let waits = effects.iter().filter(|effect| matches!(effect, Effect::Wait(_))).count();
    assert_eq!((waits, effects.len()), (2, 3), "{effects:?}");
}

/// Else a chain that enters itself twice behind a delay of nothing would double its messages for ever.
#[test]
fn who_has_left_often_waits_for_long_or_not_at_all() {
    let period = |count: &str| json!({ "periodValuePattern": count, "usePeriodValuePattern": true, "periodTimeUnit": "SECONDS" });
    for (times, count, waits) in [(63, "0", true), (64, "0", false), (64, "1", true), (1_000_000, "5", true)] {
        let nodes = [(DELAY, period("0")), (DELAY, period(count)), ("action.TbLogNode", json!({}))];
        let chain = parsed(1, &nodes, &[(0, "Success", 1), (1, "Failure", 2)]);
        let mut world = Timed::new(DELAY, json!({}));
        world.running = Rc::new(Running::new(Arc::new(Plan::compile(&chain))).of(ChainId(Uuid::from_u128(1))));
        let path = vec![(ChainId(Uuid::from_u128(1)), Uuid::from_u128(100))];
        let departed = Departed { path, kind: "X".into(), data: "{}".into(), departures: times, ..Departed::default() };
        let said = message(MessageType::PostTelemetryRequest, Body::Lifecycle);
        let mut effects = Vec::new();
        let evaluation = resume((&departed, Ok(None)), &said, &mut world, &mut effects, 0).expect("the node is there");
        assert_eq!(evaluation.failed, None, "a failure has an edge");
        let again = effects
            .iter()
            .find_map(|effect| if let Effect::Wait(waiting) = effect { Some(waiting.departed.departures) } else { None });
        assert_eq!((again, effects.len()), (waits.then_some(times + 1), 1), "{times} times, {count} s");
    }
}

/// A message of this number, with this ts and data.
fn pending(number: u64, ts: i64, data: &str) -> Pending {
    let metadata = [("ts".to_owned(), ts.to_string())].into();
    let departed = Departed { kind: "X".into(), metadata, data: data.to_owned(), ..Departed::default() };
    Pending { number, taken: Timestamp(0), departed }
}

#[test]
fn one_of_an_interval_goes_on() {
    let packs = |strategy: &str, now: i64| {
        let configuration = json!({ "interval": 10, "strategy": strategy, "outMsgType": "ALL_OF_THEM", "queueName": "Main" });
        let timed = Timed::new(DEDUPLICATE, configuration);
        let said = [(1, 2_000, "1"), (2, 1_000, "2"), (3, 11_500, "3"), (4, 2_000, "4"), (5, 10_999, "5"), (6, 10_999, "6")];
        let said = said.into_iter().map(|(number, ts, data)| pending(number, ts, data)).collect();
        let packs = together(&timed.running, Uuid::from_u128(100), said, Timestamp(now)).expect("the node is there");
        let show = |Pack { departed, of }: Pack| format!("{} {} {of:?}", departed.kind, departed.data);
        packs.into_iter().map(show).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(packs("FIRST", 10_999), none);
    assert_eq!(packs("FIRST", 11_000), ["X 2 [1, 2, 4, 5, 6]"]);
    assert_eq!(packs("LAST", 21_499), ["X 5 [1, 2, 4, 5, 6]"], "of the same ts the one that came first");
    assert_eq!(packs("LAST", 21_500), ["X 5 [1, 2, 4, 5, 6]", "X 3 [3]"]);
    let one = |data: i64, ts: i64| format!(r#"{{"metadata":{{"ts":"{ts}"}},"msg":{data}}}"#);
    let all: Vec<String> = [(1, 2_000), (2, 1_000), (4, 2_000), (5, 10_999), (6, 10_999)].map(|(data, ts)| one(data, ts)).into();
    assert_eq!(packs("ALL", 11_000), [format!("ALL_OF_THEM [{}] [1, 2, 4, 5, 6]", all.join(","))]);
    let gone = Timed::new(DELAY, json!({}));
    assert_eq!(together(&gone.running, Uuid::from_u128(100), Vec::new(), Timestamp(0)), None);
}

#[test]
fn what_becomes_too_large_goes_on_in_parts() {
    let timed = Timed::new(DEDUPLICATE, json!({ "interval": 1, "strategy": "ALL", "outMsgType": "POST_TELEMETRY_REQUEST" }));
    let long = format!("\"{}\"", "x".repeat(60_000));
    let said = (0..12).map(|number| pending(number, 0, &long)).collect();
    let packs = together(&timed.running, Uuid::from_u128(100), said, Timestamp(1_000)).expect("the node is there");
    let of: Vec<Vec<u64>> = packs.iter().map(|pack| pack.of.clone()).collect();
    assert_eq!(of, [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9], vec![10, 11]]);
    assert!(packs.iter().all(|pack| serde_json::from_str::<Json>(&pack.departed.data).is_ok_and(|data| data.is_array())));
}

#[test]
fn a_message_deduplicated_is_due_when_its_interval_is_over() {
    let mut timed = Timed::new(DEDUPLICATE, json!({ "interval": 10 }));
    for (said, due_ms) in
        [(r#"{"t":7}"#, 10_001), (r#"{"ts":0,"values":{"t":7}}"#, 10_001), (r#"{"ts":90,"values":{"t":7}}"#, 10_090)]
    {
        let waiting = timed.takes(&telemetry(said)).0.expect("it waits");
        assert_eq!((waiting.how, waiting.due.0), (Waits::Together, due_ms), "{said}");
    }
}

const GEOFENCE_EVENTS: &str = "geo.TbGpsGeofencingActionNode";

/// Remembers what nodes do.
#[derive(Default)]
struct Remembers(HashMap<Uuid, Box<[u8]>>);

impl World for Remembers {
    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>> {
        self.0.get(&node).cloned()
    }
}

#[test]
fn a_point_enters_stays_and_leaves() {
    let (far, near) = (r#"{"latitude":51,"longitude":30}"#, r#"{"latitude":50,"longitude":30}"#);
    let check = |more: Json, said: &[(&'static str, i64)], expected: &[&str]| {
        let mut configuration = json!({ "perimeterType": "CIRCLE", "centerLatitude": 50, "centerLongitude": 30, "range": 1,
            "rangeUnit": "KILOMETER", "minInsideDuration": 10, "minInsideDurationTimeUnit": "SECONDS",
            "minOutsideDuration": 20, "minOutsideDurationTimeUnit": "SECONDS" });
        configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let labels = ["Success", "Entered", "Left", "Inside", "Outside", "Failure"];
        let logs = labels.map(|_| ("action.TbLogNode", json!({})));
        let nodes: Vec<(&str, Json)> = [(GEOFENCE_EVENTS, configuration)].into_iter().chain(logs).collect();
        let edges: Vec<(usize, &str, usize)> = labels.into_iter().enumerate().map(|(n, label)| (0, label, n + 1)).collect();
        let running = Running::new(Arc::new(Plan::compile(&parsed(1, &nodes, &edges))));
        let mut world = Remembers::default();
        let out = said.iter().map(|(said, at_s)| {
            let said = Message { received: Timestamp(at_s * 1_000), ..telemetry(said) };
            let mut effects = Vec::new();
            evaluate(&running, &said, &mut world, &mut effects);
            let mut out = "";
            for effect in effects {
                match effect {
                    Effect::Log { node } => {
                        let place: usize = node.trim_start_matches("TbLogNode").parse().expect("its number");
                        out = labels[place - 1];
                    }
                    Effect::KeepState { node, state } => drop(world.0.insert(node, state)),
                    other => panic!("{other:?}"),
                }
            }
            out
        });
        assert_eq!(out.collect::<Vec<_>>(), expected, "{more}");
    };
    let said = [(far, 1), (far, 5), (far, 22), (far, 23), (near, 24), (near, 34), (near, 35), (far, 36), ("{\"x\":1}", 37)];
    let quiet = ["Left", "Success", "Outside", "Success", "Entered", "Success", "Inside", "Left", "Failure"];
    check(json!({}), &said, &quiet);
    let loud = ["Left", "Outside", "Outside", "Outside", "Entered", "Inside", "Inside", "Left", "Failure"];
    check(json!({ "reportPresenceStatusOnEachMessage": true }), &said, &loud);
}

const RPC_REQUEST: &str = "rpc.TbSendRPCRequestNode";

#[test]
fn a_message_calls_its_originator_and_waits() {
    for (said, due_ms) in [(r#"{"method":"m","params":1}"#, Some(20_000)), (r#"{"method":"m"}"#, None), (r#"{"params":1}"#, None)]
    {
        let mut timed = Timed::new(RPC_REQUEST, json!({ "timeoutInSeconds": 20 }));
        let (waiting, shown) = timed.takes(&telemetry(said));
        // The message was taken at 1.
        assert_eq!(waiting.map(|waiting| (waiting.how, waiting.due.0 - 1)), due_ms.map(|ms| (Waits::Answer, ms)), "{said}");
        assert_eq!(shown.is_empty(), due_ms.is_some(), "Failure, or nothing yet: {shown:?}");
    }
    let call = || telemetry(r#"{"method":"m","params":1}"#);
    let of_tenant = Message { originator_type: EntityType::Tenant, ..call() };
    assert_eq!(Timed::new(RPC_REQUEST, json!({})).takes(&of_tenant).1, ["log TbLogNode2"], "no device");
    let mut full = Timed::new(RPC_REQUEST, json!({}));
    full.waiting.set(None);
    assert_eq!(full.takes(&call()).1, ["log TbLogNode2"]);
    // What an operator calls is under way already.
    let of_operator = message(MessageType::RpcCallFromServerToDevice, Body::Rpc { request: "{}".into(), id: None });
    assert_eq!(Timed::new(RPC_REQUEST, json!({})).takes(&of_operator), (None, vec!["answer 1 {}".to_owned()]));
}

#[test]
fn ways_into_nodes_that_act_by_themselves_end_there() {
    let script = "return {msg: {}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};";
    for (class, configuration) in [
        ("action.TbMsgCountNode", json!({ "telemetryPrefix": "n", "interval": 1 })),
        ("debug.TbMsgGeneratorNode", json!({ "scriptLang": "JS", "jsScript": script })),
    ] {
        let mut timed = Timed::new(class, configuration);
        for _ in 0..3 {
            assert_eq!(timed.takes(&telemetry(r#"{"t":1}"#)), (None, Vec::new()), "{class}");
        }
        let acts: Vec<(usize, Uuid)> = timed.running.plan().timers().map(|(step, node, _)| (step, node)).collect();
        assert_eq!((acts, timed.running.executed(0)), (vec![(0, Uuid::from_u128(100))], 3), "{class}");
    }
    let none = Timed::new(DELAY, json!({}));
    assert_eq!(none.running.plan().timers().count(), 0);
}
