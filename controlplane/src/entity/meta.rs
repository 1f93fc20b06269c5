//! The installation's own values: the database's epoch, the key that signs sessions, how it was seeded.

use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait,
    EnumIter, PrimaryKeyTrait, sea_query::OnConflict,
};

use crate::entity::StoreError;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "meta")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The name of the database's life: another one means that revisions start over (DESIGN 25).
pub const EPOCH: &str = "epoch";
/// The secret that signs sessions, as hexadecimal text.
pub const JWT_KEY: &str = "jwt_key";
/// What device passwords are hashed with, as hexadecimal text (DESIGN 27). Never replaced: passwords could not be checked any more.
pub const CREDENTIAL_KEY: &str = "credential_key";
/// The revision at which data planes were last told of the installation; absent where they have always known it.
pub const INSTALLATION_REVISION: &str = "credential_key_revision";
/// ThingsBoard's admin settings `mail`, as JSON; absent until somebody sets them.
pub const MAIL: &str = "mail";
/// How the database was seeded: `demo` or `plain`.
pub const SEED: &str = "seed";

/// # Errors
/// [`StoreError`].
pub async fn get(db: &impl ConnectionTrait, name: &str) -> Result<Option<String>, StoreError> {
    Ok(Entity::find_by_id(name.to_owned()).one(db).await?.map(|row| row.value))
}

/// # Errors
/// [`StoreError`].
pub async fn set(db: &impl ConnectionTrait, name: &str, value: &str) -> Result<(), StoreError> {
    let row = ActiveModel { name: Set(name.to_owned()), value: Set(value.to_owned()) };
    let replace = OnConflict::column(Column::Name).update_column(Column::Value).to_owned();
    Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

/// Keeps what is there already, so that two control planes that start at once agree.
///
/// # Errors
/// [`StoreError`].
pub async fn set_once(db: &impl ConnectionTrait, name: &str, value: &str) -> Result<String, StoreError> {
    let row = ActiveModel { name: Set(name.to_owned()), value: Set(value.to_owned()) };
    let keep = OnConflict::column(Column::Name).do_nothing().to_owned();
    Entity::insert(row).on_conflict(keep).exec_without_returning(db).await?;
    let missing = || StoreError::Corrupt { table: "meta", rule: format!("{name} was written and is not there") };
    get(db, name).await?.ok_or_else(missing)
}
