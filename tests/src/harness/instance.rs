//! Starts, stops and kills `tidegate` processes, each with its own data directory and ports.
//! Never leaves one behind: a dropped instance is killed.

use super::capture::Capture;
use super::port;
use super::rest::Rest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A directory for one test: data, logs, what clients print.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("tidegate-test-").tempdir().expect("a temporary directory can be made"))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A new file for output, named after what prints it.
    #[must_use]
    pub fn capture(&self, name: &str) -> Capture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Capture::new(self.path().join(format!("{name}-{}.out", NEXT.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// How to start an instance; may be started again and again.
#[derive(Clone, Debug)]
pub struct Setup {
    mode: &'static str,
    home: PathBuf,
    data: PathBuf,
    demo: bool,
    environment: BTreeMap<String, String>,
}

impl Setup {
    /// Both planes in one process, with demo data.
    #[must_use]
    pub fn standalone(home: &Home) -> Self {
        Self::new(home, "standalone", "data").demo(true)
    }

    /// One plane (`dataplane`, `controlplane`) with its own data directory.
    #[must_use]
    pub fn new(home: &Home, mode: &'static str, data: &str) -> Self {
        let mut environment = BTreeMap::new();
        for part in ["HTTP", "MQTT", "DEVICE_HTTP", "GRPC", "QUERY", "ADMIN"] {
            environment.insert(format!("TIDEGATE_{part}_LISTEN"), port::ANY.to_owned());
        }
        environment.insert("TIDEGATE_SHARDS".to_owned(), "1".to_owned());
        if let Ok(driver) = std::env::var("TIDEGATE_DRIVER") {
            environment.insert("TIDEGATE_DRIVER".to_owned(), driver);
        }
        Self { mode, home: home.path().to_owned(), data: home.path().join(data), demo: false, environment }
    }

    #[must_use]
    pub fn demo(mut self, demo: bool) -> Self {
        self.demo = demo;
        self
    }

    /// Sets an environment variable of the process.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.environment.insert(key.to_owned(), value.to_string());
        self
    }

    #[must_use]
    pub fn shards(self, count: usize) -> Self {
        self.with("TIDEGATE_SHARDS", count)
    }

    #[must_use]
    pub fn driver(self, name: &str) -> Self {
        self.with("TIDEGATE_DRIVER", name)
    }

    /// Keeps its data somewhere else.
    #[must_use]
    pub fn data_in(mut self, directory: &Path) -> Self {
        self.data = directory.to_owned();
        self
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The command, not started.
    #[must_use]
    pub fn command(&self) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(binary());
        command.arg(self.mode).arg("--data-dir").arg(&self.data);
        if self.demo {
            command.arg("--demo");
        }
        without_settings(&mut command).envs(&self.environment).current_dir(&self.home).process_group(0);
        command
    }

    /// Starts the process without waiting for it.
    #[must_use]
    pub fn launch(&self) -> Launched {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let out = Capture::new(self.home.join(format!("{}-{number}.out", self.mode)));
        let log = Capture::new(self.home.join(format!("{}-{number}.log", self.mode)));
        let child = self.command().stdout(out.stdio()).stderr(log.stdio()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}: build the workspace first", binary().display()));
        Launched { child, out, log }
    }

    /// Starts the process and waits until it says `ready`.
    #[must_use]
    pub fn start(&self) -> Instance {
        self.launch().ready()
    }
}

/// Keeps the caller's own settings from a process under test.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// `<target>/release/tidegate`.
#[must_use]
pub fn binary() -> PathBuf {
    program("tidegate")
}

/// A program of the workspace, beside the directory of the test executable.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    let target = test.parent().and_then(Path::parent).expect("a test executable is in <target>/<profile>/deps");
    target.join(name)
}

/// A process that was started and may not be ready yet.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    out: Capture,
    log: Capture,
}

