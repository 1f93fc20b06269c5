//! The same work on four ways to wait for sockets: tokio (current thread), monoio (io_uring), glommio, and a shard's own ready set
//! under monoio. 64 connections; every 100 bytes that arrive are answered with 4, as PUBLISH and PUBACK. Criterion shows wall
//! time, in which the client has its part; the CPU of the server's thread a message is printed below each row.
//! Measures; asserts nothing but that every answer comes.
#![expect(clippy::print_stderr, clippy::disallowed_methods, reason = "a bench reads the clock and says what it saw")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::transport::{ReadySet, Received, Stream};
use futures_io::{AsyncRead, AsyncWrite};

const CONNECTIONS: usize = 64;
const MESSAGE_BYTES: usize = 100;
const ANSWER: [u8; 4] = [0x40, 2, 0, 1];
const BUFFER_BYTES: usize = 16_384;

/// A server, until its clients are gone.
type Run = fn(&Begun);
/// What a server says when it listens: where, and the thread whose CPU counts.
type Begun = mpsc::Sender<(SocketAddr, u32)>;

fn begun(said: &Begun, address: SocketAddr) {
    let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    said.send((address, thread)).expect("the bench waits");
}

/// The answers that are due when `count` more bytes have arrived.
fn answers(arrived: &mut usize, count: usize) -> Vec<u8> {
    *arrived += count;
    let due = *arrived / MESSAGE_BYTES;
    *arrived %= MESSAGE_BYTES;
    ANSWER.repeat(due)
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback")
}

fn tokio_server(said: &Begun) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        begun(said, listener.local_addr().expect("it is bound"));
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (stream, _) = listener.accept().await.expect("a client");
            tasks.push(tokio::spawn(async move {
                stream.set_nodelay(true).expect("a socket");
                let (mut buffer, mut arrived) = (vec![0; BUFFER_BYTES], 0);
                while stream.readable().await.is_ok() {
                    match stream.try_read(&mut buffer) {
                        Ok(0) => return,
                        Ok(count) => {
                            let output = answers(&mut arrived, count);
                            assert!(output.is_empty() || stream.try_write(&output).is_ok_and(|sent| sent == output.len()));
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

fn monoio_server(said: &Begun) {
    use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build().expect("io_uring");
    runtime.block_on(async {
        let listener = listen();
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket");
        let listener = monoio::net::TcpListener::from_std(listener).expect("a socket");
        begun(said, address);
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.expect("a client");
            tasks.push(monoio::spawn(async move {
                stream.set_nodelay(true).expect("a socket");
                let (mut buffer, mut arrived) = (vec![0; BUFFER_BYTES], 0);
                loop {
                    let (read, returned) = stream.read(buffer).await;
                    buffer = returned;
                    let Ok(count @ 1..) = read else { return };
                    let output = answers(&mut arrived, count);
                    if !output.is_empty() && stream.write_all(output).await.0.is_err() {
                        return;
                    }
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

fn glommio_server(said: &Begun) {
    let executor = glommio::LocalExecutorBuilder::default().make().expect("io_uring and enough locked memory (ulimit -l)");
    executor.run(async {
        let listener = glommio::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        begun(said, listener.local_addr().expect("it is bound"));
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = listener.accept().await.expect("a client");
            tasks.push(glommio::spawn_local(async move {
                stream.set_nodelay(true).expect("a socket");
                let (mut buffer, mut arrived) = (vec![0; BUFFER_BYTES], 0);
                loop {
                    let read = std::future::poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buffer)).await;
                    let Ok(count @ 1..) = read else { return };
                    let output = answers(&mut arrived, count);
                    let mut sent = 0;
                    while sent < output.len() {
                        let wrote =
                            std::future::poll_fn(|context| Pin::new(&mut stream).poll_write(context, &output[sent..])).await;
                        let Ok(count) = wrote else { return };
                        sent += count;
                    }
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

/// As `shard/run.rs` waits: one edge-triggered set, served while it has anything, slept on by the runtime.
fn ready_set_server(said: &Begun) {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build().expect("io_uring");
    runtime.block_on(async {
        let listener = listen();
        begun(said, listener.local_addr().expect("it is bound"));
        let mut set = ReadySet::new().expect("epoll");
        let mut connections = Vec::new();
        for token in 0..CONNECTIONS {
            let socket = Stream::plain(listener.accept().expect("a client").0);
            set.add(&socket, token as u64).expect("it can be watched");
            connections.push(Some((socket, 0)));
        }
        let asleep = set.watched().and_then(monoio::net::UnixStream::from_std).expect("epoll can be watched");
        let mut buffer = vec![0; BUFFER_BYTES];
        while connections.iter().any(Option::is_some) {
            let count = set.look();
            for index in 0..count {
                let Some(happened) = set.happened(index) else { continue };
                let slot = &mut connections[usize::try_from(happened.token).expect("a token is an index")];
                serve(slot, &mut buffer);
            }
            if count == 0 {
                asleep.readable(false).await.expect("epoll can be watched");
            }
        }
    });
}

fn serve(slot: &mut Option<(Stream, usize)>, buffer: &mut [u8]) {
    while let Some((socket, arrived)) = slot {
        match socket.receive(buffer) {
            Received::Bytes { count, more } => {
                let output = answers(arrived, count);
                if !output.is_empty() {
                    let _all = socket.send(&output);
                }
                if !more {
                    return;
                }
            }
            Received::Nothing => return,
            Received::End | Received::Broken(_) => *slot = None,
        }
    }
}

/// Nanoseconds of CPU that a thread of this process has used.
fn cpu_ns(thread: u32) -> u64 {
    let said = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    said.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Sends `depth` messages on every connection and waits for all answers, `rounds` times.
fn drive(clients: &mut [TcpStream], depth: usize, rounds: u64) {
    let messages = vec![b'm'; MESSAGE_BYTES * depth];
    let mut answered = vec![0; ANSWER.len() * depth];
    for _ in 0..rounds {
        for client in clients.iter_mut() {
            client.write_all(&messages).expect("the server reads");
        }
        for client in clients.iter_mut() {
            client.read_exact(&mut answered).expect("the server answers");
        }
    }
}

fn runtime(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("runtime");
    let servers: [(&str, Run); 4] =
        [("tokio", tokio_server), ("monoio", monoio_server), ("glommio", glommio_server), ("ready set", ready_set_server)];
    for (name, server) in servers {
        let (said, heard) = mpsc::channel();
        let thread = std::thread::spawn(move || server(&said));
        let Ok((address, id)) = heard.recv() else {
            eprintln!("{name} cannot run here; skipped");
            continue;
        };
        let connect = |_| {
            let client = TcpStream::connect(address).expect("the server listens");
            client.set_nodelay(true).expect("a socket");
            client
        };
        let mut clients: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
        for depth in [1, 16] {
            group.throughput(Throughput::Elements((CONNECTIONS * depth) as u64));
            let (mut rounds, before) = (0, cpu_ns(id));
            group.bench_function(format!("{name} x{depth}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let began = Instant::now();
                    drive(&mut clients, depth, iterations);
                    rounds += iterations;
                    began.elapsed()
                });
            });
            let messages = (rounds.max(1) * (CONNECTIONS * depth) as u64) as f64;
            eprintln!(
                "runtime/{name} x{depth}: {:.2} us CPU of the server's thread a message",
                (cpu_ns(id) - before) as f64 / 1e3 / messages
            );
        }
        drop(clients);
        thread.join().expect("the server ends with its clients");
    }
    group.finish();
}

criterion_group!(benches, runtime);
criterion_main!(benches);
