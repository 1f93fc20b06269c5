//! Sessions: the protocol state of one connection, bytes in, intents and bytes out. `now` is an argument. Never asks who a
//! device is, never reads a payload, never touches a socket, never waits.
//!
//! The shard owns the loop: it feeds [`Session::next`], does what each [`Intent`] says, settles receipts after their durable
//! ticket, and sends what [`Session::output`] holds. An `Err` of any verb means: call [`Session::close`], send, close.

mod any;
pub mod harness;
pub mod http;
mod mqtt;
mod operation;
#[cfg(test)]
mod tests;
mod wording;

pub use any::AnySession;
pub use mqtt::{Session, carries_attributes, carries_rpc, will_operation};
pub use operation::{Format, GatewayOperation, Operation, Package};

use std::sync::Arc;

use crate::codec::http::Forwarded;
use crate::codec::mqtt::{DecodeError, ReasonCode, Version};

/// A promise to acknowledge one message of this connection; numbered from 0 in arrival order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// What a client shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// ThingsBoard's access token, or the user name of MQTT basic credentials.
    pub user_name: Option<&'a str>,
    /// May be empty: the session then assigns one (MQTT 5) or treats it as unique (3.1.1).
    pub client_id: &'a str,
    pub password: Option<&'a [u8]>,
}

/// What CONNECT says about the session it wants, besides who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    pub credential: Credential<'a>,
    /// A session that is kept is thrown away.
    pub clean_start: bool,
    /// How long the session is to be kept after the connection ends, in seconds; `u32::MAX`: without end. 0: not at all.
    pub expiry_s: u32,
    pub will: Option<Will<'a>>,
}

/// What the device wants to have said when its connection ends without a goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// How long to wait for the device's return before it is said, in seconds.
    pub delay_s: u32,
}

/// How a message is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub receipt: Receipt,
    /// MQTT QoS 2: this identifier goes into the message's batch and is deleted by [`Intent::Release`] (DESIGN 8.4, 13).
    pub exactly_once: Option<u16>,
}

/// What the shard must do. What has a promise must be settled by [`Session::settle`] or [`Session::answer`]; a QoS 0 message that
/// is refused goes to [`Session::refuse_unacked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent<'a> {
    /// CONNECT arrived: call [`Session::admit`] or [`Session::refuse`]. Nothing behind it is parsed before that.
    Admit(Wish<'a>),
    /// An operation of the admitted device.
    Operation { operation: Operation<'a>, promise: Option<Promise> },
    /// An operation of whoever shows `token`: a transport without sessions.
    /// `forwarded`: for whom it was passed on, if whoever did so is to be believed.
    Request { token: &'a str, operation: Operation<'a>, receipt: Receipt, forwarded: Option<Forwarded<'a>> },
    /// PUBREL: the identifier of a QoS 2 message may be forgotten. Settled when that is durable; PUBCOMP leaves then.
    Release { packet_id: u16, receipt: Receipt },
    /// A topic that is not the device's (DESIGN 28): settle with [`Outcome::TopicInvalid`], count.
    UnknownTopic { promise: Option<Promise> },
    /// The device has a downlink that was delivered with this number.
    Acknowledged { number: u64 },
    /// The SUBACK is queued; what is subscribed to has changed.
    Subscribed,
    /// The UNSUBACK is queued; what is subscribed to may have changed.
    Unsubscribed,
    /// The PINGRESP is queued.
    Ping,
    /// The client said goodbye: close without a word. `expiry_s`: it changed its mind about how long the session is kept.
    Disconnect { with_will: bool, expiry_s: Option<u32> },
    /// From here on the connection speaks MQTT in WebSocket frames; the 101 is queued.
    Upgrade,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its ticket is durable.
    Stored,
    PayloadInvalid,
    TopicInvalid,
    /// A bound of what the platform keeps: keys, devices, state.
    QuotaExceeded,
    /// Too much at once; `Retry-After` in seconds.
    RateExceeded {
        retry_after_s: u32,
    },
    /// What it is about does not exist.
    NotFound,
    /// Nobody has this token.
    Unauthorized,
    /// The token is good and its device may not do this, or is gone.
    Forbidden,
    /// Nothing came in time.
    TimedOut,
    /// Not now; later the same will do.
    Unavailable,
    Unspecified,
}

impl Outcome {
    /// What an MQTT 5 PUBACK says.
    #[must_use]
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Stored => ReasonCode::SUCCESS,
            Self::PayloadInvalid => ReasonCode::PAYLOAD_FORMAT_INVALID,
            Self::TopicInvalid => ReasonCode::TOPIC_NAME_INVALID,
            Self::QuotaExceeded | Self::RateExceeded { .. } => ReasonCode::QUOTA_EXCEEDED,
            Self::Unauthorized | Self::Forbidden => ReasonCode::NOT_AUTHORIZED,
            // 0x83: valid, and not now.
            Self::NotFound | Self::TimedOut | Self::Unavailable => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
            Self::Unspecified => ReasonCode::UNSPECIFIED_ERROR,
        }
    }

    /// Why the connection closes where the protocol has no way to refuse one message. An unknown topic never closes:
    /// clients would only reconnect and send it again (DESIGN 28).
    fn close_reason(self) -> Option<Reason> {
        match self {
            Self::Stored | Self::TopicInvalid | Self::NotFound | Self::TimedOut => None,
            Self::PayloadInvalid => Some(Reason::PayloadInvalid),
            Self::QuotaExceeded => Some(Reason::QuotaExceeded),
            Self::RateExceeded { .. } => Some(Reason::RateExceeded),
            Self::Unavailable => Some(Reason::Unavailable),
            Self::Unauthorized | Self::Forbidden | Self::Unspecified => Some(Reason::Unspecified),
        }
    }
}

