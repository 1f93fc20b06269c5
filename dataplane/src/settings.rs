//! What this data plane was told locally, as typed values. Parsing and single rules are `schemas::settings`; here is what
//! needs this machine: cores and memory. Never reads a file or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemas::settings::{InvalidSettings, Loaded, Problem};

use crate::limits::Pools;

/// Most shards of one process; the rule of `shards` says the same.
const SHARDS_MAX: u16 = 64;

/// How shards ask the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel and its seccomp profile allow it, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// What an acknowledgement survives (DESIGN 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    Synced,
    /// kill -9, but not a power cut within the last second.
    Buffered,
}

/// When the next persistent call leaves for a device (ThingsBoard's RPC submit strategies).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submit {
    Burst,
    OnAck,
    OnResponse,
}

/// Where a PEM certificate chain and its private key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The data plane's settings, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub shards: u16,
    pub driver: Driver,
    pub durability: Durability,
    /// `None`: the memory sum is printed, not checked.
    pub memory_max_bytes: Option<u64>,
    /// What fits `memory_max`; full ones without it.
    pub pools: Pools,
    pub mqtt_listen: SocketAddr,
    pub mqtt_tls_listen: Option<SocketAddr>,
    /// Whoever connects is a balancer and says so by the PROXY protocol.
    pub mqtt_proxied: bool,
    pub device_http_listen: SocketAddr,
    pub device_http_tls_listen: Option<SocketAddr>,
    pub device_http_proxied: bool,
    /// Of one address, to each shard; `None`: no bound.
    pub connections_per_address: Option<u32>,
    pub rpc_submit: Submit,
    /// What devices see over TLS; not empty if there is a TLS listener for them.
    pub device_tls: Vec<Tls>,
    pub query_listen: SocketAddr,
    pub query_advertise: Option<String>,
    pub query_tls: Option<Tls>,
    pub admin_listen: SocketAddr,
    /// URL of the control plane's gRPC.
    pub control_plane: String,
    pub link_tls_ca: Option<PathBuf>,
    pub join_token: String,
    /// Where Slack is; no path, no slash at its end.
    pub slack_url: String,
    pub instance_id: Option<String>,
}

impl Settings {
    /// Types the data plane's part of `loaded`. `cores` stands for `shards = "auto"`.
    ///
    /// # Errors
    /// All problems together: what is missing, and a memory sum beyond `memory_max` (DESIGN 8.2, 6).
    pub fn new(loaded: &Loaded, cores: usize) -> Result<Self, InvalidSettings> {
        let mut problems = Vec::new();
        let shards = shards(loaded, cores);
        let pools = pools(loaded, shards, &mut problems);
        let mut text = |path: &str| needed(loaded.text(path).map(ToOwned::to_owned), path, &mut problems);
        let (data_dir, control_plane) = (text("data_dir"), text("link.control_plane"));
        let (join_token, slack_url) = (text("grpc.join_token"), text("outside.slack_url"));
        let mut address = |path: &str| needed(loaded.address(path), path, &mut problems);
        let (mqtt, device_http) = (address("mqtt.listen"), address("device.http_listen"));
        let (query, admin) = (address("query.listen"), address("admin.listen"));
        let (Some(data_dir), Some(control_plane), Some(join_token), Some(slack_url)) =
            (data_dir, control_plane, join_token, slack_url)
        else {
            return Err(InvalidSettings { problems });
        };
        let (Some(mqtt_listen), Some(device_http_listen), Some(query_listen), Some(admin_listen)) =
            (mqtt, device_http, query, admin)
        else {
            return Err(InvalidSettings { problems });
        };
        if !problems.is_empty() {
            return Err(InvalidSettings { problems });
        }
        Ok(Self {
            data_dir: data_dir.into(),
            shards,
            driver: driver(loaded),
            durability: if loaded.text("durability") == Some("buffered") { Durability::Buffered } else { Durability::Synced },
            memory_max_bytes: loaded.number("memory_max"),
            pools,
            mqtt_listen,
            mqtt_tls_listen: loaded.address("mqtt.tls_listen"),
            mqtt_proxied: loaded.text("mqtt.proxy_protocol") == Some("required"),
            device_http_listen,
            device_http_tls_listen: loaded.address("device.http_tls_listen"),
            device_http_proxied: loaded.text("device.http_proxy_protocol") == Some("required"),
            connections_per_address: loaded.number("device.connections_per_address").and_then(|most| u32::try_from(most).ok()),
            device_tls: device_tls(loaded),
            rpc_submit: submit(loaded),
            query_listen,
            query_advertise: loaded.text("query.advertise").map(ToOwned::to_owned),
            query_tls: tls(loaded),
            admin_listen,
            control_plane,
            link_tls_ca: loaded.path("link.tls_ca"),
            join_token,
            slack_url: slack_url.trim_end_matches('/').to_owned(),
            instance_id: loaded.text("instance_id").map(ToOwned::to_owned),
        })
    }
}

fn shards(loaded: &Loaded, cores: usize) -> u16 {
    let cores = u16::try_from(cores).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
    loaded.number("shards").and_then(|shards| u16::try_from(shards).ok()).unwrap_or(cores)
}

fn driver(loaded: &Loaded) -> Driver {
    match loaded.text("driver") {
        Some("io_uring") => Driver::IoUring,
        Some("epoll") => Driver::Epoll,
        _ => Driver::Auto,
    }
}

