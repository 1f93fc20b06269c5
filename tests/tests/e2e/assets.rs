//! Assets and relations: what belongs to what, made over REST, asked by nodes from the moment the answer came. Never waits for a
//! push.

use serde_json::{Value, json};
use tests::harness::fixture::{Fixture, device, device_named, gateway, id_of, latest_value, root_chain, second_tenant};
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
