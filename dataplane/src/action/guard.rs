//! Which addresses a tenant's calls may reach: what is on the public internet, and anything else only where the tenant's profile
//! says so. Looks names up itself, so that what was checked is what is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A target that the tenant may not call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotPublic(pub(super) String);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not on the public internet; only tenant profiles with privateTargetsAllowed may call it", self.0)
    }
}

impl std::error::Error for NotPublic {}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unresolved {
    #[error(transparent)]
    NotPublic(#[from] NotPublic),
    #[error("{0}: {1}")]
    Unknown(String, std::io::Error),
}

/// The addresses of a host that may be called, at least one.
///
/// # Errors
/// [`Unresolved`].
pub(super) async fn resolve(host: &str, port: u16, private: bool) -> Result<Vec<SocketAddr>, Unresolved> {
    let unknown = |error| Unresolved::Unknown(host.to_owned(), error);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await.map_err(unknown)?.collect();
    let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| private || is_public(address.ip())).collect();
    if allowed.is_empty() { Err(NotPublic(host.to_owned()).into()) } else { Ok(allowed) }
}

/// Whether an address is somebody's on the public internet (RFC 6890 and its registries).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!((a, b, c), (0 | 240.., ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _));
    !special
        && !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_multicast()
        && !address.is_documentation()
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., high, low] = segments;
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        // Addresses that another one is written in: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xFFFF, ..] | [0x0064, 0xFF9B, 0, 0, 0, 0, ..] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // Global unicast is 2000::/3, of which 2001::/23 and 2001:db8::/32 are special.
        [first, second, ..] => first & 0xE000 == 0x2000 && !(first == 0x2001 && (second < 0x0200 || second == 0x0DB8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        let public = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"];
        let own = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
            "2001:db8::1",
            "::127.0.0.1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in own {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
