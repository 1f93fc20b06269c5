//! QoS 2 under load with a session that is kept: what the client knows of each message, and the audit that counts its rows. What
//! has no answer is sent again, as the protocol says; never a message anew.

use super::fixture::{self, Device};
use super::load::{Progress, Publisher};
use super::mqtt::{Connect, PUBCOMP, PUBREC, PUBREL, Publish, V5, Wire};
use super::rest::Rest;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// So many keys take turns, that two messages of one key never share a ts (DESIGN 8.5, 15).
const KEYS: u64 = 100;
const UNFINISHED_MAX: usize = 16;

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Published,
    /// PUBREC came: it is the server's.
    Received,
}

/// One session's messages. Without a ts, so that a message stored twice is two rows.
#[derive(Debug)]
pub struct Exact {
    device: Device,
    version: u8,
    /// Of a gateway: the children that each message is for. Else empty.
    children: Vec<String>,
    sent: u64,
    /// Packet identifier → message and stage.
    unfinished: BTreeMap<u16, (u64, Stage)>,
    received: u64,
    begun: bool,
}

impl Exact {
    /// Of a device that speaks 3.1.1 or 5.
    #[must_use]
    pub fn new(device: Device, version: u8) -> Self {
        Self { device, version, children: Vec::new(), sent: 0, unfinished: BTreeMap::new(), received: 0, begun: false }
    }

    /// Of a gateway, each of whose messages is a pack of parts for these children.
    #[must_use]
    pub fn pack(gateway: Device, version: u8, children: Vec<String>) -> Self {
        Self { children, ..Self::new(gateway, version) }
    }

    /// How many messages the server has said to have.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether every message that was begun is ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Connects to the session there is and sends again what has no answer [MQTT-4.4.0-1].
    fn resume(&mut self, address: SocketAddr) -> Option<Wire> {
        let mut wire = Wire::try_open(address).ok()?;
        let connect = Connect::new(&self.device.token).version(self.version).kept(86_400);
        let connack = wire.handshake(&connect).ok().filter(|connack| connack.code(1) == 0)?;
        assert!(!self.begun || connack.session_present(), "{}: a session that was kept is gone", self.device.token);
        self.begun = true;
        let unfinished: Vec<(u16, u64, Stage)> =
            self.unfinished.iter().map(|(id, (number, stage))| (*id, *number, *stage)).collect();
        for (id, number, stage) in unfinished {
            match stage {
                Stage::Published => self.send(&mut wire, id, number, true)?,
                Stage::Received => wire.write(&super::mqtt::acknowledgement(PUBREL, id)).ok()?,
            }
        }
        Some(wire)
    }

    fn send(&self, wire: &mut Wire, id: u16, number: u64, again: bool) -> Option<()> {
        let (topic, payload) = self.message(number);
        let publish = Publish { topic, id, qos: 2, again, payload: payload.as_bytes(), ..Publish::default() };
        wire.write(&publish.bytes(self.version)).ok()
    }

    fn message(&self, number: u64) -> (&'static str, String) {
        let values = format!(r#"{{"k{}":{number}}}"#, number % KEYS);
        if self.children.is_empty() {
            return ("v1/devices/me/telemetry", values);
        }
        let parts: Vec<String> = self.children.iter().map(|child| format!(r#""{child}":[{values}]"#)).collect();
        ("v1/gateway/telemetry", format!("{{{}}}", parts.join(",")))
    }

    fn begin(&mut self, wire: &mut Wire) -> Option<()> {
        let number = self.sent;
        // Far more identifiers than messages under way, so the next one is free.
        let id = u16::try_from(number % 60_000).expect("below 60,000") + 1;
        assert!(self.unfinished.insert(id, (number, Stage::Published)).is_none(), "the identifier {id} is free");
        self.sent += 1;
        self.send(wire, id, number, false)
    }

    /// Takes one answer; `None`: the connection is over.
    fn take(&mut self, wire: &mut Wire, progress: &Progress) -> Option<()> {
        let packet = wire.read().ok()?;
        match packet.kind() {
            PUBREC => {
                let id = packet.id();
                assert!(self.version != V5 || packet.code(2) < 0x80, "{}: refused: {packet:?}", self.device.token);
                let (_, stage) =
                    self.unfinished.get_mut(&id).unwrap_or_else(|| panic!("PUBREC for {id}, which is not under way"));
                if *stage == Stage::Published {
                    *stage = Stage::Received;
                    self.received += 1;
                    progress.count();
                }
                wire.write(&super::mqtt::acknowledgement(PUBREL, id)).ok()
            }
            PUBCOMP => {
                self.unfinished.remove(&packet.id());
                Some(())
            }
            // MQTT 5 says DISCONNECT before it closes.
            _ => None,
        }
    }

    /// Ends what is under way.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn finish(&mut self, address: SocketAddr) {
        let mut wire = self.resume(address).expect("the session goes on");
        let progress = Progress::default();
        while !self.is_finished() {
            self.take(&mut wire, &progress).expect("the connection stays open");
        }
    }

    /// Counts the rows of every message: each that was begun is there once, when nothing is under way.
    #[must_use]
    pub fn audit(&self, rest: &Rest) -> Vec<String> {
        assert!(self.is_finished(), "nothing is under way");
        let own = [self.device.id.clone()];
        let children: Vec<String> = self.children.iter().map(|name| child(rest, name)).collect();
        let devices = if children.is_empty() { &own[..] } else { &children };
        devices.iter().flat_map(|device| self.audit_device(rest, device)).collect()
    }

    fn audit_device(&self, rest: &Rest, device: &str) -> Vec<String> {
        let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
        let end = super::now_ms() + 1_000_000;
        let query = format!("startTs=0&endTs={end}&limit=10000000&agg=NONE&keys={}", keys.join(","));
        let reply = rest.get(&fixture::telemetry(device, &format!("values/timeseries?{query}"))).json();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for key in &keys {
            for (_, value) in fixture::points(&reply, key) {
                *counts.entry(format!("{value:.0}")).or_default() += 1;
            }
        }
        let wrong = (0..self.sent).filter_map(|number| {
            let count = counts.get(&number.to_string()).copied().unwrap_or(0);
            (count != 1).then(|| format!("{device}: message {number} is there {count} times"))
        });
        wrong.collect()
    }
}

fn child(rest: &Rest, name: &str) -> String {
    let found = fixture::device_named(rest, name).unwrap_or_else(|| panic!("{name} was made"));
    fixture::id_of(&found)
}

impl Publisher for Exact {
    fn publish(&mut self, address: SocketAddr, progress: &Progress) {
        let Some(mut wire) = self.resume(address) else { return };
        while !(progress.stopped() && self.is_finished()) {
            let more = self.unfinished.len() < UNFINISHED_MAX && !progress.stopped();
            let done = if more { self.begin(&mut wire) } else { self.take(&mut wire, progress) };
            if done.is_none() {
                return;
            }
        }
    }
}
