//! Copy, delete and rename key-value pairs of the data and the metadata. Data without keys go on as they came.

use std::sync::Arc;

use regex_automata::meta::Regex;
use schemas::chain::{Keys, Renames, Side, pattern};
use serde_json::Value;

use crate::rules::carried::{Carried, Changed};
use crate::rules::node::{Next, SUCCESS};
use crate::rules::template;

/// Keys by patterns.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Patterns {
    of: Side,
    patterns: Arc<[Regex]>,
}

impl Patterns {
    /// Patterns that a checked chain has, all of them.
    pub(super) fn compile(keys: &Keys) -> Self {
        Self { of: keys.of, patterns: keys.patterns.iter().filter_map(|text| pattern(text).ok()).collect() }
    }

    fn chooses(&self, key: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(key))
    }

    /// From one side to the other.
    pub(super) fn copy(&self, carried: &Carried<'_>) -> Next {
        let mut changed = carried.change();
        match self.of {
            Side::Data => {
                let Value::Object(data) = &changed.data else { return Next::By(SUCCESS) };
                let chosen = data.iter().filter(|(key, _)| self.chooses(key));
                changed.metadata.extend(chosen.map(|(key, value)| (key.clone(), template::text(value))));
            }
            Side::Metadata => {
                let Value::Object(data) = &mut changed.data else { return Next::By(SUCCESS) };
                let chosen = changed.metadata.iter().filter(|(key, _)| self.chooses(key));
                data.extend(chosen.map(|(key, value)| (key.clone(), Value::String(value.clone()))));
            }
        }
        Next::With(changed)
    }

    pub(super) fn delete(&self, carried: &Carried<'_>) -> Next {
        let mut changed = carried.change();
        match self.of {
            Side::Data => {
                let Value::Object(data) = &mut changed.data else { return Next::By(SUCCESS) };
                data.retain(|key, _| !self.chooses(key));
            }
            Side::Metadata => changed.metadata.retain(|key, _| !self.chooses(key)),
        }
        Next::With(changed)
    }
}

pub(super) fn rename(renames: &Renames, carried: &Carried<'_>) -> Next {
    let mut changed = carried.change();
    for (from, to) in &renames.names {
        match renames.of {
            Side::Data => {
                let Value::Object(data) = &mut changed.data else { return Next::By(SUCCESS) };
                if let Some(value) = data.remove(from) {
                    data.insert(to.clone(), value);
                }
            }
            Side::Metadata => {
                if let Some(value) = changed.metadata.remove(from) {
                    changed.metadata.insert(to.clone(), value);
                }
            }
        }
    }
    Next::With(changed)
}

/// Puts a value where a node's results go.
pub(super) fn put(changed: &mut Changed, to: Side, name: String, value: Value) -> Result<(), String> {
    match (to, &mut changed.data) {
        (Side::Metadata, _) => drop(changed.metadata.insert(name, template::text(&value))),
        (Side::Data, Value::Object(data)) => drop(data.insert(name, value)),
        (Side::Data, _) => return Err(NO_OBJECT.to_owned()),
    }
    Ok(())
}

pub(super) const NO_OBJECT: &str = "the message's data is no JSON object";
