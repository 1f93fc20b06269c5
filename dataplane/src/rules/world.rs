//! What nodes may ask of the shard while they evaluate. Answers come from memory, a script's after at most its limit; whoever needs
//! more parks the message. A world that says nothing else knows nothing.

use std::rc::Rc;
use std::sync::Arc;

use schemas::alarm::Alarm;
use schemas::alarm_rule::AlarmRules;
use schemas::chain::{Owner, RelationsQuery, Target};
use schemas::config::{Details, End};
use schemas::id::EntityId;
use schemas::script::Script;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::message::{Scope, Value};
use crate::progress::Progress;
use crate::query::Series;
use crate::rules::{Absent, Fact, Running, Sighting};
use crate::script::{Answer, ScriptFailure, Subject};

pub trait World {
    /// An attribute of the originator, as it was before this message.
    fn attribute(&mut self, _scope: Scope, _key: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    /// The latest reading of the originator, as it was before this message.
    fn latest(&mut self, _key: &str) -> Option<(Timestamp, Value<'static>)> {
        None
    }

    /// What a node remembers of the originator, as it was before this message.
    fn state(&mut self, _node: Uuid) -> Option<Box<[u8]>> {
        None
    }

    /// The alarm rules of the originator's profile.
    fn alarm_rules(&self) -> Option<Arc<AlarmRules>> {
        None
    }

    /// How far they have come at a node, as it was before this message.
    fn progress(&mut self, _node: Uuid) -> Option<Progress> {
        None
    }

    /// Whether the originator has a relation of this type that ends (`inward`) or begins at it; with `other` only one that has
    /// this at its other end.
    fn related(&mut self, _inward: bool, _kind: &str, _other: Option<EntityId>) -> bool {
        false
    }

    /// What the originator's relations that the query follows lead to, the oldest relation first.
    fn neighbours(&self, _query: &RelationsQuery) -> Vec<End> {
        Vec::new()
    }

    /// The originator's name and its profile's, if it is an asset.
    fn asset(&mut self) -> Option<(String, String)> {
        None
    }

    /// A field of the originator by ThingsBoard's name; empty is what nobody has written.
    fn field(&self, _name: &str) -> Option<String> {
        None
    }

    /// The originator's alarm of a type that is not cleared, as it was before this message.
    fn active_alarm(&mut self, _kind: &str) -> Option<Alarm> {
        None
    }

    /// An alarm of the originator, as far as it is remembered: no longer than until the control plane knows that it is cleared.
    fn alarm(&mut self, _id: Uuid) -> Option<Alarm> {
        None
    }

    /// How many more alarms the originator may have.
    fn alarm_room(&mut self) -> usize {
        0
    }

    /// An id that nothing else has.
    fn new_id(&mut self) -> Uuid {
        Uuid::nil()
    }

    /// Whose the originator is.
    fn owner(&self, _of: Owner) -> Option<EntityId> {
        None
    }

    /// What people have written of a customer or a tenant.
    fn details(&self, _owner: EntityId) -> Option<&Details> {
        None
    }

    /// A fact of another entity or of the past.
    ///
    /// # Errors
    /// [`Absent`].
    fn fact(&self, _fact: &Fact) -> Result<&[Series], Absent> {
        Err(Absent::Never("nobody knows".to_owned()))
    }

    /// What times nodes now and then, and ends an evaluation that takes too long; no node's answer depends on it.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// By which the message is known to whoever looks at it at every node, if somebody does.
    fn traced(&self) -> Option<Uuid> {
        None
    }

    /// Whether there is room for another sighting, and a way to it.
    fn may_see(&mut self) -> bool {
        false
    }

    /// Somebody wanted to see this.
    fn see(&mut self, _sighting: Sighting) {}

    /// Another chain of the tenant.
    fn running(&mut self, _target: Target) -> Option<Rc<Running>> {
        None
    }

    /// Bytes that other parts of the same message have left at nodes.
    fn departed_bytes(&self) -> usize {
        0
    }

    /// Whether another call to the outside may be owed.
    ///
    /// # Errors
    /// Why not.
    fn may_owe(&self) -> Result<(), String> {
        Err("there is nobody who could call".to_owned())
    }

    /// How many messages wait at a node for a time: of anybody on this shard, and of the originator.
    ///
    /// # Errors
    /// Why no other may.
    fn waiting(&self, _node: Uuid) -> Result<(usize, usize), String> {
        Err("there is nobody who could wait".to_owned())
    }

    /// Whether another message may be on its way to another originator.
    ///
    /// # Errors
    /// Why not.
    fn may_forward(&self) -> Result<(), String> {
        Err("there is nobody who could pass it on".to_owned())
    }

    /// What a script of the tenant answers.
    ///
    /// # Errors
    /// [`ScriptFailure`].
    fn run(&mut self, _script: &Arc<Script>, _subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        Err(ScriptFailure::Broken("there is no engine".to_owned()))
    }
}

/// Nothing is known, there is no other chain, and no script runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl World for Alone {}
