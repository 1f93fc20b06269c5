//! Scripts that answer, that are wrong, and that would harm others: each has its answer or its failure, and the next one runs.

mod tbel;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::id::TenantId;
use schemas::script::{Form, Language, Script};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Engine, Engines, Said, ScriptFailure, Subject};
use crate::clock::Clock;
use crate::limits::{SCRIPT_ARGUMENTS_BYTES_MAX, SCRIPT_CUTS_IN_A_ROW_MAX, SCRIPT_US_MAX, SCRIPTS_COMPILED_MAX};

fn engine() -> Engine {
    Engine::new(Clock::start())
}

fn script(form: Form, language: Language, body: &str) -> Arc<Script> {
    Arc::new(Script::parse(form, language, body).unwrap_or_else(|refused| panic!("{body}: {refused}")))
}

fn data() -> Value {
    json!({ "temperature": 21.5, "name": "x", "list": [3, 1, 2], "deep": { "a": { "b": 7 } }, "hex": "0AFF", "n": null })
}

fn run(engine: &mut Engine, script: &Arc<Script>) -> Result<Answer, ScriptFailure> {
    let metadata = BTreeMap::from([("deviceName".to_owned(), "A".to_owned()), ("ts".to_owned(), "5".to_owned())]);
    engine.run(script, Subject { data: &data(), metadata: &metadata, kind: "POST_TELEMETRY_REQUEST" })
}

#[track_caller]
fn check(form: Form, language: Language, body: &str, expected: Result<Answer, ScriptFailure>) {
    assert_eq!(run(&mut engine(), &script(form, language, body)), expected, "{body}");
}

