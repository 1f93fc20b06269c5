//! The device states in a shard's memory: loaded on first use by the reader lane, evicted when idle (DESIGN 8.5, 19),
//! and the deadlines at which active devices become inactive (DESIGN 8.6, 21). Never touches the disk itself.

use std::collections::{BTreeSet, HashMap, VecDeque};

use foldhash::fast::RandomState;
use schemas::id::{EntityId, TenantId};
use uuid::Uuid;

use super::letter::Errand;
use super::needing::Question;
use super::owing::Returned;
use super::resuming::Ripe;
use super::shares::Shares;
use super::slab::Key;
use crate::clock::{Instant, Timestamp};
use crate::device::DeviceState;
use crate::device::outbox::OwedCall;
use crate::device::passage::Pair;
use crate::limits;
use crate::query::{Query, Target};

/// Idle for this long before a state may be evicted, in milliseconds.
const IDLE_MS_MIN: u64 = 1_000;

/// Who waits for a state to be loaded.
#[derive(Debug)]
pub(super) enum Parked {
    /// A connection whose CONNECT was accepted.
    Connection(Key),
    Query(Target, Query),
    /// Something a device asked for by another way than its own connection.
    Errand(Box<Errand>),
    /// A message whose call to the outside was answered.
    Returned(Box<Returned>),
    /// Something that waited for time, and is due.
    Ripe(Box<Ripe>),
    /// A message that a node of its own made.
    Behind(Box<OwedCall>),
    /// The next message of a pair of partitions, whose new originator it is.
    Passage(Pair),
    /// A message that needs a fact of the entity.
    Fact(Box<Question>),
    /// Calls of the server whose time has come.
    Calls,
    /// A will that waited for its device's return.
    Will,
    /// A device that was connected when the process died gets its DISCONNECT (DESIGN 21).
    Interrupted,
    /// A device whose inactivity deadline has passed.
    Overdue,
    /// A device some of whose alarm rules have waited long enough.
    RulesDue,
    /// The control plane has this alarm in this version.
    Confirmed(Uuid, u64),
}

#[derive(Debug)]
struct Resident {
    state: DeviceState,
    /// Sessions that use the state now; it stays as long as there is one.
    sessions: u32,
    used: Instant,
    bytes: usize,
    /// Grows with every use, since any use may write.
    uses: u64,
    /// `uses` when the state was last asked of the disk again.
    reloading: u64,
}

#[derive(Debug)]
pub(super) struct Residents {
    bytes_max: usize,
    states: HashMap<EntityId, Resident, RandomState>,
    /// Who waits, and on whose account.
    loading: HashMap<EntityId, Vec<(TenantId, Parked)>, RandomState>,
    shares: Shares<{ limits::PARKED_PER_SHARD_MAX }, { usize::MAX }>,
    bytes: usize,
    /// Eviction candidates, oldest first; a state used since it was queued gets a second chance.
    queue: VecDeque<EntityId>,
    deadlines: BTreeSet<(Timestamp, EntityId)>,
}

/// What became of a wish to park.
#[derive(Debug)]
pub(super) enum Parking {
    /// The first for this entity: somebody must load it.
    Load,
    /// Already being loaded.
    Waiting,
    /// Too many wait already; given back.
    Full(Parked),
}

impl Residents {
    /// At most `bytes_max` bytes of states, those in use aside.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            states: HashMap::default(),
            loading: HashMap::default(),
            shares: Shares::default(),
            bytes: 0,
            queue: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn get_mut(&mut self, entity: EntityId, now: Instant) -> Option<&mut DeviceState> {
        let resident = self.states.get_mut(&entity)?;
        resident.used = now;
        resident.uses += 1;
        Some(&mut resident.state)
    }

    pub(super) fn contains(&self, entity: EntityId) -> bool {
        self.states.contains_key(&entity)
    }

    /// Parks somebody until the entity's state is loaded.
    pub(super) fn park(&mut self, tenant: TenantId, entity: EntityId, parked: Parked) -> Parking {
        if !self.shares.has_room(tenant, 0) {
            return Parking::Full(parked);
        }
        self.shares.add(tenant, 0);
        let waiting = self.loading.entry(entity).or_default();
        waiting.push((tenant, parked));
        if waiting.len() == 1 { Parking::Load } else { Parking::Waiting }
    }

    /// The connections that wait for this entity's state.
    pub(super) fn parked_connections(&self, entity: EntityId) -> Vec<Key> {
        let waiting = self.loading.get(&entity).map(Vec::as_slice).unwrap_or_default();
        let connection = |(_, parked): &(TenantId, Parked)| if let Parked::Connection(key) = parked { Some(*key) } else { None };
        waiting.iter().filter_map(connection).collect()
    }

