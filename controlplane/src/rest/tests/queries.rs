//! Entity queries, from the REST side: filters, conditions on fields, attributes and series, order, pages, shapes.

use schemas::generated::query as wire;

use super::*;
use crate::{domain::EntityKind, telemetry::tests::series_of};

struct Fleet {
    house: House,
    _fake: Fake,
    token: String,
}

fn server(key: &str, value: schemas::telemetry::Value<'static>) -> wire::Attribute {
    wire::Attribute { scope: wire::Scope::Server.into(), key: key.to_owned(), last_update_ts: 9, value: Some(value.into()) }
}

impl Fleet {
    /// The demo's three devices: A1 is the customer's; temperatures are 20.5, 31 and none; T1 is active.
    async fn open() -> Self {
        let fake = Fake::start().await;
        let house = House::open(Some(&fake)).await;
        let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
        let fleet = Self { house, _fake: fake, token };
        for (name, temperature, active) in
            [("Test Device A1", Some(20.5), false), ("Test Device A2", Some(31.0), false), ("Thermometer T1", None, true)]
        {
            let series = temperature.map(|value| series_of("temperature", vec![(5, schemas::telemetry::Value::Double(value))]));
            let attributes = vec![server("active", schemas::telemetry::Value::Bool(active))];
            let latest = wire::LatestOf { series: series.into_iter().collect(), attributes };
            fleet._fake.latest.lock().await.insert(fleet.id(name).await, latest);
        }
        fleet
    }

    async fn id(&self, name: &str) -> uuid::Uuid {
        let path = format!("/api/tenant/devices?deviceName={}", name.replace(' ', "%20"));
        let device = self.house.ask(&Method::GET, &path, Some(&self.token), None).await.body;
        device["id"]["id"].as_str().unwrap().parse().unwrap()
    }

    async fn find(&self, query: &Value) -> Answer {
        self.house.ask(&Method::POST, "/api/entitiesQuery/find", Some(&self.token), Some(&query.to_string())).await
    }

    async fn count(&self, query: &Value) -> Answer {
        self.house.ask(&Method::POST, "/api/entitiesQuery/count", Some(&self.token), Some(&query.to_string())).await
    }

