//! Customers of the caller's tenant.

use schemas::chain::MessageType;
use serde_json::json;
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{
        App, Written,
        announcing::{self, Of},
        new_id, permit_within, quota, same_version,
    },
    clock,
    domain::{Customer, CustomerDraft, EntityKind, PUBLIC_TITLE, Page, PageLink},
    entity::{Write, audit::Action, cascade, customer},
    error::Error,
};

impl App {
    /// Creates or replaces a customer of the caller's tenant.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Conflict`], [`Error::LimitReached`],
    /// [`Error::Refused`] for the title of the public customer.
    pub async fn save_customer(&self, caller: &Caller, draft: CustomerDraft) -> Result<Written<Customer>, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::Customer, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => create(&mut write, tenant, draft).await?,
            Some(id) => {
                let stored = customer::find(write.db(), tenant, id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::Customer, id))?;
                same_version(EntityKind::Customer, draft.version, stored.version)?;
                reserved(&draft, Some(&stored))?;
                let saved = made(draft, tenant, id, stored.created_ms, stored.version + 1);
                customer::update(&mut write, &saved).await?;
                announcing::announce(&mut write, MessageType::EntityUpdated, Of::Customer(&saved), &[]);
                write.audit(Action::Updated, EntityKind::Customer, id, Some(tenant)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], also for another tenant's customer and for a customer user who asks for another customer.
    pub async fn customer(&self, caller: &Caller, id: Uuid) -> Result<Customer, Error> {
        let scope = permit_within(caller, Resource::Customer, Operation::Read)?;
        let missing = Error::not_found(EntityKind::Customer, id);
        if scope.customer.is_some_and(|own| own != id) {
            return Err(missing);
        }
        customer::find(self.reader(), scope.tenant, id).await?.ok_or(missing)
    }

    /// The tenant's customers; sorted by `createdTime` or `title`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for an unknown sort property.
    pub async fn customers(&self, caller: &Caller, link: &PageLink) -> Result<Page<Customer>, Error> {
        let scope = permit_within(caller, Resource::Customer, Operation::Read)?;
        if scope.customer.is_some() {
            return Err(Error::Forbidden);
        }
        Ok(customer::page(self.reader(), scope.tenant, link).await?)
    }

    /// Removes the customer and its users; its devices stay with the tenant, unassigned.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_customer(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::Customer, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        let gone = customer::find(write.db(), tenant, id).await?;
        let gone = gone.ok_or_else(|| Error::not_found(EntityKind::Customer, id))?;
        announcing::deleted(&mut write, Of::Customer(&gone)).await?;
        write.audit(Action::Deleted, EntityKind::Customer, id, Some(tenant)).await?;
        cascade::delete_customer(&mut write, tenant, id).await?;
        self.finish(write, ()).await
    }
}

pub(super) async fn create(write: &mut Write, tenant: Uuid, draft: CustomerDraft) -> Result<Customer, Error> {
    reserved(&draft, None)?;
    quota::admit(write, tenant, EntityKind::Customer).await?;
    let saved = made(draft, tenant, new_id(), clock::now_ms(), 1);
    customer::insert(write, &saved).await?;
    announcing::announce(write, MessageType::EntityCreated, Of::Customer(&saved), &[]);
    write.audit(Action::Added, EntityKind::Customer, saved.id, Some(tenant)).await?;
    Ok(saved)
}

/// The customer whose devices everybody may see, made when it is first needed, as in ThingsBoard.
pub(super) async fn public(write: &mut Write, tenant: Uuid) -> Result<Customer, Error> {
    if let Some(found) = customer::by_title(write.db(), tenant, PUBLIC_TITLE).await? {
        return Ok(found);
    }
    let additional_info = json!({"isPublic": true});
    let draft = CustomerDraft { title: PUBLIC_TITLE.to_owned(), additional_info, ..CustomerDraft::default() };
    let saved = made(draft, tenant, new_id(), clock::now_ms(), 1);
    customer::insert(write, &saved).await?;
    write.audit(Action::Added, EntityKind::Customer, saved.id, Some(tenant)).await?;
    Ok(saved)
}

fn reserved(draft: &CustomerDraft, stored: Option<&Customer>) -> Result<(), Error> {
    let public = draft.title.eq_ignore_ascii_case(PUBLIC_TITLE);
    if public && !stored.is_some_and(Customer::is_public) {
        return Err(Error::Refused(format!("'{PUBLIC_TITLE}' title for customer is system reserved!")));
    }
    Ok(())
}

pub(super) fn made(draft: CustomerDraft, tenant: Uuid, id: Uuid, created_ms: i64, version: i64) -> Customer {
    let CustomerDraft { title, contact, additional_info, .. } = draft;
    Customer { id, created_ms, version, tenant, title, contact, additional_info }
}
