//! Devices and their credentials.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{App, Written, new_id, package, permit_within, profile, same_version},
    domain::{
        Credential, Device, DeviceDraft, DeviceFilter, DeviceInfo, DeviceProfile, EntityKind, Invalid, Page, PageLink, token,
    },
    entity::{Write, audit::Action, credential, customer, device, profile as profiles},
    error::Error,
    random::random_text,
};

/// Characters of a token that nobody chose, ThingsBoard's length.
pub(super) const TOKEN_CHARS: usize = 20;

impl App {
    /// Creates or replaces a device. A new one gets `access_token`, or one made for it; an existing one keeps its own unless
    /// `access_token` says otherwise. A customer user may create nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`] (name in the tenant, token anywhere), [`Error::NotFound`], [`Error::Conflict`].
    pub async fn save_device(
        &self,
        caller: &Caller,
        draft: DeviceDraft,
        access_token: Option<&str>,
    ) -> Result<Written<Device>, Error> {
        let draft = draft.checked()?;
        let access_token = access_token.map(|text| token("accessToken", text)).transpose()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let scope = permit_within(caller, Resource::Device, operation)?;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => create_device(&mut write, scope.tenant, draft, access_token).await?,
            Some(id) => {
                let saved = replace(&mut write, &scope, id, draft).await?;
                if let Some(text) = access_token {
                    set_token(&mut write, &saved, None, text).await?;
                }
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], also for another tenant's device and for a customer user whose customer it is not assigned to.
    pub async fn device(&self, caller: &Caller, id: Uuid) -> Result<Device, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Read)?;
        found(self.reader(), &scope, id).await
    }

    /// [`App::device`] with the names of its customer and profile.
    ///
    /// # Errors
    /// As [`App::device`].
    pub async fn device_info(&self, caller: &Caller, id: Uuid) -> Result<DeviceInfo, Error> {
        let device = self.device(caller, id).await?;
        let mut infos = device::infos(self.reader(), vec![device]).await?;
        infos.pop().ok_or_else(|| Error::not_found(EntityKind::Device, id))
    }

    /// The device of the caller's tenant with this name, whatever its case.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn device_by_name(&self, caller: &Caller, name: &str) -> Result<Device, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Read)?;
        let found = device::by_name(self.reader(), scope.tenant, name).await?;
        let found = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
        found.ok_or_else(|| Error::Missing(format!("Device with name [{name}] is not found")))
    }

    /// Those of `ids` that the caller can see; at most 1,000 are looked up.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more.
    pub async fn devices_by_ids(&self, caller: &Caller, ids: &[Uuid]) -> Result<Vec<Device>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Read)?;
        if ids.len() > 1_000 {
            return Err(Invalid::new("deviceIds", &ids.len().to_string(), "must be at most 1000 ids").into());
        }
        Ok(device::by_ids(self.reader(), scope.tenant, scope.customer, ids).await?)
    }

    /// Devices of the tenant; a customer user sees its customer's only. Sorted by `createdTime`, `name`, `type` or `label`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn devices(&self, caller: &Caller, filter: DeviceFilter, link: &PageLink) -> Result<Page<DeviceInfo>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Read)?;
        if let Some(own) = scope.customer
            && filter.customer.is_some_and(|asked| asked != own)
        {
            return Err(Error::Forbidden);
        }
        let filter = DeviceFilter { customer: scope.customer.or(filter.customer), ..filter };
        let page = device::page(self.reader(), scope.tenant, &filter, link).await?;
        let Page { data, total_pages, total_elements, has_next } = page;
        let data = device::infos(self.reader(), data).await?;
        Ok(Page { data, total_pages, total_elements, has_next })
    }

    /// Removes the device and its credentials; the data planes close its session and drop what they stored of it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_device(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        found(write.db(), &scope, id).await?;
        credential::delete_of_device(&mut write, id).await?;
        device::delete(&mut write, id).await?;
        write.audit(Action::Deleted, EntityKind::Device, id, Some(scope.tenant)).await?;
        self.finish(write, ()).await
    }

    /// Shows the device to a customer of the tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`] for either.
    pub async fn assign_device(&self, caller: &Caller, id: Uuid, customer: Uuid) -> Result<Written<Device>, Error> {
        self.set_customer(caller, id, Some(customer)).await
    }

    /// Takes the device back from its customer.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when it is not assigned.
    pub async fn unassign_device(&self, caller: &Caller, id: Uuid) -> Result<Written<Device>, Error> {
        self.set_customer(caller, id, None).await
    }

    async fn set_customer(&self, caller: &Caller, id: Uuid, to: Option<Uuid>) -> Result<Written<Device>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Assign)?;
        let mut write = self.begin(caller).await?;
        let stored = found(write.db(), &scope, id).await?;
        match to {
            Some(to) => {
                let known = customer::find(write.db(), scope.tenant, to).await?;
                known.ok_or_else(|| Error::not_found(EntityKind::Customer, to))?;
            }
            None if stored.customer.is_none() => {
                return Err(Error::Refused("Device isn't assigned to any customer!".to_owned()));
            }
            None => {}
        }
        let saved = Device { customer: to, version: stored.version + 1, ..stored };
        device::update(&mut write, &saved).await?;
        let action = if to.is_some() { Action::Assigned } else { Action::Unassigned };
        write.audit(action, EntityKind::Device, id, Some(scope.tenant)).await?;
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`] as [`App::device`].
    pub async fn credential(&self, caller: &Caller, device: Uuid) -> Result<Credential, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::ReadCredentials)?;
        found(self.reader(), &scope, device).await?;
        let stored = credential::of_device(self.reader(), device).await?;
        stored.ok_or_else(|| Error::not_found(EntityKind::Credential, device))
    }

    /// Gives a device another access token; the old one is refused once the data planes have it. `version` is that of the
    /// credentials the client read.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Conflict`].
    pub async fn save_credential(
        &self,
        caller: &Caller,
        device: Uuid,
        text: &str,
        version: Option<i64>,
    ) -> Result<Written<Credential>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::WriteCredentials)?;
        let text = token("credentialsId", text)?;
        let mut write = self.begin(caller).await?;
        let owner = found(write.db(), &scope, device).await?;
        let saved = set_token(&mut write, &owner, version, text).await?;
        self.finish(write, saved).await
    }
}

