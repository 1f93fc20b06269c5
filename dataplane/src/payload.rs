//! Device payloads: JSON bytes to typed readings, parsed once and borrowed from the input, and JSON for devices. Protobuf by a
//! profile's schema and FlatBuffers become the same readings.
//!
//! The forms and casts are ThingsBoard's. Never judges timestamps against the clock (device state does), never builds a
//! tree, and is total on any bytes.

mod encode;
pub mod flat;
mod gateway;
pub mod harness;
mod json;
mod last_wins;
mod number;
pub mod protobuf;
#[cfg(test)]
mod tests;

pub use encode::{Attribute, attributes_deleted, attributes_response, attributes_updated, rpc_request, session_limits};
pub use gateway::{Part, Said, gateway_attributes, gateway_message, parts, said};

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::limits::{
    DECODED_BYTES_MAX, ENTRIES_PER_MESSAGE_MAX, KEY_BYTES_MAX, KEYS_PER_DEVICE_MAX, NAME_BYTES_MAX, READINGS_PER_MESSAGE_MAX,
};
use crate::message::{Entry, Reading, Readings, Value};
use crate::payload::json::Scanner;
use crate::payload::last_wins::{Null, keep_last};

/// ThingsBoard's `JSON_TYPE_CAST_ENABLED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Casting {
    /// Strings that look numeric become numbers; numbers beyond i64 and f64 become strings, as written (DESIGN 28).
    #[default]
    Enabled,
    /// Strings stay strings; numbers beyond i64 and f64 are refused.
    Disabled,
}

/// Why a payload is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload byte {at}: {flaw}")]
pub struct PayloadError {
    pub flaw: Flaw,
    /// Bytes read before the flaw was found.
    pub at: usize,
}

/// What is wrong with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the JSON text ends too early")]
    Truncated,
    #[error("unexpected character")]
    Unexpected,
    #[error("more text after the JSON value")]
    Trailing,
    #[error("unescaped control character in a string")]
    Control,
    #[error("invalid escape sequence")]
    Escape,
    #[error("nested deeper than {} levels", crate::limits::JSON_DEPTH_MAX)]
    Depth,
    #[error("expected an object")]
    NotObject,
    #[error("expected an object or an array of objects")]
    NotForm,
    #[error("ts: expected an integer, milliseconds since 1970")]
    Ts,
    #[error("values: expected an object")]
    Values,
    #[error("a key is empty")]
    KeyEmpty,
    #[error("a key is longer than {KEY_BYTES_MAX} bytes")]
    KeyTooLong,
    #[error("more than {READINGS_PER_MESSAGE_MAX} values")]
    TooManyReadings,
    #[error("more than {ENTRIES_PER_MESSAGE_MAX} timestamps")]
    TooManyEntries,
    #[error("a number is beyond i64 and f64")]
    NumberTooLarge,
    #[error("clientKeys and sharedKeys: expected a string of at most {KEYS_PER_DEVICE_MAX} keys, separated by commas")]
    Keys,
    #[error("method: expected a string")]
    Method,
    #[error("device: expected a name of 1 to {NAME_BYTES_MAX} bytes")]
    Device,
    #[error("id: expected an integer")]
    RequestId,
    #[error("secretKey: expected a string; durationMs: a number of milliseconds")]
    Claim,
    #[error("the protobuf message ends too early")]
    WireTruncated,
    #[error("not protobuf: no such field number or wire type")]
    WireTag,
    #[error("not protobuf: a number of more than 10 bytes")]
    WireNumber,
    #[error("more than {DECODED_BYTES_MAX} bytes when it is written out")]
    DecodedTooLarge,
    #[error("not FlatBuffers of schemas/fbs/payload.fbs: an offset leads nowhere, or a required field is missing")]
    Flat,
}

/// Reads telemetry: `{"k":v}`, `{"ts":t,"values":{"k":v}}`, or an array of either. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn telemetry<'a>(bytes: &'a [u8], casting: Casting, into: &mut Readings<'a>) -> Result<(), PayloadError> {
    refill(into, |into| {
        let mut scanner = Scanner::new(bytes)?;
        match scanner.token()? {
            b'{' => entry(&mut scanner, casting, into)?,
            b'[' => scanner.array(|scanner| match scanner.token()? {
                b'{' => entry(scanner, casting, into),
                _ => Err(scanner.error(Flaw::NotForm)),
            })?,
            _ => return Err(scanner.error(Flaw::NotForm)),
        }
        scanner.end()
    })
}

/// Reads attributes: `{"k":v}`, one entry without ts. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn attributes<'a>(bytes: &'a [u8], casting: Casting, into: &mut Readings<'a>) -> Result<(), PayloadError> {
    refill(into, |into| {
        let mut scanner = Scanner::new(bytes)?;
        let mut nulls = Vec::new();
        members(&mut scanner, casting, into, &mut nulls, Flaw::NotObject)?;
        close(&scanner, into, 0, None, &nulls)?;
        scanner.end()
    })
}

