//! A publisher and what brokers of each version say to it, as their specifications have it.

use super::*;
use crate::codec::mqtt::{
    Acknowledgement, ConnackProperties, Packet, Property, Qos, decode, encode_ack, encode_connack, encode_disconnect,
    encode_pingresp,
};

const NODE: Uuid = Uuid::from_u128(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF);
const VERSIONS: [MqttVersion; 3] = [MqttVersion::V31, MqttVersion::V311, MqttVersion::V5];

fn broker(version: MqttVersion) -> MqttPublish {
    MqttPublish {
        topic: "out".to_owned(),
        host: "broker.example".to_owned(),
        port: 1883,
        timeout_ms: 1_000,
        client_id: None,
        own_suffix: false,
        retained: false,
        clean_session: true,
        version,
        user: None,
        tls: None,
        plain_text: false,
    }
}

fn call(payload: &str) -> Keyed {
    let call = MqttCall { broker: broker(MqttVersion::V5), topic: "plant/3".to_owned(), payload: payload.to_owned() };
    (call, "key".to_owned())
}

/// One that its broker has welcomed with these properties.
fn welcomed(version: MqttVersion, properties: &ConnackProperties<'_>) -> Publisher {
    let mut publisher = Publisher::new(broker(version), NODE);
    let (read, _) = hear(&mut publisher, |out, v| encode_connack(v, false, ReasonCode::SUCCESS, properties, out)).unwrap();
    assert!(read > 0 && publisher.is_open());
    publisher
}

/// Has the publisher hear what is written; returns the bytes that it has read and what came of calls.
fn hear(publisher: &mut Publisher, write: impl FnOnce(&mut Vec<u8>, Version)) -> Result<(usize, Vec<(u64, Answered)>), Over> {
    let (mut bytes, mut said) = (Vec::new(), Said::default());
    write(&mut bytes, publisher.version);
    let read = publisher.hear(&bytes, &mut said)?;
    assert!(said.out.is_empty(), "a publisher has no answers");
    Ok((read, said.answers))
}

/// What a CONNECT of these settings says, as our own broker understands it.
fn greeting(broker: MqttPublish) -> (String, bool, Option<String>) {
    let version = Publisher::new(broker.clone(), NODE).version;
    let mut out = Vec::new();
    Publisher::new(broker, NODE).begin(&mut out);
    let frame = frame(&out, 1_024).unwrap().expect("a whole packet");
    assert_eq!(frame.bytes, out.len());
    let Packet::Connect(connect) = decode(version, &frame).unwrap() else { panic!("{out:?}") };
    assert_eq!(connect.version, version);
    (connect.client_id.to_owned(), connect.clean_start, connect.user_name.map(str::to_owned))
}

#[test]
fn nodes_are_told_apart_by_ids_that_a_broker_takes() {
    let named = |version, own_suffix| MqttPublish { client_id: Some("plant".to_owned()), own_suffix, ..broker(version) };
    assert_eq!(greeting(broker(MqttVersion::V5)).0, format!("tidegate-{}", NODE.simple()));
    assert_eq!(greeting(broker(MqttVersion::V311)).0, format!("tidegate-{}", NODE.simple()));
    // MQTT 3.1 has at most 23 characters; the last of an id, which is random there.
    let short = greeting(broker(MqttVersion::V31)).0;
    assert_eq!((short.len(), short.as_str()), (23, "tgbcdef0123456789abcdef"));
    for version in VERSIONS {
        assert_eq!(greeting(named(version, false)).0, "plant");
        assert_eq!(greeting(named(version, true)).0, format!("plant_{}", NODE.simple()));
    }
    let user =
        MqttPublish { user: Some(("me".to_owned(), "secret".to_owned())), clean_session: false, ..broker(MqttVersion::V5) };
    assert_eq!(greeting(user), (format!("tidegate-{}", NODE.simple()), false, Some("me".to_owned())));
    assert_eq!(greeting(broker(MqttVersion::V5)).2, None);
}

#[test]
fn a_refused_connection_is_tried_again_only_if_it_may_be_otherwise_later() {
    let again = |version, code| {
        let mut publisher = Publisher::new(broker(version), NODE);
        let over = hear(&mut publisher, |out, v| encode_connack(v, false, code, &ConnackProperties::default(), out)).unwrap_err();
        assert!(!publisher.is_open());
        matches!(over, Over::Ended(_))
    };
    for version in [MqttVersion::V31, MqttVersion::V311] {
        for code in 1..=5 {
            assert_eq!(again(version, ReasonCode(code)), code == 3, "{version:?}: {code}");
        }
    }
    let later = [0x80, 0x83, 0x88, 0x89, 0x91, 0x97, 0x9F];
    for code in 0x80..=0xA2 {
        assert_eq!(again(MqttVersion::V5, ReasonCode(code)), later.contains(&code), "{code:#x}");
    }
}

