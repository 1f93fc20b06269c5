//! What nodes may ask of the shard while they evaluate. Answers come at once, from memory; whoever needs more parks the message.

use std::rc::Rc;

use schemas::chain::Target;

use crate::clock::Timestamp;
use crate::message::{Scope, Value};
use crate::rules::Running;

pub trait World {
    /// An attribute of the originator, as it was before this message.
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)>;

    /// The latest reading of the originator, as it was before this message.
    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)>;

    /// Another chain of the tenant.
    fn running(&mut self, target: Target) -> Option<Rc<Running>>;
}

/// Nothing is known and there is no other chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl World for Alone {
    fn attribute(&mut self, _: Scope, _: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    fn latest(&mut self, _: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    fn running(&mut self, _: Target) -> Option<Rc<Running>> {
        None
    }
}
