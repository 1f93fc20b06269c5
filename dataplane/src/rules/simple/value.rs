//! Values of simple scripts and what JavaScript's operators make of them (ECMA-262, 7 and 13). What depends on an object, or would
//! throw, has no answer here: `None` leaves it to the engine.

use std::borrow::Cow;
use std::cmp::Ordering;

use schemas::script::simple::{Binary, Unary};
use serde_json::Value as Json;

use crate::limits::SIMPLE_TEXT_BYTES_MAX;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'v> {
    Undefined,
    Null,
    Truth(bool),
    Number(f64),
    Text(Cow<'v, str>),
    /// An object or an array, whatever is in it.
    Thing,
}

impl<'v> Value<'v> {
    pub(super) fn of(json: &'v Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Truth(*truth),
            // Whole numbers beyond 2^53 become the nearest double, as when the engine parses them.
            Json::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(_) | Json::Object(_) => Self::Thing,
        }
    }

    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Truth(truth) => Value::Truth(truth),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Thing => Value::Thing,
        }
    }

    /// ToBoolean.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Undefined | Self::Null => false,
            Self::Truth(truth) => *truth,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::Thing => true,
        }
    }

    /// ToNumber.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Undefined => Some(f64::NAN),
            Self::Null => Some(0.0),
            Self::Truth(truth) => Some(f64::from(u8::from(*truth))),
            Self::Number(number) => Some(*number),
            Self::Text(text) => number_of(text),
            Self::Thing => None,
        }
    }

    /// ToString.
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Undefined => "undefined".into(),
            Self::Null => "null".into(),
            Self::Truth(true) => "true".into(),
            Self::Truth(false) => "false".into(),
            Self::Number(number) => written(*number).into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Thing => return None,
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Truth(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Null | Self::Thing => "object",
        }
    }
}

pub(super) fn unary<'v>(operator: Unary, value: &Value<'_>) -> Option<Value<'v>> {
    Some(match operator {
        Unary::Not => Value::Truth(!value.truth()),
        Unary::Minus => Value::Number(-value.number()?),
        Unary::Plus => Value::Number(value.number()?),
        Unary::TypeOf => Value::Text(value.kind().into()),
    })
}

pub(super) fn binary<'v>(operator: Binary, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'v>> {
    let numbers = || Some((left.number()?, right.number()?));
    let calculated = |by: fn(f64, f64) -> f64| numbers().map(|(left, right)| Value::Number(by(left, right)));
    let judged = |is: Option<bool>| is.map(Value::Truth);
    match operator {
        Binary::Add => add(left, right),
        Binary::Subtract => calculated(|left, right| left - right),
        Binary::Multiply => calculated(|left, right| left * right),
        Binary::Divide => calculated(|left, right| left / right),
        Binary::Remainder => calculated(|left, right| left % right),
        Binary::Less => judged(compare(left, right).map(|order| order == Some(Ordering::Less))),
        Binary::Greater => judged(compare(left, right).map(|order| order == Some(Ordering::Greater))),
        Binary::LessOrEqual => judged(compare(left, right).map(|order| order.is_some_and(Ordering::is_le))),
        Binary::GreaterOrEqual => judged(compare(left, right).map(|order| order.is_some_and(Ordering::is_ge))),
        Binary::Equal => judged(equal(left, right)),
        Binary::NotEqual => judged(equal(left, right).map(|is| !is)),
        Binary::Same => judged(same(left, right)),
        Binary::NotSame => judged(same(left, right).map(|is| !is)),
    }
}

fn add<'v>(left: &Value<'_>, right: &Value<'_>) -> Option<Value<'v>> {
    if !matches!(left, Value::Text(_)) && !matches!(right, Value::Text(_)) {
        return Some(Value::Number(left.number()? + right.number()?));
    }
    let (left, right) = (left.text()?, right.text()?);
    // What grows is the engine's, which has limits for it.
    (left.len() + right.len() <= SIMPLE_TEXT_BYTES_MAX).then(|| Value::Text(Cow::Owned([left, right].concat())))
}

/// IsLessThan, in both directions; `Some(None)`: one of them is not a number.
fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    if let (Value::Text(left), Value::Text(right)) = (left, right) {
        return Some(Some(by_units(left, right)));
    }
    Some(left.number()?.partial_cmp(&right.number()?))
}

