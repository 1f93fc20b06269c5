//! A rule chain as an entity: its name and place. What it does is its metadata, which `schemas::chain` checks.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, name};

#[derive(Clone, Debug, PartialEq)]
pub struct RuleChain {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub name: String,
    /// Where messages enter when the profile names no chain. Exactly one per tenant.
    pub root: bool,
    pub debug_mode: bool,
    /// The node a message enters, as saved with the metadata.
    pub first_node: Option<Uuid>,
    pub additional_info: Value,
}

/// What a client sends to create (`id: None`) or rename a chain. Root is set by its own call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleChainDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    pub debug_mode: bool,
    pub additional_info: Value,
}

impl RuleChainDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self { name: name("name", &self.name)?, ..self })
    }
}

/// What a script is for, by ThingsBoard's `scriptType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptForm {
    Filter,
    Switch,
    Update,
    Text,
    Details,
}

impl ScriptForm {
    /// # Errors
    /// [`Invalid`] for a type that there is not, or not yet.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        match name {
            "filter" => Ok(Self::Filter),
            "switch" => Ok(Self::Switch),
            "update" => Ok(Self::Update),
            "string" => Ok(Self::Text),
            "json" => Ok(Self::Details),
            other => Err(Invalid::new("scriptType", other, "must be filter, switch, update, string or json")),
        }
    }
}

/// A script to be tried, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptTrial {
    pub form: ScriptForm,
    /// Else JavaScript.
    pub tbel: bool,
    pub body: String,
    /// JSON.
    pub msg: String,
    pub metadata: BTreeMap<String, String>,
    pub msg_type: String,
}
