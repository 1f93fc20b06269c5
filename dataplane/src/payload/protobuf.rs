//! Protobuf payloads by a profile's schema: to the readings that JSON would be, to JSON, and from JSON. The JSON is ThingsBoard's
//! (protobuf's own mapping, defaults shown). Builds no tree: one message at a time is an index of its bytes. Total on any bytes; what
//! comes out is bounded by [`DECODED_BYTES_MAX`], and how deep it goes by [`JSON_DEPTH_MAX`].

pub mod harness;
mod scalar;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::borrow::Cow;
use std::ops::Range;

use schemas::protobuf::{FIELDS_MAX, Field, JSON_NAME_BYTES_MAX, Kind, Label, Message, Schema};

pub use write::{Unwritable, write};

use crate::clock::Timestamp;
use crate::limits::{DECODED_BYTES_MAX, JSON_DEPTH_MAX, KEY_BYTES_MAX, READINGS_PER_MESSAGE_MAX};
use crate::message::{Entry, Reading, Readings, Value};
use crate::payload::encode::{rpc_request, string};
use crate::payload::protobuf::scalar::Scalar;
use crate::payload::protobuf::wire::{Reader, Wire};
use crate::payload::{Casting, Flaw, PayloadError, is_json, refill};

const _: () = assert!(JSON_NAME_BYTES_MAX <= KEY_BYTES_MAX, "a field's name is a key");
const _: () = assert!(FIELDS_MAX <= READINGS_PER_MESSAGE_MAX, "every field of a message may be a reading");

/// Reads telemetry: the fields of the message, or those of its `values` at its `ts`. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn telemetry<'a>(schema: &'a Schema, bytes: &'a [u8], casting: Casting, into: &mut Readings<'a>) -> Result<(), PayloadError> {
    refill(into, |into| {
        let mut walk = Walk::new(schema, bytes);
        let root = schema.root();
        let mark = walk.index(root, std::iter::once((0, bytes.len())))?;
        let Some((ts, field, group)) = walk.timed(mark)? else { return walk.readings(root, mark, casting, (None, into)) };
        let Kind::Message(index) = field.kind else { return Err(walk.error(Flaw::Values)) };
        let values = schema.message(index);
        let mark = walk.index_group(values, group)?;
        walk.readings(values, mark, casting, (Some(ts), into))
    })
}

/// Reads attributes: the fields of the message, one entry without ts. `into` is emptied first, and on error.
///
/// # Errors
/// [`PayloadError`] for anything else.
pub fn attributes<'a>(
    schema: &'a Schema,
    bytes: &'a [u8],
    casting: Casting,
    into: &mut Readings<'a>,
) -> Result<(), PayloadError> {
    refill(into, |into| {
        let mut walk = Walk::new(schema, bytes);
        let mark = walk.index(schema.root(), std::iter::once((0, bytes.len())))?;
        walk.readings(schema.root(), mark, casting, (None, into))
    })
}

/// Rewrites a message as JSON.
///
/// # Errors
/// [`PayloadError`] when it is none, or would be too large or too deep.
pub fn json(schema: &Schema, bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut walk = Walk::new(schema, bytes);
    let mark = walk.index(schema.root(), std::iter::once((0, bytes.len())))?;
    walk.object(schema.root(), mark, 1)?;
    walk.sized()?;
    Ok(walk.out)
}

/// Rewrites ThingsBoard's `RpcRequest` as the JSON of a device's call to the server. Params that are no JSON are a text.
///
/// # Errors
/// [`PayloadError`] when it is none.
pub fn rpc_call(schema: &Schema, bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut said = Readings::default();
    attributes(schema, bytes, Casting::Disabled, &mut said)?;
    let text = |name: &str| match said.readings.iter().find(|reading| reading.key == name) {
        Some(Reading { value: Value::Text(text), .. }) => text.clone(),
        _ => Cow::Borrowed(""),
    };
    let (method, params) = (text("method"), text("params"));
    let mut quoted = Vec::new();
    if !params.is_empty() && !is_json(params.as_bytes()) {
        string(&params, &mut quoted);
    }
    let params = if quoted.is_empty() { params } else { String::from_utf8(quoted).map_or(params, Cow::Owned) };
    let mut json = Vec::new();
    rpc_request(None, &method, &params, &mut json);
    Ok(json)
}

/// A value of a field of the message that is looked at.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Index into the message's fields; [`NOTHING`] if another field of its oneof came later.
    field: usize,
    wire: Wire,
}

const NOTHING: usize = usize::MAX;

/// When something was measured, and the field and the values that say what.
type Timed<'a> = (Timestamp, &'a Field, Range<usize>);

struct Walk<'a> {
    schema: &'a Schema,
    bytes: &'a [u8],
    /// Of the messages that are open, the innermost last: what they hold, by fields, and within one in the order of the wire.
    found: Vec<Found>,
    /// JSON that is being written.
    out: Vec<u8>,
    /// How much was written and taken away.
    written: usize,
}