/// Texts are compared by UTF-16 units: what lies beyond the first plane comes before its last 8,192 characters.
fn by_units(left: &str, right: &str) -> Ordering {
    let differ = left.chars().zip(right.chars()).find(|(left, right)| left != right);
    match differ {
        Some((left, right)) => left.encode_utf16(&mut [0; 2]).cmp(&right.encode_utf16(&mut [0; 2])),
        None => left.len().cmp(&right.len()),
    }
}

/// IsLooselyEqual.
fn equal(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    let is_none = |value: &Value<'_>| matches!(value, Value::Undefined | Value::Null);
    if is_none(left) || is_none(right) {
        return Some(is_none(left) && is_none(right));
    }
    if std::mem::discriminant(left) == std::mem::discriminant(right) {
        return same(left, right);
    }
    // Of different types; an object is asked for its value.
    Some(left.number()? == right.number()?)
}

/// IsStrictlyEqual.
fn same(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    match (left, right) {
        // Which one it is, is not known here.
        (Value::Thing, Value::Thing) => None,
        (Value::Number(left), Value::Number(right)) => Some(left == right),
        (left, right) => Some(left == right),
    }
}

/// What a text is as a number (StringToNumber).
fn number_of(text: &str) -> Option<f64> {
    if !text.is_ascii() {
        // Some of the others are white space.
        return None;
    }
    let digits = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    if digits.is_empty() {
        return Some(0.0);
    }
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned == "Infinity" {
        return Some(if digits.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        // Hexadecimal, octal and binary ones are rare.
        let other = unsigned.strip_prefix('0').is_some_and(|rest| rest.starts_with(['x', 'X', 'o', 'O', 'b', 'B']));
        return if other { None } else { Some(f64::NAN) };
    }
    // Longer ones than any double needs.
    if digits.len() > 40 { None } else { Some(digits.parse().unwrap_or(f64::NAN)) }
}

/// A number as JavaScript writes it (Number::toString).
pub(super) fn written(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let Some((digits, point)) = digits_of(number.abs()) else { return "0".to_owned() };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let sign = if number < 0.0 { "-" } else { "" };
    if (count..=21).contains(&point) {
        format!("{sign}{digits}{}", zeros(point - count))
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{sign}{whole}.{fraction}")
    } else if (-5..=0).contains(&point) {
        format!("{sign}0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let (direction, exponent) = if point > 0 { ("+", point - 1) } else { ("-", 1 - point) };
        format!("{sign}{first}{dot}{rest}e{direction}{exponent}")
    }
}

/// The fewest digits that are this number and no other, and where its point lies among them; of two as near the even one, which
/// Rust's own formatting does not choose. `None`: 0.
fn digits_of(number: f64) -> Option<(String, i32)> {
    let shortest = serde_json::Number::from_f64(number)?.to_string();
    let (mantissa, exponent) = shortest.split_once(['e', 'E']).unwrap_or((&shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let leading = i32::try_from(all.len() - digits.len()).ok()?;
    let point = i32::try_from(whole.len()).ok()? - leading + exponent.parse::<i32>().ok()?;
    let digits = digits.trim_end_matches('0');
    (!digits.is_empty()).then(|| (digits.to_owned(), point))
}

/// The value as the answer of a script has it: as `JSON.stringify` writes it and we read that. `None`: it leaves no member, is an
/// object, or would be another value when it is read again.
pub(super) fn json(value: &Value<'_>) -> Option<Json> {
    match value {
        Value::Null => Some(Json::Null),
        Value::Truth(truth) => Some(Json::Bool(*truth)),
        Value::Number(number) => finite(*number),
        Value::Text(text) => Some(Json::String(text.to_string())),
        Value::Undefined | Value::Thing => None,
    }
}

/// A number: whole ones without a fraction, the others the same double again.
pub(super) fn finite(number: f64) -> Option<Json> {
    if !number.is_finite() {
        return None;
    }
    // Every whole number up to 2^53 is exact.
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and at most 2^53")]
        return Some((number as i64).into());
    }
    if number.fract() == 0.0 {
        return serde_json::from_str(&written(number)).ok();
    }
    Some(number.into())
}
