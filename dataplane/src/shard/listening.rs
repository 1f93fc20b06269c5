//! Where devices connect to a shard: one socket per protocol, with what is known of whoever comes in by it. Values only.

use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Mqtt,
    Http,
}

/// One listening socket of a shard.
#[derive(Debug)]
pub struct Listening {
    pub socket: TcpListener,
    pub protocol: Protocol,
    /// Certificates in force; `None`: plain text.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Whoever connects is a balancer and says so by the PROXY protocol.
    pub proxied: bool,
    /// Somebody may be waiting; whoever connected before the socket was watched is.
    pub waiting: bool,
}
