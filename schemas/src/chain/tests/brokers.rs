//! Configurations of the nodes that publish to brokers: taken, or refused with every problem named.

use serde_json::{Value, json};

use super::{chain, check, node};

#[test]
fn configurations_of_the_mqtt_node() {
    let one = |configuration, problems: &[&str]| check(&chain(vec![node("mqtt.TbMqttNode", configuration)], vec![]), problems);
    let mqtt = |more: Value| {
        let mut fields = json!({ "topicPattern": "t", "host": "h", "ssl": true });
        fields.as_object_mut().expect("it was made an object").extend(more.as_object().expect("fields").clone());
        fields
    };
    let (certificate, key) = ("-----BEGIN CERTIFICATE-----\n…", "-----BEGIN EC PRIVATE KEY-----\n…");
    let shown = |fields: Value| mqtt(json!({ "credentials": fields }));
    for fine in [
        mqtt(json!({ "protocolVersion": "MQTT_5" })),
        mqtt(json!({ "credentials": { "type": "anonymous" } })),
        shown(json!({ "type": "cert.PEM", "caCert": certificate })),
        shown(json!({ "type": "cert.PEM", "caCert": null, "cert": certificate, "privateKey": key, "password": "" })),
    ] {
        one(fine, &[]);
    }
    for (wrong, problems) in [
        (
            mqtt(json!({ "protocolVersion": "MQTT_6" })),
            &["protocolVersion: \"MQTT_6\": expected MQTT_3_1, MQTT_3_1_1 or MQTT_5"][..],
        ),
        (shown(json!({ "type": "sas" })), &["credentials.type: sas is not supported"]),
        (shown(json!({ "type": "basic" })), &["credentials: expected username and password"]),
        (shown(json!({ "type": "cert.PEM" })), &["credentials: expected caCert, or cert and privateKey"]),
        (
            shown(json!({ "type": "cert.PEM", "caCert": "x", "cert": certificate })),
            &["credentials.caCert: expected CERTIFICATE as PEM", "credentials: cert and privateKey belong together"],
        ),
        (
            shown(json!({ "type": "cert.PEM", "cert": certificate, "privateKey": "-----BEGIN ENCRYPTED PRIVATE KEY-----" })),
            &["credentials.privateKey: an encrypted key is not supported yet"],
        ),
        (
            mqtt(json!({ "ssl": false, "credentials": { "type": "cert.PEM", "caCert": certificate } })),
            &["credentials.type: cert.PEM needs ssl: true"],
        ),
    ] {
        let problems: Vec<String> = problems.iter().map(|rule| format!("nodes[0].configuration.{rule}")).collect();
        one(wrong, &problems.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn configurations_of_the_rabbitmq_and_nats_nodes() {
    let one = |class, configuration, problems: &[&str]| check(&chain(vec![node(class, configuration)], vec![]), problems);
    let certificate = "-----BEGIN CERTIFICATE-----\n…";
    one("rabbitmq.TbRabbitMqNode", json!({ "host": "h", "messageProperties": null, "clientProperties": {} }), &[]);
    one(
        "rabbitmq.TbRabbitMqNode",
        json!({ "messageProperties": "FANCY", "virtualHost": "v".repeat(256), "clientProperties": { "a": 1 } }),
        &[
            "nodes[0].configuration.messageProperties: \"FANCY\": expected BASIC, TEXT_PLAIN",
            "nodes[0].configuration.host: missing",
            "nodes[0].configuration.virtualHost: expected at most 255 bytes",
            "nodes[0].configuration.clientProperties: expected an object of at most 64 names",
        ],
    );
    one("nats.TbNatsNode", json!({ "subjectPattern": "a", "host": "h", "jetStream": true }), &[]);
    one(
        "nats.TbNatsNode",
        json!({ "host": "h", "ssl": true, "credentials": { "type": "cert.PEM", "caCert": certificate } }),
        &[
            "nodes[0].configuration.ssl: true: TLS is not supported yet",
            "nodes[0].configuration.subjectPattern: missing",
            "nodes[0].configuration.credentials.type: cert.PEM: TLS is not supported yet",
        ],
    );
}
