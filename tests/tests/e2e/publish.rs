//! Devices publish with mosquitto_pub and paho; readings are read back over REST. Never reads before the acknowledgement.

use serde_json::{Value, json};
use tests::harness::fixture::{self, Device, Fixture, device, history, latest, latest_value, telemetry};
use tests::harness::instance::drivers;
use tests::harness::mqtt::{PUBACK, Wire};
use tests::harness::python::{Client, Publication, mosquitto_pub};
use tests::harness::{eventually, now_ms};

const TELEMETRY: &str = "v1/devices/me/telemetry";
const BASE: i64 = 1_700_000_000_000;

#[test]
fn every_json_form_is_stored_and_read_back() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let device = device(&fixture.tenant, "forms");
        for version in ["mqttv311", "mqttv5"] {
            for qos in [0, 1] {
                check_forms(&fixture, &device, version, qos);
            }
        }
        fixture.instance.stop();
    }
}

fn check_forms(fixture: &Fixture, device: &Device, version: &str, qos: u8) {
    let before = now_ms();
    let name = format!("{version}q{qos}");
    let forms = [
        (format!(r#"{{"{name}a": 42}}"#), vec![(format!("{name}a"), "42", None)]),
        (format!(r#"{{"ts":{BASE},"values":{{"{name}b":1.5}}}}"#), vec![(format!("{name}b"), "1.5", Some(BASE))]),
        (
            format!(r#"[{{"{name}c":true}},{{"ts":{BASE},"values":{{"{name}d":"text"}}}}]"#),
            vec![(format!("{name}c"), "true", None), (format!("{name}d"), "text", Some(BASE))],
        ),
    ];
    for (payload, expected) in &forms {
        let publication = Publication { token: &device.token, topic: TELEMETRY, payload, qos, version };
        let (succeeded, said) = mosquitto_pub(fixture.instance.mqtt(), publication);
        assert!(succeeded, "{payload}: {said}");
        for (key, value, ts) in expected {
            let read = || latest(&fixture.tenant, &device.id, key)[key][0].clone();
            // QoS 0 has no acknowledgement to wait for.
            let row = if qos == 0 { eventually(key, || Some(read()).filter(Value::is_object)) } else { read() };
            assert_eq!(row["value"], *value, "{payload} {row}");
            let stored = row["ts"].as_i64().expect("a reading has a ts");
            match ts {
                Some(ts) => assert_eq!(stored, *ts, "{payload}"),
                // DESIGN 8.5 (15): the server's own ts, at most 1 s ahead.
                None => assert!((before..=now_ms() + 1_000).contains(&stored), "{payload}: {stored}"),
            }
        }
    }
}

#[test]
fn history_is_aggregated_limited_and_ordered() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "history");
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, 5);
    assert_eq!(paho.event("connected")["code"], 0);
    for number in 0..10 {
        let payload = json!({ "ts": BASE + number * 1_000, "values": { "n": number } });
        let published = paho.ask(&json!({ "do": "publish", "topic": TELEMETRY, "payload": payload }), "published");
        assert_eq!(published["code"], 0, "{published}");
    }
    check_aggregates(&fixture, &device);
    check_rows(&fixture, &device);
    fixture.instance.stop();
}

/// DESIGN 8.7 (28): an aggregate's ts is startTs + interval/2.
fn check_aggregates(fixture: &Fixture, device: &Device) {
    let halves = format!("startTs={BASE}&endTs={}&interval=5000&orderBy=ASC", BASE + 10_000);
    let whole = format!("startTs={BASE}&endTs={}&interval=0", BASE + 10_000);
    let cases = [
        ("MIN", 0.0, 5.0, 0.0),
        ("MAX", 4.0, 9.0, 9.0),
        ("AVG", 2.0, 7.0, 4.5),
        ("SUM", 10.0, 35.0, 45.0),
        ("COUNT", 5.0, 5.0, 10.0),
    ];
    for (name, first, second, all) in cases {
        let rows = history(&fixture.tenant, &device.id, "n", &format!("{halves}&agg={name}"));
        assert_eq!(rows, [(BASE + 2_500, first), (BASE + 7_500, second)], "{name}");
        let rows = history(&fixture.tenant, &device.id, "n", &format!("{whole}&agg={name}"));
        assert_eq!(rows, [(BASE + 5_000, all)], "{name} over one interval");
    }
    let empty = format!("startTs={}&endTs={}&interval=1000&agg=AVG", BASE + 20_000, BASE + 30_000);
    assert_eq!(history(&fixture.tenant, &device.id, "n", &empty), [], "an empty interval has no aggregate");
}

/// DESIGN 8.7 (28): `endTs` is exclusive.
fn check_rows(fixture: &Fixture, device: &Device) {
    let cases: [(&str, i64, i64, &[f64]); 6] = [
        ("agg=NONE&limit=3&orderBy=ASC", 0, 10_000, &[0.0, 1.0, 2.0]),
        ("agg=NONE&limit=3&orderBy=DESC", 0, 10_000, &[9.0, 8.0, 7.0]),
        ("limit=2", 0, 10_000, &[9.0, 8.0]),
        ("agg=NONE&orderBy=ASC", 7_000, 9_000, &[7.0, 8.0]),
        ("agg=NONE&orderBy=ASC", 7_000, 9_001, &[7.0, 8.0, 9.0]),
        ("agg=NONE&orderBy=ASC", 9_001, 90_000, &[]),
    ];
    for (query, start, end, expected) in cases {
        let query = format!("{query}&startTs={}&endTs={}", BASE + start, BASE + end);
        let values: Vec<f64> = history(&fixture.tenant, &device.id, "n", &query).iter().map(|point| point.1).collect();
        assert_eq!(values, expected, "{query}");
    }
}

#[test]
fn every_value_type_survives() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "kinds");
    let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, 4);
    assert_eq!(paho.event("connected")["code"], 0);
    let payload = r#"{"s":"warm","b":false,"l":-9223372036854775808,"d":2.25,"j":{"a":[1,2]},"none":null,
        "big":123456789012345678901234567890}"#;
    paho.ask(&json!({ "do": "publish", "topic": TELEMETRY, "payload": payload }), "published");
    let keys = "s,b,l,d,j,none,big";
    let plain = latest(&fixture.tenant, &device.id, keys);
    let strict =
        fixture.tenant.get(&telemetry(&device.id, &format!("values/timeseries?keys={keys}&useStrictDataTypes=true"))).json();
    // DESIGN 8.7 (28): numbers beyond i64/f64 become strings.
    let cases = [
        ("s", "warm", json!("warm")),
        ("b", "false", json!(false)),
        ("l", "-9223372036854775808", json!(i64::MIN)),
        ("d", "2.25", json!(2.25)),
        ("big", "123456789012345678901234567890", json!("123456789012345678901234567890")),
    ];
    for (key, text, value) in cases {
        assert_eq!(plain[key][0]["value"], text, "{key}");
        assert_eq!(strict[key][0]["value"], value, "{key}");
    }
    let nested: Value = serde_json::from_str(plain["j"][0]["value"].as_str().expect("plain values are text")).expect("JSON");
    assert_eq!(nested, json!({ "a": [1, 2] }));
    let listed = fixture.tenant.get(&telemetry(&device.id, "keys/timeseries")).json();
    let mut listed: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["b", "big", "d", "j", "l", "s"], "null is skipped");
    fixture.instance.stop();
}

