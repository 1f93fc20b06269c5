//! Rows of customers. Titles are unique in their tenant, whatever their case.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{Customer, EntityKind, Page, PageLink},
    entity::{
        StoreError, Write, contact, json,
        page::{self, Listing},
        unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub title: String,
    pub search: String,
    pub contact: String,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for Customer {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, tenant_id: tenant, title, .. } = row;
        let additional_info = json(&row.additional_info);
        Self { id, created_ms, version, tenant, title, contact: contact::from_text(&row.contact), additional_info }
    }
}

fn row(customer: &Customer, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(customer.id),
        created_ms: Set(customer.created_ms),
        version: Set(customer.version),
        revision: Set(revision),
        tenant_id: Set(customer.tenant),
        title: Set(customer.title.clone()),
        search: Set(customer.title.to_lowercase()),
        contact: Set(contact::to_text(&customer.contact)),
        additional_info: Set(customer.additional_info.to_string()),
    }
}

/// # Errors
/// [`StoreError`].
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Customer>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(Customer::from))
}

/// The customer of this title, whatever its case.
///
/// # Errors
/// [`StoreError`].
pub async fn by_title(db: &impl ConnectionTrait, tenant: Uuid, title: &str) -> Result<Option<Customer>, StoreError> {
    let titled = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.eq(title.to_lowercase()));
    Ok(titled.one(db).await?.map(Customer::from))
}

/// Those of `ids` that exist, of whatever tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<Customer>, StoreError> {
    Ok(Entity::find().filter(Column::Id.is_in(ids)).all(db).await?.into_iter().map(Customer::from).collect())
}

/// How many customers a tenant has.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant)).count(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the title.
pub async fn insert(write: &mut Write, customer: &Customer) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Customer, customer.id, false).await?;
    let done = Entity::insert(row(customer, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Customer, &[("search", "title")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the title.
pub async fn update(write: &mut Write, customer: &Customer) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Customer, customer.id, false).await?;
    let done = row(customer, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Customer, &[("search", "title")]))
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, tenant: Uuid, link: &PageLink) -> Result<Page<Customer>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("title", Column::Search)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let select = Entity::find().filter(Column::TenantId.eq(tenant));
    Ok(page::page(db, select, listing, link).await?.map(Customer::from))
}
