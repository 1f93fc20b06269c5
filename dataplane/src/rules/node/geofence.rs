//! GPS geofencing filter: whether the point a message names lies within a perimeter. Without a point or a perimeter it fails.

use schemas::chain::geofence::{Geofence, Perimeter, Point, Source};
use serde_json::Value;

use crate::rules::carried::Carried;
use crate::rules::node::{Next, decide};

pub(super) fn run(fence: &Geofence, carried: &Carried<'_>) -> Next {
    match is_within(fence, carried) {
        Ok(within) => decide(within),
        Err(reason) => Next::Fail(reason),
    }
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
        Source::Metadata { key, circle } => {
            let text = carried.metadata(key).ok_or_else(|| format!("{key}: the metadata has no perimeter"))?;
            let value: Value = serde_json::from_str(&text).map_err(|error| format!("{key}: {error}"))?;
            let perimeter = if *circle { Perimeter::circle(&value) } else { Perimeter::polygons(&value) };
            perimeter.map(|perimeter| perimeter.contains(point)).map_err(|rule| format!("{key}: {rule}"))
        }
    }
}
