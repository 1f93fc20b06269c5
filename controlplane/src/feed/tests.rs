//! What a follower is sent: from where it was, or everything; nothing missing, nothing twice out of order.

use std::time::Duration;

use schemas::generated::config::{Batch, Change, change::Body, feed_frame::Kind};
use uuid::Uuid;

use crate::{
    domain::{Device, Tenant},
    entity::{
        Author, Store, cascade, change_log, credential, device, tenant,
        tests::{a_tenant, check, save_devices, save_tenant},
    },
    feed::{Cut, Feed, Follower, Instance, Registry},
};

const LOG: i64 = 1_000_000;
const NOW: i64 = 1_700_000_000_000;

async fn feed(store: &Store) -> Feed {
    Feed::new(store.clone()).await.unwrap()
}

async fn next(follower: &mut Follower) -> Kind {
    tokio::time::timeout(Duration::from_secs(10), follower.next()).await.expect("a frame is due").unwrap()
}

async fn batch(follower: &mut Follower) -> Batch {
    match next(follower).await {
        Kind::Batch(batch) => batch,
        other => panic!("{other:?} where a batch was expected"),
    }
}

/// Reads a full state to its end: the changes in it and the revision it reached.
async fn full(follower: &mut Follower) -> (Vec<Change>, u64) {
    let Kind::FullBegin(begin) = next(follower).await else { panic!("a full state begins") };
    let mut changes = Vec::new();
    loop {
        match next(follower).await {
            Kind::Batch(batch) => {
                assert_eq!(batch.revision, 0, "inside a full state nothing is complete");
                changes.extend(batch.changes);
            }
            Kind::FullEnd(end) => {
                assert!(end.revision >= begin.revision);
                return (changes, end.revision);
            }
            Kind::FullBegin(_) => panic!("twice"),
        }
    }
}

fn ids(changes: &[Change]) -> Vec<Uuid> {
    changes.iter().map(|change| Uuid::from_slice(&change.id).unwrap()).collect()
}

async fn rename(store: &Store, feed: &Feed, device: &Device, name: &str) {
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    device::update(&mut write, &Device { name: name.to_owned(), ..device.clone() }).await.unwrap();
    feed.wake(write.commit().await.unwrap().unwrap());
}

#[tokio::test]
async fn a_new_instance_gets_everything_then_what_changes() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let feed = feed(store).await;
        let mut follower = feed.follow("", 0);
        let (changes, revision) = full(&mut follower).await;
        assert_eq!(changes.len(), 7, "the installation, a tenant, a profile, two devices, two credentials");
        assert_eq!(ids(&changes)[..2], [Uuid::nil(), tenant.id], "what others refer to comes first");
        let Some(Body::Installation(installation)) = &changes[0].body else { panic!("{:?}", changes[0]) };
        assert_eq!(installation.credential_key, store.credential_key());
        assert_eq!(revision, 6);
        let tokens = changes.iter().filter_map(|change| match &change.body {
            Some(Body::Credential(credential)) => Some(credential.token_sha256.len()),
            _ => None,
        });
        assert_eq!(tokens.collect::<Vec<_>>(), [32, 32], "only digests of tokens leave");
        rename(store, &feed, &devices[0], "renamed").await;
        let batch = batch(&mut follower).await;
        assert_eq!((batch.revision, ids(&batch.changes)), (7, vec![devices[0].id]));
    })
    .await;
}

#[tokio::test]
async fn a_label_and_the_time_of_creation_are_told() {
    check(LOG, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let (feed, epoch) = (feed(store).await, store.epoch().to_string());
        let mut write = store.write(Author::system(), NOW + 5).await.unwrap();
        device::update(&mut write, &Device { label: Some("The pump".to_owned()), ..devices[0].clone() }).await.unwrap();
        feed.wake(write.commit().await.unwrap().unwrap());
        let batch = batch(&mut feed.follow(&epoch, 6)).await;
        let Some(Body::Device(told)) = &batch.changes[0].body else { panic!("{batch:?}") };
        assert_eq!((told.label.as_str(), told.created_ms), ("The pump", devices[0].created_ms));
        assert_ne!(told.created_ms, 0);
    })
    .await;
}

