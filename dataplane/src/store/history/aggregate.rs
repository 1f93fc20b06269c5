//! Aggregates of one key, interval by interval, with ThingsBoard's arithmetic. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use schemas::telemetry::Value;

use crate::{
    clock::Timestamp,
    query::{Aggregation, Point},
    store::record::text_bytes,
};

/// One accumulator per interval that has readings.
#[derive(Debug)]
pub(super) struct Buckets {
    aggregation: Aggregation,
    start: Timestamp,
    end: Timestamp,
    width_ms: i64,
    buckets: BTreeMap<i64, Bucket>,
}

/// Sums of the longs and of the doubles are kept apart, so that longs stay exact.
#[derive(Debug, Default)]
struct Bucket {
    count: i64,
    longs: i64,
    long_sum: i128,
    long_best: Option<i64>,
    doubles: i64,
    double_sum: f64,
    double_best: Option<f64>,
    text_best: Option<Value<'static>>,
}

impl Buckets {
    pub(super) fn new(aggregation: Aggregation, start: Timestamp, end: Timestamp, width_ms: i64) -> Self {
        Self { aggregation, start, end, width_ms: width_ms.max(1), buckets: BTreeMap::new() }
    }

    /// Takes one reading in and says how many bytes more it now holds.
    pub(super) fn add(&mut self, ts: Timestamp, value: Value<'static>) -> usize {
        let index = (ts.0 - self.start.0) / self.width_ms;
        let before = self.buckets.len();
        let bucket = self.buckets.entry(index).or_default();
        let text = bucket.add(self.aggregation, value);
        text + if self.buckets.len() > before { size_of::<Bucket>() } else { 0 }
    }

    /// One point per interval that has one, ascending (DESIGN 28: at the interval's middle).
    pub(super) fn finish(self) -> Vec<Point> {
        let Self { aggregation, start, end, width_ms, buckets } = self;
        let point = |(index, bucket): (i64, Bucket)| {
            let from = start.0 + index * width_ms;
            let to = from.saturating_add(width_ms).min(end.0);
            Some(Point { ts: Timestamp(from + (to - from) / 2), value: bucket.finish(aggregation)? })
        };
        buckets.into_iter().filter_map(point).collect()
    }
}

impl Bucket {
    fn add(&mut self, aggregation: Aggregation, value: Value<'static>) -> usize {
        self.count += 1;
        let largest = aggregation == Aggregation::Max;
        match value {
            Value::Long(value) => {
                self.longs += 1;
                self.long_sum += i128::from(value);
                let best = self.long_best.get_or_insert(value);
                *best = if largest { value.max(*best) } else { value.min(*best) };
            }
            Value::Double(value) => {
                self.doubles += 1;
                self.double_sum += value;
                let best = self.double_best.get_or_insert(value);
                *best = if largest { value.max(*best) } else { value.min(*best) };
            }
            // Counted only: ThingsBoard has no order and no sum of booleans.
            Value::Bool(_) => {}
            text @ (Value::Text(_) | Value::Json(_)) => {
                if !matches!(aggregation, Aggregation::Min | Aggregation::Max) {
                    return 0;
                }
                let better = self.text_best.as_ref().is_none_or(|best| {
                    let (new, old) = (text_of(&text), text_of(best));
                    if largest { new > old } else { new < old }
                });
                if better {
                    let (new, old) = (text_bytes(&text), self.text_best.as_ref().map_or(0, text_bytes));
                    self.text_best = Some(text);
                    return new.saturating_sub(old);
                }
            }
        }
        0
    }

    /// Longs alone stay long, a double makes a double; texts count only where there are no numbers. `None`: nothing to say.
    fn finish(self, aggregation: Aggregation) -> Option<Value<'static>> {
        let numbers = self.longs + self.doubles;
        match aggregation {
            Aggregation::Count | Aggregation::None => Some(Value::Long(self.count)),
            Aggregation::Sum if numbers == 0 => None,
            Aggregation::Sum if self.doubles == 0 => {
                Some(i64::try_from(self.long_sum).map_or_else(|_| Value::Double(wide(self.long_sum)), Value::Long))
            }
            Aggregation::Sum => finite(wide(self.long_sum) + self.double_sum),
            Aggregation::Avg if numbers == 0 => None,
            Aggregation::Avg => finite((wide(self.long_sum) + self.double_sum) / wide(i128::from(numbers))),
            Aggregation::Min | Aggregation::Max => match (self.long_best, self.double_best) {
                (None, None) => self.text_best,
                (Some(long), None) => Some(Value::Long(long)),
                (None, Some(double)) => Some(Value::Double(double)),
                (Some(long), Some(double)) => {
                    let long = wide(i128::from(long));
                    Some(Value::Double(if aggregation == Aggregation::Max { long.max(double) } else { long.min(double) }))
                }
            },
        }
    }
}

fn text_of<'v>(value: &'v Value<'_>) -> &'v str {
    match value {
        Value::Text(text) | Value::Json(text) => text,
        Value::Bool(_) | Value::Long(_) | Value::Double(_) => "",
    }
}

/// A value is always finite; a sum that is not becomes text, as numbers beyond f64 do everywhere (DESIGN 28).
fn finite(value: f64) -> Option<Value<'static>> {
    Some(if value.is_finite() { Value::Double(value) } else { Value::Text(Cow::Owned(value.to_string())) })
}

/// The nearest double. `as` rounds and cannot overflow: an i128 lies within f64's range.
fn wide(value: i128) -> f64 {
    value as f64
}
