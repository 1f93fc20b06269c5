//! What limits cost per message, per login and per deadline. Measures; asserts only that what is measured was allowed.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use dataplane::clock::Instant;
use dataplane::quota::{Cost, Device, Kind, LoginPolicy, Share, Shown, Tenant, Throttle};
use dataplane::wheel::Wheel;
use schemas::config::{Limits, RateLimits};
use schemas::rate::RateLimit;

/// Between two messages, in nanoseconds: no limit below is ever reached.
const PAUSE_NS: u64 = 1_000;

fn rates(messages: &str, points: &str) -> RateLimits {
    let limit = |text| RateLimit::parse(text).expect("a limit");
    RateLimits { messages: limit(messages), telemetry_messages: limit(messages), telemetry_data_points: limit(points) }
}

fn rate_limits(criterion: &mut Criterion) {
    let round = || rates("2000000:1,100000000:60", "10000000:1,500000000:60");
    let odd = || rates("2000003:1,100000007:60", "10000019:1,500000003:60");
    let cases = [
        ("unlimited", Limits::default()),
        ("device", Limits { device: round(), ..Limits::default() }),
        ("device with odd rates", Limits { device: odd(), ..Limits::default() }),
        ("device and tenant", Limits { device: round(), tenant: round(), ..Limits::default() }),
    ];
    for (name, limits) in cases {
        let mut share = Share::new(&Tenant::new(&limits), 4);
        let mut device = Device::new(share.rates(Kind::Device));
        let mut nanos = 0;
        criterion.bench_function(&format!("quota/telemetry, {name}"), |bencher| {
            bencher.iter(|| {
                nanos += PAUSE_NS;
                let taken = device.take(&mut share, black_box(Cost::Telemetry { points: 3 }), Instant::from_nanos(nanos));
                assert!(taken.is_ok(), "within the limits");
            });
        });
    }
}

fn logins(criterion: &mut Criterion) {
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
    let now = Instant::from_nanos(1);
    let mut throttle = Throttle::new(LoginPolicy::default());
    let mut number = 0_u32;
    criterion.bench_function("quota/login", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            let shown = Shown { name: b"A1_TEST_TOKEN_OF_20B", secret: b"A1_TEST_TOKEN_OF_20B" };
            let attempt = throttle.attempt(address(black_box(number)), shown);
            throttle.check(attempt, now)
        });
    });
    criterion.bench_function("quota/failed login", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            let name = number.to_le_bytes();
            let attempt = throttle.attempt(address(number), Shown { name: &name, secret: b"wrong" });
            throttle.failed(attempt, now);
        });
    });
}

/// As many deadlines as a shard has connections, each a minute ahead.
fn deadlines(criterion: &mut Criterion) {
    let mut wheel = Wheel::new(100, 65_537);
    let at = |milliseconds| Instant::default().after_ms(milliseconds);
    let mut now = 0_u64;
    for key in 0..65_536_u64 {
        assert!(wheel.insert(at(key), key).is_some(), "there is room");
    }
    criterion.bench_function("wheel/insert and cancel", |bencher| {
        bencher.iter(|| wheel.insert(at(black_box(30_000)), 0).and_then(|token| wheel.cancel(token)));
    });
    criterion.bench_function("wheel/a millisecond of 65,536 deadlines a minute", |bencher| {
        bencher.iter(|| {
            now += 1;
            let mut due = 0;
            while let Some(key) = wheel.next_expired(at(now)) {
                assert!(wheel.insert(at(now + 60_000), key).is_some(), "its place is free");
                due += 1;
            }
            due
        });
    });
}

criterion_group!(benches, rate_limits, logins, deadlines);
criterion_main!(benches);
