//! An asset profile: what assets of one type share. Never knows its assets.

use uuid::Uuid;

use crate::domain::{Invalid, name, optional_name, profile};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetProfile {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    /// Unique within the tenant, whatever its case.
    pub name: String,
    pub description: Option<String>,
    pub image: Option<String>,
    /// The one assets get when nothing is said. Exactly one per tenant.
    pub is_default: bool,
    /// Where messages of these assets enter; `None` is the tenant's root chain.
    pub chain: Option<Uuid>,
    /// Shown again, used by nobody yet: ThingsBoard's queue, dashboard and edge rule chain.
    pub queue: Option<String>,
    pub dashboard: Option<Uuid>,
    pub edge_chain: Option<Uuid>,
}

/// What a client sends to create (`id: None`) or replace a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetProfileDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    pub description: Option<String>,
    pub image: Option<String>,
    pub chain: Option<Uuid>,
    pub queue: Option<String>,
    pub dashboard: Option<Uuid>,
    pub edge_chain: Option<Uuid>,
}

impl AssetProfileDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self {
            name: name("name", &self.name)?,
            queue: optional_name("defaultQueueName", self.queue.as_deref())?,
            description: profile::text("description", self.description, profile::DESCRIPTION_BYTES_MAX)?,
            image: profile::text("image", self.image, profile::IMAGE_BYTES_MAX)?,
            ..self
        })
    }
}
