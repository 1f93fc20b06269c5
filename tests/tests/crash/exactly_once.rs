//! `kill -9` while devices and gateways publish with QoS 2 in sessions that are kept: nothing acknowledged is lost, and nothing is
//! doubled, neither a device's message nor a part of a gateway's pack, whichever shard owns the child (DESIGN 8.3 (10), 8.4 (13)).
//! Messages bring no ts, so one that is stored twice is two rows.

use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use tests::harness::Dice;
use tests::harness::exact::Exact;
use tests::harness::fixture::{self, devices};
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::load::{FIRST_TS, Progress, Publisher, storm};
use tests::harness::mqtt::{Connect, PUBACK, V5, V311, Wire};
use tests::harness::rest::Rest;

const ROUNDS: usize = 6;
const CONNECTIONS: usize = 20;

/// Kills in rounds while these publish; then all that is under way is ended and counted.
fn kill_in_rounds(driver: &str, setup: &Setup, mut sessions: Vec<Exact>) {
    let mut dice = Dice::cast(driver);
    let mut instance = setup.start();
    for _ in 0..ROUNDS {
        let messages = dice.roll(200..6_000);
        let mqtt = instance.mqtt();
        storm(&mut sessions, mqtt, false, |progress| {
            progress.wait_for_more(messages);
            instance.kill();
        });
        instance = setup.start();
    }
    for session in &mut sessions {
        session.finish(instance.mqtt());
    }
    let tenant = fixture::tenant(&instance);
    let faults: Vec<String> = sessions.iter().flat_map(|session| session.audit(&tenant)).collect();
    let received: u64 = sessions.iter().map(Exact::received).sum();
    println!("{driver}: {ROUNDS} kills, {received} messages with QoS 2, {} faults", faults.len());
    assert!(faults.is_empty(), "{driver}: {} faults, the first: {:#?}", faults.len(), faults.iter().take(10).collect::<Vec<_>>());
    instance.stop();
}

#[test]
fn qos_2_messages_are_stored_once_across_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let instance = setup.start();
        let made = devices(&fixture::tenant(&instance), "exact", CONNECTIONS);
        instance.kill();
        let versions = [V311, V5].into_iter().cycle();
        let sessions = made.into_iter().zip(versions).map(|(device, version)| Exact::new(device, version)).collect();
        kill_in_rounds(driver, &setup, sessions);
    }
}

/// Children of both shards behind each gateway, known before the first kill.
fn gateways(setup: &Setup, count: usize) -> Vec<(fixture::Device, Vec<String>)> {
    let instance = setup.start();
    let tenant = fixture::tenant(&instance);
    let make = |number: usize| {
        let gateway = fixture::gateway(&tenant, &format!("gw{number}"));
        let children: Vec<String> = (0..5).map(|child| format!("g{number}c{child}")).collect();
        let parts: Map<String, Value> = children.iter().map(|child| (child.clone(), json!([{ "made": 1 }]))).collect();
        let mut wire = Wire::session(instance.mqtt(), &gateway.token);
        assert_eq!(wire.acknowledged("v1/gateway/telemetry", 1, &Value::Object(parts).to_string()), 0);
        (gateway, children)
    };
    let made = (0..count).map(make).collect();
    instance.kill();
    made
}

#[test]
fn qos_2_packs_are_stored_once_across_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let versions = [V311, V5].into_iter().cycle();
        let made = gateways(&setup, 6).into_iter().zip(versions);
        let sessions = made.map(|((gateway, children), version)| Exact::pack(gateway, version, children)).collect();
        kill_in_rounds(driver, &setup, sessions);
    }
}

/// A gateway's QoS 1 packs and which of them were acknowledged.
struct Packs {
    gateway: fixture::Device,
    children: Vec<String>,
    sent: i64,
    acknowledged: Vec<i64>,
}

impl Packs {
    fn payload(&self, number: i64) -> String {
        let entry = json!([{ "ts": FIRST_TS + number, "values": { "n": number } }]);
        let parts: Map<String, Value> = self.children.iter().map(|child| (child.clone(), entry.clone())).collect();
        Value::Object(parts).to_string()
    }

    /// What was acknowledged and is not there, child by child.
    fn audit(&self, rest: &Rest) -> Vec<String> {
        let missing = |child: &String| {
            let found = fixture::device_named(rest, child).unwrap_or_else(|| panic!("{child} was made"));
            let query = format!("startTs={FIRST_TS}&endTs={}&limit=10000000&agg=NONE", FIRST_TS + self.sent);
            let rows = fixture::history(rest, &fixture::id_of(&found), "n", &query);
            let stored: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.0 - FIRST_TS).collect();
            let missing = self.acknowledged.iter().filter(|number| !stored.contains(number));
            missing.map(|number| format!("{child}: pack {number} was acknowledged and is not there")).collect::<Vec<_>>()
        };
        self.children.iter().flat_map(missing).collect()
    }
}

impl Publisher for Packs {
    fn publish(&mut self, address: SocketAddr, progress: &Progress) {
        const UNDER_WAY_MAX: usize = 8;
        let Ok(mut wire) = Wire::try_open(address) else { return };
        if !matches!(wire.handshake(&Connect::new(&self.gateway.token).version(V5)), Ok(packet) if packet.code(1) == 0) {
            return;
        }
        let mut under_way = std::collections::VecDeque::new();
        while !(progress.stopped() && under_way.is_empty()) {
            if under_way.len() < UNDER_WAY_MAX && !progress.stopped() {
                let (number, id) = (self.sent, u16::try_from(self.sent % 65_535).expect("below 65,535") + 1);
                self.sent += 1;
                if wire.publish("v1/gateway/telemetry", Some(id), &self.payload(number)).is_err() {
                    return;
                }
                under_way.push_back((number, id));
                continue;
            }
            let Ok(packet) = wire.read() else { return };
            if packet.kind() != PUBACK {
                return;
            }
            // DESIGN 8.1 (4): acks leave in arrival order, also where owners answer in another one.
            let (number, id) = under_way.pop_front().expect("the server acknowledges only what was sent");
            assert_eq!(packet.id(), id, "acks leave in arrival order");
            assert!(packet.code(2) < 0x80, "a pack of known children is taken: {packet:?}");
            self.acknowledged.push(number);
            progress.count();
        }
    }
}

#[test]
fn acknowledged_packs_survive_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let made = gateways(&setup, 6).into_iter();
        let mut packs: Vec<Packs> =
            made.map(|(gateway, children)| Packs { gateway, children, sent: 0, acknowledged: Vec::new() }).collect();
        let mut dice = Dice::cast(driver);
        let mut instance = setup.start();
        for round in 0..ROUNDS {
            let messages = dice.roll(100..3_000);
            let mqtt = instance.mqtt();
            storm(&mut packs, mqtt, false, |progress| {
                progress.wait_for_more(messages);
                instance.kill();
            });
            instance = setup.start();
            let tenant = fixture::tenant(&instance);
            let faults: Vec<String> = packs.iter().flat_map(|packs| packs.audit(&tenant)).collect();
            assert!(faults.is_empty(), "{driver}, round {round}: {} faults, the first: {:?}", faults.len(), faults.first());
        }
        let acknowledged: usize = packs.iter().map(|packs| packs.acknowledged.len()).sum();
        println!("{driver}: {ROUNDS} kills, {acknowledged} acknowledged packs, all there");
        instance.stop();
    }
}
