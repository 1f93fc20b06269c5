//! Questions to the control plane and what happens with their answers (DESIGN 8.3, 10). Never waits: whoever needs the answer is
//! remembered under the question's number.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::mpsc;

use super::alarming::ToldOf;
use super::downloading::Download;
use super::ledger::OwnedDownlink;
use super::letter::{Address, Answer, Piece};
use super::slab::Key;
use super::turn::Shard;
use crate::limits;
use crate::registry::{Ask, Question, Told};
use crate::session::{Outcome, Package};

/// Who needs an answer.
#[derive(Debug)]
pub(super) enum Asker {
    /// A gateway whose pack names this child.
    Gateway { connection: Key, name: Arc<str> },
    /// A connection whose certificate no credential names.
    Certificate(Key),
    /// Whoever asked for exactly this.
    Answer(Address),
    /// A piece of a package, to be answered in MQTT's words.
    Piece { to: Address, package: Package, request: u32, chunk: u32 },
    /// The feed of changed alarms, which told these.
    Alarms(Vec<ToldOf>),
    /// A message at a rule node, by its flight.
    Call(u64),
    /// A download that has room for more.
    Stretch(Box<Download>),
}

/// The questions of one shard that are not answered yet.
#[derive(Debug)]
pub(super) struct Questions {
    line: mpsc::Sender<Question>,
    open: HashMap<u64, Asker, RandomState>,
    last: u64,
    /// How many ask for stretches of downloads.
    stretches: usize,
}

impl Questions {
    pub(super) fn new(line: mpsc::Sender<Question>) -> Self {
        Self { line, open: HashMap::default(), last: 0, stretches: 0 }
    }

    pub(super) fn stretches(&self) -> usize {
        self.stretches
    }
}

impl Shard {
    /// Asks the control plane; false when too much is asked already.
    pub(super) fn inquire(&mut self, ask: Ask, asker: Asker) -> bool {
        self.try_inquire(ask, asker).is_ok()
    }

    /// The same.
    ///
    /// # Errors
    /// The asker when too much is asked already.
    pub(super) fn try_inquire(&mut self, ask: Ask, asker: Asker) -> Result<(), Asker> {
        if self.questions.open.len() >= limits::QUESTIONS_PER_SHARD_MAX {
            return Err(asker);
        }
        self.questions.last += 1;
        let number = self.questions.last;
        if self.questions.line.try_send(Question { shard: self.index, number, ask }).is_err() {
            return Err(asker);
        }
        self.questions.stretches += usize::from(matches!(asker, Asker::Stretch(_)));
        self.questions.open.insert(number, asker);
        Ok(())
    }

    /// The control plane has answered, or will not.
    pub(super) fn told(&mut self, number: u64, told: Told) {
        match self.questions.open.remove(&number) {
            Some(Asker::Gateway { connection, name }) => self.child_known(connection, &name, told),
            Some(Asker::Certificate(key)) => self.certificate_known(key, &told),
            Some(Asker::Alarms(of)) => self.alarms_told(of, &told),
            Some(Asker::Call(flight)) => self.wish_told(flight, told),
            Some(Asker::Answer(to)) => self.answer_later(to, answer(told)),
            Some(Asker::Piece { to, package, request, chunk }) => {
                self.answer_later(to, piece(told, package, request, chunk));
            }
            Some(Asker::Stretch(download)) => {
                self.questions.stretches -= 1;
                self.stretch_told(download, told);
            }
            None => {}
        }
    }
}

fn answer(told: Told) -> Answer {
    match told {
        Told::Provisioned(json) => Answer { downlink: Some(OwnedDownlink::Provisioned(json)), ..Outcome::Stored.into() },
        Told::Claimed => Outcome::Stored.into(),
        Told::Nobody(_) => Outcome::QuotaExceeded.into(),
        _ => Outcome::Unavailable.into(),
    }
}

fn piece(told: Told, package: Package, request: u32, chunk: u32) -> Answer {
    let error = |outcome, text| Answer { outcome, downlink: Some(OwnedDownlink::ChunkError(package, text)), gone: None };
    match told {
        Told::Piece(bytes) => Answer {
            downlink: Some(OwnedDownlink::Chunk(Box::new(Piece { package, request, chunk, bytes }))),
            ..Outcome::Stored.into()
        },
        Told::NoPackage => error(Outcome::NotFound, "NOT_FOUND"),
        Told::PieceTooLarge => error(Outcome::PayloadInvalid, "PAYLOAD_TOO_LARGE"),
        _ => error(Outcome::Unavailable, "UNAVAILABLE"),
    }
}
