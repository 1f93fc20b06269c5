//! The wheel: deadlines on and beside ticks, leaps, what is cancelled; and any sequence, by the harness.

use proptest::prelude::*;

use super::{Wheel, harness};
use crate::clock::Instant;

fn at(milliseconds: u64) -> Instant {
    Instant::default().after_ms(milliseconds)
}

/// An entry with this deadline, inserted at `inserted`, comes out at `expected` if the wheel is asked every millisecond.
#[track_caller]
fn check(tick_ms: u64, inserted: u64, deadline: u64, expected: u64) {
    let mut wheel = Wheel::new(tick_ms, 1);
    assert_eq!(wheel.next_expired(at(inserted)), None);
    let token = wheel.insert(at(deadline), 'a');
    assert!(token.is_some());
    let due = (inserted..).find(|now| wheel.next_expired(at(*now)) == Some('a'));
    assert_eq!(due, Some(expected), "{deadline} ms of {tick_ms} ms ticks, inserted at {inserted} ms");
}

#[test]
fn a_deadline_is_met_at_the_tick_that_follows_it() {
    check(1, 0, 1, 1);
    check(10, 0, 1, 10);
    check(10, 0, 10, 10);
    check(10, 0, 11, 20);
    check(10, 15, 20, 20);
    // What has passed already: at the next tick.
    check(10, 25, 20, 30);
    check(10, 20, 20, 30);
    check(10, 0, 0, 10);
    // Beside the ends of levels.
    for edge in [64, 64 * 64, 64 * 64 * 64] {
        for deadline in [edge - 1, edge, edge + 1] {
            check(1, 0, deadline, deadline);
            check(1, deadline - 5, deadline, deadline);
        }
    }
}

#[test]
fn the_clock_may_leap() {
    let mut wheel = Wheel::new(100, 10);
    for key in [5_u64, 500, 50_000, 5_000_000, 500_000_000_000] {
        assert!(wheel.insert(at(key), key).is_some());
    }
    assert_eq!(wheel.expired(at(60_000)).collect::<Vec<_>>(), [5, 500, 50_000]);
    assert_eq!(wheel.expired(at(0)).count(), 0, "and back");
    assert_eq!(wheel.expired(Instant::from_nanos(u64::MAX)).collect::<Vec<_>>(), [5_000_000, 500_000_000_000]);
    assert!(wheel.insert(at(1), 1).is_some());
    assert_eq!(wheel.expired(Instant::from_nanos(u64::MAX)).count(), 0, "after the end of time nothing is due any more");
}

#[test]
fn a_stale_token_cancels_nothing() {
    let mut wheel = Wheel::new(10, 2);
    let first = wheel.insert(at(10), 'a').unwrap();
    assert_eq!(wheel.cancel(first), Some('a'));
    assert_eq!(wheel.cancel(first), None);
    let second = wheel.insert(at(10), 'b').unwrap();
    assert_eq!(wheel.cancel(first), None);
    assert_eq!(wheel.next_expired(at(10)), Some('b'));
    assert_eq!(wheel.cancel(second), None);
    assert!(wheel.is_empty());
}

#[test]
fn memory_is_what_the_entries_need() {
    let mut wheel = Wheel::new(10, 3);
    for round in 0..1_000 {
        let tokens: Vec<_> = (0..3).map(|key| wheel.insert(at(round * 1_000 + 500), key).unwrap()).collect();
        assert_eq!(wheel.insert(at(0), 9), None, "it is full");
        assert_eq!(wheel.cancel(tokens[0]), Some(0));
        assert_eq!(wheel.expired(at(round * 1_000 + 500)).count(), 2);
    }
    assert_eq!(wheel.nodes.len(), 3);
}

#[test]
fn it_says_until_when_nothing_is_due() {
    let mut wheel = Wheel::new(10, 2);
    assert_eq!(wheel.wake_at(), None);
    let token = wheel.insert(at(25), 'a').unwrap();
    assert_eq!(wheel.wake_at(), Some(at(30)));
    assert!(wheel.insert(at(1_000_000), 'b').is_some());
    assert_eq!(wheel.wake_at(), Some(at(30)));
    wheel.cancel(token);
    assert!(wheel.wake_at() <= Some(at(1_000_000)));
}

proptest! {
    #[test]
    fn any_script_holds_the_rules(script in prop::collection::vec(any::<u8>(), 0..400)) {
        harness::any(&script);
    }

    /// Deadlines as sessions have them: seconds to minutes, with ticks of a shard.
    #[test]
    fn any_near_deadlines_hold_the_rules(deeds in prop::collection::vec((0_u8..8, any::<u8>(), any::<u8>(), 0_u8..6), 0..200)) {
        let deeds = deeds.into_iter().flat_map(|(deed, high, low, shift)| [deed, high, low, shift]);
        harness::any(&[10, 0, 0, 0].into_iter().chain(deeds).collect::<Vec<_>>());
    }
}
