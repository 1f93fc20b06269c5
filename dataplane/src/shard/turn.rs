//! One turn of a shard: gather, advance, admit, evaluate, persist, settle, flush. The only file that knows their order;
//! the work itself is in the files named for it. Never waits.

use std::{
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    sync::Arc,
};

use schemas::id::{DeviceId, EntityId};

use super::bell::Bell;
use super::connection::{Connection, Order, Standing};
use super::event::Mailbox;
use super::ledger::{Ledger, Owed, Persisted, Standstill};
use super::mesh::{Mesh, Moved};
use super::placement::Placement;
use super::residents::Residents;
use super::slab::{Key, Slab};
use super::watching::Watches;
use crate::clock::{Clock, Instant, Now};
use crate::limits;
use crate::metric::{Counter, ShardCounters, ShardHealth};
use crate::session::{Close, Reason};
use crate::snapshot::{Directory, Table};
use crate::transport::{Sent, Socket};

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
    pub connections: Slab<Connection>,
    /// The admitted connection of a device (`sessions_per_device` is 1, DESIGN 12).
    pub sessions: HashMap<DeviceId, Key>,
    /// Connections to serve in this turn.
    pub ready: Vec<Key>,
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
    /// Connections whose task let go of the socket just when the ring was full.
    pub stuck: Vec<(u16, Box<Moved>)>,
    /// Connections with output.
    pub flushing: Vec<Key>,
    /// Connections on their way to another shard, until their task has let the socket go.
    pub leaving: HashMap<Key, (Vec<u8>, Instant)>,
    /// Sockets whose peer may still be reading what we said last.
    pub lingering: Vec<(Instant, Weak<Socket>)>,
    /// Bytes of connections wait here while they are understood; empty between turns.
    pub scratch: Vec<u8>,
    /// Sockets that arrived and have no task yet.
    pub arrived: Vec<Rc<Socket>>,
    pub bell: Rc<Bell>,
    pub ticked: bool,
    /// When the deadlines of all sessions were last looked at.
    pub expired_at: Instant,
    pub draining: bool,
}

/// What a turn asks its driver to do, because only tasks can: watch sockets.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// New connections to watch.
    pub watch: Vec<(Key, Rc<Socket>)>,
    /// Sockets to await room on.
    pub await_room: Vec<(Key, Rc<Socket>)>,
}

impl Shard {
    /// One pass of the seven verbs.
    pub(super) fn turn(&mut self) -> Errands {
        self.now = self.clock.now();
        self.health.beat(self.now.instant.nanos() / 1_000_000);
        self.counters.increment(Counter::Turns);
        let mut errands = Errands::default();
        self.gather(&mut errands);
        self.serve_ready();
        self.persist();
        self.submit_loads();
        self.settle();
        self.flush(&mut errands);
        errands
    }

    /// Events, connections from other shards and time. Bytes are gathered connection by connection in `serve`.
    fn gather(&mut self, errands: &mut Errands) {
        if std::mem::take(&mut self.ticked) {
            self.tick();
        }
        for _ in 0..limits::EVENTS_PER_TURN_MAX {
            let Some(event) = self.mailbox.take() else { break };
            self.take_event(event);
        }
        if !self.mailbox.is_empty() {
            self.bell.ring();
        }
        while let Some(moved) = self.mesh.take() {
            let Moved { stream, bytes, accepted } = *moved;
            if let Ok(socket) = Socket::adopt(stream)
                && let Some(key) = self.connect(Rc::new(socket), accepted, errands)
            {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.unread = bytes;
                }
                self.ready.push(key);
            }
        }
        for socket in std::mem::take(&mut self.arrived) {
            self.counters.increment(Counter::ConnectionsAccepted);
            self.connect(socket, self.now.instant, errands);
        }
    }

    /// Takes a socket in; `None` when there is no room for it.
    fn connect(&mut self, socket: Rc<Socket>, accepted: Instant, errands: &mut Errands) -> Option<Key> {
        if self.draining || self.connections.len() >= limits::CONNECTIONS_PER_SHARD_MAX {
            self.counters.increment(Counter::ConnectionsRefused);
            return None;
        }
        let connection = Connection::new(Rc::clone(&socket), Rc::default(), accepted);
        let key = self.connections.insert(connection)?;
        errands.watch.push((key, socket));
        Some(key)
    }

    /// Serves every connection that has bytes, unless the store is at a standstill: nothing is evaluated then, and
    /// sockets are not read (DESIGN 8.2, 5).
    fn serve_ready(&mut self) {
        for key in std::mem::take(&mut self.ready) {
            if !self.ledger.is_open() {
                self.pause(key);
                self.held.push(key);
                continue;
            }
            self.serve(key);
            if self.ledger.batch.bytes() > limits::BATCH_BYTES_MAX {
                self.persist();
            }
        }
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
                Owed::Downlink { device, downlink } => self.deliver(device, &downlink),
                Owed::Release(release) => release(),
                Owed::Update { watcher, entity, update } => {
                    if !self.watches.send(entity, watcher, update) {
                        self.counters.increment(Counter::WatchesCut);
                    }
                }
            }
        }
    }

    /// One write per connection and turn: all its acks leave together (DESIGN 3.2).
    fn flush(&mut self, errands: &mut Errands) {
        for key in std::mem::take(&mut self.flushing) {
            self.flush_one(key, errands);
        }
    }

    fn flush_one(&mut self, key: Key, errands: &mut Errands) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flushing = false;
        if connection.writing {
            return;
        }
        let output = connection.session.output();
        let mut sent = 0;
        let mut broken = false;
        while sent < output.len() {
            match connection.socket.send(&output[sent..]) {
                Sent::Bytes(count) => sent += count,
                Sent::Full => break,
                Sent::Broken => {
                    broken = true;
                    break;
                }
            }
        }
        if sent == output.len() {
            // An idle connection holds no buffer.
            *output = Vec::new();
            return;
        }
        output.drain(..sent);
        if broken {
            self.close(key, Close::from(Reason::PeerClosed));
        } else if output.len() > limits::OUTBOX_BYTES_MAX {
            self.close(key, Close::from(Reason::SlowPeer));
        } else {
            connection.writing = true;
            errands.await_room.push((key, Rc::clone(&connection.socket)));
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

    /// Lets a connection's socket be watched again, if its session can take more.
    pub(super) fn watch_again(&mut self, key: Key) {
        let now = self.now.instant;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.blocked() || matches!(connection.standing, Standing::Loading(_)) {
            return connection.session.pause();
        }
        connection.session.resume(now);
        if std::mem::take(&mut connection.waiting) {
            connection.signal.give(Order::Watch);
        }
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
