//! Chains that call outside, with servers that are not ours: an HTTP server, Mosquitto and an SMTP sink. What is answered goes on in the
//! chain; what may not be called is not. Never asserts how long a call takes.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device, latest_value, limit_tenants, root_chain, sysadmin};
use tests::harness::instance::drivers;
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;
use tests::harness::rest::Rest;

/// Saves a root chain of nodes (class, configuration) and edges (from, label, to).
fn draw(rest: &Rest, nodes: &[(&str, Value)], edges: &[(usize, &str, usize)]) {
    let node = |(index, (class, configuration)): (usize, &(&str, Value))| {
        json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": format!("{index} {class}"), "configuration": configuration,
            "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let chain = json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": root_chain(rest) }, "firstNodeIndex": 0,
        "nodes": nodes.iter().enumerate().map(node).collect::<Vec<_>>(), "connections": edges.iter().map(edge).collect::<Vec<_>>() });
    let reply = rest.post("/api/ruleChain/metadata", &chain);
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    let _saved = reply.json();
}

const TYPES: &str = "filter.TbMsgTypeSwitchNode";
const REST_CALL: &str = "rest.TbRestApiCallNode";
const SAVE: &str = "telemetry.TbMsgTimeseriesNode";

fn rest_call(port: &Value, path: &str) -> (&'static str, Value) {
    let url = format!("http://localhost:{port}/{path}");
    (REST_CALL, json!({ "restEndpointUrlPattern": url, "requestMethod": "POST", "headers": { "X-Kind": "${deviceType}" } }))
}

fn say(fixture: &Fixture, token: &str, payload: &str) {
    assert_eq!(Wire::session(fixture.instance.mqtt(), token).telemetry(1, payload), 0);
}

