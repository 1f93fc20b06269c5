//! Calculate delta: how much a reading has grown since the message before, and in what time. A node that caches remembers the value
//! itself, durably; else the originator's latest reading before this message is the one before. Messages without the reading go on
//! by Other.

use schemas::chain::{CalculateDelta, MessageType};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::rules::carried::{Carried, name};
use crate::rules::node::{Next, SUCCESS, Scene};

const OTHER: usize = 1;

pub(super) fn run(delta: &CalculateDelta, node: Uuid, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    if carried.standard() != Some(MessageType::PostTelemetryRequest) {
        return Next::By(OTHER);
    }
    let mut changed = carried.change();
    let Value::Object(data) = &mut changed.data else { return Next::By(OTHER) };
    let Some(said) = data.get(&delta.input) else { return Next::By(OTHER) };
    let Some(value) = number(said) else { return Next::Fail(format!("{}: {said} is no number", delta.input)) };
    let ts = changed.metadata.get(name::TS).and_then(|ts| ts.parse().ok()).map_or(scene.message.received, Timestamp);
    let kept = if delta.cached { scene.state(node).and_then(|state| read(&state)) } else { None };
    // What this message saved already is not what was before it.
    let before = kept.or_else(|| {
        let (ts, value) = scene.world.latest(&delta.input)?;
        Some((ts, number(&value.to_json())?))
    });
    if delta.cached {
        scene.into.push(Effect::KeepState { node, state: write(ts, value) });
    }
    let mut grown = before.map_or(0.0, |(_, before)| difference(value, before));
    if delta.negative_fails && grown < 0.0 {
        return Next::Fail(format!("{} has fallen by {}", delta.input, -grown));
    }
    if delta.zero_is_left_out && grown == 0.0 {
        return Next::By(SUCCESS);
    }
    if let Some(decimals) = delta.round {
        grown = rounded(grown, decimals);
    }
    data.insert(delta.output.clone(), of(grown));
    if let Some(period) = &delta.period {
        let passed = before.map_or(0, |(before, _)| ts.0.saturating_sub(before.0));
        data.insert(period.clone(), passed.into());
    }
    Next::With(changed)
}

/// A number, also one that is written as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

/// Whole numbers stay whole.
pub(super) fn of(number: f64) -> Value {
    // Every whole number up to 2^53 is exact.
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 { (number as i64).into() } else { number.into() }
}

/// To so many decimals, halves away from zero. Decimals are what people wrote, so 1.005 is a half although its double is less.
pub(in crate::rules) fn rounded(number: f64, decimals: u32) -> f64 {
    let decimals = usize::try_from(decimals).unwrap_or(15);
    if places(number) <= decimals {
        return number;
    }
    let nudged = number + number.signum() * 10_f64.powi(-9 - i32::try_from(decimals).unwrap_or(15));
    format!("{nudged:.decimals$}").parse().unwrap_or(number)
}

/// What people expect of decimals: 10.3 - 10.1 is 0.2.
fn difference(value: f64, before: f64) -> f64 {
    let exact = value - before;
    let decimals = places(value).max(places(before));
    if decimals > 12 { exact } else { format!("{exact:.decimals$}").parse().unwrap_or(exact) }
}

fn places(number: f64) -> usize {
    let text = format!("{number}");
    text.find('.').map_or(0, |dot| text.len() - dot - 1)
}

fn write(ts: Timestamp, value: f64) -> Box<[u8]> {
    [ts.0.to_be_bytes(), value.to_be_bytes()].concat().into()
}

fn read(state: &[u8]) -> Option<(Timestamp, f64)> {
    let (ts, value) = state.split_at_checked(8)?;
    Some((Timestamp(i64::from_be_bytes(ts.try_into().ok()?)), f64::from_be_bytes(value.try_into().ok()?)))
}
