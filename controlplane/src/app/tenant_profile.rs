//! Tenant profiles: made and changed by system administrators; a tenant administrator reads the one of its tenant. A changed
//! profile binds the devices of its tenants as soon as the data planes have it.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit, same_version},
    clock,
    domain::{Authority, EntityKind, Page, PageLink, TenantProfile, TenantProfileDraft, TransportLimits},
    entity::{audit::Action, tenant, tenant_profile},
    error::Error,
};

impl App {
    /// Creates or replaces a tenant profile.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Conflict`].
    pub async fn save_tenant_profile(&self, caller: &Caller, draft: TenantProfileDraft) -> Result<Written<TenantProfile>, Error> {
        let draft = draft.checked()?;
        permit(caller, Resource::TenantProfile, if draft.id.is_some() { Operation::Write } else { Operation::Create })?;
        let mut write = self.begin(caller).await?;
        let TenantProfileDraft { id, version, name, description, isolated, profile_data } = draft;
        let saved = match id {
            None => {
                let (id, created_ms, is_default) = (new_id(), clock::now_ms(), false);
                let saved = TenantProfile { id, created_ms, version: 1, name, description, is_default, isolated, profile_data };
                tenant_profile::insert(&mut write, &saved).await?;
                write.audit(Action::Added, EntityKind::TenantProfile, id, None).await?;
                saved
            }
            Some(id) => {
                let stored = tenant_profile::find(write.db(), id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::TenantProfile, id))?;
                same_version(EntityKind::TenantProfile, version, stored.version)?;
                let changed = TransportLimits::of(&stored.profile_data) != TransportLimits::of(&profile_data);
                let saved = TenantProfile { name, description, isolated, profile_data, version: stored.version + 1, ..stored };
                tenant_profile::update(&mut write, &saved, changed).await?;
                write.audit(Action::Updated, EntityKind::TenantProfile, id, None).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], also for a tenant administrator who asks for another than its tenant's.
    pub async fn tenant_profile(&self, caller: &Caller, id: Uuid) -> Result<TenantProfile, Error> {
        permit(caller, Resource::TenantProfile, Operation::Read)?;
        let missing = Error::not_found(EntityKind::TenantProfile, id);
        if caller.authority != Authority::SysAdmin {
            let own = tenant::find(self.reader(), caller.tenant.ok_or(Error::Forbidden)?).await?;
            if own.is_none_or(|own| own.profile != id) {
                return Err(missing);
            }
        }
        tenant_profile::find(self.reader(), id).await?.ok_or(missing)
    }

    /// The profile tenants get when nothing is said.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless the caller is a system administrator.
    pub async fn default_tenant_profile(&self, caller: &Caller) -> Result<TenantProfile, Error> {
        permit(caller, Resource::TenantProfile, Operation::Write)?;
        Ok(tenant_profile::default_one(self.reader()).await?)
    }

    /// Every tenant profile; sorted by `createdTime` or `name`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for an unknown sort property.
    pub async fn tenant_profiles(&self, caller: &Caller, link: &PageLink) -> Result<Page<TenantProfile>, Error> {
        permit(caller, Resource::TenantProfile, Operation::Write)?;
        Ok(tenant_profile::page(self.reader(), link).await?)
    }

    /// Makes this the profile tenants get when nothing is said. Those there are keep theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_default_tenant_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<TenantProfile>, Error> {
        permit(caller, Resource::TenantProfile, Operation::Write)?;
        let mut write = self.begin(caller).await?;
        let stored = tenant_profile::find(write.db(), id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(EntityKind::TenantProfile, id))?;
        let old = tenant_profile::default_one(write.db()).await?;
        if old.id == id {
            return Ok(Written { value: stored, applied: true });
        }
        let old = TenantProfile { is_default: false, version: old.version + 1, ..old };
        tenant_profile::update(&mut write, &old, false).await?;
        let saved = TenantProfile { is_default: true, version: stored.version + 1, ..stored };
        tenant_profile::update(&mut write, &saved, false).await?;
        write.audit(Action::Updated, EntityKind::TenantProfile, id, None).await?;
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for the default profile and for one that tenants have.
    pub async fn delete_tenant_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        permit(caller, Resource::TenantProfile, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        let stored = tenant_profile::find(write.db(), id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(EntityKind::TenantProfile, id))?;
        if stored.is_default {
            return Err(Error::Refused("Deletion of Default Tenant Profile is prohibited!".to_owned()));
        }
        if tenant_profile::tenants(write.db(), id).await? > 0 {
            return Err(Error::Refused("The tenant profile referenced by the tenants cannot be deleted!".to_owned()));
        }
        tenant_profile::delete(&mut write, id).await?;
        write.audit(Action::Deleted, EntityKind::TenantProfile, id, None).await?;
        self.finish(write, ()).await
    }
}
