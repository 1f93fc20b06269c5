//! The thread of a shard: its runtime and its turn loop. While there is work, turn follows turn; the runtime only lets the
//! shard sleep until a descriptor is ready or a tick is due.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use super::bell::{Bell, Listener};
use super::calling::{Calls, Submit};
use super::event::{Doorbell, Mailbox};
use super::inquiring::Questions;
use super::ledger::Ledger;
use super::listening::Listening;
use super::mesh::Mesh;
use super::placement::Placement;
use super::residents::Residents;
use super::sightings::Sightings;
use super::slab::Slab;
use super::turn::{Shard, Token};
use crate::auth::Forwarders;
use crate::clock::{Clock, Instant};
use crate::limits;
use crate::message::Readings;
use crate::metric::ShardReport;
use crate::quota::{Admission, Policy};
use crate::script::Engines;
use crate::snapshot::{Directory, Table};
use crate::store::{Durability, Engine};
use crate::transport::ReadySet;
use crate::wheel::Wheel;

/// What a shard sleeps on (DESIGN 3.2).
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
    pub listeners: Vec<Listening>,
    pub heard: Listener,
    pub doorbell: Doorbell,
    pub mailbox: Mailbox,
    pub mesh: Mesh,
    pub directory: Arc<Directory>,
    pub report: ShardReport,
    pub engine: Arc<dyn Engine>,
    pub reopen: Box<dyn Fn() -> Result<Arc<dyn Engine>, crate::store::StoreError> + Send>,
    pub epoch: u32,
    pub pools: limits::Pools,
    /// `None`: no bound.
    pub connections_per_address: Option<u32>,
    pub rpc_submit: Submit,
    pub forwarders: Forwarders,
    /// The name of this data plane.
    pub instance: Arc<str>,
    /// To whoever makes calls to the outside.
    pub calls_out: tokio::sync::mpsc::Sender<crate::owed::Due>,
    /// Questions for the control plane.
    pub questions: tokio::sync::mpsc::Sender<crate::registry::Question>,
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

async fn live(parts: Parts, serving: impl FnOnce()) -> Result<(), ShardError> {
    let bell = Rc::new(Bell::default());
    let (index, shards) = (parts.index, parts.placement.shards());
    let shard = furnish(parts, Rc::clone(&bell))?;
    // After the lanes were started: they may run wherever there is room.
    pin(index, shards);
    let set = shard.set.watched().and_then(monoio::net::UnixStream::from_std).map_err(ShardError::Runtime)?;
    let shard = Rc::new(RefCell::new(shard));
    let asleep = Rc::new(Bell::default());
    drop(monoio::spawn(watch(set, Rc::clone(&asleep), Rc::clone(&bell))));
    drop(monoio::spawn(tick(Rc::clone(&bell))));
    serving();
    while pass(&shard, &bell, &asleep) {
        bell.wait().await;
        shard.borrow().heard.wake();
    }
    // The final sync: acknowledged or not, everything written is durable when the process ends.
    let closed = shard.borrow_mut().ledger.close();
    closed.map_err(ShardError::Store)
}

/// One turn, a pause if one is worth it, and leave to sleep if nothing is left to do; false when the shard has drained.
fn pass(shard: &RefCell<Shard>, bell: &Bell, asleep: &Bell) -> bool {
    let mut shard = shard.borrow_mut();
    shard.turn();
    if shard.drained() {
        return false;
    }
    let now = shard.clock.now().instant;
    let rest_us = shard.ledger.rest_us(now.us_since(shard.now.instant));
    if rest_us > 0 {
        shard.heard.pause(rest_us);
        bell.ring();
    } else if !bell.rung() && shard.may_sleep() {
        match shard.ledger.pause_us(now) {
            0 => asleep.ring(),
            us => {
                shard.heard.pause(us);
                bell.ring();
            }
        }
    }
    true
}

/// Rings the shard's bell when something is ready, once per sleep.
async fn watch(set: monoio::net::UnixStream, asleep: Rc<Bell>, bell: Rc<Bell>) {
    loop {
        asleep.wait().await;
        if let Err(error) = set.readable(false).await {
            // A shard that cannot be woken would never acknowledge anything again.
            tracing::error!(%error, "the ready set of a shard cannot be watched");
            std::process::abort();
        }
        bell.ring();
    }
}