impl Launched {
    /// Waits for `ready`.
    ///
    /// # Panics
    /// When the process ends or stays silent; its log is printed.
    #[must_use]
    pub fn ready(mut self) -> Instance {
        let mut listening = None;
        let outcome = super::within(super::PATIENCE, || {
            while let Some(line) = self.out.next_line() {
                match line.strip_prefix("listening ") {
                    Some(rest) => listening = Some(rest.to_owned()),
                    None if line == "ready" => return Some(true),
                    None => {}
                }
            }
            self.child.try_wait().expect("a child can be waited for").map(|_| false)
        });
        assert!(outcome == Some(true), "tidegate did not become ready ({outcome:?})");
        let listening = listening.expect("`listening` is printed before `ready`");
        Instance { addresses: Addresses::parse(&listening), process: self }
    }

    /// Waits for the process to end by itself: its status, stdout and stderr.
    #[must_use]
    pub fn end(mut self) -> (ExitStatus, String, String) {
        let status = self.wait();
        (status, self.out.text(), self.log.text())
    }

    /// Whether the process has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        // An error means that it is gone, which is what is wanted.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    fn wait(&mut self) -> ExitStatus {
        super::eventually("the process ends", || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- stdout of {}\n{}", self.out.path().display(), self.out.tail(20));
            println!("--- stderr of {}\n{}", self.log.path().display(), self.log.tail(80));
        }
    }
}

/// Where a process listens; parts that its mode lacks are absent.
#[derive(Clone, Debug, Default)]
pub struct Addresses(BTreeMap<String, SocketAddr>);

impl Addresses {
    fn parse(text: &str) -> Self {
        let pair = |word: &str| {
            let (part, address) = word.split_once('=').expect("`listening` is a list of part=address");
            (part.to_owned(), address.parse().expect("an address is IP:port"))
        };
        Self(text.split_whitespace().map(pair).collect())
    }

    /// The address of one part.
    ///
    /// # Panics
    /// When the mode has no such part.
    #[must_use]
    pub fn of(&self, part: &str) -> SocketAddr {
        *self.0.get(part).unwrap_or_else(|| panic!("the process does not listen for {part}: {self:?}"))
    }
}

/// A running, ready `tidegate`.
#[derive(Debug)]
pub struct Instance {
    addresses: Addresses,
    process: Launched,
}

impl Instance {
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.addresses.of("mqtt")
    }

    /// Where devices speak HTTP, and MQTT in WebSocket.
    #[must_use]
    pub fn device_http(&self) -> SocketAddr {
        self.addresses.of("device_http")
    }

    #[must_use]
    pub fn address(&self, part: &str) -> SocketAddr {
        self.addresses.of(part)
    }

    /// REST without a user.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::new(self.addresses.of("http"))
    }

    /// The admin listener (`/livez`, `/readyz`, `/metrics`).
    #[must_use]
    pub fn admin(&self) -> Rest {
        Rest::new(self.addresses.of("admin"))
    }

    /// A metric summed over its labels; 0 when it was never written.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin().get("/metrics").expect_text(200);
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
            let value = value.strip_prefix(' ')?;
            value.split_whitespace().next()?.parse::<f64>().ok()
        });
        values.sum()
    }

    /// Waits until a metric is at least `least`.
    pub fn metric_reaches(&self, name: &str, least: f64) {
        super::eventually(&format!("{name} reaches {least}"), || (self.metric(name) >= least).then_some(()));
    }

    /// Resident memory in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says VmRSS");
        line.trim().trim_end_matches(" kB").trim().parse().expect("VmRSS is a number of kB")
    }

    /// What it printed on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.process.out.text()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// `kill -9`, and nothing else: no drain, no flush.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to stop (SIGTERM) without waiting.
    pub fn terminate(&self) {
        let pid = self.process.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status().expect("there is a shell");
        assert!(status.success(), "the process is there to be told");
    }

    /// Waits for its end after [`Self::terminate`].
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// SIGTERM and a clean end.
    ///
    /// # Panics
    /// When the exit code is not 0.
    pub fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "SIGTERM drains and exits 0, not {status}");
    }
}

/// The drivers this kernel can run; a missing one is said.
#[must_use]
pub fn drivers() -> Vec<&'static str> {
    let probe = Command::new("python3").arg(super::python::script("io_uring_probe.py")).output().expect("python3 is installed");
    if probe.status.success() {
        return vec!["epoll", "io_uring"];
    }
    println!("skipped for io_uring: {}", String::from_utf8_lossy(&probe.stdout).trim());
    vec!["epoll"]
}
