//! What entities of any kind are called, as far as a tenant, or one of its customers, may see them. Never says what they are.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{StoreError, asset, asset_profile, chain, customer, device, profile, tenant, user},
};

/// Ids in one query: keeps the bound variables far below SQLite's 32,766.
const IDS_PER_QUERY_MAX: usize = 1_000;

macro_rules! names {
    ($db:expr, $table:ident, $name:ident, $seen:expr, $ids:expr) => {{
        let select = $table::Entity::find().select_only().column($table::Column::Id).column($table::Column::$name);
        let select = select.filter($table::Column::Id.is_in($ids.iter().copied())).filter($seen);
        select.into_tuple::<(Uuid, String)>().all($db).await?
    }};
}

/// The names of those of `ids` that a tenant has; with a customer, of those its users see.
///
/// # Errors
/// [`StoreError`].
pub async fn names(
    db: &impl ConnectionTrait,
    (of_tenant, of_customer): (Uuid, Option<Uuid>),
    kind: EntityKind,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, String>, StoreError> {
    let mut found = HashMap::new();
    let within = |tenant: sea_orm::sea_query::SimpleExpr, customer: Option<sea_orm::sea_query::SimpleExpr>| {
        Condition::all().add(tenant).add_option(customer)
    };
    for ids in ids.chunks(IDS_PER_QUERY_MAX) {
        let rows = match (kind, of_customer) {
            (EntityKind::Device, own) => {
                let own = own.map(|own| device::Column::CustomerId.eq(own));
                names!(db, device, Name, within(device::Column::TenantId.eq(of_tenant), own), ids)
            }
            (EntityKind::Asset, own) => {
                let own = own.map(|own| asset::Column::CustomerId.eq(own));
                names!(db, asset, Name, within(asset::Column::TenantId.eq(of_tenant), own), ids)
            }
            (EntityKind::Customer, own) => {
                let own = own.map(|own| customer::Column::Id.eq(own));
                names!(db, customer, Title, within(customer::Column::TenantId.eq(of_tenant), own), ids)
            }
            (EntityKind::User, own) => {
                let own = own.map(|own| user::Column::CustomerId.eq(own));
                names!(db, user, Email, within(user::Column::TenantId.eq(of_tenant), own), ids)
            }
            (EntityKind::DeviceProfile, _) => names!(db, profile, Name, profile::Column::TenantId.eq(of_tenant), ids),
            (EntityKind::AssetProfile, _) => names!(db, asset_profile, Name, asset_profile::Column::TenantId.eq(of_tenant), ids),
            (EntityKind::Tenant, None) => names!(db, tenant, Title, tenant::Column::Id.eq(of_tenant), ids),
            (EntityKind::RuleChain, None) => names!(db, chain, Name, chain::Column::TenantId.eq(of_tenant), ids),
            _ => Vec::new(),
        };
        found.extend(rows);
    }
    Ok(found)
}
