//! Device profile: what a message says of its device is held against the alarm rules of the device's profile, and alarms begin, get
//! worse and end (reference 4.8). A condition that has to last or to repeat is remembered durably; one that has lasted long enough is
//! acted on although no message comes. Messages that say nothing that a rule looks at pass.

use std::borrow::Cow;

use schemas::alarm::{Alarm, Severity};
use schemas::alarm_rule::{self, AlarmRule, AlarmRules, Dynamic, Key, KeyKind, Operand, Rule, Source, Spec, Subject};
use schemas::chain::{EntityType, MessageType, Owner};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::limits;
use crate::message::{Body, Message, Reading, Scope, Value};
use crate::progress::{Progress, RuleProgress};
use crate::rules::carried::{Carried, Changed, name};
use crate::rules::node::alarm::{begin, told, with_details};
use crate::rules::node::{Fork, Itself, Next, SUCCESS, Scene};
use crate::rules::{Absent, Fact};

/// Outcomes besides Success and Failure.
const CREATED: usize = 2;
const UPDATED: usize = 3;
const SEVERITY_UPDATED: usize = 4;
const CLEARED: usize = 5;

/// What changes when a device becomes active or inactive.
const CONNECTIVITY: [&str; 5] = ["active", "lastConnectTime", "lastDisconnectTime", "lastActivityTime", "inactivityAlarmTime"];

pub(super) fn run(node: Uuid, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    if scene.message.originator_type != EntityType::Device {
        return Next::By(SUCCESS);
    }
    let Some(rules) = scene.world.alarm_rules() else { return Next::By(SUCCESS) };
    let said = match carried.standard() {
        Some(MessageType::AlarmClear | MessageType::AlarmDelete) => {
            return Work::new(Said::nothing(scene.message), node, carried, scene).over();
        }
        Some(kind) => Said::read(kind, carried, scene.message),
        None => None,
    };
    let Some(said) = said else { return Next::By(SUCCESS) };
    let mut work = Work::new(said, node, carried, scene);
    for rule in &rules.rules {
        match work.look_at(rule) {
            Ok(()) => {}
            Err(Stop::Need(fact)) => return Next::Need(fact),
            Err(Stop::Fail(reason)) => drop(work.failure.get_or_insert(reason)),
        }
    }
    if work.changed {
        work.keep_known(&rules);
    }
    work.done(true)
}

/// Some condition may have lasted long enough.
pub(super) fn elapse(node: Uuid, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let rules = scene.world.alarm_rules().unwrap_or_default();
    let mut work = Work::new(Said::nothing(scene.message), node, carried, scene);
    work.keep_known(&rules);
    for rule in &rules.rules {
        if let Err(Stop::Fail(reason)) = work.look_at_time(rule) {
            work.failure.get_or_insert(reason);
        }
    }
    // Whatever was due and is no condition that lasts any more is not looked at for ever.
    let now = work.said.ts;
    work.progress.rules.retain(|progress| progress.due().is_none_or(|due| due.0 > now));
    work.changed = true;
    work.done(false)
}

/// What a message says of its device.
struct Said<'c> {
    kind: KeyKind,
    readings: Cow<'c, [Reading<'c>]>,
    /// Keys that have changed and whose values the device's state has.
    keys: Vec<Cow<'c, str>>,
    /// When it was the case, in milliseconds since the Unix epoch.
    ts: i64,
}

impl<'c> Said<'c> {
    fn nothing(message: &Message<'_>) -> Self {
        Self { kind: KeyKind::Attribute, readings: Cow::Borrowed(&[]), keys: Vec::new(), ts: message.received.0 }
    }

    /// `None`: nothing that rules look at.
    fn read(kind: MessageType, carried: &'c Carried<'_>, message: &Message<'_>) -> Option<Self> {
        let of = match kind {
            MessageType::PostTelemetryRequest => KeyKind::Series,
            MessageType::PostAttributesRequest | MessageType::AttributesUpdated | MessageType::AttributesDeleted => {
                KeyKind::Attribute
            }
            MessageType::ActivityEvent | MessageType::InactivityEvent => {
                let keys = CONNECTIVITY.map(Cow::Borrowed).to_vec();
                return Some(Self { keys, ..Self::nothing(message) });
            }
            _ => return None,
        };
        let mut said = Self { kind: of, ..Self::nothing(message) };
        match carried {
            Carried::AsCame(message) => match &message.body {
                Body::Telemetry(readings) => {
                    said.readings = Cow::Borrowed(&readings.readings);
                    said.ts = readings.entries.iter().filter_map(|entry| entry.ts).max().map_or(said.ts, |ts| ts.0);
                }
                Body::Attributes { readings, .. } => said.readings = Cow::Borrowed(&readings.readings),
                Body::Deleted { keys } => said.keys = keys.iter().map(|key| Cow::Borrowed(&**key)).collect(),
                _ => return None,
            },
            Carried::Changed(changed) => said.change(kind, changed),
        }
        Some(said)
    }