#[test]
fn what_the_broker_says_of_a_message_is_what_came_of_it() {
    let came_of = |version, code, why| {
        let mut publisher = welcomed(version, &ConnackProperties::default());
        let number = publisher.say(call("1"), &mut Vec::new()).unwrap();
        let id = u16::try_from(number).unwrap();
        let (_, answers) = hear(&mut publisher, |out, v| encode_ack(v, Acknowledgement::Puback, id, code, why, out)).unwrap();
        let [(of, answered)] = <[_; 1]>::try_from(answers).unwrap();
        assert_eq!(of, number);
        answered
    };
    for version in VERSIONS {
        assert_eq!(came_of(version, ReasonCode::SUCCESS, None), Answered::Done(Answer::default()));
    }
    // Taken, though nobody has subscribed.
    assert_eq!(came_of(MqttVersion::V5, ReasonCode::NO_MATCHING_SUBSCRIBERS, None), Answered::Done(Answer::default()));
    let full = came_of(MqttVersion::V5, ReasonCode::QUOTA_EXCEEDED, Some("full"));
    assert_eq!(full, Answered::Failed("the broker refuses the message: code 0x97, full".to_owned(), Answer::default()));
    let no = came_of(MqttVersion::V5, ReasonCode::NOT_AUTHORIZED, None);
    assert_eq!(no, Answered::Refused("the broker refuses the message: code 0x87".to_owned(), Answer::default()));
}

#[test]
fn an_acknowledgement_counts_once_and_only_for_what_was_said() {
    let mut publisher = welcomed(MqttVersion::V311, &ConnackProperties::default());
    let number = publisher.say(call("1"), &mut Vec::new()).unwrap();
    let id = u16::try_from(number).unwrap();
    let mut answers = |id| {
        let ack = |out: &mut Vec<u8>, v| encode_ack(v, Acknowledgement::Puback, id, ReasonCode::SUCCESS, None, out);
        hear(&mut publisher, ack).unwrap().1.len()
    };
    assert_eq!((answers(id + 1), answers(id), answers(id)), (0, 1, 0));
}

#[test]
fn a_number_is_not_given_again_before_its_answer() {
    let mut publisher = welcomed(MqttVersion::V5, &ConnackProperties::default());
    let first = publisher.say(call("1"), &mut Vec::new()).unwrap();
    // The numbers begin anew behind the last.
    publisher.last_id = u16::MAX;
    assert_eq!((first, publisher.say(call("2"), &mut Vec::new())), (1, Ok(2)));
}

#[test]
fn a_message_is_published_as_its_node_has_it() {
    for version in VERSIONS {
        for retained in [false, true] {
            let mut publisher = welcomed(version, &ConnackProperties::default());
            let (mut told, key) = call("{\"t\":1}");
            told.broker.retained = retained;
            let mut out = Vec::new();
            publisher.say((told, key), &mut out).unwrap();
            let frame = frame(&out, 1_024).unwrap().expect("a whole packet");
            assert_eq!(frame.bytes, out.len());
            let Packet::Publish(publish) = decode(publisher.version, &frame).unwrap() else { panic!("{out:?}") };
            assert_eq!((publish.topic, publish.payload, publish.retain), ("plant/3", &b"{\"t\":1}"[..], retained));
            assert_eq!((publish.qos, publish.packet_id), (Qos::AtLeastOnce, Some(1)));
            let property = publish.properties.iter().next();
            let expected = (version == MqttVersion::V5).then_some(("idempotency-key", "key"));
            assert_eq!(
                property.map(|property| match property {
                    Property::User(name, value) => (name, value),
                    other => panic!("{other:?}"),
                }),
                expected
            );
        }
    }
}

#[test]
fn a_broker_bounds_what_it_is_told() {
    let tells = ConnackProperties { receive_maximum: Some(2), maximum_packet_size: Some(64), ..Default::default() };
    let mut publisher = welcomed(MqttVersion::V5, &tells);
    assert_eq!(publisher.at_once_max(), 2);
    let mut out = Vec::new();
    publisher.say(call("fits"), &mut out).unwrap();
    let room = 64 - out.len();
    let mut out = Vec::new();
    publisher.say(call(&"x".repeat(4 + room)), &mut out).unwrap();
    assert_eq!(out.len(), 64);
    let mut out = Vec::new();
    let refused = publisher.say(call(&"x".repeat(5 + room)), &mut out);
    assert!(matches!(refused, Err(Answered::Refused(..))), "{refused:?}");
    assert!(out.is_empty());
    let unbounded = welcomed(MqttVersion::V5, &ConnackProperties { receive_maximum: Some(u16::MAX), ..Default::default() });
    assert_eq!(unbounded.at_once_max(), limits::BROKER_CALLS_MAX);
}

#[test]
fn what_has_not_come_whole_is_heard_with_what_follows() {
    let mut publisher = welcomed(MqttVersion::V5, &ConnackProperties::default());
    let id = u16::try_from(publisher.say(call("1"), &mut Vec::new()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    encode_pingresp(&mut bytes);
    let whole = bytes.len();
    encode_ack(Version::V5, Acknowledgement::Puback, id, ReasonCode::SUCCESS, None, &mut bytes);
    let mut said = Said::default();
    assert_eq!(publisher.hear(&bytes[..whole + 2], &mut said), Ok(whole));
    assert!(said.answers.is_empty());
    assert_eq!(publisher.hear(&bytes[whole..], &mut said), Ok(bytes.len() - whole));
    assert_eq!(said.answers.len(), 1);
}

#[test]
fn a_broker_that_goes_or_talks_nonsense_ends_the_connection() {
    let mut publisher = welcomed(MqttVersion::V5, &ConnackProperties::default());
    let goes = hear(&mut publisher, |out, _| encode_disconnect(ReasonCode::SERVER_SHUTTING_DOWN, Some("later"), out));
    assert_eq!(goes, Err(Over::Ended("the broker ends the connection: code 0x8b, later".to_owned())));
    // A server sends no CONNECT.
    let nonsense = hear(&mut publisher, |out, _| out.extend_from_slice(&[0x10, 0]));
    assert!(matches!(nonsense, Err(Over::Ended(_))), "{nonsense:?}");
}
