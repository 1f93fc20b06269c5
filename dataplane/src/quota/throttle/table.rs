//! Fixed-size memories of keyed hashes, in sets of a few cache lines: failures by key, and keys that are known. Never grows.

use super::LoginPolicy;
use crate::clock::Instant;
use crate::limits::LOGIN_RECORD_BYTES;

/// Records of one set.
const WAYS: usize = 8;
/// Known keys of one set.
const KNOWN_WAYS: usize = 4;
/// Above so many different secrets of one record its bits tell too little apart, and every failure counts.
const SECRETS_TOLD_APART: u32 = 24;

/// What happens to the weakest record of a full set when a new key fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakest {
    /// Its failures are forgotten.
    Replaced,
    /// The new key begins with its failures (the "space-saving" rule of frequent-item counting): never too few are counted.
    Inherited,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    key: u64,
    /// When the failures began; once there are too many, when the refusal did.
    since: Instant,
    /// A bit for each secret that failed.
    secrets: u64,
    /// 0: nobody's.
    failures: u32,
}

const _: () = assert!(size_of::<Record>() <= LOGIN_RECORD_BYTES, "as the memory sum says");

impl Record {
    /// When it stops meaning anything.
    fn until(&self, policy: &LoginPolicy) -> Instant {
        match self.failures {
            0 => Instant::default(),
            failures if failures >= policy.failures => self.since.after_ms(policy.refusal_ms),
            _ => self.since.after_ms(policy.window_ms),
        }
    }

    fn count(&mut self, secret: Option<u64>, policy: &LoginPolicy, now: Instant) {
        let bit = secret.map_or(0, bit);
        if self.secrets & bit != 0 && self.secrets.count_ones() <= SECRETS_TOLD_APART {
            return;
        }
        self.secrets |= bit;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= policy.failures {
            self.since = now;
        }
    }
}

/// Failures by key.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[[Record; WAYS]]>,
    weakest: Weakest,
}

impl Table {
    pub(super) fn new(records: usize, weakest: Weakest) -> Self {
        Self { sets: vec![[Record::default(); WAYS]; records.div_ceil(WAYS).max(1)].into(), weakest }
    }

    /// When this key is listened to again, if it is not now.
    pub(super) fn refused_until(&self, key: u64, policy: &LoginPolicy, now: Instant) -> Option<Instant> {
        let set = self.sets.get(place(key, self.sets.len()))?;
        let record = set.iter().find(|record| record.key == key && record.failures >= policy.failures)?;
        Some(record.until(policy)).filter(|until| now < *until)
    }

    /// Counts a failure; one with the same secret again does not count where `secret` says which it was.
    pub(super) fn failed(&mut self, key: u64, secret: Option<u64>, policy: &LoginPolicy, now: Instant) {
        let place = place(key, self.sets.len());
        let Some(set) = self.sets.get_mut(place) else { return };
        let is_live = |record: &Record| now < record.until(policy);
        let own = set.iter_mut().find(|record| record.key == key && is_live(record));
        if let Some(record) = own {
            // What was asked before the refusal began and answered after it changes nothing.
            if record.failures < policy.failures {
                record.count(secret, policy, now);
            }
            return;
        }
        // Nobody's and outlived records first, the key's own before all; then the fewest failures, then the oldest.
        let weakest = set.iter_mut().min_by_key(|record| (is_live(record), record.key != key, record.failures, record.since));
        let Some(record) = weakest else { return };
        let inherited = if self.weakest == Weakest::Inherited && is_live(record) { record.failures } else { 0 };
        let since = if inherited > 0 { record.since } else { now };
        *record = Record { key, since, secrets: 0, failures: inherited };
        record.count(secret, policy, now);
    }
}

/// Keys that are known, the most recent of each set first. A key is 64 random bits, so two are never taken for each other.
#[derive(Debug)]
pub(super) struct Known {
    sets: Box<[[u64; KNOWN_WAYS]]>,
}

impl Known {
    pub(super) fn new(keys: usize) -> Self {
        Self { sets: vec![[0; KNOWN_WAYS]; keys.div_ceil(KNOWN_WAYS).max(1)].into() }
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        key != 0 && self.sets.get(place(key, self.sets.len())).is_some_and(|set| set.contains(&key))
    }

    /// Forgets the one of its set that was inserted longest ago.
    pub(super) fn insert(&mut self, key: u64) {
        let place = place(key, self.sets.len());
        if let Some(set) = self.sets.get_mut(place) {
            let end = set.iter().position(|known| *known == key).unwrap_or(KNOWN_WAYS - 1);
            if let Some(front) = set.get_mut(..=end) {
                front.rotate_right(1);
            }
            set[0] = key;
        }
    }

    pub(super) fn remove(&mut self, key: u64) {
        let place = place(key, self.sets.len());
        if let Some(set) = self.sets.get_mut(place) {
            set.iter_mut().filter(|known| **known == key).for_each(|known| *known = 0);
        }
    }
}

/// One of 64 bits.
pub(super) fn bit(secret: u64) -> u64 {
    1 << (secret >> 58)
}

/// Which of so many sets.
fn place(key: u64, sets: usize) -> usize {
    let sets = u64::try_from(sets).unwrap_or(1).max(1);
    usize::try_from(key % sets).unwrap_or(0)
}
