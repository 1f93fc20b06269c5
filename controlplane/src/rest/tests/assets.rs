//! Assets, their profiles and relations over HTTP: paths and shapes.

use super::*;

struct Site {
    house: House,
    token: String,
}

impl Site {
    async fn open() -> Self {
        let house = House::open(None).await;
        let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
        Self { house, token }
    }

    async fn get(&self, path: &str) -> Answer {
        self.house.ask(&Method::GET, path, Some(&self.token), None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.house.ask(&Method::POST, path, Some(&self.token), Some(&body.to_string())).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.house.ask(&Method::DELETE, path, Some(&self.token), None).await
    }
}

fn id(answer: &Answer) -> String {
    answer.body["id"]["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_asset_lives_and_dies() {
    let site = Site::open().await;
    let made = site.post("/api/asset", json!({"name": "Hall", "type": "building", "label": "H"})).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert_eq!(
        fields(&made.body),
        [
            "additionalInfo",
            "assetProfileId",
            "createdTime",
            "customerId",
            "externalId",
            "id",
            "label",
            "name",
            "tenantId",
            "type",
            "version"
        ]
    );
    assert_eq!((&made.body["id"]["entityType"], &made.body["type"]), (&json!("ASSET"), &json!("building")));
    let hall = id(&made);
    assert_eq!(site.get(&format!("/api/asset/{hall}")).await.body, made.body);
    assert_eq!(site.get("/api/tenant/assets?assetName=Hall").await.body, made.body);
    assert_eq!(site.get(&format!("/api/assets?assetIds={hall}")).await.body, json!([made.body]));
    let page = site.get("/api/tenant/assets?pageSize=2&page=0&textSearch=hal&type=building").await.body;
    assert_eq!(page, json!({"data": [made.body], "totalPages": 1, "totalElements": 1, "hasNext": false}));
    let info = site.get(&format!("/api/asset/info/{hall}")).await.body;
    assert_eq!(info["assetProfileName"], "building");
    assert_eq!(site.get("/api/tenant/assetInfos?pageSize=2&page=0").await.body["data"], json!([info]));
    let types = site.get("/api/asset/types").await.body;
    assert_eq!(types, json!([{"tenantId": made.body["tenantId"], "entityType": "ASSET", "type": "building"}]));

    let customer = id(&site.post("/api/customer", json!({"title": "Acme"})).await);
    let assigned = site.post(&format!("/api/customer/{customer}/asset/{hall}"), json!({})).await;
    assert_eq!(assigned.body["customerId"]["id"].as_str(), Some(customer.as_str()));
    for list in ["assets", "assetInfos"] {
        let theirs = site.get(&format!("/api/customer/{customer}/{list}?pageSize=10&page=0")).await.body;
        assert_eq!(theirs["totalElements"], 1);
    }
    assert_eq!(site.delete(&format!("/api/customer/asset/{hall}")).await.status, StatusCode::OK);
    let public = site.post(&format!("/api/customer/public/asset/{hall}"), json!({})).await.body;
    assert_ne!(public["customerId"], made.body["customerId"]);
    refused(&site.get("/api/assets?assetIds=1,2").await, StatusCode::BAD_REQUEST, 31, "assetIds: \"1\"");
    refused(&site.post("/api/asset", json!({"name": "hall"})).await, StatusCode::BAD_REQUEST, 31, "already exists");
    let gone = site.delete(&format!("/api/asset/{hall}")).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::OK, ""));
    refused(&site.get(&format!("/api/asset/{hall}")).await, StatusCode::NOT_FOUND, 32, &hall);
}

