//! One TCP stream: the runtime says when it is ready, the bytes move by our own non-blocking calls.
//!
//! An idle connection therefore owns no buffer, and nothing is ever in flight that would have to be cancelled: the
//! rules of DESIGN 3.2 for monoio. The only file that may use `unsafe`.
#![expect(unsafe_code, reason = "recv, send and shutdown on a descriptor that this value owns")]

use std::{
    io,
    net::TcpStream,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd},
};

/// A connected stream, watched by the runtime of the thread that made it.
#[derive(Debug)]
pub struct Socket {
    stream: monoio::net::TcpStream,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    Nothing,
    End,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Bytes(usize),
    Full,
    Broken,
}

impl Socket {
    /// Takes a stream over; small answers leave at once (TCP_NODELAY).
    #[must_use]
    pub fn new(stream: monoio::net::TcpStream) -> Self {
        // A socket that refuses the option still works; it is only slower.
        drop(stream.set_nodelay(true));
        Self { stream }
    }

    /// Takes over a stream that was handed over by another shard.
    ///
    /// # Errors
    /// The runtime's error when it cannot watch the descriptor.
    pub fn adopt(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        monoio::net::TcpStream::from_std(stream).map(Self::new)
    }

    /// Waits until there is something to read or the peer is gone.
    ///
    /// # Errors
    /// The runtime's error; the connection is of no further use then.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }

    /// Waits until bytes can be written.
    ///
    /// # Errors
    /// The runtime's error; the connection is of no further use then.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable(false).await
    }

    /// Reads what is there, never waits.
    pub fn receive(&self, into: &mut [u8]) -> Received {
        loop {
            // SAFETY: the descriptor is open as long as `self.stream`; pointer and length are those of one live slice.
            let read = unsafe { libc::recv(self.fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
            match usize::try_from(read) {
                Ok(0) => return Received::End,
                Ok(bytes) => return Received::Bytes(bytes),
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::WouldBlock => return Received::Nothing,
                    io::ErrorKind::Interrupted => {}
                    _ => return Received::End,
                },
            }
        }
    }

    /// Writes what fits, never waits, never raises SIGPIPE.
    pub fn send(&self, bytes: &[u8]) -> Sent {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            // SAFETY: the descriptor is open as long as `self.stream`; pointer and length are those of one live slice.
            let sent = unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
            match usize::try_from(sent) {
                Ok(count) => return Sent::Bytes(count),
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::WouldBlock => return Sent::Full,
                    io::ErrorKind::Interrupted => {}
                    _ => return Sent::Broken,
                },
            }
        }
    }

    /// Ends the connection in both directions, which wakes its pending operation on both drivers (closing does not).
    pub fn shutdown(&self) {
        self.end(libc::SHUT_RDWR);
    }

    /// Says that nothing more will be written; what was written still arrives.
    pub fn finish(&self) {
        self.end(libc::SHUT_WR);
    }

    /// Gives the stream up for another shard. Only while nothing is outstanding on it (DESIGN 11).
    #[must_use]
    pub fn release(self) -> TcpStream {
        let fd = self.stream.into_raw_fd();
        // SAFETY: `into_raw_fd` gave up ownership of an open descriptor, which the new value takes over.
        unsafe { TcpStream::from_raw_fd(fd) }
    }

    fn end(&self, how: libc::c_int) {
        // The peer may have ended it already; there is nothing left to do then.
        // SAFETY: the descriptor is open as long as `self.stream`; the call has no memory arguments.
        let _ended = unsafe { libc::shutdown(self.fd(), how) };
    }

    fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
