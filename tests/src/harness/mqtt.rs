//! MQTT without a codec: packets written by hand, byte by byte, for load, malformed input and thousands of idle connections.
//! Never shares code with the product's codec. Whatever a well-behaved client does is tested with third-party clients instead.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;
pub const SUBACK: u8 = 9;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// A PINGREQ, and a DISCONNECT that says goodbye.
pub const PING: [u8; 2] = [0xc0, 0];
pub const GOODBYE: [u8; 2] = [0xe0, 0];

/// MQTT protocol levels.
pub const V311: u8 = 4;
pub const V5: u8 = 5;

/// What is to be said when the connection is lost, with QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a str,
    /// MQTT 5 only.
    pub delay_s: u32,
}

/// What a connection says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    pub token: &'a str,
    pub client_id: &'a str,
    pub keep_alive_s: u16,
    pub version: u8,
    pub clean_start: bool,
    /// MQTT 5 only, as is the next one; 0 is left out.
    pub session_expiry_s: u32,
    pub topic_alias_maximum: u16,
    pub will: Option<Will<'a>>,
}

impl<'a> Connect<'a> {
    /// 3.1.1, a clean start, a keep-alive that will not expire.
    #[must_use]
    pub fn new(token: &'a str) -> Self {
        Self {
            token,
            client_id: token,
            keep_alive_s: 600,
            version: V311,
            clean_start: true,
            session_expiry_s: 0,
            topic_alias_maximum: 0,
            will: None,
        }
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

    /// Goes on with the session there is, which is kept (MQTT 5: for `expiry_s`; before, as long as the server likes).
    #[must_use]
    pub fn kept(mut self, expiry_s: u32) -> Self {
        (self.clean_start, self.session_expiry_s) = (false, expiry_s);
        self
    }

    #[must_use]
    pub fn topic_alias_maximum(mut self, maximum: u16) -> Self {
        self.topic_alias_maximum = maximum;
        self
    }

    #[must_use]
    pub fn will(mut self, topic: &'a str, payload: &'a str, delay_s: u32) -> Self {
        self.will = Some(Will { topic, payload, delay_s });
        self
    }

    /// The CONNECT packet: user name, no password.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        push_text(&mut body, "MQTT");
        body.push(self.version);
        let will = if self.will.is_some() { 0b0000_1100 } else { 0 };
        body.push(0b1000_0000 | will | u8::from(self.clean_start) << 1);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.version == V5 {
            let mut properties = Vec::new();
            push_property(&mut properties, 0x11, self.session_expiry_s, &self.session_expiry_s.to_be_bytes());
            push_property(&mut properties, 0x22, self.topic_alias_maximum, &self.topic_alias_maximum.to_be_bytes());
            push_properties(&mut body, &properties);
        }
        push_text(&mut body, self.client_id);
        if let Some(will) = self.will {
            if self.version == V5 {
                let mut properties = Vec::new();
                push_property(&mut properties, 0x18, will.delay_s, &will.delay_s.to_be_bytes());
                push_properties(&mut body, &properties);
            }
            push_text(&mut body, will.topic);
            push_text(&mut body, will.payload);
        }
        push_text(&mut body, self.token);
        packet(0x10, &body)
    }
}

/// A property, unless its number is 0.
fn push_property(properties: &mut Vec<u8>, identifier: u8, number: impl Into<u32>, bytes: &[u8]) {
    if number.into() > 0 {
        properties.push(identifier);
        properties.extend(bytes);
    }
}

fn push_properties(body: &mut Vec<u8>, properties: &[u8]) {
    body.push(u8::try_from(properties.len()).expect("a handful of properties is below 128 bytes"));
    body.extend(properties);
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
    let (qos, id) = id.map_or((0, 0), |id| (1, id));
    Publish { topic, id, qos, payload, ..Publish::default() }.bytes(version)
}

/// A PUBLISH with all it can say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Publish<'a> {
    pub topic: &'a str,
    /// Of QoS 1 and 2.
    pub id: u16,
    pub qos: u8,
    /// DUP.
    pub again: bool,
    pub retain: bool,
    /// MQTT 5 only; 0 is left out.
    pub alias: u16,
    pub payload: &'a [u8],
}

