//! A Kafka broker of Apache's, from its jars, and kcat of Debian's as its consumer.

use super::instance::Home;
use super::port;
use super::python::{Client, cache, run, script};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A broker that is its own controller, killed when it is dropped.
#[derive(Debug)]
pub struct Kafka {
    _broker: Client,
    /// Where anybody may come.
    pub open: SocketAddr,
    /// Where only `plant` with the password `secret` may.
    pub guarded: SocketAddr,
}

impl Kafka {
    /// Returns when it takes connections.
    #[must_use]
    pub fn start(home: &Home) -> Self {
        let (open, guarded, controller) = (port::reserve(), port::reserve(), port::reserve());
        let directory = home.path().join("kafka");
        let properties = home.path().join("kafka.properties");
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_plant=\"secret\";";
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{open},GUARDED://{guarded},CONTROLLER://{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             listener.name.guarded.sasl.enabled.mechanisms=PLAIN\nlistener.name.guarded.plain.sasl.jaas.config={login}\n\
             log.dirs={}\nnum.partitions=1\noffsets.topic.replication.factor=1\n",
            directory.display()
        );
        std::fs::write(&properties, text).expect("the test's directory is writable");
        let (tool, broker) = ("kafka.tools.StorageTool", "kafka.Kafka");
        // Any 16 bytes in base64 are a cluster's id.
        run(java(tool)
            .args(["format", "-t", "dGlkZWdhdGUtdGVzdHMtMQ", "-c"])
            .arg(&properties)
            .stdout(std::process::Stdio::null()));
        let broker = Client::spawn(home, "kafka", java(broker).arg(&properties));
        for address in [open, guarded] {
            super::eventually("Kafka listens", || std::net::TcpStream::connect(address).ok());
        }
        Self { _broker: broker, open, guarded }
    }

    /// The next records of a topic, from its first on, as kcat shows them: so many, which have to be there.
    #[must_use]
    pub fn records(&self, topic: &str, count: usize) -> Vec<Value> {
        let mut command = Command::new("kcat");
        command.args(["-C", "-q", "-J", "-b", &self.open.to_string(), "-t", topic, "-o", "beginning", "-e"]);
        let found = super::eventually(&format!("{count} records of {topic}"), || {
            let output = command.output().unwrap_or_else(|error| panic!("kcat: {error}: install kcat"));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (records.len() >= count).then_some(records)
        });
        assert_eq!(found.len(), count, "{found:?}");
        found
    }
}

/// One header of a record as kcat shows it.
#[must_use]
pub fn header<'r>(record: &'r Value, name: &str) -> Option<&'r str> {
    let headers: Vec<&str> = record["headers"].as_array()?.iter().filter_map(Value::as_str).collect();
    headers.chunks(2).find(|pair| pair.first() == Some(&name)).and_then(|pair| pair.get(1).copied())
}

fn java(class: &str) -> Command {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    let jars = JARS.get_or_init(jars).join("*");
    let mut command = Command::new("java");
    // A small broker that lives for seconds: the quick compiler is enough.
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars).arg(class);
    command
}

/// Has Maven fetch the jars unless they are there; it checks their sums.
fn jars() -> PathBuf {
    let project = script("kafka.xml");
    let text = std::fs::read_to_string(&project).expect("it is there");
    let version = text.split("<version>").last().and_then(|rest| rest.split('<').next()).expect("it names a version");
    let directory = cache().join(format!("kafka-{version}"));
    let marker = directory.join("tidegate-complete");
    if !marker.exists() {
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "-C", "-f"]).arg(&project);
        maven.arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies");
        run(maven.arg(format!("-DoutputDirectory={}", directory.display())));
        std::fs::write(marker, "").expect("the cache directory is writable");
    }
    directory
}
