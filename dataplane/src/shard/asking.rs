//! Queries: reads and writes on behalf of operators, and live watches. Answers leave only after the ticket of the newest
//! write they reflect (DESIGN 8.1, 3). Range reads run on the reader lane.

use std::borrow::Cow;

use schemas::chain::MessageType;
use schemas::generated::kept;
use schemas::id::{DeviceId, EntityId, Partition, TenantId};

use super::event::Event;
use super::ledger::{Owed, Standstill};
use super::needing::Waiter;
use super::residents::{Parked, Parking};
use super::turn::Shard;
use crate::clock::Timestamp;
use crate::device::{DeviceState, Loaded};
use crate::effect::Saving;
use crate::limits;
use crate::message::{Body, Readings, Scope};
use crate::payload::{self, Casting};
use crate::query::{History, Query, QueryError, Reply, Standing, Target, Update, Watch, Watched};
use crate::store::{self, history::Budget};

impl Shard {
    /// Answers a query, or parks it until the entity's state is loaded.
    pub(super) fn ask(&mut self, target: Target, query: Query) {
        if let Query::Unwatch { watcher, watch } = query {
            return self.watches.remove(target.entity, watcher, Some(watch));
        }
        if let Some(reason) = self.unavailable() {
            return refuse(query, &QueryError::Unavailable(reason));
        }
        if self.residents.contains(target.entity) {
            return self.answer(target, query);
        }
        match self.residents.park(target.tenant, target.entity, Parked::Query(target, query)) {
            Parking::Load => self.loads.push_back(target.entity),
            Parking::Waiting => {}
            Parking::Full(Parked::Query(_, query)) => {
                refuse(query, &QueryError::Unavailable("too many entities are being loaded".to_owned()));
            }
            Parking::Full(_) => {}
        }
    }

    /// Has the reader lane load what was asked for in this turn, as far as it takes jobs.
    pub(super) fn submit_loads(&mut self) {
        while let Some(entity) = self.loads.front().copied() {
            let Some(readers) = self.ledger.readers() else { return };
            let mailbox = self.mailbox.clone();
            let now = self.now.timestamp;
            let job = move |engine: &dyn store::Engine| {
                let loaded = Loaded { entity, result: DeviceState::load(engine, entity, now) };
                post(&mailbox, Event::Loaded(Box::new(loaded)));
            };
            if readers.submit(Box::new(job)).is_err() {
                // Every job that ends posts an event, and the turn after it comes back here.
                return;
            }
            self.loads.pop_front();
            self.residents.reloading(entity);
        }
    }

    /// Answers a query whose entity's state is resident.
    pub(super) fn answer(&mut self, target: Target, query: Query) {
        let entity = target.entity;
        match query {
            Query::Keys { reply } => {
                let keys = self.read(entity, |state, names| state.keys(names));
                self.reply(reply, keys);
            }
            Query::Latest { keys, reply } => {
                let series = self.read(entity, |state, names| state.latest(names, &keys));
                self.reply(reply, series);
            }
            Query::Attributes { scope, keys, reply } => {
                let attributes = self.read(entity, |state, _| state.attributes(scope, &keys));
                self.reply(reply, attributes);
            }
            Query::History { history, reply } => self.history(target, history, reply),
            Query::SaveTimeseries { payload, ttl_s, as_written, reply } => {
                self.save_timeseries(target, (&payload, casting(as_written)), ttl_s, reply);
            }
            Query::SaveAttributes { scope, payload, as_written, reply } => {
                self.save_attributes(target, scope, (&payload, casting(as_written)), reply);
            }
            Query::DeleteTimeseries { keys, range, reply } => self.delete_timeseries(target, &keys, range, reply),
            Query::DeleteAttributes { scope, keys, reply } => self.delete_attributes(target, scope, &keys, reply),
            Query::Call { call, reply } => self.call(DeviceId(entity.0), call, reply),
            Query::Calls { id, reply } => self.stored_calls(target, id, reply),
            Query::DeleteCall { id, reply } => self.delete_call(DeviceId(entity.0), id, reply),
            Query::ChangeAlarm { alarm, change, reply } => self.change_alarm(target, *alarm, change, reply),
            Query::Standing { reply } => {
                let standing = self.standing(DeviceId(entity.0));
                self.reply(reply, Ok(standing));
            }
            Query::Enter { entering, reply } => self.enter(*entering, reply),
            Query::Watch(watch) => self.watch(entity, watch),
            Query::Unwatch { .. } => {}
        }
    }

    fn read<T>(
        &mut self,
        entity: EntityId,
        read: impl FnOnce(&mut DeviceState, &crate::device::Dictionary) -> T,
    ) -> Result<T, QueryError> {
        match self.residents.get_mut(entity, self.now.instant) {
            Some(state) => Ok(read(state, &self.ledger.dictionary)),
            None => Err(QueryError::Unavailable("the entity's state is not loaded".to_owned())),
        }
    }

