//! What nodes may ask of the shard while they evaluate. Answers come at once, from memory; whoever needs more parks the message.

use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::Target;
use schemas::script::Script;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::message::{Scope, Value};
use crate::rules::Running;
use crate::script::{Answer, ScriptFailure, Subject};

pub trait World {
    /// An attribute of the originator, as it was before this message.
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)>;

    /// The latest reading of the originator, as it was before this message.
    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)>;

    /// What a node remembers of the originator, as it was before this message.
    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>>;

    /// Another chain of the tenant.
    fn running(&mut self, target: Target) -> Option<Rc<Running>>;

    /// What a script of the tenant answers.
    ///
    /// # Errors
    /// [`ScriptFailure`].
    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure>;
}

/// Nothing is known, there is no other chain, and no script runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl World for Alone {
    fn attribute(&mut self, _: Scope, _: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    fn latest(&mut self, _: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    fn state(&mut self, _: Uuid) -> Option<Box<[u8]>> {
        None
    }

    fn running(&mut self, _: Target) -> Option<Rc<Running>> {
        None
    }

    fn run(&mut self, _: &Arc<Script>, _: Subject<'_>) -> Result<Answer, ScriptFailure> {
        Err(ScriptFailure::Broken("there is no engine".to_owned()))
    }
}
