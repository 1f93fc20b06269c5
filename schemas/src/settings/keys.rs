//! Every setting there is: section, name, rule, default, help. Declares, never reads.

use super::Rule;

/// One declared setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Empty for keys at the top of the file.
    pub section: &'static str,
    pub name: &'static str,
    pub rule: Rule,
    pub default: Option<&'static str>,
    pub help: &'static str,
    /// Never printed.
    pub secret: bool,
}

impl Key {
    /// `section.name`, or `name` at the top.
    #[must_use]
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// Whether `path` is this key's path.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        match path.split_once('.') {
            Some((section, name)) => self.section == section && self.name == name,
            None => self.section.is_empty() && self.name == path,
        }
    }

    /// The environment variable that overrides this key.
    #[must_use]
    pub fn variable(&self) -> String {
        let middle = if self.section.is_empty() { String::new() } else { format!("{}_", self.section) };
        format!("TIDEGATE_{middle}{}", self.name).to_uppercase()
    }
}

const fn key(section: &'static str, name: &'static str, rule: Rule, default: Option<&'static str>, help: &'static str) -> Key {
    Key { section, name, rule, default, help, secret: false }
}

const fn secret(section: &'static str, name: &'static str, rule: Rule, help: &'static str) -> Key {
    Key { section, name, rule, default: None, help, secret: true }
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("", "data_dir", Rule::Path, Some("./data"), "where everything is kept"),
    key("", "shards", Rule::AutoOrInteger { min: 1, max: 64 }, Some("auto"), "data plane threads; auto: one per available core"),
    key(
        "",
        "driver",
        Rule::Choice(&["auto", "io_uring", "epoll"]),
        Some("auto"),
        "how shards ask the kernel; auto: io_uring where it is allowed",
    ),
    key(
        "",
        "durability",
        Rule::Choice(&["synced", "buffered"]),
        Some("synced"),
        "synced: acknowledged is on disk; buffered: acknowledged survives kill -9 but not a power cut of the last second",
    ),
    key(
        "",
        "memory_max",
        Rule::AutoOrBytes,
        Some("auto"),
        "pools are made to fit into this, and a start is refused if the smallest do not; auto: full pools, their sum is printed",
    ),
    key("", "instance_id", Rule::Name, None, "name of this data plane; chosen at first start and kept in data_dir if not given"),
    key("mqtt", "listen", Rule::Address, Some("0.0.0.0:1883"), "MQTT 3.1.1 and 5 over TCP"),
    key("mqtt", "tls_listen", Rule::Address, None, "the same over TLS, usually port 8883; needs device.tls_certificates"),
    key(
        "mqtt",
        "proxy_protocol",
        Rule::Choice(&["off", "required"]),
        Some("off"),
        "required: only a balancer reaches the MQTT listeners, and says by the PROXY protocol, version 1 or 2, who connects",
    ),
    key("device", "http_listen", Rule::Address, Some("0.0.0.0:8081"), "the HTTP API of devices"),
    key("device", "http_tls_listen", Rule::Address, None, "the same over TLS; needs device.tls_certificates"),
    key(
        "device",
        "tls_certificates",
        Rule::FilePairs,
        None,
        "PEM certificate chains and private keys that devices see, as cert.pem:key.pem, chosen by host name, the first for all \
         others; read again when they change",
    ),
    key(
        "device",
        "http_proxy_protocol",
        Rule::Choice(&["off", "required"]),
        Some("off"),
        "the same for the HTTP API of devices; the control plane's listener then answers 503 to devices",
    ),
    key(
        "device",
        "connections_per_address",
        Rule::Integer { min: 1, max: 65_536 },
        None,
        "most connections of one address (or /64 of IPv6) to each shard; no bound if not given",
    ),
    key(
        "device",
        "rpc_submit",
        Rule::Choice(&["burst", "on_ack", "on_response"]),
        Some("burst"),
        "when the next persistent call leaves for a device: at once, when the one before was acknowledged, or when it was answered",
    ),
    key("http", "listen", Rule::Address, Some("127.0.0.1:8080"), "REST, WebSocket and OpenAPI of the control plane"),
    key("grpc", "listen", Rule::Address, Some("127.0.0.1:7070"), "where data planes subscribe to the control plane"),
    key("grpc", "tls_cert", Rule::Path, None, "PEM certificate chain of grpc.listen"),
    key("grpc", "tls_key", Rule::Path, None, "PEM private key of grpc.listen"),
    secret(
        "grpc",
        "join_token",
        Rule::Secret { min: 16, max: 256 },
        "what the planes show each other; standalone: random per start",
    ),
    key("query", "listen", Rule::Address, Some("127.0.0.1:7071"), "where the control plane asks this data plane"),
    key("query", "advertise", Rule::Url, None, "URL under which the control plane reaches query.listen"),
    key("query", "tls_cert", Rule::Path, None, "PEM certificate chain of query.listen"),
    key("query", "tls_key", Rule::Path, None, "PEM private key of query.listen"),
    key("query", "tls_ca", Rule::Path, None, "PEM certificates that the control plane trusts when it asks data planes"),
    key("link", "control_plane", Rule::Url, Some("http://127.0.0.1:7070"), "the control plane's grpc.listen"),
    key("link", "tls_ca", Rule::Path, None, "PEM certificates that the data plane trusts on its link"),
    key(
        "outside",
        "slack_url",
        Rule::Url,
        Some("https://slack.com"),
        "Slack, whose Web API rule nodes call; every tenant's messages with their tokens go there",
    ),
    key("admin", "listen", Rule::Address, Some("127.0.0.1:9090"), "/livez, /readyz and /metrics of the data plane"),
    secret("database", "url", Rule::Database, "sqlite:… or postgres://…; default: a SQLite file in data_dir"),
    key(
        "access",
        "access_token_s",
        Rule::Integer { min: 60, max: 86_400 },
        Some("9000"),
        "life of a REST access token, in seconds",
    ),
    key(
        "access",
        "refresh_token_s",
        Rule::Integer { min: 60, max: 31_536_000 },
        Some("604800"),
        "life of a REST refresh token, in seconds",
    ),
    key(
        "ota",
        "package_bytes_max",
        Rule::Integer { min: 1, max: 1 << 40 },
        Some("268435456"),
        "the largest firmware or software package, in bytes",
    ),
    key(
        "ota",
        "pack_devices",
        Rule::Integer { min: 1, max: 10_000 },
        Some("100"),
        "devices that are told together of a new package",
    ),
    key(
        "ota",
        "pack_interval_s",
        Rule::Integer { min: 1, max: 86_400 },
        Some("60"),
        "from one pack of devices that is told of a package to the next, in seconds",
    ),
    key(
        "log",
        "filter",
        Rule::Text { max: 1_024 },
        Some("info"),
        "what is logged to stderr: a tracing filter such as info,tidegate=debug",
    ),
];

/// Whether some key lies in this section.
pub(super) fn is_section(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|key| key.section == name)
}

/// The rule an unknown path breaks, naming what could have been meant.
pub(super) fn neighbours(path: &str) -> String {
    let section = path.split_once('.').map_or("", |(section, _)| section);
    let names: Vec<&str> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
    if !section.is_empty() {
        return format!("no such setting; [{section}] has {}", names.join(", "));
    }
    let mut sections: Vec<&str> = KEYS.iter().map(|key| key.section).filter(|section| !section.is_empty()).collect();
    sections.dedup();
    format!("no such setting; there are {} and the sections [{}]", names.join(", "), sections.join("], ["))
}
