//! The newest readings that calculated fields keep of one entity: in memory only, filled from the past by whoever has read it, and
//! followed by everything that is saved. Never reads the disk and never calculates.

use std::collections::VecDeque;

use schemas::id::{FieldId, Revision};
use schemas::telemetry::Value;

use super::DeviceState;
use crate::clock::Timestamp;
use crate::limits;
use crate::message::Readings;

/// Whose window it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOf {
    pub field: FieldId,
    /// Of the field's configuration.
    pub revision: Revision,
    /// The place of its argument.
    pub argument: usize,
}

/// How many readings of a key are kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub key: String,
    pub limit: usize,
    /// `None`: as long as there are no newer ones.
    pub window_ms: Option<i64>,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept<'s> {
    /// It has to be filled first.
    Nothing,
    /// The field would keep more than [`limits::FIELD_STATE_BYTES_MAX`].
    TooMuch,
    /// In the order of time.
    Points(&'s VecDeque<Point>),
}

/// What is no number is NaN, as in ThingsBoard.
pub type Point = (Timestamp, f64);

#[derive(Clone, Debug)]
pub(super) struct Window {
    of: WindowOf,
    span: Span,
    points: VecDeque<Point>,
    too_much: bool,
}

impl Window {
    fn insert(&mut self, ts: Timestamp, value: f64) {
        match self.points.back() {
            Some((last, _)) if *last >= ts => match self.points.binary_search_by_key(&ts, |(ts, _)| *ts) {
                Ok(place) => self.points[place].1 = value,
                Err(place) => self.points.insert(place, (ts, value)),
            },
            _ => self.points.push_back((ts, value)),
        }
        if self.points.len() > self.span.limit {
            self.points.pop_front();
        }
    }

    fn forget_older(&mut self, now: Timestamp) {
        let Some(window_ms) = self.span.window_ms else { return };
        let oldest = Timestamp(now.0.saturating_sub(window_ms));
        while self.points.front().is_some_and(|(ts, _)| *ts < oldest) {
            self.points.pop_front();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.span.key.len() + self.points.capacity() * size_of::<Point>()
    }
}

impl DeviceState {
    /// What an argument has.
    #[must_use]
    pub fn window(&self, of: WindowOf) -> Kept<'_> {
        match self.windows.iter().find(|window| window.of == of) {
            None => Kept::Nothing,
            Some(window) if window.too_much => Kept::TooMuch,
            Some(window) => Kept::Points(&window.points),
        }
    }

    /// Forgets what is too old by now.
    pub fn age_windows(&mut self, now: Timestamp) {
        self.windows.iter_mut().for_each(|window| window.forget_older(now));
    }

