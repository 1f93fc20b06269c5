//! Packets that get a script past the parser; mutations of them come from the raw deed.

use crate::codec::mqtt::Version;

/// The highest argument that is worth choosing a packet with.
pub const PACKET_LAST: u8 = 39;

/// A packet of the version that is spoken; CONNECT as long as none is.
pub(super) fn chosen(version: Option<Version>, argument: u8) -> &'static [u8] {
    let list: &[&[u8]] = match version {
        None => &CONNECTS,
        Some(Version::V5) => &PACKETS_5,
        Some(Version::V31 | Version::V311) => &PACKETS_4,
    };
    list[usize::from(argument) % list.len()]
}

const CONNECTS: [&[u8]; 4] = [
    b"\x10\x0f\x00\x04MQTT\x04\x80\x00\x3c\x00\x00\x00\x01t",
    b"\x10\x10\x00\x04MQTT\x05\x82\x00\x3c\x00\x00\x00\x00\x01t",
    b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x00\x00\x02id",
    // MQTT 5 with session expiry, receive maximum 2, maximum packet size 128, topic alias maximum 1.
    b"\x10\x20\x00\x04MQTT\x05\x80\x00\x0a\x10\x11\x00\x00\x00\x09\x21\x00\x02\x27\x00\x00\x00\x80\x22\x00\x01\x00\x00\x00\x01t",
];

const PACKETS_4: [&[u8]; 30] = [
    b"\x32\x1d\x00\x17v1/devices/me/telemetry\x00\x01{}",
    b"\x32\x1d\x00\x17v1/devices/me/telemetry\x00\x02{}",
    b"\x32\x1e\x00\x18v1/devices/me/attributes\x00\x04{}",
    b"\x30\x1b\x00\x17v1/devices/me/telemetry{}",
    b"\x32\x05\x00\x01x\x00\x05",
    b"\x34\x05\x00\x01x\x00\x05",
    b"\x34\x1d\x00\x17v1/devices/me/telemetry\x00\x01{}",
    b"\x3c\x1d\x00\x17v1/devices/me/telemetry\x00\x01{}",
    b"\x34\x1d\x00\x17v1/devices/me/telemetry\x00\x02{}",
    b"\x34\x08\x00\x04up/1\x00\x03",
    b"\x3c\x08\x00\x04up/1\x00\x03",
    b"\x62\x02\x00\x01",
    b"\x62\x02\x00\x02",
    b"\x62\x02\x00\x03",
    b"\x62\x02\x00\x05",
    b"\x30\x24\x00\x22v1/devices/me/attributes/request/1",
    b"\x30\x10\x00\x0cv2/a/req/j/1{}",
    b"\x32\x0d\x00\x09v2/r/req/2\x00",
    b"\x30\x1b\x00\x17v2/fw/request/1/chunk/016",
    b"\x31\x15\x00\x0ev1/gateway/rpc{\"a\"}",
    b"\x82\x1d\x00\x01\x00\x18v1/devices/me/attributes\x01",
    b"\x82\x21\x00\x03\x00\x1cv1/devices/me/rpc/response/+\x00",
    b"\x82\x0f\x00\x04\x00\x04v2/a\x00\x00\x03#/x\x01",
    b"\x82\x20\x00\x06\x00\x1bv1/devices/me/rpc/request/1\x01",
    b"\x82\x0b\x00\x07\x00\x06down/+\x01",
    b"\xa2\x1c\x00\x05\x00\x18v1/devices/me/attributes",
    b"\xa2\x08\x00\x05\x00\x04v2/a",
    b"\x40\x02\x80\x00",
    b"\x40\x02\x00\x01",
    b"\xc0\x00",
];

