//! Whole shards. Here: gateways' QoS 2 packs (DESIGN 8.3, 8 and 10): every part is stored once, wherever a crash falls and whatever the
//! disks hold of what they did not promise.

mod alarms;
mod calculated;
mod calls;
mod connectivity;
mod entering;
mod facts;
mod fairness;
mod fleet;
mod owing;
mod passing;
mod settings;
mod telling;
mod waiting;
mod wishing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet::{CHILDREN, Client, Fleet, PUBCOMP, PUBREC, TOKEN, device, engines, merged, pending};

use crate::clock::Timestamp;
use crate::limits;
use crate::metric::Counter;
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;

type Engines = Vec<Arc<MemoryEngine>>;

const TELEMETRY: &str = "v1/gateway/telemetry";
const ATTRIBUTES: &str = "v1/gateway/attributes";

/// The same for every child. Telemetry comes without a ts, so that a message stored twice is two rows.
fn payload(topic: &str, n: i64) -> String {
    let values = if topic == TELEMETRY { format!(r#"[{{"n":{n}}}]"#) } else { format!(r#"{{"n":{n}}}"#) };
    let parts: Vec<String> = CHILDREN.iter().map(|child| format!(r#""{child}":{values}"#)).collect();
    format!("{{{}}}", parts.join(","))
}

/// A session's packs: telemetry and attributes take turns; each number is its packet identifier and its value.
struct Packs {
    client: Client,
    /// How far each one is: `false`: published.
    open: BTreeMap<u16, bool>,
    five: bool,
}

impl Packs {
    fn begin(fleet: &mut Fleet, five: bool) -> Self {
        Self { client: Client::connect(fleet, five, false), open: BTreeMap::new(), five }
    }

    fn publish(&mut self, id: u16) {
        let topic = if id.is_multiple_of(2) { ATTRIBUTES } else { TELEMETRY };
        self.client.publish(topic, id, &payload(topic, id.into()));
        self.open.entry(id).or_insert(false);
    }

    /// Takes what has come; PUBRELs leave.
    fn take(&mut self) {
        while let Some((kind, id, code)) = self.client.take() {
            // Of an identifier that was released before the crash MQTT 5 says that it is not known.
            assert!(code < 0x80 || kind == PUBCOMP, "refused: {kind} {id} {code}");
            match kind {
                PUBREC => {
                    *self.open.get_mut(&id).expect("it is under way") = true;
                    self.client.release(id);
                }
                PUBCOMP => drop(self.open.remove(&id)),
                other => panic!("a packet of type {other}"),
            }
        }
    }

    /// Goes on with the session after a crash: what has no answer is sent again.
    fn resume(&mut self, fleet: &mut Fleet) {
        self.client = Client::connect(fleet, self.five, false);
        for (id, received) in self.open.clone() {
            if received { self.client.release(id) } else { self.publish(id) }
        }
    }

    fn finish(&mut self, fleet: &mut Fleet) {
        fleet.turn_until("all packs are acknowledged and finished", |fleet| {
            self.take();
            self.open.is_empty() && fleet.pending().is_empty()
        });
    }
}

/// Every telemetry pack up to `last` is there once at every child, and the last attribute is the newest.
fn check_once(fleet: &Fleet, last: u16, what: &str) {
    for child in CHILDREN {
        let rows = fleet.rows(child);
        let expected: Vec<(i64, usize)> = (1..=i64::from(last)).step_by(2).map(|n| (n, 1)).collect();
        let found: Vec<(i64, usize)> = rows.iter().map(|(n, times)| (*n, times.len())).collect();
        assert_eq!(found, expected, "{what}: {child}");
        assert_eq!(fleet.attribute(child), Some(i64::from(last - last % 2)), "{what}: {child}: the newest attribute");
    }
}

/// Publishes, crashes after so many turns, starts on these shards and ends everything.
fn crash_after(turns: usize, five: bool, keeping: &[usize], after: impl Fn(Engines) -> Engines) -> bool {
    let what = format!("{turns} turns, keeping {keeping:?}, MQTT 5: {five}");
    let mut fleet = Fleet::start(engines(2), 1);
    let mut packs = Packs::begin(&mut fleet, five);
    (1..=6).for_each(|id| packs.publish(id));
    for _ in 0..turns {
        fleet.turn();
        packs.take();
    }
    let left = fleet.crash(keeping);
    let crashed = fleet.clock.now().timestamp;
    let under_way = pending(&left);
    drop(fleet);
    // Longer than packs of one moment are apart.
    std::thread::sleep(Duration::from_millis(20));
    let mut fleet = Fleet::start(after(left), 2);
    packs.resume(&mut fleet);
    (7..=9).for_each(|id| packs.publish(id));
    packs.finish(&mut fleet);
    check_once(&fleet, 9, &what);
    for pack in under_way.iter().filter(|pack| pack.packet_id.is_some_and(|id| !id.is_multiple_of(2))) {
        let n = i64::from(pack.packet_id.unwrap_or_default());
        for child in CHILDREN {
            let times = fleet.rows(child).remove(&n).unwrap_or_default();
            let own = |ts: &Timestamp| (pack.taken.0..crashed.0 + 15).contains(&ts.0);
            assert!(times.iter().all(own), "{what}: {child} has {n} at {times:?}, its pack was taken at {:?}", pack.taken);
        }
    }
    fleet.count(Counter::PartsRepeated) > 0
}

#[test]
fn every_part_is_stored_once_wherever_a_crash_falls() {
    let mut repeated = 0;
    for turns in 0..24 {
        for (keeping, five) in [(&[0][..], false), (&[99], true), (&[0, 99], false), (&[99, 0], true)] {
            repeated += usize::from(crash_after(turns, five, keeping, |left| left));
        }
    }
    assert!(repeated > 0, "some crash fell between a part and the end of its pack");
}

#[test]
fn packs_move_with_their_partitions() {
    for turns in (0..24).step_by(2) {
        crash_after(turns, true, &[0, 99], |left| merged(&left));
    }
}

#[test]
fn a_second_crash_during_the_replay_doubles_nothing() {
    for turns in 0..12 {
        let mut fleet = Fleet::start(engines(2), 1);
        let mut packs = Packs::begin(&mut fleet, false);
        (1..=6).for_each(|id| packs.publish(id));
        (0..9).for_each(|_| fleet.turn());
        let mut left = fleet.crash(&[99]);
        for epoch in 2..4 {
            let mut fleet = Fleet::start(left, epoch);
            (0..turns).for_each(|_| fleet.turn());
            left = fleet.crash(&[0, 99]);
        }
        let mut fleet = Fleet::start(left, 4);
        packs.resume(&mut fleet);
        packs.finish(&mut fleet);
        check_once(&fleet, 6, &format!("{turns} turns of each replay"));
    }
}

/// The answer to a pack: its reason code, or `None` when the connection ended.
fn answer(fleet: &mut Fleet, client: &mut Client, id: u16) -> Option<u8> {
    let mut code = None;
    fleet.turn_until("an answer", |_| {
        while let Some((kind, of, reason)) = client.take() {
            if (kind, of) == (PUBREC, id) {
                code = Some(reason);
            }
        }
        code.is_some() || client.ended
    });
    code
}

/// "A" says something that is no telemetry.
const REFUSED: &str = r#"{"A":[7],"B":[{"n":1}],"C":[{"n":1}]}"#;

#[test]
fn a_refused_part_does_not_undo_others_and_mqtt_5_says_so() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, true, false);
    client.publish(TELEMETRY, 1, REFUSED);
    assert_eq!(answer(&mut fleet, &mut client, 1), Some(0x99));
    assert!(fleet.rows("A").is_empty() && fleet.rows("B")[&1].len() == 1 && fleet.pending().is_empty());
    client.publish(TELEMETRY, 1, &payload(TELEMETRY, 2));
    assert_eq!(answer(&mut fleet, &mut client, 1), Some(0), "the identifier is free for another pack");
    assert_eq!((fleet.rows("A")[&2].len(), fleet.rows("B")[&2].len()), (1, 1));
}

#[test]
fn a_refused_part_closes_mqtt_3_and_only_it_is_tried_again() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, false, false);
    client.publish(TELEMETRY, 1, REFUSED);
    assert_eq!(answer(&mut fleet, &mut client, 1), None);
    let left = fleet.crash(&[0]);
    let mut fleet = Fleet::start(left, 2);
    for _ in 0..2 {
        let mut client = Client::connect(&mut fleet, false, false);
        client.publish(TELEMETRY, 1, REFUSED);
        assert_eq!(answer(&mut fleet, &mut client, 1), None, "it is refused again");
    }
    let mut client = Client::connect(&mut fleet, false, false);
    client.publish(TELEMETRY, 1, &REFUSED.replace('7', r#"{"n":1}"#));
    assert_eq!(answer(&mut fleet, &mut client, 1), Some(0));
    for child in CHILDREN {
        assert_eq!(fleet.rows(child)[&1].len(), 1, "{child}");
    }
    assert!(fleet.pending().is_empty());
}

#[test]
fn of_equal_names_all_parts_count_once() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, true, false);
    let twice = r#"{"B":[{"n":1},{"n":2}],"A":[{"n":1}],"B":[{"n":3}]}"#;
    client.publish(TELEMETRY, 1, twice);
    assert_eq!(answer(&mut fleet, &mut client, 1), Some(0));
    let counts = |rows: BTreeMap<i64, Vec<Timestamp>>| rows.into_iter().map(|(n, ts)| (n, ts.len())).collect::<Vec<_>>();
    assert_eq!(counts(fleet.rows("B")), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(counts(fleet.rows("A")), [(1, 1)]);
}

/// Holds back what the second shard would do, so that packs stay under way.
fn under_way(fleet: &mut Fleet, packs: usize) {
    first_until(fleet, "packs under way", |fleet| fleet.pending().len() == packs);
}

/// Turns of the first shard alone, with a moment for its lanes after each, until this is so.
fn first_until(fleet: &mut Fleet, what: &str, mut is: impl FnMut(&mut Fleet) -> bool) {
    for _ in 0..20_000 {
        fleet.shards[0].turn();
        if is(fleet) {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("never: {what}");
}

#[test]
fn whoever_comes_back_waits_for_the_same_pack_and_a_new_session_has_new_ones() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, true, false);
    client.publish(TELEMETRY, 1, &payload(TELEMETRY, 1));
    under_way(&mut fleet, 1);
    drop(client);
    // The same session again, while the pack is under way.
    let mut client = Client::connect(&mut fleet, true, false);
    client.publish(TELEMETRY, 1, &payload(TELEMETRY, 1));
    assert_eq!(answer(&mut fleet, &mut client, 1), Some(0));
    client.release(1);
    assert_eq!(fleet.rows("B")[&1].len(), 1);
    client.publish(TELEMETRY, 2, &payload(TELEMETRY, 2));
    under_way(&mut fleet, 1);
    drop(client);
    // Another session: the identifier means another pack, and the one under way is stored all the same.
    let mut client = Client::connect(&mut fleet, true, true);
    client.publish(TELEMETRY, 2, &payload(TELEMETRY, 3));
    assert_eq!(answer(&mut fleet, &mut client, 2), Some(0));
    fleet.turn_until("both are finished", |fleet| fleet.pending().is_empty());
    for n in 1..=3 {
        assert_eq!(fleet.rows("B").get(&n).map(Vec::len), Some(1), "{n}");
    }
}

#[test]
fn an_identifier_of_a_session_that_is_over_means_another_pack_after_a_crash() {
    for turns in 0..8 {
        let mut fleet = Fleet::start(engines(2), 1);
        let mut client = Client::connect(&mut fleet, true, false);
        client.publish(TELEMETRY, 1, &payload(TELEMETRY, 1));
        under_way(&mut fleet, 1);
        drop(reconnect(&mut fleet));
        let left = fleet.crash(&[99]);
        let mut fleet = Fleet::start(left, 2);
        (0..turns).for_each(|_| fleet.turn());
        let mut client = Client::connect(&mut fleet, true, false);
        client.publish(TELEMETRY, 1, &payload(TELEMETRY, 2));
        assert_eq!(answer(&mut fleet, &mut client, 1), Some(0));
        fleet.turn_until("both are finished", |fleet| fleet.pending().is_empty());
        for n in 1..=2 {
            assert_eq!(fleet.rows("B").get(&n).map(Vec::len), Some(1), "{turns} turns: {n}");
        }
    }
}

#[test]
fn an_owner_that_lost_its_store_is_asked_again() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut packs = Packs::begin(&mut fleet, false);
    fleet.engines[1].fail_writes(true);
    (1..=4).for_each(|id| packs.publish(id));
    fleet.turn_until("the second shard's generation ended", |fleet| fleet.count(Counter::StoreGenerationsEnded) == 1);
    (0..50).for_each(|_| fleet.turn());
    packs.take();
    assert_eq!(fleet.pending().len(), 4, "all are under way");
    assert!(packs.open.len() == 4 && packs.open.values().all(|received| !received), "nothing is acknowledged");
    fleet.engines[1].fail_writes(false);
    // Some answers went with the generation: their time passes.
    let later = fleet.clock.now().instant.after_ms(limits::FORWARD_ANSWER_MS);
    let shard = &mut fleet.shards[0];
    drop(shard.forwards.tend(later, &mut shard.ledger.batch));
    packs.finish(&mut fleet);
    check_once(&fleet, 4, "after the store was lost");
}

