//! Group commit. The shard writes and gets a ticket; a lane flushes and says how far it is durable (DESIGN 8.1, 3).
//! Never reports a ticket whose flush has not returned, and none at all after a flush that failed (DESIGN 8.2, 5).

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    clock::Clock,
    limits,
    store::{Batch, Engine, StoreError, Ticket, WriteError, lane},
};

/// What "durable" means (DESIGN 3.5). Nothing weaker exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk: survives power loss.
    Synced,
    /// With the operating system: survives kill -9; on disk within a second.
    Buffered,
}

/// What shard, lane and readers share: counters and a flag.
#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    /// The newest ticket that the shard wants durable now.
    wanted: AtomicU64,
    durable: AtomicU64,
    commits: AtomicU64,
    failure: OnceLock<String>,
    closing: AtomicBool,
}

/// How far a shard's store is, for any thread.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

impl Progress {
    /// The newest ticket written.
    #[must_use]
    pub fn written(&self) -> Ticket {
        Ticket(self.0.written.load(Ordering::Acquire))
    }

    /// The newest ticket that may be acknowledged.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        Ticket(self.0.durable.load(Ordering::Acquire))
    }
}

/// The shard's side of the commit lane.
pub struct Committer {
    engine: Arc<dyn Engine>,
    shared: Arc<Shared>,
    lane: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Committer {
    /// Starts the lane. `doorbell` rings after every report and after a failure.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn spawn(
        engine: Arc<dyn Engine>,
        durability: Durability,
        doorbell: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        let mut commits =
            Lane { engine: Arc::clone(&engine), shared: Arc::clone(&shared), durability, doorbell, clock: Clock::start() };
        let lane = lane::spawn("tidegate-commit", move || commits.run())?;
        Ok(Self { engine, shared, lane: Some(lane) })
    }

    /// Writes a batch on the calling thread. It becomes durable after the next [`Self::commit`], or with the one under way.
    ///
    /// # Errors
    /// See [`WriteError`]; after a failure of the lane every write fails.
    pub fn persist(&mut self, batch: &Batch) -> Result<Ticket, WriteError> {
        if let Some(failure) = self.shared.failure.get() {
            return Err(WriteError::Failed(failure.clone()));
        }
        self.engine.write(batch)?;
        let ticket = self.shared.written.load(Ordering::Relaxed) + 1;
        // Release: whoever reads the ticket finds the batch in the engine.
        self.shared.written.store(ticket, Ordering::Release);
        Ok(Ticket(ticket))
    }

    /// Asks the lane to make everything written durable. The shard chooses the moment: a commit costs the same for one
    /// batch and for a thousand.
    pub fn commit(&mut self) {
        let written = self.shared.written.load(Ordering::Relaxed);
        if written > self.shared.wanted.load(Ordering::Relaxed) {
            self.shared.wanted.store(written, Ordering::Release);
            if let Some(lane) = &self.lane {
                lane.thread().unpark();
            }
        }
    }

    /// Is anything written that was not asked to become durable?
    #[must_use]
    pub fn uncommitted(&self) -> bool {
        self.shared.written.load(Ordering::Relaxed) > self.shared.wanted.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn written(&self) -> Ticket {
        self.progress().written()
    }

    #[must_use]
    pub fn durable(&self) -> Ticket {
        self.progress().durable()
    }

    /// Flushes that reported something.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Why this store generation is over, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.get().cloned()
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        self.shared.failure.get().is_some()
    }

