//! Fuzz target: any bytes as protobuf payloads. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::payload::protobuf::harness::any(bytes));
