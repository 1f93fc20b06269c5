//! Gateways and their children (reference 1.2): by ThingsBoard's gateway client, by its IoT gateway with a simulated device, and
//! byte by byte where packs and their acknowledgements are counted. Never reads a child's value before the pack was acknowledged.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::harness::fixture::{self, Fixture, attributes, device, device_named, gateway, id_of, latest_value, share};
use tests::harness::instance::{Home, drivers};
use tests::harness::mqtt::{Connect, Ending, PUBACK, Packet, V5, V311, Wire};
use tests::harness::planes::{Planes, joined};
use tests::harness::python::Client;
use tests::harness::rest::Rest;
use tests::harness::{eventually, now_ms};

const TELEMETRY: &str = "v1/gateway/telemetry";
const CALLS: &str = "v1/gateway/rpc";
const ATTRIBUTES: &str = "v1/gateway/attributes";

/// The child that a gateway has spoken of.
fn child(tenant: &Rest, name: &str) -> Value {
    device_named(tenant, name).unwrap_or_else(|| panic!("{name} was made"))
}

#[test]
fn the_public_gateway_client_works() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let (tenant, gateway) = (&fixture.tenant, gateway(&fixture.tenant, "sdkgw"));
    let mut sdk = Client::sdk_gateway(&fixture.home, fixture.instance.mqtt(), &gateway.token);
    sdk.event("connected");
    sdk.ask(&json!({ "do": "connect", "device": "Meter A", "type": "meter" }), "done");
    let made = child(tenant, "Meter A");
    assert_eq!(made["type"], "meter", "its profile is its type: {made}");
    assert_eq!(made["additionalInfo"]["lastConnectedGateway"], gateway.id.as_str(), "{made}");
    let info = tenant.get(&format!("/api/device/info/{}", id_of(&made))).json();
    assert_eq!((&info["deviceProfileName"], &info["active"]), (&json!("meter"), &json!(true)), "{info}");
    check_uplinks(tenant, &mut sdk, &id_of(&made));
    check_downlinks(tenant, &mut sdk, &id_of(&made));
    sdk.ask(&json!({ "do": "disconnect", "device": "Meter A" }), "done");
    let away = eventually("the child is said to be away", || {
        let state = attributes(tenant, &id_of(&made), "SERVER_SCOPE");
        state.get("lastDisconnectTime").and_then(Value::as_i64)
    });
    assert!(away > 0);
    let call = json!({ "method": "m", "params": {}, "timeout": 5_000 });
    let reply = tenant.post(&format!("/api/rpc/twoway/{}", id_of(&made)), &call);
    assert_eq!(reply.status, 504, "nobody speaks for it any more: {}", reply.text);
    fixture.instance.stop();
}

fn check_uplinks(tenant: &Rest, sdk: &mut Client, id: &str) {
    sdk.ask(&json!({ "do": "telemetry", "device": "Meter A", "values": { "power": 7.5 } }), "done");
    assert_eq!(latest_value(tenant, id, "power").as_deref(), Some("7.5"));
    // A child that was never connected is, by speaking.
    sdk.ask(
        &json!({ "do": "telemetry", "device": "Meter B", "values": [{ "ts": 1_700_000_000_000_i64, "values": { "power": 1 } }] }),
        "done",
    );
    let second = child(tenant, "Meter B");
    assert_eq!(second["type"], "default", "{second}");
    assert_eq!(latest_value(tenant, &id_of(&second), "power").as_deref(), Some("1"));
    sdk.ask(&json!({ "do": "attributes", "device": "Meter A", "values": { "serial": "SN-7" } }), "done");
    assert_eq!(attributes(tenant, id, "CLIENT_SCOPE")["serial"], "SN-7");
    share(tenant, id, &json!({ "limit": 10, "mode": "eco" }));
    let cases = [
        ("client", json!(["serial"]), json!({ "serial": "SN-7" })),
        ("shared", json!(["limit", "mode"]), json!({ "limit": 10, "mode": "eco" })),
    ];
    for (scope, keys, expected) in cases {
        let request = json!({ "do": "request", "device": "Meter A", "scope": scope, "keys": keys });
        let body = sdk.ask(&request, "response")["body"].clone();
        assert_eq!(body["device"], "Meter A", "{body}");
        // One key in a list may be answered as `value`, as ThingsBoard does for `key`.
        let values = if body["values"].is_object() {
            body["values"].clone()
        } else {
            json!({ keys[0].as_str().expect("a key"): body["value"] })
        };
        assert_eq!(values, expected, "{body}");
    }
}

