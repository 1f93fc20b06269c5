//! What people look at of messages at nodes: the newest in memory, per tenant, and how fast they may come. What does not fit is counted
//! and forgotten, whatever it is: a sighting never waits, and no message waits for one. Nothing of it is on the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::id::{EntityId, TenantId};
use schemas::rate;
use uuid::Uuid;

use super::alarming::fresh_id;
use crate::clock::{Instant, Now, Timestamp};
use crate::limits::{
    SIGHTINGS_BYTES_PER_SHARD_MAX, SIGHTINGS_PER_SHARD_S, SIGHTINGS_PER_TENANT_HOUR, SIGHTINGS_TENANTS_MAX, TRACE_WAIT_MS_MAX,
    TRACES_PER_SHARD_MAX,
};
use crate::message::Message;
use crate::quota::Bucket;
use crate::rules::Sighting;

/// Something that was seen, and when.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: Uuid,
    pub at: Timestamp,
    pub what: Sighting,
}

/// Whose next message is looked at wherever it goes.
#[derive(Debug)]
pub struct Trace {
    pub tenant: TenantId,
    pub entity: EntityId,
    /// The message type, if it is to be one.
    pub kind: Option<String>,
    /// By which the message is to be known.
    pub message: Uuid,
    pub for_ms: u64,
}

impl Trace {
    fn is_for(&self, message: &Message<'_>) -> bool {
        self.entity == message.originator
            && self.tenant == message.tenant
            && self.kind.as_ref().is_none_or(|kind| kind == message.kind.name())
    }
}

#[derive(Debug)]
pub(super) struct Sightings {
    /// And until when.
    traces: Vec<(Trace, Instant)>,
    tenants: Vec<Own>,
    bytes: usize,
    /// Of all tenants.
    rate: Bucket,
    /// What a tenant may look at here.
    per_hour: u64,
}

/// Of one tenant.
#[derive(Debug)]
struct Own {
    tenant: TenantId,
    seen: VecDeque<Arc<Seen>>,
    bytes: usize,
    rate: Bucket,
    newest: Timestamp,
}

impl Sightings {
    /// Of one of so many shards.
    pub(super) fn new(shards: u16) -> Self {
        Self {
            traces: Vec::new(),
            tenants: Vec::new(),
            bytes: 0,
            rate: Bucket::new(rate::Bucket { capacity: SIGHTINGS_PER_SHARD_S, seconds: 1 }),
            per_hour: SIGHTINGS_PER_TENANT_HOUR / u64::from(shards.max(1)),
        }
    }

    /// Waits for a message. `false`: as many are waited for as may be.
    pub(super) fn await_message(&mut self, trace: Trace, now: Instant) -> bool {
        self.traces.retain(|(_, until)| now < *until);
        let has_room = self.traces.len() < TRACES_PER_SHARD_MAX;
        if has_room {
            let until = now.after_ms(trace.for_ms.min(TRACE_WAIT_MS_MAX));
            self.traces.push((trace, until));
        }
        has_room
    }

    /// By which this message is known to whoever waits for it.
    pub(super) fn traced(&self, message: &Message<'_>, now: Instant) -> Option<Uuid> {
        self.traces.iter().find(|(trace, until)| now < *until && trace.is_for(message)).map(|(trace, _)| trace.message)
    }

    /// This message has gone its way: the one behind it is not it.
    pub(super) fn went(&mut self, message: &Message<'_>, now: Instant) {
        if let Some(place) = self.traces.iter().position(|(trace, until)| now < *until && trace.is_for(message)) {
            self.traces.remove(place);
        }
    }

    /// Whether the tenant may look at something now. A yes is used up.
    pub(super) fn may_see(&mut self, tenant: TenantId, now: Now) -> bool {
        let place = match self.tenants.iter().position(|own| own.tenant == tenant) {
            Some(place) => place,
            None => self.admit(tenant, now),
        };
        let Some(own) = self.tenants.get_mut(place) else { return false };
        own.rate.available(now.instant) > 0 && self.rate.take(1, now.instant).is_ok() && own.rate.take(1, now.instant).is_ok()
    }

