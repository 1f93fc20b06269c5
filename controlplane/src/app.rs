//! The application: everything a handler may ask for, as methods that take the [`Caller`] and check what it may do. Each
//! write is one transaction (entity, change log, audit), then wakes the feed and waits for the data planes (DESIGN 26).
//! Never speaks HTTP or gRPC shapes.

mod admin_settings;
mod alarm;
mod alarm_query;
mod announcing;
mod asset;
mod asset_profile;
mod audit;
mod calculated;
mod call;
mod chain;
mod chain_request;
mod claim;
mod credential;
mod customer;
mod dead_letter;
mod device;
mod event;
mod forwarder;
mod gateway;
mod import;
mod login;
mod owner;
mod package;
mod profile;
mod provision;
mod query;
mod quota;
mod relation;
mod rollout;
mod seed;
mod tenant;
mod tenant_profile;
#[cfg(test)]
pub(crate) mod tests;
mod trace;
mod user;
mod wish;

use std::{net::IpAddr, sync::Arc, time::Duration};

use sea_orm::DatabaseConnection;
use tokio::sync::{Semaphore, broadcast};
use uuid::Uuid;

pub use crate::access::{Caller, TokenPair};
pub use crate::app::alarm::AlarmComment;
pub use crate::app::alarm_query::Among;
pub use crate::app::asset::ShownTo;
pub use crate::app::chain::{ChainExport, ChainImported};
pub use crate::app::claim::Claimed;
pub use crate::app::import::Imported;
pub use crate::app::owner::Use;
pub use crate::app::package::PackageReading;
pub use crate::app::rollout::Pace;
pub use crate::app::seed::Seeded;
use crate::{
    access::{Operation, Passwords, Resource, Scope, Throttle, Tokens, allowed},
    app::forwarder::Forwarder,
    clock,
    domain::EntityKind,
    entity::{Author, Store, Write},
    error::{Error, StartError},
    feed::{Feed, Instance, Registry},
    settings::Settings,
    telemetry,
};

/// How long a write waits for the data planes (DESIGN 26).
const APPLIED_WAIT: Duration = Duration::from_secs(2);
/// Calls to devices under way: each is a stream to the data plane, and reads must find one too.
const CALLS_MAX: usize = 4_096;
/// Uploads of packages under way.
const UPLOADS_MAX: usize = 4;

/// What a write made, and whether every connected instance runs with it already. `applied: false` is the REST header
/// `Tidegate-Applied: false` (DESIGN 26); it is also false when no instance is connected.
#[derive(Clone, Debug, PartialEq)]
pub struct Written<T> {
    pub value: T,
    pub applied: bool,
}

impl<T> Written<T> {
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Written<U> {
        Written { value: convert(self.value), applied: self.applied }
    }
}

/// The control plane's state, shared by every request.
#[derive(Debug)]
pub struct App {
    store: Store,
    feed: Feed,
    registry: Registry,
    tokens: Tokens,
    passwords: Passwords,
    throttle: Throttle,
    /// Attempts to claim a device.
    claims: Throttle,
    pool: telemetry::Pool,
    forwarder: Forwarder,
    calls: Arc<Semaphore>,
    uploads: Semaphore,
    files: package::Files,
    package_bytes_max: u64,
    pace: Pace,
    /// Tenants whose alarms have changed.
    alarms_changed: broadcast::Sender<Arc<[Uuid]>>,
}

impl App {
    /// Opens and migrates the entity store. Seeds nothing: see [`App::seed`].
    ///
    /// # Errors
    /// [`StartError`] naming the file or setting that cannot be used.
    pub async fn open(settings: &Settings) -> Result<Arc<Self>, StartError> {
        let store = Store::open(settings).await?;
        let tokens = Tokens::new(store.jwt_key(), settings.access_token_s, settings.refresh_token_s);
        let feed = Feed::new(store.clone()).await?;
        let ca = match &settings.query_tls_ca {
            None => None,
            Some(path) => Some(tokio::fs::read(path).await.map_err(|source| StartError::File {
                what: "query_tls_ca",
                path: path.clone(),
                source,
            })?),
        };
        let pool =
            telemetry::Pool::new(&settings.join_token, ca.as_deref()).map_err(|error| StartError::Grpc(error.to_string()))?;
        let app = Arc::new(Self {
            store,
            feed,
            registry: Registry::new(),
            tokens,
            passwords: Passwords::new(),
            throttle: Throttle::new(),
            claims: Throttle::new(),
            pool,
            forwarder: Forwarder::new(&settings.join_token),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            uploads: Semaphore::new(UPLOADS_MAX),
            files: package::Files::new(&settings.data_dir),
            package_bytes_max: settings.package_bytes_max,
            pace: Pace::new(settings),
            alarms_changed: broadcast::Sender::new(alarm_query::CHANGES_MAX),
        });
        app.sweep_packages().await?;
        Ok(app)
    }