fn check_downlinks(tenant: &Rest, sdk: &mut Client, id: &str) {
    sdk.ask(&json!({ "do": "watch", "device": "Meter A" }), "watching");
    share(tenant, id, &json!({ "limit": 20 }));
    let update = eventually("the update comes", || {
        // What was set before the watch may still be on its way.
        Some(sdk.event("update")).filter(|update| update["body"]["data"]["limit"] == 20)
    });
    assert_eq!(update["body"], json!({ "device": "Meter A", "data": { "limit": 20 } }));
    tenant.delete(&fixture::telemetry(id, "SHARED_SCOPE?keys=mode")).expect_text(200);
    assert_eq!(sdk.event("update")["body"], json!({ "device": "Meter A", "data": { "deleted": ["mode"] } }));
    let (rest, path) = (tenant.clone(), format!("/api/rpc/twoway/{id}"));
    let call =
        std::thread::spawn(move || rest.post(&path, &json!({ "method": "read", "params": { "n": 1 }, "timeout": 50_000 })));
    let request = sdk.event("call")["body"].clone();
    assert_eq!((&request["device"], &request["data"]["method"]), (&json!("Meter A"), &json!("read")), "{request}");
    assert_eq!(request["data"]["params"], json!({ "n": 1 }), "{request}");
    assert_eq!(call.join().expect("the call ends").json(), json!({ "answer": { "n": 1 } }));
}

/// ThingsBoard's IoT gateway polls a thermometer over HTTP and speaks for it.
#[test]
fn the_iot_gateway_drives_a_simulated_device() {
    let fixture = Fixture::start();
    let (tenant, gateway) = (&fixture.tenant, gateway(&fixture.tenant, "iotgw"));
    let mut thermometer = Client::simulated_device(&fixture.home);
    let address = thermometer.event("listening")["address"].as_str().expect("an address").to_owned();
    let configuration = fixture.home.path().join("gateway");
    configure(&configuration, &fixture.instance.mqtt().port().to_string(), &gateway.token, &address);
    let _gateway = Client::iot_gateway(&fixture.home, &configuration);
    thermometer.event("polled");
    let made = eventually("the thermometer is known", || device_named(tenant, "SIM-1"));
    let id = id_of(&made);
    assert_eq!(made["type"], "thermometer", "{made}");
    eventually("its temperature is stored", || latest_value(tenant, &id, "temperature").filter(|value| value == "21.5"));
    eventually("its serial number is stored", || {
        attributes(tenant, &id, "CLIENT_SCOPE").get("serial").filter(|value| *value == "SIM-1").cloned()
    });
    share(tenant, &id, &json!({ "target": 19 }));
    let set = thermometer.event("set");
    assert_eq!(set["key"], "target");
    assert!(set["body"].as_str().is_some_and(|body| body.contains("19")), "{set}");
    let body = json!({ "method": "reset", "params": { "hard": 1 }, "timeout": 30_000 });
    let answer = tenant.post(&format!("/api/rpc/twoway/{id}"), &body).expect_text(200);
    assert_eq!(thermometer.event("call")["method"], "reset");
    assert!(answer.contains("done"), "what the thermometer said comes back: {answer}");
    fixture.instance.stop();
}

/// Writes the gateway's configuration: one connector that polls the thermometer every second.
fn configure(directory: &std::path::Path, port: &str, token: &str, thermometer: &str) {
    let general = json!({
        "thingsboard": { "host": "127.0.0.1", "port": port.parse::<u16>().expect("a port"), "remoteShell": false,
            "remoteConfiguration": false, "statistics": { "enable": false }, "security": { "accessToken": token }, "qos": 1 },
        "storage": { "type": "memory", "read_records_count": 100, "max_records_count": 1_000 },
        "grpc": { "enabled": false },
        "connectors": [{ "name": "poll", "type": "request", "configuration": "request.json" }]
    });
    let connector = json!({
        "host": thermometer, "SSLVerify": false, "security": { "type": "anonymous" },
        "mapping": [{ "url": "reading", "httpMethod": "GET", "timeout": 5, "scanPeriod": 1, "converter": { "type": "json",
            "deviceNameJsonExpression": "${serial}", "deviceTypeJsonExpression": "thermometer",
            "attributes": [{ "key": "serial", "type": "string", "value": "${serial}" }],
            "telemetry": [{ "key": "temperature", "type": "double", "value": "${temperature}" }] } }],
        "attributeUpdates": [{ "httpMethod": "POST", "timeout": 5, "deviceNameFilter": "SIM-1", "attributeFilter": "target",
            "requestUrlExpression": "set/${attributeKey}", "requestValueExpression": "{\"${attributeKey}\":\"${attributeValue}\"}" }],
        "serverSideRpc": [{ "deviceNameFilter": "SIM-1", "methodFilter": "reset", "requestUrlExpression": "call/${methodName}",
            "responseTimeout": 5, "httpMethod": "POST", "timeout": 5, "requestValueExpression": "${params}" }]
    });
    let console = json!({ "class": "logging.StreamHandler", "level": 0, "stream": "ext://sys.stdout" });
    let logs = json!({ "version": 1, "disable_existing_loggers": false, "handlers": { "console": console },
        "root": { "level": "INFO", "handlers": ["console"] } });
    std::fs::create_dir(directory).expect("the test's directory is writable");
    for (name, content) in [("tb_gateway.json", general), ("request.json", connector), ("logs.json", logs)] {
        std::fs::write(directory.join(name), content.to_string()).expect("the test's directory is writable");
    }
}

