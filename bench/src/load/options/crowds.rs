//! The command line of the commands that measure coming and going: `handshakes`, `storm`, `slow`. Opens nothing but files it is
//! told to read.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Duration, TlsArgs, Version, address, devices, run_time};
use crate::load::connection::Shape;
use crate::load::misuse::Misuse;
use crate::load::packet::{self, Protocol};
use crate::load::payload::{Choice, Readings};
use crate::load::process::Process;
use crate::load::tokens::Device;

/// A crowd's connections say so if they fall silent; nothing here lasts so long that one has to.
const KEEP_ALIVE_S: u16 = 600;
const TOPIC: &str = "v1/devices/me/telemetry";

/// Who connects to whom, and who is watched meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Scene {
    /// The broker; with --tls its TLS listener
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: String,
    /// MQTT version
    #[arg(long, value_enum, default_value = "3.1.1")]
    pub(crate) protocol: Version,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// One token a line, or `device_id,token`; without it clients are anonymous
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// Loopback addresses to connect from, so that local ports suffice
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) sources: u8,
    /// The server's process, to account for its CPU and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Pin the generator to this core
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Write the report as JSON (`-`: to stdout as well)
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<String>,
}

impl Scene {
    /// # Errors
    /// [`Misuse`].
    pub(crate) fn shape(&self) -> Result<Shape, Misuse> {
        let protocol = if self.protocol == Version::V5 { Protocol::V5 } else { Protocol::V311 };
        let template = Readings::of(&Choice::Meter)?.plain();
        let publish = packet::publish(protocol, 1, TOPIC, template.text());
        let (server, tls) = (address("--mqtt", &self.mqtt)?, self.tls.secure(&self.mqtt)?);
        Ok(Shape { server, tls, protocol, template, publish, keep_alive_s: KEEP_ALIVE_S })
    }

    /// The first devices of the file for the crowd, those behind them for whoever watches; and whether they are anonymous.
    ///
    /// # Errors
    /// [`Misuse`] about the file.
    pub(crate) fn devices(&self, crowd: usize, watching: usize) -> Result<(Vec<Device>, Vec<Device>, bool), Misuse> {
        let (mut crowded, anonymous) = devices(self.tokens.as_deref(), crowd + watching)?;
        let watching = crowded.split_off(crowd);
        Ok((crowded, watching, anonymous))
    }

    /// # Errors
    /// [`Misuse`] when it may not be looked at.
    pub(crate) fn process(&self) -> Result<Option<Process>, Misuse> {
        self.pid.map(Process::of).transpose()
    }
}

/// Well-behaved clients beside the crowd.
#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Well-behaved clients whose acknowledgements are timed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) witnesses: u16,
    /// Messages per second of all of them
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) witness_rate: u32,
    /// How long they are timed before, and again afterwards
    #[arg(long, default_value = "10s", value_parser = run_time)]
    pub(crate) calm: Duration,
}

/// Connects, waits for CONNACK, leaves, again, with so many under way at once: first with full TLS handshakes, then with resumed
/// sessions.
#[derive(Debug, Args)]
pub(crate) struct Handshakes {
    #[command(flatten)]
    pub(crate) scene: Scene,
    /// Clients that come and go; each waits for its CONNACK before it comes again
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) in_flight: u16,
    /// How long each kind of handshake is measured
    #[arg(long, default_value = "10s", value_parser = run_time)]
    pub(crate) duration: Duration,
    /// How long each kind runs before it is measured
    #[arg(long, default_value = "2s", value_parser = run_time)]
    pub(crate) warmup: Duration,
}

/// Connects all, drops all of them at once, and lets them come back as devices do: the first attempt at once, then after pauses
/// that double. Fails when not all are back in time, or when a client that stayed lost its connection.
#[derive(Debug, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) scene: Scene,
    #[command(flatten)]
    pub(crate) witnesses: WitnessArgs,
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// New connections per second before the storm
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ramp: u32,
    /// Messages per second of the whole crowd, whenever it is connected
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// The first attempts are spread over this time (0s: all at once)
    #[arg(long, default_value = "0s", value_parser = run_time)]
    pub(crate) within: Duration,
    /// How long a client waits for its CONNACK before it gives an attempt up
    #[arg(long, default_value = "10s", value_parser = run_time)]
    pub(crate) patience: Duration,
    /// The pause after the first attempt that failed; it doubles with each further one
    #[arg(long, default_value = "1s", value_parser = run_time)]
    pub(crate) backoff_min: Duration,
    /// The longest pause
    #[arg(long, default_value = "60s", value_parser = run_time)]
    pub(crate) backoff_max: Duration,
    /// When the storm is given up as not recovering
    #[arg(long, default_value = "5m", value_parser = run_time)]
    pub(crate) give_up: Duration,
}

/// Connects many peers of one bad kind after the other and looks at the server, and at well-behaved clients, meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Slow {
    #[command(flatten)]
    pub(crate) scene: Scene,
    #[command(flatten)]
    pub(crate) witnesses: WitnessArgs,
    /// Peers of each kind
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// New peers per second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ramp: u32,
    /// How long each kind goes on
    #[arg(long, default_value = "30s", value_parser = run_time)]
    pub(crate) duration: Duration,
    /// Only this kind (repeatable); `handshake` needs --tls
    #[arg(long = "kind", value_enum)]
    pub(crate) kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Sends its CONNECT a byte a second
    Byte,
    /// Asks for 16 KiB twice a second and never reads them
    Deaf,
    /// Sends the first byte of CONNECT and no more
    Half,
    /// Sends a TLS ClientHello and never answers
    Handshake,
}

impl Slow {
    /// What is to be measured.
    ///
    /// # Errors
    /// [`Misuse`] when a kind cannot be.
    pub(crate) fn kinds(&self) -> Result<Vec<Kind>, Misuse> {
        let tls = self.scene.tls.tls;
        if self.kinds.contains(&Kind::Handshake) && !tls {
            return Err(Misuse::new("--kind", "handshake", "needs --tls: there is no handshake to begin"));
        }
        if self.kinds.is_empty() {
            let all = [Kind::Byte, Kind::Deaf, Kind::Half, Kind::Handshake];
            return Ok(all.into_iter().filter(|kind| tls || *kind != Kind::Handshake).collect());
        }
        Ok(self.kinds.clone())
    }
}
