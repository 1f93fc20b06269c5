//! Whether a rule is looked at, at a time. The zone's own days and midnights count, as in ThingsBoard.

use chrono::{DateTime, Datelike, NaiveTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::Schedule;

/// Milliseconds of a day without a change of the clocks.
pub(super) const DAY_MS: i64 = 86_400_000;

impl Schedule {
    /// `ts`: milliseconds since the Unix epoch.
    #[must_use]
    pub fn is_active(&self, ts: i64) -> bool {
        let Self::Weekly { zone, days } = self else { return true };
        let Some((day, passed)) = day_and_time(*zone, ts) else { return false };
        match days.get(day).copied().flatten() {
            Some((from, to)) if from <= to => (from..to).contains(&passed),
            Some((from, to)) => from < passed || (0 < passed && passed < to),
            None => false,
        }
    }
}

/// Days after Monday, and milliseconds after midnight. `None`: a device may say any ts, and the zone has no such time.
fn day_and_time(zone: Tz, ts: i64) -> Option<(usize, i64)> {
    let utc = DateTime::from_timestamp_millis(ts)?.naive_utc();
    let date = utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())?.date();
    let midnight = date.and_time(NaiveTime::MIN);
    // Where the clocks go forward at midnight, the day begins at the first moment that there is.
    let start = (0..=3).find_map(|hours| {
        let moment = midnight.checked_add_signed(TimeDelta::hours(hours))?;
        zone.from_local_datetime(&moment).earliest()
    })?;
    let day = usize::try_from(date.weekday().num_days_from_monday()).ok()?;
    Some((day, ts - start.timestamp_millis()))
}
