//! The small packets: PUBACK to PUBCOMP, DISCONNECT, AUTH, PINGRESP (MQTT 5, 3.4 to 3.7, 3.13 to 3.15).
//! Never knows which packet identifiers are in use.

use super::{DecodeError, PacketType, Properties, ReasonCode, Version, field, property};
use crate::codec::cursor::Cursor;

/// PUBACK, PUBREC, PUBREL or PUBCOMP of a client.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    pub packet_id: u16,
    pub code: ReasonCode,
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    pub(super) fn decode(
        version: Version,
        cursor: &mut Cursor<'a>,
        is_allowed: fn(ReasonCode) -> bool,
    ) -> Result<Self, DecodeError> {
        let packet_id = field::packet_id(cursor)?;
        // MQTT 5, 3.4.2.1: both the reason code and the properties may be left out. Before MQTT 5 neither exists, and the
        // caller refuses what is left over.
        let (code, properties) = if version == Version::V5 {
            reason(cursor, ReasonCode::SUCCESS, is_allowed, property::Allowed::ACK)?
        } else {
            (ReasonCode::SUCCESS, Properties::default())
        };
        Ok(Self { packet_id, code, properties })
    }
}

/// DISCONNECT of a client.
#[derive(Clone, Copy, Debug)]
pub struct Disconnect<'a> {
    /// [`ReasonCode::SUCCESS`] before MQTT 5.
    pub code: ReasonCode,
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(super) fn decode(version: Version, cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        if version != Version::V5 {
            return Ok(Self { code: ReasonCode::SUCCESS, properties: Properties::default() });
        }
        let allowed = property::Allowed::DISCONNECT;
        let (code, properties) = reason(cursor, ReasonCode::SUCCESS, ReasonCode::is_of_client_disconnect, allowed)?;
        Ok(Self { code, properties })
    }
}

/// AUTH of a client.
#[derive(Clone, Copy, Debug)]
pub struct Auth<'a> {
    pub code: ReasonCode,
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        // An absent code is Success, which only a server may send (MQTT 5, 3.15.2.1).
        let code = ReasonCode(field::u8(cursor).map_err(|_| DecodeError::ReasonCode)?);
        if !code.is_of_client_auth() {
            return Err(DecodeError::ReasonCode);
        }
        Ok(Self { code, properties: Properties::decode(cursor, property::Allowed::AUTH)? })
    }
}

fn reason<'a>(
    cursor: &mut Cursor<'a>,
    absent: ReasonCode,
    is_allowed: fn(ReasonCode) -> bool,
    properties: property::Allowed,
) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
    let code = match cursor.u8() {
        Some(code) if is_allowed(ReasonCode(code)) => ReasonCode(code),
        Some(_) => return Err(DecodeError::ReasonCode),
        None => absent,
    };
    if cursor.is_empty() { Ok((code, Properties::default())) } else { Ok((code, Properties::decode(cursor, properties)?)) }
}

/// What a server acknowledges a publish of the client with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    Puback,
    Pubrec,
    Pubcomp,
}

/// Appends one. The code is dropped before MQTT 5, and where it says success. `why` comes only with a code.
pub fn encode_ack(
    version: Version,
    packet: Acknowledgement,
    packet_id: u16,
    code: ReasonCode,
    why: Option<&str>,
    out: &mut Vec<u8>,
) {
    let id = packet_id.to_be_bytes();
    let packet = match packet {
        Acknowledgement::Puback => PacketType::Puback,
        Acknowledgement::Pubrec => PacketType::Pubrec,
        Acknowledgement::Pubcomp => PacketType::Pubcomp,
    };
    if version != Version::V5 || code == ReasonCode::SUCCESS {
        out.extend_from_slice(&[packet.first_byte(0), 2]);
        out.extend_from_slice(&id);
    } else {
        put_with_reason(packet, &id, code, why, out);
    }
}

/// Appends an MQTT 5 DISCONNECT. Before MQTT 5 a server has none.
pub fn encode_disconnect(code: ReasonCode, why: Option<&str>, out: &mut Vec<u8>) {
    put_with_reason(PacketType::Disconnect, &[], code, why, out);
}

/// Bytes that a reason string adds to a packet, at most, besides its text.
pub const REASON_STRING_BYTES: usize = 5;

/// Without a reason string the properties, being none, are left out (MQTT 5, 3.4.2.2.1).
fn put_with_reason(packet: PacketType, head: &[u8], code: ReasonCode, why: Option<&str>, out: &mut Vec<u8>) {
    let properties = why.map(|why| 3 + why.len());
    out.push(packet.first_byte(0));
    field::put_varint(out, head.len() + 1 + properties.map_or(0, |length| field::varint_bytes(length) + length));
    out.extend_from_slice(head);
    out.push(code.0);
    if let (Some(why), Some(length)) = (why, properties) {
        field::put_varint(out, length);
        out.push(property::REASON_STRING);
        field::put_binary(out, why.as_bytes());
    }
}

pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::Pingresp.first_byte(0), 0]);
}
