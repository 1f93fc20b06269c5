//! Calls of the server to devices (ThingsBoard's RPC, reference 2.2): both versions of the paths, one-way and two-way, and the
//! durable state machine of persistent calls. Never asserts how long a call takes.

use serde_json::{Value, json};
use std::thread::JoinHandle;
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device};
use tests::harness::instance::drivers;
use tests::harness::mqtt::{Connect, PUBACK, V5, Wire};
use tests::harness::python::Client;
use tests::harness::rest::{Reply, Rest};

const REQUESTS: &str = "v1/devices/me/rpc/request/+";
/// Both versions of the paths.
const PATHS: [&str; 2] = ["/api/rpc", "/api/plugins/rpc"];

/// Calls in the background: the answer comes when the device has spoken.
fn call(rest: &Rest, path: String, body: Value) -> JoinHandle<Reply> {
    let rest = rest.clone();
    std::thread::spawn(move || rest.post(&path, &body))
}

#[test]
fn calls_reach_a_device_and_its_answer_comes_back() {
    for driver in drivers() {
        for version in [4, 5] {
            let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
            let device = device(&fixture.tenant, "answers");
            let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, version);
            assert_eq!(paho.event("connected")["code"], 0);
            assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": REQUESTS }), "subscribed")["codes"], json!([1]));
            for path in PATHS {
                check_two_way(&fixture.tenant, &device.id, &mut paho, path);
                check_one_way(&fixture.tenant, &device.id, &mut paho, path);
            }
            fixture.instance.stop();
        }
    }
}

fn check_two_way(tenant: &Rest, device: &str, paho: &mut Client, path: &str) {
    let body = json!({ "method": "setGpio", "params": { "pin": 7, "on": true }, "timeout": 50_000 });
    let called = call(tenant, format!("{path}/twoway/{device}"), body);
    let request = paho.event("message");
    assert_eq!(request["payload"], json!({ "method": "setGpio", "params": { "pin": 7, "on": true } }));
    let topic = request["topic"].as_str().expect("a topic").replace("/request/", "/response/");
    let answer = json!({ "do": "publish", "topic": topic, "payload": { "pin": 7, "was": false } });
    assert_eq!(paho.ask(&answer, "published")["code"], 0);
    assert_eq!(called.join().expect("the call ends").json(), json!({ "pin": 7, "was": false }), "{path}");
}

fn check_one_way(tenant: &Rest, device: &str, paho: &mut Client, path: &str) {
    let body = json!({ "method": "beep", "params": 3, "timeout": 50_000 });
    let called = call(tenant, format!("{path}/oneway/{device}"), body);
    assert_eq!(paho.event("message")["payload"], json!({ "method": "beep", "params": 3 }));
    called.join().expect("the call ends").expect_text(200);
}

#[test]
fn the_public_sdk_answers_calls() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "sdkrpc");
    let mut sdk = Client::sdk(&fixture.home, fixture.instance.mqtt(), &device.token);
    sdk.event("connected");
    sdk.ask(&json!({ "do": "serve" }), "serving");
    for path in PATHS {
        let body = json!({ "method": "echo", "params": { "n": [1, 2] }, "timeout": 50_000 });
        let called = call(&fixture.tenant, format!("{path}/twoway/{}", device.id), body);
        assert_eq!(sdk.event("call")["body"], json!({ "method": "echo", "params": { "n": [1, 2] } }));
        assert_eq!(called.join().expect("the call ends").json(), json!({ "answer": { "n": [1, 2] } }), "{path}");
    }
    fixture.instance.stop();
}

/// Reference 2.2: v1 says 408 for silence and 409 for nobody, v2 504 for both.
#[test]
fn silence_and_absence_have_their_codes() {
    let fixture = Fixture::start();
    let (silent, absent) = (device(&fixture.tenant, "silent"), device(&fixture.tenant, "absent"));
    let mut wire = Wire::session(fixture.instance.mqtt(), &silent.token);
    assert_eq!(wire.subscribe(REQUESTS, 1), 1);
    let cases = [
        (&silent, "/api/rpc/twoway", 504),
        (&silent, "/api/plugins/rpc/twoway", 408),
        (&absent, "/api/rpc/twoway", 504),
        (&absent, "/api/plugins/rpc/twoway", 409),
        (&absent, "/api/rpc/oneway", 504),
        (&absent, "/api/plugins/rpc/oneway", 409),
    ];
    // 5 s is the shortest time there is, so all at once.
    let body = json!({ "method": "m", "params": {}, "timeout": 5_000 });
    let calls: Vec<_> =
        cases.map(|(device, path, _)| call(&fixture.tenant, format!("{path}/{}", device.id), body.clone())).into();
    for (called, (_, path, status)) in calls.into_iter().zip(cases) {
        let reply = called.join().expect("the call ends");
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
    }
    fixture.instance.stop();
}

