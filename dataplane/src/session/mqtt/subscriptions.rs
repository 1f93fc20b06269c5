//! What a session is subscribed to, and where a message of a kind then goes. Never encodes packets.
//!
//! The filters that devices use are a fixed list, so being subscribed to them is a bit each. Narrower ones (a request identifier
//! in place of a `+`, `x/#` in place of `x/+`) and those of the device's profile are kept as text, and few.

use std::borrow::Cow;

use super::filter;
use super::route::{Form, Rights, number};
use crate::codec::mqtt::Qos;
use crate::limits;
use crate::session::{Downlink, Package, Topics};

/// Kinds of messages to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Attributes,
    AttributesResponse,
    RpcRequest,
    RpcResponse,
    Chunk(Package),
    ChunkError(Package),
    /// Of HTTP: there is no topic for it.
    Download,
    GatewayAttributes,
    GatewayAttributesResponse,
    GatewayRpc,
    GatewayDisconnect,
    Provisioned,
}

impl Family {
    /// The kind of a downlink, and the numbers in its topic.
    pub(super) fn of(downlink: &Downlink<'_>) -> (Self, [u32; 2]) {
        match *downlink {
            Downlink::AttributesUpdated { .. } => (Self::Attributes, [0; 2]),
            Downlink::AttributesResponse { id, .. } => (Self::AttributesResponse, [id, 0]),
            Downlink::RpcRequest { id, .. } => (Self::RpcRequest, [id, 0]),
            Downlink::RpcResponse { id, .. } => (Self::RpcResponse, [id, 0]),
            Downlink::Provisioned { .. } => (Self::Provisioned, [0; 2]),
            Downlink::Chunk { package, request, chunk, .. } => (Self::Chunk(package), [request, chunk]),
            Downlink::ChunkError { package, .. } => (Self::ChunkError(package), [0; 2]),
            Downlink::Download { .. } => (Self::Download, [0; 2]),
            Downlink::GatewayAttributesUpdated { .. } => (Self::GatewayAttributes, [0; 2]),
            Downlink::GatewayAttributesResponse { .. } => (Self::GatewayAttributesResponse, [0; 2]),
            Downlink::GatewayRpcRequest { .. } => (Self::GatewayRpc, [0; 2]),
            Downlink::GatewayDisconnect { .. } => (Self::GatewayDisconnect, [0; 2]),
        }
    }

    fn is_of_gateways(self) -> bool {
        use Family::{GatewayAttributes, GatewayAttributesResponse, GatewayDisconnect, GatewayRpc};
        matches!(self, GatewayAttributes | GatewayAttributesResponse | GatewayRpc | GatewayDisconnect)
    }
}

struct Slot {
    filter: &'static str,
    /// Where its messages go: a `+` becomes a number of the message.
    topic: &'static str,
    family: Family,
    form: Form,
}

const fn slot(filter: &'static str, family: Family, form: Form) -> Slot {
    Slot { filter, topic: filter, family, form }
}

/// Those of one family in the order in which they are preferred.
const SLOTS: [Slot; 27] = {
    use Family::{
        Attributes, AttributesResponse, Chunk, ChunkError, GatewayAttributes, GatewayAttributesResponse, GatewayDisconnect,
        GatewayRpc, Provisioned, RpcRequest, RpcResponse,
    };
    use Form::{Short, ShortJson, ShortProtobuf, V1};
    use Package::{Firmware, Software};
    [
        slot("v1/devices/me/attributes", Attributes, V1),
        slot("v2/a", Attributes, Short),
        slot("v2/a/j", Attributes, ShortJson),
        slot("v2/a/p", Attributes, ShortProtobuf),
        slot("v1/devices/me/attributes/response/+", AttributesResponse, V1),
        slot("v2/a/res/+", AttributesResponse, Short),
        slot("v2/a/res/j/+", AttributesResponse, ShortJson),
        slot("v2/a/res/p/+", AttributesResponse, ShortProtobuf),
        slot("v1/devices/me/rpc/request/+", RpcRequest, V1),
        slot("v2/r/req/+", RpcRequest, Short),
        slot("v2/r/req/j/+", RpcRequest, ShortJson),
        slot("v2/r/req/p/+", RpcRequest, ShortProtobuf),
        slot("v1/devices/me/rpc/response/+", RpcResponse, V1),
        slot("v2/r/res/+", RpcResponse, Short),
        slot("v2/r/res/j/+", RpcResponse, ShortJson),
        slot("v2/r/res/p/+", RpcResponse, ShortProtobuf),
        slot("v2/fw/response/+/chunk/+", Chunk(Firmware), V1),
        slot("v2/sw/response/+/chunk/+", Chunk(Software), V1),
        // What ThingsBoard's Python client subscribes to, though no chunk's topic matches it: ThingsBoard refuses and sends
        // all the same, and the client counts on that.
        Slot { filter: "v2/fw/response/+", topic: "v2/fw/response/+/chunk/+", family: Chunk(Firmware), form: V1 },
        Slot { filter: "v2/sw/response/+", topic: "v2/sw/response/+/chunk/+", family: Chunk(Software), form: V1 },
        slot("v2/fw/error", ChunkError(Firmware), V1),
        slot("v2/sw/error", ChunkError(Software), V1),
        slot("v1/gateway/attributes", GatewayAttributes, V1),
        slot("v1/gateway/attributes/response", GatewayAttributesResponse, V1),
        slot("v1/gateway/rpc", GatewayRpc, V1),
        slot("v1/gateway/disconnect", GatewayDisconnect, V1),
        slot("/provision/response", Provisioned, V1),
    ]
};

