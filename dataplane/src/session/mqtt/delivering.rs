//! PUBLISH to the client: a downlink to its topic, within what the client takes. Never waits: what has no room is the shard's to
//! keep.

use std::borrow::Cow;

use super::Session;
use super::rare::{Rare, Request};
use super::route::Form;
use super::subscriptions::{Family, Subscriptions, Target};
use crate::codec::mqtt::{Outgoing, Qos, encode_publish, outgoing_bytes};
use crate::limits;
use crate::session::{Delivery, Downlink, Format, Sending};

/// Queues a PUBLISH to the client if it subscribed, has room and accepts its size.
pub(super) fn deliver(session: &mut Session, downlink: &Downlink<'_>, sending: Sending) -> Delivery {
    let (family, numbers) = Family::of(downlink);
    let delivery = queue(session, downlink, sending);
    if delivery != Delivery::Full
        && let Some(rare) = &mut session.rare
    {
        rare.requests.close(family, numbers);
        session.shed_rare();
    }
    delivery
}

/// How the payload of a downlink has to be written to be understood where it goes.
pub(super) fn format(session: &Session, downlink: &Downlink<'_>) -> Option<Format> {
    let request = request_of(session.rare.as_deref(), downlink);
    target(&session.subscriptions, request, downlink).map(|target| target.form.format())
}

/// Whether a downlink would go to a topic of ThingsBoard's first version, or to one of the profile.
pub(super) fn is_of_v1(session: &Session, downlink: &Downlink<'_>) -> bool {
    let request = request_of(session.rare.as_deref(), downlink);
    target(&session.subscriptions, request, downlink).is_none_or(|target| target.form == Form::V1)
}

fn request_of<'a>(rare: Option<&'a Rare>, downlink: &Downlink<'_>) -> Option<&'a Request> {
    let (family, numbers) = Family::of(downlink);
    rare?.requests.of(family, numbers)
}

fn target<'a>(subscriptions: &'a Subscriptions, request: Option<&'a Request>, downlink: &Downlink<'_>) -> Option<Target<'a>> {
    let (family, numbers) = Family::of(downlink);
    let form = request.map(|request| request.form).unwrap_or_default();
    // MQTT 5, 4.10: the requester names the topic; it hears there only if it listens there.
    if let Some(topic) = request.and_then(|request| request.response_topic.as_deref())
        && let Some(qos) = subscriptions.qos_of_topic(topic)
    {
        return Some(Target { topic: Cow::Borrowed(topic), qos, form, slot: None });
    }
    subscriptions.target(family, numbers, form)
}

fn queue(session: &mut Session, downlink: &Downlink<'_>, sending: Sending) -> Delivery {
    let (family, numbers) = Family::of(downlink);
    let rare = session.rare.as_deref();
    let request = request_of(rare, downlink);
    let heard = target(&session.subscriptions, request, downlink);
    let heard = heard.or_else(|| if sending.again { Subscriptions::usual(family, numbers) } else { None });
    let Some(Target { topic, qos, slot, .. }) = heard else { return Delivery::NotSubscribed };
    let alias = slot.filter(|_| session.topic_alias_maximum > 0).and_then(|slot| {
        let maximum = session.topic_alias_maximum;
        rare.map_or(Some((1, false)), |rare| rare.aliases.outbound(slot, maximum)).map(|(alias, known)| (slot, alias, known))
    });
    let outgoing = Outgoing {
        // [MQTT-3.3.2-8]: with an alias that is known the name is left out.
        topic: if alias.is_some_and(|(_, _, known)| known) { "" } else { &topic },
        topic_alias: alias.map(|(_, alias, _)| alias),
        correlation: request.and_then(|request| request.correlation.as_deref()),
        // The length does not depend on which identifier it will be.
        packet_id: (qos != Qos::AtMostOnce).then_some(1),
        // [MQTT-3.3.1-1], [MQTT-3.3.1-2]
        dup: sending.again && qos != Qos::AtMostOnce,
        payload: payload(downlink),
    };
    let Some(bytes) = outgoing_bytes(session.version, &outgoing) else { return Delivery::TooLarge };
    // [MQTT-3.1.2-24] (5): never larger than the client accepts.
    if u32::try_from(bytes).map_or(true, |bytes| bytes > session.packet_bytes_max) {
        return Delivery::TooLarge;
    }
    if session.outbox.len().saturating_add(bytes) > limits::OUTBOX_BYTES_MAX {
        return Delivery::Full;
    }
    let packet_id = if qos == Qos::AtMostOnce {
        None
    } else {
        let taken = session.downlinks.take(session.receive_maximum, sending.packet_id, sending.number);
        if taken.is_none() {
            return Delivery::Full;
        }
        taken
    };
    encode_publish(session.version, &Outgoing { packet_id, ..outgoing }, &mut session.outbox);
    if let Some((slot, _, false)) = alias {
        session.rare_mut().aliases.teach(slot);
    }
    if packet_id.is_some() { Delivery::Queued } else { Delivery::QueuedUnacked }
}

fn payload<'a>(downlink: &Downlink<'a>) -> &'a [u8] {
    match *downlink {
        Downlink::AttributesUpdated { json }
        | Downlink::AttributesResponse { json, .. }
        | Downlink::RpcRequest { json, .. }
        | Downlink::RpcResponse { json, .. }
        | Downlink::Provisioned { json }
        | Downlink::GatewayAttributesUpdated { json }
        | Downlink::GatewayAttributesResponse { json }
        | Downlink::GatewayRpcRequest { json }
        | Downlink::GatewayDisconnect { json } => json,
        Downlink::Chunk { bytes, .. } | Downlink::Download { bytes, .. } => bytes,
        Downlink::ChunkError { text, .. } => text.as_bytes(),
    }
}
