//! What happens in the control plane enters rule chains: entities and relations that come, change and go, whoever is killed meanwhile.
//! Never asserts how soon.

use std::time::Instant;

use serde_json::{Value, json};
use tests::harness::fixture::{self, Fixture, applied, demo_device, device, draw_root, history, id_of};
use tests::harness::instance::Home;
use tests::harness::planes::{Planes, joined};
use tests::harness::rest::Rest;
use tests::harness::{PATIENCE, eventually};

const TYPES: &str = "filter.TbMsgTypeSwitchNode";
const TRANSFORM: &str = "transform.TbTransformMsgNode";
const SAVE_ATTRIBUTES: &str = "telemetry.TbMsgAttributesNode";
const SAVE: &str = "telemetry.TbMsgTimeseriesNode";

/// The root chain writes down what it is told as attributes of whom it is told of, under the message's type; of what is gone as
/// attributes of the tenant.
fn draw_diary(rest: &Rest) {
    let said = "var said = {}; said[msgType] = {data: msg, beside: metadata};
        return {msg: said, metadata: {}, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        (TYPES, json!({})),
        (TRANSFORM, json!({ "scriptLang": "JS", "jsScript": said })),
        (SAVE_ATTRIBUTES, json!({ "scope": "SERVER_SCOPE", "notifyDevice": false })),
        ("transform.TbChangeOriginatorNode", json!({ "originatorSource": "TENANT" })),
    ];
    let labels = [
        "Entity Created",
        "Entity Updated",
        "Entity Assigned",
        "Entity Unassigned",
        "Relation Added or Updated",
        "Relation Deleted",
        "All Relations Deleted",
    ];
    let mut edges: Vec<(usize, &str, usize)> = labels.into_iter().map(|label| (0, label, 1)).collect();
    edges.extend([(1, "Success", 2), (0, "Entity Deleted", 3), (3, "Success", 1)]);
    draw_root(rest, &nodes, &edges);
}

/// What was written down of an entity under a type.
fn told(rest: &Rest, (kind, id): (&str, &str), of: &str) -> Value {
    let path = format!("/api/plugins/telemetry/{kind}/{id}/values/attributes/SERVER_SCOPE?keys={of}");
    eventually(&format!("{kind} {id} is told {of}"), || rest.get(&path).json()[0].get("value").cloned())
}

#[test]
fn chains_are_told_of_entities_and_relations() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    draw_diary(rest);
    let me = rest.get("/api/auth/user").json();
    let customer = applied(rest, "/api/customer", &json!({ "title": "Acme" }));
    assert_eq!(told(rest, ("CUSTOMER", &id_of(&customer)), "ENTITY_CREATED")["data"], customer);
    for (kind, path) in [("DEVICE", "device"), ("ASSET", "asset")] {
        let made = applied(rest, &format!("/api/{path}"), &json!({ "name": "one", "type": "default" }));
        let id = id_of(&made);
        let of = (kind, id.as_str());
        let created = told(rest, of, "ENTITY_CREATED");
        assert_eq!(created["data"], made);
        let beside = json!({ "userId": me["id"]["id"], "userName": me["email"], "userEmail": me["email"],
            "entityName": "one", "entityType": kind });
        assert_eq!(created["beside"], beside);
        let mut changed = made.clone();
        changed["label"] = json!("new");
        let changed = applied(rest, &format!("/api/{path}"), &changed);
        assert_eq!(told(rest, of, "ENTITY_UPDATED")["data"], changed);
        let shown = applied(rest, &format!("/api/customer/{}/{path}/{id}", id_of(&customer)), &json!({}));
        let assigned = told(rest, of, "ENTITY_ASSIGNED");
        assert_eq!(assigned["data"], shown);
        let beside = &assigned["beside"];
        assert_eq!((&beside["assignedCustomerId"], &beside["assignedCustomerName"]), (&customer["id"]["id"], &json!("Acme")));
        let _unassigned = rest.delete(&format!("/api/customer/{path}/{id}")).json();
        let beside = told(rest, of, "ENTITY_UNASSIGNED")["beside"].clone();
        assert_eq!((&beside["unassignedCustomerId"], &beside["unassignedCustomerName"]), (&customer["id"]["id"], &json!("Acme")));
    }
    check_relations(rest);
    check_deleted(rest, &me["tenantId"]["id"]);
    fixture.instance.stop();
}

