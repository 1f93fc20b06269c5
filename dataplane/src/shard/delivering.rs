//! Downlinks: by which way a device is reached (its own connection, its gateway's, a long poll), and what of it is kept until the
//! device acknowledges (DESIGN 8.4, 13). Everything here happens after the ticket of what it tells (DESIGN 8.1, 3), except keeping.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use schemas::config::Payload;
use schemas::generated::kept::{Downlink as KeptDownlink, Will, downlink::Kind};
use schemas::id::DeviceId;

use super::admitting::topics;
use super::decoding;
use super::ledger::{Ledger, Owed, OwnedDownlink};
use super::letter::{Address, Answer, Awaited, Letter};
use super::residents::Parked;
use super::saving::writing;
use super::slab::Key;
use super::turn::Shard;
use crate::clock::{Instant, Now};
use crate::device::DeviceState;
use crate::device::kept::Full;
use crate::limits;
use crate::metric::Counter;
use crate::payload;
use crate::payload::protobuf::Unwritable;
use crate::session::{self, Delivery, Format, Outcome, Sending, Topics};

/// The gateway's connection through which a device is reached.
#[derive(Clone, Debug)]
pub(super) struct Through {
    pub gateway: Address,
    pub name: Arc<str>,
}

/// Long polls of the devices of one shard.
#[derive(Debug, Default)]
pub(super) struct Polls {
    of: HashMap<DeviceId, Vec<Poll>, RandomState>,
    deadlines: BTreeSet<(Instant, u64, DeviceId)>,
    last: u64,
}

#[derive(Debug)]
struct Poll {
    number: u64,
    deadline: Instant,
    to: Address,
    what: Awaited,
}

impl Polls {
    /// Somebody waits. The oldest of too many is given back.
    fn add(&mut self, device: DeviceId, what: Awaited, to: Address, deadline: Instant) -> Option<Address> {
        self.last += 1;
        let polls = self.of.entry(device).or_default();
        polls.push(Poll { number: self.last, deadline, to, what });
        self.deadlines.insert((deadline, self.last, device));
        (polls.len() > limits::POLLS_PER_DEVICE_MAX).then(|| self.remove(device, |_| true)).flatten()
    }

    /// The first that waits for this.
    fn take(&mut self, device: DeviceId, what: Awaited) -> Option<Address> {
        self.remove(device, |poll| poll.what == what)
    }

    fn remove(&mut self, device: DeviceId, is: impl Fn(&Poll) -> bool) -> Option<Address> {
        let polls = self.of.get_mut(&device)?;
        let poll = polls.remove(polls.iter().position(is)?);
        if polls.is_empty() {
            self.of.remove(&device);
        }
        self.deadlines.remove(&(poll.deadline, poll.number, device));
        Some(poll.to)
    }

    /// One that has waited long enough.
    fn overdue(&mut self, now: Instant) -> Option<Address> {
        let (_, number, device) = *self.deadlines.first().filter(|(deadline, ..)| *deadline <= now)?;
        self.remove(device, |poll| poll.number == number)
    }

    fn any(&self, device: DeviceId, what: Awaited) -> bool {
        self.of.get(&device).is_some_and(|polls| polls.iter().any(|poll| poll.what == what))
    }
}

impl Shard {
    /// Waits for what comes next for the device, at most so long.
    pub(super) fn await_next(&mut self, device: DeviceId, what: Awaited, to: Address, timeout_ms: u64) {
        let deadline = self.now.instant.after_ms(timeout_ms.min(limits::POLL_MS_MAX));
        if let Some(crowded_out) = self.polls.add(device, what, to, deadline) {
            self.answer_later(crowded_out, Outcome::TimedOut.into());
        }
        if what == Awaited::Rpc {
            self.offer_calls(device);
        }
    }

    /// Nothing came in time for these.
    pub(super) fn expire_polls(&mut self) {
        while let Some(to) = self.polls.overdue(self.now.instant) {
            self.answer_later(to, Outcome::TimedOut.into());
        }
    }

    /// Tells the device that shared attributes have changed, by every way there is.
    pub(super) fn attributes_changed(&mut self, device: DeviceId, json: &[u8]) {
        let downlink = OwnedDownlink::AttributesUpdated(json.to_vec());
        if let Some(key) = self.sessions.get(&device).copied() {
            self.deliver_to(key, &downlink, Sending::default());
        }
        if let Some(through) = self.through.get(&device).cloned() {
            let mut words = Vec::new();
            payload::gateway_message(&through.name, json, &mut words);
            self.send_down(&through, OwnedDownlink::GatewayAttributesUpdated(words));
        }
        while let Some(to) = self.polls.take(device, Awaited::Attributes) {
            let downlink = Some(OwnedDownlink::AttributesUpdated(json.to_vec()));
            self.send_answer(to, Answer { downlink, ..Outcome::Stored.into() });
        }
    }

