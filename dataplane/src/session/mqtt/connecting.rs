//! CONNECT and its answer. Never judges the credential: it hands it out and waits to be told.

use std::hash::{BuildHasher, RandomState};

use super::exactly_once::Unreleased;
use super::{Phase, Session, keepalive, subscribing};
use crate::clock::Instant;
use crate::codec::mqtt::{self, ConnackProperties, Connect, Property, ReasonCode, Version, encode_connack};
use crate::limits;
use crate::session::{Admission, Close, Credential, Intent, Reason, Refusal, Will, Wish};

/// What CONNECT asked for and CONNACK must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    keep_alive_s: u16,
    keep_alive_changed: bool,
    /// As the client put it, unbounded; 0 if it said nothing.
    expiry_asked_s: u32,
    clean_start: bool,
    /// What makes the client identifier that the client did not give; 0: it gave one, or cannot be told.
    assigned: u64,
}

impl Session {
    /// The shard knows the device: queues CONNACK. Does nothing unless CONNECT is waiting for its answer.
    pub fn admit(&mut self, admission: Admission, now: Instant) {
        let Phase::Offered(terms) = self.phase else { return };
        let Admission { kept, expiry_s, topics, gateway, provisioning } = admission;
        let assigned = self.assigned_client_id();
        // [MQTT-3.2.2-2]: whatever lay there, it is not resumed.
        let kept = kept.filter(|_| !terms.clean_start);
        let properties = ConnackProperties {
            // MQTT 5, 3.2.2.3.2: the client is told where it differs from what it asked for.
            session_expiry_s: (expiry_s != terms.expiry_asked_s).then_some(expiry_s),
            receive_maximum: u16::try_from(limits::RECEIPTS_PER_CONNECTION_MAX).ok(),
            maximum_packet_size: u32::try_from(limits::PACKET_BYTES_MAX).ok(),
            topic_alias_maximum: Some(limits::TOPIC_ALIASES_MAX),
            // [MQTT-3.1.3-6], [MQTT-3.2.2-16]
            assigned_client_id: assigned.as_deref(),
            subscription_ids_available: Some(false),
            shared_available: Some(false),
            // [MQTT-3.2.2-21]: the client uses this instead of what it asked for.
            server_keep_alive_s: terms.keep_alive_changed.then_some(terms.keep_alive_s),
            ..ConnackProperties::default()
        };
        (self.keeps, self.topics, self.gateway, self.provisioning) = (expiry_s > 0, topics, gateway, provisioning);
        // [MQTT-3.2.2-3]
        encode_connack(self.version, kept.is_some(), ReasonCode::SUCCESS, &properties, &mut self.outbox);
        if let Some(kept) = kept {
            subscribing::restore(self, &kept);
            self.rare_mut().unreleased = Unreleased::restored(&kept);
            self.shed_rare();
        }
        self.keep_alive.start(terms.keep_alive_s, now);
        self.phase = Phase::Connected;
    }

    /// The client identifier that CONNACK will assign, if CONNECT left it to us; asked for while CONNECT waits for its answer.
    /// Unique among the sessions of its device, which is all that an identifier must be here (DESIGN 8.4, 12).
    #[must_use]
    pub fn assigned_client_id(&self) -> Option<String> {
        match self.phase {
            Phase::Offered(Terms { assigned: 1.., .. }) if self.version != Version::V5 => None,
            Phase::Offered(Terms { assigned: number @ 1.., .. }) => Some(format!("tidegate-{number:016x}")),
            _ => None,
        }
    }

    /// The shard refuses: queues CONNACK with the code of the client's version. The connection closes after it
    /// [MQTT-3.2.2-5] (3.1.1), [MQTT-3.2.2-7] (5). Queues nothing unless CONNECT is waiting for its answer.
    pub fn refuse(&mut self, refusal: Refusal) -> Close {
        if matches!(self.phase, Phase::Offered(_)) {
            self.answer_refusal(self.version, refusal);
        }
        self.phase = Phase::Ended;
        Close { reason: Reason::Refused(refusal) }
    }

