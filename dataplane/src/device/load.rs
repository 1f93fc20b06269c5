//! An entity's state from disk: its record, the rows after it, its attributes (DESIGN 16). Runs on a reader lane.

use std::ops::ControlFlow;

use schemas::{
    id::EntityId,
    telemetry::{Scope, Value},
};

use super::{ATTRIBUTE_BYTES, DeviceState, LATEST_BYTES};
use crate::{
    clock::Timestamp,
    limits,
    store::{
        Engine, Family, Range, StoreError, Tombstone, history,
        key::{self, Kind},
        record::{self, Row, text_bytes},
    },
};

/// What a reader lane sends back to the shard.
#[derive(Debug)]
pub struct Loaded {
    pub entity: EntityId,
    pub result: Result<DeviceState, StoreError>,
}

impl DeviceState {
    /// Reads an entity's state as of everything written so far. `now` may be older than the newest write only as long as the
    /// load waited for its lane.
    ///
    /// # Errors
    /// The store cannot be read, or holds something damaged.
    pub fn load(engine: &dyn Engine, entity: EntityId, now: Timestamp) -> Result<Self, StoreError> {
        let mut state = Self::empty(entity);
        let record_key = key::entity(Kind::State, entity);
        if let Some(record) = engine.get(Family::State, &record_key)? {
            state.record = record::read_state(&record_key, &record)?;
            state.record.latest.sort_by_key(|latest| latest.key);
            state.newest = state.record.covered;
            let texts: usize = state.record.latest.iter().filter_map(|latest| latest.value.as_ref()).map(text_bytes).sum();
            state.bytes =
                state.record.latest.len() * LATEST_BYTES + texts + state.record.tombstones.len() * size_of::<Tombstone>();
        }
        let recorded = state.record.connectivity.last_activity;
        state.replay(engine, now)?;
        state.load_attributes(engine)?;
        state.load_kept(engine)?;
        state.find_wanted(engine, now)?;
        state.activity_on_disk = state.record.connectivity.last_activity;
        let connectivity = &mut state.record.connectivity;
        if connectivity.last_activity > recorded {
            connectivity.active = connectivity.last_activity > connectivity.inactivity_alarm;
            state.dirty = true;
        }
        Ok(state)
    }

    /// Takes in the rows that the record does not cover.
    fn replay(&mut self, engine: &dyn Engine, now: Timestamp) -> Result<(), StoreError> {
        let from = key::rows_from(self.entity, Timestamp(self.record.covered.0.saturating_add(1)));
        let to = key::entity_end(Kind::Row, self.entity);
        each_row(engine, Range::new(Family::Rows, &from, &to), |ts, seq, row| {
            for cell in row.cells() {
                if !self.is_deleted(cell.key, ts, seq) {
                    self.observe(super::Key::of(cell.key), ts, seq, &cell.value);
                }
            }
            self.newest = self.newest.max(ts);
            self.rows_since_record += 1;
            self.dirty = true;
            // A row does not say who chose its ts. The server's own are at most this far ahead, so none of them is missed, and
            // a device's that is taken for one only moves the next of the server's by a millisecond.
            if ts.0 <= now.0.saturating_add(super::timeseries::SERVER_AHEAD_MS) {
                self.record.last_server = self.record.last_server.max(ts);
            }
            if let Some(activity) = row.activity {
                self.saw_activity(activity);
            }
            ControlFlow::Continue(())
        })
    }

    fn load_attributes(&mut self, engine: &dyn Engine) -> Result<(), StoreError> {
        let from = key::entity(Kind::Attribute, self.entity);
        let to = key::entity_end(Kind::Attribute, self.entity);
        let mut failure = None;
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| match self.load_attribute(key, record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn load_kept(&mut self, engine: &dyn Engine) -> Result<(), StoreError> {
        let (from, to) = super::kept::range(self.entity);
        let mut failure = None;
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| match self.take_kept(key, record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn load_attribute(&mut self, key: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let (scope, name) =
            key::parse_attribute(key).ok_or_else(|| StoreError::corrupted("attribute", key, "the key is no attribute's key"))?;
        let attribute = record::read_attribute(key, record)?;
        if scope == Scope::Client {
            // Only the device itself writes these.
            self.saw_activity(attribute.ts);
        }
        self.bytes += ATTRIBUTE_BYTES + name.len() + text_bytes(&attribute.value);
        self.scope_mut(scope).insert(name.to_owned(), attribute);
        Ok(())
    }

    /// Finds the newest readings that deletions have uncovered (DESIGN 16, 18). Gives up, as if there were none, after
    /// [`limits::QUERY_ROWS_MAX`] rows.
    fn find_wanted(&mut self, engine: &dyn Engine, now: Timestamp) -> Result<(), StoreError> {
        let wanted = |latest: &&record::Latest| latest.value.is_none();
        let mut open: Vec<(u32, Option<Timestamp>)> =
            self.record.latest.iter().filter(wanted).map(|latest| (latest.key, None)).collect();
        if open.is_empty() {
            return Ok(());
        }
        let newest = self.record.latest.iter().filter(wanted).map(|latest| latest.ts.0).max().unwrap_or(0);
        let from = key::rows_from(self.entity, Timestamp(0));
        let to = key::rows_from(self.entity, Timestamp(newest.saturating_add(1)));
        let mut found: Vec<(u32, Timestamp, u64, Value<'static>)> = Vec::new();
        let mut rows = 0;
        each_row(engine, Range::new(Family::Rows, &from, &to).reversed(), |ts, seq, row| {
            rows += 1;
            let expired = history::expired(ts, row.ttl_s, now);
            open.retain_mut(|(key, seen)| {
                let Some(value) = row.get(*key) else { return true };
                // Of one ts the first row visited has the highest seq and hides the others, even if it is gone itself.
                if seen.replace(ts) == Some(ts) || expired || self.is_deleted(*key, ts, seq) {
                    return true;
                }
                found.push((*key, ts, seq, value.into_owned()));
                false
            });
            if open.is_empty() || rows >= limits::QUERY_ROWS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        while let Some(place) = self.record.latest.iter().position(|latest| latest.value.is_none()) {
            self.forget(place);
        }
        found.into_iter().for_each(|(key, ts, seq, value)| self.observe(super::Key::of(key), ts, seq, &value));
        self.dirty = true;
        Ok(())
    }

    pub(super) fn is_deleted(&self, key: u32, ts: Timestamp, seq: u64) -> bool {
        self.record.tombstones.iter().any(|tombstone| tombstone.covers(key, ts, seq))
    }
}

fn each_row(
    engine: &dyn Engine,
    range: Range<'_>,
    mut each: impl FnMut(Timestamp, u64, Row<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut failure = None;
    engine.scan(range, &mut |row_key, record| {
        let read = key::parse_row(row_key)
            .ok_or_else(|| StoreError::corrupted("row", row_key, "the key is no row's key"))
            .and_then(|(ts, seq)| Ok((ts, seq, Row::read(row_key, record)?)));
        match read {
            Ok((ts, seq, row)) => each(ts, seq, row),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(()), Err)
}
