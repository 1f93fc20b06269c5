//! Alarm rules as ThingsBoard writes them, everything that can be wrong with them, predicates and schedules.

use std::convert::Infallible;

use serde_json::{Value as Json, json};

use super::*;

fn filter(predicate: &Json) -> Json {
    json!({ "key": { "type": "TIME_SERIES", "key": "t" }, "valueType": "NUMERIC", "value": null, "predicate": predicate })
}

fn above(limit: f64) -> Json {
    json!({ "type": "NUMERIC", "operation": "GREATER", "value": { "defaultValue": limit, "userValue": null, "dynamicValue": null } })
}

fn rule(filters: &Json, spec: &Json) -> Json {
    json!({
        "condition": { "condition": filters, "spec": spec },
        "schedule": null, "alarmDetails": "t is ${t}", "dashboardId": null,
    })
}

/// As ThingsBoard exports it, with its nulls.
fn alarm() -> Json {
    json!({
        "id": "hot1", "alarmType": "Hot",
        "createRules": {
            "WARNING": rule(&json!([filter(&above(20.0))]), &json!({ "type": "SIMPLE" })),
            "CRITICAL": rule(&json!([filter(&above(30.0))]), &json!({ "type": "SIMPLE" })),
        },
        "clearRule": null, "propagate": false, "propagateToOwner": true, "propagateToTenant": false,
        "propagateRelationTypes": null,
    })
}

#[test]
fn an_exported_alarm_is_read_the_worst_severity_first() {
    let rules = AlarmRules::parse(&json!([alarm()])).unwrap().unwrap();
    let one = &rules.rules[0];
    assert_eq!((one.id.as_str(), one.kind.as_str(), rules.remembers), ("hot1", "Hot", false));
    assert_eq!(one.create.iter().map(|(severity, _)| severity.name()).collect::<Vec<_>>(), ["CRITICAL", "WARNING"]);
    assert!(one.propagation.to_owner && one.clear.is_none());
    let critical = &one.create[0].1;
    assert_eq!(critical.keys, [Key { kind: KeyKind::Series, name: "t".to_owned() }]);
    assert_eq!((critical.details.as_deref(), &critical.schedule), (Some("t is ${t}"), &Schedule::Always));
    assert_eq!((AlarmRules::parse(&Json::Null), AlarmRules::parse(&json!([]))), (Ok(None), Ok(None)));
}

/// `change` sets what lies at a JSON pointer of the alarm.
#[track_caller]
fn check(change: (&str, Json), problems: &[&str]) {
    let mut alarm = alarm();
    let (pointer, value) = change;
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match alarm.pointer_mut(parent).unwrap() {
        Json::Array(listed) => listed[field.parse::<usize>().unwrap()] = value,
        object => object[field] = value,
    }
    let found = AlarmRules::parse(&json!([alarm])).map(|_| ()).map_err(|invalid| invalid.to_string());
    let expected = problems.iter().map(|problem| format!("alarms[0].{problem}")).collect::<Vec<_>>().join("; ");
    assert_eq!(found, if problems.is_empty() { Ok(()) } else { Err(expected) }, "{pointer}");
}

const WARNING: &str = "/createRules/WARNING";

