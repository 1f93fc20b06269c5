//! The protocol as a client sees it, kept in the plainest way: maps and lists, no thought for memory. Never shares code with
//! the session, or it would share its mistakes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{code, frames};
use crate::codec::mqtt::{self, Packet, PacketType, Property, Publish, Qos, Version};
use crate::limits;
use crate::session::{Admission, Delivery, Downlink, Intent, Kept, Operation, Outcome, Package, Promise, Receipt, Sending};

#[derive(Default)]
pub(super) struct Model {
    pub(super) admitted: bool,
    pub(super) over: bool,
    version: Option<Version>,
    client: Client,
    clean_start: bool,
    keeps: bool,
    /// What is still to be acknowledged, in arrival order.
    owed: VecDeque<Owed>,
    last_receipt: Option<Receipt>,
    /// QoS 2 messages of the client, and whether their PUBREL came.
    flows: BTreeMap<u16, Flow>,
    aliases: BTreeMap<u16, String>,
    /// Filters whose SUBACK or UNSUBACK is on its way.
    asked: VecDeque<Asked>,
    subscriptions: BTreeMap<String, u8>,
    /// Our publishes that the client has not acknowledged.
    in_flight: BTreeMap<u16, u64>,
    /// What our aliases stand for.
    taught: BTreeMap<u16, String>,
    /// Downlinks in the output, in order.
    sent: VecDeque<(Vec<String>, Sending, Delivery)>,
}

/// What the client accepts, once it said so.
struct Client {
    packet_bytes_max: usize,
    receive_maximum: usize,
    topic_alias_maximum: u16,
}

impl Default for Client {
    fn default() -> Self {
        Self { packet_bytes_max: usize::MAX, receive_maximum: usize::MAX, topic_alias_maximum: 0 }
    }
}

#[derive(Clone, Copy)]
struct Flow {
    stage: Stage,
    durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Promised,
    Received,
    Releasing,
}

struct Owed {
    packet: PacketType,
    packet_id: u16,
    when: When,
}

enum When {
    Settled(Receipt, Option<Outcome>),
    /// With the one before it that has the same identifier.
    WithTheFirst,
    Now(Outcome),
}

