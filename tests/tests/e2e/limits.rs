//! Rate limits of the tenant profile, connection limits, failed logins (reference 1.8): each refused in its protocol's own words,
//! counted per device, and at nobody else's cost. Windows are an hour long, so that no test depends on when a second begins.

use serde_json::{Value, json};
use tests::harness::curl::Curl;
use tests::harness::fixture::{self, Fixture, device, gateway, latest_value, limit_tenants, rows};
use tests::harness::mqtt::{CONNACK, Connect, PUBACK, V5, V311, Wire};
use tests::harness::python::Client;
use tests::harness::rest::Rest;
use tests::harness::within;

const QUOTA_EXCEEDED: u8 = 0x97;
const TELEMETRY: &str = "v1/devices/me/telemetry";

/// How much of a device was refused since its state was loaded.
fn refused(tenant: &Rest, device: &str) -> u64 {
    let standing = tenant.get(&format!("/api/tidegate/device/{device}/standing")).json();
    let counts = standing["refused"].as_object().cloned().unwrap_or_else(|| panic!("refusals by reason: {standing}"));
    counts.values().filter_map(Value::as_u64).sum()
}

/// Posts telemetry over HTTP: status and Retry-After.
fn post(fixture: &Fixture, token: &str, body: &str) -> (u16, String) {
    let answer = Curl::post(format!("http://{}/api/v1/{token}/telemetry", fixture.instance.device_http()), body).run();
    (answer.status, answer.retry_after)
}

