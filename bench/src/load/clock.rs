//! The clocks of a run: monotonic for latencies, wall for timestamps, CPU for what the generator itself costs. Never sleeps.

use rustix::time::{ClockId, clock_gettime};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    nanos(ClockId::Realtime) / MILLI
}

/// CPU time of this process, all threads, in nanoseconds.
pub(crate) fn cpu() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}

/// These clocks are never negative.
fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}
