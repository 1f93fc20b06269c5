//! WebSocket as a server that carries MQTT reads and writes it (RFC 6455; MQTT 5, chapter 6): frames of a client to a stream of
//! bytes, and bytes to frames. Where frames begin and end means nothing to MQTT [MQTT-6.0.0-2], so payloads are passed on as they
//! come, never gathered. Total on any bytes; holds at most one control frame. Never looks into what it carries.

pub mod harness;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::cursor::Cursor;

/// Length of a `Sec-WebSocket-Accept`: SHA-1 in base64.
pub const ACCEPT_BYTES: usize = 28;

/// RFC 6455, 1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// RFC 6455, 5.5: the payload of a control frame.
const CONTROL_BYTES_MAX: usize = 125;
/// Two bytes, the longest length and the key.
const HEADER_BYTES_MAX: usize = 14;

/// What `Sec-WebSocket-Accept` must say; `None` if the client's key is not 16 bytes in base64 (RFC 6455, 4.2.1).
#[must_use]
pub fn accept(key: &[u8]) -> Option<String> {
    let mut nonce = [0; 18];
    if STANDARD.decode_slice(key, &mut nonce) != Ok(16) {
        return None;
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    Some(STANDARD.encode(hash.finish()))
}

/// Status codes of a close frame (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL_ERROR: Self = Self(1002);
    pub const UNSUPPORTED: Self = Self(1003);
    pub const INVALID_PAYLOAD: Self = Self(1007);

    /// May stand in a frame (RFC 6455, 7.4.2 and the registry of IANA).
    fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Why a connection's frames make no sense. It must be told by [`encode_close`] and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    #[error("reserved bits are set")]
    ReservedBits,
    #[error("reserved opcode")]
    Opcode,
    #[error("a frame of a client is not masked")]
    Unmasked,
    #[error("a length is written longer than it needs, or too large")]
    Length,
    #[error("a control frame is fragmented or longer than 125 bytes")]
    Control,
    #[error("a continuation of nothing, or a new message inside another")]
    Continuation,
    #[error("a text frame")]
    Text,
    #[error("a close frame with half a code or one that must not be sent")]
    CloseCode,
    #[error("the reason of a close frame is not UTF-8")]
    CloseReason,
}

impl WebSocketError {
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            // [MQTT-6.0.0-1]: data frames are binary.
            Self::Text => CloseCode::UNSUPPORTED,
            Self::CloseReason => CloseCode::INVALID_PAYLOAD,
            Self::ReservedBits
            | Self::Opcode
            | Self::Unmasked
            | Self::Length
            | Self::Control
            | Self::Continuation
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Open,
    /// The client said goodbye and its close frame is answered: what it sends now means nothing.
    Closed,
}

/// Reads one client's frames. Holds nothing while the stream stands between frames or inside a data frame.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Bytes of the data frame at hand that have not come.
    left: u64,
    /// Its key, turned so that its first byte is for the next byte of the payload.
    key: [u8; 4],
    /// A message is not at its end: its next frame is a continuation.
    fragmented: bool,
    closed: bool,
    /// A header or a control frame that is not whole.
    held: Vec<u8>,
}

/// One header (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    opcode: u8,
    key: [u8; 4],
    length: u64,
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

impl Decoder {
    /// Takes all of `raw`: appends what data frames carry to `payload`, and what must be sent because of control frames to
    /// `output`. Neither grows by more than `raw` has bytes, and what is held.
    pub fn decode(&mut self, raw: &[u8], payload: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<Stream, WebSocketError> {
        let mut raw = raw;
        while !self.closed && !raw.is_empty() {
            if self.left > 0 {
                self.unmask(&mut raw, payload);
            } else if self.held.is_empty() {
                // The common case: the header lies in one piece.
                match self.begin(&mut raw, output)? {
                    Begun::Yes => {}
                    Begun::Incomplete => self.held.extend_from_slice(std::mem::take(&mut raw)),
                }
            } else {
                self.begin_held(&mut raw, output)?;
            }
        }
        Ok(if self.closed { Stream::Closed } else { Stream::Open })
    }

    /// Bytes kept of a frame that is not whole.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    fn unmask(&mut self, raw: &mut &[u8], payload: &mut Vec<u8>) {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(raw.len());
        let Some((now, later)) = raw.split_at_checked(count) else { return };
        *raw = later;
        self.left -= count as u64;
        append_masked(now, self.key, payload);
        self.key.rotate_left(count % 4);
    }

    /// Adds bytes to a frame in pieces, one by one: there are few, and none of the next frame may be taken.
    fn begin_held(&mut self, raw: &mut &[u8], output: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let mut held = std::mem::take(&mut self.held);
        while let Some((&byte, rest)) = raw.split_first() {
            *raw = rest;
            held.push(byte);
            if self.begin(&mut held.as_slice(), output)? == Begun::Yes {
                return Ok(());
            }
        }
        self.held = held;
        Ok(())
    }

