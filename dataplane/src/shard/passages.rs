//! Messages on their way from one partition to another (DESIGN 8.3, 8), as numbers: at the sender which of them are to be sent, in order
//! per pair of partitions, some at once, the next when those are taken; at the receiver up to which number each pair's are taken, and
//! which are being taken now. The messages are on disk. Neither reads nor writes it, and evaluates nothing.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::{PARTITIONS, Partition, TenantId};
use uuid::Uuid;

use crate::clock::Instant;
use crate::device::passage::{Pair, Passage, Pending};
use crate::limits;
use crate::query::Reply;

/// The messages of one pair, in the order of their numbers.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    tenant: TenantId,
    bytes: usize,
}

/// What the first messages of a queue do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// They wait for their turn; the pair is among the ready.
    Ready,
    /// A lane reads them, or what it read is not durable yet.
    Reading,
    /// They were sent at this time, and are not taken yet.
    Sent(Instant),
    /// They are sent again; the pair is among the resting.
    Rests,
}

/// What one tenant has under way.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    messages: usize,
    bytes: usize,
}

/// Who is told up to which number messages are taken.
#[derive(Debug)]
pub(super) enum Sender {
    Shard(u16),
    ControlPlane(Reply<u64>),
}

/// Messages that are being taken: for whom, and those that are left.
#[derive(Debug)]
pub(super) struct Taking {
    pub from: Sender,
    pub rest: VecDeque<(u64, Passage)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Passages {
    queues: HashMap<Pair, Queue, RandomState>,
    tenants: HashMap<TenantId, Held, RandomState>,
    ready: VecDeque<Pair>,
    /// Until when, the earliest first.
    resting: VecDeque<(Instant, Pair)>,
    /// Pairs that are read or sent, and whose their first message is.
    under_way: Vec<(Pair, TenantId)>,
    len: usize,
    /// A whole configuration is there: an originator that is not there is gone.
    begun: bool,
    /// Of the store; what a lane read of an earlier one says nothing of this.
    generation: u32,
    /// By receiving partition: up to which number, by sending partition.
    marks: HashMap<Partition, Box<[u64]>, RandomState>,
    pub taking: HashMap<Pair, Taking, RandomState>,
}

impl Passages {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// # Errors
    /// Why nothing more may be under way.
    pub(super) fn has_room(&self, tenant: TenantId) -> Result<(), String> {
        let held = self.tenants.get(&tenant).copied().unwrap_or_default();
        if self.len >= limits::PASSAGES_PER_SHARD_MAX {
            return Err(format!("{} messages are on their way to other originators", self.len));
        }
        if held.messages >= limits::PASSAGES_PER_TENANT_MAX || held.bytes >= limits::PASSAGE_BYTES_PER_TENANT_MAX {
            let Held { messages, bytes } = held;
            return Err(format!("the tenant has {messages} messages of {bytes} bytes on their way to other originators"));
        }
        Ok(())
    }

    /// A message is under way.
    pub(super) fn add(&mut self, pending: Pending) {
        let Pending { pair, number, tenant, bytes } = pending;
        let held = self.tenants.entry(tenant).or_default();
        held.messages += 1;
        held.bytes += bytes;
        self.len += 1;
        let waiting = Waiting { number, tenant, bytes };
        match self.queues.get_mut(&pair) {
            Some(queue) => queue.waiting.push_back(waiting),
            None => {
                self.queues.insert(pair, Queue { waiting: [waiting].into(), stage: Stage::Ready });
                self.ready.push_back(pair);
            }
        }
    }

    /// A whole configuration is there.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// The next pair to be read, and from which number on. Pairs of a tenant that has half of those under way are passed over:
    /// their messages may have to wait at the receiver.
    pub(super) fn next(&mut self) -> Option<(Pair, u64)> {
        if !self.begun || self.under_way.len() >= limits::PASSAGE_PAIRS_AT_ONCE_MAX {
            return None;
        }
        let own = |tenant: TenantId| self.under_way.iter().filter(|(_, of)| *of == tenant).count();
        let may = |pair: &Pair| {
            let first = self.queues.get(pair).and_then(|queue| queue.waiting.front());
            first.is_none_or(|first| own(first.tenant) < limits::PASSAGE_PAIRS_AT_ONCE_MAX / 2)
        };
        let place = self.ready.iter().position(may)?;
        let pair = self.ready.remove(place)?;
        let queue = self.queues.get_mut(&pair)?;
        queue.stage = Stage::Reading;
        let (number, tenant) = queue.waiting.front().map_or((0, NOBODY), |first| (first.number, first.tenant));
        self.under_way.push((pair, tenant));
        Some((pair, number))
    }

    /// What was read of a pair leaves. False: there is no such queue any more.
    pub(super) fn send(&mut self, pair: Pair, now: Instant) -> bool {
        let Some(queue) = self.queues.get_mut(&pair).filter(|queue| queue.stage == Stage::Reading) else { return false };
        queue.stage = Stage::Sent(now);
        true
    }

