//! Well-behaved clients beside a crowd: a thread that publishes evenly over connections that stay, and notes how long each
//! acknowledgement took, by the phase in which the message left. Never part of what it watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{anyhow, bail};
use hdrhistogram::Histogram;

use super::clock::{self, MILLI, SECOND};
use super::connection::{Phase, Shape};
use super::crowd::{Crowd, News};
use super::report::new_histogram;
use super::schedule::Schedule;
use super::tokens::Device;

/// Before, during, after.
pub(crate) const PHASES: usize = 3;
/// How long the first CONNACKs, and the last acknowledgements, are waited for.
const PATIENCE: u64 = 10 * SECOND;
/// Between losing a connection and trying again.
const PAUSE: u64 = SECOND;
/// Unacknowledged messages of one witness, beyond which it is silent.
const IN_FLIGHT_MAX: usize = 512;

#[derive(Debug)]
pub(crate) struct Witnesses {
    /// When each phase began; `u64::MAX`: not yet.
    phases: Arc<[AtomicU64; PHASES]>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Seen>>,
}

/// What the witnesses saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// From the sending of a message to its acknowledgement.
    pub(crate) acks: [Histogram<u64>; PHASES],
    pub(crate) lost_connections: u64,
    pub(crate) unanswered: u64,
}

impl Witnesses {
    /// Connects them all, and begins to publish so many messages a second with all of them together.
    ///
    /// # Errors
    /// They are not admitted.
    pub(crate) fn start(shape: Shape, devices: (Vec<Device>, bool), rate: u64) -> anyhow::Result<Self> {
        let mut crowd = Crowd::new(shape, "tg-witness", devices, 1)?;
        let end = clock::now() + PATIENCE;
        let mut news = Vec::new();
        (0..crowd.members.len()).try_for_each(|index| crowd.open(index))?;
        while crowd.admitted() < crowd.members.len() {
            crowd.step(10 * MILLI, &mut news)?;
            if let Some((index, news)) = news.iter().find(|(_, news)| !matches!(news, News::Admitted { .. })) {
                let why = crowd.fault.take().unwrap_or_else(|| format!("{news:?}"));
                bail!("well-behaved client {index} was not admitted by {}: {why}", crowd.shape.server);
            }
            if clock::now() > end {
                bail!("{} of {} witnesses were admitted in 10 s", crowd.admitted(), crowd.members.len());
            }
            news.clear();
        }
        let phases = Arc::new([const { AtomicU64::new(u64::MAX) }; PHASES]);
        phases[0].store(clock::now(), Ordering::Relaxed);
        let ended = Arc::new(AtomicBool::new(false));
        let (theirs, end) = (Arc::clone(&phases), Arc::clone(&ended));
        let thread = std::thread::spawn(move || watch(crowd, rate, &theirs, &end));
        Ok(Self { phases, ended, thread })
    }

    /// From now on messages count for this phase.
    pub(crate) fn enter(&self, phase: usize) {
        if let Some(begun) = self.phases.get(phase) {
            begun.store(clock::now(), Ordering::Relaxed);
        }
    }

    /// # Errors
    /// The thread could not go on.
    pub(crate) fn finish(self) -> anyhow::Result<Seen> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the witnesses' thread ended in a panic"))?
    }
}

/// The phase in which something was sent.
fn phase_of(at: u64, phases: &[AtomicU64; PHASES]) -> Option<usize> {
    phases.iter().rposition(|begun| begun.load(Ordering::Relaxed) <= at)
}

fn watch(mut crowd: Crowd, rate: u64, phases: &[AtomicU64; PHASES], ended: &AtomicBool) -> anyhow::Result<Seen> {
    let mut seen = Seen { acks: std::array::from_fn(|_| new_histogram()), lost_connections: 0, unanswered: 0 };
    let schedule = Schedule::new(clock::now(), rate, crowd.members.len() as u64);
    let (mut scheduled, mut news, mut last) = (0, Vec::new(), u64::MAX);
    loop {
        let now = clock::now();
        if ended.load(Ordering::Relaxed) {
            last = last.min(now + PATIENCE);
            if now > last || crowd.members.iter().all(|member| member.flights.is_empty()) {
                break;
            }
        } else {
            let due = schedule.due(now);
            for message in scheduled..due {
                publish(&mut crowd, usize::try_from(schedule.connection_of(message))?, now);
            }
            scheduled = due;
        }
        crowd.step(schedule.at(scheduled).saturating_sub(clock::now()).min(20 * MILLI), &mut news)?;
        let now = clock::now();
        for (index, news) in news.drain(..) {
            match news {
                News::Acked { at } => {
                    if let Some(acks) = phase_of(at, phases).and_then(|phase| seen.acks.get_mut(phase)) {
                        acks.saturating_record(now.saturating_sub(at));
                    }
                }
                News::Refused(_) | News::Gone(_) => {
                    seen.lost_connections += 1;
                    crowd.members[index].flights.clear();
                    crowd.members[index].open_at = now + PAUSE;
                }
                News::Admitted { .. } => {}
            }
        }
        for index in 0..crowd.members.len() {
            if crowd.members[index].phase == Phase::Closed && crowd.members[index].open_at <= now {
                crowd.open(index)?;
            }
        }
    }
    seen.unanswered = crowd.members.iter().map(|member| member.flights.len() as u64).sum();
    Ok(seen)
}

fn publish(crowd: &mut Crowd, index: usize, now: u64) {
    let Some(member) = crowd.members.get_mut(index) else { return };
    if member.phase == Phase::Up && member.flights.len() < IN_FLIGHT_MAX {
        member.publish(&crowd.shape, now, 0);
        // A broken connection says so when it is read.
        member.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_belongs_to_the_phase_it_was_sent_in() {
        let phases = [AtomicU64::new(10), AtomicU64::new(20), AtomicU64::new(u64::MAX)];
        let found = [5, 10, 19, 20, 1_000].map(|at| phase_of(at, &phases));
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(1)]);
    }
}
