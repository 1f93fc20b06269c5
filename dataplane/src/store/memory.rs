//! An engine in memory that can crash, stall and fail on request: the twin of the real one, for tests and simulation.
//! Nothing in it survives the process.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crossbeam::queue::ArrayQueue;

use crate::store::{Batch, Engine, Family, Op, Range, StoreError, Visit, WriteError};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Maps {
    rows: Map,
    state: Map,
}

impl Maps {
    fn of(&self, family: Family) -> &Map {
        match family {
            Family::Rows => &self.rows,
            Family::State => &self.state,
        }
    }

    fn of_mut(&mut self, family: Family) -> &mut Map {
        match family {
            Family::Rows => &mut self.rows,
            Family::State => &mut self.state,
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for op in batch.ops() {
            match op {
                Op::Put(family, key, value) => {
                    self.of_mut(family).insert(key.to_vec(), value.to_vec());
                }
                Op::Delete(family, key) => {
                    self.of_mut(family).remove(key);
                }
                Op::DeleteRange(family, from, to) => self.of_mut(family).retain(|key, _| {
                    let key = key.as_slice();
                    key < from || key >= to
                }),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Contents {
    now: Maps,
    /// As of the last synced flush.
    synced: Maps,
    /// Batches since then, oldest first.
    unsynced: Vec<Batch>,
    /// How many of them an unsynced flush has handed to the operating system.
    flushed: usize,
}

/// The contents travel as a baton: whoever took them out of the one-place queue owns them until they are put back. It
/// stands in for a lock, which the data plane does without, and is held for moments only.
#[derive(Debug)]
pub struct MemoryEngine {
    baton: ArrayQueue<Box<Contents>>,
    stalls: AtomicU64,
    full: AtomicBool,
    failing_writes: AtomicBool,
    failing_flushes: AtomicBool,
}

impl MemoryEngine {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::holding(Maps::default())
    }

    fn holding(maps: Maps) -> Arc<Self> {
        let baton = ArrayQueue::new(1);
        let contents = Contents { now: maps.clone(), synced: maps, unsynced: Vec::new(), flushed: 0 };
        // The queue was made with room for it.
        let _ = baton.push(Box::new(contents));
        Arc::new(Self {
            baton,
            stalls: AtomicU64::new(0),
            full: AtomicBool::new(false),
            failing_writes: AtomicBool::new(false),
            failing_flushes: AtomicBool::new(false),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        let mut contents = loop {
            match self.baton.pop() {
                Some(contents) => break contents,
                None => thread::yield_now(),
            }
        };
        let result = act(&mut contents);
        // Nobody else can have filled the one place while the baton was out.
        let _ = self.baton.push(contents);
        result
    }

    /// What a power cut would leave: everything up to the last synced flush.
    #[must_use]
    pub fn crash(&self) -> Arc<Self> {
        self.crash_keeping(0)
    }

    /// A power cut after which the disk holds `batches` more whole batches than it promised.
    #[must_use]
    pub fn crash_keeping(&self, batches: usize) -> Arc<Self> {
        Self::holding(self.with(|contents| {
            let mut maps = contents.synced.clone();
            contents.unsynced.iter().take(batches).for_each(|batch| maps.apply(batch));
            maps
        }))
    }

    /// What `kill -9` would leave: everything up to the last flush of either sort.
    #[must_use]
    pub fn kill(&self) -> Arc<Self> {
        let flushed = self.with(|contents| contents.flushed);
        self.crash_keeping(flushed)
    }

    /// Batches written since the last synced flush.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.with(|contents| contents.unsynced.len())
    }

    /// Keys it holds, of both families.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.with(|contents| Family::ALL.iter().map(|family| contents.now.of(*family).len()).sum())
    }

    /// Refuses the next `writes` writes as stalled.
    pub fn stall(&self, writes: u64) {
        self.stalls.store(writes, Ordering::SeqCst);
    }

    /// Refuses writes as if the disk were full.
    pub fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Fails every write.
    pub fn fail_writes(&self, failing: bool) {
        self.failing_writes.store(failing, Ordering::SeqCst);
    }

    /// Fails every flush.
    pub fn fail_flushes(&self, failing: bool) {
        self.failing_flushes.store(failing, Ordering::SeqCst);
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        if self.failing_writes.load(Ordering::SeqCst) {
            return Err(WriteError::Failed("told to fail".to_owned()));
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(WriteError::DiskFull);
        }
        if self.stalls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(WriteError::Stalled);
        }
        self.with(|contents| {
            contents.now.apply(batch);
            contents.unsynced.push(batch.clone());
        });
        Ok(())
    }

    fn flush(&self, sync: bool) -> Result<(), StoreError> {
        if self.failing_flushes.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("told to fail".to_owned()));
        }
        self.with(|contents| {
            contents.flushed = contents.unsynced.len();
            if sync {
                for batch in std::mem::take(&mut contents.unsynced) {
                    contents.synced.apply(&batch);
                }
                contents.flushed = 0;
            }
        });
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|contents| contents.now.of(family).get(key).cloned()))
    }

    fn scan(&self, range: Range<'_>, each: &mut Visit<'_>) -> Result<(), StoreError> {
        if range.from >= range.to {
            return Ok(());
        }
        // Copied, so that `each` may use the engine again.
        let bounds = (Bound::Included(range.from), Bound::Excluded(range.to));
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = self.with(|contents| {
            let of = contents.now.of(range.family).range::<[u8], _>(bounds);
            of.map(|(key, value)| (key.clone(), value.clone())).collect()
        });
        if range.reverse {
            found.reverse();
        }
        for (key, value) in &found {
            if each(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn approximate_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64 {
        let mut bytes = 0;
        let range = Range::new(family, from, to);
        let _ = self.scan(range, &mut |key, value| {
            bytes += (key.len() + value.len()) as u64;
            ControlFlow::Continue(())
        });
        bytes
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(if self.full.load(Ordering::SeqCst) { 0 } else { u64::MAX })
    }

    fn backlog(&self) -> u64 {
        0
    }

    fn reclaim(&self) {}

    fn path(&self) -> &Path {
        Path::new("memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(engine: &MemoryEngine, key: &[u8]) {
        let mut batch = Batch::new();
        batch.put(Family::Rows, key, b"v");
        engine.write(&batch).unwrap();
    }

    #[test]
    fn a_crash_forgets_what_was_not_flushed() {
        let engine = MemoryEngine::new();
        put(&engine, b"1");
        engine.flush(true).unwrap();
        put(&engine, b"2");
        engine.flush(false).unwrap();
        put(&engine, b"3");
        let check = |engine: &MemoryEngine, keys: usize| assert_eq!(engine.keys(), keys);
        check(&engine, 3);
        check(&engine.crash(), 1);
        check(&engine.kill(), 2);
        check(&engine.crash_keeping(2), 3);
        engine.flush(true).unwrap();
        check(&engine.crash(), 3);
    }

    #[test]
    fn scans_go_both_ways_and_stop_when_told() {
        let engine = MemoryEngine::new();
        [b"a", b"b", b"c"].iter().for_each(|key| put(&engine, *key));
        let check = |range: Range<'_>, most: usize, expected: &[&[u8]]| {
            let mut found: Vec<Vec<u8>> = Vec::new();
            let mut each = |key: &[u8], _: &[u8]| {
                found.push(key.to_vec());
                if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            engine.scan(range, &mut each).unwrap();
            assert_eq!(found, expected);
        };
        let all = Range::new(Family::Rows, b"a", b"c");
        check(all, 9, &[b"a", b"b"]);
        check(all.reversed(), 9, &[b"b", b"a"]);
        check(all, 1, &[b"a"]);
        check(Range::new(Family::State, b"a", b"z"), 9, &[]);
    }
}
