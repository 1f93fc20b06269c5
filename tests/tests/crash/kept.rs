//! `kill -9` with messages to devices under way: what a kept session has not acknowledged comes again in order, and persistent
//! calls that were taken go on to their end (DESIGN 8.4).

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::harness::fixture::{self, Device, devices, share};
use tests::harness::instance::{Home, Instance, Setup, drivers};
use tests::harness::mqtt::{Connect, PUBACK, PUBLISH, V5, V311, Wire};
use tests::harness::rest::Rest;
use tests::harness::{Dice, eventually, now_ms};

const ATTRIBUTES: &str = "v1/devices/me/attributes";
const REQUESTS: &str = "v1/devices/me/rpc/request/+";
const DEVICES: usize = 5;
/// Fewer than a session keeps.
const EACH: i64 = 30;

#[test]
fn kept_messages_survive_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let mut dice = Dice::cast(driver);
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        let made: Vec<(Device, u8)> = devices(&tenant, "kept", DEVICES).into_iter().zip([V311, V5].into_iter().cycle()).collect();
        for (device, version) in &made {
            let mut wire = Wire::admitted(instance.mqtt(), &Connect::new(&device.token).version(*version).kept(86_400));
            assert_eq!(wire.subscribe(ATTRIBUTES, 1), 1);
            wire.leave();
            for number in 0..EACH {
                share(&tenant, &device.id, &json!({ "number": number }));
            }
        }
        instance.kill();
        let mut instance = setup.start();
        // Some are taken, then it is killed again: what was acknowledged may come again, nothing else may be missing.
        let mut taken: Vec<i64> = Vec::new();
        for (device, version) in &made {
            let few = i64::try_from(dice.roll(1..12)).expect("few");
            let (_wire, numbers) = take(&instance, device, *version, few);
            assert_eq!(numbers, (0..few).collect::<Vec<_>>(), "{driver}: in order");
            taken.push(few);
        }
        instance.kill();
        instance = setup.start();
        for ((device, version), few) in made.iter().zip(taken) {
            let (mut wire, numbers) = take_until(&instance, device, *version, EACH - 1);
            let first = numbers[0];
            assert!(first <= few, "{driver}: {few} were taken, and the next that comes is {first}");
            assert_eq!(numbers, (first..EACH).collect::<Vec<_>>(), "{driver}: in order, none missing");
            assert_eq!(wire.ping(), []);
        }
        instance.stop();
    }
}

fn resume(instance: &Instance, device: &Device, version: u8) -> Wire {
    let mut wire = Wire::open(instance.mqtt());
    let connack = wire.handshake(&Connect::new(&device.token).version(version).kept(86_400)).expect("a CONNACK");
    assert!(connack.code(1) == 0 && connack.session_present(), "{}: {connack:?}", device.token);
    wire
}

fn number_of(wire: &mut Wire) -> i64 {
    wire.take_message().json()["number"].as_i64().expect("a number")
}

/// Goes on with the session and takes so many messages.
fn take(instance: &Instance, device: &Device, version: u8, count: i64) -> (Wire, Vec<i64>) {
    let mut wire = resume(instance, device, version);
    let numbers = (0..count).map(|_| number_of(&mut wire)).collect();
    (wire, numbers)
}

/// Goes on with the session and takes messages up to this number.
fn take_until(instance: &Instance, device: &Device, version: u8, last: i64) -> (Wire, Vec<i64>) {
    let mut wire = resume(instance, device, version);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(number_of(&mut wire));
    }
    (wire, numbers)
}

/// Stores persistent calls of one device until the instance is gone; the ids that were answered.
fn store_calls(rest: &Rest, device: &Device, answered: &AtomicUsize) -> Vec<String> {
    let body = json!({ "method": "m", "params": 1, "persistent": true, "retries": 3, "expirationTime": now_ms() + 3_600_000 });
    let mut ids = Vec::new();
    // Fewer than a device may have open.
    while ids.len() < 60 {
        let Ok(reply) = rest.try_post(&format!("/api/rpc/twoway/{}", device.id), &body.to_string()) else { break };
        if reply.status != 200 {
            break;
        }
        ids.push(reply.json()["rpcId"].as_str().expect("an id").to_owned());
        answered.fetch_add(1, Ordering::Relaxed);
    }
    ids
}

