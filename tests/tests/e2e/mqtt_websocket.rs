//! MQTT over WebSocket at the devices' HTTP listener: paho in its WebSocket transport, and handshakes that are refused with curl.
//! Never the control plane's own WebSocket, which is `live.rs`.

use serde_json::json;
use tests::harness::curl::Curl;
use tests::harness::fixture::{self, Fixture, attributes, device, latest_value, rows, share};
use tests::harness::instance::drivers;
use tests::harness::mqtt::Wire;
use tests::harness::python::Client;

/// Which header of a good handshake is another one.
type Change = (usize, &'static str);

const TELEMETRY: &str = "v1/devices/me/telemetry";
const ATTRIBUTES: &str = "v1/devices/me/attributes";

#[test]
fn paho_speaks_mqtt_in_websocket() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        for (number, version) in [4, 5].into_iter().enumerate() {
            // Devices of both shards: a connection that is in the wrong place is handed over with its frames.
            for device in fixture::devices(&fixture.tenant, &format!("ws{number}-"), 4) {
                let options = json!({ "websocket": "/mqtt" });
                let mut paho =
                    Client::paho_with(&fixture.home, fixture.instance.device_http(), &device.token, (version, options));
                assert_eq!(paho.event("connected")["code"], 0);
                for qos in [1, 2] {
                    let publish = json!({ "do": "publish", "topic": TELEMETRY, "payload": { "q": qos }, "qos": qos });
                    assert_eq!(paho.ask(&publish, "published")["code"], 0);
                }
                assert_eq!(rows(&fixture.tenant, &device.id, "q"), 2);
                let large = "x".repeat(40_000);
                let publish = json!({ "do": "publish", "topic": ATTRIBUTES, "payload": { "large": large } });
                assert_eq!(paho.ask(&publish, "published")["code"], 0);
                assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["large"], large.as_str());
                assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": ATTRIBUTES }), "subscribed")["codes"], json!([1]));
                share(&fixture.tenant, &device.id, &json!({ "rate": 5 }));
                assert_eq!(paho.event("message")["payload"], json!({ "rate": 5 }));
                paho.ask(&json!({ "do": "disconnect" }), "disconnected");
            }
        }
        fixture.instance.stop();
    }
}

#[test]
fn a_session_goes_on_in_another_transport() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let device = device(&fixture.tenant, "moves");
    let connect = |options: serde_json::Value| {
        let address = if options["websocket"].is_string() { fixture.instance.device_http() } else { fixture.instance.mqtt() };
        let mut paho = Client::paho_with(&fixture.home, address, &device.token, (5, options));
        let connected = paho.event("connected");
        assert_eq!(connected["code"], 0);
        (paho, connected["session_present"] == true)
    };
    let (mut paho, present) = connect(json!({ "kept": 3_600 }));
    assert!(!present);
    assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": ATTRIBUTES }), "subscribed")["codes"], json!([1]));
    let (mut in_websocket, present) = connect(json!({ "kept": 3_600, "websocket": "/mqtt" }));
    assert!(present, "the same session");
    assert_eq!(paho.event("disconnected")["code"], 0x8e, "Session taken over");
    share(&fixture.tenant, &device.id, &json!({ "rate": 1 }));
    assert_eq!(in_websocket.event("message")["payload"], json!({ "rate": 1 }));
    fixture.instance.stop();
}

#[test]
fn handshakes_that_are_none_are_refused() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "witness");
    let url = format!("http://{}/mqtt", fixture.instance.device_http());
    let good = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: mqtt",
    ];
    let with = |changes: &[Change]| {
        let header = |(at, header): (usize, &&str)| {
            changes.iter().find(|change| change.0 == at).map_or_else(|| (*header).to_owned(), |change| change.1.to_owned())
        };
        let headers: Vec<String> = good.iter().enumerate().map(header).collect();
        headers.iter().fold(Curl::get(&url), |curl, header| curl.argument("-H").argument(header))
    };
    let cases: [(&str, Vec<Change>, Vec<u16>); 5] = [
        ("no upgrade", vec![(0, "Connection: keep-alive"), (1, "X-Nothing: x")], vec![400, 426]),
        ("another version", vec![(2, "Sec-WebSocket-Version: 8")], vec![400, 426]),
        ("no key", vec![(3, "X-Nothing: x")], vec![400]),
        ("a key that is none", vec![(3, "Sec-WebSocket-Key: short")], vec![400]),
        ("another protocol", vec![(4, "Sec-WebSocket-Protocol: chat")], vec![400]),
    ];
    for (name, changes, statuses) in cases {
        let answer = with(&changes).run();
        assert!(statuses.contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
    }
    let elsewhere = Curl::get(url.replace("/mqtt", "/elsewhere")).argument("-H").argument("Upgrade: websocket").run();
    assert_eq!(elsewhere.status, 404);
    assert_eq!(Wire::session(fixture.instance.mqtt(), &device.token).telemetry(1, r#"{"a":1}"#), 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "a").as_deref(), Some("1"));
    fixture.instance.stop();
}
