//! Evaluate: from what a device said to staged writes, promises and live updates. Cannot fail and does not
//! wait: what a message gets wrong becomes the outcome of its receipt, and what it lacks is said to whoever has it wait.

use std::rc::Rc;

use schemas::chain::{EntityType, MessageType};
use schemas::config::{End, Payload};
use schemas::id::{ChainId, DeviceId, EntityId, Partition, TenantId};
use serde_json::json;
use uuid::Uuid;

use super::admitting::topics;
use super::calculating::{Touched, saved_by};
use super::connection::{Connection, Standing};
use super::decoding;
use super::dues::Dues;
use super::elapsing::RuleTimes;
use super::known::{Facts, Known, Lacking, type_of};
use super::ledger::{Ledger, Owed};
use super::letter::{Address, Of};
use super::limiting::cost;
use super::needing::{Spoken, Waiter, Whose};
use super::outbox::Outbox;
use super::passages::Passages;
use super::saving::writing;
use super::serve::Flow;
use super::sightings::Sightings;
use super::slab::Key;
use super::turn::Shard;
use super::watching::Watches;
use crate::clock::Now;
use crate::device::outbox::{self, OwedCall, Pending};
use crate::device::passage::{self, Pair, Passage};
use crate::device::{DeviceState, RefusedReadings};
use crate::effect::Effect;
use crate::limits;
use crate::message::{Body, Entry, Message, Readings, Scope, emptied};
use crate::metric::{Counter, ShardCounters};
use crate::owed::Departed;
use crate::payload;
use crate::rules::{self, Evaluation, Running};
use crate::script::Engines;
use crate::session::{Format, Outcome, Promise, Topics};
use crate::snapshot::{DeviceFields, Table};

