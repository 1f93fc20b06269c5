//! A scanner over one JSON text (RFC 8259): hands out keys, strings and number literals borrowed from the input.
//! Knows nothing of telemetry, builds no tree, never recurses, and is total on any bytes.

use std::borrow::Cow;

use crate::limits::JSON_DEPTH_MAX;
use crate::payload::{Flaw, PayloadError};

/// Levels are kept as the bits of one word.
const _: () = assert!(JSON_DEPTH_MAX <= u64::BITS, "a level of nesting is one bit of a u64");

/// A position in a JSON text. Copying it is how a value is read a second time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Something was skipped that a compact text must not hold as it is: white space, or a number beyond f64.
    loose: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0, loose: false }),
            Err(error) => Err(PayloadError { flaw: Flaw::NotUtf8, at: error.valid_up_to() }),
        }
    }

    /// The same text, read from `at` on.
    pub(crate) fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Bytes already read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn error(&self, flaw: Flaw) -> PayloadError {
        PayloadError { flaw, at: self.at }
    }

    /// The text between two positions that lie on token borders.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// The first byte of the next token, which stays unread.
    pub(crate) fn token(&mut self) -> Result<u8, PayloadError> {
        self.whitespace();
        self.peek().ok_or_else(|| self.error(Flaw::Truncated))
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), PayloadError> {
        self.whitespace();
        if self.at == self.text.len() { Ok(()) } else { Err(self.error(Flaw::Trailing)) }
    }

    /// Reads an object; `member` is called at each value and must read it.
    pub(crate) fn object<F>(&mut self, mut member: F) -> Result<(), PayloadError>
    where
        F: FnMut(&mut Self, Cow<'a, str>) -> Result<(), PayloadError>,
    {
        self.take(b'{')?;
        if self.token()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.take(b':')?;
            self.token()?;
            member(self, key)?;
            match self.token()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.error(Flaw::Unexpected)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an array; `element` is called at each value and must read it.
    pub(crate) fn array<F>(&mut self, mut element: F) -> Result<(), PayloadError>
    where
        F: FnMut(&mut Self) -> Result<(), PayloadError>,
    {
        self.take(b'[')?;
        if self.token()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.token()?;
            element(self)?;
            match self.token()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.error(Flaw::Unexpected)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string; borrowed unless it holds an escape.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, PayloadError> {
        let (raw, escaped) = self.raw_string()?;
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// Reads a number and returns it as written.
    pub(crate) fn number(&mut self) -> Result<&'a str, PayloadError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            Some(_) => return Err(self.error(Flaw::Unexpected)),
            None => return Err(self.error(Flaw::Truncated)),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.slice(from, self.at))
    }

    /// Reads exactly `word`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), PayloadError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        let truncated = word.as_bytes().starts_with(rest);
        Err(self.error(if truncated { Flaw::Truncated } else { Flaw::Unexpected }))
    }

    /// Reads any value and returns it without insignificant white space; borrowed if there was none.
    pub(crate) fn compact(&mut self) -> Result<Cow<'a, str>, PayloadError> {
        self.token()?;
        let from = self.at;
        self.loose = false;
        self.skip()?;
        let text = self.slice(from, self.at);
        Ok(if self.loose { Cow::Owned(compact(text)) } else { Cow::Borrowed(text) })
    }

    /// Reads and checks any value.
    pub(crate) fn skip(&mut self) -> Result<(), PayloadError> {
        // One bit per open level, the innermost lowest: 1 is an object, 0 an array.
        let mut levels = 0_u64;
        let mut depth = 0_u32;
        loop {
            let opened = self.token()?;
            let (object, close) = match opened {
                b'{' => (true, b'}'),
                b'[' => (false, b']'),
                _ => (false, 0),
            };
            if close == 0 {
                self.scalar(opened)?;
            } else if depth == JSON_DEPTH_MAX {
                return Err(self.error(Flaw::Depth));
            } else {
                self.at += 1;
                levels = (levels << 1) | u64::from(object);
                depth += 1;
                if self.token()? != close {
                    if object {
                        self.member_key()?;
                    }
                    continue;
                }
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = levels & 1 == 1;
                match (self.token()?, object) {
                    (b',', _) => {
                        self.at += 1;
                        if object {
                            self.member_key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        levels >>= 1;
                        depth -= 1;
                    }
                    _ => return Err(self.error(Flaw::Unexpected)),
                }
            }
        }
    }

    fn scalar(&mut self, first: u8) -> Result<(), PayloadError> {
        match first {
            b'"' => self.raw_string().map(drop),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => {
                self.loose |= !is_f64(self.number()?);
                Ok(())
            }
        }
    }

    fn member_key(&mut self) -> Result<(), PayloadError> {
        self.raw_string()?;
        self.take(b':')
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.loose = true;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), PayloadError> {
        if self.token()? != byte {
            return Err(self.error(Flaw::Unexpected));
        }
        self.at += 1;
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), PayloadError> {
        match self.peek() {
            Some(b'0'..=b'9') => {}
            Some(_) => return Err(self.error(Flaw::Unexpected)),
            None => return Err(self.error(Flaw::Truncated)),
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    /// A checked string as written, and whether it holds an escape.
    fn raw_string(&mut self) -> Result<(&'a str, bool), PayloadError> {
        self.take(b'"')?;
        let from = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(self.error(Flaw::Truncated)),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.error(Flaw::Control)),
                Some(_) => self.at += 1,
            }
        }
        let raw = self.slice(from, self.at);
        self.at += 1;
        Ok((raw, escaped))
    }

    /// One escape sequence; a surrogate only as half of a pair.
    fn escape(&mut self) -> Result<(), PayloadError> {
        match self.text.as_bytes().get(self.at + 1) {
            None => Err(self.error(Flaw::Truncated)),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let length = match (self.unit(self.at), self.unit(self.at + 6)) {
                    (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                    (Some(0xd800..=0xdfff) | None, _) => return Err(self.error(Flaw::Escape)),
                    (Some(_), _) => 6,
                };
                self.at += length;
                Ok(())
            }
            Some(_) => Err(self.error(Flaw::Escape)),
        }
    }

    /// The UTF-16 unit that the escape of four hexadecimal digits at `at` stands for.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        // `from_str_radix` alone would take a sign.
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        u16::from_str_radix(digits, 16).ok()
    }
}

