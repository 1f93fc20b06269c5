//! Nodes that follow relations of the originator.

use schemas::chain::{Chain, EntityType};
use schemas::config::End;
use schemas::id::EntityId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Known, PREFIX, check, out, show, telemetry};

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
