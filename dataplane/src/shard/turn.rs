//! One turn of a shard: gather, advance, admit, evaluate, persist, settle, flush. The only file that knows their order;
//! the work itself is in the files named for it. Never waits.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, TcpStream},
    rc::Rc,
    sync::Arc,
};

use foldhash::fast::RandomState;
use schemas::id::{DeviceId, EntityId};
use tokio::sync::mpsc;

use super::alarming::AlarmFeed;
use super::bell::{Bell, Listener};
use super::calling::Calls;
use super::channel::{Channel, Written};
use super::connection::Connection;
use super::delivering::{Polls, Through};
use super::dues::Dues;
use super::elapsing::RuleTimes;
use super::event::Mailbox;
use super::fairness::Fairness;
use super::forwarding::Forwards;
use super::inquiring::Questions;
use super::ledger::{Ledger, Owed, Persisted, Standstill};
use super::letter::{Letter, Moved};
use super::listening::{Listening, Protocol};
use super::making::Counting;
use super::mesh::Mesh;
use super::needing::Needs;
use super::outbox::Outbox;
use super::passages::Passages;
use super::placement::Placement;
use super::requests::Requests;
use super::residents::Residents;
use super::reviving::Changed;
use super::sightings::Sightings;
use super::slab::{Key, Slab};
use super::unanswered::ClientCalls;
use super::watching::Watches;
use crate::auth::Forwarders;
use crate::clock::{Clock, Instant, Now};
use crate::limits::{self, Pools};
use crate::message::Readings;
use crate::metric::{Counter, ShardCounters, ShardHealth};
use crate::owed::Due;
use crate::quota::{self, Admission, Decision, Place, Throttle};
use crate::script::Engines;
use crate::session::http::Decoded;
use crate::session::{AnySession, Close, Reason};
use crate::snapshot::{Directory, Table};
use crate::transport::{Accepted, Happened, ReadySet, Received, Stream, accept};
use crate::wheel::Wheel;

