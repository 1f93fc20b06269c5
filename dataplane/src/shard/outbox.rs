//! Which calls to the outside a shard owes, and which of them are to be made now: one at a time per originator and node, the next
//! when it is answered or given up, so many at once per node, none while its target is not heard (DESIGN 8.6, 22). Their messages
//! are on disk. Makes no call, and neither reads nor writes the disk.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::{EntityId, TenantId};
use uuid::Uuid;

use crate::clock::Instant;
use crate::device::outbox::{OwedCall, Pending};
use crate::limits;

/// Of one originator and one node, in the order in which they were caused.
#[derive(Debug)]
struct Queue {
    node: Uuid,
    tenant: TenantId,
    calls: VecDeque<Call>,
    stage: Stage,
    /// How often the first one was made.
    attempts: u32,
    /// When it is made again, if it rests.
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    bytes: usize,
}

/// What the first call of a queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing yet: nobody has looked at it.
    New,
    /// It is among those that its node makes next.
    Waits,
    /// It is read from the disk, is under way, or its message goes on.
    Flies,
    /// It is made again later.
    Rests,
}

/// Whom a node calls.
#[derive(Debug, Default)]
struct Target {
    waiting: VecDeque<EntityId>,
    under_way: u32,
    /// As many as its configuration allows; 0: as many as the shard does.
    most: u32,
    /// How often in a row nobody was heard there.
    failures: u32,
    until: Instant,
    /// Whose calls have long pauses and are made again when the target takes another one; some of them may have gone on since.
    resting: VecDeque<EntityId>,
}

impl Target {
    fn may(&self, now: Instant) -> bool {
        let most = match (self.failures, self.most) {
            // The first one finds out whether anybody is there again.
            (1.., _) => 1,
            (0, 0) => limits::CALLS_PER_NODE_AT_ONCE_MAX,
            (0, most) => most.min(limits::CALLS_PER_NODE_AT_ONCE_MAX),
        };
        self.under_way < most && self.until <= now
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    calls: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, bytes: usize) {
        self.calls += 1;
        self.bytes += bytes;
    }

    /// Nothing is left?
    fn remove(&mut self, bytes: usize) -> bool {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.calls == 0
    }

    /// A part of all that may be under way is.
    fn fills(self, part: usize) -> bool {
        self.calls >= limits::CALLS_AT_ONCE_MAX / part || self.bytes >= limits::CALLS_AT_ONCE_BYTES_MAX / part
    }
}

/// Whose message is under way, from before it is read from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    node: Uuid,
    tenant: TenantId,
    bytes: usize,
}

/// A call that is being made.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) originator: EntityId,
    pub(super) node: Uuid,
    pub(super) number: u64,
    pub(super) owed: OwedCall,
    load: Load,
}