#[test]
fn a_devices_messages_are_limited_over_http() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let (busy, other) = (device(&fixture.tenant, "busy"), device(&fixture.tenant, "other"));
    limit_tenants(&fixture.instance, &json!({ "transportDeviceTelemetryMsgRateLimit": "5:3600" }));
    for number in 0..5 {
        assert_eq!(post(&fixture, "busy", &format!(r#"{{"n":{number}}}"#)).0, 200, "{number}");
    }
    for _ in 0..3 {
        let (status, retry_after) = post(&fixture, "busy", r#"{"n":99}"#);
        assert_eq!(status, 429);
        assert!(retry_after.parse::<u32>().is_ok_and(|seconds| (1..=3_600).contains(&seconds)), "Retry-After: {retry_after}");
    }
    assert_eq!(latest_value(&fixture.tenant, &busy.id, "n").as_deref(), Some("4"), "what was refused is not stored");
    assert_eq!(refused(&fixture.tenant, &busy.id), 3, "and counted");
    let forwarded = format!("http://{}/api/v1/busy/telemetry", fixture.instance.address("http"));
    let answer = Curl::post(forwarded, "{\"n\":1}").run();
    assert!(answer.status == 429 && !answer.retry_after.is_empty(), "the same by the other base URL: {answer:?}");
    // Attributes are of the same kind, requests are not (reference 1.8).
    let url = format!("http://{}/api/v1/busy/attributes", fixture.instance.device_http());
    assert_eq!(Curl::post(&url, r#"{"a":1}"#).run().status, 429);
    assert_eq!(Curl::get(&url).run().status, 200);
    assert_eq!(post(&fixture, "other", r#"{"n":1}"#).0, 200, "another device");
    assert_eq!(refused(&fixture.tenant, &other.id), 0);
    limit_tenants(&fixture.instance, &json!({ "transportDeviceTelemetryMsgRateLimit": "" }));
    assert_eq!(post(&fixture, "busy", r#"{"n":7}"#).0, 200, "a changed profile is in force at once");
    fixture.instance.stop();
}

#[test]
fn a_devices_messages_are_limited_over_mqtt() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let made = fixture::devices(&fixture.tenant, "fast", 3);
    limit_tenants(&fixture.instance, &json!({ "transportDeviceTelemetryMsgRateLimit": "5:3600" }));
    let mut new = Wire::admitted(fixture.instance.mqtt(), &Connect::new("fast0").version(V5));
    let codes: Vec<u8> = (1..=8).map(|id| new.telemetry(id, r#"{"n":1}"#)).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, QUOTA_EXCEEDED, QUOTA_EXCEEDED, QUOTA_EXCEEDED], "the session goes on");
    assert_eq!(rows(&fixture.tenant, &made[0].id, "n"), 5);
    assert_eq!(refused(&fixture.tenant, &made[0].id), 3);
    let mut old = Wire::admitted(fixture.instance.mqtt(), &Connect::new("fast1").version(V311));
    for id in 1..=5 {
        assert_eq!(old.telemetry(id, r#"{"n":1}"#), 0);
    }
    old.publish(TELEMETRY, Some(6), r#"{"n":1}"#).expect("the connection is open");
    assert_eq!(old.read_to_close(), [], "3.1.1 has no refusal but to close");
    assert_eq!(rows(&fixture.tenant, &made[1].id, "n"), 5);
    let mut other = Wire::session(fixture.instance.mqtt(), "fast2");
    assert_eq!(other.telemetry(1, r#"{"n":1}"#), 0, "another device");
    let mut sdk = Client::sdk(&fixture.home, fixture.instance.mqtt(), "fast2");
    sdk.event("connected");
    let limits = sdk.ask(&json!({ "do": "limits" }), "limits")["body"].clone();
    assert_eq!(limits["rateLimits"]["telemetryMessages"], "5:3600", "devices are told: {limits}");
    fixture.instance.stop();
}

/// Data points, and all that is no telemetry; more than one window, of which all must pass.
#[test]
fn points_and_other_messages_have_limits_of_their_own() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "points");
    let limits =
        json!({ "transportDeviceTelemetryDataPointsRateLimit": "100:3600,10:1800", "transportDeviceMsgRateLimit": "4:3600" });
    limit_tenants(&fixture.instance, &limits);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("points").version(V5));
    assert_eq!(wire.telemetry(1, r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}"#), 0);
    assert_eq!(wire.telemetry(2, r#"{"a":2,"b":2,"c":2,"d":2,"e":2,"f":2}"#), QUOTA_EXCEEDED, "6 of 4 that are left");
    assert_eq!(wire.telemetry(3, r#"{"a":3}"#), 0, "1 of 4");
    assert_eq!(latest_value(&fixture.tenant, &device.id, "b").as_deref(), Some("1"));
    assert_eq!(wire.subscribe("v1/devices/me/attributes/response/+", 9), 1);
    let mut taken = 0;
    for id in 10..20 {
        let code = among_answers(&mut wire, &format!("v1/devices/me/attributes/request/{id}"), id, r#"{"clientKeys":"a"}"#);
        assert!(code == 0 || code == QUOTA_EXCEEDED, "{code:#x}");
        taken += u8::from(code == 0);
    }
    // Connecting and subscribing may count, too: the reference does not say.
    assert!((1..=4).contains(&taken), "{taken} of 10 requests were taken");
    assert_eq!(among_answers(&mut wire, TELEMETRY, 30, r#"{"a":4}"#), 0, "telemetry is not meant");
    fixture.instance.stop();
}

/// Publishes and waits for the acknowledgement, which answers to requests may precede.
fn among_answers(wire: &mut Wire, topic: &str, id: u16, payload: &str) -> u8 {
    wire.publish(topic, Some(id), payload).expect("the connection is open");
    loop {
        let packet = wire.read().expect("an acknowledgement");
        if packet.kind() == PUBACK && packet.id() == id {
            return packet.code(2);
        }
    }
}

#[test]
fn a_tenants_limit_is_its_own() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let made = fixture::devices(&fixture.tenant, "many", 6);
    let second = fixture::second_tenant(&fixture.instance);
    let stranger = device(&second, "stranger");
    limit_tenants(&fixture.instance, &json!({ "transportTenantTelemetryMsgRateLimit": "20:3600" }));
    let mut wires: Vec<Wire> =
        made.iter().map(|device| Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(V5))).collect();
    let mut taken = 0;
    for id in 1..=10 {
        for wire in &mut wires {
            let code = wire.telemetry(id, r#"{"n":1}"#);
            assert!(code == 0 || code == QUOTA_EXCEEDED, "{code:#x}");
            taken += u32::from(code == 0);
        }
    }
    // Shards lease blocks (DESIGN 8.4, 14): what one has leased another cannot use, but together it is never more.
    assert!((10..=20).contains(&taken), "{taken} of 60 messages were taken");
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&stranger.token).version(V5));
    for id in 1..=10 {
        assert_eq!(wire.telemetry(id, r#"{"n":1}"#), 0, "another tenant");
    }
    fixture.instance.stop();
}

#[test]
fn gateways_and_their_children_have_limits_of_their_own() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let _gateway = gateway(&fixture.tenant, "limitgw");
    let topic = "v1/gateway/telemetry";
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("limitgw").version(V5));
    assert_eq!(wire.acknowledged(topic, 1, r#"{"quick":[{"n":0}],"slow":[{"n":0}]}"#), 0);
    let limits =
        json!({ "transportGatewayDeviceTelemetryMsgRateLimit": "3:3600", "transportDeviceTelemetryMsgRateLimit": "1:3600" });
    limit_tenants(&fixture.instance, &limits);
    for id in 2..=4 {
        assert_eq!(wire.acknowledged(topic, id, r#"{"quick":[{"n":1}]}"#), 0, "the devices' limit is not the children's");
    }
    assert_eq!(wire.acknowledged(topic, 5, r#"{"quick":[{"n":9}]}"#), QUOTA_EXCEEDED);
    assert_eq!(wire.acknowledged(topic, 6, r#"{"slow":[{"n":1}]}"#), 0, "another child");
    let id = fixture::id_of(&fixture::device_named(&fixture.tenant, "quick").expect("it was made"));
    assert_eq!(latest_value(&fixture.tenant, &id, "n").as_deref(), Some("1"));
    limit_tenants(
        &fixture.instance,
        &json!({ "transportGatewayDeviceTelemetryMsgRateLimit": "", "transportGatewayTelemetryMsgRateLimit": "2:3600" }),
    );
    let codes: Vec<u8> = (10..14).map(|id| wire.acknowledged(topic, id, r#"{"slow":[{"n":2}]}"#)).collect();
    assert_eq!(codes, [0, 0, QUOTA_EXCEEDED, QUOTA_EXCEEDED], "the gateway's own");
    fixture.instance.stop();
}

#[test]
fn a_tenants_connections_are_limited() {
    let fixture = Fixture::start();
    let made = fixture::devices(&fixture.tenant, "seat", 4);
    limit_tenants(&fixture.instance, &json!({ "maxTransportConnections": 2 }));
    let connack = |token: &str, version: u8| {
        let mut wire = Wire::open(fixture.instance.mqtt());
        let packet = wire.handshake(&Connect::new(token).version(version)).expect("a CONNACK");
        assert_eq!(packet.kind(), CONNACK);
        (wire, packet.code(1))
    };
    let (first, second) = (connack(&made[0].token, V5), connack(&made[1].token, V5));
    assert_eq!((first.1, second.1), (0, 0));
    assert_eq!(connack(&made[2].token, V311).1, 3, "Server unavailable");
    let code = connack(&made[2].token, V5).1;
    assert!([0x97, 0x9f].contains(&code), "Quota exceeded or Connection rate exceeded: {code:#x}");
    first.0.leave();
    let admitted = within(tests::harness::PATIENCE, || Some(connack(&made[2].token, V5)).filter(|(_, code)| *code == 0));
    assert!(admitted.is_some(), "a place that is free again is given away");
    fixture.instance.stop();
}

/// Guesses are not listened to for ever; a device that was let in before from the same address is.
#[test]
fn failed_logins_are_throttled() {
    const GUESSES: usize = 200;
    let fixture = Fixture::start();
    let known = device(&fixture.tenant, "trusted");
    Wire::session(fixture.instance.mqtt(), &known.token).leave();
    let guess = |number: usize| {
        let token = format!("guess{number}");
        Wire::open(fixture.instance.mqtt()).handshake(&Connect::new(&token).version(V5)).expect("a CONNACK").code(1)
    };
    let codes: Vec<u8> = (0..GUESSES).map(guess).collect();
    assert_eq!(codes.first(), Some(&0x86), "Bad User Name or Password");
    assert!(codes.iter().all(|code| [0x86, 0x87, 0x9f].contains(code)), "{codes:x?}");
    assert_eq!(codes.last(), Some(&0x9f), "Connection rate exceeded");
    let url = format!("http://{}/api/v1/guessed/telemetry", fixture.instance.device_http());
    let answer = Curl::post(url, "{}").run();
    assert!(answer.status == 429 && !answer.retry_after.is_empty(), "HTTP says so, too: {answer:?}");
    assert_eq!(Wire::session(fixture.instance.mqtt(), &known.token).telemetry(1, r#"{"a":1}"#), 0);
    fixture.instance.stop();
}

/// Devices that come through the control plane are told apart by their own addresses, whatever they or others claim.
#[test]
fn failed_logins_through_the_control_plane_are_those_of_the_client() {
    const GUESSES: usize = 20;
    let fixture = Fixture::start();
    let mut number = 0;
    let mut guess = |part: &str, from: &str, claim: Option<&str>| {
        number += 1;
        let url = format!("http://{}/api/v1/guess{number}/telemetry", fixture.instance.address(part));
        let mut curl = Curl::post(url, "{}").argument("--interface").argument(from);
        if let Some(claim) = claim {
            let proof = format!("Tidegate-Forwarded-Proof: {}", "0".repeat(64));
            curl = curl.argument("-H").argument(format!("X-Forwarded-For: {claim}")).argument("-H").argument(proof);
        }
        curl.run().status
    };
    let mut throttled = |part: &str, from: &str, claim: &dyn Fn(usize) -> Option<String>| {
        let said: Vec<u16> = (0..GUESSES).map(|count| guess(part, from, claim(count).as_deref())).collect();
        assert!(said.first() == Some(&401) && said.last() == Some(&429), "{part} {from}: {said:?}");
    };
    throttled("http", "127.0.0.2", &|_| None);
    // Another one whose every guess would be somebody else's if the client were believed, through either listener.
    throttled("http", "127.0.0.4", &|count| Some(format!("127.0.1.{count}")));
    throttled("device_http", "127.0.0.5", &|count| Some(format!("127.0.1.{count}")));
    // And one who would have somebody else throttled.
    throttled("device_http", "127.0.0.6", &|_| Some("127.0.0.3".to_owned()));
    throttled("http", "127.0.0.7", &|_| Some("127.0.0.3".to_owned()));
    for part in ["http", "device_http"] {
        assert_eq!(guess(part, "127.0.0.3", None), 401, "{part}: another address");
        assert_eq!(guess(part, "127.0.0.2", None), 429, "{part}: the same one, by whatever way it comes");
    }
    assert!(!fixture.instance.log().contains("orwarded-"), "what vouches for an address is not logged");
    fixture.instance.stop();
}
