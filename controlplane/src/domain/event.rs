//! Events of rule nodes and chains, as ThingsBoard shows them: what was seen at a node, what failed, what an instance refused. Never
//! says where they come from.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{Invalid, Page, PageLink, SortOrder};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A message at a node.
    NodeDebug,
    /// Nothing here makes these.
    ChainDebug,
    /// A chain that an instance refused.
    LifeCycle,
    /// A failure that no edge led on from.
    Error,
    /// Nothing here makes these.
    Statistics,
}

impl EventKind {
    const NAMES: [(&'static str, Self); 5] = [
        ("DEBUG_RULE_NODE", Self::NodeDebug),
        ("DEBUG_RULE_CHAIN", Self::ChainDebug),
        ("LC_EVENT", Self::LifeCycle),
        ("ERROR", Self::Error),
        ("STATS", Self::Statistics),
    ];

    /// # Errors
    /// [`Invalid`] for what is none of ThingsBoard's.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        let rule = "must be DEBUG_RULE_NODE, DEBUG_RULE_CHAIN, LC_EVENT, ERROR or STATS";
        let found = Self::NAMES.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| kind).ok_or_else(|| Invalid::new("eventType", name, rule))
    }

    /// ThingsBoard's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub tenant: Uuid,
    pub kind: EventKind,
    /// What it lies under: ThingsBoard's entity type and the id.
    pub entity: (String, Uuid),
    /// ThingsBoard's members, one of which is the `server`: an instance's id.
    pub body: Map<String, Value>,
}

/// A message at a node, on its way through chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedStep {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// An instance's id.
    pub server: String,
    /// Its id and its name.
    pub node: (Uuid, String),
    /// Else it came in.
    pub left: bool,
    /// ThingsBoard's entity type, and the id.
    pub originator: (String, Uuid),
    pub msg_type: String,
    /// By which it came or left; `None` where it entered a chain.
    pub label: Option<String>,
    /// JSON, cut.
    pub data: String,
    /// JSON, cut.
    pub metadata: String,
    pub error: Option<String>,
}

/// Which events are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    pub kind: EventKind,
    /// Milliseconds since the Unix epoch, both inclusive.
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    /// Members of the body that are these.
    pub are: Vec<(&'static str, String)>,
    /// Members of the body that contain these, whatever their case.
    pub contain: Vec<(&'static str, String)>,
    /// Only those with an error.
    pub failed: bool,
}

impl EventFilter {
    #[must_use]
    pub fn all(kind: EventKind) -> Self {
        Self { kind, from_ms: None, to_ms: None, are: Vec::new(), contain: Vec::new(), failed: false }
    }

    fn takes(&self, event: &Event) -> bool {
        let text = |member: &str| match event.body.get(member) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        self.kind == event.kind
            && self.from_ms.is_none_or(|from| event.created_ms >= from)
            && self.to_ms.is_none_or(|to| event.created_ms <= to)
            && self.are.iter().all(|(member, wanted)| text(member) == *wanted)
            && self.contain.iter().all(|(member, wanted)| text(member).to_lowercase().contains(&wanted.to_lowercase()))
            && (!self.failed || !text("error").is_empty())
    }

    /// Those that it takes, in their order.
    #[must_use]
    pub fn pick(&self, mut events: Vec<Event>) -> Vec<Event> {
        events.retain(|event| self.takes(event));
        events
    }
}

/// A page of events that came in the order of time.
///
/// # Errors
/// [`Invalid`] for another order than that of `createdTime`.
pub fn page_of_events(mut events: Vec<Event>, link: &PageLink) -> Result<Page<Event>, Invalid> {
    if let Some(other) = link.sort_property.as_deref().filter(|property| !matches!(*property, "createdTime" | "ts")) {
        return Err(Invalid::new("sortProperty", other, "must be createdTime"));
    }
    events.sort_by_key(|event| event.created_ms);
    if link.sort_order == SortOrder::Descending {
        events.reverse();
    }
    let total = events.len() as u64;
    let skipped = usize::try_from(link.offset()).unwrap_or(usize::MAX);
    let size = usize::try_from(link.page_size).unwrap_or(usize::MAX);
    Ok(Page::new(events.into_iter().skip(skipped).take(size).collect(), total, link))
}
