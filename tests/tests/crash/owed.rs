//! `kill -9` with calls to the outside under way, and nobody there to hear them: what was acknowledged is heard in the end, at least
//! once, in order per device, under the same key however often (DESIGN 8.6, 22).

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tests::harness::fixture::{self, Device, devices, draw_root, limit_tenants};
use tests::harness::instance::{Home, Instance, Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;

const DEVICES: usize = 4;
const EACH: u16 = 25;
const AWAY: Duration = Duration::from_secs(60);

fn rest_call(port: u16) -> (&'static str, Value) {
    let url = format!("http://127.0.0.1:{port}/${{deviceName}}");
    ("rest.TbRestApiCallNode", json!({ "restEndpointUrlPattern": url, "requestMethod": "POST", "headers": {} }))
}

fn sessions(instance: &Instance, devices: &[Device]) -> Vec<Wire> {
    devices.iter().map(|device| Wire::session(instance.mqtt(), &device.token)).collect()
}

#[test]
fn calls_survive_kill_9_and_a_receiver_that_was_away() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let mut instance = setup.start();
        let tenant = fixture::tenant(&instance);
        limit_tenants(&instance, &json!({ "privateTargetsAllowed": true }));
        let away = port::reserve();
        let nodes = [("filter.TbMsgTypeSwitchNode", json!({})), rest_call(away.port())];
        draw_root(&tenant, &nodes, &[(0, "Post telemetry", 1)]);
        let made = devices(&tenant, "owing", DEVICES);
        let mut wires = sessions(&instance, &made);
        for n in 1..=EACH {
            for wire in &mut wires {
                assert_eq!(wire.telemetry(n, &format!("{{\"n\":{n}}}")), 0);
            }
            if n % 10 == 0 {
                instance.kill();
                instance = setup.start();
                wires = sessions(&instance, &made);
            }
        }
        drop(wires);
        let mut outside = Client::outside(&home, away.port());
        outside.event("listening");
        // Killed once more while they are heard.
        let mut heard = Heard::default();
        (0..20).for_each(|_| heard.hear_call(&outside.event("call")));
        instance.kill();
        let instance = setup.start();
        while !heard.all(EACH) {
            heard.hear_call(&outside.event("call"));
        }
        heard.check(EACH);
        instance.stop();
    }
}

/// A web server and a broker are away for a minute, in which devices go on and the process is killed.
#[test]
fn receivers_that_were_away_for_a_minute_hear_everything_in_order() {
    std::thread::scope(|scope| {
        for driver in drivers() {
            scope.spawn(move || away_for_a_minute(driver));
        }
    });
}

fn away_for_a_minute(driver: &str) {
    let home = Home::new();
    let setup = Setup::standalone(&home).shards(2).driver(driver);
    let mut instance = setup.start();
    let tenant = fixture::tenant(&instance);
    limit_tenants(&instance, &json!({ "privateTargetsAllowed": true }));
    let (web, broker) = (port::reserve(), port::reserve());
    // The broker keeps for its subscriber what comes while that is not there, and is gone before the first message comes.
    let mosquitto = Client::mosquitto_that_remembers(&home, broker);
    Client::mosquitto_sub_kept(&home, broker, "plant/#").kill();
    mosquitto.terminate();
    let publish = json!({ "topicPattern": "plant/${deviceName}", "host": "127.0.0.1", "port": broker.port(), "connectTimeoutSec": 5,
        "protocolVersion": "MQTT_5" });
    let nodes = [("filter.TbMsgTypeSwitchNode", json!({})), rest_call(web.port()), ("mqtt.TbMqttNode", publish)];
    draw_root(&tenant, &nodes, &[(0, "Post telemetry", 1), (0, "Post telemetry", 2)]);
    let made = devices(&tenant, "owing", DEVICES);
    let mut wires = sessions(&instance, &made);
    let (begin, mut killed, mut n) = (Instant::now(), false, 0);
    // For so long they are away: it is what this test is about.
    while begin.elapsed() < AWAY {
        n += 1;
        for wire in &mut wires {
            assert_eq!(wire.telemetry(n, &format!("{{\"n\":{n}}}")), 0);
        }
        if !killed && begin.elapsed() > AWAY / 2 {
            instance.metric_reaches("tidegate_calls_retried_total", 2.0);
            instance.kill();
            instance = setup.start();
            wires = sessions(&instance, &made);
            killed = true;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(killed && n > 10, "{n} messages of each");
    let mut outside = Client::outside(&home, web.port());
    let _mosquitto = Client::mosquitto_that_remembers(&home, broker);
    let mut subscriber = Client::mosquitto_sub_kept(&home, broker, "plant/#");
    let (mut called, mut published) = (Heard::default(), Heard::default());
    while !called.all(n) {
        called.hear_call(&outside.event("call"));
    }
    while !published.all(n) {
        let (topic, key, body) = subscriber.published();
        published.hear(&topic, &key.expect("it has its key"), &body);
    }
    called.check(n);
    published.check(n);
    // Each node has calls of its own.
    assert!(called.keys().is_disjoint(&published.keys()));
    instance.stop();
}

/// Numbers in the order in which they were heard first, and the keys of each.
type Calls = (Vec<u64>, BTreeMap<u64, BTreeSet<String>>);

/// Of each device.
#[derive(Default)]
struct Heard(BTreeMap<String, Calls>);

impl Heard {
    fn hear_call(&mut self, call: &Value) {
        let text = |field: &str| call[field].as_str().expect("a text");
        self.hear(text("path"), text("key"), &serde_json::from_str(text("body")).expect("JSON"));
    }

    fn hear(&mut self, device: &str, key: &str, body: &Value) {
        let n = body["n"].as_u64().expect("a number");
        let (order, keys) = self.0.entry(device.to_owned()).or_default();
        if !keys.contains_key(&n) {
            order.push(n);
        }
        keys.entry(n).or_default().insert(key.to_owned());
    }

    fn all(&self, each: u16) -> bool {
        self.0.len() == DEVICES && self.0.values().all(|(order, _)| order.len() == usize::from(each))
    }

    fn keys(&self) -> BTreeSet<&String> {
        self.0.values().flat_map(|(_, keys)| keys.values().flatten()).collect()
    }

    fn check(&self, each: u16) {
        for (device, (order, keys)) in &self.0 {
            assert_eq!(*order, (1..=u64::from(each)).collect::<Vec<_>>(), "{device}: in order, none missing");
            assert!(keys.values().all(|keys| keys.len() == 1), "{device}: one key for each: {keys:?}");
        }
        assert_eq!(self.keys().len(), DEVICES * usize::from(each), "a key for each call and no other");
    }
}