async fn found(db: &impl sea_orm::ConnectionTrait, scope: &Scope, id: Uuid) -> Result<Device, Error> {
    let found = device::find(db, scope.tenant, id).await?;
    let visible = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
    visible.ok_or_else(|| Error::not_found(EntityKind::Device, id))
}

/// The device with its credentials, in the write under way. Without a token one is made.
pub(super) async fn create_device(
    write: &mut Write,
    tenant: Uuid,
    draft: DeviceDraft,
    access_token: Option<String>,
) -> Result<Device, Error> {
    let profile = choose_profile(write, tenant, &draft).await?;
    let (saved, shown) = new_device(write, tenant, draft, profile, access_token);
    device::insert(write, &saved).await?;
    credential::insert(write, &shown).await?;
    package::assign_to_device(write, None, &saved).await?;
    write.audit(Action::Added, EntityKind::Device, saved.id, Some(tenant)).await?;
    Ok(saved)
}

/// A device that is not stored yet, and its credentials. Without a token one is made.
pub(super) fn new_device(
    write: &Write,
    tenant: Uuid,
    draft: DeviceDraft,
    profile: DeviceProfile,
    access_token: Option<String>,
) -> (Device, Credential) {
    let DeviceDraft { name, label, firmware, software, additional_info, .. } = draft;
    let (id, created_ms) = (new_id(), write.now_ms());
    let token = access_token.unwrap_or_else(|| random_text(TOKEN_CHARS));
    let credential = Credential { id: new_id(), created_ms, version: 1, tenant, device: id, token };
    let (kind, profile) = (profile.name, profile.id);
    let customer = None;
    let made =
        Device { id, created_ms, version: 1, tenant, customer, name, kind, label, profile, firmware, software, additional_info };
    (made, credential)
}

pub(super) async fn replace(write: &mut Write, scope: &Scope, id: Uuid, draft: DeviceDraft) -> Result<Device, Error> {
    let stored = found(write.db(), scope, id).await?;
    same_version(EntityKind::Device, draft.version, stored.version)?;
    let profile = match (&draft.profile, &draft.kind) {
        (None, None) => None,
        _ => Some(choose_profile(write, scope.tenant, &draft).await?),
    };
    let (profile, kind) = match profile {
        Some(chosen) => (chosen.id, chosen.name),
        None => (stored.profile, stored.kind.clone()),
    };
    let DeviceDraft { name, label, firmware, software, additional_info, .. } = draft;
    let version = stored.version + 1;
    let old = stored.clone();
    let saved = Device { version, name, label, firmware, software, additional_info, profile, kind, ..stored };
    device::update(write, &saved).await?;
    package::assign_to_device(write, Some(&old), &saved).await?;
    write.audit(Action::Updated, EntityKind::Device, id, Some(scope.tenant)).await?;
    Ok(saved)
}

/// The profile named by id, else by type (made when it does not exist, as ThingsBoard does), else the default.
pub(super) async fn choose_profile(write: &mut Write, tenant: Uuid, draft: &DeviceDraft) -> Result<DeviceProfile, Error> {
    if let Some(id) = draft.profile {
        let found = profiles::find(write.db(), tenant, id).await?;
        return found.ok_or_else(|| Error::not_found(EntityKind::DeviceProfile, id));
    }
    match &draft.kind {
        None => profile::default_profile(write.db(), tenant).await,
        Some(kind) => match profiles::by_name(write.db(), tenant, kind).await? {
            Some(found) => Ok(found),
            None => profile::create_named(write, tenant, kind).await,
        },
    }
}

pub(super) async fn set_token(
    write: &mut Write,
    owner: &Device,
    version: Option<i64>,
    text: String,
) -> Result<Credential, Error> {
    let stored = credential::of_device(write.db(), owner.id).await?;
    let stored = stored.ok_or_else(|| Error::not_found(EntityKind::Credential, owner.id))?;
    same_version(EntityKind::Credential, version, stored.version)?;
    let saved = Credential { token: text, version: stored.version + 1, ..stored };
    credential::update(write, &saved).await?;
    write.audit(Action::CredentialsUpdated, EntityKind::Device, owner.id, Some(owner.tenant)).await?;
    Ok(saved)
}
