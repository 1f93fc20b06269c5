//! From a checked configuration change to what a shard applies: chains become plans. Never touches a shard.

use std::sync::Arc;

use schemas::{
    config::{Asset, Change, ChangeBody, Customer, Details, Device, Installation, Profile, Relation},
    id::{AssetId, ChainId, CustomerId, DeviceId, Partition, ProfileId, RelationId, TenantId},
};

use crate::quota;
use crate::rules::Plan;

/// One difference, as a shard applies it in place between two turns.
#[derive(Clone, Debug)]
pub enum ShardChange {
    Installation(Installation),
    /// With the buckets that its shards share.
    Tenant(TenantId, Arc<quota::Tenant>, Arc<Details>),
    TenantDeleted(TenantId),
    Customer(Customer),
    CustomerDeleted(CustomerId),
    Profile(Profile),
    ProfileDeleted(ProfileId),
    Device(Device),
    DeviceDeleted(DeviceId),
    Chain {
        id: ChainId,
        tenant: TenantId,
        root: bool,
        plan: Arc<Plan>,
    },
    ChainDeleted(ChainId),
    Asset(Asset),
    AssetDeleted(AssetId),
    Relation(Relation),
    RelationDeleted(RelationId),
    /// A credential is gone: a session admitted with it is closed.
    CredentialRevoked {
        device: DeviceId,
        credential: schemas::id::CredentialId,
    },
    /// The begin of a full state: whatever is not repeated before [`ShardChange::Sweep`] is forgotten then.
    Mark,
    Sweep,
    /// Everything of a whole configuration has been applied, by all shards.
    Whole,
}

impl ShardChange {
    /// Whether the shard that owns some partitions needs this change.
    #[must_use]
    pub fn concerns(&self, owns: impl Fn(Partition) -> bool) -> bool {
        match self {
            Self::Device(device) => owns(Partition::of(device.id.into())),
            Self::DeviceDeleted(id) | Self::CredentialRevoked { device: id, .. } => owns(Partition::of((*id).into())),
            Self::Asset(asset) => owns(Partition::of(asset.id.into())),
            Self::AssetDeleted(id) => owns(Partition::of((*id).into())),
            Self::Relation(relation) => [relation.from.id, relation.to.id].into_iter().any(|end| owns(Partition::of(end))),
            _ => true,
        }
    }
}

/// What a checked change means for shards. Credentials are `None`: they belong to the directory alone.
#[must_use]
pub fn compile(change: &Change) -> Option<ShardChange> {
    Some(match &change.body {
        ChangeBody::Installation(installation) => ShardChange::Installation(installation.clone()),
        ChangeBody::Tenant(tenant) => {
            ShardChange::Tenant(tenant.id, quota::Tenant::new(&tenant.limits), Arc::clone(&tenant.details))
        }
        ChangeBody::Customer(customer) => ShardChange::Customer(customer.clone()),
        ChangeBody::CustomerDeleted(id) => ShardChange::CustomerDeleted(*id),
        ChangeBody::TenantDeleted(id) => ShardChange::TenantDeleted(*id),
        ChangeBody::Profile(profile) => ShardChange::Profile(profile.clone()),
        ChangeBody::ProfileDeleted(id) => ShardChange::ProfileDeleted(*id),
        ChangeBody::Device(device) => ShardChange::Device(device.clone()),
        ChangeBody::DeviceDeleted(id) => ShardChange::DeviceDeleted(*id),
        ChangeBody::Chain(chain) => ShardChange::Chain {
            id: chain.id,
            tenant: chain.tenant,
            root: chain.root,
            plan: Arc::new(Plan::compile(&chain.chain)),
        },
        ChangeBody::ChainDeleted(id) => ShardChange::ChainDeleted(*id),
        ChangeBody::Asset(asset) => ShardChange::Asset(asset.clone()),
        ChangeBody::AssetDeleted(id) => ShardChange::AssetDeleted(*id),
        ChangeBody::Relation(relation) => ShardChange::Relation(relation.clone()),
        ChangeBody::RelationDeleted(id) => ShardChange::RelationDeleted(*id),
        ChangeBody::Credential(_) | ChangeBody::CredentialDeleted(_) => return None,
    })
}
