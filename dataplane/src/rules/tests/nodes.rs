//! Every node class with each of its labels: a chain of that one node, as ThingsBoard writes it, whose labels lead to a probe
//! that shows what came out.

mod facts;
mod fields;
mod filters;
mod keys;
mod numbers;
mod relations;
mod saving;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use schemas::alarm::Alarm;
use schemas::chain::{Chain, DebugSettings, Labels, MessageType, Node, NodeKind, Owner, RelationsQuery, Target};
use schemas::config::{Details, End};
use schemas::id::{ChainId, EntityId, uuid};
use schemas::script::Script;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{describe, message};
use crate::clock::{Clock, Timestamp};
use crate::effect::Effect;
use crate::message::{Body, Message, Readings, Scope, Value};
use crate::payload::{self, Casting};
use crate::query::Series;
use crate::rules::{Absent, Fact, Plan, Running, World, evaluate};
use crate::script::{Answer, Engine, ScriptFailure, Subject};

pub(super) const PREFIX: &str = "org.thingsboard.rule.engine.";

/// The originator knows these, whoever it is.
pub(super) struct Known {
    chains: HashMap<ChainId, Rc<Running>>,
    engine: Engine,
    /// What its nodes remember.
    pub(super) states: HashMap<Uuid, Box<[u8]>>,
    /// It is an asset of this name and profile.
    asset: Option<(String, String)>,
    /// Whether a relation ends at the originator, its type, and its other end.
    neighbours: Vec<(bool, &'static str, End)>,
    pub(super) may_forward: bool,
    alarms: Vec<Alarm>,
    alarm_room: usize,
    told: facts::Told,
}

impl Default for Known {
    fn default() -> Self {
        let (chains, states, alarms, told) = (HashMap::new(), HashMap::new(), Vec::new(), facts::Told::default());
        let (engine, neighbours, may_forward) = (Engine::new(Clock::start()), Vec::new(), false);
        Self { chains, engine, states, asset: None, neighbours, may_forward, alarms, alarm_room: 2, told }
    }
}

impl Known {
    /// The originator is somebody's.
    pub(super) fn owned() -> Self {
        Self { told: facts::Told::owned(), ..Self::default() }
    }

    /// The originator has these alarms, and room for so many more.
    pub(super) fn with(alarms: Vec<Alarm>, alarm_room: usize) -> Self {
        Self { alarms, alarm_room, ..Self::default() }
    }
}

impl World for Known {
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)> {
        let value = match (scope, key) {
            (Scope::Client, "model") => Value::Text("m1".into()),
            (Scope::Shared, "limit") => Value::Long(7),
            (Scope::Server, "limit") => Value::Double(1.5),
            (Scope::Server, "A-limit") => Value::Bool(true),
            _ => return None,
        };
        Some((Timestamp(3), value))
    }

    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)> {
        (key == "t").then_some((Timestamp(5), Value::Long(20)))
    }

    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>> {
        self.states.get(&node).cloned()
    }

    /// It is contained in 1 and in nothing else, and manages 2 and 3.
    fn related(&mut self, inward: bool, kind: &str, other: Option<EntityId>) -> bool {
        let others: &[u128] = match (inward, kind) {
            (true, "Contains") => &[1],
            (false, "Manages") => &[2, 3],
            _ => &[],
        };
        others.iter().any(|known| other.is_none_or(|other| other.0.as_u128() == *known))
    }

    fn neighbours(&self, query: &RelationsQuery) -> Vec<End> {
        let follows = |(inward, kind, end): &(bool, &'static str, End)| *inward == query.inward && query.follows(kind, end.kind);
        self.neighbours.iter().filter(|one| follows(one)).map(|(_, _, end)| *end).collect()
    }

    fn may_forward(&self) -> Result<(), String> {
        if self.may_forward { Ok(()) } else { Err("there is no room".to_owned()) }
    }

    fn asset(&mut self) -> Option<(String, String)> {
        self.asset.clone()
    }

    fn field(&self, name: &str) -> Option<String> {
        self.told.field(name)
    }

    fn active_alarm(&mut self, kind: &str) -> Option<Alarm> {
        self.alarms.iter().find(|alarm| alarm.kind == kind && !alarm.is_cleared()).cloned()
    }

    fn alarm(&mut self, id: Uuid) -> Option<Alarm> {
        self.alarms.iter().find(|alarm| alarm.id == id).cloned()
    }

    fn alarm_room(&mut self) -> usize {
        self.alarm_room
    }

    fn owner(&self, of: Owner) -> Option<EntityId> {
        self.told.owner(of)
    }

    fn details(&self, owner: EntityId) -> Option<&Details> {
        self.told.details(owner)
    }

    fn fact(&self, fact: &Fact) -> Result<&[Series], Absent> {
        self.told.fact(fact)
    }

    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        match target {
            Target::Chain(id) => self.chains.get(&id).map(Rc::clone),
            Target::OfOriginator { .. } => None,
        }
    }

    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        self.engine.run(script, subject)
    }
}

