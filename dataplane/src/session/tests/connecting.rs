//! CONNECT and its answer.

use super::*;

#[test]
fn connect_is_offered_once_and_nothing_behind_it_is_parsed_before_the_answer() {
    // [MQTT-3.1.4-5].
    let connect = connect4("id", 0xC2, 60, "tok");
    let with_password = [&connect[..1], &[connect[1] + 4], &connect[2..], b"\x00\x02pw", &[0xC0, 0]].concat();
    let mut session = Session::new(START);
    let mut input = with_password.as_slice();
    let intent = session.next(&mut input, START).unwrap().unwrap();
    assert_eq!(text(&intent), "admit tok/id/true");
    assert_eq!(session.next(&mut input, START), Ok(None));
    assert_eq!(input, [0xC0, 0], "the PINGREQ waits unparsed");
    assert!(session.output().is_empty() && !session.connected());
    session.admit(Admission::default(), START);
    assert_eq!(session.next(&mut input, START), Ok(Some(Intent::Ping)));
    assert_eq!(*session.output(), [0x20, 2, 0, 0, 0xD0, 0], "[MQTT-3.2.0-1]: CONNACK first");
    assert!(session.connected());
    session.admit(Admission::default(), START);
    session.refuse(Refusal::BadCredential);
    assert_eq!(*session.output(), [0x20, 2, 0, 0, 0xD0, 0], "[MQTT-3.2.0-2]: one CONNACK");
}

#[test]
fn connects_that_are_refused_get_the_code_of_their_version() {
    let level = |level: u8| packet(0x10, &[b"\x00\x04MQTT", &[level, 2, 0, 0, 0, 0]]);
    let refused = |bytes, connack: &[u8], refusal| vec![Break(bytes, &[], Reason::Refused(refusal)), Sends(connack.to_vec())];
    let refused5 = |bytes, code, refusal| vec![Break(bytes, &[], Reason::Refused(refusal)), Sends(refusal5(refusal, code))];
    check("[MQTT-3.1.3-8] 3.1.1", refused(connect4("", 0x80, 60, "t"), &[0x20, 2, 0, 2], Refusal::ClientIdInvalid));
    check(
        "MQTT 3.1 has no empty id",
        refused(packet(0x10, &[b"\x00\x06MQIsdp\x03\x02\0\0\0\0"]), &[0x20, 2, 0, 2], Refusal::ClientIdInvalid),
    );
    check("[MQTT-3.1.3-8]", refused5(connect5(&"x".repeat(257), 60, &[], 2, &[]), 0x85, Refusal::ClientIdInvalid));
    let method = connect5("id", 60, b"\x15\x00\x01m", 2, &[]);
    check("[MQTT-4.12.0-1]", refused5(method, 0x8C, Refusal::AuthenticationMethod));
    check("[MQTT-3.1.2-2] 6", refused5(level(6), 0x84, Refusal::Version(6)));
    check("[MQTT-3.1.2-2] 3", refused(level(3), &[0x20, 2, 0, 1], Refusal::Version(3)));
    check("a bridge's 0x84", refused(level(0x84), &[0x20, 2, 0, 1], Refusal::Version(0x84)));
}

#[test]
fn a_client_that_takes_next_to_nothing_is_told_only_what_it_takes() {
    let connect = |bytes: u8| connect5("id", 60, &[0x27, 0, 0, 0, bytes], 2, &[]);
    let refused = |bytes, connack: &[u8]| {
        let reason = Reason::Refused(Refusal::PacketSizeTooSmall);
        vec![Break(connect(bytes), &[], reason), Sends(connack.to_vec())]
    };
    check("[MQTT-3.1.2-24]", refused(4, &[]));
    check("[MQTT-3.2.2-19]", refused(5, &[0x20, 3, 0, 0x95, 0]));
    check("[MQTT-3.2.2-19] almost", refused(60, &[0x20, 3, 0, 0x95, 0]));
    check("with its reason string", refused(127, &refusal5(Refusal::PacketSizeTooSmall, 0x95)));
    check("enough", vec![Feed(connect(128), &["admit /id/false"])]);
}