enum Asked {
    Subscribe { packet_id: u16, filters: Vec<String> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
}

impl Model {
    /// `None` until CONNECT was read.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    pub(super) fn offered(&mut self, consumed: &[u8]) {
        let Ok(Some(frame)) = mqtt::frame(consumed, usize::MAX) else { panic!("an intent comes from a packet") };
        let Ok(Packet::Connect(connect)) = mqtt::decode(Version::V5, &frame) else { panic!("admission comes from CONNECT") };
        self.version = Some(connect.version);
        self.clean_start = connect.clean_start;
        for property in connect.properties.iter() {
            match property {
                Property::MaximumPacketSize(bytes) => self.client.packet_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX),
                Property::ReceiveMaximum(maximum) => self.client.receive_maximum = usize::from(maximum),
                Property::TopicAliasMaximum(maximum) => self.client.topic_alias_maximum = maximum,
                _ => {}
            }
        }
    }

    pub(super) fn admit(&mut self, admission: &Admission) {
        self.admitted = true;
        self.keeps = admission.expiry_s > 0;
        if let Some(kept) = admission.kept.as_ref().filter(|_| !self.clean_start) {
            let own = kept.subscriptions.iter().filter(|_| !admission.provisioning);
            self.subscriptions = own.cloned().collect();
            let flow = Flow { stage: Stage::Received, durable: true };
            self.flows = kept.received.iter().map(|id| (*id, flow)).collect();
        }
    }

    /// A packet was read, and meant this to the shard.
    pub(super) fn take(&mut self, packet: &Packet<'_>, intent: Option<&Intent<'_>>) {
        match packet {
            Packet::Publish(publish) => self.take_publish(publish, intent),
            Packet::Pubrel(ack) => self.take_pubrel(ack.packet_id, intent),
            Packet::Puback(ack) => {
                let number = self.in_flight.remove(&ack.packet_id).filter(|number| *number != 0);
                let expected = number.map(|number| Intent::Acknowledged { number });
                assert_eq!(intent, expected.as_ref(), "[MQTT-4.3.2-3]: a downlink is acknowledged once, if somebody asks");
            }
            Packet::Subscribe(subscribe) => {
                assert_eq!(intent, Some(&Intent::Subscribed));
                let filters = subscribe.filters.map(|filter| String::from(filter.name)).collect();
                self.asked.push_back(Asked::Subscribe { packet_id: subscribe.packet_id, filters });
            }
            Packet::Unsubscribe(unsubscribe) => {
                assert_eq!(intent, Some(&Intent::Unsubscribed));
                let filters = unsubscribe.filters.map(String::from).collect();
                self.asked.push_back(Asked::Unsubscribe { packet_id: unsubscribe.packet_id, filters });
            }
            Packet::Pingreq => assert_eq!(intent, Some(&Intent::Ping)),
            Packet::Disconnect(_) => assert!(matches!(intent, Some(Intent::Disconnect { .. }))),
            other => panic!("no session goes on after {other:?}"),
        }
    }

    fn take_publish(&mut self, publish: &Publish<'_>, intent: Option<&Intent<'_>>) {
        let topic = self.topic(publish);
        let Some(packet_id) = publish.packet_id else {
            self.check_message(&topic, publish, intent, None);
            return;
        };
        let packet = if publish.qos == Qos::ExactlyOnce { PacketType::Pubrec } else { PacketType::Puback };
        match self.flows.get(&packet_id).filter(|_| packet == PacketType::Pubrec) {
            None => {}
            Some(flow) => {
                assert_eq!(intent, None, "[MQTT-4.3.3-10]: a message that comes again is not taken again");
                let when = if flow.stage == Stage::Promised { When::WithTheFirst } else { When::Now(Outcome::Stored) };
                assert!(flow.stage != Stage::Releasing, "[MQTT-4.3.3-6]");
                self.owed.push_back(Owed { packet, packet_id, when });
                return;
            }
        }
        let exactly_once = (packet == PacketType::Pubrec && self.keeps).then_some(packet_id);
        if packet == PacketType::Pubrec {
            self.flows.insert(packet_id, Flow { stage: Stage::Promised, durable: self.keeps });
        }
        let Some(receipt) = self.check_message(&topic, publish, intent, Some(exactly_once)) else {
            self.owed.push_back(Owed { packet, packet_id, when: When::Now(Outcome::QuotaExceeded) });
            return;
        };
        self.promise(packet, packet_id, receipt);
    }

    /// What the topic name or the alias means.
    fn topic(&mut self, publish: &Publish<'_>) -> String {
        match publish.topic_alias {
            None => String::from(publish.topic),
            Some(alias) if publish.topic.is_empty() => self.aliases.get(&alias).expect("an alias that was set").clone(),
            Some(alias) => {
                assert!(alias <= limits::TOPIC_ALIASES_MAX, "[MQTT-3.3.2-9]");
                self.aliases.insert(alias, String::from(publish.topic));
                String::from(publish.topic)
            }
        }
    }

    /// `promised` is what a promise must hold, if there must be one. The receipt, if there is one.
    fn check_message(
        &self,
        topic: &str,
        publish: &Publish<'_>,
        intent: Option<&Intent<'_>>,
        promised: Option<Option<u16>>,
    ) -> Option<Receipt> {
        assert!(publish.payload.len() <= limits::PAYLOAD_BYTES_MAX, "the payload bound holds");
        let (operation, promise) = match intent {
            Some(Intent::Operation { operation, promise }) => (Some(operation), *promise),
            Some(Intent::UnknownTopic { promise }) => (None, *promise),
            None if promised.is_some() && is_burdened(publish) => return None,
            other => panic!("a message is an operation or its topic is unknown: {other:?}"),
        };
        match (topic, operation) {
            ("v1/devices/me/telemetry", Some(Operation::Telemetry { payload, .. }))
            | ("v1/devices/me/attributes" | "v2/a", Some(Operation::Attributes { payload, .. })) => {
                assert_eq!(*payload, publish.payload);
            }
            ("v1/devices/me/telemetry" | "v1/devices/me/attributes" | "v2/a", Some(operation)) => {
                panic!("{topic}: {operation:?}")
            }
            ("x", Some(operation)) => panic!("nobody has this topic: {operation:?}"),
            _ => {}
        }
        assert_eq!(promise.map(|Promise { exactly_once, .. }| exactly_once), promised, "the promise is that of the QoS");
        promise.map(|promise| promise.receipt)
    }

    fn take_pubrel(&mut self, packet_id: u16, intent: Option<&Intent<'_>>) {
        let packet = PacketType::Pubcomp;
        let when = match self.flows.get_mut(&packet_id) {
            None => When::Now(Outcome::NotFound),
            Some(Flow { stage: Stage::Promised, .. }) => panic!("PUBREL before PUBREC ends the connection"),
            Some(Flow { stage: Stage::Releasing, .. }) => When::WithTheFirst,
            Some(Flow { durable: false, .. }) => {
                self.flows.remove(&packet_id);
                When::Now(Outcome::Stored)
            }
            Some(flow) => {
                flow.stage = Stage::Releasing;
                let Some(Intent::Release { packet_id: id, receipt }) = intent else { panic!("it lies on disk: {intent:?}") };
                assert_eq!(*id, packet_id);
                return self.promise(packet, packet_id, *receipt);
            }
        };
        assert_eq!(intent, None, "nothing to release");
        self.owed.push_back(Owed { packet, packet_id, when });
    }

    fn promise(&mut self, packet: PacketType, packet_id: u16, receipt: Receipt) {
        assert!(self.last_receipt.is_none_or(|last| last < receipt), "receipts are numbered in arrival order");
        self.last_receipt = Some(receipt);
        self.owed.push_back(Owed { packet, packet_id, when: When::Settled(receipt, None) });
        let most = limits::RECEIPTS_PER_CONNECTION_MAX * if self.version == Some(Version::V5) { 2 } else { 1 };
        assert!(self.owed.len() <= most, "receipts are bounded");
    }

    /// An open receipt to settle.
    pub(super) fn receipt(&self, index: usize) -> Option<Receipt> {
        let mut receipts = self.owed.iter().filter_map(|owed| match owed.when {
            When::Settled(receipt, _) => Some(receipt),
            _ => None,
        });
        receipts.nth(index)
    }

    pub(super) fn settle(&mut self, settled: Receipt, outcome: Outcome) {
        for owed in &mut self.owed {
            if let When::Settled(receipt, slot) = &mut owed.when
                && *receipt == settled
            {
                slot.get_or_insert(outcome);
            }
        }
    }

    pub(super) fn deliver(&mut self, downlink: &Downlink<'_>, sending: Sending, delivery: Delivery) {
        let topics = topics(downlink);
        match delivery {
            Delivery::NotSubscribed => {
                let heard = topics.iter().find(|topic| self.qos_of(topic).is_some());
                // Attributes also go to the profile's topic, whose name is the client's own.
                let own = matches!(downlink, Downlink::AttributesUpdated { .. }) && self.has_own();
                assert!(heard.is_none() && !own && !sending.again, "{downlink:?} is subscribed to: {:?}", self.subscriptions);
            }
            Delivery::Queued | Delivery::QueuedUnacked => self.sent.push_back((topics, sending, delivery)),
            Delivery::Full | Delivery::TooLarge => {}
        }
    }

    fn has_own(&self) -> bool {
        self.subscriptions.keys().any(|filter| filter.starts_with("down/"))
    }

    /// The highest QoS of all subscriptions that match.
    fn qos_of(&self, topic: &str) -> Option<u8> {
        let matching = self.subscriptions.iter().filter(|(filter, _)| matches(filter, topic));
        matching.map(|(_, qos)| *qos).max()
    }

    /// What the server said.
    pub(super) fn hear(&mut self, output: &[u8]) {
        for frame in frames(output, self.client.packet_bytes_max) {
            match frame.packet_type {
                PacketType::Connack => {}
                _ if !self.admitted => panic!("only CONNACK comes before admission"),
                PacketType::Puback | PacketType::Pubrec | PacketType::Pubcomp => self.hear_ack(&frame),
                PacketType::Publish => self.hear_publish(&frame),
                PacketType::Suback | PacketType::Unsuback => self.hear_suback(&frame),
                PacketType::Pingresp | PacketType::Disconnect => {}
                other => panic!("a server does not send {other:?}"),
            }
        }
    }

    fn hear_ack(&mut self, frame: &mqtt::Frame<'_>) {
        let version = self.version.expect("CONNECT was read");
        let owed = self.owed.pop_front().expect("an acknowledgement is owed");
        assert_eq!(frame.packet_type, owed.packet, "in arrival order [MQTT-4.6.0-2]");
        assert_eq!(frame.body.get(..2), Some(&owed.packet_id.to_be_bytes()[..]), "[MQTT-2.2.1-5]");
        let outcome = match owed.when {
            When::Settled(_, Some(outcome)) | When::Now(outcome) => outcome,
            When::Settled(_, None) | When::WithTheFirst => panic!("an acknowledgement comes after its receipt settled"),
        };
        let expected = match (owed.packet, outcome) {
            (PacketType::Pubcomp, Outcome::Stored) => 0,
            (PacketType::Pubcomp, _) if version == Version::V5 => 0x92,
            (PacketType::Pubcomp, _) => 0,
            _ => code(version, outcome),
        };
        assert_eq!(frame.body.get(2).copied().unwrap_or(0), expected, "the outcome's code");
        if let When::Settled(..) = owed.when {
            self.ended(owed.packet, owed.packet_id, outcome, expected >= 0x80);
        }
    }

    /// The first of its kind was acknowledged.
    fn ended(&mut self, packet: PacketType, packet_id: u16, outcome: Outcome, failed: bool) {
        match packet {
            PacketType::Pubrec if failed => drop(self.flows.remove(&packet_id)),
            PacketType::Pubrec => {
                if let Some(flow) = self.flows.get_mut(&packet_id) {
                    flow.stage = Stage::Received;
                }
            }
            PacketType::Pubcomp => drop(self.flows.remove(&packet_id)),
            _ => return,
        }
        for owed in &mut self.owed {
            if (owed.packet, owed.packet_id) == (packet, packet_id) {
                match owed.when {
                    When::WithTheFirst => owed.when = When::Now(outcome),
                    When::Settled(..) => break,
                    When::Now(_) => {}
                }
            }
        }
    }

    fn hear_publish(&mut self, frame: &mqtt::Frame<'_>) {
        let version = self.version.expect("CONNECT was read");
        let Ok(Packet::Publish(publish)) = mqtt::decode(version, frame) else { panic!("a PUBLISH that can be read") };
        let (topics, sending, delivery) = self.sent.pop_front().expect("a PUBLISH is a downlink");
        if let Some(alias) = publish.topic_alias {
            assert!(alias <= self.client.topic_alias_maximum, "[MQTT-3.1.2-26]");
            if !publish.topic.is_empty() {
                self.taught.insert(alias, String::from(publish.topic));
            }
        }
        let topic = match publish.topic_alias {
            Some(alias) if publish.topic.is_empty() => self.taught.get(&alias).expect("an alias that was taught").clone(),
            _ => String::from(publish.topic),
        };
        assert!(topic.starts_with("v2/r/res/") || topic.starts_with("down/") || topics.contains(&topic), "{topic}: {topics:?}");
        // A chunk for ThingsBoard's own client matches no filter of its.
        let qos = self.qos_of(&topic).or_else(|| self.qos_of("v2/fw/response/1"));
        // What was sent before the client unsubscribed is still delivered [MQTT-3.10.4-3].
        let qos = qos.or_else(|| sending.again.then_some(1));
        assert_eq!(qos, Some(publish.qos as u8), "[MQTT-3.3.4-2]: {topic}");
        assert_eq!(publish.qos == Qos::AtMostOnce, delivery == Delivery::QueuedUnacked);
        assert_eq!(publish.dup, sending.again && publish.qos != Qos::AtMostOnce, "[MQTT-3.3.1-1], [MQTT-3.3.1-2]");
        assert!(!publish.retain, "nothing is retained");
        if let Some(packet_id) = publish.packet_id {
            assert_eq!(packet_id, sending.packet_id.unwrap_or(packet_id));
            let before = self.in_flight.insert(packet_id, sending.number);
            assert_eq!(before, None, "[MQTT-2.2.1-4]: an identifier in use");
            assert!(self.in_flight.len() <= self.client.receive_maximum.min(limits::DOWNLINKS_IN_FLIGHT_MAX), "[MQTT-3.3.4-9]");
        }
    }

    fn hear_suback(&mut self, frame: &mqtt::Frame<'_>) {
        let head = if self.version == Some(Version::V5) { 3 } else { 2 };
        let codes = frame.body.get(head..).unwrap_or_default();
        let id = match self.asked.pop_front().expect("an answer to a question") {
            Asked::Subscribe { packet_id, filters } => {
                assert_eq!((frame.packet_type, codes.len()), (PacketType::Suback, filters.len()), "[MQTT-3.8.4-6]");
                let granted = filters.into_iter().zip(codes).filter(|(_, code)| **code < 0x80);
                self.subscriptions.extend(granted.map(|(filter, code)| (filter, *code)));
                packet_id
            }
            Asked::Unsubscribe { packet_id, filters } => {
                let expected = if head == 3 { filters.len() } else { 0 };
                self.subscriptions.retain(|filter, _| !filters.contains(filter));
                assert_eq!((frame.packet_type, codes.len()), (PacketType::Unsuback, expected));
                packet_id
            }
        };
        assert_eq!(frame.body.get(..2), Some(&id.to_be_bytes()[..]), "[MQTT-2.2.1-6]");
    }

    /// Nothing is held back.
    pub(super) fn check_idle(&self, unsettled: usize) {
        let due = matches!(self.owed.front(), Some(Owed { when: When::Now(_) | When::Settled(_, Some(_)), .. }));
        assert!(!due, "a settled front is acknowledged");
        assert_eq!(unsettled, self.owed.len(), "one acknowledgement per promise");
        assert!(self.sent.is_empty() && self.asked.is_empty(), "what is queued is sent");
    }

    pub(super) fn check_kept(&self, kept: &Kept) {
        let received = self.flows.iter().filter(|(_, flow)| flow.stage != Stage::Promised).map(|(id, _)| *id);
        assert_eq!(kept.received.iter().copied().collect::<BTreeSet<_>>(), received.collect::<BTreeSet<_>>(), "MQTT 5, 4.1");
        let subscriptions: BTreeMap<_, _> = kept.subscriptions.iter().cloned().collect();
        assert_eq!(subscriptions, self.subscriptions, "MQTT 5, 4.1");
    }
}

