//! The server's certificates: read from PEM files, checked, chosen by the name that a client asks for, read again while running.
//!
//! What is wrong is said all at once, and what was in force stays so until files are right. Never waits, never watches by itself:
//! whoever has a clock asks [`Certificates::changed`].

use std::{
    fmt,
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::client::AnyClient;
use super::x509::{Facts, matches};
use crate::clock::Timestamp;
use crate::limits;

/// Where a certificate chain and its private key lie, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub reason: String,
}

/// Everything that is wrong with the files, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unusable {
    pub problems: Vec<Problem>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificates cannot be used:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.path.display(), problem.reason))
    }
}

/// Certificates in force and the files they come from.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    /// The files as they were when they were last read, usable or not.
    seen: Vec<Option<Stamp>>,
    expiry: UnixTime,
    current: Arc<ArcSwap<ServerConfig>>,
    provider: Arc<CryptoProvider>,
    // Both outlive a reload: clients come back without a full handshake.
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files; the first one's certificate is the default.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let sessions = ServerSessionMemoryCache::new(limits::TLS_SESSIONS_MAX);
        let tickets = aws_lc_rs::Ticketer::new().map_err(|error| of_first(&files, &error))?;
        let seen = stamps(&files);
        let (config, expiry) = configure(&files, &provider)?;
        let config = with_resumption(config, &tickets, &(Arc::clone(&sessions) as Arc<_>));
        Ok(Self { files, seen, expiry, current: Arc::new(ArcSwap::from_pointee(config)), provider, tickets, sessions })
    }

    /// What is in force, for [`super::Stream::tls`]; the handle follows every reload.
    #[must_use]
    pub fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// Whether a file is another one than at the last load or reload, usable or not.
    #[must_use]
    pub fn changed(&self) -> bool {
        stamps(&self.files) != self.seen
    }

    /// Reads the files again. Connections that exist keep what they have.
    ///
    /// # Errors
    /// Everything that is wrong with them; what was in force stays so.
    pub fn reload(&mut self) -> Result<(), Unusable> {
        // Looked at before they are read, so that a change in between is noticed the next time.
        self.seen = stamps(&self.files);
        let (config, expiry) = configure(&self.files, &self.provider)?;
        self.current.store(Arc::new(with_resumption(config, &self.tickets, &self.sessions)));
        self.expiry = expiry;
        Ok(())
    }

    /// When the first of the certificates in force expires. They are served beyond it: many a device has no clock.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        let milliseconds = self.expiry.as_secs().saturating_mul(1_000);
        Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

fn stamps(files: &[CertificateFiles]) -> Vec<Option<Stamp>> {
    let paths = files.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    paths.map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some(Stamp { device: file.dev(), inode: file.ino(), bytes: file.size(), modified: (file.mtime(), file.mtime_nsec()) })
}

/// A certificate chain with its key, and the hosts it stands for.
#[derive(Debug)]
struct Choice {
    hosts: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// The certificates by order of preference.
#[derive(Debug)]
struct Choices(Vec<Choice>);

impl ResolvesServerCert for Choices {
    /// The first that stands for the host and whose signature the client knows; without host, the first of all.
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = client.server_name().unwrap_or_default();
        let named = |choice: &&Choice| choice.hosts.iter().any(|name| matches(name, host));
        let fits = |choice: &&Choice| choice.key.key.choose_scheme(client.signature_schemes()).is_some();
        let anyone = |choice: &Choice| Arc::clone(&choice.key);
        let known = self.0.iter().any(|choice| named(&choice));
        let mut candidates = self.0.iter().filter(|choice| !known || named(choice));
        candidates.clone().find(fits).or_else(|| candidates.next()).map(anyone)
    }
}

fn configure(files: &[CertificateFiles], provider: &Arc<CryptoProvider>) -> Result<(ServerConfig, UnixTime), Unusable> {
    let mut problems = Vec::new();
    let mut choices = Vec::new();
    let mut expiry = UnixTime::since_unix_epoch(std::time::Duration::MAX);
    for (index, pair) in files.iter().enumerate() {
        let Some((choice, not_after)) = read_pair(pair, provider, &mut problems) else { continue };
        if index > 0 && choice.hosts.is_empty() {
            let reason =
                "names no DNS host in subjectAltName, so no client would get it; only the first certificate may".to_owned();
            problems.push(Problem { path: pair.certificate.clone(), reason });
        }
        expiry = expiry.min(not_after);
        choices.push(choice);
    }
    if !problems.is_empty() {
        return Err(Unusable { problems });
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13, &TLS12]);
    let builder = builder.map_err(|error| of_first(files, &error))?.with_client_cert_verifier(Arc::new(AnyClient::new(provider)));
    Ok((builder.with_cert_resolver(Arc::new(Choices(choices))), expiry))
}

/// TLS 1.3 and 1.2 clients keep their sessions in tickets, client certificate included; older 1.2 clients are remembered.
fn with_resumption(
    mut config: ServerConfig,
    tickets: &Arc<dyn ProducesTickets>,
    sessions: &Arc<dyn StoresServerSessions>,
) -> ServerConfig {
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::clone(sessions);
    // Every session brings a new ticket; a device has no use for two.
    config.send_tls13_tickets = 1;
    config
}

fn of_first(files: &[CertificateFiles], error: &rustls::Error) -> Unusable {
    let path = files.first().map(|pair| pair.certificate.clone()).unwrap_or_default();
    Unusable { problems: vec![Problem { path, reason: error.to_string() }] }
}

/// Reads one chain with its key, and when the first certificate of the chain expires.
fn read_pair(files: &CertificateFiles, provider: &CryptoProvider, problems: &mut Vec<Problem>) -> Option<(Choice, UnixTime)> {
    let mut refused = |path: &Path, reason: String| problems.push(Problem { path: path.to_owned(), reason });
    let chain = read(&files.certificate).and_then(|pem| chain_of(&pem));
    let key = read(&files.key).and_then(|pem| key_of(&pem, provider));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => {
            chain.err().into_iter().for_each(|reason| refused(&files.certificate, reason));
            key.err().into_iter().for_each(|reason| refused(&files.key, reason));
            return None;
        }
    };
    let facts: Vec<Facts<'_>> = chain.iter().filter_map(|der| Facts::read(der)).collect();
    let hosts = facts.first()?.dns_names().map(str::to_owned).collect();
    let not_after = facts.iter().map(|facts| facts.not_after).min()?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            refused(&files.key, format!("is not the key of {}", files.certificate.display()));
            return None;
        }
        Err(error) => {
            refused(&files.certificate, error.to_string());
            return None;
        }
    }
    Some((Choice { hosts, key: Arc::new(key) }, not_after))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(limits::PEM_BYTES_MAX + 1).read_to_end(&mut pem).map_err(|error| error.to_string())?;
    if pem.len() as u64 > limits::PEM_BYTES_MAX {
        return Err(format!("larger than {} bytes", limits::PEM_BYTES_MAX));
    }
    Ok(pem)
}

fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    match chain.iter().position(|der| Facts::read(der).is_none()) {
        None => Ok(chain),
        Some(index) => Err(format!("certificate {} of {} is not X.509", index + 1, chain.len())),
    }
}

fn key_of(pem: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => "holds no PEM private key without passphrase".to_owned(),
        error => format!("not PEM: {error}"),
    })?;
    provider.key_provider.load_private_key(key).map_err(|error| error.to_string())
}
