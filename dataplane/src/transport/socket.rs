//! One TCP stream, moved by non-blocking reads and writes whenever its shard's ready set says so.
//!
//! An idle connection therefore owns no buffer, and nothing is ever in flight that would have to be cancelled: the rules
//! of DESIGN 3.2 hold by construction. Never waits, knows nothing of TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
};

use super::stream::{Received, Sent};

/// A connected TCP stream.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Takes a non-blocking stream over; small answers leave at once (TCP_NODELAY).
    pub(super) fn new(stream: TcpStream) -> Self {
        // A socket that refuses the option still works; it is only slower.
        drop(stream.set_nodelay(true));
        Self { stream }
    }

    /// Reads what is there, never waits.
    pub(super) fn receive(&self, into: &mut [u8]) -> Received {
        loop {
            match (&self.stream).read(into) {
                Ok(0) => return Received::End,
                // A short read took everything, so the next byte is a new edge (epoll(7)).
                Ok(count) => return Received::Bytes { count, more: count == into.len() },
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Received::Nothing,
                    io::ErrorKind::Interrupted => {}
                    _ => return Received::End,
                },
            }
        }
    }

    /// Writes what fits, never waits, never raises SIGPIPE.
    pub(super) fn send(&self, bytes: &[u8]) -> Sent {
        loop {
            match (&self.stream).write(bytes) {
                Ok(count) => return Sent::Bytes(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Sent::Full,
                    io::ErrorKind::Interrupted => {}
                    _ => return Sent::Broken,
                },
            }
        }
    }

    /// Says that nothing more will be written; what was written still arrives.
    pub(super) fn finish(&self) {
        // The peer may have ended it already; there is nothing left to do then.
        drop(self.stream.shutdown(Shutdown::Write));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
