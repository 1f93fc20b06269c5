//! The pushed world as domain values: what a data plane needs of tenants, profiles, devices, assets, relations, credentials and
//! chains.
//!
//! A [`Change`] that came off the wire or out of the cache is converted here once; inside, invalid values cannot exist.
//! Never knows how it is stored or applied.

use std::sync::Arc;

use ::uuid::Uuid;

use crate::{
    alarm_rule::{AlarmRules, InvalidAlarmRules},
    calculated::{Calculation, InvalidCalculation},
    chain::{Chain, EntityType, InvalidChain, external::SystemMail, system_mail},
    generated::config as wire,
    id::{
        AssetId, ChainId, CredentialId, CustomerId, DeviceId, EntityId, FieldId, InvalidId, ProfileId, RelationId, Revision,
        TenantId, uuid,
    },
    protobuf::{InvalidPayloads, Payloads, Texts},
    rate::{InvalidRateLimit, RateLimit},
};

/// The longest device or profile name a data plane accepts, in bytes (ThingsBoard's own bound).
pub const NAME_BYTES_MAX: usize = 255;
/// The longest description of a tenant or a customer that rules are told of, in bytes; what is beyond it is cut off.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// The longest protobuf schema of a profile, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 65_536;

/// One configuration difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub revision: Revision,
    pub body: ChangeBody,
}

/// What changed. Entities arrive whole: applying a change twice is the same as once.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeBody {
    Tenant(Tenant),
    Profile(Profile),
    Device(Device),
    Credential(Credential),
    Chain(PushedChain),
    Installation(Installation),
    Asset(Asset),
    Relation(Relation),
    Customer(Customer),
    Field(CalculatedField),
    TenantDeleted(TenantId),
    CustomerDeleted(CustomerId),
    ProfileDeleted(ProfileId),
    DeviceDeleted(DeviceId),
    CredentialDeleted(CredentialId),
    ChainDeleted(ChainId),
    FieldDeleted(FieldId),
    AssetDeleted(AssetId),
    RelationDeleted(RelationId),
}

/// What all instances share. Its key is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Installation {
    /// Device passwords are known by their HMAC-SHA-256 under this key (DESIGN 27).
    pub credential_key: [u8; 32],
    /// The mail server of nodes that name none.
    pub mail: Option<Arc<SystemMail>>,
}

impl std::fmt::Debug for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Installation")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub limits: Limits,
    /// Shared: every shard has them.
    pub details: Arc<Details>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    pub id: CustomerId,
    pub tenant: TenantId,
    pub details: Arc<Details>,
}

/// What rules may be told of a tenant or a customer; empty is what nobody has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub title: String,
    pub country: String,
    pub state: String,
    pub city: String,
    pub zip: String,
    pub address: String,
    pub address2: String,
    pub phone: String,
    pub email: String,
    pub description: String,
}

impl Details {
    /// What ThingsBoard's entities call so, if they are told of it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let said = match name {
            "name" | "title" => &self.title,
            "country" => &self.country,
            "state" => &self.state,
            "city" => &self.city,
            "zip" => &self.zip,
            "address" => &self.address,
            "address2" => &self.address2,
            "phone" => &self.phone,
            "email" => &self.email,
            "additionalInfo.description" => &self.description,
            _ => return None,
        };
        Some(said)
    }
}

/// What a tenant's devices may do, by ThingsBoard's four kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// All of them together.
    pub tenant: RateLimits,
    /// Each device that is no gateway and no gateway's child.
    pub device: RateLimits,
    pub gateway: RateLimits,
    pub gateway_device: RateLimits,
    /// Connections to one instance; 0 = no limit.
    pub connections_max: u32,
    /// Rule nodes may call what is not on the public internet.
    pub private_targets: bool,
}