#[test]
fn calls_go_out_and_their_answers_come_back() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let mut outside = Client::outside(&fixture.home, 0);
        let port = outside.event("listening")["http"].clone();
        let reply = ("rpc.TbSendRPCReplyNode", json!({}));
        let nodes = [
            (TYPES, json!({})),
            rest_call(&port, "busy/${deviceName}"),
            (SAVE, json!({ "defaultTTL": 0 })),
            rest_call(&port, "asked"),
            reply,
        ];
        draw(
            &fixture.tenant,
            &nodes,
            &[(0, "Post telemetry", 1), (1, "Success", 2), (0, "RPC Request from Device", 3), (3, "Success", 4)],
        );
        let pump = device(&fixture.tenant, "pump");
        // Nobody may call this machine before the tenant's profile says so; the device is acknowledged all the same.
        say(&fixture, "pump", r#"{"n":1}"#);
        fixture.instance.metric_reaches("tidegate_calls_failed_total", 1.0);
        limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
        say(&fixture, "pump", r#"{"n":7}"#);
        let calls: Vec<Value> = (0..3).map(|_| outside.event("call")).collect();
        for call in &calls {
            assert_eq!((&call["body"], &call["key"]), (&json!(r#"{"n":7}"#), &calls[0]["key"]), "the same call, made again");
            assert_eq!((&call["path"], &call["kind"]), (&json!("/busy/device%20pump"), &json!("default")));
        }
        let answered = eventually("the answer is stored", || latest_value(&fixture.tenant, &pump.id, "answer"));
        assert_eq!(answered, "70");
        // A device's call, answered by what the outside says.
        let asked = Rest::new(fixture.instance.device_http());
        let answer = asked.post("/api/v1/pump/rpc", &json!({ "method": "m", "params": 1, "n": 4 })).json();
        assert_eq!(answer, json!({ "answer": 40 }));
        fixture.instance.stop();
    }
}

#[test]
fn messages_reach_another_broker_and_a_mailbox() {
    let fixture = Fixture::start();
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    let mut outside = Client::outside_with_smtp(&fixture.home);
    let ports = outside.event("listening");
    let broker: SocketAddr = port::reserve();
    let _mosquitto = Client::mosquitto(&fixture.home, broker);
    let mut subscriber = Client::mosquitto_sub(&fixture.home, broker, "anybody", "plant/#");
    let hot = json!({ "scriptLang": "TBEL", "tbelScript": "return msg.t > 50;", "jsScript": "" });
    let email = json!({ "fromTemplate": "plant@example.org", "toTemplate": "ops@example.org", "subjectTemplate": "${deviceName} is hot",
        "bodyTemplate": "It has $[t] degrees.", "mailBodyType": "false" });
    let mailer = json!({ "useSystemSmtpSettings": false, "smtpProtocol": "smtp", "smtpHost": "127.0.0.1", "smtpPort": ports["smtp"],
        "timeout": 5000, "enableTls": false });
    let mqtt = json!({ "topicPattern": "plant/t", "host": "127.0.0.1", "port": broker.port(), "connectTimeoutSec": 5 });
    let nodes = [
        (TYPES, json!({})),
        ("mqtt.TbMqttNode", mqtt),
        (SAVE, json!({ "defaultTTL": 0 })),
        ("filter.TbJsFilterNode", hot),
        ("mail.TbMsgToEmailNode", email),
        ("mail.TbSendEmailNode", mailer),
    ];
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (0, "Post telemetry", 3), (3, "True", 4), (4, "Success", 5)];
    draw(&fixture.tenant, &nodes, &edges);
    let oven = device(&fixture.tenant, "oven");
    say(&fixture, "oven", r#"{"t":20}"#);
    say(&fixture, "oven", r#"{"t":60}"#);
    assert_eq!(
        [subscriber.message("plant/t"), subscriber.message("plant/t")],
        [json!({ "t": 20 }), json!({ "t": 60 })],
        "in order"
    );
    eventually("saved after its PUBACK", || (latest_value(&fixture.tenant, &oven.id, "t")? == "60").then_some(()));
    let mail = outside.event("mail");
    assert_eq!((&mail["to"], &mail["subject"]), (&json!(["ops@example.org"]), &json!("device oven is hot")));
    assert_eq!((&mail["body"], &mail["sender"]), (&json!("It has 60 degrees."), &json!("plant@example.org")));
    fixture.instance.stop();
}

/// The demo's administrator of the installation names a mail server; nodes that name none use it from then on.
#[test]
fn the_installation_has_a_mail_server() {
    let fixture = Fixture::start();
    let mut outside = Client::outside_with_smtp(&fixture.home);
    let ports = outside.event("listening");
    let email =
        json!({ "fromTemplate": "", "toTemplate": "ops@example.org", "subjectTemplate": "n is $[n]", "bodyTemplate": "n" });
    let nodes = [
        (TYPES, json!({})),
        ("mail.TbMsgToEmailNode", email),
        ("mail.TbSendEmailNode", json!({ "useSystemSmtpSettings": true })),
    ];
    draw(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
    let _device = device(&fixture.tenant, "pump");
    say(&fixture, "pump", r#"{"n":1}"#);
    fixture.instance.metric_reaches("tidegate_calls_failed_total", 1.0);

    let sysadmin = sysadmin(&fixture.instance);
    let settings = |value: Value| json!({ "key": "mail", "jsonValue": value });
    sysadmin.get("/api/admin/settings/mail").expect_error(404);
    fixture.tenant.get("/api/admin/settings/mail").expect_error(403);
    let wrong = settings(json!({ "smtpProtocol": "pigeon", "mailFrom": "plant@example.org" }));
    sysadmin.post("/api/admin/settings", &wrong).expect_error(400);
    let right = json!({ "mailFrom": "Plant <plant@example.org>", "smtpProtocol": "smtp", "smtpHost": "127.0.0.1",
        "smtpPort": ports["smtp"].to_string(), "timeout": "10000", "enableTls": false, "username": "", "password": "secret" });
    let saved = sysadmin.post("/api/admin/settings", &settings(right));
    assert_ne!(saved.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    assert!(saved.json()["jsonValue"].get("password").is_none(), "a password is never shown");
    say(&fixture, "pump", r#"{"n":2}"#);
    let mail = outside.event("mail");
    assert_eq!((&mail["subject"], &mail["sender"]), (&json!("n is 2"), &json!("plant@example.org")));
    fixture.instance.stop();
}
