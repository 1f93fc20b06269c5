//! SUBSCRIBE and UNSUBSCRIBE: a device may have its own topics (reference 1.1, 1.2), nothing else; this is no general broker.
//! Never publishes anything.

use super::route::Rights;
use super::subscriptions::Granted;
use super::{Session, Step};
use crate::codec::mqtt::{
    Property, Qos, ReasonCode, Subscribe, Unsubscribe, Version, encode_suback, encode_unsuback, suback_bytes,
};
use crate::session::{Intent, Kept, Reason};

/// Takes a SUBSCRIBE and queues its SUBACK [MQTT-3.8.4-1], one code per filter [MQTT-3.8.4-6].
pub(super) fn subscribe<'a>(session: &mut Session, subscribe: &Subscribe<'_>) -> Result<Step<'a>, Reason> {
    // MQTT 5, 3.2.2.3.12: CONNACK said that there are none.
    if subscribe.properties.iter().any(|property| matches!(property, Property::SubscriptionId(_))) {
        return Err(Reason::SubscriptionIdsNotSupported);
    }
    let count = subscribe.filters.count();
    check_answer(session, count)?;
    let version = session.version;
    let rights = Rights { topics: session.topics.as_deref(), gateway: session.gateway, provisioning: session.provisioning };
    let subscriptions = &mut session.subscriptions;
    let codes = subscribe.filters.map(|filter| {
        let granted = subscriptions.grant(filter.name, filter.qos, &rights);
        suback_code(granted, filter.name, version)
    });
    encode_suback(version, subscribe.packet_id, count, codes, &mut session.outbox);
    Ok(Step::Intent(Intent::Subscribed))
}

fn suback_code(granted: Granted, filter: &str, version: Version) -> ReasonCode {
    match granted {
        Granted::Qos(Qos::AtMostOnce) => ReasonCode::SUCCESS,
        Granted::Qos(_) => ReasonCode::GRANTED_QOS_1,
        // [MQTT-3.9.3-2] (3.1.1): the one failure code.
        _ if version != Version::V5 => ReasonCode::UNSPECIFIED_ERROR,
        Granted::TooMany => ReasonCode::QUOTA_EXCEEDED,
        Granted::NotTheirs if filter.starts_with("$share/") => ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        Granted::NotTheirs => ReasonCode::TOPIC_FILTER_INVALID,
    }
}

/// Takes an UNSUBSCRIBE and queues its UNSUBACK, also where nothing was subscribed [MQTT-3.10.4-5].
pub(super) fn unsubscribe<'a>(session: &mut Session, unsubscribe: &Unsubscribe<'_>) -> Result<Step<'a>, Reason> {
    let count = unsubscribe.filters.count();
    check_answer(session, count)?;
    let subscriptions = &mut session.subscriptions;
    let mut codes = unsubscribe
        .filters
        .map(|filter| if subscriptions.revoke(filter) { ReasonCode::SUCCESS } else { ReasonCode::NO_SUBSCRIPTION_EXISTED });
    // Collected by the encoder only in MQTT 5; before, the codes still have to be made.
    encode_unsuback(session.version, unsubscribe.packet_id, count, &mut codes, &mut session.outbox);
    codes.for_each(drop);
    Ok(Step::Intent(Intent::Unsubscribed))
}

/// What a kept session was subscribed to. What the device may no longer see is dropped.
pub(super) fn restore(session: &mut Session, kept: &Kept) {
    let rights = Rights { topics: session.topics.as_deref(), gateway: session.gateway, provisioning: session.provisioning };
    for (filter, qos) in &kept.subscriptions {
        let qos = Qos::from_bits(*qos).unwrap_or(Qos::AtMostOnce);
        session.subscriptions.grant(filter, qos, &rights);
    }
}

/// [MQTT-3.1.2-24] (5): an answer that the client does not accept cannot be sent, and cannot be left out either.
fn check_answer(session: &Session, codes: usize) -> Result<(), Reason> {
    let packet_bytes_max = usize::try_from(session.packet_bytes_max).unwrap_or(usize::MAX);
    if suback_bytes(session.version, codes) > packet_bytes_max { Err(Reason::PacketTooLarge) } else { Ok(()) }
}
