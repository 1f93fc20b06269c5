//! The engine does what the memory twin does, survives being reopened, and its databases share a directory.

use std::{ops::ControlFlow, sync::Arc};

use schemas::id::EntityId;
use uuid::Uuid;

use super::*;
use crate::{
    clock::Timestamp,
    store::{Batch, Family, Range, key, memory::MemoryEngine},
};

const ID: EntityId = EntityId(Uuid::from_u128(7));

fn scan(engine: &dyn Engine, range: Range<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.scan(range, &mut each).unwrap();
    found
}

fn sample() -> Batch {
    let mut batch = Batch::new();
    for ts in 0..50 {
        batch.put(Family::Rows, &key::row(ID, Timestamp(ts), 1), b"row");
    }
    for other in 8..20 {
        let id = EntityId(Uuid::from_u128(other));
        batch.put(Family::State, &key::entity(key::Kind::State, id), b"state");
    }
    batch.put(Family::Rows, b"short", b"");
    batch.delete_range(Family::Rows, &key::rows_from(ID, Timestamp(10)), &key::rows_from(ID, Timestamp(20)));
    batch.delete(Family::Rows, &key::row(ID, Timestamp(30), 1));
    batch
}

#[test]
fn it_reads_like_the_twin_before_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::new(dir.path(), 1, &Pools::FULL).unwrap();
    let twin = MemoryEngine::new();
    let mut engine = stores.open(0).unwrap();
    for each in [engine.as_ref(), twin.as_ref() as &dyn Engine] {
        each.write(&sample()).unwrap();
        each.flush(true).unwrap();
    }
    let end = key::entity_end(key::Kind::Row, ID);
    let (from, to) = (key::rows_from(ID, Timestamp(5)), key::rows_from(ID, Timestamp(45)));
    let ranges = [
        Range::new(Family::Rows, &[], &[0xFF]),
        Range::new(Family::State, &[], &[0xFF]),
        Range::new(Family::Rows, &from, &to),
        Range::new(Family::Rows, &from, &end),
        Range::new(Family::Rows, &to, &from),
    ];
    for restart in [false, true, true] {
        if restart {
            drop(engine);
            engine = stores.open(0).unwrap();
        }
        for range in ranges {
            assert_eq!(scan(engine.as_ref(), range), scan(twin.as_ref(), range), "{range:?}");
            assert_eq!(scan(engine.as_ref(), range.reversed()), scan(twin.as_ref(), range.reversed()), "{range:?}");
        }
        assert_eq!(engine.get(Family::Rows, b"short"), Ok(Some(Vec::new())));
        assert_eq!(engine.get(Family::State, b"short"), Ok(None));
        assert!(engine.free_bytes().unwrap() > 0);
        // From memtables into files, so that the next round reads those.
        engine.reclaim();
    }
}

#[test]
fn a_store_in_use_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::new(dir.path(), 2, &Pools::FULL).unwrap();
    let engine = stores.open(0).unwrap();
    assert!(stores.open(0).is_err());
    let other: Arc<dyn Engine> = stores.open(1).unwrap();
    drop(engine);
    assert!(stores.open(0).is_ok());
    assert_eq!(stores.list(), Ok(vec![0, 1]));
    assert!(stores.exists(1) && !stores.exists(2));
    drop(other);
    stores.remove(1).unwrap();
    stores.remove(1).unwrap();
    assert_eq!(stores.list(), Ok(vec![0]));
}

#[test]
fn a_backlog_is_seen_before_writes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = RocksStores::new(dir.path(), 1, &Pools::FULL).unwrap().open(0).unwrap();
    assert_eq!(engine.backlog(), 0);
    let mut batch = Batch::new();
    let mut seen = 0;
    // Far more than one buffer, and much less than all of them.
    for number in 0..40_u8 {
        batch.clear();
        batch.put(Family::Rows, &key::row(ID, Timestamp(number.into()), 1), &vec![number; 1 << 20]);
        engine.write(&batch).unwrap();
        seen = seen.max(engine.backlog());
    }
    assert!(seen > 0, "a full buffer waits to be written out");
}