    /// Takes a loaded state in, and gives out everyone who waited for it.
    pub(super) fn loaded(&mut self, entity: EntityId, state: Option<DeviceState>, now: Instant) -> Vec<Parked> {
        if let Some(state) = state {
            let bytes = state.bytes();
            self.bytes += bytes;
            self.queue.push_back(entity);
            self.states.insert(entity, Resident { state, sessions: 0, used: now, bytes, uses: 0, reloading: 0 });
        }
        let waiting = self.loading.remove(&entity).unwrap_or_default().into_iter();
        waiting
            .map(|(tenant, parked)| {
                self.shares.remove(tenant, 0);
                parked
            })
            .collect()
    }

    /// The disk is asked for a state that is here; [`Self::replace`] compares with this moment.
    pub(super) fn reloading(&mut self, entity: EntityId) {
        if let Some(resident) = self.states.get_mut(&entity) {
            resident.reloading = resident.uses;
        }
    }

    /// Takes a reloaded state, unless the one here has been used since it was asked for.
    pub(super) fn replace(&mut self, entity: EntityId, state: DeviceState) -> bool {
        match self.states.get_mut(&entity) {
            Some(resident) if resident.reloading == resident.uses => {
                resident.state = state;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// A session starts to use the state.
    pub(super) fn hold(&mut self, entity: EntityId) {
        if let Some(resident) = self.states.get_mut(&entity) {
            resident.sessions += 1;
        }
    }

    /// A session ends.
    pub(super) fn let_go(&mut self, entity: EntityId) {
        if let Some(resident) = self.states.get_mut(&entity) {
            resident.sessions = resident.sessions.saturating_sub(1);
        }
    }

    /// Forgets one entity: it was deleted.
    pub(super) fn forget(&mut self, entity: EntityId) {
        if let Some(resident) = self.states.remove(&entity) {
            self.bytes = self.bytes.saturating_sub(resident.bytes);
        }
    }

    /// Forgets everything: the store generation ended. Gives out everyone who waited.
    pub(super) fn clear(&mut self) -> Vec<Parked> {
        self.states.clear();
        self.queue.clear();
        self.deadlines.clear();
        self.bytes = 0;
        self.shares = Shares::default();
        self.loading.drain().flat_map(|(_, parked)| parked).map(|(_, parked)| parked).collect()
    }

    /// States to write out and drop because the budget is exceeded, idle ones first.
    pub(super) fn evict(&mut self, now: Instant) -> Vec<DeviceState> {
        let mut evicted = Vec::new();
        let mut looks = self.queue.len();
        while self.bytes > self.bytes_max && looks > 0 {
            looks -= 1;
            let Some(entity) = self.queue.pop_front() else { break };
            let Some(resident) = self.states.get_mut(&entity) else { continue };
            let grown = resident.state.bytes();
            self.bytes = (self.bytes + grown).saturating_sub(resident.bytes);
            resident.bytes = grown;
            if resident.sessions > 0 || now.ms_since(resident.used) < IDLE_MS_MIN {
                self.queue.push_back(entity);
            } else if let Some(resident) = self.states.remove(&entity) {
                self.bytes = self.bytes.saturating_sub(resident.bytes);
                evicted.push(resident.state);
            }
        }
        evicted
    }

    /// Every resident entity, for a clean stop.
    pub(super) fn entities(&self) -> Vec<EntityId> {
        self.states.keys().copied().collect()
    }

    /// Arms the inactivity deadline of a device. Lazy: an earlier one that is still armed will look and arm again.
    pub(super) fn arm(&mut self, deadline: Timestamp, entity: EntityId) {
        self.deadlines.insert((deadline, entity));
    }

    /// Devices whose armed deadline has passed.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<EntityId> {
        let mut overdue = Vec::new();
        while let Some(&(deadline, entity)) = self.deadlines.first() {
            if deadline > now || overdue.len() >= limits::EVENTS_PER_TURN_MAX {
                break;
            }
            self.deadlines.pop_first();
            overdue.push(entity);
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_one_tenant_waits_for_leave_places_for_others() {
        let [mine, other] = [1, 2].map(|number| TenantId(Uuid::from_u128(number)));
        let entity = |number: usize| EntityId(Uuid::from_u128(u128::try_from(number).unwrap()));
        let (mut residents, most) = (Residents::new(0), limits::PARKED_PER_SHARD_MAX / 2);
        for number in 0..most {
            assert!(matches!(residents.park(mine, entity(number), Parked::Calls), Parking::Load));
        }
        assert!(matches!(residents.park(mine, entity(0), Parked::Will), Parking::Full(Parked::Will)));
        assert!(matches!(residents.park(other, entity(0), Parked::Will), Parking::Waiting));
        assert_eq!(residents.loaded(entity(0), None, Instant::default()).len(), 2);
        assert!(matches!(residents.park(mine, entity(0), Parked::Will), Parking::Load));
        assert!(matches!(residents.park(mine, entity(1), Parked::Will), Parking::Full(_)));
        assert_eq!(residents.clear().len(), most);
        assert!(matches!(residents.park(mine, entity(1), Parked::Will), Parking::Load));
    }
}
