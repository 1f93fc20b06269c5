//! PUBLISH to the client: where it goes, with what QoS and identifier, within which bounds.

use super::*;

const JSON: &[u8] = b"{\"a\":1}";
const UPDATED: Downlink<'static> = Downlink::AttributesUpdated { json: JSON };
const RESPONSE: Downlink<'static> = Downlink::AttributesResponse { id: 42, json: JSON };

#[test]
fn downlinks_go_to_their_topic_with_the_granted_qos() {
    // [MQTT-2.2.2-1], [MQTT-3.1.2-24], [MQTT-3.3.4-9], [MQTT-3.8.4-8], [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.9.0-1],
    // [MQTT-4.9.0-2].
    check(
        "3.1.1",
        ready4(vec![
            Deliver(UPDATED, ONCE, Delivery::NotSubscribed),
            Feed(subscribe4(1, &[(ATTRIBUTES, 0), (RESPONSES, 1)]), &["subscribed"]),
            Sends(vec![0x90, 4, 0, 1, 0, 1]),
            Deliver(UPDATED, ONCE, Delivery::QueuedUnacked),
            Sends(publish4(0x30, ATTRIBUTES, None, JSON)),
            Deliver(RESPONSE, ONCE, Delivery::Queued),
            Sends(publish4(0x32, "v1/devices/me/attributes/response/42", Some(OWN), JSON)),
            Deliver(Downlink::RpcResponse { id: 1, json: JSON }, ONCE, Delivery::NotSubscribed),
            Do::Close(Reason::TakenOver),
            Deliver(UPDATED, ONCE, Delivery::NotSubscribed),
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
                Deliver(RESPONSE, ONCE, Delivery::Queued),
                Sends(publish5(0x32, "v1/devices/me/attributes/response/42", Some(OWN), &[], JSON)),
                Deliver(RESPONSE, ONCE, Delivery::Full),
                Deliver(UPDATED, ONCE, Delivery::QueuedUnacked),
                Sends(publish5(0x30, ATTRIBUTES, None, &[], JSON)),
                Feed(vec![0x40, 2, 0, 9, 0x40, 3, 0x80, 0, 0], &[]),
                Deliver(RESPONSE, ONCE, Delivery::Queued),
                Sends(publish5(0x32, "v1/devices/me/attributes/response/42", Some(OWN + 1), &[], JSON)),
                // [MQTT-3.1.2-25].
                Deliver(Downlink::AttributesUpdated { json: &[b' '; 100] }, ONCE, Delivery::TooLarge),
                Sends(Vec::new()),
            ],
        ),
    );
}

#[test]
fn every_downlink_has_its_topics() {
    // [MQTT-3.3.2-3], [MQTT-3.10.4-2]: judged by `check_downlink`.
    let json: &[u8] = b"j";
    let bytes = json;
    let (package, request, chunk) = (Package::Firmware, 3, 5);
    let rpc = Downlink::RpcRequest { id: 7, json };
    let answer = Downlink::RpcResponse { id: 7, json };
    let response = Downlink::AttributesResponse { id: 7, json };
    let updated = Downlink::AttributesUpdated { json };
    for (filter, downlink, topic, format) in [
        ("v1/devices/me/attributes", updated, "v1/devices/me/attributes", Format::Profile),
        ("v2/a", updated, "v2/a", Format::Profile),
        ("v2/a/j", updated, "v2/a/j", Format::Json),
        ("v2/a/p", updated, "v2/a/p", Format::Protobuf),
        ("own/+/#", updated, "own/me/me", Format::Profile),
        ("own/a/b", updated, "own/a/b", Format::Profile),
        ("v1/devices/me/attributes/response/+", response, "v1/devices/me/attributes/response/7", Format::Profile),
        ("v1/devices/me/attributes/response/7", response, "v1/devices/me/attributes/response/7", Format::Profile),
        ("v1/devices/me/attributes/response/#", response, "v1/devices/me/attributes/response/7", Format::Profile),
        ("v2/a/res/+", response, "v2/a/res/7", Format::Profile),
        ("v2/a/res/j/+", response, "v2/a/res/j/7", Format::Json),
        ("v2/a/res/p/+", response, "v2/a/res/p/7", Format::Protobuf),
        ("v1/devices/me/rpc/request/+", rpc, "v1/devices/me/rpc/request/7", Format::Profile),
        ("v2/r/req/+", rpc, "v2/r/req/7", Format::Profile),
        ("v2/r/req/j/+", rpc, "v2/r/req/j/7", Format::Json),
        ("v2/r/req/p/+", rpc, "v2/r/req/p/7", Format::Protobuf),
        ("v1/devices/me/rpc/response/+", answer, "v1/devices/me/rpc/response/7", Format::Profile),
        ("v2/r/res/+", answer, "v2/r/res/7", Format::Profile),
        ("v2/r/res/j/+", answer, "v2/r/res/j/7", Format::Json),
        ("v2/r/res/p/+", answer, "v2/r/res/p/7", Format::Protobuf),
        (
            "v2/fw/response/+/chunk/+",
            Downlink::Chunk { package, request, chunk, bytes },
            "v2/fw/response/3/chunk/5",
            Format::Profile,
        ),
        (
            "v2/fw/response/3/chunk/+",
            Downlink::Chunk { package, request, chunk, bytes },
            "v2/fw/response/3/chunk/5",
            Format::Profile,
        ),
        ("v2/fw/response/+", Downlink::Chunk { package, request, chunk, bytes }, "v2/fw/response/3/chunk/5", Format::Profile),
        ("v2/fw/error", Downlink::ChunkError { package, text: "j" }, "v2/fw/error", Format::Profile),
        ("v2/sw/error", Downlink::ChunkError { package: Package::Software, text: "j" }, "v2/sw/error", Format::Profile),
        ("v1/gateway/attributes", Downlink::GatewayAttributesUpdated { json }, "v1/gateway/attributes", Format::Profile),
        (
            "v1/gateway/attributes/response",
            Downlink::GatewayAttributesResponse { json },
            "v1/gateway/attributes/response",
            Format::Profile,
        ),
        ("v1/gateway/rpc", Downlink::GatewayRpcRequest { json }, "v1/gateway/rpc", Format::Profile),
        ("v1/gateway/disconnect", Downlink::GatewayDisconnect { json }, "v1/gateway/disconnect", Format::Profile),
    ] {
        check_downlink(filter, downlink, topic, format);
    }
}

