//! A device. Never holds telemetry or connectivity: those live on the device's shard.

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
    /// It was given its credentials by provisioning, which happens once.
    pub provisioned: bool,
    /// The packages it is to run; `None`: those of its profile.
    pub firmware: Option<Uuid>,
    pub software: Option<Uuid>,
    pub additional_info: Value,
}

impl Device {
    /// Whether it may speak for children: `additionalInfo.gateway`.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        is_gateway(&self.additional_info)
    }

    /// The package that is its own.
    #[must_use]
    pub fn package(&self, kind: PackageKind) -> Option<Uuid> {
        match kind {
            PackageKind::Firmware => self.firmware,
            PackageKind::Software => self.software,
        }
    }
}

/// ThingsBoard also takes the text.
pub(crate) fn is_gateway(additional_info: &Value) -> bool {
    match additional_info.get("gateway") {
        Some(Value::Bool(gateway)) => *gateway,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// A device with the names a list shows.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    pub device: Device,
    pub customer_title: Option<String>,
    pub customer_is_public: bool,
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
