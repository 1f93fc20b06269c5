//! The few MQTT packets a publishing client needs, 3.1.1 and 5: CONNECT, PUBLISH, SUBSCRIBE, PINGREQ and DISCONNECT out; CONNACK, PUBACK,
//! PINGRESP and DISCONNECT in. Total on any bytes; never keeps state and never touches a socket.

/// The protocol a run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    V311,
    V5,
}

impl Protocol {
    /// As `--protocol` takes it and the report shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
/// Normal disconnection in both protocols.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];
const PUBACK: u8 = 0x40;
/// No packet that this client asks for is longer.
const INCOMING_BYTES_MAX: usize = 1 << 20;

/// What a server sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Connack(Connack),
    /// `code` is 0 or, in MQTT 5, the reason; 0x80 and above mean refused.
    Puback {
        packet_id: u16,
        code: u8,
    },
    Pingresp,
    Disconnect {
        code: u8,
    },
    /// A packet of another type (first byte); ignored.
    Other(u8),
}

/// How a server answers CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connack {
    /// 0 is admitted; return codes of 3.1.1, reason codes of 5.
    pub(crate) code: u8,
    /// Unacknowledged PUBLISHes the server takes; 65,535 when it does not say.
    pub(crate) receive_maximum: u16,
    pub(crate) keep_alive_s: Option<u16>,
}

/// Bytes that no MQTT server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// CONNECT with a clean session and, when there is one, a user name.
pub(crate) fn connect(protocol: Protocol, client_id: &str, user: Option<&str>, keep_alive_s: u16) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T'];
    body.push(if protocol == Protocol::V5 { 5 } else { 4 });
    body.push(0x02 | if user.is_some() { 0x80 } else { 0 });
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    if protocol == Protocol::V5 {
        body.push(0);
    }
    put_text(&mut body, client_id);
    if let Some(user) = user {
        put_text(&mut body, user);
    }
    packet(0x10, &body)
}

/// SUBSCRIBE of MQTT 3.1.1 to one filter with QoS 0.
pub(crate) fn subscribe(packet_id: u16, filter: &str) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_text(&mut body, filter);
    body.push(0);
    packet(0x82, &body)
}

/// A PUBLISH and where its packet id and its payload are.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) bytes: Vec<u8>,
    /// Only with QoS 1.
    pub(crate) packet_id_at: Option<usize>,
    pub(crate) payload_at: usize,
}

/// PUBLISH with packet id 0, to be patched. `topic` is at most 65,535 bytes.
pub(crate) fn publish(protocol: Protocol, qos: u8, topic: &str, payload: &[u8]) -> Publish {
    let mut body = Vec::with_capacity(payload.len() + topic.len() + 8);
    put_text(&mut body, topic);
    let packet_id_at = (qos > 0).then_some(body.len());
    if qos > 0 {
        body.extend_from_slice(&[0, 0]);
    }
    if protocol == Protocol::V5 {
        body.push(0);
    }
    let head = body.len();
    body.extend_from_slice(payload);
    let bytes = packet(0x30 | (qos << 1), &body);
    let before = bytes.len() - body.len();
    Publish { bytes, packet_id_at: packet_id_at.map(|at| at + before), payload_at: head + before }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest % 128).unwrap_or(0);
        rest /= 128;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

/// Reads the first packet and its length in bytes; `None` when more bytes are needed.
pub(crate) fn receive(protocol: Protocol, bytes: &[u8]) -> Result<Option<(Received, usize)>, Malformed> {
    // Nearly everything that arrives.
    if let [PUBACK, 2, high, low, ..] = bytes {
        return Ok(Some((Received::Puback { packet_id: u16::from_be_bytes([*high, *low]), code: 0 }, 4)));
    }
    let Some((first, after)) = bytes.split_first() else { return Ok(None) };
    let Some((length, digits)) = varint(after)? else { return Ok(None) };
    if length > INCOMING_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = after.get(digits..digits + length) else { return Ok(None) };
    let received = match first >> 4 {
        2 => connack(protocol, body)?,
        4 => match body {
            [high, low] => Received::Puback { packet_id: u16::from_be_bytes([*high, *low]), code: 0 },
            [high, low, code, ..] => Received::Puback { packet_id: u16::from_be_bytes([*high, *low]), code: *code },
            _ => return Err(Malformed),
        },
        13 => Received::Pingresp,
        14 => Received::Disconnect { code: body.first().copied().unwrap_or(0) },
        _ => Received::Other(*first),
    };
    Ok(Some((received, 1 + digits + length)))
}

