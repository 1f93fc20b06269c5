//! Failed logins: who is refused when, and what it costs to get around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::at;
use crate::limits::{LOGIN_FAILURES_MAX, LOGIN_REFUSAL_MS, LOGIN_WINDOW_MS};
use crate::quota::{Attempt, LoginPolicy, Origin, Shown, Throttle};

fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// One of many hosts.
fn host(number: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits((0x2001_0DB8_u128 << 96) | (u128::from(number) << 64) | 1))
}

fn attempt(throttle: &Throttle, address: IpAddr, name: &str, secret: &str) -> Attempt {
    throttle.attempt(address, Shown { name: name.as_bytes(), secret: secret.as_bytes() })
}

/// Fails with `count` secrets.
fn guess(throttle: &mut Throttle, address: IpAddr, name: &str, count: u32, milliseconds: u64) {
    for number in 0..count {
        let attempt = attempt(throttle, address, name, &format!("guess {number} at {milliseconds}"));
        throttle.failed(attempt, at(milliseconds));
    }
}

#[track_caller]
fn check(throttle: &Throttle, address: IpAddr, name: &str, milliseconds: u64, expected: Option<u32>) {
    let attempt = attempt(throttle, address, name, "right");
    let refused = throttle.check(attempt, at(milliseconds)).err().map(|refusal| refusal.seconds);
    assert_eq!(refused, expected, "{name} from {address} at {milliseconds} ms");
}

#[test]
fn a_credential_is_refused_after_ten_failures_wherever_they_come_from() {
    let mut throttle = Throttle::default();
    for last in 1..LOGIN_FAILURES_MAX {
        guess(&mut throttle, v4(u8::try_from(last).unwrap()), "pump", 1, 0);
    }
    check(&throttle, v4(99), "pump", 0, None);
    guess(&mut throttle, v4(77), "pump", 1, 1_000);
    check(&throttle, v4(99), "pump", 1_000, Some(60));
    check(&throttle, v4(99), "valve", 1_000, None);
    check(&throttle, v4(99), "pump", 1_000 + LOGIN_REFUSAL_MS - 1, Some(1));
    check(&throttle, v4(99), "pump", 1_000 + LOGIN_REFUSAL_MS, None);
}

#[test]
fn an_address_is_refused_after_many_secrets_and_not_after_one_secret_many_times() {
    let mut throttle = Throttle::default();
    for round in 0..100 {
        let same = attempt(&throttle, v4(1), &format!("meter {}", round % 3), "outdated");
        throttle.failed(same, at(round));
    }
    check(&throttle, v4(1), "pump", 100, None);
    check(&throttle, v4(1), "meter 0", 100, Some(60));
    // A few more than ten at most, as two secrets of 64 may count as one.
    (0..24).for_each(|number| guess(&mut throttle, v4(2), &format!("name {number}"), 1, 0));
    check(&throttle, v4(2), "pump", 0, Some(60));
    check(&throttle, v4(3), "pump", 0, None);
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let mut throttle = Throttle::default();
    for round in 0..10 {
        guess(&mut throttle, v4(1), "pump", LOGIN_FAILURES_MAX - 1, round * LOGIN_WINDOW_MS);
        check(&throttle, v4(1), "pump", round * LOGIN_WINDOW_MS, None);
    }
}

#[test]
fn what_logged_in_before_is_not_locked_out_by_others() {
    let mut throttle = Throttle::default();
    let good = attempt(&throttle, v4(1), "pump", "right");
    throttle.succeeded(good);
    guess(&mut throttle, v4(2), "pump", 100, 0);
    (0..50).for_each(|number| guess(&mut throttle, v4(1), &format!("name {number}"), 1, 0));
    check(&throttle, v4(1), "pump", 0, None);
    check(&throttle, v4(3), "pump", 0, Some(60));
    let wrong = attempt(&throttle, v4(1), "pump", "wrong");
    assert!(throttle.check(wrong, at(0)).is_err(), "it is the secret that is trusted, not the address");
    throttle.failed(good, at(0));
    check(&throttle, v4(1), "pump", 0, Some(60));
}

#[test]
fn no_failures_allowed_means_no_throttle() {
    let mut throttle = Throttle::new(LoginPolicy { failures: 0, ..LoginPolicy::default() });
    guess(&mut throttle, v4(1), "pump", 100, 0);
    check(&throttle, v4(1), "pump", 0, None);
}

#[test]
fn an_address_is_one_ipv4_host_or_a_64() {
    let same = |one: &str, other: &str| {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().expect("a literal"));
        origin(one) == origin(other)
    };
    assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
    assert!(!same("0.0.0.0", "::"));
}

/// Somebody with more addresses than there are records wants to go on guessing one credential, and fails in other names so that
/// its record is pushed out.
#[test]
fn pushing_out_the_record_of_a_credential_costs_more_than_it_gives() {
    let records = 512;
    let mut throttle = Throttle::with_records(LoginPolicy::default(), records, 64);
    let (mut guesses, mut floods) = (0_u32, 0_u64);
    while floods < 20_000 {
        let guessing = attempt(&throttle, host(floods), "pump", &format!("guess {guesses}"));
        if throttle.check(guessing, at(0)).is_ok() {
            throttle.failed(guessing, at(0));
            guesses += 1;
        } else {
            guess(&mut throttle, host(1 << 31 | floods), &format!("name {floods}"), 1, 0);
            floods += 1;
        }
    }
    // Ten at first, then one for about as many failures as there are records.
    let bought = u64::from(guesses - LOGIN_FAILURES_MAX);
    assert!(bought * (records as u64 / 4) <= floods, "{bought} more guesses for {floods} failures");
}

#[test]
fn a_flood_of_addresses_does_not_push_out_one_that_is_refused() {
    let mut throttle = Throttle::with_records(LoginPolicy::default(), 512, 64);
    (0..24).for_each(|number| guess(&mut throttle, v4(1), &format!("name {number}"), 1, 0));
    check(&throttle, v4(1), "pump", 0, Some(60));
    (0..20_000).for_each(|number| guess(&mut throttle, host(number), &format!("flood {number}"), 1, 0));
    check(&throttle, v4(1), "pump", 0, Some(60));
    // And an address that is new is not taken for one that failed before.
    guess(&mut throttle, v4(2), "somebody", 1, 0);
    check(&throttle, v4(2), "pump", 0, None);
}
