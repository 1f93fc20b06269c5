//! Third-party clients: mosquitto's programs, and paho-mqtt, tb-mqtt-client, thingsboard-gateway and the official encoders of
//! payloads from Python environments made on first use.
//! Never waits on a pipe: what a client prints goes to a file that is read with a deadline.

use super::capture::Capture;
use super::certificates::Pair;
use super::instance::Home;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The interpreter with paho-mqtt 2.
#[must_use]
pub fn paho_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-paho", &["paho-mqtt>=2,<3", "websocket-client"]))
}

/// The interpreter with ThingsBoard's own device SDK.
#[must_use]
pub fn sdk_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-tb", &["tb-mqtt-client==1.13.14"]))
}

/// The interpreter with ThingsBoard's IoT gateway.
#[must_use]
pub fn gateway_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-gateway", &["thingsboard-gateway==3.8.5"]))
}

/// The interpreter with an SMTP server.
#[must_use]
pub fn smtp_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-smtp", &["aiosmtpd>=1.4,<2"]))
}

/// The interpreter with a client of RabbitMQ.
#[must_use]
pub fn rabbitmq_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-rabbitmq", &["pika>=1.3,<2"]))
}

/// The interpreter with NATS's own client.
#[must_use]
pub fn nats_python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("venv-nats", &["nats-py>=2,<3"]))
}

/// A payload as an official library writes it, in hex: see `encode.py`.
///
/// # Panics
/// When the library refuses the value.
#[must_use]
pub fn encoded(kind: &str, value: &Value) -> String {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| environment("venv-encoders", &["protobuf>=5,<8", "flatbuffers>=25,<26"]));
    let output = Command::new(python).arg(script("encode.py")).args([kind, &value.to_string()]).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(output.status.success(), "{kind} {value}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a virtual environment unless it is there. It is built under another name first, so that a half-made one is never used.
fn environment(name: &str, packages: &[&str]) -> PathBuf {
    let cache = cache();
    let directory = cache.join(name);
    let python = directory.join("bin/python");
    let marker = directory.join("tidegate-complete");
    let probe = |python: &Path| Command::new(python).args(["-m", "pip", "show", "-q"]).args(packages.iter().map(bare)).status();
    if marker.exists() || (python.exists() && probe(&python).is_ok_and(|status| status.success())) {
        return python;
    }
    std::fs::create_dir_all(&cache).expect("the cache directory can be made");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages));
    std::fs::write(marker, "").expect("the environment is writable");
    python
}

/// Where what tests fetch is kept.
pub(super) fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.expect("XDG_CACHE_HOME or HOME is set").join("tidegate")
}

/// A requirement without its version.
fn bare<'a>(requirement: &&'a str) -> &'a str {
    requirement.split(['=', '<', '>', ',']).next().unwrap_or(requirement)
}

pub(super) fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// The path of a script in `tests/clients`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// A client process that takes commands on stdin and reports events on stdout, both JSON lines.
#[derive(Debug)]
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Capture,
    log: Capture,
}

impl Client {
    /// A scripted paho-mqtt client; `version` is 4 (3.1.1) or 5.
    #[must_use]
    pub fn paho(home: &Home, broker: SocketAddr, token: &str, version: u8) -> Self {
        Self::paho_with(home, broker, token, (version, json!({})))
    }

    /// The same with options of `paho_client.py`.
    #[must_use]
    pub fn paho_with(home: &Home, broker: SocketAddr, token: &str, (version, options): (u8, Value)) -> Self {
        let arguments = [token.to_owned(), version.to_string(), options.to_string()];
        Self::scripted(home, (paho_python(), "paho_client.py"), broker, &arguments)
    }

    /// A scripted tb-mqtt-client.
    #[must_use]
    pub fn sdk(home: &Home, broker: SocketAddr, token: &str) -> Self {
        Self::scripted(home, (sdk_python(), "sdk_client.py"), broker, &[token.to_owned()])
    }

    /// tb-mqtt-client's provisioning; says `credentials` and ends.
    #[must_use]
    pub fn sdk_provisioning(home: &Home, broker: SocketAddr, request: &Value) -> Self {
        Self::scripted(home, (sdk_python(), "sdk_provision.py"), broker, &[request.to_string()])
    }

    /// A scripted gateway client of tb-mqtt-client.
    #[must_use]
    pub fn sdk_gateway(home: &Home, broker: SocketAddr, token: &str) -> Self {
        Self::scripted(home, (sdk_python(), "gateway_client.py"), broker, &[token.to_owned()])
    }

    fn scripted(home: &Home, (python, name): (&Path, &str), broker: SocketAddr, arguments: &[String]) -> Self {
        let mut command = Command::new(python);
        command.arg("-u").arg(script(name)).args([broker.ip().to_string(), broker.port().to_string()]).args(arguments);
        Self::spawn(home, name.trim_end_matches(".py"), command.current_dir(home.path()))
    }

