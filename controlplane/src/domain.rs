//! What the control plane speaks of: checked values of tenants, people, devices and rule chains, and how lists of them are
//! asked for. Never does IO, asks the time or knows JSON shapes of the API.

mod chain;
mod check;
mod customer;
mod device;
mod import;
mod page;
mod profile;
mod tenant;
mod user;

pub use chain::{RuleChain, RuleChainDraft};
pub use check::{Invalid, NAME_CHARS_MAX, TOKEN_CHARS_MAX, email, name, optional_name, password, token};
pub use customer::{Customer, CustomerDraft};
pub use device::{Credential, Device, DeviceDraft, DeviceFilter, DeviceInfo};
pub use import::{Column, IMPORT_LINES_MAX, ImportLine, ImportedDevice, Mapping, read_lines};
pub use page::{Page, PageLink, SortOrder};
pub use profile::{DeviceProfile, ProfileDraft};
pub use tenant::{Contact, Tenant, TenantDraft};
pub use user::{Authority, User, UserDraft};

use uuid::Uuid;

/// ThingsBoard's "no entity": what its JSON shows where a tenant or customer is absent.
pub const NULL_UUID: Uuid = Uuid::from_u128(0x1381_4000_1dd2_11b2_8080_8080_8080_8080);

/// `id`, unless it is ThingsBoard's [`NULL_UUID`] or the nil UUID.
#[must_use]
pub fn present(id: Uuid) -> Option<Uuid> {
    (id != NULL_UUID && !id.is_nil()).then_some(id)
}

/// The kinds of entity that exist, with ThingsBoard's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    Tenant,
    Customer,
    User,
    DeviceProfile,
    Device,
    /// Not an entity of ThingsBoard's: a device's credential row.
    Credential,
    RuleChain,
}

impl EntityKind {
    pub const ALL: [Self; 7] =
        [Self::Tenant, Self::Customer, Self::User, Self::DeviceProfile, Self::Device, Self::Credential, Self::RuleChain];

    /// ThingsBoard's `entityType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "TENANT",
            Self::Customer => "CUSTOMER",
            Self::User => "USER",
            Self::DeviceProfile => "DEVICE_PROFILE",
            Self::Device => "DEVICE",
            Self::Credential => "DEVICE_CREDENTIALS",
            Self::RuleChain => "RULE_CHAIN",
        }
    }

    /// The kind with this `entityType`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How a sentence names it.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Customer => "Customer",
            Self::User => "User",
            Self::DeviceProfile => "Device profile",
            Self::Device => "Device",
            Self::Credential => "Device credentials",
            Self::RuleChain => "Rule chain",
        }
    }
}

/// An entity that owns attributes or series and that the caller may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityRef {
    pub kind: EntityKind,
    pub id: Uuid,
    /// [`NULL_UUID`] for what belongs to the system itself.
    pub tenant: Uuid,
}

#[cfg(test)]
mod tests;
