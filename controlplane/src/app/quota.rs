//! How many entities a tenant may have, by its tenant profile. Counted inside the write that makes one, so that two writes
//! cannot both be the last.

use uuid::Uuid;

use crate::{
    domain::{EntityKind, TenantProfile},
    entity::{Write, asset, chain, customer, device, tenant, tenant_profile, user},
    error::Error,
};

/// How many more of a kind the tenant may have; `None` = as many as it likes.
pub(super) async fn room(write: &Write, tenant: Uuid, kind: EntityKind) -> Result<Option<u64>, Error> {
    let Some(most) = profile(write, tenant).await?.and_then(|profile| profile.most(kind)) else { return Ok(None) };
    let count = match kind {
        EntityKind::Device => device::count(write.db(), tenant).await?,
        EntityKind::Asset => asset::count(write.db(), tenant).await?,
        EntityKind::Customer => customer::count(write.db(), tenant).await?,
        EntityKind::User => user::count(write.db(), tenant).await?,
        EntityKind::RuleChain => chain::count(write.db(), tenant).await?,
        _ => return Ok(None),
    };
    Ok(Some(most.saturating_sub(count)))
}

async fn profile(write: &Write, tenant: Uuid) -> Result<Option<TenantProfile>, Error> {
    let stored = tenant::find(write.db(), tenant).await?.ok_or_else(|| Error::not_found(EntityKind::Tenant, tenant))?;
    Ok(tenant_profile::find(write.db(), stored.profile).await?)
}

/// For how many minutes the tenant's rule nodes may show all their messages.
pub(super) async fn debug_minutes(write: &Write, tenant: Uuid) -> Result<u64, Error> {
    Ok(profile(write, tenant).await?.map_or(0, |profile| profile.debug_minutes_max()))
}

/// # Errors
/// [`Error::LimitReached`] when the tenant may have no other of this kind.
pub(super) async fn admit(write: &Write, tenant: Uuid, kind: EntityKind) -> Result<(), Error> {
    match room(write, tenant, kind).await? {
        Some(0) => Err(Error::LimitReached(kind)),
        _ => Ok(()),
    }
}
