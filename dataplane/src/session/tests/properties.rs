//! Any bytes and any sequence of deeds: the harness judges.

use proptest::prelude::*;

use super::*;

/// A script of the harness that reaches past CONNECT: raw bytes alone seldom do.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let deed = prop_oneof![
        8 => (1_u8..=7, 4_u8..=harness::PACKET_LAST).prop_map(|(deed, packet)| vec![deed, packet]),
        5 => (8_u8..=10, 0_u8..128).prop_map(|(deed, argument)| vec![deed, argument]),
        3 => (11_u8..=14, any::<u8>()).prop_map(|(deed, argument)| vec![deed, argument]),
        1 => (8_u8..=15, any::<u8>()).prop_map(|(deed, argument)| vec![deed, argument]),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            [&[0, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
        }),
    ];
    let deeds = prop::collection::vec(deed, 0..200);
    (0_u8..4, any::<u8>(), deeds)
        .prop_map(|(connect, admission, deeds)| [&[1, connect, 13, admission | 1], deeds.concat().as_slice()].concat())
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
        // [MQTT-4.1.0-1], [MQTT-4.12.0-6].
        harness::any(&script);
    }

    /// How the network cuts the stream changes nothing.
    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(1_usize..30, 1..40)) {
        // [MQTT-6.0.0-2].
        let stream = [
            connect4("id", 2, 60, ""),
            subscribe4(1, &[(ATTRIBUTES, 1)]),
            publish4(0x32, TELEMETRY, Some(1), b"{\"a\":1}"),
            publish4(0x30, ATTRIBUTES, None, b"{}"),
            vec![0xC0, 0],
            publish4(0x34, "x", Some(2), b""),
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
                    session.admit(Admission::default(), START);
                }
            }
            inbox = input.to_vec();
        }
        let messages = ["telemetry 0 {\"a\":1}", "attributes - {}", "ping", "unknown 1"];
        let expected = [&["admit /id/false", "subscribed"][..], &messages, &["disconnect false"]].concat();
        prop_assert_eq!(intents, expected);
    }
}
