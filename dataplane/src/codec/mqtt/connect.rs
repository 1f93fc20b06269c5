//! CONNECT read, CONNACK written (sections 3.1 and 3.2 of both specifications). Never judges a credential.

use super::{DecodeError, PacketType, Properties, Qos, ReasonCode, Version, field, property};
use crate::codec::cursor::Cursor;

/// A CONNECT packet.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    pub version: Version,
    /// Clean session before MQTT 5.
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub properties: Properties<'a>,
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// The message a server shall publish when the connection is lost.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    pub qos: Qos,
    pub retain: bool,
    pub properties: Properties<'a>,
    pub topic: &'a str,
    pub payload: &'a [u8],
}

impl<'a> Connect<'a> {
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let version = version(cursor)?;
        let flags = Flags::decode(field::u8(cursor)?, version)?;
        let keep_alive_s = field::u16(cursor)?;
        let properties = match version {
            Version::V5 => Properties::decode(cursor, property::Allowed::CONNECT)?,
            Version::V31 | Version::V311 => Properties::default(),
        };
        // [MQTT-3.1.3-1]: client id, will, user name, password, in this order.
        let client_id = field::string(cursor)?;
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::decode(cursor, version, qos, retain)?),
            None => None,
        };
        let user_name = if flags.user_name { Some(field::string(cursor)?) } else { None };
        let password = if flags.password { Some(field::binary(cursor)?) } else { None };
        let clean_start = flags.clean_start;
        Ok(Self { version, clean_start, keep_alive_s, properties, client_id, will, user_name, password })
    }
}

impl<'a> Will<'a> {
    fn decode(cursor: &mut Cursor<'a>, version: Version, qos: Qos, retain: bool) -> Result<Self, DecodeError> {
        let properties = match version {
            Version::V5 => Properties::decode(cursor, property::Allowed::WILL)?,
            Version::V31 | Version::V311 => Properties::default(),
        };
        let topic = field::topic_name(cursor)?;
        if topic.is_empty() {
            return Err(DecodeError::TopicName);
        }
        Ok(Self { qos, retain, properties, topic, payload: field::binary(cursor)? })
    }
}

fn version(cursor: &mut Cursor<'_>) -> Result<Version, DecodeError> {
    let name = field::binary(cursor)?;
    let level = match name {
        b"MQTT" | b"MQIsdp" => field::u8(cursor)?,
        // [MQTT-3.1.2-1]: another name is another protocol.
        _ => return Err(DecodeError::ProtocolName),
    };
    match (name, level) {
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQIsdp", 3) => Ok(Version::V31),
        _ => Err(DecodeError::ProtocolLevel(level)),
    }
}

struct Flags {
    clean_start: bool,
    will: Option<(Qos, bool)>,
    user_name: bool,
    password: bool,
}

impl Flags {
    fn decode(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let has = |bit: u8| byte & bit != 0;
        let (will, will_retain) = (has(0x04), has(0x20));
        let qos = Qos::from_bits((byte >> 3) & 0b11).ok_or(DecodeError::ConnectFlags)?;
        let flags =
            Self { clean_start: has(0x02), will: will.then_some((qos, will_retain)), user_name: has(0x80), password: has(0x40) };
        // [MQTT-3.1.2-3]: the reserved bit is 0. [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]: no will, no will flags.
        let will_flags_alone = !will && (will_retain || qos != Qos::AtMostOnce);
        // [MQTT-3.1.2-22] (3.1.1): no password without a user name; MQTT 5 allows it.
        let password_alone = version != Version::V5 && flags.password && !flags.user_name;
        if has(0x01) || will_flags_alone || password_alone { Err(DecodeError::ConnectFlags) } else { Ok(flags) }
    }
}

/// What an MQTT 5 server tells a client with CONNACK; `None` is left out and means the protocol's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnackProperties<'a> {
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub maximum_qos: Option<Qos>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: Option<u16>,
    pub assigned_client_id: Option<&'a str>,
    pub wildcard_available: Option<bool>,
    pub subscription_ids_available: Option<bool>,
    pub shared_available: Option<bool>,
    pub server_keep_alive_s: Option<u16>,
    pub reason_string: Option<&'a str>,
}

/// Appends a CONNACK. `code` is a return code before MQTT 5, where properties are left out; MQTT 3.1 has no session present.
pub fn encode_connack(
    version: Version,
    session_present: bool,
    code: ReasonCode,
    properties: &ConnackProperties<'_>,
    out: &mut Vec<u8>,
) {
    let flags = u8::from(session_present && version != Version::V31);
    out.push(PacketType::Connack.first_byte(0));
    if version != Version::V5 {
        out.extend_from_slice(&[2, flags, code.0]);
        return;
    }
    let length = properties.bytes();
    field::put_varint(out, 2 + field::varint_bytes(length) + length);
    out.extend_from_slice(&[flags, code.0]);
    field::put_varint(out, length);
    properties.put(out);
}

impl ConnackProperties<'_> {
    fn bytes(&self) -> usize {
        let flags = [self.retain_available, self.wildcard_available, self.subscription_ids_available, self.shared_available];
        5 * usize::from(self.session_expiry_s.is_some())
            + 3 * usize::from(self.receive_maximum.is_some())
            + 2 * usize::from(self.maximum_qos.is_some())
            + 5 * usize::from(self.maximum_packet_size.is_some())
            + self.assigned_client_id.map_or(0, |id| 3 + id.len())
            + self.reason_string.map_or(0, |why| 3 + why.len())
            + 3 * usize::from(self.server_keep_alive_s.is_some())
            + 3 * usize::from(self.topic_alias_maximum.is_some())
            + 2 * flags.iter().flatten().count()
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut put = |id: u8, value: Option<&[u8]>| {
            if let Some(value) = value {
                out.push(id);
                out.extend_from_slice(value);
            }
        };
        put(property::SESSION_EXPIRY, self.session_expiry_s.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
        put(property::RECEIVE_MAXIMUM, self.receive_maximum.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
        put(property::MAXIMUM_QOS, self.maximum_qos.map(|qos| [qos as u8]).as_ref().map(<[u8; 1]>::as_slice));
        put(property::MAXIMUM_PACKET_SIZE, self.maximum_packet_size.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
        put(property::TOPIC_ALIAS_MAXIMUM, self.topic_alias_maximum.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
        put(property::SERVER_KEEP_ALIVE, self.server_keep_alive_s.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
        for (id, flag) in [
            (property::RETAIN_AVAILABLE, self.retain_available),
            (property::WILDCARD_AVAILABLE, self.wildcard_available),
            (property::SUBSCRIPTION_IDS_AVAILABLE, self.subscription_ids_available),
            (property::SHARED_AVAILABLE, self.shared_available),
        ] {
            put(id, flag.map(|flag| [u8::from(flag)]).as_ref().map(<[u8; 1]>::as_slice));
        }
        let texts = [(property::ASSIGNED_CLIENT_ID, self.assigned_client_id), (property::REASON_STRING, self.reason_string)];
        for (id, text) in texts.into_iter().filter_map(|(id, text)| Some((id, text?))) {
            out.push(id);
            field::put_binary(out, text.as_bytes());
        }
    }
}
