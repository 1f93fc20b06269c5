//! Plans against examples, and against a naive interpreter of the chain.

mod alarms;
mod calculated;
mod device_state;
mod external;
mod nodes;
mod processing;
mod profile;
mod sightings;
mod simple;
mod timed;
mod wishes;

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use schemas::alarm::Alarm;
use schemas::chain::{
    Chain, DebugSettings, Edge, EntityType, MessageType, MessageTypes, Node, NodeKind, SaveAttributes, SaveTimeseries,
    default_root_chain, label,
};
use schemas::id::{EntityId, TenantId, uuid};

use crate::clock::Timestamp;
use crate::effect::{Effect, Held, Saving};
use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::message::{Body, Entry, Message, Reading, Readings, Scope, Value};
use crate::rules::{Alone, Plan, Running, evaluate};

fn readings(keys: &[&'static str]) -> Readings<'static> {
    let reading = |key: &&'static str| Reading { key: Cow::Borrowed(key), value: Value::Long(1) };
    let readings: Vec<_> = keys.iter().map(reading).collect();
    let entries = if keys.is_empty() { vec![] } else { vec![Entry { ts: None, range: 0..keys.len() }] };
    Readings { entries, readings }
}

fn message(kind: MessageType, body: Body<'static>) -> Message<'static> {
    let id = uuid("id", &[7; 16]).expect("16 bytes");
    Message {
        kind,
        originator: EntityId(id),
        originator_type: EntityType::Device,
        tenant: TenantId(id),
        device_name: "A",
        device_type: "default",
        received: Timestamp(1),
        body,
    }
}

fn telemetry(kind: MessageType) -> Message<'static> {
    message(kind, Body::Telemetry(readings(&["t"])))
}

fn attributes(kind: MessageType, scope: Scope) -> Message<'static> {
    message(kind, Body::Attributes { scope, readings: readings(&["a"]) })
}

/// Effects as text, which is enough to tell them apart in an example.
#[track_caller]
fn check(chain: &Chain, message: &Message<'_>, expected: &[&str], executed: u32) {
    let running = running(chain);
    let mut effects = Vec::new();
    let evaluation = evaluate(&running, message, &mut Alone, &mut effects);
    let found: Vec<String> = effects.iter().map(describe).collect();
    assert_eq!(found, expected);
    assert_eq!(evaluation.executed, executed);
    assert_eq!(executions(&running), u64::from(executed));
}

fn running(chain: &Chain) -> Running {
    Running::new(Arc::new(Plan::compile(chain)))
}

fn executions(running: &Running) -> u64 {
    running.counts().iter().map(|count| count.executed).sum()
}

fn describe(effect: &Effect<'_>) -> String {
    match effect {
        Effect::SaveTimeseries { readings, ttl_s, use_server_ts, .. } => {
            format!("series {} ttl {ttl_s} server ts {use_server_ts}", readings.readings.len())
        }
        Effect::SaveAttributes { readings, scope, only_on_change, notify_device, tell, .. } => {
            let count = readings.readings.len();
            let tell = tell.as_ref().map(|told| format!(" tell {} {:?}", told.kind, told.metadata)).unwrap_or_default();
            format!("attributes {count} {} changed {only_on_change} notify {notify_device}{tell}", scope.name())
        }
        Effect::DeleteAttributes { scope, keys, tell, .. } => {
            let tell = tell.as_ref().map(|told| format!(" tell {}", told.kind)).unwrap_or_default();
            format!("delete {} of {}{tell}", keys.join(" "), scope.name())
        }
        Effect::KeepState { node, state } => format!("state of {node}: {} bytes", state.len()),
        Effect::Answer { request, json } => format!("answer {request} {json}"),
        Effect::Reply { request, json } => format!("reply to {request} {json}"),
        Effect::KeepProgress(progress) => format!("progress of {}: {}", progress.node(), progress.rules.len()),
        Effect::Owe(departed) => format!("owe at {}", departed.node().1),
        Effect::Wait(waiting) => format!("wait at {} until {}", waiting.departed.node().1, waiting.due.0),
        Effect::Forward { departed, to } => format!("forward to {} {} from {}", to.kind.name(), to.id, departed.node().1),
        Effect::Alarm(alarm) => {
            let Alarm { kind, version, severity, details, start_ts, end_ts, .. } = &**alarm;
            let (severity, status) = (severity.name(), alarm.status().name());
            format!("alarm {kind} {version} {severity} {status} from {start_ts} to {end_ts} {details}")
        }
        Effect::Connectivity { event, at, .. } => format!("{event:?} at {}", at.0),
        Effect::Log { node } => format!("log {node}"),
    }
}

fn node(name: &str, kind: NodeKind) -> Node {
    Node { id: None, name: name.to_owned(), kind, debug: DebugSettings::default() }
}

fn filter(standard: Vec<MessageType>) -> NodeKind {
    NodeKind::MessageTypeFilter(MessageTypes { standard, custom: Vec::new() })
}

fn chain(nodes: Vec<Node>, edges: &[(usize, &str, usize)]) -> Chain {
    let edge = |(from, label, to): &(usize, &str, usize)| Edge { from: *from, to: *to, label: (*label).to_owned() };
    Chain { first: Some(0), nodes, edges: edges.iter().map(edge).collect() }
}

#[test]
fn every_class_has_a_row() {
    let tested = [
        include_str!("tests/nodes.rs"),
        include_str!("tests/nodes/facts.rs"),
        include_str!("tests/nodes/filters.rs"),
        include_str!("tests/nodes/keys.rs"),
        include_str!("tests/nodes/numbers.rs"),
        include_str!("tests/nodes/relations.rs"),
        include_str!("tests/alarms.rs"),
        include_str!("tests/device_state.rs"),
        include_str!("tests/external.rs"),
        include_str!("tests/processing.rs"),
        include_str!("tests/profile.rs"),
        include_str!("tests/timed.rs"),
        include_str!("tests/wishes.rs"),
    ];
    let tested = tested.concat();
    for class in NodeKind::CLASSES {
        let class = class.strip_prefix(nodes::PREFIX).expect("all of ThingsBoard's");
        assert!(tested.contains(class), "{class} has no row");
    }
}

#[test]
fn default_root_chain_stores_what_devices_say() {
    use MessageType::{
        AlarmDelete, AttributesUpdated, ConnectEvent, PostAttributesRequest, PostTelemetryRequest, TimeseriesUpdated,
        ToServerRpcRequest,
    };
    let root = Chain::parse(&default_root_chain().to_string()).expect("valid");
    check(&root, &telemetry(PostTelemetryRequest), &["series 1 ttl 0 server ts false"], 2);
    let client = ["attributes 1 CLIENT_SCOPE changed true notify false"];
    check(&root, &attributes(PostAttributesRequest, Scope::Client), &client, 2);
    let rpc = message(ToServerRpcRequest, Body::Rpc { request: "{}".into(), id: None });
    check(&root, &rpc, &["log Log RPC from Device"], 2);
    check(&root, &message(AlarmDelete, Body::Lifecycle), &["log Log Other"], 2);
    // What the server did itself is not stored twice.
    check(&root, &telemetry(TimeseriesUpdated), &[], 1);
    check(&root, &attributes(AttributesUpdated, Scope::Shared), &[], 1);
    check(&root, &message(ConnectEvent, Body::Lifecycle), &[], 1);
}

#[test]
fn empty_plan_does_nothing() {
    check(&Chain::default(), &telemetry(MessageType::PostTelemetryRequest), &[], 0);
    let nowhere = Chain { first: Some(3), nodes: vec![node("l", NodeKind::Log)], edges: vec![] };
    check(&nowhere, &telemetry(MessageType::PostTelemetryRequest), &[], 0);
    assert!(Plan::default().is_empty());
}

#[test]
fn a_body_that_does_not_fit_is_a_failure() {
    let save = SaveTimeseries { default_ttl_s: 9, use_server_ts: true, processing: None };
    let outcome = |kind| {
        let nodes = vec![node("save", kind), node("ok", NodeKind::Log), node("no", NodeKind::Log)];
        chain(nodes, &[(0, label::SUCCESS, 1), (0, "failure", 2)])
    };
    let series = outcome(NodeKind::SaveTimeseries(save));
    let post = MessageType::PostTelemetryRequest;
    check(&series, &telemetry(post), &["series 1 ttl 9 server ts true", "log ok"], 2);
    check(&series, &telemetry(MessageType::TimeseriesUpdated), &["series 1 ttl 9 server ts true", "log ok"], 2);
    check(&series, &attributes(post, Scope::Client), &["log no"], 2);
    check(&series, &message(post, Body::Telemetry(readings(&[]))), &["log no"], 2);

    let post = MessageType::PostAttributesRequest;
    let (scope, only_on_change, tell_chain, processing) = (Scope::Shared, false, false, None);
    let shared = SaveAttributes { scope, notify_device: true, only_on_change, tell_chain, processing };
    let shared = outcome(NodeKind::SaveAttributes(shared));
    let saved = "attributes 1 SHARED_SCOPE changed false notify true";
    check(&shared, &attributes(post, Scope::Client), &[saved, "log ok"], 2);
    // The scope an update names precedes the node's, and only shared attributes are the device's business.
    let saved = "attributes 1 SERVER_SCOPE changed false notify false";
    check(&shared, &attributes(MessageType::AttributesUpdated, Scope::Server), &[saved, "log ok"], 2);
    check(&shared, &telemetry(post), &["log no"], 2);
    let empty = Body::Attributes { scope: Scope::Client, readings: readings(&[]) };
    check(&shared, &message(post, empty), &["log ok"], 2);
}

#[test]
fn edges_of_one_label_are_followed_in_order() {
    let types = vec![MessageType::PostTelemetryRequest, MessageType::SendEmail];
    let nodes = vec![node("filter", filter(types)), node("a", NodeKind::Log), node("b", NodeKind::Log), node("c", NodeKind::Log)];
    let edges = [(0, label::TRUE, 2), (0, label::TRUE, 1), (2, label::SUCCESS, 3), (0, label::FALSE, 3)];
    let chain = chain(nodes, &edges);
    check(&chain, &telemetry(MessageType::PostTelemetryRequest), &["log b", "log c", "log a"], 4);
    check(&chain, &telemetry(MessageType::SendEmail), &["log b", "log c", "log a"], 4);
    check(&chain, &telemetry(MessageType::Alarm), &["log c"], 2);
}

#[test]
fn steps_of_one_message_are_bounded() {
    // A ladder of 20 diamonds has a million ways through it; no checked chain has.
    let nodes = vec![node("l", NodeKind::Log); 61];
    let step = |n: usize| [(3 * n, 3 * n + 1), (3 * n, 3 * n + 2), (3 * n + 1, 3 * n + 3), (3 * n + 2, 3 * n + 3)];
    let edges: Vec<_> = (0..20).flat_map(step).map(|(from, to)| (from, label::SUCCESS, to)).collect();
    let running = running(&chain(nodes, &edges));
    let (message, mut effects) = (telemetry(MessageType::Alarm), Vec::new());
    let evaluation = evaluate(&running, &message, &mut Alone, &mut effects);
    assert_eq!(evaluation.executed, STEPS_PER_MESSAGE_MAX);
    assert!(evaluation.failed.expect("it says so").reason.contains("more than"));
}

/// Follows the chain as drawn: recursion, label comparison, no plan.
fn interpret<'m>(chain: &'m Chain, at: usize, message: &'m Message<'m>, into: &mut Vec<Effect<'m>>) -> u32 {
    let node = &chain.nodes[at];
    let taken = match (&node.kind, &message.body) {
        (NodeKind::MessageTypeSwitch, _) => message.kind.label(),
        (NodeKind::MessageTypeFilter(types), _) if types.standard.contains(&message.kind) => label::TRUE,
        (NodeKind::MessageTypeFilter(_), _) => label::FALSE,
        (NodeKind::SaveTimeseries(save), Body::Telemetry(readings)) if !readings.readings.is_empty() => {
            let (ttl_s, use_server_ts) = (save.default_ttl_s, save.use_server_ts);
            let (readings, saving) = (Held::Borrowed(readings), Saving::EVERYTHING);
            into.push(Effect::SaveTimeseries { readings, ttl_s, use_server_ts, saving });
            label::SUCCESS
        }
        (NodeKind::SaveAttributes(save), Body::Attributes { scope, readings }) => {
            let scope = if message.kind == MessageType::PostAttributesRequest { save.scope } else { *scope };
            // A device knows what it has sent; of what else is new it is told.
            let told = save.notify_device || message.kind != MessageType::PostAttributesRequest;
            let notify_device = told && scope == Scope::Shared;
            if !readings.readings.is_empty() {
                let (readings, only_on_change, saving) = (Held::Borrowed(readings), save.only_on_change, Saving::EVERYTHING);
                into.push(Effect::SaveAttributes { readings, scope, only_on_change, notify_device, tell: None, saving });
            }
            label::SUCCESS
        }
        (NodeKind::SaveTimeseries(_) | NodeKind::SaveAttributes(_), _) => label::FAILURE,
        (NodeKind::Log, _) => {
            into.push(Effect::Log { node: node.name.as_str().into() });
            label::SUCCESS
        }
        (other, _) => panic!("no chain of these tests has {}", other.class()),
    };
    let edges = chain.edges.iter().filter(|edge| edge.from == at && edge.label == taken);
    edges.fold(1, |executed, edge| executed + interpret(chain, edge.to, message, into))
}

