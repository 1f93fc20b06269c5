//! Who is told of attributes that nodes save: the device and the originator's chain.

use schemas::chain::MessageType;
use serde_json::{Value as Json, json};

use super::{Known, attributes, chain, js, out, show, telemetry};
use crate::limits::DEPARTURES_PER_MESSAGE_MAX;
use crate::message::{Message, Scope};
use crate::owed::Departed;
use crate::rules::tests::{describe, running};
use crate::rules::{Evaluation, begin};

const SAVE: &str = "telemetry.TbMsgAttributesNode@3";

/// What a node with this configuration saves of a device's attributes that a script has changed.
fn saved(script: &str, class: &str, configuration: Json) -> String {
    let posted = attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"a":1}"#);
    let change = ("transform.TbTransformMsgNode", js(script));
    show(&chain(&[change, (class, configuration)], &[(0, "Success", 1)]), &posted, &mut Known::default()).remove(0)
}

#[test]
fn a_device_is_told_of_what_it_has_not_sent() {
    let as_it_came = "return {msg: msg, metadata: metadata, msgType: msgType};";
    let made = "return {msg: {b: 2}, metadata: {}, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let says = |what: &str| format!("metadata.notifyDevice = '{what}'; {as_it_came}");
    let shared = |notify: Json| json!({ "scope": "SHARED_SCOPE", "notifyDevice": notify });
    let told = |notified: bool| format!("attributes 1 SHARED_SCOPE changed false notify {notified}");
    for (script, notify, notified) in [
        (as_it_came, json!(false), false),
        (as_it_came, json!(true), true),
        (made, json!(false), true),
        (&says(""), json!(false), true),
        (&says("True"), json!(false), true),
        (&says("no"), json!(false), false),
        (&says("no"), json!(true), true),
    ] {
        assert_eq!(saved(script, SAVE, shared(notify.clone())), told(notified), "{script} {notify}");
    }
    // What older versions do not say.
    let changed = |only: bool, notified: bool| format!("attributes 1 SHARED_SCOPE changed {only} notify {notified}");
    for (version, only_on_change, notified) in [(0, false, true), (1, true, true), (2, false, false), (3, false, false)] {
        let class = format!("telemetry.TbMsgAttributesNode@{version}");
        let found = saved(as_it_came, &class, json!({ "scope": "SHARED_SCOPE" }));
        assert_eq!(found, changed(only_on_change, notified), "{version}");
    }
    let other = json!({ "scope": "SERVER_SCOPE", "notifyDevice": true });
    assert_eq!(saved(made, SAVE, other), "attributes 1 SERVER_SCOPE changed false notify false");
}

#[test]
fn a_device_is_told_of_deletions_where_the_message_says_so() {
    let delete = |script: &str, notify: bool| {
        let nodes = [
            ("transform.TbTransformMsgNode", js(script)),
            ("telemetry.TbMsgDeleteAttributesNode", json!({ "scope": "SHARED_SCOPE", "keys": ["a"], "notifyDevice": notify })),
        ];
        let chain = chain(&nodes, &[(0, "Success", 1)]);
        let (post, mut effects) = (telemetry(r#"{"t":1}"#), Vec::new());
        crate::rules::evaluate(&running(&chain), &post, &mut Known::default(), &mut effects);
        let crate::effect::Effect::DeleteAttributes { notify_device, .. } = effects[0] else { panic!("{effects:?}") };
        notify_device
    };
    let quiet = "return {msg: msg, metadata: metadata, msgType: msgType};";
    let loud = "metadata.notifyDevice = 'true'; return {msg: msg, metadata: metadata, msgType: msgType};";
    assert_eq!([delete(quiet, false), delete(quiet, true), delete(loud, false)], [false, true, true]);
}

/// What is evaluated of a message that came of this many others, each telling the chain of attributes.
fn after(departures: u32, world: &mut Known) -> (Evaluation, Vec<String>) {
    let save = json!({ "scope": "SERVER_SCOPE", "sendAttributesUpdatedNotification": true });
    let running = running(&chain(&[(SAVE, save)], &[]));
    let posted: Message<'_> = attributes(MessageType::PostAttributesRequest, Scope::Client, "{}");
    let (kind, data) = (MessageType::PostAttributesRequest.name().to_owned(), r#"{"a":1}"#.to_owned());
    let departed = Departed { kind, data, departures, ..Departed::default() };
    let mut effects = Vec::new();
    let evaluation = begin((&running, &departed), &posted, world, &mut effects, 0);
    (evaluation, effects.iter().map(describe).collect())
}

#[test]
fn a_chain_is_told_of_shared_and_server_attributes() {
    let posted = attributes(MessageType::PostAttributesRequest, Scope::Client, r#"{"a":1}"#);
    let save = |scope: &str| json!({ "scope": scope, "sendAttributesUpdatedNotification": true });
    let mut world = Known { may_forward: true, ..Known::default() };
    let beside = |scope: &str| format!(r#"{{"deviceName": "A", "deviceType": "default", "scope": "{scope}", "ts": "1"}}"#);
    for scope in ["SHARED_SCOPE", "SERVER_SCOPE"] {
        let told = format!("attributes 1 {scope} changed false notify false tell ATTRIBUTES_UPDATED {}", beside(scope));
        assert_eq!(out(SAVE, &save(scope), &posted, &mut world), [&told, "Success"]);
    }
    let own = "attributes 1 CLIENT_SCOPE changed false notify false";
    assert_eq!(out(SAVE, &save("CLIENT_SCOPE"), &posted, &mut world), [own, "Success"]);
    let delete = |scope: &str| json!({ "scope": scope, "keys": ["a"], "sendAttributesDeletedNotification": true });
    let class = "telemetry.TbMsgDeleteAttributesNode";
    let told = "delete a of SERVER_SCOPE tell ATTRIBUTES_DELETED";
    assert_eq!(out(class, &delete("SERVER_SCOPE"), &posted, &mut world), [told, "Success"]);
    assert_eq!(out(class, &delete("CLIENT_SCOPE"), &posted, &mut world), ["delete a of CLIENT_SCOPE", "Success"]);
    // Without room for the message nothing is saved: it comes again by Failure.
    assert_eq!(out(SAVE, &save("SERVER_SCOPE"), &posted, &mut Known::default()), ["Failure"]);
}

#[test]
fn a_chain_that_saves_what_it_is_told_ends() {
    let mut world = Known { may_forward: true, ..Known::default() };
    let (evaluation, effects) = after(DEPARTURES_PER_MESSAGE_MAX - 1, &mut world);
    assert_eq!((evaluation.failed, effects.len()), (None, 1));
    let (evaluation, effects) = after(DEPARTURES_PER_MESSAGE_MAX, &mut world);
    assert!(evaluation.failed.is_some_and(|failed| failed.reason.contains("told")) && effects.is_empty());
}
