//! Enrichment by the originator's past: the first, the last or all readings of an interval, or one aggregate of them.

use schemas::chain::{Aggregate, Fetch, Interval, OriginatorTelemetry};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::limits::NAME_BYTES_MAX;
use crate::query::{Aggregation, History, Series};
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::{Next, Scene};
use crate::rules::{Absent, Fact, template};

/// The first or last reading comes as JSON under its key, a text in its quotation marks, all come as an array of
/// `{"ts":…,"value":…}`; keys without a reading are left out, as in ThingsBoard.
pub(super) fn run(of: &OriginatorTelemetry, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let (start, end) = match interval(&of.interval, carried, scene.message.received) {
        Ok(interval) => interval,
        Err(reason) => return Next::Fail(reason),
    };
    let keys: Vec<String> = of.keys.iter().map(|key| template::fill(key, carried).into_owned()).collect();
    if let Some(key) = keys.iter().find(|key| key.len() > NAME_BYTES_MAX) {
        return Next::Fail(format!("a key of {} bytes, at most {NAME_BYTES_MAX}", key.len()));
    }
    let (limit, ascending, aggregation) = match of.fetch {
        Fetch::First => (1, true, Aggregation::None),
        Fetch::Last => (1, false, Aggregation::None),
        Fetch::All { limit, ascending, aggregation } => (limit, ascending, aggregation.map_or(Aggregation::None, by)),
    };
    let fact = Fact::History(History { keys, start, end, limit, ascending, aggregation, interval_ms: 0 });
    let known = match scene.world.fact(&fact) {
        Ok(known) => known,
        Err(Absent::NotYet) => return Next::Need(Box::new(fact)),
        Err(Absent::Never(reason)) => return Next::Fail(reason),
    };
    let mut changed = carried.change();
    let all = matches!(of.fetch, Fetch::All { .. });
    known.iter().for_each(|series| put(&mut changed, series, all));
    Next::With(changed)
}

fn put(changed: &mut Changed, series: &Series, all: bool) {
    let text = if all {
        let points = series.points.iter().map(|point| json!({ "ts": point.ts.0, "value": point.value.to_json() }));
        Value::Array(points.collect()).to_string()
    } else {
        let Some(point) = series.points.first() else { return };
        point.value.to_json().to_string()
    };
    changed.metadata.insert(series.key.clone(), text);
}

/// Begin and end, the latter exclusive. "Now" is when the message was taken, so that it means the same whenever it is evaluated.
fn interval(of: &Interval, carried: &Carried<'_>, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    let said = |pattern: &str| {
        let text = template::fill(pattern, carried);
        text.trim().parse::<i64>().map(Timestamp).map_err(|_| format!("{pattern}: \"{text}\" is no time in milliseconds"))
    };
    let (start, end) = match of {
        Interval::Before { start_ms, end_ms } => (before(now, *start_ms), before(now, *end_ms)),
        Interval::Said { start, end } => (said(start)?, said(end)?),
    };
    if end < start { Err(format!("the interval from {} to {} ends before it begins", start.0, end.0)) } else { Ok((start, end)) }
}

fn before(now: Timestamp, ms: i64) -> Timestamp {
    Timestamp(now.0.saturating_sub(ms))
}

fn by(aggregate: Aggregate) -> Aggregation {
    match aggregate {
        Aggregate::Min => Aggregation::Min,
        Aggregate::Max => Aggregation::Max,
        Aggregate::Avg => Aggregation::Avg,
        Aggregate::Sum => Aggregation::Sum,
        Aggregate::Count => Aggregation::Count,
    }
}
