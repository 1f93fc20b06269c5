//! Nodes that save not everything for every message: what of a save happens, by the node's settings and what it remembers.

use std::sync::Arc;

use schemas::chain::MessageType;
use schemas::telemetry::Scope;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::nodes::{Known, attributes, chain, telemetry};
use crate::clock::Timestamp;
use crate::effect::{Effect, Saving};
use crate::message::{Body, Message};
use crate::rules::{Plan, Running, evaluate};

const SERIES: &str = "telemetry.TbMsgTimeseriesNode";
const ATTRIBUTES: &str = "telemetry.TbMsgAttributesNode";
const FIELDS: &str = "telemetry.TbCalculatedFieldsNode";

/// What happens for messages one after the other: `s`tored, `l`ive, `c`alculated.
#[track_caller]
fn check(class: &str, settings: &Json, messages: &[(&Message<'_>, &str)]) {
    let mut drawn = chain(&[(class, json!({ "processingSettings": settings }))], &[]);
    drawn.nodes[0].id = Some(Uuid::from_u128(7));
    let running = Running::new(Arc::new(Plan::compile(&drawn)));
    let mut world = Known::default();
    for (n, (message, expected)) in messages.iter().enumerate() {
        let (mut effects, mut happened) = (Vec::new(), String::new());
        let evaluation = evaluate(&running, message, &mut world, &mut effects);
        assert_eq!(evaluation.failed, None);
        for effect in effects {
            match effect {
                Effect::KeepState { node, state } => drop(world.states.insert(node, state)),
                Effect::SaveTimeseries { saving, .. } | Effect::SaveAttributes { saving, .. } => {
                    let Saving { store, live, calculate } = saving;
                    let of = [(store, 's'), (live, 'l'), (calculate, 'c')];
                    happened.extend(of.into_iter().filter(|(happens, _)| *happens).map(|(_, letter)| letter));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(&happened, expected, "{settings}: message {n}");
    }
}

#[test]
fn settings_say_what_of_a_save_happens() {
    let [early, late, next] = [
        telemetry(r#"{"ts":60000,"values":{"t":1}}"#),
        telemetry(r#"{"ts":119999,"values":{"t":2}}"#),
        telemetry(r#"{"ts":120000,"values":{"t":3}}"#),
    ];
    let said = attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"t":1}"#);
    let later = Message { received: Timestamp(said.received.0 + 60_000), ..said.clone() };
    let once = json!({ "type": "DEDUPLICATE", "deduplicationIntervalSecs": 60 });
    let (every, skip) = (json!({ "type": "ON_EVERY_MESSAGE" }), json!({ "type": "SKIP" }));
    check(SERIES, &every, &[(&early, "slc"), (&early, "slc")]);
    check(SERIES, &json!({ "type": "WEBSOCKETS_ONLY" }), &[(&early, "l"), (&early, "l")]);
    check(SERIES, &once, &[(&early, "slc"), (&late, ""), (&next, "slc"), (&next, ""), (&late, "slc")]);
    check(ATTRIBUTES, &once, &[(&said, "slc"), (&said, ""), (&later, "slc")]);
    check(ATTRIBUTES, &json!({ "type": "WEBSOCKETS_ONLY" }), &[(&said, "l")]);
    let mixed = |class: &str, messages: &[(&Message<'_>, &str)]| {
        let settings = json!({ "type": "ADVANCED", "timeseries": every, "latest": every, "attributes": every, "webSockets": once,
            "calculatedFields": skip });
        check(class, &settings, messages);
    };
    mixed(SERIES, &[(&early, "sl"), (&late, "s"), (&next, "sl")]);
    mixed(ATTRIBUTES, &[(&said, "sl"), (&said, "s"), (&later, "sl")]);
    let nothing = json!({ "type": "ADVANCED", "timeseries": skip, "latest": skip, "webSockets": skip, "calculatedFields": skip });
    check(SERIES, &nothing, &[(&early, "")]);
    let told = json!({ "type": "ADVANCED", "timeseries": once, "latest": once, "webSockets": skip, "calculatedFields": every });
    check(SERIES, &told, &[(&early, "sc"), (&late, "c"), (&next, "sc")]);
}

#[test]
fn calculated_fields_are_told_what_is_not_stored() {
    let said = telemetry(r#"{"ts":60000,"values":{"t":1}}"#);
    let attribute = attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"t":1}"#);
    let updated = attributes(MessageType::AttributesUpdated, Scope::Shared, r#"{"t":1}"#);
    check(FIELDS, &json!(null), &[(&said, "c"), (&attribute, "c"), (&updated, "c")]);
    let running = Running::new(Arc::new(Plan::compile(&chain(&[(FIELDS, json!({}))], &[]))));
    let outcome = |message: &Message<'_>| {
        let mut effects = Vec::new();
        let failed = evaluate(&running, message, &mut Known::default(), &mut effects).failed.map(|failed| failed.reason);
        let scope = effects.iter().find_map(|effect| match effect {
            Effect::SaveAttributes { scope, .. } => Some(*scope),
            _ => None,
        });
        (scope, failed)
    };
    assert_eq!(outcome(&attribute), (Some(Scope::Client), None));
    assert_eq!(outcome(&updated), (Some(Scope::Shared), None));
    let connected = Message { kind: MessageType::ConnectEvent, body: Body::Lifecycle, ..said.clone() };
    assert_eq!(outcome(&connected), (None, Some("CONNECT_EVENT is no telemetry".to_owned())));
}

#[test]
fn a_node_without_an_id_cannot_remember() {
    let once = json!({ "processingSettings": { "type": "DEDUPLICATE", "deduplicationIntervalSecs": 60 } });
    let running = Running::new(Arc::new(Plan::compile(&chain(&[(SERIES, once)], &[]))));
    let message = telemetry(r#"{"t":1}"#);
    let evaluation = evaluate(&running, &message, &mut Known::default(), &mut Vec::new());
    assert!(evaluation.failed.is_some_and(|failed| failed.reason.contains("no id")));
}
