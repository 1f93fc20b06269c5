//! Rows of what is said of alarms, by people and by the platform. They go with their alarm.

use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation,
    EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter, sea_query::Expr,
};
use uuid::Uuid;

use crate::{
    domain::{Page, PageLink},
    entity::{
        StoreError, Write,
        page::{self, Listing},
    },
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm_comment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub alarm_id: Uuid,
    pub created_ms: i64,
    /// Who said it; nobody: the platform.
    pub user_id: Option<Uuid>,
    /// ThingsBoard's SYSTEM or OTHER.
    pub kind: String,
    /// JSON text.
    pub comment: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, alarm: Uuid, id: Uuid) -> Result<Option<Model>, StoreError> {
    Ok(Entity::find_by_id(id).filter(Column::AlarmId.eq(alarm)).one(db).await?)
}

/// # Errors
/// [`StoreError`].
pub async fn insert(write: &mut Write, row: Model) -> Result<(), StoreError> {
    let Model { id, alarm_id, created_ms, user_id, kind, comment } = row;
    let row = ActiveModel {
        id: Set(id),
        alarm_id: Set(alarm_id),
        created_ms: Set(created_ms),
        user_id: Set(user_id),
        kind: Set(kind),
        comment: Set(comment),
    };
    Entity::insert(row).exec_without_returning(write.db()).await?;
    Ok(())
}

/// Says it otherwise.
///
/// # Errors
/// [`StoreError`].
pub async fn update(write: &mut Write, id: Uuid, kind: &str, comment: &str) -> Result<(), StoreError> {
    let changed = Entity::update_many()
        .col_expr(Column::Kind, Expr::value(kind))
        .col_expr(Column::Comment, Expr::value(comment))
        .filter(Column::Id.eq(id));
    changed.exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_alarms(write: &mut Write, alarms: &[Uuid]) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::AlarmId.is_in(alarms.iter().copied())).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, alarm: Uuid, link: &PageLink) -> Result<Page<Model>, StoreError> {
    let listing = Listing { id: Column::Id, search: Column::Comment, sort: &[("createdTime", Column::CreatedMs)] };
    page::page(db, Entity::find().filter(Column::AlarmId.eq(alarm)), listing, link).await
}
