//! Fuzz target: any script of deadlines and leaps of the clock on one timer wheel. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::wheel::harness::any(bytes));
