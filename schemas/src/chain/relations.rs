//! What nodes ask of their originator's relations, with their configurations. Never reads JSON and knows no relation.

use super::{EntityType, OriginatorAttributes, OriginatorFields, Owner, Values};
use crate::id::EntityId;

/// Whether the originator has a relation of the common group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRelation {
    /// It ends at the originator; else it begins there.
    pub inward: bool,
    /// ThingsBoard's `relationType`.
    pub kind: String,
    /// At its other end; `None`: anything.
    pub other: Option<EntityId>,
}

/// Which of the originator's relations of the common group are followed, one step far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationsQuery {
    /// They end at the originator; else they begin there.
    pub inward: bool,
    /// One of them has to fit, if there are any.
    pub filters: Vec<RelationFilter>,
}

/// See [`RelationsQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationFilter {
    /// ThingsBoard's `relationType`; `None`: any.
    pub kind: Option<String>,
    /// Any type but this one.
    pub negate: bool,
    /// What may be at the other end; none: anything.
    pub ends: Vec<EntityType>,
}

impl RelationsQuery {
    /// Whether a relation of this type to such an entity is followed.
    #[must_use]
    pub fn follows(&self, kind: &str, end: EntityType) -> bool {
        let fits = |filter: &RelationFilter| {
            let of_kind = filter.kind.as_deref().is_none_or(|wanted| (wanted == kind) != filter.negate);
            of_kind && (filter.ends.is_empty() || filter.ends.contains(&end))
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}

/// Who the originator is behind a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewOriginator {
    Owner(Owner),
    /// The oldest relation counts.
    Related(RelationsQuery),
    /// Of the alarm that is the originator.
    OfAlarm,
}

/// What is told of the entity that the originator's oldest fitting relation leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedValues {
    pub query: RelationsQuery,
    pub told: RelatedTold,
}

/// See [`RelatedValues`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelatedTold {
    Values(Values),
    Fields(OriginatorFields),
}

/// Attributes and latest readings of a device that the originator has a relation to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAttributes {
    pub query: RelationsQuery,
    /// ThingsBoard's `deviceTypes`; none: any.
    pub types: Vec<String>,
    pub attributes: OriginatorAttributes,
}
