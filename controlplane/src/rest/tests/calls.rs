//! Calls to devices, from the REST side: outcomes by version, persistent calls, whose devices may be called, the audit log.

use uuid::Uuid;

use super::*;

const BODY: &str = r#"{"method":"sum","params":{"b":1,"a":2}}"#;

async fn signed(house: &House) -> (String, String) {
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&tenant).await;
    (tenant, device)
}

#[tokio::test]
async fn outcomes_are_those_of_the_version() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let (tenant, id) = signed(&house).await;
    let post = async |path: &str, body: &str| house.ask(&Method::POST, &format!("{path}/{id}"), Some(&tenant), Some(body)).await;
    for base in ["/api/rpc", "/api/plugins/rpc"] {
        let two_way = post(&format!("{base}/twoway"), BODY).await;
        assert_eq!((two_way.status, two_way.text.as_str()), (StatusCode::OK, r#"{"b":1,"a":2}"#), "as the device said it");
        assert_eq!(two_way.headers["content-type"], "application/json");
        let one_way = post(&format!("{base}/oneway"), BODY).await;
        assert_eq!((one_way.status, one_way.text.as_str()), (StatusCode::OK, ""));
        let bare = post(&format!("{base}/twoway"), r#"{"method":"sum"}"#).await;
        assert_eq!(bare.text, "null");
    }
    let (absent, silent) = (r#"{"method":"absent"}"#, r#"{"method":"silent"}"#);
    for way in ["oneway", "twoway"] {
        refused(&post(&format!("/api/rpc/{way}"), absent).await, StatusCode::GATEWAY_TIMEOUT, 31, "no active connection");
        refused(&post(&format!("/api/rpc/{way}"), silent).await, StatusCode::GATEWAY_TIMEOUT, 31, "did not answer");
        refused(&post(&format!("/api/plugins/rpc/{way}"), absent).await, StatusCode::CONFLICT, 31, "no active connection");
        refused(&post(&format!("/api/plugins/rpc/{way}"), silent).await, StatusCode::REQUEST_TIMEOUT, 31, "did not answer");
    }
    let bad = StatusCode::BAD_REQUEST;
    let cases = [
        ("{}", "method"),
        (r#"{"method":""}"#, "method: \"\" must have 1 to 255 bytes"),
        (r#"{"method":7}"#, "request body"),
        (r#"{"method":"m","timeout":-1}"#, "timeout: \"-1\" must be 0 to 300000 ms"),
        (r#"{"method":"m","timeout":"soon"}"#, "request body"),
        (r#"{"method":"m","expirationTime":1}"#, "expirationTime: \"1\" must lie in the next 300000 ms"),
        (r#"{"method":"m","retries":101}"#, "retries: \"101\" must be 0 to 100"),
        (r#"{"method":"m","requestUUID":"x"}"#, "request body"),
        (r#"{"method":"wrong"}"#, "method: \"wrong\" is wrong"),
    ];
    for (body, says) in cases {
        refused(&post("/api/rpc/twoway", body).await, bad, 31, says);
    }
    let long = format!(r#"{{"method":"m","params":"{}"}}"#, "x".repeat(64 << 10));
    refused(&post("/api/rpc/twoway", &long).await, bad, 31, "params");
    let full = post("/api/rpc/twoway", r#"{"method":"full"}"#).await;
    refused(&full, StatusCode::TOO_MANY_REQUESTS, 33, "try again");
    assert!(full.headers.contains_key("retry-after"));
    let foreign = house.ask(&Method::POST, &format!("/api/rpc/twoway/{}", Uuid::nil()), Some(&tenant), Some(BODY)).await;
    refused(&foreign, StatusCode::NOT_FOUND, 32, "Device");
    let nobody = House::open(None).await;
    let (tenant, id) = signed(&nobody).await;
    let answer = nobody.ask(&Method::POST, &format!("/api/rpc/twoway/{id}"), Some(&tenant), Some(BODY)).await;
    refused(&answer, StatusCode::SERVICE_UNAVAILABLE, 2, "no data plane is connected");
}

#[tokio::test]
async fn a_persistent_call_is_kept_listed_and_deleted() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let (tenant, id) = signed(&house).await;
    let ask = async |method: Method, path: &str, body: Option<&str>| house.ask(&method, path, Some(&tenant), body).await;
    let post = async |body: Value| ask(Method::POST, &format!("/api/rpc/twoway/{id}"), Some(&body.to_string())).await;
    let call = Uuid::from_u128(77);
    let body = json!({"method": "sum", "params": [1], "persistent": true, "requestUUID": call, "retries": 2, "additionalInfo": {"by": "me"}});
    for _ in 0..2 {
        // Asked twice with one id, it is one call.
        assert_eq!(post(body.clone()).await.body, json!({"rpcId": call}));
    }
    assert_eq!(fake.calls.lock().await.len(), 1);
    let other = post(json!({"method": "reboot", "persistent": true})).await;
    assert!(other.body["rpcId"].as_str().is_some_and(|text| text.parse::<Uuid>().is_ok()), "{other:?}");
    let shown = ask(Method::GET, &format!("/api/rpc/persistent/{call}"), None).await.body;
    assert_eq!(shown["id"], json!({"entityType": "RPC", "id": call}));
    assert_eq!(shown["deviceId"], json!({"entityType": "DEVICE", "id": id}));
    assert_eq!((&shown["status"], &shown["response"], &shown["createdTime"]), (&json!("QUEUED"), &Value::Null, &json!(1000)));
    assert_eq!(shown["request"]["body"], json!({"method": "sum", "params": "[1]"}));
    assert_eq!((&shown["request"]["oneway"], &shown["request"]["retries"]), (&json!(false), &json!(2)));
    assert_eq!(shown["additionalInfo"], json!({"by": "me"}));
    let list = async |rest: &str| ask(Method::GET, &format!("/api/rpc/persistent/device/{id}?{rest}"), None).await;
    let page = list("pageSize=1&page=0&rpcStatus=QUEUED&sortProperty=method&sortOrder=DESC").await.body;
    assert_eq!((&page["data"], &page["totalElements"], &page["hasNext"]), (&json!([shown]), &json!(2), &json!(true)));
    assert_eq!(list("textSearch=boot").await.body["totalElements"], 1);
    assert_eq!(list("rpcStatus=FAILED").await.body["totalElements"], 0);
    refused(&list("rpcStatus=DELETED").await, StatusCode::BAD_REQUEST, 31, "rpcStatus: \"DELETED\" must be one of QUEUED");
    refused(&list("sortProperty=colour").await, StatusCode::BAD_REQUEST, 31, "sortProperty");
    // Another device may not have the same id, and a call that was refused leaves nothing behind.
    let path = "/api/tenant/devices?pageSize=10&page=0&textSearch=Thermometer";
    let elsewhere = ask(Method::GET, path, None).await.body["data"][0]["id"]["id"].as_str().unwrap().to_owned();
    let taken = ask(Method::POST, &format!("/api/rpc/twoway/{elsewhere}"), Some(&body.to_string())).await;
    refused(&taken, StatusCode::BAD_REQUEST, 31, "requestUUID");
    let lost = Uuid::from_u128(78);
    let answer = post(json!({"method": "full", "persistent": true, "requestUUID": lost})).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    refused(&ask(Method::GET, &format!("/api/rpc/persistent/{lost}"), None).await, StatusCode::NOT_FOUND, 32, "RPC");
    assert_eq!(ask(Method::DELETE, &format!("/api/rpc/persistent/{call}"), None).await.status, StatusCode::OK);
    for method in [Method::GET, Method::DELETE] {
        refused(&ask(method, &format!("/api/rpc/persistent/{call}"), None).await, StatusCode::NOT_FOUND, 32, "RPC with id");
    }
    assert_eq!(fake.calls.lock().await.len(), 1);
    // With its device, the way to a call goes too.
    assert_eq!(ask(Method::DELETE, &format!("/api/device/{id}"), None).await.status, StatusCode::OK);
    let rest = other.body["rpcId"].as_str().unwrap();
    refused(&ask(Method::GET, &format!("/api/rpc/persistent/{rest}"), None).await, StatusCode::NOT_FOUND, 32, "RPC");
}

#[tokio::test]
async fn a_customer_user_calls_its_customers_devices() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let (tenant, assigned) = signed(&house).await;
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    let path = "/api/tenant/devices?pageSize=10&page=0&textSearch=Test%20Device%20A2";
    let page = house.ask(&Method::GET, path, Some(&tenant), None).await.body;
    let unassigned = page["data"][0]["id"]["id"].as_str().unwrap();
    let post = async |id: &str, body: &str| {
        house.ask(&Method::POST, &format!("/api/rpc/twoway/{id}"), Some(&customer), Some(body)).await
    };
    assert_eq!(post(&assigned, BODY).await.status, StatusCode::OK);
    refused(&post(unassigned, BODY).await, StatusCode::NOT_FOUND, 32, "Device");
    let kept = r#"{"method":"sum","persistent":true}"#;
    let call = post(&assigned, kept).await.body["rpcId"].as_str().unwrap().to_owned();
    let of_tenant = house.ask(&Method::POST, &format!("/api/rpc/twoway/{unassigned}"), Some(&tenant), Some(kept)).await;
    let hidden = of_tenant.body["rpcId"].as_str().unwrap().to_owned();
    let on = async |method: Method, call: &str| {
        house.ask(&method, &format!("/api/rpc/persistent/{call}"), Some(&customer), None).await
    };
    assert_eq!(on(Method::GET, &call).await.body["status"], "QUEUED");
    refused(&on(Method::GET, &hidden).await, StatusCode::NOT_FOUND, 32, "RPC");
    refused(&on(Method::DELETE, &call).await, StatusCode::FORBIDDEN, 20, "permission");
    let standing = async |id: &str| {
        house.ask(&Method::GET, &format!("/api/tidegate/device/{id}/standing"), Some(&customer), None).await
    };
    let expected = json!({"connected": true, "transport": "MQTT 5", "refused": {"rate": 3}});
    assert_eq!(standing(&assigned).await.body, expected);
    refused(&standing(unassigned).await, StatusCode::NOT_FOUND, 32, "Device");
    let system = house.sign_in("sysadmin@thingsboard.org", "sysadmin").await;
    let outside = house.ask(&Method::POST, &format!("/api/rpc/twoway/{assigned}"), Some(&system), Some(BODY)).await;
    refused(&outside, StatusCode::FORBIDDEN, 20, "permission");
}
