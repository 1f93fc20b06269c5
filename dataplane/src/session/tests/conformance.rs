//! The normative statements of MQTT 5 (its Appendix B), each in `tests/conformance/mqtt5.tsv`: whether it asks anything of this
//! server, and which test holds it. Here the table is checked, and what no other test says is said.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::codec::mqtt::{Outgoing, outgoing_bytes};

const TABLE: &str = include_str!("../../../../tests/conformance/mqtt5.tsv");
/// As many as the specification numbers.
const STATEMENTS: usize = 251;

struct Statement<'a> {
    id: &'a str,
    applicable: bool,
    reason: &'a str,
    test: &'a str,
}

fn statements() -> Vec<Statement<'static>> {
    let rows = TABLE.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, applicable, _, reason, test] = columns[..] else { panic!("five columns: {line}") };
        assert!(matches!(applicable, "yes" | "no"), "{line}");
        Statement { id, applicable: applicable == "yes", reason, test }
    });
    rows.collect()
}

/// The text of every function below `folder`, by name, up to the next test.
fn functions(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("#[test]").skip(1) {
                let name = part.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map_or("", |(name, _)| name);
                found.entry(String::from(name)).or_default().push(String::from(part));
            }
        }
    }
}

#[test]
fn every_statement_is_judged_and_nine_of_ten_that_apply_are_tested() {
    let statements = statements();
    let mut ids: Vec<_> = statements.iter().map(|statement| statement.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((statements.len(), ids.len()), (STATEMENTS, STATEMENTS), "each once");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut ours, mut whole) = (BTreeMap::new(), BTreeMap::new());
    functions(&root.join("src"), &mut ours);
    functions(&root.join("../tests/tests"), &mut whole);
    let (mut applicable, mut tested) = (0, 0);
    for Statement { id, applicable: applies, reason, test } in &statements {
        assert_eq!(reason.is_empty(), *applies, "{id}: a reason where it does not apply");
        assert_eq!(test.is_empty(), !applies, "{id}: a test where it applies");
        applicable += usize::from(*applies);
        if !applies || test.starts_with("todo:") {
            continue;
        }
        tested += 1;
        let named = ours.get(*test).is_some_and(|texts| texts.iter().any(|text| text.contains(&format!("[{id}]"))));
        assert!(named || whole.contains_key(*test), "{id}: no test {test} that names it");
    }
    assert!(tested * 10 >= applicable * 9, "{tested} of {applicable} applicable statements are tested");
}

#[test]
fn plain_client_identifiers_are_allowed() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for start in 0..letters.len() {
        let id: String = letters.chars().cycle().skip(start).take(1 + start % 23).collect();
        let (intents, reason) = feed(&mut Session::new(START), &connect5(&id, 60, &[], 2, &[]), START);
        assert_eq!((intents, reason), (vec![format!("admit /{id}/false")], None), "[MQTT-3.1.3-5]");
    }
}

#[test]
fn a_clean_start_resumes_nothing() {
    let connect = Feed(connect5("id", 60, &[0x11, 0, 0, 0, 9], 2, &[]), &["admit /id/false 9 s"]);
    let updated = Downlink::AttributesUpdated { json: b"1" };
    check(
        "[MQTT-3.2.2-2]",
        vec![
            connect,
            resume(9, &[(ATTRIBUTES, 1)], &[7]),
            Sends(accepted5(None, &[])),
            Keeps(Kept::default()),
            Deliver(updated, ONCE, Delivery::NotSubscribed),
        ],
    );
}

#[test]
fn every_refusal_has_a_code_that_connack_may_carry() {
    for refusal in [
        Refusal::Version(6),
        Refusal::ClientIdInvalid,
        Refusal::BadCredential,
        Refusal::NotAuthorized,
        Refusal::Unavailable,
        Refusal::RateExceeded,
        Refusal::AuthenticationMethod,
        Refusal::WillTopicInvalid,
        Refusal::PacketSizeTooSmall,
    ] {
        let code = refusal.code(Version::V5).0;
        assert!(matches!(code, 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F), "[MQTT-3.2.2-8]: {refusal:?}");
        assert!(matches!(refusal.code(Version::V311).0, 1..=5), "3.1.1, 3.2.2.3: {refusal:?}");
    }
}

