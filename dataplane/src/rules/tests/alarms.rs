//! The nodes of alarms with each of their labels, and what nodes behind them see.

use std::sync::Arc;

use schemas::alarm::{Alarm, Propagation, Severity};
use schemas::chain::MessageType;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::nodes::{Known, chain, out, show, telemetry};
use super::{describe, message};
use crate::effect::Effect;
use crate::limits;
use crate::message::{Body, Message};
use crate::rules::{Plan, Running, evaluate};

const CREATE: &str = "action.TbCreateAlarmNode";
const CLEAR: &str = "action.TbClearAlarmNode";
const STATUS: &str = "filter.TbCheckAlarmStatusNode";

/// What ThingsBoard's interface writes into a new node.
const DETAILS: &str = "var details = {};\nif (metadata.prevAlarmDetails != null) {\n    details = JSON.parse(metadata.prevAlarmDetails);\n    \
     //remove prevAlarmDetails from metadata\n    metadata.remove('prevAlarmDetails');\n    //now metadata is the same as it comes IN \
     this rule node\n}\n\nreturn details;";

fn creating(changes: &Json) -> Json {
    let mut all = json!({
        "alarmType": "${deviceName} hot", "scriptLang": "TBEL", "alarmDetailsBuildTbel": "return {t: msg.t};", "severity": "MAJOR",
        "alarmDetailsBuildJs": DETAILS.replace(".remove('prevAlarmDetails')", ".prevAlarmDetails = null"), "propagate": true,
        "propagateToOwner": false, "propagateToTenant": true, "useMessageAlarmData": false, "overwriteAlarmDetails": false,
        "dynamicSeverity": false, "relationTypes": ["Contains"],
    });
    changes.as_object().expect("an object").iter().for_each(|(field, value)| all[field] = value.clone());
    all
}

fn clearing(kind: &str) -> Json {
    json!({ "alarmType": kind, "scriptLang": "TBEL", "alarmDetailsBuildTbel": DETAILS })
}

fn hot() -> Alarm {
    let of = message(MessageType::Alarm, Body::Lifecycle);
    Alarm {
        id: Uuid::from_u128(9),
        version: 4,
        tenant: of.tenant,
        originator: of.originator,
        originator_type: "DEVICE".to_owned(),
        kind: "A hot".to_owned(),
        severity: Severity::Minor,
        created_ts: -9,
        start_ts: -8,
        end_ts: -7,
        ack_ts: None,
        clear_ts: None,
        assign_ts: None,
        assignee: None,
        details: r#"{"before":1}"#.to_owned(),
        propagation: Propagation::default(),
        deleted: false,
    }
}

fn with(alarms: Vec<Alarm>) -> Known {
    Known::with(alarms, 2)
}

