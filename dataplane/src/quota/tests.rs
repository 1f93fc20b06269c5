//! Limits: tables of what is allowed when, and any sequence of deeds by the harness.

mod admission;
mod shared;
mod throttle;

use proptest::prelude::*;
use schemas::config::RateLimits;
use schemas::rate::RateLimit;

use super::{Buckets, Cost, Device, Exceeded, Kind, Limit, Rates, Reason, Refusals, RetryAfter, Share, Tenant, harness};
use crate::clock::Instant;

fn at(milliseconds: u64) -> Instant {
    Instant::default().after_ms(milliseconds)
}

fn limit(text: &str) -> RateLimit {
    RateLimit::parse(text).expect("a limit")
}

fn limits(messages: &str, telemetry_messages: &str, telemetry_data_points: &str) -> RateLimits {
    RateLimits {
        messages: limit(messages),
        telemetry_messages: limit(telemetry_messages),
        telemetry_data_points: limit(telemetry_data_points),
    }
}

/// Takes `(tokens, at milliseconds)` one after the other; `None`: taken, else the seconds to wait.
#[track_caller]
fn check(text: &str, takes: &[(u64, u64, Option<u32>)]) {
    let mut buckets = Buckets::new(&limit(text));
    for (index, (tokens, milliseconds, expected)) in takes.iter().enumerate() {
        let refused = buckets.take(*tokens, at(*milliseconds)).err().map(|RetryAfter { seconds }| seconds);
        assert_eq!(refused, *expected, "{text:?}: take {index}, {tokens} at {milliseconds} ms");
    }
}

#[test]
fn a_bucket_allows_its_capacity_at_once_and_its_rate_for_ever() {
    check("", &[(u64::MAX, 0, None), (u64::MAX, 0, None)]);
    check("1:1", &[(1, 0, None), (1, 0, Some(1)), (1, 999, Some(1)), (1, 1_000, None), (1, 1_000, Some(1))]);
    // It does not begin with the clock: a minute after the first, not at the full minute.
    check("1:60", &[(1, 59_000, None), (1, 60_000, Some(59)), (1, 118_999, Some(1)), (1, 119_000, None)]);
    check("3:1", &[(3, 0, None), (1, 333, Some(1)), (1, 334, None), (1, 666, Some(1)), (1, 667, None), (1, 1_000, None)]);
    check("100:1", &[(100, 0, None), (1, 9, Some(1)), (1, 10, None), (50, 500, Some(1)), (50, 510, None)]);
    // What is not used beyond a full bucket is lost.
    check("5:10", &[(5, 0, None), (5, 1_000_000, None), (1, 1_000_000, Some(2)), (1, 1_002_000, None)]);
    check("7001:13", &[(7_001, 0, None), (1, 1, Some(1)), (1, 2, None), (7_000, 12_999, Some(1)), (7_000, 13_000, None)]);
}

#[test]
fn more_than_fits_is_refused_always() {
    check("5:10", &[(6, 0, Some(10)), (5, 0, None), (6, 60_000, Some(10))]);
}

#[test]
fn all_buckets_must_have_room_or_none_is_charged() {
    check("2:1,3:60", &[(2, 0, None), (1, 0, Some(1)), (1, 1_000, None), (1, 2_000, Some(18)), (1, 20_000, None)]);
    // The first has room for 2 all the time, and still has it after the second refused.
    check("2:1,1:60", &[(2, 0, Some(60)), (2, 0, Some(60)), (1, 0, None), (1, 59_000, Some(1)), (1, 60_000, None)]);
}

#[test]
fn nothing_drifts_in_a_decade() {
    // 3 a second, asked for every 10 ms: 10 ms more than a third of a second when it is not one of those moments.
    for (text, per_s) in [("3:1", 3), ("7:7", 1), ("7001:7", 1_000)] {
        let mut buckets = Buckets::new(&limit(text));
        let decade = 10 * 365 * 86_400 * 1_000;
        buckets.take(1, at(0)).expect("it is full");
        buckets.take(limit(text).buckets()[0].capacity, at(decade)).expect("full again");
        let taken: u64 = (1..=1_000).map(|ms| u64::from(buckets.take(1, at(decade + ms)).is_ok())).sum();
        assert_eq!(taken, per_s, "{text:?}");
    }
}

#[test]
fn extremes_are_counted_too() {
    let most = u64::MAX;
    let text = format!("{most}:1");
    check(&text, &[(most, 0, None), (most, 0, Some(1)), (most / 2, 500, None), (most, 2_000, None), (most, 2_000, None)]);
    check("1:2678400", &[(1, 0, None), (1, 1, Some(2_678_400)), (1, 2_678_400_000, None)]);
    check(&format!("{most}:2678400"), &[(most, 0, None), (most, 1, Some(2_678_400)), (1, 2, None)]);
}