    /// The open calls from memory, those that are over from the disk.
    fn stored_calls(&mut self, target: Target, id: Option<uuid::Uuid>, reply: Reply<Vec<(uuid::Uuid, kept::Call)>>) {
        let Target { entity, tenant } = target;
        let Some(state) = self.residents.get_mut(entity, self.now.instant) else { return };
        let mut calls = state.open_calls();
        calls.retain(|(open, _)| id.is_none_or(|id| id == *open));
        let Some(progress) = self.ledger.progress() else { return };
        let mailbox = self.mailbox.clone();
        let job = move |engine: &dyn store::Engine| {
            let answer = crate::device::kept::ended_calls(engine, entity, id)
                .map(|ended| {
                    // One that was open when this was asked may be over when it is read.
                    calls.retain(|(open, _)| ended.iter().all(|(id, _)| id != open));
                    calls.into_iter().chain(ended).collect()
                })
                .map_err(|error| QueryError::Unavailable(error.to_string()));
            let ticket = progress.written();
            post(&mailbox, Event::Release { ticket, release: Box::new(move || drop(reply.send(answer))) });
        };
        self.read_for_somebody(tenant, Box::new(job));
    }

    /// Without room the job is dropped and with it the reply, which its asker sees as "unavailable".
    pub(super) fn read_for_somebody(&mut self, tenant: TenantId, job: store::Job) {
        let until = self.now.instant.after_ms(limits::QUERY_DEADLINE_MS);
        let _waits = self.ledger.read(tenant, until, job);
    }

    fn standing(&mut self, device: DeviceId) -> Standing {
        let state = self.residents.get_mut(device.into(), self.now.instant);
        let refused = state.map(|state| state.refusals.iter().collect()).unwrap_or_default();
        let own = self.sessions.get(&device).and_then(|key| self.connections.get(*key));
        let transport = match own {
            Some(connection) => connection.session.protocol(),
            None if self.through.contains_key(&device) => "gateway",
            None => "",
        };
        Standing { connected: !transport.is_empty(), transport, refused }
    }

