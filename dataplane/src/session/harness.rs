//! What must hold for any sequence of bytes, settlements, downlinks and moments: called by the property tests and by the fuzz
//! target. Panics when it does not hold, so the server never calls it.

mod model;
mod packets;

#[cfg(test)]
pub(crate) use model::matches;
pub use packets::PACKET_LAST;

use std::sync::Arc;

use crate::clock::Instant;
use crate::codec::cursor::Cursor;
use crate::codec::mqtt::{self, Packet, Version};
use crate::session::{
    Admission, Close, DecodeError, Delivery, Downlink, Intent, Kept, Outcome, Package, Reason, Receipt, Refusal, Sending,
    Session, Topics,
};
use model::Model;

/// Reads `script` as a list of deeds done to one session and compares it after each with a model that knows the protocol but not
/// how the session keeps it: every message becomes one operation, a QoS 2 message one however often it comes; acknowledgements
/// leave in arrival order, once each, after their receipts settled, with the outcome's code; a topic alias means what it was
/// last set to; downlinks go where the client subscribed, with that QoS, an identifier that is free, within its receive maximum
/// and its largest packet; what would be kept is what was granted and received; output is whole packets of a server; nothing is
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
            1..=7 => run.feed(packets::chosen(run.model.version(), argument)),
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
    model: Model,
}

impl Run {
    fn new() -> Self {
        let now = Instant::from_nanos(1);
        Self { session: Session::new(now), now, inbox: Vec::new(), model: Model::default() }
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
                Ok(Some(intent)) => {
                    assert!(!consumed.is_empty(), "an intent comes from bytes");
                    self.understand(&intent, consumed);
                }
                Ok(None) => {
                    self.take_silently(consumed, false);
                    break;
                }
                Err(close) => {
                    // What cannot be read is no packet, and a slow peer is not read.
                    let of_packet = !matches!(close.reason, Reason::Decode(_) | Reason::SlowPeer);
                    self.take_silently(consumed, of_packet);
                    self.end(close);
                    break;
                }
            }
        }
        self.inbox = input.to_vec();
    }

    fn understand(&mut self, intent: &Intent<'_>, consumed: &[u8]) {
        assert!(!self.model.over, "nothing is understood after the end");
        if let Intent::Admit(_) = intent {
            assert!(!self.model.admitted, "one CONNECT per connection");
            self.model.offered(consumed);
            return;
        }
        assert!(self.model.admitted, "nothing is understood before CONNECT is admitted");
        let packets = self.packets(consumed);
        let (last, earlier) = packets.split_last().expect("an intent comes from a packet");
        earlier.iter().for_each(|packet| self.model.take(packet, None));
        self.model.take(last, Some(intent));
        if matches!(intent, Intent::Disconnect { .. }) {
            // What was said before the goodbye may still be sent.
            self.check_output();
            self.model.over = true;
        }
    }

    /// Packets that meant nothing to the shard; the last one may be the one that broke the connection.
    fn take_silently(&mut self, consumed: &[u8], broken: bool) {
        if !self.model.admitted {
            return;
        }
        let packets = self.packets(consumed);
        let taken = packets.len() - usize::from(broken);
        packets.iter().take(taken).for_each(|packet| self.model.take(packet, None));
    }

    /// The packets of `bytes`, without a last one that cannot be read.
    fn packets<'a>(&self, bytes: &'a [u8]) -> Vec<Packet<'a>> {
        let (mut rest, mut packets) = (bytes, Vec::new());
        while let Ok(Some(frame)) = mqtt::frame(rest, usize::MAX) {
            rest = &rest[frame.bytes..];
            match mqtt::decode(self.session.version(), &frame) {
                Ok(packet) => packets.push(packet),
                Err(_) => assert!(rest.is_empty(), "nothing is read behind what cannot be read"),
            }
        }
        packets
    }

    fn answer(&mut self, argument: u8) {
        if argument.is_multiple_of(8) {
            let close = self.session.refuse(Refusal::BadCredential);
            self.end(close);
            return;
        }
        let admission = admission(argument);
        let was_connected = self.session.connected();
        self.session.admit(admission.clone(), self.now);
        if self.session.connected() && !was_connected {
            self.model.admit(&admission);
        }
        self.feed(&[]);
    }

    fn settle(&mut self, argument: u8) {
        const OUTCOMES: [Outcome; 5] =
            [Outcome::Stored, Outcome::TopicInvalid, Outcome::PayloadInvalid, Outcome::QuotaExceeded, Outcome::Unspecified];
        // Mostly success, or old versions would close at once.
        let outcome = OUTCOMES[usize::from(argument >> 5).saturating_sub(3)];
        let index = usize::from(argument & 0x1F);
        // Also receipts that do not exist, and the same ones again.
        let receipt = self.model.receipt(index).unwrap_or_else(|| Receipt(u64::from(argument)));
        match self.session.settle(receipt, outcome) {
            Err(close) => self.end(close),
            Ok(()) => self.model.settle(receipt, outcome),
        }
        self.check_output();
        self.feed(&[]);
    }

    fn deliver(&mut self, argument: u8) {
        let downlink = downlink(argument);
        let sending = Sending {
            number: u64::from(argument >> 4),
            packet_id: (argument & 0x80 != 0).then(|| u16::from(argument & 3)),
            again: argument & 0x40 != 0,
        };
        let before = self.session.output().len();
        let format = self.session.format(&downlink);
        let delivery = self.session.deliver(downlink, sending, self.now);
        let queued = self.session.output().len() > before;
        assert_eq!(queued, matches!(delivery, Delivery::Queued | Delivery::QueuedUnacked), "queued means queued");
        if self.session.connected() {
            let heard = delivery != Delivery::NotSubscribed;
            assert!(format.is_some() == heard || (heard && sending.again), "a format for what is heard");
            self.model.deliver(&downlink, sending, delivery);
        }
    }

    fn elapse(&mut self, seconds: u8) {
        self.now = self.now.after_ms(u64::from(seconds) * 1_000);
        if let Some(close) = self.session.elapse(self.now) {
            self.end(close);
        } else if !self.model.over {
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
        self.model.over = true;
        assert!(!self.session.connected());
    }

    fn check_output(&mut self) {
        let output = std::mem::take(self.session.output());
        assert!(output.is_empty() || !self.model.over, "nothing is said after the end");
        self.model.hear(&output);
        if self.session.connected() {
            self.model.check_idle(self.session.unsettled());
            self.model.check_kept(&self.session.kept());
        }
    }
}

