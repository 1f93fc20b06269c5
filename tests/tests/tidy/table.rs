//! Who may use whom, and what may appear where, as data.

/// One module and the modules of its crate that it may use, besides itself.
pub(crate) type Row = (&'static str, &'static [&'static str]);

/// A crate whose modules are held to a table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) folder: &'static str,
    pub(crate) rows: &'static [Row],
}

pub(crate) const TABLES: [Table; 2] =
    [Table { folder: "dataplane/src/", rows: DATAPLANE }, Table { folder: "controlplane/src/", rows: CONTROLPLANE }];

/// From the bottom up: a row uses only rows above it.
pub(crate) const DATAPLANE: &[Row] = &[
    ("limits", &[]),
    ("clock", &[]),
    ("metric", &["limits"]),
    ("settings", &["limits"]),
    ("message", &["limits", "clock"]),
    ("owed", &["clock"]),
    ("progress", &["clock"]),
    ("effect", &["clock", "message", "owed", "progress", "limits"]),
    ("codec", &["limits"]),
    ("query", &["clock"]),
    ("registry", &[]),
    ("quota", &["limits", "clock"]),
    ("wheel", &["clock"]),
    ("payload", &["message", "limits", "clock"]),
    ("transport", &["limits", "metric", "clock"]),
    ("session", &["codec", "message", "effect", "limits", "clock"]),
    ("script", &["limits", "clock"]),
    ("rules", &["message", "owed", "progress", "effect", "query", "payload", "script", "limits", "clock"]),
    ("store", &["message", "effect", "limits", "clock", "metric", "query"]),
    ("device", &["message", "owed", "progress", "effect", "limits", "clock", "quota", "store", "query"]),
    ("snapshot", &["rules", "limits", "clock", "quota"]),
    ("auth", &["snapshot", "limits", "clock"]),
    (
        "shard",
        &[
            "limits",
            "clock",
            "metric",
            "message",
            "owed",
            "progress",
            "effect",
            "codec",
            "query",
            "registry",
            "quota",
            "wheel",
            "payload",
            "transport",
            "session",
            "script",
            "rules",
            "store",
            "device",
            "snapshot",
            "auth",
        ],
    ),
    ("action", &["codec", "owed", "shard", "limits"]),
    ("link", &["snapshot", "shard", "query", "registry", "quota", "rules", "script", "store", "limits", "clock", "metric"]),
    ("admin", &["metric", "clock", "link", "shard", "limits"]),
    (
        "start",
        &[
            "limits",
            "clock",
            "metric",
            "settings",
            "message",
            "owed",
            "effect",
            "codec",
            "query",
            "registry",
            "payload",
            "transport",
            "session",
            "script",
            "rules",
            "store",
            "device",
            "snapshot",
            "auth",
            "shard",
            "action",
            "link",
            "admin",
        ],
    ),
];

/// domain → {entity, telemetry} → error → {access, feed} → app → {push, ws} → rest → start (DESIGN 4, 8.8). `rest` comes after
/// `ws` because it holds the full list of routes.
pub(crate) const CONTROLPLANE: &[Row] = &[
    ("clock", &[]),
    ("random", &[]),
    ("settings", &[]),
    ("domain", &[]),
    ("migration", &[]),
    ("entity", &["settings", "domain", "migration", "clock", "random"]),
    ("telemetry", &["settings", "domain", "clock"]),
    // The one mapping of every inner error to HTTP.
    ("error", &["domain", "entity", "telemetry", "clock"]),
    ("access", &["settings", "domain", "entity", "error", "clock", "random"]),
    ("feed", &["domain", "entity", "error", "clock"]),
    ("app", &["settings", "domain", "entity", "telemetry", "error", "access", "feed", "clock", "random"]),
    ("push", &["settings", "domain", "telemetry", "error", "feed", "app", "clock", "random"]),
    ("ws", &["domain", "telemetry", "error", "access", "app", "clock"]),
    ("rest", &["domain", "entity", "telemetry", "error", "access", "feed", "app", "ws", "clock"]),
    (
        "start",
        &[
            "settings",
            "domain",
            "entity",
            "migration",
            "telemetry",
            "error",
            "access",
            "feed",
            "app",
            "push",
            "ws",
            "rest",
            "clock",
            "random",
        ],
    ),
];

/// Outside crates and the only places that may name them: `(crate, within, places)`.
pub(crate) const CRATES: &[(&str, &str, &[&str])] = &[
    ("rocksdb", "", &["dataplane/src/store/rocks.rs", "dataplane/src/store/rocks/"]),
    ("monoio", "dataplane/", &["dataplane/src/transport", "dataplane/src/shard", "dataplane/src/start"]),
    ("axum", "dataplane/", &["dataplane/src/admin"]),
    ("tonic", "dataplane/", &["dataplane/src/link"]),
    (
        "sea_orm",
        "controlplane/",
        &["controlplane/src/entity", "controlplane/src/migration", "controlplane/src/feed", "controlplane/src/app"],
    ),
    (
        "axum",
        "controlplane/",
        &["controlplane/src/rest", "controlplane/src/ws", "controlplane/src/error", "controlplane/src/start"],
    ),
    ("serde", "controlplane/src/domain", &[]),
    ("controlplane", "", &["deploy/standalone/"]),
    ("dataplane", "", &["deploy/standalone/", "bench/", "dataplane/"]),
];

/// Modules of the data plane that may wait (DESIGN 3.2).
pub(crate) const ASYNC: &[&str] = &["transport", "shard", "action", "link", "admin", "start"];

/// The files that may hold `unsafe`, each block with its SAFETY: none.
pub(crate) const UNSAFE: &[&str] = &[];

/// The files that read the operating system's clock for their plane.
pub(crate) const CLOCKS: &[&str] = &["dataplane/src/clock.rs", "controlplane/src/clock.rs"];

/// Names that say nothing (model-codebases 11).
pub(crate) const NAMES_BANNED: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "managers", "context", "contexts", "service",
    "services",
];

/// What lies at the root of the repository (DESIGN 2).
pub(crate) const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "README.md",
    "schemas",
    "dataplane",
    "controlplane",
    "bench",
    "tests",
    "deploy",
    "Cargo.lock",
    "LICENSE",
    ".ci",
    ".cargo",
    ".clippy.toml",
    ".rustfmt.toml",
    ".deny.toml",
    ".gitignore",
];

/// Our own crates that a crate may depend on: `(manifest, crates)`.
pub(crate) const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("schemas/Cargo.toml", &[]),
    ("dataplane/Cargo.toml", &["schemas"]),
    ("controlplane/Cargo.toml", &["schemas"]),
    ("bench/Cargo.toml", &["schemas", "dataplane"]),
    ("tests/Cargo.toml", &[]),
    ("deploy/standalone/Cargo.toml", &["schemas", "dataplane", "controlplane"]),
];
