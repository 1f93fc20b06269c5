//! State of one entity, owned by its shard: latest values, attributes, tombstones, connectivity, and how they lie on disk
//! (DESIGN 8.5, 15 to 21). Every change puts what makes it durable into the caller's batch; nothing here writes, waits or
//! asks the time.

pub mod alarms;
mod attributes;
mod connectivity;
mod dictionary;
pub mod forward;
pub mod kept;
mod load;
mod marks;
pub mod outbox;
pub mod passage;
pub mod progress;
mod sequence;
mod timeseries;
pub mod told;
pub mod waiting;
pub mod windows;

use std::{collections::BTreeMap, mem::size_of};

use schemas::{
    id::{EntityId, Partition},
    telemetry::{Scope, Value},
};

pub use self::{
    connectivity::{deadlines, interrupted},
    dictionary::{Dictionary, DictionaryFull},
    load::Loaded,
    sequence::Sequence,
    timeseries::{Deleted, Saved},
};
use crate::{
    clock::Timestamp,
    limits,
    quota::Refusals,
    store::{
        Batch, Encoder, Family, Tombstone,
        key::{self, Kind},
        record::{Attribute, Latest, State, text_bytes},
    },
};

/// What a change of a device's state writes with.
#[derive(Debug)]
pub struct Writing<'a> {
    pub batch: &'a mut Batch,
    pub dictionary: &'a mut Dictionary,
    pub sequence: &'a mut Sequence,
    pub encoder: &'a mut Encoder,
    /// The keys of the readings at hand; kept for its memory only.
    pub keys: &'a mut Vec<Key>,
    pub now: Timestamp,
}

/// Where the key of a reading was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// 0: the partition has no such name yet.
    id: u32,
    /// In the sorted list of latest values.
    place: Option<usize>,
}

impl Key {
    /// A key whose place has to be looked for.
    fn of(id: u32) -> Self {
        Self { id, place: None }
    }
}

/// Why readings or a deletion were refused. Nothing was changed and nothing put into the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedReadings {
    #[error("ts {ts} is outside [0, {most}]: 24 h ahead of the server at most")]
    Timestamp { ts: i64, most: i64 },
    #[error("the device would have {keys} keys; at most {most} are allowed", most = limits::KEYS_PER_DEVICE_MAX)]
    TooManyKeys { keys: usize },
    #[error("the device's state would take {bytes} bytes; at most {most} are allowed", most = limits::DEVICE_STATE_BYTES_MAX)]
    StateTooLarge { bytes: usize },
    #[error("the device has {most} deleted ranges already", most = limits::TOMBSTONES_PER_DEVICE_MAX)]
    TooManyDeletions,
    #[error(transparent)]
    DictionaryFull(#[from] DictionaryFull),
}

/// One entity's state. Absent on disk = empty.
#[derive(Clone, Debug)]
pub struct DeviceState {
    entity: EntityId,
    /// As it goes to disk; `latest` is sorted by key. `covered` is what the record *on disk* covers.
    record: State,
    /// By scope number - 1.
    attributes: [BTreeMap<String, Attribute>; 3],
    /// The greatest ts of a row ever written.
    newest: Timestamp,
    /// Rows that a load would replay.
    rows_since_record: u32,
    /// The last activity that is on disk, in the record or a row.
    activity_on_disk: Timestamp,
    /// The record on disk is not what it would be now.
    dirty: bool,
    /// Of everything that grows.
    bytes: usize,
    /// What was refused since it was loaded.
    pub refusals: Refusals,
    /// Sessions, calls, children: most devices have none.
    kept: Option<Box<kept::Kept>>,
    /// Of calculated fields; never on disk.
    windows: Vec<windows::Window>,
}

const LATEST_BYTES: usize = size_of::<Latest>();
const ATTRIBUTE_BYTES: usize = size_of::<(String, Attribute)>() + 16;

