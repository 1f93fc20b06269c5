//! The codec against the specification (as data, in `tests/rules.rs`), against arbitrary and mutated bytes, and against the
//! published crate `mqtt5-protocol` as a second opinion.

use mqtt5_protocol::packet::{
    self as theirs, FixedHeader, MqttPacket,
    connack::ConnAckPacket,
    connect::ConnectPacket,
    disconnect::DisconnectPacket,
    puback::PubAckPacket,
    publish::PublishPacket,
    subscribe::{RetainHandling, SubscribePacket, SubscriptionOptions, TopicFilter},
    unsubscribe::UnsubscribePacket,
};
use mqtt5_protocol::types::{ConnectOptions, ReasonCode as TheirReason, WillMessage};
use mqtt5_protocol::{Properties as TheirProperties, PropertyId, PropertyValue, QoS};
use proptest::prelude::*;

use super::*;

mod rules;

/// The packets of `bytes` up to the first error, as text.
fn outline(version: Version, bytes: &[u8]) -> Vec<Result<String, DecodeError>> {
    let (mut outlines, mut rest) = (Vec::new(), bytes);
    loop {
        match frame(rest, usize::MAX) {
            Ok(None) => return outlines,
            Ok(Some(frame)) => {
                outlines.push(decode(version, &frame).map(|packet| format!("{packet:?}")));
                rest = &rest[frame.bytes..];
            }
            Err(error) => {
                outlines.push(Err(error));
                return outlines;
            }
        }
    }
}

fn one(version: Version, bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let frame = frame(bytes, usize::MAX)?.ok_or(DecodeError::Truncated)?;
    decode(version, &frame)
}

/// Each of `cases` is refused with its error.
fn check(version: Version, cases: &[(&str, &[u8], DecodeError)]) {
    for (name, bytes, error) in cases {
        assert_eq!(one(version, bytes).err(), Some(*error), "{version:?}: {name}");
    }
}

// What clients send, made by the other crate.

/// A client packet in their words, and the bytes they make of it.
#[derive(Clone, Debug)]
struct Sent {
    version: Version,
    packet: theirs::Packet,
    bytes: Vec<u8>,
}

fn sent<P: MqttPacket + Clone>(version: Version, packet: &P, wrap: impl FnOnce(P) -> theirs::Packet) -> Sent {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes).unwrap();
    Sent { version, packet: wrap(packet.clone()), bytes }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/]{1,30}", "[^\\x00+#]{1,12}", "v1/devices/me/(telemetry|attributes)"]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(vec![b'x'; 200]), Just(vec![b'y'; 20_000])]
}

fn user_properties() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((text(), text()), 0..3)
}

fn their_connect() -> impl Strategy<Value = Sent> {
    let will = prop::option::of((text(), prop::collection::vec(any::<u8>(), 0..40), qos(), any::<bool>()));
    let properties = (prop::option::of(any::<u32>()), prop::option::of(1_u16..), prop::option::of(1_u32..), user_properties());
    (any::<bool>(), text(), prop::option::of((text(), any::<bool>())), any::<(u16, bool)>(), will, properties).prop_map(
        |(v5, client_id, user, (keep_alive, clean), will, (expiry, receive, size, users))| {
            let mut options = ConnectOptions::new(client_id);
            if let Some((topic, payload, qos, retain)) = will {
                options = options.with_will(WillMessage::new(topic, payload).with_qos(qos).with_retain(retain));
            }
            let mut packet = if v5 { ConnectPacket::new(options) } else { ConnectPacket::new_v311(options) };
            packet.clean_start = clean;
            packet.keep_alive = keep_alive;
            packet.username = user.as_ref().map(|(name, _)| name.clone());
            packet.password = user.filter(|(_, password)| *password).map(|(name, _)| name.into_bytes());
            packet.properties = TheirProperties::default();
            if v5 {
                let properties = &mut packet.properties;
                expiry.into_iter().for_each(|expiry| properties.set_session_expiry_interval(expiry));
                receive.into_iter().for_each(|receive| properties.set_receive_maximum(receive));
                size.into_iter().for_each(|size| properties.set_maximum_packet_size(size));
                users.into_iter().for_each(|(name, value)| properties.add_user_property(name, value));
            }
            let version = if v5 { Version::V5 } else { Version::V311 };
            sent(version, &packet, |packet| theirs::Packet::Connect(Box::new(packet)))
        },
    )
}

