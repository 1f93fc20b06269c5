//! Between shards: one bounded ring per ordered pair, one producer and one consumer each (DESIGN 3.2, 9). Nobody waits for a ring.
//!
//! Whoever begins something (a connection that moves, an errand) first looks for room and stays with its connection, unread, when
//! there is none. What ends something (an answer, a downlink) is bounded by what was begun; it waits in order behind a full ring.

use std::collections::VecDeque;

use rtrb::{Consumer, Producer, RingBuffer};

use super::event::Doorbell;
use super::letter::Letter;
use crate::limits;

/// One shard's way to another one.
struct Way {
    ring: Producer<Letter>,
    /// What did not fit, oldest first.
    waiting: VecDeque<Letter>,
    doorbell: Doorbell,
}

/// One shard's ends of all rings that touch it.
pub struct Mesh {
    to: Vec<Option<Way>>,
    from: Vec<Consumer<Letter>>,
    /// The ring that is looked at first, so that a busy one does not hold up the others.
    next: usize,
}

/// The full mesh of a process, in shard order.
#[must_use]
pub fn full_mesh(doorbells: &[Doorbell]) -> Vec<Mesh> {
    let shards = doorbells.len();
    let mut meshes: Vec<Mesh> = (0..shards).map(|_| Mesh { to: Vec::new(), from: Vec::new(), next: 0 }).collect();
    for from in 0..shards {
        for (to, doorbell) in doorbells.iter().enumerate() {
            if from == to {
                meshes[from].to.push(None);
                continue;
            }
            let (ring, consumer) = RingBuffer::new(limits::MESH_SLOTS);
            meshes[from].to.push(Some(Way { ring, waiting: VecDeque::new(), doorbell: doorbell.clone() }));
            meshes[to].from.push(consumer);
        }
    }
    meshes
}

impl Mesh {
    /// May something be begun towards this shard?
    pub(super) fn has_room(&self, shard: u16) -> bool {
        self.to.get(usize::from(shard)).and_then(Option::as_ref).is_some_and(|way| way.waiting.is_empty() && !way.ring.is_full())
    }

    /// May something be begun towards whatever shard?
    pub(super) fn has_room_everywhere(&self) -> bool {
        self.to.iter().flatten().all(|way| way.waiting.is_empty() && !way.ring.is_full())
    }

    /// Sends a letter; it waits behind a full ring. One to a shard that does not exist, or to this one, is dropped.
    pub(super) fn send(&mut self, shard: u16, letter: Letter) {
        let Some(Some(way)) = self.to.get_mut(usize::from(shard)) else { return };
        way.waiting.push_back(letter);
        way.push();
    }

    /// Sends on what waits.
    pub(super) fn push(&mut self) {
        self.to.iter_mut().flatten().filter(|way| !way.waiting.is_empty()).for_each(Way::push);
    }

    /// Does a letter wait to be taken?
    pub(super) fn has_arrivals(&self) -> bool {
        self.from.iter().any(|ring| !ring.is_empty())
    }

    /// The next letter to this shard: of each ring one, in turn.
    pub(super) fn take(&mut self) -> Option<Letter> {
        let rings = self.from.len();
        let (place, letter) = (self.next..self.next + rings).find_map(|place| {
            let place = place % rings;
            Some((place, self.from.get_mut(place)?.pop().ok()?))
        })?;
        self.next = (place + 1) % rings;
        Some(letter)
    }
}

impl Way {
    fn push(&mut self) {
        let mut sent = false;
        while let Some(letter) = self.waiting.pop_front() {
            match self.ring.push(letter) {
                Ok(()) => sent = true,
                Err(rtrb::PushError::Full(letter)) => {
                    self.waiting.push_front(letter);
                    break;
                }
            }
        }
        if sent {
            (self.doorbell)();
        }
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("peers", &self.from.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;
    use crate::session::Outcome;
    use crate::shard::letter::{Address, Answer, Of};
    use crate::shard::slab::Key;

    fn letter(number: u32) -> Letter {
        let address = Address { shard: 0, connection: Key::of_token(0).0, receipt: None, of: Of::Pack(number) };
        Letter::Answer(Box::new((address, Answer::from(Outcome::Stored))))
    }

    fn number(letter: &Letter) -> Option<u32> {
        if let Letter::Answer(answer) = letter
            && let Of::Pack(number) = answer.0.of
        {
            Some(number)
        } else {
            None
        }
    }

    #[test]
    fn what_does_not_fit_waits_in_order_and_nothing_new_begins_meanwhile() {
        let rung = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&rung);
        let bell: Doorbell = Arc::new(move || {
            counts.fetch_add(1, Relaxed);
        });
        let mut meshes = full_mesh(&[bell.clone(), bell]);
        let (mut second, mut first) = (meshes.pop().unwrap(), meshes.pop().unwrap());
        let total = u32::try_from(limits::MESH_SLOTS).unwrap() + 3;
        assert!(first.has_room(1) && !first.has_room(0) && !first.has_room(9));
        (0..total).for_each(|number| first.send(1, letter(number)));
        assert!(!first.has_room(1));
        let mut taken: Vec<u32> = std::iter::from_fn(|| second.take()).filter_map(|letter| number(&letter)).collect();
        assert!(!second.has_arrivals() && !first.has_room(1), "some wait at the sender");
        first.push();
        assert!(first.has_room(1));
        taken.extend(std::iter::from_fn(|| second.take()).filter_map(|letter| number(&letter)));
        assert_eq!(taken, (0..total).collect::<Vec<_>>());
        assert_eq!(rung.load(Relaxed), limits::MESH_SLOTS + 1, "only what arrived rings");
    }

    #[test]
    fn a_busy_ring_does_not_hold_up_the_others() {
        let bell: Doorbell = Arc::new(|| ());
        let mut meshes = full_mesh(&[bell.clone(), bell.clone(), bell]);
        for (from, numbers) in [(1, 0..5), (2, 10..12)] {
            numbers.for_each(|number| meshes[from].send(0, letter(number)));
        }
        let mut taken =
            |count| -> Vec<u32> { (0..count).filter_map(|_| meshes[0].take()).filter_map(|letter| number(&letter)).collect() };
        assert_eq!((taken(1), taken(9)), (vec![0], vec![10, 1, 11, 2, 3, 4]));
    }
}