    /// CONNECT was read: what the codec cannot know is checked, then the shard is asked.
    pub(super) fn offer<'a>(&mut self, connect: &Connect<'a>, now: Instant) -> Result<Intent<'a>, Reason> {
        self.version = connect.version;
        let mut expiry_asked_s = 0;
        for property in connect.properties.iter() {
            match property {
                Property::SessionExpiryS(seconds) => expiry_asked_s = seconds,
                Property::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = bytes,
                Property::TopicAliasMaximum(maximum) => self.topic_alias_maximum = maximum,
                Property::RequestProblem(wanted) => self.explains = wanted,
                _ => {}
            }
        }
        if let Err(refusal) = check(connect) {
            self.answer_refusal(connect.version, refusal);
            return Err(Reason::Refused(refusal));
        }
        self.session_expiry_is_zero = expiry_asked_s == 0;
        let keep_alive_s = keepalive::granted_s(connect.keep_alive_s);
        self.phase = Phase::Offered(Terms {
            keep_alive_s,
            keep_alive_changed: keep_alive_s != connect.keep_alive_s,
            expiry_asked_s,
            clean_start: connect.clean_start,
            // Connections of one turn have one `now`: chance tells them apart.
            assigned: if connect.client_id.is_empty() { RandomState::new().hash_one(now.nanos()).max(1) } else { 0 },
        });
        let expiry_s = match connect.version {
            Version::V5 => expiry_asked_s.min(limits::SESSION_EXPIRY_S_MAX),
            // Before MQTT 5 a session that is not clean has no end; here it has one.
            Version::V31 | Version::V311 if connect.clean_start => 0,
            Version::V31 | Version::V311 => limits::SESSION_EXPIRY_S_MAX,
        };
        Ok(Intent::Admit(Wish {
            credential: Credential { user_name: connect.user_name, client_id: connect.client_id, password: connect.password },
            clean_start: connect.clean_start,
            expiry_s,
            will: connect.will.as_ref().map(will),
        }))
    }

    /// A protocol level nobody here speaks. A level above 5 comes from a client that knows reason codes; any other is told
    /// in the form of 3.1.1 [MQTT-3.1.2-2].
    pub(super) fn refuse_level(&mut self, level: u8) -> Reason {
        let version = if (6..0x80).contains(&level) { Version::V5 } else { Version::V311 };
        self.answer_refusal(version, Refusal::Version(level));
        Reason::Refused(Refusal::Version(level))
    }

    fn answer_refusal(&mut self, version: Version, refusal: Refusal) {
        // [MQTT-3.1.2-24]: nothing that the client does not accept, not even this.
        if self.packet_bytes_max < REFUSAL_BYTES {
            return;
        }
        // [MQTT-3.2.2-19]
        let properties = ConnackProperties { reason_string: self.bearable(refusal.text()), ..ConnackProperties::default() };
        encode_connack(version, false, refusal.code(version), &properties, &mut self.outbox);
    }
}

/// A CONNACK of MQTT 5 that only says no.
const REFUSAL_BYTES: u32 = 5;

/// Its QoS and its retain flag change nothing: a will is said by storing it, and nothing is retained.
fn will<'a>(will: &mqtt::Will<'a>) -> Will<'a> {
    let delay_s = will.properties.iter().find_map(|property| match property {
        Property::WillDelayS(seconds) => Some(seconds),
        _ => None,
    });
    Will { topic: will.topic, payload: will.payload, delay_s: delay_s.unwrap_or(0) }
}

fn check(connect: &Connect<'_>) -> Result<(), Refusal> {
    // [MQTT-3.1.3-8] (3.1.1): no identifier only with a clean session. MQTT 3.1 always has one.
    let must_name_itself = match connect.version {
        Version::V31 => true,
        Version::V311 => !connect.clean_start,
        Version::V5 => false,
    };
    if connect.client_id.len() > limits::CLIENT_ID_BYTES_MAX || (connect.client_id.is_empty() && must_name_itself) {
        return Err(Refusal::ClientIdInvalid);
    }
    for property in connect.properties.iter() {
        match property {
            // MQTT 5, 4.12: no method is supported.
            Property::AuthenticationMethod(_) => return Err(Refusal::AuthenticationMethod),
            Property::MaximumPacketSize(bytes) if bytes < limits::CLIENT_PACKET_BYTES_MIN => {
                return Err(Refusal::PacketSizeTooSmall);
            }
            _ => {}
        }
    }
    Ok(())
}
