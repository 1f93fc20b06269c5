//! The order in which a set of changes takes effect: credentials that end, then shards, then credentials that begin.
//! So a token never admits a device that its shard does not know yet or no more. Never reads a wire or a file.

use std::{collections::HashMap, sync::Arc};

use schemas::{
    config::{Change, ChangeBody, Credential},
    id::{CredentialId, DeviceId, Revision, TenantId},
};
use tokio::sync::Notify;

use crate::limits;
use crate::quota;
use crate::shard::{Applied, Event, Shards};
use crate::snapshot::directory::DirectoryWriter;
use crate::snapshot::{ShardChange, compile};

/// The one writer of the directory and the one poster of configuration.
#[derive(Debug)]
pub(super) struct Applier {
    shards: Shards,
    directory: DirectoryWriter,
    /// Credentials met since the full state began, with the revision met last.
    seen: Option<HashMap<CredentialId, Revision>>,
    /// The limits of every tenant, which its shards share.
    quotas: HashMap<TenantId, Arc<quota::Tenant>>,
}

/// What a set of changes means for the directory. The last word on a credential counts.
#[derive(Debug, Default)]
struct Credentials {
    begin: HashMap<CredentialId, (usize, Credential)>,
    end: Vec<CredentialId>,
    devices_gone: HashMap<DeviceId, usize>,
}

impl Applier {
    pub(super) fn new(shards: Shards, directory: DirectoryWriter) -> Self {
        Self { shards, directory, seen: None, quotas: HashMap::new() }
    }

    /// Returns when every shard has applied the changes and the directory has followed. Names the credentials that ended
    /// only because their device did, for the cache.
    pub(super) async fn apply(&mut self, changes: &[Change]) -> Vec<CredentialId> {
        let mut credentials = self.sort(changes);
        let mut ended_with_device = credentials.drop_those_of_gone_devices();
        let mut revoked = Vec::new();
        for id in &credentials.end {
            revoked.extend(self.end(*id));
        }
        for device in credentials.devices_gone.keys() {
            for id in self.directory.of_device(*device) {
                // The deletion itself closes the device's session.
                self.directory.remove(id);
                ended_with_device.push(id);
            }
        }
        for (_, credential) in credentials.begin.values() {
            if self.directory.replaces(credential.id, credential.device, &credential.token_sha256) {
                revoked.extend(self.end(credential.id));
            }
        }
        let compiled: Vec<ShardChange> = changes.iter().filter_map(|change| self.compile(change)).collect();
        self.post(compiled.into_iter().chain(revoked)).await;
        for (_, credential) in credentials.begin.values() {
            self.directory.insert(credential.id, credential.device, &credential.token_sha256);
        }
        ended_with_device
    }

    /// Limits that are pushed again keep the buckets that did not change, and count the connections that are open.
    fn compile(&mut self, change: &Change) -> Option<ShardChange> {
        if let ChangeBody::TenantDeleted(id) = &change.body {
            self.quotas.remove(id);
        }
        let ChangeBody::Tenant(tenant) = &change.body else { return compile(change) };
        let quota = match self.quotas.get(&tenant.id) {
            Some(known) => known.changed(&tenant.limits),
            None => quota::Tenant::new(&tenant.limits),
        };
        self.quotas.insert(tenant.id, Arc::clone(&quota));
        Some(ShardChange::Tenant(tenant.id, quota, Arc::clone(&tenant.details)))
    }

    /// A full state begins: from here on everything sent is remembered as sent.
    pub(super) async fn begin_full(&mut self) {
        self.seen = Some(HashMap::new());
        self.post([ShardChange::Mark]).await;
    }

    /// The full state is complete: whatever was not sent is forgotten, credentials first.
    pub(super) async fn end_full(&mut self) {
        let seen = self.seen.take().unwrap_or_default();
        let unseen: Vec<CredentialId> = self.directory.credentials().filter(|id| !seen.contains_key(id)).collect();
        for ids in unseen.chunks(limits::CHANGES_PER_EVENT_MAX) {
            let revoked: Vec<ShardChange> = ids.iter().filter_map(|id| self.end(*id)).collect();
            self.post(revoked).await;
        }
        self.post([ShardChange::Sweep]).await;
        self.whole().await;
    }

    /// What all shards hold is whole: they may act on what it does not name.
    pub(super) async fn whole(&mut self) {
        self.post([ShardChange::Whole]).await;
    }

    /// The full state broke off: nothing is forgotten.
    pub(super) fn abandon_full(&mut self) {
        self.seen = None;
    }

    fn end(&mut self, credential: CredentialId) -> Option<ShardChange> {
        self.directory.remove(credential).map(|device| ShardChange::CredentialRevoked { device, credential })
    }

    fn sort(&mut self, changes: &[Change]) -> Credentials {
        let mut sorted = Credentials::default();
        for (at, change) in changes.iter().enumerate() {
            match &change.body {
                ChangeBody::Credential(credential) if self.is_news(credential.id, change.revision) => {
                    sorted.begin.insert(credential.id, (at, credential.clone()));
                }
                ChangeBody::CredentialDeleted(id) if self.is_news(*id, change.revision) => {
                    sorted.begin.remove(id);
                    sorted.end.push(*id);
                }
                ChangeBody::DeviceDeleted(id) => {
                    sorted.devices_gone.insert(*id, at);
                }
                _ => {}
            }
        }
        sorted
    }

    /// A full state sends rows and then the log since it began, which may be older than the row (DESIGN 25): a token
    /// that the row has already replaced must not work again for that moment.
    fn is_news(&mut self, credential: CredentialId, revision: Revision) -> bool {
        let Some(seen) = &mut self.seen else { return true };
        let newest = seen.entry(credential).or_insert(revision);
        let news = revision >= *newest;
        *newest = revision.max(*newest);
        news
    }

    /// Posts to the shards that a change concerns, and waits until all have applied.
    async fn post(&self, changes: impl IntoIterator<Item = ShardChange>) {
        let mailboxes = self.shards.all();
        let mut per_shard = vec![Vec::new(); mailboxes.len()];
        for change in changes {
            for (shard, changes) in per_shard.iter_mut().enumerate() {
                if change.concerns(|partition| usize::from(self.shards.shard_of(partition)) == shard) {
                    changes.push(change.clone());
                }
            }
        }
        let mut events = Vec::new();
        for (mailbox, changes) in mailboxes.iter().zip(per_shard) {
            let mut changes = changes.into_iter().peekable();
            while changes.peek().is_some() {
                let chunk: Vec<ShardChange> = changes.by_ref().take(limits::CHANGES_PER_EVENT_MAX).collect();
                events.push((mailbox, Arc::new(chunk)));
            }
        }
        if events.is_empty() {
            return;
        }
        let all_applied = Arc::new(Notify::new());
        let notify = Arc::clone(&all_applied);
        let applied = Applied::new(events.len(), move || notify.notify_one());
        for ((mailbox, changes), applied) in events.into_iter().zip(applied) {
            mailbox.deliver(Event::Config { changes, applied }).await;
        }
        all_applied.notified().await;
    }
}

impl Credentials {
    /// A credential of a device that is deleted later in the same set never begins.
    fn drop_those_of_gone_devices(&mut self) -> Vec<CredentialId> {
        let gone = &self.devices_gone;
        let dropped = self.begin.extract_if(|_, (at, credential)| gone.get(&credential.device).is_some_and(|end| *end > *at));
        let dropped: Vec<CredentialId> = dropped.map(|(id, _)| id).collect();
        // It may be one that worked before this set.
        self.end.extend(&dropped);
        dropped
    }
}

#[cfg(test)]
mod tests;