    /// Fills a window with what was read of the past, in any order. What else is kept of other revisions of the field, and of fields
    /// that `lives` does not know, is forgotten.
    pub fn fill_window(
        &mut self,
        of: WindowOf,
        span: Span,
        points: impl Iterator<Item = (Timestamp, Value<'static>)>,
        lives: impl Fn(FieldId) -> bool,
    ) {
        self.windows.retain(|window| {
            lives(window.of.field) && window.of != of && (window.of.field != of.field || window.of.revision == of.revision)
        });
        let mut window = Window { of, span, points: VecDeque::new(), too_much: false };
        points.for_each(|(ts, value)| window.insert(ts, number(&value)));
        self.windows.push(window);
        self.bound_windows();
    }

    /// Takes in what was saved.
    pub(super) fn extend_windows(&mut self, readings: &Readings<'_>, ts: &[Timestamp], now: Timestamp) {
        if self.windows.is_empty() {
            return;
        }
        for (entry, ts) in readings.entries.iter().zip(ts) {
            for reading in readings.of(entry) {
                self.extend_windows_by(&reading.key, *ts, &reading.value, now);
            }
        }
        self.bound_windows();
    }

    /// Takes in one reading.
    pub(super) fn extend_windows_by(&mut self, key: &str, ts: Timestamp, value: &Value<'_>, now: Timestamp) {
        for window in self.windows.iter_mut().filter(|window| !window.too_much && window.span.key == key) {
            window.insert(ts, number(value));
            window.forget_older(now);
        }
    }

    /// What a field would keep beyond its bound is forgotten altogether, until its configuration is another one.
    pub(super) fn bound_windows(&mut self) {
        for at in 0..self.windows.len() {
            let field = self.windows[at].of.field;
            let of_field = self.windows.iter().filter(|window| window.of.field == field);
            let bytes: usize = of_field.map(|window| window.points.len() * size_of::<Point>()).sum();
            if bytes > limits::FIELD_STATE_BYTES_MAX {
                for window in self.windows.iter_mut().filter(|window| window.of.field == field) {
                    window.points = VecDeque::new();
                    window.too_much = true;
                }
            }
        }
    }

    /// What was kept may be there no more: it is to be filled again.
    pub(super) fn forget_windows(&mut self) {
        self.windows.clear();
    }
}

/// As ThingsBoard takes values for rolling arguments.
fn number(value: &Value<'_>) -> f64 {
    match value {
        Value::Long(value) => *value as f64,
        Value::Double(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) | Value::Json(text) => text.trim().parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use schemas::id::EntityId;
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp(100_000);

    fn of(revision: u64, argument: usize) -> WindowOf {
        WindowOf { field: FieldId(Uuid::from_u128(1)), revision: Revision(revision), argument }
    }

    fn span(limit: usize, window_ms: Option<i64>) -> Span {
        Span { key: "t".to_owned(), limit, window_ms }
    }

    fn filled(limit: usize, window_ms: Option<i64>, points: &[(i64, i64)]) -> DeviceState {
        let mut state = DeviceState::empty(EntityId(Uuid::nil()));
        let points = points.iter().map(|(ts, value)| (Timestamp(*ts), Value::Long(*value)));
        state.fill_window(of(1, 0), span(limit, window_ms), points, |_| true);
        state
    }

    #[track_caller]
    fn check(state: &mut DeviceState, expected: &[(i64, f64)]) {
        state.age_windows(NOW);
        let Kept::Points(points) = state.window(of(1, 0)) else { panic!("nothing is kept") };
        let shown: Vec<String> = points.iter().map(|(ts, value)| format!("{}: {value}", ts.0)).collect();
        let expected: Vec<String> = expected.iter().map(|(ts, value)| format!("{ts}: {value}")).collect();
        assert_eq!(shown, expected);
    }

    fn save(state: &mut DeviceState, ts: i64, value: Value<'static>) {
        let reading = crate::message::Reading { key: Cow::Borrowed("t"), value };
        let other = crate::message::Reading { key: Cow::Borrowed("other"), value: Value::Long(0) };
        let entry = crate::message::Entry { ts: None, range: 0..2 };
        let readings = Readings { entries: vec![entry], readings: vec![other, reading] };
        state.extend_windows(&readings, &[Timestamp(ts)], NOW);
    }

    #[test]
    fn a_window_keeps_the_newest_in_the_order_of_time() {
        // As a lane reads them: newest first.
        let mut state = filled(3, None, &[(30, 3), (20, 2), (10, 1)]);
        check(&mut state, &[(10, 1.0), (20, 2.0), (30, 3.0)]);
        save(&mut state, 40, Value::Double(4.5));
        save(&mut state, 25, Value::Bool(true));
        save(&mut state, 40, Value::Text("5".into()));
        check(&mut state, &[(25, 1.0), (30, 3.0), (40, 5.0)]);
        save(&mut state, 50, Value::Text("warm".into()));
        check(&mut state, &[(30, 3.0), (40, 5.0), (50, f64::NAN)]);
        state.forget_windows();
        assert_eq!(state.window(of(1, 0)), Kept::Nothing);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut state = filled(10, Some(1_000), &[(NOW.0 - 1_001, 1), (NOW.0 - 1_000, 2), (NOW.0, 3)]);
        check(&mut state, &[(NOW.0 - 1_000, 2.0), (NOW.0, 3.0)]);
    }

    #[test]
    fn another_configuration_begins_anew() {
        let mut state = filled(10, None, &[(1, 1)]);
        assert_eq!(state.window(of(2, 0)), Kept::Nothing);
        state.fill_window(of(2, 0), span(10, None), std::iter::empty(), |_| true);
        assert_eq!(state.window(of(1, 0)), Kept::Nothing);
        let other = WindowOf { field: FieldId(Uuid::from_u128(2)), ..of(1, 0) };
        state.fill_window(other, span(10, None), std::iter::empty(), |field| field == other.field);
        assert_eq!(state.window(of(2, 0)), Kept::Nothing, "its field is gone");
        assert_eq!(state.windows.len(), 1);
    }

    #[test]
    fn a_field_keeps_no_more_than_it_may() {
        let many: Vec<(i64, i64)> = (0..1_000).map(|n| (n, n)).collect();
        let mut state = filled(1_000, None, &many);
        for argument in 1..3 {
            let points = many.iter().map(|(ts, value)| (Timestamp(*ts), Value::Long(*value)));
            state.fill_window(of(1, argument), span(1_000, None), points, |_| true);
        }
        assert_eq!(state.window(of(1, 0)), Kept::TooMuch);
        assert!(state.bytes() < 4_096, "{}", state.bytes());
        save(&mut state, 5_000, Value::Long(1));
        assert_eq!(state.window(of(1, 2)), Kept::TooMuch, "until it is another one");
    }
}
