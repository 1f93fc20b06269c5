//! A call to the outside, or to the control plane, from the batch of its message to the batch of what follows from its answer (DESIGN
//! 8.6, 22 and 24). At least once: what happens between the two is forgotten at a crash, and begins anew. Never waits.

use std::rc::Rc;

use schemas::chain::{Side, Wish};
use schemas::config::End;
use schemas::id::{DeviceId, EntityId};
use schemas::wish::Wished;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::asking::post;
use super::event::{CallsRead, Event};
use super::inquiring::Asker;
use super::ledger::Owed;
use super::outbox::Flight;
use super::residents::{Parked, Parking};
use super::turn::Shard;
use crate::device::outbox::{self, OwedCall};
use crate::limits;
use crate::metric::Counter;
use crate::owed::{Answer, Answered, Call, Departed, Due, Email};
use crate::registry::{Ask, Told};
use crate::rules;
use crate::store::Engine;

/// What came of a call, on its way to the message that waits for it.
#[derive(Debug)]
pub(super) struct Returned {
    node: Uuid,
    number: u64,
    owed: OwedCall,
    answer: Answer,
    failure: Option<String>,
    /// Whose message it is from now on, if it goes on where that lives.
    becomes: Option<End>,
    given_up: bool,
}

impl Shard {
    /// Has the calls read whose time has come. After the turn's batch, so that the lane finds what the turn wrote.
    pub(super) fn make_calls(&mut self) {
        let now = self.now.instant;
        let nodes = self.outbox.take_woken();
        if nodes.is_empty() {
            return;
        }
        let (true, Some(readers), Some(progress)) = (self.ledger.is_open(), self.ledger.readers(), self.ledger.progress()) else {
            return;
        };
        let mut wanted = Vec::new();
        for node in nodes {
            wanted.extend(std::iter::from_fn(|| self.outbox.next(node, now)));
        }
        if wanted.is_empty() {
            return;
        }
        let (mailbox, asked) = (self.mailbox.clone(), wanted.clone());
        let job = move |engine: &dyn Engine| {
            let read = |next: super::outbox::Next| (next, outbox::read(engine, next.originator, next.node, next.number));
            let calls = asked.into_iter().map(read).collect();
            post(&mailbox, Event::CallsRead(Box::new(CallsRead { calls, ticket: progress.written() })));
        };
        if readers.submit(Box::new(job)).is_err() {
            // The lane is busy; the next tick asks again.
            for next in wanted {
                if self.outbox.unread(next) {
                    self.outbox.again(next.originator, next.node);
                }
            }
        }
    }

    /// A lane has read calls: they are made when what it read is durable (DESIGN 8.1, 3).
    pub(super) fn calls_read(&mut self, read: CallsRead) {
        for (next, call) in read.calls {
            match call {
                Ok(Some(owed)) => {
                    if let Some(flight) = self.outbox.fly(next, owed) {
                        self.ledger.owe_at(read.ticket, Owed::CallOut(flight));
                    }
                }
                Ok(None) | Err(_) if !self.outbox.unread(next) => {}
                lost => {
                    if let Err(error) = lost {
                        // It stays where it is, for whoever looks into it.
                        tracing::error!(%error, "a call that is owed cannot be read");
                    }
                    self.counters.increment(Counter::CallsLost);
                    self.outbox.finish(next.originator, next.node, next.number);
                }
            }
        }
    }

    /// A call is durable: it is made.
    pub(super) fn call_out(&mut self, flight: u64) {
        let Some(Flight { originator, node, number, owed, .. }) = self.outbox.flight(flight) else { return };
        let (node, tenant, key) = (*node, owed.tenant, format!("{}-{number:x}", originator.0.simple()));
        let running = self.table.plan(tenant, owed.departed.node().0).map(Rc::clone);
        let (external, call) = match running.and_then(|running| rules::call(&running, &owed.departed)) {
            Some(Ok(call)) => call,
            Some(Err(reason)) => return self.came_of(flight, Answered::Refused(reason, Answer::default())),
            None if self.is_patient() => {
                let Some(Flight { originator, node, .. }) = self.outbox.land(flight) else { return };
                return self.outbox.pause(originator, node, self.now.instant);
            }
            None => return self.came_of(flight, Answered::Refused("the node is gone".to_owned(), Answer::default())),
        };
        let mut call = match call {
            Call::Wish(wish) => {
                self.outbox.bound(node, limits::WISHES_PER_NODE_AT_ONCE_MAX);
                return self.wish(flight, wish);
            }
            call => call,
        };
        self.outbox.bound(node, external.parallel_max());
        let mut private = self.table.share(tenant).is_some_and(|share| share.tenant().limits().private_targets);
        if let (Call::Email(email @ Email { mailer: None, .. }), Some(mail)) = (&mut call, self.table.mail()) {
            email.mailer = Some(mail.mailer.clone());
            if email.from.trim().is_empty() {
                email.from.clone_from(&mail.from);
            }
            // Whoever runs the installation knows where its mail server is.
            private = true;
        }
        // The line has room for as many as may be under way. It is closed only when the process ends.
        drop(self.calls_out.try_send(Due { shard: self.index, flight, node, key, private, call }));
    }

