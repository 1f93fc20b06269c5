//! A shard's advance on a shared limit: tokens drawn in blocks, so that the path of a message touches no cache line of others.
//!
//! What all shards together admit never exceeds what the buckets issue: a token is drawn before it is used. It may be used up to
//! [`LEASE_UNUSED_MS_MAX`] later than it was drawn, so a window of any length can see, beside `capacity + rate · length`, what lay
//! in leases at its begin: less than `shards · block`, which is at most an eighth of the capacity ([`LEASE_PARTS`]). Limits too
//! small for that are drawn token by token, and exact. Never draws before it is asked.

use std::sync::Arc;

use super::RetryAfter;
use super::shared::SharedLimit;
use crate::clock::Instant;
use crate::limits::{LEASE_MS, LEASE_PARTS, LEASE_REFUSAL_MS, LEASE_UNUSED_MS_MAX};

/// One shard's part of one limit. Gives back what it has when it is dropped.
#[derive(Debug)]
pub struct Lease {
    limit: Arc<SharedLimit>,
    /// Tokens drawn and not used.
    left: u64,
    drawn: Instant,
    /// Tokens drawn at a time; follows the rate at which they are used.
    block: u64,
    block_max: u64,
    refusal: Option<Refusal>,
}

/// The limit had no room: not asked again for a moment, or a tenant above its limit would cost every shard a cache line a message.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    tokens: u64,
    until: Instant,
    free_at: Instant,
}

impl Lease {
    /// The lease of one of `shards` shards.
    #[must_use]
    pub fn new(limit: Arc<SharedLimit>, shards: u16) -> Self {
        let block_max = (limit.capacity() / (LEASE_PARTS * u64::from(shards.max(1)))).max(1);
        Self { limit, left: 0, drawn: Instant::default(), block: 1, block_max, refusal: None }
    }

    /// Takes `tokens`, or none.
    ///
    /// # Errors
    /// When to ask again.
    pub fn take(&mut self, tokens: u64, now: Instant) -> Result<(), RetryAfter> {
        if tokens <= self.left && !self.is_stale(now) {
            self.left -= tokens;
            return Ok(());
        }
        self.draw(tokens, now)
    }

    /// Puts back what was just taken: another limit of the same operation had no room.
    pub(super) fn untake(&mut self, tokens: u64) {
        match self.left.checked_add(tokens).filter(|left| *left < self.block) {
            Some(left) => self.left = left,
            None => self.limit.give_back(tokens),
        }
    }

    /// Gives back what was not used for a while; to be called now and then.
    pub fn expire(&mut self, now: Instant) {
        if self.is_stale(now) {
            self.release();
        }
    }

    /// What it is a part of.
    #[must_use]
    pub fn limit(&self) -> &Arc<SharedLimit> {
        &self.limit
    }

    /// Tokens drawn and not used.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.left > 0 && now.ms_since(self.drawn) > LEASE_UNUSED_MS_MAX
    }

    fn release(&mut self) {
        self.limit.give_back(std::mem::take(&mut self.left));
    }

    fn draw(&mut self, tokens: u64, now: Instant) -> Result<(), RetryAfter> {
        if tokens == 0 {
            return Ok(());
        }
        if let Some(refusal) = self.refusal
            && tokens >= refusal.tokens
            && now < refusal.until
        {
            return Err(RetryAfter::between(now, refusal.free_at));
        }
        self.adapt(now);
        self.expire(now);
        let missing = tokens.saturating_sub(self.left);
        let granted = self.limit.draw(missing, self.block.max(missing), now);
        if granted < missing {
            return Err(self.refuse(tokens, now));
        }
        self.refusal = None;
        self.drawn = now;
        self.left = self.left.saturating_add(granted).saturating_sub(tokens);
        Ok(())
    }

    /// Blocks last for about [`LEASE_MS`].
    fn adapt(&mut self, now: Instant) {
        let lasted = now.ms_since(self.drawn);
        if lasted < LEASE_MS {
            self.block = self.block.saturating_mul(2).min(self.block_max);
        } else if lasted > LEASE_MS * 4 {
            self.block = (self.block / 2).max(1);
        }
    }

    /// Others may have use for what is left, and two shards that each keep half of what they need would wait for ever.
    fn refuse(&mut self, tokens: u64, now: Instant) -> RetryAfter {
        self.release();
        let free_at = self.limit.free_at(tokens, now);
        self.refusal = Some(Refusal { tokens, until: free_at.min(now.after_ms(LEASE_REFUSAL_MS)), free_at });
        RetryAfter::between(now, free_at)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}