async fn tick(bell: Rc<Bell>) {
    loop {
        monoio::time::sleep(Duration::from_millis(limits::TICK_MS)).await;
        bell.ring();
    }
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
pub(super) fn furnish(parts: Parts, bell: Rc<Bell>) -> Result<Shard, ShardError> {
    let (report, placement, clock) = (parts.report, parts.placement, parts.clock);
    let mut ledger = Ledger::new(parts.reopen, parts.doorbell, parts.durability, parts.epoch, Arc::clone(&report.counters));
    ledger.begin(Arc::clone(&parts.engine))?;
    let shard = Shard {
        index: parts.index,
        placement,
        clock,
        now: clock.now(),
        counters: report.counters,
        health: report.health,
        directory: parts.directory,
        table: Table::new(placement.shards()),
        generation: 0,
        mailbox: parts.mailbox,
        mesh: parts.mesh,
        ledger,
        residents: Residents::new(parts.pools.state_bytes),
        watches: Default::default(),
        set: ready_set(&parts.heard, &parts.listeners).map_err(ShardError::Runtime)?,
        heard: parts.heard,
        listeners: parts.listeners,
        connections: Slab::default(),
        lingering: Slab::default(),
        sessions: Default::default(),
        through: Default::default(),
        polls: Default::default(),
        calls: Calls::new(parts.rpc_submit),
        client_calls: Default::default(),
        answers: Vec::new(),
        scripts: Engines::new(clock, parts.pools.script_engines),
        wills: Default::default(),
        questions: Questions::new(parts.questions),
        forwards: Default::default(),
        outbox: Default::default(),
        dead_letters: Default::default(),
        patient_until: Instant::MAX,
        dues: Default::default(),
        counting: Vec::new(),
        timers_changed: false,
        instance: parts.instance,
        rule_times: Default::default(),
        passages: Default::default(),
        requests: Default::default(),
        sightings: Sightings::new(placement.shards()),
        calls_out: parts.calls_out,
        alarm_feed: Default::default(),
        needs: Default::default(),
        rates: Default::default(),
        throttle: Default::default(),
        forwarders: parts.forwarders,
        admission: Admission::new(policy(&parts.pools, parts.connections_per_address)),
        ready: Default::default(),
        held: Vec::new(),
        loads: Default::default(),
        reload_later: Vec::new(),
        interrupted: Default::default(),
        crowded: Vec::new(),
        starved: Vec::new(),
        flushing: Vec::new(),
        decoded: Default::default(),
        scratch: vec![0; limits::READ_BUFFER_BYTES],
        unsent_bytes: 0,
        pools: parts.pools,
        readings: Readings::default(),
        bell,
        ticked_at: Instant::default(),
        wheel: Wheel::new(limits::TICK_MS, parts.pools.connections.saturating_mul(2)),
        draining: false,
    };
    Ok(begin(shard, &*parts.engine))
}

fn begin(mut shard: Shard, engine: &dyn Engine) -> Shard {
    shard.recover(engine);
    shard.say_standstill();
    shard
}

fn policy(pools: &limits::Pools, connections_per_address: Option<u32>) -> Policy {
    let policy = Policy::new(u32::try_from(pools.connections).unwrap_or(u32::MAX));
    Policy { connections_per_address: connections_per_address.unwrap_or(policy.connections), ..policy }
}

/// What wakes the shard: the doorbell and its listeners; later, connections.
fn ready_set(heard: &Listener, listeners: &[Listening]) -> io::Result<ReadySet> {
    let set = ReadySet::new()?;
    set.add_reader(heard, Token::DOORBELL)?;
    for (place, listening) in listeners.iter().enumerate() {
        set.add_reader(&listening.socket, Token::listener(place))?;
    }
    Ok(set)
}

impl Shard {
    /// Prepares for sleep; false when there is something to do after all.
    fn may_sleep(&self) -> bool {
        self.heard.doze();
        if self.has_news() {
            self.heard.wake();
            self.bell.ring();
            return false;
        }
        true
    }

    /// Is everything written and everyone told? A store at a standstill has nothing more to give.
    pub(super) fn drained(&mut self) -> bool {
        self.draining
            && self.connections.len() == 0
            && !self.mesh.has_arrivals()
            && !(self.ledger.is_open() && (self.ledger.has_work() || !self.needs.is_empty()))
    }
}
