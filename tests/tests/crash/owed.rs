//! `kill -9` with calls to the outside under way, and nobody there to hear them: what was acknowledged is heard in the end, at least
//! once, in order per device, under the same key however often (DESIGN 8.6, 22).

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::harness::fixture::{self, devices, limit_tenants, root_chain};
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::mqtt::Wire;
use tests::harness::port;
use tests::harness::python::Client;

const DEVICES: usize = 4;
const EACH: u16 = 25;

#[test]
fn calls_survive_kill_9_and_a_receiver_that_was_away() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let mut instance = setup.start();
        let tenant = fixture::tenant(&instance);
        limit_tenants(&instance, &json!({ "privateTargetsAllowed": true }));
        let away = port::reserve();
        let call =
            json!({ "restEndpointUrlPattern": format!("http://{away}/${{deviceName}}"), "requestMethod": "POST", "headers": {} });
        let node = |class: &str, configuration: Value| {
            json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration,
                "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
        };
        let nodes = [node("filter.TbMsgTypeSwitchNode", json!({})), node("rest.TbRestApiCallNode", call)];
        let chain = json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": root_chain(&tenant) }, "firstNodeIndex": 0, "nodes": nodes,
            "connections": [{ "fromIndex": 0, "toIndex": 1, "type": "Post telemetry" }] });
        let _saved = tenant.post("/api/ruleChain/metadata", &chain).json();
        let made = devices(&tenant, "owing", DEVICES);
        let mut wires: Vec<Wire> = made.iter().map(|device| Wire::session(instance.mqtt(), &device.token)).collect();
        for n in 1..=EACH {
            for wire in &mut wires {
                assert_eq!(wire.telemetry(n, &format!("{{\"n\":{n}}}")), 0);
            }
            if n % 10 == 0 {
                instance.kill();
                instance = setup.start();
                wires = made.iter().map(|device| Wire::session(instance.mqtt(), &device.token)).collect();
            }
        }
        drop(wires);
        let mut outside = Client::outside(&home, away.port());
        outside.event("listening");
        // Killed once more while they are heard.
        let mut heard = Heard::default();
        (0..20).for_each(|_| heard.hear(&outside.event("call")));
        instance.kill();
        let instance = setup.start();
        while !heard.all() {
            heard.hear(&outside.event("call"));
        }
        heard.check();
        instance.stop();
    }
}

/// Numbers in the order in which they were heard first, and the keys of each.
type Calls = (Vec<u64>, BTreeMap<u64, BTreeSet<String>>);

/// Of each device.
#[derive(Default)]
struct Heard(BTreeMap<String, Calls>);

impl Heard {
    fn hear(&mut self, call: &Value) {
        let text = |field: &str| call[field].as_str().expect("a text").to_owned();
        let body: Value = serde_json::from_str(&text("body")).expect("JSON");
        let n = body["n"].as_u64().expect("a number");
        let (order, keys) = self.0.entry(text("path")).or_default();
        if !keys.contains_key(&n) {
            order.push(n);
        }
        keys.entry(n).or_default().insert(text("key"));
    }

    fn all(&self) -> bool {
        self.0.len() == DEVICES && self.0.values().all(|(order, _)| order.len() == usize::from(EACH))
    }

    fn check(&self) {
        for (device, (order, keys)) in &self.0 {
            assert_eq!(*order, (1..=u64::from(EACH)).collect::<Vec<_>>(), "{device}: in order, none missing");
            assert!(keys.values().all(|keys| keys.len() == 1), "{device}: one key for each: {keys:?}");
        }
    }
}
