//! Bytes and connections: listening sockets, the set of descriptors that are ready, non-blocking reads and writes, TLS. Knows no
//! protocol above TLS and no session.

mod certificates;
mod client;
mod listener;
mod ready;
mod socket;
mod stream;
mod tls;
mod x509;

pub mod harness;
#[cfg(test)]
mod tests;

pub use certificates::{CertificateFiles, Certificates, Problem, Unusable};
pub use client::proven_chain;
pub use listener::{Accepted, Bound, accept, bind};
pub use ready::{Happened, ReadySet};
pub use stream::{Received, Released, Sent, Stream};
pub use tls::Fault;
