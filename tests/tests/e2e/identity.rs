//! Who a device is: MQTT basic credentials, provisioning, claiming, rotation, certificates (reference 1.1), by mosquitto_pub, curl
//! and ThingsBoard's SDK. Never more than a few wrong logins per instance: they are throttled.

use serde_json::{Value, json};
use tests::harness::certificates::{Authority, EXPIRED, NOT_YET, Pair, VALID, over_tls};
use tests::harness::curl::Curl;
use tests::harness::fixture::{self, Fixture, device, device_named, id_of, latest_value, profile};
use tests::harness::instance::{Home, Instance, Setup};
use tests::harness::mqtt::{Connect, DISCONNECT, V5, Wire};
use tests::harness::python::{Client, mosquitto_pub_with};
use tests::harness::rest::Rest;
use tests::harness::{eventually, now_ms};

const TELEMETRY: &str = "v1/devices/me/telemetry";
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Publishes with these arguments and QoS 1; whether it was let in.
fn is_let_in(instance: &Instance, arguments: &[&str], key: &str) -> bool {
    let payload = format!(r#"{{"{key}":1}}"#);
    mosquitto_pub_with(instance.mqtt(), &[arguments, &["-q", "1", "-t", TELEMETRY, "-m", &payload]].concat()).0
}

/// Creates a device that shows this.
fn device_showing(tenant: &Rest, name: &str, kind: &str, value: &str) -> String {
    let credentials = json!({ "credentialsType": kind, "credentialsValue": value });
    let body = json!({ "device": { "name": name, "type": "default" }, "credentials": credentials });
    id_of(&tenant.post("/api/device-with-credentials", &body).json())
}

/// Arguments of `mosquitto_pub`.
type Shown = &'static [&'static str];

/// Reference 1.1: which of client id, user name and password are stored, who gets in, who does not.
#[test]
fn every_combination_of_basic_credentials() {
    let cases: [(Value, &[Shown], &[Shown]); 5] = [
        (json!({ "clientId": "c" }), &[&["-i", "c"]], &[&["-i", "d"], &["-i", "c", "-u", "unknown"]]),
        (
            json!({ "userName": "u" }),
            &[&["-u", "u"], &["-i", "any", "-u", "u"], &["-u", "u", "-P", "any"]],
            &[&["-i", "u"], &["-u", "U"]],
        ),
        (
            json!({ "clientId": "c", "userName": "u" }),
            &[&["-i", "c", "-u", "u"], &["-i", "c", "-u", "u", "-P", "any"]],
            &[&["-i", "d", "-u", "u"], &["-i", "c"]],
        ),
        (
            json!({ "userName": "u", "password": "p" }),
            &[&["-u", "u", "-P", "p"], &["-i", "any", "-u", "u", "-P", "p"]],
            &[&["-u", "u"], &["-u", "u", "-P", "P"]],
        ),
        (
            json!({ "clientId": "c", "userName": "u", "password": "p" }),
            &[&["-i", "c", "-u", "u", "-P", "p"]],
            &[&["-i", "c", "-u", "u"], &["-i", "c", "-u", "u", "-P", "q"], &["-i", "d", "-u", "u", "-P", "p"], &["-i", "c"]],
        ),
    ];
    for (stored, good, bad) in cases {
        let fixture = Fixture::start();
        let id = device_showing(&fixture.tenant, "basic", "MQTT_BASIC", &stored.to_string());
        for (number, arguments) in good.iter().enumerate() {
            for version in ["mqttv311", "mqttv5"] {
                let key = format!("good{number}{version}");
                assert!(
                    is_let_in(&fixture.instance, &[arguments, &["-V", version][..]].concat(), &key),
                    "{stored}: {arguments:?}"
                );
                assert_eq!(latest_value(&fixture.tenant, &id, &key).as_deref(), Some("1"), "{stored}: {arguments:?}");
            }
        }
        for arguments in bad {
            assert!(!is_let_in(&fixture.instance, arguments, "bad"), "{stored}: {arguments:?}");
        }
        let shown = fixture.tenant.get(&format!("/api/device/{id}/credentials")).expect_text(200);
        assert!(!shown.contains("\\\"p\\\""), "a password is never shown again: {shown}");
        assert!(shown.contains("MQTT_BASIC"), "{shown}");
        fixture.instance.stop();
    }
}

