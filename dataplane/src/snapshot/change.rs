//! From a checked configuration change to what a shard applies: chains become plans. Never touches a shard.

use std::sync::Arc;

use schemas::{
    config::{CalculatedField, Change, ChangeBody, Customer, Details, Device, FieldOf, Installation, Profile},
    id::{ChainId, CustomerId, DeviceId, FieldId, Partition, ProfileId, Revision, TenantId},
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
    Field(Arc<CalculatedField>, Revision),
    FieldDeleted(FieldId),
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
    /// The partition whose owner alone needs this change; `None`: every shard does.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        match self {
            Self::Device(device) => Some(Partition::of(device.id.into())),
            Self::DeviceDeleted(id) | Self::CredentialRevoked { device: id, .. } => Some(Partition::of((*id).into())),
            Self::Field(field, _) => match field.of {
                FieldOf::Device(id) => Some(Partition::of(id.into())),
                FieldOf::Profile(_) => None,
            },
            _ => None,
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
        ChangeBody::Field(field) => ShardChange::Field(Arc::new(field.clone()), change.revision),
        ChangeBody::FieldDeleted(id) => ShardChange::FieldDeleted(*id),
        ChangeBody::Credential(_) | ChangeBody::CredentialDeleted(_) => return None,
    })
}
