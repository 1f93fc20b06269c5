//! An asset: a building, a field, a line — what devices belong to. Never holds attributes or series: those live on its shard.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, name, optional_name};

#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub customer: Option<Uuid>,
    /// Unique within the tenant, whatever its case.
    pub name: String,
    /// ThingsBoard's `type`: always the name of the profile.
    pub kind: String,
    pub label: Option<String>,
    pub profile: Uuid,
    pub additional_info: Value,
}

/// An asset with the names a list shows.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetInfo {
    pub asset: Asset,
    pub customer_title: Option<String>,
    pub customer_is_public: bool,
    pub profile_name: String,
}

/// What a client sends to create (`id: None`) or replace an asset. `customer` is not part of it: see assign and unassign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssetDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    /// ThingsBoard's `type`. Without `profile` it names the profile, which is created when it does not exist.
    pub kind: Option<String>,
    pub label: Option<String>,
    /// Wins over `kind`. Neither: the tenant's default profile.
    pub profile: Option<Uuid>,
    pub additional_info: Value,
}

impl AssetDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self {
            name: name("name", &self.name)?,
            kind: optional_name("type", self.kind.as_deref())?,
            label: optional_name("label", self.label.as_deref())?,
            ..self
        })
    }
}

/// Which assets of the tenant a list shows; `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetFilter {
    pub customer: Option<Uuid>,
    /// ThingsBoard's `type`.
    pub kind: Option<String>,
    pub profile: Option<Uuid>,
}