    /// Promises an answer for this turn's ticket.
    pub(super) fn reply<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, QueryError>) {
        // Whoever asked may have gone away; then nobody misses the answer.
        self.ledger.owe(Owed::Release(Box::new(move || drop(reply.send(answer)))));
    }

    fn history(&mut self, target: Target, history: History, reply: Reply<Vec<crate::query::Series>>) {
        let Target { entity, tenant } = target;
        let partition = Partition::of(entity);
        let names = self.ledger.dictionary.ids_of(partition, &history.keys);
        let tombstones = match self.residents.get_mut(entity, self.now.instant) {
            Some(state) => state.tombstones().to_vec(),
            None => Vec::new(),
        };
        let Some(progress) = self.ledger.progress() else { return };
        let mailbox = self.mailbox.clone();
        let now = self.now.timestamp;
        let job = move |engine: &dyn store::Engine| {
            let answer = store::history(engine, entity, &names, &tombstones, now, (&history, Budget::QUERY));
            // The scan may have seen writes newer than what is durable: the answer waits for them.
            let ticket = progress.written();
            let release = Box::new(move || drop(reply.send(answer)));
            post(&mailbox, Event::Release { ticket, release });
        };
        self.read_for_somebody(tenant, Box::new(job));
    }

    fn save_timeseries(&mut self, target: Target, (bytes, casting): (&[u8], Casting), ttl_s: u32, reply: Reply<()>) {
        let mut readings = Readings::default();
        let parsed = payload::telemetry(bytes, casting, &mut readings).map_err(|error| QueryError::Invalid(error.to_string()));
        let saved = parsed.and_then(|()| {
            let mut stage = self.stage(target.entity).ok_or_else(not_loaded)?;
            stage
                .save_timeseries((target.entity, target.tenant), &readings, (ttl_s, false), Saving::EVERYTHING)
                .map_err(|refused| QueryError::Invalid(refused.to_string()))
        });
        let stored = saved.is_ok();
        self.reply(reply, saved);
        if stored {
            self.raise(target, MessageType::TimeseriesUpdated, Body::Telemetry(readings));
        }
    }

    fn save_attributes(&mut self, target: Target, scope: Scope, (bytes, casting): (&[u8], Casting), reply: Reply<()>) {
        let mut readings = Readings::default();
        let parsed = payload::attributes(bytes, casting, &mut readings).map_err(|error| QueryError::Invalid(error.to_string()));
        let saved = parsed.and_then(|()| {
            let mut stage = self.stage(target.entity).ok_or_else(not_loaded)?;
            stage
                .save_attributes((target.entity, scope), &readings, (false, true), Saving::EVERYTHING)
                .map(drop)
                .map_err(|refused| QueryError::Invalid(refused.to_string()))
        });
        let stored = saved.is_ok();
        self.reply(reply, saved);
        if stored {
            self.raise(target, MessageType::AttributesUpdated, Body::Attributes { scope, readings });
        }
    }

    fn delete_timeseries(&mut self, target: Target, keys: &[String], range: Option<(Timestamp, Timestamp)>, reply: Reply<()>) {
        let deleted = match self.stage(target.entity) {
            Some(stage) => {
                let mut writing = super::saving::writing(stage.ledger, stage.now);
                stage
                    .state
                    .delete_timeseries(&mut writing, keys, range)
                    .map_err(|refused| QueryError::Invalid(refused.to_string()))
            }
            None => Err(not_loaded()),
        };
        let reload = deleted.as_ref().is_ok_and(|deleted| deleted.reload);
        let done = deleted.is_ok();
        self.reply(reply, deleted.map(|_| ()));
        if done {
            let keys = keys.iter().map(|key| Cow::Owned(key.clone())).collect();
            self.raise(target, MessageType::TimeseriesDeleted, Body::Deleted { keys });
        }
        if reload {
            self.loads.push_back(target.entity);
        }
    }

    fn delete_attributes(&mut self, target: Target, scope: Scope, keys: &[String], reply: Reply<()>) {
        let Some(mut stage) = self.stage(target.entity) else { return self.reply(reply, Err(not_loaded())) };
        let gone = stage.delete_attributes(target.entity, scope, keys, true);
        self.reply(reply, Ok(()));
        if !gone.is_empty() {
            let keys = gone.into_iter().map(Cow::Owned).collect();
            self.raise(target, MessageType::AttributesDeleted, Body::Deleted { keys });
        }
    }

    /// Snapshot and position in one event; updates start right after it (DESIGN 8.1, 3).
    fn watch(&mut self, entity: EntityId, watch: Watch) {
        if !self.watches.has_room() {
            return refuse(Query::Watch(watch), &QueryError::Unavailable("this shard has no room for another watch".to_owned()));
        }
        let snapshot = self.read(entity, |state, names| match watch.what {
            Watched::Timeseries => (state.latest(names, &watch.keys), Vec::new()),
            Watched::Attributes(scope) => (Vec::new(), state.attributes(scope, &watch.keys)),
        });
        let Ok((series, attributes)) = snapshot else { return };
        let update = Update { watch: watch.watch, snapshot: true, series, attributes, deleted: Vec::new(), error: None };
        let watcher = watch.watcher;
        self.watches.insert(entity, watch);
        self.ledger.owe(Owed::Update { watcher, entity, update });
    }

    /// What an operator's write means to the rules; it was stored already (DESIGN 28).
    pub(super) fn raise(&mut self, target: Target, kind: MessageType, body: Body<'_>) {
        let device = DeviceId(target.entity.0);
        if self.table.device(device).is_some() {
            let plan = self.plan_of(device);
            let _outcome = self.evaluate_device((device, &plan), kind, body, Waiter::Nobody);
        } else {
            self.evaluate_entity(target.entity, target.tenant, kind, body);
        }
    }

    /// Why queries cannot be answered now, if so.
    pub(super) fn unavailable(&self) -> Option<String> {
        match self.ledger.standstill() {
            Some(Standstill::Refused { reason, .. } | Standstill::Ended { reason, .. }) => Some(reason.clone()),
            None => self.draining.then(|| "the instance is draining".to_owned()),
        }
    }
}

fn casting(as_written: bool) -> Casting {
    if as_written { Casting::Disabled } else { Casting::Enabled }
}

/// Posts from a lane, which may wait: the mailbox is drained every turn.
pub(super) fn post(mailbox: &super::event::Mailbox, mut event: Event) {
    while let Err(back) = mailbox.post(event) {
        event = back;
        std::thread::yield_now();
    }
}

fn not_loaded() -> QueryError {
    QueryError::Unavailable("the entity's state is not loaded".to_owned())
}

/// Tells whoever asked why there is no answer.
pub(super) fn refuse(query: Query, error: &QueryError) {
    let error = error.clone();
    match query {
        Query::Keys { reply } => drop(reply.send(Err(error))),
        Query::Latest { reply, .. } | Query::History { reply, .. } => drop(reply.send(Err(error))),
        Query::Attributes { reply, .. } => drop(reply.send(Err(error))),
        Query::SaveTimeseries { reply, .. }
        | Query::SaveAttributes { reply, .. }
        | Query::DeleteTimeseries { reply, .. }
        | Query::DeleteAttributes { reply, .. }
        | Query::DeleteCall { reply, .. }
        | Query::Enter { reply, .. } => drop(reply.send(Err(error))),
        Query::Call { reply, .. } => drop(reply.send(Err(error))),
        Query::Calls { reply, .. } => drop(reply.send(Err(error))),
        Query::ChangeAlarm { reply, .. } => drop(reply.send(Err(error))),
        Query::Standing { reply } => drop(reply.send(Err(error))),
        Query::Watch(watch) => {
            let update = Update {
                watch: watch.watch,
                snapshot: true,
                series: Vec::new(),
                attributes: Vec::new(),
                deleted: Vec::new(),
                error: Some(error.to_string()),
            };
            // A watcher whose channel is full is cut anyway.
            drop(watch.updates.try_send(update));
        }
        Query::Unwatch { .. } => {}
    }
}
