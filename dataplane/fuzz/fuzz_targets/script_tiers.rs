//! Fuzz target: any script and message, evaluated in place and by the engine. Only calls the harness.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dataplane::rules::harness::any_script(bytes);
});