/// DESIGN 8.1 (4): acks leave in arrival order, and a 3.1.1 connection that runs ahead is only read more slowly.
#[test]
fn a_burst_is_acknowledged_in_order() {
    const MESSAGES: u16 = 2_000;
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let device = device(&fixture.tenant, "burst");
        let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
        for number in 1..=MESSAGES {
            let payload = format!(r#"{{"ts":{},"values":{{"n":{number}}}}}"#, BASE + i64::from(number));
            wire.publish(TELEMETRY, Some(number), &payload).expect("the connection is open");
        }
        for number in 1..=MESSAGES {
            assert_eq!(wire.read().map(|packet| (packet.kind(), packet.id())), Ok((PUBACK, number)));
        }
        let all = format!("startTs={BASE}&endTs={}&agg=COUNT&interval=0", BASE + 10_000);
        assert_eq!(history(&fixture.tenant, &device.id, "n", &all), [(BASE + 5_000, f64::from(MESSAGES))]);
        fixture.instance.stop();
    }
}

#[test]
fn rest_saves_overwrites_and_deletes() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "saved");
    let save = |value: i64| {
        let body = json!({ "ts": BASE, "values": { "a": value, "b": value } });
        fixture.tenant.post(&telemetry(&device.id, "timeseries/ANY"), &body).expect_text(200)
    };
    for value in [1, 2, 3] {
        save(value);
        // DESIGN 8.5 (15): last write wins.
        assert_eq!(latest_value(&fixture.tenant, &device.id, "a"), Some(value.to_string()));
    }
    let all = format!("startTs={BASE}&endTs={}", BASE + 1);
    assert_eq!(history(&fixture.tenant, &device.id, "a", &all), [(BASE, 3.0)], "one point per (key, ts)");
    let path = telemetry(&device.id, "timeseries/delete?keys=a&deleteAllDataForKeys=true");
    fixture.tenant.delete(&path).expect_text(200);
    assert_eq!(history(&fixture.tenant, &device.id, "a", &all), [], "deleted");
    assert_eq!(history(&fixture.tenant, &device.id, "b", &all), [(BASE, 3.0)], "another key is untouched");
    save(4);
    assert_eq!(history(&fixture.tenant, &device.id, "a", &all), [(BASE, 4.0)], "written after the deletion");
    fixture.instance.stop();
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let home = tests::harness::instance::Home::new();
    let setup = tests::harness::instance::Setup::standalone(&home);
    let instance = setup.start();
    let publication = Publication {
        token: fixture::DEMO_TOKEN,
        topic: TELEMETRY,
        payload: r#"{"temperature":21.5}"#,
        qos: 1,
        version: "mqttv311",
    };
    assert!(mosquitto_pub(instance.mqtt(), publication).0);
    instance.stop();
    let instance = setup.start();
    let tenant = fixture::tenant(&instance);
    let device = fixture::demo_device(&tenant);
    assert_eq!(latest_value(&tenant, &device.id, "temperature").as_deref(), Some("21.5"));
    instance.stop();
}