fn check_downlink(filter: &str, downlink: Downlink<'_>, topic: &str, format: Format) {
    let topics = Topics { telemetry: "t".into(), attributes: "a".into(), attributes_subscribe: "own/+/#".into() };
    let admission = Admission { gateway: true, topics: Some(Arc::new(topics)), ..Admission::default() };
    let mut session = admitted(&connect4("id", 2, 60, ""), admission);
    assert_eq!(session.format(&downlink), None, "{filter}");
    feed(&mut session, &subscribe4(1, &[(filter, 0)]), START);
    session.output().clear();
    assert_eq!(session.format(&downlink), Some(format), "{filter}");
    assert_eq!(session.deliver(downlink, ONCE, START), Delivery::QueuedUnacked, "{filter}");
    assert_eq!(*session.output(), publish4(0x30, topic, None, b"j"), "{filter}");
    // ThingsBoard's own client counts on more than it subscribes to.
    assert!(harness::matches(filter, topic) || filter == "v2/fw/response/+", "[MQTT-3.3.2-3] {filter}");
    session.output().clear();
    feed(&mut session, &unsubscribe(2, &[], &[filter]), START);
    assert_eq!(session.deliver(downlink, ONCE, START), Delivery::NotSubscribed, "[MQTT-3.10.4-2] {filter}");
}

#[test]
fn a_number_that_was_not_subscribed_is_not_heard() {
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    feed(&mut session, &subscribe4(1, &[("v1/devices/me/rpc/response/7", 1)]), START);
    assert_eq!(session.deliver(Downlink::RpcResponse { id: 8, json: JSON }, ONCE, START), Delivery::NotSubscribed);
    assert_eq!(session.deliver(Downlink::RpcResponse { id: 7, json: JSON }, ONCE, START), Delivery::Queued);
}

#[test]
fn overlapping_subscriptions_bring_one_message_with_the_highest_qos() {
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    let filters = [(RESPONSES, 0), ("v1/devices/me/attributes/response/42", 1), ("v2/a/res/+", 1)];
    feed(&mut session, &subscribe4(1, &filters), START);
    session.output().clear();
    assert_eq!(session.deliver(RESPONSE, ONCE, START), Delivery::Queued, "[MQTT-3.3.4-2]");
    assert_eq!(*session.output(), publish4(0x32, "v1/devices/me/attributes/response/42", Some(OWN), JSON));
}

