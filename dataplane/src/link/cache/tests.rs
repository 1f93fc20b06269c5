//! The cache against a model: whatever is cut off, flipped or compacted, what is read back is what some mark covered.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::generated::config::EntityKind;

use super::*;
use crate::link::sample::{credential, deleted, device, tenant};

type State = BTreeMap<(i32, Vec<u8>), wire::Change>;

fn apply(state: &mut State, change: &wire::Change) {
    let (kind, ends) = kind(change).unwrap();
    let key = (i32::from(kind), change.id.clone());
    if ends {
        state.remove(&key);
    } else {
        state.insert(key, change.clone());
    }
}

fn records(changes: &[wire::Change]) -> Records {
    let mut records = Records::default();
    changes.iter().for_each(|change| records.push(change));
    records
}

fn load(path: &Path) -> Result<(Cache, Position, State), CacheError> {
    let mut state = State::new();
    let (cache, position) = Cache::load(path.to_owned(), |change| apply(&mut state, &change))?;
    Ok((cache, position, state))
}

/// Writes a full state and deltas; returns the state after each mark with the file's length there.
fn write(path: &Path, full: &[wire::Change], deltas: &[Vec<wire::Change>]) -> Vec<(u64, u64, State)> {
    let mut cache = Cache::absent(path.to_owned());
    let mut state = State::new();
    cache.begin_full("epoch-1").unwrap();
    cache.append(&records(full), 0).unwrap();
    full.iter().for_each(|change| apply(&mut state, change));
    cache.end_full(10).unwrap();
    let length = || fs::metadata(path).unwrap().len();
    let mut marks = vec![(length(), 10, state.clone())];
    for (revision, delta) in (11..).zip(deltas) {
        cache.append(&records(delta), revision).unwrap();
        delta.iter().for_each(|change| apply(&mut state, change));
        marks.push((length(), revision, state.clone()));
    }
    marks
}

fn sample_file(path: &Path) -> Vec<(u64, u64, State)> {
    let full = [tenant(1), device(2, 10, "a"), credential(3, 20, 10, 1)];
    let deltas = [
        vec![device(11, 10, "b"), device(11, 11, "c")],
        vec![deleted(12, EntityKind::Credential, 20)],
        vec![],
        vec![credential(14, 21, 11, 2)],
    ];
    write(path, &full, &deltas)
}

#[test]
fn a_tail_torn_at_any_byte_leaves_the_last_mark_and_can_be_continued() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.cache");
    let marks = sample_file(&whole);
    let bytes = fs::read(&whole).unwrap();
    let path = dir.path().join("config.cache");
    for length in 0..=bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let expected = marks.iter().rev().find(|(end, ..)| *end <= length as u64);
        match (load(&path), expected) {
            (Ok((mut cache, position, state)), Some((_, revision, model))) => {
                assert_eq!((position.revision, &state), (*revision, model), "cut at {length}");
                assert_eq!(position.epoch, "epoch-1");
                cache.append(&records(&[device(99, 99, "later")]), 99).unwrap();
                let (_, position, mut later) = load(&path).unwrap();
                assert_eq!(position.revision, 99, "continued after a cut at {length}");
                later.retain(|_, change| change.revision != 99);
                assert_eq!(later, state, "continued after a cut at {length}");
            }
            (Err(_), None) => {}
            (loaded, expected) => panic!("cut at {length}: {loaded:?} for {expected:?}"),
        }
    }
}

#[test]
fn a_flipped_byte_never_shows_a_state_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.cache");
    let marks = sample_file(&path);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x40;
        fs::write(&path, &broken).unwrap();
        if let Ok((_, position, state)) = load(&path) {
            let known = marks.iter().any(|(_, revision, model)| *revision == position.revision && *model == state);
            assert!(known, "byte {at}: {position:?} {state:?}");
        }
    }
}

#[test]
fn refuses_what_is_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.cache");
    assert!(load(&path).unwrap_err().is_absence());
    let mut newer = header("e");
    newer[8] = 3;
    for (bytes, reason) in [
        (vec![0; 64], "not a configuration cache"),
        (newer, "cache version 3, expected 2"),
        (header("e"), "no mark"),
        (header(&"e".repeat(300)), "300 bytes, at most 256"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.to_string().contains(reason) && !error.is_absence(), "{error} should say {reason}");
    }
}

