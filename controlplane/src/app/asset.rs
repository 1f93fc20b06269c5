//! Assets: made, changed, found, listed, removed, and shown to customers.

use schemas::chain::MessageType;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource, Scope},
    app::{
        App, Written,
        announcing::{self, Of},
        asset_profile, customer as customers, new_id, permit_within, quota, same_version,
    },
    domain::{Asset, AssetDraft, AssetFilter, AssetInfo, AssetProfile, Customer, EntityKind, Invalid, Page, PageLink},
    entity::{Write, asset, asset_profile as profiles, audit::Action, customer},
    error::Error,
};

/// Whom an asset is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownTo {
    Customer(Uuid),
    Everybody,
    Nobody,
}

impl App {
    /// Creates or replaces an asset. A customer user may create nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`] for the name, [`Error::NotFound`], [`Error::Conflict`], [`Error::LimitReached`].
    pub async fn save_asset(&self, caller: &Caller, draft: AssetDraft) -> Result<Written<Asset>, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let scope = permit_within(caller, Resource::Asset, operation)?;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => create(&mut write, scope.tenant, draft).await?,
            Some(id) => replace(&mut write, &scope, id, draft).await?,
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], also for another tenant's asset and for a customer user whose customer it is not assigned to.
    pub async fn asset(&self, caller: &Caller, id: Uuid) -> Result<Asset, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Read)?;
        found(self.reader(), &scope, id).await
    }

    /// [`App::asset`] with the names of its customer and profile.
    ///
    /// # Errors
    /// As [`App::asset`].
    pub async fn asset_info(&self, caller: &Caller, id: Uuid) -> Result<AssetInfo, Error> {
        let asset = self.asset(caller, id).await?;
        let mut infos = asset::infos(self.reader(), vec![asset]).await?;
        infos.pop().ok_or_else(|| Error::not_found(EntityKind::Asset, id))
    }

    /// The asset of the caller's tenant with this name, whatever its case.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub async fn asset_by_name(&self, caller: &Caller, name: &str) -> Result<Asset, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Read)?;
        let found = asset::by_name(self.reader(), scope.tenant, name).await?;
        let found = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
        found.ok_or_else(|| Error::Missing(format!("Asset with name [{name}] is not found")))
    }

    /// Those of `ids` that the caller can see; at most 1,000 are looked up.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more.
    pub async fn assets_by_ids(&self, caller: &Caller, ids: &[Uuid]) -> Result<Vec<Asset>, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Read)?;
        if ids.len() > 1_000 {
            return Err(Invalid::new("assetIds", &ids.len().to_string(), "must be at most 1000 ids").into());
        }
        Ok(asset::by_ids(self.reader(), scope.tenant, scope.customer, ids).await?)
    }

    /// Assets of the tenant; a customer user sees its customer's only. Sorted by `createdTime`, `name`, `type` or `label`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property, [`Error::Forbidden`] for another customer's.
    pub async fn assets(&self, caller: &Caller, filter: AssetFilter, link: &PageLink) -> Result<Page<AssetInfo>, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Read)?;
        if let Some(own) = scope.customer
            && filter.customer.is_some_and(|asked| asked != own)
        {
            return Err(Error::Forbidden);
        }
        let filter = AssetFilter { customer: scope.customer.or(filter.customer), ..filter };
        let page = asset::page(self.reader(), scope.tenant, &filter, link).await?;
        let Page { data, total_pages, total_elements, has_next } = page;
        let data = asset::infos(self.reader(), data).await?;
        Ok(Page { data, total_pages, total_elements, has_next })
    }

    /// The tenant, and the types that the assets the caller sees have, in their order.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn asset_types(&self, caller: &Caller) -> Result<(Uuid, Vec<String>), Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Read)?;
        Ok((scope.tenant, asset::types(self.reader(), scope.tenant, scope.customer).await?))
    }

    /// Removes the asset and its relations; the data planes drop what they stored of it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_asset(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Delete)?;
        let mut write = self.begin(caller).await?;
        let gone = found(write.db(), &scope, id).await?;
        announcing::deleted(&mut write, Of::Asset(&gone)).await?;
        // While its name can still be read.
        write.audit(Action::Deleted, EntityKind::Asset, id, Some(scope.tenant)).await?;
        asset::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }

    /// Shows the asset to a customer of the tenant, to everybody, or to the tenant alone.
    ///
    /// # Errors
    /// [`Error::NotFound`] for either, [`Error::Refused`] when it is taken from nobody.
    pub async fn show_asset(&self, caller: &Caller, id: Uuid, to: ShownTo) -> Result<Written<Asset>, Error> {
        let scope = permit_within(caller, Resource::Asset, Operation::Assign)?;
        let mut write = self.begin(caller).await?;
        let stored = found(write.db(), &scope, id).await?;
        let to = match to {
            ShownTo::Customer(to) => {
                let known = customer::find(write.db(), scope.tenant, to).await?;
                Some(known.ok_or_else(|| Error::not_found(EntityKind::Customer, to))?)
            }
            ShownTo::Everybody => Some(customers::public(&mut write, scope.tenant).await?),
            ShownTo::Nobody if stored.customer.is_none() => {
                return Err(Error::Refused("Asset isn't assigned to any customer!".to_owned()));
            }
            ShownTo::Nobody => None,
        };
        let saved = show(&mut write, stored, to.as_ref()).await?;
        self.finish(write, saved).await
    }
}

