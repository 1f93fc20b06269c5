//! Numbers of writes: who wrote last wins (DESIGN 15). Never repeats a number, not even after a crash: the epoch is raised
//! and synced at every start.

/// start epoch (24 bit) ‖ counter (40 bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    last: u64,
}

const COUNTER_BITS: u32 = 40;

impl Sequence {
    /// The sequence of one shard in the process that was given this start epoch.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { last: u64::from(epoch) << COUNTER_BITS }
    }

    /// Greater than every number before.
    #[expect(clippy::should_implement_trait, reason = "a sequence of numbers, not an iterator that may end")]
    pub fn next(&mut self) -> u64 {
        // 2^40 writes are reached after 12 days at a million a second; the numbers then run into the next epoch's, and still
        // never repeat within the process.
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_within_and_across_starts() {
        let mut first = Sequence::new(1);
        let (one, two) = (first.next(), first.next());
        assert!(one < two);
        assert_eq!(one, (1 << 40) + 1);
        assert!(two < Sequence::new(2).next());
    }
}
