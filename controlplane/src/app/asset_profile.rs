//! Asset profiles of the caller's tenant.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit_within, same_version},
    domain::{AssetProfile, AssetProfileDraft, EntityKind, Page, PageLink},
    entity::{Write, asset_profile, audit::Action, chain},
    error::Error,
};

/// ThingsBoard's name of the profile every tenant has.
const DEFAULT_NAME: &str = "default";

impl App {
    /// Creates or replaces a profile. Renaming one renames the `type` of its assets.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::Conflict`], [`Error::NotFound`] (also for a rule chain that is not
    /// there).
    pub async fn save_asset_profile(&self, caller: &Caller, draft: AssetProfileDraft) -> Result<Written<AssetProfile>, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::AssetProfile, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        if let Some(id) = draft.chain {
            chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        }
        let saved = match draft.id {
            None => {
                let saved = made(&write, draft, tenant);
                asset_profile::insert(&mut write, &saved).await?;
                write.audit(Action::Added, EntityKind::AssetProfile, saved.id, Some(tenant)).await?;
                saved
            }
            Some(id) => {
                let stored = found(write.db(), tenant, id).await?;
                same_version(EntityKind::AssetProfile, draft.version, stored.version)?;
                let AssetProfile { created_ms, is_default, .. } = stored;
                let version = stored.version + 1;
                let saved = AssetProfile { id, created_ms, is_default, version, ..made(&write, draft, tenant) };
                asset_profile::update(&mut write, &stored, &saved).await?;
                write.audit(Action::Updated, EntityKind::AssetProfile, id, Some(tenant)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn asset_profile(&self, caller: &Caller, id: Uuid) -> Result<AssetProfile, Error> {
        let scope = permit_within(caller, Resource::AssetProfile, Operation::Read)?;
        found(self.reader(), scope.tenant, id).await
    }

    /// The profile assets of the tenant get when nothing is said.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn default_asset_profile(&self, caller: &Caller) -> Result<AssetProfile, Error> {
        let scope = permit_within(caller, Resource::AssetProfile, Operation::Read)?;
        default_profile(self.reader(), scope.tenant).await
    }

    /// The tenant's profiles; sorted by `createdTime`, `name` or `description`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn asset_profiles(&self, caller: &Caller, link: &PageLink) -> Result<Page<AssetProfile>, Error> {
        let scope = permit_within(caller, Resource::AssetProfile, Operation::Read)?;
        Ok(asset_profile::page(self.reader(), scope.tenant, link).await?)
    }

    /// The ids and names of the tenant's profiles, in the order of their names; with `in_use` only of those assets have.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn asset_profile_names(&self, caller: &Caller, in_use: bool) -> Result<Vec<(Uuid, String)>, Error> {
        let scope = permit_within(caller, Resource::AssetProfile, Operation::Read)?;
        Ok(asset_profile::listed(self.reader(), scope.tenant, in_use).await?)
    }

    /// Makes this the profile assets get when nothing is said.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_default_asset_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<AssetProfile>, Error> {
        let tenant = permit_within(caller, Resource::AssetProfile, Operation::Write)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = found(write.db(), tenant, id).await?;
        let old = default_profile(write.db(), tenant).await?;
        if old.id == id {
            return Ok(Written { value: stored, applied: true });
        }
        let past = AssetProfile { is_default: false, version: old.version + 1, ..old.clone() };
        asset_profile::update(&mut write, &old, &past).await?;
        let saved = AssetProfile { is_default: true, version: stored.version + 1, ..stored.clone() };
        asset_profile::update(&mut write, &stored, &saved).await?;
        write.audit(Action::Updated, EntityKind::AssetProfile, id, Some(tenant)).await?;
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for the default profile and for one that assets have.
    pub async fn delete_asset_profile(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::AssetProfile, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        if found(write.db(), tenant, id).await?.is_default {
            return Err(Error::Refused("Deletion of Default Asset Profile is prohibited!".to_owned()));
        }
        if asset_profile::assets(write.db(), id).await? > 0 {
            return Err(Error::Refused("The asset profile referenced by the assets cannot be deleted!".to_owned()));
        }
        write.audit(Action::Deleted, EntityKind::AssetProfile, id, Some(tenant)).await?;
        asset_profile::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }
}

async fn found(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<AssetProfile, Error> {
    let found = asset_profile::find(db, tenant, id).await?;
    found.ok_or_else(|| Error::not_found(EntityKind::AssetProfile, id))
}

pub(super) async fn default_profile(db: &impl ConnectionTrait, tenant: Uuid) -> Result<AssetProfile, Error> {
    let found = asset_profile::default_of(db, tenant).await?;
    found.ok_or_else(|| Error::Internal(format!("tenant {tenant} has no default asset profile")))
}

/// The default profile of a new tenant.
pub(super) async fn create_default(write: &mut Write, tenant: Uuid) -> Result<(), Error> {
    let draft = AssetProfileDraft {
        name: DEFAULT_NAME.to_owned(),
        description: Some("Default asset profile".to_owned()),
        ..AssetProfileDraft::default()
    };
    let saved = AssetProfile { is_default: true, ..made(write, draft, tenant) };
    Ok(asset_profile::insert(write, &saved).await?)
}

/// A profile that an asset named by its type.
pub(super) async fn create_named(write: &mut Write, tenant: Uuid, name: &str) -> Result<AssetProfile, Error> {
    let saved = made(write, AssetProfileDraft { name: name.to_owned(), ..AssetProfileDraft::default() }, tenant);
    asset_profile::insert(write, &saved).await?;
    write.audit(Action::Added, EntityKind::AssetProfile, saved.id, Some(tenant)).await?;
    Ok(saved)
}

fn made(write: &Write, draft: AssetProfileDraft, tenant: Uuid) -> AssetProfile {
    AssetProfile {
        id: new_id(),
        created_ms: write.now_ms(),
        version: 1,
        tenant,
        name: draft.name,
        description: draft.description,
        image: draft.image,
        is_default: false,
        chain: draft.chain,
        queue: draft.queue,
        dashboard: draft.dashboard,
        edge_chain: draft.edge_chain,
    }
}
