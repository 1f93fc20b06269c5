//! One shard's database. Writes never wait for compactions and stop before the disk is full (DESIGN 8.2, 5).

use std::{
    ffi::CStr,
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Error, ErrorKind, ReadOptions, WriteBatch, WriteOptions};

use super::{options::Shared, priority};
use crate::{
    clock::Clock,
    limits,
    store::{Batch, Engine, Family, Op, Range, StoreError, Visit, WriteError, key},
};

pub(super) struct RocksEngine {
    db: DB,
    path: PathBuf,
    writing: WriteOptions,
    reserve: Reserve,
    flushes: AtomicU64,
    /// The threads that write out buffers were found and have their priority.
    lowered: AtomicBool,
}

/// Flushes of the log between two looks for the threads that write out buffers.
const LOOK_FLUSHES: u64 = 512;

impl fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksEngine").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RocksEngine {
    pub(super) fn open(path: &Path, shared: &Shared) -> Result<Self, StoreError> {
        let mut families = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            families.push(ColumnFamilyDescriptor::new(family.name(), shared.family(family)?));
        }
        let db = DB::open_cf_descriptors(&shared.database(), path, families)
            .map_err(|error| StoreError::Io { path: path.to_owned(), why: error.into_string() })?;
        let mut writing = WriteOptions::default();
        writing.set_no_slowdown(true);
        Ok(Self {
            db,
            path: path.to_owned(),
            writing,
            reserve: Reserve::new(),
            flushes: AtomicU64::new(0),
            lowered: AtomicBool::new(false),
        })
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.name()).ok_or_else(|| StoreError::Failed(format!("column family {} is gone", family.name())))
    }

    fn build(&self, batch: &Batch) -> Result<WriteBatch, StoreError> {
        let (rows, state) = (self.family(Family::Rows)?, self.family(Family::State)?);
        let of = |family| match family {
            Family::Rows => rows,
            Family::State => state,
        };
        let mut out = WriteBatch::with_capacity_bytes(batch.bytes() + batch.len() * 8 + 16);
        for op in batch.ops() {
            match op {
                Op::Put(family, key, value) => out.put_cf(of(family), key, value),
                Op::Delete(family, key) => out.delete_cf(of(family), key),
                Op::DeleteRange(family, from, to) => out.delete_range_cf(of(family), from, to),
            }
        }
        Ok(out)
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        if !self.reserve.is_kept(&self.path) {
            return Err(WriteError::DiskFull);
        }
        let batch = self.build(batch).map_err(|error| WriteError::Failed(error.to_string()))?;
        self.db.write_opt(batch, &self.writing).map_err(refusal)
    }

    fn flush(&self, sync: bool) -> Result<(), StoreError> {
        let flushes = self.flushes.fetch_add(1, Ordering::Relaxed);
        if !self.lowered.load(Ordering::Relaxed) && flushes.is_multiple_of(LOOK_FLUSHES) {
            self.lowered.store(priority::lower_flushes(), Ordering::Relaxed);
        }
        self.db.flush_wal(sync).map_err(failed)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(family)?, key).map_err(failed)
    }

    fn scan(&self, range: Range<'_>, each: &mut Visit<'_>) -> Result<(), StoreError> {
        if range.from >= range.to {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from);
        options.set_iterate_upper_bound(range.to);
        // Within one entity and kind the prefix filters skip files; across prefixes they would skip keys.
        options.set_total_order_seek(!same_prefix(range.from, range.to));
        let mut at = self.db.raw_iterator_cf_opt(self.family(range.family)?, options);
        if range.reverse {
            at.seek_for_prev(range.to);
        } else {
            at.seek(range.from);
        }
        while let Some((key, value)) = at.item() {
            if each(key, value) == ControlFlow::Break(()) {
                return Ok(());
            }
            if range.reverse {
                at.prev();
            } else {
                at.next();
            }
        }
        at.status().map_err(failed)
    }

    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64 {
        let Ok(family) = self.family(family) else { return 0 };
        self.db.get_approximate_sizes_cf(family, &[rocksdb::Range::new(from, to)]).into_iter().sum()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        free_bytes(&self.path)
    }

    fn backlog(&self) -> u64 {
        let of = |family, property: &CStr| -> u64 {
            let said = self.family(family).ok().and_then(|family| self.db.property_value_cf(family, property).ok()?);
            said.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let worst = |property| Family::ALL.into_iter().map(|family| of(family, property)).max().unwrap_or(0);
        // Writes are refused at the third full buffer of a family and at the 40th unmerged file of rows (`options`).
        let buffers = match worst(FULL_BUFFERS) {
            0 => 0,
            1 => 8,
            _ => 64,
        };
        buffers.max(2 * worst(UNMERGED_FILES).saturating_sub(WELCOME_FILES))
    }

    fn reclaim(&self) {
        for family in Family::ALL {
            if let Ok(family) = self.family(family) {
                self.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
            }
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

const FULL_BUFFERS: &CStr = c"rocksdb.num-immutable-mem-table";
const UNMERGED_FILES: &CStr = c"rocksdb.num-files-at-level0";
/// Unmerged files that are no sign of merges being behind: more than start one.
const WELCOME_FILES: u64 = 12;

fn same_prefix(from: &[u8], to: &[u8]) -> bool {
    let prefix = |bytes: &[u8]| bytes.get(..key::ENTITY_PREFIX_BYTES).map(<[u8]>::to_vec);
    prefix(from).is_some_and(|from| prefix(to) == Some(from))
}

fn failed(error: Error) -> StoreError {
    StoreError::Failed(error.into_string())
}

fn refusal(error: Error) -> WriteError {
    match error.kind() {
        // What `no_slowdown` makes of a stall.
        ErrorKind::Incomplete => WriteError::Stalled,
        ErrorKind::IOError if error.as_ref().contains("No space left on device") => WriteError::DiskFull,
        _ => WriteError::Failed(error.into_string()),
    }
}

fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let disk = rustix::fs::statvfs(path).map_err(|error| StoreError::io(path, &error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether the free-space reserve still stands, looked at now and then: a full log could not even be closed properly.
struct Reserve {
    clock: Clock,
    broken: AtomicBool,
    writes: AtomicU64,
    looked_ms: AtomicU64,
}

impl Reserve {
    fn new() -> Self {
        Self {
            clock: Clock::start(),
            broken: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            // So that the first write looks.
            looked_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// Only the shard's thread asks, so the counters need no order.
    fn is_kept(&self, path: &Path) -> bool {
        let writes = self.writes.load(Ordering::Relaxed) + 1;
        self.writes.store(writes, Ordering::Relaxed);
        let now_ms = self.clock.now().instant.nanos() / 1_000_000;
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let due = looked_ms == u64::MAX || now_ms.saturating_sub(looked_ms) >= limits::DISK_LOOK_MS;
        if due || writes.is_multiple_of(limits::DISK_LOOK_WRITES) {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            // A disk that does not say how full it is will say so when it is written to.
            let broken = free_bytes(path).is_ok_and(|free| free < limits::DISK_RESERVE_BYTES);
            self.broken.store(broken, Ordering::Relaxed);
        }
        !self.broken.load(Ordering::Relaxed)
    }
}
