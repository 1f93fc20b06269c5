//! Moving partitions between stores, one at a time: clear the target range, copy and sync, flip the file, delete the source
//! range (DESIGN 20). Every step may be the last one before a crash.

use std::{ops::ControlFlow, path::Path, sync::Arc, thread, time::Duration};

use schemas::id::{PARTITIONS, Partition};

use super::{
    Step, Watcher,
    file::{Move, Placement, shard_of},
};
use crate::{
    limits,
    store::{Batch, Engine, Family, Range, StoreError, WriteError, key},
};

/// How far the moves are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Partitions with data that have arrived.
    pub moved: usize,
    /// Of so many.
    pub of: usize,
}

pub(super) struct Mover<'a, 's> {
    pub(super) path: &'a Path,
    pub(super) placement: &'a mut Placement,
    pub(super) engines: &'a [Arc<dyn Engine>],
    pub(super) shards: u16,
    pub(super) step: &'a mut Watcher<'s>,
}

impl Mover<'_, '_> {
    pub(super) fn run(&mut self) -> Result<(), StoreError> {
        self.settle_interrupted()?;
        let moves = self.flip_empty()?;
        let of = moves.len();
        for (index, moving) in moves.into_iter().enumerate() {
            self.require_space(moving)?;
            self.placement.moving = Some(moving);
            self.save()?;
            self.clear(moving.to, moving.partition)?;
            self.copy(moving)?;
            self.placement.place(moving.partition, moving.to);
            self.save()?;
            self.clear(moving.from, moving.partition)?;
            self.placement.moving = None;
            self.save()?;
            (self.step)(Step::Moved(Progress { moved: index + 1, of }))?;
        }
        Ok(())
    }

    /// Whichever side the file does not name holds a copy, whole or partial: it goes. Done before anything else, so that no
    /// copy survives a change of mind about the number of shards.
    fn settle_interrupted(&mut self) -> Result<(), StoreError> {
        let Some(moving) = self.placement.moving else { return Ok(()) };
        let flipped = self.placement.store_of(moving.partition) == moving.to;
        self.clear(if flipped { moving.from } else { moving.to }, moving.partition)?;
        self.placement.moving = None;
        self.save()
    }

    /// Partitions without data change their store in one write of the file. Returns the moves of the others.
    fn flip_empty(&mut self) -> Result<Vec<Move>, StoreError> {
        let mut moves = Vec::new();
        let mut flipped = false;
        for partition in (0..PARTITIONS).filter_map(Partition::new) {
            let (from, to) = (self.placement.store_of(partition), shard_of(partition, self.shards));
            if from == to {
                continue;
            }
            if is_empty(self.engine(from), partition)? {
                self.placement.place(partition, to);
                flipped = true;
            } else {
                moves.push(Move { partition, from, to });
            }
        }
        if flipped {
            self.save()?;
        }
        Ok(moves)
    }

    /// The copy, and as much again for its log and its compaction.
    fn require_space(&self, moving: Move) -> Result<(), StoreError> {
        let source = self.engine(moving.from);
        let (from, to) = key::partition_range(moving.partition);
        let bytes: u64 = Family::ALL.iter().map(|family| source.approximate_bytes(*family, &from, &to)).sum();
        let needed = bytes.saturating_mul(2).saturating_add(limits::DISK_RESERVE_BYTES);
        if source.free_bytes()? < needed {
            // Partitions that have left may still take space.
            self.engines.iter().for_each(|engine| engine.reclaim());
        }
        let free = source.free_bytes()?;
        if free < needed {
            return Err(StoreError::NoSpace { path: self.path.to_owned(), needed, free });
        }
        Ok(())
    }

    fn copy(&mut self, moving: Move) -> Result<(), StoreError> {
        let (from, to) = key::partition_range(moving.partition);
        let source = Arc::clone(&self.engines[usize::from(moving.from)]);
        let target = Arc::clone(&self.engines[usize::from(moving.to)]);
        let mut batch = Batch::new();
        for family in Family::ALL {
            let mut failure = None;
            source.scan(Range::new(family, &from, &to), &mut |key, value| {
                batch.put(family, key, value);
                if batch.bytes() >= limits::MOVE_BATCH_BYTES {
                    if let Err(error) = write(target.as_ref(), &batch).and_then(|()| (self.step)(Step::Written)) {
                        failure = Some(error);
                        return ControlFlow::Break(());
                    }
                    batch.clear();
                }
                ControlFlow::Continue(())
            })?;
            failure.map_or(Ok(()), Err)?;
        }
        write(target.as_ref(), &batch)?;
        (self.step)(Step::Written)?;
        target.flush(true)?;
        (self.step)(Step::Written)
    }

    fn clear(&mut self, store: u16, partition: Partition) -> Result<(), StoreError> {
        let engine = self.engine(store);
        if is_empty(engine, partition)? {
            // It may have been cleared by a write that is not durable yet.
            return engine.flush(true);
        }
        let (from, to) = key::partition_range(partition);
        let mut batch = Batch::new();
        Family::ALL.iter().for_each(|family| batch.delete_range(*family, &from, &to));
        write(engine, &batch)?;
        (self.step)(Step::Written)?;
        self.engine(store).flush(true)?;
        (self.step)(Step::Written)
    }

    fn save(&mut self) -> Result<(), StoreError> {
        self.placement.write(self.path)?;
        (self.step)(Step::Placed)
    }

    fn engine(&self, store: u16) -> &dyn Engine {
        self.engines[usize::from(store)].as_ref()
    }
}

fn is_empty(engine: &dyn Engine, partition: Partition) -> Result<bool, StoreError> {
    let (from, to) = key::partition_range(partition);
    let mut empty = true;
    for family in Family::ALL {
        engine.scan(Range::new(family, &from, &to), &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
    }
    Ok(empty)
}

/// Nothing else runs yet, so a store that is behind is simply waited for.
fn write(engine: &dyn Engine, batch: &Batch) -> Result<(), StoreError> {
    let mut refused = String::new();
    for _ in 0..limits::MOVE_REFUSAL_MS_MAX / PAUSE_MS {
        match engine.write(batch) {
            Ok(()) => return Ok(()),
            Err(WriteError::Failed(why)) => return Err(StoreError::Failed(why)),
            Err(error) => refused = error.to_string(),
        }
        thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    Err(StoreError::Failed(refused))
}

const PAUSE_MS: u64 = 10;
