//! Rows and log entries as the messages of `config.proto`. What a device shows never leaves: only its hash does.

use aws_lc_rs::digest::{SHA256, digest};
use schemas::generated::config as wire;
use uuid::Uuid;

use crate::{
    domain::{Arrow, EntityKind, FieldOf, MqttTransport, PayloadType, TransportLimits},
    entity::pushed::{Body, Details, Known, Pushed},
};

pub(super) fn change(row: Pushed) -> wire::Change {
    let body = match row.body {
        Body::Installation { credential_key, mail } => {
            wire::change::Body::Installation(wire::Installation { credential_key, mail })
        }
        Body::Tenant { details: said, limits: rates } => {
            let (name, limits, details) = (said.title.clone(), Some(limits(rates)), Some(details(said)));
            wire::change::Body::Tenant(wire::Tenant { name, limits, details })
        }
        Body::Customer { tenant, details: said } => {
            wire::change::Body::Customer(wire::Customer { tenant_id: bytes(tenant), details: Some(details(said)) })
        }
        Body::Chain { tenant, name, root, metadata } => {
            wire::change::Body::Chain(wire::RuleChain { tenant_id: bytes(tenant), name, root, metadata })
        }
        Body::Profile { tenant, name, chain, mqtt: said, alarms } => wire::change::Body::Profile(wire::DeviceProfile {
            tenant_id: bytes(tenant),
            name,
            rule_chain_id: chain.map(bytes).unwrap_or_default(),
            mqtt: said.map(mqtt),
            alarms,
        }),
        Body::Device { tenant, profile, customer, name, kind, label, created_ms, gateway } => {
            wire::change::Body::Device(wire::Device {
                tenant_id: bytes(tenant),
                profile_id: bytes(profile),
                name,
                r#type: kind,
                gateway,
                customer_id: customer.map(bytes).unwrap_or_default(),
                label: label.unwrap_or_default(),
                created_ms,
            })
        }
        Body::Credential { device, shown } => {
            let token_sha256 = match shown {
                Known::Token(token) => digest(&SHA256, token.as_bytes()).as_ref().to_vec(),
                Known::By(lookup) => lookup,
            };
            wire::change::Body::Credential(wire::Credential { device_id: bytes(device), token_sha256 })
        }
        Body::Field { tenant, of, name, configuration } => {
            let (device_id, profile_id) = match of {
                FieldOf::Device(id) => (bytes(id), Vec::new()),
                FieldOf::Profile(id) => (Vec::new(), bytes(id)),
            };
            let tenant_id = bytes(tenant);
            wire::change::Body::CalculatedField(wire::CalculatedField { tenant_id, device_id, profile_id, name, configuration })
        }
        Body::Asset { tenant, customer, name, kind, label, created_ms, chain } => wire::change::Body::Asset(wire::Asset {
            tenant_id: bytes(tenant),
            name,
            r#type: kind,
            rule_chain_id: chain.map(bytes).unwrap_or_default(),
            customer_id: customer.map(bytes).unwrap_or_default(),
            label: label.unwrap_or_default(),
            created_ms,
        }),
        Body::Relation(Arrow { from, to, kind, .. }) => wire::change::Body::Relation(wire::Relation {
            from_type: from.kind.name().to_owned(),
            from_id: bytes(from.id),
            to_type: to.kind.name().to_owned(),
            to_id: bytes(to.id),
            r#type: kind,
        }),
    };
    wire::Change { revision: row.revision, id: bytes(row.id), body: Some(body) }
}

/// `None` for kinds that data planes do not know.
pub(super) fn deleted(revision: u64, kind: EntityKind, id: Uuid) -> Option<wire::Change> {
    let kind = match kind {
        EntityKind::Tenant => wire::EntityKind::Tenant,
        EntityKind::Customer => wire::EntityKind::Customer,
        EntityKind::RuleChain => wire::EntityKind::RuleChain,
        EntityKind::DeviceProfile => wire::EntityKind::DeviceProfile,
        EntityKind::Device => wire::EntityKind::Device,
        EntityKind::Credential => wire::EntityKind::Credential,
        EntityKind::Installation => wire::EntityKind::Installation,
        EntityKind::CalculatedField => wire::EntityKind::CalculatedField,
        EntityKind::Asset => wire::EntityKind::Asset,
        EntityKind::Relation => wire::EntityKind::Relation,
        EntityKind::User | EntityKind::TenantProfile | EntityKind::OtaPackage | EntityKind::Rpc | EntityKind::AssetProfile => {
            return None;
        }
    };
    let body = wire::change::Body::Deleted(wire::Deleted { kind: kind.into() });
    Some(wire::Change { revision, id: bytes(id), body: Some(body) })
}

fn details(details: Box<Details>) -> wire::Details {
    let Details { title, contact, description } = *details;
    wire::Details {
        title,
        country: contact.country.unwrap_or_default(),
        state: contact.state.unwrap_or_default(),
        city: contact.city.unwrap_or_default(),
        zip: contact.zip.unwrap_or_default(),
        address: contact.address.unwrap_or_default(),
        address2: contact.address2.unwrap_or_default(),
        phone: contact.phone.unwrap_or_default(),
        email: contact.email.unwrap_or_default(),
        description: description.unwrap_or_default(),
    }
}

fn limits(limits: TransportLimits) -> wire::Limits {
    let TransportLimits { rates, connections_max, private_targets } = limits;
    let [tenant, device, gateway, gateway_device] = rates.map(|[messages, telemetry_messages, telemetry_data_points]| {
        Some(wire::RateLimits { messages, telemetry_messages, telemetry_data_points })
    });
    wire::Limits { tenant, device, gateway, gateway_device, connections_max, private_targets }
}

fn mqtt(mqtt: MqttTransport) -> wire::MqttTransport {
    wire::MqttTransport {
        telemetry_topic: mqtt.telemetry_topic,
        attributes_topic: mqtt.attributes_topic,
        attributes_subscribe_topic: mqtt.attributes_subscribe_topic,
        protobuf: mqtt.payload == PayloadType::Protobuf,
        flatbuffers: mqtt.payload == PayloadType::FlatBuffers,
        telemetry_schema: mqtt.telemetry_schema,
        attributes_schema: mqtt.attributes_schema,
        rpc_request_schema: mqtt.rpc_request_schema,
        rpc_response_schema: mqtt.rpc_response_schema,
        json_compatible: mqtt.json_compatible,
        json_downlinks: mqtt.json_downlinks,
    }
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}
