//! The thread of a shard: its runtime, its tasks, its turn loop. Tasks only watch sockets, the doorbell and time; all
//! work is done by the turn, which runs after the tasks of a round have spoken.

use std::{cell::RefCell, future::Future, io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use super::bell::{Bell, Listener};
use super::connection::{self, Owner};
use super::event::{Doorbell, Mailbox};
use super::ledger::{Ledger, Reopen};
use super::mesh::{Mesh, Moved};
use super::placement::Placement;
use super::slab::{Key, Slab};
use super::turn::{Errands, Shard};
use crate::clock::{Clock, Instant};
use crate::limits;
use crate::metric::{Counter, ShardReport};
use crate::snapshot::{Directory, Table};
use crate::store::{Durability, Engine};
use crate::transport::Socket;

/// How sockets are watched (DESIGN 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// Does this kernel (and its seccomp profile) allow io_uring?
    #[must_use]
    pub fn io_uring_works() -> bool {
        monoio::utils::detect_uring()
    }
}

/// Everything a shard is made of; `Send`, so that it can go to its thread.
pub struct Parts {
    pub index: u16,
    pub placement: Placement,
    pub driver: Driver,
    pub durability: Durability,
    pub clock: Clock,
    pub listener: TcpListener,
    pub heard: Listener,
    pub doorbell: Doorbell,
    pub mailbox: Mailbox,
    pub mesh: Mesh,
    pub directory: Arc<Directory>,
    pub report: ShardReport,
    pub engine: Arc<dyn Engine>,
    pub reopen: Box<dyn Fn() -> Result<Arc<dyn Engine>, crate::store::StoreError> + Send>,
    pub epoch: u32,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    #[error("the runtime cannot be built: {0}")]
    Runtime(#[source] io::Error),
    #[error("the store cannot be read: {0}")]
    Store(#[from] crate::store::StoreError),
}

/// Runs a shard until it has drained. Blocks its thread; `serving` is called once it accepts connections.
///
/// # Errors
/// [`ShardError`] when it cannot start, or when the last commit fails.
pub fn run(parts: Parts, serving: impl FnOnce()) -> Result<(), ShardError> {
    match parts.driver {
        Driver::IoUring => monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
            .enable_timer()
            .build()
            .map_err(ShardError::Runtime)?
            .block_on(live(parts, serving)),
        Driver::Epoll => monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
            .enable_timer()
            .build()
            .map_err(ShardError::Runtime)?
            .block_on(live(parts, serving)),
    }
}

/// The shard as its tasks hold it. Turns and tasks take it in alternation, never at once.
struct Home {
    shard: RefCell<Shard>,
    bell: Rc<Bell>,
}

async fn live(parts: Parts, serving: impl FnOnce()) -> Result<(), ShardError> {
    let bell = Rc::new(Bell::default());
    let listener = parts.listener.try_clone().map_err(ShardError::Runtime)?;
    let listener = monoio::net::TcpListener::from_std(listener).map_err(ShardError::Runtime)?;
    let (index, shards) = (parts.index, parts.placement.shards());
    let (shard, ears) = furnish(parts, Rc::clone(&bell))?;
    // After the lanes were started: they may run wherever there is room.
    pin(index, shards);
    let home = Rc::new(Home { shard: RefCell::new(shard), bell });
    monoio::spawn(listen(ears, Rc::clone(&home.bell)));
    monoio::spawn(tick(Rc::clone(&home)));
    monoio::spawn(accept(listener, Rc::clone(&home)));
    serving();
    loop {
        let errands = home.shard.borrow_mut().turn();
        run_errands(&home, errands);
        if home.shard.borrow_mut().drained() {
            break;
        }
        home.bell.wait().await;
    }
    // The final sync: acknowledged or not, everything written is durable when the process ends.
    let closed = home.shard.borrow_mut().ledger.close();
    closed.map_err(ShardError::Store)
}

/// Keeps a shard on a core of its own, if there is one for each. Where the system forbids it the shard only runs slower.
fn pin(index: u16, shards: u16) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    if allowed.count() < u32::from(shards) {
        return;
    }
    if let Some(core) = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).nth(usize::from(index)) {
        let mut own = CpuSet::new();
        own.set(core);
        if let Err(error) = sched_setaffinity(None, &own) {
            tracing::warn!(%error, core, "a shard could not be pinned to its core");
        }
    }
}