    /// Makes a place for a tenant, that of the one whose last sighting was longest ago if there is no other.
    fn admit(&mut self, tenant: TenantId, now: Now) -> usize {
        if self.tenants.len() == SIGHTINGS_TENANTS_MAX {
            let idle = (0..self.tenants.len()).min_by_key(|place| self.tenants.get(*place).map(|own| own.newest));
            let gone = self.tenants.swap_remove(idle.unwrap_or(0));
            self.bytes -= gone.bytes;
        }
        let rate = Bucket::new(rate::Bucket { capacity: self.per_hour, seconds: 3_600 });
        self.tenants.push(Own { tenant, seen: VecDeque::new(), bytes: 0, rate, newest: now.timestamp });
        self.tenants.len() - 1
    }

    /// Keeps what [`Self::may_see`] let be seen.
    pub(super) fn keep(&mut self, tenant: TenantId, what: Sighting, now: Now) {
        let bytes = what.bytes();
        let Some(own) = self.tenants.iter_mut().find(|own| own.tenant == tenant) else { return };
        own.seen.push_back(Arc::new(Seen { id: fresh_id(now.timestamp), at: now.timestamp, what }));
        own.newest = now.timestamp;
        own.bytes += bytes;
        self.bytes += bytes;
        while self.bytes > SIGHTINGS_BYTES_PER_SHARD_MAX {
            let Some(most) = self.tenants.iter_mut().max_by_key(|own| own.bytes) else { return };
            let Some(oldest) = most.seen.pop_front() else { return };
            most.bytes -= oldest.what.bytes();
            self.bytes -= oldest.what.bytes();
        }
    }

    /// What was seen of a node, a chain or a message of the tenant, the oldest first.
    pub(super) fn of(&self, tenant: TenantId, of: Uuid) -> Vec<Arc<Seen>> {
        let own = self.tenants.iter().filter(|own| own.tenant == tenant);
        own.flat_map(|own| &own.seen).filter(|seen| seen.what.is_of(of)).map(Arc::clone).collect()
    }

