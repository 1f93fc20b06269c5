//! Range reads: points and aggregates of one entity's keys, within budgets (DESIGN 3.5, 15, 18, 28).
//! Runs on a reader lane; writes nothing and asks nobody what time it is.

mod aggregate;

use std::ops::ControlFlow;

use schemas::{id::EntityId, telemetry::Value};

use self::aggregate::Buckets;
use crate::{
    clock::Timestamp,
    limits,
    query::{Aggregation, History, Point, QueryError, Series},
    store::{
        Engine, Range, StoreError, Tombstone, key,
        record::{Row, text_bytes},
    },
};

/// What one range read may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub rows: usize,
    pub bytes: usize,
}

impl Budget {
    /// Of people's questions.
    pub const QUERY: Self = Self { rows: limits::QUERY_ROWS_MAX, bytes: limits::QUERY_BYTES_MAX };
    /// Of a rule node, for whose fact a message waits.
    pub const FACT: Self = Self { rows: limits::FACT_ROWS_MAX, bytes: limits::FACT_BYTES_MAX };
}

/// Reads what `asked` asks of one entity. `names` are the keys asked for that the entity's partition knows, with their ids.
/// Series come in the order of `names`, empty ones are left out. Points are ordered as asked, aggregates ascending (as
/// ThingsBoard's are, whatever the order asked for).
///
/// # Errors
/// [`QueryError::Invalid`] for a range or interval that cannot be, [`QueryError::TooLarge`] beyond the budget.
pub fn history(
    engine: &dyn Engine,
    entity: EntityId,
    names: &[(String, u32)],
    tombstones: &[Tombstone],
    now: Timestamp,
    (asked, budget): (&History, Budget),
) -> Result<Vec<Series>, QueryError> {
    check(asked)?;
    if asked.start == asked.end || names.is_empty() {
        return Ok(Vec::new());
    }
    let sink = match asked.aggregation {
        Aggregation::None => Sink::Points { limit: asked.limit, ascending: asked.ascending },
        aggregation => Sink::Intervals { aggregation, start: asked.start, end: asked.end, width_ms: width(asked) },
    };
    let mut reader = Reader::new(names, tombstones, now, sink, budget);
    let from = key::rows_from(entity, asked.start);
    let to = key::rows_from(entity, asked.end);
    let range = Range::new(key::Kind::Row.family(), &from, &to);
    let reverse = matches!(sink, Sink::Points { ascending: false, .. });
    let range = if reverse { range.reversed() } else { range };
    let scanned = engine.scan(range, &mut |key, record| match reader.row(key, record) {
        Ok(()) if reader.open > 0 => ControlFlow::Continue(()),
        Ok(()) => ControlFlow::Break(()),
        Err(refusal) => {
            reader.refusal = Some(refusal);
            ControlFlow::Break(())
        }
    });
    scanned.map_err(|error| QueryError::Unavailable(error.to_string()))?;
    reader.finish()
}

fn width(asked: &History) -> i64 {
    if asked.interval_ms == 0 { asked.end.0.saturating_sub(asked.start.0) } else { asked.interval_ms }
}

