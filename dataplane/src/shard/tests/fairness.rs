//! Tenants beside each other on one whole shard: one whose scripts never end, one that floods, and one that only wants its messages
//! stored. Counts turns and messages, never time.

use std::rc::Rc;

use schemas::chain::{Chain, default_root_chain};
use serde_json::json;

use super::fleet::{Client, Fleet, PUBREC, engines};
use crate::limits;
use crate::session::Outcome;
use crate::shard::letter::{Address, Letter, Of};
use crate::shard::slab::Key;
use crate::store::Family;

const TELEMETRY: &str = "v1/devices/me/telemetry";

fn root() -> Chain {
    Chain::parse(&default_root_chain().to_string()).unwrap()
}

/// A chain that never ends for telemetry, then saves it all the same.
fn endless() -> Chain {
    let node = |class: &str, configuration| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration });
    let edge = |from: usize, label: &str| json!({ "fromIndex": from, "toIndex": from + 1, "type": label });
    let nodes = [
        node("filter.TbMsgTypeSwitchNode", json!({})),
        node("filter.TbJsFilterNode", json!({ "scriptLang": "JS", "jsScript": "while (true) {}" })),
        node("telemetry.TbMsgTimeseriesNode", json!({ "defaultTTL": 0 })),
    ];
    let edges = [edge(0, "Post telemetry"), edge(1, "Failure")];
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).unwrap()
}

fn publish(client: &mut Client, ids: std::ops::RangeInclusive<u16>) {
    ids.for_each(|id| client.publish(TELEMETRY, id, &format!(r#"{{"n":{id}}}"#)));
}

fn stored(fleet: &Fleet, name: &str) -> usize {
    fleet.rows(name).len()
}

/// Receives the acknowledgements of so many messages.
fn acknowledged(fleet: &mut Fleet, client: &mut Client, count: usize) {
    let mut left = count;
    fleet.turn_until("all are acknowledged", |_| {
        while let Some((kind, id, code)) = client.take() {
            assert_eq!((kind, code), (PUBREC, 0), "{id}");
            left -= 1;
        }
        left == 0
    });
}

#[test]
fn scripts_that_never_end_take_one_call_of_a_turn_until_they_rest() {
    let mut fleet = Fleet::start(engines(1), 1);
    fleet.admit(2, &["loops"], &endless());
    fleet.admit(3, &["good"], &root());
    let mut loops = Client::connect_as("loops", &mut fleet, false, true);
    let mut good = Client::connect_as("good", &mut fleet, false, true);
    publish(&mut loops, 1..=60);
    publish(&mut good, 1..=60);
    for turn in 1..=limits::SCRIPT_CUTS_IN_A_ROW_MAX as usize {
        fleet.turn();
        let taken = stored(&fleet, "loops");
        assert!(taken <= turn, "{taken} messages whose scripts never end, in {turn} turns");
    }
    // Those of the other tenant were served beside them; what is left waits for nobody's scripts.
    acknowledged(&mut fleet, &mut good, 60);
    assert_eq!(stored(&fleet, "good"), 60);
    acknowledged(&mut fleet, &mut loops, 60);
    assert_eq!(stored(&fleet, "loops"), 60, "what a chain cannot do is its own fault: each is taken");
}

#[test]
fn a_flood_is_served_by_turns_with_others() {
    let mut fleet = Fleet::start(engines(1), 1);
    let names: Vec<String> = (0..20).map(|n| format!("flood{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fleet.admit(2, &names, &root());
    fleet.admit(3, &["good"], &root());
    let mut floods: Vec<Client> = names.iter().map(|name| Client::connect_as(name, &mut fleet, false, true)).collect();
    let mut good = Client::connect_as("good", &mut fleet, false, true);
    // What a connection may have unsettled, of every one: several turns' worth.
    let pad = "x".repeat(limits::TURN_BYTES_MAX / 400);
    for flood in &mut floods {
        (1..=60).for_each(|id| flood.publish(TELEMETRY, id, &format!(r#"{{"n":{id},"pad":"{pad}"}}"#)));
    }
    publish(&mut good, 1..=60);
    let flooded = |fleet: &Fleet| names.iter().map(|name| stored(fleet, name)).sum::<usize>();
    while stored(&fleet, "good") < 60 {
        fleet.turn();
        assert!(flooded(&fleet) < 20 * 60, "all of the flood went first");
    }
    acknowledged(&mut fleet, &mut good, 60);
    for flood in &mut floods {
        acknowledged(&mut fleet, flood, 60);
    }
    assert_eq!(flooded(&fleet), 20 * 60);
}

/// As many letters as the ways of two shards to the first hold.
fn write(fleet: &mut Fleet) {
    let to = Address { shard: 0, connection: Key::of_token(0).0, receipt: None, of: Of::Nothing };
    for from in [1, 2] {
        for _ in 0..limits::MESH_SLOTS {
            fleet.shards[from].mesh.send(0, Letter::Answer(Box::new((to, Outcome::Stored.into()))));
        }
    }
}

#[test]
fn letters_of_other_shards_take_their_part_of_a_turn_and_the_rest_is_not_slept_over() {
    let mut fleet = Fleet::start(engines(3), 1);
    write(&mut fleet);
    let shard = &mut fleet.shards[0];
    let turns_with_letters = std::iter::from_fn(|| {
        shard.bell = Rc::default();
        shard.turn();
        (shard.mesh.has_arrivals() && shard.bell.rung()).then_some(())
    });
    assert_eq!(turns_with_letters.count(), limits::MESH_SLOTS * 2 / limits::EVENTS_PER_TURN_MAX - 1);
    assert!(!fleet.shards[0].mesh.has_arrivals());
}

#[test]
fn letters_wait_while_a_batch_is_full() {
    let mut fleet = Fleet::start(engines(3), 1);
    write(&mut fleet);
    let shard = &mut fleet.shards[0];
    shard.ledger.batch.put(Family::State, &[0xFE], &vec![0; limits::BATCH_BYTES_MAX + 1]);
    shard.turn();
    assert!(shard.mesh.has_arrivals() && shard.ledger.batch.is_empty());
    (0..limits::MESH_SLOTS * 2 / limits::EVENTS_PER_TURN_MAX - 1).for_each(|_| shard.turn());
    assert!(shard.mesh.has_arrivals(), "none was taken with the full batch");
    shard.turn();
    assert!(!shard.mesh.has_arrivals());
}
