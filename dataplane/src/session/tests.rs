//! Sessions as data: what is done, what must come out. The names in brackets are normative statements of the specifications.

use proptest::prelude::*;

use super::*;
use crate::clock::Instant;
use crate::limits;

const START: Instant = Instant::from_nanos(5_000_000_000);

/// One deed and what must follow from it.
enum Do {
    /// Bytes come: these intents (as their debug text), then silence.
    Feed(Vec<u8>, &'static [&'static str]),
    /// Bytes come and the connection ends for this reason, before which these intents come.
    Break(Vec<u8>, &'static [&'static str], Reason),
    Admit,
    Refuse(Refusal),
    Settle(u64, Outcome),
    SettleBreaks(u64, Outcome, Reason),
    Deliver(Downlink<'static>, Delivery),
    Close(Reason),
    /// So many milliseconds pass; the connection ends for this reason, if any.
    Elapse(u64, Option<Reason>),
    Pause,
    Resume,
    /// These bytes are waiting to be sent.
    Sends(Vec<u8>),
}
use Do::{Admit, Break, Deliver, Elapse, Feed, Pause, Refuse, Resume, Sends, Settle, SettleBreaks};

fn check(name: &str, deeds: Vec<Do>) {
    let mut session = Session::new(START);
    let mut now = START;
    for (index, deed) in deeds.into_iter().enumerate() {
        let at = format!("{name}, deed {index}");
        match deed {
            Feed(bytes, intents) => assert_eq!(feed(&mut session, &bytes, now), (texts(intents), None), "{at}"),
            Break(bytes, intents, reason) => {
                assert_eq!(feed(&mut session, &bytes, now), (texts(intents), Some(reason)), "{at}");
                session.close(Close { reason });
            }
            Admit => session.admit(now),
            Refuse(refusal) => {
                let close = session.refuse(refusal);
                assert_eq!(close.reason, Reason::Refused(refusal), "{at}");
                session.close(close);
            }
            Settle(receipt, outcome) => assert_eq!(session.settle(Receipt(receipt), outcome), Ok(()), "{at}"),
            SettleBreaks(receipt, outcome, reason) => {
                assert_eq!(session.settle(Receipt(receipt), outcome), Err(Close { reason }), "{at}");
                session.close(Close { reason });
            }
            Deliver(downlink, delivery) => assert_eq!(session.deliver(downlink, now), delivery, "{at}"),
            Do::Close(reason) => session.close(Close { reason }),
            Elapse(ms, reason) => {
                now = now.after_ms(ms);
                let close = session.elapse(now);
                assert_eq!(close.map(|close| close.reason), reason, "{at}");
                if let Some(close) = close {
                    session.close(close);
                }
            }
            Pause => session.pause(),
            Resume => session.resume(now),
            Sends(bytes) => assert_eq!(std::mem::take(session.output()), bytes, "{at}"),
        }
    }
}

fn feed(session: &mut Session, bytes: &[u8], now: Instant) -> (Vec<String>, Option<Reason>) {
    let (mut input, mut intents) = (bytes, Vec::new());
    loop {
        match session.next(&mut input, now) {
            Ok(Some(intent)) => intents.push(text(&intent)),
            Ok(None) => return (intents, None),
            Err(close) => return (intents, Some(close.reason)),
        }
    }
}

fn texts(intents: &[&str]) -> Vec<String> {
    intents.iter().map(ToString::to_string).collect()
}

/// Short enough to write down: the kind, the request id, the payload, the receipt.
fn text(intent: &Intent<'_>) -> String {
    let message = |kind: &str, payload: &[u8], receipt: Option<Receipt>| {
        let receipt = receipt.map_or_else(|| String::from("-"), |receipt| receipt.0.to_string());
        format!("{kind} {receipt} {}", String::from_utf8_lossy(payload)).trim_end().to_string()
    };
    match *intent {
        Intent::Admit(Credential { token, client_id, has_password }) => format!("admit {token}/{client_id}/{has_password}"),
        Intent::Telemetry { payload, receipt } => message("telemetry", payload, receipt),
        Intent::Attributes { payload, receipt } => message("attributes", payload, receipt),
        Intent::AttributesRequest { id, payload, receipt } => message(&format!("request {id}"), payload, receipt),
        Intent::RpcRequest { id, payload, receipt } => message(&format!("call {id}"), payload, receipt),
        Intent::RpcResponse { id, payload, receipt } => message(&format!("answer {id}"), payload, receipt),
        Intent::UnknownTopic { receipt } => message("unknown", &[], receipt),
        Intent::Subscribed => String::from("subscribed"),
        Intent::Unsubscribed => String::from("unsubscribed"),
        Intent::Ping => String::from("ping"),
        Intent::Disconnect { with_will } => format!("disconnect {with_will}"),
    }
}

