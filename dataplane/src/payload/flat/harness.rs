//! What must hold of the FlatBuffers reader for any bytes at all; the fuzz target and property tests call it. Panics when it does
//! not hold, so it is never called on the way of a message.

use crate::message::Readings;
use crate::payload::flat::{attributes, telemetry};
use crate::payload::harness::checked;

/// Reads `bytes` both ways and asserts what is promised of the results. Most bytes are no buffer; those that are not, behind a head
/// that is right, get further.
pub fn any(bytes: &[u8]) {
    let headed = [&[8, 0, 0, 0], &b"TGP1"[..], bytes].concat();
    for bytes in [bytes, &headed] {
        let mut readings = Readings::default();
        let result = telemetry(bytes, &mut readings);
        checked(bytes, result, &readings);
        let mut readings = Readings::default();
        let result = attributes(bytes, &mut readings);
        checked(bytes, result, &readings);
        assert!(readings.entries.len() <= 1 && readings.entries.iter().all(|entry| entry.ts.is_none()), "attributes have no ts");
    }
}
