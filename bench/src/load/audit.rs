//! Reads back what was acknowledged and compares it with what was sent: nothing missing, nothing altered, and the reading that
//! every message overwrote holds the last one. Asks the platform over REST only.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

use super::ledger::{self, Account, Ledger};
use super::options::Verify;
use super::payload::{AUDIT_LAST_BASE, AUDIT_LAST_KEY, Message, Template};
use super::report::{self, Audited};
use super::rest::{Platform, Rest};

/// Messages read back with one request.
const WINDOW: u64 = 5_000;
const FINDINGS_MAX: usize = 20;

/// `verify`: the audit of an earlier run; true when it is clean.
///
/// # Errors
/// The ledger or the platform cannot be read.
pub(crate) fn run(options: &Verify) -> anyhow::Result<bool> {
    let ledger = ledger::read(&options.ledger)?;
    let audit = verify(&options.platform.platform()?, &ledger)?;
    report::audited(&audit);
    Ok(audit.is_clean())
}

/// # Errors
/// The platform cannot be read.
pub(crate) fn verify(platform: &Platform, ledger: &Ledger) -> anyhow::Result<Audited> {
    let mut rest = Rest::login(platform.clone())?;
    let template = Template::compile(&ledger.template);
    let mut audit = Audited::default();
    for (index, account) in ledger.devices.iter().enumerate() {
        if index > 0 && index % 100 == 0 {
            report::progress(&format!("audit: {index} of {} devices, {} messages", ledger.devices.len(), audit.checked));
        }
        audit.devices += 1;
        let mut from = 0;
        while from < account.acked {
            let to = account.acked.min(from + WINDOW);
            let stored = read(&mut rest, account, &template, ledger.base_ts, from..to)?;
            compare(account, &template, ledger.base_ts, from..to, &stored, &mut audit);
            from = to;
        }
        check_last(&mut rest, account, ledger.base_ts, &mut audit)?;
    }
    Ok(audit)
}

/// Stored values by key and ts.
type Stored = BTreeMap<String, BTreeMap<u64, String>>;

