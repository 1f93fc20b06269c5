//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): what a load balancer says of the client before the
//! client's first byte. Total on any bytes. Never decides whom to believe: a listener takes it only where its settings say so.

pub mod harness;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::codec::cursor::Cursor;
use crate::limits;

/// Longest line of version 1 with its end, in bytes (2.1).
const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// What version 2 begins with (2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What was said before the client's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client. `None`: the balancer speaks for itself (a health check), or does not know, or it has no internet address: the
    /// connection's own address is meant.
    pub source: Option<SocketAddr>,
    /// Length of the header; the client's bytes follow.
    pub bytes: usize,
}

/// Why bytes are no header. Nothing is answered: the peer is no balancer, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the line of version 1 has no end where it must")]
    LineTooLong,
    #[error("the line of version 1 is malformed")]
    Line,
    #[error("neither version 1 nor version 2")]
    Version,
    #[error("unknown command")]
    Command,
    #[error("unknown address family or transport")]
    Family,
    #[error("the header is larger than the server accepts")]
    TooLarge,
    #[error("the addresses do not fit the header's length")]
    Truncated,
}

/// The header at the front of `bytes`; `None` while it is not wholly there.
pub fn decode(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let begins = |start: &[u8]| start.iter().zip(bytes).all(|(expected, found)| expected == found);
    if begins(LINE_START) {
        return line(bytes);
    }
    if begins(SIGNATURE) {
        return binary(bytes);
    }
    Err(ProxyError::Missing)
}

/// 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 1883\r\n`
fn line(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    let Some(feed) = window.iter().position(|&byte| byte == b'\n') else {
        return if window.len() < LINE_BYTES_MAX { Ok(None) } else { Err(ProxyError::LineTooLong) };
    };
    let text = window.get(..feed).and_then(|line| line.strip_suffix(b"\r")).and_then(|line| line.strip_prefix(LINE_START));
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).ok_or(ProxyError::Line)?;
    let mut words = text.split(' ');
    let source = match words.next() {
        // The rest of the line, if any, is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(&mut words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(&mut words)?),
        _ => return Err(ProxyError::Line),
    };
    Ok(Some(Header { source, bytes: feed + 1 }))
}

/// The source of source, destination and both ports; all four must be right.
fn addresses<'a, A: FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'a str>) -> Result<SocketAddr, ProxyError> {
    let mut address = || words.next().and_then(|word| A::from_str(word).ok()).ok_or(ProxyError::Line);
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(ProxyError::Line);
    let (source_port, _destination_port) = (port()?, port()?);
    match words.next() {
        None => Ok(SocketAddr::new(source.into(), source_port)),
        Some(_) => Err(ProxyError::Line),
    }
}

/// `parse` alone would also take a sign.
fn port(word: &str) -> Option<u16> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

/// 2.2
fn binary(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.take(SIGNATURE.len()).is_none() {
        return Ok(None);
    }
    let (Some(version_and_command), Some(family), Some(length)) = (cursor.u8(), cursor.u8(), cursor.u16()) else {
        return Ok(None);
    };
    if version_and_command >> 4 != 2 {
        return Err(ProxyError::Version);
    }
    let length = usize::from(length);
    let total = bytes.len() - cursor.rest().len() + length;
    if total > limits::PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLarge);
    }
    let Some(block) = cursor.take(length) else { return Ok(None) };
    let source = match version_and_command & 0x0F {
        // LOCAL: whatever the addresses say is to be ignored.
        0 => None,
        1 => source(family, &mut Cursor::new(block))?,
        _ => return Err(ProxyError::Command),
    };
    Ok(Some(Header { source, bytes: total }))
}

/// The source of an address block, by family and transport. What follows the addresses is for those who know it.
fn source(family: u8, block: &mut Cursor<'_>) -> Result<Option<SocketAddr>, ProxyError> {
    let mut ends = |bytes: usize| block.take(bytes).zip(block.take(bytes)).ok_or(ProxyError::Truncated);
    let address: IpAddr = match (family >> 4, family & 0x0F) {
        (0, 0..=2) | (0..=3, 0) => return Ok(None),
        (1, 1 | 2) => Ipv4Addr::from(first_of::<4>(ends(4)?)?).into(),
        (2, 1 | 2) => Ipv6Addr::from(first_of::<16>(ends(16)?)?).into(),
        // A path of a local socket.
        (3, 1 | 2) => return ends(108).map(|_| None),
        _ => return Err(ProxyError::Family),
    };
    let (source_port, _destination_port) = block.u16().zip(block.u16()).ok_or(ProxyError::Truncated)?;
    Ok(Some(SocketAddr::new(address, source_port)))
}

fn first_of<const N: usize>((source, _destination): (&[u8], &[u8])) -> Result<[u8; N], ProxyError> {
    <[u8; N]>::try_from(source).map_err(|_| ProxyError::Truncated)
}