    /// The change log as a stream, for `push`.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Who is connected and what they applied, for `push`.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Every instance seen since start, connected or not, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Forbidden`] unless the caller is a system administrator.
    pub fn instances(&self, caller: &Caller) -> Result<Vec<Instance>, Error> {
        permit(caller, Resource::Instance, Operation::Read)?;
        Ok(self.registry.instances())
    }

    /// The line to the data plane that owns an entity. Authorize the entity first: [`App::authorize_entity`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no instance is connected.
    pub async fn data_plane(&self) -> Result<telemetry::Client, Error> {
        let (_, endpoints) = self.connected();
        Ok(self.pool.owner(&endpoints).await?)
    }

    /// The lines to all connected data planes, each with its instance's id.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no instance is connected.
    async fn data_planes(&self) -> Result<Vec<(String, telemetry::Client)>, Error> {
        let (ids, endpoints) = self.connected();
        Ok(ids.into_iter().zip(self.pool.all(&endpoints).await?).collect())
    }

    /// Ids of the connected instances, and where each is asked.
    fn connected(&self) -> (Vec<String>, Vec<String>) {
        let connected = self.registry.instances().into_iter().filter(|one| one.connected);
        connected.map(|one| (one.instance_id, one.query_endpoint)).unzip()
    }

    /// Where a connected data plane answers what devices ask over HTTP.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is connected, or none has such a listener.
    pub fn device_endpoint(&self) -> Result<String, Error> {
        let connected = self.registry.instances().into_iter().filter(|one| one.connected && !one.device_endpoint.is_empty());
        let mut endpoints = connected.map(|one| one.device_endpoint);
        endpoints.next().ok_or_else(|| Error::Unavailable("no data plane is connected that serves devices over HTTP".to_owned()))
    }

    /// What makes a data plane believe that the request we pass on comes from this address.
    #[must_use]
    pub fn vouch(&self, address: IpAddr) -> String {
        self.forwarder.vouch(address)
    }

    /// Closes the entity store; what is asked afterwards fails.
    pub async fn close(&self) {
        self.store.clone().close().await;
    }

    fn reader(&self) -> &DatabaseConnection {
        self.store.reader()
    }

    async fn begin(&self, caller: &Caller) -> Result<Write, Error> {
        let author = Author { user: Some(caller.user), name: caller.email.clone() };
        Ok(self.store.write(author, clock::now_ms()).await?)
    }

    /// Commits, wakes the feed and waits until the data planes run with it. A write they do not need is applied at once.
    async fn finish<T>(&self, write: Write, value: T) -> Result<Written<T>, Error> {
        let revision = self.commit(write).await?;
        Ok(Written { value, applied: self.applied(revision).await })
    }

    /// Commits and wakes the feed; the revision, if data planes need the write.
    async fn commit(&self, write: Write) -> Result<Option<u64>, Error> {
        let revision = write.commit().await?;
        if let Some(revision) = revision {
            self.feed.wake(revision);
        }
        Ok(revision)
    }

    /// Waits until the data planes run with a revision; false when that takes too long.
    async fn applied(&self, revision: Option<u64>) -> bool {
        match revision {
            Some(revision) => self.registry.applied(self.store.epoch(), revision, APPLIED_WAIT).await,
            None => true,
        }
    }
}

fn permit(caller: &Caller, resource: Resource, operation: Operation) -> Result<(), Error> {
    if allowed(caller.authority, resource, operation) { Ok(()) } else { Err(Error::Forbidden) }
}

/// Permission and the wall around what the caller can see: the tenant, and within it the customer.
fn permit_within(caller: &Caller, resource: Resource, operation: Operation) -> Result<Scope, Error> {
    permit(caller, resource, operation)?;
    caller.scope().ok_or(Error::Forbidden)
}

/// Optimistic locking: a client that sends the version it read must have read the stored one.
fn same_version(kind: EntityKind, sent: Option<i64>, stored: i64) -> Result<(), Error> {
    match sent {
        Some(sent) if sent != stored => Err(Error::Conflict { kind, sent, stored }),
        _ => Ok(()),
    }
}

/// UUIDv7: time-ordered like ThingsBoard's version 1, which lists and indexes profit from.
fn new_id() -> Uuid {
    Uuid::now_v7()
}