#[test]
fn wrong_calls_are_refused() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "wrongly");
    let own = format!("/api/rpc/twoway/{}", device.id);
    for body in ["{", "{}", r#"{"method":""}"#, r#"{"method":"m","timeout":-1}"#, r#"{"method":7}"#] {
        fixture.tenant.post_text(&own, body).expect_error(400);
    }
    let good = json!({ "method": "m", "params": {}, "timeout": 5_000 });
    for path in
        ["/api/rpc/twoway/13814000-1dd2-11b2-8080-808080808080", "/api/plugins/rpc/oneway/13814000-1dd2-11b2-8080-808080808080"]
    {
        fixture.tenant.post(path, &good).expect_error(404);
    }
    let second = tests::harness::fixture::second_tenant(&fixture.instance);
    let status = second.post(&own, &good).status;
    assert!([403, 404].contains(&status), "another tenant's device: {status}");
    fixture.tenant.get("/api/rpc/persistent/13814000-1dd2-11b2-8080-808080808080").expect_error(404);
    fixture.instance.stop();
}

/// Stores a persistent call; its id.
fn store(rest: &Rest, device: &str, body: &Value) -> String {
    let reply = rest.post(&format!("/api/rpc/twoway/{device}"), body).json();
    reply["rpcId"].as_str().unwrap_or_else(|| panic!("a persistent call has an id: {reply}")).to_owned()
}

fn stored(rest: &Rest, id: &str) -> Value {
    rest.get(&format!("/api/rpc/persistent/{id}")).json()
}

fn reaches(rest: &Rest, id: &str, status: &str) -> Value {
    eventually(&format!("the call is {status}"), || Some(stored(rest, id)).filter(|call| call["status"] == status))
}

/// How many of a device's persistent calls have this status.
fn count(rest: &Rest, device: &str, status: &str) -> Value {
    let path = format!("/api/rpc/persistent/device/{device}?pageSize=100&page=0&rpcStatus={status}");
    rest.get(&path).json()["totalElements"].clone()
}

/// More calls than a device is sent without an acknowledgement: the others follow as it acknowledges, not when the first are overdue.
/// Without retries, since one more try of a call would offer the others too.
#[test]
fn calls_that_wait_for_room_follow_acknowledgements() {
    const CALLS: usize = 40;
    let fixture = Fixture::with(|setup| setup.shards(2));
    for expiry_s in [0, 3_600] {
        let device = device(&fixture.tenant, &format!("busy{expiry_s}"));
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(V5).kept(expiry_s));
        wire.subscribe(REQUESTS, 1);
        for number in 0..CALLS {
            store(
                &fixture.tenant,
                &device.id,
                &json!({ "method": "m", "params": number, "persistent": true, "retries": 0,
                "expirationTime": tests::harness::now_ms() + 3_600_000 }),
            );
        }
        for number in 0..CALLS {
            let message = wire.take_message();
            assert_eq!(message.json()["params"], number, "{expiry_s}");
        }
    }
    fixture.instance.stop();
}

#[test]
fn a_persistent_call_goes_through_its_states() {
    for driver in drivers() {
        let fixture = Fixture::with(|setup| setup.driver(driver).shards(2));
        let (tenant, device) = (&fixture.tenant, device(&fixture.tenant, "states"));
        let body = |number: i64| {
            json!({ "method": "step", "params": number, "persistent": true,
            "expirationTime": tests::harness::now_ms() + 3_600_000, "retries": 0, "additionalInfo": { "batch": 1 } })
        };
        let ids: Vec<String> = (0..3).map(|number| store(tenant, &device.id, &body(number))).collect();
        for id in &ids {
            let call = stored(tenant, id);
            assert_eq!((&call["status"], &call["additionalInfo"]), (&json!("QUEUED"), &json!({ "batch": 1 })), "{call}");
        }
        assert_eq!(count(tenant, &device.id, "QUEUED"), 3);
        tenant.delete(&format!("/api/rpc/persistent/{}", ids[2])).expect_text(200);
        tenant.get(&format!("/api/rpc/persistent/{}", ids[2])).expect_error(404);
        assert_eq!(count(tenant, &device.id, "QUEUED"), 2, "a deleted call is gone");

        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(V5));
        assert_eq!(wire.subscribe(REQUESTS, 1), 1);
        // Both come at once: strategy BURST.
        let requests = [wire.message(), wire.message()];
        for (number, (id, request)) in ids.iter().zip(requests).enumerate() {
            assert_eq!(request.json(), json!({ "method": "step", "params": number }), "in order, without the deleted one");
            reaches(tenant, id, "SENT");
            wire.acknowledge(PUBACK, request.id);
            reaches(tenant, id, "DELIVERED");
            let topic = request.topic.replace("/request/", "/response/");
            assert_eq!(wire.acknowledged(&topic, 10, &json!({ "done": number }).to_string()), 0);
            let call = reaches(tenant, id, "SUCCESSFUL");
            assert_eq!(call["response"], json!({ "done": number }), "{call}");
        }
        assert_eq!((count(tenant, &device.id, "SUCCESSFUL"), count(tenant, &device.id, "QUEUED")), (json!(2), json!(0)));
        fixture.instance.stop();
    }
}

