//! PUBLISH of the client: topics, acknowledgements, what one connection may have under way.

use super::*;

#[test]
fn topics_become_operations() {
    for (topic, intent) in [
        ("v1/devices/me/telemetry", "telemetry - {}"),
        ("v1/devices/me/attributes", "attributes - {}"),
        ("v1/devices/me/claim", "claim - {}"),
        ("v1/devices/me/attributes/request/1", "request 1 - {}"),
        ("v1/devices/me/rpc/request/4294967295", "call 4294967295 - {}"),
        ("v1/devices/me/rpc/response/0", "answer 0 - {}"),
        ("v2/t", "telemetry - {}"),
        ("v2/t/j", "telemetry/j - {}"),
        ("v2/t/p", "telemetry/p - {}"),
        ("v2/a", "attributes - {}"),
        ("v2/a/j", "attributes/j - {}"),
        ("v2/a/p", "attributes/p - {}"),
        ("v2/a/req/7", "request 7 - {}"),
        ("v2/a/req/j/7", "request/j 7 - {}"),
        ("v2/a/req/p/7", "request/p 7 - {}"),
        ("v2/r/req/8", "call 8 - {}"),
        ("v2/r/req/j/8", "call/j 8 - {}"),
        ("v2/r/req/p/8", "call/p 8 - {}"),
        ("v2/r/res/9", "answer 9 - {}"),
        ("v2/r/res/j/9", "answer/j 9 - {}"),
        ("v2/r/res/p/9", "answer/p 9 - {}"),
        ("v2/fw/request/3/chunk/0", "chunk Firmware 3 0 - {}"),
        ("v2/sw/request/3/chunk/12", "chunk Software 3 12 - {}"),
        ("up/x/7", "telemetry - {}"),
        ("own/attributes", "attributes - {}"),
        ("own/attributes/deep/er", "attributes - {}"),
    ] {
        check_topic(topic, intent);
    }
}

#[test]
fn other_topics_are_unknown() {
    // [MQTT-1.5.4-3], [MQTT-4.7.3-4].
    for topic in [
        "v1/devices/me/rpc/response/4294967296",
        "v1/devices/me/rpc/response/-1",
        "v1/devices/me/rpc/response/ 1",
        "v1/devices/me/rpc/response/",
        "v1/devices/me/rpc/request",
        "v1/devices/me/attributes/response/1",
        "v1/devices/me/telemetry/",
        "v1/devices/me/Telemetry",
        "/v1/devices/me/telemetry",
        "v1/devices/other/telemetry",
        "v1/devices/me/telemetry\u{FEFF}",
        "v1/gateway/telemetry",
        "v2/t/x",
        "v2/t/",
        "v2",
        "v2/",
        "v2/a/res/1",
        "v2/a/req/x/7",
        "v2/a/req/j",
        "v2/fw/request/3/chunk/",
        "v2/fw/request//chunk/0",
        "v2/fw/request/chunk/0",
        "v2/xw/request/3/chunk/0",
        "v2/fw/response/3/chunk/0",
        "/provision/request",
        "down/here",
        "up/x",
        "up/x/7/8",
        "x",
    ] {
        check_topic(topic, "unknown -");
    }
}

/// To a device that is no gateway and whose profile has topics of its own.
fn check_topic(topic: &str, intent: &str) {
    let topics =
        Topics { telemetry: "up/+/7".into(), attributes: "own/attributes/#".into(), attributes_subscribe: "down/+".into() };
    let admission = Admission { topics: Some(Arc::new(topics)), ..Admission::default() };
    let mut session = admitted(&connect4("id", 2, 60, ""), admission);
    let bytes = publish4(0x30, topic, None, b"{}");
    assert_eq!(feed(&mut session, &bytes, START), (vec![String::from(intent)], None), "{topic}");
    assert!(!session.blocked() && session.unsettled() == 0);
}

#[test]
fn gateways_speak_of_their_children() {
    for (operation, intent) in [
        ("connect", "gateway Connect - {}"),
        ("disconnect", "gateway Disconnect - {}"),
        ("telemetry", "gateway Telemetry - {}"),
        ("attributes", "gateway Attributes - {}"),
        ("attributes/request", "gateway AttributesRequest - {}"),
        ("rpc", "gateway Rpc - {}"),
        ("claim", "gateway Claim - {}"),
        ("attributes/response", "unknown -"),
        ("nonsense", "unknown -"),
    ] {
        let mut session = admitted(&connect4("id", 2, 60, ""), Admission { gateway: true, ..Admission::default() });
        let bytes = publish4(0x30, &format!("v1/gateway/{operation}"), None, b"{}");
        assert_eq!(feed(&mut session, &bytes, START), (vec![String::from(intent)], None), "{operation}");
    }
}