/// Every reason that a peer is told.
const REASONS: [Reason; 20] = [
    Reason::Decode(DecodeError::Truncated),
    Reason::Decode(DecodeError::ProtocolName),
    Reason::Decode(DecodeError::ProtocolLevel(7)),
    Reason::Decode(DecodeError::PropertyMissing),
    Reason::Decode(DecodeError::TopicFilter),
    Reason::UnexpectedPacket,
    Reason::ReceiveMaximumExceeded,
    Reason::TopicAliasInvalid,
    Reason::SubscriptionIdsNotSupported,
    Reason::PacketTooLarge,
    Reason::PayloadInvalid,
    Reason::QuotaExceeded,
    Reason::RateExceeded,
    Reason::Unspecified,
    Reason::ConnectTimeout,
    Reason::KeepAlive,
    Reason::TakenOver,
    Reason::Revoked,
    Reason::ShuttingDown,
    Reason::Unavailable,
];

const OUTCOMES: [Outcome; 11] = [
    Outcome::Stored,
    Outcome::PayloadInvalid,
    Outcome::TopicInvalid,
    Outcome::QuotaExceeded,
    Outcome::RateExceeded { retry_after_s: u32::MAX },
    Outcome::NotFound,
    Outcome::Unauthorized,
    Outcome::Forbidden,
    Outcome::TimedOut,
    Outcome::Unavailable,
    Outcome::Unspecified,
];

#[test]
fn every_reason_has_a_code_that_disconnect_may_carry() {
    for reason in REASONS {
        let code = reason.disconnect_code().map_or(0, |code| code.0);
        let allowed = matches!(code, 0 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2);
        assert!(allowed, "[MQTT-3.14.2-1]: {reason:?} {code:#x}");
    }
}

#[test]
fn every_reason_string_fits_the_smallest_packet() {
    // [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.7.2-2], [MQTT-3.14.2-3]
    let smallest = usize::try_from(limits::CLIENT_PACKET_BYTES_MIN).unwrap();
    for text in REASONS.map(Reason::text).into_iter().chain(OUTCOMES.map(Outcome::text)) {
        // Identifier, code, property length, property, and a length of two bytes.
        assert!(text.len() + 11 <= smallest, "{text}");
    }
    let small = connect5("id", 60, &[0x27, 0, 0, 0, 128], 2, &[]);
    for outcome in OUTCOMES {
        let mut session = admitted(&small, Admission::default());
        feed(&mut session, &publish5(0x32, TELEMETRY, Some(1), &[], b""), START);
        session.settle(Receipt(0), outcome).unwrap();
        assert_eq!(*session.output(), ack5(0x40, 1, outcome, outcome.reason_code().0));
        assert!(session.output().len() <= smallest);
    }
}

#[test]
fn every_filter_has_a_code_that_suback_may_carry() {
    let filters: Vec<String> = (0..30).map(|id| format!("v1/devices/me/rpc/response/{id}")).collect();
    let asked: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 2)).chain([("#", 0), ("$share/a/b", 1)]).collect();
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    feed(&mut session, &subscribe5(1, &[], &asked), START);
    let codes = session.output().split_off(5);
    assert_eq!(codes.len(), asked.len());
    let allowed = |code: &u8| matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2);
    assert!(codes.iter().all(allowed), "[MQTT-3.9.3-2]: {codes:?}");
}

