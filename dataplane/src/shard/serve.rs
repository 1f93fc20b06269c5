//! Serving one connection: gather its bytes, advance its session, pass on what it said, end it.

use std::rc::Rc;

use schemas::config::Payload;
use schemas::id::{DeviceId, TenantId};

use super::channel::Channel;
use super::connection::{Connection, Standing};
use super::saving::writing;
use super::slab::Key;
use super::turn::Shard;
use crate::limits;
use crate::metric::Counter;
use crate::quota::Start;
use crate::rules::Running;
use crate::session::{AnySession, Close, Intent, Outcome, Reason, Receipt};
use crate::transport::{Fault, Received};

/// Whether the session may be asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Stop,
    /// Nothing was done: the same bytes are looked at again later.
    Again,
}

impl Shard {
    /// Reads what is there and advances the session as far as it goes; how many bytes that consumed, or were worth it.
    pub(super) fn serve(&mut self, key: Key) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        connection.queued = false;
        if connection.waits() {
            return 0;
        }
        if connection.asks_others() && !self.mesh.has_room_everywhere() {
            self.crowded.push(key);
            return 0;
        }
        if !self.may_shake_hands(key) {
            return 0;
        }
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut length = connection.unread.len();
        scratch[..length].copy_from_slice(&connection.unread);
        let (mut ended, mut work) = (false, 0);
        // When much is kept already, whoever keeps most reads in small pieces (DESIGN 8.4, 14).
        let tenant = connection.tenant();
        let scarce = self.ready.kept_bytes() > self.pools.partial_bytes / 2 && self.ready.above_share(tenant);
        let room = if scarce { scratch.len().min(length + limits::SCARCE_READ_BYTES) } else { scratch.len() };
        if length < room && connection.wants_service() {
            let peer = connection.channel.peer;
            if connection.channel.stream.is_handshaking() {
                work = limits::HANDSHAKE_TURN_BYTES;
            }
            match connection.channel.receive(&mut scratch[length..room]) {
                Received::Bytes { count, more } => {
                    length += count;
                    // Whoever took everything hears of the next byte by a new edge (epoll(7)).
                    connection.readable = more || connection.ended;
                }
                Received::Nothing => connection.readable = false,
                Received::End => ended = true,
                Received::Broken(fault) => {
                    self.counters.increment(fault_counter(fault));
                    ended = true;
                }
            }
            if let Some(place) = &mut connection.place {
                if !connection.channel.stream.is_handshaking() {
                    self.admission.handshaken(place);
                }
                // A balancer has said who it really is.
                if peer != connection.channel.peer && self.admission.identified(place, connection.channel.peer).is_err() {
                    ended = true;
                }
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
        // A handshake consumes nothing that a session sees; without a price a storm of them would be one turn.
        consumed.max(work)
    }

    /// Whether a connection that begins with TLS may go on: a storm of them is served at a pace that leaves time for others.
    fn may_shake_hands(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let Some(place) = connection.place.as_mut().filter(|_| connection.channel.stream.is_handshaking()) else { return true };
        match self.admission.handshake(place, self.now.instant) {
            Start::Now => true,
            Start::Later(_) => {
                self.crowded.push(key);
                false
            }
        }
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
        let mut decoded = std::mem::take(&mut self.decoded);
        while let Some(connection) = self.connections.get_mut(key) {
            let whole = *input;
            let flow = match connection.session.next(input, &mut decoded, self.now) {
                Ok(None) => Flow::Stop,
                Ok(Some(Intent::Upgrade)) => {
                    self.upgrade(key, std::mem::take(input));
                    Flow::Stop
                }
                Ok(Some(intent)) => self.take_intent(key, intent, whole),
                Err(close) => {
                    self.close(key, close);
                    Flow::Stop
                }
            };
            match flow {
                // Others are served before more scripts run for this one.
                Flow::More if self.scripts.spent_us() >= limits::SCRIPT_SERVE_US_MAX => break,
                Flow::More => {}
                Flow::Stop => break,
                Flow::Again => {
                    *input = whole;
                    break;
                }
            }
        }
        self.decoded = decoded;
    }

    /// From here on the connection speaks MQTT in WebSocket frames. `raw`: what was read behind the request.
    fn upgrade(&mut self, key: Key, raw: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let said = std::mem::take(connection.session.output());
        connection.channel.upgrade(said, raw);
        connection.session = AnySession::mqtt(self.now.instant);
        connection.readable |= connection.channel.has_unread();
    }

    fn take_intent(&mut self, key: Key, intent: Intent<'_>, whole: &[u8]) -> Flow {
        match intent {
            Intent::Admit(wish) => self.admit(key, &wish, whole),
            Intent::Operation { operation, promise } => self.operate(key, operation, promise),
            Intent::Request { token, operation, receipt, forwarded } => self.request(key, (token, forwarded), operation, receipt),
            Intent::Release { packet_id, receipt } => self.release(key, packet_id, receipt),
            Intent::UnknownTopic { promise } => {
                self.counters.increment(Counter::TopicsUnknown);
                self.settle_later(key, promise.map(|promise| promise.receipt), Outcome::TopicInvalid)
            }
            Intent::Acknowledged { number } => {
                self.acknowledged(key, number);
                self.touched(key)
            }
            Intent::Subscribed => {
                self.subscribed(key);
                self.touched(key)
            }
            Intent::Unsubscribed => {
                self.keep_subscriptions(key);
                self.touched(key)
            }
            Intent::Ping => self.touched(key),
            Intent::Disconnect { with_will, expiry_s } => {
                self.goodbye(key, with_will, expiry_s);
                Flow::Stop
            }
            // `advance` has the bytes behind it.
            Intent::Upgrade => Flow::Stop,
        }
    }

    /// Ends a connection: says why where the protocol has a word for it, forgets it, lets its task linger.
    pub(super) fn close(&mut self, key: Key, close: Close) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        self.forget(&mut connection);
        connection.session.close(close, self.now);
        let mut output = std::mem::take(connection.session.output());
        if !connection.writing && connection.held == 0 {
            // Whatever does not fit now is not worth waiting for.
            let _sent = connection.channel.send(&mut output);
        }
        if close.reason.is_protocol_error() {
            self.counters.increment(Counter::ProtocolErrors);
        } else if close.reason == Reason::KeepAlive {
            self.counters.increment(Counter::KeepAliveExpired);
        }
        connection.channel.finish();
        self.linger(connection.channel, close);
        if let Standing::Admitted(admitted) = connection.standing {
            let device = admitted.identity.device;
            if let Some(gateway) = &admitted.gateway {
                self.detach_all(key, gateway);
            }
            self.residents.let_go(device.into());
            if self.sessions.get(&device) == Some(&key) {
                self.sessions.remove(&device);
                self.end_session(device);
            }
        }
    }

