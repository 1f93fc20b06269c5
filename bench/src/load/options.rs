//! The command line: flags, their rules, and what they mean together. Opens nothing but files it is told to read.

mod crowds;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::clock::SECOND;
use super::misuse::Misuse;
use super::packet::Protocol;
use super::payload::{Choice, Readings};
use super::process::Process;
use super::rest::Platform;
use super::tls::Secure;
use super::tokens::{self, Device};
pub(crate) use crowds::{Handshakes, Kind, Slow, Storm};

const EXAMPLES: &str = "Examples:
  tidegate-load --mqtt 127.0.0.1:1883 --tokens fleet.csv --connections 500 --duration 60s --pid $(pidof tidegate) --drain
  tidegate-load --tokens fleet.csv --rate 20000 --in-flight 16                 latency at a fixed rate
  tidegate-load --tokens fleet.csv --audit --rest http://127.0.0.1:8080 --user tenant@thingsboard.org --password tenant
  tidegate-load fleet --rest http://127.0.0.1:8080 --user tenant@thingsboard.org --password tenant --count 500 --tokens fleet.csv
  tidegate-load --mqtt 127.0.0.1:8883 --tls --cafile tls/localhost.pem --tokens fleet.csv
  tidegate-load handshakes --mqtt 127.0.0.1:8883 --tls --cafile tls/localhost.pem --tokens fleet.csv --pid $(pidof tidegate)
  tidegate-load storm --connections 10000 --tokens fleet.csv --pid $(pidof tidegate)
  tidegate-load slow --connections 2000 --kind half --tokens fleet.csv --pid $(pidof tidegate)
  tidegate-load disk --dir /var/lib/tidegate";

/// Publishes telemetry over MQTT like a fleet of devices and measures when it is acknowledged.
///
/// At a fixed rate every message has a moment at which it is meant to leave, and its latency counts from then on, whether or not
/// the server let it leave. Without a rate each connection keeps --in-flight messages unacknowledged.
#[derive(Debug, Parser)]
#[command(name = "tidegate-load", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create devices in bulk over REST and write their tokens to a file
    Fleet(Fleet),
    /// Memory of a server per idle connection
    Idle(Idle),
    /// Clients let in per second, and what each costs the server
    Handshakes(Handshakes),
    /// A fleet that loses all its connections at once and comes back
    Storm(Storm),
    /// Peers that are slow, deaf or say no more, beside well-behaved ones
    Slow(Slow),
    /// What the file system takes to make appended bytes durable
    Disk(Disk),
    /// A server that only answers: the floor under every broker's figures
    Floor(Floor),
    /// Check again what an earlier --audit run was promised
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The broker
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: String,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// MQTT version
    #[arg(long, value_enum, default_value = "3.1.1")]
    pub(crate) protocol: Version,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) qos: u8,
    /// Devices, one connection each
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// New connections per second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ramp: u32,
    /// Messages per second of all connections, or `max`
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub(crate) rate: Rate,
    /// Unacknowledged messages per connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) in_flight: u16,
    /// How long to measure, after the warm-up (like 500ms, 60s, 30m)
    #[arg(long, default_value = "60s", value_parser = run_time)]
    pub(crate) duration: Duration,
    /// How long to send before measuring
    #[arg(long, default_value = "5s", value_parser = run_time)]
    pub(crate) warmup: Duration,
    /// meter (3 readings), tracker (5), plc (60), or a file with a JSON object
    #[arg(long, value_name = "NAME|FILE", default_value = "tracker")]
    pub(crate) payload: String,
    /// Who says when a message was measured
    #[arg(long, value_enum, default_value = "server")]
    pub(crate) timestamps: Timestamps,
    /// One token a line, or `device_id,token`; without it clients are anonymous
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    #[arg(long, default_value = "v1/devices/me/telemetry")]
    pub(crate) topic: String,
    /// The server's process, to account for its CPU, memory and descriptors
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// After the load wait until that process is idle, and count what it still did
    #[arg(long, requires = "pid")]
    pub(crate) drain: bool,
    /// Pin the generator to this core
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Connect again when a connection is lost, and publish again what was not acknowledged
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// Connections per second that leave and come back
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) churn: u32,
    /// Write the report as JSON (`-`: to stdout, in place of the table)
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<String>,
    /// A name for the report
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// No progress line
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Read everything back afterwards: fails on a message that was acknowledged and is missing, altered or out of order
    #[arg(long, requires = "rest", requires = "tokens")]
    pub(crate) audit: bool,
    /// Like --audit, but only notes what was promised; `verify` reads it back
    #[arg(long, requires = "tokens", conflicts_with = "audit")]
    pub(crate) audit_later: bool,
    /// Where --audit and --audit-later note what was promised, for `verify`
    #[arg(long, value_name = "FILE", default_value = "tidegate-load.ledger")]
    pub(crate) ledger: PathBuf,
    /// Watch the first N devices over WebSocket and measure from publish to update
    #[arg(long, value_name = "N", default_value_t = 0, requires = "rest", requires = "tokens")]
    pub(crate) websocket: u32,
    #[command(flatten)]
    pub(crate) platform: PlatformArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PlatformArgs {
    /// The platform's REST interface
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) rest: Option<String>,
    #[arg(long, value_name = "E-MAIL", default_value = "tenant@thingsboard.org")]
    pub(crate) user: String,
    #[arg(long, env = "TIDEGATE_LOAD_PASSWORD", hide_env_values = true, default_value = "tenant")]
    pub(crate) password: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TlsArgs {
    /// Speak TLS; --mqtt names the server's TLS listener then
    #[arg(long, requires = "cafile")]
    pub(crate) tls: bool,
    /// PEM certificates to trust: of authorities, or the server's own
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) cafile: Option<PathBuf>,
    /// Whom the server's certificate must name [default: the host of --mqtt]
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) server_name: Option<String>,
    /// Keep no TLS sessions: each connection makes a full handshake
    #[arg(long, requires = "tls")]
    pub(crate) no_resumption: bool,
}

