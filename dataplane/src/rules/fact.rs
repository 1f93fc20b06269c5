//! Facts: what neither a message nor its originator's state says. A node asks the world for one; a world that has to find it first
//! says so, and the message is evaluated again when it is there (DESIGN 8.1, 1). Never finds one.

use schemas::config::End;
use schemas::id::EntityId;

use crate::message::Scope;
use crate::query::{History, Series};

/// What a node has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Attributes of another entity: series of one point each, whose ts is that of the last change.
    Attributes { entity: EntityId, scope: Scope, keys: Vec<String> },
    /// Latest readings of another entity: series of one point each.
    Latest { entity: EntityId, keys: Vec<String> },
    /// What another entity is called: its [`NAMES`] as text, as far as it has them.
    Named(End),
    /// Readings of the originator's past.
    History(History),
}

/// The fields of an entity that others may be told of, as ThingsBoard calls them.
pub const NAMES: [&str; 14] = [
    "name",
    "type",
    "label",
    "createdTime",
    "title",
    "country",
    "state",
    "city",
    "zip",
    "address",
    "address2",
    "phone",
    "email",
    "additionalInfo.description",
];

/// Why there is no fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It has to be asked for.
    NotYet,
    /// It was asked for in vain.
    Never(String),
}

/// A fact, or why it cannot be had.
pub type Found = Result<Vec<Series>, String>;

impl Fact {
    /// About what its keys take in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let keys = match self {
            Self::Attributes { keys, .. } | Self::Latest { keys, .. } => keys,
            Self::History(history) => &history.keys,
            Self::Named(_) => return 0,
        };
        keys.iter().map(|key| size_of::<String>() + key.len()).sum()
    }

    /// The other entity that it is about.
    #[must_use]
    pub fn entity(&self) -> Option<EntityId> {
        match self {
            Self::Attributes { entity, .. } | Self::Latest { entity, .. } => Some(*entity),
            Self::Named(end) => Some(end.id),
            Self::History(_) => None,
        }
    }
}
