//! Wire changes and stand-in shards for the link's tests. Decides nothing: shards note what they are told.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    generated::config::{self as wire, change::Body},
    id::{CredentialId, DeviceId, EntityId},
};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::shard::{Event, Mailbox, Placement, Shards};
use crate::snapshot::{ShardChange, Table};

pub(super) const TENANT: u128 = 1;
pub(super) const PROFILE: u128 = 2;

fn bytes(id: u128) -> Vec<u8> {
    Uuid::from_u128(id).as_bytes().to_vec()
}

fn change(revision: u64, id: u128, body: Body) -> wire::Change {
    wire::Change { revision, id: bytes(id), body: Some(body) }
}

pub(super) fn tenant(revision: u64) -> wire::Change {
    change(revision, TENANT, Body::Tenant(wire::Tenant { name: String::from("one"), limits: None, details: None }))
}

pub(super) fn customer(revision: u64, id: u128, title: &str) -> wire::Change {
    let details = wire::Details { title: title.into(), description: "ä".repeat(1_000), ..wire::Details::default() };
    change(revision, id, Body::Customer(wire::Customer { tenant_id: bytes(TENANT), details: Some(details) }))
}

pub(super) fn device(revision: u64, id: u128, name: &str) -> wire::Change {
    let device = wire::Device {
        tenant_id: bytes(TENANT),
        profile_id: bytes(PROFILE),
        name: name.into(),
        r#type: "default".into(),
        ..wire::Device::default()
    };
    change(revision, id, Body::Device(device))
}

pub(super) fn credential(revision: u64, id: u128, device: u128, token: u8) -> wire::Change {
    change(revision, id, Body::Credential(wire::Credential { device_id: bytes(device), token_sha256: vec![token; 32] }))
}

pub(super) fn deleted(revision: u64, kind: wire::EntityKind, id: u128) -> wire::Change {
    change(revision, id, Body::Deleted(wire::Deleted { kind: kind.into() }))
}

pub(super) fn asset(revision: u64, id: u128) -> wire::Change {
    let (tenant_id, name, r#type) = (bytes(TENANT), "a".to_owned(), "field".to_owned());
    change(revision, id, Body::Asset(wire::Asset { tenant_id, name, r#type, ..wire::Asset::default() }))
}

/// An asset that contains a device.
pub(super) fn contains(revision: u64, id: u128, asset: u128, device: u128) -> wire::Change {
    let (from_type, to_type, r#type) = ("ASSET".to_owned(), "DEVICE".to_owned(), "Contains".to_owned());
    let relation = wire::Relation { from_type, from_id: bytes(asset), to_type, to_id: bytes(device), r#type };
    change(revision, id, Body::Relation(relation))
}

/// A chain that no version accepts.
pub(super) fn broken_chain(revision: u64, id: u128) -> wire::Change {
    let chain = wire::RuleChain { tenant_id: bytes(TENANT), name: "broken".into(), root: true, metadata: "{".into() };
    change(revision, id, Body::Chain(chain))
}

pub(super) fn device_id(id: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(id))
}

pub(super) fn credential_id(id: u128) -> CredentialId {
    CredentialId(Uuid::from_u128(id))
}

/// Shards whose tables the test applies itself, in the order they were told.
pub(super) struct Fleet {
    pub(super) shards: Shards,
    told: mpsc::Receiver<(usize, ShardChange)>,
    pub(super) tables: Vec<Table>,
    pub(super) gone: Vec<EntityId>,
    pub(super) revoked: HashMap<CredentialId, DeviceId>,
}

impl Fleet {
    pub(super) fn new(count: u16) -> Self {
        let (note, told) = mpsc::channel(65_536);
        let mut mailboxes = Vec::new();
        for shard in 0..usize::from(count) {
            let bell = Arc::new(Notify::new());
            let ring = Arc::clone(&bell);
            let mailbox = Mailbox::new(Arc::new(move || ring.notify_one()));
            mailboxes.push(mailbox.clone());
            tokio::spawn(drain(shard, mailbox, bell, note.clone()));
        }
        let shards = Shards::new(Placement::new(count), mailboxes);
        let tables = (0..count).map(|_| Table::default()).collect();
        Self { shards, told, tables, gone: Vec::new(), revoked: HashMap::new() }
    }

    /// Applies everything the shards were told until now.
    pub(super) fn settle(&mut self) {
        while let Ok((shard, change)) = self.told.try_recv() {
            if let ShardChange::CredentialRevoked { device, credential } = &change {
                self.revoked.insert(*credential, *device);
            }
            self.gone.extend(self.tables[shard].apply(&change));
        }
    }

    pub(super) fn device_name(&self, id: u128) -> Option<String> {
        let mut names = self.tables.iter().filter_map(|table| table.device(device_id(id))).map(|facts| facts.name.to_owned());
        let name = names.next();
        assert_eq!(names.next(), None, "a device is on one shard only");
        name
    }
}

async fn drain(shard: usize, mailbox: Mailbox, bell: Arc<Notify>, note: mpsc::Sender<(usize, ShardChange)>) {
    loop {
        while let Some(event) = mailbox.take() {
            if let Event::Config { changes, applied } = event {
                for change in changes.iter() {
                    if note.send((shard, change.clone())).await.is_err() {
                        return;
                    }
                }
                drop(applied);
            }
        }
        bell.notified().await;
    }
}
