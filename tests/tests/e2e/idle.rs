//! Thousands of idle connections within the open-file limit, and what each costs. Done when 8 of the issue.

use rlimit::Resource;
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, devices};
use tests::harness::mqtt::{Connect, Wire};

/// The class that is checked, where the open-file limit allows it.
const CONNECTIONS_WANTED: u64 = 10_000;
/// Files the test and the instance need besides.
const FILES_SPARE: u64 = 1_000;
/// Generous: a read buffer (128 KiB) held by each would be far above it.
const RESIDENT_BYTES_MAX: u64 = 32 * 1_024;

#[test]
fn idle_connections_hold_no_read_buffer() {
    let (_, hard) = Resource::NOFILE.get().expect("the kernel says the limit");
    // Children get the same limits.
    Resource::NOFILE.set(hard, hard).expect("the soft limit may be raised to the hard one");
    let count = CONNECTIONS_WANTED.min(hard.saturating_sub(FILES_SPARE));
    let fixture = Fixture::with(|setup| setup.shards(2));
    let made = devices(&fixture.tenant, "idle", usize::try_from(count).expect("a number of connections"));
    let before = fixture.instance.resident_kib();
    let connect = |token: &str| {
        let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new(token).keep_alive_s(3_600));
        assert_eq!(wire.telemetry(1, r#"{"t":21.5,"h":40}"#), 0);
        wire
    };
    let mut wires: Vec<Wire> = made.iter().map(|device| connect(&device.token)).collect();
    let open = eventually("the connections are counted", || {
        let open = fixture.instance.metric("tidegate_connections_open");
        ((open - f64::from(u32::try_from(count).expect("below 2^32"))).abs() < 0.5).then_some(open)
    });
    let after = fixture.instance.resident_kib();
    let each = after.saturating_sub(before) * 1_024 / count;
    println!("{open} idle connections: {before} KiB before, {after} KiB after, {each} bytes of RSS each (device state included)");
    assert!(each < RESIDENT_BYTES_MAX, "{each} bytes per idle connection");
    for wire in wires.iter_mut().step_by(97) {
        assert_eq!(wire.telemetry(2, r#"{"t":22}"#), 0, "idle is not asleep");
    }
    drop(wires);
    eventually("they are gone", || (fixture.instance.metric("tidegate_connections_open") < 0.5).then_some(()));
    fixture.instance.stop();
}
