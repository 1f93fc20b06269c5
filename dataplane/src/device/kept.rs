//! What is kept of a device besides its values: its session, downlinks it has not acknowledged, the server's open calls to it,
//! a gateway's children, its will, its alarms (DESIGN 8.3, 10 and 8.4, 12, 13). Loaded with the state by one look; every change puts a row
//! into the caller's batch. Never knows a connection or a topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use foldhash::fast::RandomState;
use prost::Message;
use schemas::{
    alarm::Alarm,
    generated::kept::{Call, Downlink, Session, Will},
    id::{DeviceId, EntityId},
};
use uuid::Uuid;

use super::{DeviceState, Writing, marks::Marks, progress, told::Newest};
use crate::{
    clock::Timestamp,
    limits,
    progress::Progress,
    store::{
        Engine, Family, Range, StoreError,
        key::{self, Kind, Part},
    },
};

/// There is no room for another one: of downlinks, calls or children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device has {most} {what} already")]
pub struct Full {
    pub what: &'static str,
    pub most: usize,
}

/// See the module. Most devices have none of it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    session: Option<Session>,
    received: BTreeSet<u16>,
    /// By number, which is their order.
    downlinks: BTreeMap<u64, Downlink>,
    calls: BTreeMap<Uuid, Call>,
    children: HashMap<String, DeviceId, RandomState>,
    will: Option<Will>,
    /// What rule nodes remember.
    nodes: BTreeMap<Uuid, Box<[u8]>>,
    pub(super) alarms: BTreeMap<Uuid, Alarm>,
    /// How far alarm rules have come, by node.
    pub(super) progress: BTreeMap<Uuid, Progress>,
    pub(super) marks: Marks,
    pub(super) told: Newest,
    last_packet_id: u16,
    /// Downlinks up to this number were sent on the present connection.
    sent: u64,
    /// And up to this one on any, as far as is known: after a crash all are taken for sent [MQTT-3.3.1-1].
    ever_sent: u64,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.session.is_none()
            && self.received.is_empty()
            && self.downlinks.is_empty()
            && self.calls.is_empty()
            && self.children.is_empty()
            && self.will.is_none()
            && self.nodes.is_empty()
            && self.alarms.is_empty()
            && self.progress.is_empty()
            && self.marks.is_empty()
            && self.told.is_empty()
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let session = self.session.as_ref().map_or(0, |session| session.subscriptions.len() * 64 + session.client_id.len());
        let downlinks: usize = self.downlinks.values().map(|downlink| downlink.json.len() + 160).sum();
        let calls: usize = self.calls.values().map(|call| text_bytes(call) + 256).sum();
        let nodes: usize = self.nodes.values().map(|state| state.len() + 64).sum();
        let alarms: usize = self.alarms.values().map(|alarm| alarm.text_bytes() + size_of::<Alarm>() + 32).sum();
        let progress: usize = self.progress.values().map(|one| one.bytes() + size_of::<Progress>() + 32).sum();
        let small = nodes + alarms + progress + self.received.len() * 8 + self.children.len() * 96 + self.marks.bytes();
        size_of::<Self>() + session + small + downlinks + calls + self.told.bytes()
    }

    /// Takes in one row of the disk.
    fn take(&mut self, row_key: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let bad = |why: &str| StoreError::corrupted("kept record", row_key, why);
        let (part, what) = key::parse_kept(row_key).ok_or_else(|| bad("the key has no part"))?;
        let id = |what: &[u8]| Uuid::from_slice(what).map_err(|_| bad("expected an id of 16 bytes"));
        match part {
            part if part == Part::Session as u8 => self.session = Some(read(row_key, record)?),
            part if part == Part::Received as u8 => {
                let id = what.try_into().map_err(|_| bad("expected a packet id"))?;
                self.received.insert(u16::from_be_bytes(id));
            }
            part if part == Part::Downlink as u8 => {
                let number = what.try_into().map_err(|_| bad("expected a number"))?;
                let downlink: Downlink = read(row_key, record)?;
                self.last_packet_id = self.last_packet_id.max(packet_id(&downlink));
                let number = u64::from_be_bytes(number);
                self.ever_sent = self.ever_sent.max(number);
                self.downlinks.insert(number, downlink);
            }
            part if part == Part::OpenCall as u8 => {
                self.calls.insert(id(what)?, read(row_key, record)?);
            }
            part if part == Part::Child as u8 => {
                let name = std::str::from_utf8(what).map_err(|_| bad("the name is not UTF-8"))?;
                self.children.insert(name.to_owned(), DeviceId(id(record)?));
            }
            part if part == Part::Will as u8 => self.will = Some(read(row_key, record)?),
            part if part == Part::Node as u8 => drop(self.nodes.insert(id(what)?, record.into())),
            part if part == Part::Alarm as u8 => {
                let alarm = Alarm::decode(record).map_err(|invalid| bad(&invalid.to_string()))?;
                self.alarms.insert(id(what)?, alarm);
            }
            part if part == Part::Progress as u8 => {
                let progress = progress::decode(read(row_key, record)?).ok_or_else(|| bad("expected ids and severities"))?;
                self.progress.insert(id(what)?, progress);
            }
            part if part == Part::Mark as u8 => {
                self.marks.take(DeviceId(id(what)?), record).ok_or_else(|| bad("expected numbers of 8 bytes"))?;
            }
            part if part == Part::Told as u8 => self.told.take(row_key, what, record)?,
            _ => return Err(bad("an unknown part")),
        }
        Ok(())
    }
}

