//! A gateway's QoS 2 packs from the moment all their children are known (DESIGN 8.3, 8 and 10): the whole pack and its packet
//! identifier go into the gateway's batch under a number; when that is durable its parts go to their owners, which mark the number in
//! the batch of what the part wrote; when all have answered the pack is deleted, and with that PUBREC leaves. A part may therefore
//! be sent as often as it takes: after a start, after "not now", for want of an answer. Never undoes a part.
//!
//! Parts leave in the order of the packs. While one has to be sent again, those behind it stay on disk and follow one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use prost::Message;
use schemas::chain::MessageType;
use schemas::generated::kept::{Forward, forward::Refused};
use schemas::id::{DeviceId, TenantId};
use uuid::Uuid;

use super::asking::post;
use super::decoding::{self, JSON};
use super::event::{Event, Unsent};
use super::ledger::Owed;
use super::letter::{Address, Answer, Deed, Errand, Forwarded, Of};
use super::needing::{Mark, Waiter};
use super::saving::writing;
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use crate::clock::{Instant, Timestamp};
use crate::device::forward;
use crate::limits;
use crate::message::{Body, Entry, Readings, Scope};
use crate::metric::Counter;
use crate::session::{Outcome, Receipt};
use crate::store::{Batch, Engine};

/// The packs under way of one shard's gateways.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    of: HashMap<DeviceId, VecDeque<Pack>, RandomState>,
    /// Which gateway's parts were sent under a number.
    sendings: HashMap<u32, DeviceId, RandomState>,
    /// Begins anew after four billion: nothing is under way for so long.
    last_sending: u32,
    /// In all of them, finished ones that still hold a place included.
    len: usize,
    /// Of those, how many are of which tenant, as far as that was known.
    tenants: HashMap<TenantId, usize, RandomState>,
    /// Of packs in memory, between their ticket and their sending.
    bytes: usize,
    reading: usize,
    /// The configuration is whole, so a device that is not there is gone.
    begun: bool,
}

/// One pack.
#[derive(Debug)]
struct Pack {
    number: u64,
    /// `None`: a start found it before it knew the gateway.
    tenant: Option<TenantId>,
    /// `None`: the client has given it up.
    packet_id: Option<u16>,
    taken: Timestamp,
    stage: Stage,
    /// The receipt of whoever sent it last.
    waits: Option<(Key, Receipt)>,
    /// A start found it.
    found: bool,
}

#[derive(Debug)]
enum Stage {
    /// On disk, or in the batch; to be read and sent from then on.
    Due(Instant),
    Reading,
    /// In memory; it is sent when its ticket is durable.
    Written,
    Sent(Sent),
    /// Parts were refused, and whoever sent it was told by the end of the connection, or not at all. Who sends it again has the
    /// refused parts tried again, and only those. Since when.
    Held(Instant),
    /// It holds its place until all before it are finished.
    Done,
}

/// See [`Stage::Sent`].
#[derive(Debug)]
struct Sent {
    sending: u32,
    since: Instant,
    open: usize,
    /// The first refusal.
    outcome: Outcome,
    /// An owner said "not now".
    again: bool,
}

impl Forwards {
    /// A whole configuration is there: what a start found may be sent.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// The store generation ended: what is on disk is found again.
    pub(super) fn clear(&mut self) {
        *self = Self { begun: self.begun, last_sending: self.last_sending, ..Self::default() };
    }

    /// The gateway is gone, and its packs with it.
    pub(super) fn forget(&mut self, gateway: DeviceId) {
        let packs = self.of.remove(&gateway).unwrap_or_default();
        packs.iter().for_each(|pack| self.give_place_back(pack));
        self.reading -= packs.iter().filter(|pack| matches!(pack.stage, Stage::Reading)).count();
        self.sendings.retain(|_, of| *of != gateway);
    }

    /// A start found a pack.
    fn find(&mut self, found: forward::Pending, tenant: Option<TenantId>, now: Instant) {
        let forward::Pending { gateway, number, packet_id, taken } = found;
        self.add(gateway, Pack { number, tenant, packet_id, taken, stage: Stage::Due(now), waits: None, found: true });
    }

    fn add(&mut self, gateway: DeviceId, pack: Pack) {
        self.len += 1;
        if let Some(tenant) = pack.tenant {
            *self.tenants.entry(tenant).or_default() += 1;
        }
        self.of.entry(gateway).or_default().push_back(pack);
    }

