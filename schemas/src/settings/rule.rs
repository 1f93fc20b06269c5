//! What a setting may be. Text in, a checked value or the broken rule out; total on any text.

use std::fmt;
use std::net::SocketAddr;

/// What a value must be. Displays as the sentence an operator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Path,
    /// Letters, digits, `-`, `_` and `.`.
    Name,
    Text {
        max: usize,
    },
    /// Printable ASCII, so that it fits a header.
    Secret {
        min: usize,
        max: usize,
    },
    Choice(&'static [&'static str]),
    Integer {
        min: u64,
        max: u64,
    },
    AutoOrInteger {
        min: u64,
        max: u64,
    },
    AutoOrBytes,
    Address,
    Url,
    Database,
    /// Files of certificates with those of their keys.
    FilePairs,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Address(SocketAddr),
    Pairs(Vec<(String, String)>),
    Auto,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Pairs(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(first, second)| format!("{first}:{second}")).collect();
                f.write_str(&pairs.join(","))
            }
            Self::Auto => f.write_str("auto"),
        }
    }
}

const PATH_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2_048;
const PAIRS_MAX: usize = 64;
const DATABASE_SCHEMES: [&str; 3] = ["sqlite:", "postgres://", "postgresql://"];
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("", 1),
];

impl Rule {
    /// Reads a value.
    ///
    /// # Errors
    /// The rule as a sentence.
    pub fn read(self, text: &str) -> Result<Value, String> {
        self.value(text).ok_or_else(|| self.to_string())
    }

    /// Whether TOML integers are taken.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::AutoOrInteger { .. } | Self::AutoOrBytes)
    }

    /// Whether TOML arrays of texts are taken; their elements are separated by commas in one text.
    #[must_use]
    pub fn is_list(self) -> bool {
        self == Self::FilePairs
    }

    fn value(self, text: &str) -> Option<Value> {
        let kept = |holds: bool| holds.then(|| Value::Text(text.to_owned()));
        match self {
            Self::Path => kept(is_line(text, PATH_BYTES_MAX)),
            Self::Name => kept(is_line(text, NAME_BYTES_MAX) && text.chars().all(is_name_character)),
            Self::Text { max } => kept(is_line(text, max)),
            Self::Secret { min, max } => {
                kept((min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
            }
            Self::Choice(choices) => kept(choices.contains(&text)),
            Self::Integer { min, max } => integer(text, min, max),
            Self::AutoOrInteger { .. } | Self::AutoOrBytes if text == "auto" => Some(Value::Auto),
            Self::AutoOrInteger { min, max } => integer(text, min, max),
            Self::AutoOrBytes => bytes(text).map(Value::Number),
            Self::Address => text.parse().ok().map(Value::Address),
            Self::Url => kept(is_url(text)),
            Self::FilePairs => pairs(text).map(Value::Pairs),
            Self::Database => {
                kept(is_line(text, URL_BYTES_MAX) && DATABASE_SCHEMES.iter().any(|scheme| text.starts_with(scheme)))
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => write!(f, "a path of 1 to {PATH_BYTES_MAX} bytes without control characters"),
            Self::Name => write!(f, "1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.'"),
            Self::Text { max } => write!(f, "1 to {max} bytes without control characters"),
            Self::Secret { min, max } => write!(f, "{min} to {max} printable ASCII characters without spaces"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::AutoOrInteger { min, max } => write!(f, "auto, or a whole number from {min} to {max}"),
            Self::AutoOrBytes => write!(f, "auto, or bytes with an optional K, M, G or T, such as 4G"),
            Self::Address => write!(f, "an IP address and port such as 127.0.0.1:1883 or [::]:1883"),
            Self::Url => write!(f, "a URL such as http://10.0.0.1:7070 or https://host:7070, without path"),
            Self::Database => write!(f, "sqlite:… or postgres://…"),
            Self::FilePairs => {
                write!(f, "1 to {PAIRS_MAX} pairs of paths such as cert.pem:key.pem, without other colons, separated by commas")
            }
        }
    }
}

fn is_line(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn integer(text: &str, min: u64, max: u64) -> Option<Value> {
    digits(text).filter(|number| (min..=max).contains(number)).map(Value::Number)
}

/// Digits only: `u64::from_str` would also take a plus sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))?;
    digits(number)?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |text: &str| {
        let (first, second) = text.trim().split_once(':')?;
        let both = is_line(first, PATH_BYTES_MAX) && is_line(second, PATH_BYTES_MAX) && !second.contains(':');
        both.then(|| (first.to_owned(), second.to_owned()))
    };
    let pairs: Vec<_> = text.split(',').map(pair).collect::<Option<_>>()?;
    (pairs.len() <= PAIRS_MAX).then_some(pairs)
}

fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<tonic::codegen::http::Uri>() else { return false };
    let scheme = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    text.len() <= URL_BYTES_MAX && scheme && host && uri.query().is_none() && matches!(uri.path(), "" | "/")
}
