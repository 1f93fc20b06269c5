//! Configurations of calculated fields, as ThingsBoard writes them.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::*;

fn latest(key: &str) -> Json {
    json!({ "refEntityKey": { "key": key, "type": "TS_LATEST" } })
}

fn simple(arguments: &Json, expression: &str, output: &Json) -> Json {
    json!({ "type": "SIMPLE", "arguments": arguments, "expression": expression, "output": output })
}

fn series(name: &str) -> Json {
    json!({ "type": "TIME_SERIES", "name": name })
}

fn parse(configuration: &Json) -> Calculation {
    Calculation::parse(&configuration.to_string()).unwrap_or_else(|error| panic!("{configuration}: {error}"))
}

#[test]
fn a_formula_over_readings_and_attributes() {
    let other = Uuid::from_u128(7);
    let arguments = json!({
        "t": { "refEntityKey": { "key": "temperature", "type": "TS_LATEST", "scope": null }, "defaultValue": "20" },
        "limit": { "refEntityKey": { "key": "max", "type": "ATTRIBUTE", "scope": "SERVER_SCOPE" }, "defaultValue": "" },
        "far": { "refEntityId": { "entityType": "TENANT", "id": other }, "refEntityKey": { "key": "k", "type": "TS_LATEST" } },
    });
    let output = json!({ "type": "ATTRIBUTES", "scope": "SHARED_SCOPE", "name": "over", "decimalsByDefault": 2,
        "strategy": { "type": "IMMEDIATE", "saveAttribute": true, "updateAttributesOnlyOnValueChange": true } });
    let field = parse(&simple(&arguments, "t - limit + far", &output));
    let names: Vec<&str> = field.arguments.iter().map(|argument| argument.name.as_str()).collect();
    assert_eq!(names, ["far", "limit", "t"]);
    assert_eq!(field.arguments[0].entity, Some(EntityId(other)));
    assert_eq!(field.arguments[1].source, Source::Attribute(Scope::Server));
    assert_eq!((&field.arguments[1].otherwise, &field.arguments[2].otherwise), (&None, &Some(Value::Long(20))));
    let to = OutputTo::Attributes { scope: Scope::Shared, only_on_change: true };
    assert_eq!(field.output, Output { to, decimals: Some(2) });
    assert_eq!(field.writes(), Some(Written::Attribute(Scope::Shared, "over")));
    assert!(field.asks());
    let field = parse(&simple(&json!({ "t": latest("t") }), "t", &series("x")));
    assert_eq!(field.output, Output { to: OutputTo::Series { ttl_s: 0, latest_ts: false }, decimals: None });
    assert!(!field.asks());
}

#[test]
fn a_script_over_windows() {
    let rolling = |limit: u64, window: u64| json!({ "refEntityKey": { "key": "t", "type": "TS_ROLLING" }, "limit": limit, "timeWindow": window });
    let field = parse(
        &json!({ "type": "SCRIPT", "arguments": { "a": rolling(5, 60_000), "b": rolling(0, 0), "c": rolling(9_999, 1) },
        "expression": "return {mean: a.mean(), size: b.values.size()};", "output": { "type": "TIME_SERIES",
        "strategy": { "type": "IMMEDIATE", "ttl": 60, "saveTimeSeries": true, "saveLatest": true, "sendWsUpdate": true, "processCfs": true } } }),
    );
    let sources: Vec<Source> = field.arguments.iter().map(|argument| argument.source).collect();
    let expected = [(5, Some(60_000)), (1_000, None), (1_000, Some(1))];
    assert_eq!(sources, expected.map(|(limit, window_ms)| Source::Rolling { limit, window_ms }));
    assert_eq!((field.writes(), field.output.to), (None, OutputTo::Series { ttl_s: 60, latest_ts: false }));
    let Expression::Script(script) = &field.expression else { panic!("a script") };
    assert!(script.js.contains("$calculate(msg, [\"a\", \"b\", \"c\"], function(ctx, a, b, c) {"), "{}", script.js);
    assert!(script.js.contains("b.values.$size()"), "{}", script.js);
}

