//! Device state: what is told of a device, of whom, when, and how often.

use std::sync::Arc;

use schemas::chain::{EntityType, MessageType};
use serde_json::json;
use uuid::Uuid;

use super::nodes::{Known, chain, telemetry};
use super::{describe, message};
use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::message::{Body, Message};
use crate::rules::{Plan, Running, evaluate};

const CLASS: &str = "action.TbDeviceStateNode";

fn running(event: &str, id: Option<Uuid>) -> Running {
    let log = || ("action.TbLogNode", json!({}));
    let nodes = [(CLASS, json!({ "event": event })), log(), log(), log()];
    let mut drawn = chain(&nodes, &[(0, "Success", 1), (0, "Rate limited", 2), (0, "Failure", 3)]);
    drawn.nodes[0].id = id;
    Running::new(Arc::new(Plan::compile(&drawn)))
}

fn room() -> Known {
    let mut world = Known::default();
    world.may_forward = true;
    world
}

fn effects(running: &Running, message: &Message<'_>, world: &mut Known) -> Vec<String> {
    let mut effects = Vec::new();
    evaluate(running, message, world, &mut effects);
    let mut shown = Vec::new();
    for effect in effects {
        match effect {
            Effect::KeepState { node, state } => drop(world.states.insert(node, state)),
            other => shown.push(describe(&other)),
        }
    }
    shown
}

#[test]
fn what_happened_is_told_once_a_second() {
    let id = Some(Uuid::from_u128(7));
    for (event, told) in [
        ("CONNECT_EVENT", "Connect"),
        ("DISCONNECT_EVENT", "Disconnect"),
        ("ACTIVITY_EVENT", "Activity"),
        ("INACTIVITY_EVENT", "Inactivity"),
    ] {
        let (running, mut world) = (running(event, id), room());
        let first = message(MessageType::ConnectEvent, Body::Lifecycle);
        let at = first.received.0;
        assert_eq!(effects(&running, &first, &mut world), [format!("{told} at {at}"), "log TbLogNode1".to_owned()]);
        let soon = Message { received: Timestamp(at + 999), ..first.clone() };
        assert_eq!(effects(&running, &soon, &mut world), ["log TbLogNode2"]);
        // The metadata's ts precedes the message's.
        let dated = Message { received: Timestamp(at + 1_000), ..telemetry(r#"{"ts":77,"values":{"t":1}}"#) };
        assert_eq!(effects(&running, &dated, &mut world), [format!("{told} at 77"), "log TbLogNode1".to_owned()]);
    }
}

#[test]
fn only_devices_have_a_connection_and_only_nodes_with_an_id_remember() {
    let connected = message(MessageType::ConnectEvent, Body::Lifecycle);
    let asset = Message { originator_type: EntityType::Asset, ..connected.clone() };
    let node = running("CONNECT_EVENT", Some(Uuid::from_u128(7)));
    assert_eq!(effects(&node, &asset, &mut room()), ["log TbLogNode3"]);
    assert_eq!(effects(&running("CONNECT_EVENT", None), &connected, &mut room()), ["log TbLogNode3"]);
    // Its chain has to be told, which takes room.
    assert_eq!(effects(&node, &connected, &mut Known::default()), ["log TbLogNode3"]);
    assert_eq!(effects(&node, &connected, &mut room()), ["Connect at 1", "log TbLogNode1"]);
}
