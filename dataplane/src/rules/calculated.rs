//! Calculated fields: arguments to readings, by a formula or a script. Total: no IO, no clock, no failure but as a value. Never knows
//! where arguments come from, and never saves.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use schemas::calculated::{Calculation, Expression, OutputTo};
use schemas::chain::formula::Formula;
use schemas::script::Script;
use serde_json::{Value as Json, json};

use crate::clock::Timestamp;
use crate::message::{Entry, Reading, Readings, Value};
use crate::payload::{self, Casting, PayloadError};
use crate::rules::node::delta::rounded;
use crate::script::{Answer, ScriptFailure, Subject};

/// The value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    /// `ts` `None`: it is what the field says where there is no value.
    One { ts: Option<Timestamp>, value: Value<'static> },
    /// In the order of time; what is no number is NaN.
    Rolling { points: &'a VecDeque<(Timestamp, f64)>, window_ms: Option<i64> },
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalculationFailure {
    #[error("argument {0}")]
    Argument(String),
    #[error("{0}")]
    Expression(String),
    #[error("the result: {0}")]
    Result(String),
}

/// Runs a script of the tenant.
pub type Run<'r> = dyn FnMut(&Arc<Script>, Subject<'_>) -> Result<Answer, ScriptFailure> + 'r;

/// The result: readings to be saved where the field's output says, none if its script answers none. `operands` are those of the
/// field's arguments, in their order.
///
/// # Errors
/// [`CalculationFailure`].
pub fn calculate(
    calculation: &Calculation,
    operands: &[Operand<'_>],
    now: Timestamp,
    run: &mut Run<'_>,
) -> Result<Readings<'static>, CalculationFailure> {
    match &calculation.expression {
        Expression::Simple { formula, key } => {
            let value = value_of(formula, calculation, operands)?;
            let latest = matches!(calculation.output.to, OutputTo::Series { latest_ts: true, .. });
            let ts = if latest { operands.iter().filter_map(ts_of).max() } else { None };
            let reading = Reading { key: Cow::Owned(key.clone()), value: formatted(value, calculation.output.decimals) };
            Ok(Readings { entries: vec![Entry { ts, range: 0..1 }], readings: vec![reading] })
        }
        Expression::Script(script) => {
            let names = calculation.arguments.iter().map(|argument| argument.name.as_str());
            let data: serde_json::Map<String, Json> =
                names.zip(operands).map(|(name, operand)| (name.to_owned(), given(operand, now))).collect();
            let subject = Subject { data: &Json::Object(data), metadata: &BTreeMap::new(), kind: "" };
            match run(script, subject) {
                Ok(Answer::Details(answer)) => readings_of(&answer, calculation.output.to),
                // Scripts of fields have no other form.
                Ok(_) => Err(CalculationFailure::Result("it is no JSON".to_owned())),
                Err(failure) => Err(CalculationFailure::Expression(failure.to_string())),
            }
        }
    }
}

fn value_of(formula: &Formula, calculation: &Calculation, operands: &[Operand<'_>]) -> Result<f64, CalculationFailure> {
    let mut values = Vec::with_capacity(operands.len());
    for (argument, operand) in calculation.arguments.iter().zip(operands) {
        let number = match operand {
            Operand::One { value, .. } => number(value),
            Operand::Rolling { .. } => None,
        };
        let is_none = || CalculationFailure::Argument(format!("{} is not a number", argument.name));
        values.push(number.ok_or_else(is_none)?);
    }
    formula.value(&values).ok_or_else(|| CalculationFailure::Expression("the formula has no finite value".to_owned()))
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Long(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(text) | Value::Json(text) => text.trim().parse().ok(),
    }
}

fn ts_of(operand: &Operand<'_>) -> Option<Timestamp> {
    match operand {
        Operand::One { ts, .. } => *ts,
        Operand::Rolling { points, .. } => points.back().map(|(ts, _)| *ts),
    }
}

/// Without decimals a whole number, as in ThingsBoard.
fn formatted(value: f64, decimals: Option<u32>) -> Value<'static> {
    let whole = value.round();
    match decimals {
        None => Value::Double(value),
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
        Some(0) if whole.abs() < 9_007_199_254_740_992.0 => Value::Long(whole as i64),
        Some(decimals) => Value::Double(rounded(value, decimals)),
    }
}

/// An argument as ThingsBoard writes it.
fn given(operand: &Operand<'_>, now: Timestamp) -> Json {
    match operand {
        Operand::One { ts, value } => json!({ "ts": ts.unwrap_or(now).0, "value": value.to_json() }),
        Operand::Rolling { points, window_ms } => {
            let start = window_ms.map_or(0, |window_ms| now.0.saturating_sub(window_ms));
            let values: Vec<Json> = points.iter().map(|(ts, value)| json!({ "ts": ts.0, "value": value })).collect();
            json!({ "timeWindow": { "startTs": start, "endTs": now.0 }, "values": values })
        }
    }
}

/// What a script answered, in any of the forms in which devices may say it.
fn readings_of(answer: &Json, to: OutputTo) -> Result<Readings<'static>, CalculationFailure> {
    if answer.is_null() {
        return Ok(Readings::default());
    }
    let text = answer.to_string();
    let mut readings = Readings::default();
    let parsed = match to {
        OutputTo::Series { .. } => payload::telemetry(text.as_bytes(), Casting::Enabled, &mut readings),
        OutputTo::Attributes { .. } => payload::attributes(text.as_bytes(), Casting::Enabled, &mut readings),
    };
    parsed.map_err(|error: PayloadError| CalculationFailure::Result(error.to_string()))?;
    Ok(readings.into_owned())
}