// Packets, by hand: the codec under test does not write what clients send.

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left & 0x7F).unwrap();
        left >>= 7;
        bytes.push(if left == 0 { low } else { low | 0x80 });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn connect4(client_id: &str, flags: u8, keep_alive: u16, token: &str) -> Vec<u8> {
    let token = if flags & 0x80 == 0 { Vec::new() } else { string(token) };
    packet(0x10, &[b"\x00\x04MQTT\x04", &[flags], &keep_alive.to_be_bytes(), &string(client_id), &token])
}

fn connect5(client_id: &str, keep_alive: u16, properties: &[u8], flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    let length = [u8::try_from(properties.len()).unwrap()];
    let head: [&[u8]; 6] = [b"\x00\x04MQTT\x05", &[flags], &keep_alive.to_be_bytes(), &length, properties, &string(client_id)];
    packet(0x10, &[head.concat().as_slice(), &rest.concat()])
}

fn publish4(first: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    packet(first, &[&string(topic), &id.map(u16::to_be_bytes).map(Vec::from).unwrap_or_default(), payload])
}

fn publish5(first: u8, topic: &str, id: Option<u16>, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(properties.len()).unwrap()];
    packet(first, &[&string(topic), &id.map(u16::to_be_bytes).map(Vec::from).unwrap_or_default(), &length, properties, payload])
}

fn subscribe4(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|(name, qos)| [string(name), vec![*qos]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), &filters])
}

fn subscribe5(id: u16, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|(name, qos)| [string(name), vec![*qos]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), &[u8::try_from(properties.len()).unwrap()], properties, &filters])
}

const TELEMETRY: &str = "v1/devices/me/telemetry";
const ATTRIBUTES: &str = "v1/devices/me/attributes";
const RESPONSES: &str = "v1/devices/me/attributes/response/+";
const ACCEPTED4: [u8; 4] = [0x20, 2, 0, 0];

/// A 3.1.1 session with keep-alive 60 s, ready.
fn ready4(then: Vec<Do>) -> Vec<Do> {
    let begin = vec![Feed(connect4("id", 0x82, 60, "tok"), &["admit tok/id/false"]), Admit, Sends(ACCEPTED4.to_vec())];
    begin.into_iter().chain(then).collect()
}

/// An MQTT 5 session with keep-alive 60 s and these CONNECT properties, ready.
fn ready5(properties: &[u8], then: Vec<Do>) -> Vec<Do> {
    let asked = properties.first() == Some(&0x11);
    let connect = connect5("id", 60, properties, 0x82, &[&string("tok")]);
    let begin = vec![Feed(connect, &["admit tok/id/false"]), Admit, Sends(accepted5(asked, &[]))];
    begin.into_iter().chain(then).collect()
}

fn accepted5(expiry: bool, extra: &[u8]) -> Vec<u8> {
    let size = u32::try_from(limits::PACKET_BYTES_MAX).unwrap().to_be_bytes();
    let expiry: &[u8] = if expiry { &[0x11, 0, 0, 0, 0] } else { &[] };
    let (keep_alive, assigned) = extra.split_at(extra.len().min(if extra.first() == Some(&0x13) { 3 } else { 0 }));
    let flags: &[u8] = &[0x25, 0, 0x28, 1, 0x29, 0, 0x2A, 0];
    let properties = [expiry, &[0x21, 0, 64, 0x24, 1, 0x27], &size, keep_alive, flags, assigned].concat();
    packet(0x20, &[&[0, 0, u8::try_from(properties.len()).unwrap()], &properties])
}

#[test]
fn connect_is_offered_once_and_nothing_behind_it_is_parsed_before_the_answer() {
    let connect = connect4("id", 0xC2, 60, "tok");
    let with_password = [&connect[..1], &[connect[1] + 4], &connect[2..], b"\x00\x02pw", &[0xC0, 0]].concat();
    let mut session = Session::new(START);
    let mut input = with_password.as_slice();
    let intent = session.next(&mut input, START).unwrap().unwrap();
    assert_eq!(text(&intent), "admit tok/id/true");
    assert_eq!(session.next(&mut input, START), Ok(None));
    assert_eq!(input, [0xC0, 0], "the PINGREQ waits unparsed");
    assert!(session.output().is_empty() && !session.connected());
    session.admit(START);
    assert_eq!(session.next(&mut input, START), Ok(Some(Intent::Ping)));
    assert_eq!(*session.output(), [0x20, 2, 0, 0, 0xD0, 0]);
    assert!(session.connected());
}

