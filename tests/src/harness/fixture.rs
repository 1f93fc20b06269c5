//! What most tests begin with: a running instance, its users, devices made over REST, and readings read back.
//! Never caches: each call is one request.

use super::instance::{Home, Instance, Setup};
use super::rest::Rest;
use serde_json::{Value, json};

/// The demo device's access token.
pub const DEMO_TOKEN: &str = "A1_TEST_TOKEN";

/// A running standalone instance and its demo tenant administrator.
#[derive(Debug)]
pub struct Fixture {
    pub instance: Instance,
    pub tenant: Rest,
    pub home: Home,
}

impl Fixture {
    /// One shard, demo data.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|setup| setup)
    }

    /// Demo data and whatever `change` sets.
    #[must_use]
    pub fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let home = Home::new();
        let instance = change(Setup::standalone(&home)).start();
        let tenant = tenant(&instance);
        Self { instance, tenant, home }
    }
}

/// The demo tenant administrator.
#[must_use]
pub fn tenant(instance: &Instance) -> Rest {
    instance.rest().login("tenant@thingsboard.org", "tenant")
}

/// The system administrator.
#[must_use]
pub fn sysadmin(instance: &Instance) -> Rest {
    instance.rest().login("sysadmin@thingsboard.org", "sysadmin")
}

/// The demo customer's user.
#[must_use]
pub fn customer(instance: &Instance) -> Rest {
    instance.rest().login("customer@thingsboard.org", "customer")
}

/// Makes another tenant with an administrator, who is logged in.
#[must_use]
pub fn second_tenant(instance: &Instance) -> Rest {
    let sysadmin = sysadmin(instance);
    let tenant = sysadmin.post("/api/tenant", &json!({ "title": "Second" })).json();
    let user = json!({ "email": "second@example.org", "authority": "TENANT_ADMIN", "tenantId": tenant["id"],
        "firstName": "Second", "lastName": "Tenant" });
    activate(&sysadmin, &user, "second-password")
}

/// Creates a user and gives it a password as ThingsBoard's activation does; the user is logged in.
#[must_use]
pub fn activate(by: &Rest, user: &Value, password: &str) -> Rest {
    let saved = by.post("/api/user?sendActivationMail=false", user).json();
    let id = id_of(&saved);
    let link = by.get(&format!("/api/user/{id}/activationLink")).expect_text(200);
    let token = link.trim().trim_matches('"').rsplit_once('=').expect("an activation link ends in =token").1.to_owned();
    let body = json!({ "activateToken": token, "password": password });
    let _tokens = by.post("/api/noauth/activate?sendActivationMail=false", &body).json();
    by.login(user["email"].as_str().expect("a user has an e-mail"), password)
}

/// The UUID of an entity.
///
/// # Panics
/// When the JSON is not an entity.
#[must_use]
pub fn id_of(entity: &Value) -> String {
    entity["id"]["id"].as_str().unwrap_or_else(|| panic!("an entity has an id: {entity}")).to_owned()
}

/// Posts something that data planes need, which is answered when they have it.
///
/// # Panics
/// When they have not, or when it is refused.
pub fn applied(rest: &Rest, path: &str, body: &Value) -> Value {
    let reply = rest.post(path, body);
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    reply.json()
}

/// Makes the root chain of nodes (class, configuration) and edges (from, label, to).
pub fn draw_root(rest: &Rest, nodes: &[(&str, Value)], edges: &[(usize, &str, usize)]) {
    let node = |(index, (class, configuration)): (usize, &(&str, Value))| {
        json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": format!("{index} {class}"), "configuration": configuration,
            "additionalInfo": { "layoutX": 10, "layoutY": 10 } })
    };
    let edge = |(from, label, to): &(usize, &str, usize)| json!({ "fromIndex": from, "toIndex": to, "type": label });
    let chain = json!({ "ruleChainId": { "entityType": "RULE_CHAIN", "id": root_chain(rest) }, "firstNodeIndex": 0,
        "nodes": nodes.iter().enumerate().map(node).collect::<Vec<_>>(), "connections": edges.iter().map(edge).collect::<Vec<_>>() });
    applied(rest, "/api/ruleChain/metadata", &chain);
}

/// The tenant's root chain.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn root_chain(rest: &Rest) -> String {
    let page = rest.get("/api/ruleChains?pageSize=100&page=0").json();
    let rows = page["data"].as_array().expect("a page has data");
    id_of(rows.iter().find(|row| row["root"] == true).expect("a tenant has a root chain"))
}

/// A device made over REST.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: String,
    pub token: String,
}

/// Creates a device whose access token is `token`.
#[must_use]
pub fn device(rest: &Rest, token: &str) -> Device {
    let body = json!({ "name": format!("device {token}"), "type": "default" });
    let saved = rest.post(&format!("/api/device?accessToken={token}"), &body).json();
    Device { id: id_of(&saved), token: token.to_owned() }
}

/// Creates a device of another profile, or with more of its fields said.
#[must_use]
pub fn device_with(rest: &Rest, token: &str, more: &Value) -> Device {
    let mut body = json!({ "name": format!("device {token}"), "type": "default" });
    let fields = more.as_object().expect("fields are an object").clone();
    body.as_object_mut().expect("it was made an object").extend(fields);
    let saved = rest.post(&format!("/api/device?accessToken={token}"), &body).json();
    Device { id: id_of(&saved), token: token.to_owned() }
}

