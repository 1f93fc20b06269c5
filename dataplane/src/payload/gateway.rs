//! What gateways say of their children (reference 1.2): packs are cut into the parts of each child, which stay JSON text of the
//! child's own kind and are parsed by whoever owns the child.

use std::borrow::Cow;

use super::encode::{self, Attribute};
use super::json::Scanner;
use super::{Flaw, PayloadError, expect_object};
use crate::limits::{CHILDREN_PER_PACK_MAX, KEYS_PER_DEVICE_MAX, NAME_BYTES_MAX};

/// One child's part of a pack: its name and its JSON text.
pub type Part<'a> = (Cow<'a, str>, &'a str);

/// Reads `{"A":…,"B":…}`. Of equal names all parts count, in their order.
///
/// # Errors
/// [`PayloadError`].
pub fn parts(bytes: &[u8]) -> Result<Vec<Part<'_>>, PayloadError> {
    let mut scanner = Scanner::new(bytes)?;
    let mut parts = Vec::new();
    expect_object(&mut scanner, Flaw::NotObject)?;
    scanner.object(|scanner, name| {
        check_name(scanner, &name)?;
        if parts.len() >= CHILDREN_PER_PACK_MAX {
            return Err(scanner.error(Flaw::TooManyEntries));
        }
        scanner.token()?;
        let from = scanner.at();
        scanner.skip()?;
        parts.push((name, scanner.slice(from, scanner.at())));
        Ok(())
    })?;
    scanner.end()?;
    Ok(parts)
}

/// What a gateway says of one child.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said<'a> {
    pub device: Cow<'a, str>,
    /// The profile's name.
    pub kind: Option<Cow<'a, str>>,
    /// A request's number.
    pub id: Option<i64>,
    /// Whether client attributes are meant; shared ones if not.
    pub client: bool,
    pub keys: Vec<String>,
    /// One key was named by itself and is answered so.
    pub single: bool,
    /// JSON text.
    pub data: Option<&'a str>,
}

