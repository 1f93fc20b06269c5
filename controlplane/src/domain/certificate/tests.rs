//! Certificates as they come: of a good authority, and each kind of bad one. Also a small authority for other tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::*;

/// Midnight, 1 January 2030, in milliseconds.
pub(crate) const YEAR_2030: i64 = 1_893_456_000_000;

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(of_authority(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// Another, vouched for by this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(of_authority(name), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A device's certificate, in DER.
    pub(crate) fn device(&self, common_name: &str) -> Vec<u8> {
        self.sign(params(common_name))
    }

    /// One that is valid in these years only.
    pub(crate) fn device_of_years(&self, common_name: &str, from: i32, to: i32) -> Vec<u8> {
        let mut params = params(common_name);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        self.sign(params)
    }

    /// One for a server, which no client may show.
    pub(crate) fn server(&self, common_name: &str) -> Vec<u8> {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().der().to_vec()
    }
}

/// The PEM of a certificate given in DER.
pub(crate) fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

fn read(text: &str) -> Result<Certificate, Invalid> {
    Certificate::read("certificate", text)
}

#[test]
fn one_certificate_has_one_fingerprint_however_it_is_written() {
    let authority = Authority::new("Root");
    let pem = pem(&authority.device("meter 1"));
    let certificate = read(&pem).unwrap();
    // Reference 1.1: SHA3-256 of the body without header, footer and line ends.
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(certificate.body(), body);
    assert_eq!(certificate.fingerprint(), hex(digest(&SHA3_256, body.as_bytes()).as_ref()));
    for text in [body.clone(), pem.replace('\n', "\r\n"), pem.replace('\n', ""), format!("key\n{pem}\nmore")] {
        assert_eq!(read(&text).as_ref(), Ok(&certificate), "{text}");
    }
    assert_eq!(certificate.common_name().as_deref(), Some("meter 1"));
    assert_eq!(certificate.lookup(), digest(&SHA256, &certificate_form(certificate.der())).as_ref());
    let root = Certificate::read_first("ca", &authority.pem()).unwrap();
    assert_eq!(certificate.issuer_digest(), root.subject_digest());
    assert!(!format!("{certificate:?}").contains("meter"));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let pem = pem(&Authority::new("Root").device("meter 1"));
    let check = |text: &str, says: &str| {
        let refused = read(text).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused} does not say {says}");
    };
    check("", "must be an X.509 certificate");
    check("AAAA", "must be an X.509 certificate");
    check("no certificate!", "base64 of DER");
    check(&pem.replace(END, ""), "must end with its PEM footer");
    check(&format!("{pem}{pem}"), "\"2 certificates\" must be one");
    check(&"A".repeat(40_000), "at most 32768 bytes");
    let cut: String = pem.chars().filter(|letter| *letter != 'M').collect();
    assert!(read(&cut).is_err());
    assert!(Certificate::from_der("der", vec![0; 16_385]).unwrap_err().to_string().contains("at most 16384"));
    assert!(Certificate::read_first("ca", "").is_err());
}

#[test]
fn an_authority_vouches_for_its_devices_only() {
    let root = Authority::new("Root");
    let factory = root.below("Factory");
    let root_certificate = Certificate::read_first("ca", &root.pem()).unwrap();
    let of_factory = Certificate::read_first("ca", &factory.pem()).unwrap();
    let check = |chain: &[Vec<u8>], authority: &Certificate, expected: Result<(), webpki::Error>| {
        let chain: Vec<Certificate> = chain.iter().map(|der| Certificate::from_der("der", der.clone()).unwrap()).collect();
        let found = verify(&chain, authority, YEAR_2030);
        // The variants carry times and names; which one it is, is what counts.
        let kind = |outcome: &Result<(), webpki::Error>| outcome.as_ref().map_err(std::mem::discriminant).copied();
        assert_eq!(kind(&found), kind(&expected), "{found:?}");
    };
    let device = factory.device("meter 1");
    check(std::slice::from_ref(&device), &of_factory, Ok(()));
    check(&[device.clone(), factory.der()], &root_certificate, Ok(()));
    check(&[device.clone(), factory.der(), root.der()], &root_certificate, Ok(()));
    check(std::slice::from_ref(&device), &root_certificate, Err(webpki::Error::UnknownIssuer));
    check(&[], &root_certificate, Err(webpki::Error::UnknownIssuer));
    // The same name is not the same key.
    let impostor = Certificate::read_first("ca", &Authority::new("Factory").pem()).unwrap();
    let forged = webpki::Error::InvalidSignatureForPublicKey;
    check(&[device], &impostor, Err(forged));
    let (time, not_after) = (UnixTime::since_unix_epoch(Duration::ZERO), UnixTime::since_unix_epoch(Duration::ZERO));
    let expired = webpki::Error::CertExpired { time, not_after };
    check(&[factory.device_of_years("old", 2020, 2025)], &of_factory, Err(expired));
    let early = webpki::Error::CertNotValidYet { time, not_before: not_after };
    check(&[factory.device_of_years("new", 2035, 2040)], &of_factory, Err(early));
    let server = factory.server("a server");
    let chain = [Certificate::from_der("der", server).unwrap()];
    let refused = format!("{:?}", verify(&chain, &of_factory, YEAR_2030).unwrap_err());
    assert!(refused.contains("Eku"), "{refused}");
    // An authority is no device.
    check(&[factory.der()], &root_certificate, Err(webpki::Error::CaUsedAsEndEntity));
}
