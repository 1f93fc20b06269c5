//! Gateways: one connection that speaks for many devices. A message is a pack of parts, each an errand for the child's owner; its
//! receipt settles when every part is durable (DESIGN 8.3, 10). Names that the gateway's state does not know are asked of the
//! control plane, with the pack parked and the connection unread. What becomes of a QoS 2 pack from there on is in `forwarding`.

use std::borrow::Cow;
use std::sync::Arc;

use schemas::generated::kept::{self, Forward, forward::Refused};
use schemas::id::DeviceId;

use super::connection::{Gateway, Pack, Parked};
use super::inquiring::Asker;
use super::ledger::OwnedDownlink;
use super::letter::{Address, Answer, Deed, Errand, Of};
use super::saving::writing;
use super::serve::Flow;
use super::slab::Key;
use super::turn::Shard;
use crate::limits;
use crate::payload::{self, PayloadError};
use crate::quota::Cost;
use crate::registry::{Ask, Told};
use crate::session::{GatewayOperation, Outcome, Promise, Receipt, Sending};

/// What a pack says of one child.
struct Part {
    name: Arc<str>,
    /// The profile of a child that has to be made.
    kind: Option<String>,
    what: What,
}

enum What {
    Deed(Deed),
    Claim { secret_key: String, duration_ms: i64 },
}

impl Shard {
    /// A message of a gateway.
    pub(super) fn gateway(&mut self, key: Key, operation: GatewayOperation, payload: &[u8], promise: Option<Promise>) -> Flow {
        let receipt = promise.map(|promise| promise.receipt);
        let packet_id = promise.and_then(|promise| promise.exactly_once);
        if let (Some(receipt), Some(packet_id)) = (receipt, packet_id)
            && self.is_under_way(key, receipt, packet_id)
        {
            return Flow::More;
        }
        let Ok(parts) = cut(operation, payload) else {
            return self.refuse_pack(key, (receipt, packet_id), Outcome::PayloadInvalid);
        };
        let Some((device, gateway)) = self.gateway_of(key) else { return Flow::Stop };
        if gateway.packs.len() >= limits::PACKS_PER_GATEWAY_MAX {
            return self.refuse_pack(key, (receipt, packet_id), Outcome::Unavailable);
        }
        // What its children cost is on their accounts.
        let cost = match operation {
            GatewayOperation::Telemetry | GatewayOperation::Attributes => Cost::Telemetry { points: parts.len() as u64 },
            _ => Cost::Message,
        };
        if let Err(refused) = self.spend_own(device, cost) {
            return self.refuse_pack(key, (receipt, packet_id), refused);
        }
        let unknown = self.unknown(device, &parts, operation);
        if unknown.is_empty() {
            self.dispatch(key, (receipt, packet_id), parts, None);
            return Flow::More;
        }
        let mut open = 0;
        for (name, kind) in unknown {
            let ask = Ask::Child { gateway: device, name: Arc::clone(&name), kind: kind.unwrap_or_default() };
            open += u32::from(self.inquire(ask, Asker::Gateway { connection: key, name }));
        }
        let parked = Parked { operation, payload: payload.into(), receipt, packet_id, open, refused: None };
        if open == 0 {
            self.dispatch(key, (receipt, packet_id), parts, Some(Outcome::Unavailable));
        } else if let Some((_, gateway)) = self.gateway_of(key) {
            gateway.parked = Some(parked);
            return Flow::Stop;
        }
        Flow::More
    }

    /// The gateway's device, and what its connection knows of its children.
    pub(super) fn gateway_of(&mut self, key: Key) -> Option<(DeviceId, &mut Gateway)> {
        let admitted = self.connections.get_mut(key)?.admitted()?;
        Some((admitted.identity.device, admitted.gateway.get_or_insert_default()))
    }

    /// Names that mean no device yet, each once.
    fn unknown(&mut self, gateway: DeviceId, parts: &[Part], operation: GatewayOperation) -> Vec<(Arc<str>, Option<String>)> {
        // Who leaves need not be made first.
        if operation == GatewayOperation::Disconnect {
            return Vec::new();
        }
        let Some(state) = self.residents.get_mut(gateway.into(), self.now.instant) else { return Vec::new() };
        let mut unknown: Vec<(Arc<str>, Option<String>)> = Vec::new();
        for part in parts.iter().filter(|part| state.child(&part.name).is_none()) {
            if !unknown.iter().any(|(name, _)| *name == part.name) {
                unknown.push((Arc::clone(&part.name), part.kind.clone()));
            }
        }
        unknown
    }

