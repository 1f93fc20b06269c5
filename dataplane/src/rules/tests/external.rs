//! Nodes that call outside: what they say there, and how a message goes on from one, through nested chains, too.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::{Chain, MessageType, Target};
use schemas::id::ChainId;
use schemas::script::Script;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::nodes::{PREFIX, telemetry};
use super::{describe, message};
use crate::clock::Clock;
use crate::effect::Effect;
use crate::limits::DEPARTED_BYTES_PER_MESSAGE_MAX;
use crate::message::{Body, Message};
use crate::owed::{Call, Departed};
use crate::rules::{Comes, Plan, Running, World, call, evaluate, resume};
use crate::script::{Answer, ScriptFailure, Subject};

/// A chain's number, nodes and edges.
pub(super) type Drawn<'d> = (u128, &'d [(&'d str, Json)], &'d [(usize, &'d str, usize)]);

/// Chains by number; so many calls may be owed.
#[derive(Default)]
pub(super) struct Chains {
    of: HashMap<ChainId, Rc<Running>>,
    room: Cell<u32>,
    /// What other parts of the message have left.
    departed_bytes: Cell<usize>,
    /// Whether messages may go to other originators.
    pub(super) passing: Cell<bool>,
}

impl Chains {
    pub(super) fn new(chains: &[Drawn<'_>]) -> Self {
        let of = chains.iter().map(|(id, nodes, edges)| {
            let chain = parsed(*id, nodes, edges);
            let id = ChainId(Uuid::from_u128(*id));
            (id, Rc::new(Running::new(Arc::new(Plan::compile(&chain))).of(id)))
        });
        Self { of: of.collect(), room: Cell::new(1), departed_bytes: Cell::new(0), passing: Cell::new(true) }
    }

    pub(super) fn departed(&mut self, message: &Message<'_>) -> (Option<Departed>, Vec<String>) {
        let running = Rc::clone(&self.of[&ChainId(Uuid::from_u128(1))]);
        let mut effects = Vec::new();
        let evaluation = evaluate(&running, message, self, &mut effects);
        let mut shown: Vec<String> = effects.iter().filter(|effect| !matches!(effect, Effect::Owe(_))).map(describe).collect();
        shown.extend(evaluation.failed.map(|failed| failed.reason));
        let departed = effects.into_iter().find_map(|effect| match effect {
            Effect::Owe(departed) => Some(*departed),
            _ => None,
        });
        (departed, shown)
    }

    fn resumed(&mut self, departed: &Departed, failure: Option<&str>) -> Option<Vec<String>> {
        self.comes_back(departed, failure.map_or(Ok(None), |reason| Err(reason.to_owned())))
    }

    pub(super) fn comes_back(&mut self, departed: &Departed, comes: Comes) -> Option<Vec<String>> {
        let message = message(MessageType::PostTelemetryRequest, Body::Lifecycle);
        let mut effects = Vec::new();
        let evaluation = resume((departed, comes), &message, self, &mut effects, 0)?;
        let mut shown: Vec<String> = effects.iter().map(describe).collect();
        shown.extend(evaluation.failed.map(|failed| failed.reason));
        Some(shown)
    }
}

impl World for Chains {
    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        match target {
            Target::Chain(id) => self.of.get(&id).map(Rc::clone),
            Target::OfOriginator { .. } => None,
        }
    }

    fn may_forward(&self) -> Result<(), String> {
        if self.passing.get() { Ok(()) } else { Err("there is no room".to_owned()) }
    }

    fn departed_bytes(&self) -> usize {
        self.departed_bytes.get()
    }

    fn may_owe(&self) -> Result<(), String> {
        if self.room.get() == 0 { Err("the outbox is full".to_owned()) } else { Ok(()) }
    }
}

pub(super) fn parsed(chain: u128, nodes: &[(&str, Json)], edges: &[(usize, &str, usize)]) -> Chain {
    let node = |(index, (class, configuration)): (usize, &(&str, Json))| {
        let id = json!({ "entityType": "RULE_NODE", "id": Uuid::from_u128(chain * 100 + index as u128) });
        let name = format!("{}{index}", class.rsplit('.').next().unwrap_or(class));
        json!({ "id": id, "type": format!("{PREFIX}{class}"), "name": name, "configuration": configuration })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let nodes: Vec<Json> = nodes.iter().enumerate().map(node).collect();
    let edges: Vec<Json> = edges.iter().map(edge).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    Chain::parse(&metadata.to_string()).unwrap_or_else(|invalid| panic!("{invalid}"))
}

const REPLY: &str = "rpc.TbSendRPCReplyNode";

pub(super) fn shows() -> (&'static str, Json) {
    (REPLY, json!({ "requestIdMetaDataAttribute": "ts" }))
}

/// What the only node says outside for a message.
pub(super) fn said(class: &str, configuration: &Json, message: &Message<'_>) -> Call {
    let mut chains = Chains::new(&[(1, &[(class, configuration.clone())], &[])]);
    let (departed, shown) = chains.departed(message);
    let departed = departed.unwrap_or_else(|| panic!("{shown:?}"));
    let running = &chains.of[&departed.node().0];
    call(running, &departed).expect("the node is there").expect("it has something to say").1
}

#[test]
fn rest_calls_are_filled_in() {
    let rest = "rest.TbRestApiCallNode";
    let full = json!({
        "restEndpointUrlPattern": "https://x/${deviceName}?t=$[t]", "requestMethod": "PUT", "readTimeoutMs": 500,
        "headers": { "X-Kind": "${deviceType}" }, "credentials": { "type": "basic", "username": "u", "password": "p" },
        "maxParallelRequestsCount": 3, "maxInMemoryBufferSizeInKb": 256, "useRedisQueueForMsgPersistence": false,
    });
    let Call::Http(call) = said(rest, &full, &telemetry(r#"{"t":1.5}"#)) else { panic!("an HTTP call") };
    assert_eq!((call.method.name(), call.url.as_str(), call.timeout_ms), ("PUT", "https://x/A?t=1.5", 500));
    assert_eq!(call.headers, [("X-Kind".to_owned(), "default".to_owned())]);
    assert_eq!((call.basic, call.body.as_deref()), (Some(("u".into(), "p".into())), Some(r#"{"t":1.5}"#)));
    for (more, body) in [
        (json!({ "requestMethod": "GET" }), None),
        (json!({ "ignoreRequestBody": true }), None),
        (json!({ "requestBodyTemplate": "t is $[t]", "parseToPlainText": true }), Some("t is 1")),
        (json!({ "requestBodyTemplate": "t is $[t]", "trimDoubleQuotes": true }), Some("t is 1")),
        (json!({ "requestBodyTemplate": " " }), Some(r#"{"t":1}"#)),
        (json!({}), Some(r#"{"t":1}"#)),
    ] {
        let Call::Http(call) = said(rest, &to_x(more.clone()), &telemetry(r#"{"t":1}"#)) else { panic!("an HTTP call") };
        assert_eq!(call.body.as_deref(), body, "{more}");
    }
    // ThingsBoard has no bound here; ours is a minute.
    for (asked, waited) in [(0, 20_000), (59_999, 59_999), (60_001, 60_000), (i32::MAX, 60_000)] {
        let Call::Http(call) = said(rest, &to_x(json!({ "readTimeoutMs": asked })), &telemetry("{}")) else { panic!("a call") };
        assert_eq!(call.timeout_ms, waited, "{asked}");
    }
}

/// The configuration of a REST call to `http://x`, with more of it.
fn to_x(more: Json) -> Json {
    let mut configuration = json!({ "restEndpointUrlPattern": "http://x" });
    configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    configuration
}

#[test]
fn parameters_of_rest_calls_stay_what_they_are() {
    let message = telemetry(r#"{"q":"a+b & c=ü/~","n":1.5}"#);
    for (url, parameters, expected) in [
        ("http://x/y", json!([]), "http://x/y"),
        ("http://x/y", json!([{ "key": "q", "value": "$[q]" }]), "http://x/y?q=a%2Bb%20%26%20c%3D%C3%BC%2F~"),
        (
            "http://x?a=1",
            json!([{ "key": "${deviceName}", "value": "$[n]" }, { "key": "e", "value": "" }]),
            "http://x?a=1&A=1.5&e=",
        ),
        ("http://x/y#z", json!([{ "key": "k&", "value": "$[none]" }]), "http://x/y?k%26=%24%5Bnone%5D#z"),
    ] {
        let configuration = to_x(json!({ "restEndpointUrlPattern": url, "queryParams": parameters }));
        let Call::Http(call) = said("rest.TbRestApiCallNode", &configuration, &message) else { panic!("an HTTP call") };
        assert_eq!(call.url, expected);
    }
    let long = json!({ "key": "k", "value": "$[q]".repeat(1_000) });
    let many = to_x(json!({ "queryParams": [long, long, long] }));
    let mut chains = Chains::new(&[(1, &[("rest.TbRestApiCallNode", many)], &[])]);
    assert_eq!(chains.departed(&message).1, ["a URL of more than 65536 bytes"]);
}

#[test]
fn bodies_of_rest_calls_are_json_whatever_is_put_in() {
    let message = telemetry(r#"{"said":"\"no\" \\ \n","n":1.5}"#);
    let of = |template: &str| to_x(json!({ "requestBodyTemplate": template }));
    let template = r#"{"of":"${deviceName}","said":"$[said]","n":$[n]}"#;
    let Call::Http(call) = said("rest.TbRestApiCallNode", &of(template), &message) else { panic!("an HTTP call") };
    assert_eq!(call.body.as_deref(), Some(r#"{"of":"A","said":"\"no\" \\ \n","n":1.5}"#));
    let mut chains = Chains::new(&[(1, &[("rest.TbRestApiCallNode", of(r#"{"none":$[none]}"#))], &[])]);
    let failed = chains.departed(&message).1;
    assert!(failed[0].starts_with("requestBodyTemplate makes no JSON of this message"), "{failed:?}");
}

#[test]
fn publications_and_e_mails_are_filled_in() {
    let mqtt = json!({ "topicPattern": "a/${deviceName}", "host": "broker", "port": 1884, "retainedMessage": true });
    let Call::Mqtt(publication) = said("mqtt.TbMqttNode", &mqtt, &telemetry(r#"{"t":1}"#)) else { panic!("a publication") };
    assert_eq!((publication.topic.as_str(), publication.payload.as_str(), publication.broker.port), ("a/A", r#"{"t":1}"#, 1_884));
    let wild = json!({ "topicPattern": "a/#", "host": "broker" });
    let mut chains = Chains::new(&[(1, &[("mqtt.TbMqttNode", wild)], &[])]);
    assert_eq!(chains.departed(&telemetry(r#"{"t":1}"#)).1, [r#""a/#" is no topic to publish to"#]);

    let email = (
        "mail.TbMsgToEmailNode",
        json!({
            "fromTemplate": "a@x", "toTemplate": "${deviceName}@x", "subjectTemplate": "hot: $[t]", "bodyTemplate": "<b>$[t]</b>",
            "mailBodyType": "true",
        }),
    );
    let send = ("mail.TbSendEmailNode", json!({ "useSystemSmtpSettings": false, "smtpHost": "mail", "smtpPort": 2525 }));
    let mut chains = Chains::new(&[(1, &[email, send.clone()], &[(0, "Success", 1)])]);
    let departed = chains.departed(&telemetry(r#"{"t":9}"#)).0.expect("an e-mail");
    assert_eq!(departed.kind, "SEND_EMAIL");
    let Some(Ok((_, Call::Email(email)))) = call(&chains.of[&departed.node().0], &departed) else { panic!("an e-mail") };
    assert_eq!((email.from.as_str(), email.to.as_str(), email.html), ("a@x", "A@x", true));
    assert_eq!((email.subject.as_str(), email.body.as_str()), ("hot: 9", "<b>9</b>"));
    assert_eq!(email.mailer.map(|mailer| mailer.port), Some(2_525));
    let mut chains = Chains::new(&[(1, std::slice::from_ref(&send), &[])]);
    assert!(chains.departed(&telemetry(r#"{"t":9}"#)).1[0].contains("SEND_EMAIL"), "what is no e-mail is not sent");
    // What a script has left out as null is there for nobody of this name.
    let made = r#"{"from":null,"to":"a@x","cc":null,"bcc":null,"subject":null,"body":7,"html":null}"#;
    let made = message(MessageType::SendEmail, Body::Rpc { request: made.into(), id: None });
    let Call::Email(email) = said(send.0, &send.1, &made) else { panic!("an e-mail") };
    assert_eq!((email.to.as_str(), email.body.as_str(), email.html), ("a@x", "7", false));
    assert_eq!([email.from, email.cc, email.bcc, email.subject], [""; 4]);
}

#[test]
fn messages_for_slack_are_filled_in() {
    let slack = json!({ "useSystemSettings": false, "botToken": "xoxb-1", "conversationType": "PUBLIC_CHANNEL",
        "conversation": { "id": "C1", "name": "ops" }, "messageTemplate": "${deviceName} has $[t] degrees" });
    let Call::Slack(call) = said("notification.TbSlackNode", &slack, &telemetry(r#"{"t":1}"#)) else { panic!("a message") };
    assert_eq!((call.token.as_str(), call.channel.as_str(), call.text.as_str()), ("xoxb-1", "C1", "A has 1 degrees"));
}

#[test]
fn records_are_filled_in() {
    let kafka = "kafka.TbKafkaNode";
    let full = json!({
        "topicPattern": "plant.$[t]", "keyPattern": "${deviceName}", "bootstrapServers": "a:1,b:2", "acks": "1", "batchSize": 0,
        "addMetadataKeyValuesAsKafkaHeaders": true, "kafkaHeadersCharset": "UTF-16BE", "otherProperties": { "client.id": "me" },
    });
    let Call::Kafka(call) = said(kafka, &full, &telemetry(r#"{"t":1}"#)) else { panic!("a record") };
    assert_eq!((call.topic.as_str(), call.key.as_deref(), call.payload.as_str()), ("plant.1", Some("A"), r#"{"t":1}"#));
    assert!(call.headers.contains(&("tb_msg_md_deviceName".to_owned(), vec![0, b'A'])), "{:?}", call.headers);
    for property in [("bootstrap.servers", "a:1,b:2"), ("acks", "1"), ("batch.size", "16384"), ("client.id", "me")] {
        let property = (property.0, property.1.to_owned());
        assert!(call.cluster.properties.contains(&property), "{property:?}: {:?}", call.cluster.properties);
    }
    let wild = json!({ "topicPattern": "a/b", "bootstrapServers": "a:1" });
    let mut chains = Chains::new(&[(1, &[(kafka, wild)], &[])]);
    assert_eq!(chains.departed(&telemetry(r#"{"t":1}"#)).1, [r#""a/b" is no topic of Kafka's"#]);
}

#[test]
fn messages_for_rabbitmq_and_nats_are_filled_in() {
    let rabbitmq = "rabbitmq.TbRabbitMqNode";
    let full = json!({ "exchangeNamePattern": "plant.$[t]", "routingKeyPattern": "${deviceName}", "host": "h", "virtualHost": "v",
        "messageProperties": "PERSISTENT_TEXT_PLAIN", "connectionTimeout": 60000, "handshakeTimeout": 10000,
        "automaticRecoveryEnabled": true, "clientProperties": { "a": "b" } });
    let Call::RabbitMq(call) = said(rabbitmq, &full, &telemetry(r#"{"t":1}"#)) else { panic!("a message") };
    assert_eq!((call.exchange.as_str(), call.routing_key.as_str(), call.payload.as_str()), ("plant.1", "A", r#"{"t":1}"#));
    assert_eq!((call.broker.port, call.broker.user.as_str(), call.broker.connect_ms), (5_672, "guest", 60_000));
    assert_eq!((call.broker.content.kind, call.broker.content.persistent), (Some("text/plain"), Some(true)));
    let long = format!("{}${{deviceName}}", "x".repeat(255));
    let mut chains = Chains::new(&[(1, &[(rabbitmq, json!({ "routingKeyPattern": long, "host": "h" }))], &[])]);
    assert!(chains.departed(&telemetry(r#"{"t":1}"#)).1[0].ends_with("is longer than 255 bytes, which AMQP does not allow"));

    let nats = "nats.TbNatsNode";
    let full = json!({ "subjectPattern": "plant.$[t]", "host": "h", "jetStream": true, "parseToPlainText": true });
    let Call::Nats(call) = said(nats, &full, &telemetry(r#"{"t":1}"#)) else { panic!("a message") };
    assert_eq!((call.subject.as_str(), call.payload.as_str()), ("plant.1", r#"{"t":1}"#));
    assert_eq!((call.server.port, call.server.jet_stream), (4_222, true));
    for subject in ["a.>", "a.*", "a..b", "a b", ".a"] {
        let mut chains = Chains::new(&[(1, &[(nats, json!({ "subjectPattern": subject, "host": "h" }))], &[])]);
        assert_eq!(chains.departed(&telemetry(r#"{"t":1}"#)).1, [format!("{subject:?} is no subject to publish to")]);
    }
}

#[test]
fn nodes_that_repeat_data_end() {
    let descend = || ("transform.TbJsonPathNode", json!({ "jsonPath": "$..*" }));
    let twice = || ("mail.TbMsgToEmailNode", json!({ "toTemplate": "a@x", "bodyTemplate": "$[body]$[body]" }));
    let long = format!("\"{}\"", "x".repeat(1_000));
    let (path, body) = (format!("{}{long}{}", "[".repeat(90), "]".repeat(90)), format!("{{\"body\":{long}}}"));
    for (node, said, reason) in [(descend(), path, "what the path finds is longer"), (twice(), body, "the e-mail is longer")] {
        let nodes: Vec<_> = std::iter::repeat_n(node, 20).collect();
        let edges: Vec<_> = (0..19).map(|n| (n, "Success", n + 1)).collect();
        let mut chains = Chains::new(&[(1, &nodes, &edges)]);
        let said = Body::Rpc { request: said.into(), id: None };
        let shown = chains.departed(&message(MessageType::ToServerRpcRequest, said)).1;
        assert!(shown.len() == 1 && shown[0].starts_with(reason), "{shown:?}");
    }
}

#[test]
fn a_message_goes_on_where_it_left() {
    let rest = || ("rest.TbRestApiCallNode", json!({ "restEndpointUrlPattern": "http://x" }));
    let enter = |n: u128| ("flow.TbRuleChainInputNode", json!({ "ruleChainId": Uuid::from_u128(n).to_string() }));
    let output = ("flow.TbRuleChainOutputNode", json!({}));
    let log = ("action.TbLogNode", json!({}));
    let inner: &[_] = &[rest(), output];
    let middle: &[_] = &[enter(3), ("flow.TbRuleChainOutputNode", json!({}))];
    let outer: &[_] = &[enter(2), shows(), log];
    let mut chains = Chains::new(&[
        (1, outer, &[(0, "TbRuleChainOutputNode1", 1), (0, "Failure", 2)]),
        (2, middle, &[(0, "TbRuleChainOutputNode1", 1)]),
        (3, inner, &[(0, "Success", 1)]),
    ]);
    let (departed, shown) = chains.departed(&telemetry(r#"{"t":1}"#));
    let departed = departed.expect("a call");
    assert_eq!((departed.path.len(), shown), (3, Vec::<String>::new()));
    assert_eq!(chains.resumed(&departed, None), Some(vec![r#"answer 1 {"t":1}"#.to_owned()]), "out of both chains");
    assert_eq!(chains.resumed(&departed, Some("why")), Some(vec!["why".to_owned()]), "a failure that nobody heeds");
    let mut changed = departed.clone();
    changed.data = "[2]".to_owned();
    assert_eq!(chains.resumed(&changed, None), Some(vec!["answer 1 [2]".to_owned()]));
    chains.of.remove(&ChainId(Uuid::from_u128(2)));
    assert_eq!(chains.resumed(&departed, None), None, "a chain on the way is gone");

    let mut chains = Chains::new(&[(1, &[rest(), shows()], &[(0, "Failure", 1)])]);
    chains.room.set(0);
    assert_eq!(
        chains.departed(&telemetry(r#"{"t":1}"#)),
        (None, vec![r#"answer 1 {"t":1}"#.to_owned()]),
        "a full outbox is a Failure"
    );
}

/// So many REST calls behind one node.
fn calls(count: usize) -> Chains {
    let rest = ("rest.TbRestApiCallNode", json!({ "restEndpointUrlPattern": "http://x" }));
    let nodes: Vec<_> = std::iter::once(("action.TbLogNode", json!({}))).chain(std::iter::repeat_n(rest, count)).collect();
    let edges: Vec<_> = (1..=count).map(|to| (0, "Success", to)).collect();
    Chains::new(&[(1, &nodes, &edges)])
}

#[test]
fn a_message_leaves_no_more_than_it_may_at_all_nodes_together() {
    let most = DEPARTED_BYTES_PER_MESSAGE_MAX;
    let large =
        message(MessageType::ToServerRpcRequest, Body::Rpc { request: json!("x".repeat(60_000)).to_string().into(), id: None });
    // In its first part, and in one that comes behind others.
    for others in [0, 1 << 20] {
        let mut chains = calls(200);
        chains.departed_bytes.set(others);
        let running = Rc::clone(&chains.of[&ChainId(Uuid::from_u128(1))]);
        let mut effects = Vec::new();
        let evaluation = evaluate(&running, &large, &mut chains, &mut effects);
        let departed =
            effects.iter().filter_map(|effect| if let Effect::Owe(departed) = effect { Some(departed.bytes()) } else { None });
        let bytes: usize = departed.sum();
        assert_eq!((evaluation.executed, evaluation.departed_bytes), (201, bytes));
        assert!((most - 2 * 61_000..=most).contains(&(bytes + others)), "{bytes} behind {others}");
        let failed = evaluation.failed.expect("the others fail");
        assert_eq!(failed.reason, "the message leaves more than 4194304 bytes at nodes");
    }
}

/// Scripts that take a millisecond, and perhaps a clock.
struct Slow(Option<Clock>);

impl World for Slow {
    fn clock(&self) -> Option<Clock> {
        self.0
    }

    fn run(&mut self, _: &Arc<Script>, _: Subject<'_>) -> Result<Answer, ScriptFailure> {
        std::thread::sleep(std::time::Duration::from_millis(4));
        Ok(Answer::Truth(true))
    }
}

#[test]
fn a_message_takes_no_more_time_than_it_may() {
    let filter = ("filter.TbJsFilterNode", super::nodes::js("while (false) {} return true;"));
    let nodes: Vec<_> = std::iter::repeat_n(filter, 300).collect();
    let edges: Vec<_> = (1..300).map(|to| (to - 1, "True", to)).collect();
    let running = Running::new(Arc::new(Plan::compile(&parsed(1, &nodes, &edges))));
    let evaluated = |clock| evaluate(&running, &telemetry(r#"{"t":1}"#), &mut Slow(clock), &mut Vec::new());
    let late = evaluated(Some(Clock::start()));
    assert_eq!(late.failed.map(|failed| failed.reason).as_deref(), Some("more than 200 ms for one message"));
    assert_eq!(late.executed, 128, "the second look");
    let unhurried = evaluated(None);
    assert_eq!((unhurried.executed, unhurried.failed), (300, None));
}