    /// The device has no connection any more: its session's time begins to run, its will is said.
    fn end_session(&mut self, device: DeviceId) {
        let now = self.now;
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            state.end_session(&mut writing(&mut self.ledger, now), None);
        }
        self.disconnect_event(device);
        self.will_of(device);
    }

    /// The client said goodbye. Only a normal one takes its will back [MQTT-3.14.4-3].
    fn goodbye(&mut self, key: Key, with_will: bool, expiry_s: Option<u32>) {
        let now = self.now;
        if let Some(identity) = self.connections.get(key).and_then(Connection::identity)
            && self.sessions.get(&identity.device) == Some(&key)
            && let Some(state) = self.residents.get_mut(identity.device.into(), now.instant)
        {
            let mut writing = writing(&mut self.ledger, now);
            if !with_will {
                state.keep_will(&mut writing, None);
            }
            if expiry_s.is_some() {
                state.end_session(&mut writing, expiry_s);
            }
        }
        self.close(key, Close::from(Reason::PeerClosed));
    }

    /// What is subscribed to is part of a kept session: the answer leaves when it is durable (DESIGN 8.1, 3).
    fn keep_subscriptions(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get(key) else { return };
        let Some(identity) = connection.identity() else { return };
        let Some(state) = self.residents.get_mut(identity.device.into(), now.instant) else { return };
        if state.session(now.timestamp).is_some() {
            let subscriptions = connection.session.kept().subscriptions;
            state.keep_subscriptions(&mut writing(&mut self.ledger, now), subscriptions);
            self.hold_output(key);
        }
    }

    /// What waited for a subscription leaves.
    fn subscribed(&mut self, key: Key) {
        self.keep_subscriptions(key);
        if let Some(identity) = self.connections.get(key).and_then(Connection::identity) {
            self.offer_calls(identity.device);
        }
    }

    /// PUBREL: PUBCOMP leaves when the identifier is gone from the disk (DESIGN 13).
    fn release(&mut self, key: Key, packet_id: u16, receipt: Receipt) -> Flow {
        let now = self.now;
        if let Some(identity) = self.connections.get(key).and_then(Connection::identity)
            && let Some(state) = self.residents.get_mut(identity.device.into(), now.instant)
        {
            state.release_received(&mut writing(&mut self.ledger, now), packet_id);
        }
        self.settle_later(key, Some(receipt), Outcome::Stored)
    }

    /// A connection has gone: its place is free and what it kept no longer counts.
    pub(super) fn forget(&mut self, connection: &mut Connection) {
        if let Some(place) = connection.place.take() {
            self.admission.left(place);
        }
        self.ready.keep(connection.tenant(), connection.unread.len(), 0);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(connection.unsent_bytes);
    }

    /// Keeps a socket until its peer is done reading and writing, for a while.
    fn linger(&mut self, channel: Channel, close: Close) {
        let until = self.now.instant.after_ms(limits::LINGER_MS);
        // Whoever ended it is not waited for; neither is anybody when the process ends.
        if close.reason == Reason::PeerClosed || self.lingering.len() >= limits::LINGERING_PER_SHARD_MAX {
            return;
        }
        let Some(key) = self.lingering.insert((until, channel)) else { return };
        let renamed = self.lingering.get(key).map(|(_, channel)| self.set.rename(channel, key.token(true)));
        if !matches!(renamed, Some(Ok(()))) {
            self.lingering.remove(key);
        }
    }

    /// Acks in this turn's ticket (which is the newest written one if this turn writes nothing).
    pub(super) fn settle_later(&mut self, key: Key, receipt: Option<Receipt>, outcome: Outcome) -> Flow {
        self.count_outcome(key, outcome);
        match receipt {
            Some(receipt) => {
                self.ledger.owe(super::ledger::Owed::Receipt { connection: key, receipt, outcome });
                Flow::More
            }
            None if outcome != Outcome::Stored => {
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
        if let Err(close) = connection.session.settle(receipt, outcome, self.now) {
            return self.close(key, close);
        }
        if was_blocked && !connection.session.blocked() {
            self.make_ready(key);
            self.bell.ring();
        }
        self.wants_flush(key);
    }

    /// The plan that evaluates a device's messages; one that does nothing if there is none.
    pub(super) fn plan_of(&self, device: DeviceId) -> Rc<Running> {
        self.table.plan_of_device(device).cloned().unwrap_or_default()
    }

    /// Whose a device is; nil if it is not known here, as before there is a configuration.
    pub(super) fn tenant_of(&self, device: DeviceId) -> TenantId {
        self.table.device(device).map_or(TenantId(uuid::Uuid::nil()), |facts| facts.tenant)
    }

    /// How the devices of this one's profile write their payloads.
    pub(super) fn payload_of(&self, device: DeviceId) -> Payload {
        self.table.device(device).and_then(|facts| facts.mqtt).map(|mqtt| mqtt.payload.clone()).unwrap_or_default()
    }

    fn touched(&mut self, key: Key) -> Flow {
        if let Some(identity) = self.connections.get(key).and_then(Connection::identity) {
            self.heard_of(identity.device);
        }
        Flow::More
    }

    /// A device said something that is no message: it is active.
    pub(super) fn heard_of(&mut self, device: DeviceId) {
        if let Some(state) = self.residents.get_mut(device.into(), self.now.instant)
            && state.touched(self.now.timestamp)
        {
            self.awoke(device);
        }
    }
}

fn fault_counter(fault: Fault) -> Counter {
    match fault {
        Fault::Certificate => Counter::CertificatesRefused,
        Fault::Incompatible | Fault::Refused | Fault::Protocol => Counter::HandshakesFailed,
    }
}
