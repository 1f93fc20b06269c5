//! Rows of calls, packages, roll-outs, audit lines and device searches, on every database there is.

use super::*;
use crate::{
    domain::{
        Algorithm, AuditFilter, AuditSubject, EntityListing, EntityQuery, Key, KeyFilter, NumberOperation, Operand, Package,
        PackageBytes, PackageFilter, PackageKind, PackagePlace, Predicate, Selector, TextOperation,
    },
    entity::{call, package, rollout, search},
};

async fn write(store: &Store, now_ms: i64) -> crate::entity::Write {
    store.write(Author::system(), now_ms).await.unwrap()
}

fn a_package(device: &Device, title: &str) -> Package {
    Package {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        tenant: device.tenant,
        profile: device.profile,
        kind: PackageKind::Firmware,
        title: title.to_owned(),
        release: "1.0".to_owned(),
        tag: None,
        place: PackagePlace::Nowhere,
        additional_info: json!({"note": 1}),
    }
}

#[tokio::test]
async fn packages_come_back_and_are_counted() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let empty = a_package(&devices[0], "Empty");
        let bytes = PackageBytes {
            file_name: "a.bin".to_owned(),
            content_type: "x/y".to_owned(),
            algorithm: Algorithm::Murmur3x128,
            checksum: "00".to_owned(),
            size: 5_000_000_000,
        };
        let full = Package { place: PackagePlace::Here(bytes), ..a_package(&devices[0], "Full") };
        let linked = Package { place: PackagePlace::Url("http://x".to_owned()), ..a_package(&devices[0], "Linked") };
        let mut write = write(store, NOW).await;
        for one in [&empty, &full, &linked] {
            package::insert(&mut write, one).await.unwrap();
        }
        let taken = package::insert(&mut write, &Package { id: Uuid::now_v7(), ..full.clone() }).await;
        assert!(matches!(taken, Err(StoreError::Duplicate { kind: EntityKind::OtaPackage, .. })), "{taken:?}");
        drop(write);
        let mut write = self::write(store, NOW).await;
        for one in [&empty, &full, &linked] {
            package::insert(&mut write, one).await.unwrap();
        }
        let owner = Device { firmware: Some(full.id), version: 2, ..devices[0].clone() };
        device::update(&mut write, &owner).await.unwrap();
        write.commit().await.unwrap();
        for one in [&empty, &full, &linked] {
            assert_eq!(package::find(store.reader(), tenant.id, one.id).await.unwrap().as_ref(), Some(one));
            assert_eq!(package::find(store.reader(), Uuid::nil(), one.id).await.unwrap(), None, "of another tenant");
        }
        assert_eq!(package::bytes_of_tenant(store.reader(), tenant.id).await.unwrap(), 5_000_000_000);
        assert_eq!(package::bytes_of_tenant(store.reader(), Uuid::nil()).await.unwrap(), 0);
        assert_eq!(package::users(store.reader(), full.id).await.unwrap(), (1, 0));
        assert_eq!(package::stored_ids(store.reader(), None).await.unwrap(), [full.id]);
        let link = PageLink::new(10, 0).unwrap();
        let filter = PackageFilter { with_data: true, ..PackageFilter::default() };
        assert_eq!(package::page(store.reader(), tenant.id, &filter, &link).await.unwrap().total_elements, 2);
        assert_eq!(device::find(store.reader(), tenant.id, owner.id).await.unwrap(), Some(owner));
        let mut write = self::write(store, NOW).await;
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        assert!(package::stored_ids(store.reader(), None).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_roll_out_goes_on_where_it_was() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b", "c", "d"]).await;
        let (kind, interval) = (PackageKind::Firmware, 60_000);
        let work = async |now| rollout::work(store.reader(), now, interval).await.unwrap();
        let idle = rollout::Work { advance: false, announce: false, pack: false };
        assert_eq!(work(NOW).await, idle);
        let mut own = write(store, NOW).await;
        device::update(&mut own, &Device { firmware: Some(Uuid::nil()), ..devices[1].clone() }).await.unwrap();
        rollout::begin(&mut own, tenant.id, devices[0].profile, kind).await.unwrap();
        own.commit().await.unwrap();
        for _ in 0..3 {
            assert!(work(NOW).await.advance);
            let mut write = write(store, NOW).await;
            rollout::advance(&mut write, 2).await.unwrap();
            write.commit().await.unwrap();
        }
        let due = rollout::unannounced(store.reader(), 10).await.unwrap();
        let mut told: Vec<Uuid> = due.iter().map(|due| due.device).collect();
        told.sort_unstable();
        assert_eq!(told, [devices[0].id, devices[2].id, devices[3].id], "one has its own");
        let mut step = write(store, NOW).await;
        rollout::wait(&mut step, &due).await.unwrap();
        step.commit().await.unwrap();
        let take = async |now| {
            let mut write = write(store, now).await;
            let pack = rollout::take_pack(&mut write, 2, interval).await.unwrap();
            write.commit().await.unwrap();
            pack
        };
        let first = take(NOW + 1).await;
        assert_eq!((first.len(), take(NOW + 2).await.len()), (2, 0), "the next one has to wait");
        // One is assigned something else while it is told, so that it is to be told again; the other is done.
        let mut step = write(store, NOW + 3).await;
        rollout::enqueue(&mut step, tenant.id, &[first[0].device], kind).await.unwrap();
        rollout::done(&mut step, &first).await.unwrap();
        step.commit().await.unwrap();
        assert_eq!(rollout::unannounced(store.reader(), 10).await.unwrap().len(), 1);
        // What was taken by somebody who is gone is taken again in the end.
        assert_eq!(take(NOW + 60_001).await.len(), 1);
        assert_eq!(take(NOW + 130_000).await.len(), 0);
        assert_eq!(take(NOW + 600_000).await.len(), 1);
        // A clock that was set back does not stop it.
        let mut step = write(store, NOW).await;
        rollout::wait(&mut step, &rollout::unannounced(store.reader(), 10).await.unwrap()).await.unwrap();
        step.commit().await.unwrap();
        assert_eq!(take(NOW).await.len(), 1);
        let mut gone = write(store, NOW).await;
        for device in &devices {
            credential::delete_of_device(&mut gone, device.id).await.unwrap();
            device::delete(&mut gone, device.id).await.unwrap();
        }
        gone.commit().await.unwrap();
        assert_eq!(work(NOW + 10_000_000).await, idle);
    })
    .await;
}

