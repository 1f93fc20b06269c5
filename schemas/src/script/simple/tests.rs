//! Which scripts are simple, and which only look so. That they mean the same is tested where both run (dataplane, `rules/tests`).

use super::{NODES_MAX, Simple};
use crate::script::{Form, Language, Script};

fn simple(form: Form, language: Language, body: &str) -> Option<Simple> {
    Script::parse(form, language, body).unwrap_or_else(|refused| panic!("{body}: {refused}")).simple
}

#[test]
fn simple_scripts_are_recognised() {
    for filter in [
        "return msg.temperature > 20;",
        "return msg.temperature > 20",
        "return msg['a'].b * 2 - 1 >= 2.5e3 % 7;",
        "return typeof msg.t === 'undefined' || msg.t != null && !(metadata.deviceName == \"A\");",
        "// warm\nreturn msgType == 'POST_TELEMETRY_REQUEST' ? msg.t > -1 : false; /* no more */",
        "var t = msg.t\nconst u = t + 1;\nif (u > 5) { return true }\nelse if (u < 1) return false\nreturn msg?.a?.b === null",
        "if (msg.a) { var b = msg.a; return b > 1; } return false;",
        "return msg.a\r\n  == 'don\\'t';",
    ] {
        assert!(simple(Form::Filter, Language::Js, filter).is_some(), "{filter}");
    }
    for filter in ["msg.temperature > 20", "int t = msg.t; t > 1 and t < 9L or msg.?a.?b == null"] {
        assert!(simple(Form::Filter, Language::Tbel, filter).is_some(), "{filter}");
    }
    for switch in
        ["return 'a';", "return ['a', msg.b, msgType];", "return [];", "if (msg.a) return 'x'; return msg.c ? 'y' : 'z';"]
    {
        assert!(simple(Form::Switch, Language::Js, switch).is_some(), "{switch}");
    }
    for transform in [
        "msg.f = msg.t * 9 / 5 + 32; return {msg: msg, metadata: metadata, msgType: msgType};",
        "metadata['n'] = 'x' + msg.t; if (msg.a.b) msg.a.c = 1; return {msgType: 'MINE', metadata: metadata, msg};",
        "return {msg: {sum: msg.a + 1, 'b c': metadata.ts}, metadata: {}};",
    ] {
        assert!(simple(Form::Transform, Language::Js, transform).is_some(), "{transform}");
    }
    let made = "return {msg: ['sum': msg.a + 1], metadata: metadata, msgType: msgType};";
    assert!(simple(Form::Transform, Language::Tbel, made).is_some(), "{made}");
}

#[test]
fn what_is_in_doubt_is_not() {
    for filter in [
        // An answer is not what stands in the next line.
        "return\nmsg.a;",
        "msg.a > 1",
        "return msg.list[0] > 1;",
        "return msg.list.length() > 1;",
        "return msg.toString == null;",
        "return msg['__proto__'] == null;",
        "return msg.$size == null;",
        "return msg.a & 1;",
        "return msg.a ** 2 > 1;",
        "return msg.a ?? true;",
        "return msg.a?.[0] > 1;",
        "return 1, true;",
        "return a > 1;",
        "return 0x10 > 1 && 1e400 > 1;",
        "return 'a' in msg;",
        "return msg.a\n(1);",
        "return msg.a > 1; var a = 1;",
        "return '\\x41' == 'A' && '\\u0041' == 'A';",
        "if (msg.a) { var b = 1; } return b > 1;",
        "return b > 1; var b = 1;",
        "var a = 1; var a = 2; return a > 1;",
        "var a = 1; a = 2; return a > 1;",
        "var undefined = 1, b; return true;",
        "metadata.a = 1; return metadata.a === 1;",
        "msg.a = msg.b = 1; return true;",
        "msg = 1; return true;",
        "msg?.a; return true;",
        "for (;;) { return true; }",
        "return true; // a\r",
        "return true // a\u{2028}&& false;",
        "'use strict'; return true;",
        "return { a: 1 };",
        "return ['a'];",
        "return this == null;",
        "return /a/ > 1;",
    ] {
        assert_eq!(simple(Form::Filter, Language::Js, filter), None, "{filter}");
    }
    for switch in ["return ['a',];", "return ['a'][0];", "return [, 'a'];", "return msg.a ? ['a'] : ['b'];"] {
        assert_eq!(simple(Form::Switch, Language::Js, switch), None, "{switch}");
    }
    for transform in [
        "msg.a = 1; return {metadata: metadata};",
        "return {msg: metadata};",
        "return {msg: msg.a};",
        "return {msg: {__proto__: 1}};",
        "return {msg: {a: 1, a: 2}};",
        "return {msg: msg, more: 1};",
        "return {...msg};",
        "return [{msg: msg}];",
        "return msg;",
        "metadata.a.b = 1; return {msg: msg, metadata: metadata};",
    ] {
        assert_eq!(simple(Form::Transform, Language::Js, transform), None, "{transform}");
    }
    assert_eq!(simple(Form::Text, Language::Js, "return 'a';"), None);
}

#[test]
fn long_and_deep_ones_run_in_the_engine() {
    let sum = |terms: usize| format!("return {} > 1;", vec!["1"; terms].join(" + "));
    assert!(simple(Form::Filter, Language::Js, &sum(100)).is_some());
    assert_eq!(simple(Form::Filter, Language::Js, &sum(NODES_MAX)), None);
    let nested = |depth: usize| format!("return {}1{} > 1;", "(".repeat(depth), ")".repeat(depth));
    assert!(simple(Form::Filter, Language::Js, &nested(10)).is_some());
    assert_eq!(simple(Form::Filter, Language::Js, &nested(40)), None);
    assert_eq!(simple(Form::Filter, Language::Js, &format!("return {}1;", "!".repeat(300))), None);
}
