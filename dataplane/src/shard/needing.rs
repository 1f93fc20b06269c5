//! Messages that lack a fact of another entity or of the past, and those of the same originator behind them (DESIGN 8.1, 1). What a
//! message's evaluation would have done is dropped; the message waits, at most [`limits::FACT_MS`], while the fact is asked for: of
//! this shard's memory or its reader lane, or of the entity's owner. Then it is evaluated again from the first node, and those behind
//! it follow. A fact that does not come in time, or for which there is no room, is a failure of the node that needs it. What waits
//! without a fact of its own is refused where there is no room, so that no later message overtakes it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;
use schemas::chain::{EntityType, MessageType};
use schemas::config::End;
use schemas::id::{DeviceId, EntityId, Partition, TenantId};

use super::asking::post;
use super::connection::Standing;
use super::event::Event;
use super::known::Lacking;
use super::ledger::Owed;
use super::letter::{Address, Letter};
use super::residents::{Parked, Parking};
use super::shares::Shares;
use super::slab::Key;
use super::turn::Shard;
use crate::clock::{Instant, Timestamp};
use crate::device::DeviceState;
use crate::device::passage::Pair;
use crate::limits;
use crate::message::{Body, Value};
use crate::metric::Counter;
use crate::owed::Departed;
use crate::query::{Attribute, History, Point, Series};
use crate::rules::{Fact, Found, NAMES, Running};
use crate::session::{Outcome, Promise};
use crate::store::{self, history::Budget};

/// Who is told what became of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    Nobody,
    /// The connection on which it came.
    Connection(Key, Option<Promise>),
    /// Whoever sent the errand.
    Errand(Address),
    /// A gateway, of a part of its QoS 2 pack.
    Part {
        to: Address,
        of: Mark,
    },
    /// A device that called the server under this number.
    Call {
        to: Address,
        id: u32,
        promise: Option<(Key, Promise)>,
    },
    /// The partition that sent it here under this number.
    Passage {
        pair: Pair,
        number: u64,
    },
}

/// What a device remembers of a pack's part (DESIGN 8.3, 8).
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub gateway: DeviceId,
    pub number: u64,
    pub floor: u64,
    /// What of the part could not be read.
    pub refused: Option<Outcome>,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Device(DeviceId),
    /// Of something else, or of a device that is not there any more.
    Entity(End, TenantId),
}

impl Whose {
    pub(super) fn entity(self) -> EntityId {
        match self {
            Self::Device(device) => device.into(),
            Self::Entity(end, _) => end.id,
        }
    }
}

/// A message on its way through the rules, with what is known for it.
#[derive(Debug)]
pub(super) struct Spoken<'m> {
    pub whose: Whose,
    pub kind: MessageType,
    pub body: Body<'m>,
    pub waiter: Waiter,
    /// When it was taken: it means the same whenever it is evaluated.
    pub received: Timestamp,
    pub facts: Vec<(Fact, Found)>,
    /// Steps that were counted before a fact was lacking.
    pub counted: u32,
    /// It came from another originator, and goes on behind a node; what it says is there.
    pub arrived: Option<Box<Departed>>,
    /// Its device was inactive before it, if it is known by now.
    awoke: Option<bool>,
    /// It is for calculated fields alone, by no plan.
    for_fields: bool,
}

impl<'m> Spoken<'m> {
    pub(super) fn new(whose: Whose, kind: MessageType, body: Body<'m>, waiter: Waiter, received: Timestamp) -> Self {
        let (facts, arrived, awoke) = (Vec::new(), None, None);
        Self { whose, kind, body, waiter, received, facts, counted: 0, arrived, awoke, for_fields: false }
    }

    /// The same for calculated fields alone.
    pub(super) fn for_fields(self) -> Self {
        Self { for_fields: true, ..self }
    }

    /// The same for a message that came from another originator, which is no sign of life.
    pub(super) fn arriving(self, departed: Departed) -> Self {
        Self { arrived: Some(Box::new(departed)), awoke: Some(false), ..self }
    }

    /// About what it says takes in memory, in bytes.
    fn bytes(&self) -> usize {
        self.body.bytes() + self.arrived.as_ref().map_or(0, |departed| departed.bytes())
    }

