//! Drives the router as a client would, over a real entity store and a fake data plane.

mod alarms;
mod assets;
mod audit;
mod calls;
mod chains;
mod events;
mod forward;
pub(crate) mod house;
mod identity;
mod packages;
mod queries;
mod shapes;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use self::house::{Answer, House};
use super::*;
use crate::telemetry::tests::Fake;

/// Checks a refusal: its status, its body's shape and what its message says.
fn refused(answer: &Answer, status: StatusCode, code: u64, says: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let object = answer.body.as_object().unwrap_or_else(|| panic!("no JSON object: {answer:?}"));
    let mut fields: Vec<&str> = object.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["errorCode", "message", "status", "timestamp"], "{answer:?}");
    assert_eq!(object["status"], json!(status.as_u16()));
    assert_eq!(object["errorCode"], json!(code), "{answer:?}");
    assert!(object["timestamp"].as_i64().is_some_and(|ts| ts > 0));
    let message = object["message"].as_str().unwrap();
    assert!(message.contains(says), "{message:?} does not say {says:?}");
}

const PUBLIC: [&str; 3] = ["/api/auth/login", "/api/auth/token", "/api/noauth/activate"];

#[tokio::test]
async fn every_route_refuses_who_is_not_signed_in() {
    let house = House::open(None).await;
    let mut routes = 0;
    for (path, mut item) in document().paths.paths {
        let open = PUBLIC.contains(&path.as_str());
        let methods = [
            (Method::GET, item.get.take()),
            (Method::POST, item.post.take()),
            (Method::DELETE, item.delete.take()),
            (Method::PUT, item.put.take()),
        ];
        for (method, operation) in methods {
            let Some(operation) = operation else { continue };
            let named = operation.security.unwrap_or_default();
            assert_eq!(named.contains(&SecurityRequirement::new(BEARER, Vec::<String>::new())), !open, "{method} {path}");
            if open {
                continue;
            }
            routes += 1;
            let target = concrete(&path);
            for token in [None, Some("garbage"), Some("eyJhbGciOiJub25lIn0.e30."), Some("")] {
                let answer = house.ask(&method, &target, token, Some("{}")).await;
                refused(&answer, StatusCode::UNAUTHORIZED, 10, "");
            }
        }
    }
    assert!(routes >= 55, "only {routes} routes");
}

/// A path with something in place of every parameter.
fn concrete(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        parts.push(if part.starts_with('{') { "784f394c-42b6-435a-983c-b7beff2784f9" } else { part });
    }
    parts.join("/")
}

#[test]
fn the_document_is_the_one_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let mut fresh = document().to_pretty_json().unwrap();
    fresh.push('\n');
    if std::env::var_os("TIDEGATE_REGENERATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == fresh, "openapi.json is not what the routes say: run this test with TIDEGATE_REGENERATE=1");
}

