//! What the process says on stdout and stderr about itself. Everything else it says is a log line. Never fails: who closed
//! the pipe does not want to know.

use std::fmt;
use std::io::{Write as _, stderr, stdout};
use std::net::SocketAddr;

use dataplane::limits;
use dataplane::settings::Durability;
use schemas::settings::{InvalidSettings, Role};

use crate::planes::Planes;

const MIB: f64 = 1_048_576.0;

/// Addresses that are bound. Ports that were asked for as 0 are real here.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) device_http: Option<SocketAddr>,
    pub(crate) device_https: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) query: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl fmt::Display for Listening {
    /// `mqtt=127.0.0.1:1883 http=…`: tests and scripts read this line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("mqtt", self.mqtt),
            ("mqtts", self.mqtts),
            ("device_http", self.device_http),
            ("device_https", self.device_https),
            ("http", self.http),
            ("grpc", self.grpc),
            ("query", self.query),
            ("admin", self.admin),
        ];
        let mut gap = "";
        for (name, address) in all {
            if let Some(address) = address {
                write!(f, "{gap}{name}={address}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

fn say(line: fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn warn(line: fmt::Arguments<'_>) {
    let _ = writeln!(stderr().lock(), "{line}");
}

pub(crate) fn refused(invalid: &InvalidSettings) {
    warn(format_args!("tidegate: {invalid}"));
    warn(format_args!("`tidegate check-settings` prints every setting with its rule's help; nothing was started"));
}

pub(crate) fn failed(error: &anyhow::Error) {
    warn(format_args!("tidegate: {error:#}"));
}

pub(crate) fn draining() {
    say(format_args!("draining: no new connections, committing what was accepted; ask again to stop at once"));
}

pub(crate) fn stopped_at_once() {
    warn(format_args!("tidegate: stopped at once; what was acknowledged is stored"));
}

pub(crate) fn drained() {
    say(format_args!("drained"));
}

/// Effective values, where they came from, and what `auto` means on this machine.
pub(crate) fn settings(planes: &Planes) {
    say(format_args!("# settings of `tidegate {}`: default < file < environment < argument", planes.role().name()));
    for entry in planes.loaded.entries() {
        let (path, shown, source) = (entry.key.path(), entry.shown(), entry.source.to_string());
        say(format_args!("{path:<24} = {shown:<24} {source:<12} {}", entry.key.help));
    }
    if let Some(settings) = &planes.dataplane {
        memory(settings);
    }
}

pub(crate) fn starting(planes: &Planes, descriptors: u64) {
    let role = planes.role();
    say(format_args!("tidegate {} {}, at most {descriptors} open files", env!("CARGO_PKG_VERSION"), role.name()));
    if planes.controlplane.as_ref().is_some_and(|settings| settings.demo) {
        say(format_args!("*** --demo: users and devices with well-known passwords and tokens. NOT FOR PRODUCTION. ***"));
    }
    if let Some(settings) = &planes.controlplane {
        say(format_args!("control plane: data in {}", settings.data_dir.display()));
    }
}

pub(crate) fn data_plane(driver: &str, shards: u16, settings: &dataplane::settings::Settings) {
    let durability = match settings.durability {
        Durability::Synced => "synced",
        Durability::Buffered => "buffered",
    };
    let plural = if shards == 1 { "" } else { "s" };
    let directory = settings.data_dir.display();
    say(format_args!("data plane: driver {driver}, {shards} shard{plural}, durability {durability}, data in {directory}"));
    memory(settings);
}

/// The memory sum, term by term (DESIGN 8.2, 6).
fn memory(settings: &dataplane::settings::Settings) {
    let shards = usize::from(settings.shards);
    let terms = settings.pools.per_shard(shards);
    say(format_args!("memory of one shard, at most:"));
    for term in &terms {
        say(format_args!("  {:<20} {:>9.1} MiB", term.name, mib(term.bytes)));
    }
    let per_shard = terms.iter().map(|term| term.bytes).sum::<usize>();
    let max = match settings.memory_max_bytes {
        Some(bytes) => format!("memory_max {:.1} MiB", mib(usize::try_from(bytes).unwrap_or(usize::MAX))),
        None => "memory_max auto: not checked".to_owned(),
    };
    let base = limits::PROCESS_BYTES;
    let all = per_shard.saturating_mul(shards).saturating_add(base);
    let (one, base, all) = (mib(per_shard), mib(base), mib(all));
    say(format_args!("  {:<20} {one:>9.1} MiB × {shards} + {base:.0} MiB of the process = {all:.1} MiB ({max})", "sum"));
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / MIB
}

/// The last lines of a start: everything is serving.
pub(crate) fn ready(role: Role, listening: &Listening, notes: &[String]) {
    for note in notes {
        say(format_args!("{note}"));
    }
    if let (true, Some(http)) = (role.has_control_plane(), listening.http) {
        say(format_args!("REST at http://{http}"));
    }
    say(format_args!("listening {listening}"));
    say(format_args!("ready"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_line_names_what_is_bound() {
        let mqtt = "127.0.0.1:1883".parse().ok();
        let http = "127.0.0.1:8080".parse().ok();
        assert_eq!(Listening { mqtt, http, ..Listening::default() }.to_string(), "mqtt=127.0.0.1:1883 http=127.0.0.1:8080");
        assert_eq!(Listening::default().to_string(), "");
    }
}
