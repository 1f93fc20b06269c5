//! Between the Query service's messages and the shards' queries: what comes in is checked here once, what goes out is
//! cut to size. Does no IO and waits for nothing.

use schemas::{
    generated::query as wire,
    id::{EntityId, TenantId, uuid},
    telemetry::{Scope, Value},
};
use tonic::Status;

use crate::clock::Timestamp;
use crate::limits;
use crate::query::{Aggregation, Attribute, History, Point, Series, Target, Update, Watched};

fn invalid(reason: impl Into<String>) -> Status {
    Status::invalid_argument(reason)
}

pub(super) fn target(entity: Option<wire::Entity>) -> Result<Target, Status> {
    let entity = entity.ok_or_else(|| invalid("entity: missing"))?;
    let id = |field, bytes: &[u8]| uuid(field, bytes).map_err(|error| invalid(error.to_string()));
    Ok(Target { entity: EntityId(id("entity.id", &entity.id)?), tenant: TenantId(id("entity.tenant_id", &entity.tenant_id)?) })
}

/// Keys asked for; none means all.
pub(super) fn keys(keys: Vec<String>) -> Result<Vec<String>, Status> {
    if keys.len() > limits::KEYS_PER_DEVICE_MAX {
        return Err(invalid(format!("keys: {} of them, at most {}", keys.len(), limits::KEYS_PER_DEVICE_MAX)));
    }
    match keys.iter().find(|key| key.is_empty() || key.len() > limits::KEY_BYTES_MAX) {
        Some(key) => Err(invalid(format!("key: {} bytes, expected 1 to {}", key.len(), limits::KEY_BYTES_MAX))),
        None => Ok(keys),
    }
}

/// Keys to delete: none would be everything, so there must be some.
pub(super) fn named_keys(named: Vec<String>) -> Result<Vec<String>, Status> {
    if named.is_empty() {
        return Err(invalid("keys: a deletion names at least one"));
    }
    keys(named)
}

/// `None` is every scope.
pub(super) fn any_scope(number: i32) -> Result<Option<Scope>, Status> {
    wire::Scope::try_from(number).map(Scope::from_wire).map_err(|_| invalid(format!("scope: unknown number {number}")))
}

pub(super) fn one_scope(number: i32) -> Result<Scope, Status> {
    any_scope(number)?.ok_or_else(|| invalid("scope: missing"))
}

pub(super) fn history(request: wire::HistoryRequest) -> Result<(Target, History), Status> {
    let target = target(request.entity)?;
    let aggregation = match wire::Aggregation::try_from(request.aggregation) {
        Ok(wire::Aggregation::None) => Aggregation::None,
        Ok(wire::Aggregation::Min) => Aggregation::Min,
        Ok(wire::Aggregation::Max) => Aggregation::Max,
        Ok(wire::Aggregation::Avg) => Aggregation::Avg,
        Ok(wire::Aggregation::Sum) => Aggregation::Sum,
        Ok(wire::Aggregation::Count) => Aggregation::Count,
        Err(_) => return Err(invalid(format!("aggregation: unknown number {}", request.aggregation))),
    };
    let (start, end, interval_ms) = (request.start_ts, request.end_ts, request.interval_ms);
    check_range(start, end)?;
    if interval_ms < 0 {
        return Err(invalid(format!("interval: {interval_ms} ms, expected at least 0")));
    }
    if aggregation == Aggregation::None && request.limit == 0 {
        return Err(invalid("limit: 0, expected at least 1"));
    }
    // In 128 bits, where the ends of time cannot overflow.
    let spanned = (i128::from(end) - i128::from(start)) / i128::from(interval_ms.max(1));
    if aggregation != Aggregation::None && interval_ms > 0 && spanned > i128::from(limits::QUERY_INTERVALS_MAX) {
        return Err(invalid(format!("interval: {spanned} intervals, at most {}", limits::QUERY_INTERVALS_MAX)));
    }
    let history = History {
        keys: keys(request.keys)?,
        start: Timestamp(start),
        end: Timestamp(end),
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        ascending: request.ascending,
        aggregation,
        interval_ms,
    };
    Ok((target, history))
}

