//! The change log as an ordered stream for each instance: from its revision on, or full state when that cannot be
//! continued (DESIGN 25). Also remembers who is connected and what they applied (DESIGN 26). Never speaks gRPC.

mod follow;
mod registry;
#[cfg(test)]
mod tests;
mod wire;

pub use follow::{Cut, Follower, Start};
pub use registry::{Instance, Joined, Refusal, Refused, Registry};

use tokio::sync::watch;
use uuid::Uuid;

use crate::entity::{Store, StoreError, change_log};

/// Where followers start from, and what wakes them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {
    store: Store,
    head: watch::Sender<u64>,
}

impl Feed {
    /// # Errors
    /// [`StoreError`] when the revision reached cannot be read.
    pub async fn new(store: Store) -> Result<Self, StoreError> {
        let head = change_log::head(store.reader()).await?;
        Ok(Self { store, head: watch::Sender::new(u64::try_from(head).unwrap_or(0)) })
    }

    /// A write committed this revision.
    pub fn wake(&self, revision: u64) {
        self.head.send_if_modified(|head| {
            let newer = revision > *head;
            *head = revision.max(*head);
            newer
        });
    }

    /// The name of the database's life.
    #[must_use]
    pub fn epoch(&self) -> Uuid {
        self.store.epoch()
    }

    /// A follower for an instance that holds `epoch` (empty: nothing) up to `revision`.
    #[must_use]
    pub fn follow(&self, epoch: &str, revision: u64) -> Follower {
        Follower::new(self.store.clone(), self.head.subscribe(), Start { epoch: epoch.to_owned(), revision })
    }
}