#[test]
fn everything_that_is_wrong_is_named_with_its_place() {
    check(("/alarmType", json!("")), &["alarmType: \"\": expected a text of 1 to 255 bytes without control characters"]);
    check(("/createRules", json!({})), &["createRules: expected a rule for one severity or more"]);
    let severities = "CRITICAL, MAJOR, MINOR, WARNING, INDETERMINATE";
    let bad = json!({ "BAD": rule(&json!([filter(&above(1.0))]), &Json::Null) });
    check(("/createRules", bad), &[&format!("createRules.BAD: expected one of {severities}")]);
    let first = "createRules.WARNING.condition.condition[0]";
    let pointer = format!("{WARNING}/condition/condition/0");
    let at = |below: &str| format!("{pointer}{below}");
    check(
        (&at("/key/type"), json!("ALARM_FIELD")),
        &[&format!("{first}.key.type: \"ALARM_FIELD\": expected one of ATTRIBUTE, TIME_SERIES, ENTITY_FIELD, CONSTANT")],
    );
    check(
        (&at("/key"), json!({ "type": "ENTITY_FIELD", "key": "label" })),
        &[&format!("{first}.key.key: \"label\": expected name or type: other fields are not offered yet")],
    );
    check(
        (&at("/key"), json!({ "type": "CONSTANT", "key": "c" })),
        &[&format!("{first}.value: missing: expected a value of the type NUMERIC")],
    );
    check(
        (&at("/predicate/type"), json!("STRING")),
        &[&format!("{first}.predicate.type: \"STRING\": expected one of NUMERIC, COMPLEX")],
    );
    // Both at once.
    check(
        (&at("/predicate"), json!({ "type": "NUMERIC", "operation": "IN", "value": { "defaultValue": "x" } })),
        &[
            &format!(
                "{first}.predicate.operation: \"IN\": expected one of EQUAL, NOT_EQUAL, GREATER, LESS, GREATER_OR_EQUAL, LESS_OR_EQUAL"
            ),
            &format!("{first}.predicate.value.defaultValue: \"x\": expected a number"),
        ],
    );
    let dynamic = |source: &str| json!({ "sourceType": source, "sourceAttribute": "limit", "inherit": true });
    check((&at("/predicate/value/dynamicValue"), dynamic("CURRENT_DEVICE")), &[]);
    check((&at("/predicate/value/dynamicValue"), json!({ "sourceType": null })), &[]);
    check(
        (&at("/predicate/value/dynamicValue"), dynamic("CURRENT_USER")),
        &[&format!(
            "{first}.predicate.value.dynamicValue.sourceType: \"CURRENT_USER\": expected one of CURRENT_DEVICE, CURRENT_CUSTOMER, \
         CURRENT_TENANT"
        )],
    );
    let deep =
        (0..DEPTH_MAX).fold(above(1.0), |inner, _| json!({ "type": "COMPLEX", "operation": "AND", "predicates": [inner] }));
    let place = format!("{first}.predicate{}", ".predicates[0]".repeat(DEPTH_MAX));
    check(
        (&at("/predicate"), deep),
        &[&format!("{place}: at most {PREDICATES_MAX} predicates of one condition, {DEPTH_MAX} inside of one another")],
    );
}

#[test]
fn wrong_specs_and_schedules_are_named_with_their_place() {
    let spec = format!("{WARNING}/condition/spec");
    check(
        (&spec, json!({ "type": "DURATION", "unit": "WEEKS", "predicate": { "defaultValue": 2 } })),
        &["createRules.WARNING.condition.spec.unit: \"WEEKS\": expected one of SECONDS, MINUTES, HOURS, DAYS"],
    );
    check(
        (&spec, json!({ "type": "REPEATING", "predicate": { "defaultValue": 0 } })),
        &["createRules.WARNING.condition.spec.predicate.defaultValue: 0: expected a whole number from 1 to 4294967295"],
    );
    check((&spec, json!({ "type": "REPEATING", "count": 3 })), &[]);
    let schedule = format!("{WARNING}/schedule");
    check(
        (&schedule, json!({ "type": "SPECIFIC_TIME", "timezone": "Mars/Base", "daysOfWeek": [0] })),
        &[
            "createRules.WARNING.schedule.timezone: \"Mars/Base\": expected an IANA time zone such as Europe/Kyiv",
            "createRules.WARNING.schedule.daysOfWeek: [0]: expected an array of days from 1 (Monday) to 7",
        ],
    );
    check(
        (&schedule, json!({ "type": "ANY_TIME", "dynamicValue": { "sourceAttribute": "s" } })),
        &["createRules.WARNING.schedule.dynamicValue: schedules in attributes are not offered yet"],
    );
    let twice = AlarmRules::parse(&json!([alarm(), alarm()])).unwrap_err().to_string();
    assert_eq!(
        twice,
        "alarms[1].alarmType: \"Hot\": another entry has the same; alarms[1].id: \"hot1\": another entry has the same"
    );
}

#[test]
fn a_rule_looks_at_its_keys_and_at_its_devices_dynamic_attributes() {
    let mut own = above(1.0);
    own["value"]["dynamicValue"] = json!({ "sourceType": "CURRENT_DEVICE", "sourceAttribute": "limit" });
    let mut theirs = above(1.0);
    theirs["value"]["dynamicValue"] = json!({ "sourceType": "CURRENT_TENANT", "sourceAttribute": "other" });
    let spec = json!({ "type": "DURATION", "unit": "MINUTES", "predicate": { "defaultValue": 2, "dynamicValue":
        { "sourceType": "CURRENT_DEVICE", "sourceAttribute": "minutes" } } });
    let mut alarm = alarm();
    alarm["createRules"] = json!({ "MAJOR": rule(&json!([filter(&own), filter(&theirs)]), &spec) });
    let rules = AlarmRules::parse(&json!([alarm])).unwrap().unwrap();
    let names: Vec<&str> = rules.rules[0].create[0].1.keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!((names, rules.remembers), (vec!["t", "limit", "minutes"], true));
    let Spec::Duration { unit_ms, length } = &rules.rules[0].create[0].1.spec else { panic!("no duration") };
    assert_eq!((*unit_ms, length.fixed), (60_000, 2));
}

