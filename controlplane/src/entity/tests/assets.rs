//! Assets, their profiles and relations, on every backend.

use sea_orm::sea_query::{Alias, Query};
use sea_orm_migration::MigratorTrait;
use serde_json::Value;

use super::*;
use crate::{
    domain::{Arrow, Asset, AssetFilter, AssetProfile, End, Relation, RelationGroup, Side},
    entity::{asset, asset_profile, named, relation},
    migration::Migrations,
};

fn an_asset_profile(tenant: Uuid, name: &str) -> AssetProfile {
    AssetProfile {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        tenant,
        name: name.to_owned(),
        description: None,
        image: None,
        is_default: true,
        chain: None,
        queue: None,
        dashboard: None,
        edge_chain: None,
    }
}

fn an_asset(profile: &AssetProfile, name: &str) -> Asset {
    Asset {
        id: Uuid::now_v7(),
        created_ms: NOW,
        version: 1,
        tenant: profile.tenant,
        customer: None,
        name: name.to_owned(),
        kind: profile.name.clone(),
        label: Some("l".to_owned()),
        profile: profile.id,
        additional_info: json!({"a": 1}),
    }
}

fn arrow(from: &Asset, to: &Device, kind: &str) -> Relation {
    let from = End { kind: EntityKind::Asset, id: from.id };
    let to = End { kind: EntityKind::Device, id: to.id };
    let arrow = Arrow { from, to, kind: kind.to_owned(), group: RelationGroup::Common };
    Relation { id: Uuid::now_v7(), version: 1, arrow, additional_info: Value::Null }
}

/// A tenant with two devices and an asset, and what the change log has of them.
async fn farm(store: &Store) -> (Tenant, Vec<Device>, Asset, AssetProfile) {
    let (tenant, devices) = save_devices(store, "Farm", &["d1", "d2"]).await;
    let profile = an_asset_profile(tenant.id, "field");
    let asset = an_asset(&profile, "North");
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    asset_profile::insert(&mut write, &profile).await.unwrap();
    asset::insert(&mut write, &asset).await.unwrap();
    write.commit().await.unwrap();
    (tenant, devices, asset, profile)
}