    fn give_place_back(&mut self, pack: &Pack) {
        self.len -= 1;
        if let Some(tenant) = pack.tenant
            && let Some(own) = self.tenants.get_mut(&tenant)
        {
            *own -= 1;
            if *own == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }

    /// Identifiers of packs that are not finished.
    pub(super) fn identifiers(&self, gateway: DeviceId) -> Vec<u16> {
        self.of.get(&gateway).into_iter().flatten().filter_map(|pack| pack.packet_id).collect()
    }

    /// The session is over: nobody will send its packs again. What they say is stored all the same.
    pub(super) fn give_up(&mut self, gateway: DeviceId, batch: &mut Batch) {
        for pack in self.of.get_mut(&gateway).into_iter().flatten() {
            pack.packet_id = None;
            pack.waits = None;
            if matches!(pack.stage, Stage::Held(_)) {
                forward::delete(batch, gateway, pack.number);
                pack.stage = Stage::Done;
            }
        }
        self.shed(gateway);
    }

    fn pack(&mut self, gateway: DeviceId, number: u64) -> Option<&mut Pack> {
        self.of.get_mut(&gateway)?.iter_mut().find(|pack| pack.number == number)
    }

    fn identified(&mut self, gateway: DeviceId, packet_id: u16) -> Option<&mut Pack> {
        self.of.get_mut(&gateway)?.iter_mut().find(|pack| pack.packet_id == Some(packet_id))
    }

    /// Must a new pack wait for earlier ones to be read and sent?
    fn is_behind(&self, gateway: DeviceId) -> bool {
        let waits = |pack: &Pack| matches!(pack.stage, Stage::Due(_) | Stage::Reading);
        self.of.get(&gateway).is_some_and(|packs| packs.iter().any(waits))
    }

    /// Makes room for another pack of a gateway: one that is held and not sent again gives way, of this gateway, of its tenant, whose
    /// share is half of all, or of whoever has the oldest one. False: there is none.
    fn make_room(&mut self, (gateway, tenant): (DeviceId, Option<TenantId>), batch: &mut Batch) -> bool {
        let full = |packs: &VecDeque<Pack>| packs.len() >= limits::FORWARDS_PER_GATEWAY_MAX;
        if self.of.get(&gateway).is_some_and(full) {
            self.give_way(gateway, batch);
        }
        if self.has_share(tenant)
            && let Some(gateway) = self.held_longest(|pack| pack.tenant == tenant)
        {
            self.give_way(gateway, batch);
        }
        if self.len >= limits::FORWARDS_PER_SHARD_MAX
            && let Some(gateway) = self.held_longest(|_| true)
        {
            self.give_way(gateway, batch);
        }
        self.len < limits::FORWARDS_PER_SHARD_MAX && !self.has_share(tenant) && !self.of.get(&gateway).is_some_and(full)
    }

    /// A tenant has as many packs as it may.
    fn has_share(&self, tenant: Option<TenantId>) -> bool {
        let own = tenant.and_then(|tenant| self.tenants.get(&tenant)).copied().unwrap_or(0);
        own >= limits::FORWARDS_PER_SHARD_MAX / 2
    }

    /// The gateway of the pack that is held for the longest, among those that hold up no place but their own.
    fn held_longest(&self, is: impl Fn(&Pack) -> bool) -> Option<DeviceId> {
        let first = self.of.iter().filter_map(|(gateway, packs)| Some((gateway, packs.front().filter(|pack| is(pack))?)));
        let held = first.filter_map(|(gateway, pack)| match pack.stage {
            Stage::Held(since) => Some((since, *gateway)),
            _ => None,
        });
        held.min().map(|(_, gateway)| gateway)
    }

    /// The first pack of a gateway that is held gives way.
    fn give_way(&mut self, gateway: DeviceId, batch: &mut Batch) {
        let packs = self.of.get_mut(&gateway).into_iter().flatten();
        for held in packs.filter(|pack| matches!(pack.stage, Stage::Held(_))).take(1) {
            forward::delete(batch, gateway, held.number);
            held.stage = Stage::Done;
            held.packet_id = None;
        }
        self.shed(gateway);
    }

    /// A ts of its own for each pack under way, so that a late one does not share its rows' ts with the next (DESIGN 8.5, 15).
    fn taken(&self, gateway: DeviceId, now: Timestamp) -> Timestamp {
        let last = self.of.get(&gateway).and_then(VecDeque::back).map_or(0, |pack| pack.taken.0);
        Timestamp(now.0.max(last.saturating_add(1)).min(now.0.saturating_add(1_000)))
    }

    /// Parts are about to leave. Under which number, and below which all packs of the gateway are finished; `None` if they are not
    /// to leave any more.
    fn send(&mut self, gateway: DeviceId, number: u64, outcome: Outcome, now: Instant) -> Option<(u32, u64)> {
        let floor = self.of.get(&gateway)?.front()?.number;
        let sending = self.last_sending.wrapping_add(1);
        let pack = self.pack(gateway, number).filter(|pack| matches!(pack.stage, Stage::Written))?;
        pack.stage = Stage::Sent(Sent { sending, since: now, open: 1, outcome, again: false });
        self.last_sending = sending;
        self.sendings.insert(sending, gateway);
        Some((sending, floor))
    }

    fn sent(&mut self, sending: u32) -> Option<(DeviceId, &mut Pack)> {
        let gateway = *self.sendings.get(&sending)?;
        let is = |pack: &&mut Pack| matches!(&pack.stage, Stage::Sent(sent) if sent.sending == sending);
        Some((gateway, self.of.get_mut(&gateway)?.iter_mut().find(is)?))
    }

    /// The pack of a gateway to be read now: the first that is not finished, if its time has come.
    fn due(&self, gateway: DeviceId, now: Instant) -> Option<u64> {
        let under_way = |pack: &&Pack| !matches!(pack.stage, Stage::Held(_) | Stage::Done);
        let first = self.of.get(&gateway)?.iter().find(under_way)?;
        matches!(first.stage, Stage::Due(at) if at <= now).then_some(first.number)
    }

    /// Packs whose answers do not come are due again; those that nobody sends again are finished. Gives back gateways that have
    /// something to be read.
    pub(super) fn tend(&mut self, now: Instant, batch: &mut Batch) -> Vec<DeviceId> {
        let mut over = Vec::new();
        for (gateway, packs) in &mut self.of {
            for pack in packs {
                match &pack.stage {
                    Stage::Sent(sent) if now.ms_since(sent.since) >= limits::FORWARD_ANSWER_MS => {
                        self.sendings.remove(&sent.sending);
                        pack.stage = Stage::Due(sent.since);
                    }
                    Stage::Held(since) if now.ms_since(*since) >= limits::FORWARD_HELD_MS => {
                        forward::delete(batch, *gateway, pack.number);
                        pack.stage = Stage::Done;
                        pack.packet_id = None;
                        over.push(*gateway);
                    }
                    _ => {}
                }
            }
        }
        over.into_iter().for_each(|gateway| self.shed(gateway));
        let due = self.of.keys().copied().filter(|gateway| self.due(*gateway, now).is_some());
        due.take(limits::FORWARDS_READ_AT_ONCE_MAX).collect()
    }

    /// Gives places back that nothing before them needs.
    fn shed(&mut self, gateway: DeviceId) {
        let Some(packs) = self.of.get_mut(&gateway) else { return };
        let finished = packs.iter().take_while(|pack| matches!(pack.stage, Stage::Done)).count();
        let finished: Vec<Pack> = packs.drain(..finished).collect();
        if packs.is_empty() {
            self.of.remove(&gateway);
        }
        finished.iter().for_each(|pack| self.give_place_back(pack));
    }
}

impl Shard {
    /// Whether a pack with this identifier came before, on this connection or an earlier one of the session. Its receipt settles
    /// when the pack is finished, or at once if it is.
    pub(super) fn is_under_way(&mut self, key: Key, receipt: Receipt, packet_id: u16) -> bool {
        let now = self.now.instant;
        let Some((device, _)) = self.gateway_of(key) else { return false };
        if let Some(pack) = self.forwards.identified(device, packet_id) {
            if matches!(pack.stage, Stage::Held(_)) {
                return false;
            }
            pack.waits = Some((key, receipt));
            return true;
        }
        // It was not finished when the session began, and is by now.
        let finished = self.residents.get_mut(device.into(), now).is_some_and(|state| state.has_received(packet_id));
        if finished {
            self.settle_later(key, Some(receipt), Outcome::Stored);
        }
        finished
    }