#[track_caller]
fn refused(configuration: &Json, expected: &[&str]) {
    let error = Calculation::parse(&configuration.to_string()).expect_err("it is refused");
    let shown: Vec<String> = error.0.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown} instead of {expected}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let arguments = json!({
        "ctx": latest("a"),
        "no key": { "refEntityKey": { "type": "TS_LATEST" } },
        "scope": { "refEntityKey": { "key": "a", "type": "ATTRIBUTE", "scope": "NO_SCOPE" } },
        "type": { "refEntityKey": { "key": "a", "type": "TS" } },
        "who": { "refEntityId": { "entityType": "ASSET", "id": "x" }, "refEntityKey": { "key": "a", "type": "TS_LATEST" } },
        "window": { "refEntityKey": { "key": "a", "type": "TS_ROLLING" }, "limit": -1 },
        "z": { "refDynamicSourceConfiguration": { "type": "CURRENT_OWNER" }, "refEntityKey": { "key": "a", "type": "TS_LATEST" } },
    });
    let output = json!({ "type": "ATTRIBUTES", "scope": "CLIENT_SCOPE", "name": "", "decimalsByDefault": 99 });
    refused(
        &simple(&arguments, "a +", &output),
        &[
            "configuration.arguments.ctx: the name",
            "configuration.arguments.no key: the name",
            "configuration.arguments.no key.refEntityKey.key: missing",
            "configuration.arguments.scope.refEntityKey.scope: \"NO_SCOPE\": expected one of CLIENT_SCOPE",
            "configuration.arguments.type.refEntityKey.type: \"TS\": expected TS_LATEST",
            "configuration.arguments.who.refEntityId.entityType: \"ASSET\": expected DEVICE",
            "configuration.arguments.who.refEntityId.id: \"x\": expected a UUID",
            "configuration.arguments.window.refEntityKey.type: TS_ROLLING: a SIMPLE field",
            "configuration.arguments.window.limit: -1: expected a number",
            "configuration.arguments.z.refDynamicSourceConfiguration: not supported yet",
            "configuration.output.name: \"\": expected a key",
            "configuration.output.decimalsByDefault: 99: expected a number from 0 to 15",
            "configuration.output.scope: \"CLIENT_SCOPE\": expected one of SERVER_SCOPE, SHARED_SCOPE",
            "configuration.expression: character 1: a is neither",
        ],
    );
}

#[test]
fn what_is_not_done_here_is_refused_by_its_name() {
    for kind in ["GEOFENCING", "ALARM", "PROPAGATION", "RELATED_ENTITIES_AGGREGATION", "ENTITY_AGGREGATION"] {
        refused(
            &json!({ "type": kind }),
            &[&format!("configuration.type: {kind}: calculated fields of this type are not supported")],
        );
    }
    refused(&json!({ "type": "X" }), &["configuration.type: \"X\": expected SIMPLE or SCRIPT"]);
    refused(&json!([]), &["configuration: expected an object"]);
    let with = |output: Json| simple(&json!({ "t": latest("t") }), "t", &output);
    let strategy = |strategy: Json| with(json!({ "type": "TIME_SERIES", "name": "x", "strategy": strategy }));
    refused(&strategy(json!({ "type": "RULE_CHAIN" })), &["configuration.output.strategy.type: RULE_CHAIN: not supported"]);
    refused(
        &strategy(json!({ "type": "IMMEDIATE", "saveLatest": false, "processCfs": false })),
        &["configuration.output.strategy.saveLatest: expected true", "configuration.output.strategy.processCfs: expected true"],
    );
    let far = json!({ "refEntityId": { "entityType": "DEVICE", "id": Uuid::nil() }, "refEntityKey": { "key": "a", "type": "TS_ROLLING" } });
    refused(
        &json!({ "type": "SCRIPT", "arguments": { "a": far }, "expression": "return {a: a.sum()};", "output": { "type": "TIME_SERIES" } }),
        &["configuration.arguments.a.refEntityId: not supported yet for TS_ROLLING"],
    );
    let many: serde_json::Map<String, Json> = (0..=ARGUMENTS_MAX).map(|n| (format!("a{n}"), latest("t"))).collect();
    refused(&simple(&Json::Object(many), "a0", &series("x")), &["configuration.arguments: 11 arguments, expected 1 to 10"]);
    let script = |text: &str| json!({ "type": "SCRIPT", "arguments": { "a": latest("a") }, "expression": text, "output": { "type": "TIME_SERIES" } });
    refused(&script("return {a: ;"), &["configuration.expression: line 1"]);
    refused(&script("return 1; }, function() {"), &["configuration.expression: "]);
    refused(&script(" "), &["configuration.expression: empty"]);
}

#[test]
fn loops_are_found_as_far_as_formulas_say_them() {
    let field = |from: &str, to: &str| parse(&simple(&json!({ "x": latest(from) }), "x + 1", &series(to)));
    #[track_caller]
    fn check(fields: &[Calculation], expected: Option<&[usize]>) {
        let found = find_loop(&fields.iter().collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected);
    }
    check(&[field("a", "b"), field("b", "c"), field("a", "c")], None);
    check(&[field("a", "a")], Some(&[0]));
    check(&[field("z", "a"), field("a", "b"), field("b", "c"), field("c", "a")], Some(&[1, 2, 3]));
    check(&[field("a", "b"), field("a", "c"), field("b", "d"), field("c", "d"), field("d", "e")], None);
    let attribute = parse(&simple(&json!({ "x": latest("a") }), "x", &json!({ "type": "ATTRIBUTES", "name": "a" })));
    check(std::slice::from_ref(&attribute), None);
    // Of another entity.
    let far = json!({ "x": { "refEntityId": { "entityType": "DEVICE", "id": Uuid::nil() }, "refEntityKey": { "key": "b", "type": "TS_LATEST" } } });
    check(&[parse(&simple(&far, "x", &series("b")))], None);
    // What a script writes is not known before it has run.
    let script = parse(
        &json!({ "type": "SCRIPT", "arguments": { "a": latest("a") }, "expression": "return {a: a};", "output": { "type": "TIME_SERIES" } }),
    );
    assert!(script.may_feed(&field("q", "r")) && !attribute.may_feed(&script));
    check(&[script], None);
}