fn their_publish() -> impl Strategy<Value = Sent> {
    (any::<bool>(), text(), qos(), 1_u16.., blob(), any::<(bool, bool)>(), prop::option::of(1_u16..), user_properties()).prop_map(
        |(v5, topic, qos, id, payload, (retain, dup), alias, users)| {
            let mut packet =
                if v5 { PublishPacket::new(topic, payload, qos) } else { PublishPacket::new_v311(topic, payload, qos) };
            packet = packet.with_packet_id(id).with_retain(retain).with_dup(dup && qos != QoS::AtMostOnce);
            if v5 {
                alias.into_iter().for_each(|alias| packet.properties.set_topic_alias(alias));
                packet.properties.set_payload_format_indicator(retain);
                packet.properties.set_message_expiry_interval(u32::from(id));
                users.into_iter().for_each(|(name, value)| packet.properties.add_user_property(name, value));
            }
            sent(if v5 { Version::V5 } else { Version::V311 }, &packet, theirs::Packet::Publish)
        },
    )
}

fn their_subscribe() -> impl Strategy<Value = Sent> {
    let filter = (text(), qos(), any::<(bool, bool)>());
    (any::<bool>(), 1_u16.., prop::collection::vec(filter, 1..6), prop::option::of(1_u32..1 << 28)).prop_map(
        |(v5, id, filters, subscription)| {
            let mut packet = if v5 { SubscribePacket::new(id) } else { SubscribePacket::new_v311(id) };
            for (name, qos, (no_local, retain_as_published)) in filters {
                let mut options = SubscriptionOptions::new(qos);
                if v5 {
                    options.no_local = no_local;
                    options.retain_as_published = retain_as_published;
                    options.retain_handling = RetainHandling::DoNotSend;
                }
                packet = packet.add_filter_with_options(TopicFilter::with_options(name + "/+", options));
            }
            if let Some(subscription) = subscription.filter(|_| v5) {
                packet = packet.with_subscription_identifier(subscription);
            }
            sent(if v5 { Version::V5 } else { Version::V311 }, &packet, theirs::Packet::Subscribe)
        },
    )
}

fn their_small() -> impl Strategy<Value = Sent> {
    let unsubscribe = (any::<bool>(), 1_u16.., prop::collection::vec(text(), 1..6)).prop_map(|(v5, id, names)| {
        let packet = if v5 { UnsubscribePacket::new(id) } else { UnsubscribePacket::new_v311(id) };
        let packet = names.into_iter().fold(packet, UnsubscribePacket::add_filter);
        sent(if v5 { Version::V5 } else { Version::V311 }, &packet, theirs::Packet::Unsubscribe)
    });
    let puback = (1_u16.., any::<bool>(), text()).prop_map(|(id, fails, text)| {
        let mut packet = PubAckPacket::new(id);
        if fails {
            packet = PubAckPacket::new_with_reason(id, TheirReason::QuotaExceeded);
            packet.properties.set_reason_string(text);
        }
        sent(Version::V5, &packet, theirs::Packet::PubAck)
    });
    let disconnect = (any::<bool>(), text()).prop_map(|(will, text)| {
        let mut packet = DisconnectPacket::normal();
        if will {
            packet = DisconnectPacket::new(TheirReason::DisconnectWithWillMessage).with_reason_string(text);
        }
        sent(Version::V5, &packet, theirs::Packet::Disconnect)
    });
    prop_oneof![unsubscribe, puback, disconnect]
}

fn their_packet() -> impl Strategy<Value = Sent> {
    prop_oneof![their_connect(), their_publish(), their_subscribe(), their_small()]
}

