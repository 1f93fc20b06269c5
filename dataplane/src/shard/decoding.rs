//! Payloads by the profile of the device: which codec reads or writes them (reference 1.1). Never evaluates anything; what a payload
//! gets wrong is an outcome.

use schemas::config::Payload;
use schemas::protobuf::Payloads;
use serde_json::{Value, json};

use crate::message::Readings;
use crate::payload::protobuf::{self, Unwritable};
use crate::payload::{self, Casting, PayloadError, flat};
use crate::session::{Format, Operation, Outcome};

/// Of what is JSON whatever the profile says: HTTP and gateways.
pub(super) const JSON: (&Payload, Format) = (&Payload::Json, Format::Json);

/// How a payload is written.
enum Way<'p> {
    Json,
    Protobuf {
        by: &'p Payloads,
        /// What is no protobuf may be JSON.
        or_json: bool,
    },
    FlatBuffers,
}

fn way(profile: &Payload, format: Format) -> Result<Way<'_>, Outcome> {
    match (format, profile) {
        (Format::Json, _) | (Format::Profile, Payload::Json) => Ok(Way::Json),
        (Format::Profile, Payload::Protobuf(by)) => Ok(Way::Protobuf { by, or_json: by.json_compatible }),
        (Format::Protobuf, Payload::Protobuf(by)) => Ok(Way::Protobuf { by, or_json: false }),
        (Format::Profile, Payload::FlatBuffers) => Ok(Way::FlatBuffers),
        // Without a schema its bytes mean nothing.
        (Format::Protobuf, _) => Err(Outcome::PayloadInvalid),
    }
}

/// Reads telemetry as the topic or the profile says.
///
/// # Errors
/// [`Outcome::PayloadInvalid`].
pub(super) fn telemetry<'a>(
    profile: &'a Payload,
    format: Format,
    bytes: &'a [u8],
    into: &mut Readings<'a>,
) -> Result<(), Outcome> {
    let read = match way(profile, format)? {
        Way::Json => payload::telemetry(bytes, Casting::Enabled, into),
        Way::FlatBuffers => flat::telemetry(bytes, into),
        Way::Protobuf { by, or_json } => match protobuf::telemetry(&by.telemetry, bytes, Casting::Enabled, into) {
            Err(_) if or_json => payload::telemetry(bytes, Casting::Enabled, into),
            read => read,
        },
    };
    read.map_err(invalid)
}

/// Reads attributes as the topic or the profile says.
///
/// # Errors
/// [`Outcome::PayloadInvalid`].
pub(super) fn attributes<'a>(
    profile: &'a Payload,
    format: Format,
    bytes: &'a [u8],
    into: &mut Readings<'a>,
) -> Result<(), Outcome> {
    let read = match way(profile, format)? {
        Way::Json => payload::attributes(bytes, Casting::Enabled, into),
        Way::FlatBuffers => flat::attributes(bytes, into),
        Way::Protobuf { by, or_json } => match protobuf::attributes(&by.attributes, bytes, Casting::Enabled, into) {
            Err(_) if or_json => payload::attributes(bytes, Casting::Enabled, into),
            read => read,
        },
    };
    read.map_err(invalid)
}

/// What is asked or answered in protobuf, rewritten as JSON in `json`. Everything else as it is: FlatBuffers has readings only.
///
/// # Errors
/// [`Outcome::PayloadInvalid`].
pub(super) fn as_json<'a>(profile: &Payload, operation: Operation<'a>, json: &'a mut Vec<u8>) -> Result<Operation<'a>, Outcome> {
    let (bytes, format) = match operation {
        Operation::AttributesRequest { payload, format, .. }
        | Operation::RpcRequest { payload, format, .. }
        | Operation::RpcResponse { payload, format, .. } => (payload, format),
        Operation::Claim { payload } => (payload, Format::Profile),
        _ => return Ok(operation),
    };
    let Way::Protobuf { by, or_json } = way(profile, format)? else { return Ok(operation) };
    let read = match operation {
        Operation::AttributesRequest { .. } => protobuf::json(&by.attributes_request, bytes),
        Operation::RpcRequest { .. } => protobuf::rpc_call(&by.rpc_call, bytes),
        Operation::RpcResponse { .. } => protobuf::json(&by.rpc_response, bytes),
        _ => protobuf::json(&by.claim, bytes),
    };
    match read {
        Ok(text) => *json = text,
        Err(_) if or_json => return Ok(operation),
        Err(error) => return Err(invalid(error)),
    }
    let (payload, format): (&'a [u8], _) = (json, Format::Json);
    Ok(match operation {
        Operation::AttributesRequest { id, .. } => Operation::AttributesRequest { id, payload, format },
        Operation::RpcRequest { id, .. } => Operation::RpcRequest { id, payload, format },
        Operation::RpcResponse { id, .. } => Operation::RpcResponse { id, payload, format },
        _ => Operation::Claim { payload },
    })
}

/// A call of the server, `{"method":"m","params":…}`, by the profile's schema.
///
/// # Errors
/// [`Unwritable`] when the schema has no place for such params.
pub(super) fn call(by: &Payloads, id: u32, text: &[u8]) -> Result<Vec<u8>, Unwritable> {
    let not_json = |_| Unwritable { field: "params".to_owned(), what: "expected JSON" };
    let mut call: Value = serde_json::from_slice(text).map_err(not_json)?;
    call["requestId"] = json!(id);
    protobuf::write(&by.rpc_request, &call)
}

/// Which flaw it is nobody hears: the protocols have one word for all of them.
fn invalid(_: PayloadError) -> Outcome {
    Outcome::PayloadInvalid
}
