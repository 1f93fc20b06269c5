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
    /// False: a start has found it, and nobody knows whether its originator was called.
    called: bool,
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

/// What waits of one originator.
#[derive(Debug, Default)]
struct Own {
    held: Held,
    queues: Vec<Queue>,
}

type Place = (EntityId, Uuid, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Dues {
    originators: HashMap<EntityId, Own, RandomState>,
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
            originators: HashMap::default(),
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
        let Some(token) = self.entry(place).and_then(|entry| entry.token.take()) else { return };
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
        let Some(Own { held: own, queues }) = self.originators.get(&originator) else { return Ok((self.at(node), 0)) };
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
        let Own { held, queues } = self.originators.entry(originator).or_default();
        held.add(bytes);
        let entry = Entry { at, tenant, how, bytes, configuration, token, called: true };
        match queues.iter_mut().find(|queue| queue.node == node) {
            Some(queue) => drop(queue.entries.insert(number, entry)),
            None => queues.push(Queue { node, entries: [(number, entry)].into(), until: Instant::default() }),
        }
    }

    /// A start has found something that waits. What waits for an answer is read at once: its call may have to be made.
    pub(super) fn recover(&mut self, due: Due, now: Now) {
        self.add(due, now);
        let place = (due.originator, due.node, due.number);
        if due.how == Waits::Answer
            && let Some(entry) = self.entry(place)
        {
            entry.called = false;
            if let Some(token) = entry.token.take() {
                self.wheel.cancel(token);
            }
            self.ripe.push_back(place);
        }
    }

    /// Whether its call may have to be made; from now on it waits for the answer.
    pub(super) fn wants_call(&mut self, due: Due, now: Now) -> bool {
        let place = (due.originator, due.node, due.number);
        let Some(entry) = self.entry(place).filter(|entry| !entry.called) else { return false };
        entry.called = true;
        let token = self.arm(place, due.at, now);
        if let Some(entry) = self.entry(place) {
            entry.token = token;
        }
        true
    }

    fn entry(&mut self, (originator, node, number): Place) -> Option<&mut Entry> {
        self.queue(originator, node)?.entries.get_mut(&number)
    }

    fn arm(&mut self, place: Place, at: Timestamp, now: Now) -> Option<Token> {
        let ahead_ms = u64::try_from(at.0.saturating_sub(now.timestamp.0)).unwrap_or(0);
        self.wheel.insert(now.instant.after_ms(ahead_ms), place)
    }

    fn queue(&mut self, originator: EntityId, node: Uuid) -> Option<&mut Queue> {
        self.originators.get_mut(&originator)?.queues.iter_mut().find(|queue| queue.node == node)
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
            let at = if entry.called { entry.at } else { now.timestamp };
            // The wheel's clock and that of timestamps begin at different parts of a millisecond.
            if at > now.timestamp || until > now.instant {
                let later = if at > now.timestamp { now.instant.after_ms(1) } else { until };
                let token = self.wheel.insert(later, place);
                if let Some(entry) = self.entry(place) {
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
        let queue = self.originators.get(&originator)?.queues.iter().find(|queue| queue.node == node)?;
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
        let Own { held, queues } = self.originators.get_mut(&originator)?;
        let place = queues.iter().position(|queue| queue.node == node)?;
        let entry = queues.get_mut(place)?.entries.remove(&number)?;
        held.remove(entry.bytes);
        if queues.get(place)?.entries.is_empty() {
            queues.swap_remove(place);
        }
        if queues.is_empty() {
            self.originators.remove(&originator);
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
        for queue in self.originators.remove(&originator).unwrap_or_default().queues {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(9));
    const NODE: Uuid = Uuid::from_u128(5);

    fn entity(id: u128) -> EntityId {
        EntityId(Uuid::from_u128(id))
    }

    fn due(originator: u128, number: u64, at: i64) -> Due {
        Due { bytes: 10, ..Due::new(entity(originator), NODE, number, (TENANT, Waits::Alone, Timestamp(at))) }
    }

    /// So many milliseconds later, on both clocks.
    fn after(ms: u64) -> Now {
        let timestamp = Timestamp(1_000 + i64::try_from(ms).unwrap());
        Now { instant: Instant::default().after_ms(ms), timestamp }
    }

    fn begun(dues: impl IntoIterator<Item = Due>) -> Dues {
        let mut all = Dues::default();
        all.begin();
        dues.into_iter().for_each(|due| all.add(due, after(0)));
        all
    }

    /// The numbers that are read next; nobody has them in memory any more.
    fn read(dues: &mut Dues) -> Vec<u64> {
        let Some((generation, wanted)) = dues.next() else { return Vec::new() };
        assert!(dues.read(generation));
        wanted.iter().for_each(|due| dues.let_go(*due));
        wanted.iter().map(|due| due.number).collect()
    }

    #[test]
    fn what_is_due_is_read_in_order_and_what_could_not_go_on_is_not_passed() {
        let mut dues = begun([due(1, 3, 1_500), due(1, 2, 2_000), due(2, 4, 1_400), due(1, 1, 2_000)]);
        dues.ripen(after(300));
        assert!(dues.is_idle());
        dues.ripen(after(600));
        assert_eq!(read(&mut dues), [4, 3]);
        assert_eq!(dues.finish(entity(2), NODE, 4), Some(due(2, 4, 1_400)));
        dues.again(due(1, 3, 1_500), after(600));
        dues.ripen(after(1_100));
        assert_eq!(read(&mut dues), [0; 0], "those behind it are due, and wait for it");
        dues.ripen(after(1_700));
        assert_eq!(read(&mut dues), [3, 1, 2]);
    }

    #[test]
    fn nothing_is_read_before_there_is_a_configuration_nor_beyond_the_bytes() {
        let mut dues = Dues::default();
        let large = |number| Due { bytes: limits::DUE_BYTES_AT_ONCE_MAX / 2, ..due(1, number, 1_000) };
        (1..=3).for_each(|number| dues.add(large(number), after(0)));
        dues.ripen(after(200));
        assert!(dues.next().is_none());
        dues.begin();
        let (generation, wanted) = dues.next().expect("two of them");
        assert_eq!((wanted.len(), dues.next().is_none()), (2, true), "one read at a time");
        assert!(dues.read(generation) && dues.next().is_none(), "until those have gone on");
        dues.let_go(large(1));
        assert_eq!(read(&mut dues), [3]);
        dues.clear();
        assert!(!dues.read(generation), "of an earlier store");
        assert_eq!((dues.len(), dues.is_idle()), (0, true));
    }

    #[test]
    fn an_originator_and_a_tenant_have_their_share_and_what_is_gone_is_not_held() {
        let mut dues = begun([]);
        let here = |dues: &Dues, tenant, originator| dues.waiting(tenant, entity(originator), NODE).ok();
        let entity_max = limits::WAITING_PER_ENTITY_MAX as u64;
        (0..entity_max).for_each(|number| dues.add(due(1, number, 9_000), after(0)));
        assert_eq!(here(&dues, TENANT, 1), None);
        assert_eq!(here(&dues, TENANT, 2), Some((limits::WAITING_PER_ENTITY_MAX, 0)));
        for number in entity_max..limits::WAITING_PER_TENANT_MAX as u64 {
            dues.add(due(u128::from(number), number, 9_000), after(0));
        }
        assert_eq!((here(&dues, TENANT, 2), here(&dues, TenantId(Uuid::nil()), 2).is_some()), (None, true));
        assert_eq!(dues.forget(entity(1)).len(), limits::WAITING_PER_ENTITY_MAX);
        assert_eq!(here(&dues, TENANT, 1), Some((limits::WAITING_PER_TENANT_MAX - limits::WAITING_PER_ENTITY_MAX, 0)));
        for number in entity_max..limits::WAITING_PER_TENANT_MAX as u64 {
            assert!(dues.finish(entity(u128::from(number)), NODE, number).is_some());
        }
        assert_eq!((dues.len(), dues.originators.len(), dues.tenants.len(), dues.nodes.len(), dues.wheel.len()), (0, 0, 0, 0, 0));
    }

    #[test]
    fn an_answer_is_due_at_once_and_only_once() {
        let call = Due { how: Waits::Answer, ..due(1, 7, 60_000) };
        let mut dues = begun([call]);
        let outcome = |data: &str| Outcome { data: data.to_owned(), failure: None };
        dues.answered(call, outcome("1"));
        dues.answered(call, outcome("2"));
        assert_eq!((read(&mut dues), dues.outcome(7)), (vec![7], Some(&outcome("1"))));
        dues.ripen(after(70_000));
        assert!(dues.is_idle());
        dues.finish(entity(1), NODE, 7);
        assert_eq!(dues.outcome(7), None);
    }

    #[test]
    fn what_a_start_finds_without_an_answer_is_read_at_once_and_waits_for_it_from_then_on() {
        let call = Due { how: Waits::Answer, ..due(1, 7, 60_000) };
        let mut dues = begun([]);
        dues.recover(call, after(0));
        dues.recover(due(1, 8, 60_000), after(0));
        assert_eq!(read(&mut dues), [7]);
        // Its originator's state could not be loaded.
        dues.again(call, after(0));
        dues.ripen(after(limits::DUE_PAUSE_MS + 200));
        assert_eq!(read(&mut dues), [7]);
        assert!(dues.wants_call(call, after(2_000)) && !dues.wants_call(call, after(2_000)));
        dues.ripen(after(58_000));
        assert!(dues.is_idle());
        dues.ripen(after(59_200));
        assert_eq!(read(&mut dues), [7, 8]);
    }
}
