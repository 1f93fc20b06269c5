//! Operations: what a device asks for, done by its owner, whoever carried the request: its own connection, an HTTP request, its
//! gateway, on this shard or another one (DESIGN 8.3, 8). Answers leave with the ticket of the newest write they reflect.

use std::sync::Arc;

use schemas::chain::MessageType;
use schemas::config::Payload;
use schemas::id::DeviceId;
use uuid::Uuid;

use super::decoding::{self, JSON};
use super::delivering::Through;
use super::downloading::Download;
use super::inquiring::Asker;
use super::ledger::{Owed, OwnedDownlink};
use super::letter::{Address, Answer, Awaited, Deed, Errand, Letter, Of};
use super::limiting::cost;
use super::needing::Waiter;
use super::residents::{Parked, Parking};
use super::saving::{pairs, writing};
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use crate::auth;
use crate::codec::http::Forwarded;
use crate::message::{Body, Readings, Scope};
use crate::metric::Counter;
use crate::payload;
use crate::quota::Cost;
use crate::registry::Ask;
use crate::session::{Format, Operation, Outcome, Package, Promise, Receipt};

/// Who calls the server, under which number, and what of the call is acknowledged.
pub(super) type Caller = (Address, u32, Option<(Key, Promise)>);

/// What an operation turns into.
enum Task {
    /// For the device's owner.
    Deed(Deed),
    /// For the control plane.
    Ask(Ask),
    /// A piece of a package, in MQTT's words.
    Piece { ask: Ask, package: Package, request: u32, chunk: u32 },
    /// A piece that may be large, for the connection that asked.
    Download(Box<Download>),
}

impl Shard {
    /// An operation of the device whose connection this is. Messages take the short way: no copy, no letter.
    pub(super) fn operate(&mut self, key: Key, operation: Operation<'_>, promise: Option<Promise>) -> Flow {
        match operation {
            Operation::Telemetry { payload, format } => self.telemetry(key, payload, format, promise),
            Operation::Attributes { payload, format } => self.attributes(key, payload, format, promise),
            Operation::Gateway { operation, payload } => self.gateway(key, operation, payload, promise),
            operation => self.start_operation(key, operation, promise),
        }
    }

    /// What is no message of readings.
    fn start_operation(&mut self, key: Key, operation: Operation<'_>, promise: Option<Promise>) -> Flow {
        let Some(connection) = self.connections.get(key) else { return Flow::Stop };
        let device = connection.identity().map_or(DeviceId(Uuid::nil()), |identity| identity.device);
        let receipt = promise.map(|promise| promise.receipt);
        let mut json = Vec::new();
        let operation = match decoding::as_json(&self.payload_of(device), operation, &mut json) {
            Ok(Operation::RpcRequest { id, payload, .. }) => return self.rpc_request(key, id, payload, promise),
            Ok(operation) => operation,
            Err(outcome) => {
                let outcome = self.discard(outcome);
                return self.settle_later(key, receipt, outcome);
            }
        };
        let to = Address { shard: self.index, connection: key, receipt, of: Of::Nothing };
        self.keep_identifier(device, promise);
        match task(to, device, operation) {
            Ok(task) => self.start(to, device, task),
            Err(outcome) => return self.settle_later(key, receipt, outcome),
        }
        Flow::More
    }

