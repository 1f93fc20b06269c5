//! The application from the caller's side: walls between tenants and customers, versions, sign-in, seeding.

mod announcing;
mod arrival;
mod assets;
mod chains;
mod identity;
mod wishes;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::{App, Use},
    domain::{
        AuditFilter, AuditSubject, Authority, CallDraft, CredentialDraft, CustomerDraft, DeviceDraft, DeviceFilter, EntityKind,
        EntityQuery, NULL_UUID, PackageDraft, PackageFilter, PackageKind, PageLink, ProfileDraft, RuleChainDraft, Selector,
        TenantDraft, UserDraft,
    },
    entity::{audit, pushed},
    error::{Error, StartError},
    settings::Settings,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) fn settings(data_dir: &std::path::Path, demo: bool) -> Settings {
    let any = "127.0.0.1:0".parse().unwrap();
    Settings {
        data_dir: data_dir.to_owned(),
        database_url: None,
        http_listen: any,
        grpc_listen: any,
        join_token: "join".to_owned(),
        grpc_tls: None,
        query_tls_ca: None,
        access_token_s: 9_000,
        refresh_token_s: 604_800,
        package_bytes_max: 1 << 20,
        pack_devices: 2,
        pack_interval_s: 60,
        demo,
    }
}

/// A demo installation with a second tenant, "B", that has a customer, a user of each authority and a device.
struct World {
    app: Arc<App>,
    directory: tempfile::TempDir,
    system: Caller,
    admin: Caller,
    customer: Caller,
    other: Caller,
    /// "Test Device A1", assigned to the customer, and "Test Device A2", which is not.
    assigned: Uuid,
    unassigned: Uuid,
}

async fn sign_in(app: &App, name: &str, password: &str) -> Caller {
    let pair = app.login(name, password, HERE).await.unwrap();
    app.caller(&pair.token).await.unwrap()
}

fn any_page() -> PageLink {
    PageLink::new(100, 0).unwrap()
}

fn a_user(email: &str, authority: Authority) -> UserDraft {
    UserDraft {
        id: None,
        version: None,
        tenant: None,
        customer: None,
        email: email.to_owned(),
        authority,
        first_name: None,
        last_name: None,
        phone: None,
        additional_info: json!({}),
    }
}

fn token(text: &str) -> CredentialDraft {
    CredentialDraft::Token(text.to_owned())
}

fn a_package() -> PackageDraft {
    PackageDraft {
        id: None,
        profile: None,
        kind: PackageKind::Firmware,
        title: "T".to_owned(),
        release: "1".to_owned(),
        tag: None,
        url: None,
        additional_info: json!({}),
    }
}

fn a_device(name: &str) -> DeviceDraft {
    DeviceDraft { name: name.to_owned(), ..DeviceDraft::default() }
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), true);
    let app = App::open(&settings).await.unwrap();
    app.seed(&settings).await.unwrap();
    let system = sign_in(&app, "sysadmin@thingsboard.org", "sysadmin").await;
    let admin = sign_in(&app, "Tenant@ThingsBoard.org", "tenant").await;
    let customer = sign_in(&app, "customer@thingsboard.org", "customer").await;
    let tenant = TenantDraft { title: "B".to_owned(), ..TenantDraft::default() };
    let tenant = app.save_tenant(&system, tenant).await.unwrap().value;
    let draft = UserDraft { tenant: Some(tenant.id), ..a_user("b@example.org", Authority::TenantAdmin) };
    let user = app.save_user(&system, draft).await.unwrap().value;
    let token = app.activation_token(&system, user.id).await.unwrap();
    let pair = app.activate(&token, "b-secret", HERE).await.unwrap();
    let other = app.caller(&pair.token).await.unwrap();
    let assigned = app.device_by_name(&admin, "test device a1").await.unwrap().id;
    let unassigned = app.device_by_name(&admin, "Test Device A2").await.unwrap().id;
    World { app, directory, system, admin, customer, other, assigned, unassigned }
}

fn is_missing<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::NotFound { .. } | Error::Missing(_))), "{outcome:?}");
}

fn is_forbidden<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::Forbidden)), "{outcome:?}");
}

fn is_invalid<T: std::fmt::Debug>(outcome: Result<T, Error>, named: &str) {
    assert!(matches!(&outcome, Err(Error::Invalid(invalid)) if invalid.field == named), "{outcome:?}");
}

