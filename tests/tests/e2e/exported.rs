//! Rule chains as ThingsBoard exports them (`tests/chains`): imported as its console does it, each behind a device profile, and doing what
//! they were drawn for. Never asserts how long that takes.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{
    Device, Fixture, applied, attributes, device_with, id_of, latest_value, limit_tenants, profile, share,
};
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;
use tests::harness::rest::Rest;

/// An exported file's text.
macro_rules! exported {
    ($name:literal) => {
        include_str!(concat!("../../chains/", $name, ".json"))
    };
}

/// Imports a file of one chain, or of several of which the last one is for devices, and returns that one's id.
fn import(rest: &Rest, text: &str) -> String {
    let file: Value = serde_json::from_str(text).expect("the file is JSON");
    if file.get("ruleChains").is_some() {
        let results = applied(rest, "/api/ruleChains/import?overwrite=true", &file);
        let last = results.as_array().and_then(|all| all.last()).expect("a result each").clone();
        return last["ruleChainId"]["id"].as_str().expect("an id").to_owned();
    }
    let id = id_of(&applied(rest, "/api/ruleChain", &file["ruleChain"]));
    let mut metadata = file["metadata"].clone();
    metadata["ruleChainId"] = json!({ "entityType": "RULE_CHAIN", "id": id });
    applied(rest, "/api/ruleChain/metadata", &metadata);
    id
}

/// A device whose messages go through the chain of a file. Its profile has the file's name.
fn behind(rest: &Rest, name: &str, text: &str) -> Device {
    let chain = json!({ "entityType": "RULE_CHAIN", "id": import(rest, text) });
    let _profile = profile(rest, &json!({ "name": name, "defaultRuleChainId": chain }));
    device_with(rest, name, &json!({ "type": name }))
}

fn say(fixture: &Fixture, device: &Device, payload: &str) {
    assert_eq!(Wire::session(fixture.instance.mqtt(), &device.token).telemetry(1, payload), 0);
}

/// What is said, and what is stored then.
type Step = (&'static str, &'static [(&'static str, Option<&'static str>)]);

