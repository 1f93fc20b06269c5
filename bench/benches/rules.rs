//! How long a message takes through a plan: the default root chain, and a line of nodes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dataplane::clock::Timestamp;
use dataplane::message::{Body, Message, Readings};
use dataplane::payload::{Casting, telemetry};
use dataplane::rules::{Alone, Plan, Running, evaluate};
use schemas::chain::{Chain, Edge, EntityType, MessageType, Node, NodeKind, default_root_chain, label};
use schemas::id::{EntityId, TenantId, uuid};

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
    let node = |n| Node { id: None, name: format!("log {n}"), kind: NodeKind::Log };
    let edge = |to| Edge { from: to - 1, to, label: label::SUCCESS.to_owned() };
    Chain { first: Some(0), nodes: (0..count).map(node).collect(), edges: (1..count).map(edge).collect() }
}

fn rules(criterion: &mut Criterion) {
    let root = Chain::parse(&default_root_chain().to_string()).expect("valid");
    let message = message();
    for (name, chain) in [("root", root), ("line of 100", line(100))] {
        let running = Running::new(Arc::new(Plan::compile(&chain)));
        criterion.bench_function(&format!("evaluate/{name}"), |bencher| {
            let mut effects = Vec::new();
            bencher.iter(|| {
                effects.clear();
                evaluate(&running, black_box(&message), &mut Alone, &mut effects)
            });
        });
        criterion.bench_function(&format!("compile/{name}"), |bencher| bencher.iter(|| Plan::compile(black_box(&chain))));
    }
}

criterion_group!(benches, rules);
criterion_main!(benches);