fn submit(loaded: &Loaded) -> Submit {
    match loaded.text("device.rpc_submit") {
        Some("on_ack") => Submit::OnAck,
        Some("on_response") => Submit::OnResponse,
        _ => Submit::Burst,
    }
}

fn tls(loaded: &Loaded) -> Option<Tls> {
    Some(Tls { cert: loaded.path("query.tls_cert")?, key: loaded.path("query.tls_key")? })
}

fn device_tls(loaded: &Loaded) -> Vec<Tls> {
    let pairs = loaded.pairs("device.tls_certificates").iter();
    pairs.map(|(cert, key)| Tls { cert: cert.into(), key: key.into() }).collect()
}

/// Pools that fit `memory_max` (DESIGN 8.2, 6).
fn pools(loaded: &Loaded, shards: u16, problems: &mut Vec<Problem>) -> Pools {
    let Some(memory_max) = loaded.number("memory_max") else { return Pools::FULL };
    Pools::within(memory_max, usize::from(shards)).unwrap_or_else(|least| {
        let rule = format!("at least {least} bytes, what the smallest pools of {shards} shards need; raise it or lower shards");
        problems.push(Problem::new("memory_max", &memory_max.to_string(), rule));
        Pools::FULL
    })
}

fn needed<T>(value: Option<T>, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    if value.is_none() {
        problems.push(Problem {
            path: path.to_owned(),
            value: "(not set)".to_owned(),
            rule: "needed by the data plane".to_owned(),
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::settings::{Input, Role, load};

    use super::*;

    /// Loads with the given variables and four cores, and hands back the settings or the lines of the refusal.
    fn check(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let mut environment = BTreeMap::from([("TIDEGATE_GRPC_JOIN_TOKEN".to_owned(), "0123456789abcdef".to_owned())]);
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let loaded = load(&Input { role: Role::Dataplane, file: None, environment: &environment, arguments: &[] }).unwrap();
        Settings::new(&loaded, 4).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.shards, 4);
        assert_eq!(settings.driver, Driver::Auto);
        assert_eq!(settings.durability, Durability::Synced);
        assert_eq!(settings.memory_max_bytes, None);
        assert_eq!(settings.mqtt_listen, "0.0.0.0:1883".parse().unwrap());
        assert_eq!(settings.device_http_listen, "0.0.0.0:8081".parse().unwrap());
        assert_eq!((settings.mqtt_tls_listen, settings.device_http_tls_listen, settings.device_tls), (None, None, Vec::new()));
        assert_eq!(settings.control_plane, "http://127.0.0.1:7070");
    }

    #[test]
    fn certificates_of_devices_reach_their_type() {
        let settings = check(&[
            ("TIDEGATE_MQTT_TLS_LISTEN", "0.0.0.0:8883"),
            ("TIDEGATE_DEVICE_HTTP_TLS_LISTEN", "0.0.0.0:8443"),
            ("TIDEGATE_DEVICE_TLS_CERTIFICATES", "a.pem:a.key"),
        ])
        .unwrap();
        assert_eq!(settings.mqtt_tls_listen, "0.0.0.0:8883".parse().ok());
        assert_eq!(settings.device_http_tls_listen, "0.0.0.0:8443".parse().ok());
        assert_eq!(settings.device_tls, [Tls { cert: "a.pem".into(), key: "a.key".into() }]);
    }

    #[test]
    fn balancers_and_addresses_reach_their_types() {
        let of = |settings: Settings| (settings.mqtt_proxied, settings.device_http_proxied, settings.connections_per_address);
        assert_eq!(check(&[]).map(of), Ok((false, false, None)));
        let given = check(&[("TIDEGATE_MQTT_PROXY_PROTOCOL", "required"), ("TIDEGATE_DEVICE_CONNECTIONS_PER_ADDRESS", "7")]);
        assert_eq!(given.map(of), Ok((true, false, Some(7))));
        assert_eq!(check(&[("TIDEGATE_DEVICE_RPC_SUBMIT", "on_ack")]).map(|settings| settings.rpc_submit), Ok(Submit::OnAck));
        let given = check(&[("TIDEGATE_DEVICE_HTTP_PROXY_PROTOCOL", "required")]);
        assert_eq!(given.map(of), Ok((false, true, None)));
    }

    #[test]
    fn choices_reach_their_types() {
        let settings =
            check(&[("TIDEGATE_DRIVER", "epoll"), ("TIDEGATE_DURABILITY", "buffered"), ("TIDEGATE_SHARDS", "3")]).unwrap();
        assert_eq!((settings.driver, settings.durability, settings.shards), (Driver::Epoll, Durability::Buffered, 3));
    }

    #[test]
    fn pools_shrink_to_memory_max_and_too_little_is_refused_with_the_least() {
        let refusal = check(&[("TIDEGATE_MEMORY_MAX", "1M"), ("TIDEGATE_SHARDS", "2")]).unwrap_err();
        assert!(refusal.contains("memory_max = \"1048576\": at least") && refusal.contains("of 2 shards"), "{refusal}");
        assert_eq!(check(&[("TIDEGATE_MEMORY_MAX", "64G"), ("TIDEGATE_SHARDS", "2")]).unwrap().pools, Pools::FULL);
        let small = check(&[("TIDEGATE_MEMORY_MAX", "512M"), ("TIDEGATE_SHARDS", "1")]).unwrap().pools;
        assert!(small.process_bytes(1) <= 512 << 20 && small.connections >= 12_288, "{small:?}");
    }
}
