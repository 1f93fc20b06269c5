//! What a device profile says of MQTT: topics and payloads of its devices. Of other transports nothing is known here; what is
//! said of them is kept. Schemas are compiled only to check them: what is pushed is their text, and the data plane compiles it by
//! the same code.

use schemas::{
    config::{NAME_BYTES_MAX, SCHEMA_BYTES_MAX},
    protobuf::{Payloads, Texts},
};
use serde_json::Value;

use crate::domain::Invalid;

/// ThingsBoard's `transportType` of which nothing is said.
pub const DEFAULT_TRANSPORT: &str = "DEFAULT";
pub(super) const MQTT_TRANSPORT: &str = "MQTT";
const TRANSPORT_CHARS_MAX: usize = 32;

/// ThingsBoard's `MqttDeviceProfileTransportConfiguration`. Empty topics: ThingsBoard's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MqttTransport {
    pub telemetry_topic: String,
    pub attributes_topic: String,
    pub attributes_subscribe_topic: String,
    pub payload: PayloadType,
    pub telemetry_schema: String,
    pub attributes_schema: String,
    pub rpc_request_schema: String,
    pub rpc_response_schema: String,
    pub json_compatible: bool,
    pub json_downlinks: bool,
}

/// ThingsBoard's `transportPayloadType`, and `FLATBUFFERS`, which is this platform's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadType {
    #[default]
    Json,
    Protobuf,
    FlatBuffers,
}

impl MqttTransport {
    /// Out of a profile's `transportConfiguration`.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn read(configuration: &Value) -> Result<Self, Invalid> {
        let payload = configuration.get("transportPayloadTypeConfiguration").unwrap_or(&Value::Null);
        let transport = Self {
            telemetry_topic: filter(configuration, "deviceTelemetryTopic")?,
            attributes_topic: filter(configuration, "deviceAttributesTopic")?,
            attributes_subscribe_topic: filter(configuration, "deviceAttributesSubscribeTopic")?,
            payload: payload_type(text(payload, "transportPayloadType")?)?,
            telemetry_schema: schema(payload, "deviceTelemetryProtoSchema")?,
            attributes_schema: schema(payload, "deviceAttributesProtoSchema")?,
            rpc_request_schema: schema(payload, "deviceRpcRequestProtoSchema")?,
            rpc_response_schema: schema(payload, "deviceRpcResponseProtoSchema")?,
            json_compatible: flag(payload, "enableCompatibilityWithJsonPayloadFormat")?,
            json_downlinks: flag(payload, "useJsonPayloadFormatForDefaultDownlinkTopics")?,
        };
        if !transport.telemetry_topic.is_empty() && transport.telemetry_topic == transport.attributes_topic {
            let rule = "must differ from deviceTelemetryTopic";
            return Err(Invalid::new("deviceAttributesTopic", &transport.attributes_topic, rule));
        }
        if transport.payload == PayloadType::Protobuf {
            transport.compiles()?;
        }
        Ok(transport)
    }

    /// Whether its schemas are such that data planes can read payloads by them. All that is wrong is said at once.
    fn compiles(&self) -> Result<(), Invalid> {
        let texts = Texts {
            telemetry: &self.telemetry_schema,
            attributes: &self.attributes_schema,
            rpc_request: &self.rpc_request_schema,
            rpc_response: &self.rpc_response_schema,
        };
        let Err(invalid) = Payloads::compile(&texts) else { return Ok(()) };
        let field = invalid.0.first().map_or("transportPayloadTypeConfiguration", |(field, _)| field);
        Err(Invalid::new(field, "", format!("must be a proto3 schema: {invalid}")))
    }
}

fn payload_type(name: &str) -> Result<PayloadType, Invalid> {
    match name {
        "" | "JSON" => Ok(PayloadType::Json),
        "PROTOBUF" => Ok(PayloadType::Protobuf),
        "FLATBUFFERS" => Ok(PayloadType::FlatBuffers),
        _ => Err(Invalid::new("transportPayloadType", name, "must be JSON, PROTOBUF or FLATBUFFERS")),
    }
}

/// A `transportType`: one this version knows or another, kept as data.
pub(super) fn transport_type(name: &str) -> Result<String, Invalid> {
    let shaped = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if name.is_empty() || name.len() > TRANSPORT_CHARS_MAX || !shaped {
        return Err(Invalid::new("transportType", name, "must be DEFAULT, MQTT or another transport's name in capitals"));
    }
    Ok(name.to_owned())
}

fn text<'a>(object: &'a Value, field: &'static str) -> Result<&'a str, Invalid> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Invalid::new(field, &other.to_string(), "must be text")),
    }
}

fn flag(object: &Value, field: &'static str) -> Result<bool, Invalid> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(Invalid::new(field, &other.to_string(), "must be true or false")),
    }
}

fn schema(object: &Value, field: &'static str) -> Result<String, Invalid> {
    let text = text(object, field)?;
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(Invalid::new(field, text, format!("must have at most {SCHEMA_BYTES_MAX} bytes, has {}", text.len())));
    }
    Ok(text.to_owned())
}