    /// The control plane has said which device a name means, or will not. When all names of the pack are answered it goes on, and
    /// parts without a device are refused.
    pub(super) fn child_known(&mut self, key: Key, name: &Arc<str>, told: Told) {
        let now = self.now;
        let Some((device, gateway)) = self.gateway_of(key) else { return };
        let Some(parked) = &mut gateway.parked else { return };
        parked.open = parked.open.saturating_sub(1);
        let refused = match told {
            Told::Device(child) => {
                let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
                state.keep_child(&mut writing(&mut self.ledger, now), name, child).err().map(|_| Outcome::QuotaExceeded)
            }
            Told::Nobody(_) => Some(Outcome::QuotaExceeded),
            _ => Some(Outcome::Unavailable),
        };
        let Some((_, gateway)) = self.gateway_of(key) else { return };
        let Some(parked) = &mut gateway.parked else { return };
        parked.refused = parked.refused.or(refused);
        if parked.open > 0 {
            return;
        }
        let Some(Parked { operation, payload, receipt, packet_id, refused, .. }) = gateway.parked.take() else { return };
        if let Ok(parts) = cut(operation, &payload) {
            self.dispatch(key, (receipt, packet_id), parts, refused.or(Some(Outcome::Unavailable)));
        }
        self.served(key);
        self.make_ready(key);
        self.bell.ring();
    }

    /// Sends every part to its child's owner. `refused`: what parts without a device are told.
    fn dispatch(
        &mut self,
        key: Key,
        (receipt, packet_id): (Option<Receipt>, Option<u16>),
        parts: Vec<Part>,
        refused: Option<Outcome>,
    ) {
        if let (Some(receipt), Some(packet_id)) = (receipt, packet_id)
            && is_stored(&parts)
        {
            return self.dispatch_once(key, (receipt, packet_id), parts, refused);
        }
        let now = self.now.instant;
        let Some((device, gateway)) = self.gateway_of(key) else { return };
        gateway.last_pack = gateway.last_pack.checked_add(1).unwrap_or(1);
        let number = gateway.last_pack;
        gateway.packs.push(Pack { number, receipt, open: 1, outcome: Outcome::Stored, packet_id });
        let from = Address { shard: self.index, connection: key, receipt, of: Of::Pack(number) };
        for Part { name, what, .. } in parts {
            let child = self.residents.get_mut(device.into(), now).and_then(|state| state.child(&name));
            let Some((_, gateway)) = self.gateway_of(key) else { return };
            let Some(pack) = gateway.packs.last_mut() else { return };
            match (child, what) {
                (Some(child), What::Deed(Deed::Detach)) => {
                    gateway.attached.remove(&child);
                    self.send_errand(Errand { from, device: child, child: Some(name), deed: Deed::Detach });
                }
                (Some(child), What::Deed(deed)) => {
                    pack.open += 1;
                    gateway.attached.insert(child, Arc::clone(&name));
                    self.send_errand(Errand { from, device: child, child: Some(name), deed });
                }
                (Some(child), What::Claim { secret_key, duration_ms }) => {
                    pack.open += 1;
                    if !self.inquire(Ask::Claim { device: child, secret_key, duration_ms }, Asker::Answer(from)) {
                        self.part_answered(key, number, Outcome::Unavailable.into());
                    }
                }
                (None, What::Deed(Deed::Detach)) => {}
                (None, _) => pack.outcome = refused.unwrap_or(Outcome::Unavailable),
            }
        }
        // The part that stood for the pack itself while it was sent.
        self.part_answered(key, number, Outcome::Stored.into());
    }

    /// The same for a QoS 2 pack that is stored: all of it goes to disk before any part leaves (DESIGN 8.3, 10).
    fn dispatch_once(&mut self, key: Key, promise: (Receipt, u16), parts: Vec<Part>, refused: Option<Outcome>) {
        let now = self.now.instant;
        let Some((device, _)) = self.gateway_of(key) else { return };
        let mut pack = Forward::default();
        for Part { name, what, .. } in parts {
            let (attributes, text) = match what {
                What::Deed(Deed::Telemetry { payload }) => (false, payload.into_vec()),
                What::Deed(Deed::Attributes { payload }) => (true, payload.into_vec()),
                What::Deed(_) | What::Claim { .. } => continue,
            };
            pack.attributes = attributes;
            let child = self.residents.get_mut(device.into(), now).and_then(|state| state.child(&name));
            let Some(child) = child else {
                pack.refused = match refused {
                    Some(Outcome::QuotaExceeded) => Refused::Quota.into(),
                    _ => Refused::Unavailable.into(),
                };
                continue;
            };
            let child = child.0.as_bytes();
            // Of equal names all parts count, in their order; they are one errand, since they have one number.
            match pack.parts.iter_mut().find(|part| part.device == child) {
                Some(part) => part.texts.push(text),
                None => {
                    pack.parts.push(kept::forward::Part { device: child.to_vec(), child: name.to_string(), texts: vec![text] })
                }
            }
        }
        self.take_pack(key, promise, pack);
    }

