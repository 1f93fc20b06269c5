//! What of a session is promised beyond one message: QoS 2, sessions that are kept, take-over in order, wills, topic aliases,
//! short topics (DESIGN 8.4). Never sleeps to let a session expire: it is asked for again, ever later.

use serde_json::{Value, json};
use std::time::Duration;
use tests::harness::fixture::{self, Fixture, attributes, device, latest_value, rows, share};
use tests::harness::instance::{Instance, drivers};
use tests::harness::mqtt::{
    Connect, DISCONNECT, GOODBYE, Message, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, V5, V311, Wire, packet,
};
use tests::harness::python::{Client, mosquitto_pub_with};
use tests::harness::rest::Rest;
use tests::harness::{PATIENCE, eventually};

const TELEMETRY: &str = "v1/devices/me/telemetry";
const ATTRIBUTES: &str = "v1/devices/me/attributes";

/// Telemetry without a ts: stored twice it is two rows.
fn counted(id: u16, again: bool) -> Publish<'static> {
    Publish { topic: TELEMETRY, id, qos: 2, again, payload: br#"{"once":1}"#, ..Publish::default() }
}

#[test]
fn a_qos_2_message_is_stored_once() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        for version in [V311, V5] {
            let device = device(&fixture.tenant, &format!("twice{version}"));
            let stored = || rows(&fixture.tenant, &device.id, "once");
            let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(version));
            for again in [false, true, true] {
                wire.send(counted(7, again));
                assert_eq!(wire.expect(PUBREC, 7), 0);
                assert_eq!(stored(), 1, "the same message, sent again");
            }
            wire.acknowledge(PUBREL, 7);
            assert_eq!(wire.expect(PUBCOMP, 7), 0);
            wire.acknowledge(PUBREL, 7);
            let code = wire.expect(PUBCOMP, 7);
            assert_eq!(code, if version == V5 { 0x92 } else { 0 }, "Packet Identifier not found");
            wire.exactly_once(TELEMETRY, 7, r#"{"once":2}"#);
            assert_eq!(stored(), 2, "a released identifier is free for another message");
            wire.leave();
        }
        fixture.instance.stop();
    }
}

/// DESIGN 8.4 (13): exactly once is promised for sessions that are kept, also across a lost connection and a restart.
#[test]
fn a_kept_session_remembers_qos_2_messages() {
    for version in [V311, V5] {
        let home = tests::harness::instance::Home::new();
        let setup = tests::harness::instance::Setup::standalone(&home).shards(2);
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        let device = device(&tenant, "keeps");
        let connect = Connect::new(&device.token).version(version).kept(3_600);
        let mut wire = Wire::admitted(instance.mqtt(), &connect);
        wire.send(counted(1, false));
        assert_eq!(wire.expect(PUBREC, 1), 0);
        wire.send(counted(2, false));
        drop(wire);
        let resume = |instance: &Instance| {
            let mut wire = Wire::open(instance.mqtt());
            let connack = wire.handshake(&connect).expect("a CONNACK");
            assert!(connack.session_present(), "{connack:?}");
            wire
        };
        let mut wire = resume(&instance);
        for id in [1, 2] {
            wire.send(counted(id, true));
            assert_eq!(wire.expect(PUBREC, id), 0);
        }
        assert_eq!(rows(&tenant, &device.id, "once"), 2, "each once");
        instance.kill();
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        let mut wire = resume(&instance);
        wire.send(counted(1, true));
        assert_eq!(wire.expect(PUBREC, 1), 0);
        for id in [1, 2] {
            wire.acknowledge(PUBREL, id);
            assert_eq!(wire.expect(PUBCOMP, id), 0);
        }
        assert_eq!(rows(&tenant, &device.id, "once"), 2, "also after a kill");
        instance.stop();
    }
}

#[test]
fn paho_publishes_with_qos_2() {
    const MESSAGES: usize = 50;
    let fixture = Fixture::with(|setup| setup.shards(2));
    for version in [4, 5] {
        let device = device(&fixture.tenant, &format!("pahoqos2{version}"));
        let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, version);
        assert_eq!(paho.event("connected")["code"], 0);
        for _ in 0..MESSAGES {
            paho.send(&json!({ "do": "publish", "topic": TELEMETRY, "payload": { "once": 1 }, "qos": 2 }));
        }
        for _ in 0..MESSAGES {
            assert_eq!(paho.event("published")["code"], 0);
        }
        assert_eq!(rows(&fixture.tenant, &device.id, "once"), MESSAGES, "version {version}");
        let granted = paho.ask(&json!({ "do": "subscribe", "topic": ATTRIBUTES, "qos": 2 }), "subscribed");
        assert_eq!(granted["codes"], json!([1]), "nothing goes out with QoS 2");
    }
    fixture.instance.stop();
}

