//! Certificates made for a test, and a client and a stream that talk over a pair of sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SigningKey as _,
};
use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    sign::CertifiedKey,
};

use crate::limits;
use crate::transport::{CertificateFiles, Certificates, Received, Sent, Stream};

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

pub(super) struct Issued {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        Self { issuer: CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap() }
    }

    /// An authority that this one vouches for.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::signed_by(authority_params(name), key, &self.issuer).unwrap() }
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A client's certificate, changed by `change` before it is signed.
    pub(super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue_for(KeyPair::generate().unwrap(), change)
    }

    pub(super) fn issue_for(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "device");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: vec![certificate.der().clone()], key }
    }

    /// Writes a server's certificate for these hosts, and its key, as `{name}.pem` and `{name}.key`.
    pub(super) fn write(&self, folder: &Path, name: &str, hosts: &[&str]) -> CertificateFiles {
        let files = CertificateFiles { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The same certificate as version 1 has it: without version and extensions, signed by its own key.
pub(super) fn as_version_1(issued: Issued) -> Issued {
    let (_, certificate) = elements(&issued.chain[0])[0];
    let outer = elements(certificate);
    let body: Vec<u8> = elements(outer[0].1)
        .into_iter()
        .filter(|(tag, _)| !matches!(tag, 0xA0 | 0xA3))
        .flat_map(|(tag, c)| der(tag, c))
        .collect();
    let body = der(0x30, &body);
    let mut signature = vec![0];
    signature.extend(issued.key.sign(&body).unwrap());
    let whole = [body, der(0x30, outer[1].1), der(0x03, &signature)].concat();
    Issued { chain: vec![der(0x30, &whole).into()], key: issued.key }
}

/// Tags and contents, one after the other.
fn elements(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [tag, length, ..] = bytes {
        let (head, length) = match *length {
            0x81 => (3, usize::from(bytes[2])),
            0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
            short => (2, usize::from(short)),
        };
        found.push((*tag, &bytes[head..head + length]));
        bytes = &bytes[head + length..];
    }
    found
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match (high, low) {
        (0, ..=0x7F) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}

/// A server for `localhost`.
pub(super) fn server_config(authority: &Authority) -> Arc<ServerConfig> {
    let folder = tempfile::tempdir().unwrap();
    Certificates::load(vec![authority.write(folder.path(), "server", &["localhost"])]).unwrap().current().load_full()
}

/// A client that trusts `authority` and shows a certificate, whether it is asked for it or not fit to.
pub(super) fn client_config(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    shown: Option<&Issued>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    let Some(Issued { chain, key }) = shown else { return Arc::new(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = CertifiedKey::new(chain.clone(), provider.key_provider.load_private_key(key).unwrap());
    Arc::new(builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(key)))))
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A stream of a shard and a client at its other end.
pub(super) struct Talk {
    pub(super) stream: Stream,
    pub(super) client: ClientConnection,
    pub(super) far: UnixStream,
}

/// Where a talk has come to.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) by_shard: Vec<u8>,
    pub(super) by_client: Vec<u8>,
    /// What the shard's stream said last that was not bytes.
    pub(super) last: Option<Received>,
    pub(super) client_error: Option<Error>,
}

pub(super) fn pair() -> (TcpStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (TcpStream::from(OwnedFd::from(near)), far)
}

impl Talk {
    pub(super) fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        Self::with_host(server, client, "localhost")
    }

    pub(super) fn with_host(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, host: &str) -> Self {
        let (near, far) = pair();
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let client = ClientConnection::new(Arc::clone(client), host).unwrap();
        Self { stream: Stream::tls(near, server).unwrap(), client, far }
    }

    /// Client and shard read and write until both have nothing more to say.
    pub(super) fn run(&mut self) -> Heard {
        let mut heard = Heard::default();
        let mut into = vec![0; limits::READ_BUFFER_BYTES];
        loop {
            let mut moved = self.client_sends() > 0;
            match self.stream.receive(&mut into) {
                Received::Bytes { count, .. } => {
                    heard.by_shard.extend_from_slice(&into[..count]);
                    moved = true;
                }
                other => heard.last = Some(other),
            }
            assert_ne!(self.stream.flush(), Sent::Full, "the pair of sockets is large enough");
            moved |= self.client_hears(&mut heard);
            if !moved {
                return heard;
            }
        }
    }

    pub(super) fn client_sends(&mut self) -> usize {
        let mut sent = 0;
        while self.client.wants_write() {
            match self.client.write_tls(&mut &self.far) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    pub(super) fn client_hears(&mut self, heard: &mut Heard) -> bool {
        let mut moved = false;
        while self.client.wants_read() && matches!(self.client.read_tls(&mut &self.far), Ok(1..)) {
            moved = true;
            if let Err(error) = self.client.process_new_packets() {
                heard.client_error = Some(error);
                return false;
            }
            let _end = self.client.reader().read_to_end(&mut heard.by_client);
        }
        moved
    }

    pub(super) fn client_says(&mut self, bytes: &[u8]) {
        assert_eq!(self.client.writer().write(bytes).unwrap(), bytes.len());
    }
}
