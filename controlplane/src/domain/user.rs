//! A person who signs in, and the three authorities. Never holds a password.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Invalid, email, optional_name};

/// What a person may do, ThingsBoard's three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    SysAdmin,
    TenantAdmin,
    CustomerUser,
}

impl Authority {
    pub const ALL: [Self; 3] = [Self::SysAdmin, Self::TenantAdmin, Self::CustomerUser];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "SYS_ADMIN",
            Self::TenantAdmin => "TENANT_ADMIN",
            Self::CustomerUser => "CUSTOMER_USER",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|authority| authority.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub version: i64,
    /// `None` for a system administrator.
    pub tenant: Option<Uuid>,
    /// `Some` for a customer user.
    pub customer: Option<Uuid>,
    /// Lower-cased, unique on the whole installation.
    pub email: String,
    pub authority: Authority,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    /// False until the password is set, or when an administrator says so.
    pub enabled: bool,
    pub additional_info: Value,
}

/// What a client sends to create (`id: None`) or replace a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserDraft {
    pub id: Option<Uuid>,
    /// The version the client read; `None` overwrites whatever is there.
    pub version: Option<i64>,
    /// Needed when a system administrator creates a tenant administrator; otherwise the caller's own.
    pub tenant: Option<Uuid>,
    /// Needed for a customer user.
    pub customer: Option<Uuid>,
    pub email: String,
    pub authority: Authority,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    pub additional_info: Value,
}

impl UserDraft {
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self) -> Result<Self, Invalid> {
        Ok(Self {
            email: email("email", &self.email)?,
            first_name: optional_name("firstName", self.first_name.as_deref())?,
            last_name: optional_name("lastName", self.last_name.as_deref())?,
            phone: optional_name("phone", self.phone.as_deref())?,
            ..self
        })
    }
}
