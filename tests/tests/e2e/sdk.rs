//! ThingsBoard's own device SDK against Tidegate, unmodified.

use serde_json::json;
use tests::harness::fixture::{Fixture, attributes, device, latest_value, telemetry};
use tests::harness::python::Client;

#[test]
fn the_public_sdk_works() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "sdk");
    let mut sdk = Client::sdk(&fixture.home, fixture.instance.mqtt(), &device.token);
    // The SDK says so only when its getSessionLimits was answered.
    sdk.event("connected");
    let limits = sdk.ask(&json!({ "do": "limits" }), "limits");
    assert_eq!(limits["body"]["maxPayloadSize"], 65_536, "{limits}");
    assert!(limits["body"]["maxInflightMessages"].as_u64().is_some_and(|count| count > 0), "{limits}");
    assert!(limits["body"]["rateLimits"].is_object(), "{limits}");

    let telemetry_sent = sdk.ask(&json!({ "do": "telemetry", "values": { "temperature": 19.5, "on": true } }), "telemetry");
    assert_eq!(telemetry_sent["code"], 0);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "temperature").as_deref(), Some("19.5"));
    let sent = sdk.ask(&json!({ "do": "attributes", "values": { "serial": "SN-1" } }), "attributes");
    assert_eq!(sent["code"], 0);
    assert_eq!(attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE")["serial"], "SN-1");

    fixture.tenant.post(&telemetry(&device.id, "attributes/SHARED_SCOPE"), &json!({ "rate": 10 })).expect_text(200);
    let answer = sdk.ask(&json!({ "do": "request", "client": ["serial"], "shared": ["rate"] }), "response");
    assert_eq!(answer["body"], json!({ "client": { "serial": "SN-1" }, "shared": { "rate": 10 } }));
    sdk.ask(&json!({ "do": "watch", "key": "rate" }), "watching");
    fixture.tenant.post(&telemetry(&device.id, "attributes/SHARED_SCOPE"), &json!({ "rate": 20 })).expect_text(200);
    let mut update = sdk.event("update");
    // The SDK subscribes at connect, so the first setting of `rate` may still be on its way.
    while update["body"]["rate"] == 10 {
        update = sdk.event("update");
    }
    assert_eq!(update["body"], json!({ "rate": 20 }));
    assert!(sdk.end(), "the SDK disconnects cleanly");
    fixture.instance.stop();
}
