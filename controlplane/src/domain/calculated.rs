//! A calculated field as an entity: whose it is and what it is called. What it does is its configuration, which `schemas::calculated`
//! checks.

use schemas::calculated::{Calculation, FIELDS_PER_ENTITY_MAX};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{EntityKind, Invalid, TenantProfile, name};

/// The largest configuration, in bytes.
const CONFIGURATION_BYTES_MAX: usize = 128 << 10;
/// What else a field carries, in bytes.
const OTHER_BYTES_MAX: usize = 16 << 10;
/// Kinds of ThingsBoard's that have calculated fields, and do not here yet.
const OTHER_KINDS: [&str; 3] = ["ASSET", "ASSET_PROFILE", "CUSTOMER"];

#[derive(Clone, Debug, PartialEq)]
pub struct CalculatedField {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    pub of: FieldOf,
    /// Unique for its device or profile, whatever its case.
    pub name: String,
    /// With its type.
    pub configuration: Value,
    pub configuration_version: i64,
    /// ThingsBoard's debug settings, kept and not obeyed.
    pub debug_settings: Value,
    pub additional_info: Value,
}

/// Of whom a field is calculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOf {
    Device(Uuid),
    /// Of each of its devices.
    Profile(Uuid),
}

impl FieldOf {
    /// # Errors
    /// [`Invalid`] for a kind that has no calculated fields here.
    pub fn parse(kind: &str, id: Uuid) -> Result<Self, Invalid> {
        match kind {
            "DEVICE" => Ok(Self::Device(id)),
            "DEVICE_PROFILE" => Ok(Self::Profile(id)),
            other if OTHER_KINDS.contains(&other) => {
                Err(Invalid::new("entityId", other, "has no calculated fields yet: must be DEVICE or DEVICE_PROFILE"))
            }
            other => Err(Invalid::new("entityId", other, "must be DEVICE or DEVICE_PROFILE")),
        }
    }

    #[must_use]
    pub fn kind(self) -> EntityKind {
        match self {
            Self::Device(_) => EntityKind::Device,
            Self::Profile(_) => EntityKind::DeviceProfile,
        }
    }

    #[must_use]
    pub fn id(self) -> Uuid {
        match self {
            Self::Device(id) | Self::Profile(id) => id,
        }
    }
}

/// What a client sends to create (`id: None`) or replace a field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub of: FieldOf,
    pub name: String,
    /// ThingsBoard's `type`; `None`: the configuration says it.
    pub kind: Option<String>,
    pub configuration: Value,
    pub configuration_version: i64,
    pub debug_settings: Value,
    pub additional_info: Value,
}

impl FieldDraft {
    /// Checks everything that does not need the store; the configuration gets the type.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule, or everything that is wrong with the configuration.
    pub fn checked(mut self) -> Result<(Self, Calculation), Invalid> {
        self.name = name("name", &self.name)?;
        let Value::Object(fields) = &mut self.configuration else {
            return Err(Invalid::new("configuration", &self.configuration.to_string(), "must be an object"));
        };
        let inner = fields.get("type").and_then(Value::as_str).map(str::to_owned);
        match (self.kind.clone(), inner) {
            (Some(kind), Some(inner)) if kind != inner => {
                return Err(Invalid::new("configuration.type", &inner, format!("must be {kind}, as the field's type")));
            }
            (Some(kind), None) => drop(fields.insert("type".to_owned(), json!(kind))),
            _ => {}
        }
        let text = self.configuration.to_string();
        for (field, bytes, most) in [
            ("configuration", text.len(), CONFIGURATION_BYTES_MAX),
            ("debugSettings", self.debug_settings.to_string().len(), OTHER_BYTES_MAX),
            ("additionalInfo", self.additional_info.to_string().len(), OTHER_BYTES_MAX),
        ] {
            if bytes > most {
                return Err(Invalid::new(field, "", format!("must have at most {most} bytes, has {bytes}")));
            }
        }
        let calculation = Calculation::parse(&text).map_err(|error| Invalid::new("configuration", "", error.to_string()))?;
        Ok((self, calculation))
    }
}

impl TenantProfile {
    /// How many calculated fields a device or device profile may have, as in ThingsBoard.
    #[must_use]
    pub fn fields_per_entity_max(&self) -> u64 {
        self.field_limit("maxCalculatedFieldsPerEntity", 5, FIELDS_PER_ENTITY_MAX)
    }

    /// How many arguments one of them may have.
    #[must_use]
    pub fn field_arguments_max(&self) -> u64 {
        let most = schemas::calculated::ARGUMENTS_MAX;
        self.field_limit("maxArgumentsPerCF", most as u64, most)
    }

    fn field_limit(&self, name: &str, otherwise: u64, most: usize) -> u64 {
        let said = self.profile_data["configuration"][name].as_u64().unwrap_or(otherwise);
        if said == 0 { most as u64 } else { said.min(most as u64) }
    }
}
