//! What scripts ask that JavaScript does not know here: time zones and perimeters. Work that is bounded by the length of a text; never
//! keeps anything.

use rquickjs::{Ctx, Result, String as Text};
use schemas::chain::geofence::{Perimeter, Point};
use schemas::script::zone;

use crate::limits::SCRIPT_ARGUMENTS_BYTES_MAX;

/// Seconds that a time zone is ahead of UTC at a time, in milliseconds since the Unix epoch. `None`: there is no such zone.
#[expect(clippy::needless_pass_by_value, reason = "as scripts pass it")]
pub(super) fn offset(zone: String, at_ms: i64) -> Option<i32> {
    zone::offset_s(&zone, at_ms)
}

/// Whether a point, in degrees, lies within a perimeter in ThingsBoard's JSON.
#[expect(clippy::needless_pass_by_value, reason = "as scripts pass it")]
pub(super) fn within(ctx: Ctx<'_>, latitude: f64, longitude: f64, perimeter: String, circle: bool) -> Result<bool> {
    let read = || {
        if perimeter.len() > SCRIPT_ARGUMENTS_BYTES_MAX {
            return Err(format!("a perimeter of more than {SCRIPT_ARGUMENTS_BYTES_MAX} bytes"));
        }
        let perimeter = serde_json::from_str(&perimeter).map_err(|error| format!("no perimeter: {error}"))?;
        if circle { Perimeter::circle(&perimeter) } else { Perimeter::polygons(&perimeter) }
    };
    match read() {
        Ok(perimeter) => Ok(perimeter.contains(Point { latitude, longitude })),
        // A text: what scripts share is frozen, so that no error can be given its message from here.
        Err(reason) => Err(ctx.throw(Text::from_str(ctx.clone(), &reason)?.into_value())),
    }
}