/// Reads a protobuf record of `schemas/proto/kept.proto`.
///
/// # Errors
/// [`StoreError::Corrupted`].
pub fn read<T: Message + Default>(row_key: &[u8], record: &[u8]) -> Result<T, StoreError> {
    T::decode(record).map_err(|error| StoreError::corrupted("kept record", row_key, error.to_string()))
}

fn packet_id(downlink: &Downlink) -> u16 {
    u16::try_from(downlink.packet_id).unwrap_or(0)
}

impl DeviceState {
    pub(super) fn take_kept(&mut self, row_key: &[u8], record: &[u8]) -> Result<(), StoreError> {
        self.kept.get_or_insert_default().take(row_key, record)
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    pub(super) fn kept_mut(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// Gives the memory of nothing back.
    pub(super) fn shed_kept(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.is_empty()) {
            self.kept = None;
        }
    }

    fn put_kept(&self, w: &mut Writing<'_>, part: Part, what: &[u8], record: &impl Message) {
        w.batch.put(Family::State, &key::kept(self.entity, part, what), &record.encode_to_vec());
    }

    fn delete_kept(&self, w: &mut Writing<'_>, part: Part, what: &[u8]) {
        w.batch.delete(Family::State, &key::kept(self.entity, part, what));
    }

    /// The session that is kept, if it has not expired.
    #[must_use]
    pub fn session(&self, now: Timestamp) -> Option<&Session> {
        self.kept.as_ref()?.session.as_ref().filter(|session| !is_over(session, now))
    }

    /// The identifiers of QoS 2 messages that were stored and not released.
    #[must_use]
    pub fn received(&self) -> Vec<u16> {
        self.kept.as_ref().map(|kept| kept.received.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether a QoS 2 message with this identifier was stored and not released.
    #[must_use]
    pub fn has_received(&self, packet_id: u16) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.received.contains(&packet_id))
    }

    /// A connection begins. Whether a session of this client is there to go on with; without one, or with `clean_start`,
    /// everything of the old one is gone with this batch (DESIGN 13). With `expiry_s` 0 nothing is kept of the new one.
    pub fn begin_session(&mut self, w: &mut Writing<'_>, client_id: &str, clean_start: bool, expiry_s: u32) -> bool {
        let now = w.now;
        let there = !clean_start && self.session(now).is_some_and(|session| session.client_id == client_id);
        if !there {
            self.drop_session(w);
        }
        if expiry_s == 0 && !there {
            return false;
        }
        let kept = self.kept_mut();
        let session = kept.session.get_or_insert_default();
        session.client_id = client_id.to_owned();
        session.expiry_s = expiry_s;
        session.ended_ts = 0;
        let session = session.clone();
        self.put_kept(w, Part::Session, &[], &session);
        there
    }

    /// The connection is over; the session's time begins to run. One that was to end with it does.
    pub fn end_session(&mut self, w: &mut Writing<'_>, expiry_s: Option<u32>) {
        let now = w.now;
        let Some(session) = self.kept.as_mut().and_then(|kept| kept.session.as_mut()) else { return };
        session.expiry_s = expiry_s.unwrap_or(session.expiry_s);
        session.ended_ts = now.0;
        if session.expiry_s == 0 {
            return self.drop_session(w);
        }
        let session = session.clone();
        self.put_kept(w, Part::Session, &[], &session);
    }

    /// Forgets session, identifiers and downlinks.
    pub fn drop_session(&mut self, w: &mut Writing<'_>) {
        let Some(mut kept) = self.kept.take() else { return };
        if kept.session.take().is_some() {
            self.delete_kept(w, Part::Session, &[]);
        }
        for id in std::mem::take(&mut kept.received) {
            self.delete_kept(w, Part::Received, &id.to_be_bytes());
        }
        for (number, _) in std::mem::take(&mut kept.downlinks) {
            self.delete_kept(w, Part::Downlink, &number.to_be_bytes());
        }
        self.kept = Some(kept);
        self.shed_kept();
    }

    /// The device subscribed or unsubscribed; nothing is done unless its session is kept.
    pub fn keep_subscriptions(&mut self, w: &mut Writing<'_>, subscriptions: Vec<(String, u8)>) {
        let Some(session) = self.kept.as_mut().and_then(|kept| kept.session.as_mut()) else { return };
        let subscription = |(filter, qos)| schemas::generated::kept::Subscription { filter, qos: u32::from(qos) };
        session.subscriptions = subscriptions.into_iter().map(subscription).collect();
        let session = session.clone();
        self.put_kept(w, Part::Session, &[], &session);
    }

    /// A QoS 2 message is in the batch; so is its identifier (DESIGN 13). `pack`: the number of a gateway's pack, which a start
    /// knows by it to be this session's still ([`super::forward::pending`]).
    pub fn keep_received(&mut self, w: &mut Writing<'_>, packet_id: u16, pack: Option<u64>) {
        self.kept_mut().received.insert(packet_id);
        let number = pack.map(u64::to_be_bytes);
        let record = number.as_ref().map_or(&[][..], |number| number);
        w.batch.put(Family::State, &key::kept(self.entity, Part::Received, &packet_id.to_be_bytes()), record);
    }

    /// PUBREL: the identifier may be used again.
    pub fn release_received(&mut self, w: &mut Writing<'_>, packet_id: u16) {
        if self.kept.as_mut().is_some_and(|kept| kept.received.remove(&packet_id)) {
            self.delete_kept(w, Part::Received, &packet_id.to_be_bytes());
            self.shed_kept();
        }
    }

    /// Keeps a downlink until the device acknowledges it, and chooses its packet identifier. Returns its number.
    ///
    /// # Errors
    /// [`Full`].
    pub fn keep_downlink(&mut self, w: &mut Writing<'_>, mut downlink: Downlink) -> Result<(u64, u16), Full> {
        let kept = self.kept_mut();
        if kept.downlinks.len() >= limits::KEPT_DOWNLINKS_PER_DEVICE_MAX {
            return Err(Full { what: "unacknowledged downlinks", most: limits::KEPT_DOWNLINKS_PER_DEVICE_MAX });
        }
        let id = kept.free_packet_id();
        downlink.packet_id = u32::from(id);
        let number = w.sequence.next();
        kept.downlinks.insert(number, downlink.clone());
        self.put_kept(w, Part::Downlink, &number.to_be_bytes(), &downlink);
        Ok((number, id))
    }

    /// The device has it, or it is past its time.
    pub fn drop_downlink(&mut self, w: &mut Writing<'_>, number: u64) -> Option<Downlink> {
        let downlink = self.kept.as_mut()?.downlinks.remove(&number)?;
        self.delete_kept(w, Part::Downlink, &number.to_be_bytes());
        self.shed_kept();
        Some(downlink)
    }

    /// A connection begins: nothing was sent on it.
    pub fn connected_anew(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.sent = 0;
        }
    }