/// Our packet says what theirs says.
fn same(ours: &Packet<'_>, theirs: &theirs::Packet) {
    match (ours, theirs) {
        (Packet::Connect(ours), theirs::Packet::Connect(theirs)) => {
            assert_eq!(ours.version == Version::V5, theirs.protocol_version == 5);
            assert_eq!((ours.clean_start, ours.keep_alive_s), (theirs.clean_start, theirs.keep_alive));
            assert_eq!((ours.client_id, ours.user_name), (theirs.client_id.as_str(), theirs.username.as_deref()));
            assert_eq!(ours.password, theirs.password.as_deref());
            same_properties(&ours.properties, &theirs.properties);
            let our_will = ours.will.map(|will| (will.topic, will.payload, will.qos as u8, will.retain));
            let their_will = theirs.will.as_ref();
            assert_eq!(
                our_will,
                their_will.map(|will| (will.topic.as_str(), will.payload.as_slice(), will.qos as u8, will.retain))
            );
        }
        (Packet::Publish(ours), theirs::Packet::Publish(theirs)) => {
            assert_eq!((ours.dup, ours.retain, ours.qos as u8), (theirs.dup, theirs.retain, theirs.qos as u8));
            assert_eq!((ours.topic, ours.packet_id), (theirs.topic_name.as_str(), theirs.packet_id));
            assert_eq!((ours.topic_alias, ours.payload), (theirs.topic_alias(), &theirs.payload[..]));
            same_properties(&ours.properties, &theirs.properties);
        }
        (Packet::Subscribe(ours), theirs::Packet::Subscribe(theirs)) => {
            assert_eq!(ours.packet_id, theirs.packet_id);
            let our_filters = ours.filters.map(|filter| {
                (filter.name, filter.qos as u8, filter.no_local, filter.retain_as_published, filter.retain_handling)
            });
            let their_filters = theirs.filters.iter().map(|TopicFilter { filter, options }| {
                let retain_handling = options.retain_handling as u8;
                (filter.as_str(), options.qos as u8, options.no_local, options.retain_as_published, retain_handling)
            });
            assert_eq!(our_filters.collect::<Vec<_>>(), their_filters.collect::<Vec<_>>());
            same_properties(&ours.properties, &theirs.properties);
        }
        (Packet::Unsubscribe(ours), theirs::Packet::Unsubscribe(theirs)) => {
            assert_eq!(ours.packet_id, theirs.packet_id);
            assert_eq!(ours.filters.collect::<Vec<_>>(), theirs.filters);
        }
        (Packet::Puback(ours), theirs::Packet::PubAck(theirs)) => {
            assert_eq!((ours.packet_id, ours.code.0), (theirs.packet_id, u8::from(theirs.reason_code)));
            same_properties(&ours.properties, &theirs.properties);
        }
        (Packet::Disconnect(ours), theirs::Packet::Disconnect(theirs)) => {
            assert_eq!(ours.code.0, u8::from(theirs.reason_code));
            same_properties(&ours.properties, &theirs.properties);
        }
        (Packet::Pubrec(_), theirs::Packet::PubRec(_))
        | (Packet::Pubrel(_), theirs::Packet::PubRel(_))
        | (Packet::Pubcomp(_), theirs::Packet::PubComp(_))
        | (Packet::Auth(_), theirs::Packet::Auth(_))
        | (Packet::Pingreq, theirs::Packet::PingReq) => {}
        (ours, theirs) => panic!("not the same packet: {ours:?} and {theirs:?}"),
    }
}

