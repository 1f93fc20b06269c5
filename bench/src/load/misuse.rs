//! An argument that cannot be used: which flag, which value, which rule. Never printed here.

use std::fmt;

/// Shown as `--flag value: rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misuse {
    flag: &'static str,
    value: String,
    rule: String,
}

impl Misuse {
    pub(crate) fn new(flag: &'static str, value: impl ToString, rule: impl Into<String>) -> Self {
        Self { flag, value: value.to_string(), rule: rule.into() }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.value.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}: {}", self.flag, self.value, self.rule)
    }
}

impl std::error::Error for Misuse {}
