//! Evaluate: from what a device said to staged writes, promises and live updates. Cannot fail and cannot wait; what a
//! message gets wrong becomes the outcome of its receipt.

use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::{EntityType, MessageType, Target};
use schemas::config::Payload;
use schemas::generated::kept;
use schemas::id::{DeviceId, EntityId, TenantId};
use schemas::script::Script;
use uuid::Uuid;

use super::admitting::topics;
use super::connection::Standing;
use super::decoding;
use super::delivering::keep;
use super::ledger::{Ledger, Owed};
use super::letter::{Address, Of};
use super::limiting::cost;
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use super::watching::Watches;
use crate::clock::{Now, Timestamp};
use crate::device::{DeviceState, Dictionary, RefusedReadings, Writing};
use crate::effect::Effect;
use crate::limits;
use crate::message::{Body, Entry, Message, Readings, Scope, Value, emptied};
use crate::metric::{Counter, ShardCounters};
use crate::payload;
use crate::query::{Attribute, Point, Series};
use crate::rules::{self, Running, World};
use crate::script::{Answer, Engines, ScriptFailure, Subject};
use crate::session::{Format, Outcome, Promise, Topics};
use crate::snapshot::Table;

impl Shard {
    pub(super) fn telemetry(&mut self, key: Key, bytes: &[u8], format: Format, promise: Option<Promise>) -> Flow {
        let Some((device, plan, profile)) = self.device_and_plan(key) else { return Flow::Stop };
        let mut readings = std::mem::take(&mut self.readings);
        if decoding::telemetry(&profile, format, bytes, &mut readings).is_err() {
            return self.refuse_payload(key, promise);
        }
        self.said(key, (device, &plan), (MessageType::PostTelemetryRequest, Body::Telemetry(readings)), promise)
    }

    pub(super) fn attributes(&mut self, key: Key, bytes: &[u8], format: Format, promise: Option<Promise>) -> Flow {
        let Some((device, plan, profile)) = self.device_and_plan(key) else { return Flow::Stop };
        let mut readings = Readings::default();
        if decoding::attributes(&profile, format, bytes, &mut readings).is_err() {
            return self.refuse_payload(key, promise);
        }
        let body = Body::Attributes { scope: Scope::Client, readings };
        self.said(key, (device, &plan), (MessageType::PostAttributesRequest, body), promise)
    }

    /// A call of the device: acknowledged when it is stored, answered by a message of its own.
    pub(super) fn rpc_request(&mut self, key: Key, id: u32, bytes: &[u8], promise: Option<Promise>) -> Flow {
        if payload::rpc(bytes).is_err() {
            return self.refuse_payload(key, promise);
        }
        let Some(device) = self.device_of(key) else { return Flow::Stop };
        self.keep_identifier(device, promise);
        let from = Address { shard: self.index, connection: key, receipt: None, of: Of::Nothing };
        self.call_from_device(from, device, id, bytes);
        self.settle_later(key, promise.map(|promise| promise.receipt), Outcome::Stored)
    }

    /// A message of a connected device: evaluated, its receipt promised.
    fn said(
        &mut self,
        key: Key,
        (device, plan): (DeviceId, &Running),
        (kind, body): (MessageType, Body<'_>),
        promise: Option<Promise>,
    ) -> Flow {
        self.counters.increment(Counter::MessagesReceived);
        let outcome = match self.spend(device, cost(&body)) {
            Ok(()) => self.evaluate_device(device, plan, kind, body),
            Err(refused) => refused,
        };
        if outcome == Outcome::Stored {
            self.keep_identifier(device, promise);
        } else {
            self.counters.increment(Counter::MessagesDiscarded);
        }
        self.settle_later(key, promise.map(|promise| promise.receipt), outcome)
    }

    /// Evaluates a message whose originator is a device of this shard with its state resident.
    pub(super) fn evaluate_device(&mut self, device: DeviceId, running: &Running, kind: MessageType, body: Body<'_>) -> Outcome {
        let Some(facts) = self.table.device(device) else { return Outcome::Unspecified };
        let message = Message {
            kind,
            originator: device.into(),
            originator_type: EntityType::Device,
            tenant: facts.tenant,
            device_name: facts.name,
            device_type: facts.kind,
            received: self.now.timestamp,
            body,
        };
        let topics = facts.mqtt.and_then(|mqtt| topics(mqtt));
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return Outcome::Unspecified };
        let said = matches!(
            kind,
            MessageType::PostTelemetryRequest | MessageType::PostAttributesRequest | MessageType::ToServerRpcRequest
        );
        let awoke = said && state.touched(self.now.timestamp);
        let (ledger, watches, counters, now) = (&mut self.ledger, &self.watches, &self.counters, self.now);
        let mut stage = Stage { ledger, state, watches, counters, now, topics };
        let mut answers = Vec::new();
        let outcome = stage.evaluate((&self.table, running, &mut self.scripts), &message, &mut answers);
        if let Body::Telemetry(readings) = message.body {
            self.readings = readings.recycle();
        }
        if awoke {
            self.awoke(device);
        }
        self.answers = answers;
        outcome
    }

