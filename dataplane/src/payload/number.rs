//! Which number a text is, by ThingsBoard's rules: a long if its value is whole and it is not written with a plain
//! decimal point, a double up to 16 decimals, and otherwise none (DESIGN 28). Allocates nothing.

use crate::message::Value;

/// Decimals beyond which ThingsBoard keeps the text.
const DECIMALS_MAX: i64 = 16;
/// No i64 has more digits.
const LONG_DIGITS_MAX: usize = 19;

/// Whether ThingsBoard takes a string for a number (Commons Lang's `isParsable`): an optional minus, digits, at most one
/// decimal point, which is not the last character.
pub(crate) fn looks_numeric(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    !digits.is_empty()
        && digits.last() != Some(&b'.')
        && points <= 1
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// The number that a JSON literal or a text that [`looks_numeric`] stands for; `None` if neither i64 nor f64 holds it.
pub(crate) fn cast(literal: &str) -> Option<Value<'static>> {
    let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (literal, None),
    };
    match (mantissa.split_once('.'), exponent) {
        (None, None) => literal.parse().ok().map(Value::Long),
        (Some((_, decimals)), None) => double(literal, i64::try_from(decimals.len()).ok()?),
        (parts, Some(exponent)) => scientific(literal, parts.unwrap_or((mantissa, "")), power(exponent)?),
    }
}

/// `whole.decimals` × 10^`power`.
fn scientific(literal: &str, (whole, decimals): (&str, &str), power: i64) -> Option<Value<'static>> {
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches('-');
    let scale = i64::try_from(decimals.len()).ok()?.saturating_sub(power);
    let kept = decimals.trim_end_matches('0');
    // Trailing zeros of the digits do not count towards the scale.
    let stripped = if kept.is_empty() { whole.trim_end_matches('0') } else { whole };
    let zeros = whole.len() - stripped.len() + decimals.len() - kept.len();
    if stripped.is_empty() && kept.is_empty() {
        return Some(Value::Long(0));
    }
    let scale_stripped = scale.saturating_sub(i64::try_from(zeros).ok()?);
    if scale_stripped > 0 {
        return double(literal, scale);
    }
    let length = stripped.len() + kept.len();
    let zeros_after = usize::try_from(scale_stripped.unsigned_abs()).ok()?;
    let leading = if stripped.trim_start_matches('0').is_empty() {
        stripped.len() + kept.len() - kept.trim_start_matches('0').len()
    } else {
        0
    };
    if (length - leading).saturating_add(zeros_after) > LONG_DIGITS_MAX {
        return None;
    }
    let digits = stripped.bytes().chain(kept.bytes()).chain(std::iter::repeat_n(b'0', zeros_after));
    let magnitude = digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    i64::try_from(if negative { -magnitude } else { magnitude }).ok().map(Value::Long)
}

fn double(literal: &str, scale: i64) -> Option<Value<'static>> {
    if scale > DECIMALS_MAX {
        return None;
    }
    literal.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double)
}

/// An exponent; one beyond i64 is as good as the largest.
fn power(text: &str) -> Option<i64> {
    let digits = text.trim_start_matches(['+', '-']);
    let magnitude = digits.parse().unwrap_or(i64::MAX);
    (!digits.is_empty()).then_some(if text.starts_with('-') { -magnitude } else { magnitude })
}