/// One tenant can never see or touch another's rows: every call with a foreign id is "not found", every list is empty of it.
#[tokio::test]
async fn another_tenant_sees_nothing() {
    let World { app, admin, other, assigned, .. } = &world().await;
    let customer = app.customers(admin, &any_page()).await.unwrap().data[0].id;
    let profile = app.default_profile(admin).await.unwrap().id;
    let chain = app.chains(admin, &any_page()).await.unwrap().data[0].id;
    let user = app.users(admin, &any_page()).await.unwrap().data[0].id;
    is_missing(app.tenant(other, admin.tenant.unwrap()).await);
    is_missing(app.device(other, *assigned).await);
    is_missing(app.device_info(other, *assigned).await);
    is_missing(app.device_by_name(other, "Test Device A1").await);
    is_missing(app.credential(other, *assigned).await);
    is_missing(app.save_credential(other, *assigned, token("STOLEN"), None).await);
    is_missing(app.save_device(other, DeviceDraft { id: Some(*assigned), ..a_device("x") }, None).await);
    is_missing(app.delete_device(other, *assigned).await);
    is_missing(app.assign_device(other, *assigned, customer).await);
    is_missing(app.unassign_device(other, *assigned).await);
    is_missing(app.customer(other, customer).await);
    is_missing(app.delete_customer(other, customer).await);
    is_missing(app.customer_users(other, customer, &any_page()).await);
    let draft = CustomerDraft { id: Some(customer), title: "x".to_owned(), ..CustomerDraft::default() };
    is_missing(app.save_customer(other, draft).await);
    is_missing(app.profile(other, profile).await);
    is_missing(app.delete_profile(other, profile).await);
    is_missing(app.set_default_profile(other, profile).await);
    is_missing(app.save_device(other, DeviceDraft { profile: Some(profile), ..a_device("x") }, None).await);
    let draft = ProfileDraft { name: "x".to_owned(), chain: Some(chain), ..ProfileDraft::default() };
    is_missing(app.save_profile(other, draft).await);
    is_missing(app.chain(other, chain).await);
    is_missing(app.chain_metadata(other, chain).await);
    is_missing(app.save_chain_metadata(other, chain, None, json!({"nodes": []})).await);
    is_missing(app.set_root_chain(other, chain).await);
    is_missing(app.delete_chain(other, chain).await);
    is_missing(app.user(other, user).await);
    is_missing(app.delete_user(other, user).await);
    is_missing(app.set_user_enabled(other, user, false).await);
    is_missing(app.activation_token(other, user).await);
    let draft = UserDraft { customer: Some(customer), ..a_user("spy@example.org", Authority::CustomerUser) };
    is_missing(app.save_user(other, draft).await);
    for wanted in [Use::Read, Use::Write] {
        is_missing(app.authorize_entity(other, "DEVICE", *assigned, wanted).await);
        is_missing(app.authorize_entity(other, "TENANT", admin.tenant.unwrap(), wanted).await);
        is_missing(app.authorize_entity(other, "CUSTOMER", customer, wanted).await);
        is_missing(app.authorize_entity(other, "USER", user, wanted).await);
    }
    let everything =
        EntityQuery { kinds: vec![EntityKind::Device], selector: Selector::All, filters: Vec::new(), any: false, search: None };
    assert_eq!(app.count_entities(other, everything).await.unwrap(), 0);
    for subject in [AuditSubject::Everything, AuditSubject::User(admin.user), AuditSubject::Customer(customer)] {
        let filter = AuditFilter { subject, from_ms: None, to_ms: None, actions: Vec::new() };
        let lines = app.audit_lines(other, &filter, &any_page()).await.unwrap().data;
        assert!(lines.iter().all(|line| line.tenant == other.tenant), "{lines:?}");
    }
    is_forbidden(app.tenants(other, &any_page()).await);
    is_forbidden(app.instances(other).map(|_| ()));
    let link = any_page();
    assert_eq!(app.devices(other, DeviceFilter::default(), &link).await.unwrap().total_elements, 0);
    let of_customer = DeviceFilter { customer: Some(customer), ..DeviceFilter::default() };
    assert_eq!(app.devices(other, of_customer, &link).await.unwrap().total_elements, 0);
    assert_eq!(app.devices_by_ids(other, &[*assigned]).await.unwrap(), []);
    assert_eq!(app.customers(other, &link).await.unwrap().total_elements, 0);
    let users = app.users(other, &link).await.unwrap();
    assert_eq!(users.data.iter().map(|user| user.email.as_str()).collect::<Vec<_>>(), ["b@example.org"]);
    assert_eq!(app.profiles(other, None, &link).await.unwrap().total_elements, 1);
    assert_eq!(app.chains(other, &link).await.unwrap().total_elements, 1);
    // Nothing above changed anything.
    assert_eq!(app.credential(admin, *assigned).await.unwrap().shown.id(), "A1_TEST_TOKEN");
}

