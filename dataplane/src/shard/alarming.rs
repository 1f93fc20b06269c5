//! Alarms of the shard's entities: what people do with them, and how the control plane hears of each change, at least once and after it is
//! durable (DESIGN 8.6, 23). What changed waits in memory, bounded; what found no room there, and what a start finds, is read from
//! the feed on the disk. Never blocks and never forgets a change that was not confirmed.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use schemas::alarm::Alarm;
use schemas::chain::MessageType;
use schemas::id::EntityId;
use uuid::Uuid;

use super::asking::post;
use super::event::Event;
use super::inquiring::Asker;
use super::ledger::Owed;
use super::residents::Parked;
use super::saving::writing;
use super::turn::Shard;
use super::work::Stage;
use crate::clock::{Instant, Timestamp};
use crate::device::DeviceState;
use crate::device::alarms::{Cursor, unconfirmed};
use crate::device::kept::Full;
use crate::limits;
use crate::message::Body;
use crate::query::{AlarmChange, ChangedAlarm, QueryError, Reply, Target};
use crate::registry::{Ask, Told};
use crate::store::{Engine, StoreError, Ticket};

/// What a lane has read of the feed.
#[derive(Debug)]
pub struct Unconfirmed {
    /// The reading it belongs to.
    round: u64,
    found: Result<(Vec<Alarm>, Option<Cursor>), StoreError>,
    /// What was read is durable with this ticket.
    ticket: Ticket,
}

/// An alarm that the control plane was told of: whose, which and which version.
pub(super) type ToldOf = (EntityId, Uuid, u64);

/// Changes on their way to the control plane.
#[derive(Debug, Default)]
pub(super) struct AlarmFeed {
    /// The newest of each alarm that is durable and was not told.
    waiting: HashMap<(EntityId, Uuid), Alarm, RandomState>,
    bytes: usize,
    /// Where on the disk there may be more.
    behind: Option<Cursor>,
    /// The feed has to be walked again from its beginning after this walk.
    again: bool,
    /// A lane reads; it is the reading of this number.
    reading: bool,
    round: u64,
    /// The control plane has not answered yet.
    asked: bool,
    /// Nothing is told before.
    pause: Option<Instant>,
    failures: u32,
}

impl AlarmFeed {
    fn insert(&mut self, alarm: Alarm) {
        let place = (alarm.originator, alarm.id);
        if self.waiting.get(&place).is_some_and(|waiting| waiting.version >= alarm.version) {
            return;
        }
        let bytes = footprint(&alarm);
        if self.bytes + bytes > limits::ALARMS_WAITING_BYTES_MAX {
            return self.fall_behind();
        }
        self.bytes += bytes;
        if let Some(older) = self.waiting.insert(place, alarm) {
            self.bytes -= footprint(&older);
        }
    }

    /// Memory does not know everything any more: the disk does.
    fn fall_behind(&mut self) {
        self.again = self.behind.is_some() || self.reading;
        self.behind.get_or_insert_default();
    }

    /// The control plane is away, or does not take it: the disk is asked again after a pause that grows.
    fn fail(&mut self, now: Instant) {
        let pause_ms = (limits::ALARMS_PAUSE_MS << self.failures.min(8)).min(limits::ALARMS_PAUSE_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(now.after_ms(pause_ms));
        self.fall_behind();
    }

    /// The pause is over.
    #[cfg(test)]
    pub(super) fn resume(&mut self) {
        self.pause = None;
    }

    /// Whether memory knows everything that is on the disk.
    #[cfg(test)]
    pub(super) fn is_caught_up(&self) -> bool {
        self.behind.is_none() && !self.reading
    }

    /// Takes out as much as one message may carry.
    fn next(&mut self) -> Vec<Alarm> {
        let (mut next, mut bytes) = (Vec::new(), 0);
        let places: Vec<(EntityId, Uuid)> = self.waiting.keys().take(limits::ALARMS_AT_ONCE_MAX).copied().collect();
        for place in places {
            if bytes >= limits::ALARMS_AT_ONCE_BYTES_MAX {
                break;
            }
            let Some(alarm) = self.waiting.remove(&place) else { continue };
            self.bytes -= footprint(&alarm);
            bytes += footprint(&alarm);
            next.push(alarm);
        }
        next
    }

    /// The store generation is over; what a new one finds on the disk counts.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
        self.behind = None;
        self.again = false;
        self.reading = false;
    }

    /// A store was opened: its feed is walked.
    pub(super) fn begin(&mut self) {
        self.clear();
        self.behind = Some(Cursor::default());
    }
}

fn footprint(alarm: &Alarm) -> usize {
    alarm.text_bytes() + size_of::<Alarm>() + 64
}

