//! People: a system administrator makes tenant administrators, a tenant administrator makes customer users and colleagues.

use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, login, new_id, permit, quota, same_version},
    clock,
    domain::{Authority, EntityKind, Invalid, Page, PageLink, User, UserDraft},
    entity::{Write, audit::Action, customer, tenant, user},
    error::Error,
};

impl App {
    /// Creates (not yet able to sign in: see [`App::activation_token`]) or replaces a user. Anyone may change their own
    /// names; authority, tenant and customer of an existing user stay as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Duplicate`], [`Error::NotFound`], [`Error::Conflict`], [`Error::Forbidden`],
    /// [`Error::LimitReached`].
    pub async fn save_user(&self, caller: &Caller, draft: UserDraft) -> Result<Written<User>, Error> {
        let draft = draft.checked()?;
        let saved = match draft.id {
            None => {
                permit(caller, Resource::User, Operation::Create)?;
                let mut write = self.begin(caller).await?;
                let saved = place(&write, caller, draft).await?;
                if let Some(tenant) = saved.tenant {
                    quota::admit(&write, tenant, EntityKind::User).await?;
                }
                user::insert(&mut write, &saved).await?;
                write.audit(Action::Added, EntityKind::User, saved.id, saved.tenant).await?;
                write.commit().await?;
                saved
            }
            Some(id) => {
                if id != caller.user {
                    permit(caller, Resource::User, Operation::Write)?;
                    self.manageable_user(caller, id).await?;
                }
                let mut write = self.begin(caller).await?;
                let stored = user::find(write.db(), id).await?.ok_or_else(|| Error::not_found(EntityKind::User, id))?;
                same_version(EntityKind::User, draft.version, stored.version)?;
                let UserDraft { email, first_name, last_name, phone, additional_info, .. } = draft;
                let version = stored.version + 1;
                let saved = User { email, first_name, last_name, phone, additional_info, version, ..stored };
                user::update(&mut write, &saved).await?;
                write.audit(Action::Updated, EntityKind::User, id, saved.tenant).await?;
                write.commit().await?;
                saved
            }
        };
        Ok(Written { value: saved, applied: true })
    }

    /// # Errors
    /// [`Error::NotFound`], also for a user outside the caller's tenant or customer.
    pub async fn user(&self, caller: &Caller, id: Uuid) -> Result<User, Error> {
        permit(caller, Resource::User, Operation::Read)?;
        if id == caller.user {
            return self.current_user(caller).await;
        }
        if caller.authority == Authority::CustomerUser {
            return Err(Error::not_found(EntityKind::User, id));
        }
        self.visible_user(caller, id).await
    }

