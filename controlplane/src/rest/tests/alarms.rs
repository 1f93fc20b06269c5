//! Alarms, from the REST side: begun, changed and ended by a data plane's word, listed by ThingsBoard's filters, seen by whom their
//! originators are seen by, and what is said of them.

use schemas::alarm::Alarm;
use uuid::Uuid;

use super::*;

async fn ask(house: &House, token: &str, method: &Method, path: &str, body: Option<Value>) -> Answer {
    house.ask(method, path, Some(token), body.map(|body| body.to_string()).as_deref()).await
}

fn alarm_on(device: &str, kind: &str, severity: &str) -> Value {
    json!({ "type": kind, "originator": { "entityType": "DEVICE", "id": device }, "severity": severity, "details": { "t": 7 } })
}

async fn begin(house: &House, token: &str, device: &str, kind: &str, severity: &str) -> Value {
    let answer = ask(house, token, &Method::POST, "/api/alarm", Some(alarm_on(device, kind, severity))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

fn id_of(alarm: &Value) -> &str {
    alarm["id"]["id"].as_str().unwrap()
}

#[tokio::test]
async fn alarms_begin_change_and_end() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&tenant).await;
    let begun = begin(&house, &tenant, &device, "hot", "MINOR").await;
    let id = id_of(&begun).to_owned();
    assert_eq!((&begun["status"], &begun["name"], &begun["details"]), (&json!("ACTIVE_UNACK"), &json!("hot"), &json!({"t": 7})));
    assert_eq!(begun["originator"], json!({ "entityType": "DEVICE", "id": device }));
    let grown = begin(&house, &tenant, &device, "hot", "CRITICAL").await;
    assert_eq!((id_of(&grown), &grown["severity"]), (id.as_str(), &json!("CRITICAL")));
    let path = |rest: &str| format!("/api/alarm/{id}{rest}");
    let get = async |path: &str| ask(&house, &tenant, &Method::GET, path, None).await;
    let post = async |path: &str| ask(&house, &tenant, &Method::POST, path, None).await;
    assert_eq!(get(&path("")).await.body, grown);
    let info = get(&format!("/api/alarm/info/{id}")).await.body;
    let names = (&info["originatorName"], &info["originatorDisplayName"], &info["assignee"]);
    assert_eq!(names, (&json!("Test Device A1"), &json!("Test Device A1"), &Value::Null));

    let acknowledged = post(&path("/ack")).await;
    assert_eq!((acknowledged.status, &acknowledged.body["status"]), (StatusCode::OK, &json!("ACTIVE_ACK")));
    assert!(acknowledged.body["ackTs"].as_i64().is_some_and(|ts| ts > 0));
    refused(&post(&path("/ack")).await, StatusCode::BAD_REQUEST, 31, "already acknowledged");
    let me = get("/api/auth/user").await.body["id"]["id"].as_str().unwrap().to_owned();
    let assigned = post(&path(&format!("/assign/{me}"))).await.body;
    assert_eq!((&assigned["assigneeId"]["id"], &assigned["assignee"]["email"]), (&json!(me), &json!("tenant@thingsboard.org")));
    refused(&post(&path(&format!("/assign/{}", Uuid::from_u128(5)))).await, StatusCode::BAD_REQUEST, 31, "assigneeId");
    let unassigned = ask(&house, &tenant, &Method::DELETE, &path("/assign"), None).await.body;
    assert_eq!(unassigned["assigneeId"], Value::Null);
    assert_eq!(post(&path("/clear")).await.body["status"], "CLEARED_ACK");
    refused(&post(&path("/clear")).await, StatusCode::BAD_REQUEST, 31, "already cleared");
    let another = begin(&house, &tenant, &device, "hot", "WARNING").await;
    assert_ne!(id_of(&another), id);
    let mut all_at_once = alarm_on(&device, "wet", "MAJOR");
    all_at_once["acknowledged"] = true.into();
    all_at_once["cleared"] = true.into();
    let over = ask(&house, &tenant, &Method::POST, "/api/alarm", Some(all_at_once)).await;
    assert_eq!(over.body["status"], "CLEARED_ACK", "{over:?}");

    assert_eq!(ask(&house, &tenant, &Method::DELETE, &path(""), None).await.text, "true");
    for (method, rest) in [(Method::GET, ""), (Method::POST, "/ack"), (Method::DELETE, "")] {
        refused(&ask(&house, &tenant, &method, &path(rest), None).await, StatusCode::NOT_FOUND, 32, "Alarm with id");
    }
    let lines =
        get("/api/audit/logs?pageSize=20&page=0&actionTypes=ALARM_ACK,ALARM_CLEAR,ALARM_ASSIGNED,ALARM_DELETE").await.body;
    let line = |line: &Value| format!("{} {} {}", line["actionType"], line["actionStatus"], line["entityName"]).replace('"', "");
    let mut lines: Vec<String> = lines["data"].as_array().unwrap().iter().map(line).collect();
    lines.reverse();
    lines.dedup();
    let expected =
        ["ALARM_ACK SUCCESS", "ALARM_ACK FAILURE", "ALARM_ASSIGNED SUCCESS", "ALARM_CLEAR SUCCESS", "ALARM_CLEAR FAILURE"];
    assert_eq!(lines[..5], expected.map(|line| format!("{line} Test Device A1")), "{lines:?}");
    assert!(lines.contains(&"ALARM_DELETE SUCCESS Test Device A1".to_owned()));
}