/// A stage of the shard's fields that leaves the others free: a message's table and scripts, above all.
macro_rules! stage {
    ($shard:ident, $state:expr, $topics:expr) => {
        Stage {
            ledger: &mut $shard.ledger,
            outbox: &mut $shard.outbox,
            dues: &mut $shard.dues,
            rule_times: &mut $shard.rule_times,
            passages: &mut $shard.passages,
            sightings: &mut $shard.sightings,
            state: $state,
            watches: &$shard.watches,
            counters: &$shard.counters,
            now: $shard.now,
            departed_bytes: 0,
            topics: $topics,
        }
    };
}

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
        let from = Address { shard: self.index, connection: key, receipt: None, of: Of::Nothing };
        let promised = promise.map(|promise| (key, promise));
        let waiter = Waiter::Call { to: from, id, promise: promised };
        if self.needs.have_been() && self.is_stored(device.into(), waiter) {
            return self.settle_later(key, promise.map(|promise| promise.receipt), Outcome::Stored);
        }
        self.call_from_device((from, id, promised), device, bytes);
        self.read_no_further(key, device)
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
        let waiter = Waiter::Connection(key, promise);
        let outcome = match self.spend(device, cost(&body)) {
            Ok(()) if self.needs.have_been() && self.is_stored(device.into(), waiter) => Outcome::Stored,
            Ok(()) => match self.evaluate_device((device, plan), kind, body, waiter) {
                Some(outcome) => outcome,
                None => return self.read_no_further(key, device),
            },
            Err(refused) => refused,
        };
        if outcome == Outcome::Stored {
            self.keep_identifier(device, promise);
        } else {
            self.counters.increment(Counter::MessagesDiscarded);
        }
        self.settle_later(key, promise.map(|promise| promise.receipt), outcome)
    }

    /// Its message waits. When many do, its connection is not read until they are fewer.
    fn read_no_further(&mut self, key: Key, device: DeviceId) -> Flow {
        if self.needs.waiting(device.into()) < limits::PARKED_PER_DEVICE_READ_MAX {
            return Flow::More;
        }
        if let Some(admitted) = self.connections.get_mut(key).and_then(Connection::admitted) {
            admitted.behind = true;
        }
        Flow::Stop
    }

    /// Evaluates a message whose originator is a device of this shard with its state resident. `None`: it waits for a fact, and its
    /// waiter is told later.
    pub(super) fn evaluate_device(
        &mut self,
        (device, running): (DeviceId, &Running),
        kind: MessageType,
        body: Body<'_>,
        waiter: Waiter,
    ) -> Option<Outcome> {
        self.hear_out(Spoken::new(Whose::Device(device), kind, body, waiter, self.now.timestamp), running)
    }

    /// Evaluates a message of an entity that is no device, by its asset profile's chain or its tenant's root chain.
    pub(super) fn evaluate_entity(&mut self, entity: EntityId, tenant: TenantId, kind: MessageType, body: Body<'_>) {
        let Some(running) = self.table.plan_of_entity(entity, tenant).map(Rc::clone) else { return };
        let kind_of = type_of((&self.table, &self.dues), entity, tenant);
        let whose = Whose::Entity(End { kind: kind_of, id: entity }, tenant);
        let _outcome = self.hear_out(Spoken::new(whose, kind, body, Waiter::Nobody, self.now.timestamp), &running);
    }

    /// One evaluation of a message.
    ///
    /// # Errors
    /// [`Lacking`]: nothing was done.
    pub(super) fn evaluate(&mut self, spoken: &mut Spoken<'_>, running: &Running) -> Result<Outcome, Lacking> {
        let (tenant, originator_type, device_name, device_type, topics, fields) = match spoken.whose {
            Whose::Device(device) => {
                let Some(facts) = self.table.device(device) else { return Ok(Outcome::Unspecified) };
                let topics = facts.mqtt.and_then(|mqtt| topics(mqtt));
                let fields = facts.calculated.then(|| self.table.fields_of(device)).filter(|fields| !fields.is_empty());
                (facts.tenant, EntityType::Device, facts.name, facts.kind, topics, fields)
            }
            Whose::Entity(end, tenant) => (tenant, end.kind, "", "", None, None),
        };
        let originator = spoken.whose.entity();
        let begins = spoken.arrived.as_ref().is_some_and(|departed| departed.begins());
        let gone = begins && !self.is_there(End { kind: originator_type, id: originator }, tenant);
        let Some(state) = self.residents.get_mut(originator, self.now.instant) else { return Ok(Outcome::Unspecified) };
        spoken.heard_by(state);
        let (kind, received) = (spoken.kind, spoken.received);
        let body = std::mem::replace(&mut spoken.body, Body::Lifecycle);
        let message = Message { kind, originator, originator_type, tenant, device_name, device_type, received, body };
        let mut stage = stage!(self, state, topics);
        self.answers.clear();
        let (table, scripts, answers) = (&self.table, &mut self.scripts, &mut self.answers);
        let by = By { table, running, fields, gone, scripts, answers };
        let known = Known { facts: &spoken.facts, counted: spoken.counted, otherwise: None };
        let evaluated = match &spoken.arrived {
            Some(departed) => stage.go_on(by, &message, departed, known),
            None => stage.evaluate(by, &message, known),
        };
        match (&evaluated, message.body) {
            (Ok(_), Body::Telemetry(readings)) => self.readings = readings.recycle(),
            (Ok(_), _) => {}
            (Err(_), body) => spoken.body = body.into_owned(),
        }
        evaluated
    }

    /// A message that waited for the outside goes on. What it answered to its device's calls is given back, too.
    pub(super) fn resume(
        &mut self,
        originator: EntityId,
        tenant: TenantId,
        departed: &Departed,
        comes: rules::Comes,
    ) -> (Option<Evaluation>, Vec<(u32, String)>) {
        let facts = self.table.device(DeviceId(originator.0));
        let (device_name, device_type) = facts.map_or(("", ""), |facts| (facts.name, facts.kind));
        let originator_type = self.type_of(originator, tenant);
        let fields = facts.filter(|facts| facts.calculated).map(|_| self.table.fields_of(DeviceId(originator.0)));
        let topics = facts.and_then(|facts| facts.mqtt.and_then(|mqtt| topics(mqtt)));
        let kind = MessageType::parse(&departed.kind).unwrap_or(MessageType::PostTelemetryRequest);
        let (received, body) = (self.now.timestamp, Body::Lifecycle);
        let message = Message { kind, originator, originator_type, tenant, device_name, device_type, received, body };
        let Some(state) = self.residents.get_mut(originator, self.now.instant) else { return (None, Vec::new()) };
        let mut stage = stage!(self, state, topics);
        let (mut effects, mut answers) = (Vec::new(), Vec::new());
        let otherwise = Some("a message that comes back from the outside does not wait for facts");
        let known = Known { facts: &[], counted: 0, otherwise };
        let mut facts = stage.facts((&self.table, &mut self.scripts), &message, known);
        let evaluation = rules::resume((departed, comes), &message, &mut facts, &mut effects, 0);
        let mut saved = Vec::new();
        if let Some(evaluation) = &evaluation {
            saved = stage.act_before_fields(fields.as_ref(), &message, effects, evaluation, &mut answers);
        }
        self.calculate_behind(Whose::Device(DeviceId(originator.0)), saved);
        (evaluation, answers)
    }

    /// What an originator is.
    pub(super) fn type_of(&self, originator: EntityId, tenant: TenantId) -> EntityType {
        match self.table.device(DeviceId(originator.0)) {
            Some(_) => EntityType::Device,
            None => type_of((&self.table, &self.dues), originator, tenant),
        }
    }

    /// Time has passed for a node that remembers something of a device. `None` if the node or the device is gone.
    pub(super) fn elapse(&mut self, device: DeviceId, path: &[(ChainId, Uuid)]) -> Option<Evaluation> {
        let facts = self.table.device(device)?;
        let fields = facts.calculated.then(|| self.table.fields_of(device));
        let topics = facts.mqtt.and_then(|mqtt| topics(mqtt));
        let message = Message {
            kind: MessageType::Alarm,
            originator: device.into(),
            originator_type: EntityType::Device,
            tenant: facts.tenant,
            device_name: facts.name,
            device_type: facts.kind,
            received: self.now.timestamp,
            body: Body::Lifecycle,
        };
        let state = self.residents.get_mut(device.into(), self.now.instant)?;
        let mut stage = stage!(self, state, topics);
        let known = Known { facts: &[], counted: 0, otherwise: Some("what time brings about does not wait for facts") };
        let (mut effects, mut answers) = (Vec::new(), Vec::new());
        let mut facts = stage.facts((&self.table, &mut self.scripts), &message, known);
        let evaluation = rules::elapse(path, &message, &mut facts, &mut effects)?;
        let saved = stage.act_before_fields(fields.as_ref(), &message, effects, &evaluation, &mut answers);
        self.calculate_behind(Whose::Device(device), saved);
        Some(evaluation)
    }

    /// The stage on which an entity's writes are prepared; `None` when its state is not resident.
    pub(super) fn stage(&mut self, entity: EntityId) -> Option<Stage<'_>> {
        let topics = self.table.device(DeviceId(entity.0)).and_then(|facts| facts.mqtt.and_then(|mqtt| topics(mqtt)));
        let state = self.residents.get_mut(entity, self.now.instant)?;
        Some(stage!(self, state, topics))
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
    pub outbox: &'s mut Outbox,
    pub dues: &'s mut Dues,
    pub rule_times: &'s mut RuleTimes,
    pub passages: &'s mut Passages,
    pub sightings: &'s mut Sightings,
    pub state: &'s mut DeviceState,
    pub watches: &'s Watches,
    pub counters: &'s ShardCounters,
    pub now: Now,
    /// What the entries of the message so far have left at nodes.
    pub departed_bytes: usize,
    /// The topics of the device's profile, if it has its own.
    pub topics: Option<Topics>,
}

