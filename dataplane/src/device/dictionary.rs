//! Key names and their ids on disk, per partition, so that they move with it (DESIGN 17). What is interned in memory only
//! never reaches disk: a new id is in the same batch as the first row that uses it.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use foldhash::fast::RandomState;
use schemas::id::{PARTITIONS, Partition};

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

/// The shard knows as many key names as it may.
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
            engine.scan(Range::new(Kind::KeyName.family(), &from, &to), &mut |key, name| match (
                key::parse_key_name(key).filter(possible),
                std::str::from_utf8(name),
            ) {
                (Some(id), Ok(name)) => {
                    dictionary.add(partition, id, name);
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
    /// [`DictionaryFull`] when not so many new names fit.
    pub fn require_room(&self, names: usize) -> Result<(), DictionaryFull> {
        if self.names + names > limits::KEY_NAMES_PER_SHARD_MAX { Err(DictionaryFull) } else { Ok(()) }
    }

    /// The id of a name; a new one is put into the batch. The caller has asked [`Self::require_room`].
    pub fn intern(&mut self, partition: Partition, name: &str, batch: &mut Batch) -> u32 {
        if let Some(id) = self.id_of(partition, name) {
            return id;
        }
        let next = self.partitions.get(&partition).map_or(1, |names| names.names.len().max(1));
        // Far below: a shard knows at most KEY_NAMES_PER_SHARD_MAX names.
        let id = u32::try_from(next).unwrap_or(u32::MAX);
        batch.put(Family::State, &key::key_name(partition, id), name.as_bytes());
        self.add(partition, id, name);
        id
    }

    fn add(&mut self, partition: Partition, id: u32, name: &str) {
        let names = self.partitions.entry(partition).or_default();
        let name: Arc<str> = Arc::from(name);
        names.ids.insert(Arc::clone(&name), id);
        let place = id as usize;
        if names.names.len() <= place {
            names.names.resize(place + 1, None);
        }
        names.names[place] = Some(name);
        self.names += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryEngine;

    #[test]
    fn ids_are_per_partition_and_survive_with_their_batch() {
        let engine = MemoryEngine::new();
        let mut dictionary = Dictionary::load(engine.as_ref()).unwrap();
        let mut batch = Batch::new();
        let (one, two) = (Partition::new(1).unwrap(), Partition::new(2).unwrap());
        assert_eq!(dictionary.intern(one, "a", &mut batch), 1);
        assert_eq!(dictionary.intern(one, "b", &mut batch), 2);
        assert_eq!(dictionary.intern(one, "a", &mut batch), 1);
        assert_eq!(dictionary.intern(two, "b", &mut batch), 1);
        assert_eq!(batch.len(), 3);
        engine.write(&batch).unwrap();

        let mut dictionary = Dictionary::load(engine.as_ref()).unwrap();
        assert_eq!((dictionary.id_of(one, "b"), dictionary.name_of(one, 2)), (Some(2), Some("b")));
        assert_eq!((dictionary.id_of(two, "a"), dictionary.name_of(two, 2)), (None, None));
        assert_eq!(dictionary.intern(one, "c", &mut batch), 3);
        assert_eq!(dictionary.ids_of(one, &["x".to_owned(), "b".to_owned()]), [("b".to_owned(), 2)]);
        assert_eq!(dictionary.require_room(limits::KEY_NAMES_PER_SHARD_MAX), Err(DictionaryFull));
    }
}
