//! How much of something somebody may have: rates of devices and tenants, logins that fail, connections, handshakes. Values that
//! answer; `now` is an argument. Never waits, never closes anything, never knows a protocol.
//!
//! What is whose (DESIGN 8.4, 14): a device's buckets live on its owner; a tenant's are shared by all shards, which lease blocks
//! from them; the login throttle and admission are each shard's own.

mod admission;
mod bucket;
mod device;
pub mod harness;
mod lease;
mod origin;
mod refusals;
mod shared;
mod tenant;
#[cfg(test)]
mod tests;
mod throttle;

pub use admission::{Admission, Decision, Place, Policy, Refused, Start};
pub use bucket::{Bucket, Buckets, Rule};
pub use device::{Cost, Device, Rates};
pub use lease::Lease;
pub use origin::Origin;
pub use refusals::{Reason, Refusals};
pub use shared::{SharedBucket, SharedLimit};
pub use tenant::{Kind, Seat, Share, Tenant};
pub use throttle::{Attempt, LoginPolicy, Shown, Throttle};

use crate::clock::Instant;

/// Too much at once. At least a second: HTTP's `Retry-After` knows nothing smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("too much at once; try again in {seconds} s")]
pub struct RetryAfter {
    pub seconds: u32,
}

impl RetryAfter {
    /// From now until then, rounded up.
    #[must_use]
    pub fn between(now: Instant, then: Instant) -> Self {
        let seconds = then.nanos().saturating_sub(now.nanos()).div_ceil(1_000_000_000).max(1);
        Self { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
    }
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Device,
    Tenant,
}

/// A rate limit has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit:?} limit: {retry_after}")]
pub struct Exceeded {
    pub limit: Limit,
    pub retry_after: RetryAfter,
}