    /// A device that is polled over HTTP and knows no MQTT; says where it listens.
    #[must_use]
    pub fn simulated_device(home: &Home) -> Self {
        Self::spawn(home, "simulated_device", Command::new("python3").arg("-u").arg(script("simulated_device.py")))
    }

    /// What rule nodes call over HTTP, at this port (0: any); says where it listens and what it is told.
    #[must_use]
    pub fn outside(home: &Home, port: u16) -> Self {
        let mut command = Command::new("python3");
        Self::spawn(home, "outside", command.arg("-u").arg(script("outside.py")).arg(port.to_string()))
    }

    /// The same in TLS, for whoever shows a certificate of this authority; says who called.
    #[must_use]
    pub fn outside_over_tls(home: &Home, authority: &Path, server: &Pair) -> Self {
        let mut command = Command::new("python3");
        command.arg("-u").arg(script("outside.py")).args(["0", "tls"]).args([authority, &server.certificate, &server.key]);
        Self::spawn(home, "outside", &mut command)
    }

    /// The same with a sink of e-mails.
    #[must_use]
    pub fn outside_with_smtp(home: &Home) -> Self {
        let mut command = Command::new(smtp_python());
        Self::spawn(home, "outside", command.arg("-u").arg(script("outside.py")).args(["0", "smtp"]))
    }

    /// Another broker, reachable from this machine alone.
    #[must_use]
    pub fn mosquitto(home: &Home, address: SocketAddr) -> Self {
        // Debian has it where only administrators look for programs.
        let mut command = Command::new("/usr/sbin/mosquitto");
        let broker = Self::spawn(home, "mosquitto", command.args(["-p", &address.port().to_string()]));
        super::eventually("mosquitto listens", || std::net::TcpStream::connect(address).ok());
        broker
    }

    /// The same with sessions and what waits for them on disk, also when it starts again.
    #[must_use]
    pub fn mosquitto_that_remembers(home: &Home, address: SocketAddr) -> Self {
        let more = format!(
            "allow_anonymous true\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n",
            home.path().display()
        );
        Self::mosquitto_with(home, address, &more)
    }

    /// The same with more lines of its configuration.
    #[must_use]
    pub fn mosquitto_with(home: &Home, address: SocketAddr, more: &str) -> Self {
        let file = home.path().join(format!("mosquitto-{}.conf", address.port()));
        // Started by root it would become somebody who may not read the test's directory.
        let text = format!("listener {} {}\nuser root\n{more}", address.port(), address.ip());
        std::fs::write(&file, text).expect("the test's directory is writable");
        let broker = Self::spawn(home, "mosquitto", Command::new("/usr/sbin/mosquitto").arg("-c").arg(&file));
        super::eventually("mosquitto listens", || std::net::TcpStream::connect(address).ok());
        broker
    }

    /// pika at a RabbitMQ broker: see `rabbitmq_client.py`.
    #[must_use]
    pub fn rabbitmq_client(home: &Home, broker: SocketAddr) -> Self {
        Self::scripted(home, (rabbitmq_python(), "rabbitmq_client.py"), broker, &[])
    }