/// A call to be read from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    generation: u32,
    pub(super) originator: EntityId,
    pub(super) node: Uuid,
    pub(super) number: u64,
    load: Load,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queues: HashMap<EntityId, Vec<Queue>, RandomState>,
    targets: HashMap<Uuid, Target, RandomState>,
    tenants: HashMap<TenantId, Held, RandomState>,
    rests: BinaryHeap<Reverse<(Instant, EntityId, Uuid)>>,
    flights: HashMap<u64, Flight, RandomState>,
    /// Read from the disk, or being read.
    under_way: Held,
    /// The same by tenant: a part of the whole each, so that a target that never answers leaves room for others.
    under_way_of: HashMap<TenantId, Held, RandomState>,
    /// A node was passed over for want of room.
    passed_over: bool,
    last_flight: u64,
    /// Of the store; what a lane read of an earlier one says nothing of this.
    generation: u32,
    /// Nodes that may have something to call.
    woken: Vec<Uuid>,
    /// The node that called last.
    last_node: Uuid,
    len: usize,
    /// A whole configuration is there: a node that is not there is gone.
    begun: bool,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Errors
    /// Why nothing more may be owed.
    pub(super) fn has_room(&self, tenant: TenantId) -> Result<(), String> {
        let held = self.tenants.get(&tenant).copied().unwrap_or_default();
        if self.len >= limits::OWED_CALLS_PER_SHARD_MAX {
            return Err(format!("the outbox is full: {} calls wait", self.len));
        }
        if held.calls >= limits::OWED_CALLS_PER_TENANT_MAX || held.bytes >= limits::OWED_BYTES_PER_TENANT_MAX {
            return Err(format!("the tenant's share of the outbox is full: {} calls of {} bytes wait", held.calls, held.bytes));
        }
        Ok(())
    }

    /// A call is owed.
    pub(super) fn add(&mut self, found: Pending) {
        let Pending { originator, node, number, tenant, bytes } = found;
        self.tenants.entry(tenant).or_default().add(bytes);
        self.len += 1;
        let queues = self.queues.entry(originator).or_default();
        let call = Call { number, bytes };
        match queues.iter_mut().find(|queue| queue.node == node) {
            Some(queue) => queue.calls.push_back(call),
            None => queues.push(Queue {
                node,
                tenant,
                calls: [call].into(),
                stage: Stage::New,
                attempts: 0,
                until: Instant::default(),
            }),
        }
        self.wake(originator, node, Stage::New);
    }

    /// The first call of a queue in this stage waits to be made.
    fn wake(&mut self, originator: EntityId, node: Uuid, from: Stage) {
        if let Some(queue) = self.queue(originator, node)
            && queue.stage == from
        {
            queue.stage = Stage::Waits;
            self.targets.entry(node).or_default().waiting.push_back(originator);
            self.woken.push(node);
        }
    }

    /// Nodes that may have something to call since this was asked last, those first whose turn it is.
    pub(super) fn take_woken(&mut self) -> Vec<Uuid> {
        let mut woken = std::mem::take(&mut self.woken);
        woken.sort_unstable();
        woken.dedup();
        let behind = woken.partition_point(|node| *node <= self.last_node);
        woken.rotate_left(behind);
        woken
    }

    /// A whole configuration is there.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        self.woken.extend(self.targets.keys());
    }

    fn queue(&mut self, originator: EntityId, node: Uuid) -> Option<&mut Queue> {
        self.queues.get_mut(&originator)?.iter_mut().find(|queue| queue.node == node)
    }

    /// Time has passed: those that rested long enough wait again. So do nodes whose target is asked again.
    pub(super) fn tend(&mut self, now: Instant) {
        while let Some(Reverse((until, originator, node))) = self.rests.peek().copied()
            && until <= now
        {
            self.rests.pop();
            // It may have been woken before, and rest again for longer.
            if self.queue(originator, node).is_some_and(|queue| queue.until <= now) {
                self.wake(originator, node, Stage::Rests);
            }
        }
        let queues = &self.queues;
        self.targets.retain(|node, target| {
            while let Some(originator) = target.resting.front()
                && !has_long_pauses(queues, *originator, *node)
            {
                target.resting.pop_front();
            }
            target.under_way > 0 || !target.waiting.is_empty() || target.until > now || !target.resting.is_empty()
        });
        let may = self.targets.iter().filter(|(_, target)| !target.waiting.is_empty() && target.may(now));
        self.woken.extend(may.map(|(node, _)| *node));
    }

    /// What a node calls next, if it may call now.
    pub(super) fn next(&mut self, node: Uuid, now: Instant) -> Option<Next> {
        if !self.begun {
            return None;
        }
        loop {
            let target = self.targets.get_mut(&node).filter(|target| target.may(now))?;
            let originator = *target.waiting.front()?;
            let queue = self.queue(originator, node).filter(|queue| queue.stage == Stage::Waits);
            let first = queue.and_then(|queue| Some((queue.tenant, queue.calls.front().copied()?)));
            let room = first.is_none_or(|(tenant, _)| self.has_room_for_calls(tenant));
            self.passed_over |= !room;
            self.targets.get_mut(&node).filter(|_| room)?.waiting.pop_front();
            // Its device may be gone.
            let Some((tenant, Call { number, bytes })) = first else { continue };
            let load = Load { node, tenant, bytes };
            self.depart(originator, load);
            return Some(Next { generation: self.generation, originator, node, number, load });
        }
    }

    fn has_room_for_calls(&self, tenant: TenantId) -> bool {
        let own = self.under_way_of.get(&tenant).copied().unwrap_or_default();
        !self.under_way.fills(1) && !own.fills(2)
    }

    fn depart(&mut self, originator: EntityId, load: Load) {
        if let Some(queue) = self.queue(originator, load.node) {
            queue.stage = Stage::Flies;
        }
        if let Some(target) = self.targets.get_mut(&load.node) {
            target.under_way += 1;
        }
        self.last_node = load.node;
        self.under_way.add(load.bytes);
        self.under_way_of.entry(load.tenant).or_default().add(load.bytes);
    }

    /// A call was read from the disk. Its flight's number; `None` if it is not owed any more.
    pub(super) fn fly(&mut self, next: Next, owed: OwedCall) -> Option<u64> {
        let Next { generation, originator, node, number, load } = next;
        if generation != self.generation {
            return None;
        }
        let first = self.queue(originator, node).and_then(|queue| queue.calls.front().copied());
        if first.is_none_or(|call| call.number != number) {
            self.landed(load);
            return None;
        }
        self.last_flight += 1;
        self.flights.insert(self.last_flight, Flight { originator, node, number, owed, load });
        Some(self.last_flight)
    }

    /// A call could not be read. False: it was of an earlier generation.
    pub(super) fn unread(&mut self, next: Next) -> bool {
        if next.generation != self.generation {
            return false;
        }
        self.landed(next.load);
        true
    }

    pub(super) fn flight(&self, flight: u64) -> Option<&Flight> {
        self.flights.get(&flight)
    }

    /// A call is not under way any more. Its queue does nothing until it is finished, or rests.
    pub(super) fn land(&mut self, flight: u64) -> Option<Flight> {
        let landed = self.flights.remove(&flight)?;
        self.landed(landed.load);
        Some(landed)
    }

    fn landed(&mut self, load: Load) {
        let Load { node, tenant, bytes } = load;
        self.under_way.remove(bytes);
        if self.under_way_of.get_mut(&tenant).is_some_and(|own| own.remove(bytes)) {
            self.under_way_of.remove(&tenant);
        }
        if let Some(target) = self.targets.get_mut(&node) {
            target.under_way = target.under_way.saturating_sub(1);
            self.woken.push(node);
        }
        // Whoever was passed over may have been so for this one's sake.
        if std::mem::take(&mut self.passed_over) {
            let waiting = self.targets.iter().filter(|(_, target)| !target.waiting.is_empty());
            self.woken.extend(waiting.map(|(node, _)| *node));
        }
    }

    /// As many calls of a node as its configuration allows.
    pub(super) fn bound(&mut self, node: Uuid, most: u32) {
        if let Some(target) = self.targets.get_mut(&node) {
            target.most = most;
        }
    }

    /// Somebody was heard at a node's target, or nobody was.
    pub(super) fn heard(&mut self, node: Uuid, heard: bool, now: Instant) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        if heard {
            (target.failures, target.until) = (0, Instant::default());
        } else if target.until <= now {
            // Those that were under way together failed for one reason.
            target.failures = target.failures.saturating_add(1);
            target.until = now.after_ms(pause(limits::TARGET_PAUSE_MS, target.failures));
        }
    }

    /// A node's target has taken a call. Those that rest because it did not take theirs are made again now, each of them once: one
    /// that the target never takes does not come with every one that it does.
    pub(super) fn took(&mut self, node: Uuid) {
        let resting = self.targets.get_mut(&node).map(|target| std::mem::take(&mut target.resting)).unwrap_or_default();
        for originator in resting {
            self.wake(originator, node, Stage::Rests);
        }
    }

    /// The first call of a queue is made again as soon as its target may be called.
    pub(super) fn again(&mut self, originator: EntityId, node: Uuid) {
        if let Some(queue) = self.queue(originator, node) {
            queue.stage = Stage::Waits;
            self.targets.entry(node).or_default().waiting.push_front(originator);
        }
    }

    /// The first call of a queue is made again after a pause. False: it was made as often as a call may be.
    pub(super) fn rest(&mut self, originator: EntityId, node: Uuid, now: Instant) -> bool {
        let Some(queue) = self.queue(originator, node) else { return true };
        queue.attempts += 1;
        let attempts = queue.attempts;
        if attempts >= limits::CALL_ATTEMPTS_MAX {
            return false;
        }
        self.rest_for(originator, node, now.after_ms(pause(limits::CALL_PAUSE_MS, attempts)));
        if attempts == LONG_PAUSES_FROM {
            self.targets.entry(node).or_default().resting.push_back(originator);
        }
        true
    }

    /// The first call of a queue is made again after the longest pause, however often it was made.
    pub(super) fn pause(&mut self, originator: EntityId, node: Uuid, now: Instant) {
        self.rest_for(originator, node, now.after_ms(limits::CALL_PAUSE_MS.1));
    }

    fn rest_for(&mut self, originator: EntityId, node: Uuid, until: Instant) {
        if let Some(queue) = self.queue(originator, node) {
            (queue.stage, queue.until) = (Stage::Rests, until);
            self.rests.push(Reverse((until, originator, node)));
        }
    }

    /// A call is not owed any more; the next of its queue waits. False: it was not owed.
    pub(super) fn finish(&mut self, originator: EntityId, node: Uuid, number: u64) -> bool {
        let Some(queue) = self.queue(originator, node) else { return false };
        let Some(call) = queue.calls.pop_front_if(|call| call.number == number) else { return false };
        let tenant = queue.tenant;
        (queue.stage, queue.attempts) = (Stage::New, 0);
        let over = queue.calls.is_empty();
        self.release(tenant, call);
        if over {
            self.forget_queue(originator, node);
        } else {
            self.wake(originator, node, Stage::New);
        }
        true
    }

    fn release(&mut self, tenant: TenantId, call: Call) {
        self.len -= 1;
        if self.tenants.get_mut(&tenant).is_some_and(|held| held.remove(call.bytes)) {
            self.tenants.remove(&tenant);
        }
    }

    fn forget_queue(&mut self, originator: EntityId, node: Uuid) {
        let Some(queues) = self.queues.get_mut(&originator) else { return };
        queues.retain(|queue| queue.node != node);
        if queues.is_empty() {
            self.queues.remove(&originator);
        }
    }

    /// An originator is gone, and what is owed for it.
    pub(super) fn forget(&mut self, originator: EntityId) {
        for queue in self.queues.remove(&originator).unwrap_or_default() {
            for call in &queue.calls {
                self.release(queue.tenant, *call);
            }
        }
    }

    /// The store generation ended: what is on disk is found again.
    pub(super) fn clear(&mut self) {
        let generation = self.generation.wrapping_add(1);
        *self = Self { begun: self.begun, last_flight: self.last_flight, generation, ..Self::default() };
    }
}

