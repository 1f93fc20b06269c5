//! Rule chains over REST decide what is stored, from the moment the save is answered. Never waits for a push.

use serde_json::{Value, json};
use tests::harness::fixture::{Fixture, device, latest_value, root_chain, telemetry};
use tests::harness::mqtt::Wire;

const SAVE: &str = "TbMsgTimeseriesNode";

#[test]
fn a_chain_without_the_save_node_stops_storing() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = device(rest, "ruled");
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"before":1}"#), 0);
    assert_eq!(latest_value(rest, &device.id, "before").as_deref(), Some("1"));

    let chain = root_chain(rest);
    let path = format!("/api/ruleChain/{chain}/metadata");
    let original = rest.get(&path).json();
    let kinds: Vec<&str> = original["nodes"].as_array().expect("nodes").iter().filter_map(|node| node["type"].as_str()).collect();
    for kind in ["TbMsgTypeSwitchNode", SAVE, "TbMsgAttributesNode", "TbLogNode"] {
        assert!(kinds.iter().any(|name| name.ends_with(kind)), "the default root chain has {kind}: {kinds:?}");
    }
    let saved = rest.post("/api/ruleChain/metadata", &without(&original, SAVE)).json();
    assert_eq!(wire.telemetry(2, r#"{"silent":1}"#), 0, "evaluated and acknowledged");
    assert_eq!(latest_value(rest, &device.id, "silent"), None, "not stored");
    assert_eq!(wire.acknowledged("v1/devices/me/attributes", 3, r#"{"kept":1}"#), 0);
    let kept = rest.get(&telemetry(&device.id, "values/attributes/CLIENT_SCOPE?keys=kept")).json();
    assert_eq!(kept[0]["value"], 1, "attributes are still saved");

    let mut restored = original;
    restored["version"] = saved["version"].clone();
    let _saved = rest.post("/api/ruleChain/metadata", &restored).json();
    assert_eq!(wire.telemetry(4, r#"{"after":1}"#), 0);
    assert_eq!(latest_value(rest, &device.id, "after").as_deref(), Some("1"));
    fixture.instance.stop();
}

#[test]
fn a_wrong_chain_is_refused_and_changes_nothing() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let chain = root_chain(rest);
    let path = format!("/api/ruleChain/{chain}/metadata");
    let original = rest.get(&path).json();
    let wrong = [
        ("/firstNodeIndex", json!(99)),
        ("/nodes/0/type", json!("org.example.NoSuchNode")),
        ("/connections", json!([{ "fromIndex": 0, "toIndex": 77, "type": "Success" }])),
        ("/connections", json!([{ "fromIndex": 0, "toIndex": 0, "type": "Post telemetry" }])),
    ];
    for (pointer, value) in wrong {
        let mut metadata = original.clone();
        *metadata.pointer_mut(pointer).expect("the metadata has this") = value;
        rest.post("/api/ruleChain/metadata", &metadata).expect_error(400);
    }
    assert_eq!(rest.get(&path).json(), original);
    rest.get("/api/ruleChain/13814000-1dd2-11b2-8080-808080808080/metadata").expect_error(404);
    fixture.instance.stop();
}

/// The chain without the connections into nodes of one kind.
fn without(metadata: &Value, kind: &str) -> Value {
    let nodes = metadata["nodes"].as_array().expect("nodes");
    let is_kind = |index: &Value| {
        let node = index.as_u64().and_then(|index| nodes.get(usize::try_from(index).ok()?));
        node.is_some_and(|node| node["type"].as_str().is_some_and(|name| name.ends_with(kind)))
    };
    let mut metadata = metadata.clone();
    metadata["connections"].as_array_mut().expect("connections").retain(|connection| !is_kind(&connection["toIndex"]));
    metadata
}
