//! A client's socket, with TLS around it or without: bytes in, bytes out, whatever can be moved now. Ciphertext is read into one
//! buffer of the thread. Never waits, knows nothing of MQTT.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, HandshakeKind};
use socket2::{Domain, Protocol, Socket, Type};

/// Ciphertext that is read at once.
const CIPHERTEXT_BYTES: usize = 16_384;

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) server: SocketAddr,
    /// Of several addresses of this host, so that ports suffice; `None`: the kernel chooses.
    pub(crate) source: Option<IpAddr>,
    /// What the kernel keeps for a client that does not read; `None`: its default.
    pub(crate) receive_bytes: Option<usize>,
}

impl Route {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self { server, source: None, receive_bytes: None }
    }
}

/// What a wire had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// `more`: ask again, nobody will say that there is more.
    Bytes {
        count: usize,
        more: bool,
    },
    Nothing,
    End,
}

#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Why TLS ended it, if it did.
    fault: Option<String>,
}

thread_local! {
    /// Connections are served one after the other, so a thread needs one.
    static CIPHERTEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Wire {
    /// Begins to connect.
    ///
    /// # Errors
    /// The operating system's: out of descriptors or ports, no such address.
    pub(crate) fn connect(route: Route, tls: Option<ClientConnection>, at: (&Registry, Token)) -> io::Result<Self> {
        let (registry, token) = at;
        let mut stream = connect(route)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, tls: tls.map(Box::new), fault: None })
    }

    /// Whether the connection is there by now.
    ///
    /// # Errors
    /// Why it will never be.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if self.stream.peer_addr().is_err() {
            return Ok(false);
        }
        // A socket that refuses the option is only slower.
        drop(self.stream.set_nodelay(true));
        Ok(true)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What TLS had against the server, or the server against us.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the handshake was spared the certificate.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// How many of these bytes were taken; 0 when there is no room now. A TLS connection takes some before its handshake is done.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return loop {
                match self.stream.write(bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(0),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    done => break done,
                }
            };
        };
        let count = tls.writer().write(bytes)?;
        self.flush()?;
        Ok(count)
    }

    /// Sends ciphertext that waits, as far as it fits.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> Got {
        if self.tls.is_none() {
            return received(&mut self.stream, into);
        }
        let mut ciphertext = CIPHERTEXT.take();
        ciphertext.resize(CIPHERTEXT_BYTES, 0);
        let got = self.open(&mut ciphertext, into);
        CIPHERTEXT.set(ciphertext);
        got
    }

    fn open(&mut self, ciphertext: &mut [u8], into: &mut [u8]) -> Got {
        let Some(tls) = &mut self.tls else { return Got::End };
        let (mut count, mut closed) = plaintext(tls, into);
        if closed || count == into.len() {
            return if count > 0 { Got::Bytes { count, more: true } } else { Got::End };
        }
        // What is decrypted is no longer than what was read, so that hardly anything stays behind.
        let room = ciphertext.len().min(into.len() - count);
        let (length, more) = match received(&mut self.stream, &mut ciphertext[..room]) {
            Got::Bytes { count, more } => (count, more),
            Got::Nothing if count > 0 => return Got::Bytes { count, more: false },
            nothing => return nothing,
        };
        let mut left = &ciphertext[..length];
        while !left.is_empty() && !closed {
            let taken = tls.read_tls(&mut left).map_err(|error| error.to_string());
            if let Err(error) = taken.and_then(|_| tls.process_new_packets().map_err(|error| error.to_string())) {
                self.fault = Some(error);
                // The alert says why; whether it arrives is not our business.
                drop(self.flush());
                return Got::End;
            }
            let (more, ended) = plaintext(tls, into.get_mut(count..).unwrap_or_default());
            count += more;
            closed = ended;
        }
        if self.flush().is_err() {
            return Got::End;
        }
        Got::Bytes { count, more: more || closed || count == into.len() }
    }

    /// Says goodbye where TLS has a word for it.
    pub(crate) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Whatever does not fit now is not waited for.
            drop(self.flush());
        }
    }
}

fn connect(route: Route) -> io::Result<TcpStream> {
    if route.source.is_none() && route.receive_bytes.is_none() {
        return TcpStream::connect(route.server);
    }
    let socket = Socket::new(Domain::for_address(route.server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = route.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = route.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&route.server.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn received(stream: &mut TcpStream, into: &mut [u8]) -> Got {
    loop {
        return match stream.read(into) {
            Ok(0) => Got::End,
            // A short read took everything.
            Ok(count) => Got::Bytes { count, more: count == into.len() },
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Got::End,
        };
    }
}

/// Moves what is decrypted; how much, and whether the server has said goodbye.
fn plaintext(tls: &mut ClientConnection, into: &mut [u8]) -> (usize, bool) {
    let mut count = 0;
    while count < into.len() {
        match tls.reader().read(&mut into[count..]) {
            Ok(0) => return (count, true),
            Ok(more) => count += more,
            Err(_) => break,
        }
    }
    (count, false)
}
