//! Message type filter: True for the chosen types, else False.

use schemas::chain::{MessageType, label};

use crate::message::Message;

pub(super) const OUTCOMES: &[&str] = &[label::TRUE, label::FALSE];
const TRUE: usize = 0;
const FALSE: usize = 1;

const _: () = assert!(MessageType::COUNT <= 64, "a type is one bit of a u64");

/// The chosen types, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageTypeFilter(u64);

impl MessageTypeFilter {
    pub(super) fn compile(types: &[MessageType]) -> Self {
        Self(types.iter().fold(0, |bits, kind| bits | bit(*kind)))
    }

    pub(super) fn run(self, message: &Message<'_>) -> usize {
        if self.0 & bit(message.kind) == 0 { FALSE } else { TRUE }
    }
}

fn bit(kind: MessageType) -> u64 {
    1 << kind as u32
}
