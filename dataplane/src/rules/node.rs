//! A node of a plan, compiled from its kind: what it does with a message, and which of its outcomes follows.
//! An outcome is a number; only compiling knows its label.

mod alarm;
mod change_originator;
mod check_fields;
pub(super) mod delta;
mod device_state;
pub(super) mod external;
mod filter;
mod geofence;
mod json_path;
mod keys;
mod math;
mod originator;
mod owner;
mod past;
mod processing;
mod profile;
mod related;
mod rpc;
mod save_attributes;
mod save_timeseries;
mod script;
mod split_array;
pub(super) mod timed;

pub(super) use script::by_engine;

use std::sync::Arc;

use schemas::alarm::Status;
use schemas::chain::external::{External, ToEmail};
use schemas::chain::processing::Processing;
use schemas::chain::timed::{Count, Deduplicate, Delay, Generate};
use schemas::chain::{self, EntityType, MessageType, NodeKind, SaveTimeseries, Target};
use schemas::config::End;
use schemas::script::Script;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::message::{Message, Scope, Value};
use crate::owed::Waits;
use crate::progress::Progress;
use crate::rules::Fact;
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::filter::MessageTypeFilter;
use crate::rules::node::keys::Patterns;
use crate::rules::plan::Step;
use crate::rules::world::World;

/// Outcomes of nodes that act.
pub(super) const SUCCESS: usize = 0;
/// Outcomes of nodes that decide.
pub(super) const TRUE: usize = 0;
const FALSE: usize = 1;

/// What follows a node.
pub(super) enum Next {
    /// The message goes on by an outcome.
    By(usize),
    /// Another message goes on by Success.
    With(Changed),
    /// Another message goes on by an outcome.
    As(usize, Changed),
    /// Several do, one after the other.
    Each(Vec<Changed>),
    Fork(Box<Fork>),
    /// The message goes on by each of the labels that were said.
    Said(Vec<String>),
    Enter(Target),
    /// The message goes on behind the node that led into this chain, by this node's name.
    Leave,
    /// The message leaves for the world outside, and goes on from here when that has answered.
    Depart,
    /// The message waits here until then.
    Wait(Waits, Timestamp),
    /// The way ends here.
    End,
    /// The message goes on from here where this entity is its originator.
    Forward(End),
    Fail(String),
    /// Another message goes on by Failure.
    FailWith(Changed, String),
    /// Nothing: the node lacks a fact.
    Need(Box<Fact>),
}

/// Several messages go on, each by an outcome.
#[derive(Default)]
pub(super) struct Fork {
    pub(super) each: Vec<(usize, Changed)>,
    pub(super) itself: Itself,
    /// What the node remembers from now on; where it stands is not said yet.
    pub(super) keep: Option<Progress>,
}

/// What the message does from which they were made.
#[derive(Default)]
pub(super) enum Itself {
    /// It goes on by Success, before them.
    Goes,
    Fails(String),
    /// There is none.
    #[default]
    Stays,
}

/// What a node has to work with.
pub(super) struct Scene<'w, 'm> {
    pub(super) message: &'m Message<'m>,
    pub(super) world: &'w mut dyn World,
    pub(super) into: &'w mut Vec<Effect<'m>>,
    /// How often the message, and those of which it came, have left a node to go on later.
    pub(super) departures: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    MessageTypeSwitch,
    MessageTypeFilter(MessageTypeFilter),
    EntityTypeSwitch,
    EntityTypeFilter(Vec<EntityType>),
    ProfileSwitch,
    AssetProfileSwitch,
    CheckRelation(chain::CheckRelation),
    CheckFields(chain::CheckFields),
    Geofence(chain::geofence::Geofence),
    ScriptFilter(Arc<Script>),
    ScriptSwitch(Arc<Script>),
    OriginatorAttributes(chain::OriginatorAttributes),
    OriginatorFields(chain::OriginatorFields),
    CalculateDelta(chain::CalculateDelta),
    OwnerValues(chain::OwnerValues),
    OwnerDetails(chain::OwnerDetails),
    RelatedValues(chain::RelatedValues),
    DeviceAttributes(chain::DeviceAttributes),
    OriginatorTelemetry(chain::OriginatorTelemetry),
    Math(chain::Math),
    CopyKeys(Patterns),
    DeleteKeys(Patterns),
    RenameKeys(chain::Renames),
    SplitArray,
    JsonPath(chain::json_path::JsonPath),
    ChangeOriginator(chain::NewOriginator),
    ScriptTransform(Arc<Script>),
    SaveTimeseries(SaveTimeseries),
    SaveAttributes(chain::SaveAttributes),
    DeleteAttributes(chain::DeleteAttributes),
    CalculateFields,
    DeviceState(chain::DeviceEvent),
    CreateAlarm(chain::CreateAlarm),
    ClearAlarm(chain::ClearAlarm),
    AlarmStatus(Vec<Status>),
    Log,
    RpcReply(String),
    RpcRequest(u64),
    RestReply(chain::RestReply),
    ToEmail(ToEmail),
    External(Arc<External>),
    GeofenceEvents(chain::geofence::GeofenceEvents),
    Delay(Delay),
    Deduplicate(Deduplicate),
    Count(Arc<Count>),
    Generate(Arc<Generate>),
    Nested(Target),
    Output,
    Profile,
    Pass,
}

