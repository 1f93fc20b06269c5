//! Live watches of a shard's entities: who wants to know what. Updates leave only with their ticket (DESIGN 8.1, 3).

use std::collections::HashMap;

use foldhash::fast::RandomState;
use schemas::id::EntityId;
use tokio::sync::mpsc;

use super::ledger::Owed;
use crate::limits;
use crate::query::{Attribute, Series, Update, Watch, Watched, WatcherId};

#[derive(Debug)]
struct Row {
    watcher: WatcherId,
    watch: u32,
    what: Watched,
    keys: Vec<String>,
    updates: mpsc::Sender<Update>,
}

#[derive(Debug, Default)]
pub(super) struct Watches {
    rows: HashMap<EntityId, Vec<Row>, RandomState>,
    count: usize,
}

impl Watches {
    pub(super) fn is_watched(&self, entity: EntityId) -> bool {
        self.rows.contains_key(&entity)
    }

    /// Is there room for one more?
    pub(super) fn has_room(&self) -> bool {
        self.count < limits::WATCHES_PER_SHARD_MAX
    }

    pub(super) fn insert(&mut self, entity: EntityId, watch: Watch) {
        self.remove(entity, watch.watcher, Some(watch.watch));
        let Watch { watcher, watch, what, keys, updates } = watch;
        self.rows.entry(entity).or_default().push(Row { watcher, watch, what, keys, updates });
        self.count += 1;
    }

    /// Removes one watch of a watcher, or all of its watches of this entity.
    pub(super) fn remove(&mut self, entity: EntityId, watcher: WatcherId, watch: Option<u32>) {
        self.retain(entity, |row| row.watcher != watcher || watch.is_some_and(|watch| row.watch != watch));
    }

    /// What saved readings mean for this entity's watchers.
    pub(super) fn on_series(&self, entity: EntityId, series: &[Series]) -> Vec<Owed> {
        let wanted = |row: &&Row| row.what == Watched::Timeseries;
        let update = |row: &Row| {
            let series: Vec<Series> = series.iter().filter(|one| row.wants(&one.key)).cloned().collect();
            let update = Update { series, ..row.empty() };
            (!update.series.is_empty()).then(|| row.owed(entity, update))
        };
        self.of(entity).filter(wanted).filter_map(update).collect()
    }

    /// What changed attributes mean for this entity's watchers.
    pub(super) fn on_attributes(&self, entity: EntityId, changed: &[Attribute]) -> Vec<Owed> {
        let update = |row: &Row| {
            let Watched::Attributes(scope) = row.what else { return None };
            let wanted = |one: &&Attribute| scope.is_none_or(|scope| scope == one.scope) && row.wants(&one.key);
            let attributes: Vec<Attribute> = changed.iter().filter(wanted).cloned().collect();
            (!attributes.is_empty()).then(|| row.owed(entity, Update { attributes, ..row.empty() }))
        };
        self.of(entity).filter_map(update).collect()
    }

    /// What deleted attributes mean for this entity's watchers.
    pub(super) fn on_deleted(&self, entity: EntityId, scope: crate::message::Scope, keys: &[String]) -> Vec<Owed> {
        let update = |row: &Row| {
            let wanted = matches!(row.what, Watched::Attributes(watched) if watched.is_none_or(|watched| watched == scope));
            let deleted: Vec<String> = keys.iter().filter(|key| wanted && row.wants(key)).cloned().collect();
            (!deleted.is_empty()).then(|| row.owed(entity, Update { deleted, ..row.empty() }))
        };
        self.of(entity).filter_map(update).collect()
    }

    /// Sends an update whose ticket is durable. False when the watcher was too slow and is cut: all its watches end.
    pub(super) fn send(&mut self, entity: EntityId, watcher: WatcherId, update: Update) -> bool {
        let sent = match self.of(entity).find(|row| row.watcher == watcher && row.watch == update.watch) {
            Some(row) => row.updates.try_send(update).is_ok(),
            // It was taken back while its update waited for the ticket.
            None => return true,
        };
        if !sent {
            self.cut(watcher);
        }
        sent
    }

    /// Drops every sender of a watcher, which ends its stream.
    fn cut(&mut self, watcher: WatcherId) {
        let entities: Vec<EntityId> = self.rows.keys().copied().collect();
        for entity in entities {
            self.remove(entity, watcher, None);
        }
    }

    /// Forgets everything: the store generation ended, or the shard drains.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.count = 0;
    }

    fn of(&self, entity: EntityId) -> impl Iterator<Item = &Row> {
        self.rows.get(&entity).into_iter().flatten()
    }

    fn retain(&mut self, entity: EntityId, keep: impl Fn(&Row) -> bool) {
        if let Some(rows) = self.rows.get_mut(&entity) {
            let before = rows.len();
            rows.retain(keep);
            self.count -= before - rows.len();
            if rows.is_empty() {
                self.rows.remove(&entity);
            }
        }
    }
}

impl Row {
    fn wants(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|wanted| wanted == key)
    }

    fn empty(&self) -> Update {
        Update {
            watch: self.watch,
            snapshot: false,
            series: Vec::new(),
            attributes: Vec::new(),
            deleted: Vec::new(),
            error: None,
        }
    }

    fn owed(&self, entity: EntityId, update: Update) -> Owed {
        Owed::Update { watcher: self.watcher, entity, update }
    }
}