#[tokio::test]
async fn another_tenant_sees_no_package_and_no_call() {
    let World { app, admin, other, assigned, .. } = &world().await;
    let profile = app.default_profile(admin).await.unwrap().id;
    let draft = PackageDraft { profile: Some(profile), ..a_package() };
    let package = app.save_package(admin, draft.clone()).await.unwrap().id;
    is_missing(app.save_package(other, draft).await);
    is_missing(app.save_package(other, PackageDraft { id: Some(package), ..a_package() }).await);
    is_missing(app.package(other, package).await);
    is_missing(app.download_package(other, package).await.map(|_| ()));
    is_missing(app.delete_package(other, package).await);
    is_missing(app.save_device(other, DeviceDraft { firmware: Some(package), ..a_device("x") }, None).await);
    is_missing(app.call_device(other, *assigned, CallDraft { method: "m".to_owned(), ..CallDraft::default() }).await);
    is_missing(app.stored_calls(other, *assigned, None, &any_page()).await);
    is_missing(app.standing(other, *assigned).await);
    assert_eq!(app.packages(other, &PackageFilter::default(), &any_page()).await.unwrap().total_elements, 0);
}

#[tokio::test]
async fn a_customer_user_sees_its_own_customer() {
    let World { app, admin, customer, assigned, unassigned, .. } = &world().await;
    assert_eq!(app.device(customer, *assigned).await.unwrap().name, "Test Device A1");
    is_missing(app.device(customer, *unassigned).await);
    is_missing(app.device_by_name(customer, "Test Device A2").await);
    is_missing(app.credential(customer, *unassigned).await);
    assert_eq!(app.credential(customer, *assigned).await.unwrap().shown.id(), "A1_TEST_TOKEN");
    let page = app.devices(customer, DeviceFilter::default(), &any_page()).await.unwrap();
    assert_eq!(page.data.iter().map(|info| info.device.id).collect::<Vec<_>>(), [*assigned]);
    assert_eq!(page.data[0].customer_title.as_deref(), Some("Customer A"));
    assert_eq!(app.devices_by_ids(customer, &[*assigned, *unassigned]).await.unwrap().len(), 1);
    is_forbidden(app.save_device(customer, a_device("mine"), None).await);
    is_forbidden(app.delete_device(customer, *assigned).await);
    is_forbidden(app.save_credential(customer, *assigned, token("X"), None).await);
    is_forbidden(app.customers(customer, &any_page()).await);
    is_forbidden(app.chains(customer, &any_page()).await);
    is_forbidden(app.save_user(customer, a_user("x@y", Authority::CustomerUser)).await);
    is_missing(app.user(customer, admin.user).await);
    assert_eq!(app.user(customer, customer.user).await.unwrap().email, "customer@thingsboard.org");
    for wanted in [Use::Read, Use::Write] {
        let entity = app.authorize_entity(customer, "DEVICE", *assigned, wanted).await.unwrap();
        assert_eq!((entity.kind, Some(entity.tenant)), (EntityKind::Device, admin.tenant));
        is_missing(app.authorize_entity(customer, "DEVICE", *unassigned, wanted).await);
        is_forbidden(app.authorize_entity(customer, "TENANT", admin.tenant.unwrap(), wanted).await);
    }
    let own = customer.customer.unwrap();
    app.authorize_entity(customer, "CUSTOMER", own, Use::Read).await.unwrap();
    is_forbidden(app.authorize_entity(customer, "CUSTOMER", own, Use::Write).await);
    app.unassign_device(admin, *assigned).await.unwrap();
    is_missing(app.device(customer, *assigned).await);
    app.assign_device(admin, *unassigned, own).await.unwrap();
    assert_eq!(app.device(customer, *unassigned).await.unwrap().customer, Some(own));
}

