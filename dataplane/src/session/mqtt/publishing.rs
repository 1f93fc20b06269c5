//! PUBLISH both ways: topics of devices to intents, downlinks to topics. Never looks into a payload.

use super::Session;
use super::subscribing::Topic;
use crate::codec::mqtt::{Outgoing, Publish, Qos, Version, encode_publish, outgoing_bytes};
use crate::limits;
use crate::session::{Delivery, Downlink, Intent, Reason, Receipt};

/// Takes a PUBLISH; QoS 1 gets a receipt.
pub(super) fn receive<'a>(session: &mut Session, publish: &Publish<'a>) -> Result<Intent<'a>, Reason> {
    // [MQTT-3.3.2-9]: CONNACK gave no topic alias maximum, so it is 0.
    if publish.topic_alias.is_some() {
        return Err(Reason::TopicAliasInvalid);
    }
    // [MQTT-3.2.2-14]: CONNACK said that retain is not available. Before MQTT 5 the flag is ignored, as in ThingsBoard.
    if publish.retain && session.version == Version::V5 {
        return Err(Reason::RetainNotSupported);
    }
    // [MQTT-3.2.2-11]: CONNACK said maximum QoS 1. Before MQTT 5 nothing could say so, but a PUBACK would break the
    // client's flow and silence would make it wait for ever.
    if publish.qos == Qos::ExactlyOnce {
        return Err(Reason::QosNotSupported);
    }
    if publish.payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(Reason::PacketTooLarge);
    }
    let receipt = match publish.packet_id {
        // [MQTT-3.3.4-7]: more than the receive maximum. Clients before MQTT 5 are not read this far.
        Some(_) if session.receipts.len() >= limits::RECEIPTS_PER_CONNECTION_MAX => {
            return Err(Reason::ReceiveMaximumExceeded);
        }
        Some(packet_id) => Some(session.receipts.promise(packet_id)),
        None => None,
    };
    Ok(intent(publish.topic, publish.payload, receipt))
}

fn intent<'a>(topic: &str, payload: &'a [u8], receipt: Option<Receipt>) -> Intent<'a> {
    let unknown = Intent::UnknownTopic { receipt };
    let Some(own) = topic.strip_prefix("v1/devices/me/") else { return unknown };
    match own {
        "telemetry" => return Intent::Telemetry { payload, receipt },
        "attributes" => return Intent::Attributes { payload, receipt },
        _ => {}
    }
    let Some((kind, id)) = own.rsplit_once('/') else { return unknown };
    let Some(id) = request_id(id) else { return unknown };
    match kind {
        "attributes/request" => Intent::AttributesRequest { id, payload, receipt },
        "rpc/request" => Intent::RpcRequest { id, payload, receipt },
        "rpc/response" => Intent::RpcResponse { id, payload, receipt },
        _ => unknown,
    }
}

/// A request identifier is a decimal number; `parse` alone would also take a sign.
fn request_id(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Queues a PUBLISH to the client if it subscribed, has room and accepts its size.
pub(super) fn deliver(session: &mut Session, downlink: Downlink<'_>) -> Delivery {
    let Some(qos) = session.subscriptions.granted(Topic::of_downlink(&downlink)) else { return Delivery::NotSubscribed };
    let (prefix, id, payload) = match downlink {
        Downlink::AttributesUpdated { json } => ("v1/devices/me/attributes", None, json),
        Downlink::AttributesResponse { id, json } => ("v1/devices/me/attributes/response/", Some(id), json),
        Downlink::RpcRequest { id, json } => ("v1/devices/me/rpc/request/", Some(id), json),
        Downlink::RpcResponse { id, json } => ("v1/devices/me/rpc/response/", Some(id), json),
    };
    let topic = match id {
        Some(id) => format!("{prefix}{id}"),
        None => String::from(prefix),
    };
    // The length does not depend on which identifier it will be.
    let mut outgoing = Outgoing { topic: &topic, packet_id: (qos != Qos::AtMostOnce).then_some(1), payload };
    let Some(bytes) = outgoing_bytes(session.version, &outgoing) else { return Delivery::TooLarge };
    // [MQTT-3.1.2-24] (5): never larger than the client accepts.
    if u32::try_from(bytes).map_or(true, |bytes| bytes > session.packet_bytes_max) {
        return Delivery::TooLarge;
    }
    if session.outbox.len().saturating_add(bytes) > limits::OUTBOX_BYTES_MAX {
        return Delivery::Full;
    }
    if outgoing.packet_id.is_some() {
        outgoing.packet_id = session.downlinks.take(session.receive_maximum);
        if outgoing.packet_id.is_none() {
            return Delivery::Full;
        }
    }
    encode_publish(session.version, &outgoing, &mut session.outbox);
    Delivery::Queued
}