/// Whether a message of this kind is for whoever has these rights.
fn is_for(family: Family, rights: &Rights<'_>) -> bool {
    if rights.provisioning {
        return family == Family::Provisioned;
    }
    family != Family::Provisioned && (rights.gateway || !family.is_of_gateways())
}

/// What became of one filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Qos(Qos),
    /// Nothing that this device may see.
    NotTheirs,
    /// More filters as text than are kept.
    TooMany,
}

/// The filters and the QoS granted for each.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// A bit per entry of [`SLOTS`].
    subscribed: u32,
    at_least_once: u32,
    /// Filters that are not in the list. Boxed: almost nobody has any.
    #[allow(clippy::box_collection, reason = "8 bytes in every session instead of 24")]
    narrow: Option<Box<Vec<Narrow>>>,
}

const _: () = assert!(SLOTS.len() <= 32, "a bit per slot");

#[derive(Debug)]
struct Narrow {
    filter: Box<str>,
    qos: Qos,
    /// The profile's topic of attribute updates covers it.
    of_profile: bool,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) qos: Qos,
    pub(super) form: Form,
    /// Set for topics that come again, which are worth an alias.
    pub(super) slot: Option<u8>,
}

impl Subscriptions {
    /// Grants what was asked for, but no more than QoS 1. The last subscription to a filter counts [MQTT-3.8.4-3].
    pub(super) fn grant(&mut self, filter: &str, asked: Qos, rights: &Rights<'_>) -> Granted {
        let qos = asked.min(Qos::AtLeastOnce);
        if let Some(index) = slot_of(filter) {
            if !is_for(SLOTS[index].family, rights) {
                return Granted::NotTheirs;
            }
            let bit = 1 << index;
            self.subscribed |= bit;
            self.at_least_once = if qos == Qos::AtLeastOnce { self.at_least_once | bit } else { self.at_least_once & !bit };
            return Granted::Qos(qos);
        }
        if filter.len() > limits::FILTER_BYTES_MAX {
            return Granted::NotTheirs;
        }
        let of_profile =
            !rights.provisioning && rights.topics.is_some_and(|topics| filter::covers(&topics.attributes_subscribe, filter));
        let is_own = |slot: &Slot| is_for(slot.family, rights) && is_numbered(slot.filter, filter);
        if !of_profile && !SLOTS.iter().any(is_own) {
            return Granted::NotTheirs;
        }
        let narrow = self.narrow.get_or_insert_default();
        if let Some(known) = narrow.iter_mut().find(|known| *known.filter == *filter) {
            known.qos = qos;
        } else if narrow.len() < limits::FILTERS_PER_SESSION_MAX {
            narrow.push(Narrow { filter: filter.into(), qos, of_profile });
        } else {
            return Granted::TooMany;
        }
        Granted::Qos(qos)
    }

    /// Whether there was a subscription to end.
    pub(super) fn revoke(&mut self, filter: &str) -> bool {
        if let Some(index) = slot_of(filter) {
            let was = self.subscribed & (1 << index) != 0;
            self.subscribed &= !(1 << index);
            return was;
        }
        let Some(narrow) = &mut self.narrow else { return false };
        let before = narrow.len();
        narrow.retain(|known| *known.filter != *filter);
        let was = narrow.len() < before;
        if narrow.is_empty() {
            self.narrow = None;
        }
        was
    }

    /// All of them, as text.
    pub(super) fn listed(&self) -> Vec<(String, u8)> {
        let slots = SLOTS.iter().enumerate().filter(|(index, _)| self.subscribed & (1 << index) != 0);
        let slots = slots.map(|(index, slot)| (String::from(slot.filter), self.qos_of(index) as u8));
        slots.chain(self.narrow().iter().map(|known| (String::from(&*known.filter), known.qos as u8))).collect()
    }

