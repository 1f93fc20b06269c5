//! Logins that fail, per address and per credential: after so many within a while, neither is listened to for a period. Bounded
//! memory, whoever tries. Knows what was shown only by keyed hashes; never says whether a credential exists.
//!
//! - *Per address* only different secrets count: a device that shows the same wrong one for ever is no guesser, and must not lock
//!   out the site behind its address. One address cannot push another's record out by failing once.
//! - *Per credential* every failure counts. Records lie in small sets, and a newcomer takes the place of the set's weakest record
//!   together with its count, so pushing a record out forgets no failures: whoever floods the table to go on guessing one
//!   credential needs about as many failed logins for each further guess as the table has records.
//! - *Trusted* is what logged in before from the same address with the very same secret: it is no guess, so it is let through to
//!   the check whatever others did. A device cannot be locked out by somebody who fails in its name.
//!
//! Each shard has its own, and the kernel spreads connections over shards, so a guesser has up to `shards` times the failures.

mod table;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use self::table::{Known, Table, Weakest};
use super::RetryAfter;
use super::origin::Origin;
use crate::clock::Instant;
use crate::limits::{
    LOGIN_FAILURES_MAX, LOGIN_REFUSAL_MS, LOGIN_WINDOW_MS, THROTTLE_RECORDS_PER_SHARD, TRUSTED_LOGINS_PER_SHARD,
};

/// When logins are no longer listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginPolicy {
    /// 0: they always are.
    pub failures: u32,
    /// Failures further apart do not add up.
    pub window_ms: u64,
    pub refusal_ms: u64,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self { failures: LOGIN_FAILURES_MAX, window_ms: LOGIN_WINDOW_MS, refusal_ms: LOGIN_REFUSAL_MS }
    }
}

/// What a login shows. For an access token, which is both, `name` and `secret` are the token.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// What the credential is found by: token, user name, client id, certificate.
    pub name: &'a [u8],
    pub secret: &'a [u8],
}

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

/// One login, hashed once and kept until its outcome is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    origin: u64,
    name: u64,
    /// Name and secret.
    shown: u64,
    /// Name, secret and origin.
    whole: u64,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attempt")
    }
}

impl Attempt {
    /// Which of 64 the secret is told from others by.
    pub(super) fn secret_bit(&self) -> u64 {
        table::bit(self.shown)
    }
}

/// One shard's memory of failed logins.
#[derive(Debug)]
pub struct Throttle {
    /// Random, so that nobody can choose whose record he meets.
    hasher: RandomState,
    policy: LoginPolicy,
    origins: Table,
    credentials: Table,
    trusted: Known,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(LoginPolicy::default())
    }
}

impl Throttle {
    #[must_use]
    pub fn new(policy: LoginPolicy) -> Self {
        Self::with_records(policy, THROTTLE_RECORDS_PER_SHARD, TRUSTED_LOGINS_PER_SHARD)
    }

    /// Tables of so many records, rounded up to whole sets.
    pub(super) fn with_records(policy: LoginPolicy, records: usize, trusted: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            policy,
            origins: Table::new(records, Weakest::Replaced),
            credentials: Table::new(records, Weakest::Inherited),
            trusted: Known::new(trusted),
        }
    }

    /// What this throttle will know the login by.
    #[must_use]
    pub fn attempt(&self, address: IpAddr, login: Shown<'_>) -> Attempt {
        let origin = Origin::from(address);
        let shown = self.hasher.hash_one((login.name, login.secret));
        Attempt {
            origin: self.hasher.hash_one(origin),
            name: self.hasher.hash_one(login.name),
            shown,
            whole: self.hasher.hash_one((origin, shown)),
        }
    }

    /// To be asked before the credential is looked up.
    ///
    /// # Errors
    /// Not to be listened to, and for how long.
    pub fn check(&self, attempt: Attempt, now: Instant) -> Result<(), RetryAfter> {
        if self.policy.failures == 0 || self.trusted.contains(attempt.whole) {
            return Ok(());
        }
        let until = [(&self.origins, attempt.origin), (&self.credentials, attempt.name)]
            .into_iter()
            .filter_map(|(table, key)| table.refused_until(key, &self.policy, now));
        until.max().map_or(Ok(()), |until| Err(RetryAfter::between(now, until)))
    }

    /// The credential was refused.
    pub fn failed(&mut self, attempt: Attempt, now: Instant) {
        if self.policy.failures == 0 {
            return;
        }
        // It was changed, or revoked.
        self.trusted.remove(attempt.whole);
        self.origins.failed(attempt.origin, Some(attempt.shown), &self.policy, now);
        self.credentials.failed(attempt.name, None, &self.policy, now);
    }

    /// The credential was accepted. Failures of its name and address still count: whoever has one good credential could
    /// otherwise guess others for ever.
    pub fn succeeded(&mut self, attempt: Attempt) {
        if self.policy.failures > 0 {
            self.trusted.insert(attempt.whole);
        }
    }
}
