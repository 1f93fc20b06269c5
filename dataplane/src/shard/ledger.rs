//! What a shard has written and what it owes for it: one batch per turn, one ticket per batch, and everything that may
//! leave only after that ticket is durable (DESIGN 8.1, 3). Owns the store generation (DESIGN 8.2, 5).

use std::{collections::VecDeque, sync::Arc};

use schemas::alarm::Alarm;
use schemas::generated::kept::Forward;
use schemas::id::{DeviceId, EntityId, Partition, TenantId};
use uuid::Uuid;

use super::event::{Applied, Doorbell};
use super::letter::{Address, Answer, Piece};
use super::reads::Reads;
use super::slab::Key;
use crate::clock::Instant;
use crate::device::passage::{Pair, Passage};
use crate::device::{Dictionary, Sequence};
use crate::effect::Effect;
use crate::limits;
use crate::metric::{Counter, ShardCounters};
use crate::query::{Series, Update, WatcherId};
use crate::session::{Downlink, Outcome, Package, Receipt};
use crate::store::key::{self, Kind};
use crate::store::{Batch, Committer, Durability, Encoder, Engine, Family, Job, ReaderLane, StoreError, Ticket, WriteError};

/// Opens this shard's store again after a generation ended.
pub(super) type Reopen = Box<dyn Fn() -> Result<Arc<dyn Engine>, StoreError>>;

/// A promise that leaves once its ticket is durable.
pub(super) enum Owed {
    Receipt {
        connection: Key,
        receipt: Receipt,
        outcome: Outcome,
    },
    /// The parts of a gateway's QoS 2 pack may be sent.
    Forward {
        gateway: DeviceId,
        number: u64,
        pack: Box<Forward>,
    },
    /// The control plane may be told of this version of an alarm.
    Alarm {
        entity: EntityId,
        alarm: Uuid,
        version: u64,
    },
    /// And of these, which were read from the disk.
    Alarms(Vec<Alarm>),
    /// An answer to whoever asked something of a device.
    Answer {
        to: Address,
        answer: Answer,
    },
    /// What a message of another shard needs to know of an entity.
    Fact {
        to: u16,
        number: u64,
        found: Vec<Series>,
    },
    /// Shared attributes of a device have changed: JSON.
    AttributesChanged {
        device: DeviceId,
        json: Vec<u8>,
    },
    /// A call to the outside may be made.
    CallOut(u64),
    /// Messages may go to their new originators' shard.
    Passages {
        pair: Pair,
        messages: Vec<(u64, Passage)>,
    },
    /// Messages of a pair are taken up to this number.
    Passed {
        to: u16,
        pair: Pair,
        up_to: u64,
    },
    /// What a chain answered to a person's request.
    Reply {
        tenant: TenantId,
        request: Uuid,
        json: String,
    },
    /// Downlinks that a device's session keeps may be sent.
    Kept(DeviceId),
    /// A call of the server may be sent.
    Call {
        device: DeviceId,
        id: u32,
    },
    /// A connection's output may leave.
    Output(Key),
    /// An answer to whoever asked.
    Release(Box<dyn FnOnce() + Send>),
    /// Entities are deleted; the link may be told so.
    Deleted {
        entities: Vec<EntityId>,
        applied: Option<Applied>,
    },
    /// A live update to one watcher.
    Update {
        watcher: WatcherId,
        entity: EntityId,
        update: Update,
    },
}

/// A downlink that outlives the message it came from.
#[derive(Debug)]
pub(super) enum OwnedDownlink {
    AttributesUpdated(Vec<u8>),
    AttributesResponse(u32, Vec<u8>),
    RpcRequest(u32, Vec<u8>),
    RpcResponse(u32, Vec<u8>),
    Provisioned(Vec<u8>),
    Chunk(Box<Piece>),
    ChunkError(Package, &'static str),
    /// Its length and its first bytes.
    Download(u64, Vec<u8>),
    GatewayAttributesUpdated(Vec<u8>),
    GatewayAttributesResponse(Vec<u8>),
    GatewayRpcRequest(Vec<u8>),
}

impl OwnedDownlink {
    pub(super) fn borrow(&self) -> Downlink<'_> {
        match self {
            Self::AttributesUpdated(json) => Downlink::AttributesUpdated { json },
            Self::AttributesResponse(id, json) => Downlink::AttributesResponse { id: *id, json },
            Self::RpcRequest(id, json) => Downlink::RpcRequest { id: *id, json },
            Self::RpcResponse(id, json) => Downlink::RpcResponse { id: *id, json },
            Self::Provisioned(json) => Downlink::Provisioned { json },
            Self::Chunk(piece) => {
                let Piece { package, request, chunk, bytes } = &**piece;
                Downlink::Chunk { package: *package, request: *request, chunk: *chunk, bytes }
            }
            Self::ChunkError(package, text) => Downlink::ChunkError { package: *package, text },
            Self::Download(length, bytes) => Downlink::Download { length: *length, bytes },
            Self::GatewayAttributesUpdated(json) => Downlink::GatewayAttributesUpdated { json },
            Self::GatewayAttributesResponse(json) => Downlink::GatewayAttributesResponse { json },
            Self::GatewayRpcRequest(json) => Downlink::GatewayRpcRequest { json },
        }
    }
}

