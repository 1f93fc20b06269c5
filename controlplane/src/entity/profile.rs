//! Rows of device profiles. A profile that is renamed renames the type of its devices with it.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

use crate::{
    domain::{DeviceProfile, EntityKind, Page, PageLink},
    entity::{
        StoreError, Write, device, json,
        page::{self, Listing},
        rollout, unique,
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
    pub firmware_id: Option<Uuid>,
    pub software_id: Option<Uuid>,
    pub profile_data: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for DeviceProfile {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, tenant_id: tenant, name, description, is_default, chain_id: chain, .. } = row;
        let (firmware, software) = (row.firmware_id, row.software_id);
        let profile_data = json(&row.profile_data);
        Self { id, created_ms, version, tenant, name, description, is_default, chain, firmware, software, profile_data }
    }
}

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
        firmware_id: Set(profile.firmware),
        software_id: Set(profile.software),
        profile_data: Set(profile.profile_data.to_string()),
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

/// How many devices have this profile.
///
/// # Errors
/// [`StoreError`].
pub async fn devices(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, StoreError> {
    Ok(device::Entity::find().filter(device::Column::ProfileId.eq(id)).count(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, profile: &DeviceProfile) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::DeviceProfile, profile.id, false).await?;
    let done = Entity::insert(row(profile, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::DeviceProfile, &[("search", "name")]))
}

/// With `renamed`, every device of the profile changes its type too.
///
/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, profile: &DeviceProfile, renamed: bool) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::DeviceProfile, profile.id, false).await?;
    let done = row(profile, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::DeviceProfile, &[("search", "name")]))?;
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
    rollout::delete_of_profile(write, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, tenant: Uuid, link: &PageLink) -> Result<Page<DeviceProfile>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("name", Column::Search)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let select = Entity::find().filter(Column::TenantId.eq(tenant));
    Ok(page::page(db, select, listing, link).await?.map(DeviceProfile::from))
}
