//! Fuzz target: any script of packets, settlements, downlinks and moments on one session. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::session::harness::any(bytes));