    /// A pair could not be read, or its messages were not taken: again after a pause.
    pub(super) fn rest(&mut self, pair: Pair, now: Instant) {
        self.not_under_way(pair);
        if let Some(queue) = self.queues.get_mut(&pair).filter(|queue| matches!(queue.stage, Stage::Reading | Stage::Sent(_))) {
            queue.stage = Stage::Rests;
            self.resting.push_back((now.after_ms(limits::FORWARD_PAUSE_MS), pair));
        }
    }

    /// All messages of a pair up to a number are taken. Gives back the numbers that are not under way any more.
    pub(super) fn taken(&mut self, pair: Pair, up_to: u64, now: Instant) -> Vec<u64> {
        let mut gone = Vec::new();
        let Some(queue) = self.queues.get_mut(&pair) else { return gone };
        while let Some(waiting) = queue.waiting.pop_front_if(|waiting| waiting.number <= up_to) {
            gone.push(waiting.number);
            self.len -= 1;
            if let Some(held) = self.tenants.get_mut(&waiting.tenant) {
                held.messages -= 1;
                held.bytes -= waiting.bytes;
                if held.messages == 0 {
                    self.tenants.remove(&waiting.tenant);
                }
            }
        }
        // An answer to what was sent before a pause changes nothing of the pause.
        let answered = matches!(queue.stage, Stage::Sent(_));
        if queue.waiting.is_empty() {
            self.queues.remove(&pair);
            self.not_under_way(pair);
            self.ready.retain(|other| *other != pair);
            self.resting.retain(|(_, other)| *other != pair);
        } else if answered && gone.is_empty() {
            self.rest(pair, now);
        } else if answered {
            queue.stage = Stage::Ready;
            self.not_under_way(pair);
            self.ready.push_back(pair);
        }
        gone
    }

    fn not_under_way(&mut self, pair: Pair) {
        self.under_way.retain(|(other, _)| *other != pair);
    }

    /// A damaged message is passed over.
    pub(super) fn lose(&mut self, pair: Pair, number: u64) {
        let Some(queue) = self.queues.get_mut(&pair) else { return };
        let Some(place) = queue.waiting.iter().position(|waiting| waiting.number == number) else { return };
        if let Some(Waiting { tenant, bytes, .. }) = queue.waiting.remove(place) {
            self.len -= 1;
            if let Some(held) = self.tenants.get_mut(&tenant) {
                held.messages -= 1;
                held.bytes -= bytes;
            }
        }
    }

    /// Time has passed: those that rested are ready, and so are those of which nothing was heard.
    pub(super) fn tend(&mut self, now: Instant) {
        while let Some((_, pair)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            if let Some(queue) = self.queues.get_mut(&pair) {
                queue.stage = Stage::Ready;
                self.ready.push_back(pair);
            }
        }
        let overdue = |pair: &Pair| {
            let stage = self.queues.get(pair).map(|queue| queue.stage);
            matches!(stage, Some(Stage::Sent(since)) if now.ms_since(since) >= limits::FORWARD_ANSWER_MS)
        };
        let overdue: Vec<Pair> = self.under_way.iter().map(|(pair, _)| *pair).filter(overdue).collect();
        overdue.into_iter().for_each(|pair| self.rest(pair, now));
    }

    /// Up to which number a pair's messages are taken; 0: none was.
    pub(super) fn mark_of(&self, pair: Pair) -> u64 {
        let marks = self.marks.get(&pair.to).map_or(&[][..], |marks| marks);
        marks.get(place_of(pair.from)).copied().unwrap_or(0)
    }

    /// All messages of a pair up to this one are taken.
    pub(super) fn mark(&mut self, pair: Pair, number: u64) {
        let marks = self.marks.entry(pair.to).or_insert_with(|| vec![0; place_of(Partition::CONTROL_PLANE) + 1].into());
        if let Some(mark) = marks.get_mut(place_of(pair.from)) {
            *mark = (*mark).max(number);
        }
    }

