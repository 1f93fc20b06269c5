//! Calculated fields of a device, behind what a message saved and in its batch: which of them depend on it, what they lack, and their
//! results, which may be arguments of others. A field that fails is counted and stops nothing. The calculation itself is `rules`'.

use std::sync::Arc;

use schemas::calculated::{Argument, OutputTo, Source, Written};
use schemas::chain::MessageType;
use schemas::id::EntityId;
use schemas::script::Script;

use super::known::Known;
use super::needing::{Spoken, Waiter, Whose};
use super::saving::writing;
use super::turn::Shard;
use super::work::Stage;
use crate::clock::Timestamp;
use crate::device::told::Told;
use crate::device::windows::{Kept, Span, WindowOf};
use crate::effect::{Effect, Saving};
use crate::limits;
use crate::message::{Body, Message, Reading, Readings, Scope, Value};
use crate::metric::Counter;
use crate::query::{Aggregation, History, Series};
use crate::rules::calculated::{CalculationFailure, Operand, calculate};
use crate::rules::{Absent, Fact, Running};
use crate::script::{Engines, Subject};
use crate::snapshot::{DeviceFields, Field};

/// Keys that were saved of one device.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// With the newest ts; `None`: the server's own.
    series: Vec<(String, Option<Timestamp>)>,
    attributes: Vec<(Scope, String)>,
    /// What of it is not stored.
    told: Vec<Told>,
}

impl Touched {
    /// What a message saves, or an operator's write has saved before it.
    pub(super) fn of(message: &Message<'_>, effects: &[Effect<'_>]) -> Self {
        let mut touched = Self::default();
        match (message.kind, &message.body) {
            (MessageType::TimeseriesUpdated, Body::Telemetry(readings)) => touched.add_series(readings, false),
            (MessageType::AttributesUpdated, Body::Attributes { scope, readings }) => touched.add_attributes(*scope, readings),
            _ => {}
        }
        for effect in effects {
            match effect {
                Effect::SaveTimeseries { readings, use_server_ts, saving, .. } if saving.calculate => {
                    touched.add_series(readings, *use_server_ts);
                    if !saving.store {
                        touched.tell_series(readings, *use_server_ts, message.received);
                    }
                }
                Effect::SaveAttributes { readings, scope, saving, .. } if saving.calculate => {
                    touched.add_attributes(*scope, readings);
                    if !saving.store {
                        touched.tell(Some(*scope), message.received, &readings.readings);
                    }
                }
                _ => {}
            }
        }
        touched
    }

    fn tell_series(&mut self, readings: &Readings<'_>, use_server_ts: bool, received: Timestamp) {
        for entry in &readings.entries {
            let ts = entry.ts.filter(|_| !use_server_ts).unwrap_or(received);
            self.tell(None, ts, readings.of(entry));
        }
    }

    fn tell(&mut self, scope: Option<Scope>, ts: Timestamp, readings: &[Reading<'_>]) {
        let told = |reading: &Reading<'_>| {
            let (key, value) = (reading.key.to_string(), reading.value.clone().into_owned());
            Told { scope, key, ts, value }
        };
        self.told.extend(readings.iter().map(told));
    }

    fn add_series(&mut self, readings: &Readings<'_>, use_server_ts: bool) {
        for entry in &readings.entries {
            let ts = entry.ts.filter(|_| !use_server_ts);
            for reading in readings.of(entry) {
                match self.series.iter_mut().find(|(key, _)| *key == reading.key) {
                    Some((_, newest)) => *newest = newest.zip(ts).map(|(newest, ts)| newest.max(ts)),
                    None => self.series.push((reading.key.to_string(), ts)),
                }
            }
        }
    }

    fn add_attributes(&mut self, scope: Scope, readings: &Readings<'_>) {
        for reading in &readings.readings {
            if !self.attributes.iter().any(|(of, key)| *of == scope && *key == reading.key) {
                self.attributes.push((scope, reading.key.to_string()));
            }
        }
    }

    fn leave_out(&mut self, scope: Option<Scope>, key: &str) {
        match scope {
            None => self.series.retain(|(of, _)| of != key),
            Some(scope) => self.attributes.retain(|of| (of.0, &*of.1) != (scope, key)),
        }
    }

    /// With the ts of readings that have one.
    fn written(&self) -> impl Iterator<Item = (Written<'_>, Option<Timestamp>)> {
        let series = self.series.iter().map(|(key, ts)| (Written::Series(key), *ts));
        series.chain(self.attributes.iter().map(|(scope, key)| (Written::Attribute(*scope, key), None)))
    }
}

