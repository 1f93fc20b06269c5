//! Events of rule nodes and chains from the REST side, of a fake data plane that saw two at node 7 and one failure of any chain, and
//! what an instance refused.

use uuid::Uuid;

use super::*;
use crate::feed::Refusal;

const NODE: &str = "RULE_NODE/00000000-0000-0000-0000-000000000007";

#[tokio::test]
async fn events_are_gathered_filtered_and_forgotten() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let get = async |path: &str| house.ask(&Method::GET, path, Some(&tenant), None).await;
    let post = async |path: &str, body: Value| house.ask(&Method::POST, path, Some(&tenant), Some(&body.to_string())).await;
    let seen = get(&format!("/api/events/{NODE}/DEBUG_RULE_NODE?pageSize=10&page=0")).await.body;
    assert_eq!(seen["totalElements"], 2);
    let newest = &seen["data"][0];
    assert_eq!((&newest["createdTime"], &newest["type"]), (&json!(1_001), &json!("DEBUG_RULE_NODE")));
    assert_eq!(newest["entityId"], json!({ "entityType": "RULE_NODE", "id": "00000000-0000-0000-0000-000000000007" }));
    let mut body = newest["body"].clone();
    assert!(body["server"].take().is_string());
    assert_eq!(
        body,
        json!({ "server": null, "type": "OUT", "entityId": "00000000-0000-0000-0000-000000000008", "entityType": "DEVICE",
            "msgId": "00000000-0000-0000-0000-000000000009", "msgType": "POST_TELEMETRY_REQUEST", "dataType": "JSON",
            "relationType": "Failure", "data": "{\"t\":1}", "metadata": "{}", "error": "no t" })
    );
    assert_eq!(seen["data"][1]["body"]["relationType"], json!(null), "what is not there is left out");
    let count =
        async |filter: Value| post(&format!("/api/events/{NODE}?pageSize=10&page=0"), filter).await.body["totalElements"].clone();
    for (filter, expected) in [
        (json!({ "eventType": "DEBUG_RULE_NODE" }), 2),
        (json!({ "eventType": "DEBUG_RULE_NODE", "isError": true }), 1),
        (json!({ "eventType": "DEBUG_RULE_NODE", "msgDirectionType": "IN", "metadataSearch": "" }), 1),
        (json!({ "eventType": "DEBUG_RULE_NODE", "errorStr": "NO" }), 1),
        (json!({ "eventType": "DEBUG_RULE_NODE", "server": "elsewhere" }), 0),
        (json!({ "eventType": "STATS" }), 0),
    ] {
        assert_eq!(count(filter.clone()).await, expected, "{filter}");
    }
    let newest = get("/api/ruleNode/00000000-0000-0000-0000-000000000007/debugIn").await.body;
    assert_eq!((&newest["type"], &newest["data"]), (&json!("IN"), &json!("{\"t\":1}")));
    let failed = json!({ "eventType": "DEBUG_RULE_NODE", "isError": true });
    assert_eq!(post(&format!("/api/events/{NODE}/clear"), failed).await.status, StatusCode::OK);
    assert_eq!(count(json!({ "eventType": "DEBUG_RULE_NODE" })).await, 1);
    let foreign = get(&format!("/api/events/{NODE}/DEBUG_RULE_NODE?tenantId=784f394c-42b6-435a-983c-b7beff2784f9")).await;
    refused(&foreign, StatusCode::FORBIDDEN, 20, "");
    refused(&get(&format!("/api/events/{NODE}/NOTHING")).await, StatusCode::BAD_REQUEST, 31, "eventType: \"NOTHING\" must be");
    let missing = get("/api/events/RULE_CHAIN/784f394c-42b6-435a-983c-b7beff2784f9/ERROR").await;
    refused(&missing, StatusCode::NOT_FOUND, 32, "Rule chain");
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    let path = format!("/api/events/{NODE}/DEBUG_RULE_NODE");
    refused(&house.ask(&Method::GET, &path, Some(&customer), None).await, StatusCode::FORBIDDEN, 20, "");
}

