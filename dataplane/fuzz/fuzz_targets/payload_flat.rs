//! Fuzz target: any bytes as a FlatBuffers payload. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::payload::flat::harness::any(bytes));
