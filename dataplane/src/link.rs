//! The line to the control plane: configuration in, reports out, queries answered, the last good configuration kept on
//! disk (DESIGN 3.6, 8.7). Runs on tokio and reaches shards only through their mailboxes. Never touches a device.

mod apply;
mod backoff;
mod cache;
mod query;
mod registry;
#[cfg(test)]
mod sample;
mod subscribe;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};

pub use query::serve_queries;
pub use registry::answer;

use crate::shard::Shards;
use crate::snapshot::directory::DirectoryWriter;

/// Where the control plane is and how this instance introduces itself.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// `http://` (loopback only) or `https://`.
    pub endpoint: String,
    pub join_token: String,
    /// PEM of the authority that signed the control plane's certificate; needed for `https://`.
    pub tls_ca: Option<PathBuf>,
    pub instance_id: String,
    /// Where the control plane reaches this instance's Query service.
    pub query_endpoint: String,
    /// Where the control plane reaches this instance's HTTP API of devices.
    pub device_endpoint: String,
    /// The file that keeps the last good configuration.
    pub cache: PathBuf,
    pub shards: u16,
}

/// Why the line cannot be set up at all. Whatever happens to it later is retried, not returned.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("control plane endpoint {endpoint:?}: expected http://host:port or https://host:port")]
    Endpoint { endpoint: String },
    #[error("{what} {address}: plain text is allowed on loopback only; use TLS (DESIGN 27)")]
    PlainText { what: &'static str, address: String },
    #[error("control plane endpoint {endpoint}: https needs the file of the certificate authority (tls_ca)")]
    AuthorityMissing { endpoint: String },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("join token: expected 1 to 4096 visible ASCII characters")]
    JoinToken,
    #[error("TLS: {0}")]
    Tls(String),
    #[error("query listener: {0}")]
    Listener(#[from] io::Error),
    #[error("query server: {0}")]
    Serve(String),
}

/// What configuration is held: the database it came from and how far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Empty: nothing is held.
    pub epoch: String,
    pub revision: u64,
}

/// How the line is doing; written by the link, read by the admin side.
#[derive(Debug, Default)]
pub struct Status {
    connected: AtomicBool,
    configured: AtomicBool,
    from_cache: AtomicBool,
    cache_behind: AtomicBool,
    refused: AtomicU64,
    reconnects: AtomicU64,
    position: ArcSwap<Position>,
    error: ArcSwapOption<String>,
}

impl Status {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The control plane is connected now.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// A whole configuration was loaded, from the cache or from the control plane.
    #[must_use]
    pub fn configured(&self) -> bool {
        self.configured.load(Relaxed)
    }

    /// The cache held a configuration at start.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.from_cache.load(Relaxed)
    }

    /// The cache could not be written: the next start begins with an older configuration.
    #[must_use]
    pub fn cache_behind(&self) -> bool {
        self.cache_behind.load(Relaxed)
    }

    /// Changes refused since start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections to the control plane that ended or failed since start.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// What all shards have applied.
    #[must_use]
    pub fn position(&self) -> Arc<Position> {
        self.position.load_full()
    }

    /// Why the line last broke; `None` while connected.
    #[must_use]
    pub fn error(&self) -> Option<Arc<String>> {
        self.error.load_full()
    }

    fn set_connected(&self) {
        self.error.store(None);
        self.connected.store(true, Relaxed);
    }

    fn set_lost(&self, error: String) {
        self.connected.store(false, Relaxed);
        self.reconnects.fetch_add(1, Relaxed);
        self.error.store(Some(Arc::new(error)));
    }

    fn set_from_cache(&self) {
        self.from_cache.store(true, Relaxed);
    }

    fn set_cache_behind(&self, behind: bool) {
        self.cache_behind.store(behind, Relaxed);
    }

    fn add_refused(&self, changes: usize) {
        self.refused.fetch_add(u64::try_from(changes).unwrap_or(u64::MAX), Relaxed);
    }

    fn set_position(&self, position: &Position) {
        self.position.store(Arc::new(position.clone()));
        self.configured.store(true, Relaxed);
    }
}

/// The instance's end of the line, not yet following.
#[derive(Debug)]
pub struct Link {
    settings: LinkSettings,
    endpoint: Endpoint,
    bearer: MetadataValue<Ascii>,
    applier: apply::Applier,
    /// Absent for good after a panic while writing it.
    cache: Option<cache::Cache>,
    status: Arc<Status>,
    position: Position,
    /// The epoch of the full state that is being received.
    full: Option<String>,
    /// A full state broke off: what is held is of two minds, and only a full state makes it one again.
    torn: bool,
}

impl Link {
    /// Checks the settings; connects to nobody yet.
    ///
    /// # Errors
    /// [`LinkError`] when the endpoint, the join token or the certificate authority cannot be used.
    pub fn new(
        settings: LinkSettings,
        shards: Shards,
        directory: DirectoryWriter,
        status: Arc<Status>,
    ) -> Result<Self, LinkError> {
        Ok(Self {
            endpoint: subscribe::endpoint(&settings)?,
            bearer: subscribe::bearer(&settings.join_token)?,
            applier: apply::Applier::new(shards, directory),
            cache: Some(cache::Cache::absent(settings.cache.clone())),
            settings,
            status,
            position: Position::default(),
            full: None,
            torn: false,
        })
    }

    /// Applies the last good configuration from disk, so that devices are served before the control plane answers
    /// (DESIGN 1, promise 4). Shards must be taking from their mailboxes. An unreadable cache is told and ignored.
    pub async fn load_cache(&mut self) {
        subscribe::load_cache(self).await;
    }

    /// Follows the control plane until `shutdown` is true, calling again for as long as it takes.
    #[must_use]
    pub fn follow(self, shutdown: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(subscribe::run(self, shutdown))
    }
}

/// Plain text crosses no wire that others can hear.
fn refuse_plain_text(what: &'static str, address: SocketAddr) -> Result<(), LinkError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(LinkError::PlainText { what, address: address.to_string() }) }
}

/// Ends when the process is told to stop, or when nobody is left who could tell it.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}
