//! Certificates of clients. In the handshake: whoever shows one must have its key, and it must be in force and for clients; who
//! that is, is decided later, by the certificate itself or by its issuers. After it: which issuers are proven.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::x509::Facts;
use crate::clock::Timestamp;
use crate::limits;

/// Asks for a certificate, takes none for an answer, and any that is in force (ThingsBoard's "client cert wanted").
#[derive(Debug)]
pub(super) struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClient {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: issuers are known to the control plane only, and without hints a client shows what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        in_force(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
    }

    /// rustls's own function reads certificates of version 3 only; older ones are made to this day by `openssl x509 -req`.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let facts = Facts::read(cert).ok_or(CertificateError::BadEncoding)?;
        let candidates = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) = candidates.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // The scheme's name leaves the curve open in TLS 1.2; the key does not.
        let fitting = candidates.iter().find(|algorithm| *algorithm.public_key_alg_id() == *facts.key_algorithm);
        let verified = fitting.map(|algorithm| algorithm.verify_signature(facts.key, message, dss.signature()));
        match verified {
            Some(Ok(())) => Ok(HandshakeSignatureValid::assertion()),
            _ => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let facts = Facts::read(cert).ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(facts.public_key_info);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn in_force(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let facts = Facts::read(certificate).ok_or(CertificateError::BadEncoding)?;
    if now < facts.not_before {
        Err(CertificateError::NotValidYet)
    } else if now > facts.not_after {
        Err(CertificateError::Expired)
    } else if !facts.for_clients {
        Err(CertificateError::InvalidPurpose)
    } else {
        Ok(())
    }
}

/// Of the certificates that a client showed ([`super::Stream::peer_certificates`]): its own, whose key it has, and after it
/// those that are proven to have issued it, directly or through others it showed, by the rules of RFC 5280 (signatures, dates,
/// path lengths, name constraints, and that whoever stands between may issue). Of the others only the client's word is known:
/// it can show any certificate, but not get it to sign.
///
/// Empty if the client's own certificate is out of force by now: a resumed session does not show it again.
#[must_use]
pub fn proven_chain<'a>(shown: &'a [CertificateDer<'static>], now: Timestamp) -> Vec<&'a CertificateDer<'static>> {
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
    let Some((own, others)) = shown.split_first() else { return Vec::new() };
    if in_force(own, now).is_err() {
        return Vec::new();
    }
    let issuers = others.get(..limits::TLS_CHAIN_MAX).unwrap_or(others);
    let proven = issuers.iter().filter(|issuer| has_issued(issuer, own, issuers, now));
    std::iter::once(own).chain(proven).collect()
}

/// Whether a path leads from `own` through some of `others` to `issuer`, if `issuer` is trusted.
fn has_issued(issuer: &CertificateDer<'static>, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> bool {
    // webpki does not look at the dates of what it is told to trust.
    let in_force = Facts::read(issuer).is_some_and(|facts| (facts.not_before..=facts.not_after).contains(&now));
    let mut roots = RootCertStore::empty();
    if !in_force || roots.add(issuer.clone()).is_err() {
        return false;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.is_ok_and(|verifier| verifier.verify_client_cert(own, others, now).is_ok())
}