const PACKETS_5: [&[u8]; 40] = [
    b"\x32\x1e\x00\x17v1/devices/me/telemetry\x00\x01\x00{}",
    b"\x32\x1e\x00\x17v1/devices/me/telemetry\x00\x02\x00{}",
    b"\x32\x1f\x00\x18v1/devices/me/attributes\x00\x04\x00{}",
    b"\x30\x1c\x00\x17v1/devices/me/telemetry\x00{}",
    b"\x32\x06\x00\x01x\x00\x06\x00",
    b"\x34\x06\x00\x01x\x00\x06\x00",
    b"\x34\x1e\x00\x17v1/devices/me/telemetry\x00\x01\x00{}",
    b"\x3c\x1e\x00\x17v1/devices/me/telemetry\x00\x01\x00{}",
    b"\x34\x1e\x00\x17v1/devices/me/telemetry\x00\x02\x00{}",
    b"\x34\x09\x00\x04up/1\x00\x03\x00",
    b"\x3c\x09\x00\x04up/1\x00\x03\x00",
    b"\x62\x02\x00\x01",
    b"\x62\x03\x00\x02\x00",
    b"\x62\x04\x00\x03\x92\x00",
    b"\x62\x02\x00\x06",
    b"\x30\x1f\x00\x17v1/devices/me/telemetry\x03\x23\x00\x01{}",
    b"\x30\x0a\x00\x04v2/a\x03\x23\x00\x01",
    b"\x30\x08\x00\x00\x03\x23\x00\x01{}",
    b"\x32\x0a\x00\x00\x00\x07\x03\x23\x00\x01{}",
    b"\x34\x0a\x00\x00\x00\x08\x03\x23\x00\x01{}",
    b"\x30\x07\x00\x01x\x03\x23\x00\x10",
    b"\x30\x06\x00\x00\x03\x23\x00\x10",
    b"\x30\x25\x00\x22v1/devices/me/attributes/request/1\x00",
    b"\x30\x0f\x00\x0cv2/a/req/j/1\x00",
    b"\x30\x1e\x00\x0av2/r/req/2\x11\x08\x00\x0av2/r/res/9\x09\x00\x01c",
    b"\x30\x23\x00\x1bv1/devices/me/rpc/request/1\x05\x09\x00\x02cd",
    b"\x30\x1c\x00\x17v2/fw/request/1/chunk/0\x0016",
    b"\x82\x1e\x00\x01\x00\x00\x18v1/devices/me/attributes\x01",
    b"\x82\x22\x00\x03\x00\x00\x1cv1/devices/me/rpc/response/+\x01",
    b"\x82\x10\x00\x04\x00\x00\x04v2/a\x00\x00\x03#/x\x01",
    b"\x82\x12\x00\x05\x00\x00\x0cv2/r/res/p/+\x00",
    b"\x82\x21\x00\x06\x00\x00\x1bv1/devices/me/rpc/request/1\x01",
    b"\x82\x0c\x00\x07\x00\x00\x06down/+\x01",
    b"\x82\x14\x00\x08\x00\x00\x0ev1/gateway/rpc\x00",
    b"\xa2\x1d\x00\x06\x00\x00\x18v1/devices/me/attributes",
    b"\xa2\x09\x00\x06\x00\x00\x04v2/a",
    b"\x40\x02\x80\x00",
    b"\x40\x03\x00\x01\x80",
    b"\xc0\x00",
    b"\xe0\x00",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::mqtt::{decode, frame};

    #[test]
    fn every_packet_is_one() {
        let lists: [(Version, &[&[u8]]); 3] = [(Version::V5, &CONNECTS), (Version::V311, &PACKETS_4), (Version::V5, &PACKETS_5)];
        for (version, list) in lists {
            for packet in list {
                let whole = frame(packet, usize::MAX).unwrap().unwrap_or_else(|| panic!("whole: {packet:?}"));
                assert_eq!(whole.bytes, packet.len(), "{packet:?}");
                assert!(decode(version, &whole).is_ok(), "{packet:?}: {:?}", decode(version, &whole));
            }
        }
        assert_eq!(usize::from(PACKET_LAST) + 1, PACKETS_5.len());
    }
}
