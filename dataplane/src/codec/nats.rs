//! NATS's client protocol as far as a publisher speaks it. Total on any bytes, and copies nothing that it reads. Never decides what
//! follows from an answer.

use super::cursor::Cursor;

/// The longest line of a server, in bytes: INFO names its cluster.
const LINE_BYTES_MAX: usize = 32 << 10;
/// What a stream answers, in bytes.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// Why what a server says cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misheard {
    #[error("the server says more than was asked")]
    TooLong,
    #[error("what the server says is not NATS")]
    Unknown,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromServer<'a> {
    /// JSON.
    Info(&'a str),
    Ping,
    Pong,
    Ok,
    Error(&'a str),
    /// `status` is that of a message without content.
    Message {
        subject: &'a str,
        status: Option<u16>,
        payload: &'a [u8],
    },
}

impl<'a> FromServer<'a> {
    /// What is said first and its bytes; `None` while it is not wholly there.
    ///
    /// # Errors
    /// It is not NATS, or longer than a publisher has to hear.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Misheard> {
        let Some(end) = bytes.windows(2).take(LINE_BYTES_MAX).position(|pair| pair == b"\r\n") else {
            return if bytes.len() > LINE_BYTES_MAX { Err(Misheard::TooLong) } else { Ok(None) };
        };
        let line = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| Misheard::Unknown)?;
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let said = match word.to_ascii_uppercase().as_str() {
            "INFO" => Self::Info(rest.trim()),
            "PING" => Self::Ping,
            "PONG" => Self::Pong,
            "+OK" => Self::Ok,
            "-ERR" => Self::Error(rest.trim().trim_matches('\'')),
            "MSG" => return Self::message(rest, false, bytes.get(end + 2..).unwrap_or_default(), end + 2),
            "HMSG" => return Self::message(rest, true, bytes.get(end + 2..).unwrap_or_default(), end + 2),
            _ => return Err(Misheard::Unknown),
        };
        Ok(Some((said, end + 2)))
    }

    /// `subject sid [reply] [header bytes] all bytes`, and then those bytes.
    fn message(line: &'a str, has_headers: bool, rest: &'a [u8], before: usize) -> Result<Option<(Self, usize)>, Misheard> {
        let words: Vec<&str> = line.split_ascii_whitespace().take(6).collect();
        let numbers = 1 + usize::from(has_headers);
        let (Some(subject), 3..=4) = (words.first(), (words.len() + 1).saturating_sub(numbers)) else {
            return Err(Misheard::Unknown);
        };
        let number = |from_end: usize| {
            let word = words.len().checked_sub(from_end).and_then(|place| words.get(place))?;
            word.parse::<usize>().ok()
        };
        let length = number(1).ok_or(Misheard::Unknown)?;
        let headers = if has_headers { number(2).filter(|headers| *headers <= length).ok_or(Misheard::Unknown)? } else { 0 };
        if length > PAYLOAD_BYTES_MAX {
            return Err(Misheard::TooLong);
        }
        let mut cursor = Cursor::new(rest);
        let (Some(headers), Some(payload), Some(end)) = (cursor.take(headers), cursor.take(length - headers), cursor.take(2))
        else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(Misheard::Unknown);
        }
        // `NATS/1.0 503` and so on.
        let status =
            headers.strip_prefix(b"NATS/1.0 ").and_then(|status| std::str::from_utf8(status.get(..3)?).ok()?.parse().ok());
        Ok(Some((Self::Message { subject, status, payload }, before + length + 2)))
    }
}

/// CONNECT with these options, JSON.
pub fn put_connect(out: &mut Vec<u8>, options: &str) {
    put(out, &["CONNECT ", options, "\r\n"]);
}

/// Subscribes to a subject. Only for one without spaces.
pub fn put_subscribe(out: &mut Vec<u8>, subject: &str) {
    put(out, &["SUB ", subject, " 1\r\n"]);
}

pub fn put_ping(out: &mut Vec<u8>) {
    put(out, &["PING\r\n"]);
}

pub fn put_pong(out: &mut Vec<u8>) {
    put(out, &["PONG\r\n"]);
}

