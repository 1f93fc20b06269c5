//! What must hold for any bytes at all: called by the property tests and by the fuzz targets. Panics when it does not hold,
//! so the server never calls it.

use std::ops::Range;

use super::client::{FromServer, decode_from_server};
use super::{Frame, Packet, Properties, Property, Version, decode, frame};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Cuts `bytes` into packets and decodes each as every version; everything found must lie inside `bytes`, and a packet's
/// result must not depend on what follows it or on how much of it had arrived before.
///
/// # Panics
/// When one of these does not hold.
pub fn decode_any(bytes: &[u8]) {
    for version in VERSIONS {
        for packet_bytes_max in [16, usize::MAX] {
            walk(version, bytes, packet_bytes_max);
        }
    }
}

fn walk(version: Version, bytes: &[u8], packet_bytes_max: usize) {
    let mut rest = bytes;
    while let Ok(Some(frame)) = frame(rest, packet_bytes_max) {
        assert!(frame.bytes >= 2 && frame.bytes <= rest.len(), "a packet has a fixed header and ends inside the input");
        assert!(frame.bytes <= packet_bytes_max, "the bound holds");
        assert_eq!(range(frame.body).end, range(rest).start + frame.bytes, "the body ends where the packet ends");
        check_prefixes(&rest[..frame.bytes], packet_bytes_max);
        check_packet(version, &frame);
        check_from_server(version, &frame);
        rest = &rest[frame.bytes..];
    }
}

/// No proper prefix of a packet is a packet or an error.
fn check_prefixes(packet: &[u8], packet_bytes_max: usize) {
    // All short prefixes, and the longest one: those between differ only in payload.
    for length in (0..packet.len().min(8)).chain([packet.len() - 1]) {
        assert!(matches!(frame(&packet[..length], packet_bytes_max), Ok(None)), "a prefix of a packet is only incomplete");
    }
}

fn check_from_server(version: Version, frame: &Frame<'_>) {
    if let Ok(FromServer::Connack(_, bounds) | FromServer::Puback(_, _, bounds) | FromServer::Disconnect(_, bounds)) =
        decode_from_server(version, frame)
    {
        let (outer, inner) = (range(frame.body), range(bounds.reason.unwrap_or_default().as_bytes()));
        assert!(inner.is_empty() || (outer.start <= inner.start && inner.end <= outer.end), "a text lies inside its packet");
    }
}

fn check_packet(version: Version, frame: &Frame<'_>) {
    let decoded = decode(version, frame);
    let Ok(packet) = decoded else {
        // Whatever is wrong has a failure code to say so.
        assert!(decoded.is_err_and(|error| error.reason_code().0 >= 0x80));
        return;
    };
    let inside = |part: &[u8]| {
        let (outer, inner) = (range(frame.body), range(part));
        assert!(part.is_empty() || (outer.start <= inner.start && inner.end <= outer.end), "a field lies inside its packet");
    };
    match packet {
        Packet::Connect(connect) => {
            inside(connect.client_id.as_bytes());
            inside(connect.user_name.unwrap_or_default().as_bytes());
            inside(connect.password.unwrap_or_default());
            check_properties(&connect.properties, &inside);
            if let Some(will) = connect.will {
                inside(will.topic.as_bytes());
                inside(will.payload);
                check_properties(&will.properties, &inside);
            }
        }
        Packet::Publish(publish) => {
            inside(publish.topic.as_bytes());
            inside(publish.payload);
            assert!(!publish.topic.contains(['+', '#', '\0']), "a topic name has no wildcard and no U+0000");
            assert!(publish.packet_id != Some(0), "packet identifiers start at 1");
            check_properties(&publish.properties, &inside);
        }
        Packet::Subscribe(subscribe) => {
            assert!(subscribe.filters.count() > 0, "a SUBSCRIBE has a filter");
            subscribe.filters.for_each(|filter| inside(filter.name.as_bytes()));
            check_properties(&subscribe.properties, &inside);
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert!(unsubscribe.filters.count() > 0, "an UNSUBSCRIBE has a filter");
            unsubscribe.filters.for_each(|name| inside(name.as_bytes()));
            check_properties(&unsubscribe.properties, &inside);
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            assert!(ack.packet_id != 0, "packet identifiers start at 1");
            check_properties(&ack.properties, &inside);
        }
        Packet::Disconnect(disconnect) => check_properties(&disconnect.properties, &inside),
        Packet::Auth(auth) => check_properties(&auth.properties, &inside),
        Packet::Pingreq => assert!(frame.body.is_empty(), "a PINGREQ has no body"),
    }
}

fn check_properties(properties: &Properties<'_>, inside: &impl Fn(&[u8])) {
    let mut found = 0;
    for property in properties.iter() {
        found += 1;
        match property {
            Property::User(name, value) => {
                inside(name.as_bytes());
                inside(value.as_bytes());
            }
            Property::ContentType(text)
            | Property::ResponseTopic(text)
            | Property::AuthenticationMethod(text)
            | Property::ReasonString(text) => inside(text.as_bytes()),
            Property::CorrelationData(bytes) | Property::AuthenticationData(bytes) => inside(bytes),
            Property::SubscriptionId(id) => assert!(id > 0, "a subscription identifier is positive"),
            Property::TopicAlias(alias) => assert!(alias > 0, "a topic alias is positive"),
            _ => {}
        }
    }
    assert_eq!(found == 0, properties.is_empty(), "every property that was checked can be read again");
}

fn range(bytes: &[u8]) -> Range<usize> {
    let pointers = bytes.as_ptr_range();
    pointers.start.addr()..pointers.end.addr()
}
