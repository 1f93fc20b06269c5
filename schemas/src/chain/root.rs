//! The chain that a new tenant starts with: ThingsBoard's default root rule chain.

use serde_json::{Value, json};

use super::node::{LOG, RPC_REQUEST, SAVE_ATTRIBUTES, SAVE_TIMESERIES, TYPE_SWITCH};

/// RuleChainMetaData of the default root chain, without `ruleChainId`.
#[must_use]
pub fn default_root_chain() -> Value {
    let every_message = json!({ "type": "ON_EVERY_MESSAGE" });
    let script =
        "return '\\nIncoming message:\\n' + JSON.stringify(msg) + '\\nIncoming metadata:\\n' + JSON.stringify(metadata);";
    let log = json!({ "scriptLang": "TBEL", "jsScript": script, "tbelScript": script });
    json!({
        "version": 1,
        "firstNodeIndex": 2,
        "nodes": [
            node(SAVE_TIMESERIES, "Save Timeseries", 1, (824, 156), json!({
                "defaultTTL": 0,
                "useServerTs": false,
                "processingSettings": every_message,
            })),
            node(SAVE_ATTRIBUTES, "Save Client Attributes", 3, (825, 52), json!({
                "processingSettings": every_message,
                "scope": "CLIENT_SCOPE",
                "notifyDevice": false,
                "sendAttributesUpdatedNotification": false,
                "updateAttributesOnlyOnValueChange": true,
            })),
            node(TYPE_SWITCH, "Message Type Switch", 0, (347, 149), json!({ "version": 0 })),
            node(LOG, "Log RPC from Device", 0, (825, 266), log.clone()),
            node(LOG, "Log Other", 0, (825, 379), log),
            node(RPC_REQUEST, "RPC Call Request", 0, (824, 468), json!({ "timeoutInSeconds": 60 })),
        ],
        "connections": [
            { "fromIndex": 2, "toIndex": 0, "type": "Post telemetry" },
            { "fromIndex": 2, "toIndex": 1, "type": "Post attributes" },
            { "fromIndex": 2, "toIndex": 3, "type": "RPC Request from Device" },
            { "fromIndex": 2, "toIndex": 4, "type": "Other" },
            { "fromIndex": 2, "toIndex": 5, "type": "RPC Request to Device" },
        ],
        "ruleChainConnections": null,
    })
}

fn node(class: &str, name: &str, version: u32, (x, y): (u32, u32), configuration: Value) -> Value {
    json!({
        "type": class,
        "name": name,
        "debugSettings": null,
        "singletonMode": false,
        "queueName": null,
        "configurationVersion": version,
        "configuration": configuration,
        "additionalInfo": { "description": "", "layoutX": x, "layoutY": y },
    })
}
