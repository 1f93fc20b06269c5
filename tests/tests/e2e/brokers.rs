//! Chains that publish to brokers which are not ours: Mosquitto over TLS and by every version of MQTT, RabbitMQ and NATS. What they
//! refuse is said. Never asserts how long a call takes.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use tests::harness::certificates::{Authority, Pair, VALID};
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device, draw_root, latest_value, limit_tenants};
use tests::harness::instance::Home;
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;
use tests::harness::rabbitmq::RabbitMq;

type Nodes = Vec<(&'static str, Value)>;
type Edges = Vec<(usize, &'static str, usize)>;

/// A chain in which each of these nodes is told what devices publish. What fails is saved as a reading `failed` and its number.
fn draw_nodes(nodes: &[(&'static str, Value)]) -> (Nodes, Edges) {
    let (mut all, mut edges) = (vec![("filter.TbMsgTypeSwitchNode", json!({}))], Vec::new());
    for (number, (class, configuration)) in nodes.iter().enumerate() {
        let place = all.len();
        let script = format!("return {{msg: {{failed{number}: metadata.error}}, metadata: {{}}, msgType: msgType}};");
        all.push((*class, configuration.clone()));
        all.push(("transform.TbTransformMsgNode", json!({ "scriptLang": "TBEL", "tbelScript": script })));
        all.push(("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })));
        edges.extend([(0, "Post telemetry", place), (place, "Failure", place + 1), (place + 1, "Success", place + 2)]);
    }
    (all, edges)
}

fn draw(fixture: &Fixture, nodes: &[(&'static str, Value)]) {
    let (nodes, edges) = draw_nodes(nodes);
    draw_root(&fixture.tenant, &nodes, &edges);
}

fn say(fixture: &Fixture, payload: &str) {
    assert_eq!(Wire::session(fixture.instance.mqtt(), "oven").telemetry(1, payload), 0);
}

/// Mosquitto for `plant` with the password `secret`, and in TLS for whoever shows a certificate of this authority.
fn mosquitto(home: &Home, (plain, tls): (SocketAddr, SocketAddr), authority: &Authority, server: &Pair) -> Client {
    let passwords = home.path().join("passwords");
    let status = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["plant", "secret"]).status();
    assert!(status.is_ok_and(|status| status.success()), "mosquitto_passwd");
    let more = format!(
        "password_file {}\nallow_anonymous false\nlistener {} {}\nrequire_certificate true\nuse_identity_as_username true\n\
         cafile {}\ncertfile {}\nkeyfile {}\n",
        passwords.display(),
        tls.port(),
        tls.ip(),
        authority.pair.certificate.display(),
        server.certificate.display(),
        server.key.display()
    );
    Client::mosquitto_with(home, plain, &more)
}

#[test]
fn publications_reach_a_broker_over_tls_and_by_every_version() {
    let fixture = Fixture::start();
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    let (authority, stranger) = (Authority::new(&fixture.home, "plant"), Authority::new(&fixture.home, "stranger"));
    let (server, own) = (authority.server("localhost"), authority.client("tidegate", VALID));
    let (tls, plain) = (port::reserve(), port::reserve());
    let _mosquitto = mosquitto(&fixture.home, (plain, tls), &authority, &server);
    let mut subscriber =
        Client::mosquitto_sub_with(&fixture.home, plain, &["-u", "plant", "-P", "secret", "-V", "mqttv5", "-t", "#"]);
    let mut outside = Client::outside_over_tls(&fixture.home, &authority.pair.certificate, &server);
    let https = outside.event("listening")["https"].clone();
    let key = std::fs::read_to_string(&own.key).expect("the key was made");
    let shown = |authority: &Authority| {
        json!({ "type": "cert.PEM", "caCert": authority.pair.pem(), "caCertFileName": "ca.pem", "cert": own.pem(), "privateKey": key,
            "password": "" })
    };
    let over_tls = |authority: &Authority| {
        let node = json!({ "topicPattern": "tls", "host": "localhost", "port": tls.port(), "ssl": true, "protocolVersion": "MQTT_5",
            "credentials": shown(authority), "connectTimeoutSec": 5 });
        ("mqtt.TbMqttNode", node)
    };
    let by = |version: &str, password: &str| {
        let credentials = json!({ "type": "basic", "username": "plant", "password": password });
        let node = json!({ "topicPattern": format!("plain/{version}"), "host": "127.0.0.1", "port": plain.port(), "ssl": false,
            "protocolVersion": version, "credentials": credentials });
        ("mqtt.TbMqttNode", node)
    };
    let url = format!("https://localhost:{https}/${{deviceName}}");
    let call = |authority: &Authority| {
        (
            "rest.TbRestApiCallNode",
            json!({ "restEndpointUrlPattern": url, "requestMethod": "POST", "credentials": shown(authority) }),
        )
    };
    let nodes = [
        over_tls(&authority),
        over_tls(&stranger),
        by("MQTT_3_1", "secret"),
        by("MQTT_3_1_1", "secret"),
        by("MQTT_5", "secret"),
        by("MQTT_5", "wrong"),
        by("MQTT_3_1_1", "wrong"),
        call(&authority),
    ];
    draw(&fixture, &nodes);
    let oven = device(&fixture.tenant, "oven");
    say(&fixture, r#"{"t":20}"#);
    let published = |(topic, key, payload): (String, Option<String>, Value)| (topic, key.is_some(), payload);
    let mut heard: Vec<(String, bool, Value)> = (0..4).map(|_| published(subscriber.published())).collect();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    // MQTT 5 has a place for the idempotency key.
    let all = [("plain/MQTT_3_1", false), ("plain/MQTT_3_1_1", false), ("plain/MQTT_5", true), ("tls", true)];
    assert_eq!(heard, all.map(|(topic, has_key)| (topic.to_owned(), has_key, json!({ "t": 20 }))));
    let called = outside.event("call");
    assert_eq!((&called["body"], &called["peer"]), (&json!(r#"{"t":20}"#), &json!("tidegate")));
    let failed = |number: usize| {
        eventually(&format!("node {number} failed"), || latest_value(&fixture.tenant, &oven.id, &format!("failed{number}")))
    };
    assert_eq!(failed(1), "TLS with localhost: invalid peer certificate: UnknownIssuer");
    assert_eq!(failed(5), "the broker refuses the connection: code 0x87");
    assert_eq!(failed(6), "the broker refuses the connection: code 0x05");
    fixture.instance.stop();
}

#[test]
fn messages_reach_rabbitmq() {
    let fixture = Fixture::start();
    let rabbitmq = RabbitMq::start(&fixture.home);
    let mut consumer = Client::rabbitmq_client(&fixture.home, rabbitmq.address);
    consumer.event("listening");
    let to = |exchange: &str, routing_key: &str, more: Value| {
        let mut node = json!({ "exchangeNamePattern": exchange, "routingKeyPattern": routing_key, "messageProperties": null,
            "host": "localhost", "port": rabbitmq.address.port(), "virtualHost": "/", "username": "guest", "password": "guest",
            "automaticRecoveryEnabled": false, "connectionTimeout": 60000, "handshakeTimeout": 10000, "clientProperties": {} });
        node.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        ("rabbitmq.TbRabbitMqNode", node)
    };
    let nodes = [
        to("plant", "oven", json!({ "messageProperties": "PERSISTENT_TEXT_PLAIN", "clientProperties": { "of": "a test" } })),
        to("plant", "nobody", json!({})),
        to("${deviceName}", "oven", json!({})),
        to("plant", "oven", json!({ "password": "wrong" })),
        to("plant", "oven", json!({ "virtualHost": "elsewhere" })),
        to("", "small", json!({})),
    ];
    draw(&fixture, &nodes);
    let oven = device(&fixture.tenant, "oven");
    // Not before the tenant's profile says so.
    say(&fixture, r#"{"t":1}"#);
    fixture.instance.metric_reaches("tidegate_calls_failed_total", 6.0);
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    say(&fixture, r#"{"t":20}"#);
    let message = consumer.event("message");
    assert_eq!((&message["exchange"], &message["body"]), (&json!("plant"), &json!(r#"{"t":20}"#)));
    assert_eq!((&message["kind"], &message["mode"], &message["priority"]), (&json!("text/plain"), &json!(2), &json!(0)));
    assert!(message["id"].is_string() && message["id"] == message["key"], "the key is its id and a header: {message}");
    let failed = |number: usize, reason: &str| {
        let what = format!("node {number} fails: {reason}");
        eventually(&what, || {
            latest_value(&fixture.tenant, &oven.id, &format!("failed{number}")).filter(|error| error.starts_with(reason))
        });
    };
    failed(1, "the broker returns the message: 312 NO_ROUTE");
    failed(2, "the broker closes the channel: 404 NOT_FOUND - no exchange 'device oven'");
    failed(3, "the broker closes the connection: 403 ACCESS_REFUSED");
    failed(4, "the broker closes the connection: 530 NOT_ALLOWED");
    // A queue that is full refuses, and the message is there when it is not.
    fixture.instance.metric_reaches("tidegate_calls_retried_total", 1.0);
    consumer.send(&json!({ "do": "empty" }));
    let message = consumer.event("message");
    assert_eq!((&message["routing_key"], &message["body"]), (&json!("small"), &json!(r#"{"t":20}"#)));
    fixture.instance.stop();
}

#[test]
fn messages_reach_nats_and_its_streams() {
    let fixture = Fixture::start();
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    let address = port::reserve();
    let _server = Client::nats_server(&fixture.home, address);
    let mut listener = Client::nats_client(&fixture.home, address);
    listener.event("listening");
    let to = |subject: &str, jet_stream: bool, password: &str| {
        let credentials = json!({ "type": "basic", "username": "plant", "password": password });
        let node = json!({ "subjectPattern": subject, "host": "localhost", "port": address.port(), "connectTimeoutSec": 5,
            "credentials": credentials, "jetStream": jet_stream, "parseToPlainText": false });
        ("nats.TbNatsNode", node)
    };
    let nodes = [
        to("plant.said.$[t]", false, "secret"),
        to("plant.kept.t", true, "secret"),
        to("secret.t", false, "secret"),
        to("plant.said.t", false, "wrong"),
    ];
    let mut drawn = draw_nodes(&nodes);
    // Where its stream has it is in the metadata.
    let place = "return {msg: {stream: metadata.stream, sequence: metadata.sequence}, metadata: {}, msgType: msgType};";
    let (nodes, edges) = &mut drawn;
    let (transform, at) = (("transform.TbTransformMsgNode", json!({ "scriptLang": "TBEL", "tbelScript": place })), nodes.len());
    nodes.extend([transform, ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 }))]);
    edges.extend([(4, "Success", at), (at, "Success", at + 1)]);
    draw_root(&fixture.tenant, nodes, edges);
    let oven = device(&fixture.tenant, "oven");
    say(&fixture, r#"{"t":20}"#);
    let mut heard = [listener.event("message"), listener.event("message")];
    heard.sort_by_key(|message| message["subject"].to_string());
    assert_eq!(heard.each_ref().map(|message| message["subject"].clone()), ["plant.kept.t", "plant.said.20"]);
    assert!(heard.iter().all(|message| message["body"] == r#"{"t":20}"# && message["key"].is_string()), "{heard:?}");
    let latest = |key: &str| eventually(key, || latest_value(&fixture.tenant, &oven.id, key));
    assert_eq!((latest("stream").as_str(), latest("sequence").as_str()), ("PLANT", "1"));
    assert_eq!(latest("failed2"), "the server says: Permissions Violation for Publish to \"secret.t\"");
    assert_eq!(latest("failed3"), "the server says: Authorization Violation");
    fixture.instance.stop();
}
