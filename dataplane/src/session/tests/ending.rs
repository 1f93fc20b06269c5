//! Silence, goodbyes, and what is said at the end.

use super::*;

#[test]
fn silence_ends_a_connection() {
    // [MQTT-3.2.2-22].
    check("no CONNECT", vec![Elapse(9_999, None), Elapse(1, Some(Reason::ConnectTimeout)), Sends(vec![])]);
    let connect: Vec<u8> = connect4("id", 2, 60, "");
    let refused = Some(Reason::Refused(Refusal::Unavailable));
    check("we took too long", vec![Feed(connect, &["admit /id/false"]), Elapse(10_000, refused), Sends(vec![0x20, 2, 0, 3])]);
    check("[MQTT-3.1.2-24] 3.1.1", ready4(vec![Elapse(89_999, None), Elapse(1, Some(Reason::KeepAlive)), Sends(vec![])]));
    let told = Sends(disconnect5(Reason::KeepAlive, 0x8D));
    check("[MQTT-3.1.2-22] 5", ready5(&[], vec![Elapse(90_000, Some(Reason::KeepAlive)), told]));
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
    // [MQTT-3.14.2-2].
    for (reason, code) in [
        (Reason::TakenOver, Some(0x8E)),
        (Reason::Revoked, Some(0x98)),
        (Reason::ShuttingDown, Some(0x8B)),
        (Reason::Unavailable, Some(0x89)),
        (Reason::RateExceeded, Some(0x96)),
        (Reason::QuotaExceeded, Some(0x97)),
        (Reason::PeerClosed, None),
        (Reason::SlowPeer, None),
    ] {
        let disconnect = code.map_or_else(Vec::new, |code| disconnect5(reason, code));
        let after = vec![Sends(disconnect), Do::Close(reason), Sends(vec![]), Feed(vec![0xC0, 0], &[])];
        check("[MQTT-3.14.4-1]", ready5(&[], [vec![Do::Close(reason)], after].into_iter().flatten().collect()));
        check("[MQTT-3.14.0-1]: not before CONNACK", vec![Do::Close(reason), Sends(vec![])]);
        check("3.1.1 has none", ready4(vec![Do::Close(reason), Sends(vec![])]));
        assert!(!reason.is_protocol_error());
    }
}

#[test]
fn only_a_plain_goodbye_discards_the_will() {
    check(
        "3.1.1 goodbye",
        ready4(vec![Feed(vec![0xE0, 0, 0xC0, 0], &["disconnect false"]), Do::Close(Reason::PeerClosed), Sends(vec![])]),
    );
    check("[MQTT-3.14.4-3]", ready5(&[], vec![Feed(vec![0xE0, 0], &["disconnect false"]), Sends(vec![])]));
    check("with will", ready5(&[], vec![Feed(vec![0xE0, 1, 4], &["disconnect true"]), Sends(vec![])]));
    check("an error of theirs", ready5(&[], vec![Feed(vec![0xE0, 1, 0x80], &["disconnect true"]), Sends(vec![])]));
}

#[test]
fn a_goodbye_may_change_how_long_the_session_is_kept() {
    let leave = |seconds: u32| packet(0xE0, &[&[0, 5, 0x11], &seconds.to_be_bytes()]);
    check("shorter", kept5(vec![Feed(leave(0), &["disconnect false 0 s"])]));
    check("longer, to a bound", kept5(vec![Feed(leave(u32::MAX), &["disconnect false 604800 s"])]));
    let reason = Reason::UnexpectedPacket;
    check("3.14.2.2.2: not from 0", ready5(&[], vec![Break(leave(1), &[], reason), Sends(disconnect5(reason, 0x82))]));
    check("0 stays 0", ready5(&[], vec![Feed(leave(0), &["disconnect false"])]));
}

#[test]
fn only_a_known_client_is_told_why_its_second_connect_is_none() {
    // 0x84 is CONNACK's alone.
    let reason = Reason::Decode(DecodeError::ProtocolName);
    let again = packet(0x10, &[b"\x00\x04MQTX\x05\x02\0\0\0\0"]);
    check("3.14.2.1", ready5(&[], vec![Break(again, &[], reason), Sends(disconnect5(reason, 0x82))]));
}
