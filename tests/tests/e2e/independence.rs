//! The data plane without its control plane, and the push between them. Done when 5 of the issue. Never sleeps between a REST
//! write and its use.

use serde_json::json;
use std::time::Instant;
use tests::harness::eventually;
use tests::harness::fixture::{self, Device, Fixture, device, latest_value};
use tests::harness::instance::{Home, Instance};
use tests::harness::mqtt::{Connect, DISCONNECT, V5, Wire};
use tests::harness::planes::{Planes, joined};

#[test]
fn known_devices_need_no_control_plane() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&fixture::tenant(&control));
    let tenant = joined(&control, &demo.id);
    let known = device(&tenant, "known");
    assert_eq!(Wire::session(data.mqtt(), "known").telemetry(1, r#"{"n":1}"#), 0);
    control.kill();
    assert_eq!(Wire::session(data.mqtt(), "known").telemetry(1, r#"{"n":2}"#), 0, "without the control plane");
    data.kill();
    let data = planes.data.start();
    let mut wire = Wire::session(data.mqtt(), "known");
    assert_eq!(wire.telemetry(1, r#"{"n":3}"#), 0, "after a restart without the control plane");
    assert_eq!(data.admin().get("/livez").status, 200);

    let control = planes.control.start();
    let tenant = joined(&control, &known.id);
    assert_eq!(latest_value(&tenant, &known.id, "n").as_deref(), Some("3"));
    assert_eq!(wire.telemetry(2, r#"{"n":4}"#), 0, "the session lived through it");
    let late = device(&tenant, "late");
    assert_eq!(Wire::session(data.mqtt(), &late.token).telemetry(1, r#"{"n":5}"#), 0, "a device made after the return");
    check_deletion(&tenant, &data, &known, wire);
    data.stop();
    control.stop();
}

/// A deleted device's session is closed by the push.
fn check_deletion(tenant: &tests::harness::rest::Rest, data: &Instance, known: &Device, wire: Wire) {
    drop(wire);
    let mut wire = Wire::admitted(data.mqtt(), &Connect::new(&known.token).version(V5));
    let asked = Instant::now();
    tenant.delete(&format!("/api/device/{}", known.id)).expect_text(200);
    let answered = asked.elapsed();
    let said = wire.read_to_close();
    println!("deletion: answered after {answered:?}, session closed after {:?}", asked.elapsed());
    assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x98)]);
    let refused = Wire::open(data.mqtt()).handshake(&Connect::new(&known.token)).expect("a CONNACK");
    assert_ne!(refused.code(1), 0, "unknown from now on");
}

#[test]
fn changes_made_while_apart_arrive_later() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let data = planes.data.start();
    let demo = fixture::demo_device(&fixture::tenant(&control));
    let tenant = joined(&control, &demo.id);
    let gone = device(&tenant, "gone");
    drop(Wire::session(data.mqtt(), "gone"));
    data.kill();
    let reply = tenant.post("/api/device?accessToken=fresh", &json!({ "name": "fresh", "type": "default" }));
    assert_eq!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): no instance runs with it");
    let _device = reply.json();
    tenant.delete(&format!("/api/device/{}", gone.id)).expect_text(200);
    let data = planes.data.start();
    let code = |token: &str| Wire::open(data.mqtt()).handshake(&Connect::new(token)).map(|packet| packet.code(1));
    eventually("the device made meanwhile is admitted", || (code("fresh") == Ok(0)).then_some(()));
    eventually("the device deleted meanwhile is refused", || (code("gone") == Ok(5)).then_some(()));
    data.stop();
    control.stop();
}

/// DESIGN 8.7 (26): clients that create a device and connect at once just work.
#[test]
fn a_created_device_connects_at_once_and_a_deleted_one_never_again() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    for number in 0..100 {
        let made = device(&fixture.tenant, &format!("instant{number}"));
        let mut wire = Wire::session(fixture.instance.mqtt(), &made.token);
        assert_eq!(wire.telemetry(1, &format!(r#"{{"n":{number}}}"#)), 0);
        assert_eq!(latest_value(&fixture.tenant, &made.id, "n"), Some(number.to_string()));
        if number % 10 == 0 {
            fixture.tenant.delete(&format!("/api/device/{}", made.id)).expect_text(200);
            assert_eq!(wire.read_to_close(), [], "3.1.1 is closed without a word");
            let refused = Wire::open(fixture.instance.mqtt()).handshake(&Connect::new(&made.token)).expect("a CONNACK");
            assert_eq!(refused.code(1), 5);
        }
    }
    fixture.instance.stop();
}

#[test]
fn a_wrong_join_token_is_refused() {
    let home = Home::new();
    let planes = Planes::new(&home);
    let control = planes.control.start();
    let stranger = planes.data.clone().with("TIDEGATE_GRPC_JOIN_TOKEN", "a-token-that-nobody-gave-out-at-all").launch();
    let tenant = fixture::tenant(&control);
    let made = tenant.post("/api/device?accessToken=unseen", &json!({ "name": "unseen", "type": "default" }));
    assert_eq!(made.applied.as_deref(), Some("false"), "the stranger is not an instance");
    let demo = fixture::demo_device(&tenant);
    let status = tenant.get(&fixture::telemetry(&demo.id, "keys/timeseries")).status;
    assert_eq!(status, 503, "no data plane to ask");
    drop(stranger);
    control.stop();
}
