//! The HTTP device API (reference 1.3) by curl, and by a raw socket where the order of bytes matters; at the devices' own listener
//! and at the control plane's, which forwards. Never reads a value before its request was answered.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tests::harness::curl::{Answer, Curl};
use tests::harness::fixture::{self, Device, Fixture, attributes, device, latest, latest_value, share, telemetry};
use tests::harness::instance::{Home, Instance, drivers};
use tests::harness::planes::{Planes, joined};
use tests::harness::raw_http::{RawHttp, request};
use tests::harness::rest::Rest;

const BASE: i64 = 1_700_000_000_000;

/// Both base URLs: a device may be told either.
fn bases(instance: &Instance) -> [String; 2] {
    let base = |address: SocketAddr| format!("http://{address}/api/v1");
    [base(instance.device_http()), base(instance.address("http"))]
}

#[test]
fn telemetry_and_attributes_are_posted_and_read() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        for (number, base) in bases(&fixture.instance).into_iter().enumerate() {
            let device = device(&fixture.tenant, &format!("web{number}"));
            let url = format!("{base}/{}", device.token);
            check_telemetry(&fixture.tenant, &device, &url);
            check_attributes(&fixture.tenant, &device, &url);
        }
        fixture.instance.stop();
    }
}

fn check_telemetry(tenant: &Rest, device: &Device, url: &str) {
    let forms = [
        (r#"{"a":42}"#.to_owned(), vec![("a", "42", None)]),
        (format!(r#"{{"ts":{BASE},"values":{{"b":1.5}}}}"#), vec![("b", "1.5", Some(BASE))]),
        (
            format!(r#"[{{"c":true}},{{"ts":{BASE},"values":{{"d":"text"}}}}]"#),
            vec![("c", "true", None), ("d", "text", Some(BASE))],
        ),
    ];
    for (body, expected) in forms {
        let answer = Curl::post(format!("{url}/telemetry"), &body).run();
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{body}");
        for (key, value, ts) in expected {
            let row = latest(tenant, &device.id, key)[key][0].clone();
            assert_eq!(row["value"], value, "{body}");
            assert!(ts.is_none_or(|ts| row["ts"] == ts), "{body}: {row}");
        }
    }
}

fn check_attributes(tenant: &Rest, device: &Device, url: &str) {
    let answer = Curl::post(format!("{url}/attributes"), r#"{"firmware":"v1.2","cells":4}"#).run();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let stored = attributes(tenant, &device.id, "CLIENT_SCOPE");
    assert_eq!((&stored["firmware"], &stored["cells"]), (&json!("v1.2"), &json!(4)));
    share(tenant, &device.id, &json!({ "target": 21.5, "mode": "eco" }));
    tenant.post(&telemetry(&device.id, "attributes/SERVER_SCOPE"), &json!({ "secret": 1 })).expect_text(200);
    let all = json!({ "client": { "firmware": "v1.2", "cells": 4 }, "shared": { "target": 21.5, "mode": "eco" } });
    let cases = [
        ("", all),
        (
            "?clientKeys=firmware,absent&sharedKeys=target,secret",
            json!({ "client": { "firmware": "v1.2" }, "shared": { "target": 21.5 } }),
        ),
        ("?clientKeys=cells", json!({ "client": { "cells": 4 } })),
        ("?sharedKeys=mode", json!({ "shared": { "mode": "eco" } })),
    ];
    for (query, expected) in cases {
        let answer = Curl::get(format!("{url}/attributes{query}")).run();
        assert_eq!(without_empty(answer.json()), expected, "{query}");
        assert!(answer.content_type.starts_with("application/json"), "{query}: {}", answer.content_type);
    }
}

/// A side that was not asked for may be absent or empty: the reference does not say.
fn without_empty(mut answer: Value) -> Value {
    if let Some(sides) = answer.as_object_mut() {
        sides.retain(|_, side| side != &json!({}));
    }
    answer
}

#[test]
fn a_changed_attribute_ends_a_long_poll() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let device = device(&fixture.tenant, "polls");
        for base in bases(&fixture.instance) {
            let url = format!("{base}/{}/attributes/updates", device.token);
            assert_eq!(Curl::get(format!("{url}?timeout=1000")).run().status, 408, "nothing changed");
            let poll = Curl::get(format!("{url}?timeout=50000")).start();
            // When the poll has arrived is not to be seen from outside, so it is changed until the poll ends.
            let mut last = 0;
            tests::harness::eventually("the poll ends", || {
                last += 1;
                share(&fixture.tenant, &device.id, &json!({ "rate": last }));
                poll.is_finished().then_some(())
            });
            let update = poll.join().expect("curl ends").json();
            assert!(update["rate"].as_i64().is_some_and(|rate| (1..=last).contains(&rate)), "{update}");
        }
        fixture.instance.stop();
    }
}

#[test]
fn a_deleted_attribute_ends_a_long_poll() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "forgets");
    let url = format!("{}/{}/attributes/updates", bases(&fixture.instance)[0], device.token);
    let poll = Curl::get(format!("{url}?timeout=50000")).start();
    tests::harness::eventually("the poll ends", || {
        // The change before a deletion may end the poll first: then there is another one.
        share(&fixture.tenant, &device.id, &json!({ "mode": 1 }));
        fixture.tenant.delete(&telemetry(&device.id, "SHARED_SCOPE?keys=mode")).expect_text(200);
        poll.is_finished().then_some(())
    });
    let update = poll.join().expect("curl ends").json();
    assert!(update == json!({ "deleted": ["mode"] }) || update == json!({ "mode": 1 }), "{update}");
    fixture.instance.stop();
}

#[test]
fn a_call_of_the_server_is_answered_over_http() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let device = device(&fixture.tenant, "served");
        for base in bases(&fixture.instance) {
            let url = format!("{base}/{}/rpc", device.token);
            assert_eq!(Curl::get(format!("{url}?timeout=1000")).run().status, 408, "nobody calls");
            let (tenant, path) = (fixture.tenant.clone(), format!("/api/rpc/twoway/{}", device.id));
            let body = json!({ "method": "open", "params": { "door": 2 }, "timeout": 50_000 });
            let call = std::thread::spawn(move || tenant.post(&path, &body));
            let request = Curl::get(format!("{url}?timeout=50000")).run().json();
            assert_eq!((&request["method"], &request["params"]), (&json!("open"), &json!({ "door": 2 })), "{request}");
            let id = request["id"].as_u64().unwrap_or_else(|| panic!("a call has a number: {request}"));
            let answer = Curl::post(format!("{url}/{id}"), r#"{"opened":true}"#).run();
            assert_eq!((answer.status, answer.text().as_str()), (200, ""));
            assert_eq!(call.join().expect("the call ends").json(), json!({ "opened": true }));
        }
        fixture.instance.stop();
    }
}

