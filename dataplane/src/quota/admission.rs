//! Which connections a shard takes, and when it begins a TLS handshake: decisions, so that a storm of reconnecting devices is
//! served at a pace that leaves time for those already connected. Never accepts, closes or waits itself.
//!
//! - Ask [`Admission::ready`] before `accept(2)`: who is not accepted waits in the kernel's queue and costs nothing.
//! - [`Admission::accept`] counts a connection; a refused one is closed at once, before a byte is read of it. The [`Place`] it
//!   returns goes back by [`Admission::left`].
//! - When the first bytes of a TLS connection are there, ask [`Admission::handshake`]; until it says so, leave them unread. It
//!   says no while enough handshakes are under way: a handshake that was begun is always finished first, since one that is
//!   given up was all in vain. Serve those who wait in any order; the latest first is best when many have given up.
//! - Newcomers (not yet admitted) may have a quarter of the places. Once they have half of that, no address may have more than
//!   a sixteenth of it, and they get less time ([`Admission::connect_deadline_ms`]).
//!
//! Counts of addresses are the shard's own; the kernel spreads connections, so an address gets up to `shards` times as many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use schemas::rate;

use super::bucket::Bucket;
use super::origin::Origin;
use crate::clock::Instant;
use crate::limits::{
    ACCEPTS_PER_SHARD_S, CONNECT_DEADLINE_MS, CROWDED_CONNECT_DEADLINE_MS, HANDSHAKE_FRESH_MS, HANDSHAKES_FRESH_MAX,
    HANDSHAKES_MAX, HANDSHAKES_PER_SHARD_S, HANDSHAKES_WAITING_MAX,
};

/// What a shard takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub connections: u32,
    /// Of one address. The default is as many as there are: behind a router that translates addresses all have the same.
    pub connections_per_address: u32,
    /// A second; as many may come at once.
    pub accepts: u64,
    /// A second; as many may be begun at once.
    pub handshakes: u64,
    /// Under way and fresh.
    pub handshakes_fresh: u32,
    /// Under way, those that wait for their peer included.
    pub handshakes_under_way: u32,
    pub handshakes_waiting: u32,
}

impl Policy {
    /// The defaults of a shard with so many places.
    #[must_use]
    pub fn new(connections: u32) -> Self {
        Self {
            connections,
            connections_per_address: connections,
            accepts: ACCEPTS_PER_SHARD_S,
            handshakes: HANDSHAKES_PER_SHARD_S,
            handshakes_fresh: HANDSHAKES_FRESH_MAX,
            handshakes_under_way: HANDSHAKES_MAX,
            handshakes_waiting: HANDSHAKES_WAITING_MAX,
        }
    }

    /// Newcomers at most.
    pub(super) fn newcomers(&self) -> u32 {
        (self.connections / 4).max(1)
    }
}

/// May this connection stay?
#[derive(Debug)]
pub enum Decision {
    Accept(Place),
    /// Keep it unread and ask again then.
    Later(Instant),
    /// Close it without a word.
    Refuse(Refused),
}

/// May this handshake begin?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Now,
    /// Leave its bytes unread and ask again then, or when another has ended.
    Later(Instant),
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The shard has no place.
    Full,
    /// The address has as many as one may have.
    Address,
    /// There are many newcomers, and the address has its part of them.
    Crowded,
}

/// A connection's place on its shard. Not to be dropped: [`Admission::left`] takes it back.
#[derive(Debug)]
#[must_use = "the place is taken until Admission::left has it back"]
pub struct Place {
    origin: Origin,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connected, nothing more.
    New,
    /// Its handshake was told to wait.
    Waiting,
    /// Its handshake is under way since this slot of time.
    Handshaking(u64),
    Admitted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connections: u32,
    newcomers: u32,
}

/// Slots of time in which handshakes count as fresh.
const SLOTS: usize = 8;
const SLOT_MS: u64 = HANDSHAKE_FRESH_MS / SLOTS as u64;
/// With the newcomers at half of their places, an address may have this part of all.
const ADDRESS_PART: u32 = 16;

