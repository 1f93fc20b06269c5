//! What must hold of the payload parsers for any bytes at all; fuzz targets and property tests call it.
//! Panics when it does not hold, so it is never called on the way of a message.

use crate::limits::{ENTRIES_PER_MESSAGE_MAX, KEY_BYTES_MAX, READINGS_PER_MESSAGE_MAX};
use crate::message::{Readings, Value};
use crate::payload::{Casting, PayloadError, attributes, attributes_request, rpc, telemetry};

/// Parses `bytes` in every way a device could mean them and asserts what is promised of the results.
pub fn any(bytes: &[u8]) {
    for casting in [Casting::Enabled, Casting::Disabled] {
        let mut readings = Readings::default();
        let result = telemetry(bytes, casting, &mut readings);
        checked(bytes, result, &readings);
        let mut readings = Readings::default();
        let result = attributes(bytes, casting, &mut readings);
        checked(bytes, result, &readings);
        assert!(readings.entries.iter().all(|entry| entry.ts.is_none()), "attributes have no ts");
        assert!(readings.entries.len() <= 1, "attributes are one entry");
    }
    if let Err(error) = attributes_request(bytes) {
        assert!(error.at <= bytes.len(), "{error}: beyond {} bytes", bytes.len());
    }
    match rpc(bytes) {
        Err(error) => assert!(error.at <= bytes.len(), "{error}: beyond {} bytes", bytes.len()),
        Ok(request) => assert!(request.params.is_none_or(|params| params.get().len() < bytes.len()), "params are a part"),
    }
}

pub(super) fn checked(bytes: &[u8], result: Result<(), PayloadError>, readings: &Readings<'_>) {
    if let Err(error) = result {
        assert!(error.at <= bytes.len(), "{error}: beyond {} bytes", bytes.len());
        assert!(readings.is_empty() && readings.entries.is_empty(), "a refused payload leaves nothing behind");
        return;
    }
    assert!(readings.entries.len() <= ENTRIES_PER_MESSAGE_MAX, "too many entries");
    assert!(readings.readings.len() <= READINGS_PER_MESSAGE_MAX, "too many readings");
    let mut next = 0;
    for entry in &readings.entries {
        assert_eq!(entry.range.start, next, "entries cover the readings without gap");
        assert!(entry.range.end > entry.range.start, "an entry has at least one reading");
        next = entry.range.end;
    }
    assert_eq!(next, readings.readings.len(), "every reading belongs to an entry");
    for reading in &readings.readings {
        assert!((1..=KEY_BYTES_MAX).contains(&reading.key.len()), "key of {} bytes", reading.key.len());
        match &reading.value {
            Value::Double(value) => assert!(value.is_finite(), "{value} is no JSON number"),
            Value::Json(text) => {
                let parsed = serde_json::from_str::<serde_json::Value>(text);
                assert!(parsed.is_ok_and(|value| value.is_object() || value.is_array()), "{text}: not readable again");
            }
            Value::Bool(_) | Value::Long(_) | Value::Text(_) => {}
        }
    }
}
