//! Telemetry of one entity: saving rows, choosing timestamps, deleting ranges, latest values (DESIGN 15, 16, 18).

use schemas::{calculated::Written, id::TenantId, telemetry::Value};

use super::{DeviceState, Dictionary, Key, LATEST_BYTES, RefusedReadings, Writing};
use crate::{
    clock::Timestamp,
    limits,
    message::Readings,
    query::{Point, Series},
    store::{Family, Tombstone, key, record::text_bytes},
};

/// How far ahead of the clock the server's own timestamps may run before they are shared (DESIGN 15).
pub(super) const SERVER_AHEAD_MS: i64 = 1_000;

/// What was put into the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub rows: usize,
    pub readings: usize,
    /// A server ts had to be shared with an earlier row (DESIGN 15).
    pub shared_ts: bool,
    /// The ts of every entry, in order.
    pub ts: Vec<Timestamp>,
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Those of the keys the entity had.
    pub keys: Vec<String>,
    /// A latest value was deleted and an older one has to be found: load the state again after this batch. Until then the
    /// key has no latest value; everything else stays right, whatever is written meanwhile and wherever it crashes.
    pub reload: bool,
}

impl DeviceState {
    /// One row per entry (DESIGN 15): all of them or, refused, none.
    ///
    /// # Errors
    /// [`RefusedReadings`].
    pub fn save_timeseries(
        &mut self,
        w: &mut Writing<'_>,
        tenant: TenantId,
        readings: &Readings<'_>,
        ttl_s: u32,
        use_server_ts: bool,
    ) -> Result<Saved, RefusedReadings> {
        let mut saved = self.choose_timestamps(w.now, readings, use_server_ts)?;
        let known = self.resolve((w.dictionary, tenant), readings, w.keys)?;

        let partition = self.partition();
        let mut record = false;
        let connectivity = &self.record.connectivity;
        let mut activity = (connectivity.last_activity > self.activity_on_disk).then_some(connectivity.last_activity);
        for (entry, ts) in readings.entries.iter().zip(&saved.ts) {
            let (of, keys) = (readings.of(entry), w.keys.get_mut(entry.range.clone()).unwrap_or_default());
            if of.is_empty() {
                continue;
            }
            let seq = w.sequence.next();
            for (reading, key) in of.iter().zip(keys.iter_mut()) {
                if !known {
                    // Places move when a key is new, so they are looked for again.
                    *key = Key::of(w.dictionary.intern((partition, tenant), &reading.key, w.batch));
                }
                self.observe(*key, *ts, seq, &reading.value);
            }
            let cells = keys.iter().map(|key| key.id).zip(of.iter().map(|reading| &reading.value));
            let row = w.encoder.row(cells, ttl_s, activity.take());
            w.batch.put(Family::Rows, &key::row(self.entity, *ts, seq), row);
            record |= *ts <= self.record.covered;
            self.newest = self.newest.max(*ts);
            self.rows_since_record += 1;
            saved.rows += 1;
            saved.readings += of.len();
        }
        if saved.rows > 0 {
            self.activity_on_disk = self.record.connectivity.last_activity;
            self.dirty = true;
            // DESIGN 21: a device that is never connected gets its deadline with its first row.
            let armed = self.arm(w);
            if record || armed || self.rows_since_record >= limits::ROWS_PER_STATE_RECORD {
                self.write_record(w);
            }
            self.extend_windows(readings, &saved.ts, w.now);
            if self.has_told() {
                for (entry, ts) in readings.entries.iter().zip(&saved.ts) {
                    readings.of(entry).iter().for_each(|reading| self.untell(w, Written::Series(&reading.key), ..=*ts));
                }
            }
        }
        Ok(saved)
    }

    /// DESIGN 15: a missing ts becomes max(now, last server ts + 1 ms), at most 1 s ahead.
    fn choose_timestamps(
        &mut self,
        now: Timestamp,
        readings: &Readings<'_>,
        use_server_ts: bool,
    ) -> Result<Saved, RefusedReadings> {
        let most = now.0.saturating_add(limits::TS_AHEAD_MS_MAX);
        let mut last = self.record.last_server.0;
        let mut saved = Saved { ts: Vec::with_capacity(readings.entries.len()), ..Saved::default() };
        for entry in &readings.entries {
            let ts = match entry.ts.filter(|_| !use_server_ts) {
                Some(Timestamp(ts)) if !(0..=most).contains(&ts) => return Err(RefusedReadings::Timestamp { ts, most }),
                Some(ts) => ts,
                None => {
                    let ahead = now.0.saturating_add(SERVER_AHEAD_MS);
                    let ts = now.0.max(last.saturating_add(1)).min(ahead);
                    saved.shared_ts |= ts <= last;
                    last = last.max(ts);
                    Timestamp(ts)
                }
            };
            saved.ts.push(ts);
        }
        self.record.last_server = Timestamp(last);
        Ok(saved)
    }

