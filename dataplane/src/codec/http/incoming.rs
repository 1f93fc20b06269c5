//! Finds where a request ends. Remembers how far it has looked, so that a request in many pieces costs as much as one in one;
//! keeps no bytes: they stay with the caller until the request is whole.

use super::chunked::{self, Chunks};
use super::head::Framing;
use super::{Head, HttpError};
use crate::limits;

/// One whole request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub head: Head<'a>,
    pub body: Body<'a>,
}

/// The body of a request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    raw: &'a [u8],
    chunked: bool,
}

impl<'a> Body<'a> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// What the body says: in place where it lies in one piece, otherwise copied into `into`.
    #[must_use]
    pub fn content(self, into: &'a mut Vec<u8>) -> &'a [u8] {
        if self.chunked { chunked::content(self.raw, into) } else { self.raw }
    }
}

/// The request that is coming in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    stage: Stage,
    /// The client waits for 100 before it sends the body, and was not told yet.
    awaits_continue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Between requests, or in a head of which `seen` bytes have no end.
    Head {
        seen: usize,
        line_ended: bool,
    },
    Body {
        head: usize,
        length: usize,
    },
    Chunks {
        head: usize,
        chunks: Chunks,
    },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head { seen: 0, line_ended: false }
    }
}

impl Incoming {
    /// The request at the front of `input`, taken from it when it is whole. `None`: more bytes are needed, and `input` begins
    /// with the same ones the next time.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Request<'a>>, HttpError> {
        let mut decoded = None;
        if matches!(self.stage, Stage::Head { .. }) {
            let Some(end) = self.end_of_head(input)? else { return Ok(None) };
            let head = Head::decode(input.get(..end).unwrap_or_default())?;
            self.awaits_continue = head.expects_continue;
            self.stage = match head.framing {
                Framing::Length(length) => Stage::Body { head: end, length },
                Framing::Chunked => Stage::Chunks { head: end, chunks: Chunks::default() },
            };
            decoded = Some(head);
        }
        let bytes = *input;
        let (head_bytes, length, chunked) = match &mut self.stage {
            Stage::Body { head, length } => (*head, *length, false),
            Stage::Chunks { head, chunks } => match chunks.scan(bytes.get(*head..).unwrap_or_default())? {
                Some(length) => (*head, length, true),
                None => return Ok(None),
            },
            Stage::Head { .. } => return Ok(None),
        };
        let Some((head, behind)) = bytes.split_at_checked(head_bytes) else { return Ok(None) };
        let Some((raw, rest)) = behind.split_at_checked(length) else { return Ok(None) };
        let head = match decoded {
            Some(head) => head,
            None => Head::decode(head)?,
        };
        *input = rest;
        *self = Self::default();
        Ok(Some(Request { head, body: Body { raw, chunked } }))
    }

    /// Whether a part of a request is there.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.stage != Stage::default()
    }

    /// Whether only the body is missing.
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(self.stage, Stage::Head { .. })
    }

    /// Whether the client must be told to go on ([`super::encode_continue`]); true once.
    pub fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.awaits_continue)
    }

    /// Looks for the empty line behind the headers. Takes the empty lines before the request (RFC 9112, 2.2).
    fn end_of_head(&mut self, input: &mut &[u8]) -> Result<Option<usize>, HttpError> {
        let Stage::Head { seen, line_ended } = &mut self.stage else { return Ok(None) };
        if *seen == 0 {
            while let Some(rest) = input.strip_prefix(b"\r\n") {
                *input = rest;
            }
            // Methods are words: whoever speaks TLS or MQTT to this port need not be listened to for long.
            match input.first() {
                Some(b'\r') if input.len() == 1 => return Ok(None),
                Some(first) if !first.is_ascii_alphabetic() => return Err(HttpError::Malformed),
                _ => {}
            }
        }
        loop {
            let most = if *line_ended { limits::HTTP_HEAD_BYTES_MAX } else { limits::HTTP_REQUEST_LINE_BYTES_MAX };
            let window = input.get(*seen..input.len().min(most)).unwrap_or_default();
            let Some(feed) = window.iter().position(|&byte| byte == b'\n') else {
                *seen += window.len();
                return match (*seen < most, *line_ended) {
                    (true, _) => Ok(None),
                    (false, true) => Err(HttpError::HeadTooLarge),
                    (false, false) => Err(HttpError::RequestLineTooLong),
                };
            };
            *seen += feed + 1;
            let line = input.get(..*seen - 1).unwrap_or_default();
            match line.strip_suffix(b"\r") {
                None => return Err(HttpError::BareLineFeed),
                Some(before) if before.ends_with(b"\n") => return Ok(Some(*seen)),
                Some(_) => *line_ended = true,
            }
        }
    }
}
