//! A message whose originator a rule node has changed, from the batch of the message that caused it to the batch of what it causes itself
//! (DESIGN 8.3, 8): read by a lane, sent when it is durable, evaluated by the new originator's shard behind the node, marked there in
//! the same batch, deleted here when that is durable. Once, and in order per pair of partitions. The way is the same when both belong
//! to one shard. What the control plane has to say of an entity arrives the same way, and enters a chain at its beginning. Never waits.

use std::collections::hash_map::Entry;

use schemas::chain::{EntityType, MessageType};
use schemas::config::End;
use schemas::id::{DeviceId, Partition, TenantId};
use uuid::Uuid;

use super::asking::post;
use super::event::{Event, PassagesRead};
use super::ledger::Owed;
use super::letter::{Letter, Passing};
use super::needing::{Spoken, Waiter};
use super::passages::{Sender, Taking};
use super::residents::{Parked, Parking};
use super::turn::Shard;
use crate::clock::Timestamp;
use crate::device::outbox::OwedCall;
use crate::device::passage::{self, Pair, Passage};
use crate::message::Body;
use crate::metric::Counter;
use crate::owed::Departed;
use crate::query::{Entering, QueryError, Reply};
use crate::session::Outcome;
use crate::store::Engine;

impl Shard {
    /// Has messages read whose turn it is. After the turn's batch, so that the lane finds what the turn wrote.
    pub(super) fn send_passages(&mut self) {
        let (true, Some(progress)) = (self.ledger.is_open(), self.ledger.progress()) else { return };
        while self.mesh.has_room_everywhere() {
            let Some((pair, first)) = self.passages.next() else { return };
            let (mailbox, progress, generation) = (self.mailbox.clone(), progress.clone(), self.passages.generation());
            let job = move |engine: &dyn Engine| {
                let found = passage::read(engine, pair, first);
                // It may be in a batch that is not durable yet.
                let ticket = progress.written();
                post(&mailbox, Event::PassagesRead(Box::new(PassagesRead { generation, pair, found, ticket })));
            };
            let submitted = self.ledger.readers().is_some_and(|readers| readers.submit(Box::new(job)).is_ok());
            if !submitted {
                return self.passages.rest(pair, self.now.instant);
            }
        }
    }

    /// A lane has read messages: they leave when what it read is durable (DESIGN 8.1, 3).
    pub(super) fn passages_read(&mut self, read: PassagesRead) {
        let PassagesRead { generation, pair, found, ticket } = read;
        if generation != self.passages.generation() {
            return;
        }
        let mut messages = Vec::new();
        for (number, message) in found.unwrap_or_else(|error| {
            tracing::error!(%error, "messages on their way to other originators cannot be read");
            Vec::new()
        }) {
            match message {
                Ok(message) => messages.push((number, message)),
                Err(error) => {
                    // It stays where it is, for whoever looks into it.
                    tracing::error!(%error, "a message on its way to another originator cannot be read");
                    self.counters.increment(Counter::MessagesLost);
                    self.passages.lose(pair, number);
                }
            }
        }
        match messages.is_empty() {
            true => self.passages.rest(pair, self.now.instant),
            false => self.ledger.owe_at(ticket, Owed::Passages { pair, messages }),
        }
    }

    /// Messages are durable: they go to their new originators' shard.
    pub(super) fn passages_out(&mut self, pair: Pair, messages: Vec<(u64, Passage)>) {
        if !self.passages.send(pair, self.now.instant) {
            return;
        }
        let (to, passing) = (self.placement.shard_of(pair.to), Passing { from: self.index, pair, messages });
        if to == self.index {
            self.take_passages(passing);
            // What they wrote goes into the next turn's batch.
            self.bell.ring();
        } else {
            self.mesh.send(to, Letter::Passing(Box::new(passing)));
        }
    }

    /// Messages for originators of this shard, in order. A pair's that are being taken already were sent twice.
    pub(super) fn take_passages(&mut self, passing: Passing) {
        let Passing { from, pair, messages } = passing;
        if !self.ledger.is_open() {
            return self.say_passed(from, pair, 0);
        }
        if let Entry::Vacant(place) = self.passages.taking.entry(pair) {
            place.insert(Taking { from: Sender::Shard(from), rest: messages.into() });
            self.go_on_taking(pair);
        }
    }

    /// Messages of the control plane for originators of this shard and of one partition, in order. The answer is up to which number they
    /// are taken, durably.
    pub(super) fn take_announcements(&mut self, to: Partition, messages: Vec<(u64, Entering)>, reply: Reply<u64>) {
        let taken = self.now.timestamp;
        let pair = Pair { from: Partition::CONTROL_PLANE, to };
        let refused = match (self.unavailable(), self.passages.taking.entry(pair)) {
            (Some(reason), _) => reason,
            (None, Entry::Occupied(_)) => "others of this partition are being taken".to_owned(),
            (None, Entry::Vacant(place)) => {
                let rest = messages.into_iter().map(|(number, entering)| (number, passage_of(entering, taken))).collect();
                place.insert(Taking { from: Sender::ControlPlane(reply), rest });
                return self.go_on_taking(pair);
            }
        };
        // Whoever sent them may have gone away.
        drop(reply.send(Err(QueryError::Unavailable(refused))));
    }

