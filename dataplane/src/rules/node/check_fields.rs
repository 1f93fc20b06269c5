//! Check fields presence: whether names are in the data and the metadata, all of them or one.

use schemas::chain::CheckFields;

use crate::rules::carried::Carried;
use crate::rules::node::{Next, decide};

pub(super) fn run(fields: &CheckFields, carried: &Carried<'_>) -> Next {
    let data = carried.data();
    let mut found = fields.data.iter().map(|name| data.get(name).is_some_and(|value| !value.is_null()));
    let mut beside = fields.metadata.iter().map(|name| carried.metadata(name).is_some_and(|value| !value.is_empty()));
    decide(if fields.all { found.all(|is| is) && beside.all(|is| is) } else { found.any(|is| is) || beside.any(|is| is) })
}
