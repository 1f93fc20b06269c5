//! SUBSCRIBE and UNSUBSCRIBE: what a device may have, and what it is told of the rest.

use super::*;

#[test]
fn only_the_devices_own_topics_can_be_subscribed() {
    // [MQTT-2.2.1-6], [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.8.4-7], [MQTT-3.9.3-1], [MQTT-3.10.4-4],
    // [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2].
    let filters = [
        (ATTRIBUTES, 2),
        (RESPONSES, 0),
        ("v1/devices/me/rpc/request/+", 1),
        ("v1/devices/me/rpc/response/+", 1),
        ("#", 1),
        ("$share/g/v1/devices/me/attributes", 0),
    ];
    check(
        "[MQTT-3.8.4-6] 3.1.1",
        ready4(vec![
            Feed(subscribe4(7, &filters), &["subscribed"]),
            Sends(vec![0x90, 8, 0, 7, 1, 0, 1, 1, 0x80, 0x80]),
            Feed(unsubscribe(8, &[], &[ATTRIBUTES, "x"]), &["unsubscribed"]),
            Sends(vec![0xB0, 2, 0, 8]),
            Deliver(Downlink::AttributesUpdated { json: b"{}" }, ONCE, Delivery::NotSubscribed),
            Deliver(Downlink::RpcRequest { id: 1, json: b"{}" }, ONCE, Delivery::Queued),
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

/// The code of one filter for a device with topics of its own.
fn code(filter: &str, gateway: bool) -> u8 {
    let topics = Topics { telemetry: "up".into(), attributes: "up/a".into(), attributes_subscribe: "down/+/#".into() };
    let admission = Admission { gateway, topics: Some(Arc::new(topics)), ..Admission::default() };
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), admission);
    feed(&mut session, &subscribe5(1, &[], &[(filter, 1)]), START);
    *session.output().last().unwrap()
}

#[test]
fn all_filters_of_the_reference_can_be_subscribed() {
    for filter in [
        "v1/devices/me/attributes",
        "v1/devices/me/attributes/response/+",
        "v1/devices/me/rpc/request/+",
        "v1/devices/me/rpc/response/+",
        "v2/a",
        "v2/a/j",
        "v2/a/p",
        "v2/a/res/+",
        "v2/a/res/j/+",
        "v2/a/res/p/+",
        "v2/r/req/+",
        "v2/r/req/j/+",
        "v2/r/req/p/+",
        "v2/r/res/+",
        "v2/r/res/j/+",
        "v2/r/res/p/+",
        "v2/fw/response/+/chunk/+",
        "v2/fw/response/7/chunk/+",
        "v2/fw/response/7/chunk/0",
        "v2/fw/response/+",
        "v2/fw/error",
        "v2/sw/response/+/chunk/+",
        "v2/sw/response/+",
        "v2/sw/error",
        "v1/devices/me/rpc/request/#",
        "v1/devices/me/rpc/response/7",
        "down/+/#",
        "down/here",
        "down/x/y/z",
        "down/+",
    ] {
        assert_eq!(code(filter, false), 1, "{filter}");
    }
    for filter in ["v1/gateway/attributes", "v1/gateway/attributes/response", "v1/gateway/rpc", "v1/gateway/disconnect"] {
        assert_eq!((code(filter, true), code(filter, false)), (1, 0x8F), "{filter}");
    }
}

#[test]
fn other_filters_cannot() {
    let long = format!("down/{}", "x".repeat(300));
    for filter in [
        "v1/devices/me/#",
        "v1/devices/+/attributes",
        "v1/devices/me/attributes/#",
        "v1/devices/me/rpc/request/abc",
        "v1/devices/me/rpc/request/+/x",
        "v1/devices/me/rpc/request",
        "v1/devices/me/telemetry",
        "v1/devices/me/attributes/response/1+",
        "v2/fw/response/#/chunk",
        "/provision/response",
        "v1/gateway/#",
        "down",
        "down/#/x",
        "down/x+/y",
        "up",
        "+",
        "#",
        "$SYS/#",
        &long,
    ] {
        assert_eq!(code(filter, false), 0x8F, "{filter}");
    }
    assert_eq!(code("$share/g/down/x", false), 0x9E);
}

#[test]
fn filters_that_are_kept_as_text_are_few() {
    let mut session = admitted(&connect5("id", 60, &[], 2, &[]), Admission::default());
    let filters: Vec<String> = (0..=16).map(|id| format!("v1/devices/me/rpc/response/{id}")).collect();
    let asked: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
    feed(&mut session, &subscribe5(1, &[], &asked), START);
    let codes = session.output().split_off(5);
    assert_eq!(codes, [[0; 16].as_slice(), &[0x97]].concat());
    assert_eq!(session.kept().subscriptions.len(), limits::FILTERS_PER_SESSION_MAX);
    session.output().clear();
    feed(&mut session, &subscribe5(1, &[], &[(&filters[3], 1)]), START);
    assert_eq!(session.output().split_off(5), [1], "[MQTT-3.8.4-3]: in place of the one before");
    feed(&mut session, &unsubscribe(2, &[0], &[&filters[3], &filters[16]]), START);
    assert_eq!(session.output().split_off(10), [0, 0x11]);
    assert_eq!(session.kept().subscriptions.len(), limits::FILTERS_PER_SESSION_MAX - 1);
}

#[test]
fn what_is_kept_is_what_was_granted() {
    let mut session = admitted(&connect4("id", 0, 60, ""), Admission { gateway: true, expiry_s: 9, ..Admission::default() });
    let filters = [("v1/gateway/rpc", 2), (ATTRIBUTES, 0), ("v2/fw/response/7/chunk/+", 1), ("x", 1)];
    feed(&mut session, &subscribe4(1, &filters), START);
    let kept = session.kept();
    let expected = [(ATTRIBUTES, 0), ("v1/gateway/rpc", 1), ("v2/fw/response/7/chunk/+", 1)];
    assert_eq!(kept.subscriptions, expected.map(|(filter, qos)| (String::from(filter), qos)));
    let again = Admission { gateway: true, expiry_s: 9, kept: Some(kept.clone()), ..Admission::default() };
    assert_eq!(admitted(&connect4("id", 0, 60, ""), again).kept(), kept);
    let demoted = Admission { expiry_s: 9, kept: Some(kept), ..Admission::default() };
    assert_eq!(admitted(&connect4("id", 0, 60, ""), demoted).kept().subscriptions.len(), 2, "no gateway any more");
}

#[test]
fn what_a_filter_carries_is_known_without_a_session() {
    let topics = Topics { telemetry: "t".into(), attributes: "a".into(), attributes_subscribe: "down/+".into() };
    for (filter, attributes, rpc) in [
        ("v1/devices/me/attributes", true, false),
        ("v2/a/p", true, false),
        ("down/+", true, false),
        ("down/here", true, false),
        ("v1/devices/me/rpc/request/+", false, true),
        ("v1/devices/me/rpc/request/#", false, true),
        ("v2/r/req/j/+", false, true),
        ("v2/r/req/7", false, true),
        ("v2/r/req/seven", false, false),
        ("v1/devices/me/rpc/response/+", false, false),
        ("v1/gateway/rpc", false, false),
    ] {
        assert_eq!((carries_attributes(filter, Some(&topics)), carries_rpc(filter)), (attributes, rpc), "{filter}");
    }
    assert!(!carries_attributes("down/here", None));
}