const CHILDREN: usize = 1_000;

/// DESIGN 8.3 (10): one acknowledgement for a pack, when every part is durable on its owner.
#[test]
fn a_thousand_children_on_one_connection() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let _gateway = gateway(&fixture.tenant, "thousand");
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("thousand").version(V5));
        let pack = |names: &[String], value: usize| -> String {
            let parts: serde_json::Map<String, Value> =
                names.iter().map(|name| (name.clone(), json!([{ "n": value }]))).collect();
            Value::Object(parts).to_string()
        };
        let names: Vec<String> = (0..CHILDREN).map(|number| format!("c{number}")).collect();
        for (id, some) in (1..).zip(names.chunks(100)) {
            assert_eq!(wire.acknowledged(TELEMETRY, id, &pack(some, 1)), 0, "made with their first message");
        }
        assert_eq!(wire.acknowledged(TELEMETRY, 100, &pack(&names, 2)), 0);
        assert_eq!(wire.ping(), [], "one acknowledgement for all of them");
        let known = all_devices(&fixture.tenant);
        for name in &names {
            let id = known.get(name).unwrap_or_else(|| panic!("{name} was made"));
            assert_eq!(latest_value(&fixture.tenant, id, "n").as_deref(), Some("2"), "{name}");
        }
        check_thousand_downlinks(&fixture.tenant, &mut wire, &known, &names);
        fixture.instance.stop();
    }
}

/// Calls and attributes of children of both shards arrive at their gateway.
fn check_thousand_downlinks(tenant: &Rest, wire: &mut Wire, known: &BTreeMap<String, String>, names: &[String]) {
    assert_eq!((wire.subscribe(CALLS, 200), wire.subscribe(ATTRIBUTES, 201)), (1, 1));
    for (number, name) in names.iter().enumerate().step_by(97) {
        share(tenant, &known[name], &json!({ "number": number }));
        let update = wire.take_message();
        assert_eq!((update.topic.as_str(), update.json()), (ATTRIBUTES, json!({ "device": name, "data": { "number": number } })));
        let (rest, path) = (tenant.clone(), format!("/api/rpc/twoway/{}", known[name]));
        let body = json!({ "method": "who", "params": number, "timeout": 50_000 });
        let call = std::thread::spawn(move || rest.post(&path, &body));
        let request = wire.take_message().json();
        assert_eq!((&request["device"], &request["data"]["params"]), (&json!(name), &json!(number)), "{request}");
        let answer = json!({ "device": name, "id": request["data"]["id"], "data": { "I": name } });
        assert_eq!(wire.acknowledged(CALLS, 202, &answer.to_string()), 0);
        assert_eq!(call.join().expect("the call ends").json(), json!({ "I": name }));
    }
}

/// Every device of the tenant: name → id.
fn all_devices(tenant: &Rest) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for page in 0.. {
        let rows = tenant.get(&format!("/api/tenant/devices?pageSize=100&page={page}")).json();
        for row in rows["data"].as_array().expect("a page has data") {
            known.insert(row["name"].as_str().expect("a device has a name").to_owned(), id_of(row));
        }
        if rows["hasNext"] != true {
            return known;
        }
    }
    known
}

