//! JSON path: what a path finds in the data becomes the data. Fails where a path to one place finds nothing, as in ThingsBoard.

use schemas::chain::json_path::JsonPath;

use serde_json::Value;

use crate::limits::DATA_BYTES_MAX;
use crate::rules::carried::Carried;
use crate::rules::node::{Next, SUCCESS};

pub(super) fn run(path: &JsonPath, carried: &Carried<'_>) -> Next {
    if path.is_root() {
        return Next::By(SUCCESS);
    }
    let mut changed = carried.change();
    match path.find(&changed.data) {
        // What is found twice is there twice, and the next node may double it again.
        Some(found) if bytes(&found) > DATA_BYTES_MAX => {
            Next::Fail(format!("what the path finds is longer than {DATA_BYTES_MAX} bytes"))
        }
        Some(found) => {
            changed.data = found;
            Next::With(changed)
        }
        None => Next::Fail("the path leads to nothing".to_owned()),
    }
}

/// About what a value takes as JSON.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| bytes(value) + 1).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes(value) + 4).sum::<usize>() + 2,
        _ => 8,
    }
}
