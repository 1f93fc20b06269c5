//! The target of a request: its path and its query, and how both are unescaped. Never decides what a path means.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Where a request goes, not unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Begins with `/`, or is `*`.
    pub path: &'a str,
    /// What follows the `?`; may be empty.
    pub query: &'a str,
}

impl<'a> Target<'a> {
    /// The forms that a server must take (RFC 9112, 3.2): a path, the same behind scheme and authority, and `*`.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let text = ["http://", "https://"].into_iter().find_map(|scheme| path_behind(text, scheme)).unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        (path.starts_with('/') || text == "*").then_some(Self { path, query })
    }
}

/// What follows the authority in absolute form.
fn path_behind<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = text.split_at_checked(scheme.len())?;
    if !found.eq_ignore_ascii_case(scheme) {
        return None;
    }
    // RFC 9110, 4.2.3: an absent path is the same as "/".
    Some(rest.find(['/', '?']).and_then(|end| rest.get(end..)).filter(|path| path.starts_with('/')).unwrap_or("/"))
}

/// A piece of a path, unescaped; `None` if that is not UTF-8.
#[must_use]
pub fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// The first value of a parameter of a query, unescaped as forms are (`+` is a space). `Some(None)`: it is not UTF-8.
#[must_use]
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Option<Cow<'a, str>>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(found, _)| form_decoded(found).is_some_and(|found| found == name));
    values.next().map(|(_, value)| form_decoded(value))
}

fn form_decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        return decoded(&text.replace('+', " ")).map(|text| Cow::Owned(text.into_owned()));
    }
    decoded(text)
}