#[test]
fn connects_that_are_refused_get_the_code_of_their_version() {
    let will = |flags: u8| connect5("id", 60, &[], flags, &[&[0], &string("w"), &string("x")]);
    let level = |level: u8| packet(0x10, &[b"\x00\x04MQTT", &[level, 2, 0, 0, 0, 0]]);
    let refused = |bytes, connack: &[u8], refusal| vec![Break(bytes, &[], Reason::Refused(refusal)), Sends(connack.to_vec())];
    check("[MQTT-3.1.3-8]", refused(connect4("", 0x80, 60, "t"), &[0x20, 2, 0, 2], Refusal::ClientIdInvalid));
    check(
        "MQTT 3.1 has no empty id",
        refused(packet(0x10, &[b"\x00\x06MQIsdp\x03\x02\0\0\0\0"]), &[0x20, 2, 0, 2], Refusal::ClientIdInvalid),
    );
    check("long id", refused(connect5(&"x".repeat(257), 60, &[], 2, &[]), &[0x20, 3, 0, 0x85, 0], Refusal::ClientIdInvalid));
    check("[MQTT-3.2.2-12]", refused(will(0x16), &[0x20, 3, 0, 0x9B, 0], Refusal::WillQosNotSupported));
    check("[MQTT-3.2.2-13]", refused(will(0x26), &[0x20, 3, 0, 0x9A, 0], Refusal::WillRetainNotSupported));
    let method = connect5("id", 60, b"\x15\x00\x01m", 2, &[]);
    check("4.12", refused(method, &[0x20, 3, 0, 0x8C, 0], Refusal::AuthenticationMethod));
    let small = connect5("id", 60, &[0x27, 0, 0, 0, 127], 2, &[]);
    check("CONNACK does not fit", refused(small, &[0x20, 3, 0, 0x95, 0], Refusal::PacketSizeTooSmall));
    check("[MQTT-3.1.2-2] 6", refused(level(6), &[0x20, 3, 0, 0x84, 0], Refusal::Version(6)));
    check("[MQTT-3.1.2-2] 3", refused(level(3), &[0x20, 2, 0, 1], Refusal::Version(3)));
    check("a bridge's 0x84", refused(level(0x84), &[0x20, 2, 0, 1], Refusal::Version(0x84)));
}

#[test]
fn the_shard_refuses_with_the_code_of_the_version() {
    for (refusal, code4, code5) in [
        (Refusal::BadCredential, 5, 0x86),
        (Refusal::NotAuthorized, 5, 0x87),
        (Refusal::Unavailable, 3, 0x88),
        (Refusal::RateExceeded, 3, 0x9F),
    ] {
        let admit: &[&str] = &["admit bad/id/false"];
        let connack4 = vec![0x20, 2, 0, code4];
        check("3.1.1", vec![Feed(connect4("id", 0x82, 9, "bad"), admit), Refuse(refusal), Sends(connack4), Admit, Sends(vec![])]);
        let connect5 = connect5("id", 9, &[], 0x82, &[&string("bad")]);
        check("5", vec![Feed(connect5, admit), Refuse(refusal), Sends(vec![0x20, 3, 0, code5, 0]), Feed(vec![0xC0, 0], &[])]);
    }
}

#[test]
fn what_is_not_a_connect_ends_without_an_answer() {
    for (name, bytes, reason) in [
        ("[MQTT-3.1.0-1]", vec![0xC0], Reason::UnexpectedPacket),
        ("HTTP", b"GET / HTTP/1.1".to_vec(), Reason::UnexpectedPacket),
        ("TLS", vec![0x16, 3, 1], Reason::Decode(DecodeError::ProtocolName)),
        ("[MQTT-3.1.2-1]", packet(0x10, &[b"\x00\x04MQTX\x04\x02\0\0\0\0"]), Reason::Decode(DecodeError::ProtocolName)),
        ("[MQTT-3.1.2-3]", connect4("id", 3, 60, ""), Reason::Decode(DecodeError::ConnectFlags)),
        ("too large", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F], Reason::Decode(DecodeError::PacketTooLarge)),
    ] {
        if name == "TLS" {
            // A TLS hello looks like a CONNECT with wrong flags whose length is 3: it ends when its body is there.
            check(name, vec![Break(vec![0x16, 3, 1, 0, 0], &[], Reason::Decode(DecodeError::HeaderFlags)), Sends(vec![])]);
        } else {
            check(name, vec![Break(bytes, &[], reason), Sends(vec![])]);
        }
    }
}

