//! Calls to the outside that were given up: shown to people, made once more, or forgotten (DESIGN 8.6, 22). A lane reads them; the
//! shard acts on those that nothing has changed since. Never makes a call.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use prost::Message;
use schemas::generated::kept::DeadLetter;
use schemas::id::EntityId;

use super::asking::post;
use super::event::Event;
use super::turn::Shard;
use crate::device::outbox::{self, Pending};
use crate::limits;
use crate::query::{DeadLetters, DeadLettersAsk, EndedDeadLetters, FoundDeadLetters, QueryError, Reply};
use crate::store::Engine;

/// Whose dead letters changed last, so that what a lane read earlier is not taken for what is there.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Changes of this shard.
    count: u64,
    last: VecDeque<EntityId>,
}

impl Changed {
    /// An originator has another dead letter, or one less, or is gone.
    pub(super) fn changed(&mut self, originator: EntityId) {
        self.count += 1;
        if self.last.len() >= limits::DEAD_LETTERS_CHANGED_MAX {
            self.last.pop_front();
        }
        self.last.push_back(originator);
    }

    /// The store generation ended: nothing that was read before counts.
    pub(super) fn clear(&mut self) {
        self.count += limits::DEAD_LETTERS_CHANGED_MAX as u64 + 1;
        self.last.clear();
    }

    /// Whose changed since there were `count` changes. `None`: nobody knows any more.
    fn since(&self, count: u64) -> Option<HashSet<EntityId>> {
        let changes = usize::try_from(self.count - count).ok().filter(|changes| *changes <= self.last.len())?;
        Some(self.last.iter().rev().take(changes).copied().collect())
    }
}

/// See [`Event::DeadLettersRead`].
#[derive(Debug)]
pub struct DeadLettersRead {
    again: bool,
    /// How many changes there were when the lane was asked.
    count: u64,
    letters: Vec<(EntityId, DeadLetter)>,
    partial: bool,
    reply: Reply<EndedDeadLetters>,
}

impl Shard {
    /// Has a lane read what is asked for.
    pub(super) fn ask_dead_letters(&mut self, sought: DeadLetters, ask: DeadLettersAsk) {
        if let Some(reason) = self.unavailable() {
            let unavailable = QueryError::Unavailable(reason);
            // Whoever asked may have gone away.
            return match ask {
                DeadLettersAsk::Find { reply, .. } => drop(reply.send(Err(unavailable))),
                DeadLettersAsk::End { reply, .. } => drop(reply.send(Err(unavailable))),
            };
        }
        let Some(progress) = self.ledger.progress() else { return };
        let (mailbox, count) = (self.mailbox.clone(), self.dead_letters.count);
        let job = move |engine: &dyn Engine| match ask {
            DeadLettersAsk::Find { most, with_message, reply } => {
                let found = find(engine, &sought, most.min(limits::DEAD_LETTERS_PER_ANSWER_MAX), with_message);
                let release = Box::new(move || drop(reply.send(found)));
                post(&mailbox, Event::Release { ticket: progress.written(), release });
            }
            DeadLettersAsk::End { again, reply } => match to_end(engine, &sought) {
                Ok((letters, partial)) => {
                    post(&mailbox, Event::DeadLettersRead(Box::new(DeadLettersRead { again, count, letters, partial, reply })));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        };
        self.read_for_somebody(sought.tenant, Box::new(job));
    }

    /// A lane has read calls that were given up: those that are still there are owed again, or forgotten.
    pub(super) fn dead_letters_read(&mut self, read: DeadLettersRead) {
        let DeadLettersRead { again, count, letters, partial, reply } = read;
        if !self.ledger.is_open() {
            // Dropping the reply says that there is no answer.
            return;
        }
        let changed = self.dead_letters.since(count);
        let (mut told, mut ended) = (EndedDeadLetters { partial, ..EndedDeadLetters::default() }, Vec::new());
        for (originator, letter) in letters {
            let stands = changed.as_ref().is_some_and(|changed| !changed.contains(&originator));
            let number = letter.number;
            if stands && (!again || self.revive(originator, letter)) {
                outbox::unbury(&mut self.ledger.batch, originator, number);
                told.ended += 1;
                ended.push(originator);
            } else {
                told.left += 1;
            }
        }
        // Behind the loop: several of one originator may end together.
        ended.into_iter().for_each(|originator| self.dead_letters.changed(originator));
        self.reply(reply, Ok(told));
    }

    /// A call is owed once more, under its number: its target may have heard it. False: there is no room.
    fn revive(&mut self, originator: EntityId, letter: DeadLetter) -> bool {
        let Some((number, owed)) = outbox::revived(letter) else { return false };
        if self.outbox.has_room(owed.tenant).is_err() {
            return false;
        }
        let owed = outbox::OwedCall { taken: self.now.timestamp, ..owed };
        let bytes = outbox::put(&mut self.ledger.batch, originator, number, &owed);
        self.outbox.add(Pending { originator, node: owed.departed.node().1, number, tenant: owed.tenant, bytes });
        true
    }
}

/// The last ones, with how many there are.
fn find(engine: &dyn Engine, sought: &DeadLetters, most: usize, with_message: bool) -> Result<FoundDeadLetters, QueryError> {
    let mut found = FoundDeadLetters::default();
    let last_first = |letters: &mut Vec<(EntityId, DeadLetter)>| {
        letters.sort_by_key(|(originator, letter)| std::cmp::Reverse((letter.given_up_ts, letter.number, *originator)));
        letters.truncate(most);
    };
    let budget = (limits::DEAD_LETTERS_SCANNED_MAX, limits::DEAD_LETTERS_SCANNED_BYTES_MAX);
    let partial = outbox::dead_letters(engine, sought, budget, |originator, mut letter| {
        found.total += 1;
        if !with_message {
            if let Some(delivery) = &mut letter.delivery {
                (delivery.data, delivery.metadata) = Default::default();
            }
            letter.reason.truncate(letter.reason.floor_char_boundary(limits::REASON_SHOWN_BYTES_MAX));
        }
        found.letters.push((originator, letter));
        if found.letters.len() >= most.saturating_mul(2).max(64) {
            last_first(&mut found.letters);
        }
        ControlFlow::Continue(())
    });
    found.partial = partial.map_err(|error| QueryError::Unavailable(error.to_string()))?;
    last_first(&mut found.letters);
    Ok(found)
}

/// As many as a turn may end. True: there may be more.
fn to_end(engine: &dyn Engine, sought: &DeadLetters) -> Result<(Vec<(EntityId, DeadLetter)>, bool), QueryError> {
    let (mut letters, mut bytes) = (Vec::new(), 0);
    let budget = (limits::DEAD_LETTERS_SCANNED_MAX, limits::DEAD_LETTERS_SCANNED_BYTES_MAX);
    let partial = outbox::dead_letters(engine, sought, budget, |originator, letter| {
        bytes += letter.encoded_len();
        letters.push((originator, letter));
        let full = letters.len() >= limits::DEAD_LETTERS_ENDED_AT_ONCE_MAX || bytes >= limits::DEAD_LETTERS_ENDED_BYTES_MAX;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let partial = partial.map_err(|error| QueryError::Unavailable(error.to_string()))?;
    Ok((letters, partial))
}
