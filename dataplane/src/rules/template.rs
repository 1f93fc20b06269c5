//! Templates in configurations: `${key}` stands for a value of the metadata, `$[a.b]` for one of the data. What is not there
//! stays as it is written, as in ThingsBoard.

use std::borrow::Cow;

use serde_json::Value;

use crate::rules::carried::Carried;

/// The text with everything put in that the message knows.
pub(super) fn fill<'t>(template: &'t str, carried: &Carried<'_>) -> Cow<'t, str> {
    if !template.contains("${") && !template.contains("$[") {
        return Cow::Borrowed(template);
    }
    let data = if template.contains("$[") { carried.data() } else { Cow::Owned(Value::Null) };
    let (mut filled, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(at) = rest.find('$') {
        let (before, behind) = rest.split_at(at);
        filled.push_str(before);
        let (value, length) = match hole(behind) {
            Some(Hole::Metadata(key)) => (carried.metadata(key).map(Cow::into_owned), key.len() + 3),
            Some(Hole::Data(path)) => (find(&data, path).map(text), path.len() + 3),
            None => (None, 1),
        };
        let (written, behind) = behind.split_at(length);
        filled.push_str(value.as_deref().unwrap_or(written));
        rest = behind;
    }
    filled.push_str(rest);
    Cow::Owned(filled)
}

enum Hole<'t> {
    Metadata(&'t str),
    Data(&'t str),
}

fn hole(text: &str) -> Option<Hole<'_>> {
    if let Some(inside) = text.strip_prefix("${") {
        return inside.split_once('}').map(|(key, _)| Hole::Metadata(key));
    }
    text.strip_prefix("$[")?.split_once(']').map(|(path, _)| Hole::Data(path))
}

/// The value at a path of names with dots between them.
fn find<'v>(data: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(data, |value, name| value.get(name))
}

/// A value as metadata writes it: text without quotation marks, everything else as JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
