//! Fuzz target: any text as the script of a node, in both languages. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| schemas::script::harness::any(text));
