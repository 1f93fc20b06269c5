//! Nodes that change what a message says by its keys, and templates.

use schemas::chain::MessageType;
use serde_json::json;

use super::{Known, chain, check, check_change, show, telemetry};
use crate::limits::TEMPLATE_BYTES_MAX;
use crate::message::Body;
use crate::rules::tests::message;

#[test]
fn keys_are_copied_deleted_and_renamed() {
    let post = telemetry(r#"{"temp1":1,"temp2":"x","other":{"a":[1]}}"#);
    let all = json!({ "temp1": 1, "temp2": "x", "other": { "a": [1] } });
    let copy = "transform.TbCopyKeysNode";
    check_change(
        copy,
        json!({ "copyFrom": "DATA", "keys": ["temp.*", "oth"] }),
        &post,
        &all,
        &[("temp1", "1"), ("temp2", "x"), ("other", "${other}")],
    );
    let with_name = json!({ "temp1": 1, "temp2": "x", "other": { "a": [1] }, "deviceName": "A" });
    check_change(copy, json!({ "fromMetadata": true, "keys": ["deviceName"] }), &post, &with_name, &[]);
    let delete = "transform.TbDeleteKeysNode";
    check_change(delete, json!({ "deleteFrom": "DATA", "keys": ["temp[0-9]"] }), &post, &json!({ "other": { "a": [1] } }), &[]);
    check_change(
        delete,
        json!({ "deleteFrom": "METADATA", "keys": ["device.*"] }),
        &post,
        &all,
        &[("deviceName", "${deviceName}")],
    );
    let rename = "transform.TbRenameKeysNode";
    let names = |of: &str| json!({ "renameIn": of, "renameKeysMapping": { "temp1": "t", "deviceName": "n" } });
    check_change(rename, names("DATA"), &post, &json!({ "t": 1, "temp2": "x", "other": { "a": [1] } }), &[("deviceName", "A")]);
    check_change(rename, names("METADATA"), &post, &all, &[("n", "A")]);
    let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[1]".into(), id: None });
    for (class, configuration) in [(copy, json!({ "keys": ["a"] })), (delete, json!({ "keys": ["a"] })), (rename, names("DATA"))]
    {
        check(class, configuration, &list, &["Success"]);
    }
    // Forms that older versions of ThingsBoard wrote.
    let without = json!({ "temp2": "x", "other": { "a": [1] } });
    for of_data in [json!({ "fromMetadata": "false" }), json!({ "fromMetadata": "DATA" }), json!({ "dataToFetch": "DATA" })] {
        let mut older = json!({ "keys": ["temp1"] });
        older.as_object_mut().unwrap().extend(of_data.as_object().unwrap().clone());
        check_change(delete, older, &post, &without, &[]);
    }
    for of_metadata in [json!({ "fromMetadata": "true" }), json!({ "fromMetadata": true }), json!({ "dataToFetch": "METADATA" })]
    {
        let mut older = json!({ "keys": ["deviceName"] });
        older.as_object_mut().unwrap().extend(of_metadata.as_object().unwrap().clone());
        check_change(delete, older, &post, &all, &[("deviceName", "${deviceName}"), ("deviceType", "default")]);
    }
}

/// What a device says may come to stand in a template, and be one.
#[test]
fn what_a_template_becomes_is_bounded() {
    let copy = ("transform.TbCopyKeysNode", json!({ "copyFrom": "DATA", "keys": ["all"] }));
    let delete = ("telemetry.TbMsgDeleteAttributesNode", json!({ "scope": "SERVER_SCOPE", "keys": ["${all}"] }));
    let chain = chain(&[copy, delete], &[(0, "Success", 1)]);
    for (hole, times) in [("$[*]", 15_000), ("$[", 30_000), ("$[gone", 10_000)] {
        let said = format!(r#"{{"all":"{}"}}"#, hole.repeat(times)).leak();
        let shown = show(&chain, &telemetry(said), &mut Known::default());
        let most = TEMPLATE_BYTES_MAX + said.len() + 100;
        assert!(shown[0].len() >= hole.len() * times && shown[0].len() < most, "{hole}: {}", shown[0].len());
    }
}

#[test]
fn templates_are_filled() {
    let post = telemetry(r#"{"deviceType":"t","default":7,"deep":{"a":"x","b":[1]},"none":{"c":null}}"#);
    let whole = r#"{"deep":{"a":"x","b":[1]},"default":7,"deviceType":"t","none":{"c":null}}"#;
    let all = r#"{"deviceName":"A","deviceType":"default","ts":"1"}"#;
    for (template, filled) in [
        ("plain", "plain"),
        ("${deviceName}/$[deep.a]", "A/x"),
        ("$[deviceType]", "t"),
        // Metadata may name what is wanted of the data.
        ("$[${deviceType}]", "7"),
        ("${gone} $[gone] ${ $[", "${gone} $[gone] ${ $["),
        ("${gone ${deviceName}", "${gone A"),
        ("$[deep] $[deep.b] $[none.c]", "$[deep] $[deep.b] null"),
        ("${*}", all),
        ("<$[*]>", &format!("<{whole}>")),
    ] {
        let delete = json!({ "scope": "SERVER_SCOPE", "keys": [template] });
        let expected = format!("delete {filled} of SERVER_SCOPE");
        check("telemetry.TbMsgDeleteAttributesNode", delete, &post, &[&expected, "Success"]);
    }
}
