//! Listening sockets, one per shard on the same address by SO_REUSEPORT, bound before anything is served so that a
//! taken port is said at start, and accepting from one of them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use rustix::{
    io::Errno,
    net::{SocketAddrAny, SocketFlags},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for us between two accepts.
const BACKLOG: i32 = 4_096;

/// One listening socket per shard, and the address they share.
#[derive(Debug)]
pub struct Bound {
    pub address: SocketAddr,
    pub listeners: Vec<TcpListener>,
}

/// Binds `shards` listeners to `address`. With port 0 the kernel chooses once and all share its choice.
///
/// # Errors
/// The operating system's error: address in use, not permitted, not local.
pub fn bind(address: SocketAddr, shards: u16) -> io::Result<Bound> {
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener(address)?);
    }
    Ok(Bound { address, listeners })
}

/// What a listener had.
#[derive(Debug)]
pub enum Accepted {
    /// Non-blocking, and who it is.
    Stream(TcpStream, IpAddr),
    Nothing,
    /// The process or the system is out of something; those who wait are still there later.
    Failed(io::Error),
}

/// Takes one waiting connection, never waits.
#[must_use]
pub fn accept(listener: &TcpListener) -> Accepted {
    loop {
        match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((stream, peer)) => return Accepted::Stream(TcpStream::from(stream), address(peer)),
            Err(Errno::AGAIN) => return Accepted::Nothing,
            // One that gave up before it was accepted says nothing about the next.
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
            Err(error) => return Accepted::Failed(error.into()),
        }
    }
}

/// The peer's address; nobody's if it has gone already.
fn address(peer: Option<SocketAddrAny>) -> IpAddr {
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_one_port() {
        let bound = bind("127.0.0.1:0".parse().expect("a literal"), 3).expect("loopback is there");
        assert_eq!(bound.listeners.len(), 3);
        for listener in &bound.listeners {
            assert_eq!(listener.local_addr().expect("bound"), bound.address);
        }
    }

    #[test]
    fn a_foreign_listener_is_reported() {
        let foreign = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let error = bind(foreign.local_addr().expect("bound"), 1).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