/// The store of this generation.
struct Open {
    committer: Committer,
    readers: ReaderLane,
    /// Reads ranges: what nobody else shall wait behind.
    ranges: ReaderLane,
}

/// Why a turn may not evaluate now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standstill {
    /// The store refuses for now; the batch is offered again.
    Refused { since: Instant, reason: String },
    /// The generation ended; the store is opened again at `retry`.
    Ended { retry: Instant, reason: String },
}

pub(super) struct Ledger {
    open: Option<Open>,
    reopen: Reopen,
    doorbell: Doorbell,
    durability: Durability,
    pub batch: Batch,
    pub dictionary: Dictionary,
    pub sequence: Sequence,
    pub encoder: Encoder,
    pub keys: Vec<crate::device::Key>,
    /// Effects of the message at hand; empty between messages.
    pub effects: Vec<Effect<'static>>,
    /// Promises of this turn, waiting for its ticket.
    turn: Vec<Owed>,
    owed: VecDeque<(Ticket, Owed)>,
    /// Entities whose deletion an earlier generation has lost: nobody says it again.
    undeleted: Vec<EntityId>,
    /// Given to their lane after a turn's batch, so that they see what memory has left to the disk.
    reads: Reads,
    standstill: Option<Standstill>,
    attempts: u32,
    commits: u64,
    committed_at: Instant,
    counters: Arc<ShardCounters>,
}

/// What persisting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persisted {
    Done,
    /// Kept, to be offered again unchanged.
    Refused,
    /// The generation is over.
    Ended,
}

impl Ledger {
    pub(super) fn new(
        reopen: Reopen,
        doorbell: Doorbell,
        durability: Durability,
        epoch: u32,
        counters: Arc<ShardCounters>,
    ) -> Self {
        Self {
            open: None,
            reopen,
            doorbell,
            durability,
            batch: Batch::new(),
            dictionary: Dictionary::default(),
            sequence: Sequence::new(epoch),
            encoder: Encoder::default(),
            keys: Vec::new(),
            effects: Vec::new(),
            turn: Vec::new(),
            owed: VecDeque::new(),
            undeleted: Vec::new(),
            reads: Reads::default(),
            standstill: None,
            attempts: 0,
            commits: 0,
            committed_at: Instant::default(),
            counters,
        }
    }

    /// Starts a generation on an open store.
    ///
    /// # Errors
    /// When the dictionary cannot be read.
    pub(super) fn begin(&mut self, engine: Arc<dyn Engine>) -> Result<(), StoreError> {
        self.dictionary = Dictionary::load(&*engine)?;
        let committer = Committer::spawn(Arc::clone(&engine), self.durability, self.doorbell.clone())?;
        let readers = ReaderLane::spawn(Arc::clone(&engine), limits::READER_JOBS_MAX)?;
        let ranges = ReaderLane::spawn(engine, limits::LONG_READS_AT_ONCE_MAX)?;
        self.open = Some(Open { committer, readers, ranges });
        self.standstill = None;
        self.attempts = 0;
        Ok(())
    }

    pub(super) fn readers(&self) -> Option<&ReaderLane> {
        self.open.as_ref().map(|open| &open.readers)
    }

    /// Reads from the disk what this turn's batch will have left there, if that is before `until`. False: there is no room for it.
    pub(super) fn read(&mut self, tenant: TenantId, until: Instant, job: Job) -> bool {
        self.reads.push(tenant, until, job)
    }

    /// The batch is written: reads may follow, as many as their lane takes. The event of one that ended, or a tick, comes back
    /// here. Whoever asked for one that nobody takes learns that there is no answer.
    pub(super) fn submit_reads(&mut self, now: Instant) {
        let (Some(open), None) = (&self.open, &self.standstill) else {
            self.reads = Reads::default();
            return;
        };
        while open.ranges.has_room() {
            let Some(job) = self.reads.next(now) else { return };
            // This thread alone gives it jobs.
            drop(open.ranges.submit(job));
        }
    }