#[test]
fn an_answer_takes_the_form_of_its_request() {
    let filters = [(RESPONSES, 0), ("v2/a/res/+", 0), ("v2/a/res/j/+", 0)];
    let publish = |topic: &str| publish4(0x32, topic, Some(1), b"{}");
    let sends = |topic: &str, ack: bool| {
        let ack: &[u8] = if ack { &[0x40, 2, 0, 1] } else { &[] };
        Sends([publish4(0x30, topic, None, JSON).as_slice(), ack].concat())
    };
    check(
        "DESIGN 8.1 (4): the answer, then the acknowledgement",
        ready4(vec![
            Feed(subscribe4(1, &filters), &["subscribed"]),
            Sends(vec![0x90, 5, 0, 1, 0, 0, 0]),
            Feed(publish("v2/a/req/j/42"), &["request/j 42 0 {}"]),
            Answer(Some(0), RESPONSE, Delivery::QueuedUnacked),
            sends("v2/a/res/j/42", true),
            Feed(publish("v2/a/req/42"), &["request 42 1 {}"]),
            Answer(Some(1), RESPONSE, Delivery::QueuedUnacked),
            sends("v2/a/res/42", true),
            Answer(None, RESPONSE, Delivery::QueuedUnacked),
            sends("v1/devices/me/attributes/response/42", false),
            Feed(publish("v2/a/req/p/42"), &["request/p 42 2 {}"]),
            Answer(Some(2), RESPONSE, Delivery::QueuedUnacked),
            sends("v1/devices/me/attributes/response/42", true),
            Feed(publish("v2/a/req/j/42"), &["request/j 42 3 {}"]),
            Feed(publish("v1/devices/me/attributes/request/42"), &["request 42 4 {}"]),
            Answer(None, RESPONSE, Delivery::QueuedUnacked),
            sends("v1/devices/me/attributes/response/42", false),
        ]),
    );
}

#[test]
fn correlation_data_come_back_and_a_response_topic_counts_if_it_is_heard() {
    let request = |properties: &[u8]| publish5(0x30, "v1/devices/me/rpc/request/1", None, properties, b"{}");
    let to = |topic: &str| [&[8][..], &string(topic), &[9, 0, 2, 1, 2]].concat();
    let answer = Downlink::RpcResponse { id: 1, json: JSON };
    let call: &[&str] = &["call 1 - {}"];
    check(
        "4.10",
        ready5(
            &[],
            vec![
                Feed(subscribe5(1, &[], &[("v1/devices/me/rpc/response/+", 0), ("v2/r/res/j/+", 1)]), &["subscribed"]),
                Sends(vec![0x90, 5, 0, 1, 0, 0, 1]),
                Feed(request(&[9, 0, 2, 1, 2]), call),
                Answer(None, answer, Delivery::QueuedUnacked),
                Sends(publish5(0x30, "v1/devices/me/rpc/response/1", None, &[9, 0, 2, 1, 2], JSON)),
                Feed(request(&to("v2/r/res/j/99")), call),
                Answer(None, answer, Delivery::Queued),
                Sends(publish5(0x32, "v2/r/res/j/99", Some(OWN), &[9, 0, 2, 1, 2], JSON)),
                Feed(request(&to("somebody/else")), call),
                Answer(None, answer, Delivery::QueuedUnacked),
                Sends(publish5(0x30, "v1/devices/me/rpc/response/1", None, &[9, 0, 2, 1, 2], JSON)),
                Answer(None, answer, Delivery::QueuedUnacked),
                Sends(publish5(0x30, "v1/devices/me/rpc/response/1", None, &[], JSON)),
            ],
        ),
    );
    let long = [&[9, 1, 1][..], &[7; 257]].concat();
    let quota = vec![
        Feed(publish5(0x32, "v1/devices/me/rpc/request/1", Some(5), &long, b""), &[]),
        Sends(ack5(0x40, 5, Outcome::QuotaExceeded, 0x97)),
        Break(request(&long), &[], Reason::QuotaExceeded),
    ];
    check("correlation data are bounded", ready5(&[], quota));
}

#[test]
fn the_oldest_of_too_many_requests_is_answered_the_usual_way() {
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    feed(&mut session, &subscribe4(1, &[(RESPONSES, 0), ("v2/a/res/+", 0)]), START);
    let last = u32::try_from(limits::REQUESTS_PER_SESSION_MAX).unwrap();
    for id in 0..=last {
        feed(&mut session, &publish4(0x30, &format!("v2/a/req/{id}"), None, b""), START);
    }
    for (id, topic) in [(0, "v1/devices/me/attributes/response/0"), (1, "v2/a/res/1"), (last, "v2/a/res/16")] {
        session.output().clear();
        session.deliver(Downlink::AttributesResponse { id, json: b"" }, ONCE, START);
        assert_eq!(*session.output(), publish4(0x30, topic, None, b""));
    }
}

