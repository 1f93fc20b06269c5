//! Passwords of people: argon2id with 19 MiB, 2 passes, 1 lane. Few at once, off the async threads, so that a storm of
//! logins costs neither memory nor latency of others.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::error::Error;

/// Hashes under way: 19 MiB each.
const HASHES_MAX: usize = 2;
/// Logins that may wait for their turn; more are told to come back.
const WAITING_MAX: usize = 64;
/// The hash of no password: what an unknown name is checked against.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$VGlkZWdhdGVOb2JvZHkxMg$q1b5AC6KXnZmJ/9xqVxQ6aXHj8gQwKb1oNvVqXrRz5Y";

/// The hasher. Its parameters are argon2's recommended ones, which the crate has as its defaults; a test pins them.
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
        let hashed = self.run(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()));
        hashed.await?.map_err(|error| Error::Internal(format!("hashing a password: {error}")))
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