impl Publish<'_> {
    #[must_use]
    pub fn bytes(&self, version: u8) -> Vec<u8> {
        let mut body = Vec::new();
        push_text(&mut body, self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == V5 {
            let mut properties = Vec::new();
            push_property(&mut properties, 0x23, self.alias, &self.alias.to_be_bytes());
            push_properties(&mut body, &properties);
        }
        body.extend(self.payload);
        packet(0x30 | u8::from(self.again) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// A packet that is nothing but an identifier: PUBACK, PUBREC, PUBREL, PUBCOMP.
#[must_use]
pub fn acknowledgement(kind: u8, id: u16) -> Vec<u8> {
    // [MQTT-3.6.1-1]: the only one with flags.
    packet(kind << 4 | if kind == PUBREL { 2 } else { 0 }, &id.to_be_bytes())
}

/// A SUBSCRIBE to one filter, QoS 1.
#[must_use]
pub fn subscribe(version: u8, filter: &str, id: u16) -> Vec<u8> {
    subscribe_with(version, filter, id, 1)
}

/// A SUBSCRIBE to one filter with this QoS.
#[must_use]
pub fn subscribe_with(version: u8, filter: &str, id: u16, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == V5 {
        body.push(0);
    }
    push_text(&mut body, filter);
    body.push(qos);
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

    /// Of a CONNACK: whether the server had the session.
    #[must_use]
    pub fn session_present(&self) -> bool {
        self.kind() == CONNACK && self.code(0) & 1 == 1
    }

    /// A PUBLISH of the server taken apart.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn message(&self, version: u8) -> Message {
        assert_eq!(self.kind(), PUBLISH, "{self:?}");
        let mut rest = self.body.as_slice();
        let length = usize::from(u16::from_be_bytes(take(&mut rest)));
        let (topic, after) = rest.split_at(length);
        rest = after;
        let qos = self.first >> 1 & 3;
        let id = if qos > 0 { u16::from_be_bytes(take(&mut rest)) } else { 0 };
        let alias = if version == V5 { take_alias(&mut rest) } else { 0 };
        let topic = String::from_utf8(topic.to_vec()).expect("a topic is UTF-8");
        Message { topic, id, qos, again: self.first & 8 != 0, alias, payload: rest.to_vec() }
    }

    /// The byte at `index` of the body, 0 when it was left out (MQTT 5 lets success be left out).
    #[must_use]
    pub fn code(&self, index: usize) -> u8 {
        self.body.get(index).copied().unwrap_or(0)
    }
}

/// The first bytes of `rest`, which is left without them.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, after) = rest.split_first_chunk().expect("the packet is long enough");
    *rest = after;
    *first
}

/// Takes the properties of a PUBLISH off; the topic alias among them, or 0.
fn take_alias(rest: &mut &[u8]) -> u16 {
    let [length] = take(rest);
    assert!(length < 128, "a PUBLISH of the server has few properties");
    let (mut properties, after) = rest.split_at(usize::from(length));
    *rest = after;
    let mut alias = 0;
    while !properties.is_empty() {
        match take(&mut properties) {
            [0x23] => alias = u16::from_be_bytes(take(&mut properties)),
            [0x01] => drop(take::<1>(&mut properties)),
            [0x02] => drop(take::<4>(&mut properties)),
            [0x03 | 0x08 | 0x09] => {
                let length = usize::from(u16::from_be_bytes(take(&mut properties)));
                properties = properties.split_at(length).1;
            }
            [other] => panic!("property {other:#x} in a PUBLISH of the server"),
        }
    }
    alias
}

/// A PUBLISH of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Empty where an alias stands for it.
    pub topic: String,
    /// 0 with QoS 0.
    pub id: u16,
    pub qos: u8,
    /// DUP.
    pub again: bool,
    /// 0: none.
    pub alias: u16,
    pub payload: Vec<u8>,
}

impl Message {
    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
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

    /// Sends a PUBLISH as it is said, without waiting.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn send(&mut self, publish: Publish<'_>) {
        let bytes = publish.bytes(self.version);
        self.write(&bytes).expect("the connection is open");
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Panics
    /// When the connection is not open.
    pub fn acknowledge(&mut self, kind: u8, id: u16) {
        self.write(&acknowledgement(kind, id)).expect("the connection is open");
    }

    /// Sends PUBACK to a server that may be gone.
    pub fn acknowledge_if_open(&mut self, id: u16) {
        // An error is found by the next read.
        let _gone = self.write(&acknowledgement(PUBACK, id));
    }

    /// The next packet, which must be of this kind and with this identifier: its reason code (0 on 3.1.1).
    ///
    /// # Panics
    /// When something else comes.
    pub fn expect(&mut self, kind: u8, id: u16) -> u8 {
        match self.read() {
            Ok(packet) if packet.kind() == kind && packet.id() == id => packet.code(2),
            other => panic!("packet type {kind} for {id} is expected, not {other:?}"),
        }
    }

    /// Publishes with QoS 2 to the end of the flow.
    ///
    /// # Panics
    /// When it goes otherwise.
    pub fn exactly_once(&mut self, topic: &str, id: u16, payload: &str) {
        self.send(Publish { topic, id, qos: 2, payload: payload.as_bytes(), ..Publish::default() });
        assert_eq!(self.expect(PUBREC, id), 0);
        self.acknowledge(PUBREL, id);
        assert_eq!(self.expect(PUBCOMP, id), 0);
    }

    /// The next packet, which must be a PUBLISH; it is not acknowledged.
    ///
    /// # Panics
    /// When something else comes.
    pub fn message(&mut self) -> Message {
        match self.read() {
            Ok(packet) => packet.message(self.version),
            Err(ending) => panic!("a message is expected: {ending:?}"),
        }
    }

    /// The next message, acknowledged.
    ///
    /// # Panics
    /// When something else comes.
    pub fn take_message(&mut self) -> Message {
        let message = self.message();
        if message.qos > 0 {
            self.acknowledge(PUBACK, message.id);
        }
        message
    }

    /// Asks and waits for the answer: whatever the server had to say before is read by then.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn ping(&mut self) -> Vec<Packet> {
        self.write(&PING).expect("the connection is open");
        let mut before = Vec::new();
        loop {
            match self.read() {
                Ok(packet) if packet.kind() == PINGRESP => return before,
                Ok(packet) => before.push(packet),
                Err(ending) => panic!("PINGRESP is expected after {before:?}: {ending:?}"),
            }
        }
    }

    /// Says goodbye and reads to the end.
    pub fn leave(mut self) {
        // An error means that the server closed first.
        let _closed = self.write(&GOODBYE);
        let _said = self.read_to_close();
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