/// Everything one core owns. Not `Send`: it never leaves its thread.
pub(super) struct Shard {
    pub index: u16,
    pub placement: Placement,
    pub clock: Clock,
    pub now: Now,
    pub counters: Arc<ShardCounters>,
    pub health: Arc<ShardHealth>,
    pub directory: Arc<Directory>,
    pub table: Table,
    /// Counts changes of the table, so that connections notice that their plan may have changed.
    pub generation: u64,
    pub mailbox: Mailbox,
    pub mesh: Mesh,
    pub ledger: Ledger,
    pub residents: Residents,
    pub watches: Watches,
    pub set: ReadySet,
    pub heard: Listener,
    /// Where devices connect; none once draining.
    pub listeners: Vec<Listening>,
    pub connections: Slab<Connection>,
    /// Sockets whose peer may still be reading what we said last, until then.
    pub lingering: Slab<(Instant, Channel)>,
    /// The admitted connection of a device (`sessions_per_device` is 1, DESIGN 12).
    pub sessions: HashMap<DeviceId, Key, RandomState>,
    /// Devices of this shard that a gateway speaks for.
    pub through: HashMap<DeviceId, Through, RandomState>,
    pub polls: Polls,
    pub calls: Calls,
    pub client_calls: ClientCalls,
    /// What runs the scripts of nodes.
    pub scripts: Engines,
    /// What nodes answered to the device that spoke last.
    pub answers: Vec<(u32, String)>,
    /// Wills that wait for their device's return, until then.
    pub wills: HashMap<DeviceId, Instant, RandomState>,
    pub questions: Questions,
    pub forwards: Forwards,
    pub outbox: Outbox,
    pub dead_letters: Changed,
    /// What waits for time.
    pub dues: Dues,
    /// Nodes that count.
    pub counting: Vec<Counting>,
    /// Until then what is not there may only not be there yet.
    pub patient_until: Instant,
    /// Which nodes act by themselves is to be looked at again.
    pub timers_changed: bool,
    /// The name of this data plane.
    pub instance: Arc<str>,
    /// When to look at alarm rules of devices that say nothing.
    pub rule_times: RuleTimes,
    /// Messages on their way to other originators.
    pub passages: Passages,
    /// People's requests that wait for what a chain answers.
    pub requests: Requests,
    /// What people look at of messages at nodes.
    pub sightings: Sightings,
    /// To whoever makes calls to the outside.
    pub calls_out: mpsc::Sender<Due>,
    pub alarm_feed: AlarmFeed,
    /// Messages that wait for facts.
    pub needs: Needs,
    /// Buckets of devices that have limits and are not full.
    pub rates: HashMap<DeviceId, quota::Device, RandomState>,
    pub throttle: Throttle,
    /// Who may say whose request it passes on.
    pub forwarders: Forwarders,
    pub admission: Admission,
    /// Connections to serve in this turn.
    pub ready: Fairness,
    /// Connections that could not be served because the store is at a standstill.
    pub held: Vec<Key>,
    /// States to be loaded: given to the reader lane after the turn's batch, so that it reads what the turn wrote.
    pub loads: VecDeque<EntityId>,
    /// States whose latest values only the disk knows, to be loaded again with the next tick.
    pub reload_later: Vec<EntityId>,
    /// Devices that were connected when the process died and have not had their DISCONNECT yet.
    pub interrupted: VecDeque<EntityId>,
    /// Connections whose owner's ring had no room; looked at again with the next tick.
    pub crowded: Vec<Key>,
    /// Downloads for whose next stretch there was no room; they ask again with the next tick.
    pub starved: Vec<Key>,
    /// Connections with output.
    pub flushing: Vec<Key>,
    /// Bytes of connections wait here while they are understood; empty between turns.
    pub scratch: Vec<u8>,
    /// What of a request has to be decoded, while it is understood.
    pub decoded: Decoded,
    /// Output that sockets did not take, of all connections together.
    pub unsent_bytes: usize,
    pub pools: Pools,
    /// Readings of the message at hand; empty between messages.
    pub readings: Readings<'static>,
    pub bell: Rc<Bell>,
    pub ticked_at: Instant,
    /// When sessions want to be looked at; a later deadline is found then.
    pub wheel: Wheel<Key>,
    pub draining: bool,
}

/// The numbers in the ready set that are no connections.
pub(super) struct Token;

impl Token {
    pub(super) const DOORBELL: u64 = u64::MAX;
    /// Of the listener at this place.
    pub(super) fn listener(place: usize) -> u64 {
        u64::MAX - 1 - place as u64
    }

    /// Whether it is a listener's.
    fn is_listener(token: u64) -> bool {
        token < Self::DOORBELL && token > u64::MAX - 64
    }
}

impl Shard {
    /// One pass of the seven verbs. Rings the bell if another one has something to do at once.
    pub(super) fn turn(&mut self) {
        self.now = self.clock.now();
        self.health.beat(self.now.instant.nanos() / 1_000_000);
        self.counters.increment(Counter::Turns);
        self.gather();
        self.serve_ready();
        self.persist();
        self.ledger.submit_reads(self.now.instant);
        self.make_calls();
        self.read_due();
        self.send_passages();
        self.submit_loads();
        self.settle();
        self.flush();
        self.ledger.commit(self.now.instant, !self.bell.rung());
    }

    /// Who has something to say, events, connections, time. Bytes are gathered connection by connection in `serve`.
    fn gather(&mut self) {
        if self.now.instant.ms_since(self.ticked_at) >= limits::TICK_MS {
            self.ticked_at = self.now.instant;
            self.tick();
        }
        for index in 0..self.set.look() {
            if let Some(happened) = self.set.happened(index) {
                self.hear(happened);
            }
        }
        for _ in 0..limits::EVENTS_PER_TURN_MAX {
            let Some(event) = self.mailbox.take() else { break };
            self.take_event(event);
        }
        for _ in 0..limits::EVENTS_PER_TURN_MAX {
            // A batch that the store refuses does not grow by letters, and those are answered all the same.
            if self.ledger.is_open() && self.ledger.batch.bytes() > limits::BATCH_BYTES_MAX {
                break;
            }
            let Some(letter) = self.mesh.take() else { break };
            self.take_letter(letter);
        }
        self.mesh.push();
        if !self.needs.is_empty() {
            self.ask_again();
            self.resume_messages();
        }
        self.accept();
        if !self.mailbox.is_empty() || self.mesh.has_arrivals() || self.set.may_have_more() {
            self.bell.ring();
        }
    }

