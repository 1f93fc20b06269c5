//! Moving partitions, with a crash after every step, over the memory twin and over RocksDB.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use crossbeam::queue::ArrayQueue;
use schemas::id::Partition;

use super::*;
use crate::store::{Batch, Family, Range, key, memory::MemoryEngine};

type Kept = BTreeMap<u16, Arc<MemoryEngine>>;

/// Stores of the memory twin that outlive the process they pretend to be in.
struct MemoryStores(ArrayQueue<Kept>);

impl MemoryStores {
    fn new(kept: Kept) -> Arc<Self> {
        let queue = ArrayQueue::new(1);
        queue.push(kept).expect("there is room for one");
        Arc::new(Self(queue))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.0.pop().expect("one thread");
        let result = act(&mut kept);
        self.0.push(kept).expect("there is room for one");
        result
    }

    /// A power cut.
    fn crash(&self) -> Arc<Self> {
        Self::new(self.with(|kept| kept.iter().map(|(index, engine)| (*index, engine.crash())).collect()))
    }
}

impl Stores for MemoryStores {
    fn open(&self, index: u16) -> Result<Arc<dyn Engine>, StoreError> {
        Ok(self.with(|kept| Arc::clone(kept.entry(index).or_insert_with(MemoryEngine::new))))
    }

    fn exists(&self, index: u16) -> bool {
        self.with(|kept| kept.contains_key(&index))
    }

    fn remove(&self, index: u16) -> Result<(), StoreError> {
        self.with(|kept| kept.remove(&index));
        Ok(())
    }

    fn list(&self) -> Result<Vec<u16>, StoreError> {
        Ok(self.with(|kept| kept.keys().copied().collect()))
    }
}

const STOPPED: &str = "stopped by the test";

/// Opens with a stop after so many steps.
fn start(dir: &Path, shards: u16, stores: Arc<dyn Stores>, stop_after: usize) -> Result<Placed, StoreError> {
    let mut left = stop_after;
    open_with(dir, shards, stores, &mut |_| {
        left = left.checked_sub(1).ok_or_else(|| StoreError::Failed(STOPPED.to_owned()))?;
        Ok(())
    })
}

fn partitions() -> impl Iterator<Item = Partition> {
    [0, 1, 300, 341, 342, 500, 511, 512, 513, 700, 1023].into_iter().filter_map(Partition::new)
}

fn rows(partition: Partition) -> impl Iterator<Item = (Family, Vec<u8>)> {
    let one = move |family, number: u8| (family, [&key::partition_range(partition).0[..], &[number, 9]].concat());
    (0..3).map(move |number| one(Family::Rows, number)).chain((0..2).map(move |number| one(Family::State, number)))
}

fn fill(placed: &Placed, shards: u16) {
    for partition in partitions() {
        let mut batch = Batch::new();
        rows(partition).for_each(|(family, key)| batch.put(family, &key, b"value"));
        let engine = &placed.engines[usize::from(file::shard_of(partition, shards))];
        engine.write(&batch).unwrap();
    }
    placed.engines.iter().for_each(|engine| engine.flush(true).unwrap());
}

/// Everything is there, once, in the store of its shard.
fn check(placed: &Placed, shards: u16) {
    assert_eq!(placed.engines.len(), usize::from(shards));
    let mut found = Vec::new();
    for (index, engine) in placed.engines.iter().enumerate() {
        for family in Family::ALL {
            let mut each = |key: &[u8], value: &[u8]| {
                assert_eq!(value, b"value");
                found.push((index, family, key.to_vec()));
                std::ops::ControlFlow::Continue(())
            };
            engine.scan(Range::new(family, &[0, 0], &[0xFF, 0xFF]), &mut each).unwrap();
        }
    }
    found.sort();
    let place = |partition| usize::from(file::shard_of(partition, shards));
    let mut expected: Vec<(usize, Family, Vec<u8>)> =
        partitions().flat_map(|partition| rows(partition).map(move |(family, key)| (place(partition), family, key))).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// Starts again and again, each time with one step more, until a start comes through; `crash` is what happens in between.
fn survive<S: Stores + 'static>(dir: &Path, shards: u16, stores: Arc<S>, crash: impl Fn(&Arc<S>) -> Arc<S>) -> (Arc<S>, usize) {
    let mut stores = stores;
    let mut stops = 0;
    for steps in (0..400).map(|round| round % 40) {
        match start(dir, shards, Arc::clone(&stores) as Arc<dyn Stores>, steps) {
            Ok(placed) => {
                check(&placed, shards);
                return (stores, stops);
            }
            Err(StoreError::Failed(why)) if why == STOPPED => stops += 1,
            Err(error) => panic!("{error}"),
        }
        stores = crash(&stores);
    }
    panic!("never came through")
}

