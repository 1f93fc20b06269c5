//! Rows of relations. Data planes are told of those of the common group. Nothing refers to the ends: whoever deletes an entity
//! calls [`delete_of`]. Never asks whether the ends exist.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DeriveEntityModel,
    DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, ExprTrait, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::{
    domain::{Arrow, End, EntityKind, Relation as Arrowed, RelationGroup, Side},
    entity::{StoreError, Write, json, unique},
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "relation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub from_kind: String,
    pub from_id: Uuid,
    pub to_kind: String,
    pub to_id: Uuid,
    pub kind: String,
    pub kind_group: String,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Ends in one query: keeps the bound variables far below SQLite's 32,766.
const ENDS_PER_QUERY_MAX: usize = 1_000;

impl Model {
    /// The ends as they were written.
    pub(super) fn arrow(&self) -> Result<Arrow, StoreError> {
        let corrupt = |rule: &str| StoreError::Corrupt { table: "relation", rule: format!("{}: {rule}", self.id) };
        let kind = |name: &str| EntityKind::parse(name).ok_or_else(|| corrupt("unknown entity kind"));
        Ok(Arrow {
            from: End { kind: kind(&self.from_kind)?, id: self.from_id },
            to: End { kind: kind(&self.to_kind)?, id: self.to_id },
            kind: self.kind.clone(),
            group: RelationGroup::parse(&self.kind_group).ok_or_else(|| corrupt("unknown group"))?,
        })
    }

    fn read(self) -> Result<Arrowed, StoreError> {
        let arrow = self.arrow()?;
        Ok(Arrowed { id: self.id, version: self.version, arrow, additional_info: json(&self.additional_info) })
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, arrow: &Arrow) -> Result<Option<Arrowed>, StoreError> {
    let found = Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::FromId.eq(arrow.from.id))
        .filter(Column::KindGroup.eq(arrow.group.name()))
        .filter(Column::Kind.eq(arrow.kind.as_str()))
        .filter(Column::ToId.eq(arrow.to.id));
    found.one(db).await?.map(Model::read).transpose()
}

/// Relations of one group that have one of these entities on this side, of one type if there is one, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn of_ends(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    (side, ends): (Side, &[Uuid]),
    (group, kind): (RelationGroup, Option<&str>),
    limit: u64,
) -> Result<Vec<Arrowed>, StoreError> {
    let mut found = Vec::new();
    let on_side = match side {
        Side::From => Column::FromId,
        Side::To => Column::ToId,
    };
    for ends in ends.chunks(ENDS_PER_QUERY_MAX) {
        let mut select = Entity::find()
            .filter(Column::TenantId.eq(tenant))
            .filter(on_side.is_in(ends.iter().copied()))
            .filter(Column::KindGroup.eq(group.name()));
        if let Some(kind) = kind {
            select = select.filter(Column::Kind.eq(kind));
        }
        let left = limit.saturating_sub(found.len() as u64);
        for row in select.order_by_asc(Column::Id).limit(left).all(db).await? {
            found.push(row.read()?);
        }
    }
    Ok(found)
}

/// # Errors
/// [`StoreError::Duplicate`] where there is such a relation.
pub async fn insert(write: &mut Write, tenant: Uuid, relation: &Arrowed) -> Result<(), StoreError> {
    let revision = told(write, relation, false).await?;
    let done = Entity::insert(row(tenant, relation, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Relation, &[("kind", "type")]))
}

/// # Errors
/// [`StoreError`].
pub async fn update(write: &mut Write, tenant: Uuid, relation: &Arrowed) -> Result<(), StoreError> {
    let revision = told(write, relation, false).await?;
    row(tenant, relation, revision).update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, relation: &Arrowed) -> Result<(), StoreError> {
    told(write, relation, true).await?;
    Entity::delete_by_id(relation.id).exec(write.db()).await?;
    Ok(())
}

/// Every relation of an entity, in both directions, that is about to go.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_of(write: &mut Write, kind: EntityKind, id: Uuid) -> Result<(), StoreError> {
    delete_where(write, at(End { kind, id })).await
}

/// The relations of one group that an entity has, in both directions.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_group_of(write: &mut Write, end: End, group: RelationGroup) -> Result<(), StoreError> {
    delete_where(write, at(end).add(Column::KindGroup.eq(group.name()))).await
}

/// Everything of a tenant.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn delete_of_tenant(write: &mut Write, tenant: Uuid) -> Result<(), StoreError> {
    delete_where(write, Condition::all().add(Column::TenantId.eq(tenant))).await
}

fn at(end: End) -> Condition {
    let from = Column::FromId.eq(end.id).and(Column::FromKind.eq(end.kind.name()));
    let to = Column::ToId.eq(end.id).and(Column::ToKind.eq(end.kind.name()));
    Condition::all().add(Condition::any().add(from).add(to))
}

async fn delete_where(write: &mut Write, gone: Condition) -> Result<(), StoreError> {
    let common = Entity::find().select_only().column(Column::Id).filter(gone.clone());
    let common = common.filter(Column::KindGroup.eq(RelationGroup::Common.name()));
    let ids: Vec<Uuid> = common.into_tuple().all(write.db()).await?;
    write.changed_all(EntityKind::Relation, &ids, true).await?;
    Entity::delete_many().filter(gone).exec(write.db()).await?;
    Ok(())
}

/// The revision that the row carries; rows that data planes are not told of carry none.
async fn told(write: &mut Write, relation: &Arrowed, deleted: bool) -> Result<i64, StoreError> {
    match relation.arrow.group {
        RelationGroup::Common => write.changed(EntityKind::Relation, relation.id, deleted).await,
        _ => Ok(0),
    }
}

fn row(tenant: Uuid, relation: &Arrowed, revision: i64) -> ActiveModel {
    let Arrow { from, to, kind, group } = &relation.arrow;
    ActiveModel {
        id: Set(relation.id),
        version: Set(relation.version),
        revision: Set(revision),
        tenant_id: Set(tenant),
        from_kind: Set(from.kind.name().to_owned()),
        from_id: Set(from.id),
        to_kind: Set(to.kind.name().to_owned()),
        to_id: Set(to.id),
        kind: Set(kind.clone()),
        kind_group: Set(group.name().to_owned()),
        additional_info: Set(relation.additional_info.to_string()),
    }
}
