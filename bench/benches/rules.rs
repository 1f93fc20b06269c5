//! How long a message takes through a plan: the default root chain, lines of native nodes that leave it as it is or change it, and
//! scripts. Without storing anything.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dataplane::clock::{Clock, Timestamp};
use dataplane::message::{Body, Message, Readings, Scope, Value};
use dataplane::payload::{Casting, telemetry};
use dataplane::rules::{Plan, Running, World, evaluate};
use dataplane::script::{Answer, Engine, ScriptFailure, Subject};
use schemas::chain::{Chain, DebugSettings, Edge, EntityType, MessageType, Node, NodeKind, default_root_chain, label};
use schemas::id::{EntityId, TenantId, uuid};
use schemas::script::Script;
use serde_json::{Value as Json, json};

fn message() -> Message<'static> {
    let id = uuid("id", &[1; 16]).expect("16 bytes");
    let mut readings = Readings::default();
    telemetry(br#"{"temperature":21.5,"humidity":40}"#, Casting::Enabled, &mut readings).expect("valid");
    Message {
        kind: MessageType::PostTelemetryRequest,
        originator: EntityId(id),
        originator_type: EntityType::Device,
        tenant: TenantId(id),
        device_name: "A",
        device_type: "default",
        received: Timestamp(0),
        body: Body::Telemetry(readings),
    }
}

/// `count` log nodes in a row.
fn line(count: usize) -> Chain {
    let node = |n| Node { id: None, name: format!("log {n}"), kind: NodeKind::Log, debug: DebugSettings::default() };
    let edge = |to| Edge { from: to - 1, to, label: label::SUCCESS.to_owned() };
    Chain { first: Some(0), nodes: (0..count).map(node).collect(), edges: (1..count).map(edge).collect() }
}

/// Ten native nodes: filters, enrichment, changes, and the reading saved.
fn ten() -> Chain {
    let classes = [
        ("filter.TbMsgTypeSwitchNode", json!({}), "Post telemetry"),
        ("filter.TbOriginatorTypeFilterNode", json!({ "originatorTypes": ["DEVICE"] }), "True"),
        ("filter.TbCheckMessageNode", json!({ "messageNames": ["temperature"], "checkAllKeys": true }), "True"),
        ("metadata.TbGetOriginatorFieldsNode", json!({ "dataMapping": { "name": "who" } }), "Success"),
        ("metadata.TbGetAttributesNode", json!({ "serverAttributeNames": ["limit"] }), "Success"),
        (
            "transform.TbRenameKeysNode",
            json!({ "renameIn": "DATA", "renameKeysMapping": { "temperature": "celsius" } }),
            "Success",
        ),
        ("transform.TbCopyKeysNode", json!({ "copyFrom": "METADATA", "keys": ["who"] }), "Success"),
        ("transform.TbDeleteKeysNode", json!({ "deleteFrom": "DATA", "keys": ["humidity"] }), "Success"),
        ("flow.TbAckNode", json!({}), "Success"),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 }), "Success"),
    ];
    drawn(&classes)
}

/// A type switch, one node with a script, and the reading saved.
fn scripted(class: &str, language: &str, body: &str, label: &'static str) -> Chain {
    let field = if language == "TBEL" { "tbelScript" } else { "jsScript" };
    let script = json!({ "scriptLang": language, field: body });
    drawn(&[
        ("filter.TbMsgTypeSwitchNode", json!({}), "Post telemetry"),
        (class, script, label),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 }), "Success"),
    ])
}

/// The same chain, with its scripts run by the engine also where they are simple.
fn by_engine(mut chain: Chain) -> Chain {
    for node in &mut chain.nodes {
        if let NodeKind::ScriptFilter(script) | NodeKind::ScriptTransform(script) = &mut node.kind {
            *script = Arc::new(Script { simple: None, ..Script::clone(script) });
        }
    }
    chain
}

/// Nodes in a row, each with the label that leads on.
fn drawn(classes: &[(&str, Json, &str)]) -> Chain {
    let node = |(class, configuration, _): &(&str, Json, &str)| {
        let kind = format!("org.thingsboard.rule.engine.{class}");
        json!({ "type": kind, "name": class, "configuration": configuration })
    };
    let edge =
        |(from, (_, _, label)): (usize, &(&str, Json, &str))| json!({ "fromIndex": from, "toIndex": from + 1, "type": label });
    let nodes: Vec<Json> = classes.iter().map(node).collect();
    let edges: Vec<Json> = classes.iter().enumerate().take(classes.len() - 1).map(edge).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    Chain::parse(&metadata.to_string()).expect("valid")
}

/// Scripts run, and an attribute is there.
struct Scripts(Engine);

impl World for Scripts {
    fn attribute(&mut self, _: Scope, _: &str) -> Option<(Timestamp, Value<'static>)> {
        Some((Timestamp(1), Value::Long(20)))
    }

    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        self.0.run(script, subject)
    }
}

fn rules(criterion: &mut Criterion) {
    let root = Chain::parse(&default_root_chain().to_string()).expect("valid");
    let filter = "return msg.temperature > 20;";
    let change = "msg.fahrenheit = msg.temperature * 9 / 5 + 32; return {msg: msg, metadata: metadata, msgType: msgType};";
    let (filters, transforms) = ("filter.TbJsFilterNode", "transform.TbTransformMsgNode");
    let message = message();
    for (name, chain) in [
        ("root", root),
        ("line of 100", line(100)),
        ("ten native nodes", ten()),
        ("simple filter", scripted(filters, "TBEL", filter, "True")),
        ("the same by the engine", by_engine(scripted(filters, "TBEL", filter, "True"))),
        ("simple transformation", scripted(transforms, "TBEL", change, "Success")),
        ("the same transformation by the engine", by_engine(scripted(transforms, "TBEL", change, "Success"))),
    ] {
        let running = Running::new(Arc::new(Plan::compile(&chain)));
        let mut world = Scripts(Engine::new(Clock::start()));
        criterion.bench_function(&format!("evaluate/{name}"), |bencher| {
            let mut effects = Vec::new();
            bencher.iter(|| {
                effects.clear();
                let evaluation = evaluate(&running, black_box(&message), &mut world, &mut effects);
                assert!(evaluation.failed.is_none(), "{evaluation:?}");
                evaluation
            });
        });
        criterion.bench_function(&format!("compile/{name}"), |bencher| bencher.iter(|| Plan::compile(black_box(&chain))));
    }
}

criterion_group!(benches, rules);
criterion_main!(benches);
