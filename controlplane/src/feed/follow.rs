//! One instance's way through the change log. `next` is pulled by whoever sends, so memory is one frame; a reader that does
//! not pull costs nothing but a connection.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use prost::Message;
use schemas::generated::config::{self as wire, feed_frame::Kind};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{
        Store, StoreError,
        change_log::{self, Entry},
        pushed::{self, Pushed},
    },
    feed::wire::{change, deleted},
};

/// Rows or log entries read at a time.
const ROWS_PER_READ: u64 = 500;
/// A frame is closed when it reaches this many bytes; one change may be up to 1 MiB more.
const FRAME_BYTES: usize = 1 << 20;
/// How often the log is looked at without being woken: another control plane on the same PostgreSQL may have written.
const POLL: Duration = Duration::from_secs(1);

/// What an instance holds when it says hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub epoch: String,
    pub revision: u64,
}

/// Why a follower cannot go on; the instance comes back and is given what it needs.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    #[error("the change log was trimmed beyond revision {0} meanwhile")]
    Trimmed(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the control plane is stopping")]
    Stopping,
}

#[derive(Debug)]
enum Stage {
    Begin(Start),
    /// Keyset pages of the kind at this index of [`pushed::KINDS`], after this id.
    Rows {
        kind: usize,
        after: Option<Uuid>,
    },
    /// The log since the full state began, up to this revision.
    CatchUp {
        until: u64,
    },
    Live,
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    head: watch::Receiver<u64>,
    stage: Stage,
    /// Everything up to here was sent.
    revision: u64,
    ready: VecDeque<Kind>,
}

impl Follower {
    pub(super) fn new(store: Store, head: watch::Receiver<u64>, start: Start) -> Self {
        Self { store, head, stage: Stage::Begin(start), revision: 0, ready: VecDeque::new() }
    }

