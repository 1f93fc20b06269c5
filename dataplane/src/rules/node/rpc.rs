//! RPC nodes: the answer to a device's call, and the call to a device, which was on its way before rules heard of it.

use schemas::chain::MessageType;

use crate::effect::Effect;
use crate::rules::carried::Carried;
use crate::rules::node::{Next, SUCCESS};

/// The data is the answer to the originator's call with the number that the metadata has under `key`.
pub(super) fn reply(key: &str, carried: &Carried<'_>, into: &mut Vec<Effect<'_>>) -> Next {
    let request = carried.metadata(key).and_then(|id| id.parse().ok());
    let Some(request) = request else {
        return Next::Fail(format!("{key}: the metadata has no number of a call"));
    };
    into.push(Effect::Answer { request, json: carried.data().to_string() });
    Next::By(SUCCESS)
}

/// Calls of operators reach their device by themselves; rules only see them.
pub(super) fn request(carried: &Carried<'_>) -> Next {
    if carried.standard() == Some(MessageType::RpcCallFromServerToDevice) {
        return Next::By(SUCCESS);
    }
    Next::Fail("calls that a rule makes are not supported yet".to_owned())
}
