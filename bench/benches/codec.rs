//! What it costs to read and write packets. Measures; asserts only that the packets are what they claim to be.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::codec::mqtt::{Acknowledgement, Outgoing, Packet, ReasonCode, Version, decode, encode_ack, encode_publish, frame};

fn publish(version: Version, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (topic_alias, correlation, packet_id, dup) = (None, None, Some(7), false);
    let outgoing = Outgoing { topic: "v1/devices/me/telemetry", topic_alias, correlation, packet_id, dup, payload };
    encode_publish(version, &outgoing, &mut bytes);
    bytes
}

fn read(version: Version, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut payload = 0;
    while let Ok(Some(frame)) = frame(rest, usize::MAX) {
        let Ok(Packet::Publish(publish)) = decode(version, &frame) else { panic!("a PUBLISH") };
        payload += publish.payload.len();
        rest = rest.get(frame.bytes..).unwrap_or_default();
    }
    payload
}

fn codec(criterion: &mut Criterion) {
    let payload = br#"{"temperature":21.5,"humidity":40,"state":"on"}"#;
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(100));
    for (name, version) in [("publish 3.1.1 x100", Version::V311), ("publish 5 x100", Version::V5)] {
        let stream = publish(version, payload).repeat(100);
        assert_eq!(read(version, &stream), 100 * payload.len());
        group.bench_function(name, |bencher| bencher.iter(|| read(version, black_box(&stream))));
    }
    let mut out = Vec::with_capacity(1_024);
    group.bench_function("puback x100", |bencher| {
        bencher.iter(|| {
            out.clear();
            for id in 1..=100 {
                encode_ack(Version::V5, Acknowledgement::Puback, black_box(id), ReasonCode::SUCCESS, None, &mut out);
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
