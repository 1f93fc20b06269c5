//! PUBLISH of the client: its topic to an operation, its QoS to a promise. Never looks into a payload.
//!
//! The retain flag is taken and changes nothing: a retained message is handled as any other, and nothing is ever kept for later
//! subscribers, as a device subscribes only to what the platform says to it. So CONNACK need not exclude it (MQTT 5, 3.2.2.3.5).
//! Payload format, content type, message expiry and user properties are taken and not used.

use super::exactly_once::{self, Received};
use super::inflight::Kind;
use super::rare::Request;
use super::route::{Form, Route};
use super::subscriptions::Family;
use super::{Session, Step};
use crate::codec::mqtt::{Property, Publish, Qos, Version};
use crate::limits;
use crate::session::{Intent, Outcome, Promise, Reason};

/// Takes a PUBLISH; QoS 1 and 2 get a promise.
pub(super) fn receive<'a>(session: &mut Session, publish: &Publish<'a>) -> Result<Step<'a>, Reason> {
    if publish.payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(Reason::PacketTooLarge);
    }
    let route = match publish.topic_alias {
        None => Route::of(publish.topic, &session.rights()),
        Some(alias) => route_of_alias(session, publish, alias)?,
    };
    let promise = match (publish.qos, publish.packet_id) {
        (Qos::AtLeastOnce, Some(packet_id)) => {
            check_quota(session)?;
            Some(Promise { receipt: session.receipts.promise(packet_id, Kind::Puback), exactly_once: None })
        }
        (Qos::ExactlyOnce, Some(packet_id)) => match exactly_once::receive(session, packet_id)? {
            Received::New(promise) => Some(promise),
            Received::Again => return Ok(Step::Done),
        },
        _ => None,
    };
    let Some(operation) = route.operation(publish.payload) else {
        return Ok(Step::Intent(Intent::UnknownTopic { promise }));
    };
    if !note_request(session, route, publish) {
        return refuse(session, promise);
    }
    Ok(Step::Intent(Intent::Operation { operation, promise }))
}

fn route_of_alias(session: &mut Session, publish: &Publish<'_>, alias: u16) -> Result<Route, Reason> {
    if publish.topic.is_empty() {
        // MQTT 5, 3.3.4: an alias that stands for nothing yet is a protocol error.
        let known = session.rare.as_ref().and_then(|rare| rare.aliases.route(alias));
        return known.ok_or(if alias > limits::TOPIC_ALIASES_MAX { Reason::TopicAliasInvalid } else { Reason::UnexpectedPacket });
    }
    let route = Route::of(publish.topic, &session.rights());
    if session.rare_mut().aliases.learn(alias, route) { Ok(route) } else { Err(Reason::TopicAliasInvalid) }
}

/// [MQTT-3.3.4-7]: no more than the receive maximum under way. Clients before MQTT 5 are not read this far.
pub(super) fn check_quota(session: &Session) -> Result<(), Reason> {
    let used = session.receipts.at_least_once() + exactly_once::counted(session);
    if session.version == Version::V5 && used >= limits::RECEIPTS_PER_CONNECTION_MAX {
        return Err(Reason::ReceiveMaximumExceeded);
    }
    Ok(())
}

/// Remembers where the answer to a request goes and what it carries, unless that is the usual. The response topic counts if the
/// device is subscribed to it when the answer leaves; only requests with a number in their topic can have one. False: the
/// correlation data are more than is kept.
fn note_request(session: &mut Session, route: Route, publish: &Publish<'_>) -> bool {
    let (family, numbers, form) = match route {
        Route::AttributesRequest { id, form } => (Family::AttributesResponse, [id, 0], form),
        Route::RpcRequest { id, form } => (Family::RpcResponse, [id, 0], form),
        Route::Chunk { package, request, chunk } => (Family::Chunk(package), [request, chunk], Form::V1),
        _ => return true,
    };
    let mut request = Request { family, numbers, form, response_topic: None, correlation: None };
    for property in publish.properties.iter() {
        match property {
            Property::ResponseTopic(topic) if topic.len() <= limits::FILTER_BYTES_MAX => {
                request.response_topic = Some(topic.into())
            }
            Property::CorrelationData(bytes) if bytes.len() > limits::CORRELATION_BYTES_MAX => return false,
            Property::CorrelationData(bytes) => request.correlation = Some(bytes.into()),
            _ => {}
        }
    }
    if form != Form::V1 || request.response_topic.is_some() || request.correlation.is_some() {
        session.rare_mut().requests.open(request);
    } else if let Some(rare) = &mut session.rare {
        rare.requests.close(family, numbers);
    }
    true
}

/// Refuses a message that the shard never sees.
fn refuse<'a>(session: &mut Session, promise: Option<Promise>) -> Result<Step<'a>, Reason> {
    let Some(promise) = promise else { return Err(Reason::QuotaExceeded) };
    session.receipts.settle(promise.receipt, Outcome::QuotaExceeded);
    session.acknowledge();
    Ok(Step::Done)
}