#[track_caller]
fn check(class: &str, configuration: &Json, (message, alarms): (&Message<'_>, Vec<Alarm>), expected: &[&str]) {
    assert_eq!(out(class, configuration, message, &mut with(alarms)), expected, "{class} {configuration}");
}

#[test]
fn alarms_are_created_and_updated() {
    let post = telemetry(r#"{"ts":77,"values":{"t":21,"sev":"CRITICAL"}}"#);
    let begun = "alarm A hot 1 MAJOR ACTIVE_UNACK from 77 to 77 {\"t\":21}";
    check(CREATE, &creating(&json!({})), (&post, vec![]), &[begun, "Created"]);
    let went_on = "alarm A hot 5 MAJOR ACTIVE_UNACK from -8 to 1 {\"t\":21}";
    check(CREATE, &creating(&json!({})), (&post, vec![hot()]), &[went_on, "Updated"]);
    // One that was cleared is another one.
    let cleared = Alarm { clear_ts: Some(1), ..hot() };
    check(CREATE, &creating(&json!({})), (&post, vec![cleared]), &[begun, "Created"]);
    let details = |script: &str| creating(&json!({ "alarmDetailsBuildTbel": script }));
    let kept = "alarm A hot 5 MAJOR ACTIVE_UNACK from -8 to 1 {\"before\":1}";
    check(CREATE, &details(DETAILS), (&post, vec![hot()]), &[kept, "Updated"]);
    let js = creating(&json!({ "scriptLang": "JS" }));
    check(CREATE, &js, (&post, vec![hot()]), &[kept, "Updated"]);
    check(CREATE, &details("return msg.gone.more;"), (&post, vec![]), &["Failure"]);
    let long = format!("return 'x'.repeat({});", limits::ALARM_DETAILS_BYTES_MAX);
    check(CREATE, &creating(&json!({ "scriptLang": "JS", "alarmDetailsBuildJs": long })), (&post, vec![]), &["Failure"]);

    let severity = |template: &str| creating(&json!({ "severity": template, "dynamicSeverity": true }));
    let critical = "alarm A hot 1 CRITICAL ACTIVE_UNACK from 77 to 77 {\"t\":21}";
    check(CREATE, &severity("$[sev]"), (&post, vec![]), &[critical, "Created"]);
    check(CREATE, &severity("${gone}"), (&post, vec![]), &["Failure"]);
    let mut full = Known::with(vec![], 0);
    assert_eq!(out(CREATE, &creating(&json!({})), &post, &mut full), ["Failure"]);
    let long = creating(&json!({ "alarmType": "$[t]".repeat(60) }));
    let many = telemetry(r#"{"t":"123456"}"#);
    check(CREATE, &long, (&many, vec![]), &["Failure"]);
}

#[test]
fn the_message_may_be_the_alarm() {
    let said = r#"{"type":"A hot","severity":"WARNING","details":{"own":1},"propagate":true}"#;
    let alarm = message(MessageType::ToServerRpcRequest, Body::Rpc { request: said.into(), id: None });
    let of_message = json!({ "useMessageAlarmData": true });
    let begun = "alarm A hot 1 WARNING ACTIVE_UNACK from 1 to 1 {\"own\":1}";
    check(CREATE, &of_message, (&alarm, vec![]), &[begun, "Created"]);
    let went_on = "alarm A hot 5 WARNING ACTIVE_UNACK from -8 to 1 {\"own\":1}";
    check(CREATE, &of_message, (&alarm, vec![hot()]), &[went_on, "Updated"]);
    let overwrites = json!({ "useMessageAlarmData": true, "overwriteAlarmDetails": true, "alarmDetailsBuildJs": "return 7;" });
    let overwritten = "alarm A hot 5 WARNING ACTIVE_UNACK from -8 to 1 7";
    check(CREATE, &overwrites, (&alarm, vec![hot()]), &[overwritten, "Updated"]);
    // Before there was that field, a script was always asked.
    let older = json!({ "useMessageAlarmData": true, "alarmDetailsBuildJs": "return 7;" });
    check(CREATE, &older, (&alarm, vec![hot()]), &[overwritten, "Updated"]);
    check(CREATE, &of_message, (&telemetry(r#"{"t":1}"#), vec![]), &["Failure"]);
    check(CREATE, &of_message, (&telemetry(r#"{"type":"x","severity":"BAD"}"#), vec![]), &["Failure"]);
}

#[test]
fn alarms_are_cleared() {
    let post = telemetry(r#"{"t":1}"#);
    let over = "alarm A hot 5 MINOR CLEARED_UNACK from -8 to -7 {\"before\":1}";
    check(CLEAR, &clearing("${deviceName} hot"), (&post, vec![hot()]), &[over, "Cleared"]);
    check(CLEAR, &clearing("A cold"), (&post, vec![hot()]), &["False"]);
    check(CLEAR, &clearing("A hot"), (&post, vec![Alarm { clear_ts: Some(3), ..hot() }]), &["False"]);
    let broken = json!({ "alarmType": "A hot", "scriptLang": "TBEL", "alarmDetailsBuildTbel": "raiseError('no'); return 1;" });
    check(CLEAR, &broken, (&post, vec![hot()]), &["Failure"]);
}

#[test]
fn statuses_are_those_of_now() {
    let statuses = |statuses: &[&str]| json!({ "alarmStatusList": statuses });
    let said = Box::leak(hot().to_json().to_string().into_boxed_str());
    let alarm = message(MessageType::ToServerRpcRequest, Body::Rpc { request: (&*said).into(), id: None });
    let acked = Alarm { ack_ts: Some(1), ..hot() };
    check(STATUS, &statuses(&["ACTIVE_ACK"]), (&alarm, vec![acked.clone()]), &["True"]);
    check(STATUS, &statuses(&["ACTIVE_UNACK", "CLEARED_ACK"]), (&alarm, vec![acked]), &["False"]);
    // What is forgotten here is what the message says.
    check(STATUS, &statuses(&["ACTIVE_UNACK"]), (&alarm, vec![]), &["True"]);
    check(STATUS, &statuses(&["ACTIVE_UNACK"]), (&telemetry(r#"{"t":1}"#), vec![]), &["Failure"]);
}

#[test]
fn nodes_behind_see_what_was_staged_and_messages_say_what_happened() {
    let nodes =
        [(CREATE, creating(&json!({}))), (CREATE, creating(&json!({ "severity": "CRITICAL" }))), (CLEAR, clearing("A hot"))];
    let again = (CREATE, creating(&json!({})));
    let status = (STATUS, json!({ "alarmStatusList": ["ACTIVE_UNACK"] }));
    let reply = |key: &str| ("rpc.TbSendRPCReplyNode", json!({ "requestIdMetaDataAttribute": key }));
    let keys = (
        "telemetry.TbMsgDeleteAttributesNode",
        json!({ "scope": "SERVER_SCOPE", "keys": ["${isNewAlarm}${isExistingAlarm}${isSeverityUpdated}${isClearedAlarm}${ts}"] }),
    );
    let [first, second, third] = nodes;
    let all = [first, second, third, again, status, reply("ts"), keys.clone(), keys.clone(), keys];
    let edges = [
        (0, "Created", 1),
        (0, "Created", 6),
        (1, "Updated", 2),
        (1, "Updated", 7),
        (2, "Cleared", 3),
        (2, "Cleared", 8),
        (3, "Created", 4),
        (4, "True", 5),
    ];
    let running = Running::new(Arc::new(Plan::compile(&chain(&all, &edges))));
    let (post, mut effects) = (telemetry(r#"{"ts":77,"values":{"t":21}}"#), Vec::new());
    let evaluation = evaluate(&running, &post, &mut Known::default(), &mut effects);
    assert_eq!(evaluation.failed, None);
    let shown: Vec<String> = effects.iter().map(describe).filter(|shown| !shown.starts_with("answer")).collect();
    let expected = [
        "alarm A hot 1 MAJOR ACTIVE_UNACK from 77 to 77 {\"t\":21}",
        // Behind a node that creates, the message is the alarm, which has no t.
        "alarm A hot 2 CRITICAL ACTIVE_UNACK from 77 to 77 {}",
        "alarm A hot 3 CRITICAL CLEARED_UNACK from 77 to 77 {}",
        "alarm A hot 1 MAJOR ACTIVE_UNACK from 77 to 77 {}",
        "delete truetruetruetrue77 of SERVER_SCOPE",
        "delete truetruetrue${isClearedAlarm}77 of SERVER_SCOPE",
        "delete true${isExistingAlarm}${isSeverityUpdated}${isClearedAlarm}77 of SERVER_SCOPE",
    ];
    assert_eq!(shown, expected);
    let Some(Effect::Answer { json, .. }) = effects.iter().find(|effect| matches!(effect, Effect::Answer { .. })) else {
        panic!("{effects:?}")
    };
    let alarm: Json = serde_json::from_str(json).expect("JSON");
    assert_eq!(
        (&alarm["type"], &alarm["status"], &alarm["propagateToTenant"]),
        (&json!("A hot"), &json!("ACTIVE_UNACK"), &json!(true))
    );
    assert_eq!(alarm["originator"], json!({ "entityType": "DEVICE", "id": post.originator.0 }));

    // No more than there is room for, in one message too.
    let other = (CREATE, creating(&json!({ "alarmType": "other" })));
    let two = chain(&[(CREATE, creating(&json!({}))), other], &[(0, "Created", 1)]);
    let mut world = Known::with(vec![], 1);
    let shown = show(&two, &post, &mut world);
    let full =
        format!("failed at TbCreateAlarmNode1: the originator has {} alarms that are not over", limits::ALARMS_PER_ENTITY_MAX);
    assert_eq!(shown.last(), Some(&full), "{shown:?}");
}
