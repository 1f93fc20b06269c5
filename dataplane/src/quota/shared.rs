//! Buckets that all shards draw from, without locks: one of the two shared structures of the data plane (DESIGN 8.4, 14). Never
//! touched on the path of a message: shards lease blocks (`lease`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use schemas::rate::{Bucket as Declared, RateLimit};

use super::bucket::Rule;
use crate::clock::Instant;

/// One bucket, on a cache line of its own. The number is all there is to agree on, so relaxed ordering is enough.
#[derive(Debug)]
#[repr(align(64))]
pub struct SharedBucket {
    rule: Rule,
    spent: AtomicU64,
}

impl SharedBucket {
    #[must_use]
    pub fn new(declared: Declared) -> Self {
        Self { rule: Rule::new(declared), spent: AtomicU64::new(0) }
    }

    /// Takes as many tokens as there are from `least` to `most`; 0 if there are fewer. Lock-free: whoever has to try again does
    /// so because another succeeded.
    #[must_use]
    pub fn draw(&self, least: u64, most: u64, now: Instant) -> u64 {
        let mut spent = self.spent.load(Relaxed);
        loop {
            let granted = self.rule.available(spent, now).min(most);
            if granted < least {
                return 0;
            }
            let Ok(after) = self.rule.charge(spent, granted, now) else { return 0 };
            match self.spent.compare_exchange_weak(spent, after, Relaxed, Relaxed) {
                Ok(_) => return granted,
                Err(newer) => spent = newer,
            }
        }
    }

    /// Takes drawn tokens back. What was lost since because the bucket was full stays lost.
    pub fn give_back(&self, tokens: u64) {
        let mut spent = self.spent.load(Relaxed);
        while let Err(newer) = self.spent.compare_exchange_weak(spent, self.rule.refund(spent, tokens), Relaxed, Relaxed) {
            spent = newer;
        }
    }

    fn free_at(&self, tokens: u64, now: Instant) -> Instant {
        self.rule.free_at(self.spent.load(Relaxed), tokens, now)
    }
}

/// The buckets of one limit: all must have room.
#[derive(Debug)]
pub struct SharedLimit {
    declared: RateLimit,
    buckets: Box<[SharedBucket]>,
}

impl SharedLimit {
    #[must_use]
    pub fn new(limit: &RateLimit) -> Self {
        Self { declared: limit.clone(), buckets: limit.buckets().iter().copied().map(SharedBucket::new).collect() }
    }

    /// What it was made of.
    #[must_use]
    pub fn declared(&self) -> &RateLimit {
        &self.declared
    }

    /// Tokens of the smallest bucket.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.rule.capacity()).min().unwrap_or(u64::MAX)
    }

    /// Takes the same number from each bucket, from `least` to `most`; 0 if one has fewer.
    #[must_use]
    pub fn draw(&self, least: u64, most: u64, now: Instant) -> u64 {
        let mut granted = most;
        for (index, bucket) in self.buckets.iter().enumerate() {
            let drawn = bucket.draw(least, granted, now);
            // The buckets before it gave more than can be used.
            let surplus = granted - drawn;
            if surplus > 0 {
                self.buckets.iter().take(index).for_each(|before| before.give_back(surplus));
            }
            granted = drawn;
            if granted == 0 {
                return 0;
            }
        }
        granted
    }

    pub fn give_back(&self, tokens: u64) {
        if tokens > 0 {
            self.buckets.iter().for_each(|bucket| bucket.give_back(tokens));
        }
    }

    /// The first instant at which `tokens` can be drawn if nobody else draws any.
    #[must_use]
    pub fn free_at(&self, tokens: u64, now: Instant) -> Instant {
        self.buckets.iter().map(|bucket| bucket.free_at(tokens, now)).max().unwrap_or(now)
    }
}
