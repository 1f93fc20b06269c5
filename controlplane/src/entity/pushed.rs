//! What data planes are told about rows: by id for the log, in keyset pages for full state. Never opens a long transaction.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        ACCESS_TOKEN, Arrow, CalculatedField, Contact, EntityKind, FieldOf, MqttTransport, RelationGroup, TransportLimits,
        alarms_of, is_gateway, mqtt_of, unhex,
    },
    entity::{
        StoreError, asset, asset_profile, calculated, chain, contact, credential, customer, device, json, meta, profile,
        relation, tenant, tenant_profile,
    },
};

/// The kinds data planes know, what others refer to first.
pub const KINDS: [EntityKind; 10] = [
    EntityKind::Installation,
    EntityKind::Tenant,
    EntityKind::Customer,
    EntityKind::RuleChain,
    EntityKind::DeviceProfile,
    EntityKind::CalculatedField,
    EntityKind::Device,
    EntityKind::Asset,
    EntityKind::Relation,
    EntityKind::Credential,
];

/// A row with its own revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    pub revision: u64,
    pub id: Uuid,
    pub body: Body,
}

#[derive(Clone, PartialEq)]
pub enum Body {
    Installation {
        credential_key: Vec<u8>,
        mail: String,
    },
    Tenant {
        details: Box<Details>,
        limits: TransportLimits,
    },
    Customer {
        tenant: Uuid,
        details: Box<Details>,
    },
    Chain {
        tenant: Uuid,
        name: String,
        root: bool,
        metadata: String,
    },
    Profile {
        tenant: Uuid,
        name: String,
        chain: Option<Uuid>,
        mqtt: Option<MqttTransport>,
        alarms: String,
    },
    Device {
        tenant: Uuid,
        profile: Uuid,
        customer: Option<Uuid>,
        name: String,
        kind: String,
        label: Option<String>,
        created_ms: i64,
        gateway: bool,
    },
    Credential {
        device: Uuid,
        shown: Known,
    },
    Field {
        tenant: Uuid,
        of: FieldOf,
        name: String,
        configuration: String,
    },
    Asset {
        tenant: Uuid,
        customer: Option<Uuid>,
        name: String,
        kind: String,
        label: Option<String>,
        created_ms: i64,
        chain: Option<Uuid>,
    },
    Relation(Arrow),
}

/// What rules may be told of a tenant or a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    pub title: String,
    pub contact: Contact,
    /// `additionalInfo.description`, if it is text.
    pub description: Option<String>,
}

impl Details {
    fn of(title: String, contact: &str, additional_info: &str) -> Self {
        let description = json(additional_info).get("description").and_then(Value::as_str).map(str::to_owned);
        Self { title, contact: contact::from_text(contact), description }
    }
}

/// How data planes know what a device shows.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a token is nobody's to print")]
pub enum Known {
    /// By its SHA-256.
    Token(String),
    By(Vec<u8>),
}

/// Names nothing secret.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind().name())
    }
}

impl Body {
    #[must_use]
    pub fn kind(&self) -> EntityKind {
        match self {
            Self::Installation { .. } => EntityKind::Installation,
            Self::Tenant { .. } => EntityKind::Tenant,
            Self::Customer { .. } => EntityKind::Customer,
            Self::Chain { .. } => EntityKind::RuleChain,
            Self::Profile { .. } => EntityKind::DeviceProfile,
            Self::Device { .. } => EntityKind::Device,
            Self::Credential { .. } => EntityKind::Credential,
            Self::Field { .. } => EntityKind::CalculatedField,
            Self::Asset { .. } => EntityKind::Asset,
            Self::Relation(_) => EntityKind::Relation,
        }
    }
}

fn pushed(revision: i64, id: Uuid, body: Body) -> Pushed {
    Pushed { revision: u64::try_from(revision).unwrap_or(0), id, body }
}

impl From<chain::Model> for Pushed {
    fn from(row: chain::Model) -> Self {
        let chain::Model { tenant_id: tenant, name, root, metadata, .. } = row;
        pushed(row.revision, row.id, Body::Chain { tenant, name, root, metadata })
    }
}

