//! Sustained QoS 1 load with a ledger of what was acknowledged, and the audit that reads every acknowledged message back.
//! Never resends: what was not acknowledged may or may not be stored, and is not asked for.

use super::fixture::{self, Device};
use super::mqtt::{Connect, PUBACK, V5, Wire};
use super::rest::Rest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The ts of message 0. Message n is at this + n, so no two messages of a device share a (key, ts).
pub const FIRST_TS: i64 = 1_700_000_000_000;
/// The one (key, ts) that every message of a device overwrites.
pub const OVERWRITTEN_TS: i64 = FIRST_TS - 1;
const KEYS: u64 = 7;
const UNACKNOWLEDGED_MAX: usize = 16;

/// One device's messages: how many were sent and which were acknowledged.
#[derive(Debug)]
pub struct Ledger {
    pub device: Device,
    version: u8,
    sent: u64,
    acknowledged: BTreeSet<u64>,
}

impl Ledger {
    /// Of a device that speaks 3.1.1 or 5.
    #[must_use]
    pub fn new(device: Device, version: u8) -> Self {
        Self { device, version, sent: 0, acknowledged: BTreeSet::new() }
    }

    /// How many messages were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// The greatest value whose overwrite was acknowledged.
    #[must_use]
    pub fn last_acknowledged(&self) -> Option<u64> {
        self.acknowledged.last().copied()
    }

    /// Reads everything back over REST: what was acknowledged and is not there, and whether the overwritten value is wrong.
    #[must_use]
    pub fn audit(&self, rest: &Rest) -> Vec<String> {
        let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
        let end = FIRST_TS + i64::try_from(self.sent).expect("fewer messages than milliseconds");
        let query = format!("startTs={FIRST_TS}&endTs={end}&limit=10000000&agg=NONE&orderBy=ASC&keys={}", keys.join(","));
        let reply = rest.get(&fixture::telemetry(&self.device.id, &format!("values/timeseries?{query}"))).json();
        let stored: BTreeMap<&String, BTreeSet<i64>> = keys.iter().map(|key| (key, stored_numbers(&reply, key))).collect();
        let is_stored = |number: u64| stored[&keys[usize::try_from(number % KEYS).expect("below 7")]].contains(&signed(number));
        let missing = self.acknowledged.iter().filter(|number| !is_stored(**number));
        let mut faults: Vec<String> =
            missing.map(|number| format!("{}: message {number} was acknowledged and is not there", self.device.token)).collect();
        faults.extend(self.audit_overwritten(rest));
        faults
    }

    /// DESIGN 8.5 (15): last write wins, so the value at the shared ts is at least the last acknowledged one.
    fn audit_overwritten(&self, rest: &Rest) -> Option<String> {
        let last = self.last_acknowledged()?;
        let query = format!("startTs={OVERWRITTEN_TS}&endTs={FIRST_TS}&agg=NONE&limit=10");
        let rows = fixture::history(rest, &self.device.id, "last", &query);
        let good = match rows.as_slice() {
            [(OVERWRITTEN_TS, value)] => *value >= float(last) && *value < float(self.sent),
            _ => false,
        };
        (!good).then(|| format!("{}: acknowledged up to {last} of {}, but `last` reads {rows:?}", self.device.token, self.sent))
    }
}

