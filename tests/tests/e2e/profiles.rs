//! What a device profile says about the wire (reference 1.1): topics of its own, protobuf payloads by its schemas. Bytes are
//! written here by hand or come from paho; never by the product's own encoder.

use serde_json::json;
use tests::harness::fixture::{Device, Fixture, attributes, device_with, latest_value, profile, share};
use tests::harness::mqtt::{Connect, V5, Wire};
use tests::harness::python::{Client, Publication, mosquitto_pub};

const SCHEMA: &str = r#"syntax = "proto3";
package fleet;
message Reading {
  int64 serial = 1;
  double temperature = 2;
  string place = 3;
  bool on = 4;
  Motor motor = 5;
  message Motor { int32 rpm = 1; }
}"#;
const RPC_REQUEST: &str = r#"syntax = "proto3";
package rpc;
message RpcRequestMsg { optional string method = 1; optional int32 requestId = 2; optional string params = 3; }"#;
const RPC_RESPONSE: &str = r#"syntax = "proto3";
package rpc;
message RpcResponseMsg { optional string payload = 1; }"#;

/// A device of a profile with this MQTT transport configuration.
fn device_of(fixture: &Fixture, name: &str, transport: &serde_json::Value) -> Device {
    let mut configuration = json!({ "type": "MQTT" });
    let fields = transport.as_object().expect("fields are an object").clone();
    configuration.as_object_mut().expect("it was made an object").extend(fields);
    let fields = json!({ "name": name, "transportType": "MQTT",
        "profileData": { "configuration": { "type": "DEFAULT" }, "transportConfiguration": configuration } });
    let _profile = profile(&fixture.tenant, &fields);
    device_with(&fixture.tenant, &format!("of-{name}"), &json!({ "type": name }))
}

#[test]
fn a_profile_has_topics_of_its_own() {
    let fixture = Fixture::start();
    let transport = json!({ "deviceTelemetryTopic": "plant/+/readings", "deviceAttributesTopic": "plant/facts",
        "deviceAttributesSubscribeTopic": "plant/orders", "transportPayloadTypeConfiguration": { "transportPayloadType": "JSON" } });
    let device = device_of(&fixture, "topics", &transport);
    let publish = |topic: &str, payload: &str| {
        let publication = Publication { token: &device.token, topic, payload, qos: 1, version: "mqttv5" };
        let (succeeded, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
        assert!(succeeded, "{topic}: {said}");
    };
    publish("plant/7/readings", r#"{"own":1}"#);
    publish("v1/devices/me/telemetry", r#"{"usual":1}"#);
    publish("plant/facts", r#"{"serial":"S"}"#);
    for key in ["own", "usual"] {
        assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), Some("1"), "{key}");
    }
    assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["serial"], "S");
    let mut orders = Client::mosquitto_sub(&fixture.home, fixture.instance.mqtt(), &device.token, "plant/orders");
    share(&fixture.tenant, &device.id, &json!({ "target": 3 }));
    assert_eq!(orders.message("plant/orders"), json!({ "target": 3 }));
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(V5));
    assert_eq!(wire.acknowledged("plant/7/other", 1, "{}"), 0x90, "Topic Name invalid");
    assert_eq!(wire.subscribe("plant/#", 2), 0x8f, "Topic Filter invalid");
    fixture.instance.stop();
}

/// A protobuf field: `wire` is 0 (varint), 1 (64 bit) or 2 (length and bytes).
fn field(number: u8, wire: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | wire];
    if wire == 2 {
        field.push(u8::try_from(bytes.len()).expect("short"));
    }
    field.extend(bytes);
    field
}