impl Shard {
    /// A change is durable. What memory has by now may be newer, and is told when that is durable.
    pub(super) fn alarm_changed(&mut self, entity: EntityId, alarm: Uuid, version: u64) {
        match self.residents.get_mut(entity, self.now.instant) {
            Some(state) => match state.alarm(alarm) {
                Some(changed) if changed.version == version => self.alarm_feed.insert(changed.clone()),
                _ => return,
            },
            None => self.alarm_feed.fall_behind(),
        }
        self.tell_of_alarms();
    }

    /// What was read from the disk is durable.
    pub(super) fn alarms_read(&mut self, alarms: Vec<Alarm>) {
        alarms.into_iter().for_each(|alarm| self.alarm_feed.insert(alarm));
        self.tell_of_alarms();
    }

    /// Tells the control plane of what waits, and looks for more on the disk.
    pub(super) fn tell_of_alarms(&mut self) {
        let now = self.now.instant;
        let feed = &mut self.alarm_feed;
        if feed.asked || feed.pause.is_some_and(|until| until > now) {
            return;
        }
        feed.pause = None;
        if feed.bytes < limits::ALARMS_WAITING_BYTES_MAX / 2 {
            self.read_unconfirmed();
        }
        let next = self.alarm_feed.next();
        if next.is_empty() {
            return;
        }
        let of = next.iter().map(|alarm| (alarm.originator, alarm.id, alarm.version)).collect();
        let ask = Ask::Alarms { alarms: next.iter().map(Alarm::encode).collect() };
        if self.inquire(ask, Asker::Alarms(of)) {
            self.alarm_feed.asked = true;
        } else {
            self.alarm_feed.fail(now);
        }
    }

    fn read_unconfirmed(&mut self) {
        let feed = &self.alarm_feed;
        let (Some(cursor), false) = (feed.behind.clone(), feed.reading) else { return };
        let (Some(readers), Some(progress)) = (self.ledger.readers(), self.ledger.progress()) else { return };
        let (mailbox, round) = (self.mailbox.clone(), feed.round + 1);
        let job = move |engine: &dyn Engine| {
            let found = unconfirmed(engine, cursor);
            // It may be in a batch that is not durable yet.
            let ticket = progress.written();
            post(&mailbox, Event::Unconfirmed(Box::new(Unconfirmed { round, found, ticket })));
        };
        // A full lane is asked again with the next tick.
        if readers.submit(Box::new(job)).is_ok() {
            self.alarm_feed.reading = true;
            self.alarm_feed.round = round;
        }
    }

    /// A lane has read of the feed; it is told when it is durable.
    pub(super) fn unconfirmed_read(&mut self, unconfirmed: Unconfirmed) {
        let Unconfirmed { round, found, ticket } = unconfirmed;
        if !self.alarm_feed.reading || round != self.alarm_feed.round {
            return;
        }
        self.alarm_feed.reading = false;
        match found {
            Ok((alarms, next)) => {
                // What was passed over meanwhile is read once more, when the end is reached.
                let feed = &mut self.alarm_feed;
                feed.behind = next.or_else(|| std::mem::take(&mut feed.again).then(Cursor::default));
                self.ledger.owe_at(ticket, Owed::Alarms(alarms));
            }
            Err(error) => {
                tracing::error!(%error, "changed alarms cannot be read");
                self.alarm_feed.fail(self.now.instant);
            }
        }
    }

    /// The control plane has answered, or will not.
    pub(super) fn alarms_told(&mut self, of: Vec<ToldOf>, told: &Told) {
        self.alarm_feed.asked = false;
        if !matches!(told, Told::Taken) || !self.ledger.is_open() {
            return self.alarm_feed.fail(self.now.instant);
        }
        self.alarm_feed.failures = 0;
        let mut all = true;
        for (entity, alarm, version) in of {
            all &= self.with_state(entity, Parked::Confirmed(alarm, version));
        }
        if !all {
            // Too many states are being loaded: what found no room is told again.
            self.alarm_feed.fail(self.now.instant);
        }
        self.tell_of_alarms();
    }

    /// The control plane has a version of an alarm; its originator's state is resident.
    pub(super) fn alarm_confirmed(&mut self, entity: EntityId, alarm: Uuid, version: u64) {
        if let Some(stage) = self.stage(entity) {
            stage.state.confirm_alarm(&mut writing(stage.ledger, stage.now), alarm, version);
        }
    }

    /// The state of an originator could not be loaded to take a confirmation in.
    pub(super) fn alarm_unconfirmed(&mut self) {
        self.alarm_feed.fail(self.now.instant);
    }

