//! What the specifications forbid and allow, as data.

use super::*;

#[test]
fn a_frame_is_whole_or_awaited_or_refused_early() {
    assert!(matches!(frame(&[], 99), Ok(None)));
    assert!(matches!(frame(&[0x30], 99), Ok(None)));
    assert!(matches!(frame(&[0x30, 0x80], 99), Ok(None)));
    assert!(matches!(frame(&[0x30, 2, 0], 99), Ok(None)));
    let whole = frame(&[0x3B, 2, 7, 8, 9], 99).unwrap().unwrap();
    assert_eq!((whole.packet_type, whole.flags, whole.body, whole.bytes), (PacketType::Publish, 0x0B, &[7, 8][..], 4));
    assert_eq!(frame(&[0x0F], 99).err(), Some(DecodeError::PacketType));
    assert_eq!(frame(&[0x30, 98], 99).err(), Some(DecodeError::PacketTooLarge), "before its bytes arrive");
    assert!(matches!(frame(&[0x30, 97], 99), Ok(None)));
    assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 99).err(), Some(DecodeError::PacketTooLarge));
    assert!(matches!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], usize::MAX), Ok(None)));
    assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80], 99).err(), Some(DecodeError::LengthOverlong), "four bytes at most");
    assert_eq!(frame(&[0x30, 0x81, 0x00], 99).err(), Some(DecodeError::LengthOverlong), "[MQTT-1.5.5-1]");
}

