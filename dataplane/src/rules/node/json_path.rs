//! JSON path: what a path finds in the data becomes the data. Fails where a path to one place finds nothing, as in ThingsBoard.

use schemas::chain::json_path::JsonPath;

use crate::rules::carried::Carried;
use crate::rules::node::{Next, SUCCESS};

pub(super) fn run(path: &JsonPath, carried: &Carried<'_>) -> Next {
    if path.is_root() {
        return Next::By(SUCCESS);
    }
    let mut changed = carried.change();
    match path.find(&changed.data) {
        Some(found) => {
            changed.data = found;
            Next::With(changed)
        }
        None => Next::Fail("the path leads to nothing".to_owned()),
    }
}
