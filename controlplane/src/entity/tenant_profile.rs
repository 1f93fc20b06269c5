//! Rows of tenant profiles. Data planes are told what a profile says as part of each of its tenants: a changed profile is a
//! change of each of them.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, Page, PageLink, TenantProfile},
    entity::{
        StoreError, Write, json,
        page::{self, Listing},
        tenant, unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant_profile")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub name: String,
    pub search: String,
    pub description: Option<String>,
    pub is_default: bool,
    pub isolated: bool,
    pub profile_data: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for TenantProfile {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, name, description, is_default, isolated, .. } = row;
        Self { id, created_ms, version, name, description, is_default, isolated, profile_data: json(&row.profile_data) }
    }
}

fn row(profile: &TenantProfile) -> ActiveModel {
    ActiveModel {
        id: Set(profile.id),
        created_ms: Set(profile.created_ms),
        version: Set(profile.version),
        name: Set(profile.name.clone()),
        search: Set(profile.name.to_lowercase()),
        description: Set(profile.description.clone()),
        is_default: Set(profile.is_default),
        isolated: Set(profile.isolated),
        profile_data: Set(profile.profile_data.to_string()),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<TenantProfile>, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.map(TenantProfile::from))
}

/// # Errors
/// [`StoreError`].
pub async fn default_one(db: &impl ConnectionTrait) -> Result<TenantProfile, StoreError> {
    let found = Entity::find().filter(Column::IsDefault.eq(true)).one(db).await?;
    let missing = || StoreError::Corrupt { table: "tenant_profile", rule: "has no default".to_owned() };
    found.map(TenantProfile::from).ok_or_else(missing)
}

/// Those of `ids` that exist.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<TenantProfile>, StoreError> {
    let rows = Entity::find().filter(Column::Id.is_in(ids)).all(db).await?;
    Ok(rows.into_iter().map(TenantProfile::from).collect())
}

/// How many tenants have this profile.
///
/// # Errors
/// [`StoreError`].
pub async fn tenants(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, StoreError> {
    Ok(tenant::Entity::find().filter(tenant::Column::ProfileId.eq(id)).count(db).await?)
}

/// # Errors
/// [`crate::entity::StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, profile: &TenantProfile) -> Result<(), StoreError> {
    let done = Entity::insert(row(profile)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::TenantProfile, &[("search", "name")]))
}

/// With `limits_changed`, each tenant of the profile is changed too.
///
/// # Errors
/// [`crate::entity::StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, profile: &TenantProfile, limits_changed: bool) -> Result<(), StoreError> {
    let done = row(profile).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::TenantProfile, &[("search", "name")]))?;
    if !limits_changed {
        return Ok(());
    }
    let of_profile = tenant::Column::ProfileId.eq(profile.id);
    let ids: Vec<Uuid> = tenant::Entity::find()
        .select_only()
        .column(tenant::Column::Id)
        .filter(of_profile.clone())
        .into_tuple()
        .all(write.db())
        .await?;
    let revision = write.changed_all(EntityKind::Tenant, &ids, false).await?;
    tenant::Entity::update_many()
        .col_expr(tenant::Column::Revision, Expr::value(revision))
        .filter(of_profile)
        .exec(write.db())
        .await?;
    Ok(())
}

/// No tenant may have it any more.
///
/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, link: &PageLink) -> Result<Page<TenantProfile>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("name", Column::Search)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    Ok(page::page(db, Entity::find(), listing, link).await?.map(TenantProfile::from))
}
