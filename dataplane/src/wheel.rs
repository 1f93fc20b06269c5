//! A hashed hierarchical timer wheel: deadlines in, keys that are due out. Inserting and cancelling cost the same however many
//! there are; finding what is due costs nothing per tick that has nothing, so the clock may jump. Never reads a clock.
//!
//! A deadline is never met early, and at most one tick late. Memory is one node for each entry that there ever was at a time; no
//! tick allocates. What is often put off (a keep-alive) is not moved with every message: when its key comes out, look whether the
//! deadline has really passed, and insert it again if not.

pub mod harness;
#[cfg(test)]
mod tests;

use crate::clock::Instant;

/// Slots of a level, as a power of two.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 48 bits of ticks: more milliseconds than an [`Instant`] can say.
const LEVELS: usize = 8;
const NOBODY: u32 = u32::MAX;

const _: () = assert!(LEVELS * SLOT_BITS as usize >= 45, "an instant has at most 2^45 milliseconds");

/// Names one entry; finds nothing once that is due or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Node<K> {
    /// `None`: in the free list, by `next`.
    key: Option<K>,
    /// The tick at which it is due.
    tick: u64,
    generation: u32,
    /// Neighbours in its slot.
    next: u32,
    previous: u32,
    slot: u16,
}

#[derive(Debug)]
struct Level {
    /// A bit for each slot that has entries.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// Deadlines and their keys, at most as many as it was made for.
///
/// An entry lies on the level of the highest digit (of 64 slots) in which its tick differs from the wheel's position; when the
/// position reaches its slot, it moves down.
#[derive(Debug)]
pub struct Wheel<K> {
    tick_ms: u64,
    entries_max: usize,
    levels: Box<[Level; LEVELS]>,
    nodes: Vec<Node<K>>,
    free: u32,
    len: usize,
    /// No entry is due before this tick.
    position: u64,
    /// The tick of the latest `now`; whatever is inserted is due after it.
    seen: u64,
}

impl<K: Copy> Wheel<K> {
    /// A wheel of at most `entries_max` entries whose ticks last `tick_ms`.
    #[must_use]
    pub fn new(tick_ms: u64, entries_max: usize) -> Self {
        Self {
            tick_ms: tick_ms.max(1),
            entries_max: entries_max.min(NOBODY as usize),
            levels: Box::new([const { Level { occupied: 0, heads: [NOBODY; SLOTS] } }; LEVELS]),
            nodes: Vec::new(),
            free: NOBODY,
            len: 0,
            position: 0,
            seen: 0,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has `key` come out at `deadline`, or at the next tick if that has passed: whoever inserts while he takes out what is due
    /// never sees the same again. `None`: it is full.
    #[must_use]
    pub fn insert(&mut self, deadline: Instant, key: K) -> Option<Token> {
        if self.len >= self.entries_max {
            return None;
        }
        let tick = self.tick_of(deadline);
        let index = self.node(key, tick)?;
        self.len += 1;
        self.link(index);
        let generation = self.nodes.get(index as usize)?.generation;
        Some(Token { index, generation })
    }

    /// Takes an entry out before it is due.
    pub fn cancel(&mut self, token: Token) -> Option<K> {
        let node = self.nodes.get(token.index as usize)?;
        if node.generation != token.generation || node.key.is_none() {
            return None;
        }
        self.unlink(token.index);
        self.release(token.index)
    }

    /// Takes out the keys that are due, earlier ticks first; within a tick in no order.
    pub fn expired(&mut self, now: Instant) -> impl Iterator<Item = K> + '_ {
        std::iter::from_fn(move || self.next_expired(now))
    }

    /// Takes out one key that is due; entries may be inserted and cancelled before the next is.
    pub fn next_expired(&mut self, now: Instant) -> Option<K> {
        let milliseconds = now.ms_since(Instant::default());
        self.seen = self.seen.max(milliseconds / self.tick_ms);
        loop {
            let Some((level, slot, start)) = self.first_slot().filter(|(_, _, start)| *start <= self.seen) else {
                // Every slot begins later, so every entry keeps its place.
                self.position = self.seen;
                return None;
            };
            self.position = start;
            if level == 0 {
                let index = self.levels[0].heads[slot];
                self.unlink(index);
                return self.release(index);
            }
            self.move_down(level, slot);
        }
    }

    /// The earliest instant at which something can be due; nothing is before it. `None`: there are no entries.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let (_, _, start) = self.first_slot()?;
        Some(Instant::default().after_ms(start.saturating_mul(self.tick_ms)))
    }

