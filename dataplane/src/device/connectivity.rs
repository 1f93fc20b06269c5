//! When a device was heard of, and what of that survives a crash (DESIGN 21).
//!
//! Connects, disconnects and inactivity write the record. Activity does not: it rides in the next row, in client
//! attributes' own ts and in the record, so it is exact after a crash for messages that stored something; pings and messages
//! that stored nothing since then are lost with the process. The deadline key says at which time somebody has to look whether
//! the device is still active; it is moved only when that time has come.

use std::ops::ControlFlow;

use schemas::{
    chain::DeviceEvent,
    id::{EntityId, PARTITIONS, Partition},
    telemetry::{Scope, Value},
};

use super::{DeviceState, Writing};
use crate::{
    clock::Timestamp,
    limits, query,
    store::{
        Engine, Family, Range, StoreError,
        key::{self, Kind},
        record,
    },
};

/// ThingsBoard's server attribute that overrides the default timeout, in milliseconds.
pub(super) const INACTIVITY_TIMEOUT: &str = "inactivityTimeout";

impl DeviceState {
    /// The device has connected. Whether it was inactive before (ACTIVITY_EVENT).
    pub fn connected(&mut self, w: &mut Writing<'_>) -> bool {
        let awoke = self.touched(w.now);
        self.record.connectivity.last_connect = w.now;
        w.batch.put(Family::State, &key::entity(Kind::Connected, self.entity), &[]);
        self.arm(w);
        self.write_record(w);
        awoke
    }

    /// The device has no connection any more; also for those found by [`interrupted`].
    pub fn disconnected(&mut self, w: &mut Writing<'_>) {
        self.record.connectivity.last_disconnect = w.now;
        w.batch.delete(Family::State, &key::entity(Kind::Connected, self.entity));
        self.write_record(w);
    }

    /// The device was heard of. Whether it was inactive before (ACTIVITY_EVENT).
    pub fn touched(&mut self, now: Timestamp) -> bool {
        self.saw_activity(now);
        self.dirty = true;
        !std::mem::replace(&mut self.record.connectivity.active, true)
    }

    /// Makes durable that the device is active again, with a deadline for looking whether it still is.
    pub fn awoke(&mut self, w: &mut Writing<'_>) {
        self.arm(w);
        self.write_record(w);
    }

    pub(super) fn saw_activity(&mut self, at: Timestamp) {
        let last = &mut self.record.connectivity.last_activity;
        *last = at.max(*last);
    }

    #[must_use]
    pub fn is_active(&self) -> bool {
        self.record.connectivity.active
    }

