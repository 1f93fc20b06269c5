//! ThingsBoard's shapes of credentials, profiles, tenant profiles, customers and claims, and what is said of bad ones.

use super::*;
use crate::domain::certificates::{Authority, pem};

/// A house and a way to ask it as one user.
struct Asker<'a> {
    house: &'a House,
    token: String,
}

impl Asker<'_> {
    async fn get(&self, path: &str) -> Answer {
        self.house.ask(&Method::GET, path, Some(&self.token), None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.house.ask(&Method::POST, path, Some(&self.token), Some(&body.to_string())).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.house.ask(&Method::DELETE, path, Some(&self.token), None).await
    }
}

async fn signed<'a>(house: &'a House, name: &str) -> Asker<'a> {
    let token = house.sign_in(&format!("{name}@thingsboard.org"), name).await;
    Asker { house, token }
}

const BAD: StatusCode = StatusCode::BAD_REQUEST;

#[tokio::test]
async fn credentials_have_thingsboards_shapes() {
    let house = House::open(None).await;
    let tenant = signed(&house, "tenant").await;
    let id = house.demo_device(&tenant.token).await;
    let set = async |kind: &str, value: Value| {
        let body = json!({"deviceId": {"id": id}, "credentialsType": kind, "credentialsValue": value});
        tenant.post("/api/device/credentials", &body).await
    };
    let basic = set("MQTT_BASIC", json!(r#"{"clientId":"c","userName":"u","password":"p"}"#)).await;
    let masked = r#"{"clientId":"c","password":"********","userName":"u"}"#;
    assert_eq!((&basic.body["credentialsType"], &basic.body["credentialsValue"]), (&json!("MQTT_BASIC"), &json!(masked)));
    assert_eq!(basic.body["credentialsId"], "29cd886b96af386fd43e35097f8228b97209711642b8b65ebf118b288accb0ea");
    assert_eq!(tenant.get(&format!("/api/device/{id}/credentials")).await.body, basic.body);
    // What was read can be sent back.
    let again = tenant.post("/api/device/credentials", &basic.body).await;
    assert_eq!((again.status, &again.body["credentialsValue"]), (StatusCode::OK, &json!(masked)));
    let certificate = pem(&Authority::new("Root").device("A1"));
    let body: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let shown = set("X509_CERTIFICATE", json!(certificate)).await.body;
    assert_eq!((&shown["credentialsValue"], shown["credentialsId"].as_str().unwrap().len()), (&json!(body), 64));
    let first = tenant.get("/api/tenant/devices?deviceName=Test%20Device%20A2").await.body["id"]["id"].clone();
    let twin = json!({"deviceId": {"id": first}, "credentialsType": "X509_CERTIFICATE", "credentialsValue": body});
    refused(&tenant.post("/api/device/credentials", &twin).await, BAD, 31, "with such credentialsId already exists");
    refused(&set("LWM2M_CREDENTIALS", json!("{}")).await, BAD, 31, "this version has no LwM2M");
    refused(&set("SECRET", json!(null)).await, BAD, 31, "credentialsType: \"SECRET\" must be");
    refused(&set("MQTT_BASIC", json!(r#"{"clientId":"c","password":"p"}"#)).await, BAD, 31, "password: \"***\"");
    refused(&set("X509_CERTIFICATE", json!("abc")).await, BAD, 31, "credentialsValue");
    refused(&tenant.post("/api/device/credentials", &json!({"credentialsId": "T"})).await, BAD, 31, "deviceId");
    let whole = json!({
        "device": {"name": "with", "type": "default"},
        "credentials": {"credentialsType": "MQTT_BASIC", "credentialsValue": r#"{"userName":"with"}"#},
    });
    let made = tenant.post("/api/device-with-credentials", &whole).await;
    assert_eq!(made.body["name"], "with", "{made:?}");
    refused(&tenant.post("/api/device-with-credentials", &whole).await, BAD, 31, "name");
    let plain = json!({"device": {"name": "plain"}, "credentials": {}});
    let made = tenant.post("/api/device-with-credentials", &plain).await.body["id"]["id"].as_str().unwrap().to_owned();
    assert_eq!(tenant.get(&format!("/api/device/{made}/credentials")).await.body["credentialsType"], "ACCESS_TOKEN");
    refused(&tenant.post("/api/device?accessToken=white%20space", &json!({"name": "x"})).await, BAD, 31, "accessToken");
}

#[tokio::test]
async fn profiles_have_thingsboards_shape() {
    let house = House::open(None).await;
    let tenant = signed(&house, "tenant").await;
    let form = json!({
        "name": "meter", "type": "DEFAULT", "transportType": "MQTT", "provisionType": "ALLOW_CREATE_NEW_DEVICES",
        "defaultQueueName": "Main", "image": "data:image/png;base64,AA==",
        "profileData": {
            "configuration": {"type": "DEFAULT"},
            "transportConfiguration": {"type": "MQTT", "deviceTelemetryTopic": "m/+/t", "sparkplug": false},
            "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES"},
            "alarms": [],
        },
    });
    let made = tenant.post("/api/deviceProfile", &form).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    for (field, value) in form.as_object().unwrap() {
        if field != "profileData" {
            assert_eq!(&made.body[field], value, "{field}");
        }
    }
    assert_eq!(made.body["provisionDeviceKey"].as_str().unwrap().len(), 20);
    assert_eq!(made.body["profileData"]["provisionConfiguration"]["provisionDeviceSecret"].as_str().unwrap().len(), 20);
    assert_eq!(made.body["profileData"]["transportConfiguration"], form["profileData"]["transportConfiguration"]);
    let id = made.body["id"]["id"].as_str().unwrap();
    assert_eq!(tenant.get(&format!("/api/deviceProfile/{id}")).await.body, made.body);
    // What was read can be sent back, and is the same but for the version.
    let mut again = tenant.post("/api/deviceProfile", &made.body).await.body;
    assert_eq!(again["version"], 2);
    again["version"] = json!(1);
    assert_eq!(again, made.body);
    let infos = tenant.get("/api/deviceProfileInfos?pageSize=10&page=0&transportType=MQTT").await.body;
    assert_eq!((&infos["totalElements"], &infos["data"][0]["transportType"]), (&json!(1), &json!("MQTT")));
    assert_eq!(tenant.get(&format!("/api/deviceProfileInfo/{id}")).await.body, infos["data"][0]);
    let names = tenant.get("/api/deviceProfile/names").await.body;
    let of = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    assert_eq!(names.as_array().unwrap().iter().map(of).collect::<Vec<_>>(), ["default", "meter"]);
    assert_eq!(names[1]["id"], made.body["id"]);
    assert_eq!(tenant.get("/api/deviceProfile/names?activeOnly=true").await.body.as_array().unwrap().len(), 1);
    tenant.post("/api/device", &json!({"name": "m", "deviceProfileId": made.body["id"]})).await;
    refused(&tenant.delete(&format!("/api/deviceProfile/{id}")).await, BAD, 31, "referenced by the devices");
    assert_eq!(tenant.post(&format!("/api/deviceProfile/{id}/default"), &json!({})).await.body["default"], true);
    let absent = "784f394c-42b6-435a-983c-b7beff2784f9";
    for (field, value, says) in [
        ("transportType", json!("mqtt"), "transportType: \"mqtt\""),
        ("provisionType", json!("SOMETIMES"), "provisionType"),
        ("provisionDeviceKey", json!("x".repeat(256)), "provisionDeviceKey"),
        ("profileData", json!({"alarms": 7}), "alarms"),
        ("defaultRuleChainId", json!({"id": absent}), absent),
        ("name", json!("METER"), "with such name already exists"),
    ] {
        let mut bad = json!({"name": "other", "transportType": "MQTT", "provisionType": "ALLOW_CREATE_NEW_DEVICES"});
        bad[field] = value;
        let answer = tenant.post("/api/deviceProfile", &bad).await;
        let (status, code) = if field == "defaultRuleChainId" { (StatusCode::NOT_FOUND, 32) } else { (BAD, 31) };
        refused(&answer, status, code, says);
    }
}

#[tokio::test]
async fn tenant_profiles_have_thingsboards_shape() {
    let house = House::open(None).await;
    let (root, tenant) = (signed(&house, "sysadmin").await, signed(&house, "tenant").await);
    let default = root.get("/api/tenantProfileInfo/default").await.body;
    assert_eq!((&default["name"], &default["id"]["entityType"]), (&json!("Default"), &json!("TENANT_PROFILE")));
    let form = json!({
        "name": "Small", "description": "x", "isolatedTbRuleEngine": false,
        "profileData": {"configuration": {"type": "DEFAULT", "maxDevices": 3, "transportDeviceMsgRateLimit": "10:1"}},
    });
    let made = root.post("/api/tenantProfile", &form).await.body;
    assert_eq!((&made["profileData"], &made["default"]), (&form["profileData"], &json!(false)));
    let id = made["id"]["id"].as_str().unwrap();
    assert_eq!(root.get(&format!("/api/tenantProfile/{id}")).await.body, made);
    assert_eq!(root.get(&format!("/api/tenantProfileInfo/{id}")).await.body, json!({"id": made["id"], "name": "Small"}));
    let page = root.get("/api/tenantProfiles?pageSize=10&page=0&sortProperty=name&sortOrder=ASC").await.body;
    assert_eq!((&page["totalElements"], &page["data"][1]), (&json!(2), &made));
    assert_eq!(root.get("/api/tenantProfileInfos?pageSize=10&page=0&textSearch=sma").await.body["totalElements"], 1);
    // The demo's tenant gets it: it has as many devices as it may.
    let infos = root.get("/api/tenantInfos?pageSize=10&page=0").await.body;
    assert_eq!(infos["data"][0]["tenantProfileName"], "Default");
    let mut info = infos["data"][0].clone();
    info["tenantProfileId"] = made["id"].clone();
    let bound = root.post("/api/tenant", &info).await.body;
    assert_eq!(bound["tenantProfileId"], made["id"]);
    let info = root.get(&format!("/api/tenant/info/{}", bound["id"]["id"].as_str().unwrap())).await.body;
    assert_eq!(info["tenantProfileName"], "Small");
    refused(&tenant.post("/api/device", &json!({"name": "x"})).await, StatusCode::FORBIDDEN, 41, "Devices limit reached");
    refused(&root.delete(&format!("/api/tenantProfile/{id}")).await, BAD, 31, "referenced by the tenants");
    let mut bad = form.clone();
    bad["profileData"]["configuration"]["transportDeviceMsgRateLimit"] = json!("10");
    refused(&root.post("/api/tenantProfile", &bad).await, BAD, 31, "transportDeviceMsgRateLimit");
    refused(&root.post("/api/tenantProfile", &form).await, BAD, 31, "Tenant profile with such name already exists");
    let forbidden = StatusCode::FORBIDDEN;
    refused(&tenant.post("/api/tenantProfile", &form).await, forbidden, 20, "permission");
    refused(&tenant.get("/api/tenantProfiles").await, forbidden, 20, "permission");
    refused(&tenant.get("/api/tenantInfos").await, forbidden, 20, "permission");
    assert_eq!(root.post(&format!("/api/tenantProfile/{id}/default"), &json!({})).await.body["default"], true);
    refused(&root.delete(&format!("/api/tenantProfile/{id}")).await, BAD, 31, "Default");
}

#[tokio::test]
async fn devices_are_published_claimed_and_given_back() {
    let house = House::open(None).await;
    let (tenant, customer) = (signed(&house, "tenant").await, signed(&house, "customer").await);
    let id = tenant.get("/api/tenant/devices?deviceName=Test%20Device%20A2").await.body["id"]["id"].as_str().unwrap().to_owned();
    let public = tenant.post(&format!("/api/customer/public/device/{id}"), &json!({})).await;
    let owner = public.body["customerId"]["id"].as_str().unwrap().to_owned();
    assert_eq!(tenant.get(&format!("/api/customer/{owner}")).await.body["additionalInfo"], json!({"isPublic": true}));
    let infos = tenant.get(&format!("/api/customer/{owner}/deviceInfos?pageSize=10&page=0")).await.body;
    assert_eq!((&infos["totalElements"], &infos["data"][0]["customerIsPublic"]), (&json!(1), &json!(true)));
    refused(&tenant.post("/api/customer", &json!({"title": "Public"})).await, BAD, 31, "system reserved");
    let path = "/api/customer/device/Test%20Device%20A2/claim";
    let word = async |body: Value| {
        let answer = customer.post(path, &body).await;
        assert_eq!(answer.status, BAD, "{answer:?}");
        answer.body
    };
    assert_eq!(word(json!({"secretKey": "s"})).await, "CLAIMED", "everybody's is somebody's");
    assert_eq!(tenant.delete(&format!("/api/customer/device/{id}")).await.status, StatusCode::OK);
    assert_eq!(word(json!({})).await, "FAILURE");
    house.app.register_claim(id.parse().unwrap(), "s", 0).await.unwrap();
    let bodiless = house.ask(&Method::POST, path, Some(&customer.token), None).await;
    assert_eq!((bodiless.status, &bodiless.body), (BAD, &json!("FAILURE")));
    let claimed = customer.post(path, &json!({"secretKey": "s"})).await;
    assert_eq!((claimed.status, &claimed.body["response"]), (StatusCode::OK, &json!("SUCCESS")));
    assert_eq!(claimed.body["device"]["name"], "Test Device A2");
    assert!(claimed.headers.contains_key("tidegate-applied"));
    let given = customer.delete(path).await;
    assert_eq!((given.status, given.text.as_str()), (StatusCode::OK, ""));
    refused(&customer.post(path, &json!({"secretKey": 7})).await, BAD, 31, "request body");
    refused(&tenant.post(path, &json!({})).await, StatusCode::FORBIDDEN, 20, "permission");
    refused(&customer.delete(path).await, StatusCode::NOT_FOUND, 32, "Test Device A2");
    refused(&customer.post("/api/customer/device/nobody/claim", &json!({})).await, StatusCode::NOT_FOUND, 32, "nobody");
}

#[tokio::test]
async fn lines_may_bring_credentials_of_every_kind() {
    let house = House::open(None).await;
    let tenant = signed(&house, "tenant").await;
    let certificate = pem(&Authority::new("Root").device("c"));
    let columns: Vec<_> =
        ["NAME", "X509", "MQTT_CLIENT_ID", "MQTT_USER_NAME", "MQTT_PASSWORD"].map(|name| json!({"type": name})).to_vec();
    let file = format!("a,,c,u,p\nb,,,u2,\nc,\"{certificate}\",,,\nd,,c,,p\n");
    let body = json!({"file": file, "mapping": {"columns": columns}});
    let said = tenant.post("/api/device/bulk_import", &body).await.body;
    assert_eq!((&said["created"], &said["errors"]), (&json!(3), &json!(1)), "{said}");
    let bad = json!({"file": "a", "mapping": {"columns": [{"type": "NAME"}, {"type": "LWM2M_CLIENT_ENDPOINT"}]}});
    refused(&tenant.post("/api/device/bulk_import", &bad).await, BAD, 31, "LWM2M_CLIENT_ENDPOINT");
}
