//! HTTP/1.1 without a client: bytes as they are written, responses read one by one. For pipelining, malformed input and peers
//! that behave badly; whatever a well-behaved client does is tested with curl.

use super::mqtt::Ending;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A TCP connection to a listener that speaks HTTP.
#[derive(Debug)]
pub struct RawHttp {
    stream: TcpStream,
    received: Vec<u8>,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The head after the status line, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// A header, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

/// A request with a body, which may be empty.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: tidegate\r\n{length}{headers}\r\n{body}").into_bytes()
}

impl RawHttp {
    /// # Panics
    /// When the listener does not accept.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a timeout above zero can be set");
        stream.set_write_timeout(Some(super::PATIENCE)).expect("a timeout above zero can be set");
        Self { stream, received: Vec::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Changes how long a write waits for the peer to read.
    pub fn write_patience(&mut self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).expect("a timeout above zero can be set");
    }

    /// Sends a request and reads its response.
    ///
    /// # Panics
    /// When there is none.
    pub fn exchange(&mut self, request: &[u8]) -> Response {
        self.write(request).expect("the connection is open");
        self.response()
    }

    /// The next response.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(&mut self) -> Response {
        self.read().unwrap_or_else(|ending| panic!("a response is expected ({ending:?}) after {:?}", self.received))
    }

    /// The next response, or why there is none.
    pub fn read(&mut self) -> Result<Response, Ending> {
        loop {
            if let Some(response) = self.take() {
                return Ok(response);
            }
            self.receive()?;
        }
    }

    /// Waits until a response has begun, and leaves it unread.
    ///
    /// # Panics
    /// When none begins.
    pub fn wait_for_response(&mut self) {
        while self.received.is_empty() {
            self.receive().unwrap_or_else(|ending| panic!("a response begins ({ending:?})"));
        }
    }

    /// Reads until the server closes: the statuses of what it said before.
    ///
    /// # Panics
    /// When it stays open.
    pub fn read_to_close(&mut self) -> Vec<u16> {
        let mut statuses = Vec::new();
        loop {
            match self.read() {
                Ok(response) => statuses.push(response.status),
                Err(Ending::Closed) => return statuses,
                Err(Ending::Silent) => panic!("the server closes the connection; it said {statuses:?}"),
            }
        }
    }

    /// Reads until the server closes, whatever it says.
    ///
    /// # Panics
    /// When it stays open.
    pub fn drain(&mut self) {
        loop {
            self.received.clear();
            match self.receive() {
                Ok(()) => {}
                Err(Ending::Closed) => return,
                Err(Ending::Silent) => panic!("the server closes the connection"),
            }
        }
    }

    fn receive(&mut self) -> Result<(), Ending> {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Ending::Closed),
            Ok(count) => {
                self.received.extend(buffer.iter().take(count));
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Ending::Silent),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Ending::Closed),
        }
    }

    /// Bodies of the device API have a length: they are made before they are sent.
    fn take(&mut self) -> Option<Response> {
        let end = self.received.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(self.received.get(..end)?).to_lowercase();
        let (status_line, head) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status line: {status_line}"));
        let mut response = Response { status, head: head.to_owned(), body: Vec::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        response.body = self.received.get(end + 4..end + 4 + length)?.to_vec();
        self.received.drain(..end + 4 + length);
        Some(response)
    }
}
