//! What may be asked of a shard from outside its sockets: reads, writes on behalf of operators, live watches.
//! Values only. Whoever asks gets its answer through the reply it put in; nobody here waits.

use std::collections::BTreeMap;

use schemas::{
    alarm::Alarm,
    config::End,
    generated::kept,
    id::{ChainId, EntityId, TenantId},
    telemetry::{Scope, Value},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The request itself is wrong; the text says what and the rule.
    #[error("{0}")]
    Invalid(String),
    /// The answer exceeds the row or byte budget.
    #[error("the answer is too large: {0}")]
    TooLarge(String),
    /// The store cannot serve now; the text says why.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Where an answer goes. Dropping it unanswered is an error at the other end, never a hang.
pub type Reply<T> = oneshot::Sender<Result<T, QueryError>>;

#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub ts: Timestamp,
    pub value: Value<'static>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub key: String,
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub scope: Scope,
    pub key: String,
    pub last_update: Timestamp,
    pub value: Value<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    None,
    Min,
    Max,
    Avg,
    Sum,
    Count,
}

/// A range read. `end` is exclusive; an aggregate's ts is start + interval/2 (DESIGN 28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub keys: Vec<String>,
    pub start: Timestamp,
    pub end: Timestamp,
    /// Points per key; applies to [`Aggregation::None`].
    pub limit: usize,
    pub ascending: bool,
    pub aggregation: Aggregation,
    /// 0 = one interval over the whole range.
    pub interval_ms: i64,
}

/// A call of the server to a device (ThingsBoard's RPC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: Uuid,
    pub method: String,
    /// JSON.
    pub params: String,
    pub one_way: bool,
    /// Stored, so that it outlives the process; whoever asked does not wait for its outcome.
    pub persistent: bool,
    /// No outcome after it but that it has expired.
    pub expires: Timestamp,
    /// How often a persistent one is sent again when no answer comes.
    pub retries: u32,
    /// JSON or empty; kept with a persistent one.
    pub additional_info: String,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The device's answer, JSON.
    Response(String),
    /// A one-way call reached the device.
    Delivered,
    /// Nobody was there to take it until it expired.
    NoConnection,
    /// It was sent and nothing came back.
    TimedOut,
    /// A persistent one is stored.
    Queued,
}

/// What somebody does with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmChange {
    /// The alarm of its originator and type that is not cleared becomes like this, or begins.
    Save,
    Acknowledge,
    Clear,
    /// To nobody, too.
    Assign(Option<Uuid>),
    Delete,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedAlarm {
    pub alarm: Alarm,
    /// False: it was like this already.
    pub changed: bool,
    /// It has just begun.
    pub created: bool,
}

/// A message that the control plane makes for an entity, to enter the entity's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entering {
    pub tenant: TenantId,
    pub originator: End,
    /// ThingsBoard's message type.
    pub kind: String,
    pub metadata: BTreeMap<String, String>,
    /// JSON.
    pub data: String,
    /// The chain that it enters if its originator is gone; the tenant's root chain, if there is none.
    pub chain: Option<ChainId>,
}

/// Which calls that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    pub tenant: TenantId,
    pub originator: Option<EntityId>,
    /// Whose node called.
    pub chain: Option<ChainId>,
    /// One call of its originator.
    pub number: Option<u64>,
    /// Those that were given up later are not meant.
    pub until: Timestamp,
}

/// What one shard has of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundDeadLetters {
    /// With their originators, the last one first.
    pub letters: Vec<(EntityId, kept::DeadLetter)>,
    /// How many there are, found or not.
    pub total: u64,
    /// There are more than were looked at.
    pub partial: bool,
}

/// What became of them on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedDeadLetters {
    pub ended: u64,
    /// They stay as they are: there is no room in the outbox, or they were changed meanwhile.
    pub left: u64,
    /// There are more than were looked at.
    pub partial: bool,
}

