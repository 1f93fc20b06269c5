//! Subscriptions: a device may have its own four topics, nothing else; this is no general broker. Never matches topics.

use super::Session;
use crate::codec::mqtt::{
    Property, Qos, ReasonCode, Subscribe, Unsubscribe, Version, encode_suback, encode_unsuback, suback_bytes,
};
use crate::session::{Downlink, Intent, Reason};

/// What may be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Attributes,
    AttributesResponses,
    RpcRequests,
    RpcResponses,
}

impl Topic {
    /// A filter is one of the four, letter by letter, or none.
    fn of_filter(filter: &str) -> Option<Self> {
        match filter {
            "v1/devices/me/attributes" => Some(Self::Attributes),
            "v1/devices/me/attributes/response/+" => Some(Self::AttributesResponses),
            "v1/devices/me/rpc/request/+" => Some(Self::RpcRequests),
            "v1/devices/me/rpc/response/+" => Some(Self::RpcResponses),
            _ => None,
        }
    }

    pub(super) fn of_downlink(downlink: &Downlink<'_>) -> Self {
        match downlink {
            Downlink::AttributesUpdated { .. } => Self::Attributes,
            Downlink::AttributesResponse { .. } => Self::AttributesResponses,
            Downlink::RpcRequest { .. } => Self::RpcRequests,
            Downlink::RpcResponse { .. } => Self::RpcResponses,
        }
    }
}

/// The QoS granted per topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subscriptions([Option<Qos>; 4]);

impl Subscriptions {
    pub(super) fn granted(&self, topic: Topic) -> Option<Qos> {
        self.0[topic as usize]
    }

    /// The code of one SUBACK entry.
    fn grant(&mut self, filter: &str, asked: Qos, version: Version) -> ReasonCode {
        let Some(topic) = Topic::of_filter(filter) else {
            return match version {
                Version::V5 if filter.starts_with("$share/") => ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
                Version::V5 => ReasonCode::TOPIC_FILTER_INVALID,
                // [MQTT-3.9.3-2] (3.1.1): the one failure code.
                Version::V31 | Version::V311 => ReasonCode::UNSPECIFIED_ERROR,
            };
        };
        // The last subscription to a topic counts [MQTT-3.8.4-3].
        let granted = asked.min(Qos::AtLeastOnce);
        self.0[topic as usize] = Some(granted);
        if granted == Qos::AtMostOnce { ReasonCode::SUCCESS } else { ReasonCode::GRANTED_QOS_1 }
    }

    /// The code of one UNSUBACK entry.
    fn revoke(&mut self, filter: &str) -> ReasonCode {
        match Topic::of_filter(filter).and_then(|topic| self.0[topic as usize].take()) {
            Some(_) => ReasonCode::SUCCESS,
            None => ReasonCode::NO_SUBSCRIPTION_EXISTED,
        }
    }
}

/// Takes a SUBSCRIBE and queues its SUBACK [MQTT-3.8.4-1], one code per filter [MQTT-3.8.4-6].
pub(super) fn subscribe<'a>(session: &mut Session, subscribe: &Subscribe<'_>) -> Result<Intent<'a>, Reason> {
    // MQTT 5, 3.2.2.3.12: CONNACK said that there are none.
    if subscribe.properties.iter().any(|property| matches!(property, Property::SubscriptionId(_))) {
        return Err(Reason::SubscriptionIdsNotSupported);
    }
    let count = subscribe.filters.count();
    check_answer(session, count)?;
    let (version, subscriptions) = (session.version, &mut session.subscriptions);
    let codes = subscribe.filters.map(|filter| subscriptions.grant(filter.name, filter.qos, version));
    encode_suback(version, subscribe.packet_id, count, codes, &mut session.outbox);
    Ok(Intent::Subscribed)
}

/// Takes an UNSUBSCRIBE and queues its UNSUBACK, also where nothing was subscribed [MQTT-3.10.4-5].
pub(super) fn unsubscribe<'a>(session: &mut Session, unsubscribe: &Unsubscribe<'_>) -> Result<Intent<'a>, Reason> {
    let count = unsubscribe.filters.count();
    check_answer(session, count)?;
    let subscriptions = &mut session.subscriptions;
    // Collected by the encoder only in MQTT 5; before, the codes still have to be made.
    let mut codes = unsubscribe.filters.map(|filter| subscriptions.revoke(filter));
    encode_unsuback(session.version, unsubscribe.packet_id, count, &mut codes, &mut session.outbox);
    codes.for_each(drop);
    Ok(Intent::Unsubscribed)
}

/// [MQTT-3.1.2-24] (5): an answer that the client does not accept cannot be sent, and cannot be left out either.
fn check_answer(session: &Session, codes: usize) -> Result<(), Reason> {
    let packet_bytes_max = usize::try_from(session.packet_bytes_max).unwrap_or(usize::MAX);
    if suback_bytes(session.version, codes) > packet_bytes_max { Err(Reason::PacketTooLarge) } else { Ok(()) }
}