#[tokio::test]
async fn calls_belong_to_devices() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let row = |number: u128, device: &Device, expires_ms: i64| call::Model {
            id: Uuid::from_u128(number),
            tenant_id: tenant.id,
            device_id: device.id,
            created_ms: NOW,
            expires_ms,
        };
        let mut write = write(store, NOW).await;
        for (number, device, expires_ms) in [(1, 0, 5), (2, 0, 500), (3, 1, 500)] {
            call::insert(&mut write, row(number, &devices[device], expires_ms)).await.unwrap();
        }
        call::trim(&mut write, 100).await.unwrap();
        credential::delete_of_device(&mut write, devices[1].id).await.unwrap();
        device::delete(&mut write, devices[1].id).await.unwrap();
        write.commit().await.unwrap();
        let owner =
            async |tenant: Uuid, number: u128| call::device_of(store.reader(), tenant, Uuid::from_u128(number)).await.unwrap();
        assert_eq!(owner(tenant.id, 1).await, None, "ended long ago");
        assert_eq!(owner(tenant.id, 2).await, Some(devices[0].id));
        assert_eq!(owner(Uuid::nil(), 2).await, None, "another tenant's");
        assert_eq!(owner(tenant.id, 3).await, None, "gone with its device");
    })
    .await;
}

