//! What a rule node wants of the control plane, which alone may change entities and knows their names and credentials (DESIGN 8.6, 24).
//! Texts are templates until a message fills them in. Never reads JSON and grants nothing.

use super::{EntityType, Side};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The originator belongs to the customer of this title, who is made if `create` says so and there is none.
    Assign {
        customer: String,
        create: bool,
    },
    /// The originator belongs to no customer.
    Unassign,
    Relate(Relate),
    /// The originator has no relation of this type, or none to that entity.
    Unrelate {
        inward: bool,
        kind: String,
        with: Option<Named>,
    },
    /// The message goes on as one of this entity's.
    Become(Named),
    /// What the originator shows to be let in, into the message.
    Credentials(Side),
}

/// The originator has a relation of the common group to an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relate {
    /// It ends at the originator; else it begins there.
    pub inward: bool,
    /// ThingsBoard's `relationType`.
    pub kind: String,
    pub with: Named,
    /// The entity is made if there is none, with a profile of this name; a customer has none.
    pub create: Option<String>,
    /// The originator has no other relation of the type and direction.
    pub alone: bool,
    /// The message goes on as one of the entity's.
    pub becomes: bool,
}

/// An entity of the message's tenant, by what people call it. The tenant itself needs no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub kind: EntityType,
    pub name: String,
}

impl Wish {
    /// The same with every template filled in.
    #[must_use]
    pub fn filled(&self, mut fill: impl FnMut(&str) -> String) -> Self {
        match self {
            Self::Assign { customer, create } => Self::Assign { customer: fill(customer), create: *create },
            Self::Unassign => Self::Unassign,
            Self::Relate(relate) => Self::Relate(Relate {
                kind: fill(&relate.kind),
                with: relate.with.filled(&mut fill),
                create: relate.create.as_deref().map(&mut fill),
                ..*relate
            }),
            Self::Unrelate { inward, kind, with } => {
                let with = with.as_ref().map(|named| named.filled(&mut fill));
                Self::Unrelate { inward: *inward, kind: fill(kind), with }
            }
            Self::Become(named) => Self::Become(named.filled(&mut fill)),
            Self::Credentials(side) => Self::Credentials(*side),
        }
    }

    /// Whose messages may want it; none: anybody's.
    #[must_use]
    pub fn originators(&self) -> &'static [EntityType] {
        match self {
            Self::Assign { .. } | Self::Unassign => &[EntityType::Device, EntityType::Asset],
            Self::Credentials(_) => &[EntityType::Device],
            Self::Relate(_) | Self::Unrelate { .. } | Self::Become(_) => &[],
        }
    }

    /// Whether the message goes on as one of the entity's that it leads to.
    #[must_use]
    pub fn becomes(&self) -> bool {
        matches!(self, Self::Become(_) | Self::Relate(Relate { becomes: true, .. }))
    }
}

impl Named {
    fn filled(&self, fill: &mut impl FnMut(&str) -> String) -> Self {
        Self { kind: self.kind, name: fill(&self.name) }
    }
}
