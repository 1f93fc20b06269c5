//! Limits on attempts to sign in: per name and address, and as a whole. Forgets those that are quiet.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
};

use crate::error::Error;

/// Attempts of one name from one address: this many at once, then one every [`ATTEMPT_EVERY`].
const ATTEMPTS_BURST: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const ATTEMPT_EVERY: Duration = Duration::from_secs(6);
/// Attempts of everyone, a second.
const ATTEMPTS_PER_S: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// How many attempts pass between two sweeps of the quiet ones.
const SWEEP_EVERY: u32 = 1_024;
/// The longest name that is told apart; a longer one is no e-mail address anyway.
const NAME_BYTES_MAX: usize = 255;

type Key = (String, IpAddr);

/// The limits' state.
#[derive(Debug)]
pub struct Throttle {
    each: DefaultKeyedRateLimiter<Key>,
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
    attempts: AtomicU32,
}

impl Throttle {
    #[must_use]
    pub fn new() -> Self {
        let each = Quota::with_period(ATTEMPT_EVERY).unwrap_or(Quota::per_minute(ATTEMPTS_BURST)).allow_burst(ATTEMPTS_BURST);
        Self {
            each: RateLimiter::keyed(each),
            all: RateLimiter::direct(Quota::per_second(ATTEMPTS_PER_S)),
            clock: DefaultClock::default(),
            attempts: AtomicU32::new(0),
        }
    }

    /// Counts one attempt.
    ///
    /// # Errors
    /// [`Error::TooMany`] with the time to wait.
    pub fn admit(&self, name: &str, address: IpAddr) -> Result<(), Error> {
        // The sum first: it bounds how many keys can be made at all, since quiet ones are swept.
        self.all.check().map_err(|until| self.wait(&until))?;
        if self.attempts.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.each.retain_recent();
        }
        let mut name = name.to_owned();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        self.each.check_key(&(name, network(address))).map_err(|until| self.wait(&until))
    }

    fn wait(&self, until: &NotUntil<QuantaInstant>) -> Error {
        Error::TooMany { retry_after_s: until.wait_time_from(self.clock.now()).as_secs() + 1 }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

/// An IPv6 customer owns a /64: its addresses are one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