    /// The first time, what a device says itself is a sign of life.
    pub(super) fn heard_by(&mut self, state: &mut DeviceState) {
        use MessageType::{PostAttributesRequest, PostTelemetryRequest, ToServerRpcRequest};
        if self.awoke.is_none() {
            let said = matches!(self.kind, PostTelemetryRequest | PostAttributesRequest | ToServerRpcRequest);
            self.awoke = Some(said && state.touched(self.received));
        }
    }

    fn into_owned(self) -> Spoken<'static> {
        let Self { whose, kind, body, waiter, received, facts, counted, arrived, awoke, for_fields } = self;
        Spoken { whose, kind, body: body.into_owned(), waiter, received, facts, counted, arrived, awoke, for_fields }
    }
}

#[derive(Debug)]
struct Message {
    tenant: TenantId,
    spoken: Spoken<'static>,
    deadline: Instant,
    bytes: usize,
}

/// The messages of one shard that wait.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// By originator; the first of each is the one that lacks a fact, or has just got it.
    of: HashMap<EntityId, VecDeque<Message>, RandomState>,
    /// Whose first message asked, for what and until when, by number.
    asked: HashMap<u64, (EntityId, Fact, Instant), RandomState>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Originators whose first message may be evaluated.
    ready: VecDeque<EntityId>,
    /// Questions for which the mesh had no room.
    unsent: VecDeque<u64>,
    last: u64,
    shares: Shares<{ limits::MESSAGES_PARKED_MAX }, { limits::PARKED_BYTES_PER_SHARD_MAX }>,
}

/// What a message takes besides what it says.
const MESSAGE_BYTES: usize = 512;

impl Needs {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether any message has ever waited.
    pub(super) fn have_been(&self) -> bool {
        self.last > 0
    }

    /// Whether messages of this originator wait, so that another one has to wait behind them.
    pub(super) fn holds(&self, originator: EntityId) -> bool {
        !self.of.is_empty() && self.of.contains_key(&originator)
    }

    pub(super) fn waiting(&self, originator: EntityId) -> usize {
        self.of.get(&originator).map_or(0, VecDeque::len)
    }

    /// As if so many messages of a tenant waited that there is no room for another.
    #[cfg(test)]
    pub(super) fn fill(&mut self, tenant: TenantId, full: bool) {
        for _ in 0..limits::MESSAGES_PARKED_MAX / 2 {
            if full { self.shares.add(tenant, 0) } else { self.shares.remove(tenant, 0) }
        }
    }

    fn insert(&mut self, message: Message, first: bool) {
        self.shares.add(message.tenant, message.bytes);
        let queue = self.of.entry(message.spoken.whose.entity()).or_default();
        if first { queue.push_front(message) } else { queue.push_back(message) }
    }

    fn take_first(&mut self, originator: EntityId) -> Option<Message> {
        let message = self.of.get_mut(&originator)?.pop_front()?;
        self.shares.remove(message.tenant, message.bytes);
        Some(message)
    }

    /// The message that asked gets its fact, if it still waits for it.
    fn found(&mut self, number: u64, found: Found) {
        let Some((originator, fact, deadline)) = self.asked.remove(&number) else { return };
        self.deadlines.remove(&(deadline, number));
        let Some(message) = self.of.get_mut(&originator).and_then(VecDeque::front_mut) else { return };
        let bytes = found.as_ref().map_or(0, |series| bytes_of(series));
        let fits = bytes <= limits::FACT_BYTES_MAX && self.shares.may_grow(message.tenant, bytes);
        let found = if fits { found } else { Err("there is no room for what it needs".to_owned()) };
        if fits {
            message.bytes += bytes;
            self.shares.grow(message.tenant, bytes);
        }
        message.spoken.facts.push((fact, found));
        self.ready.push_back(originator);
    }

    /// One that has waited long enough.
    fn overdue(&mut self, now: Instant) -> Option<u64> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, number)| *number)
    }

    /// The originator is gone.
    fn forget(&mut self, originator: EntityId) -> VecDeque<Message> {
        let gone = self.of.remove(&originator).unwrap_or_default();
        gone.iter().for_each(|message| self.shares.remove(message.tenant, message.bytes));
        gone
    }

    /// The session is over: the identifiers of its messages mean nothing any more. What they say is stored all the same.
    pub(super) fn give_up(&mut self, device: DeviceId) {
        for message in self.of.get_mut(&device.into()).into_iter().flatten() {
            if let Waiter::Connection(_, Some(promise)) | Waiter::Call { promise: Some((_, promise)), .. } =
                &mut message.spoken.waiter
            {
                promise.exactly_once = None;
            }
        }
    }
}

