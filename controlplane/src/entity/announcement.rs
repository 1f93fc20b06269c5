//! What rule chains are still to be told of writes: rows of the same transaction, numbered in commit order, until a data plane has taken
//! them. As many as have room are kept; of what is written while there is none, nobody is told. Never calls a data plane.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use schemas::chain::MessageType;
use sea_orm::{
    ActiveModelBehavior,
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait,
    QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Func},
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    domain::{Announcement, End, EntityKind},
    entity::{StoreError, Write, heeded::Heeded},
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "announcement")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    /// The data plane has to have applied it before it is told.
    pub revision: i64,
    pub tenant_id: Uuid,
    /// ThingsBoard's entity type.
    pub entity_type: String,
    pub entity_id: Uuid,
    /// ThingsBoard's message type.
    pub kind: String,
    /// The chain to enter if the entity is gone by then.
    pub chain_id: Option<Uuid>,
    /// JSON, an object of texts.
    pub metadata: String,
    /// JSON.
    pub data: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// What is to be told.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn said(&self) -> Result<Announcement, StoreError> {
        let corrupt = |what: &str| {
            let rule = format!("{what} of {} cannot be read", self.number);
            StoreError::Corrupt { table: "announcement", rule }
        };
        let entity_type = EntityKind::parse(&self.entity_type).ok_or_else(|| corrupt("entity_type"))?;
        let kind = MessageType::parse(&self.kind).ok_or_else(|| corrupt("kind"))?;
        let metadata = serde_json::from_str(&self.metadata).map_err(|_| corrupt("metadata"))?;
        let (tenant, of) = (self.tenant_id, End { kind: entity_type, id: self.entity_id });
        Ok(Announcement { tenant, of, kind, chain: self.chain_id, metadata, data: self.data.clone() })
    }

    /// The text in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.metadata.len() + self.data.len()
    }
}

/// Rows that are kept, and the text in them, in bytes; what one write adds may exceed it.
const WAITING_MAX: u64 = if cfg!(test) { 2_000 } else { 200_000 };
const WAITING_BYTES_MAX: u64 = 256 << 20;
/// Rows in one INSERT or DELETE: keeps the bound variables far below SQLite's 32,766.
const ROWS_PER_STATEMENT_MAX: usize = 1_000;

/// How much waits, about: several control planes on one database count what they see.
#[derive(Debug, Default)]
pub struct Waiting {
    rows: AtomicU64,
    bytes: AtomicU64,
    left_out: AtomicU64,
    news: Notify,
    heeded: Heeded,
}

impl Waiting {
    /// Counts what is there.
    pub(super) async fn count(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let length = |column: Column| Expr::expr(Func::char_length(Expr::col(column)));
        let bytes = length(Column::Metadata).add(length(Column::Data)).sum().cast_as("bigint");
        let select = Entity::find().select_only().column_as(Column::Number.count(), "rows").column_as(bytes, "bytes");
        let (rows, bytes) = select.into_tuple::<(i64, Option<i64>)>().one(db).await?.unwrap_or_default();
        let count = |number: i64| AtomicU64::new(u64::try_from(number).unwrap_or(0));
        Ok(Self { rows: count(rows), bytes: count(bytes.unwrap_or(0)), ..Self::default() })
    }

    /// Resolves when something was written that is to be told.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// How often nobody is told, since the start, because there was no room.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// What the chains of a tenant heed, as this write leaves them.
    #[cfg(test)]
    pub(super) async fn heeded(&self, write: &Write, tenant: Uuid) -> std::sync::Arc<std::collections::HashSet<MessageType>> {
        self.heeded.of(write, tenant).await.expect("the database answers")
    }

    fn has_room(&self) -> bool {
        self.rows.load(Relaxed) < WAITING_MAX && self.bytes.load(Relaxed) < WAITING_BYTES_MAX
    }

    /// These are committed.
    pub(super) fn add(&self, added: &Added) {
        if added.rows > 0 {
            self.rows.fetch_add(added.rows, Relaxed);
            self.bytes.fetch_add(added.bytes, Relaxed);
            self.news.notify_one();
        }
        if added.left_out > 0 {
            let before = self.left_out.fetch_add(added.left_out, Relaxed);
            if before == 0 || before / 1_000 != (before + added.left_out) / 1_000 {
                tracing::warn!(
                    left_out = before + added.left_out,
                    "rule chains are not told of writes: too many wait for a data plane"
                );
            }
        }
    }

    fn remove(&self, rows: u64, bytes: u64) {
        for (count, gone) in [(&self.rows, rows), (&self.bytes, bytes)] {
            let less = |known: u64| Some(known.saturating_sub(gone));
            // It never refuses.
            let _before = count.fetch_update(Relaxed, Relaxed, less);
        }
    }
}

/// What a write adds to what waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    rows: u64,
    bytes: u64,
    left_out: u64,
}

/// Rows of one write, from this number on: of what some chain of its tenant could do anything with.
pub(super) async fn append(
    write: &Write,
    waiting: &Waiting,
    announcements: Vec<Announcement>,
    (first, revision): (i64, i64),
) -> Result<Added, StoreError> {
    let (mut added, has_room) = (Added::default(), waiting.has_room());
    let mut rows = Vec::with_capacity(announcements.len());
    let mut heeded = HashMap::new();
    for (number, announcement) in (first..).zip(announcements) {
        let Announcement { tenant, of, kind, chain, metadata, data } = announcement;
        let kinds = match heeded.entry(tenant) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(waiting.heeded.of(write, tenant).await?),
        };
        if !kinds.contains(&kind) {
            continue;
        }
        if !has_room {
            added.left_out += 1;
            continue;
        }
        let metadata = serde_json::json!(metadata).to_string();
        added.rows += 1;
        added.bytes += (metadata.len() + data.len()) as u64;
        rows.push(ActiveModel {
            number: Set(number),
            revision: Set(revision),
            tenant_id: Set(tenant),
            entity_type: Set(of.kind.name().to_owned()),
            entity_id: Set(of.id),
            kind: Set(kind.name().to_owned()),
            chain_id: Set(chain),
            metadata: Set(metadata),
            data: Set(data),
        });
    }
    for rows in rows.chunks(ROWS_PER_STATEMENT_MAX) {
        Entity::insert_many(rows.iter().cloned()).exec_without_returning(write.db()).await?;
    }
    Ok(added)
}

/// The next ones in the order of their numbers.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn after(db: &impl ConnectionTrait, number: i64, limit: u64) -> Result<Vec<Model>, StoreError> {
    let select = Entity::find().filter(Column::Number.gt(number)).order_by_asc(Column::Number).limit(limit);
    Ok(select.all(db).await?)
}

/// They were told.
///
/// # Errors
/// [`StoreError`].
pub async fn delete(write: &Write, told: &[&Model]) -> Result<(), StoreError> {
    for some in told.chunks(ROWS_PER_STATEMENT_MAX) {
        let numbers = some.iter().map(|row| row.number);
        Entity::delete_many().filter(Column::Number.is_in(numbers)).exec(write.db()).await?;
    }
    Ok(())
}

/// They are gone from the database.
pub fn forget(waiting: &Waiting, told: &[&Model]) {
    let bytes = told.iter().map(|row| row.bytes()).sum::<usize>();
    waiting.remove(told.len() as u64, bytes as u64);
}

/// A tenant is gone, and its chains with it.
pub(super) async fn delete_of_tenant(write: &mut Write, tenant: Uuid) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::TenantId.eq(tenant)).exec(write.db()).await?;
    Ok(())
}
