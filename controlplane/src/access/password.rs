//! Passwords of people: argon2id with 46 MiB, 1 pass, 1 lane. One at a time, off the async threads, so that a storm of
//! logins costs neither memory nor latency of others.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::error::Error;

/// Memory of one hash and passes over it: OWASP's first recommendation, as strong as 19 MiB and 2 passes. glibc gives blocks above
/// 32 MiB back at once; a smaller one it keeps after the first login, which doubled what an idle process takes.
const MEMORY_KIB: u32 = 47_104;
const PASSES: u32 = 1;
/// Hashes under way.
const HASHES_MAX: usize = 1;
/// Logins that may wait for their turn; more are told to come back.
const WAITING_MAX: usize = 64;
/// The hash of no password: what an unknown name is checked against.
const NOBODY: &str = "$argon2id$v=19$m=47104,t=1,p=1$VGlkZWdhdGVOb2JvZHkxMg$q1b5AC6KXnZmJ/9xqVxQ6aXHj8gQwKb1oNvVqXrRz5Y";

/// The hasher. Hashes made with other parameters are checked with theirs. A test pins the parameters.
#[derive(Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Passwords {
    #[must_use]
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(HASHES_MAX)), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// The PHC string to store.
    ///
    /// # Errors
    /// [`Error::TooMany`] when too many wait already.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Internal(format!("hashing a password: {error}"));
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| failed(&error))?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed = self.run(move || hasher.hash_password(password.as_bytes()).map(|hash| hash.to_string()));
        hashed.await?.map_err(|error| failed(&error))
    }

    /// Does the password match? Without a hash it never does, after the same work.
    ///
    /// # Errors
    /// [`Error::TooMany`] when too many wait already.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let matches = self.run(move || {
            let parsed = PasswordHash::new(&hash);
            parsed.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        Ok(matches.await? && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::TooMany { retry_after_s: 1 })?;
        let closed = |_| Error::Internal("the password hasher is closed".to_owned());
        // The permit goes with the work: a request that is dropped does not stop its hash, which still holds its memory.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|error| Error::Internal(format!("hashing a password: {error}")))
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// Is [`NOBODY`] a hash that takes work to check?
#[cfg(test)]
pub(super) fn nobody_parses() -> bool {
    PasswordHash::new(NOBODY).is_ok_and(|hash| hash.hash.is_some() && hash.salt.is_some())
}
