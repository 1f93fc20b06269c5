//! FlatBuffers payloads (schemas/fbs/payload.fbs) to readings, read in place: keys and texts are borrowed from the payload. Every
//! offset is checked where it is followed, so there is no pass before; what is said twice by pointing to it twice counts twice.
//! Never recurses, and is total on any bytes.

pub mod harness;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::limits::{DECODED_BYTES_MAX, ENTRIES_PER_MESSAGE_MAX, KEY_BYTES_MAX, READINGS_PER_MESSAGE_MAX};
use crate::message::{Entry, Reading, Readings, Value};
use crate::payload::json::Scanner;
use crate::payload::last_wins::keep_last;
use crate::payload::{Flaw, PayloadError, refill};

/// At byte 4: the schema's `file_identifier`.
const IDENTIFIER: &[u8] = b"TGP1";
/// A vtable begins with its own length and its table's.
const VTABLE_HEAD_BYTES: usize = 4;

/// Reads telemetry: an entry for each time. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn telemetry<'a>(bytes: &'a [u8], into: &mut Readings<'a>) -> Result<(), PayloadError> {
    refill(into, |into| Buffer { bytes, said: 0 }.payload(into))
}

/// Reads attributes: one entry whose time means nothing. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn attributes<'a>(bytes: &'a [u8], into: &mut Readings<'a>) -> Result<(), PayloadError> {
    refill(into, |into| {
        Buffer { bytes, said: 0 }.payload(into)?;
        match into.entries.as_mut_slice() {
            [] => Ok(()),
            [entry] => {
                entry.ts = None;
                Ok(())
            }
            _ => Err(PayloadError { flaw: Flaw::TooManyEntries, at: bytes.len() }),
        }
    })
}

struct Buffer<'a> {
    bytes: &'a [u8],
    /// Bytes of keys and texts so far.
    said: usize,
}

/// A table: where it lies, and its vtable with its length.
#[derive(Clone, Copy)]
struct Table {
    at: usize,
    vtable: usize,
    length: usize,
}

impl<'a> Buffer<'a> {
    fn payload(&mut self, into: &mut Readings<'a>) -> Result<(), PayloadError> {
        if self.bytes.get(4..8) != Some(IDENTIFIER) {
            return Err(self.error(0));
        }
        let root = self.pointed(0)?;
        let (entries, count) = self.vector(self.table(root)?, 0)?;
        for index in 0..count {
            let entry = self.table(self.pointed(entries + 4 * index)?)?;
            self.entry(entry, into)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: Table, into: &mut Readings<'a>) -> Result<(), PayloadError> {
        let ts = match self.field(entry, 0)? {
            Some(at) => i64::from_le_bytes(self.array(at)?),
            None => 0,
        };
        let (readings, count) = self.vector(entry, 1)?;
        let from = into.readings.len();
        if from + count > READINGS_PER_MESSAGE_MAX {
            return Err(PayloadError { flaw: Flaw::TooManyReadings, at: readings });
        }
        for index in 0..count {
            let reading = self.table(self.pointed(readings + 4 * index)?)?;
            let reading = self.reading(reading)?;
            into.readings.push(reading);
        }
        keep_last(&mut into.readings, from, &[]);
        if into.readings.len() == from {
            return Ok(());
        }
        if into.entries.len() >= ENTRIES_PER_MESSAGE_MAX {
            return Err(PayloadError { flaw: Flaw::TooManyEntries, at: readings });
        }
        into.entries.push(Entry { ts: (ts != 0).then_some(Timestamp(ts)), range: from..into.readings.len() });
        Ok(())
    }

    fn reading(&mut self, table: Table) -> Result<Reading<'a>, PayloadError> {
        let key = self.text(table, 0)?;
        match key.len() {
            0 => return Err(PayloadError { flaw: Flaw::KeyEmpty, at: table.at }),
            1..=KEY_BYTES_MAX => {}
            _ => return Err(PayloadError { flaw: Flaw::KeyTooLong, at: table.at }),
        }
        let kind = match self.field(table, 1)? {
            Some(at) => self.array::<1>(at)?[0],
            None => 0,
        };
        let eight = |field| match self.field(table, field)? {
            Some(at) => self.array::<8>(at),
            None => Ok([0; 8]),
        };
        let value = match kind {
            0 => Value::Bool(i64::from_le_bytes(eight(2)?) != 0),
            1 => Value::Long(i64::from_le_bytes(eight(2)?)),
            2 => Value::Double(f64::from_le_bytes(eight(3)?)),
            3 => Value::Text(Cow::Borrowed(self.text(table, 4)?)),
            4 => {
                let mut scanner = Scanner::new(self.text(table, 4)?.as_bytes())?;
                if !matches!(scanner.token()?, b'{' | b'[') {
                    return Err(PayloadError { flaw: Flaw::NotForm, at: table.at });
                }
                let json = scanner.compact()?;
                scanner.end()?;
                Value::Json(json)
            }
            _ => return Err(self.error(table.at)),
        };
        match value {
            Value::Double(value) if !value.is_finite() => Err(PayloadError { flaw: Flaw::NumberTooLarge, at: table.at }),
            value => Ok(Reading { key: Cow::Borrowed(key), value }),
        }
    }

