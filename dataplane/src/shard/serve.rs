//! Serving one connection: gather its bytes, advance its session, admit whoever it is, pass on what it said.

use std::sync::Arc;

use schemas::id::{DeviceId, EntityId, Partition, TenantId};

use super::connection::{Admitted, Connection, Identity, Standing};
use super::mesh::Moved;
use super::residents::{Parked, Parking};
use super::slab::Key;
use super::turn::Shard;
use crate::auth;
use crate::limits;
use crate::metric::Counter;
use crate::rules::Plan;
use crate::session::{Close, Credential, Intent, Outcome, Reason, Receipt, Refusal};
use crate::transport::{Received, Socket};

/// Whether the session may be asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Stop,
    /// Nothing was done: the same bytes are looked at again later.
    Again,
}

impl Shard {
    /// Reads what is there and advances the session as far as it goes; how many bytes that consumed.
    pub(super) fn serve(&mut self, key: Key) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        connection.queued = false;
        if matches!(connection.standing, Standing::Loading(_)) {
            return 0;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut length = connection.unread.len();
        scratch[..length].copy_from_slice(&connection.unread);
        let mut ended = false;
        // When much is kept already, whoever keeps most reads in small pieces (DESIGN 8.4, 14).
        let tenant = connection.tenant();
        let scarce = self.ready.kept_bytes() > self.pools.partial_bytes / 2 && self.ready.above_share(tenant);
        let room = if scarce { scratch.len().min(length + limits::SCARCE_READ_BYTES) } else { scratch.len() };
        if length < room && connection.wants_service() {
            match connection.socket.receive(&mut scratch[length..room]) {
                Received::Bytes(count) => {
                    length += count;
                    // A short read took everything, so the next byte is a new edge (epoll(7)).
                    connection.readable = length == room || connection.ended;
                }
                Received::Nothing => connection.readable = false,
                Received::End => ended = true,
            }
        }
        let mut input = &scratch[..length];
        self.advance(key, &mut input);
        if ended {
            self.close(key, Close::from(Reason::PeerClosed));
        }
        if let Some(connection) = self.connections.get_mut(key)
            && (!input.is_empty() || !connection.unread.is_empty())
        {
            let kept = connection.unread.len();
            connection.unread = input.into();
            self.ready.keep(connection.tenant(), kept, input.len());
        }
        let consumed = length - input.len();
        self.scratch = scratch;
        self.keep_to_the_pool(key);
        self.wants_flush(key);
        self.served(key);
        consumed
    }

    /// Closes the connection that made all keep more than they may together, those of tenants above their share a little
    /// earlier (DESIGN 8.2, 6 and 8.4, 14).
    fn keep_to_the_pool(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let most = self.pools.partial_bytes;
        let most = if self.ready.above_share(connection.tenant()) { most / 8 * 7 } else { most };
        if !connection.unread.is_empty() && self.ready.kept_bytes() > most {
            self.counters.increment(Counter::ConnectionsShed);
            self.close(key, Close::from(Reason::Unavailable));
        }
    }

