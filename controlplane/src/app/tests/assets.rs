//! Assets and relations from the caller's side: walls, versions, limits, what a walk reaches.

use super::*;
use crate::{
    app::ShownTo,
    domain::{
        Arrow, AssetDraft, AssetFilter, AssetProfileDraft, End, RelationFilter, RelationGroup, RelationQuery, Side,
        TenantProfileDraft,
    },
};

fn an_asset(name: &str) -> AssetDraft {
    AssetDraft { name: name.to_owned(), ..AssetDraft::default() }
}

fn device(id: Uuid) -> End {
    End { kind: EntityKind::Device, id }
}

fn asset(id: Uuid) -> End {
    End { kind: EntityKind::Asset, id }
}

fn arrow(from: End, kind: &str, to: End) -> Arrow {
    Arrow { from, to, kind: kind.to_owned(), group: RelationGroup::Common }
}

async fn made(app: &App, caller: &Caller, name: &str) -> Uuid {
    app.save_asset(caller, an_asset(name)).await.unwrap().value.id
}

async fn draw(app: &App, caller: &Caller, from: End, kind: &str, to: End) {
    app.save_relation(caller, arrow(from, kind, to), None, Value::Null).await.unwrap();
}

#[tokio::test]
async fn assets_are_made_renamed_and_counted() {
    let World { app, system, admin, customer, .. } = &world().await;
    let typed = AssetDraft { kind: Some("building".to_owned()), ..an_asset("Home") };
    let home = app.save_asset(admin, typed).await.unwrap().value;
    let profile = app.asset_profile(admin, home.profile).await.unwrap();
    assert_eq!((profile.name.as_str(), profile.is_default), ("building", false));
    let late = AssetDraft { id: Some(home.id), version: Some(9), ..an_asset("x") };
    let late = app.save_asset(admin, late).await;
    assert!(matches!(late, Err(Error::Conflict { kind: EntityKind::Asset, sent: 9, stored: 1 })), "{late:?}");
    let renamed = AssetProfileDraft { id: Some(profile.id), name: "house".to_owned(), ..AssetProfileDraft::default() };
    app.save_asset_profile(admin, renamed).await.unwrap();
    assert_eq!(app.asset_by_name(admin, "hOME").await.unwrap().kind, "house");
    assert!(matches!(app.delete_asset_profile(admin, profile.id).await, Err(Error::Refused(_))), "an asset has it");
    let default = app.default_asset_profile(admin).await.unwrap();
    assert!(matches!(app.delete_asset_profile(admin, default.id).await, Err(Error::Refused(_))));
    app.set_default_asset_profile(admin, profile.id).await.unwrap();
    assert_eq!(app.save_asset(admin, an_asset("Next")).await.unwrap().value.kind, "house");
    app.delete_asset_profile(admin, default.id).await.unwrap();
    let data = json!({"configuration": {"maxAssets": 2}});
    let limits = TenantProfileDraft { name: "small".to_owned(), profile_data: data, ..TenantProfileDraft::default() };
    let limits = app.save_tenant_profile(system, limits).await.unwrap().value.id;
    let own = app.tenant(system, admin.tenant.unwrap()).await.unwrap();
    let draft = TenantDraft { id: Some(own.id), title: own.title, profile: Some(limits), ..TenantDraft::default() };
    app.save_tenant(system, draft).await.unwrap();
    let full = app.save_asset(admin, an_asset("Third")).await;
    assert!(matches!(full, Err(Error::LimitReached(EntityKind::Asset))), "{full:?}");
    let own = customer.customer.unwrap();
    is_missing(app.asset(customer, home.id).await);
    app.show_asset(admin, home.id, ShownTo::Customer(own)).await.unwrap();
    assert_eq!(app.asset(customer, home.id).await.unwrap().customer, Some(own));
    is_forbidden(app.save_asset(customer, an_asset("mine")).await);
    let page = app.assets(customer, AssetFilter::default(), &any_page()).await.unwrap();
    assert_eq!((page.total_elements, page.data[0].customer_title.as_deref()), (1, Some("Customer A")));
    for wanted in [Use::Read, Use::Write] {
        let entity = app.authorize_entity(customer, "ASSET", home.id, wanted).await.unwrap();
        assert_eq!((entity.kind, Some(entity.tenant)), (EntityKind::Asset, admin.tenant));
    }
    app.delete_customer(admin, own).await.unwrap();
    assert_eq!(app.asset(admin, home.id).await.unwrap().customer, None, "assets stay");
    let nobody = app.show_asset(admin, home.id, ShownTo::Nobody).await;
    assert!(matches!(nobody, Err(Error::Refused(_))), "{nobody:?}");
    app.delete_asset(admin, home.id).await.unwrap();
    let rows = audit::about(app.reader(), home.id, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["DELETED", "ASSIGNED_TO_CUSTOMER", "ADDED"]);
}

