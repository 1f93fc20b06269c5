//! Simple scripts from their tokens: JavaScript's grammar and precedence, of which anything unknown ends the recognition. Whoever
//! calls has made sure that the engine compiles the text, so what is no JavaScript needs no care here.

use super::{Binary, DEPTH_MAX, Expression, Form, NODES_MAX, Number, Outcome, Part, Side, Simple, Statement, Step, Unary};
use crate::script::token::{Kind, Token};

/// Keys that every object has from its prototype, beside those that begin with `$` and `__`.
const INHERITED: [&str; 7] =
    ["constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"];

/// Words that name no local.
const TAKEN: [&str; 13] = [
    "msg",
    "metadata",
    "msgType",
    "undefined",
    "NaN",
    "Infinity",
    "null",
    "true",
    "false",
    "typeof",
    "this",
    "arguments",
    "eval",
];

/// Operators by how tightly they bind, loosest first.
const LEVELS: [&[(&str, Binary)]; 4] = [
    &[("==", Binary::Equal), ("!=", Binary::NotEqual), ("===", Binary::Same), ("!==", Binary::NotSame)],
    &[("<", Binary::Less), ("<=", Binary::LessOrEqual), (">", Binary::Greater), (">=", Binary::GreaterOrEqual)],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Remainder)],
];

pub(super) fn parse(form: Form, tokens: &[Token<'_>]) -> Option<Simple> {
    let mut words = Vec::with_capacity(tokens.len());
    let mut newline = false;
    for token in tokens {
        match token.kind {
            Kind::Space => newline |= token.text.contains('\n'),
            kind => words.push(Word { kind, text: token.text, at: token.at, newline: std::mem::take(&mut newline) }),
        }
    }
    let mut parser = Parser { form, words, at: 0, depth: 0, left: NODES_MAX, locals: Vec::new(), assigned: Vec::new() };
    let statements = parser.statements()?;
    (parser.at == parser.words.len()).then_some(Simple { statements })
}

/// A token that is no space.
#[derive(Clone, Copy)]
struct Word<'s> {
    kind: Kind,
    text: &'s str,
    /// Bytes before it.
    at: usize,
    /// A line ended before it.
    newline: bool,
}

struct Parser<'s> {
    form: Form,
    words: Vec<Word<'s>>,
    at: usize,
    depth: usize,
    /// Nodes that there may still be.
    left: usize,
    /// Locals by their numbers, and whether each is in scope.
    locals: Vec<(&'s str, bool)>,
    /// What was assigned to, in the order of the text.
    assigned: Vec<(Side, Box<str>)>,
}

