//! What few sessions have: topic aliases, open QoS 2 flows, requests whose answer goes elsewhere than usual. One allocation,
//! made on first use and dropped when empty, so that an idle session holds no heap. Never sends anything.

use super::exactly_once::Unreleased;
use super::route::{Form, Route};
use super::subscriptions::Family;
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) unreleased: Unreleased,
    pub(super) aliases: Aliases,
    pub(super) requests: Requests,
}

impl Rare {
    pub(super) fn is_empty(&self) -> bool {
        self.unreleased.is_empty() && self.aliases.is_empty() && self.requests.open.is_empty()
    }
}

/// Topic aliases of both directions (MQTT 5, 3.3.2.3.4).
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// What alias n + 1 of the client stands for.
    inbound: Vec<Option<Route>>,
    /// The topic, by its slot, that our alias n + 1 stands for.
    outbound: Vec<u8>,
}

impl Aliases {
    fn is_empty(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty()
    }

    /// The client says what `alias` stands for; false if it is more than we announced [MQTT-3.3.2-9].
    pub(super) fn learn(&mut self, alias: u16, route: Route) -> bool {
        let Some(index) = usize::from(alias).checked_sub(1).filter(|_| alias <= limits::TOPIC_ALIASES_MAX) else { return false };
        if self.inbound.len() <= index {
            self.inbound.resize(index + 1, None);
        }
        if let Some(known) = self.inbound.get_mut(index) {
            *known = Some(route);
        }
        true
    }

    pub(super) fn route(&self, alias: u16) -> Option<Route> {
        *self.inbound.get(usize::from(alias).checked_sub(1)?)?
    }

    /// Our alias for a topic, and whether the client knows it already; `None` where there are no more
    /// [MQTT-3.1.2-26], [MQTT-3.1.2-27].
    pub(super) fn outbound(&self, slot: u8, maximum: u16) -> Option<(u16, bool)> {
        let (index, known) = match self.outbound.iter().position(|known| *known == slot) {
            Some(index) => (index, true),
            None => (self.outbound.len(), false),
        };
        let alias = u16::try_from(index + 1).ok().filter(|alias| *alias <= maximum.min(limits::TOPIC_ALIASES_MAX))?;
        Some((alias, known))
    }

    /// The client was sent the topic with its alias.
    pub(super) fn teach(&mut self, slot: u8) {
        self.outbound.push(slot);
    }
}

/// Requests whose answer does not simply go to the first form of its topic.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Vec<Request>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) family: Family,
    pub(super) numbers: [u32; 2],
    pub(super) form: Form,
    /// MQTT 5, 4.10.
    pub(super) response_topic: Option<Box<str>>,
    pub(super) correlation: Option<Box<[u8]>>,
}

impl Requests {
    /// The newest request with its numbers counts. The oldest is forgotten where there are too many: its answer takes the
    /// usual way.
    pub(super) fn open(&mut self, request: Request) {
        self.close(request.family, request.numbers);
        if self.open.len() >= limits::REQUESTS_PER_SESSION_MAX {
            self.open.remove(0);
        }
        self.open.push(request);
    }

    pub(super) fn of(&self, family: Family, numbers: [u32; 2]) -> Option<&Request> {
        self.open.iter().find(|request| (request.family, request.numbers) == (family, numbers))
    }

    pub(super) fn close(&mut self, family: Family, numbers: [u32; 2]) {
        self.open.retain(|request| (request.family, request.numbers) != (family, numbers));
    }
}
