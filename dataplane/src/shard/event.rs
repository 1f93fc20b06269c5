//! The only door into a shard: a bounded mailbox of a closed enum of events, and the doorbell that wakes its owner.
//! Whoever posts never waits here; a full mailbox gives the event back.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crossbeam::queue::ArrayQueue;
use schemas::generated::kept::Forward;
use schemas::id::{ChainId, DeviceId, FieldId, TenantId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::alarming::Unconfirmed;
use super::outbox::Next;
use super::reviving::DeadLettersRead;
use super::sightings::{Seen, Trace};
use crate::{
    device::{
        outbox::OwedCall,
        passage::{Pair, Read},
        waiting::Due,
    },
    limits,
    owed::Answered,
    query::{DeadLetters, DeadLettersAsk, Query, Target},
    registry::Told,
    rules::{Found, NodeCount},
    snapshot::{FieldCount, ShardChange},
    store::{StoreError, Ticket},
};

/// Everything that may reach a shard from outside its sockets and its mesh.
pub enum Event {
    /// Configuration; dropping `applied` tells the link that this shard has applied it.
    Config { changes: Arc<Vec<ShardChange>>, applied: Applied },
    /// A read, a write or a watch.
    Query { target: Target, query: Query },
    /// A lane finished reading: hand `release` out once `ticket` is durable (DESIGN 3).
    Release { ticket: Ticket, release: Box<dyn FnOnce() + Send> },
    /// A lane loaded what a parked device or query was waiting for; the shard knows which by `key`.
    Loaded(Box<crate::device::Loaded>),
    /// A lane read a gateway's pack whose parts are to be sent.
    Forward(Box<Unsent>),
    /// A lane read calls that are to be made.
    CallsRead(Box<CallsRead>),
    /// A lane read messages whose time has come.
    DueRead(Box<DueRead>),
    /// A lane read messages that are on their way to other originators.
    PassagesRead(Box<PassagesRead>),
    /// What came of a call to the outside.
    CameOf { flight: u64, answered: Box<Answered> },
    /// A lane has read changed alarms that the control plane may not know.
    Unconfirmed(Box<Unconfirmed>),
    /// A lane read what a parked message needs to know of the past.
    Fact { number: u64, found: Found },
    /// The control plane's answer to a question of this shard.
    Told { number: u64, told: Told },
    /// What became of a tenant's calculated field.
    CountField { tenant: TenantId, field: FieldId, reply: oneshot::Sender<FieldCount> },
    /// What happened at the nodes of a tenant's chain.
    Count { tenant: TenantId, chain: ChainId, reply: oneshot::Sender<Vec<NodeCount>> },
    /// Something is asked of calls that were given up.
    DeadLetters { sought: DeadLetters, ask: DeadLettersAsk },
    /// A lane read such calls, which are to be made once more or forgotten.
    DeadLettersRead(Box<DeadLettersRead>),
    /// What was seen of a tenant's node, chain or message, the oldest first.
    Sightings { tenant: TenantId, of: Uuid, reply: oneshot::Sender<Vec<Arc<Seen>>> },
    /// Forget what was seen, by its ids.
    ForgetSightings { tenant: TenantId, ids: Vec<Uuid>, done: oneshot::Sender<()> },
    /// Look at the next message of an entity wherever it goes. `false`: as many are waited for as may be.
    Trace { trace: Box<Trace>, done: oneshot::Sender<bool> },
    /// Stop accepting, tell MQTT 5 clients, commit, end.
    Drain,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config { .. } => "Config",
            Self::Query { .. } => "Query",
            Self::Release { .. } => "Release",
            Self::Loaded(_) => "Loaded",
            Self::Forward(_) => "Forward",
            Self::CallsRead(_) => "CallsRead",
            Self::DueRead(_) => "DueRead",
            Self::PassagesRead(_) => "PassagesRead",
            Self::CameOf { .. } => "CameOf",
            Self::Unconfirmed(_) => "Unconfirmed",
            Self::Fact { .. } => "Fact",
            Self::Told { .. } => "Told",
            Self::Count { .. } => "Count",
            Self::DeadLetters { .. } => "DeadLetters",
            Self::DeadLettersRead(_) => "DeadLettersRead",
            Self::CountField { .. } => "CountField",
            Self::Sightings { .. } => "Sightings",
            Self::ForgetSightings { .. } => "ForgetSightings",
            Self::Trace { .. } => "Trace",
            Self::Drain => "Drain",
        })
    }
}

