//! Buckets against exact arithmetic in u128, a device against plain buckets, leases against what may ever be admitted.

use std::sync::Arc;

use schemas::config::{Limits, RateLimits};
use schemas::rate::{Bucket as Declared, RateLimit};

use super::Script;
use crate::clock::Instant;
use crate::quota::{Bucket, Buckets, Cost, Device, Lease, Rates, Rule, Share, SharedLimit, Tenant};

const SECOND: u64 = 1_000_000_000;

/// A bucket in exact arithmetic: parts of `1 / period` of a token, of which a nanosecond gives `capacity` back.
struct Exact {
    capacity: u64,
    period: u64,
    used: u128,
    now: u64,
}

impl Exact {
    fn new(declared: Declared) -> Self {
        Self { capacity: declared.capacity, period: declared.seconds.saturating_mul(SECOND).max(1), used: 0, now: 0 }
    }

    fn advance(&mut self, now: u64) {
        self.used = self.used.saturating_sub(u128::from(now - self.now) * u128::from(self.capacity));
        self.now = now;
    }

    fn used_after(&self, tokens: u64) -> u128 {
        self.used.saturating_add(u128::from(tokens) * u128::from(self.period))
    }

    fn full(&self) -> u128 {
        u128::from(self.capacity) * u128::from(self.period)
    }
}

/// Any capacity, any period, any amounts, any leaps of time.
pub(super) fn bucket(script: &mut Script<'_>) {
    let declared = Declared { capacity: script.number(), seconds: script.number() };
    let rule = Rule::new(declared);
    let (mut bucket, mut exact) = (Bucket::new(declared), Exact::new(declared));
    let mut nanos = 0_u64;
    while let Some(deed) = script.byte() {
        if deed % 2 == 0 {
            nanos = nanos.saturating_add(script.number());
        }
        exact.advance(nanos);
        let now = Instant::from_nanos(nanos);
        let tokens = script.number();
        let taken = bucket.take(tokens, now);
        if tokens > declared.capacity {
            assert!(taken.is_err(), "{tokens} of {declared:?}");
            continue;
        }
        // From then on time only goes on, and nothing is promised but an answer.
        let Some(error) = rule.error(exact.period, now) else { return };
        let used = exact.used_after(tokens);
        match taken {
            Ok(()) => {
                assert!(used <= exact.full().saturating_add(error.into()), "{tokens} of {declared:?} at {nanos}: too early");
                exact.used = used;
            }
            Err(retry_after) => {
                assert!(used.saturating_add(error.into()) > exact.full(), "{tokens} of {declared:?} at {nanos}: too late");
                waits_as_long_as_it_says(bucket, tokens, now, retry_after.seconds);
            }
        }
    }
}

fn waits_as_long_as_it_says(bucket: Bucket, tokens: u64, now: Instant, seconds: u32) {
    let free_at = bucket.free_at(tokens, now);
    if now.nanos() == u64::MAX {
        return;
    }
    assert!(free_at > now, "what is refused is not free");
    let before = Instant::from_nanos(free_at.nanos() - 1);
    assert!({ bucket }.take(tokens, before).is_err(), "free before it says");
    if free_at.nanos() == u64::MAX || seconds == u32::MAX {
        return;
    }
    assert!({ bucket }.take(tokens, free_at).is_ok(), "not free when it says");
    assert_eq!(u64::from(seconds), (free_at.nanos() - now.nanos()).div_ceil(SECOND), "seconds, rounded up");
}

fn limit(script: &mut Script<'_>) -> RateLimit {
    let bucket = |script: &mut Script<'_>| format!("{}:{}", script.number() % 5_000 + 1, script.number() % 100 + 1);
    let buckets: Vec<String> = (0..script.below(4)).map(|_| bucket(script)).collect();
    RateLimit::parse(&buckets.join(",")).unwrap_or_default()
}

