//! Templates in configurations: `${key}` stands for a value of the metadata, `$[a.b]` for one of the data, `${*}` and `$[*]` for all of
//! them as JSON. What is not there stays as it is written, as do objects and arrays at a path. Metadata come first, so that they may
//! name what is wanted of the data: all as in ThingsBoard. So a device's text may be a template, too: what comes of one is bounded.

use std::borrow::Cow;

use serde_json::Value;

use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_NAME_BYTES_MAX};
use crate::rules::carried::Carried;

/// The text with everything put in that the message knows.
pub(super) fn fill<'t>(template: &'t str, carried: &Carried<'_>) -> Cow<'t, str> {
    fill_by(template, carried, |value| value)
}

/// The same of a template of JSON: values that are put in stay inside their quotation marks.
pub(super) fn fill_json<'t>(template: &'t str, carried: &Carried<'_>) -> Cow<'t, str> {
    fill_by(template, carried, |value| {
        let quoted = Value::String(value).to_string();
        quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
    })
}

fn fill_by<'t>(template: &'t str, carried: &Carried<'_>, written: impl Fn(String) -> String) -> Cow<'t, str> {
    let filled = put_in(template, "${", b'}', |key| match key {
        "*" => Some(carried.all_metadata()),
        key => carried.metadata(key).map(|value| written(value.into_owned())),
    });
    if !filled.contains("$[") {
        return filled;
    }
    let data = carried.data();
    let filled = put_in(&filled, "$[", b']', |path| match path {
        "*" => Some(data.to_string()),
        path => find(&data, path).filter(|value| !value.is_object() && !value.is_array()).map(|value| written(text(value))),
    });
    Cow::Owned(filled.into_owned())
}

/// The text with what is said of the names between these marks; from what would make it too long on it stays as it is written.
fn put_in<'t>(template: &'t str, begin: &str, end: u8, say: impl Fn(&str) -> Option<String>) -> Cow<'t, str> {
    if !template.contains(begin) {
        return Cow::Borrowed(template);
    }
    let (mut filled, mut rest) = (String::with_capacity(template.len()), template);
    while let Some((before, behind)) = rest.split_once(begin) {
        filled.push_str(before);
        let close = behind.bytes().take(TEMPLATE_NAME_BYTES_MAX).position(|byte| byte == end);
        let said = close.and_then(|close| Some((say(behind.get(..close)?)?, behind.get(close + 1..)?)));
        match said {
            Some((said, behind)) if filled.len() + said.len() <= TEMPLATE_BYTES_MAX => {
                filled.push_str(&said);
                rest = behind;
            }
            other => {
                filled.push_str(begin);
                rest = behind;
                if other.is_some() {
                    break;
                }
            }
        }
    }
    filled.push_str(rest);
    Cow::Owned(filled)
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
