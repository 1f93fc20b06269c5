//! What rule nodes want: granted within the message's tenant, once however often it is wanted, and written down.

use schemas::chain::wish::{Named, Relate};
use schemas::chain::{EntityType, Side, Wish};
use schemas::config;
use schemas::id::{EntityId, TenantId};
use schemas::wish::{Granted, Wished};

use super::*;
use crate::{
    domain::{Arrow, AssetDraft, End, RelationGroup},
    feed::{Instance, Joined},
};

fn device(id: Uuid) -> config::End {
    config::End { kind: EntityType::Device, id: EntityId(id) }
}

fn named(kind: EntityType, name: &str) -> Named {
    Named { kind, name: name.to_owned() }
}

/// The originator's relation "Contains" to something of this name.
fn contains(with: Named) -> Relate {
    Relate { inward: false, kind: "Contains".to_owned(), with, create: None, alone: false, becomes: false }
}

/// A data plane that runs with everything, whatever it is.
fn data_plane(app: &App) -> Joined {
    let text = || "d".to_owned();
    let instance = Instance {
        instance_id: text(),
        query_endpoint: text(),
        device_endpoint: text(),
        shards: 1,
        version: text(),
        connected: true,
        applied_epoch: String::new(),
        applied_revision: 0,
        refused: Vec::new(),
    };
    let joined = app.registry().join(instance).unwrap();
    joined.applied(app.feed().epoch().to_string(), u64::MAX, Vec::new());
    joined
}

async fn grant(app: &App, of: &Caller, originator: Uuid, wish: Wish) -> Result<Granted, Error> {
    let tenant = TenantId(of.tenant.unwrap());
    app.grant(Wished { tenant, originator: device(originator), wish }).await
}

async fn lines(app: &App, of: &Caller) -> usize {
    let filter = AuditFilter { subject: AuditSubject::Everything, from_ms: None, to_ms: None, actions: Vec::new() };
    let page = app.audit_lines(of, &filter, &PageLink::new(1_000, 0).unwrap()).await.unwrap();
    page.data.iter().filter(|line| line.user_name == "Rule engine").count()
}

async fn contained(app: &App, caller: &Caller, id: Uuid) -> Vec<String> {
    let end = End { kind: EntityKind::Device, id };
    let found = app.relations(caller, (crate::domain::Side::From, end), RelationGroup::Common, Some("Contains")).await;
    found.unwrap().into_iter().map(|relation| relation.to_name).collect()
}

#[tokio::test]
async fn devices_and_assets_are_assigned() {
    let World { app, admin, customer, assigned, unassigned, .. } = &world().await;
    let _plane = data_plane(app);
    let to = |title: &str, create| Wish::Assign { customer: title.to_owned(), create };
    let nobody = grant(app, admin, *unassigned, to("Nobody", false)).await.unwrap_err().to_string();
    assert_eq!(nobody, "Customer with title 'Nobody' doesn't exist!");
    for _ in 0..2 {
        grant(app, admin, *unassigned, to("customer a", false)).await.unwrap();
        assert_eq!(app.device(admin, *unassigned).await.unwrap().customer, customer.customer);
        assert_eq!(lines(app, admin).await, 1, "it was so already");
    }
    grant(app, admin, *unassigned, to("New", true)).await.unwrap();
    let made = app.customers(admin, &any_page()).await.unwrap().data.into_iter().find(|made| made.title == "New").unwrap();
    assert_eq!(app.device(admin, *unassigned).await.unwrap().customer, Some(made.id));
    let asset = app.save_asset(admin, AssetDraft { name: "Hall".to_owned(), ..AssetDraft::default() }).await.unwrap().value;
    let originator = config::End { kind: EntityType::Asset, id: EntityId(asset.id) };
    let wished = Wished { tenant: TenantId(admin.tenant.unwrap()), originator, wish: to("New", true) };
    app.grant(wished).await.unwrap();
    assert_eq!(app.asset(admin, asset.id).await.unwrap().customer, Some(made.id));
    for _ in 0..2 {
        grant(app, admin, *assigned, Wish::Unassign).await.unwrap();
        assert_eq!(app.device(admin, *assigned).await.unwrap().customer, None);
    }
    let public = grant(app, admin, *assigned, to("Public", true)).await.unwrap_err();
    assert!(matches!(public, Error::Refused(_)), "a title that people may not take either: {public:?}");
}