    /// An operation of whoever shows `token`: a transport without sessions.
    pub(super) fn request(
        &mut self,
        key: Key,
        (token, forwarded): (&str, Option<Forwarded<'_>>),
        operation: Operation<'_>,
        receipt: Receipt,
    ) -> Flow {
        let to = Address { shard: self.index, connection: key, receipt: Some(receipt), of: Of::Nothing };
        let whose = if matches!(operation, Operation::Provision { .. }) {
            DeviceId(Uuid::nil())
        } else {
            let Some(peer) = self.connections.get(key).map(|connection| connection.channel.peer) else { return Flow::Stop };
            // Who it comes from, not who passed it on, is whose failures count.
            let named = forwarded.and_then(|said| self.forwarders.address(said.address, said.proof.0));
            let peer = named.unwrap_or(peer);
            let attempt = match self.attempt(peer, token.as_bytes(), token.as_bytes()) {
                Ok(attempt) => attempt,
                Err(retry_after_s) => {
                    return self.settle_later(key, Some(receipt), Outcome::RateExceeded { retry_after_s });
                }
            };
            let found = auth::by_token(&self.directory, token);
            self.attempted(attempt, found.is_ok());
            let Ok(entry) = found else {
                self.counters.increment(Counter::SessionsRefused);
                return self.settle_later(key, Some(receipt), Outcome::Unauthorized);
            };
            entry.device
        };
        match task(to, whose, operation) {
            Ok(task) => self.start(to, whose, task),
            Err(outcome) => return self.settle_later(key, Some(receipt), outcome),
        }
        Flow::More
    }

    fn start(&mut self, to: Address, whose: DeviceId, task: Task) {
        let (ask, asker) = match task {
            Task::Deed(deed) => {
                return self.send_errand(Errand { from: to, device: whose, child: None, deed });
            }
            Task::Ask(ask) => (ask, Asker::Answer(to)),
            Task::Download(download) => return self.begin_download(download),
            Task::Piece { ask, package, request, chunk } => (ask, Asker::Piece { to, package, request, chunk }),
        };
        if !self.inquire(ask, asker) {
            self.answer_later(to, Outcome::Unavailable.into());
        }
    }

    /// Brings an errand to the device's owner.
    pub(super) fn send_errand(&mut self, errand: Errand) {
        let owner = self.owner_of(errand.device);
        if owner == self.index {
            self.run_errand(errand);
        } else {
            self.mesh.send(owner, Letter::Errand(Box::new(errand)));
        }
    }

    /// An errand for a device of this shard; its state may have to be loaded first, and errands behind it wait in order.
    pub(super) fn run_errand(&mut self, errand: Errand) {
        let Some(facts) = self.table.device(errand.device) else { return self.answer_gone(&errand) };
        if errand.child.as_ref().is_some_and(|name| **name != *facts.name) {
            return self.answer_gone(&errand);
        }
        if !self.ledger.is_open() {
            return self.answer_now(errand.from, Outcome::Unavailable.into());
        }
        if self.residents.contains(errand.device.into()) {
            return self.perform(errand);
        }
        let (entity, from) = (errand.device.into(), errand.from);
        match self.residents.park(self.tenant_of(errand.device), entity, Parked::Errand(Box::new(errand))) {
            Parking::Load => self.loads.push_back(entity),
            Parking::Waiting => {}
            Parking::Full(_) => self.answer_now(from, Outcome::Unavailable.into()),
        }
    }

    /// The device is not there any more, or is called otherwise by now.
    fn answer_gone(&mut self, errand: &Errand) {
        let outcome = if errand.child.is_some() { Outcome::NotFound } else { Outcome::Forbidden };
        self.answer_now(errand.from, Answer { gone: Some(errand.device), ..Answer::from(outcome) });
    }

    /// Does what is asked; the device's state is resident.
    pub(super) fn perform(&mut self, errand: Errand) {
        let Errand { from, device, child, deed, .. } = errand;
        if matches!(deed, Deed::Detach) {
            return self.detach(device, from);
        }
        // A pack may go on without its gateway's connection.
        if let Some(name) = &child
            && from.connection != Key::NONE
        {
            self.attach(device, from, name);
        }
        if deed.is_question()
            && let Err(refused) = self.spend(device, Cost::Message)
        {
            return self.answer_later(from, refused.into());
        }
        match deed {
            Deed::Telemetry { payload } => {
                if let Some(outcome) = self.say_telemetry(device, JSON, &payload, Waiter::Errand(from)) {
                    self.answer_later(from, outcome.into());
                }
            }
            Deed::Attributes { payload } => {
                if let Some(outcome) = self.say_attributes(device, JSON, &payload, Waiter::Errand(from)) {
                    self.answer_later(from, outcome.into());
                }
            }
            Deed::Forwarded(forwarded) => self.say_forwarded(from, device, &forwarded),
            Deed::AttributesOf { id, client, shared } => self.attributes_of(from, device, id, client, shared),
            Deed::ChildAttributes { id, client, keys, single } => {
                let name = child.unwrap_or_default();
                self.child_attributes(from, (device, &name), (id, client, single), &keys);
            }
            Deed::RpcRequest { id, payload } => self.call_from_device((from, id, None), device, &payload),
            Deed::RpcResponse { id, payload } => {
                let outcome = self.take_response(device, id, &payload);
                self.answer_later(from, outcome.into());
            }
            Deed::Await { what, timeout_ms } => self.await_next(device, what, from, timeout_ms),
            Deed::Attach => self.answer_later(from, Outcome::Stored.into()),
            Deed::Detach => {}
        }
    }

    /// Telemetry of a device of this shard, in `format` of its profile's. `None`: its waiter is told later.
    fn say_telemetry(
        &mut self,
        device: DeviceId,
        (profile, format): (&Payload, Format),
        bytes: &[u8],
        waiter: Waiter,
    ) -> Option<Outcome> {
        let mut readings = std::mem::take(&mut self.readings);
        match decoding::telemetry(profile, format, bytes, &mut readings) {
            Ok(()) => self.say_for(device, MessageType::PostTelemetryRequest, Body::Telemetry(readings), waiter),
            Err(outcome) => Some(self.discard(outcome)),
        }
    }

    /// The same of its attributes.
    fn say_attributes(
        &mut self,
        device: DeviceId,
        (profile, format): (&Payload, Format),
        bytes: &[u8],
        waiter: Waiter,
    ) -> Option<Outcome> {
        let mut readings = Readings::default();
        match decoding::attributes(profile, format, bytes, &mut readings) {
            Ok(()) => {
                let body = Body::Attributes { scope: Scope::Client, readings };
                self.say_for(device, MessageType::PostAttributesRequest, body, waiter)
            }
            Err(outcome) => Some(self.discard(outcome)),
        }
    }

    /// A message of a device of this shard: evaluated by its plan. `None`: it waits for a fact, and its waiter is told later.
    pub(super) fn say_for(&mut self, device: DeviceId, kind: MessageType, body: Body<'_>, waiter: Waiter) -> Option<Outcome> {
        self.counters.increment(Counter::MessagesReceived);
        if let Err(refused) = self.spend(device, cost(&body)) {
            return Some(self.discard(refused));
        }
        let plan = self.plan_of(device);
        let outcome = self.evaluate_device((device, &plan), kind, body, waiter)?;
        Some(if outcome == Outcome::Stored { outcome } else { self.discard(outcome) })
    }

    pub(super) fn discard(&mut self, outcome: Outcome) -> Outcome {
        self.counters.increment(Counter::MessagesDiscarded);
        outcome
    }

    /// What a device said without a connection to answer: its will.
    pub(super) fn say(&mut self, device: DeviceId, operation: Operation<'_>) {
        let profile = self.payload_of(device);
        // Nobody waits for the outcome.
        let _said = match operation {
            Operation::Telemetry { payload, format } => self.say_telemetry(device, (&profile, format), payload, Waiter::Nobody),
            Operation::Attributes { payload, format } => self.say_attributes(device, (&profile, format), payload, Waiter::Nobody),
            // No will is anything else.
            _ => return,
        };
    }

    /// Answered from memory with the ticket of the newest write it reflects (DESIGN 8.1, 3). Neither side named: everything of
    /// both, as ThingsBoard answers.
    fn attributes_of(
        &mut self,
        from: Address,
        device: DeviceId,
        id: u32,
        client: Option<Vec<String>>,
        shared: Option<Vec<String>>,
    ) {
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return };
        let both = client.is_none() && shared.is_none();
        let side = |scope, keys: Option<Vec<String>>| match keys {
            Some(keys) if keys.is_empty() => Vec::new(),
            Some(keys) => state.attributes(Some(scope), &keys),
            None if both => state.attributes(Some(scope), &[]),
            None => Vec::new(),
        };
        let (client, shared) = (side(Scope::Client, client), side(Scope::Shared, shared));
        let mut json = Vec::new();
        payload::attributes_response(&pairs(&client), &pairs(&shared), &mut json);
        let downlink = Some(OwnedDownlink::AttributesResponse(id, json));
        self.answer_later(from, Answer { downlink, ..Outcome::Stored.into() });
    }

