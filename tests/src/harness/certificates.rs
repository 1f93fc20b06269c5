//! Certificates made with the `openssl` command in the test's directory: an authority, a server's, devices', broken ones.
//! Never part of the product; never reused between tests.

use super::instance::{Home, Setup};
use super::port;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate file and its key file.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Pair {
    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        std::fs::read_to_string(&self.certificate).expect("the certificate was made")
    }

    /// As arguments of mosquitto's programs.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        vec!["--cert".to_owned(), path(&self.certificate), "--key".to_owned(), path(&self.key)]
    }
}

/// From when to when a certificate is valid, as `openssl ca` writes it.
#[derive(Clone, Copy, Debug)]
pub struct Validity(pub &'static str, pub &'static str);

pub const VALID: Validity = Validity("20200101000000Z", "20491231235959Z");
pub const EXPIRED: Validity = Validity("20200101000000Z", "20210101000000Z");
pub const NOT_YET: Validity = Validity("20480101000000Z", "20491231235959Z");

const CLIENT: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n";
const SERVER: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n";
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\n";

/// An authority and what it signed.
#[derive(Debug)]
pub struct Authority {
    pub pair: Pair,
    directory: PathBuf,
}

impl Authority {
    /// One that signed itself.
    ///
    /// # Panics
    /// When `openssl` is not installed or refuses.
    #[must_use]
    pub fn new(home: &Home, name: &str) -> Self {
        Self::new_in(home.path(), name)
    }

    /// The same in any directory.
    ///
    /// # Panics
    /// When `openssl` is not installed or refuses.
    #[must_use]
    pub fn new_in(directory: &Path, name: &str) -> Self {
        let directory = directory.join(format!("authority-{name}"));
        std::fs::create_dir(&directory).expect("the test's directory is writable");
        let pair = Pair { certificate: directory.join("ca.pem"), key: directory.join("ca.key") };
        let authority = Self { pair, directory };
        key(&authority.pair.key);
        let request = authority.request(&authority.pair.key, name);
        authority.prepare();
        let out = authority.pair.certificate.clone();
        authority.sign(&["-selfsign"], &request, &out, (AUTHORITY, VALID));
        authority
    }

    /// An authority that this one vouches for.
    #[must_use]
    pub fn intermediate(&self, home: &Home, name: &str) -> Self {
        let directory = home.path().join(format!("authority-{name}"));
        std::fs::create_dir(&directory).expect("the test's directory is writable");
        let pair = self.issue(name, (AUTHORITY, VALID));
        let own = Self { pair, directory };
        own.prepare();
        own
    }

    /// A device's certificate with this common name.
    #[must_use]
    pub fn client(&self, name: &str, validity: Validity) -> Pair {
        self.issue(name, (CLIENT, validity))
    }

    /// A device's certificate with its issuer's behind it in the same file.
    #[must_use]
    pub fn chained_client(&self, name: &str, validity: Validity) -> Pair {
        let pair = self.client(name, validity);
        std::fs::write(&pair.certificate, pair.pem() + &self.pair.pem()).expect("the test's directory is writable");
        pair
    }

    /// A certificate for this host name and the loopback address.
    #[must_use]
    pub fn server(&self, name: &str) -> Pair {
        self.issue(name, (&format!("{SERVER}subjectAltName=DNS:{name},IP:127.0.0.1\n"), VALID))
    }

    fn issue(&self, name: &str, terms: (&str, Validity)) -> Pair {
        let path = |extension: &str| self.directory.join(format!("{}.{extension}", name.replace(['/', ' '], "-")));
        let pair = Pair { certificate: path("pem"), key: path("key") };
        key(&pair.key);
        let request = self.request(&pair.key, name);
        self.sign(&[], &request, &pair.certificate, terms);
        pair
    }

    fn request(&self, key: &Path, name: &str) -> PathBuf {
        let request = key.with_extension("csr");
        let subject = format!("/CN={name}");
        run(openssl().args(["req", "-new", "-subj", &subject, "-key"]).arg(key).arg("-out").arg(&request), &self.directory);
        request
    }

    /// What `openssl ca` wants to find.
    fn prepare(&self) {
        let settings = "[ca]\ndefault_ca=this\n[this]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
            default_md=sha256\npolicy=any\nunique_subject=no\nemail_in_dn=no\n[any]\ncommonName=supplied\n";
        std::fs::write(self.directory.join("ca.cnf"), settings).expect("the test's directory is writable");
        std::fs::write(self.directory.join("index.txt"), "").expect("the test's directory is writable");
    }

    fn sign(&self, how: &[&str], request: &Path, out: &Path, (extensions, validity): (&str, Validity)) {
        let extension_file = out.with_extension("ext");
        std::fs::write(&extension_file, extensions).expect("the test's directory is writable");
        let mut command = openssl();
        command.args(["ca", "-batch", "-notext", "-config", "ca.cnf", "-startdate", validity.0, "-enddate", validity.1]);
        if how.is_empty() {
            command.arg("-cert").arg(&self.pair.certificate);
        }
        command.args(how).arg("-keyfile").arg(&self.pair.key).arg("-extfile").arg(&extension_file);
        run(command.arg("-in").arg(request).arg("-out").arg(out), &self.directory);
    }
}

fn key(path: &Path) {
    let directory = path.parent().expect("a key lies in a directory");
    run(openssl().args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(path), directory);
}

fn openssl() -> Command {
    Command::new("openssl")
}

fn run(command: &mut Command, directory: &Path) {
    let output = command.current_dir(directory).output().unwrap_or_else(|error| panic!("openssl: {error}: install openssl"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same instance with TLS listeners for devices and these certificates; the first is for hosts that none of them names.
#[must_use]
pub fn over_tls(setup: Setup, servers: &[&Pair]) -> Setup {
    let pairs: Vec<String> =
        servers.iter().map(|pair| format!("{}:{}", pair.certificate.display(), pair.key.display())).collect();
    setup
        .with("TIDEGATE_MQTT_TLS_LISTEN", port::ANY)
        .with("TIDEGATE_DEVICE_HTTP_TLS_LISTEN", port::ANY)
        .with("TIDEGATE_DEVICE_TLS_CERTIFICATES", pairs.join(","))
}
