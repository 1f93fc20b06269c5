//! Which instances exist, who is connected, and what each has applied. Lives in memory: an instance that never came back
//! since start is not known.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::clock;

/// Instances remembered at most; beyond it the disconnected ones are forgotten first.
const INSTANCES_MAX: usize = 1_024;
/// Refusals kept of one report.
const REFUSALS_MAX: usize = 100;
/// Refusals remembered of all instances, also when they are over.
const REFUSALS_REMEMBERED_MAX: usize = 1_000;

/// A change that an instance cannot run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub revision: u64,
    /// ThingsBoard's entity type.
    pub entity_type: String,
    pub entity_id: Option<Uuid>,
    pub reason: String,
}

/// A refusal as it was told for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The instance's id.
    pub instance: String,
    /// ThingsBoard's entity type.
    pub entity_type: String,
    pub entity: Uuid,
    pub reason: String,
}

/// What is known of a running data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub instance_id: String,
    /// Where its Query service is, e.g. `http://127.0.0.1:7071`.
    pub query_endpoint: String,
    /// Where its devices are served over HTTP, e.g. `http://127.0.0.1:8081`; empty: nowhere.
    pub device_endpoint: String,
    pub shards: u32,
    pub version: String,
    pub connected: bool,
    /// The epoch of the database that `applied_revision` counts in; empty before the first report.
    pub applied_epoch: String,
    pub applied_revision: u64,
    pub refused: Vec<Refusal>,
}

#[derive(Clone, Debug)]
struct Entry {
    instance: Instance,
    /// The connection that speaks for the instance: a late goodbye of an older one changes nothing.
    connection: u64,
}

/// The instances. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    entries: watch::Sender<BTreeMap<String, Entry>>,
    /// The newest behind.
    refusals: watch::Sender<VecDeque<Refused>>,
    connections: Arc<AtomicU64>,
}

impl Registry {
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: watch::Sender::new(BTreeMap::new()),
            refusals: watch::Sender::new(VecDeque::new()),
            connections: Arc::new(AtomicU64::new(0)),
        }
    }

    /// An instance said hello. It is connected until the returned value is dropped. `None` when there are too many.
    #[must_use]
    pub fn join(&self, mut instance: Instance) -> Option<Joined> {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let id = instance.instance_id.clone();
        instance.connected = true;
        let mut joined = false;
        self.entries.send_modify(|entries| {
            if entries.len() >= INSTANCES_MAX && !entries.contains_key(&id) {
                let idle = entries.iter().find(|(_, entry)| !entry.instance.connected).map(|(id, _)| id.clone());
                idle.map(|id| entries.remove(&id));
            }
            if entries.len() < INSTANCES_MAX || entries.contains_key(&id) {
                entries.insert(id.clone(), Entry { instance, connection });
                joined = true;
            }
        });
        joined.then(|| Joined { registry: self.clone(), id, connection })
    }

    /// Every known instance, in the order of their ids.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        self.entries.borrow().values().map(|entry| entry.instance.clone()).collect()
    }

    /// What instances refused of an entity since the start, the oldest first, as far as it is remembered.
    #[must_use]
    pub fn refusals(&self, entity_type: &str, entity: Uuid) -> Vec<Refused> {
        let of = |refused: &&Refused| refused.entity_type == entity_type && refused.entity == entity;
        self.refusals.borrow().iter().filter(of).cloned().collect()
    }

    /// Forgets these, by their ids.
    pub fn forget_refusals(&self, ids: &[Uuid]) {
        self.refusals.send_modify(|refusals| refusals.retain(|refused| !ids.contains(&refused.id)));
    }

    fn remember(&self, instance: &str, new: Vec<Refusal>) {
        self.refusals.send_modify(|refusals| {
            for Refusal { entity_type, entity_id, reason, .. } in new {
                let Some(entity) = entity_id else { continue };
                refusals.push_back(Refused {
                    id: Uuid::now_v7(),
                    at_ms: clock::now_ms(),
                    instance: instance.to_owned(),
                    entity_type,
                    entity,
                    reason,
                });
                if refusals.len() > REFUSALS_REMEMBERED_MAX {
                    refusals.pop_front();
                }
            }
        });
    }

    /// Waits until every connected instance has applied `revision` (DESIGN 26). False when that takes longer than `wait`, and
    /// at once when none is connected.
    pub async fn applied(&self, epoch: Uuid, revision: u64, wait: Duration) -> bool {
        let epoch = epoch.to_string();
        let mut entries = self.entries.subscribe();
        let done = |entries: &BTreeMap<String, Entry>| {
            let mut connected = entries.values().map(|entry| &entry.instance).filter(|one| one.connected).peekable();
            connected.peek().is_none() || connected.all(|one| one.applied_epoch == epoch && one.applied_revision >= revision)
        };
        match tokio::time::timeout(wait, entries.wait_for(done)).await {
            Ok(Ok(entries)) => entries.values().any(|entry| entry.instance.connected),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// The presence of one connection of one instance.
#[derive(Debug)]
pub struct Joined {
    registry: Registry,
    id: String,
    connection: u64,
}

impl Joined {
    /// The instance runs with everything up to `revision` of `epoch`, but for `refused`.
    pub fn applied(&self, epoch: String, revision: u64, mut refused: Vec<Refusal>) {
        refused.truncate(REFUSALS_MAX);
        let mut new = Vec::new();
        self.change(|instance| {
            new = refused.iter().filter(|one| !instance.refused.contains(one)).cloned().collect();
            instance.applied_epoch = epoch;
            instance.applied_revision = revision;
            instance.refused = refused;
        });
        self.registry.remember(&self.id, new);
    }

    /// Has another connection of the same instance taken over?
    #[must_use]
    pub fn superseded(&self) -> bool {
        self.registry.entries.borrow().get(&self.id).is_none_or(|entry| entry.connection != self.connection)
    }

    fn change(&self, change: impl FnOnce(&mut Instance)) {
        self.registry.entries.send_if_modified(|entries| {
            let own = entries.get_mut(&self.id).filter(|entry| entry.connection == self.connection);
            own.map(|entry| change(&mut entry.instance)).is_some()
        });
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.change(|instance| instance.connected = false);
    }
}