    /// The users the caller can see; sorted by `createdTime`, `email`, `firstName` or `lastName`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn users(&self, caller: &Caller, link: &PageLink) -> Result<Page<User>, Error> {
        permit(caller, Resource::User, Operation::Read)?;
        let filter = match caller.authority {
            Authority::SysAdmin => user::Filter::default(),
            _ => {
                let scope = caller.scope().ok_or(Error::Forbidden)?;
                user::Filter { tenant: Some(scope.tenant), customer: scope.customer, authority: None }
            }
        };
        Ok(user::page(self.reader(), &filter, link).await?)
    }

    /// The administrators of a tenant, for a system administrator.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for an unknown sort property.
    pub async fn tenant_admins(&self, caller: &Caller, tenant: Uuid, link: &PageLink) -> Result<Page<User>, Error> {
        permit(caller, Resource::Tenant, Operation::Write)?;
        let filter = user::Filter { tenant: Some(tenant), customer: None, authority: Some(Authority::TenantAdmin) };
        Ok(user::page(self.reader(), &filter, link).await?)
    }

    /// The users of a customer of the caller's tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a customer the caller cannot see, [`Error::Invalid`] for an unknown sort property.
    pub async fn customer_users(&self, caller: &Caller, customer: Uuid, link: &PageLink) -> Result<Page<User>, Error> {
        let customer = self.customer(caller, customer).await?;
        let filter = user::Filter { tenant: Some(customer.tenant), customer: Some(customer.id), authority: None };
        Ok(user::page(self.reader(), &filter, link).await?)
    }

    /// Lets a user sign in, or no longer; every token of a disabled user is refused at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for oneself.
    pub async fn set_user_enabled(&self, caller: &Caller, id: Uuid, enabled: bool) -> Result<(), Error> {
        permit(caller, Resource::User, Operation::Write)?;
        let target = self.manageable_user(caller, id).await?;
        if id == caller.user {
            return Err(Error::Refused("You cannot disable yourself".to_owned()));
        }
        let mut write = self.begin(caller).await?;
        user::set_enabled(&mut write, id, enabled).await?;
        write.audit(Action::Updated, EntityKind::User, id, target.tenant).await?;
        write.commit().await?;
        Ok(())
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for oneself.
    pub async fn delete_user(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        permit(caller, Resource::User, Operation::Delete)?;
        let target = self.manageable_user(caller, id).await?;
        if id == caller.user {
            return Err(Error::Refused("You cannot delete yourself".to_owned()));
        }
        let mut write = self.begin(caller).await?;
        write.audit(Action::Deleted, EntityKind::User, id, target.tenant).await?;
        user::delete(&mut write, id).await?;
        write.commit().await?;
        Ok(Written { value: (), applied: true })
    }

    async fn visible_user(&self, caller: &Caller, id: Uuid) -> Result<User, Error> {
        let found = user::find(self.reader(), id).await?;
        let visible = found.filter(|found| match caller.authority {
            Authority::SysAdmin => true,
            _ => caller.scope().is_some_and(|scope| login::inside(&scope, found.tenant, found.customer)),
        });
        visible.ok_or_else(|| Error::not_found(EntityKind::User, id))
    }

    /// A user the caller may change: a system administrator anyone but customer users, a tenant administrator anyone of the
    /// tenant.
    pub(super) async fn manageable_user(&self, caller: &Caller, id: Uuid) -> Result<User, Error> {
        permit(caller, Resource::User, Operation::Write)?;
        let found = self.visible_user(caller, id).await?;
        if caller.authority == Authority::SysAdmin && found.authority == Authority::CustomerUser {
            return Err(Error::Forbidden);
        }
        Ok(found)
    }
}

/// Where a new user belongs, given who makes it.
async fn place(write: &Write, caller: &Caller, draft: UserDraft) -> Result<User, Error> {
    let (tenant, customer) = match (caller.authority, draft.authority) {
        (Authority::SysAdmin, Authority::SysAdmin) => (None, None),
        (Authority::SysAdmin, Authority::TenantAdmin) => {
            let id = draft.tenant.ok_or_else(|| Invalid::new("tenantId", "", "must name the administrator's tenant"))?;
            let found = tenant::find(write.db(), id).await?.ok_or_else(|| Error::not_found(EntityKind::Tenant, id))?;
            (Some(found.id), None)
        }
        (Authority::TenantAdmin, Authority::TenantAdmin) => (caller.tenant, None),
        (Authority::TenantAdmin, Authority::CustomerUser) => {
            let id = draft.customer.ok_or_else(|| Invalid::new("customerId", "", "must name the user's customer"))?;
            let own = caller.tenant.ok_or(Error::Forbidden)?;
            let found = customer::find(write.db(), own, id).await?.ok_or_else(|| Error::not_found(EntityKind::Customer, id))?;
            (Some(own), Some(found.id))
        }
        _ => return Err(Error::Forbidden),
    };
    if caller.authority == Authority::TenantAdmin && draft.tenant.is_some_and(|named| Some(named) != tenant) {
        return Err(Error::Forbidden);
    }
    let UserDraft { email, authority, first_name, last_name, phone, additional_info, .. } = draft;
    Ok(User {
        id: new_id(),
        created_ms: clock::now_ms(),
        version: 1,
        tenant,
        customer,
        email,
        authority,
        first_name,
        last_name,
        phone,
        enabled: false,
        additional_info,
    })
}
