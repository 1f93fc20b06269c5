//! Power cuts: after `kill -9` every file is rolled back to what it was at its last fsync or fdatasync.
//! `synced` loses nothing; `buffered` visibly does, which proves that the test can see a loss.

use tests::harness::Dice;
use tests::harness::fixture;
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::load::{assert_all_there, audit, storm};
use tests::harness::powercut::Recorder;

const CONNECTIONS: usize = 20;

#[test]
fn synced_loses_nothing_in_a_power_cut() {
    for driver in drivers() {
        let home = Home::new();
        let recorder = Recorder::build(&home);
        let setup = recorder.over(&Setup::standalone(&home).shards(2).driver(driver).with("TIDEGATE_DURABILITY", "synced"));
        let mut dice = Dice::cast(driver);
        let mut instance = setup.start();
        let mut ledgers = super::ledgers(&instance, CONNECTIONS);
        for round in 0..3 {
            let messages = dice.roll(500..6_000);
            let mqtt = instance.mqtt();
            storm(&mut ledgers, mqtt, false, |progress| {
                progress.wait_for_more(messages);
                instance.kill();
            });
            recorder.cut_power(setup.data());
            instance = setup.start();
            assert_all_there(&ledgers, &fixture::tenant(&instance), &format!("{driver}, power cut {round}"));
        }
        instance.stop();
    }
}

#[test]
fn buffered_is_seen_to_lose_messages_in_a_power_cut() {
    let home = Home::new();
    let recorder = Recorder::build(&home);
    let setup = recorder.over(&Setup::standalone(&home).shards(2).with("TIDEGATE_DURABILITY", "buffered"));
    let instance = setup.start();
    let mut ledgers = super::ledgers(&instance, CONNECTIONS);
    let mqtt = instance.mqtt();
    storm(&mut ledgers, mqtt, false, |progress| {
        progress.wait_for_more(3_000);
        instance.kill();
    });
    // The process being killed loses nothing: the kernel has it.
    let instance = setup.start();
    assert_all_there(&ledgers, &fixture::tenant(&instance), "buffered, killed");
    let mqtt = instance.mqtt();
    storm(&mut ledgers, mqtt, false, |progress| {
        progress.wait_for_more(3_000);
        instance.kill();
    });
    recorder.cut_power(setup.data());
    let instance = setup.start();
    let lost = audit(&ledgers, &fixture::tenant(&instance));
    println!("buffered: {} acknowledged messages were lost in the power cut", lost.len());
    assert!(!lost.is_empty(), "the recorder sees the loss that `buffered` allows");
    instance.stop();
}
