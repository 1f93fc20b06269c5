//! Schemas by example: what is read, and how each thing that is wrong is named.

use proptest::prelude::*;

use super::{
    ATTRIBUTES_REQUEST, CLAIM, Kind, Label, NESTING_MAX, PROBLEMS_MAX, RPC_CALL, RPC_REQUEST_DEFAULT, RPC_RESPONSE_DEFAULT,
    Schema, harness,
};

/// The messages as text: `name: number name kind label json`, one line each.
fn describe(schema: &Schema) -> String {
    let line = |message: &super::Message| {
        let field = |field: &super::Field| {
            let kind = match field.kind {
                Kind::Message(index) => schema.message(index).name.clone(),
                Kind::Enum(index) => schema.enumeration(index).name.clone(),
                kind => format!("{kind:?}"),
            };
            let oneof = field.oneof.map(|oneof| format!(" of {oneof}")).unwrap_or_default();
            format!("{}={} {:?} {kind}{oneof}", field.json, field.number, field.label)
        };
        format!("{}: {}", message.name, message.fields.iter().map(field).collect::<Vec<_>>().join(", "))
    };
    schema.messages.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(body: &str, expected: &str) {
    let text = format!("syntax = \"proto3\";\n{body}");
    harness::any(&text);
    match Schema::parse(&text) {
        Ok(schema) => assert_eq!(describe(&schema), expected),
        Err(invalid) => panic!("{invalid}"),
    }
}

#[track_caller]
fn refused(text: &str, says: &str) {
    harness::any(text);
    let invalid = Schema::parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
    assert!(invalid.to_string().contains(says), "{invalid} does not say {says}");
}

#[track_caller]
fn flawed(body: &str, says: &str) {
    refused(&format!("syntax = \"proto3\";\n{body}"), says);
}

#[test]
fn what_thingsboard_shows_as_examples_is_read() {
    let telemetry = r#"package telemetry;

message SensorDataReading {
  // A comment
  optional double temperature = 1;
  double battery_level = 2; /* another
  one */
  InnerObject innerObject = 3;

  message InnerObject {
    optional string key1 = 1;
    repeated int32 key2 = 2;
  }
}"#;
    check(
        telemetry,
        "telemetry.SensorDataReading: temperature=1 Optional Double, batteryLevel=2 Implicit Double, \
         innerObject=3 Implicit telemetry.SensorDataReading.InnerObject\n\
         telemetry.SensorDataReading.InnerObject: key1=1 Optional Text, key2=2 Repeated Int32",
    );
    for text in [RPC_REQUEST_DEFAULT, RPC_RESPONSE_DEFAULT, ATTRIBUTES_REQUEST, RPC_CALL, CLAIM] {
        harness::any(text);
        assert!(Schema::parse(text).is_ok(), "{text}");
    }
    assert_eq!(Schema::parse(RPC_REQUEST_DEFAULT).and_then(|schema| schema.carries_calls()), Ok(()));
}

#[test]
fn the_last_message_of_the_file_is_the_one() {
    let schema = Schema::parse("syntax='proto3';message A{message B{}}message C{}enum E{Z=0;}").expect("valid");
    assert_eq!(schema.root().name, "C");
}

#[test]
fn every_part_of_the_grammar_is_read() {
    check(
        "message A { map<string, B> m = 1; } message B { A a = 1; }",
        "A: m=1 Map A.m\nB: a=1 Implicit A\nA.m: key=1 Implicit Text, value=2 Implicit B",
    );
    check(
        "message A { oneof o { int64 x = 1; string y = 0x2; } reserved 5, 7 to 9, 20 to max; reserved \"gone\"; ; }",
        "A: x=1 Optional Int64 of 0, y=2 Optional Text of 0",
    );
    check(
        "option java_package = \"a.b\"; option (x).y = { a: [1, 2]; b { c: 3 } };\nmessage A { E e = 1 [deprecated = true, (z) = { q: 1 }]; \
         enum E { option allow_alias = true; ZERO = 0; NIL = 0; LESS = -1; reserved 4, \"X\"; } }",
        "A: e=1 Implicit A.E",
    );
    check(
        "package a.b; message A { .a.b.A x = 010 [packed = false, json_name = \"X-1\"]; b.A y = 2; }",
        "a.b.A: X-1=8 Implicit a.b.A, y=2 Implicit a.b.A",
    );
    check(
        "message A { message B { int32 inner = 1; } B b = 1; } message B { string outer = 1; A.B c = 2; }",
        "A: b=1 Implicit A.B\nA.B: inner=1 Implicit Int32\nB: outer=1 Implicit Text, c=2 Implicit A.B",
    );
    check("message A { bool __ = 1; bytes _a_b1_c = 2; }", "A: __=1 Implicit Bool, AB1C=2 Implicit Bytes");
}

#[test]
fn texts_that_are_no_schema_are_refused_with_their_line() {
    for (text, says) in [
        ("", "line 1: the file: must begin with syntax = \"proto3\";, found the end"),
        ("nonsense", "line 1: the file: must begin with"),
        ("message A {}", "must begin with syntax"),
        ("syntax = \"proto2\"; message A {}", "line 1: syntax: must be \"proto3\", found \"proto2\""),
        ("syntax = \"proto3\";", "must have a message"),
        ("syntax = \"proto3\";\n\nmessage A {\n  int32 a = 1\n}", "line 5: the text: ; is expected, found \"}\""),
        ("syntax = \"proto3\"; message A {", "a name is expected, found the end"),
        ("syntax = \"proto3\";\n/* never ends", "line 2: the text: a comment does not end"),
        ("syntax = \"proto3;\nmessage A {}", "a string does not end on its line"),
        ("syntax = \"proto3\"; message A { int32 ä = 1; }", "an unexpected character"),
        ("syntax = \"proto3\"; import \"b.proto\"; message A {}", "without imports"),
    ] {
        refused(text, says);
    }
    flawed("message A { required int32 a = 1; }", "required fields are not in proto3");
    flawed("message A { int32 a = 1 [default = 3]; }", "default values are not in proto3");
    flawed("message A { extensions 100 to 199; }", "may not be in a schema");
    flawed("service S {} message A {}", "service: may not be in a schema");
    flawed("message A { oneof o { repeated int32 a = 1; } }", "fields of a oneof have no label");
    flawed("message A { int32 a = b; }", "a: a whole number is expected, found \"b\"");
    flawed("message A { int32 a = 99999999999999999999; }", "a whole number is expected");
    let deep = |depth: usize| format!("{}{}", "message A {".repeat(depth), "}".repeat(depth));
    assert!(Schema::parse(&format!("syntax = \"proto3\"; {}", deep(NESTING_MAX))).is_ok());
    flawed(&deep(NESTING_MAX + 1), "at most 32 deep");
    flawed(&"message A {".repeat(5_000), "at most 32 deep");
}

#[test]
fn each_broken_rule_is_named_and_all_of_them_at_once() {
    let text = "message A {\n int32 a = 1;\n int32 a = 2;\n int32 b = 1;\n Nothing c = 3;\n map<double, int32> d = 4;\n}\nenum E { X = 1; }";
    for says in [
        "line 4: A.a: is declared twice",
        "line 5: A.b: the number 1 is that of a",
        "line 6: A.c: Nothing is no type of this file",
        "line 7: A.d: the keys of a map are whole numbers, bool or string",
        "line 9: E: its first value must be 0",
    ] {
        flawed(text, says);
    }
    flawed("message A { int32 a_b = 1; int32 aB = 2; }", "A.aB: is called aB in JSON, as a_b is");
    flawed("message A { int32 a = 0; }", "the number 0 is not within");
    flawed("message A { int32 a = 19500; }", "19500 is not within");
    flawed("message A { reserved 2 to 4; int32 a = 3; }", "A.a: is reserved");
    flawed("message A { reserved \"a\"; int32 a = 3; }", "A.a: is reserved");
    flawed("message A {} enum A { Z = 0; }", "A: is declared twice");
    flawed("message A { oneof o { int32 o = 1; } }", "A.o: is declared twice");
    flawed("message A {} enum E { Z = 0; Y = 0; }", "allow_alias");
    flawed("message A {} enum E { Z = 0; Y = 3000000000; }", "no int32");
    flawed(&format!("message A {{ int32 {} = 1; }}", "x".repeat(256)), "more than 255 bytes");
    let many: String = (0..100).map(|number| format!("message A {{ int32 a{number} = 0; }}")).collect();
    let invalid = Schema::parse(&format!("syntax = \"proto3\"; {many}")).expect_err("invalid");
    assert_eq!(invalid.0.len(), PROBLEMS_MAX);
    let fields: String = (1..=1_025).map(|number| format!("int32 a{number} = {number};")).collect();
    flawed(&format!("message A {{ {fields} }}"), "has 1025 fields, at most 1024");
    let messages: String = (0..1_025).map(|number| format!("message A{number} {{}}")).collect();
    flawed(&messages, "has 1025 messages");
    let maps: String = (1..=1_024).map(|number| format!("map<int32, A> a{number} = {number};")).collect();
    flawed(&format!("message A {{ {maps} }}"), "has 1025 messages and maps");
}

#[test]
fn a_call_needs_its_fields() {
    let check = |body: &str, says: &str| {
        let schema = Schema::parse(&format!("syntax = \"proto3\"; message R {{ {body} }}")).expect("valid");
        let said = schema.carries_calls().err().map(|invalid| invalid.to_string()).unwrap_or_default();
        assert_eq!(said, says);
    };
    check("string method = 1; int32 requestId = 2; bytes params = 3;", "");
    check(
        "bytes method = 1; repeated int32 requestId = 2;",
        "line 1: R.method: must be a string; line 1: R.requestId: must not be repeated; line 1: R.params: a field params must be there",
    );
}

#[test]
fn labels_say_what_absence_means() {
    let text =
        "syntax='proto3'; message A { int32 a = 1; optional int32 b = 2; A c = 3; repeated int32 d = 4; map<int32, A> e = 5; }";
    let schema = Schema::parse(text).expect("valid");
    assert_eq!(schema.root().defaults, [0, 3, 4]);
    assert_eq!(schema.root().fields[4].label, Label::Map);
}

#[test]
fn telemetry_with_a_time_is_known_by_its_fields() {
    let check = |body: &str, expected: Option<(usize, usize)>| {
        let schema = Schema::parse(&format!("syntax='proto3'; message V {{}} message A {{ {body} }}")).expect("valid");
        assert_eq!(schema.timed(), expected, "{body}");
    };
    check("int64 ts = 1; V values = 2;", Some((0, 1)));
    check("optional V values = 2; fixed64 ts = 1;", Some((1, 0)));
    check("string ts = 1; V values = 2;", None);
    check("int64 ts = 1; repeated V values = 2;", None);
    check("int64 ts = 1;", None);
}

proptest! {
    #[test]
    fn any_text_is_a_schema_or_refused(text in ".{0,200}") {
        harness::any(&text);
        harness::any(&format!("syntax = \"proto3\"; message A {{ {text} }}"));
    }

    #[test]
    fn any_words_of_a_schema_are_read_or_refused(words in prop::collection::vec(
        prop::sample::select(vec!["message", "enum", "A", "B", "{", "}", "=", "1", "2", "0", ";", "int32", "string", "repeated",
            "optional", "map", "<", ">", ",", "oneof", "reserved", "to", "max", "\"x\"", "option", "[", "]", ".", "-", "json_name"]),
        0..60)) {
        harness::any(&format!("syntax = \"proto3\"; {}", words.join(" ")));
        harness::any(&format!("syntax = \"proto3\"; message A {{ {} }}", words.join(" ")));
    }

    #[test]
    fn damaged_schemas_are_read_or_refused(at in any::<prop::sample::Index>(), new in any::<char>()) {
        let mut letters: Vec<char> = RPC_REQUEST_DEFAULT.chars().collect();
        let at = at.index(letters.len());
        letters[at] = new;
        harness::any(&letters.iter().collect::<String>());
        harness::any(&letters[..at].iter().collect::<String>());
    }
}