#[tokio::test]
async fn an_asset_profile_lives_and_dies() {
    let site = Site::open().await;
    let first = site.get("/api/assetProfileInfo/default").await.body;
    assert_eq!((&first["name"], &first["id"]["entityType"]), (&json!("default"), &json!("ASSET_PROFILE")));
    let made = site.post("/api/assetProfile", json!({"name": "Field", "description": "green"})).await;
    assert_eq!(
        fields(&made.body),
        [
            "createdTime",
            "default",
            "defaultDashboardId",
            "defaultEdgeRuleChainId",
            "defaultQueueName",
            "defaultRuleChainId",
            "description",
            "externalId",
            "id",
            "image",
            "name",
            "tenantId",
            "version"
        ]
    );
    let field = id(&made);
    assert_eq!(site.get(&format!("/api/assetProfile/{field}")).await.body, made.body);
    let names = site.get("/api/assetProfile/names").await.body;
    assert_eq!(names.as_array().unwrap().len(), 2);
    assert_eq!(site.get("/api/assetProfile/names?activeOnly=true").await.body, json!([]));
    assert_eq!(site.get("/api/assetProfiles?pageSize=10&page=0&textSearch=fie").await.body["data"], json!([made.body]));
    let info = site.get(&format!("/api/assetProfileInfo/{field}")).await.body;
    assert_eq!(fields(&info), ["defaultDashboardId", "id", "image", "name", "tenantId"]);
    let infos = site.get("/api/assetProfileInfos?pageSize=10&page=0&sortProperty=name&sortOrder=DESC").await.body;
    assert_eq!(infos["data"], json!([info, first]));
    assert_eq!(site.post(&format!("/api/assetProfile/{field}/default"), json!({})).await.body["default"], true);
    refused(&site.delete(&format!("/api/assetProfile/{field}")).await, StatusCode::BAD_REQUEST, 31, "Default Asset Profile");
    let default = first["id"]["id"].as_str().unwrap();
    assert_eq!(site.delete(&format!("/api/assetProfile/{default}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn relations_are_drawn_listed_walked_and_erased() {
    let site = Site::open().await;
    let hall = site.post("/api/asset", json!({"name": "Hall", "type": "building"})).await.body["id"].clone();
    let room = site.post("/api/asset", json!({"name": "Room", "type": "room"})).await.body["id"].clone();
    let lamp = site.get("/api/tenant/devices?deviceName=Test%20Device%20A1").await.body["id"].clone();
    let contains = json!({"from": hall, "to": room, "type": "Contains"});
    let saved = site.post("/api/v2/relation", contains.clone()).await;
    let shown =
        json!({"from": hall, "to": room, "type": "Contains", "typeGroup": "COMMON", "version": 1, "additionalInfo": null});
    assert_eq!(saved.body, shown, "{saved:?}");
    let second = site.post("/api/relation", json!({"from": room, "to": lamp, "type": "Contains", "typeGroup": "COMMON"})).await;
    assert_eq!((second.status, second.text.as_str()), (StatusCode::OK, ""), "{second:?}");

    let text = |end: &Value| end["id"].as_str().unwrap().to_owned();
    let (hall_id, room_id, lamp_id) = (text(&hall), text(&room), text(&lamp));
    let this =
        format!("fromId={hall_id}&fromType=ASSET&relationType=Contains&relationTypeGroup=COMMON&toId={room_id}&toType=ASSET");
    assert_eq!(site.get(&format!("/api/relation?{this}")).await.body, shown);
    assert_eq!(site.get(&format!("/api/relations?fromId={hall_id}&fromType=ASSET")).await.body, json!([shown]));
    let none = site.get(&format!("/api/relations?fromId={hall_id}&fromType=ASSET&relationType=Uses")).await;
    assert_eq!(none.body, json!([]));
    let into = site.get(&format!("/api/relations/info?toId={lamp_id}&toType=DEVICE")).await.body;
    assert_eq!((&into[0]["fromName"], &into[0]["toName"]), (&json!("Room"), &json!("Test Device A1")));

    let parameters = json!({"rootId": hall_id, "rootType": "ASSET", "direction": "FROM", "relationTypeGroup": "COMMON",
        "maxLevel": 2, "fetchLastLevelOnly": false});
    let filters = json!([{"relationType": "Contains", "entityTypes": ["DEVICE"]}]);
    let walked = site.post("/api/relations/info", json!({"parameters": parameters, "filters": filters})).await.body;
    assert_eq!((walked.as_array().map(Vec::len), &walked[0]["toName"]), (Some(1), &json!("Test Device A1")));
    let walked = site.post("/api/relations", json!({"parameters": parameters})).await.body;
    assert_eq!(walked.as_array().map(Vec::len), Some(2));
    let search = json!({"parameters": parameters, "relationType": "Contains", "assetTypes": ["room"]});
    let rooms = site.post("/api/assets", search).await.body;
    assert_eq!((rooms.as_array().map(Vec::len), &rooms[0]["name"]), (Some(1), &json!("Room")));

    let bad = StatusCode::BAD_REQUEST;
    refused(&site.get("/api/relations").await, bad, 31, "fromId");
    refused(&site.get(&format!("/api/relations?fromId={hall_id}&fromType=TEAPOT")).await, bad, 31, "fromType: \"TEAPOT\"");
    let odd = json!({"from": hall, "to": room, "type": "Contains", "typeGroup": "ODD"});
    refused(&site.post("/api/relation", odd).await, bad, 31, "relationTypeGroup");
    let nowhere = json!({"from": hall, "to": {"entityType": "ASSET", "id": lamp_id}, "type": "Contains"});
    refused(&site.post("/api/relation", nowhere).await, StatusCode::NOT_FOUND, 32, &lamp_id);
    assert_eq!(site.delete(&format!("/api/v2/relation?{this}")).await.body, shown);
    refused(&site.delete(&format!("/api/relation?{this}")).await, StatusCode::NOT_FOUND, 32, "wasn't found");
    assert_eq!(site.delete(&format!("/api/relations?entityId={lamp_id}&entityType=DEVICE")).await.status, StatusCode::OK);
    assert_eq!(site.get(&format!("/api/relations?fromId={room_id}&fromType=ASSET")).await.body, json!([]));
}

#[tokio::test]
async fn an_asset_has_attributes_and_series() {
    let fake = Fake::start().await;
    let house = House::open(Some(&fake)).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let made = house.ask(&Method::POST, "/api/asset", Some(&token), Some(r#"{"name":"Hall"}"#)).await;
    let path = format!("/api/plugins/telemetry/ASSET/{}", id(&made));
    let write = async |end: &str| house.ask(&Method::POST, &format!("{path}/{end}"), Some(&token), Some(r#"{"a":1}"#)).await;
    for end in ["attributes/SERVER_SCOPE", "SERVER_SCOPE", "timeseries/ANY"] {
        assert_eq!(write(end).await.status, StatusCode::OK, "{end}");
    }
    for end in ["keys/timeseries", "values/attributes", "values/timeseries?keys=a"] {
        let read = house.ask(&Method::GET, &format!("{path}/{end}"), Some(&token), None).await;
        assert_eq!(read.status, StatusCode::OK, "{end}: {read:?}");
    }
    let customer = house.sign_in("customer@thingsboard.org", "customer").await;
    let hidden = house.ask(&Method::GET, &format!("{path}/values/attributes"), Some(&customer), None).await;
    refused(&hidden, StatusCode::NOT_FOUND, 32, "Asset");
}