fn same_properties(ours: &Properties<'_>, theirs: &TheirProperties) {
    let mut ours: Vec<_> = ours.iter().map(in_their_words).map(|(id, value)| format!("{:02x} {value:?}", id as u8)).collect();
    let mut theirs: Vec<_> = theirs.iter().map(|(id, value)| format!("{:02x} {value:?}", id as u8)).collect();
    // They group by identifier; order only matters within one, and there a stable sort keeps it.
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

fn in_their_words(property: Property<'_>) -> (PropertyId, PropertyValue) {
    let flag = |flag: bool| PropertyValue::Byte(u8::from(flag));
    let text = |text: &str| PropertyValue::Utf8String(text.into());
    match property {
        Property::PayloadIsUtf8(utf8) => (PropertyId::PayloadFormatIndicator, flag(utf8)),
        Property::MessageExpiryS(seconds) => (PropertyId::MessageExpiryInterval, PropertyValue::FourByteInteger(seconds)),
        Property::ContentType(name) => (PropertyId::ContentType, text(name)),
        Property::ResponseTopic(topic) => (PropertyId::ResponseTopic, text(topic)),
        Property::CorrelationData(data) => (PropertyId::CorrelationData, PropertyValue::BinaryData(data.to_vec().into())),
        Property::SubscriptionId(id) => (PropertyId::SubscriptionIdentifier, PropertyValue::VariableByteInteger(id)),
        Property::SessionExpiryS(seconds) => (PropertyId::SessionExpiryInterval, PropertyValue::FourByteInteger(seconds)),
        Property::AuthenticationMethod(method) => (PropertyId::AuthenticationMethod, text(method)),
        Property::AuthenticationData(data) => (PropertyId::AuthenticationData, PropertyValue::BinaryData(data.to_vec().into())),
        Property::RequestProblem(wanted) => (PropertyId::RequestProblemInformation, flag(wanted)),
        Property::WillDelayS(seconds) => (PropertyId::WillDelayInterval, PropertyValue::FourByteInteger(seconds)),
        Property::RequestResponse(wanted) => (PropertyId::RequestResponseInformation, flag(wanted)),
        Property::ReasonString(reason) => (PropertyId::ReasonString, text(reason)),
        Property::ReceiveMaximum(maximum) => (PropertyId::ReceiveMaximum, PropertyValue::TwoByteInteger(maximum)),
        Property::TopicAliasMaximum(maximum) => (PropertyId::TopicAliasMaximum, PropertyValue::TwoByteInteger(maximum)),
        Property::TopicAlias(alias) => (PropertyId::TopicAlias, PropertyValue::TwoByteInteger(alias)),
        Property::User(name, value) => (PropertyId::UserProperty, PropertyValue::Utf8StringPair(name.into(), value.into())),
        Property::MaximumPacketSize(bytes) => (PropertyId::MaximumPacketSize, PropertyValue::FourByteInteger(bytes)),
    }
}

/// The first packet of `bytes` as the other crate reads it.
fn their_opinion(version: u8, bytes: &[u8]) -> mqtt5_protocol::Result<theirs::Packet> {
    let mut rest = bytes;
    let header = FixedHeader::decode(&mut rest)?;
    let length = usize::try_from(header.remaining_length).unwrap();
    let mut body = rest.get(..length).ok_or_else(|| mqtt5_protocol::MqttError::MalformedPacket(String::from("incomplete")))?;
    theirs::Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, version)
}

/// What we refuse and the other crate takes. Each is a rule of the specification that it does not check, because it is also a
/// client's codec, or leaves it to its broker: trailing bytes, packet identifier 0, which packet may have which property,
/// values of properties, reason codes and packets that only a server sends, levels above 5, minimal lengths, topic names.
fn only_we_refuse(error: DecodeError) -> bool {
    use DecodeError::{
        LengthOverlong, PacketIdZero, PacketType, PropertyDuplicate, PropertyMissing, PropertyNotAllowed, PropertyValue,
        ProtocolLevel, ServerPacket, SubscriptionOptions, TopicAliasZero, TopicFilter, TopicName, TrailingBytes,
    };
    matches!(
        error,
        TrailingBytes
            | PacketIdZero
            | PropertyNotAllowed
            | PropertyMissing
            | PropertyValue
            // Two subscription identifiers in SUBSCRIBE.
            | PropertyDuplicate
            | TopicAliasZero
            | TopicName
            | TopicFilter
            | ServerPacket
            // AUTH before MQTT 5.
            | PacketType
            | ProtocolLevel(_)
            | LengthOverlong
            // The upper bits before MQTT 5.
            | SubscriptionOptions
            | DecodeError::ReasonCode
            // No local on a shared subscription.
            | DecodeError::SharedNoLocal
    )
}

