//! An entity query over devices and assets: which of them, under which conditions, what is shown (reference 2.3, 10). Pure: the
//! values come with the rows. Never knows where a value is kept.

mod predicate;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::HashMap};

use schemas::telemetry::{Scope, Value};
use uuid::Uuid;

pub use self::predicate::{BoolOperation, Dynamic, DynamicSource, NumberOperation, Operand, Predicate, TextOperation};
use crate::domain::{Asset, Device, EntityKind, EntityRef, Invalid, NAME_CHARS_MAX, NULL_UUID, RelationQuery};

const FILTERS_MAX: usize = 100;
/// Predicates of all filters together, and how deep they nest.
const PREDICATES_MAX: usize = 256;
const DEPTH_MAX: usize = 8;
/// Keys of attributes and series that one query may touch: the data plane's own bound.
const KEYS_MAX: usize = 100;
const NAMED_MAX: usize = 1_000;

/// What a key names, with ThingsBoard's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    Field,
    /// An attribute of any scope: the one written last.
    Attribute,
    Client,
    Shared,
    Server,
    Series,
}

impl KeyKind {
    pub const ALL: [Self; 6] = [Self::Field, Self::Attribute, Self::Client, Self::Shared, Self::Server, Self::Series];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Field => "ENTITY_FIELD",
            Self::Attribute => "ATTRIBUTE",
            Self::Client => "CLIENT_ATTRIBUTE",
            Self::Shared => "SHARED_ATTRIBUTE",
            Self::Server => "SERVER_ATTRIBUTE",
            Self::Series => "TIME_SERIES",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The scope of an attribute; `None` inside is every scope.
    #[must_use]
    pub fn scope(self) -> Option<Option<Scope>> {
        match self {
            Self::Attribute => Some(None),
            Self::Client => Some(Some(Scope::Client)),
            Self::Shared => Some(Some(Scope::Shared)),
            Self::Server => Some(Some(Scope::Server)),
            Self::Field | Self::Series => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: KeyKind,
    pub name: String,
}

impl Key {
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self { kind: KeyKind::Field, name: name.to_owned() }
    }

    /// Is it kept on a shard?
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.kind != KeyKind::Field
    }
}

/// Which entities a query is about, before its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    All,
    Ids(Vec<Uuid>),
    /// Names that begin so, whatever their case; `%` stands for any text.
    Named(String),
    /// Of these profiles, and named so if there is a text.
    Types(Vec<String>, Option<String>),
    /// What a walk along relations reaches, of these profiles; of any if there are none.
    Reached(RelationQuery, Vec<String>),
    /// What was reached.
    Found(Vec<Uuid>, Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyFilter {
    pub key: Key,
    pub predicate: Predicate,
}

/// Which entities.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityQuery {
    /// Of these kinds, each once: devices, assets or both.
    pub kinds: Vec<EntityKind>,
    pub selector: Selector,
    pub filters: Vec<KeyFilter>,
    /// One filter is enough; otherwise every one must hold.
    pub any: bool,
    /// Lower-cased; searched in name, type and label.
    pub search: Option<String>,
}

/// A page of them and what is shown of each.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityListing {
    pub query: EntityQuery,
    pub page_size: u64,
    pub page: u64,
    pub sort: Key,
    pub descending: bool,
    /// Entity fields, attributes and series to show.
    pub shown: Vec<Key>,
}

impl EntityQuery {
    /// # Errors
    /// [`Invalid`] naming what breaks a bound.
    pub fn checked(self) -> Result<Self, Invalid> {
        let bound = |field, count: usize, most: usize| {
            let refusal = Invalid::new(field, &count.to_string(), format!("must be at most {most}"));
            if count > most { Err(refusal) } else { Ok(()) }
        };
        bound("keyFilters", self.filters.len(), FILTERS_MAX)?;
        bound("keyFilters.predicate", self.filters.iter().map(|filter| filter.predicate.count()).sum(), PREDICATES_MAX)?;
        let deepest = self.filters.iter().map(|filter| filter.predicate.depth()).max().unwrap_or(0);
        bound("keyFilters.predicate depth", deepest, DEPTH_MAX)?;
        match &self.selector {
            Selector::Ids(ids) => bound("entityFilter.entityList", ids.len(), NAMED_MAX)?,
            Selector::Types(types, _) | Selector::Reached(_, types) | Selector::Found(_, types) => {
                bound("entityFilter.types", types.len(), NAMED_MAX)?;
            }
            Selector::All | Selector::Named(_) => {}
        }
        for filter in &self.filters {
            known("keyFilters.key", &filter.key)?;
        }
        Ok(self)
    }

    /// Does a device match, given its values?
    #[must_use]
    pub fn matches(&self, row: &EntityRow) -> bool {
        let holds = |filter: &KeyFilter| filter.predicate.matches(row.value(&filter.key).as_ref());
        if self.any && !self.filters.is_empty() { self.filters.iter().any(holds) } else { self.filters.iter().all(holds) }
    }

    /// The keys its conditions read from shards.
    #[must_use]
    pub fn remote_keys(&self) -> Vec<Key> {
        distinct(self.filters.iter().map(|filter| &filter.key))
    }
}

impl EntityListing {
    /// # Errors
    /// [`Invalid`] naming what breaks a bound.
    pub fn checked(self) -> Result<Self, Invalid> {
        known("sortOrder.key", &self.sort)?;
        let remote = distinct(self.shown.iter());
        if remote.len() > KEYS_MAX {
            let rule = format!("must name at most {KEYS_MAX} attributes and series");
            return Err(Invalid::new("latestValues", &format!("{} keys", remote.len()), rule));
        }
        if let Some(key) = self.shown.iter().find(|key| !is_sized(key)) {
            return Err(Invalid::new("latestValues", &key.name, key_rule()));
        }
        Ok(Self { query: self.query.checked()?, ..self })
    }