/// The failed attempt from which on a call's pauses are long: a target that takes another call meanwhile is shown this one, too.
const LONG_PAUSES_FROM: u32 = 3;

fn has_long_pauses(queues: &HashMap<EntityId, Vec<Queue>, RandomState>, originator: EntityId, node: Uuid) -> bool {
    let queue = queues.get(&originator).and_then(|queues| queues.iter().find(|queue| queue.node == node));
    queue.is_some_and(|queue| queue.attempts >= LONG_PAUSES_FROM)
}

/// The pause before an attempt, doubled from the first to the longest.
fn pause((first, longest): (u64, u64), attempt: u32) -> u64 {
    (first << attempt.saturating_sub(1).min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::owed::Departed;

    const NODE: Uuid = Uuid::from_u128(1);
    const TENANT: TenantId = TenantId(Uuid::from_u128(9));

    fn found(originator: u64, number: u64) -> Pending {
        Pending { originator: entity(originator), node: NODE, number, tenant: TENANT, bytes: 10 }
    }

    fn entity(id: u64) -> EntityId {
        EntityId(Uuid::from_u128(id.into()))
    }

    fn next(id: u64) -> Next {
        let load = Load { node: NODE, tenant: TENANT, bytes: 10 };
        Next { generation: 0, originator: entity(id), node: NODE, number: id, load }
    }

    fn owed() -> OwedCall {
        OwedCall { tenant: TENANT, taken: Timestamp(0), departed: Departed::default() }
    }

    fn numbers(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next(NODE, now)).map(|next| next.number).collect()
    }

    fn begun() -> Outbox {
        Outbox { begun: true, ..Outbox::default() }
    }

    #[test]
    fn one_call_of_an_originator_is_under_way_and_the_next_waits_for_its_end() {
        let (mut outbox, now) = (begun(), Instant::default());
        for (originator, number) in [(1, 1), (1, 2), (2, 3)] {
            outbox.add(found(originator, number));
        }
        assert_eq!(numbers(&mut outbox, now), [1, 3]);
        let next = next(1);
        let flight = outbox.fly(next, owed()).unwrap();
        assert_eq!(outbox.land(flight).map(|flight| flight.number), Some(1));
        assert_eq!(numbers(&mut outbox, now), [0; 0]);
        assert!(outbox.finish(entity(1), NODE, 1) && !outbox.finish(entity(1), NODE, 1));
        assert_eq!(numbers(&mut outbox, now), [2]);
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn one_asks_whether_a_target_is_there_again() {
        let (mut outbox, now) = (begun(), Instant::default());
        (1..=3).for_each(|id| outbox.add(found(id, id)));
        assert_eq!(numbers(&mut outbox, now).len(), 3);
        for id in 1..=3 {
            let next = next(id);
            let flight = outbox.fly(next, owed()).unwrap();
            outbox.land(flight);
            outbox.heard(NODE, false, now);
            outbox.again(entity(id), NODE);
        }
        assert_eq!(numbers(&mut outbox, now.after_ms(100)), [0; 0]);
        let later = now.after_ms(limits::TARGET_PAUSE_MS.0);
        outbox.take_woken();
        outbox.tend(later);
        assert_eq!(outbox.take_woken(), [NODE]);
        assert_eq!(numbers(&mut outbox, later), [3], "the one that failed last");
        outbox.heard(NODE, true, later);
        assert_eq!(numbers(&mut outbox, later).len(), 2);
    }

    #[test]
    fn a_call_that_failed_rests_ever_longer_and_lets_others_pass() {
        let (mut outbox, mut now) = (begun(), Instant::default());
        outbox.add(found(1, 1));
        let mut waited = Vec::new();
        let fails = |outbox: &mut Outbox, now| {
            assert_eq!(numbers(outbox, now), [1]);
            let flight = outbox.fly(next(1), owed()).unwrap();
            outbox.land(flight);
            outbox.rest(entity(1), NODE, now)
        };
        while fails(&mut outbox, now) {
            let begin = now;
            outbox.take_woken();
            while outbox.take_woken().is_empty() {
                now = now.after_ms(1_000);
                outbox.tend(now);
            }
            waited.push(now.ms_since(begin) / 1_000);
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 32, 60], "the eighth attempt is the last");
        outbox.add(found(2, 2));
        assert_eq!(numbers(&mut outbox, now), [2]);
    }

    #[test]
    fn calls_with_long_pauses_are_made_again_when_their_target_takes_another_one() {
        let (mut outbox, mut now) = (begun(), Instant::default());
        let make = |outbox: &mut Outbox, id: u64| {
            let flight = outbox.fly(next(id), owed()).unwrap();
            outbox.land(flight);
        };
        (1..=3).for_each(|id| outbox.add(found(id, id)));
        let fails = |outbox: &mut Outbox, id, now| {
            make(outbox, id);
            assert!(outbox.rest(entity(id), NODE, now));
        };
        // Two were refused three times, and rest 4 s; the third one has just failed first.
        for attempt in 1..=3 {
            outbox.tend(now);
            assert_eq!(numbers(&mut outbox, now), if attempt == 1 { vec![1, 2, 3] } else { vec![1, 2] });
            (1..=2).for_each(|id| fails(&mut outbox, id, now));
            if attempt < 3 {
                now = now.after_ms(1_000 << (attempt - 1));
            }
        }
        fails(&mut outbox, 3, now);
        assert_eq!(numbers(&mut outbox, now), [0; 0]);
        outbox.add(found(4, 4));
        assert_eq!(numbers(&mut outbox, now), [4]);
        make(&mut outbox, 4);
        outbox.took(NODE);
        assert!(outbox.finish(entity(4), NODE, 4));
        assert_eq!(numbers(&mut outbox, now), [1, 2], "those with long pauses, and no other");
        // The first is refused for the fourth time. It rests its 8 s, whatever it rested before and whatever the target takes.
        fails(&mut outbox, 1, now);
        make(&mut outbox, 2);
        outbox.took(NODE);
        assert!(outbox.finish(entity(2), NODE, 2));
        let later = now.after_ms(4_000);
        outbox.tend(later);
        assert_eq!(numbers(&mut outbox, later), [3]);
        outbox.tend(now.after_ms(8_000));
        assert_eq!(numbers(&mut outbox, now.after_ms(8_000)), [1]);
        // Nothing is kept of a target that is owed nothing.
        make(&mut outbox, 1);
        make(&mut outbox, 3);
        outbox.forget(entity(1));
        outbox.forget(entity(3));
        outbox.tend(now.after_ms(9_000));
        assert!(outbox.targets.is_empty(), "{:?}", outbox.targets);
    }

    #[test]
    fn a_tenant_has_its_share_and_what_is_gone_is_not_held() {
        let mut outbox = begun();
        (0..limits::OWED_CALLS_PER_TENANT_MAX as u64).for_each(|number| outbox.add(found(1, number)));
        assert!(outbox.has_room(TENANT).is_err());
        assert!(outbox.has_room(TenantId(Uuid::nil())).is_ok());
        outbox.forget(entity(1));
        assert!(outbox.has_room(TENANT).is_ok());
        assert_eq!((outbox.len(), outbox.tenants.len(), outbox.queues.len()), (0, 0, 0));
        assert_eq!(numbers(&mut outbox, Instant::default()), [0; 0], "its place among those that wait is passed over");
    }

    /// A call of another originator each, at this node.
    fn add(outbox: &mut Outbox, (node, tenant): (u64, u64), numbers: std::ops::Range<u64>, bytes: usize) {
        let (node, tenant) = (Uuid::from_u128(node.into()), TenantId(Uuid::from_u128(tenant.into())));
        numbers.for_each(|id| outbox.add(Pending { node, tenant, bytes, ..found(id, id) }));
    }

    /// What a turn has read.
    fn turn(outbox: &mut Outbox, now: Instant) -> Vec<Next> {
        let woken = outbox.take_woken();
        woken.into_iter().flat_map(|node| std::iter::from_fn(|| outbox.next(node, now)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_tenant_whose_targets_never_answer_leaves_room_for_others() {
        let (mut outbox, now) = (begun(), Instant::default());
        (1..=4).for_each(|node| add(&mut outbox, (node, 1), node * 100..node * 100 + 100, 10));
        let stuck = turn(&mut outbox, now);
        assert_eq!(stuck.len(), limits::CALLS_AT_ONCE_MAX / 2);
        add(&mut outbox, (9, 2), 900..901, 10);
        assert_eq!(turn(&mut outbox, now).iter().map(|next| next.number).collect::<Vec<_>>(), [900]);
        // Where there is room again, the next node in turn takes it; the second makes as many calls as a node may.
        let mut took = Vec::new();
        for next in &stuck[..3] {
            assert!(outbox.unread(*next));
            took.extend(turn(&mut outbox, now).iter().map(|next| next.node.as_u128()));
        }
        assert_eq!(took, [1, 3, 4]);
    }

    #[test]
    fn messages_count_before_they_are_read_and_until_nobody_has_them() {
        let (mut outbox, now, half) = (begun(), Instant::default(), limits::CALLS_AT_ONCE_BYTES_MAX / 2);
        for tenant in 1..=3 {
            add(&mut outbox, (tenant, tenant), tenant * 100..tenant * 100 + 50, half / 8);
        }
        let reading = turn(&mut outbox, now);
        let nodes: Vec<u128> = reading.iter().map(|next| next.node.as_u128()).collect();
        assert_eq!(nodes, [vec![1; 8], vec![2; 8]].concat(), "half of the bytes each");
        assert_eq!(turn(&mut outbox, now), [], "there is no room for the third");
        // Its originator is gone meanwhile.
        outbox.forget(reading[0].originator);
        assert_eq!(outbox.fly(reading[0], owed()), None);
        let flight = outbox.fly(reading[1], owed()).unwrap();
        assert!(outbox.land(flight).is_some());
        let next: Vec<u128> = turn(&mut outbox, now).iter().map(|next| next.node.as_u128()).collect();
        assert_eq!(next, [3, 3], "whoever waits is asked when there is room, and not always the same one first");
        reading[2..].iter().for_each(|next| assert!(outbox.unread(*next)));
        let all = turn(&mut outbox, now);
        assert_eq!(all.len(), 14);
        outbox.clear();
        assert_eq!((outbox.under_way.calls, outbox.under_way_of.len()), (0, 0));
    }
}
