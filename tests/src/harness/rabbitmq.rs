//! A RabbitMQ broker of Debian's, and pika as its consumer. It has an epmd, a node name and directories of its own.

use super::instance::Home;
use super::port;
use super::python::Client;
use std::net::SocketAddr;
use std::process::Command;

/// A broker, killed when it is dropped, and then its epmd.
#[derive(Debug)]
pub struct RabbitMq {
    _broker: Client,
    _names: Client,
    pub address: SocketAddr,
}

impl RabbitMq {
    /// Returns when it takes connections.
    #[must_use]
    pub fn start(home: &Home) -> Self {
        let (address, distribution, names) = (port::reserve(), port::reserve(), port::reserve());
        let (local, names_port) = (address.ip().to_string(), names.port().to_string());
        // Erlang would start one that outlives the broker.
        let epmd = Client::spawn(home, "epmd", Command::new("epmd").args(["-address", &local, "-port", &names_port]));
        super::eventually("epmd listens", || std::net::TcpStream::connect(names).ok());
        let directory = home.path().join("rabbitmq");
        std::fs::create_dir(&directory).expect("the test's directory is writable");
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("the test's directory is writable");
            path
        };
        // Debian's own runs it as somebody else, at one place.
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &directory)
            .env("ERL_EPMD_ADDRESS", &local)
            .env("ERL_EPMD_PORT", &names_port)
            // The program itself, with no shell in front of it that would not be killed with it.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("RABBITMQ_NODENAME", format!("tidegate-{}@localhost", address.port()))
            .env("RABBITMQ_DIST_PORT", distribution.port().to_string())
            .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_PID_FILE", directory.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf", &format!("listeners.tcp.default = {address}\n")))
            .env("RABBITMQ_CONF_ENV_FILE", file("env.conf", ""))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins", "[].\n"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .current_dir(&directory);
        let broker = Client::spawn(home, "rabbitmq", &mut command);
        super::eventually("RabbitMQ listens", || std::net::TcpStream::connect(address).ok());
        Self { _broker: broker, _names: epmd, address }
    }
}
