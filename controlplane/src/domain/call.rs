//! A call of the server to a device (ThingsBoard's RPC): what a client may ask for, checked once. Never knows what became of
//! a call: its shard does.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::Invalid;

/// How long a call waits when nothing is said, and at least whatever is said (ThingsBoard's own).
const TIMEOUT_MS_DEFAULT: i64 = 10_000;
const TIMEOUT_MS_MIN: i64 = 5_000;
/// How long somebody may wait for a device: a request is open all the time.
const TIMEOUT_MS_MAX: i64 = 300_000;
/// How far away a persistent call's end may lie: a year.
const EXPIRATION_MS_MAX: i64 = 366 * 86_400_000;
const METHOD_BYTES_MAX: usize = 255;
const PARAMS_BYTES_MAX: usize = 64 << 10;
const ADDITIONAL_BYTES_MAX: usize = 16 << 10;
/// ThingsBoard's number, and the largest that a client may choose.
const RETRIES_DEFAULT: u32 = 5;
const RETRIES_MAX: u32 = 100;

/// What a client sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallDraft {
    /// ThingsBoard's `requestUUID`; of a persistent call its id for ever, so that asking twice calls once.
    pub id: Option<Uuid>,
    pub method: String,
    /// JSON text as it came: a device may care about the order of members. Empty: null.
    pub params: String,
    pub one_way: bool,
    pub persistent: bool,
    pub timeout_ms: Option<i64>,
    /// Milliseconds since the Unix epoch; wins over `timeout_ms`.
    pub expires_ms: Option<i64>,
    pub retries: Option<u32>,
    pub additional_info: Value,
}

/// A checked call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: Uuid,
    pub method: String,
    /// JSON text.
    pub params: String,
    pub one_way: bool,
    pub persistent: bool,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: i64,
    pub retries: u32,
    /// JSON text; empty when there is none.
    pub additional_info: String,
}

impl CallDraft {
    /// `fresh` becomes its id if it has none.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that breaks a rule.
    pub fn checked(self, now_ms: i64, fresh: Uuid) -> Result<Call, Invalid> {
        if self.method.is_empty() || self.method.len() > METHOD_BYTES_MAX {
            let rule = format!("must have 1 to {METHOD_BYTES_MAX} bytes, has {}", self.method.len());
            return Err(Invalid::new("method", &self.method, rule));
        }
        let expires_ms = self.expiration(now_ms)?;
        let params = if self.params.is_empty() { "null".to_owned() } else { self.params };
        let additional_info = if self.additional_info.is_null() { String::new() } else { self.additional_info.to_string() };
        fits("params", params.len(), PARAMS_BYTES_MAX)?;
        fits("additionalInfo", additional_info.len(), ADDITIONAL_BYTES_MAX)?;
        let retries = self.retries.unwrap_or(RETRIES_DEFAULT);
        if retries > RETRIES_MAX {
            return Err(Invalid::new("retries", &retries.to_string(), format!("must be 0 to {RETRIES_MAX}")));
        }
        Ok(Call {
            id: self.id.unwrap_or(fresh),
            method: self.method,
            params,
            one_way: self.one_way,
            persistent: self.persistent,
            expires_ms,
            retries,
            additional_info,
        })
    }

    fn expiration(&self, now_ms: i64) -> Result<i64, Invalid> {
        let farthest = if self.persistent { EXPIRATION_MS_MAX } else { TIMEOUT_MS_MAX };
        let Some(expires_ms) = self.expires_ms else {
            let timeout = self.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
            if !(0..=farthest).contains(&timeout) {
                return Err(Invalid::new("timeout", &timeout.to_string(), format!("must be 0 to {farthest} ms")));
            }
            return Ok(now_ms.saturating_add(timeout.max(TIMEOUT_MS_MIN)));
        };
        if expires_ms <= now_ms || expires_ms > now_ms.saturating_add(farthest) {
            let rule = format!("must lie in the next {farthest} ms; it is now {now_ms}");
            return Err(Invalid::new("expirationTime", &expires_ms.to_string(), rule));
        }
        Ok(expires_ms)
    }
}

fn fits(field: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Invalid> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Invalid::new(field, &format!("{bytes} bytes"), format!("must have at most {bytes_max} bytes")))
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The device's answer, JSON text.
    Answered(String),
    /// A one-way call that arrived.
    Delivered,
    /// Nobody is there to take it.
    NoConnection,
    Timeout,
    /// A persistent call is stored.
    Stored,
}

/// How far a persistent call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStatus {
    Queued,
    Sent,
    Delivered,
    Successful,
    Timeout,
    Expired,
    Failed,
}

impl CallStatus {
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Sent, Self::Delivered, Self::Successful, Self::Timeout, Self::Expired, Self::Failed];

    /// ThingsBoard's spelling.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Successful => "SUCCESSFUL",
            Self::Timeout => "TIMEOUT",
            Self::Expired => "EXPIRED",
            Self::Failed => "FAILED",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A persistent call as its shard knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    pub call: Call,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub status: CallStatus,
    /// The device's answer, JSON text; empty when there is none.
    pub response: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn draft() -> CallDraft {
        CallDraft { method: "reboot".to_owned(), ..CallDraft::default() }
    }

    fn check(draft: CallDraft, expected: Result<i64, &str>) {
        match (draft.checked(NOW, Uuid::from_u128(1)), expected) {
            (Ok(call), Ok(expires_ms)) => assert_eq!(call.expires_ms, NOW + expires_ms),
            (Err(invalid), Err(part)) => assert!(invalid.to_string().contains(part), "{invalid} does not say {part}"),
            (outcome, expected) => panic!("{outcome:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn ends_are_thingsboards() {
        check(draft(), Ok(10_000));
        check(CallDraft { timeout_ms: Some(1), ..draft() }, Ok(5_000));
        check(CallDraft { timeout_ms: Some(60_000), ..draft() }, Ok(60_000));
        check(CallDraft { timeout_ms: Some(60_000), expires_ms: Some(NOW + 7), ..draft() }, Ok(7));
        check(CallDraft { expires_ms: Some(NOW + 86_400_000), persistent: true, ..draft() }, Ok(86_400_000));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        check(CallDraft { method: String::new(), ..draft() }, Err("method: \"\" must have 1 to 255 bytes, has 0"));
        check(CallDraft { method: "m".repeat(256), ..draft() }, Err("has 256"));
        check(CallDraft { timeout_ms: Some(-1), ..draft() }, Err("timeout: \"-1\" must be 0 to 300000 ms"));
        check(CallDraft { timeout_ms: Some(300_001), ..draft() }, Err("timeout"));
        check(CallDraft { expires_ms: Some(NOW), ..draft() }, Err("expirationTime"));
        check(CallDraft { expires_ms: Some(NOW + 86_400_000), ..draft() }, Err("expirationTime"));
        check(CallDraft { expires_ms: Some(i64::MAX), persistent: true, ..draft() }, Err("expirationTime"));
        check(CallDraft { params: "1".repeat(PARAMS_BYTES_MAX + 1), ..draft() }, Err("params: \"65537 bytes\""));
        let long = Value::String("a".repeat(ADDITIONAL_BYTES_MAX));
        check(CallDraft { additional_info: long, ..draft() }, Err("additionalInfo"));
        check(CallDraft { retries: Some(101), ..draft() }, Err("retries: \"101\" must be 0 to 100"));
    }
}
