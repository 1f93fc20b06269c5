//! Fuzz target: any script of requests, settlements, answers and moments on one HTTP session. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::session::http::harness::any(bytes));
