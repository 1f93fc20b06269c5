//! Evaluate: from what a device said to staged writes, promises and live updates. Cannot fail and cannot wait; what a
//! message gets wrong becomes the outcome of its receipt.

use std::sync::Arc;

use schemas::chain::MessageType;
use schemas::id::{DeviceId, EntityId, TenantId};

use super::connection::Standing;
use super::ledger::{Ledger, Owed, OwnedDownlink};
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use super::watching::Watches;
use crate::clock::{Now, Timestamp};
use crate::device::{DeviceState, RefusedReadings, Writing};
use crate::effect::Effect;
use crate::limits;
use crate::message::{Body, Message, Readings, Scope, emptied};
use crate::metric::{Counter, ShardCounters};
use crate::payload::{self, Casting};
use crate::query::{Attribute, Point, Series};
use crate::rules::{self, NodeCounts, Plan};
use crate::session::{Outcome, Receipt};

impl Shard {
    pub(super) fn telemetry(&mut self, key: Key, bytes: &[u8], receipt: Option<Receipt>) -> Flow {
        let mut readings = std::mem::take(&mut self.readings);
        if payload::telemetry(bytes, Casting::Enabled, &mut readings).is_err() {
            return self.refuse_payload(key, receipt);
        }
        self.said(key, MessageType::PostTelemetryRequest, Body::Telemetry(readings), receipt)
    }

    pub(super) fn attributes(&mut self, key: Key, bytes: &[u8], receipt: Option<Receipt>) -> Flow {
        let mut readings = Readings::default();
        if payload::attributes(bytes, Casting::Enabled, &mut readings).is_err() {
            return self.refuse_payload(key, receipt);
        }
        let body = Body::Attributes { scope: Scope::Client, readings };
        self.said(key, MessageType::PostAttributesRequest, body, receipt)
    }

