//! MQTT 3.1, 3.1.1 and 5 as a server reads and writes it (OASIS "MQTT Version 3.1.1" and "MQTT Version 5.0"); in `client`, what one
//! says that only publishes.
//!
//! [`frame`] finds where a packet ends, [`decode`] reads one in place; the `encode_*` functions append what a server sends.
//! Strict where the specification is: reserved bits, UTF-8 without U+0000, lengths, properties and their values. Total on any
//! bytes; allocates nothing while decoding. Never decides whether a well-formed packet may come now: that is the session's.

mod ack;
pub mod client;
mod connect;
mod field;
pub mod harness;
mod property;
mod publish;
mod reason;
mod subscribe;
#[cfg(test)]
mod tests;

pub use ack::{Ack, Acknowledgement, Auth, Disconnect, REASON_STRING_BYTES, encode_ack, encode_disconnect, encode_pingresp};
pub use connect::{ConnackProperties, Connect, Will, encode_connack};
pub use property::{Properties, Property};
pub use publish::{Outgoing, Publish, encode_publish, outgoing_bytes};
pub use reason::ReasonCode;
pub use subscribe::{Filter, Filters, Names, Subscribe, Unsubscribe, encode_suback, encode_unsuback, suback_bytes};

use crate::codec::cursor::Cursor;

/// Largest value of a variable byte integer (MQTT 5, 1.5.5; 3.1.1, 2.2.3).
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// Protocol version, by the level byte of CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Name "MQIsdp", level 3.
    V31,
    /// Name "MQTT", level 4.
    V311,
    /// Name "MQTT", level 5.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl Qos {
    /// From the two bits of the wire; 3 is malformed [MQTT-3.3.1-4].
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Control packet type, the upper four bits of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type that the first byte of a packet names; 0 is forbidden.
    #[must_use]
    pub fn of_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    const fn first_byte(self, flags: u8) -> u8 {
        ((self as u8) << 4) | flags
    }
}

/// Why bytes are no packet. Copy and free of allocation: it is made on the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a variable byte integer is longer than its value needs or than four bytes")]
    LengthOverlong,
    #[error("the packet is larger than the server accepts")]
    PacketTooLarge,
    #[error("packet type 0 is forbidden, 15 is reserved before MQTT 5")]
    PacketType,
    #[error("only a server sends this packet")]
    ServerPacket,
    #[error("reserved flags of the fixed header have the wrong value")]
    HeaderFlags,
    #[error("a field reaches beyond the end of the packet")]
    Truncated,
    #[error("bytes are left after the last field")]
    TrailingBytes,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a string contains U+0000")]
    NullCharacter,
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    #[error("the connect flags contradict each other or use the reserved bit")]
    ConnectFlags,
    #[error("QoS 3, or DUP with QoS 0")]
    PublishFlags,
    #[error("a topic name is empty or contains a wildcard")]
    TopicName,
    #[error("a topic filter is empty")]
    TopicFilter,
    #[error("packet identifier 0")]
    PacketIdZero,
    #[error("a subscribe or unsubscribe without any topic filter")]
    NoFilter,
    #[error("reserved or invalid bits in the subscription options")]
    SubscriptionOptions,
    #[error("no local on a shared subscription")]
    SharedNoLocal,
    #[error("unknown property")]
    PropertyUnknown,
    #[error("a property that this packet must not have")]
    PropertyNotAllowed,
    #[error("a property given twice")]
    PropertyDuplicate,
    #[error("a property that must come with another is missing")]
    PropertyMissing,
    #[error("a property with a value outside its range")]
    PropertyValue,
    #[error("topic alias 0")]
    TopicAliasZero,
    #[error("a reason code that a client must not send in this packet")]
    ReasonCode,
}