fn admission(argument: u8) -> Admission {
    let has = |bit: u8| argument & bit != 0;
    let kept = Kept { subscriptions: vec![(String::from("v1/devices/me/attributes"), 1)], received: vec![1, 2] };
    let topics = Topics { telemetry: "up/+".into(), attributes: "up/a/#".into(), attributes_subscribe: "down/+".into() };
    Admission {
        kept: has(0x02).then_some(kept),
        expiry_s: if has(0x06) { 9 } else { 0 },
        topics: has(0x10).then(|| Arc::new(topics)),
        gateway: has(0x20),
        provisioning: argument >= 0xF0,
    }
}

fn downlink(argument: u8) -> Downlink<'static> {
    let id = u32::from(argument % 3);
    let json = &LONG_JSON[..usize::from(argument / 2)];
    match argument % 10 {
        0 => Downlink::AttributesUpdated { json },
        1 => Downlink::AttributesResponse { id, json },
        2 => Downlink::RpcRequest { id, json },
        3 => Downlink::RpcResponse { id, json },
        4 => Downlink::GatewayRpcRequest { json },
        5 => Downlink::GatewayAttributesUpdated { json },
        6 => Downlink::Chunk { package: Package::Firmware, request: id, chunk: 0, bytes: json },
        7 => Downlink::Provisioned { json },
        8 => Downlink::AttributesUpdated { json },
        _ => Downlink::ChunkError { package: Package::Software, text: "no" },
    }
}

const LONG_JSON: &[u8] = &[b'7'; 255];

/// What a version without reason codes answers to a failed message: nothing, as it closes.
fn code(version: Version, outcome: Outcome) -> u8 {
    if version == Version::V5 { outcome.reason_code().0 } else { 0 }
}

/// Frames of what the server said.
fn frames(output: &[u8], packet_bytes_max: usize) -> Vec<mqtt::Frame<'_>> {
    let (mut rest, mut frames) = (output, Vec::new());
    while !rest.is_empty() {
        let frame = match mqtt::frame(rest, packet_bytes_max) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(DecodeError::PacketTooLarge) => panic!("output is whole packets that the client takes: {rest:?}"),
            Err(error) => panic!("output is packets: {error}"),
        };
        rest = &rest[frame.bytes..];
        frames.push(frame);
    }
    frames
}