#[tokio::test]
async fn a_system_administrator_stays_outside_of_tenants() {
    let World { app, system, admin, assigned, .. } = &world().await;
    is_forbidden(app.device(system, *assigned).await);
    is_forbidden(app.devices(system, DeviceFilter::default(), &any_page()).await);
    is_forbidden(app.authorize_entity(system, "DEVICE", *assigned, Use::Read).await);
    assert_eq!(app.tenants(system, &any_page()).await.unwrap().total_elements, 2);
    assert_eq!(app.tenant_admins(system, admin.tenant.unwrap(), &any_page()).await.unwrap().total_elements, 1);
    assert_eq!(app.instances(system).unwrap(), []);
    is_invalid(app.authorize_entity(admin, "RULE_CHAIN", *assigned, Use::Read).await, "entityType");
    is_invalid(app.authorize_entity(admin, "TEAPOT", *assigned, Use::Read).await, "entityType");
    let own = app.authorize_entity(system, "USER", system.user, Use::Write).await.unwrap();
    assert_eq!(own.tenant, NULL_UUID);
}

#[tokio::test]
async fn an_older_version_is_a_conflict() {
    let World { app, admin, assigned, .. } = &world().await;
    let read = app.device(admin, *assigned).await.unwrap();
    let draft = |version, name| DeviceDraft { id: Some(*assigned), version, ..a_device(name) };
    let saved = app.save_device(admin, draft(Some(read.version), "first"), None).await.unwrap().value;
    assert_eq!((saved.version, saved.customer), (read.version + 1, read.customer));
    let late = app.save_device(admin, draft(Some(read.version), "second"), None).await;
    let Err(Error::Conflict { kind: EntityKind::Device, sent, stored }) = late else { panic!("{late:?}") };
    assert_eq!((sent, stored), (read.version, saved.version));
    assert_eq!(app.save_device(admin, draft(None, "third"), None).await.unwrap().value.name, "third");
    let credential = app.credential(admin, *assigned).await.unwrap();
    app.save_credential(admin, *assigned, token("NEW"), Some(credential.version)).await.unwrap();
    let late = app.save_credential(admin, *assigned, token("NEWER"), Some(credential.version)).await;
    assert!(matches!(late, Err(Error::Conflict { kind: EntityKind::Credential, .. })), "{late:?}");
    assert_eq!(app.credential(admin, *assigned).await.unwrap().shown.id(), "NEW");
}

#[tokio::test]
async fn devices_are_made_with_type_profile_and_token() {
    let World { app, admin, assigned, .. } = &world().await;
    let made = app.save_device(admin, a_device("plain"), None).await.unwrap();
    assert!(!made.applied, "no data plane is connected");
    assert_eq!(made.value.kind, "default");
    let made_up = app.credential(admin, made.value.id).await.unwrap().shown.id();
    assert!(made_up.len() == 20 && made_up.chars().all(|letter| letter.is_ascii_alphanumeric()), "{made_up}");
    let typed = DeviceDraft { kind: Some("meter".to_owned()), ..a_device("typed") };
    let typed = app.save_device(admin, typed, Some(token("MY_TOKEN"))).await.unwrap().value;
    assert_eq!(app.credential(admin, typed.id).await.unwrap().shown.id(), "MY_TOKEN");
    assert_eq!(app.profile(admin, typed.profile).await.unwrap().name, "meter");
    let again = DeviceDraft { kind: Some("METER".to_owned()), ..a_device("again") };
    assert_eq!(app.save_device(admin, again, None).await.unwrap().value.profile, typed.profile);
    let renamed = ProfileDraft { id: Some(typed.profile), name: "gauge".to_owned(), ..ProfileDraft::default() };
    app.save_profile(admin, renamed).await.unwrap();
    assert_eq!(app.device(admin, typed.id).await.unwrap().kind, "gauge");
    assert!(matches!(app.delete_profile(admin, typed.profile).await, Err(Error::Refused(_))), "devices have it");
    let filter = DeviceFilter { kind: Some("gauge".to_owned()), ..DeviceFilter::default() };
    assert_eq!(app.devices(admin, filter, &any_page()).await.unwrap().total_elements, 2);
    is_invalid(app.save_device(admin, a_device(" "), None).await, "name");
    let taken = app.save_device(admin, a_device("x"), Some(token("A1_TEST_TOKEN"))).await;
    assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::Credential, .. })), "{taken:?}");
    is_missing(app.device_by_name(admin, "x").await);
    let taken = app.save_device(admin, a_device("test device a1"), None).await;
    assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::Device, field: "name" })), "{taken:?}");
    app.delete_device(admin, *assigned).await.unwrap();
    is_missing(app.credential(admin, *assigned).await);
    let rows = audit::about(app.reader(), *assigned, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["DELETED", "ADDED"]);
    assert_eq!(rows[0].user_name, "tenant@thingsboard.org");
}

