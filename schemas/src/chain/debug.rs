//! What people want to see of messages at a node: ThingsBoard's `debugSettings`, and its older `debugMode`. Never reads a clock.

use serde_json::{Map, Value, json};

use super::parse::Problems;

/// What is seen of messages at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugSettings {
    /// Those that fail.
    pub failures: bool,
    /// All of them until then, in milliseconds since the Unix epoch.
    pub all_until_ms: i64,
}

const FAILURES: &str = "failuresEnabled";
const ALL: &str = "allEnabled";
const UNTIL: &str = "allEnabledUntil";
const FIELD: &str = "debugSettings";
const OLDER: &str = "debugMode";

impl DebugSettings {
    /// Whether anything is.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.failures || self.all_until_ms > 0
    }

    /// Whether all of them are, at this time.
    #[must_use]
    pub const fn sees_all(&self, now_ms: i64) -> bool {
        now_ms < self.all_until_ms
    }

    /// Of a node. "All" without an end is nothing here: [`bound`] has made an end of it.
    pub(super) fn parse(node: &Map<String, Value>, path: &str, problems: &mut Problems) -> Option<Self> {
        let settings = match node.get(FIELD) {
            None | Some(Value::Null) => return Some(Self::default()),
            Some(Value::Object(settings)) => settings,
            Some(value) => {
                problems.add(format!("{path}.{FIELD}"), format!("{value}: expected an object"));
                return None;
            }
        };
        let (failures, until) = (settings.get(FAILURES), settings.get(UNTIL));
        let failures = match failures {
            None | Some(Value::Null) => Some(false),
            Some(value) => value.as_bool(),
        };
        let all_until_ms = match until {
            None | Some(Value::Null) => Some(0),
            Some(value) => value.as_i64(),
        };
        if failures.is_none() {
            problems.add(format!("{path}.{FIELD}.{FAILURES}"), "expected true or false");
        }
        if all_until_ms.is_none() {
            problems.add(format!("{path}.{FIELD}.{UNTIL}"), "expected milliseconds since the Unix epoch");
        }
        Some(Self { failures: failures?, all_until_ms: all_until_ms? })
    }
}

/// Lets no node of a RuleChainMetaData show all messages for longer than until then, in milliseconds since the Unix epoch; as in
/// ThingsBoard "all" becomes "all until", and `debugMode` failures and all. What is no such setting stays for [`super::Chain::parse`].
pub fn bound(metadata: &mut Value, until_ms: i64) {
    for node in metadata.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(node) = node.as_object_mut() else { continue };
        let older = node.get(OLDER).and_then(Value::as_bool);
        match node.get_mut(FIELD) {
            None | Some(Value::Null) if older == Some(true) => {
                node.insert(FIELD.to_owned(), json!({ FAILURES: true, ALL: false, UNTIL: until_ms }));
                node.insert(OLDER.to_owned(), Value::Bool(false));
            }
            Some(Value::Object(settings)) => {
                let all = settings.get(ALL).and_then(Value::as_bool).unwrap_or(false);
                let until = settings.get(UNTIL).and_then(Value::as_i64);
                if all || until.is_some_and(|until| until > until_ms) {
                    settings.insert(UNTIL.to_owned(), json!(until_ms));
                    settings.insert(ALL.to_owned(), Value::Bool(false));
                }
            }
            _ => {}
        }
    }
}
