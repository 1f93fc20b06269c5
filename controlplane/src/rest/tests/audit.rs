//! The audit log, from the REST side: every change has its line, with names, outcomes and filters.

use super::*;

async fn lines(house: &House, token: &str, path: &str) -> Vec<Value> {
    let answer = house.ask(&Method::GET, &format!("/api/audit/logs{path}"), Some(token), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["data"].as_array().unwrap().clone()
}

fn told(lines: &[Value]) -> Vec<(&str, &str, &str)> {
    let text = |line: &'_ Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let _ = text;
    lines
        .iter()
        .map(|line| {
            let word = |field: &str| line[field].as_str().unwrap_or_default();
            (word("actionType"), word("entityName"), word("actionStatus"))
        })
        .collect()
}

#[tokio::test]
async fn every_change_has_its_line() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let ask = async |method: Method, path: &str, body: Value| {
        let answer = house.ask(&method, path, Some(&tenant), Some(&body.to_string())).await;
        assert!(answer.status.is_success() || answer.status == StatusCode::GATEWAY_TIMEOUT, "{answer:?}");
        answer.body
    };
    let made = ask(Method::POST, "/api/device?accessToken=SECRET_TOKEN", json!({"name": "Pump", "label": "P"})).await;
    let id = made["id"]["id"].as_str().unwrap().to_owned();
    let customers = ask(Method::GET, "/api/customers?pageSize=1&page=0", Value::Null).await;
    let customer = customers["data"][0]["id"]["id"].as_str().unwrap().to_owned();
    ask(Method::POST, &format!("/api/customer/{customer}/device/{id}"), json!({})).await;
    ask(Method::POST, &format!("/api/plugins/telemetry/DEVICE/{id}/SHARED_SCOPE"), json!({"level": 7})).await;
    ask(Method::POST, &format!("/api/rpc/twoway/{id}"), json!({"method": "sum", "params": 1})).await;
    ask(Method::POST, &format!("/api/rpc/twoway/{id}"), json!({"method": "absent"})).await;
    ask(Method::DELETE, &format!("/api/device/{id}"), Value::Null).await;

    let about = lines(&house, &tenant, &format!("/entity/DEVICE/{id}?pageSize=20&page=0")).await;
    let expected = [
        ("DELETED", "Pump", "SUCCESS"),
        ("RPC_CALL", "Pump", "FAILURE"),
        ("RPC_CALL", "Pump", "SUCCESS"),
        ("ATTRIBUTES_UPDATED", "Pump", "SUCCESS"),
        ("ASSIGNED_TO_CUSTOMER", "Pump", "SUCCESS"),
        ("ADDED", "Pump", "SUCCESS"),
    ];
    assert_eq!(told(&about), expected);
    assert_eq!(about[1]["actionFailureDetails"], "NO_ACTIVE_CONNECTION");
    assert_eq!(about[2]["actionData"], json!({"entityId": id, "method": "sum", "params": "1", "oneWay": false, "persistent": false}));
    assert_eq!(about[3]["actionData"], json!({"entityId": id, "scope": "SHARED_SCOPE", "attributes": {"level": 7}}));
    assert_eq!((&about[5]["actionData"]["entity"]["label"], &about[5]["userName"]), (&json!("P"), &json!("tenant@thingsboard.org")));
    assert_eq!(about[5]["entityId"], json!({"entityType": "DEVICE", "id": id}));
    assert!(about.iter().all(|line| !line.to_string().contains("SECRET_TOKEN")), "no line tells a secret");

    // By customer: what was done to its devices while they were its own, and by its users.
    house.sign_in("customer@thingsboard.org", "customer").await;
    let of_customer = lines(&house, &tenant, &format!("/customer/{customer}?pageSize=20&page=0")).await;
    assert_eq!(told(&of_customer)[0], ("LOGIN", "customer@thingsboard.org", "SUCCESS"));
    assert!(told(&of_customer).contains(&("RPC_CALL", "Pump", "SUCCESS")));
    let me = about[0]["userId"]["id"].as_str().unwrap();
    assert!(lines(&house, &tenant, &format!("/user/{me}?pageSize=20&page=0")).await.len() > about.len());
    let calls = lines(&house, &tenant, "?actionTypes=RPC_CALL,LOGIN&textSearch=pump&sortProperty=actionStatus&sortOrder=ASC").await;
    assert_eq!(told(&calls), [("RPC_CALL", "Pump", "FAILURE"), ("RPC_CALL", "Pump", "SUCCESS")]);
    let first = about[5]["createdTime"].as_i64().unwrap();
    assert_eq!(lines(&house, &tenant, &format!("/entity/DEVICE/{id}?endTime={}", first - 1)).await.len(), 0);
    assert_eq!(lines(&house, &tenant, &format!("/entity/DEVICE/{id}?startTime={first}&pageSize=20")).await.len(), 6);
}

#[tokio::test]
async fn the_log_is_the_tenants_alone() {
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let get = async |token: &str, path: &str| house.ask(&Method::GET, path, Some(token), None).await;
    for name in ["sysadmin", "customer"] {
        let outsider = house.sign_in(&format!("{name}@thingsboard.org"), name).await;
        for path in ["", "/user/784f394c-42b6-435a-983c-b7beff2784f9", "/customer/784f394c-42b6-435a-983c-b7beff2784f9"] {
            refused(&get(&outsider, &format!("/api/audit/logs{path}")).await, StatusCode::FORBIDDEN, 20, "permission");
        }
    }
    let bad = StatusCode::BAD_REQUEST;
    let id = "784f394c-42b6-435a-983c-b7beff2784f9";
    refused(&get(&tenant, &format!("/api/audit/logs/entity/TEAPOT/{id}")).await, bad, 31, "entityType: \"TEAPOT\" must be one of");
    refused(&get(&tenant, "/api/audit/logs/user/me").await, bad, 31, "me");
    refused(&get(&tenant, "/api/audit/logs?startTime=now").await, bad, 31, "startTime: \"now\" must be milliseconds");
    refused(&get(&tenant, "/api/audit/logs?sortProperty=colour").await, bad, 31, "sortProperty");
    let many = vec!["A"; 101].join(",");
    refused(&get(&tenant, &format!("/api/audit/logs?actionTypes={many}")).await, bad, 31, "actionTypes");
}