/// The header that the file would have in an older version.
fn turned_back(bytes: &[u8]) -> Vec<u8> {
    let (current, mut older) = (header("epoch-1"), header("epoch-1"));
    older[8] = 1;
    let covered = older.len() - 4;
    let crc = crc32fast::hash(&older[..covered]).to_le_bytes();
    older[covered..].copy_from_slice(&crc);
    [&older[..], bytes.strip_prefix(&current[..]).expect("it begins so")].concat()
}

#[test]
fn a_file_without_labels_is_served_until_a_full_state_brings_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.cache");
    let marks = sample_file(&path);
    let older = turned_back(&fs::read(&path).unwrap());
    fs::write(&path, &older).unwrap();
    let (mut cache, position, state) = load(&path).unwrap();
    assert_eq!((position, &state), (Position::default(), &marks[4].2), "it is known, and asked for once more");
    cache.append(&records(&[tenant(50)]), 50).unwrap();
    assert_eq!(fs::read(&path).unwrap(), older, "nothing follows it");
    cache.begin_full("epoch-1").unwrap();
    cache.append(&records(&[tenant(1)]), 0).unwrap();
    cache.end_full(12).unwrap();
    let (_, position, state) = load(&path).unwrap();
    assert_eq!((position, state.len()), (Position { epoch: "epoch-1".into(), revision: 12 }, 1));
}

#[test]
fn a_full_state_takes_the_place_of_the_old_file_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.cache");
    let marks = sample_file(&path);
    let (mut cache, ..) = load(&path).unwrap();
    cache.begin_full("epoch-2").unwrap();
    cache.append(&records(&[tenant(1)]), 0).unwrap();
    cache.abandon_full();
    cache.append(&records(&[tenant(50)]), 50).unwrap();
    let (mut cache, position, state) = load(&path).unwrap();
    assert_eq!((position.revision, &state), (marks[4].1, &marks[4].2), "nothing follows the old file after that");
    cache.begin_full("epoch-2").unwrap();
    cache.append(&records(&[tenant(1)]), 0).unwrap();
    cache.end_full(7).unwrap();
    cache.append(&records(&[]), 8).unwrap();
    let (_, position, state) = load(&path).unwrap();
    assert_eq!((position, state.len()), (Position { epoch: "epoch-2".into(), revision: 8 }, 1));
}

#[test]
fn a_mostly_dead_file_is_compacted_at_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.cache");
    let deltas: Vec<Vec<wire::Change>> = (0..200).map(|n| vec![device(n, 10 + u128::from(n % 3), "again")]).collect();
    let marks = write(&path, &[tenant(1)], &deltas);
    let (before, revision, model) = marks.last().unwrap();
    let (mut cache, position, state) = load(&path).unwrap();
    let after = fs::metadata(&path).unwrap().len();
    assert_eq!((position.revision, &state), (*revision, model));
    assert!(after * 10 < *before, "{after} of {before} bytes");
    cache.append(&records(&[deleted(999, EntityKind::Device, 10)]), 999).unwrap();
    let (_, position, later) = load(&path).unwrap();
    assert_eq!((position.revision, later.len()), (999, state.len() - 1));
}

fn any_change() -> impl Strategy<Value = wire::Change> {
    let id = 10..16_u128;
    prop_oneof![
        (id.clone(), "[a-z]{0,8}").prop_map(|(id, name)| device(1, id, &name)),
        (id.clone(), any::<u8>()).prop_map(|(id, token)| credential(1, id, id, token)),
        id.clone().prop_map(|id| deleted(1, EntityKind::Device, id)),
        id.prop_map(|id| deleted(1, EntityKind::Credential, id)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn replay_equals_the_model_however_often_it_is_loaded(
        full in prop::collection::vec(any_change(), 0..12),
        deltas in prop::collection::vec(prop::collection::vec(any_change(), 0..6), 0..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.cache");
        let marks = write(&path, &full, &deltas);
        let (_, revision, model) = marks.last().unwrap();
        for _ in 0..2 {
            let (_, position, state) = load(&path).unwrap();
            prop_assert_eq!(position.revision, *revision);
            prop_assert_eq!(&state, model);
        }
    }

    /// A file that is nothing but noise after a good header is an error or a state, never a panic.
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.cache");
        let mut bytes = header("e");
        bytes.extend_from_slice(&noise);
        fs::write(&path, bytes).unwrap();
        drop(load(&path));
    }
}
