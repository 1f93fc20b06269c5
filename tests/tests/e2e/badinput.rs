//! Bytes that are not the protocol, and messages that are not telemetry: refused as the protocol says, counted, and never at
//! another device's cost.

use tests::harness::fixture::{Device, Fixture, device, latest_value};
use tests::harness::instance::Instance;
use tests::harness::mqtt::{CONNACK, Connect, DISCONNECT, V5, V311, Wire, packet, publish, subscribe};
use tests::harness::{Dice, eventually};

/// A device that must be served whatever others send.
pub(crate) struct Witness {
    wire: Wire,
    count: u16,
}

impl Witness {
    pub(crate) fn new(fixture: &Fixture) -> (Self, Device) {
        let device = device(&fixture.tenant, "witness");
        let wire = Wire::session(fixture.instance.mqtt(), &device.token);
        (Self { wire, count: 0 }, device)
    }

    pub(crate) fn is_served(&mut self, after: &str) {
        self.count += 1;
        assert_eq!(self.wire.telemetry(self.count, &format!(r#"{{"n":{}}}"#, self.count)), 0, "after {after}");
    }
}

fn valid(token: &str) -> Vec<u8> {
    Connect::new(token).bytes()
}

/// A CONNECT with one byte changed.
fn altered(at: usize, to: u8) -> Vec<u8> {
    let mut bytes = valid("witness2");
    bytes[at] = to;
    bytes
}

#[test]
fn malformed_bytes_close_only_their_own_connection() {
    let fixture = Fixture::start();
    let (mut witness, observed) = Witness::new(&fixture);
    let _other = device(&fixture.tenant, "witness2");
    let connected = |bytes: &[u8]| [valid("witness2"), bytes.to_vec()].concat();
    let topic = "v1/devices/me/telemetry";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("remaining length of five bytes", vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("not MQTT at all", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("an unknown protocol name", altered(4, b'X')),
        ("version byte 9", altered(8, 9)),
        ("version byte 0", altered(8, 0)),
        ("the reserved connect flag", altered(9, 0b1000_0011)),
        ("will QoS without will", altered(9, 0b1000_1010)),
        ("flags in the first byte of CONNECT", altered(0, 0x11)),
        ("PUBLISH before CONNECT", publish(V311, topic, Some(1), b"{}")),
        ("PINGREQ before CONNECT", vec![0xc0, 0]),
        ("SUBSCRIBE before CONNECT", subscribe(V311, topic, 1)),
        ("an empty CONNECT", packet(0x10, &[])),
        ("a string longer than its packet", packet(0x10, &[0, 200, b'M'])),
        ("a second CONNECT", connected(&valid("witness2"))),
        ("packet type 0", connected(&packet(0x00, &[]))),
        ("AUTH on 3.1.1", connected(&packet(0xf0, &[]))),
        ("CONNACK from a client", connected(&packet(0x20, &[0, 0]))),
        ("QoS 3", connected(&packet(0x36, b"\x00\x01t\x00\x01{}"))),
        ("packet id 0", connected(&publish(V311, topic, Some(0), b"{}"))),
        ("SUBSCRIBE without its flag", connected(&packet(0x80, b"\x00\x01\x00\x01t\x01"))),
        ("SUBSCRIBE without filters", connected(&packet(0x82, b"\x00\x01"))),
        ("a wildcard in a PUBLISH topic", connected(&publish(V311, "v1/devices/#", Some(1), b"{}"))),
        ("a NUL in a topic", connected(&publish(V311, "v1/\0", Some(1), b"{}"))),
        ("an empty topic", connected(&publish(V311, "", Some(1), b"{}"))),
        ("a topic that is not UTF-8", connected(&packet(0x30, b"\x00\x02\xc3\x28{}"))),
        ("a topic longer than its packet", connected(&packet(0x30, b"\xff\xff{}"))),
        ("a packet of 256 MiB", connected(&[0x30, 0xff, 0xff, 0xff, 0x7f])),
        ("a packet above the limit", connected(&packet(0x30, &[0; 70_000]))),
        ("PINGREQ with a body", connected(&packet(0xc0, &[1]))),
    ];
    for (name, bytes) in cases {
        let mut wire = Wire::open(fixture.instance.mqtt());
        // The server may close while we still write.
        let _closed = wire.write(&bytes);
        let said = wire.read_to_close();
        assert!(said.len() <= 2, "{name}: {said:?}");
        witness.is_served(name);
    }
    check_truncated(&fixture.instance, &mut witness);
    check_random(&fixture.instance, &mut witness);
    assert!(fixture.instance.metric("tidegate_protocol_errors_total") >= 25.0, "protocol errors are counted");
    eventually("only the witness is left", || (fixture.instance.metric("tidegate_connections_open") < 1.5).then_some(()));
    assert_eq!(latest_value(&fixture.tenant, &observed.id, "n"), Some(witness.count.to_string()));
    fixture.instance.stop();
}

/// Every prefix of a good exchange, then the end of the stream.
fn check_truncated(instance: &Instance, witness: &mut Witness) {
    let whole = [valid("witness2"), publish(V311, "v1/devices/me/telemetry", Some(1), br#"{"a":1}"#)].concat();
    for length in 0..whole.len() {
        let mut wire = Wire::open(instance.mqtt());
        let _closed = wire.write(&whole[..length]);
        wire.finish();
        let _said = wire.read_to_close();
    }
    witness.is_served("truncated packets");
}

fn check_random(instance: &Instance, witness: &mut Witness) {
    let mut dice = Dice::cast("random bytes");
    for round in 0..300_u32 {
        let length = dice.roll(1..200);
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::try_from(dice.roll(0..256)).expect("a byte")).collect();
        if round % 2 == 0 {
            bytes = [valid("witness2"), bytes].concat();
        }
        let mut wire = Wire::open(instance.mqtt());
        let _closed = wire.write(&bytes);
        wire.finish();
        let _said = wire.read_to_close();
    }
    witness.is_served("random bytes");
}

#[test]
fn unknown_tokens_get_the_connack_of_their_version() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let before = fixture.instance.metric("tidegate_sessions_refused_total");
    for (version, codes) in [(V311, [4, 5]), (V5, [0x86, 0x87])] {
        for token in ["nobody", ""] {
            let mut wire = Wire::open(fixture.instance.mqtt());
            let answer = wire.handshake(&Connect::new(token).client_id("c").version(version)).expect("a CONNACK");
            assert_eq!(answer.kind(), CONNACK);
            assert!(codes.contains(&answer.code(1)), "{version}: {answer:?}");
            assert_eq!(wire.read_to_close(), []);
        }
    }
    assert!(fixture.instance.metric("tidegate_sessions_refused_total") >= before + 4.0);
    witness.is_served("unknown tokens");
    fixture.instance.stop();
}

/// DESIGN 8.7 (28): an unknown topic on 3.1.1 gets PUBACK and is counted, on 5 the reason code.
#[test]
fn foreign_topics_are_refused() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let _device = device(&fixture.tenant, "strays");
    let mut old = Wire::session(fixture.instance.mqtt(), "strays");
    assert_eq!(old.acknowledged("somewhere/else", 1, "{}"), 0);
    for filter in ["#", "v1/devices/other/telemetry", "v1/devices/me/+", "v1/gateway/attributes"] {
        assert_eq!(old.subscribe(filter, 2), 0x80, "{filter}");
    }
    assert_eq!(old.subscribe("v1/devices/me/attributes", 3), 1, "its own is granted");
    let mut new = Wire::admitted(fixture.instance.mqtt(), &Connect::new("strays").version(V5));
    assert_eq!(new.acknowledged("somewhere/else", 1, "{}"), 0x90, "Topic Name invalid");
    let refused = new.subscribe("#", 2);
    assert!([0x87, 0x8f, 0xa2].contains(&refused), "a failure code of MQTT 5: {refused:#x}");
    assert_eq!(new.telemetry(3, r#"{"still":"served"}"#), 0);
    assert!(fixture.instance.metric("tidegate_topics_unknown_total") >= 2.0);
    witness.is_served("foreign topics");
    fixture.instance.stop();
}

#[test]
fn payloads_that_are_not_telemetry_are_refused() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let device = device(&fixture.tenant, "garbles");
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let long_key = format!(r#"{{"{}":1}}"#, "k".repeat(5_000));
    let cases = [
        "",
        "{",
        "nonsense",
        "5",
        "\"text\"",
        "[1]",
        "[[]]",
        "{\"ts\":1,\"values\":5}",
        "{\"a\":1}}",
        "\u{feff}{}",
        "{\"a\":NaN}",
        &deep,
        &long_key,
        "[{\"a\":1},7]",
    ];
    for payload in cases {
        let shown: String = payload.chars().take(20).collect();
        let before = fixture.instance.metric("tidegate_messages_discarded_total");
        let mut new = Wire::admitted(fixture.instance.mqtt(), &Connect::new("garbles").version(V5));
        assert_eq!(new.telemetry(1, payload), 0x99, "Payload format invalid: {shown}");
        assert_eq!(new.telemetry(2, r#"{"good":1}"#), 0, "MQTT 5 goes on after {shown}");
        let mut old = Wire::session(fixture.instance.mqtt(), "garbles");
        old.publish("v1/devices/me/telemetry", Some(1), payload).expect("open");
        assert_eq!(old.read_to_close(), [], "3.1.1 has no refusal but to close: {shown}");
        assert!(fixture.instance.metric("tidegate_messages_discarded_total") >= before + 2.0, "{shown}");
        witness.is_served(&shown);
    }
    assert_eq!(latest_value(&fixture.tenant, &device.id, "a"), None, "nothing of a refused message is stored");
    fixture.instance.stop();
}

/// DESIGN 8.5 (15): timestamps outside [0, now + 24 h] are refused.
#[test]
fn absurd_timestamps_are_refused_and_counted() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let device = device(&fixture.tenant, "clocks");
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("clocks").version(V5));
    let cases =
        ["-1", "9223372036854775807", "-9223372036854775808", "99999999999999", "1e300", "123456789012345678901234567890"];
    let before = fixture.instance.metric("tidegate_timestamps_refused_total");
    for (id, ts) in (1..).zip(cases) {
        let code = wire.telemetry(id, &format!(r#"{{"ts":{ts},"values":{{"a":1}}}}"#));
        assert!(code >= 0x80, "ts {ts}: {code:#x}");
    }
    assert!(fixture.instance.metric("tidegate_timestamps_refused_total") >= before + 4.0);
    assert_eq!(wire.telemetry(100, r#"{"ts":0,"values":{"first":1}}"#), 0, "0 is inside");
    assert_eq!(latest_value(&fixture.tenant, &device.id, "a"), None);
    assert_eq!(latest_value(&fixture.tenant, &device.id, "first").as_deref(), Some("1"));
    witness.is_served("absurd timestamps");
    fixture.instance.stop();
}

#[test]
fn an_oversized_packet_gets_its_reason_on_5() {
    let fixture = Fixture::start();
    let _device = device(&fixture.tenant, "big");
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("big").version(V5));
    let largest = format!(r#"{{"a":"{}"}}"#, "x".repeat(65_000));
    assert_eq!(wire.telemetry(1, &largest), 0, "just below the limit is stored");
    let _closed = wire.write(&packet(0x30, &[0; 70_000])[..100]);
    let said = wire.read_to_close();
    assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x95)]);
    fixture.instance.stop();
}

/// DESIGN 8.2 (6): what all connections keep together is bounded, whatever each may keep.
#[test]
fn partial_packets_of_many_connections_are_bounded_together() {
    use std::io::Write as _;
    let fixture = Fixture::start();
    let (mut witness, _device) = Witness::new(&fixture);
    // A CONNECT of 65,000 bytes that never ends. 1,200 of them would keep 72 MB; a shard keeps 64 MiB.
    let mut partial = vec![0x10, 0xe8, 0xfb, 0x03];
    partial.resize(60_000, 0);
    let begun: Vec<_> = (0..1_200)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(fixture.instance.mqtt()).expect("the listener is there");
            // Whoever is closed may find out while it writes.
            drop(stream.write_all(&partial));
            stream
        })
        .collect();
    fixture.instance.metric_reaches("tidegate_connections_shed_total", 1.0);
    witness.is_served("partial packets beyond the bound");
    drop(begun);
    witness.is_served("their end");
    fixture.instance.stop();
}
