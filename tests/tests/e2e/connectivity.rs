//! Sessions begin, end, expire and are taken over, and the device's connectivity attributes follow. Never asserts a duration.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{self, Fixture, attributes, device, telemetry};
use tests::harness::instance::{Home, Setup};
use tests::harness::mqtt::{Connect, DISCONNECT, PINGRESP, V5, V311, Wire};

#[test]
fn server_attributes_follow_the_connection() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "state");
    let read = || attributes(&fixture.tenant, &device.id, "SERVER_SCOPE");
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"a":1}"#), 0);
    let connected = read();
    assert_eq!(connected["active"], true, "{connected:?}");
    for key in ["lastConnectTime", "lastActivityTime"] {
        assert!(connected[key].as_i64().is_some_and(|value| value > 0), "{key}: {connected:?}");
    }
    let info = fixture.tenant.get(&format!("/api/device/info/{}", device.id)).json();
    assert_eq!(info["active"], true, "{info}");
    wire.write(&[0xe0, 0]).expect("DISCONNECT is sent");
    assert_eq!(wire.read_to_close(), []);
    let first = eventually("the disconnect is recorded", || {
        read().get("lastDisconnectTime").and_then(Value::as_i64).filter(|time| *time > 0)
    });
    drop(Wire::session(fixture.instance.mqtt(), &device.token));
    eventually("a lost connection is a disconnect, too", || {
        read().get("lastDisconnectTime").and_then(Value::as_i64).filter(|time| *time > first)
    });
    fixture.instance.stop();
}

/// DESIGN 8.5 (21): devices connected at a crash get DISCONNECT at restart.
#[test]
fn a_crash_is_a_disconnect() {
    let home = Home::new();
    let setup = Setup::standalone(&home).shards(2);
    let instance = setup.start();
    let device = device(&fixture::tenant(&instance), "crashed");
    let mut wire = Wire::session(instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"a":1}"#), 0);
    let before = attributes(&fixture::tenant(&instance), &device.id, "SERVER_SCOPE");
    assert!(before.get("lastDisconnectTime").is_none(), "{before:?}");
    instance.kill();
    let instance = setup.start();
    let tenant = fixture::tenant(&instance);
    let after = eventually("the disconnect is recorded", || {
        let now = attributes(&tenant, &device.id, "SERVER_SCOPE");
        now.get("lastDisconnectTime").and_then(Value::as_i64)
    });
    assert!(before["lastConnectTime"].as_i64().is_some_and(|connected| connected <= after));
    instance.stop();
}

