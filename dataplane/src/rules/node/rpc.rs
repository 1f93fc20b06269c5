//! Answers to a device's call and to a person's request, and the call to a device. One that an operator makes was on its way before rules heard
//! of it.

use std::borrow::Cow;

use schemas::chain::{EntityType, MessageType, RestReply};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::owed::Waits;
use crate::rules::carried::Carried;
use crate::rules::node::{Next, SUCCESS, Scene};

/// The data is the answer to the originator's call with the number that the metadata has under `key`.
pub(super) fn reply(key: &str, carried: &Carried<'_>, into: &mut Vec<Effect<'_>>) -> Next {
    let request = carried.metadata(key).and_then(|id| id.parse().ok());
    let Some(request) = request else {
        return Next::Fail(format!("{key}: the metadata has no number of a call"));
    };
    into.push(Effect::Answer { request, json: carried.data().to_string() });
    Next::By(SUCCESS)
}

/// The data is the answer to the request of a person that the metadata name.
pub(super) fn rest_reply(reply: &RestReply, carried: &Carried<'_>, into: &mut Vec<Effect<'_>>) -> Next {
    let said = |key: &str| carried.metadata(key).filter(|said| !said.is_empty());
    let Some(request) = said(&reply.request_key) else {
        return Next::Fail("Request id is not present in the metadata!".to_owned());
    };
    if said(&reply.place_key).is_none() {
        return Next::Fail("Service id is not present in the metadata!".to_owned());
    }
    match request.parse() {
        Ok(request) => {
            into.push(Effect::Reply { request, json: carried.data().to_string() });
            Next::By(SUCCESS)
        }
        Err(_) => Next::Fail(format!("Invalid UUID string: {request}")),
    }
}

/// Calls of operators reach their device by themselves; rules only see them. Every other message is a call of its own, and waits for
/// the answer.
pub(super) fn request(timeout_ms: u64, node: Uuid, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    if carried.standard() == Some(MessageType::RpcCallFromServerToDevice) {
        return Next::By(SUCCESS);
    }
    if scene.message.originator_type != EntityType::Device {
        return Next::Fail("Message originator is not a device entity!".to_owned());
    }
    let data = carried.data();
    for (field, reason) in
        [("method", "Method is not present in the message!"), ("params", "Params are not present in the message!")]
    {
        if data.get(field).is_none() {
            return Next::Fail(reason.to_owned());
        }
    }
    match scene.world.waiting(node) {
        Ok(_) => Next::Wait(Waits::Answer, expires(timeout_ms, scene.message.received, carried.metadata("expirationTime"))),
        Err(reason) => Next::Fail(reason),
    }
}

fn expires(timeout_ms: u64, from: Timestamp, said: Option<Cow<'_, str>>) -> Timestamp {
    let said = said.and_then(|said| said.trim().parse().ok());
    Timestamp(said.unwrap_or_else(|| from.0.saturating_add(i64::try_from(timeout_ms).unwrap_or(i64::MAX))))
}