#[tokio::test]
async fn an_instance_resumes_where_it_was() {
    check(LOG, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let (feed, epoch) = (feed(store).await, store.epoch().to_string());
        rename(store, &feed, &devices[0], "x").await;
        rename(store, &feed, &devices[1], "y").await;
        rename(store, &feed, &devices[0], "z").await;
        let batch = batch(&mut feed.follow(&epoch, 6)).await;
        assert_eq!(batch.revision, 9);
        // Three entries, two entities: each once, as it is now, in the order of the newest revisions.
        assert_eq!(ids(&batch.changes), [devices[1].id, devices[0].id]);
        assert_eq!(batch.changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [8, 9]);
        let mut follower = feed.follow(&epoch, 9);
        let empty = self::batch(&mut follower).await;
        assert_eq!((empty.revision, empty.changes.len()), (9, 0), "so that it says what it runs with");
        let nothing = tokio::time::timeout(Duration::from_millis(50), follower.next()).await;
        assert!(nothing.is_err(), "an instance that is up to date is sent nothing else");
    })
    .await;
}

#[tokio::test]
async fn deleted_rows_are_said_to_be() {
    check(LOG, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["a"]).await;
        let (feed, epoch) = (feed(store).await, store.epoch().to_string());
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        credential::delete_of_device(&mut write, devices[0].id).await.unwrap();
        device::delete(&mut write, devices[0].id).await.unwrap();
        feed.wake(write.commit().await.unwrap().unwrap());
        let sent = batch(&mut feed.follow(&epoch, 4)).await;
        assert_eq!(sent.revision, 6);
        assert!(sent.changes.iter().all(|change| matches!(change.body, Some(Body::Deleted(_)))));
        // From before it was made: the instance is told that it is gone, never that it is there.
        let sent = batch(&mut feed.follow(&epoch, 2)).await;
        assert!(sent.changes.iter().all(|change| matches!(change.body, Some(Body::Deleted(_)))), "{sent:?}");
    })
    .await;
}

/// DESIGN 25: another epoch, a revision ahead of ours, or one the log no longer reaches takes full state.
#[tokio::test]
async fn what_cannot_be_continued_starts_over() {
    check(4, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["a"]).await;
        let (feed, epoch) = (feed(store).await, store.epoch().to_string());
        for name in ["p", "q", "r", "s", "t", "u"] {
            rename(store, &feed, &devices[0], name).await;
        }
        assert_eq!(change_log::tail(store.reader()).await.unwrap(), Some(7));
        let other = Uuid::new_v4().to_string();
        for (epoch, revision) in [(other.as_str(), 8), ("", 0), (epoch.as_str(), 11), (epoch.as_str(), 5), (epoch.as_str(), 0)] {
            let frame = next(&mut feed.follow(epoch, revision)).await;
            assert!(matches!(frame, Kind::FullBegin(_)), "{epoch} {revision}: {frame:?}");
        }
        for (revision, reached) in [(6, 10), (9, 10)] {
            assert_eq!(batch(&mut feed.follow(&epoch, revision)).await.revision, reached);
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_state_includes_what_is_written_meanwhile() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let feed = feed(store).await;
        let mut follower = feed.follow("", 0);
        assert!(matches!(next(&mut follower).await, Kind::FullBegin(_)));
        // Tenants are on their way already; now one of them goes, with everything of it, and another comes.
        let first = batch(&mut follower).await;
        assert_eq!(ids(&first.changes), [Uuid::nil()], "the installation");
        let first = batch(&mut follower).await;
        assert_eq!(ids(&first.changes), [tenant.id]);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        let newcomer = a_tenant("Newcomer");
        feed.wake(save_tenant(store, &newcomer).await.unwrap());
        let mut held: std::collections::BTreeSet<Uuid> = ids(&first.changes).into_iter().collect();
        loop {
            match next(&mut follower).await {
                Kind::Batch(batch) => {
                    for change in &batch.changes {
                        let id = Uuid::from_slice(&change.id).unwrap();
                        if matches!(change.body, Some(Body::Deleted(_))) {
                            held.remove(&id)
                        } else {
                            held.insert(id)
                        };
                    }
                }
                Kind::FullEnd(end) => {
                    assert_eq!(i64::try_from(end.revision).unwrap(), change_log::head(store.reader()).await.unwrap());
                    break;
                }
                Kind::FullBegin(_) => panic!("twice"),
            }
        }
        assert_eq!(held.into_iter().collect::<Vec<_>>(), [newcomer.id], "{devices:?} are gone");
    })
    .await;
}

