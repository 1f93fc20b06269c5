//! A device profile: what devices of one type share. Never knows its devices.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, PackageKind, name};

#[derive(Clone, Debug, PartialEq)]
pub struct DeviceProfile {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    /// Unique within the tenant, whatever its case.
    pub name: String,
    pub description: Option<String>,
    /// The one devices get when nothing is said. Exactly one per tenant.
    pub is_default: bool,
    /// Where this profile's messages enter; `None` is the tenant's root chain.
    pub chain: Option<Uuid>,
    /// What its devices have that have no package of their own.
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    /// ThingsBoard's `profileData`, kept as sent; null when nothing was.
    pub profile_data: Value,
}

impl DeviceProfile {
    /// The package of its devices that have none of their own.
    #[must_use]
    pub fn package(&self, kind: PackageKind) -> Option<Uuid> {
        match kind {
            PackageKind::Firmware => self.firmware,
            PackageKind::Software => self.software,
        }
    }
}

/// What a client sends to create (`id: None`) or replace a profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    pub description: Option<String>,
    pub chain: Option<Uuid>,
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    pub profile_data: Value,
}

impl ProfileDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        let description = self.description.filter(|text| !text.is_empty());
        if let Some(text) = &description
            && text.len() > DESCRIPTION_BYTES_MAX
        {
            let rule = format!("must have at most {DESCRIPTION_BYTES_MAX} bytes, has {}", text.len());
            return Err(Invalid::new("description", text, rule));
        }
        Ok(Self { name: name("name", &self.name)?, description, ..self })
    }
}

const DESCRIPTION_BYTES_MAX: usize = 4_096;
