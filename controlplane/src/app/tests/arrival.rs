//! Devices that come by themselves: children of gateways, with a secret, with a certificate.

use std::collections::BTreeSet;

use super::*;
use crate::domain::{
    Shown,
    certificates::{Authority as Root, pem},
};

async fn gateway(app: &App, caller: &Caller, name: &str) -> Uuid {
    let draft = DeviceDraft { additional_info: json!({"gateway": true}), ..a_device(name) };
    app.save_device(caller, draft, None).await.unwrap().value.id
}

#[tokio::test]
async fn a_gateway_names_devices_of_its_tenant() {
    let World { app, admin, other, customer, assigned, unassigned, .. } = &world().await;
    let own = gateway(app, admin, "gate").await;
    app.assign_device(admin, own, customer.customer.unwrap()).await.unwrap();
    let made = app.child(own, " child ", "meter").await.unwrap();
    let child = app.device(admin, made).await.unwrap();
    assert_eq!((child.name.as_str(), child.kind.as_str(), child.customer), ("child", "meter", customer.customer));
    assert_eq!(child.additional_info, json!({"lastConnectedGateway": own}));
    // Asked again it is the same, and nothing is written.
    let before = crate::entity::change_log::head(app.reader()).await.unwrap();
    assert_eq!(app.child(own, "child", "other type").await.unwrap(), made);
    assert_eq!(crate::entity::change_log::head(app.reader()).await.unwrap(), before);
    let second = gateway(app, admin, "second gate").await;
    assert_eq!(app.child(second, "CHILD", "").await.unwrap(), made);
    let moved = app.device(admin, made).await.unwrap();
    assert_eq!((&moved.additional_info, moved.version), (&json!({"lastConnectedGateway": second}), child.version + 1));
    // One that an administrator made keeps what is said of it.
    let known = DeviceDraft { id: Some(*unassigned), additional_info: json!({"description": "x"}), ..a_device("known") };
    app.save_device(admin, known, None).await.unwrap();
    assert_eq!(app.child(own, "known", "").await.unwrap(), *unassigned);
    let kept = app.device(admin, *unassigned).await.unwrap().additional_info;
    assert_eq!(kept, json!({"description": "x", "lastConnectedGateway": own}));
    assert_eq!(app.device(admin, app.child(own, "plain", "").await.unwrap()).await.unwrap().kind, "default");
    // Another tenant's device of this name is another device.
    let foreign = gateway(app, other, "gate").await;
    let twin = app.child(foreign, "child", "").await.unwrap();
    assert_ne!(twin, made);
    assert_eq!(app.device(other, twin).await.unwrap().tenant, other.tenant.unwrap());
    is_missing(app.device(admin, twin).await);
    assert_eq!(app.device(admin, made).await.unwrap(), moved, "and ours is as it was");
    assert!(matches!(app.child(*assigned, "x", "").await, Err(Error::Refused(said)) if said.contains("is no gateway")));
    assert!(matches!(app.child(*assigned, "child", "").await, Err(Error::Refused(_))));
    assert!(matches!(app.child(own, "GATE", "").await, Err(Error::Refused(said)) if said.contains("behind itself")));
    is_invalid(app.child(own, " ", "").await, "device");
    is_invalid(app.child(own, "x", "a\nb").await, "type");
    is_missing(app.child(Uuid::nil(), "x", "").await);
    let rows = audit::about(app.reader(), made, 9).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.user_name.as_str())).collect();
    assert_eq!(told, [("UPDATED", "second gate"), ("ADDED", "gate")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_asked_for_at_once_is_made_once() {
    let World { app, admin, .. } = &world().await;
    let own = gateway(app, admin, "gate").await;
    let asking: Vec<_> = (0..24)
        .map(|number| {
            let app = Arc::clone(app);
            tokio::spawn(async move { app.child(own, if number % 2 == 0 { "child" } else { "Child" }, "meter").await.unwrap() })
        })
        .collect();
    let mut found = BTreeSet::new();
    for asked in asking {
        found.insert(asked.await.unwrap());
    }
    assert_eq!(found.len(), 1);
    assert_eq!(app.profile_names(admin, false).await.unwrap().len(), 2, "and its profile once");
}

fn asking(key: &str, secret: &str, more: &Value) -> Vec<u8> {
    let mut asked = json!({"provisionDeviceKey": key, "provisionDeviceSecret": secret});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked.to_string().into_bytes()
}

fn not_found() -> Value {
    json!({"errorMsg": "Provision data was not found!", "status": "NOT_FOUND"})
}

fn failure() -> Value {
    json!({"errorMsg": "Failed to provision device!", "status": "FAILURE"})
}

async fn a_profile(app: &App, caller: &Caller, provision: &str) -> crate::domain::DeviceProfile {
    let data = json!({"provisionConfiguration": {"provisionDeviceSecret": "secret"}});
    let (name, provision) = (provision.to_owned(), Some(provision.to_owned()));
    let draft =
        ProfileDraft { provision_key: Some(name.clone()), name, provision, profile_data: data, ..ProfileDraft::default() };
    app.save_profile(caller, draft).await.unwrap().value
}

/// Reference 1.1: what is asked, what is answered, for every kind of credentials.
#[tokio::test]
async fn who_knows_the_secret_makes_a_device() {
    let World { app, admin, .. } = &world().await;
    let create = "ALLOW_CREATE_NEW_DEVICES";
    let profile = a_profile(app, admin, create).await;
    let ask = async |more: Value| app.provision(&asking(create, "secret", &more)).await.unwrap();
    let made = ask(json!({"deviceName": "D", "gateway": true})).await;
    let device = app.device_by_name(admin, "D").await.unwrap();
    assert_eq!((device.profile, device.provisioned, device.is_gateway()), (profile.id, true, true));
    let token = app.credential(admin, device.id).await.unwrap().shown.id();
    assert_eq!(made, json!({"credentialsType": "ACCESS_TOKEN", "credentialsValue": token, "status": "SUCCESS"}));
    assert_eq!(ask(json!({"deviceName": "d"})).await, failure(), "it is there");
    let said = ask(json!({"deviceName": "E", "credentialsType": "ACCESS_TOKEN", "token": "MINE"})).await;
    assert_eq!(said["credentialsValue"], "MINE");
    assert_eq!(ask(json!({"deviceName": "F", "token": "MINE"})).await, failure(), "the token is taken");
    is_missing(app.device_by_name(admin, "F").await);
    let basic = json!({"deviceName": "G", "credentialsType": "MQTT_BASIC", "clientId": "c", "username": "u", "password": "p"});
    let value = json!({"clientId": "c", "userName": "u", "password": "p"});
    assert_eq!(ask(basic).await, json!({"credentialsType": "MQTT_BASIC", "credentialsValue": value, "status": "SUCCESS"}));
    let certificate = Root::new("Root").device("H");
    let said = ask(json!({"deviceName": "H", "credentialsType": "X509_CERTIFICATE", "hash": pem(&certificate)})).await;
    let device = app.device_by_name(admin, "H").await.unwrap();
    let Shown::Certificate(stored) = app.credential(admin, device.id).await.unwrap().shown else { panic!("{said}") };
    assert_eq!((stored.der(), &said["credentialsValue"]), (certificate.as_slice(), &json!(stored.body())));
    // Without a name one is made up.
    let nameless = ask(json!({})).await;
    assert_eq!(nameless["status"], "SUCCESS");
    for (key, secret) in [(create, "Secret"), (create, ""), ("", "secret"), ("unknown", "secret"), (create, "secret ")] {
        assert_eq!(
            app.provision(&asking(key, secret, &json!({"deviceName": "Z"}))).await.unwrap(),
            not_found(),
            "{key} {secret}"
        );
    }
    assert_eq!(app.provision(b"{").await.unwrap(), failure());
    is_missing(app.device_by_name(admin, "Z").await);
    let rows = audit::about(app.reader(), device.id, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["PROVISION_SUCCESS", "ADDED"]);
    // Switched off, the secret opens nothing.
    let off = ProfileDraft { id: Some(profile.id), name: create.to_owned(), ..ProfileDraft::default() };
    app.save_profile(admin, off).await.unwrap();
    assert_eq!(ask(json!({"deviceName": "Y"})).await, not_found());
}

#[tokio::test]
async fn a_device_that_was_made_before_is_provisioned_once() {
    let World { app, admin, .. } = &world().await;
    let check = "CHECK_PRE_PROVISIONED_DEVICES";
    let profile = a_profile(app, admin, check).await;
    let ask = async |name: &str| app.provision(&asking(check, "secret", &json!({"deviceName": name}))).await.unwrap();
    assert_eq!(ask("pump").await, failure(), "it must be there");
    assert_eq!(ask("Test Device A1").await, failure(), "and have this profile");
    let draft = |name| DeviceDraft { profile: Some(profile.id), ..a_device(name) };
    let pump = app.save_device(admin, draft("pump"), Some(token("PUMP"))).await.unwrap().value;
    let expected = json!({"credentialsType": "ACCESS_TOKEN", "credentialsValue": "PUMP", "status": "SUCCESS"});
    assert_eq!(ask("pump").await, expected);
    assert_eq!(ask("pump").await, failure(), "replayed");
    assert!(app.device(admin, pump.id).await.unwrap().provisioned);
    // Renamed it is the same device; with other credentials it may ask again.
    app.save_device(admin, DeviceDraft { id: Some(pump.id), ..draft("Pump 2") }, None).await.unwrap();
    assert_eq!(ask("pump 2").await, failure());
    app.save_credential(admin, pump.id, token("NEW"), None).await.unwrap();
    assert_eq!(ask("pump 2").await["credentialsValue"], "NEW");
    // Of a password only a hash is known: it cannot be given away.
    let basic = CredentialDraft::basic(None, Some("u"), Some("p")).unwrap();
    app.save_device(admin, draft("fan"), Some(basic)).await.unwrap();
    assert_eq!(ask("fan").await["credentialsValue"], json!({"clientId": null, "userName": "u", "password": null}));
    let nameless = app.provision(&asking(check, "secret", &json!({}))).await.unwrap();
    assert_eq!(nameless, failure());
}

async fn chained(app: &App, caller: &Caller, root: &Root, create: bool) -> Uuid {
    let data = json!({"provisionConfiguration": {
        "provisionDeviceSecret": root.pem(), "certificateRegExPattern": r"(.*)\.example\.org",
        "allowCreateNewDevicesByX509Certificate": create,
    }});
    let provision = Some("X509_CERTIFICATE_CHAIN".to_owned());
    let draft = ProfileDraft { name: format!("signed {create}"), provision, profile_data: data, ..ProfileDraft::default() };
    app.save_profile(caller, draft).await.unwrap().value.id
}

#[tokio::test]
async fn an_authoritys_devices_are_made_by_their_certificates() {
    let World { app, admin, .. } = &world().await;
    let root = Root::new("Root");
    let factory = root.below("Factory");
    let profile = chained(app, admin, &root, true).await;
    let ask = async |chain: Vec<Vec<u8>>| app.device_by_certificate(chain).await.unwrap();
    let first = factory.device("meter 1.example.org");
    let made = ask(vec![first.clone(), factory.der()]).await.expect("the root vouches for it");
    let device = app.device(admin, made).await.unwrap();
    assert_eq!((device.name.as_str(), device.profile, device.provisioned), ("meter 1", profile, true));
    let shown = async || match app.credential(admin, made).await.unwrap().shown {
        Shown::Certificate(certificate) => certificate.der().to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown().await, first);
    let before = crate::entity::change_log::head(app.reader()).await.unwrap();
    assert_eq!(ask(vec![first.clone(), factory.der(), root.der()]).await, Some(made));
    assert_eq!(crate::entity::change_log::head(app.reader()).await.unwrap(), before, "asked again nothing is written");
    // A renewed certificate replaces the older one.
    let renewed = factory.device("meter 1.example.org");
    assert_eq!(ask(vec![renewed.clone(), factory.der()]).await, Some(made));
    assert_eq!(shown().await, renewed);
    // Signed by the root itself, which need not be shown.
    assert!(ask(vec![root.device("meter 2.example.org")]).await.is_some());
    let stranger = Root::new("Root");
    for (what, chain) in [
        ("nobody's", vec![stranger.device("meter 3.example.org"), stranger.der()]),
        ("no intermediate", vec![factory.device("meter 3.example.org")]),
        ("the name of another", vec![factory.device("meter 3.example.com"), factory.der()]),
        ("no name", vec![factory.device(".example.org"), factory.der()]),
        ("too old", vec![factory.device_of_years("meter 3.example.org", 2001, 2002), factory.der()]),
        ("too new", vec![factory.device_of_years("meter 3.example.org", 2090, 2091), factory.der()]),
        ("a server's", vec![factory.server("meter 3.example.org"), factory.der()]),
        ("an authority's", vec![factory.der(), root.der()]),
        ("nothing", Vec::new()),
        ("no certificate", vec![vec![1, 2, 3], factory.der()]),
        ("too many", vec![factory.device("meter 3.example.org"); 11]),
        ("another profile's device", vec![factory.device("Test Device A1.example.org"), factory.der()]),
    ] {
        assert_eq!(ask(chain).await, None, "{what}");
    }
    is_missing(app.device_by_name(admin, "meter 3").await);
    // Its certificate is another device's credential now.
    let own = app.save_device(admin, a_device("thief"), None).await.unwrap().value.id;
    let certificate = CredentialDraft::read(Some("X509_CERTIFICATE"), None, Some(&pem(&first))).unwrap();
    app.save_credential(admin, own, certificate, None).await.unwrap();
    assert_eq!(ask(vec![first, factory.der()]).await, None);
}

#[tokio::test]
async fn a_profile_may_know_its_devices_before() {
    let World { app, admin, other, .. } = &world().await;
    let root = Root::new("Root");
    let factory = root.below("Factory");
    let profile = chained(app, admin, &root, false).await;
    // Another tenant trusts the intermediate, which is nearer to the device.
    let theirs = chained(app, other, &factory, true).await;
    let ask = async |chain: Vec<Vec<u8>>| app.device_by_certificate(chain).await.unwrap();
    let own = root.device("pump.example.org");
    assert_eq!(ask(vec![own.clone()]).await, None, "it may not be made");
    let draft = DeviceDraft { profile: Some(profile), ..a_device("pump") };
    let pump = app.save_device(admin, draft, None).await.unwrap().value.id;
    assert_eq!(ask(vec![own]).await, Some(pump));
    let found = ask(vec![factory.device("pump.example.org"), factory.der()]).await.unwrap();
    assert_eq!(app.device(other, found).await.unwrap().profile, theirs);
}
