//! PUBLISH, both ways (section 3.3 of both specifications). Never looks into a payload and never maps topics to meaning.

use super::{DecodeError, PacketType, Properties, Property, Qos, REMAINING_LENGTH_MAX, Version, field, property};
use crate::codec::cursor::Cursor;

/// A PUBLISH of a client.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Empty only in MQTT 5 and only together with a topic alias.
    pub topic: &'a str,
    /// `Some` for QoS 1 and 2.
    pub packet_id: Option<u16>,
    pub topic_alias: Option<u16>,
    pub properties: Properties<'a>,
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(super) fn decode(version: Version, flags: u8, cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let (dup, retain) = (flags & 0b1000 != 0, flags & 0b0001 != 0);
        let qos = Qos::from_bits((flags >> 1) & 0b11).ok_or(DecodeError::PublishFlags)?;
        // [MQTT-3.3.1-2]: DUP is 0 for QoS 0. MQTT 3.1 does not say so.
        if dup && qos == Qos::AtMostOnce && version != Version::V31 {
            return Err(DecodeError::PublishFlags);
        }
        let topic = field::topic_name(cursor)?;
        let packet_id = if qos == Qos::AtMostOnce { None } else { Some(field::packet_id(cursor)?) };
        let properties = match version {
            Version::V5 => Properties::decode(cursor, property::Allowed::PUBLISH)?,
            Version::V31 | Version::V311 => Properties::default(),
        };
        let topic_alias = properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        });
        // [MQTT-4.7.3-1]; MQTT 5, 3.3.2.1: an empty name needs an alias.
        if topic.is_empty() && topic_alias.is_none() {
            return Err(DecodeError::TopicName);
        }
        Ok(Self { dup, qos, retain, topic, packet_id, topic_alias, properties, payload: cursor.take_rest() })
    }
}

/// A PUBLISH to a client: not retained.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Empty only with a topic alias that the client knows.
    pub topic: &'a str,
    /// Left out before MQTT 5, as all properties.
    pub topic_alias: Option<u16>,
    pub correlation: Option<&'a [u8]>,
    /// `Some` makes it QoS 1, `None` QoS 0.
    pub packet_id: Option<u16>,
    /// Sent before, with QoS 1.
    pub dup: bool,
    pub payload: &'a [u8],
}

/// Length of the whole packet that [`encode_publish`] makes; `None` if MQTT has no such packet.
#[must_use]
pub fn outgoing_bytes(version: Version, outgoing: &Outgoing<'_>) -> Option<usize> {
    let longest = outgoing.topic.len().max(outgoing.correlation.map_or(0, <[u8]>::len));
    if longest > usize::from(u16::MAX) {
        return None;
    }
    let remaining = remaining_length(version, outgoing);
    (remaining <= REMAINING_LENGTH_MAX).then(|| 1 + field::varint_bytes(remaining) + remaining)
}

/// Appends a PUBLISH. Only for what [`outgoing_bytes`] has a length.
pub fn encode_publish(version: Version, outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    let flags = match outgoing.packet_id {
        Some(_) => (u8::from(outgoing.dup) << 3) | ((Qos::AtLeastOnce as u8) << 1),
        None => 0,
    };
    out.push(PacketType::Publish.first_byte(flags));
    field::put_varint(out, remaining_length(version, outgoing));
    field::put_binary(out, outgoing.topic.as_bytes());
    if let Some(id) = outgoing.packet_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        field::put_varint(out, properties_length(outgoing));
        if let Some(alias) = outgoing.topic_alias {
            out.push(property::TOPIC_ALIAS);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        if let Some(correlation) = outgoing.correlation {
            out.push(property::CORRELATION_DATA);
            field::put_binary(out, correlation);
        }
    }
    out.extend_from_slice(outgoing.payload);
}

fn properties_length(outgoing: &Outgoing<'_>) -> usize {
    3 * usize::from(outgoing.topic_alias.is_some()) + outgoing.correlation.map_or(0, |correlation| 3 + correlation.len())
}

fn remaining_length(version: Version, outgoing: &Outgoing<'_>) -> usize {
    let packet_id = if outgoing.packet_id.is_some() { 2 } else { 0 };
    let properties = match version {
        Version::V5 => field::varint_bytes(properties_length(outgoing)) + properties_length(outgoing),
        Version::V31 | Version::V311 => 0,
    };
    2 + outgoing.topic.len() + packet_id + properties + outgoing.payload.len()
}
