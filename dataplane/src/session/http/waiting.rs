//! The requests whose responses are not queued, in arrival order. Never decides what a response says.

use std::collections::VecDeque;

use crate::clock::Timestamp;
use crate::codec::http::{Manner, Response, encode_response};
use crate::session::Receipt;

/// Responses leave in the order of their requests: one that comes early is held.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The number of the receipt at the front.
    first: u64,
    slots: VecDeque<Slot>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    manner: Manner,
    /// Its answer may be one that does not come as a whole.
    download: bool,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// What was answered before its turn, and the bytes that follow, if it does not come as a whole.
    Held(Vec<u8>, Option<u64>),
    /// Its turn has come, and so many bytes of it have not. It is over when the last ones have left.
    Begun(u64),
}

/// What a download at the front does when all that was said has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// There is none.
    Nothing,
    WantsMore,
    Over,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of responses that wait for earlier ones.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Promises to answer a request; `download`: perhaps with more than fits into memory.
    pub(super) fn promise(&mut self, manner: Manner, download: bool) -> Receipt {
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot { manner, download, state: State::Open });
        Receipt(number)
    }

    /// Whether this promise was neither kept nor dropped.
    pub(super) fn is_open(&self, receipt: Receipt) -> bool {
        self.index(receipt).and_then(|index| self.slots.get(index)).is_some_and(|slot| matches!(slot.state, State::Open))
    }

    /// Takes the newest promise back; false if it is not this one.
    pub(super) fn take_back(&mut self, receipt: Receipt) -> bool {
        let newest = self.is_open(receipt) && self.index(receipt) == self.slots.len().checked_sub(1);
        if newest {
            self.slots.pop_back();
            self.shed();
        }
        newest
    }

    /// Writes the response to a request into `outbox`, if it is its turn, and those that waited for it. A promise that is not
    /// open is ignored.
    pub(super) fn respond(&mut self, receipt: Receipt, response: &Response<'_>, now: Timestamp, outbox: &mut Vec<u8>) {
        let Some(index) = self.index(receipt).filter(|_| self.is_open(receipt)) else { return };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let owed = response.owed_bytes(slot.manner);
        slot.download = owed.is_some();
        if index > 0 {
            let mut held = Vec::new();
            encode_response(response, slot.manner, now.0, &mut held);
            self.held_bytes += held.len();
            slot.state = State::Held(held, owed);
            return;
        }
        encode_response(response, slot.manner, now.0, outbox);
        match owed {
            Some(owed) => slot.state = State::Begun(owed),
            None => self.next_turn(outbox),
        }
    }

    /// The one at the front is answered: those behind it that wait for nothing else follow.
    fn next_turn(&mut self, outbox: &mut Vec<u8>) {
        self.pop();
        while let Some(slot) = self.slots.front_mut() {
            let State::Held(held, owed) = &mut slot.state else { break };
            self.held_bytes -= held.len();
            outbox.append(held);
            match *owed {
                Some(owed) => {
                    slot.state = State::Begun(owed);
                    break;
                }
                None => self.pop(),
            }
        }
        self.shed();
    }

    /// Whether the newest request may have an answer that does not come as a whole, and it is not over.
    pub(super) fn downloads(&self) -> bool {
        self.slots.back().is_some_and(|slot| slot.download)
    }

    /// Whether the client has a part of an answer.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.slots.front(), Some(Slot { state: State::Begun(_), .. }))
    }

    /// Writes what follows of the answer that has begun; false if it would be too long.
    pub(super) fn go_on(&mut self, bytes: &[u8], outbox: &mut Vec<u8>) -> bool {
        let Some(Slot { state: State::Begun(owed), .. }) = self.slots.front_mut() else { return false };
        let Some(rest) = owed.checked_sub(bytes.len() as u64) else { return false };
        *owed = rest;
        outbox.extend_from_slice(bytes);
        true
    }

    /// All that was written has left.
    pub(super) fn drained(&mut self, outbox: &mut Vec<u8>) -> Drained {
        match self.slots.front() {
            Some(Slot { state: State::Begun(0), .. }) => {
                self.next_turn(outbox);
                Drained::Over
            }
            Some(Slot { state: State::Begun(_), .. }) => Drained::WantsMore,
            _ => Drained::Nothing,
        }
    }

    /// Drops all promises.
    pub(super) fn give_up(&mut self) {
        self.first += self.slots.len() as u64;
        self.held_bytes = 0;
        self.slots.clear();
        self.shed();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    fn index(&self, receipt: Receipt) -> Option<usize> {
        receipt.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
    }

    fn pop(&mut self) {
        self.slots.pop_front();
        self.first += 1;
    }

    /// A connection without open requests holds no memory for them.
    fn shed(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }
}
