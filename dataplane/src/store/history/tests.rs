//! Range reads against rows written by hand.

use std::{borrow::Cow, sync::Arc};

use uuid::Uuid;

use super::*;
use crate::store::{Batch, Encoder, memory::MemoryEngine};

const ENTITY: EntityId = EntityId(Uuid::from_u128(0xD0));
const TEMPERATURE: u32 = 1;
const MODE: u32 = 2;

struct Store {
    engine: Arc<MemoryEngine>,
    encoder: Encoder,
}

impl Store {
    fn new() -> Self {
        Self { engine: MemoryEngine::new(), encoder: Encoder::new() }
    }

    fn row(mut self, ts: i64, seq: u64, cells: &[(u32, Value<'static>)], ttl_s: u32) -> Self {
        let mut batch = Batch::new();
        let record = self.encoder.row(cells.iter().map(|(key, value)| (*key, value)), ttl_s, None);
        batch.put(key::Kind::Row.family(), &key::row(ENTITY, Timestamp(ts), seq), record);
        self.engine.write(&batch).unwrap();
        self
    }

    fn long(self, ts: i64, seq: u64, value: i64) -> Self {
        self.row(ts, seq, &[(TEMPERATURE, Value::Long(value))], 0)
    }

    fn ask(&self, tombstones: &[Tombstone], asked: &History) -> Result<Vec<Series>, QueryError> {
        let names = [("temperature".to_owned(), TEMPERATURE), ("mode".to_owned(), MODE)];
        history(self.engine.as_ref(), ENTITY, &names, tombstones, Timestamp(100_000), (asked, Budget::QUERY))
    }
}

fn points(start: i64, end: i64, limit: usize, ascending: bool) -> History {
    History {
        keys: Vec::new(),
        start: Timestamp(start),
        end: Timestamp(end),
        limit,
        ascending,
        aggregation: Aggregation::None,
        interval_ms: 0,
    }
}

fn aggregate(aggregation: Aggregation, start: i64, end: i64, interval_ms: i64) -> History {
    History { aggregation, interval_ms, ..points(start, end, 0, false) }
}

fn text(value: &'static str) -> Value<'static> {
    Value::Text(Cow::Borrowed(value))
}

fn flat(series: &[Series]) -> Vec<(&str, i64, String)> {
    let of = |series: &'_ Series| series.points.iter().map(|point| (point.ts.0, point.value.to_string())).collect::<Vec<_>>();
    series.iter().flat_map(|series| of(series).into_iter().map(|(ts, value)| (series.key.as_str(), ts, value))).collect()
}

#[test]
fn points_come_in_order_within_the_range_up_to_the_limit() {
    let store = Store::new().long(10, 1, 1).long(20, 2, 2).long(30, 3, 3).row(20, 4, &[(MODE, text("eco"))], 0);
    let check = |asked: &History, expected: &[(&str, i64, &str)]| {
        let series = store.ask(&[], asked).unwrap();
        let expected: Vec<_> = expected.iter().map(|(key, ts, value)| (*key, *ts, (*value).to_owned())).collect();
        assert_eq!(flat(&series), expected, "{asked:?}");
    };
    // DESIGN 28: endTs is exclusive.
    check(&points(10, 30, 9, true), &[("temperature", 10, "1"), ("temperature", 20, "2"), ("mode", 20, "eco")]);
    check(
        &points(10, 31, 9, false),
        &[("temperature", 30, "3"), ("temperature", 20, "2"), ("temperature", 10, "1"), ("mode", 20, "eco")],
    );
    check(&points(0, 99, 1, true), &[("temperature", 10, "1"), ("mode", 20, "eco")]);
    check(&points(0, 99, 1, false), &[("temperature", 30, "3"), ("mode", 20, "eco")]);
    check(&points(0, 99, 0, false), &[]);
    check(&points(20, 20, 9, true), &[]);
    check(&points(31, 99, 9, true), &[]);
}

/// DESIGN 15: last write wins, by seq, in either direction; a deleted or expired winner does not uncover what it replaced.
#[test]
fn equal_timestamps_collapse_to_the_highest_seq() {
    let store =
        Store::new().long(10, 1, 1).long(10, 5, 2).long(10, 3, 9).long(20, 7, 3).row(20, 8, &[(TEMPERATURE, Value::Long(4))], 1);
    for ascending in [true, false] {
        assert_eq!(flat(&store.ask(&[], &points(0, 99, 9, ascending)).unwrap()), [("temperature", 10, "2".to_owned())]);
        let deleted = Tombstone { key: TEMPERATURE, start: Timestamp(0), end: Timestamp(15), seq: 6 };
        assert_eq!(store.ask(&[deleted], &points(0, 99, 9, ascending)), Ok(Vec::new()));
        // Written after the deletion.
        let earlier = Tombstone { seq: 4, ..deleted };
        assert_eq!(flat(&store.ask(&[earlier], &points(0, 99, 9, ascending)).unwrap()).len(), 1);
        let other_key = Tombstone { key: MODE, ..deleted };
        assert_eq!(flat(&store.ask(&[other_key], &points(0, 99, 9, ascending)).unwrap()).len(), 1);
    }
}

#[test]
fn expired_readings_are_absent() {
    let value = [(TEMPERATURE, Value::Long(1))];
    let store = Store::new().row(90_000, 1, &value, 10).row(90_001, 2, &value, 10).row(1, 3, &value, 0);
    let found = store.ask(&[], &points(0, 99_999, 9, true)).unwrap();
    assert_eq!(flat(&found), [("temperature", 1, "1".to_owned()), ("temperature", 90_001, "1".to_owned())]);
}

#[test]
fn aggregates_are_thingsboards() {
    let store = Store::new()
        .long(0, 1, 4)
        .long(9, 2, 1)
        .row(15, 3, &[(TEMPERATURE, Value::Double(2.5))], 0)
        .long(16, 4, 2)
        .row(20, 5, &[(TEMPERATURE, text("b"))], 0)
        .row(21, 6, &[(TEMPERATURE, text("a"))], 0)
        .row(41, 7, &[(TEMPERATURE, Value::Bool(true))], 0);
    let check = |aggregation: Aggregation, expected: &[(i64, &str)]| {
        let found = store.ask(&[], &aggregate(aggregation, 0, 45, 10)).unwrap();
        let expected: Vec<_> = expected.iter().map(|(ts, value)| ("temperature", *ts, (*value).to_owned())).collect();
        assert_eq!(flat(&found), expected, "{aggregation:?}");
    };
    // The last interval is cut at endTs: its middle is 42. The interval from 30 is empty and absent.
    check(Aggregation::Count, &[(5, "2"), (15, "2"), (25, "2"), (42, "1")]);
    check(Aggregation::Min, &[(5, "1"), (15, "2.0"), (25, "a")]);
    check(Aggregation::Max, &[(5, "4"), (15, "2.5"), (25, "b")]);
    check(Aggregation::Sum, &[(5, "5"), (15, "4.5")]);
    check(Aggregation::Avg, &[(5, "2.5"), (15, "2.25")]);
    let whole = store.ask(&[], &aggregate(Aggregation::Sum, 0, 20, 0)).unwrap();
    assert_eq!(flat(&whole), [("temperature", 10, "9.5".to_owned())]);
}

#[test]
fn a_sum_beyond_long_becomes_a_double() {
    let store = Store::new().long(0, 1, i64::MAX).long(1, 2, i64::MAX);
    let found = store.ask(&[], &aggregate(Aggregation::Sum, 0, 10, 10)).unwrap();
    assert_eq!(found[0].points[0].value, Value::Double(2.0 * 9_223_372_036_854_775_807.0));
}

#[test]
fn impossible_questions_are_refused_with_the_rule() {
    let check = |asked: &History, part: &str| match Store::new().ask(&[], asked) {
        Err(QueryError::Invalid(text)) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    };
    check(&points(10, 9, 1, true), "endTs 9 is before startTs 10");
    check(&aggregate(Aggregation::Min, 0, 10, -1), "-1 ms is negative");
    check(&aggregate(Aggregation::Min, 0, 7_001, 10), "701 intervals; at most 700");
    check(&aggregate(Aggregation::Min, i64::MIN, i64::MAX, 10), "too long");
    assert_eq!(Store::new().ask(&[], &aggregate(Aggregation::Min, 0, 7_000, 10)), Ok(Vec::new()));
}

#[test]
fn a_corrupted_row_is_an_error() {
    let store = Store::new();
    let mut batch = Batch::new();
    batch.put(key::Kind::Row.family(), &key::row(ENTITY, Timestamp(5), 1), b"garbage");
    store.engine.write(&batch).unwrap();
    assert!(matches!(store.ask(&[], &points(0, 9, 9, true)), Err(QueryError::Unavailable(_))));
}
