//! What is seen of messages at nodes whose debugging is on, and how long nodes take: now and then, and never an answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::{Chain, Target};
use schemas::id::ChainId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::nodes::{PREFIX, telemetry};
use crate::clock::Clock;
use crate::effect::Effect;
use crate::limits::MESSAGES_PER_TIMED_ONE;
use crate::rules::{AtNode, Plan, Running, Sighting, World, evaluate, evaluate_again, resume};

/// Sees so much.
struct Looking {
    room: usize,
    seen: Vec<Sighting>,
    clock: Clock,
    chains: HashMap<ChainId, Rc<Running>>,
    trace: Option<Uuid>,
}

impl Looking {
    fn new(room: usize) -> Self {
        Self { room, seen: Vec::new(), clock: Clock::start(), chains: HashMap::new(), trace: None }
    }

    /// `node <way> label type data`, or `chain node: reason`.
    fn shown(&self) -> Vec<String> {
        let shown = |sighting: &Sighting| match sighting {
            Sighting::AtNode(seen) => {
                let AtNode { node, left, kind, label, data, error, .. } = &**seen;
                let way = if *left { "out" } else { "in" };
                let error = if error.is_some() { " failed" } else { "" };
                format!("{} {way} {} {kind} {data}{error}", node.as_u128(), label.as_deref().unwrap_or("-"))
            }
            Sighting::Unled { chain, node, .. } => format!("chain {} {node}", chain.0.as_u128()),
        };
        self.seen.iter().map(shown).collect()
    }
}

impl World for Looking {
    fn clock(&self) -> Option<Clock> {
        Some(self.clock)
    }

    fn traced(&self) -> Option<Uuid> {
        self.trace
    }

    fn may_owe(&self) -> Result<(), String> {
        Ok(())
    }

    fn may_see(&mut self) -> bool {
        self.seen.len() < self.room
    }

    fn see(&mut self, sighting: Sighting) {
        self.seen.push(sighting);
    }

    fn new_id(&mut self) -> Uuid {
        Uuid::now_v7()
    }

    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        match target {
            Target::Chain(id) => self.chains.get(&id).map(Rc::clone),
            Target::OfOriginator { .. } => None,
        }
    }
}