impl<'s> Parser<'s> {
    fn peek(&self) -> Option<Word<'s>> {
        self.words.get(self.at).copied()
    }

    fn sees(&self, text: &str) -> bool {
        self.peek().is_some_and(|word| word.text == text && word.kind != Kind::Text)
    }

    /// Takes this word if it is the next one.
    fn take(&mut self, text: &str) -> bool {
        let is = self.sees(text);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.take(text).then_some(())
    }

    fn take_kind(&mut self, kind: Kind) -> Option<&'s str> {
        let word = self.peek().filter(|word| word.kind == kind)?;
        self.at += 1;
        Some(word.text)
    }

    /// Counts a node.
    fn count(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }

    /// Parses one level deeper.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Statements up to a closing brace or the end; a `return` is the last one. What they declare is gone behind them.
    fn statements(&mut self) -> Option<Box<[Statement]>> {
        let outer = self.locals.len();
        let mut statements = Vec::new();
        while self.peek().is_some() && !self.sees("}") {
            if self.take(";") {
                continue;
            }
            let statement = self.statement()?;
            let ends = matches!(statement, Statement::Return(_));
            statements.push(statement);
            if ends {
                while self.take(";") {}
                if self.peek().is_some() && !self.sees("}") {
                    return None;
                }
            }
        }
        self.leave(outer);
        Some(statements.into())
    }

    /// Locals from this one on are out of scope; their names stay taken, since `var` has the function's scope.
    fn leave(&mut self, outer: usize) {
        self.locals.iter_mut().skip(outer).for_each(|(_, in_scope)| *in_scope = false);
    }

    fn statement(&mut self) -> Option<Statement> {
        self.count()?;
        let first = self.peek().filter(|word| word.kind == Kind::Name)?;
        self.at += 1;
        let statement = match first.text {
            // A `return` at the end of a line answers nothing.
            "return" if self.peek().is_some_and(|next| !next.newline) => Statement::Return(self.outcome()?),
            "if" => return self.condition(),
            "var" | "let" | "const" => {
                let name = self.take_kind(Kind::Name).filter(|name| !TAKEN.contains(name))?;
                self.expect("=")?;
                let value = self.expression()?;
                if self.locals.iter().any(|(taken, _)| *taken == name) {
                    return None;
                }
                self.locals.push((name, true));
                Statement::Declare(self.locals.len() - 1, value)
            }
            "msg" => self.assignment(Side::Data)?,
            "metadata" => self.assignment(Side::Metadata)?,
            _ => return None,
        };
        self.end_of_statement()?;
        Some(statement)
    }

    /// A semicolon, or one of the places where JavaScript puts one: only before words that continue no expression.
    fn end_of_statement(&mut self) -> Option<()> {
        if self.take(";") || self.sees("}") {
            return Some(());
        }
        let Some(next) = self.peek() else { return Some(()) };
        let begins = ["return", "if", "else", "var", "let", "const", "msg", "metadata"].contains(&next.text);
        (next.newline && next.kind == Kind::Name && begins).then_some(())
    }

    fn condition(&mut self) -> Option<Statement> {
        self.deeper(|this| {
            this.expect("(")?;
            let condition = this.expression()?;
            this.expect(")")?;
            let then = this.block()?;
            let otherwise = if this.take("else") { this.block()? } else { Box::default() };
            Some(Statement::If(condition, then, otherwise))
        })
    }

    /// What stands behind `if (…)` and `else`.
    fn block(&mut self) -> Option<Box<[Statement]>> {
        if self.take("{") {
            let statements = self.deeper(Self::statements)?;
            self.expect("}")?;
            return Some(statements);
        }
        if self.take(";") {
            return Some(Box::default());
        }
        let outer = self.locals.len();
        let statement = self.deeper(Self::statement)?;
        self.leave(outer);
        Some(Box::new([statement]))
    }

    fn assignment(&mut self, side: Side) -> Option<Statement> {
        let steps = self.steps()?;
        self.expect("=")?;
        let value = self.expression()?;
        let first = steps.first()?.key.clone();
        if steps.iter().any(|step| step.optional) || (side == Side::Metadata && steps.len() > 1) {
            return None;
        }
        self.assigned.push((side, first));
        Some(Statement::Assign(side, steps.into_iter().map(|step| step.key).collect(), value))
    }

    fn outcome(&mut self) -> Option<Outcome> {
        match self.form {
            Form::Filter => self.expression().map(Outcome::Value),
            Form::Switch if self.sees("[") => self.list(),
            Form::Switch => self.expression().map(Outcome::Value),
            Form::Transform => self.object(Self::message),
            Form::Text | Form::Details => None,
        }
    }

    fn list(&mut self) -> Option<Outcome> {
        self.expect("[")?;
        let mut values = Vec::new();
        while !self.take("]") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            values.push(self.expression()?);
        }
        Some(Outcome::List(values.into()))
    }

    /// What is between braces, which may be in parentheses: TBEL's maps are.
    fn object<T>(&mut self, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let parenthesis = self.take("(");
        self.expect("{")?;
        let parsed = inner(self)?;
        self.expect("}")?;
        if parenthesis {
            self.expect(")")?;
        }
        Some(parsed)
    }

    fn message(&mut self) -> Option<Outcome> {
        let (mut data, mut metadata, mut kind) = (None, None, None);
        while !self.sees("}") {
            if data.is_some() || metadata.is_some() || kind.is_some() {
                self.expect(",")?;
            }
            let name = self.key()?;
            let short = !self.take(":");
            match &*name {
                "msg" if data.is_none() => data = Some(if short { Part::Same } else { self.part("msg")? }),
                "metadata" if metadata.is_none() => {
                    metadata = Some(if short { Part::Same } else { self.part("metadata")? });
                }
                "msgType" if kind.is_none() => kind = Some(if short { Expression::Kind } else { self.expression()? }),
                _ => return None,
            }
        }
        // What is left out stays what it was before the script changed it.
        let kept = |part: Option<Part>, side| match part {
            None if self.assigned.iter().any(|(of, _)| *of == side) => None,
            part => Some(part.unwrap_or(Part::Kept)),
        };
        Some(Outcome::Message { data: kept(data, Side::Data)?, metadata: kept(metadata, Side::Metadata)?, kind })
    }

    fn part(&mut self, same: &str) -> Option<Part> {
        if self.take(same) {
            return Some(Part::Same);
        }
        self.object(|this| {
            let mut members: Vec<(Box<str>, Expression)> = Vec::new();
            while !this.sees("}") {
                if !members.is_empty() {
                    this.expect(",")?;
                }
                let key = this.key()?;
                this.expect(":")?;
                let value = this.expression()?;
                if members.iter().any(|(known, _)| *known == key) {
                    return None;
                }
                members.push((key, value));
            }
            Some(Part::Made(members.into()))
        })
    }

    /// The key of a member, written as a name or a text.
    fn key(&mut self) -> Option<Box<str>> {
        self.count()?;
        let key = match self.take_kind(Kind::Text) {
            Some(quoted) => text(quoted)?,
            None => self.take_kind(Kind::Name)?.into(),
        };
        own(&key).then_some(key)
    }

    fn expression(&mut self) -> Option<Expression> {
        self.deeper(|this| {
            let condition = this.or()?;
            if !this.take("?") {
                return Some(condition);
            }
            this.count()?;
            let then = this.expression()?;
            this.expect(":")?;
            let otherwise = this.expression()?;
            Some(Expression::Choice(Box::new([condition, then, otherwise])))
        })
    }

    fn or(&mut self) -> Option<Expression> {
        let mut left = self.and()?;
        while self.take("||") {
            self.count()?;
            left = Expression::Or(Box::new([left, self.and()?]));
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Expression> {
        let mut left = self.binary(0)?;
        while self.take("&&") {
            self.count()?;
            left = Expression::And(Box::new([left, self.binary(0)?]));
        }
        Some(left)
    }

    fn binary(&mut self, level: usize) -> Option<Expression> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((mark, operator)) = operators.iter().find(|(mark, _)| self.sees(mark)) {
            self.take(mark);
            self.count()?;
            left = Expression::Binary(*operator, Box::new([left, self.binary(level + 1)?]));
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expression> {
        let operators = [("!", Unary::Not), ("-", Unary::Minus), ("+", Unary::Plus), ("typeof", Unary::TypeOf)];
        let Some((mark, operator)) = operators.into_iter().find(|(mark, _)| self.sees(mark)) else { return self.value() };
        self.take(mark);
        self.count()?;
        self.deeper(|this| Some(Expression::Unary(operator, Box::new(this.unary()?))))
    }

    fn value(&mut self) -> Option<Expression> {
        self.count()?;
        let word = self.peek()?;
        self.at += 1;
        Some(match (word.kind, word.text) {
            (Kind::Mark, "(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                inner
            }
            (Kind::Number, digits) => Expression::Number(number(digits)?),
            (Kind::Text, quoted) => Expression::Text(text(quoted)?),
            (Kind::Name, "undefined") => Expression::Undefined,
            (Kind::Name, "null") => Expression::Null,
            (Kind::Name, "true") => Expression::Truth(true),
            (Kind::Name, "false") => Expression::Truth(false),
            (Kind::Name, "msgType") => Expression::Kind,
            (Kind::Name, "msg") => Expression::Data(self.steps()?.into()),
            (Kind::Name, "metadata") => {
                let steps = self.steps()?;
                // What a script assigned is no text any more when it is read again; a message's metadata are texts.
                let again = |step: &Step| self.assigned.iter().any(|(side, key)| *side == Side::Metadata && *key == step.key);
                if steps.first().is_some_and(again) {
                    return None;
                }
                Expression::Metadata(steps.into())
            }
            (Kind::Name, name) => {
                Expression::Local(self.locals.iter().position(|(known, in_scope)| *known == name && *in_scope)?)
            }
            _ => return None,
        })
    }

    /// `.a`, `?.a` and `['a']`, as many as there are.
    fn steps(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let optional = self.sees("?") && self.adjoining(".");
            self.at += usize::from(optional);
            let key = if self.take(".") {
                // `?.[…]` and `?.(…)` are not among them.
                self.take_kind(Kind::Name)?.into()
            } else if self.take("[") {
                let key = text(self.take_kind(Kind::Text)?)?;
                self.expect("]")?;
                key
            } else {
                return Some(steps);
            };
            self.count()?;
            if !own(&key) {
                return None;
            }
            steps.push(Step { key, optional });
        }
    }

    /// Whether this mark follows the next word without a space.
    fn adjoining(&self, mark: &str) -> bool {
        let Some([first, second]) = self.words.get(self.at..self.at + 2) else { return false };
        second.text == mark && second.kind == Kind::Mark && second.at == first.at + first.text.len()
    }
}

/// Whether no object has such a key unless it is its own.
fn own(key: &str) -> bool {
    !key.starts_with('$') && !key.starts_with("__") && !INHERITED.contains(&key)
}

/// A number in decimal digits. JavaScript reads it as Rust does: to the nearest double.
fn number(digits: &str) -> Option<Number> {
    let decimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let octal = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let number = digits.parse::<f64>().ok().filter(|_| decimal && !octal && digits.len() <= 32)?;
    Some(Number(number.to_bits()))
}

/// What a quoted text says; of its escapes those that are one letter.
fn text(quoted: &str) -> Option<Box<str>> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if inner.chars().any(char::is_control) {
        return None;
    }
    let mut said = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        said.push(match c {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('\\' | '\'' | '"' | '/') => same,
                _ => return None,
            },
            c => c,
        });
    }
    Some(said.into())
}
