//! Who is asking and what they may do: passwords, session tokens, login limits, and the table of permissions. Never reads
//! rows: what a caller can *see* is decided in every query by its [`Scope`].

mod password;
mod policy;
#[cfg(test)]
mod tests;
mod throttle;
mod token;

pub use password::Passwords;
pub use policy::{Operation, Resource, allowed};
pub use throttle::Throttle;
pub use token::{Claims, TokenPair, Tokens};

use uuid::Uuid;

use crate::domain::Authority;

/// Who shows a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: Uuid,
    pub email: String,
    pub authority: Authority,
    /// `None` for a system administrator.
    pub tenant: Option<Uuid>,
    /// `Some` for a customer user.
    pub customer: Option<Uuid>,
}

/// The wall around what a caller can see: one tenant, and for a customer user one customer of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub tenant: Uuid,
    pub customer: Option<Uuid>,
}

impl Caller {
    /// `None` for a system administrator, and for a user whose rows contradict its authority.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        match (self.authority, self.tenant, self.customer) {
            (Authority::TenantAdmin, Some(tenant), _) => Some(Scope { tenant, customer: None }),
            (Authority::CustomerUser, Some(tenant), Some(customer)) => Some(Scope { tenant, customer: Some(customer) }),
            _ => None,
        }
    }
}
