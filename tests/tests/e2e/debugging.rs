//! Seeing what a chain does: per-node statistics and debug events of a running instance, of messages that a third-party client sent to
//! devices of several shards. Never asserts how long a node takes.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device, draw_root, latest_value, root_chain, second_tenant};
use tests::harness::python::{Publication, mosquitto_pub};
use tests::harness::rest::Rest;

const DEVICES: u64 = 6;

/// The root chain: a filter of which everything is looked at, and behind it a node that fails, of which only that is.
fn draw(rest: &Rest) -> (String, Value) {
    let chain = root_chain(rest);
    let node = |class: &str, name: &str, configuration: Value, debug: Value| {
        json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": name, "configuration": configuration,
            "debugSettings": debug })
    };
    let warm = json!({ "scriptLang": "TBEL", "tbelScript": "return msg.temperature > 20;" });
    let metadata = json!({
        "ruleChainId": { "entityType": "RULE_CHAIN", "id": chain }, "firstNodeIndex": 0,
        "nodes": [
            node("filter.TbMsgTypeSwitchNode", "types", json!({}), json!(null)),
            node("filter.TbJsFilterNode", "warm?", warm, json!({ "failuresEnabled": true, "allEnabled": true })),
            node("transform.TbSplitArrayMsgNode", "split", json!({}), json!({ "failuresEnabled": true, "allEnabled": false })),
        ],
        "connections": [{ "fromIndex": 0, "toIndex": 1, "type": "Post telemetry" }, { "fromIndex": 1, "toIndex": 2, "type": "True" }],
    });
    let saved = rest.post("/api/ruleChain/metadata", &metadata).json();
    let debug = &saved["nodes"][1]["debugSettings"];
    assert_eq!((&debug["failuresEnabled"], &debug["allEnabled"]), (&json!(true), &json!(false)), "all becomes all until");
    assert!(debug["allEnabledUntil"].as_i64().expect("an end") > 0);
    (chain, saved)
}

fn page(rest: &Rest, entity: &str, kind: &str, more: &str) -> Value {
    rest.get(&format!("/api/events/{entity}/{kind}?pageSize=100&page=0{more}")).json()
}

/// The bodies of a page of events, which has them all.
fn bodies(page: &Value) -> Vec<Value> {
    let events = page["data"].as_array().expect("a page has data");
    assert_eq!(page["totalElements"], json!(events.len()), "{page}");
    events.iter().map(|event| event["body"].clone()).collect()
}