    /// A pack is refused as a whole. Where the protocol says so, the next with its identifier is another one.
    pub(super) fn refuse_pack(
        &mut self,
        key: Key,
        (receipt, packet_id): (Option<Receipt>, Option<u16>),
        outcome: Outcome,
    ) -> Flow {
        if let Some(packet_id) = packet_id
            && self.is_told(key)
            && let Some((device, _)) = self.gateway_of(key)
            && let Some(pack) = self.forwards.identified(device, packet_id)
        {
            pack.stage = Stage::Done;
            pack.packet_id = None;
            let number = pack.number;
            forward::delete(&mut self.ledger.batch, device, number);
            self.release_identifier(device, packet_id);
            self.forwards.shed(device);
        }
        self.settle_later(key, receipt, outcome)
    }

    /// A connection is there whose protocol can say that a message was refused.
    fn is_told(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.session.refuses())
    }

    fn release_identifier(&mut self, device: DeviceId, packet_id: u16) {
        let now = self.now;
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            state.release_received(&mut writing(&mut self.ledger, now), packet_id);
        }
    }

    /// Writes a pack and its identifier; its parts leave when both are durable (DESIGN 8.1, 3).
    pub(super) fn take_pack(&mut self, key: Key, (receipt, packet_id): (Receipt, u16), mut pack: Forward) {
        let now = self.now;
        let Some((device, _)) = self.gateway_of(key) else { return };
        let held = self.forwards.identified(device, packet_id).map(|held| (held.number, held.taken));
        let tenant = self.table.device(device).map(|facts| facts.tenant);
        if held.is_none() && !self.forwards.make_room((device, tenant), &mut self.ledger.batch) {
            self.settle_later(key, Some(receipt), Outcome::Unavailable);
            return;
        }
        // One that is held keeps its number, so that the parts that were stored are known.
        let (number, taken) = held.unwrap_or_else(|| (self.ledger.sequence.next(), self.forwards.taken(device, now.timestamp)));
        (pack.packet_id, pack.taken_ts) = (packet_id.into(), taken.0);
        forward::put(&mut self.ledger.batch, device, number, &pack);
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            state.keep_received(&mut writing(&mut self.ledger, now), packet_id, Some(number));
        }
        let waits = Some((key, receipt));
        let stage = Stage::Due(now.instant);
        let behind = self.forwards.is_behind(device);
        match self.forwards.pack(device, number) {
            Some(held) => (held.stage, held.waits, held.found) = (stage, waits, false),
            None => {
                let packet_id = Some(packet_id);
                self.forwards.add(device, Pack { number, tenant, packet_id, taken, stage, waits, found: false });
            }
        }
        // Otherwise it is read again when its turn has come.
        if !behind && self.forwards.bytes < limits::FORWARD_BYTES_PER_SHARD_MAX {
            let owed = self.hold_in_memory(device, number, pack);
            self.ledger.owe(owed);
        }
    }

    fn hold_in_memory(&mut self, gateway: DeviceId, number: u64, pack: Forward) -> Owed {
        self.forwards.bytes += pack.encoded_len();
        if let Some(pack) = self.forwards.pack(gateway, number) {
            pack.stage = Stage::Written;
        }
        Owed::Forward { gateway, number, pack: Box::new(pack) }
    }

    /// A pack is durable: its parts leave, by the connection the gateway has now.
    pub(super) fn send_forward(&mut self, gateway: DeviceId, number: u64, pack: Forward) {
        self.forwards.bytes = self.forwards.bytes.saturating_sub(pack.encoded_len());
        let outcome = match pack.refused() {
            Refused::Nothing => Outcome::Stored,
            Refused::Quota => Outcome::QuotaExceeded,
            Refused::Unavailable => Outcome::Unavailable,
        };
        let Some((sending, floor)) = self.forwards.send(gateway, number, outcome, self.now.instant) else { return };
        let connection = self.sessions.get(&gateway).copied().unwrap_or(Key::NONE);
        let from = Address { shard: self.index, connection, receipt: None, of: Of::Forward(sending) };
        let (taken, attributes) = (Timestamp(pack.taken_ts), pack.attributes);
        for part in pack.parts {
            if let Some((_, Pack { stage: Stage::Sent(sent), .. })) = self.forwards.sent(sending) {
                sent.open += 1;
            }
            let Ok(child) = Uuid::from_slice(&part.device).map(DeviceId) else {
                self.forward_answered(sending, &Outcome::Unspecified.into());
                continue;
            };
            let name: Arc<str> = part.child.into();
            if let Some((_, gateway)) = self.gateway_of(connection) {
                gateway.attached.insert(child, Arc::clone(&name));
            }
            let forwarded = Forwarded { gateway, number, floor, taken, attributes, texts: part.texts };
            let deed = Deed::Forwarded(Box::new(forwarded));
            self.send_errand(Errand { from, device: child, child: Some(name), deed });
        }
        // The part that stood for the pack itself while it was sent.
        self.forward_answered(sending, &Outcome::Stored.into());
        // What owners of this shard wrote goes into the next turn's batch.
        self.bell.ring();
    }

    /// A part for a device of this shard: taken once, with the time at which its pack was taken, so that its rows are the same
    /// whenever that is. What it says several times over is one message, so that all of it and its mark are one batch.
    pub(super) fn say_forwarded(&mut self, to: Address, device: DeviceId, forwarded: &Forwarded) {
        let Forwarded { gateway, number, floor, taken, attributes, texts } = forwarded;
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else {
            return self.answer_later(to, Outcome::Unavailable.into());
        };
        if state.is_marked(*gateway, *number) {
            self.counters.increment(Counter::PartsRepeated);
            return self.answer_later(to, Outcome::Stored.into());
        }
        let (read, refused) = read_texts(texts, *attributes);
        let refused = refused.map(|outcome| self.discard(outcome));
        let of = Mark { gateway: *gateway, number: *number, floor: *floor, refused };
        if read.is_empty() && refused.is_some() {
            return self.answer_later(to, refused.unwrap_or(Outcome::Stored).into());
        }
        let (kind, body) = match attributes {
            true => (MessageType::PostAttributesRequest, Body::Attributes { scope: Scope::Client, readings: read }),
            false => (MessageType::PostTelemetryRequest, Body::Telemetry(read)),
        };
        let now = std::mem::replace(&mut self.now.timestamp, *taken);
        let written = self.ledger.batch.len();
        let said = self.say_for(device, kind, body, Waiter::Part { to, of });
        self.now.timestamp = now;
        if let Some(outcome) = said {
            let wrote = self.ledger.batch.len() > written;
            self.part_said(device, (to, of), outcome, wrote);
        }
    }

    /// The message of a part was evaluated.
    pub(super) fn part_said(&mut self, device: DeviceId, (to, of): (Address, Mark), said: Outcome, wrote: bool) {
        let now = self.now;
        let outcome = if said == Outcome::Stored { of.refused.unwrap_or(said) } else { said };
        // A refusal that wrote something is not tried again either; what found no room was not even looked at.
        if (outcome == Outcome::Stored || (wrote && said != Outcome::Unavailable))
            && let Some(state) = self.residents.get_mut(device.into(), now.instant)
        {
            state.keep_mark(&mut writing(&mut self.ledger, now), of.gateway, of.number, of.floor);
        }
        self.answer_later(to, outcome.into());
    }

    /// An owner has answered: the part is durable, or refused, or not now.
    pub(super) fn forward_answered(&mut self, sending: u32, answer: &Answer) {
        let (begun, patient) = (self.forwards.begun, self.is_patient());
        let Some((gateway, pack)) = self.forwards.sent(sending) else { return };
        let waits_for_child = !begun || (pack.found && patient);
        let Stage::Sent(sent) = &mut pack.stage else { return };
        sent.open = sent.open.saturating_sub(1);
        let not_now = if answer.gone.is_some() { waits_for_child } else { answer.outcome == Outcome::Unavailable };
        sent.again |= not_now;
        let outcome = match answer.gone {
            _ if not_now => Outcome::Stored,
            // Made anew when the gateway speaks of it again.
            Some(_) => Outcome::Unavailable,
            None => answer.outcome,
        };
        if sent.outcome == Outcome::Stored {
            sent.outcome = outcome;
        }
        let (number, over) = (pack.number, sent.open == 0);
        if let Some(gone) = answer.gone.filter(|_| !waits_for_child)
            && let Some(key) = self.sessions.get(&gateway).copied()
        {
            self.forget_child(key, gone);
        }
        if over {
            self.forwards.sendings.remove(&sending);
            self.all_answered(gateway, number);
            self.next_forward(gateway);
            self.bell.ring();
        }
    }

    /// The pack is finished and deleted, or has to be sent again, by us or by the gateway.
    fn all_answered(&mut self, gateway: DeviceId, number: u64) {
        let now = self.now.instant;
        let Some(pack) = self.forwards.pack(gateway, number) else { return };
        let Stage::Sent(Sent { outcome, again, .. }) = pack.stage else { return };
        if again {
            pack.stage = Stage::Due(now.after_ms(limits::FORWARD_PAUSE_MS));
            return;
        }
        let (packet_id, waits) = (pack.packet_id, pack.waits.take());
        let told = waits.is_some_and(|(key, _)| self.is_told(key));
        // MQTT 5 says what was refused, and the identifier is free. A client before it is told by the end of its connection, if
        // it has one, and sends the pack again: it is held, so that only the refused parts are tried again.
        let held = outcome != Outcome::Stored && packet_id.is_some() && !told;
        if let Some(pack) = self.forwards.pack(gateway, number) {
            pack.stage = if held { Stage::Held(now) } else { Stage::Done };
            pack.packet_id = packet_id.filter(|_| held);
        }
        if !held {
            forward::delete(&mut self.ledger.batch, gateway, number);
            self.forwards.shed(gateway);
        }
        if outcome != Outcome::Stored
            && told
            && let Some(packet_id) = packet_id
        {
            self.release_identifier(gateway, packet_id);
        }
        if let Some((key, receipt)) = waits {
            self.settle_later(key, Some(receipt), outcome);
        }
    }

    /// Time has passed, or a whole configuration is there: what is due is read.
    pub(super) fn tend_forwards(&mut self) {
        for gateway in self.forwards.tend(self.now.instant, &mut self.ledger.batch) {
            self.next_forward(gateway);
        }
    }

    /// Has the next pack of a gateway read that waits on disk for its turn.
    fn next_forward(&mut self, gateway: DeviceId) {
        let room = self.forwards.reading < limits::FORWARDS_READ_AT_ONCE_MAX && self.mesh.has_room_everywhere();
        if !room || !self.forwards.begun || !self.ledger.is_open() {
            return;
        }
        let Some(number) = self.forwards.due(gateway, self.now.instant) else { return };
        let (Some(readers), Some(progress)) = (self.ledger.readers(), self.ledger.progress()) else { return };
        let mailbox = self.mailbox.clone();
        let job = move |engine: &dyn Engine| {
            let pack = forward::read(engine, gateway, number);
            // It may be in a batch that is not durable yet.
            let ticket = progress.written();
            post(&mailbox, Event::Forward(Box::new(Unsent { gateway, number, pack, ticket })));
        };
        if readers.submit(Box::new(job)).is_ok()
            && let Some(pack) = self.forwards.pack(gateway, number)
        {
            pack.stage = Stage::Reading;
            self.forwards.reading += 1;
        }
    }

    /// A lane has read a pack.
    pub(super) fn forward_read(&mut self, unsent: Unsent) {
        let Unsent { gateway, number, pack: read, ticket } = unsent;
        let retry = self.now.instant.after_ms(limits::FORWARD_PAUSE_MS);
        let reading = self.forwards.pack(gateway, number).filter(|pack| matches!(pack.stage, Stage::Reading));
        let Some(pack) = reading else { return };
        match read {
            Ok(Some(forward)) => {
                let owed = self.hold_in_memory(gateway, number, forward);
                self.ledger.owe_at(ticket, owed);
            }
            // The batch it is in was not written yet.
            Ok(None) => pack.stage = Stage::Due(retry),
            Err(error) => {
                // It stays where it is, for whoever looks into it.
                tracing::error!(%error, "a gateway's pack cannot be read");
                pack.stage = Stage::Done;
                self.forwards.shed(gateway);
            }
        }
        self.forwards.reading = self.forwards.reading.saturating_sub(1);
    }

    /// After a start or a new generation: packs that were not finished are sent again, in the order of their numbers.
    pub(super) fn recover_forwards(&mut self, engine: &dyn Engine) {
        let now = self.now.instant;
        let found = forward::pending(engine, |each| match each {
            Ok(pack) => {
                let tenant = self.table.device(pack.gateway).map(|facts| facts.tenant);
                self.forwards.find(pack, tenant, now);
            }
            Err(error) => tracing::error!(%error, "a gateway's pack cannot be read"),
        });
        if let Err(error) = found {
            tracing::error!(%error, "gateways' packs could not be recovered");
        }
    }
}

