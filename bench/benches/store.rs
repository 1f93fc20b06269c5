//! The verb persist: rows through device state into a batch, and batches into the engine, with and without the commit lane.
//! Measures the shard's own time; what the disk takes is the commit lane's.

use std::{borrow::Cow, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::{
    clock::Timestamp,
    device::{DeviceState, Dictionary, Key, Sequence, Writing},
    message::{Entry, Reading, Readings, Value},
    store::{Batch, Committer, Durability, Encoder, Engine, Stores, memory::MemoryEngine, rocks::RocksStores},
};
use schemas::id::{EntityId, TenantId};

const NOW: i64 = 1_700_000_000_000;
const TENANT: TenantId = TenantId(uuid::Uuid::from_u128(1));
const KEYS: [&str; 4] = ["temperature", "humidity", "battery", "rssi"];

fn readings() -> Readings<'static> {
    let reading = |key: &'static str| Reading { key: Cow::Borrowed(key), value: Value::Double(21.5) };
    Readings { entries: vec![Entry { ts: None, range: 0..KEYS.len() }], readings: KEYS.map(reading).to_vec() }
}

fn entity(number: u128) -> EntityId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&number.to_be_bytes());
    EntityId(uuid::Uuid::from_bytes(bytes))
}

/// The shard's side of one turn: devices that each send one message.
struct Turn {
    states: Vec<DeviceState>,
    dictionary: Dictionary,
    sequence: Sequence,
    encoder: Encoder,
    keys: Vec<Key>,
    batch: Batch,
    readings: Readings<'static>,
    now: i64,
}

impl Turn {
    fn new(devices: u128) -> Self {
        Self {
            states: (0..devices).map(|number| DeviceState::empty(entity(number))).collect(),
            dictionary: Dictionary::default(),
            sequence: Sequence::new(1),
            encoder: Encoder::new(),
            keys: Vec::new(),
            batch: Batch::new(),
            readings: readings(),
            now: NOW,
        }
    }

    fn evaluate(&mut self) -> &Batch {
        self.batch.clear();
        self.now += 1;
        for state in &mut self.states {
            let mut w = Writing {
                batch: &mut self.batch,
                dictionary: &mut self.dictionary,
                sequence: &mut self.sequence,
                encoder: &mut self.encoder,
                keys: &mut self.keys,
                now: Timestamp(self.now),
            };
            state.save_timeseries(&mut w, TENANT, &self.readings, 0, false).expect("within all bounds");
        }
        &self.batch
    }
}

fn persist(c: &mut Criterion) {
    let mut group = c.benchmark_group("persist");
    for devices in [1, 16, 256] {
        group.throughput(Throughput::Elements(u64::try_from(devices).unwrap_or(0)));
        let mut turn = Turn::new(devices);
        group.bench_function(format!("batch/{devices}"), |b| b.iter(|| black_box(turn.evaluate()).bytes()));

        let dir = tempfile::tempdir().expect("a temporary folder");
        let engine = RocksStores::new(dir.path(), 1, &dataplane::limits::Pools::FULL)
            .and_then(|stores| stores.open(0))
            .expect("an empty database");
        let mut turn = Turn::new(devices);
        group.bench_function(format!("write/{devices}"), |b| {
            b.iter(|| while engine.write(turn.evaluate()).is_err() {});
        });

        let mut commits = Committer::spawn(engine, Durability::Synced, Arc::new(|| ())).expect("a thread");
        let mut turn = Turn::new(devices);
        group.bench_function(format!("commit/{devices}"), |b| {
            b.iter(|| {
                let ticket = commits.persist(turn.evaluate()).expect("an idle store");
                commits.commit();
                while commits.durable() < ticket {
                    std::thread::yield_now();
                }
            });
        });
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let engine = MemoryEngine::new();
    let mut turn = Turn::new(1);
    for _ in 0..200 {
        engine.write(turn.evaluate()).expect("the twin was not told to fail");
    }
    c.bench_function("load/200 rows", |b| {
        b.iter_batched(|| entity(0), |entity| DeviceState::load(engine.as_ref(), entity, Timestamp(NOW)), BatchSize::SmallInput);
    });
}

criterion_group!(benches, persist, load);
criterion_main!(benches);
