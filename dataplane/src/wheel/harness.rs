//! What must hold of the wheel for any sequence of insertions, cancellations and leaps of the clock: called by the property tests
//! and by the fuzz target. Panics when it does not hold, so the server never calls it.

use std::collections::BTreeMap;

use super::{Token, Wheel};
use crate::clock::Instant;

const ENTRIES_MAX: usize = 64;
/// Two centuries: half of what an instant can say.
const END_MS: u64 = 1 << 43;

/// Reads `script` as deeds and compares the wheel with an ordered map after each: every key comes out once, never before its
/// deadline, at most a tick after it, earlier ticks first; a cancelled one never.
///
/// # Panics
/// When one of these does not hold.
pub fn any(script: &[u8]) {
    let mut deeds = script.chunks_exact(4);
    let tick_ms = deeds.next().map_or(1, |first| u64::from(first[0]).max(1));
    let mut run = Run {
        wheel: Wheel::new(tick_ms, ENTRIES_MAX),
        tick_ms,
        model: BTreeMap::new(),
        tokens: Vec::new(),
        seen_ms: 0,
        next: 0,
        inserting: true,
    };
    for deed in deeds {
        // Leaps from a millisecond to a century.
        let amount = u64::from(u16::from_be_bytes([deed[1], deed[2]])) << (deed[3] % 27);
        match deed[0] % 8 {
            0..=2 => run.insert(run.seen_ms.saturating_add(amount)),
            // In the past.
            3 => run.insert(run.seen_ms.saturating_sub(amount)),
            4 => run.cancel(deed[1]),
            // The clock stands still, or is behind.
            5 => run.expire(run.seen_ms.saturating_sub(amount)),
            _ => run.expire(run.seen_ms.saturating_add(amount).min(END_MS)),
        }
        run.check();
    }
    run.inserting = false;
    run.expire(END_MS * 2);
    run.check();
    assert!(run.wheel.is_empty(), "at the end of time everything is due");
}

struct Run {
    wheel: Wheel<u32>,
    tick_ms: u64,
    /// The tick at which each key is due.
    model: BTreeMap<(u64, u32), ()>,
    tokens: Vec<(Token, u64, u32)>,
    seen_ms: u64,
    next: u32,
    /// While taking out what is due, too.
    inserting: bool,
}

impl Run {
    fn insert(&mut self, deadline_ms: u64) {
        let deadline = Instant::default().after_ms(deadline_ms.min(END_MS));
        let key = self.next;
        let Some(token) = self.wheel.insert(deadline, key) else {
            assert_eq!(self.model.len(), ENTRIES_MAX, "refused only when it is full");
            return;
        };
        self.next += 1;
        let seen = Instant::default().after_ms(self.seen_ms).nanos() / 1_000_000 / self.tick_ms;
        let tick = deadline.nanos().div_ceil(1_000_000).div_ceil(self.tick_ms).max(seen + 1);
        self.model.insert((tick, key), ());
        self.tokens.push((token, tick, key));
    }

    fn cancel(&mut self, argument: u8) {
        if self.tokens.is_empty() {
            return;
        }
        let (token, tick, key) = self.tokens[usize::from(argument) % self.tokens.len()];
        let known = self.model.remove(&(tick, key)).map(|()| key);
        assert_eq!(self.wheel.cancel(token), known, "once, and only before it is due");
    }

    fn expire(&mut self, now_ms: u64) {
        self.seen_ms = self.seen_ms.max(now_ms);
        let now = Instant::default().after_ms(now_ms);
        let tick = Instant::default().after_ms(self.seen_ms).nanos() / 1_000_000 / self.tick_ms;
        let mut due = Vec::new();
        while let Some(key) = self.wheel.next_expired(now) {
            let (_, at, _) = self.tokens.iter().find(|(_, _, known)| *known == key).copied().expect("a key that was inserted");
            assert!(self.model.remove(&(at, key)).is_some(), "{key} comes out once");
            due.push(at);
            // Whoever inserts what is overdue sees it at the next tick, not at once.
            if self.inserting && due.len().is_multiple_of(4) {
                self.insert(now_ms);
            }
        }
        assert!(due.is_sorted(), "{due:?}: earlier ticks first");
        assert!(due.last().is_none_or(|last| *last <= tick), "nothing early");
        let first = self.model.keys().next();
        assert!(first.is_none_or(|(first, _)| *first > tick), "{first:?} is late: it is tick {tick}");
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let first = self.model.keys().next().map(|(tick, _)| *tick);
        match (self.wheel.wake_at(), first) {
            (None, None) => {}
            (Some(wake_at), Some(first)) => {
                assert!(wake_at <= Instant::default().after_ms(first.saturating_mul(self.tick_ms)), "sleeps too long");
            }
            (wake_at, first) => panic!("{wake_at:?} but {first:?}"),
        }
    }
}
