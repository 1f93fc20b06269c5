//! Addresses on the loopback interface. Never an address another machine could reach.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as LocalAddress, UnixListener};

/// Lets the system choose; the process prints what it got.
pub const ANY: &str = "127.0.0.1:0";

/// Below what Linux gives to [`ANY`] and to connections (32768 to 60999, unless somebody has changed it): what is reserved here and
/// not listened at, because its server is away, would else be given to somebody else now and then.
const RESERVED: Range<u16> = 10_000..32_768;

/// An address of this process's own until it ends, for a server that is away for a while, or must come back at the same place.
///
/// # Panics
/// When all are taken.
#[must_use]
pub fn reserve() -> SocketAddr {
    // Processes begin at different places, so that they seldom ask for the same.
    let first = std::process::id() as usize * 16 % RESERVED.len();
    RESERVED.cycle().skip(first).take(RESERVED.len()).find_map(take).expect("a loopback port is free")
}

fn take(port: u16) -> Option<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A name in the abstract namespace is its holder's until that ends, however it ends: other tests' processes see it and go on.
    let name = LocalAddress::from_abstract_name(format!("tidegate-test-port-{port}")).expect("a short name");
    let holder = UnixListener::bind_addr(&name).ok()?;
    // Somebody else's server may listen there.
    TcpListener::bind(address).ok()?;
    std::mem::forget(holder);
    Some(address)
}
