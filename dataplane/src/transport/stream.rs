//! One connection as its shard sees it: plain bytes in and out, whether TLS lies under them or not. A plain value that moves
//! between shards (DESIGN 3.2, 11). Never waits, knows no protocol above TLS.

use std::{
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustls::{ServerConfig, pki_types::CertificateDer};

use super::socket::Socket;
use super::tls::{Fault, Tls};

/// A connection, plain or over TLS.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Socket),
    Tls(Box<Tls>),
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// `count` bytes. With `more` there may be further ones that no edge will tell of: read again before waiting. `count` is 0
    /// only with `more`, while TLS talks to itself.
    Bytes {
        count: usize,
        more: bool,
    },
    /// Nothing more until the next edge.
    Nothing,
    End,
    /// The peer broke TLS, or was refused by it; it was told so by an alert where that is possible.
    Broken(Fault),
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes are taken over; under TLS the last of them may still wait in the stream ([`Stream::wants_write`]).
    Bytes(usize),
    Full,
    Broken,
}

/// A stream between two shards. Made by [`Stream::release`] only, so nothing encrypted is left unsent in it.
#[derive(Debug)]
pub struct Released(Stream);

impl Stream {
    /// Takes a non-blocking stream over; what is read and written are its bytes.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self(Kind::Plain(Socket::new(stream)))
    }

    /// Takes a non-blocking stream over and waits for a TLS client on it.
    ///
    /// # Errors
    /// The configuration cannot be used at all; one made by [`super::Certificates`] can.
    pub fn tls(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self(Kind::Tls(Box::new(Tls::new(Socket::new(stream), Arc::clone(config))?))))
    }

    /// Reads what is there, until `into` is full or the socket is empty; never waits. A handshake goes on in here.
    pub fn receive(&mut self, into: &mut [u8]) -> Received {
        match &mut self.0 {
            Kind::Plain(socket) => socket.receive(into),
            Kind::Tls(tls) => tls.receive(into),
        }
    }

    /// Writes what fits, never waits. Under TLS this first sends what still waits ([`Self::flush`]), takes nothing before that is
    /// gone, and nothing before the handshake is over.
    pub fn send(&mut self, bytes: &[u8]) -> Sent {
        match &mut self.0 {
            Kind::Plain(socket) => socket.send(bytes),
            Kind::Tls(tls) => tls.send(bytes),
        }
    }

    /// Sends what TLS has encrypted and the socket did not take: to be called when the socket takes bytes again.
    pub fn flush(&mut self) -> Sent {
        match &mut self.0 {
            Kind::Plain(_) => Sent::Bytes(0),
            Kind::Tls(tls) => tls.flush(),
        }
    }

    /// Whether TLS has encrypted something that the socket did not take yet.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(tls) => tls.wants_write(),
        }
    }

    /// Whether [`Self::receive`] would find something without the socket saying so: after a hand-over nobody else knows.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(tls) => tls.has_unread(),
        }
    }

    /// Bytes kept in the stream itself: a partial record, plaintext that found no room, ciphertext that the socket did not take.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        match &self.0 {
            Kind::Plain(_) => 0,
            Kind::Tls(tls) => tls.kept_bytes(),
        }
    }

    /// Says that nothing more will be written (close_notify, then the end of the stream); what was written still arrives.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Kind::Plain(socket) => socket.finish(),
            Kind::Tls(tls) => tls.finish(),
        }
    }

    /// Gives the stream up for another shard (DESIGN 11): TLS state, plaintext that was not read yet and partial records move
    /// along.
    ///
    /// # Errors
    /// The stream itself while the socket does not take what TLS has to say: it is handed over flushed or not at all.
    pub fn release(mut self) -> Result<Released, Self> {
        let _sent = self.flush();
        if self.wants_write() { Err(self) } else { Ok(Released(self)) }
    }

    /// Takes over a stream that was handed over by another shard, as it is. See [`Self::has_unread`].
    #[must_use]
    pub fn adopt(released: Released) -> Self {
        released.0
    }

    /// Whether the peer speaks TLS and its handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(tls) => tls.is_handshaking(),
        }
    }

    /// Whether the handshake was shortened by an earlier session's ticket.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(tls) => tls.is_resumed(),
        }
    }

    /// What the client showed, leaf first, once the handshake is over; empty without a client certificate. The client has the
    /// leaf's key; that the others issued it is not said here: see [`super::proven_chain`].
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        match &self.0 {
            Kind::Plain(_) => &[],
            Kind::Tls(tls) => tls.peer_certificates(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Plain(socket) => socket.as_fd(),
            Kind::Tls(tls) => tls.as_fd(),
        }
    }
}
