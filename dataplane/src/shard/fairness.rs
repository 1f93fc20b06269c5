//! Whose bytes are next: deficit round robin over tenants (DESIGN 8.4, 14), so that a tenant that sends more than its share
//! waits behind its own messages and nobody else's. Knows tenants, connections and bytes; never reads any.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::TenantId;

use super::slab::Key;
use crate::clock::Instant;
use crate::limits;

/// Bytes a tenant may have served before the next one is looked at.
const QUANTUM_BYTES: i64 = 16 << 10;
/// What serving a connection costs beside its bytes, in bytes.
const SERVICE_BYTES: i64 = 128;

/// What one tenant has waiting.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Key>,
    /// What it may still have served; negative after a large packet.
    deficit: i64,
    /// Bytes of its connections that were read and not consumed.
    kept_bytes: usize,
    /// It has its place in the ring.
    queued: bool,
}

/// The connections to serve, by tenant. Connections without a CONNECT count as one tenant, the nil one.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    lines: HashMap<TenantId, Line, RandomState>,
    ring: VecDeque<TenantId>,
    waiting: usize,
    kept_bytes: usize,
    /// Tenants that keep anything.
    keeping: usize,
    /// Who was served last, and when it last was another than before.
    served: Option<TenantId>,
    shared: Option<Instant>,
}

