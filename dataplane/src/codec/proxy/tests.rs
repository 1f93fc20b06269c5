//! Headers as data.

use proptest::prelude::*;

use super::*;

/// The header is found whole, and with the client's first bytes behind it.
fn finds(name: &str, header: &[u8], source: Option<&str>) {
    let source = source.map(|source| source.parse().unwrap());
    for behind in [&b""[..], b"\x10\x0f", b"PROXY "] {
        let found = decode(&[header, behind].concat());
        assert_eq!(found, Ok(Some(Header { source, bytes: header.len() })), "{name}");
    }
    harness::any(header);
}

fn fails(name: &str, bytes: &[u8], error: ProxyError) {
    assert_eq!(decode(bytes), Err(error), "{name}");
    harness::any(bytes);
}

fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap();
    [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), block].concat()
}

const V4: &[u8] = b"\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x07\x5b";
const V6: &[u8] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x07\x5b";

#[test]
fn version_1_says_who_connects() {
    finds("IPv4", b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 1883\r\n", Some("192.0.2.1:56324"));
    finds("IPv6", b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 1883\r\n", Some("[2001:db8::1]:56324"));
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    finds("the longest addresses", longest.as_bytes(), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"));
    finds("nobody knows", b"PROXY UNKNOWN\r\n", None);
    finds("nobody knows, at length", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None);
    fails("no PROXY", b"GET / HTTP/1.1\r\n", ProxyError::Missing);
    fails("lower case", b"proxy TCP4", ProxyError::Missing);
    fails("an unknown family", b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", ProxyError::Line);
    fails("the wrong family", b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", ProxyError::Line);
    fails("a port too large", b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", ProxyError::Line);
    fails("a signed port", b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", ProxyError::Line);
    fails("a port missing", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", ProxyError::Line);
    fails("something more", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", ProxyError::Line);
    fails("two spaces", b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", ProxyError::Line);
    fails("a bare line feed", b"PROXY UNKNOWN\n", ProxyError::Line);
    fails("no end", &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(), ProxyError::LineTooLong);
}

#[test]
fn version_2_says_who_connects() {
    finds("IPv4", &version_2(0x21, 0x11, V4), Some("192.0.2.1:56324"));
    finds("IPv6", &version_2(0x21, 0x21, V6), Some("[2001:db8::1]:56324"));
    finds("datagrams", &version_2(0x21, 0x12, V4), Some("192.0.2.1:56324"));
    finds("with more behind the addresses", &version_2(0x21, 0x11, &[V4, b"\x04\0\x03xyz"].concat()), Some("192.0.2.1:56324"));
    finds("a health check", &version_2(0x20, 0x00, b""), None);
    finds("a health check with addresses", &version_2(0x20, 0x11, V4), None);
    finds("no family", &version_2(0x21, 0x00, b"abc"), None);
    finds("a local socket", &version_2(0x21, 0x31, &[b'/'; 216]), None);
    finds("as much as is taken", &version_2(0x21, 0x11, &[V4, &[0; 508]].concat()), Some("192.0.2.1:56324"));
    fails("one byte more", &version_2(0x21, 0x11, &[V4, &[0; 509]].concat()), ProxyError::TooLarge);
    fails("version 3", &version_2(0x31, 0x11, V4), ProxyError::Version);
    fails("an unknown command", &version_2(0x22, 0x11, V4), ProxyError::Command);
    fails("an unknown family", &version_2(0x21, 0x41, V4), ProxyError::Family);
    fails("an unknown transport", &version_2(0x21, 0x13, V4), ProxyError::Family);
    fails("addresses too short", &version_2(0x21, 0x11, &V4[..11]), ProxyError::Truncated);
    fails("addresses of the other family", &version_2(0x21, 0x21, V4), ProxyError::Truncated);
    fails("a path too short", &version_2(0x21, 0x31, &[b'/'; 215]), ProxyError::Truncated);
    fails("a signature that is none", b"\r\n\r\n\0\r\nQUIT\r", ProxyError::Missing);
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_or_none(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_line_is_a_header_or_none(line in "(TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,110}(\r\n)?") {
        harness::any(line.as_bytes());
    }
}