    /// Takes what is left of a pair's messages, until one has to wait.
    pub(super) fn go_on_taking(&mut self, pair: Pair) {
        loop {
            let mark = self.passages.mark_of(pair);
            let Some(taking) = self.passages.taking.get_mut(&pair) else { return };
            let Some((number, message)) = taking.rest.pop_front() else { return self.end_taking(pair) };
            if number <= mark {
                continue;
            }
            let is_there = pair.from == Partition::CONTROL_PLANE || self.is_there(message.to, message.owed.tenant);
            if self.is_patient() && pair.from != Partition::CONTROL_PLANE && !(is_there && self.has_way_back(&message.owed)) {
                return self.end_taking(pair);
            }
            if !is_there {
                self.counters.increment(Counter::MessagesLost);
                self.mark_passage(pair, number);
                continue;
            }
            if !self.residents.contains(message.to.id) {
                return self.take_when_loaded(pair, (number, message));
            }
            match self.evaluate_passage(message, Waiter::Passage { pair, number }) {
                // It waits for a fact, and what is left waits behind it.
                None => return,
                // There was no room for it to wait.
                Some(Outcome::Unavailable) => return self.end_taking(pair),
                Some(_) => self.mark_passage(pair, number),
            }
        }
    }

    fn take_when_loaded(&mut self, pair: Pair, (number, message): (u64, Passage)) {
        let originator = message.to.id;
        match self.residents.park(message.owed.tenant, originator, Parked::Passage(pair)) {
            Parking::Load => self.loads.push_back(originator),
            Parking::Waiting => {}
            Parking::Full(_) => return self.end_taking(pair),
        }
        if let Some(taking) = self.passages.taking.get_mut(&pair) {
            taking.rest.push_front((number, message));
        }
    }

    /// The next one's originator, its state or its node is not there: not now.
    pub(super) fn end_taking(&mut self, pair: Pair) {
        let Some(Taking { from, .. }) = self.passages.taking.remove(&pair) else { return };
        let up_to = self.passages.mark_of(pair);
        match from {
            Sender::Shard(to) => self.ledger.owe(Owed::Passed { to, pair, up_to }),
            Sender::ControlPlane(reply) => self.reply(reply, Ok(up_to)),
        }
    }

    /// A message goes on, or enters a chain, where its originator's state is resident.
    pub(super) fn evaluate_passage(&mut self, message: Passage, waiter: Waiter) -> Option<Outcome> {
        let Passage { owed, to } = message;
        let whose = self.whose(to, owed.tenant);
        let kind = MessageType::parse(&owed.departed.kind).unwrap_or(MessageType::PostTelemetryRequest);
        self.watch_activity(to.id, kind);
        let spoken = Spoken::new(whose, kind, Body::Lifecycle, waiter, self.now.timestamp);
        let spoken = spoken.arriving(owed.departed);
        let running = self.running_of(&spoken);
        self.hear_out(spoken, &running)
    }

    /// A message that waited was evaluated; its mark goes into the same batch.
    pub(super) fn passage_said(&mut self, pair: Pair, number: u64) {
        self.mark_passage(pair, number);
        self.go_on_taking(pair);
        self.bell.ring();
    }

    fn mark_passage(&mut self, pair: Pair, number: u64) {
        self.counters.increment(Counter::MessagesPassed);
        self.passages.mark(pair, number);
        passage::mark(&mut self.ledger.batch, pair, number);
    }

    /// Whether an originator is there. Of kinds that data planes are not told of, all are.
    pub(super) fn is_there(&self, to: End, tenant: TenantId) -> bool {
        match to.kind {
            EntityType::Device => self.table.device(DeviceId(to.id.0)).is_some_and(|device| device.tenant == tenant),
            EntityType::Asset => self.table.asset(to.id).is_some_and(|asset| asset.tenant == tenant),
            EntityType::Customer | EntityType::Tenant => self.table.details(to.id).is_some(),
            _ => true,
        }
    }

    /// Tells the sender up to which number its messages are taken.
    pub(super) fn say_passed(&mut self, to: u16, pair: Pair, up_to: u64) {
        if to == self.index {
            self.passed(pair, up_to);
        } else {
            self.mesh.send(to, Letter::Passed(Box::new((pair, up_to))));
        }
    }

    /// Messages are taken, durably: they are not under way any more.
    pub(super) fn passed(&mut self, pair: Pair, up_to: u64) {
        for number in self.passages.taken(pair, up_to, self.now.instant) {
            passage::delete(&mut self.ledger.batch, pair, number);
        }
        self.bell.ring();
    }

    /// After a start or a new generation: messages that were not taken are sent again, and what was taken is known.
    pub(super) fn recover_passages(&mut self, engine: &dyn Engine) {
        let found = passage::pending(engine, |each| match each {
            Ok(found) => self.passages.add(found),
            Err(error) => tracing::error!(%error, "a message on its way to another originator cannot be read"),
        });
        let marks = passage::marks(engine, |pair, number| self.passages.mark(pair, number));
        if let Err(error) = found.and(marks) {
            tracing::error!(%error, "messages on their way to other originators could not be recovered");
        }
    }
}

/// A message that enters a chain, as if it came from another originator.
pub(super) fn passage_of(entering: Entering, taken: Timestamp) -> Passage {
    let Entering { tenant, originator, kind, metadata, data, chain } = entering;
    let path = chain.map(|chain| (chain, Uuid::nil())).into_iter().collect();
    let departed = Departed { path, kind, metadata, data, ..Departed::default() };
    Passage { owed: OwedCall { tenant, taken, departed }, to: originator }
}