/// See [`Event::Forward`].
#[derive(Debug)]
pub struct Unsent {
    pub gateway: DeviceId,
    pub number: u64,
    /// `None`: there is none yet.
    pub pack: Result<Option<Forward>, StoreError>,
    /// What was read is durable with this ticket.
    pub ticket: Ticket,
}

/// See [`Event::CallsRead`].
#[derive(Debug)]
pub struct CallsRead {
    pub(super) calls: Vec<(Next, Result<Option<OwedCall>, StoreError>)>,
    /// What was read is durable with this ticket.
    pub(super) ticket: Ticket,
}

/// By their numbers.
pub(super) type Messages = Vec<(u64, OwedCall)>;

/// See [`Event::DueRead`].
#[derive(Debug)]
pub struct DueRead {
    /// Of the store that was read.
    pub(super) generation: u32,
    pub(super) found: Vec<(Due, Result<Messages, StoreError>)>,
}

/// See [`Event::PassagesRead`].
#[derive(Debug)]
pub struct PassagesRead {
    pub(super) generation: u32,
    pub(super) pair: Pair,
    pub(super) found: Result<Read, StoreError>,
    /// What was read is durable with this ticket.
    pub(super) ticket: Ticket,
}

/// Counts the shards that have not yet applied a set of changes; the last one to drop it calls back.
pub struct Applied(Arc<AppliedInner>);

struct AppliedInner {
    open: AtomicUsize,
    done: Box<dyn Fn() + Send + Sync>,
}

impl Applied {
    /// `shards` handles of which the last one dropped calls `done`.
    #[must_use]
    pub fn new(shards: usize, done: impl Fn() + Send + Sync + 'static) -> Vec<Self> {
        let inner = Arc::new(AppliedInner { open: AtomicUsize::new(shards), done: Box::new(done) });
        (0..shards).map(|_| Self(Arc::clone(&inner))).collect()
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.0.done)();
        }
    }
}

/// Wakes a shard; cheap to call when it is already awake.
pub type Doorbell = Arc<dyn Fn() + Send + Sync>;

/// The sending side of a shard's mailbox.
#[derive(Clone)]
pub struct Mailbox {
    queue: Arc<ArrayQueue<Event>>,
    doorbell: Doorbell,
}

impl Mailbox {
    #[must_use]
    pub fn new(doorbell: Doorbell) -> Self {
        Self { queue: Arc::new(ArrayQueue::new(limits::MAILBOX_EVENTS_MAX)), doorbell }
    }

    /// Posts an event and wakes the shard.
    ///
    /// # Errors
    /// The event itself when the mailbox is full: try again later, or refuse whoever caused it.
    #[expect(clippy::result_large_err, reason = "whoever cannot post keeps the event; a box for each would cost more")]
    pub fn post(&self, event: Event) -> Result<(), Event> {
        self.queue.push(event)?;
        (self.doorbell)();
        Ok(())
    }

    /// Posts an event, waiting while the mailbox is full. For the tokio side only.
    pub async fn deliver(&self, mut event: Event) {
        loop {
            match self.post(event) {
                Ok(()) => return,
                Err(back) => event = back,
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The next event, for the owning shard.
    #[must_use]
    pub fn take(&self) -> Option<Event> {
        self.queue.pop()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("waiting", &self.queue.len()).finish()
    }
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Applied({} open)", self.0.open.load(Ordering::Relaxed))
    }
}