/// An MQTT topic filter (MQTT 5, 4.7), or nothing.
fn filter(object: &Value, field: &'static str) -> Result<String, Invalid> {
    let text = text(object, field)?;
    if text.len() > NAME_BYTES_MAX {
        return Err(Invalid::new(field, text, format!("must have at most {NAME_BYTES_MAX} bytes, has {}", text.len())));
    }
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    let whole = levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at == last,
        level => !level.contains(['+', '#']),
    });
    if !whole || text.chars().any(char::is_control) || text.starts_with('$') {
        let rule = "must be an MQTT topic filter: + and # are whole levels, # is the last";
        return Err(Invalid::new(field, text, rule));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(configuration: &Value, expected: Result<MqttTransport, &str>) {
        match (MqttTransport::read(configuration), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error} does not say {says}"),
            (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn a_whole_configuration_is_read() {
        check(&json!({"type": "MQTT"}), Ok(MqttTransport::default()));
        check(&json!(null), Ok(MqttTransport::default()));
        let full = json!({
            "type": "MQTT", "deviceTelemetryTopic": "a/+/t", "deviceAttributesTopic": "a/#", "sparkplug": false,
            "deviceAttributesSubscribeTopic": "#",
            "transportPayloadTypeConfiguration": {
                "transportPayloadType": "JSON", "deviceTelemetryProtoSchema": "syntax", "deviceAttributesProtoSchema": null,
                "deviceRpcRequestProtoSchema": "", "enableCompatibilityWithJsonPayloadFormat": true,
            },
        });
        let expected = MqttTransport {
            telemetry_topic: "a/+/t".to_owned(),
            attributes_topic: "a/#".to_owned(),
            attributes_subscribe_topic: "#".to_owned(),
            telemetry_schema: "syntax".to_owned(),
            json_compatible: true,
            ..MqttTransport::default()
        };
        check(&full, Ok(expected));
    }

    #[test]
    fn each_bad_field_is_named() {
        for topic in ["a#", "a/#/b", "a+/b", "a/b+", "#/", "a\u{0}b", "$SYS/x"] {
            check(&json!({"deviceTelemetryTopic": topic}), Err("deviceTelemetryTopic"));
        }
        check(&json!({"deviceAttributesTopic": "x".repeat(256)}), Err("at most 255 bytes, has 256"));
        check(&json!({"deviceAttributesSubscribeTopic": 7}), Err("deviceAttributesSubscribeTopic: \"7\" must be text"));
        check(&json!({"deviceTelemetryTopic": "a", "deviceAttributesTopic": "a"}), Err("must differ"));
        let payload = |field: &str, value: Value| json!({"transportPayloadTypeConfiguration": {field: value}});
        check(&payload("transportPayloadType", json!("XML")), Err("\"XML\" must be JSON, PROTOBUF or FLATBUFFERS"));
        check(&payload("deviceTelemetryProtoSchema", json!("x".repeat(65_537))), Err("at most 65536 bytes"));
        check(&payload("enableCompatibilityWithJsonPayloadFormat", json!("yes")), Err("must be true or false"));
        for name in ["", "mqtt", "A B", &"X".repeat(33)] {
            assert!(transport_type(name).is_err(), "{name}");
        }
        assert_eq!(transport_type("LWM2M").as_deref(), Ok("LWM2M"));
    }

    #[test]
    fn schemas_are_checked_where_they_count() {
        let good = "syntax = \"proto3\"; message A { int32 a = 1; }";
        let payload = |kind: &str, telemetry: &str, attributes: &str| {
            json!({"transportPayloadTypeConfiguration": {
                "transportPayloadType": kind, "deviceTelemetryProtoSchema": telemetry, "deviceAttributesProtoSchema": attributes }})
        };
        let expected = MqttTransport {
            payload: PayloadType::Protobuf,
            telemetry_schema: good.to_owned(),
            attributes_schema: good.to_owned(),
            ..MqttTransport::default()
        };
        check(&payload("PROTOBUF", good, good), Ok(expected));
        check(&payload("PROTOBUF", good, ""), Err("deviceAttributesProtoSchema: \"\" must be a proto3 schema"));
        let bad = "syntax = \"proto3\";\nmessage A {\n int32 a = 1;\n Foo b = 1;\n}";
        for says in [
            "deviceTelemetryProtoSchema: line 4: A.b: the number 1 is that of a",
            "line 4: A.b: Foo is no type of this file",
            "deviceAttributesProtoSchema: line 1: the file: must begin with",
        ] {
            check(&payload("PROTOBUF", bad, "nonsense"), Err(says));
        }
        let mut calls = payload("PROTOBUF", good, good);
        calls["transportPayloadTypeConfiguration"]["deviceRpcRequestProtoSchema"] = json!(good);
        check(&calls, Err("deviceRpcRequestProtoSchema: line 1: A.method: a field method must be there"));
        assert!(MqttTransport::read(&payload("JSON", bad, "nonsense")).is_ok(), "kept, and not used");
    }
}
