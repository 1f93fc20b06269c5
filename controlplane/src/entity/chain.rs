//! Rows of rule chains with their metadata, which was checked before it came here.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, Page, PageLink, RuleChain},
    entity::{
        StoreError, Write, json,
        page::{self, Listing},
        profile, relation, unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rule_chain")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub name: String,
    pub search: String,
    pub root: bool,
    pub debug_mode: bool,
    pub first_node: Option<Uuid>,
    pub metadata: String,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for RuleChain {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, tenant_id: tenant, name, root, debug_mode, first_node, .. } = row;
        let additional_info = json(&row.additional_info);
        Self { id, created_ms, version, tenant, name, root, debug_mode, first_node, additional_info }
    }
}

/// Every column but the metadata.
fn row(chain: &RuleChain, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(chain.id),
        created_ms: Set(chain.created_ms),
        version: Set(chain.version),
        revision: Set(revision),
        tenant_id: Set(chain.tenant),
        name: Set(chain.name.clone()),
        search: Set(chain.name.to_lowercase()),
        root: Set(chain.root),
        debug_mode: Set(chain.debug_mode),
        first_node: Set(chain.first_node),
        additional_info: Set(chain.additional_info.to_string()),
        ..Default::default()
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<RuleChain>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(RuleChain::from))
}

/// # Errors
/// [`StoreError`].
pub async fn root_of(db: &impl ConnectionTrait, tenant: Uuid) -> Result<Option<RuleChain>, StoreError> {
    let root = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Root.eq(true));
    Ok(root.one(db).await?.map(RuleChain::from))
}

/// The oldest chain with this name.
///
/// # Errors
/// [`StoreError`].
pub async fn by_name(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<RuleChain>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Name.eq(name));
    Ok(named.order_by_asc(Column::CreatedMs).one(db).await?.map(RuleChain::from))
}

/// The chains whose metadata names this one.
///
/// # Errors
/// [`StoreError`].
pub async fn entering(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Vec<RuleChain>, StoreError> {
    let naming = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Metadata.contains(id.to_string()));
    Ok(naming.all(db).await?.into_iter().map(RuleChain::from).collect())
}

/// RuleChainMetaData as JSON text. The caller has made sure that the chain is its tenant's.
///
/// # Errors
/// [`StoreError`].
pub async fn metadata(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<String>, StoreError> {
    let query = Entity::find_by_id(id).select_only().column(Column::Metadata).into_tuple();
    Ok(query.one(db).await?)
}

/// How many chains a tenant has.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant)).count(db).await?)
}

/// How many device profiles name this chain.
///
/// # Errors
/// [`StoreError`].
pub async fn profiles(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, StoreError> {
    Ok(profile::Entity::find().filter(profile::Column::ChainId.eq(id)).count(db).await?)
}

/// # Errors
/// [`StoreError`].
pub async fn insert(write: &mut Write, chain: &RuleChain, metadata: &str) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::RuleChain, chain.id, false).await?;
    let row = ActiveModel { metadata: Set(metadata.to_owned()), ..row(chain, revision) };
    let done = Entity::insert(row).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::RuleChain, &[("id", "id")]))
}

/// # Errors
/// [`StoreError`].
pub async fn update(write: &mut Write, chain: &RuleChain) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::RuleChain, chain.id, false).await?;
    row(chain, revision).update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn update_metadata(write: &mut Write, chain: &RuleChain, metadata: &str) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::RuleChain, chain.id, false).await?;
    let row = ActiveModel { metadata: Set(metadata.to_owned()), ..row(chain, revision) };
    row.update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.changed(EntityKind::RuleChain, id, true).await?;
    relation::delete_of(write, EntityKind::RuleChain, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, tenant: Uuid, link: &PageLink) -> Result<Page<RuleChain>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("name", Column::Search), ("root", Column::Root)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let select = Entity::find().filter(Column::TenantId.eq(tenant));
    Ok(page::page(db, select, listing, link).await?.map(RuleChain::from))
}
