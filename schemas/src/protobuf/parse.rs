//! The grammar of a proto3 file: declarations as they are written, with their lines. Knows no types by name; that is `check`'s.
//! Stops at the first thing that is no proto3, or that a schema of a profile may not have.

use super::lex::{Lexer, Token, TokenKind};
use super::{Label, NESTING_MAX, Problem};

/// A file as written.
#[derive(Debug, Default)]
pub(super) struct File<'t> {
    pub(super) package: String,
    pub(super) body: Body<'t>,
}

/// What may stand in a file and in a message.
#[derive(Debug, Default)]
pub(super) struct Body<'t> {
    pub(super) messages: Vec<MessageText<'t>>,
    pub(super) enums: Vec<EnumText<'t>>,
}

#[derive(Debug)]
pub(super) struct MessageText<'t> {
    pub(super) name: &'t str,
    pub(super) line: u32,
    pub(super) fields: Vec<FieldText<'t>>,
    pub(super) oneofs: Vec<(&'t str, u32)>,
    pub(super) reserved_numbers: Vec<(i64, i64)>,
    pub(super) reserved_names: Vec<&'t str>,
    pub(super) body: Body<'t>,
}

#[derive(Debug)]
pub(super) struct FieldText<'t> {
    pub(super) name: &'t str,
    pub(super) line: u32,
    pub(super) label: Label,
    /// Of a map the type of its keys.
    pub(super) key: Option<&'t str>,
    pub(super) type_name: String,
    pub(super) number: i64,
    pub(super) oneof: Option<usize>,
    pub(super) json: Option<&'t str>,
}

#[derive(Debug)]
pub(super) struct EnumText<'t> {
    pub(super) name: &'t str,
    pub(super) line: u32,
    pub(super) values: Vec<(&'t str, i64, u32)>,
    pub(super) aliases: bool,
}

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<File<'_>, Problem> {
    let mut lexer = Lexer::new(text);
    let next = lexer.token()?;
    let mut parser = Parser { lexer, next };
    parser.file()
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// Looked at and not taken.
    next: Token<'t>,
}

