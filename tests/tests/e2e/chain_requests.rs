//! Requests that a rule chain answers (ThingsBoard's rule engine API), as HTTP clients make them. Never asserts how soon.

use serde_json::{Value, json};
use tests::harness::fixture::{
    Device, Fixture, customer, device, draw_root, id_of, latest_value, limit_tenants, second_tenant, sysadmin,
};
use tests::harness::instance::drivers;
use tests::harness::python::Client;
use tests::harness::rest::Rest;

const TRANSFORM: &str = "transform.TbTransformMsgNode";
const REPLY: (&str, &str) = ("rest.TbSendRestApiCallReplyNode", "rest call reply");

fn script(body: &str) -> Value {
    json!({ "scriptLang": "JS", "jsScript": body })
}

/// What is asked is saved as readings of whom it is asked in whose name, and answered: at once, after a delay, from the tenant, by what the
/// outside says, or not at all.
fn draw(rest: &Rest, port: &Value) {
    let outside = json!({ "restEndpointUrlPattern": format!("http://localhost:{port}/asked"), "requestMethod": "POST" });
    let delay = json!({ "periodInSeconds": 1, "maxPendingMsgs": 100 });
    let nodes = [
        ("filter.TbMsgTypeSwitchNode", json!({})),
        (TRANSFORM, script("return {msg: msg, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};")),
        ("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
        ("filter.TbJsSwitchNode", script("return [msg.how];")),
        (TRANSFORM, script("msg.id = metadata.requestUUID; return {msg: msg, metadata: metadata, msgType: msgType};")),
        (REPLY.0, json!({})),
        ("delay.TbMsgDelayNode", delay),
        ("transform.TbChangeOriginatorNode", json!({ "originatorSource": "TENANT" })),
        ("rest.TbRestApiCallNode", outside),
    ];
    let edges = [
        (0, "REST API request", 1),
        (1, "Success", 2),
        (2, "Success", 3),
        (3, "now", 4),
        (4, "Success", 5),
        (3, "later", 6),
        (6, "Success", 5),
        (3, "tenant", 7),
        (7, "Success", 5),
        (3, "outside", 8),
        (8, "Success", 5),
    ];
    draw_root(rest, &nodes, &edges);
}

#[test]
fn a_chain_answers_requests_wherever_it_comes_to_that() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(4));
        let mut outside = Client::outside(&fixture.home, 0);
        limit_tenants(&fixture.instance, &json!({ "privateTargetsAllowed": true }));
        draw(&fixture.tenant, &outside.event("listening")["http"]);
        for number in 0..4 {
            check_answers(&fixture.tenant, &device(&fixture.tenant, &format!("asked-{number}")), number);
        }
        check_walls(&fixture, &device(&fixture.tenant, "walled"));
        fixture.instance.stop();
    }
}

fn check_answers(rest: &Rest, device: &Device, n: i64) {
    let path = format!("/api/rule-engine/DEVICE/{}", device.id);
    for (path, how) in [(path.clone(), "tenant"), (format!("{path}/60000"), "later"), (format!("{path}/Main/60000"), "outside")] {
        let asked = json!({ "how": how, "n": n });
        let answer = rest.post(&path, &asked).json();
        let expected = if how == "outside" { json!({ "answer": n * 10 }) } else { asked };
        assert_eq!(answer, expected, "{how}");
        // The answer leaves after what the message wrote (DESIGN 8.1, 3).
        assert_eq!(latest_value(rest, &device.id, "how").as_deref(), Some(how));
    }
    let answers: Vec<Value> =
        (0..2).map(|_| rest.post("/api/rule-engine/", &json!({ "how": "now" })).json()["id"].clone()).collect();
    assert!(answers.iter().all(Value::is_string) && answers[0] != answers[1], "each request has its own name: {answers:?}");
    rest.post(&format!("{path}/500"), &json!({ "how": "never" })).expect_error(408);
}

/// Whoever may not write an entity's values does not speak in its name.
fn check_walls(fixture: &Fixture, walled: &Device) {
    let (path, now) = (format!("/api/rule-engine/DEVICE/{}", walled.id), json!({ "how": "now" }));
    let rest = &fixture.tenant;
    let other = second_tenant(&fixture.instance);
    other.post(&path, &now).expect_error(404);
    customer(&fixture.instance).post(&path, &now).expect_error(404);
    let user = customer(&fixture.instance);
    let his_own = user.get("/api/auth/user").json()["customerId"]["id"].as_str().expect("an id").to_owned();
    user.get(&format!("/api/plugins/telemetry/CUSTOMER/{his_own}/values/attributes/SERVER_SCOPE")).expect_text(200);
    user.post(&format!("/api/rule-engine/CUSTOMER/{his_own}/500"), &now).expect_error(403);
    sysadmin(&fixture.instance).post("/api/rule-engine/", &now).expect_error(403);
    other.post(&format!("{path}/x"), &now).expect_error(400);
    rest.post(&format!("{path}/0"), &now).expect_error(400);
    rest.post(&format!("{path}/300001"), &now).expect_error(400);
    rest.post(&format!("/api/rule-engine/DASHBOARD/{}", walled.id), &now).expect_error(400);
    rest.post_text(&path, "no JSON").expect_error(400);
    rest.post_text(&path, &format!("\"{}\"", "x".repeat(70_000))).expect_error(413);
    let own = id_of(&rest.post("/api/customer", &json!({ "title": "Asks" })).json());
    let assigned = rest.post(&format!("/api/customer/{own}/device/{}", walled.id), &json!({}));
    let _device = assigned.json();
    assert_eq!(rest.post(&path, &json!({ "how": "tenant" })).json(), json!({ "how": "tenant" }));
}