impl Fairness {
    /// Connections to serve.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn push(&mut self, tenant: TenantId, key: Key) {
        let line = self.lines.entry(tenant).or_default();
        line.waiting.push_back(key);
        self.waiting += 1;
        if !std::mem::replace(&mut line.queued, true) {
            self.ring.push_back(tenant);
        }
    }

    /// The next connection and whose it is.
    pub(super) fn next(&mut self) -> Option<(TenantId, Key)> {
        loop {
            let tenant = *self.ring.front()?;
            let Some(line) = self.lines.get_mut(&tenant) else {
                self.ring.pop_front();
                continue;
            };
            if line.waiting.is_empty() {
                self.ring.pop_front();
                line.queued = false;
                // Who waits for nothing saves nothing up; what it took in advance it still owes, so its line stays: at most one
                // for each tenant that ever had a device here.
                line.deficit = line.deficit.min(0);
                if line.kept_bytes == 0 && line.deficit == 0 {
                    self.lines.remove(&tenant);
                }
            } else if line.deficit <= 0 {
                line.deficit += QUANTUM_BYTES;
                self.ring.rotate_left(1);
            } else if let Some(key) = line.waiting.pop_front() {
                self.waiting -= 1;
                return Some((tenant, key));
            }
        }
    }

    /// Bytes that may be consumed in one turn: what comes meanwhile waits for its end, and so does every acknowledgement, which
    /// is cheaper by message and longer for those who share the shard with a tenant that sends all it can.
    pub(super) fn turn_bytes(&self, now: Instant) -> usize {
        match self.shared {
            Some(shared) if now.ms_since(shared) < limits::TURN_SHARED_MS => limits::TURN_SHARED_BYTES_MAX,
            _ => limits::TURN_BYTES_MAX,
        }
    }

    /// Counts what serving a connection consumed.
    pub(super) fn charge(&mut self, tenant: TenantId, bytes: usize, now: Instant) {
        if self.served.replace(tenant).is_some_and(|before| before != tenant) {
            self.shared = Some(now);
        }
        if let Some(line) = self.lines.get_mut(&tenant) {
            line.deficit -= i64::try_from(bytes).unwrap_or(i64::MAX / 2) + SERVICE_BYTES;
        }
    }

    /// A connection of this tenant kept `before` bytes and keeps `after` now.
    pub(super) fn keep(&mut self, tenant: TenantId, before: usize, after: usize) {
        if before == after {
            return;
        }
        let line = self.lines.entry(tenant).or_default();
        let (was, is) = (line.kept_bytes, (line.kept_bytes + after).saturating_sub(before));
        line.kept_bytes = is;
        let idle = is == 0 && !line.queued && line.deficit == 0;
        self.kept_bytes = (self.kept_bytes + is).saturating_sub(was);
        self.keeping = (self.keeping + usize::from(is > 0)).saturating_sub(usize::from(was > 0));
        if idle {
            self.lines.remove(&tenant);
        }
    }

    /// Bytes kept by all connections together.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Does this tenant keep more than its part of what all keep?
    pub(super) fn above_share(&self, tenant: TenantId) -> bool {
        let kept = self.lines.get(&tenant).map_or(0, |line| line.kept_bytes);
        kept.saturating_mul(self.keeping.max(1)) >= self.kept_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::slab::Slab;

    fn tenants() -> [TenantId; 2] {
        [1, 2].map(|number| TenantId(uuid::Uuid::from_u128(number)))
    }

    fn keys(count: usize) -> Vec<Key> {
        let mut slab = Slab::default();
        (0..count).map(|_| slab.insert(()).unwrap()).collect()
    }

    /// Serves `turns` connections of `bytes` bytes each; every one is ready again at once. Counts per tenant.
    fn serve(fairness: &mut Fairness, turns: usize, bytes: impl Fn(TenantId) -> usize) -> HashMap<TenantId, usize> {
        let mut served = HashMap::new();
        for _ in 0..turns {
            let (tenant, key) = fairness.next().unwrap();
            fairness.charge(tenant, bytes(tenant), Instant::default());
            fairness.push(tenant, key);
            *served.entry(tenant).or_default() += bytes(tenant);
        }
        served
    }

    #[test]
    fn tenants_share_bytes_alike_whatever_their_connections() {
        let [many, one] = tenants();
        let keys = keys(1_001);
        let mut fairness = Fairness::default();
        keys[..1_000].iter().for_each(|key| fairness.push(many, *key));
        fairness.push(one, keys[1_000]);
        let served = serve(&mut fairness, 10_000, |_| 1_000);
        let ratio = served[&many] as f64 / served[&one] as f64;
        assert!((0.95..1.05).contains(&ratio), "{ratio}");
    }

    #[test]
    fn turns_are_short_while_tenants_share_the_shard() {
        let [greedy, modest] = tenants();
        let at = |ms| Instant::default().after_ms(ms);
        let mut fairness = Fairness::default();
        let mut served = |tenant, ms| {
            fairness.charge(tenant, 100, at(ms));
            fairness.turn_bytes(at(ms))
        };
        assert_eq!(served(greedy, 1), limits::TURN_BYTES_MAX);
        assert_eq!(served(greedy, 2), limits::TURN_BYTES_MAX);
        assert_eq!(served(modest, 3), limits::TURN_SHARED_BYTES_MAX);
        assert_eq!(served(greedy, 4), limits::TURN_SHARED_BYTES_MAX);
        assert_eq!(served(greedy, 4 + limits::TURN_SHARED_MS - 1), limits::TURN_SHARED_BYTES_MAX);
        assert_eq!(served(greedy, 4 + limits::TURN_SHARED_MS), limits::TURN_BYTES_MAX);
    }

    #[test]
    fn large_packets_are_paid_for_later() {
        let [large, small] = tenants();
        let keys = keys(2);
        let mut fairness = Fairness::default();
        fairness.push(large, keys[0]);
        fairness.push(small, keys[1]);
        let served = serve(&mut fairness, 20_000, |tenant| if tenant == large { 100_000 } else { 100 });
        // Serving costs something too, so small packets get a little less than half.
        let ratio = served[&large] as f64 / served[&small] as f64;
        assert!((0.9..2.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_tenant_alone_is_served_in_order_of_arrival_and_leaves_nothing_behind() {
        let [tenant, _] = tenants();
        let keys = keys(5);
        let mut fairness = Fairness::default();
        keys.iter().for_each(|key| fairness.push(tenant, *key));
        let served: Vec<_> = std::iter::from_fn(|| fairness.next()).map(|(_, key)| key).collect();
        assert_eq!(served, keys);
        assert_eq!((fairness.len(), fairness.lines.len(), fairness.ring.len()), (0, 0, 0));
    }

    #[test]
    fn shares_of_what_is_kept_follow_those_who_keep() {
        let [greedy, modest] = tenants();
        let mut fairness = Fairness::default();
        fairness.keep(greedy, 0, 9_000);
        fairness.keep(modest, 0, 1_000);
        assert!(fairness.above_share(greedy) && !fairness.above_share(modest));
        fairness.keep(greedy, 9_000, 0);
        assert_eq!(fairness.kept_bytes(), 1_000);
        assert!(fairness.above_share(modest), "whoever is alone has all of it");
        fairness.keep(modest, 1_000, 0);
        assert!(fairness.lines.is_empty());
    }
}