/// A variable byte integer and how many bytes it has.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for index in 0..4 {
        let Some(byte) = bytes.get(index) else { return Ok(None) };
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Err(Malformed)
}

fn connack(protocol: Protocol, body: &[u8]) -> Result<Received, Malformed> {
    let [_, code, rest @ ..] = body else { return Err(Malformed) };
    let mut connack = Connack { code: *code, receive_maximum: u16::MAX, keep_alive_s: None };
    if protocol == Protocol::V5 && !rest.is_empty() {
        let Some((length, digits)) = varint(rest)? else { return Err(Malformed) };
        let mut properties = rest.get(digits..digits + length).ok_or(Malformed)?;
        while let Some((id, after)) = properties.split_first() {
            let value = after.get(..property_bytes(*id, after)?).ok_or(Malformed)?;
            match (id, value) {
                (0x21, [high, low]) => connack.receive_maximum = u16::from_be_bytes([*high, *low]).max(1),
                (0x13, [high, low]) => connack.keep_alive_s = Some(u16::from_be_bytes([*high, *low])),
                _ => {}
            }
            properties = after.get(value.len()..).unwrap_or_default();
        }
    }
    Ok(Received::Connack(connack))
}

/// How many bytes the value of a CONNACK property has (MQTT 5, table 2-4).
fn property_bytes(id: u8, after: &[u8]) -> Result<usize, Malformed> {
    let text = |bytes: &[u8]| match bytes {
        [high, low, ..] => Ok(2 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => Err(Malformed),
    };
    match id {
        0x24 | 0x25 | 0x28..=0x2A => Ok(1),
        0x13 | 0x21 | 0x22 => Ok(2),
        0x11 | 0x27 => Ok(4),
        0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text(after),
        0x26 => {
            let name = text(after)?;
            Ok(name + text(after.get(name..).ok_or(Malformed)?)?)
        }
        _ => Err(Malformed),
    }
}

/// What a CONNACK code says, for messages to people.
pub(crate) fn refusal(protocol: Protocol, code: u8) -> &'static str {
    match (protocol, code) {
        (Protocol::V311, 1) | (Protocol::V5, 0x84) => "unacceptable protocol version",
        (Protocol::V311, 2) | (Protocol::V5, 0x85) => "client identifier not valid",
        (Protocol::V311, 3) | (Protocol::V5, 0x88) => "server unavailable",
        (Protocol::V311, 4) | (Protocol::V5, 0x86) => "bad user name or password",
        (Protocol::V311, 5) | (Protocol::V5, 0x87) => "not authorized",
        (Protocol::V5, 0x89) => "server busy",
        (Protocol::V5, 0x97) => "quota exceeded",
        (Protocol::V5, 0x9F) => "connection rate exceeded",
        _ => "refused",
    }
}

/// Whether asking again later can help.
pub(crate) fn is_passing(protocol: Protocol, code: u8) -> bool {
    match protocol {
        Protocol::V311 => code == 3,
        Protocol::V5 => matches!(code, 0x80 | 0x88 | 0x89 | 0x97 | 0x9F),
    }
}

#[cfg(test)]
mod tests {
    use dataplane::codec::mqtt::{
        Acknowledgement, ConnackProperties, Packet, Qos, ReasonCode, Version, decode, encode_ack, encode_connack,
        encode_disconnect, encode_pingresp, frame,
    };

    use super::*;

    const BOTH: [(Protocol, Version); 2] = [(Protocol::V311, Version::V311), (Protocol::V5, Version::V5)];

