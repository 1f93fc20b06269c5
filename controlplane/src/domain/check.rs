//! The rules single values obey. A value that passed is trimmed and within its bounds; one that did not is named together
//! with its field and the rule.

/// The longest name, title, e-mail address or label, in characters (ThingsBoard's own bound).
pub const NAME_CHARS_MAX: usize = 255;
/// The longest access token, in bytes (ThingsBoard's own bound).
pub const TOKEN_CHARS_MAX: usize = 32;
const PASSWORD_CHARS_MIN: usize = 6;
const PASSWORD_CHARS_MAX: usize = 72;
/// How much of a refused value an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// A value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: \"{value}\" {rule}")]
pub struct Invalid {
    pub field: &'static str,
    pub value: String,
    pub rule: String,
}

impl Invalid {
    /// A refusal of `value`, which is shortened if it is long.
    #[must_use]
    pub fn new(field: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Self { field, value: value.chars().take(SHOWN_CHARS_MAX).collect(), rule: rule.into() }
    }
}

/// A name or title: not blank, at most [`NAME_CHARS_MAX`] characters, no control characters. Surrounding blanks are dropped.
///
/// # Errors
/// [`Invalid`] naming the rule broken.
pub fn name(field: &'static str, value: &str) -> Result<String, Invalid> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err(Invalid::new(field, value, "must not be empty"));
    }
    // A data plane counts bytes (`schemas::config::NAME_BYTES_MAX`), so bytes are what is bounded.
    if trimmed.len() > NAME_CHARS_MAX {
        return Err(Invalid::new(field, value, format!("must have at most {NAME_CHARS_MAX} bytes, has {}", trimmed.len())));
    }
    if trimmed.chars().any(char::is_control) {
        return Err(Invalid::new(field, value, "must not contain control characters"));
    }
    Ok(trimmed.to_owned())
}

/// A [`name`] that may be absent; blank counts as absent.
///
/// # Errors
/// [`Invalid`] naming the rule broken.
pub fn optional_name(field: &'static str, value: Option<&str>) -> Result<Option<String>, Invalid> {
    value.filter(|value| !value.trim().is_empty()).map(|value| name(field, value)).transpose()
}

/// An e-mail address: `local@domain`, lower-cased, since people are found by it.
///
/// # Errors
/// [`Invalid`] naming the rule broken.
pub fn email(field: &'static str, value: &str) -> Result<String, Invalid> {
    let address = name(field, value)?.to_lowercase();
    let shaped =
        address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !shaped || address.chars().any(char::is_whitespace) {
        return Err(Invalid::new(field, value, "must be an e-mail address such as name@example.org"));
    }
    Ok(address)
}

/// A device's access token: 1 to [`TOKEN_CHARS_MAX`] visible ASCII characters, taken as it is.
///
/// # Errors
/// [`Invalid`] naming the rule broken, never the token itself.
pub fn token(field: &'static str, value: &str) -> Result<String, Invalid> {
    if value.is_empty() || value.len() > TOKEN_CHARS_MAX {
        return Err(Invalid::new(field, "***", format!("must have 1 to {TOKEN_CHARS_MAX} characters, has {}", value.len())));
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Invalid::new(field, "***", "must be visible ASCII characters"));
    }
    Ok(value.to_owned())
}

/// A password a person chose.
///
/// # Errors
/// [`Invalid`] naming the rule broken, never the password.
pub fn password(field: &'static str, value: &str) -> Result<(), Invalid> {
    let length = value.chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
        return Ok(());
    }
    let rule = format!("must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters, has {length}");
    Err(Invalid::new(field, "***", rule))
}