/// A device is three limits, of which an operation takes from all it concerns or from none, and its tenant's likewise.
pub(super) fn device(script: &mut Script<'_>) {
    let own = RateLimits { messages: limit(script), telemetry_messages: limit(script), telemetry_data_points: limit(script) };
    let tenants = RateLimits { messages: limit(script), ..RateLimits::default() };
    let all = [&own.messages, &own.telemetry_messages, &own.telemetry_data_points, &tenants.messages];
    let mut model = all.map(Buckets::new);
    let rates = Rates::new(&own);
    let mut device = Device::new(rates.as_ref());
    // One shard, so its lease is refused only what the bucket has not.
    let tenant = Tenant::new(&Limits { tenant: tenants.clone(), ..Limits::default() });
    let mut share = Share::new(&tenant, 1);
    let mut now = Instant::default();
    while let Some(deed) = script.byte() {
        now = Instant::from_nanos(now.nanos().saturating_add(script.number() >> 24));
        let points = u64::from(deed >> 2) * 8;
        let (cost, tokens) = match deed % 4 {
            0 => (Cost::Message, [1, 0, 0, 1]),
            1 => (Cost::Telemetry { points }, [0, 1, points, 0]),
            2 => {
                device.follow(Rates::new(&own).as_ref());
                continue;
            }
            _ => {
                assert_eq!(device.is_full(now), model[..3].iter().all(|buckets| buckets.is_full(now)), "{own:?}");
                continue;
            }
        };
        let mut after = model.clone();
        let allowed = after.iter_mut().zip(tokens).all(|(buckets, tokens)| tokens == 0 || buckets.take(tokens, now).is_ok());
        let taken = device.take(&mut share, cost, now);
        // A tenant's refusal is remembered for a moment, and what lies in the lease was drawn earlier: its own test judges those.
        if tenants.messages.is_unlimited() {
            assert_eq!(taken.is_ok(), allowed, "{cost:?} at {now:?} of {own:?}");
        }
        if taken.is_ok() {
            model = after;
        }
    }
}

/// What a lease has seen so far.
struct Moment {
    now: u64,
    admitted: u64,
    /// Drawn and not used, by all shards.
    left: u64,
}

/// Any number of shards, any order of takes: nothing is admitted that no bucket issued, and nothing is lost.
pub(super) fn leases(script: &mut Script<'_>) {
    let declared = Declared { capacity: script.number() % 20_000 + 1, seconds: script.number() % 60 + 1 };
    let text = format!("{}:{}", declared.capacity, declared.seconds);
    let limit = Arc::new(SharedLimit::new(&RateLimit::parse(&text).unwrap_or_default()));
    let shards = u16::from(script.below(8)) + 1;
    let mut leases: Vec<Lease> = (0..shards).map(|_| Lease::new(Arc::clone(&limit), shards)).collect();
    let mut moments = vec![Moment { now: 0, admitted: 0, left: 0 }];
    let (mut now, mut admitted) = (0, 0);
    while let Some(deed) = script.byte() {
        if deed % 4 == 0 {
            now += u64::from(script.byte().unwrap_or_default()) << (deed >> 3);
        }
        let shard = usize::from(script.byte().unwrap_or_default()) % leases.len();
        let Some(lease) = leases.get_mut(shard) else { continue };
        let tokens = u64::from(script.byte().unwrap_or_default()) >> (deed >> 5);
        match lease.take(tokens, Instant::from_nanos(now)) {
            Ok(()) => admitted += tokens,
            Err(_) => assert_eq!(lease.left(), 0, "who is refused keeps nothing from others"),
        }
        let left = leases.iter().map(Lease::left).sum();
        assert!(left <= declared.capacity / 8, "{left} of {text} lie in leases of {shards} shards");
        moments.push(Moment { now, admitted, left });
    }
    windows_are_bounded(declared, &moments);
    drop(leases);
    let later = Instant::from_nanos(now + declared.seconds * SECOND);
    assert_eq!(limit.draw(declared.capacity, declared.capacity, later), declared.capacity, "{text}: a period later it is full");
}

fn windows_are_bounded(declared: Declared, moments: &[Moment]) {
    for (index, begin) in moments.iter().enumerate() {
        for end in moments.iter().skip(index) {
            let issued = u128::from(end.now - begin.now) * u128::from(declared.capacity) / u128::from(declared.seconds * SECOND);
            let most = u128::from(declared.capacity + begin.left) + issued + 1;
            let admitted = end.admitted - begin.admitted;
            assert!(
                u128::from(admitted) <= most,
                "{declared:?}: {admitted} from {} to {} ns, at most {most}",
                begin.now,
                end.now
            );
        }
    }
}