    /// Finds the readings' keys, and refuses what they would add beyond the bounds, before anything is written. Whether the
    /// device has all keys already: they lie in `keys` then, one per reading.
    ///
    /// A device says the same keys in the same order again and again, so each is first looked for behind the one before it.
    fn resolve(
        &self,
        (dictionary, tenant): (&Dictionary, TenantId),
        readings: &Readings<'_>,
        keys: &mut Vec<Key>,
    ) -> Result<bool, RefusedReadings> {
        keys.clear();
        let names = dictionary.names(self.partition());
        let mut bytes = self.bytes;
        let mut new: Vec<&str> = Vec::new();
        let mut unnamed = 0;
        let mut next = 0;
        for reading in &readings.readings {
            let expected = self.record.latest.get(next).map(|latest| latest.key);
            let same = |id: &u32| names.and_then(|names| names.name_of(*id)) == Some(&*reading.key);
            let (id, place) = match expected.filter(same) {
                Some(id) => (Some(id), Some(next)),
                None => {
                    let id = names.and_then(|names| names.id_of(&reading.key));
                    (id, id.and_then(|id| self.find_latest(id).ok()))
                }
            };
            let old = place.and_then(|place| self.record.latest[place].value.as_ref());
            bytes += text_bytes(&reading.value).saturating_sub(old.map_or(0, text_bytes));
            if let Some(place) = place {
                next = if place + 1 == self.record.latest.len() { 0 } else { place + 1 };
            } else if !new.contains(&reading.key.as_ref()) {
                new.push(&reading.key);
                bytes += LATEST_BYTES;
                unnamed += usize::from(id.is_none());
                // Checked in here, so that the list stays as short as what may be new.
                let keys = self.record.latest.len() + new.len();
                if keys > limits::KEYS_PER_DEVICE_MAX {
                    return Err(RefusedReadings::TooManyKeys { keys });
                }
            }
            keys.push(Key { id: id.unwrap_or(0), place });
        }
        if bytes > limits::DEVICE_STATE_BYTES_MAX {
            return Err(RefusedReadings::StateTooLarge { bytes });
        }
        dictionary.require_room(tenant, unnamed)?;
        Ok(new.is_empty())
    }

    /// Deletes the readings of these keys in [start, end), or all of them (DESIGN 18): a tombstone each, in the record.
    ///
    /// # Errors
    /// [`RefusedReadings::TooManyDeletions`].
    pub fn delete_timeseries(
        &mut self,
        w: &mut Writing<'_>,
        keys: &[String],
        range: Option<(Timestamp, Timestamp)>,
    ) -> Result<Deleted, RefusedReadings> {
        let (start, end) = range.unwrap_or((Timestamp(i64::MIN), Timestamp(i64::MAX)));
        keys.iter().for_each(|key| self.untell(w, Written::Series(key), start..end));
        let mut mine: Vec<(u32, &String)> = w.dictionary_ids(self.partition(), keys);
        mine.retain(|(id, _)| self.find_latest(*id).is_ok());
        if mine.is_empty() || start >= end {
            return Ok(Deleted::default());
        }
        let replaced = |old: &Tombstone| old.start >= start && old.end <= end && mine.iter().any(|(id, _)| *id == old.key);
        let kept = self.record.tombstones.iter().filter(|old| !replaced(old)).count();
        if kept + mine.len() > limits::TOMBSTONES_PER_DEVICE_MAX {
            return Err(RefusedReadings::TooManyDeletions);
        }
        let before = self.record.tombstones.len();
        self.record.tombstones.retain(|old| !replaced(old));
        let seq = w.sequence.next();
        self.forget_windows();
        let mut deleted = Deleted::default();
        for (id, name) in mine {
            self.record.tombstones.push(Tombstone { key: id, start, end, seq });
            deleted.keys.push(name.clone());
            let Ok(place) = self.find_latest(id) else { continue };
            let latest = &mut self.record.latest[place];
            if range.is_none() {
                self.forget(place);
            } else if start <= latest.ts && latest.ts < end {
                self.bytes -= latest.value.take().as_ref().map_or(0, text_bytes);
                deleted.reload = true;
            }
        }
        let tombstones = self.record.tombstones.len();
        self.bytes = (self.bytes + tombstones * size_of::<Tombstone>()).saturating_sub(before * size_of::<Tombstone>());
        self.write_record(w);
        Ok(deleted)
    }

    /// All keys with a reading, in the order of their names.
    #[must_use]
    pub fn keys(&self, dictionary: &Dictionary) -> Vec<String> {
        let latest = self.record.latest.iter().filter(|latest| latest.value.is_some());
        let name = |key| dictionary.name_of(self.partition(), key).map(str::to_owned);
        let mut names: Vec<String> = latest.filter_map(|latest| name(latest.key)).collect();
        names.sort_unstable();
        names
    }

    /// The latest values of these keys, or of all if none is named. Keys without a reading are left out.
    #[must_use]
    pub fn latest(&self, dictionary: &Dictionary, keys: &[String]) -> Vec<Series> {
        let all;
        let keys = if keys.is_empty() {
            all = self.keys(dictionary);
            &all
        } else {
            keys
        };
        let series = keys.iter().filter_map(|name| {
            let (ts, value) = self.latest_of(dictionary, name)?;
            Some(Series { key: name.clone(), points: vec![Point { ts, value: value.clone() }] })
        });
        series.collect()
    }

    /// The latest value of one key.
    #[must_use]
    pub fn latest_of(&self, dictionary: &Dictionary, name: &str) -> Option<(Timestamp, &Value<'static>)> {
        let place = self.find_latest(dictionary.id_of(self.partition(), name)?).ok()?;
        let latest = &self.record.latest[place];
        Some((latest.ts, latest.value.as_ref()?))
    }
}

impl Writing<'_> {
    fn dictionary_ids<'k>(&self, partition: schemas::id::Partition, keys: &'k [String]) -> Vec<(u32, &'k String)> {
        let mut ids: Vec<(u32, &String)> =
            keys.iter().filter_map(|name| Some((self.dictionary.id_of(partition, name)?, name))).collect();
        ids.sort_unstable();
        ids.dedup_by_key(|(id, _)| *id);
        ids
    }
}