#[tokio::test]
async fn a_message_is_waited_for_and_shown_on_its_way() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let ask = async |method: Method, path: &str| house.ask(&method, path, Some(&tenant), None).await;
    let devices = ask(Method::GET, "/api/tenant/devices?pageSize=1&page=0").await.body;
    let path = format!("/api/tidegate/trace/DEVICE/{}", devices["data"][0]["id"]["id"].as_str().unwrap());
    let begun = ask(Method::POST, &format!("{path}?msgType=POST_TELEMETRY_REQUEST")).await.body;
    assert!(Uuid::parse_str(begun["id"].as_str().unwrap()).is_ok() && begun["until"].as_i64().unwrap() > 0, "{begun}");
    let full = ask(Method::POST, &format!("{path}?seconds=900")).await;
    assert_ne!(full.status, StatusCode::OK, "the instance says that it has no room");
    refused(
        &ask(Method::POST, &format!("{path}?seconds=901")).await,
        StatusCode::BAD_REQUEST,
        31,
        "seconds: \"901\" must be 1 to 900",
    );
    let foreign = "/api/tidegate/trace/DEVICE/784f394c-42b6-435a-983c-b7beff2784f9";
    assert_eq!(ask(Method::POST, foreign).await.status, StatusCode::NOT_FOUND);
    let steps = ask(Method::GET, "/api/tidegate/trace/00000000-0000-0000-0000-000000000009").await.body;
    let mut last = steps[1].clone();
    assert!(last["server"].take().is_string());
    assert_eq!(
        last,
        json!({ "ts": 1_001, "server": null, "ruleNodeName": "save", "type": "OUT", "relationType": "Failure",
            "ruleNodeId": { "entityType": "RULE_NODE", "id": "00000000-0000-0000-0000-000000000007" },
            "entityId": { "entityType": "DEVICE", "id": "00000000-0000-0000-0000-000000000008" },
            "msgType": "POST_TELEMETRY_REQUEST", "data": "{\"t\":1}", "metadata": "{}", "error": "no t" })
    );
    let of_a_node = ask(Method::GET, "/api/tidegate/trace/00000000-0000-0000-0000-000000000007").await.body;
    assert_eq!(of_a_node, json!([]), "what others did at a node is no trace");
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    refused(&house.ask(&Method::POST, &path, Some(&customer), None).await, StatusCode::FORBIDDEN, 20, "");
}

#[tokio::test]
async fn a_chain_that_was_refused_says_so() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let get = async |path: &str| house.ask(&Method::GET, path, Some(&tenant), None).await.body;
    let chain = get("/api/ruleChains?pageSize=10&page=0").await["data"][0]["id"]["id"].as_str().unwrap().to_owned();
    let errors = get(&format!("/api/events/RULE_CHAIN/{chain}/ERROR")).await;
    assert_eq!((&errors["data"][0]["body"]["method"], &errors["data"][0]["body"]["error"]), (&json!("save"), &json!("no t")));
    let life = async || get(&format!("/api/events/RULE_CHAIN/{chain}/LC_EVENT")).await;
    assert_eq!(life().await["totalElements"], 0);
    let joined = house.join(&fake).unwrap();
    let refusal = |revision: u64, reason: &str| Refusal {
        revision,
        entity_type: "RULE_CHAIN".to_owned(),
        entity_id: Uuid::parse_str(&chain).ok(),
        reason: reason.to_owned(),
    };
    let say = |revision: u64, refused: Vec<Refusal>| joined.applied("e".to_owned(), revision, refused);
    say(1, vec![refusal(1, "unknown class")]);
    // Said again, as with every report until it is over.
    say(2, vec![refusal(1, "unknown class")]);
    say(3, vec![refusal(3, "another one")]);
    let events = life().await;
    assert_eq!(events["totalElements"], 2, "{events}");
    let server = house.app.registry().instances()[0].instance_id.clone();
    let body = json!({ "server": server, "event": "UPDATED", "success": false, "error": "another one" });
    assert_eq!(events["data"][0]["body"], body);
    assert_eq!(get(&format!("/api/events/RULE_CHAIN/{chain}")).await["totalElements"], 2);
    let failure = json!({ "eventType": "LC_EVENT", "status": "Failure", "errorStr": "class" }).to_string();
    let clear = format!("/api/events/RULE_CHAIN/{chain}/clear");
    assert_eq!(house.ask(&Method::POST, &clear, Some(&tenant), Some(&failure)).await.status, StatusCode::OK);
    assert_eq!(life().await["totalElements"], 1);
}
