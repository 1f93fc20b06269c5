//! What devices show to be let in: reading it and setting it. A device has one credential; setting it ends the sessions of the
//! one before.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, device::found, permit_within, same_version},
    domain::{Credential, CredentialDraft, Device, EntityKind, Shown},
    entity::{Write, audit::Action, credential, device},
    error::Error,
};

impl App {
    /// # Errors
    /// [`Error::NotFound`] as [`App::device`].
    pub async fn credential(&self, caller: &Caller, device: Uuid) -> Result<Credential, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::ReadCredentials)?;
        found(self.reader(), &scope, device).await?;
        let stored = credential::of_device(self.reader(), device).await?;
        stored.ok_or_else(|| Error::not_found(EntityKind::Credential, device))
    }

    /// Gives a device other credentials; the old ones are refused once the data planes have it. `version` is that of the
    /// credentials the client read. A device that was provisioned may be provisioned again.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Conflict`].
    pub async fn save_credential(
        &self,
        caller: &Caller,
        device: Uuid,
        draft: CredentialDraft,
        version: Option<i64>,
    ) -> Result<Written<Credential>, Error> {
        let scope = permit_within(caller, Resource::Device, Operation::WriteCredentials)?;
        let mut write = self.begin(caller).await?;
        let owner = found(write.db(), &scope, device).await?;
        let saved = self.set_credential(&mut write, &owner, version, draft).await?;
        if owner.provisioned {
            device::update(&mut write, &Device { provisioned: false, version: owner.version + 1, ..owner }).await?;
        }
        self.finish(write, saved).await
    }

    /// What is to be kept of credentials that a new device will show.
    pub(super) fn kept(&self, draft: CredentialDraft) -> Result<Shown, Error> {
        Ok(draft.kept(self.store.credential_key(), None)?)
    }

    pub(super) async fn set_credential(
        &self,
        write: &mut Write,
        owner: &Device,
        version: Option<i64>,
        draft: CredentialDraft,
    ) -> Result<Credential, Error> {
        let stored = credential::of_device(write.db(), owner.id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(EntityKind::Credential, owner.id))?;
        same_version(EntityKind::Credential, version, stored.version)?;
        let shown = draft.kept(self.store.credential_key(), Some(&stored.shown))?;
        replace(write, owner, stored, shown).await
    }
}

pub(super) async fn replace(write: &mut Write, owner: &Device, stored: Credential, shown: Shown) -> Result<Credential, Error> {
    let saved = Credential { shown, version: stored.version + 1, ..stored };
    credential::update(write, &saved).await?;
    write.audit(Action::CredentialsUpdated, EntityKind::Device, owner.id, Some(owner.tenant)).await?;
    Ok(saved)
}
