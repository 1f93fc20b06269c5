//! The engine on RocksDB: one database per shard, with cache, write-buffer budget and background threads shared by the
//! process (DESIGN 3.5). The only place that names the library; holds no meaning of keys or records.

mod engine;
mod options;
mod priority;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{engine::RocksEngine, options::Shared};
use crate::limits::Pools;
use crate::store::{Engine, StoreError, placement::Stores};

/// The databases of one data directory: `shard-0000` and so on.
pub struct RocksStores {
    dir: PathBuf,
    shared: Shared,
}

impl fmt::Debug for RocksStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStores").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl RocksStores {
    /// Makes what the databases of `shards` shards share; once per process.
    ///
    /// # Errors
    /// The library has no environment to give.
    pub fn new(dir: &Path, shards: u16, pools: &Pools) -> Result<Self, StoreError> {
        Ok(Self { dir: dir.to_owned(), shared: Shared::new(shards, pools)? })
    }

    fn path(&self, index: u16) -> PathBuf {
        self.dir.join(format!("shard-{index:04}"))
    }
}

impl Stores for RocksStores {
    fn open(&self, index: u16) -> Result<Arc<dyn Engine>, StoreError> {
        Ok(Arc::new(RocksEngine::open(&self.path(index), &self.shared)?))
    }

    fn exists(&self, index: u16) -> bool {
        // RocksDB's own mark of a database.
        self.path(index).join("CURRENT").exists()
    }

    fn remove(&self, index: u16) -> Result<(), StoreError> {
        let path = self.path(index);
        match fs::remove_dir_all(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io(&path, &error)),
        }
    }

    fn list(&self) -> Result<Vec<u16>, StoreError> {
        let failed = |error: io::Error| StoreError::io(&self.dir, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(index) = name.to_str().and_then(|name| name.strip_prefix("shard-")?.parse().ok()) {
                found.push(index);
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
