//! What the control plane speaks of: checked values of tenants, people, devices and rule chains, and how lists of them are
//! asked for. Never does IO, asks the time or knows JSON shapes of the API.

mod alarm;
mod alarm_query;
mod asset;
mod asset_profile;
mod audit;
mod calculated;
mod call;
mod certificate;
mod chain;
mod check;
mod checksum;
mod credential;
mod customer;
mod dead_letter;
mod device;
mod event;
mod hex;
mod import;
mod package;
mod page;
mod profile;
mod provision;
mod query;
mod relation;
mod tenant;
mod tenant_profile;
mod transport;
mod user;

pub use alarm::{AlarmChange, AlarmDraft, AlarmFilter, AlarmInfo, ChangedAlarm, severity};
pub use alarm_query::{AlarmCount, AlarmListing, AlarmRow};
pub use asset::{Asset, AssetDraft, AssetFilter, AssetInfo};
pub use asset_profile::{AssetProfile, AssetProfileDraft};
pub use audit::{AuditFilter, AuditLine, AuditSubject};
pub use calculated::{CalculatedField, FieldDraft, FieldOf};
pub use call::{Call, CallDraft, CallOutcome, CallStatus, StoredCall};
#[cfg(test)]
pub(crate) use certificate::tests as certificates;
pub use certificate::{CHAIN_MAX, Certificate, verify};
pub use chain::{RuleChain, RuleChainDraft, ScriptForm, ScriptTrial};
pub use check::{Invalid, NAME_CHARS_MAX, TOKEN_CHARS_MAX, email, name, optional_name, password, token};
pub use checksum::{Algorithm, Checksum};
pub use credential::{ACCESS_TOKEN, Basic, Credential, CredentialDraft, MQTT_BASIC, Shown, X509_CERTIFICATE};
pub use customer::{Customer, CustomerDraft, PUBLIC_TITLE};
pub use dead_letter::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLettersEnded};
pub(crate) use device::is_gateway;
pub use device::{Device, DeviceDraft, DeviceFilter, DeviceInfo};
pub use event::{Event, EventFilter, EventKind, TracedStep, page_of_events};
pub use hex::{hex, unhex};
pub use import::{Column, IMPORT_LINES_MAX, ImportLine, ImportedDevice, Mapping, read_lines};
pub use package::{Package, PackageBytes, PackageDraft, PackageFilter, PackageKind, PackagePlace, UploadDraft};
pub use page::{Page, PageLink, SortOrder};
pub use profile::{DeviceProfile, ProfileDraft};
pub(crate) use profile::{alarms_of, mqtt_of};
pub use provision::{ProvisionRequest, ProvisionType, Unprovisioned, name_in, provisioned, same_secret};
pub use query::{
    BoolOperation, Dynamic, DynamicSource, EntityListing, EntityQuery, EntityRow, Key, KeyFilter, KeyKind, ListedEntity,
    NumberOperation, Operand, Predicate, Sample, Selector, TextOperation,
};
pub use relation::{Arrow, End, NamedRelation, Relation, RelationFilter, RelationGroup, RelationQuery, Side};
pub use tenant::{Contact, Tenant, TenantDraft};
pub use tenant_profile::{DEFAULT_TENANT_PROFILE, TenantProfile, TenantProfileDraft, TransportLimits};
pub use transport::{DEFAULT_TRANSPORT, MqttTransport, PayloadType};
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
    /// Not an entity of ThingsBoard's: what all data planes share. There is one, of id nil.
    Installation,
    TenantProfile,
    OtaPackage,
    /// A persistent call of the server to a device.
    Rpc,
    CalculatedField,
    Asset,
    AssetProfile,
    /// Not an entity of ThingsBoard's: an arrow between two of them.
    Relation,
}

impl EntityKind {
    pub const ALL: [Self; 15] = [
        Self::Tenant,
        Self::Customer,
        Self::User,
        Self::DeviceProfile,
        Self::Device,
        Self::Credential,
        Self::RuleChain,
        Self::Installation,
        Self::TenantProfile,
        Self::OtaPackage,
        Self::Rpc,
        Self::CalculatedField,
        Self::Asset,
        Self::AssetProfile,
        Self::Relation,
    ];

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
            Self::Installation => "INSTALLATION",
            Self::TenantProfile => "TENANT_PROFILE",
            Self::OtaPackage => "OTA_PACKAGE",
            Self::Rpc => "RPC",
            Self::CalculatedField => "CALCULATED_FIELD",
            Self::Asset => "ASSET",
            Self::AssetProfile => "ASSET_PROFILE",
            Self::Relation => "RELATION",
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
            Self::Installation => "Installation",
            Self::TenantProfile => "Tenant profile",
            Self::OtaPackage => "OTA package",
            Self::Rpc => "RPC",
            Self::CalculatedField => "Calculated field",
            Self::Asset => "Asset",
            Self::AssetProfile => "Asset profile",
            Self::Relation => "Relation",
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
