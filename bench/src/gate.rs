//! The pure stages of one message, for counting instructions: `bench/gate.sh` runs each case under callgrind, which counts only
//! inside [`gate_measured`], and compares with `bench/baseline.json`. Never measures time.

use std::hint::black_box;
use std::sync::Arc;

use dataplane::clock::{Instant, Timestamp};
use dataplane::codec::mqtt::{Outgoing, Version, decode, encode_publish, frame};
use dataplane::device::{DeviceState, Dictionary, Key, Sequence, Writing};
use dataplane::message::{Body, Message, Readings};
use dataplane::payload::{Casting, telemetry};
use dataplane::rules::{Alone, Plan, Running, evaluate};
use dataplane::session::{Admission, Intent, Outcome, Session};
use dataplane::store::{Batch, Encoder};
use schemas::chain::{Chain, EntityType, MessageType, default_root_chain};
use schemas::id::{EntityId, TenantId};
use uuid::Uuid;

use crate::load::sample;

/// How often a case runs inside [`gate_measured`]; the gate divides by it.
pub const ITERATIONS: u32 = 1_000;

const NOW: i64 = 1_700_000_000_000;
const AT: Instant = Instant::from_nanos(1);

type Run = Box<dyn FnMut()>;
/// Verb and subject, and what makes the case.
type Case = (&'static str, fn() -> Run);

/// All cases: verb, what of, and what to run.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        ("advance/codec publish", codec as fn() -> Run),
        ("advance/session qos 1 x1", || session(1)),
        ("advance/session qos 1 x16", || session(16)),
        ("advance/payload meter", || payload("meter")),
        ("advance/payload tracker", || payload("tracker")),
        ("advance/payload plc", || payload("plc")),
        ("evaluate/default root chain", rules),
        ("persist/row of meter", || row("meter")),
        ("persist/row of tracker", || row("tracker")),
        ("persist/row of plc", || row("plc")),
    ]
}

/// Runs one case after it was warmed up; false when there is none of that name.
#[must_use]
pub fn run(name: &str) -> bool {
    let Some((_, case)) = cases().into_iter().find(|(known, _)| *known == name) else { return false };
    let mut case = case();
    case();
    gate_measured(&mut case);
    true
}

/// What callgrind looks for by name.
#[inline(never)]
fn gate_measured(case: &mut Run) {
    for _ in 0..ITERATIONS {
        case();
    }
}

fn publish(packet_id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = sample("tracker");
    let packet_id = Some(packet_id);
    let (topic_alias, correlation, dup) = (None, None, false);
    let outgoing = Outgoing { topic: "v1/devices/me/telemetry", topic_alias, correlation, packet_id, dup, payload: &payload };
    encode_publish(Version::V311, &outgoing, &mut bytes);
    bytes
}

fn codec() -> Run {
    let bytes = publish(7);
    Box::new(move || {
        if let Ok(Some(frame)) = frame(black_box(&bytes), usize::MAX) {
            let _packet = black_box(decode(Version::V311, &frame));
        }
    })
}

/// A turn of one connection: all in, all settled, the acknowledgements out.
fn session(batch: u16) -> Run {
    let bytes: Vec<u8> = (1..=batch).flat_map(publish).collect();
    let mut session = Session::new(AT);
    let mut connect: &[u8] = b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x01t";
    assert!(matches!(session.next(&mut connect, AT), Ok(Some(Intent::Admit(_)))), "a CONNECT");
    session.admit(Admission::default(), AT);
    let mut receipts = Vec::with_capacity(usize::from(batch));
    Box::new(move || {
        let mut input = black_box(bytes.as_slice());
        while let Ok(Some(intent)) = session.next(&mut input, AT) {
            if let Intent::Operation { promise: Some(promise), .. } = intent {
                receipts.push(promise.receipt);
            }
        }
        for receipt in receipts.drain(..) {
            let _settled = session.settle(receipt, Outcome::Stored);
        }
        session.output().clear();
    })
}

fn payload(name: &str) -> Run {
    let bytes = sample(name);
    let mut kept: Readings<'static> = Readings::default();
    Box::new(move || {
        let mut readings = std::mem::take(&mut kept);
        let _read = telemetry(black_box(&bytes), Casting::Enabled, &mut readings);
        kept = black_box(readings).recycle();
    })
}

fn rules() -> Run {
    let chain = Chain::parse(&default_root_chain().to_string()).unwrap_or_else(|_| unreachable!("the default chain is valid"));
    let running = Running::new(Arc::new(Plan::compile(&chain)));
    let id = Uuid::from_u128(7);
    // Parsed before: what that takes is a case of its own.
    let bytes = sample("tracker").leak();
    let mut readings = Readings::default();
    let _read = telemetry(bytes, Casting::Enabled, &mut readings);
    let message: &'static Message<'static> = Box::leak(Box::new(Message {
        kind: MessageType::PostTelemetryRequest,
        originator: EntityId(id),
        originator_type: EntityType::Device,
        tenant: TenantId(id),
        device_name: "A",
        device_type: "default",
        received: Timestamp(NOW),
        body: Body::Telemetry(readings),
    }));
    let mut effects = Vec::with_capacity(4);
    Box::new(move || {
        effects.clear();
        let _done = black_box(evaluate(&running, black_box(message), &mut Alone, &mut effects));
    })
}

/// A message's readings into the device's state and a batch.
fn row(name: &str) -> Run {
    let bytes = sample(name).leak();
    let mut readings = Readings::default();
    let _read = telemetry(bytes, Casting::Enabled, &mut readings);
    let (mut state, tenant) = (DeviceState::empty(EntityId(Uuid::from_u128(7))), TenantId(Uuid::from_u128(1)));
    let (mut batch, mut dictionary, mut sequence) = (Batch::new(), Dictionary::default(), Sequence::new(1));
    let (mut encoder, mut keys, mut now): (_, Vec<Key>, _) = (Encoder::new(), Vec::new(), NOW);
    Box::new(move || {
        batch.clear();
        now += 1;
        let mut writing = Writing {
            batch: &mut batch,
            dictionary: &mut dictionary,
            sequence: &mut sequence,
            encoder: &mut encoder,
            keys: &mut keys,
            now: Timestamp(now),
        };
        let _saved = black_box(state.save_timeseries(&mut writing, tenant, black_box(&readings), 0, false));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = cases().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), cases().len());
        assert!(names.into_iter().all(run));
        assert!(!run("no such case"));
    }
}
