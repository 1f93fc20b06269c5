//! When each message of an open loop is meant to leave: message k of all at start + k / rate, spread over the connections in
//! turn. Plain arithmetic, so that a backlog of any length costs no memory. Never asks the time.

use super::clock::SECOND;

/// A global timeline of messages, numbered from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: u64,
    /// Messages per second over all connections.
    rate: u64,
    connections: u64,
}

impl Schedule {
    /// `rate` and `connections` must not be 0.
    pub(crate) fn new(start: u64, rate: u64, connections: u64) -> Self {
        Self { start, rate: rate.max(1), connections: connections.max(1) }
    }

    /// When message `k` is meant to leave, in nanoseconds of the monotonic clock.
    pub(crate) fn at(&self, k: u64) -> u64 {
        // Whole seconds apart, so that the product cannot overflow below a rate of 18 thousand million.
        self.start + k / self.rate * SECOND + k % self.rate * SECOND / self.rate
    }

    /// How many messages are due at `now`, that one included.
    pub(crate) fn due(&self, now: u64) -> u64 {
        let Some(elapsed) = now.checked_sub(self.start) else { return 0 };
        let (seconds, nanos) = (elapsed / SECOND, elapsed % SECOND);
        let mut due = seconds * self.rate + nanos * self.rate / SECOND + 1;
        // Both directions round down: make it exact.
        while due > 0 && self.at(due - 1) > now {
            due -= 1;
        }
        while self.at(due) <= now {
            due += 1;
        }
        due
    }

    /// The `row`-th message of one connection.
    pub(crate) fn message_of(&self, connection: u64, row: u64) -> u64 {
        row * self.connections + connection
    }

    /// Which connection sends message `k`.
    pub(crate) fn connection_of(&self, k: u64) -> u64 {
        k % self.connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_evenly_over_time() {
        let schedule = Schedule::new(5_000, 3, 2);
        let times: Vec<u64> = (0..4).map(|k| schedule.at(k) - 5_000).collect();
        assert_eq!(times, [0, 333_333_333, 666_666_666, SECOND]);
        let day = 86_400 * 200_000;
        assert_eq!(Schedule::new(0, 200_000, 1).at(day), 86_400 * SECOND);
    }

    #[test]
    fn due_is_the_inverse_of_at() {
        for rate in [1, 3, 7, 1_000, 99_991, 1_000_003] {
            let schedule = Schedule::new(77, rate, 5);
            assert_eq!(schedule.due(76), 0);
            for k in [0, 1, 2, 3, 1_000, 123_456_789] {
                assert_eq!(schedule.due(schedule.at(k)), k + 1, "rate {rate}, message {k}");
                assert_eq!(schedule.due(schedule.at(k + 1) - 1), k + 1, "rate {rate}, message {k}");
            }
        }
    }

    #[test]
    fn every_message_belongs_to_one_connection() {
        let schedule = Schedule::new(0, 10, 4);
        let mut all: Vec<u64> =
            (0..4).flat_map(|connection| (0..3).map(move |row| schedule.message_of(connection, row))).collect();
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<u64>>());
        assert!((0..12).all(|k| (0..3).any(|row| schedule.message_of(schedule.connection_of(k), row) == k)));
    }
}
