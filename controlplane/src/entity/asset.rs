//! Rows of assets. Names are unique in their tenant, whatever their case.

use std::collections::HashMap;

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::{
    domain::{Asset, AssetFilter, AssetInfo, Customer, EntityKind, Page, PageLink},
    entity::{
        StoreError, Write, alarm, asset_profile, customer, json,
        page::{self, Listing},
        relation, unique,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "asset")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub customer_id: Option<Uuid>,
    pub profile_id: Uuid,
    pub name: String,
    pub search: String,
    pub kind: String,
    pub label: Option<String>,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Types in one list.
const TYPES_MAX: u64 = 10_000;

impl From<Model> for Asset {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            created_ms: row.created_ms,
            version: row.version,
            tenant: row.tenant_id,
            customer: row.customer_id,
            name: row.name,
            kind: row.kind,
            label: row.label,
            profile: row.profile_id,
            additional_info: json(&row.additional_info),
        }
    }
}

fn row(asset: &Asset, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(asset.id),
        created_ms: Set(asset.created_ms),
        version: Set(asset.version),
        revision: Set(revision),
        tenant_id: Set(asset.tenant),
        customer_id: Set(asset.customer),
        profile_id: Set(asset.profile),
        name: Set(asset.name.clone()),
        search: Set(asset.name.to_lowercase()),
        kind: Set(asset.kind.clone()),
        label: Set(asset.label.clone()),
        additional_info: Set(asset.additional_info.to_string()),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Asset>, StoreError> {
    Ok(Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?.map(Asset::from))
}

/// The tenant's asset of this name, whatever its case.
///
/// # Errors
/// [`StoreError`].
pub async fn by_name(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<Asset>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.eq(name.to_lowercase()));
    Ok(named.one(db).await?.map(Asset::from))
}

/// How many assets a tenant has.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant)).count(db).await?)
}

/// Those of `ids` in the tenant, and in the customer if there is one.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    customer: Option<Uuid>,
    ids: &[Uuid],
) -> Result<Vec<Asset>, StoreError> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Id.is_in(ids.iter().copied()));
    if let Some(customer) = customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    Ok(select.all(db).await?.into_iter().map(Asset::from).collect())
}

/// The types that assets of the tenant, or of the customer, have.
///
/// # Errors
/// [`StoreError`].
pub async fn types(db: &impl ConnectionTrait, tenant: Uuid, customer: Option<Uuid>) -> Result<Vec<String>, StoreError> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(customer) = customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    let types = select.select_only().column(Column::Kind).distinct().order_by_asc(Column::Kind).limit(TYPES_MAX);
    Ok(types.into_tuple().all(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, asset: &Asset) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Asset, asset.id, false).await?;
    let done = Entity::insert(row(asset, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Asset, &[("search", "name")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, asset: &Asset) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Asset, asset.id, false).await?;
    let done = row(asset, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Asset, &[("search", "name")]))
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.changed(EntityKind::Asset, id, true).await?;
    relation::delete_of(write, EntityKind::Asset, id).await?;
    alarm::delete_of_originator(write, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    filter: &AssetFilter,
    link: &PageLink,
) -> Result<Page<Asset>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("name", Column::Search),
        ("type", Column::Kind),
        ("assetProfileName", Column::Kind),
        ("label", Column::Label),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(customer) = filter.customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    if let Some(kind) = &filter.kind {
        select = select.filter(Column::Kind.eq(kind.as_str()));
    }
    if let Some(profile) = filter.profile {
        select = select.filter(Column::ProfileId.eq(profile));
    }
    Ok(page::page(db, select, listing, link).await?.map(Asset::from))
}

/// The assets with the names of their customers and profiles, in two queries whatever their number.
///
/// # Errors
/// [`StoreError`].
pub async fn infos(db: &impl ConnectionTrait, assets: Vec<Asset>) -> Result<Vec<AssetInfo>, StoreError> {
    let mut customers: Vec<Uuid> = assets.iter().filter_map(|asset| asset.customer).collect();
    customers.sort_unstable();
    customers.dedup();
    let mut profiles: Vec<Uuid> = assets.iter().map(|asset| asset.profile).collect();
    profiles.sort_unstable();
    profiles.dedup();
    let customers = customer::by_ids(db, customers).await?;
    let customers: HashMap<Uuid, Customer> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
    let profiles: HashMap<_, _> = asset_profile::names(db, profiles).await?.into_iter().collect();
    let info = |asset: Asset| AssetInfo {
        customer_title: asset.customer.and_then(|id| Some(customers.get(&id)?.title.clone())),
        customer_is_public: asset.customer.and_then(|id| customers.get(&id)).is_some_and(Customer::is_public),
        profile_name: profiles.get(&asset.profile).cloned().unwrap_or_else(|| asset.kind.clone()),
        asset,
    };
    Ok(assets.into_iter().map(info).collect())
}
