//! What lies in the values of the store: FlatBuffers built and read (`schemas/fbs/record.fbs`). Everything read is verified;
//! bytes that are no record are an error that names the key, never a panic. Knows no engine.

use std::{borrow::Cow, fmt};

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Vector, WIPOffset};
use schemas::{generated::record as fb, telemetry::Value};

use crate::{clock::Timestamp, store::StoreError};

const BOOL: u8 = 0;
const LONG: u8 = 1;
const DOUBLE: u8 = 2;
const TEXT: u8 = 3;
const JSON: u8 = 4;
/// In a latest value only: its reading was deleted and an older one has to be found (DESIGN 16, 18).
const WANTED: u8 = 255;

/// One reading of a row, by key id.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell<'a> {
    pub key: u32,
    pub value: Value<'a>,
}

/// One attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub ts: Timestamp,
    pub value: Value<'static>,
}

/// The newest reading of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    pub key: u32,
    pub ts: Timestamp,
    pub seq: u64,
    /// `None`: the reading at (ts, seq) was deleted, and the newest one below it has still to be found.
    pub value: Option<Value<'static>>,
}

/// Readings of `key` in [start, end) written with a seq below `seq` are deleted (DESIGN 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub key: u32,
    pub start: Timestamp,
    pub end: Timestamp,
    pub seq: u64,
}

impl Tombstone {
    /// Whether it deletes this reading.
    #[must_use]
    pub fn covers(&self, key: u32, ts: Timestamp, seq: u64) -> bool {
        self.key == key && self.start <= ts && ts < self.end && seq < self.seq
    }
}

/// The state record of one entity (DESIGN 16).
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Rows up to here are reflected in `latest`.
    pub covered: Timestamp,
    pub last_server: Timestamp,
    pub latest: Vec<Latest>,
    pub tombstones: Vec<Tombstone>,
    pub connectivity: Connectivity,
}

impl Default for State {
    fn default() -> Self {
        Self {
            // Before the first ts a reading may have, so that nothing is covered.
            covered: Timestamp(-1),
            last_server: Timestamp(0),
            latest: Vec::new(),
            tombstones: Vec::new(),
            connectivity: Connectivity::default(),
        }
    }
}

/// When a device was heard of; 0 = never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connectivity {
    pub last_connect: Timestamp,
    pub last_disconnect: Timestamp,
    pub last_activity: Timestamp,
    pub inactivity_alarm: Timestamp,
    pub active: bool,
    /// The time in the deadline key on disk; 0 = there is none.
    pub deadline: Timestamp,
}

/// A row, read.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    keys: Vector<'a, u32>,
    kinds: Vector<'a, u8>,
    numbers: Vector<'a, u64>,
    texts: Option<Vector<'a, ForwardsUOffset<&'a str>>>,
    pub ttl_s: u32,
    /// The device's last activity if the row carries it.
    pub activity: Option<Timestamp>,
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cells()).finish()
    }
}

impl<'a> Row<'a> {
    /// Reads a row's record.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`].
    pub fn read(key: &[u8], record: &'a [u8]) -> Result<Self, StoreError> {
        let bad = |why: &str| StoreError::corrupted("row", key, why);
        let row = flatbuffers::root::<fb::Row<'_>>(record).map_err(|error| bad(&error.to_string()))?;
        let (Some(keys), Some(kinds), Some(numbers)) = (row.keys(), row.kinds(), row.numbers()) else {
            return Err(bad("a vector is absent"));
        };
        if keys.len() != kinds.len() || keys.len() != numbers.len() {
            return Err(bad("vectors of different lengths"));
        }
        let activity = (row.activity_ts() != 0).then(|| Timestamp(row.activity_ts()));
        let read = Self { keys, kinds, numbers, texts: row.texts(), ttl_s: row.ttl_s(), activity };
        let bound = read.texts.map_or(0, |texts| texts.len() as u64);
        let whole = |index: usize| match kinds.get(index) {
            BOOL | LONG | DOUBLE => true,
            TEXT | JSON => numbers.get(index) < bound,
            _ => false,
        };
        if (0..keys.len()).all(whole) { Ok(read) } else { Err(bad("an unknown kind or a text out of range")) }
    }