#[test]
fn a_kept_session_gets_what_it_missed() {
    for driver in drivers() {
        for version in [4, 5] {
            let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
            let device = device(&fixture.tenant, "missed");
            let connect =
                || Client::paho_with(&fixture.home, fixture.instance.mqtt(), &device.token, (version, json!({ "kept": 3_600 })));
            let mut paho = connect();
            let connected = paho.event("connected");
            assert_eq!((&connected["code"], &connected["session_present"]), (&json!(0), &json!(false)), "{connected}");
            assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": ATTRIBUTES }), "subscribed")["codes"], json!([1]));
            paho.ask(&json!({ "do": "disconnect" }), "disconnected");
            for number in 1..=3 {
                share(&fixture.tenant, &device.id, &json!({ "rate": number }));
            }
            let mut paho = connect();
            let connected = paho.event("connected");
            assert_eq!((&connected["code"], &connected["session_present"]), (&json!(0), &json!(true)), "{connected}");
            for number in 1..=3 {
                let update = paho.event("message");
                assert_eq!((&update["topic"], &update["payload"]), (&json!(ATTRIBUTES), &json!({ "rate": number })), "in order");
            }
            share(&fixture.tenant, &device.id, &json!({ "rate": 4 }));
            assert_eq!(paho.event("message")["payload"], json!({ "rate": 4 }), "still subscribed");
            fixture.instance.stop();
        }
    }
}

#[test]
fn unacknowledged_messages_come_again() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let device = device(&fixture.tenant, "unacked");
    let connect = Connect::new(&device.token).version(V5).kept(3_600);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &connect);
    assert_eq!(wire.subscribe(ATTRIBUTES, 1), 1);
    share(&fixture.tenant, &device.id, &json!({ "rate": 1 }));
    let first = wire.message();
    assert_eq!((first.json(), first.qos, first.again), (json!({ "rate": 1 }), 1, false));
    drop(wire);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &connect);
    let second = wire.take_message();
    assert_eq!((second.json(), second.again, second.id), (first.json(), true, first.id), "[MQTT-4.4.0-1]");
    assert_eq!(wire.ping(), []);
    drop(wire);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &connect);
    assert_eq!(wire.ping(), [], "what was acknowledged does not come again");
    fixture.instance.stop();
}

#[test]
fn sessions_end_as_they_were_told() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "ends");
    let present = |connect: &Connect<'_>, goodbye: &[u8]| {
        let mut wire = Wire::open(fixture.instance.mqtt());
        let connack = wire.handshake(connect).expect("a CONNACK");
        assert_eq!(connack.code(1), 0);
        wire.write(goodbye).expect("the connection is open");
        let _said = wire.read_to_close();
        connack.session_present()
    };
    let new = Connect::new(&device.token).version(V5);
    let hour = new.kept(3_600);
    assert!(!present(&hour, &GOODBYE));
    assert!(present(&hour, &GOODBYE), "kept");
    assert!(present(&hour, &packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 0])), "kept, but not any longer");
    assert!(!present(&hour, &GOODBYE), "DISCONNECT with an expiry of 0 ended it");
    assert!(!present(&new, &GOODBYE), "a clean start begins anew");
    assert!(!present(&hour, &GOODBYE), "and threw the old one away");
    let old = Connect::new(&device.token);
    assert!(present(&old.kept(0), &GOODBYE), "3.1.1 goes on with it");
    assert!(!present(&old, &GOODBYE));
    assert!(!present(&old.kept(0), &GOODBYE));
    // A second: asked for ever later, because each asking begins its time anew.
    let second = new.kept(1);
    let _begun = present(&second, &GOODBYE);
    let mut pause = Duration::from_millis(100);
    while present(&second, &GOODBYE) {
        assert!(pause < PATIENCE, "a session of one second never expires");
        std::thread::sleep(pause);
        pause *= 2;
    }
    fixture.instance.stop();
}

