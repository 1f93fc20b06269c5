//! AMQP 0-9-1 as far as a publisher with confirms speaks it (the specification, and RabbitMQ's extensions confirm.select and
//! basic.nack). Total on any bytes, and copies nothing that it reads. Never decides what follows from a method.

use schemas::chain::external::RabbitMqContent;

use crate::codec::cursor::Cursor;

/// What a client says first.
pub const PROTOCOL: [u8; 8] = *b"AMQP\0\0\x09\x01";
/// The type of a frame that is a method.
pub const METHOD: u8 = 1;
/// See [`METHOD`].
pub const HEADER: u8 = 2;
/// See [`METHOD`].
pub const BODY: u8 = 3;
/// See [`METHOD`].
pub const HEARTBEAT: u8 = 8;
/// That the peer is still there.
pub const HEARTBEAT_FRAME: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END];
/// The least that a peer has to take in one frame, in bytes.
pub const FRAME_BYTES_MIN: usize = 4_096;

const FRAME_END: u8 = 0xCE;
/// Type, channel and length before the payload, and the end behind it.
const FRAME_OVERHEAD: usize = 8;

/// What is said is no AMQP 0-9-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the broker says is no AMQP 0-9-1")]
pub struct NoFrame;

/// One whole frame, not looked into.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub channel: u16,
    pub payload: &'a [u8],
    /// Of the whole frame.
    pub bytes: usize,
}

impl<'a> Frame<'a> {
    /// The frame at the front; `None` while it is not wholly there.
    ///
    /// # Errors
    /// It is none, or larger than `bytes_max`.
    pub fn read(bytes: &'a [u8], bytes_max: usize) -> Result<Option<Self>, NoFrame> {
        let mut fields = Cursor::new(bytes);
        let (Some(kind), Some(channel), Some(length)) = (fields.u8(), fields.u16(), fields.u32()) else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| NoFrame)?;
        if length > bytes_max.saturating_sub(FRAME_OVERHEAD) {
            return Err(NoFrame);
        }
        let (Some(payload), Some(end)) = (fields.take(length), fields.u8()) else { return Ok(None) };
        if end == FRAME_END { Ok(Some(Self { kind, channel, payload, bytes: length + FRAME_OVERHEAD })) } else { Err(NoFrame) }
    }
}

/// A method that a broker sends, as far as a publisher has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    Start,
    Secure,
    Tune { channel_max: u16, frame_max: u32 },
    OpenOk,
    Close { code: u16, reason: &'a str },
    ChannelClose { code: u16, reason: &'a str },
    Return { code: u16, reason: &'a str },
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool },
    Other,
}

impl<'a> Method<'a> {
    /// `None`: it is malformed.
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let mut fields = Cursor::new(payload);
        let of = (fields.u16()?, fields.u16()?);
        Some(match of {
            (10, 10) => Self::Start,
            (10, 20) => Self::Secure,
            (10, 30) => Self::Tune { channel_max: fields.u16()?, frame_max: fields.u32()? },
            (10, 41) => Self::OpenOk,
            (10, 50) => Self::Close { code: fields.u16()?, reason: short(&mut fields)? },
            (20, 40) => Self::ChannelClose { code: fields.u16()?, reason: short(&mut fields)? },
            (60, 50) => Self::Return { code: fields.u16()?, reason: short(&mut fields)? },
            (60, 80) => Self::Ack { tag: u64(&mut fields)?, multiple: fields.u8()? & 1 == 1 },
            (60, 120) => Self::Nack { tag: u64(&mut fields)?, multiple: fields.u8()? & 1 == 1 },
            _ => Self::Other,
        })
    }
}

/// The message id that a content header says; `None`: it is malformed.
pub fn message_id(payload: &[u8]) -> Option<Option<&str>> {
    let mut fields = Cursor::new(payload);
    let (_class, _weight, _size) = (fields.u16()?, fields.u16()?, u64(&mut fields)?);
    let flags = fields.u16()?;
    for bit in (MESSAGE_ID..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        match bit {
            MESSAGE_ID => return short(&mut fields).map(Some),
            HEADERS => drop(long(&mut fields)?),
            DELIVERY_MODE | PRIORITY => drop(fields.u8()?),
            // Content type and encoding, correlation id, reply-to and expiration.
            _ => drop(short(&mut fields)?),
        }
    }
    Some(None)
}

// Bits of the property flags of a content header.
const CONTENT_TYPE: u16 = 15;
const HEADERS: u16 = 13;
const DELIVERY_MODE: u16 = 12;
const PRIORITY: u16 = 11;
const MESSAGE_ID: u16 = 7;

