//! Behind a balancer: HAProxy, curl and headers written by hand say who connects, and limits are those of whom they name. Never
//! connects to a balanced listener without saying so, but to see that nobody else may.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tests::harness::certificates::{Authority, over_tls};
use tests::harness::curl::Curl;
use tests::harness::eventually;
use tests::harness::fixture::{Fixture, device, latest_value};
use tests::harness::instance::Home;
use tests::harness::mqtt::{CONNACK, Connect, V5, Wire};
use tests::harness::port;
use tests::harness::python::mosquitto_pub_with;

/// Where Debian has it, which is not in everybody's PATH.
const HAPROXY: &str = "/usr/sbin/haproxy";
const TELEMETRY: &str = "v1/devices/me/telemetry";

/// A running HAProxy; killed when dropped.
struct Balancer {
    process: Child,
    address: SocketAddr,
}

impl Balancer {
    /// Passes connections on to `server` and says from where they came, with the given version of the protocol.
    fn start(home: &Home, server: SocketAddr, says: &str) -> Self {
        let address = port::reserve();
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen mqtt\n  bind {address}\n  server tidegate {server} {says}\n"
        );
        let file = home.path().join(format!("haproxy-{}.cfg", address.port()));
        fs::write(&file, config).unwrap();
        let process = Command::new(HAPROXY).arg("-f").arg(&file).stderr(Stdio::null()).spawn().expect("haproxy runs");
        let balancer = Self { process, address };
        eventually("HAProxy listens", || std::net::TcpStream::connect(address).ok());
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that a balancer opened for `client`.
fn of(listener: SocketAddr, client: &str) -> Wire {
    let mut wire = Wire::open(listener);
    wire.write(format!("PROXY TCP4 {client} 127.0.0.1 40000 1883\r\n").as_bytes()).unwrap();
    wire
}

#[test]
fn devices_come_through_a_balancer() {
    let home = Home::new();
    let authority = Authority::new(&home, "authority");
    let server = authority.server("localhost");
    let fixture = Fixture::with(|setup| over_tls(setup.with("TIDEGATE_MQTT_PROXY_PROTOCOL", "required"), &[&server]));
    let known = device(&fixture.tenant, "behind");
    let publish = |address: SocketAddr, value: &str, tls: &[&str]| {
        let payload = format!(r#"{{"v":{value}}}"#);
        mosquitto_pub_with(address, &[&["-u", "behind", "-q", "1", "-t", TELEMETRY, "-m", &payload], tls].concat()).0
    };
    for (says, value) in [("send-proxy", "1"), ("send-proxy-v2", "2")] {
        let balancer = Balancer::start(&fixture.home, fixture.instance.mqtt(), says);
        assert!(publish(balancer.address, value, &[]), "{says}");
        assert_eq!(latest_value(&fixture.tenant, &known.id, "v").as_deref(), Some(value));
    }
    // The header comes before TLS, which the device and the data plane speak with each other.
    let secured = Balancer::start(&fixture.home, fixture.instance.address("mqtts"), "send-proxy-v2");
    let authority = authority.pair.certificate.display().to_string();
    assert!(publish(secured.address, "3", &["--cafile", &authority, "--insecure"]), "over TLS");
    assert_eq!(latest_value(&fixture.tenant, &known.id, "v").as_deref(), Some("3"));
    let mut stranger = Wire::open(fixture.instance.mqtt());
    assert!(stranger.handshake(&Connect::new("behind")).is_err(), "nobody else may come in");
    fixture.instance.stop();
}

#[test]
fn limits_are_those_of_the_clients_behind_it() {
    let fixture = Fixture::with(|setup| {
        setup.shards(1).with("TIDEGATE_MQTT_PROXY_PROTOCOL", "required").with("TIDEGATE_DEVICE_CONNECTIONS_PER_ADDRESS", 3)
    });
    let many = device(&fixture.tenant, "many");
    let listener = fixture.instance.mqtt();
    let guess = |client: &str, number: usize| {
        let token = format!("guess{number}");
        of(listener, client).handshake(&Connect::new(&token).version(V5)).expect("a CONNACK").code(1)
    };
    let codes: Vec<u8> = (0..200).map(|number| guess("10.0.0.1", number)).collect();
    assert_eq!(codes.last(), Some(&0x9f), "who guesses is no longer listened to");
    assert_eq!(guess("10.0.0.2", 0), 0x86, "the other is");
    let mut held: Vec<Wire> = (0..3).map(|_| of(listener, "10.0.0.3")).collect();
    for wire in &mut held {
        // Whatever is answered, the connection was counted under the address by then.
        wire.write(&[0x10]).unwrap();
    }
    eventually("a fourth of that address is closed", || {
        of(listener, "10.0.0.3").handshake(&Connect::new(&many.token)).is_err().then_some(())
    });
    let admitted = of(listener, "10.0.0.4").handshake(&Connect::new(&many.token)).expect("a CONNACK");
    assert_eq!((admitted.kind(), admitted.code(1)), (CONNACK, 0), "another address has its own");
    fixture.instance.stop();
}

#[test]
fn the_http_api_of_devices_has_a_balancer_too() {
    let fixture = Fixture::with(|setup| setup.with("TIDEGATE_DEVICE_HTTP_PROXY_PROTOCOL", "required"));
    let known = device(&fixture.tenant, "web");
    let direct = format!("http://{}/api/v1/web/telemetry", fixture.instance.device_http());
    assert_eq!(Curl::post(&direct, r#"{"v":1}"#).argument("--haproxy-protocol").run().status, 200);
    assert_eq!(latest_value(&fixture.tenant, &known.id, "v").as_deref(), Some("1"));
    assert!(Curl::post(&direct, r#"{"v":2}"#).attempt().is_err(), "nobody else may come in");
    let other = format!("http://{}/api/v1/web/telemetry", fixture.instance.address("http"));
    assert_eq!(Curl::post(other, r#"{"v":3}"#).run().status, 503, "the control plane is no balancer");
    fixture.instance.stop();
}
