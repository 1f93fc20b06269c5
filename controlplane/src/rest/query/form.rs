//! The bodies of entity queries (reference 2.3, 10) and how they become a query. What this version does not offer is refused by
//! name. Never looks at a device.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    BoolOperation, DeviceListing, DeviceQuery, Dynamic, DynamicSource, EntityKind, Invalid, Key, KeyFilter, KeyKind,
    NumberOperation, Operand, PageLink, Predicate, Selector, SortOrder, TextOperation,
};

/// Predicates nest no deeper than the domain allows; this only keeps the reading of them from going on for ever.
const DEPTH_MAX: usize = 32;

/// A page of devices to find.
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

/// Devices to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityCountQuery)]
pub(in crate::rest) struct CountForm {
    /// `singleEntity`, `entityList`, `entityName`, `entityType` (all of `DEVICE`) or `deviceType`.
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

impl ListingForm {
    pub(in crate::rest) fn listing(self) -> Result<DeviceListing, Invalid> {
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
        let named = |field, keys: Option<Vec<KeyForm>>| -> Result<Vec<Key>, Invalid> {
            keys.unwrap_or_default().into_iter().map(|form| key(field, form)).collect()
        };
        let mut shown = named("entityFields", self.entity_fields)?;
        shown.extend(named("latestValues", self.latest_values)?);
        Ok(DeviceListing { query, page_size: link.page_size, page: link.page, sort, descending, shown })
    }
}

impl CountForm {
    pub(in crate::rest) fn query(self) -> Result<DeviceQuery, Invalid> {
        let any = match self.key_filters_operation.as_deref() {
            None | Some("AND") => false,
            Some("OR") => true,
            Some(other) => return Err(Invalid::new("keyFiltersOperation", other, "must be AND or OR")),
        };
        let filters = self.key_filters.unwrap_or_default().into_iter().map(filter).collect::<Result<_, _>>()?;
        Ok(DeviceQuery { selector: selector(&self.entity_filter)?, filters, any, search: None })
    }
}

fn key(field: &'static str, form: KeyForm) -> Result<Key, Invalid> {
    let names: Vec<&str> = KeyKind::ALL.iter().map(|kind| kind.name()).collect();
    let unknown = || Invalid::new(field, &form.r#type, format!("must have a type of {}", names.join(", ")));
    Ok(Key { kind: KeyKind::parse(&form.r#type).ok_or_else(unknown)?, name: form.key })
}

const FILTERS: &str = "must be singleEntity, entityList, entityName, entityType or deviceType: others are not offered yet";

fn selector(filter: &Value) -> Result<Selector, Invalid> {
    let text = |name: &str| filter.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("type").unwrap_or_default();
    match kind {
        "singleEntity" => {
            let entity = filter.get("singleEntity").unwrap_or(&Value::Null);
            device_only("entityFilter.singleEntity", entity.get("entityType").and_then(Value::as_str))?;
            Ok(Selector::Ids(vec![id("entityFilter.singleEntity", entity.get("id").unwrap_or(&Value::Null))?]))
        }
        "entityList" => {
            device_only("entityFilter.entityType", text("entityType"))?;
            let listed = filter.get("entityList").and_then(Value::as_array);
            let listed = listed.ok_or_else(|| Invalid::new("entityFilter.entityList", "", "must be a list of UUIDs"))?;
            Ok(Selector::Ids(listed.iter().map(|one| id("entityFilter.entityList", one)).collect::<Result<_, _>>()?))
        }
        "entityName" => {
            device_only("entityFilter.entityType", text("entityType"))?;
            let name = text("entityNameFilter");
            let missing = || Invalid::new("entityFilter.entityNameFilter", "", "must be what names begin with");
            Ok(Selector::Named(name.ok_or_else(missing)?.to_owned()))
        }
        "entityType" => {
            device_only("entityFilter.entityType", text("entityType"))?;
            Ok(Selector::All)
        }
        "deviceType" => {
            let listed = filter.get("deviceTypes").and_then(Value::as_array).into_iter().flatten();
            let mut types: Vec<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
            types.extend(text("deviceType").map(str::to_owned));
            if types.is_empty() {
                return Err(Invalid::new("entityFilter.deviceTypes", "", "must name at least one device type"));
            }
            Ok(Selector::Types(types, text("deviceNameFilter").map(str::to_owned)))
        }
        other => Err(Invalid::new("entityFilter.type", other, FILTERS)),
    }
}

fn device_only(field: &'static str, kind: Option<&str>) -> Result<(), Invalid> {
    match kind {
        Some(kind) if kind == EntityKind::Device.name() => Ok(()),
        other => Err(Invalid::new(field, other.unwrap_or_default(), "must be of DEVICE: others are not offered yet")),
    }
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
