//! Which store holds which partition: the synced `placement` file, and moving partitions when the number of shards changed.
//! Runs before the shards do. Crash-safe step by step: a restart finishes or repeats the move it finds (DESIGN 20).

mod file;
mod moving;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::Path,
    sync::Arc,
};

use schemas::id::PARTITIONS;

pub use self::moving::Progress;
use self::{file::Placement, moving::Mover};
use crate::store::{Engine, StoreError};

/// Opens and removes the stores of a data directory by number.
pub trait Stores: Send + Sync {
    /// Opens a store, making it if it does not exist.
    ///
    /// # Errors
    /// It cannot be opened; the text says why.
    fn open(&self, index: u16) -> Result<Arc<dyn Engine>, StoreError>;

    /// Whether it was ever made.
    fn exists(&self, index: u16) -> bool;

    /// Removes a store that is not open. One that does not exist is removed already.
    ///
    /// # Errors
    /// Its files cannot be removed.
    fn remove(&self, index: u16) -> Result<(), StoreError>;

    /// Numbers of all stores that lie in the directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> Result<Vec<u16>, StoreError>;
}

/// The stores of this process, open and each with its own partitions.
pub struct Placed {
    /// One per shard, in shard order.
    pub engines: Vec<Arc<dyn Engine>>,
    /// Raised and synced at every start: the upper part of every seq (DESIGN 15).
    pub epoch: u32,
    /// For opening a store again after its generation ended.
    pub opener: Opener,
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placed").field("shards", &self.engines.len()).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Opens a shard's store again. Holds the data directory's lock: while one lives, no other process can use it.
#[derive(Clone)]
pub struct Opener {
    stores: Arc<dyn Stores>,
    _lock: Arc<File>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// A new generation of a shard's store. All holders of the old engine (committer, reader lane) must have let it go.
    ///
    /// # Errors
    /// The store cannot be opened, or the old engine is still held: try again later.
    pub fn open(&self, shard: u16) -> Result<Arc<dyn Engine>, StoreError> {
        self.stores.open(shard)
    }
}

/// Opens the stores of `dir` for `shards` shards: raises the epoch, finishes what a crash left and moves partitions.
///
/// # Errors
/// Another process uses the directory, it is damaged, or there is no room to move.
#[cfg(feature = "rocks")]
pub fn open(
    dir: &Path,
    shards: u16,
    pools: &crate::limits::Pools,
    progress: &mut dyn FnMut(Progress),
) -> Result<Placed, StoreError> {
    fs::create_dir_all(dir).map_err(|error| StoreError::io(dir, &error))?;
    let stores = Arc::new(crate::store::rocks::RocksStores::new(dir, shards, pools)?);
    open_with(dir, shards, stores, &mut |step| {
        if let Step::Moved(moved) = step {
            progress(moved);
        }
        Ok(())
    })
}

/// What has just become durable, for whoever watches or (in tests) pulls the plug.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The placement file was written.
    Placed,
    /// A batch of a move, or the deletion of a range, was written.
    Written,
    /// A partition arrived.
    Moved(Progress),
    /// A store that is no longer needed was removed.
    Removed,
}

/// Called after every step; an error stops there.
pub type Watcher<'a> = dyn FnMut(Step) -> Result<(), StoreError> + 'a;

/// As [`open`], over any kind of store.
///
/// # Errors
/// As [`open`]; also whatever `step` returns.
pub fn open_with(dir: &Path, shards: u16, stores: Arc<dyn Stores>, step: &mut Watcher<'_>) -> Result<Placed, StoreError> {
    let shards = shards.clamp(1, PARTITIONS);
    fs::create_dir_all(dir).map_err(|error| StoreError::io(dir, &error))?;
    let lock = lock(dir)?;
    let path = dir.join("placement");
    let mut placement = begin(&path, shards, stores.as_ref())?;
    placement.write(&path)?;
    step(Step::Placed)?;

    remove_leftovers(&placement, stores.as_ref(), step)?;
    let mut engines = Vec::with_capacity(usize::from(placement.stores));
    for index in 0..placement.stores {
        if index < placement.made && !stores.exists(index) {
            let why = format!("the placement file says that store {index} holds data, but it is gone");
            return Err(StoreError::Placement { path, why });
        }
        engines.push(stores.open(index)?);
    }
    if placement.made < placement.stores {
        placement.made = placement.stores;
        placement.write(&path)?;
        step(Step::Placed)?;
    }
    Mover { path: &path, placement: &mut placement, engines: &engines, shards, step }.run()?;
    engines.truncate(usize::from(shards));
    if placement.stores != shards {
        placement.stores = shards;
        placement.made = shards;
        placement.write(&path)?;
        step(Step::Placed)?;
        remove_leftovers(&placement, stores.as_ref(), step)?;
    }
    let opener = Opener { stores, _lock: Arc::new(lock) };
    Ok(Placed { engines, epoch: placement.epoch, opener })
}

/// The placement of this start: the old one with its epoch raised, or a first one.
fn begin(path: &Path, shards: u16, stores: &dyn Stores) -> Result<Placement, StoreError> {
    let damaged = |why: String| StoreError::Placement { path: path.to_owned(), why };
    let Some(mut placement) = Placement::read(path)? else {
        if let Some(found) = stores.list()?.first() {
            return Err(damaged(format!("absent, but store {found} exists: restore the file from a backup")));
        }
        return Ok(Placement::first(shards));
    };
    if placement.epoch >= file::EPOCH_MAX {
        return Err(damaged(format!("the start epoch has reached its largest value {}", file::EPOCH_MAX)));
    }
    placement.epoch += 1;
    placement.stores = placement.stores.max(shards);
    Ok(placement)
}

/// Stores beyond `made` hold nothing: either they were emptied before that number was lowered, or a start ended before it
/// raised the number, and with it before anything was written.
fn remove_leftovers(placement: &Placement, stores: &dyn Stores, step: &mut Watcher<'_>) -> Result<(), StoreError> {
    for index in stores.list()?.into_iter().filter(|index| *index >= placement.made) {
        stores.remove(index)?;
        step(Step::Removed)?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StoreError::io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let why = "another process uses this data directory".to_owned();
            Err(StoreError::Placement { path, why })
        }
        Err(TryLockError::Error(error)) => Err(StoreError::io(&path, &error)),
    }
}

#[cfg(test)]
mod tests;
