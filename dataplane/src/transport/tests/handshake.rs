//! Who is let in, as whom, and by which certificate of ours.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, date_time_ymd,
};
use rustls::{
    AlertDescription, Error,
    pki_types::CertificateDer,
    version::{TLS12, TLS13},
};

use super::fixture::{Authority, Issued, Talk, as_version_1, client_config, server_config};
use crate::clock::Timestamp;
use crate::transport::{Fault, Received, Sent, proven_chain};

/// 2026-01-01, within the validity of whatever rcgen makes unless told otherwise.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// Lets a client with this certificate in, or refuses it, under both versions; a second connection resumes as the same client.
fn check(shown: Option<&Issued>, expected: Result<(), AlertDescription>) {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("server's root");
        let server = server_config(&authority);
        let client = client_config(&authority, version, shown);
        for resumed in [false, true] {
            let mut talk = Talk::new(&server, &client);
            assert!(talk.stream.is_handshaking());
            assert_eq!(talk.stream.send(b"early"), Sent::Full, "nothing is taken before the handshake is over");
            talk.client_says(b"ping");
            let heard = talk.run();
            if let Err(alert) = expected {
                assert_eq!(heard.client_error, Some(Error::AlertReceived(alert)), "{version:?}");
                assert_eq!(heard.last, Some(Received::Broken(Fault::Certificate)));
                assert_eq!(talk.stream.send(b"pong"), Sent::Broken);
                assert!(heard.by_shard.is_empty() && talk.stream.peer_certificates().is_empty());
                continue;
            }
            assert_eq!((heard.client_error, &heard.by_shard[..]), (None, &b"ping"[..]), "{version:?}");
            assert!(!talk.stream.is_handshaking());
            assert_eq!(talk.stream.is_resumed(), resumed, "{version:?}");
            assert_eq!(talk.stream.peer_certificates(), shown.map_or(&[][..], |shown| &shown.chain));
            assert_eq!(talk.stream.send(b"pong"), Sent::Bytes(4));
            assert_eq!(talk.run().by_client, b"pong");
            assert_eq!(talk.stream.kept_bytes(), 0);
        }
    }
}

fn issue(change: impl FnOnce(&mut CertificateParams)) -> Issued {
    Authority::new("somebody's root").issue(change)
}

#[test]
fn a_client_without_certificate_is_let_in() {
    check(None, Ok(()));
}

#[test]
fn any_certificate_in_force_is_taken() {
    check(Some(&issue(|_| {})), Ok(()));
    check(Some(&issue(|params| params.extended_key_usages.clear())), Ok(()));
    check(Some(&issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any])), Ok(()));
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    check(Some(&issue(|params| params.extended_key_usages = both)), Ok(()));
    // What `openssl req -x509` and `openssl x509 -req` make.
    check(Some(&issue(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))), Ok(()));
    check(Some(&as_version_1(issue(|_| {}))), Ok(()));
}

#[test]
fn keys_of_all_kinds_are_taken() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        check(Some(&Authority::new("somebody's root").issue_for(key, |_| {})), Ok(()));
    }
}

#[test]
fn certificates_out_of_force_or_of_another_purpose_are_refused() {
    check(Some(&issue(|params| params.not_after = date_time_ymd(2020, 1, 1))), Err(AlertDescription::CertificateExpired));
    check(Some(&issue(|params| params.not_before = date_time_ymd(2200, 1, 1))), Err(AlertDescription::CertificateExpired));
    let server_only = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let refused = Err(AlertDescription::UnsupportedCertificate);
    check(Some(&issue(|params| params.extended_key_usages = server_only)), refused);
}

#[test]
fn a_certificate_without_its_key_or_that_is_none_is_refused() {
    let (mine, other) = (issue(|_| {}), issue(|_| {}));
    check(Some(&Issued { chain: other.chain, key: mine.key }), Err(AlertDescription::DecryptError));
    let garbage = Issued { chain: vec![CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])], key: other.key };
    check(Some(&garbage), Err(AlertDescription::BadCertificate));
}

#[test]
fn clients_that_do_not_trust_us_say_so_and_are_counted() {
    let server = server_config(&Authority::new("root"));
    let client = client_config(&Authority::new("another root"), &TLS13, None);
    let mut talk = Talk::new(&server, &client);
    let heard = talk.run();
    assert!(matches!(heard.client_error, Some(Error::InvalidCertificate(_))), "{heard:?}");
    talk.client_sends();
    assert_eq!(talk.run().last, Some(Received::Broken(Fault::Refused)));
}

/// The chain as the client shows it, and how many of it are proven at `now`.
fn check_proven(shown: &[&CertificateDer<'static>], now: Timestamp, proven: &[usize]) {
    let shown: Vec<CertificateDer<'static>> = shown.iter().map(|der| (*der).clone()).collect();
    let found = proven_chain(&shown, now);
    let expected: Vec<_> = proven.iter().map(|index| &shown[*index]).collect();
    assert_eq!(found, expected);
}

#[test]
fn issuers_are_proven_by_their_signatures() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let device = middle.issue(|_| {});
    let own = &device.chain[0];
    let (root_der, middle_der) = (root.der(), middle.der());
    check_proven(&[], NOW, &[]);
    check_proven(&[own], NOW, &[0]);
    check_proven(&[own, &middle_der], NOW, &[0, 1]);
    check_proven(&[own, &middle_der, &root_der], NOW, &[0, 1, 2]);
    // An order of their own, and strangers among them.
    let stranger = Authority::new("middle").der();
    check_proven(&[own, &root_der, &stranger, &middle_der], NOW, &[0, 1, 3]);
    // The root alone has not issued it.
    check_proven(&[own, &root_der], NOW, &[0]);
    check_proven(&[own, &stranger], NOW, &[0]);
}

#[test]
fn a_device_cannot_make_itself_an_authority() {
    let root = Authority::new("root");
    let device = root.issue(|_| {});
    let forged = CertificateParams::new(Vec::new()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut name = CertificateParams::new(Vec::new()).unwrap();
    name.distinguished_name.push(rcgen::DnType::CommonName, "device");
    let own = forged.signed_by(&key, &rcgen::Issuer::new(name, device.key)).unwrap();
    // It has signed for another, which is true, but the root has not.
    check_proven(&[own.der(), &device.chain[0], &root.der()], NOW, &[0, 1]);
}

#[test]
fn what_went_out_of_force_since_proves_nothing() {
    let root = Authority::new("root");
    let device = root.issue(|params| params.not_after = date_time_ymd(2030, 1, 1));
    let later = Timestamp(1_900_000_000_000);
    check_proven(&[&device.chain[0], &root.der()], NOW, &[0, 1]);
    check_proven(&[&device.chain[0], &root.der()], later, &[]);
}
