//! FlatBuffers payloads, built by the official crate.

use flatbuffers::{FlatBufferBuilder, WIPOffset};
use proptest::prelude::*;

use super::harness;
use crate::limits::{DECODED_BYTES_MAX, READINGS_PER_MESSAGE_MAX};
use crate::message::{Readings, Value};
use crate::payload::flat::{attributes, telemetry};
use crate::payload::{Flaw, PayloadError};

type Field<'t> = (&'t str, u8, i64, f64, &'t str);

/// Builds what the generated code of another language would; slots are 4, 6, 8 … in the order of the schema.
fn built(entries: &[(i64, Vec<Field<'_>>)]) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let mut tables = Vec::new();
    for (ts, fields) in entries {
        let mut readings = Vec::new();
        for (key, kind, long, double, text) in fields {
            let (key, text) = (builder.create_shared_string(key), builder.create_shared_string(text));
            let start = builder.start_table();
            builder.push_slot_always(4, key);
            builder.push_slot(6, *kind, 0);
            builder.push_slot(8, *long, 0);
            builder.push_slot(10, *double, 0.0);
            builder.push_slot_always(12, text);
            readings.push(WIPOffset::<flatbuffers::TableFinishedWIPOffset>::new(builder.end_table(start).value()));
        }
        let readings = builder.create_vector(&readings);
        let start = builder.start_table();
        builder.push_slot(4, *ts, 0);
        builder.push_slot_always(6, readings);
        tables.push(WIPOffset::<flatbuffers::TableFinishedWIPOffset>::new(builder.end_table(start).value()));
    }
    let tables = builder.create_vector(&tables);
    let start = builder.start_table();
    builder.push_slot_always(4, tables);
    let root = builder.end_table(start);
    builder.finish(root, Some("TGP1"));
    builder.finished_data().to_vec()
}

fn describe(readings: &Readings<'_>) -> String {
    let line = |entry: &crate::message::Entry| {
        let ts = entry.ts.map_or_else(|| "-".to_owned(), |ts| ts.0.to_string());
        let value = |value: &Value<'_>| match value {
            Value::Text(text) => format!("'{text}'"),
            Value::Json(text) => text.to_string(),
            Value::Double(value) => format!("{value:?}"),
            value => value.to_string(),
        };
        let parts = readings.of(entry).iter().map(|reading| format!(" {}={}", reading.key, value(&reading.value)));
        format!("{ts}:{}", parts.collect::<String>())
    };
    readings.entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn refused(bytes: &[u8], flaw: Flaw) {
    harness::any(bytes);
    let result = telemetry(bytes, &mut Readings::default());
    assert!(matches!(result, Err(PayloadError { flaw: found, .. }) if found == flaw), "{result:?} is not {flaw:?}");
}

#[test]
fn what_the_official_builder_writes_is_read() {
    let first = vec![("open", 0, 1, 0.0, ""), ("total", 1, i64::MIN, 0.0, ""), ("temperature", 2, 0, 21.5, "")];
    let second = vec![("serial", 3, 0, 0.0, "7"), ("place", 4, 0, 0.0, "{\"a\": [1]}"), ("shut", 0, 0, 0.0, "")];
    let bytes = built(&[(1_700_000_000_000, first), (0, second.clone())]);
    harness::any(&bytes);
    let mut readings = Readings::default();
    assert_eq!(telemetry(&bytes, &mut readings), Ok(()));
    let expected =
        "1700000000000: open=true total=-9223372036854775808 temperature=21.5\n-: serial='7' place={\"a\":[1]} shut=false";
    assert_eq!(describe(&readings), expected);
    assert_eq!(attributes(&bytes, &mut Readings::default()).map_err(|error| error.flaw), Err(Flaw::TooManyEntries));
    let bytes = built(&[(5, second)]);
    let mut readings = Readings::default();
    assert_eq!(attributes(&bytes, &mut readings), Ok(()));
    assert_eq!(describe(&readings), "-: serial='7' place={\"a\":[1]} shut=false");
    let empty = built(&[]);
    assert_eq!(telemetry(&empty, &mut readings), Ok(()));
    assert!(readings.is_empty());
}

#[test]
fn what_is_wrong_is_refused() {
    refused(b"", Flaw::Flat);
    refused(br#"{"temperature":21.5}"#, Flaw::Flat);
    refused(b"\xff\xff\xff\xffTGP1", Flaw::Flat);
    refused(b"\x08\0\0\0TGP1\0\0\0\0\0\0\0\0", Flaw::Flat);
    refused(&built(&[(0, vec![("", 1, 1, 0.0, "")])]), Flaw::KeyEmpty);
    refused(&built(&[(0, vec![(&"x".repeat(256), 1, 1, 0.0, "")])]), Flaw::KeyTooLong);
    refused(&built(&[(0, vec![("k", 2, 0, f64::NAN, "")])]), Flaw::NumberTooLarge);
    refused(&built(&[(0, vec![("k", 4, 0, 0.0, "7")])]), Flaw::NotForm);
    refused(&built(&[(0, vec![("k", 4, 0, 0.0, "[")])]), Flaw::Truncated);
    refused(&built(&[(0, vec![("k", 5, 0, 0.0, "")])]), Flaw::Flat);
    refused(&built(&[(0, vec![("k", 1, 1, 0.0, ""); READINGS_PER_MESSAGE_MAX + 1])]), Flaw::TooManyReadings);
    // One text that many readings point to.
    let text = "x".repeat(DECODED_BYTES_MAX / 10);
    refused(&built(&[(0, vec![("k", 3, 0, 0.0, &text); 20])]), Flaw::DecodedTooLarge);
    let mut readings = Readings::default();
    let bytes = built(&[(0, vec![("k", 1, 1, 0.0, ""), ("k", 1, 2, 0.0, "")])]);
    assert_eq!(telemetry(&bytes, &mut readings), Ok(()));
    assert_eq!(describe(&readings), "-: k=2", "the last one counts");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_small_numbers_are_read_or_refused(words in prop::collection::vec(0_u8..24, 0..120)) {
        harness::any(&words);
    }

    #[test]
    fn any_damaged_buffer_is_read_or_refused(key in "[a-z]{1,4}", text in "\\PC{0,6}", kind in 0_u8..6, long in any::<i64>(),
        at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = built(&[(long, vec![(&key, kind, long, 0.5, &text); 3]), (0, vec![("b", 1, 1, 0.0, "")])]);
        harness::any(&bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        harness::any(&bytes);
        harness::any(&bytes[..at]);
    }
}
