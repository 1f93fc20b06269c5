//! A rule chain as data: parsed from ThingsBoard's RuleChainMetaData JSON and checked, with all errors at once, by the
//! one piece of code that both planes use. Never evaluates anything.

mod check;
mod configuration;
pub mod debug;
pub mod external;
pub mod formula;
pub mod geofence;
pub mod json_path;
mod message_type;
mod node;
mod parse;
pub mod processing;
mod relations;
mod root;
#[cfg(test)]
mod tests;
pub mod timed;

pub use check::{EDGES_MAX, EXECUTIONS_MAX, NODES_MAX};
pub use configuration::system_mail;
pub use debug::DebugSettings;
pub use external::{External, ToEmail};
pub use message_type::{EntityType, MessageType};
pub use node::{
    Aggregate, AlarmSeverity, CalculateDelta, CheckFields, ClearAlarm, CreateAlarm, DeleteAttributes, Detail, Fetch, Interval,
    Keys, Labels, Math, MathArgument, MathOperand, MathResult, MessageTypes, NewAlarm, NodeKind, OriginatorAttributes,
    OriginatorField, OriginatorFields, OriginatorTelemetry, Owner, OwnerDetails, OwnerValues, Passing, Renames, RestReply,
    SaveAttributes, SaveTimeseries, Side, Target, Values, label,
};
pub use relations::{CheckRelation, DeviceAttributes, NewOriginator, RelatedTold, RelatedValues, RelationFilter, RelationsQuery};
pub use root::default_root_chain;

use regex_automata::meta::Regex;
use uuid::Uuid;

/// A checked chain: every index is in range, there is no cycle, every node's configuration is valid, and one message executes
/// at most [`EXECUTIONS_MAX`] nodes of it, unless it is split into several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// Index of the node a message enters; `None` for an empty chain, which does nothing.
    pub first: Option<usize>,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: Option<Uuid>,
    pub name: String,
    pub kind: NodeKind,
    pub debug: DebugSettings,
}

/// `from --label--> to`, node indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub label: String,
}

/// Everything that is wrong with a chain, at least one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidChain(pub Vec<Problem>);

/// One thing that is wrong: where (a JSON path such as `nodes[2].type`), and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub struct Problem {
    pub path: String,
    pub rule: String,
}

impl Chain {
    /// Parses and checks RuleChainMetaData JSON.
    ///
    /// # Errors
    /// [`InvalidChain`] with every problem found.
    pub fn parse(metadata: &str) -> Result<Self, InvalidChain> {
        let mut problems = parse::Problems::default();
        let chain = parse::parse(metadata, &mut problems).and_then(|draft| check::check(draft, &mut problems));
        // No chain without a problem: a draft that is complete and free of problems is a chain.
        chain.ok_or(InvalidChain(problems.0))
    }
}

/// A pattern of keys, compiled: it has to match the whole key.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(pattern: &str) -> Result<Regex, String> {
    let limited = Regex::config().nfa_size_limit(Some(configuration::PATTERN_BYTES_MAX)).hybrid(false);
    Regex::builder().configure(limited).build(&format!("^(?:{pattern})$")).map_err(|error| match error.syntax_error() {
        Some(syntax) => syntax.to_string(),
        None => error.to_string(),
    })
}
