//! The wire format of protobuf: tags, numbers and lengths, in place. Knows no schema, never recurses, and is total on any bytes.

use crate::payload::{Flaw, PayloadError};

/// One value as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    /// A range of the whole payload.
    Bytes {
        from: usize,
        to: usize,
    },
}

/// A position in a payload, and where to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'w> {
    bytes: &'w [u8],
    at: usize,
    end: usize,
}

impl<'w> Reader<'w> {
    /// Reads `from..to` of the whole payload.
    pub(super) fn new(whole: &'w [u8], from: usize, to: usize) -> Self {
        let end = to.min(whole.len());
        Self { bytes: whole, at: from.min(end), end }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn error(&self, flaw: Flaw) -> PayloadError {
        PayloadError { flaw, at: self.at }
    }

    /// A field's number and its value.
    pub(super) fn field(&mut self) -> Result<(u32, Wire), PayloadError> {
        let refused = self.error(Flaw::WireTag);
        let tag = u32::try_from(self.varint()?).map_err(|_| refused)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(refused);
        }
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => self.fixed64()?,
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let from = self.at;
                let to = from.checked_add(length).filter(|to| *to <= self.end);
                self.at = to.ok_or_else(|| self.error(Flaw::WireTruncated))?;
                Wire::Bytes { from, to: self.at }
            }
            5 => self.fixed32()?,
            // Groups, which proto3 has not, and two that mean nothing.
            _ => return Err(refused),
        };
        Ok((number, wire))
    }

    /// Seven bits to a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64, PayloadError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.bytes.get(self.at).filter(|_| self.at < self.end) else {
                return Err(self.error(Flaw::WireTruncated));
            };
            self.at += 1;
            // What goes beyond 64 bits is dropped, as every reader does.
            value |= u64::from(byte & 0x7f).unbounded_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Flaw::WireNumber))
    }

    pub(super) fn fixed32(&mut self) -> Result<Wire, PayloadError> {
        self.array().map(|bytes| Wire::Fixed32(u32::from_le_bytes(bytes)))
    }

    pub(super) fn fixed64(&mut self) -> Result<Wire, PayloadError> {
        self.array().map(|bytes| Wire::Fixed64(u64::from_le_bytes(bytes)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let to = self.at.saturating_add(N);
        let taken = self.bytes.get(self.at..to.min(self.end)).and_then(|bytes| bytes.try_into().ok());
        let taken = taken.ok_or_else(|| self.error(Flaw::WireTruncated))?;
        self.at = to;
        Ok(taken)
    }
}