#[test]
fn a_device_calls_the_server() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "calls");
    for base in bases(&fixture.instance) {
        let url = format!("{base}/{}/rpc", device.token);
        let limits = Curl::post(&url, r#"{"method":"getSessionLimits","params":{}}"#).run().json();
        assert_eq!(limits["maxPayloadSize"], 65_536, "{limits}");
        assert!(limits["maxInflightMessages"].as_u64().is_some_and(|count| count > 0), "{limits}");
        assert!(limits["rateLimits"].is_object(), "{limits}");
    }
    fixture.instance.stop();
}

#[test]
fn a_device_is_claimed_over_http() {
    let fixture = Fixture::start();
    let customer = fixture::customer(&fixture.instance);
    for (number, base) in bases(&fixture.instance).into_iter().enumerate() {
        let device = device(&fixture.tenant, &format!("claim{number}"));
        let claim = format!("/api/customer/device/{}/claim", format!("device claim{number}").replace(' ', "%20"));
        assert_eq!(customer.post(&claim, &json!({ "secretKey": "x" })).status, 400, "not offered yet");
        let offered = Curl::post(format!("{base}/{}/claim", device.token), r#"{"secretKey":"x","durationMs":600000}"#).run();
        assert_eq!(offered.status, 200, "{}", offered.text());
        assert_eq!(customer.post(&claim, &json!({ "secretKey": "y" })).status, 400, "a wrong secret");
        let claimed = customer.post(&claim, &json!({ "secretKey": "x" })).json();
        assert_eq!(claimed["response"], "SUCCESS", "{claimed}");
        let own = customer.get(&format!("/api/device/{}", device.id)).json();
        assert_eq!(own["name"], format!("device claim{number}"));
    }
    fixture.instance.stop();
}

#[test]
fn wrong_requests_get_their_codes() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "wrong");
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(70_000));
    let long_key = format!(r#"{{"{}":1}}"#, "k".repeat(5_000));
    // `nobody` stands for a token that no device has; another one for each base, as failed logins are throttled by credential.
    let cases: Vec<(&str, &str, Option<&str>, u16)> = vec![
        ("POST", "nobody/telemetry", Some(r#"{"a":1}"#), 401),
        ("POST", "nobody/attributes", Some(r#"{"a":1}"#), 401),
        ("GET", "nobody/attributes", None, 401),
        ("GET", "nobody/rpc?timeout=1000", None, 401),
        ("GET", "nobody/attributes/updates?timeout=1000", None, 401),
        ("POST", "nobody/rpc/1", Some("{}"), 401),
        ("POST", "nobody/claim", Some("{}"), 401),
        ("GET", "nobody/firmware?title=a&version=1", None, 401),
        ("POST", "wrong/nowhere", Some("{}"), 404),
        ("GET", "wrong", None, 404),
        ("GET", "wrong/firmware?title=a&version=1", None, 404),
        ("GET", "wrong/software?title=a&version=1", None, 404),
        ("GET", "wrong/telemetry", None, 405),
        ("DELETE", "wrong/attributes", None, 405),
        ("PUT", "wrong/rpc", Some("{}"), 405),
        ("GET", "provision", None, 405),
        ("POST", "wrong/telemetry", Some(""), 400),
        ("POST", "wrong/telemetry", Some("{"), 400),
        ("POST", "wrong/telemetry", Some("[1]"), 400),
        ("POST", "wrong/telemetry", Some(r#"{"ts":-1,"values":{"a":1}}"#), 400),
        ("POST", "wrong/telemetry", Some(&long_key), 400),
        ("POST", "wrong/attributes", Some("7"), 400),
        ("POST", "wrong/rpc", Some("{}"), 400),
        ("POST", "wrong/rpc/first", Some("{}"), 400),
        ("GET", "wrong/rpc?timeout=soon", None, 400),
        ("GET", "wrong/firmware", None, 400),
        ("POST", "wrong/telemetry", Some(&large), 413),
        ("POST", "wrong/attributes", Some(&large), 413),
    ];
    for (number, base) in bases(&fixture.instance).into_iter().enumerate() {
        for (method, path, body, status) in &cases {
            let url = format!("{base}/{}", path.replace("nobody", &format!("nobody{number}")));
            let curl = body.map_or_else(|| Curl::get(&url), |body| Curl::post(&url, body));
            let answer = curl.method(method).run();
            let shown: String = body.unwrap_or_default().chars().take(30).collect();
            assert_eq!(answer.status, *status, "{method} {url} {shown}: {}", answer.text());
            assert!(*status != 405 || !answer.allow.is_empty(), "405 says what is allowed: {url}");
            check_error_body(&answer);
        }
    }
    assert_eq!(latest_value(&fixture.tenant, &device.id, "a"), None, "nothing of a refused request is stored");
    fixture.tenant.delete(&format!("/api/device/{}", device.id)).expect_text(200);
    let gone = Curl::post(format!("{}/wrong/telemetry", bases(&fixture.instance)[0]), r#"{"a":1}"#).run();
    assert!([401, 403].contains(&gone.status), "a deleted device: {}", gone.status);
    fixture.instance.stop();
}

/// ThingsBoard's fields, the same as those of REST.
fn check_error_body(answer: &Answer) {
    let text = answer.text();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(body["status"], answer.status, "{text}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()) && body["errorCode"].is_u64(), "{text}");
    let said_ms = body["timestamp"].as_i64().unwrap_or_else(|| panic!("milliseconds: {text}"));
    assert!((tests::harness::now_ms() - said_ms).abs() < 60_000, "{text}");
}

/// The data plane's listener needs nobody; the control plane's forwards to it.
#[test]
fn known_devices_need_no_control_plane_over_http() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&fixture::tenant(&control));
    let tenant = joined(&control, &demo.id);
    let device = device(&tenant, "knownweb");
    let url = |address: SocketAddr| format!("http://{address}/api/v1/knownweb/telemetry");
    assert_eq!(Curl::post(url(control.address("http")), r#"{"n":1}"#).run().status, 200, "forwarded");
    assert_eq!(latest_value(&tenant, &device.id, "n").as_deref(), Some("1"));
    control.kill();
    assert_eq!(Curl::post(url(data.device_http()), r#"{"n":2}"#).run().status, 200, "without the control plane");
    data.kill();
    let data = planes.data.start();
    assert_eq!(Curl::post(url(data.device_http()), r#"{"n":3}"#).run().status, 200, "after a restart without it");
    let control = planes.control.start();
    let tenant = joined(&control, &device.id);
    assert_eq!(latest_value(&tenant, &device.id, "n").as_deref(), Some("3"));
    data.stop();
    let answer = Curl::post(url(control.address("http")), r#"{"n":4}"#).run();
    assert_eq!(answer.status, 503, "nobody to forward to: {}", answer.text());
    control.stop();
}

#[test]
fn connections_are_kept_and_requests_pipelined() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let made = fixture::devices(&fixture.tenant, "pipe", 8);
        let mut wire = RawHttp::open(fixture.instance.device_http());
        for number in 0..3 {
            let path = format!("/api/v1/{}/telemetry", made[0].token);
            let response = wire.exchange(&request("POST", &path, "", &format!(r#"{{"kept":{number}}}"#)));
            assert_eq!((response.status, response.header("connection")), (200, None), "{response:?}");
        }
        check_pipeline(&mut wire, &made);
        for device in &made {
            assert_eq!(latest_value(&fixture.tenant, &device.id, "last").as_deref(), Some("4"), "in the order they were sent");
        }
        check_ends(&fixture.instance, &made[0].token);
        fixture.instance.stop();
    }
}

/// Requests of devices of both shards in one stream: each answered in its turn (DESIGN 3.3, 8.1 (4)).
fn check_pipeline(wire: &mut RawHttp, made: &[Device]) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for number in 0..5 {
        for device in made {
            let body = format!(r#"{{"ts":{BASE},"values":{{"last":{number}}}}}"#);
            bytes.extend(request("POST", &format!("/api/v1/{}/telemetry", device.token), "", &body));
            expected.push(200);
        }
        bytes.extend(request("POST", "/api/v1/nobody/telemetry", "", "{}"));
        bytes.extend(request("GET", "/nowhere", "", ""));
        bytes.extend(request("POST", &format!("/api/v1/{}/telemetry", made[0].token), "", "{"));
        expected.extend([401, 404, 400]);
    }
    wire.write(&bytes).expect("the connection is open");
    let statuses: Vec<u16> = expected.iter().map(|_| wire.response().status).collect();
    assert_eq!(statuses, expected);
}

/// How a connection ends, and bodies that come in other ways.
fn check_ends(instance: &Instance, token: &str) {
    let path = format!("/api/v1/{token}/telemetry");
    let mut last = RawHttp::open(instance.device_http());
    assert_eq!(last.exchange(&request("POST", &path, "Connection: close\r\n", r#"{"x":1}"#)).status, 200);
    assert_eq!(last.read_to_close(), [] as [u16; 0]);
    let mut old = RawHttp::open(instance.device_http());
    let bytes = format!("POST {path} HTTP/1.0\r\nContent-Length: 7\r\n\r\n{{\"x\":1}}");
    assert_eq!(old.exchange(bytes.as_bytes()).status, 200);
    assert_eq!(old.read_to_close(), [] as [u16; 0], "HTTP/1.0 does not stay");
    let mut chunked = RawHttp::open(instance.device_http());
    let bytes =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{{\"x\r\n4\r\n\":2}}\r\n0\r\n\r\n");
    assert_eq!(chunked.exchange(bytes.as_bytes()).status, 200);
    let mut polite = RawHttp::open(instance.device_http());
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(polite.exchange(head.as_bytes()).status, 100);
    assert_eq!(polite.exchange(br#"{"x":3}"#).status, 200);
}
