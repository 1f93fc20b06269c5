//! Calculated fields: each expression, argument and output.

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::calculated::Calculation;
use schemas::script::Script;
use serde_json::{Value as Json, json};

use crate::clock::{Clock, Timestamp};
use crate::message::Value;
use crate::rules::calculated::{Operand, calculate};
use crate::script::{Engine, Subject};

const NOW: Timestamp = Timestamp(1_000_000);

/// What a field is given of an argument `a`, `b`, …
enum Given {
    One(i64, Value<'static>),
    Otherwise(Value<'static>),
    Rolling(Vec<(i64, f64)>),
}

fn number(value: i64) -> Given {
    Given::One(5, Value::Long(value))
}

fn argument(given: &Given) -> Json {
    let kind = if matches!(given, Given::Rolling(_)) { "TS_ROLLING" } else { "TS_LATEST" };
    json!({ "refEntityKey": { "key": "k", "type": kind }, "timeWindow": 60_000 })
}

/// Readings as `key: value` with their ts, or the failure.
fn run(kind: &str, expression: &str, output: &Json, given: &[Given]) -> String {
    let names = ["a", "b", "c", "d"];
    let arguments: serde_json::Map<String, Json> =
        names.iter().zip(given).map(|(name, given)| ((*name).to_owned(), argument(given))).collect();
    let mut configuration = json!({ "type": kind, "arguments": arguments, "expression": expression, "output": output });
    configuration["useLatestTs"] = output["useLatestTs"].clone();
    let calculation = Calculation::parse(&configuration.to_string()).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let points: Vec<VecDeque<(Timestamp, f64)>> = given
        .iter()
        .map(|given| match given {
            Given::Rolling(points) => points.iter().map(|(ts, value)| (Timestamp(*ts), *value)).collect(),
            _ => VecDeque::new(),
        })
        .collect();
    let operands: Vec<Operand<'_>> = given
        .iter()
        .zip(&points)
        .map(|(given, points)| match given {
            Given::One(ts, value) => Operand::One { ts: Some(Timestamp(*ts)), value: value.clone() },
            Given::Otherwise(value) => Operand::One { ts: None, value: value.clone() },
            Given::Rolling(_) => Operand::Rolling { points, window_ms: Some(60_000) },
        })
        .collect();
    let mut engine = Engine::new(Clock::start());
    let mut run = |script: &Arc<Script>, subject: Subject<'_>| engine.run(script, subject);
    match calculate(&calculation, &operands, NOW, &mut run) {
        Err(failure) => format!("failed: {failure}"),
        Ok(readings) => {
            let of = |entry: &crate::message::Entry| {
                let ts = entry.ts.map(|ts| format!("@{} ", ts.0)).unwrap_or_default();
                let shown: Vec<String> =
                    readings.of(entry).iter().map(|reading| format!("{}: {}", reading.key, reading.value)).collect();
                format!("{ts}{}", shown.join(", "))
            };
            readings.entries.iter().map(of).collect::<Vec<_>>().join(" | ")
        }
    }
}

#[track_caller]
fn simple(expression: &str, given: &[Given], expected: &str) {
    assert_eq!(run("SIMPLE", expression, &json!({ "type": "TIME_SERIES", "name": "r" }), given), expected, "{expression}");
}

#[test]
fn formulas_take_numbers_of_any_kind() {
    simple("(a - 32) / 1.8", &[number(212)], "r: 100.0");
    simple("a + b", &[number(1), Given::One(5, Value::Double(0.5))], "r: 1.5");
    simple("a * b", &[Given::One(5, Value::Text("2.5".into())), Given::One(5, Value::Bool(true))], "r: 2.5");
    simple("max(a, b) ^ 2 + sqrt(c)", &[number(2), number(3), number(16)], "r: 13.0");
    simple("a", &[Given::Otherwise(Value::Long(7))], "r: 7.0");
    simple("a", &[Given::One(5, Value::Text("warm".into()))], "failed: argument a is not a number");
    simple("a", &[Given::One(5, Value::Json("{}".into()))], "failed: argument a is not a number");
    simple("1 / a", &[number(0)], "failed: the formula has no finite value");
}

#[test]
fn results_have_the_decimals_and_the_ts_of_the_output() {
    let third = |output: Json| run("SIMPLE", "a / 3", &output, &[number(5)]);
    assert_eq!(third(json!({ "type": "TIME_SERIES", "name": "r", "decimalsByDefault": 2 })), "r: 1.67");
    assert_eq!(third(json!({ "type": "TIME_SERIES", "name": "r", "decimalsByDefault": 0 })), "r: 2");
    assert_eq!(third(json!({ "type": "ATTRIBUTES", "name": "r", "decimalsByDefault": 1 })), "r: 1.7");
    let latest = json!({ "type": "TIME_SERIES", "name": "r", "useLatestTs": true });
    let given = [number(1), Given::One(9, Value::Long(1)), Given::Otherwise(Value::Long(1))];
    assert_eq!(run("SIMPLE", "a + b + c", &latest, &given), "@9 r: 3.0");
    assert_eq!(run("SIMPLE", "a", &latest, &[Given::Otherwise(Value::Long(1))]), "r: 1.0");
}

#[track_caller]
fn script(expression: &str, given: &[Given], expected: &str) {
    assert_eq!(run("SCRIPT", expression, &json!({ "type": "TIME_SERIES" }), given), expected, "{expression}");
}

#[test]
fn scripts_are_given_values_and_their_times() {
    let two = || [number(4), Given::One(9, Value::Text("x".into()))];
    script("return {sum: a + 1, text: b + '!'};", &two(), "sum: 5, text: x!");
    script("return {a: ctx.args.a.value, ts: ctx.args.a.ts, latest: ctx.latestTs};", &two(), "a: 4, latest: 9, ts: 5");
    script("return {ts: ctx.latestTs, values: {r: a}};", &two(), "@9 r: 4");
    script("return [{ts: 1, values: {r: 1}}, {ts: 2, values: {r: 2}}];", &two(), "@1 r: 1 | @2 r: 2");
    script("return null;", &two(), "");
    script("a = 1; return;", &two(), "");
    script("return {j: {deep: [1, 2]}};", &two(), "j: {\"deep\":[1,2]}");
    script("var x = a.nothing.more; return {};", &two(), "failed: TypeError: cannot read property 'more' of undefined");
    script("while (true) {}", &two(), "failed: the script took more than 5 ms");
    script("return a;", &two(), "failed: the result: payload byte 0: expected an object or an array of objects");
    let attributes = json!({ "type": "ATTRIBUTES" });
    assert_eq!(run("SCRIPT", "return {over: a > 3};", &attributes, &two()), "over: true");
    assert!(run("SCRIPT", "return [{over: 1}];", &attributes, &two()).starts_with("failed: the result: "));
}

#[test]
fn rolling_arguments_offer_what_thingsboards_do() {
    let points = || [Given::Rolling(vec![(1, 4.0), (2, f64::NAN), (3, 1.0), (4, 7.0)])];
    script(
        "return {n: a.count(), all: a.count(false), size: a.values.size(), s: a.getSize()};",
        &points(),
        "all: 4, n: 3, s: 4, size: 4",
    );
    script("return {max: a.max(), min: a.min(), sum: a.sum()};", &points(), "max: 7, min: 1, sum: 12");
    script("return {mean: a.mean(), avg: a.avg(), median: a.median()};", &points(), "avg: 4, mean: 4, median: 4");
    script("return {d: a.last - a.first, max: a.max, more: a.count > 2};", &points(), "d: 3, max: 7, more: true");
    script("return {first: a.first(), last: a.last()};", &points(), "first: 4, last: 7");
    script("return {std: toFixed(a.std(), 4)};", &points(), "std: 2.4495");
    script("return {nan: Number.isNaN(a.sum(false))};", &points(), "nan: true");
    script("var s = 0; foreach (p : a) { s += p.getTs(); } return {s: s};", &points(), "s: 10");
    script("var s = 0; foreach (p : a.values) { if (p.value > 0) { s += p.getValue(); } } return {s: s};", &points(), "s: 12");
    script("var s = 0; for (var p of a) { s += p.ts; } return {s: s};", &points(), "s: 10");
    script("return {from: a.timeWindow.startTs, to: a.timeWindow.endTs};", &points(), "from: 940000, to: 1000000");
    script("return {latest: ctx.latestTs, same: ctx.args.a == a};", &points(), "latest: 4, same: true");
    script(
        "return {none: a.max()};",
        &[Given::Rolling(vec![(1, f64::NAN)])],
        "failed: Error: Rolling argument values are empty.",
    );
    let two = || [Given::Rolling(vec![(1, 1.0), (3, 3.0)]), Given::Rolling(vec![(2, 20.0), (3, 30.0)])];
    script(
        "var s = ''; foreach (r : a.merge(b)) { s += r.ts + ':' + r.v1 + '/' + r.values[1] + ' '; } return {s: s};",
        &two(),
        "s: 2:1/20 3:3/30 ",
    );
    script("return {n: a.mergeAll([b], {'ignoreNaN': false}).values.size()};", &two(), "n: 3");
    // What a script does to the prelude, the next one does not see.
    script("try { a.constructor.prototype.max = 1; } catch (e) {} return {max: a.max()};", &points(), "max: 7");
}
