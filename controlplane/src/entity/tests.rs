//! The store on SQLite, and the same on PostgreSQL when `TIDEGATE_TEST_POSTGRES` names a server (a URL whose user may create
//! databases); otherwise that half is skipped and says so.

mod alarms;
mod announcements;
mod assets;
mod customers;
mod identity;
mod two_way;

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, Statement};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        Contact, Credential, CredentialDraft, DEFAULT_TENANT_PROFILE, DEFAULT_TRANSPORT, Device, DeviceFilter, DeviceProfile,
        EntityKind, PageLink, ProvisionType, Shown, Tenant, TenantProfile, TransportLimits,
    },
    entity::{
        Author, Store, StoreError, audit, cascade, change_log, credential, customer, device, meta, profile, pushed, tenant,
        tenant_profile, user,
    },
};

/// A store of its own in a temporary directory.
pub(crate) struct Scratch {
    pub(crate) store: Store,
    _directory: Option<tempfile::TempDir>,
}

pub(crate) async fn sqlite(log_rows_max: i64) -> Scratch {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("t.db").display());
    Scratch { store: Store::connect(&url, log_rows_max).await.unwrap(), _directory: Some(directory) }
}

async fn postgres(log_rows_max: i64) -> Option<Scratch> {
    let Ok(server) = std::env::var("TIDEGATE_TEST_POSTGRES") else {
        println!("TIDEGATE_TEST_POSTGRES is not set: skipped on PostgreSQL");
        return None;
    };
    let name = format!("tidegate_{}", Uuid::new_v4().simple());
    let admin = Database::connect(ConnectOptions::new(server.clone())).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    admin.close().await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let store = Store::connect(&format!("{base}/{name}"), log_rows_max).await.unwrap();
    Some(Scratch { store, _directory: None })
}

/// Runs a test on every backend there is.
pub(crate) async fn check(log_rows_max: i64, test: impl AsyncFn(&Store)) {
    let scratch = sqlite(log_rows_max).await;
    test(&scratch.store).await;
    if let Some(scratch) = postgres(log_rows_max).await {
        test(&scratch.store).await;
    }
}

const LOG: i64 = 1_000_000;
const NOW: i64 = 1_700_000_000_000;

pub(crate) fn a_tenant(title: &str) -> Tenant {
    Tenant {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        title: title.to_owned(),
        region: None,
        profile: DEFAULT_TENANT_PROFILE,
        contact: Contact { city: Some("Kyiv".to_owned()), ..Contact::default() },
        additional_info: json!({"description": "x"}),
    }
}

pub(crate) fn a_profile(tenant: Uuid, name: &str) -> DeviceProfile {
    DeviceProfile {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        tenant,
        name: name.to_owned(),
        description: None,
        image: None,
        is_default: true,
        chain: None,
        transport: DEFAULT_TRANSPORT.to_owned(),
        provision: ProvisionType::Disabled,
        provision_key: None,
        queue: None,
        dashboard: None,
        edge_chain: None,
        firmware: None,
        software: None,
        profile_data: json!(null),
    }
}

pub(crate) fn a_device(profile: &DeviceProfile, name: &str) -> Device {
    Device {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        tenant: profile.tenant,
        customer: None,
        name: name.to_owned(),
        kind: profile.name.clone(),
        label: None,
        profile: profile.id,
        provisioned: false,
        firmware: None,
        software: None,
        additional_info: json!({}),
    }
}

pub(crate) fn a_credential(device: &Device, token: &str) -> Credential {
    let (tenant, device) = (device.tenant, device.id);
    let shown = Shown::Token(token.to_owned());
    Credential { id: Uuid::now_v7(), created_ms: NOW, version: 1, tenant, device, shown }
}

pub(crate) async fn save_tenant(store: &Store, tenant: &Tenant) -> Result<u64, StoreError> {
    let mut write = store.write(Author::system(), NOW).await?;
    tenant::insert(&mut write, tenant).await?;
    write.audit(audit::Action::Added, EntityKind::Tenant, tenant.id, Some(tenant.id)).await?;
    Ok(write.commit().await?.expect("a tenant has a change"))
}

