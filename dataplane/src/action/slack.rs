//! Messages for Slack, by its Web API, which says in its answer's body whether it took one. Where the API is, the settings say and no
//! tenant does, so the guard has nothing to look at.

use serde_json::{Value, json};

use super::http::Client;
use crate::limits;
use crate::owed::{Answer, Answered, HttpCall, SlackCall};

/// Errors that may be gone the next time.
const PASSING: [&str; 6] =
    ["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

/// Posts one message to Slack at `url`, which has no slash at its end.
pub(super) async fn post(http: &Client, url: &str, call: SlackCall, key: &str) -> Answered {
    let body = json!({ "channel": call.channel, "text": call.text });
    let call = HttpCall {
        method: schemas::chain::external::Method::Post,
        url: format!("{url}/api/chat.postMessage"),
        headers: vec![("authorization".to_owned(), format!("Bearer {}", call.token))],
        basic: None,
        certificates: None,
        body: Some(body.to_string()),
        timeout_ms: limits::SLACK_ANSWER_MS,
        answer_bytes_max: u32::MAX,
    };
    match http.call(call, key, true).await {
        Answered::Done(answer) => said(&answer.data.unwrap_or_default()),
        Answered::Refused(reason, _) => Answered::Refused(reason, Answer::default()),
        Answered::Failed(reason, _) => Answered::Failed(reason, Answer::default()),
        unreachable @ Answered::Unreachable(_) => unreachable,
    }
}

fn said(body: &str) -> Answered {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    if body.get("ok") == Some(&Value::Bool(true)) {
        return Answered::Done(Answer::default());
    }
    let error = body.get("error").and_then(Value::as_str).unwrap_or("the answer is not Slack's");
    let reason = format!("Slack: {error}");
    if PASSING.contains(&error) {
        Answered::Failed(reason, Answer::default())
    } else {
        Answered::Refused(reason, Answer::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_says_is_in_the_body() {
        let check = |body: &str, expected: &Answered| assert_eq!(&said(body), expected, "{body}");
        let refused = |reason: &str| Answered::Refused(format!("Slack: {reason}"), Answer::default());
        check(r#"{"ok":true,"ts":"1.2"}"#, &Answered::Done(Answer::default()));
        check(r#"{"ok":false,"error":"channel_not_found"}"#, &refused("channel_not_found"));
        check(r#"{"ok":false,"error":"ratelimited"}"#, &Answered::Failed("Slack: ratelimited".to_owned(), Answer::default()));
        check(r#"{"ok":"true"}"#, &refused("the answer is not Slack's"));
        check("<html>", &refused("the answer is not Slack's"));
    }
}
