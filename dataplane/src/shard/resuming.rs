//! A message that waited for time, from the moment at which it is due to the batch of what follows from it (DESIGN 8.1, 2). Exactly once:
//! that it does not wait any more is in that batch. Never waits.

use schemas::id::{DeviceId, EntityId};

use super::asking::post;
use super::calling::is_persistent;
use super::dues::{Asked, Outcome};
use super::event::{DueRead, Event};
use super::residents::{Parked, Parking};
use super::turn::Shard;
use super::work::Stage;
use crate::clock::Timestamp;
use crate::device::outbox::OwedCall;
use crate::device::waiting::{self, Due};
use crate::limits;
use crate::message::Message;
use crate::metric::Counter;
use crate::owed::{Waiting, Waits};
use crate::rules::{self, Pack, Pending};
use crate::store::{Engine, StoreError};

/// What a message goes on with when nothing came of its call.
pub(super) fn error(name: &str) -> String {
    serde_json::json!({ "error": name }).to_string()
}

/// Something whose time has come, with its message, or those that it waited with, by their numbers.
#[derive(Debug)]
pub(super) struct Ripe {
    pub due: Due,
    pub messages: Vec<(u64, OwedCall)>,
}

impl Shard {
    /// Has read what is due. After the turn's batch, so that the lane finds what the turn wrote.
    pub(super) fn read_due(&mut self) {
        if self.dues.is_idle() || !self.ledger.is_open() {
            return;
        }
        self.call_devices();
        let Some(readers) = self.ledger.readers() else { return };
        let Some((generation, wanted)) = self.dues.next() else { return };
        let (mailbox, asked) = (self.mailbox.clone(), wanted.clone());
        let job = move |engine: &dyn Engine| {
            let found = asked.into_iter().map(|due| (due, waiting::read(engine, due))).collect();
            post(&mailbox, Event::DueRead(Box::new(DueRead { generation, found })));
        };
        if readers.submit(Box::new(job)).is_err() {
            // The lane is busy.
            self.dues.read(generation);
            wanted.into_iter().for_each(|due| self.wait_on(due));
        }
    }

    /// A lane has read what is due.
    pub(super) fn due_read(&mut self, read: DueRead) {
        if !self.dues.read(read.generation) {
            return;
        }
        for (due, found) in read.found {
            match found {
                Ok(messages) => self.ripe(Ripe { due, messages }),
                Err(error) => self.unreadable(due, &error),
            }
        }
    }

    /// It stays on disk, for whoever looks into it.
    fn unreadable(&mut self, due: Due, error: &StoreError) {
        tracing::error!(%error, "a message that waits cannot be read");
        self.counters.increment(Counter::WaitsLost);
        self.dues.let_go(due);
        self.dues.finish(due.originator, due.node, due.number);
    }

    /// Goes on when its originator's state is there.
    fn ripe(&mut self, ripe: Ripe) {
        let originator = ripe.due.originator;
        // It may be gone, or have gone on with what it waited with.
        if !self.dues.waits(ripe.due) {
            return self.dues.let_go(ripe.due);
        }
        if self.residents.contains(originator) {
            return self.goes_on(ripe);
        }
        match self.residents.park(ripe.due.tenant, originator, Parked::Ripe(Box::new(ripe))) {
            Parking::Load => self.loads.push_back(originator),
            Parking::Waiting => {}
            Parking::Full(Parked::Ripe(ripe)) => self.not_yet(&ripe),
            Parking::Full(_) => {}
        }
    }

    /// It cannot go on now.
    pub(super) fn not_yet(&mut self, ripe: &Ripe) {
        self.wait_on(ripe.due);
    }

    fn wait_on(&mut self, due: Due) {
        self.dues.let_go(due);
        self.dues.again(due, self.now);
    }

    /// What waited goes on behind its node; that it does not wait any more is in the same batch.
    pub(super) fn goes_on(&mut self, ripe: Ripe) {
        let waits_for_node = self.is_patient() && !ripe.messages.iter().all(|(_, message)| self.has_way_back(message));
        if !self.ledger.is_open() || waits_for_node {
            return self.not_yet(&ripe);
        }
        let Ripe { due, messages } = ripe;
        self.dues.let_go(due);
        if messages.is_empty() && self.over(due, due.number) {
            self.counters.increment(Counter::WaitsLost);
        }
        match due.how {
            Waits::Alone => {
                for (number, message) in messages {
                    if self.over(due, number) {
                        self.behind(due.originator, &message, None);
                    }
                }
            }
            Waits::Together => self.together(due, messages),
            Waits::Made => self.make(due, messages),
            Waits::Answer if self.dues.wants_call(due, self.now) => self.call_after_start(due, messages),
            Waits::Answer => self.with_answer(due, messages),
        }
    }

    /// Whether the node at which a message waits is there, and those through which it came there.
    pub(super) fn has_way_back(&self, message: &OwedCall) -> bool {
        message.departed.path.iter().all(|(chain, node)| {
            let running = self.table.plan(message.tenant, *chain);
            running.is_some_and(|running| running.plan().ids().any(|id| id == *node))
        })
    }

