//! Rows of device profiles. A profile that is renamed renames the type of its devices with it.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter,
    PaginatorTrait, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Query},
};
use uuid::Uuid;

use crate::{
    domain::{DeviceProfile, EntityKind, Page, PageLink, ProvisionType},
    entity::{
        StoreError, Write, device, json,
        page::{self, Listing},
        relation, rollout, unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_profile")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub name: String,
    pub search: String,
    pub description: Option<String>,
    pub is_default: bool,
    pub chain_id: Option<Uuid>,
    pub profile_data: String,
    pub transport: String,
    pub provision: String,
    pub provision_key: Option<String>,
    /// Of the authority of a certificate chain: what its certificates name as their issuer.
    pub provision_issuer: Option<String>,
    pub image: Option<String>,
    pub queue: Option<String>,
    pub dashboard_id: Option<Uuid>,
    pub edge_chain_id: Option<Uuid>,
    pub firmware_id: Option<Uuid>,
    pub software_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for DeviceProfile {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            created_ms: row.created_ms,
            version: row.version,
            tenant: row.tenant_id,
            name: row.name,
            description: row.description,
            image: row.image,
            is_default: row.is_default,
            chain: row.chain_id,
            transport: row.transport,
            provision: ProvisionType::parse(&row.provision).unwrap_or_default(),
            provision_key: row.provision_key,
            queue: row.queue,
            dashboard: row.dashboard_id,
            edge_chain: row.edge_chain_id,
            firmware: row.firmware_id,
            software: row.software_id,
            profile_data: json(&row.profile_data),
        }
    }
}

/// Names in one list.
const NAMES_MAX: u64 = 10_000;
const UNIQUE: &[(&str, &str)] = &[("provision_key", "provisionDeviceKey"), ("search", "name")];
/// Profiles that are tried for one issuer: several tenants may trust the same.
const AUTHORITIES_MAX: u64 = 16;

fn row(profile: &DeviceProfile, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(profile.id),
        created_ms: Set(profile.created_ms),
        version: Set(profile.version),
        revision: Set(revision),
        tenant_id: Set(profile.tenant),
        name: Set(profile.name.clone()),
        search: Set(profile.name.to_lowercase()),
        description: Set(profile.description.clone()),
        is_default: Set(profile.is_default),
        chain_id: Set(profile.chain),
        profile_data: Set(profile.profile_data.to_string()),
        transport: Set(profile.transport.clone()),
        provision: Set(profile.provision.name().to_owned()),
        provision_key: Set(profile.provision_key.clone()),
        provision_issuer: Set(profile.authority().and_then(|authority| authority.subject_digest())),
        image: Set(profile.image.clone()),
        queue: Set(profile.queue.clone()),
        dashboard_id: Set(profile.dashboard),
        edge_chain_id: Set(profile.edge_chain),
        firmware_id: Set(profile.firmware),
        software_id: Set(profile.software),
    }
}

/// # Errors
/// [`StoreError`].
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<DeviceProfile>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(DeviceProfile::from))
}

/// The tenant's profile of this name, whatever its case.
///
/// # Errors
/// [`StoreError`].
pub async fn by_name(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<DeviceProfile>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.eq(name.to_lowercase()));
    Ok(named.one(db).await?.map(DeviceProfile::from))
}

/// # Errors
/// [`StoreError`].
pub async fn default_of(db: &impl ConnectionTrait, tenant: Uuid) -> Result<Option<DeviceProfile>, StoreError> {
    let default = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::IsDefault.eq(true));
    Ok(default.one(db).await?.map(DeviceProfile::from))
}

/// The names of `ids`.
///
/// # Errors
/// [`StoreError`].
pub async fn names(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<(Uuid, String)>, StoreError> {
    let rows = Entity::find().filter(Column::Id.is_in(ids)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// The profile of this provisioning key, of any tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn by_provision_key(db: &impl ConnectionTrait, key: &str) -> Result<Option<DeviceProfile>, StoreError> {
    Ok(Entity::find().filter(Column::ProvisionKey.eq(key)).one(db).await?.map(DeviceProfile::from))
}

/// The profiles, of any tenant, whose authority has one of these fingerprints, or one of these names.
///
/// # Errors
/// [`StoreError`].
pub async fn by_authority(
    db: &impl ConnectionTrait,
    fingerprints: Vec<String>,
    issuers: Vec<String>,
) -> Result<Vec<DeviceProfile>, StoreError> {
    let known = Condition::any().add(Column::ProvisionKey.is_in(fingerprints)).add(Column::ProvisionIssuer.is_in(issuers));
    let of_chains = Entity::find().filter(Column::Provision.eq(ProvisionType::CertificateChain.name()));
    let rows = of_chains.filter(known).order_by_asc(Column::Id).limit(AUTHORITIES_MAX).all(db).await?;
    Ok(rows.into_iter().map(DeviceProfile::from).collect())
}

/// The ids and names of the tenant's profiles, in the order of their names; with `in_use` only of those that devices have.
///
/// # Errors
/// [`StoreError`].
pub async fn listed(db: &impl ConnectionTrait, tenant: Uuid, in_use: bool) -> Result<Vec<(Uuid, String)>, StoreError> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if in_use {
        let used = Query::select().column(device::Column::ProfileId).from(device::Entity).distinct().to_owned();
        select = select.filter(Column::Id.in_subquery(used));
    }
    let names = select.select_only().column(Column::Id).column(Column::Name).order_by_asc(Column::Search).limit(NAMES_MAX);
    Ok(names.into_tuple().all(db).await?)
}

/// How many devices have this profile.
///
/// # Errors
/// [`StoreError`].
pub async fn devices(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, StoreError> {
    Ok(device::Entity::find().filter(device::Column::ProfileId.eq(id)).count(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the name or the provisioning key.
pub async fn insert(write: &mut Write, profile: &DeviceProfile) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::DeviceProfile, profile.id, false).await?;
    let done = Entity::insert(row(profile, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::DeviceProfile, UNIQUE))
}

/// With `renamed`, every device of the profile changes its type too.
///
/// # Errors
/// [`StoreError::Duplicate`] for the name or the provisioning key.
pub async fn update(write: &mut Write, profile: &DeviceProfile, renamed: bool) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::DeviceProfile, profile.id, false).await?;
    let done = row(profile, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::DeviceProfile, UNIQUE))?;
    if !renamed {
        return Ok(());
    }
    let of_profile = device::Column::ProfileId.eq(profile.id);
    let ids: Vec<Uuid> = device::Entity::find()
        .select_only()
        .column(device::Column::Id)
        .filter(of_profile.clone())
        .into_tuple()
        .all(write.db())
        .await?;
    let revision = write.changed_all(EntityKind::Device, &ids, false).await?;
    device::Entity::update_many()
        .col_expr(device::Column::Kind, Expr::value(profile.name.clone()))
        .col_expr(device::Column::Revision, Expr::value(revision))
        .filter(of_profile)
        .exec(write.db())
        .await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.changed(EntityKind::DeviceProfile, id, true).await?;
    relation::delete_of(write, EntityKind::DeviceProfile, id).await?;
    rollout::delete_of_profile(write, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    transport: Option<&str>,
    link: &PageLink,
) -> Result<Page<DeviceProfile>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("name", Column::Search),
        ("transportType", Column::Transport),
        ("description", Column::Description),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(transport) = transport {
        select = select.filter(Column::Transport.eq(transport));
    }
    Ok(page::page(db, select, listing, link).await?.map(DeviceProfile::from))
}