impl<'a> Walk<'a> {
    fn new(schema: &'a Schema, bytes: &'a [u8]) -> Self {
        Self { schema, bytes, found: Vec::new(), out: Vec::new(), written: 0 }
    }

    fn error(&self, flaw: Flaw) -> PayloadError {
        PayloadError { flaw, at: self.bytes.len() }
    }

    /// Opens a message that lies at these places, one after another (that is how messages are merged). Where its values begin.
    fn index(&mut self, message: &Message, places: impl Iterator<Item = (usize, usize)>) -> Result<usize, PayloadError> {
        let mark = self.found.len();
        for (from, to) in places {
            let mut reader = Reader::new(self.bytes, from, to);
            while !reader.is_over() {
                let (number, wire) = reader.field()?;
                // What the schema does not know, or knows of another type, means nothing.
                if let Some(field) = message.field(number)
                    && message.fields.get(field).is_some_and(|field| scalar::fits(field, wire))
                {
                    self.found.push(Found { field, wire });
                }
            }
        }
        if message.oneofs > 0 {
            self.settle_oneofs(message, mark);
        }
        self.found[mark..].sort_by_key(|found| found.field);
        while self.found.len() > mark && self.found.last().is_some_and(|found| found.field == NOTHING) {
            self.found.pop();
        }
        Ok(mark)
    }

    /// The same for a message that lies at the places of these values.
    fn index_group(&mut self, message: &Message, group: Range<usize>) -> Result<usize, PayloadError> {
        let places: Vec<(usize, usize)> = self.found[group].iter().filter_map(|found| place(found.wire)).collect();
        self.index(message, places.into_iter())
    }

    /// Of the fields of a oneof the last one counts, and of its values those since another one came.
    fn settle_oneofs(&mut self, message: &Message, mark: usize) {
        let oneof = |found: &Found| message.fields.get(found.field).and_then(|field| field.oneof);
        let members = self.found[mark..].iter().enumerate();
        let mut members: Vec<(usize, usize)> = members.filter_map(|(at, found)| Some((oneof(found)?, mark + at))).collect();
        members.sort_unstable();
        let mut last: Option<(usize, usize)> = None;
        let mut over = false;
        for (oneof, at) in members.into_iter().rev() {
            let field = self.found[at].field;
            match last {
                Some((of, winner)) if of == oneof => over |= field != winner,
                _ => (last, over) = (Some((oneof, field)), false),
            }
            if over {
                self.found[at].field = NOTHING;
            }
        }
    }