#[tokio::test]
async fn lists_are_filtered_as_thingsboard_filters_them() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&tenant).await;
    let mut ids = Vec::new();
    for (kind, severity) in [("hot", "MINOR"), ("Wet", "CRITICAL"), ("old", "MAJOR")] {
        ids.push(id_of(&begin(&house, &tenant, &device, kind, severity).await).to_owned());
    }
    ask(&house, &tenant, &Method::POST, &format!("/api/alarm/{}/ack", ids[0]), None).await;
    ask(&house, &tenant, &Method::POST, &format!("/api/alarm/{}/clear", ids[2]), None).await;
    let of_device = format!("/api/v2/alarm/DEVICE/{device}");
    let check = async |path: &str, query: &str, expected: &[&str]| {
        let page = ask(
            &house,
            &tenant,
            &Method::GET,
            &format!("{path}?pageSize=10&page=0&sortProperty=type&sortOrder=ASC&{query}"),
            None,
        )
        .await;
        let found = page.body["data"].as_array().unwrap_or_else(|| panic!("{page:?}"));
        let kinds: Vec<&str> = found.iter().map(|alarm| alarm["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, expected, "{path} {query}");
    };
    for path in ["/api/alarms", "/api/v2/alarms", &of_device, &format!("/api/alarm/DEVICE/{device}")] {
        check(path, "", &["Wet", "hot", "old"]).await;
        check(path, "textSearch=wet", &["Wet"]).await;
        check(path, "startTime=0&endTime=9", &[]).await;
        check(path, "startTime=9", &["Wet", "hot", "old"]).await;
    }
    check("/api/alarms", "searchStatus=ACTIVE", &["Wet", "hot"]).await;
    check("/api/alarms", "status=CLEARED_UNACK", &["old"]).await;
    check(&of_device, "statusList=ACTIVE,UNACK", &["Wet"]).await;
    check(&of_device, "statusList=ACTIVE,CLEARED,ACK", &["hot"]).await;
    check(&of_device, "severityList=MAJOR,MINOR", &["hot", "old"]).await;
    check(&of_device, "typeList=hot,Wet", &["Wet", "hot"]).await;
    check(&of_device, &format!("assigneeId={}", Uuid::from_u128(3)), &[]).await;
    let get = async |path: &str| ask(&house, &tenant, &Method::GET, path, None).await;
    let worst = format!("/api/alarm/highestSeverity/DEVICE/{device}");
    assert_eq!(get(&worst).await.body, "CRITICAL");
    assert_eq!(get(&format!("{worst}?searchStatus=CLEARED")).await.body, "MAJOR");
    assert_eq!(get(&format!("{worst}?status=CLEARED_ACK")).await.text, "");
    let types = get("/api/alarm/types?pageSize=2&page=0&sortOrder=ASC").await.body;
    let kinds: Vec<&Value> = types["data"].as_array().unwrap().iter().map(|kind| &kind["type"]).collect();
    assert_eq!((kinds, &types["totalElements"]), (vec![&json!("Wet"), &json!("hot")], &json!(3)));
    for (query, says) in [
        ("statusList=GONE", "statusList"),
        ("status=ACTIVE", "status"),
        ("severityList=BAD", "severity"),
        ("sortProperty=colour", "sortProperty"),
        ("startTime=soon", "startTime"),
    ] {
        refused(&get(&format!("{of_device}?{query}")).await, StatusCode::BAD_REQUEST, 31, says);
    }
    for (body, says) in [
        (alarm_on(&device, "", "MAJOR"), "type"),
        (alarm_on(&device, "x", "BAD"), "severity"),
        (json!({ "type": "x", "severity": "MAJOR", "originator": { "entityType": "MOON", "id": device } }), "entityType"),
    ] {
        refused(&ask(&house, &tenant, &Method::POST, "/api/alarm", Some(body)).await, StatusCode::BAD_REQUEST, 31, says);
    }
    // With its device an alarm goes, and what is told of it afterwards comes too late.
    assert_eq!(ask(&house, &tenant, &Method::DELETE, &format!("/api/device/{device}"), None).await.status, StatusCode::OK);
    let alarms = fake.alarms.lock().await.clone();
    house.app.take_alarms(alarms.into_values().collect()).await.unwrap();
    check("/api/alarms", "", &[]).await;
}

#[tokio::test]
async fn a_customer_user_sees_its_devices_alarms_and_speaks_for_itself() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    let system = house.sign_in("sysadmin@thingsboard.org", "sysadmin").await;
    let assigned = house.demo_device(&tenant).await;
    let path = "/api/tenant/devices?pageSize=10&page=0&textSearch=Test%20Device%20A2";
    let page = ask(&house, &tenant, &Method::GET, path, None).await.body;
    let unassigned = page["data"][0]["id"]["id"].as_str().unwrap().to_owned();
    let own = begin(&house, &customer, &assigned, "own", "MAJOR").await;
    let foreign = begin(&house, &tenant, &unassigned, "foreign", "MAJOR").await;
    assert_eq!(own["customerId"]["entityType"], "CUSTOMER");
    let list = ask(&house, &customer, &Method::GET, "/api/alarms?pageSize=10&page=0", None).await.body;
    assert_eq!((&list["totalElements"], &list["data"][0]["type"]), (&json!(1), &json!("own")));
    assert_eq!(ask(&house, &tenant, &Method::GET, "/api/alarms", None).await.body["totalElements"], 2);
    let kinds = ask(&house, &customer, &Method::GET, "/api/alarm/types", None).await.body;
    assert_eq!(kinds["totalElements"], 1);
    for (method, rest) in [(Method::GET, ""), (Method::POST, "/ack"), (Method::DELETE, ""), (Method::GET, "/comment")] {
        let answer = ask(&house, &customer, &method, &format!("/api/alarm/{}{rest}", id_of(&foreign)), None).await;
        refused(&answer, StatusCode::NOT_FOUND, 32, "Alarm with id");
    }
    let elsewhere = ask(&house, &customer, &Method::GET, &format!("/api/alarm/DEVICE/{unassigned}"), None).await;
    refused(&elsewhere, StatusCode::NOT_FOUND, 32, "Device");
    let answer = ask(&house, &customer, &Method::POST, "/api/alarm", Some(alarm_on(&unassigned, "x", "MAJOR"))).await;
    refused(&answer, StatusCode::NOT_FOUND, 32, "Device");
    refused(&ask(&house, &system, &Method::GET, "/api/alarms", None).await, StatusCode::FORBIDDEN, 20, "permission");
    assert_eq!(
        ask(&house, &customer, &Method::POST, &format!("/api/alarm/{}/ack", id_of(&own)), None).await.status,
        StatusCode::OK
    );

    let comments = format!("/api/alarm/{}/comment", id_of(&own));
    let say = async |token: &str, body: Value| ask(&house, token, &Method::POST, &comments, Some(body)).await;
    let said = say(&customer, json!({ "comment": { "text": "I look" } })).await.body;
    assert_eq!((&said["type"], &said["email"]), (&json!("OTHER"), &json!("customer@thingsboard.org")));
    let other = say(&tenant, json!({ "comment": { "text": "so do I" } })).await.body;
    refused(&say(&tenant, json!({ "id": said["id"], "comment": {} })).await, StatusCode::FORBIDDEN, 20, "permission");
    refused(&say(&tenant, json!({ "comment": "text" })).await, StatusCode::BAD_REQUEST, 31, "comment");
    let edited = say(&customer, json!({ "id": said["id"], "comment": { "text": "done" } })).await.body;
    assert_eq!((&edited["comment"]["text"], &edited["comment"]["edited"]), (&json!("done"), &json!("true")));
    let delete = async |token: &str, comment: &Value| {
        ask(&house, token, &Method::DELETE, &format!("{comments}/{}", id_of(comment)), None).await
    };
    refused(&delete(&tenant, &said).await, StatusCode::FORBIDDEN, 20, "permission");
    assert_eq!(delete(&tenant, &other).await.status, StatusCode::OK);
    let page = ask(&house, &customer, &Method::GET, &format!("{comments}?pageSize=10&page=0&sortOrder=ASC"), None).await.body;
    let text = |comment: &Value| format!("{} {}", comment["type"], comment["comment"]["text"]);
    let texts: Vec<String> = page["data"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(texts, [r#""OTHER" "done""#, r#""SYSTEM" "User tenant@thingsboard.org deleted his comment""#]);
}

#[tokio::test]
async fn without_a_data_plane_alarms_are_read_and_not_changed() {
    let fake = Fake::start().await;
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let device = house.demo_device(&tenant).await;
    let joined = house.join(&fake);
    let begun = begin(&house, &tenant, &device, "hot", "MINOR").await;
    drop(joined);
    let path = format!("/api/alarm/{}", id_of(&begun));
    assert_eq!(ask(&house, &tenant, &Method::GET, &path, None).await.body, begun);
    let answer = ask(&house, &tenant, &Method::POST, &format!("{path}/ack"), None).await;
    refused(&answer, StatusCode::SERVICE_UNAVAILABLE, 2, "no data plane");
    // What is told late, or twice, changes nothing that is newer.
    let newer: Vec<_> =
        fake.alarms.lock().await.values().cloned().map(|alarm| Alarm { version: 9, ack_ts: Some(5), ..alarm }).collect();
    let older: Vec<_> = newer.iter().cloned().map(|alarm| Alarm { version: 8, ack_ts: None, ..alarm }).collect();
    house.app.take_alarms([older.clone(), newer.clone(), older.clone()].concat()).await.unwrap();
    house.app.take_alarms(older).await.unwrap();
    assert_eq!(ask(&house, &tenant, &Method::GET, &path, None).await.body["status"], "ACTIVE_ACK");
    let gone = newer.into_iter().map(|alarm| Alarm { version: 10, deleted: true, ..alarm }).collect();
    house.app.take_alarms(gone).await.unwrap();
    refused(&ask(&house, &tenant, &Method::GET, &path, None).await, StatusCode::NOT_FOUND, 32, "Alarm with id");
}