    /// Evaluates a message of an entity that is no device, by its asset profile's chain or its tenant's root chain.
    pub(super) fn evaluate_entity(&mut self, entity: EntityId, tenant: TenantId, kind: MessageType, body: Body<'_>) {
        let Some(running) = self.table.plan_of_entity(entity, tenant).map(Rc::clone) else { return };
        let is_asset = self.table.asset(entity).is_some();
        let (device_name, device_type) = ("", "");
        let (originator, originator_type, received) = (entity, type_of(entity, tenant, is_asset), self.now.timestamp);
        let message = Message { kind, originator, originator_type, tenant, device_name, device_type, received, body };
        let Some(state) = self.residents.get_mut(entity, self.now.instant) else { return };
        let (ledger, watches, counters, now) = (&mut self.ledger, &self.watches, &self.counters, self.now);
        let mut stage = Stage { ledger, state, watches, counters, now, topics: None };
        let _outcome = stage.evaluate((&self.table, &running, &mut self.scripts), &message, &mut Vec::new());
    }

    /// The stage on which an entity's writes are prepared; `None` when its state is not resident.
    pub(super) fn stage(&mut self, entity: EntityId) -> Option<Stage<'_>> {
        let topics = self.table.device(DeviceId(entity.0)).and_then(|facts| facts.mqtt.and_then(|mqtt| topics(mqtt)));
        let state = self.residents.get_mut(entity, self.now.instant)?;
        let (ledger, watches, counters, now) = (&mut self.ledger, &self.watches, &*self.counters, self.now);
        Some(Stage { ledger, state, watches, counters, now, topics })
    }

    fn refuse_payload(&mut self, key: Key, promise: Option<Promise>) -> Flow {
        self.counters.increment(Counter::MessagesDiscarded);
        self.settle_later(key, promise.map(|promise| promise.receipt), Outcome::PayloadInvalid)
    }

    fn device_of(&self, key: Key) -> Option<DeviceId> {
        Some(self.connections.get(key)?.identity()?.device)
    }

    /// The connection's device, plan and payloads, looked up again only when the table has changed.
    fn device_and_plan(&mut self, key: Key) -> Option<(DeviceId, Rc<Running>, Payload)> {
        let generation = self.generation;
        let Standing::Admitted(admitted) = &mut self.connections.get_mut(key)?.standing else { return None };
        let device = admitted.identity.device;
        if admitted.generation == generation {
            return Some((device, Rc::clone(&admitted.plan), admitted.payload.clone()));
        }
        let (plan, payload) = (self.plan_of(device), self.payload_of(device));
        if let Standing::Admitted(admitted) = &mut self.connections.get_mut(key)?.standing {
            admitted.plan = Rc::clone(&plan);
            admitted.payload = payload.clone();
            admitted.generation = generation;
        }
        Some((device, plan, payload))
    }
}

/// Where one entity's writes are staged: the turn's batch, the entity's state and its watchers.
pub(super) struct Stage<'s> {
    pub ledger: &'s mut Ledger,
    pub state: &'s mut DeviceState,
    pub watches: &'s Watches,
    pub counters: &'s ShardCounters,
    pub now: Now,
    /// The topics of the device's profile, if it has its own.
    pub topics: Option<Topics>,
}

