//! Reads of the disk that may take long, of ranges: they wait here for their lane, tenant by tenant in turn, so that whoever asks for
//! much waits behind itself. Never reads anything itself.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::TenantId;

use super::shares::Shares;
use crate::clock::Instant;
use crate::limits;
use crate::store::Job;

/// See the module.
#[derive(Default)]
pub(super) struct Reads {
    /// Of each tenant that has any, with the time until which somebody waits for it.
    waiting: HashMap<TenantId, VecDeque<(Instant, Job)>, RandomState>,
    /// Those tenants, the next one first.
    turns: VecDeque<TenantId>,
    shares: Shares<{ limits::LONG_READS_WAITING_MAX }, { usize::MAX }>,
}

impl Reads {
    /// A read waits; false: there is no room for it. Whoever asked for one that is dropped learns that there is no answer.
    pub(super) fn push(&mut self, tenant: TenantId, until: Instant, job: Job) -> bool {
        if !self.shares.has_room(tenant, 0) {
            return false;
        }
        self.shares.add(tenant, 0);
        let waiting = self.waiting.entry(tenant).or_default();
        if waiting.is_empty() {
            self.turns.push_back(tenant);
        }
        waiting.push_back((until, job));
        true
    }

    /// The next read that somebody still waits for.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        loop {
            let tenant = self.turns.pop_front()?;
            let Some(waiting) = self.waiting.get_mut(&tenant) else { continue };
            let read = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            let Some((until, job)) = read else { continue };
            self.shares.remove(tenant, 0);
            if until > now {
                return Some(job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::store::memory::MemoryEngine;

    #[test]
    fn tenants_read_in_turn_and_what_nobody_waits_for_is_passed_over() {
        let [mine, other] = [1, 2].map(|number| TenantId(uuid::Uuid::from_u128(number)));
        let (engine, (done, was_done)) = (MemoryEngine::new(), mpsc::channel());
        let job = |number: usize| -> Job {
            let done = done.clone();
            Box::new(move |_| done.send(number).unwrap())
        };
        let (mut reads, now) = (Reads::default(), Instant::default());
        let later = now.after_ms(1);
        let most = limits::LONG_READS_WAITING_MAX / 2;
        assert!((0..most).all(|number| reads.push(mine, if number == 1 { now } else { later }, job(number))));
        assert!(!reads.push(mine, later, job(most)) && reads.push(other, later, job(1_000)));
        while let Some(job) = reads.next(now) {
            job(&*engine);
        }
        let expected: Vec<usize> = [0, 1_000].into_iter().chain(2..most).collect();
        assert_eq!(was_done.try_iter().collect::<Vec<_>>(), expected);
        assert!(reads.waiting.is_empty() && reads.turns.is_empty() && reads.push(mine, later, job(0)));
    }
}