    /// Forgets these.
    pub(super) fn forget(&mut self, tenant: TenantId, mut ids: Vec<Uuid>) {
        ids.sort_unstable();
        for own in self.tenants.iter_mut().filter(|own| own.tenant == tenant) {
            own.seen.retain(|seen| ids.binary_search(&seen.id).is_err());
            let left = own.seen.iter().map(|seen| seen.what.bytes()).sum();
            self.bytes -= own.bytes - left;
            own.bytes = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::chain::{EntityType, MessageType};
    use schemas::id::ChainId;

    use super::*;
    use crate::message::Body;

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    fn now(ms: u64) -> Now {
        Now { instant: Instant::from_nanos(ms * 1_000_000), timestamp: Timestamp(i64::try_from(ms).unwrap()) }
    }

    fn failure(chain: u128, reason: String) -> Sighting {
        Sighting::Unled { chain: ChainId(Uuid::from_u128(chain)), node: String::new(), reason }
    }

    fn reasons(sightings: &Sightings, of: u128) -> Vec<String> {
        let reason = |seen: Arc<Seen>| match &seen.what {
            Sighting::Unled { reason, .. } => reason.get(..reason.len().min(5)).unwrap().to_owned(),
            Sighting::AtNode(_) => String::new(),
        };
        sightings.of(tenant(of), Uuid::from_u128(7)).into_iter().map(reason).collect()
    }

    #[test]
    fn the_tenant_with_most_forgets_its_oldest() {
        let mut sightings = Sightings::new(2);
        let quarter = SIGHTINGS_BYTES_PER_SHARD_MAX / 4;
        for (n, (of, size)) in [(1, 5), (2, quarter), (2, quarter), (2, quarter), (3, quarter)].into_iter().enumerate() {
            assert!(sightings.may_see(tenant(of), now(0)));
            sightings.keep(tenant(of), failure(7, format!("{n}{}", "0".repeat(size - 1))), now(0));
        }
        assert_eq!(reasons(&sightings, 1), ["00000"]);
        assert_eq!(reasons(&sightings, 2), ["20000", "30000"], "the first of these made room");
        assert_eq!(reasons(&sightings, 3), ["40000"]);
        let second = sightings.of(tenant(2), Uuid::from_u128(7))[0].id;
        sightings.forget(tenant(1), vec![second]);
        sightings.forget(tenant(2), vec![second]);
        assert_eq!(reasons(&sightings, 2), ["30000"], "one tenant does not reach another's");
        assert_eq!(sightings.bytes, sightings.tenants.iter().map(|own| own.bytes).sum::<usize>());
        assert!(sightings.of(tenant(2), Uuid::from_u128(8)).is_empty());
    }

    #[test]
    fn a_message_is_waited_for_until_it_has_gone_its_way() {
        let of = |of: u128, entity: u128, kind: MessageType| Message {
            kind,
            originator: EntityId(Uuid::from_u128(entity)),
            originator_type: EntityType::Device,
            tenant: tenant(of),
            device_name: "",
            device_type: "",
            received: Timestamp(0),
            body: Body::Lifecycle,
        };
        let trace = |message: u128, kind: Option<MessageType>| Trace {
            tenant: tenant(1),
            entity: EntityId(Uuid::from_u128(5)),
            kind: kind.map(|kind| kind.name().to_owned()),
            message: Uuid::from_u128(message),
            for_ms: 1_000,
        };
        let (alarm, connected) = (MessageType::Alarm, MessageType::ConnectEvent);
        let at = |ms| now(ms).instant;
        let mut sightings = Sightings::new(1);
        assert!(sightings.await_message(trace(1, Some(alarm)), at(0)));
        assert!(sightings.await_message(trace(2, None), at(500)));
        for (message, ms, expected) in [
            (of(1, 5, alarm), 999, Some(1)),
            (of(1, 5, connected), 999, Some(2)),
            (of(1, 5, alarm), 1_000, Some(2)),
            (of(1, 5, alarm), 1_500, None),
            (of(1, 6, alarm), 999, None),
            (of(2, 5, alarm), 999, None),
        ] {
            assert_eq!(sightings.traced(&message, at(ms)), expected.map(Uuid::from_u128), "{message:?} {ms}");
        }
        sightings.went(&of(1, 5, connected), at(999));
        assert_eq!(sightings.traced(&of(1, 5, connected), at(999)), None);
        assert_eq!(sightings.traced(&of(1, 5, alarm), at(999)), Some(Uuid::from_u128(1)));
        let more = (0..TRACES_PER_SHARD_MAX).filter(|_| sightings.await_message(trace(3, None), at(999))).count();
        assert_eq!(more, TRACES_PER_SHARD_MAX - 1);
        assert!(sightings.await_message(trace(4, None), at(1_000)), "one is over");
    }

    #[test]
    fn too_many_are_not_seen() {
        let mut sightings = Sightings::new(100);
        let seen = |sightings: &mut Sightings, of, at| (0..2_000).filter(|_| sightings.may_see(tenant(of), now(at))).count();
        assert_eq!(seen(&mut sightings, 1, 0), 500, "an hour's share of one of a hundred shards, and a second's");
        assert_eq!(seen(&mut sightings, 2, 0), 0, "the second is over for all");
        assert_eq!(seen(&mut sightings, 2, 1_000), 500);
        assert_eq!(seen(&mut sightings, 1, 2_000), 0, "its hour is not");
        assert_eq!(seen(&mut sightings, 1, 3_600_000), 500);
    }

    #[test]
    fn a_new_tenant_takes_the_place_of_the_idlest() {
        let mut sightings = Sightings::new(1);
        let tenants = u64::try_from(SIGHTINGS_TENANTS_MAX).unwrap();
        for n in 0..=tenants {
            assert!(sightings.may_see(tenant(n.into()), now(n + 1)));
            sightings.keep(tenant(n.into()), failure(7, "00000".to_owned()), now(n + 1));
        }
        assert!(reasons(&sightings, 0).is_empty());
        assert!((1..=tenants).all(|n| reasons(&sightings, n.into()).len() == 1));
        assert_eq!(sightings.bytes, sightings.tenants.iter().map(|own| own.bytes).sum::<usize>());
    }
}
