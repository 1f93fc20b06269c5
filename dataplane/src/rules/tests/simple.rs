//! Simple scripts beside the engine: whatever has an answer without it has the engine's answer, to the bit.

use proptest::prelude::*;

use schemas::chain::MessageType;
use schemas::script::{Form, Language, Script};

use crate::rules::carried::Carried;
use crate::rules::harness::{any_chain, any_script};
use crate::rules::simple;

/// Bytes that look random and are the same every time.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..400).map(|_| next()).collect()
}

#[test]
fn most_scripts_of_the_harness_are_simple_and_most_of_those_need_no_engine() {
    let mut counts = [0_u32; 4];
    for seed in 0..4_000 {
        counts[any_script(&bytes(seed)) as usize] += 1;
    }
    let [refused, not_simple, asked, alike] = counts;
    println!("refused {refused}, not simple {not_simple}, asked {asked}, alike {alike}");
    assert!(asked + alike > refused + not_simple, "{counts:?}");
    assert!(alike > 1_000, "{counts:?}");
}

/// What Rust writes otherwise, or reads otherwise, than JavaScript does.
#[test]
fn numbers_are_written_and_read_as_in_javascript() {
    for (answer, expected) in [
        ("900719925474099.25", "900719925474099.2"),
        ("-0", "0"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1e21", "1e+21"),
        ("123456789012345680000", "123456789012345680000"),
        ("1.5e-7", "1.5e-7"),
        ("0.000001", "0.000001"),
        ("5e-324", "5e-324"),
        ("-1e308 * 10", "-Infinity"),
        ("+'nan' + +'inf'", "NaN"),
        ("+' 12 ' + +'' + +'-.5'", "11.5"),
        ("-7 % 3", "-1"),
        ("9007199254740993", "9007199254740992"),
        ("'\u{e000}' < '\u{1f600}'", "false"),
        ("null >= 0 && null == 0", "false"),
        ("'5' == 5.0 && true == '1' && undefined == null", "true"),
    ] {
        let body = format!("return '' + ({answer});");
        let script = Script::parse(Form::Switch, Language::Js, &body).expect("it is one");
        let message = super::telemetry(MessageType::PostTelemetryRequest);
        let found = simple::answer(&script, &Carried::AsCame(&message));
        assert_eq!(found, Some(simple::Answer::Labels(vec![expected.to_owned()])), "{answer}");
    }
}

#[test]
fn what_is_null_is_no_metadata_and_an_empty_type_is_none() {
    for (body, left) in [
        ("metadata.deviceName = null; return {msg: msg, metadata: metadata, msgType: ''};", None),
        ("return {msg: msg, metadata: {deviceName: null, a: 'b'}, msgType: ''};", Some("b")),
    ] {
        let script = Script::parse(Form::Transform, Language::Tbel, body).expect("it is one");
        let message = super::telemetry(MessageType::PostTelemetryRequest);
        let found = simple::answer(&script, &Carried::AsCame(&message));
        let Some(simple::Answer::Message(changed)) = found else { panic!("{body}: {found:?}") };
        let metadata = |name: &str| changed.metadata.get(name).map(String::as_str);
        assert_eq!((metadata("deviceName"), metadata("a")), (None, left), "{body}");
        assert!(format!("{:?}", changed.kind).contains("PostTelemetryRequest"), "{:?}", changed.kind);
    }
}

proptest! {
    #[test]
    fn any_simple_script_answers_as_the_engine(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        any_script(&bytes);
    }

    #[test]
    fn any_words_of_a_chain_are_refused_or_evaluated(words in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"nodes\"", "\"connections\"", "\"firstNodeIndex\"", "0", "1", "-1", "null", "\"fromIndex\"",
        "\"toIndex\"", "\"type\"", "\"Success\"", "\"True\"", "\"name\"", "\"configuration\"",
        "\"org.thingsboard.rule.engine.action.TbLogNode\"", "\"org.thingsboard.rule.engine.filter.TbJsFilterNode\"",
        r#"{"type":"org.thingsboard.rule.engine.flow.TbAckNode","name":"a"}"#, r#"{"fromIndex":0,"toIndex":1,"type":"Success"}"#,
    ]), 0..30)) {
        any_chain(&words.concat());
        any_chain(&format!("{{\"firstNodeIndex\":0,\"nodes\":[{}]}}", words.concat()));
    }
}
