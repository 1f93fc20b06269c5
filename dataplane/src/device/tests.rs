//! Device state over the memory twin, against expectations written by hand. The random ones are in `random`.

mod random;

use std::{borrow::Cow, sync::Arc};

use schemas::id::TenantId;
use uuid::Uuid;

use super::*;
use crate::{
    message::{Entry, Reading, Readings},
    query::{Aggregation, History},
    store::{Engine, history, memory::MemoryEngine},
};

const ENTITY: EntityId = EntityId(Uuid::from_u128(0xD1));
const TENANT: TenantId = TenantId(Uuid::from_u128(0x7E));
const NOW: i64 = 1_700_000_000_000;

/// Keys and values of one entry.
type Of<'a> = &'a [(&'static str, i64)];

/// One device on one shard.
struct Shard {
    engine: Arc<MemoryEngine>,
    dictionary: Dictionary,
    sequence: Sequence,
    encoder: Encoder,
    now: i64,
    state: DeviceState,
    batch: Batch,
}

impl Shard {
    fn new() -> Self {
        Self::start(MemoryEngine::new(), 1, NOW)
    }

    fn start(engine: Arc<MemoryEngine>, epoch: u32, now: i64) -> Self {
        let dictionary = Dictionary::load(engine.as_ref()).unwrap();
        let state = DeviceState::load(engine.as_ref(), ENTITY, Timestamp(now)).unwrap();
        let (sequence, encoder, batch) = (Sequence::new(epoch), Encoder::new(), Batch::new());
        Self { engine, dictionary, sequence, encoder, now, state, batch }
    }

    /// One atomic batch.
    fn act<T>(&mut self, act: impl FnOnce(&mut DeviceState, &mut Writing<'_>) -> T) -> T {
        let mut w = Writing {
            batch: &mut self.batch,
            dictionary: &mut self.dictionary,
            sequence: &mut self.sequence,
            encoder: &mut self.encoder,
            keys: &mut Vec::new(),
            now: Timestamp(self.now),
        };
        let result = act(&mut self.state, &mut w);
        self.engine.write(&self.batch).unwrap();
        self.batch.clear();
        result
    }

    fn save(&mut self, entries: &[(Option<i64>, Of<'_>)]) -> Result<Saved, RefusedReadings> {
        self.act(|state, w| state.save_timeseries(w, TENANT, &readings(entries), 0, false))
    }

    fn reload(&mut self) {
        self.state = DeviceState::load(self.engine.as_ref(), ENTITY, Timestamp(self.now)).unwrap();
    }

    /// A power cut right after everything was synced, and the next start.
    fn crash(self) -> Self {
        self.engine.flush(true).unwrap();
        let epoch = u32::try_from(self.sequence.clone().next() >> 40).unwrap() + 1;
        Self::start(self.engine.crash(), epoch, self.now)
    }

    fn latest(&self) -> Vec<(String, i64, String)> {
        let series = self.state.latest(&self.dictionary, &[]);
        series.into_iter().map(|one| (one.key, one.points[0].ts.0, one.points[0].value.to_string())).collect()
    }

    fn history(&self, key: &str) -> Vec<(i64, String)> {
        let asked = History {
            keys: vec![key.to_owned()],
            start: Timestamp(0),
            end: Timestamp(i64::MAX),
            limit: usize::MAX,
            ascending: true,
            aggregation: Aggregation::None,
            interval_ms: 0,
        };
        let names = self.dictionary.ids_of(self.state.partition(), &asked.keys);
        let now = Timestamp(self.now);
        let series =
            history(self.engine.as_ref(), ENTITY, &names, self.state.tombstones(), now, (&asked, history::Budget::QUERY))
                .unwrap();
        series.into_iter().flat_map(|one| one.points).map(|point| (point.ts.0, point.value.to_string())).collect()
    }
}

fn readings(entries: &[(Option<i64>, Of<'_>)]) -> Readings<'static> {
    let mut all = Readings::default();
    for (ts, of) in entries {
        let start = all.readings.len();
        let each = of.iter().map(|(key, value)| Reading { key: Cow::Borrowed(*key), value: Value::Long(*value) });
        all.readings.extend(each);
        all.entries.push(Entry { ts: ts.map(Timestamp), range: start..all.readings.len() });
    }
    all
}

fn values(of: &[(&'static str, Value<'static>)]) -> Readings<'static> {
    let readings: Vec<Reading<'static>> =
        of.iter().map(|(key, value)| Reading { key: Cow::Borrowed(*key), value: value.clone() }).collect();
    Readings { entries: vec![Entry { ts: None, range: 0..readings.len() }], readings }
}

fn latest(of: &[(&str, i64, &str)]) -> Vec<(String, i64, String)> {
    of.iter().map(|(key, ts, value)| ((*key).to_owned(), *ts, (*value).to_owned())).collect()
}

/// DESIGN 16: latest is the greatest (ts, seq), in memory and after any crash.
#[test]
fn out_of_order_and_repeated_timestamps_keep_latest_right() {
    let mut shard = Shard::new();
    shard.save(&[(Some(20), &[("a", 1), ("b", 1)]), (Some(10), &[("a", 2)])]).unwrap();
    shard.save(&[(Some(15), &[("b", 3)])]).unwrap();
    assert_eq!(shard.latest(), latest(&[("a", 20, "1"), ("b", 20, "1")]));
    shard.save(&[(Some(20), &[("a", 7)])]).unwrap();
    let expected = latest(&[("a", 20, "7"), ("b", 20, "1")]);
    assert_eq!(shard.latest(), expected);
    let mut shard = shard.crash();
    assert_eq!(shard.latest(), expected);
    assert_eq!(shard.history("a"), [(10, "2".to_owned()), (20, "7".to_owned())]);
    // Covered by a record now: a row at or below it must carry the record along.
    shard.act(DeviceState::flush_record);
    shard.save(&[(Some(20), &[("b", 9)]), (Some(5), &[("c", 5)])]).unwrap();
    let expected = latest(&[("a", 20, "7"), ("b", 20, "9"), ("c", 5, "5")]);
    assert_eq!(shard.latest(), expected);
    assert_eq!(shard.crash().latest(), expected);
}

#[test]
fn the_record_is_written_every_256_rows_and_when_a_covered_row_arrives() {
    let mut shard = Shard::new();
    let record = |shard: &Shard| shard.engine.get(Family::State, &key::entity(Kind::State, ENTITY)).unwrap().is_some();
    for ts in 0..255 {
        shard.save(&[(Some(ts), &[("a", ts)])]).unwrap();
        assert!(!record(&shard), "{ts}");
    }
    shard.save(&[(Some(255), &[("a", 255)])]).unwrap();
    assert!(record(&shard));
    assert!(!shard.state.dirty());
}

/// DESIGN 15: max(now, last server ts + 1 ms), at most 1 s ahead, then shared.
#[test]
fn server_timestamps_never_repeat_until_a_second_ahead() {
    let mut shard = Shard::new();
    for index in 0..=1_000 {
        let saved = shard.save(&[(None, &[("a", index)])]).unwrap();
        assert_eq!((saved.ts, saved.shared_ts), (vec![Timestamp(NOW + index)], false));
    }
    // The next start within the same second must not reuse them (DESIGN 15: an acknowledged reading would be overwritten).
    let mut shard = shard.crash();
    let saved = shard.save(&[(None, &[("a", 5)])]).unwrap();
    assert_eq!((saved.ts, saved.shared_ts), (vec![Timestamp(NOW + 1_000)], true));
    shard.now += 500;
    let entries = readings(&[(Some(3), &[("a", 1)]), (None, &[("a", 2)])]);
    let saved = shard.act(|state, w| state.save_timeseries(w, TENANT, &entries, 0, true)).unwrap();
    assert_eq!(saved.ts, [Timestamp(NOW + 1_001), Timestamp(NOW + 1_002)]);
}

#[test]
fn refused_readings_change_nothing() {
    let check = |shard: &mut Shard, entries: &[(Option<i64>, Of<'_>)], text: &str| {
        let before = (shard.latest(), shard.engine.keys());
        let refused = shard.save(entries).unwrap_err();
        assert!(refused.to_string().contains(text), "{refused}");
        assert_eq!((shard.latest(), shard.engine.keys()), before);
    };
    let mut shard = Shard::new();
    let day = limits::TS_AHEAD_MS_MAX;
    check(&mut shard, &[(Some(5), &[("a", 1)]), (Some(-1), &[("a", 1)])], "ts -1 is outside [0, ");
    check(&mut shard, &[(Some(NOW + day + 1), &[("a", 1)])], "24 h ahead of the server at most");
    shard.save(&[(Some(NOW + day), &[("a", 1)]), (Some(0), &[("a", 1)])]).unwrap();

    let names: Vec<&'static str> =
        (0..limits::KEYS_PER_DEVICE_MAX).map(|index| &*Box::leak(format!("k{index}").into_boxed_str())).collect();
    let many: Vec<(&'static str, i64)> = names.iter().map(|name| (*name, 1)).collect();
    check(&mut shard, &[(None, &many)], "would have 1025 keys");

    let long = Value::Text(Cow::Owned("x".repeat(limits::DEVICE_STATE_BYTES_MAX)));
    let readings = values(&[("t", long)]);
    let refused = shard.act(|state, w| state.save_timeseries(w, TENANT, &readings, 0, false)).unwrap_err();
    assert!(matches!(refused, RefusedReadings::StateTooLarge { .. }));
    let refused = shard.act(|state, w| state.save_attributes(w, Scope::Server, &readings, false)).unwrap_err();
    assert!(matches!(refused, RefusedReadings::StateTooLarge { .. }));
}

/// DESIGN 18 with 16: what a deletion uncovers becomes the latest value again.
#[test]
fn deleting_a_range_uncovers_the_older_reading() {
    let mut shard = Shard::new();
    for ts in [10, 20, 30] {
        shard.save(&[(Some(ts), &[("a", ts), ("b", ts)])]).unwrap();
    }
    let range = Some((Timestamp(15), Timestamp(31)));
    let deleted = shard.act(|state, w| state.delete_timeseries(w, &["a".to_owned(), "x".to_owned()], range)).unwrap();
    assert_eq!(deleted, Deleted { keys: vec!["a".to_owned()], reload: true });
    assert_eq!(shard.latest(), latest(&[("b", 30, "30")]));
    // Written between the deletion and the load that it asked for.
    shard.save(&[(Some(12), &[("a", 12)])]).unwrap();
    let mut shard = shard.crash();
    assert_eq!(shard.latest(), latest(&[("a", 12, "12"), ("b", 30, "30")]));
    assert_eq!(shard.history("a"), [(10, "10".to_owned()), (12, "12".to_owned())]);
    // A reading written after the deletion, inside its range.
    shard.save(&[(Some(25), &[("a", 25)])]).unwrap();
    let shard = shard.crash();
    assert_eq!(shard.latest(), latest(&[("a", 25, "25"), ("b", 30, "30")]));
    assert_eq!(shard.history("a").len(), 3);
}

#[test]
fn deleting_a_key_leaves_nothing_of_it_and_later_readings_live() {
    let mut shard = Shard::new();
    shard.save(&[(Some(10), &[("a", 1), ("b", 1)])]).unwrap();
    for _ in 0..limits::TOMBSTONES_PER_DEVICE_MAX + 1 {
        // Each replaces the tombstone before, so that they do not add up.
        shard.save(&[(Some(20), &[("a", 2)])]).unwrap();
        let deleted = shard.act(|state, w| state.delete_timeseries(w, &["a".to_owned()], None)).unwrap();
        assert_eq!(deleted, Deleted { keys: vec!["a".to_owned()], reload: false });
        assert_eq!(shard.state.keys(&shard.dictionary), ["b"]);
    }
    shard.save(&[(Some(5), &[("a", 3)])]).unwrap();
    let shard = shard.crash();
    assert_eq!(shard.latest(), latest(&[("a", 5, "3"), ("b", 10, "1")]));
    assert_eq!(shard.history("a"), [(5, "3".to_owned())]);
    assert_eq!(shard.state.tombstones().len(), 1);
}

#[test]
fn deletions_have_a_bound() {
    let mut shard = Shard::new();
    shard.save(&[(Some(NOW), &[("a", 1)])]).unwrap();
    let mut delete = |at: i64| {
        let range = Some((Timestamp(at), Timestamp(at + 1)));
        shard.act(|state, w| state.delete_timeseries(w, &["a".to_owned()], range)).map(|deleted| deleted.reload)
    };
    for at in 0..256 {
        assert_eq!(delete(at), Ok(false));
    }
    assert_eq!(delete(300), Err(RefusedReadings::TooManyDeletions));
}

#[test]
fn attributes_by_scope_and_key() {
    let mut shard = Shard::new();
    let one = values(&[("a", Value::Long(1)), ("b", Value::Bool(true))]);
    let all = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(shard.act(|state, w| state.save_attributes(w, Scope::Client, &one, true)), Ok(all.clone()));
    assert_eq!(shard.act(|state, w| state.save_attributes(w, Scope::Client, &one, true)), Ok(Vec::new()));
    assert_eq!(shard.act(|state, w| state.save_attributes(w, Scope::Client, &one, false)), Ok(all));
    shard.act(|state, w| state.save_attributes(w, Scope::Shared, &values(&[("a", Value::Long(9))]), true)).unwrap();
    let deleted = ["b".to_owned(), "none".to_owned()];
    assert_eq!(shard.act(|state, w| state.delete_attributes(w, Scope::Client, &deleted)), ["b"]);
    let shard = shard.crash();
    let check = |scope: Option<Scope>, keys: &[&str], expected: &[(Scope, &str, &str)]| {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let found = shard.state.attributes(scope, &keys);
        let found: Vec<_> = found.iter().map(|one| (one.scope, one.key.clone(), one.value.to_string())).collect();
        let expected: Vec<_> = expected.iter().map(|(scope, key, v)| (*scope, (*key).to_owned(), (*v).to_owned())).collect();
        assert_eq!(found, expected);
    };
    check(Some(Scope::Client), &[], &[(Scope::Client, "a", "1")]);
    check(Some(Scope::Shared), &["a", "b"], &[(Scope::Shared, "a", "9")]);
    check(None, &["a"], &[(Scope::Client, "a", "1"), (Scope::Shared, "a", "9")]);
    check(None, &["b"], &[]);
    // Written by the device itself, so this is when it was last heard of.
    let active = shard.state.attributes(Some(Scope::Server), &["lastActivityTime".to_owned()]);
    assert_eq!(active[0].value, Value::Long(NOW));
}

/// DESIGN 21.
#[test]
fn connectivity_survives_crashes() {
    let mut shard = Shard::new();
    assert!(shard.state.attributes(None, &[]).is_empty());
    assert!(shard.act(DeviceState::connected));
    assert_eq!(interrupted(shard.engine.as_ref()), Ok(vec![ENTITY]));
    let timeout = limits::INACTIVITY_TIMEOUT_MS;
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(vec![(Timestamp(NOW + timeout), ENTITY)]));

    shard.now += 60_000;
    assert!(!shard.state.touched(Timestamp(shard.now)));
    shard.save(&[(Some(7), &[("a", 1)])]).unwrap();
    let mut shard = shard.crash();
    assert!(shard.state.is_active());
    // Exact, although the row's own ts is 7 and no record was written.
    assert_eq!(shard.state.deadline(), Some(Timestamp(NOW + 60_000 + timeout)));
    shard.act(DeviceState::disconnected);
    assert_eq!(interrupted(shard.engine.as_ref()), Ok(Vec::new()));

    shard.now = NOW + timeout;
    assert_eq!(shard.state.inactive_since_deadline(Timestamp(shard.now)), None);
    shard.act(DeviceState::rearm);
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(vec![(Timestamp(NOW + 60_000 + timeout), ENTITY)]));
    shard.now += 60_000;
    assert_eq!(shard.state.inactive_since_deadline(Timestamp(shard.now)), Some(Timestamp(NOW + 60_000)));
    shard.act(DeviceState::set_inactive);
    let mut shard = shard.crash();
    assert!(!shard.state.is_active());
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(Vec::new()));
    let names: Vec<String> = shard.state.attributes(None, &[]).into_iter().map(|one| one.key).collect();
    assert_eq!(names, ["active", "lastConnectTime", "lastDisconnectTime", "lastActivityTime", "inactivityAlarmTime"]);

    // A device without connections: its first row arms the deadline; a shorter timeout moves it.
    shard.now += 1;
    let now = shard.now;
    assert!(shard.state.touched(Timestamp(now)));
    shard.save(&[(None, &[("a", 1)])]).unwrap();
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(vec![(Timestamp(now + timeout), ENTITY)]));
    let shorter = values(&[("inactivityTimeout", Value::Long(1_000))]);
    shard.act(|state, w| state.save_attributes(w, Scope::Server, &shorter, false)).unwrap();
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(vec![(Timestamp(now + 1_000), ENTITY)]));
}

#[test]
fn what_nodes_remember_survives_crashes_and_is_bounded() {
    let mut shard = Shard::new();
    let node = |n: usize| Uuid::from_u128(n as u128);
    let remember = |n: usize, state: &[u8]| {
        let state = state.into();
        move |device: &mut DeviceState, w: &mut Writing<'_>| device.keep_node_state(w, node(n), state)
    };
    for n in 0..limits::NODE_STATES_PER_DEVICE_MAX {
        shard.act(remember(n, b"old")).unwrap();
    }
    shard.act(remember(limits::NODE_STATES_PER_DEVICE_MAX, b"x")).unwrap_err();
    shard.act(remember(7, b"new")).unwrap();
    let mut shard = shard.crash();
    let states = [7, 8, limits::NODE_STATES_PER_DEVICE_MAX].map(|n| shard.state.node_state(node(n)).map(<[u8]>::to_vec));
    assert_eq!(states, [Some(b"new".to_vec()), Some(b"old".to_vec()), None]);
    delete_entity(ENTITY, &mut shard.batch);
    shard.act(|_, _| ());
    shard.reload();
    assert_eq!(shard.state.node_state(node(7)), None);
}

#[test]
fn a_deleted_entity_leaves_nothing_that_counts() {
    let mut shard = Shard::new();
    shard.act(DeviceState::connected);
    shard.save(&[(Some(7), &[("a", 1)])]).unwrap();
    shard.act(|state, w| state.save_attributes(w, Scope::Client, &values(&[("x", Value::Long(1))]), false)).unwrap();
    shard.act(|_, w| delete_entity(ENTITY, w.batch));
    shard.reload();
    assert!(shard.latest().is_empty() && shard.history("a").is_empty());
    assert!(shard.state.attributes(None, &[]).is_empty());
    assert_eq!(deadlines(shard.engine.as_ref()), Ok(Vec::new()));
    assert_eq!(interrupted(shard.engine.as_ref()), Ok(Vec::new()));
}

#[test]
fn bytes_follow_what_is_held() {
    let mut shard = Shard::new();
    let empty = shard.state.bytes();
    let text = |length: usize| values(&[("t", Value::Text(Cow::Owned("x".repeat(length))))]);
    for length in [100, 10, 300] {
        shard.act(|state, w| state.save_timeseries(w, TENANT, &text(length), 0, false)).unwrap();
        shard.act(|state, w| state.save_attributes(w, Scope::Server, &text(length), false)).unwrap();
    }
    let held = shard.state.bytes();
    assert!(held > empty + 600 && held < empty + 900, "{}", held - empty);
    shard.reload();
    assert_eq!(shard.state.bytes(), held);
    shard.act(|state, w| state.delete_attributes(w, Scope::Server, &["t".to_owned()]));
    shard.act(|state, w| state.delete_timeseries(w, &["t".to_owned()], None)).unwrap();
    assert_eq!(shard.state.bytes(), empty + size_of::<Tombstone>());
}