impl From<profile::Model> for Pushed {
    fn from(row: profile::Model) -> Self {
        let profile_data = json(&row.profile_data);
        let (mqtt, alarms) = (mqtt_of(&row.transport, &profile_data), alarms_of(&profile_data));
        let profile::Model { tenant_id: tenant, name, chain_id: chain, .. } = row;
        pushed(row.revision, row.id, Body::Profile { tenant, name, chain, mqtt, alarms })
    }
}

impl From<device::Model> for Pushed {
    fn from(row: device::Model) -> Self {
        // Most say nothing of it, and a full state has all devices.
        let gateway = row.additional_info.contains("gateway") && is_gateway(&json(&row.additional_info));
        let device::Model { tenant_id: tenant, profile_id: profile, customer_id: customer, name, kind, label, .. } = row;
        let created_ms = row.created_ms;
        pushed(row.revision, row.id, Body::Device { tenant, profile, customer, name, kind, label, created_ms, gateway })
    }
}

impl From<calculated::Model> for Pushed {
    fn from(row: calculated::Model) -> Self {
        let (revision, configuration) = (row.revision, row.configuration.clone());
        let field = CalculatedField::from(row);
        let (tenant, of, name) = (field.tenant, field.of, field.name);
        pushed(revision, field.id, Body::Field { tenant, of, name, configuration })
    }
}

impl From<customer::Model> for Pushed {
    fn from(row: customer::Model) -> Self {
        let details = Box::new(Details::of(row.title, &row.contact, &row.additional_info));
        pushed(row.revision, row.id, Body::Customer { tenant: row.tenant_id, details })
    }
}

impl From<credential::Model> for Pushed {
    fn from(row: credential::Model) -> Self {
        let shown = if row.kind == ACCESS_TOKEN {
            Known::Token(row.credentials_id)
        } else {
            Known::By(row.lookup.as_deref().and_then(unhex).unwrap_or_default())
        };
        pushed(row.revision, row.id, Body::Credential { device: row.device_id, shown })
    }
}

/// Tenants with the limits of their profiles, in two queries whatever their number.
async fn tenants(db: &impl ConnectionTrait, rows: Vec<tenant::Model>) -> Result<Vec<Pushed>, StoreError> {
    let mut profiles: Vec<Uuid> = rows.iter().map(|row| row.profile_id).collect();
    profiles.sort_unstable();
    profiles.dedup();
    let profiles = tenant_profile::by_ids(db, profiles).await?;
    let limits: HashMap<Uuid, TransportLimits> =
        profiles.into_iter().map(|profile| (profile.id, TransportLimits::of(&profile.profile_data))).collect();
    let body = |row: tenant::Model| {
        let limits = limits.get(&row.profile_id).cloned().unwrap_or_default();
        let details = Box::new(Details::of(row.title, &row.contact, &row.additional_info));
        pushed(row.revision, row.id, Body::Tenant { details, limits })
    };
    Ok(rows.into_iter().map(body).collect())
}