    fn child_attributes(
        &mut self,
        from: Address,
        (device, name): (DeviceId, &Arc<str>),
        (id, client, single): (i64, bool, bool),
        keys: &[String],
    ) {
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return };
        let scope = if client { Scope::Client } else { Scope::Shared };
        let attributes = state.attributes(Some(scope), keys);
        let mut json = Vec::new();
        payload::gateway_attributes(id, name, &pairs(&attributes), single, &mut json);
        let downlink = Some(OwnedDownlink::GatewayAttributesResponse(json));
        self.answer_later(from, Answer { downlink, ..Outcome::Stored.into() });
    }

    /// A device calls the server. A node of its chain answers; if none does, the answer is that none came in time.
    pub(super) fn call_from_device(&mut self, by: Caller, device: DeviceId, bytes: &[u8]) {
        let (from, id, promise) = by;
        let (Ok(request), Ok(text)) = (payload::rpc(bytes), std::str::from_utf8(bytes)) else {
            let outcome = self.discard(Outcome::PayloadInvalid);
            return self.answer_later(from, outcome.into());
        };
        if request.method == "getSessionLimits" {
            let json = self.session_limits(device);
            let downlink = Some(OwnedDownlink::RpcResponse(id, json));
            self.answer_later(from, Answer { downlink, ..Outcome::Stored.into() });
            return self.call_stored(device, promise);
        }
        let (body, waiter) = (Body::Rpc { request: text.into(), id: Some(id) }, Waiter::Call { to: from, id, promise });
        if let Some(said) = self.say_for(device, MessageType::ToServerRpcRequest, body, waiter) {
            self.call_said(device, by, said);
        }
    }

    /// A call is acknowledged when what its message wrote is stored, whatever the answer is.
    fn call_stored(&mut self, device: DeviceId, promise: Option<(Key, Promise)>) {
        if let Some((key, promise)) = promise {
            self.keep_identifier(device, Some(promise));
            self.settle_later(key, Some(promise.receipt), Outcome::Stored);
        }
    }

    /// The message of a call was evaluated: who waits for the answer gets it, or waits on.
    pub(super) fn call_said(&mut self, device: DeviceId, (from, id, promise): Caller, said: Outcome) {
        let answered = self.answers.drain(..).find(|(request, _)| *request == id);
        match said {
            Outcome::Stored if answered.is_some() => {
                let json = answered.map(|(_, json)| json.into_bytes()).unwrap_or_default();
                let downlink = Some(OwnedDownlink::RpcResponse(id, json));
                self.answer_later(from, Answer { downlink, ..Outcome::Stored.into() });
            }
            Outcome::Stored => {
                let tenant = self.tenant_of(device);
                if !self.client_calls.insert(self.now.instant, (tenant, device), (from, id)) {
                    self.answer_later(from, Outcome::Unavailable.into());
                }
            }
            refused => self.answer_later(from, refused.into()),
        }
        self.call_stored(device, promise);
    }

    fn session_limits(&mut self, device: DeviceId) -> Vec<u8> {
        let mut json = Vec::new();
        let facts = self.table.device(device).map(|facts| (facts.tenant, facts.gateway));
        let tenant = facts.and_then(|(tenant, _)| self.table.share(tenant)).map(|share| Arc::clone(share.tenant()));
        let limits = tenant.as_ref().map(|tenant| tenant.limits());
        match facts {
            Some((_, true)) => {
                let (children, own) = (limits.map(|limits| &limits.gateway_device), limits.map(|limits| &limits.gateway));
                payload::session_limits(children, own, &mut json);
            }
            _ => payload::session_limits(limits.map(|limits| &limits.device), None, &mut json),
        }
        json
    }

    /// The device's answer to a call of the server.
    fn take_response(&mut self, device: DeviceId, id: u32, bytes: &[u8]) -> Outcome {
        match std::str::from_utf8(bytes) {
            Ok(text) if payload::is_json(bytes) => {
                self.heard_of(device);
                self.call_answered(device, id, text);
                Outcome::Stored
            }
            _ => self.discard(Outcome::PayloadInvalid),
        }
    }

    /// A gateway speaks for a device: downlinks go by it, and the device counts as connected.
    fn attach(&mut self, device: DeviceId, from: Address, name: &Arc<str>) {
        let here = |through: &Through| (through.gateway.shard, through.gateway.connection) == (from.shard, from.connection);
        if self.through.get(&device).is_some_and(here) {
            return;
        }
        let through = Through { gateway: from, name: Arc::clone(name) };
        if self.through.insert(device, through).is_none() {
            self.residents.hold(device.into());
        }
        self.connect_event(device);
        self.offer_calls(device);
    }

    /// The gateway does not speak for it any more, unless another one does by now.
    fn detach(&mut self, device: DeviceId, from: Address) {
        let gateway = self.through.get(&device).map(|through| (through.gateway.shard, through.gateway.connection));
        if gateway != Some((from.shard, from.connection)) {
            return;
        }
        self.through.remove(&device);
        self.residents.let_go(device.into());
        if !self.sessions.contains_key(&device) {
            self.disconnect_event(device);
        }
    }

    /// Promises an answer for this turn's ticket.
    pub(super) fn answer_later(&mut self, to: Address, answer: Answer) {
        self.ledger.owe(Owed::Answer { to, answer });
    }

    /// Answers what reflects no write: a refusal while nothing may be written.
    fn answer_now(&mut self, to: Address, answer: Answer) {
        if self.ledger.is_open() { self.answer_later(to, answer) } else { self.send_answer(to, answer) }
    }

    /// An answer whose ticket is durable goes to whoever waits for it.
    pub(super) fn send_answer(&mut self, to: Address, answer: Answer) {
        if to.shard == self.index {
            self.take_answer(to, answer);
        } else {
            self.mesh.send(to.shard, Letter::Answer(Box::new((to, answer))));
        }
    }

    /// The answer for a connection of this shard.
    pub(super) fn take_answer(&mut self, to: Address, answer: Answer) {
        match to.of {
            Of::Nothing => {}
            Of::Pack(number) => return self.part_answered(to.connection, number, answer),
            Of::Forward(sending) => return self.forward_answered(sending, &answer),
        }
        let key = to.connection;
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_blocked = connection.session.blocked();
        let downlink = answer.downlink.as_ref().map(OwnedDownlink::borrow);
        self.counters.increment(Counter::ReceiptsSettled);
        if let Err(close) = connection.session.answer(to.receipt, answer.outcome, downlink, now) {
            return self.close(key, close);
        }
        if connection.download.is_some() && !connection.session.downloads() {
            connection.download = None;
        }
        if was_blocked && !connection.session.blocked() {
            self.make_ready(key);
            self.bell.ring();
        }
        self.wants_flush(key);
    }

    /// A QoS 2 message is being stored: its identifier goes into the same batch (DESIGN 13).
    pub(super) fn keep_identifier(&mut self, device: DeviceId, promise: Option<Promise>) {
        let now = self.now;
        if let Some(packet_id) = promise.and_then(|promise| promise.exactly_once)
            && let Some(state) = self.residents.get_mut(device.into(), now.instant)
        {
            state.keep_received(&mut writing(&mut self.ledger, now), packet_id, None);
        }
    }
}

