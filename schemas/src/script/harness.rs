//! What must hold of the check of scripts for any text at all; the fuzz target and property tests call it. Panics when it does not
//! hold, so it is never called for a script of a user.

use super::{BODY_BYTES_MAX, Form, InvalidScript, Language, Script};

/// Checks a text in both languages and asserts what is promised of the results.
///
/// # Panics
/// When it does not hold.
pub fn any(body: &str) {
    for language in [Language::Js, Language::Tbel] {
        for form in [Form::Filter, Form::Switch, Form::Transform] {
            match Script::parse(form, language, body) {
                Ok(script) => {
                    assert_eq!((script.form, script.language, script.body.as_str()), (form, language, body));
                    assert!(body.len() <= BODY_BYTES_MAX);
                    // What TBEL became is checked as JavaScript, so it is a script of its own that means the same.
                    if script.js.len() <= BODY_BYTES_MAX {
                        let again = Script::parse(form, Language::Js, &script.js);
                        assert_eq!(again.map(|again| again.simple), Ok(script.simple), "{}", script.js);
                    }
                }
                Err(InvalidScript::Tbel { line, column, rule }) => {
                    assert!(language == Language::Tbel && line > 0 && column > 0 && !rule.is_empty());
                    assert!(line <= body.matches('\n').count() + 1, "line {line} of {body}");
                }
                Err(refused) => assert!(!refused.to_string().is_empty()),
            }
        }
    }
}