#[test]
fn whoever_comes_to_be_provisioned_may_do_nothing_else() {
    let admission = Admission { provisioning: true, gateway: true, ..Admission::default() };
    let mut session = admitted(&connect4("provision", 2, 60, ""), admission);
    for (topic, intent) in [
        ("/provision/request", "provision - {}"),
        (TELEMETRY, "unknown -"),
        ("v2/t", "unknown -"),
        ("v1/gateway/rpc", "unknown -"),
    ] {
        let bytes = publish4(0x30, topic, None, b"{}");
        assert_eq!(feed(&mut session, &bytes, START), (vec![String::from(intent)], None), "{topic}");
    }
    let filters = [("/provision/response", 1), (ATTRIBUTES, 1), ("v1/gateway/rpc", 1), ("v2/a/res/7", 1)];
    feed(&mut session, &subscribe4(1, &filters), START);
    assert_eq!(*session.output(), [0x90, 6, 0, 1, 1, 0x80, 0x80, 0x80]);
    session.output().clear();
    assert_eq!(session.answer(None, Downlink::Provisioned { json: b"{}" }, START), Ok(Delivery::Queued));
    assert_eq!(*session.output(), publish4(0x32, "/provision/response", Some(OWN), b"{}"));
}

#[test]
fn acks_leave_in_arrival_order_and_say_what_happened() {
    // [MQTT-4.3.2-4].
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
    let acks = [
        ack5(0x40, 1, Outcome::TopicInvalid, 0x90),
        ack5(0x40, 2, Outcome::PayloadInvalid, 0x99),
        ack5(0x40, 3, Outcome::QuotaExceeded, 0x97),
    ];
    check(
        "[MQTT-4.6.0-2] 5",
        ready5(
            &[],
            vec![
                Feed(three5, expected),
                Settle(2, Outcome::QuotaExceeded),
                Settle(1, Outcome::PayloadInvalid),
                Settle(0, Outcome::TopicInvalid),
                Sends(acks.concat()),
                Feed(publish5(0x32, "x", Some(9), &[], b""), &["unknown 3"]),
                Settle(3, Outcome::Unspecified),
                Sends(ack5(0x40, 9, Outcome::Unspecified, 0x80)),
            ],
        ),
    );
    for outcome in [Outcome::QuotaExceeded, Outcome::Unspecified, Outcome::Forbidden, Outcome::RateExceeded { retry_after_s: 3 }]
    {
        let reason = outcome.close_reason().unwrap();
        check(
            "3.1.1 has no failure",
            ready4(vec![Feed(three4.clone(), expected), SettleBreaks(0, outcome, reason), Sends(vec![])]),
        );
    }
}

#[test]
fn every_outcome_has_a_code_that_puback_may_carry() {
    let rate = Outcome::RateExceeded { retry_after_s: 7 };
    for (outcome, code) in [
        (Outcome::Stored, 0),
        (Outcome::PayloadInvalid, 0x99),
        (Outcome::TopicInvalid, 0x90),
        (Outcome::QuotaExceeded, 0x97),
        (rate, 0x97),
        (Outcome::NotFound, 0x83),
        (Outcome::Unauthorized, 0x87),
        (Outcome::Forbidden, 0x87),
        (Outcome::TimedOut, 0x83),
        (Outcome::Unavailable, 0x83),
        (Outcome::Unspecified, 0x80),
    ] {
        assert!(outcome.reason_code().is_of_puback(), "[MQTT-3.4.2-1], [MQTT-3.5.2-1]: {outcome:?}");
        let publish = publish5(0x32, TELEMETRY, Some(3), &[], b"");
        let silent = if code == 0 { vec![0x40, 2, 0, 3] } else { vec![0x40, 3, 0, 3, code] };
        let then = |ack| vec![Feed(publish.clone(), &["telemetry 0"]), Settle(0, outcome), Sends(ack)];
        check("with its reason string", ready5(&[], then(ack5(0x40, 3, outcome, code))));
        check("[MQTT-3.1.2-29]", ready5(&[0x17, 0], then(silent)));
    }
    assert_eq!(rate.text(), "more than a rate limit allows: try again in 7 s");
}