/// Submit strategies: a call leaves when the one before it was acknowledged, or answered; a call that nobody stores need not wait.
#[test]
fn persistent_calls_leave_one_by_one_where_that_is_set() {
    for strategy in ["on_ack", "on_response"] {
        let fixture = Fixture::with(|setup| setup.with("TIDEGATE_DEVICE_RPC_SUBMIT", strategy));
        let (tenant, device) = (&fixture.tenant, device(&fixture.tenant, "turns"));
        let body = |number: usize| json!({ "method": "step", "params": number, "persistent": true, "retries": 0 });
        let ids: Vec<String> = (0..3).map(|number| store(tenant, &device.id, &body(number))).collect();
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&device.token).version(V5));
        assert_eq!(wire.subscribe(REQUESTS, 1), 1);
        for (number, id) in ids.iter().enumerate() {
            let request = wire.message();
            assert_eq!(request.json()["params"], number, "{strategy}");
            reaches(tenant, id, "SENT");
            let waiting = ids.len() - number - 1;
            assert_eq!(count(tenant, &device.id, "QUEUED"), waiting, "{strategy}: before the acknowledgement");
            wire.acknowledge(PUBACK, request.id);
            if strategy == "on_response" {
                reaches(tenant, id, "DELIVERED");
                let topic = request.topic.replace("/request/", "/response/");
                assert_eq!(count(tenant, &device.id, "QUEUED"), waiting, "before the answer");
                // Not with QoS 1: the next call may come before the acknowledgement.
                wire.publish(&topic, None, "{}").unwrap();
                reaches(tenant, id, "SUCCESSFUL");
            }
        }
        fixture.instance.stop();
    }
}

#[test]
fn persistent_calls_expire_and_time_out() {
    let fixture = Fixture::start();
    let tenant = &fixture.tenant;
    let (absent, silent, one_way) = (device(tenant, "away"), device(tenant, "mute"), device(tenant, "oneway"));
    let soon = json!({ "method": "m", "params": {}, "persistent": true, "expirationTime": tests::harness::now_ms() + 1_000 });
    let expiring = store(tenant, &absent.id, &soon);
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&silent.token).version(V5));
    assert_eq!(wire.subscribe(REQUESTS, 1), 1);
    let late = json!({ "method": "m", "params": {}, "persistent": true, "retries": 0,
        "expirationTime": tests::harness::now_ms() + 3_600_000 });
    let unanswered = store(tenant, &silent.id, &late);
    let request = wire.take_message();
    assert_eq!(request.json()["method"], "m");
    reaches(tenant, &expiring, "EXPIRED");
    // Reference 2.2: 30 s after it was delivered.
    reaches(tenant, &unanswered, "TIMEOUT");
    let topic = request.topic.replace("/request/", "/response/");
    assert_eq!(wire.acknowledged(&topic, 9, "{}"), 0, "an answer that is too late is taken");
    assert_eq!(stored(tenant, &unanswered)["status"], "TIMEOUT", "and changes nothing");

    let reply = tenant.post(&format!("/api/rpc/oneway/{}", one_way.id), &late).json();
    let id = reply["rpcId"].as_str().expect("an id").to_owned();
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&one_way.token).version(V5));
    assert_eq!(wire.subscribe(REQUESTS, 1), 1);
    let _request = wire.take_message();
    reaches(tenant, &id, "DELIVERED");
    fixture.instance.stop();
}

#[test]
fn an_unanswered_call_is_sent_again() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "again");
    let body = json!({ "method": "m", "params": 1, "persistent": true, "retries": 1,
        "expirationTime": tests::harness::now_ms() + 3_600_000 });
    let id = store(&fixture.tenant, &device.id, &body);
    // A connection that is lost before it acknowledges has not got it.
    let mut lost = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(lost.subscribe(REQUESTS, 1), 1);
    let first = lost.message();
    drop(lost);
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.subscribe(REQUESTS, 1), 1);
    let second = wire.take_message();
    assert_eq!(first.json(), second.json());
    let topic = second.topic.replace("/request/", "/response/");
    assert_eq!(wire.acknowledged(&topic, 2, r#""done""#), 0);
    assert_eq!(reaches(&fixture.tenant, &id, "SUCCESSFUL")["response"], "done");
    fixture.instance.stop();
}
