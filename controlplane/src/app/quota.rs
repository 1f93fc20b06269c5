//! How many entities a tenant may have, by its tenant profile. Counted inside the write that makes one, so that two writes
//! cannot both be the last.

use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{Write, asset, chain, customer, device, tenant, tenant_profile, user},
    error::Error,
};

/// How many more of a kind the tenant may have; `None` = as many as it likes.
pub(super) async fn room(write: &Write, tenant: Uuid, kind: EntityKind) -> Result<Option<u64>, Error> {
    let Some(stored) = tenant::find(write.db(), tenant).await? else { return Err(Error::not_found(EntityKind::Tenant, tenant)) };
    let profile = tenant_profile::find(write.db(), stored.profile).await?;
    let Some(most) = profile.and_then(|profile| profile.most(kind)) else { return Ok(None) };
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

/// # Errors
/// [`Error::LimitReached`] when the tenant may have no other of this kind.
pub(super) async fn admit(write: &Write, tenant: Uuid, kind: EntityKind) -> Result<(), Error> {
    match room(write, tenant, kind).await? {
        Some(0) => Err(Error::LimitReached(kind)),
        _ => Ok(()),
    }
}
