//! The shard's place on disk: batches of keys and records, written in one piece, durable by ticket (DESIGN 3.5).
//! Knows no rules and no sessions; only `store/rocks` names the library.

pub mod batch;
pub mod commit;
pub mod history;
pub mod key;
pub mod lane;
pub mod memory;
pub mod placement;
pub mod record;
#[cfg(feature = "rocks")]
pub mod rocks;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

pub use batch::{Batch, Op};
pub use commit::{Committer, Durability, Progress};
pub use history::history;
pub use lane::{Full, Job, ReaderLane};
pub use placement::{Placed, Stores};
pub use record::{Encoder, Tombstone};

/// A place in the commit queue of one shard. Ticket 0 is before everything: nothing was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The column families. A batch over both is atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Telemetry rows.
    Rows,
    /// Everything else.
    State,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::Rows, Self::State];

    /// The name on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::State => "state",
        }
    }
}

/// Why a batch was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The store is behind; offer the batch again unchanged (DESIGN 8.2, 5).
    #[error("the store is behind with its compactions")]
    Stalled,
    /// The free-space reserve is reached; offer the batch again unchanged.
    #[error("the disk is full up to its reserve")]
    DiskFull,
    /// The store generation is over (DESIGN 8.2, 5).
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why something could not be read, opened, flushed or moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The engine's own words.
    #[error("the store failed: {0}")]
    Failed(String),
    /// A key or record that cannot be what was written.
    #[error("corrupted {what} at key {key}: {why}")]
    Corrupted { what: &'static str, key: String, why: String },
    #[error("{path}: {why}", path = path.display())]
    Io { path: PathBuf, why: String },
    /// Moving partitions needs room for the largest of them (DESIGN 20).
    #[error("{path}: moving partitions needs {needed} bytes free, {free} are", path = path.display())]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    /// The data directory is not what this process can use; the text says why.
    #[error("{path}: {why}", path = path.display())]
    Placement { path: PathBuf, why: String },
}

impl StoreError {
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), why: error.to_string() }
    }

    pub(crate) fn corrupted(what: &'static str, key: &[u8], why: impl Into<String>) -> Self {
        Self::Corrupted { what, key: key::hex(key), why: why.into() }
    }
}

/// One shard's store. The shard's thread alone writes; any thread reads.
pub trait Engine: Send + Sync + 'static {
    /// Writes all of a batch or nothing. Never blocks for compactions and never syncs.
    ///
    /// # Errors
    /// See [`WriteError`].
    fn write(&self, batch: &Batch) -> Result<(), WriteError>;

    /// Hands everything written to the operating system and, with `sync`, waits until it is on disk.
    ///
    /// # Errors
    /// The store generation is over: what was written since the last flush may be lost.
    fn flush(&self, sync: bool) -> Result<(), StoreError>;

    /// # Errors
    /// The store cannot be read.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits the keys in [from, to) in order, or in reverse, until `each` breaks.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(&self, range: Range<'_>, each: &mut Visit<'_>) -> Result<(), StoreError>;

    /// About how many bytes the keys in [from, to) take on disk.
    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64;

    /// Free bytes of the disk below, as far as anyone but root may use them.
    ///
    /// # Errors
    /// The operating system does not say.
    fn free_bytes(&self) -> Result<u64, StoreError>;

    /// How far flushes and merges are behind: the time they should be left for each 64 that its writer works, 0 when they
    /// keep up. Does not block.
    fn backlog(&self) -> u64;

    /// Gives the space of deleted ranges back to the disk. May block for long: never on a shard's thread.
    fn reclaim(&self);

    /// Where it lies.
    fn path(&self) -> &Path;
}

/// What [`Engine::scan`] calls with every key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What a scan covers: [from, to).
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    pub family: Family,
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub reverse: bool,
}

impl<'a> Range<'a> {
    #[must_use]
    pub fn new(family: Family, from: &'a [u8], to: &'a [u8]) -> Self {
        Self { family, from, to, reverse: false }
    }

    #[must_use]
    pub fn reversed(self) -> Self {
        Self { reverse: true, ..self }
    }
}
