//! The audit log as it is read: what a line says and which lines are asked for. Never writes one.

use serde_json::Value;
use uuid::Uuid;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditLine {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub tenant: Option<Uuid>,
    pub customer: Option<Uuid>,
    /// ThingsBoard's entity type.
    pub entity_kind: String,
    pub entity: Uuid,
    pub entity_name: Option<String>,
    pub user: Option<Uuid>,
    pub user_name: String,
    pub action: String,
    /// What was done, as far as it may be shown.
    pub data: Value,
    /// Why it failed, or that its outcome is not known; `None`: it succeeded.
    pub failure: Option<String>,
}

/// Whose lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSubject {
    Everything,
    /// ThingsBoard's entity type and the id.
    Entity(String, Uuid),
    User(Uuid),
    Customer(Uuid),
}

/// Which lines of the tenant a list shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFilter {
    pub subject: AuditSubject,
    /// Milliseconds since the Unix epoch, both inclusive.
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    /// ThingsBoard's action types; empty: all.
    pub actions: Vec<String>,
}
