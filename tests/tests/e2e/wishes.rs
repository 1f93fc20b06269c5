//! Chains that change entities, also while the control plane is away: devices assigned, related to what is made on the way, found by
//! name, asked what they show. Never asserts how long that takes.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{self, Fixture, attributes, device, draw_root, id_of, latest_value, root_chain, tenant};
use tests::harness::instance::Home;
use tests::harness::mqtt::Wire;
use tests::harness::planes::{Planes, joined};
use tests::harness::rest::Rest;

const TYPES: &str = "filter.TbMsgTypeSwitchNode";
const SAVE: &str = "telemetry.TbMsgTimeseriesNode";
const ASSIGN: &str = "action.TbAssignToCustomerNode";
const CREATE: &str = "action.TbCreateRelationNode";

fn say(fixture: &Fixture, token: &str, payload: &str) {
    assert_eq!(Wire::session(fixture.instance.mqtt(), token).telemetry(1, payload), 0);
}

fn save() -> (&'static str, Value) {
    (SAVE, json!({ "defaultTTL": 0 }))
}

/// The device belongs to a customer, and in a hall, which is called what the message says; both are made if there are none.
fn moves() -> [(&'static str, Value); 2] {
    let assign = json!({ "customerNamePattern": "$[owner]", "createCustomerIfNotExists": true });
    let relate = json!({ "direction": "TO", "relationType": "Contains", "entityType": "ASSET", "entityNamePattern": "$[hall]",
        "entityTypePattern": "hall", "createEntityIfNotExists": true, "removeCurrentRelations": true,
        "changeOriginatorToRelatedEntity": false });
    [(ASSIGN, assign), (CREATE, relate)]
}

fn customer_of(rest: &Rest, device: &str) -> Value {
    rest.get(&format!("/api/device/info/{device}")).json()["customerTitle"].clone()
}

/// Names of what contains a device.
fn halls_of(rest: &Rest, device: &str) -> Vec<String> {
    let found = rest.get(&format!("/api/relations/info?toId={device}&toType=DEVICE&relationType=Contains")).json();
    let rows = found.as_array().expect("relations are a list");
    rows.iter().map(|row| row["fromName"].as_str().expect("a name").to_owned()).collect()
}

fn asset_named(rest: &Rest, name: &str) -> Value {
    rest.get(&format!("/api/tenant/assets?assetName={name}")).json()
}

#[test]
fn a_chain_assigns_relates_and_is_seen_behind_it() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let [assign, relate] = moves();
    let query = json!({ "direction": "TO", "filters": [{ "relationType": "Contains", "entityTypes": ["ASSET"] }] });
    let to_hall = json!({ "originatorSource": "RELATED", "relationsQuery": query });
    let delete = json!({ "direction": "TO", "relationType": "Contains", "deleteForSingleEntity": false });
    let leave = json!({ "scriptLang": "TBEL", "tbelScript": "return msg.hall == 'none';", "jsScript": "" });
    let nodes = [
        (TYPES, json!({})),
        ("filter.TbJsFilterNode", leave),
        assign,
        relate,
        ("transform.TbChangeOriginatorNode", to_hall),
        save(),
        ("action.TbUnassignFromCustomerNode", json!({ "customerNamePattern": "" })),
        ("action.TbDeleteRelationNode", delete),
        save(),
    ];
    let edges = [
        (0, "Post telemetry", 1),
        (1, "False", 2),
        (2, "Success", 3),
        (3, "Success", 4),
        (4, "Success", 5),
        (1, "True", 6),
        (6, "Success", 7),
        (7, "Success", 8),
    ];
    draw_root(rest, &nodes, &edges);
    let pump = device(rest, "pump");
    say(&fixture, "pump", r#"{"owner":"Acme","hall":"North","n":1}"#);
    say(&fixture, "pump", r#"{"owner":"Acme","hall":"South","n":2}"#);
    let in_south = |_: &str| {
        let south = id_of(&eventually("there is a hall", || {
            let found = rest.get("/api/tenant/assets?assetName=South");
            (found.status == 200).then(|| found.json())
        }));
        eventually("the message became the hall's", || {
            let path = format!("/api/plugins/telemetry/ASSET/{south}/values/timeseries?keys=n");
            (rest.get(&path).json()["n"][0]["value"] == "2").then_some(())
        });
    };
    in_south("n");
    assert_eq!((customer_of(rest, &pump.id), halls_of(rest, &pump.id)), (json!("Acme"), vec!["South".to_owned()]));
    let north = asset_named(rest, "North");
    assert_eq!((&north["type"], latest_value(rest, &pump.id, "n")), (&json!("hall"), None));
    let lines = rest.get("/api/audit/logs?pageSize=100&page=0").json();
    let by_rules: Vec<&Value> =
        lines["data"].as_array().expect("a page").iter().filter(|line| line["userName"] == "Rule engine").collect();
    let did = |action: &str| by_rules.iter().filter(|line| line["actionType"] == action).count();
    assert_eq!((did("ASSIGNED_TO_CUSTOMER"), did("RELATION_DELETED")), (1, 2), "both ends of one relation: {by_rules:?}");

    say(&fixture, "pump", r#"{"hall":"none","n":3}"#);
    eventually("it is alone", || (latest_value(rest, &pump.id, "n")? == "3").then_some(()));
    assert_eq!((customer_of(rest, &pump.id), halls_of(rest, &pump.id)), (Value::Null, vec![]));
    fixture.instance.stop();
}

#[test]
fn what_is_wanted_while_the_control_plane_is_away_comes_about_later() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&tenant(&control));
    let rest = joined(&control, &demo.id);
    let [assign, relate] = moves();
    let query = json!({ "direction": "TO", "filters": [{ "relationType": "Contains", "entityTypes": ["ASSET"] }] });
    let told = json!({ "relationsQuery": query, "dataToFetch": "FIELDS", "dataMapping": { "name": "where" }, "fetchTo": "DATA" });
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (3, "Success", 4)];
    let related = ("metadata.TbGetRelatedAttributeNode", told);
    draw_root(&rest, &[(TYPES, json!({})), assign, relate, related, save()], &edges);
    let pumps = [device(&rest, "pump0"), device(&rest, "pump1")];
    control.kill();
    for (n, pump) in pumps.iter().enumerate() {
        let mut wire = Wire::session(data.mqtt(), &pump.token);
        for hall in ["North", "South"] {
            let said = format!(r#"{{"owner":"Acme {n}","hall":"{hall}","n":{n}}}"#);
            assert_eq!(wire.telemetry(1, &said), 0, "it is stored what is wanted");
        }
    }
    data.kill();
    let data = planes.data.start();
    let control = planes.control.start();
    let rest = joined(&control, &demo.id);
    for (n, pump) in pumps.iter().enumerate() {
        eventually("its last message has gone through", || {
            // Of a hall that was just made, on whichever shard.
            let saved = latest_value(&rest, &pump.id, "where")? == "South";
            saved.then_some(())
        });
        let found = (customer_of(&rest, &pump.id), halls_of(&rest, &pump.id));
        assert_eq!(found, (json!(format!("Acme {n}")), vec!["South".to_owned()]), "one after the other");
    }
    assert_eq!(asset_named(&rest, "North")["name"], "North");
    data.stop();
    control.stop();
}

#[test]
fn a_message_becomes_anothers_by_name_and_is_told_what_its_device_shows() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let by_name = json!({ "originatorSource": "ENTITY", "entityType": "DEVICE", "entityNamePattern": "device $[to]" });
    let script = "return {msg: {shown: metadata.credentialsType + ' ' + metadata.credentials}, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        (TYPES, json!({})),
        ("transform.TbChangeOriginatorNode", by_name),
        ("metadata.TbFetchDeviceCredentialsNode", json!({ "fetchTo": "METADATA" })),
        ("transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        ("telemetry.TbMsgAttributesNode", json!({ "scope": "SERVER_SCOPE" })),
        save(),
    ];
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (3, "Success", 4), (1, "Failure", 5)];
    draw_root(rest, &nodes, &edges);
    let (pump, others) = (device(rest, "pump"), ["valve", "tank", "gauge"].map(|token| device(rest, token)));
    for other in &others {
        say(&fixture, "pump", &format!(r#"{{"to":"{}"}}"#, other.token));
        let shown = eventually("it knows what it shows", || attributes(rest, &other.id, "SERVER_SCOPE").get("shown").cloned());
        assert_eq!(shown, json!(format!("ACCESS_TOKEN {}", other.token)));
    }
    say(&fixture, "pump", r#"{"to":"nobody"}"#);
    eventually("its own, by Failure", || (latest_value(rest, &pump.id, "to")? == "nobody").then_some(()));
    let dead = rest.get(&format!("/api/tidegate/deadLetters?pageSize=10&page=0&ruleChainId={}", root_chain(rest))).json();
    assert_eq!(dead["totalElements"], 0, "an edge led on");
    fixture.instance.stop();
}
