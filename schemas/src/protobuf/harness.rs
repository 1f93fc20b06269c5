//! What must hold of the schema reader for any text whatsoever; property tests and fuzz targets call it. Panics on a finding.

use super::{FIELDS_MAX, InvalidSchema, JSON_NAME_BYTES_MAX, Kind, MESSAGES_MAX, Message, PROBLEMS_MAX, Schema};

/// Reads a text and asserts what is promised of the result.
///
/// # Panics
/// If reading is not total, a refusal says nothing, or a table is not what it says.
pub fn any(text: &str) {
    match Schema::parse(text) {
        Ok(schema) => {
            assert!(schema.messages.len() <= MESSAGES_MAX, "too many messages");
            for message in &schema.messages {
                whole(&schema, message);
            }
            let _calls = schema.carries_calls();
        }
        Err(InvalidSchema(problems)) => {
            assert!((1..=PROBLEMS_MAX).contains(&problems.len()), "{} problems", problems.len());
            let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).saturating_add(1);
            for problem in problems {
                assert!((1..=lines).contains(&problem.line), "{problem}: of {lines} lines");
                assert!(!problem.at.is_empty() && !problem.rule.is_empty(), "{problem}");
            }
        }
    }
}

fn whole(schema: &Schema, message: &Message) {
    assert!(message.fields.len() <= FIELDS_MAX, "{}: too many fields", message.name);
    for (index, field) in message.fields.iter().enumerate() {
        assert!((1..=JSON_NAME_BYTES_MAX).contains(&field.json.len()), "{}: {} bytes", field.name, field.json.len());
        assert_eq!(message.field(field.number), Some(index), "{}: found by its number", field.name);
        assert!(field.oneof.is_none_or(|oneof| oneof < message.oneofs), "{}: its oneof is there", field.name);
        match field.kind {
            Kind::Enum(index) => {
                let first = schema.enumeration(index).values.first();
                assert!(first.is_some_and(|(_, number)| *number == 0), "{}: a default", field.name);
            }
            Kind::Message(index) => assert!(!schema.message(index).name.is_empty(), "{}: a message", field.name),
            _ => {}
        }
    }
}