/// What the texts of a part say, as one, and what was wrong with those that say nothing.
fn read_texts(texts: &[Vec<u8>], attributes: bool) -> (Readings<'_>, Option<Outcome>) {
    let (mut all, mut refused) = (Readings::default(), None);
    for text in texts {
        let (profile, format) = JSON;
        let mut one = Readings::default();
        let read = match attributes {
            true => decoding::attributes(profile, format, text, &mut one),
            false => decoding::telemetry(profile, format, text, &mut one),
        };
        match read {
            Ok(()) if attributes => all.readings.append(&mut one.readings),
            Ok(()) => {
                let before = all.readings.len();
                let moved = |entry: Entry| Entry { range: entry.range.start + before..entry.range.end + before, ..entry };
                all.entries.extend(one.entries.into_iter().map(moved));
                all.readings.append(&mut one.readings);
            }
            Err(outcome) => refused = refused.or(Some(outcome)),
        }
    }
    if attributes {
        all.entries = vec![Entry { ts: None, range: 0..all.readings.len() }];
    }
    (all, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(1));
    const OTHER: TenantId = TenantId(Uuid::from_u128(2));

    fn gateway(number: usize) -> DeviceId {
        DeviceId(Uuid::from_u128(number as u128))
    }

    fn held(tenant: TenantId, since_ms: u64) -> Pack {
        let stage = Stage::Held(Instant::default().after_ms(since_ms));
        Pack { number: 1, tenant: Some(tenant), packet_id: Some(1), taken: Timestamp(0), stage, waits: None, found: false }
    }

    fn sent(tenant: TenantId) -> Pack {
        Pack { stage: Stage::Due(Instant::default()), ..held(tenant, 0) }
    }

    #[test]
    fn a_tenant_has_half_of_the_places_and_its_oldest_held_pack_gives_way() {
        let (mut forwards, mut batch, half) = (Forwards::default(), Batch::new(), limits::FORWARDS_PER_SHARD_MAX / 2);
        forwards.add(gateway(half), held(TENANT, 5));
        forwards.add(gateway(half + 1), held(OTHER, 1));
        (1..half).for_each(|number| forwards.add(gateway(number), sent(TENANT)));
        assert!(forwards.make_room((gateway(0), Some(TENANT)), &mut batch), "its own held one gives way");
        assert_eq!((batch.len(), forwards.len), (1, half));
        forwards.add(gateway(0), sent(TENANT));
        assert!(!forwards.make_room((gateway(0), Some(TENANT)), &mut batch), "others' do not");
        assert!(forwards.make_room((gateway(half + 2), Some(OTHER)), &mut batch));
        forwards.forget(gateway(0));
        assert!(forwards.make_room((gateway(0), Some(TENANT)), &mut batch));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn when_the_shard_is_full_whichever_pack_is_held_for_the_longest_gives_way() {
        let (mut forwards, mut batch) = (Forwards::default(), Batch::new());
        let tenants = [TENANT, OTHER];
        (3..limits::FORWARDS_PER_SHARD_MAX).for_each(|number| forwards.add(gateway(number), sent(tenants[number % 2])));
        forwards.add(gateway(0), held(TENANT, 2));
        forwards.add(gateway(1), held(OTHER, 1));
        forwards.add(gateway(2), sent(TENANT));
        let third = (gateway(limits::FORWARDS_PER_SHARD_MAX), Some(TenantId(Uuid::from_u128(3))));
        assert!(forwards.make_room(third, &mut batch));
        assert!(!forwards.of.contains_key(&gateway(1)) && forwards.of.contains_key(&gateway(0)), "the older one");
        forwards.add(third.0, Pack { tenant: third.1, ..sent(TENANT) });
        assert!(forwards.make_room(third, &mut batch));
        forwards.add(third.0, Pack { tenant: third.1, ..sent(TENANT) });
        assert!(!forwards.make_room(third, &mut batch), "nothing is held any more");
        assert_eq!((forwards.len, batch.len()), (limits::FORWARDS_PER_SHARD_MAX, 2));
    }
}