    /// One part of a pack is durable, or refused. The first refusal is the pack's outcome; it does not undo the others.
    pub(super) fn part_answered(&mut self, key: Key, number: u32, answer: Answer) {
        if let Some(downlink) = &answer.downlink {
            self.deliver_to(key, downlink, Sending::default());
        }
        let mut outcome = answer.outcome;
        if let Some(gone) = answer.gone {
            // Made anew when the gateway speaks of it again.
            self.forget_child(key, gone);
            outcome = Outcome::Unavailable;
        }
        let Some((device, gateway)) = self.gateway_of(key) else { return };
        let Some(place) = gateway.packs.iter().position(|pack| pack.number == number) else { return };
        let pack = &mut gateway.packs[place];
        pack.open = pack.open.saturating_sub(1);
        if pack.outcome == Outcome::Stored {
            pack.outcome = outcome;
        }
        if pack.open > 0 {
            return;
        }
        let Pack { receipt, outcome, packet_id, .. } = gateway.packs.swap_remove(place);
        // An answer may come after the turn's batch was written.
        self.bell.ring();
        match (receipt, packet_id) {
            (Some(receipt), Some(packet_id)) if outcome == Outcome::Stored => {
                let promise = Promise { receipt, exactly_once: Some(packet_id) };
                self.keep_identifier(device, Some(promise));
                self.settle_later(key, Some(receipt), outcome);
            }
            (receipt, _) => {
                self.settle_later(key, receipt, outcome);
            }
        }
    }

    pub(super) fn forget_child(&mut self, key: Key, gone: DeviceId) {
        let now = self.now;
        let Some((device, gateway)) = self.gateway_of(key) else { return };
        let Some(name) = gateway.attached.remove(&gone) else { return };
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            state.forget_child(&mut writing(&mut self.ledger, now), &name);
        }
    }

    /// A gateway's connection is over: it speaks for nobody any more.
    pub(super) fn detach_all(&mut self, key: Key, gateway: &Gateway) {
        for (child, name) in &gateway.attached {
            let from = Address { shard: self.index, connection: key, receipt: None, of: Of::Nothing };
            let name = Some(Arc::clone(name));
            self.send_errand(Errand { from, device: *child, child: name, deed: Deed::Detach });
        }
    }

    /// A downlink in a gateway's words, from the owner of its child.
    pub(super) fn take_down(&mut self, key: Key, downlink: &OwnedDownlink) {
        self.deliver_to(key, downlink, Sending::default());
    }
}

/// Whether what a message says is stored: only then is it more than once a fault.
fn is_stored(parts: &[Part]) -> bool {
    let stored = |part: &Part| matches!(part.what, What::Deed(Deed::Telemetry { .. } | Deed::Attributes { .. }));
    parts.first().is_some_and(stored)
}

/// Cuts a gateway's payload into its parts. Why it cannot be is nobody's business: the protocol has one word for it.
fn cut(operation: GatewayOperation, payload: &[u8]) -> Result<Vec<Part>, ()> {
    let pack = |what: &dyn Fn(&str) -> Result<What, PayloadError>| {
        let part = |(name, text): (Cow<'_, str>, &str)| Ok(Part { name: name.as_ref().into(), kind: None, what: what(text)? });
        let parts = payload::parts(payload).map_err(drop)?;
        parts.into_iter().map(part).collect::<Result<Vec<_>, PayloadError>>().map_err(drop)
    };
    let one = |deed: &dyn Fn(&payload::Said<'_>) -> Result<Deed, ()>| {
        let said = payload::said(payload).map_err(drop)?;
        let kind = said.kind.as_ref().map(|kind| kind.clone().into_owned());
        Ok(vec![Part { name: said.device.as_ref().into(), kind, what: What::Deed(deed(&said)?) }])
    };
    match operation {
        GatewayOperation::Connect => one(&|_| Ok(Deed::Attach)),
        GatewayOperation::Disconnect => one(&|_| Ok(Deed::Detach)),
        GatewayOperation::Telemetry => pack(&|text| Ok(What::Deed(Deed::Telemetry { payload: text.as_bytes().into() }))),
        GatewayOperation::Attributes => pack(&|text| Ok(What::Deed(Deed::Attributes { payload: text.as_bytes().into() }))),
        GatewayOperation::AttributesRequest => one(&|said| {
            let id = said.id.unwrap_or(0);
            Ok(Deed::ChildAttributes { id, client: said.client, keys: said.keys.clone(), single: said.single })
        }),
        GatewayOperation::Rpc => one(&|said| {
            let id = said.id.and_then(|id| u32::try_from(id).ok()).ok_or(())?;
            Ok(Deed::RpcResponse { id, payload: said.data.unwrap_or("null").as_bytes().into() })
        }),
        GatewayOperation::Claim => pack(&|text| {
            let claim = payload::claim(text.as_bytes())?;
            Ok(What::Claim { secret_key: claim.secret_key.into_owned(), duration_ms: claim.duration_ms })
        }),
    }
}
