//! The log of what data planes need to know: revision, entity, and whether it is gone. The entity itself is read from its
//! row, so that a data plane always gets the current one.

use sea_orm::{
    ActiveModelBehavior, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait,
    EnumIter, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

use crate::{domain::EntityKind, entity::StoreError};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "change_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision: i64,
    pub kind: i64,
    pub entity_id: Uuid,
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The one row that numbers revisions.
pub mod counter {
    use sea_orm::{
        ActiveModelBehavior, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait,
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "revision_counter")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub revision: i64,
        /// Of announcements.
        pub announced: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub revision: u64,
    pub kind: EntityKind,
    pub id: Uuid,
    pub deleted: bool,
}

/// Numbers on disk: append only.
pub(super) fn number(kind: EntityKind) -> i64 {
    match kind {
        EntityKind::Tenant => 1,
        EntityKind::DeviceProfile => 2,
        EntityKind::Device => 3,
        EntityKind::Credential => 4,
        EntityKind::RuleChain => 5,
        EntityKind::Customer => 6,
        EntityKind::User => 7,
        EntityKind::Installation => 8,
        EntityKind::TenantProfile => 9,
        EntityKind::Asset => 10,
        EntityKind::Relation => 11,
        EntityKind::CalculatedField => 20,
        // Data planes are never told of these; their numbers leave room for kinds they are told of.
        EntityKind::OtaPackage => 100,
        EntityKind::Rpc => 101,
        EntityKind::AssetProfile => 103,
    }
}

fn kind(number: i64) -> Result<EntityKind, StoreError> {
    EntityKind::ALL
        .into_iter()
        .find(|kind| self::number(*kind) == number)
        .ok_or_else(|| StoreError::Corrupt { table: "change_log", rule: format!("no entity kind has number {number}") })
}

/// Takes the row lock under which revisions are given out, until the transaction ends.
pub(super) async fn lock(db: &impl ConnectionTrait) -> Result<(), StoreError> {
    counter::Entity::update_many()
        .col_expr(counter::Column::Revision, Expr::col(counter::Column::Revision))
        .filter(counter::Column::Id.eq(1))
        .exec(db)
        .await?;
    Ok(())
}

/// The last revision given out.
pub(crate) async fn head(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    Ok(heads(db).await?.revision)
}

/// The last numbers given out.
pub(super) async fn heads(db: &impl ConnectionTrait) -> Result<counter::Model, StoreError> {
    let row = counter::Entity::find_by_id(1).one(db).await?;
    row.ok_or_else(|| StoreError::Corrupt { table: "revision_counter", rule: "has no row".to_owned() })
}

pub(super) async fn set_heads(db: &impl ConnectionTrait, revision: i64, announced: i64) -> Result<(), StoreError> {
    counter::Entity::update_many()
        .col_expr(counter::Column::Revision, Expr::value(revision))
        .col_expr(counter::Column::Announced, Expr::value(announced))
        .filter(counter::Column::Id.eq(1))
        .exec(db)
        .await?;
    Ok(())
}

/// The oldest revision still in the log; `None` when it is empty.
///
/// # Errors
/// [`StoreError`].
pub async fn tail(db: &impl ConnectionTrait) -> Result<Option<u64>, StoreError> {
    let row = Entity::find().order_by_asc(Column::Revision).one(db).await?;
    Ok(row.and_then(|row| u64::try_from(row.revision).ok()))
}

/// At most `limit` entries after revision `after`, in order.
///
/// # Errors
/// [`StoreError`].
pub async fn after(db: &impl ConnectionTrait, after: u64, limit: u64) -> Result<Vec<Entry>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = Entity::find().filter(Column::Revision.gt(after)).order_by_asc(Column::Revision).limit(limit).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let revision = u64::try_from(row.revision).unwrap_or(0);
            Ok(Entry { revision, kind: kind(row.kind)?, id: row.entity_id, deleted: row.deleted })
        })
        .collect()
}
