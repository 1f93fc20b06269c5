//! A stream of live updates from one instance. Dropping it ends every watch it carries; it never resumes by itself.

use std::time::Duration;

use schemas::{generated::query as wire, telemetry::Scope};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::telemetry::{
    Attribute, Entity, Series, Unanswered,
    client::{Stub, attribute, late, scope_to_wire, series, to_wire},
};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Watch requests under way to the instance.
const REQUESTS_MAX: usize = 256;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    Timeseries,
    /// `None` = every scope.
    Attributes(Option<Scope>),
}

/// What arrived for one watch. The first one is its snapshot (DESIGN 3).
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

/// An open stream.
#[derive(Debug)]
pub struct Live {
    requests: mpsc::Sender<wire::WatchRequest>,
    updates: Streaming<wire::WatchUpdate>,
}

impl Live {
    pub(in crate::telemetry) async fn open(mut stub: Stub) -> Result<Self, Unanswered> {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let opened = tokio::time::timeout(OPEN_TIMEOUT, stub.watch(ReceiverStream::new(receiver))).await;
        let updates = opened.map_err(|_| late(OPEN_TIMEOUT))??.into_inner();
        Ok(Self { requests, updates })
    }

    /// Starts a watch under the caller's number. Empty `keys` = all.
    ///
    /// # Errors
    /// [`Unanswered::Unavailable`] when the stream has ended or is not being read.
    pub fn start(&self, watch: u32, entity: &Entity, what: &Watch, keys: Vec<String>) -> Result<(), Unanswered> {
        let (timeseries, scope) = match what {
            Watch::Timeseries => (true, None),
            Watch::Attributes(scope) => (false, *scope),
        };
        let start = wire::WatchStart { entity: Some(to_wire(entity)), timeseries, scope: scope_to_wire(scope), keys };
        self.send(watch, wire::watch_request::Kind::Start(start))
    }

    /// Ends a watch. Updates already under way may still arrive.
    ///
    /// # Errors
    /// [`Unanswered::Unavailable`] when the stream has ended or is not being read.
    pub fn stop(&self, watch: u32) -> Result<(), Unanswered> {
        self.send(watch, wire::watch_request::Kind::Stop(wire::WatchStop {}))
    }

    /// The next update; `None` when the instance has ended the stream. Safe to drop while waiting.
    ///
    /// # Errors
    /// [`Unanswered`] when the stream broke.
    pub async fn next(&mut self) -> Result<Option<Update>, Unanswered> {
        Ok(self.updates.message().await?.map(|update| Update {
            watch: update.watch_id,
            snapshot: update.snapshot,
            series: update.series.into_iter().map(series).collect(),
            attributes: update.attributes.into_iter().filter_map(attribute).collect(),
            deleted: update.deleted,
            error: (!update.error.is_empty()).then_some(update.error),
        }))
    }

    fn send(&self, watch_id: u32, kind: wire::watch_request::Kind) -> Result<(), Unanswered> {
        self.requests
            .try_send(wire::WatchRequest { watch_id, kind: Some(kind) })
            .map_err(|_| Unanswered::Unavailable("the live stream does not take requests".to_owned()))
    }
}
