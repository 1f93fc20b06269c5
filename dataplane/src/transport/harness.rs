//! What must hold for one TLS stream, whatever the network does to it; the property test and the fuzz target both call this.
//! Panics when it does not hold, so the server never calls it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, ServerConfig, pki_types::ServerName};

use super::stream::{Received, Sent, Stream};
use crate::limits;

/// Reads `script` as a list of deeds of a client, a shard and the network between them, and checks after each that what was
/// received is what was sent, in order, and that the stream keeps no more than it may. If the network changed nothing, all of
/// it arrives in the end.
///
/// `client` must trust a certificate of `server` for `localhost`.
///
/// # Panics
/// When one of these does not hold.
pub fn any(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, script: &[u8]) {
    let mut run = Run::new(server, client);
    let mut script = script.iter().copied();
    while let Some(deed) = script.next() {
        let argument = usize::from(script.next().unwrap_or_default());
        match deed % 16 {
            0 => run.client_writes(argument),
            1 => run.client_writes(argument * 97),
            2 => run.carry(argument + 1),
            3 | 4 => run.carry(usize::MAX),
            5 => run.receive(argument + 1),
            6 | 7 => run.receive(limits::READ_BUFFER_BYTES),
            8 => run.send(argument),
            9 => run.send(argument * 499),
            10 => run.flush(),
            11 => run.client_reads(argument * 16 + 1),
            12 => run.client_reads(usize::MAX),
            13 => run.hand_over(),
            14 => run.damage(argument, &mut script),
            _ => run.client_renews_keys(),
        }
        run.check();
    }
    run.settle();
}

struct Run {
    stream: Stream,
    client: ClientConnection,
    far: UnixStream,
    /// What the client wrote and the network has not carried yet.
    under_way: Vec<u8>,
    client_wrote: Bytes,
    shard_sent: Bytes,
    /// The network changed something: what arrives is the beginning of what was sent, at most.
    damaged: bool,
    broken: bool,
}

/// A stream of bytes that tells where in it one is.
#[derive(Default)]
struct Bytes {
    written: usize,
    read: usize,
}

impl Bytes {
    fn at(index: usize) -> u8 {
        u8::try_from(index % 251).unwrap_or_default()
    }

    fn next(&self, count: usize) -> Vec<u8> {
        (self.written..self.written + count).map(Self::at).collect()
    }

    fn arrived(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(*byte, Self::at(self.read), "byte {} is not the one that was sent", self.read);
            self.read += 1;
        }
        assert!(self.read <= self.written, "received more than was sent");
    }
}

/// The longest chain and ticket of a test come to less.
const KEPT_BYTES_MAX: usize = limits::TLS_PARTIAL_BYTES_MAX + 3 * (limits::TLS_RECORD_BYTES + 4_096);

