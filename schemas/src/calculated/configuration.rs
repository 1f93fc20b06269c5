//! ThingsBoard's configuration of a calculated field, as JSON, to a calculation. Every problem is reported; fields that change nothing
//! are passed over, and what would change something and is not done here is refused by its name.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ARGUMENTS_MAX, Argument, Calculation, Expression, InvalidCalculation, Output, OutputTo, ROLLING_POINTS_MAX, Source};
use crate::{
    chain::{Problem, formula::Formula},
    config::NAME_BYTES_MAX,
    id::EntityId,
    script::Script,
    telemetry::{self, Scope},
};

/// Names that expressions know already.
const RESERVED: [&str; 3] = ["ctx", "e", "pi"];
/// Decimals of a double.
const DECIMALS_MAX: u64 = 15;
/// Types of ThingsBoard's that are not calculated here.
const OTHER_TYPES: [&str; 6] =
    ["GEOFENCING", "ALARM", "PROPAGATION", "RELATED_ENTITIES_AGGREGATION", "LATEST_VALUES_AGGREGATION", "ENTITY_AGGREGATION"];
/// What happens to a stored result here anyway.
const DONE_ANYWAY: [&str; 5] = ["saveTimeSeries", "saveLatest", "saveAttribute", "sendWsUpdate", "processCfs"];

pub(super) fn parse(configuration: &str) -> Result<Calculation, InvalidCalculation> {
    let mut problems = Vec::new();
    let calculation = match serde_json::from_str(configuration) {
        Ok(Value::Object(fields)) => {
            let mut reader = Reader { fields: &fields, path: "configuration".to_owned(), problems: &mut problems };
            reader.calculation()
        }
        Ok(_) => {
            problems.push(Problem { path: "configuration".to_owned(), rule: "expected an object".to_owned() });
            None
        }
        Err(error) => {
            problems.push(Problem { path: "configuration".to_owned(), rule: format!("not JSON: {error}") });
            None
        }
    };
    // No calculation without a problem.
    calculation.filter(|_| problems.is_empty()).ok_or(InvalidCalculation(problems))
}