#[test]
fn reserved_things_are_refused_in_every_version() {
    for version in [Version::V31, Version::V311, Version::V5] {
        check(
            version,
            &[
                ("[MQTT-2.1.3-1] CONNECT", b"\x11\x00", DecodeError::HeaderFlags),
                ("[MQTT-3.8.1-1]", b"\x80\x00", DecodeError::HeaderFlags),
                ("[MQTT-3.10.1-1]", b"\xa0\x00", DecodeError::HeaderFlags),
                ("[MQTT-3.6.1-1]", b"\x60\x02\x00\x01", DecodeError::HeaderFlags),
                ("PINGREQ flags", b"\xc1\x00", DecodeError::HeaderFlags),
                ("PINGREQ body", b"\xc0\x01\x00", DecodeError::TrailingBytes),
                ("CONNACK", b"\x20\x02\x00\x00", DecodeError::ServerPacket),
                ("SUBACK", b"\x90\x03\x00\x01\x00", DecodeError::ServerPacket),
                ("UNSUBACK", b"\xb0\x02\x00\x01", DecodeError::ServerPacket),
                ("PINGRESP", b"\xd0\x00", DecodeError::ServerPacket),
                ("[MQTT-3.3.1-4] QoS 3", b"\x36\x05\x00\x01a\x00\x01", DecodeError::PublishFlags),
                ("PUBLISH id 0", b"\x32\x05\x00\x01a\x00\x00", DecodeError::PacketIdZero),
                ("PUBACK id 0", b"\x40\x02\x00\x00", DecodeError::PacketIdZero),
                ("SUBSCRIBE id 0", b"\x82\x06\x00\x00\x00\x01a\x00", DecodeError::PacketIdZero),
                ("[MQTT-3.3.2-2], [MQTT-4.7.0-1] +", b"\x30\x05\x00\x02a+\x00", DecodeError::TopicName),
                ("[MQTT-3.3.2-2] #", b"\x30\x05\x00\x02#a\x00", DecodeError::TopicName),
                ("[MQTT-4.7.3-1]", b"\x30\x03\x00\x00\x00", DecodeError::TopicName),
                ("[MQTT-1.5.4-1], [MQTT-3.3.2-1] not UTF-8", b"\x30\x04\x00\x02\xc0\x80", DecodeError::Utf8),
                ("[MQTT-1.5.4-1] surrogate", b"\x30\x05\x00\x03\xed\xa0\x80", DecodeError::Utf8),
                ("[MQTT-1.5.4-2], [MQTT-4.7.3-2]", b"\x30\x05\x00\x02a\x00\x00", DecodeError::NullCharacter),
                ("topic cut", b"\x30\x03\x00\x02a", DecodeError::Truncated),
                ("[MQTT-3.1.2-1] name", b"\x10\x08\x00\x04MQTX\x04\x02", DecodeError::ProtocolName),
                ("level 6", b"\x10\x07\x00\x04MQTT\x06", DecodeError::ProtocolLevel(6)),
                ("MQIsdp 4", b"\x10\x09\x00\x06MQIsdp\x04", DecodeError::ProtocolLevel(4)),
                ("[MQTT-3.1.2-3]", b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", DecodeError::ConnectFlags),
                ("[MQTT-3.1.2-11] will QoS alone", b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x00\x00\x00", DecodeError::ConnectFlags),
                ("[MQTT-3.1.2-13] will retain alone", b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00", DecodeError::ConnectFlags),
                ("[MQTT-3.1.2-12] will QoS 3", b"\x10\x0c\x00\x04MQTT\x04\x1e\x00\x00\x00\x00", DecodeError::ConnectFlags),
                ("3.1.1: password alone", b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x00\x00\x00", DecodeError::ConnectFlags),
                ("[MQTT-3.1.2-17]", b"\x10\x0c\x00\x04MQTT\x04\x82\x00\x00\x00\x00", DecodeError::Truncated),
                ("will topic wild", b"\x10\x11\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x01#\x00\x00", DecodeError::TopicName),
                ("[MQTT-3.1.2-9]", b"\x10\x0c\x00\x04MQTT\x04\x06\x00\x00\x00\x00", DecodeError::Truncated),
                ("[MQTT-3.1.2-16]", b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00\x01u", DecodeError::TrailingBytes),
                ("[MQTT-3.1.2-18]", b"\x10\x12\x00\x04MQTT\x04\x82\0\0\0\0\0\x01u\0\x01p", DecodeError::TrailingBytes),
                ("[MQTT-3.1.2-19]", b"\x10\x0f\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x01u", DecodeError::Truncated),
                ("[MQTT-3.1.3-3]", b"\x10\x0a\x00\x04MQTT\x04\x02\x00\x00", DecodeError::Truncated),
                ("[MQTT-3.1.3-4]", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xff", DecodeError::Utf8),
                ("[MQTT-3.1.3-11]", b"\x10\x11\x00\x04MQTT\x04\x06\0\0\0\0\0\x01\xff\0\0", DecodeError::Utf8),
                ("[MQTT-3.1.3-12]", b"\x10\x0f\x00\x04MQTT\x04\x82\0\0\0\0\0\x01\xff", DecodeError::Utf8),
                ("[MQTT-3.14.1-1]", b"\xe1\x00", DecodeError::HeaderFlags),
                ("[MQTT-3.15.1-1]", b"\xf1\x00", DecodeError::HeaderFlags),
                ("CONNECT with more", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00", DecodeError::TrailingBytes),
            ],
        );
    }
}

#[test]
fn versions_differ_where_the_specifications_do() {
    use DecodeError::{HeaderFlags, NoFilter, PacketType, PublishFlags, SubscriptionOptions, TrailingBytes};
    check(
        Version::V311,
        &[
            ("AUTH is reserved", b"\xf0\x00", PacketType),
            ("[MQTT-3.3.1-2]", b"\x38\x03\x00\x01a", PublishFlags),
            ("PUBREL with DUP", b"\x6a\x02\x00\x01", HeaderFlags),
            ("[MQTT-3-8.3-4]", b"\x82\x06\x00\x01\x00\x01a\x04", SubscriptionOptions),
            ("QoS 3", b"\x82\x06\x00\x01\x00\x01a\x03", SubscriptionOptions),
            ("[MQTT-3.8.3-3]", b"\x82\x02\x00\x01", NoFilter),
            ("[MQTT-3.10.3-2]", b"\xa2\x02\x00\x01", NoFilter),
            ("empty filter", b"\x82\x05\x00\x01\x00\x00\x00", DecodeError::TopicFilter),
            ("PUBACK with code", b"\x40\x03\x00\x01\x00", TrailingBytes),
            ("DISCONNECT with code", b"\xe0\x01\x00", TrailingBytes),
        ],
    );
    for (version, bytes) in [
        (Version::V31, &b"\x6a\x02\x00\x01"[..]),
        (Version::V31, b"\x8a\x06\x00\x01\x00\x01a\x01"),
        (Version::V31, b"\x38\x03\x00\x01a"),
        (Version::V5, b"\x82\x07\x00\x01\x00\x00\x01a\x2d"),
        (Version::V5, b"\x40\x03\x00\x01\x10"),
        (Version::V5, b"\x40\x04\x00\x01\x00\x00"),
        (Version::V5, b"\xe0\x00"),
        (Version::V5, b"\xe0\x01\x04"),
        (Version::V5, b"\x10\x0f\x00\x04MQTT\x05\x42\x00\x00\x00\x00\x00\x00\x00"),
        (Version::V5, b"\x30\x06\x00\x00\x03\x23\x00\x01"),
        (Version::V5, b"\xf0\x06\x18\x04\x15\x00\x01m"),
    ] {
        assert!(one(version, bytes).is_ok(), "{version:?} {bytes:?}: {:?}", one(version, bytes));
    }
}

#[test]
fn properties_are_checked() {
    use DecodeError::{
        LengthOverlong, NoFilter, PropertyDuplicate, PropertyMissing, PropertyNotAllowed, PropertyUnknown, PropertyValue,
        ReasonCode, SubscriptionOptions, TopicAliasZero, TopicName, Truncated, Utf8,
    };
    check(
        Version::V5,
        &[
            ("no properties at all", b"\x30\x03\x00\x01a", Truncated),
            ("longer than the packet", b"\x30\x04\x00\x01a\x01", Truncated),
            ("cut value", b"\x30\x06\x00\x01a\x02\x23\x00", Truncated),
            ("overlong length", b"\x30\x05\x00\x01a\x80\x00", LengthOverlong),
            ("unknown", b"\x30\x06\x00\x01a\x02\x04\x00", PropertyUnknown),
            ("unknown, large", b"\x30\x06\x00\x01a\x02\xff\x01", PropertyUnknown),
            ("[MQTT-1.5.5-1] identifier", b"\x30\x07\x00\x01a\x03\xa3\x00\x01", LengthOverlong),
            ("[MQTT-3.3.4-6]", b"\x30\x06\x00\x01a\x02\x0b\x01", PropertyNotAllowed),
            ("a server's", b"\x30\x06\x00\x01a\x02\x24\x01", PropertyNotAllowed),
            ("2.2.2.2 twice", b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", PropertyDuplicate),
            ("3.3.2.3.2", b"\x30\x06\x00\x01a\x02\x01\x02", PropertyValue),
            ("[MQTT-3.3.2-8]", b"\x30\x07\x00\x01a\x03\x23\x00\x00", TopicAliasZero),
            ("[MQTT-3.3.2-14]", b"\x30\x08\x00\x01a\x04\x08\x00\x01#", TopicName),
            ("no topic, no alias", b"\x30\x03\x00\x00\x00", TopicName),
            ("3.1.2.11.3", b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x00", PropertyValue),
            ("3.1.2.11.4", b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x00", PropertyValue),
            ("3.1.2.11.10", b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x03\x16\x00\x00\x00\x00", PropertyMissing),
            ("3.15.2.2.2", b"\xf0\x02\x18\x00", PropertyMissing),
            ("3.15.2.1", b"\xf0\x02\x00\x00", ReasonCode),
            ("3.8.2.1.2", b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", PropertyValue),
            ("[MQTT-3.8.3-5]", b"\x82\x07\x00\x01\x00\x00\x01a\x40", SubscriptionOptions),
            ("[MQTT-3.8.3-4]", b"\x82\x0f\x00\x01\x00\x00\x09$share/g/\x04", DecodeError::SharedNoLocal),
            ("retain handling 3", b"\x82\x07\x00\x01\x00\x00\x01a\x30", SubscriptionOptions),
            ("[MQTT-3.8.3-1]", b"\x82\x07\x00\x01\x00\x00\x01\xff\x00", Utf8),
            ("[MQTT-3.8.3-2]", b"\x82\x03\x00\x01\x00", NoFilter),
            ("[MQTT-3.10.3-1]", b"\xa2\x06\x00\x01\x00\x00\x01\xff", Utf8),
            ("[MQTT-3.10.3-2]", b"\xa2\x03\x00\x01\x00", NoFilter),
            ("[MQTT-1.5.7-1] name", b"\x30\x0a\x00\x01a\x06\x26\x00\x01\xff\x00\x00", Utf8),
            ("[MQTT-1.5.7-1] value", b"\x30\x0a\x00\x01a\x06\x26\x00\x00\x00\x01\xff", Utf8),
            ("[MQTT-3.3.2-13]", b"\x30\x08\x00\x01a\x04\x08\x00\x01\xff", Utf8),
            ("[MQTT-3.3.2-19]", b"\x30\x08\x00\x01a\x04\x03\x00\x01\xff", Utf8),
            ("3.4.2.1", b"\x40\x03\x00\x01\x81", ReasonCode),
            ("3.14.2.1: a server's", b"\xe0\x01\x8e", ReasonCode),
            ("3.14.2.2.5", b"\xe0\x06\x00\x04\x1c\x00\x01s", PropertyNotAllowed),
        ],
    );
}

#[test]
fn every_error_has_a_failure_code() {
    for (error, code) in [
        (DecodeError::Truncated, 0x81),
        (DecodeError::PropertyDuplicate, 0x82),
        (DecodeError::PacketIdZero, 0x82),
        (DecodeError::ProtocolLevel(9), 0x84),
        (DecodeError::TopicFilter, 0x8F),
        (DecodeError::TopicName, 0x90),
        (DecodeError::TopicAliasZero, 0x94),
        (DecodeError::PacketTooLarge, 0x95),
    ] {
        assert_eq!(error.reason_code(), ReasonCode(code), "{error}");
    }
    assert!(size_of::<DecodeError>() <= 2, "made on the hot path");
}