/// DESIGN 8.4 (12): a session is a device's and a client identifier's; a device has one, so that another identifier ends it.
#[test]
fn a_client_identifier_names_its_session() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "named");
    let present = |client_id: &str| {
        let connect = Connect::new(&device.token).version(V5).client_id(client_id).kept(3_600);
        let mut wire = Wire::open(fixture.instance.mqtt());
        let connack = wire.handshake(&connect).expect("a CONNACK");
        assert_eq!(connack.code(1), 0);
        wire.leave();
        connack.session_present()
    };
    assert_eq!([present("a"), present("a"), present("b"), present("b")], [false, true, false, true]);
    fixture.instance.stop();
}

/// DESIGN 8.4 (12): what was read from the old connection precedes the new one.
#[test]
fn a_take_over_keeps_the_order() {
    const OLD: u16 = 60;
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let device = device(&fixture.tenant, "order");
        for round in 0..20_u32 {
            let mut old = Wire::session(fixture.instance.mqtt(), &device.token);
            let payload = |value: u32| format!(r#"{{"ts":1700000000000,"values":{{"last":{value}}}}}"#);
            for id in 1..=OLD {
                old.publish(TELEMETRY, Some(id), &payload(round * 1_000 + u32::from(id))).expect("the connection is open");
            }
            let mut new = Wire::session(fixture.instance.mqtt(), &device.token);
            let newest = round * 1_000 + 999;
            assert_eq!(new.telemetry(1, &payload(newest)), 0);
            let _acknowledged = old.read_to_close();
            assert_eq!(latest_value(&fixture.tenant, &device.id, "last"), Some(newest.to_string()), "{driver}, round {round}");
        }
        fixture.instance.stop();
    }
}

