//! Processing settings of nodes that save, on a whole shard: what a node leaves out of a save does not happen.

use schemas::chain::Chain;
use schemas::telemetry::Scope;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::calculated::{counts, field, latest, own, say, simple, value};
use super::fleet::{Client, Fleet, TENANT, TOKEN, device, engines};
use crate::query::{Query, Target, Watch, Watched, WatcherId};
use crate::shard::Event;

/// Saves what is said as readings and as server attributes.
fn saves(settings: &Json) -> Chain {
    let node = |class: &str, configuration: Json| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": configuration });
    let script = "return {msg: msg, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        node("filter.TbMsgTypeSwitchNode", json!({})),
        node("telemetry.TbMsgTimeseriesNode", json!({ "processingSettings": settings })),
        node("transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script })),
        node("telemetry.TbMsgAttributesNode", json!({ "scope": "SERVER_SCOPE", "processingSettings": settings })),
    ];
    let edges = [(0, "Post telemetry"), (1, "Success"), (2, "Success")];
    let edges = edges.map(|(from, label)| json!({ "fromIndex": from, "toIndex": from + 1, "type": label }));
    let drawn = json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges });
    Chain::parse(&drawn.to_string()).expect("valid")
}

#[test]
fn what_settings_leave_out_does_not_happen() {
    let (every, skip) = (json!({ "type": "ON_EVERY_MESSAGE" }), json!({ "type": "SKIP" }));
    let advanced = |store: &Json, live: &Json, calculate: &Json| {
        json!({ "type": "ADVANCED", "timeseries": store, "latest": store, "attributes": store, "webSockets": live,
            "calculatedFields": calculate })
    };
    // Stored, seen live, calculated.
    for (settings, expected) in [
        (every.clone(), (true, true, true)),
        (json!({ "type": "WEBSOCKETS_ONLY" }), (false, true, false)),
        (advanced(&every, &skip, &every), (true, false, true)),
        (advanced(&every, &every, &skip), (true, true, false)),
        (advanced(&skip, &skip, &every), (false, false, true)),
        (advanced(&skip, &skip, &skip), (false, false, false)),
    ] {
        let mut fleet = Fleet::start(engines(2), 1);
        let attribute = json!({ "refEntityKey": { "key": "n", "type": "ATTRIBUTE", "scope": "SERVER_SCOPE" } });
        fleet.draw(&saves(&settings));
        fleet.apply(&[
            field(1, own(), &simple(&json!({ "n": latest("n") }), "n * 2", "of the reading")),
            field(2, own(), &simple(&json!({ "n": attribute }), "n * 2", "of the attribute")),
        ]);
        let mut client = Client::connect(&mut fleet, true, false);
        let target = Target { entity: device(TOKEN).into(), tenant: TENANT };
        let (updates, mut heard) = mpsc::channel(16);
        for (watch, what) in [(1, Watched::Timeseries), (2, Watched::Attributes(None))] {
            let watch = Watch { watcher: WatcherId(1), watch, what, keys: vec!["n".to_owned()], updates: updates.clone() };
            fleet.shards[0].take_event(Event::Query { target, query: Query::Watch(watch) });
        }
        say(&mut fleet, &mut client, 1, r#"{"n":7}"#);
        (0..20).for_each(|_| fleet.turn());
        let (mut series, mut attributes) = (false, false);
        while let Ok(update) = heard.try_recv() {
            series |= update.series.iter().any(|one| !one.points.is_empty());
            attributes |= !update.attributes.is_empty();
        }
        let of_reading = (value(&mut fleet, "n").is_some(), series, counts(&fleet, 1).calculated == 1);
        assert_eq!(of_reading, expected, "the reading: {settings}");
        let shard = &mut fleet.shards[0];
        let state = shard.residents.get_mut(device(TOKEN).into(), shard.now.instant).expect("it is connected");
        let is_stored = !state.attributes(Some(Scope::Server), &["n".to_owned()]).is_empty();
        assert_eq!((is_stored, attributes, counts(&fleet, 2).calculated == 1), expected, "the attribute: {settings}");
    }
}
