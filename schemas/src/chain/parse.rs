//! RuleChainMetaData JSON to a draft of a chain: what could be read, and every problem met on the way.
//! Fields that ThingsBoard writes and Tidegate has no use for are passed over. Never judges how nodes are connected.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    DebugSettings, Edge, Node, NodeKind, Problem, Target,
    check::{EDGES_MAX, NODES_MAX},
    configuration::kind,
};
use crate::{config::NAME_BYTES_MAX, id::ChainId};

/// A chain as far as it could be read. Entries keep their index, so a broken one is `None`.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) first: Option<usize>,
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) edges: Vec<Option<Edge>>,
}

/// Problems in the order they are met.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Problem { path: path.into(), rule: rule.into() });
    }
}

pub(super) fn parse(metadata: &str, problems: &mut Problems) -> Option<Draft> {
    let root = match serde_json::from_str(metadata) {
        Ok(Value::Object(root)) => root,
        Ok(_) => {
            problems.add("$", "expected a JSON object, RuleChainMetaData");
            return None;
        }
        Err(error) => {
            problems.add("$", format!("not JSON: {error}"));
            return None;
        }
    };
    let first = match root.get("firstNodeIndex") {
        None | Some(Value::Null) => None,
        Some(value) => index(value, "firstNodeIndex", problems),
    };
    let no_entries = Vec::new();
    let mut entries = |field: &str, most: usize| match root.get(field) {
        None | Some(Value::Null) => Some(&no_entries),
        Some(Value::Array(entries)) if entries.len() <= most => Some(entries),
        Some(Value::Array(entries)) => {
            problems.add(field, format!("{} entries, at most {most}", entries.len()));
            None
        }
        Some(_) => {
            problems.add(field, "expected an array");
            None
        }
    };
    let (nodes, edges) = (entries("nodes", NODES_MAX), entries("connections", EDGES_MAX));
    let (nodes, edges, away) = (nodes?, edges?, entries("ruleChainConnections", EDGES_MAX)?);
    let nodes = nodes.iter().enumerate().map(|(index, value)| node(value, &format!("nodes[{index}]"), problems)).collect();
    let edges = edges.iter().enumerate().map(|(index, value)| edge(value, &format!("connections[{index}]"), problems)).collect();
    let mut draft = Draft { first, nodes, edges };
    for (index, value) in away.iter().enumerate() {
        enter(value, &format!("ruleChainConnections[{index}]"), &mut draft, problems);
    }
    Some(draft)
}

/// A connection to another chain, as ThingsBoard drew them before it had a node for that: it becomes one.
fn enter(value: &Value, path: &str, draft: &mut Draft, problems: &mut Problems) {
    let Value::Object(connection) = value else {
        return problems.add(path, "expected an object with fromIndex, targetRuleChainId and type");
    };
    let from = index(connection.get("fromIndex").unwrap_or(&Value::Null), &format!("{path}.fromIndex"), problems);
    let label = text(connection, "type", path, problems);
    let target = connection.get("targetRuleChainId").map(|id| id.get("id").unwrap_or(id));
    let Some(chain) = target.and_then(Value::as_str).and_then(|text| Uuid::parse_str(text).ok()) else {
        return problems.add(format!("{path}.targetRuleChainId"), "expected the id of a rule chain");
    };
    let (Some(from), Some(label)) = (from, label) else { return };
    let kind = NodeKind::Nested { chain: Target::Chain(ChainId(chain)) };
    draft.edges.push(Some(Edge { from, to: draft.nodes.len(), label }));
    draft.nodes.push(Some(Node { id: None, name: "Rule chain".to_owned(), kind, debug: DebugSettings::default() }));
}

fn index(value: &Value, path: &str, problems: &mut Problems) -> Option<usize> {
    let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
    if index.is_none() {
        problems.add(path, format!("{value}: expected the index of a node"));
    }
    index
}

fn edge(value: &Value, path: &str, problems: &mut Problems) -> Option<Edge> {
    let Value::Object(edge) = value else {
        problems.add(path, "expected an object with fromIndex, toIndex and type");
        return None;
    };
    let mut end = |field| index(edge.get(field).unwrap_or(&Value::Null), &format!("{path}.{field}"), problems);
    let (from, to) = (end("fromIndex"), end("toIndex"));
    let label = text(edge, "type", path, problems);
    Some(Edge { from: from?, to: to?, label: label? })
}

/// A string that is neither missing nor empty nor longer than a name may be.
fn text(object: &Map<String, Value>, field: &str, path: &str, problems: &mut Problems) -> Option<String> {
    match object.get(field) {
        Some(Value::String(text)) if (1..=NAME_BYTES_MAX).contains(&text.len()) => return Some(text.clone()),
        Some(Value::String(text)) => {
            problems.add(format!("{path}.{field}"), format!("{} bytes, expected 1 to {NAME_BYTES_MAX}", text.len()));
        }
        Some(value) => problems.add(format!("{path}.{field}"), format!("{value}: expected a string")),
        None => problems.add(format!("{path}.{field}"), "missing"),
    }
    None
}

fn node(value: &Value, path: &str, problems: &mut Problems) -> Option<Node> {
    let Value::Object(node) = value else {
        problems.add(path, "expected an object with type, name and configuration");
        return None;
    };
    let id = match node.get("id") {
        None | Some(Value::Null) => Some(None),
        Some(value) => node_id(value, path, problems).map(Some),
    };
    let name = text(node, "name", path, problems);
    let class = text(node, "type", path, problems);
    let no_configuration = Map::new();
    let configuration = match node.get("configuration") {
        None | Some(Value::Null) => Some(&no_configuration),
        Some(Value::Object(configuration)) => Some(configuration),
        Some(value) => {
            problems.add(format!("{path}.configuration"), format!("{value}: expected an object"));
            None
        }
    };
    let debug = DebugSettings::parse(node, path, problems);
    let version = node.get("configurationVersion").and_then(Value::as_u64).unwrap_or(0);
    let kind = kind((&class?, version), configuration?, path, problems);
    Some(Node { id: id?, name: name?, kind: kind?, debug: debug? })
}

/// ThingsBoard writes `{"entityType":"RULE_NODE","id":"…"}`.
fn node_id(value: &Value, path: &str, problems: &mut Problems) -> Option<Uuid> {
    let text = value.get("id").unwrap_or(value);
    let id = text.as_str().and_then(|text| Uuid::parse_str(text).ok());
    if id.is_none() {
        problems.add(format!("{path}.id"), format!("{text}: expected a UUID"));
    }
    id
}