/// Its correlation data are more than is kept.
fn is_burdened(publish: &Publish<'_>) -> bool {
    let mut properties = publish.properties.iter();
    properties.any(|property| matches!(property, Property::CorrelationData(bytes) if bytes.len() > limits::CORRELATION_BYTES_MAX))
}

/// Where a downlink may go, but for the profile's topic and response topics.
fn topics(downlink: &Downlink<'_>) -> Vec<String> {
    let forms = |long: String, short: &str, id: Option<u32>| {
        let id = id.map(|id| format!("/{id}")).unwrap_or_default();
        vec![long, format!("{short}{id}"), format!("{short}/j{id}"), format!("{short}/p{id}")]
    };
    match *downlink {
        Downlink::AttributesUpdated { .. } => forms("v1/devices/me/attributes".into(), "v2/a", None),
        Downlink::AttributesResponse { id, .. } => forms(format!("v1/devices/me/attributes/response/{id}"), "v2/a/res", Some(id)),
        Downlink::RpcRequest { id, .. } => forms(format!("v1/devices/me/rpc/request/{id}"), "v2/r/req", Some(id)),
        Downlink::RpcResponse { id, .. } => forms(format!("v1/devices/me/rpc/response/{id}"), "v2/r/res", Some(id)),
        Downlink::Provisioned { .. } => vec!["/provision/response".into()],
        Downlink::Chunk { package: Package::Firmware, request, chunk, .. } => {
            vec![format!("v2/fw/response/{request}/chunk/{chunk}")]
        }
        Downlink::Chunk { request, chunk, .. } => vec![format!("v2/sw/response/{request}/chunk/{chunk}")],
        Downlink::ChunkError { package: Package::Firmware, .. } => vec!["v2/fw/error".into()],
        Downlink::ChunkError { .. } => vec!["v2/sw/error".into()],
        Downlink::Download { .. } => Vec::new(),
        Downlink::GatewayAttributesUpdated { .. } => vec!["v1/gateway/attributes".into()],
        Downlink::GatewayAttributesResponse { .. } => vec!["v1/gateway/attributes/response".into()],
        Downlink::GatewayRpcRequest { .. } => vec!["v1/gateway/rpc".into()],
        Downlink::GatewayDisconnect { .. } => vec!["v1/gateway/disconnect".into()],
    }
}

/// MQTT 5, 4.7, by recursion.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    match (filter.split_once('/'), topic.split_once('/')) {
        _ if filter == "#" => true,
        (None, None) => filter == "+" || filter == topic,
        (Some((level, rest)), Some((name, tail))) => (level == "+" || level == name) && matches(rest, tail),
        (Some((level, "#")), None) => level == "+" || level == topic,
        _ => false,
    }
}
