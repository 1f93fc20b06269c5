//! The pushed world as domain values: what a data plane needs of tenants, profiles, devices, credentials and chains.
//!
//! A [`Change`] that came off the wire or out of the cache is converted here once; inside, invalid values cannot exist.
//! Never knows how it is stored or applied.

use crate::{
    chain::{Chain, InvalidChain},
    generated::config as wire,
    id::{ChainId, CredentialId, DeviceId, InvalidId, ProfileId, Revision, TenantId, uuid},
};

/// The longest device or profile name a data plane accepts, in bytes (ThingsBoard's own bound).
pub const NAME_BYTES_MAX: usize = 255;

/// One configuration difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub revision: Revision,
    pub body: ChangeBody,
}

/// What changed. Entities arrive whole: applying a change twice is the same as once.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeBody {
    Tenant(Tenant),
    Profile(Profile),
    Device(Device),
    Credential(Credential),
    Chain(PushedChain),
    TenantDeleted(TenantId),
    ProfileDeleted(ProfileId),
    DeviceDeleted(DeviceId),
    CredentialDeleted(CredentialId),
    ChainDeleted(ChainId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub id: ProfileId,
    pub tenant: TenantId,
    pub name: String,
    /// `None`: the tenant's root chain.
    pub chain: Option<ChainId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub tenant: TenantId,
    pub profile: ProfileId,
    pub name: String,
    /// ThingsBoard's `type`: the profile's name.
    pub kind: String,
}

/// An access token, known only by its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub device: DeviceId,
    pub token_sha256: [u8; 32],
}

/// A rule chain, parsed and checked by the same code that checked it at save time.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedChain {
    pub id: ChainId,
    pub tenant: TenantId,
    pub name: String,
    pub root: bool,
    pub chain: Chain,
}

/// Why a change cannot be applied; reported to the control plane, which shows it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidChange {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("a change without a body")]
    Empty,
    #[error("deleted: unknown entity kind {0}")]
    Kind(i32),
    #[error("{field}: {length} bytes, at most {NAME_BYTES_MAX}")]
    Name { field: &'static str, length: usize },
    #[error("token_sha256: expected 32 bytes, got {0}")]
    Token(usize),
    #[error("rule chain: {0}")]
    Chain(#[from] InvalidChain),
}

impl TryFrom<wire::Change> for Change {
    type Error = InvalidChange;

    fn try_from(change: wire::Change) -> Result<Self, InvalidChange> {
        let id = uuid("id", &change.id)?;
        let body = match change.body.ok_or(InvalidChange::Empty)? {
            wire::change::Body::Tenant(tenant) => {
                ChangeBody::Tenant(Tenant { id: TenantId(id), name: name("tenant.name", tenant.name)? })
            }
            wire::change::Body::Profile(profile) => ChangeBody::Profile(Profile {
                id: ProfileId(id),
                tenant: TenantId(uuid("profile.tenant_id", &profile.tenant_id)?),
                name: name("profile.name", profile.name)?,
                chain: optional("profile.rule_chain_id", &profile.rule_chain_id)?,
            }),
            wire::change::Body::Device(device) => ChangeBody::Device(Device {
                id: DeviceId(id),
                tenant: TenantId(uuid("device.tenant_id", &device.tenant_id)?),
                profile: ProfileId(uuid("device.profile_id", &device.profile_id)?),
                name: name("device.name", device.name)?,
                kind: name("device.type", device.r#type)?,
            }),
            wire::change::Body::Credential(credential) => ChangeBody::Credential(Credential {
                id: CredentialId(id),
                device: DeviceId(uuid("credential.device_id", &credential.device_id)?),
                token_sha256: credential
                    .token_sha256
                    .as_slice()
                    .try_into()
                    .map_err(|_| InvalidChange::Token(credential.token_sha256.len()))?,
            }),
            wire::change::Body::Chain(chain) => ChangeBody::Chain(PushedChain {
                id: ChainId(id),
                tenant: TenantId(uuid("chain.tenant_id", &chain.tenant_id)?),
                name: name("chain.name", chain.name)?,
                root: chain.root,
                chain: Chain::parse(&chain.metadata)?,
            }),
            wire::change::Body::Deleted(deleted) => match deleted.kind() {
                wire::EntityKind::Tenant => ChangeBody::TenantDeleted(TenantId(id)),
                wire::EntityKind::DeviceProfile => ChangeBody::ProfileDeleted(ProfileId(id)),
                wire::EntityKind::Device => ChangeBody::DeviceDeleted(DeviceId(id)),
                wire::EntityKind::Credential => ChangeBody::CredentialDeleted(CredentialId(id)),
                wire::EntityKind::RuleChain => ChangeBody::ChainDeleted(ChainId(id)),
                wire::EntityKind::Unspecified => return Err(InvalidChange::Kind(deleted.kind)),
            },
        };
        Ok(Self { revision: Revision(change.revision), body })
    }
}

fn name(field: &'static str, value: String) -> Result<String, InvalidChange> {
    if value.len() > NAME_BYTES_MAX {
        return Err(InvalidChange::Name { field, length: value.len() });
    }
    Ok(value)
}

fn optional(field: &'static str, bytes: &[u8]) -> Result<Option<ChainId>, InvalidId> {
    if bytes.is_empty() { Ok(None) } else { uuid(field, bytes).map(|id| Some(ChainId(id))) }
}
