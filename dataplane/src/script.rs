//! Scripts of rule nodes, run by QuickJS: one runtime per tenant and shard, with limits on time, memory and stack (DESIGN 3.4).
//! A script sees its arguments and nothing else: no IO, no modules, no timers, and nothing that another script left behind.

mod engine;
mod engines;
mod native;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use engines::Engines;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::{
    SCRIPT_ARGUMENTS_BYTES_MAX, SCRIPT_CUTS_IN_A_ROW_MAX, SCRIPT_MEMORY_BYTES_MAX, SCRIPT_RESULT_BYTES_MAX, SCRIPT_US_MAX,
};

/// What a script is called with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub data: &'a Value,
    pub metadata: &'a BTreeMap<String, String>,
    pub kind: &'a str,
}

/// A message that a script made.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub data: Value,
    pub metadata: BTreeMap<String, String>,
    pub kind: String,
}

/// What a script answered, by its form.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Truth(bool),
    Labels(Vec<String>),
    Messages(Vec<Said>),
    Text(String),
    Details(Value),
}

/// Why a script has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptFailure {
    #[error("{0}")]
    Threw(String),
    #[error("the script took more than {} ms", SCRIPT_US_MAX / 1_000)]
    TooLong,
    #[error("the script took more than {} MiB", SCRIPT_MEMORY_BYTES_MAX >> 20)]
    OutOfMemory,
    #[error("the tenant's scripts have used their share of the shard's time")]
    OutOfTime,
    #[error("the script was cut off {} times in a row and rests", SCRIPT_CUTS_IN_A_ROW_MAX)]
    Resting,
    #[error("the script was to answer {0}")]
    Shape(&'static str),
    #[error("the message is larger than {SCRIPT_ARGUMENTS_BYTES_MAX} bytes")]
    ArgumentsTooLarge,
    #[error("the answer is larger than {SCRIPT_RESULT_BYTES_MAX} bytes")]
    ResultTooLarge,
    /// The engine itself could not be made.
    #[error("no script can run: {0}")]
    Broken(String),
}