/// connection.start-ok: who we are and what we understand.
pub fn put_start_ok(out: &mut Vec<u8>, properties: &[(String, String)], user: &str, password: &str) {
    put_method(out, 0, (10, 11), |out| {
        put_table(out, |out| {
            put_entry(out, "product", "Tidegate");
            put_entry(out, "version", env!("CARGO_PKG_VERSION"));
            properties.iter().for_each(|(name, value)| put_entry(out, name, value));
            put_short(out, "capabilities");
            out.push(b'F');
            put_table(out, |out| {
                for capability in ["publisher_confirms", "basic.nack", "authentication_failure_close"] {
                    put_short(out, capability);
                    out.extend_from_slice(b"t\x01");
                }
            });
        });
        put_short(out, "PLAIN");
        put_long(out, format!("\0{user}\0{password}").as_bytes());
        put_short(out, "en_US");
    });
}

/// connection.tune-ok.
pub fn put_tune_ok(out: &mut Vec<u8>, channel_max: u16, frame_bytes_max: usize, heartbeat_s: u64) {
    put_method(out, 0, (10, 31), |out| {
        out.extend_from_slice(&channel_max.to_be_bytes());
        out.extend_from_slice(&u32::try_from(frame_bytes_max).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&u16::try_from(heartbeat_s).unwrap_or(u16::MAX).to_be_bytes());
    });
}

/// connection.open.
pub fn put_open(out: &mut Vec<u8>, virtual_host: &str) {
    put_method(out, 0, (10, 40), |out| {
        put_short(out, virtual_host);
        out.extend_from_slice(&[0, 0]);
    });
}

/// connection.close, without a complaint.
pub fn put_close(out: &mut Vec<u8>) {
    put_method(out, 0, (10, 50), |out| {
        out.extend_from_slice(&200_u16.to_be_bytes());
        put_short(out, "");
        out.extend_from_slice(&[0; 4]);
    });
}

/// channel.open and, not waiting for its answer, confirm.select, which asks for none.
pub fn put_channel_open(out: &mut Vec<u8>, channel: u16) {
    put_method(out, channel, (20, 10), |out| put_short(out, ""));
    put_method(out, channel, (85, 10), |out| out.push(1));
}

/// channel.close-ok.
pub fn put_channel_close_ok(out: &mut Vec<u8>, channel: u16) {
    put_method(out, channel, (20, 41), |_| {});
}

/// basic.publish, mandatory: what no queue takes comes back.
pub fn put_publish(out: &mut Vec<u8>, channel: u16, (exchange, routing_key): (&str, &str)) {
    put_method(out, channel, (60, 40), |out| {
        out.extend_from_slice(&[0, 0]);
        put_short(out, exchange);
        put_short(out, routing_key);
        out.push(1);
    });
}

/// What was announced: its properties, with the key as message id and header, and its bytes.
pub fn put_content(out: &mut Vec<u8>, channel: u16, content: &RabbitMqContent, key: &str, body: &[u8], frame_bytes_max: usize) {
    put_frame(out, HEADER, channel, |out| {
        out.extend_from_slice(&[0, 60, 0, 0]);
        out.extend_from_slice(&u64::try_from(body.len()).unwrap_or(u64::MAX).to_be_bytes());
        let set = |bit: u16, is: bool| u16::from(is) << bit;
        let flags = set(CONTENT_TYPE, content.kind.is_some())
            | set(HEADERS, true)
            | set(DELIVERY_MODE, content.persistent.is_some())
            | set(PRIORITY, content.priority.is_some())
            | set(MESSAGE_ID, true);
        out.extend_from_slice(&flags.to_be_bytes());
        if let Some(kind) = content.kind {
            put_short(out, kind);
        }
        put_table(out, |out| put_entry(out, "idempotency-key", key));
        out.extend(content.persistent.map(|persistent| 1 + u8::from(persistent)));
        out.extend(content.priority);
        put_short(out, key);
    });
    for part in body.chunks(frame_bytes_max.max(FRAME_BYTES_MIN) - FRAME_OVERHEAD) {
        put_frame(out, BODY, channel, |out| out.extend_from_slice(part));
    }
}

fn put_method(out: &mut Vec<u8>, channel: u16, (class, method): (u16, u16), arguments: impl FnOnce(&mut Vec<u8>)) {
    put_frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&method.to_be_bytes());
        arguments(out);
    });
}

fn put_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    put_counted(out, payload);
    out.push(FRAME_END);
}

fn put_table(out: &mut Vec<u8>, entries: impl FnOnce(&mut Vec<u8>)) {
    put_counted(out, entries);
}