/// Which attributes a device asks for; both absent means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributesRequest {
    pub client: Option<Vec<String>>,
    pub shared: Option<Vec<String>>,
}

/// Reads `{"clientKeys":"a,b","sharedKeys":"c"}`. A side that is absent or null asks for nothing of that side, unless both are.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn attributes_request(bytes: &[u8]) -> Result<AttributesRequest, PayloadError> {
    let mut scanner = Scanner::new(bytes)?;
    let mut request = AttributesRequest::default();
    expect_object(&mut scanner, Flaw::NotObject)?;
    scanner.object(|scanner, key| {
        let side = match &*key {
            "clientKeys" => &mut request.client,
            "sharedKeys" => &mut request.shared,
            _ => return scanner.skip(),
        };
        *side = match scanner.token()? {
            b'n' => scanner.word("null").map(|()| None)?,
            b'"' => Some(keys(scanner)?),
            _ => return Err(scanner.error(Flaw::Keys)),
        };
        Ok(())
    })?;
    scanner.end()?;
    Ok(request)
}

fn keys(scanner: &mut Scanner<'_>) -> Result<Vec<String>, PayloadError> {
    let text = scanner.string()?;
    let keys = text.split(',').filter(|key| !key.is_empty());
    // One more than allowed is enough to know that there are too many.
    let keys: Vec<String> = keys.take(KEYS_PER_DEVICE_MAX + 1).map(str::to_owned).collect();
    if keys.len() > KEYS_PER_DEVICE_MAX { Err(scanner.error(Flaw::Keys)) } else { Ok(keys) }
}

/// A request of a device to the server. `params` is `None` when absent or null.
#[derive(Clone, Debug)]
pub struct Rpc<'a> {
    pub method: Cow<'a, str>,
    pub params: Option<&'a RawValue>,
}

/// Reads `{"method":"m","params":…}`.
///
/// # Errors
/// [`PayloadError`] when it is not an object with a method.
pub fn rpc(bytes: &[u8]) -> Result<Rpc<'_>, PayloadError> {
    let mut scanner = Scanner::new(bytes)?;
    let mut method = None;
    let mut params = None;
    expect_object(&mut scanner, Flaw::NotObject)?;
    scanner.object(|scanner, key| {
        match (&*key, scanner.token()?) {
            ("method", b'"') => method = Some(scanner.string()?),
            ("method", _) => return Err(scanner.error(Flaw::Method)),
            ("params", b'n') => {
                scanner.word("null")?;
                params = None;
            }
            ("params", _) => {
                let from = scanner.at();
                scanner.skip()?;
                let text = scanner.slice(from, scanner.at());
                params = Some(serde_json::from_str(text).map_err(|_| scanner.error(Flaw::Unexpected))?);
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    Ok(Rpc { method: method.ok_or_else(|| scanner.error(Flaw::Method))?, params })
}

/// Whether this is one JSON value and nothing else.
#[must_use]
pub fn is_json(bytes: &[u8]) -> bool {
    let whole = |mut scanner: Scanner<'_>| {
        scanner.token()?;
        scanner.skip()?;
        scanner.end()
    };
    Scanner::new(bytes).and_then(whole).is_ok()
}

/// What a device says to be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim<'a> {
    pub secret_key: Cow<'a, str>,
    /// 0: the platform's default.
    pub duration_ms: i64,
}

/// Reads `{"secretKey":"x","durationMs":60000}`; nothing at all is an empty claim.
///
/// # Errors
/// [`PayloadError`].
pub fn claim(bytes: &[u8]) -> Result<Claim<'_>, PayloadError> {
    let mut claim = Claim::default();
    if bytes.trim_ascii().is_empty() {
        return Ok(claim);
    }
    let mut scanner = Scanner::new(bytes)?;
    expect_object(&mut scanner, Flaw::NotObject)?;
    scanner.object(|scanner, key| {
        match (&*key, scanner.token()?) {
            ("secretKey", b'"') => claim.secret_key = scanner.string()?,
            // Protobuf's 64-bit numbers are strings in JSON.
            ("durationMs", first) => {
                let refused = scanner.error(Flaw::Claim);
                let digits = if first == b'"' { scanner.string() } else { scanner.number().map(Cow::Borrowed) };
                claim.duration_ms = digits.map_err(|_| refused)?.parse().map_err(|_| refused)?;
            }
            ("secretKey", _) => return Err(scanner.error(Flaw::Claim)),
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    if claim.duration_ms < 0 { Err(scanner.error(Flaw::Claim)) } else { Ok(claim) }
}

fn refill<'a, F>(into: &mut Readings<'a>, read: F) -> Result<(), PayloadError>
where
    F: FnOnce(&mut Readings<'a>) -> Result<(), PayloadError>,
{
    into.entries.clear();
    into.readings.clear();
    let result = read(into);
    if result.is_err() {
        into.entries.clear();
        into.readings.clear();
    }
    result
}

/// Reads one object of telemetry. Only an object that has both `ts` and `values` is of the second form; with one of them it
/// is a flat object with a key of that name. Beside both, other members mean nothing.
fn entry<'a>(scanner: &mut Scanner<'a>, casting: Casting, into: &mut Readings<'a>) -> Result<(), PayloadError> {
    let from = into.readings.len();
    let mut nulls = Vec::new();
    let (mut ts_at, mut values_at) = (None, None);
    // The readings of `values` are already in `into`.
    let mut filled = false;
    scanner.object(|scanner, key| match &*key {
        "ts" => {
            ts_at = Some(scanner.at());
            scanner.skip()
        }
        "values" => {
            values_at = Some(scanner.at());
            filled = ts_at.is_some();
            if !filled {
                return scanner.skip();
            }
            into.readings.truncate(from);
            nulls.clear();
            members(scanner, casting, into, &mut nulls, Flaw::Values)
        }
        _ if ts_at.is_some() && values_at.is_some() => scanner.skip(),
        _ => reading(scanner, key, casting, into, &mut nulls),
    })?;
    let ts = match (ts_at, values_at) {
        (Some(ts_at), Some(values_at)) => {
            if !filled {
                into.readings.truncate(from);
                nulls.clear();
                members(&mut scanner.from(values_at), casting, into, &mut nulls, Flaw::Values)?;
            }
            Some(timestamp(scanner.from(ts_at))?)
        }
        (at, other) => {
            let name = if at.is_some() { "ts" } else { "values" };
            if let Some(at) = at.or(other) {
                reading(&mut scanner.from(at), Cow::Borrowed(name), casting, into, &mut nulls)?;
            }
            None
        }
    };
    close(scanner, into, from, ts, &nulls)
}

fn timestamp(mut scanner: Scanner<'_>) -> Result<Timestamp, PayloadError> {
    let refused = scanner.error(Flaw::Ts);
    let literal = scanner.number().map_err(|_| refused)?;
    literal.parse().map(Timestamp).map_err(|_| refused)
}

fn expect_object(scanner: &mut Scanner<'_>, flaw: Flaw) -> Result<(), PayloadError> {
    if scanner.token()? == b'{' { Ok(()) } else { Err(scanner.error(flaw)) }
}

/// Reads an object of readings; `flaw` is what it means if it is none.
fn members<'a>(
    scanner: &mut Scanner<'a>,
    casting: Casting,
    into: &mut Readings<'a>,
    nulls: &mut Vec<Null<'a>>,
    flaw: Flaw,
) -> Result<(), PayloadError> {
    expect_object(scanner, flaw)?;
    scanner.object(|scanner, key| reading(scanner, key, casting, into, nulls))
}

fn reading<'a>(
    scanner: &mut Scanner<'a>,
    key: Cow<'a, str>,
    casting: Casting,
    into: &mut Readings<'a>,
    nulls: &mut Vec<Null<'a>>,
) -> Result<(), PayloadError> {
    match key.len() {
        0 => return Err(scanner.error(Flaw::KeyEmpty)),
        1..=KEY_BYTES_MAX => {}
        _ => return Err(scanner.error(Flaw::KeyTooLong)),
    }
    if into.readings.len() + nulls.len() >= READINGS_PER_MESSAGE_MAX {
        return Err(scanner.error(Flaw::TooManyReadings));
    }
    match value(scanner, casting)? {
        Some(value) => into.readings.push(Reading { key, value }),
        None => nulls.push(Null { key, before: into.readings.len() }),
    }
    Ok(())
}