    /// What somebody does with an alarm; the originator's state is resident.
    pub(super) fn change_alarm(&mut self, target: Target, alarm: Alarm, change: AlarmChange, reply: Reply<ChangedAlarm>) {
        let now = self.now.timestamp;
        let Some(mut stage) = self.stage(target.entity) else { return };
        let changed = match change {
            AlarmChange::Save => saved(stage.state, alarm, now),
            change => altered(stage.state, alarm, change, now),
        };
        let kept = if changed.changed { stage.keep_alarm(&changed.alarm) } else { Ok(()) };
        if let Err(full) = kept {
            return self.reply(reply, Err(QueryError::Invalid(full.to_string())));
        }
        let kind = match change {
            _ if !changed.changed => None,
            AlarmChange::Save if changed.created => Some(MessageType::EntityCreated),
            AlarmChange::Save => Some(MessageType::EntityUpdated),
            AlarmChange::Acknowledge => Some(MessageType::AlarmAck),
            AlarmChange::Clear => Some(MessageType::AlarmClear),
            AlarmChange::Assign(Some(_)) => Some(MessageType::AlarmAssigned),
            AlarmChange::Assign(None) => Some(MessageType::AlarmUnassigned),
            AlarmChange::Delete => Some(MessageType::AlarmDelete),
        };
        self.reply(reply, Ok(changed.clone()));
        if let Some(kind) = kind {
            self.raise(target, kind, Body::Alarm(Box::new(changed.alarm.clone())));
        }
    }
}

/// The alarm of this originator and type goes on as it is wanted, or begins.
fn saved(state: &DeviceState, wanted: Alarm, now: Timestamp) -> ChangedAlarm {
    let Some(before) = state.active_alarm(&wanted.kind) else {
        let start_ts = if wanted.start_ts > 0 { wanted.start_ts } else { now.0 };
        let alarm = Alarm {
            id: fresh_id(now),
            version: 1,
            created_ts: now.0,
            start_ts,
            end_ts: wanted.end_ts.max(start_ts),
            ack_ts: None,
            clear_ts: None,
            assign_ts: None,
            assignee: None,
            deleted: false,
            ..wanted
        };
        return ChangedAlarm { alarm, changed: true, created: true };
    };
    let Alarm { severity, details, propagation, .. } = wanted;
    let end_ts = before.end_ts.max(if wanted.end_ts > 0 { wanted.end_ts } else { now.0 });
    let alarm = Alarm { severity, details, propagation, end_ts, version: before.version + 1, ..before.clone() };
    ChangedAlarm { alarm, changed: true, created: false }
}

/// An alarm that exists, changed. One that is not here any more is over, and as the control plane knows it.
fn altered(state: &DeviceState, known: Alarm, change: AlarmChange, now: Timestamp) -> ChangedAlarm {
    let mut alarm = match state.alarm(known.id) {
        Some(here) => here.clone(),
        None => {
            let mut known = known;
            // There is one of a type that goes on, and this is not it.
            if !known.is_cleared() && state.active_alarm(&known.kind).is_some() {
                known.clear_ts = Some(now.0);
            }
            known
        }
    };
    let unchanged = match change {
        _ if alarm.deleted => true,
        AlarmChange::Acknowledge => alarm.ack_ts.is_some(),
        AlarmChange::Clear => alarm.is_cleared(),
        AlarmChange::Assign(user) => alarm.assignee == user,
        AlarmChange::Delete | AlarmChange::Save => false,
    };
    if unchanged {
        return ChangedAlarm { alarm, changed: false, created: false };
    }
    match change {
        AlarmChange::Acknowledge => alarm.ack_ts = Some(now.0),
        AlarmChange::Clear => alarm.clear_ts = Some(now.0),
        AlarmChange::Assign(user) => (alarm.assignee, alarm.assign_ts) = (user, Some(now.0)),
        AlarmChange::Delete => alarm.deleted = true,
        AlarmChange::Save => {}
    }
    alarm.version += 1;
    ChangedAlarm { alarm, changed: true, created: false }
}

impl Stage<'_> {
    /// An alarm is like this from now on; the control plane is told once that is durable.
    ///
    /// # Errors
    /// [`Full`] for a new one.
    pub(super) fn keep_alarm(&mut self, alarm: &Alarm) -> Result<(), Full> {
        self.state.keep_alarm(&mut writing(self.ledger, self.now), alarm.clone())?;
        self.ledger.owe(Owed::Alarm { entity: alarm.originator, alarm: alarm.id, version: alarm.version });
        Ok(())
    }
}

/// An id in the order of time, which indexes profit from.
pub(super) fn fresh_id(now: Timestamp) -> Uuid {
    let ms = u64::try_from(now.0).unwrap_or(0);
    let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, ms / 1_000, nanos))
}