#[test]
fn connack_tells_mqtt_5_what_there_is() {
    check("session expiry is taken back", ready5(&[0x11, 0, 0, 0, 9], vec![]));
    let ask = |keep_alive| connect5("", keep_alive, &[], 2, &[]);
    let id = format!("tidegate-{:016x}", START.nanos());
    let assigned = [&[0x12][..], &string(&id)].concat();
    check("[MQTT-3.2.2-16]", vec![Feed(ask(60), &["admit //false"]), Admit, Sends(accepted5(false, &assigned))]);
    let capped = [&[0x13, 0x0E, 0x10][..], &assigned].concat();
    check("[MQTT-3.2.2-21] capped", vec![Feed(ask(3_601), &["admit //false"]), Admit, Sends(accepted5(false, &capped))]);
    check("[MQTT-3.2.2-21] none", vec![Feed(ask(0), &["admit //false"]), Admit, Sends(accepted5(false, &capped))]);
}

#[test]
fn topics_become_intents() {
    let own = |rest: &str| format!("v1/devices/me/{rest}");
    for (topic, intent) in [
        (own("telemetry"), "telemetry - {}"),
        (own("attributes"), "attributes - {}"),
        (own("attributes/request/1"), "request 1 - {}"),
        (own("rpc/request/4294967295"), "call 4294967295 - {}"),
        (own("rpc/response/0"), "answer 0 - {}"),
        (own("rpc/response/4294967296"), "unknown -"),
        (own("rpc/response/+1").replace('+', "-"), "unknown -"),
        (own("rpc/response/"), "unknown -"),
        (own("rpc/request"), "unknown -"),
        (own("attributes/response/1"), "unknown -"),
        (own("telemetry/"), "unknown -"),
        (String::from("/v1/devices/me/telemetry"), "unknown -"),
        (String::from("v1/devices/other/telemetry"), "unknown -"),
        (String::from("x"), "unknown -"),
    ] {
        let mut session = Session::new(START);
        feed(&mut session, &connect4("id", 2, 60, ""), START);
        session.admit(START);
        assert_eq!(feed(&mut session, &publish4(0x30, &topic, None, b"{}"), START), (texts(&[intent]), None), "{topic}");
        assert!(!session.blocked() && session.unsettled() == 0);
    }
}

#[test]
fn acks_leave_in_arrival_order_and_say_what_happened() {
    let three4 = [1, 2, 3].map(|id| publish4(0x32, TELEMETRY, Some(id), b"{}")).concat();
    let expected: &[&str] = &["telemetry 0 {}", "telemetry 1 {}", "telemetry 2 {}"];
    check(
        "[MQTT-4.6.0-2] 3.1.1",
        ready4(vec![
            Feed(three4.clone(), expected),
            Settle(1, Outcome::Stored),
            Sends(vec![]),
            Settle(0, Outcome::TopicInvalid),
            Sends(vec![0x40, 2, 0, 1, 0x40, 2, 0, 2]),
            Settle(0, Outcome::Stored),
            SettleBreaks(2, Outcome::PayloadInvalid, Reason::PayloadInvalid),
            Settle(2, Outcome::Stored),
            Sends(vec![]),
        ]),
    );
    let three5 = [1, 2, 3].map(|id| publish5(0x3A, TELEMETRY, Some(id), &[], b"{}")).concat();
    check(
        "[MQTT-4.6.0-2] 5",
        ready5(
            &[],
            vec![
                Feed(three5, expected),
                Settle(2, Outcome::QuotaExceeded),
                Settle(1, Outcome::PayloadInvalid),
                Settle(0, Outcome::TopicInvalid),
                Sends(vec![0x40, 3, 0, 1, 0x90, 0x40, 3, 0, 2, 0x99, 0x40, 3, 0, 3, 0x97]),
                Feed(publish5(0x32, "x", Some(9), &[], b""), &["unknown 3"]),
                Settle(3, Outcome::Unspecified),
                Sends(vec![0x40, 3, 0, 9, 0x80]),
            ],
        ),
    );
    for outcome in [Outcome::QuotaExceeded, Outcome::Unspecified] {
        let reason = outcome.close_reason().unwrap();
        check(
            "3.1.1 has no failure",
            ready4(vec![Feed(three4.clone(), expected), SettleBreaks(0, outcome, reason), Sends(vec![])]),
        );
    }
}

