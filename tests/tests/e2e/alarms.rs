//! Alarms from readings to people: begun and ended by a chain, acknowledged over REST, told also to a control plane that was away.
//! Never asserts how long the way takes.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{self, Fixture, device, root_chain, tenant};
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::planes::{Planes, joined};
use tests::harness::rest::Rest;

const PREFIX: &str = "org.thingsboard.rule.engine.";

/// The root chain begins an alarm above 50 and ends it below; nothing is stored.
fn draw(rest: &Rest) {
    let details = "var details = {};
        if (metadata.prevAlarmDetails != null) { details = JSON.parse(metadata.prevAlarmDetails); metadata.remove('prevAlarmDetails'); }
        details.last = msg.t; return details;";
    let alarm = json!({ "alarmType": "${deviceName} too hot", "severity": "CRITICAL", "scriptLang": "TBEL", "alarmDetailsBuildTbel": details,
        "alarmDetailsBuildJs": "", "propagate": false, "useMessageAlarmData": false });
    let node = |class: &str, name: &str, configuration: Value| {
        json!({ "type": format!("{PREFIX}{class}"), "name": name,
        "configuration": configuration, "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
    };
    let hot = json!({ "scriptLang": "TBEL", "tbelScript": "return msg.t > 50;", "jsScript": "" });
    let nodes = [
        node("filter.TbMsgTypeSwitchNode", "types", json!({})),
        node("filter.TbJsFilterNode", "hot?", hot),
        node("action.TbCreateAlarmNode", "create", alarm.clone()),
        node("action.TbClearAlarmNode", "clear", alarm),
    ];
    let edge = |from: usize, label: &str, to: usize| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let edges = [edge(0, "Post telemetry", 1), edge(1, "True", 2), edge(1, "False", 3)];
    let chain = json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": root_chain(rest) }, "firstNodeIndex": 0, "nodes": nodes,
        "connections": edges });
    let _saved = rest.post("/api/ruleChain/metadata", &chain).json();
}

/// The alarms of a device once the newest is like this: status and details.
fn alarms(rest: &Rest, device: &str, status: &str, last: i64) -> Vec<Value> {
    let path = format!("/api/v2/alarm/DEVICE/{device}?pageSize=10&page=0&sortProperty=createdTime&sortOrder=DESC");
    eventually("the alarm is known", || {
        let found = rest.get(&path).json()["data"].as_array().expect("a page").clone();
        let newest = found.first()?;
        (newest["status"] == status && newest["details"]["last"] == last).then_some(found)
    })
}

#[test]
fn a_chain_begins_and_ends_alarms_and_a_kill_forgets_none() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        draw(&fixture.tenant);
        let device = device(&fixture.tenant, "oven");
        assert_eq!(Wire::session(fixture.instance.mqtt(), "oven").telemetry(1, r#"{"t":60}"#), 0);
        let begun = alarms(&fixture.tenant, &device.id, "ACTIVE_UNACK", 60);
        assert_eq!((begun.len(), &begun[0]["type"]), (1, &json!("device oven too hot")));
        let id = begun[0]["id"]["id"].as_str().expect("an id").to_owned();
        let acknowledged = fixture.tenant.post(&format!("/api/alarm/{id}/ack"), &json!({})).json();
        assert_eq!(acknowledged["status"], "ACTIVE_ACK", "answered when the projection has it");
        assert_eq!(fixture.tenant.get(&format!("/api/alarm/{id}")).json()["status"], "ACTIVE_ACK");
        assert_eq!(Wire::session(fixture.instance.mqtt(), "oven").telemetry(1, r#"{"t":70}"#), 0);
        // Acknowledged is stored, and what is stored is told.
        let Fixture { instance, home, .. } = fixture;
        instance.kill();
        let instance = Setup::standalone(&home).driver(driver).shards(3).start();
        let fixture = Fixture { tenant: tenant(&instance), instance, home };
        let same = alarms(&fixture.tenant, &device.id, "ACTIVE_ACK", 70);
        assert_eq!((same.len(), same[0]["id"]["id"].as_str()), (1, Some(id.as_str())));
        let mut wire = Wire::session(fixture.instance.mqtt(), "oven");
        assert_eq!(wire.telemetry(1, r#"{"t":20}"#), 0);
        assert_eq!(alarms(&fixture.tenant, &device.id, "CLEARED_ACK", 20).len(), 1);
        assert_eq!(wire.telemetry(2, r#"{"t":80}"#), 0);
        assert_eq!(alarms(&fixture.tenant, &device.id, "ACTIVE_UNACK", 80).len(), 2, "another one");
        fixture.instance.stop();
    }
}

#[test]
fn a_control_plane_that_was_away_hears_of_everything() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&tenant(&control));
    let tenant = joined(&control, &demo.id);
    draw(&tenant);
    let oven = device(&tenant, "oven");
    control.kill();
    let mut wire = Wire::session(data.mqtt(), "oven");
    assert_eq!(wire.telemetry(1, r#"{"t":60}"#), 0);
    assert_eq!(wire.telemetry(2, r#"{"t":20}"#), 0);
    assert_eq!(wire.telemetry(3, r#"{"t":61}"#), 0);
    drop(wire);
    data.kill();
    let data = planes.data.start();
    assert_eq!(Wire::session(data.mqtt(), "oven").telemetry(1, r#"{"t":62}"#), 0);
    let control = planes.control.start();
    let tenant = joined(&control, &oven.id);
    let all = alarms(&tenant, &oven.id, "ACTIVE_UNACK", 62);
    let statuses = eventually("both are known", || {
        let all = alarms(&tenant, &oven.id, "ACTIVE_UNACK", 62);
        (all.len() == 2).then(|| all.iter().map(|alarm| alarm["status"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(statuses, ["ACTIVE_UNACK", "CLEARED_UNACK"], "{all:?}");
    data.stop();
    control.stop();
}