/// Shows an asset to a customer of its tenant, or to nobody else.
pub(super) async fn show(write: &mut Write, stored: Asset, to: Option<&Customer>) -> Result<Asset, Error> {
    let before = stored.customer;
    let saved = Asset { customer: to.map(|to| to.id), version: stored.version + 1, ..stored };
    asset::update(write, &saved).await?;
    announcing::shown(write, Of::Asset(&saved), before, to).await?;
    let action = if to.is_some() { Action::Assigned } else { Action::Unassigned };
    write.audit(action, EntityKind::Asset, saved.id, Some(saved.tenant)).await?;
    Ok(saved)
}

async fn found(db: &impl ConnectionTrait, scope: &Scope, id: Uuid) -> Result<Asset, Error> {
    let found = asset::find(db, scope.tenant, id).await?;
    let visible = found.filter(|found| scope.customer.is_none_or(|own| found.customer == Some(own)));
    visible.ok_or_else(|| Error::not_found(EntityKind::Asset, id))
}

pub(super) async fn create(write: &mut Write, tenant: Uuid, draft: AssetDraft) -> Result<Asset, Error> {
    let profile = choose_profile(write, tenant, &draft).await?;
    let AssetDraft { name, label, additional_info, .. } = draft;
    let made = Asset {
        id: new_id(),
        created_ms: write.now_ms(),
        version: 1,
        tenant,
        customer: None,
        name,
        kind: profile.name,
        label,
        profile: profile.id,
        additional_info,
    };
    quota::admit(write, tenant, EntityKind::Asset).await?;
    asset::insert(write, &made).await?;
    announcing::announce(write, MessageType::EntityCreated, Of::Asset(&made), &[]);
    write.audit(Action::Added, EntityKind::Asset, made.id, Some(tenant)).await?;
    Ok(made)
}

async fn replace(write: &mut Write, scope: &Scope, id: Uuid, draft: AssetDraft) -> Result<Asset, Error> {
    let stored = found(write.db(), scope, id).await?;
    same_version(EntityKind::Asset, draft.version, stored.version)?;
    let (profile, kind) = match (&draft.profile, &draft.kind) {
        (None, None) => (stored.profile, stored.kind.clone()),
        _ => {
            let chosen = choose_profile(write, scope.tenant, &draft).await?;
            (chosen.id, chosen.name)
        }
    };
    let AssetDraft { name, label, additional_info, .. } = draft;
    let saved = Asset { version: stored.version + 1, name, label, additional_info, profile, kind, ..stored };
    asset::update(write, &saved).await?;
    announcing::announce(write, MessageType::EntityUpdated, Of::Asset(&saved), &[]);
    write.audit(Action::Updated, EntityKind::Asset, id, Some(scope.tenant)).await?;
    Ok(saved)
}

/// The profile named by id, else by type (made when it does not exist, as ThingsBoard does), else the default.
async fn choose_profile(write: &mut Write, tenant: Uuid, draft: &AssetDraft) -> Result<AssetProfile, Error> {
    if let Some(id) = draft.profile {
        let found = profiles::find(write.db(), tenant, id).await?;
        return found.ok_or_else(|| Error::not_found(EntityKind::AssetProfile, id));
    }
    match &draft.kind {
        None => asset_profile::default_profile(write.db(), tenant).await,
        Some(kind) => match profiles::by_name(write.db(), tenant, kind).await? {
            Some(found) => Ok(found),
            None => asset_profile::create_named(write, tenant, kind).await,
        },
    }
}