    /// The next downlink to send on this connection, and whether it was sent on an earlier one.
    #[must_use]
    pub fn next_downlink(&self) -> Option<(u64, Downlink, bool)> {
        let kept = self.kept.as_ref()?;
        let (number, downlink) = kept.downlinks.range(kept.sent.saturating_add(1)..).next()?;
        Some((*number, downlink.clone(), *number <= kept.ever_sent))
    }

    pub fn sent_downlink(&mut self, number: u64) {
        if let Some(kept) = &mut self.kept {
            kept.sent = number;
            kept.ever_sent = kept.ever_sent.max(number);
        }
    }

    /// What the kept session is subscribed to: filter and granted QoS.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<(String, u8)> {
        let session = self.kept.as_ref().and_then(|kept| kept.session.as_ref());
        let qos = |qos: u32| u8::try_from(qos).unwrap_or(0);
        session.into_iter().flat_map(|session| &session.subscriptions).map(|one| (one.filter.clone(), qos(one.qos))).collect()
    }

    /// Whether the session that is kept asked, with QoS 1, for downlinks that such filters carry.
    #[must_use]
    pub fn keeps(&self, now: Timestamp, carries: impl Fn(&str) -> bool) -> bool {
        self.session(now).is_some_and(|session| session.subscriptions.iter().any(|one| one.qos > 0 && carries(&one.filter)))
    }

    #[must_use]
    pub fn open_calls(&self) -> Vec<(Uuid, Call)> {
        let all = self.kept.as_ref().map(|kept| &kept.calls);
        all.into_iter().flatten().map(|(id, call)| (*id, call.clone())).collect()
    }

    #[must_use]
    pub fn open_call(&self, id: Uuid) -> Option<&Call> {
        self.kept.as_ref()?.calls.get(&id)
    }

    /// Keeps a call that is not over: a new one, or one that went on.
    ///
    /// # Errors
    /// [`Full`] for a new one, or one that says more than before.
    pub fn keep_call(&mut self, w: &mut Writing<'_>, id: Uuid, call: Call) -> Result<(), Full> {
        let kept = self.kept_mut();
        let before = kept.calls.get(&id).map(text_bytes);
        if before.is_none() && kept.calls.len() >= limits::OPEN_CALLS_PER_DEVICE_MAX {
            return Err(Full { what: "open calls", most: limits::OPEN_CALLS_PER_DEVICE_MAX });
        }
        // One that went on says what it said, however much that is.
        let (said, says) = (before.unwrap_or(0), text_bytes(&call));
        let all: usize = kept.calls.values().map(text_bytes).sum();
        if says > said && all - said + says > limits::OPEN_CALLS_BYTES_PER_DEVICE_MAX {
            return Err(Full { what: "bytes of open calls", most: limits::OPEN_CALLS_BYTES_PER_DEVICE_MAX });
        }
        kept.calls.insert(id, call.clone());
        self.put_kept(w, Part::OpenCall, id.as_bytes(), &call);
        Ok(())
    }

    /// A call is over: it lies where the finished ones are from now on. With `forget` nothing of it is left.
    pub fn end_call(&mut self, w: &mut Writing<'_>, id: Uuid, forget: bool, change: impl FnOnce(&mut Call)) -> Option<Call> {
        let mut call = self.kept.as_mut()?.calls.remove(&id)?;
        change(&mut call);
        self.delete_kept(w, Part::OpenCall, id.as_bytes());
        if !forget {
            w.batch.put(Family::State, &key::call(self.entity, id), &call.encode_to_vec());
        }
        self.shed_kept();
        Some(call)
    }

    /// Forgets a call that is over.
    pub fn forget_ended_call(&self, w: &mut Writing<'_>, id: Uuid) {
        w.batch.delete(Family::State, &key::call(self.entity, id));
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Option<DeviceId> {
        self.kept.as_ref()?.children.get(name).copied()
    }

    /// Remembers which device a gateway means by a name.
    ///
    /// # Errors
    /// [`Full`].
    pub fn keep_child(&mut self, w: &mut Writing<'_>, name: &str, device: DeviceId) -> Result<(), Full> {
        let kept = self.kept_mut();
        if !kept.children.contains_key(name) && kept.children.len() >= limits::CHILDREN_PER_GATEWAY_MAX {
            return Err(Full { what: "children", most: limits::CHILDREN_PER_GATEWAY_MAX });
        }
        kept.children.insert(name.to_owned(), device);
        w.batch.put(Family::State, &key::kept(self.entity, Part::Child, name.as_bytes()), device.0.as_bytes());
        Ok(())
    }

    /// The name means another device, or none.
    pub fn forget_child(&mut self, w: &mut Writing<'_>, name: &str) {
        if self.kept.as_mut().is_some_and(|kept| kept.children.remove(name).is_some()) {
            self.delete_kept(w, Part::Child, name.as_bytes());
            self.shed_kept();
        }
    }

    /// What a rule node remembers.
    #[must_use]
    pub fn node_state(&self, node: Uuid) -> Option<&[u8]> {
        self.kept.as_ref()?.nodes.get(&node).map(|state| &**state)
    }

    /// Has a rule node remember.
    ///
    /// # Errors
    /// [`Full`].
    pub fn keep_node_state(&mut self, w: &mut Writing<'_>, node: Uuid, state: Box<[u8]>) -> Result<(), Full> {
        let kept = self.kept_mut();
        if !kept.nodes.contains_key(&node) && kept.nodes.len() >= limits::NODE_STATES_PER_DEVICE_MAX {
            return Err(Full { what: "nodes that remember", most: limits::NODE_STATES_PER_DEVICE_MAX });
        }
        w.batch.put(Family::State, &key::kept(self.entity, Part::Node, node.as_bytes()), &state);
        self.kept_mut().nodes.insert(node, state);
        Ok(())
    }

    /// Whether nodes remember half as much as they may, so that it is worth looking which of them are gone.
    #[must_use]
    pub fn nodes_crowd(&self) -> bool {
        let half = |count: usize, most: usize| count >= most / 2;
        self.kept.as_ref().is_some_and(|kept| {
            half(kept.nodes.len(), limits::NODE_STATES_PER_DEVICE_MAX)
                || half(kept.progress.len(), limits::PROGRESS_NODES_PER_DEVICE_MAX)
        })
    }

    /// Forgets what nodes remember that are not there any more.
    pub fn forget_nodes(&mut self, w: &mut Writing<'_>, lives: impl Fn(Uuid) -> bool) {
        let Some(kept) = &self.kept else { return };
        let states: Vec<Uuid> = kept.nodes.keys().copied().filter(|node| !lives(*node)).collect();
        let progress: Vec<Progress> = kept.progress.values().filter(|of| !lives(of.node())).cloned().collect();
        for node in states {
            self.delete_kept(w, Part::Node, node.as_bytes());
            self.kept_mut().nodes.remove(&node);
        }
        for mut of_rules in progress {
            of_rules.rules.clear();
            // There is no other node.
            let _kept = self.keep_progress(w, of_rules);
        }
        self.shed_kept();
    }

    /// Keeps what is to be said for the device, or forgets it.
    pub fn keep_will(&mut self, w: &mut Writing<'_>, will: Option<Will>) {
        match will {
            Some(will) => {
                self.put_kept(w, Part::Will, &[], &will);
                self.kept_mut().will = Some(will);
            }
            None => drop(self.take_will(w)),
        }
    }

    /// The will, which is gone with this batch.
    pub fn take_will(&mut self, w: &mut Writing<'_>) -> Option<Will> {
        let will = self.kept.as_mut()?.will.take()?;
        self.delete_kept(w, Part::Will, &[]);
        self.shed_kept();
        Some(will)
    }
}