#[test]
fn the_shard_refuses_with_the_code_of_the_version() {
    // [MQTT-3.1.4-2], [MQTT-3.1.4-6], [MQTT-3.2.2-6], [MQTT-3.2.2-7].
    for (refusal, code4, code5) in [
        (Refusal::BadCredential, 5, 0x86),
        (Refusal::NotAuthorized, 5, 0x87),
        (Refusal::Unavailable, 3, 0x88),
        (Refusal::RateExceeded, 3, 0x9F),
        (Refusal::WillTopicInvalid, 5, 0x90),
    ] {
        let asked: &[&str] = &["admit bad/id/false"];
        let connack4 = vec![0x20, 2, 0, code4];
        let then = vec![Refuse(refusal), Sends(connack4), admit(), Sends(vec![]), Feed(vec![0xC0, 0], &[])];
        check("3.1.1", [vec![Feed(connect4("id", 0x82, 9, "bad"), asked)], then].into_iter().flatten().collect());
        let connect5 = connect5("id", 9, &[], 0x82, &[&string("bad")]);
        let connack5 = refusal5(refusal, code5);
        check("5", vec![Feed(connect5, asked), Refuse(refusal), Sends(connack5), Feed(vec![0xC0, 0], &[])]);
    }
}

#[test]
fn what_is_not_a_connect_ends_without_an_answer() {
    // [MQTT-3.1.4-1].
    for (name, bytes, reason) in [
        ("[MQTT-3.1.0-1]", vec![0xC0], Reason::UnexpectedPacket),
        ("HTTP", b"GET / HTTP/1.1".to_vec(), Reason::UnexpectedPacket),
        ("[MQTT-3.1.2-1]", packet(0x10, &[b"\x00\x04MQTX\x04\x02\0\0\0\0"]), Reason::Decode(DecodeError::ProtocolName)),
        ("[MQTT-3.1.2-3]", connect4("id", 3, 60, ""), Reason::Decode(DecodeError::ConnectFlags)),
        ("too large", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F], Reason::Decode(DecodeError::PacketTooLarge)),
        // A TLS hello looks like a CONNECT with wrong flags whose length is 3: it ends when its body is there.
        ("TLS", vec![0x16, 3, 1, 0, 0], Reason::Decode(DecodeError::HeaderFlags)),
    ] {
        check(name, vec![Break(bytes, &[], reason), Sends(vec![])]);
    }
}

#[test]
fn connack_tells_mqtt_5_what_there_is() {
    // [MQTT-3.1.2-28], [MQTT-3.1.3-7], [MQTT-3.2.2-1].
    let ask = |keep_alive| connect5("", keep_alive, &[], 2, &[]);
    for (name, keep_alive, granted) in [
        ("[MQTT-3.2.2-16]", 60, &[][..]),
        ("[MQTT-3.2.2-21] capped", 3_601, &[0x13, 0x0E, 0x10]),
        ("[MQTT-3.2.2-21] none", 0, &[0x13, 0x0E, 0x10]),
    ] {
        let mut session = Session::new(START);
        feed(&mut session, &ask(keep_alive), START);
        let id = session.assigned_client_id().unwrap();
        session.admit(Admission::default(), START);
        let expected = accepted5(None, &[granted, &[0x12], &string(&id)].concat());
        assert_eq!(*session.output(), expected, "{name}");
    }
}

#[test]
fn an_identifier_is_assigned_while_connect_waits() {
    let mut session = Session::new(START);
    assert_eq!(session.assigned_client_id(), None);
    feed(&mut session, &connect5("", 60, &[], 2, &[]), START);
    let first = session.assigned_client_id().unwrap();
    assert!(first.len() <= 25);
    let mut second = Session::new(START);
    feed(&mut second, &connect5("", 60, &[], 2, &[]), START);
    assert_ne!(second.assigned_client_id().unwrap(), first, "[MQTT-3.1.3-6]: also at the same moment");
    session.admit(Admission::default(), START.after_ms(9));
    assert_eq!(session.assigned_client_id(), None, "only while it is asked for");
    let mut named = Session::new(START);
    feed(&mut named, &connect5("me", 60, &[], 2, &[]), START);
    assert_eq!(named.assigned_client_id(), None);
    let mut old = Session::new(START);
    feed(&mut old, &connect4("", 2, 60, ""), START);
    assert_eq!(old.assigned_client_id(), None, "nothing could say it");
}

