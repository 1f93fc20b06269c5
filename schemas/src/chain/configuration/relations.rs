//! Configurations of nodes that follow relations of the originator. Never reads a chain.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Reader;
use crate::chain::{CheckRelation, EntityType, NewOriginator, Owner, RelationFilter, RelationsQuery};
use crate::config::NAME_BYTES_MAX;
use crate::id::EntityId;

/// Filters of one query, and entity types of one filter.
const FILTERS_MAX: usize = 100;

impl Reader<'_> {
    /// `FROM`: from the originator to the entity. In version 0 it is the other way round, as ThingsBoard has it.
    pub(super) fn check_relation(&mut self, version: u64) -> Option<CheckRelation> {
        let inward = self.required("direction", "FROM or TO", |value| match value.as_str()? {
            "FROM" => Some(version == 0),
            "TO" => Some(version != 0),
            _ => None,
        });
        let kind = self.required("relationType", "a relation type", |value| {
            value.as_str().filter(|kind| !kind.is_empty() && kind.len() <= NAME_BYTES_MAX).map(str::to_owned)
        });
        let single = self.value("checkForSingleEntity").is_none() || self.flag("checkForSingleEntity")?;
        if !single {
            return Some(CheckRelation { inward: inward?, kind: kind?, other: None });
        }
        let names = EntityType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let of = self.required("entityType", &format!("one of {names}"), |value| EntityType::parse(value.as_str()?));
        let other = self.required("entityId", "a UUID", |value| value.as_str()?.parse::<Uuid>().ok().map(EntityId));
        of?;
        Some(CheckRelation { inward: inward?, kind: kind?, other: Some(other?) })
    }

    pub(super) fn new_originator(&mut self) -> Option<NewOriginator> {
        let expected = "CUSTOMER, TENANT, RELATED, ENTITY or ALARM_ORIGINATOR";
        let source = self.required("originatorSource", expected, |value| {
            let known = ["CUSTOMER", "TENANT", "RELATED", "ALARM_ORIGINATOR"];
            value.as_str().filter(|source| known.contains(source)).map(str::to_owned)
        })?;
        match source.as_str() {
            "CUSTOMER" => Some(NewOriginator::Owner(Owner::Customer)),
            "TENANT" => Some(NewOriginator::Owner(Owner::Tenant)),
            "RELATED" => self.relations_query("relationsQuery").map(NewOriginator::Related),
            _ => Some(NewOriginator::OfAlarm),
        }
    }

    /// `FROM`: from the originator, as ThingsBoard's queries have it.
    pub(super) fn relations_query(&mut self, field: &str) -> Option<RelationsQuery> {
        let query = self.required(field, "an object", |value| value.as_object().cloned())?;
        let path = format!("{}.{field}", self.path);
        let mut of = Reader { fields: &query, path, problems: &mut *self.problems };
        let inward = of.inward();
        let near = of.one_level();
        let entries = match of.value("filters") {
            None => Some(Vec::new()),
            Some(_) => of.required("filters", &format!("an array of at most {FILTERS_MAX} filters"), |value| {
                value.as_array().filter(|all| all.len() <= FILTERS_MAX).cloned()
            }),
        };
        let mut filters = Some(Vec::new());
        for (place, entry) in entries?.iter().enumerate() {
            let none = Map::new();
            let path = format!("{}.filters[{place}]", of.path);
            let mut one = Reader { fields: entry.as_object().unwrap_or(&none), path, problems: &mut *of.problems };
            match (one.relation_filter(), &mut filters) {
                (Some(filter), Some(filters)) => filters.push(filter),
                _ => filters = None,
            }
        }
        near?;
        Some(RelationsQuery { inward: inward?, filters: filters? })
    }

    /// Of devices: one type of relations, and what types of devices they may lead to.
    pub(super) fn device_query(&mut self, field: &str) -> Option<(RelationsQuery, Vec<String>)> {
        let query = self.required(field, "an object", |value| value.as_object().cloned())?;
        let path = format!("{}.{field}", self.path);
        let mut of = Reader { fields: &query, path, problems: &mut *self.problems };
        let (inward, near, types) = (of.inward(), of.one_level(), of.strings("deviceTypes"));
        let filter = of.relation_filter().map(|filter| RelationFilter { ends: vec![EntityType::Device], ..filter });
        near?;
        Some((RelationsQuery { inward: inward?, filters: vec![filter?] }, types?))
    }

    pub(super) fn inward(&mut self) -> Option<bool> {
        self.required("direction", "FROM or TO", |value| match value.as_str()? {
            "FROM" => Some(false),
            "TO" => Some(true),
            _ => None,
        })
    }

    /// Relations of relations lie with other shards.
    pub(super) fn one_level(&mut self) -> Option<()> {
        if self.value("maxLevel").is_none() {
            return Some(());
        }
        self.required("maxLevel", "1; more levels are not supported yet", |value| (value.as_u64()? == 1).then_some(()))
    }

    fn relation_filter(&mut self) -> Option<RelationFilter> {
        let kind = match self.value("relationType") {
            None => Some(None),
            Some(_) => self.required("relationType", &format!("a relation type of at most {NAME_BYTES_MAX} bytes"), |value| {
                let kind = value.as_str().filter(|kind| kind.len() <= NAME_BYTES_MAX)?;
                Some((!kind.is_empty()).then(|| kind.to_owned()))
            }),
        };
        let names = EntityType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let end = |value: &Value| value.as_str().and_then(EntityType::parse);
        let ends = match self.value("entityTypes") {
            None => Some(Vec::new()),
            Some(_) => self.required("entityTypes", &format!("an array of at most {FILTERS_MAX} of {names}"), |value| {
                value.as_array().filter(|all| all.len() <= FILTERS_MAX)?.iter().map(end).collect()
            }),
        };
        let negate = self.flag("negate");
        Some(RelationFilter { kind: kind?, negate: negate?, ends: ends? })
    }
}
