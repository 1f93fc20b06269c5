//! What ThingsBoard's rule chains are told of entities and relations: the entity's own JSON, and beside it who did it. Never decides
//! whether anything happened.

use std::collections::BTreeMap;

use schemas::chain::MessageType;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{Announcement, Asset, Contact, Customer, Device, End, EntityKind, NULL_UUID, Relation},
    entity::{Write, asset_profile, customer, profile},
    error::Error,
};

/// An entity's `additionalInfo` longer than this, in bytes, is left out of what is told.
const ADDITIONAL_BYTES_MAX: usize = 64 << 10;

/// What it is told of.
#[derive(Clone, Copy, Debug)]
pub(in crate::app) enum Of<'a> {
    Device(&'a Device),
    Asset(&'a Asset),
    Customer(&'a Customer),
}

impl Of<'_> {
    fn end(self) -> End {
        match self {
            Self::Device(device) => End { kind: EntityKind::Device, id: device.id },
            Self::Asset(asset) => End { kind: EntityKind::Asset, id: asset.id },
            Self::Customer(customer) => End { kind: EntityKind::Customer, id: customer.id },
        }
    }

    fn tenant(self) -> Uuid {
        match self {
            Self::Device(device) => device.tenant,
            Self::Asset(asset) => asset.tenant,
            Self::Customer(customer) => customer.tenant,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Device(device) => device.name.clone(),
            Self::Asset(asset) => asset.name.clone(),
            Self::Customer(customer) => customer.title.clone(),
        }
    }

    /// The customer that it is shown to.
    fn customer(self) -> Option<Uuid> {
        match self {
            Self::Device(device) => device.customer,
            Self::Asset(asset) => asset.customer,
            Self::Customer(customer) => Some(customer.id),
        }
    }
}

/// The chain of an entity is told that this happened to it; `more` metadata win.
pub(in crate::app) fn announce(write: &mut Write, kind: MessageType, of: Of<'_>, more: &[(&str, String)]) {
    push(write, kind, of, (None, more));
}

/// It is gone: its profile says which chain is told.
///
/// # Errors
/// [`Error::Unavailable`] when the database is busy.
pub(in crate::app) async fn deleted(write: &mut Write, of: Of<'_>) -> Result<(), Error> {
    let chain = match of {
        Of::Device(device) => profile::find(write.db(), device.tenant, device.profile).await?.and_then(|found| found.chain),
        Of::Asset(asset) => asset_profile::find(write.db(), asset.tenant, asset.profile).await?.and_then(|found| found.chain),
        Of::Customer(_) => None,
    };
    push(write, MessageType::EntityDeleted, of, (chain, &[]));
    Ok(())
}

/// It is shown to another customer than before, or to none.
///
/// # Errors
/// [`Error::Unavailable`] when the database is busy.
pub(in crate::app) async fn shown(
    write: &mut Write,
    of: Of<'_>,
    before: Option<Uuid>,
    to: Option<&Customer>,
) -> Result<(), Error> {
    match (before, to) {
        (_, Some(to)) => assigned(write, of, to),
        (Some(from), None) => unassigned(write, of, from).await?,
        (None, None) => {}
    }
    Ok(())
}

fn assigned(write: &mut Write, of: Of<'_>, to: &Customer) {
    let more = [("assignedCustomerId", to.id.to_string()), ("assignedCustomerName", to.title.clone())];
    push(write, MessageType::EntityAssigned, of, (None, &more));
}

async fn unassigned(write: &mut Write, of: Of<'_>, from: Uuid) -> Result<(), Error> {
    let title = customer::find(write.db(), of.tenant(), from).await?.map(|from| from.title).unwrap_or_default();
    let id = from.to_string();
    let more = [("customerId", id.clone()), ("unassignedCustomerId", id), ("unassignedCustomerName", title)];
    push(write, MessageType::EntityUnassigned, of, (None, &more));
    Ok(())
}

/// The chain of an end is told of a relation, or, without one, that all it had are gone.
pub(in crate::app) fn related(write: &mut Write, kind: MessageType, (tenant, end): (Uuid, End), relation: Option<&Relation>) {
    let data = relation.map_or_else(|| json!({}), json_of_relation).to_string();
    let metadata = who(write);
    write.announce(Announcement { tenant, of: end, kind, chain: None, metadata, data });
}

fn push(write: &mut Write, kind: MessageType, of: Of<'_>, (chain, more): (Option<Uuid>, &[(&str, String)])) {
    let mut metadata = who(write);
    let customer = of.customer().map(|customer| ("customerId", customer.to_string()));
    let named = [("entityName", of.name()), ("entityType", of.end().kind.name().to_owned())];
    let all = named.into_iter().chain(customer).chain(more.iter().map(|(name, value)| (*name, value.clone())));
    metadata.extend(all.map(|(name, value)| (name.to_owned(), value)));
    let data = json_of(of).to_string();
    write.announce(Announcement { tenant: of.tenant(), of: of.end(), kind, chain, metadata, data });
}

/// Who did it, if it was a person.
fn who(write: &Write) -> BTreeMap<String, String> {
    let author = write.author();
    let Some(user) = author.user else { return BTreeMap::new() };
    let said = [("userId", user.to_string()), ("userName", author.name.clone()), ("userEmail", author.name.clone())];
    said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn id(kind: EntityKind, id: Uuid) -> Value {
    json!({"entityType": kind.name(), "id": id})
}

/// As REST shows it.
fn json_of(of: Of<'_>) -> Value {
    match of {
        Of::Device(device) => json_of_device(device),
        Of::Asset(asset) => json_of_asset(asset),
        Of::Customer(customer) => json_of_customer(customer),
    }
}

fn json_of_device(device: &Device) -> Value {
    let package = |of: Option<Uuid>| of.map(|of| json!({"entityType": "OTA_PACKAGE", "id": of}));
    json!({
        "id": id(EntityKind::Device, device.id),
        "createdTime": device.created_ms,
        "tenantId": id(EntityKind::Tenant, device.tenant),
        "customerId": id(EntityKind::Customer, device.customer.unwrap_or(NULL_UUID)),
        "name": device.name,
        "type": device.kind,
        "label": device.label,
        "deviceProfileId": id(EntityKind::DeviceProfile, device.profile),
        "deviceData": {"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}},
        "firmwareId": package(device.firmware),
        "softwareId": package(device.software),
        "externalId": null,
        "version": device.version,
        "additionalInfo": short(&device.additional_info),
    })
}

fn json_of_asset(asset: &Asset) -> Value {
    json!({
        "id": id(EntityKind::Asset, asset.id),
        "createdTime": asset.created_ms,
        "tenantId": id(EntityKind::Tenant, asset.tenant),
        "customerId": id(EntityKind::Customer, asset.customer.unwrap_or(NULL_UUID)),
        "name": asset.name,
        "type": asset.kind,
        "label": asset.label,
        "assetProfileId": id(EntityKind::AssetProfile, asset.profile),
        "externalId": null,
        "version": asset.version,
        "additionalInfo": short(&asset.additional_info),
    })
}

fn json_of_customer(customer: &Customer) -> Value {
    let Contact { country, state, city, address, address2, zip, phone, email } = &customer.contact;
    json!({
        "id": id(EntityKind::Customer, customer.id),
        "createdTime": customer.created_ms,
        "tenantId": id(EntityKind::Tenant, customer.tenant),
        "title": customer.title,
        "name": customer.title,
        "country": country,
        "state": state,
        "city": city,
        "address": address,
        "address2": address2,
        "zip": zip,
        "phone": phone,
        "email": email,
        "externalId": null,
        "version": customer.version,
        "additionalInfo": short(&customer.additional_info),
    })
}

/// As REST shows it.
fn json_of_relation(relation: &Relation) -> Value {
    let Relation { arrow, version, additional_info, .. } = relation;
    json!({
        "from": id(arrow.from.kind, arrow.from.id),
        "to": id(arrow.to.kind, arrow.to.id),
        "type": arrow.kind,
        "typeGroup": arrow.group.name(),
        "version": version,
        "additionalInfo": short(additional_info),
    })
}

fn short(additional_info: &Value) -> Option<&Value> {
    Some(additional_info).filter(|info| info.is_null() || info.to_string().len() <= ADDITIONAL_BYTES_MAX)
}