#[test]
fn a_refused_qos_0_message_closes_unless_only_its_topic_is_wrong() {
    for (properties, code) in [(None, vec![]), (Some(&[][..]), vec![0xE0, 1, 0x99])] {
        let mut session = Session::new(START);
        let connect = properties.map_or_else(|| connect4("id", 2, 60, ""), |properties| connect5("id", 60, properties, 2, &[]));
        feed(&mut session, &connect, START);
        session.admit(START);
        session.output().clear();
        assert_eq!(session.refuse_unacked(Outcome::TopicInvalid), Ok(()));
        assert_eq!(session.refuse_unacked(Outcome::Stored), Ok(()));
        let close = session.refuse_unacked(Outcome::PayloadInvalid).unwrap_err();
        assert_eq!(close.reason, Reason::PayloadInvalid);
        session.close(close);
        assert_eq!(*session.output(), code);
    }
}

#[test]
fn unsettled_receipts_block_3_1_1_and_break_5() {
    let max = u16::try_from(limits::RECEIPTS_PER_CONNECTION_MAX).unwrap();
    let publishes = |make: &dyn Fn(u16) -> Vec<u8>| (1..=max + 1).flat_map(make).collect::<Vec<u8>>();
    let mut session = Session::new(START);
    feed(&mut session, &connect4("id", 2, 60, ""), START);
    session.admit(START);
    let bytes = publishes(&|id| publish4(0x32, TELEMETRY, Some(id), b"{}"));
    let mut input = bytes.as_slice();
    while let Ok(Some(_)) = session.next(&mut input, START) {}
    assert!(session.blocked(), "DESIGN 8.1 (4): not read beyond 64");
    assert_eq!(input.len(), publish4(0x32, TELEMETRY, Some(1), b"{}").len());
    let later = START.after_ms(200_000);
    assert_eq!(session.elapse(later), None, "DESIGN 14: the silence is ours");
    assert!(session.deadline() > later);
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    assert!(!session.blocked());
    assert!(matches!(session.next(&mut input, later), Ok(Some(Intent::Telemetry { receipt: Some(Receipt(64)), .. }))));

    let mut session = Session::new(START);
    feed(&mut session, &connect5("id", 60, &[], 2, &[]), START);
    session.admit(START);
    session.output().clear();
    let bytes = publishes(&|id| publish5(0x32, TELEMETRY, Some(id), &[], b"{}"));
    let (intents, reason) = feed(&mut session, &bytes, START);
    assert_eq!((intents.len(), reason), (64, Some(Reason::ReceiveMaximumExceeded)), "[MQTT-3.3.4-7]");
    session.close(Close { reason: Reason::ReceiveMaximumExceeded });
    assert_eq!(*session.output(), [0xE0, 1, 0x93]);
}

