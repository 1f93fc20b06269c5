//! The MQTT session of one connection. Never parses bytes itself (codec), never decides who may connect (shard and auth).

mod connecting;
mod delivering;
mod exactly_once;
mod filter;
mod inflight;
mod keepalive;
mod publishing;
mod rare;
mod route;
mod subscribing;
mod subscriptions;

use std::borrow::Cow;
use std::sync::Arc;

use connecting::Terms;
use inflight::{Downlinks, Kind, Receipts};
use keepalive::KeepAlive;
use rare::Rare;
use route::Rights;
use subscriptions::Subscriptions;
pub use subscriptions::{carries_attributes, carries_rpc};

use crate::clock::Instant;
use crate::codec::mqtt::{
    self, Acknowledgement, DecodeError, Disconnect, Packet, PacketType, Property, REASON_STRING_BYTES, ReasonCode, Version,
    encode_ack, encode_disconnect, encode_pingresp,
};
use crate::limits;
use crate::session::{
    Close, Delivery, Downlink, Format, Intent, Kept, Operation, Outcome, Reason, Receipt, Refusal, Sending, Topics, Will,
};

/// Protocol state of one connection. Small and without a heap allocation while idle: there are tens of thousands.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    version: Version,
    /// The client asked for session expiry 0; DISCONNECT may then not raise it.
    session_expiry_is_zero: bool,
    /// The session outlives its connection.
    keeps: bool,
    gateway: bool,
    provisioning: bool,
    /// The client wants reason strings in acknowledgements [MQTT-3.1.2-29].
    explains: bool,
    keep_alive: KeepAlive,
    /// What the client accepts (MQTT 5): unacknowledged QoS 1 publishes, bytes of a packet, topic aliases.
    receive_maximum: u16,
    packet_bytes_max: u32,
    topic_alias_maximum: u16,
    topics: Option<Arc<Topics>>,
    subscriptions: Subscriptions,
    receipts: Receipts,
    downlinks: Downlinks,
    outbox: Vec<u8>,
    rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<Session>() <= 256, "an idle session is small");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitingConnect,
    /// CONNECT was read; the shard decides.
    Offered(Terms),
    Connected,
    /// A verb answered with [`Close`]; a DISCONNECT may still be sent.
    Failed,
    Ended,
}

impl Session {
    /// The state of a connection accepted at `accepted`, which has until [`limits::CONNECT_DEADLINE_MS`] to send CONNECT.
    #[must_use]
    pub fn new(accepted: Instant) -> Self {
        Self {
            phase: Phase::AwaitingConnect,
            version: Version::V311,
            session_expiry_is_zero: true,
            keeps: false,
            gateway: false,
            provisioning: false,
            explains: true,
            keep_alive: KeepAlive::until_connect(accepted),
            receive_maximum: u16::MAX,
            packet_bytes_max: u32::MAX,
            topic_alias_maximum: 0,
            topics: None,
            subscriptions: Subscriptions::default(),
            receipts: Receipts::default(),
            downlinks: Downlinks::default(),
            outbox: Vec::new(),
            rare: None,
        }
    }