#[tokio::test]
async fn people_sign_in_change_passwords_and_are_shut_out() {
    let World { app, system, admin, .. } = &world().await;
    for (name, password) in [("tenant@thingsboard.org", "wrong"), ("nobody@thingsboard.org", "tenant"), ("", "")] {
        let refused = app.login(name, password, HERE).await;
        assert!(matches!(refused, Err(Error::Unauthenticated("Invalid username or password"))), "{refused:?}");
    }
    let pair = app.login("tenant@thingsboard.org", "tenant", HERE).await.unwrap();
    assert!(matches!(app.caller(&pair.refresh_token).await, Err(Error::Unauthenticated(_))));
    assert!(matches!(app.refresh(&pair.token).await, Err(Error::Unauthenticated(_))));
    let again = app.refresh(&pair.refresh_token).await.unwrap();
    assert_eq!(app.caller(&again.token).await.unwrap(), *admin);
    is_invalid(app.change_password(admin, "wrong", "new-secret", HERE).await, "currentPassword");
    is_invalid(app.change_password(admin, "tenant", "short", HERE).await, "newPassword");
    // Tokens count in seconds: one of the same second as the change is as good as one from after it.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let fresh = app.change_password(admin, "tenant", "new-secret", HERE).await.unwrap();
    assert!(app.caller(&fresh.token).await.is_ok());
    assert!(matches!(app.caller(&pair.token).await, Err(Error::Unauthenticated(_))), "older tokens end");
    assert!(matches!(app.refresh(&pair.refresh_token).await, Err(Error::Unauthenticated(_))));
    app.set_user_enabled(system, admin.user, false).await.unwrap();
    assert!(matches!(app.caller(&fresh.token).await, Err(Error::Unauthenticated(_))), "a disabled user is out at once");
    assert!(matches!(app.login("tenant@thingsboard.org", "new-secret", HERE).await, Err(Error::Unauthenticated(_))));
    assert!(matches!(app.set_user_enabled(system, system.user, false).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn an_activation_link_works_once() {
    let World { app, system, admin, customer, .. } = &world().await;
    let draft = UserDraft { customer: customer.customer, ..a_user("New@Example.org", Authority::CustomerUser) };
    let user = app.save_user(admin, draft.clone()).await.unwrap().value;
    assert_eq!((user.email.as_str(), user.enabled, user.tenant), ("new@example.org", false, admin.tenant));
    let taken = app.save_user(admin, draft).await;
    assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::User, field: "email" })), "{taken:?}");
    let token = app.activation_token(admin, user.id).await.unwrap();
    assert_eq!(app.activation_token(admin, user.id).await.unwrap(), token, "the same link while it works");
    is_missing(app.activate("", "secret", HERE).await);
    is_missing(app.activate("guess", "secret", HERE).await);
    is_invalid(app.activate(&token, "x", HERE).await, "password");
    let pair = app.activate(&token, "secret", HERE).await.unwrap();
    assert_eq!(app.caller(&pair.token).await.unwrap().customer, customer.customer);
    is_missing(app.activate(&token, "another", HERE).await);
    assert!(matches!(app.activation_token(admin, user.id).await, Err(Error::Refused(_))));
    is_forbidden(app.save_user(admin, a_user("root@example.org", Authority::SysAdmin)).await);
    is_forbidden(app.save_user(system, a_user("c@example.org", Authority::CustomerUser)).await);
    is_invalid(app.save_user(system, a_user("t@example.org", Authority::TenantAdmin)).await, "tenantId");
    is_invalid(app.save_user(admin, a_user("no mail", Authority::TenantAdmin)).await, "email");
    app.delete_user(admin, user.id).await.unwrap();
    assert!(matches!(app.caller(&pair.token).await, Err(Error::Unauthenticated(_))));
}

