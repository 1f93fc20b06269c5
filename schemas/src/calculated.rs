//! Calculated fields as data: ThingsBoard's types SIMPLE and SCRIPT, parsed and checked, with all errors at once, by the one piece of
//! code that both planes use. Never calculates.

mod configuration;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    chain::{Problem, formula::Formula},
    id::EntityId,
    script::Script,
    telemetry::{Scope, Value},
};

/// Arguments of one field, as in ThingsBoard.
pub const ARGUMENTS_MAX: usize = 10;
/// Readings of one rolling argument, as in ThingsBoard.
pub const ROLLING_POINTS_MAX: usize = 1_000;
/// Fields of one device or device profile, whatever its tenant may have.
pub const FIELDS_PER_ENTITY_MAX: usize = 32;

/// A checked configuration of a calculated field.
#[derive(Clone, Debug, PartialEq)]
pub struct Calculation {
    /// In the order of their names.
    pub arguments: Vec<Argument>,
    pub expression: Expression,
    pub output: Output,
}

/// What an expression may name.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    pub name: String,
    /// Whose it is; `None`: of whom the field is calculated for.
    pub entity: Option<EntityId>,
    /// Of the reading or attribute.
    pub key: String,
    pub source: Source,
    /// What it is where there is no such value.
    pub otherwise: Option<Value<'static>>,
}

/// What of a key an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The latest reading.
    Latest,
    Attribute(Scope),
    /// The newest readings, at most so many.
    Rolling {
        limit: usize,
        /// How old they may be, in milliseconds; `None`: as old as they are.
        window_ms: Option<i64>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A formula over the arguments, and the key of its value.
    Simple { formula: Formula, key: String },
    /// A TBEL script that answers readings.
    Script(Arc<Script>),
}

/// Where the result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub to: OutputTo,
    /// Of a formula's value.
    pub decimals: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputTo {
    /// `ttl_s` 0 = no expiry. With `latest_ts` a formula's value has the newest ts of its arguments.
    Series { ttl_s: u32, latest_ts: bool },
    /// Server or shared attributes.
    Attributes { scope: Scope, only_on_change: bool },
}

/// A reading or an attribute that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    Series(&'a str),
    Attribute(Scope, &'a str),
}

/// Everything that is wrong with a field's configuration, at least one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidCalculation(pub Vec<Problem>);

impl Argument {
    /// Whether it changes with what was written of its entity.
    #[must_use]
    pub fn is(&self, written: Written<'_>) -> bool {
        match (self.source, written) {
            (Source::Latest | Source::Rolling { .. }, Written::Series(key)) => self.key == key,
            (Source::Attribute(of), Written::Attribute(scope, key)) => of == scope && self.key == key,
            _ => false,
        }
    }
}

impl Calculation {
    /// Parses and checks ThingsBoard's `configuration`, with its `type`.
    ///
    /// # Errors
    /// [`InvalidCalculation`] with every problem found.
    pub fn parse(configuration: &str) -> Result<Self, InvalidCalculation> {
        configuration::parse(configuration)
    }

    /// What it writes; `None`: its script says.
    #[must_use]
    pub fn writes(&self) -> Option<Written<'_>> {
        let Expression::Simple { key, .. } = &self.expression else { return None };
        Some(match self.output.to {
            OutputTo::Series { .. } => Written::Series(key),
            OutputTo::Attributes { scope, .. } => Written::Attribute(scope, key),
        })
    }

    /// Whether what it writes may be an argument of another. Of a script's answer only the kind is known.
    #[must_use]
    pub fn may_feed(&self, other: &Self) -> bool {
        other.own().any(|argument| match (self.writes(), argument.source) {
            (Some(written), _) => argument.is(written),
            (None, Source::Attribute(of)) => matches!(self.output.to, OutputTo::Attributes { scope, .. } if scope == of),
            (None, _) => matches!(self.output.to, OutputTo::Series { .. }),
        })
    }

    /// The arguments of whom it is calculated for.
    pub fn own(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| argument.entity.is_none())
    }

    /// Whether some argument is not in the memory of whom it is calculated for from the beginning.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.arguments.iter().any(|argument| argument.entity.is_some() || matches!(argument.source, Source::Rolling { .. }))
    }
}

/// A way of fields that leads back to its beginning, as far as configurations say it: places in `fields`.
#[must_use]
pub fn find_loop(fields: &[&Calculation]) -> Option<Vec<usize>> {
    let feeds = |from: usize, to: usize| {
        fields[from].writes().is_some_and(|written| fields[to].own().any(|argument| argument.is(written)))
    };
    // 0: not seen; 1: on the way; 2: leads nowhere back.
    let mut seen = vec![0_u8; fields.len()];
    for begin in 0..fields.len() {
        let mut way = if seen[begin] == 0 { vec![(begin, 0)] } else { Vec::new() };
        while let Some((at, next)) = way.last_mut() {
            let (from, to) = (*at, *next);
            *next += 1;
            seen[from] = 1;
            if to >= fields.len() {
                seen[from] = 2;
                way.pop();
            } else if feeds(from, to) && seen[to] == 1 {
                let place = way.iter().position(|(at, _)| *at == to).unwrap_or(0);
                return Some(way[place..].iter().map(|(at, _)| *at).collect());
            } else if feeds(from, to) && seen[to] == 0 {
                way.push((to, 0));
            }
        }
    }
    None
}
