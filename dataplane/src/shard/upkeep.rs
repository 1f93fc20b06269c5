//! What happens to a shard besides bytes: events from its mailbox, time, the end of a store generation, draining.

use std::collections::HashSet;

use schemas::chain::MessageType;
use schemas::id::{DeviceId, EntityId};
use uuid::Uuid;

use super::asking;
use super::connection::Standing;
use super::event::Event;
use super::ledger::{Owed, Standstill};
use super::letter::Deed;
use super::needing::Waiter;
use super::residents::{Parked, Parking};
use super::saving::writing;
use super::slab::Key;
use super::turn::Shard;
use crate::clock::Instant;
use crate::device::{self, Loaded};
use crate::limits;
use crate::message::Body;
use crate::metric::Counter;
use crate::query::QueryError;
use crate::session::{Close, Outcome, Reason, Refusal};
use crate::snapshot::{Field, ShardChange};

impl Shard {
    pub(super) fn take_event(&mut self, event: Event) {
        match event {
            Event::Config { changes, applied } => {
                let deleted: Vec<EntityId> = changes.iter().flat_map(|change| self.apply(change)).collect();
                self.ledger.deleted(deleted, Some(applied));
            }
            Event::Query { target, query } => self.ask(target, query),
            Event::Release { ticket, release } => self.ledger.owe_at(ticket, Owed::Release(release)),
            Event::Loaded(loaded) => self.state_loaded(*loaded),
            Event::Forward(unsent) => self.forward_read(*unsent),
            Event::CallsRead(read) => self.calls_read(*read),
            Event::DueRead(read) => self.due_read(*read),
            Event::CameOf { flight, answered } => self.came_of(flight, *answered),
            Event::PassagesRead(read) => self.passages_read(*read),
            Event::Announcements { to, messages, reply } => self.take_announcements(to, messages, reply),
            Event::Await { tenant, request, reply } => self.await_reply((tenant, request), reply),
            Event::Unconfirmed(unconfirmed) => self.unconfirmed_read(*unconfirmed),
            Event::Fact { number, found } => self.fact_found(number, found),
            Event::Told { number, told } => self.told(number, told),
            Event::Count { tenant, chain, reply } => {
                let counts = self.table.plan(tenant, chain).map(|running| running.counts()).unwrap_or_default();
                // Whoever asked may have gone away.
                drop(reply.send(counts));
            }
            Event::DeadLetters { sought, ask } => self.ask_dead_letters(sought, ask),
            Event::DeadLettersRead(read) => self.dead_letters_read(*read),
            Event::CountField { tenant, field, reply } => {
                let counts = self.table.field(tenant, field).map(Field::counts).unwrap_or_default();
                drop(reply.send(counts));
            }
            Event::Sightings { tenant, of, reply } => drop(reply.send(self.sightings.of(tenant, of))),
            Event::ForgetSightings { tenant, ids, done } => {
                self.sightings.forget(tenant, ids);
                let _gone = done.send(());
            }
            Event::Trace { trace, done } => drop(done.send(self.sightings.await_message(*trace, self.now.instant))),
            Event::Drain => self.drain(),
        }
    }

    /// Which entities it deletes comes back.
    fn apply(&mut self, change: &ShardChange) -> Vec<EntityId> {
        self.counters.increment(Counter::ChangesApplied);
        self.generation += 1;
        if let ShardChange::CredentialRevoked { device, credential } = change {
            self.revoke(*device, Some(*credential));
            return Vec::new();
        }
        self.timers_changed |= change.is_of_chains();
        if matches!(change, ShardChange::Whole) {
            self.hear_whole();
            self.forwards.begin();
            self.tend_forwards();
            self.outbox.begin();
            self.dues.begin();
            self.rule_times.begin();
            self.passages.begin();
        }
        let deleted = self.table.apply(change);
        deleted.iter().for_each(|entity| self.forget_entity(*entity));
        deleted
    }

    /// The first whole configuration may come from the cache, which may be older than what lies on the disk: it was behind when the
    /// process ended. The control plane sends the rest, or says that another one is whole.
    fn hear_whole(&mut self) {
        let first = self.patient_until == Instant::MAX;
        self.patient_until = self.now.instant.after_ms(if first { limits::QUESTION_MS } else { 0 });
    }