#[test]
fn what_connack_excluded_closes_mqtt_5_with_its_code() {
    let disconnect = |code| Sends(vec![0xE0, 1, code]);
    for (name, bytes, reason, code) in [
        ("[MQTT-3.2.2-11]", publish5(0x34, TELEMETRY, Some(1), &[], b"{}"), Reason::QosNotSupported, 0x9B),
        ("[MQTT-3.2.2-14]", publish5(0x31, TELEMETRY, None, &[], b"{}"), Reason::RetainNotSupported, 0x9A),
        ("[MQTT-3.3.2-9]", publish5(0x30, "", None, &[0x23, 0, 1], b"{}"), Reason::TopicAliasInvalid, 0x94),
        ("alias 0", publish5(0x30, "", None, &[0x23, 0, 0], b""), Reason::Decode(DecodeError::TopicAliasZero), 0x94),
        ("3.2.2.3.12", subscribe5(1, &[0x0B, 1], &[(ATTRIBUTES, 0)]), Reason::SubscriptionIdsNotSupported, 0xA1),
        ("[MQTT-3.1.0-2]", connect5("id", 60, &[], 2, &[]), Reason::UnexpectedPacket, 0x82),
        ("PUBREL of no flow", packet(0x62, &[&[0, 1]]), Reason::UnexpectedPacket, 0x82),
        ("AUTH", packet(0xF0, &[&[0x18, 4, 0x15, 0, 1, b'm']]), Reason::UnexpectedPacket, 0x82),
        ("3.14.2.2.2", packet(0xE0, &[&[0, 5, 0x11, 0, 0, 0, 1]]), Reason::UnexpectedPacket, 0x82),
        ("server packet", vec![0xD0, 0], Reason::Decode(DecodeError::ServerPacket), 0x82),
        ("packet type 0", vec![0x00], Reason::Decode(DecodeError::PacketType), 0x81),
        ("[MQTT-3.2.2-15]", vec![0x30, 0xFF, 0xFF, 0x7F], Reason::Decode(DecodeError::PacketTooLarge), 0x95),
        ("[MQTT-3.3.2-2]", publish5(0x30, "a/#", None, &[], b""), Reason::Decode(DecodeError::TopicName), 0x90),
    ] {
        check(name, ready5(&[], vec![Break(bytes, &[], reason), disconnect(code)]));
        assert!(reason.is_protocol_error(), "{name}: counted");
    }
    let raised = packet(0xE0, &[&[4, 5, 0x11, 0, 0, 0, 1]]);
    check("expiry was not 0", ready5(&[0x11, 0, 0, 0, 9], vec![Feed(raised, &["disconnect true"]), Sends(vec![])]));
    check(
        "3.1.1 is told nothing",
        ready4(vec![Break(publish4(0x34, TELEMETRY, Some(1), b""), &[], Reason::QosNotSupported), Sends(vec![])]),
    );
    check("3.1.1 retain is ignored", ready4(vec![Feed(publish4(0x31, TELEMETRY, None, b"1"), &["telemetry - 1"])]));
    let large = vec![b' '; limits::PAYLOAD_BYTES_MAX + 1];
    check("payload bound", ready4(vec![Break(publish4(0x30, TELEMETRY, None, &large), &[], Reason::PacketTooLarge)]));
}

#[test]
fn only_the_devices_own_topics_can_be_subscribed() {
    let filters = [
        (ATTRIBUTES, 2),
        (RESPONSES, 0),
        ("v1/devices/me/rpc/request/+", 1),
        ("v1/devices/me/rpc/response/+", 1),
        ("#", 1),
        ("$share/g/x", 0),
    ];
    let unsubscribe = |id: u16, properties: &[u8], filters: &[&str]| {
        packet(0xA2, &[&id.to_be_bytes(), properties, &filters.iter().flat_map(|name| string(name)).collect::<Vec<u8>>()])
    };
    check(
        "[MQTT-3.8.4-6] 3.1.1",
        ready4(vec![
            Feed(subscribe4(7, &filters), &["subscribed"]),
            Sends(vec![0x90, 8, 0, 7, 1, 0, 1, 1, 0x80, 0x80]),
            Feed(unsubscribe(8, &[], &[ATTRIBUTES, "x"]), &["unsubscribed"]),
            Sends(vec![0xB0, 2, 0, 8]),
            Deliver(Downlink::AttributesUpdated { json: b"{}" }, Delivery::NotSubscribed),
            Deliver(Downlink::RpcRequest { id: 1, json: b"{}" }, Delivery::Queued),
        ]),
    );
    check(
        "[MQTT-3.8.4-6] 5",
        ready5(
            &[],
            vec![
                Feed(subscribe5(7, &[], &filters), &["subscribed"]),
                Sends(vec![0x90, 9, 0, 7, 0, 1, 0, 1, 1, 0x8F, 0x9E]),
                Feed(unsubscribe(8, &[0], &[ATTRIBUTES, ATTRIBUTES, "x"]), &["unsubscribed"]),
                Sends(vec![0xB0, 6, 0, 8, 0, 0, 0x11, 0x11]),
            ],
        ),
    );
    let many: Vec<_> = (0..200).map(|_| ("x", 0)).collect();
    let small = &[0x27, 0, 0, 0, 128];
    check("[MQTT-3.1.2-24]", ready5(small, vec![Break(subscribe5(1, &[], &many), &[], Reason::PacketTooLarge)]));
}

