//! Check fields presence: whether names are in the data and the metadata, all of them or one; never what stands there, null and
//! empty texts included.

use schemas::chain::CheckFields;

use crate::rules::carried::Carried;
use crate::rules::node::keys::NO_OBJECT;
use crate::rules::node::{Next, decide};

pub(super) fn run(fields: &CheckFields, carried: &Carried<'_>) -> Next {
    let data = carried.data();
    if !fields.data.is_empty() && !data.is_object() {
        return Next::Fail(NO_OBJECT.to_owned());
    }
    let mut found = fields.data.iter().map(|name| data.get(name).is_some());
    let mut beside = fields.metadata.iter().map(|name| carried.metadata(name).is_some());
    decide(if fields.all { found.all(|is| is) && beside.all(|is| is) } else { found.any(|is| is) || beside.any(|is| is) })
}