    /// The control plane is told what a message wants, on the line for all that a shard asks of it.
    fn wish(&mut self, flight: u64, wish: Wish) {
        let Some(Flight { originator, owed, .. }) = self.outbox.flight(flight) else { return };
        let (id, tenant) = (*originator, owed.tenant);
        let originator = End { kind: self.type_of(id, tenant), id };
        let wished = Box::new(Wished { tenant, originator, wish });
        if !self.inquire(Ask::Wish(wished), Asker::Call(flight)) {
            self.came_of(flight, Answered::Unreachable("too much is asked of the control plane already".to_owned()));
        }
    }

    /// The control plane has granted what a message wants, or has not.
    pub(super) fn wish_told(&mut self, flight: u64, told: Told) {
        let Some(Flight { originator, node, owed, .. }) = self.outbox.flight(flight) else { return };
        let Told::Granted(granted) = told else { return self.came_of(flight, not_granted(told)) };
        let chain = self.table.plan(owed.tenant, owed.departed.node().0);
        let wish = chain.and_then(|running| rules::wish(running, *node));
        // Where a node behind it may lack a fact, such as one of what was just made, it sets out to itself. A device's call does not:
        // it is answered here.
        let asks = chain.is_some_and(|running| running.plan().asks()) || owed.departed.path.len() > 1;
        let waits = asks && !owed.departed.metadata.contains_key("requestId");
        let itself = End { kind: self.type_of(*originator, owed.tenant), id: *originator };
        let becomes = granted.entity.filter(|_| wish.is_some_and(Wish::becomes)).or_else(|| waits.then_some(itself));
        let answer = match (wish, granted.credentials) {
            (Some(Wish::Credentials(side)), Some(shown)) => credentials(*side, shown, &owed.departed.data),
            _ => Answer::default(),
        };
        self.came_back(flight, Answered::Done(answer), becomes);
    }

    /// What came of a call: the message goes on, or it is made again.
    pub(super) fn came_of(&mut self, flight: u64, answered: Answered) {
        self.came_back(flight, answered, None);
    }

    fn came_back(&mut self, flight: u64, answered: Answered, becomes: Option<End>) {
        let Some(Flight { originator, node, number, owed, .. }) = self.outbox.land(flight) else { return };
        if !self.ledger.is_open() {
            // Nothing is evaluated now (DESIGN 8.2, 5): the call is made once more, with the same key.
            return self.outbox.again(originator, node);
        }
        let now = self.now;
        let patient = now.timestamp.0.saturating_sub(owed.taken.0) < limits::CALL_PATIENCE_MS;
        self.outbox.heard(node, !matches!(answered, Answered::Unreachable(_)), now.instant);
        let (failure, answer, given_up) = match answered {
            Answered::Done(answer) => {
                self.outbox.took(node);
                (None, answer, false)
            }
            Answered::Refused(reason, answer) => (Some(reason), answer, false),
            Answered::Failed(reason, answer) => {
                if patient && self.outbox.rest(originator, node, now.instant) {
                    return self.counters.increment(Counter::CallsRetried);
                }
                (Some(reason), answer, true)
            }
            Answered::Unreachable(reason) => {
                if patient {
                    self.outbox.again(originator, node);
                    return self.counters.increment(Counter::CallsRetried);
                }
                (Some(reason), Answer::default(), true)
            }
        };
        self.counters.increment(if failure.is_none() { Counter::CallsAnswered } else { Counter::CallsFailed });
        self.return_to(originator, Returned { node, number, owed, answer, failure, becomes, given_up });
    }

