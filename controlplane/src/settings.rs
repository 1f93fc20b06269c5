//! What this control plane was told locally, as typed values. Parsing and all rules are `schemas::settings`. Never reads a
//! file or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemas::settings::{InvalidSettings, Loaded, Problem};

/// Where a PEM certificate chain and its private key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The control plane's settings, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data_dir: PathBuf,
    /// `None`: a SQLite file in `data_dir`.
    pub database_url: Option<String>,
    pub http_listen: SocketAddr,
    pub grpc_listen: SocketAddr,
    pub join_token: String,
    pub grpc_tls: Option<Tls>,
    /// What the control plane trusts when it asks data planes over TLS.
    pub query_tls_ca: Option<PathBuf>,
    pub access_token_s: u64,
    pub refresh_token_s: u64,
    /// The largest OTA package, in bytes.
    pub package_bytes_max: u64,
    /// Devices told of a package together, and how long after that the next ones, in seconds.
    pub pack_devices: u64,
    pub pack_interval_s: u64,
    /// Create the well-known demo users and devices. Never for production.
    pub demo: bool,
}

impl Settings {
    /// Types the control plane's part of `loaded`.
    ///
    /// # Errors
    /// All that is missing.
    pub fn new(loaded: &Loaded, demo: bool) -> Result<Self, InvalidSettings> {
        let mut problems = Vec::new();
        let mut text = |path: &str| needed(loaded.text(path).map(ToOwned::to_owned), path, &mut problems);
        let (data_dir, join_token) = (text("data_dir"), text("grpc.join_token"));
        let mut address = |path: &str| needed(loaded.address(path), path, &mut problems);
        let (http, grpc) = (address("http.listen"), address("grpc.listen"));
        let mut number = |path: &str| needed(loaded.number(path), path, &mut problems);
        let (access, refresh) = (number("access.access_token_s"), number("access.refresh_token_s"));
        let (bytes, devices, interval) =
            (number("ota.package_bytes_max"), number("ota.pack_devices"), number("ota.pack_interval_s"));
        let (Some(data_dir), Some(join_token), Some(http_listen)) = (data_dir, join_token, http) else {
            return Err(InvalidSettings { problems });
        };
        let (Some(package_bytes_max), Some(pack_devices), Some(pack_interval_s)) = (bytes, devices, interval) else {
            return Err(InvalidSettings { problems });
        };
        let (Some(grpc_listen), Some(access_token_s), Some(refresh_token_s)) = (grpc, access, refresh) else {
            return Err(InvalidSettings { problems });
        };
        Ok(Self {
            data_dir: data_dir.into(),
            database_url: loaded.text("database.url").map(ToOwned::to_owned),
            http_listen,
            grpc_listen,
            join_token,
            grpc_tls: tls(loaded),
            query_tls_ca: loaded.path("query.tls_ca"),
            access_token_s,
            refresh_token_s,
            package_bytes_max,
            pack_devices,
            pack_interval_s,
            demo,
        })
    }
}

fn tls(loaded: &Loaded) -> Option<Tls> {
    Some(Tls { cert: loaded.path("grpc.tls_cert")?, key: loaded.path("grpc.tls_key")? })
}

fn needed<T>(value: Option<T>, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    if value.is_none() {
        let rule = "needed by the control plane".to_owned();
        problems.push(Problem { path: path.to_owned(), value: "(not set)".to_owned(), rule });
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::settings::{Input, Role, load};

    use super::*;

    fn check(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let environment: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = load(&Input { role: Role::Standalone, file: None, environment: &environment, arguments: &[] }).unwrap();
        Settings::new(&loaded, false).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let settings = check(&[("TIDEGATE_GRPC_JOIN_TOKEN", "0123456789abcdef")]).unwrap();
        assert_eq!(settings.http_listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(settings.grpc_listen, "127.0.0.1:7070".parse().unwrap());
        assert_eq!((settings.access_token_s, settings.refresh_token_s), (9_000, 604_800));
        let ota = (settings.package_bytes_max, settings.pack_devices, settings.pack_interval_s);
        assert_eq!(ota, (256 << 20, 100, 60));
        assert!(settings.grpc_tls.is_none() && settings.database_url.is_none() && !settings.demo);
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = check(&[]).unwrap_err();
        assert!(refusal.contains("grpc.join_token = (not set): needed"), "{refusal}");
    }
}
