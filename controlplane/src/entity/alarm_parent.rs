//! Rows of what an alarm is propagated to along relations: whom its originator belonged to when that was said (DESIGN 8.6, 23). They go
//! with their alarm, and with what it was propagated to.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use schemas::alarm::Alarm;
use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation,
    EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter, QuerySelect, QueryTrait, sea_query::SelectStatement,
};
use uuid::Uuid;

use crate::{
    domain::{RelationGroup, Side},
    entity::{StoreError, Write, relation},
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm_parent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub alarm_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub entity_id: Uuid,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Relations that one walk passes, and levels that it goes.
const RELATIONS_MAX: usize = 1_000;
const LEVELS_MAX: u32 = 100;
/// Rows in one INSERT, and ids in one query: keeps the bound variables far below SQLite's 32,766.
const ROWS_PER_QUERY_MAX: usize = 1_000;

/// Relation types along which an alarm is propagated, as its row says it; `None`: along none.
#[must_use]
pub(super) fn along(alarm: &Alarm) -> Option<String> {
    let propagation = &alarm.propagation;
    propagation.along_relations.then(|| serde_json::json!(propagation.relation_types).to_string())
}

/// Propagates these alarms, which are stored, to whom their originators belong now, and to nobody else. As in ThingsBoard the walk follows
/// relations of any type, and those of the alarm's types lead to those who see it.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub(super) async fn spread(write: &mut Write, alarms: &[&Alarm]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = alarms.iter().map(|alarm| alarm.id).collect();
    delete_of_alarms(write, &ids).await?;
    let mut above = HashMap::new();
    let mut rows = Vec::new();
    for alarm in alarms.iter().filter(|alarm| alarm.propagation.along_relations) {
        let originator = alarm.originator.0;
        let passed = match above.entry(originator) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(walk(write.db(), alarm.tenant.0, originator).await?),
        };
        let types = &alarm.propagation.relation_types;
        let leads = passed.iter().filter(|(_, kind)| types.is_empty() || types.contains(kind));
        let seen: HashSet<Uuid> = leads.map(|(parent, _)| *parent).collect();
        rows.extend(seen.into_iter().map(|parent| ActiveModel { alarm_id: Set(alarm.id), entity_id: Set(parent) }));
    }
    for some in rows.chunks(ROWS_PER_QUERY_MAX) {
        Entity::insert_many(some.to_vec()).exec_without_returning(write.db()).await?;
    }
    Ok(())
}

/// Where relations come from that lead to an entity, level by level, each with its type. What is beyond the bounds is left out.
async fn walk(db: &impl ConnectionTrait, tenant: Uuid, from: Uuid) -> Result<Vec<(Uuid, String)>, StoreError> {
    let (mut frontier, mut seen, mut passed) = (vec![from], HashSet::from([from]), Vec::new());
    for _ in 0..LEVELS_MAX {
        let left = (RELATIONS_MAX - passed.len()) as u64;
        if frontier.is_empty() || left == 0 {
            break;
        }
        let found = relation::of_ends(db, tenant, (Side::To, &frontier), (RelationGroup::Common, None), left).await?;
        frontier = found.iter().map(|relation| relation.arrow.from.id).filter(|id| seen.insert(*id)).collect();
        passed.extend(found.into_iter().map(|relation| (relation.arrow.from.id, relation.arrow.kind)));
    }
    Ok(passed)
}

/// The alarms that are propagated to an entity, to be asked within another query.
#[must_use]
pub(super) fn of(entities: impl IntoIterator<Item = Uuid>) -> SelectStatement {
    Entity::find().select_only().column(Column::AlarmId).filter(Column::EntityId.is_in(entities)).into_query()
}

/// For each of these alarms that is propagated to one of `among`, which one.
///
/// # Errors
/// [`StoreError`].
pub async fn through(db: &impl ConnectionTrait, alarms: &[Uuid], among: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, StoreError> {
    let wanted: HashSet<Uuid> = among.iter().copied().collect();
    let mut found = HashMap::new();
    for some in alarms.chunks(ROWS_PER_QUERY_MAX) {
        let rows = Entity::find().filter(Column::AlarmId.is_in(some.iter().copied())).all(db).await?;
        found.extend(rows.into_iter().filter(|row| wanted.contains(&row.entity_id)).map(|row| (row.alarm_id, row.entity_id)));
    }
    Ok(found)
}

/// # Errors
/// [`StoreError`].
pub(super) async fn delete_of_alarms(write: &mut Write, alarms: &[Uuid]) -> Result<(), StoreError> {
    for some in alarms.chunks(ROWS_PER_QUERY_MAX) {
        Entity::delete_many().filter(Column::AlarmId.is_in(some.iter().copied())).exec(write.db()).await?;
    }
    Ok(())
}

/// Those of the alarms that a query finds.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn delete_within(write: &mut Write, alarms: SelectStatement) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::AlarmId.in_subquery(alarms)).exec(write.db()).await?;
    Ok(())
}

/// What was propagated to an entity that is about to go.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn delete_of_entity(write: &mut Write, entity: Uuid) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::EntityId.eq(entity)).exec(write.db()).await?;
    Ok(())
}
