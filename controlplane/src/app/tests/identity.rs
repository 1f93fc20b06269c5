//! What devices are let in by, what limits their tenant, and whom they belong to.

use super::*;
use crate::{
    app::{Claimed, Written},
    domain::{Column, Mapping, TenantProfileDraft, certificates, read_lines},
};

fn basic(client: Option<&str>, user: Option<&str>, password: Option<&str>) -> CredentialDraft {
    CredentialDraft::basic(client, user, password).unwrap()
}

#[tokio::test]
async fn a_device_shows_what_it_was_given_last() {
    let World { app, admin, assigned, unassigned, .. } = &world().await;
    let certificate = certificates::Authority::new("Root").device("pump");
    let certificate = CredentialDraft::read(Some("X509_CERTIFICATE"), None, Some(&certificates::pem(&certificate))).unwrap();
    let drafts =
        [basic(Some("c"), Some("u"), Some("p")), basic(None, Some("u"), None), basic(Some("c"), None, None), certificate];
    for draft in drafts {
        let saved = app.save_credential(admin, *assigned, draft.clone(), None).await.unwrap().value;
        assert_eq!(app.credential(admin, *assigned).await.unwrap(), saved);
        let taken = app.save_credential(admin, *unassigned, draft.clone(), None).await;
        assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::Credential, .. })), "{draft:?}: {taken:?}");
        let taken = app.save_device(admin, a_device("twin"), Some(draft)).await;
        assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::Credential, .. })), "{taken:?}");
    }
    // The other password of the same user is no other credential (reference 1.1): one device a user name.
    app.save_credential(admin, *assigned, basic(None, Some("u"), Some("p")), None).await.unwrap();
    let taken = app.save_credential(admin, *unassigned, basic(None, Some("u"), Some("q")), None).await;
    assert!(matches!(taken, Err(Error::Duplicate { .. })), "{taken:?}");
    // A mask stands for the password, as long as the rest stays.
    let before = app.credential(admin, *assigned).await.unwrap();
    let kept = app.save_credential(admin, *assigned, basic(None, Some("u"), Some("********")), None).await.unwrap().value;
    assert_eq!((kept.version, &kept.shown), (before.version + 1, &before.shown));
    is_invalid(app.save_credential(admin, *assigned, basic(None, Some("v"), Some("********")), None).await, "password");
    is_invalid(app.save_device(admin, a_device("x"), Some(basic(None, Some("w"), Some("********")))).await, "password");
    let rows = audit::about(app.reader(), *assigned, 1).await.unwrap();
    assert_eq!(rows[0].action, "CREDENTIALS_UPDATED");
}

#[tokio::test]
async fn lines_bring_credentials_of_every_kind() {
    let World { app, admin, .. } = &world().await;
    let columns = vec![Column::Name, Column::AccessToken, Column::MqttClientId, Column::MqttUserName, Column::MqttPassword];
    let mapping = Mapping { columns, delimiter: b',', header: false };
    let import = async |file: &str, update| {
        let lines = read_lines(file, &mapping).unwrap();
        app.import_devices(admin, lines, update).await.unwrap().value
    };
    let first = import("a,,c,u,p\nb,T,,,\nc,,,u2,\nd,,c,u,q\ne,A1_TEST_TOKEN,,,\n", false).await;
    assert_eq!((first.created, first.errors.len()), (3, 2), "{first:?}");
    assert!(first.errors[0].contains("twice") && first.errors[1].contains("Line 5"), "{first:?}");
    let shown = async |name: &str| {
        let id = app.device_by_name(admin, name).await.unwrap().id;
        app.credential(admin, id).await.unwrap()
    };
    let before = shown("a").await;
    // The same credentials are no change: a change would close the session.
    assert_eq!(import("a,,c,u,p\n", true).await.updated, 1);
    assert_eq!(shown("a").await, before);
    assert_eq!(import("a,,c,u,other\n", true).await.updated, 1);
    assert_ne!(shown("a").await.shown, before.shown);
    assert_eq!(import("a,,,,\n", true).await.updated, 1);
    assert_eq!(shown("a").await.shown.kind(), "MQTT_BASIC", "what is not said stays");
}

