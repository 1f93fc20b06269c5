//! The WebSocket: snapshot first, then what left the shard, in order. Never more than one process.

use serde_json::json;
use tests::harness::fixture::{Fixture, device, telemetry};
use tests::harness::instance::drivers;
use tests::harness::mqtt::Wire;
use tests::harness::websocket::Live;

const BASE: i64 = 1_700_000_000_000;

#[test]
fn a_subscription_gets_a_snapshot_and_then_live_values() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let device = device(&fixture.tenant, "live");
        let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
        assert_eq!(wire.telemetry(1, r#"{"t":1,"other":1}"#), 0);
        let mut live = Live::connect(&fixture.tenant);
        live.send(&json!({ "tsSubCmds": [{ "cmdId": 7, "entityType": "DEVICE", "entityId": device.id,
            "scope": "LATEST_TELEMETRY", "keys": "t" }] }));
        let snapshot = live.update_of(7);
        assert_eq!(snapshot["errorCode"], 0, "{snapshot}");
        assert_eq!(snapshot["data"]["t"][0][1], "1", "values are text: {snapshot}");
        assert!(snapshot["data"]["other"].is_null(), "only the keys asked for: {snapshot}");
        for number in 2..50_u16 {
            assert_eq!(wire.telemetry(number, &format!(r#"{{"t":{number},"other":0}}"#)), 0);
        }
        let seen = live.values_until("t", "49");
        let expected: Vec<String> = (2..50).map(|number| number.to_string()).collect();
        assert_eq!(seen, expected, "each value once, in order");
        fixture.instance.stop();
    }
}

#[test]
fn a_subscription_without_keys_gets_all() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "all");
    let mut live = Live::connect(&fixture.tenant);
    live.send(
        &json!({ "tsSubCmds": [{ "cmdId": 1, "entityType": "DEVICE", "entityId": device.id, "scope": "LATEST_TELEMETRY" }] }),
    );
    let snapshot = live.update_of(1);
    assert_eq!(snapshot["errorCode"], 0, "the first update is the snapshot, even when it is empty: {snapshot}");
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"new":"value"}"#), 0);
    assert_eq!(live.values_until("new", "value"), ["value"]);
    // REST writes are seen as well, after they are stored.
    let body = json!({ "ts": BASE, "values": { "rest": 5 } });
    fixture.tenant.post(&telemetry(&device.id, "timeseries/ANY"), &body).expect_text(200);
    assert_eq!(live.values_until("rest", "5"), ["5"]);
    fixture.instance.stop();
}

#[test]
fn attributes_of_each_scope_are_live() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let device = device(&fixture.tenant, "scopes");
        fixture.tenant.post(&telemetry(&device.id, "attributes/SHARED_SCOPE"), &json!({ "old": 1 })).expect_text(200);
        let mut live = Live::connect(&fixture.tenant);
        let scopes = ["CLIENT_SCOPE", "SERVER_SCOPE", "SHARED_SCOPE"];
        for (number, scope) in scopes.into_iter().enumerate() {
            let command = json!({ "cmdId": number, "entityType": "DEVICE", "entityId": device.id, "scope": scope });
            live.send(&json!({ "attrSubCmds": [command] }));
            let snapshot = live.update();
            assert_eq!(snapshot["errorCode"], 0, "{snapshot}");
            assert_eq!(!snapshot["data"]["old"].is_null(), scope == "SHARED_SCOPE", "{scope}: {snapshot}");
        }
        for scope in ["SERVER_SCOPE", "SHARED_SCOPE"] {
            fixture
                .tenant
                .post(&telemetry(&device.id, &format!("attributes/{scope}")), &json!({ "key": scope }))
                .expect_text(200);
            assert_eq!(live.values_until("key", scope), [scope]);
        }
        let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
        assert_eq!(wire.acknowledged("v1/devices/me/attributes", 1, r#"{"mine":"yes"}"#), 0);
        assert_eq!(live.values_until("mine", "yes"), ["yes"]);
        fixture.instance.stop();
    }
}

#[test]
fn history_commands_answer_once() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "past");
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    for number in 0..5_u16 {
        let ts = BASE + i64::from(number);
        assert_eq!(wire.telemetry(number + 1, &format!(r#"{{"ts":{ts},"values":{{"h":{number}}}}}"#)), 0);
    }
    let mut live = Live::connect(&fixture.tenant);
    live.send(&json!({ "historyCmds": [{ "cmdId": 3, "entityType": "DEVICE", "entityId": device.id, "keys": "h",
        "startTs": BASE + 1, "endTs": BASE + 4, "interval": 0, "limit": 100, "agg": "NONE" }] }));
    let answer = live.update_of(3);
    let mut rows: Vec<i64> = answer["data"]["h"].as_array().expect("rows").iter().filter_map(|row| row[0].as_i64()).collect();
    rows.sort_unstable();
    assert_eq!(rows, [BASE + 1, BASE + 2, BASE + 3], "endTs is exclusive: {answer}");
    fixture.instance.stop();
}

#[test]
fn an_unsubscribed_watch_is_silent_and_a_wrong_one_is_refused() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "quiet");
    let mut live = Live::connect(&fixture.tenant);
    let command = |id: i64, key: &str, unsubscribe: bool| {
        json!({ "tsSubCmds": [{ "cmdId": id, "entityType": "DEVICE", "entityId": device.id, "scope": "LATEST_TELEMETRY",
            "keys": key, "unsubscribe": unsubscribe }] })
    };
    live.send(&command(1, "a", false));
    let _snapshot = live.update_of(1);
    live.send(&command(1, "a", true));
    live.send(&command(2, "b", false));
    let _snapshot = live.update_of(2);
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"a":1}"#), 0);
    assert_eq!(wire.telemetry(2, r#"{"b":2}"#), 0);
    let update = live.update();
    assert_eq!(update["subscriptionId"], 2, "the first watch was stopped: {update}");
    let nobody = "13814000-1dd2-11b2-8080-808080808080";
    live.send(&json!({ "tsSubCmds": [{ "cmdId": 9, "entityType": "DEVICE", "entityId": nobody, "scope": "LATEST_TELEMETRY" }] }));
    let refusal = live.update_of(9);
    assert_ne!(refusal["errorCode"], 0, "{refusal}");
    assert!(Live::try_connect(&fixture.tenant.bearer("not.a.token")).is_err(), "a bad token opens no socket");
    fixture.instance.stop();
}