/// What goes to the device; `json` is the whole payload. `Download` is the beginning of a download of `length` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downlink<'a> {
    AttributesUpdated { json: &'a [u8] },
    AttributesResponse { id: u32, json: &'a [u8] },
    RpcRequest { id: u32, json: &'a [u8] },
    RpcResponse { id: u32, json: &'a [u8] },
    Provisioned { json: &'a [u8] },
    Chunk { package: Package, request: u32, chunk: u32, bytes: &'a [u8] },
    ChunkError { package: Package, text: &'a str },
    Download { length: u64, bytes: &'a [u8] },
    GatewayAttributesUpdated { json: &'a [u8] },
    GatewayAttributesResponse { json: &'a [u8] },
    GatewayRpcRequest { json: &'a [u8] },
    GatewayDisconnect { json: &'a [u8] },
}

/// How a downlink is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Comes back in [`Intent::Acknowledged`]; 0: nobody asks.
    pub number: u64,
    /// Kept sessions: the identifier that lies on disk with the downlink. `None`: any that is free.
    pub packet_id: Option<u16>,
    /// It was sent before, on an earlier connection.
    pub again: bool,
}

/// Whether a downlink is in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The device will acknowledge it.
    Queued,
    /// It goes with QoS 0: nothing more will be heard of it.
    QueuedUnacked,
    /// The device did not subscribe to its topic, or is not connected.
    NotSubscribed,
    /// Too many are unacknowledged or unsent: not now.
    Full,
    /// Larger than the client accepts [MQTT-3.1.2-24]: never.
    TooLarge,
}

/// What the shard grants a session.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// The session as it was kept; `None`: a new one.
    pub kept: Option<Kept>,
    /// How long it will be kept, in seconds.
    pub expiry_s: u32,
    /// Topics of the device's profile besides ThingsBoard's own.
    pub topics: Option<Arc<Topics>>,
    /// May speak of children.
    pub gateway: bool,
    /// May do nothing but [`Operation::Provision`].
    pub provisioning: bool,
}

/// What of a session outlives its connection, besides its downlinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Filter and granted QoS, in no order.
    pub subscriptions: Vec<(String, u8)>,
    /// Identifiers of QoS 2 messages that were stored and not released.
    pub received: Vec<u16>,
}

/// A profile's own topics (ThingsBoard's MQTT transport configuration). `+` and `#` as in filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    pub telemetry: String,
    pub attributes: String,
    /// Where changes of shared attributes go; a filter the device may subscribe to.
    pub attributes_subscribe: String,
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Protocol level that this server does not speak.
    Version(u8),
    ClientIdInvalid,
    BadCredential,
    NotAuthorized,
    /// The server cannot serve this device now.
    Unavailable,
    RateExceeded,
    /// The device's tenant has as many connections as it may.
    QuotaExceeded,
    AuthenticationMethod,
    /// The will is to a topic that is none of the device's own ([`Session::will`]).
    WillTopicInvalid,
    /// The client accepts too small packets to be told anything.
    PacketSizeTooSmall,
}

impl Refusal {
    /// The code in CONNACK (reference: ThingsBoard's codes, 3.1.1 return codes and MQTT 5 reason codes).
    #[must_use]
    pub fn code(self, version: Version) -> ReasonCode {
        if version == Version::V5 {
            return match self {
                Self::Version(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
                Self::ClientIdInvalid => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                Self::BadCredential => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                Self::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
                Self::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
                Self::RateExceeded => ReasonCode::CONNECTION_RATE_EXCEEDED,
                Self::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
                Self::AuthenticationMethod => ReasonCode::BAD_AUTHENTICATION_METHOD,
                Self::WillTopicInvalid => ReasonCode::TOPIC_NAME_INVALID,
                Self::PacketSizeTooSmall => ReasonCode::PACKET_TOO_LARGE,
            };
        }
        match self {
            Self::Version(_) => ReasonCode::RETURN_UNACCEPTABLE_VERSION,
            Self::ClientIdInvalid => ReasonCode::RETURN_IDENTIFIER_REJECTED,
            Self::Unavailable | Self::RateExceeded | Self::QuotaExceeded => ReasonCode::RETURN_SERVER_UNAVAILABLE,
            Self::BadCredential
            | Self::NotAuthorized
            | Self::AuthenticationMethod
            | Self::WillTopicInvalid
            | Self::PacketSizeTooSmall => ReasonCode::RETURN_NOT_AUTHORIZED,
        }
    }
}

/// The connection ends; pass it to [`Session::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    pub reason: Reason,
}

impl From<Reason> for Close {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The bytes are no packet.
    Decode(DecodeError),
    /// A well-formed packet that may not come now: before CONNECT, a second CONNECT, a part of a flow that never began.
    UnexpectedPacket,
    /// More unacknowledged publishes than the receive maximum (MQTT 5).
    ReceiveMaximumExceeded,
    TopicAliasInvalid,
    SubscriptionIdsNotSupported,
    /// A payload above the bound, or an answer that the client is too small for.
    PacketTooLarge,
    /// CONNECT was answered with a refusal.
    Refused(Refusal),
    PayloadInvalid,
    QuotaExceeded,
    /// More messages than a limit allows.
    RateExceeded,
    Unspecified,
    /// No CONNECT in time.
    ConnectTimeout,
    /// Silence for 1.5 keep-alive periods.
    KeepAlive,
    /// The device connected again.
    TakenOver,
    /// The device or its credential was deleted.
    Revoked,
    ShuttingDown,
    /// The store cannot take messages.
    Unavailable,
    PeerClosed,
    /// The peer does not read what it is sent.
    SlowPeer,
}

impl Reason {
    /// What an MQTT 5 DISCONNECT says; `None` where none is sent: the peer is gone, does not read, or knows already.
    #[must_use]
    pub fn disconnect_code(self) -> Option<ReasonCode> {
        Some(match self {
            // A second CONNECT is a protocol error, and 0x84 exists for CONNACK only (MQTT 5, 3.14.2.1).
            Self::Decode(DecodeError::ProtocolName | DecodeError::ProtocolLevel(_)) => ReasonCode::PROTOCOL_ERROR,
            Self::Decode(error) => error.reason_code(),
            Self::UnexpectedPacket => ReasonCode::PROTOCOL_ERROR,
            Self::ReceiveMaximumExceeded => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::TopicAliasInvalid => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::SubscriptionIdsNotSupported => ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::PayloadInvalid => ReasonCode::PAYLOAD_FORMAT_INVALID,
            Self::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
            Self::RateExceeded => ReasonCode::MESSAGE_RATE_TOO_HIGH,
            Self::Unspecified => ReasonCode::UNSPECIFIED_ERROR,
            Self::KeepAlive => ReasonCode::KEEP_ALIVE_TIMEOUT,
            Self::TakenOver => ReasonCode::SESSION_TAKEN_OVER,
            Self::Revoked => ReasonCode::ADMINISTRATIVE_ACTION,
            Self::ShuttingDown => ReasonCode::SERVER_SHUTTING_DOWN,
            // 0x88 exists for CONNACK only (MQTT 5, 3.14.2.1).
            Self::Unavailable => ReasonCode::SERVER_BUSY,
            Self::Refused(_) | Self::ConnectTimeout | Self::PeerClosed | Self::SlowPeer => return None,
        })
    }

    /// The peer broke the protocol, as opposed to something that happens in a healthy system.
    #[must_use]
    pub fn is_protocol_error(self) -> bool {
        matches!(
            self,
            Self::Decode(_)
                | Self::UnexpectedPacket
                | Self::ReceiveMaximumExceeded
                | Self::TopicAliasInvalid
                | Self::SubscriptionIdsNotSupported
                | Self::PacketTooLarge
                | Self::Refused(Refusal::Version(_))
        )
    }
}
