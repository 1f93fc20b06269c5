//! MQTT without a codec: packets written by hand, byte by byte, for load, malformed input and thousands of idle connections.
//! Never shares code with the product's codec. Whatever a well-behaved client does is tested with third-party clients instead.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBACK: u8 = 9;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// MQTT protocol levels.
pub const V311: u8 = 4;
pub const V5: u8 = 5;

/// What a connection says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    pub token: &'a str,
    pub client_id: &'a str,
    pub keep_alive_s: u16,
    pub version: u8,
}

impl<'a> Connect<'a> {
    /// 3.1.1 with a keep-alive that will not expire.
    #[must_use]
    pub fn new(token: &'a str) -> Self {
        Self { token, client_id: token, keep_alive_s: 600, version: V311 }
    }

    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    #[must_use]
    pub fn client_id(mut self, client_id: &'a str) -> Self {
        self.client_id = client_id;
        self
    }

    #[must_use]
    pub fn keep_alive_s(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// The CONNECT packet: clean start, user name, no password.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        push_text(&mut body, "MQTT");
        body.push(self.version);
        body.push(0b1000_0010);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.version == V5 {
            body.push(0);
        }
        push_text(&mut body, self.client_id);
        push_text(&mut body, self.token);
        packet(0x10, &body)
    }
}

/// A packet: first byte, remaining length, body.
#[must_use]
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        bytes.push(if length > 0 { digit | 128 } else { digit });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).expect("an MQTT string is below 64 KiB").to_be_bytes());
    body.extend(text.as_bytes());
}

/// A PUBLISH; with an id it is QoS 1, without QoS 0.
#[must_use]
pub fn publish(version: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic);
    if let Some(id) = id {
        body.extend(id.to_be_bytes());
    }
    if version == V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// A SUBSCRIBE to one filter, QoS 1.
#[must_use]
pub fn subscribe(version: u8, filter: &str, id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == V5 {
        body.push(0);
    }
    push_text(&mut body, filter);
    body.push(1);
    packet(0x82, &body)
}

/// A received packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The packet id of an acknowledgement.
    #[must_use]
    pub fn id(&self) -> u16 {
        match self.body.as_slice() {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => panic!("an acknowledgement has a packet id: {self:?}"),
        }
    }

    /// The byte at `index` of the body, 0 when it was left out (MQTT 5 lets success be left out).
    #[must_use]
    pub fn code(&self, index: usize) -> u8 {
        self.body.get(index).copied().unwrap_or(0)
    }
}

/// Why no packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Silent,
}

/// A TCP connection to the MQTT listener.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    version: u8,
}

impl Wire {
    /// Connects TCP only.
    ///
    /// # Panics
    /// When the listener does not accept.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        stream.set_write_timeout(Some(super::PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), version: V311 })
    }

    /// A 3.1.1 session of the device with this token.
    #[must_use]
    pub fn session(address: SocketAddr, token: &str) -> Self {
        Self::admitted(address, &Connect::new(token))
    }

    /// A session that must be admitted.
    ///
    /// # Panics
    /// When CONNACK is not a success.
    #[must_use]
    pub fn admitted(address: SocketAddr, connect: &Connect<'_>) -> Self {
        let mut wire = Self::open(address);
        let connack = wire.handshake(connect);
        assert!(matches!(&connack, Ok(packet) if packet.kind() == CONNACK && packet.code(1) == 0), "{connect:?}: {connack:?}");
        wire
    }

    /// Sends CONNECT and reads what comes back.
    pub fn handshake(&mut self, connect: &Connect<'_>) -> Result<Packet, Ending> {
        self.version = connect.version;
        self.write(&connect.bytes()).map_err(|_| Ending::Closed)?;
        self.read()
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a PUBLISH without waiting.
    pub fn publish(&mut self, topic: &str, id: Option<u16>, payload: &str) -> std::io::Result<()> {
        let bytes = publish(self.version, topic, id, payload.as_bytes());
        self.write(&bytes)
    }

    /// Publishes telemetry with QoS 1 and waits for its PUBACK: the reason code (0 on 3.1.1).
    ///
    /// # Panics
    /// When something else comes.
    pub fn telemetry(&mut self, id: u16, payload: &str) -> u8 {
        self.acknowledged("v1/devices/me/telemetry", id, payload)
    }

    /// Publishes with QoS 1 and waits for the PUBACK: its reason code (0 on 3.1.1).
    ///
    /// # Panics
    /// When something else comes.
    pub fn acknowledged(&mut self, topic: &str, id: u16, payload: &str) -> u8 {
        self.publish(topic, Some(id), payload).expect("the connection is open");
        let answer = self.read();
        match &answer {
            Ok(packet) if packet.kind() == PUBACK && packet.id() == id => packet.code(2),
            _ => panic!("PUBLISH {id} to {topic} is acknowledged, not answered {answer:?}"),
        }
    }

    /// Subscribes and waits: the granted QoS or the failure code.
    ///
    /// # Panics
    /// When something else than SUBACK comes.
    pub fn subscribe(&mut self, filter: &str, id: u16) -> u8 {
        let bytes = subscribe(self.version, filter, id);
        self.write(&bytes).expect("the connection is open");
        let answer = self.read();
        match &answer {
            Ok(packet) if packet.kind() == SUBACK && packet.id() == id => *packet.body.last().expect("SUBACK has codes"),
            _ => panic!("SUBSCRIBE to {filter} is answered by SUBACK, not {answer:?}"),
        }
    }

    /// Changes how long [`Self::read`] waits.
    pub fn patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout above zero can be set");
    }

    /// The next packet, or why there is none.
    pub fn read(&mut self) -> Result<Packet, Ending> {
        loop {
            if let Some(packet) = self.take() {
                return Ok(packet);
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Ending::Closed),
                Ok(count) => self.received.extend(buffer.iter().take(count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err(Ending::Silent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Ending::Closed),
            }
        }
    }

    /// Reads until the server closes; what it said before.
    ///
    /// # Panics
    /// When it stays open.
    pub fn read_to_close(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.read() {
                Ok(packet) => packets.push(packet),
                Err(Ending::Closed) => return packets,
                Err(Ending::Silent) => panic!("the server closes the connection; it said {packets:?}"),
            }
        }
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        // An error means that the server closed first.
        let _closed = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn take(&mut self) -> Option<Packet> {
        let (first, rest) = self.received.split_first()?;
        let (mut length, mut shift, mut used) = (0_usize, 0, 0);
        for byte in rest.iter().take(4) {
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            used += 1;
            if byte & 128 == 0 {
                let body = rest.get(used..used + length)?.to_vec();
                let packet = Packet { first: *first, body };
                self.received.drain(..1 + used + length);
                return Some(packet);
            }
        }
        None
    }
}
