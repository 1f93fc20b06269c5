//! Fuzz target: any bytes as MQTT packets of every version. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::codec::mqtt::harness::decode_any(bytes));