/// Both ends are told.
fn check_relations(rest: &Rest) {
    let device = fixture::device_named(rest, "one").expect("it was made");
    let asset = rest.get("/api/tenant/assets?assetName=one").json();
    let relation =
        json!({ "from": asset["id"], "to": device["id"], "type": "Contains", "typeGroup": "COMMON", "additionalInfo": null });
    let _saved = rest.post("/api/v2/relation", &relation).json();
    let ends = [("DEVICE", id_of(&device)), ("ASSET", id_of(&asset))];
    for (kind, id) in &ends {
        let data = told(rest, (kind, id), "RELATION_ADD_OR_UPDATE")["data"].clone();
        assert_eq!((&data["from"], &data["to"], &data["type"]), (&asset["id"], &device["id"], &json!("Contains")));
    }
    let query = format!("fromId={}&fromType=ASSET&relationType=Contains&toId={}&toType=DEVICE", ends[1].1, ends[0].1);
    rest.delete(&format!("/api/relation?{query}")).expect_text(200);
    for (kind, id) in &ends {
        assert_eq!(told(rest, (kind, id), "RELATION_DELETED")["data"]["typeGroup"], "COMMON");
    }
    rest.delete(&format!("/api/relations?entityId={}&entityType=ASSET", ends[1].1)).expect_text(200);
    assert_eq!(told(rest, ("ASSET", &ends[1].1), "RELATIONS_DELETED")["data"], json!({}));
}

/// Of what is gone a chain can still tell others, and nothing is kept.
fn check_deleted(rest: &Rest, tenant: &Value) {
    let device = fixture::device_named(rest, "one").expect("it was made");
    rest.delete(&format!("/api/device/{}", id_of(&device))).expect_text(200);
    let tenant = tenant.as_str().expect("an id");
    let deleted = told(rest, ("TENANT", tenant), "ENTITY_DELETED");
    assert_eq!((&deleted["data"], &deleted["beside"]["entityName"]), (&device, &json!("one")));
}

/// The root chain saves each label that a device gets as a reading.
fn draw_labels(rest: &Rest) {
    // Simple, so that no script's share of the time decides.
    let label = "return {msg: {label: msg.label}, msgType: 'POST_TELEMETRY_REQUEST'};";
    let nodes =
        [(TYPES, json!({})), (TRANSFORM, json!({ "scriptLang": "JS", "jsScript": label })), (SAVE, json!({ "defaultTTL": 0 }))];
    draw_root(rest, &nodes, &[(0, "Entity Updated", 1), (1, "Success", 2)]);
}

fn labels(rest: &Rest, id: &str) -> Vec<f64> {
    let end = tests::harness::now_ms() + 1_000_000;
    let rows = history(rest, id, "label", &format!("startTs=0&endTs={end}&agg=NONE&limit=10000&orderBy=ASC"));
    rows.into_iter().map(|(_, label)| label).collect()
}

/// What was written while the data plane was away arrives when it is back, in order and once, however often either plane dies meanwhile.
#[test]
fn what_happens_while_planes_die_is_told_once_and_in_order() {
    const LABELS: u32 = 600;
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let mut data = planes.data.start();
    let demo = demo_device(&fixture::tenant(&control));
    let tenant = joined(&control, &demo.id);
    draw_labels(&tenant);
    let device = device(&tenant, "labelled");
    let mut said = tenant.get(&format!("/api/device/{}", device.id)).json();
    data.kill();
    for label in 1..=LABELS {
        said["label"] = json!(label.to_string());
        let reply = tenant.post("/api/device", &said);
        assert_eq!(reply.applied.as_deref(), Some("false"), "nobody is there");
        said = reply.json();
    }
    control.kill();
    data = planes.data.start();
    let control = planes.control.start();
    // At once when the first ones are seen, wherever the others are then.
    for _ in 0..3 {
        let tenant = fixture::tenant(&control);
        let latest = fixture::telemetry(&device.id, "values/timeseries?keys=label");
        let begun = Instant::now();
        while !tenant.get(&latest).text.contains("\"value\":\"") {
            assert!(begun.elapsed() < PATIENCE, "nothing is told");
        }
        data.kill();
        data = planes.data.start();
    }
    let tenant = joined(&control, &device.id);
    eventually("all are told", || (labels(&tenant, &device.id).len() >= LABELS as usize).then_some(()));
    // What comes again comes before what is said now.
    said["label"] = json!((LABELS + 1).to_string());
    tenant.post("/api/device", &said).expect_text(200);
    let last = f64::from(LABELS + 1);
    eventually("the last one is told", || labels(&tenant, &device.id).contains(&last).then_some(()));
    let expected: Vec<f64> = (1..=LABELS + 1).map(f64::from).collect();
    assert_eq!(labels(&tenant, &device.id), expected);
    data.stop();
    control.stop();
}