    fn take_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Moved(moved) => {
                let Moved { channel, bytes, accepted } = *moved;
                let channel = Channel::adopt(channel);
                let place = self.admission.arrived(channel.peer);
                let Some(key) = self.connect(channel, AnySession::mqtt(accepted), (accepted, place)) else { return };
                if let Some(connection) = self.connections.get_mut(key) {
                    self.ready.keep(connection.tenant(), 0, bytes.len());
                    connection.unread = bytes;
                    connection.readable |= connection.channel.has_unread();
                }
                self.make_ready(key);
            }
            Letter::Errand(errand) => self.run_errand(*errand),
            Letter::Answer(answer) => {
                let (to, answer) = *answer;
                self.take_answer(to, answer);
            }
            Letter::Ask(question) => self.answer_fact(*question),
            Letter::Fact(fact) => self.fact_found(fact.0, fact.1),
            Letter::Counted(counted) => self.counted(*counted),
            Letter::Passing(passing) => self.take_passages(*passing),
            Letter::Passed(passed) => self.passed(passed.0, passed.1),
            Letter::Reply(reply) => self.take_reply(reply.0, reply.1),
            Letter::Down(down) => self.take_down(down.0, &down.1),
        }
    }

    fn hear(&mut self, happened: Happened) {
        match happened.token {
            Token::DOORBELL => self.heard.heard(),
            token if Token::is_listener(token) => {
                for (place, listening) in self.listeners.iter_mut().enumerate() {
                    listening.waiting |= token == Token::listener(place);
                }
            }
            token => match Key::of_token(token) {
                (key, false) => self.hear_connection(key, happened),
                (key, true) => self.read_away(key),
            },
        }
    }

    fn hear_connection(&mut self, key: Key, happened: Happened) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.ended |= happened.ended;
        if happened.readable {
            connection.readable = true;
            self.make_ready(key);
        }
        if happened.writable && self.connections.get_mut(key).is_some_and(|connection| std::mem::take(&mut connection.writing)) {
            self.wants_flush(key);
        }
    }

    /// Reads what a closed connection's peer still sends: dropping a socket with unread bytes would reset the connection,
    /// and the peer would never see why it was closed.
    fn read_away(&mut self, key: Key) {
        loop {
            let Some((_, channel)) = self.lingering.get_mut(key) else { return };
            match channel.receive(&mut self.scratch) {
                Received::Bytes { .. } => {}
                Received::Nothing => return,
                Received::End | Received::Broken(_) => drop(self.lingering.remove(key)),
            }
        }
    }

    /// Takes in whoever waits at the listeners, as many as a turn may.
    fn accept(&mut self) {
        let mut room = limits::ACCEPTS_PER_TURN_MAX;
        for place in 0..self.listeners.len() {
            while let Some(listening) = self.listeners.get_mut(place).filter(|listening| listening.waiting) {
                if room == 0 {
                    return self.bell.ring();
                }
                // Who is not accepted waits in the kernel's queue; the next tick asks again.
                if self.admission.ready(listening.tls.is_some(), self.now.instant).is_err() {
                    break;
                }
                room -= 1;
                match accept(&listening.socket) {
                    Accepted::Stream(stream, peer) => self.welcome(place, stream, peer),
                    Accepted::Nothing => listening.waiting = false,
                    Accepted::Failed(error) => {
                        // Out of descriptors: the connections that are open matter more than new ones. The next tick tries again.
                        listening.waiting = false;
                        self.counters.increment(Counter::ConnectionsRefused);
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                }
            }
        }
    }

    /// A connection came in at a listener.
    fn welcome(&mut self, place: usize, stream: TcpStream, peer: IpAddr) {
        let now = self.now.instant;
        self.counters.increment(Counter::ConnectionsAccepted);
        let Some(listening) = self.listeners.get(place) else { return };
        let seat = match self.admission.accept(peer, listening.proxied, now) {
            Decision::Accept(seat) => seat,
            Decision::Later(_) => self.admission.arrived(peer),
            Decision::Refuse(_) => return self.counters.increment(Counter::ConnectionsRefused),
        };
        let stream = match &listening.tls {
            None => Ok(Stream::plain(stream)),
            Some(config) => Stream::tls(stream, &config.load()),
        };
        let session = match listening.protocol {
            Protocol::Mqtt => AnySession::mqtt(now),
            Protocol::Http => AnySession::http(now),
        };
        match stream {
            Ok(stream) => drop(self.connect(Channel::new(stream, peer, listening.proxied), session, (now, seat))),
            Err(error) => {
                tracing::error!(%error, "TLS cannot be spoken");
                self.admission.left(seat);
            }
        }
    }

    /// Takes a socket in; `None` when there is no room for it.
    fn connect(&mut self, channel: Channel, session: AnySession, (accepted, place): (Instant, Place)) -> Option<Key> {
        if self.draining || self.connections.len() >= self.pools.connections {
            self.counters.increment(Counter::ConnectionsRefused);
            self.admission.left(place);
            return None;
        }
        let mut connection = Connection::new(channel, session, accepted);
        connection.place = Some(place);
        let key = self.connections.insert(connection)?;
        let added = self.connections.get(key).map(|connection| self.set.add(&connection.channel, key.token(false)));
        if let Some(Err(error)) = added {
            self.counters.increment(Counter::ConnectionsRefused);
            tracing::warn!(%error, "a connection cannot be watched");
            if let Some(place) = self.connections.remove(key).and_then(|connection| connection.place) {
                self.admission.left(place);
            }
            return None;
        }
        self.arm(key);
        Some(key)
    }

    /// Has the wheel look at a connection's deadline, unless it will in time anyway.
    pub(super) fn arm(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let deadline = connection.session.deadline();
        if deadline < connection.armed && self.wheel.insert(deadline, key).is_some() {
            connection.armed = deadline;
        }
    }

    /// Puts a connection into the list of those to serve, once.
    pub(super) fn make_ready(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.ready.push(connection.tenant(), key);
        }
    }

    /// Was anything posted that no turn has looked at?
    pub(super) fn has_news(&self) -> bool {
        !self.mailbox.is_empty() || self.mesh.has_arrivals() || self.ledger.has_news()
    }

    /// Serves the connections that have bytes, tenant by tenant (DESIGN 8.4, 14), unless the store is at a standstill: nothing
    /// is evaluated then, and sockets are not read (DESIGN 8.2, 5).
    fn serve_ready(&mut self) {
        let mut budget = self.ready.turn_bytes(self.now.instant);
        // Those that become ready meanwhile have another turn.
        for _ in 0..self.ready.len() {
            if budget == 0 || !self.ledger.has_room(self.pools.promises) {
                break;
            }
            let Some((tenant, key)) = self.ready.next() else { break };
            if !self.ledger.is_open() {
                self.pause(key);
                self.held.push(key);
                continue;
            }
            self.scripts.begin();
            let consumed = self.serve(key) + self.scripts_worth(key);
            self.ready.charge(tenant, consumed, self.now.instant);
            budget = budget.saturating_sub(consumed);
            if self.ledger.batch.bytes() > limits::BATCH_BYTES_MAX {
                self.persist();
            }
        }
        // A commit ends the wait for room.
        if self.ready.len() > 0 && self.ledger.has_room(self.pools.promises) {
            self.bell.ring();
        }
    }

    /// What scripts took while a connection was served, in bytes: whoever has them run waits behind others as whoever sends much.
    fn scripts_worth(&mut self, key: Key) -> usize {
        let spent_us = self.scripts.spent_us();
        if spent_us >= limits::SCRIPT_SERVE_US_MAX {
            // There may be more that was read.
            self.make_ready(key);
        }
        usize::try_from(spent_us).unwrap_or(usize::MAX).saturating_mul(limits::SCRIPT_BYTES_PER_US)
    }

    fn persist(&mut self) {
        if matches!(self.ledger.standstill(), Some(Standstill::Ended { .. })) {
            return;
        }
        let checked = self.ledger.check(self.now.instant);
        let persisted = match checked {
            Persisted::Done if self.ledger.has_work() => self.ledger.persist(self.now.instant),
            other => other,
        };
        match persisted {
            Persisted::Done => self.release_held(),
            Persisted::Refused => self.say_standstill(),
            Persisted::Ended => self.generation_ended(),
        }
    }

    /// Everything whose ticket is durable leaves.
    fn settle(&mut self) {
        let commits = self.ledger.new_commits();
        if commits > 0 {
            self.counters.add(Counter::Commits, commits);
        }
        while let Some(owed) = self.ledger.settled() {
            match owed {
                Owed::Receipt { connection, receipt, outcome } => self.settle_receipt(connection, receipt, outcome),
                Owed::Forward { gateway, number, pack } => self.send_forward(gateway, number, *pack),
                Owed::CallOut(flight) => self.call_out(flight),
                Owed::Passages { pair, messages } => self.passages_out(pair, messages),
                Owed::Passed { to, pair, up_to } => self.say_passed(to, pair, up_to),
                Owed::Alarm { entity, alarm, version } => self.alarm_changed(entity, alarm, version),
                Owed::Alarms(alarms) => self.alarms_read(alarms),
                Owed::Answer { to, answer } => self.send_answer(to, answer),
                Owed::Fact { to, number, found } => self.send_fact(to, number, Ok(found)),
                Owed::AttributesChanged { device, json } => self.attributes_changed(device, &json),
                Owed::Reply { tenant, request, json } => self.send_reply((tenant, request), json),
                Owed::Kept(device) => self.send_kept(device),
                Owed::Call { device, id } => self.send_offered_call(device, id),
                Owed::Output(connection) => self.release_output(connection),
                Owed::Release(release) => release(),
                Owed::Deleted { applied, .. } => drop(applied),
                Owed::Update { watcher, entity, update } => {
                    if !self.watches.send(entity, watcher, update) {
                        self.counters.increment(Counter::WatchesCut);
                    }
                }
            }
        }
    }

    /// One write per connection and turn: all its acks leave together (DESIGN 3.2).
    fn flush(&mut self) {
        let mut flushing = std::mem::take(&mut self.flushing);
        for key in flushing.drain(..) {
            self.flush_one(key);
        }
        self.flushing = flushing;
    }

    fn flush_one(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flushing = false;
        if connection.held > 0 {
            return;
        }
        // What comes while the socket is full is counted too: that is how a peer that never reads grows.
        let full = connection.writing;
        let written = if full { Written::Some } else { connection.channel.send(connection.session.output()) };
        let unsent = connection.session.output().len() + connection.channel.unsent_bytes();
        connection.writing = written == Written::Some;
        self.unsent_bytes = (self.unsent_bytes + unsent).saturating_sub(std::mem::replace(&mut connection.unsent_bytes, unsent));
        if written == Written::Broken {
            self.close(key, Close::from(Reason::PeerClosed));
        } else if unsent > 0 && (unsent > limits::OUTBOX_BYTES_MAX || self.unsent_bytes > self.pools.output_bytes) {
            self.close(key, Close::from(Reason::SlowPeer));
        } else if unsent == 0 && written == Written::All && connection.session.downloads() {
            self.output_drained(key);
        }
    }

    /// Marks a connection as having output for this turn's flush.
    pub(super) fn wants_flush(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.flushing
        {
            connection.flushing = true;
            self.flushing.push(key);
        }
    }

    /// After a connection was served: it is served again if there is more to read, and its keep-alive stands still while
    /// we do not read (DESIGN 14).
    pub(super) fn served(&mut self, key: Key) {
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.blocked() || connection.waits() {
            return connection.session.pause();
        }
        connection.session.resume(now);
        if connection.wants_service() {
            self.make_ready(key);
        }
        self.arm(key);
    }

    fn pause(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.pause();
        }
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("index", &self.index).field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}
