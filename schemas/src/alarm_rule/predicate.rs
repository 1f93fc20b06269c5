//! Whether a predicate holds for a value. ThingsBoard's conversions: a text that is a number is one, and so is true.

use std::borrow::Cow;

use super::{Dynamic, Operand, Predicate};
use crate::telemetry::Value;

/// A value as a number.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "ThingsBoard's numeric operands are doubles")]
pub fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Long(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Json(_) => None,
    }
}

/// A value as a boolean.
#[must_use]
pub fn flag(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Long(value) => Some(*value > 0),
        Value::Double(value) => Some(*value > 0.0),
        Value::Text(text) => Some(text.trim().eq_ignore_ascii_case("true")),
        Value::Json(_) => None,
    }
}

fn text<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Text(text) | Value::Json(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

impl<T> Operand<T> {
    /// What takes its place now: `find` finds the value of a dynamic one, `read` what that says.
    ///
    /// # Errors
    /// What `find` lacks.
    pub fn value<E>(
        &self,
        find: &mut dyn FnMut(&Dynamic) -> Result<Option<Value<'static>>, E>,
        read: impl FnOnce(&Value<'_>) -> Option<T>,
    ) -> Result<Cow<'_, T>, E>
    where
        T: Clone,
    {
        let Some(dynamic) = &self.dynamic else { return Ok(Cow::Borrowed(&self.fixed)) };
        Ok(find(dynamic)?.and_then(|found| read(&found)).map_or(Cow::Borrowed(&self.fixed), Cow::Owned))
    }
}

impl Predicate {
    /// Whether it holds for a value; one of another kind meets nothing.
    ///
    /// # Errors
    /// What `find`, which finds the values of dynamic operands, lacks.
    pub fn holds<E>(
        &self,
        value: &Value<'_>,
        find: &mut dyn FnMut(&Dynamic) -> Result<Option<Value<'static>>, E>,
    ) -> Result<bool, E> {
        match self {
            Self::Text { operation, operand, ignore_case } => {
                let operand = operand.value(find, |found| Some(text(found).into_owned()))?;
                let value = text(value);
                Ok(if *ignore_case {
                    operation.holds(&value.to_lowercase(), &operand.to_lowercase())
                } else {
                    operation.holds(&value, &operand)
                })
            }
            Self::Number { operation, operand } => {
                let operand = *operand.value(find, number)?;
                Ok(number(value).is_some_and(|value| operation.holds(value, operand)))
            }
            Self::Bool { operation, operand } => {
                let operand = *operand.value(find, flag)?;
                Ok(flag(value).is_some_and(|value| operation.holds(value, operand)))
            }
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(value, find)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(value, find)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Every dynamic operand of it.
    pub fn dynamics<'p>(&'p self, found: &mut Vec<&'p Dynamic>) {
        match self {
            Self::Text { operand, .. } => found.extend(&operand.dynamic),
            Self::Number { operand, .. } => found.extend(&operand.dynamic),
            Self::Bool { operand, .. } => found.extend(&operand.dynamic),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.dynamics(found)),
        }
    }
}
