//! A tenant: the wall no row is seen across. Never knows what belongs to it.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, email, name, optional_name};

/// Where a tenant or customer is reached. Every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    pub country: Option<String>,
    pub state: Option<String>,
    pub city: Option<String>,
    pub address: Option<String>,
    pub address2: Option<String>,
    pub zip: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
}

impl Contact {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self {
            country: optional_name("country", self.country.as_deref())?,
            state: optional_name("state", self.state.as_deref())?,
            city: optional_name("city", self.city.as_deref())?,
            address: optional_name("address", self.address.as_deref())?,
            address2: optional_name("address2", self.address2.as_deref())?,
            zip: optional_name("zip", self.zip.as_deref())?,
            phone: optional_name("phone", self.phone.as_deref())?,
            email: self.email.filter(|address| !address.trim().is_empty()).map(|address| email("email", &address)).transpose()?,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub title: String,
    pub region: Option<String>,
    /// Of its limits.
    pub profile: Uuid,
    pub contact: Contact,
    pub additional_info: Value,
}

/// What a client sends to create (`id: None`) or replace a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub title: String,
    pub region: Option<String>,
    /// `None`: the one it has; of a new tenant, the default one.
    pub profile: Option<Uuid>,
    pub contact: Contact,
    pub additional_info: Value,
}

impl TenantDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self {
            title: name("title", &self.title)?,
            region: optional_name("region", self.region.as_deref())?,
            contact: self.contact.checked()?,
            ..self
        })
    }
}