/// What telemetry and attribute posts consume is `telemetry_*`; everything else consumes `messages` (reference 1.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    pub messages: RateLimit,
    pub telemetry_messages: RateLimit,
    pub telemetry_data_points: RateLimit,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub id: ProfileId,
    pub tenant: TenantId,
    pub name: String,
    /// `None`: the tenant's root chain.
    pub chain: Option<ChainId>,
    /// `None`: ThingsBoard's topics and JSON.
    pub mqtt: Option<MqttTransport>,
    /// When its devices have alarms. Shared: every shard has them.
    pub alarms: Option<Arc<AlarmRules>>,
}

/// A profile's own topics and payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MqttTransport {
    /// Empty: ThingsBoard's own; so the other two.
    pub telemetry_topic: String,
    pub attributes_topic: String,
    pub attributes_subscribe_topic: String,
    pub payload: Payload,
}

/// How payloads are written on topics that do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    #[default]
    Json,
    /// By the profile's own schemas. Shared: every shard has the profile.
    Protobuf(Arc<Payloads>),
    /// schemas/fbs/payload.fbs
    FlatBuffers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub tenant: TenantId,
    pub profile: ProfileId,
    // There are millions, so none has room to grow into.
    pub name: Box<str>,
    /// ThingsBoard's `type`: the profile's name.
    pub kind: Box<str>,
    pub label: Option<Box<str>>,
    /// 0: nobody has said when.
    pub created_ms: i64,
    /// It may speak for children.
    pub gateway: bool,
    /// Whom it is assigned to.
    pub customer: Option<CustomerId>,
}

const _: () = assert!(size_of::<Device>() <= 128, "there are millions of devices");

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    pub id: AssetId,
    pub tenant: TenantId,
    pub name: String,
    /// ThingsBoard's `type`: the profile's name.
    pub kind: String,
    pub label: Option<Box<str>>,
    /// 0: nobody has said when.
    pub created_ms: i64,
    /// Its profile's; `None`: the tenant's root chain.
    pub chain: Option<ChainId>,
    /// Whom it is assigned to.
    pub customer: Option<CustomerId>,
}

/// Where a relation begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub kind: EntityType,
    pub id: EntityId,
}

/// One of the common group. Its ends never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub id: RelationId,
    pub from: End,
    pub to: End,
    /// ThingsBoard's `type`.
    pub kind: String,
}

/// What a device shows, known only by its hash (`credential`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub device: DeviceId,
    pub token_sha256: [u8; 32],
}

/// A rule chain, parsed and checked by the same code that checked it at save time.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedChain {
    pub id: ChainId,
    pub tenant: TenantId,
    pub name: String,
    pub root: bool,
    pub chain: Chain,
}

/// A calculated field, parsed and checked by the same code that checked it at save time.
#[derive(Clone, Debug, PartialEq)]
pub struct CalculatedField {
    pub id: FieldId,
    pub tenant: TenantId,
    pub of: FieldOf,
    pub name: String,
    /// Shared: every shard has it.
    pub calculation: Arc<Calculation>,
}

/// For whom a field is calculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldOf {
    Device(DeviceId),
    /// Each of its devices.
    Profile(ProfileId),
}

