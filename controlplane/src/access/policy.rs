//! The table of permissions: authority, resource, operation. It says what kind of thing may be done; on which rows, every
//! query decides by the caller's tenant and customer.

use crate::domain::Authority;

/// What an operation is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Tenant,
    TenantProfile,
    Customer,
    User,
    Device,
    DeviceProfile,
    RuleChain,
    /// A running data plane.
    Instance,
    /// What the installation's administrator decides for all.
    AdminSettings,
    OtaPackage,
    AuditLog,
    Asset,
    AssetProfile,
    /// Between entities that the caller can see.
    Relation,
}

impl Resource {
    pub const ALL: [Self; 14] = [
        Self::Tenant,
        Self::TenantProfile,
        Self::Customer,
        Self::User,
        Self::Device,
        Self::DeviceProfile,
        Self::RuleChain,
        Self::Instance,
        Self::AdminSettings,
        Self::OtaPackage,
        Self::AuditLog,
        Self::Asset,
        Self::AssetProfile,
        Self::Relation,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Create,
    Write,
    Delete,
    /// To and from a customer.
    Assign,
    ReadCredentials,
    WriteCredentials,
    /// Attributes and series.
    ReadValues,
    WriteValues,
    /// To take for one's customer what says that it may be taken, and to give it back.
    Claim,
    /// A device, by ThingsBoard's RPC.
    Call,
}

impl Operation {
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::Create,
        Self::Write,
        Self::Delete,
        Self::Assign,
        Self::ReadCredentials,
        Self::WriteCredentials,
        Self::ReadValues,
        Self::WriteValues,
        Self::Claim,
        Self::Call,
    ];
}

/// May this authority do this at all?
#[must_use]
pub fn allowed(authority: Authority, resource: Resource, operation: Operation) -> bool {
    use Operation::{Assign, Call, Claim, Create, Delete, Read, ReadCredentials, ReadValues, Write, WriteValues};
    let operations: &[Operation] = match (authority, resource) {
        (Authority::SysAdmin, Resource::Tenant) => &[Read, Create, Write, Delete, ReadValues, WriteValues],
        (Authority::SysAdmin, Resource::User) => &[Read, Create, Write, Delete, ReadValues, WriteValues],
        (Authority::SysAdmin, Resource::TenantProfile) => &[Read, Create, Write, Delete],
        (Authority::SysAdmin, Resource::Instance) => &[Read],
        (Authority::SysAdmin, Resource::AdminSettings) => &[Read, Write],
        (Authority::TenantAdmin | Authority::CustomerUser, Resource::AdminSettings) => &[],
        // What is inside a tenant is the tenant's alone.
        (Authority::SysAdmin, Resource::Customer | Resource::Device | Resource::DeviceProfile | Resource::RuleChain) => &[],
        (Authority::SysAdmin, Resource::OtaPackage | Resource::AuditLog) => &[],
        (Authority::SysAdmin, Resource::Asset | Resource::AssetProfile | Resource::Relation) => &[],
        (Authority::TenantAdmin, Resource::Tenant) => &[Read, ReadValues, WriteValues],
        (Authority::TenantAdmin, Resource::TenantProfile) => &[Read],
        (Authority::TenantAdmin, Resource::Customer | Resource::User) => &[Read, Create, Write, Delete, ReadValues, WriteValues],
        (Authority::TenantAdmin, Resource::Device) => &Operation::ALL,
        (Authority::TenantAdmin, Resource::DeviceProfile | Resource::RuleChain | Resource::OtaPackage) => {
            &[Read, Create, Write, Delete]
        }
        (Authority::TenantAdmin, Resource::AuditLog) => &[Read],
        (Authority::TenantAdmin, Resource::Asset) => &[Read, Create, Write, Delete, Assign, ReadValues, WriteValues],
        (Authority::TenantAdmin, Resource::AssetProfile) => &[Read, Create, Write, Delete],
        (Authority::TenantAdmin, Resource::Relation) => &[Read, Write, Delete],
        (Authority::TenantAdmin, Resource::Instance) => &[],
        (Authority::CustomerUser, Resource::Customer) => &[Read, ReadValues],
        (Authority::CustomerUser, Resource::User) => &[Read, ReadValues, WriteValues],
        (Authority::CustomerUser, Resource::Device) => &[Read, ReadCredentials, ReadValues, WriteValues, Claim, Call],
        (Authority::CustomerUser, Resource::Asset) => &[Read, ReadValues, WriteValues],
        (Authority::CustomerUser, Resource::DeviceProfile | Resource::AssetProfile | Resource::Relation) => &[Read],
        (Authority::CustomerUser, Resource::Tenant | Resource::TenantProfile | Resource::RuleChain | Resource::Instance) => &[],
        (Authority::CustomerUser, Resource::OtaPackage | Resource::AuditLog) => &[],
    };
    operations.contains(&operation)
}