/// What we take and the other crate refuses: MQTT 3.1, and a password without a user name in MQTT 5 (3.1.2.9 allows it).
fn only_we_take(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Connect(connect) => {
            connect.version == Version::V31 || (connect.user_name.is_none() && connect.password.is_some())
        }
        _ => false,
    }
}

fn compare(version: Version, bytes: &[u8]) {
    let level = if version == Version::V5 { 5 } else { 4 };
    let theirs = their_opinion(level, bytes);
    match (one(version, bytes), theirs) {
        (Ok(ours), Ok(theirs)) => same(&ours, &theirs),
        (Err(ours), Ok(theirs)) => assert!(only_we_refuse(ours), "only we refuse {bytes:?}: {ours:?}, {theirs:?}"),
        (Ok(ours), Err(theirs)) => assert!(only_we_take(&ours), "only we take {bytes:?}: {ours:?}, {theirs:?}"),
        (Err(_), Err(_)) => {}
    }
}

fn mutated() -> impl Strategy<Value = (Version, Vec<u8>)> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    (their_packet(), prop::collection::vec(change, 1..4)).prop_map(|(sent, changes)| {
        let mut bytes = sent.bytes;
        for (index, byte, kind) in changes {
            // Mostly near the front, where the structure is.
            let index = index.index(bytes.len().clamp(1, 60));
            match kind {
                0 => bytes.insert(index, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(index.min(bytes.len() - 1))),
                2 => bytes[index] ^= 1 << (byte % 8),
                _ => bytes[index] = byte,
            }
        }
        (sent.version, bytes)
    })
}

/// Bytes whose fixed header is right, so that the body is looked at.
fn framed() -> impl Strategy<Value = (Version, Vec<u8>)> {
    let body = prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..60);
    let version = prop_oneof![Just(Version::V311), Just(Version::V5)];
    (version, any::<u8>(), body).prop_map(|(version, first, body)| {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        (version, bytes)
    })
}

