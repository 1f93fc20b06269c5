//! Save attributes: the readings of an attributes message, in the node's scope. Any other body is a Failure; no readings
//! are saved with Success and no effect, as in ThingsBoard.

use schemas::chain::{self, MessageType};

use crate::effect::Effect;
use crate::message::{Body, Message, Scope};
use crate::rules::node::{FAILURE, SUCCESS};

#[derive(Clone, Copy, Debug)]
pub(super) struct SaveAttributes(chain::SaveAttributes);

impl SaveAttributes {
    pub(super) fn compile(save: chain::SaveAttributes) -> Self {
        Self(save)
    }

    pub(super) fn run<'m>(self, message: &'m Message<'m>, into: &mut Vec<Effect<'m>>) -> usize {
        let Body::Attributes { scope: said, readings } = &message.body else { return FAILURE };
        if readings.is_empty() {
            return SUCCESS;
        }
        // A device names no scope. An update does, in ThingsBoard's metadata, and what it says precedes the node's.
        let scope = if message.kind == MessageType::PostAttributesRequest { self.0.scope } else { *said };
        into.push(Effect::SaveAttributes {
            readings,
            scope,
            only_on_change: self.0.only_on_change,
            notify_device: self.0.notify_device && scope == Scope::Shared,
        });
        SUCCESS
    }
}
