//! Chains as users draw them, with third-party clients: filtered by scripts, enriched, changed, nested, answering calls; imported
//! from another tenant; and a tenant whose scripts never end beside one whose devices go on. Never asserts how long a script takes.

use serde_json::{Value, json};
use tests::harness::fixture::{
    Fixture, applied, device, history, id_of, latest_value, root_chain, second_tenant, telemetry, tenant,
};
use tests::harness::instance::{Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::python::{Client, Publication, mosquitto_pub};
use tests::harness::rest::Rest;

const TYPES: &str = "filter.TbMsgTypeSwitchNode";
const SAVE: &str = "telemetry.TbMsgTimeseriesNode";
const TRANSFORM: &str = "transform.TbTransformMsgNode";

/// RuleChainMetaData of nodes (class, name, configuration) and edges (from, label, to).
fn metadata(chain: &str, nodes: &[(&str, &str, Value)], edges: &[(usize, &str, usize)]) -> Value {
    let node = |(class, name, configuration): &(&str, &str, Value)| {
        json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": name, "configuration": configuration,
            "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": chain }, "firstNodeIndex": 0,
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(), "connections": edges.iter().map(edge).collect::<Vec<_>>() })
}

fn save(rest: &Rest, metadata: &Value) {
    applied(rest, "/api/ruleChain/metadata", metadata);
}

fn tbel(body: &str) -> Value {
    json!({ "scriptLang": "TBEL", "tbelScript": body, "jsScript": "" })
}

/// The root chain keeps warm readings only, with how far they are above the device's limit, which another chain works out.
fn draw(rest: &Rest) {
    let inner = id_of(&rest.post("/api/ruleChain", &json!({ "name": "How far" })).json());
    let over = "msg.over = msg.temperature - metadata.ss_limit; metadata.remove('ss_limit');
        return {msg: msg, metadata: metadata, msgType: msgType};";
    let nodes = [(TRANSFORM, "subtract", tbel(over)), ("flow.TbRuleChainOutputNode", "Known", json!({}))];
    save(rest, &metadata(&inner, &nodes, &[(0, "Success", 1)]));
    let limit = json!({ "serverAttributeNames": ["limit"], "fetchTo": "METADATA", "tellFailureIfAbsent": true });
    let nodes = [
        (TYPES, "types", json!({})),
        ("metadata.TbGetAttributesNode", "limit", limit),
        ("filter.TbJsFilterNode", "warm?", tbel("return msg.temperature > metadata.ss_limit;")),
        ("flow.TbRuleChainInputNode", "how far", json!({ "ruleChainId": inner })),
        (SAVE, "save", json!({ "defaultTTL": 0 })),
        ("transform.TbRenameKeysNode", "cold", json!({ "renameIn": "DATA", "renameKeysMapping": { "temperature": "cold" } })),
    ];
    let edges =
        [(0, "Post telemetry", 1), (1, "Success", 2), (2, "True", 3), (3, "Known", 4), (2, "False", 5), (5, "Success", 4)];
    save(rest, &metadata(&root_chain(rest), &nodes, &edges));
}

