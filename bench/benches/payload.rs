//! How long a payload takes to become readings, by form and size.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::message::Readings;
use dataplane::payload::{Casting, attributes, telemetry};

/// A flat object of `count` readings, one in four a text.
fn flat(count: usize) -> String {
    let member = |n: usize| if n % 4 == 3 { format!(r#""state{n}":"open""#) } else { format!(r#""sensor{n}":{n}.25"#) };
    format!("{{{}}}", (0..count).map(member).collect::<Vec<_>>().join(","))
}

fn payload(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload");
    for count in [1, 10, 100] {
        let flat = flat(count);
        let timed = format!(r#"{{"ts":1451649600512,"values":{flat}}}"#);
        for (form, text) in [("flat", &flat), ("timed", &timed)] {
            group.throughput(Throughput::Bytes(u64::try_from(text.len()).unwrap_or(u64::MAX)));
            group.bench_function(format!("{form}/{count}"), |bencher| {
                // The buffers live as long as the text here, and are reused as on a shard.
                let mut readings = Readings::default();
                bencher.iter(|| telemetry(text.as_bytes(), Casting::Enabled, &mut readings));
            });
        }
        group.bench_function(format!("attributes/{count}"), |bencher| {
            let mut readings = Readings::default();
            bencher.iter(|| attributes(flat.as_bytes(), Casting::Enabled, &mut readings));
        });
    }
    group.finish();
}

criterion_group!(benches, payload);
criterion_main!(benches);
