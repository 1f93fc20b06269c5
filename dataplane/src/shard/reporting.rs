//! What chains say of devices that are connected to something else: known in the batch of the message that says it, and told to the
//! device's chain by a message of its own that is durable with it and goes its way as those of other originators (DESIGN 8.3, 8). Never
//! decides how often a node may say something.

use std::collections::BTreeMap;

use schemas::chain::{DeviceEvent, MessageType};
use schemas::id::EntityId;
use uuid::Uuid;

use super::saving::writing;
use super::turn::Shard;
use super::work::Stage;
use crate::clock::Timestamp;
use crate::message::{Message, Scope};
use crate::metric::Counter;
use crate::owed::Departed;

impl Stage<'_> {
    /// Something happened to the originator, a device, where it is connected. A node that could not remember that it said so says nothing:
    /// what it says would lead to the next thing it says, for ever.
    pub(super) fn report(&mut self, message: &Message<'_>, (node, event): (Uuid, DeviceEvent), at: Timestamp) {
        if self.state.node_state(node).is_none() {
            return self.counters.increment(Counter::NodesFailed);
        }
        let is_news = self.state.report(&mut writing(self.ledger, self.now), event, at);
        self.tell_attributes(match event {
            DeviceEvent::Connect => &["lastConnectTime"],
            DeviceEvent::Disconnect => &["lastDisconnectTime"],
            DeviceEvent::Activity => &["active", "lastActivityTime"],
            DeviceEvent::Inactivity => &["active", "inactivityAlarmTime"],
        });
        if is_news {
            let said = [("deviceName", message.device_name.to_owned()), ("deviceType", message.device_type.to_owned())];
            let mut metadata: BTreeMap<String, String> = said.map(|(name, value)| (name.to_owned(), value)).into();
            metadata.insert("ts".to_owned(), self.now.timestamp.0.to_string());
            let tell = Departed { kind: event.kind().name().to_owned(), metadata, ..Departed::default() };
            self.tell_chain(message, tell, "{}".to_owned());
        }
    }

    /// Connectivity is server attributes to whoever watches them.
    pub(super) fn tell_attributes(&mut self, keys: &[&str]) {
        let entity = self.state.entity();
        if !self.watches.is_watched(entity) {
            return;
        }
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let attributes = self.state.attributes(Some(Scope::Server), &keys);
        for owed in self.watches.on_attributes(entity, &attributes) {
            self.ledger.owe(owed);
        }
    }
}

impl Shard {
    /// A device is said to be active again: somebody looks when it may no longer be.
    pub(super) fn watch_activity(&mut self, device: EntityId, kind: MessageType) {
        if kind != MessageType::ActivityEvent {
            return;
        }
        let deadline = self.residents.get_mut(device, self.now.instant).and_then(|state| state.deadline());
        if let Some(deadline) = deadline {
            self.residents.arm(deadline, device);
        }
    }
}
