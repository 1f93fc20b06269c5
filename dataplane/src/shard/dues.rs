//! What waits for time on a shard, and which of it is to be read now: what is due first first, of an originator and node in the order
//! in which it came if that is at the same time. The messages are on disk. Neither reads nor writes the disk.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::{EntityId, TenantId};
use uuid::Uuid;

use crate::clock::{Instant, Now, Timestamp};
use crate::device::waiting::Due;
use crate::limits;
use crate::owed::{Departed, Waits};
use crate::wheel::{Token, Wheel};

/// Of one originator at one node.
#[derive(Debug)]
struct Queue {
    node: Uuid,
    entries: BTreeMap<u64, Entry>,
    /// Nothing of it goes on before this: what came first could not.
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    tenant: TenantId,
    how: Waits,
    bytes: usize,
    configuration: u64,
    /// `None`: it is due.
    token: Option<Token>,
}

/// What a message goes on with whose originator was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// JSON.
    pub data: String,
    pub failure: Option<String>,
}

/// A call that a message waits for, to be made.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub due: Due,
    /// No answer is waited for after it.
    pub expires: Timestamp,
    pub departed: Departed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    count: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) -> bool {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.count == 0
    }
}

type Place = (EntityId, Uuid, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Dues {
    queues: HashMap<EntityId, Vec<Queue>, RandomState>,
    nodes: HashMap<Uuid, usize, RandomState>,
    tenants: HashMap<TenantId, Held, RandomState>,
    wheel: Wheel<Place>,
    /// What is due and not read yet, in order.
    ripe: VecDeque<Place>,
    /// A lane is reading.
    reading: bool,
    /// Bytes of messages that were read, or are, and have not gone on.
    read_bytes: usize,
    /// Of the store; what a lane read of an earlier one says nothing of this.
    generation: u32,
    len: usize,
    /// A whole configuration is there: a node that is not there is gone.
    begun: bool,
    /// By node, where its next message is kept.
    makers: HashMap<Uuid, Due, RandomState>,
    /// Of this turn.
    asked: Vec<Asked>,
    /// By number: what came of calls whose messages go on.
    outcomes: HashMap<u64, Outcome, RandomState>,
}

impl Default for Dues {
    fn default() -> Self {
        Self {
            queues: HashMap::default(),
            nodes: HashMap::default(),
            tenants: HashMap::default(),
            // What a start finds has its place, however much it is; what comes has been asked whether there is room.
            wheel: Wheel::new(limits::TICK_MS, usize::MAX),
            ripe: VecDeque::new(),
            reading: false,
            read_bytes: 0,
            generation: 0,
            len: 0,
            begun: false,
            makers: HashMap::default(),
            asked: Vec::new(),
            outcomes: HashMap::default(),
        }
    }
}

impl Dues {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is due, and nobody is to be called.
    pub(super) fn is_idle(&self) -> bool {
        self.ripe.is_empty() && self.asked.is_empty()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// What nodes make next that make messages.
    pub(super) fn makers(&self) -> impl Iterator<Item = Due> + '_ {
        self.makers.values().copied()
    }

    /// Whether the entity is a node that makes messages in its own name.
    pub(super) fn makes(&self, entity: EntityId) -> bool {
        self.makers.get(&entity.0).is_some_and(|next| next.originator == entity)
    }

    /// A message waits for the answer of its originator.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.asked.push(asked);
    }

    pub(super) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// What came of a call: its message is due now, if it waits still.
    pub(super) fn answered(&mut self, due: Due, outcome: Outcome) {
        let place = (due.originator, due.node, due.number);
        let Some(entry) = self.queue(due.originator, due.node).and_then(|queue| queue.entries.get_mut(&due.number)) else {
            return;
        };
        let Some(token) = entry.token.take() else { return };
        self.wheel.cancel(token);
        self.outcomes.insert(due.number, outcome);
        self.ripe.push_back(place);
    }

    /// What came of the call of a message that goes on. `None`: nothing did.
    pub(super) fn outcome(&self, number: u64) -> Option<&Outcome> {
        self.outcomes.get(&number)
    }

    /// How many wait at a node: of anybody, and of this originator.
    ///
    /// # Errors
    /// Why no other may.
    pub(super) fn waiting(&self, tenant: TenantId, originator: EntityId, node: Uuid) -> Result<(usize, usize), String> {
        if self.len >= limits::WAITING_PER_SHARD_MAX {
            return Err(format!("{} messages wait for time already", self.len));
        }
        let held = self.tenants.get(&tenant).copied().unwrap_or_default();
        if held.count >= limits::WAITING_PER_TENANT_MAX || held.bytes >= limits::WAITING_BYTES_PER_TENANT_MAX {
            return Err(format!("{} messages of {} bytes of the tenant wait for time already", held.count, held.bytes));
        }
        let Some(queues) = self.queues.get(&originator) else { return Ok((self.at(node), 0)) };
        let mut own = Held::default();
        for entry in queues.iter().flat_map(|queue| queue.entries.values()) {
            own.add(entry.bytes);
        }
        if own.count >= limits::WAITING_PER_ENTITY_MAX || own.bytes >= limits::WAITING_BYTES_PER_ENTITY_MAX {
            return Err(format!("{} messages of {} bytes of the originator wait for time already", own.count, own.bytes));
        }
        let here = queues.iter().find(|queue| queue.node == node).map_or(0, |queue| queue.entries.len());
        Ok((self.at(node), here))
    }

    fn at(&self, node: Uuid) -> usize {
        self.nodes.get(&node).copied().unwrap_or(0)
    }

    /// Something waits.
    pub(super) fn add(&mut self, due: Due, now: Now) {
        let Due { originator, node, number, at, tenant, how, bytes, configuration } = due;
        if how == Waits::Made {
            self.makers.insert(node, due);
        }
        self.len += 1;
        self.tenants.entry(tenant).or_default().add(bytes);
        *self.nodes.entry(node).or_default() += 1;
        let token = self.arm((originator, node, number), at, now);
        let queues = self.queues.entry(originator).or_default();
        let entry = Entry { at, tenant, how, bytes, configuration, token };
        match queues.iter_mut().find(|queue| queue.node == node) {
            Some(queue) => drop(queue.entries.insert(number, entry)),
            None => queues.push(Queue { node, entries: [(number, entry)].into(), until: Instant::default() }),
        }
    }

    fn arm(&mut self, place: Place, at: Timestamp, now: Now) -> Option<Token> {
        let ahead_ms = u64::try_from(at.0.saturating_sub(now.timestamp.0)).unwrap_or(0);
        self.wheel.insert(now.instant.after_ms(ahead_ms), place)
    }

    fn queue(&mut self, originator: EntityId, node: Uuid) -> Option<&mut Queue> {
        self.queues.get_mut(&originator)?.iter_mut().find(|queue| queue.node == node)
    }

    /// A whole configuration is there.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Time has passed.
    pub(super) fn ripen(&mut self, now: Now) {
        if self.len == 0 {
            return;
        }
        let mut fresh = Vec::new();
        while let Some(place) = self.wheel.next_expired(now.instant) {
            let (originator, node, number) = place;
            let Some(queue) = self.queue(originator, node) else { continue };
            let until = queue.until;
            let Some(entry) = queue.entries.get_mut(&number) else { continue };
            entry.token = None;
            let at = entry.at;
            // The wheel's clock and that of timestamps begin at different parts of a millisecond.
            if at > now.timestamp || until > now.instant {
                let later = if at > now.timestamp { now.instant.after_ms(1) } else { until };
                let token = self.wheel.insert(later, place);
                if let Some(entry) = self.queue(originator, node).and_then(|queue| queue.entries.get_mut(&number)) {
                    entry.token = token;
                }
                continue;
            }
            fresh.push((at, number, place));
        }
        fresh.sort_unstable();
        self.ripe.extend(fresh.into_iter().map(|(_, _, place)| place));
    }

    /// What is to be read now, and for which generation.
    pub(super) fn next(&mut self) -> Option<(u32, Vec<Due>)> {
        if self.reading || !self.begun || self.read_bytes >= limits::DUE_BYTES_AT_ONCE_MAX {
            return None;
        }
        let mut wanted = Vec::new();
        while wanted.len() < limits::DUE_AT_ONCE_MAX && self.read_bytes < limits::DUE_BYTES_AT_ONCE_MAX {
            let Some((originator, node, number)) = self.ripe.pop_front() else { break };
            let Some(due) = self.find(originator, node, number) else { continue };
            self.read_bytes += self.bytes_with(due);
            wanted.push(due);
        }
        self.reading = !wanted.is_empty();
        self.reading.then_some((self.generation, wanted))
    }

    fn find(&self, originator: EntityId, node: Uuid, number: u64) -> Option<Due> {
        let queue = self.queues.get(&originator)?.iter().find(|queue| queue.node == node)?;
        let Entry { at, tenant, how, bytes, configuration, .. } = *queue.entries.get(&number)?;
        Some(Due { originator, node, number, at, tenant, how, bytes, configuration })
    }

    /// Everything else that waits with it comes along. Counted at most: what comes meanwhile is not read.
    fn bytes_with(&self, due: Due) -> usize {
        match due.how {
            Waits::Alone | Waits::Made | Waits::Answer => due.bytes,
            Waits::Together => limits::WAITING_BYTES_PER_ENTITY_MAX,
        }
    }

    /// A lane has read. False: it was of an earlier generation.
    pub(super) fn read(&mut self, generation: u32) -> bool {
        if generation != self.generation {
            return false;
        }
        self.reading = false;
        true
    }

    /// Nobody holds the message of this any more.
    pub(super) fn let_go(&mut self, due: Due) {
        self.read_bytes = self.read_bytes.saturating_sub(self.bytes_with(due));
    }

    /// It could not go on now: it tries again later, and what came behind it does not pass it.
    pub(super) fn again(&mut self, due: Due, now: Now) {
        let until = now.instant.after_ms(limits::DUE_PAUSE_MS);
        let place = (due.originator, due.node, due.number);
        let token = self.wheel.insert(until, place);
        if let Some(queue) = self.queue(due.originator, due.node) {
            queue.until = until;
            if let Some(entry) = queue.entries.get_mut(&due.number) {
                entry.token = token;
            }
        }
    }

    pub(super) fn waits(&self, due: Due) -> bool {
        self.find(due.originator, due.node, due.number).is_some()
    }

    /// It does not wait any more. `None`: it did not.
    pub(super) fn finish(&mut self, originator: EntityId, node: Uuid, number: u64) -> Option<Due> {
        let due = self.find(originator, node, number)?;
        let queues = self.queues.get_mut(&originator)?;
        let place = queues.iter().position(|queue| queue.node == node)?;
        let entry = queues.get_mut(place)?.entries.remove(&number)?;
        if queues.get(place)?.entries.is_empty() {
            queues.swap_remove(place);
        }
        if queues.is_empty() {
            self.queues.remove(&originator);
        }
        self.release(node, number, entry);
        Some(due)
    }

    fn release(&mut self, node: Uuid, number: u64, entry: Entry) {
        self.len -= 1;
        match entry.how {
            Waits::Answer => drop(self.outcomes.remove(&number)),
            Waits::Made if self.makers.get(&node).is_some_and(|next| next.number == number) => drop(self.makers.remove(&node)),
            _ => {}
        }
        if let Some(token) = entry.token {
            self.wheel.cancel(token);
        }
        if self.tenants.get_mut(&entry.tenant).is_some_and(|held| held.remove(entry.bytes)) {
            self.tenants.remove(&entry.tenant);
        }
        if let Some(count) = self.nodes.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&node);
            }
        }
    }

    /// An entity is gone; gives out what waited of it.
    pub(super) fn forget(&mut self, originator: EntityId) -> Vec<Due> {
        let mut gone = Vec::new();
        for queue in self.queues.remove(&originator).unwrap_or_default() {
            for (number, entry) in queue.entries {
                let Entry { at, tenant, how, bytes, configuration, .. } = entry;
                gone.push(Due { originator, node: queue.node, number, at, tenant, how, bytes, configuration });
                self.release(queue.node, number, entry);
            }
        }
        gone
    }

    /// The store generation ended.
    pub(super) fn clear(&mut self) {
        *self = Self { generation: self.generation.wrapping_add(1), begun: self.begun, ..Self::default() };
    }
}