#[test]
fn wills_are_said_for_lost_connections_only() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        for version in [V311, V5] {
            let device = device(&fixture.tenant, &format!("wills{version}"));
            let connect = |payload: &'static str| Connect::new("").version(version).client_id("w").will(TELEMETRY, payload, 0);
            let open = |connect: Connect<'_>| {
                let connect = Connect { token: &device.token, ..connect };
                Wire::admitted(fixture.instance.mqtt(), &connect)
            };
            open(connect(r#"{"politely":1}"#)).leave();
            drop(open(connect(r#"{"lost":1}"#)));
            eventually("the will is said", || latest_value(&fixture.tenant, &device.id, "lost"));
            Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(version)).leave();
            assert_eq!(rows(&fixture.tenant, &device.id, "lost"), 1, "once");
            assert_eq!(latest_value(&fixture.tenant, &device.id, "politely"), None, "not after a goodbye");
            drop(open(Connect { will: Connect::new("").will(ATTRIBUTES, r#"{"state":"lost"}"#, 0).will, ..connect("{}") }));
            eventually("a will may be attributes", || {
                attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE").get("state").cloned()
            });
        }
        check_wills_of_5(&fixture);
        fixture.instance.stop();
    }
}

fn check_wills_of_5(fixture: &Fixture) {
    let device = device(&fixture.tenant, "delays");
    let connect = Connect::new(&device.token).version(V5);
    let mut asked = Wire::admitted(fixture.instance.mqtt(), &connect.will(TELEMETRY, r#"{"asked":1}"#, 0));
    asked.write(&packet(0xe0, &[0x04])).expect("Disconnect with Will Message");
    assert_eq!(asked.read_to_close(), []);
    eventually("the will that was asked for", || latest_value(&fixture.tenant, &device.id, "asked"));
    let delayed = connect.kept(3_600).will(TELEMETRY, r#"{"delayed":1}"#, 3_600);
    drop(Wire::admitted(fixture.instance.mqtt(), &delayed));
    // Back before the delay is over: then it is not said.
    let back = Connect { will: None, ..delayed };
    Wire::admitted(fixture.instance.mqtt(), &back).leave();
    assert_eq!(latest_value(&fixture.tenant, &device.id, "delayed"), None);
    drop(Wire::admitted(fixture.instance.mqtt(), &connect.kept(3_600).will(TELEMETRY, r#"{"later":1}"#, 1)));
    eventually("the delay is over", || latest_value(&fixture.tenant, &device.id, "later"));
    let elsewhere = connect.will("somewhere/else", "{}", 0);
    let refused = Wire::open(fixture.instance.mqtt()).handshake(&elsewhere).expect("a CONNACK");
    assert!(refused.code(1) >= 0x80, "a will that could never be said is refused at once: {refused:?}");
}

#[test]
fn pahos_will_is_said_when_its_process_dies() {
    let fixture = Fixture::start();
    for version in [4, 5] {
        let device = device(&fixture.tenant, &format!("dies{version}"));
        let will = json!({ "will": { "topic": TELEMETRY, "payload": { "died": version } } });
        let mut paho = Client::paho_with(&fixture.home, fixture.instance.mqtt(), &device.token, (version, will));
        assert_eq!(paho.event("connected")["code"], 0);
        paho.kill();
        let said = eventually("the will is said", || latest_value(&fixture.tenant, &device.id, "died"));
        assert_eq!(said, version.to_string());
    }
    fixture.instance.stop();
}

#[test]
fn topic_aliases_stand_for_topics_in_both_directions() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "alias");
    let connect = Connect::new(&device.token).version(V5).topic_alias_maximum(4);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &connect);
    for (id, (topic, payload)) in (1..).zip([(TELEMETRY, r#"{"a":1}"#), ("", r#"{"a":2}"#), ("", r#"{"a":3}"#)]) {
        wire.send(Publish { topic, id, qos: 1, alias: 1, payload: payload.as_bytes(), ..Publish::default() });
        assert_eq!(wire.expect(PUBACK, id), 0);
    }
    assert_eq!(latest_value(&fixture.tenant, &device.id, "a").as_deref(), Some("3"));
    assert_eq!(wire.subscribe(ATTRIBUTES, 9), 1);
    let mut known: Option<Message> = None;
    for number in 1..=3 {
        share(&fixture.tenant, &device.id, &json!({ "rate": number }));
        let update = wire.take_message();
        assert_eq!(update.json(), json!({ "rate": number }));
        assert!(update.alias <= 4, "no more than were allowed: {update:?}");
        if update.topic.is_empty() {
            assert!(known.as_ref().is_some_and(|known| known.alias == update.alias && known.topic == ATTRIBUTES), "{update:?}");
        } else {
            assert_eq!(update.topic, ATTRIBUTES);
            known = Some(update);
        }
    }
    for (alias, topic, code) in [(60_000, TELEMETRY, 0x94), (2, "", 0x82)] {
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &connect);
        wire.send(Publish { topic, id: 1, qos: 1, alias, payload: b"{}", ..Publish::default() });
        let said: Vec<(u8, u8)> = wire.read_to_close().iter().map(|packet| (packet.kind(), packet.code(0))).collect();
        assert_eq!(said, [(DISCONNECT, code)], "alias {alias}");
    }
    fixture.instance.stop();
}

#[test]
fn short_topics_mean_the_same() {
    let fixture = Fixture::start();
    for version in [4, 5] {
        let device = device(&fixture.tenant, &format!("short{version}"));
        let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, version);
        assert_eq!(paho.event("connected")["code"], 0);
        for (topic, key) in [("v2/t", "t"), ("v2/t/j", "tj")] {
            assert_eq!(paho.ask(&json!({ "do": "publish", "topic": topic, "payload": { key: 1 } }), "published")["code"], 0);
            assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), Some("1"), "{topic}");
        }
        for (topic, key) in [("v2/a", "a"), ("v2/a/j", "aj")] {
            assert_eq!(paho.ask(&json!({ "do": "publish", "topic": topic, "payload": { key: 1 } }), "published")["code"], 0);
            assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")[key], 1, "{topic}");
        }
        for (filter, request, response) in
            [("v2/a/res/+", "v2/a/req/5", "v2/a/res/5"), ("v2/a/res/j/+", "v2/a/req/j/6", "v2/a/res/j/6")]
        {
            let request = json!({ "do": "publish", "topic": request, "payload": { "clientKeys": "a" } });
            check_answer(&mut paho, filter, &request, response, &json!({ "client": { "a": 1 } }));
        }
        for (filter, request, response) in [
            ("v2/r/res/+", "v2/r/req/7", "v2/r/res/7"),
            ("v2/r/res/j/+", "v2/r/req/j/8", "v2/r/res/j/8"),
            ("v1/devices/me/rpc/response/+", "v1/devices/me/rpc/request/9", "v1/devices/me/rpc/response/9"),
        ] {
            let request = json!({ "do": "publish", "topic": request, "payload": { "method": "getSessionLimits", "params": {} } });
            assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": filter }), "subscribed")["codes"], json!([1]), "{filter}");
            paho.send(&request);
            let answer = paho.event("message");
            assert_eq!((&answer["topic"], &answer["payload"]["maxPayloadSize"]), (&json!(response), &json!(65_536)), "{answer}");
        }
        check_short_downlinks(&fixture.tenant, &device.id, &mut paho);
    }
    fixture.instance.stop();
}

fn check_answer(paho: &mut Client, filter: &str, request: &Value, topic: &str, payload: &Value) {
    assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": filter }), "subscribed")["codes"], json!([1]), "{filter}");
    paho.send(request);
    let answer = paho.event("message");
    assert_eq!((&answer["topic"], &answer["payload"]), (&json!(topic), payload), "{request}");
    assert!(paho.ask(&json!({ "do": "unsubscribe", "topic": filter }), "unsubscribed").is_object());
}

/// Calls and attributes that the platform sends go to the form that is subscribed to.
fn check_short_downlinks(tenant: &Rest, device: &str, paho: &mut Client) {
    for suffix in ["", "/j"] {
        let filter = format!("v2/a{suffix}");
        assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": filter }), "subscribed")["codes"], json!([1]));
        share(tenant, device, &json!({ "by": suffix }));
        let update = paho.event("message");
        assert_eq!((&update["topic"], &update["payload"]), (&json!(filter), &json!({ "by": suffix })));
        assert!(paho.ask(&json!({ "do": "unsubscribe", "topic": filter }), "unsubscribed").is_object());
        let filter = format!("v2/r/req{suffix}/+");
        assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": filter }), "subscribed")["codes"], json!([1]));
        let (rest, path) = (tenant.clone(), format!("/api/rpc/twoway/{device}"));
        let call = std::thread::spawn(move || rest.post(&path, &json!({ "method": "m", "params": 1, "timeout": 50_000 })));
        let request = paho.event("message");
        let topic = request["topic"].as_str().expect("a topic").replace("/req", "/res");
        assert!(topic.starts_with(&format!("v2/r/res{suffix}/")), "{request}");
        paho.ask(&json!({ "do": "publish", "topic": topic, "payload": { "by": suffix } }), "published");
        assert_eq!(call.join().expect("the call ends").json(), json!({ "by": suffix }));
        assert!(paho.ask(&json!({ "do": "unsubscribe", "topic": filter }), "unsubscribed").is_object());
    }
}

/// A retained message is handled as any other: a device subscribes only to what the platform says to it.
#[test]
fn the_retain_flag_is_accepted() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "retains");
    for (version, key) in [("mqttv31", "a"), ("mqttv311", "b"), ("mqttv5", "c")] {
        let payload = format!(r#"{{"{key}":1}}"#);
        let arguments = ["-V", version, "-i", "r", "-u", &device.token, "-q", "1", "-r", "-t", TELEMETRY, "-m", &payload];
        let (succeeded, said) = mosquitto_pub_with(fixture.instance.mqtt(), &arguments);
        assert!(succeeded, "{said}");
        assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), Some("1"), "{version}");
    }
    fixture.instance.stop();
}

/// Reference 1.1: v5 Topic Filter invalid, before 0x80. Shared subscriptions have a code of their own.
#[test]
fn filters_that_are_not_the_devices_are_refused_by_code() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "filters");
    let cases = [
        ("#", 0x8f),
        ("+/devices/me/attributes", 0x8f),
        ("v1/devices/other/attributes", 0x8f),
        ("v1/gateway/rpc", 0x8f),
        ("/provision/response", 0x8f),
        ("$SYS/#", 0x8f),
        ("$share/group/v1/devices/me/attributes", 0x9e),
        (ATTRIBUTES, 1),
        ("v1/devices/me/attributes/response/+", 1),
        ("v1/devices/me/rpc/request/+", 1),
        ("v1/devices/me/rpc/response/+", 1),
        ("v2/fw/response/+/chunk/+", 1),
        ("v2/fw/error", 1),
        ("v2/sw/response/+/chunk/+", 1),
        ("v2/sw/error", 1),
    ];
    for version in [V311, V5] {
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(version));
        for (id, (filter, code)) in (1..).zip(cases) {
            let expected = if version == V311 && code >= 0x80 { 0x80 } else { code };
            assert_eq!(wire.subscribe(filter, id), expected, "{filter}");
        }
        wire.leave();
    }
    fixture.instance.stop();
}
