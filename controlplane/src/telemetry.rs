//! The way to the data planes: reads, writes and live updates of attributes and series, and calls to devices, over their Query
//! service.
//!
//! Values go in and come out as domain values; the wire messages stay inside. Never opens a data plane's files, never
//! decides who may ask (that is `access`), never retries a write.

mod alarm;
mod announcing;
mod call;
mod client;
mod dead_letters;
mod many;
mod pool;
mod rules;
mod sightings;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use schemas::telemetry::{Scope, Value};
use uuid::Uuid;

use crate::domain::EntityRef;

pub use self::{
    call::Standing,
    client::{Client, Values},
    dead_letters::FoundDeadLetters,
    many::{AttributeKey, Latest},
    pool::{InvalidLine, Pool},
    rules::{FieldCount, NodeCount},
    sightings::{AtNode, Seen, Sighting},
    watch::{Live, Update, Watch},
};

/// Whose attributes and series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// ThingsBoard's entity type, e.g. `DEVICE`.
    pub kind: &'static str,
    pub id: Uuid,
    pub tenant: Uuid,
}

/// A value of a series at a time, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub ts: i64,
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
    /// Milliseconds since the Unix epoch.
    pub last_update: i64,
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

impl Aggregation {
    /// ThingsBoard's spelling.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("NONE", Self::None),
        ("MIN", Self::Min),
        ("MAX", Self::Max),
        ("AVG", Self::Avg),
        ("SUM", Self::Sum),
        ("COUNT", Self::Count),
    ];

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, aggregation)| aggregation)
    }
}

/// A range read: `[start, end)` in milliseconds (DESIGN 28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub keys: Vec<String>,
    pub start: i64,
    pub end: i64,
    /// Points per key; applies to [`Aggregation::None`].
    pub limit: u32,
    pub ascending: bool,
    pub aggregation: Aggregation,
    /// Milliseconds; 0 = one interval over the whole range.
    pub interval_ms: i64,
}

/// Why a data plane did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("no data plane is connected")]
    NoInstance,
    /// The data plane's own words: what was wrong and the rule.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}; narrow the time range, name fewer keys, lower the limit or aggregate")]
    TooLarge(String),
    /// What the data plane keeps of a device is full: to be tried again later.
    #[error("{0}")]
    Full(String),
    #[error("the data plane cannot answer now: {0}")]
    Unavailable(String),
    /// The planes disagree (join token, version); logged, not told to the caller.
    #[error("the data plane refused the control plane: {0}")]
    Refused(String),
}

impl From<tonic::Status> for Unanswered {
    fn from(status: tonic::Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            tonic::Code::InvalidArgument | tonic::Code::OutOfRange | tonic::Code::FailedPrecondition => Self::Invalid(text),
            tonic::Code::ResourceExhausted => Self::TooLarge(text),
            tonic::Code::Unavailable
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Cancelled
            | tonic::Code::Aborted
            | tonic::Code::Unknown => Self::Unavailable(text),
            code => Self::Refused(format!("{code:?}: {text}")),
        }
    }
}

impl From<EntityRef> for Entity {
    fn from(entity: EntityRef) -> Self {
        Self { kind: entity.kind.name(), id: entity.id, tenant: entity.tenant }
    }
}
