//! Key names and their ids on disk, per partition, so that they move with it (DESIGN 17). What is interned in memory only
//! never reaches disk: a new id is in the same batch as the first row that uses it. A name is never given up, so each tenant
//! may add a share of what the shard knows.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use foldhash::fast::RandomState;
use schemas::id::{PARTITIONS, Partition, TenantId};
use uuid::Uuid;

use crate::{
    limits,
    store::{
        Batch, Engine, Family, Range, StoreError,
        key::{self, Kind},
    },
};

/// The dictionaries of all partitions of one shard. Loaded with a store generation and dropped with it: a batch that was
/// never written leaves ids behind that exist in memory only.
#[derive(Debug, Default)]
pub struct Dictionary {
    partitions: HashMap<Partition, Names, RandomState>,
    names: usize,
    /// By the tenant that said a name first.
    tenants: HashMap<TenantId, usize, RandomState>,
}

/// The names of one partition.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, u32, RandomState>,
    /// By id. Ids are given one after the other from 1, so there are hardly any gaps.
    names: Vec<Option<Arc<str>>>,
}

impl Names {
    pub(super) fn id_of(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(super) fn name_of(&self, id: u32) -> Option<&str> {
        self.names.get(usize::try_from(id).ok()?)?.as_deref()
    }
}

/// The shard knows as many key names as it may, or as many of this tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard knows {most} key names and can take no new ones", most = limits::KEY_NAMES_PER_SHARD_MAX)]
pub struct DictionaryFull;

impl Dictionary {
    /// Reads the dictionaries of all partitions in a shard's store.
    ///
    /// # Errors
    /// The store cannot be read, or a name is damaged.
    pub fn load(engine: &dyn Engine) -> Result<Self, StoreError> {
        let mut dictionary = Self::default();
        for partition in (0..PARTITIONS).filter_map(Partition::new) {
            let (from, to) = key::kind_range(partition, Kind::KeyName);
            let mut damaged = None;
            let possible = |id: &u32| usize::try_from(*id).is_ok_and(|id| id <= limits::KEY_NAMES_PER_SHARD_MAX);
            engine.scan(Range::new(Kind::KeyName.family(), &from, &to), &mut |key, row| match (
                key::parse_key_name(key).filter(possible),
                read(row),
            ) {
                (Some(id), Some((name, tenant))) => {
                    dictionary.add((partition, id), name, tenant);
                    ControlFlow::Continue(())
                }
                _ => {
                    damaged = Some(StoreError::corrupted("key name", key, "no id or not UTF-8"));
                    ControlFlow::Break(())
                }
            })?;
            damaged.map_or(Ok(()), Err)?;
        }
        Ok(dictionary)
    }

    #[must_use]
    pub fn id_of(&self, partition: Partition, name: &str) -> Option<u32> {
        self.partitions.get(&partition)?.id_of(name)
    }

    #[must_use]
    pub fn name_of(&self, partition: Partition, id: u32) -> Option<&str> {
        self.partitions.get(&partition)?.name_of(id)
    }

    /// The names of one partition; `None` while it has none.
    pub(super) fn names(&self, partition: Partition) -> Option<&Names> {
        self.partitions.get(&partition)
    }

    /// The ids of those of the names that the partition knows: what [`crate::store::history`] wants.
    #[must_use]
    pub fn ids_of(&self, partition: Partition, names: &[String]) -> Vec<(String, u32)> {
        names.iter().filter_map(|name| Some((name.clone(), self.id_of(partition, name)?))).collect()
    }

    /// # Errors
    /// [`DictionaryFull`] when not so many new names of a tenant fit.
    pub fn require_room(&self, tenant: TenantId, names: usize) -> Result<(), DictionaryFull> {
        let own = self.tenants.get(&tenant).copied().unwrap_or(0);
        let fit = self.names + names <= limits::KEY_NAMES_PER_SHARD_MAX && own + names <= limits::KEY_NAMES_PER_SHARD_MAX / 2;
        // After a move to fewer shards there may be more than fit: those are known all the same.
        if names == 0 || fit { Ok(()) } else { Err(DictionaryFull) }
    }

    /// The id of a name; a new one is put into the batch. The caller has asked [`Self::require_room`].
    pub fn intern(&mut self, (partition, tenant): (Partition, TenantId), name: &str, batch: &mut Batch) -> u32 {
        if let Some(id) = self.id_of(partition, name) {
            return id;
        }
        let next = self.partitions.get(&partition).map_or(1, |names| names.names.len().max(1));
        // Far below: a shard knows at most KEY_NAMES_PER_SHARD_MAX names.
        let id = u32::try_from(next).unwrap_or(u32::MAX);
        let row = [name.as_bytes(), &[BEHIND_NAME], tenant.0.as_bytes()].concat();
        batch.put(Family::State, &key::key_name(partition, id), &row);
        self.add((partition, id), name, Some(tenant));
        id
    }

