//! Fuzz target: any bytes as WebSocket frames, and as a message in them. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::codec::websocket::harness::any(bytes));