impl DeviceState {
    /// The state of an entity of which nothing is stored.
    #[must_use]
    pub fn empty(entity: EntityId) -> Self {
        Self {
            entity,
            record: State::default(),
            attributes: Default::default(),
            newest: Timestamp(-1),
            rows_since_record: 0,
            activity_on_disk: Timestamp(0),
            dirty: false,
            bytes: 0,
            refusals: Refusals::default(),
            kept: None,
            windows: Vec::new(),
        }
    }

    #[must_use]
    pub fn entity(&self) -> EntityId {
        self.entity
    }

    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition::of(self.entity)
    }

    /// For a range read beside this state.
    #[must_use]
    pub fn tombstones(&self) -> &[Tombstone] {
        &self.record.tombstones
    }

    /// Whether eviction has something to write. What is lost without it can be recovered from rows, except the activity of
    /// the last pings.
    #[must_use]
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Resident size, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let windows: usize = self.windows.iter().map(windows::Window::bytes).sum();
        size_of::<Self>() + self.bytes + self.kept.as_ref().map_or(0, |kept| kept.bytes()) + windows
    }

    /// Writes the record if it has changed: at eviction and at clean stop (DESIGN 16).
    pub fn flush_record(&mut self, w: &mut Writing<'_>) {
        if self.dirty {
            self.write_record(w);
        }
    }

    fn write_record(&mut self, w: &mut Writing<'_>) {
        self.record.covered = self.record.covered.max(self.newest);
        w.batch.put(Family::State, &key::entity(Kind::State, self.entity), w.encoder.state(&self.record));
        self.rows_since_record = 0;
        self.activity_on_disk = self.record.connectivity.last_activity;
        self.dirty = false;
    }

    fn scope(&self, scope: Scope) -> &BTreeMap<String, Attribute> {
        &self.attributes[scope as usize - 1]
    }

    fn scope_mut(&mut self, scope: Scope) -> &mut BTreeMap<String, Attribute> {
        &mut self.attributes[scope as usize - 1]
    }

    fn find_latest(&self, key: u32) -> Result<usize, usize> {
        self.record.latest.binary_search_by_key(&key, |latest| latest.key)
    }

    /// DESIGN 16: latest is the reading with the greatest (ts, seq).
    fn observe(&mut self, Key { id: key, place }: Key, ts: Timestamp, seq: u64, value: &Value<'_>) {
        let new = || Latest { key, ts, seq, value: Some(value.clone().into_owned()) };
        let text = text_bytes(value);
        match place.map_or_else(|| self.find_latest(key), Ok) {
            Ok(place) => {
                let latest = &mut self.record.latest[place];
                if (ts, seq) >= (latest.ts, latest.seq) {
                    self.bytes = self.bytes - latest.value.as_ref().map_or(0, text_bytes) + text;
                    *latest = new();
                }
            }
            Err(place) => {
                self.record.latest.insert(place, new());
                self.bytes += LATEST_BYTES + text;
            }
        }
    }

    fn forget(&mut self, place: usize) {
        let gone = self.record.latest.remove(place);
        self.bytes -= LATEST_BYTES + gone.value.as_ref().map_or(0, text_bytes);
    }
}

/// Deletes everything an entity has, by ranges (DESIGN 18). Its deadline key, if any, is found stale at the next start; when its
/// messages were due lies by time, and is deleted by whoever knows the times.
pub fn delete_entity(entity: EntityId, batch: &mut Batch) {
    let ranges =
        [Kind::Row, Kind::Attribute, Kind::Kept, Kind::Call, Kind::Forward, Kind::Owed, Kind::DeadLetter, Kind::AlarmFeed];
    for kind in ranges {
        batch.delete_range(kind.family(), &key::entity(kind, entity), &key::entity_end(kind, entity));
    }
    let (from, to) = key::waiting_range(entity, None);
    batch.delete_range(Kind::Waiting.family(), &from, &to);
    for kind in [Kind::State, Kind::Connected, Kind::RulesDue] {
        batch.delete(kind.family(), &key::entity(kind, entity));
    }
}

#[cfg(test)]
mod tests;