/// `None` is null.
fn value<'a>(scanner: &mut Scanner<'a>, casting: Casting) -> Result<Option<Value<'a>>, PayloadError> {
    Ok(Some(match scanner.token()? {
        b'"' => {
            let text = scanner.string()?;
            let number = (casting == Casting::Enabled && number::looks_numeric(&text)).then(|| number::cast(&text));
            number.flatten().unwrap_or(Value::Text(text))
        }
        b'{' | b'[' => Value::Json(scanner.compact()?),
        b't' => scanner.word("true").map(|()| Value::Bool(true))?,
        b'f' => scanner.word("false").map(|()| Value::Bool(false))?,
        b'n' => return scanner.word("null").map(|()| None),
        _ => {
            let refused = scanner.error(Flaw::NumberTooLarge);
            let literal = scanner.number()?;
            match (number::cast(literal), casting) {
                (Some(value), _) => value,
                (None, Casting::Enabled) => Value::Text(Cow::Borrowed(literal)),
                (None, Casting::Disabled) => return Err(refused),
            }
        }
    }))
}

/// Makes an entry of the readings from `from` on; none if there are none.
fn close<'a>(
    scanner: &Scanner<'a>,
    into: &mut Readings<'a>,
    from: usize,
    ts: Option<Timestamp>,
    nulls: &[Null<'a>],
) -> Result<(), PayloadError> {
    keep_last(&mut into.readings, from, nulls);
    let range = from..into.readings.len();
    if range.is_empty() {
        return Ok(());
    }
    if into.entries.len() >= ENTRIES_PER_MESSAGE_MAX {
        return Err(scanner.error(Flaw::TooManyEntries));
    }
    into.entries.push(Entry { ts, range });
    Ok(())
}
