//! Alarms of an entity: those that are not cleared, and those whose last change the control plane has not confirmed. Each change puts
//! the alarm and a row of the feed into one batch (DESIGN 8.6, 23). Never decides when an alarm begins or ends.

use std::ops::ControlFlow;

use schemas::{
    alarm::Alarm,
    id::{EntityId, PARTITIONS, Partition},
};
use uuid::Uuid;

use super::{DeviceState, Writing, kept::Full};
use crate::{
    limits,
    store::{
        Engine, Family, Range, StoreError,
        key::{self, Kind, Part},
    },
};

impl DeviceState {
    /// The alarm of a type that is not cleared.
    #[must_use]
    pub fn active_alarm(&self, kind: &str) -> Option<&Alarm> {
        self.kept()?.alarms.values().find(|alarm| alarm.kind == kind && !alarm.is_cleared() && !alarm.deleted)
    }

    /// The alarm of this id, if it is here still.
    #[must_use]
    pub fn alarm(&self, id: Uuid) -> Option<&Alarm> {
        self.kept()?.alarms.get(&id)
    }

    /// How many more alarms there is room for.
    #[must_use]
    pub fn alarm_room(&self) -> usize {
        limits::ALARMS_PER_ENTITY_MAX.saturating_sub(self.kept().map_or(0, |kept| kept.alarms.len()))
    }

    /// An alarm is like this from now on, and the control plane is to be told.
    ///
    /// # Errors
    /// [`Full`] for a new one.
    pub fn keep_alarm(&mut self, w: &mut Writing<'_>, alarm: Alarm) -> Result<(), Full> {
        if self.alarm(alarm.id).is_none() && self.alarm_room() == 0 {
            return Err(Full { what: "alarms", most: limits::ALARMS_PER_ENTITY_MAX });
        }
        let entity = self.entity();
        w.batch.put(Family::State, &key::kept(entity, Part::Alarm, alarm.id.as_bytes()), &alarm.encode());
        w.batch.put(Family::State, &key::alarm_feed(entity, alarm.id), &[]);
        self.kept_mut().alarms.insert(alarm.id, alarm);
        Ok(())
    }

    /// The control plane has a version of an alarm. Of the newest one the feed is done with, and what is over is forgotten.
    pub fn confirm_alarm(&mut self, w: &mut Writing<'_>, id: Uuid, version: u64) {
        let Some(alarm) = self.alarm(id).filter(|alarm| alarm.version == version) else { return };
        let over = alarm.is_cleared() || alarm.deleted;
        let entity = self.entity();
        w.batch.delete(Family::State, &key::alarm_feed(entity, id));
        if over {
            w.batch.delete(Family::State, &key::kept(entity, Part::Alarm, id.as_bytes()));
            self.kept_mut().alarms.remove(&id);
            self.shed_kept();
        }
    }
}

/// Where a walk through the feed goes on: partition number, and the key to begin behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    partition: u16,
    behind: Option<Vec<u8>>,
}