#[tokio::test]
async fn another_tenant_sees_no_asset_and_no_relation() {
    let World { app, admin, other, assigned, .. } = &world().await;
    let home = made(app, admin, "Home").await;
    draw(app, admin, asset(home), "Contains", device(*assigned)).await;
    is_missing(app.asset(other, home).await);
    is_missing(app.save_asset(other, AssetDraft { id: Some(home), ..an_asset("x") }).await);
    is_missing(app.delete_asset(other, home).await);
    is_missing(app.asset_by_name(other, "Home").await);
    is_missing(app.authorize_entity(other, "ASSET", home, Use::Read).await);
    is_missing(app.show_asset(other, home, ShownTo::Everybody).await);
    let profile = app.default_asset_profile(admin).await.unwrap().id;
    is_missing(app.asset_profile(other, profile).await);
    is_missing(app.set_default_asset_profile(other, profile).await);
    is_missing(app.delete_asset_profile(other, profile).await);
    is_missing(app.save_asset(other, AssetDraft { profile: Some(profile), ..an_asset("x") }).await);
    assert_eq!(app.assets(other, AssetFilter::default(), &any_page()).await.unwrap().total_elements, 0);
    assert_eq!(app.assets_by_ids(other, &[home]).await.unwrap(), []);
    let theirs = made(app, other, "Theirs").await;
    let contains = arrow(asset(home), "Contains", device(*assigned));
    is_missing(app.relation(other, &contains).await);
    is_missing(app.delete_relation(other, &contains).await);
    is_missing(app.delete_relations(other, asset(home)).await);
    is_missing(app.relations(other, (Side::From, asset(home)), RelationGroup::Common, None).await);
    let across = arrow(asset(theirs), "Contains", device(*assigned));
    is_missing(app.save_relation(other, across.clone(), None, Value::Null).await);
    is_missing(app.save_relation(admin, across, None, Value::Null).await);
    assert_eq!(app.relation(admin, &contains).await.unwrap().version, 1);
}

#[tokio::test]
async fn relations_are_drawn_between_what_is_seen() {
    let World { app, admin, customer, assigned, unassigned, .. } = &world().await;
    let home = made(app, admin, "Home").await;
    let contains = arrow(asset(home), "Contains", device(*assigned));
    let first = app.save_relation(admin, contains.clone(), None, json!({"a": 1})).await.unwrap().value;
    let late = app.save_relation(admin, contains.clone(), Some(9), Value::Null).await;
    assert!(matches!(late, Err(Error::Conflict { kind: EntityKind::Relation, .. })), "{late:?}");
    let second = app.save_relation(admin, contains.clone(), Some(first.version), Value::Null).await.unwrap().value;
    assert_eq!((second.id, second.version), (first.id, 2));
    is_invalid(app.save_relation(admin, arrow(asset(home), " ", device(*assigned)), None, Value::Null).await, "type");
    let odd = End { kind: EntityKind::OtaPackage, id: home };
    is_invalid(app.save_relation(admin, arrow(odd, "x", device(*assigned)), None, Value::Null).await, "entityType");
    is_forbidden(app.save_relation(customer, contains.clone(), None, Value::Null).await);
    let own = customer.customer.unwrap();
    let of_customer = End { kind: EntityKind::Customer, id: own };
    draw(app, admin, of_customer, "Uses", device(*assigned)).await;
    draw(app, admin, of_customer, "Uses", device(*unassigned)).await;
    let seen = app.relations(customer, (Side::From, of_customer), RelationGroup::Common, None).await.unwrap();
    assert_eq!(seen.len(), 1, "of two devices one is assigned: {seen:?}");
    assert_eq!((seen[0].from_name.as_str(), seen[0].to_name.as_str()), ("Customer A", "Test Device A1"));
    is_missing(app.relation(customer, &contains).await);
    let into = app.relations(admin, (Side::To, device(*assigned)), RelationGroup::Common, Some("Contains")).await.unwrap();
    assert_eq!(into[0].from_name, "Home");
    app.delete_relation(admin, &contains).await.unwrap();
    is_missing(app.relation(admin, &contains).await);
    app.delete_relations(admin, of_customer).await.unwrap();
    assert_eq!(app.relations(admin, (Side::From, of_customer), RelationGroup::Common, None).await.unwrap(), []);
    let rows = audit::about(app.reader(), *unassigned, 1).await.unwrap();
    assert_eq!(rows[0].action, "RELATION_ADD_OR_UPDATE");
}

