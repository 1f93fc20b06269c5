//! Properties of MQTT 5 (2.2.2): checked once when the packet is decoded, read again by whoever wants one. Never copies them.

use super::{DecodeError, field};
use crate::codec::cursor::Cursor;

/// The checked properties of one packet. Empty before MQTT 5.
#[derive(Clone, Copy, Debug, Default)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

/// One property that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    PayloadIsUtf8(bool),
    MessageExpiryS(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionId(u32),
    SessionExpiryS(u32),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblem(bool),
    WillDelayS(u32),
    RequestResponse(bool),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    User(&'a str, &'a str),
    MaximumPacketSize(u32),
}

impl<'a> Properties<'a> {
    /// Reads the property length and checks every property against what the packet may have.
    pub(super) fn decode(cursor: &mut Cursor<'a>, allowed: Allowed) -> Result<Self, DecodeError> {
        let length = usize::try_from(field::varint(cursor)?).map_err(|_| DecodeError::Truncated)?;
        let raw = cursor.take(length).ok_or(DecodeError::Truncated)?;
        let mut inner = Cursor::new(raw);
        let mut seen = 0_u64;
        while !inner.is_empty() {
            // An identifier is a variable byte integer, though all that exist fit one byte.
            let id = u8::try_from(field::varint(&mut inner)?).map_err(|_| DecodeError::PropertyUnknown)?;
            let bit = bit(id);
            if bit & KNOWN == 0 {
                return Err(DecodeError::PropertyUnknown);
            }
            if bit & allowed.0 == 0 {
                return Err(DecodeError::PropertyNotAllowed);
            }
            // Only the user property may appear more than once in what a client sends (MQTT 5, 2.2.2.2).
            if bit & seen != 0 && id != USER {
                return Err(DecodeError::PropertyDuplicate);
            }
            seen |= bit;
            value(id, &mut inner)?;
        }
        // MQTT 5, 3.1.2.11.10: authentication data needs a method. 3.15.2.2.2: AUTH always has one.
        let needs_method = seen & bit(AUTHENTICATION_DATA) != 0 || allowed.0 == Allowed::AUTH.0;
        if needs_method && seen & bit(AUTHENTICATION_METHOD) == 0 {
            return Err(DecodeError::PropertyMissing);
        }
        Ok(Self { raw })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.raw);
        // They were checked when decoded, so nothing is lost by ending at the first that cannot be read.
        std::iter::from_fn(move || value(cursor.u8()?, &mut cursor).ok())
    }
}

/// The properties one packet may have, a bit per identifier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed(u64);

impl Allowed {
    pub(super) const CONNECT: Self = Self::these(&[
        SESSION_EXPIRY,
        RECEIVE_MAXIMUM,
        MAXIMUM_PACKET_SIZE,
        TOPIC_ALIAS_MAXIMUM,
        REQUEST_RESPONSE,
        REQUEST_PROBLEM,
        USER,
        AUTHENTICATION_METHOD,
        AUTHENTICATION_DATA,
    ]);
    pub(super) const WILL: Self =
        Self::these(&[WILL_DELAY, PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER]);
    /// No subscription identifier: a client must not send one in PUBLISH [MQTT-3.3.4-6].
    pub(super) const PUBLISH: Self =
        Self::these(&[PAYLOAD_FORMAT, MESSAGE_EXPIRY, TOPIC_ALIAS, RESPONSE_TOPIC, CORRELATION_DATA, USER, CONTENT_TYPE]);
    pub(super) const ACK: Self = Self::these(&[REASON_STRING, USER]);
    pub(super) const SUBSCRIBE: Self = Self::these(&[SUBSCRIPTION_ID, USER]);
    pub(super) const UNSUBSCRIBE: Self = Self::these(&[USER]);
    /// No server reference: only a server sends it (MQTT 5, 3.14.2.2.5).
    pub(super) const DISCONNECT: Self = Self::these(&[SESSION_EXPIRY, REASON_STRING, USER]);
    pub(super) const AUTH: Self = Self::these(&[AUTHENTICATION_METHOD, AUTHENTICATION_DATA, REASON_STRING, USER]);

