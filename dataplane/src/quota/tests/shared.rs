//! Shared buckets and leases under several threads: what is admitted stays within the bounds, and everybody who may go on does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use proptest::prelude::*;
use schemas::config::Limits;

use super::{at, limit, limits};
use crate::clock::Instant;
use crate::limits::{LEASE_REFUSAL_MS, LEASE_UNUSED_MS_MAX};
use crate::quota::{Cost, Lease, Share, SharedBucket, SharedLimit, Tenant};

#[test]
fn a_shared_bucket_grants_what_there_is_between_two_bounds() {
    let bucket = SharedBucket::new(limit("100:1").buckets()[0]);
    assert_eq!(bucket.draw(10, 60, at(0)), 60);
    assert_eq!(bucket.draw(10, 60, at(0)), 40);
    assert_eq!(bucket.draw(1, 60, at(0)), 0);
    assert_eq!(bucket.draw(6, 60, at(50)), 0, "fewer than asked for stay where they are");
    assert_eq!(bucket.draw(5, 60, at(50)), 5);
    bucket.give_back(60);
    assert_eq!(bucket.draw(1, 100, at(50)), 60);
    bucket.give_back(60);
    assert_eq!(bucket.draw(1, 1_000, at(5_000)), 100, "what comes back to a full bucket is lost");
}

#[test]
fn all_buckets_of_a_limit_give_the_same() {
    let limit = SharedLimit::new(&limit("100:1,40:60"));
    assert_eq!(limit.draw(1, 60, at(0)), 40);
    assert_eq!(limit.draw(1, 60, at(1_000)), 0);
    assert_eq!(limit.draw(1, 60, at(3_000)), 2, "the first got back what it gave for nothing");
    limit.give_back(2);
    assert_eq!(limit.free_at(3, at(3_000)), at(4_500));
}

#[test]
fn blocks_follow_the_rate_and_come_back_unused() {
    let limit = Arc::new(SharedLimit::new(&limit("100000:1")));
    let mut lease = Lease::new(Arc::clone(&limit), 4);
    let mut left = Vec::new();
    for step in 0..50_000 {
        lease.take(1, Instant::from_nanos(step * 20_000)).expect("half of the limit");
        left.push(lease.left());
    }
    let (before, now) = (left.iter().max(), Instant::from_nanos(50_000 * 20_000));
    // 50,000 a second is 1,000 in 20 ms.
    assert!(before.is_some_and(|most| (500..=2_000).contains(most)), "{before:?}");
    lease.expire(now);
    assert_eq!(Some(&lease.left()), left.last(), "it is in use");
    lease.expire(now.after_ms(LEASE_UNUSED_MS_MAX + 1));
    assert_eq!(lease.left(), 0);
    assert_eq!(limit.draw(100_000, 100_000, now.after_ms(LEASE_UNUSED_MS_MAX + 501)), 100_000);
}

#[test]
fn small_limits_are_exact_whatever_the_shards() {
    let limit = Arc::new(SharedLimit::new(&limit("10:60")));
    let mut leases: Vec<_> = (0..64).map(|_| Lease::new(Arc::clone(&limit), 64)).collect();
    let admitted = (0..640).filter(|turn| leases[turn % 64].take(1, at(0)).is_ok()).count();
    assert_eq!(admitted, 10);
    assert!(leases[0].take(1, at(0)).is_err());
    let admitted = (0..640).filter(|turn| leases[turn % 64].take(1, at(6_000)).is_ok()).count();
    assert_eq!(admitted, 1);
}

#[test]
fn who_is_refused_asks_again_in_a_moment() {
    let limit = Arc::new(SharedLimit::new(&limit("100:100")));
    let mut lease = Lease::new(Arc::clone(&limit), 2);
    lease.take(100, at(0)).expect("it is full");
    assert_eq!(lease.take(60, at(0)).map_err(|refusal| refusal.seconds), Err(60));
    limit.give_back(80);
    assert!(lease.take(60, at(LEASE_REFUSAL_MS - 1)).is_err(), "remembered, whatever others give back");
    assert_eq!(lease.take(59, at(1)), Ok(()), "less than was refused may fit");
    lease.take(30, at(1)).expect_err("21 are left");
    assert!(lease.take(30, at(LEASE_REFUSAL_MS + 1)).is_err());
    limit.give_back(9);
    assert_eq!(lease.take(30, at(LEASE_REFUSAL_MS * 3)), Ok(()));
}