    /// Progress of the commit queue, for lanes that read.
    pub(super) fn progress(&self) -> Option<crate::store::Progress> {
        self.open.as_ref().map(|open| open.committer.progress())
    }

    pub(super) fn standstill(&self) -> Option<&Standstill> {
        self.standstill.as_ref()
    }

    /// May messages be evaluated?
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some() && self.standstill.is_none()
    }

    /// Promises something for when this turn's batch is durable.
    pub(super) fn owe(&mut self, owed: Owed) {
        self.turn.push(owed);
    }

    /// Promises something for a ticket that was taken earlier.
    pub(super) fn owe_at(&mut self, ticket: Ticket, owed: Owed) {
        let behind = self.owed.partition_point(|(other, _)| *other <= ticket);
        self.owed.insert(behind, (ticket, owed));
    }

    /// The batch deletes these entities. Nothing but the link's cache remembers that they are to be deleted, so it counts as applied
    /// when that is durable. A store that is closed is not waited for: other shards want their configuration.
    pub(super) fn deleted(&mut self, entities: Vec<EntityId>, applied: Option<Applied>) {
        if self.open.is_none() {
            self.undeleted.extend(entities);
        } else if !entities.is_empty() {
            self.turn.push(Owed::Deleted { entities, applied });
        }
    }

    /// Entities that are to be deleted once more.
    pub(super) fn take_undeleted(&mut self) -> Vec<EntityId> {
        std::mem::take(&mut self.undeleted)
    }

    /// May more be promised? Beyond `most`, the disk is waited for (DESIGN 8.2, 6).
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.owed.len() + self.turn.len() < most
    }

    /// Is there anything to write or to promise?
    pub(super) fn has_work(&self) -> bool {
        !self.batch.is_empty() || !self.turn.is_empty()
    }

    /// Writes the batch, gives everything promised in this turn its ticket.
    pub(super) fn persist(&mut self, now: Instant) -> Persisted {
        let Some(open) = &mut self.open else { return Persisted::Ended };
        let ticket = if self.batch.is_empty() { Ok(open.committer.written()) } else { open.committer.persist(&self.batch) };
        match ticket {
            Ok(ticket) => {
                if !self.batch.is_empty() {
                    self.counters.increment(Counter::BatchesWritten);
                    self.batch.clear();
                }
                self.owed.extend(self.turn.drain(..).map(|owed| (ticket, owed)));
                self.standstill = None;
                Persisted::Done
            }
            Err(WriteError::Stalled) => self.refused(now, "the store is stalled by flushes or compaction".to_owned()),
            Err(WriteError::DiskFull) => {
                self.refused(now, format!("the disk has less than {} bytes free", limits::DISK_RESERVE_BYTES))
            }
            Err(WriteError::Failed(reason)) => {
                self.end(now, reason);
                Persisted::Ended
            }
        }
    }

    /// Has the commit lane failed? Its generation ends then.
    pub(super) fn check(&mut self, now: Instant) -> Persisted {
        match self.open.as_ref().and_then(|open| open.committer.failure()) {
            Some(reason) => {
                self.end(now, reason);
                Persisted::Ended
            }
            None => Persisted::Done,
        }
    }

    /// Starts a group commit if there is something to commit and the last one is long enough ago; longer while the shard has
    /// more to do. A commit costs the core about as much as 20 messages, however many it covers.
    pub(super) fn commit(&mut self, now: Instant, idle: bool) {
        let apart = if idle { limits::COMMIT_PAUSE_US } else { limits::COMMIT_EVERY_US };
        if let Some(open) = &mut self.open
            && open.committer.uncommitted()
            && now.us_since(self.committed_at) >= apart
        {
            open.committer.commit();
            self.committed_at = now;
        }
    }

    /// How long a shard with nothing else to do leaves new bytes unread, in microseconds: nothing that it reads while a commit
    /// is due or under way is acknowledged sooner for it, and a turn of many messages costs less each than one of few. 0 when
    /// everything written is durable.
    pub(super) fn pause_us(&self, now: Instant) -> u64 {
        if matches!(self.standstill, Some(Standstill::Refused { .. })) {
            return limits::REFUSAL_PAUSE_US;
        }
        let Some(open) = &self.open else { return 0 };
        if open.committer.written() == open.committer.durable() {
            return 0;
        }
        let passed = now.us_since(self.committed_at);
        if passed < limits::COMMIT_PAUSE_US { limits::COMMIT_PAUSE_US - passed } else { limits::COMMIT_PAUSE_US }
    }

    /// How long a shard rests after a turn that took so long, in microseconds. Flushes and merges run at low priority; when
    /// they fall behind a busy shard leaves them a part of the core, before the store refuses (DESIGN 8.2, 6).
    pub(super) fn rest_us(&self, took_us: u64) -> u64 {
        // After a short one the shard sleeps anyway, or is about to have a long one.
        if took_us < limits::LONG_TURN_US {
            return 0;
        }
        let backlog = self.open.as_ref().map_or(0, |open| open.committer.backlog());
        (took_us * backlog / 64).min(limits::REST_US_MAX)
    }

    /// Has the commit lane reported anything that was not settled yet?
    pub(super) fn has_news(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let durable = open.committer.durable();
        self.owed.front().is_some_and(|(ticket, _)| *ticket <= durable) || open.committer.failed()
    }

    /// The next promise whose ticket is durable.
    pub(super) fn settled(&mut self) -> Option<Owed> {
        let durable = self.open.as_ref()?.committer.durable();
        if self.owed.front().is_some_and(|(ticket, _)| *ticket <= durable) {
            return self.owed.pop_front().map(|(_, owed)| owed);
        }
        None
    }

    /// Group commits since the last call.
    pub(super) fn new_commits(&mut self) -> u64 {
        let commits = self.open.as_ref().map_or(0, |open| open.committer.commits());
        let new = commits.saturating_sub(self.commits);
        self.commits = commits;
        new
    }

    /// Tries to open the store again when its time has come. `Some` with the engine when a new generation began.
    pub(super) fn try_reopen(&mut self, now: Instant) -> Option<Arc<dyn Engine>> {
        match &self.standstill {
            Some(Standstill::Ended { retry, .. }) if *retry <= now => {}
            _ => return None,
        }
        let opened = (self.reopen)().and_then(|engine| {
            // Deleting what never was finds out whether the store accepts anything, before sessions are admitted to it.
            probe(&*engine)?;
            Ok(engine)
        });
        match opened.and_then(|engine| self.begin(Arc::clone(&engine)).map(|()| engine)) {
            Ok(engine) => Some(engine),
            Err(error) => {
                self.back_off(now, error.to_string());
                None
            }
        }
    }

    /// Syncs what was written and ends the last generation.
    ///
    /// # Errors
    /// The store's error: what was acknowledged is durable all the same.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        match self.open.take() {
            Some(open) => {
                drop(open.readers);
                open.committer.close()
            }
            None => Ok(()),
        }
    }

    fn refused(&mut self, now: Instant, reason: String) -> Persisted {
        self.counters.increment(Counter::BatchesRefused);
        let since = match &self.standstill {
            Some(Standstill::Refused { since, .. }) => *since,
            _ => now,
        };
        if now.ms_since(since) >= limits::STORE_REFUSAL_MS_MAX {
            self.end(now, reason);
            return Persisted::Ended;
        }
        self.standstill = Some(Standstill::Refused { since, reason });
        Persisted::Refused
    }

    /// None of this generation's open tickets is reported; whoever waits for them learns nothing (DESIGN 8.2, 5).
    fn end(&mut self, now: Instant, reason: String) {
        self.counters.increment(Counter::StoreGenerationsEnded);
        tracing::error!(reason, "the store generation ended");
        self.open = None;
        self.batch.clear();
        let open = self.owed.drain(..).map(|(_, owed)| owed).chain(self.turn.drain(..));
        self.undeleted.extend(open.flat_map(|owed| match owed {
            Owed::Deleted { entities, .. } => entities,
            _ => Vec::new(),
        }));
        self.commits = 0;
        self.back_off(now, reason);
    }

    fn back_off(&mut self, now: Instant, reason: String) {
        let wait_ms = (100_u64 << self.attempts.min(6)).min(5_000);
        self.attempts = self.attempts.saturating_add(1);
        self.standstill = Some(Standstill::Ended { retry: now.after_ms(wait_ms), reason });
    }
}

fn probe(engine: &dyn Engine) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.delete(Family::State, &key::kind_range(Partition::of(EntityId(Uuid::nil())), Kind::Connected).0);
    engine.write(&batch).map_err(|error| StoreError::Failed(error.to_string()))?;
    engine.flush(true)
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("open", &self.open.is_some()).field("owed", &self.owed.len()).finish_non_exhaustive()
    }
}
