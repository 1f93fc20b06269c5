//! Fuzz target: any script of a client, a shard and a network that damages what it carries, on one TLS stream. Only calls the
//! harness; its first byte says which version the client speaks.
#![no_main]

use std::sync::{Arc, LazyLock};

use dataplane::transport::{CertificateFiles, Certificates, harness};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

static CONFIGS: LazyLock<(Arc<ServerConfig>, [Arc<ClientConfig>; 2])> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("pem"), certificate.pem()).expect("a file");
    std::fs::write(path("key"), key.serialize_pem()).expect("a file");
    let files = CertificateFiles { certificate: path("pem"), key: path("key") };
    let server = Certificates::load(vec![files]).expect("usable files").current().load_full();
    let clients = [&TLS12, &TLS13].map(|version| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(&[version]);
        Arc::new(builder.expect("a version").with_root_certificates(roots).with_no_client_auth())
    });
    (server, clients)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (server, clients) = &*CONFIGS;
    if let Some((version, script)) = bytes.split_first() {
        harness::any(server, &clients[usize::from(version % 2)], script);
    }
});
