//! Nodes that calculate: deltas and math.

use schemas::chain::{Chain, MessageType};
use serde_json::{Value as Json, json};

use super::{Known, attributes, chain, check, check_change, telemetry};
use crate::effect::Effect;
use crate::message::{Message, Scope};
use crate::rules::evaluate;
use crate::rules::tests::{describe, running};

/// A message through one node, with what the nodes remember from one to the next: data of what comes out, or its label.
fn pass(chain: &Chain, message: &Message<'_>, world: &mut Known) -> String {
    let running = running(chain);
    let mut effects = Vec::new();
    let evaluation = evaluate(&running, message, world, &mut effects);
    let mut out = evaluation.failed.map(|failed| failed.reason).unwrap_or_default();
    for effect in effects {
        match effect {
            Effect::KeepState { node, state } => drop(world.states.insert(node, state)),
            Effect::Answer { json, .. } => out = json,
            Effect::Log { .. } => "Other".clone_into(&mut out),
            other => out = describe(&other),
        }
    }
    out
}

#[test]
fn deltas_are_calculated() {
    let class = "metadata.CalculateDeltaNode";
    let delta = |more: Json| {
        let mut configuration = json!({ "inputValueKey": "kwh", "outputValueKey": "d", "useCache": true,
            "addPeriodBetweenMsgs": true, "periodValueKey": "ms", "round": null, "tellFailureIfDeltaIsNegative": true });
        configuration.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let reply = ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": "ts" }));
        chain(&[(class, configuration), reply, ("action.TbLogNode", json!({}))], &[(0, "Success", 1), (0, "Other", 2)])
    };
    let at = |ts: i64, value: &str| {
        let said = format!(r#"{{"ts":{ts},"values":{{"kwh":{value}}}}}"#);
        telemetry(said.leak())
    };
    let (mut world, plain) = (Known::default(), delta(json!({})));
    for (message, expected) in [
        (at(100, "10.1"), r#"{"d":0,"kwh":10.1,"ms":0}"#),
        (at(150, "10.3"), r#"{"d":0.2,"kwh":10.3,"ms":50}"#),
        (at(150, "10"), "kwh has fallen by 0.3"),
        (at(160, "\"12.5\""), r#"{"d":2.5,"kwh":12.5,"ms":10}"#),
        (at(170, "true"), "kwh: true is no number"),
        (telemetry(r#"{"other":1}"#), "Other"),
        (attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"kwh":1}"#), "Other"),
    ] {
        assert_eq!(pass(&plain, &message, &mut world), expected);
    }
    // Without a cache, the latest reading is the one before; Known's is t = 20 at 5.
    let mut stored = delta(json!({ "inputValueKey": "t", "useCache": false, "round": 1, "tellFailureIfDeltaIsNegative": false }));
    let post = telemetry(r#"{"ts":9,"values":{"t":18.25}}"#);
    assert_eq!(pass(&stored, &post, &mut Known::default()), r#"{"d":-1.8,"ms":4,"t":18.25}"#);
    stored = delta(json!({ "inputValueKey": "t", "useCache": false, "excludeZeroDeltas": true }));
    let same = telemetry(r#"{"ts":9,"values":{"t":20}}"#);
    assert_eq!(pass(&stored, &same, &mut Known::default()), r#"{"t":20}"#);
}

#[test]
fn math_is_done() {
    let class = "math.TbMathNode";
    let argument = |name: &str, kind: &str, key: Json| json!({ "name": name, "type": kind, "key": key });
    let body = |key: &str| json!({ "type": "MESSAGE_BODY", "key": key, "resultValuePrecision": 2 });
    let (x, y) = (argument("x", "MESSAGE_BODY", json!("a")), argument("y", "CONSTANT", json!(2)));
    let post = telemetry(r#"{"a":7}"#);
    for (operation, expected) in [
        ("ADD", json!(9.0)),
        ("SUB", json!(5.0)),
        ("MULT", json!(14.0)),
        ("DIV", json!(3.5)),
        ("MAX", json!(7.0)),
        ("SQRT", json!(2.65)),
        ("SIGNUM", json!(1.0)),
        // Whole by what they are.
        ("GET_EXP", json!(2)),
        ("CEIL", json!(7)),
        ("FLOOR_DIV", json!(3.0)),
        ("FLOOR_MOD", json!(1.0)),
    ] {
        let math = json!({ "operation": operation, "arguments": [x, y], "result": body("r") });
        check_change(class, math, &post, &json!({ "a": 7, "r": expected }), &[]);
    }
    // Below zero a floor is no cut.
    let below = telemetry(r#"{"a":-7}"#);
    for (operation, expected) in [("FLOOR_DIV", -4.0), ("FLOOR_MOD", 1.0)] {
        let math = json!({ "operation": operation, "arguments": [x, y], "result": body("r") });
        check_change(class, math, &below, &json!({ "a": -7, "r": expected }), &[]);
    }
    // Without decimals a result is cut off; a series has it as it is.
    for precision in [json!(0), json!(null)] {
        let result = json!({ "type": "MESSAGE_BODY", "key": "r", "resultValuePrecision": precision });
        let cut = json!({ "operation": "SQRT", "arguments": [x], "result": result });
        check_change(class, cut, &telemetry(r#"{"a":7.84}"#), &json!({ "a": 7.84, "r": 2 }), &[]);
    }
    let stored = json!({ "type": "TIME_SERIES", "key": "r", "resultValuePrecision": 1, "addToBody": true });
    let nodes = [
        (class, json!({ "operation": "SQRT", "arguments": [x], "result": stored })),
        ("metadata.TbGetAttributesNode", json!({ "latestTsKeyNames": ["r"] })),
        ("telemetry.TbMsgDeleteAttributesNode", json!({ "keys": ["$[r] ${r}"] })),
    ];
    let seen = chain(&nodes, &[(0, "Success", 1), (1, "Success", 2)]);
    let shown = super::show(&seen, &telemetry(r#"{"a":7}"#), &mut Known::default());
    assert_eq!(shown[1], "delete 2.6 2.6457513110645907 of SERVER_SCOPE");
    let limit = json!({ "name": "limit", "type": "ATTRIBUTE", "key": "limit", "attributeScope": "SHARED_SCOPE" });
    let latest = argument("t", "TIME_SERIES", json!("t"));
    let name = argument("ts", "MESSAGE_METADATA", json!("ts"));
    let missing = json!({ "name": "m", "type": "MESSAGE_BODY", "key": "gone", "defaultValue": 0.5 });
    let custom = json!({ "operation": "CUSTOM", "customFunction": "limit * t + ts + m", "arguments": [limit, latest, name, missing],
        "result": { "type": "MESSAGE_METADATA", "key": "r", "resultValuePrecision": 1 } });
    check_change(class, custom, &post, &json!({ "a": 7 }), &[("r", "141.5")]);
    let saved = |kind: &str| json!({ "operation": "ADD", "arguments": [x, y], "result": { "type": kind, "key": "r", "addToBody": true } });
    check(class, saved("TIME_SERIES"), &post, &["series 1 ttl 0 server ts false", "Success"]);
    check(class, saved("ATTRIBUTE"), &post, &["attributes 1 SERVER_SCOPE changed false notify false", "Success"]);
    check(
        class,
        json!({ "operation": "DIV", "arguments": [x, argument("y", "CONSTANT", json!(0))], "result": body("r") }),
        &post,
        &["Failure"],
    );
    check(
        class,
        json!({ "operation": "ADD", "arguments": [argument("x", "MESSAGE_BODY", json!("gone")), y], "result": body("r") }),
        &post,
        &["Failure"],
    );
}
