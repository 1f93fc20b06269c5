//! The local settings of a process: TOML text and environment in, checked values out. Total on any input.
//!
//! Every key is declared once (`keys`) with its rule, default and help. All problems are reported together, each with
//! path, value and rule. Never reads a file, the environment or the clock: those come in as values.

mod keys;
mod relation;
mod rule;

pub mod harness;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use keys::{KEYS, Key};
pub use rule::{Rule, Value};

/// What a variable of ours begins with; one that names no key is refused.
pub const VARIABLE_PREFIX: &str = "TIDEGATE_";
/// Largest settings text, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Problems listed; the rest is only counted.
const PROBLEMS_MAX: usize = 100;

/// Which planes this process runs; some rules bind only some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Standalone,
    Dataplane,
    Controlplane,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Standalone, Self::Dataplane, Self::Controlplane];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Dataplane => "dataplane",
            Self::Controlplane => "controlplane",
        }
    }

    #[must_use]
    pub fn has_data_plane(self) -> bool {
        self != Self::Controlplane
    }

    #[must_use]
    pub fn has_control_plane(self) -> bool {
        self != Self::Dataplane
    }
}

/// Where an effective value came from. Later ones override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    File,
    Environment,
    Argument,
    /// Chosen by the process at this start, for example a random token.
    Start,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Argument => "argument",
            Self::Start => "this start",
        })
    }
}

/// One thing that is wrong: where, what was given, and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `section.key` of the file, or the variable's name.
    pub path: String,
    /// What was given; secrets are hidden, long values cut.
    pub value: String,
    pub rule: String,
}

impl Problem {
    #[must_use]
    pub fn new(path: impl Into<String>, value: &str, rule: impl Into<String>) -> Self {
        let mut path = path.into();
        if path.is_empty() {
            // TOML allows an empty key; shown as it is written, so that the refusal still names something.
            path.push_str("\"\"");
        }
        Self { path, value: shown(value), rule: rule.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.path, self.value, self.rule)
    }
}

/// Everything that is wrong with the settings, at once. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings {
    pub problems: Vec<Problem>,
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the settings have {count} problem{}:", if count == 1 { "" } else { "s" })?;
        for problem in self.problems.iter().take(PROBLEMS_MAX) {
            write!(f, "\n  {problem}")?;
        }
        if count > PROBLEMS_MAX {
            write!(f, "\n  … and {} more", count - PROBLEMS_MAX)?;
        }
        Ok(())
    }
}

/// A settings file, read.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// As the operator named it.
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// What the settings are made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub role: Role,
    pub file: Option<File<'a>>,
    /// The whole environment, or any part of it: names that do not begin with [`VARIABLE_PREFIX`] are ignored.
    pub environment: &'a BTreeMap<String, String>,
    /// Values of command-line arguments by key path.
    pub arguments: &'a [(&'static str, String)],
}

/// One effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: &'static Key,
    /// `None`: not given and without default.
    pub value: Option<Value>,
    pub source: Source,
}

impl Entry {
    /// The value as an operator may see it.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.value {
            None => "(not set)".to_owned(),
            Some(_) if self.key.secret => "(set, hidden)".to_owned(),
            Some(value) => value.to_string(),
        }
    }
}

/// Checked settings. Getters take a declared path; asking for the wrong kind is a defect of the caller, not of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    role: Role,
    entries: Vec<Entry>,
}

/// Merges defaults, file, environment and arguments and checks every rule.
///
/// # Errors
/// All problems together.
pub fn load(input: &Input<'_>) -> Result<Loaded, InvalidSettings> {
    let mut problems = Vec::new();
    let mut loaded = Loaded::defaults(input.role);
    if let Some(file) = input.file {
        loaded.take_file(file, &mut problems);
    }
    loaded.take_environment(input.environment, &mut problems);
    for (path, text) in input.arguments {
        loaded.take(path, text, Source::Argument, path, &mut problems);
    }
    relation::check(&loaded, &mut problems);
    if problems.is_empty() { Ok(loaded) } else { Err(InvalidSettings { problems }) }
}

impl Loaded {
    fn defaults(role: Role) -> Self {
        let entries = KEYS.iter().map(|key| Entry {
            key,
            value: key.default.and_then(|text| key.rule.read(text).ok()),
            source: Source::Default,
        });
        Self { role, entries: entries.collect() }
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Every key with its effective value, in the order of declaration.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Sets what the process chose at this start. Ignored, and false, if the value breaks its rule.
    pub fn supply(&mut self, path: &'static str, text: &str) -> bool {
        let mut problems = Vec::new();
        self.take(path, text, Source::Start, path, &mut problems);
        problems.is_empty()
    }

    /// Whether anyone set this key.
    #[must_use]
    pub fn is_given(&self, path: &str) -> bool {
        self.find(path).is_some_and(|entry| entry.source != Source::Default)
    }

    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.find(path).and_then(|entry| entry.value.as_ref())
    }

