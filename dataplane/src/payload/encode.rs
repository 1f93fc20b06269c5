//! Encodes what devices are sent as JSON. Appends to the caller's buffer, never parses.

use std::io::Write;

use schemas::config::RateLimits;

use crate::limits::{PAYLOAD_BYTES_MAX, RECEIPTS_PER_CONNECTION_MAX};
use crate::message::Value;

/// One attribute to be sent.
pub type Attribute<'v> = (&'v str, &'v Value<'v>);

/// The answer to an attributes request, `{"client":{..},"shared":{..}}`; a side without attributes is left out.
pub fn attributes_response(client: &[Attribute<'_>], shared: &[Attribute<'_>], into: &mut Vec<u8>) {
    into.push(b'{');
    for (side, attributes) in [("client", client), ("shared", shared)] {
        if attributes.is_empty() {
            continue;
        }
        if into.last() != Some(&b'{') {
            into.push(b',');
        }
        string(side, into);
        into.push(b':');
        object(attributes, into);
    }
    into.push(b'}');
}

/// The notification of changed shared attributes, `{"k":v}`.
pub fn attributes_updated(attributes: &[Attribute<'_>], into: &mut Vec<u8>) {
    object(attributes, into);
}

/// The notification of deleted shared attributes, `{"deleted":["k"]}`.
pub fn attributes_deleted(keys: &[&str], into: &mut Vec<u8>) {
    into.extend_from_slice(b"{\"deleted\":[");
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        string(key, into);
    }
    into.extend_from_slice(b"]}");
}

/// The answer to the client-side RPC `getSessionLimits`. Limits that are none are not named; `gateway`: those of a gateway's own
/// account, while `own` are those of each of its children then.
pub fn session_limits(own: Option<&RateLimits>, gateway: Option<&RateLimits>, into: &mut Vec<u8>) {
    print(into, format_args!("{{\"maxPayloadSize\":{PAYLOAD_BYTES_MAX},\"maxInflightMessages\":{RECEIPTS_PER_CONNECTION_MAX}"));
    into.extend_from_slice(b",\"rateLimits\":");
    rate_limits(own, into);
    if gateway.is_some() {
        into.extend_from_slice(b",\"gatewayRateLimits\":");
        rate_limits(gateway, into);
    }
    into.push(b'}');
}

fn rate_limits(limits: Option<&RateLimits>, into: &mut Vec<u8>) {
    into.push(b'{');
    let named = limits.map(|limits| {
        [
            ("messages", &limits.messages),
            ("telemetryMessages", &limits.telemetry_messages),
            ("telemetryDataPoints", &limits.telemetry_data_points),
        ]
    });
    for (name, limit) in named.into_iter().flatten().filter(|(_, limit)| !limit.is_unlimited()) {
        if into.last() != Some(&b'{') {
            into.push(b',');
        }
        print(into, format_args!("\"{name}\":\"{limit}\""));
    }
    into.push(b'}');
}

/// A call of the server, `{"method":"m","params":…}`; with `id` where no topic says it. `params` is JSON text or empty.
pub fn rpc_request(id: Option<u32>, method: &str, params: &str, into: &mut Vec<u8>) {
    into.push(b'{');
    if let Some(id) = id {
        print(into, format_args!("\"id\":{id},"));
    }
    into.extend_from_slice(b"\"method\":");
    string(method, into);
    into.extend_from_slice(b",\"params\":");
    into.extend_from_slice(if params.is_empty() { b"{}" } else { params.as_bytes() });
    into.push(b'}');
}

pub(super) fn object(attributes: &[Attribute<'_>], into: &mut Vec<u8>) {
    into.push(b'{');
    for (index, (key, value)) in attributes.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        string(key, into);
        into.push(b':');
        encode(value, into);
    }
    into.push(b'}');
}

pub(super) fn encode(value: &Value<'_>, into: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => print(into, format_args!("{value}")),
        Value::Long(value) => print(into, format_args!("{value}")),
        // Debug keeps the ".0" of whole doubles and writes exponents as JSON does.
        Value::Double(value) if value.is_finite() => print(into, format_args!("{value:?}")),
        Value::Double(_) => into.extend_from_slice(b"null"),
        Value::Text(text) => string(text, into),
        Value::Json(text) => into.extend_from_slice(text.as_bytes()),
    }
}

pub(super) fn string(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => into.extend_from_slice(&[b'\\', byte]),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            0..=0x1f => print(into, format_args!("\\u{byte:04x}")),
            _ => into.push(byte),
        }
    }
    into.push(b'"');
}

pub(super) fn print(into: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec has no way to fail.
    let _ = into.write_fmt(text);
}