    /// Whether what is not there may only not be there yet.
    pub(super) fn is_patient(&self) -> bool {
        self.now.instant < self.patient_until
    }

    /// An entity is gone, and what it has with it.
    fn forget_entity(&mut self, entity: EntityId) {
        // An asset has neither session nor forwards: there is nothing to close then.
        let device = DeviceId(entity.0);
        self.revoke(device, None);
        self.forwards.forget(device);
        self.calls.forget(device);
        self.outbox.forget(entity);
        self.dead_letters.changed(entity);
        self.forget_due(entity);
        self.forget_messages(entity);
        self.residents.forget(entity);
        device::delete_entity(entity, &mut self.ledger.batch);
    }

    /// Closes a device's session: its device or its credential is gone.
    fn revoke(&mut self, device: DeviceId, credential: Option<schemas::id::CredentialId>) {
        // Whoever waits for the device's state was let in by what is revoked now (DESIGN 11).
        for key in self.residents.parked_connections(device.into()) {
            let identity = self.connections.get(key).and_then(super::connection::Connection::identity);
            if credential.is_none() || identity.map(|identity| identity.credential) == credential {
                self.counters.increment(Counter::SessionsRevoked);
                drop_flow(self.refuse(key, Refusal::NotAuthorized));
            }
        }
        let Some(key) = self.sessions.get(&device).copied() else { return };
        let identity = self.connections.get(key).and_then(super::connection::Connection::identity);
        if credential.is_none() || identity.map(|identity| identity.credential) == credential {
            self.counters.increment(Counter::SessionsRevoked);
            self.close(key, Close::from(Reason::Revoked));
        }
    }

