//! Values of readings and attributes, as both planes speak of them, and their conversion from and to the wire.
//! Never parses device payloads (that is the data plane's `payload`).

use std::{borrow::Cow, fmt};

use crate::generated::query as wire;

/// A typed value. Borrowed on the data plane's hot path, owned elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Long(i64),
    /// Always finite: JSON has no other numbers.
    Double(f64),
    Text(Cow<'a, str>),
    /// An object or array, as compact JSON text.
    Json(Cow<'a, str>),
}

impl Value<'_> {
    /// The same value, owning its text.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Long(value) => Value::Long(value),
            Self::Double(value) => Value::Double(value),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
        }
    }

    /// The value as a JSON value.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(value) => serde_json::Value::Bool(*value),
            Self::Long(value) => (*value).into(),
            Self::Double(value) => (*value).into(),
            Self::Text(text) => serde_json::Value::String(text.to_string()),
            // Text that was checked when it came in; a broken record must not take the reader down.
            Self::Json(text) => serde_json::from_str(text).unwrap_or(serde_json::Value::Null),
        }
    }
}

/// ThingsBoard's string form: what history and WebSocket updates carry unless strict types are asked for.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Long(value) => value.fmt(f),
            // Debug keeps the ".0" of whole doubles, as Java does.
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) | Self::Json(text) => f.write_str(text),
        }
    }
}

/// Which of an entity's attribute sets. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    Client = 1,
    Server = 2,
    Shared = 3,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Shared];

    /// ThingsBoard's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "CLIENT_SCOPE",
            Self::Server => "SERVER_SCOPE",
            Self::Shared => "SHARED_SCOPE",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| *scope as u8 == number)
    }

    /// `None` for SCOPE_UNSPECIFIED, which means every scope.
    #[must_use]
    pub fn from_wire(scope: wire::Scope) -> Option<Self> {
        match scope {
            wire::Scope::Unspecified => None,
            wire::Scope::Client => Some(Self::Client),
            wire::Scope::Server => Some(Self::Server),
            wire::Scope::Shared => Some(Self::Shared),
        }
    }

    #[must_use]
    pub fn to_wire(self) -> wire::Scope {
        match self {
            Self::Client => wire::Scope::Client,
            Self::Server => wire::Scope::Server,
            Self::Shared => wire::Scope::Shared,
        }
    }
}

impl From<Value<'_>> for wire::Value {
    fn from(value: Value<'_>) -> Self {
        use wire::value::Kind;
        let kind = match value {
            Value::Bool(value) => Kind::Bool(value),
            Value::Long(value) => Kind::Long(value),
            Value::Double(value) => Kind::Double(value),
            Value::Text(text) => Kind::Text(text.into_owned()),
            Value::Json(text) => Kind::Json(text.into_owned()),
        };
        Self { kind: Some(kind) }
    }
}

/// `None` when the wire value is empty.
#[must_use]
pub fn value_from_wire(value: wire::Value) -> Option<Value<'static>> {
    use wire::value::Kind;
    Some(match value.kind? {
        Kind::Bool(value) => Value::Bool(value),
        Kind::Long(value) => Value::Long(value),
        Kind::Double(value) => Value::Double(value),
        Kind::Text(text) => Value::Text(Cow::Owned(text)),
        Kind::Json(text) => Value::Json(Cow::Owned(text)),
    })
}
