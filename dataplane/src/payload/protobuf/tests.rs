//! Protobuf payloads by example, with prost as the second opinion about the wire.

use proptest::prelude::*;
use prost::Message as _;
use schemas::protobuf::Schema;
use serde_json::json;

use super::harness::{self, EVERYTHING};
use crate::limits::JSON_DEPTH_MAX;
use crate::message::{Readings, Value};
use crate::payload::protobuf::{attributes, json as to_json, rpc_call, telemetry, write};
use crate::payload::{Casting, Flaw, PayloadError};

#[derive(Clone, PartialEq, prost::Message)]
struct Sensor {
    #[prost(double, optional, tag = "1")]
    temperature: Option<f64>,
    #[prost(float, tag = "2")]
    battery_level: f32,
    #[prost(string, tag = "3")]
    serial: String,
    #[prost(uint64, tag = "4")]
    total: u64,
    #[prost(enumeration = "Mode", tag = "5")]
    mode: i32,
    #[prost(message, optional, tag = "6")]
    place: Option<Place>,
    #[prost(sint32, repeated, tag = "7")]
    samples: Vec<i32>,
    #[prost(btree_map = "string, int64", tag = "8")]
    counters: std::collections::BTreeMap<String, i64>,
    #[prost(bytes, tag = "9")]
    raw: Vec<u8>,
    #[prost(bool, tag = "10")]
    open: bool,
    #[prost(message, repeated, tag = "11")]
    places: Vec<Place>,
    #[prost(oneof = "Choice", tags = "12, 13")]
    choice: Option<Choice>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Place {
    #[prost(int64, tag = "1")]
    floor: i64,
    #[prost(string, optional, tag = "2")]
    room: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum Mode {
    Off = 0,
    On = 1,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Choice {
    #[prost(int32, tag = "12")]
    Left(i32),
    #[prost(message, tag = "13")]
    Right(Place),
}

const SENSOR: &str = r#"syntax = "proto3";
package plant;
enum Mode { OFF = 0; ON = 1; }
message Place { int64 floor = 1; optional string room = 2; }
message Sensor {
  optional double temperature = 1; float battery_level = 2; string serial = 3; uint64 total = 4; Mode mode = 5; Place place = 6;
  repeated sint32 samples = 7; map<string, int64> counters = 8; bytes raw = 9; bool open = 10; repeated Place places = 11;
  oneof choice { int32 left = 12; Place right = 13; }
}"#;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|invalid| panic!("{invalid}"))
}

fn short(body: &str) -> Schema {
    schema(&format!("syntax = \"proto3\"; {body}"))
}

/// `ts: key=value …` with the kinds of values showing.
fn describe(readings: &Readings<'_>) -> String {
    let value = |value: &Value<'_>| match value {
        Value::Text(text) => format!("'{text}'"),
        Value::Json(text) => text.to_string(),
        Value::Double(value) => format!("{value:?}"),
        value => value.to_string(),
    };
    let entry = |entry: &crate::message::Entry| {
        let ts = entry.ts.map_or_else(|| "-".to_owned(), |ts| ts.0.to_string());
        let parts = readings.of(entry).iter().map(|reading| format!(" {}={}", reading.key, value(&reading.value)));
        format!("{ts}:{}", parts.collect::<String>())
    };
    readings.entries.iter().map(entry).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(schema: &Schema, bytes: &[u8], expected: &str) {
    harness::any(bytes);
    let mut readings = Readings::default();
    let result = telemetry(schema, bytes, Casting::Enabled, &mut readings);
    assert_eq!(result, Ok(()), "{bytes:x?}");
    assert_eq!(describe(&readings), expected);
}

#[track_caller]
fn refused(schema: &Schema, bytes: &[u8], flaw: Flaw) {
    harness::any(bytes);
    let mut readings = Readings::default();
    let result = telemetry(schema, bytes, Casting::Enabled, &mut readings);
    assert!(matches!(result, Err(PayloadError { flaw: found, .. }) if found == flaw), "{result:?} is not {flaw:?}");
}

#[test]
fn every_type_becomes_what_json_would_be() {
    let sensor = Sensor {
        temperature: Some(21.5),
        battery_level: 0.1,
        serial: "A-7".to_owned(),
        total: u64::MAX,
        mode: Mode::On.into(),
        place: Some(Place { floor: -3, room: Some("x\"y".to_owned()) }),
        samples: vec![-1, 0, 70_000],
        counters: [("b".to_owned(), 2), ("a".to_owned(), i64::MIN)].into(),
        raw: vec![0, 255],
        open: true,
        places: vec![Place::default(), Place { floor: 1, room: None }],
        choice: Some(Choice::Right(Place { floor: 9, room: None })),
    };
    let expected = "-: temperature=21.5 batteryLevel=0.1 serial='A-7' total='18446744073709551615' mode='ON' \
        place={\"floor\":\"-3\",\"room\":\"x\\\"y\"} samples=[-1,0,70000] \
        counters={\"a\":\"-9223372036854775808\",\"b\":\"2\"} raw='AP8=' open=true \
        places=[{\"floor\":\"0\"},{\"floor\":\"1\"}] right={\"floor\":\"9\"}";
    check(&schema(SENSOR), &sensor.encode_to_vec(), expected);
}

#[test]
fn what_is_absent_is_a_default_or_not_there() {
    let expected = "-: batteryLevel=0.0 serial='' total=0 mode='OFF' samples=[] counters={} raw='' open=false places=[]";
    check(&schema(SENSOR), &[], expected);
    check(&short("message A { optional int32 a = 1; B b = 2; } message B { A a = 1; optional A z = 2; }"), &[], "");
}

#[test]
fn numbers_and_texts_follow_the_rules_of_json() {
    let text = short("message A { optional string s = 1; }");
    for (said, expected) in
        [("7", "-: s=7"), ("-1.50", "-: s=-1.5"), ("x", "-: s='x'"), ("99999999999999999999", "-: s='99999999999999999999'")]
    {
        let mut bytes = vec![0x0a, u8::try_from(said.len()).expect("short")];
        bytes.extend_from_slice(said.as_bytes());
        check(&text, &bytes, expected);
    }
    let double = short("message A { optional double d = 1; optional float f = 2; }");
    for (value, expected) in
        [(f64::NAN, "'NaN'"), (f64::NEG_INFINITY, "'-Infinity'"), (1e300, "1e300"), (0.1 + 0.2, "0.30000000000000004")]
    {
        let bytes = [&[0x09][..], &value.to_le_bytes()].concat();
        check(&double, &bytes, &format!("-: d={expected}"));
    }
    check(&double, &[&[0x15][..], &21.7_f32.to_le_bytes()].concat(), "-: f=21.7");
    let modes = short("enum M { A0 = 0; B1 = -5; } message A { optional M m = 1; }");
    check(&modes, &[0x08, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "-: m='B1'");
    check(&modes, &[0x08, 9], "-: m=9");
}

#[test]
fn the_last_value_counts_and_messages_merge() {
    let schema = short("message B { optional int32 x = 1; optional int32 y = 2; } message A { optional int32 a = 1; B b = 2; }");
    check(&schema, &[0x08, 1, 0x12, 2, 0x08, 5, 0x08, 2, 0x12, 4, 0x10, 6, 0x08, 7], "-: a=2 b={\"x\":7,\"y\":6}");
    // Of a oneof too, and a message that another member came after begins anew.
    let choice =
        short("message B { optional int32 x = 1; optional int32 y = 2; } message A { oneof o { int32 a = 1; B b = 2; } }");
    check(&choice, &[0x12, 2, 0x08, 5, 0x12, 2, 0x10, 6], "-: b={\"x\":5,\"y\":6}");
    check(&choice, &[0x12, 2, 0x08, 5, 0x08, 1, 0x12, 2, 0x10, 6], "-: b={\"y\":6}");
    check(&choice, &[0x12, 2, 0x08, 5, 0x08, 1], "-: a=1");
    // Repeated values may lie in one, by themselves, or both.
    let many = short("message A { repeated int32 a = 1; }");
    check(&many, &[0x08, 1, 0x0a, 3, 2, 0x96, 0x01, 0x08, 4], "-: a=[1,2,150,4]");
    let map = short("message A { map<int32, string> m = 1; }");
    check(&map, &[0x0a, 5, 0x08, 7, 0x12, 1, b'a', 0x0a, 0, 0x0a, 5, 0x08, 7, 0x12, 1, b'b'], "-: m={\"0\":\"\",\"7\":\"b\"}");
}

#[test]
fn what_the_schema_does_not_know_means_nothing() {
    let schema = short("message A { optional int32 a = 1; }");
    check(&schema, &[0x0a, 1, 9, 0x08, 3, 0x50, 1, 0x5d, 1, 2, 3, 4, 0x61, 1, 2, 3, 4, 5, 6, 7, 8], "-: a=3");
    check(&schema, b"", "");
}

#[test]
fn telemetry_may_have_a_time() {
    let timed = short("message V { optional double t = 1; } message A { int64 ts = 1; V values = 2; }");
    let values = [&[0x12, 9, 0x09][..], &1.5_f64.to_le_bytes()].concat();
    check(&timed, &[&[0x08, 0xd2, 0x09][..], &values].concat(), "1234: t=1.5");
    check(&timed, &values, "0: t=1.5");
    check(&timed, &[0x08, 5], "-: ts=5");
    check(&timed, &[0x08, 5, 0x12, 0], "");
    let optional = short("message V { optional double t = 1; } message A { optional uint64 ts = 1; V values = 2; }");
    check(&optional, &values, "-: values={\"t\":1.5}");
    refused(&optional, &[&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1][..], &values].concat(), Flaw::Ts);
    let mut readings = Readings::default();
    attributes(&timed, &values, Casting::Enabled, &mut readings).expect("valid");
    assert_eq!(describe(&readings), "-: ts=0 values={\"t\":1.5}");
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let schema = schema(SENSOR);
    refused(&schema, &[0x09, 1, 2], Flaw::WireTruncated);
    refused(&schema, &[0x1a, 5, b'a'], Flaw::WireTruncated);
    refused(&schema, &[0x80], Flaw::WireTruncated);
    refused(&schema, &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Flaw::WireTruncated);
    refused(&schema, &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Flaw::WireNumber);
    refused(&schema, &[0x00, 1], Flaw::WireTag);
    refused(&schema, &[0x0b, 0x0c], Flaw::WireTag);
    refused(&schema, &[0x0e], Flaw::WireTag);
    refused(&schema, &[0x1a, 1, 0xff], Flaw::NotUtf8);
    refused(&schema, &[0x3a, 1, 0x80], Flaw::WireTruncated);
    refused(&schema, br#"{"temperature":21.5}"#, Flaw::WireTag);
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = short("message A { A a = 1; optional int32 x = 2; }");
    let deep = |levels: usize| {
        (0..levels).fold(vec![0x10, 1], |inner: Vec<u8>, _| {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            [outer, inner].concat()
        })
    };
    let most = JSON_DEPTH_MAX as usize;
    let mut readings = Readings::default();
    assert_eq!(telemetry(&nested, &deep(most), Casting::Enabled, &mut readings), Ok(()));
    refused(&nested, &deep(most + 1), Flaw::Depth);
    refused(&nested, &deep(8_000), Flaw::Depth);
    // Two bytes each that would be a hundred.
    let amplifying = short("message B { int32 a_long_name_of_a_field = 1; } message A { repeated B b = 1; }");
    refused(&amplifying, &[0x0a, 0].repeat(30_000), Flaw::DecodedTooLarge);
    let escaped = short("message B { string b = 1; } message A { B a = 1; }");
    let text = vec![1; 30_000];
    let inner = Place { floor: 0, room: Some(String::from_utf8(text).expect("UTF-8")) }.encode_to_vec();
    let swapped = [&[0x0a][..], &inner[1..]].concat();
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(swapped.len() as u64, &mut bytes);
    refused(&escaped, &[bytes, swapped].concat(), Flaw::DecodedTooLarge);
}

#[test]
fn calls_are_written_and_answers_read() {
    let request = schema(schemas::protobuf::RPC_REQUEST_DEFAULT);
    let call = |params: serde_json::Value| json!({ "method": "setGpio", "requestId": 7, "params": params });
    let said = |bytes: &[u8]| String::from_utf8(to_json(&request, bytes).expect("valid")).expect("UTF-8");
    for (params, expected) in [(json!("on"), "\"on\""), (json!(50), "\"50\""), (json!({"pin": 7}), "\"{\\\"pin\\\":7}\"")] {
        let bytes = write(&request, &call(params)).expect("valid");
        assert_eq!(said(&bytes), format!("{{\"method\":\"setGpio\",\"requestId\":7,\"params\":{expected}}}"));
    }
    let typed =
        short("message P { uint32 pin = 1; bool on = 2; } message R { string method = 1; int32 requestId = 2; P params = 3; }");
    let bytes = write(&typed, &call(json!({ "pin": 7, "on": true, "more": [] }))).expect("valid");
    assert_eq!(bytes, b"\x0a\x07setGpio\x10\x07\x1a\x04\x08\x07\x10\x01");
    for (params, says) in [
        (json!({ "pin": -1 }), "P.pin: expected a number of 32 bits from 0 on"),
        (json!(7), "P: expected an object"),
        (json!({ "on": 1 }), "P.on: expected true or false"),
    ] {
        assert_eq!(write(&typed, &call(params)).expect_err("refused").to_string(), says);
    }
}

#[test]
fn calls_to_the_server_keep_their_params() {
    let schema = short("message RpcRequest { string method = 1; string params = 2; }");
    let check = |params: &str, expected: &str| {
        let bytes = write(&schema, &json!({ "method": "m", "params": params })).expect("valid");
        let json = rpc_call(&schema, &bytes).expect("valid");
        assert_eq!(String::from_utf8_lossy(&json), format!("{{\"method\":\"m\",\"params\":{expected}}}"));
    };
    check("{\"a\":1}", "{\"a\":1}");
    check("plain", "\"plain\"");
    check("7", "7");
    check("", "{}");
}

/// Fields of `EVERYTHING` as bytes: mostly right, nested, sometimes of the wrong type.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = |number: u32, wire: u32, value: Vec<u8>| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | wire), &mut out);
        if wire == 2 {
            prost::encoding::encode_varint(value.len() as u64, &mut out);
        }
        out.extend(value);
        out
    };
    let varint = |value: u64| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(value, &mut out);
        out
    };
    let edge = prop_oneof![any::<u64>(), 0_u64..4, Just(u64::MAX), Just(1 << 63)];
    let leaf = prop_oneof![
        (prop::sample::select(vec![3, 4, 5, 6, 7, 8, 13, 16, 21, 23, 24, 27, 30]), edge.clone())
            .prop_map(move |(number, value)| field(number, 0, varint(value))),
        (prop::sample::select(vec![1, 10, 12, 28]), any::<u64>()).prop_map(move |(number, v)| field(
            number,
            1,
            v.to_le_bytes().into()
        )),
        (prop::sample::select(vec![2, 9, 11]), any::<u32>()).prop_map(move |(number, v)| field(
            number,
            5,
            v.to_le_bytes().into()
        )),
        (prop::sample::select(vec![14, 22, 26]), "\\PC{0,8}").prop_map(move |(number, text)| field(number, 2, text.into_bytes())),
        (prop::sample::select(vec![15, 21, 27, 28]), prop::collection::vec(any::<u8>(), 0..9))
            .prop_map(move |(n, v)| field(n, 2, v)),
    ];
    let leaf = prop::collection::vec(leaf, 0..6).prop_map(|parts| parts.concat());
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let part =
            (prop::sample::select(vec![17, 18, 25]), inner.clone()).prop_map(move |(number, value)| field(number, 2, value));
        let entry = ("[ab]{0,1}", inner.clone())
            .prop_map(move |(key, value)| field(19, 2, [field(1, 2, key.into_bytes()), field(2, 2, value)].concat()));
        let number = (0_u64..3, 0_u64..3)
            .prop_map(move |(key, value)| field(20, 2, [field(1, 0, varint(key)), field(2, 0, varint(value))].concat()));
        prop::collection::vec(prop_oneof![part, entry, number, inner], 0..5).prop_map(|parts| parts.concat())
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_message_is_read_and_written_back(bytes in message()) {
        harness::any(&bytes);
    }

