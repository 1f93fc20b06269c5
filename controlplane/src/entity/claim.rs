//! Rows of claims: devices that said they may be taken, until when, and the hash of the secret that proves it. Data planes know
//! nothing of claims, so they have no changes.

use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait,
    EnumIter, PrimaryKeyTrait, sea_query::OnConflict,
};
use uuid::Uuid;

use crate::entity::{StoreError, Write};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_claim")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: Uuid,
    pub tenant_id: Uuid,
    /// A hash, as hexadecimal text.
    pub secret: String,
    /// Milliseconds since the Unix epoch.
    pub until_ms: i64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim(of device {} until {})", self.device_id, self.until_ms)
    }
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn of_device(db: &impl ConnectionTrait, device: Uuid) -> Result<Option<Model>, StoreError> {
    Ok(Entity::find_by_id(device).one(db).await?)
}

/// The newest claim of a device is the one that counts.
///
/// # Errors
/// [`StoreError`].
pub async fn put(write: &mut Write, claim: Model) -> Result<(), StoreError> {
    let Model { device_id, tenant_id, secret, until_ms } = claim;
    let row = ActiveModel { device_id: Set(device_id), tenant_id: Set(tenant_id), secret: Set(secret), until_ms: Set(until_ms) };
    let replace = OnConflict::column(Column::DeviceId).update_columns([Column::Secret, Column::UntilMs]).to_owned();
    Entity::insert(row).on_conflict(replace).exec_without_returning(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, device: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(device).exec(write.db()).await?;
    Ok(())
}