/// A tenant with a profile and devices named `names`, each with its name as token.
pub(crate) async fn save_devices(store: &Store, title: &str, names: &[&str]) -> (Tenant, Vec<Device>) {
    let tenant = a_tenant(title);
    save_tenant(store, &tenant).await.unwrap();
    let profile = a_profile(tenant.id, "default");
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    profile::insert(&mut write, &profile).await.unwrap();
    let mut devices = Vec::new();
    for name in names {
        let device = a_device(&profile, name);
        device::insert(&mut write, &device).await.unwrap();
        credential::insert(&mut write, &a_credential(&device, name)).await.unwrap();
        devices.push(device);
    }
    write.commit().await.unwrap();
    (tenant, devices)
}

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    check(LOG, async |store| {
        let tenant = a_tenant("Acme");
        save_tenant(store, &tenant).await.unwrap();
        assert_eq!(tenant::find(store.reader(), tenant.id).await.unwrap().as_ref(), Some(&tenant));
        let changed = Tenant { title: "Acme 2".to_owned(), version: 2, region: Some("EU".to_owned()), ..tenant };
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        tenant::update(&mut write, &changed).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(tenant::find(store.reader(), changed.id).await.unwrap().as_ref(), Some(&changed));
        let rows = audit::about(store.reader(), changed.id, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["ADDED"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_committed_was_never_there() {
    check(LOG, async |store| {
        let tenant = a_tenant("Gone");
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        tenant::insert(&mut write, &tenant).await.unwrap();
        drop(write);
        assert_eq!(save_tenant(store, &a_tenant("Next")).await.unwrap(), 1, "the number was given back too");
        assert!(tenant::find(store.reader(), tenant.id).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn duplicates_are_named() {
    check(LOG, async |store| {
        let (_, devices) = save_devices(store, "Acme", &["One"]).await;
        let taken = save_tenant(store, &a_tenant("ACME")).await;
        assert!(matches!(taken, Err(StoreError::Duplicate { kind: EntityKind::Tenant, field: "title" })), "{taken:?}");
        let (other, _) = save_devices(store, "Other", &[]).await;
        let profile = profile::default_of(store.reader(), other.id).await.unwrap().unwrap();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        // Another tenant may use the name, but not the token.
        let twin = a_device(&profile, "One");
        device::insert(&mut write, &twin).await.unwrap();
        let taken = credential::insert(&mut write, &a_credential(&twin, "One")).await;
        assert!(
            matches!(taken, Err(StoreError::Duplicate { kind: EntityKind::Credential, field: "credentialsId" })),
            "{taken:?}"
        );
        drop(write);
        let profile = profile::default_of(store.reader(), devices[0].tenant).await.unwrap().unwrap();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let taken = device::insert(&mut write, &a_device(&profile, "oNE")).await;
        assert!(matches!(taken, Err(StoreError::Duplicate { kind: EntityKind::Device, field: "name" })), "{taken:?}");
    })
    .await;
}

#[tokio::test]
async fn pages_search_sort_and_count() {
    check(LOG, async |store| {
        let (tenant, _) = save_devices(store, "Acme", &["pump 1", "Pump 2", "fan_1", "fanx1", "100%"]).await;
        let (other, _) = save_devices(store, "Other", &["pump 9"]).await;
        let names = async |link: PageLink| {
            let page = device::page(store.reader(), tenant.id, &DeviceFilter::default(), &link).await.unwrap();
            let names: Vec<String> = page.data.iter().map(|device| device.name.clone()).collect();
            (names.join(","), page.total_elements, page.total_pages, page.has_next)
        };
        let link =
            |size, page, text| PageLink::new(size, page).unwrap().search(text).unwrap().sort(Some("name"), Some("ASC")).unwrap();
        assert_eq!(names(link(10, 0, Some("PUMP"))).await, ("pump 1,Pump 2".to_owned(), 2, 1, false));
        assert_eq!(names(link(10, 0, Some("_1"))).await, ("fan_1".to_owned(), 1, 1, false));
        assert_eq!(names(link(10, 0, Some("%"))).await, ("100%".to_owned(), 1, 1, false));
        assert_eq!(names(link(2, 1, None)).await, ("fanx1,pump 1".to_owned(), 5, 3, true));
        assert_eq!(names(link(2, 9, None)).await, (String::new(), 5, 3, false));
        let unknown = PageLink::new(1, 0).unwrap().sort(Some("id; DROP TABLE device"), None).unwrap();
        let refused = device::page(store.reader(), tenant.id, &DeviceFilter::default(), &unknown).await;
        assert!(matches!(&refused, Err(StoreError::Invalid(invalid)) if invalid.field == "sortProperty"), "{refused:?}");
        let of_other = device::page(store.reader(), other.id, &DeviceFilter::default(), &link(10, 0, None)).await.unwrap();
        assert_eq!(of_other.total_elements, 1);
    })
    .await;
}

#[tokio::test]
async fn deleting_a_tenant_logs_each_row_that_goes() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b", "c"]).await;
        let (kept, _) = save_devices(store, "Kept", &["k"]).await;
        let before = u64::try_from(change_log::head(store.reader()).await.unwrap()).unwrap();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), Some(before + 8));
        let entries = change_log::after(store.reader(), before, 100).await.unwrap();
        let count = |kind| entries.iter().filter(|entry| entry.kind == kind && entry.deleted).count();
        assert_eq!(count(EntityKind::Device), 3);
        assert_eq!(count(EntityKind::Credential), 3);
        assert_eq!(count(EntityKind::DeviceProfile), 1);
        assert_eq!(entries.last().map(|entry| (entry.kind, entry.id)), Some((EntityKind::Tenant, tenant.id)));
        for device in &devices {
            assert!(device::find(store.reader(), tenant.id, device.id).await.unwrap().is_none());
        }
        assert!(tenant::find(store.reader(), kept.id).await.unwrap().is_some());
        assert_eq!(pushed::count(store.reader()).await.unwrap(), 5);
    })
    .await;
}

/// DESIGN 25: commit order is number order. A reader that goes by number never misses a write that commits late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_order_is_number_order() {
    const WRITERS: u64 = 6;
    const WRITES: u64 = 10;
    check(LOG, async |store| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0..WRITES {
                        let mut write = store.write(Author::system(), NOW).await.unwrap();
                        tenant::insert(&mut write, &a_tenant(&format!("{writer}-{number}"))).await.unwrap();
                        tokio::time::sleep(Duration::from_micros(writer * 300)).await;
                        write.commit().await.unwrap();
                    }
                })
            })
            .collect();
        let reader = async {
            let mut seen = 0;
            while seen < WRITERS * WRITES {
                for entry in change_log::after(store.reader(), seen, 7).await.unwrap() {
                    assert_eq!(entry.revision, seen + 1, "a gap: a lower number would commit after a higher one");
                    seen = entry.revision;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("every write arrives");
        for writer in writers {
            writer.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_log_keeps_its_newest_rows() {
    check(3, async |store| {
        for number in 0..10 {
            save_tenant(store, &a_tenant(&number.to_string())).await.unwrap();
        }
        assert_eq!(change_log::tail(store.reader()).await.unwrap(), Some(8));
        assert_eq!(change_log::head(store.reader()).await.unwrap(), 10);
    })
    .await;
}

#[tokio::test]
async fn renaming_a_profile_renames_the_type_of_its_devices() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let stored = profile::default_of(store.reader(), tenant.id).await.unwrap().unwrap();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        profile::update(&mut write, &DeviceProfile { name: "meter".to_owned(), ..stored }, true).await.unwrap();
        let revision = write.commit().await.unwrap().unwrap();
        let rows = pushed::by_ids(store.reader(), EntityKind::Device, devices.iter().map(|one| one.id).collect()).await;
        for row in rows.unwrap() {
            assert_eq!(row.revision, revision);
            assert!(matches!(row.body, pushed::Body::Device { kind, .. } if kind == "meter"));
        }
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_set_up_for_durability() {
    let scratch = sqlite(LOG).await;
    let mut write = scratch.store.write(Author::system(), NOW).await.unwrap();
    let pragma = async |db: &sea_orm::DatabaseTransaction, name: &str| {
        let statement = Statement::from_string(sea_orm::DbBackend::Sqlite, format!("PRAGMA {name}"));
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).map_or_else(|_| row.try_get_by_index::<String>(0).unwrap(), |value| value.to_string())
    };
    assert_eq!(pragma(write.db(), "journal_mode").await, "wal");
    // 2 is FULL: a commit is on disk before it is acknowledged.
    assert_eq!(pragma(write.db(), "synchronous").await, "2");
    assert_eq!(pragma(write.db(), "foreign_keys").await, "1");
    assert_eq!(pragma(write.db(), "busy_timeout").await, "10000");
    let orphan = a_device(&a_profile(Uuid::now_v7(), "nowhere"), "orphan");
    assert!(device::insert(&mut write, &orphan).await.is_err(), "foreign keys hold");
    drop(write);
    let refused = scratch.store.reader().execute_unprepared("DELETE FROM meta").await;
    assert!(refused.is_err(), "readers cannot write");
}

#[tokio::test]
async fn a_database_keeps_its_epoch_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("t.db").display());
    let first = Store::connect(&url, LOG).await.unwrap();
    let (epoch, key) = (first.epoch(), first.jwt_key().to_vec());
    assert_eq!(key.len(), 64);
    assert!(meta::get(first.reader(), meta::SEED).await.unwrap().is_none());
    first.close().await;
    let second = Store::connect(&url, LOG).await.unwrap();
    assert_eq!((second.epoch(), second.jwt_key()), (epoch, key.as_slice()));
    let other = sqlite(LOG).await;
    assert_ne!(other.store.epoch(), epoch);
    assert!(!user::any(other.store.reader()).await.unwrap());
    assert!(customer::by_ids(other.store.reader(), vec![epoch]).await.unwrap().is_empty());
}
