//! MQTT as a client that only publishes with QoS 1 writes and reads it (3.1, 3.2, 3.3, 3.4, 3.14 of both specifications): what rule
//! nodes say to other brokers. Total on any bytes. Never decides what follows from an answer.

use super::{DecodeError, Frame, PacketType, Qos, REMAINING_LENGTH_MAX, ReasonCode, Version, field, property};
use crate::codec::cursor::Cursor;

/// A PINGREQ.
pub const PINGREQ: [u8; 2] = [PacketType::Pingreq.first_byte(0), 0];
/// A DISCONNECT without anything to say.
pub const GOODBYE: [u8; 2] = [PacketType::Disconnect.first_byte(0), 0];

/// What a CONNECT says; no will. Texts are at most 65,535 bytes long.
#[derive(Clone, Copy, Debug)]
pub struct Greeting<'a> {
    pub client_id: &'a str,
    /// Clean session before MQTT 5.
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub user: Option<(&'a str, &'a str)>,
}

/// Appends a CONNECT.
pub fn encode_connect(version: Version, greeting: &Greeting<'_>, out: &mut Vec<u8>) {
    let (name, level): (&[u8], u8) = match version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    };
    let user = if greeting.user.is_some() { 0b1100_0000 } else { 0 };
    let mut body = Vec::new();
    field::put_binary(&mut body, name);
    body.extend_from_slice(&[level, user | u8::from(greeting.clean_start) << 1]);
    body.extend_from_slice(&greeting.keep_alive_s.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    field::put_binary(&mut body, greeting.client_id.as_bytes());
    if let Some((name, password)) = greeting.user {
        field::put_binary(&mut body, name.as_bytes());
        field::put_binary(&mut body, password.as_bytes());
    }
    out.push(PacketType::Connect.first_byte(0));
    field::put_varint(out, body.len());
    out.extend_from_slice(&body);
}

/// A PUBLISH with QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    pub topic: &'a str,
    pub packet_id: u16,
    pub retain: bool,
    /// A user property; left out before MQTT 5.
    pub property: (&'a str, &'a str),
    pub payload: &'a [u8],
}

impl Publication<'_> {
    fn remaining_bytes(&self, version: Version) -> usize {
        let property = if version == Version::V5 { 1 + self.property_bytes() } else { 0 };
        2 + self.topic.len() + 2 + property + self.payload.len()
    }

    fn property_bytes(&self) -> usize {
        1 + 2 + self.property.0.len() + 2 + self.property.1.len()
    }

    /// Bytes of the whole packet; `None` if MQTT has no such packet.
    #[must_use]
    pub fn bytes(&self, version: Version) -> Option<usize> {
        let remaining = self.remaining_bytes(version);
        let fits = self.topic.len() <= usize::from(u16::MAX) && self.property_bytes() < 0x80 && remaining <= REMAINING_LENGTH_MAX;
        fits.then(|| 1 + field::varint_bytes(remaining) + remaining)
    }

    /// Appends the packet. Only for what [`Self::bytes`] has a length.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.push(PacketType::Publish.first_byte(((Qos::AtLeastOnce as u8) << 1) | u8::from(self.retain)));
        field::put_varint(out, self.remaining_bytes(version));
        field::put_binary(out, self.topic.as_bytes());
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        if version == Version::V5 {
            field::put_varint(out, self.property_bytes());
            out.push(property::USER);
            field::put_binary(out, self.property.0.as_bytes());
            field::put_binary(out, self.property.1.as_bytes());
        }
        out.extend_from_slice(self.payload);
    }
}

/// A server's packet. Before MQTT 5 CONNACK has a return code, and PUBACK is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromServer<'a> {
    Connack(ReasonCode, Bounds<'a>),
    Puback(u16, ReasonCode, Bounds<'a>),
    Disconnect(ReasonCode, Bounds<'a>),
    /// Nothing that a client who only publishes has to know.
    Other,
}

/// What a server's properties say that a publisher has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds<'a> {
    /// Publications that may be unacknowledged at once.
    pub receive_maximum: Option<u16>,
    pub packet_bytes_max: Option<u32>,
    pub reason: Option<&'a str>,
}

/// Reads a server's packet.
///
/// # Errors
/// It is none that a server sends, or is malformed.
pub fn decode_from_server<'a>(version: Version, frame: &Frame<'a>) -> Result<FromServer<'a>, DecodeError> {
    let mut cursor = Cursor::new(frame.body);
    let cursor = &mut cursor;
    let v5 = version == Version::V5;
    Ok(match frame.packet_type {
        PacketType::Connack => {
            let (_session_present, code) = (field::u8(cursor)?, ReasonCode(field::u8(cursor)?));
            FromServer::Connack(code, if v5 { bounds(cursor)? } else { Bounds::default() })
        }
        PacketType::Puback => {
            let id = field::packet_id(cursor)?;
            let (code, bounds) = if v5 { code(cursor)? } else { Default::default() };
            FromServer::Puback(id, ReasonCode(code), bounds)
        }
        PacketType::Disconnect if v5 => {
            let (code, bounds) = code(cursor)?;
            FromServer::Disconnect(ReasonCode(code), bounds)
        }
        PacketType::Pingresp | PacketType::Publish | PacketType::Pubrel | PacketType::Suback | PacketType::Unsuback => {
            FromServer::Other
        }
        _ => return Err(DecodeError::PacketType),
    })
}

/// Both may be left out (MQTT 5, 3.4.2.1).
fn code<'a>(cursor: &mut Cursor<'a>) -> Result<(u8, Bounds<'a>), DecodeError> {
    let Some(code) = cursor.u8() else { return Ok(Default::default()) };
    Ok((code, if cursor.is_empty() { Bounds::default() } else { bounds(cursor)? }))
}

fn bounds<'a>(cursor: &mut Cursor<'a>) -> Result<Bounds<'a>, DecodeError> {
    let length = usize::try_from(field::varint(cursor)?).map_err(|_| DecodeError::Truncated)?;
    let mut inner = Cursor::new(cursor.take(length).ok_or(DecodeError::Truncated)?);
    let mut bounds = Bounds::default();
    while !inner.is_empty() {
        match field::u8(&mut inner)? {
            property::RECEIVE_MAXIMUM => bounds.receive_maximum = Some(field::u16(&mut inner)?),
            property::MAXIMUM_PACKET_SIZE => bounds.packet_bytes_max = Some(field::u32(&mut inner)?),
            property::REASON_STRING => bounds.reason = Some(field::string(&mut inner)?),
            // One byte, two, four, a text or two of them (MQTT 5, 2.2.2.2).
            0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => drop(field::u8(&mut inner)?),
            0x13 | 0x22 => drop(field::u16(&mut inner)?),
            0x11 => drop(field::u32(&mut inner)?),
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C => drop(field::binary(&mut inner)?),
            property::USER => drop((field::binary(&mut inner)?, field::binary(&mut inner)?)),
            _ => return Err(DecodeError::PropertyUnknown),
        }
    }
    Ok(bounds)
}
