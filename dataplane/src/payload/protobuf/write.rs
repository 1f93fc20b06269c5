//! JSON to a protobuf message: what a device is called with. Fields that the schema does not know are left out, as ThingsBoard does.
//! Not on the way of telemetry, so it may build a tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::protobuf::{Enum, Field, Kind, Label, Message, Schema};
use serde_json::Value;

use crate::payload::protobuf::scalar::is_packable;

/// A JSON value that is not what a field holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Unwritable {
    pub field: String,
    /// What was expected.
    pub what: &'static str,
}

/// Writes the message that is sent.
///
/// # Errors
/// [`Unwritable`] naming the first field whose value is not of its type.
pub fn write(schema: &Schema, json: &Value) -> Result<Vec<u8>, Unwritable> {
    let mut out = Vec::new();
    message(schema, schema.root(), json, &mut out)?;
    Ok(out)
}

fn message(schema: &Schema, message: &Message, json: &Value, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let refused = || Unwritable { field: message.name.clone(), what: "expected an object" };
    let members = json.as_object().ok_or_else(refused)?;
    for field in &message.fields {
        let said = members.get(&field.json).or_else(|| members.get(&field.name));
        let Some(value) = said.filter(|value| !value.is_null()) else { continue };
        let refuse = |what| Unwritable { field: format!("{}.{}", message.name, field.name), what };
        match (field.label, field.kind) {
            (Label::Map, Kind::Message(entry)) => {
                let members = value.as_object().ok_or_else(|| refuse("expected an object"))?;
                map(schema, field, schema.message(entry), members, out)?;
            }
            (Label::Repeated, kind) => {
                let values = value.as_array().ok_or_else(|| refuse("expected an array"))?;
                if is_packable(kind) {
                    let mut packed = Vec::new();
                    for value in values {
                        scalar(schema, kind, value, &mut packed).map_err(refuse)?;
                    }
                    bytes(field.number, &packed, out);
                } else {
                    for value in values {
                        single(schema, field, value, out).map_err(|error| error.unwrap_or_else(refuse))?;
                    }
                }
            }
            _ => single(schema, field, value, out).map_err(|error| error.unwrap_or_else(refuse))?,
        }
    }
    Ok(())
}

/// What is wrong with one value: said already, or by the field around it.
enum Refused {
    Inner(Unwritable),
    Here(&'static str),
}

impl Refused {
    fn unwrap_or_else(self, here: impl FnOnce(&'static str) -> Unwritable) -> Unwritable {
        match self {
            Self::Inner(inner) => inner,
            Self::Here(what) => here(what),
        }
    }
}

/// A field once, with its tag.
fn single(schema: &Schema, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), Refused> {
    match field.kind {
        Kind::Message(index) => {
            let mut inner = Vec::new();
            message(schema, schema.message(index), value, &mut inner).map_err(Refused::Inner)?;
            bytes(field.number, &inner, out);
        }
        Kind::Text => bytes(field.number, text(value).as_bytes(), out),
        Kind::Bytes => {
            let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            bytes(field.number, &decoded.ok_or(Refused::Here("expected base64"))?, out);
        }
        kind => {
            let wire = match kind {
                Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
                Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
                _ => 0,
            };
            tag(field.number, wire, out);
            scalar(schema, kind, value, out).map_err(Refused::Here)?;
        }
    }
    Ok(())
}

fn map(
    schema: &Schema,
    field: &Field,
    entry: &Message,
    members: &serde_json::Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    let [key_field, value_field] = entry.fields.as_slice() else { return Ok(()) };
    let refuse = |what| Unwritable { field: entry.name.clone(), what };
    for (key, value) in members {
        let mut inner = Vec::new();
        let key = match key_field.kind {
            Kind::Bool => Value::Bool(key == "true"),
            _ => Value::String(key.clone()),
        };
        single(schema, key_field, &key, &mut inner).map_err(|error| error.unwrap_or_else(refuse))?;
        single(schema, value_field, value, &mut inner).map_err(|error| error.unwrap_or_else(refuse))?;
        bytes(field.number, &inner, out);
    }
    Ok(())
}

/// A number, a bool or an enum, without a tag.
fn scalar(schema: &Schema, kind: Kind, value: &Value, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match kind {
        Kind::Double => out.extend(double(value).ok_or("expected a number")?.to_le_bytes()),
        Kind::Float => {
            let text = text(value);
            let number = text.parse::<f32>().ok().filter(|_| double(value).is_some());
            out.extend(number.ok_or("expected a number")?.to_le_bytes());
        }
        Kind::Bool => varint(u64::from(truth(value).ok_or("expected true or false")?), out),
        Kind::Enum(index) => varint(of_enum(schema.enumeration(index), value).ok_or("expected a value of the enum")?, out),
        Kind::Uint64 => varint(whole(value).ok_or("expected a number from 0 on")?, out),
        Kind::Fixed64 => out.extend(whole::<u64>(value).ok_or("expected a number from 0 on")?.to_le_bytes()),
        Kind::Uint32 => varint(whole::<u32>(value).ok_or("expected a number of 32 bits from 0 on")?.into(), out),
        Kind::Fixed32 => out.extend(whole::<u32>(value).ok_or("expected a number of 32 bits from 0 on")?.to_le_bytes()),
        Kind::Int32 => varint(i64::from(whole::<i32>(value).ok_or(SHORT)?).cast_unsigned(), out),
        Kind::Sfixed32 => out.extend(whole::<i32>(value).ok_or(SHORT)?.to_le_bytes()),
        Kind::Sint32 => varint(zigzag(whole::<i32>(value).ok_or(SHORT)?.into()), out),
        Kind::Sfixed64 => out.extend(whole::<i64>(value).ok_or(LONG)?.to_le_bytes()),
        Kind::Sint64 => varint(zigzag(whole(value).ok_or(LONG)?), out),
        _ => varint(whole::<i64>(value).ok_or(LONG)?.cast_unsigned(), out),
    }
    Ok(())
}

const SHORT: &str = "expected a whole number of 32 bits";
const LONG: &str = "expected a whole number of 64 bits";

/// Objects and arrays, which no text field could hold otherwise, become their JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn truth(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

/// A whole number, also as a text or as `1.0`.
fn whole<T: std::str::FromStr>(value: &Value) -> Option<T> {
    if !matches!(value, Value::Number(_) | Value::String(_)) {
        return None;
    }
    let text = text(value);
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

fn of_enum(declared: &Enum, value: &Value) -> Option<u64> {
    let number = match value.as_str() {
        Some(name) => declared.number(name),
        None => None,
    };
    number.or_else(|| whole(value)).map(|number| i64::from(number).cast_unsigned())
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn tag(number: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire), out);
}

fn bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}
