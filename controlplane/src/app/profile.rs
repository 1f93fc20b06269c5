//! Device profiles of the caller's tenant.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, package, permit_within, same_version},
    clock,
    domain::{DEFAULT_TRANSPORT, DeviceProfile, EntityKind, Page, PageLink, ProfileDraft},
    entity::{Write, audit::Action, chain, package as packages, profile},
    error::Error,
    random::random_text,
};

/// ThingsBoard's name of the profile every tenant has.
const DEFAULT_NAME: &str = "default";
/// Characters of a provisioning key or secret that nobody chose.
const SECRET_CHARS: usize = 20;

impl App {
    /// Creates or replaces a profile. Renaming one renames the `type` of its devices. One that lets devices in by a secret gets
    /// key and secret where it says none.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::Conflict`], [`Error::NotFound`] (also for a rule chain that is not
    /// there).
    pub async fn save_profile(&self, caller: &Caller, draft: ProfileDraft) -> Result<Written<DeviceProfile>, Error> {
        let mut draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::DeviceProfile, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        if let Some(id) = draft.chain {
            chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        }
        let saved = match draft.id {
            None => {
                draft.give_secret(None, || random_text(SECRET_CHARS));
                let saved = made(draft, tenant, new_id(), clock::now_ms());
                profile::insert(&mut write, &saved).await?;
                package::assign_to_profile(&mut write, None, &saved).await?;
                write.audit(Action::Added, EntityKind::DeviceProfile, saved.id, Some(tenant)).await?;
                saved
            }
            Some(id) => {
                let stored = profile::find(write.db(), tenant, id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id))?;
                same_version(EntityKind::DeviceProfile, draft.version, stored.version)?;
                draft.give_secret(Some(&stored), || random_text(SECRET_CHARS));
                let renamed = stored.name != draft.name;
                let made = made(draft, tenant, id, stored.created_ms);
                let saved = DeviceProfile { version: stored.version + 1, is_default: stored.is_default, ..made };
                profile::update(&mut write, &saved, renamed).await?;
                package::assign_to_profile(&mut write, Some(&stored), &saved).await?;
                write.audit(Action::Updated, EntityKind::DeviceProfile, id, Some(tenant)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn profile(&self, caller: &Caller, id: Uuid) -> Result<DeviceProfile, Error> {
        let scope = permit_within(caller, Resource::DeviceProfile, Operation::Read)?;
        let found = profile::find(self.reader(), scope.tenant, id).await?;
        found.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id))
    }

    /// The profile devices of the tenant get when nothing is said.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn default_profile(&self, caller: &Caller) -> Result<DeviceProfile, Error> {
        let scope = permit_within(caller, Resource::DeviceProfile, Operation::Read)?;
        default_profile(self.reader(), scope.tenant).await
    }

    /// The tenant's profiles, or only those of one `transport`; sorted by `createdTime`, `name`, `transportType` or `description`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn profiles(
        &self,
        caller: &Caller,
        transport: Option<&str>,
        link: &PageLink,
    ) -> Result<Page<DeviceProfile>, Error> {
        let scope = permit_within(caller, Resource::DeviceProfile, Operation::Read)?;
        Ok(profile::page(self.reader(), scope.tenant, transport, link).await?)
    }

    /// The ids and names of the tenant's profiles, in the order of their names; with `in_use` only of those devices have.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn profile_names(&self, caller: &Caller, in_use: bool) -> Result<Vec<(Uuid, String)>, Error> {
        let scope = permit_within(caller, Resource::DeviceProfile, Operation::Read)?;
        Ok(profile::listed(self.reader(), scope.tenant, in_use).await?)
    }

    /// Makes this the profile devices get when nothing is said.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_default_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<DeviceProfile>, Error> {
        let tenant = permit_within(caller, Resource::DeviceProfile, Operation::Write)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = profile::find(write.db(), tenant, id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id))?;
        let old = default_profile(write.db(), tenant).await?;
        if old.id == id {
            return Ok(Written { value: stored, applied: true });
        }
        let old = DeviceProfile { is_default: false, version: old.version + 1, ..old };
        profile::update(&mut write, &old, false).await?;
        let saved = DeviceProfile { is_default: true, version: stored.version + 1, ..stored };
        profile::update(&mut write, &saved, false).await?;
        write.audit(Action::Updated, EntityKind::DeviceProfile, id, Some(tenant)).await?;
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for the default profile and for one that devices have.
    pub async fn delete_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::DeviceProfile, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = profile::find(write.db(), tenant, id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id))?;
        if stored.is_default {
            return Err(Error::Refused("Deletion of Default Device Profile is prohibited!".to_owned()));
        }
        if profile::devices(write.db(), id).await? > 0 {
            return Err(Error::Refused("The device profile referenced by the devices cannot be deleted!".to_owned()));
        }
        if packages::of_profile(write.db(), id).await? > 0 {
            return Err(Error::Refused("The device profile referenced by the OTA packages cannot be deleted!".to_owned()));
        }
        write.audit(Action::Deleted, EntityKind::DeviceProfile, id, Some(tenant)).await?;
        profile::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }
}

pub(super) async fn default_profile(db: &impl ConnectionTrait, tenant: Uuid) -> Result<DeviceProfile, Error> {
    let found = profile::default_of(db, tenant).await?;
    found.ok_or_else(|| Error::Internal(format!("tenant {tenant} has no default device profile")))
}

/// The default profile of a new tenant.
pub(super) async fn create_default(write: &mut Write, tenant: Uuid) -> Result<DeviceProfile, Error> {
    let draft = ProfileDraft {
        name: DEFAULT_NAME.to_owned(),
        description: Some("Default device profile".to_owned()),
        ..ProfileDraft::default()
    };
    let saved = DeviceProfile { is_default: true, ..made(draft, tenant, new_id(), clock::now_ms()) };
    profile::insert(write, &saved).await?;
    Ok(saved)
}

/// A profile that a device named by its type.
pub(super) async fn create_named(write: &mut Write, tenant: Uuid, name: &str) -> Result<DeviceProfile, Error> {
    let draft = ProfileDraft { name: name.to_owned(), ..ProfileDraft::default() };
    let saved = made(draft, tenant, new_id(), clock::now_ms());
    profile::insert(write, &saved).await?;
    write.audit(Action::Added, EntityKind::DeviceProfile, saved.id, Some(tenant)).await?;
    Ok(saved)
}

fn made(draft: ProfileDraft, tenant: Uuid, id: Uuid, created_ms: i64) -> DeviceProfile {
    DeviceProfile {
        id,
        created_ms,
        version: 1,
        tenant,
        is_default: false,
        provision: draft.provision_type(),
        name: draft.name,
        description: draft.description,
        image: draft.image,
        chain: draft.chain,
        transport: draft.transport.unwrap_or_else(|| DEFAULT_TRANSPORT.to_owned()),
        provision_key: draft.provision_key,
        queue: draft.queue,
        dashboard: draft.dashboard,
        edge_chain: draft.edge_chain,
        firmware: draft.firmware,
        software: draft.software,
        profile_data: draft.profile_data,
    }
}