/// Assets with the chain of their profile.
async fn assets(db: &impl ConnectionTrait, rows: Vec<asset::Model>) -> Result<Vec<Pushed>, StoreError> {
    let mut ids: Vec<Uuid> = rows.iter().map(|row| row.profile_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let profiles = asset_profile::Entity::find().filter(asset_profile::Column::Id.is_in(ids)).all(db).await?;
    let chains: HashMap<Uuid, Option<Uuid>> = profiles.into_iter().map(|profile| (profile.id, profile.chain_id)).collect();
    let body = |row: asset::Model| {
        let chain = chains.get(&row.profile_id).copied().flatten();
        let asset::Model { tenant_id: tenant, customer_id: customer, name, kind, label, created_ms, .. } = row;
        pushed(row.revision, row.id, Body::Asset { tenant, customer, name, kind, label, created_ms, chain })
    };
    Ok(rows.into_iter().map(body).collect())
}

fn relations(rows: Vec<relation::Model>) -> Result<Vec<Pushed>, StoreError> {
    rows.into_iter().map(|row| Ok(pushed(row.revision, row.id, Body::Relation(row.arrow()?)))).collect()
}

/// Data planes are told of no other group.
fn common() -> sea_orm::sea_query::SimpleExpr {
    relation::Column::KindGroup.eq(RelationGroup::Common.name())
}

/// The one row that is no table's.
async fn installation(db: &impl ConnectionTrait) -> Result<Vec<Pushed>, StoreError> {
    let key = meta::get(db, meta::CREDENTIAL_KEY).await?;
    let missing = || StoreError::Corrupt { table: "meta", rule: "there is no credential key".to_owned() };
    let credential_key = key.as_deref().and_then(unhex).ok_or_else(missing)?;
    let revision = meta::get(db, meta::INSTALLATION_REVISION).await?;
    let revision = revision.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mail = meta::get(db, meta::MAIL).await?.unwrap_or_default();
    Ok(vec![pushed(revision, Uuid::nil(), Body::Installation { credential_key, mail })])
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
        EntityKind::Installation => installation(db).await?,
        EntityKind::Tenant => {
            let rows = tenant::Entity::find().filter(tenant::Column::Id.is_in(ids)).all(db).await?;
            tenants(db, rows).await?
        }
        EntityKind::RuleChain => by_ids!(db, chain, ids),
        EntityKind::DeviceProfile => by_ids!(db, profile, ids),
        EntityKind::Device => by_ids!(db, device, ids),
        EntityKind::Credential => by_ids!(db, credential, ids),
        EntityKind::Asset => {
            let rows = asset::Entity::find().filter(asset::Column::Id.is_in(ids)).all(db).await?;
            assets(db, rows).await?
        }
        EntityKind::Relation => {
            relations(relation::Entity::find().filter(relation::Column::Id.is_in(ids)).filter(common()).all(db).await?)?
        }
        EntityKind::Customer => by_ids!(db, customer, ids),
        EntityKind::CalculatedField => by_ids!(db, calculated, ids),
        EntityKind::User | EntityKind::TenantProfile | EntityKind::OtaPackage | EntityKind::Rpc | EntityKind::AssetProfile => {
            Vec::new()
        }
    })
}

/// The next rows of one kind in the order of their ids.
///
/// # Errors
/// [`StoreError`].
pub async fn after(db: &impl ConnectionTrait, kind: EntityKind, id: Option<Uuid>, limit: u64) -> Result<Vec<Pushed>, StoreError> {
    Ok(match kind {
        EntityKind::Installation if id.is_none() => installation(db).await?,
        EntityKind::Installation => Vec::new(),
        EntityKind::Tenant => {
            let mut select = tenant::Entity::find();
            if let Some(after) = id {
                select = select.filter(tenant::Column::Id.gt(after));
            }
            tenants(db, select.order_by_asc(tenant::Column::Id).limit(limit).all(db).await?).await?
        }
        EntityKind::RuleChain => after!(db, chain, id, limit),
        EntityKind::DeviceProfile => after!(db, profile, id, limit),
        EntityKind::Device => after!(db, device, id, limit),
        EntityKind::Credential => after!(db, credential, id, limit),
        EntityKind::Asset => {
            let mut select = asset::Entity::find();
            if let Some(after) = id {
                select = select.filter(asset::Column::Id.gt(after));
            }
            assets(db, select.order_by_asc(asset::Column::Id).limit(limit).all(db).await?).await?
        }
        EntityKind::Relation => {
            let mut select = relation::Entity::find().filter(common());
            if let Some(after) = id {
                select = select.filter(relation::Column::Id.gt(after));
            }
            relations(select.order_by_asc(relation::Column::Id).limit(limit).all(db).await?)?
        }
        EntityKind::Customer => after!(db, customer, id, limit),
        EntityKind::CalculatedField => after!(db, calculated, id, limit),
        EntityKind::User | EntityKind::TenantProfile | EntityKind::OtaPackage | EntityKind::Rpc | EntityKind::AssetProfile => {
            Vec::new()
        }
    })
}

/// How many rows a full state has, about: it is counted while rows come and go.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(1 + tenant::Entity::find().count(db).await?
        + customer::Entity::find().count(db).await?
        + chain::Entity::find().count(db).await?
        + profile::Entity::find().count(db).await?
        + calculated::Entity::find().count(db).await?
        + device::Entity::find().count(db).await?
        + asset::Entity::find().count(db).await?
        + relation::Entity::find().filter(common()).count(db).await?
        + credential::Entity::find().count(db).await?)
}
