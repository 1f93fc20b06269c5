//! What data planes are told about rows: by id for the log, in keyset pages for full state. Never opens a long transaction.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{StoreError, chain, credential, device, profile, tenant},
};

/// The kinds data planes know, what others refer to first.
pub const KINDS: [EntityKind; 5] =
    [EntityKind::Tenant, EntityKind::RuleChain, EntityKind::DeviceProfile, EntityKind::Device, EntityKind::Credential];

/// A row with its own revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    pub revision: u64,
    pub id: Uuid,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Tenant { title: String },
    Chain { tenant: Uuid, name: String, root: bool, metadata: String },
    Profile { tenant: Uuid, name: String, chain: Option<Uuid> },
    Device { tenant: Uuid, profile: Uuid, name: String, kind: String },
    Credential { device: Uuid, token: String },
}

impl Body {
    #[must_use]
    pub fn kind(&self) -> EntityKind {
        match self {
            Self::Tenant { .. } => EntityKind::Tenant,
            Self::Chain { .. } => EntityKind::RuleChain,
            Self::Profile { .. } => EntityKind::DeviceProfile,
            Self::Device { .. } => EntityKind::Device,
            Self::Credential { .. } => EntityKind::Credential,
        }
    }
}

fn pushed(revision: i64, id: Uuid, body: Body) -> Pushed {
    Pushed { revision: u64::try_from(revision).unwrap_or(0), id, body }
}

impl From<tenant::Model> for Pushed {
    fn from(row: tenant::Model) -> Self {
        pushed(row.revision, row.id, Body::Tenant { title: row.title })
    }
}

impl From<chain::Model> for Pushed {
    fn from(row: chain::Model) -> Self {
        let chain::Model { tenant_id: tenant, name, root, metadata, .. } = row;
        pushed(row.revision, row.id, Body::Chain { tenant, name, root, metadata })
    }
}

impl From<profile::Model> for Pushed {
    fn from(row: profile::Model) -> Self {
        let profile::Model { tenant_id: tenant, name, chain_id: chain, .. } = row;
        pushed(row.revision, row.id, Body::Profile { tenant, name, chain })
    }
}

impl From<device::Model> for Pushed {
    fn from(row: device::Model) -> Self {
        let device::Model { tenant_id: tenant, profile_id: profile, name, kind, .. } = row;
        pushed(row.revision, row.id, Body::Device { tenant, profile, name, kind })
    }
}

impl From<credential::Model> for Pushed {
    fn from(row: credential::Model) -> Self {
        let credential::Model { device_id: device, token, .. } = row;
        pushed(row.revision, row.id, Body::Credential { device, token })
    }
}

macro_rules! by_ids {
    ($db:expr, $table:ident, $ids:expr) => {
        $table::Entity::find().filter($table::Column::Id.is_in($ids)).all($db).await?.into_iter().map(Pushed::from).collect()
    };
}

macro_rules! after {
    ($db:expr, $table:ident, $after:expr, $limit:expr) => {{
        let mut select = $table::Entity::find();
        if let Some(after) = $after {
            select = select.filter($table::Column::Id.gt(after));
        }
        let rows = select.order_by_asc($table::Column::Id).limit($limit).all($db).await?;
        rows.into_iter().map(Pushed::from).collect()
    }};
}

/// The rows of one kind with these ids; those that are gone are left out.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(db: &impl ConnectionTrait, kind: EntityKind, ids: Vec<Uuid>) -> Result<Vec<Pushed>, StoreError> {
    Ok(match kind {
        EntityKind::Tenant => by_ids!(db, tenant, ids),
        EntityKind::RuleChain => by_ids!(db, chain, ids),
        EntityKind::DeviceProfile => by_ids!(db, profile, ids),
        EntityKind::Device => by_ids!(db, device, ids),
        EntityKind::Credential => by_ids!(db, credential, ids),
        EntityKind::Customer | EntityKind::User | EntityKind::OtaPackage | EntityKind::Rpc => Vec::new(),
    })
}

/// The next rows of one kind in the order of their ids.
///
/// # Errors
/// [`StoreError`].
pub async fn after(db: &impl ConnectionTrait, kind: EntityKind, id: Option<Uuid>, limit: u64) -> Result<Vec<Pushed>, StoreError> {
    Ok(match kind {
        EntityKind::Tenant => after!(db, tenant, id, limit),
        EntityKind::RuleChain => after!(db, chain, id, limit),
        EntityKind::DeviceProfile => after!(db, profile, id, limit),
        EntityKind::Device => after!(db, device, id, limit),
        EntityKind::Credential => after!(db, credential, id, limit),
        EntityKind::Customer | EntityKind::User | EntityKind::OtaPackage | EntityKind::Rpc => Vec::new(),
    })
}

/// How many rows a full state has, about: it is counted while rows come and go.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(tenant::Entity::find().count(db).await?
        + chain::Entity::find().count(db).await?
        + profile::Entity::find().count(db).await?
        + device::Entity::find().count(db).await?
        + credential::Entity::find().count(db).await?)
}