/// Four bytes of length, then what is counted.
fn put_counted(out: &mut Vec<u8>, counted: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    counted(out);
    let length = u32::try_from(out.len() - begin - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_entry(out: &mut Vec<u8>, name: &str, text: &str) {
    put_short(out, name);
    out.push(b'S');
    put_long(out, text.as_bytes());
}

/// Callers bound the text to 255 bytes; the cut keeps a mistake of theirs from becoming an unreadable frame.
fn put_short(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    put_counted(out, |out| out.extend_from_slice(bytes));
}

fn u64(cursor: &mut Cursor<'_>) -> Option<u64> {
    Some(u64::from(cursor.u32()?) << 32 | u64::from(cursor.u32()?))
}

fn short<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let length = usize::from(cursor.u8()?);
    std::str::from_utf8(cursor.take(length)?).ok()
}

fn long<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(cursor.u32()?).ok()?;
    cursor.take(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        let content = RabbitMqContent { kind: Some("text/plain"), persistent: Some(true), priority: Some(0) };
        put_publish(&mut out, 3, ("ex", "key"));
        put_content(&mut out, 3, &content, "k-1", &[7; 10_000], FRAME_BYTES_MIN);
        let (mut kinds, mut body, mut read) = (Vec::new(), 0, 0);
        while let Some(frame) = Frame::read(&out[read..], 64 << 10).unwrap() {
            assert!(frame.bytes <= FRAME_BYTES_MIN && frame.channel == 3);
            kinds.push(frame.kind);
            match frame.kind {
                METHOD => assert_eq!(Method::read(frame.payload), Some(Method::Other)),
                HEADER => assert_eq!(message_id(frame.payload), Some(Some("k-1"))),
                _ => body += frame.payload.len(),
            }
            read += frame.bytes;
        }
        assert_eq!((kinds, body, read), (vec![METHOD, HEADER, BODY, BODY, BODY], 10_000, out.len()));
    }

    #[test]
    fn frames_that_are_none_are_refused() {
        for (bytes, expected) in [
            (&[1, 0, 0, 0, 0, 0, 1, 9][..], Ok(None)),
            (&[1, 0, 0, 0, 0, 0, 1, 9, FRAME_END], Ok(Some(9))),
            (&[1, 0, 0, 0, 0, 0, 1, 9, 0], Err(NoFrame)),
            (&[1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], Err(NoFrame)),
        ] {
            assert_eq!(Frame::read(bytes, 100).map(|frame| frame.map(|frame| frame.bytes)), expected, "{bytes:?}");
        }
        assert_eq!(Method::read(&[0, 60, 0, 80, 0]), None);
        let ack = [0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 5, 1];
        assert_eq!(Method::read(&ack), Some(Method::Ack { tag: 5, multiple: true }));
        let close = [0, 20, 0, 40, 1, 0x94, 2, b'n', b'o', 0, 60, 0, 40];
        assert_eq!(Method::read(&close), Some(Method::ChannelClose { code: 404, reason: "no" }));
    }

    proptest! {
        #[test]
        fn any_frame_is_read_whole_and_its_method_never_panics(
            (kind, channel) in (0_u8..10, any::<u16>()),
            method in prop::sample::select(vec![[10_u8, 10], [10, 20], [10, 30], [10, 41], [10, 50], [20, 40], [60, 50], [60, 80], [60, 120]]),
            arguments in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..80),
            end in prop_oneof![4 => Just(FRAME_END), 1 => any::<u8>()],
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let payload = [&[0, method[0], 0, method[1]][..], &arguments].concat();
            let length = u32::try_from(payload.len()).unwrap();
            let mut bytes = [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), &payload, &[end]].concat();
            let whole = bytes.len();
            for length in 0..whole {
                prop_assert!(matches!(Frame::read(&bytes[..length], 100), Ok(None)), "incomplete");
            }
            bytes.extend_from_slice(&behind);
            match Frame::read(&bytes, 100) {
                Ok(Some(frame)) => {
                    prop_assert_eq!((frame.kind, frame.channel, frame.payload, frame.bytes), (kind, channel, &payload[..], whole));
                }
                other => prop_assert!(end != FRAME_END, "{:?}", other),
            }
            let _read = (Method::read(&payload), message_id(&payload), message_id(&[&[0; 12][..], &arguments].concat()));
        }

        #[test]
        fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(frame)) = Frame::read(&bytes, 100) {
                prop_assert!(frame.bytes <= bytes.len().min(100));
            }
            let _read = (Method::read(&bytes), message_id(&bytes));
        }
    }
}