    /// The names found must be these, in this order, and the count theirs.
    async fn check(&self, query: Value, expected: &[&str]) {
        let answer = self.find(&query).await;
        let rows = answer.body["data"].as_array().unwrap_or_else(|| panic!("{query}: {answer:?}"));
        let names: Vec<&str> = rows.iter().map(|row| row["latest"]["ENTITY_FIELD"]["name"]["value"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
        if query["pageLink"]["textSearch"].is_null() {
            let total = &answer.body["totalElements"];
            assert_eq!(&self.count(&query).await.body, total, "{query}");
        }
    }
}

fn query(filter: Value, conditions: Value) -> Value {
    json!({
        "entityFilter": filter,
        "keyFilters": conditions,
        "pageLink": {"pageSize": 10, "page": 0, "sortOrder": {"key": key("ENTITY_FIELD", "name"), "direction": "ASC"}},
        "entityFields": [key("ENTITY_FIELD", "name")],
        "latestValues": [],
    })
}

fn key(kind: &str, key: &str) -> Value {
    json!({"type": kind, "key": key})
}

fn all() -> Value {
    json!({"type": "entityType", "entityType": "DEVICE"})
}

fn on(kind: &str, key: &str, value_type: &str, predicate: Value) -> Value {
    json!({"key": {"type": kind, "key": key}, "valueType": value_type, "predicate": predicate})
}

fn simple(kind: &str, operation: &str, value: Value) -> Value {
    json!({"type": kind, "operation": operation, "value": {"defaultValue": value, "dynamicValue": null}})
}

const A1: &str = "Test Device A1";
const A2: &str = "Test Device A2";
const T1: &str = "Thermometer T1";

#[tokio::test]
async fn filters_choose_devices() {
    let fleet = Fleet::open().await;
    let (a1, t1) = (fleet.id(A1).await, fleet.id(T1).await);
    let check = async |filter: Value, expected: &[&str]| fleet.check(query(filter, Value::Null), expected).await;
    check(all(), &[A1, A2, T1]).await;
    check(json!({"type": "singleEntity", "singleEntity": {"entityType": "DEVICE", "id": a1}}), &[A1]).await;
    check(json!({"type": "entityList", "entityType": "DEVICE", "entityList": [t1, a1, uuid::Uuid::nil()]}), &[A1, T1]).await;
    check(json!({"type": "entityName", "entityType": "DEVICE", "entityNameFilter": "test"}), &[A1, A2]).await;
    check(json!({"type": "entityName", "entityType": "DEVICE", "entityNameFilter": "%t1"}), &[T1]).await;
    check(json!({"type": "entityName", "entityType": "DEVICE", "entityNameFilter": "test_"}), &[]).await;
    check(json!({"type": "deviceType", "deviceTypes": ["default"], "deviceNameFilter": "thermo"}), &[T1]).await;
    check(json!({"type": "deviceType", "deviceType": "default"}), &[A1, A2, T1]).await;
    check(json!({"type": "deviceType", "deviceTypes": ["meter"]}), &[]).await;
    let mut search = query(all(), Value::Null);
    search["pageLink"]["textSearch"] = json!("DEVICE");
    fleet.check(search, &[A1, A2]).await;
    // A customer user sees its customer's devices only.
    let customer = fleet.house.sign_in("customer@thingsboard.org", "customer").await;
    let text = query(all(), Value::Null).to_string();
    let theirs = fleet.house.ask(&Method::POST, "/api/entitiesQuery/count", Some(&customer), Some(&text)).await;
    assert_eq!(theirs.body, json!(1));
    let system = fleet.house.sign_in("sysadmin@thingsboard.org", "sysadmin").await;
    let outside = fleet.house.ask(&Method::POST, "/api/entitiesQuery/find", Some(&system), Some(&text)).await;
    refused(&outside, StatusCode::FORBIDDEN, 20, "permission");
}

#[tokio::test]
async fn conditions_meet_fields_attributes_and_series() {
    let fleet = Fleet::open().await;
    let check = async |conditions: Value, expected: &[&str]| fleet.check(query(all(), conditions), expected).await;
    let name = |operation: &str, value: &str, ignore_case: bool| {
        let mut predicate = simple("STRING", operation, json!(value));
        predicate["ignoreCase"] = json!(ignore_case);
        on("ENTITY_FIELD", "name", "STRING", predicate)
    };
    // The same conditions by SQL (whatever the case) and here (minding it) find the same.
    for ignore_case in [true, false] {
        check(json!([name("EQUAL", A1, ignore_case)]), &[A1]).await;
        check(json!([name("NOT_EQUAL", A1, ignore_case)]), &[A2, T1]).await;
        check(json!([name("STARTS_WITH", "Test", ignore_case)]), &[A1, A2]).await;
        check(json!([name("ENDS_WITH", "1", ignore_case)]), &[A1, T1]).await;
        check(json!([name("CONTAINS", "Device", ignore_case)]), &[A1, A2]).await;
        check(json!([name("NOT_CONTAINS", "Device", ignore_case)]), &[T1]).await;
        check(json!([name("IN", "Thermometer T1, Test Device A2", ignore_case)]), &[A2, T1]).await;
        check(json!([name("NOT_IN", A1, ignore_case)]), &[A2, T1]).await;
        check(json!([name("CONTAINS", "_", ignore_case)]), &[]).await;
    }
    check(json!([name("CONTAINS", "device", false)]), &[]).await;
    let label = on("ENTITY_FIELD", "label", "STRING", simple("STRING", "NOT_EQUAL", json!("x")));
    check(json!([label]), &[A1, A2, T1]).await;
    let made = |operation: &str, ms: i64| on("ENTITY_FIELD", "createdTime", "DATE_TIME", simple("NUMERIC", operation, json!(ms)));
    check(json!([made("GREATER", 0)]), &[A1, A2, T1]).await;
    check(json!([made("LESS", 1)]), &[]).await;
    let temperature =
        |operation: &str, value: f64| on("TIME_SERIES", "temperature", "NUMERIC", simple("NUMERIC", operation, json!(value)));
    check(json!([temperature("GREATER", 21.0)]), &[A2]).await;
    check(json!([temperature("NOT_EQUAL", 20.5)]), &[A2, T1]).await;
    let active = |kind: &str| on(kind, "active", "BOOLEAN", simple("BOOLEAN", "EQUAL", json!(true)));
    for kind in ["ATTRIBUTE", "SERVER_ATTRIBUTE"] {
        check(json!([active(kind)]), &[T1]).await;
    }
    for kind in ["CLIENT_ATTRIBUTE", "SHARED_ATTRIBUTE"] {
        check(json!([active(kind)]), &[]).await;
    }
    check(json!([temperature("GREATER", 10.0), name("ENDS_WITH", "1", true)]), &[A1]).await;
    let parts = [simple("NUMERIC", "LESS", json!(21)), simple("NUMERIC", "GREATER", json!(30))];
    let complex = json!({"type": "COMPLEX", "operation": "OR", "predicates": parts});
    check(json!([on("TIME_SERIES", "temperature", "NUMERIC", complex)]), &[A1, A2]).await;
    let mut either = query(all(), json!([temperature("GREATER", 30.0), active("SERVER_ATTRIBUTE")]));
    either["keyFiltersOperation"] = json!("OR");
    fleet.check(either, &[A2, T1]).await;
    let mut either = query(all(), json!([name("EQUAL", A1, true), name("EQUAL", T1, true)]));
    either["keyFiltersOperation"] = json!("OR");
    fleet.check(either, &[A1, T1]).await;
}

#[tokio::test]
async fn operands_may_be_attributes_of_whoever_asks() {
    let fleet = Fleet::open().await;
    let me = fleet.house.ask(&Method::GET, "/api/auth/user", Some(&fleet.token), None).await.body;
    let id = |field: &str| me[field]["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    let limit =
        |value| wire::LatestOf { series: Vec::new(), attributes: vec![server("limit", schemas::telemetry::Value::Long(value))] };
    fleet._fake.latest.lock().await.insert(id("tenantId"), limit(30));
    let dynamic = |source: &str, inherit: bool| {
        let mut predicate = simple("NUMERIC", "GREATER", json!(0));
        predicate["value"]["dynamicValue"] = json!({"sourceType": source, "sourceAttribute": "limit", "inherit": inherit});
        query(all(), json!([on("TIME_SERIES", "temperature", "NUMERIC", predicate)]))
    };
    fleet.check(dynamic("CURRENT_TENANT", false), &[A2]).await;
    fleet.check(dynamic("CURRENT_USER", true), &[A2]).await;
    // Without the attribute the default stands.
    fleet.check(dynamic("CURRENT_USER", false), &[A1, A2]).await;
    fleet.check(dynamic("CURRENT_CUSTOMER", false), &[A1, A2]).await;
    fleet._fake.latest.lock().await.insert(id("id"), limit(20));
    fleet.check(dynamic("CURRENT_USER", false), &[A1, A2]).await;
    refused(&fleet.find(&dynamic("CURRENT_DEVICE", false)).await, StatusCode::BAD_REQUEST, 31, "sourceType: \"CURRENT_DEVICE\"");
}

#[tokio::test]
async fn rows_have_thingsboards_shape_and_pages_do_not_overlap() {
    let fleet = Fleet::open().await;
    let mut asked = query(all(), Value::Null);
    let sort = json!({"key": key("TIME_SERIES", "temperature"), "direction": "DESC"});
    asked["pageLink"] = json!({"pageSize": 2, "page": 0, "sortOrder": sort});
    asked["entityFields"] = json!(["name", "ownerName", "colour"].map(|name| key("ENTITY_FIELD", name)));
    let active = ["ATTRIBUTE", "SHARED_ATTRIBUTE"].map(|kind| key(kind, "active"));
    asked["latestValues"] = json!([key("TIME_SERIES", "temperature"), active[0], active[1]]);
    let page = fleet.find(&asked).await.body;
    assert_eq!((&page["totalElements"], &page["totalPages"], &page["hasNext"]), (&json!(3), &json!(2), &json!(true)));
    let row = &page["data"][0];
    assert_eq!(row["entityId"], json!({"entityType": EntityKind::Device.name(), "id": fleet.id(A2).await}));
    assert_eq!(row["latest"]["TIME_SERIES"], json!({"temperature": {"ts": 5, "value": "31.0"}}));
    assert_eq!(row["latest"]["ATTRIBUTE"], json!({"active": {"ts": 9, "value": "false"}}));
    assert_eq!(row["latest"]["SHARED_ATTRIBUTE"], json!({"active": {"ts": 0, "value": ""}}));
    let fields = &row["latest"]["ENTITY_FIELD"];
    assert_eq!((&fields["ownerName"]["value"], &fields["colour"]), (&json!("Tenant"), &json!({"ts": 0, "value": ""})));
    assert!(fields["name"]["ts"].as_i64().is_some_and(|ts| ts > 0));
    assert_eq!((&row["timeseries"], &row["aggLatest"]), (&json!({}), &json!({})));
    assert_eq!(page["data"][1]["latest"]["ENTITY_FIELD"]["ownerName"]["value"], "Customer A");
    asked["pageLink"]["page"] = json!(1);
    fleet.check(asked, &[T1]).await;
    for (direction, expected) in [("ASC", A1), ("DESC", T1)] {
        let mut paged = query(all(), Value::Null);
        paged["pageLink"]["pageSize"] = json!(1);
        paged["pageLink"]["sortOrder"]["direction"] = json!(direction);
        fleet.check(paged, &[expected]).await;
    }
    // Lists show who is active, by one question for the whole page.
    let infos = fleet
        .house
        .ask(&Method::GET, "/api/tenant/deviceInfos?pageSize=10&page=0&sortProperty=name&sortOrder=ASC", Some(&fleet.token), None)
        .await
        .body;
    let active: Vec<bool> = infos["data"].as_array().unwrap().iter().map(|info| info["active"].as_bool().unwrap()).collect();
    assert_eq!(active, [false, false, true]);
}

#[tokio::test]
async fn assets_and_what_relations_lead_to_are_found() {
    let fleet = Fleet::open().await;
    let post = async |path: &str, body: Value| {
        fleet.house.ask(&Method::POST, path, Some(&fleet.token), Some(&body.to_string())).await.body
    };
    let hall = post("/api/asset", json!({"name": "Hall", "type": "building"})).await["id"].clone();
    let room = post("/api/asset", json!({"name": "Room", "type": "room"})).await["id"].clone();
    let device = |id: uuid::Uuid| json!({"entityType": "DEVICE", "id": id});
    let (a1, a2) = (device(fleet.id(A1).await), device(fleet.id(A2).await));
    for (from, kind, to) in [(&hall, "Contains", &room), (&room, "Contains", &a1), (&room, "Manages", &a2)] {
        post("/api/v2/relation", json!({"from": from, "to": to, "type": kind})).await;
    }
    let check = async |filter: Value, expected: &[&str]| fleet.check(query(filter, Value::Null), expected).await;
    check(json!({"type": "entityType", "entityType": "ASSET"}), &["Hall", "Room"]).await;
    check(json!({"type": "singleEntity", "singleEntity": hall}), &["Hall"]).await;
    check(json!({"type": "entityName", "entityType": "ASSET", "entityNameFilter": "ro"}), &["Room"]).await;
    check(json!({"type": "assetType", "assetTypes": ["building"], "assetNameFilter": "h"}), &["Hall"]).await;
    let walk = |more: Value| {
        let mut filter = json!({"type": "relationsQuery", "rootEntity": hall, "direction": "FROM", "maxLevel": 0});
        filter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        filter
    };
    check(walk(json!({})), &["Room", A1, A2]).await;
    check(walk(json!({"maxLevel": 1})), &["Room"]).await;
    check(walk(json!({"fetchLastLevelOnly": true})), &[A1, A2]).await;
    check(walk(json!({"filters": [{"relationType": "Manages", "entityTypes": ["DEVICE"]}]})), &[A2]).await;
    check(walk(json!({"type": "deviceSearchQuery", "relationType": "Contains", "deviceTypes": ["default"]})), &[A1]).await;
    check(walk(json!({"type": "assetSearchQuery", "relationType": "Contains", "assetTypes": ["building"]})), &[]).await;
    let warm = on("TIME_SERIES", "temperature", "NUMERIC", simple("NUMERIC", "GREATER", json!(21)));
    fleet.check(query(walk(json!({})), json!([warm])), &[A2]).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    let fleet = Fleet::open().await;
    let with = |place: &str, value: Value| {
        let text = on("ENTITY_FIELD", "name", "STRING", simple("STRING", "EQUAL", json!("x")));
        let mut asked = query(all(), json!([text]));
        *asked.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
        asked
    };
    let cases = [
        ("/entityFilter", json!({"type": "edgeType"}), "entityFilter.type: \"edgeType\" must be singleEntity"),
        ("/entityFilter", json!({"type": "relationsQuery"}), "entityFilter.rootEntity"),
        ("/entityFilter", json!({}), "entityFilter.type"),
        ("/entityFilter", json!({"type": "entityType", "entityType": "EDGE"}), "entityType: \"EDGE\" must be of DEVICE"),
        ("/entityFilter", json!({"type": "assetType"}), "assetTypes"),
        ("/entityFilter", json!({"type": "singleEntity", "singleEntity": {"entityType": "DEVICE", "id": "x"}}), "must be a UUID"),
        ("/entityFilter", json!({"type": "entityList", "entityType": "DEVICE"}), "entityList"),
        ("/entityFilter", json!({"type": "entityName", "entityType": "DEVICE"}), "entityNameFilter"),
        ("/entityFilter", json!({"type": "deviceType"}), "deviceTypes"),
        ("/keyFilters/0/key/type", json!("ALARM_FIELD"), "keyFilters.key: \"ALARM_FIELD\" must have a type of ENTITY_FIELD"),
        ("/keyFilters/0/key/key", json!("colour"), "keyFilters.key: \"colour\" must be one of createdTime"),
        ("/keyFilters/0/valueType", json!("COLOUR"), "valueType"),
        ("/keyFilters/0/valueType", json!("NUMERIC"), "predicate.type: \"STRING\" must be NUMERIC"),
        ("/keyFilters/0/predicate/type", json!("REGEX"), "predicate.type"),
        ("/keyFilters/0/predicate/operation", json!("GREATER"), "predicate.operation: \"GREATER\" must be one of EQUAL"),
        ("/keyFilters/0/predicate/value", json!(null), "predicate.value"),
        ("/keyFilters/0/predicate/value/defaultValue", json!(7), "predicate.value: \"7\" must be a text"),
        ("/keyFilters/0/predicate", json!({"type": "COMPLEX", "operation": "XOR"}), "predicate.operation: \"XOR\""),
        ("/pageLink/pageSize", json!(0), "pageSize: \"0\" must be 1 to 1000"),
        ("/pageLink/pageSize", json!(-1), "request body"),
        ("/pageLink/sortOrder/direction", json!("UP"), "must be ASC or DESC"),
        ("/pageLink/sortOrder/key/key", json!("colour"), "sortOrder.key"),
        ("/entityFields/0/type", json!("FIELD"), "entityFields: \"FIELD\""),
        ("/entityFields", json!(7), "request body"),
    ];
    for (place, value, says) in cases {
        refused(&fleet.find(&with(place, value)).await, StatusCode::BAD_REQUEST, 31, says);
    }
    let mut operation = query(all(), Value::Null);
    operation["keyFiltersOperation"] = json!("XOR");
    refused(&fleet.count(&operation).await, StatusCode::BAD_REQUEST, 31, "keyFiltersOperation");
    let wrong = on("TIME_SERIES", "wrong", "NUMERIC", simple("NUMERIC", "EQUAL", json!(1)));
    refused(&fleet.count(&query(all(), json!([wrong]))).await, StatusCode::BAD_REQUEST, 31, "is wrong");
}
