//! The throttle against a model that forgets nothing, with fewer keys than a set has records.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Script;
use crate::clock::Instant;
use crate::quota::throttle::{LoginPolicy, Shown, Throttle};

const POLICY: LoginPolicy = LoginPolicy { failures: 3, window_ms: 1_000, refusal_ms: 500 };

#[derive(Default)]
struct Model(HashMap<u8, Failures>);

struct Failures {
    since: u64,
    count: u32,
    secrets: u64,
}

impl Model {
    fn refused(&self, key: u8, now_ms: u64) -> bool {
        let refused = |failures: &Failures| failures.count >= POLICY.failures && now_ms < failures.since + POLICY.refusal_ms;
        self.0.get(&key).is_some_and(refused)
    }

    fn failed(&mut self, key: u8, secret: u64, now_ms: u64) {
        if self.refused(key, now_ms) {
            return;
        }
        let over = |failures: &Failures| failures.count >= POLICY.failures || now_ms >= failures.since + POLICY.window_ms;
        if self.0.get(&key).is_some_and(over) {
            self.0.remove(&key);
        }
        let failures = self.0.entry(key).or_insert(Failures { since: now_ms, count: 0, secrets: 0 });
        if failures.secrets & secret == 0 {
            failures.secrets |= secret;
            failures.count += 1;
        }
        if failures.count >= POLICY.failures {
            failures.since = now_ms;
        }
    }
}

/// Any order of logins that fail and succeed, of few addresses, names and secrets.
pub(super) fn throttle(script: &mut Script<'_>) {
    let mut throttle = Throttle::with_records(POLICY, 8, 1 << 16);
    let (mut addresses, mut names, mut trusted) = (Model::default(), Model::default(), HashSet::new());
    let mut now_ms = 1;
    while let Some(deed) = script.byte() {
        let [address, name, secret] = [6, 6, 5].map(|end| script.below(end));
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, address));
        let attempt = throttle.attempt(ip, Shown { name: &[name], secret: &[secret] });
        let whole = (address, name, secret);
        let now = Instant::default().after_ms(now_ms);
        match deed % 4 {
            0 => now_ms += u64::from(deed) * 4,
            1 => {
                throttle.succeeded(attempt);
                trusted.insert(whole);
            }
            _ => {
                throttle.failed(attempt, now);
                trusted.remove(&whole);
                addresses.failed(address, attempt.secret_bit(), now_ms);
                names.failed(name, 0, now_ms);
            }
        }
        let now = Instant::default().after_ms(now_ms);
        let refused = !trusted.contains(&whole) && (addresses.refused(address, now_ms) || names.refused(name, now_ms));
        assert_eq!(throttle.check(attempt, now).is_err(), refused, "{whole:?} at {now_ms} ms");
    }
}