impl Stage<'_> {
    /// Where some node looks at what messages say, each ts of telemetry is a message of its own, as it is in ThingsBoard.
    fn evaluate(&mut self, by: By<'_>, message: &Message<'_>, answers: &mut Vec<(u32, String)>) -> Outcome {
        let (table, running, scripts) = by;
        let readings = match &message.body {
            Body::Telemetry(readings) if running.plan().reads() && readings.entries.len() > 1 => readings,
            _ => return self.evaluate_one((table, running, scripts), message, answers),
        };
        let mut outcome = Outcome::Stored;
        for entry in &readings.entries {
            let those = readings.of(entry).to_vec();
            let entries = vec![Entry { ts: entry.ts, range: 0..those.len() }];
            let part = Message { body: Body::Telemetry(Readings { entries, readings: those }), ..*message };
            let one = self.evaluate_one((table, running, &mut *scripts), &part, answers);
            if one != Outcome::Stored {
                outcome = one;
            }
        }
        outcome
    }

    fn evaluate_one(
        &mut self,
        (table, running, scripts): By<'_>,
        message: &Message<'_>,
        answers: &mut Vec<(u32, String)>,
    ) -> Outcome {
        let mut effects = std::mem::take(&mut self.ledger.effects);
        let mut facts = Facts { table, message, state: self.state, dictionary: &self.ledger.dictionary, scripts };
        let evaluation = rules::evaluate(running, message, &mut facts, &mut effects);
        if let Some(failed) = &evaluation.failed {
            self.counters.increment(Counter::NodesFailed);
            tracing::debug!(node = failed.node, reason = failed.reason, originator = %message.originator, "a node failed");
        }
        let mut outcome = Outcome::Stored;
        for effect in &effects {
            if let Err(refused) = self.take_effect(message, effect, answers) {
                outcome = self.refused(&refused);
            }
        }
        self.ledger.effects = emptied(effects);
        outcome
    }

    fn take_effect(
        &mut self,
        message: &Message<'_>,
        effect: &Effect<'_>,
        answers: &mut Vec<(u32, String)>,
    ) -> Result<(), RefusedReadings> {
        match effect {
            Effect::SaveTimeseries { readings, ttl_s, use_server_ts } => {
                return self.save_timeseries(message.originator, readings, *ttl_s, *use_server_ts);
            }
            Effect::SaveAttributes { readings, scope, only_on_change, notify_device } => {
                return self.save_attributes(message.originator, *scope, readings, *only_on_change, *notify_device);
            }
            Effect::DeleteAttributes { scope, keys, notify_device } => {
                self.delete_attributes(message.originator, *scope, keys, *notify_device);
            }
            Effect::KeepState { node, state } => {
                let kept = self.state.keep_node_state(&mut writing(self.ledger, self.now), *node, state.clone());
                if let Err(full) = kept {
                    self.counters.increment(Counter::NodesFailed);
                    tracing::debug!(%full, originator = %message.originator, "a node cannot remember");
                }
            }
            Effect::Answer { request, json } => answers.push((*request, json.clone())),
            Effect::Log { node } => {
                self.counters.increment(Counter::NodesLogged);
                tracing::debug!(%node, kind = message.kind.name(), originator = %message.originator, "log node");
            }
        }
        Ok(())
    }

    /// Saves all entries of a message; nothing of it when one is refused.
    ///
    /// # Errors
    /// What is wrong with the readings.
    pub(super) fn save_timeseries(
        &mut self,
        entity: EntityId,
        readings: &Readings<'_>,
        ttl_s: u32,
        use_server_ts: bool,
    ) -> Result<(), RefusedReadings> {
        let mut writing = writing(self.ledger, self.now);
        let saved = self.state.save_timeseries(&mut writing, readings, ttl_s, use_server_ts)?;
        self.counters.add(Counter::RowsStored, saved.rows as u64);
        self.counters.add(Counter::ReadingsStored, saved.readings as u64);
        if saved.shared_ts {
            self.counters.increment(Counter::TimestampsShared);
        }
        if self.watches.is_watched(entity) {
            let series = series(readings, &saved.ts);
            for owed in self.watches.on_series(entity, &series) {
                self.ledger.owe(owed);
            }
        }
        Ok(())
    }

    /// Saves attributes; tells watchers and, for shared ones, the device what changed.
    ///
    /// # Errors
    /// What is wrong with the readings.
    pub(super) fn save_attributes(
        &mut self,
        entity: EntityId,
        scope: Scope,
        readings: &Readings<'_>,
        only_on_change: bool,
        notify_device: bool,
    ) -> Result<(), RefusedReadings> {
        let mut writing = writing(self.ledger, self.now);
        let changed = self.state.save_attributes(&mut writing, scope, readings, only_on_change)?;
        if changed.is_empty() {
            return Ok(());
        }
        if self.watches.is_watched(entity) {
            let attributes = self.state.attributes(Some(scope), &changed);
            for owed in self.watches.on_attributes(entity, &attributes) {
                self.ledger.owe(owed);
            }
        }
        if scope == Scope::Shared && notify_device {
            let mut json = Vec::new();
            payload::attributes_updated(&pairs(&self.state.attributes(Some(scope), &changed)), &mut json);
            self.tell_device(json);
        }
        Ok(())
    }

    /// Deletes attributes; tells watchers and, if asked to, the device. Returns those that existed.
    pub(super) fn delete_attributes(
        &mut self,
        entity: EntityId,
        scope: Scope,
        keys: &[String],
        notify_device: bool,
    ) -> Vec<String> {
        let gone = self.state.delete_attributes(&mut writing(self.ledger, self.now), scope, keys);
        if gone.is_empty() {
            return gone;
        }
        for owed in self.watches.on_deleted(entity, scope, &gone) {
            self.ledger.owe(owed);
        }
        if scope == Scope::Shared && notify_device {
            let mut json = Vec::new();
            payload::attributes_deleted(&gone.iter().map(String::as_str).collect::<Vec<_>>(), &mut json);
            self.tell_device(json);
        }
        gone
    }

    /// Shared attributes have changed: the device is told, now or when it is back.
    pub(super) fn tell_device(&mut self, json: Vec<u8>) {
        let device = DeviceId(self.state.entity().0);
        let downlink = kept::Downlink {
            kind: kept::downlink::Kind::AttributesUpdated.into(),
            json: json.clone(),
            ..kept::Downlink::default()
        };
        match keep((self.state, self.ledger, self.now), self.topics.as_ref(), downlink) {
            Ok(true) => {}
            Ok(false) => self.ledger.owe(Owed::AttributesChanged { device, json }),
            Err(_) => self.counters.increment(Counter::DownlinksDropped),
        }
    }

    fn refused(&self, refused: &RefusedReadings) -> Outcome {
        match refused {
            RefusedReadings::Timestamp { .. } => {
                self.counters.increment(Counter::TimestampsRefused);
                Outcome::PayloadInvalid
            }
            _ => Outcome::QuotaExceeded,
        }
    }
}

