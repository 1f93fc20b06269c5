//! The arguments of `tidegate-capacity`, each with its bounds. Computes nothing.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::model::Question;
use crate::load::Duration;

/// What a fleet needs: cores, memory, disk, I/O and network, with every assumption and where it comes from
///
/// The costs are measured ones: built in (their machine is named in the answer), from a file, or measured on this machine with
/// --calibrate, which takes about a minute and a half and wants two idle cores.
#[derive(Debug, Parser)]
#[command(name = "tidegate-capacity", version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Devices of the fleet
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    devices: u64,
    /// From one message of a device to its next (500ms, 10s, 1m, 1h, 1d)
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = above_zero)]
    every: Duration,
    /// What a message is like: 3 numbers of a meter, 5 of a tracker, 60 of a controller
    #[arg(long, value_enum, default_value_t = Payload::Meter)]
    payload: Payload,
    /// Readings in one message, if other than the payload's; bytes follow in proportion
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    readings: Option<u32>,
    /// Bytes of one message's JSON, if other than the payload's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=65_536))]
    payload_bytes: Option<u32>,
    /// How long readings are kept
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = above_zero)]
    retention: Duration,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Devices connected at the same time, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    connected: u8,
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tenants: u32,
    /// Rule chains of a tenant
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    chains: u32,
    /// Rule nodes a message visits beyond the default root chain's
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rule_nodes: u32,
    /// Data planes that share the devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    nodes: u32,
    /// How busy a core may be on average, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=95))]
    utilization: u8,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Draw the disk over time and the cores' load over the rate (SVG)
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// Measure this machine first and write the costs here
    #[arg(long, value_name = "FILE", conflicts_with = "calibration")]
    pub(crate) calibrate: Option<PathBuf>,
    /// Use the costs of an earlier --calibrate
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Predict a load that was not measured, run it, and compare: CPU within 25 %, disk within 10 %
    #[arg(long)]
    pub(crate) prove: bool,
}

const EXAMPLES: &str = "Examples:
  tidegate-capacity                                        1,000,000 meters once a minute, kept for 90 days
  tidegate-capacity --devices 50000 --every 1s --payload tracker --retention 30d --chart plan.svg
  tidegate-capacity --calibrate here.json                  the same with this machine's costs
  tidegate-capacity --calibration here.json --prove        does it predict a real run?";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// The payloads of `tidegate-load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Payload {
    Meter,
    Tracker,
    Plc,
}

impl Payload {
    pub(crate) fn readings(self) -> u32 {
        match self {
            Self::Meter => 3,
            Self::Tracker => 5,
            Self::Plc => 60,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Tracker => "tracker",
            Self::Plc => "plc",
        }
    }

    /// Of its JSON.
    pub(crate) fn bytes(self) -> u32 {
        u32::try_from(crate::load::sample(self.name()).len()).unwrap_or(u32::MAX)
    }
}

impl Options {
    pub(crate) fn question(&self) -> Question {
        let readings = self.readings.unwrap_or_else(|| self.payload.readings());
        Question {
            devices: self.devices,
            every_s: self.every.seconds(),
            payload: self.payload,
            readings,
            payload_bytes: self
                .payload_bytes
                .unwrap_or_else(|| self.payload.bytes().saturating_mul(readings) / self.payload.readings()),
            retention_s: self.retention.seconds(),
            qos: self.qos,
            connected: f64::from(self.connected) / 100.0,
            tenants: self.tenants,
            chains: self.chains,
            rule_nodes: self.rule_nodes,
            nodes: self.nodes,
            utilization: f64::from(self.utilization) / 100.0,
        }
    }
}

fn above_zero(text: &str) -> Result<Duration, String> {
    match text.parse()? {
        Duration(0) => Err("must be above 0".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_ask_for_a_million_meters() {
        let question = Options::parse_from(["tidegate-capacity"]).question();
        assert_eq!((question.devices, question.every_s, question.retention_s), (1_000_000, 60.0, 90.0 * 86_400.0));
        assert_eq!((question.readings, question.payload_bytes), (3, Payload::Meter.bytes()));
        let many = Options::parse_from(["tidegate-capacity", "--payload", "plc", "--readings", "120"]).question();
        assert_eq!(many.payload_bytes, Payload::Plc.bytes() * 2);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (flag, value) in [
            ("--devices", "0"),
            ("--every", "0s"),
            ("--every", "10w"),
            ("--retention", "90 days"),
            ("--readings", "5000"),
            ("--qos", "2"),
            ("--connected", "101"),
            ("--utilization", "0"),
        ] {
            let refusal = Options::try_parse_from(["tidegate-capacity", flag, value]).unwrap_err().to_string();
            assert!(refusal.contains(flag), "{refusal}");
        }
    }
}
