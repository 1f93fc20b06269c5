//! What each frame of the feed does: a full state begins, changes arrive, a full state ends. The order of one batch is
//! decided in `apply`; here what was applied is written to the cache and only then reported. Never talks to a socket.

use schemas::{config::Change, generated::config as wire};

use super::Lost;
use crate::limits;
use crate::link::Link;
use crate::link::Position;
use crate::link::cache::{Records, kind};

impl Link {
    pub(super) async fn begin_full(&mut self, begin: wire::FullBegin) -> Result<(), Lost> {
        if begin.epoch.is_empty() || begin.epoch.len() > limits::EPOCH_BYTES_MAX {
            let length = begin.epoch.len();
            return Err(Lost::Protocol(format!("epoch: {length} bytes, expected 1 to {}", limits::EPOCH_BYTES_MAX)));
        }
        tracing::info!(epoch = begin.epoch, entities = begin.entities, "full state begins");
        self.torn = true;
        self.applier.begin_full().await;
        self.full = Some(begin.epoch.clone());
        self.with_cache(move |cache| cache.begin_full(&begin.epoch)).await;
        Ok(())
    }

    pub(super) async fn batch(&mut self, batch: wire::Batch) -> Result<wire::Applied, Lost> {
        let in_full = self.full.is_some();
        if !in_full && (self.torn || self.position.epoch.is_empty()) {
            return Err(Lost::Protocol(String::from("changes without the full state they follow")));
        }
        let (changes, mut records, refused) = convert(batch.changes);
        for id in self.applier.apply(&changes).await {
            records.push(&credential_deleted(id));
        }
        if !in_full {
            // A repeated or unnumbered batch does not move the position back.
            self.position.revision = self.position.revision.max(batch.revision);
        }
        let revision = self.position.revision;
        self.with_cache(move |cache| cache.append(&records, revision)).await;
        self.status.add_refused(refused.len());
        if let Some(epoch) = &self.full {
            // Nothing counts as reached before the full state is whole.
            return Ok(wire::Applied { epoch: epoch.clone(), revision: 0, refused });
        }
        self.status.set_position(&self.position);
        Ok(wire::Applied { epoch: self.position.epoch.clone(), revision, refused })
    }

    pub(super) async fn end_full(&mut self, end: wire::FullEnd) -> Result<wire::Applied, Lost> {
        let Some(epoch) = self.full.take() else {
            return Err(Lost::Protocol(String::from("the end of a full state that did not begin")));
        };
        self.applier.end_full().await;
        self.with_cache(move |cache| cache.end_full(end.revision)).await;
        self.torn = false;
        self.position = Position { epoch, revision: end.revision };
        self.status.set_position(&self.position);
        tracing::info!(epoch = self.position.epoch, revision = end.revision, "full state applied");
        Ok(wire::Applied { epoch: self.position.epoch.clone(), revision: end.revision, refused: Vec::new() })
    }

    /// The connection is gone; a full state that was under way has to begin anew.
    pub(super) fn broke_off(&mut self) {
        if self.full.take().is_some() {
            self.applier.abandon_full();
            if let Some(cache) = &mut self.cache {
                cache.abandon_full();
            }
        }
    }
}

/// The border: wire changes become domain changes and cache records, or refusals.
fn convert(wire_changes: Vec<wire::Change>) -> (Vec<Change>, Records, Vec<wire::Refusal>) {
    let mut changes = Vec::with_capacity(wire_changes.len());
    let (mut records, mut refused) = (Records::default(), Vec::new());
    for change in wire_changes {
        let (revision, entity_type, entity_id) = (change.revision, entity_type(&change), change.id.clone());
        let cached = change.clone();
        match Change::try_from(change) {
            Ok(change) => {
                records.push(&cached);
                changes.push(change);
            }
            Err(error) => {
                let mut reason = error.to_string();
                reason.truncate(reason.floor_char_boundary(limits::REFUSAL_REASON_BYTES_MAX));
                tracing::warn!(revision, entity_type, reason, "change refused");
                refused.push(wire::Refusal { revision, entity_type, entity_id, reason });
            }
        }
    }
    (changes, records, refused)
}

/// "DEVICE", "RULE_CHAIN", …; empty when the change does not say.
fn entity_type(change: &wire::Change) -> String {
    let name = kind(change).map_or("", |(kind, _)| kind.as_str_name());
    name.strip_prefix("ENTITY_KIND_").unwrap_or(name).to_owned()
}

/// So that a cached credential does not outlive its device when the cache is read again.
fn credential_deleted(id: schemas::id::CredentialId) -> wire::Change {
    let deleted = wire::Deleted { kind: wire::EntityKind::Credential.into() };
    wire::Change { revision: 0, id: id.0.as_bytes().to_vec(), body: Some(wire::change::Body::Deleted(deleted)) }
}
