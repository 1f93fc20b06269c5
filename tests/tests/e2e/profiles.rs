//! What a device profile says about the wire (reference 1.1): topics of its own, and payloads in protobuf and FlatBuffers, which
//! the official libraries write.

use serde_json::{Value, json};
use std::thread::JoinHandle;
use tests::harness::fixture::{Device, Fixture, attributes, device_with, latest, latest_value, profile, share};
use tests::harness::mqtt::{Connect, V5, Wire};
use tests::harness::python::{Client, Publication, encoded, mosquitto_pub};
use tests::harness::rest::Reply;

/// MQTT 5's word for a payload that is not what it should be.
const PAYLOAD_FORMAT_INVALID: i64 = 0x99;
/// The messages of `encode.py`.
const SENSOR: &str = r#"syntax = "proto3";
package plant;
enum Mode { OFF = 0; ON = 1; }
message Place { int64 floor = 1; string room_name = 2; }
message Sensor {
  optional double temperature = 1;
  float battery_level = 2;
  string serial = 3;
  uint64 total = 4;
  Mode mode = 5;
  Place place = 6;
  repeated sint32 samples = 7;
  map<string, int64> counters = 8;
}"#;

/// A device of a profile with this MQTT transport configuration.
fn device_of(fixture: &Fixture, name: &str, transport: &Value) -> Device {
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

/// The profile's payloads: protobuf of [`SENSOR`].
fn protobuf(more: &Value) -> Value {
    let mut payload = json!({ "transportPayloadType": "PROTOBUF", "deviceTelemetryProtoSchema": SENSOR,
        "deviceAttributesProtoSchema": SENSOR });
    payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    payload
}

/// Publishes bytes by paho; the reason code of the acknowledgement.
fn publish(paho: &mut Client, topic: &str, hex: &str) -> i64 {
    let command = json!({ "do": "publish", "topic": topic, "hex": hex });
    paho.ask(&command, "published")["code"].as_i64().expect("a code")
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn connected(fixture: &Fixture, device: &Device) -> Client {
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, 5);
    assert_eq!(paho.event("connected")["code"], 0);
    paho
}

/// Calls a device in the background.
fn call(fixture: &Fixture, device: &Device, params: Value) -> JoinHandle<Reply> {
    let (rest, path) = (fixture.tenant.clone(), format!("/api/rpc/twoway/{}", device.id));
    std::thread::spawn(move || rest.post(&path, &json!({ "method": "turn", "params": params, "timeout": 50_000 })))
}

/// The next call that the device hears: its topic's number and its bytes.
fn heard(paho: &mut Client) -> (String, String) {
    let message = paho.event("message");
    let number = message["topic"].as_str().and_then(|topic| topic.rsplit('/').next()).expect("a topic").to_owned();
    (number, message["hex"].as_str().expect("bytes").to_owned())
}

#[test]
fn a_profile_has_protobuf_payloads() {
    let fixture = Fixture::start();
    let transport = json!({ "deviceTelemetryTopic": "plant/+", "transportPayloadTypeConfiguration": protobuf(&json!({})) });
    let device = device_of(&fixture, "protobuf", &transport);
    let mut paho = connected(&fixture, &device);
    let reading = json!({ "temperature": 21.5, "batteryLevel": 0.1, "serial": "A-7", "total": "18446744073709551615", "mode": "ON",
        "place": { "floor": "-2", "roomName": "x" }, "samples": [-1, 300], "counters": { "a": "1" } });
    assert_eq!(publish(&mut paho, "v1/devices/me/telemetry", &encoded("sensor", &reading)), 0);
    let stored = latest(&fixture.tenant, &device.id, "temperature,batteryLevel,serial,total,mode,place,samples,counters");
    for (key, value) in [
        ("temperature", "21.5"),
        ("batteryLevel", "0.1"),
        ("serial", "A-7"),
        ("total", "18446744073709551615"),
        ("mode", "ON"),
        ("place", r#"{"floor":"-2","roomName":"x"}"#),
        ("samples", "[-1,300]"),
        ("counters", r#"{"a":"1"}"#),
    ] {
        assert_eq!(stored[key][0]["value"], value, "{key}: {stored}");
    }
    for (number, topic) in ["plant/7", "v2/t", "v2/t/p"].into_iter().enumerate() {
        let temperature = json!({ "temperature": number + 1 });
        assert_eq!(publish(&mut paho, topic, &encoded("sensor", &temperature)), 0, "{topic}");
        let expected = format!("{}.0", number + 1);
        assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature"), Some(expected), "{topic}");
    }
    assert_eq!(publish(&mut paho, "v2/t/j", &hex(r#"{"temperature":9}"#)), 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("9"));
    for topic in ["v1/devices/me/telemetry", "v2/t", "v2/t/p", "plant/7", "v1/devices/me/attributes", "v2/a/p"] {
        assert_eq!(publish(&mut paho, topic, &hex(r#"{"temperature":7}"#)), PAYLOAD_FORMAT_INVALID, "{topic}");
        assert_eq!(publish(&mut paho, topic, "0901"), PAYLOAD_FORMAT_INVALID, "{topic}");
    }
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("9"));
    for topic in ["v1/devices/me/attributes", "v2/a/p"] {
        assert_eq!(publish(&mut paho, topic, &encoded("sensor", &json!({ "serial": topic }))), 0);
        assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["serial"], topic);
    }
    share(&fixture.tenant, &device.id, &json!({ "target": 3 }));
    let subscribe = json!({ "do": "subscribe", "topic": "v1/devices/me/attributes/response/+" });
    assert_eq!(paho.ask(&subscribe, "subscribed")["codes"], json!([1]));
    let asked = encoded("attributes_request", &json!({ "sharedKeys": "target" }));
    paho.send(&json!({ "do": "publish", "topic": "v1/devices/me/attributes/request/1", "hex": asked }));
    assert_eq!(paho.event("message")["payload"], json!({ "shared": { "target": 3 } }));
    fixture.instance.stop();
}

#[test]
fn calls_of_such_devices_are_protobuf() {
    let fixture = Fixture::start();
    let device = device_of(&fixture, "called", &json!({ "transportPayloadTypeConfiguration": protobuf(&json!({})) }));
    for (requests, responses) in [("v1/devices/me/rpc/request/+", "v1/devices/me/rpc/response"), ("v2/r/req/p/+", "v2/r/res/p")] {
        let mut paho = connected(&fixture, &device);
        assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": requests }), "subscribed")["codes"], json!([1]));
        let called = call(&fixture, &device, json!("left"));
        let (number, bytes) = heard(&mut paho);
        let id: i64 = number.parse().expect("a number");
        assert_eq!(bytes, encoded("rpc_request", &json!({ "method": "turn", "requestId": id, "params": "left" })));
        let topic = format!("{responses}/{number}");
        assert_eq!(publish(&mut paho, &topic, &hex("no protobuf")), PAYLOAD_FORMAT_INVALID);
        assert_eq!(publish(&mut paho, &topic, &encoded("rpc_response", &json!({ "payload": "turned" }))), 0);
        assert_eq!(called.join().expect("the call ends").json(), json!({ "payload": "turned" }));
    }
    // A topic that says JSON has JSON.
    let mut paho = connected(&fixture, &device);
    assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": "v2/r/req/j/+" }), "subscribed")["codes"], json!([1]));
    let called = call(&fixture, &device, json!({ "to": "left" }));
    let (number, bytes) = heard(&mut paho);
    assert_eq!(bytes, hex(r#"{"method":"turn","params":{"to":"left"}}"#));
    assert_eq!(publish(&mut paho, &format!("v2/r/res/j/{number}"), &hex(r#"{"done":true}"#)), 0);
    assert_eq!(called.join().expect("the call ends").json(), json!({ "done": true }));
    fixture.instance.stop();
}

#[test]
fn json_is_taken_too_where_the_profile_says_so() {
    let fixture = Fixture::start();
    let both = json!({ "enableCompatibilityWithJsonPayloadFormat": true, "useJsonPayloadFormatForDefaultDownlinkTopics": true });
    let device = device_of(&fixture, "both", &json!({ "transportPayloadTypeConfiguration": protobuf(&both) }));
    let mut paho = connected(&fixture, &device);
    assert_eq!(publish(&mut paho, "v1/devices/me/telemetry", &hex(r#"{"temperature":1}"#)), 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("1"));
    assert_eq!(publish(&mut paho, "v2/t", &encoded("sensor", &json!({ "temperature": 2.5 }))), 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("2.5"));
    assert_eq!(publish(&mut paho, "v2/t/p", &hex(r#"{"temperature":3}"#)), PAYLOAD_FORMAT_INVALID);
    assert_eq!(publish(&mut paho, "v1/devices/me/telemetry", &hex(r#"{"temperature""#)), PAYLOAD_FORMAT_INVALID);
    for (requests, in_json) in [("v1/devices/me/rpc/request/+", true), ("v2/r/req/+", false)] {
        let mut paho = connected(&fixture, &device);
        assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": requests }), "subscribed")["codes"], json!([1]));
        let called = call(&fixture, &device, json!("left"));
        let (number, bytes) = heard(&mut paho);
        assert_eq!(bytes.starts_with(&hex("{")), in_json, "{requests}");
        let answer = encoded("rpc_response", &json!({ "payload": "turned" }));
        assert_eq!(publish(&mut paho, &format!("v1/devices/me/rpc/response/{number}"), &answer), 0);
        assert_eq!(called.join().expect("the call ends").json(), json!({ "payload": "turned" }));
    }
    fixture.instance.stop();
}

#[test]
fn a_profile_has_flatbuffers_payloads() {
    let fixture = Fixture::start();
    let transport = json!({ "transportPayloadTypeConfiguration": { "transportPayloadType": "FLATBUFFERS" } });
    let device = device_of(&fixture, "flat", &transport);
    let mut paho = connected(&fixture, &device);
    let first = json!({ "temperature": 21.5, "total": i64::MIN, "open": true, "serial": "007", "place": { "floor": [1] } });
    let entries = json!([{ "ts": 1_700_000_000_000_i64, "values": { "temperature": 20.5 } }, { "values": first }]);
    assert_eq!(publish(&mut paho, "v1/devices/me/telemetry", &encoded("flat", &entries)), 0);
    let stored = latest(&fixture.tenant, &device.id, "temperature,total,open,serial,place");
    for (key, value) in [
        ("temperature", "21.5"),
        ("total", "-9223372036854775808"),
        ("open", "true"),
        ("serial", "007"),
        ("place", r#"{"floor":[1]}"#),
    ] {
        assert_eq!(stored[key][0]["value"], value, "{key}: {stored}");
    }
    assert_eq!(publish(&mut paho, "v2/a", &encoded("flat", &json!([{ "values": { "serial": "S" } }]))), 0);
    assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["serial"], "S");
    assert_eq!(publish(&mut paho, "v2/t/j", &hex(r#"{"temperature":9}"#)), 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("9"));
    for bytes in [hex(r#"{"temperature":7}"#), "ffffffff54475031".to_owned(), String::new()] {
        assert_eq!(publish(&mut paho, "v2/t", &bytes), PAYLOAD_FORMAT_INVALID, "{bytes}");
    }
    fixture.instance.stop();
}

#[test]
fn a_profile_that_cannot_be_is_refused() {
    let fixture = Fixture::start();
    let wrong = [
        json!({ "deviceTelemetryTopic": "a/#/b" }),
        json!({ "transportPayloadTypeConfiguration": { "transportPayloadType": "PROTOBUF", "deviceTelemetryProtoSchema": "nonsense" } }),
        json!({ "transportPayloadTypeConfiguration": protobuf(&json!({
            "deviceTelemetryProtoSchema": "syntax = \"proto3\";\nmessage A {\n  Unknown a = 1;\n}" })) }),
        json!({ "transportPayloadTypeConfiguration": { "transportPayloadType": "XML" } }),
    ];
    let says = ["deviceTelemetryTopic", "line 1: the file: must begin with", "line 3: A.a: Unknown is no type", "FLATBUFFERS"];
    for (transport, says) in wrong.into_iter().zip(says) {
        let mut configuration = json!({ "type": "MQTT" });
        configuration.as_object_mut().expect("an object").extend(transport.as_object().expect("an object").clone());
        let body = json!({ "name": "wrong", "type": "DEFAULT", "transportType": "MQTT", "provisionType": "DISABLED",
            "profileData": { "configuration": { "type": "DEFAULT" }, "transportConfiguration": configuration } });
        let reply = fixture.tenant.post("/api/deviceProfile", &body);
        assert_eq!(reply.status, 400, "{transport}: {}", reply.text);
        assert!(reply.text.contains(says), "{} does not say {says}", reply.text);
    }
    fixture.instance.stop();
}