    /// The keys that decide which devices are on the page, as far as shards have them.
    #[must_use]
    pub fn deciding_keys(&self) -> Vec<Key> {
        distinct(self.query.filters.iter().map(|filter| &filter.key).chain([&self.sort]))
    }

    /// Keys to show that shards have.
    #[must_use]
    pub fn shown_keys(&self) -> Vec<Key> {
        distinct(self.shown.iter())
    }

    /// The order of two entities: by the sort key, those without a value last, then by id.
    #[must_use]
    pub fn order(&self, one: &EntityRow, other: &EntityRow) -> Ordering {
        let by_key = match (self.sort_value(one), self.sort_value(other)) {
            (Some(one), Some(other)) if self.descending => compared(&other, &one),
            (Some(one), Some(other)) => compared(&one, &other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        by_key.then_with(|| one.entity.id.cmp(&other.entity.id))
    }

    /// Names are sorted whatever their case, as every list of entities is.
    fn sort_value(&self, row: &EntityRow) -> Option<Value<'static>> {
        match row.value(&self.sort)? {
            Value::Text(text) if self.sort == Key::field("name") => Some(Value::Text(text.to_lowercase().into())),
            value => Some(value),
        }
    }
}

fn distinct<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = keys.filter(|key| key.is_remote()).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn is_sized(key: &Key) -> bool {
    !key.name.is_empty() && key.name.len() <= NAME_CHARS_MAX
}

fn key_rule() -> String {
    format!("must have 1 to {NAME_CHARS_MAX} bytes")
}

/// Conditions and orders need a field that entities have; to be shown, any name is good enough.
fn known(field: &'static str, key: &Key) -> Result<(), Invalid> {
    if !is_sized(key) {
        return Err(Invalid::new(field, &key.name, key_rule()));
    }
    if key.kind == KeyKind::Field && !FIELDS.contains(&key.name.as_str()) {
        return Err(Invalid::new(field, &key.name, format!("must be one of {}", FIELDS.join(", "))));
    }
    Ok(())
}

/// Numbers by size, everything else by its text.
fn compared(one: &Value<'static>, other: &Value<'static>) -> Ordering {
    match (predicate::number(one), predicate::number(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.to_string().cmp(&other.to_string()),
    }
}

/// The entity fields of a device or an asset.
const FIELDS: [&str; 12] = [
    "createdTime",
    "entityType",
    "id",
    "name",
    "displayName",
    "type",
    "label",
    "additionalInfo",
    "tenantId",
    "customerId",
    "ownerName",
    "ownerType",
];

/// A value and when it was written, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub ts: i64,
    pub value: Value<'static>,
}

/// A device or an asset as queries see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedEntity {
    pub kind: EntityKind,
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub tenant: Uuid,
    pub customer: Option<Uuid>,
    pub name: String,
    /// ThingsBoard's `type`.
    pub profile_name: String,
    pub label: Option<String>,
    pub additional_info: serde_json::Value,
}

impl From<Device> for ListedEntity {
    fn from(device: Device) -> Self {
        let Device { id, created_ms, tenant, customer, name, kind: profile_name, label, additional_info, .. } = device;
        Self { kind: EntityKind::Device, id, created_ms, tenant, customer, name, profile_name, label, additional_info }
    }
}

impl From<Asset> for ListedEntity {
    fn from(asset: Asset) -> Self {
        let Asset { id, created_ms, tenant, customer, name, kind: profile_name, label, additional_info, .. } = asset;
        Self { kind: EntityKind::Asset, id, created_ms, tenant, customer, name, profile_name, label, additional_info }
    }
}

impl ListedEntity {
    #[must_use]
    pub fn reference(&self) -> EntityRef {
        EntityRef { kind: self.kind, id: self.id, tenant: self.tenant }
    }
}

/// An entity with what was asked of its shard.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRow {
    pub entity: ListedEntity,
    /// The title of its customer, else of its tenant.
    pub owner: String,
    pub samples: HashMap<Key, Sample>,
}

impl EntityRow {
    #[must_use]
    pub fn value(&self, key: &Key) -> Option<Value<'static>> {
        match key.kind {
            KeyKind::Field => self.field(&key.name),
            _ => self.samples.get(key).map(|sample| sample.value.clone()),
        }
    }

    fn field(&self, name: &str) -> Option<Value<'static>> {
        let entity = &self.entity;
        let text = |text: &str| Value::Text(text.to_owned().into());
        Some(match name {
            "createdTime" => Value::Long(entity.created_ms),
            "entityType" => text(entity.kind.name()),
            "id" => text(&entity.id.to_string()),
            "name" => text(&entity.name),
            "displayName" => text(entity.label.as_deref().unwrap_or(&entity.name)),
            "type" => text(&entity.profile_name),
            "label" => text(entity.label.as_deref()?),
            "additionalInfo" => text(&entity.additional_info.to_string()),
            "tenantId" => text(&entity.tenant.to_string()),
            "customerId" => text(&entity.customer.unwrap_or(NULL_UUID).to_string()),
            "ownerName" => text(&self.owner),
            "ownerType" => text(if entity.customer.is_some() { EntityKind::Customer } else { EntityKind::Tenant }.name()),
            _ => return None,
        })
    }
}