fn is_own(argument: &Argument, originator: EntityId) -> bool {
    argument.entity.is_none_or(|entity| entity == originator)
}

/// The fields that may be calculated because of what was saved, by their places: those that depend on it, and on each other.
fn reached(fields: &DeviceFields, touched: &Touched, originator: EntityId) -> Vec<usize> {
    let depends = |field: &Field| {
        let mut own = field.calculation.arguments.iter().filter(|argument| is_own(argument, originator));
        own.any(|argument| touched.written().any(|(written, _)| argument.is(written)))
    };
    let all: Vec<&Field> = fields.iter().map(|field| &**field).collect();
    let mut reached: Vec<usize> = (0..all.len()).filter(|place| depends(all[*place])).collect();
    let mut next = 0;
    while let Some(&from) = reached.get(next) {
        next += 1;
        for (to, other) in all.iter().enumerate() {
            if !reached.contains(&to) && all[from].calculation.may_feed(&other.calculation) {
                reached.push(to);
            }
        }
    }
    reached
}

impl Stage<'_> {
    /// Finds what the fields need that a message may lead to, before anything of it is done.
    ///
    /// # Errors
    /// The first fact that has to be asked for.
    pub(super) fn prepare(
        &mut self,
        fields: &DeviceFields,
        touched: &Touched,
        message: &Message<'_>,
        known: Known<'_>,
    ) -> Result<(), Box<Fact>> {
        for place in reached(fields, touched, message.originator) {
            let Some(field) = fields.iter().nth(place) else { continue };
            for (place, argument) in field.calculation.arguments.iter().enumerate() {
                let Some(fact) = self.fact_of(field, (place, argument), message) else { continue };
                match (known.find(&fact), argument.source) {
                    (Ok(series), Source::Rolling { limit, window_ms }) => {
                        let span = Span { key: argument.key.clone(), limit, window_ms };
                        self.fill(fields, window_of(field, place), span, series);
                    }
                    (Ok(_) | Err(Absent::Never(_)), _) => {}
                    (Err(Absent::NotYet), _) => return Err(Box::new(fact)),
                }
            }
        }
        Ok(())
    }

    /// What an argument needs that the originator's state does not say; `None`: nothing.
    fn fact_of(&self, field: &Field, (place, argument): (usize, &Argument), message: &Message<'_>) -> Option<Fact> {
        let (keys, entity) = (vec![argument.key.clone()], argument.entity.filter(|entity| *entity != message.originator));
        match (argument.source, entity) {
            (Source::Latest, Some(entity)) => Some(Fact::Latest { entity, keys }),
            (Source::Attribute(scope), Some(entity)) => Some(Fact::Attributes { entity, scope, keys }),
            (Source::Rolling { limit, window_ms }, _) if self.state.window(window_of(field, place)) == Kept::Nothing => {
                let now = message.received.0;
                let start = Timestamp(window_ms.map_or(0, |window_ms| now.saturating_sub(window_ms).max(0)));
                let end = Timestamp(now.saturating_add(limits::TS_AHEAD_MS_MAX).saturating_add(1));
                let (ascending, aggregation, interval_ms) = (false, Aggregation::None, 0);
                Some(Fact::History(History { keys, start, end, limit, ascending, aggregation, interval_ms }))
            }
            _ => None,
        }
    }

    /// An operator's write may have come after the past was read: the latest reading is never missed.
    fn fill(&mut self, fields: &DeviceFields, of: WindowOf, span: Span, past: &[Series]) {
        let latest = self.newest(Written::Series(&span.key));
        let past = past.iter().flat_map(|series| &series.points).map(|point| (point.ts, point.value.clone()));
        self.state.fill_window(of, span, past.chain(latest), |id| fields.iter().any(|field| field.id == id));
    }

    /// Tells fields what is not stored, as far as any of them wants it.
    pub(super) fn tell(&mut self, fields: &DeviceFields, touched: &mut Touched) {
        if touched.told.is_empty() {
            return;
        }
        let entity = self.state.entity();
        let is_wanted = |what: Written<'_>| {
            let mut arguments = fields.iter().flat_map(|field| &field.calculation.arguments);
            arguments.any(|argument| is_own(argument, entity) && argument.is(what))
        };
        let most = self.now.timestamp.0.saturating_add(limits::TS_AHEAD_MS_MAX);
        self.state.forget_told(&mut writing(self.ledger, self.now), is_wanted);
        for told in std::mem::take(&mut touched.told).into_iter().filter(|told| is_wanted(told.written())) {
            let (scope, key, in_range) = (told.scope, told.key.clone(), (0..=most).contains(&told.ts.0));
            if !in_range || self.state.tell(&mut writing(self.ledger, self.now), told).is_err() {
                self.counters.increment(Counter::FieldArgumentsFailed);
                touched.leave_out(scope, &key);
            }
        }
    }

    /// The newest value of a key of the originator, with what fields alone know.
    fn newest(&self, what: Written<'_>) -> Option<(Timestamp, Value<'static>)> {
        if let Some((ts, value)) = self.state.told(what) {
            return Some((ts, value.clone()));
        }
        match what {
            Written::Series(key) => self.state.latest_of(&self.ledger.dictionary, key).map(|(ts, value)| (ts, value.clone())),
            Written::Attribute(scope, key) => {
                let found = self.state.attributes(Some(scope), &[key.to_owned()]).pop();
                found.map(|attribute| (attribute.last_update, attribute.value))
            }
        }
    }

    /// Calculates what depends on what was saved, and what depends on that. A field is never calculated because of its own result.
    pub(super) fn calculate(
        &mut self,
        (fields, scripts): (&DeviceFields, &mut Engines),
        mut touched: Touched,
        message: &Message<'_>,
        known: Known<'_>,
    ) {
        self.tell(fields, &mut touched);
        self.state.age_windows(self.now.timestamp);
        let mut left = limits::CALCULATIONS_PER_MESSAGE_MAX;
        // With the fields whose results led to it, one bit each.
        let mut waves = vec![(touched, 0_u64)];
        let mut next = 0;
        while let Some((touched, because)) = waves.get(next).cloned() {
            next += 1;
            for (place, field) in fields.iter().enumerate() {
                if !self.depends(field, &touched, message.originator) {
                    continue;
                }
                let bit = u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0);
                if left == 0 || bit == 0 || because & bit != 0 {
                    self.counters.increment(Counter::FieldsCut);
                    continue;
                }
                left -= 1;
                if let Some(saved) = self.calculate_one(field, scripts, message, known) {
                    waves.push((saved, because | bit));
                }
            }
        }
    }

    /// A reading that is older than the latest changes no latest value.
    fn depends(&self, field: &Field, touched: &Touched, originator: EntityId) -> bool {
        let is_newest = |key: &str, ts: Option<Timestamp>| {
            ts.is_none_or(|ts| self.newest(Written::Series(key)).is_none_or(|(newest, _)| newest <= ts))
        };
        let mut own = field.calculation.arguments.iter().filter(|argument| is_own(argument, originator));
        own.any(|argument| {
            let mut written = touched.written().filter(|(written, _)| argument.is(*written));
            written.any(|(_, ts)| argument.source != Source::Latest || is_newest(&argument.key, ts))
        })
    }

    /// One field: what was saved of its result, if there is one.
    fn calculate_one(
        &mut self,
        field: &Field,
        scripts: &mut Engines,
        message: &Message<'_>,
        known: Known<'_>,
    ) -> Option<Touched> {
        let readings = match self.result(field, scripts, message, known) {
            Ok(Some(readings)) => readings,
            Ok(None) => {
                self.counters.increment(Counter::FieldsUnready);
                return None;
            }
            Err(failure) => {
                let counter = match failure {
                    CalculationFailure::Argument(_) => Counter::FieldArgumentsFailed,
                    CalculationFailure::Expression(_) => Counter::FieldExpressionsFailed,
                    CalculationFailure::Result(_) => Counter::FieldResultsRefused,
                };
                return self.field_failed(field, counter, &failure);
            }
        };
        let mut saved = Touched::default();
        let stored = match field.calculation.output.to {
            OutputTo::Series { ttl_s, .. } => {
                saved.add_series(&readings, false);
                self.save_timeseries((message.originator, message.tenant), &readings, (ttl_s, false), Saving::EVERYTHING)
            }
            OutputTo::Attributes { scope, only_on_change } => {
                saved.add_attributes(scope, &readings);
                self.save_attributes((message.originator, scope), &readings, (only_on_change, true), Saving::EVERYTHING).map(drop)
            }
        };
        if let Err(refused) = stored {
            let failure = CalculationFailure::Result(refused.to_string());
            return self.field_failed(field, Counter::FieldResultsRefused, &failure);
        }
        self.counters.increment(Counter::FieldsCalculated);
        field.count_calculated();
        Some(saved)
    }

    fn field_failed(&self, field: &Field, counter: Counter, failure: &CalculationFailure) -> Option<Touched> {
        self.counters.increment(counter);
        tracing::debug!(field = field.name, %failure, device = %self.state.entity(), "a calculated field failed");
        field.count_failed(self.now.timestamp, failure.to_string());
        None
    }

    /// The result of a field; `Ok(None)`: an argument has no value yet.
    fn result(
        &self,
        field: &Field,
        scripts: &mut Engines,
        message: &Message<'_>,
        known: Known<'_>,
    ) -> Result<Option<Readings<'static>>, CalculationFailure> {
        let mut operands = Vec::with_capacity(field.calculation.arguments.len());
        for (place, argument) in field.calculation.arguments.iter().enumerate() {
            match self.operand(field, (place, argument), message, known)? {
                Some(operand) => operands.push(operand),
                None => return Ok(None),
            }
        }
        let mut run = |script: &Arc<Script>, subject: Subject<'_>| scripts.run(message.tenant, script, subject);
        calculate(&field.calculation, &operands, self.now.timestamp, &mut run).map(Some)
    }

    fn operand<'s>(
        &'s self,
        field: &Field,
        (place, argument): (usize, &Argument),
        message: &Message<'_>,
        known: Known<'_>,
    ) -> Result<Option<Operand<'s>>, CalculationFailure> {
        let failed = |why: &str| CalculationFailure::Argument(format!("{}: {why}", argument.name));
        let found = match (argument.source, self.fact_of(field, (place, argument), message)) {
            (Source::Rolling { window_ms, .. }, lacking) => {
                let Kept::Points(points) = self.state.window(window_of(field, place)) else {
                    let reason = lacking.and_then(|fact| match known.find(&fact) {
                        Err(Absent::Never(reason)) => Some(reason),
                        _ => None,
                    });
                    let too_much = format!("its field would keep more than {} bytes", limits::FIELD_STATE_BYTES_MAX);
                    return Err(failed(&reason.unwrap_or(too_much)));
                };
                return Ok((!points.is_empty()).then_some(Operand::Rolling { points, window_ms }));
            }
            (_, Some(fact)) => match known.find(&fact) {
                Ok(series) => {
                    let newest = series.iter().flat_map(|series| &series.points).next();
                    newest.map(|point| (point.ts, point.value.clone()))
                }
                Err(Absent::Never(reason)) => return Err(failed(&reason)),
                Err(Absent::NotYet) => return Err(failed("it was not asked for")),
            },
            (Source::Latest, None) => self.newest(Written::Series(&argument.key)),
            (Source::Attribute(scope), None) => self.newest(Written::Attribute(scope, &argument.key)),
        };
        let operand = match found {
            Some((ts, value)) => Some(Operand::One { ts: Some(ts), value }),
            None => argument.otherwise.clone().map(|value| Operand::One { ts: None, value }),
        };
        match &operand {
            Some(Operand::One { value: Value::Text(text) | Value::Json(text), .. })
                if text.len() > limits::FIELD_ARGUMENT_BYTES_MAX =>
            {
                Err(failed(&format!("{} bytes, at most {}", text.len(), limits::FIELD_ARGUMENT_BYTES_MAX)))
            }
            _ => Ok(operand),
        }
    }
}