/// At least 2,000 cases; more if PROPTEST_CASES says so.
fn cases() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(2_000), failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        harness::decode_any(&bytes);
    }

    #[test]
    fn any_framed_bytes_are_read_within_their_bounds((_, bytes) in framed()) {
        harness::decode_any(&bytes);
    }

    #[test]
    fn mutated_packets_are_read_within_their_bounds((_, bytes) in mutated()) {
        harness::decode_any(&bytes);
    }

    #[test]
    fn what_they_write_we_read(sent in their_packet()) {
        // [MQTT-3.1.3-1].
        let ours = one(sent.version, &sent.bytes);
        prop_assert!(ours.is_ok(), "{:?}: {ours:?}", sent.packet);
        same(&ours.unwrap(), &sent.packet);
    }

    #[test]
    fn acceptance_agrees_on_framed_bytes((version, bytes) in framed()) {
        compare(version, &bytes);
    }

    #[test]
    fn acceptance_agrees_on_mutated_packets((version, bytes) in mutated()) {
        compare(version, &bytes);
    }

    #[test]
    fn cuts_change_nothing(packets in prop::collection::vec(their_small(), 1..6), v5 in any::<bool>()) {
        let version = if v5 { Version::V5 } else { Version::V311 };
        let stream: Vec<u8> = packets.into_iter().flat_map(|sent| sent.bytes).collect();
        let whole = outline(version, &stream);
        for cut in 0..=stream.len() {
            let before = outline(version, &stream[..cut]);
            prop_assert_eq!(&before[..], &whole[..before.len()], "a prefix of the stream is a prefix of the packets");
            let consumed: usize = consumed(&stream[..cut]);
            let after = outline(version, &stream[consumed..]);
            prop_assert_eq!([before, after].concat(), whole.clone());
        }
    }

    #[test]
    fn what_we_write_they_read(
        topic in text(),
        payload in blob(),
        id in prop::option::of(1_u16..),
        (alias, correlation, dup) in (prop::option::of(1_u16..), prop::option::of(blob()), any::<bool>()),
        codes in prop::collection::vec(0_u8..2, 1..300),
        v5 in any::<bool>(),
    ) {
        // [MQTT-2.2.1-2].
        let (version, level) = if v5 { (Version::V5, 5) } else { (Version::V311, 4) };
        let correlation = correlation.as_deref();
        let outgoing = Outgoing { topic: &topic, topic_alias: alias, correlation, packet_id: id, dup, payload: &payload };
        let mut bytes = Vec::new();
        encode_publish(version, &outgoing, &mut bytes);
        prop_assert_eq!(Some(bytes.len()), outgoing_bytes(version, &outgoing));
        let theirs::Packet::Publish(publish) = their_opinion(level, &bytes).unwrap() else { panic!("a PUBLISH") };
        prop_assert_eq!((publish.topic_name.as_str(), publish.packet_id), (topic.as_str(), id));
        prop_assert_eq!(&publish.payload[..], &payload[..]);
        prop_assert_eq!((publish.qos as u8, publish.dup), (u8::from(id.is_some()), dup && id.is_some()), "[MQTT-3.3.1-2]");
        // And we read our own.
        let Ok(Packet::Publish(ours)) = one(version, &bytes) else { panic!("a PUBLISH") };
        prop_assert_eq!((ours.topic, ours.packet_id, ours.payload), (topic.as_str(), id, &payload[..]));
        prop_assert_eq!(ours.topic_alias, alias.filter(|_| v5));
        same_properties(&ours.properties, &publish.properties);

        let id = id.unwrap_or(7);
        let (mut suback, mut unsuback) = (Vec::new(), Vec::new());
        encode_suback(version, id, codes.len(), codes.iter().map(|&code| ReasonCode(code)), &mut suback);
        prop_assert_eq!(suback.len(), suback_bytes(version, codes.len()));
        let theirs::Packet::SubAck(packet) = their_opinion(level, &suback).unwrap() else { panic!("a SUBACK") };
        prop_assert_eq!(packet.packet_id, id);
        prop_assert_eq!(packet.reason_codes.iter().map(|&code| code as u8).collect::<Vec<_>>(), codes.clone());
        encode_unsuback(version, id, codes.len(), codes.iter().map(|&code| ReasonCode(code * 0x11)), &mut unsuback);
        let theirs::Packet::UnsubAck(packet) = their_opinion(level, &unsuback).unwrap() else { panic!("an UNSUBACK") };
        prop_assert_eq!(packet.packet_id, id);
        prop_assert_eq!(packet.reason_codes.len(), if v5 { codes.len() } else { 0 });
    }
}

fn consumed(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Ok(Some(frame)) = frame(rest, usize::MAX) {
        rest = &rest[frame.bytes..];
    }
    bytes.len() - rest.len()
}

