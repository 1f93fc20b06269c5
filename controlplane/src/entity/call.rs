//! Which device a persistent call belongs to, so that it is found by its id alone. Never holds a call's state: its shard does.

use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation,
    EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::entity::{StoreError, Write};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rpc_call")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub device_id: Uuid,
    pub created_ms: i64,
    pub expires_ms: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The device a call of this tenant belongs to.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn device_of(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Uuid>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(|row| row.device_id))
}

/// Is the id taken, by whatever tenant?
///
/// # Errors
/// [`StoreError`].
pub async fn is_known(db: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.is_some())
}

/// # Errors
/// [`StoreError`].
pub async fn insert(write: &mut Write, row: Model) -> Result<(), StoreError> {
    let Model { id, tenant_id, device_id, created_ms, expires_ms } = row;
    let row = ActiveModel {
        id: Set(id),
        tenant_id: Set(tenant_id),
        device_id: Set(device_id),
        created_ms: Set(created_ms),
        expires_ms: Set(expires_ms),
    };
    Entity::insert(row).exec_without_returning(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_device(write: &mut Write, device: Uuid) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::DeviceId.eq(device)).exec(write.db()).await?;
    Ok(())
}

/// Forgets the calls that ended before `expired_ms`: their shards have forgotten them too.
///
/// # Errors
/// [`StoreError`].
pub async fn trim(write: &mut Write, expired_ms: i64) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::ExpiresMs.lt(expired_ms)).exec(write.db()).await?;
    Ok(())
}