fn window_of(field: &Field, argument: usize) -> WindowOf {
    WindowOf { field: field.id, revision: field.revision, argument }
}

/// What effects save, as messages that say so.
pub(super) fn saved_by(effects: &[Effect<'_>]) -> Vec<(MessageType, Body<'static>)> {
    let body = |effect: &Effect<'_>| match effect {
        Effect::SaveTimeseries { readings, saving, .. } if saving.calculate => {
            Some((MessageType::TimeseriesUpdated, Body::Telemetry((**readings).clone().into_owned())))
        }
        Effect::SaveAttributes { readings, scope, saving, .. } if saving.calculate => {
            let readings = (**readings).clone().into_owned();
            Some((MessageType::AttributesUpdated, Body::Attributes { scope: *scope, readings }))
        }
        _ => None,
    };
    effects.iter().filter_map(body).collect()
}

impl Shard {
    /// Calculates what depends on what a message that came back from the outside has saved: behind it, since that one does not wait.
    pub(super) fn calculate_behind(&mut self, whose: Whose, saved: Vec<(MessageType, Body<'static>)>) {
        for (kind, body) in saved {
            let spoken = Spoken::new(whose, kind, body, Waiter::Nobody, self.now.timestamp).for_fields();
            // Nobody waits for the outcome.
            let _outcome = self.hear_out(spoken, &Running::default());
        }
    }
}
