//! What a rule chain is told of: something that happened to an entity. Never says whether it was told.

use std::collections::BTreeMap;

use schemas::chain::MessageType;
use uuid::Uuid;

use crate::domain::End;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub tenant: Uuid,
    pub of: End,
    pub kind: MessageType,
    /// The chain to enter if the entity is gone; `None`: the tenant's root chain.
    pub chain: Option<Uuid>,
    pub metadata: BTreeMap<String, String>,
    /// JSON.
    pub data: String,
}