/// Publishes with one header. Neither subject nor reply nor header has spaces or ends of lines.
pub fn put_publish(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, (name, value): (&str, &str), payload: &[u8]) {
    let headers = format!("NATS/1.0\r\n{name}: {value}\r\n\r\n");
    let (length, all) = (headers.len().to_string(), (headers.len() + payload.len()).to_string());
    put(out, &["HPUB ", subject, " ", reply.unwrap_or_default(), if reply.is_some() { " " } else { "" }, &length, " ", &all]);
    put(out, &["\r\n", &headers]);
    out.extend_from_slice(payload);
    put(out, &["\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read<'a> = Result<Option<(FromServer<'a>, usize)>, Misheard>;

    #[test]
    fn what_a_server_says() {
        let message = |subject, status, payload| FromServer::Message { subject, status, payload };
        let cases: [(&[u8], Read<'_>); 14] = [
            (b"INFO {\"a\":1} \r\nPING\r\n", Ok(Some((FromServer::Info("{\"a\":1}"), 15)))),
            (b"PING\r\n", Ok(Some((FromServer::Ping, 6)))),
            (b"PONG\r\n", Ok(Some((FromServer::Pong, 6)))),
            (b"+OK\r\n", Ok(Some((FromServer::Ok, 5)))),
            (b"-ERR 'Authorization Violation'\r\n", Ok(Some((FromServer::Error("Authorization Violation"), 32)))),
            (b"PON", Ok(None)),
            (b"PUNG\r\n", Err(Misheard::Unknown)),
            (b"MSG a.1 1 2\r\n{}\r\nPING", Ok(Some((message("a.1", None, b"{}"), 17)))),
            (b"MSG a.1 1 back 2\r\n{}\r\n", Ok(Some((message("a.1", None, b"{}"), 22)))),
            (b"MSG a.1 1 2\r\n{}\r", Ok(None)),
            (b"MSG a.1 1 2\r\n{}{}", Err(Misheard::Unknown)),
            (b"HMSG a.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", Ok(Some((message("a.1", Some(503), b""), 36)))),
            (b"HMSG a.1 1 17 16\r\n", Err(Misheard::Unknown)),
            (b"MSG a.1 1 99999999999\r\n", Err(Misheard::TooLong)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(FromServer::read(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        let mut out = Vec::new();
        put_publish(&mut out, "a", Some("b"), ("K", "v"), b"{}");
        assert_eq!(out, b"HPUB a b 18 20\r\nNATS/1.0\r\nK: v\r\n\r\n{}\r\n");
        out.clear();
        put_publish(&mut out, "a", None, ("K", "v"), b"");
        assert_eq!(out, b"HPUB a 18 18\r\nNATS/1.0\r\nK: v\r\n\r\n\r\n");
    }

    proptest! {
        #[test]
        fn any_line_is_read_whole(
            word in prop::sample::select(vec!["MSG", "HMSG", "-ERR", "INFO", "+OK"]),
            words in prop::collection::vec("[a-z0-9']{0,3}", 0..3),
            (said, off) in (prop::collection::vec(any::<u8>(), 0..30), 0_usize..4),
            headers in 0_usize..34,
            behind in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let is_message = matches!(word, "MSG" | "HMSG");
            let declared = (said.len() + off).saturating_sub(1);
            let mut line = [&[word.to_owned()][..], &words].concat();
            line.extend((word == "HMSG").then(|| headers.to_string()));
            line.extend(is_message.then(|| declared.to_string()));
            let mut bytes = format!("{}\r\n", line.join(" ")).into_bytes();
            let before = bytes.len();
            if is_message {
                bytes.extend_from_slice(&said);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(&behind);
            if let Ok(Some((heard, length))) = FromServer::read(&bytes) {
                prop_assert_eq!(length, if is_message { before + declared + 2 } else { before });
                prop_assert!(length <= bytes.len());
                if let FromServer::Message { payload, .. } = heard {
                    prop_assert!(bytes[before..before + declared].ends_with(payload));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..100), begin in 0..4_usize) {
            let bytes = [[&b"MSG a 1 "[..], b"HMSG a 1 2 ", b"-ERR ", b""][begin], &bytes].concat();
            if let Ok(Some((_, length))) = FromServer::read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
