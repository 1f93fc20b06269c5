//! Threads that may block for a shard: the reader lane, and the guard every lane runs under.
//! A lane never touches the shard's own state; it is given what it needs and sends back what it found.

use std::{fmt, process, sync::Arc, thread};

use crossbeam::channel::{self, TrySendError};

use crate::store::{Engine, StoreError};

/// Something to read off the shard's thread.
pub type Job = Box<dyn FnOnce(&dyn Engine) + Send>;

/// The lane has as many jobs waiting as it may, or is gone. The job is given back.
pub struct Full(pub Job);

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

/// A panic on a lane would leave a shard waiting for ever: the process ends instead (DESIGN 8.2, 7).
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}

/// Starts a named thread whose panic ends the process.
///
/// # Errors
/// The operating system has no thread to give.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StoreError> {
    let guarded = move || {
        let _guard = AbortOnPanic;
        body();
    };
    let failed = |error| StoreError::Failed(format!("thread {name} did not start: {error}"));
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(failed)
}

/// One thread that reads for one shard: device states, history. Jobs run one after the other, in order.
#[derive(Debug)]
pub struct ReaderLane {
    jobs: Option<channel::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ReaderLane {
    /// # Errors
    /// The operating system has no thread to give.
    pub fn spawn(engine: Arc<dyn Engine>, jobs_max: usize) -> Result<Self, StoreError> {
        let (jobs, waiting) = channel::bounded::<Job>(jobs_max);
        let thread = spawn("tidegate-read", move || {
            for job in waiting {
                job(engine.as_ref());
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    #[must_use]
    pub fn has_room(&self) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| !jobs.is_full())
    }

    /// # Errors
    /// The job itself when the lane is full.
    pub fn submit(&self, job: Job) -> Result<(), Full> {
        match &self.jobs {
            None => Err(Full(job)),
            Some(jobs) => jobs.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => Full(job),
            }),
        }
    }
}

/// Runs what was submitted, ends the thread and with it the lane's hold on the engine.
impl Drop for ReaderLane {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A lane that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::store::{Batch, Family, memory::MemoryEngine};

    #[test]
    fn jobs_run_in_order_and_all_run_before_the_lane_ends() {
        let engine = MemoryEngine::new();
        let mut batch = Batch::new();
        batch.put(Family::State, b"k", b"v");
        engine.write(&batch).unwrap();
        let lane = ReaderLane::spawn(engine, limits::READER_JOBS_MAX).unwrap();
        let (out, found) = channel::unbounded();
        for number in 0..10 {
            let out = out.clone();
            lane.submit(Box::new(move |engine| {
                let _ = out.send((number, engine.get(Family::State, b"k").unwrap().unwrap()));
            }))
            .unwrap();
        }
        drop(lane);
        drop(out);
        let found: Vec<(i32, Vec<u8>)> = found.iter().collect();
        assert_eq!(found, (0..10).map(|number| (number, b"v".to_vec())).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_lane_gives_the_job_back() {
        let lane = ReaderLane::spawn(MemoryEngine::new(), limits::READER_JOBS_MAX).unwrap();
        let (hold, held) = channel::bounded::<()>(0);
        lane.submit(Box::new(move |_| held.recv().unwrap_or(()))).unwrap();
        let mut accepted = 0;
        while lane.submit(Box::new(|_| ())).is_ok() {
            accepted += 1;
        }
        assert!(!lane.has_room());
        // The thread may or may not have taken the first job out of the queue by now.
        assert!((limits::READER_JOBS_MAX - 1..=limits::READER_JOBS_MAX).contains(&accepted), "{accepted}");
        drop(hold);
    }
}
