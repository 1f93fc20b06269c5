//! Scripts that need no engine (DESIGN 3.4): comparisons and sums of what the message says, assignments to it, and the answer. What
//! is recognised here means exactly what the same JavaScript means; whatever is in doubt is not recognised and runs in the engine.
//! Never evaluates.

mod parse;
#[cfg(test)]
mod tests;

use super::Form;
use super::token::tokens;

/// Expressions, statements and steps of one simple script, together. What is longer runs in the engine.
pub const NODES_MAX: usize = 512;
/// Expressions and blocks within each other.
const DEPTH_MAX: usize = 24;

/// A simple script: it ends at the first `return` that is reached; without one it answers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simple {
    pub statements: Box<[Statement]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `var x = value`: the local of this number.
    Declare(usize, Expression),
    /// `msg.a.b = value`: at least one key.
    Assign(Side, Box<[Box<str>]>, Expression),
    If(Expression, Box<[Self]>, Box<[Self]>),
    Return(Outcome),
}

/// What a script may change of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Data,
    Metadata,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of filters and switches.
    Value(Expression),
    /// Of switches.
    List(Box<[Expression]>),
    /// Of transformations. Without a type: as it was.
    Message { data: Part, metadata: Part, kind: Option<Expression> },
}

/// A part of the message that a transformation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Left out: stays what it was before the script. The script has not assigned to it.
    Kept,
    /// `msg: msg`
    Same,
    /// `msg: {a: value}`: every key once.
    Made(Box<[(Box<str>, Expression)]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    Undefined,
    Null,
    Truth(bool),
    Number(Number),
    Text(Box<str>),
    /// `msg.a.b`; `msg` itself without a step.
    Data(Box<[Step]>),
    /// `metadata.a`
    Metadata(Box<[Step]>),
    /// `msgType`
    Kind,
    Local(usize),
    Unary(Unary, Box<Self>),
    Binary(Binary, Box<[Self; 2]>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    /// condition ? this : that
    Choice(Box<[Self; 3]>),
}

/// `.key`, or `?.key`. No object has such a key of its prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub key: Box<str>,
    pub optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Not,
    Minus,
    Plus,
    TypeOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `===`
    Same,
    /// `!==`
    NotSame,
}

/// A number literal, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(u64);

impl Number {
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// What a body in JavaScript is, if it is simple. The body is one that the engine compiles.
pub(super) fn recognise(form: Form, js: &str) -> Option<Simple> {
    // Other ends of lines than this one our tokens do not know.
    if js.replace("\r\n", "\n").contains(['\r', '\u{2028}', '\u{2029}']) {
        return None;
    }
    parse::parse(form, &tokens(js).ok()?)
}