#[test]
fn messages_are_seen_and_counted_at_nodes() {
    let fixture = Fixture::with(|setup| setup.shards(3));
    let rest = &fixture.tenant;
    let (chain, saved) = draw(rest);
    let node = |index: usize| format!("RULE_NODE/{}", saved["nodes"][index]["id"]["id"].as_str().expect("an id"));
    let mut devices = Vec::new();
    for n in 0..DEVICES {
        let device = device(rest, &format!("seen-{n}"));
        let payload = format!(r#"{{"temperature":{}}}"#, 10 + n * 5);
        let topic = "v1/devices/me/telemetry";
        let publication = Publication { token: &device.token, topic, payload: &payload, qos: 1, version: "mqttv5" };
        let (published, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
        assert!(published, "{said}");
        devices.push(device.id);
    }
    // 25, 30 and 35 are warm.
    let counts = rest.get(&format!("/api/ruleChain/{chain}/statistics")).json();
    let shown =
        |index: usize| (counts[index]["name"].clone(), counts[index]["executed"].clone(), counts[index]["failed"].clone());
    assert_eq!(shown(1), (json!("warm?"), json!(DEVICES), json!(0)));
    assert_eq!(counts[1]["left"], json!({ "False": 3, "True": 3 }));
    assert_eq!(shown(2), (json!("split"), json!(3), json!(3)));
    assert_eq!(counts[2]["id"], saved["nodes"][2]["id"]);
    // One message in 16 is timed, the first of them, which is a device's connecting.
    assert!(counts[0]["timed"].as_u64().expect("a number") >= 1 && counts[0]["meanUs"].is_f64(), "{counts}");

    let seen = page(rest, &node(1), "DEBUG_RULE_NODE", "");
    let first = &seen["data"][0];
    assert_eq!((&first["type"], &first["entityId"]), (&json!("DEBUG_RULE_NODE"), &saved["nodes"][1]["id"]));
    let seen = bodies(&seen);
    for (n, device) in (0..DEVICES).zip(&devices) {
        let own: Vec<&Value> = seen.iter().filter(|body| body["entityId"] == **device).collect();
        let [out, came] = own[..] else { panic!("one in and one out, the newest first: {own:?}") };
        assert_eq!((&came["type"], &came["relationType"]), (&json!("IN"), &json!("Post telemetry")));
        assert_eq!((&out["type"], &out["relationType"]), (&json!("OUT"), &json!(if n > 2 { "True" } else { "False" })));
        assert_eq!(
            (&came["msgType"], &came["dataType"], &came["entityType"]),
            (&json!("POST_TELEMETRY_REQUEST"), &json!("JSON"), &json!("DEVICE"))
        );
        assert_eq!(came["data"], json!(format!(r#"{{"temperature":{}}}"#, 10 + n * 5)));
        assert!(came["metadata"].as_str().expect("a text").contains(&format!("device seen-{n}")), "{came}");
        assert_eq!((&came["msgId"], came["error"].is_null()), (&out["msgId"], true));
        assert!(came["server"].as_str().is_some_and(|server| !server.is_empty()));
    }
    let newest = rest.get(&format!("/api/ruleNode/{}/debugIn", saved["nodes"][1]["id"]["id"].as_str().expect("an id"))).json();
    assert_eq!(newest["data"], r#"{"temperature":35}"#);
    check_failures(rest, &chain, &node);
    check_filters(rest, &node(1));

    // Nobody else sees any of it.
    let other = second_tenant(&fixture.instance);
    assert_eq!(bodies(&page(&other, &node(1), "DEBUG_RULE_NODE", "")), [json!(null); 0]);
    other.get(&format!("/api/events/RULE_CHAIN/{chain}/ERROR?pageSize=1&page=0")).expect_error(404);
    let all = json!({ "eventType": "DEBUG_RULE_NODE" });
    other.post(&format!("/api/events/{}/clear", node(1)), &all).expect_text(200);
    assert_eq!(page(rest, &node(1), "DEBUG_RULE_NODE", "")["totalElements"], json!(DEVICES * 2));
    rest.post(&format!("/api/events/{}/clear", node(1)), &all).expect_text(200);
    assert_eq!(page(rest, &node(1), "DEBUG_RULE_NODE", "")["totalElements"], 0);
    assert_eq!(page(rest, &node(2), "DEBUG_RULE_NODE", "")["totalElements"], 3, "another node's stay");
}

fn check_failures(rest: &Rest, chain: &str, node: &dyn Fn(usize) -> String) {
    assert_eq!(bodies(&page(rest, &node(0), "DEBUG_RULE_NODE", "")), [json!(null); 0], "of this one nothing is looked at");
    let failed = bodies(&page(rest, &node(2), "DEBUG_RULE_NODE", ""));
    assert_eq!(failed.len(), 3);
    for body in failed {
        assert_eq!((&body["type"], &body["relationType"]), (&json!("OUT"), &json!("Failure")));
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
    }
    let unled = bodies(&page(rest, &format!("RULE_CHAIN/{chain}"), "ERROR", ""));
    assert_eq!(
        unled.iter().map(|body| body["method"].clone()).collect::<Vec<_>>(),
        [json!("split"), json!("split"), json!("split")]
    );
    assert_eq!(page(rest, &format!("RULE_CHAIN/{chain}"), "LC_EVENT", "")["totalElements"], 0, "nobody refused it");
}

fn check_filters(rest: &Rest, node: &str) {
    let count = |filter: Value, query: &str| {
        rest.post(&format!("/api/events/{node}?pageSize=100&page=0{query}"), &filter).json()["totalElements"].clone()
    };
    let kind = "DEBUG_RULE_NODE";
    assert_eq!(count(json!({ "eventType": kind, "msgDirectionType": "IN" }), ""), json!(DEVICES));
    assert_eq!(count(json!({ "eventType": kind, "relationType": "true" }), ""), json!(3));
    assert_eq!(count(json!({ "eventType": kind, "dataSearch": ":35}" }), ""), json!(2));
    assert_eq!(count(json!({ "eventType": kind, "isError": true }), ""), json!(0));
    assert_eq!(count(json!({ "eventType": kind }), "&endTime=1000"), json!(0));
    let paged = rest.get(&format!("/api/events/{node}/{kind}?pageSize=5&page=2&sortProperty=createdTime&sortOrder=ASC")).json();
    assert_eq!((paged["data"].as_array().map(Vec::len), &paged["hasNext"]), (Some(2), &json!(false)));
    rest.get(&format!("/api/events/{node}/NOTHING?pageSize=5&page=0")).expect_error(400);
    rest.get(&format!("/api/events/{node}/{kind}?pageSize=5&page=0&sortProperty=data")).expect_error(400);
}

#[test]
fn one_message_is_followed_on_its_way() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let nodes = [
        ("filter.TbMsgTypeSwitchNode", json!({})),
        ("delay.TbMsgDelayNode", json!({ "periodInSeconds": 1, "maxPendingMsgs": 10 })),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
    ];
    draw_root(rest, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
    let device = device(rest, "followed");
    let begun = rest.post(&format!("/api/tidegate/trace/DEVICE/{}?msgType=POST_TELEMETRY_REQUEST", device.id), &json!({})).json();
    let path = format!("/api/tidegate/trace/{}", begun["id"].as_str().expect("an id"));
    assert_eq!(rest.get(&path).json(), json!([]), "it did not come yet");
    for n in 1..=2 {
        let (topic, payload) = ("v1/devices/me/telemetry", format!(r#"{{"n":{n}}}"#));
        let publication = Publication { token: &device.token, topic, payload: &payload, qos: 1, version: "mqttv5" };
        let (published, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
        assert!(published, "{said}");
    }
    let steps =
        eventually("both waits are over", || (latest_value(rest, &device.id, "n")? == "2").then(|| rest.get(&path).json()));
    let steps: Vec<&Value> = steps.as_array().expect("a list").iter().collect();
    assert!(
        steps.iter().all(|step| step["data"] == r#"{"n":1}"# && step["entityId"]["id"] == *device.id),
        "only the first: {steps:?}"
    );
    let shown: Vec<String> = steps
        .iter()
        .map(|step| format!("{} {}", step["type"].as_str().expect("a way"), step["relationType"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(shown, ["IN -", "OUT Post telemetry", "IN Post telemetry", "OUT Success", "IN Success", "OUT Success"]);
    assert!(steps.iter().all(|step| step["ruleNodeName"].as_str().is_some_and(|name| !name.is_empty())));
    assert_eq!(second_tenant(&fixture.instance).get(&path).json(), json!([]));
}