    /// Where a message of this kind goes: to the form asked for if that is subscribed to, else to the first that is.
    pub(super) fn target(&self, family: Family, numbers: [u32; 2], preferred: Form) -> Option<Target<'_>> {
        let mut found: Option<Target<'_>> = None;
        for (index, slot) in SLOTS.iter().enumerate().filter(|(_, slot)| slot.family == family) {
            if found.as_ref().is_some_and(|found| found.form == preferred || slot.form != preferred) {
                continue;
            }
            if let Some(target) = self.target_of(index, slot, numbers) {
                found = Some(target);
            }
        }
        if found.is_none() && family == Family::Attributes {
            let own = self.narrow().iter().find(|known| known.of_profile)?;
            let topic = Cow::Owned(filter::concrete(&own.filter));
            return Some(Target { topic, qos: own.qos, form: Form::V1, slot: None });
        }
        found
    }

    /// Where a message of this kind goes that the client was sent before it unsubscribed: it is still to be delivered
    /// [MQTT-3.10.4-3].
    pub(super) fn usual(family: Family, numbers: [u32; 2]) -> Option<Target<'static>> {
        let slot = SLOTS.iter().find(|slot| slot.family == family)?;
        Some(Target { topic: with_numbers(slot.topic, numbers), qos: Qos::AtLeastOnce, form: slot.form, slot: None })
    }

    fn target_of(&self, index: usize, slot: &Slot, numbers: [u32; 2]) -> Option<Target<'static>> {
        let in_list = (self.subscribed & (1 << index) != 0).then(|| self.qos_of(index));
        if in_list.is_none() && self.narrow.is_none() {
            return None;
        }
        let topic = with_numbers(slot.topic, numbers);
        // [MQTT-3.3.4-2]: overlapping subscriptions bring one message with the highest QoS.
        let qos = in_list.max(self.qos_by_text(&topic))?;
        let again = matches!(topic, Cow::Borrowed(_)).then(|| u8::try_from(index).ok()).flatten();
        Some(Target { topic, qos, form: slot.form, slot: again })
    }

    /// The QoS of a message to `topic`, which may be any topic.
    pub(super) fn qos_of_topic(&self, topic: &str) -> Option<Qos> {
        let slots = SLOTS.iter().enumerate().filter(|(index, _)| self.subscribed & (1 << index) != 0);
        let slots = slots.filter(|(_, slot)| filter::matches(slot.filter, topic)).map(|(index, _)| self.qos_of(index));
        slots.max().max(self.qos_by_text(topic))
    }

    fn qos_of(&self, index: usize) -> Qos {
        if self.at_least_once & (1 << index) == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce }
    }

    fn qos_by_text(&self, topic: &str) -> Option<Qos> {
        self.narrow().iter().filter(|known| filter::matches(&known.filter, topic)).map(|known| known.qos).max()
    }

    fn narrow(&self) -> &[Narrow] {
        self.narrow.as_ref().map_or(&[], |narrow| narrow)
    }
}

/// Whether a subscription to this filter brings changes of shared attributes.
#[must_use]
pub fn carries_attributes(filter: &str, topics: Option<&Topics>) -> bool {
    carries(filter, Family::Attributes) || topics.is_some_and(|topics| filter::covers(&topics.attributes_subscribe, filter))
}

/// Whether a subscription to this filter brings calls of the server, or those with one number.
#[must_use]
pub fn carries_rpc(filter: &str) -> bool {
    carries(filter, Family::RpcRequest)
}

fn carries(filter: &str, family: Family) -> bool {
    SLOTS.iter().any(|slot| slot.family == family && is_numbered(slot.filter, filter))
}

fn slot_of(filter: &str) -> Option<usize> {
    SLOTS.iter().position(|slot| slot.filter == filter)
}

/// `narrow` is `wide` with request numbers, or with `#` at its end.
fn is_numbered(wide: &str, narrow: &str) -> bool {
    let mut numbers = wide.split('/').zip(narrow.split('/')).filter(|(wide, _)| *wide == "+");
    filter::covers(wide, narrow) && numbers.all(|(_, level)| matches!(level, "+" | "#") || number(level).is_some())
}

fn with_numbers(topic: &'static str, numbers: [u32; 2]) -> Cow<'static, str> {
    let Some((head, rest)) = topic.split_once('+') else { return Cow::Borrowed(topic) };
    let [first, second] = numbers;
    Cow::Owned(match rest.split_once('+') {
        Some((middle, tail)) => format!("{head}{first}{middle}{second}{tail}"),
        None => format!("{head}{first}{rest}"),
    })
}
