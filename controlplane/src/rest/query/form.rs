//! The bodies of entity queries (reference 2.3, 10) and how they become a query. What this version does not offer is refused by
//! name. Never looks at a device.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::rest::relation::{self, FilterForm};
use crate::{
    domain::{
        AlarmCount, AlarmFilter, AlarmListing, BoolOperation, Dynamic, DynamicSource, EntityKind, EntityListing, EntityQuery,
        Invalid, Key, KeyFilter, KeyKind, NumberOperation, Operand, PageLink, Predicate, RelationFilter, RelationGroup,
        RelationQuery, Selector, Side, SortOrder, TextOperation, severity,
    },
    rest::shape::{IdShape, given},
};

/// Predicates nest no deeper than the domain allows; this only keeps the reading of them from going on for ever.
const DEPTH_MAX: usize = 32;

/// A page of devices and assets to find.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityDataQuery)]
pub(in crate::rest) struct ListingForm {
    #[serde(flatten)]
    query: CountForm,
    page_link: PageLinkForm,
    /// What is shown of each: `{"type":"ENTITY_FIELD","key":"name"}`.
    #[serde(default)]
    entity_fields: Option<Vec<KeyForm>>,
    #[serde(default)]
    latest_values: Option<Vec<KeyForm>>,
}

/// Devices and assets to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityCountQuery)]
pub(in crate::rest) struct CountForm {
    /// `singleEntity`, `entityList`, `entityName`, `entityType` (all of `DEVICE` or `ASSET`), `deviceType`, `assetType`,
    /// `relationsQuery`, `deviceSearchQuery` or `assetSearchQuery`.
    entity_filter: Value,
    #[serde(default)]
    key_filters: Option<Vec<KeyFilterForm>>,
    /// `AND` (default) or `OR`.
    #[serde(default)]
    key_filters_operation: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityDataPageLink)]
pub(in crate::rest) struct PageLinkForm {
    page_size: u64,
    page: u64,
    text_search: Option<String>,
    sort_order: Option<SortForm>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EntityDataSortOrder)]
pub(in crate::rest) struct SortForm {
    key: KeyForm,
    /// `ASC` or `DESC`.
    direction: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EntityKey)]
pub(in crate::rest) struct KeyForm {
    /// `ENTITY_FIELD`, `ATTRIBUTE`, `CLIENT_ATTRIBUTE`, `SHARED_ATTRIBUTE`, `SERVER_ATTRIBUTE` or `TIME_SERIES`.
    #[schema(example = "TIME_SERIES")]
    r#type: String,
    #[schema(example = "temperature")]
    key: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KeyFilter)]
pub(in crate::rest) struct KeyFilterForm {
    key: KeyForm,
    /// `STRING`, `NUMERIC`, `BOOLEAN` or `DATE_TIME`.
    value_type: Option<String>,
    predicate: PredicateForm,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KeyFilterPredicate, no_recursion)]
pub(in crate::rest) struct PredicateForm {
    /// `STRING`, `NUMERIC`, `BOOLEAN` or `COMPLEX`.
    r#type: String,
    #[schema(example = "GREATER")]
    operation: String,
    value: Option<OperandForm>,
    #[serde(default)]
    ignore_case: bool,
    /// Of `COMPLEX`, joined by its operation `AND` or `OR`.
    #[serde(default)]
    predicates: Option<Vec<Self>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FilterPredicateValue)]
pub(in crate::rest) struct OperandForm {
    default_value: Option<Value>,
    /// Wins over `defaultValue`.
    user_value: Option<Value>,
    dynamic_value: Option<DynamicForm>,
}

/// A server attribute that takes the place of the value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DynamicValue)]
pub(in crate::rest) struct DynamicForm {
    /// `CURRENT_TENANT`, `CURRENT_CUSTOMER` or `CURRENT_USER`.
    source_type: Option<String>,
    source_attribute: Option<String>,
    #[serde(default)]
    inherit: bool,
}

/// A page of alarms to find.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmDataQuery)]
pub(in crate::rest) struct AlarmListingForm {
    #[serde(flatten)]
    entities: CountForm,
    page_link: AlarmPageLinkForm,
    /// What is shown of each alarm's entity: `{"type":"ENTITY_FIELD","key":"name"}`.
    #[serde(default)]
    entity_fields: Option<Vec<KeyForm>>,
    #[serde(default)]
    latest_values: Option<Vec<KeyForm>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmDataPageLink)]