    #[test]
    fn the_server_reads_what_is_written() {
        for (protocol, version) in BOTH {
            for user in [None, Some("token-7")] {
                let bytes = connect(protocol, "tg-load-3", user, 60);
                let framed = frame(&bytes, usize::MAX).expect("well formed").expect("whole");
                assert_eq!(framed.bytes, bytes.len());
                let Ok(Packet::Connect(packet)) = decode(version, &framed) else { panic!("a CONNECT") };
                assert_eq!((packet.client_id, packet.user_name, packet.keep_alive_s), ("tg-load-3", user, 60));
            }
            for qos in [0, 1] {
                // One and two bytes of remaining length.
                for payload in [&b"{}"[..], &[b'x'; 300]] {
                    let publish = publish(protocol, qos, "v1/devices/me/telemetry", payload);
                    let mut bytes = publish.bytes.clone();
                    if let Some(at) = publish.packet_id_at {
                        bytes[at..at + 2].copy_from_slice(&515_u16.to_be_bytes());
                    }
                    assert_eq!(&bytes[publish.payload_at..], payload);
                    let framed = frame(&bytes, usize::MAX).expect("well formed").expect("whole");
                    let Ok(Packet::Publish(packet)) = decode(version, &framed) else { panic!("a PUBLISH") };
                    assert_eq!((packet.topic, packet.payload), ("v1/devices/me/telemetry", payload));
                    assert_eq!(packet.qos, if qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce });
                    assert_eq!(packet.packet_id, (qos > 0).then_some(515));
                }
            }
            if version == Version::V311 {
                let bytes = subscribe(7, "a/+");
                let framed = frame(&bytes, usize::MAX).expect("well formed").expect("whole");
                let packet = format!("{:?}", decode(version, &framed));
                assert!(packet.contains("Subscribe"), "{packet}");
            }
            for (bytes, expected) in [(PINGREQ, "Pingreq"), (DISCONNECT, "Disconnect")] {
                let framed = frame(&bytes, usize::MAX).expect("well formed").expect("whole");
                let packet = format!("{:?}", decode(version, &framed));
                assert!(packet.contains(expected), "{packet}");
            }
        }
    }

    #[test]
    fn what_the_server_writes_is_read() {
        for (protocol, version) in BOTH {
            let mut bytes = Vec::new();
            encode_ack(version, Acknowledgement::Puback, 7, ReasonCode::SUCCESS, None, &mut bytes);
            encode_ack(version, Acknowledgement::Puback, 65_535, ReasonCode::QUOTA_EXCEEDED, None, &mut bytes);
            encode_pingresp(&mut bytes);
            encode_disconnect(ReasonCode::SERVER_BUSY, None, &mut bytes);
            let mut seen = Vec::new();
            while let Ok(Some((received, length))) = receive(protocol, &bytes) {
                seen.push(received);
                bytes.drain(..length);
            }
            let refused = if protocol == Protocol::V5 { 0x97 } else { 0 };
            assert_eq!(
                seen,
                [
                    Received::Puback { packet_id: 7, code: 0 },
                    Received::Puback { packet_id: 65_535, code: refused },
                    Received::Pingresp,
                    Received::Disconnect { code: 0x89 }
                ]
            );
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn connack_says_what_the_server_takes() {
        let mut bytes = Vec::new();
        encode_connack(Version::V311, false, ReasonCode(5), &ConnackProperties::default(), &mut bytes);
        let plain = Connack { code: 5, receive_maximum: u16::MAX, keep_alive_s: None };
        assert_eq!(receive(Protocol::V311, &bytes), Ok(Some((Received::Connack(plain), 4))));
        bytes.clear();
        let properties = ConnackProperties {
            session_expiry_s: Some(0),
            receive_maximum: Some(64),
            maximum_qos: Some(Qos::AtLeastOnce),
            assigned_client_id: Some("name"),
            server_keep_alive_s: Some(30),
            ..ConnackProperties::default()
        };
        encode_connack(Version::V5, false, ReasonCode::SUCCESS, &properties, &mut bytes);
        let full = Connack { code: 0, receive_maximum: 64, keep_alive_s: Some(30) };
        assert_eq!(receive(Protocol::V5, &bytes), Ok(Some((Received::Connack(full), bytes.len()))));
        for length in 0..bytes.len() {
            assert_eq!(receive(Protocol::V5, &bytes[..length]), Ok(None), "{length} bytes are not all");
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        assert_eq!(receive(Protocol::V5, &[0x20, 0xFF, 0xFF, 0xFF, 0xFF]), Err(Malformed));
        assert_eq!(receive(Protocol::V5, &[0x40, 1, 0]), Err(Malformed));
        assert_eq!(receive(Protocol::V5, &[0x20, 3, 0, 0, 9]), Err(Malformed));
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = [0; 12];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = state.to_be_bytes()[0];
            }
            bytes[1] %= 16;
            let _received = (receive(Protocol::V311, &bytes), receive(Protocol::V5, &bytes));
        }
    }
}
