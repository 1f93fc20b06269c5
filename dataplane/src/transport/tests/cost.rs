//! What TLS costs: memory of an idle connection, processor time of a small message.

use std::io::{Read, Write};
use std::process::Command;

use rustls::version::{TLS12, TLS13};

use super::fixture::{Authority, Talk, client_config, pair, server_config};
use crate::transport::{Received, Sent, Stream};

/// What rustls holds of an idle connection; with socket and session it is to be 12 KiB at most (issue 4).
const IDLE_BYTES_MAX: u64 = 6 << 10;
/// Few enough for 1,024 descriptors, four kinds together.
const IDLE_CONNECTIONS: usize = 100;

/// The measurements run in a process of their own: other tests allocate as well.
fn measured(test: &str, unit: &str) -> Vec<u64> {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let run =
        Command::new(std::env::current_exe().unwrap()).args(["--exact", &name, "--ignored", "--nocapture"]).output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    let numbers = said.lines().filter_map(|line| line.strip_suffix(unit)?.rsplit_once(' ')?.1.parse().ok());
    let numbers: Vec<u64> = numbers.collect();
    assert!(run.status.success() && !numbers.is_empty(), "{said}");
    numbers
}

#[test]
fn an_idle_connection_is_small() {
    for bytes in measured("memory_of_idle_connections", "B") {
        assert!(bytes <= IDLE_BYTES_MAX, "{bytes} bytes per idle connection");
    }
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[test]
#[ignore = "measures; run by `an_idle_connection_is_small`"]
fn memory_of_idle_connections() {
    let authority = Authority::new("root");
    let server = server_config(&authority);
    // Kept until the end: what one kind gives back, the next would take unseen.
    let mut kept = Vec::new();
    for version in [&TLS12, &TLS13] {
        for shown in [None, Some(authority.issue(|_| {}))] {
            let client = client_config(&authority, version, shown.as_ref());
            let connect = || {
                let mut talk = Talk::new(&server, &client);
                talk.client_says(&[b'x'; 200]);
                talk.run();
                assert_eq!(talk.stream.send(&[b'y'; 200]), Sent::Bytes(200));
                talk.run();
                (talk.stream, talk.far)
            };
            // The client's memory is there for the next client.
            kept.extend((0..4).map(|_| connect()));
            let before = resident();
            kept.extend((0..IDLE_CONNECTIONS).map(|_| connect()));
            let bytes = (resident() - before) / IDLE_CONNECTIONS as u64;
            println!("{version:?} certificate {}: {bytes}B", shown.is_some());
        }
    }
}

const MESSAGES: u64 = 50_000;

/// Processor time of this thread, in nanoseconds.
fn spent() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Processor time per message that a stream receives and answers, 128 bytes and 4 bytes.
fn per_message(mut stream: Stream, mut client_echoes: impl FnMut(&mut Stream)) -> u64 {
    let (mut into, mut total) = (vec![0; 131_072], 0);
    for _ in 0..MESSAGES {
        client_echoes(&mut stream);
        let start = spent();
        assert_eq!(stream.receive(&mut into), Received::Bytes { count: 128, more: false });
        assert_eq!(stream.send(b"okay"), Sent::Bytes(4));
        total += spent() - start;
    }
    total / MESSAGES
}

#[test]
#[ignore = "measures: cargo test --release -p dataplane --no-default-features --lib cost -- --ignored --nocapture"]
fn processor_time_per_message() {
    let overhead = {
        let start = spent();
        (0..10_000).for_each(|_| assert!(spent() >= start));
        (spent() - start) / 10_000
    };
    let (near, far) = pair();
    let plain = per_message(Stream::plain(near), |_| {
        (&far).write_all(&[b'x'; 128]).unwrap();
        let _earlier = (&far).read(&mut [0; 64]);
    });
    println!("plain: {}ns", plain - overhead);
    let authority = Authority::new("root");
    let server = server_config(&authority);
    for version in [&TLS12, &TLS13] {
        let mut talk = Talk::new(&server, &client_config(&authority, version, None));
        talk.run();
        let Talk { stream, mut client, far } = talk;
        let tls = per_message(stream, |_| {
            client.writer().write_all(&[b'x'; 128]).unwrap();
            client.write_tls(&mut &far).unwrap();
            if client.read_tls(&mut &far).is_ok() {
                client.process_new_packets().unwrap();
                let _answer = client.reader().read(&mut [0; 64]);
            }
        });
        println!("{version:?}: {}ns", tls - overhead);
    }
}

#[test]
#[ignore = "measures: see above"]
fn processor_time_per_handshake() {
    let authority = Authority::new("root");
    let server = server_config(&authority);
    for version in [&TLS12, &TLS13] {
        for (kind, resumes) in [("full", false), ("resumed", true)] {
            let mut total = 0;
            let mut client = client_config(&authority, version, None);
            Talk::new(&server, &client).run();
            for _ in 0..500 {
                if !resumes {
                    client = client_config(&authority, version, None);
                }
                let mut talk = Talk::new(&server, &client);
                while talk.stream.is_handshaking() {
                    talk.client_sends();
                    let start = spent();
                    let _received = talk.stream.receive(&mut [0; 4_096]);
                    total += spent() - start;
                    talk.client_hears(&mut super::fixture::Heard::default());
                }
                assert_eq!(talk.stream.is_resumed(), resumes);
                talk.run();
            }
            println!("{version:?} {kind}: {}ns", total / 500);
        }
    }
}
