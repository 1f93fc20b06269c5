//! Nodes that wait for time: what they are told. Never reads JSON.

use std::sync::Arc;

use crate::id::DeviceId;
use crate::script::Script;

/// Lets a message go on after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    pub period: Amount,
    pub unit: DelayUnit,
    /// Messages that may wait at the node, at least 1.
    pub pending_max: usize,
}

/// How many of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    Fixed(u32),
    /// A template of a number.
    Template(String),
}

/// Of what unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelayUnit {
    /// Milliseconds.
    Fixed(u64),
    /// A template of a unit's name.
    Template(String),
}

impl DelayUnit {
    pub const NAMES: &str = "SECONDS, MINUTES or HOURS";

    /// The milliseconds of a unit that ThingsBoard has here.
    #[must_use]
    pub fn parse(name: &str) -> Option<u64> {
        match name {
            "SECONDS" => Some(1_000),
            "MINUTES" => Some(60_000),
            "HOURS" => Some(3_600_000),
            _ => None,
        }
    }
}

/// Makes one message of those that an originator says within an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deduplicate {
    pub interval_ms: u64,
    pub strategy: Strategy,
    /// Messages of one originator that may wait, at least 1.
    pub pending_max: usize,
}

/// Which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    First,
    Last,
    /// All of them, as an array in a message of this type.
    All {
        kind: String,
    },
}

/// Counts messages, and says how many there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Of the key under which the count is told.
    pub prefix: String,
    pub interval_ms: u64,
}

/// Makes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// So many; 0: without end.
    pub most: u64,
    pub period_ms: u64,
    pub originator: Maker,
    /// Called with the message before.
    pub script: Arc<Script>,
    /// Tells this configuration from others: one that is changed begins anew.
    pub configuration: u64,
}

/// Who says what a node makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The node itself.
    Node,
    Tenant,
    Device(DeviceId),
}
