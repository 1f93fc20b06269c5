//! Calls to the outside that were given up, as people see them (DESIGN 8.6, 22). They lie on their originators' shards. Never makes a call.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::Invalid;

/// Which one. Its text is the idempotency key that its target was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterId {
    pub originator: Uuid,
    pub number: u64,
}

impl DeadLetterId {
    /// # Errors
    /// [`Invalid`] for a text that is no such key.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let read = || {
            let (originator, number) = text.split_once('-')?;
            let (32, 1..=16) = (originator.len(), number.len()) else { return None };
            Some(Self { originator: Uuid::try_parse(originator).ok()?, number: u64::from_str_radix(number, 16).ok()? })
        };
        read().ok_or_else(|| Invalid::new("id", text, "must be a UUID without dashes, a dash and a hexadecimal number"))
    }
}

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:x}", self.originator.simple(), self.number)
    }
}

/// A call that was given up, with the message that waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: DeadLetterId,
    /// The node that called, and its chain.
    pub chain: Uuid,
    pub node: Uuid,
    /// Of the message.
    pub kind: String,
    /// Empty in lists, like `data`.
    pub metadata: BTreeMap<String, String>,
    /// JSON.
    pub data: String,
    /// Milliseconds since the Unix epoch, as below.
    pub taken_ms: i64,
    pub given_up_ms: i64,
    /// Why, for people.
    pub reason: String,
}

/// Which ones: everything of the tenant that is not narrowed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    pub originator: Option<Uuid>,
    pub chain: Option<Uuid>,
    /// One call of the originator.
    pub number: Option<u64>,
}

impl From<DeadLetterId> for DeadLetterFilter {
    fn from(id: DeadLetterId) -> Self {
        Self { originator: Some(id.originator), chain: None, number: Some(id.number) }
    }
}

/// What became of those that were to be made once more, or forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersEnded {
    pub ended: u64,
    /// Some are left: the outbox is full, they were changed meanwhile, or there were too many for one request.
    pub left: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_keys_that_targets_were_shown() {
        let id = DeadLetterId { originator: Uuid::from_u128(0xAB), number: 0x1F };
        assert_eq!(id.to_string(), "000000000000000000000000000000ab-1f");
        assert_eq!(DeadLetterId::parse(&id.to_string()), Ok(id));
        for wrong in ["", "-", "ab-1f", "000000000000000000000000000000ab", "000000000000000000000000000000ab-", "ü-1"] {
            assert!(DeadLetterId::parse(wrong).is_err(), "{wrong}");
        }
    }
}