#[test]
fn each_form_has_its_answer() {
    let js = Language::Js;
    check(Form::Filter, js, "return msg.temperature > 20 && metadata.deviceName == 'A';", Ok(Answer::Truth(true)));
    check(Form::Filter, js, "return msgType == 'X';", Ok(Answer::Truth(false)));
    check(Form::Switch, js, "return 'a';", Ok(Answer::Labels(vec!["a".into()])));
    check(Form::Switch, js, "return ['a', msg.name];", Ok(Answer::Labels(vec!["a".into(), "x".into()])));
    check(Form::Text, js, "return 'T ' + msg.temperature;", Ok(Answer::Text("T 21.5".into())));
    let body = "return {msg: {t: msg.temperature * 2}, metadata: {n: 1, ok: true, s: 's'}, msgType: 'MINE'};";
    let metadata = [("n", "1"), ("ok", "true"), ("s", "s")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let said = Said { data: json!({ "t": 43 }), metadata: metadata.into(), kind: "MINE".into() };
    check(Form::Transform, js, body, Ok(Answer::Messages(vec![said])));
    // What is null is no metadata, and an empty type is none.
    let body = "metadata.gone = null; metadata.deviceName = 'B'; return {msg: 1, metadata: metadata, msgType: ''};";
    let metadata = [("deviceName", "B"), ("ts", "5")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let said = Said { data: json!(1), metadata: metadata.into(), kind: "POST_TELEMETRY_REQUEST".into() };
    check(Form::Transform, js, body, Ok(Answer::Messages(vec![said])));
    // What is left out stays.
    let kept = run(&mut engine(), &script(Form::Transform, js, "return [{msg: 1}, {}];"));
    let Ok(Answer::Messages(kept)) = kept else { panic!("{kept:?}") };
    assert_eq!(
        (&kept[0].data, kept[0].metadata["ts"].as_str(), kept[0].kind.as_str()),
        (&json!(1), "5", "POST_TELEMETRY_REQUEST")
    );
    assert_eq!(kept[1].data, data());
}

#[test]
fn other_answers_are_failures() {
    let shape = |form| Err(ScriptFailure::Shape(super::engine::expected(form)));
    for (form, bodies) in [
        (Form::Filter, vec!["return 1;", "return 'true';", "return null;", "return;", "var x;", "return function() {};"]),
        (Form::Switch, vec!["return 1;", "return [1];", "return {};"]),
        (Form::Transform, vec!["return 1;", "return [1];", "return {metadata: 1};", "return {msgType: 1};"]),
        (Form::Text, vec!["return 1;", "return {};"]),
    ] {
        for body in bodies {
            check(form, Language::Js, body, shape(form));
        }
    }
    let threw = |text: &str| Err(ScriptFailure::Threw(text.to_owned()));
    check(Form::Filter, Language::Js, "return msg.nothing.more;", threw("TypeError: cannot read property 'more' of undefined"));
    check(Form::Filter, Language::Js, "throw new Error('mine');", threw("Error: mine"));
    check(Form::Filter, Language::Js, "throw 'text';", threw("text"));
    check(Form::Filter, Language::Tbel, "raiseError('no'); return true;", threw("Error: no"));
    let circle = run(&mut engine(), &script(Form::Transform, Language::Js, "var a = {}; a.a = a; return {msg: a};"));
    assert!(matches!(circle, Err(ScriptFailure::Threw(_))), "{circle:?}");
}

#[test]
fn no_script_takes_more_than_it_may() {
    let js = Language::Js;
    let mut engine = engine();
    let good = script(Form::Filter, js, "return true;");
    for (body, expected) in [
        ("while (true) {}", ScriptFailure::TooLong),
        ("for (;;) { try { for (;;) {} } catch (e) {} }", ScriptFailure::TooLong),
        ("return /^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!');", ScriptFailure::TooLong),
    ] {
        assert_eq!(run(&mut engine, &script(Form::Filter, js, body)), Err(expected), "{body}");
        assert_eq!(run(&mut engine, &good), Ok(Answer::Truth(true)), "the next one runs");
    }
    for body in [
        "var a = []; while (true) a.push(new Array(1000).join('x') + a.length);",
        "return new Array(1e8).fill(7).length > 1;",
        "return 'x'.repeat(1e8).length > 1;",
    ] {
        let failed = run(&mut engine, &script(Form::Filter, js, body));
        assert!(
            matches!(failed, Err(ScriptFailure::OutOfMemory | ScriptFailure::TooLong | ScriptFailure::Threw(_))),
            "{body}: {failed:?}"
        );
        assert_eq!(run(&mut engine, &good), Ok(Answer::Truth(true)), "the next one runs");
    }
    for body in ["function f() { return f() + 1; } return f() > 1;", "return JSON.parse(new Array(50000).join('[')) > 1;"] {
        let failed = run(&mut engine, &script(Form::Filter, js, body));
        assert!(matches!(failed, Err(ScriptFailure::Threw(_) | ScriptFailure::TooLong)), "{body}: {failed:?}");
        assert_eq!(run(&mut engine, &good), Ok(Answer::Truth(true)), "the next one runs");
    }
    let long = script(Form::Text, js, "return 'x'.repeat(400000);");
    assert_eq!(run(&mut engine, &long), Err(ScriptFailure::ResultTooLarge));
    let (big, none) = (json!("x".repeat(SCRIPT_ARGUMENTS_BYTES_MAX)), BTreeMap::new());
    assert_eq!(engine.run(&good, Subject { data: &big, metadata: &none, kind: "" }), Err(ScriptFailure::ArgumentsTooLarge));
    assert!(engine.memory_bytes() < 4 << 20, "{}", engine.memory_bytes());
}

/// What the engine does at once is as bounded as what a script does step by step: each of these took seconds, minutes or hours.
#[test]
fn no_native_takes_more_than_it_may() {
    let (js, filter) = (Language::Js, Form::Filter);
    let mut engine = engine();
    let good = script(filter, js, "return 'a-b'.split('-').length === 2;");
    for body in [
        "return RegExp.prototype[Symbol.replace].call(/a/g, 'a'.repeat(3e6), '') === '';",
        "return 'a'.repeat(3e5).indexOf('a'.repeat(15e4) + 'b') > 1;",
        "return 'a'.repeat(3e5).lastIndexOf('b' + 'a'.repeat(15e4)) > 1;",
        "return 'a'.repeat(3e5).includes('a'.repeat(15e4) + 'b');",
        "return 'a'.repeat(3e5).split('a'.repeat(15e4) + 'b').length > 1;",
        "return 'a'.repeat(3e5).replace('a'.repeat(15e4) + 'b', '') === '';",
        "return 'a'.repeat(3e5).replaceAll({ toString: () => 'a'.repeat(15e4) + 'b' }, '') === '';",
        "return String.prototype.indexOf.call({ toString: () => 'a'.repeat(3e5) }, 'a'.repeat(15e4) + 'b') > 1;",
        "var s = 'a'.repeat(4e5); while (true) s.indexOf('b');",
        "var s = 'a'.repeat(4e5); while (true) { try { s.toUpperCase(); } catch (e) {} }",
        "while (true) 'a'.repeat(5e5);",
        "return 'é'.repeat(2e6).normalize('NFD') === '';",
        "return RegExp('[' + 'a-z'.repeat(5e4) + ']', 'iu').test('x');",
        "return 'x'.search('[' + 'a-z'.repeat(5e4) + ']') === 0;",
        "return new Array(4e9).join('') === '';",
        "return new Array(4e9).reverse() === 1;",
        "return new Array(4e9).slice(0, 3e9) === 1;",
        "return [].concat(new Array(4e9)) === 1;",
        "return [new Array(4e9)].flat() === 1;",
        "return Array.prototype.shift.call({ length: 1e15 }) === 1;",
        "return Array.prototype.fill.call(Object.create(new Uint8Array(1), { length: { get: () => 1e15 } }), 1) === 1;",
        "var many = new Array(2e4).fill('a'.repeat(4e5)); many.sort(); many.sort(); return many.sort() === 1;",
        "return new Array(4e9).keys().drop(4e9 - 1).next().done;",
        "return String.raw({ raw: new Array(4e9) }) === '';",
        "var a = 2n ** 500000n; while (true) a * a;",
        "return (0xFFn ** 100000n).toString() === '';",
        "return BigInt('9'.repeat(3e5)) > 1;",
        "return new BigInt64Array(1)[0] > 1;",
    ] {
        let failed = run(&mut engine, &script(filter, js, body));
        assert!(matches!(failed, Err(ScriptFailure::Threw(_) | ScriptFailure::TooLong)), "{body}: {failed:?}");
        assert_eq!(run(&mut engine, &good), Ok(Answer::Truth(true)), "the next one runs");
    }
}

/// On a busy machine the engine's time passes without it.
#[track_caller]
fn check_in_time(body: &str, expected: &str) {
    let (mut engine, script) = (engine(), script(Form::Text, Language::Js, body));
    let mut answers = std::iter::repeat_with(|| run(&mut engine, &script));
    let answer = answers.find(|answer| *answer != Err(ScriptFailure::TooLong));
    assert_eq!(answer, Some(Ok(Answer::Text(expected.to_owned()))), "{body}");
}

#[test]
fn guarded_natives_answer_as_ever() {
    for (expression, expected) in [
        ("'a-b-c'.split('-', 2).join('+') + 'abc'.split() + 'ab'.split('').length", "a+babc2"),
        ("'aXbX'.replace('X', x => x + 1) + 'aXbX'.replaceAll('X', '$&$&') + 'aXbX'.replace(/x/gi, '')", "aX1bXaXXbXXab"),
        ("'abcabc'.indexOf('c', 3) + ',' + 'abcabc'.lastIndexOf('b') + 'x'.includes() + 'undefined'.includes()", "5,4falsetrue"),
        ("'a1b22'.match(/[0-9]+/g).join() + 'ab'.search('b') + [...'a1b2'.matchAll(/[0-9]/g)].length", "1,2212"),
        ("'7'.padStart(3, '0') + 'ab'.repeat(2) + ' x '.trim() + 'É'.toLowerCase() + 'abc'.slice(1, 2)", "007ababxéb"),
        (
            "RegExp('b', 'g').flags + new RegExp(/c/).source + (/x/ instanceof RegExp) + (/x/.constructor === RegExp)",
            "gctruetrue",
        ),
        ("[3, 20, undefined, 'b', 1].sort().join() + [3, 20, 1].sort((a, b) => a - b) + [2, 1].toSorted()", "1,20,3,b,1,3,201,2"),
        (
            "[1, [2, [3]]].flat().length + [1, [2, [3]]].flat(Infinity).join('') + [1, 2].flatMap(x => [x, x]).join('')",
            "31231122",
        ),
        ("[1].concat(2, [3, 4], { a: 1 }).length + [1, 2, 3].splice(1).join('') + [1, 2].reverse() + [, 1]", "5232,1,1"),
        (
            "(function() { return Array.prototype.slice.call(arguments, 1).join(''); })(1, 2, 3) + [].join.call('ab', '-')",
            "23a-b",
        ),
        ("new Uint8Array([3, 1]).sort().join() + new Float64Array(2).fill(1.5) + encodeURIComponent('é')", "1,31.5,1.5%C3%A9"),
        ("JSON.stringify(JSON.parse('{\"a\":[1]}'), null, 1).length + ''", "18"),
    ] {
        check_in_time(&format!("return {expression};"), expected);
    }
    // No BigInt, though it may look like one.
    check_in_time("var a1n = 1, in2n = '10', n = 3; return '' + a1n + in2n + n + 0xFE;", "1103254");
}

#[test]
fn what_one_script_changes_another_never_sees() {
    let mut engine = engine();
    let (js, filter) = (Language::Js, Form::Filter);
    for body in [
        "leaked = 1; globalThis.other = 2; return true;",
        "Array.prototype.push = null; return true;",
        "Object.prototype.evil = 1; return true;",
        "JSON.parse = null; JSON = null; return true;",
        "Math.max = function() { return 0; }; return true;",
        "String.prototype.$size = null; toFixed = null; return true;",
        "RegExp.prototype.test = null; return true;",
        "try { Object.setPrototypeOf(Array.prototype, {a: 1}); } catch (e) {} return true;",
    ] {
        let _whatever = run(&mut engine, &script(filter, js, body));
        let intact = "return typeof leaked === 'undefined' && typeof other === 'undefined' && [].concat([1]).push(2) === 2
            && ({}).evil === undefined && JSON.parse('1') === 1 && Math.max(1, 2) === 2 && 'ab'.$size() === 2 && /a/.test('a')
            && toFixed(1.26, 1) === 1.3 && [].a === undefined;";
        assert_eq!(run(&mut engine, &script(filter, js, intact)), Ok(Answer::Truth(true)), "after {body}");
    }
    for absent in [
        "eval('1')",
        "Function('return 1')()",
        "(function() {}).constructor('return 1')()",
        "setTimeout(1)",
        "require('fs')",
        "fetch('x')",
    ] {
        let failed = run(&mut engine, &script(filter, js, &format!("return {absent} == 1;")));
        assert!(failed.is_err(), "{absent}: {failed:?}");
    }
}

#[test]
fn compiled_scripts_are_bounded() {
    let mut engine = engine();
    for n in 0..SCRIPTS_COMPILED_MAX + 10 {
        let one = script(Form::Text, Language::Js, &format!("return '{n}';"));
        assert_eq!(run(&mut engine, &one), Ok(Answer::Text(n.to_string())));
        assert_eq!(run(&mut engine, &one), Ok(Answer::Text(n.to_string())));
    }
}

#[test]
fn a_tenant_has_its_share_of_time_and_others_have_theirs() {
    let mut engines = Engines::new(Clock::start(), 2);
    let tenant = |n: u128| TenantId(Uuid::from_u128(n));
    let (data, metadata) = (json!({}), BTreeMap::new());
    let subject = Subject { data: &data, metadata: &metadata, kind: "" };
    let good = script(Form::Filter, Language::Js, "return true;");
    // Each of them another, so that none rests.
    let endless: Vec<_> = (0..200).map(|_| script(Form::Filter, Language::Js, "while (true) {}")).collect();
    let failures: Vec<_> = endless.iter().map(|endless| engines.run(tenant(1), endless, subject)).collect();
    assert_eq!(failures[0], Err(ScriptFailure::TooLong));
    // Somewhere: whoever waits long enough in between has earned another call.
    assert!(failures.contains(&Err(ScriptFailure::OutOfTime)), "after a quarter of a second of loops");
    for other in 2..6 {
        assert_eq!(engines.run(tenant(other), &good, subject), Ok(Answer::Truth(true)));
    }
}

#[test]
fn a_script_that_is_cut_off_again_and_again_rests_and_others_of_its_tenant_do_not() {
    let mut engines = Engines::new(Clock::start(), 2);
    let tenant = TenantId(Uuid::from_u128(1));
    let (data, metadata) = (json!({}), BTreeMap::new());
    let subject = Subject { data: &data, metadata: &metadata, kind: "" };
    let [endless, good, sometimes] =
        ["while (true) {}", "return true;", "while (msg.a) {} return true;"].map(|body| script(Form::Filter, Language::Js, body));
    let bad = json!({ "a": 1 });
    let loops = Subject { data: &bad, ..subject };
    // On a busy machine the tenant's share is used up sooner, and is there again a moment later.
    let in_time = |engines: &mut Engines, script, subject| loop {
        match engines.run(tenant, script, subject) {
            Err(ScriptFailure::OutOfTime) => {}
            answer => return answer,
        }
    };
    engines.begin();
    for _ in 0..SCRIPT_CUTS_IN_A_ROW_MAX {
        assert_eq!(in_time(&mut engines, &endless, subject), Err(ScriptFailure::TooLong));
        assert_eq!(in_time(&mut engines, &good, subject), Ok(Answer::Truth(true)));
    }
    let spent_us = engines.spent_us();
    assert!(spent_us >= u64::from(SCRIPT_CUTS_IN_A_ROW_MAX) * SCRIPT_US_MAX, "{spent_us}");
    for _ in 0..100 {
        assert_eq!(engines.run(tenant, &endless, subject), Err(ScriptFailure::Resting));
    }
    assert_eq!(engines.spent_us(), spent_us, "it is not even called");
    // Whoever answers in between is not cut off in a row.
    for _ in 0..SCRIPT_CUTS_IN_A_ROW_MAX * 2 {
        assert_eq!(in_time(&mut engines, &sometimes, loops), Err(ScriptFailure::TooLong));
        assert_eq!(in_time(&mut engines, &sometimes, subject), Ok(Answer::Truth(true)));
    }
}

/// ThingsBoard's documented examples, and what they answer.
#[test]
fn tbel_means_what_thingsboard_says() {
    for (expression, expected) in [
        ("toFixed(2.7165, 2)", json!(2.72)),
        ("btoa('Hello, world')", json!("SGVsbG8sIHdvcmxk")),
        ("atob('SGVsbG8sIHdvcmxk')", json!("Hello, world")),
        ("bytesToString([0x48,0x45,0x4C,0x4C,0x4F])", json!("HELLO")),
        ("decodeToJson([123, 34, 97, 34, 58, 49, 125])", json!({ "a": 1 })),
        ("stringToBytes('Hi')", json!([72, 105])),
        ("bytesToHex([0xBB, 0xAA])", json!("BBAA")),
        ("hexToBytes('0xBBAA')", json!([-69, -86])),
        ("bytesToBase64([42, 73])", json!("Kkk=")),
        ("base64ToHex('Kkk=')", json!("2A49")),
        ("base64ToBytes('Kkk=')", json!([42, 73])),
        ("parseHexToInt('BBAA')", json!(48_042)),
        ("parseLittleEndianHexToInt('AABB')", json!(48_042)),
        ("parseHexToInt('BBAA', false)", json!(43_707)),
        ("parseBytesToInt(new byte[]{0xAA, 0xBB, 0xCC, 0xDD})", json!(-1_430_532_899)),
        ("new Thread(1)", json!(null)),
        ("parseBytesToInt([0xAA, 0xBB, 0xCC, 0xDD], 0, 3, true)", json!(11_189_196)),
        ("parseBytesToInt([0xAA, 0xBB, 0xCC, 0xDD], 0, 3, false)", json!(13_417_386)),
        ("parseBytesToFloat([0x41, 0xC8, 0x00, 0x00])", json!(25)),
        ("parseHexToFloat('41C80000')", json!(25)),
        ("parseLong('-54', 10)", json!(-54)),
        ("toFlatMap({a: {b: 1, c: [2, 3]}})", json!({ "a.b": 1, "a.c.0": 2, "a.c.1": 3 })),
        ("msg.list.size() + msg.deep.size()", json!(4)),
        ("msg.list.contains(2) && !msg.containsKey('gone') && msg.deep.a.get('b') == 7", json!(true)),
        ("msg.name.equalsIgnoreCase('X') && 'abc'.matches('a.c') && 'abc'.length() == 3", json!(true)),
        ("(int) (msg.temperature / 2) + (int) '7'", json!(17)),
        ("['k': msg.list.get(1), 'l': [1, 2]]", json!({ "k": 1, "l": [1, 2] })),
        ("msg.?gone.?more == null ? 'none' : 'some'", json!("none")),
        ("metadata.deviceName + '-' + msgType", json!("A-POST_TELEMETRY_REQUEST")),
    ] {
        let body = format!("return {{msg: {{v: {expression}}}}};");
        let parsed = Script::parse(Form::Transform, Language::Tbel, &body);
        if expected.is_null() {
            assert!(parsed.is_err(), "{expression}");
            continue;
        }
        let answer = run(&mut engine(), &Arc::new(parsed.unwrap_or_else(|refused| panic!("{expression}: {refused}"))));
        let Ok(Answer::Messages(messages)) = &answer else { panic!("{expression}: {answer:?}") };
        assert_eq!(messages[0].data["v"], expected, "{expression}");
    }
    let body = "var sum = 0; foreach (x : msg.list) { sum += x; } for (int i = 0; i < 2; i++) sum++;
        def twice(a) { return a * 2; } var m = new HashMap(); m.put('sum', twice(sum)); m.keys = m.keySet();
        return {msg: m, metadata: metadata, msgType: msgType};";
    let answer = run(&mut engine(), &script(Form::Transform, Language::Tbel, body));
    let Ok(Answer::Messages(messages)) = &answer else { panic!("{answer:?}") };
    assert_eq!(messages[0].data, json!({ "sum": 16, "keys": ["sum"] }));
}