/// DESIGN 8.3 (10): a refused part does not undo others; MQTT 5 reports it, 3.1.1 closes.
#[test]
fn packs_with_wrong_parts_are_refused_and_others_kept() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let tenant = &fixture.tenant;
    let (_gateway, plain) = (gateway(tenant, "partial"), device(tenant, "plain"));
    let mut new = Wire::admitted(fixture.instance.mqtt(), &Connect::new("partial").version(V5));
    assert_eq!(new.acknowledged(TELEMETRY, 1, r#"{"good":[{"n":1}],"bad":[{"n":1}]}"#), 0);
    let code = new.acknowledged(TELEMETRY, 2, r#"{"good":[{"n":2}],"bad":[7]}"#);
    assert!(code >= 0x80, "a refused part is reported: {code:#x}");
    assert_eq!(latest_value(tenant, &id_of(&child(tenant, "good")), "n").as_deref(), Some("2"), "the other one is stored");
    assert_eq!(latest_value(tenant, &id_of(&child(tenant, "bad")), "n").as_deref(), Some("1"));
    for payload in ["", "7", "[]", r#"{"good":7}"#, r#"{"good":[{"n":3}]"#] {
        assert_eq!(new.acknowledged(TELEMETRY, 3, payload), 0x99, "{payload}");
    }
    for (topic, payload) in
        [("v1/gateway/connect", "{}"), ("v1/gateway/rpc", r#"{"device":"good"}"#), ("v1/gateway/attributes/request", "[]")]
    {
        let code = new.acknowledged(topic, 4, payload);
        assert!(code >= 0x80, "{topic} {payload}: {code:#x}");
    }
    let mut old = Wire::admitted(fixture.instance.mqtt(), &Connect::new("partial").version(V311));
    old.publish(TELEMETRY, Some(1), r#"{"good":[{"n":4}],"bad":[7]}"#).expect("the connection is open");
    assert_eq!(old.read_to_close(), [], "3.1.1 has no refusal but to close");
    // A device that is no gateway has no children.
    let mut other = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&plain.token).version(V5));
    assert_eq!(other.acknowledged(TELEMETRY, 1, r#"{"good":[{"n":9}]}"#), 0x90, "Topic Name invalid");
    assert_ne!(other.subscribe(CALLS, 2), 1);
    assert_eq!(latest_value(tenant, &id_of(&child(tenant, "good")), "n").as_deref(), Some("4"));
    fixture.instance.stop();
}

/// A device that connects by itself and through a gateway is one device; its order is its own.
#[test]
fn a_child_may_connect_by_itself() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let tenant = &fixture.tenant;
    let _gateway = gateway(tenant, "both");
    let mut speaker = Wire::session(fixture.instance.mqtt(), "both");
    assert_eq!(speaker.acknowledged("v1/gateway/connect", 1, r#"{"device":"double"}"#), 0);
    let id = id_of(&child(tenant, "double"));
    let token =
        tenant.get(&format!("/api/device/{id}/credentials")).json()["credentialsId"].as_str().expect("a token").to_owned();
    let mut own = Wire::session(fixture.instance.mqtt(), &token);
    for number in 1..=20_u16 {
        let (wire, payload) = if number % 2 == 0 {
            (&mut own, format!(r#"{{"ts":1700000000000,"values":{{"n":{number}}}}}"#))
        } else {
            (&mut speaker, format!(r#"{{"double":[{{"ts":1700000000000,"values":{{"n":{number}}}}}]}}"#))
        };
        let topic = if number % 2 == 0 { "v1/devices/me/telemetry" } else { TELEMETRY };
        assert_eq!(wire.acknowledged(topic, number, &payload), 0);
        assert_eq!(latest_value(tenant, &id, "n"), Some(number.to_string()));
    }
    fixture.instance.stop();
}

/// DESIGN 8.3 (10): with the control plane away known children work and packs with unknown ones get no success.
#[test]
fn known_children_need_no_control_plane() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&fixture::tenant(&control));
    let tenant = joined(&control, &demo.id);
    let _gateway = gateway(&tenant, "lonely");
    let mut wire = Wire::admitted(data.mqtt(), &Connect::new("lonely").version(V5));
    assert_eq!(wire.acknowledged(TELEMETRY, 1, r#"{"known":[{"n":1}]}"#), 0);
    control.kill();
    assert_eq!(wire.acknowledged(TELEMETRY, 2, r#"{"known":[{"n":2}]}"#), 0, "without the control plane");
    no_success(&mut wire, 3, r#"{"known":[{"n":3}],"unknown":[{"n":3}]}"#);
    data.kill();
    let data = planes.data.start();
    let mut wire = Wire::admitted(data.mqtt(), &Connect::new("lonely").version(V5));
    assert_eq!(wire.acknowledged(TELEMETRY, 1, r#"{"known":[{"n":4}]}"#), 0, "after a restart without it");

    let control = planes.control.start();
    let tenant = joined(&control, &demo.id);
    assert_eq!(latest_value(&tenant, &id_of(&child(&tenant, "known")), "n").as_deref(), Some("4"));
    eventually("unknown children are made again", || {
        (wire.acknowledged(TELEMETRY, 5, r#"{"unknown":[{"n":5}]}"#) == 0).then_some(())
    });
    assert_eq!(latest_value(&tenant, &id_of(&child(&tenant, "unknown")), "n").as_deref(), Some("5"));
    data.stop();
    control.stop();
}

fn no_success(wire: &mut Wire, id: u16, payload: &str) {
    wire.publish(TELEMETRY, Some(id), payload).expect("the connection is open");
    let begun = now_ms();
    match wire.read() {
        Ok(Packet { first, body }) => {
            let packet = Packet { first, body };
            assert!(packet.kind() != PUBACK || packet.code(2) >= 0x80, "{packet:?} after {} ms", now_ms() - begun);
        }
        Err(Ending::Closed | Ending::Silent) => {}
    }
}
