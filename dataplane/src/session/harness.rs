//! What must hold for any sequence of bytes, settlements, downlinks and moments: called by the property tests and by the fuzz
//! target. Panics when it does not hold, so the server never calls it.

use std::collections::VecDeque;

use crate::clock::Instant;
use crate::codec::cursor::Cursor;
use crate::codec::mqtt::{self, Packet, PacketType, Property, Version};
use crate::limits;
use crate::session::{Admission, Close, Delivery, Downlink, Intent, Outcome, Reason, Receipt, Refusal, Sending, Session};

/// Reads `script` as a list of deeds done to one session and checks after each that: receipts are numbered in arrival order;
/// each PUBACK is for the oldest unacknowledged publish, and only after it was settled, exactly once; no settled publish at
/// the front stays unacknowledged; output is whole packets of a server, none larger than the client accepts; nothing is
/// understood before CONNECT is admitted nor after the end.
///
/// # Panics
/// When one of these does not hold.
pub fn any(script: &[u8]) {
    let mut script = Cursor::new(script);
    let mut run = Run::new();
    while let Some(deed) = script.u8() {
        let argument = script.u8().unwrap_or_default();
        match deed % 16 {
            0 => {
                let bytes = script.take(usize::from(argument)).unwrap_or_else(|| script.take_rest());
                run.feed(bytes);
            }
            1..=7 => run.feed(PACKETS[usize::from(argument) % PACKETS.len()]),
            8..=10 => run.settle(argument),
            11 => run.deliver(argument),
            12 => run.elapse(argument),
            13 => run.answer(argument),
            14 if argument & 1 == 0 => run.session.pause(),
            14 => run.session.resume(run.now),
            _ => run.close(argument),
        }
        run.check_output();
    }
}

struct Run {
    session: Session,
    now: Instant,
    /// Bytes that came and were not consumed.
    inbox: Vec<u8>,
    /// Accepted QoS 1 publishes without PUBACK, in arrival order.
    unacked: VecDeque<Promised>,
    receipts: u64,
    /// What the client accepts, once it said so.
    packet_bytes_max: usize,
    admitted: bool,
    over: bool,
}

struct Promised {
    receipt: Receipt,
    packet_id: u16,
    settled: bool,
}