/// Alarms of the feed from the cursor on, some of them, and where the next ones are. What is damaged is told and passed over.
///
/// # Errors
/// The store cannot be read.
pub fn unconfirmed(engine: &dyn Engine, mut cursor: Cursor) -> Result<(Vec<Alarm>, Option<Cursor>), StoreError> {
    let (mut alarms, mut bytes) = (Vec::new(), 0);
    while let Some(partition) = Partition::new(cursor.partition).filter(|_| cursor.partition < PARTITIONS) {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let room = limits::ALARMS_AT_ONCE_MAX - alarms.len();
        let (start, to) = key::kind_range(partition, Kind::AlarmFeed);
        let behind = cursor.behind.take();
        let from = behind.as_deref().unwrap_or(&start);
        engine.scan(Range::new(Family::State, from, &to), &mut |feed_key, _| {
            if behind.as_deref() != Some(feed_key) {
                found.push(feed_key.to_vec());
            }
            if found.len() < room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let whole = found.len() < room;
        for feed_key in found {
            match read(engine, &feed_key) {
                Ok(alarm) => {
                    bytes += alarm.as_ref().map_or(0, Alarm::text_bytes);
                    alarms.extend(alarm);
                }
                Err(error) => tracing::error!(%error, "an alarm cannot be read"),
            }
            cursor.behind = Some(feed_key);
            if bytes >= limits::ALARMS_AT_ONCE_BYTES_MAX {
                return Ok((alarms, Some(cursor)));
            }
        }
        if !whole {
            return Ok((alarms, Some(cursor)));
        }
        cursor.behind = None;
        cursor.partition += 1;
    }
    Ok((alarms, None))
}

fn read(engine: &dyn Engine, feed_key: &[u8]) -> Result<Option<Alarm>, StoreError> {
    let corrupted = |why: String| StoreError::corrupted("alarm feed", feed_key, why);
    let (entity, alarm): (EntityId, Uuid) =
        key::parse_alarm_feed(feed_key).ok_or_else(|| corrupted("the key is no alarm's key".to_owned()))?;
    // Confirmed meanwhile, it may be gone.
    let Some(record) = engine.get(Family::State, &key::kept(entity, Part::Alarm, alarm.as_bytes()))? else { return Ok(None) };
    Alarm::decode(&record).map(Some).map_err(|invalid| corrupted(invalid.to_string()))
}

#[cfg(test)]
mod tests {
    use schemas::{
        alarm::{Propagation, Severity},
        id::TenantId,
    };

    use super::*;
    use crate::{
        clock::Timestamp,
        device::{Dictionary, Sequence, delete_entity},
        store::{Batch, Encoder, memory::MemoryEngine},
    };

    fn alarm(entity: EntityId, id: u128, kind: &str) -> Alarm {
        Alarm {
            id: Uuid::from_u128(id),
            version: 1,
            tenant: TenantId(Uuid::from_u128(1)),
            originator: entity,
            originator_type: "DEVICE".to_owned(),
            kind: kind.to_owned(),
            severity: Severity::Major,
            created_ts: 1,
            start_ts: 1,
            end_ts: 1,
            ack_ts: None,
            clear_ts: None,
            assign_ts: None,
            assignee: None,
            details: String::new(),
            propagation: Propagation::default(),
            deleted: false,
        }
    }

    fn act<T>(engine: &MemoryEngine, state: &mut DeviceState, act: impl FnOnce(&mut DeviceState, &mut Writing<'_>) -> T) -> T {
        let mut batch = Batch::new();
        let mut w = Writing {
            batch: &mut batch,
            dictionary: &mut Dictionary::load(engine).unwrap(),
            sequence: &mut Sequence::new(1),
            encoder: &mut Encoder::new(),
            keys: &mut Vec::new(),
            now: Timestamp(1),
        };
        let result = act(state, &mut w);
        engine.write(&batch).unwrap();
        result
    }

    fn entity(number: u128) -> EntityId {
        EntityId(Uuid::from_u128(number << 64))
    }

    fn load(engine: &MemoryEngine, entity: EntityId) -> DeviceState {
        DeviceState::load(engine, entity, Timestamp(1)).unwrap()
    }

    fn feed(engine: &MemoryEngine) -> Vec<Alarm> {
        let (mut all, mut cursor) = (Vec::new(), Some(Cursor::default()));
        while let Some(from) = cursor {
            let (alarms, next) = unconfirmed(engine, from).unwrap();
            all.extend(alarms);
            cursor = next;
        }
        all
    }

    #[test]
    fn an_alarm_stays_until_it_is_over_and_confirmed() {
        let engine = MemoryEngine::new();
        let of = entity(1);
        let mut state = load(&engine, of);
        let hot = alarm(of, 7, "hot");
        act(&engine, &mut state, |state, w| state.keep_alarm(w, hot.clone())).unwrap();
        let mut state = load(&engine, of);
        assert_eq!((state.active_alarm("hot"), state.active_alarm("cold")), (Some(&hot), None));
        assert_eq!(feed(&engine), vec![hot.clone()]);
        act(&engine, &mut state, |state, w| state.confirm_alarm(w, hot.id, 1));
        assert_eq!((feed(&engine), load(&engine, of).active_alarm("hot")), (vec![], Some(&hot)));

        let cleared = Alarm { version: 2, clear_ts: Some(9), ..hot.clone() };
        act(&engine, &mut state, |state, w| state.keep_alarm(w, cleared.clone())).unwrap();
        assert_eq!((state.active_alarm("hot"), feed(&engine)), (None, vec![cleared.clone()]));
        // An answer to what was told before the change.
        act(&engine, &mut state, |state, w| state.confirm_alarm(w, hot.id, 1));
        assert_eq!((load(&engine, of).alarm(hot.id), feed(&engine)), (Some(&cleared), vec![cleared.clone()]));
        act(&engine, &mut state, |state, w| state.confirm_alarm(w, hot.id, 2));
        assert_eq!((load(&engine, of).alarm(hot.id), state.alarm(hot.id), feed(&engine)), (None, None, vec![]));
    }

    #[test]
    fn there_is_room_for_so_many_and_deleting_the_entity_takes_all() {
        let engine = MemoryEngine::new();
        let of = entity(1);
        let mut state = load(&engine, of);
        for id in 0..limits::ALARMS_PER_ENTITY_MAX as u128 {
            act(&engine, &mut state, |state, w| state.keep_alarm(w, alarm(of, id, "x"))).unwrap();
        }
        let more = act(&engine, &mut state, |state, w| state.keep_alarm(w, alarm(of, 1 << 80, "y")));
        assert_eq!((more.map_err(|full| full.what), state.alarm_room()), (Err("alarms"), 0));
        // What is there may go on.
        act(&engine, &mut state, |state, w| state.keep_alarm(w, Alarm { version: 2, ..alarm(of, 3, "x") })).unwrap();
        let mut batch = Batch::new();
        delete_entity(of, &mut batch);
        engine.write(&batch).unwrap();
        assert_eq!((feed(&engine), load(&engine, of).alarm_room()), (vec![], limits::ALARMS_PER_ENTITY_MAX));
        assert_eq!(engine.get(Family::State, &key::alarm_feed(of, Uuid::from_u128(3))).unwrap(), None);
    }

    #[test]
    fn a_walk_through_the_feed_finds_each_once_and_passes_over_damage() {
        let engine = MemoryEngine::new();
        for number in 1..=20 {
            let mut state = load(&engine, entity(number));
            for id in 0..40 {
                act(&engine, &mut state, |state, w| state.keep_alarm(w, alarm(entity(number), number * 1_000 + id, "x")))
                    .unwrap();
            }
        }
        let mut batch = Batch::new();
        batch.put(Family::State, &key::kept(entity(3), Part::Alarm, Uuid::from_u128(3_005).as_bytes()), b"\xFF");
        batch.put(Family::State, &key::alarm_feed(entity(4), Uuid::from_u128(1)), b"");
        engine.write(&batch).unwrap();
        let mut found: Vec<u128> = feed(&engine).iter().map(|alarm| alarm.id.as_u128()).collect();
        found.sort_unstable();
        let all = (1..=20).flat_map(|number| (0..40).map(move |id| number * 1_000 + id));
        assert_eq!(found, all.filter(|id| *id != 3_005).collect::<Vec<_>>());
    }
}