    /// When somebody has to look whether the device is still active; `None` while it is not.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let connectivity = &self.record.connectivity;
        connectivity.active.then(|| Timestamp(connectivity.last_activity.0.saturating_add(self.inactivity_timeout_ms())))
    }

    /// The last activity of a device that counts as active but has been silent for its timeout.
    #[must_use]
    pub fn inactive_since_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.deadline().filter(|deadline| *deadline <= now).map(|_| self.record.connectivity.last_activity)
    }

    /// The device is inactive from now on (INACTIVITY_EVENT).
    pub fn set_inactive(&mut self, w: &mut Writing<'_>) {
        self.record.connectivity.active = false;
        self.record.connectivity.inactivity_alarm = w.now;
        self.move_deadline(w, Timestamp(0));
        self.write_record(w);
    }

    /// Something happened to the device where it is connected, which is not here. Whether anybody is to be told: as in ThingsBoard, what is
    /// older than what is known changes nothing, and activity is told of a device that counted as inactive. What has not happened yet
    /// happens now.
    pub fn report(&mut self, w: &mut Writing<'_>, event: DeviceEvent, at: Timestamp) -> bool {
        let at = at.min(w.now);
        let connectivity = &mut self.record.connectivity;
        let newer = |last: &mut Timestamp| at > std::mem::replace(last, at.max(*last));
        let is_news = match event {
            DeviceEvent::Connect => newer(&mut connectivity.last_connect),
            DeviceEvent::Disconnect => newer(&mut connectivity.last_disconnect),
            DeviceEvent::Activity => newer(&mut connectivity.last_activity),
            DeviceEvent::Inactivity => at > connectivity.last_activity && newer(&mut connectivity.inactivity_alarm),
        };
        if !is_news {
            return false;
        }
        let was_active = connectivity.active;
        match event {
            DeviceEvent::Activity => {
                connectivity.active = true;
                self.arm(w);
            }
            DeviceEvent::Inactivity => {
                connectivity.active = false;
                self.move_deadline(w, Timestamp(0));
            }
            DeviceEvent::Connect | DeviceEvent::Disconnect => {}
        }
        self.write_record(w);
        event != DeviceEvent::Activity || !was_active
    }

    /// Moves the deadline key to where it belongs now: when the deadline on disk has passed and the device has been heard of.
    pub fn rearm(&mut self, w: &mut Writing<'_>) {
        let deadline = self.deadline().unwrap_or(Timestamp(0));
        if deadline != self.record.connectivity.deadline {
            self.move_deadline(w, deadline);
            self.write_record(w);
        }
    }

    /// Writes a deadline key if there is none. The caller writes the record if it says so.
    pub(super) fn arm(&mut self, w: &mut Writing<'_>) -> bool {
        if self.record.connectivity.deadline != Timestamp(0) {
            return false;
        }
        let deadline = self.deadline();
        if let Some(deadline) = deadline {
            self.move_deadline(w, deadline);
        }
        deadline.is_some()
    }

    fn move_deadline(&mut self, w: &mut Writing<'_>, to: Timestamp) {
        let old = std::mem::replace(&mut self.record.connectivity.deadline, to);
        if old != Timestamp(0) {
            w.batch.delete(Family::State, &key::deadline(self.entity, old));
        }
        if to != Timestamp(0) {
            w.batch.put(Family::State, &key::deadline(self.entity, to), &[]);
        }
    }

    fn inactivity_timeout_ms(&self) -> i64 {
        let set = match self.attribute(Scope::Server, INACTIVITY_TIMEOUT) {
            Some(Value::Long(ms)) => Some(*ms),
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        set.filter(|ms| *ms > 0).unwrap_or(limits::INACTIVITY_TIMEOUT_MS)
    }

    /// ThingsBoard's server attributes, for a device that was ever heard of.
    pub(super) fn connectivity_attributes(&self) -> Vec<query::Attribute> {
        let connectivity = &self.record.connectivity;
        let changed = connectivity.last_activity.max(connectivity.inactivity_alarm).max(connectivity.last_connect);
        if changed.max(connectivity.last_disconnect) == Timestamp(0) {
            return Vec::new();
        }
        let attribute =
            |key: &str, last_update, value| query::Attribute { scope: Scope::Server, key: key.to_owned(), last_update, value };
        let times = [
            ("lastConnectTime", connectivity.last_connect),
            ("lastDisconnectTime", connectivity.last_disconnect),
            ("lastActivityTime", connectivity.last_activity),
            ("inactivityAlarmTime", connectivity.inactivity_alarm),
        ];
        let mut found = vec![attribute("active", changed, Value::Bool(connectivity.active))];
        let known = times.into_iter().filter(|(_, ts)| *ts != Timestamp(0));
        found.extend(known.map(|(key, ts)| attribute(key, ts, Value::Long(ts.0))));
        found
    }
}

/// Devices that were connected when the process ended: they get DISCONNECT (DESIGN 21).
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn interrupted(engine: &dyn Engine) -> Result<Vec<EntityId>, StoreError> {
    keys_of(engine, Kind::Connected, key::parse_entity)
}

/// The deadlines to look at, earliest first within a partition. Keys that their entity's record does not name are left out:
/// the entity was deleted.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn deadlines(engine: &dyn Engine) -> Result<Vec<(Timestamp, EntityId)>, StoreError> {
    let mut live = Vec::new();
    for (at, entity) in keys_of(engine, Kind::Deadline, key::parse_deadline)? {
        let record_key = key::entity(Kind::State, entity);
        if let Some(record) = engine.get(Family::State, &record_key)?
            && record::read_state(&record_key, &record)?.connectivity.deadline == at
        {
            live.push((at, entity));
        }
    }
    Ok(live)
}

fn keys_of<T>(engine: &dyn Engine, kind: Kind, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, kind);
        let mut damaged = None;
        engine.scan(Range::new(kind.family(), &from, &to), &mut |key, _| match parse(key) {
            Some(each) => {
                found.push(each);
                ControlFlow::Continue(())
            }
            None => {
                damaged = Some(StoreError::corrupted("key", key, format!("no key of kind {kind:?}")));
                ControlFlow::Break(())
            }
        })?;
        damaged.map_or(Ok(()), Err)?;
    }
    Ok(found)
}
