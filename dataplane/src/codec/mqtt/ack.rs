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

/// Appends one. The code is dropped before MQTT 5, and where it says success.
pub fn encode_ack(version: Version, packet: Acknowledgement, packet_id: u16, code: ReasonCode, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    let first = match packet {
        Acknowledgement::Puback => PacketType::Puback,
        Acknowledgement::Pubrec => PacketType::Pubrec,
        Acknowledgement::Pubcomp => PacketType::Pubcomp,
    }
    .first_byte(0);
    if version != Version::V5 || code == ReasonCode::SUCCESS {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, code.0]);
    }
}

/// Appends an MQTT 5 DISCONNECT. Before MQTT 5 a server has none.
pub fn encode_disconnect(code: ReasonCode, out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::Disconnect.first_byte(0), 1, code.0]);
}

pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::Pingresp.first_byte(0), 0]);
}