/// What is asked of dead letters, on each shard.
#[derive(Debug)]
pub enum DeadLettersAsk {
    /// So many of the last ones; with their messages or without.
    Find { most: usize, with_message: bool, reply: Reply<FoundDeadLetters> },
    /// Make their calls once more, or forget them.
    End { again: bool, reply: Reply<EndedDeadLetters> },
}

/// How a device stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub connected: bool,
    pub transport: &'static str,
    /// Refusals since its shard started to count, by reason.
    pub refused: Vec<(&'static str, u32)>,
}

/// Reads and writes of one entity. Empty `keys` means all, except in deletes.
#[derive(Debug)]
pub enum Query {
    Keys {
        reply: Reply<Vec<String>>,
    },
    Latest {
        keys: Vec<String>,
        reply: Reply<Vec<Series>>,
    },
    History {
        history: History,
        reply: Reply<Vec<Series>>,
    },
    Attributes {
        scope: Option<Scope>,
        keys: Vec<String>,
        reply: Reply<Vec<Attribute>>,
    },
    /// `payload` is ThingsBoard telemetry JSON. Stored directly, raises TIMESERIES_UPDATED (DESIGN 28).
    SaveTimeseries {
        payload: Vec<u8>,
        ttl_s: u32,
        /// Strings stay strings, even those that look like numbers.
        as_written: bool,
        reply: Reply<()>,
    },
    /// `payload` is a flat JSON object. Raises ATTRIBUTES_UPDATED; shared attributes go down to the device.
    SaveAttributes {
        scope: Scope,
        payload: Vec<u8>,
        as_written: bool,
        reply: Reply<()>,
    },
    /// `range` is [start, end); `None` deletes everything of the keys.
    DeleteTimeseries {
        keys: Vec<String>,
        range: Option<(Timestamp, Timestamp)>,
        reply: Reply<()>,
    },
    DeleteAttributes {
        scope: Scope,
        keys: Vec<String>,
        reply: Reply<()>,
    },
    Call {
        call: Call,
        reply: Reply<Called>,
    },
    /// The persistent calls of a device, or one of them, in any order.
    Calls {
        id: Option<Uuid>,
        reply: Reply<Vec<(Uuid, kept::Call)>>,
    },
    DeleteCall {
        id: Uuid,
        reply: Reply<()>,
    },
    /// `alarm` is as whoever asks knows it; what the shard knows wins.
    ChangeAlarm {
        alarm: Box<Alarm>,
        change: AlarmChange,
        reply: Reply<ChangedAlarm>,
    },
    Standing {
        reply: Reply<Standing>,
    },
    /// The message enters its originator's chain. Answered when what that wrote at once is durable.
    Enter {
        entering: Box<Entering>,
        reply: Reply<()>,
    },
    Watch(Watch),
    Unwatch {
        watcher: WatcherId,
        watch: u32,
    },
}

/// The entity a query is about, and the tenant it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub entity: EntityId,
    pub tenant: TenantId,
}

/// One stream of live updates; unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatcherId(pub u64);

/// A live watch. Snapshot and position are taken in one mailbox event; updates start right after it (DESIGN 3).
#[derive(Debug)]
pub struct Watch {
    pub watcher: WatcherId,
    /// The watcher's own number for this watch.
    pub watch: u32,
    pub what: Watched,
    pub keys: Vec<String>,
    /// Bounded; a watcher whose channel is full is cut: its sender is dropped.
    pub updates: mpsc::Sender<Update>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    Timeseries,
    Attributes(Option<Scope>),
}

/// What a watcher receives. The first of a watch is its snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub watch: u32,
    pub snapshot: bool,
    pub series: Vec<Series>,
    pub attributes: Vec<Attribute>,
    /// Attribute keys that were deleted.
    pub deleted: Vec<String>,
    /// The watch was refused and does not exist.
    pub error: Option<String>,
}
