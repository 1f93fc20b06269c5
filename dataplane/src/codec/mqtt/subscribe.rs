//! SUBSCRIBE and UNSUBSCRIBE read, SUBACK and UNSUBACK written (sections 3.8 to 3.11 of both specifications).
//! Checks that filters are there and are text; never judges whether one may be subscribed to, so that a bad filter costs the
//! client its SUBACK code and not its connection.

use super::{DecodeError, PacketType, Properties, Qos, ReasonCode, Version, field, property};
use crate::codec::cursor::Cursor;

/// A SUBSCRIBE with at least one filter.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    pub packet_id: u16,
    pub properties: Properties<'a>,
    pub filters: Filters<'a>,
}

/// An UNSUBSCRIBE with at least one filter.
#[derive(Clone, Copy, Debug)]
pub struct Unsubscribe<'a> {
    pub packet_id: u16,
    pub properties: Properties<'a>,
    pub filters: Names<'a>,
}

/// One filter of a SUBSCRIBE. Before MQTT 5 only the QoS is ever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    pub name: &'a str,
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: u8,
}

/// The checked filters of a SUBSCRIBE, in order.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    version: Version,
    cursor: Cursor<'a>,
}

/// The checked filters of an UNSUBSCRIBE, in order.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(version: Version, cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let packet_id = field::packet_id(cursor)?;
        let properties = properties(version, cursor, property::Allowed::SUBSCRIBE)?;
        let filters = Filters { version, cursor: *cursor };
        // [MQTT-3.8.3-3] (3.1.1), [MQTT-3.8.3-2] (5): at least one filter.
        if cursor.is_empty() {
            return Err(DecodeError::NoFilter);
        }
        while !cursor.is_empty() {
            filter(version, cursor)?;
        }
        Ok(Self { packet_id, properties, filters })
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(version: Version, cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let packet_id = field::packet_id(cursor)?;
        let properties = properties(version, cursor, property::Allowed::UNSUBSCRIBE)?;
        let filters = Names { cursor: *cursor };
        // [MQTT-3.10.3-2]: at least one filter.
        if cursor.is_empty() {
            return Err(DecodeError::NoFilter);
        }
        while !cursor.is_empty() {
            name(cursor)?;
        }
        Ok(Self { packet_id, properties, filters })
    }
}

impl<'a> Iterator for Filters<'a> {
    type Item = Filter<'a>;

    fn next(&mut self) -> Option<Filter<'a>> {
        filter(self.version, &mut self.cursor).ok()
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        name(&mut self.cursor).ok()
    }
}

fn properties<'a>(version: Version, cursor: &mut Cursor<'a>, allowed: property::Allowed) -> Result<Properties<'a>, DecodeError> {
    match version {
        Version::V5 => Properties::decode(cursor, allowed),
        Version::V31 | Version::V311 => Ok(Properties::default()),
    }
}

fn filter<'a>(version: Version, cursor: &mut Cursor<'a>) -> Result<Filter<'a>, DecodeError> {
    let name = name(cursor)?;
    let options = field::u8(cursor)?;
    let qos = Qos::from_bits(options & 0b11).ok_or(DecodeError::SubscriptionOptions)?;
    let retain_handling = (options >> 4) & 0b11;
    // [MQTT-3.8.3-5] (5), [MQTT-3-8.3-4] (3.1.1): reserved bits are 0; retain handling 3 is a protocol error.
    let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
    if options & reserved != 0 || retain_handling == 3 {
        return Err(DecodeError::SubscriptionOptions);
    }
    // [MQTT-3.8.3-4]
    if options & 0b0100 != 0 && name.starts_with("$share/") {
        return Err(DecodeError::SharedNoLocal);
    }
    Ok(Filter { name, qos, no_local: options & 0b0100 != 0, retain_as_published: options & 0b1000 != 0, retain_handling })
}

/// [MQTT-4.7.3-1]: a filter has at least one character.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let name = field::string(cursor)?;
    if name.is_empty() { Err(DecodeError::TopicFilter) } else { Ok(name) }
}

/// Length of a whole SUBACK or UNSUBACK with so many codes.
#[must_use]
pub fn suback_bytes(version: Version, codes: usize) -> usize {
    let remaining = acknowledgement_length(version, codes);
    1 + field::varint_bytes(remaining) + remaining
}

/// Appends a SUBACK with `count` codes, one per filter, in their order [MQTT-3.8.4-6].
pub fn encode_suback(version: Version, packet_id: u16, count: usize, codes: impl Iterator<Item = ReasonCode>, out: &mut Vec<u8>) {
    put_head(version, PacketType::Suback, packet_id, count, out);
    out.extend(codes.take(count).map(|code| code.0));
}

/// Appends an UNSUBACK with `count` codes, one per filter; before MQTT 5 it has no codes.
pub fn encode_unsuback(
    version: Version,
    packet_id: u16,
    count: usize,
    codes: impl Iterator<Item = ReasonCode>,
    out: &mut Vec<u8>,
) {
    let count = if version == Version::V5 { count } else { 0 };
    put_head(version, PacketType::Unsuback, packet_id, count, out);
    out.extend(codes.take(count).map(|code| code.0));
}

fn put_head(version: Version, packet_type: PacketType, packet_id: u16, codes: usize, out: &mut Vec<u8>) {
    out.push(packet_type.first_byte(0));
    field::put_varint(out, acknowledgement_length(version, codes));
    out.extend_from_slice(&packet_id.to_be_bytes());
    if version == Version::V5 {
        out.push(0);
    }
}

fn acknowledgement_length(version: Version, codes: usize) -> usize {
    2 + usize::from(version == Version::V5) + codes
}
