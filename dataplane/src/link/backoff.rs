//! How long to wait before calling again: doubling, bounded, with jitter so that a thousand instances do not call a
//! returning control plane at once. Never sleeps itself.

use std::time::Duration;

use crate::limits;

/// The next pause.
#[derive(Debug)]
pub(super) struct Backoff {
    ms: u64,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { ms: limits::RECONNECT_MS_MIN }
    }

    /// The connection proved healthy.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Between half of the current pause and all of it, by `random`.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let half = self.ms / 2;
        let pause = half + random % (self.ms - half + 1);
        self.ms = (self.ms * 2).min(limits::RECONNECT_MS_MAX);
        Duration::from_millis(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_bound_and_starts_over_after_health() {
        let mut backoff = Backoff::new();
        let mut bound = limits::RECONNECT_MS_MIN;
        for random in [0, 1, 57, u64::MAX, 12_345, 3, 9, 1 << 40, 77, 5] {
            let pause = u64::try_from(backoff.next(random).as_millis()).unwrap();
            assert!((bound / 2..=bound).contains(&pause), "{pause} ms within half of {bound} ms and {bound} ms");
            bound = (bound * 2).min(limits::RECONNECT_MS_MAX);
        }
        assert_eq!(bound, limits::RECONNECT_MS_MAX);
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= Duration::from_millis(limits::RECONNECT_MS_MIN));
    }
}