    fn add(&mut self, (partition, id): (Partition, u32), name: &str, tenant: Option<TenantId>) {
        let names = self.partitions.entry(partition).or_default();
        let name: Arc<str> = Arc::from(name);
        names.ids.insert(Arc::clone(&name), id);
        let place = id as usize;
        if names.names.len() <= place {
            names.names.resize(place + 1, None);
        }
        names.names[place] = Some(name);
        self.names += 1;
        if let Some(tenant) = tenant {
            *self.tenants.entry(tenant).or_default() += 1;
        }
    }
}

/// Between a name and the tenant that said it first: no byte of any name in UTF-8.
const BEHIND_NAME: u8 = 0xFF;

/// A name on disk, and whose it is. Earlier versions did not write that down.
fn read(row: &[u8]) -> Option<(&str, Option<TenantId>)> {
    let mut parts = row.splitn(2, |byte| *byte == BEHIND_NAME);
    let name = std::str::from_utf8(parts.next()?).ok()?;
    let tenant = parts.next().map(Uuid::from_slice).transpose().ok()?;
    Some((name, tenant.map(TenantId)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryEngine;

    const TENANT: TenantId = TenantId(Uuid::from_u128(9));

    #[test]
    fn ids_are_per_partition_and_survive_with_their_batch() {
        let engine = MemoryEngine::new();
        let mut dictionary = Dictionary::load(engine.as_ref()).unwrap();
        let mut batch = Batch::new();
        let (one, two) = (Partition::new(1).unwrap(), Partition::new(2).unwrap());
        assert_eq!(dictionary.intern((one, TENANT), "a", &mut batch), 1);
        assert_eq!(dictionary.intern((one, TENANT), "b", &mut batch), 2);
        assert_eq!(dictionary.intern((one, TENANT), "a", &mut batch), 1);
        assert_eq!(dictionary.intern((two, TENANT), "b", &mut batch), 1);
        assert_eq!(batch.len(), 3);
        engine.write(&batch).unwrap();

        let mut dictionary = Dictionary::load(engine.as_ref()).unwrap();
        assert_eq!((dictionary.id_of(one, "b"), dictionary.name_of(one, 2)), (Some(2), Some("b")));
        assert_eq!((dictionary.id_of(two, "a"), dictionary.name_of(two, 2)), (None, None));
        assert_eq!(dictionary.intern((one, TENANT), "c", &mut batch), 3);
        assert_eq!(dictionary.ids_of(one, &["x".to_owned(), "b".to_owned()]), [("b".to_owned(), 2)]);
        let other = TenantId(Uuid::nil());
        assert_eq!(dictionary.require_room(other, limits::KEY_NAMES_PER_SHARD_MAX), Err(DictionaryFull));
    }

    #[test]
    fn a_tenant_has_its_share_of_the_names_also_after_a_start() {
        let (engine, other) = (MemoryEngine::new(), TenantId(Uuid::nil()));
        let (mut batch, one) = (Batch::new(), Partition::new(1).unwrap());
        // Of an earlier version, which did not say whose it is.
        batch.put(Family::State, &key::key_name(one, 1), b"old");
        engine.write(&batch).unwrap();
        let mut dictionary = Dictionary::load(engine.as_ref()).unwrap();
        let half = limits::KEY_NAMES_PER_SHARD_MAX / 2;
        assert_eq!(dictionary.require_room(TENANT, half + 1), Err(DictionaryFull));
        assert_eq!(dictionary.intern((one, TENANT), "old", &mut batch), 1);
        batch.clear();
        for n in 0..half {
            assert_eq!(dictionary.require_room(TENANT, 1), Ok(()));
            dictionary.intern((one, TENANT), &format!("ä{n}"), &mut batch);
        }
        engine.write(&batch).unwrap();
        for dictionary in [&dictionary, &Dictionary::load(engine.as_ref()).unwrap()] {
            assert_eq!((dictionary.name_of(one, 1), dictionary.name_of(one, 2)), (Some("old"), Some("ä0")));
            assert_eq!(dictionary.require_room(TENANT, 1), Err(DictionaryFull));
            assert_eq!(dictionary.require_room(other, half - 1), Ok(()));
            assert_eq!(dictionary.require_room(other, half), Err(DictionaryFull), "the old one has its place");
        }
        dictionary.names = limits::KEY_NAMES_PER_SHARD_MAX + 1;
        assert_eq!(dictionary.require_room(other, 0), Ok(()), "what it knows is known");
    }

    #[test]
    fn a_damaged_name_is_no_name() {
        assert_eq!(read(b"a\xFF1234567890123456").map(|(name, tenant)| (name, tenant.is_some())), Some(("a", true)));
        for row in [&b"a\xFF123456789012345"[..], b"a\xFF", b"\xC3", b"\xC3\xFF1234567890123456"] {
            assert_eq!(read(row), None, "{row:?}");
        }
    }
}