#[test]
fn our_small_packets_are_read_by_them() {
    let mut bytes = Vec::new();
    encode_ack(Version::V5, Acknowledgement::Puback, 258, ReasonCode::PAYLOAD_FORMAT_INVALID, Some("why"), &mut bytes);
    let theirs::Packet::PubAck(puback) = their_opinion(5, &bytes).unwrap() else { panic!("a PUBACK") };
    assert_eq!((puback.packet_id, puback.reason_code), (258, TheirReason::PayloadFormatInvalid));
    assert_eq!(puback.properties.get(PropertyId::ReasonString), Some(&PropertyValue::Utf8String("why".into())));
    for (packet, first) in [(Acknowledgement::Puback, 0x40), (Acknowledgement::Pubrec, 0x50), (Acknowledgement::Pubcomp, 0x70)] {
        bytes.clear();
        encode_ack(Version::V5, packet, 258, ReasonCode::SUCCESS, Some("unsaid"), &mut bytes);
        encode_ack(Version::V5, packet, 258, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, None, &mut bytes);
        encode_ack(Version::V311, packet, 258, ReasonCode::PAYLOAD_FORMAT_INVALID, Some("unsaid"), &mut bytes);
        assert_eq!(bytes, [first, 2, 1, 2, first, 3, 1, 2, 0x92, first, 2, 1, 2]);
    }
    bytes.clear();
    encode_ack(Version::V5, Acknowledgement::Pubrec, 258, ReasonCode::QUOTA_EXCEEDED, Some(&"x".repeat(200)), &mut bytes);
    let theirs::Packet::PubRec(pubrec) = their_opinion(5, &bytes).unwrap() else { panic!("a PUBREC") };
    assert_eq!((pubrec.packet_id, pubrec.reason_code), (258, TheirReason::QuotaExceeded));
    bytes.clear();
    encode_disconnect(ReasonCode::SESSION_TAKEN_OVER, Some("why"), &mut bytes);
    let theirs::Packet::Disconnect(disconnect) = their_opinion(5, &bytes).unwrap() else { panic!("a DISCONNECT") };
    assert_eq!(disconnect.reason_code, TheirReason::SessionTakenOver);
    bytes.clear();
    encode_disconnect(ReasonCode::SESSION_TAKEN_OVER, None, &mut bytes);
    assert_eq!(bytes, [0xE0, 1, 0x8E]);
    bytes.clear();
    encode_pingresp(&mut bytes);
    assert!(matches!(their_opinion(4, &bytes), Ok(theirs::Packet::PingResp)));
}