    /// Reads a header, and all of a control frame, from the front of `raw`; takes nothing while that is not there.
    fn begin(&mut self, raw: &mut &[u8], output: &mut Vec<u8>) -> Result<Begun, WebSocketError> {
        let mut cursor = Cursor::new(raw);
        let Some(header) = header(&mut cursor)? else { return Ok(Begun::Incomplete) };
        match header.opcode {
            CLOSE | PING | PONG => {
                let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                let Some(masked) = cursor.take(length) else { return Ok(Begun::Incomplete) };
                let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
                append_masked(masked, header.key, &mut payload);
                self.control(header.opcode, &payload, output)?;
            }
            opcode => {
                if (opcode == CONTINUATION) != self.fragmented {
                    return Err(WebSocketError::Continuation);
                }
                self.fragmented = !header.fin;
                self.left = header.length;
                self.key = header.key;
            }
        }
        *raw = cursor.rest();
        Ok(Begun::Yes)
    }

    fn control(&mut self, opcode: u8, payload: &[u8], output: &mut Vec<u8>) -> Result<(), WebSocketError> {
        match opcode {
            // RFC 6455, 5.5.3: a pong carries what its ping carried.
            PING => encode(PONG, payload, output),
            CLOSE => {
                let mut cursor = Cursor::new(payload);
                match cursor.u16().map(CloseCode) {
                    None if payload.is_empty() => encode(CLOSE, &[], output),
                    Some(code) if code.is_sendable() => {
                        std::str::from_utf8(cursor.rest()).map_err(|_| WebSocketError::CloseReason)?;
                        encode_close(code, output);
                    }
                    _ => return Err(WebSocketError::CloseCode),
                }
                self.closed = true;
            }
            // A pong that nobody asked for may come (RFC 6455, 5.5.3).
            _ => {}
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Yes,
    Incomplete,
}

/// The header at the cursor; what is wrong with it is said as soon as it is there.
fn header(cursor: &mut Cursor<'_>) -> Result<Option<Header>, WebSocketError> {
    let (Some(first), second) = (cursor.u8(), cursor.u8()) else { return Ok(None) };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
    // No extension was agreed on that could use them (RFC 6455, 5.2).
    if first & 0x70 != 0 {
        return Err(WebSocketError::ReservedBits);
    }
    match opcode {
        CONTINUATION | BINARY | CLOSE | PING | PONG => {}
        TEXT => return Err(WebSocketError::Text),
        _ => return Err(WebSocketError::Opcode),
    }
    let Some(second) = second else { return Ok(None) };
    // RFC 6455, 5.1
    if second & 0x80 == 0 {
        return Err(WebSocketError::Unmasked);
    }
    let short = second & 0x7F;
    if opcode >= CLOSE && (!fin || usize::from(short) > CONTROL_BYTES_MAX) {
        return Err(WebSocketError::Control);
    }
    let length = match short {
        126 => cursor.u16().map(|length| (u64::from(length), 126)),
        127 => cursor.u32().zip(cursor.u32()).map(|(high, low)| ((u64::from(high) << 32) | u64::from(low), 0x1_0000)),
        short => Some((u64::from(short), 0)),
    };
    let Some((length, least)) = length else { return Ok(None) };
    // RFC 6455, 5.2: the shortest form, and no more than 63 bits.
    if length < least || length > u64::MAX >> 1 {
        return Err(WebSocketError::Length);
    }
    let Some(key) = cursor.take(4).and_then(|key| <[u8; 4]>::try_from(key).ok()) else { return Ok(None) };
    Ok(Some(Header { fin, opcode, key, length }))
}

/// RFC 6455, 5.3: the same both ways.
fn append_masked(bytes: &[u8], key: [u8; 4], into: &mut Vec<u8>) {
    into.reserve(bytes.len());
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        into.extend_from_slice(&(u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes());
    }
    into.extend(rest.iter().zip(key).map(|(byte, key)| byte ^ key));
}

/// Appends one binary frame with all of `payload`.
pub fn encode_binary(payload: &[u8], into: &mut Vec<u8>) {
    encode(BINARY, payload, into);
}

/// Appends a close frame.
pub fn encode_close(code: CloseCode, into: &mut Vec<u8>) {
    encode(CLOSE, &code.0.to_be_bytes(), into);
}

/// Frames of a server are whole and not masked (RFC 6455, 5.1).
fn encode(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.reserve(HEADER_BYTES_MAX + payload.len());
    into.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => into.push(length),
        (_, Ok(length)) => {
            into.push(126);
            into.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            into.push(127);
            into.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(payload);
}
