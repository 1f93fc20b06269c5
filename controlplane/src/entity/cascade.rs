//! Removing what has others hanging on it: a tenant with everything of it, a customer with its users. Each row that a data
//! plane knows gets its own change, leaves before roots.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr, sea_query::ExprTrait};
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{
        StoreError, Write, alarm, announcement, asset, asset_profile, calculated, call, chain, claim, credential, customer,
        device, package, profile, relation, rollout, tenant, user,
    },
};

/// Removes the rows of one table that belong to the tenant, with their changes.
macro_rules! delete_rows {
    ($write:expr, $kind:expr, $table:ident, $tenant:expr) => {{
        let ids: Vec<Uuid> = $table::Entity::find()
            .select_only()
            .column($table::Column::Id)
            .filter($table::Column::TenantId.eq($tenant))
            .into_tuple()
            .all($write.db())
            .await?;
        $write.changed_all($kind, &ids, true).await?;
        $table::Entity::delete_many().filter($table::Column::TenantId.eq($tenant)).exec($write.db()).await?;
    }};
}

/// Takes the rows of one table back from a customer, with their changes.
macro_rules! unassign {
    ($write:expr, $kind:expr, $table:ident, $tenant:expr, $customer:expr) => {{
        let assigned = $table::Column::TenantId.eq($tenant).and($table::Column::CustomerId.eq($customer));
        let ids: Vec<Uuid> = $table::Entity::find()
            .select_only()
            .column($table::Column::Id)
            .filter(assigned.clone())
            .into_tuple()
            .all($write.db())
            .await?;
        let revision = $write.changed_all($kind, &ids, false).await?;
        $table::Entity::update_many()
            .col_expr($table::Column::CustomerId, Expr::value(Option::<Uuid>::None))
            .col_expr($table::Column::Version, Expr::col($table::Column::Version).add(1_i64))
            .col_expr($table::Column::Revision, Expr::value(revision))
            .filter(assigned)
            .exec($write.db())
            .await?;
    }};
}

/// The tenant must exist.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_tenant(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    claim::Entity::delete_many().filter(claim::Column::TenantId.eq(id)).exec(write.db()).await?;
    call::Entity::delete_many().filter(call::Column::TenantId.eq(id)).exec(write.db()).await?;
    alarm::delete_of_tenant(write, id).await?;
    announcement::delete_of_tenant(write, id).await?;
    rollout::Entity::delete_many().filter(rollout::Column::TenantId.eq(id)).exec(write.db()).await?;
    rollout::profiles::Entity::delete_many().filter(rollout::profiles::Column::TenantId.eq(id)).exec(write.db()).await?;
    package::Entity::delete_many().filter(package::Column::TenantId.eq(id)).exec(write.db()).await?;
    relation::delete_of_tenant(write, id).await?;
    delete_rows!(write, EntityKind::Asset, asset, id);
    asset_profile::Entity::delete_many().filter(asset_profile::Column::TenantId.eq(id)).exec(write.db()).await?;
    delete_rows!(write, EntityKind::Credential, credential, id);
    delete_rows!(write, EntityKind::CalculatedField, calculated, id);
    delete_rows!(write, EntityKind::Device, device, id);
    delete_rows!(write, EntityKind::DeviceProfile, profile, id);
    delete_rows!(write, EntityKind::RuleChain, chain, id);
    user::Entity::delete_many().filter(user::Column::TenantId.eq(id)).exec(write.db()).await?;
    delete_rows!(write, EntityKind::Customer, customer, id);
    write.changed(EntityKind::Tenant, id, true).await?;
    tenant::Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// The customer must exist in this tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_customer(write: &mut Write, tenant: Uuid, id: Uuid) -> Result<(), StoreError> {
    unassign!(write, EntityKind::Device, device, tenant, id);
    unassign!(write, EntityKind::Asset, asset, tenant, id);
    alarm::delete_of_originator(write, id).await?;
    relation::delete_of(write, EntityKind::Customer, id).await?;
    let users = user::Entity::find().select_only().column(user::Column::Id).filter(user::Column::CustomerId.eq(id));
    for user in users.into_tuple::<Uuid>().all(write.db()).await? {
        user::delete(write, user).await?;
    }
    write.changed(EntityKind::Customer, id, true).await?;
    customer::Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}