fn bytes_of(series: &[Series]) -> usize {
    let point = |point: &Point| size_of::<Point>() + store::record::text_bytes(&point.value);
    series.iter().map(|one| one.key.len() + one.points.iter().map(point).sum::<usize>()).sum()
}

impl Shard {
    /// Evaluates a message, or has it wait. `None`: it waits, and its waiter is told later.
    pub(super) fn hear_out(&mut self, mut spoken: Spoken<'_>, running: &Running) -> Option<Outcome> {
        let whose = spoken.whose;
        if self.needs.holds(whose.entity()) {
            if let Some(state) = self.residents.get_mut(whose.entity(), self.now.instant) {
                spoken.heard_by(state);
            }
            let awoke = spoken.awoke;
            let outcome = self.wait_behind(spoken);
            self.may_have_awoken(whose, awoke);
            return outcome;
        }
        let evaluated = self.evaluate(&mut spoken, running);
        let awoke = spoken.awoke;
        let outcome = match evaluated {
            Ok(outcome) => Some(outcome),
            Err(lacking) => self.find_or_wait(spoken, running, lacking),
        };
        self.may_have_awoken(whose, awoke);
        outcome
    }

    fn find_or_wait(&mut self, spoken: Spoken<'_>, running: &Running, lacking: Lacking) -> Option<Outcome> {
        let deadline = self.now.instant.after_ms(limits::FACT_MS);
        match self.find_facts(spoken, running, lacking, deadline) {
            Ok(outcome) => Some(outcome),
            Err(asking) => {
                self.residents.hold(asking.spoken.whose.entity());
                self.wait_for(*asking, deadline);
                None
            }
        }
    }

    /// That its device is active again is another message, behind the one that says so.
    fn may_have_awoken(&mut self, whose: Whose, awoke: Option<bool>) {
        if let (Whose::Device(device), Some(true)) = (whose, awoke) {
            // What others make of that is no answer to the message before.
            let answers = std::mem::take(&mut self.answers);
            self.awoke(device);
            self.answers = answers;
        }
    }

    fn wait_behind(&mut self, spoken: Spoken<'_>) -> Option<Outcome> {
        let bytes = MESSAGE_BYTES + spoken.bytes();
        let tenant = self.tenant_speaking(spoken.whose);
        if !self.needs.shares.has_room(tenant, bytes) {
            return Some(Outcome::Unavailable);
        }
        self.counters.increment(Counter::MessagesParked);
        let deadline = self.now.instant.after_ms(limits::FACT_MS);
        self.needs.insert(Message { tenant, spoken: spoken.into_owned(), deadline, bytes }, false);
        None
    }

    /// Puts a message first among those of its originator and asks for its fact.
    fn wait_for(&mut self, asking: Asking, deadline: Instant) {
        let Asking { spoken, fact, bytes } = asking;
        let originator = spoken.whose.entity();
        self.needs.last += 1;
        let number = self.needs.last;
        let tenant = self.tenant_speaking(spoken.whose);
        self.needs.insert(Message { tenant, spoken, deadline, bytes }, true);
        self.needs.asked.insert(number, (originator, fact, deadline));
        self.needs.deadlines.insert((deadline, number));
        self.ask_for(number);
        // Lanes are given their jobs behind a batch.
        self.bell.ring();
    }