impl TlsArgs {
    /// What TLS needs to know; `None` without --tls.
    ///
    /// # Errors
    /// [`Misuse`] about the file or the name.
    pub(crate) fn secure(&self, mqtt: &str) -> Result<Option<Secure>, Misuse> {
        let Some(cafile) = self.cafile.as_deref().filter(|_| self.tls) else { return Ok(None) };
        let host = mqtt.rsplit_once(':').map_or(mqtt, |(host, _)| host).trim_matches(['[', ']']);
        let name = self.server_name.as_deref().unwrap_or(host);
        Secure::new(cafile, name, !self.no_resumption).map(Some)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Fleet {
    #[command(flatten)]
    pub(crate) platform: PlatformArgs,
    /// Devices to create
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) count: u32,
    /// Names and tokens begin with this
    #[arg(long, default_value = "load")]
    pub(crate) prefix: String,
    /// Where `device_id,token` lines go
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: String,
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ramp: u32,
    #[arg(long)]
    pub(crate) pid: u32,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Disk {
    /// A directory on the disk to measure; a file of at most 256 MiB is written there and removed
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Bytes per commit, repeatable
    #[arg(long, value_name = "BYTES", default_values_t = [4_096_u32, 16_384, 65_536, 262_144], value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) batch: Vec<u32>,
    /// How long each size is measured
    #[arg(long, default_value = "3s", value_parser = run_time)]
    pub(crate) duration: Duration,
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Floor {
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) listen: String,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) platform: PlatformArgs,
    #[arg(long, value_name = "FILE", default_value = "tidegate-load.ledger")]
    pub(crate) ledger: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5")]
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timestamps {
    Server,
    Device,
}

/// Messages per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    Max,
    PerSecond(u64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(rate @ 1..=100_000_000) => Ok(Self::PerSecond(rate)),
                _ => Err("must be `max` or a whole number from 1 to 100000000".to_owned()),
            },
        }
    }
}

/// Nanoseconds, written like 500ms, 60s, 30m, 2h, 90d.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) u64);

impl Duration {
    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || "must be a whole number with ms, s, m, h or d".to_owned();
        let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
        let unit = match text.strip_prefix(digits) {
            Some("ms") => SECOND / 1_000,
            Some("s" | "") => SECOND,
            Some("m") => 60 * SECOND,
            Some("h") => 3_600 * SECOND,
            Some("d") => 86_400 * SECOND,
            _ => return Err(rule()),
        };
        let number: u64 = digits.parse().map_err(|_| rule())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| "must be at most 500 years".to_owned())
    }
}

/// How long a run may last: 30 days.
fn run_time(text: &str) -> Result<Duration, String> {
    let time: Duration = text.parse()?;
    if time.0 <= 720 * 3_600 * SECOND { Ok(time) } else { Err("must be at most 720h".to_owned()) }
}

