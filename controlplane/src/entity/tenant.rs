//! Rows of tenants. Everything that belongs to a tenant names it; see `cascade` for how it goes.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, Page, PageLink, Tenant},
    entity::{
        StoreError, Write, contact, json,
        page::{self, Listing},
        unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub title: String,
    pub search: String,
    pub region: Option<String>,
    pub profile_id: Uuid,
    pub contact: String,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for Tenant {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, title, region, profile_id: profile, .. } = row;
        let (contact, additional_info) = (contact::from_text(&row.contact), json(&row.additional_info));
        Self { id, created_ms, version, title, region, profile, contact, additional_info }
    }
}

fn row(tenant: &Tenant, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(tenant.id),
        created_ms: Set(tenant.created_ms),
        version: Set(tenant.version),
        revision: Set(revision),
        title: Set(tenant.title.clone()),
        search: Set(tenant.title.to_lowercase()),
        region: Set(tenant.region.clone()),
        profile_id: Set(tenant.profile),
        contact: Set(contact::to_text(&tenant.contact)),
        additional_info: Set(tenant.additional_info.to_string()),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Tenant>, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.map(Tenant::from))
}

/// # Errors
/// [`StoreError`].
pub async fn by_title(db: &impl ConnectionTrait, title: &str) -> Result<Option<Tenant>, StoreError> {
    Ok(Entity::find().filter(Column::Search.eq(title.to_lowercase())).one(db).await?.map(Tenant::from))
}

/// # Errors
/// [`StoreError::Duplicate`] for the title.
pub async fn insert(write: &mut Write, tenant: &Tenant) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Tenant, tenant.id, false).await?;
    let done = Entity::insert(row(tenant, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Tenant, &[("search", "title")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the title.
pub async fn update(write: &mut Write, tenant: &Tenant) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Tenant, tenant.id, false).await?;
    let done = row(tenant, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Tenant, &[("search", "title")]))
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, link: &PageLink) -> Result<Page<Tenant>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("title", Column::Search)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    Ok(page::page(db, Entity::find(), listing, link).await?.map(Tenant::from))
}
