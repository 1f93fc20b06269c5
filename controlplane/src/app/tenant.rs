//! Tenants: made, changed and removed by system administrators, read by their own administrators.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit, same_version},
    clock,
    domain::{Authority, EntityKind, Page, PageLink, Tenant, TenantDraft},
    entity::{Write, audit::Action, cascade, package, tenant, tenant_profile},
    error::Error,
};

impl App {
    /// Creates (with its default profile and root chain) or replaces a tenant.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`] (also for a tenant profile), [`Error::Conflict`].
    pub async fn save_tenant(&self, caller: &Caller, draft: TenantDraft) -> Result<Written<Tenant>, Error> {
        let draft = draft.checked()?;
        permit(caller, Resource::Tenant, if draft.id.is_some() { Operation::Write } else { Operation::Create })?;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => create_tenant(&mut write, draft).await?,
            Some(id) => {
                let stored = tenant::find(write.db(), id).await?.ok_or_else(|| Error::not_found(EntityKind::Tenant, id))?;
                same_version(EntityKind::Tenant, draft.version, stored.version)?;
                let profile = choose_profile(&write, draft.profile.or(Some(stored.profile))).await?;
                let saved = made(draft, profile, (id, stored.created_ms, stored.version + 1));
                tenant::update(&mut write, &saved).await?;
                write.audit(Action::Updated, EntityKind::Tenant, id, Some(id)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], also for a tenant administrator who asks for another tenant.
    pub async fn tenant(&self, caller: &Caller, id: Uuid) -> Result<Tenant, Error> {
        permit(caller, Resource::Tenant, Operation::Read)?;
        let missing = Error::not_found(EntityKind::Tenant, id);
        if caller.authority != Authority::SysAdmin && caller.tenant != Some(id) {
            return Err(missing);
        }
        tenant::find(self.reader(), id).await?.ok_or(missing)
    }

    /// Every tenant; sorted by `createdTime` or `title`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for an unknown sort property.
    pub async fn tenants(&self, caller: &Caller, link: &PageLink) -> Result<Page<Tenant>, Error> {
        permit(caller, Resource::Tenant, Operation::Read)?;
        if caller.authority != Authority::SysAdmin {
            return Err(Error::Forbidden);
        }
        Ok(tenant::page(self.reader(), link).await?)
    }

    /// The names of the profiles these tenants have.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless the caller is a system administrator.
    pub async fn tenant_profile_names(&self, caller: &Caller, tenants: &[Tenant]) -> Result<HashMap<Uuid, String>, Error> {
        permit(caller, Resource::TenantProfile, Operation::Write)?;
        let profiles = tenant_profile::by_ids(self.reader(), tenants.iter().map(|tenant| tenant.profile).collect()).await?;
        Ok(profiles.into_iter().map(|profile| (profile.id, profile.name)).collect())
    }

    /// Removes the tenant and everything of it; each device, credential, profile and chain gets its own change.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_tenant(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        permit(caller, Resource::Tenant, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        tenant::find(write.db(), id).await?.ok_or_else(|| Error::not_found(EntityKind::Tenant, id))?;
        write.audit(Action::Deleted, EntityKind::Tenant, id, Some(id)).await?;
        let packages = package::stored_ids(write.db(), Some(id)).await?;
        cascade::delete_tenant(&mut write, id).await?;
        let written = self.finish(write, ()).await?;
        self.remove_package_files(packages).await;
        Ok(written)
    }
}

/// A tenant never exists without its default profile and root chain.
pub(super) async fn create_tenant(write: &mut Write, draft: TenantDraft) -> Result<Tenant, Error> {
    let profile = choose_profile(write, draft.profile).await?;
    let saved = made(draft, profile, (new_id(), clock::now_ms(), 1));
    tenant::insert(write, &saved).await?;
    write.audit(Action::Added, EntityKind::Tenant, saved.id, Some(saved.id)).await?;
    super::chain::create_root(write, saved.id).await?;
    super::profile::create_default(write, saved.id).await?;
    super::asset_profile::create_default(write, saved.id).await?;
    Ok(saved)
}

async fn choose_profile(write: &Write, asked: Option<Uuid>) -> Result<Uuid, Error> {
    match asked {
        None => Ok(tenant_profile::default_one(write.db()).await?.id),
        Some(id) => {
            let found = tenant_profile::find(write.db(), id).await?;
            found.map(|found| found.id).ok_or_else(|| Error::not_found(EntityKind::TenantProfile, id))
        }
    }
}

fn made(draft: TenantDraft, profile: Uuid, (id, created_ms, version): (Uuid, i64, i64)) -> Tenant {
    let TenantDraft { title, region, contact, additional_info, .. } = draft;
    Tenant { id, created_ms, version, title, region, profile, contact, additional_info }
}
