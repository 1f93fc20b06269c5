//! Rows and log entries as the messages of `config.proto`. The access token itself never leaves: only its SHA-256 does.

use aws_lc_rs::digest::{SHA256, digest};
use schemas::generated::config as wire;
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::pushed::{Body, Pushed},
};

pub(super) fn change(row: Pushed) -> wire::Change {
    let body = match row.body {
        Body::Tenant { title } => wire::change::Body::Tenant(wire::Tenant { name: title, limits: None }),
        Body::Chain { tenant, name, root, metadata } => {
            wire::change::Body::Chain(wire::RuleChain { tenant_id: bytes(tenant), name, root, metadata })
        }
        Body::Profile { tenant, name, chain } => wire::change::Body::Profile(wire::DeviceProfile {
            tenant_id: bytes(tenant),
            name,
            rule_chain_id: chain.map(bytes).unwrap_or_default(),
            mqtt: None,
        }),
        Body::Device { tenant, profile, name, kind } => wire::change::Body::Device(wire::Device {
            tenant_id: bytes(tenant),
            profile_id: bytes(profile),
            name,
            r#type: kind,
            gateway: false,
        }),
        Body::Credential { device, token } => wire::change::Body::Credential(wire::Credential {
            device_id: bytes(device),
            token_sha256: digest(&SHA256, token.as_bytes()).as_ref().to_vec(),
        }),
    };
    wire::Change { revision: row.revision, id: bytes(row.id), body: Some(body) }
}

/// `None` for kinds that data planes do not know.
pub(super) fn deleted(revision: u64, kind: EntityKind, id: Uuid) -> Option<wire::Change> {
    let kind = match kind {
        EntityKind::Tenant => wire::EntityKind::Tenant,
        EntityKind::RuleChain => wire::EntityKind::RuleChain,
        EntityKind::DeviceProfile => wire::EntityKind::DeviceProfile,
        EntityKind::Device => wire::EntityKind::Device,
        EntityKind::Credential => wire::EntityKind::Credential,
        EntityKind::Customer | EntityKind::User | EntityKind::OtaPackage | EntityKind::Rpc => return None,
    };
    let body = wire::change::Body::Deleted(wire::Deleted { kind: kind.into() });
    Some(wire::Change { revision, id: bytes(id), body: Some(body) })
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}