impl Node {
    pub(super) fn compile(node: &chain::Node) -> Self {
        match node.kind.clone() {
            NodeKind::MessageTypeSwitch => Self::MessageTypeSwitch,
            NodeKind::MessageTypeFilter(types) => Self::MessageTypeFilter(MessageTypeFilter::compile(types)),
            NodeKind::EntityTypeSwitch => Self::EntityTypeSwitch,
            NodeKind::EntityTypeFilter { kinds } => Self::EntityTypeFilter(kinds),
            NodeKind::ProfileSwitch => Self::ProfileSwitch,
            NodeKind::AssetProfileSwitch => Self::AssetProfileSwitch,
            NodeKind::CheckRelation(relation) => Self::CheckRelation(relation),
            NodeKind::CheckFields(fields) => Self::CheckFields(fields),
            NodeKind::Geofence(fence) => Self::Geofence(fence),
            NodeKind::ScriptFilter(script) => Self::ScriptFilter(script),
            NodeKind::ScriptSwitch(script) => Self::ScriptSwitch(script),
            NodeKind::OriginatorAttributes(attributes) => Self::OriginatorAttributes(attributes),
            NodeKind::OriginatorFields(fields) => Self::OriginatorFields(fields),
            NodeKind::CalculateDelta(delta) => Self::CalculateDelta(delta),
            NodeKind::OwnerValues(values) => Self::OwnerValues(values),
            NodeKind::OwnerDetails(details) => Self::OwnerDetails(details),
            NodeKind::RelatedValues(values) => Self::RelatedValues(values),
            NodeKind::DeviceAttributes(attributes) => Self::DeviceAttributes(attributes),
            NodeKind::OriginatorTelemetry(telemetry) => Self::OriginatorTelemetry(telemetry),
            NodeKind::Math(math) => Self::Math(math),
            NodeKind::CopyKeys(keys) => Self::CopyKeys(Patterns::compile(&keys)),
            NodeKind::DeleteKeys(keys) => Self::DeleteKeys(Patterns::compile(&keys)),
            NodeKind::RenameKeys(renames) => Self::RenameKeys(renames),
            NodeKind::SplitArray => Self::SplitArray,
            NodeKind::JsonPath(path) => Self::JsonPath(path),
            NodeKind::ChangeOriginator(to) => Self::ChangeOriginator(to),
            NodeKind::ScriptTransform(script) => Self::ScriptTransform(script),
            NodeKind::SaveTimeseries(save) => Self::SaveTimeseries(save),
            NodeKind::SaveAttributes(save) => Self::SaveAttributes(save),
            NodeKind::DeleteAttributes(delete) => Self::DeleteAttributes(delete),
            NodeKind::CalculateFields => Self::CalculateFields,
            NodeKind::DeviceState(event) => Self::DeviceState(event),
            NodeKind::CreateAlarm(create) => Self::CreateAlarm(create),
            NodeKind::ClearAlarm(clear) => Self::ClearAlarm(clear),
            NodeKind::AlarmStatus { statuses } => Self::AlarmStatus(statuses),
            NodeKind::Log => Self::Log,
            NodeKind::RpcReply { request_key } => Self::RpcReply(request_key),
            NodeKind::RpcRequest { timeout_ms } => Self::RpcRequest(timeout_ms),
            NodeKind::RestReply(reply) => Self::RestReply(reply),
            NodeKind::ToEmail(email) => Self::ToEmail(email),
            NodeKind::External(external) => Self::External(external),
            NodeKind::GeofenceEvents(events) => Self::GeofenceEvents(events),
            NodeKind::Delay(delay) => Self::Delay(delay),
            NodeKind::Deduplicate(deduplicate) => Self::Deduplicate(deduplicate),
            NodeKind::Count(count) => Self::Count(Arc::new(count)),
            NodeKind::Generate(generate) => Self::Generate(generate),
            NodeKind::Nested { chain } => Self::Nested(chain),
            NodeKind::Output => Self::Output,
            NodeKind::DeviceProfile => Self::Profile,
            NodeKind::Pass(_) => Self::Pass,
        }
    }

