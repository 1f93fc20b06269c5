//! SIGTERM: stop accepting, tell MQTT 5 clients, commit, exit 0. Never loses what was acknowledged.

use tests::harness::fixture::{self, devices};
use tests::harness::instance::{Home, Setup};
use tests::harness::load::{Ledger, assert_all_there, storm};
use tests::harness::mqtt::{Connect, DISCONNECT, V5, V311, Wire};

#[test]
fn a_drain_tells_mqtt_5_clients_and_loses_nothing() {
    let home = Home::new();
    let setup = Setup::standalone(&home).shards(2);
    let mut instance = setup.start();
    let tenant = fixture::tenant(&instance);
    let made = devices(&tenant, "drain", 12);
    let mut ledgers: Vec<Ledger> =
        made.into_iter().zip([V311, V5].into_iter().cycle()).map(|(device, version)| Ledger::new(device, version)).collect();
    let _device = fixture::device(&tenant, "idle5");
    let mut idle = Wire::admitted(instance.mqtt(), &Connect::new("idle5").version(V5));
    let status = storm(&mut ledgers, instance.mqtt(), false, |progress| {
        progress.wait_for_more(1_000);
        instance.terminate();
        instance.wait()
    });
    assert_eq!(status.code(), Some(0), "a drained instance exits 0");
    let said = idle.read_to_close();
    let said: Vec<(u8, u8)> = said.iter().map(|packet| (packet.kind(), packet.code(0))).collect();
    assert_eq!(said, [(DISCONNECT, 0x8b)], "Server shutting down");
    let instance = setup.start();
    assert_all_there(&ledgers, &fixture::tenant(&instance), "after a drain");
    instance.stop();
}

#[test]
fn an_unused_instance_stops_at_once() {
    let home = Home::new();
    for _ in 0..3 {
        Setup::standalone(&home).shards(2).start().stop();
    }
}