    #[test]
    fn any_damaged_message_is_read_or_refused(bytes in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            harness::any(&bytes[..at]);
        }
        harness::any(&bytes);
    }

    #[test]
    fn any_sensor_of_another_encoder_is_read(eighths in any::<Option<i32>>(), total in any::<u64>(), serial in "\\PC{0,20}",
        samples in prop::collection::vec(any::<i32>(), 0..20), floor in any::<i64>(), counters in prop::collection::btree_map("[a-z]{0,3}", any::<i64>(), 0..5)) {
        let place = Some(Place { floor, room: None });
        // Doubles that serde_json reads exactly.
        let temperature = eighths.map(|eighths| f64::from(eighths) / 8.0);
        let sensor = Sensor { temperature, total, serial, samples, place, counters, ..Sensor::default() };
        let schema = schema(SENSOR);
        let text = to_json(&schema, &sensor.encode_to_vec()).expect("valid");
        let parsed: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let back = Sensor::decode(write(&schema, &parsed).expect("valid").as_slice()).expect("prost reads it");
        prop_assert!(back == sensor, "{:?}", parsed);
        prop_assert_eq!(&parsed["total"], &json!(sensor.total.to_string()));
        prop_assert_eq!(&parsed["samples"], &json!(sensor.samples));
    }
}

#[test]
fn the_harness_reads_what_it_is_to_read() {
    let mut bytes = Vec::new();
    for number in [3_u32, 23] {
        prost::encoding::encode_varint(u64::from(number << 3), &mut bytes);
        bytes.push(1);
    }
    let text = to_json(&schema(EVERYTHING), &bytes).expect("valid");
    let parsed: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!((&parsed["i32"], &parsed["maybe"], &parsed["many"]), (&json!(1), &json!(1), &json!([])));
}
