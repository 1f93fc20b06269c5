//! Between shards: one bounded ring per ordered pair, one producer and one consumer each (DESIGN 3.2, 9).
//! Nobody waits for a ring; what does not fit stays with its sender.

use std::net::TcpStream;

use rtrb::{Consumer, Producer, RingBuffer};

use super::event::Doorbell;
use crate::clock::Instant;
use crate::limits;

/// A connection on its way to the shard that owns its device. Everything read so far moves along: nothing past CONNECT
/// was parsed, so the owner starts from its first byte (DESIGN 11).
#[derive(Debug)]
pub struct Moved {
    pub stream: TcpStream,
    pub bytes: Box<[u8]>,
    pub accepted: Instant,
}

/// One shard's ends of all rings that touch it.
pub struct Mesh {
    to: Vec<Option<(Producer<Box<Moved>>, Doorbell)>>,
    from: Vec<Consumer<Box<Moved>>>,
}

/// The full mesh of a process, in shard order.
#[must_use]
pub fn full_mesh(doorbells: &[Doorbell]) -> Vec<Mesh> {
    let shards = doorbells.len();
    let mut meshes: Vec<Mesh> = (0..shards).map(|_| Mesh { to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..shards {
        for (to, doorbell) in doorbells.iter().enumerate() {
            if from == to {
                meshes[from].to.push(None);
                continue;
            }
            let (producer, consumer) = RingBuffer::new(limits::MESH_SLOTS);
            meshes[from].to.push(Some((producer, doorbell.clone())));
            meshes[to].from.push(consumer);
        }
    }
    meshes
}

impl Mesh {
    /// Is there room towards this shard?
    #[must_use]
    pub fn has_room(&self, shard: u16) -> bool {
        self.to.get(usize::from(shard)).and_then(Option::as_ref).is_some_and(|(ring, _)| !ring.is_full())
    }

    /// Sends a connection; gives it back when the ring is full.
    ///
    /// # Errors
    /// The connection, unchanged.
    pub fn send(&mut self, shard: u16, moved: Box<Moved>) -> Result<(), Box<Moved>> {
        let Some(Some((ring, doorbell))) = self.to.get_mut(usize::from(shard)) else { return Err(moved) };
        ring.push(moved).map_err(|rtrb::PushError::Full(moved)| moved)?;
        doorbell();
        Ok(())
    }

    /// Does a connection wait to be taken?
    #[must_use]
    pub fn has_arrivals(&self) -> bool {
        self.from.iter().any(|ring| !ring.is_empty())
    }

    /// The next connection handed to this shard.
    pub fn take(&mut self) -> Option<Box<Moved>> {
        self.from.iter_mut().find_map(|ring| ring.pop().ok())
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("peers", &self.from.len()).finish()
    }
}
