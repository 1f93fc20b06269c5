//! `kill -9` in rounds. Done when 3 of the issue; order is proven by the overwritten (key, ts) and by the live stream.

use serde_json::json;
use tests::harness::Dice;
use tests::harness::fixture;
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::load::{Ledger, assert_all_there, storm};
use tests::harness::websocket::Live;

const ROUNDS: usize = 8;
const CONNECTIONS: usize = 50;

#[test]
fn every_acknowledged_message_survives_kill_9() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let mut dice = Dice::cast(driver);
        let mut instance = setup.start();
        let mut ledgers = super::ledgers(&instance, CONNECTIONS);
        for round in 0..ROUNDS {
            let messages = dice.roll(500..30_000);
            let mqtt = instance.mqtt();
            storm(&mut ledgers, mqtt, false, |progress| {
                progress.wait_for_more(messages);
                instance.kill();
            });
            instance = setup.start();
            assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("{driver}, round {round}, {messages} messages"));
        }
        let sent: usize = ledgers.iter().map(Ledger::acknowledged).sum();
        println!("{driver}: {ROUNDS} kills, {sent} acknowledged messages, all there");
        instance.stop();
    }
}

/// DESIGN 8.1 (3, 4): what the live stream shows of one device rises, and so does what a restart finds.
#[test]
fn the_live_stream_is_in_order() {
    for driver in drivers() {
        let home = Home::new();
        let setup = Setup::standalone(&home).shards(2).driver(driver);
        let instance = setup.start();
        let mut ledgers = super::ledgers(&instance, 8);
        let mut live = Live::connect(&fixture::tenant(&instance));
        let watched = ledgers[0].device.id.clone();
        live.send(&json!({ "tsSubCmds": [{ "cmdId": 1, "entityType": "DEVICE", "entityId": watched,
            "scope": "LATEST_TELEMETRY", "keys": "last" }] }));
        assert_eq!(live.update_of(1)["errorCode"], 0);
        let seen = storm(&mut ledgers, instance.mqtt(), false, |_| {
            let mut seen: Vec<i64> = Vec::new();
            while seen.len() < 500 {
                let update = live.update();
                assert_eq!(update["errorCode"], 0, "{update}");
                let rows = update["data"]["last"].as_array().cloned().unwrap_or_default();
                seen.extend(rows.iter().filter_map(|row| row[1].as_str()?.parse::<i64>().ok()));
            }
            seen
        });
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{driver}: values rise: {seen:?}");
        assert_all_there(&ledgers, &fixture::tenant(&instance), driver);
        instance.stop();
    }
}
