//! A body in chunks (RFC 9112, 7.1). Extensions and trailers are skipped, within bounds. Never copies before the whole body is
//! there and known to be good.

use super::HttpError;
use crate::limits;

/// How far a body in chunks is known to be good, so that one in many pieces is looked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    /// Bytes of whole lines and chunks.
    at: usize,
    /// Bytes of content in them.
    content: usize,
    /// The last chunk was there; trailers follow.
    last: bool,
}

impl Chunks {
    /// Goes on in the body `raw`, which begins where it always did. Its length once it is whole, `None` before.
    pub(super) fn scan(&mut self, raw: &[u8]) -> Result<Option<usize>, HttpError> {
        loop {
            let Some((line, behind)) = line_at(raw, self.at)? else { return Ok(None) };
            if self.last {
                self.at = behind;
                if line.is_empty() {
                    return Ok(Some(behind));
                }
                continue;
            }
            let size = size(line)?;
            self.content = self.content.saturating_add(size);
            let end = behind.saturating_add(size).saturating_add(2);
            if self.content > limits::PAYLOAD_BYTES_MAX || (size > 0 && end > limits::HTTP_CHUNKED_BYTES_MAX) {
                return Err(HttpError::BodyTooLarge);
            }
            if size == 0 {
                self.last = true;
                self.at = behind;
                continue;
            }
            match raw.get(end - 2..end) {
                Some(b"\r\n") => self.at = end,
                Some(_) => return Err(HttpError::Chunk),
                None => {
                    // Its line is read again with the next piece.
                    self.content -= size;
                    return Ok(None);
                }
            }
        }
    }
}

/// The content of a whole, good body: in place if it is one chunk, otherwise copied into `into`.
pub(super) fn content<'a>(raw: &'a [u8], into: &'a mut Vec<u8>) -> &'a [u8] {
    into.clear();
    let mut chunks = chunks(raw);
    let first = chunks.next().unwrap_or_default();
    let Some(second) = chunks.next() else { return first };
    into.extend_from_slice(first);
    into.extend_from_slice(second);
    chunks.for_each(|chunk| into.extend_from_slice(chunk));
    into
}

fn chunks(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (line, behind) = line_at(raw, at).ok()??;
        let size = size(line).ok().filter(|&size| size > 0)?;
        let chunk = raw.get(behind..behind.checked_add(size)?)?;
        at = behind + size + 2;
        Some(chunk)
    })
}

/// The line that begins at `at`, without its end, and where the next begins; `None` while it is not whole.
fn line_at(raw: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, HttpError> {
    let longest = at.saturating_add(limits::HTTP_CHUNK_LINE_BYTES_MAX);
    let end = longest.min(limits::HTTP_CHUNKED_BYTES_MAX);
    let window = raw.get(at..raw.len().min(end)).unwrap_or_default();
    let Some(feed) = window.iter().position(|&byte| byte == b'\n') else {
        // The same whether it came in one piece or in many.
        return match raw.len() < end {
            true => Ok(None),
            false if end < longest => Err(HttpError::BodyTooLarge),
            false => Err(HttpError::Chunk),
        };
    };
    match window.get(..feed).and_then(|line| line.strip_suffix(b"\r")) {
        // A carriage return inside a line ends it for some.
        Some(line) if !line.contains(&b'\r') => Ok(Some((line, at + feed + 1))),
        _ => Err(HttpError::Chunk),
    }
}

/// Hexadecimal digits, then nothing or an extension.
fn size(line: &[u8]) -> Result<usize, HttpError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at_checked(digits).ok_or(HttpError::Chunk)?;
    // Space before the extension was allowed once (RFC 9112, 7.1.1).
    let extension = extension.trim_ascii_start();
    if digits.is_empty() || extension.first().is_some_and(|&byte| byte != b';') {
        return Err(HttpError::Chunk);
    }
    let value = |digit: u8| usize::from(if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 });
    Ok(digits.iter().fold(0, |sum: usize, &digit| sum.saturating_mul(16).saturating_add(value(digit))))
}
