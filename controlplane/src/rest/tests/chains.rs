//! Rule chains from the REST side: what nodes did, scripts that are tried, export and import.

use super::*;

#[tokio::test]
async fn counts_and_scripts_are_asked_of_the_data_plane() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let get = async |path: &str| house.ask(&Method::GET, path, Some(&tenant), None).await;
    let page = get("/api/ruleChains?pageSize=10&page=0").await.body;
    let root = page["data"][0]["id"]["id"].as_str().unwrap();
    let counts = get(&format!("/api/ruleChain/{root}/statistics")).await.body;
    let node = json!({ "entityType": "RULE_NODE", "id": "00000000-0000-0000-0000-000000000007" });
    let count =
        json!({ "id": node, "name": "save", "executed": 3, "failed": 1, "left": { "Success": 2 }, "timed": 2, "meanUs": 1.5 });
    assert_eq!(counts, json!([count]));
    let missing = get("/api/ruleChain/784f394c-42b6-435a-983c-b7beff2784f9/statistics").await;
    refused(&missing, StatusCode::NOT_FOUND, 32, "Rule chain");

    let test = async |language: &str, body: Value| {
        let path = format!("/api/ruleChain/testScript{language}");
        house.ask(&Method::POST, &path, Some(&tenant), Some(&body.to_string())).await
    };
    let script = |kind: &str, body: &str| {
        json!({ "script": body, "scriptType": kind, "argNames": ["msg", "metadata", "msgType"], "msg": "{\"t\":1}",
            "metadata": { "deviceName": "A" }, "msgType": "T" })
    };
    let filtered = test("?scriptLang=TBEL", script("filter", "return true;")).await;
    assert_eq!(filtered.body, json!({ "output": "1 true {\"t\":1} 1 T", "error": "" }));
    assert_eq!(test("", script("update", "return {};")).await.body["output"], "3 false {\"t\":1} 1 T");
    assert_eq!(test("", script("string", "wrong")).await.body, json!({ "output": "", "error": "line 1: wrong" }));
    refused(&test("", script("generate", "x")).await, StatusCode::BAD_REQUEST, 31, "scriptType: \"generate\" must be");
    refused(&test("?scriptLang=LUA", script("filter", "x")).await, StatusCode::BAD_REQUEST, 31, "scriptLang");
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    let path = "/api/ruleChain/testScript";
    let foreign = house.ask(&Method::POST, path, Some(&customer), Some(&script("filter", "x").to_string())).await;
    refused(&foreign, StatusCode::FORBIDDEN, 20, "");
}

#[tokio::test]
async fn chains_are_exported_and_imported() {
    let house = House::open(None).await;
    let tenant = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let exported = house.ask(&Method::GET, "/api/ruleChains/export?limit=10", Some(&tenant), None).await.body;
    assert_eq!(exported["ruleChains"][0]["name"], "Root Rule Chain");
    assert_eq!(exported["metadata"][0]["ruleChainId"], exported["ruleChains"][0]["id"]);
    let import =
        async |body: &Value| house.ask(&Method::POST, "/api/ruleChains/import", Some(&tenant), Some(&body.to_string())).await;
    let imported = import(&exported).await.body;
    assert_eq!((&imported[0]["ruleChainName"], &imported[0]["updated"]), (&json!("Root Rule Chain"), &json!(false)));
    assert_ne!(imported[0]["ruleChainId"], exported["ruleChains"][0]["id"]);
    let mut stray = exported.clone();
    stray["metadata"][0]["ruleChainId"]["id"] = json!("784f394c-42b6-435a-983c-b7beff2784f9");
    refused(&import(&stray).await, StatusCode::BAD_REQUEST, 31, "metadata[0].ruleChainId: no chain of this import");
    let none = house.ask(&Method::GET, "/api/ruleChains/export?limit=0", Some(&tenant), None).await;
    refused(&none, StatusCode::BAD_REQUEST, 31, "pageSize");
}