#[test]
fn a_refused_qos_0_message_closes_unless_only_its_topic_is_wrong() {
    let told = disconnect5(Reason::PayloadInvalid, 0x99);
    for (connect, code) in [(connect4("id", 2, 60, ""), vec![]), (connect5("id", 60, &[], 2, &[]), told)] {
        let mut session = admitted(&connect, Admission::default());
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
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    let bytes = publishes(&|id| publish4(if id % 2 == 0 { 0x32 } else { 0x34 }, TELEMETRY, Some(id), b"{}"));
    let mut input = bytes.as_slice();
    while let Ok(Some(_)) = session.next(&mut input, START) {}
    assert!(session.blocked(), "DESIGN 8.1 (4): not read beyond 64");
    assert_eq!(input.len(), publish4(0x32, TELEMETRY, Some(1), b"{}").len());
    let later = START.after_ms(200_000);
    assert_eq!(session.elapse(later), None, "DESIGN 14: the silence is ours");
    assert!(session.deadline() > later);
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    assert!(!session.blocked());
    assert_eq!(session.next(&mut input, later).unwrap().map(|intent| text(&intent)).as_deref(), Some("telemetry 64 {}"));

    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    let bytes = publishes(&|id| publish5(if id % 2 == 0 { 0x32 } else { 0x34 }, TELEMETRY, Some(id), &[], b"{}"));
    let (intents, reason) = feed(&mut session, &bytes, START);
    assert_eq!((intents.len(), reason), (64, Some(Reason::ReceiveMaximumExceeded)), "[MQTT-3.3.4-7]");
    session.close(Close { reason: Reason::ReceiveMaximumExceeded });
    assert_eq!(*session.output(), disconnect5(Reason::ReceiveMaximumExceeded, 0x93));
}

#[test]
fn the_receive_maximum_leaves_room_for_everything_but_publishes() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    let bytes: Vec<u8> = (1..=64).flat_map(|id| publish5(0x32, TELEMETRY, Some(id), &[], b"{}")).collect();
    assert_eq!(feed(&mut session, &bytes, START).0.len(), 64);
    let others = [vec![0xC0, 0], publish5(0x30, TELEMETRY, None, &[], b"1"), subscribe5(1, &[], &[(ATTRIBUTES, 1)])].concat();
    let expected = (texts(&["ping", "telemetry - 1", "subscribed"]), None);
    assert_eq!(feed(&mut session, &others, START), expected, "[MQTT-4.9.0-3]");
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    let one_more = publish5(0x32, TELEMETRY, Some(1), &[], b"{}");
    assert_eq!(feed(&mut session, &one_more, START), (texts(&["telemetry 64 {}"]), None), "[MQTT-4.3.2-5]");
}

#[test]
fn what_a_client_must_not_send_closes_with_its_code() {
    // [MQTT-4.13.1-1], [MQTT-4.13.2-1].
    use DecodeError::{PacketTooLarge, PacketType, ServerPacket, TopicAliasZero, TopicName};
    for (name, bytes, reason, code) in [
        ("alias 0", publish5(0x30, "", None, &[0x23, 0, 0], b""), Reason::Decode(TopicAliasZero), 0x94),
        ("[MQTT-3.3.2-9]", publish5(0x30, TELEMETRY, None, &[0x23, 0, 17], b""), Reason::TopicAliasInvalid, 0x94),
        ("[MQTT-3.3.2-9] alone", publish5(0x30, "", None, &[0x23, 0, 17], b""), Reason::TopicAliasInvalid, 0x94),
        ("3.3.4: not set", publish5(0x30, "", None, &[0x23, 0, 1], b""), Reason::UnexpectedPacket, 0x82),
        ("3.2.2.3.12", subscribe5(1, &[0x0B, 1], &[(ATTRIBUTES, 0)]), Reason::SubscriptionIdsNotSupported, 0xA1),
        ("[MQTT-3.1.0-2]", connect5("id", 60, &[], 2, &[]), Reason::UnexpectedPacket, 0x82),
        ("PUBREC of no flow", packet(0x50, &[&[0, 1]]), Reason::UnexpectedPacket, 0x82),
        ("PUBCOMP of no flow", packet(0x70, &[&[0, 1]]), Reason::UnexpectedPacket, 0x82),
        ("[MQTT-4.12.0-7]", packet(0xF0, &[&[0x18, 4, 0x15, 0, 1, b'm']]), Reason::UnexpectedPacket, 0x82),
        ("3.14.2.2.2", packet(0xE0, &[&[0, 5, 0x11, 0, 0, 0, 1]]), Reason::UnexpectedPacket, 0x82),
        ("server packet", vec![0xD0, 0], Reason::Decode(ServerPacket), 0x82),
        ("packet type 0", vec![0x00], Reason::Decode(PacketType), 0x81),
        ("[MQTT-3.2.2-15]", vec![0x30, 0xFF, 0xFF, 0x7F], Reason::Decode(PacketTooLarge), 0x95),
        ("[MQTT-3.3.2-2]", publish5(0x30, "a/#", None, &[], b""), Reason::Decode(TopicName), 0x90),
    ] {
        check(name, ready5(&[], vec![Break(bytes, &[], reason), Sends(disconnect5(reason, code))]));
        assert!(reason.is_protocol_error(), "{name}: counted");
    }
    let large = vec![b' '; limits::PAYLOAD_BYTES_MAX + 1];
    check("payload bound", ready4(vec![Break(publish4(0x30, TELEMETRY, None, &large), &[], Reason::PacketTooLarge)]));
}