/// Nodes by class, configuration and what is seen of them; node `n` of the first chain has the id `n`.
fn running(id: u128, nodes: &[(&str, Json, Json)], edges: &[(usize, &str, usize)]) -> Running {
    let node = |(index, (class, configuration, debug)): (usize, &(&str, Json, Json))| {
        json!({ "id": { "id": Uuid::from_u128(id * 10 + index as u128) }, "type": format!("{PREFIX}{class}"),
            "name": format!("n{index}"), "configuration": configuration, "debugSettings": debug })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let nodes: Vec<Json> = nodes.iter().enumerate().map(node).collect();
    let edges: Vec<Json> = edges.iter().map(edge).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    let chain = Chain::parse(&metadata.to_string()).unwrap_or_else(|invalid| panic!("{invalid}"));
    Running::new(Arc::new(Plan::compile(&chain))).of(ChainId(Uuid::from_u128(id)))
}

/// Messages are taken at 1.
fn all() -> Json {
    json!({ "allEnabledUntil": 2 })
}

fn failures() -> Json {
    json!({ "failuresEnabled": true })
}

const CHECK: &str = "filter.TbCheckMessageNode";
const RENAME: &str = "transform.TbRenameKeysNode";
const SPLIT: &str = "transform.TbSplitArrayMsgNode";
const LOG: &str = "action.TbLogNode";

fn has_t() -> Json {
    json!({ "messageNames": ["t"], "metadataNames": [], "checkAllKeys": true })
}

fn to_u() -> Json {
    json!({ "renameIn": "DATA", "renameKeysMapping": { "t": "u" } })
}

#[track_caller]
fn check(nodes: &[(&str, Json, Json)], edges: &[(usize, &str, usize)], expected: &[&str]) {
    let mut looking = Looking::new(usize::MAX);
    evaluate(&running(1, nodes, edges), &telemetry(r#"{"t":1}"#), &mut looking, &mut Vec::new());
    assert_eq!(looking.shown(), expected);
}

#[test]
fn what_debugging_shows() {
    let (none, edges) = (json!(null), [(0, "True", 1), (1, "Success", 2), (1, "Success", 3)]);
    let nodes =
        |a: Json, b: Json, c: Json| [(CHECK, has_t(), a), (RENAME, to_u(), b), (SPLIT, json!({}), c), (LOG, json!({}), all())];
    let kind = "POST_TELEMETRY_REQUEST";
    let log = [format!("13 in Success {kind} {{\"u\":1}}"), format!("13 out Success {kind} {{\"u\":1}}")];
    let unled = ["chain 1 n2".to_owned()];
    let check = |a: Json, b: Json, c: Json, expected: &[String]| {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&nodes(a, b, c), &edges, &expected);
    };
    check(none.clone(), none.clone(), none.clone(), &[&unled[..], &log[..]].concat());
    let came = [format!("10 in - {kind} {{\"t\":1}}"), format!("10 out True {kind} {{\"t\":1}}")];
    check(all(), failures(), none.clone(), &[&came[..], &unled[..], &log[..]].concat());
    let renamed = [format!("11 in True {kind} {{\"t\":1}}"), format!("11 out Success {kind} {{\"u\":1}}")];
    check(none.clone(), all(), none.clone(), &[&renamed[..], &unled[..], &log[..]].concat());
    let failed = format!("12 out Failure {kind} {{\"u\":1}} failed");
    check(none.clone(), none.clone(), failures(), &[std::slice::from_ref(&failed), &unled[..], &log[..]].concat());
    let seen = [format!("12 in Success {kind} {{\"u\":1}}"), failed];
    check(none.clone(), none.clone(), all(), &[&seen[..], &unled[..], &log[..]].concat());
    // It is over.
    check(json!({ "allEnabledUntil": 1 }), none.clone(), none, &[&unled[..], &log[..]].concat());
}

#[test]
fn a_message_is_the_same_one_at_all_nodes() {
    let nodes = [(CHECK, has_t(), all()), (LOG, json!({}), all())];
    let mut looking = Looking::new(usize::MAX);
    for _ in 0..2 {
        evaluate(&running(1, &nodes, &[(0, "True", 1)]), &telemetry(r#"{"t":1}"#), &mut looking, &mut Vec::new());
    }
    let ids: Vec<Uuid> = looking
        .seen
        .iter()
        .map(|seen| match seen {
            Sighting::AtNode(seen) => seen.message,
            Sighting::Unled { .. } => Uuid::nil(),
        })
        .collect();
    assert_eq!((ids[0], ids[4]), (ids[3], ids[7]));
    assert_ne!(ids[0], ids[4]);
}

#[test]
fn a_traced_message_is_seen_at_every_node_also_when_it_comes_back() {
    let call = ("rest.TbRestApiCallNode", json!({ "restEndpointUrlPattern": "http://there.example/", "requestMethod": "POST" }));
    let nodes = [(CHECK, has_t(), json!(null)), (call.0, call.1, json!(null)), (RENAME, to_u(), failures())];
    let chain = Rc::new(running(1, &nodes, &[(0, "True", 1), (1, "Success", 2)]));
    let mut looking = Looking::new(usize::MAX);
    let mut effects = Vec::new();
    let message = telemetry(r#"{"t":1}"#);
    evaluate(&chain, &message, &mut looking, &mut effects);
    assert_eq!(looking.shown(), [""; 0]);
    looking.chains.insert(ChainId(Uuid::from_u128(1)), Rc::clone(&chain));
    looking.trace = Some(Uuid::from_u128(99));
    effects.clear();
    evaluate(&chain, &message, &mut looking, &mut effects);
    let kind = r#"POST_TELEMETRY_REQUEST {"t":1}"#;
    assert_eq!(looking.shown(), ["10 in -", "10 out True", "11 in True"].map(|seen| format!("{seen} {kind}")));
    let [Effect::Owe(departed)] = &effects[..] else { panic!("{effects:?}") };
    // By then nobody waits for another one.
    looking.trace = None;
    let again = telemetry("{}");
    resume((departed, Ok(None)), &again, &mut looking, &mut Vec::new(), 0).unwrap();
    let renamed = r#"12 out Success POST_TELEMETRY_REQUEST {"u":1}"#;
    let behind = [format!("11 out Success {kind}"), format!("12 in Success {kind}"), renamed.to_owned()];
    assert_eq!(looking.shown()[3..], behind);
    assert!(looking.seen.iter().all(|seen| seen.is_of(Uuid::from_u128(99))));
}

#[test]
fn nested_chains_are_seen_from_both_sides() {
    let inner = [(CHECK, has_t(), all()), ("flow.TbRuleChainOutputNode", json!({}), json!(null))];
    let outer = [("flow.TbRuleChainInputNode", json!({ "ruleChainId": Uuid::from_u128(2) }), all())];
    let mut looking = Looking::new(usize::MAX);
    looking.chains.insert(ChainId(Uuid::from_u128(2)), Rc::new(running(2, &inner, &[(0, "True", 1)])));
    evaluate(&running(1, &outer, &[]), &telemetry(r#"{"t":1}"#), &mut looking, &mut Vec::new());
    let kind = r#"POST_TELEMETRY_REQUEST {"t":1}"#;
    assert_eq!(looking.shown(), ["10 in -", "20 in -", "20 out True", "10 out n1"].map(|seen| format!("{seen} {kind}")));
}

#[test]
fn nothing_is_seen_twice_or_without_room() {
    let nodes = [(CHECK, has_t(), all())];
    let running = running(1, &nodes, &[]);
    let message = telemetry(r#"{"t":1}"#);
    let mut looking = Looking::new(1);
    evaluate(&running, &message, &mut looking, &mut Vec::new());
    assert_eq!(looking.seen.len(), 1);
    // One that is only tried, and one whose only step was counted before it waited.
    let mut looking = Looking::new(usize::MAX);
    evaluate_again(&running, &message, &mut looking, &mut Vec::new(), u32::MAX);
    assert_eq!(looking.shown(), [""; 0]);
    evaluate_again(&running, &message, &mut looking, &mut Vec::new(), 1);
    assert_eq!(looking.shown(), [r#"10 out True POST_TELEMETRY_REQUEST {"t":1}"#]);
}

#[test]
fn one_message_of_many_is_timed() {
    let nodes = [(CHECK, has_t(), json!(null)), (LOG, json!({}), json!(null))];
    let running = running(1, &nodes, &[(0, "True", 1)]);
    let message = telemetry(r#"{"t":1}"#);
    for _ in 0..=MESSAGES_PER_TIMED_ONE {
        evaluate(&running, &message, &mut Looking::new(0), &mut Vec::new());
    }
    let counts = running.counts();
    assert_eq!(counts.iter().map(|count| (count.executed, count.timed)).collect::<Vec<_>>(), [(17, 2), (17, 2)]);
    assert!(counts.iter().all(|count| count.timed_ns > 0));
    assert_eq!(counts[1].id, Uuid::from_u128(11));
}
