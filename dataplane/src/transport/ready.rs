//! Which descriptors of a shard have something to say: one edge-triggered epoll set, asked once per turn.
//!
//! A connection is registered once and costs nothing until bytes arrive: no task, no operation in flight, no buffer. The
//! runtime only watches the set itself, and only while the shard has nothing to do. Never reads or writes a descriptor.

use std::{
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

/// What happened to a descriptor. Edge-triggered: it is said once, so whoever hears it reads until nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The number under which the descriptor was added.
    pub token: u64,
    /// There are bytes, or the end of the stream.
    pub readable: bool,
    /// It takes bytes again.
    pub writable: bool,
    /// The peer is done writing or the connection broke: read until the end.
    pub ended: bool,
}

/// The set of one shard.
pub struct ReadySet {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl fmt::Debug for ReadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadySet").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

/// Descriptors told of in one turn; further ones wait for the next.
const EVENTS_PER_LOOK: usize = 1_024;

impl ReadySet {
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS_PER_LOOK) })
    }

    /// Registers a descriptor under a number of the caller's.
    ///
    /// # Errors
    /// The operating system's: the descriptor cannot be watched, or too many are.
    pub fn add(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(token), flags)?)
    }

    /// Registers a descriptor that is only read.
    ///
    /// # Errors
    /// See [`Self::add`].
    pub fn add_reader(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(token), EventFlags::IN | EventFlags::ET)?)
    }

    /// Gives a registered descriptor another number; what it has to say is said again.
    ///
    /// # Errors
    /// See [`Self::add`].
    pub fn rename(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::modify(&self.epoll, descriptor, EventData::new_u64(token), flags)?)
    }

    /// Forgets a descriptor that lives on elsewhere. One that is closed is forgotten by itself.
    ///
    /// # Errors
    /// It was not in the set.
    pub fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, descriptor)?)
    }

    /// Looks without waiting; returns how many descriptors have something to say, to be fetched with [`Self::happened`].
    pub fn look(&mut self) -> usize {
        self.events.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Interrupted by a signal: the next turn looks again.
        let _found = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&now));
        self.events.len()
    }

    /// The `index`th of what the last look found.
    #[must_use]
    pub fn happened(&self, index: usize) -> Option<Happened> {
        let event = self.events.get(index)?;
        let flags = event.flags;
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        Some(Happened {
            token: event.data.u64(),
            readable: ended || flags.contains(EventFlags::IN),
            writable: flags.contains(EventFlags::OUT),
            ended,
        })
    }

    /// Whether the last look may have left something behind.
    #[must_use]
    pub fn may_have_more(&self) -> bool {
        self.events.len() == EVENTS_PER_LOOK
    }

    /// A descriptor that the runtime can watch: readable when a look would find something.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn watched(&self) -> io::Result<UnixStream> {
        // The runtime watches descriptors of its own types only; it never reads or writes this one.
        Ok(UnixStream::from(self.epoll.try_clone()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn tokens(set: &mut ReadySet) -> Vec<Happened> {
        let found = set.look();
        (0..found).filter_map(|index| set.happened(index)).collect()
    }

    #[test]
    fn what_happened_is_said_once_and_the_end_is_said_as_such() {
        let mut set = ReadySet::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        set.add(&near, 7).unwrap();
        let fresh = Happened { token: 7, readable: false, writable: true, ended: false };
        assert_eq!(tokens(&mut set), [fresh]);
        assert_eq!(tokens(&mut set), []);
        (&far).write_all(b"x").unwrap();
        assert_eq!(tokens(&mut set), [Happened { readable: true, ..fresh }]);
        assert_eq!(tokens(&mut set), [], "an edge, not a level");
        (&far).write_all(b"y").unwrap();
        assert_eq!(tokens(&mut set), [Happened { readable: true, ..fresh }], "new bytes are a new edge");
        near.read_exact(&mut [0; 2]).unwrap();
        drop(far);
        assert_eq!(tokens(&mut set), [Happened { readable: true, ended: true, ..fresh }]);
    }

    #[test]
    fn a_new_number_tells_again_and_a_removed_descriptor_is_silent() {
        let mut set = ReadySet::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        set.add_reader(&near, 1).unwrap();
        (&far).write_all(b"x").unwrap();
        assert_eq!(tokens(&mut set).len(), 1);
        set.rename(&near, 2).unwrap();
        assert_eq!(tokens(&mut set).first().map(|happened| happened.token), Some(2));
        set.remove(&near).unwrap();
        (&far).write_all(b"x").unwrap();
        assert_eq!(tokens(&mut set), []);
        assert!(set.remove(&near).is_err());
    }
}
