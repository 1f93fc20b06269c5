//! The tokens of a proto3 file, with their lines. Never recurses, and is total on any text.

use super::Problem;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind,
    /// As written; of a string without its quotes.
    pub(super) text: &'t str,
    pub(super) line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Number,
    Text,
    Symbol,
    End,
}

/// Cuts a text into tokens.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 }
    }

    /// The next token; [`TokenKind::End`] for ever when the text is over.
    pub(super) fn token(&mut self) -> Result<Token<'t>, Problem> {
        self.blanks()?;
        let (from, line) = (self.at, self.line);
        let Some(byte) = self.peek(0) else { return Ok(Token { kind: TokenKind::End, text: "", line }) };
        let kind = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                TokenKind::Word
            }
            b'0'..=b'9' => {
                self.number();
                TokenKind::Number
            }
            b'.' if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) => {
                self.number();
                TokenKind::Number
            }
            b'"' | b'\'' => return self.string(byte),
            byte if byte.is_ascii_punctuation() => {
                self.at += 1;
                TokenKind::Symbol
            }
            _ => return Err(self.problem("the text", "an unexpected character")),
        };
        Ok(Token { kind, text: self.text.get(from..self.at).unwrap_or_default(), line })
    }

    /// What is wrong here.
    pub(super) fn problem(&self, at: &str, rule: &str) -> Problem {
        Problem { line: self.line, at: at.to_owned(), rule: rule.to_owned() }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn take_while(&mut self, is: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&is) {
            self.at += 1;
        }
    }

    fn number(&mut self) {
        loop {
            let exponent = matches!(self.peek(0), Some(b'e' | b'E'));
            self.at += 1;
            match self.peek(0) {
                Some(byte) if byte.is_ascii_alphanumeric() || byte == b'.' => {}
                Some(b'+' | b'-') if exponent => {}
                _ => return,
            }
        }
    }

    /// A string on one line; its escapes stay as written.
    fn string(&mut self, quote: u8) -> Result<Token<'t>, Problem> {
        let (from, line) = (self.at + 1, self.line);
        self.at += 1;
        loop {
            match self.peek(0) {
                None | Some(b'\n') => return Err(self.problem("the text", "a string does not end on its line")),
                Some(byte) if byte == quote => break,
                // What follows a backslash may be half of a character; the other half is no quote.
                Some(b'\\') if self.peek(1) != Some(b'\n') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        let text = self.text.get(from..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Token { kind: TokenKind::Text, text, line })
    }

    /// White space and comments.
    fn blanks(&mut self) -> Result<(), Problem> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'\n'), _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0x0b => self.at += 1,
                (Some(b'/'), Some(b'/')) => self.take_while(|byte| byte != b'\n'),
                (Some(b'/'), Some(b'*')) => {
                    let rest = self.text.get(self.at + 2..).unwrap_or_default();
                    let Some(length) = rest.find("*/") else {
                        return Err(self.problem("the text", "a comment does not end"));
                    };
                    let comment = rest.get(..length).unwrap_or_default();
                    self.line += u32::try_from(comment.matches('\n').count()).unwrap_or(0);
                    self.at += length + 4;
                }
                _ => return Ok(()),
            }
        }
    }
}
