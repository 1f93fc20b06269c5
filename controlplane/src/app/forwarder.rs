//! Vouches for the addresses of devices whose requests are passed on to a data plane. Never shows the join token itself: devices'
//! listeners may be plain HTTP.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use schemas::forwarded;

use crate::domain::hex;

#[derive(Clone)]
pub(in crate::app) struct Forwarder {
    key: hmac::Key,
}

impl Forwarder {
    pub(in crate::app) fn new(join_token: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, join_token.as_bytes()) }
    }

    /// In hexadecimal.
    pub(in crate::app) fn vouch(&self, address: IpAddr) -> String {
        hex(hmac::sign(&self.key, &forwarded::form(address)).as_ref())
    }
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarder(..)")
    }
}