impl Run {
    fn new() -> Self {
        let now = Instant::from_nanos(1);
        Self {
            session: Session::new(now),
            now,
            inbox: Vec::new(),
            unacked: VecDeque::new(),
            receipts: 0,
            packet_bytes_max: usize::MAX,
            admitted: false,
            over: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut input = inbox.as_slice();
        loop {
            let before = input;
            let next = self.session.next(&mut input, self.now);
            let consumed = &before[..before.len() - input.len()];
            match next {
                Ok(Some(intent)) => self.understand(&intent, consumed),
                Ok(None) => break,
                Err(close) => {
                    self.end(close);
                    break;
                }
            }
            assert!(!consumed.is_empty(), "an intent comes from bytes");
        }
        self.inbox = input.to_vec();
    }

    fn understand(&mut self, intent: &Intent<'_>, consumed: &[u8]) {
        assert!(!self.over, "nothing is understood after the end");
        let receipt = match *intent {
            Intent::Admit(_) => {
                assert!(!self.admitted, "one CONNECT per connection");
                self.note_client_bounds(consumed);
                return;
            }
            Intent::Operation { promise, .. } | Intent::UnknownTopic { promise } => promise.map(|promise| promise.receipt),
            Intent::Release { receipt, .. } => Some(receipt),
            Intent::Disconnect { .. } => {
                // What was said before the goodbye may still be sent.
                self.check_output();
                self.over = true;
                None
            }
            Intent::Subscribed | Intent::Unsubscribed | Intent::Ping | Intent::Acknowledged { .. } => None,
            Intent::Request { .. } | Intent::Upgrade => panic!("MQTT has no such intent"),
        };
        assert!(self.admitted, "nothing is understood before CONNECT is admitted");
        if let Some(receipt) = receipt {
            assert_eq!(receipt, Receipt(self.receipts), "receipts are numbered in arrival order");
            self.receipts += 1;
            let packet_id = last_packet_id(self.session.version(), consumed);
            self.unacked.push_back(Promised { receipt, packet_id, settled: false });
            assert!(self.unacked.len() <= limits::RECEIPTS_PER_CONNECTION_MAX, "receipts are bounded");
        }
    }

    fn note_client_bounds(&mut self, consumed: &[u8]) {
        let Ok(Some(frame)) = mqtt::frame(consumed, usize::MAX) else { panic!("an intent comes from a packet") };
        let Ok(Packet::Connect(connect)) = mqtt::decode(Version::V5, &frame) else { panic!("admission comes from CONNECT") };
        for property in connect.properties.iter() {
            if let Property::MaximumPacketSize(bytes) = property {
                self.packet_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
            }
        }
    }

    fn answer(&mut self, argument: u8) {
        if argument.is_multiple_of(8) {
            let close = self.session.refuse(Refusal::BadCredential);
            self.end(close);
        } else {
            self.session.admit(Admission::default(), self.now);
            self.admitted |= self.session.connected();
            self.feed(&[]);
        }
    }

    fn settle(&mut self, argument: u8) {
        const OUTCOMES: [Outcome; 5] =
            [Outcome::Stored, Outcome::TopicInvalid, Outcome::PayloadInvalid, Outcome::QuotaExceeded, Outcome::Unspecified];
        // Mostly success, or old versions would close at once.
        let outcome = OUTCOMES[usize::from(argument >> 5).saturating_sub(3)];
        let index = usize::from(argument & 0x1F);
        // Also receipts that do not exist, and the same ones again.
        let receipt = self.unacked.get(index).map_or_else(|| Receipt(u64::from(argument)), |promised| promised.receipt);
        let closes = self.session.settle(receipt, outcome);
        match closes {
            Err(close) => self.end(close),
            Ok(()) => {
                if let Some(promised) = self.unacked.iter_mut().find(|promised| promised.receipt == receipt) {
                    promised.settled = true;
                }
            }
        }
        self.check_output();
        self.feed(&[]);
    }

    fn deliver(&mut self, argument: u8) {
        let id = u32::from(argument);
        let json = &LONG_JSON[..usize::from(argument)];
        let downlink = match argument % 4 {
            0 => Downlink::AttributesUpdated { json },
            1 => Downlink::AttributesResponse { id, json },
            2 => Downlink::RpcRequest { id, json },
            _ => Downlink::RpcResponse { id, json },
        };
        // Whatever the answer, the checks of the output judge it.
        let before = self.session.output().len();
        let delivery = self.session.deliver(downlink, Sending::default(), self.now);
        let queued = self.session.output().len() > before;
        assert_eq!(queued, matches!(delivery, Delivery::Queued | Delivery::QueuedUnacked), "queued means queued");
    }

    fn elapse(&mut self, seconds: u8) {
        self.now = self.now.after_ms(u64::from(seconds) * 1_000);
        if let Some(close) = self.session.elapse(self.now) {
            self.end(close);
        } else if !self.over {
            assert!(self.session.deadline() > self.now, "a session that goes on has a deadline ahead");
        }
    }

    fn close(&mut self, argument: u8) {
        if argument.is_multiple_of(16) {
            self.end(Close { reason: Reason::TakenOver });
        }
    }

    fn end(&mut self, close: Close) {
        self.session.close(close);
        self.check_output();
        self.over = true;
        assert!(!self.session.connected());
    }

    fn check_output(&mut self) {
        let output = std::mem::take(self.session.output());
        assert!(output.is_empty() || !self.over, "nothing is said after the end");
        let mut rest = output.as_slice();
        while !rest.is_empty() {
            let Ok(Some(frame)) = mqtt::frame(rest, self.packet_bytes_max) else { panic!("output is whole packets: {rest:?}") };
            rest = &rest[frame.bytes..];
            match frame.packet_type {
                PacketType::Puback => {
                    let promised = self.unacked.pop_front().expect("a PUBACK is for a publish");
                    assert!(promised.settled, "a PUBACK comes after its receipt settled");
                    assert_eq!(frame.body.get(..2), Some(&promised.packet_id.to_be_bytes()[..]), "PUBACKs in arrival order");
                }
                PacketType::Connack => {}
                PacketType::Publish
                | PacketType::Suback
                | PacketType::Unsuback
                | PacketType::Pingresp
                | PacketType::Disconnect => assert!(self.admitted, "only CONNACK comes before admission"),
                other => panic!("a server does not send {other:?}"),
            }
        }
        if self.session.connected() {
            assert!(self.unacked.front().is_none_or(|promised| !promised.settled), "a settled front is acknowledged");
            assert_eq!(self.session.unsettled(), self.unacked.len(), "exactly one PUBACK per promise");
        }
    }
}

/// The packet identifier of the PUBLISH that ends `consumed`.
fn last_packet_id(version: Version, consumed: &[u8]) -> u16 {
    let mut rest = consumed;
    let mut last = None;
    while let Ok(Some(frame)) = mqtt::frame(rest, usize::MAX) {
        if let Ok(Packet::Publish(publish)) = mqtt::decode(version, &frame) {
            last = publish.packet_id;
        }
        rest = &rest[frame.bytes..];
    }
    last.expect("a receipt comes from a PUBLISH with QoS 1")
}

const LONG_JSON: &[u8] = &[b'7'; 255];

/// Packets that get a script past the parser; mutations of them come from the raw deed.
const PACKETS: [&[u8]; 22] = [
    b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x01t",
    b"\x10\x10\x00\x04MQTT\x05\x82\x00\x3c\x00\x00\x00\x00\x01t",
    b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x00\x00\x02id",
    // MQTT 5 with session expiry, receive maximum 2, maximum packet size 128.
    b"\x10\x1d\x00\x04MQTT\x05\x82\x00\x0a\x0d\x11\x00\x00\x00\x09\x21\x00\x02\x27\x00\x00\x00\x80\x00\x00\x00\x01t",
    b"\x32\x1d\x00\x17v1/devices/me/telemetry\x00\x01{}",
    b"\x32\x1d\x00\x17v1/devices/me/telemetry\x00\x02{}",
    b"\x32\x1e\x00\x17v1/devices/me/telemetry\x00\x03\x00{}",
    b"\x32\x1e\x00\x18v1/devices/me/attributes\x00\x04{}",
    b"\x30\x1b\x00\x17v1/devices/me/telemetry{}",
    b"\x32\x05\x00\x01x\x00\x05",
    b"\x32\x06\x00\x01x\x00\x06\x00",
    b"\x30\x24\x00\x22v1/devices/me/attributes/request/7",
    b"\x82\x1d\x00\x01\x00\x18v1/devices/me/attributes\x01",
    b"\x82\x1e\x00\x02\x00\x00\x18v1/devices/me/attributes\x01",
    b"\x82\x21\x00\x03\x00\x1cv1/devices/me/rpc/response/+\x00",
    b"\x82\x22\x00\x03\x00\x00\x1cv1/devices/me/rpc/response/+\x01",
    b"\xa2\x1c\x00\x05\x00\x18v1/devices/me/attributes",
    b"\xa2\x1d\x00\x06\x00\x00\x18v1/devices/me/attributes",
    b"\x40\x02\x00\x01",
    b"\x40\x02\x00\x02",
    b"\xc0\x00",
    b"\xe0\x00",
];