impl Kept {
    /// One that no kept downlink has [MQTT-2.2.1-4]. Ends: there are fewer downlinks than identifiers.
    fn free_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            let id = self.last_packet_id;
            if !self.downlinks.values().any(|downlink| packet_id(downlink) == id) {
                return id;
            }
        }
    }
}

/// What a call says, in bytes.
fn text_bytes(call: &Call) -> usize {
    call.method.len() + call.params.len() + call.additional_info.len()
}

/// Persistent calls of a device that are over: all of them, or this one.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn ended_calls(engine: &dyn Engine, entity: EntityId, id: Option<Uuid>) -> Result<Vec<(Uuid, Call)>, StoreError> {
    if let Some(id) = id {
        let call_key = key::call(entity, id);
        let found = engine.get(Family::State, &call_key)?;
        return found.map(|record| Ok((id, read(&call_key, &record)?))).into_iter().collect();
    }
    let (from, to) = (key::entity(Kind::Call, entity), key::entity_end(Kind::Call, entity));
    let mut calls = Vec::new();
    engine.scan(Range::new(Family::State, &from, &to), &mut |call_key, record| {
        let id = call_key.get(key::ENTITY_PREFIX_BYTES..).and_then(|id| Uuid::from_slice(id).ok());
        calls.push(read(call_key, record).map(|call| (id.unwrap_or_default(), call)));
        if calls.len() >= limits::CALLS_PER_ANSWER_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    calls.into_iter().collect()
}

/// Whether a session's time is over.
fn is_over(session: &Session, now: Timestamp) -> bool {
    let lasts_ms = i64::from(session.expiry_s).saturating_mul(1_000);
    session.ended_ts != 0 && session.expiry_s != u32::MAX && session.ended_ts.saturating_add(lasts_ms) <= now.0
}

/// [from, to) of everything kept of an entity.
pub(super) fn range(entity: EntityId) -> (key::EntityKey, Vec<u8>) {
    (key::entity(Kind::Kept, entity), key::entity_end(Kind::Kept, entity))
}
