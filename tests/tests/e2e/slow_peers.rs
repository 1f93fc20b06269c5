//! Peers that send a byte at a time, that never read, that begin and say no more: cut or left alone, never at another's cost.
//! The pauses between bytes are the tests' subject; nothing is synchronised by them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::harness::certificates::{Authority, over_tls};
use tests::harness::fixture::{Fixture, device, share};
use tests::harness::mqtt::{Connect, V311, Wire, subscribe_with};
use tests::harness::raw_http::{RawHttp, request};
use tests::harness::{PATIENCE, eventually};

use crate::badinput::Witness;

/// Between two bytes of a slow sender.
const PAUSE: Duration = Duration::from_millis(300);
const CLIENT_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
const HANDSHAKE: &str = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A fixture that speaks everything.
fn secure() -> Fixture {
    Fixture::with(|setup| {
        // The directory of the authority is the fixture's own, which does not exist yet: it is made beside the data.
        let home = setup.data().parent().expect("data lie in the test's directory").to_owned();
        let authority = Authority::new_in(&home, "slow");
        over_tls(setup.shards(2), &[&authority.server("localhost")])
    })
}

/// Sends a byte at a time until the server ends it; how many bytes it took.
///
/// # Panics
/// When it never does.
fn dribble(address: SocketAddr, first: &[u8], then: &[u8]) -> usize {
    let mut stream = TcpStream::connect(address).expect("the listener is there");
    stream.set_read_timeout(Some(PAUSE)).expect("a timeout above zero can be set");
    stream.write_all(first).expect("the connection is open");
    let begun = Instant::now();
    let mut sent = 0;
    for byte in then.iter().cycle() {
        assert!(begun.elapsed() < PATIENCE, "a sender of one byte at a time is served for ever: {sent} bytes");
        if stream.write_all(&[*byte]).is_err() {
            return sent;
        }
        sent += 1;
        // Waiting for what the server says is the pause.
        match stream.read(&mut [0; 4_096]) {
            Ok(0) => return sent,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return sent,
        }
    }
    sent
}

#[test]
fn slow_senders_are_not_waited_for() {
    let fixture = secure();
    let (mut witness, _) = Witness::new(&fixture);
    let _slow = device(&fixture.tenant, "slow");
    let connect = Connect::new("slow").client_id(&"c".repeat(250)).bytes();
    let head = format!("POST /api/v1/slow/telemetry HTTP/1.1\r\nHost: x\r\nX-Padding: {}", "x".repeat(4_000));
    let address = |part: &str| fixture.instance.address(part);
    let cases: [(SocketAddr, &[u8], &[u8]); 5] = [
        (address("mqtt"), b"", &connect),
        (address("device_http"), b"", head.as_bytes()),
        (address("device_http"), HANDSHAKE.as_bytes(), &[0x82, 0xfe, 0x01]),
        (address("mqtts"), b"", CLIENT_HELLO),
        (address("device_https"), b"", CLIENT_HELLO),
    ];
    std::thread::scope(|scope| {
        let senders: Vec<_> =
            cases.iter().map(|(address, first, then)| scope.spawn(move || dribble(*address, first, then))).collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            witness.is_served("slow senders");
            std::thread::sleep(Duration::from_millis(20));
        }
        let counts: Vec<usize> = senders.into_iter().map(|sender| sender.join().expect("the server ends it")).collect();
        println!("bytes that were taken from slow senders: {counts:?}");
    });
    fixture.instance.stop();
}

#[test]
fn half_open_connections_end() {
    const EACH: usize = 50;
    let fixture = secure();
    let (mut witness, _) = Witness::new(&fixture);
    let mut open = Vec::new();
    for part in ["mqtt", "device_http", "mqtts", "device_https"] {
        let beginnings: &[&[u8]] = match part {
            "mqtt" => &[b"", b"\x10", b"\x10\x20\x00\x04MQ"],
            "device_http" => &[b"", b"P", b"POST /api/v1/x/telemetry HTTP/1.1\r\nHo"],
            _ => &[b"", b"\x16", CLIENT_HELLO],
        };
        for beginning in beginnings {
            for _ in 0..EACH {
                let mut stream = TcpStream::connect(fixture.instance.address(part)).expect("the listener is there");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero can be set");
                stream.write_all(beginning).expect("the connection is open");
                open.push((part, *beginning, stream));
            }
        }
        witness.is_served(part);
    }
    for (part, beginning, mut stream) in open {
        let shown = String::from_utf8_lossy(beginning).into_owned();
        loop {
            match stream.read(&mut [0; 1_024]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{part} is left open after {shown:?}");
                    break;
                }
            }
        }
    }
    witness.is_served("their end");
    eventually("only the witness is left", || (fixture.instance.metric("tidegate_connections_open") < 1.5).then_some(()));
    fixture.instance.stop();
}

/// With QoS 0 nothing holds the server back but the peer's window: it gives up, on the messages or on the peer.
#[test]
fn a_receiver_that_never_reads_is_given_up() {
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let deaf = device(&fixture.tenant, "deaf");
    let mut wire = Wire::session(fixture.instance.mqtt(), &deaf.token);
    wire.write(&subscribe_with(V311, "v1/devices/me/attributes", 1, 0)).expect("the connection is open");
    assert_eq!(wire.read().map(|packet| packet.code(2)), Ok(0), "granted");
    let mut number = 0;
    eventually("it is closed, or told no more", || {
        number += 1;
        share(&fixture.tenant, &deaf.id, &json!({ "much": format!("{number} {}", "x".repeat(40_000)) }));
        witness.is_served("an update that nobody reads");
        let closed = fixture.instance.metric("tidegate_connections_open") < 1.5;
        (closed || fixture.instance.metric("tidegate_downlinks_dropped_total") > 0.5).then_some(())
    });
    println!("a receiver that never reads was given up after {number} updates of 40 KB");
    drop(wire);
    witness.is_served("its end");
    fixture.instance.stop();
}

/// Who asks and never reads is not read either (DESIGN 8.3, 9), or closed.
#[test]
fn a_client_that_asks_and_never_reads_is_not_heard() {
    const REQUESTS_MAX: usize = 50_000;
    let fixture = Fixture::start();
    let (mut witness, _) = Witness::new(&fixture);
    let deaf = device(&fixture.tenant, "deafweb");
    share(&fixture.tenant, &deaf.id, &json!({ "much": "x".repeat(40_000) }));
    let mut wire = RawHttp::open(fixture.instance.device_http());
    wire.write_patience(Duration::from_secs(2));
    let padding = format!("X-Padding: {}\r\n", "x".repeat(3_000));
    let ask = request("GET", "/api/v1/deafweb/attributes?sharedKeys=much", &padding, "");
    let taken = (0..REQUESTS_MAX).take_while(|_| wire.write(&ask).is_ok()).count();
    println!("{taken} requests of a client that never reads were taken");
    if taken == REQUESTS_MAX {
        // Bytes are also taken after the connection was given up, so that the peer can read why.
        let answered = wire.read_to_close().len();
        assert!(answered < taken, "{answered} of {taken} requests were answered: it is neither paused nor given up");
    }
    for _ in 0..10 {
        witness.is_served("a client that never reads");
    }
    drop(wire);
    witness.is_served("its end");
    fixture.instance.stop();
}
