//! What must hold for any bytes at all: called by the property tests and by the fuzz target. Panics when it does not hold, so the
//! server never calls it.

use super::{BINARY, CLOSE, CONTINUATION, CONTROL_BYTES_MAX, Decoder, HEADER_BYTES_MAX, PONG, Stream, WebSocketError};
use super::{append_masked, encode_binary};
use crate::codec::cursor::Cursor;

/// What came of some frames.
pub type Outcome = (Vec<u8>, Vec<u8>, Result<Stream, WebSocketError>);

/// Reads `bytes` as frames of a client, whole and byte by byte; payload, output and result must be the same and bounded, the
/// output must be control frames of a server. Then takes `bytes` for a message and reads it back from frames of both sides.
///
/// # Panics
/// When one of these does not hold.
pub fn any(bytes: &[u8]) {
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(decode(bytes.chunks(7)), whole, "in pieces");
    let (payload, output, _) = &whole;
    assert!(payload.len() + output.len() <= bytes.len(), "frames of a client are larger than what comes of them");
    for (opcode, _) in frames(output) {
        assert!(opcode == PONG || opcode == CLOSE, "a client's frames are answered by control frames");
    }
    round_trip(bytes);
}

/// What comes of frames that arrive in these pieces.
///
/// # Panics
/// When more is held than a control frame.
pub fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut payload, mut output) = (Decoder::default(), Vec::new(), Vec::new());
    let mut result = Ok(Stream::Open);
    for piece in pieces {
        result = decoder.decode(piece, &mut payload, &mut output);
        assert!(decoder.held_bytes() < HEADER_BYTES_MAX + CONTROL_BYTES_MAX, "at most a control frame is held");
        if result.is_err() {
            break;
        }
    }
    (payload, output, result)
}

fn round_trip(message: &[u8]) {
    let key = [1, 2, 3, 4].map(|index: u8| message.get(usize::from(index)).copied().unwrap_or(index));
    let (first, last) = message.split_at(message.len() / 3);
    let mut raw = client_frame(first.len() == message.len(), BINARY, key, first);
    if first.len() < message.len() {
        raw.extend(client_frame(true, super::PING, key, &message[..message.len().min(CONTROL_BYTES_MAX)]));
        raw.extend(client_frame(true, CONTINUATION, key, last));
    }
    let (payload, _, result) = decode(raw.chunks(usize::from(key[0]) + 1));
    assert_eq!((payload.as_slice(), result), (message, Ok(Stream::Open)), "a message arrives as it was sent");
    let mut sent = Vec::new();
    encode_binary(message, &mut sent);
    assert_eq!(frames(&sent), [(BINARY, message)], "and leaves as it was given");
}

/// A frame as a client sends it.
#[must_use]
pub fn client_frame(fin: bool, opcode: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        length @ ..126 => frame.extend(u8::try_from(length).map(|length| 0x80 | length)),
        length @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    append_masked(payload, key, &mut frame);
    frame
}

/// The frames of a server: opcode and payload.
///
/// # Panics
/// When they are not whole, or masked, or longer written than they need.
#[must_use]
pub fn frames(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut cursor, mut frames) = (Cursor::new(bytes), Vec::new());
    while let Some(first) = cursor.u8() {
        assert_eq!(first & 0xF0, 0x80, "a server's frames are whole and without reserved bits");
        let length = match cursor.u8() {
            Some(126) => cursor.u16().map(u64::from).filter(|&length| length > 125),
            Some(127) => {
                let length = cursor.u32().zip(cursor.u32()).map(|(high, low)| u64::from(high) << 32 | u64::from(low));
                length.filter(|&length| length > 0xFFFF)
            }
            short => short.map(u64::from).filter(|&length| length < 126),
        };
        let payload = length.and_then(|length| cursor.take(usize::try_from(length).unwrap_or(usize::MAX)));
        let Some(payload) = payload else { panic!("a frame that is no frame of a server: {bytes:?}") };
        frames.push((first & 0x0F, payload));
    }
    frames
}
