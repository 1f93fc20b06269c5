//! The data representations of MQTT 5, 1.5, read and written. Never looks at what a field is for.

use super::{DecodeError, REMAINING_LENGTH_MAX};
use crate::codec::cursor::Cursor;

pub(super) fn u8(cursor: &mut Cursor<'_>) -> Result<u8, DecodeError> {
    cursor.u8().ok_or(DecodeError::Truncated)
}

pub(super) fn u16(cursor: &mut Cursor<'_>) -> Result<u16, DecodeError> {
    cursor.u16().ok_or(DecodeError::Truncated)
}

pub(super) fn u32(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    cursor.u32().ok_or(DecodeError::Truncated)
}

/// A packet identifier: never 0 [MQTT-2.3.1-1] (3.1.1), [MQTT-2.2.1-3] (5).
pub(super) fn packet_id(cursor: &mut Cursor<'_>) -> Result<u16, DecodeError> {
    match u16(cursor)? {
        0 => Err(DecodeError::PacketIdZero),
        id => Ok(id),
    }
}

/// A variable byte integer: at most four bytes, and no more than its value needs [MQTT-1.5.5-1].
pub(super) fn varint(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    let mut value = 0_u32;
    for position in 0..4_u32 {
        let byte = u8(cursor)?;
        value |= u32::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return if byte == 0 && position > 0 { Err(DecodeError::LengthOverlong) } else { Ok(value) };
        }
    }
    Err(DecodeError::LengthOverlong)
}

/// Binary data: two bytes of length, then the bytes.
pub(super) fn binary<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    let length = usize::from(u16(cursor)?);
    cursor.take(length).ok_or(DecodeError::Truncated)
}

/// A UTF-8 encoded string [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2].
pub(super) fn string<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let bytes = binary(cursor)?;
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
    if bytes.contains(&0) { Err(DecodeError::NullCharacter) } else { Ok(text) }
}

/// A topic name without wildcards [MQTT-3.3.2-2]. It may be empty: whether that is allowed depends on the packet.
pub(super) fn topic_name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let bytes = binary(cursor)?;
    let name = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
    // Nearly all names are good: one look at every byte, and no branch.
    if !bytes.iter().fold(false, |found, byte| found | matches!(byte, 0 | b'+' | b'#')) {
        return Ok(name);
    }
    Err(if bytes.contains(&0) { DecodeError::NullCharacter } else { DecodeError::TopicName })
}

/// How many bytes [`put_varint`] will write.
pub(super) fn varint_bytes(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer. Callers bound `value` by [`REMAINING_LENGTH_MAX`].
pub(super) fn put_varint(out: &mut Vec<u8>, value: usize) {
    debug_assert!(value <= REMAINING_LENGTH_MAX, "a variable byte integer has 28 bits");
    let mut left = value;
    for _ in 0..4 {
        let [low, ..] = (left & 0x7F).to_le_bytes();
        left >>= 7;
        out.push(if left == 0 { low } else { low | 0x80 });
        if left == 0 {
            break;
        }
    }
}

/// Appends a length and as much of `bytes` as that length can say. Callers bound the length; the cut keeps a mistake of
/// theirs from becoming an unreadable packet.
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}