#[tokio::test]
async fn assets_come_back_as_they_were_written() {
    check(LOG, async |store| {
        let (tenant, _, asset, profile) = farm(store).await;
        assert_eq!(asset::find(store.reader(), tenant.id, asset.id).await.unwrap().as_ref(), Some(&asset));
        assert_eq!(asset::by_name(store.reader(), tenant.id, "NORTH").await.unwrap().as_ref(), Some(&asset));
        assert!(asset::find(store.reader(), Uuid::now_v7(), asset.id).await.unwrap().is_none());
        let told = pushed::by_ids(store.reader(), EntityKind::Asset, vec![asset.id]).await.unwrap().remove(0).body;
        let pushed::Body::Asset { label, created_ms, .. } = told else { panic!("{told:?}") };
        assert_eq!((label.as_deref(), created_ms), (Some("l"), NOW));
        assert_eq!(asset_profile::default_of(store.reader(), tenant.id).await.unwrap().as_ref(), Some(&profile));
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let taken = asset::insert(&mut write, &an_asset(&profile, "north")).await;
        assert!(matches!(taken, Err(StoreError::Duplicate { kind: EntityKind::Asset, field: "name" })), "{taken:?}");
        drop(write);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let renamed = AssetProfile { name: "meadow".to_owned(), ..profile.clone() };
        asset_profile::update(&mut write, &profile, &renamed).await.unwrap();
        write.commit().await.unwrap().expect("its assets change");
        assert_eq!(asset::types(store.reader(), tenant.id, None).await.unwrap(), ["meadow"]);
        let filter = AssetFilter { kind: Some("meadow".to_owned()), ..AssetFilter::default() };
        let page = asset::page(store.reader(), tenant.id, &filter, &PageLink::new(10, 0).unwrap()).await.unwrap();
        assert_eq!(page.total_elements, 1);
        assert_eq!(asset::infos(store.reader(), page.data).await.unwrap()[0].profile_name, "meadow");
        assert_eq!(asset_profile::assets(store.reader(), profile.id).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn relations_go_with_their_ends() {
    check(LOG, async |store| {
        let (tenant, devices, asset, _) = farm(store).await;
        let (first, second) = (arrow(&asset, &devices[0], "Contains"), arrow(&asset, &devices[1], "Contains"));
        let other = arrow(&asset, &devices[0], "Manages");
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        for relation in [&first, &second, &other] {
            relation::insert(&mut write, tenant.id, relation).await.unwrap();
        }
        let hidden = Arrow { group: RelationGroup::Dashboard, ..first.arrow.clone() };
        let hidden = Relation { id: Uuid::now_v7(), arrow: hidden, ..first.clone() };
        relation::insert(&mut write, tenant.id, &hidden).await.unwrap();
        let before = write.commit().await.unwrap().unwrap();
        assert_eq!(relation::find(store.reader(), tenant.id, &first.arrow).await.unwrap().as_ref(), Some(&first));
        let from = async |kind, limit| {
            let ids = [asset.id];
            let ends = (Side::From, ids.as_slice());
            relation::of_ends(store.reader(), tenant.id, ends, (RelationGroup::Common, kind), limit).await.unwrap()
        };
        assert_eq!(from(None, 10).await, [first.clone(), second.clone(), other.clone()]);
        assert_eq!(from(Some("Manages"), 10).await, std::slice::from_ref(&other));
        assert_eq!(from(None, 2).await.len(), 2);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let twice = relation::insert(&mut write, tenant.id, &Relation { id: Uuid::now_v7(), ..first.clone() }).await;
        assert!(matches!(twice, Err(StoreError::Duplicate { kind: EntityKind::Relation, .. })), "{twice:?}");
        drop(write);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        device::delete(&mut write, devices[1].id).await.unwrap_err();
        drop(write);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        credential::delete_of_device(&mut write, devices[1].id).await.unwrap();
        device::delete(&mut write, devices[1].id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(from(None, 10).await, [first.clone(), other.clone()]);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        asset::delete(&mut write, asset.id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(from(None, 10).await, []);
        assert!(relation::find(store.reader(), tenant.id, &hidden.arrow).await.unwrap().is_none());
        let entries = change_log::after(store.reader(), before, 100).await.unwrap();
        let gone: Vec<Uuid> = entries.iter().filter(|entry| entry.kind == EntityKind::Relation).map(|entry| entry.id).collect();
        // Data planes were never told of the hidden one.
        assert_eq!(gone, [second.id, first.id, other.id]);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_goes_with_its_assets() {
    check(LOG, async |store| {
        let (tenant, devices, asset, _) = farm(store).await;
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        relation::insert(&mut write, tenant.id, &arrow(&asset, &devices[0], "Contains")).await.unwrap();
        let before = write.commit().await.unwrap().unwrap();
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        let entries = change_log::after(store.reader(), before, 100).await.unwrap();
        let count = |kind| entries.iter().filter(|entry| entry.kind == kind && entry.deleted).count();
        assert_eq!((count(EntityKind::Asset), count(EntityKind::Relation)), (1, 1));
        assert!(asset::find(store.reader(), tenant.id, asset.id).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn entities_of_every_kind_have_names() {
    check(LOG, async |store| {
        let (tenant, devices, asset, profile) = farm(store).await;
        let own = (tenant.id, None);
        let name = async |wall, kind, id| named::names(store.reader(), wall, kind, &[id]).await.unwrap().remove(&id);
        assert_eq!(name(own, EntityKind::Asset, asset.id).await.as_deref(), Some("North"));
        assert_eq!(name(own, EntityKind::Device, devices[0].id).await.as_deref(), Some("d1"));
        assert_eq!(name(own, EntityKind::AssetProfile, profile.id).await.as_deref(), Some("field"));
        assert_eq!(name(own, EntityKind::Tenant, tenant.id).await.as_deref(), Some("Farm"));
        assert_eq!(name(own, EntityKind::Device, asset.id).await, None, "of another kind");
        assert_eq!(name((Uuid::now_v7(), None), EntityKind::Asset, asset.id).await, None, "of another tenant");
        let customer = (tenant.id, Some(Uuid::now_v7()));
        assert_eq!(name(customer, EntityKind::Asset, asset.id).await, None, "not assigned");
        assert_eq!(name(customer, EntityKind::Tenant, tenant.id).await, None);
    })
    .await;
}

/// A database from before there were assets.
#[tokio::test]
async fn older_tenants_get_an_asset_profile() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("t.db").display());
    let old = Database::connect(ConnectOptions::new(url.clone())).await.unwrap();
    Migrations::up(&old, Some(3)).await.unwrap();
    let tenant = a_tenant("Old");
    let columns = ["id", "created_ms", "version", "revision", "title", "search", "contact", "additional_info", "profile_id"];
    let insert = Query::insert()
        .into_table(Alias::new("tenant"))
        .columns(columns.map(Alias::new))
        .values_panic([
            tenant.id.into(),
            7_i64.into(),
            1_i64.into(),
            1_i64.into(),
            "Old".into(),
            "old".into(),
            "{}".into(),
            "{}".into(),
            tenant.profile.into(),
        ])
        .to_owned();
    old.execute(&insert).await.unwrap();
    old.close().await.unwrap();
    let store = Store::connect(&url, LOG).await.unwrap();
    let profile = asset_profile::default_of(store.reader(), tenant.id).await.unwrap().unwrap();
    assert_eq!((profile.name.as_str(), profile.created_ms), ("default", 7));
}
