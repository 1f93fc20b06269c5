//! TBEL to JavaScript, token by token: what means the same stays as it is, with its lines. Operators, classes, functions and literals
//! that have no translation are refused with their place; a Java method that the prelude does not have fails when it is called.
//! Methods of Java's collections and strings, and its classes, become those of the data plane's prelude, whose names begin with `$`,
//! so that no key of a message is ever shadowed.

use std::collections::HashSet;

use super::InvalidScript;
use super::java::{self, Asked};
use super::token::{Kind, Token, tokens, wrong};

const TYPES: [&str; 26] = [
    "int",
    "long",
    "double",
    "float",
    "short",
    "byte",
    "char",
    "boolean",
    "String",
    "Integer",
    "Long",
    "Double",
    "Float",
    "Boolean",
    "Object",
    "Map",
    "HashMap",
    "LinkedHashMap",
    "List",
    "ArrayList",
    "Set",
    "HashSet",
    "Number",
    "Date",
    "JSONObject",
    "Byte",
];

/// Words that only MVEL has between values; each would need a translation of its own.
const FOREIGN: [&str; 11] =
    ["contains", "in", "strsim", "soundslike", "instanceof", "is", "convertable_to", "isdef", "with", "assert", "proto"];

/// With the names of the arguments that are not the usual ones.
pub(super) fn translate(source: &str, arguments: &[String]) -> Result<String, InvalidScript> {
    let tokens = tokens(source)?;
    let own = arguments.iter().map(String::as_str).collect();
    let into = String::with_capacity(source.len() + 64);
    let mut translator = Translator { source, tokens: &tokens, own, into, depth: 0 };
    translator.find_own();
    translator.declare();
    let returns = tokens.iter().any(|token| token.kind == Kind::Name && token.text == "return");
    let last = if returns { None } else { translator.last_statement() };
    translator.range(0, tokens.len(), last)?;
    Ok(translator.into)
}

struct Translator<'s, 't> {
    source: &'s str,
    tokens: &'t [Token<'s>],
    /// Names that the script has from elsewhere or declares, or that are more than called.
    own: HashSet<&'t str>,
    into: String,
    depth: u32,
}

/// Brackets within brackets.
const DEPTH_MAX: u32 = 100;