/// The decisions of one shard.
#[derive(Debug)]
pub struct Admission {
    policy: Policy,
    accepts: Bucket,
    handshakes: Bucket,
    /// One entry for each address that is connected, so no more than there are connections. Addresses are chosen by peers, hence
    /// the standard library's keyed hash.
    origins: HashMap<Origin, Count>,
    connections: u32,
    newcomers: u32,
    waiting: u32,
    handshaking: u32,
    /// Handshakes under way by the slot in which they began. Those of older slots wait for peers that may never answer, and no
    /// longer hold up others.
    fresh: [u32; SLOTS],
    slot: u64,
}

impl Admission {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let bucket = |capacity| Bucket::new(rate::Bucket { capacity, seconds: 1 });
        Self {
            policy,
            accepts: bucket(policy.accepts),
            handshakes: bucket(policy.handshakes),
            origins: HashMap::new(),
            connections: 0,
            newcomers: 0,
            waiting: 0,
            handshaking: 0,
            fresh: [0; SLOTS],
            slot: 0,
        }
    }

    /// May a connection be taken from the kernel's queue?
    ///
    /// # Errors
    /// Not before then. For those that begin with TLS also while too many wait for their handshake.
    pub fn ready(&mut self, tls: bool, now: Instant) -> Result<(), Instant> {
        let soon = now.after_ms(SLOT_MS);
        if tls && self.waiting >= self.policy.handshakes_waiting || self.newcomers >= self.policy.newcomers() {
            return Err(soon);
        }
        let free_at = self.accepts.free_at(1, now);
        if free_at <= now { Ok(()) } else { Err(free_at) }
    }

    /// A connection was accepted from this address; a balancer's have no bound by address until [`Self::identified`].
    pub fn accept(&mut self, address: IpAddr, of_balancer: bool, now: Instant) -> Decision {
        let origin = Origin::from(address);
        if self.connections >= self.policy.connections {
            return Decision::Refuse(Refused::Full);
        }
        if let Some(refused) = self.refusal(origin).filter(|_| !of_balancer) {
            return Decision::Refuse(refused);
        }
        if self.newcomers >= self.policy.newcomers() {
            return Decision::Later(now.after_ms(SLOT_MS));
        }
        if self.accepts.take(1, now).is_err() {
            return Decision::Later(self.accepts.free_at(1, now));
        }
        Decision::Accept(self.enter(origin))
    }

    /// A connection that another shard accepted was handed over to this one. It is not refused: it has a place somewhere.
    pub fn arrived(&mut self, address: IpAddr) -> Place {
        self.enter(Origin::from(address))
    }

    /// A proxy said whose connection it really is.
    ///
    /// # Errors
    /// Too many of that address are here: close it.
    pub fn identified(&mut self, place: &mut Place, address: IpAddr) -> Result<(), Refused> {
        let origin = Origin::from(address);
        if origin == place.origin {
            return Ok(());
        }
        let newcomer = place.stage != Stage::Admitted;
        self.forget(place.origin, newcomer);
        let refusal = self.refusal(origin);
        let count = self.origins.entry(origin).or_default();
        count.connections += 1;
        count.newcomers += u32::from(newcomer);
        place.origin = origin;
        refusal.map_or(Ok(()), Err)
    }

    /// The first bytes of a TLS connection are there: may they be answered?
    pub fn handshake(&mut self, place: &mut Place, now: Instant) -> Start {
        self.advance(now);
        if let Stage::Handshaking(_) | Stage::Admitted = place.stage {
            return Start::Now;
        }
        let later = self.handshake_refusal(now);
        if let Some(later) = later {
            if place.stage == Stage::New {
                place.stage = Stage::Waiting;
                self.waiting += 1;
            }
            return Start::Later(later);
        }
        self.end(place.stage);
        place.stage = Stage::Handshaking(self.slot);
        self.handshaking += 1;
        *self.fresh_mut(self.slot) += 1;
        Start::Now
    }

    /// Its handshake is done.
    pub fn handshaken(&mut self, place: &mut Place) {
        if place.stage != Stage::Admitted {
            self.end(place.stage);
            place.stage = Stage::New;
        }
    }

    /// It is known who it is: no newcomer any more.
    pub fn admitted(&mut self, place: &mut Place) {
        if place.stage != Stage::Admitted {
            self.end(place.stage);
            place.stage = Stage::Admitted;
            self.newcomers = self.newcomers.saturating_sub(1);
            if let Some(count) = self.origins.get_mut(&place.origin) {
                count.newcomers = count.newcomers.saturating_sub(1);
            }
        }
    }

    /// It was closed, or handed over to another shard.
    pub fn left(&mut self, place: Place) {
        let Place { origin, stage } = place;
        self.end(stage);
        let newcomer = stage != Stage::Admitted;
        self.connections = self.connections.saturating_sub(1);
        self.newcomers = self.newcomers.saturating_sub(u32::from(newcomer));
        self.forget(origin, newcomer);
    }

    /// From accept to CONNECT, handshake included: less while newcomers crowd.
    #[must_use]
    pub fn connect_deadline_ms(&self) -> u64 {
        if self.is_crowded() { CROWDED_CONNECT_DEADLINE_MS } else { CONNECT_DEADLINE_MS }
    }

    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Those that are not admitted yet.
    #[must_use]
    pub fn newcomers(&self) -> u32 {
        self.newcomers
    }

    /// Addresses that are connected.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.origins.len()
    }

    /// Handshakes under way, and connections that wait for theirs.
    #[must_use]
    pub fn handshakes(&self) -> (u32, u32) {
        (self.handshaking, self.waiting)
    }

    fn is_crowded(&self) -> bool {
        self.newcomers >= self.policy.newcomers().div_ceil(2)
    }

    /// Has this address as many as it may have?
    fn refusal(&self, origin: Origin) -> Option<Refused> {
        let count = self.origins.get(&origin).copied().unwrap_or_default();
        if count.connections >= self.policy.connections_per_address {
            return Some(Refused::Address);
        }
        let part = (self.policy.newcomers() / ADDRESS_PART).max(1);
        (self.is_crowded() && count.newcomers >= part).then_some(Refused::Crowded)
    }

    fn enter(&mut self, origin: Origin) -> Place {
        self.connections += 1;
        self.newcomers += 1;
        let count = self.origins.entry(origin).or_default();
        count.connections += 1;
        count.newcomers += 1;
        Place { origin, stage: Stage::New }
    }

    fn forget(&mut self, origin: Origin, newcomer: bool) {
        let Entry::Occupied(mut entry) = self.origins.entry(origin) else { return };
        let count = entry.get_mut();
        count.connections = count.connections.saturating_sub(1);
        count.newcomers = count.newcomers.saturating_sub(u32::from(newcomer));
        if count.connections == 0 {
            entry.remove();
        }
    }

    /// When to ask for a handshake again, if none may begin now; takes one from the bucket otherwise.
    fn handshake_refusal(&mut self, now: Instant) -> Option<Instant> {
        let fresh: u32 = self.fresh.iter().sum();
        if fresh >= self.policy.handshakes_fresh || self.handshaking >= self.policy.handshakes_under_way {
            return Some(now.after_ms(SLOT_MS));
        }
        self.handshakes.take(1, now).err().map(|_| self.handshakes.free_at(1, now))
    }

    /// A connection leaves a stage that is counted.
    fn end(&mut self, stage: Stage) {
        match stage {
            Stage::Waiting => self.waiting = self.waiting.saturating_sub(1),
            Stage::Handshaking(slot) => {
                self.handshaking = self.handshaking.saturating_sub(1);
                if self.slot - slot < SLOTS as u64 {
                    let fresh = self.fresh_mut(slot);
                    *fresh = fresh.saturating_sub(1);
                }
            }
            Stage::New | Stage::Admitted => {}
        }
    }

    /// Forgets the slots that are no longer fresh.
    fn advance(&mut self, now: Instant) {
        let slot = now.ms_since(Instant::default()) / SLOT_MS;
        // Cyclic: however many have passed, each is emptied once.
        for passed in (self.slot + 1..=slot).take(SLOTS) {
            *self.fresh_mut(passed) = 0;
        }
        self.slot = self.slot.max(slot);
    }

    fn fresh_mut(&mut self, slot: u64) -> &mut u32 {
        &mut self.fresh[usize::try_from(slot % SLOTS as u64).unwrap_or(0)]
    }
}