/// DESIGN 20: a crash after any step loses nothing and doubles nothing, whatever the number of shards then is.
#[test]
fn partitions_move_through_power_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let stores = MemoryStores::new(Kept::new());
    let placed = start(dir.path(), 2, stores.clone(), usize::MAX).unwrap();
    assert_eq!(placed.epoch, 1);
    fill(&placed, 2);
    drop(placed);
    let crashes = AtomicUsize::new(0);
    let cut = |stores: &Arc<MemoryStores>| {
        crashes.fetch_add(1, Ordering::Relaxed);
        stores.crash()
    };
    let (stores, _) = survive(dir.path(), 3, stores, cut);
    let (stores, _) = survive(dir.path(), 1, stores, cut);
    let (stores, _) = survive(dir.path(), 4, stores, cut);
    assert_eq!(stores.list().unwrap(), [0, 1, 2, 3]);
    assert!(crashes.load(Ordering::Relaxed) > 20);
}

/// A start that ends in the middle of a move, and the next one wants another number of shards.
#[test]
fn the_number_of_shards_changes_in_the_middle_of_a_move() {
    for stop in (0..60).step_by(3) {
        let dir = tempfile::tempdir().unwrap();
        let stores = MemoryStores::new(Kept::new());
        let placed = start(dir.path(), 2, stores.clone(), usize::MAX).unwrap();
        fill(&placed, 2);
        drop(placed);
        let _ = start(dir.path(), 3, stores.clone(), stop).map(|placed| check(&placed, 3));
        let stores = stores.crash();
        let _ = start(dir.path(), 1, stores.clone(), stop / 2).map(|placed| check(&placed, 1));
        let stores = stores.crash();
        check(&start(dir.path(), 2, stores, usize::MAX).unwrap(), 2);
    }
}

#[test]
fn every_start_raises_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let stores = MemoryStores::new(Kept::new());
    for epoch in 1..5 {
        let placed = start(dir.path(), 2, stores.clone(), usize::MAX).unwrap();
        assert_eq!(placed.epoch, epoch);
        assert!(placed.opener.open(1).is_ok());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let check = |result: Result<Placed, StoreError>, part: &str| {
        let error = result.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let dir = tempfile::tempdir().unwrap();
    let stores = MemoryStores::new(Kept::new());
    let placed = start(dir.path(), 2, stores.clone(), usize::MAX).unwrap();
    fill(&placed, 2);
    check(start(dir.path(), 2, stores.clone(), usize::MAX), "another process uses this data directory");
    drop(placed);
    stores.with(|kept| kept[&0].fill(true));
    check(start(dir.path(), 3, stores.clone(), usize::MAX), "moving partitions needs");
    let lost = stores.with(|kept| kept.remove(&1));
    check(start(dir.path(), 2, stores.clone(), usize::MAX), "store 1 holds data, but it is gone");
    stores.with(|kept| kept.insert(1, lost.expect("it was there")));
    fs::remove_file(dir.path().join("placement")).unwrap();
    check(start(dir.path(), 2, stores, usize::MAX), "absent, but store 0 exists");
}

#[cfg(feature = "rocks")]
#[test]
fn partitions_move_between_databases() {
    let dir = tempfile::tempdir().unwrap();
    let placed = open(dir.path(), 2, &crate::limits::Pools::FULL, &mut |_| ()).unwrap();
    fill(&placed, 2);
    drop(placed);
    for shards in [3, 1] {
        let stores = Arc::new(crate::store::rocks::RocksStores::new(dir.path(), shards, &crate::limits::Pools::FULL).unwrap());
        survive(dir.path(), shards, stores, Arc::clone);
    }
    let mut progress = Vec::new();
    let placed = open(dir.path(), 2, &crate::limits::Pools::FULL, &mut |moved| progress.push(moved)).unwrap();
    check(&placed, 2);
    let of = partitions().filter(|partition| partition.number() >= 512).count();
    assert_eq!(progress.last(), Some(&Progress { moved: of, of }));
}
