//! Files of certificates: chosen by name, read again, refused with reasons.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::fixture::{Authority, Talk, client_config};
use crate::clock::Timestamp;
use crate::transport::{CertificateFiles, Certificates};

fn in_file(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// The certificate that a client gets when it asks for this host.
fn shown_for(server: &Arc<ServerConfig>, authority: &Authority, host: &str) -> CertificateDer<'static> {
    let mut talk = Talk::with_host(server, &client_config(authority, &TLS13, None), host);
    let heard = talk.run();
    assert!(talk.client.peer_certificates().is_some(), "{heard:?}");
    talk.client.peer_certificates().unwrap()[0].clone()
}

#[test]
fn the_first_that_stands_for_the_host_is_shown_and_else_the_first() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let hosts = [("a", &["127.0.0.1", "a.example"][..]), ("b", &["*.b.example"]), ("c", &["c.example", "x.b.example"])];
    let files: Vec<CertificateFiles> = hosts.iter().map(|(name, hosts)| authority.write(folder.path(), name, hosts)).collect();
    let certificates = Certificates::load(files.clone()).unwrap();
    let server = certificates.current().load_full();
    for (host, expected) in [("a.example", 0), ("x.b.example", 1), ("c.example", 2), ("127.0.0.1", 0)] {
        assert_eq!(shown_for(&server, &authority, host), in_file(&files[expected].certificate), "{host}");
    }
}

#[test]
fn an_unknown_host_gets_the_first() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let files = vec![authority.write(folder.path(), "a", &["a.example"]), authority.write(folder.path(), "b", &["b.example"])];
    let server = Certificates::load(files).unwrap().current().load_full();
    let mut talk = Talk::with_host(&server, &client_config(&authority, &TLS12, None), "c.example");
    let refusal = talk.run().client_error.unwrap().to_string();
    assert!(refusal.contains("a.example"), "the client names what it got: {refusal}");
}

#[test]
fn files_are_read_again_and_clients_resume_all_the_same() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let files = authority.write(folder.path(), "a", &["localhost"]);
    let mut certificates = Certificates::load(vec![files.clone()]).unwrap();
    let current = certificates.current();
    let first = in_file(&files.certificate);
    let client = client_config(&authority, &TLS13, None);
    let mut before = Talk::new(&current.load_full(), &client);
    before.run();
    assert!(!certificates.changed());

    authority.write(folder.path(), "a", &["localhost"]);
    assert!(certificates.changed());
    certificates.reload().unwrap();
    assert!(!certificates.changed());
    let second = shown_for(&current.load_full(), &authority, "localhost");
    assert!(second == in_file(&files.certificate) && second != first);
    let mut resumed = Talk::new(&current.load_full(), &client);
    resumed.run();
    assert!(resumed.stream.is_resumed());
    // Whoever was there is not disturbed.
    before.client_says(b"still here");
    assert_eq!(before.run().by_shard, b"still here");
}

#[test]
fn what_is_unusable_is_refused_once_and_the_old_stays_in_force() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let files = authority.write(folder.path(), "a", &["localhost"]);
    let mut certificates = Certificates::load(vec![files.clone()]).unwrap();
    let first = in_file(&files.certificate);
    let key = fs::read(&files.key).unwrap();
    // Half an update: the new certificate is there, its key is not yet.
    authority.write(folder.path(), "a", &["localhost"]);
    let new_key = fs::read(&files.key).unwrap();
    fs::write(&files.key, &key).unwrap();
    let refusal = certificates.reload().unwrap_err();
    assert_eq!(refusal.problems.len(), 1);
    assert_eq!(refusal.problems[0].path, files.key);
    assert!(refusal.problems[0].reason.starts_with("is not the key of "), "{refusal}");
    assert!(!certificates.changed(), "not tried again until a file changes");
    assert_eq!(shown_for(&certificates.current().load_full(), &authority, "localhost"), first);
    fs::write(folder.path().join("new.key"), new_key).unwrap();
    fs::rename(folder.path().join("new.key"), &files.key).unwrap();
    assert!(certificates.changed());
    certificates.reload().unwrap();
    assert_ne!(shown_for(&certificates.current().load_full(), &authority, "localhost"), first);
    fs::remove_file(&files.key).unwrap();
    assert!(certificates.changed() && certificates.reload().is_err());
}

#[test]
fn all_problems_are_said_with_their_paths() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let path = |name: &str| folder.path().join(name);
    let good = authority.write(folder.path(), "good", &["good.example"]);
    let other = authority.write(folder.path(), "other", &["other.example"]);
    let nameless = authority.write(folder.path(), "nameless", &["127.0.0.1"]);
    fs::write(path("text"), "hello").unwrap();
    fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(path("huge"), vec![b'x'; 2 << 20]).unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(path("locked"), locked).unwrap();
    let files = |certificate: &Path, key: &Path| CertificateFiles { certificate: certificate.into(), key: key.into() };
    let refusal = Certificates::load(vec![
        files(&good.certificate, &good.key),
        files(&path("absent"), &path("text")),
        files(&path("text"), &path("locked")),
        files(&path("broken"), &path("huge")),
        files(&good.certificate, &other.key),
        nameless.clone(),
    ])
    .unwrap_err();
    let expected = [
        (path("absent"), "No such file"),
        (path("text"), "holds no PEM private key"),
        (path("text"), "holds no PEM certificate"),
        (path("locked"), "holds no PEM private key without passphrase"),
        (path("broken"), "certificate 1 of 1 is not X.509"),
        (path("huge"), "larger than 1048576 bytes"),
        (other.key, "is not the key of"),
        (nameless.certificate, "names no DNS host"),
    ];
    assert_eq!(refusal.problems.len(), expected.len(), "{refusal}");
    for (problem, (path, reason)) in refusal.problems.iter().zip(expected) {
        assert!(problem.path == path && problem.reason.starts_with(reason), "{problem:?} should be {path:?} {reason}");
    }
}

#[test]
fn the_first_expiry_is_known() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("root"));
    let files = authority.write(folder.path(), "a", &["localhost"]);
    // 4096-01-01, which rcgen takes if it is not told otherwise.
    assert_eq!(Certificates::load(vec![files]).unwrap().expiry(), Timestamp(67_090_118_400_000));
}