    fn change(&mut self, kind: MessageType, changed: &'c Changed) {
        if kind == MessageType::AttributesDeleted {
            let keys = changed.data.get("attributes").and_then(Json::as_array).into_iter().flatten();
            self.keys = keys.filter_map(|key| key.as_str().map(Cow::Borrowed)).collect();
            return;
        }
        let values = changed.data.as_object().into_iter().flatten();
        let reading =
            |(key, value): (&'c String, &'c Json)| Some(Reading { key: Cow::Borrowed(&**key), value: value_of(value)? });
        self.readings = values.filter_map(reading).collect::<Vec<_>>().into();
        if self.kind == KeyKind::Series
            && let Some(ts) = changed.metadata.get(name::TS).and_then(|ts| ts.parse().ok())
        {
            self.ts = ts;
        }
    }

    fn reading(&self, key: &str) -> Option<&Reading<'c>> {
        self.readings.iter().rev().find(|reading| reading.key == key)
    }

    fn says(&self, key: &Key) -> bool {
        key.kind == self.kind && (self.reading(&key.name).is_some() || self.keys.iter().any(|said| *said == key.name))
    }

    /// Whether a rule is set off: by an attribute only if it looks at no readings, as in ThingsBoard.
    fn touches(&self, rule: &Rule) -> bool {
        (self.kind == KeyKind::Series || !rule.looks_at_series()) && rule.keys.iter().any(|key| self.says(key))
    }

    /// The value of a key now: the message's, else the device's.
    fn value<'v>(&'v self, key: &Key, scene: &mut Scene<'_, '_>) -> Option<Value<'v>> {
        if key.kind == self.kind
            && let Some(reading) = self.reading(&key.name)
        {
            return Some(borrowed(&reading.value));
        }
        match key.kind {
            KeyKind::Series => scene.latest(&key.name).map(|(_, value)| value),
            KeyKind::Attribute => {
                let of = [Scope::Server, Scope::Shared, Scope::Client];
                of.into_iter().find_map(|scope| scene.attribute(scope, &key.name)).map(|(_, value)| value)
            }
            KeyKind::Field => {
                let field = if key.name == "name" { scene.message.device_name } else { scene.message.device_type };
                Some(Value::Text(Cow::Owned(field.to_owned())))
            }
        }
    }
}

/// What became of a rule.
enum Verdict {
    Holds,
    NotYet,
    Fails,
}

/// Why a rule cannot be judged.
enum Stop {
    Need(Box<Fact>),
    Fail(String),
}

/// One message at one node.
struct Work<'w, 'c, 's, 'm> {
    said: Said<'c>,
    carried: &'w Carried<'w>,
    scene: &'w mut Scene<'s, 'm>,
    progress: Progress,
    /// What is remembered is not what it was.
    changed: bool,
    made: Vec<(usize, Changed)>,
    /// The first.
    failure: Option<String>,
}

impl<'w, 'c, 's, 'm> Work<'w, 'c, 's, 'm> {
    fn new(said: Said<'c>, node: Uuid, carried: &'w Carried<'w>, scene: &'w mut Scene<'s, 'm>) -> Self {
        let progress = scene.progress(node).unwrap_or_default();
        Self { said, carried, scene, progress, changed: false, made: Vec::new(), failure: None }
    }

    /// Forgets rules that the profile does not have any more.
    fn keep_known(&mut self, rules: &AlarmRules) {
        self.progress.rules.retain(|progress| rules.rules.iter().any(|rule| rule.id == progress.id));
    }