fn any_kind() -> impl Strategy<Value = MessageType> {
    prop::sample::select(MessageType::ALL)
}

fn any_node() -> impl Strategy<Value = NodeKind> {
    let scope = prop::sample::select(&Scope::ALL[..]);
    prop_oneof![
        Just(NodeKind::MessageTypeSwitch),
        Just(NodeKind::Log),
        prop::collection::vec(any_kind(), 0..20).prop_map(filter),
        (0_u32..3, any::<bool>()).prop_map(|(default_ttl_s, use_server_ts)| {
            NodeKind::SaveTimeseries(SaveTimeseries { default_ttl_s, use_server_ts, processing: None })
        }),
        (scope, any::<bool>(), any::<bool>()).prop_map(|(scope, notify_device, only_on_change)| {
            NodeKind::SaveAttributes(SaveAttributes { scope, notify_device, only_on_change, tell_chain: false, processing: None })
        }),
    ]
}

/// Edges lead to later nodes only, so there is no cycle.
fn any_chain() -> impl Strategy<Value = Chain> {
    // So few that even the product of their numbers stays below the bound on steps.
    let edges = prop::collection::vec(any::<[prop::sample::Index; 3]>(), 0..16);
    (prop::collection::vec(any_node(), 1..8), edges).prop_map(|(kinds, edges)| {
        let nodes: Vec<Node> = kinds.into_iter().enumerate().map(|(index, kind)| node(&format!("n{index}"), kind)).collect();
        let edge = |[a, b, chosen]: [prop::sample::Index; 3]| {
            let (a, b) = (a.index(nodes.len()), b.index(nodes.len()));
            let labels: Vec<&str> = match nodes[a.min(b)].kind {
                // Of the many labels, those that are taken often.
                NodeKind::MessageTypeSwitch => vec!["Post telemetry", "Post attributes", label::OTHER],
                ref kind => kind.labels().fixed().collect(),
            };
            (a != b).then(|| Edge { from: a.min(b), to: a.max(b), label: labels[chosen.index(labels.len())].to_owned() })
        };
        let edges = edges.into_iter().filter_map(edge).collect();
        Chain { first: Some(0), nodes, edges }
    })
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let body = prop_oneof![
        Just(Body::Telemetry(readings(&["t", "u"]))),
        Just(Body::Telemetry(readings(&[]))),
        prop::sample::select(&Scope::ALL[..]).prop_map(|scope| Body::Attributes { scope, readings: readings(&["a"]) }),
        Just(Body::Rpc { request: "{}".into(), id: None }),
        Just(Body::Lifecycle),
    ];
    let kind = prop_oneof![any_kind(), Just(MessageType::PostTelemetryRequest), Just(MessageType::PostAttributesRequest)];
    (kind, body).prop_map(|(kind, body)| message(kind, body))
}

proptest! {
    #[test]
    fn a_plan_means_what_its_chain_means(chain in any_chain(), message in any_message()) {
        let running = running(&chain);
        let (mut effects, mut expected) = (Vec::new(), Vec::new());
        let evaluation = evaluate(&running, &message, &mut Alone, &mut effects);
        let executed = interpret(&chain, 0, &message, &mut expected);
        prop_assert_eq!(effects, expected);
        prop_assert_eq!(evaluation.executed, executed);
        prop_assert_eq!(executions(&running), u64::from(executed));
    }
}