/// A load, all of it checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) label: String,
    pub(crate) server: SocketAddr,
    pub(crate) tls: Option<Secure>,
    pub(crate) protocol: Protocol,
    pub(crate) qos: u8,
    pub(crate) ramp: u64,
    pub(crate) rate: Rate,
    pub(crate) in_flight: usize,
    pub(crate) duration: u64,
    pub(crate) warmup: u64,
    pub(crate) readings: Readings,
    pub(crate) stamped: bool,
    pub(crate) audited: bool,
    /// One per connection.
    pub(crate) devices: Vec<Device>,
    pub(crate) anonymous: bool,
    pub(crate) topic: String,
    pub(crate) process: Option<Process>,
    pub(crate) drain: bool,
    pub(crate) reconnect: bool,
    pub(crate) churn: u64,
    pub(crate) quiet: bool,
    /// Devices watched over WebSocket, and where.
    pub(crate) watched: Option<(usize, Platform)>,
}

/// What an audit needs.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) platform: Platform,
    pub(crate) ledger: PathBuf,
}

impl Load {
    /// # Errors
    /// [`Misuse`].
    pub(crate) fn plan(&self) -> Result<Plan, Misuse> {
        let count = usize::try_from(self.connections).unwrap_or(usize::MAX);
        let (devices, anonymous) = devices(self.tokens.as_deref(), count)?;
        let watching = usize::try_from(self.websocket).unwrap_or(usize::MAX);
        let audited = self.audit || self.audit_later;
        let identified = if audited { devices.len() } else { watching.min(devices.len()) };
        if devices.iter().take(identified).any(|device| device.id.is_none()) {
            let path = self.tokens.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(Misuse::new(
                "--tokens",
                path,
                "--audit and --websocket need `device_id,token` lines (`tidegate-load fleet`)",
            ));
        }
        if audited && self.qos == 0 {
            return Err(Misuse::new("--qos", 0, "--audit needs acknowledgements: QoS 1"));
        }
        let watched = if watching > 0 { Some((watching.min(devices.len()), self.platform.platform()?)) } else { None };
        if self.topic.is_empty() || self.topic.len() > 65_535 || self.topic.contains(['+', '#', '\0']) {
            return Err(Misuse::new("--topic", &self.topic, "must be a topic name without wildcards"));
        }
        Ok(Plan {
            label: self.label.clone(),
            server: address("--mqtt", &self.mqtt)?,
            tls: self.tls.secure(&self.mqtt)?,
            protocol: if self.protocol == Version::V5 { Protocol::V5 } else { Protocol::V311 },
            qos: self.qos,
            ramp: u64::from(self.ramp),
            rate: self.rate,
            in_flight: usize::from(self.in_flight),
            duration: self.duration.0,
            warmup: self.warmup.0,
            readings: Readings::of(&choice(&self.payload))?,
            stamped: self.timestamps == Timestamps::Device,
            audited,
            devices,
            anonymous,
            topic: self.topic.clone(),
            process: self.pid.map(Process::of).transpose()?,
            drain: self.drain,
            reconnect: self.reconnect,
            churn: u64::from(self.churn),
            quiet: self.quiet,
            watched,
        })
    }

    /// # Errors
    /// [`Misuse`].
    pub(crate) fn audit(&self) -> Result<Option<Audit>, Misuse> {
        if !self.audit {
            return Ok(None);
        }
        Ok(Some(Audit { platform: self.platform.platform()?, ledger: self.ledger.clone() }))
    }
}

impl PlatformArgs {
    /// # Errors
    /// [`Misuse`] when no usable address is given.
    pub(crate) fn platform(&self) -> Result<Platform, Misuse> {
        let origin = self.rest.clone().unwrap_or_default();
        let origin = origin.trim_end_matches('/').to_owned();
        if !origin.starts_with("http://") || origin.len() == "http://".len() {
            return Err(Misuse::new("--rest", origin, "must be http://HOST:PORT"));
        }
        Ok(Platform { origin, user: self.user.clone(), password: self.password.clone() })
    }
}

/// The devices of a run, and whether they are anonymous.
///
/// # Errors
/// [`Misuse`] about the file.
pub(crate) fn devices(tokens: Option<&std::path::Path>, count: usize) -> Result<(Vec<Device>, bool), Misuse> {
    match tokens {
        Some(path) => Ok((tokens::read(path, count)?, false)),
        None => Ok(((0..count).map(|_| Device { id: None, token: String::new() }).collect(), true)),
    }
}

