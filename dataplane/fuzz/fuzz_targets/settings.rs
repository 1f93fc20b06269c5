//! Fuzz target: any bytes as a settings file. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| schemas::settings::harness::any(bytes));