    /// A lane has loaded a state: whoever waited for it goes on.
    pub(super) fn state_loaded(&mut self, loaded: Loaded) {
        let Loaded { entity, result } = loaded;
        if self.residents.contains(entity) {
            if let Ok(state) = result
                && !self.residents.replace(entity, state)
            {
                // Written to meanwhile: the disk is asked again.
                self.reload_later.push(entity);
            }
            return;
        }
        let (state, error) = match result {
            Ok(state) => (Some(state), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let waiting = self.residents.loaded(entity, state, self.now.instant);
        self.forget_gone_nodes(entity);
        self.recall(DeviceId(entity.0));
        for parked in waiting {
            match (parked, &error) {
                (Parked::Errand(errand), None) => self.run_errand(*errand),
                (Parked::Errand(errand), Some(_)) => self.answer_later(errand.from, unreadable(&errand.deed).into()),
                (Parked::Fact(question), None) => self.answer_fact(*question),
                (Parked::Fact(question), Some(error)) => self.send_fact(question.from, question.number, Err(error.clone())),
                (Parked::Will, None) => self.say_kept_will(DeviceId(entity.0)),
                (Parked::Returned(returned), None) => self.returned(entity, *returned),
                (Parked::Returned(returned), Some(_)) => self.not_returned(entity, &returned),
                (Parked::Ripe(ripe), None) => self.goes_on(*ripe),
                (Parked::Ripe(ripe), Some(_)) => self.not_yet(&ripe),
                (Parked::Behind(message), None) => self.behind(entity, &message, None),
                (Parked::Behind(_), Some(_)) => self.counters.increment(Counter::WaitsLost),
                (Parked::Passage(pair), None) => self.go_on_taking(pair),
                (Parked::Passage(pair), Some(_)) => self.end_taking(pair),
                (Parked::Calls, _) | (Parked::Will, Some(_)) => {}
                (Parked::Connection(key), None) => self.unpark(key),
                (Parked::Connection(key), Some(_)) => drop_flow(self.refuse(key, Refusal::Unavailable)),
                (Parked::Query(target, query), None) => self.answer(target, query),
                (Parked::Query(_, query), Some(error)) => asking::refuse(query, &QueryError::Unavailable(error.clone())),
                (Parked::Interrupted, None) => self.interrupted(entity),
                (Parked::Confirmed(alarm, version), None) => self.alarm_confirmed(entity, alarm, version),
                (Parked::Confirmed(..), Some(_)) => self.alarm_unconfirmed(),
                (Parked::Overdue, None) => self.overdue(entity),
                (Parked::RulesDue, None) => self.rules_due(entity),
                (Parked::RulesDue, Some(_)) => self.rules_unread(entity),
                (Parked::Interrupted | Parked::Overdue, Some(error)) => {
                    tracing::warn!(%entity, error, "the state of a device could not be loaded");
                }
            }
        }
    }

    /// What nodes remember of a device that no chain has any more makes room for others.
    fn forget_gone_nodes(&mut self, entity: EntityId) {
        let Some(tenant) = self.table.device(DeviceId(entity.0)).map(|facts| facts.tenant) else { return };
        let Some(state) = self.residents.get_mut(entity, self.now.instant).filter(|state| state.nodes_crowd()) else { return };
        // Before everything is known, a chain may only not be there yet.
        if self.dues.has_begun() {
            let chains = self.table.chains().filter(|(_, of, _)| *of == tenant);
            let living: HashSet<Uuid> = chains.flat_map(|(_, _, running)| running.plan().ids()).collect();
            state.forget_nodes(&mut writing(&mut self.ledger, self.now), |node| living.contains(&node));
        }
    }

    fn unpark(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Standing::Loading(wanted) = std::mem::replace(&mut connection.standing, Standing::New) else { return };
        // It may have been revoked while its state was loaded.
        if self.table.device(wanted.identity.device).is_none() {
            return drop_flow(self.refuse(key, Refusal::NotAuthorized));
        }
        self.admitted(key, &wanted);
        self.make_ready(key);
    }

    /// A hundred milliseconds have passed, or more.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        for key in self.lingering.keys() {
            if self.lingering.get(key).is_some_and(|(until, _)| *until <= now.instant) {
                self.lingering.remove(key);
            }
        }
        self.listeners.iter_mut().for_each(|listening| listening.waiting = true);
        self.mesh.push();
        self.expire();
        self.expire_polls();
        self.expire_client_calls();
        self.expire_limits();
        self.expire_facts();
        for key in std::mem::take(&mut self.crowded) {
            self.make_ready(key);
        }
        self.resume_downloads();
        self.loads.extend(std::mem::take(&mut self.reload_later));
        if self.ledger.is_open() {
            self.expire_calls();
            self.expire_wills();
            self.tend_forwards();
            self.outbox.tend(now.instant);
            self.follow_timers();
            self.tell_counts();
            self.dues.ripen(now);
            self.passages.tend(now.instant);
            self.tell_of_alarms();
            self.tend_rules();
            for entity in self.residents.overdue(now.timestamp) {
                self.with_state(entity, Parked::Overdue);
            }
            for _ in 0..self.interrupted.len().min(limits::EVENTS_PER_TURN_MAX) {
                if let Some(entity) = self.interrupted.pop_front() {
                    self.with_state(entity, Parked::Interrupted);
                }
            }
            for mut state in self.residents.evict(now.instant) {
                self.counters.increment(Counter::StatesEvicted);
                state.flush_record(&mut writing(&mut self.ledger, now));
            }
        } else if let Some(engine) = self.ledger.try_reopen(now.instant) {
            tracing::info!(shard = self.index, "the store is open again");
            self.recover(&*engine);
            self.release_held();
        }
        self.counters.set(Counter::ConnectionsOpen, self.connections.len() as u64);
        self.counters.set(Counter::CallsOwed, self.outbox.len() as u64);
        self.counters.set(Counter::MessagesWaiting, self.dues.len() as u64);
        self.counters.set(Counter::PassagesOwed, self.passages.len() as u64);
        self.counters.set(Counter::StatesResident, self.residents.len() as u64);
        self.say_standstill();
    }