#[test]
fn credentials_that_cannot_be_are_refused() {
    let fixture = Fixture::start();
    let _taken = device(&fixture.tenant, "taken");
    let wrong = [
        json!({ "credentialsType": "MQTT_BASIC", "credentialsValue": r#"{"clientId":"c","password":"p"}"# }),
        json!({ "credentialsType": "MQTT_BASIC", "credentialsValue": "{}" }),
        json!({ "credentialsType": "MQTT_BASIC", "credentialsValue": "nonsense" }),
        json!({ "credentialsType": "X509_CERTIFICATE", "credentialsValue": "nonsense" }),
        json!({ "credentialsType": "ACCESS_TOKEN", "credentialsId": "taken" }),
        json!({ "credentialsType": "TELEPATHY", "credentialsId": "x" }),
    ];
    for credentials in wrong {
        let body = json!({ "device": { "name": "wrong", "type": "default" }, "credentials": credentials });
        fixture.tenant.post("/api/device-with-credentials", &body).expect_error(400);
        assert_eq!(device_named(&fixture.tenant, "wrong"), None, "nothing is made by halves");
    }
    fixture.instance.stop();
}

/// Rotation closes the old session, whatever kind of credentials came before and after.
#[test]
fn rotation_closes_the_session_of_the_old_credentials() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let tenant = &fixture.tenant;
    let id = id_of(&tenant.post("/api/device?accessToken=first", &json!({ "name": "rotates", "type": "default" })).json());
    let mut old = Wire::admitted(fixture.instance.mqtt(), &Connect::new("first").version(V5));
    let kinds = [
        (json!({ "credentialsType": "MQTT_BASIC", "credentialsValue": r#"{"userName":"second"}"# }), "second"),
        (json!({ "credentialsType": "ACCESS_TOKEN", "credentialsId": "third" }), "third"),
    ];
    for (change, user) in kinds {
        let mut credentials = tenant.get(&format!("/api/device/{id}/credentials")).json();
        for (field, value) in change.as_object().expect("an object") {
            credentials[field] = value.clone();
        }
        let reply = tenant.post("/api/device/credentials", &credentials);
        assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
        let _saved = reply.json();
        let said: Vec<(u8, u8)> = old.read_to_close().iter().map(|packet| (packet.kind(), packet.code(0))).collect();
        assert_eq!(said, [(DISCONNECT, 0x98)], "Administrative action");
        old = Wire::admitted(fixture.instance.mqtt(), &Connect::new(user).version(V5));
        assert_eq!(old.telemetry(1, r#"{"a":1}"#), 0);
    }
    let refused = Wire::open(fixture.instance.mqtt()).handshake(&Connect::new("first")).expect("a CONNACK");
    assert_eq!(refused.code(1), 5);
    let answer = Curl::post(format!("http://{}/api/v1/first/telemetry", fixture.instance.device_http()), "{}").run();
    assert_eq!(answer.status, 401);
    fixture.instance.stop();
}

/// A profile whose devices come by themselves, with a key and a secret.
fn provisioning(tenant: &Rest, name: &str, kind: &str) -> Value {
    profile(
        tenant,
        &json!({ "name": name, "provisionType": kind, "provisionDeviceKey": format!("key of {name}"), "profileData": {
        "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" },
        "provisionConfiguration": { "type": kind, "provisionDeviceSecret": format!("secret of {name}") } } }),
    )
}

fn request(name: &str, device: &str, more: &Value) -> Value {
    let mut request = json!({ "deviceName": device, "provisionDeviceKey": format!("key of {name}"),
        "provisionDeviceSecret": format!("secret of {name}") });
    let more = more.as_object().expect("an object").clone();
    request.as_object_mut().expect("it was made an object").extend(more);
    request
}

/// How a device asks.
enum Way {
    Mqtt(u8),
    Http(&'static str),
}

impl Way {
    fn ask(&self, fixture: &Fixture, request: &Value) -> Value {
        match self {
            Self::Http(part) => {
                let url = format!("http://{}/api/v1/provision", fixture.instance.address(part));
                Curl::post(url, &request.to_string()).run().json()
            }
            Self::Mqtt(version) => {
                let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), "provision", *version);
                assert_eq!(paho.event("connected")["code"], 0);
                let granted = paho.ask(&json!({ "do": "subscribe", "topic": "/provision/response" }), "subscribed");
                assert!(granted["codes"][0].as_u64().is_some_and(|code| code <= 1), "{granted}");
                paho.send(&json!({ "do": "publish", "topic": "/provision/request", "payload": request }));
                paho.event("message")["payload"].clone()
            }
        }
    }
}

const WAYS: [Way; 4] = [Way::Mqtt(4), Way::Mqtt(5), Way::Http("device_http"), Way::Http("http")];

#[test]
fn devices_provision_themselves() {
    let fixture = Fixture::with(|setup| setup.shards(2));
    let tenant = &fixture.tenant;
    let made = provisioning(tenant, "new", "ALLOW_CREATE_NEW_DEVICES");
    let _others = provisioning(tenant, "known", "CHECK_PRE_PROVISIONED_DEVICES");
    for (number, way) in WAYS.iter().enumerate() {
        let name = format!("self{number}");
        let answer = way.ask(&fixture, &request("new", &name, &json!({})));
        assert_eq!((&answer["status"], &answer["credentialsType"]), (&json!("SUCCESS"), &json!("ACCESS_TOKEN")), "{answer}");
        let token = answer["credentialsValue"].as_str().expect("a token").to_owned();
        let device = device_named(tenant, &name).expect("it was made");
        assert_eq!(device["deviceProfileId"], made["id"], "{device}");
        assert_eq!(Wire::session(fixture.instance.mqtt(), &token).telemetry(1, r#"{"in":1}"#), 0, "let in at once");
        assert_eq!(latest_value(tenant, &id_of(&device), "in").as_deref(), Some("1"));
        let again = way.ask(&fixture, &request("new", &name, &json!({})));
        assert_eq!(again["status"], "FAILURE", "a name that is taken: {again}");

        let name = format!("before{number}");
        let known = fixture::device_with(tenant, &format!("token{number}"), &json!({ "name": name, "type": "known" }));
        let unknown = way.ask(&fixture, &request("known", "never heard of", &json!({})));
        assert_eq!(unknown["status"], "FAILURE", "{unknown}");
        let answer = way.ask(&fixture, &request("known", &name, &json!({})));
        assert_eq!((&answer["status"], &answer["credentialsValue"]), (&json!("SUCCESS"), &json!(known.token)), "{answer}");
        let replayed = way.ask(&fixture, &request("known", &name, &json!({})));
        assert_eq!(replayed["status"], "FAILURE", "a device is provisioned once: {replayed}");
    }
    fixture.instance.stop();
}

#[test]
fn wrong_secrets_provision_nothing() {
    let fixture = Fixture::start();
    let _profile = provisioning(&fixture.tenant, "new", "ALLOW_CREATE_NEW_DEVICES");
    let not_found = json!({ "errorMsg": "Provision data was not found!", "status": "NOT_FOUND" });
    for (number, way) in WAYS.iter().enumerate() {
        let name = format!("wrong{number}");
        for change in [json!({ "provisionDeviceSecret": "secret of nobody" }), json!({ "provisionDeviceKey": "key of nobody" })] {
            assert_eq!(way.ask(&fixture, &request("new", &name, &change)), not_found);
        }
        let broken = way.ask(&fixture, &request("new", &name, &json!({ "credentialsType": "TELEPATHY" })));
        assert_eq!(broken, json!({ "errorMsg": "Failed to provision device!", "status": "FAILURE" }));
        assert_eq!(device_named(&fixture.tenant, &name), None);
    }
    // Who came to be provisioned may do nothing else.
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("provision").version(V5));
    assert_eq!(wire.acknowledged(TELEMETRY, 1, "{}"), 0x90);
    assert!(wire.subscribe("v1/devices/me/attributes", 2) >= 0x80);
    let by_client_id = Connect::new("").client_id("provision").version(V5);
    let connack = Wire::open(fixture.instance.mqtt()).handshake(&by_client_id).expect("a CONNACK");
    assert_eq!(connack.code(1), 0, "the client identifier says it, too");
    fixture.instance.stop();
}

#[test]
fn provisioned_devices_choose_their_credentials() {
    let home = Home::new();
    let authority = Authority::new(&home, "choices");
    let certificate = authority.client("chosen", VALID).pem();
    let fixture = Fixture::start();
    let _profile = provisioning(&fixture.tenant, "new", "ALLOW_CREATE_NEW_DEVICES");
    let cases = [
        (json!({ "credentialsType": "ACCESS_TOKEN", "token": "chosen-token" }), "ACCESS_TOKEN", vec!["-u", "chosen-token"]),
        (
            json!({ "credentialsType": "MQTT_BASIC", "clientId": "ci", "username": "un", "password": "pw" }),
            "MQTT_BASIC",
            vec!["-i", "ci", "-u", "un", "-P", "pw"],
        ),
        (json!({ "credentialsType": "X509_CERTIFICATE", "hash": certificate }), "X509_CERTIFICATE", Vec::new()),
    ];
    for (choice, kind, arguments) in cases {
        let answer = Way::Http("device_http").ask(&fixture, &request("new", &format!("chose {kind}"), &choice));
        assert_eq!((&answer["status"], &answer["credentialsType"]), (&json!("SUCCESS"), &json!(kind)), "{answer}");
        let id = id_of(&device_named(&fixture.tenant, &format!("chose {kind}")).expect("it was made"));
        assert_eq!(fixture.tenant.get(&format!("/api/device/{id}/credentials")).json()["credentialsType"], kind);
        assert!(arguments.is_empty() || is_let_in(&fixture.instance, &arguments, "in"), "{kind}");
    }
    let gateway = Way::Mqtt(5).ask(&fixture, &request("new", "a gateway", &json!({ "gateway": true })));
    assert_eq!(gateway["status"], "SUCCESS", "{gateway}");
    let made = device_named(&fixture.tenant, "a gateway").expect("it was made");
    assert_eq!(made["additionalInfo"]["gateway"], true, "{made}");
    fixture.instance.stop();
}

#[test]
fn the_public_sdk_provisions_and_claims() {
    let fixture = Fixture::start();
    let _profile = provisioning(&fixture.tenant, "new", "ALLOW_CREATE_NEW_DEVICES");
    let asked =
        json!({ "provision_device_key": "key of new", "provision_device_secret": "secret of new", "device_name": "sdkmade" });
    let mut sdk = Client::sdk_provisioning(&fixture.home, fixture.instance.mqtt(), &asked);
    let body = sdk.event("credentials")["body"].clone();
    assert_eq!(body["status"], "SUCCESS", "{body}");
    let token = body["credentialsValue"].as_str().expect("a token").to_owned();
    let mut sdk = Client::sdk(&fixture.home, fixture.instance.mqtt(), &token);
    sdk.event("connected");
    let customer = fixture::customer(&fixture.instance);
    let path = "/api/customer/device/sdkmade/claim";
    assert_eq!(customer.post(path, &json!({ "secretKey": "s" })).status, 400, "not offered");
    sdk.ask(&json!({ "do": "claim", "secret": "s", "duration_ms": 600_000 }), "claimed");
    assert_eq!(customer.post(path, &json!({ "secretKey": "s" })).json()["response"], "SUCCESS");
    let other = fixture::activate(
        &fixture.tenant,
        &json!({ "email": "other@example.org", "authority": "CUSTOMER_USER", "firstName": "O", "lastName": "C",
            "customerId": fixture.tenant.post("/api/customer", &json!({ "title": "Other" })).json()["id"] }),
        "other-password",
    );
    let late = other.post(path, &json!({ "secretKey": "s" }));
    assert!(late.status == 400 && late.text.contains("CLAIMED"), "{}: {}", late.status, late.text);
    customer.delete(path).expect_text(200);
    let unoffered = other.post(path, &json!({ "secretKey": "s" }));
    assert_eq!(unoffered.status, 400, "given back, it has to be offered anew");
    sdk.ask(&json!({ "do": "claim", "secret": "t", "duration_ms": 600_000 }), "claimed");
    assert_eq!(other.post(path, &json!({ "secretKey": "t" })).json()["response"], "SUCCESS");
    fixture.instance.stop();
}

/// An instance that speaks TLS with a certificate of this authority.
fn secure(home: &Home, authority: &Authority) -> (Instance, Rest) {
    let server = authority.server("localhost");
    let instance = over_tls(Setup::standalone(home).shards(2), &[&server]).start();
    let tenant = fixture::tenant(&instance);
    (instance, tenant)
}

/// Publishes over TLS with this certificate; whether it was let in, and what was said.
fn over_certificate(instance: &Instance, authority: &Authority, client: Option<&Pair>, more: &[&str]) -> (bool, String) {
    let mut arguments = vec!["--cafile".to_owned(), authority.pair.certificate.display().to_string()];
    arguments.extend(client.map(Pair::arguments).unwrap_or_default());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let all = [&arguments, &["-q", "1", "-t", TELEMETRY][..]].concat();
    mosquitto_pub_with(instance.address("mqtts"), &all)
}

#[test]
fn devices_speak_tls_1_2_and_1_3() {
    let home = Home::new();
    let authority = Authority::new(&home, "server");
    let (instance, tenant) = secure(&home, &authority);
    let device = device(&tenant, "secure");
    for version in ["tlsv1.2", "tlsv1.3"] {
        let payload = format!(r#"{{"{version}":1}}"#);
        let more = ["--tls-version", version, "-u", "secure", "-m", &payload];
        let (succeeded, said) = over_certificate(&instance, &authority, None, &more);
        assert!(succeeded, "{version}: {said}");
        assert_eq!(latest_value(&tenant, &device.id, version).as_deref(), Some("1"));
        let curl = Curl::post(format!("https://{}/api/v1/secure/telemetry", instance.address("device_https")), r#"{"https":1}"#);
        let curl = curl.argument("--cacert").argument(authority.pair.certificate.display());
        let answer = curl.argument("--tls-max").argument(version.trim_start_matches("tlsv")).run();
        assert_eq!(answer.status, 200, "{version}: {}", answer.text());
    }
    for old in ["1.0", "1.1"] {
        let curl = Curl::get(format!("https://{}/", instance.address("device_https"))).argument("--insecure");
        let refused = curl.argument("--tls-max").argument(old).attempt();
        assert!(refused.is_err(), "TLS {old} is not spoken: {refused:?}");
    }
    let websocket = json!({ "websocket": "/mqtt", "ca": authority.pair.certificate });
    let mut paho = Client::paho_with(&home, instance.address("device_https"), "secure", (5, websocket));
    assert_eq!(paho.event("connected")["code"], 0, "MQTT in WebSocket in TLS");
    assert_eq!(paho.ask(&json!({ "do": "publish", "topic": TELEMETRY, "payload": { "wss": 1 } }), "published")["code"], 0);
    assert_eq!(latest_value(&tenant, &device.id, "wss").as_deref(), Some("1"));
    let (succeeded, said) =
        mosquitto_pub_with(instance.address("mqtts"), &["-u", "secure", "-q", "1", "-t", TELEMETRY, "-m", "{}"]);
    assert!(!succeeded, "plain MQTT on the TLS listener: {said}");
    instance.stop();
}

#[test]
fn a_certificate_is_a_credential() {
    let home = Home::new();
    let authority = Authority::new(&home, "exact");
    let (instance, tenant) = secure(&home, &authority);
    let (known, other) = (authority.client("known", VALID), authority.client("other", VALID));
    let id = device_showing(&tenant, "certified", "X509_CERTIFICATE", &known.pem());
    for version in ["tlsv1.2", "tlsv1.3"] {
        let payload = format!(r#"{{"{version}":1}}"#);
        let (succeeded, said) =
            over_certificate(&instance, &authority, Some(&known), &["--tls-version", version, "-m", &payload]);
        assert!(succeeded, "{version}: {said}");
        assert_eq!(latest_value(&tenant, &id, version).as_deref(), Some("1"));
    }
    let (succeeded, said) = over_certificate(&instance, &authority, Some(&other), &["-m", "{}"]);
    assert!(!succeeded, "a certificate that nobody has: {said}");
    // The certificate comes first; one that is nobody's does not stand in the way of a token (reference 1.1, 2 and 3).
    let _device = device(&tenant, "withtoken");
    let (succeeded, said) = over_certificate(&instance, &authority, Some(&other), &["-u", "withtoken", "-m", r#"{"a":1}"#]);
    assert!(succeeded, "{said}");
    let mut credentials = tenant.get(&format!("/api/device/{id}/credentials")).json();
    credentials["credentialsValue"] = json!(other.pem());
    let _saved = tenant.post("/api/device/credentials", &credentials).json();
    let (succeeded, said) = over_certificate(&instance, &authority, Some(&known), &["-m", "{}"]);
    assert!(!succeeded, "the old certificate after rotation: {said}");
    let (succeeded, said) = over_certificate(&instance, &authority, Some(&other), &["-m", r#"{"rotated":1}"#]);
    assert!(succeeded, "{said}");
    assert_eq!(latest_value(&tenant, &id, "rotated").as_deref(), Some("1"));
    instance.stop();
}

#[test]
fn certificates_that_are_not_valid_are_refused() {
    let home = Home::new();
    let authority = Authority::new(&home, "validity");
    let (instance, tenant) = secure(&home, &authority);
    let cases = [
        ("expired", authority.client("expired", EXPIRED)),
        ("not yet valid", authority.client("notyet", NOT_YET)),
        ("a server's", authority.server("purpose")),
    ];
    for (name, pair) in &cases {
        // Known and not valid: knowing it is not enough.
        let _id = device_showing(&tenant, name, "X509_CERTIFICATE", &pair.pem());
        let (succeeded, said) = over_certificate(&instance, &authority, Some(pair), &["-m", "{}"]);
        assert!(!succeeded, "{name}: {said}");
    }
    let good = authority.client("good", VALID);
    let _id = device_showing(&tenant, "good", "X509_CERTIFICATE", &good.pem());
    assert!(over_certificate(&instance, &authority, Some(&good), &["-m", r#"{"a":1}"#]).0, "nobody else is disturbed");
    instance.stop();
}

/// Reference 1.1: an authority of a profile vouches for devices, whose name is in the certificate's common name.
#[test]
fn an_authority_vouches_for_new_devices() {
    let home = Home::new();
    let root = Authority::new(&home, "root");
    let (instance, tenant) = secure(&home, &root);
    let vouching = root.intermediate(&home, "vouching");
    let stranger = root.intermediate(&home, "stranger");
    let configuration = |create: bool, authority: &Authority| {
        json!({ "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" }, "provisionConfiguration": {
            "type": "X509_CERTIFICATE_CHAIN", "provisionDeviceSecret": authority.pair.pem(),
            "certificateRegExPattern": r"(.*)\.example\.org", "allowCreateNewDevicesByX509Certificate": create } })
    };
    let made = profile(
        &tenant,
        &json!({ "name": "vouched", "provisionType": "X509_CERTIFICATE_CHAIN", "profileData": configuration(true, &vouching) }),
    );
    let cases = [
        (vouching.chained_client("pump1.example.org", VALID), Some("pump1")),
        (vouching.chained_client("pump2.example.com", VALID), None),
        (vouching.chained_client("pump3.example.org", EXPIRED), None),
        (stranger.chained_client("pump4.example.org", VALID), None),
    ];
    for (pair, name) in &cases {
        let (succeeded, said) = over_certificate(&instance, &root, Some(pair), &["-m", r#"{"in":1}"#]);
        assert_eq!(succeeded, name.is_some(), "{}: {said}", pair.certificate.display());
        let Some(name) = name else { continue };
        let device = device_named(&tenant, name).expect("it was made");
        assert_eq!(device["deviceProfileId"], made["id"], "{device}");
        assert_eq!(latest_value(&tenant, &id_of(&device), "in").as_deref(), Some("1"));
        let (succeeded, said) = over_certificate(&instance, &root, Some(pair), &["-m", r#"{"in":2}"#]);
        assert!(succeeded, "and again: {said}");
        assert_eq!(latest_value(&tenant, &id_of(&device), "in").as_deref(), Some("2"));
    }
    for absent in ["pump2", "pump2.example.com", "pump3", "pump4"] {
        assert_eq!(device_named(&tenant, absent), None);
    }
    let mut closed = made;
    closed["profileData"] = configuration(false, &vouching);
    let _saved = tenant.post("/api/deviceProfile", &closed).json();
    let late = vouching.chained_client("pump5.example.org", VALID);
    let (succeeded, said) = over_certificate(&instance, &root, Some(&late), &["-m", "{}"]);
    assert!(!succeeded, "no more new devices: {said}");
    let _known = fixture::device_with(&tenant, "pumptoken", &json!({ "name": "pump5", "type": "vouched" }));
    let (succeeded, said) = over_certificate(&instance, &root, Some(&late), &["-m", r#"{"in":1}"#]);
    assert!(succeeded, "one that is known already is let in: {said}");
    instance.stop();
}

/// Of several certificates a client gets the one of the host that it asks for, else the first.
#[test]
fn certificates_are_chosen_by_host_name() {
    let home = Home::new();
    let (first, second) = (Authority::new(&home, "first"), Authority::new(&home, "second"));
    let servers = [&first.server("one.example.org"), &second.server("two.example.org")];
    let instance = over_tls(Setup::standalone(&home), &servers).start();
    let port = instance.address("device_https").port();
    let cases = [
        ("one.example.org", &first, true),
        ("two.example.org", &second, true),
        ("two.example.org", &first, false),
        ("127.0.0.1", &first, true),
    ];
    for (host, authority, trusted) in cases {
        let curl =
            Curl::get(format!("https://{host}:{port}/")).argument("--resolve").argument(format!("{host}:{port}:127.0.0.1"));
        let outcome = curl.argument("--cacert").argument(authority.pair.certificate.display()).attempt();
        assert_eq!(outcome.is_ok(), trusted, "{host}: {outcome:?}");
    }
    instance.stop();
}

/// New certificate files are taken without a restart; connections that exist keep what they have.
#[test]
fn the_servers_certificate_is_reloaded() {
    let home = Home::new();
    let authority = Authority::new(&home, "reload");
    let server = authority.server("localhost");
    let instance = over_tls(Setup::standalone(&home), &[&server]).start();
    let url = format!("https://{}/", instance.address("device_https"));
    let trusted = |ca: &Authority| {
        let curl = Curl::get(&url).argument("--cacert").argument(ca.pair.certificate.display());
        curl.attempt().is_ok()
    };
    assert!(trusted(&authority));
    let newer = Authority::new(&home, "newer");
    assert!(!trusted(&newer));
    let replacement = newer.server("localhost");
    std::fs::copy(&replacement.key, &server.key).expect("the test's directory is writable");
    std::fs::copy(&replacement.certificate, &server.certificate).expect("the test's directory is writable");
    eventually("the new certificate is served", || trusted(&newer).then_some(()));
    assert!(!trusted(&authority), "and the old one no more");
    instance.stop();
}

/// Claiming over MQTT with a bound that is over, and with none.
#[test]
fn an_offer_ends() {
    let fixture = Fixture::start();
    let _device = device(&fixture.tenant, "offered");
    let customer = fixture::customer(&fixture.instance);
    let path = "/api/customer/device/device%20offered/claim";
    let mut wire = Wire::admitted(fixture.instance.mqtt(), &Connect::new("offered").version(V5));
    let offer = |wire: &mut Wire, payload: &str| wire.acknowledged("v1/devices/me/claim", 1, payload);
    assert_eq!(offer(&mut wire, r#"{"secretKey":"x","durationMs":1}"#), 0);
    let offered = now_ms();
    eventually("the clock has passed the offer's end", || (now_ms() > offered + 1).then_some(()));
    let over = customer.post(path, &json!({ "secretKey": "x" }));
    assert_eq!(over.status, 400, "a millisecond is over: {}", over.text);
    assert!(offer(&mut wire, "nonsense") >= 0x80);
    assert_eq!(offer(&mut wire, &json!({ "secretKey": "x", "durationMs": DAY_MS }).to_string()), 0);
    assert_eq!(offer(&mut wire, ""), 0, "an offer without a secret replaces it");
    assert_eq!(customer.post(path, &json!({ "secretKey": "x" })).status, 400);
    assert_eq!(customer.post(path, &json!({})).json()["response"], "SUCCESS");
    fixture.instance.stop();
}