    /// Acts on the message and says what follows.
    pub(super) fn run<'m>(&self, step: &Step, carried: &Carried<'m>, scene: &mut Scene<'_, 'm>) -> Next {
        match self {
            Self::MessageTypeSwitch => filter::by_message_type(carried),
            Self::MessageTypeFilter(filter) => filter.run(carried),
            Self::EntityTypeSwitch => Next::By(scene.message.originator_type as usize),
            Self::EntityTypeFilter(kinds) => decide(kinds.contains(&scene.message.originator_type)),
            Self::ProfileSwitch => filter::by_profile(scene.message),
            Self::AssetProfileSwitch => filter::by_asset_profile(scene.world),
            Self::CheckRelation(relation) => decide(scene.world.related(relation.inward, &relation.kind, relation.other)),
            Self::CheckFields(fields) => check_fields::run(fields, carried),
            Self::Geofence(fence) => geofence::run(fence, carried),
            Self::OriginatorAttributes(attributes) => originator::attributes(attributes, carried, scene),
            Self::OriginatorFields(fields) => originator::fields(fields, carried, scene),
            Self::CalculateDelta(delta) => delta::run(delta, step.id, carried, scene),
            Self::OwnerValues(values) => owner::values(values, carried, scene),
            Self::OwnerDetails(details) => owner::details(details, carried, scene),
            Self::RelatedValues(values) => related::values(values, carried, scene),
            Self::DeviceAttributes(attributes) => related::device_attributes(attributes, carried, scene),
            Self::OriginatorTelemetry(telemetry) => past::run(telemetry, carried, scene),
            Self::Math(math) => math::run(math, carried, scene),
            Self::CopyKeys(patterns) => patterns.copy(carried),
            Self::DeleteKeys(patterns) => patterns.delete(carried),
            Self::RenameKeys(renames) => keys::rename(renames, carried),
            Self::SplitArray => split_array::run(carried),
            Self::JsonPath(path) => json_path::run(path, carried),
            Self::ChangeOriginator(to) => change_originator::run(to, scene),
            Self::ScriptFilter(script) | Self::ScriptSwitch(script) | Self::ScriptTransform(script) => {
                script::run(script, carried, scene)
            }
            Self::SaveTimeseries(save) => save_timeseries::run(save, step.id, carried, scene),
            Self::SaveAttributes(save) => save_attributes::run(save, step.id, carried, scene),
            Self::DeleteAttributes(delete) => save_attributes::delete(delete, carried, scene),
            Self::CalculateFields => calculate_fields(carried, scene),
            Self::DeviceState(event) => device_state::run(*event, step.id, carried, scene),
            Self::CreateAlarm(create) => alarm::create(create, carried, scene),
            Self::ClearAlarm(clear) => alarm::clear(clear, carried, scene),
            Self::AlarmStatus(statuses) => alarm::status(statuses, carried, scene),
            Self::Log => {
                scene.into.push(Effect::Log { node: Arc::clone(&step.name) });
                Next::By(SUCCESS)
            }
            Self::RpcReply(key) => rpc::reply(key, carried, scene.into),
            Self::RpcRequest(timeout_ms) => rpc::request(*timeout_ms, step.id, carried, scene),
            Self::RestReply(reply) => rpc::rest_reply(reply, carried, scene.into),
            Self::ToEmail(email) => external::to_email(email, carried),
            Self::External(external) => external::run(external, carried, scene),
            Self::GeofenceEvents(events) => geofence::events(events, step.id, carried, scene),
            Self::Delay(delay) => timed::delay(delay, step.id, carried, scene),
            Self::Deduplicate(with) => timed::deduplicate(with, step.id, carried, scene),
            // What comes in is counted anyway, and what a generator is sent is nothing to it.
            Self::Count(_) | Self::Generate(_) => Next::End,
            Self::Nested(target) => Next::Enter(*target),
            Self::Output => Next::Leave,
            Self::Profile => profile::run(step.id, carried, scene),
            Self::Pass => Next::By(SUCCESS),
        }
    }
}

