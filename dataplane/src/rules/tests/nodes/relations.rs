//! Nodes that follow relations of the originator.

use schemas::chain::{Chain, EntityType};
use schemas::config::End;
use schemas::id::EntityId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::facts::{self, behind, series};
use super::{Known, PREFIX, check, out, show, telemetry};
use crate::message::{Scope, Value};
use crate::rules::{Fact, Found};

fn asset(n: u128) -> End {
    End { kind: EntityType::Asset, id: EntityId(Uuid::from_u128(n)) }
}

fn knowing(neighbours: &[(bool, &'static str, End)]) -> Known {
    Known { neighbours: neighbours.to_vec(), may_forward: true, ..Known::default() }
}

/// What comes of one node that has an id.
fn of_node(class: &str, configuration: &Json, world: &mut Known) -> Vec<String> {
    let id = json!({ "entityType": "RULE_NODE", "id": Uuid::from_u128(11) });
    let node = json!({ "id": id, "type": format!("{PREFIX}{class}"), "name": "one", "configuration": configuration });
    let chain = json!({ "firstNodeIndex": 0, "nodes": [node], "connections": [] });
    show(&Chain::parse(&chain.to_string()).expect("valid"), &telemetry(r#"{"t":1}"#), world)
}

#[test]
fn the_originator_changes() {
    let class = "transform.TbChangeOriginatorNode";
    let post = telemetry(r#"{"t":1}"#);
    let of = |source: &str| json!({ "originatorSource": source });
    let related = |kind: &str| {
        let filters = json!([{ "relationType": kind, "entityTypes": ["ASSET"] }]);
        json!({ "originatorSource": "RELATED", "relationsQuery": { "direction": "TO", "filters": filters } })
    };
    let all = [(true, "Contains", asset(5)), (true, "Contains", asset(4)), (false, "Contains", asset(6))];
    let node = Uuid::from_u128(11);
    let forwarded = |to: &str| vec![format!("forward to {to} from {node}")];
    let own = |source: &str| of_node(class, &of(source), &mut Known { may_forward: true, ..Known::owned() });
    assert_eq!(own("CUSTOMER"), forwarded(&format!("CUSTOMER {}", Uuid::from_bytes([1; 16]))));
    assert_eq!(own("TENANT"), forwarded(&format!("TENANT {}", Uuid::from_bytes([2; 16]))));
    let to_5 = forwarded(&format!("ASSET {}", asset(5).id));
    assert_eq!(of_node(class, &related("Contains"), &mut knowing(&all)), to_5);
    let failed = |reason: &str| vec![format!("failed at one: {reason}")];
    let none = "Failed to find new originator!";
    assert_eq!(of_node(class, &related("Manages"), &mut knowing(&all)), failed(none));
    assert_eq!(of_node(class, &of("CUSTOMER"), &mut knowing(&[])), failed(none));
    assert_eq!(of_node(class, &of("ALARM_ORIGINATOR"), &mut knowing(&[])), failed("the originator is no alarm"));
    let mut full = Known { may_forward: false, ..knowing(&all) };
    assert_eq!(of_node(class, &related("Contains"), &mut full), failed("there is no room"));
    let itself = End { kind: EntityType::Asset, id: post.originator };
    assert_eq!(out(class, &related("Contains"), &post, &mut knowing(&[(true, "Contains", itself)])), ["Success"]);
    check(class, related("Contains"), &post, &["Failure"]);
    // A node that was saved without an id is no place to go on from.
    assert_eq!(out(class, &related("Contains"), &post, &mut knowing(&all)), ["Failure"]);
}

/// A world with these relations that knows these facts and no others.
fn told(neighbours: &[(bool, &'static str, End)], facts: Vec<(Fact, Found)>) -> Known {
    Known { neighbours: neighbours.to_vec(), ..facts::knowing(facts) }
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn values_of_what_is_related() {
    let class = "metadata.TbGetRelatedAttributeNode";
    let post = telemetry(r#"{"t":1}"#);
    let query = json!({ "direction": "TO", "filters": [{ "relationType": "Contains" }] });
    let hall = [(true, "Contains", asset(5)), (true, "Contains", asset(4))];
    let limit = vec![series("A-limit", &[(9, Value::Long(7))])];
    let of = |fetch: &str, mapping: Json| json!({ "relationsQuery": query, "dataToFetch": fetch, "dataMapping": mapping, "fetchTo": "DATA" });
    let mapping = json!({ "${deviceName}-limit": "most", "none": "nothing" });
    let wanted = keys(&["A-limit", "none"]);
    let attributes = Fact::Attributes { entity: asset(5).id, scope: Scope::Server, keys: wanted.clone() };
    let latest = Fact::Latest { entity: asset(5).id, keys: wanted };
    for (fetch, fact) in [("ATTRIBUTES", attributes), ("LATEST_TELEMETRY", latest)] {
        let mut world = told(&hall, vec![(fact, Ok(limit.clone()))]);
        let shown = behind(class, &of(fetch, mapping.clone()), &post, &mut world, &[]);
        assert_eq!(shown, Ok(vec![r#"{"most":7,"t":1}"#.to_owned()]), "{fetch}");
    }
    let called = |name: &'static str| vec![series("name", &[(1, Value::Text(name.into()))])];
    let mut world = told(&hall, vec![(Fact::Named(asset(5)), Ok(called("Hall")))]);
    let fields = of("FIELDS", json!({ "name": "in", "type": "kind", "entityType": "what", "id": "id" }));
    let shown = behind(class, &fields, &post, &mut world, &[]);
    let id = asset(5).id;
    assert_eq!(shown, Ok(vec![format!(r#"{{"id":"{id}","in":"Hall","t":1,"what":"ASSET"}}"#)]), "it has no type");
    let mut late = told(&hall, vec![(Fact::Named(asset(5)), Err("late".to_owned()))]);
    assert_eq!(behind(class, &fields, &post, &mut late, &[]), Err("late".to_owned()));
    let none = behind(class, &fields, &post, &mut told(&[], Vec::new()), &[]).expect_err("nothing is related");
    assert!(none.contains("Failed to find related entity"), "{none}");
    check(class, fields, &post, &["Failure"]);
}

#[test]
fn attributes_of_a_related_device() {
    let class = "metadata.TbGetDeviceAttrNode";
    let post = telemetry(r#"{"t":1}"#);
    let device = |n: u128| End { kind: EntityType::Device, ..asset(n) };
    let all = [(false, "Feeds", asset(3)), (false, "Feeds", device(4)), (false, "Feeds", device(5))];
    let of = |types: &[&str], strict: bool| {
        let query = json!({ "direction": "FROM", "maxLevel": 1, "relationType": "Feeds", "deviceTypes": types });
        json!({ "deviceRelationsQuery": query, "clientAttributeNames": ["model"], "serverAttributeNames": ["${deviceName}-limit"],
            "latestTsKeyNames": ["t"], "tellFailureIfAbsent": strict, "fetchTo": "METADATA" })
    };
    let kind = |name: &'static str| Ok(vec![series("type", &[(1, Value::Text(name.into()))])]);
    let facts = |n: u128| {
        let (entity, named) =
            (device(n).id, |scope, name: &str| Fact::Attributes { entity: device(n).id, scope, keys: keys(&[name]) });
        vec![
            (Fact::Named(device(4)), kind("pump")),
            (Fact::Named(device(5)), kind("valve")),
            (named(Scope::Client, "model"), Ok(vec![series("model", &[(1, Value::Text("m1".into()))])])),
            (named(Scope::Server, "A-limit"), Ok(Vec::new())),
            (Fact::Latest { entity, keys: keys(&["t"]) }, Ok(vec![series("t", &[(5, Value::Long(20))])])),
        ]
    };
    let expected = [r#"{"t":1}"#, "cs_model=m1", "ss_A-limit=${ss_A-limit}", "t=20"].map(str::to_owned).to_vec();
    for (types, n) in [(&[][..], 4), (&["pump"], 4), (&["valve"], 5)] {
        let shown = behind(class, &of(types, false), &post, &mut told(&all, facts(n)), &["cs_model", "ss_A-limit", "t"]);
        assert_eq!(shown, Ok(expected.clone()), "{types:?}");
    }
    let absent = behind(class, &of(&[], true), &post, &mut told(&all, facts(4)), &[]).expect_err("it has no limit");
    assert_eq!(absent, "there is no SERVER_SCOPE A-limit");
    let none = behind(class, &of(&["boiler"], false), &post, &mut told(&all, facts(4)), &[]).expect_err("there is none");
    assert!(none.contains("Failed to find related device"), "{none}");
    check(class, of(&[], false), &post, &["Failure"]);
}
