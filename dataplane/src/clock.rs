//! The only reader of the operating system's clock. Time everywhere else is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on the monotonic clock, in nanoseconds since the process started its [`Clock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Later than anything.
    pub const MAX: Self = Self(u64::MAX);

    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Nanoseconds from `earlier` to this; 0 if it lies ahead.
    #[must_use]
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Microseconds from `earlier` to this; 0 if it lies ahead.
    #[must_use]
    pub fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// Milliseconds from `earlier` to this; 0 if it lies ahead.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// Milliseconds since the Unix epoch, as devices and operators see time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// What time it is, on both clocks, read once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    pub timestamp: Timestamp,
}

/// Wall clock at start + monotonic (DESIGN 8.6, 21), so that a step of the wall clock cannot reorder readings.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    wall_at_start: Duration,
}

impl Clock {
    /// Starts the clock. Shards of one process share one start, so that their instants compare.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the OS clock")]
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
            wall_at_start: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
        }
    }

    #[must_use]
    pub fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let wall_ms = (self.wall_at_start + elapsed).as_millis();
        Now {
            instant: Instant(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)),
            timestamp: Timestamp(i64::try_from(wall_ms).unwrap_or(i64::MAX)),
        }
    }
}
