//! Bytes and connections: listening sockets, the set of descriptors that are ready, non-blocking reads and writes. Knows no
//! protocol and no session.

mod listener;
mod ready;
mod socket;

pub use listener::{Accepted, Bound, accept, bind};
pub use ready::{Happened, ReadySet};
pub use socket::{Received, Sent, Socket};