/// `{"serial":300,"temperature":21.5,"place":"hall","on":true,"motor":{"rpm":7}}`.
fn reading() -> Vec<u8> {
    let motor = field(5, 2, &field(1, 0, &[7]));
    [field(1, 0, &[0xac, 0x02]), field(2, 1, &21.5_f64.to_le_bytes()), field(3, 2, b"hall"), field(4, 0, &[1]), motor].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn payloads_may_be_protobuf() {
    let fixture = Fixture::start();
    let payloads = json!({ "transportPayloadType": "PROTOBUF", "deviceTelemetryProtoSchema": SCHEMA,
        "deviceAttributesProtoSchema": SCHEMA, "deviceRpcRequestProtoSchema": RPC_REQUEST,
        "deviceRpcResponseProtoSchema": RPC_RESPONSE, "enableCompatibilityWithJsonPayloadFormat": false,
        "useJsonPayloadFormatForDefaultDownlinkTopics": false });
    let device = device_of(&fixture, "proto", &json!({ "transportPayloadTypeConfiguration": payloads }));
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, 5);
    assert_eq!(paho.event("connected")["code"], 0);
    let mut publish = |topic: &str, bytes: &[u8]| {
        paho.ask(&json!({ "do": "publish", "topic": topic, "hex": hex(bytes) }), "published")["code"].clone()
    };
    for topic in ["v1/devices/me/telemetry", "v2/t", "v2/t/p"] {
        assert_eq!(publish(topic, &reading()), 0, "{topic}");
        for (key, value) in [("serial", "300"), ("temperature", "21.5"), ("place", "hall"), ("on", "true")] {
            assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), Some(value), "{topic} {key}");
        }
        let motor = latest_value(&fixture.tenant, &device.id, "motor").expect("a message is JSON");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&motor).expect("JSON"), json!({ "rpm": 7 }));
    }
    for topic in ["v1/devices/me/attributes", "v2/a", "v2/a/p"] {
        assert_eq!(publish(topic, &reading()), 0, "{topic}");
        assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["place"], "hall", "{topic}");
    }
    assert_eq!(publish("v2/t/j", br#"{"json":1}"#), 0, "a suffix says otherwise");
    assert_eq!(latest_value(&fixture.tenant, &device.id, "json").as_deref(), Some("1"));
    for (topic, bytes) in [("v2/t/p", &b"\xff\xff"[..]), ("v1/devices/me/telemetry", br#"{"json":2}"#), ("v2/t/j", &reading())] {
        assert_eq!(publish(topic, bytes), 0x99, "{topic}: Payload format invalid");
    }
    check_protobuf_calls(&fixture, &device, &mut paho);
    fixture.instance.stop();
}

fn check_protobuf_calls(fixture: &Fixture, device: &Device, paho: &mut Client) {
    assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": "v2/r/req/p/+" }), "subscribed")["codes"], json!([1]));
    let (rest, path) = (fixture.tenant.clone(), format!("/api/rpc/twoway/{}", device.id));
    let call = std::thread::spawn(move || rest.post(&path, &json!({ "method": "set", "params": 5, "timeout": 50_000 })));
    let request = paho.event("message");
    let text = request["hex"].as_str().expect("bytes");
    assert!(text.starts_with(&hex(&field(1, 2, b"set"))), "the method comes first: {text}");
    assert!(text.contains(&hex(&field(3, 2, b"5"))), "the params are text: {text}");
    let topic = request["topic"].as_str().expect("a topic").replace("/req/", "/res/");
    paho.ask(&json!({ "do": "publish", "topic": topic, "hex": hex(&field(1, 2, br#"{"ok":1}"#)) }), "published");
    let answer = call.join().expect("the call ends").expect_text(200);
    assert!(answer.contains("ok"), "the payload of the answer: {answer}");
}

#[test]
fn a_profile_that_cannot_be_is_refused() {
    let fixture = Fixture::start();
    let wrong = [
        json!({ "deviceTelemetryTopic": "a/#/b" }),
        json!({ "transportPayloadTypeConfiguration": { "transportPayloadType": "PROTOBUF", "deviceTelemetryProtoSchema": "nonsense" } }),
    ];
    for transport in wrong {
        let mut configuration = json!({ "type": "MQTT" });
        configuration.as_object_mut().expect("an object").extend(transport.as_object().expect("an object").clone());
        let body = json!({ "name": "wrong", "type": "DEFAULT", "transportType": "MQTT", "provisionType": "DISABLED",
            "profileData": { "configuration": { "type": "DEFAULT" }, "transportConfiguration": configuration } });
        let reply = fixture.tenant.post("/api/deviceProfile", &body);
        assert_eq!(reply.status, 400, "{transport}: {}", reply.text);
    }
    fixture.instance.stop();
}