/// Whether a predicate of a value type holds for values; dynamic operands are 5.
#[track_caller]
fn holds(kind: &str, predicate: &Json, cases: &[(Value<'_>, bool)]) {
    let filter = json!({ "key": { "type": "TIME_SERIES", "key": "t" }, "valueType": kind, "predicate": predicate });
    let mut alarm = alarm();
    alarm["createRules"] = json!({ "MAJOR": rule(&json!([filter]), &Json::Null) });
    let rules = AlarmRules::parse(&json!([alarm])).unwrap().unwrap();
    let predicate = &rules.rules[0].create[0].1.filters[0].predicate;
    let mut find = |_: &Dynamic| Ok::<_, Infallible>(Some(Value::Long(5)));
    for (value, expected) in cases {
        assert_eq!(predicate.holds(value, &mut find), Ok(*expected), "{predicate:?} {value:?}");
    }
}

#[test]
fn predicates_hold_as_in_thingsboard() {
    let text = |text: &'static str| Value::Text(text.into());
    let simple = |kind: &str, operation: &str, value: Json| json!({ "type": kind, "operation": operation, "value": { "defaultValue": value } });
    let number = |operation: &str| simple("NUMERIC", operation, json!(5));
    holds(
        "NUMERIC",
        &number("EQUAL"),
        &[(Value::Long(5), true), (text("5"), true), (text("x"), false), (Value::Double(5.5), false)],
    );
    holds("NUMERIC", &number("NOT_EQUAL"), &[(Value::Long(5), false), (Value::Long(6), true)]);
    holds("NUMERIC", &number("GREATER"), &[(Value::Long(5), false), (Value::Double(5.1), true)]);
    holds("NUMERIC", &number("LESS_OR_EQUAL"), &[(Value::Long(5), true), (Value::Long(6), false)]);
    holds("DATE_TIME", &number("LESS"), &[(Value::Long(4), true), (Value::Long(5), false)]);
    holds("NUMERIC", &number("GREATER_OR_EQUAL"), &[(Value::Bool(true), false), (Value::Long(5), true)]);
    let mut dynamic = simple("NUMERIC", "GREATER", json!(100));
    dynamic["value"]["dynamicValue"] = json!({ "sourceType": "CURRENT_DEVICE", "sourceAttribute": "limit" });
    holds("NUMERIC", &dynamic, &[(Value::Long(6), true), (Value::Long(5), false)]);
    let word = |operation: &str, value: &str| simple("STRING", operation, json!(value));
    holds("STRING", &word("EQUAL", "On"), &[(text("On"), true), (text("on"), false)]);
    holds("STRING", &word("STARTS_WITH", "On"), &[(text("Onward"), true), (text("x On"), false)]);
    holds("STRING", &word("ENDS_WITH", "d"), &[(text("Onward"), true)]);
    holds("STRING", &word("CONTAINS", "wa"), &[(text("Onward"), true), (text("On"), false)]);
    holds("STRING", &word("NOT_CONTAINS", "wa"), &[(text("Onward"), false), (text("On"), true)]);
    holds("STRING", &word("IN", "a, b"), &[(text("b"), true), (text("c"), false), (Value::Long(1), false)]);
    holds("STRING", &word("NOT_IN", "a, b"), &[(text("b"), false), (text("c"), true)]);
    holds("STRING", &word("NOT_EQUAL", "On"), &[(text("On"), false), (text("on"), true)]);
    let mut careless = word("EQUAL", "On");
    careless["ignoreCase"] = json!(true);
    holds("STRING", &careless, &[(text("oN"), true), (text("no"), false)]);
    let is = |operation: &str| simple("BOOLEAN", operation, json!(true));
    holds("BOOLEAN", &is("EQUAL"), &[(Value::Bool(true), true), (Value::Bool(false), false), (text("true"), true)]);
    holds("BOOLEAN", &is("NOT_EQUAL"), &[(Value::Bool(true), false), (Value::Long(0), true), (Value::Json("{}".into()), false)]);
    let both = json!([number("GREATER"), simple("NUMERIC", "LESS", json!(9))]);
    let complex = |operation: &str| json!({ "type": "COMPLEX", "operation": operation, "predicates": both });
    holds("NUMERIC", &complex("AND"), &[(Value::Long(7), true), (Value::Long(9), false)]);
    holds("NUMERIC", &complex("OR"), &[(Value::Long(2), true), (Value::Long(12), true)]);
}

#[test]
fn schedules_are_those_of_their_zone() {
    let schedule = |schedule: Json| {
        let mut alarm = alarm();
        alarm["createRules"]["WARNING"]["schedule"] = schedule;
        let rules = AlarmRules::parse(&json!([alarm])).unwrap().unwrap();
        rules.rules[0].create[1].1.schedule.clone()
    };
    const HOUR: i64 = 3_600_000;
    // Thursday 2026-11-26 00:00 UTC; 19:00 of Wednesday in New York.
    let midnight = 1_795_651_200_000;
    let day = |days: Json, from: i64, to: i64| json!({ "type": "SPECIFIC_TIME", "timezone": "America/New_York", "daysOfWeek": days, "startsOn": from * HOUR, "endsOn": to * HOUR });
    let check = |described: Json, cases: &[(i64, bool)]| {
        let schedule = schedule(described);
        for (hours, active) in cases {
            assert_eq!(schedule.is_active(midnight + hours * HOUR), *active, "{schedule:?} after {hours} h");
        }
    };
    check(json!({ "type": "ANY_TIME" }), &[(0, true), (99, true)]);
    check(day(json!([3]), 18, 20), &[(0, true), (-1, true), (-2, false), (1, false), (24, false)]);
    // The night: what is behind midnight belongs to the day that begins.
    check(day(json!([3, 4]), 22, 6), &[(2, false), (4, true), (6, true), (11, false), (-24, false)]);
    // No hours are the whole day.
    check(day(json!([4]), 0, 0), &[(4, false), (5, true), (28, true), (29, false)]);
    let custom = json!({ "type": "CUSTOM", "timezone": "UTC", "items": [
        { "enabled": true, "dayOfWeek": 4, "startsOn": HOUR, "endsOn": 2 * HOUR }, { "enabled": false, "dayOfWeek": 5 },
    ] });
    check(custom, &[(0, false), (1, true), (2, false), (25, false)]);
    // A day of 23 hours: noon is 11 hours behind midnight.
    let spring =
        json!({ "type": "SPECIFIC_TIME", "timezone": "Europe/Berlin", "daysOfWeek": [7], "startsOn": 0, "endsOn": 11 * HOUR });
    let spring = schedule(spring);
    let berlin = |utc_hours: i64| spring.is_active(1_774_742_400_000 + utc_hours * HOUR);
    assert_eq!((berlin(-2), berlin(-1), berlin(9), berlin(10)), (false, true, true, false));
}

/// A device may say any ts, so also one that is a time of UTC and none of the zone.
#[test]
fn no_ts_is_too_early_or_too_late_for_a_schedule() {
    // The first and the last millisecond that chrono knows.
    let (first, last) = (-8_334_601_228_800_000, 8_210_266_876_799_999);
    for zone in ["Asia/Tokyo", "Pacific/Kiritimati", "America/New_York", "Pacific/Pago_Pago", "UTC"] {
        let schedule = Schedule::Weekly { zone: zone.parse().unwrap(), days: [Some((0, schedule::DAY_MS)); 7] };
        let is_active = |ts| schedule.is_active(ts);
        assert!(is_active(first + 2 * schedule::DAY_MS) && is_active(last - 2 * schedule::DAY_MS), "{zone}");
        for ts in [i64::MIN, first - 1, i64::MAX, last + 1] {
            assert!(!is_active(ts), "{zone} has no {ts}");
        }
        let _whatever = [first, first + 1, last - 1, last].map(is_active);
    }
    let tokyo = Schedule::Weekly { zone: chrono_tz::Asia::Tokyo, days: [Some((0, schedule::DAY_MS)); 7] };
    assert!(!tokyo.is_active(last) && !tokyo.is_active(last - 9 * 3_600_000 + 1));
}