/// What is to be done for an operation whose payload is JSON.
fn task(to: Address, device: DeviceId, operation: Operation<'_>) -> Result<Task, Outcome> {
    let keys = |keys: Option<std::borrow::Cow<'_, str>>| {
        keys.map(|keys| keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect())
    };
    Ok(Task::Deed(match operation {
        Operation::Telemetry { payload, .. } => Deed::Telemetry { payload: payload.into() },
        Operation::Attributes { payload, .. } => Deed::Attributes { payload: payload.into() },
        Operation::AttributesRequest { id, payload, .. } => {
            let request = payload::attributes_request(payload).map_err(|_| Outcome::PayloadInvalid)?;
            Deed::AttributesOf { id, client: request.client, shared: request.shared }
        }
        Operation::AttributesOf { client, shared } => Deed::AttributesOf { id: 0, client: keys(client), shared: keys(shared) },
        Operation::RpcRequest { id, payload, .. } => Deed::RpcRequest { id, payload: payload.into() },
        Operation::RpcResponse { id, payload, .. } => Deed::RpcResponse { id, payload: payload.into() },
        Operation::AwaitAttributes { timeout_ms } => Deed::Await { what: Awaited::Attributes, timeout_ms },
        Operation::AwaitRpc { timeout_ms } => Deed::Await { what: Awaited::Rpc, timeout_ms },
        Operation::Claim { payload } => {
            let claim = payload::claim(payload).map_err(|_| Outcome::PayloadInvalid)?;
            let (secret_key, duration_ms) = (claim.secret_key.into_owned(), claim.duration_ms);
            return Ok(Task::Ask(Ask::Claim { device, secret_key, duration_ms }));
        }
        Operation::Provision { payload } => return Ok(Task::Ask(Ask::Provision { payload: payload.to_vec() })),
        Operation::Chunk { package, request, chunk, size } => {
            let text = std::str::from_utf8(size).map_err(|_| Outcome::PayloadInvalid)?.trim();
            let size = if text.is_empty() { 0 } else { text.parse().map_err(|_| Outcome::PayloadInvalid)? };
            let ask = Ask::Piece { device, software: package == Package::Software, chunk, size };
            return Ok(Task::Piece { ask, package, request, chunk });
        }
        Operation::Download { package, title, version, size, chunk } => {
            let (software, named) = (package == Package::Software, (title.into_owned(), version.into_owned()));
            let download = Download { to, device, software, named, chunk, size, begun: None, given: 0 };
            return Ok(Task::Download(Box::new(download)));
        }
        // Only a connection that was admitted as a gateway may speak for others.
        Operation::Gateway { .. } => return Err(Outcome::Forbidden),
    }))
}