    /// Sends a call of the server by the first way that takes it. `None`: there is none now.
    pub(super) fn send_call(&mut self, device: DeviceId, id: u32, method: &str, params: &str) -> Option<Delivery> {
        let mut json = Vec::new();
        payload::rpc_request(None, method, params, &mut json);
        if let Some(key) = self.sessions.get(&device).copied() {
            let sending = Sending { number: u64::from(id), ..Sending::default() };
            match self.deliver_to(key, &OwnedDownlink::RpcRequest(id, json), sending) {
                delivery @ (Delivery::Queued | Delivery::QueuedUnacked | Delivery::TooLarge) => return Some(delivery),
                Delivery::NotSubscribed | Delivery::Full => {}
            }
        }
        let mut json = Vec::new();
        payload::rpc_request(Some(id), method, params, &mut json);
        if let Some(through) = self.through.get(&device).cloned() {
            let mut words = Vec::new();
            payload::gateway_message(&through.name, &json, &mut words);
            self.send_down(&through, OwnedDownlink::GatewayRpcRequest(words));
            return Some(Delivery::QueuedUnacked);
        }
        let to = self.polls.take(device, Awaited::Rpc)?;
        let downlink = Some(OwnedDownlink::RpcRequest(id, json));
        self.send_answer(to, Answer { downlink, ..Outcome::Stored.into() });
        Some(Delivery::QueuedUnacked)
    }

    /// Could a call be sent now?
    pub(super) fn reaches(&self, device: DeviceId) -> bool {
        self.sessions.contains_key(&device) || self.through.contains_key(&device) || self.polls.any(device, Awaited::Rpc)
    }

