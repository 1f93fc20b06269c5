//! What a device profile says about the wire (reference 1.1): topics of its own.

use serde_json::json;
use tests::harness::fixture::{Device, Fixture, attributes, device_with, latest_value, profile, share};
use tests::harness::mqtt::{Connect, V5, Wire};
use tests::harness::python::{Client, Publication, mosquitto_pub};

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
