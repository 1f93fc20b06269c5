//! One tenant never sees another's rows, and a customer user only what was assigned to the customer. Done when 6 of the issue.

use serde_json::{Value, json};
use tests::harness::eventually;
use tests::harness::fixture::{self, Fixture, device, id_of, telemetry};
use tests::harness::mqtt::Wire;
use tests::harness::rest::Rest;
use tests::harness::websocket::Live;

#[test]
fn a_second_tenant_sees_and_changes_nothing_of_the_first() {
    let fixture = Fixture::start();
    let first = &fixture.tenant;
    let device = device(first, "mine");
    let mut wire = Wire::session(fixture.instance.mqtt(), &device.token);
    assert_eq!(wire.telemetry(1, r#"{"secret":1}"#), 0);
    let chain = id_of(&first.get("/api/ruleChains?pageSize=1&page=0").json()["data"][0]);
    let profile = id_of(&first.get("/api/deviceProfileInfo/default").json());
    let tenant = first.get("/api/auth/user").json()["tenantId"]["id"].as_str().expect("a tenant").to_owned();
    let customer = id_of(&first.post("/api/customer", &json!({ "title": "Inner" })).json());

    let second = fixture::second_tenant(&fixture.instance);
    let hidden = [
        format!("/api/device/{}", device.id),
        format!("/api/device/info/{}", device.id),
        format!("/api/device/{}/credentials", device.id),
        format!("/api/ruleChain/{chain}"),
        format!("/api/ruleChain/{chain}/metadata"),
        format!("/api/deviceProfile/{profile}"),
        format!("/api/customer/{customer}"),
        format!("/api/tenant/{tenant}"),
        "/api/tenant/devices?deviceName=device%20mine".to_owned(),
        telemetry(&device.id, "keys/timeseries"),
        telemetry(&device.id, "keys/attributes"),
        telemetry(&device.id, "values/timeseries?keys=secret"),
        telemetry(&device.id, "values/timeseries?keys=secret&startTs=0&endTs=1"),
        telemetry(&device.id, "values/attributes/SERVER_SCOPE"),
    ];
    for path in hidden {
        refused(second.get(&path).status, &path);
    }
    check_field(first, &second, &device.id);
    let originator = json!({ "entityType": "DEVICE", "id": device.id });
    let alarm = first.post("/api/alarm", &json!({ "originator": originator, "type": "secret", "severity": "MINOR" })).json();
    let alarm = format!("/api/alarm/{}", id_of(&alarm));
    refused(second.get(&alarm).status, "an alarm");
    refused(second.get(&format!("{alarm}/comment?pageSize=1&page=0")).status, "what was said of an alarm");
    refused(second.post(&format!("{alarm}/ack"), &json!({})).status, "an acknowledgement");
    refused(second.delete(&alarm).status, "an alarm that is not theirs to delete");
    check_dead_letters(&fixture, &second);
    check_lists(&second);
    check_writes(first, &second, &device.id, &chain);
    assert_eq!(first.get(&alarm).json()["status"], "ACTIVE_UNACK", "nothing changed");

    let mut live = Live::connect(&second);
    let subscription = json!({ "cmdId": 1, "entityType": "DEVICE", "entityId": device.id });
    live.send(&json!({ "tsSubCmds": [subscription] }));
    assert_ne!(live.update_of(1)["errorCode"], 0, "no watch of another tenant's device");
    let mut subscription = subscription;
    subscription["cmdId"] = json!(2);
    subscription["scope"] = json!("SERVER_SCOPE");
    live.send(&json!({ "attrSubCmds": [subscription] }));
    assert_ne!(live.update_of(2)["errorCode"], 0);
    fixture.instance.stop();
}

/// A call of the first tenant that was given up: it may not reach this machine.
fn check_dead_letters(fixture: &Fixture, second: &Rest) {
    const ALL: &str = "/api/tidegate/deadLetters";
    let first = &fixture.tenant;
    let node = |class: &str, configuration: Value| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration });
    let url = json!({ "restEndpointUrlPattern": "http://127.0.0.1:9/", "requestMethod": "POST" });
    let nodes = [node("filter.TbMsgTypeSwitchNode", json!({})), node("rest.TbRestApiCallNode", url)];
    let chain = json!({ "entityType": "RULE_CHAIN", "id": fixture::root_chain(first) });
    let edges = [json!({ "fromIndex": 0, "toIndex": 1, "type": "Post telemetry" })];
    let calling = json!({ "ruleChainId": chain, "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    let mut before = first.get(&format!("/api/ruleChain/{}/metadata", fixture::root_chain(first))).json();
    before["version"] = Value::Null;
    let _saved = first.post("/api/ruleChain/metadata", &calling).json();
    let caller = device(first, "caller");
    assert_eq!(Wire::session(fixture.instance.mqtt(), &caller.token).telemetry(1, r#"{"secret":2}"#), 0);
    let list = |rest: &Rest, query: &str| rest.get(&format!("{ALL}?pageSize=10&page=0{query}")).json();
    let found = eventually("the call is given up", || Some(list(first, "")).filter(|page| page["totalElements"] == 1));
    let _restored = first.post("/api/ruleChain/metadata", &before).json();
    let one = format!("{ALL}/{}", found["data"][0]["id"].as_str().expect("an id"));
    for query in [String::new(), format!("&originatorId={}", caller.id), format!("&ruleChainId={}", fixture::root_chain(first))] {
        assert_eq!(list(second, &query)["totalElements"], 0, "{query}");
    }
    refused(second.get(&one).status, "a dead letter");
    refused(second.post(&format!("{one}/redrive"), &json!({})).status, "a call to be made once more");
    refused(second.delete(&one).status, "a dead letter that is not theirs to delete");
    assert_eq!(second.post(&format!("{ALL}/redrive"), &json!({})).json()["count"], 0);
    assert_eq!(second.delete(ALL).json()["count"], 0);
    assert_eq!(list(first, ""), found, "nothing changed");
}

fn refused(status: u16, what: &str) {
    assert!(status == 403 || status == 404, "{what} answers {status}");
}

/// What is calculated for a device of the first tenant; and one of the second that would be told of it.
fn check_field(first: &Rest, second: &Rest, device: &str) {
    let configuration = |argument: &Value| json!({ "type": "SIMPLE", "arguments": { "a": argument }, "expression": "a", "output": { "type": "TIME_SERIES", "name": "b" } });
    let secret = json!({ "refEntityKey": { "key": "secret", "type": "TS_LATEST" } });
    let form =
        json!({ "name": "mine", "entityId": { "entityType": "DEVICE", "id": device }, "configuration": configuration(&secret) });
    let field = first.post("/api/calculatedField", &form).json();
    let path = format!("/api/calculatedField/{}", id_of(&field));
    refused(second.get(&path).status, &path);
    refused(second.get(&format!("{path}/statistics")).status, "what became of a field");
    refused(second.get(&format!("/api/DEVICE/{device}/calculatedFields?pageSize=10&page=0")).status, "a device's fields");
    refused(second.post("/api/calculatedField", &form).status, "a field of a device that is not theirs");
    refused(second.post("/api/calculatedField", &field).status, "a field that is not theirs");
    refused(second.delete(&path).status, "a field that is not theirs to delete");
    let own = fixture::device(second, "theirs");
    let mut far = secret;
    far["refEntityId"] = json!({ "entityType": "DEVICE", "id": device });
    let spy =
        json!({ "name": "spy", "entityId": { "entityType": "DEVICE", "id": own.id }, "configuration": configuration(&far) });
    second.post("/api/calculatedField", &spy).expect_error(400);
    second.delete(&format!("/api/device/{}", own.id)).expect_text(200);
    assert_eq!(first.get(&path).json(), field, "nothing changed");
}

fn check_lists(second: &Rest) {
    for list in ["/api/tenant/devices", "/api/tenant/deviceInfos", "/api/customers", "/api/alarms", "/api/v2/alarms"] {
        let page = second.get(&format!("{list}?pageSize=100&page=0")).json();
        assert_eq!((&page["data"], &page["totalElements"]), (&json!([]), &json!(0)), "{list}");
    }
    let own = second.get("/api/auth/user").json()["tenantId"].clone();
    for list in ["/api/ruleChains", "/api/deviceProfiles"] {
        let page = second.get(&format!("{list}?pageSize=100&page=0")).json();
        let rows = page["data"].as_array().expect("a page has data");
        assert!(!rows.is_empty() && rows.iter().all(|row| row["tenantId"] == own), "{list} has its own rows only: {page}");
    }
    let users = second.get("/api/users?pageSize=100&page=0").json();
    let emails: Vec<&Value> = users["data"].as_array().expect("a page has data").iter().map(|row| &row["email"]).collect();
    assert_eq!(emails, ["second@example.org"]);
}

fn check_writes(first: &Rest, second: &Rest, device: &str, chain: &str) {
    let full = first.get(&format!("/api/device/{device}")).json();
    let credentials = first.get(&format!("/api/device/{device}/credentials")).json();
    let metadata = first.get(&format!("/api/ruleChain/{chain}/metadata")).json();
    let writes = [
        ("/api/device".to_owned(), &full),
        ("/api/device/credentials".to_owned(), &credentials),
        ("/api/ruleChain/metadata".to_owned(), &metadata),
        (telemetry(device, "timeseries/ANY"), &json!({ "a": 1 })),
        (telemetry(device, "attributes/SHARED_SCOPE"), &json!({ "a": 1 })),
        (format!("/api/ruleChain/{chain}/root"), &json!({})),
        ("/api/tenant".to_owned(), &json!({ "title": "Third" })),
    ];
    for (path, body) in writes {
        refused(second.post(&path, body).status, &path);
    }
    let deletions = [
        format!("/api/device/{device}"),
        format!("/api/ruleChain/{chain}"),
        telemetry(device, "timeseries/delete?keys=secret&deleteAllDataForKeys=true"),
        telemetry(device, "SERVER_SCOPE?keys=active"),
    ];
    for path in deletions {
        refused(second.delete(&path).status, &path);
    }
    assert_eq!(first.get(&format!("/api/device/{device}")).json(), full, "nothing changed");
    assert_eq!(fixture::latest_value(first, device, "secret").as_deref(), Some("1"));
}

#[test]
fn a_customer_user_sees_only_assigned_devices() {
    let fixture = Fixture::start();
    let tenant = &fixture.tenant;
    let customer = fixture::customer(&fixture.instance);
    let user = customer.get("/api/auth/user").json();
    let customer_id = user["customerId"]["id"].as_str().expect("a customer user has a customer").to_owned();
    let (theirs, other) = (device(tenant, "theirs"), device(tenant, "other"));
    let assign = format!("/api/customer/{customer_id}/device/{}", theirs.id);
    let _device = tenant.post(&assign, &json!({})).json();
    assert_eq!(customer.get(&format!("/api/device/{}", theirs.id)).json()["name"], "device theirs");
    let _empty = customer.get(&telemetry(&theirs.id, "values/timeseries?keys=a")).json();
    let page = customer.get(&format!("/api/customer/{customer_id}/devices?pageSize=100&page=0")).json();
    let ids: Vec<String> = page["data"].as_array().expect("a page has data").iter().map(id_of).collect();
    assert!(ids.contains(&theirs.id) && !ids.contains(&other.id), "{ids:?}");
    let list = customer.get("/api/tenant/devices?pageSize=100&page=0");
    assert!(list.status == 403 || !list.text.contains(&other.id), "the tenant's list is not a way around: {}", list.text);
    let hidden = [
        format!("/api/device/{}", other.id),
        format!("/api/device/{}/credentials", other.id),
        telemetry(&other.id, "values/timeseries?keys=a"),
        "/api/ruleChains?pageSize=10&page=0".to_owned(),
    ];
    for path in hidden {
        refused(customer.get(&path).status, &path);
    }
    refused(customer.post("/api/device", &json!({ "name": "New", "type": "default" })).status, "creating a device");
    refused(customer.delete(&format!("/api/device/{}", theirs.id)).status, "deleting a device");
    let _device = tenant.delete(&format!("/api/customer/device/{}", theirs.id)).json();
    refused(customer.get(&format!("/api/device/{}", theirs.id)).status, "a device that was taken back");
    fixture.instance.stop();
}

#[test]
fn a_system_administrator_has_no_devices() {
    let fixture = Fixture::start();
    let device = device(&fixture.tenant, "far");
    let sysadmin = fixture::sysadmin(&fixture.instance);
    refused(sysadmin.get(&format!("/api/device/{}", device.id)).status, "a tenant's device");
    refused(sysadmin.get(&telemetry(&device.id, "values/timeseries?keys=a")).status, "a tenant's telemetry");
    refused(sysadmin.get("/api/ruleChains?pageSize=1&page=0").status, "a tenant's chains");
    refused(fixture.tenant.get("/api/tenants?pageSize=1&page=0").status, "the list of tenants");
    fixture.instance.stop();
}
