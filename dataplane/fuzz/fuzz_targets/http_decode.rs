//! Fuzz target: any bytes as HTTP requests. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::codec::http::harness::any(bytes));