/// Creates a device that may speak for others.
#[must_use]
pub fn gateway(rest: &Rest, token: &str) -> Device {
    device_with(rest, token, &json!({ "additionalInfo": { "gateway": true } }))
}

/// The device of this name, if there is one.
///
/// # Panics
/// When the answer is neither the device nor that there is none.
#[must_use]
pub fn device_named(rest: &Rest, name: &str) -> Option<Value> {
    let reply = rest.get(&format!("/api/tenant/devices?deviceName={}", name.replace(' ', "%20")));
    if reply.status == 404 { None } else { Some(reply.json()) }
}

/// Sets shared attributes.
pub fn share(rest: &Rest, device: &str, attributes: &Value) {
    rest.post(&telemetry(device, "attributes/SHARED_SCOPE"), attributes).expect_text(200);
}

/// Creates a device profile with these fields.
#[must_use]
pub fn profile(rest: &Rest, fields: &Value) -> Value {
    let mut body = json!({ "type": "DEFAULT", "transportType": "DEFAULT", "provisionType": "DISABLED", "profileData":
        { "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" } } });
    let fields = fields.as_object().expect("fields are an object").clone();
    body.as_object_mut().expect("it was made an object").extend(fields);
    rest.post("/api/deviceProfile", &body).json()
}

/// Sets limits of the default tenant profile (reference 1.8), which both tenants of these tests have.
pub fn limit_tenants(instance: &Instance, limits: &Value) {
    let sysadmin = sysadmin(instance);
    let id = id_of(&sysadmin.get("/api/tenantProfileInfo/default").json());
    let mut profile = sysadmin.get(&format!("/api/tenantProfile/{id}")).json();
    let mut configuration = profile["profileData"]["configuration"].as_object().cloned().unwrap_or_default();
    configuration.insert("type".to_owned(), json!("DEFAULT"));
    configuration.extend(limits.as_object().expect("limits are an object").clone());
    profile["profileData"]["configuration"] = Value::Object(configuration);
    let reply = sysadmin.post("/api/tenantProfile", &profile);
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    let _saved = reply.json();
}

/// How many points a device has under a key.
#[must_use]
pub fn rows(rest: &Rest, device: &str, key: &str) -> usize {
    let end = super::now_ms() + 1_000_000;
    history(rest, device, key, &format!("startTs=0&endTs={end}&agg=NONE&limit=10000000")).len()
}

/// Creates many devices by several clients at once; their tokens are `prefix` and a number.
#[must_use]
pub fn devices(rest: &Rest, prefix: &str, count: usize) -> Vec<Device> {
    const CLIENTS: usize = 8;
    let make = |client: usize| {
        let numbers = (client..count).step_by(CLIENTS);
        numbers.map(|number| device(rest, &format!("{prefix}{number}"))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || make(client))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("creating devices succeeds")).collect()
    })
}

/// The demo device.
#[must_use]
pub fn demo_device(rest: &Rest) -> Device {
    let page = rest.get("/api/tenant/devices?pageSize=100&page=0").json();
    let rows = page["data"].as_array().expect("a page has data");
    let token = |row: &Value| rest.get(&format!("/api/device/{}/credentials", id_of(row))).json()["credentialsId"].clone();
    let row = rows.iter().find(|row| token(row) == DEMO_TOKEN).expect("the demo device has the demo token");
    Device { id: id_of(row), token: DEMO_TOKEN.to_owned() }
}

/// The path of a device's telemetry.
#[must_use]
pub fn telemetry(device: &str, rest_of_path: &str) -> String {
    format!("/api/plugins/telemetry/DEVICE/{device}/{rest_of_path}")
}

/// The latest value of each key as ThingsBoard writes it: text.
#[must_use]
pub fn latest(rest: &Rest, device: &str, keys: &str) -> Value {
    rest.get(&telemetry(device, &format!("values/timeseries?keys={keys}"))).json()
}

/// The latest value of one key, as text.
#[must_use]
pub fn latest_value(rest: &Rest, device: &str, key: &str) -> Option<String> {
    latest(rest, device, key)[key][0]["value"].as_str().map(str::to_owned)
}

/// One key's points of a history query, as (ts, number).
///
/// # Panics
/// When a value is not a number.
#[must_use]
pub fn history(rest: &Rest, device: &str, key: &str, query: &str) -> Vec<(i64, f64)> {
    let reply = rest.get(&telemetry(device, &format!("values/timeseries?keys={key}&{query}"))).json();
    points(&reply, key)
}

/// The points of one key as (ts, number).
///
/// # Panics
/// When a value is not a number.
#[must_use]
pub fn points(reply: &Value, key: &str) -> Vec<(i64, f64)> {
    let rows = reply[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |value: &Value| value.as_str().map_or_else(|| value.as_f64(), |text| text.parse().ok());
    let point = |row: &Value| {
        let ts = row["ts"].as_i64().unwrap_or_else(|| panic!("a point has a ts: {row}"));
        (ts, number(&row["value"]).unwrap_or_else(|| panic!("a numeric value: {row}")))
    };
    rows.iter().map(point).collect()
}

/// The attributes of one scope as key → value.
#[must_use]
pub fn attributes(rest: &Rest, device: &str, scope: &str) -> serde_json::Map<String, Value> {
    let rows = rest.get(&telemetry(device, &format!("values/attributes/{scope}"))).json();
    let rows = rows.as_array().cloned().unwrap_or_else(|| panic!("attributes are a list: {rows}"));
    rows.into_iter().map(|row| (row["key"].as_str().unwrap_or_default().to_owned(), row["value"].clone())).collect()
}