#[test]
fn the_retain_flag_changes_nothing() {
    let publish = |first| Feed(publish5(first, TELEMETRY, Some(1), &[], b"1"), &["telemetry 0 1"]);
    let ack = || Sends(vec![0x40, 2, 0, 1]);
    check("5", ready5(&[], vec![publish(0x33), Settle(0, Outcome::Stored), ack()]));
    check("3.1.1", ready4(vec![Feed(publish4(0x31, TELEMETRY, None, b"1"), &["telemetry - 1"])]));
    let subscribe = |options| Feed(subscribe5(2, &[], &[(ATTRIBUTES, options)]), &["subscribed"]);
    let retained = Feed(publish5(0x31, ATTRIBUTES, None, &[], b"1"), &["attributes - 1"]);
    let then = vec![retained, subscribe(0), Sends(vec![0x90, 4, 0, 2, 0, 0]), subscribe(0x10), Sends(vec![0x90, 4, 0, 2, 0, 0])];
    check("nothing is retained for subscribers", ready5(&[], then));
}

#[test]
fn an_alias_stands_for_its_topic() {
    let set = |alias: u8, topic: &str| publish5(0x30, topic, None, &[0x23, 0, alias], b"1");
    let said = |alias: u8| publish5(0x30, "", None, &[0x23, 0, alias], b"2");
    check(
        "[MQTT-3.3.2-12]",
        ready5(
            &[],
            vec![
                Feed(
                    [set(1, TELEMETRY), set(16, "v2/a/j"), said(1), said(16)].concat(),
                    &["telemetry - 1", "attributes/j - 1", "telemetry - 2", "attributes/j - 2"],
                ),
                Feed(
                    [set(1, "x"), said(1), set(1, ATTRIBUTES), said(1)].concat(),
                    &["unknown -", "unknown -", "attributes - 1", "attributes - 2"],
                ),
                Break(said(2), &[], Reason::UnexpectedPacket),
            ],
        ),
    );
    check("[MQTT-3.3.2-7]", ready5(&[], vec![Break(said(1), &[], Reason::UnexpectedPacket)]));
}

#[test]
fn properties_that_nobody_here_needs_are_taken() {
    let properties =
        [&[1, 1][..], &[2, 0, 0, 0, 9], &[3, 0, 1, b'c'], &[0x26, 0, 1, b'n', 0, 1, b'v'], &[0x26, 0, 0, 0, 0]].concat();
    check("3.3.2.3", ready5(&[], vec![Feed(publish5(0x30, TELEMETRY, None, &properties, b"{}"), &["telemetry - {}"])]));
    let expired = publish5(0x34, TELEMETRY, Some(1), &[2, 0, 0, 0, 0], b"{}");
    check(
        "[MQTT-4.3.3-13]",
        ready5(
            &[],
            vec![
                Feed(expired, &["telemetry 0 {}"]),
                Settle(0, Outcome::Stored),
                Feed(packet(0x62, &[&[0, 1]]), &[]),
                Sends(vec![0x50, 2, 0, 1, 0x70, 2, 0, 1]),
            ],
        ),
    );
}

#[test]
fn an_idle_session_holds_no_heap() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    assert_eq!(session.output().capacity(), 0);
    assert!(session.rare_is_absent());
    let flow = [publish5(0x34, TELEMETRY, Some(1), &[], b""), packet(0x62, &[&[0, 1]])];
    feed(&mut session, &flow[0], START);
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    assert!(!session.rare_is_absent());
    feed(&mut session, &flow[1], START);
    assert!(session.rare_is_absent(), "gone when its flow is over");
}
