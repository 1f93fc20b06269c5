//! Who has how much of something that the tenants of a shard share: one of them may have half of it, so that there is room for others
//! whatever it does. Counts only; never refuses anything itself.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use schemas::id::TenantId;

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    count: usize,
    bytes: usize,
}

/// At most so many of it, and so many bytes.
#[derive(Debug, Default)]
pub(super) struct Shares<const COUNT: usize, const BYTES: usize> {
    all: Held,
    /// Those that have any.
    tenants: HashMap<TenantId, Held, RandomState>,
}

impl<const COUNT: usize, const BYTES: usize> Shares<COUNT, BYTES> {
    /// May this tenant have another one of so many bytes?
    pub(super) fn has_room(&self, tenant: TenantId, bytes: usize) -> bool {
        self.all.count < COUNT && self.of(tenant).count < COUNT / 2 && self.may_grow(tenant, bytes)
    }

    /// May one that the tenant has become so much larger?
    pub(super) fn may_grow(&self, tenant: TenantId, bytes: usize) -> bool {
        self.all.bytes + bytes <= BYTES && self.of(tenant).bytes + bytes <= BYTES / 2
    }

    fn of(&self, tenant: TenantId) -> Held {
        self.tenants.get(&tenant).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, tenant: TenantId, bytes: usize) {
        self.all.count += 1;
        self.tenants.entry(tenant).or_default().count += 1;
        self.grow(tenant, bytes);
    }

    pub(super) fn grow(&mut self, tenant: TenantId, bytes: usize) {
        self.all.bytes += bytes;
        self.tenants.entry(tenant).or_default().bytes += bytes;
    }

    pub(super) fn remove(&mut self, tenant: TenantId, bytes: usize) {
        let Some(own) = self.tenants.get_mut(&tenant) else { return };
        for held in [&mut self.all, &mut *own] {
            held.count = held.count.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(bytes);
        }
        if own.count == 0 {
            self.tenants.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_half_of_it_and_what_is_gone_is_not_remembered() {
        let [one, two, three] = [1, 2, 3].map(|number| TenantId(uuid::Uuid::from_u128(number)));
        let mut shares = Shares::<4, 100>::default();
        shares.add(one, 20);
        assert!(shares.has_room(one, 30) && !shares.has_room(one, 31) && shares.has_room(two, 50));
        shares.add(one, 20);
        assert!(!shares.has_room(one, 0) && shares.has_room(two, 0), "two of four");
        assert!(shares.may_grow(one, 10) && !shares.may_grow(one, 11));
        shares.grow(one, 10);
        shares.add(two, 50);
        assert!(!shares.has_room(three, 1) && shares.has_room(three, 0), "there are no more bytes");
        shares.add(two, 0);
        assert!(!shares.has_room(three, 0), "nor places");
        for (tenant, bytes) in [(one, 20), (one, 30), (two, 50), (two, 0)] {
            shares.remove(tenant, bytes);
        }
        assert_eq!((shares.all.count, shares.all.bytes, shares.tenants.len()), (0, 0, 0));
    }
}
