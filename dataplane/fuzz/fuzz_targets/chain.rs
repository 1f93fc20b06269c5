//! Fuzz target: any text as a rule chain; what is taken is compiled and evaluated. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| dataplane::rules::harness::any_chain(text));