#[test]
fn our_connack_is_read_by_them() {
    let properties = ConnackProperties {
        session_expiry_s: Some(0),
        receive_maximum: Some(64),
        maximum_qos: Some(Qos::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(66_560),
        assigned_client_id: Some("tidegate-1"),
        wildcard_available: Some(true),
        subscription_ids_available: Some(false),
        shared_available: Some(false),
        server_keep_alive_s: Some(3_600),
        topic_alias_maximum: Some(16),
        reason_string: Some("why"),
    };
    let mut bytes = Vec::new();
    encode_connack(Version::V5, true, ReasonCode::SUCCESS, &properties, &mut bytes);
    let theirs::Packet::ConnAck(connack) = their_opinion(5, &bytes).unwrap() else { panic!("a CONNACK") };
    let expected = ConnAckPacket::new(false, TheirReason::Success)
        .with_session_expiry_interval(0)
        .with_receive_maximum(64)
        .with_maximum_qos(1)
        .with_retain_available(false)
        .with_maximum_packet_size(66_560)
        .with_assigned_client_id(String::from("tidegate-1"))
        .with_wildcard_subscription_available(true)
        .with_subscription_identifier_available(false)
        .with_shared_subscription_available(false)
        .with_server_keep_alive(3_600)
        .with_topic_alias_maximum(16)
        .with_reason_string(String::from("why"));
    assert_eq!((connack.session_present, connack.reason_code), (true, TheirReason::Success));
    let listed = |properties: &TheirProperties| {
        let mut listed: Vec<_> = properties.iter().map(|(id, value)| format!("{id:?} {value:?}")).collect();
        listed.sort();
        listed
    };
    assert_eq!(listed(&connack.properties), listed(&expected.properties));
    bytes.clear();
    encode_connack(Version::V311, false, ReasonCode::RETURN_NOT_AUTHORIZED, &properties, &mut bytes);
    encode_connack(Version::V311, true, ReasonCode::SUCCESS, &properties, &mut bytes);
    encode_connack(Version::V31, true, ReasonCode::SUCCESS, &properties, &mut bytes);
    assert_eq!(bytes, [0x20, 2, 0, 5, 0x20, 2, 1, 0, 0x20, 2, 0, 0], "MQTT 3.1 has no session present");
}

#[test]
fn what_a_publisher_writes_and_reads() {
    use super::client::{Bounds, FromServer, Greeting, Publication, decode_from_server, encode_connect};
    for version in [Version::V31, Version::V311, Version::V5] {
        let greeting = Greeting { client_id: "me", clean_start: true, keep_alive_s: 30, user: Some(("u", "p")) };
        let mut bytes = Vec::new();
        encode_connect(version, &greeting, &mut bytes);
        let Packet::Connect(connect) = one(version, &bytes).unwrap() else { panic!("{bytes:?}") };
        assert_eq!((connect.version, connect.client_id, connect.keep_alive_s), (version, "me", 30));
        assert_eq!((connect.clean_start, connect.user_name, connect.password), (true, Some("u"), Some(&b"p"[..])));

        let publication = Publication { topic: "a/b", packet_id: 7, retain: true, property: ("key", "1-2"), payload: b"{}" };
        let mut bytes = Vec::new();
        publication.encode(version, &mut bytes);
        assert_eq!(publication.bytes(version), Some(bytes.len()));
        let Packet::Publish(publish) = one(version, &bytes).unwrap() else { panic!("{bytes:?}") };
        assert_eq!((publish.qos, publish.retain, publish.dup), (Qos::AtLeastOnce, true, false));
        assert_eq!((publish.topic, publish.packet_id, publish.payload), ("a/b", Some(7), &b"{}"[..]));
        let properties: Vec<Property<'_>> = publish.properties.iter().collect();
        assert_eq!(properties, if version == Version::V5 { vec![Property::User("key", "1-2")] } else { Vec::new() });
    }
    let from_server =
        |version, bytes: &'static [u8]| decode_from_server(version, &frame(bytes, usize::MAX).unwrap().expect("a packet"));
    let (none, some) = (Bounds::default(), |reason| Bounds { reason: Some(reason), ..Bounds::default() });
    let connack = Bounds { receive_maximum: Some(20), packet_bytes_max: Some(65_536), reason: None };
    let cases: [(Version, &'static [u8], Result<FromServer<'_>, DecodeError>); 12] = [
        (Version::V311, &[0x20, 2, 0, 5], Ok(FromServer::Connack(ReasonCode(5), none))),
        // As Mosquitto says it: topic alias maximum, receive maximum; and one with a packet size, an id, an expiry and a flag.
        (
            Version::V5,
            &[0x20, 23, 0, 0, 21, 0x22, 0, 10, 0x21, 0, 20, 0x27, 0, 1, 0, 0, 0x12, 0, 1, b'x', 0x24, 1, 0x13, 0, 60],
            Err(DecodeError::Truncated),
        ),
        (
            Version::V5,
            &[0x20, 23, 0, 0, 20, 0x22, 0, 10, 0x21, 0, 20, 0x27, 0, 1, 0, 0, 0x12, 0, 1, b'x', 0x24, 1, 0x13, 0, 60],
            Ok(FromServer::Connack(ReasonCode::SUCCESS, connack)),
        ),
        (Version::V5, &[0x20, 4, 0, 0, 1, 0x01], Err(DecodeError::PropertyUnknown)),
        (Version::V311, &[0x40, 2, 0, 7], Ok(FromServer::Puback(7, ReasonCode::SUCCESS, none))),
        (Version::V311, &[0x40, 2, 0, 0], Err(DecodeError::PacketIdZero)),
        (Version::V5, &[0x40, 3, 0, 7, 0x10], Ok(FromServer::Puback(7, ReasonCode::NO_MATCHING_SUBSCRIBERS, none))),
        (
            Version::V5,
            &[0x40, 9, 0, 7, 0x87, 5, 0x1F, 0, 2, b'n', b'o'],
            Ok(FromServer::Puback(7, ReasonCode::NOT_AUTHORIZED, some("no"))),
        ),
        (Version::V5, &[0xE0, 1, 0x8B], Ok(FromServer::Disconnect(ReasonCode::SERVER_SHUTTING_DOWN, none))),
        (Version::V5, &[0xE0, 0], Ok(FromServer::Disconnect(ReasonCode::SUCCESS, none))),
        (Version::V311, &[0xE0, 0], Err(DecodeError::PacketType)),
        (Version::V311, &[0xD0, 0], Ok(FromServer::Other)),
    ];
    for (version, bytes, expected) in cases {
        assert_eq!(from_server(version, bytes), expected, "{version:?} {bytes:?}");
    }
}