fn publish(fixture: &Fixture, token: &str, payload: &str) {
    let publication = Publication { token, topic: "v1/devices/me/telemetry", payload, qos: 1, version: "mqttv5" };
    let (published, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
    assert!(published, "{said}");
}

fn check_drawn(fixture: &Fixture, rest: &Rest, token: &str) {
    let device = device(rest, token);
    rest.post(&telemetry(&device.id, "attributes/SERVER_SCOPE"), &json!({ "limit": 20 })).expect_text(200);
    let latest = |key: &str| latest_value(rest, &device.id, key);
    publish(fixture, token, r#"{"temperature":25.5}"#);
    assert_eq!((latest("temperature").as_deref(), latest("over").as_deref()), (Some("25.5"), Some("5.5")));
    publish(fixture, token, r#"{"temperature":12}"#);
    assert_eq!((latest("cold").as_deref(), latest("over").as_deref()), (Some("12"), Some("5.5")), "cold is another way");
    // Each ts is a message of its own, on its own way.
    publish(
        fixture,
        token,
        r#"[{"ts":1700000000000,"values":{"temperature":30}},{"ts":1700000001000,"values":{"temperature":3}}]"#,
    );
    let then = "startTs=1700000000000&endTs=1700000002000&agg=NONE&limit=10";
    assert_eq!(history(rest, &device.id, "over", then), [(1_700_000_000_000, 10.0)]);
    assert_eq!(history(rest, &device.id, "cold", then), [(1_700_000_001_000, 3.0)]);
}

#[test]
fn a_drawn_chain_filters_enriches_changes_and_nests() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        draw(&fixture.tenant);
        for token in ["warm-1", "warm-2"] {
            check_drawn(&fixture, &fixture.tenant, token);
        }
        // Without the attribute the enrichment fails, and nothing leads on from there.
        let bare = device(&fixture.tenant, "bare");
        publish(&fixture, &bare.token, r#"{"temperature":25}"#);
        assert_eq!(latest_value(&fixture.tenant, &bare.id, "temperature"), None);
        fixture.instance.stop();
    }
}

/// What a device says comes with its customer's limit, its customer's title, its tenant's limit and what it said last, whichever shards
/// these belong to.
#[test]
fn messages_are_told_of_their_owners_and_the_past() {
    let fixture = Fixture::with(|setup| setup.shards(4));
    let rest = &fixture.tenant;
    let customer = id_of(&rest.post("/api/customer", &json!({ "title": "Acme" })).json());
    let of_tenant = rest.get("/api/auth/user").json()["tenantId"]["id"].as_str().expect("an id").to_owned();
    for (kind, id, limit) in [("CUSTOMER", &customer, 20), ("TENANT", &of_tenant, 7)] {
        let path = format!("/api/plugins/telemetry/{kind}/{id}/attributes/SERVER_SCOPE");
        rest.post(&path, &json!({ "limit": limit })).expect_text(200);
    }
    let past = json!({
        "latestTsKeyNames": ["t"], "fetchMode": "LAST", "startInterval": 1, "startIntervalTimeUnit": "HOURS", "endInterval": 0,
    });
    let together =
        "msg.before = metadata.t; msg.title = metadata.customer_title; return {msg: msg, metadata: metadata, msgType: msgType};";
    let of = |name: &str| json!({ "dataMapping": { "limit": name }, "dataToFetch": "ATTRIBUTES", "fetchTo": "DATA" });
    let nodes = [
        (TYPES, "types", json!({})),
        ("metadata.TbGetTenantAttributeNode", "tenant", of("most")),
        ("metadata.TbGetTelemetryNode", "past", past),
        ("metadata.TbGetCustomerAttributeNode", "customer", of("limit")),
        ("metadata.TbGetCustomerDetailsNode", "who", json!({ "detailsList": ["TITLE"], "fetchTo": "METADATA" })),
        (TRANSFORM, "together", tbel(together)),
        (SAVE, "save", json!({ "defaultTTL": 0 })),
    ];
    let edges = [
        (0, "Post telemetry", 1),
        (1, "Success", 2),
        (2, "Success", 3),
        (3, "Success", 4),
        (3, "Failure", 5),
        (4, "Success", 5),
        (5, "Success", 6),
    ];
    save(rest, &metadata(&root_chain(rest), &nodes, &edges));
    for number in 0..4 {
        let device = device(rest, &format!("owned-{number}"));
        let latest = |key: &str| latest_value(rest, &device.id, key);
        publish(&fixture, &device.token, r#"{"t":1}"#);
        assert_eq!((latest("most").as_deref(), latest("limit")), (Some("7"), None), "it is nobody's");
        let assigned = rest.post(&format!("/api/customer/{customer}/device/{}", device.id), &json!({}));
        assert_ne!(assigned.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
        publish(&fixture, &device.token, r#"{"t":2}"#);
        let (limit, title, before) = (latest("limit"), latest("title"), latest("before"));
        assert_eq!((limit.as_deref(), title.as_deref(), before.as_deref()), (Some("20"), Some("Acme"), Some("1")));
    }
    fixture.instance.stop();
}

/// The reading itself is stored nowhere, so only the node knows what it was.
#[test]
fn what_a_node_remembers_survives_kill_9() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let rest = &fixture.tenant;
        let device = device(rest, "metered");
        let delta =
            json!({ "inputValueKey": "kwh", "outputValueKey": "used", "useCache": true, "tellFailureIfDeltaIsNegative": true });
        let nodes = [
            (TYPES, "types", json!({})),
            ("metadata.CalculateDeltaNode", "used", delta),
            ("transform.TbDeleteKeysNode", "only that", json!({ "deleteFrom": "DATA", "keys": ["kwh"] })),
            (SAVE, "save", json!({ "defaultTTL": 0 })),
        ];
        save(rest, &metadata(&root_chain(rest), &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3)]));
        publish(&fixture, &device.token, r#"{"kwh":10.1}"#);
        assert_eq!(latest_value(rest, &device.id, "used").as_deref(), Some("0"));
        let Fixture { instance, home, .. } = fixture;
        instance.kill();
        let instance = Setup::standalone(&home).driver(driver).start();
        let fixture = Fixture { tenant: tenant(&instance), instance, home };
        publish(&fixture, &device.token, r#"{"kwh":10.3}"#);
        assert_eq!(latest_value(&fixture.tenant, &device.id, "used").as_deref(), Some("0.2"));
        assert_eq!(latest_value(&fixture.tenant, &device.id, "kwh"), None);
        fixture.instance.stop();
    }
}

#[test]
fn exported_chains_work_for_another_tenant() {
    let fixture = Fixture::start();
    draw(&fixture.tenant);
    let exported = fixture.tenant.get("/api/ruleChains/export?limit=100").json();
    let other = second_tenant(&fixture.instance);
    let imported = other.post("/api/ruleChains/import?overwrite=true", &exported).json();
    let results = imported.as_array().expect("a result each");
    let updated: Vec<(&str, bool)> = results
        .iter()
        .map(|one| (one["ruleChainName"].as_str().expect("a name"), one["updated"].as_bool().expect("a truth")))
        .collect();
    assert_eq!(updated, [("Root Rule Chain", true), ("How far", false)]);
    check_drawn(&fixture, &other, "theirs");
    let inner = fixture.tenant.get("/api/ruleChains?pageSize=10&page=0&textSearch=how").json()["data"][0].clone();
    fixture.tenant.delete(&format!("/api/ruleChain/{}", id_of(&inner))).expect_error(400);
    fixture.instance.stop();
}

#[test]
fn a_chain_answers_a_devices_call() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = device(rest, "asks");
    let answer = "return {msg: {sum: msg.params.a + msg.params.b, asked: msg.method}, metadata: metadata, msgType: msgType};";
    let nodes =
        [(TYPES, "types", json!({})), (TRANSFORM, "answer", tbel(answer)), ("rpc.TbSendRPCReplyNode", "reply", json!({}))];
    let edges = [(0, "RPC Request from Device", 1), (1, "Success", 2)];
    save(rest, &metadata(&root_chain(rest), &nodes, &edges));
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, 4);
    assert_eq!(paho.event("connected")["code"], 0);
    let responses = json!({ "do": "subscribe", "topic": "v1/devices/me/rpc/response/+" });
    assert_eq!(paho.ask(&responses, "subscribed")["codes"], json!([1]));
    let call = json!({ "method": "add", "params": { "a": 2, "b": 3 } });
    let request = json!({ "do": "publish", "topic": "v1/devices/me/rpc/request/7", "payload": call });
    paho.send(&request);
    let said = paho.event("message");
    assert_eq!(said["topic"], "v1/devices/me/rpc/response/7");
    assert_eq!(said["payload"], json!({ "sum": 5, "asked": "add" }));
    let http = Rest::new(fixture.instance.device_http());
    assert_eq!(http.post("/api/v1/asks/rpc", &call).json(), json!({ "sum": 5, "asked": "add" }));
    fixture.instance.stop();
}

#[test]
fn scripts_that_never_end_stop_nobody_elses_devices() {
    let fixture = Fixture::start();
    let other = second_tenant(&fixture.instance);
    let nodes = [
        (TYPES, "types", json!({})),
        ("filter.TbJsFilterNode", "endless", json!({ "scriptLang": "JS", "jsScript": "while (true) {}" })),
        (SAVE, "save", json!({ "defaultTTL": 0 })),
    ];
    let edges = [(0, "Post telemetry", 1), (1, "True", 2), (0, "Post telemetry", 2)];
    save(&other, &metadata(&root_chain(&other), &nodes, &edges));
    let (endless, good) = (device(&other, "endless"), device(&fixture.tenant, "good"));
    let mut theirs = Wire::session(fixture.instance.mqtt(), &endless.token);
    let mut ours = Wire::session(fixture.instance.mqtt(), &good.token);
    for n in 1..=100_u16 {
        // What a chain cannot do is its own fault: the message is taken, and what its other ways say is done.
        theirs.publish("v1/devices/me/telemetry", Some(n), &format!(r#"{{"n":{n}}}"#)).expect("it is written");
        assert_eq!(ours.telemetry(n, &format!(r#"{{"n":{n}}}"#)), 0);
    }
    for n in 1..=100 {
        assert_eq!(theirs.expect(tests::harness::mqtt::PUBACK, n), 0);
    }
    assert_eq!(latest_value(&fixture.tenant, &good.id, "n").as_deref(), Some("100"));
    assert_eq!(latest_value(&other, &endless.id, "n").as_deref(), Some("100"));
    fixture.instance.stop();
}