/// Why a change cannot be applied; reported to the control plane, which shows it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidChange {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("a change without a body")]
    Empty,
    #[error("deleted: unknown entity kind {0}")]
    Kind(i32),
    #[error("{field}: {length} bytes, at most {NAME_BYTES_MAX}")]
    Name { field: &'static str, length: usize },
    #[error("token_sha256: expected 32 bytes, got {0}")]
    Token(usize),
    #[error("rule chain: {0}")]
    Chain(#[from] InvalidChain),
    #[error("calculated field: {0}")]
    Calculation(#[from] InvalidCalculation),
    #[error("calculated_field: expected either a device or a device profile")]
    FieldOf,
    #[error("credential_key: expected 32 bytes, got {0}")]
    Key(usize),
    #[error(transparent)]
    Rate(#[from] InvalidRateLimit),
    #[error("{field}: {length} bytes, at most {most}")]
    Text { field: &'static str, length: usize, most: usize },
    #[error("profile.mqtt: {0}")]
    Schema(#[from] InvalidPayloads),
    #[error("profile.alarms: {0}")]
    Alarms(#[from] InvalidAlarmRules),
    #[error("{field}: {name} is no entity type")]
    EntityType { field: &'static str, name: String },
    #[error("profile.mqtt: payloads are protobuf or FlatBuffers, not both")]
    Payload,
}

impl TryFrom<wire::Change> for Change {
    type Error = InvalidChange;

    fn try_from(change: wire::Change) -> Result<Self, InvalidChange> {
        let id = uuid("id", &change.id)?;
        let body = match change.body.ok_or(InvalidChange::Empty)? {
            wire::change::Body::Tenant(tenant) => ChangeBody::Tenant(Tenant {
                id: TenantId(id),
                name: name("tenant.name", tenant.name)?,
                limits: limits(tenant.limits.unwrap_or_default())?,
                details: details(tenant.details)?,
            }),
            wire::change::Body::Customer(customer) => ChangeBody::Customer(Customer {
                id: CustomerId(id),
                tenant: TenantId(uuid("customer.tenant_id", &customer.tenant_id)?),
                details: details(customer.details)?,
            }),
            wire::change::Body::Profile(said) => ChangeBody::Profile(profile(ProfileId(id), said)?),
            wire::change::Body::Device(device) => ChangeBody::Device(Device {
                id: DeviceId(id),
                tenant: TenantId(uuid("device.tenant_id", &device.tenant_id)?),
                profile: ProfileId(uuid("device.profile_id", &device.profile_id)?),
                name: name("device.name", device.name)?.into(),
                kind: name("device.type", device.r#type)?.into(),
                label: label("device.label", device.label)?,
                created_ms: device.created_ms,
                gateway: device.gateway,
                customer: optional("device.customer_id", &device.customer_id)?.map(CustomerId),
            }),
            wire::change::Body::Credential(credential) => ChangeBody::Credential(Credential {
                id: CredentialId(id),
                device: DeviceId(uuid("credential.device_id", &credential.device_id)?),
                token_sha256: credential
                    .token_sha256
                    .as_slice()
                    .try_into()
                    .map_err(|_| InvalidChange::Token(credential.token_sha256.len()))?,
            }),
            wire::change::Body::Chain(chain) => ChangeBody::Chain(PushedChain {
                id: ChainId(id),
                tenant: TenantId(uuid("chain.tenant_id", &chain.tenant_id)?),
                name: name("chain.name", chain.name)?,
                root: chain.root,
                chain: Chain::parse(&chain.metadata)?,
            }),
            wire::change::Body::CalculatedField(field) => ChangeBody::Field(calculated_field(FieldId(id), field)?),
            wire::change::Body::Installation(installation) => ChangeBody::Installation(Installation {
                credential_key: installation
                    .credential_key
                    .as_slice()
                    .try_into()
                    .map_err(|_| InvalidChange::Key(installation.credential_key.len()))?,
                // What cannot be read is as good as none: e-mails fail and say so, and devices with passwords are let in all the same.
                mail: serde_json::from_str(&installation.mail).ok().and_then(|mail| system_mail(&mail).ok()).map(Arc::new),
            }),
            wire::change::Body::Asset(asset) => ChangeBody::Asset(Asset {
                id: AssetId(id),
                tenant: TenantId(uuid("asset.tenant_id", &asset.tenant_id)?),
                name: name("asset.name", asset.name)?,
                kind: name("asset.type", asset.r#type)?,
                label: label("asset.label", asset.label)?,
                created_ms: asset.created_ms,
                chain: optional("asset.rule_chain_id", &asset.rule_chain_id)?.map(ChainId),
                customer: optional("asset.customer_id", &asset.customer_id)?.map(CustomerId),
            }),
            wire::change::Body::Relation(relation) => ChangeBody::Relation(Relation {
                id: RelationId(id),
                from: end("relation.from_type", &relation.from_type, uuid("relation.from_id", &relation.from_id)?)?,
                to: end("relation.to_type", &relation.to_type, uuid("relation.to_id", &relation.to_id)?)?,
                kind: name("relation.type", relation.r#type)?,
            }),
            wire::change::Body::Deleted(deleted) => gone(&deleted, id)?,
        };
        Ok(Self { revision: Revision(change.revision), body })
    }
}

fn calculated_field(id: FieldId, field: wire::CalculatedField) -> Result<CalculatedField, InvalidChange> {
    let device = optional("calculated_field.device_id", &field.device_id)?.map(|id| FieldOf::Device(DeviceId(id)));
    let profile = optional("calculated_field.profile_id", &field.profile_id)?.map(|id| FieldOf::Profile(ProfileId(id)));
    let of = match (device, profile) {
        (Some(of), None) | (None, Some(of)) => of,
        _ => return Err(InvalidChange::FieldOf),
    };
    Ok(CalculatedField {
        id,
        tenant: TenantId(uuid("calculated_field.tenant_id", &field.tenant_id)?),
        of,
        name: name("calculated_field.name", field.name)?,
        calculation: Arc::new(Calculation::parse(&field.configuration)?),
    })
}

fn gone(deleted: &wire::Deleted, id: Uuid) -> Result<ChangeBody, InvalidChange> {
    Ok(match deleted.kind() {
        wire::EntityKind::Tenant => ChangeBody::TenantDeleted(TenantId(id)),
        wire::EntityKind::Customer => ChangeBody::CustomerDeleted(CustomerId(id)),
        wire::EntityKind::DeviceProfile => ChangeBody::ProfileDeleted(ProfileId(id)),
        wire::EntityKind::Device => ChangeBody::DeviceDeleted(DeviceId(id)),
        wire::EntityKind::Credential => ChangeBody::CredentialDeleted(CredentialId(id)),
        wire::EntityKind::RuleChain => ChangeBody::ChainDeleted(ChainId(id)),
        wire::EntityKind::Asset => ChangeBody::AssetDeleted(AssetId(id)),
        wire::EntityKind::Relation => ChangeBody::RelationDeleted(RelationId(id)),
        wire::EntityKind::CalculatedField => ChangeBody::FieldDeleted(FieldId(id)),
        wire::EntityKind::Installation | wire::EntityKind::Unspecified => return Err(InvalidChange::Kind(deleted.kind)),
    })
}

fn profile(id: ProfileId, profile: wire::DeviceProfile) -> Result<Profile, InvalidChange> {
    Ok(Profile {
        id,
        tenant: TenantId(uuid("profile.tenant_id", &profile.tenant_id)?),
        name: name("profile.name", profile.name)?,
        chain: optional("profile.rule_chain_id", &profile.rule_chain_id)?.map(ChainId),
        mqtt: profile.mqtt.map(mqtt).transpose()?,
        alarms: alarms(&profile.alarms)?,
    })
}

fn limits(limits: wire::Limits) -> Result<Limits, InvalidRateLimit> {
    let rates = |rates: Option<wire::RateLimits>| {
        let wire::RateLimits { messages, telemetry_messages, telemetry_data_points } = rates.unwrap_or_default();
        Ok::<_, InvalidRateLimit>(RateLimits {
            messages: RateLimit::parse(&messages)?,
            telemetry_messages: RateLimit::parse(&telemetry_messages)?,
            telemetry_data_points: RateLimit::parse(&telemetry_data_points)?,
        })
    };
    Ok(Limits {
        tenant: rates(limits.tenant)?,
        device: rates(limits.device)?,
        gateway: rates(limits.gateway)?,
        gateway_device: rates(limits.gateway_device)?,
        connections_max: limits.connections_max,
        private_targets: limits.private_targets,
    })
}

fn mqtt(mqtt: wire::MqttTransport) -> Result<MqttTransport, InvalidChange> {
    let texts = Texts {
        telemetry: schema("profile.mqtt.telemetry_schema", &mqtt.telemetry_schema)?,
        attributes: schema("profile.mqtt.attributes_schema", &mqtt.attributes_schema)?,
        rpc_request: schema("profile.mqtt.rpc_request_schema", &mqtt.rpc_request_schema)?,
        rpc_response: schema("profile.mqtt.rpc_response_schema", &mqtt.rpc_response_schema)?,
    };
    let payload = match (mqtt.protobuf, mqtt.flatbuffers) {
        (false, false) => Payload::Json,
        (true, false) => {
            let payloads = Payloads::compile(&texts)?;
            let (json_compatible, json_downlinks) = (mqtt.json_compatible, mqtt.json_downlinks);
            Payload::Protobuf(Arc::new(Payloads { json_compatible, json_downlinks, ..payloads }))
        }
        (false, true) => Payload::FlatBuffers,
        (true, true) => return Err(InvalidChange::Payload),
    };
    Ok(MqttTransport {
        telemetry_topic: name("profile.mqtt.telemetry_topic", mqtt.telemetry_topic)?,
        attributes_topic: name("profile.mqtt.attributes_topic", mqtt.attributes_topic)?,
        attributes_subscribe_topic: name("profile.mqtt.attributes_subscribe_topic", mqtt.attributes_subscribe_topic)?,
        payload,
    })
}

/// Text that is no JSON says no rules: the control plane sends what it has parsed.
fn alarms(text: &str) -> Result<Option<Arc<AlarmRules>>, InvalidAlarmRules> {
    if text.is_empty() {
        return Ok(None);
    }
    AlarmRules::parse(&serde_json::from_str(text).unwrap_or_default())
}

fn schema<'t>(field: &'static str, text: &'t str) -> Result<&'t str, InvalidChange> {
    let (length, most) = (text.len(), SCHEMA_BYTES_MAX);
    if length > most { Err(InvalidChange::Text { field, length, most }) } else { Ok(text) }
}

fn end(field: &'static str, kind: &str, id: Uuid) -> Result<End, InvalidChange> {
    let shown = || kind.chars().take(NAME_BYTES_MAX).collect();
    let kind = EntityType::parse(kind).ok_or_else(|| InvalidChange::EntityType { field, name: shown() })?;
    Ok(End { kind, id: EntityId(id) })
}

fn name(field: &'static str, value: String) -> Result<String, InvalidChange> {
    if value.len() > NAME_BYTES_MAX {
        return Err(InvalidChange::Name { field, length: value.len() });
    }
    Ok(value)
}

fn label(field: &'static str, value: String) -> Result<Option<Box<str>>, InvalidChange> {
    Ok(Some(name(field, value)?).filter(|label| !label.is_empty()).map(String::into_boxed_str))
}

fn optional(field: &'static str, bytes: &[u8]) -> Result<Option<Uuid>, InvalidId> {
    if bytes.is_empty() { Ok(None) } else { uuid(field, bytes).map(Some) }
}

fn details(details: Option<wire::Details>) -> Result<Arc<Details>, InvalidChange> {
    let wire::Details { title, country, state, city, zip, address, address2, phone, email, mut description } =
        details.unwrap_or_default();
    description.truncate(description.floor_char_boundary(DESCRIPTION_BYTES_MAX));
    Ok(Arc::new(Details {
        title: name("details.title", title)?,
        country: name("details.country", country)?,
        state: name("details.state", state)?,
        city: name("details.city", city)?,
        zip: name("details.zip", zip)?,
        address: name("details.address", address)?,
        address2: name("details.address2", address2)?,
        phone: name("details.phone", phone)?,
        email: name("details.email", email)?,
        description,
    }))
}
