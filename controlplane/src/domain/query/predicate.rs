//! The conditions of an entity query: operations on texts, numbers and booleans, joined by AND and OR. Total on any value.

pub use schemas::condition::{BoolOperation, NumberOperation, TextOperation};
use schemas::telemetry::Value;

/// Whose server attribute takes the place of a fixed operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynamicSource {
    Tenant,
    Customer,
    User,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dynamic {
    pub source: DynamicSource,
    pub attribute: String,
    /// Without the attribute, look at who stands above: user, customer, tenant.
    pub inherit: bool,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand<T> {
    pub fixed: T,
    /// Wins over `fixed` once it is known.
    pub dynamic: Option<Dynamic>,
}

impl<T> Operand<T> {
    fn resolve(&mut self, look_up: &impl Fn(&Dynamic) -> Option<Value<'static>>, read: impl Fn(&Value<'static>) -> Option<T>) {
        if let Some(dynamic) = self.dynamic.take()
            && let Some(found) = look_up(&dynamic).and_then(|value| read(&value))
        {
            self.fixed = found;
        }
    }
}

/// A condition on one value. A value that is not there, or of another kind, meets only denials.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// On the text a value is shown as.
    Text {
        operation: TextOperation,
        operand: Operand<String>,
        ignore_case: bool,
    },
    /// Also of times, in milliseconds since the Unix epoch.
    Number {
        operation: NumberOperation,
        operand: Operand<f64>,
    },
    Bool {
        operation: BoolOperation,
        operand: Operand<bool>,
    },
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Predicate {
    #[must_use]
    pub fn matches(&self, value: Option<&Value<'static>>) -> bool {
        match self {
            Self::Text { operation, operand, ignore_case } => match value {
                None => operation.is_denial(),
                Some(value) if *ignore_case => operation.holds(&value.to_string().to_lowercase(), &operand.fixed.to_lowercase()),
                Some(value) => operation.holds(&value.to_string(), &operand.fixed),
            },
            Self::Number { operation, operand } => match value.and_then(number) {
                Some(value) => operation.holds(value, operand.fixed),
                None => *operation == NumberOperation::NotEqual,
            },
            Self::Bool { operation, operand } => match (value, operation) {
                (Some(Value::Bool(value)), operation) => operation.holds(*value, operand.fixed),
                (_, operation) => *operation == BoolOperation::NotEqual,
            },
            Self::All(parts) => parts.iter().all(|part| part.matches(value)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(value)),
        }
    }

    /// Every dynamic operand of it.
    pub fn dynamics(&self, found: &mut Vec<Dynamic>) {
        match self {
            Self::Text { operand, .. } => found.extend(operand.dynamic.clone()),
            Self::Number { operand, .. } => found.extend(operand.dynamic.clone()),
            Self::Bool { operand, .. } => found.extend(operand.dynamic.clone()),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.dynamics(found)),
        }
    }

    /// Puts what was found in the place of dynamic operands; one that was not found, or is of another kind, stays as given.
    pub fn resolve(&mut self, look_up: &impl Fn(&Dynamic) -> Option<Value<'static>>) {
        match self {
            Self::Text { operand, .. } => operand.resolve(look_up, |value| Some(value.to_string())),
            Self::Number { operand, .. } => operand.resolve(look_up, number),
            Self::Bool { operand, .. } => operand.resolve(look_up, |value| match value {
                Value::Bool(value) => Some(*value),
                _ => None,
            }),
            Self::All(parts) | Self::Any(parts) => parts.iter_mut().for_each(|part| part.resolve(look_up)),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::count).sum::<usize>(),
            _ => 1,
        }
    }

    pub(super) fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::depth).max().unwrap_or(0),
            _ => 1,
        }
    }
}

/// A value as a number.
#[expect(clippy::cast_precision_loss, reason = "ThingsBoard's numeric operands are doubles")]
pub(super) fn number(value: &Value<'static>) -> Option<f64> {
    match value {
        Value::Long(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Bool(_) | Value::Text(_) | Value::Json(_) => None,
    }
}
