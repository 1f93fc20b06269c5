//! Several shards: connections find their device's owner, and data stays readable when the number of shards changes, also when
//! the process is killed while data moves. Done when 4 of the issue.

use std::time::{Duration, Instant};
use tests::harness::Dice;
use tests::harness::fixture::{self, devices};
use tests::harness::instance::{Home, Instance, Setup};
use tests::harness::load::{Ledger, assert_all_there, storm};
use tests::harness::mqtt::{V5, V311};

const DEVICES: usize = 24;

fn ledgers(instance: &Instance) -> Vec<Ledger> {
    let made = devices(&fixture::tenant(instance), "shard", DEVICES);
    made.into_iter().zip([V311, V5].into_iter().cycle()).map(|(device, version)| Ledger::new(device, version)).collect()
}

#[test]
fn connections_on_the_wrong_shard_are_handed_over_and_work() {
    for shards in [2, 3] {
        let home = Home::new();
        let instance = Setup::standalone(&home).shards(shards).start();
        let mut ledgers = ledgers(&instance);
        storm(&mut ledgers, instance.mqtt(), false, |progress| progress.wait_for_more(2_000));
        let handed_over = instance.metric("tidegate_connections_handed_over_total");
        println!("{shards} shards: {handed_over} of {DEVICES} connections were handed over");
        assert!(handed_over > 0.0);
        assert!(ledgers.iter().all(|ledger| ledger.last_acknowledged().is_some()), "every device was served");
        assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("{shards} shards"));
        instance.stop();
    }
}

#[test]
fn data_survives_another_number_of_shards() {
    let home = Home::new();
    let setup = Setup::standalone(&home);
    let instance = setup.clone().shards(2).start();
    let mut ledgers = ledgers(&instance);
    storm(&mut ledgers, instance.mqtt(), false, |progress| progress.wait_for_more(3_000));
    instance.stop();
    for shards in [3, 1, 2] {
        let instance = setup.clone().shards(shards).start();
        assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("restarted with {shards} shards"));
        storm(&mut ledgers, instance.mqtt(), false, |progress| progress.wait_for_more(500));
        assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("written with {shards} shards"));
        instance.stop();
    }
}

/// DESIGN 8.5 (20): a restart repeats the move it finds marked.
#[test]
fn a_move_that_is_killed_is_finished_by_the_next_start() {
    let home = Home::new();
    let setup = Setup::standalone(&home);
    let instance = setup.clone().shards(2).start();
    let mut ledgers = ledgers(&instance);
    storm(&mut ledgers, instance.mqtt(), false, |progress| progress.wait_for_more(20_000));
    instance.kill();
    let mut dice = Dice::cast("killed moves");
    let mut counts = [3, 1, 2].into_iter().cycle();
    for round in 0..4 {
        let whole = timed_start(&setup, counts.next().expect("endless"));
        for _ in 0..6 {
            let mut launched = setup.clone().shards(counts.next().expect("endless")).launch();
            // Not a synchronisation: the kill is to come at any moment of the start.
            std::thread::sleep(Duration::from_micros(dice.roll(whole / 4..whole)));
            launched.kill();
        }
        let shards = counts.next().expect("endless");
        let instance = setup.clone().shards(shards).start();
        assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("round {round}: {shards} shards after killed moves"));
        instance.kill();
    }
}

/// How long a start that moves data takes, in microseconds.
fn timed_start(setup: &Setup, shards: usize) -> u64 {
    let begun = Instant::now();
    setup.clone().shards(shards).start().kill();
    u64::try_from(begun.elapsed().as_micros()).expect("a start takes less than an age")
}
