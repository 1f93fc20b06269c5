//! What a device profile says of MQTT: topics and payloads of its devices. Of other transports nothing is known here; what is
//! said of them is kept. Never opens a schema: that is the data plane's.

use schemas::config::{NAME_BYTES_MAX, SCHEMA_BYTES_MAX};
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
    pub telemetry_schema: String,
    pub attributes_schema: String,
    pub rpc_request_schema: String,
    pub rpc_response_schema: String,
    pub json_compatible: bool,
    pub json_downlinks: bool,
}

impl MqttTransport {
    /// Out of a profile's `transportConfiguration`.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn read(configuration: &Value) -> Result<Self, Invalid> {
        let payload = configuration.get("transportPayloadTypeConfiguration").unwrap_or(&Value::Null);
        let format = text(payload, "transportPayloadType")?;
        if !matches!(format, "" | "JSON") {
            return Err(Invalid::new("transportPayloadType", format, "must be JSON; this version reads no PROTOBUF"));
        }
        let transport = Self {
            telemetry_topic: filter(configuration, "deviceTelemetryTopic")?,
            attributes_topic: filter(configuration, "deviceAttributesTopic")?,
            attributes_subscribe_topic: filter(configuration, "deviceAttributesSubscribeTopic")?,
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
        Ok(transport)
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
        check(&payload("transportPayloadType", json!("XML")), Err("\"XML\" must be JSON"));
        check(&payload("transportPayloadType", json!("PROTOBUF")), Err("this version reads no PROTOBUF"));
        check(&payload("deviceTelemetryProtoSchema", json!("x".repeat(65_537))), Err("at most 65536 bytes"));
        check(&payload("enableCompatibilityWithJsonPayloadFormat", json!("yes")), Err("must be true or false"));
        for name in ["", "mqtt", "A B", &"X".repeat(33)] {
            assert!(transport_type(name).is_err(), "{name}");
        }
        assert_eq!(transport_type("LWM2M").as_deref(), Ok("LWM2M"));
    }
}
