//! Assets and relations: what belongs to what, made over REST, asked by nodes from the moment the answer came. Never waits for a
//! push.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{
    Fixture, device, device_named, device_with, draw_root, gateway, id_of, latest_value, root_chain, second_tenant, tenant,
};
use tests::harness::instance::{Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::rest::Rest;

fn asset(rest: &Rest, name: &str, kind: &str) -> String {
    id_of(&rest.post("/api/asset", &json!({ "name": name, "type": kind })).json())
}

fn contains(asset: &str, device: &str) -> Value {
    let (from, to) = (json!({ "entityType": "ASSET", "id": asset }), json!({ "entityType": "DEVICE", "id": device }));
    json!({ "from": from, "to": to, "type": "Contains" })
}

/// The root chain stores readings of what `asset` contains, and nothing else.
fn draw(rest: &Rest, asset: &str) {
    let class = |name: &str| format!("org.thingsboard.rule.engine.{name}");
    let inside = json!({ "checkForSingleEntity": true, "direction": "FROM", "relationType": "Contains", "entityType": "ASSET",
        "entityId": asset });
    let nodes = json!([
        { "type": class("filter.TbMsgTypeSwitchNode"), "name": "types", "configuration": {} },
        { "type": class("filter.TbCheckRelationNode"), "name": "inside?", "configuration": inside },
        { "type": class("telemetry.TbMsgTimeseriesNode"), "name": "save", "configuration": { "defaultTTL": 0 } },
    ]);
    let edges = json!([
        { "fromIndex": 0, "toIndex": 1, "type": "Post telemetry" },
        { "fromIndex": 1, "toIndex": 2, "type": "True" },
    ]);
    let chain = json!({ "entityType": "RULE_CHAIN", "id": root_chain(rest) });
    let metadata = json!({ "ruleChainId": chain, "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    let _saved = rest.post("/api/ruleChain/metadata", &metadata).json();
}

#[test]
fn a_chain_asks_what_a_device_belongs_to() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let (hall, meter) = (asset(rest, "Hall", "building"), device(rest, "meter"));
    draw(rest, &hall);
    let mut wire = Wire::session(fixture.instance.mqtt(), &meter.token);
    assert_eq!(wire.telemetry(1, r#"{"outside":1}"#), 0);
    assert_eq!(latest_value(rest, &meter.id, "outside"), None, "it belongs to nothing yet");
    let reply = rest.post("/api/v2/relation", &contains(&hall, &meter.id));
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    assert_eq!(reply.json()["typeGroup"], "COMMON");
    assert_eq!(wire.telemetry(2, r#"{"inside":1}"#), 0);
    assert_eq!(latest_value(rest, &meter.id, "inside").as_deref(), Some("1"));
    let path = format!("fromId={hall}&fromType=ASSET&relationType=Contains&toId={}&toType=DEVICE", meter.id);
    rest.delete(&format!("/api/relation?{path}")).expect_text(200);
    assert_eq!(wire.telemetry(3, r#"{"after":1}"#), 0);
    assert_eq!(latest_value(rest, &meter.id, "after"), None);
    fixture.instance.stop();
}

#[test]
fn an_asset_has_values_and_is_found_by_its_relations() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let (hall, meter) = (asset(rest, "Hall", "building"), device(rest, "meter"));
    let values = |end: &str| format!("/api/plugins/telemetry/ASSET/{hall}/{end}");
    rest.post(&values("attributes/SERVER_SCOPE"), &json!({ "area": 120 })).expect_text(200);
    rest.post(&values("timeseries/ANY"), &json!({ "heat": 7 })).expect_text(200);
    assert_eq!(rest.get(&values("values/attributes?keys=area")).json()[0]["value"], 120);
    assert_eq!(rest.get(&values("values/timeseries?keys=heat")).json()["heat"][0]["value"], "7");
    rest.post("/api/relation", &contains(&hall, &meter.id)).expect_text(200);
    let large = json!({ "key": { "type": "SERVER_ATTRIBUTE", "key": "area" }, "valueType": "NUMERIC",
        "predicate": { "type": "NUMERIC", "operation": "GREATER", "value": { "defaultValue": 100 } } });
    let halls = json!({ "entityFilter": { "type": "assetType", "assetTypes": ["building"] }, "keyFilters": [large] });
    assert_eq!(rest.post("/api/entitiesQuery/count", &halls).json(), 1);
    let root = json!({ "entityType": "ASSET", "id": hall });
    let inside = json!({ "entityFilter": { "type": "relationsQuery", "rootEntity": root, "direction": "FROM", "maxLevel": 1 } });
    assert_eq!(rest.post("/api/entitiesQuery/count", &inside).json(), 1);
    let second = second_tenant(&fixture.instance);
    second.get(&format!("/api/asset/{hall}")).expect_error(404);
    second.get(&values("values/attributes")).expect_error(404);
    second.get(&format!("/api/relations?fromId={hall}&fromType=ASSET")).expect_error(404);
    assert_eq!(second.get("/api/tenant/assets?pageSize=10&page=0").json()["data"], json!([]));
    rest.delete(&format!("/api/asset/{hall}")).expect_text(200);
    assert_eq!(rest.get(&format!("/api/relations?toId={}&toType=DEVICE", meter.id)).json(), json!([]));
    fixture.instance.stop();
}

#[test]
fn a_gateway_is_related_to_the_children_it_made() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let speaker = gateway(rest, "speaker");
    let mut wire = Wire::session(fixture.instance.mqtt(), &speaker.token);
    assert_eq!(wire.acknowledged("v1/gateway/connect", 1, r#"{"device":"Child 1"}"#), 0);
    let child = id_of(&device_named(rest, "Child 1").expect("it was made"));
    let found = rest.get(&format!("/api/relations/info?fromId={}&fromType=DEVICE", speaker.id)).json();
    let [one] = found.as_array().expect("a list").as_slice() else { panic!("{found}") };
    assert_eq!((&one["type"], &one["to"]["id"], &one["toName"]), (&json!("Created"), &json!(child), &json!("Child 1")));
    fixture.instance.stop();
}

/// Saves the entity at this path with another label.
fn relabel(rest: &Rest, path: &str, id: &str, label: &str) -> Value {
    let mut entity = rest.get(&format!("{path}/{id}")).json();
    entity["label"] = json!(label);
    rest.post(path, &entity).json()
}

#[test]
fn a_chain_is_told_of_labels_that_people_change() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let related = |kind: &str, mapping: Value| {
        let query =
            json!({ "direction": "TO", "maxLevel": 1, "filters": [{ "relationType": "Contains", "entityTypes": [kind] }] });
        let configuration =
            json!({ "relationsQuery": query, "dataToFetch": "FIELDS", "dataMapping": mapping, "fetchTo": "DATA" });
        ("metadata.TbGetRelatedAttributeNode", configuration)
    };
    let own = json!({ "dataMapping": { "label": "label", "createdTime": "made", "nonsense": "nothing" }, "fetchTo": "DATA" });
    let nodes = [
        ("filter.TbMsgTypeSwitchNode", json!({})),
        ("metadata.TbGetOriginatorFieldsNode", own),
        related("ASSET", json!({ "label": "where" })),
        related("CUSTOMER", json!({ "phone": "phone" })),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
    ];
    draw_root(rest, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (3, "Success", 4)]);
    let (hall, meter) = (asset(rest, "Hall", "building"), device_with(rest, "meter", &json!({ "label": "Old" })));
    let owner = id_of(&rest.post("/api/customer", &json!({ "title": "Acme", "phone": "+49 7" })).json());
    rest.post("/api/relation", &contains(&hall, &meter.id)).expect_text(200);
    let mut owns = contains(&owner, &meter.id);
    owns["from"]["entityType"] = json!("CUSTOMER");
    rest.post("/api/relation", &owns).expect_text(200);
    let _hall = relabel(rest, "/api/asset", &hall, "Third hall");
    let mut wire = Wire::session(fixture.instance.mqtt(), &meter.token);
    let mut known = |n: u16, name: &str| {
        assert_eq!(wire.telemetry(n, &format!(r#"{{"n":{n}}}"#)), 0);
        latest_value(rest, &meter.id, name)
    };
    assert_eq!(known(1, "label").as_deref(), Some("Old"));
    let changed = relabel(rest, "/api/device", &meter.id, "New");
    assert_eq!(known(2, "label").as_deref(), Some("New"));
    assert_eq!(known(3, "made"), Some(changed["createdTime"].to_string()));
    assert_eq!((known(4, "where").as_deref(), known(5, "phone").as_deref()), (Some("Third hall"), Some("+49 7")));
    assert_eq!(known(6, "nothing"), None);
    let _hall = relabel(rest, "/api/asset", &hall, "Fourth hall");
    assert_eq!(known(7, "where").as_deref(), Some("Fourth hall"));
    fixture.instance.stop();
}

/// Readings of devices go on as readings of the hall that contains them, with what the hall is called and how large it is.
fn draw_halls(rest: &Rest) {
    let class = |name: &str| format!("org.thingsboard.rule.engine.{name}");
    let inside =
        json!({ "direction": "TO", "maxLevel": 1, "filters": [{ "relationType": "Contains", "entityTypes": ["ASSET"] }] });
    let area =
        json!({ "relationsQuery": inside, "dataToFetch": "ATTRIBUTES", "dataMapping": { "area": "area" }, "fetchTo": "DATA" });
    let name = json!({ "relationsQuery": inside, "dataToFetch": "FIELDS", "dataMapping": { "name": "hall" }, "fetchTo": "DATA" });
    let nodes = json!([
        { "type": class("filter.TbMsgTypeSwitchNode"), "name": "types", "configuration": {} },
        { "type": class("metadata.TbGetRelatedAttributeNode"), "name": "area", "configuration": area },
        { "type": class("metadata.TbGetRelatedAttributeNode"), "name": "name", "configuration": name },
        { "type": class("transform.TbChangeOriginatorNode"), "name": "to the hall",
            "configuration": { "originatorSource": "RELATED", "relationsQuery": inside } },
        { "type": class("telemetry.TbMsgTimeseriesNode"), "name": "save", "configuration": { "defaultTTL": 0 } },
    ]);
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (3, "Success", 4)];
    let edges = edges.map(|(from, label, to)| json!({ "fromIndex": from, "toIndex": to, "type": label }));
    let chain = json!({ "entityType": "RULE_CHAIN", "id": root_chain(rest) });
    let metadata = json!({ "ruleChainId": chain, "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    let _saved = rest.post("/api/ruleChain/metadata", &metadata).json();
}

#[test]
fn what_devices_say_goes_on_as_their_halls_and_a_kill_loses_none() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let rest = &fixture.tenant;
        draw_halls(rest);
        let halls = ["North", "South", "West"].map(|name| asset(rest, name, "building"));
        let meters = ["one", "two", "three"].map(|name| device(rest, name));
        for (hall, meter) in halls.iter().zip(&meters) {
            let area = format!("/api/plugins/telemetry/ASSET/{hall}/attributes/SERVER_SCOPE");
            rest.post(&area, &json!({ "area": 120 })).expect_text(200);
            rest.post("/api/relation", &contains(hall, &meter.id)).expect_text(200);
        }
        for meter in &meters {
            let mut wire = Wire::session(fixture.instance.mqtt(), &meter.token);
            for n in 1..=20_u16 {
                let ts = 1_700_000_000_000_i64 + i64::from(n);
                assert_eq!(wire.telemetry(n, &format!(r#"{{"ts":{ts},"values":{{"n":{n}}}}}"#)), 0);
            }
        }
        // What was acknowledged is there or on its way, to whichever shard.
        let Fixture { instance, home, .. } = fixture;
        instance.kill();
        let instance = Setup::standalone(&home).driver(driver).shards(3).start();
        let fixture = Fixture { tenant: tenant(&instance), instance, home };
        for (hall, meter) in halls.iter().zip(&meters) {
            hall_has_all(&fixture.tenant, hall);
            assert_eq!(latest_value(&fixture.tenant, &meter.id, "n"), None, "they are not the device's any more");
        }
        fixture.instance.stop();
    }
}

#[track_caller]
fn hall_has_all(rest: &Rest, hall: &str) {
    let range = "keys=n,area,hall&startTs=0&endTs=1800000000000&limit=100&orderBy=ASC";
    let path = format!("/api/plugins/telemetry/ASSET/{hall}/values/timeseries?{range}");
    let found = eventually("all of a device's readings are its hall's", || {
        let found = rest.get(&path).json();
        (found["n"].as_array().is_some_and(|all| all.len() == 20)).then_some(found)
    });
    let values: Vec<&str> = found["n"].as_array().expect("a list").iter().filter_map(|one| one["value"].as_str()).collect();
    assert_eq!(values, (1..=20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(found["area"][19]["value"], "120");
    assert_eq!(found["hall"][0]["value"], rest.get(&format!("/api/asset/{hall}")).json()["name"]);
}
