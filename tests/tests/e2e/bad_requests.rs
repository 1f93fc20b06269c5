//! Bad input beyond MQTT's bytes: HTTP that is none, WebSocket frames, keys beyond their bounds, floods of calls, chunks out of
//! range. Each is refused by the right code and at nobody else's cost.

use serde_json::{Value, json};
use tests::harness::curl::Curl;
use tests::harness::fixture::{Fixture, attributes, device, latest_value, telemetry};
use tests::harness::mqtt::{Connect, PUBACK, PUBLISH, V5, Wire, packet};
use tests::harness::raw_http::{RawHttp, request};

use crate::badinput::Witness;
use crate::firmware::{BYTES, Package, assign};

/// Requests that may not be read any further: answered, then the connection ends.
#[test]
fn malformed_requests_end_their_own_connection() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let _other = device(&fixture.tenant, "victim");
    let post = |headers: &str, body: &str| {
        format!("POST /api/v1/victim/telemetry HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}").into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("not HTTP at all", b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\r\n\r\n".to_vec()),
        ("TLS on the plain listener", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("an unknown version", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a target of 100 KB", request("GET", &"/x".repeat(50_000), "", "")),
        ("a header of 1 MB", post(&format!("X-Large: {}\r\n", "x".repeat(1 << 20)), "")),
        ("10,000 headers", post(&"X-Many: y\r\n".repeat(10_000), "")),
        ("a header without a colon", post("nonsense\r\n", "")),
        ("a space before the colon", post("Content-Length : 2\r\n", "{}")),
        ("a folded header", post("X-Folded: a\r\n b\r\nContent-Length: 2\r\n", "{}")),
        ("a NUL in a header", post("X-Nul: a\0b\r\n", "")),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}")),
        ("a length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a negative length", post("Content-Length: -1\r\n", "")),
        ("a length beyond numbers", post("Content-Length: 99999999999999999999999\r\n", "")),
        ("a length of 1 GB", post("Content-Length: 1073741824\r\n", "")),
        ("an encoding nobody knows", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("a chunk without a length", post("Transfer-Encoding: chunked\r\n", "x\r\n\r\n")),
        ("a chunk of 16 EiB", post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n")),
        ("a chunk longer than it says", post("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n")),
    ];
    for (name, bytes) in cases {
        let mut wire = RawHttp::open(fixture.instance.device_http());
        // The server may close while we still write.
        let _closed = wire.write(&bytes);
        let statuses = wire.read_to_close();
        assert!(statuses.len() <= 1 && statuses.iter().all(|status| (400..=505).contains(status)), "{name}: {statuses:?}");
        witness.is_served(name);
    }
    check_headers(&fixture);
    fixture.instance.stop();
}

/// Bounds that have a code of their own.
fn check_headers(fixture: &Fixture) {
    let url = format!("http://{}/api/v1/victim/attributes", fixture.instance.device_http());
    let cases = [
        (Curl::get(&url).argument("-H").argument(format!("X-Large: {}", "x".repeat(20_000))), 431),
        (Curl::get(format!("{url}?clientKeys={}", "k".repeat(20_000))), 414),
        (Curl::post(&url, &format!(r#"{{"a":"{}"}}"#, "x".repeat(66_000))), 413),
    ];
    for (curl, status) in cases {
        let answer = curl.run();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

const HANDSHAKE: &str = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A client's frame: masked with zeros, so that what is in it can be read here.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut frame = vec![first, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn malformed_frames_end_their_own_connection() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let _other = device(&fixture.tenant, "framed");
    let connect = Connect::new("framed").bytes();
    let binary = |payload: &[u8]| frame(0x82, payload);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a frame without a mask", [&[0x82, u8::try_from(connect.len()).expect("short")][..], &connect].concat()),
        ("a text frame", frame(0x81, &connect)),
        ("a reserved bit", frame(0xc2, &connect)),
        ("a reserved opcode", frame(0x83, &connect)),
        ("a ping of 200 bytes", frame(0x89, &[0; 200])),
        ("a ping in pieces", frame(0x09, b"x")),
        ("a continuation of nothing", frame(0x80, &connect)),
        ("a frame of 2^63 bytes", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a frame of 1 GB", vec![0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        ("no MQTT in it", binary(b"GET / HTTP/1.1\r\n\r\n")),
        ("a packet of 256 MiB", [binary(&connect), binary(&[0x30, 0xff, 0xff, 0xff, 0x7f])].concat()),
        (
            "a packet above the limit",
            [binary(&connect), binary(&packet(0x30, &[0; 65_000])[..60_000]), binary(&[0xff; 60_000])].concat(),
        ),
    ];
    for (name, bytes) in cases {
        let mut wire = RawHttp::open(fixture.instance.device_http());
        assert_eq!(wire.exchange(HANDSHAKE.as_bytes()).status, 101, "{name}");
        let _closed = wire.write(&bytes);
        wire.drain();
        witness.is_served(name);
    }
    fixture.instance.stop();
}

#[test]
fn keys_have_their_bounds() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let device = device(&fixture.tenant, "keys");
    let long = "k".repeat(5_000);
    let body = json!({ long.clone(): 1, "short": 1 }).to_string();
    let url = format!("http://{}/api/v1/keys", fixture.instance.device_http());
    for path in ["telemetry", "attributes"] {
        assert_eq!(Curl::post(format!("{url}/{path}"), &body).run().status, 400, "{path}");
    }
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("keys").version(V5));
    for topic in ["v1/devices/me/telemetry", "v1/devices/me/attributes"] {
        assert_eq!(wire.acknowledged(topic, 1, &body), 0x99, "{topic}");
    }
    for path in ["attributes/SHARED_SCOPE", "attributes/SERVER_SCOPE", "timeseries/ANY"] {
        fixture.tenant.post_text(&telemetry(&device.id, path), &body).expect_error(400);
    }
    let asked = Curl::get(format!("{url}/attributes?clientKeys={}", "k".repeat(2_000))).run();
    assert!([200, 400].contains(&asked.status), "asked for, it is not there: {}", asked.status);
    assert_eq!(
        attributes(&fixture.tenant, &device.id, "CLIENT_SCOPE").get("short"),
        None,
        "nothing of a refused message is kept"
    );
    witness.is_served("gigantic keys");

    // DESIGN 8.5 (17): at most 1,024 keys per device.
    let many = |from: usize| {
        (from..from + 100).map(|number| (format!("n{number}"), json!(1))).collect::<serde_json::Map<String, Value>>()
    };
    let codes: Vec<u8> =
        (0..20_u16).map(|round| wire.telemetry(round + 1, &Value::Object(many(usize::from(round) * 100)).to_string())).collect();
    let taken = codes.iter().take_while(|code| **code == 0).count();
    assert!((5..=10).contains(&taken), "up to 1,024 keys: {codes:x?}");
    assert!(codes.iter().skip(taken).all(|code| *code == 0x97), "then Quota exceeded: {codes:x?}");
    assert_eq!(wire.telemetry(99, r#"{"n0":2}"#), 0, "a key that is there is still written");
    assert_eq!(latest_value(&fixture.tenant, &device.id, "n0").as_deref(), Some("2"));
    witness.is_served("too many keys");
    fixture.instance.stop();
}

/// Persistent calls to a device that is not there are bounded; the others' calls are not refused for them.
#[test]
fn a_flood_of_calls_to_an_absent_device_is_bounded() {
    const CALLS: usize = 400;
    let fixture = Fixture::with(|setup| setup.shards(2));
    let (mut witness, observed) = Witness::new(&fixture);
    let tenant = &fixture.tenant;
    let (absent, other) = (device(tenant, "flooded"), device(tenant, "spared"));
    let body = json!({ "method": "m", "params": {}, "persistent": true, "expirationTime": tests::harness::now_ms() + 3_600_000 });
    let path = format!("/api/rpc/twoway/{}", absent.id);
    let statuses: Vec<u16> = (0..CALLS).map(|_| tenant.post(&path, &body).status).collect();
    let taken = statuses.iter().take_while(|status| **status == 200).count();
    assert!((1..CALLS).contains(&taken), "a bound is reached: {taken} of {CALLS} were taken");
    assert!(statuses.iter().skip(taken).all(|status| (400..500).contains(status) || *status == 503), "{statuses:?}");
    let page = tenant.get(&format!("/api/rpc/persistent/device/{}?pageSize=10&page=0", absent.id)).json();
    assert_eq!(page["totalElements"], taken, "{page}");
    assert_eq!(tenant.post(&format!("/api/rpc/twoway/{}", other.id), &body).status, 200, "another device");
    let first = page["data"][0]["id"]["id"].as_str().expect("an id").to_owned();
    tenant.delete(&format!("/api/rpc/persistent/{first}")).expect_text(200);
    assert_eq!(tenant.post(&path, &body).status, 200, "there is room again");
    witness.is_served("stored calls");

    let waiting = json!({ "method": "m", "params": {}, "timeout": 5_000 });
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| tenant.post(&path, &waiting).status)).collect();
        witness.is_served("calls that wait");
        for call in calls {
            let status = call.join().expect("the call ends");
            assert!((400..=504).contains(&status), "{status}");
        }
    });
    assert!(latest_value(tenant, &observed.id, "n").is_some());
    fixture.instance.stop();
}

#[test]
fn chunks_out_of_range_are_empty_or_refused() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let (with, without) = (device(&fixture.tenant, "has"), device(&fixture.tenant, "hasnot"));
    let package = Package::upload(&fixture, "FIRMWARE", "1.0");
    assign(&fixture.tenant, &with, "firmwareId", package.reference());
    for (device, assigned) in [(&with, true), (&without, false)] {
        for (chunk, size) in [
            ("3", "1000"),
            ("4294967295", "1000"),
            ("4294967295", "4294967295"),
            ("1", "0"),
            ("0", "99999999999999999999"),
            ("0", "-1"),
            ("0", "many"),
        ] {
            let received = chunk_of(&fixture, &device.token, chunk, size);
            // A size of 0 is the whole, so chunk 1 of it is past the end as well.
            assert!(received.is_empty(), "chunk {chunk} of {size}: {} bytes", received.len());
            witness.is_served("a chunk out of range");
        }
        let whole = chunk_of(&fixture, &device.token, "0", &BYTES.to_string());
        assert_eq!(whole.len(), if assigned { BYTES } else { 0 });
        let title = package.title.replace(' ', "%20");
        let url = format!("http://{}/api/v1/{}/firmware?title={title}&version=1.0", fixture.instance.device_http(), device.token);
        for query in [
            "&size=1000&chunk=4294967295",
            "&size=4294967295&chunk=4294967295",
            "&size=1000&chunk=99999999999",
            "&size=-1",
            "&chunk=x",
        ] {
            let answer = Curl::get(format!("{url}{query}")).run();
            assert!(answer.status < 500 && (answer.status != 200 || answer.body.is_empty()), "{query}: {}", answer.status);
        }
    }
    for topic in ["v2/fw/request/1/chunk/4294967296", "v2/fw/request/x/chunk/0", "v2/fw/request/1/chunk/", "v2/fw/request/1"] {
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(&with.token).version(V5));
        assert_eq!(wire.acknowledged(topic, 1, "1000"), 0x90, "{topic}: Topic Name invalid");
    }
    fixture.instance.stop();
}

/// Asks for a chunk over MQTT 5: the bytes that came, if any did.
fn chunk_of(fixture: &Fixture, token: &str, chunk: &str, size: &str) -> Vec<u8> {
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(token).version(V5));
    assert_eq!((wire.subscribe("v2/fw/response/+/chunk/+", 1), wire.subscribe("v2/fw/error", 2)), (1, 1));
    wire.publish(&format!("v2/fw/request/7/chunk/{chunk}"), Some(3), size).expect("the connection is open");
    let (mut answered, mut refused, mut bytes) = (false, false, Vec::new());
    // Answered by a chunk or an error, or refused by the acknowledgement, or closed.
    while !(answered || refused) {
        let Ok(packet) = wire.read() else { return bytes };
        match packet.kind() {
            PUBACK => refused = packet.code(2) >= 0x80,
            PUBLISH => {
                let message = packet.message(V5);
                answered = true;
                if message.topic != "v2/fw/error" {
                    bytes = message.payload;
                }
            }
            _ => return bytes,
        }
    }
    bytes
}