#[test]
fn downlinks_go_to_their_topic_with_the_granted_qos() {
    let json: &[u8] = b"{\"a\":1}";
    let updated = Downlink::AttributesUpdated { json };
    let response = Downlink::AttributesResponse { id: 42, json };
    check(
        "3.1.1",
        ready4(vec![
            Deliver(updated, Delivery::NotSubscribed),
            Feed(subscribe4(1, &[(ATTRIBUTES, 0), (RESPONSES, 1)]), &["subscribed"]),
            Sends(vec![0x90, 4, 0, 1, 0, 1]),
            Deliver(updated, Delivery::Queued),
            Sends(publish4(0x30, ATTRIBUTES, None, json)),
            Deliver(response, Delivery::Queued),
            Sends(publish4(0x32, "v1/devices/me/attributes/response/42", Some(1), json)),
            Deliver(Downlink::RpcResponse { id: 1, json }, Delivery::NotSubscribed),
            Do::Close(Reason::TakenOver),
            Deliver(updated, Delivery::NotSubscribed),
            Sends(vec![]),
        ]),
    );
    // Receive maximum 1, maximum packet size 128.
    let bounds = &[0x21, 0, 1, 0x27, 0, 0, 0, 128];
    check(
        "5",
        ready5(
            bounds,
            vec![
                Feed(subscribe5(1, &[], &[(ATTRIBUTES, 0), (RESPONSES, 1)]), &["subscribed"]),
                Sends(vec![0x90, 5, 0, 1, 0, 0, 1]),
                Deliver(response, Delivery::Queued),
                Sends(publish5(0x32, "v1/devices/me/attributes/response/42", Some(1), &[], json)),
                Deliver(response, Delivery::Full),
                Deliver(updated, Delivery::Queued),
                Sends(publish5(0x30, ATTRIBUTES, None, &[], json)),
                Feed(vec![0x40, 2, 0, 9, 0x40, 3, 0, 1, 0], &[]),
                Deliver(response, Delivery::Queued),
                Sends(publish5(0x32, "v1/devices/me/attributes/response/42", Some(2), &[], json)),
                Deliver(Downlink::AttributesUpdated { json: &[b' '; 100] }, Delivery::TooLarge),
            ],
        ),
    );
}

#[test]
fn downlinks_are_bounded_in_number_and_bytes() {
    let mut session = Session::new(START);
    feed(&mut session, &connect4("id", 2, 60, ""), START);
    session.admit(START);
    feed(&mut session, &subscribe4(1, &[(ATTRIBUTES, 0), (RESPONSES, 1)]), START);
    let json = &[b' '; 60_000][..];
    let response = Downlink::AttributesResponse { id: 1, json: b"{}" };
    let queued = (0..100).take_while(|_| session.deliver(response, START) == Delivery::Queued).count();
    assert_eq!(queued, limits::DOWNLINKS_IN_FLIGHT_MAX);
    let updated = Downlink::AttributesUpdated { json };
    let queued = (0..100).take_while(|_| session.deliver(updated, START) == Delivery::Queued).count();
    assert_eq!(queued, 4);
    assert!(session.output().len() <= limits::OUTBOX_BYTES_MAX);
    let pings = [0xC0, 0].repeat(limits::OUTBOX_BYTES_MAX);
    let (_, reason) = feed(&mut session, &pings, START);
    assert_eq!(reason, Some(Reason::SlowPeer), "a peer that only asks and never reads is closed");
}

#[test]
fn silence_ends_a_connection() {
    check("no CONNECT", vec![Elapse(9_999, None), Elapse(1, Some(Reason::ConnectTimeout)), Sends(vec![])]);
    let connect: Vec<u8> = connect4("id", 2, 60, "");
    let refused = Some(Reason::Refused(Refusal::Unavailable));
    check("we took too long", vec![Feed(connect, &["admit /id/false"]), Elapse(10_000, refused), Sends(vec![0x20, 2, 0, 3])]);
    check("[MQTT-3.1.2-24] 3.1.1", ready4(vec![Elapse(89_999, None), Elapse(1, Some(Reason::KeepAlive)), Sends(vec![])]));
    check("[MQTT-3.1.2-22] 5", ready5(&[], vec![Elapse(90_000, Some(Reason::KeepAlive)), Sends(vec![0xE0, 1, 0x8D])]));
    check(
        "[MQTT-3.12.4-1]: a ping restarts it",
        ready4(vec![Elapse(89_999, None), Feed(vec![0xC0, 0], &["ping"]), Sends(vec![0xD0, 0]), Elapse(89_999, None)]),
    );
    check(
        "half a packet does not",
        ready4(vec![Elapse(89_999, None), Feed(vec![0xC0], &[]), Elapse(1, Some(Reason::KeepAlive))]),
    );
    check(
        "DESIGN 14: our own pause does not count",
        ready4(vec![
            Pause,
            Elapse(900_000, None),
            Elapse(60_000, None),
            Resume,
            Elapse(89_999, None),
            Elapse(1, Some(Reason::KeepAlive)),
        ]),
    );
}