impl Stage<'_> {
    /// Where some node looks at what messages say, each ts of telemetry is a message of its own, as it is in ThingsBoard. Where one
    /// may lack a fact, nothing is written before all of them have theirs: a message and its packet id are one batch.
    fn evaluate(&mut self, mut by: By<'_>, message: &Message<'_>, known: Known<'_>) -> Result<Outcome, Lacking> {
        let looks = by.looks() || self.sightings.traced(message, self.now.instant).is_some();
        let readings = match &message.body {
            Body::Telemetry(readings) if looks && readings.entries.len() > 1 => readings,
            _ => return self.evaluate_one(&mut by, message, known),
        };
        let part = |entry: &Entry| {
            let those = readings.of(entry).to_vec();
            let entries = vec![Entry { ts: entry.ts, range: 0..those.len() }];
            Message { body: Body::Telemetry(Readings { entries, readings: those }), ..*message }
        };
        if by.asks() {
            for entry in &readings.entries {
                self.try_one(&mut by, &part(entry), known)?;
            }
        }
        let known = Known { otherwise: Some("it depends on what the message itself has changed"), ..known };
        let mut outcome = Outcome::Stored;
        for entry in &readings.entries {
            let one = self.evaluate_one(&mut by, &part(entry), known)?;
            if one != Outcome::Stored {
                outcome = one;
            }
        }
        Ok(outcome)
    }

    /// A message from another originator goes on behind its node, or one that others made enters its chain.
    fn go_on(&mut self, by: By<'_>, message: &Message<'_>, departed: &Departed, known: Known<'_>) -> Result<Outcome, Lacking> {
        let mut effects = Vec::new();
        let mut facts = self.facts((by.table, by.scripts), message, known);
        let evaluation = match departed.begins() {
            true => Some(rules::begin((by.running, departed), message, &mut facts, &mut effects, known.counted)),
            false => rules::resume((departed, Ok(None)), message, &mut facts, &mut effects, known.counted),
        };
        let Some(evaluation) = evaluation else {
            self.counters.increment(Counter::MessagesLost);
            return Ok(Outcome::Stored);
        };
        if let Some(fact) = evaluation.needs {
            return Err(Lacking { fact, counted: evaluation.executed });
        }
        if departed.begins() {
            self.sightings.went(message, self.now.instant);
        }
        if by.gone {
            effects.retain(|effect| !effect.is_kept());
        }
        let Some(fields) = &by.fields else { return Ok(self.act(message, effects, &evaluation, by.answers)) };
        let touched = Touched::of(message, &effects);
        self.prepare(fields, &touched, message, known)
            .map_err(|fact| Lacking { fact, counted: evaluation.executed.saturating_add(1) })?;
        let outcome = self.act(message, effects, &evaluation, by.answers);
        self.calculate((fields, by.scripts), touched, message, known);
        Ok(outcome)
    }

    /// Whether a message has its facts: an evaluation of which nothing remains.
    fn try_one(&mut self, by: &mut By<'_>, message: &Message<'_>, known: Known<'_>) -> Result<(), Lacking> {
        let mut effects = Vec::new();
        let mut facts = self.facts((by.table, by.scripts), message, known);
        let evaluation = rules::evaluate_again(by.running, message, &mut facts, &mut effects, u32::MAX);
        let lacking = |fact| Lacking { fact, counted: 0 };
        match (evaluation.needs, &by.fields) {
            (Some(fact), _) => Err(lacking(fact)),
            (None, Some(fields)) => self.prepare(fields, &Touched::of(message, &effects), message, known).map_err(lacking),
            (None, None) => Ok(()),
        }
    }

    fn evaluate_one(&mut self, by: &mut By<'_>, message: &Message<'_>, known: Known<'_>) -> Result<Outcome, Lacking> {
        let mut effects = std::mem::take(&mut self.ledger.effects);
        let mut facts = self.facts((by.table, by.scripts), message, known);
        let evaluation = rules::evaluate_again(by.running, message, &mut facts, &mut effects, known.counted);
        if let Some(fact) = evaluation.needs {
            self.ledger.effects = emptied(effects);
            return Err(Lacking { fact, counted: evaluation.executed });
        }
        let touched = by.fields.as_ref().map(|fields| (fields, Touched::of(message, &effects)));
        if let Some((fields, touched)) = &touched
            && let Err(fact) = self.prepare(fields, touched, message, known)
        {
            self.ledger.effects = emptied(effects);
            // All of its steps went on.
            return Err(Lacking { fact, counted: evaluation.executed.saturating_add(1) });
        }
        self.sightings.went(message, self.now.instant);
        self.departed_bytes += evaluation.departed_bytes;
        let outcome = self.act(message, effects, &evaluation, by.answers);
        if let Some((fields, touched)) = touched
            && outcome == Outcome::Stored
        {
            self.calculate((fields, by.scripts), touched, message, known);
        }
        Ok(outcome)
    }

    /// What nodes may ask while this message is evaluated.
    fn facts<'f>(
        &'f mut self,
        (table, scripts): (&'f Table, &'f mut Engines),
        message: &'f Message<'f>,
        known: Known<'f>,
    ) -> Facts<'f> {
        let (state, dictionary) = (&*self.state, &self.ledger.dictionary);
        let (outbox, dues, passages) = (&*self.outbox, &*self.dues, &*self.passages);
        let (sightings, counters, now) = (&mut *self.sightings, self.counters, self.now);
        let departed_bytes = self.departed_bytes;
        Facts {
            table,
            message,
            state,
            dictionary,
            scripts,
            outbox,
            dues,
            passages,
            sightings,
            counters,
            now,
            known,
            departed_bytes,
        }
    }

    /// Does what an evaluation says must happen.
    fn act(
        &mut self,
        message: &Message<'_>,
        effects: Vec<Effect<'_>>,
        evaluation: &Evaluation,
        answers: &mut Vec<(u32, String)>,
    ) -> Outcome {
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

    /// The same for a message that does not wait: what fields depend on is given back, to be calculated behind it.
    fn act_before_fields(
        &mut self,
        fields: Option<&DeviceFields>,
        message: &Message<'_>,
        effects: Vec<Effect<'_>>,
        evaluation: &Evaluation,
        answers: &mut Vec<(u32, String)>,
    ) -> Vec<(MessageType, Body<'static>)> {
        let before = fields.map(|fields| (fields, saved_by(&effects), Touched::of(message, &effects)));
        self.act(message, effects, evaluation, answers);
        let Some((fields, saved, mut touched)) = before else { return Vec::new() };
        self.tell(fields, &mut touched);
        saved
    }

    fn take_effect(
        &mut self,
        message: &Message<'_>,
        effect: &Effect<'_>,
        answers: &mut Vec<(u32, String)>,
    ) -> Result<(), RefusedReadings> {
        match effect {
            Effect::SaveTimeseries { readings, ttl_s, use_server_ts, saving } => {
                return self.save_timeseries((message.originator, message.tenant), readings, (*ttl_s, *use_server_ts), *saving);
            }
            Effect::SaveAttributes { readings, scope, only_on_change, notify_device, tell, saving } => {
                let (of, how) = ((message.originator, *scope), (*only_on_change, *notify_device));
                let changed = self.save_attributes(of, readings, how, *saving)?;
                if let Some(tell) = tell.as_ref().filter(|_| !changed.is_empty()) {
                    let data = self.said_of(*scope, &changed);
                    self.tell_chain(message, (**tell).clone(), data);
                }
            }
            Effect::DeleteAttributes { scope, keys, notify_device, tell } => {
                let gone = self.delete_attributes(message.originator, *scope, keys, *notify_device);
                if let Some(tell) = tell.as_ref().filter(|_| !gone.is_empty()) {
                    self.tell_chain(message, (**tell).clone(), json!({ "attributes": gone }).to_string());
                }
            }
            Effect::KeepState { node, state } => {
                let kept = self.state.keep_node_state(&mut writing(self.ledger, self.now), *node, state.clone());
                if let Err(full) = kept {
                    self.counters.increment(Counter::NodesFailed);
                    tracing::debug!(%full, originator = %message.originator, "a node cannot remember");
                }
            }
            Effect::KeepProgress(progress) => {
                let kept = self.state.keep_progress(&mut writing(self.ledger, self.now), (**progress).clone());
                if let Err(full) = kept {
                    self.counters.increment(Counter::NodesFailed);
                    tracing::debug!(%full, originator = %message.originator, "a node cannot remember");
                }
                if let Some(due) = self.state.rules_due() {
                    self.rule_times.arm(due, message.originator);
                }
            }
            Effect::Owe(departed) => {
                let owed = OwedCall { tenant: message.tenant, taken: self.now.timestamp, departed: (**departed).clone() };
                let (originator, number) = (message.originator, self.ledger.sequence.next());
                let bytes = outbox::put(&mut self.ledger.batch, originator, number, &owed);
                self.outbox.add(Pending { originator, node: owed.departed.node().1, number, tenant: owed.tenant, bytes });
            }
            Effect::Wait(waiting) => self.wait(message, waiting),
            Effect::Forward { departed, to } => self.pass_on(message, (**departed).clone(), *to),
            Effect::Alarm(alarm) => {
                if let Err(full) = self.keep_alarm(alarm) {
                    self.counters.increment(Counter::NodesFailed);
                    tracing::debug!(%full, originator = %message.originator, "an alarm cannot begin");
                }
            }
            Effect::Reply { request, json } => {
                self.ledger.owe(Owed::Reply { tenant: message.tenant, request: *request, json: json.clone() });
            }
            Effect::Answer { request, json } => answers.push((*request, json.clone())),
            Effect::Connectivity { node, event, at } => self.report(message, (*node, *event), *at),
            Effect::Log { node } => {
                self.counters.increment(Counter::NodesLogged);
                tracing::debug!(%node, kind = message.kind.name(), originator = %message.originator, "log node");
            }
        }
        Ok(())
    }

    /// A message is under way to an originator.
    pub(super) fn pass_on(&mut self, message: &Message<'_>, departed: Departed, to: End) {
        let owed = OwedCall { tenant: message.tenant, taken: self.now.timestamp, departed };
        let pair = Pair { from: Partition::of(message.originator), to: Partition::of(to.id) };
        let (tenant, number) = (message.tenant, self.ledger.sequence.next());
        let bytes = passage::put(&mut self.ledger.batch, pair, number, &Passage { owed, to });
        self.passages.add(passage::Pending { pair, number, tenant, bytes });
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

/// What a message is evaluated by.
struct By<'b> {
    /// With the tenant's other chains.
    table: &'b Table,
    /// The chain it enters.
    running: &'b Running,
    /// What is calculated for the originator, if anything is.
    fields: Option<DeviceFields>,
    /// There is no such originator any more, and nothing is kept of it.
    gone: bool,
    scripts: &'b mut Engines,
    /// To calls of the originator.
    answers: &'b mut Vec<(u32, String)>,
}

impl By<'_> {
    /// Whether somebody looks at what messages say.
    fn looks(&self) -> bool {
        self.running.plan().reads() || self.fields.is_some()
    }

    /// Whether somebody may lack a fact.
    fn asks(&self) -> bool {
        let fields = self.fields.iter().flat_map(DeviceFields::iter);
        self.running.plan().asks() || fields.into_iter().any(|field| field.calculation.asks())
    }
}

const _: () = assert!(limits::BATCH_BYTES_MAX > limits::READ_BUFFER_BYTES, "one connection's bytes fit a batch");