#[tokio::test]
async fn audit_lines_name_what_they_are_about() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a"]).await;
        let ids = [devices[0].id];
        let mut write = write(store, NOW).await;
        write.audit(audit::Action::Added, EntityKind::Device, ids[0], Some(tenant.id)).await.unwrap();
        credential::delete_of_device(&mut write, ids[0]).await.unwrap();
        device::delete(&mut write, ids[0]).await.unwrap();
        write.audit(audit::Action::Deleted, EntityKind::Device, ids[0], Some(tenant.id)).await.unwrap();
        let deed = audit::Deed {
            action: audit::Action::RpcCall,
            kind: EntityKind::Device,
            ids: &ids,
            tenant: Some(tenant.id),
            data: json!({"method": "m"}),
        };
        let pending = write.record(&deed).await.unwrap();
        write.commit().await.unwrap();
        let link = PageLink::new(10, 0).unwrap().search(Some("RPC_call")).unwrap();
        let filter = AuditFilter { subject: AuditSubject::Everything, from_ms: Some(NOW), to_ms: Some(NOW), actions: Vec::new() };
        let line = async || audit::page(store.reader(), tenant.id, &filter, &link).await.unwrap().data.remove(0);
        let found = line().await;
        assert_eq!((found.entity_name.as_deref(), found.failure.as_deref()), (Some("a"), Some("the outcome is not known")));
        assert_eq!(found.data, json!({"entityId": ids[0], "method": "m"}));
        for failure in [Some("TIMEOUT".to_owned()), None] {
            let mut write = self::write(store, NOW).await;
            audit::complete(&mut write, pending[0], failure.clone()).await.unwrap();
            write.commit().await.unwrap();
            assert_eq!(line().await.failure, failure);
        }
        let names: Vec<_> =
            audit::about(store.reader(), ids[0], 10).await.unwrap().into_iter().map(|row| row.entity_name).collect();
        assert!(names.iter().all(|name| name.as_deref() == Some("a")), "{names:?}");
    })
    .await;
}

#[tokio::test]
async fn sql_narrows_as_the_domain_does() {
    check(LOG, async |store| {
        let (tenant, _) = save_devices(store, "Acme", &["Boiler_1", "boiler 2", "Pump%", "ТРУБА"]).await;
        let wall = search::Wall { tenant: tenant.id, customer: None };
        let operand = |text: &str| Operand { fixed: text.to_owned(), dynamic: None };
        let text = |operation, text: &str, ignore_case| Predicate::Text { operation, operand: operand(text), ignore_case };
        let query = |key: &str, predicate: Predicate| EntityQuery {
            kinds: vec![EntityKind::Device],
            selector: Selector::All,
            filters: vec![KeyFilter { key: Key::field(key), predicate }],
            any: false,
            search: None,
        };
        let number = |operation, fixed| Predicate::Number { operation, operand: Operand { fixed, dynamic: None } };
        let cases = [
            (query("name", text(TextOperation::Contains, "BOILER_", true)), Some(1)),
            (query("name", text(TextOperation::EndsWith, "%", true)), Some(1)),
            (query("name", text(TextOperation::StartsWith, "труба", true)), Some(1)),
            (query("name", text(TextOperation::NotContains, "boiler", true)), Some(2)),
            (query("name", text(TextOperation::Equal, "boiler_1", false)), Some(0)),
            (query("name", text(TextOperation::In, "Pump%,boiler 2", false)), Some(2)),
            (query("type", text(TextOperation::NotEqual, "default", false)), Some(0)),
            (query("createdTime", number(NumberOperation::GreaterOrEqual, 1_700_000_000_000.0)), Some(4)),
            (query("createdTime", number(NumberOperation::Less, 1_700_000_000_000.0)), Some(0)),
            (query("name", text(TextOperation::Contains, "oiler", false)), None),
            (query("label", text(TextOperation::Equal, "x", true)), None),
        ];
        for (query, expected) in cases {
            assert_eq!(search::is_exact(&query), expected.is_some(), "{query:?}");
            match expected {
                Some(expected) => assert_eq!(search::count(store.reader(), wall, &query).await.unwrap(), expected, "{query:?}"),
                None => assert_eq!(search::candidates(store.reader(), wall, &query, 10).await.unwrap().len(), 4, "{query:?}"),
            }
        }
        let all = EntityQuery {
            kinds: vec![EntityKind::Device],
            selector: Selector::All,
            filters: Vec::new(),
            any: false,
            search: Some("p%".to_owned()),
        };
        let listing =
            EntityListing { query: all, page_size: 1, page: 0, sort: Key::field("name"), descending: true, shown: Vec::new() };
        assert_eq!(search::page(store.reader(), wall, &listing).await.unwrap().data[0].name, "Pump%");
        let elsewhere = search::Wall { tenant: Uuid::nil(), customer: None };
        assert_eq!(search::page(store.reader(), elsewhere, &listing).await.unwrap().total_elements, 0);
    })
    .await;
}
