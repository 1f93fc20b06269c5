//! Messages of every kind, with values at the edges of what JavaScript makes of them.

use std::borrow::Cow;
use std::rc::Rc;

use schemas::chain::{EntityType, MessageType};
use schemas::id::{EntityId, TenantId};
use serde_json::Value as Json;
use uuid::Uuid;

use super::Draw;
use super::scripts::KEYS;
use crate::clock::Timestamp;
use crate::message::{Body, Entry, Message, Reading, Readings, Scope, Value};
use crate::rules::carried::{Carried, Changed, Kind};

const TEXTS: [&str; 20] = [
    "",
    "5",
    " 5\n",
    "A",
    "t",
    "1e3",
    "0x10",
    "é",
    "😀",
    "\u{e000}",
    "Infinity",
    "-",
    "-0",
    "undefined",
    "12e",
    "1_0",
    "true",
    "\u{feff}7",
    "100000000000000000000000000000000000000000000",
    "a\"\\\u{1}b",
];

const JSONS: [&str; 7] = [
    r#"{"b":1}"#,
    r#"{"b":{"x":"7","gone":null},"t":null,"a":[]}"#,
    r#"[1,{"a":-0.0}]"#,
    r#"{"b":9007199254740993,"c":1.0,"d":-0.0,"e":[1e21,0.30000000000000004,18446744073709551615,2.5e-9]}"#,
    "{}",
    "[]",
    r#"{"x":{"__proto__":1,"0":2,"é":3.14}}"#,
];

fn double(draw: &mut Draw<'_>) -> f64 {
    let edges = [0.0, -0.0, 0.1, 1e21, 1e-7, 123_456.789, 5e-324, f64::MAX, 18_446_744_073_709_550_000.0, 20.0, 4_294_967_296.5];
    let number = match draw.below(3) {
        0 => f64::from_bits(draw.number()),
        1 => f64::from(draw.byte()) / 10.0,
        _ => edges[usize::from(draw.below(11))],
    };
    // Devices have no others.
    if number.is_finite() { number } else { 0.5 }
}

fn whole(draw: &mut Draw<'_>) -> i64 {
    let edges = [0, -1, 5, 20, (1 << 53) + 1, i64::MAX, i64::MIN, -(1 << 53), 100];
    match draw.below(3) {
        0 => i64::from_ne_bytes(draw.number().to_ne_bytes()),
        1 => i64::from(draw.byte()),
        _ => edges[usize::from(draw.below(9))],
    }
}

fn value(draw: &mut Draw<'_>) -> Value<'static> {
    match draw.below(5) {
        0 => Value::Bool(draw.below(2) == 0),
        1 => Value::Long(whole(draw)),
        2 => Value::Double(double(draw)),
        3 => Value::Text(Cow::Borrowed(draw.one_of(&TEXTS)).into_owned().into()),
        _ => Value::Json(draw.one_of(&JSONS).to_owned().into()),
    }
}

fn readings(draw: &mut Draw<'_>) -> Readings<'static> {
    let count = usize::from(draw.below(6));
    let reading = |draw: &mut Draw<'_>| Reading { key: draw.one_of(&KEYS).to_owned().into(), value: value(draw) };
    let readings = (0..count).map(|_| reading(draw)).collect();
    let ts = (draw.below(2) == 0).then_some(Timestamp(1_700_000_000_000));
    Readings { entries: vec![Entry { ts, range: 0..count }], readings }
}

fn message(kind: MessageType, body: Body<'static>) -> Message<'static> {
    Message {
        kind,
        originator: EntityId(Uuid::from_u128(7)),
        originator_type: EntityType::Device,
        tenant: TenantId(Uuid::from_u128(1)),
        device_name: "A",
        device_type: "default",
        received: Timestamp(5),
        body,
    }
}

/// The one whose messages these are.
pub(super) fn originator() -> Message<'static> {
    message(MessageType::ActivityEvent, Body::Lifecycle)
}

/// One message of each body.
pub(super) fn examples() -> [Message<'static>; 4] {
    let readings = readings(&mut Draw(&[3, 1, 0, 1, 1, 1, 3, 2]));
    [
        message(MessageType::PostTelemetryRequest, Body::Telemetry(readings.clone())),
        message(MessageType::PostAttributesRequest, Body::Attributes { scope: Scope::Client, readings }),
        message(MessageType::ToServerRpcRequest, Body::Rpc { request: r#"{"method":"m","params":{}}"#.into(), id: Some(1) }),
        originator(),
    ]
}

pub(super) fn with_message<R>(draw: &mut Draw<'_>, see: impl FnOnce(&Carried<'_>) -> R) -> R {
    let message = match draw.below(9) {
        0 => message(MessageType::AttributesUpdated, Body::Attributes { scope: Scope::Shared, readings: readings(draw) }),
        1 => message(MessageType::TimeseriesDeleted, Body::Deleted { keys: vec!["a".into()] }),
        2 => message(
            MessageType::ToServerRpcRequest,
            Body::Rpc { request: r#"{"a":{"b":1.0},"t":"x"}"#.into(), id: Some(draw.byte().into()) },
        ),
        3 => message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[7]".into(), id: None }),
        4 => originator(),
        5 => message(MessageType::PostTelemetryRequest, Body::Telemetry(Readings::default())),
        6 => return see(&Carried::Changed(Rc::new(changed(draw)))),
        _ => message(MessageType::PostTelemetryRequest, Body::Telemetry(readings(draw))),
    };
    see(&Carried::AsCame(&message))
}

/// A message that a node made.
fn changed(draw: &mut Draw<'_>) -> Changed {
    let member = |draw: &mut Draw<'_>| (draw.one_of(&KEYS).to_owned(), value(draw).to_json());
    let data = match draw.below(8) {
        0 => Json::Null,
        1 => value(draw).to_json(),
        _ => Json::Object((0..draw.below(6)).map(|_| member(draw)).collect()),
    };
    let metadata = (0..draw.below(5)).map(|_| (draw.one_of(&KEYS).to_owned(), draw.one_of(&TEXTS).to_owned())).collect();
    let kind = Kind::parse(draw.one_of(&["POST_TELEMETRY_REQUEST", "MINE", ""]));
    Changed { kind, metadata, data, own_ts: draw.below(2) == 0 }
}
