//! Publications to other brokers, QoS 1, by MQTT 3.1, 3.1.1 or 5: one connection per node, kept while it is used. A publication is
//! taken when its PUBACK is there. With MQTT 5 it carries its idempotency key as a user property.

use std::collections::HashSet;

use schemas::chain::external::{MqttPublish, MqttVersion};
use uuid::Uuid;

use super::Told;
use super::kept::Kept;
use super::line::{Over, Place, Said, Speech, serve};
use crate::codec::mqtt::client::{
    Bounds, FromServer, GOODBYE, Greeting, PINGREQ, Publication, decode_from_server, encode_connect,
};
use crate::codec::mqtt::{ReasonCode, Version, frame};
use crate::limits;
use crate::owed::{Answer, Answered, MqttCall};

/// A call and the key by which its target can tell that it has heard it before.
type Keyed = (MqttCall, String);

/// The brokers that nodes are connected to.
#[derive(Debug)]
pub(super) struct Brokers(Kept<(MqttPublish, bool), Keyed>);

impl Brokers {
    pub(super) fn new() -> Self {
        Self(Kept::new(limits::BROKERS_MAX))
    }

    /// Publishes over the node's connection, which is made if there is none with these settings.
    pub(super) fn publish(&mut self, node: Uuid, private: bool, (call, key): Keyed, told: Told) {
        let settings = (call.broker.clone(), private);
        self.0.give((node, settings), ((call, key), told), |(broker, private), calls| {
            let (host, port, wait_ms) = (broker.host.clone(), broker.port, broker.timeout_ms);
            let tls = broker.tls.clone();
            let place = Place { host, port, connect_ms: wait_ms, opening_ms: wait_ms, tls, private };
            tokio::spawn(serve(place, Publisher::new(broker, node), calls));
        });
    }
}

#[derive(Debug)]
struct Publisher {
    broker: MqttPublish,
    node: Uuid,
    version: Version,
    open: bool,
    unacknowledged: HashSet<u16>,
    last_id: u16,
    at_once_max: usize,
    packet_bytes_max: usize,
}

impl Publisher {
    fn new(broker: MqttPublish, node: Uuid) -> Self {
        let version = match broker.version {
            MqttVersion::V31 => Version::V31,
            MqttVersion::V311 => Version::V311,
            MqttVersion::V5 => Version::V5,
        };
        Self {
            broker,
            node,
            version,
            open: false,
            unacknowledged: HashSet::new(),
            last_id: 0,
            at_once_max: limits::BROKER_CALLS_MAX,
            packet_bytes_max: usize::MAX,
        }
    }

    fn client_id(&self) -> String {
        let node = self.node.simple().to_string();
        match &self.broker.client_id {
            // A server of MQTT 3.1 refuses more than 23 characters; those that tell nodes apart are the last.
            None if self.version == Version::V31 => format!("tg{}", node.get(11..).unwrap_or_default()),
            None => format!("tidegate-{node}"),
            Some(id) if self.broker.own_suffix => format!("{id}_{node}"),
            Some(id) => id.clone(),
        }
    }

    fn connected(&mut self, code: ReasonCode, bounds: Bounds<'_>) -> Result<(), Over> {
        if code == ReasonCode::SUCCESS {
            self.open = true;
            let at_once = bounds.receive_maximum.map_or(usize::MAX, usize::from);
            self.at_once_max = at_once.min(limits::BROKER_CALLS_MAX);
            self.packet_bytes_max = bounds.packet_bytes_max.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            return Ok(());
        }
        let reason = said("the broker refuses the connection", code, bounds);
        let later = match self.version {
            Version::V5 => may_be_otherwise_later(code),
            Version::V31 | Version::V311 => code == ReasonCode::RETURN_SERVER_UNAVAILABLE,
        };
        Err(if later { Over::Ended(reason) } else { Over::Refused(reason) })
    }
}

impl Speech for Publisher {
    type Call = Keyed;

    fn begin(&mut self, out: &mut Vec<u8>) {
        let client_id = self.client_id();
        let user = self.broker.user.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
        let keep_alive_s = u16::try_from(2 * limits::BROKER_KEEP_ALIVE_MS / 1_000).unwrap_or(u16::MAX);
        let greeting = Greeting { client_id: &client_id, clean_start: self.broker.clean_session, keep_alive_s, user };
        encode_connect(self.version, &greeting, out);
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn at_once_max(&self) -> usize {
        self.at_once_max
    }

    fn say(&mut self, (call, key): Keyed, out: &mut Vec<u8>) -> Result<u64, Answered> {
        // There are more numbers than calls without an answer.
        let mut packet_id = self.last_id;
        loop {
            packet_id = packet_id.checked_add(1).unwrap_or(1);
            if !self.unacknowledged.contains(&packet_id) {
                break;
            }
        }
        let publication = Publication {
            topic: &call.topic,
            packet_id,
            retain: call.broker.retained,
            property: ("idempotency-key", &key),
            payload: call.payload.as_bytes(),
        };
        if publication.bytes(self.version).is_none_or(|bytes| bytes > self.packet_bytes_max) {
            return Err(Answered::Refused("the message is larger than the broker takes".to_owned(), Answer::default()));
        }
        publication.encode(self.version, out);
        self.last_id = packet_id;
        self.unacknowledged.insert(packet_id);
        Ok(packet_id.into())
    }

    fn hear(&mut self, bytes: &[u8], answers: &mut Said) -> Result<usize, Over> {
        let mut read = 0;
        while let Some(frame) =
            frame(bytes.get(read..).unwrap_or_default(), limits::BROKER_PACKET_BYTES_MAX).map_err(Over::ended)?
        {
            read += frame.bytes;
            match decode_from_server(self.version, &frame).map_err(Over::ended)? {
                FromServer::Connack(code, bounds) if !self.open => self.connected(code, bounds)?,
                FromServer::Puback(id, code, bounds) if self.unacknowledged.remove(&id) => {
                    let reason = || said("the broker refuses the message", code, bounds);
                    let answered = match code.is_failure() {
                        false => Answered::Done(Answer::default()),
                        true if may_be_otherwise_later(code) => Answered::Failed(reason(), Answer::default()),
                        true => Answered::Refused(reason(), Answer::default()),
                    };
                    answers.answers.push((id.into(), answered));
                }
                FromServer::Disconnect(code, bounds) => {
                    return Err(Over::Ended(said("the broker ends the connection", code, bounds)));
                }
                FromServer::Connack(..) | FromServer::Puback(..) | FromServer::Other => {}
            }
        }
        Ok(read)
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&PINGREQ);
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&GOODBYE);
    }
}

fn said(what: &str, code: ReasonCode, bounds: Bounds<'_>) -> String {
    match bounds.reason {
        Some(reason) => format!("{what}: code {:#04x}, {reason}", code.0),
        None => format!("{what}: code {:#04x}", code.0),
    }
}

/// Codes of MQTT 5 that say how things are, not what is wrong with what was sent.
fn may_be_otherwise_later(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
            | ReasonCode::PACKET_IDENTIFIER_IN_USE
            | ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_BUSY
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::CONNECTION_RATE_EXCEEDED
    )
}

#[cfg(test)]
mod tests;
