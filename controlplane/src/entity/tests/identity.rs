//! Rows of who devices are: credentials of every kind, provisioning keys, tenant profiles, claims; and rows from before they
//! existed.

use super::*;
use crate::{
    domain::certificates::{Authority, pem},
    entity::{claim, pushed::Body},
    migration::Migrations,
};
use sea_orm_migration::MigratorTrait;

async fn begin(store: &Store) -> crate::entity::Write {
    store.write(Author::system(), NOW).await.unwrap()
}

fn shown(store: &Store, kind: &str, id: Option<&str>, value: Option<&str>) -> Shown {
    CredentialDraft::read(Some(kind), id, value).unwrap().kept(store.credential_key(), None).unwrap()
}

fn is_duplicate<T: std::fmt::Debug>(outcome: Result<T, StoreError>, of: EntityKind, named: &str) {
    assert!(matches!(&outcome, Err(StoreError::Duplicate { kind, field }) if *kind == of && *field == named), "{outcome:?}");
}

#[tokio::test]
async fn credentials_of_every_kind_come_back_and_are_unique() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let certificate = pem(&Authority::new("Root").device("a"));
        let basic = r#"{"clientId":"c","userName":"u","password":"p"}"#;
        let kinds = [
            shown(store, "ACCESS_TOKEN", Some("T"), None),
            shown(store, "MQTT_BASIC", None, Some(basic)),
            shown(store, "MQTT_BASIC", None, Some(r#"{"userName":"only"}"#)),
            shown(store, "MQTT_BASIC", None, Some(r#"{"clientId":"only"}"#)),
            shown(store, "X509_CERTIFICATE", None, Some(&certificate)),
        ];
        let first = credential::of_device(store.reader(), devices[0].id).await.unwrap().unwrap();
        for kind in &kinds {
            let mut write = begin(store).await;
            let changed = Credential { shown: kind.clone(), ..first.clone() };
            credential::update(&mut write, &changed).await.unwrap();
            let revision = write.commit().await.unwrap();
            assert_eq!(credential::of_device(store.reader(), devices[0].id).await.unwrap(), Some(changed));
            assert_eq!(credential::revision(store.reader(), devices[0].id).await.unwrap(), revision);
            let rows = pushed::by_ids(store.reader(), EntityKind::Credential, vec![first.id]).await.unwrap();
            let Body::Credential { shown: pushed::Known::By(lookup), .. } = &rows[0].body else { continue };
            assert_eq!(*lookup, kind.lookup());
            // Nobody else may show it.
            let second = credential::of_device(store.reader(), devices[1].id).await.unwrap().unwrap();
            let mut write = begin(store).await;
            let twin = Credential { shown: kind.clone(), ..second };
            is_duplicate(credential::update(&mut write, &twin).await, EntityKind::Credential, "credentialsId");
        }
        // A user name alone is looked up where tokens are (reference 1.1), so they may not be alike.
        let mut write = begin(store).await;
        let second = credential::of_device(store.reader(), devices[1].id).await.unwrap().unwrap();
        let alike = Credential { shown: shown(store, "MQTT_BASIC", None, Some(r#"{"userName":"a"}"#)), ..second.clone() };
        credential::update(&mut write, &alike).await.unwrap();
        let taken = Credential { shown: Shown::Token("a".to_owned()), ..first };
        is_duplicate(credential::update(&mut write, &taken).await, EntityKind::Credential, "credentialsId");
        drop(write);
        let owners = credential::owners(store.reader(), vec!["b".to_owned(), "nobody".to_owned()]).await.unwrap();
        assert_eq!(owners, [("b".to_owned(), devices[1].id)]);
        assert!(tenant::find(store.reader(), tenant.id).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_password_is_stored_as_a_hash_only() {
    let scratch = sqlite(LOG).await;
    let store = &scratch.store;
    let (_, devices) = save_devices(store, "Acme", &["a"]).await;
    let stored = credential::of_device(store.reader(), devices[0].id).await.unwrap().unwrap();
    let secret = shown(store, "MQTT_BASIC", None, Some(r#"{"userName":"u","password":"s3cret"}"#));
    let mut write = begin(store).await;
    credential::update(&mut write, &Credential { shown: secret, ..stored }).await.unwrap();
    write.commit().await.unwrap();
    let all = Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT value || coalesce(lookup, '') FROM device_credential");
    let row = store.reader().query_one_raw(all).await.unwrap().unwrap().try_get_by_index::<String>(0).unwrap();
    assert!(row.contains(r#""hasPassword":true"#) && !row.contains("s3cret"), "{row}");
}

#[tokio::test]
async fn a_provisioning_key_names_one_profile_of_the_installation() {
    check(LOG, async |store| {
        let (one, two) = (a_tenant("One"), a_tenant("Two"));
        save_tenant(store, &one).await.unwrap();
        save_tenant(store, &two).await.unwrap();
        let keyed = |tenant: Uuid| DeviceProfile {
            provision: ProvisionType::CreateNew,
            provision_key: Some("k".to_owned()),
            ..a_profile(tenant, "p")
        };
        let root = Authority::new("Root");
        let signed = DeviceProfile {
            is_default: false,
            provision: ProvisionType::CertificateChain,
            provision_key: Some("fingerprint".to_owned()),
            profile_data: json!({"provisionConfiguration": {"provisionDeviceSecret": root.pem()}}),
            ..a_profile(one.id, "signed")
        };
        let mut write = begin(store).await;
        profile::insert(&mut write, &keyed(one.id)).await.unwrap();
        profile::insert(&mut write, &signed).await.unwrap();
        write.commit().await.unwrap();
        let mut write = begin(store).await;
        let taken = profile::insert(&mut write, &keyed(two.id)).await;
        is_duplicate(taken, EntityKind::DeviceProfile, "provisionDeviceKey");
        drop(write);
        let mut write = begin(store).await;
        let taken = profile::insert(&mut write, &a_profile(one.id, "P")).await;
        is_duplicate(taken, EntityKind::DeviceProfile, "name");
        drop(write);
        let found = profile::by_provision_key(store.reader(), "k").await.unwrap().unwrap();
        assert_eq!((found.tenant, found.provision), (one.id, ProvisionType::CreateNew));
        assert!(profile::by_provision_key(store.reader(), "K").await.unwrap().is_none());
        let subject = signed.authority().unwrap().subject_digest().unwrap();
        for (fingerprints, issuers, expected) in [
            (vec!["fingerprint".to_owned()], Vec::new(), 1),
            (Vec::new(), vec![subject], 1),
            (vec!["k".to_owned()], vec!["x".to_owned()], 0),
        ] {
            let found = profile::by_authority(store.reader(), fingerprints, issuers).await.unwrap();
            assert_eq!(found.len(), expected);
            assert!(found.iter().all(|one| *one == signed));
        }
        let names = profile::listed(store.reader(), one.id, false).await.unwrap();
        assert_eq!(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["p", "signed"]);
        assert!(profile::listed(store.reader(), one.id, true).await.unwrap().is_empty(), "no device has one");
    })
    .await;
}

#[tokio::test]
async fn a_changed_tenant_profile_is_a_change_of_each_of_its_tenants() {
    check(LOG, async |store| {
        let small = TenantProfile {
            id: Uuid::now_v7(),
            created_ms: NOW,
            version: 1,
            name: "Small".to_owned(),
            description: None,
            is_default: false,
            isolated: false,
            profile_data: json!({"configuration": {"type": "DEFAULT"}}),
        };
        let mut write = begin(store).await;
        tenant_profile::insert(&mut write, &small).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), None, "nobody has it");
        let bound = |title| Tenant { profile: small.id, ..a_tenant(title) };
        let (one, two, free) = (bound("One"), bound("Two"), a_tenant("Free"));
        for tenant in [&one, &two, &free] {
            save_tenant(store, tenant).await.unwrap();
        }
        let data = json!({"configuration": {"transportDeviceMsgRateLimit": "10:1", "maxTransportConnections": 7}});
        let changed = TenantProfile { profile_data: data.clone(), version: 2, ..small.clone() };
        let mut write = begin(store).await;
        tenant_profile::update(&mut write, &changed, true).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), Some(5));
        assert_eq!(tenant_profile::find(store.reader(), small.id).await.unwrap(), Some(changed.clone()));
        for (tenant, limits) in [(&one, TransportLimits::of(&data)), (&free, TransportLimits::default())] {
            let rows = pushed::by_ids(store.reader(), EntityKind::Tenant, vec![tenant.id]).await.unwrap();
            let details = pushed::Details {
                title: tenant.title.clone(),
                contact: tenant.contact.clone(),
                description: Some("x".to_owned()),
            };
            let expected = Body::Tenant { details: Box::new(details), limits };
            assert!(rows[0].body == expected, "{}", tenant.title);
            assert_eq!(rows[0].revision, if tenant.id == free.id { 3 } else { 5 });
        }
        let mut write = begin(store).await;
        is_duplicate(
            tenant_profile::insert(&mut write, &TenantProfile { id: Uuid::now_v7(), name: "SMALL".to_owned(), ..changed }).await,
            EntityKind::TenantProfile,
            "name",
        );
        drop(write);
        assert_eq!(tenant_profile::tenants(store.reader(), small.id).await.unwrap(), 2);
        assert_eq!(tenant_profile::default_one(store.reader()).await.unwrap().id, DEFAULT_TENANT_PROFILE);
    })
    .await;
}

#[tokio::test]
async fn the_newest_claim_of_a_device_counts() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a"]).await;
        let row = |secret: &str, until_ms| claim::Model {
            device_id: devices[0].id,
            tenant_id: tenant.id,
            secret: secret.to_owned(),
            until_ms,
        };
        let mut write = begin(store).await;
        claim::put(&mut write, row("first", 1)).await.unwrap();
        claim::put(&mut write, row("second", 2)).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), None, "data planes know nothing of it");
        assert_eq!(claim::of_device(store.reader(), devices[0].id).await.unwrap(), Some(row("second", 2)));
        let mut write = begin(store).await;
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(claim::of_device(store.reader(), devices[0].id).await.unwrap(), None);
    })
    .await;
}

/// Rows as the first version wrote them, and what the store of today makes of them.
#[tokio::test]
async fn rows_from_before_stay_valid() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("t.db").display());
    let old = Database::connect(ConnectOptions::new(url.clone())).await.unwrap();
    Migrations::up(&old, Some(1)).await.unwrap();
    let [tenant, profile, device, credential] = [1, 2, 3, 4].map(|number| Uuid::from_u128(0x7000_8000 << 64 | number));
    let blob = |id: Uuid| format!("x'{}'", id.simple());
    let (t, p, d, c) = (blob(tenant), blob(profile), blob(device), blob(credential));
    for row in [
        format!("tenant VALUES ({t}, 1, 1, 1, 'Acme', 'acme', NULL, '{{}}', '{{}}')"),
        format!("device_profile VALUES ({p}, 1, 1, 2, {t}, 'default', 'default', NULL, 1, NULL, 'null')"),
        format!(
            "device VALUES ({d}, 1, 1, 3, {t}, NULL, {p}, 'pump', 'pump', 'default', NULL, '{{\"gateway\":true,\"description\":\"x\"}}')"
        ),
        format!("device_credential VALUES ({c}, 1, 1, 4, {t}, {d}, 'OLD_TOKEN')"),
    ] {
        old.execute_unprepared(&format!("INSERT INTO {row}")).await.unwrap();
    }
    old.execute_unprepared("UPDATE revision_counter SET revision = 4").await.unwrap();
    old.close().await.unwrap();

    let store = Store::connect(&url, LOG).await.unwrap();
    let db = store.reader();
    assert_eq!(tenant::find(db, tenant).await.unwrap().unwrap().profile, DEFAULT_TENANT_PROFILE);
    let stored = profile::find(db, tenant, profile).await.unwrap().unwrap();
    assert_eq!((stored.transport.as_str(), stored.provision), ("DEFAULT", ProvisionType::Disabled));
    let stored = device::find(db, tenant, device).await.unwrap().unwrap();
    assert!(!stored.provisioned && stored.firmware.is_none() && stored.is_gateway());
    let stored = credential::of_device(db, device).await.unwrap().unwrap();
    assert_eq!(stored.shown, Shown::Token("OLD_TOKEN".to_owned()));
    // Instances that know the database are told of the key that was made; they know everything else already.
    let entries = change_log::after(db, 4, 10).await.unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.revision, entry.kind)).collect::<Vec<_>>(), [(5, EntityKind::Installation)]);
    let told = pushed::by_ids(db, EntityKind::Installation, vec![Uuid::nil()]).await.unwrap();
    assert_eq!(told[0].revision, 5);
    let key = store.credential_key().to_vec();
    assert_eq!(key.len(), 32);
    store.close().await;
    let again = Store::connect(&url, LOG).await.unwrap();
    assert_eq!(again.credential_key(), key);
    assert_eq!(change_log::head(again.reader()).await.unwrap(), 5, "it is made once");
}