    /// A start has found a message that waits for an answer. Its persistent call is not stored: the message would not wait any more.
    /// Another call may have reached the device, so it is not made twice.
    fn call_after_start(&mut self, due: Due, messages: Vec<(u64, OwedCall)>) {
        let expires = Timestamp(due.at.0.saturating_sub(limits::ANSWER_GRACE_MS));
        for (_, OwedCall { departed, .. }) in messages {
            if is_persistent(&departed) {
                self.dues.ask(Asked { due, expires, departed });
            }
        }
    }

    /// It does not wait any more, if it did.
    pub(super) fn over(&mut self, due: Due, number: u64) -> bool {
        let finished = self.dues.finish(due.originator, due.node, number);
        if let Some(due) = finished {
            waiting::delete(&mut self.ledger.batch, due);
            self.counters.increment(Counter::WaitsOver);
        }
        finished.is_some()
    }

    /// A message goes on with what its originator answered.
    fn with_answer(&mut self, due: Due, messages: Vec<(u64, OwedCall)>) {
        let nothing = || Outcome { data: error("TIMEOUT"), failure: Some("TIMEOUT".to_owned()) };
        let Outcome { data, failure } = self.dues.outcome(due.number).cloned().unwrap_or_else(nothing);
        for (number, mut message) in messages {
            if self.over(due, number) {
                message.departed.data.clone_from(&data);
                self.behind(due.originator, &message, failure.clone());
            }
        }
    }

    /// Of those that waited together those go on that the node's configuration of now says.
    fn together(&mut self, due: Due, messages: Vec<(u64, OwedCall)>) {
        let Some((_, first)) = messages.first() else { return };
        let (tenant, (chain, node)) = (first.tenant, first.departed.node());
        let pending = messages.into_iter().map(|(number, message)| {
            let OwedCall { taken, departed, .. } = message;
            Pending { number, taken, departed }
        });
        let pending: Vec<Pending> = pending.collect();
        let numbers: Vec<u64> = pending.iter().map(|one| one.number).collect();
        let running = self.table.plan(tenant, chain).map(std::rc::Rc::clone);
        let Some(packs) = running.and_then(|running| rules::together(&running, node, pending, self.now.timestamp)) else {
            // Those that came after it have their own time.
            for number in numbers.into_iter().filter(|number| *number <= due.number) {
                if self.over(due, number) {
                    self.counters.increment(Counter::WaitsLost);
                }
            }
            return;
        };
        for Pack { departed, of } in packs {
            // All of them wait, or none does: they ended together.
            let waited = of.into_iter().filter(|number| self.over(due, *number)).count() > 0;
            if waited {
                self.behind(due.originator, &OwedCall { tenant, taken: self.now.timestamp, departed }, None);
            }
        }
        // With a longer interval than it had when the message came.
        if self.dues.waits(due) {
            self.dues.again(due, self.now);
        }
    }

    /// A message goes on behind the node at which it waited.
    pub(super) fn behind(&mut self, originator: EntityId, message: &OwedCall, failure: Option<String>) {
        let (evaluation, answers) = self.resume(originator, message.tenant, &message.departed, failure.map_or(Ok(None), Err));
        for (request, json) in answers {
            self.answer_client_call(DeviceId(originator.0), request, json);
        }
        if evaluation.is_none() {
            self.counters.increment(Counter::WaitsLost);
            tracing::debug!(%originator, node = %message.departed.node().1, "the node at which a message waited is gone");
        }
    }

    /// After a start or a new generation: what waits is armed again, and nothing of it is read before it is due.
    pub(super) fn recover_due(&mut self, engine: &dyn Engine) {
        let found = waiting::pending(engine, |each| match each {
            Ok(due) => self.dues.recover(due, self.now),
            Err(error) => tracing::error!(%error, "a message that waits cannot be armed"),
        });
        if let Err(error) = found {
            tracing::error!(%error, "messages that wait could not be recovered");
        }
    }

    /// An entity is gone, and what waited of it.
    pub(super) fn forget_due(&mut self, entity: EntityId) {
        for due in self.dues.forget(entity) {
            waiting::delete(&mut self.ledger.batch, due);
        }
    }
}

impl Stage<'_> {
    /// A message waits from this batch on.
    pub(super) fn wait(&mut self, message: &Message<'_>, waiting: &Waiting) {
        let Waiting { how, due: at, departed } = waiting;
        let (tenant, originator, node) = (message.tenant, message.originator, departed.node().1);
        let owed = OwedCall { tenant, taken: self.now.timestamp, departed: departed.clone() };
        let mut due = Due::new(originator, node, self.ledger.sequence.next(), (tenant, *how, *at));
        if *how == Waits::Answer {
            due.at = Timestamp(at.0.saturating_add(limits::ANSWER_GRACE_MS));
            self.dues.ask(Asked { due, expires: *at, departed: departed.clone() });
        }
        due.bytes = waiting::put(&mut self.ledger.batch, due, &owed);
        self.dues.add(due, self.now);
    }
}
