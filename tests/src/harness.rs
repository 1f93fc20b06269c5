//! The parts a whole-system test is made of. Nothing here knows how the product works inside.

pub mod capture;
pub mod certificates;
pub mod curl;
pub mod exact;
pub mod fixture;
pub mod instance;
pub mod kafka;
pub mod load;
pub mod mqtt;
pub mod planes;
pub mod port;
pub mod powercut;
pub mod python;
pub mod rabbitmq;
pub mod raw_http;
pub mod rest;
pub mod websocket;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Generous: it is not a promise about speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `probe` gives a value.
///
/// # Panics
/// When it gives none within [`PATIENCE`].
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, probe).unwrap_or_else(|| panic!("did not happen within {PATIENCE:?}: {what}"))
}

/// Polls until `probe` gives a value or the time is over.
pub fn within<T>(patience: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the year is below 292 million")
}

/// A small generator of choices for tests; its seed is printed so that a failure can be repeated.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeded by `E2E_SEED` or by the clock.
    #[must_use]
    pub fn cast(what: &str) -> Self {
        let given = std::env::var("E2E_SEED").ok().and_then(|text| text.parse().ok());
        let seed: u64 = given.unwrap_or_else(|| now_ms().unsigned_abs());
        println!("{what}: E2E_SEED={seed}");
        Self(seed | 1)
    }

    /// A number in `range`.
    pub fn roll(&mut self, range: std::ops::Range<u64>) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        range.start + self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % (range.end - range.start)
    }
}