/// The device answers calls until the instance is gone or there are no more; how many answers were acknowledged.
fn answer_calls(address: std::net::SocketAddr, device: &Device, answered: &AtomicUsize) -> BTreeSet<String> {
    let mut topics = BTreeSet::new();
    let Ok(mut wire) = Wire::try_open(address) else { return topics };
    if wire.handshake(&Connect::new(&device.token)).is_err()
        || wire.write(&tests::harness::mqtt::subscribe(V311, REQUESTS, 1)).is_err()
    {
        return topics;
    }
    let (mut id, mut under_way) = (1, std::collections::VecDeque::new());
    while let Ok(packet) = wire.read() {
        match packet.kind() {
            PUBLISH => {
                let message = packet.message(V311);
                let topic = message.topic.replace("/request/", "/response/");
                wire.acknowledge_if_open(message.id);
                id += 1;
                if wire.publish(&topic, Some(id), r#"{"done":true}"#).is_err() {
                    break;
                }
                under_way.push_back(topic);
            }
            PUBACK => {
                topics.insert(under_way.pop_front().expect("only what was sent is acknowledged"));
                answered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    topics
}

fn status(rest: &Rest, id: &str) -> Value {
    rest.get(&format!("/api/rpc/persistent/{id}")).json()["status"].clone()
}

/// How many persistent calls of a device have this status.
fn count(rest: &Rest, device: &Device, status: &str) -> usize {
    let path = format!("/api/rpc/persistent/device/{}?pageSize=100&page=0&rpcStatus={status}", device.id);
    let total = rest.get(&path).json()["totalElements"].as_u64().expect("a number");
    usize::try_from(total).expect("few")
}

#[test]
fn persistent_calls_survive_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let mut dice = Dice::cast(driver);
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        let made = devices(&tenant, "called", DEVICES);
        let answered = AtomicUsize::new(0);
        let goal = usize::try_from(dice.roll(50..250)).expect("few");
        let ids: Vec<Vec<String>> = std::thread::scope(|scope| {
            let callers: Vec<_> = made.iter().map(|device| scope.spawn(|| store_calls(&tenant, device, &answered))).collect();
            eventually("calls are stored", || (answered.load(Ordering::Relaxed) >= goal).then_some(()));
            instance.kill();
            callers.into_iter().map(|caller| caller.join().expect("a caller ends")).collect()
        });
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        for id in ids.iter().flatten() {
            assert_eq!(status(&tenant, id), "QUEUED", "{driver}: an answered call is stored");
        }
        answer_through_a_kill(&setup, instance, &made, &mut dice);
        let instance = setup.start();
        let tenant = fixture::tenant(&instance);
        finish_calls(&instance, &tenant, &made);
        for id in ids.iter().flatten() {
            assert_eq!(status(&tenant, id), "SUCCESSFUL", "{driver}: it went on to its end");
        }
        println!("{driver}: {} persistent calls survived 2 kills", ids.iter().map(Vec::len).sum::<usize>());
        instance.stop();
    }
}

/// Devices answer, and it is killed meanwhile: acknowledged answers are there.
fn answer_through_a_kill(setup: &Setup, instance: Instance, made: &[Device], dice: &mut Dice) {
    let answered = AtomicUsize::new(0);
    let goal = usize::try_from(dice.roll(5..40)).expect("few");
    let address = instance.mqtt();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let devices: Vec<_> = made.iter().map(|device| scope.spawn(|| answer_calls(address, device, &answered).len())).collect();
        eventually("calls are answered", || (answered.load(Ordering::Relaxed) >= goal).then_some(()));
        instance.kill();
        devices.into_iter().map(|device| device.join().expect("a device ends")).collect()
    });
    let instance = setup.start();
    let tenant = fixture::tenant(&instance);
    for (device, acknowledged) in made.iter().zip(counts) {
        let successful = count(&tenant, device, "SUCCESSFUL");
        assert!(successful >= acknowledged, "{}: {acknowledged} answers were acknowledged, {successful} are there", device.token);
    }
    instance.kill();
}

/// Devices answer whatever still comes, until every call has its answer.
fn finish_calls(instance: &Instance, tenant: &Rest, made: &[Device]) {
    let answered = AtomicUsize::new(0);
    let address = instance.mqtt();
    std::thread::scope(|scope| {
        for device in made {
            // Ends by the take-over below.
            scope.spawn(|| answer_calls(address, device, &answered));
        }
        let open =
            |device: &Device| ["QUEUED", "SENT", "DELIVERED"].iter().map(|status| count(tenant, device, status)).sum::<usize>();
        eventually("every call has its answer", || made.iter().all(|device| open(device) == 0).then_some(()));
        for device in made {
            Wire::session(address, &device.token).leave();
        }
    });
}