/// # Errors
/// [`Misuse`] when the name does not resolve.
pub(crate) fn address(flag: &'static str, text: &str) -> Result<SocketAddr, Misuse> {
    let mut found = text.to_socket_addrs().map_err(|error| Misuse::new(flag, text, format!("must be HOST:PORT: {error}")))?;
    found.next().ok_or_else(|| Misuse::new(flag, text, "has no address"))
}

fn choice(text: &str) -> Choice {
    match text {
        "meter" => Choice::Meter,
        "tracker" => Choice::Tracker,
        "plc" => Choice::Plc,
        path => Choice::File(PathBuf::from(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let options = Options::try_parse_from([&["tidegate-load"], arguments].concat()).map_err(|error| error.to_string())?;
        options.load.plan().map_err(|misuse| misuse.to_string())
    }

    #[test]
    fn defaults_are_a_run() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.devices.len(), plan.in_flight, plan.qos, plan.rate), (500, 1, 1, Rate::Max));
        assert_eq!((plan.duration, plan.warmup), (60 * SECOND, 5 * SECOND));
        assert!(plan.anonymous && !plan.audited);
    }

    #[test]
    fn every_mistake_names_flag_value_and_rule() {
        for (arguments, parts) in [
            (&["--rate", "fast"][..], &["--rate", "fast", "`max` or a whole number"][..]),
            (&["--qos", "2"], &["--qos", "2", "0..=1"]),
            (&["--duration", "1y"], &["--duration", "1y", "ms, s, m, h or d"]),
            (&["--duration", "9999h"], &["--duration", "at most 720h"]),
            (&["--mqtt", "nowhere"], &["--mqtt", "nowhere", "HOST:PORT"]),
            (&["--topic", "a/#"], &["--topic", "a/#", "wildcards"]),
            (&["--payload", "/no/such"], &["--payload", "/no/such"]),
            (&["--audit"], &["--rest", "--tokens"]),
            (&["--drain"], &["--pid"]),
            (&["--tokens", "/no/such"], &["--tokens", "/no/such"]),
            (&["--tls"], &["--cafile"]),
            (&["--cafile", "ca.pem"], &["--tls"]),
            (&["--no-resumption"], &["--tls"]),
            (&["--tls", "--cafile", "/no/such"], &["--cafile", "/no/such", "No such file"]),
            (&["--tls", "--cafile", "/no/such", "--server-name", "a b"], &["--server-name", "a b"]),
        ] {
            let message = plan(arguments).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn mistakes_of_crowds_are_named() {
        for (arguments, parts) in [
            (&["storm", "--connections", "0"][..], &["--connections", "0"][..]),
            (&["storm", "--backoff-min", "soon"], &["--backoff-min", "soon", "ms, s, m, h or d"]),
            (&["handshakes", "--in-flight", "5000"], &["--in-flight", "1..=4096"]),
            (&["slow", "--kind", "rude"], &["--kind", "rude", "byte", "deaf", "half", "handshake"]),
            (&["slow", "--sources", "251"], &["--sources", "1..=250"]),
            (&["idle", "--pid", "1", "--tls"], &["--cafile"]),
        ] {
            let message = Options::try_parse_from([&["tidegate-load"], arguments].concat()).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_handshake_without_tls_is_not_begun() {
        let kinds = |arguments: &[&str]| {
            let options = Options::try_parse_from([&["tidegate-load", "slow"], arguments].concat()).unwrap();
            let Some(Command::Slow(slow)) = options.command else { panic!("slow was asked for") };
            slow.kinds().map_err(|misuse| misuse.to_string())
        };
        assert_eq!(kinds(&[]).unwrap(), [Kind::Byte, Kind::Deaf, Kind::Half]);
        assert_eq!(kinds(&["--kind", "half"]).unwrap(), [Kind::Half]);
        assert_eq!(kinds(&["--tls", "--cafile", "x"]).unwrap().len(), 4);
        let said = kinds(&["--kind", "handshake"]).unwrap_err();
        assert!(said.contains("--kind handshake") && said.contains("--tls"), "{said}");
    }

    #[test]
    fn an_audit_needs_the_ids_of_the_devices() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, "A1\n").unwrap();
        let path = path.display().to_string();
        let message = plan(&["--tokens", &path, "--connections", "1", "--audit", "--rest", "http://h:1"]).unwrap_err();
        assert!(message.contains("device_id,token"), "{message}");
    }
}
