//! Sessions: the protocol state of one connection, bytes in, intents and bytes out. `now` is an argument. Never asks who a
//! device is, never reads a payload, never touches a socket, never waits.
//!
//! The shard owns the loop: it feeds [`Session::next`], does what each [`Intent`] says, settles receipts after their durable
//! ticket, and sends what [`Session::output`] holds. An `Err` of any verb means: call [`Session::close`], send, close.

pub mod harness;
mod mqtt;
#[cfg(test)]
mod tests;

pub use mqtt::Session;

use crate::codec::mqtt::{DecodeError, ReasonCode, Version};

/// A promise to acknowledge one message of this connection; numbered from 0 in arrival order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// What a client shows of itself in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The user name: ThingsBoard's access token. Empty if none was given.
    pub token: &'a str,
    /// May be empty: the session then assigns one (MQTT 5) or treats it as unique (3.1.1).
    pub client_id: &'a str,
    pub has_password: bool,
}

/// What the shard must do. `receipt` is `Some` where the message must be settled by [`Session::settle`] (QoS 1); a QoS 0
/// message that is refused goes to [`Session::refuse_unacked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent<'a> {
    /// CONNECT arrived: call [`Session::admit`] or [`Session::refuse`]. Nothing behind it is parsed before that.
    Admit(Credential<'a>),
    Telemetry {
        payload: &'a [u8],
        receipt: Option<Receipt>,
    },
    /// Client-scope attributes.
    Attributes {
        payload: &'a [u8],
        receipt: Option<Receipt>,
    },
    AttributesRequest {
        id: u32,
        payload: &'a [u8],
        receipt: Option<Receipt>,
    },
    /// A call of the device to the server.
    RpcRequest {
        id: u32,
        payload: &'a [u8],
        receipt: Option<Receipt>,
    },
    /// The device's answer to a call of the server.
    RpcResponse {
        id: u32,
        payload: &'a [u8],
        receipt: Option<Receipt>,
    },
    /// A topic that is not the device's (DESIGN 28): settle with [`Outcome::TopicInvalid`], count.
    UnknownTopic {
        receipt: Option<Receipt>,
    },
    /// The SUBACK is queued.
    Subscribed,
    /// The UNSUBACK is queued.
    Unsubscribed,
    /// The PINGRESP is queued.
    Ping,
    /// The client said goodbye: close without a word.
    Disconnect {
        with_will: bool,
    },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its ticket is durable.
    Stored,
    PayloadInvalid,
    TopicInvalid,
    QuotaExceeded,
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
            Self::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
            Self::Unspecified => ReasonCode::UNSPECIFIED_ERROR,
        }
    }

    /// Why the connection closes where the protocol has no way to refuse one message. An unknown topic never closes:
    /// clients would only reconnect and send it again (DESIGN 28).
    fn close_reason(self) -> Option<Reason> {
        match self {
            Self::Stored | Self::TopicInvalid => None,
            Self::PayloadInvalid => Some(Reason::PayloadInvalid),
            Self::QuotaExceeded => Some(Reason::QuotaExceeded),
            Self::Unspecified => Some(Reason::Unspecified),
        }
    }
}

/// What goes to the device; `json` is the whole payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downlink<'a> {
    AttributesUpdated { json: &'a [u8] },
    AttributesResponse { id: u32, json: &'a [u8] },
    RpcRequest { id: u32, json: &'a [u8] },
    RpcResponse { id: u32, json: &'a [u8] },
}

/// Whether a downlink is in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Queued,
    /// The device did not subscribe to its topic, or is not connected.
    NotSubscribed,
    /// Too many are unacknowledged or unsent: not now.
    Full,
    /// Larger than the client accepts [MQTT-3.1.2-24]: never.
    TooLarge,
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
    AuthenticationMethod,
    WillQosNotSupported,
    WillRetainNotSupported,
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
                Self::AuthenticationMethod => ReasonCode::BAD_AUTHENTICATION_METHOD,
                Self::WillQosNotSupported => ReasonCode::QOS_NOT_SUPPORTED,
                Self::WillRetainNotSupported => ReasonCode::RETAIN_NOT_SUPPORTED,
                Self::PacketSizeTooSmall => ReasonCode::PACKET_TOO_LARGE,
            };
        }
        match self {
            Self::Version(_) => ReasonCode::RETURN_UNACCEPTABLE_VERSION,
            Self::ClientIdInvalid => ReasonCode::RETURN_IDENTIFIER_REJECTED,
            Self::Unavailable | Self::RateExceeded => ReasonCode::RETURN_SERVER_UNAVAILABLE,
            Self::BadCredential
            | Self::NotAuthorized
            | Self::AuthenticationMethod
            | Self::WillQosNotSupported
            | Self::WillRetainNotSupported
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
    QosNotSupported,
    RetainNotSupported,
    SubscriptionIdsNotSupported,
    /// A payload above the bound, or an answer that the client is too small for.
    PacketTooLarge,
    /// CONNECT was answered with a refusal.
    Refused(Refusal),
    PayloadInvalid,
    QuotaExceeded,
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
            Self::Decode(error) => error.reason_code(),
            Self::UnexpectedPacket => ReasonCode::PROTOCOL_ERROR,
            Self::ReceiveMaximumExceeded => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::TopicAliasInvalid => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::QosNotSupported => ReasonCode::QOS_NOT_SUPPORTED,
            Self::RetainNotSupported => ReasonCode::RETAIN_NOT_SUPPORTED,
            Self::SubscriptionIdsNotSupported => ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::PayloadInvalid => ReasonCode::PAYLOAD_FORMAT_INVALID,
            Self::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
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
                | Self::QosNotSupported
                | Self::RetainNotSupported
                | Self::SubscriptionIdsNotSupported
                | Self::PacketTooLarge
                | Self::Refused(Refusal::Version(_))
        )
    }
}
