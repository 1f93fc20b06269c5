//! Signing in, staying signed in, and setting passwords.

use std::net::IpAddr;

use uuid::Uuid;

use crate::{
    access::{Caller, Claims, Scope, TokenPair},
    app::App,
    clock,
    domain::{EntityKind, Invalid, User, password},
    entity::{Author, Write, audit::Action, user},
    error::Error,
    random::random_text,
};

/// How long an activation link works, in milliseconds.
const ACTIVATION_MS: i64 = 24 * 3600 * 1000;
const ACTIVATION_CHARS: usize = 30;

const WRONG: Error = Error::Unauthenticated("Invalid username or password");

impl App {
    /// Checks name and password. Limited per name and address, and as a whole.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] whatever was wrong, [`Error::TooMany`].
    pub async fn login(&self, username: &str, secret: &str, address: IpAddr) -> Result<TokenPair, Error> {
        let now = clock::now_ms();
        let email = username.trim().to_lowercase();
        self.throttle.admit(&email, address)?;
        let found = user::by_email(self.reader(), &email).await?;
        // An unknown name costs as much as a known one, so that time does not tell them apart.
        let hash = found.as_ref().and_then(|found| found.password_hash.clone());
        let matches = self.passwords.verify(secret.to_owned(), hash).await?;
        let Some(found) = found.filter(|_| matches) else { return Err(WRONG) };
        if !found.user.enabled {
            return Err(Error::Unauthenticated("User account is not active"));
        }
        let mut write = self.store.write(Author { user: Some(found.user.id), name: email }, now).await?;
        write.audit(Action::Login, EntityKind::User, found.user.id, found.user.tenant).await?;
        write.commit().await?;
        self.tokens.issue(&found.user, now)
    }

    /// A new pair for a refresh token. An access token is refused here.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] or [`Error::Expired`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, Error> {
        let claims = self.tokens.check_refresh(refresh_token)?;
        let user = self.claimed_user(&claims).await?;
        self.tokens.issue(&user, clock::now_ms())
    }

    /// Who shows this access token. A refresh token is refused here, and so is the token of a user that was disabled,
    /// deleted or has a newer password.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] or [`Error::Expired`].
    pub async fn caller(&self, access_token: &str) -> Result<Caller, Error> {
        let claims = self.tokens.check_access(access_token)?;
        let user = self.claimed_user(&claims).await?;
        Ok(Caller { user: user.id, email: user.email, authority: user.authority, tenant: user.tenant, customer: user.customer })
    }

    async fn claimed_user(&self, claims: &Claims) -> Result<User, Error> {
        let stored = user::with_secret(self.reader(), claims.user_id()?).await?;
        let Some(stored) = stored.filter(|stored| stored.user.enabled) else {
            return Err(Error::Unauthenticated("User account is not active"));
        };
        if claims.issued_s() < stored.password_ms / 1000 {
            return Err(Error::Unauthenticated("Password was changed, sign in again"));
        }
        Ok(stored.user)
    }

    /// The caller's own user.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was deleted meanwhile.
    pub async fn current_user(&self, caller: &Caller) -> Result<User, Error> {
        let stored = user::with_secret(self.reader(), caller.user).await?;
        stored.map(|stored| stored.user).ok_or(Error::NotFound { kind: EntityKind::User, id: caller.user })
    }

    /// Sets another password and ends every older token of the caller.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the current password is wrong or the new one breaks a rule, [`Error::TooMany`].
    pub async fn change_password(&self, caller: &Caller, current: &str, new: &str, address: IpAddr) -> Result<TokenPair, Error> {
        password("newPassword", new)?;
        self.throttle.admit(&caller.email, address)?;
        let stored = user::with_secret(self.reader(), caller.user).await?.ok_or(WRONG)?;
        if !self.passwords.verify(current.to_owned(), stored.password_hash.clone()).await? {
            return Err(Invalid::new("currentPassword", "***", "doesn't match").into());
        }
        self.set_password(&stored.user, new).await
    }

    /// The secret part of a user's activation link. A new one is made when the last has run out.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the user is active already.
    pub async fn activation_token(&self, caller: &Caller, id: Uuid) -> Result<String, Error> {
        let now = clock::now_ms();
        let target = self.manageable_user(caller, id).await?;
        let stored = user::with_secret(self.reader(), target.id).await?.ok_or_else(|| Error::not_found(EntityKind::User, id))?;
        if stored.password_hash.is_some() {
            return Err(Error::Refused("User is already activated!".to_owned()));
        }
        if let Some(token) = stored.activation.filter(|_| stored.activation_until_ms > now) {
            return Ok(token);
        }
        let token = random_text(ACTIVATION_CHARS);
        let mut write = self.begin(caller).await?;
        user::set_activation(&mut write, id, &token, now.saturating_add(ACTIVATION_MS)).await?;
        write.audit(Action::Updated, EntityKind::User, id, target.tenant).await?;
        write.commit().await?;
        Ok(token)
    }

    /// Sets the first password of the user the token was made for, who is then enabled and signed in.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the password, [`Error::Missing`] for a token that is unknown, used or has run out.
    pub async fn activate(&self, token: &str, new: &str, address: IpAddr) -> Result<TokenPair, Error> {
        password("password", new)?;
        self.throttle.admit("", address)?;
        let works = |stored: &user::WithSecret| stored.activation_until_ms > clock::now_ms();
        let unknown = || Error::Missing("Activation token is unknown or has expired".to_owned());
        // Before the hash, so that guessing costs us nothing; again inside the write, so that a link works once.
        user::by_activation(self.reader(), token).await?.filter(works).ok_or_else(unknown)?;
        let hash = self.passwords.hash(new.to_owned()).await?;
        let mut write = self.store.write(Author::system(), clock::now_ms()).await?;
        let stored = user::by_activation(write.db(), token).await?.filter(works).ok_or_else(unknown)?;
        store_password(&mut write, &stored.user, &hash).await?;
        write.commit().await?;
        self.tokens.issue(&User { enabled: true, ..stored.user }, clock::now_ms())
    }

    async fn set_password(&self, user: &User, new: &str) -> Result<TokenPair, Error> {
        let hash = self.passwords.hash(new.to_owned()).await?;
        let author = Author { user: Some(user.id), name: user.email.clone() };
        let mut write = self.store.write(author, clock::now_ms()).await?;
        store_password(&mut write, user, &hash).await?;
        write.commit().await?;
        self.tokens.issue(user, clock::now_ms())
    }
}

async fn store_password(write: &mut Write, user: &User, hash: &str) -> Result<(), Error> {
    user::set_password(write, user.id, hash).await?;
    Ok(write.audit(Action::CredentialsUpdated, EntityKind::User, user.id, user.tenant).await?)
}

/// The wall of a scope as a caller of that tenant and customer has it.
pub(super) fn inside(scope: &Scope, tenant: Option<Uuid>, customer: Option<Uuid>) -> bool {
    tenant == Some(scope.tenant) && scope.customer.is_none_or(|own| customer == Some(own))
}