type Deletion = (Target, Vec<String>, Option<(Timestamp, Timestamp)>);

pub(super) fn deletion(request: wire::DeleteTimeseriesRequest) -> Result<Deletion, Status> {
    let target = target(request.entity)?;
    let keys = named_keys(request.keys)?;
    if request.all_data {
        return Ok((target, keys, None));
    }
    check_range(request.start_ts, request.end_ts)?;
    Ok((target, keys, Some((Timestamp(request.start_ts), Timestamp(request.end_ts)))))
}

fn check_range(start: i64, end: i64) -> Result<(), Status> {
    if start > end { Err(invalid(format!("range: start {start} lies after end {end}"))) } else { Ok(()) }
}

pub(super) fn watched(start: wire::WatchStart) -> Result<(Target, Watched, Vec<String>), Status> {
    let target = target(start.entity)?;
    let what = if start.timeseries { Watched::Timeseries } else { Watched::Attributes(any_scope(start.scope)?) };
    Ok((target, what, keys(start.keys)?))
}

pub(super) fn all_series(series: Vec<Series>) -> Vec<wire::Series> {
    let whole = |series: Series| wire::Series { key: series.key, points: series.points.into_iter().map(point).collect() };
    series.into_iter().map(whole).collect()
}

pub(super) fn all_attributes(attributes: Vec<Attribute>) -> Vec<wire::Attribute> {
    let attribute = |attribute: Attribute| wire::Attribute {
        scope: attribute.scope.to_wire().into(),
        key: attribute.key,
        last_update_ts: attribute.last_update.0,
        value: Some(attribute.value.into()),
    };
    attributes.into_iter().map(attribute).collect()
}

pub(super) fn update(update: Update) -> wire::WatchUpdate {
    wire::WatchUpdate {
        watch_id: update.watch,
        snapshot: update.snapshot,
        series: all_series(update.series),
        attributes: all_attributes(update.attributes),
        deleted: update.deleted,
        error: update.error.unwrap_or_default(),
    }
}

fn point(point: Point) -> wire::Point {
    wire::Point { ts: point.ts.0, value: Some(point.value.into()) }
}

fn text_bytes(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bool(_) | Value::Long(_) | Value::Double(_) => 0,
    }
}

/// A history answer in chunks of bounded size, converted as they are sent. A series may go on in the next chunk; a series
/// without points is named once.
#[derive(Debug)]
pub(super) struct Chunks {
    series: std::vec::IntoIter<Series>,
    /// What is left of the series that a chunk ended in.
    open: Option<(String, std::iter::Peekable<std::vec::IntoIter<Point>>)>,
}

impl Chunks {
    pub(super) fn new(series: Vec<Series>) -> Self {
        Self { series: series.into_iter(), open: None }
    }
}

impl Iterator for Chunks {
    type Item = Result<wire::HistoryChunk, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = Vec::new();
        let (mut points, mut bytes) = (0, 0);
        let is_full = |points, bytes| points >= limits::HISTORY_CHUNK_POINTS_MAX || bytes >= limits::HISTORY_CHUNK_BYTES_MAX;
        while !is_full(points, bytes) {
            let begin = |series: Series| (series.key, series.points.into_iter().peekable());
            let Some((key, mut rest)) = self.open.take().or_else(|| self.series.next().map(begin)) else { break };
            let mut taken = Vec::new();
            while !is_full(points, bytes)
                && let Some(next) = rest.next()
            {
                points += 1;
                bytes += text_bytes(&next.value);
                taken.push(point(next));
            }
            // A series with nothing left still counts a little, so that empty ones cannot make an endless chunk.
            points += usize::from(taken.is_empty());
            if rest.peek().is_some() {
                self.open = Some((key.clone(), rest));
            }
            chunk.push(wire::Series { key, points: taken });
        }
        (!chunk.is_empty()).then_some(Ok(wire::HistoryChunk { series: chunk }))
    }
}