    /// Answered from memory with the ticket of the newest write it reflects (DESIGN 8.1, 3).
    pub(super) fn attributes_request(&mut self, key: Key, id: u32, bytes: &[u8], receipt: Option<Receipt>) -> Flow {
        let Ok(request) = payload::attributes_request(bytes) else { return self.refuse_payload(key, receipt) };
        let Some(device) = self.device_of(key) else { return Flow::Stop };
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return Flow::Stop };
        let both = request.client.is_none() && request.shared.is_none();
        let side = |scope, keys: Option<Vec<String>>| match keys {
            Some(keys) => state.attributes(Some(scope), &keys),
            // Neither side named: everything of both, as ThingsBoard answers.
            None if both => state.attributes(Some(scope), &[]),
            None => Vec::new(),
        };
        let (client, shared) = (side(Scope::Client, request.client), side(Scope::Shared, request.shared));
        let mut json = Vec::new();
        payload::attributes_response(&pairs(&client), &pairs(&shared), &mut json);
        self.ledger.owe(Owed::Downlink { device, downlink: OwnedDownlink::AttributesResponse(id, json) });
        self.settle_later(key, receipt, Outcome::Stored)
    }

    pub(super) fn rpc_request(&mut self, key: Key, id: u32, bytes: &[u8], receipt: Option<Receipt>) -> Flow {
        let (Ok(request), Ok(text)) = (payload::rpc(bytes), std::str::from_utf8(bytes)) else {
            return self.refuse_payload(key, receipt);
        };
        if request.method == "getSessionLimits" {
            let Some(device) = self.device_of(key) else { return Flow::Stop };
            let mut json = Vec::new();
            payload::session_limits(&mut json);
            self.ledger.owe(Owed::Downlink { device, downlink: OwnedDownlink::RpcResponse(id, json) });
            return self.settle_later(key, receipt, Outcome::Stored);
        }
        self.said(key, MessageType::ToServerRpcRequest, Body::Rpc { request: text }, receipt)
    }

    /// A message of a connected device: evaluated, its receipt promised.
    fn said(&mut self, key: Key, kind: MessageType, body: Body<'_>, receipt: Option<Receipt>) -> Flow {
        let Some((device, plan)) = self.device_and_plan(key) else { return Flow::Stop };
        self.counters.increment(Counter::MessagesReceived);
        let outcome = self.evaluate_device(device, &plan, kind, body);
        if outcome != Outcome::Stored {
            self.counters.increment(Counter::MessagesDiscarded);
        }
        self.settle_later(key, receipt, outcome)
    }

    /// Evaluates a message whose originator is a device of this shard with its state resident.
    pub(super) fn evaluate_device(&mut self, device: DeviceId, plan: &Plan, kind: MessageType, body: Body<'_>) -> Outcome {
        let Some(facts) = self.table.device(device) else { return Outcome::Unspecified };
        let message = Message {
            kind,
            originator: device.into(),
            tenant: facts.tenant,
            device_name: facts.name,
            device_type: facts.kind,
            received: self.now.timestamp,
            body,
        };
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return Outcome::Unspecified };
        let said = matches!(
            kind,
            MessageType::PostTelemetryRequest | MessageType::PostAttributesRequest | MessageType::ToServerRpcRequest
        );
        let awoke = said && state.touched(self.now.timestamp);
        let mut stage =
            Stage { ledger: &mut self.ledger, state, watches: &self.watches, counters: &self.counters, now: self.now };
        let outcome = stage.evaluate(plan, &message);
        if let Body::Telemetry(readings) = message.body {
            self.readings = readings.recycle();
        }
        if awoke {
            self.awoke(device);
        }
        outcome
    }

    /// Evaluates a message of an entity that is no device, by its tenant's root chain.
    pub(super) fn evaluate_entity(&mut self, entity: EntityId, tenant: TenantId, kind: MessageType, body: Body<'_>) {
        let Some(plan) = self.table.plan_of_tenant(tenant).map(Arc::clone) else { return };
        let (device_name, device_type) = ("", "");
        let message = Message { kind, originator: entity, tenant, device_name, device_type, received: self.now.timestamp, body };
        let Some(state) = self.residents.get_mut(entity, self.now.instant) else { return };
        let mut stage =
            Stage { ledger: &mut self.ledger, state, watches: &self.watches, counters: &self.counters, now: self.now };
        let _outcome = stage.evaluate(&plan, &message);
    }

    /// The stage on which an entity's writes are prepared; `None` when its state is not resident.
    pub(super) fn stage(&mut self, entity: EntityId) -> Option<Stage<'_>> {
        let state = self.residents.get_mut(entity, self.now.instant)?;
        Some(Stage { ledger: &mut self.ledger, state, watches: &self.watches, counters: &self.counters, now: self.now })
    }

    fn refuse_payload(&mut self, key: Key, receipt: Option<Receipt>) -> Flow {
        self.counters.increment(Counter::MessagesDiscarded);
        self.settle_later(key, receipt, Outcome::PayloadInvalid)
    }

    fn device_of(&self, key: Key) -> Option<DeviceId> {
        Some(self.connections.get(key)?.identity()?.device)
    }

    /// The connection's device and plan, the latter looked up again only when the table has changed.
    fn device_and_plan(&mut self, key: Key) -> Option<(DeviceId, Arc<Plan>)> {
        let generation = self.generation;
        let Standing::Admitted(admitted) = &mut self.connections.get_mut(key)?.standing else { return None };
        let device = admitted.identity.device;
        if admitted.generation == generation {
            return Some((device, Arc::clone(&admitted.plan)));
        }
        let plan = self.plan_of(device);
        if let Standing::Admitted(admitted) = &mut self.connections.get_mut(key)?.standing {
            admitted.plan = Arc::clone(&plan);
            admitted.generation = generation;
        }
        Some((device, plan))
    }
}

/// Where one entity's writes are staged: the turn's batch, the entity's state and its watchers.
pub(super) struct Stage<'s> {
    pub ledger: &'s mut Ledger,
    pub state: &'s mut DeviceState,
    pub watches: &'s Watches,
    pub counters: &'s ShardCounters,
    pub now: Now,
}

impl Stage<'_> {
    fn evaluate(&mut self, plan: &Plan, message: &Message<'_>) -> Outcome {
        let mut effects = std::mem::take(&mut self.ledger.effects);
        rules::evaluate(plan, message, &mut NodeCounts::default(), &mut effects);
        let mut outcome = Outcome::Stored;
        for effect in &effects {
            let effect = effect.clone();
            let staged = match effect {
                Effect::SaveTimeseries { readings, ttl_s, use_server_ts } => {
                    self.save_timeseries(message.originator, readings, ttl_s, use_server_ts)
                }
                Effect::SaveAttributes { readings, scope, only_on_change, notify_device } => {
                    self.save_attributes(message.originator, scope, readings, only_on_change, notify_device)
                }
                Effect::Log { node } => {
                    self.counters.increment(Counter::NodesLogged);
                    tracing::debug!(node, kind = message.kind.name(), originator = %message.originator, "log node");
                    Ok(())
                }
            };
            if let Err(refused) = staged {
                outcome = self.refused(&refused);
            }
        }
        self.ledger.effects = emptied(effects);
        outcome
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
            let downlink = OwnedDownlink::AttributesUpdated(json);
            self.ledger.owe(Owed::Downlink { device: DeviceId(entity.0), downlink });
        }
        Ok(())
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

/// Attributes as the payload encoders take them.
fn pairs(attributes: &[Attribute]) -> Vec<(&str, &crate::message::Value<'static>)> {
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
