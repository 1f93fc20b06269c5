//! TBEL as tokens that know where they are. Never judges what they mean.

use super::InvalidScript;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Blanks and comments, kept so that lines stay what they are.
    Space,
    Name,
    Number,
    Text,
    /// One operator or bracket.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    /// Bytes before it.
    pub(super) at: usize,
}

/// Operators of more than one character, longest first.
const MARKS: [&str; 30] = [
    ">>>=", "===", "!==", ">>>", "<<=", ">>=", "**=", "...", "&&=", "||=", "=>", "==", "!=", "<=", ">=", "&&", "||", "++", "--",
    "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**",
];

pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, InvalidScript> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let at = source.len() - rest.len();
        let (kind, length) = match first {
            _ if rest.starts_with("//") => (Kind::Space, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => (Kind::Space, end + 2),
                None => return Err(wrong(source, at, "a comment that does not end")),
            },
            _ if first.is_whitespace() => (Kind::Space, length_of(rest, char::is_whitespace)),
            _ if is_name(first) => (Kind::Name, length_of(rest, |c| is_name(c) || c.is_ascii_digit())),
            '0'..='9' => (Kind::Number, number(rest)),
            '.' if rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => (Kind::Number, number(rest)),
            '"' | '\'' => match text(rest, first) {
                Some(length) => (Kind::Text, length),
                None => return Err(wrong(source, at, "a text that does not end")),
            },
            '`' | '#' | '@' | '\\' => return Err(wrong(source, at, &format!("{first} has no meaning in TBEL"))),
            _ => (
                Kind::Mark,
                MARKS.iter().find(|mark| rest.starts_with(**mark)).map_or_else(|| first.len_utf8(), |mark| mark.len()),
            ),
        };
        let (text, behind) = rest.split_at(length);
        tokens.push(Token { kind, text, at });
        rest = behind;
    }
    Ok(tokens)
}

fn is_name(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn length_of(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// Digits, a fraction, an exponent, a radix, a suffix.
fn number(text: &str) -> usize {
    let mut exponent = false;
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    text.char_indices()
        .find(|(at, c)| {
            let signed = exponent && matches!(c, '+' | '-');
            exponent = !hexadecimal && matches!(c, 'e' | 'E');
            let fraction = *c == '.' && text.get(at + 1..).is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
            !(c.is_ascii_alphanumeric() || *c == '_' || signed || fraction)
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Up to and with the quotation mark that ends it.
fn text(text: &str, quotation: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return None,
            _ if c == quotation => return Some(at + 1),
            _ => {}
        }
    }
    None
}

pub(super) fn wrong(source: &str, at: usize, rule: &str) -> InvalidScript {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    InvalidScript::Tbel { line, column, rule: rule.to_owned() }
}