pub(in crate::rest) struct AlarmPageLinkForm {
    page_size: u64,
    page: u64,
    text_search: Option<String>,
    /// By an `ALARM_FIELD`, such as `createdTime` or `severity`.
    sort_order: Option<SortForm>,
    #[serde(flatten)]
    which: WhichAlarmsForm,
}

/// Alarms to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmCountQuery)]
pub(in crate::rest) struct AlarmCountForm {
    /// As of an entity query; without it, all alarms that the caller sees.
    entity_filter: Option<Value>,
    #[serde(default)]
    key_filters: Option<Vec<KeyFilterForm>>,
    #[serde(default)]
    key_filters_operation: Option<String>,
    #[serde(flatten)]
    which: WhichAlarmsForm,
}

/// Which alarms, whatever their entities are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmRestrictions)]
pub(in crate::rest) struct WhichAlarmsForm {
    /// Created between these milliseconds since the Unix epoch.
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    /// Or in so many milliseconds before now.
    time_window: Option<i64>,
    type_list: Option<Vec<String>>,
    /// `ANY`, `ACTIVE`, `CLEARED`, `ACK`, `UNACK`.
    status_list: Option<Vec<String>>,
    severity_list: Option<Vec<String>>,
    assignee_id: Option<IdShape>,
    /// Also those that are propagated to these entities along relations.
    search_propagated_alarms: Option<bool>,
}

