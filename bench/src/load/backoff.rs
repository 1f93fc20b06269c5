//! When a device that lost its connection tries again: at once, then after pauses that double, each anywhere between its half and
//! its whole, so that those who were lost together do not come back together. Arithmetic; never sleeps.

/// Pauses of one kind of client, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Backoff {
    /// The pause after the `failed`-th attempt in a row; `dice` is any number.
    pub(crate) fn pause(self, failed: u32, dice: u64) -> u64 {
        let Some(doublings) = failed.checked_sub(1) else { return 0 };
        let longest = self.least.checked_shl(doublings.min(40)).unwrap_or(u64::MAX).clamp(self.least, self.most.max(self.least));
        longest - scattered(dice) % (longest / 2 + 1)
    }
}

/// Neighbouring numbers become unlike ones (the finaliser of `SplitMix64`).
pub(crate) fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::SECOND;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { least: SECOND, most: 60 * SECOND };
        assert_eq!(backoff.pause(0, 7), 0, "the first attempt does not wait");
        for (failed, longest) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60), (u32::MAX, 60)] {
            for dice in 0..100 {
                let pause = backoff.pause(failed, dice);
                assert!(pause <= longest * SECOND && pause >= longest * SECOND / 2, "{failed} failed: {pause}");
            }
        }
    }

    #[test]
    fn those_who_were_lost_together_come_back_apart() {
        let backoff = Backoff { least: SECOND, most: SECOND };
        let mut pauses: Vec<u64> = (0..1_000).map(|client| backoff.pause(1, client) / (SECOND / 20)).collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() >= 10, "every twentieth of the second half is used: {pauses:?}");
    }
}