#[tokio::test]
async fn relations_are_drawn_and_erased() {
    let World { app, admin, unassigned, .. } = &world().await;
    let _plane = data_plane(app);
    let own = *unassigned;
    let hall = contains(named(EntityType::Asset, "Hall"));
    let missing = grant(app, admin, own, Wish::Relate(hall.clone())).await.unwrap_err().to_string();
    assert_eq!(missing, "Asset with name 'Hall' doesn't exist!");
    let create = Wish::Relate(Relate { create: Some("building".to_owned()), ..hall.clone() });
    let made = grant(app, admin, own, create.clone()).await.unwrap();
    let asset = app.asset_by_name(admin, "Hall").await.unwrap();
    assert_eq!((asset.kind.as_str(), made.entity.unwrap().id.0), ("building", asset.id));
    let written = lines(app, admin).await;
    assert_eq!(grant(app, admin, own, create).await.unwrap(), made);
    assert_eq!(lines(app, admin).await, written, "it was so already");
    for (kind, name, create) in [(EntityType::Device, "Sensor", Some("meter")), (EntityType::Customer, "Customer A", None)] {
        let create = create.map(str::to_owned);
        grant(app, admin, own, Wish::Relate(Relate { create, ..contains(named(kind, name)) })).await.unwrap();
    }
    assert_eq!(contained(app, admin, own).await, ["Hall", "Sensor", "Customer A"]);
    assert_eq!(app.device_by_name(admin, "Sensor").await.unwrap().kind, "meter");
    let knows = |email: &str| Wish::Relate(Relate { kind: "Knows".to_owned(), ..contains(named(EntityType::User, email)) });
    let user = grant(app, admin, own, knows("Tenant@thingsboard.org")).await.unwrap().entity.unwrap();
    assert_eq!(user.id.0, admin.user);
    let foreign = grant(app, admin, own, knows("b@example.org")).await.unwrap_err().to_string();
    assert_eq!(foreign, "User with email 'b@example.org' doesn't exist!");
    let only = |with: Option<Named>| Wish::Unrelate { inward: false, kind: "Contains".to_owned(), with };
    for _ in 0..2 {
        grant(app, admin, own, only(Some(named(EntityType::Device, "Sensor")))).await.unwrap();
        assert_eq!(contained(app, admin, own).await, ["Hall", "Customer A"]);
    }
    let owner = named(EntityType::Tenant, "");
    grant(app, admin, own, Wish::Relate(Relate { alone: true, ..contains(owner) })).await.unwrap();
    assert_eq!(contained(app, admin, own).await.len(), 1, "the others are gone");
    grant(app, admin, own, Wish::Relate(Relate { inward: true, ..hall })).await.unwrap();
    let ends = |from, to| Arrow { from, to, kind: "Contains".to_owned(), group: RelationGroup::Common };
    let end = |kind, id| End { kind, id };
    let inward = ends(end(EntityKind::Asset, asset.id), end(EntityKind::Device, own));
    app.relation(admin, &inward).await.unwrap();
    grant(app, admin, own, only(None)).await.unwrap();
    assert_eq!(contained(app, admin, own).await, [""; 0]);
    app.relation(admin, &inward).await.unwrap();
    grant(app, admin, own, Wish::Unrelate { inward: true, kind: "Contains".to_owned(), with: None }).await.unwrap();
    is_missing(app.relation(admin, &inward).await);
}

#[tokio::test]
async fn names_and_credentials_are_told_and_nobody_leaves_his_tenant() {
    let World { app, admin, other, unassigned, .. } = &world().await;
    let device_named = |name: &str| Wish::Become(named(EntityType::Device, name));
    let away = grant(app, admin, *unassigned, device_named("Test Device A1")).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "no data plane could go on with it: {away:?}");
    let _plane = data_plane(app);
    let found = grant(app, admin, *unassigned, device_named("Test Device A2")).await.unwrap();
    assert_eq!(found.entity, Some(device(*unassigned)));
    let foreign = grant(app, other, *unassigned, device_named("Test Device A2")).await.unwrap_err().to_string();
    assert_eq!(foreign, "Failed to find device with name 'Test Device A2'!");
    let hall = Relate { create: Some("x".to_owned()), ..contains(named(EntityType::Asset, "Hall")) };
    is_missing(grant(app, other, *unassigned, Wish::Relate(hall)).await);
    is_missing(grant(app, other, *unassigned, Wish::Assign { customer: "Any".to_owned(), create: true }).await);
    is_missing(grant(app, other, *unassigned, Wish::Unassign).await);
    is_missing(grant(app, other, *unassigned, Wish::Credentials(Side::Data)).await);
    assert_eq!((lines(app, other).await, lines(app, admin).await), (0, 0), "a wish that is not granted leaves nothing");

    let shown = async |draft: CredentialDraft| {
        app.save_credential(admin, *unassigned, draft, None).await.unwrap();
        grant(app, admin, *unassigned, Wish::Credentials(Side::Data)).await.unwrap().credentials.unwrap()
    };
    let own = |kind: &str, json: Value| (kind.to_owned(), json.to_string());
    assert_eq!(shown(token("abc")).await, own("ACCESS_TOKEN", json!("abc")));
    let basic = CredentialDraft::Basic {
        client_id: Some("c".to_owned()),
        user_name: Some("u".to_owned()),
        password: Some("secret".to_owned()),
    };
    let masked = json!({"clientId": "c", "userName": "u", "password": "********"});
    assert_eq!(shown(basic).await, own("MQTT_BASIC", masked));
}
