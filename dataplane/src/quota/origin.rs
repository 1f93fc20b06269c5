//! Where a connection comes from, as limits see it. Never resolves a name.

use std::net::IpAddr;

/// An IPv4 address, or the /64 that one IPv6 host has to itself: it can have any address of it, so they count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(u64);

/// Above IPv4 addresses: the prefix of a block that is never assigned (RFC 4291, 2.5.5), so that the two kinds do not meet.
const IPV4: u64 = 0xFFFF << 32;

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IPV4 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
        }
    }
}