    /// See [`Engine::backlog`].
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.engine.backlog()
    }

    /// For lanes and readers.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress(Arc::clone(&self.shared))
    }

    /// Ends the lane, which flushes and syncs everything written before it goes.
    ///
    /// # Errors
    /// A flush failed, now or earlier.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.end();
        self.shared.failure.get().map_or(Ok(()), |failure| Err(StoreError::Failed(failure.clone())))
    }

    fn end(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        if let Some(lane) = self.lane.take() {
            lane.thread().unpark();
            // A lane that panicked has ended the process.
            let _ = lane.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's side.
struct Lane {
    engine: Arc<dyn Engine>,
    shared: Arc<Shared>,
    durability: Durability,
    doorbell: Arc<dyn Fn() + Send + Sync>,
    clock: Clock,
}

impl Lane {
    fn run(&mut self) {
        let mut synced = 0;
        let mut synced_at = self.clock.now().instant;
        loop {
            // Read before the tickets: what was written before closing is flushed below.
            let closing = self.shared.closing.load(Ordering::Acquire);
            let wanted = self.shared.wanted.load(Ordering::Acquire);
            let written = self.shared.written.load(Ordering::Acquire);
            let now = self.clock.now().instant;
            let overdue = now.ms_since(synced_at) >= limits::BUFFERED_SYNC_MS;
            let sync = closing || self.durability == Durability::Synced || overdue;
            // Whoever closes wants everything.
            let due = if closing || overdue { written } else { wanted };
            let todo = due > if sync { synced } else { self.shared.durable.load(Ordering::Relaxed) };
            if todo {
                if let Err(error) = self.engine.flush(sync) {
                    let _ = self.shared.failure.set(error.to_string());
                    (self.doorbell)();
                    return;
                }
                if sync {
                    (synced, synced_at) = (written, now);
                }
                self.report(written);
            } else if closing {
                return;
            } else if written > synced && self.durability == Durability::Buffered {
                thread::park_timeout(Duration::from_millis(limits::BUFFERED_SYNC_MS));
            } else {
                // Idle time is no debt: the next write starts a new second.
                thread::park();
                synced_at = self.clock.now().instant;
            }
        }
    }

    fn report(&self, written: u64) {
        if written > self.shared.durable.load(Ordering::Relaxed) {
            self.shared.commits.fetch_add(1, Ordering::Relaxed);
            self.shared.durable.store(written, Ordering::Release);
            (self.doorbell)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Family, memory::MemoryEngine};

    fn committer(engine: &Arc<MemoryEngine>, durability: Durability) -> Committer {
        Committer::spawn(Arc::clone(engine) as Arc<dyn Engine>, durability, Arc::new(|| ())).unwrap()
    }

    fn batch(key: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.put(Family::State, key, b"v");
        batch
    }

    fn wait_for(mut done: impl FnMut() -> bool) {
        for _ in 0..5_000 {
            if done() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("not within 5 s");
    }

    /// DESIGN 8.1, 3: what was reported survives.
    #[test]
    fn a_reported_ticket_survives_the_crash_of_its_durability() {
        for durability in [Durability::Synced, Durability::Buffered] {
            let engine = MemoryEngine::new();
            let mut commits = committer(&engine, durability);
            for number in 0..100_u8 {
                let ticket = commits.persist(&batch(&[number])).unwrap();
                assert!(commits.uncommitted());
                commits.commit();
                assert!(!commits.uncommitted());
                assert_eq!(ticket, Ticket(u64::from(number) + 1));
                wait_for(|| commits.durable() >= ticket);
                let after = if durability == Durability::Synced { engine.crash() } else { engine.kill() };
                assert!(after.get(Family::State, &[number]).unwrap().is_some(), "{durability:?} {number}");
            }
            assert!(commits.commits() > 0);
            commits.close().unwrap();
            assert!(engine.crash().get(Family::State, &[99]).unwrap().is_some());
        }
    }

    #[test]
    fn buffered_is_on_disk_within_a_second_or_so() {
        let engine = MemoryEngine::new();
        let mut commits = committer(&engine, Durability::Buffered);
        let ticket = commits.persist(&batch(b"k")).unwrap();
        commits.commit();
        wait_for(|| commits.durable() >= ticket);
        wait_for(|| engine.crash().get(Family::State, b"k").unwrap().is_some());
    }

    /// DESIGN 8.2, 5: after a failed flush none of the generation's later tickets is reported.
    #[test]
    fn a_failed_flush_ends_the_generation() {
        let engine = MemoryEngine::new();
        let mut commits = committer(&engine, Durability::Synced);
        let first = commits.persist(&batch(b"a")).unwrap();
        commits.commit();
        wait_for(|| commits.durable() >= first);
        engine.fail_flushes(true);
        let second = commits.persist(&batch(b"b")).unwrap();
        commits.commit();
        wait_for(|| commits.failure().is_some());
        engine.fail_flushes(false);
        assert!(matches!(commits.persist(&batch(b"c")), Err(WriteError::Failed(_))));
        assert!(commits.durable() < second);
        assert!(commits.close().is_err());
    }

    #[test]
    fn a_refused_batch_has_no_ticket() {
        let engine = MemoryEngine::new();
        let mut commits = committer(&engine, Durability::Synced);
        engine.stall(1);
        assert_eq!(commits.persist(&batch(b"a")), Err(WriteError::Stalled));
        engine.fill(true);
        assert_eq!(commits.persist(&batch(b"a")), Err(WriteError::DiskFull));
        engine.fill(false);
        assert_eq!(commits.persist(&batch(b"a")), Ok(Ticket(1)));
    }
}