impl Publisher for Ledger {
    /// Publishes until the connection ends or it is told to stop; what is under way then is waited for.
    fn publish(&mut self, address: SocketAddr, progress: &Progress) {
        let Ok(mut wire) = Wire::try_open(address) else { return };
        let connect = Connect::new(&self.device.token).version(self.version);
        if !matches!(wire.handshake(&connect), Ok(packet) if packet.code(1) == 0) {
            return;
        }
        let mut under_way = VecDeque::new();
        while !(progress.stopped() && under_way.is_empty()) {
            if under_way.len() < UNACKNOWLEDGED_MAX && !progress.stopped() {
                let number = self.sent;
                self.sent += 1;
                if wire.publish("v1/devices/me/telemetry", Some(packet_id(number)), &payload(number)).is_err() {
                    return;
                }
                under_way.push_back(number);
                continue;
            }
            let Ok(packet) = wire.read() else { return };
            // MQTT 5 says DISCONNECT before it closes.
            if packet.kind() != PUBACK {
                return;
            }
            // DESIGN 8.1 (4): acks leave in arrival order.
            let number = under_way.pop_front().expect("the server acknowledges only what was sent");
            assert_eq!(packet.id(), packet_id(number), "acks leave in arrival order");
            if self.version == V5 && packet.code(2) >= 0x80 {
                continue;
            }
            self.acknowledged.insert(number);
            progress.count();
        }
    }
}

/// The numbers stored under one key; a point whose value is not its ts' number is not counted.
fn stored_numbers(reply: &serde_json::Value, key: &str) -> BTreeSet<i64> {
    let points = fixture::points(reply, key);
    let right = points.iter().filter(|(ts, value)| (float_of(ts - FIRST_TS) - value).abs() < 0.5);
    right.map(|(ts, _)| ts - FIRST_TS).collect()
}

fn float(number: u64) -> f64 {
    float_of(signed(number))
}

fn float_of(number: i64) -> f64 {
    f64::from(i32::try_from(number).expect("fewer than 2^31 messages"))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("fewer than 2^63 messages")
}

fn packet_id(number: u64) -> u16 {
    u16::try_from(number % 65_535).expect("below 65,535") + 1
}

fn payload(number: u64) -> String {
    let (ts, key) = (FIRST_TS + signed(number), number % KEYS);
    format!(
        r#"[{{"ts":{ts},"values":{{"k{key}":{number},"n":{number}}}}},{{"ts":{OVERWRITTEN_TS},"values":{{"last":{number}}}}}]"#
    )
}

/// Who publishes in a run.
pub trait Publisher: Send {
    /// Publishes until the connection ends or it is told to stop; what is under way then is waited for.
    fn publish(&mut self, address: SocketAddr, progress: &Progress);
}

/// What all publishers of a run share.
#[derive(Debug, Default)]
pub struct Progress {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Messages acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this many more were acknowledged.
    pub fn wait_for_more(&self, count: u64) {
        let goal = self.acknowledged() + count;
        super::eventually(&format!("{goal} messages are acknowledged"), || (self.acknowledged() >= goal).then_some(()));
    }

    /// One more.
    pub fn count(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Publishes from every device at once while `meanwhile` runs; then stops and waits for them.
pub fn storm<P, R>(publishers: &mut [P], address: SocketAddr, reconnect: bool, meanwhile: impl FnOnce(&Progress) -> R) -> R
where
    P: Publisher,
{
    let progress = &Progress::default();
    std::thread::scope(|scope| {
        for publisher in publishers {
            scope.spawn(move || {
                publisher.publish(address, progress);
                while reconnect && !progress.stopped() {
                    std::thread::sleep(Duration::from_millis(50));
                    publisher.publish(address, progress);
                }
            });
        }
        // Stops the publishers when `meanwhile` panics, too: the scope would wait for them for ever.
        let _stop = StopOnDrop(progress);
        meanwhile(progress)
    })
}

struct StopOnDrop<'a>(&'a Progress);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Every fault of every ledger.
#[must_use]
pub fn audit(ledgers: &[Ledger], rest: &Rest) -> Vec<String> {
    ledgers.iter().flat_map(|ledger| ledger.audit(rest)).collect()
}

/// Fails when anything acknowledged is missing.
///
/// # Panics
/// With the first faults.
pub fn assert_all_there(ledgers: &[Ledger], rest: &Rest, when: &str) {
    let faults = audit(ledgers, rest);
    let first: Vec<&String> = faults.iter().take(10).collect();
    assert!(faults.is_empty(), "{when}: {} faults, the first: {first:#?}", faults.len());
}