    /// Calls `each` with every field that is to be shown, in the order of the schema, and its values.
    fn fields<F>(&mut self, message: &'a Message, mark: usize, mut each: F) -> Result<(), PayloadError>
    where
        F: FnMut(&mut Self, &'a Field, Range<usize>) -> Result<(), PayloadError>,
    {
        let end = self.found.len();
        let (mut at, mut defaults) = (mark, message.defaults.iter().copied().peekable());
        loop {
            let found = if at < end { self.found[at].field } else { NOTHING };
            let index = found.min(defaults.peek().copied().unwrap_or(NOTHING));
            let Some(field) = message.fields.get(index) else { return Ok(()) };
            defaults.next_if_eq(&index);
            let from = at;
            while at < end && self.found[at].field == index {
                at += 1;
            }
            each(self, field, from..at)?;
        }
    }

    /// If it is telemetry with a time.
    fn timed(&self, mark: usize) -> Result<Option<Timed<'a>>, PayloadError> {
        let Some((ts, values)) = self.schema.timed() else { return Ok(None) };
        let group = |index: usize| {
            let found = &self.found[mark..];
            let from = found.partition_point(|found| found.field < index);
            mark + from..mark + found.partition_point(|found| found.field <= index)
        };
        let (at, group) = (group(ts), group(values));
        let fields = &self.schema.root().fields;
        let (Some(ts), Some(values)) = (fields.get(ts), fields.get(values)) else { return Ok(None) };
        if group.is_empty() || at.is_empty() && ts.label == Label::Optional {
            return Ok(None);
        }
        match self.last(ts, at)? {
            Scalar::Long(ts) => Ok(Some((Timestamp(ts), values, group))),
            _ => Err(self.error(Flaw::Ts)),
        }
    }

    /// Makes an entry of a message's fields; none if there are none.
    fn readings(
        &mut self,
        message: &'a Message,
        mark: usize,
        casting: Casting,
        (ts, into): (Option<Timestamp>, &mut Readings<'a>),
    ) -> Result<(), PayloadError> {
        self.fields(message, mark, |walk, field, group| {
            let is_one = matches!(field.label, Label::Implicit | Label::Optional);
            let value = if is_one && !matches!(field.kind, Kind::Message(_)) {
                walk.last(field, group)?.into_value(casting)
            } else {
                walk.value(field, group, 0)?;
                walk.sized()?;
                let text = std::mem::take(&mut walk.out);
                walk.written += text.len();
                Value::Json(Cow::Owned(String::from_utf8(text).map_err(|_| walk.error(Flaw::NotUtf8))?))
            };
            into.readings.push(Reading { key: Cow::Borrowed(&field.json), value });
            Ok(())
        })?;
        if !into.readings.is_empty() {
            into.entries.push(Entry { ts, range: 0..into.readings.len() });
        }
        Ok(())
    }

    /// Writes an open message and closes it.
    fn object(&mut self, message: &'a Message, mark: usize, depth: u32) -> Result<(), PayloadError> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.error(Flaw::Depth));
        }
        self.out.push(b'{');
        let mut first = true;
        self.fields(message, mark, |walk, field, group| {
            walk.comma(&mut first)?;
            string(&field.json, &mut walk.out);
            walk.out.push(b':');
            walk.value(field, group, depth)
        })?;
        self.out.push(b'}');
        self.found.truncate(mark);
        Ok(())
    }

    /// Writes a field that lies `depth` levels deep.
    fn value(&mut self, field: &'a Field, group: Range<usize>, depth: u32) -> Result<(), PayloadError> {
        match (field.label, field.kind) {
            (Label::Map, Kind::Message(entry)) => self.map(self.schema.message(entry), group, depth + 1),
            (Label::Repeated | Label::Map, _) => self.array(field, group, depth + 1),
            (_, Kind::Message(index)) => {
                let message = self.schema.message(index);
                let mark = self.index_group(message, group)?;
                self.object(message, mark, depth + 1)
            }
            _ => {
                self.last(field, group)?.write(field.kind, &mut self.out);
                Ok(())
            }
        }
    }

    fn array(&mut self, field: &'a Field, group: Range<usize>, depth: u32) -> Result<(), PayloadError> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.error(Flaw::Depth));
        }
        self.out.push(b'[');
        let mut first = true;
        for at in group {
            let wire = self.found[at].wire;
            match (field.kind, place(wire)) {
                (Kind::Message(index), _) => {
                    self.comma(&mut first)?;
                    self.element(index, at, depth)?;
                }
                (kind, Some((from, to))) if scalar::is_packable(kind) => {
                    let mut reader = Reader::new(self.bytes, from, to);
                    while !reader.is_over() {
                        let wire = scalar::packed(kind, &mut reader)?;
                        self.comma(&mut first)?;
                        scalar::read(self.schema, self.bytes, kind, wire)?.write(kind, &mut self.out);
                    }
                }
                (kind, _) => {
                    self.comma(&mut first)?;
                    scalar::read(self.schema, self.bytes, kind, wire)?.write(kind, &mut self.out);
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// A message that is one of many.
    fn element(&mut self, index: usize, at: usize, depth: u32) -> Result<(), PayloadError> {
        let message = self.schema.message(index);
        let mark = self.index_group(message, at..at + 1)?;
        self.object(message, mark, depth + 1)
    }

    /// Of entries with the same key the last one counts.
    fn map(&mut self, entry: &'a Message, group: Range<usize>, depth: u32) -> Result<(), PayloadError> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.error(Flaw::Depth));
        }
        let [key, value] = entry.fields.as_slice() else { return Err(self.error(Flaw::WireTag)) };
        let mut keys: Vec<(String, usize)> = Vec::with_capacity(group.len());
        for at in group {
            let mark = self.index_group(entry, at..at + 1)?;
            let end = mark + self.found[mark..].partition_point(|found| found.field == 0);
            let text = self.last(key, mark..end)?.into_key();
            self.found.truncate(mark);
            keys.push((text, at));
        }
        keys.sort();
        self.out.push(b'{');
        let mut first = true;
        let mut keys = keys.into_iter().peekable();
        while let Some((text, at)) = keys.next() {
            if keys.peek().is_some_and(|(next, _)| *next == text) {
                continue;
            }
            self.comma(&mut first)?;
            string(&text, &mut self.out);
            self.out.push(b':');
            let mark = self.index_group(entry, at..at + 1)?;
            let from = mark + self.found[mark..].partition_point(|found| found.field == 0);
            self.value(value, from..self.found.len(), depth)?;
            self.found.truncate(mark);
        }
        self.out.push(b'}');
        Ok(())
    }

    /// What a field is that holds one value: the last that came, or the default of its type.
    fn last(&self, field: &Field, group: Range<usize>) -> Result<Scalar<'a>, PayloadError> {
        match self.found[group].last() {
            Some(found) => scalar::read(self.schema, self.bytes, field.kind, found.wire),
            None => Ok(Scalar::default_of(self.schema, field.kind)),
        }
    }

    /// Before a part. One more part adds at most what the payload or a name holds.
    fn comma(&mut self, first: &mut bool) -> Result<(), PayloadError> {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
        self.sized()
    }

    fn sized(&self) -> Result<(), PayloadError> {
        if self.written + self.out.len() > DECODED_BYTES_MAX { Err(self.error(Flaw::DecodedTooLarge)) } else { Ok(()) }
    }
}

fn place(wire: Wire) -> Option<(usize, usize)> {
    match wire {
        Wire::Bytes { from, to } => Some((from, to)),
        _ => None,
    }
}
