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
mod owner;
mod parse;
pub mod processing;
mod relations;
mod root;
#[cfg(test)]
mod tests;
pub mod timed;
pub mod wish;

pub use check::{EDGES_MAX, EXECUTIONS_MAX, NODES_MAX};
pub use configuration::system_mail;
pub use debug::DebugSettings;
pub use external::{External, ToEmail};
pub use message_type::{EntityType, MessageType};
pub use node::{
    Aggregate, AlarmSeverity, CalculateDelta, CheckFields, ClearAlarm, CreateAlarm, DeleteAttributes, DeviceEvent, Fetch,
    Interval, Keys, Labels, Math, MathArgument, MathOperand, MathResult, MessageTypes, NewAlarm, NodeKind, OriginatorAttributes,
    OriginatorFields, OriginatorTelemetry, Passing, Renames, RestReply, SaveAttributes, SaveTimeseries, Side, Target, label,
};
pub use owner::{Detail, Owner, OwnerDetails, OwnerValues, Values};
pub use relations::{CheckRelation, DeviceAttributes, NewOriginator, RelatedTold, RelatedValues, RelationFilter, RelationsQuery};
pub use root::default_root_chain;
pub use wish::Wish;

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

    /// Whether a message of a type could lead to anything where it enters. It does not where the way ends at a first node that looks at
    /// the type alone, and nobody looks at that node.
    #[must_use]
    pub fn heeds(&self, kind: MessageType) -> bool {
        let Some((first, node)) = self.first.and_then(|first| Some((first, self.nodes.get(first)?))) else { return false };
        let label = match &node.kind {
            NodeKind::MessageTypeSwitch => kind.label(),
            NodeKind::MessageTypeFilter(types) if types.standard.contains(&kind) => label::TRUE,
            NodeKind::MessageTypeFilter(types) if !types.custom.iter().any(|custom| custom == kind.name()) => label::FALSE,
            _ => return true,
        };
        let mut edges = self.edges.iter().filter(|edge| edge.from == first);
        node.debug.all_until_ms > 0 || edges.any(|edge| label::same(&edge.label, label))
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
