//! A write under way: one transaction that holds the revision lock, so that commit order is number order (DESIGN 25).
//! Dropping it rolls everything back.

use std::sync::Arc;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, sea_query::Expr, sea_query::ExprTrait,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{Announcement, EntityKind},
    entity::{
        StoreError,
        announcement::{self, Waiting},
        audit, change_log,
    },
};

/// Rows in one INSERT: keeps the bound variables far below SQLite's 32,766.
const ROWS_PER_INSERT_MAX: usize = 1_000;
/// How many revisions pass between two trims of the log.
const TRIM_EVERY: i64 = 1_024;

/// Who writes, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// `None`: Tidegate itself.
    pub user: Option<Uuid>,
    pub name: String,
}

impl Author {
    /// Tidegate itself, e.g. when it seeds a new database.
    #[must_use]
    pub fn system() -> Self {
        Self { user: None, name: "Tidegate".to_owned() }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Write {
    tx: DatabaseTransaction,
    author: Author,
    now_ms: i64,
    log_rows_max: i64,
    /// The counter when the write began, and now.
    began: i64,
    revision: i64,
    /// The last number of an announcement when the write began.
    announced: i64,
    announcements: Vec<Announcement>,
    changes_chains: bool,
    waiting: Arc<Waiting>,
}

impl Write {
    /// Takes the revision lock at once, also where nothing may get a number: on PostgreSQL this makes writers serial, as they
    /// are on SQLite, so a check inside the write still holds at its commit.
    pub(super) async fn begin(
        tx: DatabaseTransaction,
        author: Author,
        now_ms: i64,
        log_rows_max: i64,
        waiting: Arc<Waiting>,
    ) -> Result<Self, StoreError> {
        change_log::lock(&tx).await?;
        let heads = change_log::heads(&tx).await?;
        let (began, announced) = (heads.revision, heads.announced);
        let (announcements, changes_chains, revision) = (Vec::new(), false, began);
        Ok(Self { tx, author, now_ms, log_rows_max, began, revision, announced, announcements, changes_chains, waiting })
    }

    /// For reads inside the write.
    #[must_use]
    pub fn db(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// Milliseconds since the Unix epoch at which this write happens.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Appends to the change log; the entity's row must carry the revision returned.
    pub(super) async fn changed(&mut self, kind: EntityKind, id: Uuid, deleted: bool) -> Result<i64, StoreError> {
        self.changed_all(kind, &[id], deleted).await
    }

    /// One change each; returns the last revision.
    pub(super) async fn changed_all(&mut self, kind: EntityKind, ids: &[Uuid], deleted: bool) -> Result<i64, StoreError> {
        self.changes_chains |= kind == EntityKind::RuleChain;
        for ids in ids.chunks(ROWS_PER_INSERT_MAX) {
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                self.revision += 1;
                rows.push(change_log::ActiveModel {
                    revision: Set(self.revision),
                    kind: Set(change_log::number(kind)),
                    entity_id: Set(*id),
                    deleted: Set(deleted),
                });
            }
            change_log::Entity::insert_many(rows).exec_without_returning(&self.tx).await?;
        }
        Ok(self.revision)
    }

    /// One change each; returns the revision of each, which its row must carry.
    pub(super) async fn changed_each(
        &mut self,
        kind: EntityKind,
        ids: &[Uuid],
    ) -> Result<std::ops::RangeInclusive<i64>, StoreError> {
        let first = self.revision + 1;
        Ok(first..=self.changed_all(kind, ids, false).await?)
    }

    /// Appends to the audit log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(
        &mut self,
        action: audit::Action,
        kind: EntityKind,
        id: Uuid,
        tenant: Option<Uuid>,
    ) -> Result<(), StoreError> {
        self.audit_all(action, kind, &[id], tenant).await
    }

    /// One line each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_all(
        &mut self,
        action: audit::Action,
        kind: EntityKind,
        ids: &[Uuid],
        tenant: Option<Uuid>,
    ) -> Result<(), StoreError> {
        self.record(&audit::Deed { action, kind, ids, tenant, data: Value::Null }).await?;
        Ok(())
    }

    /// One line for each entity of the deed; returns their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&mut self, deed: &audit::Deed<'_>) -> Result<Vec<Uuid>, StoreError> {
        audit::append(self, &self.author, deed).await
    }

    /// Has the entity's rule chain told of this write, once data planes have applied it.
    pub fn announce(&mut self, announcement: Announcement) {
        self.announcements.push(announcement);
    }

    /// Whether it changes or deletes a chain.
    pub(super) fn changes_chains(&self) -> bool {
        self.changes_chains
    }

    /// Who writes.
    #[must_use]
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Makes it durable. Returns the last revision of this write, `None` when data planes need nothing of it.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn commit(mut self) -> Result<Option<u64>, StoreError> {
        let announcements = std::mem::take(&mut self.announcements);
        if self.revision == self.began && announcements.is_empty() {
            self.tx.commit().await?;
            return Ok(None);
        }
        // Later than every number that was ever given, also of a database that this one was restored from.
        let first = std::cmp::max(self.now_ms.saturating_mul(1_000), self.announced + 1);
        let last = first + i64::try_from(announcements.len()).unwrap_or(0) - 1;
        let added = announcement::append(&self, &self.waiting, announcements, (first, self.revision)).await?;
        change_log::set_heads(&self.tx, self.revision, std::cmp::max(last, self.announced)).await?;
        self.trim().await?;
        self.tx.commit().await?;
        self.waiting.add(&added);
        Ok(u64::try_from(self.revision).ok().filter(|_| self.revision != self.began))
    }

    /// Drops what nobody needs of the log any more, now and then.
    async fn trim(&self) -> Result<(), StoreError> {
        if self.began / TRIM_EVERY != self.revision / TRIM_EVERY || self.log_rows_max < TRIM_EVERY {
            let last_dropped = self.revision.saturating_sub(self.log_rows_max);
            change_log::Entity::delete_many()
                .filter(Expr::col(change_log::Column::Revision.as_column_ref()).lte(last_dropped))
                .exec(&self.tx)
                .await?;
        }
        Ok(())
    }
}
