//! Fuzz target: any bytes as a JSON payload. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::payload::harness::any(bytes));