#[tokio::test]
async fn a_tenant_has_no_more_than_its_profile_allows() {
    let World { app, system, admin, other, .. } = &world().await;
    let data = json!({"configuration": {"maxDevices": 5, "maxCustomers": 2, "maxUsers": 3, "maxRuleChains": 2}});
    let draft = TenantProfileDraft { name: "Small".to_owned(), profile_data: data, ..TenantProfileDraft::default() };
    let small = app.save_tenant_profile(system, draft).await.unwrap().value;
    let stored = app.tenant(system, admin.tenant.unwrap()).await.unwrap();
    let draft =
        TenantDraft { id: Some(stored.id), title: stored.title.clone(), profile: Some(small.id), ..TenantDraft::default() };
    app.save_tenant(system, draft).await.unwrap();
    let full = |outcome: Result<(), Error>, of: EntityKind| {
        assert!(matches!(outcome, Err(Error::LimitReached(kind)) if kind == of), "{outcome:?}");
    };
    // The demo has three devices, one customer, two users and one chain.
    app.save_device(admin, a_device("fourth"), None).await.unwrap();
    let mapping = Mapping { columns: vec![Column::Name], delimiter: b',', header: false };
    let lines = read_lines("fifth\nsixth\nFourth\n", &mapping).unwrap();
    let imported = app.import_devices(admin, lines, true).await.unwrap().value;
    assert_eq!((imported.created, imported.updated), (1, 1), "{imported:?}");
    assert!(imported.errors[0].contains("Line 2: Devices limit reached"), "{imported:?}");
    full(app.save_device(admin, a_device("sixth"), None).await.map(drop), EntityKind::Device);
    let customer = |title: &str| CustomerDraft { title: title.to_owned(), ..CustomerDraft::default() };
    app.save_customer(admin, customer("second")).await.unwrap();
    full(app.save_customer(admin, customer("third")).await.map(drop), EntityKind::Customer);
    app.save_user(admin, a_user("third@example.org", Authority::TenantAdmin)).await.unwrap();
    full(app.save_user(admin, a_user("4@example.org", Authority::TenantAdmin)).await.map(drop), EntityKind::User);
    let chain = |name: &str| RuleChainDraft { name: name.to_owned(), ..RuleChainDraft::default() };
    app.save_chain(admin, chain("second")).await.unwrap();
    full(app.save_chain(admin, chain("third")).await.map(drop), EntityKind::RuleChain);
    // Another tenant is not bound, and what is there can be changed.
    app.save_device(other, a_device("its own"), None).await.unwrap();
    let known = app.device_by_name(admin, "fourth").await.unwrap();
    app.save_device(admin, DeviceDraft { id: Some(known.id), ..a_device("renamed") }, None).await.unwrap();
    app.delete_device(admin, known.id).await.unwrap();
    app.save_device(admin, a_device("sixth"), None).await.unwrap();
}