#[test]
fn every_qos_has_its_answer() {
    for (first, id, answer) in [(0x30, None, vec![]), (0x32, Some(5), vec![0x40, 2, 0, 5]), (0x34, Some(5), vec![0x50, 2, 0, 5])]
    {
        let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
        feed(&mut session, &publish5(first, TELEMETRY, id, &[], b""), START);
        assert!(session.output().is_empty());
        session.settle(Receipt(0), Outcome::Stored).unwrap();
        assert_eq!(*session.output(), answer, "[MQTT-3.3.4-1]");
    }
}

#[test]
fn a_client_that_acknowledges_nothing_is_still_answered() {
    let rpc = Downlink::RpcRequest { id: 1, json: b"" };
    let mut session = admitted(&connect5("id", 60, &[0x21, 0, 1], 2, &[]), Admission::default());
    let filters = [("v1/devices/me/rpc/request/+", 1), (ATTRIBUTES, 0)];
    feed(&mut session, &subscribe5(1, &[], &filters), START);
    assert_eq!(session.deliver(rpc, ONCE, START), Delivery::Queued);
    assert_eq!(session.deliver(rpc, ONCE, START), Delivery::Full);
    session.output().clear();
    let asked = [vec![0xC0, 0], publish5(0x32, TELEMETRY, Some(1), &[], b""), unsubscribe(2, &[0], &["x"])].concat();
    feed(&mut session, &asked, START);
    session.settle(Receipt(0), Outcome::Stored).unwrap();
    let answers = [&[0xD0, 0][..], &[0xB0, 4, 0, 2, 0, 0x11], &[0x40, 2, 0, 1]].concat();
    assert_eq!(*session.output(), answers, "[MQTT-3.3.4-10]");
    let updated = Downlink::AttributesUpdated { json: b"" };
    assert_eq!(session.deliver(updated, ONCE, START), Delivery::QueuedUnacked, "QoS 0 needs no quota");
}

#[test]
fn only_the_same_filter_ends_a_subscription() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    let filters = ["v1/devices/me/rpc/response/+", "v1/devices/me/rpc/response/7", "v1/devices/me/rpc/response/#"];
    feed(&mut session, &subscribe5(1, &[], &filters.map(|filter| (filter, 0))), START);
    for (left, filter) in filters.into_iter().enumerate() {
        assert_eq!(session.kept().subscriptions.len(), 3 - left, "[MQTT-3.10.4-1]");
        feed(&mut session, &unsubscribe(2, &[0], &[filter, "v1/devices/me/rpc/response/8"]), START);
        session.output().clear();
    }
    assert_eq!(session.kept(), Kept::default());
}

#[test]
fn what_was_sent_before_unsubscribing_is_delivered_to_its_end() {
    let rpc = Downlink::RpcRequest { id: 1, json: b"{}" };
    let topic = "v1/devices/me/rpc/request/1";
    let filter = "v1/devices/me/rpc/request/+";
    let first = Sending { number: 9, packet_id: Some(4), again: false };
    check(
        "[MQTT-3.10.4-3]",
        ready5(
            &[],
            vec![
                Feed(subscribe5(1, &[], &[(filter, 1)]), &["subscribed"]),
                Deliver(rpc, first, Delivery::Queued),
                Feed(unsubscribe(2, &[0], &[filter]), &["unsubscribed"]),
                Feed(vec![0x40, 2, 0, 4], &["acknowledged 9"]),
                Deliver(rpc, first, Delivery::NotSubscribed),
            ],
        ),
    );
    let again = Sending { again: true, ..first };
    let late = vec![Deliver(rpc, again, Delivery::Queued), Sends(publish5(0x3A, topic, Some(4), &[], b"{}"))];
    check("[MQTT-3.10.4-3]: on a later connection", ready5(&[], late));
}

#[test]
fn a_topic_has_at_most_65_535_bytes() {
    let topic = |bytes| "x".repeat(bytes);
    let bytes = |topic: &str| outgoing_bytes(Version::V5, &Outgoing { topic, ..Outgoing::default() });
    assert!(bytes(&topic(65_535)).is_some(), "[MQTT-4.7.3-3]");
    assert_eq!(bytes(&topic(65_536)), None);
}
