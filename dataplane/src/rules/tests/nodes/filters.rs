//! Nodes that decide where a message goes.

use schemas::chain::MessageType;
use serde_json::json;
use uuid::Uuid;

use super::{Known, chain, check, out, show, telemetry};
use crate::message::{Body, Message};
use crate::rules::tests::message;

#[test]
fn filters_decide() {
    let post = telemetry(r#"{"t":21,"nothing":"","deep":{"a":1}}"#);
    let types = |types: &[&str]| json!({ "messageTypes": types });
    check("filter.TbMsgTypeFilterNode", types(&["POST_TELEMETRY_REQUEST"]), &post, &["True"]);
    check("filter.TbMsgTypeFilterNode", types(&["ALARM", "MINE"]), &post, &["False"]);
    check("filter.TbMsgTypeSwitchNode", json!({}), &post, &["Post telemetry"]);
    let alarm = message(MessageType::AlarmDelete, Body::Lifecycle);
    check("filter.TbMsgTypeSwitchNode", json!({}), &alarm, &["Other"]);

    check("filter.TbOriginatorTypeFilterNode", json!({ "originatorTypes": ["ASSET", "DEVICE"] }), &post, &["True"]);
    check("filter.TbOriginatorTypeFilterNode", json!({ "originatorTypes": ["ASSET"] }), &post, &["False"]);
    check("filter.TbOriginatorTypeSwitchNode", json!({}), &post, &["Device"]);
    check("filter.TbDeviceTypeSwitchNode", json!({}), &post, &["default"]);
    let tenant = Message { device_type: "", ..post.clone() };
    check("filter.TbDeviceTypeSwitchNode", json!({}), &tenant, &["Failure"]);

    let class = "filter.TbAssetTypeSwitchNode";
    check(class, json!({}), &post, &["Failure"]);
    let mut hall = Known { asset: Some(("Hall".to_owned(), "thermometer".to_owned())), ..Known::default() };
    assert_eq!(out(class, &json!({}), &post, &mut hall), ["thermometer"]);

    let class = "filter.TbCheckRelationNode";
    let any =
        |direction: &str, kind: &str| json!({ "checkForSingleEntity": false, "direction": direction, "relationType": kind });
    check(class, any("FROM", "Contains"), &post, &["True"]);
    check(class, any("TO", "Contains"), &post, &["False"]);
    check(class, any("TO", "Manages"), &post, &["True"]);
    check(class, any("TO", "manages"), &post, &["False"]);
    let one = |direction: &str, kind: &str, id: u128| {
        let id = Uuid::from_u128(id);
        json!({ "direction": direction, "relationType": kind, "entityType": "ASSET", "entityId": id })
    };
    check(class, one("FROM", "Contains", 1), &post, &["True"]);
    check(class, one("FROM", "Contains", 2), &post, &["False"]);
    check(class, one("TO", "Manages", 3), &post, &["True"]);
    // From version 1 on it is the originator from which a relation is.
    let class = "filter.TbCheckRelationNode@1";
    check(class, any("TO", "Contains"), &post, &["True"]);
    check(class, any("FROM", "Contains"), &post, &["False"]);
    check(class, one("FROM", "Manages", 3), &post, &["True"]);

    let fields = |data: &[&str], metadata: &[&str], all: bool| json!({ "messageNames": data, "metadataNames": metadata, "checkAllKeys": all });
    let class = "filter.TbCheckMessageNode";
    check(class, fields(&["t", "deep"], &["deviceName"], true), &post, &["True"]);
    check(class, fields(&["t", "u"], &["deviceName"], true), &post, &["False"]);
    check(class, fields(&["u"], &["deviceName"], false), &post, &["True"]);
    check(class, fields(&["u"], &["v"], false), &post, &["False"]);
    // What is there is there, whatever it is.
    let nothing = message(MessageType::ToServerRpcRequest, Body::Rpc { request: r#"{"none":null,"empty":""}"#.into(), id: None });
    check(class, fields(&["none", "empty"], &[], true), &nothing, &["True"]);
    let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[1]".into(), id: None });
    check(class, fields(&["a"], &["deviceName"], false), &list, &["Failure"]);
    check(class, fields(&[], &["deviceName"], true), &list, &["True"]);
}

#[test]
fn geofences_decide() {
    let class = "geo.TbGpsGeofencingFilterNode";
    let here = telemetry(r#"{"latitude":50.0,"longitude":30.0}"#);
    let circle = |range: u32| {
        json!({ "perimeterType": "CIRCLE", "centerLatitude": 50.01, "centerLongitude": 30.0, "range": range, "rangeUnit": "METER",
            "latitudeKeyName": "latitude", "longitudeKeyName": "longitude" })
    };
    check(class, circle(1_200), &here, &["True"]);
    check(class, circle(1_000), &here, &["False"]);
    let square = json!({ "perimeterType": "POLYGON", "polygonsDefinition": "[[49,29],[49,31],[51,31],[51,29]]" });
    check(class, square, &here, &["True"]);
    check(class, circle(1), &telemetry(r#"{"latitude":50}"#), &["Failure"]);
    let fetched =
        |key: &str| json!({ "perimeterType": "CIRCLE", "fetchPerimeterInfoFromMessageMetadata": true, "perimeterKeyName": key });
    check(class, fetched("fence"), &here, &["Failure"]);
    check(class, fetched(""), &here, &["Failure"]);
    // Before ThingsBoard 3.3 the perimeter was spread over the metadata.
    let spread = |said: &'static str| {
        let copy = ("transform.TbCopyKeysNode", json!({ "copyFrom": "DATA", "keys": [".*"] }));
        let fence = (class, json!({ "fetchPerimeterInfoFromMessageMetadata": true }));
        let log = ("action.TbLogNode", json!({}));
        let decided = chain(&[copy, fence, log.clone(), log], &[(0, "Success", 1), (1, "True", 2), (1, "False", 3)]);
        show(&decided, &telemetry(said), &mut Known::default()).join("; ")
    };
    let circle =
        r#"{"latitude":50.0,"longitude":30.0,"centerLatitude":50.01,"centerLongitude":30,"range":1.2,"rangeUnit":"KILOMETER"}"#;
    assert!(spread(circle).starts_with("log TbLogNode2"));
    let far =
        r#"{"latitude":50.0,"longitude":30.0,"centerLatitude":50.01,"centerLongitude":30,"range":1,"rangeUnit":"KILOMETER"}"#;
    assert!(spread(far).starts_with("log TbLogNode3"));
    assert!(
        spread(r#"{"latitude":50.0,"longitude":30.0,"perimeter":[[49,29],[49,31],[51,31],[51,29]]}"#)
            .starts_with("log TbLogNode2")
    );
    let lame = r#"{"latitude":50.0,"longitude":30.0,"centerLatitude":50.01,"centerLongitude":30,"range":1}"#;
    assert!(spread(lame).contains("rangeUnit is missing"), "{}", spread(lame));
}
