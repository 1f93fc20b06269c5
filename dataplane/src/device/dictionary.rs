//! Key names and their ids on disk, per partition, so that they move with it (DESIGN 17). What is interned in memory only
//! never reaches disk: a new id is in the same batch as the first row that uses it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

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
    partitions: HashMap<Partition, Names>,
    names: usize,
}

#[derive(Debug, Default)]
struct Names {
    ids: HashMap<Arc<str>, u32>,
    names: BTreeMap<u32, Arc<str>>,
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
            engine.scan(Range::new(Kind::KeyName.family(), &from, &to), &mut |key, name| match (
                key::parse_key_name(key),
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
        self.partitions.get(&partition)?.ids.get(name).copied()
    }

    #[must_use]
    pub fn name_of(&self, partition: Partition, id: u32) -> Option<&str> {
        self.partitions.get(&partition)?.names.get(&id).map(AsRef::as_ref)
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
        let last = self.partitions.get(&partition).and_then(|names| names.names.keys().next_back().copied());
        let id = last.unwrap_or(0) + 1;
        batch.put(Family::State, &key::key_name(partition, id), name.as_bytes());
        self.add(partition, id, name);
        id
    }

    fn add(&mut self, partition: Partition, id: u32, name: &str) {
        let names = self.partitions.entry(partition).or_default();
        let name: Arc<str> = Arc::from(name);
        names.ids.insert(Arc::clone(&name), id);
        names.names.insert(id, name);
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
