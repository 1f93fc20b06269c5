//! Random operations against a model of plain maps: after any crash, latest values, attributes and history are those of the
//! batches that survived.

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// One PUBLISH: entries of (ts, key, value).
    Save(Vec<(Option<i64>, usize, i64)>),
    SaveAttribute(usize, usize, i64),
    DeleteAttribute(usize, usize),
    Delete(usize, Option<(i64, i64)>),
    FlushRecord,
    Reload,
    Sync,
    Pass(i64),
    /// A power cut that leaves this many batches more than promised.
    Crash(usize),
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    // Few different ts, so that they collide.
    let ts = || prop_oneof![3 => (0..30_i64).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        8 => vec((ts(), key(), 0..1_000_i64), 1..4).prop_map(Step::Save),
        2 => (0..3_usize, key(), 0..5_i64).prop_map(|(scope, key, value)| Step::SaveAttribute(scope, key, value)),
        1 => (0..3_usize, key()).prop_map(|(scope, key)| Step::DeleteAttribute(scope, key)),
        2 => (key(), proptest::option::of((0..30_i64, 0..30_i64))).prop_map(|(key, range)| Step::Delete(key, range)),
        1 => Just(Step::FlushRecord),
        1 => Just(Step::Reload),
        1 => Just(Step::Sync),
        1 => (1..2_000_i64).prop_map(Step::Pass),
        1 => (0..4_usize).prop_map(Step::Crash),
    ]
}

/// What must be readable.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    points: BTreeMap<(&'static str, i64), i64>,
    attributes: BTreeMap<(usize, &'static str), i64>,
}

impl Model {
    fn latest(&self) -> Vec<(String, i64, String)> {
        let of = |key: &'static str| {
            let last = self.points.range((key, i64::MIN)..=(key, i64::MAX)).next_back();
            last.map(|((key, ts), value)| ((*key).to_owned(), *ts, value.to_string()))
        };
        KEYS.into_iter().filter_map(of).collect()
    }

    fn history(&self, key: &'static str) -> Vec<(i64, String)> {
        self.points.range((key, i64::MIN)..=(key, i64::MAX)).map(|((_, ts), value)| (*ts, value.to_string())).collect()
    }

    fn attributes(&self) -> Vec<(Scope, String, String)> {
        let of = |((scope, key), value): (&(usize, &str), &i64)| (Scope::ALL[*scope], (*key).to_owned(), value.to_string());
        self.attributes.iter().map(of).collect()
    }
}

fn check(shard: &Shard, model: &Model) {
    assert_eq!(shard.latest(), model.latest());
    for key in KEYS {
        assert_eq!(shard.history(key), model.history(key), "{key}");
    }
    let names: Vec<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
    let found = shard.state.attributes(None, &names);
    let found: Vec<_> = found.into_iter().map(|one| (one.scope, one.key, one.value.to_string())).collect();
    assert_eq!(found, model.attributes());
}

/// Models as of the last sync and after every batch since.
struct History {
    since_sync: Vec<Model>,
}

impl History {
    fn now(&self) -> &Model {
        self.since_sync.last().expect("never empty")
    }
}

fn write(shard: &mut Shard, history: &mut History, act: impl FnOnce(&mut Shard, &mut Model)) {
    let before = shard.engine.unsynced();
    let mut model = history.now().clone();
    act(shard, &mut model);
    assert_eq!(shard.engine.unsynced(), before + 1);
    history.since_sync.push(model);
}

fn apply(shard: &mut Shard, history: &mut History, step: Step) {
    match step {
        Step::Save(entries) => write(shard, history, |shard, model| {
            let values: Vec<[(&'static str, i64); 1]> = entries.iter().map(|(_, key, value)| [(KEYS[*key], *value)]).collect();
            let each: Vec<(Option<i64>, Of<'_>)> =
                entries.iter().zip(&values).map(|((ts, _, _), value)| (*ts, value.as_slice())).collect();
            let saved = shard.save(&each).expect("within all bounds");
            for (ts, [(key, value)]) in saved.ts.iter().zip(values) {
                model.points.insert((key, ts.0), value);
            }
        }),
        Step::SaveAttribute(scope, key, value) => write(shard, history, |shard, model| {
            let readings = values(&[(KEYS[key], Value::Long(value))]);
            shard.act(|state, w| state.save_attributes(w, Scope::ALL[scope], &readings, true)).expect("within all bounds");
            model.attributes.insert((scope, KEYS[key]), value);
        }),
        Step::DeleteAttribute(scope, key) => write(shard, history, |shard, model| {
            shard.act(|state, w| state.delete_attributes(w, Scope::ALL[scope], &[KEYS[key].to_owned()]));
            model.attributes.remove(&(scope, KEYS[key]));
        }),
        Step::Delete(key, range) => {
            write(shard, history, |shard, model| {
                let stamps = range.map(|(start, end)| (Timestamp(start), Timestamp(end)));
                shard.act(|state, w| state.delete_timeseries(w, &[KEYS[key].to_owned()], stamps)).expect("within all bounds");
                let (start, end) = range.unwrap_or((i64::MIN, i64::MAX));
                model.points.retain(|(of, ts), _| *of != KEYS[key] || *ts < start || *ts >= end);
            });
            shard.reload();
        }
        Step::FlushRecord => write(shard, history, |shard, _| shard.act(DeviceState::flush_record)),
        Step::Reload => shard.reload(),
        Step::Sync => {
            shard.engine.flush(true).expect("the twin was not told to fail");
            history.since_sync = vec![history.now().clone()];
        }
        Step::Pass(ms) => shard.now += ms,
        Step::Crash(more) => {
            let epoch = u32::try_from(shard.sequence.next() >> 40).expect("24 bits") + 1;
            let engine = shard.engine.crash_keeping(more);
            *shard = Shard::start(engine, epoch, shard.now);
            let survived = more.min(history.since_sync.len() - 1);
            history.since_sync = vec![history.since_sync[survived].clone()];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// DESIGN 15, 16, 18: across any crash.
    #[test]
    fn a_device_is_what_was_written(steps in vec(step(), 1..60)) {
        let mut shard = Shard::new();
        let mut history = History { since_sync: vec![Model::default()] };
        for step in steps {
            apply(&mut shard, &mut history, step);
            check(&shard, history.now());
        }
    }
}