    /// The text of a text, path, choice or URL key.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.value(path) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    /// The number of an integer, seconds or bytes key; `None` also for `auto`.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        match self.value(path) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    #[must_use]
    pub fn address(&self, path: &str) -> Option<SocketAddr> {
        match self.value(path) {
            Some(Value::Address(address)) => Some(*address),
            _ => None,
        }
    }

    /// The pairs of a list of files; none if it is not given.
    #[must_use]
    pub fn pairs(&self, path: &str) -> &[(String, String)] {
        match self.value(path) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    fn find(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.is(path))
    }

    /// Checks one text against its key's rule. `given_as` is how the operator named it.
    fn take(&mut self, path: &str, text: &str, source: Source, given_as: &str, problems: &mut Vec<Problem>) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.key.is(path)) else {
            problems.push(Problem::new(given_as, text, "no such setting"));
            return;
        };
        match entry.key.rule.read(text) {
            Ok(value) => {
                entry.value = Some(value);
                entry.source = source;
            }
            Err(rule) => {
                let value = if entry.key.secret { "(hidden)" } else { text };
                problems.push(Problem::new(given_as, value, rule));
            }
        }
    }

    fn take_file(&mut self, file: File<'_>, problems: &mut Vec<Problem>) {
        let whole = |value: String, rule: String| Problem { path: file.name.to_owned(), value, rule };
        let length = file.bytes.len();
        if length > TEXT_BYTES_MAX {
            problems.push(whole(format!("{length} bytes"), format!("at most {TEXT_BYTES_MAX} bytes")));
            return;
        }
        let text = match std::str::from_utf8(file.bytes) {
            Ok(text) => text,
            Err(error) => {
                problems.push(whole(format!("{length} bytes"), format!("UTF-8 text ({error})")));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.take_table(&table, problems),
            Err(error) => problems.push(whole(place(text, &error), format!("TOML ({})", error.message()))),
        }
    }

    fn take_table(&mut self, table: &toml::Table, problems: &mut Vec<Problem>) {
        for (name, value) in table {
            match value {
                toml::Value::Table(section) if keys::is_section(name) => {
                    for (key, value) in section {
                        self.take_toml(&format!("{name}.{key}"), value, problems);
                    }
                }
                _ => self.take_toml(name, value, problems),
            }
        }
    }

    fn take_toml(&mut self, path: &str, value: &toml::Value, problems: &mut Vec<Problem>) {
        let Some(key) = KEYS.iter().find(|key| key.is(path)) else {
            problems.push(Problem::new(path, &toml_text(value), keys::neighbours(path)));
            return;
        };
        match value {
            toml::Value::String(text) => self.take(path, text, Source::File, path, problems),
            toml::Value::Integer(number) if key.rule.is_numeric() => {
                self.take(path, &number.to_string(), Source::File, path, problems);
            }
            toml::Value::Array(elements) if key.rule.is_list() && elements.iter().all(toml::Value::is_str) => {
                let texts: Vec<&str> = elements.iter().filter_map(toml::Value::as_str).collect();
                self.take(path, &texts.join(","), Source::File, path, problems);
            }
            other => {
                let value = if key.secret { "(hidden)".to_owned() } else { toml_text(other) };
                problems.push(Problem::new(path, &value, format!("{} in quotes", key.rule)));
            }
        }
    }

    fn take_environment(&mut self, environment: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
        for (variable, text) in environment {
            if !variable.starts_with(VARIABLE_PREFIX) {
                continue;
            }
            match KEYS.iter().find(|key| key.variable() == *variable) {
                Some(key) => self.take(&key.path(), text, Source::Environment, variable, problems),
                // The value is hidden: it may be a secret under a misspelt name.
                None => problems.push(Problem::new(
                    variable,
                    "(hidden)",
                    "no such setting; the variable of a key is TIDEGATE_<SECTION>_<KEY> (see `tidegate check-settings`)",
                )),
            }
        }
    }
}

/// A value as it is shown in a problem: quoted, and cut when long.
fn shown(value: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let mut cut: String = value.chars().take(CHARACTERS_MAX).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

fn toml_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Datetime(datetime) => datetime.to_string(),
        toml::Value::Array(_) => "[…]".to_owned(),
        toml::Value::Table(_) => "{…}".to_owned(),
    }
}

/// The line of a syntax error. The line's text is not shown: it may hold a secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let end = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.bytes().take(end).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}")
}