    /// Consumes whole packets from the front of `input` until one means something to the shard. `None`: more bytes are
    /// needed, or CONNECT is not answered yet, or the session is [`Self::blocked`] or over.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], now: Instant) -> Result<Option<Intent<'a>>, Close> {
        while matches!(self.phase, Phase::AwaitingConnect | Phase::Connected) && !self.blocked() {
            match self.step(input, now) {
                Ok(Step::Intent(intent)) => return Ok(Some(intent)),
                Ok(Step::Done) => {}
                Ok(Step::Incomplete) => return Ok(None),
                Err(reason) => return Err(self.fail(reason)),
            }
        }
        Ok(None)
    }

    /// Whether no more may be read before receipts settle (DESIGN 8.1, 4). An MQTT 5 client knows its receive maximum and is
    /// closed when it exceeds it; it gets here only by repeating itself.
    #[must_use]
    pub fn blocked(&self) -> bool {
        let most = limits::RECEIPTS_PER_CONNECTION_MAX;
        self.receipts.len() >= if self.version == Version::V5 { most * 2 } else { most }
    }

    /// Keeps a promise or breaks it. Acknowledgements leave in arrival order: a settled receipt waits for earlier ones
    /// (DESIGN 8.1, 4). Receipts of a connection that is over settle silently.
    pub fn settle(&mut self, receipt: Receipt, outcome: Outcome) -> Result<(), Close> {
        if self.phase != Phase::Connected {
            return Ok(());
        }
        // Before MQTT 5 a PUBACK always means success. ThingsBoard closes instead; so do we. A PUBCOMP always does.
        if let Some(reason) = outcome.close_reason()
            && (self.version != Version::V5 || self.receipts.kind(receipt) == Some(Kind::Pubcomp))
        {
            return Err(self.fail(reason));
        }
        // Mostly the oldest message is settled first, and well.
        match self.receipts.pop_stored(receipt, outcome) {
            Some(packet_id) => {
                encode_ack(self.version, Acknowledgement::Puback, packet_id, ReasonCode::SUCCESS, None, &mut self.outbox);
            }
            None => self.receipts.settle(receipt, outcome),
        }
        if self.receipts.is_due() {
            self.acknowledge();
        }
        Ok(())
    }

    /// Delivers the answer to a request, then settles its receipt: the answer leaves before the acknowledgement.
    pub fn answer(&mut self, receipt: Option<Receipt>, downlink: Downlink<'_>, now: Instant) -> Result<Delivery, Close> {
        let delivery = self.deliver(downlink, Sending::default(), now);
        if let Some(receipt) = receipt {
            self.settle(receipt, Outcome::Stored)?;
        }
        Ok(delivery)
    }

    /// A QoS 0 message was refused. MQTT 5 could keep the connection, but nothing would tell the device: ThingsBoard closes
    /// for every version, and so do we.
    pub fn refuse_unacked(&mut self, outcome: Outcome) -> Result<(), Close> {
        match outcome.close_reason() {
            Some(reason) if self.phase == Phase::Connected => Err(self.fail(reason)),
            _ => Ok(()),
        }
    }

    /// Queues a message to the device, with the QoS that was granted for its topic. Sending never depends on the time:
    /// MQTT over TCP has no retransmission within a connection [MQTT-4.4.0-1].
    pub fn deliver(&mut self, downlink: Downlink<'_>, sending: Sending, _now: Instant) -> Delivery {
        if self.phase != Phase::Connected {
            return Delivery::NotSubscribed;
        }
        delivering::deliver(self, &downlink, sending)
    }

    /// How the payload of a downlink has to be written where it would go now; `None`: nowhere.
    #[must_use]
    pub fn format(&self, downlink: &Downlink<'_>) -> Option<Format> {
        delivering::format(self, downlink)
    }

    /// Whether a downlink would go to a topic of the first version, where a profile may want JSON all the same.
    #[must_use]
    pub fn is_of_v1(&self, downlink: &Downlink<'_>) -> bool {
        delivering::is_of_v1(self, downlink)
    }

    /// What of this session outlives its connection, as it is now.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let received = self.rare.as_ref().map(|rare| rare.unreleased.listed()).unwrap_or_default();
        Kept { subscriptions: self.subscriptions.listed(), received }
    }

    /// What a will says: telemetry or attributes of the device itself, by ThingsBoard's topics or its profile's. A will to any
    /// other topic refuses an MQTT 5 CONNECT; before, nothing could say why, and it is `None`.
    pub fn will<'a>(&self, will: &Will<'a>, topics: Option<&Topics>) -> Result<Option<Operation<'a>>, Refusal> {
        match route::will(will.topic, will.payload, topics) {
            None if self.version == Version::V5 => Err(Refusal::WillTopicInvalid),
            operation => Ok(operation),
        }
    }

    /// Ends the session: tells an MQTT 5 client why, if it is connected and there is use in telling.
    pub fn close(&mut self, close: Close) {
        let connected = matches!(self.phase, Phase::Connected | Phase::Failed);
        if connected
            && self.version == Version::V5
            && let Some(code) = close.reason.disconnect_code()
        {
            // [MQTT-3.14.2-3]
            let text = close.reason.text();
            encode_disconnect(code, self.bearable(&text), &mut self.outbox);
        }
        self.phase = Phase::Ended;
    }

    /// Encoded bytes waiting to be sent; the shard sends and clears (or takes) them. Allocates nothing while empty.
    pub fn output(&mut self) -> &mut Vec<u8> {
        if self.outbox.is_empty() && self.outbox.capacity() > 0 {
            self.outbox = Vec::new();
        }
        &mut self.outbox
    }

    /// Whether CONNECT was admitted and the session is not over.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Receipts whose acknowledgement is not queued yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.receipts.len()
    }

    /// What the client speaks; 3.1.1 until CONNECT says.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// When [`Self::elapse`] wants to be called: the CONNECT deadline, later 1.5 keep-alive periods after the last packet.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.keep_alive.deadline()
    }

    /// Time has passed.
    pub fn elapse(&mut self, now: Instant) -> Option<Close> {
        if now < self.keep_alive.deadline() {
            return None;
        }
        match self.phase {
            Phase::AwaitingConnect => Some(self.fail(Reason::ConnectTimeout)),
            // The client did its part in time.
            Phase::Offered(_) => Some(self.refuse(Refusal::Unavailable)),
            // DESIGN 14: the silence is ours while we do not read.
            Phase::Connected if self.keep_alive.is_paused() || self.blocked() => {
                self.keep_alive.touch(now);
                None
            }
            // [MQTT-3.1.2-24] (3.1.1), [MQTT-3.1.2-22] (5): one and a half times the keep-alive without a packet.
            Phase::Connected => Some(self.fail(Reason::KeepAlive)),
            Phase::Failed | Phase::Ended => None,
        }
    }

    /// The shard stops reading this connection: keep-alive does not run (DESIGN 14).
    pub fn pause(&mut self) {
        self.keep_alive.pause();
    }

    /// The shard reads again: a whole keep-alive period begins.
    pub fn resume(&mut self, now: Instant) {
        self.keep_alive.resume(now, self.phase == Phase::Connected);
    }

    fn fail(&mut self, reason: Reason) -> Close {
        self.phase = if self.phase == Phase::Connected { Phase::Failed } else { Phase::Ended };
        Close { reason }
    }

    fn step<'a>(&mut self, input: &mut &'a [u8], now: Instant) -> Result<Step<'a>, Reason> {
        let connected = self.phase == Phase::Connected;
        // [MQTT-3.1.0-1]: the first packet is CONNECT; its first byte says so before the rest has arrived.
        if !connected && input.first().is_some_and(|&first| PacketType::of_first_byte(first) != Some(PacketType::Connect)) {
            return Err(Reason::UnexpectedPacket);
        }
        if self.outbox.len() > limits::OUTBOX_BYTES_MAX {
            return Err(Reason::SlowPeer);
        }
        let Some(frame) = mqtt::frame(input, limits::PACKET_BYTES_MAX).map_err(Reason::Decode)? else {
            return Ok(Step::Incomplete);
        };
        *input = input.get(frame.bytes..).unwrap_or_default();
        let packet = match mqtt::decode(self.version, &frame) {
            Ok(packet) => packet,
            Err(DecodeError::ProtocolLevel(level)) if !connected => return Err(self.refuse_level(level)),
            Err(error) => return Err(Reason::Decode(error)),
        };
        if !connected {
            return match packet {
                Packet::Connect(connect) => self.offer(&connect, now).map(Step::Intent),
                _ => Err(Reason::UnexpectedPacket),
            };
        }
        self.keep_alive.touch(now);
        self.dispatch(packet)
    }

    fn dispatch<'a>(&mut self, packet: Packet<'a>) -> Result<Step<'a>, Reason> {
        let intent = match packet {
            Packet::Publish(publish) => return publishing::receive(self, &publish),
            // An unknown identifier can be left over from an earlier session, so it is no error.
            Packet::Puback(ack) => match self.downlinks.release(ack.packet_id) {
                Some(number) => Intent::Acknowledged { number },
                None => return Ok(Step::Done),
            },
            Packet::Pubrel(ack) => match exactly_once::release(self, ack.packet_id)? {
                Some(receipt) => Intent::Release { packet_id: ack.packet_id, receipt },
                None => return Ok(Step::Done),
            },
            Packet::Subscribe(subscribe) => return subscribing::subscribe(self, &subscribe),
            Packet::Unsubscribe(unsubscribe) => return subscribing::unsubscribe(self, &unsubscribe),
            Packet::Pingreq => {
                encode_pingresp(&mut self.outbox);
                Intent::Ping
            }
            Packet::Disconnect(disconnect) => self.disconnect(&disconnect)?,
            // [MQTT-3.1.0-2]: a second CONNECT is a protocol error. We never send QoS 2 and accept no authentication method,
            // so the parts of those flows come from nowhere.
            Packet::Connect(_) | Packet::Pubrec(_) | Packet::Pubcomp(_) | Packet::Auth(_) => {
                return Err(Reason::UnexpectedPacket);
            }
        };
        Ok(Step::Intent(intent))
    }

    fn disconnect<'a>(&mut self, disconnect: &Disconnect<'_>) -> Result<Intent<'a>, Reason> {
        let expiry_s = disconnect.properties.iter().find_map(|property| match property {
            Property::SessionExpiryS(seconds) => Some(seconds),
            _ => None,
        });
        // MQTT 5, 3.14.2.2.2: an expiry of 0 may not be raised on leaving.
        if self.session_expiry_is_zero && expiry_s.is_some_and(|seconds| seconds > 0) {
            return Err(Reason::UnexpectedPacket);
        }
        self.phase = Phase::Ended;
        // Nothing is kept of a session that was admitted without.
        let expiry_s = expiry_s.filter(|_| self.keeps).map(|seconds| seconds.min(limits::SESSION_EXPIRY_S_MAX));
        // [MQTT-3.14.4-3] (5), [MQTT-3.1.2-10] (3.1.1): only a normal DISCONNECT discards the will.
        Ok(Intent::Disconnect { with_will: disconnect.code != ReasonCode::SUCCESS, expiry_s })
    }

    /// Queues what is settled, as far as nothing before it is open.
    fn acknowledge(&mut self) {
        while let Some((pending, outcome)) = self.receipts.pop_settled() {
            let (packet, code) = match pending.kind {
                Kind::Puback => (Acknowledgement::Puback, outcome.reason_code()),
                Kind::Pubrec => (Acknowledgement::Pubrec, outcome.reason_code()),
                Kind::Pubcomp if outcome == Outcome::Stored => (Acknowledgement::Pubcomp, ReasonCode::SUCCESS),
                Kind::Pubcomp => (Acknowledgement::Pubcomp, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND),
            };
            // [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.7.2-2]; [MQTT-3.1.2-29]
            let text = if self.explains && code.is_failure() { outcome.text() } else { Cow::Borrowed("") };
            encode_ack(self.version, packet, pending.packet_id, code, self.bearable(&text), &mut self.outbox);
            match pending.kind {
                Kind::Pubrec if pending.is_first() => exactly_once::received(self, pending.packet_id, outcome),
                Kind::Pubcomp if pending.is_first() => exactly_once::completed(self, pending.packet_id),
                _ => {}
            }
        }
    }

    /// A reason string, if there is one and a packet of nothing else is no larger with it than the client accepts.
    fn bearable<'a>(&self, text: &'a str) -> Option<&'a str> {
        let bytes = SMALL_PACKET_BYTES + REASON_STRING_BYTES + text.len();
        let fits = u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.packet_bytes_max);
        (fits && !text.is_empty()).then_some(text)
    }

    fn rights(&self) -> Rights<'_> {
        Rights { topics: self.topics.as_deref(), gateway: self.gateway, provisioning: self.provisioning }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    #[cfg(test)]
    pub(crate) fn rare_is_absent(&self) -> bool {
        self.rare.is_none()
    }

    fn shed_rare(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }
}

/// What a will says when it is time to say it, without a session: see [`Session::will`].
#[must_use]
pub fn will_operation<'a>(topic: &str, payload: &'a [u8], topics: Option<&Topics>) -> Option<Operation<'a>> {
    route::will(topic, payload, topics)
}

/// The longest packet with a reason code and no properties, and one byte more of length.
const SMALL_PACKET_BYTES: usize = 6;

enum Step<'a> {
    Intent(Intent<'a>),
    /// A packet was taken that concerns nobody else.
    Done,
    Incomplete,
}
