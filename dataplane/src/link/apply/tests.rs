//! What a set of changes leaves behind in the directory and on the shards.

use schemas::chain::EntityType;
use schemas::config::End;
use schemas::generated::config::{self as wire, EntityKind};
use schemas::id::EntityId;

use super::*;
use crate::link::sample::{self, Fleet, asset, contains, credential, credential_id, customer, deleted, device, device_id};
use crate::snapshot::Directory;

struct Rig {
    fleet: Fleet,
    directory: Arc<Directory>,
    applier: Applier,
}

impl Rig {
    fn new() -> Self {
        let fleet = Fleet::new(3);
        let directory = Directory::new();
        let applier = Applier::new(fleet.shards.clone(), DirectoryWriter::new(Arc::clone(&directory)));
        Self { fleet, directory, applier }
    }

    async fn apply(&mut self, changes: Vec<wire::Change>) -> Vec<CredentialId> {
        let changes: Vec<Change> = changes.into_iter().map(|change| Change::try_from(change).unwrap()).collect();
        let ended = self.applier.apply(&changes).await;
        self.fleet.settle();
        ended
    }

    /// The device each of these tokens admits.
    fn admits(&self, tokens: std::ops::Range<u8>) -> Vec<Option<DeviceId>> {
        tokens.map(|token| self.directory.find(&[token; 32]).map(|entry| entry.device)).collect()
    }
}

/// Applies `sets` one after the other and looks at tokens 1 to 3 and at the credentials revoked.
async fn check(sets: Vec<Vec<wire::Change>>, admitted: [Option<u128>; 3], revoked: &[u128]) {
    let mut rig = Rig::new();
    for set in sets.clone() {
        rig.apply(set).await;
    }
    let expected: Vec<Option<DeviceId>> = admitted.into_iter().map(|id| id.map(device_id)).collect();
    assert_eq!(rig.admits(1..4), expected, "{sets:?}");
    let mut told: Vec<CredentialId> = rig.fleet.revoked.keys().copied().collect();
    told.sort_unstable();
    assert_eq!(told, revoked.iter().map(|id| credential_id(*id)).collect::<Vec<_>>(), "{sets:?}");
}

#[tokio::test]
async fn the_last_word_on_a_credential_counts() {
    let (d, c) = (EntityKind::Device, EntityKind::Credential);
    // A device with its token.
    check(vec![vec![device(1, 10, "a"), credential(2, 20, 10, 1)]], [Some(10), None, None], &[]).await;
    // A new token ends the old one and its session.
    let base = || vec![device(1, 10, "a"), credential(2, 20, 10, 1)];
    check(vec![base(), vec![credential(3, 20, 10, 2)]], [None, Some(10), None], &[20]).await;
    // The same again disturbs nobody.
    check(vec![base(), vec![credential(3, 20, 10, 1)]], [Some(10), None, None], &[]).await;
    // Deleted.
    check(vec![base(), vec![deleted(3, c, 20)]], [None, None, None], &[20]).await;
    // Made and deleted in one set never begins.
    check(vec![vec![device(1, 10, "a"), credential(2, 20, 10, 1), deleted(3, c, 20)]], [None, None, None], &[]).await;
    // Deleted and made again in one set works, and the old session ends.
    check(vec![base(), vec![deleted(3, c, 20), credential(4, 20, 10, 3)]], [None, None, Some(10)], &[20]).await;
    // A device deleted without a word on its credential takes it along, in the same set or a later one.
    check(vec![base(), vec![deleted(3, d, 10)]], [None, None, None], &[]).await;
    check(vec![vec![device(1, 10, "a"), credential(2, 20, 10, 1), deleted(3, d, 10)]], [None, None, None], &[]).await;
    // A token that moves to another device.
    let moved = vec![device(3, 11, "b"), deleted(4, c, 20), credential(5, 21, 11, 1)];
    check(vec![base(), moved], [Some(11), None, None], &[20]).await;
}

#[tokio::test]
async fn names_the_credentials_that_ended_with_their_device() {
    let mut rig = Rig::new();
    rig.apply(vec![device(1, 10, "a"), credential(2, 20, 10, 1), credential(3, 21, 10, 2)]).await;
    let mut ended = rig.apply(vec![credential(4, 22, 10, 3), deleted(5, EntityKind::Device, 10)]).await;
    ended.sort_unstable();
    assert_eq!(ended, [credential_id(20), credential_id(21), credential_id(22)]);
    assert_eq!(rig.fleet.gone, [device_id(10).into()]);
}

#[tokio::test]
async fn fields_of_entities_are_known_by_what_thingsboard_calls_them() {
    let mut rig = Rig::new();
    let labelled = |revision, label: &str| {
        let mut change = device(revision, 10, "pump");
        let Some(wire::change::Body::Device(own)) = &mut change.body else { panic!("a device") };
        (own.label, own.created_ms) = (label.to_owned(), 1_700_000_000_000);
        change
    };
    let mut hall = asset(2, 11);
    let Some(wire::change::Body::Asset(own)) = &mut hall.body else { panic!("an asset") };
    own.label = "The hall".to_owned();
    rig.apply(vec![labelled(1, "Old"), hall, customer(3, 12, "Acme")]).await;
    rig.apply(vec![labelled(4, "New")]).await;
    let (asset, company) = (EntityType::Asset, EntityType::Customer);
    for (kind, id, name, expected) in [
        (EntityType::Device, 10, "name", Some("pump")),
        (EntityType::Device, 10, "type", Some("default")),
        (EntityType::Device, 10, "label", Some("New")),
        (EntityType::Device, 10, "createdTime", Some("1700000000000")),
        (EntityType::Device, 10, "title", None),
        (asset, 11, "name", Some("a")),
        (asset, 11, "label", Some("The hall")),
        // Told by a control plane that does not say when.
        (asset, 11, "createdTime", None),
        (asset, 10, "name", None),
        (company, 12, "name", Some("Acme")),
        (company, 12, "title", Some("Acme")),
        (company, 12, "city", Some("")),
        (company, 12, "label", None),
    ] {
        let end = End { kind, id: device_id(id).into() };
        let found = rig.fleet.tables.iter().find_map(|table| table.field_of(end, name));
        assert_eq!(found.as_deref(), expected, "{kind:?} {name}");
    }
    rig.apply(vec![labelled(5, "")]).await;
    let end = End { kind: EntityType::Device, id: device_id(10).into() };
    assert_eq!(rig.fleet.tables.iter().find_map(|table| table.field_of(end, "label")).as_deref(), Some(""));
}