#[tokio::test]
async fn chains_are_checked_and_have_one_root() {
    let World { app, admin, .. } = &world().await;
    let root = app.chains(admin, &any_page()).await.unwrap().data.remove(0);
    assert!(root.root && root.first_node.is_some());
    let metadata = app.chain_metadata(admin, root.id).await.unwrap();
    assert_eq!(metadata["ruleChainId"], json!({"entityType": "RULE_CHAIN", "id": root.id}));
    assert_eq!(metadata["version"], 1);
    let nodes = metadata["nodes"].as_array().unwrap();
    assert!(!nodes.is_empty() && nodes.iter().all(|node| node["id"]["id"].is_string()));
    // What was read can be saved as it is, and again; the ids of nodes stay.
    let saved = app.save_chain_metadata(admin, root.id, Some(1), metadata.clone()).await.unwrap().value;
    assert_eq!((&saved["nodes"], &saved["version"]), (&metadata["nodes"], &json!(2)));
    let late = app.save_chain_metadata(admin, root.id, Some(1), metadata).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    let broken =
        json!({"firstNodeIndex": 7, "nodes": [{"type": "no.such.Node", "name": "n"}, {"type": "nor.This", "name": "m"}]});
    let refused = app.save_chain_metadata(admin, root.id, None, broken).await;
    let Err(Error::Invalid(invalid)) = &refused else { panic!("{refused:?}") };
    assert!(invalid.rule.contains("nodes[0]") && invalid.rule.contains("nodes[1]"), "all problems at once: {invalid}");
    for broken in [Value::Null, json!([]), json!("x"), json!({"nodes": 7})] {
        is_invalid(app.save_chain_metadata(admin, root.id, None, broken).await, "metadata");
    }
    let draft = RuleChainDraft { name: "Second".to_owned(), ..RuleChainDraft::default() };
    let second = app.save_chain(admin, draft).await.unwrap().value;
    assert!(matches!(app.delete_chain(admin, root.id).await, Err(Error::Refused(_))));
    app.set_root_chain(admin, second.id).await.unwrap();
    assert!(!app.chain(admin, root.id).await.unwrap().root);
    let draft = ProfileDraft { name: "uses it".to_owned(), chain: Some(root.id), ..ProfileDraft::default() };
    let profile = app.save_profile(admin, draft).await.unwrap().value;
    assert!(matches!(app.delete_chain(admin, root.id).await, Err(Error::Refused(_))), "a profile uses it");
    assert!(matches!(app.delete_profile(admin, app.default_profile(admin).await.unwrap().id).await, Err(Error::Refused(_))));
    app.delete_profile(admin, profile.id).await.unwrap();
    app.delete_chain(admin, root.id).await.unwrap();
}

#[tokio::test]
async fn deleting_takes_along_what_hangs_on_it() {
    let World { app, system, admin, customer, assigned, other, .. } = &world().await;
    app.delete_customer(admin, customer.customer.unwrap()).await.unwrap();
    assert_eq!(app.device(admin, *assigned).await.unwrap().customer, None, "devices stay");
    let gone = app.login("customer@thingsboard.org", "customer", HERE).await;
    assert!(matches!(gone, Err(Error::Unauthenticated(_))), "users go");
    is_forbidden(app.delete_tenant(other, admin.tenant.unwrap()).await);
    app.delete_tenant(system, admin.tenant.unwrap()).await.unwrap();
    let left = app.tenants(system, &any_page()).await.unwrap();
    assert_eq!(left.data.iter().map(|tenant| tenant.title.as_str()).collect::<Vec<_>>(), ["B"]);
    // The installation, and tenant B with its root chain and default profile.
    assert_eq!(pushed::count(app.reader()).await.unwrap(), 4);
}

#[tokio::test]
async fn a_database_is_seeded_once_and_never_made_a_demo() {
    let directory = tempfile::tempdir().unwrap();
    let plain = settings(directory.path(), false);
    let app = App::open(&plain).await.unwrap();
    let notes = app.seed(&plain).await.unwrap().notes;
    let path = directory.path().join("initial-password");
    let password = std::fs::read_to_string(&path).unwrap();
    assert!(notes[0].contains(password.trim()) && notes[1].contains("initial-password"), "{notes:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let caller = sign_in(&app, "sysadmin@thingsboard.org", password.trim()).await;
    assert_eq!(caller.authority, Authority::SysAdmin);
    assert_eq!(app.seed(&plain).await.unwrap().notes, Vec::<String>::new());
    let refused = app.seed(&settings(directory.path(), true)).await;
    assert!(matches!(refused, Err(StartError::DemoRefused)), "{refused:?}");

    let World { app, directory, admin, .. } = &world().await;
    let notes = app.seed(&settings(directory.path(), true)).await.unwrap().notes;
    assert!(notes[0].contains("NOT FOR PRODUCTION"), "{notes:?}");
    assert_eq!(app.devices(admin, DeviceFilter::default(), &any_page()).await.unwrap().total_elements, 3);
}
