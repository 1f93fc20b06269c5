//! Rows of device credentials: one access token per device, unique on the whole installation.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{Credential, EntityKind},
    entity::{StoreError, Write, unique},
};

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_credential")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub device_id: Uuid,
    pub token: String,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} of device {})", self.id, self.device_id)
    }
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for Credential {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, tenant_id: tenant, device_id: device, token, .. } = row;
        Self { id, created_ms, version, tenant, device, token }
    }
}

fn row(credential: &Credential, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(credential.id),
        created_ms: Set(credential.created_ms),
        version: Set(credential.version),
        revision: Set(revision),
        tenant_id: Set(credential.tenant),
        device_id: Set(credential.device),
        token: Set(credential.token.clone()),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn of_device(db: &impl ConnectionTrait, device: Uuid) -> Result<Option<Credential>, StoreError> {
    Ok(Entity::find().filter(Column::DeviceId.eq(device)).one(db).await?.map(Credential::from))
}

/// Those that show one of `tokens`, of any tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn by_tokens(db: &impl ConnectionTrait, tokens: Vec<String>) -> Result<Vec<Credential>, StoreError> {
    Ok(Entity::find().filter(Column::Token.is_in(tokens)).all(db).await?.into_iter().map(Credential::from).collect())
}

/// All together; at most some hundred at once, for the sake of the bound variables.
///
/// # Errors
/// [`StoreError::Duplicate`] for a token.
pub async fn insert_all(write: &mut Write, credentials: &[Credential]) -> Result<(), StoreError> {
    if credentials.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = credentials.iter().map(|credential| credential.id).collect();
    let revisions = write.changed_each(EntityKind::Credential, &ids).await?;
    let rows = credentials.iter().zip(revisions).map(|(credential, revision)| row(credential, revision));
    let done = Entity::insert_many(rows).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Credential, &[("token", "credentialsId")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the token.
pub async fn insert(write: &mut Write, credential: &Credential) -> Result<(), StoreError> {
    insert_all(write, std::slice::from_ref(credential)).await
}

/// # Errors
/// [`StoreError::Duplicate`] for the token.
pub async fn update(write: &mut Write, credential: &Credential) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Credential, credential.id, false).await?;
    let done = row(credential, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Credential, &[("token", "credentialsId")]))
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_device(write: &mut Write, device: Uuid) -> Result<(), StoreError> {
    if let Some(stored) = of_device(write.db(), device).await? {
        write.changed(EntityKind::Credential, stored.id, true).await?;
        Entity::delete_by_id(stored.id).exec(write.db()).await?;
    }
    Ok(())
}
