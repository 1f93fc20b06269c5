//! Fields of the originator and of what is related to it, as ThingsBoard calls them.

use schemas::chain::EntityType;
use schemas::config::End;
use schemas::id::EntityId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::facts::{behind, knowing, series, with_fields};
use super::{Known, telemetry};
use crate::message::{Message, Value};
use crate::rules::Fact;

/// One row: of whom, what is known of it, what is asked for, and the data behind the node.
fn check(kind: EntityType, known: &[(&'static str, &'static str)], more: &Json, expected: &Json) {
    let message = Message { originator_type: kind, ..telemetry(r#"{"t":1}"#) };
    let mut configuration = json!({ "fetchTo": "DATA" });
    configuration.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let told = behind("metadata.TbGetOriginatorFieldsNode", &configuration, &message, &mut with_fields(known), &[]);
    assert_eq!(told, Ok(vec![expected.to_string()]), "{known:?} {more}");
}

#[test]
fn fields_of_the_originator() {
    let pump = [("label", "The pump"), ("createdTime", "1700000000000")];
    let all = json!({ "name": "n", "type": "k", "label": "l", "createdTime": "at", "entityType": "what" });
    let expected = json!({ "t": 1, "n": "A", "k": "default", "l": "The pump", "at": "1700000000000", "what": "DEVICE" });
    check(EntityType::Device, &pump, &json!({ "dataMapping": all }), &expected);
    let hall = [("name", "Hall"), ("type", "building")];
    let named = json!({ "dataMapping": { "name": "n", "type": "k" } });
    check(EntityType::Asset, &hall, &named, &json!({ "t": 1, "n": "Hall", "k": "building" }));
    let acme = [("name", "Acme"), ("title", "Acme"), ("phone", "07"), ("city", "")];
    let asked = json!({ "dataMapping": { "name": "n", "title": "x", "type": "k", "phone": "p" } });
    check(EntityType::Customer, &acme, &asked, &json!({ "t": 1, "n": "Acme", "x": "Acme", "p": "07" }));
    // What nobody has written is null, which ThingsBoard says as text; what is no field is left out.
    let asked = json!({ "city": "c", "nonsense": "no", "additionalInfo.x": "x" });
    check(EntityType::Customer, &acme, &json!({ "dataMapping": asked }), &json!({ "t": 1, "c": "null" }));
    let ignoring = json!({ "dataMapping": asked, "ignoreNullStrings": true });
    check(EntityType::Customer, &acme, &ignoring, &json!({ "t": 1 }));
}

#[test]
fn fields_of_what_is_related() {
    let acme = End { kind: EntityType::Customer, id: EntityId(Uuid::from_u128(5)) };
    let text = |key, text: &'static str| series(key, &[(1, Value::Text(text.into()))]);
    let told = vec![text("name", "Acme"), text("title", "Acme"), text("email", "a@acme")];
    let mut world = Known { neighbours: vec![(true, "Owns", acme)], ..knowing(vec![(Fact::Named(acme), Ok(told))]) };
    let configuration = json!({
        "relationsQuery": { "direction": "TO", "filters": [{ "relationType": "Owns" }] }, "dataToFetch": "FIELDS",
        "dataMapping": { "title": "whose", "email": "mail", "city": "where", "entityType": "what" }, "fetchTo": "DATA",
    });
    let shown = behind("metadata.TbGetRelatedAttributeNode", &configuration, &telemetry(r#"{"t":1}"#), &mut world, &[]);
    let expected = json!({ "t": 1, "whose": "Acme", "mail": "a@acme", "what": "CUSTOMER" });
    assert_eq!(shown, Ok(vec![expected.to_string()]));
}