impl<'t> Parser<'t> {
    fn file(&mut self) -> Result<File<'t>, Problem> {
        if !self.takes("syntax")? {
            return Err(self.refuse("the file", "must begin with syntax = \"proto3\";"));
        }
        self.symbol("=")?;
        let syntax = self.take()?;
        if syntax.kind != TokenKind::Text || syntax.text != "proto3" {
            return Err(refusal(syntax, "syntax", "must be \"proto3\""));
        }
        self.symbol(";")?;
        let mut file = File::default();
        while self.next.kind != TokenKind::End {
            match self.next.text {
                "package" => {
                    self.take()?;
                    file.package = self.type_name()?;
                    self.symbol(";")?;
                }
                "option" => self.option()?,
                "message" => {
                    let message = self.message(0)?;
                    file.body.messages.push(message);
                }
                "enum" => {
                    let declared = self.enumeration()?;
                    file.body.enums.push(declared);
                }
                ";" => drop(self.take()?),
                "import" => return Err(self.refuse("import", "a schema is one file, without imports")),
                "extend" | "service" => return Err(self.refuse(self.next.text, "may not be in a schema")),
                _ => return Err(self.refuse("the file", "message, enum, package or option is expected")),
            }
        }
        Ok(file)
    }

    fn message(&mut self, depth: usize) -> Result<MessageText<'t>, Problem> {
        self.take()?;
        let line = self.next.line;
        let name = self.name()?;
        if depth >= NESTING_MAX {
            return Err(self.refuse(name, &format!("messages lie in one another at most {NESTING_MAX} deep")));
        }
        let mut message = MessageText {
            name,
            line,
            fields: Vec::new(),
            oneofs: Vec::new(),
            reserved_numbers: Vec::new(),
            reserved_names: Vec::new(),
            body: Body::default(),
        };
        self.symbol("{")?;
        while !self.takes("}")? {
            self.member(&mut message, depth)?;
        }
        Ok(message)
    }

    fn member(&mut self, message: &mut MessageText<'t>, depth: usize) -> Result<(), Problem> {
        let name = message.name;
        // A word that may also name a type is a keyword only where a keyword can be; nobody calls a type so.
        match self.next.text {
            ";" => drop(self.take()?),
            "message" => {
                let inner = self.message(depth + 1)?;
                message.body.messages.push(inner);
            }
            "enum" => {
                let inner = self.enumeration()?;
                message.body.enums.push(inner);
            }
            "option" => self.option()?,
            "oneof" => self.oneof(message)?,
            "reserved" => self.reserved(message)?,
            "required" => return Err(self.refuse(name, "required fields are not in proto3")),
            "group" | "extensions" | "extend" => return Err(self.refuse(name, "groups and extensions may not be in a schema")),
            "map" => {
                let field = self.map()?;
                message.fields.push(field);
            }
            _ => {
                let label = if self.takes("repeated")? {
                    Label::Repeated
                } else if self.takes("optional")? {
                    Label::Optional
                } else {
                    Label::Implicit
                };
                let field = self.field(label, None)?;
                message.fields.push(field);
            }
        }
        Ok(())
    }

    fn field(&mut self, label: Label, oneof: Option<usize>) -> Result<FieldText<'t>, Problem> {
        let type_name = self.type_name()?;
        self.field_of(label, None, type_name).map(|field| FieldText { oneof, ..field })
    }

    fn map(&mut self) -> Result<FieldText<'t>, Problem> {
        self.take()?;
        self.symbol("<")?;
        let key = self.name()?;
        self.symbol(",")?;
        let type_name = self.type_name()?;
        self.symbol(">")?;
        self.field_of(Label::Map, Some(key), type_name)
    }

    /// From the name on.
    fn field_of(&mut self, label: Label, key: Option<&'t str>, type_name: String) -> Result<FieldText<'t>, Problem> {
        let line = self.next.line;
        let name = self.name()?;
        self.symbol("=")?;
        let number = self.integer(name)?;
        let json = self.options(name)?;
        self.symbol(";")?;
        Ok(FieldText { name, line, label, key, type_name, number, oneof: None, json })
    }

    fn oneof(&mut self, message: &mut MessageText<'t>) -> Result<(), Problem> {
        self.take()?;
        let line = self.next.line;
        let name = self.name()?;
        let index = message.oneofs.len();
        message.oneofs.push((name, line));
        self.symbol("{")?;
        while !self.takes("}")? {
            match self.next.text {
                ";" => drop(self.take()?),
                "option" => self.option()?,
                "repeated" | "optional" | "required" | "map" | "group" => {
                    return Err(self.refuse(name, "fields of a oneof have no label and are no maps or groups"));
                }
                _ => {
                    let field = self.field(Label::Optional, Some(index))?;
                    message.fields.push(field);
                }
            }
        }
        Ok(())
    }

    fn reserved(&mut self, message: &mut MessageText<'t>) -> Result<(), Problem> {
        self.take()?;
        loop {
            if self.next.kind == TokenKind::Text {
                message.reserved_names.push(self.take()?.text);
            } else {
                let from = self.integer("reserved")?;
                let to = match (self.takes("to")?, self.next.text) {
                    (true, "max") => {
                        self.take()?;
                        i64::MAX
                    }
                    (true, _) => self.integer("reserved")?,
                    (false, _) => from,
                };
                message.reserved_numbers.push((from, to));
            }
            if !self.takes(",")? {
                return self.symbol(";");
            }
        }
    }

    fn enumeration(&mut self) -> Result<EnumText<'t>, Problem> {
        self.take()?;
        let line = self.next.line;
        let name = self.name()?;
        let mut declared = EnumText { name, line, values: Vec::new(), aliases: false };
        self.symbol("{")?;
        while !self.takes("}")? {
            match self.next.text {
                ";" => drop(self.take()?),
                "option" => {
                    let before = self.lexer.clone();
                    declared.aliases |= allows_aliases(before);
                    self.option()?;
                }
                "reserved" => {
                    while !self.takes(";")? {
                        self.some("reserved")?;
                    }
                }
                _ => {
                    let line = self.next.line;
                    let value = self.name()?;
                    self.symbol("=")?;
                    let number = self.integer(value)?;
                    self.options(value)?;
                    self.symbol(";")?;
                    declared.values.push((value, number, line));
                }
            }
        }
        Ok(declared)
    }

    /// `option … ;`, which means nothing here.
    fn option(&mut self) -> Result<(), Problem> {
        self.take()?;
        let mut depth = 0_usize;
        loop {
            match self.some("option")?.text {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                ";" if depth == 0 => return Ok(()),
                _ => {}
            }
        }
    }

    /// `[…]` behind a field or a value, if it is there; only a JSON name means something.
    fn options(&mut self, name: &str) -> Result<Option<&'t str>, Problem> {
        let mut json = None;
        if !self.takes("[")? {
            return Ok(json);
        }
        let mut depth = 1_usize;
        while depth > 0 {
            match self.some(name)?.text {
                "[" | "{" => depth += 1,
                "]" | "}" => depth -= 1,
                "default" if depth == 1 && self.next.text == "=" => {
                    return Err(self.refuse(name, "default values are not in proto3"));
                }
                "json_name" if depth == 1 && self.next.text == "=" => {
                    self.take()?;
                    let said = self.take()?;
                    if said.kind != TokenKind::Text || said.text.is_empty() || said.text.contains('\\') {
                        return Err(refusal(said, name, "json_name must be a text without escapes"));
                    }
                    json = Some(said.text);
                }
                _ => {}
            }
        }
        Ok(json)
    }

    fn take(&mut self) -> Result<Token<'t>, Problem> {
        let next = self.lexer.token()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Any token but the end.
    fn some(&mut self, within: &str) -> Result<Token<'t>, Problem> {
        if self.next.kind == TokenKind::End { Err(self.refuse(within, "the text ends too early")) } else { self.take() }
    }

    /// Takes this word or symbol if it is the next.
    fn takes(&mut self, text: &str) -> Result<bool, Problem> {
        let is = self.next.text == text && matches!(self.next.kind, TokenKind::Word | TokenKind::Symbol);
        if is {
            self.take()?;
        }
        Ok(is)
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), Problem> {
        if self.takes(symbol)? { Ok(()) } else { Err(self.refuse("the text", &format!("{symbol} is expected"))) }
    }

    fn name(&mut self) -> Result<&'t str, Problem> {
        if self.next.kind == TokenKind::Word {
            return self.take().map(|token| token.text);
        }
        Err(self.refuse("the text", "a name is expected"))
    }

    /// `a.b.C`, also with a point before it.
    fn type_name(&mut self) -> Result<String, Problem> {
        let mut name = String::new();
        if self.takes(".")? {
            name.push('.');
        }
        name.push_str(self.name()?);
        while self.takes(".")? {
            name.push('.');
            name.push_str(self.name()?);
        }
        Ok(name)
    }

    fn integer(&mut self, of: &str) -> Result<i64, Problem> {
        let negative = self.takes("-")?;
        let token = self.next;
        let digits = token.text;
        let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(digits, 8),
            None => digits.parse(),
        };
        match value {
            Ok(value) if token.kind == TokenKind::Number => {
                self.take()?;
                Ok(if negative { -value } else { value })
            }
            _ => Err(self.refuse(of, "a whole number is expected")),
        }
    }

    /// What is wrong with the next token.
    fn refuse(&self, at: &str, rule: &str) -> Problem {
        refusal(self.next, at, rule)
    }
}

fn refusal(found: Token<'_>, at: &str, rule: &str) -> Problem {
    let found_text: String = found.text.chars().take(40).collect();
    let found_text = if found.kind == TokenKind::End { "the end".to_owned() } else { format!("{found_text:?}") };
    Problem { line: found.line, at: at.chars().take(80).collect(), rule: format!("{rule}, found {found_text}") }
}

/// Whether the option that begins here is `allow_alias = true`.
fn allows_aliases(mut rest: Lexer<'_>) -> bool {
    ["allow_alias", "=", "true"].iter().all(|word| rest.token().is_ok_and(|token| token.text == *word))
}