#[test]
fn the_server_says_why_it_leaves() {
    for (reason, code) in [
        (Reason::TakenOver, Some(0x8E)),
        (Reason::Revoked, Some(0x98)),
        (Reason::ShuttingDown, Some(0x8B)),
        (Reason::Unavailable, Some(0x89)),
        (Reason::PeerClosed, None),
        (Reason::SlowPeer, None),
    ] {
        let disconnect = code.map_or_else(Vec::new, |code| vec![0xE0, 1, code]);
        check(
            "5",
            ready5(&[], vec![Do::Close(reason), Sends(disconnect), Do::Close(reason), Sends(vec![]), Feed(vec![0xC0, 0], &[])]),
        );
        check("[MQTT-3.14.0-1]: not before CONNACK", vec![Do::Close(reason), Sends(vec![])]);
        check("3.1.1 has none", ready4(vec![Do::Close(reason), Sends(vec![])]));
        assert!(!reason.is_protocol_error());
    }
    check(
        "3.1.1 goodbye",
        ready4(vec![Feed(vec![0xE0, 0, 0xC0, 0], &["disconnect false"]), Do::Close(Reason::PeerClosed), Sends(vec![])]),
    );
    check("[MQTT-3.14.4-3]", ready5(&[], vec![Feed(vec![0xE0, 1, 4], &["disconnect true"]), Sends(vec![])]));
}

#[test]
fn an_idle_session_holds_no_heap() {
    let mut session = Session::new(START);
    feed(&mut session, &connect4("id", 2, 60, ""), START);
    session.admit(START);
    session.output().clear();
    assert_eq!(session.output().capacity(), 0);
}

/// A script of the harness that reaches past CONNECT: raw bytes alone seldom do.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let deed = prop_oneof![
        6 => (1_u8..=7, 4_u8..=20).prop_map(|(deed, packet)| vec![deed, packet]),
        4 => (8_u8..=10, 0_u8..128).prop_map(|(deed, argument)| vec![deed, argument]),
        2 => (11_u8..=14, any::<u8>()).prop_map(|(deed, argument)| vec![deed, argument]),
        1 => (8_u8..=15, any::<u8>()).prop_map(|(deed, argument)| vec![deed, argument]),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            [&[0, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
        }),
    ];
    let deeds = prop::collection::vec(deed, 0..200);
    (0_u8..4, deeds).prop_map(|(connect, deeds)| [&[1, connect, 13, 1], deeds.concat().as_slice()].concat())
}

/// At least 2,000 cases; more if PROPTEST_CASES says so.
fn cases() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(2_000), failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_hold_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_sequence_of_packets_and_deeds_holds_the_rules(script in script()) {
        harness::any(&script);
    }

    /// How the network cuts the stream changes nothing.
    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(1_usize..30, 1..40)) {
        let stream = [
            connect4("id", 2, 60, ""),
            subscribe4(1, &[(ATTRIBUTES, 1)]),
            publish4(0x32, TELEMETRY, Some(1), b"{\"a\":1}"),
            publish4(0x30, ATTRIBUTES, None, b"{}"),
            vec![0xC0, 0],
            publish4(0x32, "x", Some(2), b""),
            vec![0xE0, 0],
        ].concat();
        let mut session = Session::new(START);
        let (mut intents, mut inbox, mut rest, mut cuts) = (Vec::new(), Vec::new(), stream.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = later;
            inbox.extend_from_slice(now);
            let mut input = inbox.as_slice();
            while let Some(intent) = session.next(&mut input, START).unwrap() {
                intents.push(text(&intent));
                if matches!(intent, Intent::Admit(_)) {
                    session.admit(START);
                }
            }
            inbox = input.to_vec();
        }
        let messages = ["telemetry 0 {\"a\":1}", "attributes - {}", "ping", "unknown 1"];
        let expected = [&["admit /id/false", "subscribed"][..], &messages, &["disconnect false"]].concat();
        prop_assert_eq!(intents, expected);
    }
}
