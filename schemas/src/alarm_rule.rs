//! Alarm rules of a device profile (reference 4.8): when an alarm of a type begins, how bad it is, and when it is over. Parsed and
//! checked, with all errors at once, by the one piece of code that both planes use. Never finds a value and never begins an alarm.

mod parse;
mod predicate;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono_tz::Tz;
use serde_json::Value as Json;
use uuid::Uuid;

pub use self::predicate::{flag, number};
use crate::{
    alarm::{Propagation, Severity},
    chain::Problem,
    condition::{BoolOperation, NumberOperation, TextOperation},
    telemetry::Value,
};

/// Alarm types of one profile: as many as one entity may have alarms.
pub const RULES_MAX: usize = 64;
/// Filters of one condition.
pub const FILTERS_MAX: usize = 32;
/// Predicates of one condition, those inside of others included.
pub const PREDICATES_MAX: usize = 64;
/// How deep predicates nest.
pub const DEPTH_MAX: usize = 8;
/// The pattern of an alarm's details, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4_096;

/// All alarm rules of a profile, in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlarmRules {
    pub rules: Vec<AlarmRule>,
    /// Whether some rule has to remember something between messages.
    pub remembers: bool,
}

/// How alarms of one type begin and end.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmRule {
    /// What its progress is remembered by.
    pub id: String,
    pub kind: String,
    /// One per severity, the worst first.
    pub create: Vec<(Severity, Rule)>,
    pub clear: Option<Rule>,
    pub propagation: Propagation,
}

impl AlarmRule {
    /// All of its rules; the one that clears has no severity.
    pub fn all(&self) -> impl Iterator<Item = (Option<Severity>, &Rule)> {
        let create = self.create.iter().map(|(severity, rule)| (Some(*severity), rule));
        create.chain(self.clear.iter().map(|rule| (None, rule)))
    }
}

/// When something is the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// All of them have to hold.
    pub filters: Vec<Filter>,
    pub spec: Spec,
    pub schedule: Schedule,
    /// What the alarm says, with `${key}` for values of the filters' keys.
    pub details: Option<String>,
    pub dashboard: Option<Uuid>,
    /// What it looks at of its device; a message that says nothing of it leaves the rule alone.
    pub keys: Vec<Key>,
}

impl Rule {
    /// Whether it has to remember something between messages.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.spec != Spec::Simple
    }

    /// Whether it looks at readings: then a changed attribute alone does not set it off.
    #[must_use]
    pub fn looks_at_series(&self) -> bool {
        self.keys.iter().any(|key| key.kind == KeyKind::Series)
    }
}

/// How long or how often the filters have to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Once.
    Simple,
    /// For longer than so many units of so many milliseconds.
    Duration { unit_ms: i64, length: Operand<i64> },
    /// In so many messages in a row.
    Repeating { times: Operand<i64> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An attribute of any scope.
    Attribute,
    /// The latest reading.
    Series,
    /// `name` or `type`.
    Field,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub kind: KeyKind,
    pub name: String,
}

/// A condition on one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub subject: Subject,
    pub predicate: Predicate,
}

/// Whose value it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    Key(Key),
    Constant(Value<'static>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
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

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand<T> {
    pub fixed: T,
    /// Wins over `fixed` where it is known.
    pub dynamic: Option<Dynamic>,
}

/// An attribute that stands for an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    pub source: Source,
    pub attribute: String,
    /// Without the attribute, look at who stands above: device, customer, tenant.
    pub inherit: bool,
}

/// Whose attribute it is: the device's of any scope, the others' server attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Device,
    Customer,
    Tenant,
}

impl Source {
    /// From whom on it is looked for, up to the tenant.
    pub const ALL: [Self; 3] = [Self::Device, Self::Customer, Self::Tenant];
}

/// When a rule is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    Always,
    /// On days from Monday on, from and to milliseconds after midnight of a zone; the night between two days, too.
    Weekly {
        zone: Tz,
        days: [Option<(i64, i64)>; 7],
    },
}

/// Everything that is wrong with alarm rules, at least one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidAlarmRules(pub Vec<Problem>);

impl AlarmRules {
    /// Reads and checks the `alarms` of a profile's `profileData`. `None`: there are none.
    ///
    /// # Errors
    /// [`InvalidAlarmRules`] with every problem found, each with its path below `alarms`.
    pub fn parse(alarms: &Json) -> Result<Option<Arc<Self>>, InvalidAlarmRules> {
        let mut problems = Vec::new();
        let rules = parse::rules(alarms, &mut problems);
        if !problems.is_empty() {
            return Err(InvalidAlarmRules(problems));
        }
        let remembers = rules.iter().flat_map(AlarmRule::all).any(|(_, rule)| rule.remembers());
        Ok((!rules.is_empty()).then(|| Arc::new(Self { rules, remembers })))
    }
}
