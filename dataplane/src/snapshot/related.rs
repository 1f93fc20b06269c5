//! Relations by the entities they begin and end at, so that a node's question costs one look-up. Never asks whether the ends exist.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use schemas::{
    config::Relation,
    id::{EntityId, RelationId},
};

#[derive(Debug)]
struct Row {
    relation: Relation,
    /// The full state that repeated it last.
    marked: u32,
}

/// The relations of which at least one end is an entity of this shard.
#[derive(Debug, Default)]
pub struct Relations {
    rows: HashMap<RelationId, Row, RandomState>,
    by_end: HashMap<EntityId, Vec<RelationId>, RandomState>,
}

impl Relations {
    pub(super) fn insert(&mut self, relation: &Relation, marked: u32) {
        let id = relation.id;
        // Its ends never change: pushed again, it is where it was.
        if self.rows.insert(id, Row { relation: relation.clone(), marked }).is_some() {
            return;
        }
        self.by_end.entry(relation.from.id).or_default().push(id);
        if relation.to.id != relation.from.id {
            self.by_end.entry(relation.to.id).or_default().push(id);
        }
    }

    pub(super) fn remove(&mut self, id: RelationId) {
        let Some(Row { relation, .. }) = self.rows.remove(&id) else { return };
        for end in [relation.from.id, relation.to.id] {
            let Some(known) = self.by_end.get_mut(&end) else { continue };
            known.retain(|other| *other != id);
            if known.is_empty() {
                self.by_end.remove(&end);
            }
        }
    }

    /// Forgets what the full state `mark` did not repeat.
    pub(super) fn sweep(&mut self, mark: u32) {
        let gone: Vec<RelationId> = self.rows.iter().filter(|(_, row)| row.marked != mark).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    /// The relations that an entity of this shard has, in the order in which they were pushed.
    pub fn of(&self, entity: EntityId) -> impl Iterator<Item = &Relation> {
        let ids = self.by_end.get(&entity).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| self.rows.get(id)).map(|row| &row.relation)
    }

    /// Whether there is a relation of this type that ends (`inward`) or begins at an entity of this shard; with `other` only one
    /// that has this at its other end.
    #[must_use]
    pub fn has(&self, entity: EntityId, inward: bool, kind: &str, other: Option<EntityId>) -> bool {
        self.of(entity).any(|relation| {
            let (own, far) = if inward { (relation.to.id, relation.from.id) } else { (relation.from.id, relation.to.id) };
            own == entity && relation.kind == kind && other.is_none_or(|other| other == far)
        })
    }
}

#[cfg(test)]
mod tests {
    use schemas::{chain::EntityType, config::End};
    use uuid::Uuid;

    use super::*;

    fn entity(n: u128) -> EntityId {
        EntityId(Uuid::from_u128(n))
    }

    fn relation(n: u128, from: u128, kind: &str, to: u128) -> Relation {
        let end = |n| End { kind: EntityType::Asset, id: entity(n) };
        Relation { id: RelationId(Uuid::from_u128(n)), from: end(from), to: end(to), kind: kind.to_owned() }
    }

    #[test]
    fn a_relation_is_known_at_both_ends_until_it_goes() {
        let mut relations = Relations::default();
        for relation in [relation(1, 10, "Contains", 11), relation(2, 10, "Contains", 12), relation(3, 11, "Uses", 11)] {
            relations.insert(&relation, 0);
            relations.insert(&relation, 1);
        }
        assert_eq!(relations.of(entity(10)).count(), 2, "pushed twice is there once");
        assert!(relations.has(entity(10), false, "Contains", None));
        assert!(relations.has(entity(10), false, "Contains", Some(entity(12))));
        assert!(!relations.has(entity(10), true, "Contains", None), "nothing ends there");
        assert!(relations.has(entity(12), true, "Contains", Some(entity(10))));
        assert!(!relations.has(entity(12), true, "Contains", Some(entity(11))));
        assert!(!relations.has(entity(12), true, "Manages", None));
        assert!(relations.has(entity(11), true, "Uses", None) && relations.has(entity(11), false, "Uses", None));
        relations.remove(RelationId(Uuid::from_u128(2)));
        assert!(!relations.has(entity(12), true, "Contains", None));
        assert!(relations.has(entity(10), false, "Contains", None));
        relations.insert(&relation(4, 10, "Contains", 13), 2);
        relations.sweep(2);
        assert_eq!(relations.of(entity(10)).map(|one| one.to.id).collect::<Vec<_>>(), [entity(13)]);
        assert!(relations.by_end.len() == 2 && relations.rows.len() == 1, "nothing is left behind: {relations:?}");
    }
}