impl Run {
    fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        let (near, far) = UnixStream::pair().expect("a pair of sockets");
        near.set_nonblocking(true).expect("a socket option");
        far.set_nonblocking(true).expect("a socket option");
        // Small, so that it is full now and then.
        rustix::net::sockopt::set_socket_send_buffer_size(&near, 4_096).expect("a socket option");
        let stream = Stream::tls(TcpStream::from(OwnedFd::from(near)), server).expect("a usable configuration");
        let name = ServerName::try_from("localhost").expect("a literal");
        let client = ClientConnection::new(Arc::clone(client), name).expect("a usable configuration");
        let (client_wrote, shard_sent) = (Bytes::default(), Bytes::default());
        Self { stream, client, far, under_way: Vec::new(), client_wrote, shard_sent, damaged: false, broken: false }
    }

    fn client_writes(&mut self, count: usize) {
        let bytes = self.client_wrote.next(count);
        self.client_wrote.written += self.client.writer().write(&bytes).unwrap_or(0);
    }

    /// The network carries up to so many bytes of the client's.
    fn carry(&mut self, count: usize) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.under_way).expect("a vector takes everything");
        }
        let some = &self.under_way[..count.min(self.under_way.len())];
        let carried = (&self.far).write(some).unwrap_or(0);
        self.under_way.drain(..carried);
    }

    fn receive(&mut self, room: usize) {
        let mut into = vec![0; room];
        match self.stream.receive(&mut into) {
            Received::Bytes { count, more } => {
                assert!(count > 0 || more, "nothing was received and nothing is there");
                self.client_wrote.arrived(&into[..count]);
            }
            Received::Nothing => assert!(!self.stream.has_unread(), "something is there and was not received"),
            Received::End => assert!(self.damaged || self.broken, "nobody ended it"),
            Received::Broken(fault) => {
                assert!(self.damaged, "nobody broke it: {fault:?}");
                self.broken = true;
            }
        }
    }

    fn send(&mut self, count: usize) {
        let bytes = self.shard_sent.next(count);
        match self.stream.send(&bytes) {
            Sent::Bytes(sent) => self.shard_sent.written += sent,
            Sent::Full => assert!(self.stream.wants_write() || self.stream.is_handshaking(), "it is not full"),
            Sent::Broken => assert!(self.damaged, "nobody broke it"),
        }
    }

    fn flush(&mut self) {
        match self.stream.flush() {
            Sent::Bytes(count) => assert!(count == 0 && !self.stream.wants_write()),
            Sent::Full => assert!(self.stream.wants_write()),
            Sent::Broken => assert!(self.damaged, "nobody broke it"),
        }
    }

    fn client_reads(&mut self, count: usize) {
        let mut bytes = Vec::new();
        let mut left = count;
        while left > 0 && self.client.wants_read() {
            match self.client.read_tls(&mut (&self.far).take(left as u64)) {
                Ok(0) | Err(_) => break,
                Ok(read) => left -= read,
            }
            if let Err(error) = self.client.process_new_packets() {
                assert!(self.damaged, "the client does not understand: {error}");
                return;
            }
            let _end = read_all(&mut self.client.reader(), &mut bytes);
        }
        self.shard_sent.arrived(&bytes);
    }

    /// To another shard: flushed, or not at all.
    fn hand_over(&mut self) {
        let (spare, _) = UnixStream::pair().expect("a pair of sockets");
        let stream = std::mem::replace(&mut self.stream, Stream::plain(TcpStream::from(OwnedFd::from(spare))));
        self.stream = match stream.release() {
            Ok(released) => {
                let stream = Stream::adopt(released);
                assert!(!stream.wants_write(), "handed over with something left to send");
                stream
            }
            Err(stream) => {
                assert!(stream.wants_write(), "kept back for nothing");
                stream
            }
        };
    }

    /// A bit is changed on its way, or bytes come from somewhere else.
    fn damage(&mut self, argument: usize, script: &mut impl Iterator<Item = u8>) {
        self.damaged = true;
        let length = self.under_way.len();
        match self.under_way.get_mut(argument * 16 % length.max(1)) {
            Some(byte) if argument.is_multiple_of(2) => *byte ^= 1 << (argument / 2 % 8),
            _ => self.under_way.extend(script.take(argument / 2)),
        }
    }

    fn client_renews_keys(&mut self) {
        // Refused during the handshake and in TLS 1.2.
        drop(self.client.refresh_traffic_keys());
    }

    fn check(&self) {
        let kept = self.stream.kept_bytes();
        assert!(kept <= KEPT_BYTES_MAX, "{kept} bytes are kept");
    }

    /// Goes on until nothing moves any more; then everything has arrived, and nothing is kept.
    fn settle(&mut self) {
        loop {
            let before = (self.client_wrote.read, self.shard_sent.read, self.under_way.len(), self.stream.is_handshaking());
            for _ in 0..8 {
                self.carry(usize::MAX);
                self.receive(limits::READ_BUFFER_BYTES);
                self.flush();
                self.client_reads(usize::MAX);
            }
            let after = (self.client_wrote.read, self.shard_sent.read, self.under_way.len(), self.stream.is_handshaking());
            if before == after {
                break;
            }
        }
        if !self.damaged {
            assert!(!self.stream.is_handshaking() && !self.client.is_handshaking(), "the handshake never ends");
            assert_eq!(self.client_wrote.read, self.client_wrote.written, "what the client wrote did not arrive");
            assert_eq!(self.shard_sent.read, self.shard_sent.written, "what the shard sent did not arrive");
            assert_eq!(self.stream.kept_bytes(), 0, "an idle stream keeps something");
        }
        self.stream.finish();
    }
}

fn read_all(from: &mut impl Read, into: &mut Vec<u8>) -> io::Result<usize> {
    from.read_to_end(into)
}