    /// Its readings, in the order written.
    pub fn cells(self) -> impl Iterator<Item = Cell<'a>> {
        (0..self.keys.len()).map(move |index| Cell { key: self.keys.get(index), value: self.value(index) })
    }

    /// The reading of one key; the last if it has several.
    #[must_use]
    pub fn get(self, key: u32) -> Option<Value<'a>> {
        (0..self.keys.len()).rev().find(|index| self.keys.get(*index) == key).map(|index| self.value(index))
    }

    fn value(self, index: usize) -> Value<'a> {
        let number = self.numbers.get(index);
        let text = || {
            // `read` has checked the range.
            let texts = self.texts.filter(|texts| number < texts.len() as u64);
            Cow::Borrowed(texts.map_or("", |texts| texts.get(usize::try_from(number).unwrap_or(0))))
        };
        match self.kinds.get(index) {
            BOOL => Value::Bool(number != 0),
            LONG => Value::Long(number.cast_signed()),
            DOUBLE => Value::Double(f64::from_bits(number)),
            TEXT => Value::Text(text()),
            _ => Value::Json(text()),
        }
    }
}

/// Kind, number and text of a value. A text's number is set by whoever knows its place.
fn parts<'v>(value: &'v Value<'_>) -> (u8, u64, Option<&'v str>) {
    match value {
        Value::Bool(value) => (BOOL, u64::from(*value), None),
        Value::Long(value) => (LONG, value.cast_unsigned(), None),
        Value::Double(value) => (DOUBLE, value.to_bits(), None),
        Value::Text(text) => (TEXT, 0, Some(text)),
        Value::Json(text) => (JSON, 0, Some(text)),
    }
}

fn whole(kind: u8, number: u64, text: Option<&str>) -> Option<Value<'static>> {
    let text = || text.map(|text| Cow::Owned(text.to_owned()));
    Some(match kind {
        BOOL => Value::Bool(number != 0),
        LONG => Value::Long(number.cast_signed()),
        DOUBLE => Value::Double(f64::from_bits(number)),
        TEXT => Value::Text(text()?),
        JSON => Value::Json(text()?),
        _ => return None,
    })
}

/// Bytes a value holds outside itself.
pub(crate) fn text_bytes(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bool(_) | Value::Long(_) | Value::Double(_) => 0,
    }
}

/// Reads an attribute's record.
///
/// # Errors
/// [`StoreError::Corrupted`].
pub fn read_attribute(key: &[u8], record: &[u8]) -> Result<Attribute, StoreError> {
    let bad = |why: &str| StoreError::corrupted("attribute", key, why);
    let read = flatbuffers::root::<fb::Attribute<'_>>(record).map_err(|error| bad(&error.to_string()))?;
    let value = whole(read.kind(), read.number(), read.text()).ok_or_else(|| bad("an unknown kind or an absent text"))?;
    Ok(Attribute { ts: Timestamp(read.ts()), value })
}

/// Reads a state record.
///
/// # Errors
/// [`StoreError::Corrupted`].
pub fn read_state(key: &[u8], record: &[u8]) -> Result<State, StoreError> {
    let bad = |why: &str| StoreError::corrupted("state", key, why);
    let read = flatbuffers::root::<fb::State<'_>>(record).map_err(|error| bad(&error.to_string()))?;
    let latest = read.latest().into_iter().flatten().map(|latest| {
        let value = whole(latest.kind(), latest.number(), latest.text());
        if value.is_none() && latest.kind() != WANTED {
            return Err(bad("an unknown kind or an absent text"));
        }
        Ok(Latest { key: latest.key(), ts: Timestamp(latest.ts()), seq: latest.seq(), value })
    });
    let tombstones = read.tombstones().into_iter().flatten().map(|tombstone| Tombstone {
        key: tombstone.key(),
        start: Timestamp(tombstone.start_ts()),
        end: Timestamp(tombstone.end_ts()),
        seq: tombstone.seq(),
    });
    Ok(State {
        covered: Timestamp(read.covered_ts()),
        last_server: Timestamp(read.last_server_ts()),
        latest: latest.collect::<Result<_, _>>()?,
        tombstones: tombstones.collect(),
        connectivity: Connectivity {
            last_connect: Timestamp(read.last_connect_ts()),
            last_disconnect: Timestamp(read.last_disconnect_ts()),
            last_activity: Timestamp(read.last_activity_ts()),
            inactivity_alarm: Timestamp(read.inactivity_alarm_ts()),
            active: read.active(),
            deadline: Timestamp(read.deadline_ts()),
        },
    })
}

