//! Single values: from the wire by their type, to a reading and to JSON as protobuf's own mapping has it. Knows no messages.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::protobuf::{Field, Kind, Label, Schema};

use crate::message::Value;
use crate::payload::encode::{print, string};
use crate::payload::protobuf::wire::{Reader, Wire};
use crate::payload::{Casting, Flaw, PayloadError, number};

/// One value. An enum is the name of its number, or the number if it has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Long(i64),
    /// Beyond i64.
    Large(u64),
    Float(f32),
    Double(f64),
    Bool(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Whether a value of the wire may be one of this field.
pub(super) fn fits(field: &Field, wire: Wire) -> bool {
    let one = match field.kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => matches!(wire, Wire::Fixed64(_)),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => matches!(wire, Wire::Fixed32(_)),
        Kind::Text | Kind::Bytes | Kind::Message(_) => matches!(wire, Wire::Bytes { .. }),
        _ => matches!(wire, Wire::Varint(_)),
    };
    one || field.label == Label::Repeated && is_packable(field.kind) && matches!(wire, Wire::Bytes { .. })
}

/// Whether many values of this type may lie in one.
pub(super) fn is_packable(kind: Kind) -> bool {
    !matches!(kind, Kind::Text | Kind::Bytes | Kind::Message(_))
}

/// The next of many values that lie in one.
pub(super) fn packed(kind: Kind, reader: &mut Reader<'_>) -> Result<Wire, PayloadError> {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => reader.fixed64(),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => reader.fixed32(),
        _ => reader.varint().map(Wire::Varint),
    }
}

/// A value of the wire as one of this type.
pub(super) fn read<'a>(schema: &'a Schema, bytes: &'a [u8], kind: Kind, wire: Wire) -> Result<Scalar<'a>, PayloadError> {
    Ok(match (wire, kind) {
        (Wire::Varint(value), Kind::Bool) => Scalar::Bool(value != 0),
        (Wire::Varint(value), Kind::Int32) => Scalar::Long(low(value).cast_signed().into()),
        (Wire::Varint(value), Kind::Uint32) => Scalar::Long(low(value).into()),
        (Wire::Varint(value), Kind::Sint32) => {
            let value = low(value);
            Scalar::Long(((value >> 1) ^ (value & 1).wrapping_neg()).cast_signed().into())
        }
        (Wire::Varint(value), Kind::Sint64) => Scalar::Long(((value >> 1) ^ (value & 1).wrapping_neg()).cast_signed()),
        (Wire::Varint(value), Kind::Enum(index)) => {
            let number = low(value).cast_signed();
            schema.enumeration(index).value(number).map_or_else(|| Scalar::Long(number.into()), Scalar::Text)
        }
        (Wire::Varint(value) | Wire::Fixed64(value), Kind::Uint64 | Kind::Fixed64) => {
            i64::try_from(value).map_or(Scalar::Large(value), Scalar::Long)
        }
        (Wire::Fixed64(value), Kind::Double) => Scalar::Double(f64::from_bits(value)),
        (Wire::Varint(value) | Wire::Fixed64(value), _) => Scalar::Long(value.cast_signed()),
        (Wire::Fixed32(value), Kind::Float) => Scalar::Float(f32::from_bits(value)),
        (Wire::Fixed32(value), Kind::Sfixed32) => Scalar::Long(value.cast_signed().into()),
        (Wire::Fixed32(value), _) => Scalar::Long(value.into()),
        (Wire::Bytes { from, to }, kind) => {
            let value = bytes.get(from..to).unwrap_or_default();
            if kind == Kind::Text {
                let not_utf8 = |error: std::str::Utf8Error| PayloadError { flaw: Flaw::NotUtf8, at: from + error.valid_up_to() };
                Scalar::Text(std::str::from_utf8(value).map_err(not_utf8)?)
            } else {
                Scalar::Bytes(value)
            }
        }
    })
}

fn low(value: u64) -> u32 {
    // The upper half is dropped, as every reader does.
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

impl<'a> Scalar<'a> {
    pub(super) fn default_of(schema: &'a Schema, kind: Kind) -> Self {
        match kind {
            Kind::Double => Self::Double(0.0),
            Kind::Float => Self::Float(0.0),
            Kind::Bool => Self::Bool(false),
            Kind::Text => Self::Text(""),
            Kind::Bytes => Self::Bytes(b""),
            Kind::Enum(index) => schema.enumeration(index).values.first().map_or(Self::Long(0), |(name, _)| Self::Text(name)),
            _ => Self::Long(0),
        }
    }

    /// As a reading. A double stays one, also where JSON's text of it would be a long or a string.
    pub(super) fn into_value(self, casting: Casting) -> Value<'a> {
        match self {
            Self::Long(value) => Value::Long(value),
            Self::Large(value) => Value::Text(Cow::Owned(value.to_string())),
            Self::Float(value) if value.is_finite() => {
                // The number that is meant: of all doubles the one with the shortest text.
                Value::Double(format!("{value:?}").parse().unwrap_or_else(|_| f64::from(value)))
            }
            Self::Double(value) if value.is_finite() => Value::Double(value),
            Self::Float(value) => Value::Text(Cow::Borrowed(not_finite(value.into()))),
            Self::Double(value) => Value::Text(Cow::Borrowed(not_finite(value))),
            Self::Bool(value) => Value::Bool(value),
            Self::Text(text) => {
                let cast = (casting == Casting::Enabled && number::looks_numeric(text)).then(|| number::cast(text));
                cast.flatten().unwrap_or(Value::Text(Cow::Borrowed(text)))
            }
            Self::Bytes(bytes) => Value::Text(Cow::Owned(STANDARD.encode(bytes))),
        }
    }

    /// As the key of a map.
    pub(super) fn into_key(self) -> String {
        match self {
            Self::Long(value) => value.to_string(),
            Self::Large(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => text.to_owned(),
            // No map has such keys.
            Self::Float(_) | Self::Double(_) | Self::Bytes(_) => String::new(),
        }
    }

    /// As JSON: 64-bit numbers, bytes and what is no number are texts.
    pub(super) fn write(self, kind: Kind, into: &mut Vec<u8>) {
        let wide = matches!(kind, Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64);
        match self {
            Self::Long(value) if wide => print(into, format_args!("\"{value}\"")),
            Self::Long(value) => print(into, format_args!("{value}")),
            Self::Large(value) => print(into, format_args!("\"{value}\"")),
            Self::Float(value) if value.is_finite() => print(into, format_args!("{value:?}")),
            Self::Double(value) if value.is_finite() => print(into, format_args!("{value:?}")),
            Self::Float(value) => print(into, format_args!("\"{}\"", not_finite(value.into()))),
            Self::Double(value) => print(into, format_args!("\"{}\"", not_finite(value))),
            Self::Bool(value) => print(into, format_args!("{value}")),
            Self::Text(text) => string(text, into),
            Self::Bytes(bytes) => string(&STANDARD.encode(bytes), into),
        }
    }
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}
