//! What must hold of the protobuf reader for any bytes at all; fuzz targets and property tests call it. Panics when it does not
//! hold, so it is never called on the way of a message.

use std::sync::LazyLock;

use schemas::protobuf::Schema;

use crate::limits::DECODED_BYTES_MAX;
use crate::message::{Readings, Value};
use crate::payload::harness::checked;
use crate::payload::protobuf::{attributes, json, rpc_call, telemetry, write};
use crate::payload::{Casting, Flaw};

/// Everything that proto3 has, messages in themselves included.
pub(super) const EVERYTHING: &str = r#"syntax = "proto3";
enum Mode { OFF = 0; ON = 1; LOST = -1; }
message All {
  double a_double = 1; float a_float = 2; int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6; sint32 s32 = 7;
  sint64 s64 = 8; fixed32 f32 = 9; fixed64 f64 = 10; sfixed32 sf32 = 11; sfixed64 sf64 = 12; bool flag = 13; string text = 14;
  bytes raw = 15; Mode mode = 16; All inner = 17; repeated All many = 18; map<string, All> named = 19; map<int32, Mode> modes = 20;
  repeated sint32 numbers = 21; repeated string texts = 22; optional int32 maybe = 23;
  oneof choice { int32 left = 24; All right = 25; string middle = 26; }
  repeated Mode all_modes = 27; repeated double doubles = 28; map<bool, bytes> blobs = 29;
}"#;
const SPARSE: &str = r#"syntax = "proto3"; message A { optional int32 x = 1; repeated B many = 2; B one = 3; }
message B { optional string text = 1; B b = 2; } message C { int64 ts = 1; A values = 2; optional bool late = 3; }"#;

static SCHEMAS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| [EVERYTHING, SPARSE].iter().filter_map(|text| Schema::parse(text).ok()).collect());

/// Reads `bytes` by every schema in every way and asserts what is promised of the results.
pub fn any(bytes: &[u8]) {
    assert_eq!(SCHEMAS.len(), 2, "the schemas are schemas");
    for schema in SCHEMAS.iter() {
        for casting in [Casting::Enabled, Casting::Disabled] {
            let mut readings = Readings::default();
            let result = telemetry(schema, bytes, casting, &mut readings);
            checked(bytes, result, &readings);
            let mut readings = Readings::default();
            let result = attributes(schema, bytes, casting, &mut readings);
            checked(bytes, result, &readings);
            if result.is_ok() && casting == Casting::Disabled {
                agrees(schema, bytes, &readings);
            }
        }
        let _call = rpc_call(schema, bytes);
    }
}

/// JSON of the whole says the same as the readings, and written back and read again it is the same JSON.
fn agrees(schema: &Schema, bytes: &[u8], readings: &Readings<'_>) {
    let text = match json(schema, bytes) {
        Ok(text) => text,
        // Names and the one level more make the difference.
        Err(error) => return assert!(matches!(error.flaw, Flaw::DecodedTooLarge | Flaw::Depth), "{error}"),
    };
    assert!(text.len() <= DECODED_BYTES_MAX, "{} bytes", text.len());
    let parsed: serde_json::Value = serde_json::from_slice(&text).expect("what is written is JSON");
    let members = parsed.as_object().expect("a message is an object");
    assert_eq!(members.len(), readings.readings.len(), "every member is a reading");
    for reading in &readings.readings {
        let member = &members[&*reading.key];
        if let Value::Json(text) = &reading.value {
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).ok().as_ref(), Some(member), "{}", reading.key);
        }
    }
    let again = write(schema, &parsed).expect("what was read can be written");
    let again = json(schema, &again).expect("what was written can be read");
    let again: serde_json::Value = serde_json::from_slice(&again).expect("what is written is JSON");
    assert!(same(&again, &parsed), "there and back: {again} is not {parsed}");
}

/// Equal but for the last digits of doubles: serde_json reads them in a hurry.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-7 || a.to_bits() == b.to_bits(),
            _ => false,
        },
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Object(a), Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))),
        _ => a == b,
    }
}
