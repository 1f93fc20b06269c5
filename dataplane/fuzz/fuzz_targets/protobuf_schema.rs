//! Fuzz target: any text as a profile's proto3 schema. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| schemas::protobuf::harness::any(text));
