//! What scripts become, and which are refused. What they mean is tested where they run.

use proptest::prelude::*;

use super::{Form, InvalidScript, Language, Script, harness};

fn parse(language: Language, body: &str) -> Result<Script, InvalidScript> {
    Script::parse(Form::Filter, language, body)
}

#[track_caller]
fn check(tbel: &str, js: &str) {
    match parse(Language::Tbel, tbel) {
        Ok(script) => assert_eq!(script.js, js),
        Err(refused) => panic!("{tbel}: {refused}"),
    }
}

#[track_caller]
fn refused(language: Language, body: &str, why: &str) {
    let refused = parse(language, body).expect_err(body).to_string();
    assert!(refused.contains(why), "{body}: {refused}");
}

#[test]
fn what_means_the_same_stays() {
    for same in [
        "return msg.temperature > 20;",
        "if (msg.a == null && msg['b'] != \"x\") {\n  return false;\n} else { return msg.a?.b ? 1 : 2; }",
        "var x = {a: 1, \"b\": [1, 2, msg.c]};\nfor (var i = 0; i < 3; i++) { x.a += i; } // done\nreturn x.a == 3;",
        "return {msg: msg, metadata: metadata, msgType: msgType};",
        "return JSON.stringify(msg) + '\\n';",
    ] {
        check(same, same);
    }
}

#[test]
fn tbel_becomes_javascript() {
    check("msg.temperature > 20", "return msg.temperature > 20");
    check("var a = 1; a + 1;", "var a = 1; return a + 1;");
    check("int x = 10L; String s = 'a'; return x > 1.5f;", "var x = 10; var s = 'a'; return x > 1.5;");
    check("byte[] b = msg.bytes; return b.length > 0;", "var b = msg.bytes; return b.length > 0;");
    check("def f(a) { return a; } return f(1);", "function f(a) { return a; } return f(1);");
    check("var m = ['a': 1, 'b': x ? 2 : 3]; return m.size() > 0;", "var m = ({'a': 1, 'b': x ? 2 : 3}); return m.$size() > 0;");
    check("var m = [:]; m.put('k', [1, 2]); return m['k'];", "var m = ({}); m.$put('k', [1, 2]); return m['k'];");
    check("var l = [x ? 1 : 2]; return l.get(0);", "var l = [x ? 1 : 2]; return l.$get(0);");
    check("foreach (a : msg.list) { s += a; } return s;", "for (const a of $each( msg.list)) { s += a; } return s;");
    check("for (String a : msg.keySet()) { s += a; } return s;", "for (const a of $each( msg.$keySet())) { s += a; } return s;");
    check("return (int) msg.a.b(1)[2] + (double)-x;", "return $int(msg.a.b(1)[2]) + $double(-x);");
    check("return new java.util.Date().getTime() > 1;", "return new Date().getTime() > 1;");
    check("var l = new ArrayList<String>(); l.add(1); return l;", "var l = $list(); l.$add(1); return l;");
    check("return a and b or !c;", "return a && b || !c;");
    check("return msg.?a.?size();", "return msg?.a?.$size();");
    check("return new Date(0).getMonth() > Date.now();", "return new $Date(0).getMonth() > $Date.now();");
    check(
        "return Integer.parseInt(x) + Math.sqrt(4) + parseInt(x);",
        "return $Integer.parseInt(x) + Math.sqrt(4) + $parseInt(x);",
    );
    check("int[] a = new int[3]; return new byte[]{1, 2};", "var a = $array(3, 0); return $array([1, 2]);");
    check("do { x(); } until (a); def x() {}", "do { x(); } while (!(a)); function x() {}");
    check("a = 1; b = a; int b = 2; return a == b;", "var a; a = 1; b = a; var b = 2; return a == b;");
    check("def parseInt(a) { return a; } return parseInt(1);", "function parseInt(a) { return a; } return parseInt(1);");
    // A key is never a method; of a list the size is no key.
    check("return msg.size > 1 && msg.values == null;", "return msg.$count > 1 && msg.values == null;");
}

#[test]
fn what_has_no_meaning_is_refused_with_its_place() {
    #[track_caller]
    fn tbel(body: &str, why: &str) {
        refused(Language::Tbel, body, why);
    }
    tbel("return 1;\n  return a contains b;", "line 2, column 12: the operator contains");
    tbel("return a is String;", "the operator is");
    tbel("return empty;", "empty has no translation");
    tbel("return new java.io.File('x');", "new File: there is no such class");
    tbel("return 1 +\n foo(2);", "line 2, column 2: foo: there is no such function");
    tbel("return System.currentTimeMillis();", "line 1, column 8: System.currentTimeMillis: there is no such class");
    tbel("return java.util.UUID.randomUUID();", "java.util: there is no such class");
    tbel("return Integer.reverse(1);", "Integer.reverse: there is no such method");
    tbel("return new int[3][4];", "arrays of arrays");
    tbel("return a ~= 'x';", "~= has no translation");
    tbel("return (1];", "] closes nothing");
    tbel("return (1", "line 1, column 8: a bracket that is not closed");
    tbel("return 'a", "a text that does not end");
    tbel("return 12q;", "12q is no number");
    tbel("return `a`;", "has no meaning in TBEL");
    tbel(&format!("return {}1{};", "(".repeat(200), ")".repeat(200)), "nested deeper");
    tbel("return 1 +;", "line 1");
    refused(Language::Js, "return msg.;", "line 1, column 12: expecting field name");
    refused(Language::Js, "let a = 1;\nlet a = 2;", "line 2");
    refused(Language::Js, "return 1; }, function() {", "more than the body");
    refused(Language::Js, "}) ; (function() {", "more than the body");
    refused(Language::Js, &format!("return {}1", "[".repeat(10_000)), "");
    refused(Language::Js, "}()) ; while (true) {} (function() {", "interrupted");
    refused(Language::Js, " \n", "empty");
    refused(Language::Js, &" ".repeat(60_000), "60000 bytes");
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(body in "\\PC{0,200}") {
        harness::any(&body);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "foreach", "for", "(", ")", "[", "]", "{", "}", ":", ";", "?", ".", ",", "int", "x", "msg", "new", "Date", "(int)", "1L",
            "'a'", "+", "-", "return", "def", "and", "size", "//", "\n", "/*", "*/", "<", ">", "=", "String", "is",
        ]), 0..40)
    ) {
        harness::any(&tokens.join(" "));
    }
}