#[test]
fn a_tenants_connections_have_seats() {
    let tenant = Tenant::new(&Limits { connections_max: 2, ..Limits::default() });
    let seats = [tenant.connect(), tenant.connect()];
    assert!(seats.iter().all(Option::is_some) && tenant.connect().is_none());
    let fewer = tenant.changed(&Limits { connections_max: 1, ..Limits::default() });
    assert_eq!(fewer.connections(), 2, "they stay");
    drop(seats);
    let seat = fewer.connect();
    assert!(seat.is_some() && fewer.connect().is_none());
    assert_eq!(tenant.connections(), 1);
    let unlimited = fewer.changed(&Limits::default());
    assert!(unlimited.connect().is_some() && unlimited.connect().is_some());
}

#[test]
fn a_tenants_buckets_outlive_a_push_that_changes_nothing() {
    let of = |points: &str| Limits { tenant: limits("10:60", "", points), ..Limits::default() };
    let tenant = Tenant::new(&of("10:60"));
    let mut share = Share::new(&tenant, 1);
    let post = Cost::Telemetry { points: 10 };
    let mut other = Share::new(&tenant, 1);
    share.take(post, at(0)).expect("it is full");
    (0..10).for_each(|_| other.take(Cost::Message, at(0)).expect("it is full"));
    share.follow(&tenant.changed(&of("10:60")));
    assert!(share.take(post, at(0)).is_err() && share.take(Cost::Message, at(0)).is_err());
    share.follow(&tenant.changed(&of("20:60")));
    assert_eq!(share.take(post, at(20)), Ok(()));
    assert!(share.take(Cost::Message, at(20)).is_err(), "that one did not change");
}

/// Threads that take as fast as they can while a common clock runs. Returns what each admitted, and the clock at the end.
fn contend(limit: &Arc<SharedLimit>, shards: u16, step_ns: u64, rounds: u64, tokens: u64) -> (Vec<u64>, u64, u64) {
    let clock = AtomicU64::new(0);
    let run = || {
        let mut lease = Lease::new(Arc::clone(limit), shards);
        let mut admitted = 0;
        for _ in 0..rounds {
            let now = Instant::from_nanos(clock.fetch_add(step_ns, SeqCst));
            if lease.take(tokens, now).is_ok() {
                admitted += tokens;
            }
        }
        // Kept until all have ended, so that what is left is known.
        (admitted, lease)
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shards).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let left = ended.iter().map(|(_, lease)| lease.left()).sum();
    (ended.iter().map(|(admitted, _)| *admitted).collect(), left, clock.load(SeqCst))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn threads_share_what_is_issued_and_no_more(
        capacity in 1_u64..5_000, seconds in 1_u64..4, shards in 1_u16..5, step_ns in 1_u64..200_000, tokens in 1_u64..8,
    ) {
        let capacity = capacity.max(tokens);
        let text = format!("{capacity}:{seconds}");
        let limit = Arc::new(SharedLimit::new(&limit(&text)));
        let (admitted, left, end) = contend(&limit, shards, step_ns, 4_000, tokens);
        let asked = 4_000 * tokens * u64::from(shards);
        let admitted: u64 = admitted.iter().sum();
        let issued = capacity + end * capacity / (seconds * 1_000_000_000);
        prop_assert!(admitted + left <= issued, "{admitted} and {left} of {issued} issued");
        prop_assert!(left <= capacity / 8, "{left} of {capacity} lie in leases");
        // Whoever was refused was refused for want of tokens: those that lie in others' leases, those issued while the refusal was
        // remembered, and at most one take's each.
        let remembered = (LEASE_REFUSAL_MS * 1_000_000 + step_ns * u64::from(shards)) * capacity / (seconds * 1_000_000_000) + 1;
        let least = issued.min(asked).saturating_sub(capacity / 8 + remembered + tokens * u64::from(shards));
        prop_assert!(admitted >= least, "{admitted} of {issued} issued and {asked} asked for, at least {least}");
    }

    /// Draws and returns of all threads together leave the bucket as if one had made them.
    #[test]
    fn threads_lose_nothing(capacity in 1_u64..1_000, amounts in prop::collection::vec((1_u64..50, 0_u64..50), 1..200)) {
        let bucket = SharedBucket::new(limit(&format!("{capacity}:1")).buckets()[0]);
        let run = || {
            let kept = amounts.iter().map(|(most, back)| {
                let drawn = bucket.draw(1, *most, at(0));
                bucket.give_back(drawn.min(*back));
                drawn - drawn.min(*back)
            });
            kept.sum::<u64>()
        };
        let kept: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        prop_assert_eq!(kept + bucket.draw(0, u64::MAX, at(0)), capacity);
    }
}