#[test]
fn topics_that_come_again_get_an_alias() {
    // [MQTT-3.3.2-8], [MQTT-3.3.2-11].
    let gateway = || Admission { gateway: true, ..Admission::default() };
    let filters = [(ATTRIBUTES, 0), ("v1/gateway/rpc", 0), ("v1/gateway/attributes", 0), ("v1/devices/me/rpc/request/+", 0)];
    let rpc = Downlink::GatewayRpcRequest { json: JSON };
    let child = Downlink::GatewayAttributesUpdated { json: JSON };
    let sent = |maximum: u8, downlinks: &[Downlink<'_>]| {
        let mut session = admitted(&connect5("id", 60, &[0x22, 0, maximum], 2, &[]), gateway());
        feed(&mut session, &subscribe5(1, &[], &filters), START);
        session.output().clear();
        for downlink in downlinks {
            assert_eq!(session.deliver(*downlink, ONCE, START), Delivery::QueuedUnacked);
        }
        std::mem::take(session.output())
    };
    let out = |topic: &str, alias: &[u8]| publish5(0x30, topic, None, alias, JSON);
    let expected = [
        out(ATTRIBUTES, &[0x23, 0, 1]),
        out("", &[0x23, 0, 1]),
        out("v1/gateway/rpc", &[0x23, 0, 2]),
        out("v1/gateway/attributes", &[]),
        out("", &[0x23, 0, 2]),
        out("v1/devices/me/rpc/request/1", &[]),
        out("", &[0x23, 0, 1]),
    ];
    let numbered = Downlink::RpcRequest { id: 1, json: JSON };
    assert_eq!(sent(2, &[UPDATED, UPDATED, rpc, child, rpc, numbered, UPDATED]), expected.concat(), "[MQTT-3.1.2-26]");
    let plain = [out(ATTRIBUTES, &[]), out(ATTRIBUTES, &[])].concat();
    assert_eq!(sent(0, &[UPDATED, UPDATED]), plain, "[MQTT-3.1.2-27]");
}

#[test]
fn what_lay_on_disk_is_sent_again_with_its_identifier() {
    // [MQTT-3.3.1-2], [MQTT-3.3.1-3], [MQTT-4.3.2-3], [MQTT-4.4.0-2].
    let again = |number, id| Sending { number, packet_id: Some(id), again: true };
    let topic = "v1/devices/me/rpc/request/1";
    let rpc = Downlink::RpcRequest { id: 1, json: JSON };
    check(
        "[MQTT-4.4.0-1], [MQTT-3.3.1-1]",
        ready5(
            &[],
            vec![
                Feed(subscribe5(1, &[], &[("v1/devices/me/rpc/request/+", 1), (ATTRIBUTES, 0)]), &["subscribed"]),
                Sends(vec![0x90, 5, 0, 1, 0, 1, 0]),
                Deliver(rpc, again(77, 5), Delivery::Queued),
                Sends(publish5(0x3A, topic, Some(5), &[], JSON)),
                Deliver(rpc, again(78, 5), Delivery::Full),
                Deliver(rpc, Sending { number: 79, packet_id: Some(6), again: false }, Delivery::Queued),
                Sends(publish5(0x32, topic, Some(6), &[], JSON)),
                Deliver(UPDATED, again(80, 9), Delivery::QueuedUnacked),
                Sends(publish5(0x30, ATTRIBUTES, None, &[], JSON)),
                Feed(vec![0x40, 2, 0, 6, 0x40, 2, 0, 6, 0x40, 3, 0, 5, 0x80], &["acknowledged 79", "acknowledged 77"]),
            ],
        ),
    );
}

#[test]
fn downlinks_are_bounded_in_number_and_bytes() {
    let mut session = admitted(&connect4("id", 2, 60, ""), Admission::default());
    feed(&mut session, &subscribe4(1, &[(ATTRIBUTES, 0), (RESPONSES, 1)]), START);
    let json = &[b' '; 60_000][..];
    let response = Downlink::AttributesResponse { id: 1, json: b"{}" };
    let queued = (0..100).take_while(|_| session.deliver(response, ONCE, START) == Delivery::Queued).count();
    assert_eq!(queued, limits::DOWNLINKS_IN_FLIGHT_MAX);
    let updated = Downlink::AttributesUpdated { json };
    let queued = (0..100).take_while(|_| session.deliver(updated, ONCE, START) == Delivery::QueuedUnacked).count();
    assert_eq!(queued, 4);
    assert!(session.output().len() <= limits::OUTBOX_BYTES_MAX);
    let pings = [0xC0, 0].repeat(limits::OUTBOX_BYTES_MAX);
    let (_, reason) = feed(&mut session, &pings, START);
    assert_eq!(reason, Some(Reason::SlowPeer), "a peer that only asks and never reads is closed");
}
