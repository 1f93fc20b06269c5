//! A customer of a tenant: sees only the devices assigned to it. Never knows which these are.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Contact, Invalid, name};

/// The title of the customer whose devices everybody may see. There is at most one in a tenant, made when it is needed.
pub const PUBLIC_TITLE: &str = "Public";

#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    pub tenant: Uuid,
    /// Unique within the tenant, whatever its case.
    pub title: String,
    pub contact: Contact,
    pub additional_info: Value,
}

impl Customer {
    /// `additionalInfo.isPublic`, as in ThingsBoard.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.additional_info.get("isPublic").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// What a client sends to create (`id: None`) or replace a customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomerDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    pub title: String,
    pub contact: Contact,
    pub additional_info: Value,
}

impl CustomerDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self { title: name("title", &self.title)?, contact: self.contact.checked()?, ..self })
    }
}