    /// Evaluates a message that lacks a fact, with those that are at hand. `Err`: it lacks one that has to be asked for.
    fn find_facts(
        &mut self,
        mut spoken: Spoken<'_>,
        running: &Running,
        mut lacking: Lacking,
        deadline: Instant,
    ) -> Result<Outcome, Box<Asking>> {
        loop {
            spoken.counted = lacking.counted;
            let fact = *lacking.fact;
            let known: usize = spoken.facts.iter().map(|(fact, found)| fact.bytes() + known_bytes(found)).sum();
            let bytes = MESSAGE_BYTES + spoken.bytes() + known + fact.bytes();
            let found = if spoken.facts.len() >= limits::FACTS_PER_MESSAGE_MAX {
                Err(format!("more than {} facts for one message", limits::FACTS_PER_MESSAGE_MAX))
            } else if let Some(found) = self.at_hand(&fact) {
                Ok(found)
            } else if deadline <= self.now.instant {
                Err(LATE.to_owned())
            } else if self.needs.shares.has_room(self.tenant_speaking(spoken.whose), bytes) {
                self.counters.add(Counter::MessagesParked, u64::from(spoken.facts.is_empty()));
                return Err(Box::new(Asking { spoken: spoken.into_owned(), fact, bytes }));
            } else {
                Err("too many messages wait for facts".to_owned())
            };
            self.counters.add(Counter::FactsMissed, u64::from(found.is_err()));
            spoken.facts.push((fact, found));
            lacking = match self.evaluate(&mut spoken, running) {
                Ok(outcome) => return Ok(outcome),
                Err(lacking) => lacking,
            };
        }
    }

    /// The plan by which a message is evaluated: its originator's, or, of one that is gone, that of the chain it names.
    pub(super) fn running_of(&self, spoken: &Spoken<'_>) -> Rc<Running> {
        let (end, tenant) = match spoken.whose {
            Whose::Device(device) => return self.plan_of(device),
            Whose::Entity(end, tenant) => (end, tenant),
        };
        let begins = spoken.arrived.as_ref().filter(|departed| departed.begins());
        let named = begins.and_then(|departed| self.table.plan(tenant, departed.node().0));
        named.or_else(|| self.table.plan_of_entity(end.id, tenant)).map(Rc::clone).unwrap_or_default()
    }

    fn tenant_speaking(&self, whose: Whose) -> TenantId {
        match whose {
            Whose::Device(device) => self.tenant_of(device),
            Whose::Entity(_, tenant) => tenant,
        }
    }

    /// Whose a message of this entity is.
    pub(super) fn whose(&self, end: End, tenant: TenantId) -> Whose {
        let device = DeviceId(end.id.0);
        if self.table.device(device).is_some() { Whose::Device(device) } else { Whose::Entity(end, tenant) }
    }

    /// A fact of an entity whose state is in this shard's memory.
    fn at_hand(&mut self, fact: &Fact) -> Option<Vec<Series>> {
        if let Fact::Named(end) = fact {
            return self.named(*end);
        }
        let entity = fact.entity()?;
        let state = self.residents.get_mut(entity, self.now.instant)?;
        Some(match fact {
            Fact::Attributes { scope, keys, .. } => {
                let series = |found: Attribute| {
                    let point = Point { ts: found.last_update, value: found.value };
                    Series { key: found.key, points: vec![point] }
                };
                state.attributes(Some(*scope), keys).into_iter().map(series).collect()
            }
            Fact::Latest { keys, .. } => state.latest(&self.ledger.dictionary, keys),
            Fact::Named(_) | Fact::History(_) => return None,
        })
    }

    /// What an entity is called, if this shard is told of it.
    fn named(&self, end: End) -> Option<Vec<Series>> {
        let own = self.placement.shard_of(Partition::of(end.id)) == self.index;
        if !own && !matches!(end.kind, EntityType::Tenant | EntityType::Customer) {
            return None;
        }
        let series = |name: &str| {
            let text = self.table.field_of(end, name).filter(|text| !text.is_empty())?;
            let value = Value::Text(text.into_owned().into());
            Some(Series { key: name.to_owned(), points: vec![Point { ts: self.now.timestamp, value }] })
        };
        Some(NAMES.into_iter().filter_map(series).collect())
    }

    fn ask_for(&mut self, number: u64) {
        let Some((originator, fact, until)) = self.needs.asked.get(&number) else { return };
        let (originator, fact, until) = (*originator, fact.clone(), *until);
        let Some(tenant) = self.needs.of.get(&originator).and_then(VecDeque::front).map(|message| message.tenant) else { return };
        let entity = match (&fact, fact.entity()) {
            (Fact::History(history), _) => return self.ask_the_past((tenant, number, until), originator, history.clone()),
            (_, Some(entity)) => entity,
            (_, None) => return,
        };
        let owner = self.placement.shard_of(Partition::of(entity));
        if owner == self.index {
            self.answer_fact(Question { from: self.index, tenant, number, fact });
        } else if self.mesh.has_room(owner) {
            self.mesh.send(owner, Letter::Ask(Box::new(Question { from: self.index, tenant, number, fact })));
        } else {
            self.needs.unsent.push_back(number);
        }
    }

