//! TLS towards somebody outside: by the certificates of a node's configuration, or by those that this machine trusts.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use schemas::chain::external::Certificates;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::line::Over;

/// # Errors
/// What is wrong with the certificates or the key.
pub(super) fn config(certificates: &Certificates) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match &certificates.authorities {
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let authority = authority.map_err(|error| format!("caCert: {error}"))?;
                roots.add(authority).map_err(|error| format!("caCert: {error}"))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let Some((chain, key)) = &certificates.own else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("cert: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("privateKey: {error}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("cert and privateKey: {error}"))
}

/// Makes a connection TLS.
///
/// # Errors
/// The handshake failed: for good if the certificates do not fit.
pub(super) async fn connect(certificates: &Certificates, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Over> {
    let connector = TlsConnector::from(Arc::new(config(certificates).map_err(Over::Refused)?));
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|error| Over::Refused(format!("{host}: {error}")))?;
    connector.connect(name, stream).await.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let reason = format!("TLS with {host}: {error}");
        if matches!(inner, Some(rustls::Error::InvalidCertificate(_))) { Over::Refused(reason) } else { Over::Ended(reason) }
    })
}
