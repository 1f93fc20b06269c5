//! What one device may consume: its own buckets, and its tenant's share on this shard. Lives on the device's owner (DESIGN 8.4,
//! 14) as long as the device's state. Never stored: after a restart all buckets are full.

use std::sync::Arc;

use schemas::config::RateLimits;

use super::bucket::Rule;
use super::tenant::Share;
use super::{Exceeded, Limit, RetryAfter};
use crate::clock::Instant;

/// What an operation consumes (reference 1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Everything that is no post of telemetry or attributes.
    Message,
    /// A post of telemetry or attributes with so many readings.
    Telemetry { points: u64 },
}

/// The rules of one kind of device of one tenant, shared by all such devices of a shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Rates {
    /// Those of messages, then those of telemetry messages, then those of data points.
    rules: Box<[Rule]>,
    /// Where the telemetry messages' begin, and where the data points' do.
    telemetry_at: usize,
    points_at: usize,
}

impl Rates {
    /// `None`: no limit at all.
    #[must_use]
    pub fn new(limits: &RateLimits) -> Option<Arc<Self>> {
        let all = [&limits.messages, &limits.telemetry_messages, &limits.telemetry_data_points];
        let rules: Box<[Rule]> = all.iter().flat_map(|limit| limit.buckets()).copied().map(Rule::new).collect();
        let telemetry_at = limits.messages.buckets().len();
        let points_at = telemetry_at + limits.telemetry_messages.buckets().len();
        (!rules.is_empty()).then(|| Arc::new(Self { rules, telemetry_at, points_at }))
    }

    /// Every rule, its place, and the tokens that `cost` takes by it.
    fn charges(&self, cost: Cost) -> impl Iterator<Item = (usize, &Rule, u64)> {
        self.rules.iter().enumerate().map(move |(index, rule)| {
            let tokens = match cost {
                Cost::Message => u64::from(index < self.telemetry_at),
                Cost::Telemetry { .. } if index < self.telemetry_at => 0,
                Cost::Telemetry { .. } if index < self.points_at => 1,
                Cost::Telemetry { points } => points,
            };
            (index, rule, tokens)
        })
    }
}

/// Buckets of one device that need no allocation of their own: two of each of the three limits.
const BUCKETS_INLINE: usize = 6;

#[derive(Debug)]
enum Spent {
    Few([u64; BUCKETS_INLINE]),
    Many(Box<[u64]>),
}

impl Spent {
    fn new(buckets: usize) -> Self {
        if buckets <= BUCKETS_INLINE { Self::Few([0; BUCKETS_INLINE]) } else { Self::Many(vec![0; buckets].into()) }
    }

    fn of(&self, index: usize) -> u64 {
        let all: &[u64] = match self {
            Self::Few(few) => few,
            Self::Many(many) => many,
        };
        all.get(index).copied().unwrap_or(u64::MAX)
    }

    fn set(&mut self, index: usize, spent: u64) {
        let all: &mut [u64] = match self {
            Self::Few(few) => few,
            Self::Many(many) => many,
        };
        if let Some(cell) = all.get_mut(index) {
            *cell = spent;
        }
    }
}

#[derive(Debug)]
struct Limited {
    rates: Arc<Rates>,
    spent: Spent,
}

const _: () = assert!(size_of::<Limited>() <= 64, "a device's limits fit a cache line");
const _: () = assert!(size_of::<Device>() <= 8, "and an unlimited device has none");

/// The limits of one device.
#[derive(Debug, Default)]
pub struct Device(Option<Box<Limited>>);

impl Device {
    /// Full buckets.
    #[must_use]
    pub fn new(rates: Option<&Arc<Rates>>) -> Self {
        let limited = |rates: &Arc<Rates>| Limited { rates: Arc::clone(rates), spent: Spent::new(rates.rules.len()) };
        Self(rates.map(|rates| Box::new(limited(rates))))
    }

    /// The tenant's limits were pushed again. Buckets stay as they are unless their rules changed; then they are full.
    pub fn follow(&mut self, rates: Option<&Arc<Rates>>) {
        let known = self.0.as_mut().map(|limited| &mut limited.rates);
        match (known, rates) {
            (Some(known), Some(rates)) if Arc::ptr_eq(known, rates) => {}
            (Some(known), Some(rates)) if *known == *rates => *known = Arc::clone(rates),
            (None, None) => {}
            _ => *self = Self::new(rates),
        }
    }

    /// Takes `cost` from the device and from its tenant, or from neither.
    ///
    /// # Errors
    /// Whose limit it is, and when to ask again.
    pub fn take(&mut self, tenant: &mut Share, cost: Cost, now: Instant) -> Result<(), Exceeded> {
        self.room(cost, now).map_err(|retry_after| Exceeded { limit: Limit::Device, retry_after })?;
        tenant.take(cost, now).map_err(|retry_after| Exceeded { limit: Limit::Tenant, retry_after })?;
        self.spend(cost, now);
        Ok(())
    }

    /// The same without the tenant, whose part was taken elsewhere: a child that the gateway's owner already answered for.
    ///
    /// # Errors
    /// When to ask again.
    pub fn take_own(&mut self, cost: Cost, now: Instant) -> Result<(), RetryAfter> {
        self.room(cost, now)?;
        self.spend(cost, now);
        Ok(())
    }

    /// Whether all buckets are full: forgetting them gives nothing away.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let Some(limited) = &self.0 else { return true };
        limited.rates.rules.iter().enumerate().all(|(index, rule)| rule.is_full(limited.spent.of(index), now))
    }

    fn room(&self, cost: Cost, now: Instant) -> Result<(), RetryAfter> {
        let Some(limited) = &self.0 else { return Ok(()) };
        let refusal = limited
            .rates
            .charges(cost)
            .filter(|(_, _, tokens)| *tokens > 0)
            .filter_map(|(index, rule, tokens)| rule.charge(limited.spent.of(index), tokens, now).err());
        refusal.max().map_or(Ok(()), Err)
    }

    /// What [`Self::room`] found room for at the same instant.
    fn spend(&mut self, cost: Cost, now: Instant) {
        let Some(limited) = &mut self.0 else { return };
        let Limited { rates, spent } = &mut **limited;
        for (index, rule, tokens) in rates.charges(cost).filter(|(_, _, tokens)| *tokens > 0) {
            if let Ok(after) = rule.charge(spent.of(index), tokens, now) {
                spent.set(index, after);
            }
        }
    }
}
