//! Rows of asset profiles. A profile that is renamed renames the type of its assets with it. Data planes know the profile's name
//! and chain by its assets, so it has no changes of its own.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PaginatorTrait,
    PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Query},
};
use uuid::Uuid;

use crate::{
    domain::{AssetProfile, EntityKind, Page, PageLink},
    entity::{
        StoreError, Write, asset,
        page::{self, Listing},
        relation, unique,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "asset_profile")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub tenant_id: Uuid,
    pub name: String,
    pub search: String,
    pub description: Option<String>,
    pub image: Option<String>,
    pub is_default: bool,
    pub chain_id: Option<Uuid>,
    pub queue: Option<String>,
    pub dashboard_id: Option<Uuid>,
    pub edge_chain_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for AssetProfile {
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
            queue: row.queue,
            dashboard: row.dashboard_id,
            edge_chain: row.edge_chain_id,
        }
    }
}

/// Names in one list.
const NAMES_MAX: u64 = 10_000;
const UNIQUE: &[(&str, &str)] = &[("search", "name")];

fn row(profile: &AssetProfile) -> ActiveModel {
    ActiveModel {
        id: Set(profile.id),
        created_ms: Set(profile.created_ms),
        version: Set(profile.version),
        tenant_id: Set(profile.tenant),
        name: Set(profile.name.clone()),
        search: Set(profile.name.to_lowercase()),
        description: Set(profile.description.clone()),
        image: Set(profile.image.clone()),
        is_default: Set(profile.is_default),
        chain_id: Set(profile.chain),
        queue: Set(profile.queue.clone()),
        dashboard_id: Set(profile.dashboard),
        edge_chain_id: Set(profile.edge_chain),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<AssetProfile>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(AssetProfile::from))
}

/// The tenant's profile of this name, whatever its case.
///
/// # Errors
/// [`StoreError`].
pub async fn by_name(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<AssetProfile>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.eq(name.to_lowercase()));
    Ok(named.one(db).await?.map(AssetProfile::from))
}

/// # Errors
/// [`StoreError`].
pub async fn default_of(db: &impl ConnectionTrait, tenant: Uuid) -> Result<Option<AssetProfile>, StoreError> {
    let default = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::IsDefault.eq(true));
    Ok(default.one(db).await?.map(AssetProfile::from))
}

/// The names of `ids`.
///
/// # Errors
/// [`StoreError`].
pub async fn names(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<(Uuid, String)>, StoreError> {
    let rows = Entity::find().filter(Column::Id.is_in(ids)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// The ids and names of the tenant's profiles, in the order of their names; with `in_use` only of those that assets have.
///
/// # Errors
/// [`StoreError`].
pub async fn listed(db: &impl ConnectionTrait, tenant: Uuid, in_use: bool) -> Result<Vec<(Uuid, String)>, StoreError> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if in_use {
        let used = Query::select().column(asset::Column::ProfileId).from(asset::Entity).distinct().to_owned();
        select = select.filter(Column::Id.in_subquery(used));
    }
    let names = select.select_only().column(Column::Id).column(Column::Name).order_by_asc(Column::Search).limit(NAMES_MAX);
    Ok(names.into_tuple().all(db).await?)
}

/// How many assets have this profile.
///
/// # Errors
/// [`StoreError`].
pub async fn assets(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, StoreError> {
    Ok(asset::Entity::find().filter(asset::Column::ProfileId.eq(id)).count(db).await?)
}

/// How many asset profiles name this chain.
///
/// # Errors
/// [`StoreError`].
pub async fn of_chain(db: &impl ConnectionTrait, chain: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::ChainId.eq(chain)).count(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, profile: &AssetProfile) -> Result<(), StoreError> {
    let done = Entity::insert(row(profile)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::AssetProfile, UNIQUE))
}

/// `stored` is what it was: assets change with its name and its chain.
///
/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, stored: &AssetProfile, profile: &AssetProfile) -> Result<(), StoreError> {
    let done = row(profile).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::AssetProfile, UNIQUE))?;
    if stored.name == profile.name && stored.chain == profile.chain {
        return Ok(());
    }
    let of_profile = asset::Column::ProfileId.eq(profile.id);
    let ids: Vec<Uuid> = asset::Entity::find()
        .select_only()
        .column(asset::Column::Id)
        .filter(of_profile.clone())
        .into_tuple()
        .all(write.db())
        .await?;
    let revision = write.changed_all(EntityKind::Asset, &ids, false).await?;
    asset::Entity::update_many()
        .col_expr(asset::Column::Kind, Expr::value(profile.name.clone()))
        .col_expr(asset::Column::Revision, Expr::value(revision))
        .filter(of_profile)
        .exec(write.db())
        .await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    relation::delete_of(write, EntityKind::AssetProfile, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, tenant: Uuid, link: &PageLink) -> Result<Page<AssetProfile>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("name", Column::Search), ("description", Column::Description)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let select = Entity::find().filter(Column::TenantId.eq(tenant));
    Ok(page::page(db, select, listing, link).await?.map(AssetProfile::from))
}