    fn done(self, goes: bool) -> Next {
        let itself = match self.failure {
            Some(reason) => Itself::Fails(reason),
            None if goes => Itself::Goes,
            None => Itself::Stays,
        };
        if goes && !self.changed && self.made.is_empty() && matches!(itself, Itself::Goes) {
            return Next::By(SUCCESS);
        }
        Next::Fork(Box::new(Fork { each: self.made, itself, keep: self.changed.then_some(self.progress) }))
    }

    /// Somebody has ended or deleted an alarm: its rules begin anew.
    fn over(mut self) -> Next {
        let data = self.carried.data();
        let kind = data.get("type").and_then(Json::as_str).unwrap_or_default();
        let rules = self.scene.world.alarm_rules().unwrap_or_default();
        for rule in rules.rules.iter().filter(|rule| rule.kind == kind) {
            self.forget(rule, |_| true);
        }
        self.done(true)
    }

    /// The worst severity whose condition holds begins the alarm or goes on with it; without one it may be over.
    fn look_at(&mut self, rule: &AlarmRule) -> Result<(), Stop> {
        for (severity, one) in &rule.create {
            if !self.said.touches(one) {
                continue;
            }
            match self.judge(rule, Some(*severity), one)? {
                Verdict::Holds => {
                    self.forget(rule, |severity| severity.is_none());
                    return self.go_on(rule, (*severity, one), self.said.ts);
                }
                Verdict::NotYet => {}
                Verdict::Fails => self.forget(rule, |of| of == Some(*severity)),
            }
        }
        let Some(clear) = rule.clear.as_ref().filter(|clear| self.said.touches(clear)) else { return Ok(()) };
        let Some(alarm) = self.scene.active_alarm(&rule.kind) else { return Ok(()) };
        match self.judge(rule, None, clear)? {
            Verdict::Holds => self.end(rule, clear, alarm),
            Verdict::NotYet => Ok(()),
            Verdict::Fails => {
                self.forget(rule, |severity| severity.is_none());
                Ok(())
            }
        }
    }

    /// The same by the time that has passed.
    fn look_at_time(&mut self, rule: &AlarmRule) -> Result<(), Stop> {
        let mut worst = None;
        for (severity, one) in &rule.create {
            if let Some(last) = self.has_lasted(rule, Some(*severity), one) {
                worst.get_or_insert((*severity, one, last));
            }
        }
        if let Some((severity, one, last)) = worst {
            self.forget(rule, |severity| severity.is_none());
            return self.go_on(rule, (severity, one), last.0);
        }
        let Some(clear) = &rule.clear else { return Ok(()) };
        if self.has_lasted(rule, None, clear).is_none() {
            return Ok(());
        }
        match self.scene.active_alarm(&rule.kind) {
            Some(alarm) => self.end(rule, clear, alarm),
            None => Ok(()),
        }
    }

    /// Since when a condition has held that has lasted long enough just now.
    fn has_lasted(&mut self, rule: &AlarmRule, severity: Option<Severity>, one: &Rule) -> Option<Timestamp> {
        let now = self.said.ts;
        let place = self.place(rule, severity)?;
        let progress = self.progress.rules.get_mut(place)?;
        if progress.due().is_none_or(|due| due.0 > now) {
            return None;
        }
        if !one.schedule.is_active(now) || !matches!(one.spec, Spec::Duration { .. }) {
            self.progress.rules.remove(place);
            return None;
        }
        progress.reached = true;
        Some(progress.last)
    }

    fn judge(&mut self, rule: &AlarmRule, severity: Option<Severity>, one: &Rule) -> Result<Verdict, Stop> {
        let ts = self.said.ts;
        if !one.schedule.is_active(ts) || !self.holds(one)? {
            return Ok(Verdict::Fails);
        }
        match &one.spec {
            Spec::Simple => Ok(Verdict::Holds),
            Spec::Repeating { times } => {
                let needed = self.operand(times)?;
                let progress = self.entry(rule, severity);
                progress.times += 1;
                let reached = progress.times >= u64::try_from(needed).unwrap_or(0);
                Ok(if reached { Verdict::Holds } else { Verdict::NotYet })
            }
            Spec::Duration { unit_ms, length } => {
                let required_ms = self.operand(length)?.max(0).saturating_mul(*unit_ms);
                let progress = self.entry(rule, severity);
                let passed = ts.saturating_sub(progress.last.0).max(0);
                progress.last = progress.last.max(Timestamp(ts));
                progress.lasted_ms = progress.lasted_ms.saturating_add(passed);
                progress.required_ms = required_ms;
                progress.times = 0;
                if progress.lasted_ms > required_ms {
                    progress.reached = true;
                    return Ok(Verdict::Holds);
                }
                Ok(Verdict::NotYet)
            }
        }
    }

