//! From declarations to a table: names become indices, and every rule of proto3 that a reader depends on is checked, with all
//! problems at once. Never sees text.

use std::collections::{HashMap, HashSet};

use super::parse::{Body, EnumText, FieldText, File, MessageText};
use super::{
    Enum, FIELDS_MAX, Field, InvalidSchema, JSON_NAME_BYTES_MAX, Kind, Label, MESSAGES_MAX, Message, PROBLEMS_MAX, Problem,
    Schema,
};

/// The largest number a field may have, and the range that protobuf keeps for itself.
const NUMBER_MAX: i64 = 536_870_911;
const NUMBERS_KEPT: std::ops::RangeInclusive<i64> = 19_000..=19_999;

pub(super) fn check(file: &File<'_>) -> Result<Schema, InvalidSchema> {
    let mut checker = Checker::default();
    let mut flat = Flat::default();
    checker.declare(&file.body, &file.package, &mut flat);
    let count = flat.messages.len();
    checker.entries_from = count;
    let root = file.body.messages.last().and_then(|last| {
        let is_root = |(_, message): &(String, &MessageText<'_>)| std::ptr::eq(*message, last);
        flat.messages.iter().position(is_root)
    });
    if count > MESSAGES_MAX {
        checker.problem(1, "the schema", format!("has {count} messages, at most {MESSAGES_MAX}"));
        return Err(InvalidSchema(checker.problems));
    }
    let enums = flat.enums.iter().map(|(name, declared)| checker.enumeration(name, declared)).collect();
    let mut messages: Vec<Message> = flat.messages.iter().map(|(name, message)| checker.message(name, message)).collect();
    messages.append(&mut checker.entries);
    if messages.len() > MESSAGES_MAX {
        let rule = format!("has {} messages and maps, at most {MESSAGES_MAX}", messages.len());
        checker.problem(1, "the schema", rule);
    }
    match root {
        Some(root) if checker.problems.is_empty() => {
            let timed = timed(&messages[root]);
            Ok(Schema { messages, enums, root, timed })
        }
        Some(_) => Err(InvalidSchema(checker.problems)),
        None => {
            checker.problem(1, "the schema", "must have a message".to_owned());
            Err(InvalidSchema(checker.problems))
        }
    }
}

/// Types with their full names, in the order of their indices.
#[derive(Default)]
struct Flat<'f, 't> {
    messages: Vec<(String, &'f MessageText<'t>)>,
    enums: Vec<(String, &'f EnumText<'t>)>,
}

#[derive(Default)]
struct Checker {
    types: HashMap<String, Kind>,
    problems: Vec<Problem>,
    /// The messages that entries of maps are, and the index of the first.
    entries: Vec<Message>,
    entries_from: usize,
}

impl Checker {
    fn problem(&mut self, line: u32, at: &str, rule: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { line, at: at.to_owned(), rule });
        }
    }

    /// Gives every type its index and its full name. As deep as the parser went.
    fn declare<'f, 't>(&mut self, body: &'f Body<'t>, scope: &str, flat: &mut Flat<'f, 't>) {
        for declared in &body.enums {
            let name = within(scope, declared.name);
            self.name(&name, Kind::Enum(flat.enums.len()), declared.line);
            flat.enums.push((name, declared));
        }
        for message in &body.messages {
            let name = within(scope, message.name);
            self.name(&name, Kind::Message(flat.messages.len()), message.line);
            flat.messages.push((name.clone(), message));
            self.declare(&message.body, &name, flat);
        }
    }

    fn name(&mut self, name: &str, kind: Kind, line: u32) {
        if name.len() > JSON_NAME_BYTES_MAX {
            let short: String = name.chars().take(40).collect();
            self.problem(
                line,
                &short,
                format!("its name with those around it has {} bytes, at most {JSON_NAME_BYTES_MAX}", name.len()),
            );
        } else if self.types.insert(name.to_owned(), kind).is_some() {
            self.problem(line, name, "is declared twice".to_owned());
        }
    }

    fn enumeration(&mut self, name: &str, declared: &EnumText<'_>) -> Enum {
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        let mut values = Vec::with_capacity(declared.values.len());
        for (value, number, line) in &declared.values {
            let at = format!("{name}.{value}");
            let Ok(fits) = i32::try_from(*number) else {
                self.problem(*line, &at, format!("{number} is no int32"));
                continue;
            };
            if value.len() > JSON_NAME_BYTES_MAX {
                self.problem(*line, name, format!("a name has {} bytes, at most {JSON_NAME_BYTES_MAX}", value.len()));
            }
            if !names.insert(*value) {
                self.problem(*line, &at, "is declared twice".to_owned());
            }
            if !numbers.insert(fits) && !declared.aliases {
                self.problem(*line, &at, format!("the number {number} is taken, and allow_alias is not set"));
            }
            values.push(((*value).to_owned(), fits));
        }
        if values.first().is_none_or(|(_, number)| *number != 0) {
            self.problem(declared.line, name, "its first value must be 0".to_owned());
        }
        let mut by_number: Vec<(i32, usize)> = values.iter().enumerate().map(|(index, (_, number))| (*number, index)).collect();
        by_number.sort_unstable();
        by_number.dedup_by_key(|(number, _)| *number);
        Enum { name: name.to_owned(), values, by_number }
    }

    fn message(&mut self, name: &str, message: &MessageText<'_>) -> Message {
        if message.fields.len() > FIELDS_MAX {
            self.problem(message.line, name, format!("has {} fields, at most {FIELDS_MAX}", message.fields.len()));
            return built(name, Vec::new(), 0);
        }
        let mut names: HashSet<&str> = HashSet::new();
        for (oneof, line) in &message.oneofs {
            if !names.insert(oneof) {
                self.problem(*line, &format!("{name}.{oneof}"), "is declared twice".to_owned());
            }
        }
        let (mut jsons, mut numbers) = (HashMap::new(), HashMap::new());
        let mut fields = Vec::with_capacity(message.fields.len());
        for text in &message.fields {
            let at = format!("{name}.{}", text.name);
            let json = text.json.map_or_else(|| lower_camel_case(text.name), str::to_owned);
            if text.name.len().max(json.len()) > JSON_NAME_BYTES_MAX {
                self.problem(text.line, name, format!("a field's name has more than {JSON_NAME_BYTES_MAX} bytes"));
                continue;
            }
            if !names.insert(text.name) {
                self.problem(text.line, &at, "is declared twice".to_owned());
            } else if let Some(other) = jsons.insert(json.clone(), text.name) {
                self.problem(text.line, &at, format!("is called {json} in JSON, as {other} is"));
            }
            if let Some(other) = numbers.insert(text.number, text.name) {
                self.problem(text.line, &at, format!("the number {} is that of {other}", text.number));
            }
            self.reserved(message, text, &at);
            let number = self.number(text, &at);
            if let Some(kind) = self.kind(name, text, &at) {
                fields.push(Field { name: text.name.to_owned(), json, number, kind, label: text.label, oneof: text.oneof });
            }
        }
        built(name, fields, message.oneofs.len())
    }

    fn number(&mut self, text: &FieldText<'_>, at: &str) -> u32 {
        let number = text.number;
        if !(1..=NUMBER_MAX).contains(&number) || NUMBERS_KEPT.contains(&number) {
            let kept = format!("{} to {}", NUMBERS_KEPT.start(), NUMBERS_KEPT.end());
            self.problem(text.line, at, format!("the number {number} is not within 1 to {NUMBER_MAX} without {kept}"));
        }
        u32::try_from(number).unwrap_or(0)
    }

    fn reserved(&mut self, message: &MessageText<'_>, text: &FieldText<'_>, at: &str) {
        let within = |(from, to): &(i64, i64)| (*from..=*to).contains(&text.number);
        if message.reserved_numbers.iter().any(within) || message.reserved_names.contains(&text.name) {
            self.problem(text.line, at, "is reserved".to_owned());
        }
    }

    /// What a field holds; of a map the message that its entries are.
    fn kind(&mut self, scope: &str, text: &FieldText<'_>, at: &str) -> Option<Kind> {
        let Some(kind) = scalar(&text.type_name).or_else(|| self.find(scope, &text.type_name)) else {
            let shown: String = text.type_name.chars().take(80).collect();
            self.problem(text.line, at, format!("{shown} is no type of this file"));
            return None;
        };
        let Some(key) = text.key else { return Some(kind) };
        let key_kind = scalar(key).filter(|kind| !matches!(kind, Kind::Double | Kind::Float | Kind::Bytes));
        let Some(key_kind) = key_kind else {
            self.problem(text.line, at, "the keys of a map are whole numbers, bool or string".to_owned());
            return None;
        };
        let part = |name: &str, number, kind| {
            let (name, label) = (name.to_owned(), Label::Implicit);
            Field { json: name.clone(), name, number, kind, label, oneof: None }
        };
        let entry = built(at, vec![part("key", 1, key_kind), part("value", 2, kind)], 0);
        self.entries.push(entry);
        Some(Kind::Message(self.entries_from + self.entries.len() - 1))
    }

    /// A type by its name as it is written within `scope`: the innermost that fits.
    fn find(&self, scope: &str, name: &str) -> Option<Kind> {
        if let Some(whole) = name.strip_prefix('.') {
            return self.types.get(whole).copied();
        }
        let mut scope = scope;
        loop {
            if let Some(kind) = self.types.get(&within(scope, name)) {
                return Some(*kind);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

fn built(name: &str, fields: Vec<Field>, oneofs: usize) -> Message {
    let mut by_number: Vec<(u32, usize)> = fields.iter().enumerate().map(|(index, field)| (field.number, index)).collect();
    by_number.sort_unstable();
    let defaults = fields.iter().enumerate().filter(|(_, field)| field.has_default()).map(|(index, _)| index).collect();
    Message { name: name.to_owned(), fields, oneofs, defaults, by_number }
}

fn timed(root: &Message) -> Option<(usize, usize)> {
    let once = |field: &Field| matches!(field.label, Label::Implicit | Label::Optional);
    let is_ts = |field: &Field| {
        use Kind::{Fixed32, Fixed64, Int32, Int64, Sfixed32, Sfixed64, Sint32, Sint64, Uint32, Uint64};
        let long = matches!(field.kind, Int64 | Uint64 | Sint64 | Fixed64 | Sfixed64);
        let short = matches!(field.kind, Int32 | Uint32 | Sint32 | Fixed32 | Sfixed32);
        field.json == "ts" && once(field) && (long || short)
    };
    let is_values = |field: &Field| field.json == "values" && once(field) && matches!(field.kind, Kind::Message(_));
    Some((root.fields.iter().position(is_ts)?, root.fields.iter().position(is_values)?))
}

fn within(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn scalar(name: &str) -> Option<Kind> {
    Some(match name {
        "double" => Kind::Double,
        "float" => Kind::Float,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "uint32" => Kind::Uint32,
        "uint64" => Kind::Uint64,
        "sint32" => Kind::Sint32,
        "sint64" => Kind::Sint64,
        "fixed32" => Kind::Fixed32,
        "fixed64" => Kind::Fixed64,
        "sfixed32" => Kind::Sfixed32,
        "sfixed64" => Kind::Sfixed64,
        "bool" => Kind::Bool,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        _ => return None,
    })
}

/// Underscores go, and what follows one is a capital.
fn lower_camel_case(name: &str) -> String {
    let mut capital = false;
    let letter = |letter: char| {
        if letter == '_' {
            capital = true;
            return None;
        }
        let written = if capital { letter.to_ascii_uppercase() } else { letter };
        capital = false;
        Some(written)
    };
    let json: String = name.chars().filter_map(letter).collect();
    // A name of nothing but underscores has to be called something.
    if json.is_empty() { name.to_owned() } else { json }
}