    /// The store generation ended: what is on disk is found again.
    pub(super) fn clear(&mut self) {
        *self = Self { begun: self.begun, generation: self.generation.wrapping_add(1), ..Self::default() };
    }
}

/// Whose a pair is that has no message left.
const NOBODY: TenantId = TenantId(Uuid::nil());

/// Of a sender among the marks of a receiver: the control plane is behind the partitions.
fn place_of(sender: Partition) -> usize {
    usize::from(sender.number().min(PARTITIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(9));

    fn pair(to: u16) -> Pair {
        Pair { from: Partition::new(3).unwrap(), to: Partition::new(to).unwrap() }
    }

    fn pending(to: u16, number: u64) -> Pending {
        Pending { pair: pair(to), number, tenant: TENANT, bytes: 10 }
    }

    fn with(all: &[(u16, u64)]) -> Passages {
        let mut passages = Passages { begun: true, ..Passages::default() };
        all.iter().for_each(|(to, number)| passages.add(pending(*to, *number)));
        passages
    }

    #[test]
    fn some_of_a_pair_are_under_way_and_the_next_when_they_are_taken() {
        let (mut passages, now) = (with(&[(1, 5), (1, 6), (2, 7)]), Instant::default());
        assert_eq!(passages.next(), Some((pair(1), 5)));
        assert_eq!(passages.next(), Some((pair(2), 7)));
        assert_eq!(passages.next(), None);
        passages.add(pending(1, 8));
        assert!(passages.send(pair(1), now) && !passages.send(pair(1), now));
        assert_eq!(passages.taken(pair(1), 6, now), [5, 6]);
        assert_eq!(passages.next(), Some((pair(1), 8)));
        assert!(passages.send(pair(2), now));
        assert_eq!(passages.taken(pair(2), 7, now), [7]);
        assert_eq!((passages.len(), passages.queues.len(), passages.under_way.len()), (1, 1, 1));
        passages.clear();
        assert!(passages.has_room(TENANT).is_ok() && passages.len() == 0 && passages.generation() == 1);
    }

    #[test]
    fn what_is_not_taken_is_sent_again_after_a_pause() {
        let (mut passages, now) = (with(&[(1, 5)]), Instant::default());
        passages.next();
        passages.send(pair(1), now);
        assert_eq!(passages.taken(pair(1), 4, now), [0; 0], "not now");
        passages.tend(now.after_ms(limits::FORWARD_PAUSE_MS - 1));
        assert_eq!(passages.next(), None);
        let later = now.after_ms(limits::FORWARD_PAUSE_MS);
        passages.tend(later);
        assert_eq!(passages.next(), Some((pair(1), 5)));
        passages.send(pair(1), later);
        passages.tend(later.after_ms(limits::FORWARD_ANSWER_MS));
        passages.tend(later.after_ms(limits::FORWARD_ANSWER_MS + limits::FORWARD_PAUSE_MS));
        assert_eq!(passages.next(), Some((pair(1), 5)), "nothing was heard of it");
        assert_eq!(passages.taken(pair(1), 5, later), [5], "an answer that was late counts all the same");
        assert_eq!((passages.len(), passages.under_way.len()), (0, 0));
    }

    #[test]
    fn bounds_hold_and_what_is_gone_is_not_held() {
        let most = limits::PASSAGES_PER_TENANT_MAX as u64;
        let mut passages = with(&(1..=most).map(|number| (1, number)).collect::<Vec<_>>());
        assert!(passages.has_room(TENANT).is_err());
        assert!(passages.has_room(TenantId(Uuid::nil())).is_ok());
        passages.next();
        passages.lose(pair(1), 2);
        assert!(passages.has_room(TENANT).is_ok());
        passages.send(pair(1), Instant::default());
        passages.taken(pair(1), most, Instant::default());
        assert_eq!((passages.len(), passages.tenants.len()), (0, 0));
        let many = u16::try_from(limits::PASSAGE_PAIRS_AT_ONCE_MAX + 1).unwrap();
        let mut passages = with(&(0..many).map(|to| (to, 1)).collect::<Vec<_>>());
        let half = limits::PASSAGE_PAIRS_AT_ONCE_MAX / 2;
        assert_eq!(std::iter::from_fn(|| passages.next()).count(), half);
        // Others have room still, and all of them together no more than there is.
        (many..many * 2).for_each(|to| {
            passages.add(Pending { tenant: TenantId(Uuid::from_u128((to % 4).into())), ..pending(to, 1) });
        });
        assert_eq!(std::iter::from_fn(|| passages.next()).count(), limits::PASSAGE_PAIRS_AT_ONCE_MAX - half);
        // One is done: the next of those that were passed over has its turn.
        passages.send(pair(0), Instant::default());
        passages.taken(pair(0), 1, Instant::default());
        assert_eq!(passages.next().map(|(pair, _)| pair), Some(pair(half.try_into().unwrap())));
    }

    #[test]
    fn marks_are_of_pairs_and_only_grow() {
        let mut passages = Passages::default();
        assert_eq!(passages.mark_of(pair(1)), 0);
        passages.mark(pair(1), 7);
        passages.mark(pair(1), 6);
        assert_eq!((passages.mark_of(pair(1)), passages.mark_of(pair(2))), (7, 0));
        assert_eq!(passages.mark_of(Pair { from: pair(1).to, to: pair(1).from }), 0);
        let outside = Pair { from: Partition::CONTROL_PLANE, ..pair(1) };
        passages.mark(outside, 9);
        assert_eq!((passages.mark_of(outside), passages.mark_of(pair(1))), (9, 7));
    }
}
