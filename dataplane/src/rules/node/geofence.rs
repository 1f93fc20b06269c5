//! GPS geofencing: whether the point a message names lies within a perimeter, and whether it has entered, left or stayed. Without a
//! point or a perimeter it fails. Which it was is remembered of each originator, durably.

use schemas::chain::geofence::{Geofence, GeofenceEvents, Perimeter, Point, Source};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::rules::carried::Carried;
use crate::rules::node::{Next, SUCCESS, Scene, decide};

const ENTERED: usize = 1;
const LEFT: usize = 2;
const INSIDE: usize = 3;
const OUTSIDE: usize = 4;

/// Where an originator was.
#[derive(Clone, Copy)]
struct Presence {
    inside: bool,
    since: Timestamp,
    /// For long enough.
    stayed: bool,
}

pub(super) fn run(fence: &Geofence, carried: &Carried<'_>) -> Next {
    match is_within(fence, carried) {
        Ok(within) => decide(within),
        Err(reason) => Next::Fail(reason),
    }
}

pub(super) fn events(events: &GeofenceEvents, node: Uuid, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let inside = match is_within(&events.fence, carried) {
        Ok(inside) => inside,
        Err(reason) => return Next::Fail(reason),
    };
    let now = scene.message.received;
    let before = scene.state(node).and_then(|state| read(&state)).filter(|before| before.inside == inside);
    let Some(before) = before else {
        keep(node, Presence { inside, since: now, stayed: false }, scene);
        return Next::By(if inside { ENTERED } else { LEFT });
    };
    let there = if inside { INSIDE } else { OUTSIDE };
    if events.report_each {
        return Next::By(there);
    }
    let least_ms = if inside { events.min_inside_ms } else { events.min_outside_ms };
    if before.stayed || now.0.saturating_sub(before.since.0) <= least_ms {
        return Next::By(SUCCESS);
    }
    keep(node, Presence { stayed: true, ..before }, scene);
    Next::By(there)
}

fn keep(node: Uuid, presence: Presence, scene: &mut Scene<'_, '_>) {
    let flags = u8::from(presence.inside) | u8::from(presence.stayed) << 1;
    let state = [&[flags][..], &presence.since.0.to_be_bytes()].concat().into();
    scene.into.push(Effect::KeepState { node, state });
}

fn read(state: &[u8]) -> Option<Presence> {
    let (flags, since) = state.split_first()?;
    let since = Timestamp(i64::from_be_bytes(since.try_into().ok()?));
    Some(Presence { inside: flags & 1 != 0, since, stayed: flags & 2 != 0 })
}

fn is_within(fence: &Geofence, carried: &Carried<'_>) -> Result<bool, String> {
    let data = carried.data();
    let degrees = |key: &str| {
        let said = data.get(key).and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
        let said = said.or_else(|| carried.metadata(key)?.parse().ok());
        said.ok_or_else(|| format!("{key}: the message has no such number"))
    };
    let point = Point { latitude: degrees(&fence.latitude_key)?, longitude: degrees(&fence.longitude_key)? };
    match &fence.perimeter {
        Source::Fixed(perimeter) => Ok(perimeter.contains(point)),
        Source::Metadata { key, circle } => Ok(written(key, *circle, carried)?.contains(point)),
        Source::Spread => Ok(spread(carried)?.contains(point)),
    }
}

/// A perimeter that is JSON under a key of the metadata.
fn written(key: &str, circle: bool, carried: &Carried<'_>) -> Result<Perimeter, String> {
    let text = carried.metadata(key).ok_or_else(|| format!("{key}: the metadata has no perimeter"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{key}: {error}"))?;
    let perimeter = if circle { Perimeter::circle(&value) } else { Perimeter::polygons(&value) };
    perimeter.map_err(|rule| format!("{key}: {rule}"))
}

fn spread(carried: &Carried<'_>) -> Result<Perimeter, String> {
    if carried.metadata("perimeter").is_some_and(|text| !text.is_empty()) {
        return written("perimeter", false, carried);
    }
    let said = |key: &str| carried.metadata(key).ok_or_else(|| format!("the metadata has no perimeter: {key} is missing"));
    let number = |key: &str| said(key)?.trim().parse::<f64>().map_err(|error| format!("{key}: {error}"));
    let center = Point { latitude: number("centerLatitude")?, longitude: number("centerLongitude")? };
    Perimeter::around(center, number("range")?, &said("rangeUnit")?).map_err(|rule| format!("rangeUnit: {rule}"))
}