    /// A NATS server with JetStream, for `plant` with the password `secret`, reachable from this machine alone.
    #[must_use]
    pub fn nats_server(home: &Home, address: SocketAddr) -> Self {
        let file = home.path().join("nats.conf");
        let text = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\nauthorization {{ users = [ {{ user: plant, password: secret, \
             permissions: {{ publish: {{ deny: [\"secret.>\"] }} }} }} ] }}\n",
            home.path().join("nats").display()
        );
        std::fs::write(&file, text).expect("the test's directory is writable");
        // Debian has it where only administrators look for programs.
        let server = Self::spawn(home, "nats-server", Command::new("/usr/sbin/nats-server").arg("-c").arg(&file));
        super::eventually("nats-server listens", || std::net::TcpStream::connect(address).ok());
        server
    }

    /// nats-py at such a server: see `nats_client.py`.
    #[must_use]
    pub fn nats_client(home: &Home, server: SocketAddr) -> Self {
        Self::scripted(home, (nats_python(), "nats_client.py"), server, &[])
    }

    /// ThingsBoard's IoT gateway with the configuration in this directory.
    #[must_use]
    pub fn iot_gateway(home: &Home, configuration: &Path) -> Self {
        let mut command = Command::new(gateway_python());
        command.args(["-u", "-c", "from thingsboard_gateway import tb_gateway; tb_gateway.main()"]);
        // Its question for a newer version of itself stays on this machine: nobody listens there.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
        command.env("TB_GW_CONFIG_DIR", configuration).current_dir(home.path());
        Self::spawn(home, "iot_gateway", &mut command)
    }

    /// `mosquitto_sub`; returns once the subscription is granted.
    #[must_use]
    pub fn mosquitto_sub(home: &Home, broker: SocketAddr, token: &str, topic: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-h", &broker.ip().to_string(), "-p", &broker.port().to_string()]);
        command.args(["-u", token, "-t", topic, "-q", "1", "-F", "message %t %p"]);
        Self::subscribed(home, &mut command)
    }

    /// `mosquitto_sub` with MQTT 5, whose session is kept when it is not there, for one that comes after it.
    #[must_use]
    pub fn mosquitto_sub_kept(home: &Home, broker: SocketAddr, topic: &str) -> Self {
        Self::mosquitto_sub_with(home, broker, &["-V", "mqttv5", "-i", "kept", "-c", "-x", "3600", "-t", topic])
    }

    /// `mosquitto_sub` with these arguments, which [`Self::published`] understands.
    #[must_use]
    pub fn mosquitto_sub_with(home: &Home, broker: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-h", &broker.ip().to_string(), "-p", &broker.port().to_string()]);
        command.args(["-q", "1", "-F", "message %t|%P|%p"]).args(arguments);
        Self::subscribed(home, &mut command)
    }

    fn subscribed(home: &Home, command: &mut Command) -> Self {
        let mut client = Self::spawn(home, "mosquitto_sub", command);
        client.out.wait_for("mosquitto_sub's `Subscribed`", |line| line.starts_with("Subscribed"));
        client
    }

    pub(super) fn spawn(home: &Home, name: &str, command: &mut Command) -> Self {
        let (out, log) = (home.capture(name), home.capture(&format!("{name}-err")));
        let child = command.stdin(Stdio::piped()).stdout(out.stdio()).stderr(log.stdio()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        Self { child, stdin, out, log }
    }

    /// Kills the client: its connection is lost, not ended.
    pub fn kill(mut self) {
        // An error means that it ended before.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// Gives a command.
    pub fn send(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open until the client is dropped");
        writeln!(stdin, "{command}").expect("the client reads its commands");
    }

    /// The next event of this kind; others before it are skipped.
    pub fn event(&mut self, kind: &str) -> Value {
        let line = self.out.wait_for(&format!("the event {kind:?}"), |line| {
            serde_json::from_str::<Value>(line).is_ok_and(|event| event["event"] == kind)
        });
        serde_json::from_str(&line).expect("checked when it was found")
    }

    /// Gives a command and waits for the event that answers it.
    pub fn ask(&mut self, command: &Value, kind: &str) -> Value {
        self.send(command);
        self.event(kind)
    }

    /// The payload of the next message `mosquitto_sub` got on `topic`.
    pub fn message(&mut self, topic: &str) -> Value {
        let prefix = format!("message {topic} ");
        let line = self.out.wait_for(&format!("a message on {topic}"), |line| line.starts_with(&prefix));
        serde_json::from_str(line.trim_start_matches(&prefix)).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Topic, idempotency key and payload of the next message that a `mosquitto_sub_with` got.
    pub fn published(&mut self) -> (String, Option<String>, Value) {
        let line = self.out.wait_for("a message", |line| line.starts_with("message "));
        let parts: Vec<&str> = line.trim_start_matches("message ").splitn(3, '|').collect();
        let [topic, property, payload] = *parts.as_slice() else { panic!("topic, property and payload: {line}") };
        let payload = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {line}"));
        (topic.to_owned(), property.strip_prefix("idempotency-key:").map(str::to_owned), payload)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn terminate(mut self) {
        run(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]));
        assert!(self.end(), "it ends well");
    }

    /// Waits for the client to end by itself; whether it ended well.
    pub fn end(&mut self) -> bool {
        self.stdin = None;
        super::eventually("the client ends", || self.child.try_wait().expect("a child can be waited for")).success()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _gone = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            println!("--- {}\n{}", self.out.path().display(), self.out.tail(30));
            println!("--- {}\n{}", self.log.path().display(), self.log.tail(30));
        }
    }
}

/// One `mosquitto_pub` run.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    pub token: &'a str,
    pub topic: &'a str,
    pub payload: &'a str,
    pub qos: u8,
    /// `mqttv311` or `mqttv5`.
    pub version: &'a str,
}

/// Runs `mosquitto_pub`; whether it succeeded and what it printed.
#[must_use]
pub fn mosquitto_pub(broker: SocketAddr, publication: Publication<'_>) -> (bool, String) {
    let qos = publication.qos.to_string();
    let arguments = ["-V", publication.version, "-q", &qos, "-u", publication.token, "-t", publication.topic];
    mosquitto_pub_with(broker, &[&arguments[..], &["-m", publication.payload]].concat())
}

/// Runs `mosquitto_pub` with these arguments; whether it succeeded and what it printed.
#[must_use]
pub fn mosquitto_pub_with(broker: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-d", "-h", &broker.ip().to_string(), "-p", &broker.port().to_string()]).args(arguments);
    let output = command.output().unwrap_or_else(|error| panic!("mosquitto_pub: {error}: install mosquitto-clients"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
