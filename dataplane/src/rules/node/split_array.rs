//! Split array: each element of the data is a message of its own. Data that is no array goes on as it is, as in ThingsBoard.

use serde_json::Value;

use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::{Next, SUCCESS};

pub(super) fn run(carried: &Carried<'_>) -> Next {
    if !carried.data().is_array() {
        return Next::By(SUCCESS);
    }
    let mut whole = carried.change();
    let Value::Array(elements) = whole.data.take() else { return Next::By(SUCCESS) };
    // The others could not go anywhere.
    let reached = elements.into_iter().take(STEPS_PER_MESSAGE_MAX as usize + 1);
    Next::Each(reached.map(|data| Changed { data, ..whole.clone() }).collect())
}