    /// The first tick that begins at or after `deadline` and is yet to come.
    fn tick_of(&self, deadline: Instant) -> u64 {
        let milliseconds = deadline.nanos().div_ceil(1_000_000);
        milliseconds.div_ceil(self.tick_ms).max(self.seen + 1)
    }

    /// The occupied slot that comes first, and the tick at which it begins. Entries of a level come before those of the levels
    /// above it.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.occupied == 0 {
                continue;
            }
            let slot = level.occupied.trailing_zeros();
            let shift = digit_shift(number);
            // Digits above this level's are the position's; those below are 0.
            let above = self.position >> shift >> SLOT_BITS << SLOT_BITS;
            return Some((number, slot as usize, (above | u64::from(slot)) << shift));
        }
        None
    }

    /// The level and slot of a tick that is not before the position.
    fn place(&self, tick: u64) -> (usize, usize) {
        let differs = (tick ^ self.position).checked_ilog2().unwrap_or(0);
        let level = ((differs / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (tick >> digit_shift(level)) & (SLOTS as u64 - 1);
        (level, usize::try_from(slot).unwrap_or(0))
    }

    /// A node with this key, in no slot. `None` when indexes are used up.
    fn node(&mut self, key: K, tick: u64) -> Option<u32> {
        let index = self.free;
        if let Some(node) = self.nodes.get_mut(index as usize) {
            self.free = node.next;
            node.key = Some(key);
            node.tick = tick;
            return Some(index);
        }
        let index = u32::try_from(self.nodes.len()).ok().filter(|index| *index != NOBODY)?;
        self.nodes.push(Node { key: Some(key), tick, generation: 0, next: NOBODY, previous: NOBODY, slot: 0 });
        Some(index)
    }

    /// Gives a node that is in no slot back to the free list.
    fn release(&mut self, index: u32) -> Option<K> {
        let free = self.free;
        let node = self.nodes.get_mut(index as usize)?;
        node.generation = node.generation.wrapping_add(1);
        node.next = free;
        self.free = index;
        self.len -= 1;
        node.key.take()
    }

    /// The position has reached this slot: its entries go to lower levels, each at most [`LEVELS`] times in its life.
    fn move_down(&mut self, level: usize, slot: usize) {
        let mut index = std::mem::replace(&mut self.levels[level].heads[slot], NOBODY);
        self.levels[level].occupied &= !(1 << slot);
        while let Some(next) = self.nodes.get(index as usize).map(|node| node.next) {
            self.link(index);
            index = next;
        }
    }

    /// Puts a node into the slot of its tick.
    fn link(&mut self, index: u32) {
        let Some(tick) = self.nodes.get(index as usize).map(|node| node.tick) else { return };
        let (level, slot) = self.place(tick);
        let next = std::mem::replace(&mut self.levels[level].heads[slot], index);
        self.levels[level].occupied |= 1 << slot;
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = index;
        }
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = next;
            node.previous = NOBODY;
            node.slot = u16::try_from(level * SLOTS + slot).unwrap_or(0);
        }
    }

    /// Takes a node out of its slot.
    fn unlink(&mut self, index: u32) {
        let Some(node) = self.nodes.get(index as usize) else { return };
        let (next, previous) = (node.next, node.previous);
        let (level, slot) = (usize::from(node.slot) / SLOTS, usize::from(node.slot) % SLOTS);
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
        match self.nodes.get_mut(previous as usize) {
            Some(node) => node.next = next,
            None => {
                self.levels[level].heads[slot] = next;
                if next == NOBODY {
                    self.levels[level].occupied &= !(1 << slot);
                }
            }
        }
    }
}

/// How far right the digit of a level is.
fn digit_shift(level: usize) -> u32 {
    u32::try_from(level).unwrap_or(0) * SLOT_BITS
}
