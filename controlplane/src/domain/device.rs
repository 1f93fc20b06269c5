//! A device and what it shows to be let in. Never holds telemetry or connectivity: those live on the device's shard.

use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, PackageKind, name, optional_name};

#[derive(Clone, Debug, PartialEq)]
pub struct Device {
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
    /// Its own packages; without one it has its profile's.
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    pub additional_info: Value,
}

impl Device {
    /// The package that is its own.
    #[must_use]
    pub fn package(&self, kind: PackageKind) -> Option<Uuid> {
        match kind {
            PackageKind::Firmware => self.firmware,
            PackageKind::Software => self.software,
        }
    }
}

/// A device with the names a list shows.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    pub device: Device,
    pub customer_title: Option<String>,
    pub profile_name: String,
}

/// What a client sends to create (`id: None`) or replace a device. `customer` is not part of it: see assign and unassign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub name: String,
    /// ThingsBoard's `type`. Without `profile` it names the profile, which is created when it does not exist.
    pub kind: Option<String>,
    pub label: Option<String>,
    /// Wins over `kind`. Neither: the tenant's default profile.
    pub profile: Option<Uuid>,
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    pub additional_info: Value,
}

impl DeviceDraft {
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

/// Which devices of the tenant a list shows; `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    pub customer: Option<Uuid>,
    /// ThingsBoard's `type`.
    pub kind: Option<String>,
    pub profile: Option<Uuid>,
}

/// A device's credentials. Only access tokens exist.
#[derive(Clone, PartialEq)]
pub struct Credential {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub device: Uuid,
    /// Unique on the whole installation: a device shows nothing else.
    pub token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} of device {})", self.id, self.device)
    }
}