    /// The table at a place.
    fn table(&self, at: usize) -> Result<Table, PayloadError> {
        let back = i64::from(i32::from_le_bytes(self.array(at)?));
        let vtable = i64::try_from(at).ok().and_then(|at| usize::try_from(at - back).ok()).ok_or_else(|| self.error(at))?;
        let length = usize::from(u16::from_le_bytes(self.array(vtable)?));
        let whole = self.bytes.get(vtable..vtable.saturating_add(length)).is_some();
        if whole && length >= VTABLE_HEAD_BYTES { Ok(Table { at, vtable, length }) } else { Err(self.error(at)) }
    }

    /// Where a table has a field; `None`: it has its default.
    fn field(&self, table: Table, index: usize) -> Result<Option<usize>, PayloadError> {
        let entry = VTABLE_HEAD_BYTES + 2 * index;
        if entry + 2 > table.length {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(self.array(table.vtable + entry)?));
        Ok((offset != 0).then_some(table.at + offset))
    }

    /// A vector that must be there: where its first element lies, and how many 4-byte elements there are.
    fn vector(&self, table: Table, index: usize) -> Result<(usize, usize), PayloadError> {
        let (from, count) = self.sized(table, index)?;
        let bytes = count.checked_mul(4).and_then(|bytes| from.checked_add(bytes));
        if bytes.is_some_and(|end| end <= self.bytes.len()) { Ok((from, count)) } else { Err(self.error(from)) }
    }

    /// A text that must be there.
    fn text(&mut self, table: Table, index: usize) -> Result<&'a str, PayloadError> {
        let (from, length) = self.sized(table, index)?;
        let bytes = from.checked_add(length).and_then(|to| self.bytes.get(from..to)).ok_or_else(|| self.error(from))?;
        self.said += bytes.len();
        if self.said > DECODED_BYTES_MAX {
            return Err(PayloadError { flaw: Flaw::DecodedTooLarge, at: from });
        }
        std::str::from_utf8(bytes).map_err(|_| PayloadError { flaw: Flaw::NotUtf8, at: from })
    }

    /// What is pointed to by a field and says its own length.
    fn sized(&self, table: Table, index: usize) -> Result<(usize, usize), PayloadError> {
        let field = self.field(table, index)?.ok_or_else(|| self.error(table.at))?;
        let at = self.pointed(field)?;
        let length = u32::from_le_bytes(self.array(at)?);
        Ok((at + 4, usize::try_from(length).map_err(|_| self.error(at))?))
    }

    /// Follows an offset.
    fn pointed(&self, at: usize) -> Result<usize, PayloadError> {
        let offset = usize::try_from(u32::from_le_bytes(self.array(at)?)).map_err(|_| self.error(at))?;
        at.checked_add(offset).filter(|at| *at < self.bytes.len()).ok_or_else(|| self.error(at))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], PayloadError> {
        let bytes = at.checked_add(N).and_then(|to| self.bytes.get(at..to));
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| self.error(at))
    }

    fn error(&self, at: usize) -> PayloadError {
        PayloadError { flaw: Flaw::Flat, at: at.min(self.bytes.len()) }
    }
}