    /// Rings were full: they are asked again.
    pub(super) fn ask_again(&mut self) {
        for _ in 0..self.needs.unsent.len() {
            if let Some(number) = self.needs.unsent.pop_front() {
                self.ask_for(number);
            }
        }
    }

    /// What was written before this message is read by a lane, after this turn's batch.
    fn ask_the_past(&mut self, (tenant, number, until): (TenantId, u64, Instant), originator: EntityId, history: History) {
        let names = self.ledger.dictionary.ids_of(Partition::of(originator), &history.keys);
        let tombstones = match self.residents.get_mut(originator, self.now.instant) {
            Some(state) => state.tombstones().to_vec(),
            None => Vec::new(),
        };
        let (mailbox, now) = (self.mailbox.clone(), self.now.timestamp);
        let job = move |engine: &dyn store::Engine| {
            let found = store::history(engine, originator, &names, &tombstones, now, (&history, Budget::FACT));
            let found = found.map_err(|error| error.to_string());
            post(&mailbox, Event::Fact { number, found });
        };
        if !self.ledger.read(tenant, until, Box::new(job)) {
            self.fact_found(number, Err("too many ranges are to be read".to_owned()));
        }
    }

    /// Answers a question about an entity of this shard, perhaps when its state is loaded.
    pub(super) fn answer_fact(&mut self, question: Question) {
        let Question { from, tenant, number, ref fact } = question;
        let Some(entity) = fact.entity() else { return };
        if !self.ledger.is_open() {
            return self.send_fact(from, number, Err("the store cannot be read now".to_owned()));
        }
        if let Some(found) = self.at_hand(fact) {
            // What another shard makes of it may be durable before what it reflects (DESIGN 8.1, 3).
            return match from == self.index {
                true => self.fact_found(number, Ok(found)),
                false => self.ledger.owe(Owed::Fact { to: from, number, found }),
            };
        }
        match self.residents.park(tenant, entity, Parked::Fact(Box::new(question))) {
            Parking::Load => self.loads.push_back(entity),
            Parking::Waiting => {}
            Parking::Full(_) => self.send_fact(from, number, Err("too many entities are being loaded".to_owned())),
        }
    }

    /// An answer to whoever asked.
    pub(super) fn send_fact(&mut self, to: u16, number: u64, found: Found) {
        if to == self.index {
            self.fact_found(number, found);
        } else {
            self.mesh.send(to, Letter::Fact(Box::new((number, found))));
        }
    }

    /// A fact is there, or will not be.
    pub(super) fn fact_found(&mut self, number: u64, found: Found) {
        self.counters.add(Counter::FactsMissed, u64::from(found.is_err()));
        self.needs.found(number, found);
        self.bell.ring();
    }

    /// Facts that did not come.
    pub(super) fn expire_facts(&mut self) {
        while let Some(number) = self.needs.overdue(self.now.instant) {
            self.fact_found(number, Err(LATE.to_owned()));
        }
    }

    /// Messages that have their facts are evaluated again, and those behind them.
    pub(super) fn resume_messages(&mut self) {
        while self.ledger.is_open() && self.ledger.batch.bytes() <= limits::BATCH_BYTES_MAX {
            let Some(originator) = self.needs.ready.pop_front() else { return };
            self.resume_first(originator);
        }
        // A store that refuses says itself when it goes on.
        if self.ledger.is_open() && !self.needs.ready.is_empty() {
            self.bell.ring();
        }
    }

