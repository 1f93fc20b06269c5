//! One stream of live updates: passes watches to the shards that own their entities and updates back, and ends the whole
//! stream when a shard had to cut it for being slow, so that its reader starts again from a snapshot (DESIGN 3, 8.1 3).

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use schemas::generated::query::{self as wire, watch_request::Kind};
use tokio::{
    sync::{mpsc, watch as stop},
    time::interval,
};
use tonic::{Status, Streaming};

use super::{convert, post};
use crate::limits;
use crate::link::stopped;
use crate::query::{Query, Target, Update, Watch, WatcherId};
use crate::shard::{Event, Shards};

/// A cut is noticed at the next update or after this.
const CUT_CHECK_INTERVAL: Duration = Duration::from_secs(1);

static NEXT_WATCHER: AtomicU64 = AtomicU64::new(1);

type Frames = mpsc::Sender<Result<wire::WatchUpdate, Status>>;

/// Why a stream ends: nothing more to say, or a status the reader is told.
type End = ControlFlow<Option<Status>>;

struct Stream {
    watcher: WatcherId,
    shards: Shards,
    frames: Frames,
    /// Given to shards as clones. The one kept here never closes the channel, hence [`Stream::is_cut`].
    updates: mpsc::Sender<Update>,
    live: HashMap<u32, Target>,
}

/// Runs one stream to its end, then takes its watches off the shards.
pub(super) async fn run(
    mut requests: Streaming<wire::WatchRequest>,
    frames: Frames,
    shards: Shards,
    mut shutdown: stop::Receiver<bool>,
) {
    let (updates, mut received) = mpsc::channel(limits::WATCH_UPDATES_MAX);
    let watcher = WatcherId(NEXT_WATCHER.fetch_add(1, Relaxed));
    let mut stream = Stream { watcher, shards, frames, updates, live: HashMap::new() };
    let end = tokio::select! {
        end = stream.serve(&mut requests, &mut received) => end,
        () = stopped(&mut shutdown) => Some(Status::unavailable("the instance is stopping")),
    };
    // First, so that a shard that still holds a sender finds it closed.
    drop(received);
    stream.unwatch_all().await;
    if let Some(status) = end {
        // Gone already: then nobody wants to know.
        drop(stream.frames.send(Err(status)).await);
    }
}

impl Stream {
    async fn serve(
        &mut self,
        requests: &mut Streaming<wire::WatchRequest>,
        received: &mut mpsc::Receiver<Update>,
    ) -> Option<Status> {
        let gone = self.frames.clone();
        let mut check = interval(CUT_CHECK_INTERVAL);
        loop {
            let end = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.request(request).await,
                    Ok(None) | Err(_) => ControlFlow::Break(None),
                },
                Some(update) = received.recv() => self.pass_on(update).await,
                _ = check.tick() => ControlFlow::Continue(()),
                () = gone.closed() => ControlFlow::Break(None),
            };
            if let ControlFlow::Break(status) = end {
                return status;
            }
            if self.is_cut(received) {
                return Some(Status::resource_exhausted("live updates came faster than they were read; start again"));
            }
        }
    }

    async fn request(&mut self, request: wire::WatchRequest) -> End {
        match request.kind {
            Some(Kind::Start(start)) => self.start(request.watch_id, start).await,
            Some(Kind::Stop(_)) => {
                if let Some(target) = self.live.remove(&request.watch_id) {
                    self.unwatch(request.watch_id, target).await;
                }
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(Some(Status::invalid_argument("a watch request without a kind"))),
        }
    }

    /// A watch that cannot be is refused by an update of its own; the others of the stream go on.
    async fn start(&mut self, watch: u32, start: wire::WatchStart) -> End {
        if self.live.len() >= limits::WATCHES_PER_STREAM_MAX {
            return self.refuse(watch, format!("at most {} watches per stream", limits::WATCHES_PER_STREAM_MAX)).await;
        }
        let (target, what, keys) = match convert::watched(start) {
            Ok(watched) => watched,
            Err(status) => return self.refuse(watch, status.message().to_owned()).await,
        };
        match self.live.entry(watch) {
            Entry::Occupied(_) => {
                return ControlFlow::Break(Some(Status::invalid_argument(format!("watch {watch} exists already"))));
            }
            Entry::Vacant(entry) => entry.insert(target),
        };
        let query = Query::Watch(Watch { watcher: self.watcher, watch, what, keys, updates: self.updates.clone() });
        if let Err(status) = post(self.shards.owner(target.entity), Event::Query { target, query }).await {
            self.live.remove(&watch);
            return self.refuse(watch, status.message().to_owned()).await;
        }
        ControlFlow::Continue(())
    }

    async fn refuse(&mut self, watch: u32, error: String) -> End {
        self.send(wire::WatchUpdate { watch_id: watch, error, ..Default::default() }).await
    }

    async fn pass_on(&mut self, update: Update) -> End {
        if update.error.is_some() {
            self.live.remove(&update.watch);
        } else if !self.live.contains_key(&update.watch) {
            // It was on its way when its watch was stopped.
            return ControlFlow::Continue(());
        }
        self.send(convert::update(update)).await
    }

    async fn send(&mut self, update: wire::WatchUpdate) -> End {
        match self.frames.send(Ok(update)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(None),
        }
    }

    /// A shard that finds the channel full drops its sender. Every live watch has one sender somewhere; refusals are in the
    /// channel before their sender is dropped, so they must have been read before a missing one means a cut.
    fn is_cut(&self, received: &mpsc::Receiver<Update>) -> bool {
        self.updates.strong_count() < 1 + self.live.len() && received.is_empty()
    }

    async fn unwatch(&self, watch: u32, target: Target) {
        let query = Query::Unwatch { watcher: self.watcher, watch };
        // A shard too busy to hear it finds the channel closed, or the watch unwanted, at its next update.
        drop(post(self.shards.owner(target.entity), Event::Query { target, query }).await);
    }

    async fn unwatch_all(&mut self) {
        for (watch, target) in std::mem::take(&mut self.live) {
            self.unwatch(watch, target).await;
        }
    }
}