fn read(
    rest: &mut Rest,
    account: &Account,
    template: &Template,
    base_ts: u64,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<Stored> {
    let keys: Vec<String> = expected(template, account, base_ts, numbers.start)?.into_keys().collect();
    let path = format!(
        "/api/plugins/telemetry/DEVICE/{}/values/timeseries?keys={}&startTs={}&endTs={}&limit={}&orderBy=ASC",
        account.id,
        keys.join(","),
        base_ts + numbers.start,
        base_ts + numbers.end,
        numbers.end - numbers.start
    );
    series(&rest.get(&path)?).with_context(|| format!("GET {path}"))
}

/// `{"key":[{"ts":1,"value":"2"}]}`.
fn series(text: &str) -> anyhow::Result<Stored> {
    let answer: BTreeMap<String, Vec<Value>> = serde_json::from_str(text)?;
    let point = |point: &Value| {
        let value = match point.get("value")? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((point.get("ts")?.as_u64()?, value))
    };
    Ok(answer.into_iter().map(|(key, points)| (key, points.iter().filter_map(point).collect())).collect())
}

/// What message `number` of a device says, by key.
fn expected(template: &Template, account: &Account, base_ts: u64, number: u64) -> anyhow::Result<BTreeMap<String, Value>> {
    let message = Message { seed: account.seed, number, ts_ms: base_ts + number };
    let entries: Vec<Value> = serde_json::from_slice(&template.render(message)).context("the ledger's template")?;
    let values = entries.first().and_then(|entry| entry.get("values")).and_then(Value::as_object);
    Ok(values.context("the ledger's template has no values")?.clone().into_iter().collect())
}

fn compare(
    account: &Account,
    template: &Template,
    base_ts: u64,
    numbers: std::ops::Range<u64>,
    stored: &Stored,
    audit: &mut Audited,
) {
    for number in numbers.filter(|number| !account.refused.contains(number)) {
        audit.checked += 1;
        let ts = base_ts + number;
        let Ok(expected) = expected(template, account, base_ts, number) else { continue };
        let found = |key: &String| stored.get(key).and_then(|points| points.get(&ts));
        if let Some(key) = expected.keys().find(|key| found(key).is_none()) {
            audit.missing += 1;
            finding(audit, format!("device {} message {number} (ts {ts}): {key} is missing", account.id));
        } else if let Some((key, value)) = expected.iter().find(|(key, value)| !found(key).is_some_and(|text| same(text, value)))
        {
            audit.altered += 1;
            let text = found(key).cloned().unwrap_or_default();
            finding(audit, format!("device {} message {number} (ts {ts}): {key} is {text}, was sent as {value}", account.id));
        }
    }
}

/// Whether a stored text is the value that was sent; numbers may be written in another way.
fn same(text: &str, sent: &Value) -> bool {
    match sent {
        Value::Number(number) if !number.is_f64() => *text == *number.to_string(),
        Value::Number(number) => text.parse::<f64>().ok() == number.as_f64(),
        Value::String(sent) => text == sent,
        other => *text == *other.to_string(),
    }
}

/// The reading that every message overwrote: not older than the last acknowledged message, not newer than the last sent.
fn check_last(rest: &mut Rest, account: &Account, base_ts: u64, audit: &mut Audited) -> anyhow::Result<()> {
    let Some(acked) = (0..account.acked).rev().find(|number| !account.refused.contains(number)) else { return Ok(()) };
    let ts = base_ts - 1;
    let path = format!(
        "/api/plugins/telemetry/DEVICE/{}/values/timeseries?keys={AUDIT_LAST_KEY}&startTs={ts}&endTs={base_ts}&limit=10",
        account.id
    );
    let stored = series(&rest.get(&path)?)?;
    let last = stored.get(AUDIT_LAST_KEY).and_then(|points| points.get(&ts)).and_then(|text| text.parse::<u64>().ok());
    let number = last.and_then(|value| value.checked_sub(AUDIT_LAST_BASE));
    if !number.is_some_and(|number| (acked..account.sent).contains(&number)) {
        audit.out_of_order += 1;
        let found = number.map_or_else(|| "nothing".to_owned(), |number| format!("message {number}"));
        finding(
            audit,
            format!(
                "device {}: the overwritten reading holds {found}, acknowledged up to {acked}, sent below {}",
                account.id, account.sent
            ),
        );
    }
    Ok(())
}

fn finding(audit: &mut Audited, text: String) {
    if audit.findings.len() < FINDINGS_MAX {
        audit.findings.push(text);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::load::payload::{Choice, Readings};

    const BASE: u64 = 1_700_000_000_000;

    fn stored(template: &Template, account: &Account, numbers: std::ops::Range<u64>) -> Stored {
        let mut stored = Stored::new();
        for number in numbers {
            for (key, value) in expected(template, account, BASE, number).unwrap() {
                stored.entry(key).or_default().insert(BASE + number, value.to_string());
            }
        }
        stored
    }

    #[test]
    fn the_audit_finds_what_is_missing_and_what_is_altered() {
        let template = Readings::of(&Choice::Tracker).unwrap().audited(BASE - 1);
        let account = Account { id: Uuid::nil(), seed: 5, sent: 10, acked: 10, refused: vec![9] };
        let check = |stored: &Stored| {
            let mut audit = Audited::default();
            compare(&account, &template, BASE, 0..10, stored, &mut audit);
            (audit.checked, audit.missing, audit.altered)
        };
        let whole = stored(&template, &account, 0..9);
        assert_eq!(check(&whole), (9, 0, 0), "a refused message is not looked for");
        let mut holed = whole.clone();
        holed.get_mut("speed").unwrap().remove(&(BASE + 3));
        assert_eq!(check(&holed), (9, 1, 0));
        let mut altered = whole.clone();
        altered.get_mut("audit").unwrap().insert(BASE + 4, "1".to_owned());
        assert_eq!(check(&altered), (9, 0, 1));
        assert_eq!(check(&Stored::new()), (9, 9, 0));
    }

    #[test]
    fn numbers_compare_by_value_and_whole_ones_exactly() {
        let sent = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (text, value, equal) in [
            ("52.1", "52.10000", true),
            ("52.2", "52.10000", false),
            ("9007199254740993", "9007199254740993", true),
            ("9007199254740992", "9007199254740993", false),
            ("false", "false", true),
            ("x", "\"x\"", true),
        ] {
            assert_eq!(same(text, &sent(value)), equal, "{text} {value}");
        }
    }

    #[test]
    fn the_platforms_answer_is_read() {
        let stored = series(r#"{"a":[{"ts":5,"value":"1"},{"ts":6,"value":2.5}],"b":[]}"#).unwrap();
        assert_eq!(stored["a"], BTreeMap::from([(5, "1".to_owned()), (6, "2.5".to_owned())]));
        assert!(series("[1]").is_err());
    }
}
