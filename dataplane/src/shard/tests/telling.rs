//! Attributes that a chain saves and is told of, on whole shards: of what is new among them, once, whatever dies meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::chain::Chain;
use serde_json::json;
use tokio::sync::oneshot;

use super::connectivity::{heard, hears, in_order, known, taken};
use super::entering::{edge, node};
use super::fleet::{Fleet, engines, merged};
use crate::message::Value;
use crate::query::QueryError;
use crate::store::memory::MemoryEngine;

/// What is told is saved as a reading: ten times `a`, and one more if `b` is new, too; of deletions how many there were. Attributes of
/// which one is called `gone` are deleted, and saved no more.
fn chain() -> Chain {
    let save =
        json!({ "scope": "SERVER_SCOPE", "updateAttributesOnlyOnValueChange": true, "sendAttributesUpdatedNotification": true });
    let script = "return {msg: {n: msg.a * 10 + (msg.b == null ? 0 : 1)}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};";
    let count = "return {msg: {n: msg.attributes.length}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};";
    let delete = json!({ "scope": "SERVER_SCOPE", "keys": ["a", "b", "c"], "sendAttributesDeletedNotification": true });
    let nodes = [
        node(10, "filter.TbMsgTypeSwitchNode", json!({})),
        node(11, "telemetry.TbMsgAttributesNode", save),
        node(12, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node(13, "telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        node(14, "filter.TbCheckMessageNode", json!({ "messageNames": ["gone"], "checkAllKeys": true })),
        node(15, "telemetry.TbMsgDeleteAttributesNode", delete),
        node(16, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": count })),
    ];
    let edges = [
        edge(0, "Post attributes", 4),
        edge(4, "False", 1),
        edge(4, "True", 5),
        edge(0, "Attributes Updated", 2),
        edge(2, "Success", 3),
        edge(0, "Attributes Deleted", 6),
        edge(6, "Success", 3),
    ];
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32) -> Fleet {
    Fleet::drawn(engines, epoch, &chain())
}

/// Has the chain hear attributes, as the message of this number.
fn post(fleet: &mut Fleet, number: u64, attributes: &str) -> oneshot::Receiver<Result<u64, QueryError>> {
    hears(fleet, number, ("POST_ATTRIBUTES_REQUEST", BTreeMap::new(), attributes))
}

#[test]
fn a_chain_is_told_of_what_is_new() {
    let mut fleet = start(engines(2), 1);
    for (number, attributes, told) in [
        (1, r#"{"a":1,"b":1}"#, &[11][..]),
        (2, r#"{"a":2,"b":1}"#, &[11, 20]),
        (3, r#"{"a":2,"b":1}"#, &[11, 20]),
        // Two of the three are there.
        (4, r#"{"gone":1}"#, &[11, 20, 2]),
        (5, r#"{"gone":1}"#, &[11, 20, 2]),
    ] {
        let answer = post(&mut fleet, number, attributes);
        taken(&mut fleet, answer);
        heard(&mut fleet);
        assert_eq!(in_order(&fleet), told, "{attributes}");
    }
}

#[test]
fn a_crash_anywhere_leaves_both_or_neither() {
    for turns in 0..12 {
        for keeping in [&[0][..], &[9]] {
            let mut fleet = start(engines(2), 1);
            let mut answer = post(&mut fleet, 1, r#"{"a":1}"#);
            (0..turns).for_each(|_| fleet.turn());
            let was_taken = answer.try_recv().is_ok_and(|taken| taken.is_ok());
            let after = fleet.crash(keeping);
            let mut fleet = if turns % 2 == 0 { start(after, 2) } else { start(merged(&after), 2) };
            // Something that loads its state and changes nothing of it.
            let answer = post(&mut fleet, 2, "{}");
            taken(&mut fleet, answer);
            heard(&mut fleet);
            let saved = known(&mut fleet, "a") == Some(Value::Long(1));
            assert_eq!(in_order(&fleet), if saved { vec![10] } else { vec![] }, "{turns} {keeping:?}: once");
            assert!(saved || !was_taken, "{turns} {keeping:?}");
        }
    }
}
