//! Fuzz target: any bytes as a header of the PROXY protocol. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::codec::proxy::harness::any(bytes));