/// Whether a number literal lies in the range of f64.
fn is_f64(literal: &str) -> bool {
    // Shorter literals without exponent cannot leave the range.
    let suspect = literal.len() > 300 || literal.bytes().any(|byte| byte == b'e' || byte == b'E');
    !suspect || literal.parse().is_ok_and(f64::is_finite)
}

/// Drops white space from a checked text. A number beyond f64, which no reader could give back, becomes a string.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut scanner = Scanner { text, at: 0, loose: false };
    loop {
        scanner.whitespace();
        let from = scanner.at;
        let number = match scanner.peek() {
            None => return out,
            Some(b'"') => scanner.raw_string().map(|_| true),
            Some(b'-' | b'0'..=b'9') => scanner.number().map(is_f64),
            Some(_) => {
                scanner.at += 1;
                Ok(true)
            }
        };
        let token = scanner.slice(from, scanner.at);
        match number {
            Ok(true) => out.push_str(token),
            Ok(false) => out.extend(["\"", token, "\""]),
            Err(_) => return out,
        }
    }
}

/// Resolves the escapes of a checked string.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('u') => {
                let units = Scanner { text: rest, at: 0, loose: false };
                let first = units.unit(plain.len());
                let pair = first.into_iter().chain(units.unit(plain.len() + 6));
                let character = char::decode_utf16(pair).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.push(character);
                let length = 6 * character.len_utf16();
                rest = rest.get(plain.len() + length..).unwrap_or_default();
                continue;
            }
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(character) => out.push(character),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}
