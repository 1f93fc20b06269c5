//! Devices: made, changed, found, listed, removed, and shown to customers.

use schemas::chain::MessageType;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{
        App, Written,
        announcing::{self, Of},
        customer as customers, new_id, package, permit_within, profile, quota, same_version,
    },
    domain::{
        Credential, CredentialDraft, Customer, Device, DeviceDraft, DeviceFilter, DeviceInfo, DeviceProfile, EntityKind, Invalid,
        Page, PageLink, Shown,
    },
    entity::{Write, audit::Action, claim, credential, customer, device, profile as profiles},
    error::Error,
    random::random_text,
};

/// Characters of a token that nobody chose, ThingsBoard's length.
pub(super) const TOKEN_CHARS: usize = 20;

impl App {
    /// Creates or replaces a device. A new one gets `credentials`, or an access token made for it; an existing one keeps its own
    /// unless `credentials` say otherwise. A customer user may create nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`] (name in the tenant, credentials anywhere), [`Error::NotFound`],
    /// [`Error::Conflict`], [`Error::LimitReached`].
    pub async fn save_device(
        &self,
        caller: &Caller,
        draft: DeviceDraft,
        credentials: Option<CredentialDraft>,
    ) -> Result<Written<Device>, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let scope = permit_within(caller, Resource::Device, operation)?;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => {
                let shown = credentials.map(|credentials| self.kept(credentials)).transpose()?;
                create_device(&mut write, scope.tenant, draft, shown).await?
            }
            Some(id) => {
                let saved = replace(&mut write, &scope, id, draft).await?;
                if let Some(credentials) = credentials {
                    self.set_credential(&mut write, &saved, None, credentials).await?;
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
        let gone = found(write.db(), &scope, id).await?;
        announcing::deleted(&mut write, Of::Device(&gone)).await?;
        // While its name can still be read.
        write.audit(Action::Deleted, EntityKind::Device, id, Some(scope.tenant)).await?;
        claim::delete(&mut write, id).await?;
        credential::delete_of_device(&mut write, id).await?;
        device::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }

    /// Shows the device to a customer of the tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`] for either.
    pub async fn assign_device(&self, caller: &Caller, id: Uuid, customer: Uuid) -> Result<Written<Device>, Error> {
        self.set_customer(caller, id, To::Customer(customer)).await
    }

    /// Shows the device to everybody: assigns it to the tenant's public customer.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn publish_device(&self, caller: &Caller, id: Uuid) -> Result<Written<Device>, Error> {
        self.set_customer(caller, id, To::Everybody).await
    }

    /// Takes the device back from its customer.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when it is not assigned.
    pub async fn unassign_device(&self, caller: &Caller, id: Uuid) -> Result<Written<Device>, Error> {
        self.set_customer(caller, id, To::Nobody).await
    }

    async fn set_customer(&self, caller: &Caller, id: Uuid, to: To) -> Result<Written<Device>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::Assign)?;
        let mut write = self.begin(caller).await?;
        let stored = found(write.db(), &scope, id).await?;
        let to = match to {
            To::Customer(to) => {
                let known = customer::find(write.db(), scope.tenant, to).await?;
                Some(known.ok_or_else(|| Error::not_found(EntityKind::Customer, to))?)
            }
            To::Everybody => Some(customers::public(&mut write, scope.tenant).await?),
            To::Nobody if stored.customer.is_none() => {
                return Err(Error::Refused("Device isn't assigned to any customer!".to_owned()));
            }
            To::Nobody => None,
        };
        let saved = show(&mut write, stored, to.as_ref()).await?;
        self.finish(write, saved).await
    }
}

/// Shows a device to a customer of its tenant, or to nobody else.
pub(super) async fn show(write: &mut Write, stored: Device, to: Option<&Customer>) -> Result<Device, Error> {
    let before = stored.customer;
    let saved = Device { customer: to.map(|to| to.id), version: stored.version + 1, ..stored };
    device::update(write, &saved).await?;
    announcing::shown(write, Of::Device(&saved), before, to).await?;
    let action = if to.is_some() { Action::Assigned } else { Action::Unassigned };
    write.audit(action, EntityKind::Device, saved.id, Some(saved.tenant)).await?;
    Ok(saved)
}

/// Whom a device is to be shown.
enum To {
    Customer(Uuid),
    Everybody,
    Nobody,
}

pub(super) async fn found(db: &impl sea_orm::ConnectionTrait, scope: &Scope, id: Uuid) -> Result<Device, Error> {
    let found = device::find(db, scope.tenant, id).await?;
    let visible = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
    visible.ok_or_else(|| Error::not_found(EntityKind::Device, id))
}

/// The device with its credentials, in the write under way. Without any a token is made.
pub(super) async fn create_device(
    write: &mut Write,
    tenant: Uuid,
    draft: DeviceDraft,
    shown: Option<Shown>,
) -> Result<Device, Error> {
    let profile = choose_profile(write, tenant, &draft).await?;
    let (saved, credential) = new_device(write, tenant, draft, profile, shown);
    insert(write, &saved, &credential, &[]).await?;
    Ok(saved)
}

/// Stores a new device and its credentials, if its tenant may have another, and has it told of its packages. `said` is told beside it to
/// its chain.
pub(super) async fn insert(write: &mut Write, made: &Device, shown: &Credential, said: &[(&str, String)]) -> Result<(), Error> {
    quota::admit(write, made.tenant, EntityKind::Device).await?;
    device::insert(write, made).await?;
    credential::insert(write, shown).await?;
    package::assign_to_device(write, None, made).await?;
    announcing::announce(write, MessageType::EntityCreated, Of::Device(made), said);
    Ok(write.audit(Action::Added, EntityKind::Device, made.id, Some(made.tenant)).await?)
}

/// A device that is not stored yet, and its credentials. Without any a token is made.
pub(super) fn new_device(
    write: &Write,
    tenant: Uuid,
    draft: DeviceDraft,
    profile: DeviceProfile,
    shown: Option<Shown>,
) -> (Device, Credential) {
    let DeviceDraft { name, label, firmware, software, additional_info, .. } = draft;
    let (id, created_ms, version) = (new_id(), write.now_ms(), 1);
    let shown = shown.unwrap_or_else(|| Shown::Token(random_text(TOKEN_CHARS)));
    let credential = Credential { id: new_id(), created_ms, version, tenant, device: id, shown };
    let made = Device {
        id,
        created_ms,
        version,
        tenant,
        customer: None,
        name,
        kind: profile.name,
        label,
        profile: profile.id,
        provisioned: false,
        firmware,
        software,
        additional_info,
    };
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
    announcing::announce(write, MessageType::EntityUpdated, Of::Device(&saved), &[]);
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