impl AlarmListingForm {
    pub(in crate::rest) fn listing(self) -> Result<AlarmListing, Invalid> {
        let AlarmPageLinkForm { page_size, page, text_search, sort_order, which } = self.page_link;
        let mut link = PageLink::new(page_size, page)?.search(text_search.as_deref())?;
        if let Some(SortForm { key: KeyForm { r#type, key }, direction }) = sort_order {
            if r#type != "ALARM_FIELD" {
                return Err(Invalid::new("sortOrder.key", &r#type, "must have the type ALARM_FIELD"));
            }
            link = link.sort(Some(&key), Some(direction.as_deref().unwrap_or("ASC")))?;
        }
        let mut shown = named_keys("entityFields", self.entity_fields)?;
        shown.extend(named_keys("latestValues", self.latest_values)?);
        AlarmListing { count: which.count(Some(self.entities.query()?))?, link, shown }.checked()
    }
}

impl AlarmCountForm {
    pub(in crate::rest) fn count(self) -> Result<AlarmCount, Invalid> {
        let Self { entity_filter, key_filters, key_filters_operation, which } = self;
        let entities = match entity_filter.filter(|filter| !filter.is_null()) {
            Some(entity_filter) => Some(CountForm { entity_filter, key_filters, key_filters_operation }.query()?),
            None => None,
        };
        which.count(entities)?.checked()
    }
}

impl WhichAlarmsForm {
    fn count(self, entities: Option<EntityQuery>) -> Result<AlarmCount, Invalid> {
        let severities = self.severity_list.unwrap_or_default();
        let mut filter = AlarmFilter {
            severities: severities.iter().map(|name| severity(name)).collect::<Result<_, _>>()?,
            kinds: self.type_list.unwrap_or_default(),
            assignee: given(self.assignee_id),
            propagated: self.search_propagated_alarms.unwrap_or(false),
            // ThingsBoard's clients write 0 where they mean no bound.
            from_ms: self.start_ts.filter(|ts| *ts > 0),
            to_ms: self.end_ts.filter(|ts| *ts > 0),
            ..AlarmFilter::default()
        };
        filter.with_search_statuses(self.status_list.unwrap_or_default().iter().map(String::as_str))?;
        Ok(AlarmCount { entities, filter, window_ms: self.time_window.filter(|window| *window != 0) })
    }
}

impl ListingForm {
    pub(in crate::rest) fn listing(self) -> Result<EntityListing, Invalid> {
        let mut query = self.query.query()?;
        let link = PageLink::new(self.page_link.page_size, self.page_link.page)?.search(self.page_link.text_search.as_deref())?;
        query.search = link.text_search;
        let (sort, descending) = match self.page_link.sort_order {
            None => (Key::field("createdTime"), true),
            Some(order) => {
                let direction = order.direction.as_deref().unwrap_or("ASC");
                let checked = PageLink::new(1, 0)?.sort(None, Some(direction))?;
                (key("sortOrder.key", order.key)?, checked.sort_order == SortOrder::Descending)
            }
        };
        let mut shown = named_keys("entityFields", self.entity_fields)?;
        shown.extend(named_keys("latestValues", self.latest_values)?);
        Ok(EntityListing { query, page_size: link.page_size, page: link.page, sort, descending, shown })
    }
}

impl CountForm {
    pub(in crate::rest) fn query(self) -> Result<EntityQuery, Invalid> {
        let any = match self.key_filters_operation.as_deref() {
            None | Some("AND") => false,
            Some("OR") => true,
            Some(other) => return Err(Invalid::new("keyFiltersOperation", other, "must be AND or OR")),
        };
        let filters = self.key_filters.unwrap_or_default().into_iter().map(filter).collect::<Result<_, _>>()?;
        let (kinds, selector) = selector(&self.entity_filter)?;
        Ok(EntityQuery { kinds, selector, filters, any, search: None })
    }
}

fn named_keys(field: &'static str, keys: Option<Vec<KeyForm>>) -> Result<Vec<Key>, Invalid> {
    keys.unwrap_or_default().into_iter().map(|form| key(field, form)).collect()
}

fn key(field: &'static str, form: KeyForm) -> Result<Key, Invalid> {
    let names: Vec<&str> = KeyKind::ALL.iter().map(|kind| kind.name()).collect();
    let unknown = || Invalid::new(field, &form.r#type, format!("must have a type of {}", names.join(", ")));
    Ok(Key { kind: KeyKind::parse(&form.r#type).ok_or_else(unknown)?, name: form.key })
}

const FILTERS: &str = "must be singleEntity, entityList, entityName, entityType, deviceType, assetType, relationsQuery, \
                       deviceSearchQuery or assetSearchQuery: others are not offered yet";

/// A member of a filter that is a text.
fn text<'f>(filter: &'f Value, name: &str) -> Option<&'f str> {
    filter.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The kinds that are meant, and which of them.
fn selector(filter: &Value) -> Result<(Vec<EntityKind>, Selector), Invalid> {
    let of = |field, value| Ok::<_, Invalid>(vec![kind(field, value)?]);
    match text(filter, "type").unwrap_or_default() {
        "singleEntity" => {
            let entity = filter.get("singleEntity").unwrap_or(&Value::Null);
            let kinds = of("entityFilter.singleEntity", text(entity, "entityType"))?;
            let chosen = id("entityFilter.singleEntity", entity.get("id").unwrap_or(&Value::Null))?;
            Ok((kinds, Selector::Ids(vec![chosen])))
        }
        "entityList" => {
            let kinds = of("entityFilter.entityType", text(filter, "entityType"))?;
            let listed = filter.get("entityList").and_then(Value::as_array);
            let listed = listed.ok_or_else(|| Invalid::new("entityFilter.entityList", "", "must be a list of UUIDs"))?;
            let ids = listed.iter().map(|one| id("entityFilter.entityList", one)).collect::<Result<_, _>>()?;
            Ok((kinds, Selector::Ids(ids)))
        }
        "entityName" => {
            let kinds = of("entityFilter.entityType", text(filter, "entityType"))?;
            let missing = || Invalid::new("entityFilter.entityNameFilter", "", "must be what names begin with");
            let name = text(filter, "entityNameFilter").ok_or_else(missing)?;
            Ok((kinds, Selector::Named(name.to_owned())))
        }
        "entityType" => Ok((of("entityFilter.entityType", text(filter, "entityType"))?, Selector::All)),
        "deviceType" => {
            let types = types(filter, "deviceTypes", "deviceType");
            if types.is_empty() {
                return Err(Invalid::new("entityFilter.deviceTypes", "", "must name at least one device type"));
            }
            let name = text(filter, "deviceNameFilter").map(str::to_owned);
            Ok((vec![EntityKind::Device], Selector::Types(types, name)))
        }
        "assetType" => {
            let types = types(filter, "assetTypes", "assetType");
            if types.is_empty() {
                return Err(Invalid::new("entityFilter.assetTypes", "", "must name at least one asset type"));
            }
            let name = text(filter, "assetNameFilter").map(str::to_owned);
            Ok((vec![EntityKind::Asset], Selector::Types(types, name)))
        }
        "relationsQuery" => reached(filter),
        "deviceSearchQuery" => searched(filter, EntityKind::Device, types(filter, "deviceTypes", "deviceType")),
        "assetSearchQuery" => searched(filter, EntityKind::Asset, types(filter, "assetTypes", "assetType")),
        other => Err(Invalid::new("entityFilter.type", other, FILTERS)),
    }
}

fn types(filter: &Value, list: &str, one: &str) -> Vec<String> {
    let listed = filter.get(list).and_then(Value::as_array).into_iter().flatten();
    let mut types: Vec<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
    types.extend(text(filter, one).map(str::to_owned));
    types
}

/// What relations lead to.
fn reached(filter: &Value) -> Result<(Vec<EntityKind>, Selector), Invalid> {
    let listed = filter.get("filters").filter(|filters| !filters.is_null()).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    let forms: Vec<FilterForm> = serde_json::from_value(listed)
        .map_err(|error| Invalid::new("entityFilter.filters", &error.to_string(), "cannot be read"))?;
    let filters = forms.into_iter().map(relation::filter).collect::<Result<Vec<RelationFilter>, _>>()?;
    let wanted = |kind: EntityKind| {
        let any = filters.iter().any(|filter| filter.entity_kinds.is_empty() || filter.entity_kinds.contains(&kind));
        filters.is_empty() || any
    };
    let kinds: Vec<EntityKind> = QUERIED.into_iter().filter(|kind| wanted(*kind)).collect();
    if kinds.is_empty() {
        return Err(Invalid::new("entityFilter.filters", "", "must be of DEVICE or ASSET: others are not offered yet"));
    }
    Ok((kinds, Selector::Reached(walk(filter, filters)?, Vec::new())))
}

/// Entities of one kind that relations of one type lead to.
fn searched(filter: &Value, kind: EntityKind, types: Vec<String>) -> Result<(Vec<EntityKind>, Selector), Invalid> {
    let relation = text(filter, "relationType").map(str::to_owned);
    let filters = vec![RelationFilter { kind: relation, entity_kinds: vec![kind], negate: false }];
    Ok((vec![kind], Selector::Reached(walk(filter, filters)?, types)))
}

fn walk(filter: &Value, filters: Vec<RelationFilter>) -> Result<RelationQuery, Invalid> {
    const ROOT: &str = "entityFilter.rootEntity";
    let root = filter.get("rootEntity").unwrap_or(&Value::Null);
    let root_id = id(ROOT, root.get("id").unwrap_or(&Value::Null))?;
    let side = match text(filter, "direction").unwrap_or("FROM") {
        "FROM" => Side::From,
        "TO" => Side::To,
        other => return Err(Invalid::new("entityFilter.direction", other, "must be FROM or TO")),
    };
    let levels = filter.get("maxLevel").and_then(Value::as_u64).filter(|levels| *levels > 0);
    Ok(RelationQuery {
        root: relation::end(ROOT, text(root, "entityType").unwrap_or_default(), root_id)?,
        side,
        group: RelationGroup::Common,
        levels: levels.map(|levels| u32::try_from(levels).unwrap_or(u32::MAX)),
        last_level_only: filter.get("fetchLastLevelOnly").and_then(Value::as_bool).unwrap_or(false),
        filters,
    })
}

/// The kinds that queries are about.
const QUERIED: [EntityKind; 2] = [EntityKind::Device, EntityKind::Asset];

fn kind(field: &'static str, name: Option<&str>) -> Result<EntityKind, Invalid> {
    let known = QUERIED.into_iter().find(|kind| name == Some(kind.name()));
    known.ok_or_else(|| Invalid::new(field, name.unwrap_or_default(), "must be of DEVICE or ASSET: others are not offered yet"))
}

fn id(field: &'static str, value: &Value) -> Result<Uuid, Invalid> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| Invalid::new(field, text, "must be a UUID"))
}

fn filter(form: KeyFilterForm) -> Result<KeyFilter, Invalid> {
    let expected = match form.value_type.as_deref() {
        None => None,
        Some("STRING") => Some("STRING"),
        Some("NUMERIC" | "DATE_TIME") => Some("NUMERIC"),
        Some("BOOLEAN") => Some("BOOLEAN"),
        Some(other) => return Err(Invalid::new("valueType", other, "must be STRING, NUMERIC, BOOLEAN or DATE_TIME")),
    };
    Ok(KeyFilter { key: key("keyFilters.key", form.key)?, predicate: predicate(form.predicate, expected, DEPTH_MAX)? })
}

/// `expected` is the type that goes with the value's; `left` how deep it may still nest.
fn predicate(form: PredicateForm, expected: Option<&str>, left: usize) -> Result<Predicate, Invalid> {
    let PredicateForm { r#type, operation, value, ignore_case, predicates } = form;
    if r#type != "COMPLEX"
        && let Some(expected) = expected
        && expected != r#type
    {
        return Err(Invalid::new("predicate.type", &r#type, format!("must be {expected}, as valueType says, or COMPLEX")));
    }
    match r#type.as_str() {
        "STRING" => {
            let operand = operand(value, |value| value.as_str().map(str::to_owned), "must be a text")?;
            Ok(Predicate::Text { operation: named(&TextOperation::NAMES, &operation)?, operand, ignore_case })
        }
        "NUMERIC" => {
            let operand = operand(value, Value::as_f64, "must be a number")?;
            Ok(Predicate::Number { operation: named(&NumberOperation::NAMES, &operation)?, operand })
        }
        "BOOLEAN" => {
            let operand = operand(value, Value::as_bool, "must be true or false")?;
            Ok(Predicate::Bool { operation: named(&BoolOperation::NAMES, &operation)?, operand })
        }
        "COMPLEX" => {
            let Some(left) = left.checked_sub(1) else {
                return Err(Invalid::new("predicate.predicates", "", format!("must nest at most {DEPTH_MAX} deep")));
            };
            let parts = predicates.unwrap_or_default().into_iter().map(|part| predicate(part, expected, left));
            let parts = parts.collect::<Result<_, _>>()?;
            match operation.as_str() {
                "AND" => Ok(Predicate::All(parts)),
                "OR" => Ok(Predicate::Any(parts)),
                other => Err(Invalid::new("predicate.operation", other, "must be AND or OR")),
            }
        }
        other => Err(Invalid::new("predicate.type", other, "must be STRING, NUMERIC, BOOLEAN or COMPLEX")),
    }
}

fn named<T: Copy>(names: &[(&'static str, T)], name: &str) -> Result<T, Invalid> {
    let found = names.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation);
    found.ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        Invalid::new("predicate.operation", name, format!("must be one of {}", names.join(", ")))
    })
}

/// The user's value, else the default; a dynamic one wins over both once it is known.
fn operand<T>(form: Option<OperandForm>, read: impl Fn(&Value) -> Option<T>, rule: &str) -> Result<Operand<T>, Invalid> {
    let form = form.ok_or_else(|| Invalid::new("predicate.value", "", rule))?;
    let given = form.user_value.filter(|value| !value.is_null()).or(form.default_value).unwrap_or(Value::Null);
    let fixed = read(&given).ok_or_else(|| Invalid::new("predicate.value", &given.to_string(), rule))?;
    Ok(Operand { fixed, dynamic: dynamic(form.dynamic_value)? })
}

fn dynamic(form: Option<DynamicForm>) -> Result<Option<Dynamic>, Invalid> {
    let Some(DynamicForm { source_type: Some(name), source_attribute, inherit }) = form else { return Ok(None) };
    let source = match name.as_str() {
        "CURRENT_TENANT" => DynamicSource::Tenant,
        "CURRENT_CUSTOMER" => DynamicSource::Customer,
        "CURRENT_USER" => DynamicSource::User,
        other => {
            let rule = "must be CURRENT_TENANT, CURRENT_CUSTOMER or CURRENT_USER";
            return Err(Invalid::new("dynamicValue.sourceType", other, rule));
        }
    };
    let attribute = source_attribute.filter(|attribute| !attribute.is_empty());
    let missing = || Invalid::new("dynamicValue.sourceAttribute", "", "must name a server attribute");
    Ok(Some(Dynamic { source, attribute: attribute.ok_or_else(missing)?, inherit }))
}
