//! Saves what evaluations and operators say: rows and attributes into the turn's batch, live updates to those who watch, and what changed to
//! the device. Never decides what is saved.

use schemas::config::End;
use schemas::generated::kept;
use schemas::id::{DeviceId, EntityId, TenantId};

use super::delivering::keep;
use super::ledger::{Ledger, Owed};
use super::work::Stage;
use crate::clock::{Now, Timestamp};
use crate::device::{RefusedReadings, Writing};
use crate::effect::Saving;
use crate::message::{Entry, Message, Reading, Readings, Scope, Value};
use crate::metric::Counter;
use crate::owed::Departed;
use crate::payload;
use crate::query::{Attribute, Point, Series};

impl Stage<'_> {
    /// Saves all entries of a message; nothing of it when one is refused.
    ///
    /// # Errors
    /// What is wrong with the readings.
    pub(super) fn save_timeseries(
        &mut self,
        (entity, tenant): (EntityId, TenantId),
        readings: &Readings<'_>,
        (ttl_s, use_server_ts): (u32, bool),
        saving: Saving,
    ) -> Result<(), RefusedReadings> {
        let live = saving.live && self.watches.is_watched(entity);
        let timestamps = if saving.store {
            let mut writing = writing(self.ledger, self.now);
            let saved = self.state.save_timeseries(&mut writing, tenant, readings, ttl_s, use_server_ts)?;
            self.counters.add(Counter::RowsStored, saved.rows as u64);
            self.counters.add(Counter::ReadingsStored, saved.readings as u64);
            if saved.shared_ts {
                self.counters.increment(Counter::TimestampsShared);
            }
            saved.ts
        } else if live {
            let own = |entry: &Entry| entry.ts.filter(|_| !use_server_ts).unwrap_or(self.now.timestamp);
            readings.entries.iter().map(own).collect()
        } else {
            return Ok(());
        };
        if live {
            let series = series(readings, &timestamps);
            for owed in self.watches.on_series(entity, &series) {
                self.ledger.owe(owed);
            }
        }
        Ok(())
    }

    /// Saves attributes; tells watchers and, for shared ones, the device what changed. Returns the keys of that.
    ///
    /// # Errors
    /// What is wrong with the readings.
    pub(super) fn save_attributes(
        &mut self,
        (entity, scope): (EntityId, Scope),
        readings: &Readings<'_>,
        (only_on_change, notify_device): (bool, bool),
        saving: Saving,
    ) -> Result<Vec<String>, RefusedReadings> {
        if !saving.store {
            if saving.live && self.watches.is_watched(entity) {
                let attributes = said(scope, readings, self.now.timestamp);
                self.watches.on_attributes(entity, &attributes).into_iter().for_each(|owed| self.ledger.owe(owed));
            }
            return Ok(Vec::new());
        }
        let mut writing = writing(self.ledger, self.now);
        let changed = self.state.save_attributes(&mut writing, scope, readings, only_on_change)?;
        if changed.is_empty() {
            return Ok(changed);
        }
        if saving.live && self.watches.is_watched(entity) {
            let attributes = self.state.attributes(Some(scope), &changed);
            for owed in self.watches.on_attributes(entity, &attributes) {
                self.ledger.owe(owed);
            }
        }
        if scope == Scope::Shared && notify_device {
            let mut json = Vec::new();
            payload::attributes_updated(&pairs(&self.state.attributes(Some(scope), &changed)), &mut json);
            self.tell_device(json);
        }
        Ok(changed)
    }

    /// Attributes as JSON.
    pub(super) fn said_of(&self, scope: Scope, keys: &[String]) -> String {
        let mut json = Vec::new();
        payload::attributes_updated(&pairs(&self.state.attributes(Some(scope), keys)), &mut json);
        String::from_utf8(json).unwrap_or_default()
    }

    /// The originator's chain is told this by a message of its own.
    pub(super) fn tell_chain(&mut self, message: &Message<'_>, tell: Departed, data: String) {
        let to = End { kind: message.originator_type, id: message.originator };
        self.pass_on(message, Departed { data, ..tell }, to);
    }

    /// Deletes attributes; tells watchers and, if asked to, the device. Returns those that existed.
    pub(super) fn delete_attributes(
        &mut self,
        entity: EntityId,
        scope: Scope,
        keys: &[String],
        notify_device: bool,
    ) -> Vec<String> {
        let gone = self.state.delete_attributes(&mut writing(self.ledger, self.now), scope, keys);
        if gone.is_empty() {
            return gone;
        }
        for owed in self.watches.on_deleted(entity, scope, &gone) {
            self.ledger.owe(owed);
        }
        if scope == Scope::Shared && notify_device {
            let mut json = Vec::new();
            payload::attributes_deleted(&gone.iter().map(String::as_str).collect::<Vec<_>>(), &mut json);
            self.tell_device(json);
        }
        gone
    }

    /// Shared attributes have changed: the device is told, now or when it is back.
    pub(super) fn tell_device(&mut self, json: Vec<u8>) {
        let device = DeviceId(self.state.entity().0);
        let downlink = kept::Downlink {
            kind: kept::downlink::Kind::AttributesUpdated.into(),
            json: json.clone(),
            ..kept::Downlink::default()
        };
        match keep((self.state, self.ledger, self.now), self.topics.as_ref(), downlink) {
            Ok(true) => {}
            Ok(false) => self.ledger.owe(Owed::AttributesChanged { device, json }),
            Err(_) => self.counters.increment(Counter::DownlinksDropped),
        }
    }
}

/// Attributes as the payload encoders take them.
pub(super) fn pairs(attributes: &[Attribute]) -> Vec<(&str, &Value<'static>)> {
    attributes.iter().map(|attribute| (attribute.key.as_str(), &attribute.value)).collect()
}

/// The attributes of a message that are not stored, as live updates carry them.
fn said(scope: Scope, readings: &Readings<'_>, now: Timestamp) -> Vec<Attribute> {
    let attribute = |reading: &Reading<'_>| Attribute {
        scope,
        key: reading.key.to_string(),
        last_update: now,
        value: reading.value.clone().into_owned(),
    };
    readings.readings.iter().map(attribute).collect()
}

/// The readings of a message as live updates carry them: one series per key, entries in their order.
fn series(readings: &Readings<'_>, timestamps: &[Timestamp]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for (entry, ts) in readings.entries.iter().zip(timestamps) {
        for reading in readings.of(entry) {
            let point = Point { ts: *ts, value: reading.value.clone().into_owned() };
            match series.iter_mut().find(|one| one.key == reading.key) {
                Some(one) => one.points.push(point),
                None => series.push(Series { key: reading.key.to_string(), points: vec![point] }),
            }
        }
    }
    series
}

/// What a device state needs to write: the batch, the names, the numbers and the time.
pub(super) fn writing(ledger: &mut Ledger, now: Now) -> Writing<'_> {
    Writing {
        batch: &mut ledger.batch,
        dictionary: &mut ledger.dictionary,
        sequence: &mut ledger.sequence,
        encoder: &mut ledger.encoder,
        keys: &mut ledger.keys,
        now: now.timestamp,
    }
}
