//! The load generator's audit: it passes when everything acknowledged is there, also across a kill -9, and fails when something
//! is taken away. Never asserts a speed.

use std::path::Path;
use std::process::Command;

use tests::harness::certificates::{Authority, over_tls};
use tests::harness::fixture::{self, Fixture, telemetry};
use tests::harness::instance::{Home, Instance, Setup, program};

/// Runs `tidegate-load` to its end; success and everything it printed.
fn load(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program("tidegate-load")).args(arguments).output().expect("tidegate-load is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Creates a fleet of 20 and returns the arguments that name it.
fn fleet(instance: &Instance, home: &Path) -> Vec<String> {
    let rest = format!("http://{}", instance.address("http"));
    let tokens = home.join("tokens").display().to_string();
    let (made, said) = load(&["fleet", "--rest", &rest, "--count", "20", "--tokens", &tokens]);
    assert!(made, "{said}");
    let mqtt = instance.mqtt().to_string();
    let ledger = home.join("ledger").display().to_string();
    let all = ["--mqtt", &mqtt, "--rest", &rest, "--tokens", &tokens, "--ledger", &ledger, "--connections", "20"];
    all.iter().map(ToString::to_string).collect()
}

fn with<'a>(fleet: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    fleet.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn the_audit_passes_and_fails_when_records_are_removed() {
    let fixture = Fixture::start();
    let fleet = fleet(&fixture.instance, fixture.home.path());
    for protocol in ["3.1.1", "5"] {
        let more = ["--audit", "--duration", "1s", "--warmup", "0s", "--in-flight", "8", "--protocol", protocol, "--quiet"];
        let (passed, said) = load(&with(&fleet, &more));
        assert!(passed && said.contains("audit PASSED"), "{said}");
    }
    let verify = ["verify", "--rest", &fleet[3], "--ledger", &fleet[7]];
    let (passed, said) = load(&verify);
    assert!(passed && said.contains("audit PASSED"), "{said}");
    let tokens = std::fs::read_to_string(&fleet[5]).expect("the fleet was written");
    let device = tokens.split(',').next().expect("a line begins with the device");
    let path = telemetry(device, "timeseries/delete?keys=speed&deleteAllDataForKeys=true");
    assert_eq!(fixture.tenant.delete(&path).status, 200);
    let (passed, said) = load(&verify);
    assert!(!passed && said.contains("audit FAILED") && said.contains("speed is missing"), "{said}");
    fixture.instance.stop();
}

/// DESIGN 8.1 (3): every acknowledgement is true after kill -9.
#[test]
fn the_audit_passes_across_a_kill() {
    let home = Home::new();
    let setup = Setup::standalone(&home);
    let instance = setup.start();
    // The same addresses again after the restart.
    let setup = setup.with("TIDEGATE_MQTT_LISTEN", instance.mqtt()).with("TIDEGATE_HTTP_LISTEN", instance.address("http"));
    let fleet = fleet(&instance, home.path());
    let more = ["--audit", "--duration", "6s", "--warmup", "0s", "--in-flight", "4", "--reconnect", "--quiet"];
    let arguments: Vec<String> = with(&fleet, &more).into_iter().map(ToOwned::to_owned).collect();
    let running = std::thread::spawn(move || load(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    instance.metric_reaches("tidegate_receipts_settled_total", 200.0);
    instance.kill();
    let instance = setup.start();
    let (passed, said) = running.join().expect("the load runs to its end");
    assert!(passed && said.contains("audit PASSED"), "{said}");
    assert!(!said.contains("reconnects 0"), "the kill was noticed: {said}");
    let _tenant = fixture::tenant(&instance);
    instance.stop();
}

/// With sessions that are resumed when clients come back; and the commands that measure nothing but coming and going.
#[test]
fn the_audit_passes_over_tls() {
    let mut trusted = Vec::new();
    let fixture = Fixture::with(|setup| {
        let home = setup.data().parent().expect("data lie in the test's directory").to_owned();
        let [authority, other] = ["load", "other"].map(|name| Authority::new_in(&home, name));
        trusted = [&authority, &other].map(|authority| authority.pair.certificate.display().to_string()).to_vec();
        over_tls(setup.shards(2), &[&authority.server("localhost")])
    });
    let mut fleet = fleet(&fixture.instance, fixture.home.path());
    fleet[1] = fixture.instance.address("mqtts").to_string();
    let timed = ["--duration", "2s", "--warmup", "0s"];
    for protocol in ["3.1.1", "5"] {
        let more =
            ["--tls", "--cafile", &trusted[0], "--audit", "--churn", "10", "--reconnect", "--protocol", protocol, "--quiet"];
        let (passed, said) = load(&with(&fleet, &[&more[..], &timed].concat()));
        assert!(passed && said.contains("audit PASSED") && said.contains("over TLS"), "{said}");
    }
    let crowd = ["--mqtt", &fleet[1], "--tokens", &fleet[5], "--tls", "--cafile", &trusted[0]];
    let (passed, said) = load(&[&["handshakes", "--in-flight", "4"], &crowd[..], &timed].concat());
    assert!(passed && said.contains("full") && said.contains("resumed"), "{said}");
    let storm = ["storm", "--connections", "15", "--witnesses", "5", "--calm", "1s"];
    let (passed, said) = load(&[&storm, &crowd[..]].concat());
    assert!(passed && said.contains("15 admitted, 15 of them with a resumed session"), "{said}");
    let slow = ["slow", "--connections", "15", "--witnesses", "5", "--calm", "1s", "--duration", "2s"];
    let (passed, said) = load(&[&slow, &crowd[..]].concat());
    assert!(passed && ["byte: 15", "deaf: 15", "half: 15", "handshake: 15"].iter().all(|kind| said.contains(kind)), "{said}");
    let stranger = ["--tls", "--cafile", &trusted[1], "--quiet"];
    let (passed, said) = load(&with(&fleet, &stranger));
    assert!(!passed && said.contains("UnknownIssuer") && said.contains("before it was admitted"), "{said}");
    fixture.instance.stop();
}

#[test]
fn mistakes_are_named() {
    let (passed, said) = load(&["--audit"]);
    assert!(!passed && said.contains("--rest") && said.contains("--tokens"), "{said}");
    let (passed, said) = load(&["--tls"]);
    assert!(!passed && said.contains("--cafile"), "{said}");
    let (passed, said) = load(&["--mqtt", "127.0.0.1:1", "--connections", "1"]);
    assert!(!passed && said.contains("127.0.0.1:1"), "{said}");
}