#[tokio::test]
async fn every_refusal_has_the_error_body() {
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let token = Some(tenant.as_str());
    let get = async |path: &str| house.ask(&Method::GET, path, token, None).await;
    let post = async |path: &str, body: &str| house.ask(&Method::POST, path, token, Some(body)).await;
    let (bad, missing) = (StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND);
    refused(&get("/api/nothing").await, missing, 32, "/api/nothing");
    refused(&post("/api/tenants", "{}").await, StatusCode::METHOD_NOT_ALLOWED, 31, "POST");
    refused(&post("/api/device", "{").await, bad, 31, "request body");
    refused(&post("/api/device", "{}").await, bad, 31, "name");
    refused(&post("/api/device", r#"{"name":" "}"#).await, bad, 31, "name");
    refused(&post("/api/device", &"x".repeat(BODY_BYTES_MAX + 1)).await, StatusCode::PAYLOAD_TOO_LARGE, 31, "body");
    refused(&get("/api/device/not-a-uuid").await, bad, 31, "not-a-uuid");
    refused(&get("/api/device/784f394c-42b6-435a-983c-b7beff2784f9").await, missing, 32, "784f394c");
    refused(&get("/api/tenant/devices?pageSize=x&page=0").await, bad, 31, "pageSize: \"x\" must be a number from 1 to 1000");
    refused(&get("/api/tenant/devices?pageSize=0").await, bad, 31, "pageSize: \"0\" must be 1 to 1000");
    refused(&get("/api/tenant/devices?sortOrder=UP").await, bad, 31, "sortOrder: \"UP\" must be ASC or DESC");
    refused(&get("/api/tenant/devices?deviceName=nobody").await, missing, 32, "nobody");
    refused(&get("/api/devices?deviceIds=1,2").await, bad, 31, "deviceIds: \"1\"");
    refused(&post("/api/user?sendActivationMail=true", r#"{"email":"a@b.c","authority":"TENANT_ADMIN"}"#).await, bad, 31, "mail");
    refused(&post("/api/user", r#"{"email":"a@b.c","authority":"BOSS"}"#).await, bad, 31, "BOSS");
    refused(&get("/api/tenants").await, StatusCode::FORBIDDEN, 20, "permission");
    refused(&get("/api/instances").await, StatusCode::FORBIDDEN, 20, "permission");
    refused(&get("/api/ws").await, bad, 31, "");
    let nobody = house.ask(&Method::GET, "/api/ws/plugins/telemetry", None, None).await;
    refused(&nobody, StatusCode::UNAUTHORIZED, 10, "token");
    let wrong = r#"{"username":"tenant@thingsboard.org","password":"wrong"}"#;
    let answer = house.ask(&Method::POST, "/api/auth/login", None, Some(wrong)).await;
    refused(&answer, StatusCode::UNAUTHORIZED, 10, "username or password");
}

#[tokio::test]
async fn logins_are_throttled_with_retry_after() {
    let house = House::open(None).await;
    let wrong = r#"{"username":"sysadmin@thingsboard.org","password":"wrong"}"#;
    for _ in 0..50 {
        let answer = house.ask(&Method::POST, "/api/auth/login", None, Some(wrong)).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused(&answer, StatusCode::TOO_MANY_REQUESTS, 33, "try again");
            assert!(answer.headers.contains_key("retry-after"));
            return;
        }
        refused(&answer, StatusCode::UNAUTHORIZED, 10, "");
    }
    panic!("fifty wrong passwords were not enough");
}

#[tokio::test]
async fn a_device_lives_and_dies() {
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let token = Some(tenant.as_str());
    let get = async |path: &str| house.ask(&Method::GET, path, token, None).await;
    let post = async |path: &str, body: Value| house.ask(&Method::POST, path, token, Some(&body.to_string())).await;
    let delete = async |path: &str| house.ask(&Method::DELETE, path, token, None).await;

    let made = post("/api/device?accessToken=KITCHEN", json!({"name": "Kitchen", "type": "default"})).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    // No data plane is connected, so nobody has it yet (DESIGN 26).
    assert_eq!(made.headers["tidegate-applied"], "false");
    assert_eq!(made.body["id"]["entityType"], "DEVICE");
    assert_eq!(made.body["customerId"]["id"], "13814000-1dd2-11b2-8080-808080808080");
    assert_eq!(made.body["type"], "default");
    let id = made.body["id"]["id"].as_str().unwrap().to_owned();

    assert_eq!(get(&format!("/api/device/{id}")).await.body, made.body);
    assert_eq!(get("/api/tenant/devices?deviceName=Kitchen").await.body, made.body);
    assert_eq!(get(&format!("/api/devices?deviceIds={id}")).await.body, json!([made.body]));
    let page = get("/api/tenant/devices?pageSize=2&page=0&textSearch=kitch").await.body;
    assert_eq!(page, json!({"data": [made.body], "totalPages": 1, "totalElements": 1, "hasNext": false}));
    let info = get(&format!("/api/device/info/{id}")).await.body;
    assert_eq!((&info["deviceProfileName"], &info["active"]), (&json!("default"), &json!(false)));

    let credentials = get(&format!("/api/device/{id}/credentials")).await.body;
    assert_eq!((&credentials["credentialsId"], &credentials["credentialsType"]), (&json!("KITCHEN"), &json!("ACCESS_TOKEN")));
    let mut changed = credentials.clone();
    changed["credentialsId"] = json!("CELLAR");
    assert_eq!(post("/api/device/credentials", changed.clone()).await.body["credentialsId"], "CELLAR");
    // The version sent is no longer the one stored.
    refused(&post("/api/device/credentials", changed).await, StatusCode::CONFLICT, 35, "version");
    let basic = json!({"deviceId": {"id": id}, "credentialsType": "MQTT_BASIC", "credentialsId": "x"});
    refused(&post("/api/device/credentials", basic).await, StatusCode::BAD_REQUEST, 31, "credentialsValue");

    let customer = post("/api/customer", json!({"title": "Acme"})).await.body["id"]["id"].as_str().unwrap().to_owned();
    let assigned = post(&format!("/api/customer/{customer}/device/{id}"), json!({})).await;
    assert_eq!(assigned.body["customerId"]["id"].as_str(), Some(customer.as_str()));
    let theirs = get(&format!("/api/customer/{customer}/devices?pageSize=10&page=0")).await.body;
    assert_eq!(theirs["totalElements"], 1);
    assert_eq!(delete(&format!("/api/customer/device/{id}")).await.status, StatusCode::OK);

    let gone = delete(&format!("/api/device/{id}")).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::OK, ""));
    refused(&get(&format!("/api/device/{id}")).await, StatusCode::NOT_FOUND, 32, &id);
}

#[tokio::test]
async fn people_are_made_activated_and_signed_in() {
    let house = House::open(None).await;
    let root = house.sign_in("sysadmin@thingsboard.org", "sysadmin").await;
    let post =
        async |path: &str, token: &str, body: Value| house.ask(&Method::POST, path, Some(token), Some(&body.to_string())).await;
    let tenant = post("/api/tenant", &root, json!({"title": "Second"})).await;
    assert_eq!(tenant.body["id"]["entityType"], "TENANT", "{tenant:?}");
    let form = json!({"email": "Boss@Second.org", "authority": "TENANT_ADMIN", "tenantId": tenant.body["id"]});
    let user = post("/api/user?sendActivationMail=false", &root, form).await;
    assert_eq!(user.body["email"], "boss@second.org", "{user:?}");
    let link = format!("/api/user/{}/activationLink", user.body["id"]["id"].as_str().unwrap());
    let link = house.ask(&Method::GET, &link, Some(&root), None).await.text;
    let secret = link.split("activateToken=").nth(1).unwrap();
    let form = json!({"activateToken": secret, "password": "secret1"}).to_string();
    let pair = house.ask(&Method::POST, "/api/noauth/activate", None, Some(&form)).await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    let boss = pair.body["token"].as_str().unwrap();
    let me = house.ask(&Method::GET, "/api/auth/user", Some(boss), None).await.body;
    assert_eq!((&me["authority"], &me["tenantId"]), (&json!("TENANT_ADMIN"), &tenant.body["id"]));
    let renewed = json!({"refreshToken": pair.body["refreshToken"]});
    let renewed = house.ask(&Method::POST, "/api/auth/token", None, Some(&renewed.to_string())).await;
    assert!(renewed.body["token"].is_string(), "{renewed:?}");
    // The second tenant sees nothing of the first.
    let page = house.ask(&Method::GET, "/api/tenant/devices?pageSize=10&page=0", Some(boss), None).await.body;
    assert_eq!(page, json!({"data": [], "totalPages": 0, "totalElements": 0, "hasNext": false}));
    // Its profiles and its root chain came with it.
    let info = house.ask(&Method::GET, "/api/deviceProfileInfo/default", Some(boss), None).await.body;
    assert_eq!(info["name"], "default");
    let chains = house.ask(&Method::GET, "/api/ruleChains?pageSize=10&page=0", Some(boss), None).await.body;
    let id = chains["data"][0]["id"]["id"].as_str().unwrap();
    let metadata = house.ask(&Method::GET, &format!("/api/ruleChain/{id}/metadata"), Some(boss), None).await.body;
    let saved = post("/api/ruleChain/metadata", boss, metadata.clone()).await;
    assert_eq!((&saved.body["nodes"], saved.status), (&metadata["nodes"], StatusCode::OK), "{saved:?}");
}

#[tokio::test]
async fn values_are_asked_of_the_data_plane() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let id = house.demo_device(&tenant).await;
    let base = format!("/api/plugins/telemetry/DEVICE/{id}");
    let get = async |rest: &str| house.ask(&Method::GET, &format!("{base}/{rest}"), Some(&tenant), None).await;
    assert_eq!(get("keys/timeseries").await.body, json!(["door", "temperature"]));
    assert_eq!(get("keys/attributes").await.body, json!(["active"]));
    assert_eq!(get("keys/attributes/SHARED_SCOPE").await.body, json!([]));
    let active = json!([{"lastUpdateTs": 1200, "key": "active", "value": true}]);
    assert_eq!(get("values/attributes").await.body, active);
    assert_eq!(get("values/attributes/SERVER_SCOPE?keys=active").await.body, active);
    let latest = get("values/timeseries?keys=temperature").await.body;
    assert_eq!(latest, json!({"temperature": [{"ts": 2000, "value": "21.0"}]}));
    let strict = get("values/timeseries?key=temperature&useStrictDataTypes=true").await.body;
    assert_eq!(strict, json!({"temperature": [{"ts": 2000, "value": 21.0}]}));
    let points = json!({"temperature": [{"ts": 2000, "value": "21.0"}, {"ts": 1000, "value": "20.5"}]});
    assert_eq!(get("values/timeseries?keys=temperature&startTs=0&endTs=3000").await.body, points);
    assert_eq!(get("values/timeseries/history?keys=temperature&startTs=0&endTs=3000").await.body, points);
    let bad = StatusCode::BAD_REQUEST;
    refused(&get("values/timeseries/history?keys=temperature").await, bad, 31, "startTs");
    refused(&get("values/attributes/NO_SCOPE").await, bad, 31, "scope: \"NO_SCOPE\" must be");
    refused(&get("values/timeseries?keys=wrong").await, bad, 31, "is wrong");
    refused(&get("values/timeseries?keys=huge").await, bad, 31, "narrow");
    refused(&get("values/timeseries?keys=down").await, StatusCode::SERVICE_UNAVAILABLE, 2, "store stalled");
    let foreign = format!("/api/plugins/telemetry/DEVICE/{}/keys/timeseries", uuid::Uuid::from_u128(9));
    refused(&house.ask(&Method::GET, &foreign, Some(&tenant), None).await, StatusCode::NOT_FOUND, 32, "Device");
    let info = house.ask(&Method::GET, "/api/tenant/deviceInfos?pageSize=1&page=0", Some(&tenant), None).await.body;
    assert_eq!(info["data"][0]["active"], true);
}

#[tokio::test]
async fn writes_reach_the_data_plane() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let id = house.demo_device(&tenant).await;
    let base = format!("/api/plugins/telemetry/DEVICE/{id}");
    let short = format!("/api/plugins/telemetry/{id}");
    let (post, delete) = (Method::POST, Method::DELETE);
    let cases = [
        (&post, format!("{base}/attributes/SHARED_SCOPE"), r#"Shared {"a":1}"#),
        (&post, format!("{base}/SERVER_SCOPE"), r#"Server {"a":1}"#),
        (&post, format!("{short}/SHARED_SCOPE"), r#"Shared {"a":1}"#),
        (&post, format!("{base}/timeseries/ANY"), r#"series {"a":1} ttl 0"#),
        (&post, format!("{base}/timeseries/ANY/60"), r#"series {"a":1} ttl 60"#),
        (&delete, format!("{base}/timeseries/delete?keys=a,b&deleteAllDataForKeys=true"), "delete a+b 0..0 all true"),
        (&delete, format!("{base}/timeseries/delete?keys=a&startTs=1&endTs=2"), "delete a 1..2 all false"),
        (&delete, format!("{base}/SHARED_SCOPE?keys=a"), "delete Shared a"),
        (&delete, format!("{short}/CLIENT_SCOPE?keys=a,b"), "delete Client a+b"),
    ];
    for (method, path, expected) in cases {
        let answer = house.ask(method, &path, Some(&tenant), Some(r#"{"a":1}"#)).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""), "{path}");
        assert_eq!(fake.written.lock().await.pop().as_deref(), Some(expected), "{path}");
    }
    let refusals = [
        (&delete, format!("{base}/timeseries/delete?deleteAllDataForKeys=true"), "keys"),
        (&delete, format!("{base}/timeseries/delete?keys=a"), "deleteAllDataForKeys"),
        (&delete, format!("{base}/timeseries/delete?keys=a&startTs=3&endTs=2"), "endTs 2"),
        (&delete, format!("{base}/timeseries/delete?keys=a&deleteLatest=false&startTs=1&endTs=2"), "deleteLatest"),
        (&delete, format!("{base}/SHARED_SCOPE"), "keys"),
        (&post, format!("{base}/attributes/WRONG"), "WRONG"),
        (&post, format!("{base}/timeseries/ANY/x"), "x"),
    ];
    for (method, path, says) in refusals {
        let answer = house.ask(method, &path, Some(&tenant), Some("{}")).await;
        refused(&answer, StatusCode::BAD_REQUEST, 31, says);
    }
    assert!(fake.written.lock().await.is_empty());
}

#[tokio::test]
async fn without_a_data_plane_values_are_unavailable() {
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let id = house.demo_device(&tenant).await;
    let path = format!("/api/plugins/telemetry/DEVICE/{id}/values/timeseries");
    let answer = house.ask(&Method::GET, &path, Some(&tenant), None).await;
    refused(&answer, StatusCode::SERVICE_UNAVAILABLE, 2, "no data plane is connected");
}

#[tokio::test]
async fn the_page_at_the_root_needs_nothing_from_elsewhere() {
    let house = House::open(None).await;
    let page = house.ask(&Method::GET, "/", None, None).await;
    assert_eq!(page.status, StatusCode::OK);
    for elsewhere in ["src=\"", "<link", "@import", "url("] {
        assert!(!page.text.contains(elsewhere), "{elsewhere}");
    }
    let document = house.ask(&Method::GET, "/v3/api-docs", None, None).await;
    assert!(
        document.body["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
        "{:?}",
        document.body["openapi"]
    );
}
