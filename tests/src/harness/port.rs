//! Addresses on the loopback interface. Never an address another machine could reach.

use std::net::{SocketAddr, TcpListener};

/// Lets the system choose; the process prints what it got.
pub const ANY: &str = "127.0.0.1:0";

/// An address that was free a moment ago, for a process that must come back at the same place.
#[must_use]
pub fn reserve() -> SocketAddr {
    let listener = TcpListener::bind(ANY).expect("a loopback port is free");
    listener.local_addr().expect("a bound listener has an address")
}
