//! The command line. Says what may be typed and teaches it; reads nothing else.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use schemas::settings::Role;

const EXAMPLES: &str = "\
Examples:
  tidegate --demo                                  both planes, with demo users and devices
  tidegate --data-dir /var/lib/tidegate            both planes, data kept there
  tidegate check-settings --settings tidegate.toml what would be in force, and where each value comes from
  TIDEGATE_MQTT_LISTEN=127.0.0.1:2883 tidegate     any setting from the environment: TIDEGATE_<SECTION>_<KEY>

  # two processes that know each other by a token of at least 16 characters
  export TIDEGATE_GRPC_JOIN_TOKEN=$(openssl rand -hex 16)
  tidegate controlplane --data-dir control &
  tidegate dataplane --data-dir device-data

Then publish as a demo device and read it back:
  mosquitto_pub -h 127.0.0.1 -q 1 -u A1_TEST_TOKEN -t v1/devices/me/telemetry -m '{\"temperature\": 21.5}'

Exit codes: 0 after a drain (SIGTERM or SIGINT), 64 if settings are refused, 1 for any other failure.";

/// Tidegate: an IoT platform for device fleets. MQTT in, rules, durable storage, REST and WebSocket out.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// TOML file with settings; deploy/settings/tidegate.toml shows all of them
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,

    /// Where everything is kept; overrides the setting `data_dir`
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,

    /// Create well-known users and devices to try things with. Not for production
    #[arg(long, global = true)]
    pub(crate) demo: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Both planes in one process (the default)
    Standalone,
    /// Only the shards: devices, rules, storage
    Dataplane,
    /// Only REST, WebSocket, the entity store and the push
    Controlplane,
    /// Print the effective settings and where each comes from; start nothing
    CheckSettings {
        /// For which process
        #[arg(value_enum, default_value = "standalone")]
        role: RoleName,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    Standalone,
    Dataplane,
    Controlplane,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Standalone => Self::Standalone,
            RoleName::Dataplane => Self::Dataplane,
            RoleName::Controlplane => Self::Controlplane,
        }
    }
}