#[test]
fn posts_consume_messages_and_points_and_all_else_messages() {
    let rates = Rates::new(&limits("1:60", "2:60", "10:60")).expect("limited");
    let mut device = Device::new(Some(&rates));
    let take = |device: &mut Device, cost| device.take_own(cost, at(0)).err().map(|refusal| refusal.seconds);
    assert_eq!(take(&mut device, Cost::Message), None);
    assert_eq!(take(&mut device, Cost::Message), Some(60));
    assert_eq!(take(&mut device, Cost::Telemetry { points: 8 }), None);
    assert_eq!(take(&mut device, Cost::Telemetry { points: 3 }), Some(6), "the points");
    assert_eq!(take(&mut device, Cost::Telemetry { points: 2 }), None, "the refused post consumed no message");
    assert_eq!(take(&mut device, Cost::Telemetry { points: 0 }), Some(30), "the messages");
    assert!(!device.is_full(at(59_999)) && device.is_full(at(60_000)));
}

#[test]
fn a_post_takes_from_the_device_and_its_tenant_or_from_neither() {
    let tenant = Tenant::new(&schemas::config::Limits {
        tenant: limits("", "", "10:60"),
        gateway: limits("", "", "8:60"),
        ..Default::default()
    });
    let mut share = Share::new(&tenant, 1);
    let mut gateway = Device::new(share.rates(Kind::Gateway));
    let mut device = Device::new(share.rates(Kind::Device));
    let post = |points| Cost::Telemetry { points };
    let exceeded = |limit, seconds| Err(Exceeded { limit, retry_after: RetryAfter { seconds } });
    assert_eq!(gateway.take(&mut share, post(9), at(0)), exceeded(Limit::Device, 60));
    assert_eq!(device.take(&mut share, post(6), at(0)), Ok(()), "no limit of its own");
    assert_eq!(gateway.take(&mut share, post(5), at(20)), exceeded(Limit::Tenant, 6));
    assert_eq!(gateway.take(&mut share, post(4), at(20)), Ok(()), "and the gateway still has its eight");
    assert_eq!(gateway.take(&mut share, post(5), at(40)), exceeded(Limit::Device, 8));
}

#[test]
fn buckets_outlive_a_push_that_changes_nothing() {
    let rates = |points| Rates::new(&limits("", "", points));
    let post = Cost::Telemetry { points: 10 };
    let mut device = Device::new(rates("10:60").as_ref());
    device.take_own(post, at(0)).expect("it is full");
    device.follow(rates("10:60").as_ref());
    assert!(device.take_own(post, at(0)).is_err(), "the same limit again");
    device.follow(rates("10:61").as_ref());
    assert_eq!(device.take_own(post, at(0)), Ok(()), "another limit begins full");
    device.follow(None);
    assert_eq!(device.take_own(post, at(0)), Ok(()));
    device.follow(rates("10:60").as_ref());
    assert_eq!((device.take_own(post, at(0)).is_ok(), device.take_own(post, at(0)).is_ok()), (true, false));
}

#[test]
fn a_device_may_have_as_many_buckets_as_can_be_declared() {
    let all = ["1000:1"; schemas::rate::BUCKETS_MAX].join(",");
    let mut device = Device::new(Rates::new(&limits(&all, &all, &all)).as_ref());
    let taken = (0..2_000).filter(|_| device.take_own(Cost::Telemetry { points: 2 }, at(0)).is_ok()).count();
    assert_eq!(taken, 500);
}

#[test]
fn refusals_are_counted_by_reason() {
    let mut refusals = Refusals::default();
    assert_eq!(refusals.iter().count(), 0);
    refusals.count(Reason::from(Limit::Tenant));
    refusals.count(Reason::from(Limit::Device));
    refusals.count(Reason::from(Limit::Device));
    assert_eq!(refusals.iter().collect::<Vec<_>>(), [("device_rate", 2), ("tenant_rate", 1)]);
    assert_eq!(refusals.of(Reason::Payload), 0);
    let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len(), "names are told apart");
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
}

proptest! {
    #[test]
    fn any_script_holds_the_rules(script in prop::collection::vec(any::<u8>(), 0..400)) {
        harness::any(&script);
    }

    /// Buckets as people declare them: small numbers, whole seconds.
    #[test]
    fn any_plausible_bucket_is_exact(
        capacity in 1_u16..2_000, seconds in 1_u16..4_000, takes in prop::collection::vec((0_u8..2, 0_u8..34, any::<u16>(), 0_u8..100), 0..60),
    ) {
        let number = |shift: u8, value: u16| [&[shift][..], &value.to_be_bytes()].concat();
        let mut script = [vec![0], number(0, capacity), number(0, seconds)].concat();
        for (still, shift, pause, tokens) in takes {
            script.push(still);
            if still == 0 {
                script.extend(number(shift, pause));
            }
            script.extend(number(0, tokens.into()));
        }
        harness::any(&script);
    }
}
