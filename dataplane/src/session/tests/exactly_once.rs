//! QoS 2 of the client (DESIGN 8.4, 13): a message is one operation however often it comes, and its identifier is forgotten only
//! when that is durable.

use super::*;

fn publish(dup: bool, id: u16) -> Vec<u8> {
    publish5(if dup { 0x3C } else { 0x34 }, TELEMETRY, Some(id), &[], b"{}")
}

fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &[&id.to_be_bytes()])
}

fn pubrec(id: u8) -> Vec<u8> {
    vec![0x50, 2, 0, id]
}

fn pubcomp(id: u8) -> Vec<u8> {
    vec![0x70, 2, 0, id]
}

#[test]
fn pubrec_waits_for_the_message_and_pubcomp_for_the_release() {
    // [MQTT-2.2.1-5], [MQTT-4.3.3-12].
    check(
        "[MQTT-4.3.3-8], [MQTT-4.3.3-11]",
        kept5(vec![
            Feed(publish(false, 7), &["telemetry 0#7 {}"]),
            Sends(vec![]),
            Keeps(Kept::default()),
            Settle(0, Outcome::Stored),
            Sends(pubrec(7)),
            Keeps(Kept { received: vec![7], ..Kept::default() }),
            Feed(pubrel(7), &["release 1 #7"]),
            Sends(vec![]),
            Settle(1, Outcome::Stored),
            Sends(pubcomp(7)),
            Keeps(Kept::default()),
            Feed(publish(false, 7), &["telemetry 2#7 {}"]),
        ]),
    );
    let publish4 = publish4(0x34, TELEMETRY, Some(7), b"{}");
    let offered = Feed(connect4("id", 0, 60, ""), &["admit /id/false resume 604800 s"]);
    check(
        "3.1.1",
        vec![
            offered,
            Admit(Admission { expiry_s: 9, ..Admission::default() }),
            Sends(ACCEPTED4.to_vec()),
            Feed(publish4, &["telemetry 0#7 {}"]),
            Settle(0, Outcome::Stored),
            Feed(pubrel(7), &["release 1 #7"]),
            Settle(1, Outcome::Stored),
            Sends([pubrec(7), pubcomp(7)].concat()),
        ],
    );
}

#[test]
fn a_session_that_is_not_kept_runs_the_flow_in_memory() {
    check(
        "5",
        ready5(
            &[],
            vec![
                Feed(publish(false, 7), &["telemetry 0 {}"]),
                Settle(0, Outcome::Stored),
                Sends(pubrec(7)),
                Feed([publish(true, 7), pubrel(7)].concat(), &[]),
                Sends([pubrec(7), pubcomp(7)].concat()),
                Feed(publish(false, 7), &["telemetry 3 {}"]),
            ],
        ),
    );
}

#[test]
fn a_message_that_comes_again_is_acknowledged_and_not_taken_again() {
    check(
        "[MQTT-4.3.3-10]: not yet durable: on the same receipt",
        kept5(vec![
            Feed([publish(false, 7), publish(true, 7), publish(false, 8)].concat(), &["telemetry 0#7 {}", "telemetry 2#8 {}"]),
            Settle(2, Outcome::Stored),
            Sends(vec![]),
            Settle(0, Outcome::Stored),
            Sends([pubrec(7), pubrec(7), pubrec(8)].concat()),
        ]),
    );
    check(
        "[MQTT-4.3.3-10]: stored: at once, but in order [MQTT-4.6.0-3]",
        kept5(vec![
            Feed(publish(false, 7), &["telemetry 0#7 {}"]),
            Settle(0, Outcome::Stored),
            Sends(pubrec(7)),
            Feed([publish(true, 7), publish(false, 8), publish(true, 7)].concat(), &["telemetry 2#8 {}"]),
            Sends(pubrec(7)),
            Settle(2, Outcome::Stored),
            Sends([pubrec(8), pubrec(7)].concat()),
        ]),
    );
    check(
        "of an earlier connection",
        vec![
            Feed(connect5("id", 60, &[0x11, 0, 0, 0, 9], 0, &[]), &["admit /id/false resume 9 s"]),
            resume(9, &[], &[7, 8]),
            Feed([publish(true, 7), pubrel(8)].concat(), &["release 1 #8"]),
            Settle(1, Outcome::Stored),
            Feed(pubrel(7), &["release 2 #7"]),
            Settle(2, Outcome::Stored),
            Keeps(Kept::default()),
        ],
    );
}

