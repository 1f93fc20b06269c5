//! Who did what, when: one row per write, in the same transaction. Append only.

use sea_orm::{
    ActiveModelBehavior, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait,
    EnumIter, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::entity::StoreError;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub tenant_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub user_name: String,
    pub action: String,
    pub entity_type: String,
    pub entity_id: Uuid,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What was done, with ThingsBoard's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Added,
    Updated,
    Deleted,
    Assigned,
    Unassigned,
    CredentialsUpdated,
    Provisioned,
    Login,
}

impl Action {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Assigned => "ASSIGNED_TO_CUSTOMER",
            Self::Unassigned => "UNASSIGNED_FROM_CUSTOMER",
            Self::CredentialsUpdated => "CREDENTIALS_UPDATED",
            Self::Provisioned => "PROVISION_SUCCESS",
            Self::Login => "LOGIN",
        }
    }
}

/// The newest rows about one entity.
///
/// # Errors
/// [`StoreError`].
pub async fn about(db: &impl ConnectionTrait, entity: Uuid, limit: u64) -> Result<Vec<Model>, StoreError> {
    Ok(Entity::find().filter(Column::EntityId.eq(entity)).order_by_desc(Column::Id).limit(limit).all(db).await?)
}
