//! Payloads by example, and against serde_json as the second opinion.

use std::borrow::Cow;
use std::fmt::Write;

use proptest::prelude::*;
use serde_json::json;

use schemas::config::RateLimits;
use schemas::rate::RateLimit;

use crate::limits::{ENTRIES_PER_MESSAGE_MAX, JSON_DEPTH_MAX, KEY_BYTES_MAX, KEYS_PER_DEVICE_MAX, READINGS_PER_MESSAGE_MAX};
use crate::message::{Readings, Value};
use crate::payload::{
    Casting, Flaw, PayloadError, attributes, attributes_deleted, attributes_request, attributes_response, attributes_updated,
    harness, json::Scanner, rpc, session_limits, telemetry,
};

/// Entries as text: `ts: key=value key=value`, one line each. Values are written so that their kind shows.
fn describe(readings: &Readings<'_>) -> String {
    let mut lines = Vec::new();
    for entry in &readings.entries {
        let mut line = entry.ts.map_or_else(|| "-".to_owned(), |ts| ts.0.to_string());
        for reading in readings.of(entry) {
            let value = match &reading.value {
                Value::Text(text) => format!("'{text}'"),
                Value::Json(text) => format!("json {text}"),
                value => value.to_string(),
            };
            let _ = write!(line, " {}={value}", reading.key);
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[track_caller]
fn check(payload: &str, expected: &str) {
    check_casting(payload, Casting::Enabled, expected);
}

#[track_caller]
fn check_casting(payload: &str, casting: Casting, expected: &str) {
    let mut readings = Readings::default();
    let result = telemetry(payload.as_bytes(), casting, &mut readings);
    assert_eq!(result, Ok(()), "{payload}");
    assert_eq!(describe(&readings), expected, "{payload}");
    harness::any(payload.as_bytes());
}

#[track_caller]
fn refused(payload: impl AsRef<[u8]>, flaw: Flaw, at: usize) {
    let payload = payload.as_ref();
    let mut readings = Readings::default();
    let result = telemetry(payload, Casting::Enabled, &mut readings);
    assert_eq!(result, Err(PayloadError { flaw, at }), "{}", String::from_utf8_lossy(payload));
    assert_eq!(readings, Readings::default());
    harness::any(payload);
}

#[test]
fn forms_of_telemetry() {
    check(r#"{"t":21,"on":true}"#, "- t=21 on=true");
    check(r#"{"ts":1451649600512,"values":{"t":21,"h":0.5}}"#, "1451649600512 t=21 h=0.5");
    check(r#" [ {"t":1} , {"ts":5,"values":{"t":2}} ] "#, "- t=1\n5 t=2");
    check(r#"{"values":{"t":2},"x":1,"ts":-5}"#, "-5 t=2");
    check(r#"{"x":1,"ts":5,"y":2,"values":{"t":2},"z":{"deep":[]}}"#, "5 t=2");
    // One of the two names alone is a key like any other.
    check(r#"{"ts":5,"t":1}"#, "- t=1 ts=5");
    check(r#"{"values":{"t":1}}"#, r#"- values=json {"t":1}"#);
    for empty in ["{}", "[]", "[{},{}]", r#"{"ts":5,"values":{}}"#, r#"{"a":null}"#] {
        check(empty, "");
    }
    for (other, at) in [("5", 0), (r#""a""#, 0), ("null", 0), ("[1]", 1), ("[[{}]]", 1), ("nope", 0)] {
        refused(other, Flaw::NotForm, at);
    }
}

#[test]
fn timestamps_are_integers() {
    check(r#"{"ts":9223372036854775807,"values":{"t":1}}"#, "9223372036854775807 t=1");
    for ts in ["1.5", "1e3", r#""5""#, "null", "{}", "9223372036854775808"] {
        refused(format!(r#"{{"ts":{ts},"values":{{"t":1}}}}"#), Flaw::Ts, 6);
    }
    refused(r#"{"ts":5,"values":7}"#, Flaw::Values, 17);
    refused(r#"{"values":[],"ts":5}"#, Flaw::Values, 10);
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    check(r#"{"a":1,"b":2,"a":3}"#, "- b=2 a=3");
    check(r#"{"a":1,"a":null}"#, "");
    check(r#"{"a":null,"a":1}"#, "- a=1");
    check(r#"{"a":1,"\u0061":2}"#, "- a=2");
    check(r#"{"ts":1,"values":{"a":1},"ts":2,"values":{"a":2}}"#, "2 a=2");
    check(r#"{"values":{"a":1},"values":{"b":1},"ts":2}"#, "2 b=1");
    // Objects do not see each other.
    check(r#"[{"a":1},{"a":2,"b":null},{"b":1}]"#, "- a=1\n- a=2\n- b=1");
    // So many that they are sorted.
    let mut many: Vec<String> = (0..60).map(|n| format!(r#""k{}":{n}"#, n % 30)).collect();
    many.push(r#""k29":null"#.to_owned());
    let expected: Vec<String> = (30..59).map(|n| format!("k{}={n}", n - 30)).collect();
    check(&format!(r#"[{{"z":0}},{{{}}}]"#, many.join(",")), &format!("- z=0\n- {}", expected.join(" ")));
}

#[test]
fn numbers_are_cast_as_thingsboard_casts_them() {
    let long = [
        ("0", "0"),
        ("-0", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1e3", "1000"),
        ("1.50E+1", "15"),
        ("15e-0", "15"),
        ("1500e-2", "15"),
        ("10.0e0", "10"),
        ("0.0012e4", "12"),
        ("-92233.72036854775808e14", "-9223372036854775808"),
        ("0e99999999999999999999", "0"),
    ];
    let double = [
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("21.5", "21.5"),
        ("1.5e-3", "0.0015"),
        ("123.456e1", "1234.56"),
        ("0.1234567890123456", "0.1234567890123456"),
    ];
    for (literal, value) in long.iter().chain(&double) {
        check(&format!(r#"{{"a":{literal}}}"#), &format!("- a={value}"));
        check_casting(&format!(r#"{{"a":{literal}}}"#), Casting::Disabled, &format!("- a={value}"));
    }
    // DESIGN 28: beyond i64 and f64, and with more than 16 decimals, the text is kept as written.
    for literal in [
        "9223372036854775808",
        "-9223372036854775809",
        "1e30",
        "1e400",
        "0.12345678901234567",
        "1e-17",
        "9223372036854775808e0",
        "-1E99999999999999999999",
        "1e-99999999999999999999",
    ] {
        check(&format!(r#"{{"a":{literal}}}"#), &format!("- a='{literal}'"));
        let payload = format!(r#"{{"a":{literal}}}"#);
        let refused = telemetry(payload.as_bytes(), Casting::Disabled, &mut Readings::default());
        assert_eq!(refused, Err(PayloadError { flaw: Flaw::NumberTooLarge, at: 5 }));
    }
}

#[test]
fn strings_that_look_numeric_become_numbers() {
    for (text, value) in
        [("5", "5"), ("-5", "-5"), ("007", "7"), ("5.0", "5.0"), (".5", "0.5"), ("-.5", "-0.5"), ("00.50", "0.5")]
    {
        check(&format!(r#"{{"a":"{text}"}}"#), &format!("- a={value}"));
        check_casting(&format!(r#"{{"a":"{text}"}}"#), Casting::Disabled, &format!("- a='{text}'"));
    }
    for text in
        ["", "-", ".", "-.", "5.", "+5", "1e3", "1.2.3", "0x5", " 5", "NaN", "9223372036854775808", "1.12345678901234567", "٣"]
    {
        check(&format!(r#"{{"a":"{text}"}}"#), &format!("- a='{text}'"));
    }
}

#[test]
fn texts_and_nested_values() {
    check(r#"{"a":"q\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00z"}"#, "- a='q\"\\/\u{8}\u{c}\n\r\tAé😀z'");
    check(r#"{"ä\n":false}"#, "- ä\n=false");
    check(r#"{"a":{"b":[1,"x y",{}]},"c":[]}"#, r#"- a=json {"b":[1,"x y",{}]} c=json []"#);
    check("{\"a\": { \"b\" : [ 1 ,\n\"x \\\" y\" ] } }", r#"- a=json {"b":[1,"x \" y"]}"#);
    check(r#"{"a":[1e999,"1e999",1e9]}"#, r#"- a=json ["1e999","1e999",1e9]"#);
    let mut readings = Readings::default();
    telemetry(br#"{"key":"text","json":[1,{"a":2}]}"#, Casting::Enabled, &mut readings).expect("valid");
    for reading in &readings.readings {
        assert!(matches!(reading.key, Cow::Borrowed(_)), "nothing needs a copy");
        assert!(matches!(&reading.value, Value::Text(Cow::Borrowed(_)) | Value::Json(Cow::Borrowed(_))), "nothing needs a copy");
    }
}

#[test]
fn malformed_text() {
    refused("", Flaw::Truncated, 0);
    refused("  {", Flaw::Truncated, 3);
    refused(r#"{"a"#, Flaw::Truncated, 3);
    refused(r#"{"a":tru"#, Flaw::Truncated, 5);
    refused(r#"{"a":-"#, Flaw::Truncated, 6);
    refused(r#"{"a":1} x"#, Flaw::Trailing, 8);
    refused(r#"{"a":1,}"#, Flaw::Unexpected, 7);
    refused(r#"{a:1}"#, Flaw::Unexpected, 1);
    refused(r#"{"a":01}"#, Flaw::Unexpected, 6);
    refused(r#"{"a":1.}"#, Flaw::Unexpected, 7);
    refused(r#"{"a":+1}"#, Flaw::Unexpected, 5);
    refused(r#"{"a":NaN}"#, Flaw::Unexpected, 5);
    refused(r#"{"a":-Infinity}"#, Flaw::Unexpected, 6);
    refused(r#"{"a":nil}"#, Flaw::Unexpected, 5);
    refused(r#"{"a":[1,}}"#, Flaw::Unexpected, 8);
    refused(r#"{"a":[1}"#, Flaw::Unexpected, 7);
    refused(r#"{"a":{"b":1,}}"#, Flaw::Unexpected, 12);
    refused("{\"a\":\"\n\"}", Flaw::Control, 6);
    for escape in [r"\x", r"\u12", r"\u+123", r"\ud83d", r"\ude00", r"\ud83d\u0041"] {
        refused(format!(r#"{{"a":"{escape}"}}"#), Flaw::Escape, 6);
    }
    refused(b"{\"a\":\"\xff\"}", Flaw::NotUtf8, 6);
    refused("\u{feff}{}", Flaw::NotForm, 0);
}

#[test]
fn bounds() {
    let key = "k".repeat(KEY_BYTES_MAX);
    check(&format!(r#"{{"{key}":1}}"#), &format!("- {key}=1"));
    refused(format!(r#"{{"k{key}":1}}"#), Flaw::KeyTooLong, KEY_BYTES_MAX + 5);
    refused(r#"{"":1}"#, Flaw::KeyEmpty, 4);
    let depth = JSON_DEPTH_MAX as usize;
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    check(&nested(depth), &format!("- a=json {}{}", "[".repeat(depth), "]".repeat(depth)));
    refused(nested(depth + 1), Flaw::Depth, 5 + depth);
    refused(format!(r#"{{"a":{}"#, "[".repeat(60_000)), Flaw::Depth, 5 + depth);

    let flat = |count: usize| format!("{{{}}}", (0..count).map(|n| format!(r#""k{n}":1"#)).collect::<Vec<_>>().join(","));
    let mut readings = Readings::default();
    let payload = flat(READINGS_PER_MESSAGE_MAX);
    telemetry(payload.as_bytes(), Casting::Enabled, &mut readings).expect("as many as allowed");
    assert_eq!(readings.readings.len(), READINGS_PER_MESSAGE_MAX);
    let payload = flat(READINGS_PER_MESSAGE_MAX + 1);
    let error = telemetry(payload.as_bytes(), Casting::Enabled, &mut Readings::default()).expect_err("one too many");
    assert_eq!(error.flaw, Flaw::TooManyReadings);

    let array = |count: usize| format!("[{}]", vec![r#"{"a":1}"#; count].join(","));
    let payload = array(ENTRIES_PER_MESSAGE_MAX);
    let mut readings = Readings::default();
    telemetry(payload.as_bytes(), Casting::Enabled, &mut readings).expect("as many as allowed");
    assert_eq!(readings.entries.len(), ENTRIES_PER_MESSAGE_MAX);
    let payload = array(ENTRIES_PER_MESSAGE_MAX + 1);
    let error = telemetry(payload.as_bytes(), Casting::Enabled, &mut Readings::default()).expect_err("one too many");
    assert_eq!(error.flaw, Flaw::TooManyEntries);
}

#[test]
fn attributes_are_one_flat_object() {
    let mut readings = Readings::default();
    attributes(br#"{"ts":1,"values":{"a":1},"v":"2"}"#, Casting::Enabled, &mut readings).expect("valid");
    assert_eq!(describe(&readings), r#"- ts=1 values=json {"a":1} v=2"#);
    attributes(b"{}", Casting::Enabled, &mut readings).expect("valid");
    assert_eq!(readings, Readings::default());
    for (payload, flaw, at) in [("[]", Flaw::NotObject, 0), ("{}{}", Flaw::Trailing, 2), (r#"{"a":}"#, Flaw::Unexpected, 5)] {
        assert_eq!(attributes(payload.as_bytes(), Casting::Enabled, &mut readings), Err(PayloadError { flaw, at }));
    }
    let error = PayloadError { flaw: Flaw::NotObject, at: 0 };
    assert_eq!(error.to_string(), "payload byte 0: expected an object");
}

#[test]
fn attribute_requests() {
    let check = |payload: &str, client: Option<&[&str]>, shared: Option<&[&str]>| {
        let request = attributes_request(payload.as_bytes()).expect("valid");
        let side = |keys: Option<&[&str]>| keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        assert_eq!((request.client, request.shared), (side(client), side(shared)), "{payload}");
    };
    check("{}", None, None);
    check(r#"{"clientKeys":"a,b","sharedKeys":"c"}"#, Some(&["a", "b"]), Some(&["c"]));
    check(r#"{"sharedKeys":"c,,\u0064,","clientKeys":null,"id":[1]}"#, None, Some(&["c", "d"]));
    check(r#"{"clientKeys":""}"#, Some(&[]), None);
    let many = format!(r#"{{"clientKeys":"{}"}}"#, vec!["k"; KEYS_PER_DEVICE_MAX + 1].join(","));
    for payload in [r#"{"clientKeys":1}"#, r#"{"sharedKeys":["a"]}"#, &many] {
        assert_eq!(attributes_request(payload.as_bytes()).expect_err("refused").flaw, Flaw::Keys);
    }
    assert_eq!(attributes_request(b"").expect_err("refused").flaw, Flaw::Truncated);
    assert_eq!(attributes_request(b"[]").expect_err("refused").flaw, Flaw::NotObject);
}

#[test]
fn rpc_requests() {
    let request = rpc(br#"{"method":"get\u0041","params":{"a": [1]},"x":0}"#).expect("valid");
    assert_eq!((&*request.method, request.params.map(|params| params.get())), ("getA", Some(r#"{"a": [1]}"#)));
    for absent in [r#"{"method":"m"}"#, r#"{"params":1,"method":"m","params":null}"#] {
        assert!(rpc(absent.as_bytes()).expect("valid").params.is_none());
    }
    for (payload, flaw, at) in
        [(r#"{"params":1}"#, Flaw::Method, 12), (r#"{"method":1}"#, Flaw::Method, 10), ("5", Flaw::NotObject, 0)]
    {
        assert_eq!(rpc(payload.as_bytes()).expect_err("refused"), PayloadError { flaw, at });
    }
}

#[test]
fn encoders_write_what_serde_json_reads() {
    let text = Value::Text(Cow::Borrowed("q\"\\\n\u{1}é😀/"));
    let values = [
        Value::Bool(true),
        Value::Long(i64::MIN),
        Value::Double(1e300),
        Value::Double(2.0),
        text,
        Value::Json(Cow::Borrowed(r#"{"a":[1]}"#)),
    ];
    let all: Vec<(&str, &Value<'_>)> = ["b", "l", "d", "w", "t\u{7f}\"", "j"].into_iter().zip(&values).collect();
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    let expected: serde_json::Map<_, _> = all.iter().map(|(key, value)| ((*key).to_owned(), value.to_json())).collect();

    let mut out = Vec::new();
    attributes_updated(&all, &mut out);
    assert_eq!(read(&out), json!(expected));
    for (client, shared, sides) in [
        (&all[..], &all[..1], json!({ "client": expected, "shared": { "b": true } })),
        (&[], &all[..1], json!({ "shared": { "b": true } })),
        (&all[1..2], &[], json!({ "client": { "l": i64::MIN } })),
        (&[], &[], json!({})),
    ] {
        out.clear();
        attributes_response(client, shared, &mut out);
        assert_eq!(read(&out), sides);
    }
    out.clear();
    attributes_deleted(&["a", "b\""], &mut out);
    assert_eq!(read(&out), json!({ "deleted": ["a", "b\""] }));
    out.clear();
    session_limits(None, None, &mut out);
    assert_eq!(read(&out), json!({ "maxPayloadSize": 65_536, "maxInflightMessages": 64, "rateLimits": {} }));
    let own = RateLimits {
        messages: RateLimit::parse("10:1").unwrap(),
        telemetry_data_points: RateLimit::parse("5:60").unwrap(),
        ..RateLimits::default()
    };
    out.clear();
    session_limits(Some(&own), Some(&RateLimits::default()), &mut out);
    let answer = json!({ "maxPayloadSize": 65_536, "maxInflightMessages": 64, "gatewayRateLimits": {},
        "rateLimits": { "messages": "10:1", "telemetryDataPoints": "5:60" } });
    assert_eq!(read(&out), answer);
}

/// Any JSON value, not too deep.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        (-1e6_f64..1e6).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,3}|ts|values|\\PC{1,4}", inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// What a JSON value must become, told from serde_json's tree; strings are not cast.
fn agrees(value: &Value<'_>, json: &serde_json::Value) -> bool {
    match (value, json) {
        (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Value::Text(a), serde_json::Value::String(b)) => a == b,
        (Value::Json(a), serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
            // Both from text, because serde_json's own reading of a double may be off in the last place.
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            read(a) == read(&json.to_string())
        }
        (Value::Long(a), serde_json::Value::Number(b)) => match b.as_i64() {
            Some(b) => *a == b,
            // A whole number written with an exponent.
            None => b.as_f64() == a.to_string().parse().ok(),
        },
        (Value::Double(a), serde_json::Value::Number(b)) => {
            // Here, too.
            b.as_f64().is_some_and(|b| (a - b).abs() <= b.abs() * f64::EPSILON)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_text_of_json_characters_is_read_or_refused(text in "[\\[\\]{}:,\"\\\\utrfnealsv0-9eE.+ -]{0,64}") {
        harness::any(text.as_bytes());
    }

    #[test]
    fn damaged_json_is_read_or_refused(json in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = json.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        harness::any(&bytes);
        // serde_json is the judge of what JSON is; only numbers beyond f64 it refuses, and surrogates it forgives.
        let judged = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes);
        let mine = Scanner::new(&bytes).and_then(|mut scanner| scanner.skip().and_then(|()| scanner.end()));
        match mine {
            Ok(()) => prop_assert!(judged.is_ok(), "{}: {:?}", String::from_utf8_lossy(&bytes), judged),
            Err(PayloadError { flaw: Flaw::Escape, .. }) => {}
            Err(error) => prop_assert!(judged.is_err(), "{}: {error}", String::from_utf8_lossy(&bytes)),
        }
        let truncated = bytes.get(..at).unwrap_or_default();
        harness::any(truncated);
    }

    #[test]
    fn readings_agree_with_serde_json(json in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.expect("JSON");
        let mut readings = Readings::default();
        let result = attributes(text.as_bytes(), Casting::Disabled, &mut readings);
        let Some(members) = json.as_object() else {
            prop_assert!(result.is_err());
            return Ok(());
        };
        let literal_refused = matches!(result, Err(PayloadError { flaw: Flaw::NumberTooLarge, .. }));
        if literal_refused {
            attributes(text.as_bytes(), Casting::Enabled, &mut readings).expect("with casting everything fits");
        } else {
            prop_assert_eq!(result, Ok(()));
        }
        let stored = members.iter().filter(|(_, value)| !value.is_null());
        prop_assert_eq!(readings.readings.len(), stored.clone().count());
        for (key, value) in stored {
            let reading = readings.readings.iter().find(|reading| reading.key == key.as_str());
            let reading = reading.expect("every member but nulls is a reading");
            let agrees = agrees(&reading.value, value)
                // With casting, text and numbers may change places; the text is the same.
                || literal_refused && matches!((&reading.value, value), (Value::Text(_), serde_json::Value::Number(_))
                    | (Value::Long(_) | Value::Double(_), serde_json::Value::String(_)));
            prop_assert!(agrees, "{key}: {:?} is not {value}", reading.value);
        }
    }

    #[test]
    fn every_f64_and_i64_survives(long in any::<i64>(), double in any::<f64>(), decimals in 0_usize..16) {
        let whole = format!(r#"{{"l":{long},"d":{double:.decimals$}}}"#, double = double % 1e9);
        if double.is_finite() {
            let mut readings = Readings::default();
            telemetry(whole.as_bytes(), Casting::Enabled, &mut readings).expect("valid");
            prop_assert_eq!(&readings.readings[0].value, &Value::Long(long));
            let written = format!("{:.decimals$}", double % 1e9);
            let expected = if decimals == 0 { Value::Long(written.parse().expect("whole")) }
                else { Value::Double(written.parse().expect("number")) };
            prop_assert_eq!(&readings.readings[1].value, &expected);
        }
    }

    #[test]
    fn encoded_text_is_read_back(text in any::<String>()) {
        let mut out = Vec::new();
        attributes_updated(&[("k", &Value::Text(Cow::Borrowed(&text)))], &mut out);
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).expect("JSON"), json!({ "k": text }));
        let mut readings = Readings::default();
        attributes(&out, Casting::Disabled, &mut readings).expect("valid");
        prop_assert_eq!(&readings.readings[0].value, &Value::Text(Cow::Borrowed(&text)));
    }
}
