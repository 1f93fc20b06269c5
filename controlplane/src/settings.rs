//! What this control plane was told locally, as typed values. Never reads a file or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a PEM certificate chain and its private key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The control plane's settings, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data_dir: PathBuf,
    /// `None`: a SQLite file in `data_dir`.
    pub database_url: Option<String>,
    pub http_listen: SocketAddr,
    pub grpc_listen: SocketAddr,
    pub join_token: String,
    pub grpc_tls: Option<Tls>,
    /// What the control plane trusts when it asks data planes over TLS.
    pub query_tls_ca: Option<PathBuf>,
    pub access_token_s: u64,
    pub refresh_token_s: u64,
    /// Create the well-known demo users and devices. Never for production.
    pub demo: bool,
}
