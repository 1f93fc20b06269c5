//! Calculated fields over REST and MQTT: formulas, scripts over windows, attributes, fields of a profile, fields that are wrong, deleted
//! or fail; and after a kill.

use serde_json::{Value, json};
use tests::harness::fixture::{
    Device, Fixture, applied, attributes, device, device_with, draw_root, history, id_of, latest_value, profile, telemetry,
    tenant,
};
use tests::harness::instance::{Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::python::{Publication, mosquitto_pub};
use tests::harness::rest::Rest;

fn latest(key: &str) -> Value {
    json!({ "refEntityKey": { "key": key, "type": "TS_LATEST" }, "defaultValue": null })
}

fn form(kind: &str, of: (&str, &str), name: &str, configuration: &Value) -> Value {
    json!({ "name": name, "type": kind, "entityId": { "entityType": of.0, "id": of.1 }, "debugSettings": { "failuresEnabled": true },
        "configurationVersion": 0, "configuration": configuration })
}

fn simple(arguments: &Value, expression: &str, output: &Value) -> Value {
    json!({ "type": "SIMPLE", "arguments": arguments, "expression": expression, "output": output })
}

fn save(rest: &Rest, form: &Value) -> Value {
    applied(rest, "/api/calculatedField", form)
}

fn publish(fixture: &Fixture, token: &str, payload: &str) {
    let publication = Publication { token, topic: "v1/devices/me/telemetry", payload, qos: 1, version: "mqttv5" };
    let (published, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
    assert!(published, "{said}");
}

fn check(fixture: &Fixture, device: &Device, key: &str, expected: Option<&str>) {
    assert_eq!(latest_value(&fixture.tenant, &device.id, key).as_deref(), expected, "{key}");
}

fn kill_and_start(fixture: Fixture, shards: usize) -> Fixture {
    let Fixture { instance, home, .. } = fixture;
    instance.kill();
    let instance = Setup::standalone(&home).shards(shards).start();
    Fixture { tenant: tenant(&instance), instance, home }
}

#[test]
fn a_formula_over_two_keys_lasts_until_it_is_deleted() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let meter = device(&fixture.tenant, "meter");
        let output = json!({ "type": "TIME_SERIES", "name": "power", "decimalsByDefault": 1 });
        let power = simple(&json!({ "u": latest("voltage"), "i": latest("current") }), "u * i", &output);
        let saved = save(&fixture.tenant, &form("SIMPLE", ("DEVICE", &meter.id), "Power", &power));
        assert_eq!((&saved["type"], &saved["version"], &saved["configuration"]), (&json!("SIMPLE"), &json!(1), &power));
        publish(&fixture, "meter", r#"{"voltage":230}"#);
        check(&fixture, &meter, "power", None);
        publish(&fixture, "meter", r#"{"current":0.52}"#);
        check(&fixture, &meter, "power", Some("119.6"));
        // Acknowledged is calculated, also what was acknowledged last before a kill.
        publish(&fixture, "meter", r#"{"current":2}"#);
        let fixture = kill_and_start(fixture, 3);
        check(&fixture, &meter, "power", Some("460.0"));
        // What an operator writes is an argument, too.
        fixture.tenant.post(&telemetry(&meter.id, "timeseries/ANY"), &json!({ "voltage": 100 })).expect_text(200);
        check(&fixture, &meter, "power", Some("200.0"));
        let path = format!("/api/calculatedField/{}", id_of(&saved));
        let of = format!("/api/DEVICE/{}/calculatedFields?pageSize=10&page=0", meter.id);
        assert_eq!(fixture.tenant.get(&of).json()["data"], json!([saved]));
        assert_eq!(fixture.tenant.get(&format!("{path}/statistics")).json()["calculated"], 1, "since the start");
        fixture.tenant.delete(&path).expect_text(200);
        publish(&fixture, "meter", r#"{"current":3}"#);
        check(&fixture, &meter, "power", Some("200.0"));
        fixture.tenant.get(&path).expect_error(404);
        assert_eq!(fixture.tenant.get(&of).json()["totalElements"], 0);
        fixture.instance.stop();
    }
}

#[test]
fn a_script_sees_a_window_of_the_past_also_after_a_kill() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let oven = device(&fixture.tenant, "oven");
    // From before there was a field.
    publish(&fixture, "oven", r#"{"t":10}"#);
    publish(&fixture, "oven", r#"{"t":20}"#);
    let rolling = json!({ "refEntityKey": { "key": "t", "type": "TS_ROLLING" }, "limit": 4, "timeWindow": 3_600_000 });
    let script = "var hot = 0; foreach (point : t) { if (point.value > 15) { hot += 1; } }
        return {mean: toFixed(t.mean(), 2), max: t.max(), hot: hot, delta: t.last() - t.first()};";
    let window =
        json!({ "type": "SCRIPT", "arguments": { "t": rolling }, "expression": script, "output": { "type": "TIME_SERIES" } });
    let _saved = save(&fixture.tenant, &form("SCRIPT", ("DEVICE", &oven.id), "Window", &window));
    publish(&fixture, "oven", r#"{"t":30.5}"#);
    let all = |fixture: &Fixture| {
        ["mean", "max", "hot", "delta"].map(|key| latest_value(&fixture.tenant, &oven.id, key).expect("a value"))
    };
    assert_eq!(all(&fixture), ["20.17", "30.5", "2", "20.5"]);
    let fixture = kill_and_start(fixture, 1);
    publish(&fixture, "oven", r#"{"t":40}"#);
    publish(&fixture, "oven", r#"{"t":50}"#);
    assert_eq!(all(&fixture), ["35.13", "50", "4", "30"], "the newest four");
    fixture.instance.stop();
}

/// ThingsBoard's calculated fields node: what arrives is calculated with and not stored.
#[test]
fn fields_are_calculated_of_what_is_not_stored_also_after_a_kill() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let nodes = [("filter.TbMsgTypeSwitchNode", json!({})), ("telemetry.TbCalculatedFieldsNode", json!({}))];
    draw_root(rest, &nodes, &[(0, "Post telemetry", 1), (0, "Post attributes", 1)]);
    let meter = device(rest, "meter");
    let output = json!({ "type": "TIME_SERIES", "name": "power", "decimalsByDefault": 0 });
    let factor = json!({ "refEntityKey": { "key": "factor", "type": "ATTRIBUTE", "scope": "CLIENT_SCOPE" } });
    let arguments = json!({ "u": latest("voltage"), "i": latest("current"), "f": factor });
    let power = simple(&arguments, "u * i * f", &output);
    let _saved = save(rest, &form("SIMPLE", ("DEVICE", &meter.id), "Power", &power));
    publish(&fixture, "meter", r#"{"voltage":230}"#);
    let mut wire = Wire::session(fixture.instance.mqtt(), "meter");
    assert_eq!(wire.acknowledged("v1/devices/me/attributes", 1, r#"{"factor":10}"#), 0);
    check(&fixture, &meter, "power", None);
    publish(&fixture, "meter", r#"{"current":2}"#);
    check(&fixture, &meter, "power", Some("4600"));
    let fixture = kill_and_start(fixture, 3);
    publish(&fixture, "meter", r#"{"current":3}"#);
    check(&fixture, &meter, "power", Some("6900"));
    check(&fixture, &meter, "voltage", None);
    check(&fixture, &meter, "current", None);
    assert_eq!(history(&fixture.tenant, &meter.id, "power", "startTs=0&endTs=9999999999999&limit=9").len(), 2);
    assert_eq!(attributes(&fixture.tenant, &meter.id, "CLIENT_SCOPE").get("factor"), None);
    fixture.instance.stop();
}

#[test]
fn devices_of_a_profile_get_attributes_that_feed_other_fields() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let rest = &fixture.tenant;
    let tank = profile(rest, &json!({ "name": "tank" }));
    let (one, other) = (device_with(rest, "one", &json!({ "type": "tank" })), device(rest, "other"));
    let of = id_of(&tank);
    let limit = json!({ "refEntityKey": { "key": "limit", "type": "ATTRIBUTE", "scope": "SERVER_SCOPE" }, "defaultValue": "50" });
    let full = json!({ "type": "SCRIPT", "arguments": { "level": latest("level"), "limit": limit },
        "expression": "return {full: level > limit, at: ctx.args.level.ts == ctx.latestTs};",
        "output": { "type": "ATTRIBUTES", "scope": "SERVER_SCOPE" } });
    let _saved = save(rest, &form("SCRIPT", ("DEVICE_PROFILE", &of), "Full", &full));
    let told = json!({ "full": { "refEntityKey": { "key": "full", "type": "ATTRIBUTE", "scope": "SERVER_SCOPE" } } });
    let times = simple(&told, "100 * full", &json!({ "type": "TIME_SERIES", "name": "percent", "decimalsByDefault": 0 }));
    let _saved = save(rest, &form("SIMPLE", ("DEVICE", &one.id), "Percent", &times));
    for (token, level) in [("one", 60), ("other", 60)] {
        publish(&fixture, token, &format!(r#"{{"level":{level}}}"#));
    }
    let attributes = |device: &Device| rest.get(&telemetry(&device.id, "values/attributes/SERVER_SCOPE?keys=full")).json();
    assert_eq!(attributes(&one)[0]["value"], true);
    assert_eq!(attributes(&other), json!([]), "it is of another profile");
    check(&fixture, &one, "percent", Some("100"));
    rest.post(&telemetry(&one.id, "attributes/SERVER_SCOPE"), &json!({ "limit": 70 })).expect_text(200);
    assert_eq!(attributes(&one)[0]["value"], false, "an attribute is an argument, too");
    check(&fixture, &one, "percent", Some("0"));
    let end = tests::harness::now_ms() + 60_000;
    assert_eq!(history(rest, &one.id, "percent", &format!("startTs=0&endTs={end}&agg=NONE&limit=10")).len(), 2);
    // A profile and a device take their fields with them.
    rest.delete(&format!("/api/device/{}", one.id)).expect_text(200);
    rest.delete(&format!("/api/deviceProfile/{of}")).expect_text(200);
    rest.get(&format!("/api/DEVICE/{}/calculatedFields?pageSize=10&page=0", one.id)).expect_error(404);
    fixture.instance.stop();
}

#[test]
fn what_is_wrong_is_said_at_once_and_what_fails_is_shown() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let pump = device(rest, "pump");
    let of = ("DEVICE", pump.id.as_str());
    let output = json!({ "type": "TIME_SERIES", "name": "b" });
    let wrong =
        simple(&json!({ "ctx": latest("a"), "x": { "refEntityKey": { "key": "a", "type": "TS_ROLLING" } } }), "x +", &output);
    let said = rest.post("/api/calculatedField", &form("SIMPLE", of, "Wrong", &wrong)).expect_text(400);
    for place in ["configuration.arguments.ctx", "configuration.arguments.x.refEntityKey.type", "configuration.expression"] {
        assert!(said.contains(place), "{place}: {said}");
    }
    for (kind, entity) in [("ALARM", "DEVICE"), ("GEOFENCING", "DEVICE"), ("SIMPLE", "ASSET"), ("SIMPLE", "USER")] {
        let refused = form(kind, (entity, &pump.id), "No", &simple(&json!({ "a": latest("a") }), "a", &output));
        rest.post("/api/calculatedField", &refused).expect_error(400);
    }
    let field = save(rest, &form("SIMPLE", of, "Inverse", &simple(&json!({ "a": latest("a") }), "1 / a", &output)));
    rest.post("/api/calculatedField", &form("SIMPLE", of, "inverse", &field["configuration"])).expect_error(400);
    let back = simple(&json!({ "b": latest("b") }), "b", &json!({ "type": "TIME_SERIES", "name": "a" }));
    let said = rest.post("/api/calculatedField", &form("SIMPLE", of, "Back", &back)).expect_text(400);
    assert!(said.contains("Back → Inverse"), "{said}");
    publish(&fixture, "pump", r#"{"a":0}"#);
    check(&fixture, &pump, "a", Some("0"));
    check(&fixture, &pump, "b", None);
    let statistics = rest.get(&format!("/api/calculatedField/{}/statistics", id_of(&field))).json();
    assert_eq!((&statistics["failed"], &statistics["lastFailure"]), (&json!(1), &json!("the formula has no finite value")));
    fixture.instance.metric_reaches("tidegate_field_expressions_failed_total", 1.0);
    // Versions, and the most that a device may have.
    let mut changed = field.clone();
    changed["configuration"]["expression"] = json!("a + 1");
    assert_eq!(save(rest, &changed)["version"], 2);
    rest.post("/api/calculatedField", &changed).expect_error(409);
    publish(&fixture, "pump", r#"{"a":0}"#);
    check(&fixture, &pump, "b", Some("1.0"));
    for n in 1..5 {
        let output = json!({ "type": "TIME_SERIES", "name": format!("n{n}") });
        let _saved = save(rest, &form("SIMPLE", of, &format!("{n}"), &simple(&json!({ "a": latest("a") }), "a", &output)));
    }
    rest.post("/api/calculatedField", &form("SIMPLE", of, "Sixth", &field["configuration"])).expect_error(403);
    fixture.instance.stop();
}

#[test]
fn a_script_can_be_tried() {
    let fixture = Fixture::start();
    let tried = |expression: &str| {
        let points = json!([{ "ts": 1, "value": 23 }, { "ts": 2, "value": 43 }, { "ts": 3, "value": null }]);
        let arguments = json!({ "temperature": { "type": "TS_ROLLING", "timeWindow": { "startTs": 0, "endTs": 9 }, "values": points },
            "humidity": { "type": "SINGLE_VALUE", "ts": 5, "value": 50 } });
        let reply =
            fixture.tenant.post("/api/calculatedField/testScript", &json!({ "expression": expression, "arguments": arguments }));
        let reply = reply.json();
        ["output", "error"].map(|field| reply[field].as_str().expect("a text").to_owned())
    };
    let [output, error] = tried("return {\"t\": temperature.mean() + 0.1 * humidity, \"n\": temperature.values.size()};");
    assert_eq!((output.as_str(), error.as_str()), (r#"{"n":3,"t":38}"#, ""));
    let [output, error] = tried("return temperature.nothing.more;");
    assert_eq!((output.as_str(), error.as_str()), ("", "TypeError: cannot read property 'more' of undefined"));
    let [output, error] = tried("return {t: ;");
    assert!(output.is_empty() && error.starts_with("line 1"), "{error}");
    fixture.instance.stop();
}