impl DecodeError {
    /// What an MQTT 5 peer is told.
    #[must_use]
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::TopicName => ReasonCode::TOPIC_NAME_INVALID,
            Self::TopicFilter => ReasonCode::TOPIC_FILTER_INVALID,
            Self::TopicAliasZero => ReasonCode::TOPIC_ALIAS_INVALID,
            // MQTT 5, 2.2.2.2, 3.8.3 and 3.14.2: these are protocol errors by name.
            Self::ServerPacket
            | Self::PacketIdZero
            | Self::NoFilter
            | Self::SharedNoLocal
            | Self::PropertyDuplicate
            | Self::PropertyMissing
            | Self::PropertyValue
            | Self::ReasonCode => ReasonCode::PROTOCOL_ERROR,
            Self::LengthOverlong
            | Self::PacketType
            | Self::HeaderFlags
            | Self::Truncated
            | Self::TrailingBytes
            | Self::Utf8
            | Self::NullCharacter
            | Self::ConnectFlags
            | Self::PublishFlags
            | Self::SubscriptionOptions
            | Self::PropertyNotAllowed
            | Self::PropertyUnknown => ReasonCode::MALFORMED_PACKET,
        }
    }
}

/// One whole packet, not looked into.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub packet_type: PacketType,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// Variable header and payload.
    pub body: &'a [u8],
    /// Length of the whole packet with its fixed header.
    pub bytes: usize,
}

/// The packet at the front of `bytes`; `None` while it is not wholly there. A packet that will be larger than
/// `packet_bytes_max` is refused as soon as its length is known, before its bytes arrive.
pub fn frame(bytes: &[u8], packet_bytes_max: usize) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((&first, after)) = bytes.split_first() else { return Ok(None) };
    let packet_type = PacketType::of_first_byte(first).ok_or(DecodeError::PacketType)?;
    let mut cursor = Cursor::new(after);
    let length = match field::varint(&mut cursor) {
        Ok(length) => usize::try_from(length).map_err(|_| DecodeError::PacketTooLarge)?,
        Err(DecodeError::Truncated) => return Ok(None),
        Err(error) => return Err(error),
    };
    let total = (bytes.len() - cursor.rest().len()).saturating_add(length);
    if total > packet_bytes_max {
        return Err(DecodeError::PacketTooLarge);
    }
    Ok(cursor.take(length).map(|body| Frame { packet_type, flags: first & 0x0F, body, bytes: total }))
}

/// A packet as a client sends it.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Publish(Publish<'a>),
    Puback(Ack<'a>),
    Pubrec(Ack<'a>),
    Pubrel(Ack<'a>),
    Pubcomp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Pingreq,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Reads a client's packet. `version` is that of the connection; CONNECT carries its own and ignores it.
pub fn decode<'a>(version: Version, frame: &Frame<'a>) -> Result<Packet<'a>, DecodeError> {
    check_flags(version, frame)?;
    let mut cursor = Cursor::new(frame.body);
    let cursor = &mut cursor;
    let packet = match frame.packet_type {
        // Most packets are PUBLISH: first, and its payload takes all the rest.
        PacketType::Publish => Packet::Publish(Publish::decode(version, frame.flags, cursor)?),
        PacketType::Connect => Packet::Connect(Connect::decode(cursor)?),
        PacketType::Puback => Packet::Puback(Ack::decode(version, cursor, ReasonCode::is_of_puback)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::decode(version, cursor, ReasonCode::is_of_puback)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::decode(version, cursor, ReasonCode::is_of_pubrel)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(version, cursor, ReasonCode::is_of_pubrel)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(version, cursor)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(version, cursor)?),
        PacketType::Pingreq => Packet::Pingreq,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(version, cursor)?),
        PacketType::Auth if version == Version::V5 => Packet::Auth(Auth::decode(cursor)?),
        PacketType::Auth => return Err(DecodeError::PacketType),
        PacketType::Connack | PacketType::Suback | PacketType::Unsuback | PacketType::Pingresp => {
            return Err(DecodeError::ServerPacket);
        }
    };
    if cursor.is_empty() { Ok(packet) } else { Err(DecodeError::TrailingBytes) }
}

/// [MQTT-2.2.2-2] (3.1.1), [MQTT-2.1.3-1] (5): reserved flags have the listed values.
fn check_flags(version: Version, frame: &Frame<'_>) -> Result<(), DecodeError> {
    let right = match frame.packet_type {
        PacketType::Publish => true,
        // MQTT 3.1 repeats these three with the DUP bit set.
        PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => {
            frame.flags == 0b0010 || (version == Version::V31 && frame.flags == 0b1010)
        }
        _ => frame.flags == 0,
    };
    if right { Ok(()) } else { Err(DecodeError::HeaderFlags) }
}
