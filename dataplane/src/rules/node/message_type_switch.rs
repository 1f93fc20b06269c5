//! Message type switch: the outcome is the message's type. Types that share a label share its edges.

use schemas::chain::MessageType;

use crate::message::Message;

/// Outcome `n` is type `n`.
pub(super) const OUTCOMES: &[MessageType] = MessageType::ALL;

pub(super) fn run(message: &Message<'_>) -> usize {
    message.kind as usize
}
