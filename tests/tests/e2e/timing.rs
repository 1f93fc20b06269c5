//! Nodes that wait for time, across kill -9: what a device was acknowledged goes on once, whenever the process died. Never asserts how
//! long anything takes.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{Device, Fixture, device, draw_root, latest_value, rows, tenant};
use tests::harness::instance::{Setup, drivers};
use tests::harness::python::{Client, Publication, mosquitto_pub};

const TYPES: &str = "filter.TbMsgTypeSwitchNode";
const SAVE: &str = "telemetry.TbMsgTimeseriesNode";

fn publish(fixture: &Fixture, token: &str, payload: &str) {
    let publication = Publication { token, topic: "v1/devices/me/telemetry", payload, qos: 1, version: "mqttv5" };
    let (published, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
    assert!(published, "{said}");
}

/// The process dies and begins anew.
fn killed(fixture: Fixture, change: impl FnOnce(Setup) -> Setup) -> Fixture {
    let Fixture { instance, home, .. } = fixture;
    instance.kill();
    let instance = change(Setup::standalone(&home)).start();
    Fixture { tenant: tenant(&instance), instance, home }
}

/// A value of the device's that comes.
fn comes(fixture: &Fixture, device: &Device, key: &str) -> String {
    eventually(&format!("{key} is stored"), || latest_value(&fixture.tenant, &device.id, key))
}

#[test]
fn what_is_delayed_goes_on_once_after_kill_9() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let nodes = [
            (TYPES, json!({})),
            ("delay.TbMsgDelayNode", json!({ "periodInSeconds": 3, "maxPendingMsgs": 10 })),
            (SAVE, json!({ "defaultTTL": 0 })),
        ];
        draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
        let devices = ["slow-1", "slow-2", "slow-3"].map(|token| device(&fixture.tenant, token));
        for device in &devices {
            publish(&fixture, &device.token, r#"{"n":1}"#);
        }
        // Another number of shards takes over what waits.
        let fixture = killed(fixture, |setup| setup.driver(driver).shards(3));
        for device in &devices {
            assert_eq!(comes(&fixture, device, "n"), "1");
        }
        fixture.instance.metric_reaches("tidegate_waits_over_total", 3.0);
        let fixture = killed(fixture, |setup| setup.driver(driver).shards(2));
        publish(&fixture, "slow-1", r#"{"after":1}"#);
        assert_eq!(comes(&fixture, &devices[0], "after"), "1");
        for device in &devices {
            assert_eq!(rows(&fixture.tenant, &device.id, "n"), 1, "once");
        }
        fixture.instance.stop();
    }
}

#[test]
fn of_several_messages_one_goes_on_after_kill_9() {
    let fixture = Fixture::start();
    let nodes = [
        (TYPES, json!({})),
        ("deduplication.TbMsgDeduplicationNode", json!({ "interval": 15, "strategy": "LAST", "maxPendingMsgs": 100 })),
        (SAVE, json!({ "defaultTTL": 0 })),
    ];
    draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
    let chatty = device(&fixture.tenant, "chatty");
    for n in 1..=3 {
        publish(&fixture, "chatty", &format!(r#"{{"n":{n}}}"#));
    }
    let fixture = killed(fixture, |setup| setup);
    assert_eq!(comes(&fixture, &chatty, "n"), "3");
    assert_eq!(rows(&fixture.tenant, &chatty.id, "n"), 1, "one of them");
    fixture.instance.stop();
}

#[test]
fn where_a_device_was_survives_kill_9() {
    let fixture = Fixture::start();
    let fence = json!({ "perimeterType": "CIRCLE", "centerLatitude": 50, "centerLongitude": 30, "range": 1, "rangeUnit": "KILOMETER",
        "minInsideDuration": 1, "minInsideDurationTimeUnit": "HOURS", "minOutsideDuration": 1, "minOutsideDurationTimeUnit": "HOURS" });
    let tells = |what: &str| {
        let script = format!("return {{msg: {{{what}: msg.n}}, metadata: metadata, msgType: msgType}};");
        ("transform.TbTransformMsgNode", json!({ "scriptLang": "TBEL", "tbelScript": script, "jsScript": "" }))
    };
    let nodes = [
        (TYPES, json!({})),
        ("geo.TbGpsGeofencingActionNode", fence),
        tells("entered"),
        tells("left"),
        tells("stays"),
        (SAVE, json!({ "defaultTTL": 0 })),
    ];
    let edges = [
        (0, "Post telemetry", 1),
        (1, "Entered", 2),
        (1, "Left", 3),
        (1, "Success", 4),
        (2, "Success", 5),
        (3, "Success", 5),
        (4, "Success", 5),
    ];
    draw_root(&fixture.tenant, &nodes, &edges);
    let truck = device(&fixture.tenant, "truck");
    publish(&fixture, "truck", r#"{"n":1,"latitude":50,"longitude":30}"#);
    assert_eq!(latest_value(&fixture.tenant, &truck.id, "entered").as_deref(), Some("1"));
    let fixture = killed(fixture, |setup| setup);
    publish(&fixture, "truck", r#"{"n":2,"latitude":50,"longitude":30}"#);
    publish(&fixture, "truck", r#"{"n":3,"latitude":51,"longitude":30}"#);
    let told = |key: &str| latest_value(&fixture.tenant, &truck.id, key);
    assert_eq!([told("entered"), told("stays"), told("left")].map(Option::unwrap_or_default), ["1", "2", "3"]);
    fixture.instance.stop();
}

#[test]
fn a_generator_goes_on_after_kill_9_and_stops() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let meter = device(&fixture.tenant, "meter");
        let script = "var n = prevMsg.n == null ? 1 : prevMsg.n + 1; return {msg: {n: n}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};";
        let generator = json!({ "msgCount": 4, "periodInSeconds": 2, "originatorType": "DEVICE", "originatorId": meter.id,
            "scriptLang": "TBEL", "tbelScript": script, "jsScript": "" });
        let nodes = [("debug.TbMsgGeneratorNode", generator), (SAVE, json!({ "defaultTTL": 0 }))];
        draw_root(&fixture.tenant, &nodes, &[(0, "Success", 1)]);
        let _first = comes(&fixture, &meter, "n");
        let fixture = killed(fixture, |setup| setup.driver(driver).shards(3));
        eventually("all are made", || (rows(&fixture.tenant, &meter.id, "n") == 4).then_some(()));
        // It has stopped, and remembers that.
        let fixture = killed(fixture, |setup| setup.driver(driver).shards(2));
        publish(&fixture, "meter", r#"{"after":1}"#);
        assert_eq!(comes(&fixture, &meter, "n"), "4");
        assert_eq!(rows(&fixture.tenant, &meter.id, "n"), 4);
        fixture.instance.stop();
    }
}

#[test]
fn messages_are_counted() {
    let fixture = Fixture::with(|setup| setup.shards(3).with("TIDEGATE_INSTANCE_ID", "plant"));
    let nodes = [
        (TYPES, json!({})),
        ("action.TbMsgCountNode", json!({ "telemetryPrefix": "seen", "interval": 1 })),
        (SAVE, json!({ "defaultTTL": 0 })),
    ];
    draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Success", 2)]);
    for n in 0..6 {
        let token = format!("counted-{n}");
        let _device = device(&fixture.tenant, &token);
        publish(&fixture, &token, r#"{"n":1}"#);
    }
    let tenant = fixture.tenant.get("/api/auth/user").json()["tenantId"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/plugins/telemetry/TENANT/{tenant}/values/timeseries?keys=seen_plant&startTs=0&limit=1000&endTs=");
    eventually("all are counted once", || {
        let told = fixture.tenant.get(&format!("{path}{}", tests::harness::now_ms() + 60_000)).json();
        let counts = told["seen_plant"].as_array().cloned().unwrap_or_default();
        let sum: u64 = counts.iter().filter_map(|point| point["value"].as_str()?.parse::<u64>().ok()).sum();
        assert!(sum <= 6, "{told}");
        (sum == 6).then_some(())
    });
    fixture.instance.stop();
}

#[test]
fn a_chain_calls_a_device() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let script = |body: &str| ("transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": body, "tbelScript": "" }));
    let how = "metadata.oneway = String(!!msg.oneway); metadata.persistent = String(!!msg.persistent); return {msg, metadata, msgType};";
    let done = "return {msg: Object.keys(msg).length ? msg : {done: 1}, metadata, msgType};";
    let call = ("rpc.TbSendRPCRequestNode", json!({ "timeoutInSeconds": 50 }));
    let nodes = [(TYPES, json!({})), script(how), call, script(done), (SAVE, json!({ "defaultTTL": 0 }))];
    let edges = [(0, "Post telemetry", 1), (1, "Success", 2), (2, "Success", 3), (2, "Failure", 4), (3, "Success", 4)];
    draw_root(&fixture.tenant, &nodes, &edges);
    let lamp = device(&fixture.tenant, "lamp");
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &lamp.token, 5);
    assert_eq!(paho.event("connected")["code"], 0);
    let requests = json!({ "do": "subscribe", "topic": "v1/devices/me/rpc/request/+" });
    assert_eq!(paho.ask(&requests, "subscribed")["codes"], json!([1]));
    let mut called = |method: &str, more: Value| {
        let mut said = json!({ "method": method, "params": 7 });
        said.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        publish_by(&mut paho, "v1/devices/me/telemetry", &said);
        let request = paho.event("message");
        assert_eq!(request["payload"], json!({ "method": method, "params": 7 }));
        let topic = request["topic"].as_str().expect("a topic").replace("/request/", "/response/");
        publish_by(&mut paho, &topic, &json!({ "shines": true }));
    };
    called("shine", json!({}));
    assert_eq!(comes(&fixture, &lamp, "shines"), "true");
    called("beep", json!({ "oneway": true }));
    assert_eq!(comes(&fixture, &lamp, "done"), "1");
    called("later", json!({ "persistent": true }));
    assert_eq!(comes(&fixture, &lamp, "rpcId").len(), 36);
    fixture.instance.stop();
}

/// What is called and does not answer is a Failure, after kill -9 too.
#[test]
fn a_call_that_nobody_answers_ends() {
    let fixture = Fixture::start();
    let nodes =
        [(TYPES, json!({})), ("rpc.TbSendRPCRequestNode", json!({ "timeoutInSeconds": 5 })), (SAVE, json!({ "defaultTTL": 0 }))];
    draw_root(&fixture.tenant, &nodes, &[(0, "Post telemetry", 1), (1, "Failure", 2)]);
    let (absent, killed_one) = (device(&fixture.tenant, "absent"), device(&fixture.tenant, "killed"));
    publish(&fixture, "absent", r#"{"method":"m","params":1}"#);
    assert_eq!(comes(&fixture, &absent, "error"), "NO_ACTIVE_CONNECTION");
    publish(&fixture, "killed", r#"{"method":"m","params":1}"#);
    let fixture = killed(fixture, |setup| setup);
    assert_eq!(comes(&fixture, &killed_one, "error"), "TIMEOUT");
    fixture.instance.stop();
}

fn publish_by(client: &mut Client, topic: &str, payload: &Value) {
    client.send(&json!({ "do": "publish", "topic": topic, "payload": payload }));
}
