//! Fuzz target: any script of takes, logins and connections against the limits. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::quota::harness::any(bytes));
