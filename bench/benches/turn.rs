//! Whole turns, all seven verbs, of a running `tidegate` with a store on disk: 500 devices send QoS 1 publishes, every PUBACK is
//! waited for. Criterion shows wall time, which is mostly the disk's; the CPU of the whole process a message is printed below.
//! Needs `tidegate` and `tidegate-load` built. Measures; asserts nothing but that every acknowledgement comes.
#![expect(clippy::print_stderr, clippy::disallowed_methods, reason = "a bench reads the clock and says what it saw")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use bench::server::Server;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::codec::mqtt::{Outgoing, Version, encode_publish};

/// A connection per token, past CONNACK.
fn connect(server: &Server) -> Vec<TcpStream> {
    let tokens = server.device_tokens().expect("a fleet was made");
    tokens.iter().map(|token| admitted(server.mqtt(), token)).collect()
}

fn admitted(address: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let length = |bytes: usize| u8::try_from(bytes).expect("short");
    // Clean session with a user name, no client id, no keep-alive.
    let mut connect =
        vec![0x10, length(14 + token.len()), 0, 4, b'M', b'Q', b'T', b'T', 4, 0x82, 0, 0, 0, 0, 0, length(token.len())];
    connect.extend_from_slice(token.as_bytes());
    stream.write_all(&connect).expect("the server reads");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("a CONNACK");
    assert_eq!(connack, [0x20, 2, 0, 0], "{token} is let in");
    stream
}

fn turn(criterion: &mut Criterion) {
    let server = Server::start().expect("tidegate and tidegate-load are built");
    let mut clients = connect(&server);
    let mut group = criterion.benchmark_group("turn");
    for depth in [1_u16, 16] {
        let mut messages = Vec::new();
        for id in 1..=depth {
            let (topic, payload) = ("v1/devices/me/telemetry", &bench::load::sample("tracker"));
            let outgoing = Outgoing { topic, packet_id: Some(id), payload, ..Outgoing::default() };
            encode_publish(Version::V311, &outgoing, &mut messages);
        }
        let mut acknowledged = vec![0; 4 * usize::from(depth)];
        let of_round = clients.len() as u64 * u64::from(depth);
        group.throughput(Throughput::Elements(of_round));
        let (mut rounds, before) = (0, server.cpu_s().expect("it runs"));
        group.bench_function(format!("500 devices x{depth}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let began = Instant::now();
                for _ in 0..iterations {
                    clients.iter_mut().for_each(|client| client.write_all(&messages).expect("the server reads"));
                    clients.iter_mut().for_each(|client| client.read_exact(&mut acknowledged).expect("acknowledgements"));
                }
                rounds += iterations;
                began.elapsed()
            });
        });
        let used = server.cpu_s().expect("it runs") - before;
        eprintln!(
            "turn/500 devices x{depth}: {:.2} us CPU of the process a message",
            used * 1e6 / (rounds.max(1) * of_round) as f64
        );
    }
    group.finish();
}

criterion_group!(benches, turn);
criterion_main!(benches);
