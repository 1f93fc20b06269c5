//! What the audit log says of an entity: its name, its customer and the facts of its row. Never a secret: neither a password's
//! hash nor what a device shows.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{
        StoreError, asset, asset_profile, audit, chain, customer, device, json as parsed, package, profile, tenant,
        tenant_profile, user,
    },
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subject {
    pub(super) name: Option<String>,
    pub(super) customer: Option<Uuid>,
    pub(super) facts: Value,
}

impl Subject {
    fn new(name: String, customer: Option<Uuid>, facts: Value) -> Self {
        Self { name: Some(name), customer, facts }
    }
}

/// The rows of one table with these ids.
macro_rules! rows {
    ($db:expr, $table:ident, $ids:expr) => {
        $table::Entity::find().filter($table::Column::Id.is_in($ids.iter().copied())).all($db).await?.into_iter()
    };
}

/// Those of `ids` that exist.
pub(super) async fn subjects(
    db: &impl ConnectionTrait,
    kind: EntityKind,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Subject>, StoreError> {
    Ok(match kind {
        EntityKind::Device => rows!(db, device, ids).map(|row| (row.id, of_device(row))).collect(),
        EntityKind::Asset => rows!(db, asset, ids).map(|row| (row.id, of_asset(row))).collect(),
        EntityKind::AssetProfile => rows!(db, asset_profile, ids).map(|row| (row.id, of_asset_profile(row))).collect(),
        EntityKind::DeviceProfile => rows!(db, profile, ids).map(|row| (row.id, of_profile(row))).collect(),
        EntityKind::Customer => rows!(db, customer, ids).map(|row| (row.id, of_customer(row))).collect(),
        EntityKind::User => rows!(db, user, ids).map(|row| (row.id, of_user(row))).collect(),
        EntityKind::Tenant => rows!(db, tenant, ids).map(|row| (row.id, of_tenant(row))).collect(),
        EntityKind::RuleChain => rows!(db, chain, ids).map(|row| (row.id, of_chain(row))).collect(),
        EntityKind::OtaPackage => rows!(db, package, ids).map(|row| (row.id, of_package(row))).collect(),
        EntityKind::TenantProfile => rows!(db, tenant_profile, ids).map(|row| (row.id, of_tenant_profile(row))).collect(),
        EntityKind::Credential | EntityKind::Rpc | EntityKind::Installation | EntityKind::Relation => HashMap::new(),
    })
}

/// What the last line about an entity said: it is gone.
pub(super) async fn remembered(db: &impl ConnectionTrait, id: Uuid) -> Result<Subject, StoreError> {
    let about = audit::Entity::find().filter(audit::Column::EntityId.eq(id)).filter(audit::Column::EntityName.is_not_null());
    let last = about.order_by_desc(audit::Column::CreatedMs).limit(1).one(db).await?;
    Ok(last.map(|row| Subject { name: row.entity_name, customer: row.customer_id, facts: Value::Null }).unwrap_or_default())
}

fn of_device(row: device::Model) -> Subject {
    let facts = json!({
        "name": row.name,
        "type": row.kind,
        "label": row.label,
        "deviceProfileId": row.profile_id,
        "customerId": row.customer_id,
        "firmwareId": row.firmware_id,
        "softwareId": row.software_id,
        "additionalInfo": parsed(&row.additional_info),
        "version": row.version,
    });
    Subject::new(row.name, row.customer_id, facts)
}

fn of_asset(row: asset::Model) -> Subject {
    let facts = json!({
        "name": row.name,
        "type": row.kind,
        "label": row.label,
        "assetProfileId": row.profile_id,
        "customerId": row.customer_id,
        "additionalInfo": parsed(&row.additional_info),
        "version": row.version,
    });
    Subject::new(row.name, row.customer_id, facts)
}

fn of_asset_profile(row: asset_profile::Model) -> Subject {
    let facts = json!({
        "name": row.name,
        "description": row.description,
        "default": row.is_default,
        "defaultRuleChainId": row.chain_id,
        "version": row.version,
    });
    Subject::new(row.name, None, facts)
}

fn of_tenant_profile(row: tenant_profile::Model) -> Subject {
    let facts = json!({ "name": row.name, "version": row.version });
    Subject::new(row.name, None, facts)
}

fn of_profile(row: profile::Model) -> Subject {
    let facts = json!({
        "name": row.name,
        "description": row.description,
        "default": row.is_default,
        "defaultRuleChainId": row.chain_id,
        "firmwareId": row.firmware_id,
        "softwareId": row.software_id,
        "version": row.version,
    });
    Subject::new(row.name, None, facts)
}

fn of_customer(row: customer::Model) -> Subject {
    let facts = json!({"title": row.title, "additionalInfo": parsed(&row.additional_info), "version": row.version});
    Subject::new(row.title, Some(row.id), facts)
}

fn of_user(row: user::Model) -> Subject {
    let facts = json!({
        "email": row.email,
        "authority": row.authority,
        "customerId": row.customer_id,
        "firstName": row.first_name,
        "lastName": row.last_name,
        "phone": row.phone,
        "enabled": row.enabled,
        "version": row.version,
    });
    Subject::new(row.email, row.customer_id, facts)
}

fn of_tenant(row: tenant::Model) -> Subject {
    let facts = json!({"title": row.title, "region": row.region, "version": row.version});
    Subject::new(row.title, None, facts)
}

fn of_chain(row: chain::Model) -> Subject {
    let facts = json!({"name": row.name, "root": row.root, "debugMode": row.debug_mode, "version": row.version});
    Subject::new(row.name, None, facts)
}

fn of_package(row: package::Model) -> Subject {
    let facts = json!({
        "title": row.title,
        "version": row.release,
        "type": row.kind,
        "tag": row.tag,
        "url": row.url,
        "deviceProfileId": row.profile_id,
        "fileName": row.file_name,
        "checksumAlgorithm": row.algorithm,
        "checksum": row.checksum,
        "dataSize": row.bytes,
    });
    Subject::new(format!("{} {}", row.title, row.release), None, facts)
}
