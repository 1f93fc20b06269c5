//! What things cost on one machine, measured by `--calibrate`. Values only.

use dataplane::limits;
use serde::{Deserialize, Serialize};

/// Measured costs of one machine; times are of one core, of the whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Costs {
    /// Date, processor and program of the measurement.
    pub(crate) measured: String,
    /// Reading from a connection and writing to it, however many messages that carries.
    pub(crate) service_us: f64,
    /// A message besides its readings.
    pub(crate) message_us: f64,
    pub(crate) reading_us: f64,
    /// A group commit of a shard that would have slept.
    pub(crate) commit_us: f64,
    /// A row at rest, merged and compressed.
    pub(crate) row_bytes: RowBytes,
}

/// Bytes of a row by what the message is like: how well values compress differs more than how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowBytes {
    pub(crate) meter: f64,
    pub(crate) tracker: f64,
    pub(crate) plc: f64,
}

impl Costs {
    /// The costs of the machine of bench/README.md.
    pub(crate) fn built_in() -> Self {
        serde_json::from_str(include_str!("costs.json")).expect("the built-in costs are a calibration")
    }

    /// CPU of one message that is alone in its packet, microseconds.
    pub(crate) fn alone_us(&self, readings: f64) -> f64 {
        self.service_us + self.message_us + self.reading_us * readings
    }

    /// How much of a core a shard uses at `rate` messages a second, 0 to 1; above 1 it cannot.
    ///
    /// Messages take their part. What is left of the core sleeps, and is disturbed by commits: up to all of it.
    pub(crate) fn load(&self, rate: f64, alone_us: f64) -> f64 {
        let busy = rate / 1e6 * alone_us;
        if busy >= 1.0 {
            return busy;
        }
        let disturbed = commits(rate, busy) / 1e6 * self.commit_us;
        busy + (1.0 - busy) * disturbed.min(1.0)
    }

    /// The highest rate at which a shard uses at most `load` of its core, messages a second; the inverse of [`Self::load`].
    pub(crate) fn rate(&self, load: f64, alone_us: f64) -> f64 {
        let (mut low, mut high) = (0.0, load / alone_us * 1e6);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.load(middle, alone_us) <= load { low = middle } else { high = middle }
        }
        low
    }
}

/// Commits a second of a shard that gets `rate` messages a second and works for `busy` of its time: a pause apart, or as far
/// apart as messages are, and turns come in between. A busy shard commits once in its own interval.
pub(crate) fn commits(rate: f64, busy: f64) -> f64 {
    let pause_s = limits::COMMIT_PAUSE_US as f64 / 1e6;
    let apart_s = pause_s + (-rate * pause_s).exp() / rate;
    let when_busy = rate.min(1e6 / limits::COMMIT_EVERY_US as f64);
    ((1.0 - busy).max(0.0) / apart_s).max(when_busy * busy.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_rate_are_inverses_up_to_a_full_core() {
        let costs = Costs::built_in();
        let alone = costs.alone_us(5.0);
        for load in [0.01, 0.3, 0.5, 0.9] {
            assert!((costs.load(costs.rate(load, alone), alone) - load).abs() < 1e-6);
        }
        assert!((costs.load(1e6 / alone, alone) - 1.0).abs() < 1e-9);
        assert!(costs.load(2e6 / alone, alone) > 1.9, "what cannot be done shows as more than a core");
    }
}