    /// The next frame; waits for a write when everything was sent. Safe to drop while it waits for one.
    ///
    /// # Errors
    /// [`Cut`].
    pub async fn next(&mut self) -> Result<Kind, Cut> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(frame);
            }
            match &self.stage {
                Stage::Begin(start) => {
                    let start = start.clone();
                    self.begin(start).await?;
                }
                Stage::Rows { kind, after } => {
                    let (kind, after) = (*kind, *after);
                    self.rows(kind, after).await?;
                }
                Stage::CatchUp { until } => {
                    let until = *until;
                    self.catch_up(until).await?;
                }
                Stage::Live => self.live().await?,
            }
        }
    }

    async fn begin(&mut self, start: Start) -> Result<(), Cut> {
        let head = self.store_head().await?;
        let tail = change_log::tail(self.store.reader()).await?;
        let same_life = start.epoch == self.store.epoch().to_string();
        // The log continues after R when R + 1 is in it, or nothing was written since.
        let continues = start.revision == head || tail.is_some_and(|tail| tail <= start.revision.saturating_add(1));
        if same_life && start.revision <= head && continues {
            self.revision = start.revision;
            self.stage = Stage::Live;
            if start.revision == head {
                // It says what it runs with only when it is sent something.
                self.frame(Vec::new(), head, head);
            }
            return Ok(());
        }
        let entities = pushed::count(self.store.reader()).await?;
        self.revision = head;
        self.stage = Stage::Rows { kind: 0, after: None };
        self.ready.push_back(Kind::FullBegin(wire::FullBegin {
            epoch: self.store.epoch().to_string(),
            revision: head,
            entities,
        }));
        Ok(())
    }

    async fn rows(&mut self, kind: usize, after: Option<Uuid>) -> Result<(), Cut> {
        let Some(entity_kind) = pushed::KINDS.get(kind) else {
            self.stage = Stage::CatchUp { until: self.store_head().await? };
            return Ok(());
        };
        let rows = pushed::after(self.store.reader(), *entity_kind, after, ROWS_PER_READ).await?;
        self.stage = match rows.last() {
            Some(last) => Stage::Rows { kind, after: Some(last.id) },
            None => Stage::Rows { kind: kind + 1, after: None },
        };
        // 0: inside a full state nothing is complete up to any revision.
        self.frame(rows.into_iter().map(change).collect(), 0, 0);
        Ok(())
    }

    async fn catch_up(&mut self, until: u64) -> Result<(), Cut> {
        if self.revision >= until {
            self.stage = Stage::Live;
            self.ready.push_back(Kind::FullEnd(wire::FullEnd { revision: self.revision }));
            return Ok(());
        }
        let changes = self.read_log().await?;
        self.frame(changes, 0, 0);
        Ok(())
    }

    async fn live(&mut self) -> Result<(), Cut> {
        // Marked as seen before the log is read: a write that commits in between wakes the wait that follows.
        self.head.borrow_and_update();
        let from = self.revision;
        let changes = self.read_log().await?;
        if self.revision > from {
            self.frame(changes, from, self.revision);
            return Ok(());
        }
        match tokio::time::timeout(POLL, self.head.changed()).await {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(_)) => Err(Cut::Stopping),
        }
    }

    /// The next stretch of the log as changes, each entity once and in its current form; moves `revision` on.
    async fn read_log(&mut self) -> Result<Vec<wire::Change>, Cut> {
        let entries = change_log::after(self.store.reader(), self.revision, ROWS_PER_READ).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        // Revisions are given out without gaps, so a gap is what trimming left.
        if first.revision != self.revision + 1 {
            return Err(Cut::Trimmed(self.revision));
        }
        let reached = last.revision;
        let changes = current(&self.store, &entries).await?;
        self.revision = reached;
        Ok(changes)
    }

    async fn store_head(&self) -> Result<u64, Cut> {
        Ok(u64::try_from(change_log::head(self.store.reader()).await?).unwrap_or(0))
    }

    /// Queues the changes as frames of bounded size; only the last is complete up to `to`.
    fn frame(&mut self, changes: Vec<wire::Change>, from: u64, to: u64) {
        let mut batch = wire::Batch::default();
        let mut bytes = 0;
        for change in changes {
            bytes += change.encoded_len();
            batch.changes.push(change);
            if bytes >= FRAME_BYTES {
                self.ready.push_back(Kind::Batch(wire::Batch { revision: from, ..std::mem::take(&mut batch) }));
                bytes = 0;
            }
        }
        if to > 0 || !batch.changes.is_empty() {
            batch.revision = to;
            self.ready.push_back(Kind::Batch(batch));
        }
    }
}

/// What the entries' entities are now, in the order of their newest revisions.
async fn current(store: &Store, entries: &[Entry]) -> Result<Vec<wire::Change>, StoreError> {
    let mut changes: Vec<wire::Change> = Vec::with_capacity(entries.len());
    let mut present: HashSet<(EntityKind, Uuid)> = HashSet::new();
    for kind in pushed::KINDS {
        let mut ids: Vec<Uuid> = entries.iter().filter(|entry| entry.kind == kind).map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            continue;
        }
        let rows: Vec<Pushed> = pushed::by_ids(store.reader(), kind, ids).await?;
        present.extend(rows.iter().map(|row| (kind, row.id)));
        changes.extend(rows.into_iter().map(change));
    }
    // A row that is gone now was deleted by one of these entries or a later one; either way the instance must not have it.
    let mut gone: HashMap<(EntityKind, Uuid), u64> = HashMap::new();
    for entry in entries.iter().filter(|entry| !present.contains(&(entry.kind, entry.id))) {
        gone.insert((entry.kind, entry.id), entry.revision);
    }
    changes.extend(gone.into_iter().filter_map(|((kind, id), revision)| deleted(revision, kind, id)));
    changes.sort_by_key(|change| change.revision);
    Ok(changes)
}