#[test]
fn packs_of_a_gateway_are_bounded_and_go_with_it() {
    let mut fleet = Fleet::start(engines(2), 1);
    let mut client = Client::connect(&mut fleet, true, false);
    let most = u16::try_from(limits::FORWARDS_PER_GATEWAY_MAX).unwrap();
    for session in 0..2 {
        (1..=most / 2).for_each(|id| client.publish(TELEMETRY, id, &payload(TELEMETRY, i64::from(id + session * most))));
        under_way(&mut fleet, usize::from(most / 2 * (session + 1)));
        client = reconnect(&mut fleet);
    }
    client.publish(TELEMETRY, 1, &payload(TELEMETRY, 1_000));
    let mut said = None;
    first_until(&mut fleet, "an answer", |_| {
        said = client.take();
        said.is_some()
    });
    assert_eq!(said, Some((PUBREC, 1, 0x83)), "no room for another");
    assert_eq!(fleet.pending().len(), usize::from(most));
    fleet.apply(&[ShardChange::DeviceDeleted(device(TOKEN))]);
    fleet.turn_until("its packs are gone", |fleet| fleet.pending().is_empty());
    (0..20).for_each(|_| fleet.turn());
}

/// A new session while the second shard stands still.
fn reconnect(fleet: &mut Fleet) -> Client {
    let second = fleet.shards.pop().expect("two shards");
    let client = Client::connect(fleet, true, true);
    fleet.shards.push(second);
    client
}