    /// Hands a downlink to a connection of this shard.
    pub(super) fn deliver_to(&mut self, key: Key, downlink: &OwnedDownlink, sending: Sending) -> Delivery {
        let rewritten = match self.by_profile(key, downlink) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                tracing::debug!(%error, "a call has params that the profile's schema has no place for");
                self.counters.increment(Counter::DownlinksDropped);
                return Delivery::TooLarge;
            }
        };
        let downlink = rewritten.as_ref().unwrap_or(downlink);
        let Some(connection) = self.connections.get_mut(key) else { return Delivery::NotSubscribed };
        let delivery = connection.session.deliver(downlink.borrow(), sending, self.now.instant);
        match delivery {
            Delivery::Queued | Delivery::QueuedUnacked => {
                self.counters.increment(Counter::Downlinks);
                self.wants_flush(key);
            }
            Delivery::Full | Delivery::TooLarge => self.counters.increment(Counter::DownlinksDropped),
            Delivery::NotSubscribed => {}
        }
        delivery
    }

    /// A call as the device's profile writes it where it goes; `None`: it stays JSON, as all other downlinks do.
    fn by_profile(&self, key: Key, downlink: &OwnedDownlink) -> Result<Option<OwnedDownlink>, Unwritable> {
        let OwnedDownlink::RpcRequest(id, json) = downlink else { return Ok(None) };
        let Some(connection) = self.connections.get(key) else { return Ok(None) };
        let Some(identity) = connection.identity() else { return Ok(None) };
        let Payload::Protobuf(by) = self.payload_of(identity.device) else { return Ok(None) };
        if connection.session.format(&downlink.borrow(), by.json_downlinks) == Format::Json {
            return Ok(None);
        }
        decoding::call(&by, *id, json).map(|bytes| Some(OwnedDownlink::RpcRequest(*id, bytes)))
    }

    fn send_down(&mut self, through: &Through, words: OwnedDownlink) {
        let Address { shard, connection, .. } = through.gateway;
        if shard == self.index {
            self.deliver_to(connection, &words, Sending::default());
        } else {
            self.mesh.send(shard, Letter::Down(Box::new((connection, words))));
        }
    }

    /// Sends what is kept and was not sent on this connection, in order, as much as the device takes.
    pub(super) fn send_kept(&mut self, device: DeviceId) {
        let Some(key) = self.sessions.get(&device).copied() else { return };
        let now = self.now;
        while let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            let Some((number, downlink, again)) = state.next_downlink() else { return };
            let expired = downlink.expires_ts != 0 && downlink.expires_ts <= now.timestamp.0;
            let packet_id = u16::try_from(downlink.packet_id).ok();
            let owned = match downlink.kind() {
                Kind::RpcRequest => OwnedDownlink::RpcRequest(downlink.id, downlink.json.clone()),
                _ => OwnedDownlink::AttributesUpdated(downlink.json.clone()),
            };
            let id = downlink.id;
            let is_call = downlink.kind() == Kind::RpcRequest;
            let delivery =
                if expired { Delivery::TooLarge } else { self.deliver_to(key, &owned, Sending { number, packet_id, again }) };
            let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
            match delivery {
                Delivery::Queued => {
                    state.sent_downlink(number);
                    if is_call {
                        self.call_sent(device, id, Delivery::Queued);
                    }
                }
                Delivery::Full => return,
                // Nothing will ever be heard of it.
                Delivery::QueuedUnacked | Delivery::NotSubscribed | Delivery::TooLarge => {
                    state.drop_downlink(&mut writing(&mut self.ledger, now), number);
                }
            }
        }
    }

    /// A session goes on: what its device has not acknowledged is sent again, right after CONNACK.
    pub(super) fn send_again(&mut self, device: DeviceId) {
        if let Some(state) = self.residents.get_mut(device.into(), self.now.instant) {
            state.connected_anew();
        }
        self.ledger.owe(Owed::Kept(device));
    }

    /// The device has acknowledged a downlink: a call's number is its id, those of kept downlinks are greater.
    pub(super) fn acknowledged(&mut self, key: Key, number: u64) {
        let Some(device) = self.connections.get(key).and_then(|connection| connection.identity()).map(|identity| identity.device)
        else {
            return;
        };
        if let Ok(id) = u32::try_from(number) {
            self.call_delivered(device, id);
        } else {
            self.kept_acknowledged(device, number);
        }
        self.offer_next_call(device);
    }

    fn kept_acknowledged(&mut self, device: DeviceId, number: u64) {
        let now = self.now;
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
        let dropped = state.drop_downlink(&mut writing(&mut self.ledger, now), number);
        if let Some(downlink) = dropped.filter(|downlink| downlink.kind() == Kind::RpcRequest) {
            self.call_delivered(device, downlink.id);
        }
        self.send_kept(device);
    }

    /// The connection's output reflects what this turn writes: it leaves with its ticket.
    pub(super) fn hold_output(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.held += 1;
            self.ledger.owe(Owed::Output(key));
        }
    }

    /// The ticket is durable.
    pub(super) fn release_output(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.held = connection.held.saturating_sub(1);
            self.wants_flush(key);
        }
    }

    /// A connection ended without a goodbye: its will is said now, or when the device has been away for long enough.
    pub(super) fn will_of(&mut self, device: DeviceId) {
        let now = self.now;
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
        let lasts_s = state.session(now.timestamp).map_or(0, |session| session.expiry_s);
        let Some(will) = state.take_will(&mut writing(&mut self.ledger, now)) else { return };
        // [MQTT-3.1.2-8]: when the delay has passed or the session ends, whichever is first.
        let delay_s = will.delay_s.min(lasts_s);
        if delay_s == 0 {
            return self.say_will(device, &will);
        }
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            state.keep_will(&mut writing(&mut self.ledger, now), Some(will));
        }
        self.wills.insert(device, now.instant.after_ms(u64::from(delay_s) * 1_000));
    }

    /// Finds the wills whose devices have been away for long enough.
    pub(super) fn expire_wills(&mut self) {
        let now = self.now.instant;
        let due: Vec<DeviceId> = self.wills.iter().filter(|(_, at)| **at <= now).map(|(device, _)| *device).collect();
        for device in due {
            self.wills.remove(&device);
            self.with_state(device.into(), Parked::Will);
        }
    }

    /// Says the will that is kept, if any.
    pub(super) fn say_kept_will(&mut self, device: DeviceId) {
        let now = self.now;
        if let Some(state) = self.residents.get_mut(device.into(), now.instant)
            && let Some(will) = state.take_will(&mut writing(&mut self.ledger, now))
        {
            self.say_will(device, &will);
        }
    }

    /// Evaluates a will as what the device said.
    pub(super) fn say_will(&mut self, device: DeviceId, will: &Will) {
        let topics = self.table.device(device).and_then(|facts| facts.mqtt.and_then(|mqtt| topics(mqtt)));
        if let Some(operation) = session::will_operation(&will.topic, &will.payload, topics.as_ref()) {
            self.say(device, operation);
        }
    }
}

/// Keeps a downlink until the device acknowledges it, if its session is one that is kept and asked for such downlinks with QoS 1.
/// Whether it is kept: it is sent with this turn's ticket then, or when the device is back.
pub(super) fn keep(
    (state, ledger, now): (&mut DeviceState, &mut Ledger, Now),
    topics: Option<&Topics>,
    downlink: KeptDownlink,
) -> Result<bool, Full> {
    let carries = |filter: &str| match downlink.kind() {
        Kind::RpcRequest => session::carries_rpc(filter),
        _ => session::carries_attributes(filter, topics),
    };
    if !state.keeps(now.timestamp, carries) {
        return Ok(false);
    }
    state.keep_downlink(&mut writing(ledger, now), downlink)?;
    ledger.owe(Owed::Kept(DeviceId(state.entity().0)));
    Ok(true)
}