    /// Whether all filters hold. A key without a value makes its filter false.
    fn holds(&mut self, rule: &Rule) -> Result<bool, Stop> {
        let (said, scene) = (&self.said, &mut *self.scene);
        for filter in &rule.filters {
            let value = match &filter.subject {
                Subject::Constant(value) => Some(borrowed(value)),
                Subject::Key(key) => said.value(key, scene),
            };
            let Some(value) = value else { return Ok(false) };
            let mut find = |dynamic: &Dynamic| found(said, scene, dynamic);
            if !filter.predicate.holds(&value, &mut find)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn operand(&mut self, operand: &Operand<i64>) -> Result<i64, Stop> {
        let (said, scene) = (&self.said, &mut *self.scene);
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
        let read = |value: &Value<'_>| alarm_rule::number(value).map(|number| number as i64);
        Ok(*operand.value(&mut |dynamic| found(said, scene, dynamic), read)?)
    }

    fn place(&self, rule: &AlarmRule, severity: Option<Severity>) -> Option<usize> {
        self.progress.rules.iter().position(|one| one.severity == severity && one.id == rule.id)
    }

    /// What is remembered of a rule, to be changed.
    fn entry(&mut self, rule: &AlarmRule, severity: Option<Severity>) -> &mut RuleProgress {
        self.changed = true;
        let place = self.place(rule, severity).unwrap_or_else(|| {
            let last = Timestamp(self.said.ts);
            let (id, times, lasted_ms, required_ms, reached) = (rule.id.clone(), 0, 0, 0, false);
            self.progress.rules.push(RuleProgress { id, severity, times, last, lasted_ms, required_ms, reached });
            self.progress.rules.len() - 1
        });
        &mut self.progress.rules[place]
    }

    fn forget(&mut self, rule: &AlarmRule, which: impl Fn(Option<Severity>) -> bool) {
        let before = self.progress.rules.len();
        self.progress.rules.retain(|one| one.id != rule.id || !which(one.severity));
        self.changed |= self.progress.rules.len() != before;
    }

    /// The alarm begins, or goes on with a severity that is no better than before.
    fn go_on(&mut self, rule: &AlarmRule, (severity, one): (Severity, &Rule), start_ts: i64) -> Result<(), Stop> {
        let now = self.scene.message.received.0;
        let details = self.details(one)?;
        let Some(mut alarm) = self.scene.active_alarm(&rule.kind) else {
            if self.scene.alarm_room() == 0 {
                let most = limits::ALARMS_PER_ENTITY_MAX;
                return Err(Stop::Fail(format!("the originator has {most} alarms that are not over")));
            }
            let mut alarm = begin(self.scene, (rule.kind.clone(), severity, rule.propagation.clone()), start_ts);
            with_details(&mut alarm, Some(&details.unwrap_or_else(|| json!({})))).map_err(Stop::Fail)?;
            self.tell(rule, (CREATED, &[name::IS_NEW_ALARM]), (Some(severity), one), alarm);
            return Ok(());
        };
        if severity > alarm.severity {
            return Ok(());
        }
        let grown = severity < alarm.severity;
        (alarm.severity, alarm.end_ts) = (severity, alarm.end_ts.max(now));
        alarm.version += 1;
        with_details(&mut alarm, details.as_ref()).map_err(Stop::Fail)?;
        let (outcome, flags): (usize, &[&str]) = if grown {
            (SEVERITY_UPDATED, &[name::IS_EXISTING_ALARM, name::IS_SEVERITY_UPDATED])
        } else {
            (UPDATED, &[name::IS_EXISTING_ALARM])
        };
        self.tell(rule, (outcome, flags), (Some(severity), one), alarm);
        Ok(())
    }

    fn end(&mut self, rule: &AlarmRule, one: &Rule, mut alarm: Alarm) -> Result<(), Stop> {
        let details = self.details(one)?;
        with_details(&mut alarm, details.as_ref()).map_err(Stop::Fail)?;
        alarm.version += 1;
        alarm.clear_ts = Some(self.scene.message.received.0);
        self.tell(rule, (CLEARED, &[name::IS_CLEARED_ALARM]), (None, one), alarm);
        self.forget(rule, |_| true);
        Ok(())
    }

    fn tell(
        &mut self,
        rule: &AlarmRule,
        (outcome, flags): (usize, &[&str]),
        (severity, one): (Option<Severity>, &Rule),
        alarm: Alarm,
    ) {
        let mut changed = told(self.scene, alarm, flags, self.carried);
        let progress = self.place(rule, severity).and_then(|place| self.progress.rules.get(place));
        let condition = match (&one.spec, progress) {
            (Spec::Repeating { .. }, Some(progress)) => Some((name::CONDITION_REPEATS, progress.times.to_string())),
            (Spec::Duration { .. }, Some(progress)) => {
                let since = self.said.ts.saturating_sub(progress.last.0).max(0);
                Some((name::CONDITION_DURATION, progress.lasted_ms.saturating_add(since).to_string()))
            }
            _ => None,
        };
        changed.metadata.extend(condition.map(|(name, value)| (name.to_owned(), value)));
        self.made.push((outcome, changed));
    }

    /// What the alarm says, with the values of the rule's own keys.
    fn details(&mut self, rule: &Rule) -> Result<Option<Json>, Stop> {
        if rule.details.is_none() && rule.dashboard.is_none() {
            return Ok(None);
        }
        let mut details = json!({});
        if let Some(pattern) = &rule.details {
            details["data"] = Json::String(self.filled(pattern, rule)?);
        }
        if let Some(dashboard) = rule.dashboard {
            details["dashboardId"] = json!(dashboard);
        }
        Ok(Some(details))
    }

    fn filled(&mut self, pattern: &str, rule: &Rule) -> Result<String, Stop> {
        let (mut filled, mut rest) = (String::with_capacity(pattern.len()), pattern);
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            let hole = behind.split_once('}').and_then(|(key, after)| {
                let key = rule.keys.iter().find(|own| own.name == key)?;
                Some((self.said.value(key, self.scene)?.to_string(), after))
            });
            match hole {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                None => {
                    filled.push_str("${");
                    rest = behind;
                }
            }
            if filled.len() > limits::ALARM_DETAILS_BYTES_MAX {
                let most = limits::ALARM_DETAILS_BYTES_MAX;
                return Err(Stop::Fail(format!("alarm details: {} bytes, at most {most}", filled.len())));
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The value of an attribute that stands for an operand.
fn found(said: &Said<'_>, scene: &mut Scene<'_, '_>, dynamic: &Dynamic) -> Result<Option<Value<'static>>, Stop> {
    for source in Source::ALL.into_iter().filter(|source| *source >= dynamic.source) {
        let found = match source {
            Source::Device => {
                let key = Key { kind: KeyKind::Attribute, name: dynamic.attribute.clone() };
                said.value(&key, scene).map(Value::into_owned)
            }
            Source::Customer => of_owner(scene, Owner::Customer, &dynamic.attribute)?,
            Source::Tenant => of_owner(scene, Owner::Tenant, &dynamic.attribute)?,
        };
        if found.is_some() || !dynamic.inherit {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A server attribute; nobody's is none.
fn of_owner(scene: &Scene<'_, '_>, owner: Owner, attribute: &str) -> Result<Option<Value<'static>>, Stop> {
    let Some(entity) = scene.world.owner(owner) else { return Ok(None) };
    let fact = Fact::Attributes { entity, scope: Scope::Server, keys: vec![attribute.to_owned()] };
    match scene.world.fact(&fact) {
        Ok(known) => Ok(known.first().and_then(|series| series.points.first()).map(|point| point.value.clone())),
        Err(Absent::NotYet) => Err(Stop::Need(Box::new(fact))),
        Err(Absent::Never(reason)) => Err(Stop::Fail(reason)),
    }
}

/// The same value without its text.
fn borrowed<'v>(value: &'v Value<'_>) -> Value<'v> {
    match value {
        Value::Bool(value) => Value::Bool(*value),
        Value::Long(value) => Value::Long(*value),
        Value::Double(value) => Value::Double(*value),
        Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        Value::Json(text) => Value::Json(Cow::Borrowed(text)),
    }
}

/// A value of a message that a node has made; null is none.
fn value_of(value: &Json) -> Option<Value<'_>> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map(Value::Long).or_else(|| number.as_f64().map(Value::Double))?,
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        other => Value::Json(Cow::Owned(other.to_string())),
    })
}
