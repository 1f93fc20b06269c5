//! Configurations of nodes that want something of the control plane. Never reads a chain.

use std::sync::Arc;

use super::Reader;
use crate::chain::{
    EntityType, External, NodeKind, Side,
    node::{ASSIGN, CREDENTIALS, RELATE, UNASSIGN, UNRELATE},
    wish::{Named, Relate, Wish},
};

/// What a message may be related to, with its name.
const RELATED: &[EntityType] =
    &[EntityType::Device, EntityType::Asset, EntityType::Customer, EntityType::Tenant, EntityType::User];
/// What can be made.
const MADE: &[EntityType] = &[EntityType::Device, EntityType::Asset, EntityType::Customer];
/// Whose a message may become by name, as far as there are such entities here.
const BECOME: &[EntityType] = &[EntityType::Device, EntityType::Asset];

impl Reader<'_> {
    /// A node of one of these classes, whose configuration has this version.
    pub(super) fn wish(&mut self, class: &str, version: u64) -> Option<NodeKind> {
        let wish = match class {
            ASSIGN => self.assign(),
            UNASSIGN => Some(Wish::Unassign),
            RELATE => self.relate(version),
            UNRELATE => self.unrelate(version),
            CREDENTIALS => self.device_credentials(),
            _ => None,
        };
        wish.map(node)
    }

    /// Who the originator is, the control plane knows by name, and the shard else.
    pub(super) fn change_originator(&mut self) -> Option<NodeKind> {
        if self.value("originatorSource").is_some_and(|source| source == "ENTITY") {
            return self.named(BECOME).map(Wish::Become).map(node);
        }
        self.new_originator().map(NodeKind::ChangeOriginator)
    }

    fn assign(&mut self) -> Option<Wish> {
        let (customer, create) = (self.name("customerNamePattern"), self.flag("createCustomerIfNotExists"));
        Some(Wish::Assign { customer: customer?, create: create? })
    }

    fn relate(&mut self, version: u64) -> Option<Wish> {
        let (inward, kind, with) = (self.relation_side(version), self.name("relationType"), self.named(RELATED));
        let (makes, alone) = (self.flag("createEntityIfNotExists"), self.flag("removeCurrentRelations"));
        let becomes = self.flag("changeOriginatorToRelatedEntity");
        let (with, becomes) = (with?, becomes?);
        if becomes && with.kind == EntityType::User {
            self.problem("changeOriginatorToRelatedEntity", "a user's messages enter no chain here");
            return None;
        }
        let create = match with.kind {
            kind if makes? && MADE.contains(&kind) => Some(self.profile_of(kind)?),
            _ => None,
        };
        Some(Wish::Relate(Relate { inward: inward?, kind: kind?, with, create, alone: alone?, becomes }))
    }

    fn unrelate(&mut self, version: u64) -> Option<Wish> {
        let (inward, kind) = (self.relation_side(version), self.name("relationType"));
        let with = if self.flag("deleteForSingleEntity")? { Some(self.named(RELATED)?) } else { None };
        Some(Wish::Unrelate { inward: inward?, kind: kind?, with })
    }

    /// Older versions wrote `fetchToMetadata`.
    fn device_credentials(&mut self) -> Option<Wish> {
        let old = self.value("fetchTo").is_none() && self.value("fetchToMetadata").is_some();
        let side = match old {
            true => self.flag("fetchToMetadata").map(|metadata| if metadata { Side::Metadata } else { Side::Data }),
            false => self.side("fetchTo", Side::Metadata),
        };
        side.map(Wish::Credentials)
    }

    /// `FROM`: from the originator. In version 0, which has a cache, it is the other way round, as ThingsBoard reads it.
    fn relation_side(&mut self, version: u64) -> Option<bool> {
        let turned = version == 0 && self.value("entityCacheExpiration").is_some();
        self.inward().map(|inward| inward != turned)
    }

    fn named(&mut self, kinds: &[EntityType]) -> Option<Named> {
        let names = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let kind = self.required("entityType", &format!("one of {names}; there are no others here that could be"), |value| {
            EntityType::parse(value.as_str()?).filter(|kind| kinds.contains(kind))
        });
        if kind == Some(EntityType::Tenant) {
            return Some(Named { kind: EntityType::Tenant, name: String::new() });
        }
        let name = self.name("entityNamePattern");
        Some(Named { kind: kind?, name: name? })
    }

    fn profile_of(&mut self, kind: EntityType) -> Option<String> {
        if kind == EntityType::Customer { Some(String::new()) } else { self.name("entityTypePattern") }
    }
}

fn node(wish: Wish) -> NodeKind {
    NodeKind::External(Arc::new(External::Wish(wish)))
}
