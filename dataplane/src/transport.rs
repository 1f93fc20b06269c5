//! Bytes and connections: listening sockets, non-blocking reads and writes on a stream that the runtime watches for
//! readiness. Knows no protocol and no session.

mod listener;
mod socket;

pub use listener::{Bound, bind};
pub use socket::{Received, Sent, Socket};