    const fn these(ids: &[u8]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < ids.len() {
            bits |= bit(ids[index]);
            index += 1;
        }
        Self(bits)
    }
}

const fn bit(id: u8) -> u64 {
    if id < 64 { 1 << id } else { 0 }
}

fn value<'a>(id: u8, cursor: &mut Cursor<'a>) -> Result<Property<'a>, DecodeError> {
    Ok(match id {
        PAYLOAD_FORMAT => Property::PayloadIsUtf8(flag(cursor)?),
        MESSAGE_EXPIRY => Property::MessageExpiryS(field::u32(cursor)?),
        CONTENT_TYPE => Property::ContentType(field::string(cursor)?),
        // [MQTT-3.3.2-14]: a response topic has no wildcards.
        RESPONSE_TOPIC => Property::ResponseTopic(field::topic_name(cursor)?),
        CORRELATION_DATA => Property::CorrelationData(field::binary(cursor)?),
        SUBSCRIPTION_ID => Property::SubscriptionId(positive(field::varint(cursor)?)?),
        SESSION_EXPIRY => Property::SessionExpiryS(field::u32(cursor)?),
        AUTHENTICATION_METHOD => Property::AuthenticationMethod(field::string(cursor)?),
        AUTHENTICATION_DATA => Property::AuthenticationData(field::binary(cursor)?),
        REQUEST_PROBLEM => Property::RequestProblem(flag(cursor)?),
        WILL_DELAY => Property::WillDelayS(field::u32(cursor)?),
        REQUEST_RESPONSE => Property::RequestResponse(flag(cursor)?),
        REASON_STRING => Property::ReasonString(field::string(cursor)?),
        RECEIVE_MAXIMUM => Property::ReceiveMaximum(positive(field::u16(cursor)?)?),
        TOPIC_ALIAS_MAXIMUM => Property::TopicAliasMaximum(field::u16(cursor)?),
        TOPIC_ALIAS => match field::u16(cursor)? {
            0 => return Err(DecodeError::TopicAliasZero),
            alias => Property::TopicAlias(alias),
        },
        USER => Property::User(field::string(cursor)?, field::string(cursor)?),
        MAXIMUM_PACKET_SIZE => Property::MaximumPacketSize(positive(field::u32(cursor)?)?),
        // The rest of the known ones are a server's; no packet of a client allows them.
        _ => return Err(DecodeError::PropertyNotAllowed),
    })
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match field::u8(cursor)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue),
    }
}

fn positive<N: Default + PartialEq>(number: N) -> Result<N, DecodeError> {
    if number == N::default() { Err(DecodeError::PropertyValue) } else { Ok(number) }
}

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_ID: u8 = 0x0B;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const REQUEST_RESPONSE: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;
const SERVER_REFERENCE: u8 = 0x1C;
pub(super) const REASON_STRING: u8 = 0x1F;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(super) const WILDCARD_AVAILABLE: u8 = 0x28;
pub(super) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
pub(super) const SHARED_AVAILABLE: u8 = 0x2A;

const KNOWN: u64 = Allowed::CONNECT.0
    | Allowed::WILL.0
    | Allowed::PUBLISH.0
    | Allowed::SUBSCRIBE.0
    | Allowed::AUTH.0
    | Allowed::these(&[
        ASSIGNED_CLIENT_ID,
        SERVER_KEEP_ALIVE,
        RESPONSE_INFORMATION,
        SERVER_REFERENCE,
        MAXIMUM_QOS,
        RETAIN_AVAILABLE,
        WILDCARD_AVAILABLE,
        SUBSCRIPTION_IDS_AVAILABLE,
        SHARED_AVAILABLE,
    ])
    .0;
