//! TLS as a fleet of devices speaks it: what is trusted, and for each device a configuration of its own, because each device
//! keeps its own session to come back with. Opens the file it is told to trust, never a socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::misuse::Misuse;

/// What all connections of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    config: ClientConfig,
    name: ServerName<'static>,
    resumes: bool,
}

impl Secure {
    /// Trusts the certificates of `cafile` and expects the server to be `name`.
    ///
    /// # Errors
    /// [`Misuse`] about the file or the name.
    pub(crate) fn new(cafile: &Path, name: &str, resumes: bool) -> Result<Self, Misuse> {
        let misuse = |rule: String| Misuse::new("--cafile", cafile.display(), rule);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Misuse::new("--server-name", name, "must be a host name or an IP address"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusted = Trusted::read(cafile, &provider).map_err(misuse)?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| misuse(error.to_string()))?;
        let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(trusted)).with_no_client_auth();
        Ok(Self { config, name, resumes })
    }

    /// The configuration of one device; with it come the sessions that this device may resume.
    pub(crate) fn of_device(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.resumption = if self.resumes { Resumption::in_memory_sessions(1) } else { Resumption::disabled() };
        Arc::new(config)
    }

    /// A connection that has said nothing yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(crate) fn begin(&self, device: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(device), self.name.clone()).map_err(io::Error::other)
    }

    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }
}

/// Chains to an authority of the file as everywhere; and, as pinned, the certificates of the file themselves, so that one that
/// `openssl req -x509` made is enough for a measurement.
#[derive(Debug)]
struct Trusted {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn read(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let pem = std::fs::read(file).map_err(|error| error.to_string())?;
        let pinned: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let pinned = pinned.map_err(|error| format!("not PEM: {error}"))?;
        if pinned.is_empty() {
            return Err("holds no PEM certificate".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in pinned.iter().enumerate() {
            roots.add(certificate.clone()).map_err(|error| format!("certificate {}: {error}", index + 1))?;
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        Ok(Self { chains: chains.map_err(|error| error.to_string())?, pinned })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chains.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_file_or_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let said = |name: &str| Secure::new(&path, name, true).unwrap_err().to_string();
        assert!(said("localhost").contains("ca.pem: No such file"), "{}", said("localhost"));
        assert!(said("not a name").starts_with("--server-name not a name"), "{}", said("not a name"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(said("localhost").contains("holds no PEM certificate"), "{}", said("localhost"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(said("127.0.0.1").contains("certificate 1"), "{}", said("127.0.0.1"));
    }
}