#[tokio::test]
async fn a_walk_goes_level_by_level_and_ends_in_circles() {
    let World { app, admin, assigned, unassigned, .. } = &world().await;
    let mut ids = Vec::new();
    for name in ["root", "left", "right", "leaf"] {
        ids.push(asset(made(app, admin, name).await));
    }
    let [root, left, right, leaf] = ids[..] else { unreachable!() };
    draw(app, admin, root, "Contains", left).await;
    draw(app, admin, root, "Contains", right).await;
    draw(app, admin, left, "Contains", leaf).await;
    draw(app, admin, leaf, "Contains", root).await;
    draw(app, admin, left, "Manages", device(*assigned)).await;
    draw(app, admin, leaf, "Contains", device(*unassigned)).await;
    let walk = RelationQuery {
        root,
        side: Side::From,
        group: RelationGroup::Common,
        levels: None,
        last_level_only: false,
        filters: Vec::new(),
    };
    let check = async |query: RelationQuery, expected: &[&str]| {
        let found = app.walk(admin, query.clone()).await.unwrap();
        let mut names: Vec<String> = found.iter().map(|one| format!("{}>{}", one.from_name, one.to_name)).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{query:?}");
    };
    let all = ["leaf>Test Device A2", "leaf>root", "left>Test Device A1", "left>leaf", "root>left", "root>right"];
    check(walk.clone(), &all).await;
    check(RelationQuery { levels: Some(1), ..walk.clone() }, &["root>left", "root>right"]).await;
    check(
        RelationQuery { levels: Some(2), last_level_only: true, ..walk.clone() },
        &["left>Test Device A1", "left>leaf", "root>right"],
    )
    .await;
    let ends = ["leaf>Test Device A2", "left>Test Device A1", "root>right"];
    check(RelationQuery { last_level_only: true, ..walk.clone() }, &ends).await;
    let devices = RelationFilter { entity_kinds: vec![EntityKind::Device], ..RelationFilter::default() };
    check(RelationQuery { filters: vec![devices.clone()], ..walk.clone() }, &["leaf>Test Device A2", "left>Test Device A1"])
        .await;
    let managed = RelationFilter { kind: Some("Manages".to_owned()), ..devices };
    check(RelationQuery { filters: vec![managed.clone()], ..walk.clone() }, &["left>Test Device A1"]).await;
    let others = RelationFilter { negate: true, ..managed };
    check(RelationQuery { filters: vec![others], ..walk.clone() }, &["leaf>Test Device A2"]).await;
    let up = RelationQuery { root: device(*unassigned), side: Side::To, levels: Some(2), ..walk.clone() };
    check(up, &["leaf>Test Device A2", "left>leaf"]).await;
    let reached = app.reached(admin, RelationQuery { levels: Some(2), ..walk }).await.unwrap();
    assert_eq!(reached, [left, right, leaf, device(*assigned)]);
}

#[tokio::test]
async fn a_gateway_is_related_to_the_devices_it_made() {
    let World { app, admin, unassigned, .. } = &world().await;
    let draft = DeviceDraft { id: Some(*unassigned), additional_info: json!({"gateway": true}), ..a_device("Gate") };
    app.save_device(admin, draft, None).await.unwrap();
    let child = app.child(*unassigned, "Child", "default").await.unwrap();
    assert_eq!(app.child(*unassigned, "Child", "default").await.unwrap(), child);
    let found = app.relations(admin, (Side::From, device(*unassigned)), RelationGroup::Common, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].relation.arrow.kind.as_str(), found[0].to_name.as_str()), ("Created", "Child"));
    app.delete_device(admin, child).await.unwrap();
    assert_eq!(app.relations(admin, (Side::From, device(*unassigned)), RelationGroup::Common, None).await.unwrap(), []);
}
