//! Scripts of rule nodes: ThingsBoard's signatures in its two languages, checked by the one piece of code that both planes use.
//! TBEL becomes JavaScript here. Never runs a script.

mod check;
pub mod harness;
pub mod java;
pub mod simple;
mod tbel;
#[cfg(test)]
mod tests;
mod token;
pub mod zone;

use simple::Simple;

/// Longest body, in bytes, as in ThingsBoard.
pub const BODY_BYTES_MAX: usize = 50 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Tbel,
    Js,
}

/// What a script is for, and thereby what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// (msg, metadata, msgType) → boolean
    Filter,
    /// (msg, metadata, msgType) → a label, or an array of labels
    Switch,
    /// (msg, metadata, msgType) → `{msg, metadata, msgType}`, or an array of such
    Transform,
    /// (prevMsg, prevMetadata, prevMsgType) → `{msg, metadata, msgType}`
    Generate,
    /// (msg, metadata, msgType) → text
    Text,
    /// (msg, metadata, msgType) → any JSON: details of an alarm
    Details,
}

impl Form {
    /// The names of its arguments.
    #[must_use]
    pub fn arguments(self) -> &'static str {
        if self == Self::Generate { "prevMsg, prevMetadata, prevMsgType" } else { "msg, metadata, msgType" }
    }
}

/// A script that parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub form: Form,
    pub language: Language,
    pub body: String,
    /// The body of the function, in JavaScript.
    pub js: String,
    /// The same, if it is so simple that it needs no engine.
    pub simple: Option<Simple>,
}

/// Why a script is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScript {
    #[error("{0} bytes, at most {BODY_BYTES_MAX}")]
    TooLong(usize),
    #[error("empty")]
    Empty,
    /// TBEL that has no meaning here.
    #[error("line {line}, column {column}: {rule}")]
    Tbel { line: usize, column: usize, rule: String },
    /// What the JavaScript engine says.
    #[error("{0}")]
    Js(String),
}

impl Script {
    /// # Errors
    /// [`InvalidScript`]: the script does not parse, or is not the body of one function.
    pub fn parse(form: Form, language: Language, body: &str) -> Result<Self, InvalidScript> {
        if body.len() > BODY_BYTES_MAX {
            return Err(InvalidScript::TooLong(body.len()));
        }
        if body.trim().is_empty() {
            return Err(InvalidScript::Empty);
        }
        let js = match language {
            Language::Js => body.to_owned(),
            Language::Tbel => tbel::translate(body, &[])?,
        };
        check::check(form.arguments(), &js)?;
        // What a generator is called with has other names.
        let simple = if form == Form::Generate { None } else { simple::recognise(form, &js) };
        Ok(Self { form, language, body: body.to_owned(), js, simple })
    }

    /// The script of a calculated field: TBEL that is called with `ctx` and its arguments, by their names, and answers
    /// [`Form::Details`]. What is called is the data plane's prelude, with ThingsBoard's arguments as `msg`.
    ///
    /// # Errors
    /// [`InvalidScript`]. Names that are no names in JavaScript are a script that does not parse.
    pub fn calculation(body: &str, arguments: &[String]) -> Result<Self, InvalidScript> {
        if body.len() > BODY_BYTES_MAX {
            return Err(InvalidScript::TooLong(body.len()));
        }
        if body.trim().is_empty() {
            return Err(InvalidScript::Empty);
        }
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some(name) = arguments.iter().find(|name| !is_name(name)) {
            return Err(InvalidScript::Js(format!("{name}: expected letters, digits and _ in the name of an argument")));
        }
        let inner = tbel::translate(body, arguments)?;
        let parameters: Vec<&str> = std::iter::once("ctx").chain(arguments.iter().map(String::as_str)).collect();
        let parameters = parameters.join(", ");
        check::check(&parameters, &inner)?;
        let names: Vec<String> = arguments.iter().map(|name| format!("\"{name}\"")).collect();
        let js = format!("return $calculate(msg, [{}], function({parameters}) {{\n{inner}\n}});", names.join(", "));
        Ok(Self { form: Form::Details, language: Language::Tbel, body: body.to_owned(), js, simple: None })
    }
}