/// Reads `{"device":"A","type":…,"id":…,"client":…,"key":…,"keys":[…],"data":…}`; all but the device may be absent.
///
/// # Errors
/// [`PayloadError`].
pub fn said(bytes: &[u8]) -> Result<Said<'_>, PayloadError> {
    let mut scanner = Scanner::new(bytes)?;
    let mut said = Said::default();
    let mut named = false;
    expect_object(&mut scanner, Flaw::NotObject)?;
    scanner.object(|scanner, key| {
        match (&*key, scanner.token()?) {
            ("device", b'"') => {
                said.device = scanner.string()?;
                check_name(scanner, &said.device)?;
                named = true;
            }
            ("device", _) => return Err(scanner.error(Flaw::Device)),
            ("type", b'"') => said.kind = Some(scanner.string()?).filter(|kind| !kind.is_empty()),
            ("id", _) => {
                let refused = scanner.error(Flaw::RequestId);
                said.id = Some(scanner.number()?.parse().map_err(|_| refused)?);
            }
            ("client", b't') => {
                scanner.word("true")?;
                said.client = true;
            }
            ("key", b'"') => {
                said.keys.push(scanner.string()?.into_owned());
                said.single = true;
            }
            ("keys", b'[') => scanner.array(|scanner| {
                if said.keys.len() >= KEYS_PER_DEVICE_MAX || scanner.token()? != b'"' {
                    return Err(scanner.error(Flaw::Keys));
                }
                said.keys.push(scanner.string()?.into_owned());
                Ok(())
            })?,
            ("data", _) => {
                let from = scanner.at();
                scanner.skip()?;
                said.data = Some(scanner.slice(from, scanner.at()));
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    if named { Ok(said) } else { Err(scanner.error(Flaw::Device)) }
}

fn check_name(scanner: &Scanner<'_>, name: &str) -> Result<(), PayloadError> {
    let fits = !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX;
    if fits { Ok(()) } else { Err(scanner.error(Flaw::Device)) }
}

/// `{"device":"A","data":…}`: what a gateway is told for a child.
pub fn gateway_message(device: &str, data: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(b"{\"device\":");
    encode::string(device, into);
    into.extend_from_slice(b",\"data\":");
    into.extend_from_slice(data);
    into.push(b'}');
}

/// `{"id":1,"device":"A","value":…}`, or `"values":{…}` unless one key was named by itself. Keys that are not there are left out; so
/// is a single value.
pub fn gateway_attributes(id: i64, device: &str, attributes: &[Attribute<'_>], single: bool, into: &mut Vec<u8>) {
    encode::print(into, format_args!("{{\"id\":{id},\"device\":"));
    encode::string(device, into);
    match attributes {
        [(_, value)] if single => {
            into.extend_from_slice(b",\"value\":");
            encode::encode(value, into);
        }
        [] if single => {}
        attributes => {
            into.extend_from_slice(b",\"values\":");
            encode::object(attributes, into);
        }
    }
    into.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Value;

    #[test]
    fn packs_are_cut_into_the_parts_of_each_child() {
        let check = |text: &str, expected: Option<&[(&str, &str)]>| {
            let found = parts(text.as_bytes()).ok();
            let found: Option<Vec<(&str, &str)>> =
                found.as_ref().map(|parts| parts.iter().map(|(name, text)| (&**name, *text)).collect());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("{}", Some(&[]));
        check(
            r#" {"A": [{"ts":1,"values":{"k":1}}], "B":{"k":"}"} } "#,
            Some(&[("A", r#"[{"ts":1,"values":{"k":1}}]"#), ("B", r#"{"k":"}"}"#)]),
        );
        check(r#"{"A":1,"A":2}"#, Some(&[("A", "1"), ("A", "2")]));
        check(r#"{"A\u0042":null}"#, Some(&[("AB", "null")]));
        for bad in ["", "[]", "{", r#"{"A":}"#, r#"{"":1}"#, r#"{" ":1}"#, r#"{"A":1} x"#, r#"{"A":[1}"#] {
            check(bad, None);
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        check(&format!(r#"{{"{long}":1}}"#), None);
        let many: Vec<String> = (0..=CHILDREN_PER_PACK_MAX).map(|n| format!("\"{n}\":1")).collect();
        check(&format!("{{{}}}", many.join(",")), None);
    }

    #[test]
    fn what_is_said_of_one_child_is_read() {
        let device = Cow::Borrowed("A");
        let check = |text: &str, expected: Option<Said<'_>>| assert_eq!(said(text.as_bytes()).ok(), expected, "{text}");
        check(r#"{"device":"A"}"#, Some(Said { device: device.clone(), ..Said::default() }));
        check(
            r#"{"type":"t","device":"A"}"#,
            Some(Said { device: device.clone(), kind: Some(Cow::Borrowed("t")), ..Said::default() }),
        );
        let keys = vec!["k".to_owned()];
        check(
            r#"{"id":1,"device":"A","client":true,"key":"k"}"#,
            Some(Said { device: device.clone(), id: Some(1), client: true, keys: keys.clone(), single: true, ..Said::default() }),
        );
        check(
            r#"{"id":2,"device":"A","client":false,"keys":["k"]}"#,
            Some(Said { device: device.clone(), id: Some(2), keys, ..Said::default() }),
        );
        check(
            r#"{"device":"A","id":3,"data":{"a":[1]}}"#,
            Some(Said { device, id: Some(3), data: Some(r#"{"a":[1]}"#), ..Said::default() }),
        );
        for bad in [
            "{}",
            r#"{"device":1}"#,
            r#"{"device":""}"#,
            r#"{"device":"A","id":"x"}"#,
            r#"{"device":"A","id":1.5}"#,
            r#"{"device":"A","keys":[1]}"#,
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn gateways_are_answered_in_thingsboards_words() {
        let check = |written: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let mut json = Vec::new();
            written(&mut json);
            assert_eq!(String::from_utf8(json).unwrap(), expected);
        };
        check(&|into| gateway_message("A\"", br#"{"k":1}"#, into), r#"{"device":"A\"","data":{"k":1}}"#);
        let (one, two) = (Value::Long(1), Value::Bool(true));
        check(&|into| gateway_attributes(1, "A", &[("k", &one)], true, into), r#"{"id":1,"device":"A","value":1}"#);
        check(&|into| gateway_attributes(1, "A", &[], true, into), r#"{"id":1,"device":"A"}"#);
        check(
            &|into| gateway_attributes(1, "A", &[("k", &one), ("l", &two)], false, into),
            r#"{"id":1,"device":"A","values":{"k":1,"l":true}}"#,
        );
    }
}
