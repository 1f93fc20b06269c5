//! What messages want of the control plane, which the test is: asked for when they are durable, once more after a crash or while nobody
//! answers, and the message goes on with what was granted, as another originator's too (DESIGN 8.6, 24).

use std::sync::Arc;

use schemas::chain::wish::Named;
use schemas::chain::{Chain, EntityType, Wish};
use schemas::config::End;
use schemas::id::ChainId;
use schemas::wish::{Granted, Wished};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines};
use crate::metric::Counter;
use crate::query::{Query, Target};
use crate::registry::{Ask, Question, Told};
use crate::rules::Plan;
use crate::shard::Event;
use crate::snapshot::ShardChange;
use crate::store::memory::MemoryEngine;

const FETCH: &str = "metadata.TbFetchDeviceCredentialsNode";

/// One node that wants something, and behind it client attributes of whoever is the originator then; what fails is "n" = -1.
fn chain(class: &str, configuration: &Json) -> Chain {
    let node = |id: u128, class: &str, configuration: &Json| {
        let class = format!("org.thingsboard.rule.engine.{class}");
        json!({ "id": { "entityType": "RULE_NODE", "id": Uuid::from_u128(id) }, "type": class, "name": class,
            "configuration": configuration, "configurationVersion": 1 })
    };
    let script = |msg: &str| {
        let script = format!("return {{msg: {msg}, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'}};");
        json!({ "scriptLang": "JS", "jsScript": script })
    };
    let transform = "transform.TbTransformMsgNode";
    let nodes = [
        node(11, class, configuration),
        node(12, transform, &script("{n: msg.n + (msg.credentials || metadata.credentials || '').length}")),
        node(13, transform, &script("{n: -1}")),
        node(14, "telemetry.TbMsgAttributesNode", &json!({ "scope": "CLIENT_SCOPE" })),
    ];
    let edges = [(0, "Success", 1), (0, "Failure", 2), (1, "Success", 3), (2, "Success", 3)];
    let edges = edges.map(|(from, label, to)| json!({ "fromIndex": from, "toIndex": to, "type": label }));
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

fn start(engines: Vec<Arc<MemoryEngine>>, epoch: u32, class: &str, configuration: &Json) -> Fleet {
    let mut fleet = Fleet::start(engines, epoch);
    let plan = Arc::new(Plan::compile(&chain(class, configuration)));
    fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
    fleet
}

/// An operator says something of "A", which enters the chain.
fn say(fleet: &mut Fleet, n: i64) {
    let (target, payload) = (Target { entity: device("A").into(), tenant: TENANT }, json!({ "n": n }).to_string().into_bytes());
    let query = Query::SaveTimeseries { payload, ttl_s: 0, as_written: false, reply: oneshot::channel().0 };
    fleet.shards[0].take_event(Event::Query { target, query });
}

fn asked(fleet: &mut Fleet) -> (u64, Wished) {
    let mut asked = None;
    fleet.turn_until("a wish", |fleet| {
        while let Ok(Question { number, ask, .. }) = fleet.questions.try_recv() {
            if let Ask::Wish(wished) = ask {
                asked = Some((number, *wished));
            }
        }
        asked.is_some()
    });
    asked.expect("it was waited for")
}

fn tell(fleet: &mut Fleet, number: u64, told: Told) {
    fleet.shards[0].take_event(Event::Told { number, told });
}

fn end(name: &str) -> End {
    End { kind: EntityType::Device, id: device(name).into() }
}

#[test]
fn a_wish_is_told_until_it_is_answered_also_after_a_crash() {
    let assign = json!({ "customerNamePattern": "c $[n]" });
    let class = "action.TbAssignToCustomerNode";
    let mut fleet = start(engines(1), 1, class, &assign);
    say(&mut fleet, 7);
    let wanted =
        Wished { tenant: TENANT, originator: end("A"), wish: Wish::Assign { customer: "c 7".to_owned(), create: false } };
    let (number, wished) = asked(&mut fleet);
    assert_eq!(wished, wanted);
    tell(&mut fleet, number, Told::Unavailable("away".to_owned()));
    let (number, wished) = asked(&mut fleet);
    assert_eq!((wished, fleet.attribute("A")), (wanted.clone(), None));
    tell(&mut fleet, number, Told::Failed("broken".to_owned()));
    assert_eq!(asked(&mut fleet).1, wanted);
    let mut fleet = start(fleet.crash(&[0]), 2, class, &assign);
    let (number, wished) = asked(&mut fleet);
    assert_eq!(wished, wanted);
    tell(&mut fleet, number, Told::Granted(Granted::default()));
    fleet.turn_until("it goes on", |fleet| fleet.attribute("A") == Some(7));
    say(&mut fleet, 8);
    let (number, _) = asked(&mut fleet);
    tell(&mut fleet, number, Told::Nobody("no such customer".to_owned()));
    fleet.turn_until("it goes on by Failure", |fleet| fleet.attribute("A") == Some(-1));
    assert_eq!((fleet.count(Counter::CallsAnswered), fleet.count(Counter::CallsFailed)), (1, 1));
}

#[test]
fn a_message_goes_on_where_the_entity_lives_that_it_named() {
    for shards in [1, 2] {
        let to_b = json!({ "originatorSource": "ENTITY", "entityType": "DEVICE", "entityNamePattern": "B" });
        let mut fleet = start(engines(shards), 1, "transform.TbChangeOriginatorNode", &to_b);
        say(&mut fleet, 7);
        let (number, wished) = asked(&mut fleet);
        assert_eq!(wished.wish, Wish::Become(Named { kind: EntityType::Device, name: "B".to_owned() }));
        tell(&mut fleet, number, Told::Granted(Granted { entity: Some(end("B")), credentials: None }));
        fleet.turn_until("it is B's", |fleet| fleet.attribute("B") == Some(7));
        assert_eq!((fleet.attribute("A"), fleet.count(Counter::MessagesPassed)), (None, 1), "{shards}");
        // A relation leads somewhere, too, but the message stays whose it is.
        let related = json!({ "direction": "FROM", "relationType": "Feeds", "entityType": "DEVICE", "entityNamePattern": "B" });
        let plan = Arc::new(Plan::compile(&chain("action.TbCreateRelationNode", &related)));
        fleet.apply(&[ShardChange::Chain { id: ChainId(Uuid::from_u128(3)), tenant: TENANT, root: true, plan }]);
        say(&mut fleet, 9);
        let (number, _) = asked(&mut fleet);
        tell(&mut fleet, number, Told::Granted(Granted { entity: Some(end("B")), credentials: None }));
        fleet.turn_until("it is A's", |fleet| fleet.attribute("A") == Some(9));
    }
}

#[test]
fn credentials_are_put_into_the_message() {
    for to in ["DATA", "METADATA"] {
        let mut fleet = start(engines(1), 1, FETCH, &json!({ "fetchTo": to }));
        say(&mut fleet, 1);
        let (number, _) = asked(&mut fleet);
        let credentials = Some(("ACCESS_TOKEN".to_owned(), "\"abc\"".to_owned()));
        tell(&mut fleet, number, Told::Granted(Granted { entity: None, credentials }));
        fleet.turn_until("it has them", |fleet| fleet.attribute("A") == Some(4));
    }
}
