//! A `tidegate` of its own for an instrument: started and loaded as a user would, on core 0 with the load on core 1, with its data
//! in a temporary directory; killed when dropped. Traffic stays on loopback.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, anyhow, bail};
use dataplane::limits::Pools;
use dataplane::store::{Stores as _, rocks::RocksStores};
use serde_json::Value;

use crate::load::Process;

/// Devices that are made, and connections of a load.
pub(crate) const CONNECTIONS: u32 = 500;

/// What one run says.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cpu_us: f64,
    pub(crate) rate: f64,
    /// Cores used while it lasted.
    pub(crate) cores: f64,
}

/// A server of its own, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    home: tempfile::TempDir,
    mqtt: String,
    rest: String,
    admin: String,
}

impl Server {
    /// Starts one with an empty store and creates its devices.
    ///
    /// # Errors
    /// The programs are not beside this one, or do not start.
    pub fn start() -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("tidegate-capacity.").tempdir()?;
        let (child, addresses) = spawn(home.path())?;
        let of = |part: &str| {
            let found = addresses.split_whitespace().find_map(|word| word.strip_prefix(part)?.strip_prefix('='));
            found.map(ToOwned::to_owned).ok_or_else(|| anyhow!("tidegate does not say where {part} listens: {addresses}"))
        };
        let (mqtt, rest, admin) = (of("mqtt"), of("http"), of("admin"));
        let mut server = Self { child, home, mqtt: String::new(), rest: String::new(), admin: String::new() };
        (server.mqtt, server.rest, server.admin) = (mqtt?, format!("http://{}", rest?), admin?);
        let tokens = server.tokens().display().to_string();
        let count = CONNECTIONS.to_string();
        load(&["fleet", "--rest", &server.rest, "--count", &count, "--tokens", &tokens])?;
        Ok(server)
    }

    fn tokens(&self) -> PathBuf {
        self.home.path().join("tokens")
    }

    /// Where it takes MQTT.
    #[must_use]
    pub fn mqtt(&self) -> &str {
        &self.mqtt
    }

    /// The access tokens of its devices.
    ///
    /// # Errors
    /// The file of the fleet cannot be read.
    pub fn device_tokens(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(self.tokens())?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(','))
            .map(|(_, token)| token.to_owned())
            .filter(|token| token != "token")
            .collect())
    }

    /// CPU that it has used, all threads, in seconds.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        Ok(Process::of(self.child.id())?.cpu()?.total_s())
    }

    /// Loads it for some seconds, and lets it come to rest.
    pub(crate) fn load(&mut self, payload: &str, more: &[&str]) -> anyhow::Result<Run> {
        let report = self.home.path().join("report");
        let (tokens, report_path) = (self.tokens().display().to_string(), report.display().to_string());
        let (pid, count) = (self.child.id().to_string(), CONNECTIONS.to_string());
        let common = [
            ["--mqtt", &self.mqtt],
            ["--tokens", &tokens],
            ["--connections", &count],
            ["--payload", payload],
            ["--pid", &pid],
            ["--core", "1"],
            ["--warmup", "2s"],
            ["--duration", "6s"],
            ["--json", &report_path],
        ];
        let arguments: Vec<&str> =
            common.iter().flatten().copied().chain(["--drain", "--quiet"]).chain(more.iter().copied()).collect();
        load(&arguments)?;
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
        let number =
            |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| anyhow!("no {pointer} in the report"));
        Ok(Run {
            cpu_us: number("/server/cpu_us_per_message")?,
            rate: number("/rate_per_s")?,
            cores: number("/server/cpu_s")? / number("/duration_s")?,
        })
    }

    /// Ends the server, merges its tables as time would, and divides their bytes by the rows stored.
    pub(crate) fn bytes_per_row(mut self) -> anyhow::Result<f64> {
        let metrics = ureq::get(format!("http://{}/metrics", self.admin)).call()?.body_mut().read_to_string()?;
        let rows: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("tidegate_rows_stored_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        if rows < 1.0 {
            bail!("the server says that it stored nothing");
        }
        end(&mut self.child)?;
        let stores = self.home.path().join("dataplane");
        let engine = RocksStores::new(&stores, 1, &Pools::FULL)?.open(0)?;
        // Opening wrote the log out to tables; this merges them.
        engine.reclaim();
        drop(engine);
        Ok(table_bytes(&stores)? as f64 / rows)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts `tidegate` on core 0 with the data in `home`, and waits until it is ready; what it says where it listens.
fn spawn(home: &Path) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(beside("tidegate")?);
    command.args(["standalone", "--demo"]).env("TIDEGATE_DATA_DIR", home).env("TIDEGATE_SHARDS", "1");
    for part in ["MQTT", "HTTP", "GRPC", "QUERY", "ADMIN"] {
        command.env(format!("TIDEGATE_{part}_LISTEN"), "127.0.0.1:0");
    }
    let mut child = on_core_0(|| command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn())?;
    let output = child.stdout.take().ok_or_else(|| anyhow!("no output of tidegate"))?;
    let mut lines = BufReader::new(output).lines();
    let mut addresses = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some(listening) = line.strip_prefix("listening ") {
            listening.clone_into(&mut addresses);
        }
        if line.starts_with("ready") {
            // Whatever it says later is read away, so that it never waits for a full pipe.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok((child, addresses));
        }
    }
    drop(child.kill());
    drop(child.wait());
    bail!("tidegate did not become ready")
}

/// Runs something on core 0 whose children stay there.
fn on_core_0<T>(run: impl FnOnce() -> std::io::Result<T>) -> anyhow::Result<T> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    if allowed.count() < 2 {
        bail!("measuring needs two cores: one for the server, one for the load");
    }
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first)?;
    let done = run();
    sched_setaffinity(None, &allowed)?;
    Ok(done?)
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { bail!("tidegate ended with {status}") }
}

fn load(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(beside("tidegate-load")?).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!("tidegate-load {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

fn beside(program: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Benches lie one directory deeper.
    let places = [own.with_file_name(program), own.parent().unwrap_or(&own).with_file_name(program)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| anyhow!("{program} is not beside this program; build it too"))
}

/// Bytes of all tables (`*.sst`) below a directory.
fn table_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            bytes += table_bytes(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "sst") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