/// Reads one object.
struct Reader<'c> {
    fields: &'c Map<String, Value>,
    path: String,
    problems: &'c mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, field: &str, rule: impl Into<String>) {
        self.problems.push(Problem { path: format!("{}.{field}", self.path), rule: rule.into() });
    }

    /// The field's value; null is as good as absent.
    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A value that has to be there and understood.
    fn required<T>(&mut self, field: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let found = self.value(field).and_then(read);
        if found.is_none() {
            let shown = self.value(field).map_or_else(|| "missing".to_owned(), Value::to_string);
            self.problem(field, format!("{shown}: expected {expected}"));
        }
        found
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        match self.value(field) {
            None => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(_) => self.required(field, "true or false", |_| None),
        }
    }

    /// A number within bounds; absent is the least.
    fn number(&mut self, field: &str, (least, most): (u64, u64)) -> Option<u64> {
        if self.value(field).is_none() {
            return Some(least);
        }
        let whole = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        self.required(field, &format!("a number from {least} to {most}"), |value| {
            whole(value).filter(|number| (least..=most).contains(number))
        })
    }

    /// The object in a field; what is wrong in it is named under its path.
    fn inside<T>(&mut self, field: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
        let fields = self.required(field, "an object", |value| value.as_object().cloned())?;
        let path = format!("{}.{field}", self.path);
        read(&mut Reader { fields: &fields, path, problems: self.problems })
    }

    fn calculation(&mut self) -> Option<Calculation> {
        let simple = match self.value("type").and_then(Value::as_str) {
            Some("SIMPLE") => true,
            Some("SCRIPT") => false,
            Some(other) if OTHER_TYPES.contains(&other) => {
                let rule =
                    format!("{other}: calculated fields of this type are not supported yet; supported are SIMPLE and SCRIPT");
                self.problem("type", rule);
                return None;
            }
            _ => return self.required("type", "SIMPLE or SCRIPT", |_| None),
        };
        let arguments = self.inside("arguments", |arguments| arguments.arguments(simple));
        let names: Vec<String> = self
            .value("arguments")
            .and_then(Value::as_object)
            .map(|arguments| arguments.keys().cloned().collect())
            .unwrap_or_default();
        let latest_ts = self.flag("useLatestTs");
        let output = self.inside("output", |output| output.output(simple, latest_ts.unwrap_or_default()));
        let expression = self.expression(simple, &names, output.as_ref().map(|(_, key)| key.clone()));
        Some(Calculation { arguments: arguments?, expression: expression?, output: output?.0 })
    }

    fn expression(&mut self, simple: bool, names: &[String], key: Option<String>) -> Option<Expression> {
        let text = self.required("expression", "a text", |value| value.as_str().map(str::to_owned))?;
        if simple {
            return match Formula::parse(&text, names) {
                Ok(formula) => Some(Expression::Simple { formula, key: key? }),
                Err(rule) => {
                    self.problem("expression", rule);
                    None
                }
            };
        }
        match Script::calculation(&text, names) {
            Ok(script) => Some(Expression::Script(Arc::new(script))),
            Err(error) => {
                self.problem("expression", error.to_string());
                None
            }
        }
    }

    fn arguments(&mut self, simple: bool) -> Option<Vec<Argument>> {
        let count = self.fields.len();
        if !(1..=ARGUMENTS_MAX).contains(&count) {
            let rule = format!("{count} arguments, expected 1 to {ARGUMENTS_MAX}");
            self.problems.push(Problem { path: self.path.clone(), rule });
            return None;
        }
        let names: Vec<&String> = self.fields.keys().collect();
        let read: Vec<Option<Argument>> = names.into_iter().map(|name| self.argument(name, simple)).collect();
        read.into_iter().collect()
    }

    fn argument(&mut self, name: &str, simple: bool) -> Option<Argument> {
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= NAME_BYTES_MAX;
        if !named || RESERVED.contains(&name) {
            self.problem(name, "the name: expected letters, digits and _, a letter first, and none of ctx, e and pi");
        }
        self.inside(name, |argument| {
            if argument.value("refDynamicSourceConfiguration").is_some() {
                argument.problem("refDynamicSourceConfiguration", "not supported yet: arguments of other entities name them");
            }
            let entity = argument.entity();
            let key = argument.inside("refEntityKey", |of| {
                let key = of.required("key", &format!("a text of 1 to {NAME_BYTES_MAX} bytes"), |value| {
                    value.as_str().filter(|key| (1..=NAME_BYTES_MAX).contains(&key.len())).map(str::to_owned)
                });
                let kind = of.required("type", "TS_LATEST, ATTRIBUTE or TS_ROLLING", |value| {
                    value.as_str().filter(|kind| ["TS_LATEST", "ATTRIBUTE", "TS_ROLLING"].contains(kind)).map(str::to_owned)
                });
                let scope = if kind.as_deref() == Some("ATTRIBUTE") { of.scope(&Scope::ALL)? } else { Scope::Server };
                Some((key?, kind?, scope))
            });
            let (entity, (key, kind, scope)) = (entity?, key?);
            let source = match kind.as_str() {
                "TS_LATEST" => Source::Latest,
                "ATTRIBUTE" => Source::Attribute(scope),
                _ => argument.rolling(simple, entity)?,
            };
            let otherwise = argument.value("defaultValue").map(default_value);
            Some(Argument { name: name.to_owned(), entity, key, source, otherwise: otherwise.flatten() })
        })
    }

    /// `Some(None)`: of whom the field is calculated for.
    fn entity(&mut self) -> Option<Option<EntityId>> {
        if self.value("refEntityId").is_none() {
            return Some(None);
        }
        self.inside("refEntityId", |of| {
            let kind = of.required("entityType", "DEVICE, CUSTOMER or TENANT", |value| {
                value.as_str().filter(|kind| ["DEVICE", "CUSTOMER", "TENANT"].contains(kind)).map(str::to_owned)
            });
            let id = of.required("id", "a UUID", |value| Uuid::parse_str(value.as_str()?).ok());
            kind?;
            Some(Some(EntityId(id?)))
        })
    }

    fn rolling(&mut self, simple: bool, entity: Option<EntityId>) -> Option<Source> {
        if simple {
            self.problem("refEntityKey.type", "TS_ROLLING: a SIMPLE field takes single values only");
        }
        if entity.is_some() {
            self.problem("refEntityId", "not supported yet for TS_ROLLING: its readings are those of whom the field is for");
        }
        let limit = self.number("limit", (0, u64::from(u32::MAX)));
        let window = self.number("timeWindow", (0, i64::MAX.unsigned_abs()));
        let limit = usize::try_from(limit?).ok().filter(|limit| (1..=ROLLING_POINTS_MAX).contains(limit));
        let window_ms = i64::try_from(window?).ok().filter(|window| *window > 0);
        Some(Source::Rolling { limit: limit.unwrap_or(ROLLING_POINTS_MAX), window_ms })
    }

    fn scope(&mut self, scopes: &[Scope]) -> Option<Scope> {
        let expected = scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
        self.required("scope", &format!("one of {expected}"), |value| {
            Scope::parse(value.as_str()?).filter(|scope| scopes.contains(scope))
        })
    }

    /// The output, and the key of a formula's value.
    fn output(&mut self, simple: bool, latest_ts: bool) -> Option<(Output, String)> {
        let kind = self.required("type", "TIME_SERIES or ATTRIBUTES", |value| {
            value.as_str().filter(|kind| ["TIME_SERIES", "ATTRIBUTES"].contains(kind)).map(str::to_owned)
        });
        let key = if simple {
            self.required("name", &format!("a key of 1 to {NAME_BYTES_MAX} bytes"), |value| {
                value.as_str().filter(|key| (1..=NAME_BYTES_MAX).contains(&key.len())).map(str::to_owned)
            })
        } else {
            Some(String::new())
        };
        let decimals = match self.value("decimalsByDefault") {
            None => Some(None),
            Some(_) => self.number("decimalsByDefault", (0, DECIMALS_MAX)).map(Some),
        };
        let (ttl_s, only_on_change) = match self.value("strategy") {
            None => (0, false),
            Some(_) => self.inside("strategy", |strategy| strategy.strategy())?,
        };
        let to = match kind?.as_str() {
            "TIME_SERIES" => OutputTo::Series { ttl_s, latest_ts },
            _ if self.value("scope").is_none() => OutputTo::Attributes { scope: Scope::Server, only_on_change },
            _ => OutputTo::Attributes { scope: self.scope(&[Scope::Server, Scope::Shared])?, only_on_change },
        };
        let decimals = decimals?.and_then(|decimals| u32::try_from(decimals).ok());
        Some((Output { to, decimals }, key?))
    }

    /// How long a reading is kept, in seconds, and whether an attribute is saved only if it changes.
    fn strategy(&mut self) -> Option<(u32, bool)> {
        match self.value("type").and_then(Value::as_str) {
            Some("IMMEDIATE") => {}
            Some("RULE_CHAIN") => {
                self.problem("type", "RULE_CHAIN: not supported yet; results are stored at once, as with IMMEDIATE");
                return None;
            }
            _ => return self.required("type", "IMMEDIATE", |_| None),
        }
        for field in DONE_ANYWAY {
            if self.value(field).is_some_and(|value| *value != Value::Bool(true)) {
                self.problem(field, "expected true: results are stored, shown and taken by other fields");
            }
        }
        if self.flag("sendAttributesUpdatedNotification")? {
            self.problem("sendAttributesUpdatedNotification", "not supported yet: results do not enter a rule chain");
        }
        let ttl_s = self.number("ttl", (0, u64::from(u32::MAX)))?;
        Some((u32::try_from(ttl_s).unwrap_or(u32::MAX), self.flag("updateAttributesOnlyOnValueChange")?))
    }
}

/// A number or a boolean, if the text is one. An empty text is no value.
fn default_value(value: &Value) -> Option<telemetry::Value<'static>> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    if text.is_empty() {
        return None;
    }
    let double = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(telemetry::Value::Double);
    let bool = || text.parse().ok().map(telemetry::Value::Bool);
    let long = text.parse().ok().map(telemetry::Value::Long);
    Some(long.or_else(double).or_else(bool).unwrap_or_else(|| telemetry::Value::Text(text.clone().into())))
}
