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
    /// What was answered before its turn.
    held: Option<Vec<u8>>,
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

    /// Promises to answer a request.
    pub(super) fn promise(&mut self, manner: Manner) -> Receipt {
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot { manner, held: None });
        Receipt(number)
    }

    /// Whether this promise was neither kept nor dropped.
    pub(super) fn is_open(&self, receipt: Receipt) -> bool {
        self.index(receipt).and_then(|index| self.slots.get(index)).is_some_and(|slot| slot.held.is_none())
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
        if index > 0 {
            let held = slot.held.insert(Vec::new());
            encode_response(response, slot.manner, now.0, held);
            self.held_bytes += held.len();
            return;
        }
        encode_response(response, slot.manner, now.0, outbox);
        self.pop();
        while let Some(held) = self.slots.front_mut().and_then(|slot| slot.held.take()) {
            self.held_bytes -= held.len();
            outbox.extend_from_slice(&held);
            self.pop();
        }
        self.shed();
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
