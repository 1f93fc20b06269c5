//! ThingsBoard's JSON of alarm rules, in its older forms too, to checked rules. Every problem is reported; fields that change nothing
//! are passed over.

use std::collections::HashSet;

use chrono_tz::Tz;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    AlarmRule, DEPTH_MAX, Dynamic, FILTERS_MAX, Filter, Key, KeyKind, Operand, PATTERN_BYTES_MAX, PREDICATES_MAX, Predicate,
    RULES_MAX, Rule, Schedule, Source, Spec, Subject, schedule::DAY_MS,
};
use crate::{
    alarm::{Propagation, RELATION_TYPES_MAX, Severity},
    chain::Problem,
    condition::{BoolOperation, NumberOperation, TextOperation},
    config::NAME_BYTES_MAX,
    telemetry::Value,
};

/// Longest text that a value is compared with, in bytes.
const OPERAND_BYTES_MAX: usize = 4_096;
/// Longest duration, in milliseconds: ten years.
const DURATION_MS_MAX: i64 = 315_360_000_000;

/// The rules that could be read; without a problem these are all.
pub(super) fn rules(alarms: &Json, problems: &mut Vec<Problem>) -> Vec<AlarmRule> {
    let mut reader = Reader { problems };
    let listed = match alarms {
        Json::Null => return Vec::new(),
        Json::Array(listed) if listed.len() <= RULES_MAX => listed,
        Json::Array(listed) => {
            reader.problem("alarms", format!("{} entries, at most {RULES_MAX}", listed.len()));
            return Vec::new();
        }
        _ => {
            reader.problem("alarms", "must be an array");
            return Vec::new();
        }
    };
    let (mut kinds, mut ids) = (HashSet::new(), HashSet::new());
    let mut rules = Vec::new();
    for (place, alarm) in listed.iter().enumerate() {
        let path = format!("alarms[{place}]");
        let Some(rule) = reader.alarm(alarm, &path) else { continue };
        if !kinds.insert(rule.kind.clone()) {
            reader.problem(&format!("{path}.alarmType"), format!("{:?}: another entry has the same", rule.kind));
        }
        if !ids.insert(rule.id.clone()) {
            reader.problem(&format!("{path}.id"), format!("{:?}: another entry has the same", rule.id));
        }
        rules.push(rule);
    }
    rules
}