/// Puts the shard together on its own thread, where it stays.
fn furnish(parts: Parts, bell: Rc<Bell>) -> Result<(Shard, Listener), ShardError> {
    let Parts {
        index,
        placement,
        durability,
        clock,
        heard,
        doorbell,
        mailbox,
        mesh,
        directory,
        report,
        engine,
        reopen,
        epoch,
        ..
    } = parts;
    let reopen: Reopen = reopen;
    let mut ledger = Ledger::new(reopen, doorbell, durability, epoch, Arc::clone(&report.counters));
    ledger.begin(Arc::clone(&engine))?;
    let mut shard = Shard {
        index,
        placement,
        clock,
        now: clock.now(),
        counters: report.counters,
        health: report.health,
        directory,
        table: Table::default(),
        generation: 0,
        mailbox,
        mesh,
        ledger,
        residents: Default::default(),
        watches: Default::default(),
        connections: Slab::default(),
        sessions: Default::default(),
        ready: Vec::new(),
        held: Vec::new(),
        loads: Default::default(),
        reload_later: Vec::new(),
        interrupted: Default::default(),
        crowded: Vec::new(),
        stuck: Vec::new(),
        flushing: Vec::new(),
        leaving: Default::default(),
        lingering: Vec::new(),
        scratch: vec![0; limits::READ_BUFFER_BYTES],
        arrived: Vec::new(),
        bell,
        ticked: false,
        expired_at: Instant::default(),
        draining: false,
    };
    shard.recover(&*engine);
    shard.say_standstill();
    Ok((shard, heard))
}

async fn listen(ears: Listener, bell: Rc<Bell>) {
    if let Err(error) = ears.listen(bell).await {
        // Without its doorbell a shard is deaf to commits: nothing it holds would ever be acknowledged.
        tracing::error!(%error, "the doorbell of a shard is broken");
        std::process::abort();
    }
}

async fn tick(home: Rc<Home>) {
    loop {
        monoio::time::sleep(Duration::from_millis(limits::TICK_MS)).await;
        home.shard.borrow_mut().ticked = true;
        home.bell.ring();
    }
}

async fn accept(listener: monoio::net::TcpListener, home: Rc<Home>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if home.shard.borrow().draining {
                    continue;
                }
                home.shard.borrow_mut().arrived.push(Rc::new(Socket::new(stream)));
                home.bell.ring();
            }
            Err(error) => {
                // Out of descriptors: the connections that are open matter more than new ones.
                home.shard.borrow().counters.increment(Counter::ConnectionsRefused);
                tracing::warn!(%error, "a connection could not be accepted");
                monoio::time::sleep(Duration::from_millis(limits::TICK_MS)).await;
            }
        }
    }
}

fn run_errands(home: &Rc<Home>, errands: Errands) {
    for (key, socket) in errands.watch {
        let signal = match home.shard.borrow().connections.get(key) {
            Some(connection) => Rc::clone(&connection.signal),
            None => continue,
        };
        spawn(connection::watch(Rc::clone(home), key, socket, signal));
    }
    for (key, socket) in errands.await_room {
        spawn(connection::await_room(Rc::clone(home), key, socket));
    }
}

fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(task));
}

impl Owner for Home {
    fn readable(&self, key: Key) {
        let mut shard = self.shard.borrow_mut();
        if let Some(connection) = shard.connections.get_mut(key) {
            connection.waiting = true;
            shard.ready.push(key);
            self.bell.ring();
        }
    }

    fn writable(&self, key: Key) {
        let mut shard = self.shard.borrow_mut();
        if let Some(connection) = shard.connections.get_mut(key) {
            connection.writing = false;
            shard.wants_flush(key);
            self.bell.ring();
        }
    }

    fn leave(&self, key: Key, socket: Socket, owner: u16) {
        let mut shard = self.shard.borrow_mut();
        if let Some((bytes, accepted)) = shard.leaving.remove(&key) {
            let stream = socket.release();
            shard.send_moved(owner, Box::new(Moved { stream, bytes, accepted }));
        }
    }
}

impl Shard {
    /// Sends a connection to its owner, or keeps it until the ring has room.
    pub(super) fn send_moved(&mut self, owner: u16, moved: Box<Moved>) {
        match self.mesh.send(owner, moved) {
            Ok(()) => self.counters.increment(Counter::ConnectionsHandedOver),
            Err(moved) => self.stuck.push((owner, moved)),
        }
    }

    /// Is everything written and everyone told? A store at a standstill has nothing more to give.
    pub(super) fn drained(&mut self) -> bool {
        self.draining && self.connections.len() == 0 && !(self.ledger.is_open() && self.ledger.has_work())
    }
}