#[test]
fn an_inactive_device_is_said_to_be_inactive() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "sleepy");
    let timeout = json!({ "inactivityTimeout": 1_000 });
    fixture.tenant.post(&telemetry(&device.id, "attributes/SERVER_SCOPE"), &timeout).expect_text(200);
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"a":1}"#), 0);
    let read = || attributes(&fixture.tenant, &device.id, "SERVER_SCOPE");
    eventually("the device becomes inactive", || (read()["active"] == false).then_some(()));
    assert_eq!(wire.telemetry(2, r#"{"a":2}"#), 0);
    eventually("a message makes it active again", || (read()["active"] == true).then_some(()));
    eventually("and its silence inactive again", || (read()["active"] == false).then_some(()));
    wire.write(&[0xc0, 0]).expect("PINGREQ is sent");
    assert_eq!(wire.read().expect("PINGRESP").kind(), PINGRESP);
    eventually("a ping makes it active, too", || (read()["active"] == true).then_some(()));
    eventually("until it is silent for its time", || (read()["active"] == false).then_some(()));
    fixture.instance.stop();
}

/// A bridge speaks for what is connected to it by radio: which of its messages mean what is the chain's to say.
#[test]
fn a_chain_says_what_is_connected_to_a_bridge() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let by_name = json!({ "originatorSource": "ENTITY", "entityType": "DEVICE", "entityNamePattern": "device $[of]" });
    let state = |event: &str| ("action.TbDeviceStateNode", json!({ "event": event }));
    let script = |kind: &str, script: &str| (kind.to_owned(), json!({ "scriptLang": "JS", "jsScript": script }));
    let (switch, by_event) = script("filter.TbJsSwitchNode", "return [msg.event];");
    let told = "return {msg: {told: msgType}, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};";
    let (transform, tells) = script("transform.TbTransformMsgNode", told);
    let nodes = [
        ("filter.TbMsgTypeSwitchNode", json!({})),
        ("transform.TbChangeOriginatorNode", by_name),
        (switch.as_str(), by_event),
        state("CONNECT_EVENT"),
        state("ACTIVITY_EVENT"),
        state("DISCONNECT_EVENT"),
        state("INACTIVITY_EVENT"),
        (transform.as_str(), tells),
        ("telemetry.TbMsgTimeseriesNode", json!({})),
    ];
    let mut edges =
        vec![(0, "Post telemetry", 1), (1, "Success", 2), (2, "up", 3), (3, "Success", 4), (2, "down", 5), (5, "Success", 6)];
    edges.extend([(0, "Connect Event", 7), (0, "Disconnect Event", 7), (0, "Inactivity Event", 7), (7, "Success", 8)]);
    fixture::draw_root(rest, &nodes, &edges);
    let (bridge, sensor) = (device(rest, "bridge"), device(rest, "sensor"));
    let read = || attributes(rest, &sensor.id, "SERVER_SCOPE");
    let says = |event: &str| {
        let said = format!(r#"{{"of":"{}","event":"{event}"}}"#, sensor.token);
        assert_eq!(Wire::session(fixture.instance.mqtt(), &bridge.token).telemetry(1, &said), 0);
    };
    says("up");
    let up = eventually("it counts as connected", || Some(read()).filter(|read| read.get("active") == Some(&json!(true))));
    assert!(up["lastConnectTime"].as_i64() > Some(0), "{up:?}");
    let told = |event: &str| {
        eventually("its chain is told", || (fixture::latest_value(rest, &sensor.id, "told")? == event).then_some(()));
    };
    told("CONNECT_EVENT");
    says("down");
    let down = eventually("it does no more", || Some(read()).filter(|read| read.get("active") == Some(&json!(false))));
    assert!(down["lastDisconnectTime"].as_i64() >= up["lastConnectTime"].as_i64(), "{down:?}");
    assert!(down["inactivityAlarmTime"].as_i64() > down["lastActivityTime"].as_i64(), "{down:?}");
    told("INACTIVITY_EVENT");
    fixture.instance.stop();
}

#[test]
fn a_silent_connection_is_closed_after_one_and_a_half_keep_alives() {
    let fixture = Fixture::start();
    let _devices = (device(&fixture.tenant, "old"), device(&fixture.tenant, "new"));
    let mut old = Wire::admitted(fixture.instance.mqtt(), &Connect::new("old").keep_alive_s(1));
    let mut new = Wire::admitted(fixture.instance.mqtt(), &Connect::new("new").keep_alive_s(1).version(V5));
    for wire in [&mut old, &mut new] {
        wire.write(&[0xc0, 0]).expect("PINGREQ is sent");
        assert_eq!(wire.read().expect("PINGRESP").kind(), PINGRESP);
    }
    assert_eq!(old.read_to_close(), []);
    let said = new.read_to_close();
    assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x8d)]);
    fixture.instance.metric_reaches("tidegate_keep_alive_expired_total", 2.0);
    fixture.instance.stop();
}

/// DESIGN 8.4 (12): one session per device; the oldest is closed with 0x8E.
#[test]
fn a_new_connection_takes_the_session_over() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let _device = device(&fixture.tenant, "twice");
    for other_id in ["twice", "another"] {
        let mut first = Wire::admitted(fixture.instance.mqtt(), &Connect::new("twice").version(V5));
        assert_eq!(first.telemetry(1, r#"{"a":1}"#), 0);
        let mut second = Wire::admitted(fixture.instance.mqtt(), &Connect::new("twice").client_id(other_id).version(V5));
        let said = first.read_to_close();
        assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x8e)]);
        assert_eq!(second.telemetry(1, r#"{"a":2}"#), 0);
        let mut third = Wire::admitted(fixture.instance.mqtt(), &Connect::new("twice").version(V311));
        let _said = second.read_to_close();
        assert_eq!(third.telemetry(1, r#"{"a":3}"#), 0);
    }
    fixture.instance.metric_reaches("tidegate_sessions_taken_over_total", 4.0);
    fixture.instance.stop();
}
