//! What a session costs per acknowledged QoS 1 message: bytes in, intent, settlement, PUBACK out. Measures; asserts only that
//! the session was admitted.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::clock::Instant;
use dataplane::codec::mqtt::{Outgoing, Version, encode_publish};
use dataplane::session::{Admission, Intent, Outcome, Session};

const NOW: Instant = Instant::from_nanos(1);

fn admitted() -> Session {
    let mut session = Session::new(NOW);
    let mut connect: &[u8] = b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x01t";
    assert!(matches!(session.next(&mut connect, NOW), Ok(Some(Intent::Admit(_)))));
    session.admit(Admission::default(), NOW);
    session.output().clear();
    session
}

/// Takes one batch of publishes as a turn does: all in, all settled, output sent.
fn turn(session: &mut Session, batch: &[u8]) -> usize {
    let mut input = batch;
    let mut receipts = Vec::with_capacity(64);
    while let Ok(Some(intent)) = session.next(&mut input, NOW) {
        if let Intent::Operation { promise: Some(promise), .. } = intent {
            receipts.push(promise.receipt);
        }
    }
    for receipt in receipts {
        assert!(session.settle(receipt, Outcome::Stored).is_ok(), "nothing was refused");
    }
    let sent = session.output().len();
    session.output().clear();
    sent
}

fn session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    for batch in [1_u16, 32] {
        let mut bytes = Vec::new();
        for id in 1..=batch {
            let payload = br#"{"temperature":21.5,"humidity":40,"state":"on"}"#;
            let (topic_alias, correlation, packet_id, dup) = (None, None, Some(id), false);
            let outgoing = Outgoing { topic: "v1/devices/me/telemetry", topic_alias, correlation, packet_id, dup, payload };
            encode_publish(Version::V311, &outgoing, &mut bytes);
        }
        let mut session = admitted();
        assert_eq!(turn(&mut session, &bytes), 4 * usize::from(batch), "a PUBACK each");
        group.throughput(Throughput::Elements(u64::from(batch)));
        group.bench_function(format!("qos 1 x{batch}"), |bencher| bencher.iter(|| turn(&mut session, black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
