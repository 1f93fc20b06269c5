//! The `placement` file: written whole, synced, renamed into place. Never half of one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use schemas::id::{PARTITIONS, Partition};

use crate::store::StoreError;

/// Largest start epoch: a seq has 24 bits for it.
pub(super) const EPOCH_MAX: u32 = (1 << 24) - 1;
const MAGIC: &[u8; 8] = b"TIDEGPL1";
const NO_MOVE: u16 = 0xFFFF;
const PARTITIONS_AT: usize = 8 + 4 + 2 + 2 + 6;
const BYTES: usize = PARTITIONS_AT + PARTITIONS as usize * 2 + 4;

/// One partition on its way. While `to` is not yet in the table the source counts, afterwards the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) partition: Partition,
    pub(super) from: u16,
    pub(super) to: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// Of the current start.
    pub(super) epoch: u32,
    /// Stores that may hold data are numbered below this.
    pub(super) stores: u16,
    /// Stores below this have been made: one that is missing is lost.
    pub(super) made: u16,
    pub(super) moving: Option<Move>,
    /// Partition → store.
    table: Vec<u16>,
}

impl Placement {
    /// The first one of a data directory.
    pub(super) fn first(shards: u16) -> Self {
        let table = (0..PARTITIONS).filter_map(Partition::new).map(|partition| shard_of(partition, shards)).collect();
        Self { epoch: 1, stores: shards, made: 0, moving: None, table }
    }

    pub(super) fn store_of(&self, partition: Partition) -> u16 {
        self.table[usize::from(partition.number())]
    }

    pub(super) fn place(&mut self, partition: Partition, store: u16) {
        self.table[usize::from(partition.number())] = store;
    }

    /// `None` when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::read(path) {
            Ok(bytes) => Self::decode(&bytes).map(Some).ok_or_else(|| StoreError::Placement {
                path: path.to_owned(),
                why: "damaged: restore it from a backup".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(path, &error)),
        }
    }

    /// Atomic and synced: after a crash the file is the old one or the new one.
    pub(super) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let written = || {
            let next = path.with_extension("next");
            let mut file = File::create(&next)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(&next, path)?;
            // The rename itself is durable with its directory.
            File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
        };
        written().map_err(|error: io::Error| StoreError::io(path, &error))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.stores.to_be_bytes());
        bytes.extend_from_slice(&self.made.to_be_bytes());
        let moving = self.moving.map_or([NO_MOVE; 3], |moving| [moving.partition.number(), moving.from, moving.to]);
        for number in moving.iter().chain(&self.table) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        let whole = bytes.len() == BYTES && body.starts_with(MAGIC) && crc32fast::hash(body).to_be_bytes() == *checksum;
        if !whole {
            return None;
        }
        let u16_at = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
        let table: Option<Vec<u16>> = (0..usize::from(PARTITIONS)).map(|place| u16_at(PARTITIONS_AT + place * 2)).collect();
        let (table, stores) = (table?, u16_at(12)?);
        let moving = match u16_at(16)? {
            NO_MOVE => None,
            partition => Some(Move { partition: Partition::new(partition)?, from: u16_at(18)?, to: u16_at(20)? }),
        };
        let known = |store: u16| store < stores;
        let valid = table.iter().copied().all(known) && moving.is_none_or(|moving| known(moving.from) && known(moving.to));
        let epoch = u32::from_be_bytes(body.get(8..12)?.try_into().ok()?);
        valid.then_some(Self { epoch, stores, made: u16_at(14)?, moving, table })
    }
}

/// Partitions spread evenly, in contiguous ranges (DESIGN 3.3); the same rule as the shards'.
pub(super) fn shard_of(partition: Partition, shards: u16) -> u16 {
    let shard = u32::from(partition.number()) * u32::from(shards) / u32::from(PARTITIONS);
    u16::try_from(shard).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_reads_back_and_damage_is_seen() {
        let mut placement = Placement::first(3);
        placement.moving = Partition::new(7).map(|partition| Move { partition, from: 0, to: 2 });
        for placement in [Placement::first(1), Placement::first(1024), placement] {
            let mut bytes = placement.encode();
            assert_eq!(bytes.len(), BYTES);
            assert_eq!(Placement::decode(&bytes), Some(placement));
            bytes[100] ^= 1;
            assert_eq!(Placement::decode(&bytes), None);
            assert_eq!(Placement::decode(&bytes[..50]), None);
        }
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("placement");
        assert_eq!(Placement::read(&path), Ok(None));
        for shards in [2, 5] {
            Placement::first(shards).write(&path).unwrap();
            assert_eq!(Placement::read(&path), Ok(Some(Placement::first(shards))));
        }
        fs::write(&path, b"x").unwrap();
        assert!(matches!(Placement::read(&path), Err(StoreError::Placement { .. })));
    }
}