/// A chain as JSON, its nodes by class, `@` and configuration version (0 if not said), and configuration, its edges by index and label.
pub(super) fn chain(nodes: &[(&str, Json)], edges: &[(usize, &str, usize)]) -> Chain {
    let node = |(index, (class, configuration)): (usize, &(&str, Json))| {
        let name = format!("{}{index}", class.rsplit('.').next().unwrap_or(class));
        let (class, version) = class.split_once('@').unwrap_or((class, "0"));
        let version: u32 = version.parse().expect("a number");
        let class = format!("{PREFIX}{class}");
        json!({ "type": class, "name": name, "configurationVersion": version, "configuration": configuration })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let nodes: Vec<Json> = nodes.iter().enumerate().map(node).collect();
    let edges: Vec<Json> = edges.iter().map(edge).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    Chain::parse(&metadata.to_string()).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// What comes out of one node: `label: type metadata data` of each message, and effects.
pub(super) fn out(class: &str, configuration: &Json, message: &Message<'_>, world: &mut Known) -> Vec<String> {
    let mut one = chain(&[(class, configuration.clone())], &[]);
    let mut labels: Vec<String> = match one.nodes[0].kind.labels() {
        Labels::Any => vec!["default".into(), "thermometer".into(), "Warm".into(), "Failure".into()],
        labels => labels.fixed().map(str::to_owned).collect(),
    };
    labels.sort_unstable();
    labels.dedup();
    for label in labels {
        // The answer node shows data, whatever the message is; its name is the label.
        let kind = NodeKind::RpcReply { request_key: "shown".into() };
        one.edges.push(schemas::chain::Edge { from: 0, to: one.nodes.len(), label: label.clone() });
        one.nodes.push(Node { id: None, name: label, kind, debug: DebugSettings::default() });
    }
    show(&one, message, world)
}

/// Runs a chain whose probes fail, because no message has a "shown": each failure says at which node, and with what.
pub(super) fn show(chain: &Chain, message: &Message<'_>, world: &mut Known) -> Vec<String> {
    let running = Running::new(Arc::new(Plan::compile(chain)));
    let mut effects = Vec::new();
    let evaluation = evaluate(&running, message, world, &mut effects);
    let mut shown: Vec<String> = effects.iter().map(describe).collect();
    for count in running.counts().iter().skip(1).filter(|count| count.executed > 0) {
        let times = if count.executed > 1 { format!(" x{}", count.executed) } else { String::new() };
        shown.push(format!("{}{times}", count.name));
    }
    if let Some(failed) = evaluation.failed.filter(|failed| !failed.reason.starts_with("shown")) {
        shown.push(format!("failed at {}: {}", failed.node, failed.reason));
    }
    shown
}

pub(super) fn telemetry(json: &'static str) -> Message<'static> {
    let mut readings = Readings::default();
    payload::telemetry(json.as_bytes(), Casting::Enabled, &mut readings).expect("valid");
    message(MessageType::PostTelemetryRequest, Body::Telemetry(readings))
}

pub(super) fn attributes(kind: MessageType, scope: Scope, json: &'static str) -> Message<'static> {
    let mut readings = Readings::default();
    payload::attributes(json.as_bytes(), Casting::Enabled, &mut readings).expect("valid");
    message(kind, Body::Attributes { scope, readings })
}

/// One node's row: what it is given, and what comes out.
#[track_caller]
fn check(class: &str, configuration: Json, message: &Message<'_>, expected: &[&str]) {
    assert_eq!(out(class, &configuration, message, &mut Known::default()), expected, "{class} {configuration}");
}

/// A node that changes messages: how `data` and the metadata look behind it.
#[track_caller]
fn check_change(class: &str, configuration: Json, message: &Message<'_>, data: &Json, metadata: &[(&str, &str)]) {
    let templates: Vec<String> = metadata.iter().map(|(name, _)| format!("{name}=${{{name}}}")).collect();
    let reply = ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": "ts" }));
    let delete = ("telemetry.TbMsgDeleteAttributesNode", json!({ "scope": "SERVER_SCOPE", "keys": templates }));
    let chain = chain(&[(class, configuration), reply, delete], &[(0, "Success", 1), (1, "Success", 2)]);
    let running = Running::new(Arc::new(Plan::compile(&chain)));
    let mut effects = Vec::new();
    let evaluation = evaluate(&running, message, &mut Known::default(), &mut effects);
    assert_eq!(evaluation.failed, None, "{class}");
    let Some(Effect::Answer { json, .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(&serde_json::from_str::<Json>(json).expect("JSON"), data, "{class}");
    let expected: Vec<String> = metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    match effects.get(1) {
        Some(Effect::DeleteAttributes { keys, .. }) => assert_eq!(keys, &expected, "{class}"),
        _ => assert!(expected.is_empty(), "{class}"),
    }
}

#[test]
fn the_originator_enriches() {
    let class = "metadata.TbGetAttributesNode";
    let post = telemetry(r#"{"t":21}"#);
    let names = json!({ "clientAttributeNames": ["model"], "sharedAttributeNames": ["limit"],
        "serverAttributeNames": ["limit", "${deviceName}-limit", "gone"], "latestTsKeyNames": ["t"] });
    let metadata = [
        ("cs_model", "m1"),
        ("shared_limit", "7"),
        ("ss_limit", "1.5"),
        ("ss_A-limit", "true"),
        ("ss_gone", "${ss_gone}"),
        ("t", "20"),
    ];
    check_change(class, names.clone(), &post, &json!({ "t": 21 }), &metadata);
    let mut to_data = names.clone();
    to_data["fetchTo"] = json!("DATA");
    to_data["getLatestValueWithTs"] = json!(true);
    let data = json!({ "t": { "ts": 5, "value": 20 }, "cs_model": "m1", "shared_limit": 7, "ss_limit": 1.5, "ss_A-limit": true });
    check_change(class, to_data, &post, &data, &[("deviceName", "A"), ("deviceType", "default"), ("ts", "1")]);
    let mut strict = names;
    strict["tellFailureIfAbsent"] = json!(true);
    check(class, strict.clone(), &post, &["Failure"]);
    // What was found goes with it.
    let shows = ("telemetry.TbMsgDeleteAttributesNode", json!({ "keys": ["${cs_model} ${ss_gone}"] }));
    let failure = chain(&[(class, strict), shows], &[(0, "Failure", 1)]);
    assert_eq!(show(&failure, &post, &mut Known::default())[0], "delete m1 ${ss_gone} of SERVER_SCOPE");

    let fields = json!({ "dataMapping": { "name": "who", "type": "what", "entityType": "kind" }, "fetchTo": "METADATA" });
    check_change(
        "metadata.TbGetOriginatorFieldsNode",
        fields,
        &post,
        &json!({ "t": 21 }),
        &[("who", "A"), ("what", "default"), ("kind", "DEVICE")],
    );
}

#[test]
fn what_a_message_saved_is_seen_behind_it() {
    let save = ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 }));
    let latest = ("metadata.TbGetAttributesNode", json!({ "latestTsKeyNames": ["t"], "fetchTo": "DATA" }));
    let reply = ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": "ts" }));
    let chain = chain(&[save, latest, reply], &[(0, "Success", 1), (1, "Success", 2)]);
    let post = telemetry(r#"{"t":21,"u":1}"#);
    assert_eq!(show(&chain, &post, &mut Known::default())[..2], ["series 2 ttl 0 server ts false", r#"answer 1 {"t":21,"u":1}"#]);
}

#[test]
fn arrays_are_split() {
    let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: r#"[{"a":1},{"a":2},3]"#.into(), id: None });
    check("transform.TbSplitArrayMsgNode", json!({}), &list, &["Success x3"]);
    check("transform.TbSplitArrayMsgNode", json!({}), &telemetry(r#"{"t":1}"#), &["Failure"]);
    // Neither an array nor a script makes more of one message than may be done with it: one node split it, 999 follow.
    let many = format!("[{}0]", "0,".repeat(4_999));
    let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: many.into(), id: None });
    let shown = out("transform.TbSplitArrayMsgNode", &json!({}), &list, &mut Known::default());
    assert_eq!(shown, ["Success x999"]);
    let script = js("var all = []; for (var n = 0; n < 2000; n++) all.push({msg: n}); return all;");
    let shown = out("transform.TbTransformMsgNode", &script, &list, &mut Known::default());
    assert_eq!(shown, ["Success x999"]);
}

#[test]
fn changed_messages_are_saved() {
    let rename = ("transform.TbRenameKeysNode", json!({ "renameIn": "DATA", "renameKeysMapping": { "t": "celsius" } }));
    let save = ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 60 }));
    let series = chain(&[rename.clone(), save], &[(0, "Success", 1)]);
    let running = Running::new(Arc::new(Plan::compile(&series)));
    for (said, ts) in [(r#"{"t":"7"}"#, None), (r#"{"ts":900,"values":{"t":7}}"#, Some(Timestamp(900)))] {
        let (message, mut effects) = (telemetry(said), Vec::new());
        evaluate(&running, &message, &mut Known::default(), &mut effects);
        let [Effect::SaveTimeseries { readings, ttl_s: 60, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(readings.readings[0].key, "celsius");
        assert_eq!((&readings.readings[0].value, readings.entries[0].ts), (&Value::Long(7), ts));
    }
    let save = ("telemetry.TbMsgAttributesNode", json!({ "scope": "SHARED_SCOPE", "notifyDevice": true }));
    let saved = chain(&[rename, save], &[(0, "Success", 1)]);
    let post = attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"t":1,"u":2}"#);
    let shown = show(&saved, &post, &mut Known::default());
    assert_eq!(shown[0], "attributes 2 SHARED_SCOPE changed false notify true");
    let updated = attributes(MessageType::AttributesUpdated, Scope::Server, r#"{"t":1,"u":2}"#);
    let shown = show(&saved, &updated, &mut Known::default());
    assert_eq!(shown[0], "attributes 2 SERVER_SCOPE changed false notify false");
    let shown = show(&saved, &telemetry(r#"{"t":1}"#), &mut Known::default());
    assert_eq!(shown[1], "failed at TbMsgAttributesNode1: POST_TELEMETRY_REQUEST is no attributes message");
}

pub(super) fn js(body: &str) -> Json {
    json!({ "scriptLang": "JS", "jsScript": body })
}

fn tbel(body: &str) -> Json {
    json!({ "scriptLang": "TBEL", "tbelScript": body, "jsScript": "" })
}

#[test]
fn scripts_decide() {
    let post = telemetry(r#"{"t":21}"#);
    let filter = "filter.TbJsFilterNode";
    check(filter, tbel("return msg.t > 20 && metadata.deviceName == 'A';"), &post, &["True"]);
    check(filter, js("return msgType !== 'POST_TELEMETRY_REQUEST';"), &post, &["False"]);
    check(filter, json!({ "jsScript": "return msg.t > 20;" }), &post, &["True"]);
    check(filter, js("return msg.gone.more;"), &post, &["Failure"]);
    check(filter, js("while (true) {}"), &post, &["Failure"]);
    let switch = "filter.TbJsSwitchNode";
    check(switch, tbel("return msg.t > 20 ? 'Warm' : 'Cold';"), &post, &["Warm"]);
    check(switch, js("return ['thermometer', 'Warm', 'nobody drew this'];"), &post, &["Warm", "thermometer"]);
    check(switch, js("return 'nobody drew this';"), &post, &[]);
    check(switch, js("return ['Warm', 'thermometer', 'Warm'];"), &post, &["Warm", "thermometer"]);
    check(switch, js("return 7;"), &post, &["Failure"]);
}

#[test]
fn scripts_change_messages() {
    let class = "transform.TbTransformMsgNode";
    let post = telemetry(r#"{"t":20}"#);
    let body = "msg.f = msg.t * 9 / 5 + 32; metadata.unit = 'F'; return {msg: msg, metadata: metadata, msgType: msgType};";
    check_change(class, tbel(body), &post, &json!({ "t": 20, "f": 68 }), &[("unit", "F"), ("deviceName", "A")]);
    check(class, js("return [{msg: 1}, {msg: 2}];"), &post, &["Success x2"]);
    check(class, js("return [];"), &post, &["Failure"]);
    check(class, js("return msg.t;"), &post, &["Failure"]);
    // Another type is another message: it is saved as what it is now.
    let attributes = js("return {msg: {a: msg.t}, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};");
    let save = json!({ "scope": "SERVER_SCOPE" });
    let saved = chain(&[(class, attributes), ("telemetry.TbMsgAttributesNode", save)], &[(0, "Success", 1)]);
    let shown = show(&saved, &post, &mut Known::default());
    assert_eq!(shown[0], "attributes 1 SERVER_SCOPE changed false notify false");
    let own = js("return {msg: msg, metadata: metadata, msgType: 'MINE'};");
    let filter = ("filter.TbMsgTypeFilterNode", json!({ "messageTypes": ["MINE"] }));
    let log = ("action.TbLogNode", json!({}));
    let custom = chain(&[(class, own), filter, log], &[(0, "Success", 1), (1, "True", 2)]);
    assert_eq!(show(&custom, &post, &mut Known::default())[0], "log TbLogNode2");
    // A ts that a script sets is the reading's.
    let dated = tbel("metadata.ts = '77'; return {msg: msg, metadata: metadata, msgType: msgType};");
    let series = chain(&[(class, dated), ("telemetry.TbMsgTimeseriesNode", json!({}))], &[(0, "Success", 1)]);
    let (running, mut effects) = (Running::new(Arc::new(Plan::compile(&series))), Vec::new());
    evaluate(&running, &post, &mut Known::default(), &mut effects);
    let [Effect::SaveTimeseries { readings, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(readings.entries[0].ts, Some(Timestamp(77)));
}

#[test]
fn attributes_are_deleted() {
    let class = "telemetry.TbMsgDeleteAttributesNode";
    let post = telemetry(r#"{"which":"limit"}"#);
    check(
        class,
        json!({ "scope": "SHARED_SCOPE", "keys": ["a", "$[which]"] }),
        &post,
        &["delete a limit of SHARED_SCOPE", "Success"],
    );
    check(class, json!({ "keys": [] }), &post, &["Success"]);
}

#[test]
fn calls_are_answered() {
    let call =
        message(MessageType::ToServerRpcRequest, Body::Rpc { request: r#"{"method":"now","params":{}}"#.into(), id: Some(4) });
    let answer = r#"answer 4 {"method":"now","params":{}}"#;
    check("rpc.TbSendRPCReplyNode", json!({}), &call, &[answer, "Success"]);
    check("rpc.TbSendRPCReplyNode", json!({}), &telemetry(r#"{"t":1}"#), &["Failure"]);
    let asked = Message { device_name: "00000000-0000-0000-0000-000000000007", ..telemetry(r#"{"t":1}"#) };
    let by = |place: &str, request: &str| json!({ "serviceIdMetaDataAttribute": place, "requestIdMetaDataAttribute": request });
    let replied = r#"reply to 00000000-0000-0000-0000-000000000007 {"t":1}"#;
    for (configuration, expected) in [
        (by("ts", "deviceName"), &[replied, "Success"][..]),
        (by("serviceId", "deviceName"), &["Failure"]),
        (by("ts", "requestUUID"), &["Failure"]),
        (by("deviceName", "ts"), &["Failure"]),
        (json!({}), &["Failure"]),
    ] {
        check("rest.TbSendRestApiCallReplyNode", configuration, &asked, expected);
    }
    let to_device = message(MessageType::RpcCallFromServerToDevice, Body::Rpc { request: "{}".into(), id: None });
    check("rpc.TbSendRPCRequestNode", json!({ "timeoutInSeconds": 60 }), &to_device, &["Success"]);
    check("rpc.TbSendRPCRequestNode", json!({}), &call, &["Failure"]);
}

#[test]
fn acknowledge_checkpoint_and_log_pass() {
    let post = telemetry(r#"{"t":1}"#);
    check("flow.TbAckNode", json!({}), &post, &["Success"]);
    check("flow.TbCheckpointNode", json!({ "queueName": "HighPriority" }), &post, &["Success"]);
    check("action.TbLogNode", json!({}), &post, &["log TbLogNode0", "Success"]);
}

#[test]
fn chains_are_entered_and_left() {
    let id = |n: u8| ChainId(uuid("id", &[n; 16]).expect("16 bytes"));
    let input = |n: u8| ("flow.TbRuleChainInputNode", json!({ "ruleChainId": id(n).0.to_string() }));
    let output = ("flow.TbRuleChainOutputNode", json!({}));
    let log = ("action.TbLogNode", json!({}));
    let rename = ("transform.TbRenameKeysNode", json!({ "renameIn": "DATA", "renameKeysMapping": { "t": "u" } }));
    let has = |name: &str| ("filter.TbCheckMessageNode", json!({ "messageNames": [name], "checkAllKeys": true }));
    // The inner chain renames and goes out by "TbRuleChainOutputNode3" if there is a "u", else it ends in a log.
    let inner = chain(&[rename, has("u"), log.clone(), output], &[(0, "Success", 1), (1, "False", 2), (1, "True", 3)]);
    // The middle one only passes it on.
    let middle = chain(&[input(1), ("flow.TbRuleChainOutputNode", json!({}))], &[(0, "TbRuleChainOutputNode3", 1)]);
    let outer = chain(
        &[input(2), ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": "ts" })), log],
        &[(0, "tbrulechainoutputnode1", 1), (0, "Failure", 2)],
    );
    let mut world = Known::default();
    for (n, chain) in [(1, &inner), (2, &middle)] {
        world.chains.insert(id(n), Rc::new(Running::new(Arc::new(Plan::compile(chain)))));
    }
    let shown = show(&outer, &telemetry(r#"{"t":1}"#), &mut world);
    assert_eq!(shown, [r#"answer 1 {"u":1}"#, "TbSendRPCReplyNode1"]);
    assert_eq!(show(&outer, &telemetry(r#"{"v":1}"#), &mut world), ["log TbLogNode2"], "it ends within");
    assert_eq!(show(&outer, &telemetry(r#"{"t":1}"#), &mut Known::default()), ["log TbLogNode2", "TbLogNode2"], "no such chain");
    // A chain does not enter itself, and chains that enter each other are ended.
    for (n, enters) in [(3, 3), (4, 5), (5, 4)] {
        world.chains.insert(id(n), Rc::new(Running::new(Arc::new(Plan::compile(&chain(&[input(enters)], &[]))))));
    }
    for (n, reason) in [(3, "would enter itself"), (4, "more than")] {
        let shown = show(&chain(&[input(n)], &[]), &telemetry(r#"{"t":1}"#), &mut world);
        assert!(shown[0].contains(reason), "{shown:?}");
    }
}

/// Names that configurations have, so that random ones mean something now and then.
const FIELDS: [&str; 40] = [
    "alarmType",
    "severity",
    "alarmDetailsBuildJs",
    "alarmStatusList",
    "messageTypes",
    "originatorTypes",
    "messageNames",
    "metadataNames",
    "checkAllKeys",
    "perimeterType",
    "centerLatitude",
    "centerLongitude",
    "range",
    "rangeUnit",
    "polygonsDefinition",
    "serverAttributeNames",
    "latestTsKeyNames",
    "fetchTo",
    "dataMapping",
    "keys",
    "copyFrom",
    "renameKeysMapping",
    "scope",
    "defaultTTL",
    "scriptLang",
    "jsScript",
    "tbelScript",
    "ruleChainId",
    "inputValueKey",
    "outputValueKey",
    "useCache",
    "addPeriodBetweenMsgs",
    "periodValueKey",
    "round",
    "operation",
    "arguments",
    "result",
    "customFunction",
    "requestIdMetaDataAttribute",
    "forwardMsgToDefaultRuleChain",
];

fn any_json() -> impl Strategy<Value = Json> {
    let texts = [
        "",
        "t",
        "POST_TELEMETRY_REQUEST",
        "DEVICE",
        "CIRCLE",
        "POLYGON",
        "METER",
        "[[0,0],[0,9],[9,9]]",
        "DATA",
        "METADATA",
        "TBEL",
        "JS",
        "return true;",
        "return {msg: [msg], metadata: metadata};",
        "${deviceName}",
        "$[t]",
        ".*",
        "(",
        "CUSTOM",
        "ADD",
        "x + 1",
        "x / 0",
        "SHARED_SCOPE",
        "MESSAGE_BODY",
        "TIME_SERIES",
        "CONSTANT",
        "x",
        "MAJOR",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        prop::sample::select(texts.to_vec()).prop_map(Json::from),
        Just(json!([{ "name": "x", "type": "MESSAGE_BODY", "key": "t" }])),
        Just(json!({ "type": "TIME_SERIES", "key": "r", "resultValuePrecision": 3 })),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_configuration_is_refused_or_runs(
        class in prop::sample::select(NodeKind::CLASSES),
        fields in prop::collection::vec((prop::sample::select(FIELDS.to_vec()), any_json()), 0..8),
        said in prop::sample::select(vec![r#"{"t":1}"#, r#"{"latitude":5,"longitude":5,"kwh":"x"}"#, r#"{"t":{"a":[1,{}]}}"#]),
    ) {
        let configuration: serde_json::Map<String, Json> = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        let metadata = json!({ "firstNodeIndex": 0, "nodes": [{ "type": class, "name": "n", "configuration": configuration }] });
        if let Ok(chain) = Chain::parse(&metadata.to_string()) {
            let running = Running::new(Arc::new(Plan::compile(&chain)));
            for message in [telemetry(said), attributes(MessageType::AttributesUpdated, Scope::Shared, said)] {
                let evaluation = evaluate(&running, &message, &mut Known::default(), &mut Vec::new());
                prop_assert!(evaluation.executed >= 1);
            }
        }
    }
}
