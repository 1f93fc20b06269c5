//! Token buckets in integers, exact over any length of time. Never reads a clock: time is an argument.
//!
//! Time issues units at a fixed rate from the clock's start on, and a token costs a fixed number of them. All that a bucket
//! stores is how many units were ever spent, so nothing is rounded twice and no error grows.

use schemas::rate::{Bucket as Declared, RateLimit};

use super::RetryAfter;
use crate::clock::Instant;

/// Units a nanosecond up to which whole numbers of them are issued: the clock's 584 years are 36 then, and no division is needed.
const WHOLE_UNITS_MAX: u64 = 16;
const NANOS_PER_S: u64 = 1_000_000_000;

/// The arithmetic of one bucket, shared by all that have it: `issued(now) = now · numerator / denominator` units, of which a
/// token costs `token`. Where `capacity` and period have no small ratio, a unit lasts at most two nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In tokens.
    capacity: u64,
    token: u64,
    numerator: u64,
    denominator: u64,
}

impl Rule {
    /// The rule of a declared bucket. Total: a capacity of nothing refuses everything, a period of nothing is a nanosecond.
    #[must_use]
    pub fn new(declared: Declared) -> Self {
        let capacity = declared.capacity;
        let period = declared.seconds.saturating_mul(NANOS_PER_S).max(1);
        let divisor = common_divisor(capacity, period);
        if capacity / divisor <= WHOLE_UNITS_MAX {
            return Self { capacity, token: period / divisor, numerator: capacity / divisor, denominator: 1 };
        }
        // The most units a token can have while no more than one is issued a nanosecond.
        let token = 1 << (period / capacity).checked_ilog2().unwrap_or(0);
        Self { capacity, token, numerator: capacity.saturating_mul(token), denominator: period }
    }

    /// Tokens of a full bucket.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What `spent` becomes when `tokens` are taken, or when to ask again. More tokens than the capacity are refused always,
    /// as ThingsBoard does.
    pub(super) fn charge(&self, spent: u64, tokens: u64, now: Instant) -> Result<u64, RetryAfter> {
        let issued = self.issued(now);
        let after = u128::from(spent.max(issued)) + self.units(tokens);
        if after <= u128::from(issued) + self.units(self.capacity) {
            // Beyond u64 there is more than can be counted, by a capacity that nobody can use up: what is spent is forgotten.
            return Ok(u64::try_from(after).unwrap_or(u64::MAX));
        }
        Err(RetryAfter::between(now, self.free_at(spent, tokens, now)))
    }

    /// The first instant at which `tokens` could be taken if nobody else takes any; a period from now for more than fits.
    pub(super) fn free_at(&self, spent: u64, tokens: u64, now: Instant) -> Instant {
        if tokens > self.capacity {
            let period = self.nanos(self.units(self.capacity));
            return Instant::from_nanos(now.nanos().saturating_add(period));
        }
        let base = u128::from(spent.max(self.issued(now)));
        let needed = (base + self.units(tokens)).saturating_sub(self.units(self.capacity));
        Instant::from_nanos(self.nanos(needed)).max(now)
    }

    /// Tokens that could be taken now.
    pub(super) fn available(&self, spent: u64, now: Instant) -> u64 {
        let issued = self.issued(now);
        let most = u128::from(issued) + self.units(self.capacity);
        let left = most.saturating_sub(u128::from(spent.max(issued))) / u128::from(self.token.max(1));
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Whether nothing of it is in use.
    pub(super) fn is_full(&self, spent: u64, now: Instant) -> bool {
        spent <= self.issued(now)
    }

    /// What `spent` becomes when `tokens` that were taken come back unused.
    pub(super) fn refund(&self, spent: u64, tokens: u64) -> u64 {
        u64::try_from(u128::from(spent).saturating_sub(self.units(tokens))).unwrap_or(0)
    }

    /// Units that time has issued by now.
    fn issued(&self, now: Instant) -> u64 {
        let product = u128::from(now.nanos()) * u128::from(self.numerator);
        let units = if self.denominator == 1 { product } else { product / u128::from(self.denominator) };
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// The first nanosecond at which so many units are issued.
    fn nanos(&self, units: u128) -> u64 {
        let nanos = units.saturating_mul(u128::from(self.denominator)).div_ceil(u128::from(self.numerator.max(1)));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    fn units(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.token)
    }

    /// By how much a level may differ from exact arithmetic, in parts of `1 / period` of a token; `None`: there is more than can
    /// be counted.
    pub(super) fn error(&self, period: u64, now: Instant) -> Option<u64> {
        let unit = if self.denominator == 1 { 0 } else { period.div_ceil(self.token) };
        let most = u128::from(self.issued(now)) + self.units(self.capacity);
        (most <= u128::from(u64::MAX)).then_some(unit)
    }
}

/// Euclid's; `b` is not 0.
fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}

/// One token bucket; full at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rule: Rule,
    spent: u64,
}

impl Bucket {
    #[must_use]
    pub fn new(declared: Declared) -> Self {
        Self { rule: Rule::new(declared), spent: 0 }
    }

    /// Takes `tokens`, or none.
    ///
    /// # Errors
    /// When to ask again.
    pub fn take(&mut self, tokens: u64, now: Instant) -> Result<(), RetryAfter> {
        self.spent = self.rule.charge(self.spent, tokens, now)?;
        Ok(())
    }

    /// The first instant at which `tokens` can be taken; not after `now` if they can be taken now.
    #[must_use]
    pub fn free_at(&self, tokens: u64, now: Instant) -> Instant {
        self.rule.free_at(self.spent, tokens, now)
    }

    /// Tokens that could be taken now.
    #[must_use]
    pub fn available(&self, now: Instant) -> u64 {
        self.rule.available(self.spent, now)
    }
}

/// The buckets of one limit: all must have room. None: no limit, and no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(Box<[Bucket]>);

impl Buckets {
    #[must_use]
    pub fn new(limit: &RateLimit) -> Self {
        Self(limit.buckets().iter().copied().map(Bucket::new).collect())
    }

    /// Takes `tokens` from all buckets or from none.
    ///
    /// # Errors
    /// When to ask again: when the last of the buckets has room.
    pub fn take(&mut self, tokens: u64, now: Instant) -> Result<(), RetryAfter> {
        let refusal = self.0.iter().filter_map(|bucket| bucket.rule.charge(bucket.spent, tokens, now).err()).max();
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        for bucket in &mut self.0 {
            bucket.take(tokens, now)?;
        }
        Ok(())
    }

    /// Whether nothing of any of them is in use: forgetting them gives nothing away.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.0.iter().all(|bucket| bucket.rule.is_full(bucket.spent, now))
    }
}