/// What a message is evaluated by: the table with the tenant's other chains, the chain it enters, what runs scripts.
type By<'b> = (&'b Table, &'b Running, &'b mut Engines);

/// What nodes may ask: the originator's state, and the table.
struct Facts<'s> {
    table: &'s Table,
    message: &'s Message<'s>,
    state: &'s DeviceState,
    dictionary: &'s Dictionary,
    scripts: &'s mut Engines,
}

impl World for Facts<'_> {
    fn attribute(&mut self, scope: Scope, key: &str) -> Option<(Timestamp, Value<'static>)> {
        let found = self.state.attributes(Some(scope), &[key.to_owned()]).pop()?;
        Some((found.last_update, found.value))
    }

    fn latest(&mut self, key: &str) -> Option<(Timestamp, Value<'static>)> {
        self.state.latest_of(self.dictionary, key).map(|(ts, value)| (ts, value.clone()))
    }

    fn state(&mut self, node: Uuid) -> Option<Box<[u8]>> {
        self.state.node_state(node).map(Into::into)
    }

    fn related(&mut self, inward: bool, kind: &str, other: Option<EntityId>) -> bool {
        self.table.relations().has(self.message.originator, inward, kind, other)
    }

    fn asset(&mut self) -> Option<(String, String)> {
        self.table.asset(self.message.originator).map(|asset| (asset.name.clone(), asset.kind.clone()))
    }

    fn running(&mut self, target: Target) -> Option<Rc<Running>> {
        let found = match target {
            Target::Chain(id) => self.table.plan(self.message.tenant, id),
            Target::OfOriginator => {
                let own = self.table.plan_of_device(DeviceId(self.message.originator.0));
                own.or_else(|| self.table.plan_of_entity(self.message.originator, self.message.tenant))
            }
        };
        found.map(Rc::clone)
    }

    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        self.scripts.run(self.message.tenant, script, subject)
    }
}

/// What an entity is that is no device of the table's. Queries do not say it of others than tenants and assets.
fn type_of(entity: EntityId, tenant: TenantId, is_asset: bool) -> EntityType {
    match is_asset {
        true => EntityType::Asset,
        false if entity.0 == tenant.0 => EntityType::Tenant,
        false => EntityType::Customer,
    }
}

/// Attributes as the payload encoders take them.
pub(super) fn pairs(attributes: &[Attribute]) -> Vec<(&str, &Value<'static>)> {
    attributes.iter().map(|attribute| (attribute.key.as_str(), &attribute.value)).collect()
}

/// The readings of a message as live updates carry them: one series per key, entries in their order.
fn series(readings: &Readings<'_>, timestamps: &[Timestamp]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for (entry, ts) in readings.entries.iter().zip(timestamps) {
        for reading in readings.of(entry) {
            let point = Point { ts: *ts, value: reading.value.clone().into_owned() };
            match series.iter_mut().find(|one| one.key == reading.key) {
                Some(one) => one.points.push(point),
                None => series.push(Series { key: reading.key.to_string(), points: vec![point] }),
            }
        }
    }
    series
}

/// What a device state needs to write: the batch, the names, the numbers and the time.
pub(super) fn writing(ledger: &mut Ledger, now: Now) -> Writing<'_> {
    Writing {
        batch: &mut ledger.batch,
        dictionary: &mut ledger.dictionary,
        sequence: &mut ledger.sequence,
        encoder: &mut ledger.encoder,
        keys: &mut ledger.keys,
        now: now.timestamp,
    }
}

const _: () = assert!(limits::BATCH_BYTES_MAX > limits::READ_BUFFER_BYTES, "one connection's bytes fit a batch");