/// Builds records, one at a time, in memory it keeps.
#[derive(Default)]
pub struct Encoder {
    builder: FlatBufferBuilder<'static>,
    keys: Vec<u32>,
    kinds: Vec<u8>,
    numbers: Vec<u64>,
    texts: Vec<WIPOffset<&'static str>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record of one row. Of equal keys the last counts.
    pub fn row<'v>(
        &mut self,
        cells: impl Iterator<Item = (u32, &'v Value<'v>)>,
        ttl_s: u32,
        activity: Option<Timestamp>,
    ) -> &[u8] {
        self.begin();
        for (key, value) in cells {
            let (kind, mut number, text) = parts(value);
            if let Some(text) = text {
                number = self.texts.len() as u64;
                self.texts.push(self.builder.create_string(text));
            }
            self.keys.push(key);
            self.kinds.push(kind);
            self.numbers.push(number);
        }
        let builder = &mut self.builder;
        let texts = (!self.texts.is_empty()).then(|| builder.create_vector(&self.texts));
        let numbers = builder.create_vector(&self.numbers);
        let keys = builder.create_vector(&self.keys);
        let kinds = builder.create_vector(&self.kinds);
        let activity_ts = activity.map_or(0, |ts| ts.0);
        let args = fb::RowArgs { keys: Some(keys), kinds: Some(kinds), numbers: Some(numbers), texts, ttl_s, activity_ts };
        let row = fb::Row::create(builder, &args);
        builder.finish_minimal(row);
        builder.finished_data()
    }

    /// The record of one attribute.
    pub fn attribute(&mut self, ts: Timestamp, value: &Value<'_>) -> &[u8] {
        self.begin();
        let (kind, number, text) = parts(value);
        let text = text.map(|text| self.builder.create_string(text));
        let args = fb::AttributeArgs { ts: ts.0, kind, number, text };
        let attribute = fb::Attribute::create(&mut self.builder, &args);
        self.builder.finish_minimal(attribute);
        self.builder.finished_data()
    }

    /// The state record of one entity.
    pub fn state(&mut self, state: &State) -> &[u8] {
        self.begin();
        let builder = &mut self.builder;
        let mut latest = Vec::with_capacity(state.latest.len());
        for entry in &state.latest {
            let (kind, number, text) = entry.value.as_ref().map_or((WANTED, 0, None), parts);
            let text = text.map(|text| builder.create_string(text));
            let args = fb::LatestArgs { key: entry.key, ts: entry.ts.0, seq: entry.seq, kind, number, text };
            latest.push(fb::Latest::create(builder, &args));
        }
        let mut tombstones = Vec::with_capacity(state.tombstones.len());
        for entry in &state.tombstones {
            let args = fb::TombstoneArgs { key: entry.key, start_ts: entry.start.0, end_ts: entry.end.0, seq: entry.seq };
            tombstones.push(fb::Tombstone::create(builder, &args));
        }
        let latest = builder.create_vector(&latest);
        let tombstones = builder.create_vector(&tombstones);
        let connectivity = &state.connectivity;
        let args = fb::StateArgs {
            covered_ts: state.covered.0,
            last_server_ts: state.last_server.0,
            latest: Some(latest),
            tombstones: Some(tombstones),
            last_connect_ts: connectivity.last_connect.0,
            last_disconnect_ts: connectivity.last_disconnect.0,
            last_activity_ts: connectivity.last_activity.0,
            inactivity_alarm_ts: connectivity.inactivity_alarm.0,
            active: connectivity.active,
            deadline_ts: connectivity.deadline.0,
        };
        let record = fb::State::create(builder, &args);
        builder.finish_minimal(record);
        builder.finished_data()
    }

    fn begin(&mut self) {
        self.builder.reset();
        self.keys.clear();
        self.kinds.clear();
        self.numbers.clear();
        self.texts.clear();
    }
}

#[cfg(test)]
mod tests;
