//! Split array: each element of the data is a message of its own. Data that is no array fails, as in ThingsBoard.

use serde_json::Value;

use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::Next;

pub(super) fn run(carried: &Carried<'_>) -> Next {
    let no_array = || Next::Fail("the message's data is no array".to_owned());
    if !carried.data().is_array() {
        return no_array();
    }
    let mut whole = carried.change();
    let Value::Array(elements) = whole.data.take() else { return no_array() };
    // The others could not go anywhere.
    let reached = elements.into_iter().take(STEPS_PER_MESSAGE_MAX as usize + 1);
    Next::Each(reached.map(|data| Changed { data, ..whole.clone() }).collect())
}
