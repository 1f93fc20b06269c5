//! A profile's proto3 schema as a table: parsed from its text and checked, with all errors at once, by the one piece of code that
//! both planes use. Reads one file without imports, as ThingsBoard does. Never reads or writes a message.

mod check;
pub mod harness;
mod lex;
mod parse;
mod payloads;
#[cfg(test)]
mod tests;

pub use payloads::{InvalidPayloads, Payloads, Texts};

/// Messages of one schema, entries of maps included.
pub const MESSAGES_MAX: usize = 1_024;
/// Fields of one message.
pub const FIELDS_MAX: usize = 1_024;
/// Messages within messages, in the text of a schema.
pub const NESTING_MAX: usize = 32;
/// A name in a schema: of a field as its key in JSON, of a type with those around it, in bytes.
pub const JSON_NAME_BYTES_MAX: usize = 255;
/// Problems that a refusal names; more are not looked for.
pub const PROBLEMS_MAX: usize = 20;

/// What ThingsBoard takes where a profile says nothing of its calls.
pub const RPC_REQUEST_DEFAULT: &str = r#"syntax = "proto3";
package rpc;
message RpcRequestMsg {
  optional string method = 1;
  optional int32 requestId = 2;
  optional string params = 3;
}
"#;
/// The same for what devices answer.
pub const RPC_RESPONSE_DEFAULT: &str = r#"syntax = "proto3";
package rpc;
message RpcResponseMsg {
  optional string payload = 1;
}
"#;
/// ThingsBoard's own messages (package `transportapi`) that every such device sends.
pub(crate) const ATTRIBUTES_REQUEST: &str =
    r#"syntax = "proto3"; message AttributesRequest { optional string clientKeys = 1; optional string sharedKeys = 2; }"#;
pub(crate) const RPC_CALL: &str = r#"syntax = "proto3"; message RpcRequest { string method = 1; string params = 2; }"#;
pub(crate) const CLAIM: &str =
    r#"syntax = "proto3"; message ClaimDevice { optional string secretKey = 1; optional int64 durationMs = 2; }"#;

/// A checked schema: every index is in range, and no number or name of a field comes twice in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    root: usize,
    timed: Option<(usize, usize)>,
}

/// One message type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// With those of the messages around it and the package.
    pub name: String,
    /// As declared.
    pub fields: Vec<Field>,
    /// How many oneofs it has.
    pub oneofs: usize,
    /// Indices of fields whose absence is shown as the default value of their type, ascending.
    pub defaults: Vec<usize>,
    /// Indices of fields by their numbers, ascending.
    by_number: Vec<(u32, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Its key in JSON: lowerCamelCase, unless the schema says another.
    pub json: String,
    pub number: u32,
    pub kind: Kind,
    pub label: Label,
    /// The oneof it belongs to.
    pub oneof: Option<usize>,
}

/// How often a field comes, and what it means that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Once; absent is the default value, unless it is a message.
    Implicit,
    /// `optional`, or part of a oneof: absent is absent.
    Optional,
    Repeated,
    /// Repeated entries, each a message with `key` and `value`.
    Map,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Bytes,
    /// For [`Schema::enumeration`].
    Enum(usize),
    /// For [`Schema::message`].
    Message(usize),
}

/// The names of an enum's numbers, as declared; the first is the default and has the number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    pub name: String,
    pub values: Vec<(String, i32)>,
    /// Indices of values by their numbers, ascending; of aliases the first that was declared.
    by_number: Vec<(i32, usize)>,
}

/// Everything that is wrong with a schema, at least one entry and at most [`PROBLEMS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidSchema(pub Vec<Problem>);

/// One thing that is wrong: on which line, in what (`Reading.temperature`, or the text around it), and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {at}: {rule}")]
pub struct Problem {
    pub line: u32,
    pub at: String,
    pub rule: String,
}

impl Schema {
    /// Parses and checks a proto3 file. Its last message that is in no other is the one that is sent, as ThingsBoard has it.
    ///
    /// # Errors
    /// [`InvalidSchema`] with every problem found; a text that is no proto3 file has one.
    pub fn parse(text: &str) -> Result<Self, InvalidSchema> {
        let file = parse::parse(text).map_err(|problem| InvalidSchema(vec![problem]))?;
        check::check(&file)
    }

    /// The message that is sent.
    #[must_use]
    pub fn root(&self) -> &Message {
        &self.messages[self.root]
    }

    /// Where the message that is sent has a whole number `ts` and a message `values`, the indices of both: telemetry that says
    /// when it was measured.
    #[must_use]
    pub fn timed(&self) -> Option<(usize, usize)> {
        self.timed
    }

    /// What a [`Kind::Message`] means.
    #[must_use]
    pub fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    /// What a [`Kind::Enum`] means.
    #[must_use]
    pub fn enumeration(&self, index: usize) -> &Enum {
        &self.enums[index]
    }

    /// Whether the message that is sent has the fields that a call needs (ThingsBoard's rules).
    ///
    /// # Errors
    /// [`InvalidSchema`] naming what is missing or of the wrong type.
    pub fn carries_calls(&self) -> Result<(), InvalidSchema> {
        let root = self.root();
        let wanted =
            [("method", Some(Kind::Text), "a string"), ("requestId", Some(Kind::Int32), "an int32"), ("params", None, "")];
        let problems = wanted.iter().filter_map(|(name, kind, what)| {
            let rule = match root.fields.iter().find(|field| field.name == *name) {
                None => format!("a field {name} must be there"),
                Some(field) if kind.is_some_and(|kind| kind != field.kind) => format!("must be {what}"),
                Some(field) if kind.is_some() && matches!(field.label, Label::Repeated | Label::Map) => {
                    "must not be repeated".to_owned()
                }
                Some(_) => return None,
            };
            Some(Problem { line: 1, at: format!("{}.{name}", root.name), rule })
        });
        let problems: Vec<Problem> = problems.collect();
        if problems.is_empty() { Ok(()) } else { Err(InvalidSchema(problems)) }
    }
}

impl Message {
    /// The field of this number: its index.
    #[must_use]
    pub fn field(&self, number: u32) -> Option<usize> {
        let place = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.by_number.get(place).map(|(_, index)| *index)
    }
}

impl Enum {
    /// The name of a number.
    #[must_use]
    pub fn value(&self, number: i32) -> Option<&str> {
        let place = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, index) = self.by_number.get(place)?;
        self.values.get(*index).map(|(name, _)| name.as_str())
    }

    /// The number of a name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(value, _)| value == name).map(|(_, number)| *number)
    }
}

impl Field {
    fn has_default(&self) -> bool {
        match self.label {
            Label::Optional => false,
            Label::Implicit => !matches!(self.kind, Kind::Message(_)),
            Label::Repeated | Label::Map => true,
        }
    }
}
