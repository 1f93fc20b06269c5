//! Messages that a chain can do nothing with where they enter.

use serde_json::json;

use super::{chain, edge, log, node};
use crate::chain::{Chain, MessageType};

#[test]
fn a_chain_heeds_what_its_first_node_lets_on() {
    use MessageType::{EntityCreated, EntityUpdated, PostTelemetryRequest, RelationDeleted};
    let all = [PostTelemetryRequest, EntityCreated, EntityUpdated, RelationDeleted];
    let check = |metadata: &serde_json::Value, expected: &[MessageType]| {
        let chain = Chain::parse(&metadata.to_string()).unwrap();
        let heeded: Vec<MessageType> = all.into_iter().filter(|kind| chain.heeds(*kind)).collect();
        assert_eq!(heeded, expected, "{metadata}");
    };
    let types = || node("filter.TbMsgTypeSwitchNode", json!({}));
    let filter = |types: &[&str]| node("filter.TbMsgTypeFilterNode", json!({ "messageTypes": types }));
    assert!(!Chain::default().heeds(PostTelemetryRequest));
    check(&chain(vec![log()], vec![]), &all);
    check(&chain(vec![types(), log()], vec![edge(0, 1, "post TELEMETRY"), edge(0, 1, "Entity Created")]), &all[..2]);
    check(&chain(vec![types(), types(), log()], vec![edge(0, 1, "Post telemetry"), edge(1, 2, "Entity Created")]), &all[..1]);
    check(&chain(vec![filter(&["ENTITY_UPDATED", "MINE"]), log()], vec![edge(0, 1, "True")]), &all[2..3]);
    check(&chain(vec![filter(&["ENTITY_UPDATED"]), log()], vec![edge(0, 1, "False")]), &[all[0], all[1], all[3]]);
    check(&chain(vec![filter(&["ENTITY_UPDATED"]), log()], vec![edge(0, 1, "Failure")]), &[]);
    // Somebody looks.
    let mut seen = types();
    seen["debugSettings"] = json!({ "allEnabled": false, "allEnabledUntil": 1, "failuresEnabled": false });
    check(&chain(vec![seen, log()], vec![]), &all);
}