#[tokio::test]
async fn tenant_profiles_are_the_system_administrators() {
    let World { app, system, admin, customer, .. } = &world().await;
    let draft = |name: &str| TenantProfileDraft { name: name.to_owned(), ..TenantProfileDraft::default() };
    is_forbidden(app.save_tenant_profile(admin, draft("x")).await);
    is_forbidden(app.tenant_profiles(admin, &any_page()).await);
    is_forbidden(app.default_tenant_profile(admin).await);
    is_forbidden(app.tenant_profile(customer, Uuid::nil()).await);
    let first = app.default_tenant_profile(system).await.unwrap();
    assert_eq!(app.tenant_profile(admin, first.id).await.unwrap(), first, "its own tenant's");
    let made = app.save_tenant_profile(system, draft("Second")).await.unwrap().value;
    is_missing(app.tenant_profile(admin, made.id).await);
    let late = TenantProfileDraft { id: Some(made.id), version: Some(9), ..draft("Second") };
    assert!(matches!(app.save_tenant_profile(system, late).await, Err(Error::Conflict { .. })));
    let taken = app.save_tenant_profile(system, draft("SECOND")).await;
    assert!(matches!(taken, Err(Error::Duplicate { kind: EntityKind::TenantProfile, field: "name" })), "{taken:?}");
    is_invalid(app.save_tenant_profile(system, draft(" ")).await, "name");
    is_missing(app.save_tenant_profile(system, TenantProfileDraft { id: Some(Uuid::nil()), ..draft("x") }).await);
    assert!(matches!(app.delete_tenant_profile(system, first.id).await, Err(Error::Refused(_))), "it is the default");
    app.set_default_tenant_profile(system, made.id).await.unwrap();
    assert!(matches!(app.delete_tenant_profile(system, first.id).await, Err(Error::Refused(_))), "tenants have it");
    let tenant = TenantDraft { title: "Third".to_owned(), ..TenantDraft::default() };
    assert_eq!(app.save_tenant(system, tenant.clone()).await.unwrap().value.profile, made.id);
    is_missing(app.save_tenant(system, TenantDraft { profile: Some(Uuid::nil()), title: "4".to_owned(), ..tenant }).await);
    let spare = app.save_tenant_profile(system, draft("Spare")).await.unwrap().value;
    app.delete_tenant_profile(system, spare.id).await.unwrap();
    is_missing(app.tenant_profile(system, spare.id).await);
    assert_eq!(audit::about(app.reader(), spare.id, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn profiles_get_their_secrets_and_keep_them() {
    let World { app, admin, other, .. } = &world().await;
    let draft = |name: &str, provision: &str| ProfileDraft {
        name: name.to_owned(),
        provision: Some(provision.to_owned()),
        ..ProfileDraft::default()
    };
    let made = app.save_profile(admin, draft("meter", "ALLOW_CREATE_NEW_DEVICES")).await.unwrap().value;
    let (key, secret) = (made.provision_key.clone().unwrap(), made.provision_secret().unwrap().to_owned());
    assert!(key.len() == 20 && secret.len() == 20 && key != secret);
    let again = ProfileDraft { id: Some(made.id), ..draft("meter", "CHECK_PRE_PROVISIONED_DEVICES") };
    let again = app.save_profile(admin, again).await.unwrap().value;
    assert_eq!((again.provision_key.as_ref(), again.provision_secret()), (Some(&key), Some(secret.as_str())));
    let same = ProfileDraft { provision_key: Some(key), ..draft("spy", "ALLOW_CREATE_NEW_DEVICES") };
    let taken = app.save_profile(other, same).await;
    assert!(matches!(&taken, Err(Error::Duplicate { field: "provisionDeviceKey", .. })), "{taken:?}");
    let off = ProfileDraft { id: Some(made.id), ..draft("meter", "DISABLED") };
    let off = app.save_profile(admin, off).await.unwrap().value;
    assert_eq!((off.provision_key.as_ref(), off.provision_secret()), (None, None));
    let root = certificates::Authority::new("Root");
    let data = json!({"provisionConfiguration": {"provisionDeviceSecret": root.pem(), "certificateRegExPattern": "no group"}});
    let chained = ProfileDraft { profile_data: data, ..draft("signed", "X509_CERTIFICATE_CHAIN") };
    is_invalid(app.save_profile(admin, chained.clone()).await, "certificateRegExPattern");
    let mut chained = chained;
    chained.profile_data["provisionConfiguration"]["certificateRegExPattern"] = json!("(.*)");
    let saved = app.save_profile(admin, chained).await.unwrap().value;
    assert_eq!(saved.provision_key, Some(saved.authority().unwrap().fingerprint()));
    let names = app.profile_names(admin, true).await.unwrap();
    assert_eq!(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["default"]);
    assert_eq!(app.profile_names(admin, false).await.unwrap().len(), 3);
    assert_eq!(app.profiles(admin, Some("MQTT"), &any_page()).await.unwrap().total_elements, 0);
}

#[tokio::test]
async fn a_published_device_belongs_to_everybody() {
    let World { app, admin, other, customer, unassigned, assigned, .. } = &world().await;
    let public = app.publish_device(admin, *unassigned).await.unwrap().value.customer.unwrap();
    assert_eq!(app.publish_device(admin, *assigned).await.unwrap().value.customer, Some(public), "there is one");
    let stored = app.customer(admin, public).await.unwrap();
    assert!(stored.is_public() && stored.title == "Public", "{stored:?}");
    let info = app.device_info(admin, *unassigned).await.unwrap();
    assert_eq!((info.customer_is_public, info.customer_title.as_deref()), (true, Some("Public")));
    let title = |title: &str| CustomerDraft { title: title.to_owned(), ..CustomerDraft::default() };
    assert!(matches!(app.save_customer(admin, title("public")).await, Err(Error::Refused(_))));
    let renamed = CustomerDraft { id: customer.customer, ..title("Public") };
    assert!(matches!(app.save_customer(admin, renamed).await, Err(Error::Refused(_))));
    is_forbidden(app.publish_device(customer, *assigned).await);
    is_missing(app.publish_device(other, *assigned).await);
    assert_eq!(app.unassign_device(admin, *assigned).await.unwrap().value.customer, None);
}

#[tokio::test]
async fn devices_are_claimed_by_who_knows_their_secret() {
    let World { app, admin, customer, other, assigned, unassigned, .. } = &world().await;
    let claim = async |name: &str, secret: &str| -> Result<Claimed, Error> {
        app.claim_device(customer, name, secret, HERE).await.map(|Written { value, .. }| value)
    };
    let is = |outcome: Result<Claimed, Error>, expected: &Claimed| assert_eq!(&outcome.unwrap(), expected);
    let name = "Test Device A2";
    is(claim(name, "").await, &Claimed::Failure);
    app.register_claim(*unassigned, "s3cret", 60_000).await.unwrap();
    is(claim(name, "").await, &Claimed::Failure);
    is(claim(name, "S3cret").await, &Claimed::Failure);
    is_missing(claim("nobody", "s3cret").await);
    is_forbidden(app.claim_device(admin, name, "s3cret", HERE).await);
    is_missing(app.claim_device(&Caller { tenant: other.tenant, ..customer.clone() }, name, "s3cret", HERE).await);
    let Claimed::Success(claimed) = claim(name, "s3cret").await.unwrap() else { panic!("not claimed") };
    assert_eq!((claimed.id, claimed.customer), (*unassigned, customer.customer));
    is(claim(name, "s3cret").await, &Claimed::Already);
    assert!(matches!(app.register_claim(*unassigned, "x", 0).await, Err(Error::Refused(_))), "it has a customer");
    // Given back, it must say anew that it may be had; a newer word replaces the older one.
    app.reclaim_device(customer, name).await.unwrap();
    is_missing(app.reclaim_device(customer, name).await);
    app.reclaim_device(admin, name).await.unwrap();
    is(claim(name, "s3cret").await, &Claimed::Failure);
    app.register_claim(*unassigned, "first", 1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    is(claim(name, "first").await, &Claimed::Failure);
    claim(name, "first").await.unwrap();
    let refused = claim(name, "first").await;
    assert!(matches!(refused, Err(Error::TooMany { .. })), "ten attempts of one user: {refused:?}");
    is_missing(app.register_claim(Uuid::nil(), "x", 0).await);
    is_invalid(app.register_claim(*unassigned, &"x".repeat(256), 0).await, "secretKey");
    let rows = audit::about(app.reader(), *unassigned, 9).await.unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions[..4], ["UPDATED", "UNASSIGNED_FROM_CUSTOMER", "ASSIGNED_TO_CUSTOMER", "UPDATED"]);
    // A device that is removed takes its claim with it.
    app.delete_device(admin, *unassigned).await.unwrap();
    app.delete_device(admin, *assigned).await.unwrap();
}

#[tokio::test]
async fn one_devices_secret_is_not_guessed_by_many() {
    let World { app, customer, unassigned, .. } = &world().await;
    app.register_claim(*unassigned, "", 0).await.unwrap();
    let many = (0..12).map(|number| Caller { user: Uuid::from_u128(number), ..customer.clone() });
    let mut refused = 0;
    for caller in many {
        let outcome = app.claim_device(&caller, "test device a2", "guess", HERE).await;
        refused += u32::from(matches!(outcome, Err(Error::TooMany { .. })));
    }
    assert!((1..=2).contains(&refused), "{refused}");
}
