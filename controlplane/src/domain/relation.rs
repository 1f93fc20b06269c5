//! Relations: directed, typed arrows between two entities of a tenant, and what is asked of them. Never knows what its ends are
//! called.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{EntityKind, Invalid, name};

const FILTERS_MAX: usize = 100;

/// Where a relation begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    pub kind: EntityKind,
    pub id: Uuid,
}

/// ThingsBoard's `typeGroup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelationGroup {
    /// What people draw; the only group that rule chains see.
    #[default]
    Common,
    Dashboard,
    RuleChain,
    RuleNode,
    Edge,
    EdgeAutoAssign,
}

impl RelationGroup {
    pub const ALL: [Self; 6] = [Self::Common, Self::Dashboard, Self::RuleChain, Self::RuleNode, Self::Edge, Self::EdgeAutoAssign];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Common => "COMMON",
            Self::Dashboard => "DASHBOARD",
            Self::RuleChain => "RULE_CHAIN",
            Self::RuleNode => "RULE_NODE",
            Self::Edge => "EDGE",
            Self::EdgeAutoAssign => "EDGE_AUTO_ASSIGN_RULE_CHAIN",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// What makes a relation this one and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    pub from: End,
    pub to: End,
    /// ThingsBoard's `type`, such as `Contains`.
    pub kind: String,
    pub group: RelationGroup,
}

impl Arrow {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        for end in [self.from, self.to] {
            end.checked()?;
        }
        Ok(Self { kind: name("type", &self.kind)?, ..self })
    }
}

impl End {
    /// # Errors
    /// [`Invalid`] for a kind that has no relations.
    pub fn checked(self) -> Result<Self, Invalid> {
        const RELATED: [EntityKind; 8] = [
            EntityKind::Tenant,
            EntityKind::Customer,
            EntityKind::User,
            EntityKind::Device,
            EntityKind::DeviceProfile,
            EntityKind::Asset,
            EntityKind::AssetProfile,
            EntityKind::RuleChain,
        ];
        if RELATED.contains(&self.kind) {
            return Ok(self);
        }
        let names = RELATED.map(EntityKind::name).join(", ");
        Err(Invalid::new("entityType", self.kind.name(), format!("must be one of {names}")))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Of the row; ThingsBoard's relations have none.
    pub id: Uuid,
    pub version: i64,
    pub arrow: Arrow,
    pub additional_info: Value,
}

/// A relation with the names of its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRelation {
    pub relation: Relation,
    pub from_name: String,
    pub to_name: String,
}

/// Which end of a relation is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    From,
    To,
}

impl Arrow {
    #[must_use]
    pub fn end(&self, side: Side) -> End {
        match side {
            Side::From => self.from,
            Side::To => self.to,
        }
    }

    #[must_use]
    pub fn other_end(&self, side: Side) -> End {
        match side {
            Side::From => self.to,
            Side::To => self.from,
        }
    }
}

/// Which relations of those that were walked are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationFilter {
    /// `None`: of any type.
    pub kind: Option<String>,
    /// Of what is reached; empty: any.
    pub entity_kinds: Vec<EntityKind>,
    /// Those that are otherwise.
    pub negate: bool,
}

/// A walk along relations of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationQuery {
    pub root: End,
    /// On which side of a relation the root is.
    pub side: Side,
    pub group: RelationGroup,
    /// `None`: as far as they go.
    pub levels: Option<u32>,
    /// Only relations to where the walk ended.
    pub last_level_only: bool,
    /// One of them is enough; none: everything is wanted.
    pub filters: Vec<RelationFilter>,
}

impl RelationQuery {
    /// # Errors
    /// [`Invalid`] naming what breaks a bound.
    pub fn checked(self) -> Result<Self, Invalid> {
        self.root.checked()?;
        if self.filters.len() > FILTERS_MAX {
            return Err(Invalid::new("filters", &self.filters.len().to_string(), format!("must be at most {FILTERS_MAX}")));
        }
        Ok(self)
    }

    #[must_use]
    pub fn wants(&self, arrow: &Arrow) -> bool {
        let reached = arrow.other_end(self.side).kind;
        let holds = |filter: &RelationFilter| {
            let of_kind = filter.kind.as_ref().is_none_or(|kind| *kind == arrow.kind);
            let of_entities = filter.entity_kinds.is_empty() || filter.entity_kinds.contains(&reached);
            (of_kind != filter.negate) && of_entities
        };
        self.filters.is_empty() || self.filters.iter().any(holds)
    }
}