    fn advance(&mut self, key: Key, input: &mut &[u8]) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let whole = *input;
            match connection.session.next(input, self.now.instant) {
                Ok(None) => return,
                Ok(Some(intent)) => match self.take_intent(key, intent, whole) {
                    Flow::More => {}
                    Flow::Stop => return,
                    Flow::Again => {
                        *input = whole;
                        return;
                    }
                },
                Err(close) => {
                    return self.close(key, close);
                }
            }
        }
    }

    fn take_intent(&mut self, key: Key, intent: Intent<'_>, whole: &[u8]) -> Flow {
        match intent {
            Intent::Admit(credential) => self.admit(key, &credential, whole),
            Intent::Telemetry { payload, receipt } => self.telemetry(key, payload, receipt),
            Intent::Attributes { payload, receipt } => self.attributes(key, payload, receipt),
            Intent::AttributesRequest { id, payload, receipt } => self.attributes_request(key, id, payload, receipt),
            Intent::RpcRequest { id, payload, receipt } => self.rpc_request(key, id, payload, receipt),
            // No server-side call is ever open in this version, so there is nothing it could answer.
            Intent::RpcResponse { receipt, .. } => self.settle_later(key, receipt, Outcome::Stored),
            Intent::UnknownTopic { receipt } => {
                self.counters.increment(Counter::TopicsUnknown);
                self.settle_later(key, receipt, Outcome::TopicInvalid)
            }
            Intent::Subscribed | Intent::Unsubscribed | Intent::Ping => self.touched(key),
            Intent::Disconnect { .. } => {
                self.close(key, Close::from(Reason::PeerClosed));
                Flow::Stop
            }
        }
    }

    /// The credential's device, its owner, its state: CONNACK only when all are at hand (DESIGN 11, 19).
    fn admit(&mut self, key: Key, credential: &Credential<'_>, whole: &[u8]) -> Flow {
        let Ok(entry) = auth::admit(&self.directory, credential.token) else {
            return self.refuse(key, Refusal::BadCredential);
        };
        let entity = EntityId::from(entry.device);
        let owner = self.placement.shard_of(Partition::of(entity));
        if owner != self.index {
            return self.hand_over(key, owner, whole);
        }
        if self.table.device(entry.device).is_none() {
            return self.refuse(key, Refusal::NotAuthorized);
        }
        let identity = Identity { device: entry.device, credential: entry.credential };
        if self.residents.contains(entity) {
            self.admitted(key, identity);
            return Flow::More;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.standing = Standing::Loading(identity);
        }
        match self.residents.park(entity, Parked::Connection(key)) {
            Parking::Load => self.loads.push_back(entity),
            Parking::Waiting => {}
            Parking::Full(_) => return self.refuse(key, Refusal::Unavailable),
        }
        Flow::Stop
    }

    /// Take-over, CONNACK and the connect event of a device whose state is here.
    pub(super) fn admitted(&mut self, key: Key, identity: Identity) {
        if let Some(earlier) = self.sessions.get(&identity.device).copied()
            && earlier != key
        {
            self.counters.increment(Counter::SessionsTakenOver);
            self.close(earlier, Close::from(Reason::TakenOver));
        }
        let plan = self.plan_of(identity.device);
        let generation = self.generation;
        let tenant = self.table.device(identity.device).map_or(TenantId(uuid::Uuid::nil()), |facts| facts.tenant);
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What it keeps is on its tenant's account from now on.
        let kept = connection.unread.len();
        self.ready.keep(connection.tenant(), kept, 0);
        self.ready.keep(tenant, 0, kept);
        connection.standing = Standing::Admitted(Box::new(Admitted { identity, tenant, plan, generation }));
        connection.session.admit(self.now.instant);
        self.sessions.insert(identity.device, key);
        self.residents.hold(identity.device.into());
        self.counters.increment(Counter::SessionsAdmitted);
        self.connect_event(identity.device);
        self.wants_flush(key);
    }

    /// Tells the peer why it may not come in, and ends the connection.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal) -> Flow {
        self.counters.increment(Counter::SessionsRefused);
        if let Some(connection) = self.connections.get_mut(key) {
            let close = connection.session.refuse(refusal);
            self.close(key, close);
        }
        Flow::Stop
    }

    /// Gives the order to hand a connection over; it stays unread until there is room (DESIGN 11).
    fn hand_over(&mut self, key: Key, owner: u16, whole: &[u8]) -> Flow {
        if !self.mesh.has_room(owner) {
            // A later turn finds the CONNECT again: nothing of it is kept in the session.
            if let Some(connection) = self.connections.get_mut(key) {
                connection.session = crate::session::Session::new(connection.accepted);
            }
            self.crowded.push(key);
            return Flow::Again;
        }
        let Some(connection) = self.connections.remove(key) else { return Flow::Stop };
        self.forget_bytes(&connection);
        if let Err(error) = self.set.remove(&connection.socket) {
            tracing::warn!(%error, "a connection that is handed over was not watched");
        }
        let moved = Moved { stream: connection.socket.release(), bytes: whole.into(), accepted: connection.accepted };
        // There was room, and nobody else sends from here.
        if self.mesh.send(owner, Box::new(moved)).is_ok() {
            self.counters.increment(Counter::ConnectionsHandedOver);
        }
        Flow::Stop
    }

    /// Ends a connection: says why where the protocol has a word for it, forgets it, lets its task linger.
    pub(super) fn close(&mut self, key: Key, close: Close) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        self.forget_bytes(&connection);
        connection.session.close(close);
        let output = std::mem::take(connection.session.output());
        if !connection.writing {
            // Whatever does not fit now is not worth waiting for.
            let _sent = connection.socket.send(&output);
        }
        if close.reason.is_protocol_error() {
            self.counters.increment(Counter::ProtocolErrors);
        } else if close.reason == Reason::KeepAlive {
            self.counters.increment(Counter::KeepAliveExpired);
        }
        connection.socket.finish();
        self.linger(connection.socket, close);
        if let Standing::Admitted(admitted) = connection.standing {
            let device = admitted.identity.device;
            self.residents.let_go(device.into());
            if self.sessions.get(&device) == Some(&key) {
                self.sessions.remove(&device);
                self.disconnect_event(device);
            }
        }
    }

    /// A connection has gone: what it kept no longer counts.
    fn forget_bytes(&mut self, connection: &Connection) {
        self.ready.keep(connection.tenant(), connection.unread.len(), 0);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(connection.unsent_bytes);
    }

    /// Keeps a socket until its peer is done reading and writing, for a while.
    fn linger(&mut self, socket: Socket, close: Close) {
        let until = self.now.instant.after_ms(limits::LINGER_MS);
        // Whoever ended it is not waited for; neither is anybody when the process ends.
        if close.reason == Reason::PeerClosed || self.lingering.len() >= limits::LINGERING_PER_SHARD_MAX {
            return;
        }
        let Some(key) = self.lingering.insert((until, socket)) else { return };
        let renamed = self.lingering.get(key).map(|(_, socket)| self.set.rename(socket, key.token(true)));
        if !matches!(renamed, Some(Ok(()))) {
            self.lingering.remove(key);
        }
    }

    /// Acks in this turn's ticket (which is the newest written one if this turn writes nothing).
    pub(super) fn settle_later(&mut self, key: Key, receipt: Option<Receipt>, outcome: Outcome) -> Flow {
        match receipt {
            Some(receipt) => {
                self.ledger.owe(super::ledger::Owed::Receipt { connection: key, receipt, outcome });
                Flow::More
            }
            None if outcome == Outcome::PayloadInvalid => {
                let refused = self.connections.get_mut(key).map(|connection| connection.session.refuse_unacked(outcome));
                if let Some(Err(close)) = refused {
                    self.close(key, close);
                    return Flow::Stop;
                }
                Flow::More
            }
            None => Flow::More,
        }
    }

    pub(super) fn settle_receipt(&mut self, key: Key, receipt: Receipt, outcome: Outcome) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_blocked = connection.session.blocked();
        self.counters.increment(Counter::ReceiptsSettled);
        if let Err(close) = connection.session.settle(receipt, outcome) {
            return self.close(key, close);
        }
        if was_blocked && !connection.session.blocked() {
            self.make_ready(key);
            self.bell.ring();
        }
        self.wants_flush(key);
    }

    /// The plan that evaluates a device's messages; one that does nothing if there is none.
    pub(super) fn plan_of(&self, device: DeviceId) -> Arc<Plan> {
        self.table.plan_of_device(device).cloned().unwrap_or_default()
    }

    fn touched(&mut self, key: Key) -> Flow {
        if let Some(identity) = self.connections.get(key).and_then(Connection::identity)
            && let Some(state) = self.residents.get_mut(identity.device.into(), self.now.instant)
            && state.touched(self.now.timestamp)
        {
            self.awoke(identity.device);
        }
        Flow::More
    }
}
