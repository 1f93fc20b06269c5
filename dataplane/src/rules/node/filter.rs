//! Filters and switches by what a message is: its type and its originator's profile.

use schemas::chain::{MessageType, MessageTypes};

use crate::message::Message;
use crate::rules::carried::Carried;
use crate::rules::node::{Next, decide};
use crate::rules::world::World;

const _: () = assert!(MessageType::COUNT <= 64, "a type is one bit of a u64");

/// The chosen types, standard ones as one bit each.
#[derive(Clone, Debug)]
pub(in crate::rules) struct MessageTypeFilter {
    standard: u64,
    custom: Vec<String>,
}

impl MessageTypeFilter {
    pub(super) fn compile(types: MessageTypes) -> Self {
        Self { standard: types.standard.iter().fold(0, |bits, kind| bits | bit(*kind)), custom: types.custom }
    }

    pub(super) fn run(&self, carried: &Carried<'_>) -> Next {
        decide(match carried.standard() {
            Some(kind) => self.standard & bit(kind) != 0,
            None => self.custom.iter().any(|kind| kind == carried.kind_name()),
        })
    }
}

fn bit(kind: MessageType) -> u64 {
    1 << kind as u32
}

/// The outcome is the message's type; types that share a label share its edges. One's own types are "Other", as are some
/// standard ones.
pub(super) fn by_message_type(carried: &Carried<'_>) -> Next {
    Next::By(carried.standard().unwrap_or(MessageType::AlarmDelete) as usize)
}

/// The label is the profile's name.
pub(super) fn by_profile(message: &Message<'_>) -> Next {
    if message.device_type.is_empty() {
        return Next::Fail("the originator is no device".to_owned());
    }
    Next::Said(vec![message.device_type.to_owned()])
}

/// The label is the profile's name.
pub(super) fn by_asset_profile(world: &mut dyn World) -> Next {
    match world.asset() {
        Some((_, profile)) => Next::Said(vec![profile]),
        None => Next::Fail("the originator is no asset".to_owned()),
    }
}