impl Node {
    /// Acts because time has passed. `None`: nodes of this kind remember nothing that could be due.
    pub(super) fn elapse(&self, step: &Step, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Option<Next> {
        match self {
            Self::Profile => Some(profile::elapse(step.id, carried, scene)),
            _ => None,
        }
    }
}

/// What the message says is told to calculated fields, and not stored.
fn calculate_fields<'m>(carried: &Carried<'m>, scene: &mut Scene<'_, 'm>) -> Next {
    let processing = Some(Processing::FIELDS_ONLY);
    match carried.standard() {
        Some(MessageType::PostAttributesRequest | MessageType::AttributesUpdated) => {
            let (scope, notify_device, only_on_change, tell_chain) = (Scope::Client, false, false, false);
            let save = chain::SaveAttributes { scope, notify_device, only_on_change, tell_chain, processing };
            save_attributes::run(&save, Uuid::nil(), carried, scene)
        }
        _ => save_timeseries::run(&SaveTimeseries { processing, ..SaveTimeseries::default() }, Uuid::nil(), carried, scene),
    }
}

fn decide(is: bool) -> Next {
    Next::By(if is { TRUE } else { FALSE })
}

impl Scene<'_, '_> {
    /// The latest reading of the originator, with what this message has saved already.
    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)> {
        for effect in self.into.iter().rev() {
            let Effect::SaveTimeseries { readings, use_server_ts, saving, .. } = effect else { continue };
            if !saving.store {
                continue;
            }
            for entry in readings.entries.iter().rev() {
                if let Some(reading) = readings.of(entry).iter().rev().find(|reading| reading.key == key) {
                    let own = entry.ts.filter(|_| !use_server_ts);
                    return Some((own.unwrap_or(self.message.received), reading.value.clone().into_owned()));
                }
            }
        }
        self.world.latest(key)
    }

    /// What a node remembers of the originator.
    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>> {
        let kept = self.into.iter().rev().find_map(|effect| match effect {
            Effect::KeepState { node: of, state } if *of == node => Some(state.clone()),
            _ => None,
        });
        kept.or_else(|| self.world.state(node))
    }

    /// The three numbers that a node remembers of the originator.
    fn numbers(&mut self, node: Uuid) -> Option<[i64; 3]> {
        let state = self.state(node)?;
        let (numbers, []) = state.as_chunks::<8>() else { return None };
        <[[u8; 8]; 3]>::try_from(numbers).ok().map(|numbers| numbers.map(i64::from_le_bytes))
    }

    /// Has a node remember three numbers.
    fn keep_numbers(&mut self, node: Uuid, numbers: [i64; 3]) {
        let state = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.into.push(Effect::KeepState { node, state });
    }

    /// What a node remembers of the alarm rules of the originator's profile.
    fn progress(&mut self, node: Uuid) -> Option<Progress> {
        let kept = self.into.iter().rev().find_map(|effect| match effect {
            Effect::KeepProgress(progress) if progress.node() == node => Some((**progress).clone()),
            _ => None,
        });
        kept.or_else(|| self.world.progress(node))
    }

    /// An attribute of the originator, with what this message has saved or deleted already.
    fn attribute(&mut self, of: Scope, key: &str) -> Option<(Timestamp, Value<'static>)> {
        for effect in self.into.iter().rev() {
            match effect {
                Effect::SaveAttributes { readings, scope, saving, .. } if *scope == of && saving.store => {
                    if let Some(reading) = readings.readings.iter().rev().find(|reading| reading.key == key) {
                        return Some((self.message.received, reading.value.clone().into_owned()));
                    }
                }
                Effect::DeleteAttributes { scope, keys, .. } if *scope == of && keys.iter().any(|gone| gone == key) => {
                    return None;
                }
                _ => {}
            }
        }
        self.world.attribute(of, key)
    }
}
