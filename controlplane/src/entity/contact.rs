//! A contact as the JSON text of its column. Never queried by SQL.

use serde_json::{Map, Value};

use crate::domain::Contact;

pub(super) fn to_text(contact: &Contact) -> String {
    let Contact { country, state, city, address, address2, zip, phone, email } = contact;
    let fields = [
        ("country", country),
        ("state", state),
        ("city", city),
        ("address", address),
        ("address2", address2),
        ("zip", zip),
        ("phone", phone),
        ("email", email),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value.clone()?))));
    Value::Object(present.collect::<Map<_, _>>()).to_string()
}

pub(super) fn from_text(text: &str) -> Contact {
    let mut stored = super::json(text);
    let mut take = |name: &str| match stored.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    Contact {
        country: take("country"),
        state: take("state"),
        city: take("city"),
        address: take("address"),
        address2: take("address2"),
        zip: take("zip"),
        phone: take("phone"),
        email: take("email"),
    }
}
