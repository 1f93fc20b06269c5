//! RuleChainMetaData JSON to a draft of a chain: what could be read, and every problem met on the way.
//! Fields that ThingsBoard writes and Tidegate has no use for are passed over. Never judges how nodes are connected.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Edge, MessageType, Node, NodeKind, Problem, SaveAttributes, SaveTimeseries,
    check::{EDGES_MAX, NODES_MAX},
    node::{LOG, SAVE_ATTRIBUTES, SAVE_TIMESERIES, TYPE_FILTER, TYPE_SWITCH},
};
use crate::{config::NAME_BYTES_MAX, telemetry::Scope};

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
    if entries("ruleChainConnections", EDGES_MAX).is_some_and(|chains| !chains.is_empty()) {
        problems.add("ruleChainConnections", "connections to other rule chains are not supported yet");
    }
    let (nodes, edges) = (nodes?, edges?);
    let nodes = nodes.iter().enumerate().map(|(index, value)| node(value, &format!("nodes[{index}]"), problems)).collect();
    let edges = edges.iter().enumerate().map(|(index, value)| edge(value, &format!("connections[{index}]"), problems)).collect();
    Some(Draft { first, nodes, edges })
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
    let kind = kind(&class?, configuration?, path, problems);
    Some(Node { id: id?, name: name?, kind: kind? })
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

fn kind(class: &str, configuration: &Map<String, Value>, path: &str, problems: &mut Problems) -> Option<NodeKind> {
    let mut reader = Reader { fields: configuration, path: format!("{path}.configuration"), problems };
    match class {
        TYPE_SWITCH => Some(NodeKind::MessageTypeSwitch),
        TYPE_FILTER => reader.types().map(|types| NodeKind::MessageTypeFilter { types }),
        SAVE_TIMESERIES => reader.save_timeseries().map(NodeKind::SaveTimeseries),
        SAVE_ATTRIBUTES => reader.save_attributes().map(NodeKind::SaveAttributes),
        LOG => Some(NodeKind::Log),
        _ => {
            let supported = NodeKind::CLASSES.join(", ");
            problems.add(format!("{path}.type"), format!("node class {class} is not supported yet; supported are {supported}"));
            None
        }
    }
}

/// Reads one node's configuration.
struct Reader<'c> {
    fields: &'c Map<String, Value>,
    path: String,
    problems: &'c mut Problems,
}

impl Reader<'_> {
    fn problem(&mut self, field: &str, rule: impl Into<String>) {
        self.problems.add(format!("{}.{field}", self.path), rule);
    }

    fn save_timeseries(&mut self) -> Option<SaveTimeseries> {
        self.every_message();
        // Before configuration version 1 this stood for processingSettings.
        self.unsupported("skipLatestPersistence");
        let use_server_ts = self.flag("useServerTs");
        let default_ttl_s = match self.fields.get("defaultTTL") {
            None | Some(Value::Null) => Some(0),
            Some(value) => value.as_u64().and_then(|ttl| u32::try_from(ttl).ok()),
        };
        if default_ttl_s.is_none() {
            self.problem("defaultTTL", format!("{}: expected seconds, 0 to {}", self.fields["defaultTTL"], u32::MAX));
        }
        Some(SaveTimeseries { default_ttl_s: default_ttl_s?, use_server_ts: use_server_ts? })
    }

    fn save_attributes(&mut self) -> Option<SaveAttributes> {
        self.every_message();
        self.unsupported("sendAttributesUpdatedNotification");
        let notify_device = self.flag("notifyDevice");
        let only_on_change = self.flag("updateAttributesOnlyOnValueChange");
        let scope = match self.fields.get("scope") {
            // ThingsBoard's own default.
            None | Some(Value::Null) => Some(Scope::Server),
            Some(value) => value.as_str().and_then(Scope::parse),
        };
        if scope.is_none() {
            let names = Scope::ALL.map(Scope::name).join(", ");
            self.problem("scope", format!("{}: expected one of {names}", self.fields["scope"]));
        }
        Some(SaveAttributes { scope: scope?, notify_device: notify_device?, only_on_change: only_on_change? })
    }

    fn types(&mut self) -> Option<Vec<MessageType>> {
        let Some(Value::Array(names)) = self.fields.get("messageTypes") else {
            self.problem("messageTypes", "expected an array of message types");
            return None;
        };
        let mut types = Vec::new();
        let mut complete = true;
        for (index, name) in names.iter().enumerate() {
            match name.as_str().and_then(MessageType::parse) {
                Some(kind) if types.contains(&kind) => {}
                Some(kind) => types.push(kind),
                None => {
                    self.problem(&format!("messageTypes[{index}]"), format!("{name}: no standard message type"));
                    complete = false;
                }
            }
        }
        complete.then_some(types)
    }

    /// A boolean, which older versions of ThingsBoard wrote as a string, too. Absent is false.
    fn flag(&mut self, field: &str) -> Option<bool> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::String(text)) if text == "true" => Some(true),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Some(false),
            Some(value) => {
                self.problem(field, format!("{value}: expected true or false"));
                None
            }
        }
    }

    fn unsupported(&mut self, field: &str) {
        if self.flag(field) == Some(true) {
            self.problem(field, "true is not supported yet");
        }
    }

    fn every_message(&mut self) {
        let settings = match self.fields.get("processingSettings") {
            None | Some(Value::Null) => return,
            Some(settings) => settings,
        };
        match settings.get("type") {
            Some(Value::String(strategy)) if strategy == "ON_EVERY_MESSAGE" => {}
            Some(strategy) => {
                self.problem(
                    "processingSettings.type",
                    format!("{strategy} is not supported yet; supported is ON_EVERY_MESSAGE"),
                );
            }
            None => self.problem("processingSettings.type", "missing; supported is ON_EVERY_MESSAGE"),
        }
    }
}