    /// The first message of an originator; the next one has its turn when the others had theirs.
    fn resume_first(&mut self, originator: EntityId) {
        // It is held while messages wait, unless its device was deleted.
        let Some(Message { mut spoken, deadline, .. }) = self.needs.take_first(originator) else { return };
        let (whose, waiter) = (spoken.whose, spoken.waiter);
        let running = if spoken.for_fields { Rc::default() } else { self.running_of(&spoken) };
        let now = std::mem::replace(&mut self.now.timestamp, spoken.received);
        let written = self.ledger.batch.len();
        let evaluated = match self.is_stored(originator, waiter) {
            true => Ok(Outcome::Stored),
            false => match self.evaluate(&mut spoken, &running) {
                Ok(outcome) => Ok(outcome),
                Err(lacking) => self.find_facts(spoken, &running, lacking, deadline),
            },
        };
        self.now.timestamp = now;
        match evaluated {
            Ok(outcome) => {
                let wrote = self.ledger.batch.len() > written;
                self.tell_waiter(whose, waiter, outcome, wrote);
            }
            Err(asking) => return self.wait_for(*asking, deadline),
        }
        if self.needs.waiting(originator) > 0 {
            self.needs.ready.push_back(originator);
        } else {
            self.needs.of.remove(&originator);
            self.residents.let_go(originator);
        }
        self.read_on(originator);
    }

    /// It came again while it waited, and was stored meanwhile.
    pub(super) fn is_stored(&mut self, originator: EntityId, waiter: Waiter) -> bool {
        let now = self.now.instant;
        match waiter {
            Waiter::Part { of, .. } => {
                self.residents.get_mut(originator, now).is_some_and(|state| state.is_marked(of.gateway, of.number))
            }
            Waiter::Connection(_, Some(Promise { exactly_once: Some(id), .. }))
            | Waiter::Call { promise: Some((_, Promise { exactly_once: Some(id), .. })), .. } => {
                self.residents.get_mut(originator, now).is_some_and(|state| state.has_received(id))
            }
            _ => false,
        }
    }

    /// A connection that was not read because too many of its messages wait is read again.
    fn read_on(&mut self, originator: EntityId) {
        if self.needs.waiting(originator) >= limits::PARKED_PER_DEVICE_READ_MAX / 2 {
            return;
        }
        let Some(key) = self.sessions.get(&DeviceId(originator.0)).copied() else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Standing::Admitted(admitted) = &mut connection.standing
            && std::mem::take(&mut admitted.behind)
        {
            self.served(key);
            self.make_ready(key);
            self.bell.ring();
        }
    }

    /// Says what became of a message that waited.
    fn tell_waiter(&mut self, whose: Whose, waiter: Waiter, outcome: Outcome, wrote: bool) {
        if let Waiter::Passage { pair, number } = waiter {
            return self.passage_said(pair, number);
        }
        let Whose::Device(device) = whose else { return };
        if outcome != Outcome::Stored {
            self.counters.increment(Counter::MessagesDiscarded);
        }
        match waiter {
            Waiter::Nobody | Waiter::Passage { .. } => {}
            Waiter::Connection(key, promise) => {
                if outcome == Outcome::Stored {
                    self.keep_identifier(device, promise);
                }
                self.settle_later(key, promise.map(|promise| promise.receipt), outcome);
            }
            Waiter::Errand(to) => self.answer_later(to, outcome.into()),
            Waiter::Part { to, of } => self.part_said(device, (to, of), outcome, wrote),
            Waiter::Call { to, id, promise } => self.call_said(device, (to, id, promise), outcome),
        }
    }

    /// The originator is gone: its messages are refused.
    pub(super) fn forget_messages(&mut self, originator: EntityId) {
        for message in self.needs.forget(originator) {
            self.tell_waiter(message.spoken.whose, message.spoken.waiter, Outcome::Unspecified, false);
        }
    }

    /// The store generation ended: connections are closed, others are told.
    pub(super) fn drop_messages(&mut self) {
        let needs = std::mem::take(&mut self.needs);
        self.needs.last = needs.last;
        for message in needs.of.into_values().flatten() {
            if let Waiter::Errand(to) | Waiter::Part { to, .. } | Waiter::Call { to, .. } = message.spoken.waiter {
                self.send_answer(to, Outcome::Unavailable.into());
            }
        }
    }
}

const LATE: &str = "what it needs did not come in time";

fn known_bytes(found: &Found) -> usize {
    found.as_ref().map_or(0, |series| bytes_of(series))
}

/// A message that has to ask for a fact.
#[derive(Debug)]
struct Asking {
    spoken: Spoken<'static>,
    fact: Fact,
    bytes: usize,
}

/// A question for a fact about an entity of another shard.
#[derive(Debug)]
pub(super) struct Question {
    pub from: u16,
    /// Whose message asks.
    pub tenant: TenantId,
    pub number: u64,
    pub fact: Fact,
}
