//! Processing settings of nodes that save.

use serde_json::{Value, json};

use super::{chain, check, node};
use crate::chain::processing::{Processing, Strategy};
use crate::chain::{Chain, DeviceEvent, NodeKind};

#[test]
fn processing_settings() {
    let at = "nodes[0].configuration.processingSettings";
    let check = |class: &str, settings: &Value, expected: Result<Option<Processing>, &[&str]>| {
        let drawn = chain(vec![node(class, json!({ "processingSettings": settings }))], vec![]);
        match expected {
            Err(problems) => {
                let problems: Vec<String> = problems.iter().map(|problem| format!("{at}{problem}")).collect();
                check(&drawn, &problems.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Ok(expected) => match &Chain::parse(&drawn.to_string()).unwrap().nodes[0].kind {
                NodeKind::SaveTimeseries(save) => assert_eq!(save.processing, expected, "{settings}"),
                NodeKind::SaveAttributes(save) => assert_eq!(save.processing, expected, "{settings}"),
                other => panic!("{other:?}"),
            },
        }
    };
    let [series, attributes] = ["telemetry.TbMsgTimeseriesNode", "telemetry.TbMsgAttributesNode"];
    let (every, skip) = (json!({ "type": "ON_EVERY_MESSAGE" }), json!({ "type": "SKIP" }));
    let once = |seconds: i64| json!({ "type": "DEDUPLICATE", "deduplicationIntervalSecs": seconds });
    for class in [series, attributes] {
        check(class, &every, Ok(None));
        check(class, &json!({ "type": "WEBSOCKETS_ONLY" }), Ok(Some(Processing::LIVE_ONLY)));
        check(class, &once(86_400), Ok(Some(Processing::deduplicate(86_400))));
        check(class, &once(0), Err(&[".deduplicationIntervalSecs: 0: expected seconds, 1 to 86400"]));
        check(class, &json!({ "type": "DEDUPLICATE" }), Err(&[".deduplicationIntervalSecs: missing: expected seconds"]));
        check(class, &json!({}), Err(&[".type: missing: expected ON_EVERY_MESSAGE"]));
        check(class, &json!({ "type": "X" }), Err(&[".type: \"X\": expected ON_EVERY_MESSAGE"]));
        check(class, &json!(3), Err(&[": expected an object"]));
    }
    let advanced = |store: &Value, latest: &Value, live: &Value, calculate: &Value| {
        json!({ "type": "ADVANCED", "timeseries": store, "latest": latest, "attributes": store, "webSockets": live,
            "calculatedFields": calculate })
    };
    let mixed = Processing { store: Strategy::EveryMessage, live: Strategy::Deduplicate(60), calculate: Strategy::Skip };
    check(series, &advanced(&every, &every, &once(60), &skip), Ok(Some(mixed)));
    check(attributes, &advanced(&every, &json!(null), &once(60), &skip), Ok(Some(mixed)));
    // Settings of before there were calculated fields.
    let once_stored = Processing { live: Strategy::Skip, ..Processing::deduplicate(5) };
    check(series, &advanced(&once(5), &once(5), &skip, &json!(null)), Ok(Some(once_stored)));
    check(series, &advanced(&every, &skip, &every, &every), Err(&[".latest: must be as timeseries"]));
    let told = Processing { live: Strategy::EveryMessage, ..Processing::FIELDS_ONLY };
    check(series, &advanced(&skip, &skip, &every, &every), Ok(Some(told)));
    check(
        series,
        &advanced(&every, &json!({}), &json!({ "type": "X" }), &once(90_000)),
        Err(&[
            ".latest.type: expected ON_EVERY_MESSAGE",
            ".webSockets.type: expected ON_EVERY_MESSAGE",
            ".calculatedFields.deduplicationIntervalSecs: 90000: expected seconds",
        ]),
    );
}

#[test]
fn events_of_devices() {
    let drawn = |event: Value| chain(vec![node("action.TbDeviceStateNode", json!({ "event": event }))], vec![]);
    for event in DeviceEvent::ALL {
        let parsed = check(&drawn(json!(event.kind().name())), &[]).unwrap();
        assert_eq!(parsed.nodes[0].kind, NodeKind::DeviceState(event));
    }
    let problem = "nodes[0].configuration.event: \"ALARM\": expected one of CONNECT_EVENT, DISCONNECT_EVENT, ACTIVITY_EVENT, INACTIVITY_EVENT";
    check(&drawn(json!("ALARM")), &[problem]);
}