    /// Deadlines of sessions: CONNECT, keep-alive, slow requests.
    fn expire(&mut self) {
        let now = self.now;
        while let Some(key) = self.wheel.next_expired(now.instant) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.armed = Instant::MAX;
            let close = if connection.session.deadline() <= now.instant { connection.session.elapse(now) } else { None };
            match close {
                Some(close) => self.close(key, close),
                None => {
                    self.arm(key);
                    self.wants_flush(key);
                }
            }
        }
    }

    /// Runs now if the state is resident, else when it is loaded; false if too many wait for that already.
    pub(super) fn with_state(&mut self, entity: EntityId, what: Parked) -> bool {
        if self.residents.contains(entity) {
            match what {
                Parked::Overdue => self.overdue(entity),
                Parked::RulesDue => self.rules_due(entity),
                Parked::Confirmed(alarm, version) => self.alarm_confirmed(entity, alarm, version),
                Parked::Interrupted => self.interrupted(entity),
                Parked::Will => self.say_kept_will(DeviceId(entity.0)),
                Parked::Connection(_) | Parked::Query(..) | Parked::Errand(_) | Parked::Fact(_) => {}
                Parked::Calls | Parked::Returned(_) | Parked::Ripe(_) | Parked::Behind(_) | Parked::Passage(_) => {}
            }
            return true;
        }
        let parking = self.residents.park(self.tenant_of(DeviceId(entity.0)), entity, what);
        if matches!(parking, Parking::Load) {
            self.loads.push_back(entity);
        }
        !matches!(parking, Parking::Full(_))
    }

    /// Looks whether a device is inactive; arms the deadline again if it was active since.
    fn overdue(&mut self, entity: EntityId) {
        let now = self.now;
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        if state.inactive_since_deadline(now.timestamp).is_none() {
            state.rearm(&mut writing(&mut self.ledger, now));
            if let Some(deadline) = state.deadline() {
                self.residents.arm(deadline, entity);
            }
            return;
        }
        state.set_inactive(&mut writing(&mut self.ledger, now));
        self.tell_attributes(entity, &["active", "inactivityAlarmTime"]);
        self.lifecycle(DeviceId(entity.0), MessageType::InactivityEvent);
    }

    pub(super) fn connect_event(&mut self, device: DeviceId) {
        let entity = EntityId::from(device);
        let now = self.now;
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        let woke = state.connected(&mut writing(&mut self.ledger, now));
        if let Some(deadline) = state.deadline() {
            self.residents.arm(deadline, entity);
        }
        self.tell_attributes(entity, &["active", "lastConnectTime", "lastActivityTime"]);
        self.lifecycle(device, MessageType::ConnectEvent);
        if woke {
            self.lifecycle(device, MessageType::ActivityEvent);
        }
    }

    /// A device that counted as inactive was heard of: it is active, and somebody looks again when it may no longer be.
    pub(super) fn awoke(&mut self, device: DeviceId) {
        let entity = EntityId::from(device);
        let now = self.now;
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        state.awoke(&mut writing(&mut self.ledger, now));
        if let Some(deadline) = state.deadline() {
            self.residents.arm(deadline, entity);
        }
        self.tell_attributes(entity, &["active", "lastActivityTime"]);
        self.lifecycle(device, MessageType::ActivityEvent);
    }

    /// A device that was connected at a crash gets its DISCONNECT, unless it is back already (DESIGN 21).
    fn interrupted(&mut self, entity: EntityId) {
        let device = DeviceId(entity.0);
        if !self.sessions.contains_key(&device) && !self.through.contains_key(&device) {
            let now = self.now;
            if let Some(state) = self.residents.get_mut(entity, now.instant) {
                state.end_session(&mut writing(&mut self.ledger, now), None);
            }
            self.disconnect_event(device);
            self.will_of(device);
        }
    }

    pub(super) fn disconnect_event(&mut self, device: DeviceId) {
        let entity = EntityId::from(device);
        let now = self.now;
        let Some(state) = self.residents.get_mut(entity, now.instant) else { return };
        state.disconnected(&mut writing(&mut self.ledger, now));
        self.tell_attributes(entity, &["lastDisconnectTime"]);
        self.lifecycle(device, MessageType::DisconnectEvent);
    }

    fn tell_attributes(&mut self, entity: EntityId, keys: &[&str]) {
        if let Some(mut stage) = self.stage(entity) {
            stage.tell_attributes(keys);
        }
    }

    fn lifecycle(&mut self, device: DeviceId, kind: MessageType) {
        let plan = self.plan_of(device);
        let _outcome = self.evaluate_device((device, &plan), kind, Body::Lifecycle, Waiter::Nobody);
    }

    /// After a start or a new generation: devices that were connected get their DISCONNECT, deadlines are armed again.
    pub(super) fn recover(&mut self, engine: &dyn crate::store::Engine) {
        match (device::interrupted(engine), device::deadlines(engine)) {
            (Ok(interrupted), Ok(deadlines)) => {
                self.interrupted = interrupted.into();
                for (deadline, entity) in deadlines {
                    self.residents.arm(deadline, entity);
                }
            }
            (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "connectivity could not be recovered"),
        }
        self.recover_forwards(engine);
        self.recover_calls(engine);
        self.recover_due(engine);
        self.timers_changed = true;
        self.recover_rules(engine);
        self.recover_passages(engine);
        self.alarm_feed.begin();
        // What an earlier generation was to delete lies on the disk still, and was just found there.
        let deleted = self.ledger.take_undeleted();
        deleted.iter().for_each(|entity| self.forget_entity(*entity));
        self.ledger.deleted(deleted, None);
    }

    /// The store accepts again: whoever was held back goes on.
    pub(super) fn release_held(&mut self) {
        if !self.held.is_empty() && self.ledger.is_open() {
            for key in std::mem::take(&mut self.held) {
                if let Some(connection) = self.connections.get(key) {
                    self.ready.push(connection.tenant(), key);
                }
            }
            self.bell.ring();
        }
    }

    /// Says why nothing moves, in health and counters.
    pub(super) fn say_standstill(&mut self) {
        let reason = self.ledger.standstill().map(|standstill| match standstill {
            Standstill::Refused { reason, .. } => format!("writes are refused for now: {reason}"),
            Standstill::Ended { reason, .. } => format!("the store is closed: {reason}"),
        });
        self.counters.set(Counter::ReadingPaused, u64::from(reason.is_some()));
        match reason {
            Some(reason) => self.health.not_ready(reason),
            None => self.health.ready(),
        }
    }

    /// The generation is over: sessions close unacked, device states are dropped (DESIGN 8.2, 5).
    pub(super) fn generation_ended(&mut self) {
        for key in self.connections.keys() {
            self.close(key, Close::from(Reason::Unavailable));
        }
        self.held.clear();
        self.loads.clear();
        self.reload_later.clear();
        self.interrupted.clear();
        self.sessions.clear();
        self.through.clear();
        self.wills.clear();
        self.calls.clear();
        self.forwards.clear();
        self.outbox.clear();
        self.dead_letters.clear();
        self.dues.clear();
        self.rule_times.clear();
        self.passages.clear();
        self.alarm_feed.clear();
        self.watches.clear();
        self.drop_messages();
        for parked in self.residents.clear() {
            match parked {
                Parked::Query(_, query) => {
                    asking::refuse(query, &QueryError::Unavailable("the store was closed".to_owned()));
                }
                Parked::Errand(errand) => self.send_answer(errand.from, Outcome::Unavailable.into()),
                Parked::Fact(question) => {
                    self.send_fact(question.from, question.number, Err("the store was closed".to_owned()));
                }
                _ => {}
            }
        }
        // Closing sessions staged disconnect events of states that are gone now.
        self.ledger.batch.clear();
        self.say_standstill();
    }

    fn drain(&mut self) {
        self.draining = true;
        // Closed, so that newcomers are refused by the kernel and try elsewhere.
        self.listeners.clear();
        for key in self.connections.keys() {
            self.close(key, Close::from(Reason::ShuttingDown));
        }
        for entity in self.residents.entities() {
            if let Some(stage) = self.stage(entity) {
                let mut writing = writing(stage.ledger, stage.now);
                stage.state.flush_record(&mut writing);
            }
        }
    }
}

/// What an errand for a device whose state cannot be read ends with. "Not now" would have a pack of a gateway sent again for ever.
fn unreadable(deed: &Deed) -> Outcome {
    if matches!(deed, Deed::Forwarded(_)) { Outcome::Unspecified } else { Outcome::Unavailable }
}

fn drop_flow(_: super::serve::Flow) {}