    /// The message goes on, when its originator's state is there.
    fn return_to(&mut self, originator: EntityId, returned: Returned) {
        if self.residents.contains(originator) {
            return self.returned(originator, returned);
        }
        match self.residents.park(returned.owed.tenant, originator, Parked::Returned(Box::new(returned))) {
            Parking::Load => self.loads.push_back(originator),
            Parking::Waiting => {}
            // The call is made once more, with the same key.
            Parking::Full(Parked::Returned(returned)) => self.not_returned(originator, &returned),
            Parking::Full(_) => {}
        }
    }

    /// A message cannot go on now, so its call is made once more, after a pause.
    pub(super) fn not_returned(&mut self, originator: EntityId, returned: &Returned) {
        self.outbox.pause(originator, returned.node, self.now.instant);
    }

    /// The message goes on behind its node; that the call is not owed any more is in the same batch.
    pub(super) fn returned(&mut self, originator: EntityId, returned: Returned) {
        if !self.ledger.is_open() {
            return self.not_returned(originator, &returned);
        }
        let Returned { node, number, owed, answer, failure, becomes, given_up } = returned;
        if !self.outbox.finish(originator, node, number) {
            return;
        }
        outbox::delete(&mut self.ledger.batch, originator, node, number);
        let mut departed = owed.departed.clone();
        merge(&mut departed, answer, failure.as_ref());
        let (evaluation, answers) = self.resume(originator, owed.tenant, &departed, failure.clone().map_or(Ok(becomes), Err));
        for (request, json) in answers {
            self.answer_client_call(DeviceId(originator.0), request, json);
        }
        let unheeded = match &evaluation {
            None => {
                self.counters.increment(Counter::CallsLost);
                true
            }
            Some(evaluation) => failure.is_some() && evaluation.failed.as_ref().map(|failed| &failed.reason) == failure.as_ref(),
        };
        if unheeded || given_up {
            let reason = failure.unwrap_or_else(|| "the node is gone".to_owned());
            tracing::warn!(%originator, %node, reason, "a call to the outside is given up");
            outbox::bury(&mut self.ledger.batch, originator, number, (&owed, &reason, self.now.timestamp));
            self.dead_letters.changed(originator);
        }
    }

    /// After a start or a new generation: calls that were not answered are made again, in the order of their numbers.
    pub(super) fn recover_calls(&mut self, engine: &dyn Engine) {
        let found = outbox::pending(engine, |each| match each {
            Ok(found) => self.outbox.add(found),
            Err(error) => tracing::error!(%error, "a call that is owed cannot be read"),
        });
        if let Err(error) = found {
            tracing::error!(%error, "calls that are owed could not be recovered");
        }
    }
}

fn not_granted(told: Told) -> Answered {
    match told {
        Told::Nobody(reason) => Answered::Refused(reason, Answer::default()),
        Told::Failed(reason) => Answered::Failed(reason, Answer::default()),
        Told::Unavailable(reason) => Answered::Unreachable(reason),
        _ => Answered::Failed("an answer to another question".to_owned(), Answer::default()),
    }
}

/// Credentials beside what a message says, or in it; in the metadata a text has no quotation marks.
fn credentials(side: Side, (kind, json): (String, String), data: &str) -> Answer {
    let shown: Value = serde_json::from_str(&json).unwrap_or_default();
    match side {
        Side::Metadata => {
            let text = shown.as_str().map_or(json, str::to_owned);
            Answer { metadata: vec![("credentialsType".to_owned(), kind), ("credentials".to_owned(), text)], data: None }
        }
        Side::Data => {
            let mut data: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
            data.insert("credentialsType".to_owned(), Value::String(kind));
            data.insert("credentials".to_owned(), shown);
            Answer { metadata: Vec::new(), data: Some(Value::Object(data).to_string()) }
        }
    }
}

/// What the message goes on with.
fn merge(departed: &mut Departed, answer: Answer, failure: Option<&String>) {
    departed.metadata.extend(answer.metadata);
    if let Some(reason) = failure {
        departed.metadata.insert("error".to_owned(), reason.clone());
    } else if let Some(data) = answer.data {
        departed.data = data;
    }
}