#[test]
fn sessions_are_kept_as_long_as_asked_up_to_a_bound() {
    // [MQTT-3.1.2-6].
    let longest = limits::SESSION_EXPIRY_S_MAX;
    let text: &[&str] = &["admit /id/false 604800 s"];
    let ever = connect5("id", 60, &[0x11, 0xFF, 0xFF, 0xFF, 0xFF], 2, &[]);
    let grant = |expiry_s| Admit(Admission { expiry_s, ..Admission::default() });
    check("5: what is kept is said", vec![Feed(ever.clone(), text), grant(longest), Sends(accepted5(Some(longest), &[]))]);
    check("5: taken back", vec![Feed(ever, text), grant(0), Sends(accepted5(Some(0), &[]))]);
    let nine = connect5("id", 60, &[0x11, 0, 0, 0, 9], 0, &[]);
    let resumed: &[&str] = &["admit /id/false resume 9 s"];
    check("5: as asked", vec![Feed(nine, resumed), grant(9), Sends(accepted5(None, &[]))]);
    check("5: 0 is 0", vec![Feed(connect5("id", 60, &[0x11, 0, 0, 0, 0], 2, &[]), &["admit /id/false"])]);
    check("3.1.1: without end", vec![Feed(connect4("id", 0, 60, ""), &["admit /id/false resume 604800 s"])]);
    let old = packet(0x10, &[b"\x00\x06MQIsdp\x03\x00\0\x09\0\x02id"]);
    check("3.1", vec![Feed(old, &["admit /id/false resume 604800 s"]), resume(longest, &[], &[]), Sends(ACCEPTED4.to_vec())]);
}

#[test]
fn a_resumed_session_is_present_and_still_subscribed() {
    // [MQTT-3.1.2-5].
    let present = vec![0x20, 2, 1, 0];
    let kept = || resume(99, &[(ATTRIBUTES, 1), ("v1/gateway/rpc", 1), ("nonsense", 0)], &[7, 8]);
    let offered = || Feed(connect4("id", 0, 60, ""), &["admit /id/false resume 604800 s"]);
    let subscriptions = vec![(String::from(ATTRIBUTES), 1)];
    check(
        "[MQTT-3.2.2-3] 3.1.1",
        vec![
            offered(),
            kept(),
            Sends(present),
            Keeps(Kept { subscriptions, received: vec![7, 8] }),
            Deliver(Downlink::AttributesUpdated { json: b"1" }, ONCE, Delivery::Queued),
        ],
    );
    let nine = connect5("id", 60, &[0x11, 0, 0, 0, 9], 0, &[]);
    let mut connack = accepted5(None, &[]);
    connack[2] = 1;
    check("[MQTT-3.2.2-3]", vec![Feed(nine, &["admit /id/false resume 9 s"]), resume(9, &[], &[]), Sends(connack)]);
}

#[test]
fn wills_are_handed_out_whatever_their_qos() {
    let will = |flags: u8, topic: &str| connect5("id", 60, &[], flags, &[&[5, 0x18, 0, 0, 0, 7], &string(topic), &string("x")]);
    for flags in [0x06, 0x0E, 0x16, 0x36] {
        check(
            "QoS and retain",
            vec![Feed(will(flags, TELEMETRY), &["admit /id/false will v1/devices/me/telemetry x after 7 s"])],
        );
    }
    let old = packet(0x10, &[b"\x00\x04MQTT\x04\x06\0\x09\0\x01c\0\x01t\0\x01p"]);
    check("3.1.1", vec![Feed(old, &["admit /c/false will t p after 0 s"])]);
}

#[test]
fn a_will_goes_to_telemetry_or_attributes() {
    let topics = Topics { telemetry: "up/+".into(), attributes: "attr".into(), attributes_subscribe: "down".into() };
    let v5 = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    let v4 = admitted(&connect4("id", 2, 60, ""), Admission::default());
    for (topic, expected) in [
        (TELEMETRY, Some("telemetry - x")),
        ("v2/t/j", Some("telemetry/j - x")),
        (ATTRIBUTES, Some("attributes - x")),
        ("up/1", Some("telemetry - x")),
        ("attr", Some("attributes - x")),
        ("v1/devices/me/claim", None),
        ("v1/devices/me/rpc/request/1", None),
        ("v1/gateway/telemetry", None),
        ("down", None),
        ("x", None),
    ] {
        let will = Will { topic, payload: b"x", delay_s: 0 };
        let said = v4.will(&will, Some(&topics)).unwrap();
        assert_eq!(said.as_ref().map(|operation| operation_text(operation, None)).as_deref(), expected, "{topic}");
        assert_eq!(v5.will(&will, Some(&topics)).ok(), expected.map(|_| said), "{topic}");
    }
    let will = Will { topic: "up/1", payload: b"x", delay_s: 0 };
    assert_eq!(v5.will(&will, None), Err(Refusal::WillTopicInvalid));
}