fn check(asked: &History) -> Result<(), QueryError> {
    let invalid = |text: String| Err(QueryError::Invalid(text));
    let (start, end) = (asked.start.0, asked.end.0);
    if end < start {
        return invalid(format!("endTs {end} is before startTs {start}"));
    }
    if asked.aggregation == Aggregation::None {
        return Ok(());
    }
    if asked.interval_ms < 0 {
        return invalid(format!("interval {} ms is negative", asked.interval_ms));
    }
    let Some(length) = end.checked_sub(start) else {
        return invalid(format!("the range from {start} to {end} is too long"));
    };
    let intervals = length.checked_div(width(asked)).map_or(0, |whole| whole + i64::from(length % width(asked) != 0));
    if intervals > limits::QUERY_INTERVALS_MAX {
        let most = limits::QUERY_INTERVALS_MAX;
        return invalid(format!("interval {} ms makes {intervals} intervals; at most {most} are allowed", asked.interval_ms));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Sink {
    Points { limit: usize, ascending: bool },
    Intervals { aggregation: Aggregation, start: Timestamp, end: Timestamp, width_ms: i64 },
}

/// The newest write seen at one (key, ts). `value` is `None` when it is deleted or expired: it still hides older ones.
#[derive(Debug)]
struct Candidate {
    ts: Timestamp,
    seq: u64,
    value: Option<Value<'static>>,
}

/// What has been found of one key.
#[derive(Debug)]
struct Found {
    candidate: Option<Candidate>,
    points: Vec<Point>,
    buckets: Option<Buckets>,
    full: bool,
}

struct Reader<'a> {
    names: &'a [(String, u32)],
    tombstones: &'a [Tombstone],
    /// (key id, place in `found`), sorted.
    places: Vec<(u32, usize)>,
    found: Vec<Found>,
    sink: Sink,
    now: Timestamp,
    /// Of the newest row visited.
    ts: Option<Timestamp>,
    /// Keys that still want points.
    open: usize,
    rows: usize,
    bytes: usize,
    budget: Budget,
    refusal: Option<QueryError>,
}

impl<'a> Reader<'a> {
    fn new(names: &'a [(String, u32)], tombstones: &'a [Tombstone], now: Timestamp, sink: Sink, budget: Budget) -> Self {
        let mut places: Vec<(u32, usize)> = names.iter().enumerate().map(|(place, name)| (name.1, place)).collect();
        places.sort_unstable();
        let full = matches!(sink, Sink::Points { limit: 0, .. });
        let found = names.iter().map(|_| {
            let buckets = match sink {
                Sink::Points { .. } => None,
                Sink::Intervals { aggregation, start, end, width_ms } => Some(Buckets::new(aggregation, start, end, width_ms)),
            };
            Found { candidate: None, points: Vec::new(), buckets, full }
        });
        let found: Vec<Found> = found.collect();
        let open = if full { 0 } else { found.len() };
        Self { names, tombstones, places, found, sink, now, ts: None, open, rows: 0, bytes: 0, budget, refusal: None }
    }

    fn row(&mut self, row_key: &[u8], record: &[u8]) -> Result<(), QueryError> {
        self.rows += 1;
        if self.rows > self.budget.rows {
            let most = self.budget.rows;
            return Err(QueryError::TooLarge(format!("more than {most} rows lie in the range; ask for a shorter one")));
        }
        let unavailable = |error: StoreError| QueryError::Unavailable(error.to_string());
        let (ts, seq) = key::parse_row(row_key)
            .ok_or_else(|| unavailable(StoreError::corrupted("row", row_key, "the key is no row's key")))?;
        let row = Row::read(row_key, record).map_err(unavailable)?;
        if self.ts != Some(ts) {
            self.ts = Some(ts);
            self.settle_all()?;
        }
        let expired = expired(ts, row.ttl_s, self.now);
        for cell in row.cells() {
            let Ok(at) = self.places.binary_search_by_key(&cell.key, |place| place.0) else { continue };
            let place = self.places[at].1;
            if self.found[place].full {
                continue;
            }
            let hidden = expired || self.tombstones.iter().any(|tombstone| tombstone.covers(cell.key, ts, seq));
            let value = (!hidden).then_some(cell.value);
            self.offer(place, ts, seq, value);
        }
        Ok(())
    }

    /// DESIGN 15: of equal (key, ts) the highest seq wins; within a row the last reading.
    fn offer(&mut self, place: usize, ts: Timestamp, seq: u64, value: Option<Value<'_>>) {
        let found = &mut self.found[place];
        if !found.full && found.candidate.as_ref().is_none_or(|candidate| candidate.seq <= seq) {
            found.candidate = Some(Candidate { ts, seq, value: value.map(Value::into_owned) });
        }
    }

    /// The rows of one ts have all been visited.
    fn settle_all(&mut self) -> Result<(), QueryError> {
        (0..self.found.len()).try_for_each(|place| self.settle(place))
    }

    /// Nothing further can replace this key's candidate.
    fn settle(&mut self, place: usize) -> Result<(), QueryError> {
        let found = &mut self.found[place];
        let Some(Candidate { ts, value: Some(value), .. }) = found.candidate.take() else { return Ok(()) };
        if let Some(buckets) = &mut found.buckets {
            self.bytes += buckets.add(ts, value);
        } else {
            self.bytes += size_of::<Point>() + text_bytes(&value);
            found.points.push(Point { ts, value });
            if let Sink::Points { limit, .. } = self.sink
                && found.points.len() >= limit
            {
                found.full = true;
                self.open -= 1;
            }
        }
        if self.bytes > self.budget.bytes {
            let most = self.budget.bytes;
            return Err(QueryError::TooLarge(format!("more than {most} bytes; ask for a shorter range or a lower limit")));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Series>, QueryError> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        self.settle_all()?;
        let series = self.names.iter().zip(self.found).map(|((name, _), found)| {
            let points = found.buckets.map_or(found.points, Buckets::finish);
            Series { key: name.clone(), points }
        });
        Ok(series.filter(|series| !series.points.is_empty()).collect())
    }
}

/// Whether a reading's time to live has passed; 0 = it has none.
pub(crate) fn expired(ts: Timestamp, ttl_s: u32, now: Timestamp) -> bool {
    ttl_s != 0 && ts.0.saturating_add(i64::from(ttl_s) * 1_000) <= now.0
}

#[cfg(test)]
mod tests;