#[test]
fn chains_of_telemetry_do_what_they_were_drawn_for() {
    let cases: [(&str, &str, &[Step]); 6] = [
        ("root", exported!("root"), &[(r#"{"t":21.5,"on":true}"#, &[("t", Some("21.5")), ("on", Some("true"))])]),
        (
            "energy-meter",
            exported!("energy_meter"),
            &[
                (r#"{"pulses":100,"fwVersion":1}"#, &[("used", Some("0")), ("pulses", None), ("fwVersion", None)]),
                (r#"{"pulses":110.5}"#, &[("used", Some("10.5")), ("cost", Some("21.0")), ("turnedBack", None)]),
                (r#"{"pulses":1}"#, &[("turnedBack", Some("true")), ("used", Some("10.5"))]),
            ],
        ),
        (
            "tracker",
            exported!("tracker"),
            &[
                (r#"{"latitude":50.5,"longitude":30.5}"#, &[("place", Some("yard"))]),
                (r#"{"latitude":49,"longitude":30.5}"#, &[("place", Some("road"))]),
                (r#"{"battery":3}"#, &[("place", Some("unknown")), ("battery", None)]),
            ],
        ),
        (
            "sensor-array",
            exported!("sensor_array"),
            &[(
                r#"{"readings":[{"v":40,"ok":true,"at":1},{"v":41,"ok":false,"at":2}]}"#,
                &[("humidity", Some("40")), ("deviceType", Some("sensor-array")), ("ok", None), ("readings", None)],
            )],
        ),
        (
            "validated",
            exported!("validation"),
            &[
                (r#"{"temperature":20}"#, &[("temperature", Some("20")), ("implausible", None)]),
                (r#"{"temperature":900}"#, &[("temperature", Some("20")), ("implausible", Some("900"))]),
            ],
        ),
        (
            "sorting",
            exported!("sorting"),
            &[(r#"{"n":1}"#, &[("n", Some("1")), ("before", None)]), (r#"{"n":2}"#, &[("n", Some("2")), ("before", Some("1"))])],
        ),
    ];
    let fixture = Fixture::with(|setup| setup.shards(2));
    for (name, text, steps) in cases {
        let device = behind(&fixture.tenant, name, text);
        for (payload, stored) in steps {
            say(&fixture, &device, payload);
            for (key, value) in *stored {
                assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), *value, "{name}: {key} after {payload}");
            }
        }
    }
    fixture.instance.stop();
}

#[test]
fn an_alarm_follows_the_cold_chain() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = behind(rest, "cold-storage", exported!("cold_storage"));
    let state = || attributes(rest, &device.id, "SERVER_SCOPE").get("chain").cloned();
    let alarms = || rest.get(&format!("/api/alarm/DEVICE/{}?pageSize=10&page=0", device.id)).json()["data"].clone();
    say(&fixture, &device, r#"{"temperature":5}"#);
    assert_eq!(state(), None, "there is nothing to clear");
    say(&fixture, &device, r#"{"temperature":9}"#);
    assert_eq!(state(), Some(json!("broken")));
    eventually("the alarm is known", || (alarms()[0]["status"] == "ACTIVE_UNACK").then_some(()));
    say(&fixture, &device, r#"{"temperature":7}"#);
    assert_eq!(state(), Some(json!("whole")));
    eventually("it is over", || (alarms()[0]["status"] == "CLEARED_UNACK").then_some(()));
    let alarm = alarms()[0].clone();
    assert_eq!((&alarm["severity"], &alarm["details"]), (&json!("CRITICAL"), &json!({ "temperature": 9, "cleared": 7 })));
    assert_eq!(alarms().as_array().map(Vec::len), Some(1));
    fixture.instance.stop();
}

#[test]
fn a_customers_limit_decides() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let device = behind(rest, "customer-limit", exported!("customer_limit"));
    let customer = id_of(&applied(rest, "/api/customer", &json!({ "title": "Acme" })));
    rest.post(&format!("/api/plugins/telemetry/CUSTOMER/{customer}/attributes/SERVER_SCOPE"), &json!({ "limit": 100 }))
        .expect_text(200);
    applied(rest, &format!("/api/customer/{customer}/device/{}", device.id), &json!({}));
    let latest = |key: &str| latest_value(rest, &device.id, key);
    say(&fixture, &device, r#"{"load":90}"#);
    assert_eq!((latest("load").as_deref(), latest("over")), (Some("90"), None));
    say(&fixture, &device, r#"{"load":130}"#);
    assert_eq!((latest("over").as_deref(), latest("customer_title").as_deref()), (Some("30"), Some("Acme")));
    fixture.instance.stop();
}

#[test]
fn a_device_is_answered() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = behind(rest, "answers", exported!("answers"));
    share(rest, &device.id, &json!({ "setPoint": 21.5 }));
    let http = Rest::new(fixture.instance.device_http());
    let ask = |method: &str| http.post("/api/v1/answers/rpc", &json!({ "method": method, "params": {} })).json();
    assert_eq!(ask("getSetPoint"), json!({ "setPoint": 21.5 }));
    assert_eq!(ask("fly"), json!({ "error": "unknown method fly" }));
    say(&fixture, &device, r#"{"temperature":3}"#);
    assert_eq!(latest_value(rest, &device.id, "temperature").as_deref(), Some("3"));
    fixture.instance.stop();
}

#[test]
fn messages_go_on_to_other_servers() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
    let mut outside = Client::outside(&fixture.home, 0);
    let http = format!("localhost:{}", outside.event("listening")["http"]);
    let weather = behind(rest, "weather", &exported!("weather").replace("outside.example", &http));
    say(&fixture, &weather, r#"{"n":4}"#);
    let code = eventually("the refusal is stored", || latest_value(rest, &weather.id, "code"));
    assert!(code.contains("404"), "{code}");
    let answer = eventually("the answer is kept", || attributes(rest, &weather.id, "SERVER_SCOPE").get("answer").cloned());
    assert_eq!(answer, json!(40));
    let called: Vec<Value> = (0..2).map(|_| outside.event("call")["path"].clone()).collect();
    assert!(called.contains(&json!("/weather/device%20weather")), "{called:?}");

    let broker: SocketAddr = port::reserve();
    let _mosquitto = Client::mosquitto(&fixture.home, broker);
    let mut subscriber = Client::mosquitto_sub(&fixture.home, broker, "anybody", "bridge/#");
    let text = exported!("bridge").replace("1883", &broker.port().to_string());
    let bridge = behind(rest, "bridge", &text);
    let mut wire = Wire::session(fixture.instance.mqtt(), &bridge.token);
    assert_eq!(wire.acknowledged("v1/devices/me/attributes", 3, r#"{"firmware":7}"#), 0);
    assert_eq!(subscriber.message("bridge/device bridge"), json!({ "firmware": 7 }));
    eventually("it is saved when it was taken", || attributes(rest, &bridge.id, "CLIENT_SCOPE").get("firmware").cloned());
    say(&fixture, &bridge, r#"{"t":1}"#);
    assert_eq!(latest_value(rest, &bridge.id, "t").as_deref(), Some("1"), "telemetry goes past the bridge");
    fixture.instance.stop();
}