impl<'s: 't, 't> Translator<'s, 't> {
    fn wrong(&self, token: usize, rule: &str) -> InvalidScript {
        wrong(self.source, self.tokens.get(token).map_or(self.source.len(), |token| token.at), rule)
    }

    fn token(&self, at: usize) -> Option<&Token<'s>> {
        self.tokens.get(at).filter(|token| token.kind != Kind::Space)
    }

    /// The next token that is no space.
    fn next(&self, from: usize) -> Option<usize> {
        (from..self.tokens.len()).find(|at| self.token(*at).is_some())
    }

    fn previous(&self, before: usize) -> Option<usize> {
        (0..before).rev().find(|at| self.token(*at).is_some())
    }

    fn is(&self, at: Option<usize>, text: &str) -> bool {
        at.and_then(|at| self.token(at)).is_some_and(|token| token.text == text && token.kind != Kind::Text)
    }

    fn is_kind(&self, at: Option<usize>, kind: Kind) -> bool {
        at.and_then(|at| self.token(at)).is_some_and(|token| token.kind == kind)
    }

    fn is_member(&self, before: Option<usize>) -> bool {
        self.is(before, ".") || (self.is(before, "?") && self.is(before.and_then(|at| self.previous(at)), "."))
    }

    fn find_own(&mut self) {
        for at in 0..self.tokens.len() {
            let (before, next) = (self.previous(at), self.next(at + 1));
            if !self.is_kind(Some(at), Kind::Name) || self.is_member(before) {
                continue;
            }
            let declared = self.is(before, "def") || self.is(before, "function");
            if declared || !(self.is(next, "(") || self.is(next, ".")) {
                self.own.insert(self.tokens[at].text);
            }
        }
    }

    /// Names that are assigned and that nothing declares are of the whole script.
    fn declare(&mut self) {
        let declares = |text: &str| TYPES.contains(&text) || ["var", "let", "const", "def", "function", "]"].contains(&text);
        let (mut declared, mut assigned) = (HashSet::new(), Vec::new());
        for at in 0..self.tokens.len() {
            let (before, name) = (self.previous(at), self.tokens[at].text);
            if !self.is_kind(Some(at), Kind::Name) || self.is_member(before) {
                continue;
            }
            if before.and_then(|before| self.token(before)).is_some_and(|token| declares(token.text)) {
                declared.insert(name);
            } else if self.is(self.next(at + 1), "=") {
                assigned.push(name);
            }
        }
        assigned.retain(|name| declared.insert(name));
        if !assigned.is_empty() {
            self.into = format!("var {}; ", assigned.join(", "));
        }
    }

    /// The bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> Result<usize, InvalidScript> {
        let mut open_brackets = Vec::new();
        for at in open..self.tokens.len() {
            match self.token(at).filter(|token| token.kind == Kind::Mark).map(|token| token.text) {
                Some("(") => open_brackets.push(")"),
                Some("[") => open_brackets.push("]"),
                Some("{") => open_brackets.push("}"),
                Some(close @ (")" | "]" | "}")) => {
                    if open_brackets.pop() != Some(close) {
                        return Err(self.wrong(at, &format!("{close} closes nothing")));
                    }
                    if open_brackets.is_empty() {
                        return Ok(at);
                    }
                }
                _ => {}
            }
        }
        Err(self.wrong(open, "a bracket that is not closed"))
    }

    /// Where the last statement begins, if it is a value that the script answers by not saying `return`.
    fn last_statement(&self) -> Option<usize> {
        let (mut depth, mut begin, mut last) = (0_usize, self.next(0), self.next(0));
        for at in 0..self.tokens.len() {
            let Some(token) = self.token(at) else { continue };
            if begin == Some(at) {
                last = begin;
            }
            if token.kind != Kind::Mark {
                continue;
            }
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        begin = self.next(at + 1);
                    }
                }
                ";" if depth == 0 => begin = self.next(at + 1),
                _ => {}
            }
        }
        let keyword = |text: &str| {
            ["if", "for", "foreach", "while", "do", "var", "def", "function", "throw", "switch", "try", "let", "const"]
                .contains(&text)
        };
        last.filter(|last| self.token(*last).is_some_and(|token| !keyword(token.text) && !matches!(token.text, "{" | "}")))
    }

    /// Translates the tokens in [from, to). Before `answer`, a `return` is put.
    fn range(&mut self, from: usize, to: usize, answer: Option<usize>) -> Result<(), InvalidScript> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(from, &format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let mut at = from;
        while at < to {
            if answer == Some(at) {
                self.into.push_str("return ");
            }
            at = self.one(at, to)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Translates what begins at a token; returns where the rest begins.
    fn one(&mut self, at: usize, to: usize) -> Result<usize, InvalidScript> {
        let token = self.tokens[at];
        match token.kind {
            Kind::Space | Kind::Text => self.into.push_str(token.text),
            Kind::Number => self.number(at)?,
            Kind::Name => return self.name(at, to),
            Kind::Mark => match token.text {
                "(" => return self.parenthesis(at),
                "[" => return self.bracket(at),
                // MVEL writes `.?` for what JavaScript writes `?.`.
                "." if self.tokens.get(at + 1).is_some_and(|next| next.text == "?") => {
                    self.into.push_str("?.");
                    return Ok(at + 2);
                }
                "~" if self.tokens.get(at + 1).is_some_and(|next| next.text == "=") => {
                    return Err(self.wrong(at, "~= has no translation: use matches"));
                }
                mark => self.into.push_str(mark),
            },
        }
        Ok(at + 1)
    }

    /// A number without the letters by which Java says its type.
    fn number(&mut self, at: usize) -> Result<(), InvalidScript> {
        let text = self.tokens[at].text;
        let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        let suffixes: &[char] = if hexadecimal { &['L', 'l'] } else { &['L', 'l', 'F', 'f', 'D', 'd', 'B', 'I'] };
        let digits = text.strip_suffix(suffixes).unwrap_or(text);
        if !hexadecimal && digits.contains(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) {
            return Err(self.wrong(at, &format!("{text} is no number")));
        }
        self.into.push_str(digits);
        Ok(())
    }

    fn name(&mut self, at: usize, to: usize) -> Result<usize, InvalidScript> {
        let text = self.tokens[at].text;
        let (before, next) = (self.previous(at), self.next(at + 1));
        if self.is_member(before) {
            match text {
                _ if self.is(next, "(") && java::is_method(text) => {
                    self.into.push('$');
                    self.into.push_str(text);
                }
                // Of a list, which has no such key.
                "size" if !self.is(next, "(") => self.into.push_str("$count"),
                // A key, or a method of JavaScript's.
                _ => self.into.push_str(text),
            }
            return Ok(at + 1);
        }
        if self.is(next, ".") {
            return self.class(at, next.and_then(|dot| self.next(dot + 1)));
        }
        let begins = before.is_none() || [";", "{", "}", "(", "else", "do"].iter().any(|mark| self.is(before, mark));
        match text {
            "for" | "foreach" if self.is(next, "(") => return self.each(at, next.unwrap_or(at)),
            "def" => self.into.push_str("function"),
            "and" => self.into.push_str("&&"),
            "or" => self.into.push_str("||"),
            "new" => return self.made(at),
            "until" if self.is(next, "(") => return self.until(next.unwrap_or(at)),
            "empty" | "nil" => return Err(self.wrong(at, &format!("{text} has no translation"))),
            _ if begins && TYPES.contains(&text) && self.declares(next) => {
                self.into.push_str("var");
                // `byte[] x`: the brackets say nothing here.
                let brackets = self.is(next, "[");
                return Ok(if brackets {
                    next.and_then(|next| self.next(next + 1)).map_or(to, |close| close + 1)
                } else {
                    at + 1
                });
            }
            _ if FOREIGN.contains(&text) && self.follows_value(before) => {
                return Err(self.wrong(at, &format!("the operator {text} has no translation")));
            }
            _ if self.is(next, "(") && !self.own.contains(text) => match java::function(text) {
                Some(function) => self.into.push_str(function),
                None => return Err(self.wrong(at, &format!("{text}: there is no such function"))),
            },
            _ => self.into.push_str(text),
        }
        Ok(at + 1)
    }

    /// What something is asked of: a class of Java's, or a value.
    fn class(&mut self, at: usize, asked: Option<usize>) -> Result<usize, InvalidScript> {
        let name = self.tokens[at].text;
        let member = asked.and_then(|asked| self.token(asked)).map_or("", |member| member.text);
        let has_capital = name.starts_with(|c: char| c.is_ascii_uppercase());
        let known = java::asked(name, member);
        match known {
            Asked::Prelude => self.into.push('$'),
            Asked::Nothing => return Err(self.wrong(at, &format!("{name}.{member}: there is no such method"))),
            Asked::NoClass if (has_capital || matches!(name, "java" | "javax" | "org")) && !self.own.contains(name) => {
                return Err(self.wrong(at, &format!("{name}.{member}: there is no such class")));
            }
            Asked::Same | Asked::NoClass => {}
        }
        // What is asked of a class is no method of a value.
        let end = asked.filter(|_| known == Asked::Prelude).unwrap_or(at);
        for token in self.tokens.get(at..=end).unwrap_or_default() {
            self.into.push_str(token.text);
        }
        Ok(end + 1)
    }

    /// `until (a)`, with or without `do`: as long as it is not so.
    fn until(&mut self, open: usize) -> Result<usize, InvalidScript> {
        let close = self.closing(open)?;
        self.into.push_str("while (!(");
        self.range(open + 1, close, None)?;
        self.into.push_str("))");
        Ok(close + 1)
    }

    /// After a type: a name, or brackets and a name.
    fn declares(&self, next: Option<usize>) -> bool {
        if self.is(next, "[") {
            let close = next.and_then(|next| self.next(next + 1));
            return self.is(close, "]") && self.is_kind(close.and_then(|close| self.next(close + 1)), Kind::Name);
        }
        self.is_kind(next, Kind::Name)
    }

    /// Whether what goes before is the end of a value.
    fn follows_value(&self, before: Option<usize>) -> bool {
        self.is(before, ")")
            || self.is(before, "]")
            || before.and_then(|before| self.token(before)).is_some_and(|token| match token.kind {
                Kind::Number | Kind::Text => true,
                Kind::Name => !matches!(token.text, "return" | "else" | "do" | "in" | "and" | "or" | "new" | "var" | "typeof"),
                _ => false,
            })
    }

    /// `for (x : list)` and `foreach (x : list)`; a `for` of three parts stays.
    fn each(&mut self, at: usize, open: usize) -> Result<usize, InvalidScript> {
        let close = self.closing(open)?;
        let mut depth = 0_usize;
        let mut colon = None;
        for inner in open + 1..close {
            match self.token(inner).filter(|token| token.kind == Kind::Mark).map(|token| token.text) {
                Some("(" | "[" | "{") => depth += 1,
                Some(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Some(";" | "?") if depth == 0 => break,
                Some(":") if depth == 0 => {
                    colon = Some(inner);
                    break;
                }
                _ => {}
            }
        }
        let Some(colon) = colon else {
            if self.tokens[at].text == "foreach" {
                return Err(self.wrong(at, "expected foreach (name : values)"));
            }
            self.into.push_str("for");
            return Ok(at + 1);
        };
        // The last name before the colon; a type before it says nothing.
        let name = self.previous(colon).filter(|name| *name > open && self.is_kind(Some(*name), Kind::Name));
        let Some(name) = name else { return Err(self.wrong(colon, "expected a name before the colon")) };
        self.into.push_str("for (const ");
        self.into.push_str(self.tokens[name].text);
        self.into.push_str(" of $each(");
        self.range(colon + 1, close, None)?;
        self.into.push_str("))");
        Ok(close + 1)
    }

    /// `new Date(…)` and Java's collections, by their full names too.
    fn made(&mut self, at: usize) -> Result<usize, InvalidScript> {
        let mut name = self.next(at + 1);
        let qualified = self.is(name.and_then(|name| self.next(name + 1)), ".");
        while self.is(name.and_then(|name| self.next(name + 1)), ".") {
            let dot = name.and_then(|name| self.next(name + 1));
            name = dot.and_then(|dot| self.next(dot + 1));
        }
        let Some(place) = name.filter(|name| self.is_kind(Some(*name), Kind::Name)) else {
            return Err(self.wrong(at, "expected a class after new"));
        };
        // `new ArrayList<String>()`: what is between the angles says nothing here.
        let mut behind = self.next(place + 1);
        if self.is(behind, "<") {
            while behind.is_some() && !self.is(behind, ">") {
                behind = behind.and_then(|behind| self.next(behind + 1));
            }
            behind = behind.and_then(|behind| self.next(behind + 1));
        }
        if self.is(behind, "[") {
            return self.array(place, behind.unwrap_or(place));
        }
        let made = match self.tokens[place].text {
            // Java's own one counts months and days as JavaScript's does.
            "Date" if qualified => "new Date",
            "Date" => "new $Date",
            "HashMap" | "LinkedHashMap" | "TreeMap" | "Map" => "$map",
            "ArrayList" | "LinkedList" | "List" => "$list",
            "HashSet" | "LinkedHashSet" | "TreeSet" | "Set" => "$set",
            other => return Err(self.wrong(place, &format!("new {other}: there is no such class"))),
        };
        match behind.filter(|behind| self.is(Some(*behind), "(")) {
            Some(open) => {
                self.into.push_str(made);
                Ok(open)
            }
            None => Err(self.wrong(place, "expected ( after the class")),
        }
    }

    /// `new int[3]`, and `new int[] {1, 2}`.
    fn array(&mut self, kind: usize, open: usize) -> Result<usize, InvalidScript> {
        let close = self.closing(open)?;
        let empty = match self.tokens[kind].text {
            "int" | "long" | "short" | "byte" | "double" | "float" | "char" => "0",
            "boolean" => "false",
            other if TYPES.contains(&other) => "null",
            other => return Err(self.wrong(kind, &format!("new {other}[]: there is no such class"))),
        };
        let behind = self.next(close + 1);
        if self.next(open + 1) == Some(close) {
            let Some(begin) = behind.filter(|behind| self.is(Some(*behind), "{")) else {
                return Err(self.wrong(close, "expected { after the brackets"));
            };
            let end = self.closing(begin)?;
            self.into.push_str("$array([");
            self.range(begin + 1, end, None)?;
            self.into.push_str("])");
            return Ok(end + 1);
        }
        if self.is(behind, "[") {
            return Err(self.wrong(close, "arrays of arrays have no translation"));
        }
        self.into.push_str("$array(");
        self.range(open + 1, close, None)?;
        self.into.push_str(", ");
        self.into.push_str(empty);
        self.into.push(')');
        Ok(close + 1)
    }

    /// A cast, or what is in parentheses.
    fn parenthesis(&mut self, at: usize) -> Result<usize, InvalidScript> {
        let close = self.closing(at)?;
        let inner = self.next(at + 1).filter(|inner| *inner < close);
        let single = inner.is_some_and(|inner| self.next(inner + 1) == Some(close));
        let cast =
            inner.filter(|_| single && !self.follows_value(self.previous(at))).and_then(|inner| match self.tokens[inner].text {
                "int" | "Integer" | "short" | "byte" => Some("$int("),
                "long" | "Long" => Some("$long("),
                "double" | "Double" | "float" | "Float" => Some("$double("),
                "String" => Some("$text("),
                "boolean" | "Boolean" => Some("Boolean("),
                _ => None,
            });
        if let Some(cast) = cast {
            let operand = self.next(close + 1).ok_or_else(|| self.wrong(close, "expected a value after the cast"))?;
            let end = self.operand_end(operand)?;
            self.into.push_str(cast);
            self.range(operand, end, None)?;
            self.into.push(')');
            return Ok(end);
        }
        self.into.push('(');
        self.range(at + 1, close, None)?;
        self.into.push(')');
        Ok(close + 1)
    }

    /// Where a value ends: signs, a name, number, text or bracket, and everything that is asked of it.
    fn operand_end(&self, from: usize) -> Result<usize, InvalidScript> {
        let mut at = from;
        while ["-", "+", "!"].iter().any(|sign| self.is(Some(at), sign)) {
            at = self.next(at + 1).ok_or_else(|| self.wrong(at, "expected a value"))?;
        }
        let mut end = if self.is(Some(at), "(") || self.is(Some(at), "[") { self.closing(at)? + 1 } else { at + 1 };
        loop {
            let next = self.next(end);
            if self.is(next, ".") {
                let key = next.and_then(|dot| self.next(dot + 1));
                end = key.map_or(end, |key| key + 1);
                if key.is_none() {
                    return Ok(end);
                }
            } else if let Some(open) = next.filter(|next| self.is(Some(*next), "(") || self.is(Some(*next), "[")) {
                end = self.closing(open)? + 1;
            } else {
                return Ok(end);
            }
        }
    }

    /// A map, a list, or the place in one.
    fn bracket(&mut self, at: usize) -> Result<usize, InvalidScript> {
        let close = self.closing(at)?;
        let is_map = !self.follows_value(self.previous(at)) && self.has_keys(at, close);
        let (open, end) = if is_map { ("({", "})") } else { ("[", "]") };
        self.into.push_str(open);
        let inner = self.next(at + 1);
        if is_map && self.is(inner, ":") && inner.and_then(|inner| self.next(inner + 1)) == Some(close) {
            // `[:]`
        } else {
            self.range(at + 1, close, None)?;
        }
        self.into.push_str(end);
        Ok(close + 1)
    }

    /// Whether a colon in these brackets stands between a key and its value.
    fn has_keys(&self, open: usize, close: usize) -> bool {
        let (mut depth, mut choices) = (0_usize, 0_usize);
        for at in open + 1..close {
            match self.token(at).filter(|token| token.kind == Kind::Mark).map(|token| token.text) {
                Some("(" | "[" | "{") => depth += 1,
                Some(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Some("?") if depth == 0 => choices += 1,
                Some(":") if depth == 0 && choices == 0 => return true,
                Some(":") if depth == 0 => choices -= 1,
                Some(",") if depth == 0 => choices = 0,
                _ => {}
            }
        }
        false
    }
}
