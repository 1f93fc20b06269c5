//! Chains that call outside, with servers that are not ours: an HTTP server, Mosquitto and an SMTP sink. What is answered goes on in the
//! chain; what may not be called is not. Never asserts how long a call takes.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device, draw_root, latest_value, limit_tenants, root_chain, sysadmin};
use tests::harness::instance::drivers;
use tests::harness::kafka::{Kafka, header};
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;
use tests::harness::rest::Rest;

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
        draw_root(
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
    draw_root(&fixture.tenant, &nodes, &edges);
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

#[test]
fn calls_that_were_given_up_are_listed_and_made_once_more() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    let mut outside = Client::outside(&fixture.home, 0);
    let port = outside.event("listening")["http"].clone();
    let nodes = [(TYPES, json!({})), rest_call(&port, "refuse"), (SAVE, json!({ "defaultTTL": 0 }))];
    draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
    let (pump, valve) = (device(&fixture.tenant, "pump"), device(&fixture.tenant, "valve"));
    for (token, payload) in [("pump", r#"{"n":1}"#), ("pump", r#"{"n":2}"#), ("valve", r#"{"n":3}"#)] {
        say(&fixture, token, payload);
    }
    fixture.instance.metric_reaches("tidegate_calls_failed_total", 3.0);
    let refused: Vec<Value> = (0..3).map(|_| outside.event("call")).collect();
    const ALL: &str = "/api/tidegate/deadLetters";
    let list = |query: &str| fixture.tenant.get(&format!("{ALL}?pageSize=2&{query}")).json();
    let first = eventually("all three are listed", || Some(list("page=0")).filter(|page| page["totalElements"] == 3));
    let second = list("page=1");
    assert_eq!((first["data"].as_array().map(Vec::len), second["data"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert_eq!((&first["hasNext"], &second["hasNext"]), (&json!(true), &json!(false)));
    let of_pump = list(&format!("page=0&originatorId={}", pump.id));
    assert_eq!((&of_pump["totalElements"], &of_pump["data"][0]["originatorId"]), (&json!(2), &json!(pump.id)));
    let chain = root_chain(&fixture.tenant);
    assert_eq!(list(&format!("page=0&ruleChainId={chain}"))["totalElements"], 3);
    assert_eq!(list(&format!("page=0&ruleChainId={}", valve.id))["totalElements"], 0);
    // One of them, by the key that its target was shown, arrives when its target takes it.
    let mut metadata = fixture.tenant.get(&format!("/api/ruleChain/{chain}/metadata")).json();
    metadata["nodes"][1]["configuration"] = rest_call(&port, "taken").1;
    let _mended = fixture.tenant.post("/api/ruleChain/metadata", &metadata).json();
    let key = refused.iter().find(|call| call["body"] == r#"{"n":1}"#).expect("it was called")["key"].as_str().expect("a key");
    let one = fixture.tenant.get(&format!("{ALL}/{key}")).json();
    assert_eq!(
        (&one["data"], &one["originatorId"], &one["msgType"]),
        (&json!({ "n": 1 }), &json!(pump.id), &json!("POST_TELEMETRY_REQUEST"))
    );
    assert_eq!((&one["metadata"]["deviceName"], &one["error"]), (&json!("device pump"), &json!("the answer is 404 Not Found")));
    let redriven = fixture.tenant.post(&format!("{ALL}/{key}/redrive"), &json!({})).json();
    assert_eq!(redriven, json!({ "count": 1, "left": false }));
    let call = outside.event("call");
    assert_eq!((&call["path"], &call["key"], &call["body"]), (&json!("/taken"), &json!(key), &json!(r#"{"n":1}"#)));
    eventually("its answer is stored", || latest_value(&fixture.tenant, &pump.id, "answer"));
    assert_eq!(fixture.tenant.get(&format!("{ALL}/{key}")).status, 404);
    assert_eq!(fixture.tenant.post(&format!("{ALL}/{key}/redrive"), &json!({})).status, 404);
    // The rest, but for one that is forgotten.
    let of_pump = list(&format!("page=0&originatorId={}", pump.id));
    let forgotten = of_pump["data"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(fixture.tenant.delete(&format!("{ALL}/{forgotten}")).json()["count"], 1);
    assert_eq!(fixture.tenant.post(&format!("{ALL}/redrive"), &json!({})).json(), json!({ "count": 1, "left": false }));
    assert_eq!(outside.event("call")["body"], r#"{"n":3}"#);
    eventually("its answer is stored", || latest_value(&fixture.tenant, &valve.id, "answer"));
    assert_eq!(list("page=0")["totalElements"], 0);
    fixture.instance.stop();
}

#[test]
fn records_reach_a_kafka_cluster() {
    let fixture = Fixture::start();
    let kafka = Kafka::start(&fixture.home);
    let open = json!({ "topicPattern": "plant.t", "keyPattern": "${deviceName}", "bootstrapServers": kafka.open.to_string(),
        "retries": 1, "batchSize": 16384, "linger": 0, "bufferMemory": 33_554_432, "acks": "all", "otherProperties": {},
        "addMetadataKeyValuesAsKafkaHeaders": true, "kafkaHeadersCharset": "UTF-8" });
    let login = r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="plant" password="secret";"#;
    let guarded = json!({ "topicPattern": "plant.hot", "bootstrapServers": kafka.guarded.to_string(), "acks": "-1", "retries": 3,
        "otherProperties": { "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": login,
            "compression.type": "lz4", "enable.idempotence": "true" } });
    let place = json!({ "scriptLang": "TBEL", "tbelScript":
        "return {msg: {offset: metadata.offset, partition: metadata.partition, topic: metadata.topic}, metadata: {}, msgType: msgType};" });
    let nodes = [
        (TYPES, json!({})),
        ("kafka.TbKafkaNode", open),
        ("transform.TbTransformMsgNode", place),
        (SAVE, json!({ "defaultTTL": 0 })),
        ("kafka.TbKafkaNode", guarded),
    ];
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (0, "Post telemetry", 4)];
    draw_root(&fixture.tenant, &nodes, &edges);
    let oven = device(&fixture.tenant, "oven");
    // Not before the tenant's profile says so: the cluster itself says where its brokers are.
    say(&fixture, "oven", r#"{"t":1}"#);
    fixture.instance.metric_reaches("tidegate_calls_failed_total", 2.0);
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    for payload in [r#"{"t":20}"#, r#"{"t":60}"#] {
        say(&fixture, "oven", payload);
    }
    let records = kafka.records("plant.t", 2);
    let said = |record: &Value| (record["key"].clone(), record["payload"].clone(), record["offset"].clone());
    assert_eq!(said(&records[0]), (json!("device oven"), json!(r#"{"t":20}"#), json!(0)), "in order");
    assert_eq!(said(&records[1]), (json!("device oven"), json!(r#"{"t":60}"#), json!(1)));
    assert_eq!(header(&records[0], "tb_msg_md_deviceType"), Some("default"));
    let keys = [header(&records[0], "idempotency-key"), header(&records[1], "idempotency-key")];
    assert!(keys[0].is_some() && keys[0] != keys[1], "{keys:?}");
    let latest = |key: &str| latest_value(&fixture.tenant, &oven.id, key);
    eventually("the second one's place is stored", || latest("offset").filter(|offset| offset == "1"));
    assert_eq!((latest("partition").as_deref(), latest("topic").as_deref()), (Some("0"), Some("plant.t")));
    assert_eq!(kafka.records("plant.hot", 2)[1]["payload"], r#"{"t":60}"#);
    fixture.instance.stop();
}

#[test]
fn messages_reach_slack_where_the_settings_say_it_is() {
    let address: SocketAddr = port::reserve();
    let fixture = Fixture::with(|setup| setup.with("TIDEGATE_OUTSIDE_SLACK_URL", format!("http://{address}")));
    let mut outside = Client::outside(&fixture.home, address.port());
    outside.event("listening");
    let slack = |channel: &str| {
        let conversation = json!({ "@type": "SLACK", "type": "PUBLIC_CHANNEL", "id": channel, "name": "ops" });
        let message = json!({ "useSystemSettings": false, "botToken": "xoxb-1", "conversationType": "PUBLIC_CHANNEL",
            "conversation": conversation, "messageTemplate": "${deviceName} has $[t] degrees" });
        ("notification.TbSlackNode", message)
    };
    let failed = json!({ "scriptLang": "TBEL",
        "tbelScript": "return {msg: {error: metadata.error}, metadata: {}, msgType: msgType};" });
    let nodes = [
        (TYPES, json!({})),
        slack("C1"),
        (SAVE, json!({ "defaultTTL": 0 })),
        slack("C2"),
        ("transform.TbTransformMsgNode", failed),
        (SAVE, json!({ "defaultTTL": 0 })),
    ];
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (0, "Post telemetry", 3), (3, "Failure", 4), (4, "Success", 5)];
    draw_root(&fixture.tenant, &nodes, &edges);
    let oven = device(&fixture.tenant, "oven");
    say(&fixture, "oven", r#"{"t":60}"#);
    let (one, other) = (outside.event("slack"), outside.event("slack"));
    for said in [&one, &other] {
        assert_eq!((&said["message"]["text"], &said["token"]), (&json!("device oven has 60 degrees"), &json!("Bearer xoxb-1")));
    }
    eventually("saved after it was posted", || latest_value(&fixture.tenant, &oven.id, "t").filter(|t| t == "60"));
    let error = eventually("the other one's refusal is saved", || latest_value(&fixture.tenant, &oven.id, "error"));
    assert_eq!(error, "Slack: channel_not_found");
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
    draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
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