#[tokio::test]
async fn a_log_trimmed_under_a_slow_reader_cuts_it() {
    check(4, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["a"]).await;
        let (feed, epoch) = (feed(store).await, store.epoch().to_string());
        let mut follower = feed.follow(&epoch, 3);
        assert_eq!(batch(&mut follower).await.revision, 4);
        for name in ["p", "q", "r", "s", "t", "u"] {
            rename(store, &feed, &devices[0], name).await;
        }
        let cut = follower.next().await;
        assert!(matches!(cut, Err(Cut::Trimmed(4))), "{cut:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_all_arrive_in_order() {
    const WRITERS: usize = 5;
    const WRITES: usize = 8;
    check(LOG, async |store| {
        let feed = feed(store).await;
        let mut follower = feed.follow(&store.epoch().to_string(), 0);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, feed) = (store.clone(), feed.clone());
                tokio::spawn(async move {
                    for number in 0..WRITES {
                        let tenant = a_tenant(&format!("{writer}-{number}"));
                        let revision = save_tenant(&store, &tenant).await.unwrap();
                        feed.wake(revision);
                    }
                })
            })
            .collect();
        let (mut seen, mut last) = (std::collections::BTreeSet::new(), 0);
        while seen.len() < WRITERS * WRITES {
            let batch = batch(&mut follower).await;
            assert!(batch.revision > last);
            for change in &batch.changes {
                assert!(change.revision > last && change.revision <= batch.revision);
            }
            last = batch.revision;
            seen.extend(ids(&batch.changes));
        }
        for writer in writers {
            writer.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn big_states_come_in_bounded_frames() {
    check(LOG, async |store| {
        let tenants: Vec<Tenant> = (0..1_203).map(|number| a_tenant(&format!("tenant {number}"))).collect();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        for one in &tenants {
            tenant::insert(&mut write, one).await.unwrap();
        }
        write.commit().await.unwrap();
        let feed = feed(store).await;
        let (changes, revision) = full(&mut feed.follow("", 0)).await;
        assert_eq!((changes.len(), revision), (1_204, 1_203));
        let mut follower = feed.follow(&store.epoch().to_string(), 1);
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(batch(&mut follower).await.changes.len());
        }
        assert_eq!(sizes, [500, 500, 202]);
    })
    .await;
}

pub(crate) fn an_instance(id: &str) -> Instance {
    Instance {
        instance_id: id.to_owned(),
        query_endpoint: "http://127.0.0.1:1".to_owned(),
        device_endpoint: String::new(),
        shards: 1,
        version: "0".to_owned(),
        connected: false,
        applied_epoch: String::new(),
        applied_revision: 0,
        refused: Vec::new(),
    }
}

/// DESIGN 26.
#[tokio::test]
async fn a_write_is_applied_when_every_connected_instance_says_so() {
    let (registry, epoch) = (Registry::new(), Uuid::new_v4());
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(20));
    assert!(!registry.applied(epoch, 1, long).await, "nobody is connected: false at once");
    let one = registry.join(an_instance("one")).unwrap();
    let two = registry.join(an_instance("two")).unwrap();
    one.applied(epoch.to_string(), 5, Vec::new());
    assert!(!registry.applied(epoch, 5, short).await, "the second has not said so");
    two.applied(Uuid::new_v4().to_string(), 9, Vec::new());
    assert!(!registry.applied(epoch, 5, short).await, "another database's revisions do not count");
    let waiting = tokio::spawn({
        let registry = registry.clone();
        async move { registry.applied(epoch, 5, long).await }
    });
    two.applied(epoch.to_string(), 6, Vec::new());
    assert!(waiting.await.unwrap());
    // An instance that is gone is not waited for.
    assert!(!registry.applied(epoch, 6, short).await);
    drop(one);
    assert!(registry.applied(epoch, 6, short).await);
    assert_eq!(registry.instances().iter().map(|one| one.connected).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_newer_connection_speaks_for_its_instance() {
    let registry = Registry::new();
    let old = registry.join(an_instance("one")).unwrap();
    let new = registry.join(an_instance("one")).unwrap();
    assert!(old.superseded() && !new.superseded());
    old.applied("x".to_owned(), 7, Vec::new());
    drop(old);
    let found = registry.instances();
    assert_eq!((found.len(), found[0].connected, found[0].applied_revision), (1, true, 0));
}