/// Whether the shard of each entity says that a relation ends (`inward`) or begins there.
#[tokio::test]
async fn relations_are_known_where_both_ends_are() {
    let mut rig = Rig::new();
    let mut changes = vec![asset(1, 500)];
    changes.extend((0..20).map(|n| contains(2, 600 + n, 500, 10 + n)));
    rig.apply(changes).await;
    let owner = |rig: &Rig, id: u128| {
        let partition = schemas::id::Partition::of(device_id(id).into());
        usize::from(rig.fleet.shards.shard_of(partition))
    };
    let known = |rig: &Rig, id: u128, inward: bool| {
        rig.fleet.tables[owner(rig, id)].relations().has(device_id(id).into(), inward, "Contains", None)
    };
    assert!((0..20).all(|n| known(&rig, 10 + n, true)), "at every device");
    assert!(known(&rig, 500, false), "and at the asset");
    assert_eq!(rig.fleet.tables.iter().filter(|table| table.asset(device_id(500).into()).is_some()).count(), 1);
    let elsewhere = (0..3).find(|shard| *shard != owner(&rig, 500)).expect("three shards");
    let there = (0..20).filter(|n| owner(&rig, 10 + n) == elsewhere).count();
    let held = rig.fleet.tables[elsewhere].relations().of(device_id(500).into()).count();
    assert_eq!(held, there, "a shard holds those of its own entities only");
    rig.apply(vec![deleted(3, EntityKind::Relation, 600)]).await;
    assert!(!known(&rig, 10, true) && known(&rig, 11, true));
    rig.applier.begin_full().await;
    rig.apply(vec![contains(4, 601, 500, 11)]).await;
    rig.applier.end_full().await;
    rig.fleet.settle();
    assert!(known(&rig, 11, true) && !known(&rig, 12, true), "what a full state does not repeat is forgotten");
    assert_eq!(rig.fleet.gone, [device_id(500).into()], "and so is the asset");
}

#[tokio::test]
async fn only_the_owner_learns_of_a_device_and_all_learn_of_a_tenant() {
    let mut rig = Rig::new();
    let many = 3 * limits::CHANGES_PER_EVENT_MAX as u128;
    let mut changes = vec![sample::tenant(1)];
    changes.extend((0..many).map(|id| device(1, 1_000 + id, "x")));
    rig.apply(changes).await;
    let devices: Vec<usize> = rig.fleet.tables.iter().map(crate::snapshot::Table::devices).collect();
    assert_eq!(devices.iter().sum::<usize>() as u128, many);
    assert!(devices.iter().all(|count| *count > 0), "{devices:?}");
}

#[tokio::test]
async fn an_older_log_entry_does_not_undo_the_row_of_a_full_state() {
    let mut rig = Rig::new();
    rig.apply(vec![device(1, 10, "a"), credential(2, 20, 10, 1), credential(2, 21, 10, 2)]).await;
    rig.applier.begin_full().await;
    rig.apply(vec![device(1, 10, "a"), credential(50, 20, 10, 3)]).await;
    rig.apply(vec![credential(45, 20, 10, 1)]).await;
    assert_eq!(rig.admits(1..4), [None, Some(device_id(10)), Some(device_id(10))], "nothing is forgotten yet");
    rig.applier.end_full().await;
    rig.fleet.settle();
    assert_eq!(rig.admits(1..4), [None, None, Some(device_id(10))], "token 2 was not sent again");
    assert!(rig.fleet.revoked.contains_key(&credential_id(21)));
}

#[tokio::test]
async fn every_shard_knows_customers_until_they_are_gone() {
    let mut rig = Rig::new();
    let entity = |id: u128| EntityId(uuid::Uuid::from_u128(id));
    let titles = |rig: &Rig, id| {
        let title = |table: &crate::snapshot::Table| table.details(entity(id)).map(|details| details.title.clone());
        rig.fleet.tables.iter().map(title).collect::<Vec<_>>()
    };
    let said = |title: &str| vec![Some(title.to_owned()); 3];
    rig.apply(vec![sample::tenant(1), customer(2, 30, "Acme"), customer(3, 31, "Both")]).await;
    assert_eq!((titles(&rig, 30), titles(&rig, 31), titles(&rig, sample::TENANT)), (said("Acme"), said("Both"), said("")));
    let description = |rig: &Rig| rig.fleet.tables[0].details(entity(30)).map(|details| details.description.len());
    assert_eq!(description(&rig), Some(1_024), "cut off between two letters");
    rig.apply(vec![customer(4, 30, "More"), deleted(5, EntityKind::Customer, 31)]).await;
    assert_eq!((titles(&rig, 30), titles(&rig, 31)), (said("More"), vec![None; 3]));
    rig.applier.begin_full().await;
    rig.apply(vec![sample::tenant(1)]).await;
    rig.applier.end_full().await;
    rig.fleet.settle();
    assert_eq!((titles(&rig, 30), titles(&rig, sample::TENANT)), (vec![None; 3], said("")));
}
