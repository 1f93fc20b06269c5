//! CONNECT and its answer. Never judges the credential: it hands it out and waits to be told.

use super::{Phase, Session, keepalive};
use crate::clock::Instant;
use crate::codec::mqtt::{ConnackProperties, Connect, Property, Qos, ReasonCode, Version, encode_connack};
use crate::limits;
use crate::session::{Close, Credential, Intent, Reason, Refusal};

/// What CONNECT asked for and CONNACK must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    keep_alive_s: u16,
    keep_alive_changed: bool,
    session_expiry_asked: bool,
    assigns_client_id: bool,
}

impl Session {
    /// The shard knows the device: queues CONNACK. Does nothing unless CONNECT is waiting for its answer.
    pub fn admit(&mut self, now: Instant) {
        let Phase::Offered(terms) = self.phase else { return };
        // Unique among the sessions of its device, which is all that an identifier must be here (DESIGN 8.4, 12).
        let assigned = terms.assigns_client_id.then(|| format!("tidegate-{:016x}", now.nanos()));
        let properties = ConnackProperties {
            // Sessions do not outlive their connection in this version, and the client is told.
            session_expiry_s: terms.session_expiry_asked.then_some(0),
            receive_maximum: u16::try_from(limits::RECEIPTS_PER_CONNECTION_MAX).ok(),
            maximum_qos: Some(Qos::AtLeastOnce),
            retain_available: Some(false),
            maximum_packet_size: u32::try_from(limits::PACKET_BYTES_MAX).ok(),
            // [MQTT-3.1.3-6], [MQTT-3.2.2-16]
            assigned_client_id: assigned.as_deref(),
            // The `+` of the answer topics.
            wildcard_available: Some(true),
            subscription_ids_available: Some(false),
            shared_available: Some(false),
            // [MQTT-3.2.2-21]: the client uses this instead of what it asked for.
            server_keep_alive_s: terms.keep_alive_changed.then_some(terms.keep_alive_s),
        };
        // Session present 0 [MQTT-3.2.2-2]: there is never one.
        encode_connack(self.version, ReasonCode::SUCCESS, &properties, &mut self.outbox);
        self.keep_alive.start(terms.keep_alive_s, now);
        self.phase = Phase::Connected;
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
    pub(super) fn offer<'a>(&mut self, connect: &Connect<'a>) -> Result<Intent<'a>, Reason> {
        self.version = connect.version;
        if let Err(refusal) = check(connect) {
            self.answer_refusal(connect.version, refusal);
            return Err(Reason::Refused(refusal));
        }
        let mut session_expiry_asked = false;
        for property in connect.properties.iter() {
            match property {
                Property::SessionExpiryS(seconds) => session_expiry_asked = seconds > 0,
                Property::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = bytes,
                _ => {}
            }
        }
        self.session_expiry_is_zero = !session_expiry_asked;
        let keep_alive_s = keepalive::granted_s(connect.keep_alive_s);
        self.phase = Phase::Offered(Terms {
            keep_alive_s,
            keep_alive_changed: keep_alive_s != connect.keep_alive_s,
            session_expiry_asked,
            assigns_client_id: connect.client_id.is_empty(),
        });
        Ok(Intent::Admit(Credential {
            token: connect.user_name.unwrap_or_default(),
            client_id: connect.client_id,
            has_password: connect.password.is_some(),
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
        encode_connack(version, refusal.code(version), &ConnackProperties::default(), &mut self.outbox);
    }
}

fn check(connect: &Connect<'_>) -> Result<(), Refusal> {
    let v5 = connect.version == Version::V5;
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
    match connect.will {
        // [MQTT-3.2.2-12], [MQTT-3.2.2-13]: a will beyond what we can do refuses the connection. Before MQTT 5 nothing can
        // say so; the will is taken and, as in ThingsBoard, never published.
        Some(will) if v5 && will.qos == Qos::ExactlyOnce => Err(Refusal::WillQosNotSupported),
        Some(will) if v5 && will.retain => Err(Refusal::WillRetainNotSupported),
        _ => Ok(()),
    }
}
