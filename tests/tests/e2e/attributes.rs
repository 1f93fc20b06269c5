//! Attributes from and to devices: posted, requested, pushed, deleted; by paho, mosquitto_sub and REST. Never polls a device.

use serde_json::json;
use tests::harness::fixture::{Fixture, attributes, device, telemetry};
use tests::harness::instance::drivers;
use tests::harness::python::Client;

const ATTRIBUTES: &str = "v1/devices/me/attributes";

#[test]
fn a_device_posts_and_requests_attributes() {
    for driver in drivers() {
        for version in [4, 5] {
            let fixture = Fixture::with(|setup| setup.driver(driver));
            let device = device(&fixture.tenant, "asks");
            let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, version);
            assert_eq!(paho.event("connected")["code"], 0);
            let post = json!({ "do": "publish", "topic": ATTRIBUTES, "payload": { "firmware": "v1.2", "cells": 4 } });
            assert_eq!(paho.ask(&post, "published")["code"], 0);
            let stored = attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE");
            assert_eq!((&stored["firmware"], &stored["cells"]), (&json!("v1.2"), &json!(4)));
            fixture.tenant.post(&telemetry(&device.id, "attributes/SHARED_SCOPE"), &json!({ "target": 21.5 })).expect_text(200);
            fixture.tenant.post(&telemetry(&device.id, "attributes/SERVER_SCOPE"), &json!({ "secret": 1 })).expect_text(200);

            let subscribe = json!({ "do": "subscribe", "topic": format!("{ATTRIBUTES}/response/+") });
            let granted = paho.ask(&subscribe, "subscribed");
            assert!(granted["codes"][0].as_u64().is_some_and(|code| code <= 1), "{granted}");
            let request = json!({ "clientKeys": "firmware,absent", "sharedKeys": "target,secret" });
            paho.send(&json!({ "do": "publish", "topic": format!("{ATTRIBUTES}/request/17"), "payload": request }));
            let answer = paho.event("message");
            assert_eq!(answer["topic"], format!("{ATTRIBUTES}/response/17"));
            // A server attribute is never a device's business.
            assert_eq!(answer["payload"], json!({ "client": { "firmware": "v1.2" }, "shared": { "target": 21.5 } }));
            fixture.instance.stop();
        }
    }
}

#[test]
fn a_shared_attribute_reaches_the_subscribed_device() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver));
        let device = device(&fixture.tenant, "hears");
        let mut subscriber = Client::mosquitto_sub(&fixture.home, fixture.instance.mqtt(), &device.token, ATTRIBUTES);
        let scope = |name: &str| telemetry(&device.id, &format!("attributes/{name}"));
        fixture.tenant.post(&scope("SERVER_SCOPE"), &json!({ "unheard": 1 })).expect_text(200);
        fixture.tenant.post(&scope("SHARED_SCOPE"), &json!({ "target": 22, "mode": "eco" })).expect_text(200);
        assert_eq!(subscriber.message(ATTRIBUTES), json!({ "target": 22, "mode": "eco" }), "the shared one, not the server's");
        let removal = telemetry(&device.id, "SHARED_SCOPE?keys=mode");
        fixture.tenant.delete(&removal).expect_text(200);
        assert_eq!(subscriber.message(ATTRIBUTES), json!({ "deleted": ["mode"] }));
        let left = attributes(&fixture.tenant, &device.id, "SHARED_SCOPE");
        assert_eq!(left.keys().collect::<Vec<_>>(), ["target"]);
        fixture.instance.stop();
    }
}

#[test]
fn rest_lists_attributes_by_scope_and_key() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "scoped");
    for (scope, value) in [("SERVER_SCOPE", 1), ("SHARED_SCOPE", 2)] {
        let body = json!({ format!("key{value}"): value });
        // Both of ThingsBoard's paths.
        fixture.tenant.post(&telemetry(&device.id, &format!("attributes/{scope}")), &body).expect_text(200);
        fixture.tenant.post(&telemetry(&device.id, scope), &json!({ "again": value })).expect_text(200);
    }
    let keys = |path: &str| {
        let listed = fixture.tenant.get(&telemetry(&device.id, path)).json();
        let mut keys: Vec<String> =
            listed.as_array().expect("a list").iter().map(|key| key.as_str().unwrap().to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys("keys/attributes/SHARED_SCOPE"), ["again", "key2"]);
    let all = keys("keys/attributes");
    for key in ["again", "key1", "key2"] {
        assert!(all.iter().any(|listed| listed == key), "{key} in {all:?}");
    }
    let rows = fixture.tenant.get(&telemetry(&device.id, "values/attributes?keys=key1,key2")).json();
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    assert!(rows[0]["lastUpdateTs"].as_i64().is_some_and(|ts| ts > 0), "{rows}");
    fixture.tenant.post(&telemetry(&device.id, "attributes/CLIENT_SCOPE"), &json!({ "x": 1 })).expect_error(400);
    fixture.instance.stop();
}