#[test]
fn a_release_that_comes_again_waits_for_the_first() {
    // [MQTT-3.7.2-1].
    let not_found = || ack5(0x70, 7, Outcome::NotFound, 0x92);
    check(
        "MQTT 5",
        kept5(vec![
            Feed(publish(false, 7), &["telemetry 0#7 {}"]),
            Settle(0, Outcome::Stored),
            Sends(pubrec(7)),
            Feed([pubrel(7), pubrel(7)].concat(), &["release 1 #7"]),
            Settle(1, Outcome::Stored),
            Sends([pubcomp(7), pubcomp(7)].concat()),
            Feed(pubrel(7), &[]),
            Sends(not_found()),
        ]),
    );
    check("3.1.1 knows one answer", ready4(vec![Feed(pubrel(7), &[]), Sends(pubcomp(7))]));
}

#[test]
fn a_failure_ends_the_flow_where_it_can_be_said() {
    check(
        "[MQTT-4.3.3-9]",
        kept5(vec![
            Feed([publish(false, 7), publish(true, 7)].concat(), &["telemetry 0#7 {}"]),
            Settle(0, Outcome::QuotaExceeded),
            Sends([ack5(0x50, 7, Outcome::QuotaExceeded, 0x97), ack5(0x50, 7, Outcome::QuotaExceeded, 0x97)].concat()),
            Keeps(Kept::default()),
            Feed(publish(false, 7), &["telemetry 2#7 {}"]),
        ]),
    );
    let publish4 = |topic| publish4(0x34, topic, Some(7), b"{}");
    check(
        "3.1.1: an unknown topic goes on",
        ready4(vec![
            Feed(publish4("x"), &["unknown 0"]),
            Settle(0, Outcome::TopicInvalid),
            Feed(pubrel(7), &[]),
            Sends([pubrec(7), pubcomp(7)].concat()),
        ]),
    );
    check(
        "3.1.1: anything else closes",
        ready4(vec![
            Feed(publish4(TELEMETRY), &["telemetry 0 {}"]),
            SettleBreaks(0, Outcome::PayloadInvalid, Reason::PayloadInvalid),
            Sends(vec![]),
        ]),
    );
    check(
        "a PUBCOMP cannot fail",
        kept5(vec![
            Feed(publish(false, 7), &["telemetry 0#7 {}"]),
            Settle(0, Outcome::Stored),
            Feed(pubrel(7), &["release 1 #7"]),
            SettleBreaks(1, Outcome::Unavailable, Reason::Unavailable),
            Sends([pubrec(7), disconnect5(Reason::Unavailable, 0x89)].concat()),
        ]),
    );
}

#[test]
fn what_no_flow_contains_breaks_it() {
    let early = vec![Feed(publish(false, 7), &["telemetry 0#7 {}"]), Break(pubrel(7), &[], Reason::UnexpectedPacket)];
    check("PUBREL before PUBREC", kept5(early));
    let late = vec![
        Feed(publish(false, 7), &["telemetry 0#7 {}"]),
        Settle(0, Outcome::Stored),
        Feed(pubrel(7), &["release 1 #7"]),
        Break(publish(true, 7), &[], Reason::UnexpectedPacket),
    ];
    check("[MQTT-4.3.3-6]", kept5(late));
}

#[test]
fn flows_count_against_the_receive_maximum_until_pubcomp() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    for id in 1..=64 {
        assert_eq!(feed(&mut session, &publish(false, id), START).0.len(), 1);
        session.settle(Receipt(u64::from(id) - 1), Outcome::Stored).unwrap();
    }
    assert_eq!(session.unsettled(), 0);
    let again = [publish(true, 1), pubrel(1), publish(false, 1)].concat();
    assert_eq!(feed(&mut session, &again, START).0.len(), 1, "a repetition costs nothing, PUBCOMP gives room for one");
    assert_eq!(feed(&mut session, &publish(false, 65), START).1, Some(Reason::ReceiveMaximumExceeded));
}

#[test]
fn identifiers_are_bounded_where_nothing_tells_the_client() {
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    let most = u16::try_from(limits::UNRELEASED_PER_SESSION_MAX).unwrap();
    for id in 1..=most {
        feed(&mut session, &publish4(0x34, TELEMETRY, Some(id), b""), START);
        session.settle(Receipt(u64::from(id) - 1), Outcome::Stored).unwrap();
        session.output().clear();
    }
    let (_, reason) = feed(&mut session, &publish4(0x34, TELEMETRY, Some(most + 1), b""), START);
    assert_eq!(reason, Some(Reason::ReceiveMaximumExceeded));
}

#[test]
fn a_peer_that_only_repeats_itself_is_not_read() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    feed(&mut session, &publish(false, 7), START);
    let bytes = publish(true, 7).repeat(1_000);
    let mut input = bytes.as_slice();
    assert_eq!(session.next(&mut input, START), Ok(None));
    assert!(session.blocked() && !input.is_empty());
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    assert!(!session.blocked());
}
