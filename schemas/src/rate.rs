//! ThingsBoard's rate limits as text: `capacity:seconds[,capacity:seconds…]`, each a bucket that must have room; empty text is no
//! limit. Never counts anything.

use std::fmt;

/// Buckets of one limit, at most.
pub const BUCKETS_MAX: usize = 8;
/// Longest period of a bucket, in seconds: 31 days.
const SECONDS_MAX: u64 = 2_678_400;

/// One bucket: `capacity` in every `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub capacity: u64,
    pub seconds: u64,
}

/// A limit: all buckets must have room. None: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit(Vec<Bucket>);

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit {0:?}: expected capacity:seconds[,capacity:seconds…], such as 100:1,2000:60, of at most {BUCKETS_MAX} parts")]
pub struct InvalidRateLimit(String);

impl RateLimit {
    /// # Errors
    /// [`InvalidRateLimit`].
    pub fn parse(text: &str) -> Result<Self, InvalidRateLimit> {
        let bucket = |part: &str| {
            let (capacity, seconds) = part.trim().split_once(':')?;
            let bucket = Bucket { capacity: capacity.parse().ok()?, seconds: seconds.parse().ok()? };
            (bucket.capacity > 0 && (1..=SECONDS_MAX).contains(&bucket.seconds)).then_some(bucket)
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let buckets: Option<Vec<Bucket>> = text.split(',').map(bucket).collect();
        match buckets {
            Some(buckets) if buckets.len() <= BUCKETS_MAX => Ok(Self(buckets)),
            _ => Err(InvalidRateLimit(text.chars().take(64).collect())),
        }
    }

    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.0
    }

    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bucket) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", bucket.capacity, bucket.seconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(RateLimit::parse(text).ok().map(|limit| limit.to_string()).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn takes_what_thingsboard_takes_and_nothing_else() {
        check("", Some(""));
        check("  ", Some(""));
        check("100:1", Some("100:1"));
        check("100:1,2000:60", Some("100:1,2000:60"));
        check(" 100:1, 2000:60 ", Some("100:1,2000:60"));
        for bad in ["100", "100:", ":1", "0:1", "1:0", "-1:1", "1:1,", "1:1:1", "a:1", "1:99999999", "99999999999999999999:1"] {
            check(bad, None);
        }
        check(&["1:1"; BUCKETS_MAX].join(","), Some("1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1"));
        check(&["1:1"; BUCKETS_MAX + 1].join(","), None);
    }
}
