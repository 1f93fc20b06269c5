//! Time zones that scripts name. Never knows what time it is.

use chrono::{DateTime, Offset};
use chrono_tz::Tz;

/// Seconds that a zone of the IANA's database is ahead of UTC at a time, in milliseconds since the Unix epoch. `None`: there is no
/// such zone, or no such time.
#[must_use]
pub fn offset_s(zone: &str, at_ms: i64) -> Option<i32> {
    let zone: Tz = zone.parse().ok()?;
    Some(DateTime::from_timestamp_millis(at_ms)?.with_timezone(&zone).offset().fix().local_minus_utc())
}