struct Reader<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, path: &str, rule: impl Into<String>) {
        self.problems.push(Problem { path: path.to_owned(), rule: rule.into() });
    }

    fn object<'j>(&mut self, value: &'j Json, path: &str) -> Option<&'j Map<String, Json>> {
        if value.as_object().is_none() {
            self.problem(path, if value.is_null() { "missing: expected an object" } else { "expected an object" });
        }
        value.as_object()
    }

    /// A field that has to be there and understood.
    fn required<T>(
        &mut self,
        of: &Map<String, Json>,
        (path, field): (&str, &str),
        expected: &str,
        read: impl FnOnce(&Json) -> Option<T>,
    ) -> Option<T> {
        let value = given(of, field);
        let found = value.and_then(read);
        if found.is_none() {
            let shown = value.map_or_else(|| "missing".to_owned(), |value| shortened(&value.to_string()));
            self.problem(&format!("{path}.{field}"), format!("{shown}: expected {expected}"));
        }
        found
    }

    /// A field that may be missing.
    fn optional<T>(
        &mut self,
        of: &Map<String, Json>,
        place: (&str, &str),
        expected: &str,
        read: impl FnOnce(&Json) -> Option<T>,
    ) -> Option<Option<T>> {
        match given(of, place.1) {
            None => Some(None),
            Some(_) => self.required(of, place, expected, read).map(Some),
        }
    }

    fn flag(&mut self, of: &Map<String, Json>, place: (&str, &str)) -> Option<bool> {
        Some(self.optional(of, place, "true or false", Json::as_bool)?.unwrap_or(false))
    }

    fn one_of<T: Copy>(&mut self, of: &Map<String, Json>, place: (&str, &str), names: &[(&str, T)]) -> Option<T> {
        let all = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        self.required(of, place, &format!("one of {all}"), |value| {
            let said = value.as_str()?;
            names.iter().find(|(name, _)| *name == said).map(|(_, found)| *found)
        })
    }

    fn alarm(&mut self, alarm: &Json, path: &str) -> Option<AlarmRule> {
        let alarm = self.object(alarm, path)?;
        let named = |value: &Json| name(value).filter(|name| !name.contains(char::is_control)).map(str::to_owned);
        let expected = format!("a text of 1 to {NAME_BYTES_MAX} bytes without control characters");
        let kind = self.required(alarm, (path, "alarmType"), &expected, named);
        let id = self.optional(alarm, (path, "id"), &expected, named);
        let create = self.create_rules(alarm, path);
        let clear = match given(alarm, "clearRule") {
            None => Some(None),
            Some(rule) => self.rule(rule, &format!("{path}.clearRule")).map(Some),
        };
        let propagation = self.propagation(alarm, path);
        let kind = kind?;
        Some(AlarmRule {
            id: id?.unwrap_or_else(|| kind.clone()),
            kind,
            create: create?,
            clear: clear?,
            propagation: propagation?,
        })
    }

    fn create_rules(&mut self, alarm: &Map<String, Json>, path: &str) -> Option<Vec<(Severity, Rule)>> {
        let path = format!("{path}.createRules");
        let rules = self.object(given(alarm, "createRules").unwrap_or(&Json::Null), &path)?;
        if rules.is_empty() {
            self.problem(&path, "expected a rule for one severity or more");
            return None;
        }
        let mut create = Vec::new();
        for (name, rule) in rules {
            let path = format!("{path}.{}", shortened(name));
            let read = self.rule(rule, &path);
            match Severity::parse(name) {
                Some(severity) => create.extend(read.map(|rule| (severity, rule))),
                None => self.problem(&path, format!("expected one of {}", names(Severity::ALL.iter().map(|one| one.name())))),
            }
        }
        create.sort_by_key(|(severity, _)| *severity);
        (create.len() == rules.len()).then_some(create)
    }

    fn propagation(&mut self, alarm: &Map<String, Json>, path: &str) -> Option<Propagation> {
        let along_relations = self.flag(alarm, (path, "propagate"));
        let to_owner = self.flag(alarm, (path, "propagateToOwner"));
        let to_tenant = self.flag(alarm, (path, "propagateToTenant"));
        let expected = format!("at most {RELATION_TYPES_MAX} texts of 1 to {NAME_BYTES_MAX} bytes");
        let types = self.optional(alarm, (path, "propagateRelationTypes"), &expected, |value| {
            let listed = value.as_array().filter(|listed| listed.len() <= RELATION_TYPES_MAX)?;
            listed.iter().map(|one| name(one).map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        Some(Propagation {
            along_relations: along_relations?,
            to_owner: to_owner?,
            to_tenant: to_tenant?,
            relation_types: types?.unwrap_or_default(),
        })
    }

    fn rule(&mut self, rule: &Json, path: &str) -> Option<Rule> {
        let rule = self.object(rule, path)?;
        let below = format!("{path}.condition");
        let condition = self.object(given(rule, "condition").unwrap_or(&Json::Null), &below);
        let filters = condition.and_then(|condition| self.filters(condition, &below));
        let spec = condition.and_then(|condition| match given(condition, "spec") {
            None => Some(Spec::Simple),
            Some(spec) => self.spec(spec, &format!("{below}.spec")),
        });
        let schedule = match given(rule, "schedule") {
            None => Some(Schedule::Always),
            Some(schedule) => self.schedule(schedule, &format!("{path}.schedule")),
        };
        let expected = format!("a text of at most {PATTERN_BYTES_MAX} bytes");
        let details = self.optional(rule, (path, "alarmDetails"), &expected, |value| {
            value.as_str().filter(|text| text.len() <= PATTERN_BYTES_MAX).map(str::to_owned)
        });
        let dashboard = self.optional(rule, (path, "dashboardId"), "the id of a dashboard", |value| {
            Uuid::parse_str(value.get("id").unwrap_or(value).as_str()?).ok()
        });
        let (filters, spec) = (filters?, spec?);
        let details = details?.filter(|text| !text.is_empty());
        Some(Rule { keys: keys(&filters, &spec), filters, spec, schedule: schedule?, details, dashboard: dashboard? })
    }

    fn filters(&mut self, condition: &Map<String, Json>, path: &str) -> Option<Vec<Filter>> {
        let expected = format!("an array of 1 to {FILTERS_MAX} filters");
        let listed = self.required(condition, (path, "condition"), &expected, |value| {
            value.as_array().filter(|listed| (1..=FILTERS_MAX).contains(&listed.len())).cloned()
        })?;
        let mut left = PREDICATES_MAX;
        let mut filters = Vec::new();
        for (place, filter) in listed.iter().enumerate() {
            filters.extend(self.filter(filter, &format!("{path}.condition[{place}]"), &mut left));
        }
        (filters.len() == listed.len()).then_some(filters)
    }

    fn filter(&mut self, filter: &Json, path: &str, left: &mut usize) -> Option<Filter> {
        const KINDS: [(&str, Option<KeyKind>); 4] = [
            ("ATTRIBUTE", Some(KeyKind::Attribute)),
            ("TIME_SERIES", Some(KeyKind::Series)),
            ("ENTITY_FIELD", Some(KeyKind::Field)),
            ("CONSTANT", None),
        ];
        let types = [("STRING", "STRING"), ("NUMERIC", "NUMERIC"), ("BOOLEAN", "BOOLEAN"), ("DATE_TIME", "NUMERIC")];
        let filter = self.object(filter, path)?;
        let kind = self.one_of(filter, (path, "valueType"), &types);
        let below = format!("{path}.key");
        let subject = self.object(given(filter, "key").unwrap_or(&Json::Null), &below).and_then(|key| {
            match self.one_of(key, (&below, "type"), &KINDS)? {
                Some(of) => self.key(key, of, &below).map(Subject::Key),
                None => self.constant(filter, kind?, path).map(Subject::Constant),
            }
        });
        let predicate = given(filter, "predicate").unwrap_or(&Json::Null);
        let predicate = kind.and_then(|kind| self.predicate(predicate, (&format!("{path}.predicate"), kind), DEPTH_MAX, left));
        Some(Filter { subject: subject?, predicate: predicate? })
    }

    fn key(&mut self, key: &Map<String, Json>, kind: KeyKind, path: &str) -> Option<Key> {
        let expected = match kind {
            KeyKind::Field => "name or type: other fields are not offered yet".to_owned(),
            KeyKind::Attribute | KeyKind::Series => format!("a text of 1 to {NAME_BYTES_MAX} bytes"),
        };
        let name = self.required(key, (path, "key"), &expected, |value| {
            name(value).filter(|name| kind != KeyKind::Field || ["name", "type"].contains(name)).map(str::to_owned)
        })?;
        Some(Key { kind, name })
    }

    fn constant(&mut self, filter: &Map<String, Json>, kind: &str, path: &str) -> Option<Value<'static>> {
        self.required(filter, (path, "value"), &format!("a value of the type {kind}"), |value| match (kind, value) {
            ("BOOLEAN", value) => value.as_bool().map(Value::Bool),
            ("NUMERIC", value) => value.as_i64().map(Value::Long).or_else(|| value.as_f64().map(Value::Double)),
            (_, value) => {
                value.as_str().filter(|text| text.len() <= OPERAND_BYTES_MAX).map(|text| Value::Text(text.to_owned().into()))
            }
        })
    }

    fn predicate(&mut self, predicate: &Json, (path, kind): (&str, &str), depth: usize, left: &mut usize) -> Option<Predicate> {
        let predicate = self.object(predicate, path)?;
        let Some(fewer) = left.checked_sub(1).filter(|_| depth > 0) else {
            self.problem(
                path,
                format!("at most {PREDICATES_MAX} predicates of one condition, {DEPTH_MAX} inside of one another"),
            );
            return None;
        };
        *left = fewer;
        let is_complex = self.one_of(predicate, (path, "type"), &[(kind, false), ("COMPLEX", true)])?;
        if is_complex {
            let all = self.one_of(predicate, (path, "operation"), &[("AND", true), ("OR", false)]);
            let expected = "an array of predicates";
            let listed = self.required(predicate, (path, "predicates"), expected, |value| value.as_array().cloned())?;
            let mut parts = Vec::new();
            for (place, part) in listed.iter().enumerate() {
                parts.extend(self.predicate(part, (&format!("{path}.predicates[{place}]"), kind), depth - 1, left));
            }
            let parts = (parts.len() == listed.len()).then_some(parts)?;
            return Some(if all? { Predicate::All(parts) } else { Predicate::Any(parts) });
        }
        let operand = given(predicate, "value").unwrap_or(&Json::Null);
        let below = format!("{path}.value");
        match kind {
            "NUMERIC" => {
                let operation = self.one_of(predicate, (path, "operation"), &NumberOperation::NAMES);
                let operand = self.operand(operand, &below, "a number", Json::as_f64);
                Some(Predicate::Number { operation: operation?, operand: operand? })
            }
            "BOOLEAN" => {
                let operation = self.one_of(predicate, (path, "operation"), &BoolOperation::NAMES);
                let operand = self.operand(operand, &below, "true or false", Json::as_bool);
                Some(Predicate::Bool { operation: operation?, operand: operand? })
            }
            _ => {
                let operation = self.one_of(predicate, (path, "operation"), &TextOperation::NAMES);
                let expected = format!("a text of at most {OPERAND_BYTES_MAX} bytes");
                let operand = self.operand(operand, &below, &expected, |value| {
                    value.as_str().filter(|text| text.len() <= OPERAND_BYTES_MAX).map(str::to_owned)
                });
                let ignore_case = self.flag(predicate, (path, "ignoreCase"));
                Some(Predicate::Text { operation: operation?, operand: operand?, ignore_case: ignore_case? })
            }
        }
    }

    /// The user's value, else the default.
    fn operand<T>(&mut self, value: &Json, path: &str, expected: &str, read: impl Fn(&Json) -> Option<T>) -> Option<Operand<T>> {
        let value = self.object(value, path)?;
        let field = if given(value, "userValue").is_some() { "userValue" } else { "defaultValue" };
        let fixed = self.required(value, (path, field), expected, read);
        let dynamic = match given(value, "dynamicValue") {
            None => Some(None),
            Some(dynamic) => self.dynamic(dynamic, &format!("{path}.dynamicValue")),
        };
        Some(Operand { fixed: fixed?, dynamic: dynamic? })
    }

    /// One without a source is none.
    fn dynamic(&mut self, dynamic: &Json, path: &str) -> Option<Option<Dynamic>> {
        const SOURCES: [(&str, Source); 3] =
            [("CURRENT_DEVICE", Source::Device), ("CURRENT_CUSTOMER", Source::Customer), ("CURRENT_TENANT", Source::Tenant)];
        let dynamic = self.object(dynamic, path)?;
        if given(dynamic, "sourceType").is_none() {
            return Some(None);
        }
        let source = self.one_of(dynamic, (path, "sourceType"), &SOURCES);
        let expected = format!("the name of an attribute, 1 to {NAME_BYTES_MAX} bytes");
        let attribute = self.required(dynamic, (path, "sourceAttribute"), &expected, |value| name(value).map(str::to_owned));
        let inherit = self.flag(dynamic, (path, "inherit"));
        Some(Some(Dynamic { source: source?, attribute: attribute?, inherit: inherit? }))
    }

    fn spec(&mut self, spec: &Json, path: &str) -> Option<Spec> {
        const UNITS: [(&str, i64); 4] = [("SECONDS", 1_000), ("MINUTES", 60_000), ("HOURS", 3_600_000), ("DAYS", DAY_MS)];
        let spec = self.object(spec, path)?;
        match self.one_of(spec, (path, "type"), &[("SIMPLE", 0), ("DURATION", 1), ("REPEATING", 2)])? {
            0 => Some(Spec::Simple),
            1 => {
                let unit_ms = self.one_of(spec, (path, "unit"), &UNITS);
                let most = DURATION_MS_MAX / unit_ms.unwrap_or(1_000);
                let length = self.count(spec, (path, "value"), (0, most));
                Some(Spec::Duration { unit_ms: unit_ms?, length: length? })
            }
            _ => self.count(spec, (path, "count"), (1, i64::from(u32::MAX))).map(|times| Spec::Repeating { times }),
        }
    }

    /// A whole number in `predicate`, or where ThingsBoard wrote it before it could be dynamic.
    fn count(
        &mut self,
        spec: &Map<String, Json>,
        (path, older): (&str, &str),
        (least, most): (i64, i64),
    ) -> Option<Operand<i64>> {
        let expected = format!("a whole number from {least} to {most}");
        let whole = |value: &Json| whole(value).filter(|number| (least..=most).contains(number));
        match given(spec, "predicate") {
            Some(predicate) => self.operand(predicate, &format!("{path}.predicate"), &expected, whole),
            None if given(spec, older).is_some() => {
                let fixed = self.required(spec, (path, older), &expected, whole)?;
                Some(Operand { fixed, dynamic: None })
            }
            None => {
                self.problem(&format!("{path}.predicate"), "missing: expected an object with defaultValue");
                None
            }
        }
    }

    fn schedule(&mut self, schedule: &Json, path: &str) -> Option<Schedule> {
        let schedule = self.object(schedule, path)?;
        let kind = self.one_of(schedule, (path, "type"), &[("ANY_TIME", 0), ("SPECIFIC_TIME", 1), ("CUSTOM", 2)])?;
        if given(schedule, "dynamicValue").is_some_and(|dynamic| dynamic.get("sourceAttribute").is_some_and(Json::is_string)) {
            self.problem(&format!("{path}.dynamicValue"), "schedules in attributes are not offered yet");
            return None;
        }
        if kind == 0 {
            return Some(Schedule::Always);
        }
        let zone = self.required(schedule, (path, "timezone"), "an IANA time zone such as Europe/Kyiv", |value| {
            value.as_str()?.parse::<Tz>().ok()
        });
        let days = if kind == 1 { self.specific_days(schedule, path) } else { self.custom_days(schedule, path) };
        Some(Schedule::Weekly { zone: zone?, days: days? })
    }

    /// The same hours on several days.
    fn specific_days(&mut self, schedule: &Map<String, Json>, path: &str) -> Option<[Option<(i64, i64)>; 7]> {
        let expected = "an array of days from 1 (Monday) to 7";
        let days = self.required(schedule, (path, "daysOfWeek"), expected, |value| {
            value.as_array()?.iter().map(day).collect::<Option<Vec<_>>>()
        });
        let hours = self.hours(schedule, path);
        let (days, hours, mut week) = (days?, hours?, [None; 7]);
        days.into_iter().for_each(|day| week[day] = Some(hours));
        Some(week)
    }

    /// Each day by itself; those that nobody names, or that are switched off, have no hours.
    fn custom_days(&mut self, schedule: &Map<String, Json>, path: &str) -> Option<[Option<(i64, i64)>; 7]> {
        let expected = "an array of at most 7 days";
        let items = self
            .required(schedule, (path, "items"), expected, |value| value.as_array().filter(|items| items.len() <= 7).cloned())?;
        let (mut week, mut whole) = ([None; 7], true);
        for (place, item) in items.iter().enumerate() {
            let path = format!("{path}.items[{place}]");
            let read = self.object(item, &path).and_then(|item| {
                let enabled = self.flag(item, (&path, "enabled"));
                let day = self.required(item, (&path, "dayOfWeek"), "a day from 1 (Monday) to 7", day);
                let hours = self.hours(item, &path);
                Some((day?, enabled?.then_some(hours?)))
            });
            match read {
                Some((day, hours)) => week[day] = hours,
                None => whole = false,
            }
        }
        whole.then_some(week)
    }

    fn hours(&mut self, of: &Map<String, Json>, path: &str) -> Option<(i64, i64)> {
        let expected = format!("milliseconds after midnight, from 0 to {DAY_MS}");
        let mut time =
            |field| self.optional(of, (path, field), &expected, |value| whole(value).filter(|ms| (0..=DAY_MS).contains(ms)));
        let (from, to) = (time("startsOn"), time("endsOn"));
        let (from, to) = (from?.unwrap_or(0), to?.unwrap_or(0));
        // The end of a day is written as its beginning.
        Some((from, if to == 0 { DAY_MS } else { to }))
    }
}

/// The keys of the device that decide, each once.
fn keys(filters: &[Filter], spec: &Spec) -> Vec<Key> {
    let mut dynamics = Vec::new();
    filters.iter().for_each(|filter| filter.predicate.dynamics(&mut dynamics));
    match spec {
        Spec::Simple => {}
        Spec::Duration { length: operand, .. } | Spec::Repeating { times: operand } => dynamics.extend(&operand.dynamic),
    }
    let own = dynamics.into_iter().filter(|dynamic| dynamic.source == Source::Device);
    let attributes = own.map(|dynamic| Key { kind: KeyKind::Attribute, name: dynamic.attribute.clone() });
    let subjects = filters.iter().filter_map(|filter| match &filter.subject {
        Subject::Key(key) => Some(key.clone()),
        Subject::Constant(_) => None,
    });
    let mut keys: Vec<Key> = Vec::new();
    for key in subjects.chain(attributes) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// A field's value; null is as good as absent.
fn given<'j>(of: &'j Map<String, Json>, field: &str) -> Option<&'j Json> {
    of.get(field).filter(|value| !value.is_null())
}

fn name(value: &Json) -> Option<&str> {
    value.as_str().filter(|text| (1..=NAME_BYTES_MAX).contains(&text.len()))
}

/// A whole number, also one that is written as 5.0 or as text.
fn whole(value: &Json) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and far below 2^53")]
    let of_double = |double: f64| (double.fract() == 0.0 && double.abs() < 9e15).then_some(double as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(of_double)).or_else(|| value.as_str()?.trim().parse().ok())
}

fn day(value: &Json) -> Option<usize> {
    let number = value.as_u64().filter(|day| (1..=7).contains(day))?;
    usize::try_from(number - 1).ok()
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
